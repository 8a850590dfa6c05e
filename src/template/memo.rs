//! Skeletons of lines met before, but for their digits.
//!
//! No rule of [`mask`](super::mask), [`shapes`](super::shapes) or [`json`](super::json) looks at which digit a digit is, so that lines of one *shape*, a line with `0` in
//! place of each of its digits, have the same tokens and variables at the same places. To take a shape and to look it up is a fraction of what it takes to
//! go through all the rules. Hashes of tokens whose constant part has a digit (`eth0`) are taken anew.
//!
//! **What is kept.** A shape that is met the second time, or the third where more than half of the room is taken. Until then only a tag is kept ([`Memo::met`]), so that
//! lines that never repeat, or by chance, displace nothing. Lines of more
//! than [`MOST_BYTES`], [`MOST_TOKENS`] or [`MOST_VARIABLES`] are not. A shape is told by its length and its [`fingerprint`](super::fingerprint), and its text is not kept. Of
//! the lines there is room for, a line is taken for one that it is not with a probability of 2^-51 at the most, whoever wrote it; it would have that one's template, and be
//! logged so. But for that, what is found is what [`Skeleton::scan`] would make, which is the twin that tests compare with, and fuzz targets at every call.
//!
//! **Where.** An index of buckets of four lines, whose tags stand apart, so that of a bucket the one line is read that it is; behind it two areas of fixed size,
//! tokens and variables, with the [`Skeleton`], which shows them
//! without a copy. They are filled from the start, and when one is full all is forgotten but what was met, so that what comes again is kept at once. A bucket's
//! newcomer takes the place of its oldest line. They are allocated once, by [`Tokeniser::new`]: 2.5 MiB, of which half a MiB is in use at once and the rest as it is filled.
//!
//! **What is known of variables.** Which of them are no numbers, and which are a few digits, or a few before and after a point (`quantity::Forms`), is the same in all lines of a
//! shape. So the detectors need not look at those that are none, and read short numbers without looking what they are.
//!
//! **What was found.** With a line is kept what its lane last found for it, so that a line that is known needs no other table. Whether that stands is asked each time
//! ([`LaneMatcher::find`](super::LaneMatcher::find)).
//!
//! The user's masks may look at digits, so that [`Tokeniser`] keeps nothing where there are any.

use super::cache::Found;
use super::fingerprint::{Fingerprint, Fingerprinter, MOST_BYTES};
use super::tokenise::{KeptLine, Masking, Skeleton};
use crate::arithmetic::set_bits;
#[cfg(any(test, fuzzing))]
use crate::quantity::{Forms, Quantity};

/// Tokens and variables of a line that is kept.
const MOST_TOKENS: usize = 128;
const MOST_VARIABLES: usize = 128;

/// log2 of the buckets, each of [`WAYS`] shapes.
const BUCKET_BITS: u32 = 11;
const WAYS: usize = 4;

/// log2 of the tags of shapes that were met.
const MET_BITS: u32 = 13;
/// The bits of such a tag that say how often, and the most they say.
const MET_MOST: u32 = 0b11;

/// Room of the areas: for some five thousand lines of twelve tokens.
const ROOM_TOKENS: usize = 1 << 16;
const ROOM_VARIABLES: usize = 1 << 15;

/// A kept line; none when it has no bytes.
#[derive(Clone, Copy, Debug, Default)]
#[repr(align(64))]
struct Line {
    fingerprint: Fingerprint,
    skeleton: KeptLine,
    /// What was last found for it.
    found: Found,
}

const _: () = assert!(size_of::<Line>() == 64, "a cache line");

/// The newest line first.
type Bucket = [Line; WAYS];

/// What tells the shape of the last line.
#[derive(Clone, Copy, Debug, Default)]
struct Shape {
    /// Of the line.
    bytes: u16,
    fingerprint: Fingerprint,
    hash: u64,
}

/// Which lines were met before.
#[derive(Debug)]
struct Memo {
    index: Box<[Bucket]>,
    /// Of the shapes of each bucket's lines.
    tags: Box<[[u32; WAYS]]>,
    /// By the low bits of a shape's hash, the high ones of the shape last met there, and how often it was.
    met: Box<[u32]>,
    fingerprinter: Box<Fingerprinter>,
    shape: Shape,
    /// Where the last line is kept: bucket and way.
    last: Option<(usize, usize)>,
}

