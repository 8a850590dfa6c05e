//! The properties of an instance: all of them, the unknown and the repeated ones too.
//!
//! Fluent Bit gives a plugin only the value of a key it asks for; of a YAML list, which is one key several times, only the first value; and checks keys only against a table
//! (`config_map`) whose layout differs between its versions. The list of keys is a `struct mk_list` somewhere in the instance. It is looked
//! for there, and believed only if it proves itself: it is closed, both ways, and for every key in it Fluent Bit's own function returns the
//! very pointer that stands first for that key. Until then memory is read through a pipe: the kernel refuses an address that is not
//! there, where a pointer would end the agent. When the list is not found, only known keys are read, and that is said.

use std::ffi::{CStr, CString, c_char, c_void};

use oddline::config::FIELDS;

use super::host::GetProperty;
use crate::config::Property;
use crate::trouble::{Level, Message};

/// How much of an instance is looked through for the list.
const INSTANCE_BYTES: usize = 4_096;
/// The most properties an instance may have.
const MAX_PROPERTIES: usize = 4_096;
/// The longest key or value.
const MAX_TEXT: usize = 1 << 20;
const WORD: usize = size_of::<usize>();

/// Keys the host reads itself from the same list.
const OF_THE_HOST: [&str; 4] = ["active", "condition", "workers", "match"];

/// The host's view of an instance.
pub(super) struct Instance {
    pub(super) address: *mut c_void,
    pub(super) get: GetProperty,
}

impl Instance {
    /// All properties, and what is to be said about them.
    pub(super) fn properties(&self) -> (Vec<Property>, Option<Message>) {
        let listed = self.value("data_dir").and_then(|_| Pipe::new()).and_then(|pipe| self.listed(&pipe));
        let (properties, told) = match listed {
            Some(properties) => (properties, None),
            None => (
                self.known(),
                Some((
                    Level::Warning,
                    "keys that are not known cannot be told in this version of Fluent Bit".to_owned(),
                )),
            ),
        };
        let ours = |(key, _): &Property| {
            !OF_THE_HOST.iter().any(|name| key.eq_ignore_ascii_case(name)) && !key.starts_with('_')
        };
        let told = told.filter(|_| self.value("data_dir").is_some());
        (properties.into_iter().filter(ours).collect(), told)
    }

    /// The host's pointer to the first value of `key`.
    fn value(&self, key: &str) -> Option<*const c_char> {
        let key = CString::new(key).ok()?;
        // SAFETY: the address is the instance the host called us with, and the key ends with NUL.
        let value = unsafe { (self.get)(key.as_ptr(), self.address) };
        (!value.is_null()).then_some(value)
    }

    /// Only what we know to ask for.
    fn known(&self) -> Vec<Property> {
        let value = |key: &str| {
            // SAFETY: the host's texts end with NUL and stay as long as the instance.
            self.value(key).map(|value| unsafe { CStr::from_ptr(value) }.to_string_lossy().into_owned())
        };
        FIELDS.iter().filter_map(|field| Some((field.key.to_owned(), value(field.key)?))).collect()
    }

    fn listed(&self, pipe: &Pipe) -> Option<Vec<Property>> {
        let instance = pipe.read(self.address as usize, INSTANCE_BYTES);
        (0..instance.len() / WORD).find_map(|word| self.list_at(pipe, self.address as usize + word * WORD))
    }

