//! JSON lines as events.
//!
//! A line that is one JSON object keeps every byte it has: the fields are spliced in before its last `}`, so the
//! order of names, names that stand twice, long numbers and escapes stay as they are. Any other line becomes
//! `{"message":"<the line>","anomaly":{…}}`. Bytes that are not UTF-8 cannot stand in JSON and become U+FFFD.
//!
//! `on_existing` for an object that has something at the target: `keep` adds nothing, `replace` cuts the old member
//! out, `rename` changes its name. With a target of several names (`oddline.anomaly`) the fields go into the object
//! that is there; something else in its place is treated like something at the target.
//! A message that is a list of bytes (`[104, 105]`), as `journalctl -o json` writes what is not plain text, is scored as the text of these bytes.
//! `template_field` is one key at the top of the object, dots and all.

mod bytes;
mod own;
pub(crate) mod scan;
pub(crate) mod write;

use std::borrow::Cow;
use std::sync::Arc;

use scan::{Member, Scan, Slot, Span, ValueKind, Wanted, members, unescape};

use super::component::{Component, Outcome, synthetic_message};
use super::enrichment::Enrichment;
use super::event::{Event, Input, Layout, Scalar, Written, renamed};
use crate::config::OnExisting;
use crate::engine::Synthetic;
use crate::event::Timestamp;

/// Scores lines: a component with what reading and writing JSON needs. One a thread.
#[derive(Debug)]
pub struct LineScorer {
    component: Component,
    layout: Arc<Layout>,
    wanted: Wanted,
    scan: Scan,
}

impl LineScorer {
    /// Lines for `component`.
    pub fn new(component: Component) -> Self {
        let layout = component.layout();
        Self { wanted: Wanted::new(&layout), layout, component, scan: Scan::default() }
    }

    /// The component, to tick, flush and ask for its counts.
    pub fn component(&mut self) -> &mut Component {
        &mut self.component
    }

    /// Gives the component back.
    pub fn into_component(self) -> Component {
        self.component
    }

    /// The message of a line that is one JSON object and has one.
    pub fn message_of(&mut self, line: &[u8]) -> Option<Vec<u8>> {
        let text = self.utf8(line);
        self.scan.run(text.as_bytes(), &self.wanted).ok()?;
        let event = ObjectEvent { line: text.as_bytes(), scan: &self.scan, layout: &self.layout, out: &mut Vec::new() };
        event.read(Input::Message).map(|message| message.into_text().into_owned())
    }

    /// Scores one line of NDJSON, without its line end, and appends what becomes of it to `out`, without a line end.
    ///
    /// What is not one JSON object is treated as [`LineScorer::text`] does.
    pub fn json(&mut self, line: &[u8], out: &mut Vec<u8>) -> Outcome {
        let text = self.utf8(line);
        if self.scan.run(text.as_bytes(), &self.wanted).is_err() {
            return self.write_text(line, &text, out);
        }
        let mut event = ObjectEvent { line: text.as_bytes(), scan: &self.scan, layout: &self.layout, out };
        let start = event.out.len();
        let outcome = self.component.process(&mut event);
        if outcome.written != Written::Fields {
            out.truncate(start);
            out.extend_from_slice(text.as_bytes());
        }
        outcome
    }

    /// Scores one line of text, without its line end, and appends the object made of it to `out`, without a line end.
    pub fn text(&mut self, line: &[u8], out: &mut Vec<u8>) -> Outcome {
        let text = self.utf8(line);
        self.write_text(line, &text, out)
    }

    /// Scores one line of NDJSON and appends the fields alone, as one JSON object, to `out`: for who has the event already.
    ///
    /// What is not one JSON object is treated as [`LineScorer::text_fields`] does.
    pub fn json_fields(&mut self, line: &[u8], out: &mut Vec<u8>) -> Outcome {
        let text = self.utf8(line);
        if self.scan.run(text.as_bytes(), &self.wanted).is_err() {
            return self.text_fields(line, out);
        }
        let layout = &*self.layout;
        let event = ObjectEvent { line: text.as_bytes(), scan: &self.scan, layout, out: &mut Vec::new() };
        fields_alone(&mut self.component, event, layout, out)
    }

