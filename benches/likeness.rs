//! Which measure knows a template again that was worded a little otherwise, and takes no other for it: words in common, or vectors.
//!
//! Of each system's templates (its ground truth), variants are made: a word exchanged for another of the system's, two words dropped at the end or put there, the words turned
//! about, the endings of words changed. A measure should find them like the template (*found*), and other templates of the system not (*taken for it*).
//!
//! `cargo bench --bench likeness -- DIR`, with `DIR` as loghub has it: `<system>/<system>_2k.log_structured.csv` (default `../shared/data/loghub`). Without it there is
//! nothing to measure, and nothing is. With `--features onnx`, and `ODDLINE_ONNX_MODELS` and `ORT_DYLIB_PATH` as in `tests/embed_onnx.rs`, the vectors of sentence models are
//! measured, too; a system's templates are then 40 at most, since a model takes milliseconds a text.

#![allow(clippy::unwrap_used, missing_docs)]

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

#[path = "../integration/eval/src/csv.rs"]
mod csv;

use csv::fields;
use oddline::embed::{Embedder, HashingEmbedder};

/// Templates with fewer words say too little to be varied.
const LEAST_WORDS: usize = 4;

/// From which likeness on two are alike, words in common over all words: as it was in `src/engine/likeness.rs`.
const JACCARD: f64 = 0.6;

/// The same of vectors: one less the distance up to which `similar` names a past incident.
const COSINE: f64 = 0.6;

/// Templates of a system, where models are measured.
const MOST_OF_MODELS: usize = 40;

/// Kinds of variants.
const KINDS: [&str; 5] =
    ["a word exchanged", "two words less", "two words more", "words turned about", "other endings"];

/// Pairs of texts by what they are: a template and its variant of a kind, or, of the last, another template.
struct Pairs {
    variants: [Vec<(String, String)>; KINDS.len()],
    others: Vec<(String, String)>,
}

fn main() -> io::Result<()> {
    let given = std::env::args().skip(1).find(|argument| !argument.starts_with('-'));
    let loghub = PathBuf::from(given.unwrap_or_else(|| "../shared/data/loghub".to_owned()));
    let Ok(entries) = fs::read_dir(&loghub) else {
        println!("nothing to measure: {} is not there", loghub.display());
        return Ok(());
    };
    let mut pairs = Pairs { variants: Default::default(), others: Vec::new() };
    for entry in entries {
        let dir = entry?.path();
        let name = dir.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let csv = dir.join(format!("{name}_2k.log_structured.csv"));
        if csv.is_file() {
            pairs.add(&few(templates(&csv)?));
        }
    }
    println!("{}", table(&pairs));
    Ok(())
}

/// An embedder's vectors, each made once.
struct Cosine<'e> {
    embedder: &'e dyn Embedder,
    made: RefCell<HashMap<String, Vec<f32>>>,
}

impl<'e> Cosine<'e> {
    fn new(embedder: &'e dyn Embedder) -> Self {
        Self { embedder, made: RefCell::default() }
    }

    fn vector(&self, text: &str) -> Vec<f32> {
        let make = || self.embedder.vector(text).unwrap_or_default();
        self.made.borrow_mut().entry(text.to_owned()).or_insert_with(make).clone()
    }

    fn of(&self, a: &str, b: &str) -> f64 {
        self.vector(a).iter().zip(self.vector(b)).map(|(a, b)| f64::from(a * b)).sum()
    }
}

/// Sentence models by name, where they are.
#[cfg(feature = "onnx")]
fn models() -> Vec<(&'static str, Box<dyn Embedder>)> {
    use oddline::embed::onnx::OnnxEmbedder;
    let Some(dir) = std::env::var_os("ODDLINE_ONNX_MODELS").map(PathBuf::from) else { return Vec::new() };
    let open = |name| OnnxEmbedder::open(&dir.join(name), None).ok();
    ["fp32", "int8"].into_iter().filter_map(|name| Some((name, Box::new(open(name)?) as Box<dyn Embedder>))).collect()
}

#[cfg(not(feature = "onnx"))]
fn models() -> Vec<(&'static str, Box<dyn Embedder>)> {
    Vec::new()
}

/// All measures at their thresholds, and each where it takes as many others for it as another one.
fn table(pairs: &Pairs) -> String {
    let (hashing, models) = (HashingEmbedder::default(), models());
    let by_words = pairs.likenesses(&jaccard);
    let cosine = Cosine::new(&hashing);
    let by_vectors = pairs.likenesses(&|a, b| cosine.of(a, b));
    let (few, more) = (by_words.taken(JACCARD), by_vectors.taken(COSINE));
    let same_of_words = by_words.threshold(more);
    let mut rows = vec![
        ("words in common, 0.6".to_owned(), by_words.row(JACCARD)),
        ("cosine of vectors, 0.6".to_owned(), by_vectors.row(COSINE)),
        by_vectors.named("cosine of vectors", few),
        (format!("words in common, {same_of_words:.2}"), by_words.row(same_of_words)),
    ];
    for (name, model) in &models {
        let cosine = Cosine::new(&**model);
        let by_model = pairs.likenesses(&|a, b| cosine.of(a, b));
        rows.extend([few, more].map(|taken| by_model.named(name, taken)));
    }
    let mut out =
        format!("| measure | {} | taken for it |\n|---|{}---|\n", KINDS.join(" | "), "---|".repeat(KINDS.len()));
    for (name, row) in rows {
        writeln!(out, "| {name} | {row} |").unwrap_or_default();
    }
    out
}

