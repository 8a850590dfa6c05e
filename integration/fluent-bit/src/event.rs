//! A record as an event: read in place, written as a copy with the fields in it.
//!
//! A chunk's bodies are looked through once each, for the names that matter; names deeper down are looked for when they are read.
//! Of a key that stands twice, the last is read, as Fluent Bit does it.

use std::borrow::Cow;

use oddline::config::OnExisting;
use oddline::event::Timestamp;
use oddline::plugin::event::renamed;
use oddline::plugin::{Enrichment, Event, Input, Layout, Path, Scalar, Written, timestamp};
use smallvec::SmallVec;

use crate::msgpack::{self, Map, Reader, Token};
use crate::record::Record;

/// The names at the top of a body that matter, each once.
#[derive(Debug)]
pub(crate) struct Names(Vec<Vec<u8>>);

impl Names {
    pub(crate) fn new(layout: &Layout) -> Self {
        let inputs = [Input::Message, Input::Timestamp, Input::Level].into_iter();
        let inputs = inputs.chain((0..layout.partition.len()).map(Input::Partition));
        let paths = inputs.chain((0..layout.ruled.len()).map(Input::Ruled)).filter_map(|input| layout.path(input));
        let read = paths.flat_map(|path| [path.as_str(), first(path)]);
        let mut names = Self(Vec::new());
        for name in read.chain([first(&layout.target)]).chain(layout.template_field.as_deref()) {
            if names.place(name.as_bytes()).is_none() {
                names.0.push(name.as_bytes().to_vec());
            }
        }
        names
    }

    fn place(&self, name: &[u8]) -> Option<usize> {
        self.0.iter().position(|known| known == name)
    }

    /// The values of `body` by the places of their names.
    pub(crate) fn find<'b>(&self, body: &Map<'b>) -> Found<'b> {
        let mut found = SmallVec::from_elem(None, self.0.len());
        for entry in body.iter() {
            if let Some(name) = entry.name()
                && let Some(slot) = self.place(name).and_then(|place| found.get_mut(place))
            {
                *slot = Some(entry.value);
            }
        }
        found
    }
}

/// Values by the places of their names.
pub(crate) type Found<'b> = SmallVec<[Option<&'b [u8]>; 8]>;

fn first(path: &Path) -> &str {
    path.segments().first().map_or("", String::as_str)
}

/// A record that is scored.
pub(crate) struct RecordEvent<'a> {
    pub(crate) record: &'a Record<'a>,
    pub(crate) names: &'a Names,
    pub(crate) found: &'a [Option<&'a [u8]>],
    pub(crate) layout: &'a Layout,
    /// Where the record goes, with the fields in it; nothing when it is only to be learned from.
    pub(crate) out: Option<&'a mut Vec<u8>>,
}

impl<'a> RecordEvent<'a> {
    /// The value at the top called `name`.
    fn top(&self, name: &str) -> Option<&'a [u8]> {
        *self.found.get(self.names.place(name.as_bytes())?)?
    }

    /// The value at `path`: of the one key with the dots, or else of the nested maps.
    fn at(&self, path: &Path) -> Option<&'a [u8]> {
        let (first, rest) = path.segments().split_first()?;
        if let Some(value) = self.top(path.as_str()) {
            return Some(value);
        }
        rest.iter().try_fold(self.top(first)?, |value, name| Map::of(value)?.get(name.as_bytes()))
    }
}

fn scalar(value: &[u8]) -> Option<Scalar<'_>> {
    Some(match Reader::new(value).token()? {
        Token::Text(text) | Token::Binary(text) => Scalar::Text(Cow::Borrowed(text)),
        Token::Unsigned(number) => Scalar::Number(Cow::Owned(number.to_string())),
        Token::Negative(number) => Scalar::Number(Cow::Owned(number.to_string())),
        Token::Float(number) => Scalar::Number(Cow::Owned(format!("{number:?}"))),
        Token::Flag(flag) => Scalar::Flag(flag),
        Token::Nil | Token::Extension(..) | Token::Array(_) | Token::Map(_) => return None,
    })
}

