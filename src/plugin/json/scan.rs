//! One pass over the text of a JSON object: is it one, and where are the values asked for?
//!
//! The grammar of RFC 8259 is checked in full, since what is written back must be JSON; nothing is built and
//! nothing recurses: nesting costs two bytes a level, up to [`MAX_DEPTH`]. Of a name that stands twice the last
//! one counts, as with `serde_json`. The text must be UTF-8.

use std::borrow::Cow;

use crate::config::EventRule;
use crate::plugin::event::{Input, Layout};
use crate::plugin::path::Path;

/// The deepest nesting accepted.
pub(crate) const MAX_DEPTH: usize = 100_000;
/// Nesting whose bookkeeping is kept allocated between lines.
const KEPT_DEPTH: usize = 1_024;
/// The most partition paths; `partition_by` has the same bound.
const MAX_PARTITIONS: usize = 16;

/// The most fields rules look at.
const MAX_RULED: usize = EventRule::MOST_FIELDS;

/// Slots, a bit each: values by path, the same by the one key with dots, the steps of the target, the template field.
type Bits = u128;
const RULED: usize = 3 + MAX_PARTITIONS + 1;
const FLAT: usize = RULED + MAX_RULED + 1;
const TARGET: usize = 2 * FLAT;
const TEMPLATE: usize = TARGET + 20;
const SLOTS: usize = TEMPLATE + 1;

/// A place where a value can be found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Slot(usize);

impl Slot {
    /// The member the template's text goes to.
    pub(crate) const TEMPLATE: Self = Self(TEMPLATE);

    /// The value of the first `step + 1` names of the target.
    pub(crate) const fn target(step: usize) -> Self {
        Self(TARGET + step)
    }

    const fn input(input: Input) -> Self {
        Self(match input {
            Input::Message => 0,
            Input::Timestamp => 1,
            Input::Level => 2,
            Input::Partition(index) => 3 + if index < MAX_PARTITIONS { index } else { MAX_PARTITIONS },
            Input::Ruled(index) => RULED + if index < MAX_RULED { index } else { MAX_RULED },
        })
    }

    const fn bit(self) -> Bits {
        1 << self.0
    }
}

/// What kind of value stands somewhere.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum ValueKind {
    #[default]
    Null,
    Flag,
    Number,
    /// A string without `\`.
    Plain,
    /// A string with `\`.
    Escaped,
    Array,
    Object,
}

/// Where a value stands in the line: from its first byte to behind its last one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) start: usize,
    pub(crate) end: usize,
    pub(crate) kind: ValueKind,
}

/// The line is not one JSON object; the byte where that showed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NotAnObject(pub(crate) usize);

/// A name on the way to values that are asked for.
#[derive(Clone, Debug, Default)]
struct Node {
    children: Vec<(Box<[u8]>, u16)>,
    /// Slots its value is for.
    slots: Bits,
    /// Those, and those of every node below: a second member of the name replaces them all.
    below: Bits,
}

/// No node: nothing below is asked for.
const NONE: u16 = 0x7fff;

/// The names asked for, as a tree.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    nodes: Vec<Node>,
}

impl Wanted {
    /// The names `layout` reads and writes.
    pub(crate) fn new(layout: &Layout) -> Self {
        let mut wanted = Self { nodes: vec![Node::default()] };
        let inputs = [Input::Message, Input::Timestamp, Input::Level]
            .into_iter()
            .chain((0..layout.partition.len().min(MAX_PARTITIONS)).map(Input::Partition))
            .chain((0..layout.ruled.len().min(MAX_RULED)).map(Input::Ruled));
        for input in inputs {
            if let Some(path) = layout.path(input) {
                wanted.input(Slot::input(input), path);
            }
        }
        let names = layout.target.segments();
        for step in 0..names.len() {
            wanted.insert(Slot::target(step), names.iter().take(step + 1).map(String::as_str));
        }
        if let Some(name) = &layout.template_field {
            wanted.insert(Slot::TEMPLATE, std::iter::once(name.as_str()));
        }
        wanted
    }

    fn input(&mut self, slot: Slot, path: &Path) {
        self.insert(slot, path.segments().iter().map(String::as_str));
        if path.segments().len() > 1 {
            self.insert(Slot(slot.0 + FLAT), std::iter::once(path.as_str()));
        }
    }

    fn insert<'n>(&mut self, slot: Slot, names: impl Iterator<Item = &'n str>) {
        let mut node = 0;
        for name in names {
            let next = match self.child(node, name.as_bytes()) {
                NONE => {
                    let new = self.nodes.len() as u16;
                    self.nodes.push(Node::default());
                    self.nodes[usize::from(node)].children.push((name.as_bytes().into(), new));
                    new
                }
                known => known,
            };
            self.nodes[usize::from(next)].below |= slot.bit();
            node = next;
        }
        self.nodes[usize::from(node)].slots |= slot.bit();
    }

    fn child(&self, node: u16, name: &[u8]) -> u16 {
        let children = &self.nodes[usize::from(node)].children;
        children.iter().find(|(known, _)| **known == *name).map_or(NONE, |(_, node)| *node)
    }
}