impl Shape {
    fn bucket(&self) -> usize {
        (self.hash >> (u64::BITS - BUCKET_BITS)) as usize
    }

    fn tag(&self) -> u32 {
        self.hash as u32
    }
}

/// Whether a line is short enough to be kept.
#[inline(always)]
fn is_short(line: &[u8]) -> bool {
    (1..=MOST_BYTES).contains(&line.len())
}

impl Memo {
    fn new() -> Self {
        Self {
            index: vec![Bucket::default(); 1 << BUCKET_BITS].into(),
            tags: vec![[0; WAYS]; 1 << BUCKET_BITS].into(),
            met: vec![0; 1 << MET_BITS].into(),
            fingerprinter: Box::new(Fingerprinter::new()),
            shape: Shape::default(),
            last: None,
        }
    }

    /// As [`Skeleton::scan`], of a line of 1 to [`MOST_BYTES`] bytes.
    #[inline]
    fn scan(&mut self, message: &[u8], masking: &Masking, skeleton: &mut Skeleton) {
        self.take(message);
        self.last = self.find();
        if let Some(line) = self.last_line() {
            skeleton.recall(&line.skeleton, message);
            return;
        }
        skeleton.scan(message, masking);
        let least = if skeleton.is_half_full() { 2 } else { 1 };
        if self.meet() >= least {
            self.keep(message, skeleton);
        }
    }

    /// Takes the shape of a line of 1 to [`MOST_BYTES`] bytes.
    #[inline]
    fn take(&mut self, line: &[u8]) {
        let fingerprint = self.fingerprinter.fingerprint(line);
        self.shape = Shape { bytes: line.len() as u16, fingerprint, hash: fingerprint.hash() };
    }

    /// Where the line of this shape is kept.
    #[inline]
    fn find(&self) -> Option<(usize, usize)> {
        let (at, tag) = (self.shape.bucket(), self.shape.tag());
        // Which way it is cannot be foreseen: all tags are looked at before the next branch.
        let bit = |(way, of): (usize, &u32)| u64::from(*of == tag) << way;
        let alike = self.tags.get(at)?.iter().enumerate().map(bit).sum();
        let is_it = |way: &usize| {
            let line = self.index.get(at).and_then(|bucket| bucket.get(*way));
            line.is_some_and(|line| {
                (line.fingerprint, line.skeleton.bytes) == (self.shape.fingerprint, self.shape.bytes)
            })
        };
        set_bits(alike).find(is_it).map(|way| (at, way))
    }

    #[inline]
    fn last_line(&self) -> Option<&Line> {
        let (at, way) = self.last?;
        self.index.get(at)?.get(way)
    }

    /// Notes that the shape was met; how often it was before, as far as is known.
    fn meet(&mut self) -> u32 {
        let tag = (self.shape.hash >> u32::BITS) as u32 & !MET_MOST;
        let Some(met) = self.met.get_mut(self.shape.hash as usize & ((1 << MET_BITS) - 1)) else { return 0 };
        let before = if *met & !MET_MOST == tag { *met & MET_MOST } else { 0 };
        *met = tag | (before + 1).min(MET_MOST);
        before
    }

    /// Keeps the line just scanned, whose shape was taken.
    #[cold]
    fn keep(&mut self, message: &[u8], skeleton: &mut Skeleton) {
        if skeleton.len() > MOST_TOKENS || skeleton.variable_parts().len() > MOST_VARIABLES {
            return;
        }
        let kept = skeleton.keep(message);
        let Some(kept) = kept.or_else(|| self.keep_alone(message, skeleton)) else { return };
        let line = Line { fingerprint: self.shape.fingerprint, skeleton: kept, found: Found::default() };
        let at = self.shape.bucket();
        if let (Some(lines), Some(tags)) = (self.index.get_mut(at), self.tags.get_mut(at)) {
            lines.rotate_right(1);
            tags.rotate_right(1);
            (lines[0], tags[0]) = (line, self.shape.tag());
        }
    }

    /// The same, where there is no room: all that was kept is forgotten.
    fn keep_alone(&mut self, message: &[u8], skeleton: &mut Skeleton) -> Option<KeptLine> {
        // Their tags stay: a line without bytes is none.
        self.index.fill(Bucket::default());
        skeleton.forget_kept();
        skeleton.keep(message)
    }
}

