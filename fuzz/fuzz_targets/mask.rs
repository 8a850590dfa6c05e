//! Any line, under any set of rules: scanned within its bounds, and text and line agree on the skeleton.

#![no_main]

use libfuzzer_sys::fuzz_target;
use oddline::template::{Masking, Rule, RuleSet, Skeleton};

fuzz_target!(|data: &[u8]| {
    let [low, high, line @ ..] = data else { return };
    let chosen = u16::from_le_bytes([*low, *high]);
    let off = Rule::OPTIONAL.into_iter().enumerate().filter(|(number, _)| chosen >> number & 1 == 1);
    let rules = off.fold(RuleSet::ALL, |rules, (_, rule)| rules.without(rule));
    let masking = Masking { rules, max_tokens: 16, max_token_bytes: 64, ..Masking::default() };
    let mut skeleton = Skeleton::new();
    skeleton.scan(line, &masking);
    assert!(skeleton.len() <= 17);
    let (hash, text) = (skeleton.hash(), skeleton.text(line));
    skeleton.scan(line, &masking);
    assert_eq!((skeleton.hash(), skeleton.text(line)), (hash, text));
});
