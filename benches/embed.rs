//! What a vector costs: the goal is 15 µs a template at most.
//!
//! `cargo bench --bench embed`. Templates are made here, so that the bench runs anywhere. With `--features onnx`, and `ODDLINE_ONNX_MODELS` and `ORT_DYLIB_PATH` as in
//! `tests/embed_onnx.rs`, sentence models are measured, too: the goal is that nobody waits for them.

#![allow(clippy::unwrap_used, missing_docs)]

use std::hint::black_box;

use divan::counter::ItemsCount;
use divan::{Bencher, Divan};
use oddline::embed::{Embedder, HashingEmbedder};

const TEMPLATES: usize = 10_000;

fn main() {
    Divan::from_args().run_benches();
}

/// Of 60 to 160 bytes, as those of common logs are.
fn templates() -> Vec<String> {
    const VERBS: [&str; 10] =
        ["opened", "closed", "served", "queued", "dropped", "merged", "read", "wrote", "sent", "kept"];
    const NOUNS: [&str; 20] = [
        "block", "session", "request", "order", "socket", "lease", "chunk", "page", "task", "lock", "volume", "packet",
        "cookie", "shard", "cursor", "stream", "backup", "token", "frame", "mount",
    ];
    let one = |n: usize| {
        let (verb, noun, other) = (VERBS[n % 10], NOUNS[n / 10 % 20], NOUNS[n / 200 % 20]);
        let rest = "of the replicated storage pool ".repeat(n % 4);
        format!("INFO org.apache.hadoop.hdfs.DataNode$Receiver: {verb} {noun} <*> of {other} {rest}at <*> in <*> ms")
    };
    (0..TEMPLATES).map(one).collect()
}

#[divan::bench]
fn hashing(bencher: Bencher) {
    let templates = templates();
    let embedder = HashingEmbedder::fit(templates.iter().map(String::as_str));
    let mut vector = vec![0.0; embedder.dimensions()];
    bencher.counter(ItemsCount::new(TEMPLATES)).bench_local(|| {
        for template in &templates {
            embedder.embed(template, &mut vector).unwrap();
            black_box(&vector);
        }
    });
}

#[divan::bench]
fn learning_weights(bencher: Bencher) {
    let templates = templates();
    let texts = || templates.iter().map(String::as_str);
    bencher.counter(ItemsCount::new(TEMPLATES)).bench_local(|| black_box(HashingEmbedder::fit(texts())));
}

/// Loading a model, and its vectors of 200 templates.
#[cfg(feature = "onnx")]
mod onnx {
    use std::path::PathBuf;

    use oddline::embed::onnx::OnnxEmbedder;

    use super::*;

    const MODELS: [&str; 2] = ["fp32", "int8"];
    const FEW: usize = 200;

    fn dir(name: &str) -> Option<PathBuf> {
        let dir = std::env::var_os("ODDLINE_ONNX_MODELS").map(|models| PathBuf::from(models).join(name));
        if dir.is_none() {
            eprintln!("SKIPPED: ODDLINE_ONNX_MODELS names no models");
        }
        dir
    }

    #[divan::bench(args = MODELS, sample_count = 5, sample_size = 1)]
    fn load(bencher: Bencher, name: &str) {
        if let Some(dir) = dir(name) {
            bencher.bench_local(|| OnnxEmbedder::open(&dir, None).unwrap());
        }
    }

    #[divan::bench(args = MODELS, sample_count = 5, sample_size = 1)]
    fn embed(bencher: Bencher, name: &str) {
        let Some(dir) = dir(name) else { return };
        let (embedder, templates) = (OnnxEmbedder::open(&dir, None).unwrap(), templates());
        let mut vector = vec![0.0; embedder.dimensions()];
        bencher.counter(ItemsCount::new(FEW)).bench_local(|| {
            for template in &templates[..FEW] {
                embedder.embed(template, &mut vector).unwrap();
                black_box(&vector);
            }
        });
    }
}
