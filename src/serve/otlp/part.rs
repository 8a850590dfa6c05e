//! A request in parts: where its records are, the jobs of lanes that score them, and the request with what they made of it.
//!
//! What is kept of a record until all are scored is where it stands, and then its bytes.

use std::ops::Range;
use std::sync::Arc;

use super::record::{Flat, Wanted};
use super::{Encoding, OtlpError, Payload, json, protobuf};
use crate::plugin::{Component, Layout};
use crate::serve::http::body::{PART_BYTES, PART_EVENTS};

/// About how much a record grows.
const GROWTH_BYTES: usize = 512;

/// Where the records of a request are.
#[derive(Debug)]
pub(super) struct Plan {
    records: Vec<Place>,
    /// What is read for the resource of those records.
    resources: Vec<Range<usize>>,
    /// How many of each are kept.
    limit: usize,
    /// Records and resources that came, whichever are more.
    seen: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Place {
    at: Range<usize>,
    /// By its position among those of the request.
    resource: usize,
}

impl Plan {
    pub(super) const fn new(limit: usize) -> Self {
        Self { records: Vec::new(), resources: Vec::new(), limit, seen: 0 }
    }

    /// Another record, of the resource that comes next.
    pub(super) fn record(&mut self, at: Range<usize>) {
        self.seen = self.seen.max(self.records.len() + 1);
        if self.records.len() < self.limit {
            self.records.push(Place { at, resource: self.resources.len() });
        }
    }

    pub(super) fn resource(&mut self, at: Range<usize>) {
        self.seen = self.seen.max(self.resources.len() + 1);
        if self.resources.len() < self.limit {
            self.resources.push(at);
        }
    }

    /// How many records there are by now.
    pub(super) const fn len(&self) -> usize {
        self.records.len()
    }

    /// Forgets the records behind the first so many.
    pub(super) fn truncate(&mut self, len: usize) {
        self.records.truncate(len);
    }

    /// Forgets all.
    pub(super) fn clear(&mut self) {
        self.records.clear();
        self.resources.clear();
    }

    #[cfg(test)]
    pub(super) fn places(&self) -> Vec<Range<usize>> {
        self.records.iter().map(|place| place.at.clone()).collect()
    }

    #[cfg(test)]
    pub(super) fn resources(&self) -> &[Range<usize>] {
        &self.resources
    }
}

/// A request and where its records are.
#[derive(Debug)]
struct Planned {
    payload: Payload,
    plan: Plan,
}

impl Planned {
    fn slice(&self, at: &Range<usize>) -> &[u8] {
        self.payload.bytes.get(at.clone()).unwrap_or_default()
    }
}

/// Records of a request: a job of a lane.
#[derive(Debug)]
pub(crate) struct Part {
    planned: Arc<Planned>,
    records: Range<usize>,
}

/// The records of a part with our attributes, one after the other.
#[derive(Debug, Default)]
pub(crate) struct ScoredPart {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Part {
    /// Scores every record. One that turns out to be nonsense only now stays as it came.
    pub(crate) fn score(&self, component: &mut Component) -> ScoredPart {
        let layout = component.layout();
        let wanted = Wanted::of(&layout);
        let (mut resource, mut of) = (Flat::new(&wanted), None);
        let places = self.planned.plan.records.get(self.records.clone()).unwrap_or_default();
        let size: usize = places.iter().map(|place| place.at.len() + GROWTH_BYTES).sum();
        let mut scored = ScoredPart { bytes: Vec::with_capacity(size), ends: Vec::with_capacity(places.len()) };
        for place in places {
            if of != Some(place.resource) {
                resource = self.resource(place.resource, &wanted);
                of = Some(place.resource);
            }
            let (record, begun) = (self.planned.slice(&place.at), scored.bytes.len());
            if self.one(record, &resource, &layout, component, &mut scored.bytes).is_err() {
                scored.bytes.truncate(begun);
                scored.bytes.extend_from_slice(record);
            }
            scored.ends.push(scored.bytes.len());
        }
        scored
    }