/// What a pass over a line found, and the memory it needs.
#[derive(Clone, Debug)]
pub(crate) struct Scan {
    found: Bits,
    values: [Span; SLOTS],
    /// Where the object's `{` stands.
    pub(crate) start: usize,
    /// Where its `}` stands.
    pub(crate) close: usize,
    /// Whether the object has no members.
    pub(crate) is_empty: bool,
    /// Open containers: the node of each, and in the top bit whether it is an object.
    open: Vec<u16>,
    /// Where the containers start that have a node.
    starts: Vec<usize>,
}

const OBJECT: u16 = 0x8000;

impl Default for Scan {
    fn default() -> Self {
        Self {
            found: 0,
            values: [Span::default(); SLOTS],
            start: 0,
            close: 0,
            is_empty: true,
            open: Vec::new(),
            starts: Vec::new(),
        }
    }
}

/// What is expected next.
enum Expect {
    /// A member's name, or when it is the first one the end.
    Name { first: bool },
    /// A value for the node, or in an array just opened the end.
    Value { node: u16, first: bool },
    /// A comma or the end.
    More,
}

impl Scan {
    /// The value in `slot`, when there is one.
    pub(crate) fn get(&self, slot: Slot) -> Option<Span> {
        if self.found & slot.bit() != 0 { self.values.get(slot.0).copied() } else { None }
    }

    /// The value of `input`: of the key with the dots, or else of the path.
    pub(crate) fn input(&self, input: Input) -> Option<Span> {
        let slot = Slot::input(input);
        self.get(Slot(slot.0 + FLAT)).or_else(|| self.get(slot))
    }

    fn record(&mut self, wanted: &Wanted, node: u16, span: Span) {
        if node == NONE {
            return;
        }
        let mut slots = wanted.nodes[usize::from(node)].slots;
        self.found |= slots;
        while slots != 0 {
            self.values[slots.trailing_zeros() as usize] = span;
            slots &= slots - 1;
        }
    }

    /// Reads `line`, which must be UTF-8 for what is found to be.
    pub(crate) fn run(&mut self, line: &[u8], wanted: &Wanted) -> Result<(), NotAnObject> {
        self.found = 0;
        self.open.clear();
        self.starts.clear();
        let result = self.object(line, wanted);
        self.open.shrink_to(KEPT_DEPTH);
        result
    }

    fn object(&mut self, line: &[u8], wanted: &Wanted) -> Result<(), NotAnObject> {
        let start = skip_space(line, 0);
        if line.get(start) != Some(&b'{') {
            return Err(NotAnObject(start));
        }
        self.open.push(OBJECT);
        self.starts.push(start);
        self.start = start;
        let mut at = start + 1;
        let mut expect = Expect::Name { first: true };
        let mut empty = true;
        loop {
            at = skip_space(line, at);
            let byte = *line.get(at).ok_or(NotAnObject(at))?;
            match expect {
                Expect::Name { first: true } if byte == b'}' => {}
                Expect::Value { first: true, .. } if byte == b']' => {}
                Expect::More if matches!(byte, b'}' | b']') => {}
                Expect::More if byte == b',' => {
                    at += 1;
                    expect = if self.in_object() {
                        Expect::Name { first: false }
                    } else {
                        Expect::Value { node: NONE, first: false }
                    };
                    continue;
                }
                Expect::Name { .. } if byte == b'"' => {
                    empty &= self.open.len() > 1;
                    let (end, escaped) = string_end(line, at)?;
                    let node = self.name(line, at, end, escaped, wanted);
                    at = skip_space(line, end);
                    if line.get(at) != Some(&b':') {
                        return Err(NotAnObject(at));
                    }
                    at += 1;
                    expect = Expect::Value { node, first: false };
                    continue;
                }
                Expect::Value { node, .. } => {
                    let (end, kind) = match byte {
                        b'"' => {
                            let (end, escaped) = string_end(line, at)?;
                            (end, if escaped { ValueKind::Escaped } else { ValueKind::Plain })
                        }
                        b'{' | b'[' => {
                            self.enter(at, node, byte == b'{')?;
                            at += 1;
                            expect = if byte == b'{' {
                                Expect::Name { first: true }
                            } else {
                                Expect::Value { node: NONE, first: true }
                            };
                            continue;
                        }
                        b't' => (literal(line, at, b"true")?, ValueKind::Flag),
                        b'f' => (literal(line, at, b"false")?, ValueKind::Flag),
                        b'n' => (literal(line, at, b"null")?, ValueKind::Null),
                        _ => (number_end(line, at)?, ValueKind::Number),
                    };
                    self.record(wanted, node, Span { start: at, end, kind });
                    at = end;
                    expect = Expect::More;
                    continue;
                }
                _ => return Err(NotAnObject(at)),
            }
            // Only a closing bracket comes here.
            let container = self.open.pop().ok_or(NotAnObject(at))?;
            let is_object = container & OBJECT != 0;
            if is_object != (byte == b'}') {
                return Err(NotAnObject(at));
            }
            let node = container & !OBJECT;
            if node != NONE {
                let start = self.starts.pop().ok_or(NotAnObject(at))?;
                let kind = if is_object { ValueKind::Object } else { ValueKind::Array };
                self.record(wanted, node, Span { start, end: at + 1, kind });
            }
            at += 1;
            if self.open.is_empty() {
                self.close = at - 1;
                self.is_empty = empty;
                let end = skip_space(line, at);
                return if end == line.len() { Ok(()) } else { Err(NotAnObject(end)) };
            }
            expect = Expect::More;
        }
    }

