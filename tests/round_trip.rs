//! From outside the library: what an event's template and parts give back is the message, byte for byte, through the engine's own interface.

#![allow(clippy::unwrap_used)]

use oddline::config::{Config, Mask, Wildcards};
use oddline::event::{Observation, Timestamp};
use oddline::{Engine, Environment, Lane};
use proptest::prelude::*;

/// Few templates are kept, words soon become wildcards, and masks of the user's reach across blanks.
fn engine(wildcards: Wildcards) -> Engine {
    let mask = |name: &str, regex: &str| Mask { name: name.to_owned(), regex: regex.to_owned() };
    let masks = vec![mask("order", "ORD-[0-9]+"), mask("pair", "p [a-z]")];
    let config = Config { max_templates: 20, merge_after: 3, masks, wildcards, ..Config::default() };
    Engine::open(&config, Environment::system()).unwrap()
}

/// The message from its parts, and from what the parts say of themselves.
fn given_back(lane: &mut Lane, message: &[u8]) -> (Vec<u8>, Vec<u8>) {
    lane.observe(&Observation::new(message, Timestamp(0)));
    let taken = lane.taken_apart(message).unwrap();
    (taken.message(), by_hand(&taken.template, &taken.parts.parameters, &taken.parts.blanks))
}

/// As the documentation of the parts says, without the library's own way.
fn by_hand(template: &[u8], parameters: &[&[u8]], blanks: &[oddline::template::Blanks<'_>]) -> Vec<u8> {
    let text = template.iter().map(|byte| char::from(*byte)).collect::<String>();
    let tokens: Vec<&str> = text.split(' ').filter(|token| !token.is_empty()).collect();
    let before = |number: usize| {
        let usual: &[u8] = if number == 0 || number == tokens.len() { b"" } else { b" " };
        blanks.iter().find(|blanks| blanks.token == number).map_or(usual, |blanks| blanks.bytes)
    };
    let mut parameters = parameters.iter();
    let mut out = Vec::new();
    for (number, token) in tokens.iter().enumerate() {
        out.extend_from_slice(before(number));
        for (place, constant) in token.split("<*>").enumerate() {
            if place > 0 {
                out.extend_from_slice(parameters.next().unwrap());
            }
            out.extend(constant.chars().map(|byte| byte as u8));
        }
    }
    out.extend_from_slice(before(tokens.len()));
    assert_eq!(parameters.next(), None);
    out
}

/// White space of every kind, combining characters, bytes that are no text, what masks look for, and what looks like a wildcard.
fn piece() -> impl Strategy<Value = Vec<u8>> {
    let blank = prop::sample::select(vec![
        " ", "  ", "\t", " \t ", "\u{a0}", "\u{2003}", "\u{2028}", "\u{3000}", "\u{feff}", "\u{200b}", "\r", "\x0b",
        "\x0c", "\u{85}",
    ]);
    let word = prop::sample::select(vec![
        "ann",
        "bob",
        "cy",
        "dot",
        "e\u{301}",
        "\u{301}\u{302}",
        "\u{1f468}\u{200d}\u{1f469}",
        "17",
        "10.0.0.1:80",
        "user=ann",
        "user=\u{a0}",
        "<*>",
        "<ip>",
        "<",
        "x<*>y",
        "\"a  b\"",
        "k=\"a\tb\"",
        "ORD-17",
        "p q",
        "()",
        "14.2",
        "KB)",
        "Mon Jul  4 14:52:27 2005",
        "/a/b",
        "HTTP/1.1",
        "{\"a\": 1,\t\"msg\":\"x  17\"}",
        "job_1 job_2",
        "login",
        "of",
        "end",
    ]);
    prop_oneof![
        5 => word.prop_map(|word| word.as_bytes().to_vec()),
        5 => blank.prop_map(|blank| blank.as_bytes().to_vec()),
        1 => proptest::collection::vec(any::<u8>(), 0..3),
    ]
}

proptest! {
    #[test]
    fn template_and_parts_give_every_message_back(
        messages in proptest::collection::vec(proptest::collection::vec(piece(), 0..12).prop_map(|pieces| pieces.concat()), 1..60),
        is_typed in any::<bool>(),
    ) {
        let engine = engine(if is_typed { Wildcards::Typed } else { Wildcards::Plain });
        let mut lane = engine.lane().unwrap();
        for message in messages {
            let (whole, by_hand) = given_back(&mut lane, &message);
            prop_assert_eq!(&whole, &message);
            prop_assert_eq!(&by_hand, &message);
        }
    }

    /// Another lane merges and evicts templates between the event and the question.
    #[test]
    fn whatever_another_lane_has_made_of_the_template_meanwhile(
        messages in proptest::collection::vec(("[ab]\t[a-h]  (k=)?[a-d](\u{a0}x)? ?", "[ab] [a-h] (k=)?[a-d](\u{a0}x)?"), 1..80),
    ) {
        let engine = engine(Wildcards::Plain);
        let (mut own, mut other) = (engine.lane().unwrap(), engine.lane().unwrap());
        for (message, between) in messages {
            own.observe(&Observation::new(message.as_bytes(), Timestamp(0)));
            other.observe(&Observation::new(between.as_bytes(), Timestamp(0)));
            prop_assert_eq!(own.taken_apart(message.as_bytes()).unwrap().message(), message.as_bytes());
        }
    }
}

#[test]
fn before_the_first_event_there_is_nothing_to_take_apart() {
    assert_eq!(engine(Wildcards::Plain).lane().unwrap().taken_apart(b"a line"), None);
}
