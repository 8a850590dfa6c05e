//! What every embedder must do, as a suite that each runs in its tests.

use super::{EmbedError, Embedder};

/// Texts that have been trouble: none, one without words, long ones, other scripts, what is no text at all.
fn texts() -> Vec<String> {
    let mut texts: Vec<String> = [
        "",
        " ",
        "<*>",
        "disk <*> almost full",
        "ERROR",
        "磁盘已满",
        "القرص ممتلئ",
        "диск переполнен",
        "e\u{301}",
        "\u{0}\u{1}\u{7f}",
        "🔥🔥🔥",
        "\u{fffd}\u{fffd}",
        "a",
        "İ ß ﬁ Ǆ",
    ]
    .map(str::to_owned)
    .to_vec();
    texts.push("connection refused ".repeat(6_000));
    texts.push("x".repeat(100 << 10));
    texts.push("\u{1F525}é".repeat(20_000));
    texts
}

/// An embedder fails the suite.
#[derive(Debug, thiserror::Error)]
#[error("{what}: {text:?}")]
pub struct Failure {
    what: &'static str,
    text: String,
}

fn expect(is_so: bool, what: &'static str, text: &str) -> Result<(), Failure> {
    if is_so { Ok(()) } else { Err(Failure { what, text: text.chars().take(40).collect() }) }
}

/// Checks an embedder that `make` makes, each time the same.
///
/// # Errors
/// On the first thing that it does and must not, or the other way round.
pub fn check(make: &dyn Fn() -> Box<dyn Embedder>) -> Result<(), Failure> {
    let (embedder, other) = (make(), make());
    expect(embedder.dimensions() > 0, "has no dimensions", "")?;
    expect(embedder.model() == other.model() && !embedder.model().is_empty(), "its name changes or is empty", "")?;
    for text in texts() {
        one(&*embedder, &*other, &text)?;
    }
    order(&*embedder)?;
    nearness(&*embedder)
}

fn vector(embedder: &dyn Embedder, text: &str) -> Result<Vec<f32>, Failure> {
    embedder.vector(text).map_err(|_| Failure { what: "a text is refused", text: text.chars().take(40).collect() })
}

fn one(embedder: &dyn Embedder, other: &dyn Embedder, text: &str) -> Result<(), Failure> {
    let made = vector(embedder, text)?;
    expect(made.len() == embedder.dimensions(), "another length than it says", text)?;
    expect(made.iter().all(|cell| cell.is_finite()), "not a number", text)?;
    let length = made.iter().map(|cell| f64::from(*cell).powi(2)).sum::<f64>().sqrt();
    expect(length == 0.0 || (length - 1.0).abs() < 1e-4, "neither zero nor of unit length", text)?;
    let same = |a: &[f32], b: &[f32]| a.iter().map(|cell| cell.to_bits()).eq(b.iter().map(|cell| cell.to_bits()));
    expect(same(&made, &vector(other, text)?), "two of one name differ", text)?;
    for room in [0, embedder.dimensions() - 1, embedder.dimensions() * 2] {
        let mut place = vec![7.0; room];
        let refused = embedder.embed(text, &mut place);
        let expected = EmbedError::Room { expected: embedder.dimensions(), found: room };
        expect(refused == Err(expected), "writes to a place of another length", text)?;
        expect(place.iter().all(|cell| *cell == 7.0), "a refused place is changed", text)?;
    }
    let mut dirty = vec![f32::NAN; embedder.dimensions()];
    let rewritten = embedder.embed(text, &mut dirty);
    expect(rewritten.is_ok() && same(&made, &dirty), "what was in the place before matters", text)
}

/// What was embedded before changes nothing.
fn order(embedder: &dyn Embedder) -> Result<(), Failure> {
    let first = vector(embedder, "link down")?;
    vector(embedder, "link up")?;
    expect(first == vector(embedder, "link down")?, "what came before matters", "link down")
}

/// The little that all agree on.
fn nearness(embedder: &dyn Embedder) -> Result<(), Failure> {
    let like = |a: &str, b: &str| {
        let (a, b) = (vector(embedder, a)?, vector(embedder, b)?);
        Ok(a.iter().zip(&b).map(|(a, b)| a * b).sum::<f32>())
    };
    let text = "connection to database timed out";
    let (itself, near, far) =
        (like(text, text)?, like(text, "database connection timed out")?, like(text, "user logged in")?);
    expect((itself - 1.0).abs() < 1e-3, "a text is not like itself", text)?;
    expect(near > far, "the same words in another order are no nearer than other words", text)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Breaks one rule.
    #[derive(Debug)]
    struct Broken(&'static str);

    impl Embedder for Broken {
        fn model(&self) -> String {
            "broken".to_owned()
        }

        fn dimensions(&self) -> usize {
            2
        }

        fn embed(&self, text: &str, out: &mut [f32]) -> Result<(), EmbedError> {
            match (self.0, <&mut [f32; 2]>::try_from(&mut *out)) {
                ("room", Err(_)) => out.fill(1.0),
                (_, Err(_)) => return Err(EmbedError::Room { expected: 2, found: out.len() }),
                ("length", Ok(cells)) => *cells = [3.0, 4.0],
                ("nan", Ok(cells)) => *cells = [f32::NAN, 0.0],
                ("adds", Ok(cells)) => cells[0] += 1.0,
                ("nearness", Ok(cells)) => *cells = [1.0, 0.0],
                (_, Ok(cells)) => *cells = if text.contains("user") { [0.0, 1.0] } else { [1.0, 0.0] },
            }
            Ok(())
        }
    }

    #[test]
    fn each_broken_rule_is_found() {
        let check = |rule| check(&|| Box::new(Broken(rule))).map_err(|failure| failure.what);
        assert_eq!(check(""), Ok(()));
        assert_eq!(check("room"), Err("writes to a place of another length"));
        assert_eq!(check("length"), Err("neither zero nor of unit length"));
        assert_eq!(check("nan"), Err("not a number"));
        assert_eq!(check("adds"), Err("what was in the place before matters"));
        assert_eq!(check("nearness"), Err("the same words in another order are no nearer than other words"));
    }
}
