//! Rules: events that are never or always an anomaly, whatever their score.

#![allow(clippy::unwrap_used)]

mod engine_support;

use engine_support::{Bed, same};
use oddline::Lane;
use oddline::config::{Config, EventRule, RuleAction, RuleMatch};
use oddline::event::{Observation, Reason, Ruling, State, Timestamp, Verdict};

fn rule(name: &str, matches: RuleMatch, action: RuleAction) -> EventRule {
    EventRule { name: name.to_owned(), matches, action }
}

fn regex(pattern: &str) -> RuleMatch {
    RuleMatch::Regex { regex: pattern.to_owned() }
}

fn with(rules: Vec<EventRule>) -> Bed {
    Bed::with(Config { rules, alert_budget: 0.01.into(), ..Config::default() })
}

fn at(second: i64) -> Timestamp {
    Timestamp(1_000_000_000 + second * 1_000_000)
}

fn say(lane: &mut Lane, second: i64, text: &str) -> Verdict {
    lane.observe(&Observation::new(text.as_bytes(), at(second)))
}

fn routine(lane: &mut Lane, from: i64, count: i64) -> Vec<Verdict> {
    (from..from + count).map(|n| say(lane, n, &format!("request {n} served in {} ms", n % 40))).collect()
}

#[test]
fn never_silences_a_template_that_would_alert_and_nothing_else() {
    let bed = with(vec![rule("noise", regex("^disk .* failed"), RuleAction::Never)]);
    let engine = bed.open();
    let mut lane = engine.lane().unwrap();
    routine(&mut lane, 0, 2_000);
    let muted = say(&mut lane, 2_000, "disk sda failed after 17 retries");
    assert!(!muted.is_anomaly && !muted.suppressed && muted.score > 0.5, "scored all the same: {}", muted.score);
    assert_eq!(muted.ruling, Some(Ruling::rule(0, false)));
    assert_eq!(muted.reasons().next(), Some(Reason::NewTemplate));
    let other = say(&mut lane, 2_001, "fan 3 stopped");
    assert!(other.is_anomaly && other.ruling.is_none());
}

#[test]
fn always_tells_every_time_even_while_learning_and_within_the_hold_time() {
    let bed = with(vec![rule("slow", regex(r"^request <\*> served in <\*>"), RuleAction::Always)]);
    let engine = bed.open();
    let mut lane = engine.lane().unwrap();
    let verdicts = routine(&mut lane, 0, 300);
    assert_eq!((verdicts[0].state, verdicts[299].state), (State::Learning, State::Ready));
    for verdict in verdicts {
        assert!(verdict.is_anomaly && !verdict.suppressed);
        assert_eq!(verdict.reasons().next(), Some(Reason::Rule));
        assert_eq!(verdict.ruling.and_then(Ruling::number), Some(0));
    }
}

#[test]
fn a_rule_knows_a_template_by_its_id_after_it_was_merged_into_another() {
    let engine = with(Vec::new()).open();
    let id = say(&mut engine.lane().unwrap(), 0, "state of unit alpha is fine").template;
    let matches = RuleMatch::Template { template: id.to_string() };
    let bed = with(vec![rule("unit", matches, RuleAction::Always)]);
    let engine = bed.open();
    let mut lane = engine.lane().unwrap();
    assert_eq!(say(&mut lane, 0, "state of unit alpha is fine").template, id);
    let names = ["beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "iota", "kappa", "lambda"];
    let verdicts = names.map(|name| say(&mut lane, 1, &format!("state of unit {name} is fine")));
    assert!(!verdicts[0].is_anomaly, "another template as yet");
    let merged = lane.template_text(verdicts[9].template);
    assert_eq!(merged.as_deref(), Some("state of unit <*> is fine"));
    assert!(verdicts[9].is_anomaly, "what the template was merged into");
}

#[test]
fn the_first_rule_met_decides_whether_it_is_about_a_field_or_a_template() {
    let field = || RuleMatch::Field { field: "host".to_owned(), value: "canary".to_owned() };
    for (rules, by_field, expected) in [
        (vec![rule("a", field(), RuleAction::Never), rule("b", regex("request"), RuleAction::Always)], 0, false),
        (vec![rule("a", regex("request"), RuleAction::Always), rule("b", field(), RuleAction::Never)], 1, true),
    ] {
        let engine = with(rules).open();
        let mut lane = engine.lane().unwrap();
        let verdict = lane.observe_ruled(&Observation::new(b"request 1", at(0)), Some(by_field));
        assert_eq!(verdict.is_anomaly, expected);
        assert_eq!(verdict.ruling, Some(Ruling::rule(0, expected)));
    }
}

#[test]
fn what_is_muted_does_not_use_up_the_budget_of_the_rest() {
    let alerts = |rules: Vec<EventRule>| {
        let engine = with(rules).open();
        let mut lane = engine.lane().unwrap();
        routine(&mut lane, 0, 2_000);
        let mut alerts = 0;
        for n in 0..40 {
            // Each is new, so that each would alert.
            let word = char::from(b'a' + (n % 26) as u8).to_string().repeat(2 + n as usize / 26);
            say(&mut lane, 2_000 + n * 70, &format!("noise {word} of the {word} kind"));
            alerts += i64::from(say(&mut lane, 2_035 + n * 70, &format!("odd {word} {word} thing here")).is_anomaly);
            routine(&mut lane, 2_036 + n * 70, 30);
        }
        alerts
    };
    let (without, with) = (alerts(Vec::new()), alerts(vec![rule("noise", regex("^noise"), RuleAction::Never)]));
    assert!(with >= without && with > 0, "{with} alerts with the rule, {without} without");
}

#[test]
fn a_restart_is_exact_though_the_rules_are_others_by_then() {
    let mut bed = with(vec![rule("noise", regex("^disk"), RuleAction::Never)]);
    let story = |lane: &mut Lane, from: i64| {
        for n in 0..20 {
            routine(lane, from + n * 20, 19);
            say(lane, from + n * 20 + 19, &format!("disk sda{n} failed with code {n}"));
        }
    };
    let engine = bed.open();
    let mut lane = engine.lane().unwrap();
    story(&mut lane, 0);
    lane.commit().unwrap();
    bed.config.rules.clear();
    let killed = bed.killed();
    story(&mut lane, 1_000);
    // Replayed without the rules, then opened with them: both go the same way from here.
    drop(killed.open());
    let mut ruled = killed.killed();
    ruled.config.rules = vec![rule("noise", regex("^disk"), RuleAction::Never)];
    let engine_again = ruled.open();
    let mut again = engine_again.lane().unwrap();
    story(&mut again, 1_000);
    for n in 0..50 {
        let text = format!("disk sdb failed with code {n}");
        let (left, right) = (say(&mut lane, 2_000 + n, &text), say(&mut again, 2_000 + n, &text));
        assert!(same(&left, &right), "{left:?} {right:?}");
    }
}