    fn in_object(&self) -> bool {
        self.open.last().is_some_and(|container| container & OBJECT != 0)
    }

    fn enter(&mut self, at: usize, node: u16, is_object: bool) -> Result<(), NotAnObject> {
        if self.open.len() >= MAX_DEPTH {
            return Err(NotAnObject(at));
        }
        self.open.push(node | if is_object { OBJECT } else { 0 });
        if node != NONE {
            self.starts.push(at);
        }
        Ok(())
    }

    /// The node of the member whose name stands from `start` to `end`; what earlier members of the name held is forgotten.
    fn name(&mut self, line: &[u8], start: usize, end: usize, escaped: bool, wanted: &Wanted) -> u16 {
        let parent = self.open.last().map_or(NONE, |container| container & !OBJECT);
        if parent == NONE {
            return NONE;
        }
        let raw = line.get(start + 1..end - 1).unwrap_or_default();
        let node = if escaped { wanted.child(parent, &unescape(raw)) } else { wanted.child(parent, raw) };
        if node != NONE {
            self.found &= !wanted.nodes[usize::from(node)].below;
        }
        node
    }
}

/// Where the next byte that is no white space stands.
#[inline]
pub(crate) fn skip_space(line: &[u8], mut at: usize) -> usize {
    while matches!(line.get(at), Some(b' ' | b'\t' | b'\n' | b'\r')) {
        at += 1;
    }
    at
}

/// Behind `word`, which stands at `at`.
pub(crate) fn literal(line: &[u8], at: usize, word: &[u8]) -> Result<usize, NotAnObject> {
    let end = at + word.len();
    if line.get(at..end) == Some(word) { Ok(end) } else { Err(NotAnObject(at)) }
}

/// Behind the number that stands at `start`.
pub(crate) fn number_end(line: &[u8], start: usize) -> Result<usize, NotAnObject> {
    let digits = |from: usize| {
        let mut at = from;
        while line.get(at).is_some_and(u8::is_ascii_digit) {
            at += 1;
        }
        if at > from { Ok(at) } else { Err(NotAnObject(at)) }
    };
    let first = start + usize::from(line.get(start) == Some(&b'-'));
    let mut at = if line.get(first) == Some(&b'0') { first + 1 } else { digits(first)? };
    if line.get(at) == Some(&b'.') {
        at = digits(at + 1)?;
    }
    if matches!(line.get(at), Some(b'e' | b'E')) {
        let sign = matches!(line.get(at + 1), Some(b'+' | b'-'));
        at = digits(at + 1 + usize::from(sign))?;
    }
    Ok(at)
}

/// Where the bytes are, eight at a time, that end or change a string: `"`, `\`, and those below 0x20.
///
/// The lowest bit set marks the first of them; what lies above it may be wrong.
#[inline]
fn special(word: u64) -> u64 {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x8080_8080_8080_8080;
    let zero = |word: u64| word.wrapping_sub(ONES) & !word;
    let control = word.wrapping_sub(ONES * 0x20) & !word;
    (zero(word ^ (ONES * b'"' as u64)) | zero(word ^ (ONES * b'\\' as u64)) | control) & HIGH
}

/// How many bytes from `at` on a JSON string can hold as they are.
#[inline]
pub(super) fn plain_run(text: &[u8], mut at: usize) -> usize {
    let start = at;
    while let Some(word) = text.get(at..at + 8).and_then(|bytes| bytes.try_into().ok()) {
        let found = special(u64::from_le_bytes(word));
        if found != 0 {
            return at - start + (found.trailing_zeros() / 8) as usize;
        }
        at += 8;
    }
    while text.get(at).is_some_and(|byte| !matches!(byte, b'"' | b'\\' | 0..0x20)) {
        at += 1;
    }
    at - start
}

