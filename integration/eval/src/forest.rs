//! Baseline: an isolation forest on the size of messages (Liu, Ting and Zhou, ICDM 2008), as OpenTelemetry's processor has it by default.

use crate::score::Answer;
use crate::truth::{Record, Stream};

const TREES: u64 = 100;
const SAMPLE: usize = 256;
const MOST_DEPTH: u32 = 8;

/// A split of sizes, or how many were left.
enum Node {
    Split { at: f64, below: Box<Node>, above: Box<Node> },
    Leaf(usize),
}

/// Random numbers that are the same every time (Knuth's MMIX generator).
struct Random(u64);

impl Random {
    /// From 0 to 1.
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// The mean depth of a search in a tree of so many that finds nothing.
fn mean_depth(count: usize) -> f64 {
    const EULER: f64 = 0.577_215_664_901_532_9;
    let n = count as f64;
    match count {
        0 | 1 => 0.0,
        2 => 1.0,
        _ => 2.0 * ((n - 1.0).ln() + EULER) - 2.0 * (n - 1.0) / n,
    }
}

fn grow(sizes: &[f64], depth: u32, random: &mut Random) -> Node {
    let (low, high) = sizes.iter().fold((f64::INFINITY, 0.0), |(low, high), size| (size.min(low), size.max(high)));
    if depth == 0 || sizes.len() <= 1 || low >= high {
        return Node::Leaf(sizes.len());
    }
    let at = low + random.next() * (high - low);
    let (below, above): (Vec<f64>, Vec<f64>) = sizes.iter().partition(|size| **size < at);
    let mut grown = |sizes: &[f64]| Box::new(grow(sizes, depth - 1, random));
    Node::Split { at, below: grown(&below), above: grown(&above) }
}

fn depth(node: &Node, size: f64) -> f64 {
    match node {
        Node::Leaf(left) => mean_depth(*left),
        Node::Split { at, below, above } => 1.0 + depth(if size < *at { below } else { above }, size),
    }
}

/// Grown on the warm-up, and then as it is.
pub(crate) fn by_size(stream: &Stream, answers: &[Answer]) -> Vec<Answer> {
    let sizes = |record: &&Record| !record.is_tick() && !record.is_scored();
    let warm: Vec<f64> = stream.records.iter().filter(sizes).map(|record| record.message.len() as f64).collect();
    let mut random = Random(u64::from(stream.seed));
    let mut draw = || warm.get((random.next() * warm.len() as f64) as usize).copied().unwrap_or_default();
    let samples: Vec<Vec<f64>> = (0..TREES).map(|_| (0..SAMPLE.min(warm.len())).map(|_| draw()).collect()).collect();
    let forest: Vec<Node> = samples.iter().map(|sizes| grow(sizes, MOST_DEPTH, &mut random)).collect();
    let one = |(record, answer): (&Record, &Answer)| {
        if record.is_tick() || !record.is_scored() {
            return Answer::default();
        }
        let mean = forest.iter().map(|tree| depth(tree, record.message.len() as f64)).sum::<f64>() / TREES as f64;
        let score = (-mean / mean_depth(SAMPLE).max(1.0)).exp2();
        Answer { score, template: answer.template, ..Answer::default() }
    };
    stream.records.iter().zip(answers).map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_far_from_the_rest_is_isolated_sooner() {
        let mut random = Random(1);
        let sizes: Vec<f64> = (0..256).map(|n| 100.0 + f64::from(n % 16)).chain([900.0]).collect();
        let trees: Vec<Node> = (0..50).map(|_| grow(&sizes, MOST_DEPTH, &mut random)).collect();
        let mean = |size: f64| trees.iter().map(|tree| depth(tree, size)).sum::<f64>() / 50.0;
        assert!(mean(900.0) < mean(108.0) - 2.0, "{} {}", mean(900.0), mean(108.0));
    }
}
