//! A chunk: records one behind another.

use std::sync::Arc;

use oddline::engine::Synthetic;
use oddline::plugin::component::{synthetic_message, synthetic_texts};
use oddline::plugin::{Component, Event as _, Layout, Written};

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
            let bytes = own_record(&synthetic_texts(&synthetic, &message, &self.layout), synthetic.timestamp, is_v2);
            let Some(Item::Record(record, _)) = record::next(&mut Reader::new(&bytes)) else { continue };
            let found = self.names.find(&record.body);
            let (names, layout) = (&self.names, &*self.layout);
            RecordEvent { record: &record, names, found: &found, layout, out: Some(out) }
                .write(&self.component.describe(&synthetic));
        }
    }
}

#[cfg(test)]
mod tests {
    use oddline::config::Config;
    use oddline::engine::Environment;
    use proptest::prelude::*;

    use super::*;

    fn scorer(on_existing: &str) -> Scorer {
        let config = serde_json::json!({"on_existing": on_existing, "target": "a.b", "template_field": "t", "partition_by": ["host", "x.y"]});
        let config = Config::from_value(&config, "test").unwrap();
        Scorer::new(Component::new(config, Environment::system()).unwrap())
    }

    /// Whole values at the start of `bytes`, by a MessagePack that is not ours, and how many bytes they are.
    fn values(bytes: &[u8]) -> (usize, usize) {
        let (mut cursor, mut count, mut read) = (std::io::Cursor::new(bytes), 0, 0);
        while rmpv::decode::read_value(&mut cursor).is_ok() {
            (count, read) = (count + 1, cursor.position() as usize);
        }
        (count, read)
    }

    fn value() -> BoxedStrategy<Vec<u8>> {
        let leaf = prop_oneof![
            Just(vec![0xc0]),
            Just(vec![0xc3]),
            (0_u8..128).prop_map(|number| vec![number]),
            "[a-z ]{0,20}".prop_map(|text| [&[0xa0 | text.len() as u8], text.as_bytes()].concat()),
            Just(b"\xd4\x05x".to_vec()),
        ];
        leaf.prop_recursive(4, 32, 4, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(|items| [
                    vec![0x90 | items.len() as u8],
                    items.concat()
                ]
                .concat()),
                map(inner),
            ]
        })
        .boxed()
    }

    fn map(value: BoxedStrategy<Vec<u8>>) -> BoxedStrategy<Vec<u8>> {
        let key = prop_oneof![
            Just(b"\xa7message".to_vec()),
            Just(b"\xa1a".to_vec()),
            Just(b"\xa1b".to_vec()),
            Just(b"\xa1t".to_vec()),
            Just(b"\xa4host".to_vec()),
            value.clone(),
        ];
        let header = prop_oneof![Just(1_usize), Just(3), Just(5)];
        (header, proptest::collection::vec((key, value), 0..6))
            .prop_map(|(header, entries)| {
                let mut bytes = Vec::new();
                crate::msgpack::map_header(&mut bytes, entries.len() as u32, header);
                entries.iter().for_each(|(key, value)| bytes.extend([&key[..], value].concat()));
                bytes
            })
            .boxed()
    }

    proptest! {
        #[test]
        fn whatever_comes_as_many_values_go_on_and_the_rest_as_it_came(
            bodies in proptest::collection::vec(map(value()), 0..8), rest in proptest::collection::vec(any::<u8>(), 0..20), on_existing in "keep|replace|rename"
        ) {
            let records = bodies.iter().flat_map(|body| [&b"\x92\x92\xd7\x00\x65\x53\xf1\x00\x00\x00\x00\x00\x80"[..], body].concat());
            let chunk: Vec<u8> = records.chain(rest).collect();
            let (count, read) = values(&chunk);
            let mut out = Vec::new();
            let changed = scorer(&on_existing).enrich(&chunk, &mut out);
            let (count_out, read_out) = values(&out);
            prop_assert!(changed || out == chunk);
            prop_assert!(count_out >= count.min(bodies.len()));
            if count == count_out {
                prop_assert_eq!(&out[read_out..], &chunk[read..]);
            }
            prop_assert!(out.len() + 1 >= chunk.len() || on_existing == "replace");
        }
    }
}