/// Line → [`Skeleton`], with a memory of lines met before: what [`Skeleton::scan`] makes, sooner.
#[derive(Debug)]
pub struct Tokeniser {
    skeleton: Skeleton,
    masking: Masking,
    /// None where the user has masks.
    memo: Option<Memo>,
}

impl Tokeniser {
    /// One that has met no line.
    pub fn new(masking: &Masking) -> Self {
        let memo = masking.user.is_empty().then(Memo::new);
        let skeleton = if memo.is_some() { Skeleton::with_room(ROOM_TOKENS, ROOM_VARIABLES) } else { Skeleton::new() };
        Self { skeleton, masking: masking.clone(), memo }
    }

    /// Takes in a line.
    #[inline]
    pub fn scan(&mut self, message: &[u8]) {
        match &mut self.memo {
            Some(memo) if is_short(message) => {
                memo.scan(message, &self.masking, &mut self.skeleton);
            }
            memo => {
                memo.iter_mut().for_each(|memo| memo.last = None);
                self.skeleton.scan(message, &self.masking);
            }
        }
        #[cfg(fuzzing)]
        self.compare_with_twin(message);
    }

    /// The skeleton of the last line.
    #[inline]
    pub fn skeleton(&self) -> &Skeleton {
        &self.skeleton
    }

    /// What was last found for lines like the last one: of the same skeleton.
    #[inline]
    pub(super) fn found(&self) -> Option<&Found> {
        let line = self.memo.as_ref()?.last_line()?;
        (!line.skeleton.has_digits).then_some(&line.found)
    }

    /// Notes what was found for the last line.
    #[inline]
    pub(super) fn note(&mut self, found: Found) {
        let Some(memo) = &mut self.memo else { return };
        let line = memo.last.and_then(|(at, way)| memo.index.get_mut(at)?.get_mut(way));
        if let Some(line) = line.filter(|line| !line.skeleton.has_digits) {
            line.found = found;
        }
    }

    /// What is taken for a variable.
    pub fn masking(&self) -> &Masking {
        &self.masking
    }

