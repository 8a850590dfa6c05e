//! The `vector` gRPC protocol, in and out.

pub mod batch;
pub(crate) mod event;
pub(crate) mod forward;
pub mod proto;
pub(crate) mod service;
