//! Baseline: how far a line's meaning is from centroids that were frozen once, the `semantic` detector of the design.
//!
//! A line's words, those with a digit as one, and the three-letter parts of each are hashed into a vector of unit length (Weinberger et al.,
//! "Feature Hashing", ICML 2009). The first [`TEMPLATES`] different ones are clustered by k-means; what is farther from the nearest centroid than
//! `max(floor, median + 3·1.4826·MAD)` of those is odd. Nothing is learned after that.

use std::collections::HashMap;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};

use crate::score::Answer;
use crate::truth::{Record, Stream};

const DIMENSIONS: usize = 256;
const TEMPLATES: usize = 64;
const CENTROIDS: usize = 8;
const ROUNDS: usize = 20;
const FLOOR: f64 = 0.3;

type Vector = Vec<f64>;

fn masked(message: &str) -> String {
    let word = |word: &str| {
        if word.bytes().any(|byte| byte.is_ascii_digit()) { "<*>".to_owned() } else { word.to_lowercase() }
    };
    message.split_whitespace().map(word).collect::<Vec<_>>().join(" ")
}

fn embed(text: &str) -> Vector {
    let mut vector = vec![0.0; DIMENSIONS];
    let mut add = |part: &[u8], weight: f64| {
        let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one(part);
        if let Some(cell) = vector.get_mut(hash as usize % DIMENSIONS) {
            *cell += if hash >> 63 == 0 { weight } else { -weight };
        }
    };
    for word in text.split(' ') {
        add(word.as_bytes(), 1.0);
        word.as_bytes().windows(3).for_each(|part| add(part, 0.3));
    }
    normal(vector)
}

fn normal(mut vector: Vector) -> Vector {
    let length = vector.iter().map(|cell| cell * cell).sum::<f64>().sqrt().max(f64::MIN_POSITIVE);
    vector.iter_mut().for_each(|cell| *cell /= length);
    vector
}

/// One less the cosine.
fn distance(a: &Vector, b: &Vector) -> f64 {
    1.0 - a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>()
}

fn nearest(vector: &Vector, centroids: &[Vector]) -> (usize, f64) {
    let all = centroids.iter().map(|centroid| distance(vector, centroid)).enumerate();
    all.min_by(|a, b| a.1.total_cmp(&b.1)).unwrap_or((0, 1.0))
}

/// K-means from the first few, which differ.
fn cluster(vectors: &[Vector]) -> Vec<Vector> {
    let mut centroids: Vec<Vector> = vectors.iter().take(CENTROIDS).cloned().collect();
    for _ in 0..ROUNDS {
        let mut sums = vec![vec![0.0; DIMENSIONS]; centroids.len()];
        for vector in vectors {
            if let Some(sum) = sums.get_mut(nearest(vector, &centroids).0) {
                sum.iter_mut().zip(vector).for_each(|(sum, cell)| *sum += cell);
            }
        }
        centroids = sums.into_iter().map(normal).collect();
    }
    centroids
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}

/// Centroids, and the distance from which on a line is odd.
struct Frozen {
    centroids: Vec<Vector>,
    threshold: f64,
}

impl Frozen {
    fn of(vectors: &[Vector]) -> Self {
        let centroids = cluster(vectors);
        let distances: Vec<f64> = vectors.iter().map(|vector| nearest(vector, &centroids).1).collect();
        let middle = median(distances.clone());
        let spread = median(distances.iter().map(|distance| (distance - middle).abs()).collect());
        Self { centroids, threshold: (middle + 3.0 * 1.4826 * spread).max(FLOOR) }
    }
}

/// Scores by the distance from the nearest centroid; nothing before there are any.
pub(crate) fn by_meaning(stream: &Stream, answers: &[Answer]) -> Vec<Answer> {
    let mut known: HashMap<String, Vector> = HashMap::new();
    let mut first: Vec<Vector> = Vec::new();
    let mut frozen: Option<Frozen> = None;
    let mut one = |(record, answer): (&Record, &Answer)| {
        if record.is_tick() {
            return Answer::default();
        }
        let text = masked(&record.message);
        let is_new = !known.contains_key(&text);
        let vector = known.entry(text).or_insert_with_key(|text| embed(text));
        if is_new && frozen.is_none() {
            first.push(vector.clone());
        }
        // A log of few templates is clustered when its warm-up ends.
        if frozen.is_none() && (first.len() >= TEMPLATES || record.is_scored()) {
            frozen = Some(Frozen::of(&first));
        }
        let Some(Frozen { centroids, threshold }) = &frozen else { return Answer::default() };
        let score = nearest(vector, centroids).1;
        Answer { score, is_anomaly: score > *threshold, template: answer.template, ..Answer::default() }
    };
    stream.records.iter().zip(answers).map(&mut one).collect()
}

/// The stronger of oddline's score and of how seldom a line is as far away.
pub(crate) fn beside(answers: &[Answer], meanings: &[Answer]) -> Vec<Answer> {
    const BINS: usize = 2_000;
    let mut counts = vec![0u32; BINS];
    let mut all = 0u32;
    let mut one = |(answer, meaning): (&Answer, &Answer)| {
        if meaning.template != answer.template || meaning.score == 0.0 {
            return *answer;
        }
        let bin = ((meaning.score * BINS as f64 / 2.0) as usize).min(BINS - 1);
        let above: u32 = counts.iter().skip(bin).sum();
        let score = -(f64::from(above + 1) / f64::from(all + 1)).log10() / 6.0;
        counts.get_mut(bin).into_iter().for_each(|count| *count += 1);
        all += 1;
        Answer { score: answer.score.max(score), ..*answer }
    };
    answers.iter().zip(meanings).map(&mut one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_share_words_are_near_and_numbers_do_not_count() {
        let at = |text: &str| embed(&masked(text));
        assert!(distance(&at("query 12 took 7 ms"), &at("query 99 took 80000 ms")) < 1e-9);
        let (near, far) = (
            distance(&at("disk sda failed"), &at("disk sdb failed")),
            distance(&at("disk sda failed"), &at("user bob left")),
        );
        assert!(near + 0.2 < far, "{near} {far}");
    }

    #[test]
    fn what_is_like_nothing_before_is_beyond_the_threshold() {
        let vectors: Vec<Vector> =
            (0..64).map(|n| embed(&format!("request of kind {} served", ["a", "b", "c", "d"][n % 4]))).collect();
        let frozen = Frozen::of(&vectors);
        assert!(nearest(&embed("kernel panic in interrupt handler"), &frozen.centroids).1 > frozen.threshold);
        assert!(nearest(&embed("request of kind b served"), &frozen.centroids).1 <= frozen.threshold);
    }
}