impl Event for RecordEvent<'_> {
    fn read(&self, input: Input) -> Option<Scalar<'_>> {
        scalar(self.at(self.layout.path(input)?)?)
    }

    /// What the body's field says, or else the record's own time.
    fn time(&self, now: Timestamp) -> Option<Timestamp> {
        let said = match self.read(Input::Timestamp) {
            Some(Scalar::Text(text)) => timestamp::parse(&text, now),
            Some(Scalar::Number(text)) => timestamp::epoch(text.as_bytes()),
            Some(Scalar::Time(time)) => Some(time),
            Some(Scalar::Flag(_)) | None => None,
        };
        said.or(self.record.time)
    }

    fn write(&mut self, enrichment: &Enrichment<'_>) -> Written {
        let Some(out) = self.out.take() else { return Written::Fields };
        if self.is_clear() {
            return self.append(enrichment, out);
        }
        let Some(changes) = Changes::plan(self, enrichment) else { return Written::Kept };
        out.extend_from_slice(self.record.head);
        if changes.into_edit().apply(&self.record.body, out) { Written::Fields } else { Written::Failed }
    }
}

impl RecordEvent<'_> {
    /// Whether the body has none of the names that are written.
    fn is_clear(&self) -> bool {
        let flat = self.layout.template_field.as_deref();
        self.top(first(&self.layout.target)).is_none() && flat.is_none_or(|name| self.top(name).is_none())
    }

    /// The common case: nothing of ours is there, the fields go behind the last entry.
    fn append(&self, enrichment: &Enrichment<'_>, out: &mut Vec<u8>) -> Written {
        let body = &self.record.body;
        let template = self.layout.template_field.as_deref().zip(enrichment.template());
        let Some(len) = body.len.checked_add(1 + u32::from(template.is_some())) else { return Written::Failed };
        out.extend_from_slice(self.record.head);
        msgpack::map_header(out, len, body.header);
        out.extend_from_slice(body.entries);
        member(out, self.layout.target.segments(), enrichment);
        if let Some((name, template)) = template {
            msgpack::text(out, name.as_bytes());
            msgpack::text(out, template.as_bytes());
        }
        Written::Fields
    }
}

/// The fields as a map.
fn fields(out: &mut Vec<u8>, enrichment: &Enrichment<'_>) {
    let header = out.len();
    out.push(0x80);
    let mut len = 0;
    enrichment.for_each(|name, value| {
        msgpack::text(out, name.as_bytes());
        msgpack::value(out, value);
        len += 1;
    });
    msgpack::patch_map_header(out, header, len);
}

/// `names[0]: {names[1]: … fields}`.
fn member(out: &mut Vec<u8>, names: &[String], enrichment: &Enrichment<'_>) {
    for (index, name) in names.iter().enumerate() {
        if index > 0 {
            msgpack::map_header(out, 1, 1);
        }
        msgpack::text(out, name.as_bytes());
    }
    fields(out, enrichment);
}

/// A record of oddline's own, before the fields: its time, and texts where records have them, each under a name of its own.
pub(crate) fn own_record(texts: &[(&Path, &str)], time: Timestamp, is_v2: bool) -> Vec<u8> {
    let mut out = Vec::new();
    msgpack::array_header(&mut out, 2);
    if is_v2 {
        msgpack::array_header(&mut out, 2);
    }
    msgpack::event_time(&mut out, time);
    if is_v2 {
        msgpack::map_header(&mut out, 0, 1);
    }
    msgpack::map_header(&mut out, u32::try_from(texts.len()).unwrap_or(u32::MAX), 1);
    for (at, text) in texts {
        for (depth, name) in at.segments().iter().enumerate() {
            if depth > 0 {
                msgpack::map_header(&mut out, 1, 1);
            }
            msgpack::text(&mut out, name.as_bytes());
        }
        msgpack::text(&mut out, text.as_bytes());
    }
    out
}