    /// The twin of what is known by heart: every rule.
    #[cfg(any(test, fuzzing))]
    fn compare_with_twin(&self, message: &[u8]) {
        let mut twin = Skeleton::new();
        twin.scan(message, &self.masking);
        let both = [&self.skeleton, &twin].map(|of| (of.tokens(), of.variable_parts(), of.hash()));
        assert_eq!(both[0], both[1], "{message:?}");
        let is_known = self.memo.as_ref().is_some_and(|memo| memo.last_line().is_some());
        let forms = if is_known { Forms::of(twin.variables(message)) } else { Forms::default() };
        assert_eq!(self.skeleton.forms(), forms, "{message:?}");
        let (count, range) = twin.variable_ranges();
        for (place, range) in (0..count).map(|place| (place, range(place))) {
            let text = message.get(range.clone()).unwrap_or_default();
            // Whose whole part has eight bytes of the message up to its end.
            let point = text.iter().position(|byte| *byte == b'.').unwrap_or(text.len());
            let is_read = forms.is_short_number(place) && range.start + point >= size_of::<u64>();
            let expected = Quantity::parse(text).filter(|_| is_read).map(|quantity| quantity.number);
            assert_eq!(forms.number_in(place, message, &range), expected, "{range:?} of {message:?}");
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::template::{Rule, RuleSet, UserMasks};

    impl Tokeniser {
        /// Takes in a line; whether it was known.
        fn is_known(&mut self, line: &[u8]) -> bool {
            let is_known = self.memo.as_mut().filter(|_| is_short(line)).is_some_and(|memo| {
                memo.take(line);
                memo.find().is_some()
            });
            self.scan(line);
            self.compare_with_twin(line);
            is_known
        }

        fn kept(&self) -> usize {
            let lines = self.memo.iter().flat_map(|memo| memo.index.iter().flatten());
            lines.filter(|line| line.skeleton.bytes > 0).count()
        }
    }

    fn default() -> Tokeniser {
        Tokeniser::new(&Masking::default())
    }

    /// The line with other digits, from a few random bits.
    fn other_digits(line: &str, mut bits: u64) -> String {
        let mut digit = || {
            bits = bits.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
            char::from(b'0' + (bits >> 60) as u8 % 10)
        };
        line.chars().map(|c| if c.is_ascii_digit() { digit() } else { c }).collect()
    }

    proptest! {
        /// Pieces that the rules look at, glued and apart, three times each with other digits.
        #[test]
        fn what_is_known_is_what_the_rules_say(
            parts in proptest::collection::vec(
                prop_oneof![
                    Just("<*>".to_owned()), Just("user".to_owned()), Just("for user".to_owned()), Just("KB".to_owned()),
                    Just("Mon Jul  4 14:52:27 2005".to_owned()), Just("\"GET /a1/b?q=2 HTTP/1.1\"".to_owned()), Just("eth0".to_owned()),
                    Just("io2_open()".to_owned()), Just("{\"a1\": \"x 2\", \"msg\":\"in 4 of user 7\", \"n\":[1, 2]}".to_owned()),
                    Just("ac:de:48:00:11:22".to_owned()), Just("fd0::1".to_owned()), Just("key1=\"a 2".to_owned()), Just("job_1".to_owned()),
                    Just("0x1f".to_owned()), Just("\u{0663}".to_owned()), "[ -~]{0,9}", "[0-9]{1,6}[a-z.:,=%/]{0,2}", "[a-z]{1,3}[0-9]{1,2}",
                ],
                1..12,
            ),
            glue in prop_oneof![Just(""), Just(" "), Just(","), Just("  ")],
            bits in any::<u64>(),
            off in any::<(u16, u16)>(),
            max_tokens in prop_oneof![Just(128), 1..6usize],
        ) {
            let line = parts.join(glue);
            let off = Rule::OPTIONAL.into_iter().enumerate().filter(|(number, _)| (off.0 & off.1) >> number & 1 == 1);
            let rules = off.fold(RuleSet::ALL, |rules, (_, rule)| rules.without(rule));
            let mut tokeniser = Tokeniser::new(&Masking { rules, max_tokens, ..Masking::default() });
            for n in 0..4 {
                tokeniser.is_known(other_digits(&line, bits.wrapping_add(n)).as_bytes());
            }
        }

        #[test]
        fn any_bytes_three_times_are_what_the_rules_say(line in proptest::collection::vec(any::<u8>(), 0..600)) {
            let mut tokeniser = default();
            (0..3).for_each(|_| _ = tokeniser.is_known(&line));
        }
    }

    #[test]
    fn a_line_is_known_from_the_third_of_its_shape_on_whatever_its_digits() {
        let mut tokeniser = default();
        let known: Vec<bool> = ["took 15 ms", "took 27 ms", "took 99 ms", "took 100 ms", "took 15 Ms"]
            .map(|line| tokeniser.is_known(line.as_bytes()))
            .into();
        assert_eq!(known, [false, false, true, false, false]);
    }

    #[test]
    fn constants_with_digits_are_told_apart() {
        let mut tokeniser = default();
        let mut hash = |line: &str| {
            tokeniser.is_known(line.as_bytes());
            tokeniser.skeleton().hash()
        };
        let first = hash("link eth0 up 17");
        assert_ne!(hash("link eth1 up 18"), first);
        assert_eq!(hash("link eth0 up 19"), first);
        assert_ne!(hash("link eth2 up 20"), first);
    }

    #[test]
    fn lines_that_never_repeat_keep_nothing_and_many_that_do_stay_within_bounds() {
        let mut tokeniser = default();
        let line = |n: usize, word: &str| {
            format!(
                "{word} {}",
                std::iter::successors(Some(n), |n| Some(n / 26))
                    .take(5)
                    .map(|n| char::from(b'a' + (n % 26) as u8))
                    .collect::<String>()
            )
        };
        (0..20_000).for_each(|n| tokeniser.scan(line(n, "storm").as_bytes()));
        assert!(tokeniser.kept() < 10, "{}: only tags that are alike", tokeniser.kept());
        let words = "of a great many words ".repeat(20);
        for n in 0..20_000 {
            (0..3).for_each(|_| tokeniser.scan(line(n, &words).as_bytes()));
        }
        assert_eq!(tokeniser.skeleton.room(), (ROOM_TOKENS, ROOM_VARIABLES));
        assert!((1..=ROOM_TOKENS / 102).contains(&tokeniser.kept()), "{}", tokeniser.kept());
        assert!(tokeniser.is_known(line(19_999, &words).as_bytes()));
    }

    #[test]
    fn where_half_of_the_room_is_taken_a_line_is_kept_the_third_time_and_once_all_is_forgotten_what_was_met_at_once() {
        let mut tokeniser = default();
        let words = "of a great many words ".repeat(20);
        let line = |n: usize| format!("{words}{}{}", "x".repeat(n % 25), "z".repeat(n / 25));
        let times = |tokeniser: &mut Tokeniser, n: usize| {
            (0..).find(|_| tokeniser.is_known(line(n).as_bytes())).unwrap_or_default()
        };
        let needed: Vec<usize> = (0..700).map(|n| times(&mut tokeniser, n)).collect();
        let third = needed.iter().position(|times| *times == 3).unwrap();
        assert!(needed[..third].iter().all(|times| *times == 2) && (200..500).contains(&third), "{third}");
        // The room is full: it was when the last but few were kept.
        let emptied = needed[third..].iter().position(|times| *times == 2).unwrap() + third;
        assert!(needed[third..emptied].iter().all(|times| *times == 3), "{needed:?}");
        assert!(tokeniser.kept() <= 700 - emptied + 1);
        assert_eq!(times(&mut tokeniser, emptied - 20), 1, "it was met before");
    }

    #[test]
    fn of_a_bucket_the_oldest_line_goes_and_lines_of_one_tag_are_told_apart() {
        let mut tokeniser = default();
        let bucket = |tokeniser: &mut Tokeniser, line: &str| {
            let memo = tokeniser.memo.as_mut().unwrap();
            memo.take(line.as_bytes());
            memo.shape.bucket()
        };
        let line = |n: usize| format!("{} went by", "x".repeat(n % 200) + &"z".repeat(n / 200));
        let first = bucket(&mut tokeniser, &line(0));
        let alike: Vec<String> =
            (0..40_000).map(line).filter(|line| bucket(&mut tokeniser, line) == first).take(WAYS + 1).collect();
        assert_eq!(alike.len(), WAYS + 1);
        for line in &alike {
            (0..2).for_each(|_| tokeniser.scan(line.as_bytes()));
        }
        // As if all were of one tag.
        for line in &alike {
            let memo = tokeniser.memo.as_mut().unwrap();
            memo.take(line.as_bytes());
            memo.tags[first] = [memo.shape.tag(); WAYS];
            let found = memo.find();
            assert_eq!(found.is_some(), *line != alike[0], "{line}");
            assert!(found.is_none_or(|(at, way)| at == first && alike[WAYS - way] == *line));
        }
    }

    #[test]
    fn lines_at_the_bounds_are_as_any() {
        for bytes in [0, 1, 15, 16, 17, 31, 32, 33, MOST_BYTES - 1, MOST_BYTES, MOST_BYTES + 1, 5_000] {
            let mut tokeniser = default();
            let line: Vec<u8> = b"a 17 ".iter().cycle().take(bytes).copied().collect();
            let known: Vec<bool> = (0..3).map(|_| tokeniser.is_known(&line)).collect();
            // Of blanks and letters in turn there are too many tokens.
            let is_kept = (1..=MOST_BYTES).contains(&bytes) && tokeniser.skeleton().len() <= MOST_TOKENS;
            assert_eq!(known, [false, false, is_kept], "{bytes}");
        }
        // What fills a block up is none of the line.
        let mut tokeniser = default();
        (0..3).for_each(|_| _ = tokeniser.is_known(b"ab"));
        assert!(tokeniser.is_known(b"ab") && !tokeniser.is_known(b"ab\0"));
    }

    #[test]
    fn masks_of_the_users_may_look_at_digits() {
        let user = UserMasks::new([("order", "order [0-4]+ x")]).unwrap();
        let mut tokeniser = Tokeniser::new(&Masking { user, ..Masking::default() });
        assert!(!["order 12 x", "order 34 x", "order 56 x"].iter().any(|line| tokeniser.is_known(line.as_bytes())));
    }
}
