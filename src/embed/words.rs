//! What counts as a word: letters in a row, lower-cased, `camelCase` and `HTTPServer` taken apart. Digits and everything else are between words:
//! what has digits is mostly a name or a number, and a template's wildcards are no words.
//!
//! Of a word of more than [`MOST_LETTERS`] the rest is left out: it is no word. But scripts that have no spaces ([`has_no_spaces`]) write whole texts that way, so that what goes
//! on in one of them is taken in pieces of that length, each beginning with the last letter of the one before, so that every two letters that stand together do so in a
//! piece; of a text no more than [`MOST_WORDS`] pieces, some 12,000 letters.

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

    fn is_full(&self) -> bool {
        self.length == MOST_LETTERS
    }

    /// A piece that goes on where this one ends.
    fn next_piece(&self) -> Self {
        let mut next = Self::new();
        self.letters().last().into_iter().for_each(|last| next.put(*last));
        next
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

/// Letters of scripts that put no space between words: Chinese, Japanese, Thai, Lao, Burmese, Khmer.
const fn has_no_spaces(letter: char) -> bool {
    matches!(letter,
        '\u{0e00}'..='\u{0eff}' | '\u{1000}'..='\u{109f}' | '\u{1780}'..='\u{17ff}' | '\u{3005}'..='\u{30ff}' | '\u{31f0}'..='\u{31ff}'
        | '\u{3400}'..='\u{9fff}' | '\u{f900}'..='\u{faff}' | '\u{ff66}'..='\u{ff9f}' | '\u{20000}'..='\u{3ffff}')
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
        if goes_on && word.is_full() && has_no_spaces(letter) {
            show(word.letters());
            shown += 1;
            if shown == MOST_WORDS {
                return;
            }
            word = word.next_piece();
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
    fn texts_without_spaces_are_taken_in_pieces_that_hold_every_two_letters_that_stand_together() {
        let text: String = (0..200u32).filter_map(|n| char::from_u32(0x4e00 + n)).collect();
        let pieces = words(&text);
        assert_eq!(pieces.len(), 5);
        let letters: Vec<char> = text.chars().collect();
        for pair in letters.windows(2).map(|pair| pair.iter().collect::<String>()) {
            assert!(pieces.iter().any(|piece| piece.contains(&pair)), "{pair}");
        }
        assert_eq!(words(&"満".repeat(60_000)).len(), MOST_WORDS);
        for short in ["磁盘已满", "ディスクがいっぱいです", "ดิสก", "디스크가꽉찼습니다"]
        {
            assert_eq!(words(short), [short], "as one");
        }
        assert_eq!(words(&"가".repeat(100)), ["가".repeat(MOST_LETTERS)], "Korean has spaces");
    }

    #[test]
    fn of_endless_texts_the_beginning_is_looked_at() {
        assert_eq!(words(&"ab ".repeat(10_000)).len(), MOST_WORDS);
        assert_eq!(words(&"ß".repeat(100_000)), ["ß".repeat(MOST_LETTERS)]);
        assert_eq!(words(&format!("{}word", " ".repeat(MOST_BYTES))), [""; 0]);
    }
}