/// What becomes of one map.
#[derive(Default)]
struct Edit<'e> {
    /// Names whose entries go, or get another name.
    gone: SmallVec<[&'e str; 2]>,
    rename: bool,
    /// The last entry with this name gets these bytes for its value.
    inner: Option<(&'e str, Vec<u8>)>,
    /// So many entries more.
    added: u32,
    /// Those entries.
    tail: Vec<u8>,
}

impl Edit<'_> {
    /// Appends `map` with the edit done; false when it would have more entries than a map can.
    fn apply(&self, map: &Map<'_>, out: &mut Vec<u8>) -> bool {
        if self.gone.is_empty() && self.inner.is_none() {
            let Some(len) = map.len.checked_add(self.added) else { return false };
            msgpack::map_header(out, len, map.header);
            out.extend_from_slice(map.entries);
            out.extend_from_slice(&self.tail);
            return true;
        }
        let is_gone = |name: Option<&[u8]>| self.gone.iter().find(|gone| name == Some(gone.as_bytes()));
        let dropped = if self.rename { 0 } else { map.iter().filter(|entry| is_gone(entry.name()).is_some()).count() };
        let Some(len) = (map.len - dropped as u32).checked_add(self.added) else { return false };
        msgpack::map_header(out, len, map.header);
        let inner = self.inner.as_ref();
        let last =
            inner.and_then(|(name, _)| map.iter().filter(|e| e.name() == Some(name.as_bytes())).count().checked_sub(1));
        let mut seen = 0;
        for entry in map.iter() {
            let name = entry.name();
            match (is_gone(name), inner.filter(|(wanted, _)| name == Some(wanted.as_bytes()))) {
                (Some(old), _) if self.rename => {
                    let taken = |name: &str| map.iter().any(|other| other.name() == Some(name.as_bytes()));
                    msgpack::text(out, renamed(old, taken).as_bytes());
                    out.extend_from_slice(entry.value);
                }
                (Some(_), _) => {}
                (None, Some((_, bytes))) if last == Some(seen) => {
                    out.extend_from_slice(entry.key);
                    out.extend_from_slice(bytes);
                    seen += 1;
                }
                (None, same) => {
                    seen += usize::from(same.is_some());
                    out.extend_from_slice(entry.whole);
                }
            }
        }
        out.extend_from_slice(&self.tail);
        true
    }
}

/// What becomes of a body.
struct Changes<'c> {
    layout: &'c Layout,
    /// The maps that are there for names of the target, from the top down; without the body.
    places: SmallVec<[Map<'c>; 2]>,
    /// Whether something is in the way in the last of them.
    in_the_way: bool,
    /// The rest of the target, with the fields.
    tail: Vec<u8>,
    template: Option<(&'c str, Vec<u8>)>,
    has_template: bool,
}

impl<'c> Changes<'c> {
    /// Nothing when what is at the target is to be kept.
    fn plan(event: &RecordEvent<'c>, enrichment: &Enrichment<'_>) -> Option<Self> {
        let layout = event.layout;
        let keep = layout.on_existing == OnExisting::Keep;
        let (places, in_the_way) = event.places();
        if in_the_way && keep {
            return None;
        }
        let names = layout.target.segments().get(places.len()..).unwrap_or_default();
        let mut tail = Vec::with_capacity(256);
        member(&mut tail, names, enrichment);
        let has_template = layout.template_field.as_deref().is_some_and(|name| event.top(name).is_some());
        let template = layout.template_field.as_deref().zip(enrichment.template()).filter(|_| !(has_template && keep));
        let template = template.map(|(name, template)| {
            let mut bytes = Vec::with_capacity(name.len() + template.len() + 10);
            msgpack::text(&mut bytes, name.as_bytes());
            msgpack::text(&mut bytes, template.as_bytes());
            (name, bytes)
        });
        Some(Self { layout, places, in_the_way, tail, template, has_template })
    }

    /// The edit of the body itself, after those of the maps within it.
    fn into_edit(mut self) -> Edit<'c> {
        let rename = self.layout.on_existing == OnExisting::Rename;
        let names = self.layout.target.segments();
        let name = |depth: usize| names.get(depth).map_or("", String::as_str);
        let mut edit = Edit { rename, added: 1, tail: std::mem::take(&mut self.tail), ..Edit::default() };
        if self.in_the_way {
            edit.gone.push(name(self.places.len()));
        }
        // From the innermost map outwards.
        while let Some(map) = self.places.pop() {
            let mut bytes = Vec::new();
            if !edit.apply(&map, &mut bytes) {
                break;
            }
            edit = Edit { rename, inner: Some((name(self.places.len()), bytes)), ..Edit::default() };
        }
        if let Some((name, bytes)) = self.template {
            if self.has_template {
                edit.gone.push(name);
            }
            edit.added += 1;
            edit.tail.extend_from_slice(&bytes);
        }
        edit
    }
}

impl<'a> RecordEvent<'a> {
    /// The maps that stand for the target's names already, and whether something is in the way of the next name.
    fn places(&self) -> (SmallVec<[Map<'a>; 2]>, bool) {
        let names = self.layout.target.segments();
        let mut places = SmallVec::<[Map<'a>; 2]>::new();
        for (depth, name) in names.iter().enumerate() {
            let value = match places.last() {
                None => self.top(name),
                Some(map) => map.get(name.as_bytes()),
            };
            let Some(value) = value else { return (places, false) };
            match Map::of(value).filter(|_| depth + 1 < names.len()) {
                Some(map) => places.push(map),
                None => return (places, true),
            }
        }
        (places, false)
    }
}