/// At equal steps, where models are measured.
fn few(templates: Vec<String>) -> Vec<String> {
    let step = if cfg!(feature = "onnx") { templates.len().div_ceil(MOST_OF_MODELS).max(1) } else { 1 };
    templates.into_iter().step_by(step).collect()
}

fn templates(csv: &Path) -> io::Result<Vec<String>> {
    let text = fs::read_to_string(csv)?;
    let mut lines = text.lines().map(fields);
    let column = lines.next().unwrap_or_default().iter().position(|name| name == "EventTemplate");
    let column = column.ok_or_else(|| io::Error::other(format!("{} has no templates", csv.display())))?;
    let all: BTreeSet<String> =
        lines.filter_map(|mut fields| (column < fields.len()).then(|| fields.swap_remove(column))).collect();
    Ok(all.into_iter().collect())
}

/// Words as they were told apart for the measure by words.
fn words(text: &str) -> HashSet<String> {
    let is_end = |letter: char| letter.is_whitespace() || ",;:.()[]=".contains(letter);
    let is_variable = |word: &str| word.bytes().any(|byte| byte.is_ascii_digit()) || word.starts_with('<');
    let is_word = |word: &&str| word.chars().any(char::is_alphabetic) && !is_variable(word);
    text.split(is_end).filter(is_word).map(str::to_lowercase).collect()
}

fn jaccard(a: &str, b: &str) -> f64 {
    let (a, b) = (words(a), words(b));
    let both = a.intersection(&b).count();
    if both < 2 { 0.0 } else { both as f64 / a.union(&b).count() as f64 }
}

impl Pairs {
    fn add(&mut self, templates: &[String]) {
        let vocabulary: Vec<&str> =
            templates.iter().flat_map(|text| text.split(' ')).filter(|word| words(word).len() == 1).collect();
        let other =
            |n: usize| vocabulary.get(n.wrapping_mul(7_919) % vocabulary.len().max(1)).copied().unwrap_or("other");
        for (n, template) in templates.iter().enumerate().filter(|(_, text)| words(text).len() >= LEAST_WORDS) {
            let parts: Vec<&str> = template.split(' ').collect();
            for (kind, pairs) in self.variants.iter_mut().enumerate() {
                pairs.push((template.clone(), varied(kind, &parts, n, &other)));
            }
            let others = templates.iter().filter(|other| *other != template);
            self.others.extend(others.map(|other| (template.clone(), other.clone())));
        }
    }

    fn likenesses(&self, like: &dyn Fn(&str, &str) -> f64) -> Likenesses {
        let of = |pairs: &Vec<(String, String)>| pairs.iter().map(|(a, b)| like(a, b)).collect();
        Likenesses { variants: self.variants.each_ref().map(of), others: of(&self.others) }
    }
}

fn varied<'t>(kind: usize, parts: &[&'t str], n: usize, other: &dyn Fn(usize) -> &'t str) -> String {
    let mut parts = parts.to_vec();
    let length = parts.len();
    match kind {
        0 => {
            let at: Vec<usize> =
                (0..length).filter(|at| parts.get(*at).is_some_and(|word| words(word).len() == 1)).collect();
            let chosen = at.get(n % at.len().max(1)).and_then(|at| parts.get_mut(*at));
            chosen.into_iter().for_each(|word| *word = other(n));
        }
        1 => parts.truncate(length.saturating_sub(2).max(1)),
        2 => parts.extend([other(n), other(n + 1)]),
        3 => parts.rotate_left(length / 2),
        _ => {
            let inflected = |word: &&str| {
                if words(word).len() == 1 && word.len() > 4 { format!("{word}s") } else { (*word).to_owned() }
            };
            return parts.iter().map(inflected).collect::<Vec<_>>().join(" ");
        }
    }
    parts.join(" ")
}

struct Likenesses {
    variants: [Vec<f64>; KINDS.len()],
    others: Vec<f64>,
}

fn share(values: &[f64], threshold: f64) -> f64 {
    values.iter().filter(|value| **value >= threshold).count() as f64 / values.len().max(1) as f64
}

impl Likenesses {
    fn found(&self, threshold: f64) -> [f64; KINDS.len()] {
        self.variants.each_ref().map(|values| share(values, threshold))
    }

    /// What is found from a threshold on, and what is taken for it.
    fn row(&self, threshold: f64) -> String {
        let found: Vec<String> = self.found(threshold).iter().map(|share| format!("{share:.3}")).collect();
        format!("{} | {:.5}", found.join(" | "), self.taken(threshold))
    }

    /// The row where no larger share of others is taken for it, and its name.
    fn named(&self, name: &str, taken: f64) -> (String, String) {
        let threshold = self.threshold(taken);
        (format!("{name}, {threshold:.2}"), self.row(threshold))
    }

    fn taken(&self, threshold: f64) -> f64 {
        share(&self.others, threshold)
    }

    /// The lowest, in hundredths, where no larger share of others is taken for it.
    fn threshold(&self, taken: f64) -> f64 {
        (0..=100u32).map(|hundredth| f64::from(hundredth) / 100.0).find(|at| self.taken(*at) <= taken).unwrap_or(1.0)
    }
}