    /// The properties of the list whose head is at `head`, if that is one.
    fn list_at(&self, pipe: &Pipe, head: usize) -> Option<Vec<Property>> {
        // struct mk_list { prev, next }; struct flb_kv { key, val, struct mk_list }.
        let [last, mut node] = pipe.words(head)?;
        let mut previous = head;
        let mut properties = Vec::<(Property, usize)>::new();
        while node != head {
            let [key, value, back, next] = pipe.words(node.checked_sub(2 * WORD)?)?;
            if back != previous || properties.len() == MAX_PROPERTIES {
                return None;
            }
            properties.push(((pipe.text(key)?, pipe.text(value)?), value));
            (previous, node) = (node, next);
        }
        if previous != last || properties.is_empty() {
            return None;
        }
        let first = |key: &str| properties.iter().find(|((other, _), _)| other.eq_ignore_ascii_case(key));
        let is_proven = |((key, _), _): &(Property, usize)| {
            self.value(key).map(|value| value as usize) == first(key).map(|(_, value)| *value)
        };
        let has_data_dir = first("data_dir").is_some();
        (has_data_dir && properties.iter().all(is_proven))
            .then(|| properties.into_iter().map(|(property, _)| property).collect())
    }
}

/// Reads memory that may not be there.
struct Pipe {
    read: std::io::PipeReader,
    write: std::io::PipeWriter,
}

impl Pipe {
    /// A pipe holds more than is read at once, so that writing never waits.
    fn new() -> Option<Self> {
        let (read, write) = std::io::pipe().ok()?;
        Some(Self { read, write })
    }

    /// Up to `len` bytes from `address` on, at most 4 KiB: as many as there are, and none when there are none.
    fn read(&self, address: usize, len: usize) -> Vec<u8> {
        use std::io::Read;
        use std::os::fd::AsRawFd;
        let mut bytes = vec![0; len.min(4_096)];
        // SAFETY: the kernel reads the memory and answers EFAULT where there is none; nothing here dereferences the address.
        let written =
            unsafe { libc::write(self.write.as_raw_fd(), std::ptr::with_exposed_provenance(address), bytes.len()) };
        bytes.truncate(usize::try_from(written).unwrap_or(0));
        match (&self.read).read_exact(&mut bytes) {
            Ok(()) => bytes,
            Err(_) => Vec::new(),
        }
    }

    fn words<const N: usize>(&self, address: usize) -> Option<[usize; N]> {
        let bytes = self.read(address, N * WORD);
        let mut words = bytes.chunks_exact(WORD).map(|word| word.try_into().map_or(0, usize::from_ne_bytes));
        let mut found = [0; N];
        for slot in &mut found {
            *slot = words.next()?;
        }
        Some(found)
    }