    /// Scores one line of text and appends the fields alone, as one JSON object, to `out`. Without any it is `{}`.
    pub fn text_fields(&mut self, line: &[u8], out: &mut Vec<u8>) -> Outcome {
        let layout = &*self.layout;
        let event = TextEvent { line, text: "", layout, out: &mut Vec::new() };
        fields_alone(&mut self.component, event, layout, out)
    }

    /// Appends an event of oddline's own, with its message and time where `message_field` and `timestamp_field` say that objects have them.
    pub fn json_synthetic(&self, synthetic: &Synthetic, out: &mut Vec<u8>) {
        let line = own::object(synthetic, &self.layout);
        let mut scan = Scan::default();
        if scan.run(&line, &self.wanted).is_ok() {
            ObjectEvent { line: &line, scan: &scan, layout: &self.layout, out }
                .write(&self.component.describe(synthetic));
        }
    }

    /// Appends an event of oddline's own as [`LineScorer::text`] writes lines, with its time.
    pub fn text_synthetic(&self, synthetic: &Synthetic, out: &mut Vec<u8>) {
        let enrichment = self.component.describe(synthetic);
        out.extend_from_slice(b"{\"message\":");
        write::string(out, &synthetic_message(synthetic));
        out.extend_from_slice(b",\"timestamp\":");
        write::string(out, &super::timestamp::format(synthetic.timestamp));
        push_fields(out, &self.layout, &enrichment);
        out.push(b'}');
    }

    fn utf8<'l>(&mut self, line: &'l [u8]) -> Cow<'l, str> {
        let text = String::from_utf8_lossy(line);
        if matches!(text, Cow::Owned(_)) {
            self.component.count_invalid_utf8();
        }
        text
    }

    fn write_text(&mut self, line: &[u8], text: &str, out: &mut Vec<u8>) -> Outcome {
        let start = out.len();
        let mut event = TextEvent { line, text, layout: &self.layout, out };
        let outcome = self.component.process(&mut event);
        if outcome.written != Written::Fields {
            out.truncate(start);
            out.extend_from_slice(b"{\"message\":");
            write::string(out, text);
            out.push(b'}');
        }
        outcome
    }
}

fn fields_alone(component: &mut Component, event: impl Event, layout: &Layout, out: &mut Vec<u8>) -> Outcome {
    let start = out.len();
    let outcome = component.process(&mut FieldsAlone { event, layout, out });
    if outcome.written != Written::Fields {
        out.truncate(start);
        out.extend_from_slice(b"{}");
    }
    outcome
}

/// An event that is read, and of which only the fields are written.
struct FieldsAlone<'a, E> {
    event: E,
    layout: &'a Layout,
    out: &'a mut Vec<u8>,
}

impl<E: Event> Event for FieldsAlone<'_, E> {
    fn read(&self, input: Input) -> Option<Scalar<'_>> {
        self.event.read(input)
    }

    fn time(&self, now: Timestamp) -> Option<Timestamp> {
        self.event.time(now)
    }

    fn write(&mut self, enrichment: &Enrichment<'_>) -> Written {
        let comma = self.out.len();
        push_fields(self.out, self.layout, enrichment);
        if let Some(comma) = self.out.get_mut(comma) {
            *comma = b'{';
        }
        self.out.push(b'}');
        Written::Fields
    }
}

/// Appends `,"anomaly":{…}` and the template field.
fn push_fields(out: &mut Vec<u8>, layout: &Layout, enrichment: &Enrichment<'_>) {
    out.push(b',');
    write::member(out, layout.target.segments(), enrichment);
    if let (Some(name), Some(template)) = (&layout.template_field, enrichment.template()) {
        out.push(b',');
        write::string(out, name);
        out.push(b':');
        write::string(out, template);
    }
}

