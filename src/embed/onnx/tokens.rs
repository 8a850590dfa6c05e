//! Text to tokens, as the model's own tokenizer has it.

use std::panic::{AssertUnwindSafe, catch_unwind};

use tokenizers::tokenizer::Tokenizer;
use tokenizers::utils::truncation::TruncationParams;

use super::error::OnnxError;
use super::files::Found;

/// Bytes of a text that are looked at: far more than the tokens a model takes.
const MOST_BYTES: usize = 64 << 10;

/// A tokenizer that cuts and does not pad.
pub(super) struct Tokens {
    tokenizer: Tokenizer,
    lower_case: bool,
    last_id: u32,
}

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tokens").field("last_id", &self.last_id).finish_non_exhaustive()
    }
}

impl Tokens {
    /// # Errors
    /// When the file is no tokenizer, or has more tokens than the model knows.
    pub(super) fn open(found: &Found) -> Result<Self, OnnxError> {
        let error = |reason| OnnxError::Tokenizer { path: found.tokenizer.clone(), reason };
        // What it is made of comes from a file: a panic of the library over it is the file's fault.
        let tokenizer = catch_unwind(|| Tokenizer::from_bytes(&found.tokenizer_bytes))
            .map_err(|_| error("it cannot be parsed".to_owned()))?
            .map_err(|cause| error(cause.to_string().chars().take(200).collect()))?;
        let size = tokenizer.get_vocab_size(true) as u64;
        if let Some(model) = found.vocabulary
            && size > model
        {
            return Err(OnnxError::Vocabulary { dir: found.dir.clone(), tokenizer: size, model });
        }
        let last_id =
            tokenizer.get_vocab(true).into_values().max().ok_or_else(|| error("it has no tokens".to_owned()))?;
        let mut opened = Self { tokenizer, lower_case: found.settings.lower_case, last_id };
        opened.cut_and_never_pad(found.settings.most_tokens).map_err(error)?;
        Ok(opened)
    }

    fn cut_and_never_pad(&mut self, most_tokens: usize) -> Result<(), String> {
        let cut = TruncationParams { max_length: most_tokens, ..TruncationParams::default() };
        self.tokenizer.with_truncation(Some(cut)).map_err(|error| error.to_string())?;
        self.tokenizer.with_padding(None);
        let tried = self.of("a b c")?;
        if tried.is_empty() { Err("it finds no token in a text".to_owned()) } else { Ok(()) }
    }

    /// The largest id it can give.
    pub(super) const fn last_id(&self) -> u32 {
        self.last_id
    }

    /// The ids of the tokens of `text`; at least one.
    ///
    /// # Errors
    /// When the tokenizer fails.
    pub(super) fn of(&self, text: &str) -> Result<Vec<i64>, String> {
        let end = text.char_indices().map(|(at, _)| at).take_while(|at| *at <= MOST_BYTES).last().unwrap_or(0);
        let head = if text.len() <= MOST_BYTES { text } else { text.get(..end).unwrap_or(text) };
        let lowered = self.lower_case.then(|| head.to_lowercase());
        let head = lowered.as_deref().unwrap_or(head);
        let encode = AssertUnwindSafe(|| self.tokenizer.encode_fast(head, true));
        let encoded = catch_unwind(encode).map_err(|_| "the tokenizer panicked".to_owned())?;
        let encoded = encoded.map_err(|error| error.to_string())?;
        let ids: Vec<i64> = encoded.get_ids().iter().map(|id| i64::from(*id)).collect();
        // Tokenizers without special tokens find none in an empty text, and no model runs over nothing.
        Ok(if ids.is_empty() { vec![0] } else { ids })
    }
}
