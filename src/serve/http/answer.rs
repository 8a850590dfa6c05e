//! An answer that may be large: it is handed over in pieces, and the turn of its request ends with the last one.
//!
//! So who does not take what was scored for him holds one of the permits, and no more memory than the permits are worth; the connection's
//! limits end it.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use crate::serve::turn::Turn;

/// Bytes of a piece: more than a socket takes at once is not asked for.
const PIECE_BYTES: usize = 64 << 10;

/// The bytes still to be taken.
#[derive(Debug)]
pub(super) struct Pieces {
    bytes: Bytes,
    _turn: Turn,
}

impl Pieces {
    pub(super) const fn new(bytes: Bytes, turn: Turn) -> Self {
        Self { bytes, _turn: turn }
    }
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.bytes.is_empty() {
            return Poll::Ready(None);
        }
        let piece = self.bytes.len().min(PIECE_BYTES);
        Poll::Ready(Some(Ok(Frame::data(self.bytes.split_to(piece)))))
    }

    fn is_end_stream(&self) -> bool {
        self.bytes.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.bytes.len() as u64)
    }
}
