//! The `vector` gRPC protocol: its messages, declared anew, and the codec.
//!
//! ```text
//! service vector.Vector
//!   PushEvents(PushEventsRequest { events: repeated EventWrapper = 1 }) → PushEventsResponse {}
//!   HealthCheck(HealthCheckRequest {}) → HealthCheckResponse { status = 1: SERVING = 0, NOT_SERVING = 1 }
//! EventWrapper = oneof { Log log = 1; Metric metric = 2; Trace trace = 3 }
//! Log          { map<string, Value> fields = 1; Value value = 2; metadata = 3, 4 }     `value`, when there, replaces `fields`
//! Value        = oneof { bytes 1; Timestamp 2; int64 4; double 5; bool 6; ValueMap 7; ValueArray 8; null 9 }
//! ValueMap     { map<string, Value> fields = 1 }      ValueArray { repeated Value items = 1 }
//! Timestamp    { int64 seconds = 1; int32 nanos = 2 }
//! map entry    { string key = 1; Value value = 2 }    the last entry of a key counts
//! ```
//!
//! Requests are not decoded into these messages: [`super::batch`] works on their bytes, so that whatever else a
//! version of Vector puts into an event goes through as it came.

use bytes::{Buf, BufMut, Bytes};
use tonic::Status;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};

/// Path of the call that brings events.
pub(crate) const PUSH_EVENTS: &str = "/vector.Vector/PushEvents";
/// Path of the call that asks whether we can take events.
pub(crate) const HEALTH_CHECK: &str = "/vector.Vector/HealthCheck";

/// Field numbers, as in the table above.
pub(super) mod number {
    pub(in super::super) const EVENTS: u64 = 1;
    pub(in super::super) const LOG: u64 = 1;
    pub(in super::super) const LOG_FIELDS: u64 = 1;
    pub(in super::super) const LOG_VALUE: u64 = 2;
    pub(in super::super) const BYTES: u64 = 1;
    pub(in super::super) const TIMESTAMP: u64 = 2;
    pub(in super::super) const INTEGER: u64 = 4;
    pub(in super::super) const FLOAT: u64 = 5;
    pub(in super::super) const BOOLEAN: u64 = 6;
    pub(in super::super) const MAP: u64 = 7;
    pub(in super::super) const ARRAY: u64 = 8;
    pub(in super::super) const NULL: u64 = 9;
    /// Entries of a `ValueMap`, items of a `ValueArray`.
    pub(in super::super) const ITEMS: u64 = 1;
    pub(in super::super) const KEY: u64 = 1;
    pub(in super::super) const VALUE: u64 = 2;
    pub(in super::super) const SECONDS: u64 = 1;
    pub(in super::super) const NANOS: u64 = 2;
}

/// Answer to a health check.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct HealthCheckResponse {
    /// [`ServingStatus`].
    #[prost(enumeration = "ServingStatus", tag = "1")]
    pub status: i32,
}

/// Whether events are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum ServingStatus {
    /// They are.
    Serving = 0,
    /// They are not.
    NotServing = 1,
}

/// Messages as their bytes: nothing is copied or looked at on the way in.
#[derive(Clone, Copy, Debug, Default)]
pub struct Raw;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, dst: &mut EncodeBuf<'_>) -> Result<(), Status> {
        dst.reserve(item.len());
        dst.put(item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, src: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(src.copy_to_bytes(src.remaining())))
    }
}
