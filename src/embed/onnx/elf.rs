//! Whether a file is a shared library that this process can load, by its ELF header (System V ABI, chapters 4 and 5).
//!
//! What loads a library maps it as its header says: one that is cut short ends the process with SIGBUS, so that is looked at, too.

/// Bytes of a file that are looked at: the header, and the program headers, which follow it in what linkers write.
pub(super) const HEAD_BYTES: u64 = 8 << 10;

/// `e_type` of a shared library, `p_type` of what is loaded.
const SHARED: u64 = 3;
const LOAD: u64 = 1;

/// Machines of the standard, by what Rust calls them.
const MACHINES: [(u64, &str); 7] =
    [(3, "x86"), (62, "x86_64"), (40, "arm"), (183, "aarch64"), (243, "riscv64"), (22, "s390x"), (21, "powerpc64")];

/// Checks the first [`HEAD_BYTES`] of a file of `length` bytes.
///
/// # Errors
/// What it is instead.
pub(super) fn check(head: &[u8], length: u64) -> Result<(), String> {
    let Some([0x7f, b'E', b'L', b'F', class, order]) = head.first_chunk() else {
        return Err("it is no ELF file".to_owned());
    };
    let file = Elf { head, is_64: *class == 2, is_big: *order == 2 };
    let (kind, machine) = file.short(16).zip(file.short(18)).ok_or("it is cut short")?;
    let (bits, own) = (if file.is_64 { 64 } else { 32 }, usize::BITS);
    if bits != own || own_machine().is_some_and(|own| own != machine) {
        let (of, here) = (machine_name(machine), std::env::consts::ARCH);
        return Err(format!("it is for {of} of {bits} bits, and this is {here} of {own}"));
    }
    if kind != SHARED {
        return Err("it is no shared library".to_owned());
    }
    let needed = file.needed().ok_or("its program headers are not where they should be")?;
    if length < needed {
        return Err(format!("it is cut short: expected {needed} bytes or more, found {length}"));
    }
    Ok(())
}

#[derive(Clone, Copy)]
struct Elf<'a> {
    head: &'a [u8],
    is_64: bool,
    is_big: bool,
}

impl Elf<'_> {
    fn number(&self, at: u64, bytes: usize) -> Option<u64> {
        let bytes = self.head.get(usize::try_from(at).ok()?..)?.get(..bytes)?;
        let fold = |number: u64, byte: &u8| (number << 8) | u64::from(*byte);
        Some(if self.is_big { bytes.iter().fold(0, fold) } else { bytes.iter().rev().fold(0, fold) })
    }

    fn short(&self, at: u64) -> Option<u64> {
        self.number(at, 2)
    }

    /// An address or offset, which stands at another place in files of 32 bits.
    fn word(&self, at_64: u64, at_32: u64) -> Option<u64> {
        if self.is_64 { self.number(at_64, 8) } else { self.number(at_32, 4) }
    }

    /// Bytes the file must have for what is loaded of it.
    fn needed(&self) -> Option<u64> {
        let table = self.word(0x20, 0x1c)?;
        let at = |at_64: u64, at_32: u64| self.short(if self.is_64 { at_64 } else { at_32 });
        let (size, count) = (at(0x36, 0x2a)?, at(0x38, 0x2c)?);
        let mut needed = 0;
        for number in 0..count {
            let header = table.checked_add(size.checked_mul(number)?)?;
            if self.number(header, 4)? == LOAD {
                let part = |at_64, at_32| self.word(header.checked_add(at_64)?, header.checked_add(at_32)?);
                needed = needed.max(part(8, 4)?.checked_add(part(0x20, 0x10)?)?);
            }
        }
        (needed > 0).then_some(needed)
    }
}

fn own_machine() -> Option<u64> {
    MACHINES.iter().find(|(_, name)| *name == std::env::consts::ARCH).map(|(machine, _)| *machine)
}

fn machine_name(machine: u64) -> String {
    let known = MACHINES.iter().find(|(number, _)| *number == machine);
    known.map_or_else(|| format!("machine {machine}"), |(_, name)| (*name).to_owned())
}

#[cfg(all(target_os = "linux", target_pointer_width = "64", target_endian = "little"))]
#[cfg(test)]
mod tests {
    use super::*;

    /// A header with one thing to load, of 100 bytes from 1,000 on.
    fn file(class: u8, order: u8, kind: u16, machine: u16) -> Vec<u8> {
        let mut file = vec![0; 120];
        let mut put = |at: usize, bytes: &[u8]| file[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, &[0x7f, b'E', b'L', b'F', class, order]);
        let turned = |number: u16| if order == 2 { number.to_be_bytes() } else { number.to_le_bytes() };
        put(16, &turned(kind));
        put(18, &turned(machine));
        put(0x20, &64u64.to_le_bytes());
        put(0x36, &[56, 0, 1, 0]);
        put(64, &[1]);
        put(64 + 8, &1_000u64.to_le_bytes());
        put(64 + 0x20, &100u64.to_le_bytes());
        file
    }

    #[test]
    fn a_library_of_another_machine_is_told_by_its_header() {
        let own = own_machine().unwrap() as u16;
        let other = if own == 62 { 183 } else { 62 };
        assert_eq!(check(&file(2, 1, 3, own), 1_100), Ok(()));
        let reason = |file: &[u8]| check(file, 1_100).unwrap_err();
        let named = reason(&file(2, 1, 3, other));
        assert!(named.contains(&machine_name(other.into())) && named.contains(std::env::consts::ARCH), "{named}");
        assert!(reason(&file(1, 1, 3, 40)).contains("arm of 32 bits"));
        assert!(reason(&file(2, 2, 3, 22)).contains("s390x"), "big-endian");
        assert!(reason(&file(2, 1, 3, 999)).contains("machine 999"));
        assert!(reason(&file(2, 1, 2, own)).contains("no shared library"));
        assert!(reason(b"MZ and more than twenty bytes").contains("no ELF file"));
    }

    #[test]
    fn a_library_that_is_cut_short_is_refused_and_no_header_panics() {
        let whole = file(2, 1, 3, own_machine().unwrap() as u16);
        assert!(check(&whole, 1_099).unwrap_err().contains("1100 bytes"));
        for cut in 0..64 + 0x28 {
            assert!(check(&whole[..cut], 1_100).is_err(), "{cut}");
        }
        for at in 0..whole.len() {
            let mut odd = whole.clone();
            odd[at] = 0xff;
            let _any = check(&odd, u64::MAX);
        }
    }

    #[test]
    fn a_library_of_this_machine_passes() {
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        let libc = maps.lines().filter_map(|line| line.split_whitespace().nth(5)).find(|path| path.contains("libc.so"));
        let file = std::fs::read(libc.unwrap()).unwrap();
        assert_eq!(check(&file[..HEAD_BYTES as usize], file.len() as u64), Ok(()));
    }
}