/// For a string whose quote is at `start`: where it ends, and whether it has escapes.
#[inline]
pub(crate) fn string_end(line: &[u8], start: usize) -> Result<(usize, bool), NotAnObject> {
    let mut at = start + 1;
    let mut escaped = false;
    loop {
        at += plain_run(line, at);
        match line.get(at) {
            Some(b'"') => return Ok((at + 1, escaped)),
            Some(b'\\') => {
                escaped = true;
                at = match line.get(at + 1) {
                    Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => at + 2,
                    Some(b'u') if hex4(line, at + 2).is_some() => at + 6,
                    _ => return Err(NotAnObject(at)),
                };
            }
            _ => return Err(NotAnObject(at)),
        }
    }
}

fn hex4(text: &[u8], at: usize) -> Option<u32> {
    text.get(at..at + 4)?.iter().try_fold(0, |sum, byte| Some(sum * 16 + char::from(*byte).to_digit(16)?))
}

/// What the inside of a checked string says. Half a surrogate pair becomes U+FFFD.
pub(crate) fn unescape(raw: &[u8]) -> Cow<'_, [u8]> {
    let Some(first) = memchr::memchr(b'\\', raw) else { return Cow::Borrowed(raw) };
    let mut text = Vec::with_capacity(raw.len());
    let mut at = 0;
    let mut next = Some(first);
    while let Some(escape) = next {
        text.extend_from_slice(raw.get(at..escape).unwrap_or_default());
        let (character, length) = escape_at(raw, escape);
        text.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
        at = escape + length;
        next = raw.get(at..).and_then(|rest| memchr::memchr(b'\\', rest)).map(|found| at + found);
    }
    text.extend_from_slice(raw.get(at..).unwrap_or_default());
    Cow::Owned(text)
}

/// The character the escape at `at` stands for, and the escape's length.
fn escape_at(raw: &[u8], at: usize) -> (char, usize) {
    let simple = match raw.get(at + 1) {
        Some(b'b') => '\u{8}',
        Some(b'f') => '\u{c}',
        Some(b'n') => '\n',
        Some(b'r') => '\r',
        Some(b't') => '\t',
        Some(b'u') => return unicode_escape(raw, at),
        Some(other) => char::from(*other),
        None => char::REPLACEMENT_CHARACTER,
    };
    (simple, 2)
}

fn unicode_escape(raw: &[u8], at: usize) -> (char, usize) {
    let Some(high) = hex4(raw, at + 2) else { return (char::REPLACEMENT_CHARACTER, 2) };
    if (0xd800..0xdc00).contains(&high)
        && raw.get(at + 6..at + 8) == Some(b"\\u")
        && let Some(low) = hex4(raw, at + 8).filter(|low| (0xdc00..0xe000).contains(low))
    {
        let code = 0x1_0000 + ((high - 0xd800) << 10) + (low - 0xdc00);
        return (char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER), 12);
    }
    (char::from_u32(high).unwrap_or(char::REPLACEMENT_CHARACTER), 6)
}

/// One member of an object: its name with quotes, and its value.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Member {
    pub(crate) name: (usize, usize),
    pub(crate) value: (usize, usize),
}

/// The members of the object at `start` in a line that was checked, in their order.
pub(crate) fn members(line: &[u8], start: usize) -> Vec<Member> {
    let mut members = Vec::new();
    let mut at = skip_space(line, start + 1);
    while line.get(at) == Some(&b'"') {
        let Ok((name_end, _)) = string_end(line, at) else { break };
        let value = skip_space(line, skip_space(line, name_end) + 1);
        let end = value_end(line, value);
        members.push(Member { name: (at, name_end), value: (value, end) });
        at = skip_space(line, end);
        if line.get(at) == Some(&b',') {
            at = skip_space(line, at + 1);
        }
    }
    members
}

/// Behind the value at `start` of a line that was checked.
fn value_end(line: &[u8], start: usize) -> usize {
    let mut depth = 0_usize;
    let mut at = start;
    loop {
        match line.get(at) {
            Some(b'"') => at = string_end(line, at).map_or(line.len(), |(end, _)| end),
            Some(b'{' | b'[') => {
                depth += 1;
                at += 1;
                continue;
            }
            Some(b'}' | b']') if depth > 0 => {
                depth -= 1;
                at += 1;
            }
            Some(b'}' | b']' | b',') if depth == 0 => return at,
            Some(b' ' | b'\t' | b'\r' | b'\n') if depth == 0 => return at,
            Some(_) => {
                at += 1;
                continue;
            }
            None => return at,
        }
        if depth == 0 {
            return at;
        }
    }
}
