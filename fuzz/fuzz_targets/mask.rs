//! Any line, under any set of rules, masks of the user's or none: scanned within its bounds, and text and line agree on the
//! skeleton: the template that the line founds is the one its text is of, and its parts give it back. From the third time on, with other digits, the line is known by heart,
//! which is compared with the rules (`cfg(fuzzing)` in the crate).

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use oddline::template::{LaneMatcher, Masking, Rule, RuleSet, TemplateOptions, TemplateStore, UserMasks};

/// The bit of the set of rules with which the user has masks.
const USER: usize = 15;

static MASKS: LazyLock<UserMasks> = LazyLock::new(|| {
    let masks = [("digit", "[0-9](.*end)?"), ("pair", "p [a-z]"), ("quote", "\" ?."), ("mark", "[*{]")];
    UserMasks::new(masks).unwrap_or_default()
});

/// The digit `turn` further on.
fn other_digit(byte: u8, turn: u8) -> u8 {
    if byte.is_ascii_digit() { b'0' + (byte - b'0' + turn) % 10 } else { byte }
}

fuzz_target!(|data: &[u8]| {
    let [low, high, line @ ..] = data else { return };
    let chosen = u16::from_le_bytes([*low, *high]);
    let off = Rule::OPTIONAL.into_iter().enumerate().filter(|(number, _)| chosen >> number & 1 == 1);
    let rules = off.fold(RuleSet::ALL, |rules, (_, rule)| rules.without(rule));
    let user = if chosen >> USER & 1 == 1 { MASKS.clone() } else { UserMasks::default() };
    let masking = Masking { user, rules, max_tokens: 16, max_token_bytes: 64 };
    let mut store = TemplateStore::new(TemplateOptions { max_templates: 2, masking, ..TemplateOptions::default() });
    let mut matcher = LaneMatcher::new(&store);
    assert!(matcher.find(line).is_none());
    assert!(matcher.skeleton().len() <= 17);
    let text = matcher.skeleton().text(line);
    let learned = store.learn(matcher.skeleton(), line);
    assert_eq!(matcher.parts(line, learned.slot, &store).rebuild(&text).as_deref(), Some(line));
    let again = store.learn_text(&text);
    assert_eq!((again.id, again.is_new), (learned.id, false));
    for turn in 1..5 {
        let other: Vec<u8> = line.iter().map(|byte| other_digit(*byte, turn)).collect();
        matcher.find(&other);
    }
});
