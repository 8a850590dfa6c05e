//! What counts as a word: letters in a row, lower-cased, `camelCase` and `HTTPServer` taken apart. Digits and everything else are between words:
//! what has digits is mostly a name or a number, and a template's wildcards are no words.

/// Words of a text that are looked at.
pub(super) const MOST_WORDS: usize = 256;

/// Letters of a word that are looked at.
pub(super) const MOST_LETTERS: usize = 48;

/// Bytes of a text that are looked at.
const MOST_BYTES: usize = 64 << 10;

/// The letters of one word.
#[derive(Debug)]
pub(super) struct Word {
    letters: [char; MOST_LETTERS],
    length: usize,
    last_is_upper: bool,
    last_is_lower: bool,
}

impl Word {
    const fn new() -> Self {
        Self { letters: ['\0'; MOST_LETTERS], length: 0, last_is_upper: false, last_is_lower: false }
    }

    pub(super) fn letters(&self) -> &[char] {
        self.letters.get(..self.length).unwrap_or(&self.letters)
    }

    fn push(&mut self, letter: char) {
        self.last_is_upper = letter.is_uppercase();
        self.last_is_lower = letter.is_lowercase();
        if letter.is_ascii() {
            self.put(letter.to_ascii_lowercase());
        } else {
            letter.to_lowercase().for_each(|lower| self.put(lower));
        }
    }

    fn put(&mut self, letter: char) {
        if let Some(place) = self.letters.get_mut(self.length) {
            *place = letter;
            self.length += 1;
        }
    }
}

/// Shows the words of `text` in order, at most [`MOST_WORDS`].
pub(super) fn each(text: &str, mut show: impl FnMut(&[char])) {
    let mut word = Word::new();
    let mut shown = 0;
    let mut letters = text.char_indices().take_while(|(at, _)| *at < MOST_BYTES).map(|(_, letter)| letter).peekable();
    while let Some(letter) = letters.next() {
        let goes_on = letter.is_alphabetic();
        let next_is_lower = letters.peek().is_some_and(|next| next.is_lowercase());
        // `nameNode` before the N, `HTTPServer` before the S.
        let starts_anew =
            goes_on && letter.is_uppercase() && (word.last_is_lower || (word.last_is_upper && next_is_lower));
        if (!goes_on || starts_anew) && word.length > 0 {
            show(word.letters());
            shown += 1;
            if shown == MOST_WORDS {
                return;
            }
            word = Word::new();
        }
        if goes_on {
            word.push(letter);
        }
    }
    if word.length > 0 {
        show(word.letters());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        let mut words = Vec::new();
        each(text, |letters| words.push(letters.iter().collect()));
        words
    }

    #[test]
    fn words_are_letters_in_a_row_and_names_are_taken_apart() {
        assert_eq!(
            words("dfs.DataNode$PacketResponder: <*> for block blk_<*>"),
            ["dfs", "data", "node", "packet", "responder", "for", "block", "blk"]
        );
        assert_eq!(words("HTTPServer ERROR sda1 x86_64 I/O"), ["http", "server", "error", "sda", "x", "i", "o"]);
        assert_eq!(
            words("Größe überschritten, диск переполнен, 磁盘已满"),
            ["größe", "überschritten", "диск", "переполнен", "磁盘已满"]
        );
        assert!(words("").is_empty() && words("<*> 17 :: -- \u{0}").is_empty());
    }

    #[test]
    fn of_endless_texts_the_beginning_is_looked_at() {
        assert_eq!(words(&"ab ".repeat(10_000)).len(), MOST_WORDS);
        assert_eq!(words(&"ß".repeat(100_000)), ["ß".repeat(MOST_LETTERS)]);
        assert_eq!(words(&format!("{}word", " ".repeat(MOST_BYTES))), [""; 0]);
    }
}
