//! What a vector costs: the goal is 15 µs a template at most.
//!
//! `cargo bench --bench embed`. Templates are made here, so that the bench runs anywhere. With `--features onnx`, and `ODDLINE_ONNX_MODELS` and `ORT_DYLIB_PATH` as in
//! `tests/embed_onnx.rs`, sentence models are measured first (with `onnx-tract`, by tract, too), each in a process of its own: the goal is that nobody waits for them.

#![allow(clippy::unwrap_used, missing_docs)]

use std::hint::black_box;

use divan::counter::ItemsCount;
use divan::{Bencher, Divan};
use oddline::embed::{Embedder, HashingEmbedder};

const TEMPLATES: usize = 10_000;

fn main() {
    #[cfg(feature = "onnx")]
    {
        if onnx::one() {
            return;
        }
        onnx::measure();
    }
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

/// What a model costs: each in a process of its own, so that its memory is its own.
#[cfg(feature = "onnx")]
mod onnx {
    use std::path::{Path, PathBuf};
    use std::process::Command;
    use std::time::{Duration, Instant};

    use oddline::embed::onnx::{OnnxEmbedder, TRACT};

    use super::*;

    /// Names the one that a process measures.
    const ONE: &str = "ODDLINE_BENCH_MODEL";

    const FEW: usize = 200;

    /// Prints what each model costs, where there are models.
    pub(super) fn measure() {
        let Some(models) = std::env::var_os("ODDLINE_ONNX_MODELS").map(PathBuf::from) else {
            return eprintln!("SKIPPED: ODDLINE_ONNX_MODELS names no models");
        };
        let tract = cfg!(feature = "onnx-tract").then_some(TRACT);
        for name in ["fp32", "int8"].into_iter().chain(tract) {
            let itself = std::env::current_exe().unwrap();
            let done = Command::new(itself).env(ONE, name).env("ODDLINE_ONNX_MODELS", &models).status().unwrap();
            assert!(done.success(), "{name}");
        }
    }

    /// Measures the one that is named to this process; false where none is.
    pub(super) fn one() -> bool {
        let (Ok(name), Some(models)) = (std::env::var(ONE), std::env::var_os("ODDLINE_ONNX_MODELS")) else {
            return false;
        };
        let (dir, runtime) = if name == TRACT { ("fp32", Some(Path::new(TRACT))) } else { (&*name, None) };
        let start = Instant::now();
        let embedder = OnnxEmbedder::open(&PathBuf::from(models).join(dir), runtime).unwrap();
        let load = start.elapsed();
        let templates = &templates()[..FEW];
        let mut vector = vec![0.0; embedder.dimensions()];
        let mut times: Vec<Duration> = (0..5)
            .flat_map(|_| templates)
            .map(|template| {
                let start = Instant::now();
                embedder.embed(template, &mut vector).unwrap();
                black_box(&vector);
                start.elapsed()
            })
            .collect();
        times.sort_unstable();
        let (median, slow) = (times[times.len() / 2], times[times.len() * 99 / 100]);
        let peak = peak_mib();
        println!(
            "{name}: loaded in {load:.0?}; a template {median:.1?} median, {slow:.1?} p99; peak resident {peak} MiB"
        );
        true
    }

    fn peak_mib() -> u64 {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0) / 1_024
    }
}
