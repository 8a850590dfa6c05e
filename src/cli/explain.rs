//! `oddline templates --explain`: how one line was read and which template it met, for people.

use std::fmt::Write;

use oddline::template::Rule;
use oddline::template::explain::{Cause, ExplainedToken, Explanation, Met, Nearest, Outcome};

use super::report_text::{cut, printable};

/// Widest cell of the table, in characters.
const CELL: usize = 40;

/// The explanation as text.
pub(crate) fn text(explanation: &Explanation) -> String {
    let mut out = table(&explanation.tokens);
    let _infallible = writeln!(out, "\nskeleton  {}", printable(&explanation.skeleton));
    out + &outcome(&explanation.outcome, &explanation.tokens)
}

fn table(tokens: &[ExplainedToken]) -> String {
    let cell = |text: &str| cut_to(text, CELL);
    let rows: Vec<[String; 3]> =
        tokens.iter().map(|token| [cell(&token.text), cell(&token.masked), reason(token)]).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0).max(6);
    let (first, second) = (width(0), width(1));
    let mut out = format!("{:first$}  {:second$}  why\n", "token", "masked");
    for [token, masked, why] in &rows {
        let _infallible = writeln!(out, "{token:first$}  {masked:second$}  {why}");
    }
    out
}

fn cut_to(text: &str, most: usize) -> String {
    let shown: String = text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).take(most).collect();
    if text.chars().count() > most { format!("{shown}…") } else { shown }
}

fn reason(token: &ExplainedToken) -> String {
    match token.generalised {
        Some(Cause::Differed) => return "a wildcard of the template: enough templates differed here".to_owned(),
        Some(_) => return "a wildcard of the template: of a seed, or of a value in its first line".to_owned(),
        None => {}
    }
    if token.variables.is_empty() {
        return "constant".to_owned();
    }
    let found = |(rule, value): &(Rule, String)| format!("{rule} {:?}", cut_to(value, CELL));
    token.variables.iter().map(found).collect::<Vec<_>>().join(", ")
}

fn outcome(outcome: &Outcome, tokens: &[ExplainedToken]) -> String {
    match outcome {
        Outcome::SameSkeleton(met) => format!("template  {}\nmet       it has the line's very skeleton\n", named(met)),
        Outcome::Generalised(met) => {
            format!("template  {}\nmet       it agrees with the line but for its wildcards\n", named(met))
        }
        Outcome::Nothing { nearest } => {
            let nearest = nearest.as_ref().map(|nearest| near(nearest, tokens)).unwrap_or_default();
            format!("template  none: the line would found one\n{nearest}")
        }
        _ => String::new(),
    }
}

fn near(nearest: &Nearest, tokens: &[ExplainedToken]) -> String {
    let token = tokens.get(nearest.token).map(|token| cut_to(&token.text, CELL)).unwrap_or_default();
    let mut out = format!(
        "nearest   {} known that differ from it in {token:?} alone; {} in all make that word a variable\n",
        nearest.count, nearest.merge_after
    );
    for met in &nearest.templates {
        let _infallible = writeln!(out, "          {}", named(met));
    }
    out
}

fn named(met: &Met) -> String {
    format!("{}  {}", met.template_id, cut(&met.template))
}