    /// The text at `address`, up to its NUL.
    fn text(&self, address: usize) -> Option<String> {
        let mut bytes = Vec::new();
        while bytes.len() < MAX_TEXT {
            // No further than the end of a page: behind it there may be nothing.
            let at = address.checked_add(bytes.len())?;
            let part = self.read(at, 4_096 - at % 4_096);
            let end = part.iter().position(|byte| *byte == 0);
            bytes.extend_from_slice(part.get(..end.unwrap_or(part.len()))?);
            if end.is_some() {
                return String::from_utf8(bytes).ok();
            }
            if part.is_empty() {
                return None;
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[repr(C)]
    struct List {
        prev: usize,
        next: usize,
    }

    #[repr(C)]
    struct Kv {
        key: *const c_char,
        value: *const c_char,
        list: List,
    }

    /// An instance as a host might have it: something, the list, something.
    #[allow(clippy::vec_box, reason = "the list holds addresses of entries")]
    struct Host {
        instance: Box<[usize; 64]>,
        entries: Vec<Box<Kv>>,
        _texts: Vec<CString>,
    }

    /// Where the list is in the instance, in words.
    const HEAD: usize = 17;

    fn host(pairs: &[(&str, &str)]) -> Host {
        let mut texts = Vec::new();
        let mut text = |text: &str| {
            texts.push(CString::new(text).unwrap());
            texts.last().unwrap().as_ptr()
        };
        let entry = |(key, value): &(&str, &str)| {
            Box::new(Kv { key: text(key), value: text(value), list: List { prev: 0, next: 0 } })
        };
        #[allow(clippy::vec_box, reason = "as above")]
        let mut entries: Vec<Box<Kv>> = pairs.iter().map(entry).collect();
        let mut instance = Box::new([usize::MAX; 64]);
        let head = &raw const instance[HEAD] as usize;
        let nodes: Vec<usize> = entries.iter().map(|entry| &raw const entry.list as usize).collect();
        let around: Vec<usize> = [head].into_iter().chain(nodes).chain([head]).collect();
        for (index, entry) in entries.iter_mut().enumerate() {
            entry.list = List { prev: around[index], next: around[index + 2] };
        }
        instance[HEAD] = around[around.len() - 2];
        instance[HEAD + 1] = around[1];
        Host { instance, entries, _texts: texts }
    }

    thread_local! {
        static ENTRIES: std::cell::RefCell<Vec<(String, *const c_char)>> = const { std::cell::RefCell::new(Vec::new()) };
    }

    unsafe extern "C" fn get(key: *const c_char, _: *mut c_void) -> *const c_char {
        // SAFETY: the caller's key ends with NUL.
        let key = unsafe { CStr::from_ptr(key) }.to_str().unwrap();
        let found = |entries: &Vec<(String, *const c_char)>| {
            entries
                .iter()
                .find(|(name, _)| name.eq_ignore_ascii_case(key))
                .map_or(std::ptr::null(), |(_, value)| *value)
        };
        ENTRIES.with_borrow(found)
    }

    fn asked(host: &Host) -> (Vec<Property>, Option<Message>) {
        let text = |address: *const c_char| {
            // SAFETY: the host's texts live as long as it does.
            unsafe { CStr::from_ptr(address) }.to_str().unwrap().to_owned()
        };
        ENTRIES.set(host.entries.iter().map(|entry| (text(entry.key), entry.value)).collect());
        Instance { address: host.instance.as_ptr().cast_mut().cast(), get }.properties()
    }

    fn pairs(pairs: &[(&str, &str)]) -> Vec<Property> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn unknown_and_repeated_keys_are_seen() {
        let long = "x".repeat(10_000);
        let given = [
            ("data_dir", "/d"),
            ("partition_by", "a"),
            ("nonsense", ""),
            ("Partition_By", "b"),
            ("target", &long),
            ("active", "true"),
        ];
        let (properties, told) = asked(&host(&given));
        assert_eq!(properties, pairs(&given[..5]));
        assert_eq!(told, None);
    }

    #[test]
    fn a_list_that_does_not_prove_itself_is_not_believed() {
        let given = [("data_dir", "/d"), ("nonsense", "1"), ("fields", "full")];
        let breaks: [fn(&mut Host); 5] = [
            |host| host.instance[HEAD] = 8,
            |host| host.instance[HEAD + 1] = 0,
            |host| host.instance[HEAD + 1] = usize::MAX,
            |host| host.entries[1].list.prev = 1,
            |host| host.entries[2].list.next = 0x1000,
        ];
        for break_it in breaks {
            let mut broken = host(&given);
            break_it(&mut broken);
            let (properties, told) = asked(&broken);
            assert_eq!(properties, pairs(&[("data_dir", "/d"), ("fields", "full")]));
            assert!(told.is_some());
        }
    }

    #[test]
    fn without_a_data_dir_there_is_nothing_to_say_but_that() {
        let (properties, told) = asked(&host(&[("fields", "full")]));
        assert_eq!((properties, told), (pairs(&[("fields", "full")]), None));
    }

    #[test]
    fn memory_that_is_not_there_is_not_read() {
        let pipe = Pipe::new().unwrap();
        for address in [0, 8, 0xdead_beef_0000, usize::MAX - 7] {
            assert!(pipe.read(address, 64).is_empty(), "{address:x}");
            assert_eq!(pipe.text(address), None);
        }
        assert_eq!(pipe.text(c"here".as_ptr() as usize), Some("here".to_owned()));
    }
}
