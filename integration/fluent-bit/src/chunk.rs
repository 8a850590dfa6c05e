//! A chunk: records one behind another.

use std::sync::Arc;

use oddline::engine::Synthetic;
use oddline::plugin::component::synthetic_message;
use oddline::plugin::{Component, Layout, Written};

use crate::event::{Names, RecordEvent, own_record};
use crate::msgpack::Reader;
use crate::record::{self, Item, Kind};

/// The most events of oddline's own that wait for a chunk to go with.
const MAX_WAITING: usize = 1_024;

/// A component with what reading and writing records needs.
pub(crate) struct Scorer {
    component: Component,
    layout: Arc<Layout>,
    names: Names,
    /// Events of oddline's own that go with the next chunk.
    waiting: Vec<Synthetic>,
}

impl Scorer {
    pub(crate) fn new(component: Component) -> Self {
        let layout = component.layout();
        Self { names: Names::new(&layout), layout, component, waiting: Vec::new() }
    }

    pub(crate) fn component(&mut self) -> &mut Component {
        &mut self.component
    }

    pub(crate) fn into_component(self) -> Component {
        self.component
    }

    /// Lets time pass; what the component has to say of its own waits for a chunk.
    pub(crate) fn tick(&mut self) {
        let now = self.component.now();
        let synthetic = self.component.tick(now);
        let room = MAX_WAITING.saturating_sub(self.waiting.len());
        self.waiting.extend(synthetic.into_iter().take(room));
    }

    /// Scores every log event of `chunk` and puts the chunk with their fields into `out`, which is emptied first. False when nothing changed.
    ///
    /// What is no log event, and everything from the first byte on that means nothing, goes as it came.
    pub(crate) fn enrich(&mut self, chunk: &[u8], out: &mut Vec<u8>) -> bool {
        out.clear();
        out.reserve(chunk.len() + chunk.len() / 2);
        let mut reader = Reader::new(chunk);
        let mut changed = false;
        let (mut is_v2, mut in_group) = (true, false);
        while let Some(item) = record::next(&mut reader) {
            match item {
                Item::Record(record, whole) if record.kind == Kind::Log => {
                    is_v2 = record.is_v2;
                    let start = out.len();
                    let found = self.names.find(&record.body);
                    let mut event = RecordEvent {
                        record: &record,
                        names: &self.names,
                        found: &found,
                        layout: &self.layout,
                        out: Some(out),
                    };
                    let written = self.component.process(&mut event).written;
                    if written == Written::Fields {
                        changed = true;
                    } else {
                        out.truncate(start);
                        out.extend_from_slice(whole);
                    }
                }
                Item::Record(record, whole) => {
                    in_group = record.kind == Kind::GroupStart;
                    out.extend_from_slice(whole);
                }
                Item::Other(whole) => out.extend_from_slice(whole),
            }
        }
        let is_whole = reader.rest().is_empty();
        out.extend_from_slice(reader.rest());
        // Behind what means nothing, nobody would find them; within a group they would be taken for its members.
        if is_whole && !in_group && !self.waiting.is_empty() {
            self.append_waiting(out, is_v2);
            changed = true;
        }
        changed
    }

    /// Learns from every log event of `chunk`.
    pub(crate) fn learn(&mut self, chunk: &[u8]) {
        let mut reader = Reader::new(chunk);
        while let Some(item) = record::next(&mut reader) {
            if let Item::Record(record, _) = item
                && record.kind == Kind::Log
            {
                let found = self.names.find(&record.body);
                let (names, layout) = (&self.names, &*self.layout);
                self.component.process(&mut RecordEvent { record: &record, names, found: &found, layout, out: None });
            }
        }
    }

    fn append_waiting(&mut self, out: &mut Vec<u8>, is_v2: bool) {
        for synthetic in std::mem::take(&mut self.waiting) {
            let message = synthetic_message(&synthetic);
            let fields = self.component.describe(&synthetic);
            own_record(out, &self.layout, (synthetic.timestamp, &message), &fields, is_v2);
        }
    }
}
