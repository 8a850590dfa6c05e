//! Message → template: which of the known message shapes is this line, and what are its variables?
//!
//! # Method
//! Two stages, both online.
//!
//! 1. **Typed masking** ([`tokenise`], [`mask`]), stateless: a line is split on runs of blanks; within a token
//!    whatever looks like a number, hex, id, address, path, timestamp, size or `key=value` value becomes `<*>`. What is
//!    left is the line's *skeleton*. Most lines of real systems are done here. No rule looks at which digit a digit is, so that a line that
//!    differs from ones met two or three times before in its digits only is known by heart (`memo`): 85 % of the first 2,000 lines of ten systems' logs.
//! 2. **Generalisation** (`store`, `tree`), for variables without a tell-tale shape (user names, host names): every
//!    new skeleton is entered under each of its *leave-one-out* signatures (all tokens but one). Once
//!    `merge_after` skeletons differ in one position only, that position is a variable: they become one template; of
//!    `key=word` the key stays. The decision rests on the number of distinct values seen, never on a first mismatch, so `GET` and `POST` stay apart.
//!    Where words differed the detectors see words (`places`). What the generalised template covers becomes part of it (`cover`).
//!
//! # Ids
//! A template's id is the hash of the skeleton it was first seen with: the same on every host, and unchanged when
//! the template generalises later. Of merged templates the oldest keeps its id; the others' ids are aliases of it.
//!
//! # Threads
//! [`TemplateStore`] is the one writer, behind a mutex. Each lane has a [`LaneMatcher`]: lines known by heart, a private cache from skeleton
//! hash to slot and an immutable copy of the tree, so a known template takes no lock. A cached answer is checked
//! against the slot's generation in a shared array that is written only when a slot is re-used or merged.
//!
//! # Bounds
//! At most `max_templates` templates; beyond that S3-FIFO (Yang et al., SOSP 2023) evicts: new templates pass a
//! small queue and stay only when met again, so a storm of lines that never repeat cannot push out the known ones.

mod cache;
mod cover;
pub mod explain;
mod fingerprint;
mod hash;
mod image;
mod json;
mod keyed;
mod kind;
mod known_tokens;
pub mod mask;
mod memo;
mod parameters;
mod persist;
mod places;
mod queue;
pub mod rule;
mod scanner;
mod seed;
mod shapes;
mod shared;
mod similar;
pub mod store;
pub mod tokenise;
mod tree;
mod typed;
pub mod unify;

pub use cache::{LaneMatcher, Match};
pub use image::ImageError;
pub use kind::Kind;
pub use mask::{MaskError, UserMasks};
pub use memo::Tokeniser;
pub use parameters::{Blanks, Parts, Taken};
pub use rule::{Rule, RuleSet};
pub use seed::Seeded;
pub use store::{Change, Learned, StoredTemplate, TemplateOptions, TemplateStore};
pub use tokenise::{Masking, Skeleton, WILDCARD};

/// Dense number of a live template, reused after eviction; index of per-template arrays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Slot(pub u32);

impl Slot {
    /// As an array index.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}
