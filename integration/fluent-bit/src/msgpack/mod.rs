//! MessagePack, walked in place: nothing is copied, nothing recurses, and no length that bytes claim is believed
//! before those bytes are there.

mod read;
mod write;

pub(crate) use read::{Map, Reader, Token};
pub(crate) use write::{array_header, event_time, map_header, patch_map_header, text, value};