/// A line of text.
struct TextEvent<'a> {
    /// The bytes that are scored.
    line: &'a [u8],
    /// The text that is written.
    text: &'a str,
    layout: &'a Layout,
    out: &'a mut Vec<u8>,
}

impl Event for TextEvent<'_> {
    fn read(&self, input: Input) -> Option<Scalar<'_>> {
        match input {
            Input::Message => Some(Scalar::Text(Cow::Borrowed(self.line))),
            Input::Timestamp | Input::Level | Input::Partition(_) | Input::Ruled(_) => None,
        }
    }

    fn time(&self, now: Timestamp) -> Option<Timestamp> {
        super::timestamp::from_line(self.line, now)
    }

    fn write(&mut self, enrichment: &Enrichment<'_>) -> Written {
        self.out.reserve(self.text.len() + 512);
        self.out.extend_from_slice(b"{\"message\":");
        write::string(self.out, self.text);
        push_fields(self.out, self.layout, enrichment);
        self.out.push(b'}');
        Written::Fields
    }
}

/// A line that is one JSON object.
struct ObjectEvent<'a> {
    line: &'a [u8],
    scan: &'a Scan,
    layout: &'a Layout,
    out: &'a mut Vec<u8>,
}

impl Event for ObjectEvent<'_> {
    fn read(&self, input: Input) -> Option<Scalar<'_>> {
        let span = self.scan.input(input)?;
        let raw = self.line.get(span.start..span.end)?;
        match span.kind {
            ValueKind::Plain => raw.get(1..raw.len() - 1).map(|text| Scalar::Text(Cow::Borrowed(text))),
            ValueKind::Escaped => raw.get(1..raw.len() - 1).map(|text| Scalar::Text(unescape(text))),
            ValueKind::Number => std::str::from_utf8(raw).ok().map(|text| Scalar::Number(Cow::Borrowed(text))),
            ValueKind::Flag => Some(Scalar::Flag(raw == b"true")),
            ValueKind::Array if input == Input::Message => bytes::text(raw).map(|text| Scalar::Text(Cow::Owned(text))),
            ValueKind::Null | ValueKind::Array | ValueKind::Object => None,
        }
    }

    fn write(&mut self, enrichment: &Enrichment<'_>) -> Written {
        self.out.reserve(self.line.len() + 512);
        if self.scan.get(Slot::target(0)).is_none() && self.scan.get(Slot::TEMPLATE).is_none() {
            self.splice(enrichment);
            return Written::Fields;
        }
        match Edits::plan(self, enrichment) {
            Some(edits) => {
                edits.apply(self.line, self.out);
                Written::Fields
            }
            None => Written::Kept,
        }
    }
}

impl ObjectEvent<'_> {
    /// The common case: nothing of ours is there, the fields go before the last `}`.
    fn splice(&mut self, enrichment: &Enrichment<'_>) {
        let (before, behind) = self.line.split_at(self.scan.close);
        self.out.extend_from_slice(before);
        let comma = self.out.len();
        push_fields(self.out, self.layout, enrichment);
        if self.scan.is_empty {
            self.out.remove(comma);
        }
        self.out.extend_from_slice(behind);
    }

    /// The object the fields go into, how many names of the target it stands for, and whether something is in the way.
    fn place(&self) -> (Span, usize, bool) {
        let names = self.layout.target.segments().len();
        let root = Span { start: self.scan.start, end: self.scan.close + 1, kind: ValueKind::Object };
        let mut place = (root, 0);
        for step in 0..names {
            match self.scan.get(Slot::target(step)) {
                None => return (place.0, place.1, false),
                Some(span) if span.kind == ValueKind::Object && step + 1 < names => place = (span, step + 1),
                Some(_) => return (place.0, place.1, true),
            }
        }
        (place.0, place.1, false)
    }
}