    fn resource<'w>(&self, number: usize, wanted: &'w Wanted) -> Flat<'w, '_> {
        let (mut flat, at) = (Flat::new(wanted), self.planned.plan.resources.get(number).cloned().unwrap_or_default());
        let bytes = self.planned.slice(&at);
        let read = match self.planned.payload.encoding {
            Encoding::Protobuf => protobuf::resource(bytes, &mut flat).map_err(OtlpError::from),
            Encoding::Json => json::resource(bytes, &mut flat).map_err(OtlpError::from),
        };
        read.map_or_else(|_| Flat::new(wanted), |()| flat)
    }

    fn one(
        &self,
        record: &[u8],
        resource: &Flat<'_, '_>,
        layout: &Layout,
        component: &mut Component,
        out: &mut Vec<u8>,
    ) -> Result<(), OtlpError> {
        match self.planned.payload.encoding {
            Encoding::Protobuf => protobuf::score(record, resource, layout, component, out)?,
            Encoding::Json => json::score(record, resource, layout, component, out)?,
        }
        Ok(())
    }
}

/// The scored parts of a request, put together in their order.
#[derive(Debug)]
pub(crate) struct Scored {
    planned: Arc<Planned>,
    parts: Vec<ScoredPart>,
    bytes: usize,
    limit: usize,
}

impl Scored {
    pub(crate) fn add(&mut self, part: ScoredPart) -> Result<(), OtlpError> {
        self.bytes += part.bytes.len();
        self.parts.push(part);
        self.check(self.bytes)
    }

    fn check(&self, bytes: usize) -> Result<(), OtlpError> {
        if bytes > self.limit { Err(OtlpError::TooLarge { limit: self.limit }) } else { Ok(()) }
    }

    /// The request with them.
    pub(crate) fn end(self) -> Result<Payload, OtlpError> {
        let Planned { payload, plan } = &*self.planned;
        let slices = self.parts.iter().flat_map(|part| {
            let starts = std::iter::once(0).chain(part.ends.iter().copied());
            starts.zip(&part.ends).map(|(start, end)| part.bytes.get(start..*end).unwrap_or_default())
        });
        let bytes = match payload.encoding {
            Encoding::Protobuf => protobuf::with_records(&payload.bytes, slices, self.bytes)?,
            Encoding::Json => {
                let places = plan.records.iter().map(|place| place.at.clone());
                json::with_records(&payload.bytes, places.zip(slices), self.bytes)
            }
        };
        self.check(bytes.len())?;
        Ok(Payload { encoding: payload.encoding, bytes: bytes.into(), records: plan.len() })
    }
}

/// Splits a request into jobs, each short, so that others get their turn in between.
pub(super) fn split(payload: &Payload, max_records: usize, limit: usize) -> Result<(Vec<Part>, Scored), OtlpError> {
    let plan = match payload.encoding {
        Encoding::Protobuf => protobuf::plan(&payload.bytes, max_records)?,
        Encoding::Json => json::plan(&payload.bytes, max_records)?,
    };
    if plan.seen > max_records {
        return Err(OtlpError::TooMany { limit: max_records, found: plan.seen });
    }
    let within: usize = plan.records.iter().map(|place| place.at.len()).sum();
    let planned = Arc::new(Planned { payload: payload.clone(), plan });
    let (mut parts, mut begun, mut bytes) = (Vec::new(), 0, 0);
    for (number, place) in planned.plan.records.iter().enumerate() {
        bytes += place.at.len();
        let next = number + 1;
        if next - begun >= PART_EVENTS || bytes >= PART_BYTES || next == planned.plan.len() {
            parts.push(Part { planned: Arc::clone(&planned), records: begun..next });
            (begun, bytes) = (next, 0);
        }
    }
    let around = planned.payload.bytes.len().saturating_sub(within);
    Ok((parts, Scored { planned, parts: Vec::new(), bytes: around, limit }))
}
