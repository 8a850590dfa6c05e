//! A `PushEventsRequest` in, the same with our fields out.
//!
//! Events keep their number and order; what is no log event, and what the request holds besides events, is copied.

use bytes::Bytes;

use super::event::{self, LogEvent};
use super::proto::number;
use crate::engine::Synthetic;
use crate::plugin::component::{synthetic_message, synthetic_texts};
use crate::plugin::{Component, Event as _, Layout, Written};
use crate::serve::http::body::{PART_BYTES, PART_EVENTS};
use crate::serve::wire::{self, Malformed, Wire};

/// What one event grows by, about.
const GROWTH_BYTES: usize = 256;

/// Why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BatchError {
    /// The request is not what the protocol says.
    #[error("request: {0}")]
    Request(Malformed),
    /// One of its events is not.
    #[error("event {index} of the request: {source}")]
    Event {
        /// Which, from 0.
        index: usize,
        /// What is wrong with it.
        source: Malformed,
    },
    /// It has too many.
    #[error("expected at most {limit} events (max_events), found {found}: send them in several requests")]
    TooMany {
        /// How many may be.
        limit: usize,
        /// How many are.
        found: usize,
    },
}

/// A request with our fields.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Enriched {
    /// The request.
    pub request: Bytes,
    /// Events in it.
    pub events: usize,
}

/// `request` as jobs of lanes, each short and a request of its own: one after another they are `request`. A request that is refused has taught nothing.
pub(crate) fn parts(request: &Bytes, layout: &Layout, max_events: usize) -> Result<Vec<Bytes>, BatchError> {
    let (mut found, mut unused) = (0, Vec::new());
    let (mut parts, mut start, mut in_part) = (Vec::new(), 0, 0);
    for field in wire::fields(request) {
        let field = field.map_err(BatchError::Request)?;
        if let (number::EVENTS, Wire::Bytes(wrapper)) = (field.number, field.value) {
            let read = LogEvent::parse(wrapper, layout, &mut unused);
            read.map_err(|source| BatchError::Event { index: found, source })?;
            (found, in_part) = (found + 1, in_part + 1);
        }
        let end = field.span.end;
        if in_part >= PART_EVENTS || end - start >= PART_BYTES {
            parts.push(request.slice(start..end));
            (start, in_part) = (end, 0);
        }
    }
    if start < request.len() {
        parts.push(request.slice(start..));
    }
    if found > max_events { Err(BatchError::TooMany { limit: max_events, found }) } else { Ok(parts) }
}

/// Scores the log events of `request`, which [`parts`] has found right.
pub(crate) fn enrich(request: &[u8], component: &mut Component) -> Result<Enriched, BatchError> {
    let layout = component.layout();
    let mut out = Vec::with_capacity(request.len() + PART_EVENTS * GROWTH_BYTES);
    let (mut events, mut added) = (0, Vec::with_capacity(2 * GROWTH_BYTES));
    for field in wire::fields(request) {
        let field = field.map_err(BatchError::Request)?;
        match (field.number, field.value) {
            (number::EVENTS, Wire::Bytes(wrapper)) => {
                score(wrapper, &layout, component, &mut added);
                push(&mut out, wrapper, &added);
                events += 1;
            }
            _ => out.extend_from_slice(request.get(field.span).unwrap_or_default()),
        }
    }
    Ok(Enriched { request: out.into(), events })
}

/// Leaves in `added` what belongs behind `wrapper`.
fn score(wrapper: &[u8], layout: &Layout, component: &mut Component, added: &mut Vec<u8>) {
    added.clear();
    let written = match LogEvent::parse(wrapper, layout, added) {
        Ok(Some(mut event)) => component.process(&mut event).written,
        Ok(None) | Err(_) => Written::Failed,
    };
    if written != Written::Fields {
        added.clear();
    }
}

fn push(out: &mut Vec<u8>, wrapper: &[u8], added: &[u8]) {
    wire::varint(out, number::EVENTS << 3 | 2);
    wire::varint(out, (wrapper.len() + added.len()) as u64);
    out.extend_from_slice(wrapper);
    out.extend_from_slice(added);
}

/// A request with events of oddline's own.
pub(crate) fn synthetic(events: &[Synthetic], component: &Component) -> Enriched {
    let layout = component.layout();
    let mut out = Vec::new();
    for synthetic in events {
        let mut wrapper = Vec::new();
        let message = synthetic_message(synthetic);
        event::synthetic(&mut wrapper, &synthetic_texts(synthetic, &message, &layout), synthetic.timestamp);
        let mut added = Vec::new();
        if let Ok(Some(mut event)) = LogEvent::parse(&wrapper, &layout, &mut added) {
            event.write(&component.describe(synthetic));
        }
        push(&mut out, &wrapper, &added);
    }
    Enriched { request: out.into(), events: events.len() }
}