/// Changes to a line: what stands from `start` to `end` is replaced by `text`.
#[derive(Default)]
struct Edits(Vec<(usize, usize, Vec<u8>)>);

impl Edits {
    /// Nothing when what is at the target is to be kept.
    fn plan(event: &ObjectEvent<'_>, enrichment: &Enrichment<'_>) -> Option<Self> {
        let (layout, line) = (event.layout, event.line);
        let (place, depth, in_the_way) = event.place();
        let keep = layout.on_existing == OnExisting::Keep;
        if in_the_way && keep {
            return None;
        }
        let names = layout.target.segments().get(depth..).unwrap_or_default();
        let mut fields = Vec::with_capacity(512);
        write::member(&mut fields, names, enrichment);
        let has_template = event.scan.get(Slot::TEMPLATE).is_some();
        let template = layout.template_field.as_deref().zip(enrichment.template()).filter(|_| !(has_template && keep));

        let mut edits = Self::default();
        let mut gone: Vec<&str> = Vec::new();
        if has_template {
            gone.extend(template.map(|(name, _)| name));
        }
        let at_root = depth == 0;
        if !at_root {
            let gone: Vec<&str> = names.first().filter(|_| in_the_way).map(String::as_str).into_iter().collect();
            edits.insert(line, place, &gone, layout.on_existing, std::mem::take(&mut fields));
        } else if in_the_way {
            gone.extend(names.first().map(String::as_str));
        }
        if let Some((name, text)) = template {
            if !fields.is_empty() {
                fields.push(b',');
            }
            write::string(&mut fields, name);
            fields.push(b':');
            write::string(&mut fields, text);
        }
        if !fields.is_empty() {
            let root = Span { start: event.scan.start, end: event.scan.close + 1, kind: ValueKind::Object };
            edits.insert(line, root, &gone, layout.on_existing, fields);
        }
        Some(edits)
    }

    /// Puts `text` at the end of `object`, after cutting out or renaming its members called `gone`.
    fn insert(&mut self, line: &[u8], object: Span, gone: &[&str], on_existing: OnExisting, mut text: Vec<u8>) {
        let members = members(line, object.start);
        let is_gone: Vec<Option<&str>> =
            members.iter().map(|member| gone.iter().copied().find(|name| member.is_called(line, name))).collect();
        let mut kept = 0;
        for (index, (member, name)) in members.iter().zip(&is_gone).enumerate() {
            match name {
                Some(name) if on_existing == OnExisting::Rename => {
                    let taken = |name: &str| members.iter().any(|other| other.is_called(line, name));
                    let mut quoted = Vec::new();
                    write::string(&mut quoted, &renamed(name, taken));
                    self.0.push((member.name.0, member.name.1, quoted));
                    kept += 1;
                }
                Some(_) => {
                    let before = index.checked_sub(1).and_then(|index| members.get(index)).filter(|_| kept > 0);
                    let start = before.map_or(member.name.0, |before| before.value.1);
                    let next = members.get(index + 1).filter(|_| kept == 0);
                    self.0.push((start, next.map_or(member.value.1, |next| next.name.0), Vec::new()));
                }
                None => kept += 1,
            }
        }
        if kept > 0 {
            text.insert(0, b',');
        }
        self.0.push((object.end - 1, object.end - 1, text));
    }

    fn apply(mut self, line: &[u8], out: &mut Vec<u8>) {
        self.0.sort_by_key(|(start, end, _)| (*start, *end));
        let mut at = 0;
        for (start, end, text) in &self.0 {
            out.extend_from_slice(line.get(at..*start).unwrap_or_default());
            out.extend_from_slice(text);
            at = *end;
        }
        out.extend_from_slice(line.get(at..).unwrap_or_default());
    }
}

impl Member {
    fn is_called(&self, line: &[u8], name: &str) -> bool {
        line.get(self.name.0 + 1..self.name.1 - 1).is_some_and(|raw| *unescape(raw) == *name.as_bytes())
    }
}
