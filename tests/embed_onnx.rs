//! Sentence models: `ODDLINE_ONNX_MODELS` names a directory with the models `fp32` and `int8` that `integration/models/build.py` builds, `ORT_DYLIB_PATH` the ONNX Runtime.
#![allow(clippy::unwrap_used, clippy::panic)]

mod cli_support;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

#[cfg(feature = "onnx-tract")]
use cli_support::oddline;
use cli_support::{json, json_lines, ok, path, run, stderr};
use oddline::config::{Config, EmbedderKind};
use oddline::embed::onnx::{LEAST_MINOR, OnnxEmbedder, TRACT, find};
use oddline::embed::{Embedder, conformance};
use oddline::engine::search::{Found, Search};
use oddline::engine::{EmbedderStats, Engine, Environment, Lane};
use oddline::event::{Observation, Timestamp};
use oddline::storage::checkpoint;
use serde_json::{Value, json as value};

/// The directory of a model. Without one a test says that it is skipped, and fails in CI.
macro_rules! model {
    ($name:literal) => {
        match models() {
            Some(models) => models.join($name),
            None => return,
        }
    };
}

fn models() -> Option<PathBuf> {
    let models = std::env::var_os("ODDLINE_ONNX_MODELS").map(PathBuf::from);
    let here = models.filter(|models| models.join("fp32/model.onnx").exists() && find(None).is_ok());
    if here.is_none() {
        assert!(std::env::var_os("CI").is_none(), "CI builds the models: see .ci/run");
        let mut stderr = std::io::stderr();
        writeln!(stderr, "SKIPPED: ODDLINE_ONNX_MODELS and ORT_DYLIB_PATH name no models and no runtime").unwrap();
    }
    here
}

fn open(dir: &Path) -> OnnxEmbedder {
    OnnxEmbedder::open(dir, None).unwrap()
}

fn refusal(dir: &Path) -> String {
    OnnxEmbedder::open(dir, None).map(|opened| opened.model()).unwrap_err().to_string()
}

fn cosine(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
}

/// Texts, and what sentence-transformers makes of them.
fn golden() -> Vec<(String, Vec<f32>)> {
    let text = include_str!("../integration/models/all-minilm-l6-v2.json");
    let entries: Vec<Value> = serde_json::from_str(text).unwrap();
    let vector = |entry: &Value| {
        let bytes = base64(entry["vector"].as_str().unwrap());
        bytes.chunks_exact(4).map(|cell| f32::from_le_bytes(cell.try_into().unwrap())).collect::<Vec<f32>>()
    };
    entries.iter().map(|entry| (entry["text"].as_str().unwrap().to_owned(), vector(entry))).collect()
}

fn base64(text: &str) -> Vec<u8> {
    const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let (mut bytes, mut bits, mut held) = (Vec::new(), 0u32, 0);
    for letter in text.bytes().filter(|letter| *letter != b'=') {
        bits = (bits << 6) | LETTERS.iter().position(|other| *other == letter).unwrap() as u32;
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push((bits >> held) as u8);
        }
    }
    bytes
}

fn worst(embedder: &OnnxEmbedder) -> (f64, String) {
    let likeness = |(text, expected): &(String, Vec<f32>)| {
        (cosine(&embedder.vector(text).unwrap(), expected), text.chars().take(40).collect::<String>())
    };
    let golden = golden();
    assert!(golden.len() > 10 && golden.iter().all(|(_, vector)| vector.len() == 384));
    golden.iter().map(likeness).min_by(|a, b| a.0.total_cmp(&b.0)).unwrap()
}

#[test]
fn vectors_are_those_of_sentence_transformers() {
    let (worst, text) = worst(&open(&model!("fp32")));
    assert!(worst >= 0.999, "{worst} {text:?}");
}

#[test]
fn a_quantised_models_vectors_are_nearly_the_same() {
    let (worst, text) = worst(&open(&model!("int8")));
    assert!(worst >= 0.98, "{worst} {text:?}");
}

#[test]
fn models_do_what_every_embedder_must() {
    for dir in [model!("fp32"), model!("int8")] {
        conformance::check(&|| Box::new(open(&dir))).unwrap();
    }
}

#[test]
fn the_model_is_named_by_what_is_in_its_files() {
    let (fp32, int8) = (open(&model!("fp32")), open(&model!("int8")));
    assert_ne!(fp32.model(), int8.model());
    assert!(fp32.model().starts_with("onnx-1-") && fp32.model().ends_with("-mean-256"), "{}", fp32.model());
    assert_eq!(fp32.dimensions(), 384);
}

/// A copy of the small model, its files linked, to change some of them.
fn copy(model: &Path) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for name in ["model.onnx", "tokenizer.json", "config.json", "sentence_bert_config.json"] {
        std::fs::copy(model.join(name), dir.path().join(name)).unwrap();
    }
    dir
}

fn write(dir: &tempfile::TempDir, name: &str, bytes: impl AsRef<[u8]>) {
    std::fs::write(dir.path().join(name), bytes).unwrap();
}

#[test]
fn a_directory_that_lacks_something_or_is_damaged_is_refused() {
    let dir = copy(&model!("int8"));
    assert!(!open(dir.path()).model().is_empty(), "without what is optional it is a model");
    let whole = std::fs::read(dir.path().join("model.onnx")).unwrap();
    for (what, bytes) in [("empty", &[][..]), ("cut", &whole[..whole.len() / 2]), ("text", b"this is no model")] {
        write(&dir, "model.onnx", bytes);
        assert!(refusal(dir.path()).contains("model.onnx cannot be loaded"), "{what}: {}", refusal(dir.path()));
    }
    write(&dir, "model.onnx", &whole);
    for text in ["", "{}", "[1]", "no JSON", r#"{"version":"1.0","model":{"type":"WordPiece"}}"#] {
        write(&dir, "tokenizer.json", text);
        assert!(refusal(dir.path()).contains("is no tokenizer"), "{text:?}: {}", refusal(dir.path()));
    }
    std::fs::remove_file(dir.path().join("tokenizer.json")).unwrap();
    assert!(refusal(dir.path()).contains("tokenizer.json"), "{}", refusal(dir.path()));
}

#[test]
fn a_tokenizer_of_another_vocabulary_is_refused() {
    let dir = copy(&model!("int8"));
    write(&dir, "tokenizer.json", a_tokenizer_of_other_words());
    let told = refusal(dir.path());
    assert!(told.contains("40000 tokens") && told.contains("30522"), "{told}");
    // Where the model does not say how many it knows, it is tried.
    std::fs::remove_file(dir.path().join("config.json")).unwrap();
    let told = refusal(dir.path());
    assert!(told.contains("token 39999") && told.contains("belong together"), "{told}");
}

/// 40,000 of them.
fn a_tokenizer_of_other_words() -> String {
    let words: serde_json::Map<String, Value> = (0..40_000).map(|id| (format!("w{id}"), value!(id))).collect();
    let model = value!({"type": "WordLevel", "vocab": words, "unk_token": "w0"});
    value!({"version": "1.0", "model": model, "pre_tokenizer": {"type": "Whitespace"}}).to_string()
}

/// A protobuf field of bytes, of a message, or of a number.
fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    assert!(bytes.len() < 1 << 14);
    let length = [(bytes.len() & 0x7f) as u8 | 0x80, (bytes.len() >> 7) as u8];
    [&[number << 3 | 2], &length[..], bytes].concat()
}

fn number(number: u8, value: u8) -> Vec<u8> {
    vec![number << 3, value]
}

/// What goes in and what comes out: a name, the element type (1 float, 7 int64) and the rank.
type Ends<'a> = [(&'a str, u8, usize); 2];

/// A model that hands `from` on as its output (ONNX, `onnx.proto`), and has these weights.
fn hands_on(from: &str, ends: Ends, weights: &[Vec<u8>]) -> Vec<u8> {
    let value = |(name, element, rank): (&str, u8, usize)| {
        let dimension = field(1, &field(2, b"n"));
        let shape = field(2, &dimension.repeat(rank));
        let kind = field(2, &field(1, &[number(1, element), shape].concat()));
        [field(1, name.as_bytes()), kind].concat()
    };
    let node = [field(1, from.as_bytes()), field(2, ends[1].0.as_bytes()), field(4, b"Identity")].concat();
    let weights: Vec<u8> = weights.iter().flat_map(|weight| field(5, weight)).collect();
    let ends = [field(11, &value(ends[0])), field(12, &value(ends[1]))].concat();
    let graph = [field(1, &node), field(2, b"g"), weights, ends].concat();
    [number(1, 8), field(7, &graph), field(8, &number(2, 17))].concat()
}

/// A model that hands its one input on, both of one element type and rank.
fn identity(input: &str, output: &str, element: u8, rank: usize) -> Vec<u8> {
    hands_on(input, [(input, element, rank), (output, element, rank)], &[])
}

#[test]
fn a_model_with_other_inputs_or_outputs_is_refused_and_what_it_has_is_named() {
    let dir = copy(&model!("int8"));
    for (model, named) in [
        (identity("pixels", "classes", 1, 4), "other inputs than a sentence model"),
        (identity("pixels", "classes", 1, 4), "pixels (Float32 of rank 4)"),
        (identity("input_ids", "last_hidden_state", 7, 1), "input_ids (Int64 of rank 1)"),
        (identity("input_ids", "last_hidden_state", 1, 2), "input_ids (Float32 of rank 2)"),
        (identity("input_ids", "logits", 7, 2), "other outputs than a sentence model"),
        (identity("input_ids", "last_hidden_state", 7, 2), "last_hidden_state (Int64 of rank 2)"),
    ] {
        write(&dir, "model.onnx", model);
        let told = refusal(dir.path());
        assert!(told.contains(named) && told.contains("expected"), "{named}: {told}");
    }
}

#[test]
fn a_runtime_that_is_missing_old_or_of_another_machine_is_refused_before_it_is_used() {
    let dir = tempfile::tempdir().unwrap();
    let told = |name: &str| find(Some(&dir.path().join(name))).unwrap_err().to_string();
    assert!(told("missing.so").contains("missing.so") && told("missing.so").contains("ORT_DYLIB_PATH"));
    for (name, version) in [("old", "1.3.0"), ("next", "2.0.0"), ("odd", "newest")] {
        write(&dir, "runtime.c", fake_runtime(version));
        let library = dir.path().join(format!("{name}.so"));
        let mut compiler = Command::new("cc");
        compiler.args(["-shared", "-fPIC", "-o"]).arg(&library).arg(dir.path().join("runtime.c"));
        assert!(compiler.status().unwrap().success());
        let told = told(&format!("{name}.so"));
        assert!(told.contains(version) && told.contains(&format!("1.{LEAST_MINOR}")), "{told}");
    }
    let places = tempfile::tempdir().unwrap();
    std::fs::copy(dir.path().join("old.so"), places.path().join("libonnxruntime.so.9")).unwrap();
    std::fs::copy(dir.path().join("next.so"), places.path().join("libonnxruntime.so.8")).unwrap();
    let none = find(Some(places.path())).unwrap_err().to_string();
    for named in ["libonnxruntime.so.9 is ONNX Runtime 1.3.0", "libonnxruntime.so.8 is ONNX Runtime 2.0.0"] {
        assert!(none.contains(named), "{none}");
    }
    let fits = format!("1.{LEAST_MINOR}.1");
    write(&dir, "runtime.c", fake_runtime(&fits));
    let mut compiler = Command::new("cc");
    compiler
        .args(["-shared", "-fPIC", "-o"])
        .arg(places.path().join("libonnxruntime.so.7"))
        .arg(dir.path().join("runtime.c"));
    assert!(compiler.status().unwrap().success());
    assert_eq!(find(Some(places.path())).unwrap().version, fits, "an old one hides no newer one");
    let mut library = std::fs::read(dir.path().join("old.so")).unwrap();
    library[18..20].copy_from_slice(&22u16.to_le_bytes());
    write(&dir, "other.so", &library);
    assert!(told("other.so").contains("s390x"), "{}", told("other.so"));
    library.truncate(2_000);
    library[18..20].copy_from_slice(&std::fs::read(dir.path().join("old.so")).unwrap()[18..20]);
    write(&dir, "cut.so", &library);
    assert!(told("cut.so").contains("no ONNX Runtime for this machine"), "{}", told("cut.so"));
}

#[test]
fn one_process_runs_one_runtime() {
    let model = model!("int8");
    assert!(!open(&model).model().is_empty());
    let dir = tempfile::tempdir().unwrap();
    let (loaded, other) = (find(None).unwrap().path, dir.path().join("libonnxruntime.so.1"));
    assert!(OnnxEmbedder::open(&model, Some(&loaded)).is_ok(), "the same by its path");
    std::fs::copy(&loaded, &other).unwrap();
    let told = OnnxEmbedder::open(&model, Some(dir.path())).unwrap_err().to_string();
    assert!(told.contains("already") && told.contains(other.to_str().unwrap()), "{told}");
}

#[cfg(not(feature = "onnx-tract"))]
#[test]
fn tract_is_refused_by_name_where_it_is_not_built_in() {
    let told = OnnxEmbedder::open(&model!("fp32"), Some(Path::new(TRACT))).unwrap_err().to_string();
    assert!(told.contains("feature `onnx-tract`"), "{told}");
}

#[cfg(feature = "onnx-tract")]
mod by_tract {
    use super::*;

    fn tract(dir: &Path) -> OnnxEmbedder {
        OnnxEmbedder::open(dir, Some(Path::new(TRACT))).unwrap()
    }

    fn told(dir: &Path) -> String {
        OnnxEmbedder::open(dir, Some(Path::new(TRACT))).map(|opened| opened.model()).unwrap_err().to_string()
    }

    #[test]
    fn tract_does_what_every_embedder_must_and_its_vectors_are_those_of_sentence_transformers() {
        let dir = model!("fp32");
        conformance::check(&|| Box::new(tract(&dir))).unwrap();
        let embedder = tract(&dir);
        let (worst, text) = worst(&embedder);
        assert!(worst >= 0.999, "{worst} {text:?}");
        assert_eq!(embedder.model(), open(&dir).model(), "whoever runs it, it is one model");
    }

    #[test]
    fn tract_refuses_a_quantised_model_with_advice_and_others_as_the_library_does() {
        let dir = copy(&model!("int8"));
        assert!(told(dir.path()).contains("take the model in fp32"), "{}", told(dir.path()));
        for (model, named) in [
            (identity("pixels", "classes", 1, 4), "pixels (Float32 of rank 4)"),
            (identity("input_ids", "last_hidden_state", 7, 1), "input_ids (Int64 of rank 1)"),
            (identity("input_ids", "logits", 7, 2), "other outputs than a sentence model"),
            (identity("input_ids", "last_hidden_state", 7, 2), "last_hidden_state (Int64 of rank 2)"),
        ] {
            write(&dir, "model.onnx", model);
            assert!(told(dir.path()).contains(named), "{named}: {}", told(dir.path()));
        }
    }

    #[test]
    fn tract_refuses_a_model_that_is_cut_or_contradicts_itself() {
        let dir = copy(&model!("fp32"));
        let whole = std::fs::read(dir.path().join("model.onnx")).unwrap();
        let ends = [("input_ids", 7, 2), ("last_hidden_state", 1, 3)];
        // `TensorProto`: sizes, float, a name, and the numbers or the file that has them.
        let weight = |sizes: &[u8], numbers: Vec<u8>| vec![[sizes, &number(2, 1), &field(8, b"w"), &numbers].concat()];
        let (two_to_62, minus_one) = ([8, 128, 128, 128, 128, 128, 128, 128, 128, 64], [&[8][..], &[255; 9], &[1]]);
        let elsewhere = [field(13, &[field(1, b"location"), field(2, b"weights")].concat()), number(14, 1)].concat();
        let cases = [
            (vec![], "expected input_ids"),
            (whole[..whole.len() / 2].to_vec(), "cannot be loaded"),
            (b"this is no model".to_vec(), "cannot be loaded"),
            (vec![0x3a, 0xff, 0xff, 0xff, 0x7f], "cannot be loaded"),
            (hands_on("nowhere", ends, &[]), "nowhere"),
            (hands_on("input_ids", ends, &[]), "fails on token"),
            (hands_on("w", ends, &weight(&[&two_to_62[..], &[8, 4]].concat(), field(9, &[0; 4]))), "more numbers than"),
            (hands_on("w", ends, &weight(&minus_one.concat(), field(9, &[0; 4]))), "more numbers than"),
            (hands_on("w", ends, &weight(&[8, 3], field(9, &[0; 4]))), "cannot be loaded"),
            (hands_on("w", ends, &weight(&[8, 1], elsewhere)), "external data"),
        ];
        for (case, (bytes, named)) in cases.into_iter().enumerate() {
            write(&dir, "model.onnx", bytes);
            let told = told(dir.path());
            assert!(told.contains(named), "case {case}, {named}: {told}");
        }
    }

    #[test]
    fn tract_refuses_a_model_whose_tokenizer_has_tokens_it_does_not_know() {
        let dir = copy(&model!("fp32"));
        write(&dir, "tokenizer.json", a_tokenizer_of_other_words());
        std::fs::remove_file(dir.path().join("config.json")).unwrap();
        let told = told(dir.path());
        assert!(told.contains("token 39999") && told.contains("belong together"), "{told}");
    }

    #[test]
    fn with_tract_no_library_is_needed_a_search_finds_by_meaning_and_all_say_what_runs_the_model() {
        let dir = tempfile::tempdir().unwrap();
        let config = config(dir.path(), &format!("{}embedder_runtime: tract\n", onnx(&model!("fp32"))));
        let without_library = |args: &[&str]| {
            let done = oddline(args).env("ORT_DYLIB_PATH", dir.path().join("none")).output().unwrap();
            ok(&done).to_owned()
        };
        ok(&run(&["score", "--config", &config], a_log()));
        let found =
            json_lines(&without_library(&["search", "the database is down", "--config", &config, "--format", "json"]));
        assert!(found[0]["template"].as_str().unwrap().contains("postgres"), "{found:?}");
        let stats = json(&without_library(&["stats", "--config", &config, "--format", "json"]));
        assert_eq!((&stats["embedder"]["state"], &stats["embedder"]["runner"]), (&value!("ready"), &value!("tract")));
        for command in [&["doctor", "--config"][..], &["config", "check"]] {
            let told = without_library(&[command, &[&config]].concat());
            assert!(told.contains("384 dimensions, tract"), "{told}");
        }
    }
}

fn fake_runtime(version: &str) -> String {
    format!(
        "static const char *version(void) {{ return \"{version}\"; }}\n\
         static const void *api(unsigned v) {{ (void)v; return 0; }}\n\
         struct base {{ const void *(*api)(unsigned); const char *(*version)(void); }};\n\
         const struct base *OrtGetApiBase(void) {{ static const struct base b = {{ api, version }}; return &b; }}\n"
    )
}

const LINES: [&str; 6] = [
    "request N served in N ms",
    "session N opened for customer N",
    "cache hit for key N",
    "backup of volume N finished",
    "could not reach postgres at N: connection refused",
    "replica N is N bytes behind",
];

fn a_log() -> String {
    (0..3_000).map(|n| LINES[n % LINES.len()].replace('N', &(n * 7 % 1_000).to_string()) + "\n").collect()
}

fn config(dir: &Path, more: &str) -> String {
    let file = dir.join("oddline.yaml");
    std::fs::write(&file, format!("data_dir: {}\ndurability: always\n{more}", dir.join("data").display())).unwrap();
    path(&file).to_owned()
}

fn onnx(model: &Path) -> String {
    format!("embedder: onnx\nembedder_model: {}\n", model.display())
}

fn search(config: &str, words: &str) -> (Vec<Value>, String) {
    let done = run(&["search", words, "--config", config, "--format", "json"], "");
    (json_lines(ok(&done)), stderr(&done).to_owned())
}

#[test]
fn search_finds_by_meaning_what_has_no_word_in_common() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path(), &onnx(&model!("fp32")));
    let runner = format!("ONNX Runtime {}", find(None).unwrap().version);
    for command in [&["config", "check"][..], &["doctor", "--config"]] {
        let told = run(&[command, &[&config]].concat(), "");
        assert!(ok(&told).contains(&format!("384 dimensions, {runner}")), "{told:?}");
    }
    ok(&run(&["score", "--config", &config], a_log()));
    let (found, told) = search(&config, "the database is down");
    assert!(found[0]["template"].as_str().unwrap().contains("postgres"), "{found:?}");
    assert_eq!(told, "");
    let done = json(ok(&run(&["reembed", "--config", &config, "--format", "json"], "")));
    let sum = done["embedded"].as_u64().unwrap() + done["kept"].as_u64().unwrap();
    assert_eq!((sum, &done["replaced"]), (6, &Value::Null), "{done:?}");
    let stats = json(ok(&run(&["stats", "--config", &config, "--format", "json"], "")));
    assert_eq!(stats["embedder"]["state"], "ready");
    assert_eq!(stats["embedder"]["vectors"], 6);
    assert!(stats["embedder"]["runner"].as_str().unwrap().starts_with(&runner), "{stats}");
    assert_eq!(search(&config, "the database is down").0, found, "kept vectors are those made anew");
}

/// An engine over a data dir, and a lane that has seen some templates.
fn engine(dir: &Path, model: &Path, templates: usize) -> (Engine, Lane) {
    let config = Config {
        data_dir: Some(dir.join("data")),
        embedder: EmbedderKind::Onnx,
        embedder_model: Some(model.to_owned()),
        ..Config::default()
    };
    let engine = Engine::open(&config, Environment::system()).unwrap();
    let mut lane = engine.lane().unwrap();
    for n in 0..templates {
        let line = format!("{} of {} failed", letters(n), letters(n * 7 + 1));
        lane.observe(&Observation::new(line.as_bytes(), Timestamp(n as i64 * 1_000)));
    }
    lane.tick(Timestamp(templates as i64 * 1_000));
    (engine, lane)
}

/// A word without digits, another for each number.
fn letters(number: usize) -> String {
    (0..4).map(|place| char::from(b'a' + (number / 26usize.pow(place) % 26) as u8)).collect()
}

/// Waits for what the engine's thread does.
fn until(engine: &Engine, what: &str, is_so: impl Fn(&EmbedderStats) -> bool) {
    let end = Instant::now() + Duration::from_secs(120);
    while !is_so(&engine.stats().embedder) {
        assert!(Instant::now() < end, "{what}: {:?}", engine.stats().embedder);
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn templates_get_vectors_in_the_background_and_a_restart_makes_none_again() {
    let dir = tempfile::tempdir().unwrap();
    let model = model!("int8");
    // More than the queue takes.
    let (opened, lane) = engine(dir.path(), &model, 400);
    let templates = opened.stats().templates;
    assert!(templates > 300, "{templates}");
    until(&opened, "all templates have a vector", |stats| stats.vectors == templates && stats.waiting == 0);
    lane.close().unwrap();
    opened.close().unwrap();
    let kept = || std::fs::read(dir.path().join("data/vectors/vectors")).unwrap();
    let written = kept();
    let (again, lane) = engine(dir.path(), &model, 400);
    until(&again, "the vectors are there", |stats| stats.state == "ready" && stats.vectors == templates);
    lane.close().unwrap();
    again.close().unwrap();
    assert!(kept() == written, "nothing was new, and yet vectors were written");
}

fn asked(engine: &Engine, words: &str) -> Found {
    // What the lane handed over is on disk then.
    engine.checkpoint().unwrap();
    let (from, until) = (Timestamp(i64::MIN), Timestamp(i64::MAX));
    engine.search(&Search { words: words.to_owned(), from, until, stream: None, most: 10 }).unwrap()
}

fn meet(lane: &mut Lane, line: &str, at: i64) {
    lane.observe(&Observation::new(line.as_bytes(), Timestamp(at)));
    lane.tick(Timestamp(at));
}

#[test]
fn a_running_engine_searches_with_what_it_has_loaded_and_with_vectors_that_are_not_on_disk_yet() {
    let dir = tempfile::tempdir().unwrap();
    let model = copy(&model!("int8"));
    // More than a search would make vectors of.
    let (engine, mut lane) = engine(dir.path(), model.path(), 400);
    meet(&mut lane, "could not reach postgres: connection refused", 1_000_000);
    let templates = engine.stats().templates;
    until(&engine, "all have a vector", |stats| stats.vectors == templates && stats.waiting == 0);
    assert!(!dir.path().join("data/vectors/vectors").exists(), "nothing is written yet");
    // Who would load it now could not.
    model.close().unwrap();
    for _ in 0..3 {
        let found = asked(&engine, "cannot connect to the database server");
        assert_eq!(found.fallback, None);
        assert!(found.model.starts_with("onnx-") && found.templates_searched > 300, "{found:?}");
        assert!(found.templates[0].template.contains("postgres"), "{found:?}");
    }
    lane.close().unwrap();
    engine.close().unwrap();
}

#[test]
fn a_search_waits_for_a_model_that_is_being_loaded_and_goes_before_templates() {
    let dir = tempfile::tempdir().unwrap();
    let (engine, mut lane) = engine(dir.path(), &model!("int8"), 150);
    meet(&mut lane, "could not reach postgres: connection refused", 1_000_000);
    assert_eq!(engine.stats().embedder.state, "loading");
    let found = asked(&engine, "cannot connect to the database server");
    assert_eq!((found.fallback, engine.stats().embedder.state), (None, "ready"));
    assert!(found.templates[0].template.contains("postgres"));
    lane.close().unwrap();
    engine.close().unwrap();
}

#[test]
fn an_engine_whose_model_cannot_be_used_searches_by_words_and_says_why() {
    let dir = tempfile::tempdir().unwrap();
    let (engine, mut lane) = engine(dir.path(), &dir.path().join("none"), 20);
    meet(&mut lane, "could not reach postgres: connection refused", 1_000_000);
    let found = asked(&engine, "postgres connections");
    assert!(found.fallback.unwrap().contains("model.onnx"));
    assert!(found.templates[0].template.contains("postgres") && found.model.starts_with("hash"), "{}", found.model);
    lane.close().unwrap();
    engine.close().unwrap();
}

#[test]
fn queries_that_are_long_or_in_other_scripts_are_answered_by_the_model() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path(), &onnx(&model!("int8")));
    ok(&run(&["score", "--config", &config], a_log()));
    let long = "the database refused a connection ".repeat(3_000);
    for words in ["磁盘已满", "диск переполнен", "القرص ممتلئ", "🔥 x", &long] {
        assert_eq!(search(&config, words).1, "", "{}", words.chars().take(20).collect::<String>());
    }
    assert!(search(&config, &long).0[0]["template"].as_str().unwrap().contains("postgres"));
    let refused = run(&["search", "", "--config", &config], "");
    assert!(refused.status.code() == Some(2) && stderr(&refused).contains("expected words"), "{refused:?}");
}

#[test]
fn scoring_does_not_wait_for_a_model_that_cannot_be_used() {
    let dir = tempfile::tempdir().unwrap();
    let (engine, lane) = engine(dir.path(), &dir.path().join("none"), 50);
    until(&engine, "the failure is told", |stats| stats.state == "failed");
    let stats = engine.stats();
    assert!(stats.embedder.failure.unwrap().contains("model.onnx") && stats.events_total == 50);
    lane.close().unwrap();
    engine.close().unwrap();
}

#[test]
fn vectors_of_another_model_are_replaced_and_said_so() {
    let dir = tempfile::tempdir().unwrap();
    let first = config(dir.path(), &onnx(&model!("fp32")));
    ok(&run(&["score", "--config", &first], a_log()));
    ok(&run(&["reembed", "--config", &first], ""));
    let told = |config: &str| ok(&run(&["doctor", "--config", config], "")).to_owned();
    assert!(told(&first).contains("vectors: 6 of 384 numbers by onnx-1-") && !told(&first).contains("configured is"));
    let second = config(dir.path(), &onnx(&model!("int8")));
    assert!(told(&second).contains("not the model that is configured"), "{}", told(&second));
    let done = json(ok(&run(&["reembed", "--config", &second, "--format", "json"], "")));
    assert_eq!((&done["embedded"], &done["kept"]), (&value!(6), &value!(0)));
    assert_eq!(done["replaced"], open(&model!("fp32")).model());
    assert!(search(&second, "the database is down").0[0]["template"].as_str().unwrap().contains("postgres"));
}

/// Templates, one more than `many`, each of words of its own.
fn a_log_of_many(many: usize) -> String {
    let line = |n: usize| format!("{} of {} bloomed\n", letters(n), letters(n * 7 + 1));
    (0..many).map(line).chain(["could not reach postgres: connection refused\n".to_owned()]).collect()
}

#[test]
fn a_data_dir_of_another_model_is_searched_by_words_says_so_and_reembed_converts_it() {
    let dir = tempfile::tempdir().unwrap();
    let first = config(dir.path(), &onnx(&model!("int8")));
    // More than a search makes vectors of.
    ok(&run(&["score", "--config", &first], a_log_of_many(400)));
    ok(&run(&["reembed", "--config", &first], ""));
    let by_first = search(&first, "the database is down");
    assert_eq!(by_first.1, "");
    let second = config(dir.path(), &onnx(&model!("fp32")));
    let (found, told) = search(&second, "postgres connections");
    assert!(found[0]["template"].as_str().unwrap().contains("postgres"), "{found:?}");
    let (was, is) = (open(&model!("int8")).model(), open(&model!("fp32")).model());
    for named in ["searched by words alone", "have no vector of", &was, &is, "oddline reembed"] {
        assert!(told.contains(named), "{named}: {told}");
    }
    let done = json(ok(&run(&["reembed", "--config", &second, "--format", "json"], "")));
    assert!(done["embedded"].as_u64() > Some(300) && done["kept"] == 0 && done["replaced"] == was, "{done}");
    let (found, told) = search(&second, "the database is down");
    assert_eq!(told, "");
    assert!(found[0]["template"].as_str().unwrap().contains("postgres"), "{found:?}");
    // Words alone do not find it.
    let plain = config(dir.path(), "");
    let (by_words, told) = search(&plain, "the database is down");
    assert!(told.contains(&is) && told.contains("no model is configured"), "{told}");
    assert!(by_words.first().is_none_or(|hit| !hit["template"].as_str().unwrap().contains("postgres")), "{by_words:?}");
    assert!(ok(&run(&["doctor", "--config", &plain], "")).contains("not used, since no model is configured"));
}

#[test]
fn a_template_that_is_new_while_all_others_have_vectors_gets_one_too() {
    let dir = tempfile::tempdir().unwrap();
    let (engine, mut lane) = engine(dir.path(), &model!("int8"), 5);
    let all = |count: u64| move |stats: &EmbedderStats| stats.vectors == count && stats.waiting == 0;
    let before = engine.stats().templates;
    until(&engine, "all have a vector", all(before));
    meet(&mut lane, "could not reach postgres: connection refused", 1_000_000);
    until(&engine, "the new one has a vector", all(before + 1));
    lane.close().unwrap();
    engine.close().unwrap();
}

#[test]
fn vectors_of_another_length_by_the_same_name_are_never_compared() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path(), &onnx(&model!("int8")));
    ok(&run(&["score", "--config", &config], a_log()));
    ok(&run(&["reembed", "--config", &config], ""));
    let found = search(&config, "the database is down");
    let file = dir.path().join("data/vectors/vectors");
    let kept = checkpoint::decode(&file, &std::fs::read(&file).unwrap()).unwrap();
    let (name, vectors) = (kept.section("model").unwrap(), kept.section("vectors").unwrap());
    // The first half of each, under the same texts.
    let halves = vectors[4..].chunks_exact(8 + 384 * 4).flat_map(|entry| entry[..8 + 192 * 4].to_vec());
    let halves: Vec<u8> = 192u32.to_le_bytes().into_iter().chain(halves).collect();
    let short = checkpoint::encode(0, Timestamp(0), &[("model", name), ("vectors", &halves)]).unwrap();
    std::fs::write(&file, short).unwrap();
    assert_eq!(search(&config, "the database is down"), found);
    assert!(ok(&run(&["doctor", "--config", &config], "")).contains("not the model that is configured"));
    let done = json(ok(&run(&["reembed", "--config", &config, "--format", "json"], "")));
    assert_eq!((&done["embedded"], &done["kept"]), (&value!(6), &value!(0)));
    assert!(ok(&run(&["doctor", "--config", &config], "")).contains("vectors: 6 of 384 numbers"));
}

/// Does something to a model's directory.
type Break = fn(&tempfile::TempDir);

#[test]
fn whatever_is_broken_of_a_model_events_are_scored_and_stats_and_doctor_say_what_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let model = copy(&model!("int8"));
    write(&model, "libother.so", "no library");
    let runtime =
        |name: &str| format!("{}embedder_runtime: {}\n", onnx(model.path()), model.path().join(name).display());
    let library = runtime("libother.so");
    // The runtime itself, for another machine (IBM's z), and a model that no file of a model can be.
    let mut other_machine = std::fs::read(find(None).unwrap().path).unwrap();
    other_machine[18..20].copy_from_slice(&22u16.to_le_bytes());
    write(&model, "libz.so", &other_machine);
    let endless: Break = |model: &tempfile::TempDir| {
        std::fs::File::create(model.path().join("model.onnx")).unwrap().set_len(4 << 30).unwrap();
    };
    let break_tokenizer =
        |model: &tempfile::TempDir| std::fs::remove_file(model.path().join("tokenizer.json")).unwrap();
    let break_model: Break = |model: &tempfile::TempDir| write(model, "model.onnx", "no model");
    let other_inputs: Break =
        |model: &tempfile::TempDir| write(model, "model.onnx", identity("pixels", "classes", 1, 4));
    let cases: [(String, Break, &str); 6] = [
        (library, |_| {}, "no ONNX Runtime for this machine"),
        (runtime("libz.so"), |_| {}, "it is for s390x"),
        (onnx(model.path()), endless, "4294967296 bytes"),
        (onnx(model.path()), other_inputs, "other inputs than a sentence model"),
        (onnx(model.path()), break_model, "model.onnx cannot be loaded"),
        (onnx(model.path()), break_tokenizer, "tokenizer.json"),
    ];
    for (more, break_it, named) in cases {
        break_it(&model);
        let config = config(dir.path(), &more);
        assert_eq!(ok(&run(&["score", "--config", &config], a_log())).lines().count(), 3_000, "{named}");
        let stats = json(ok(&run(&["stats", "--config", &config, "--format", "json"], "")));
        assert_eq!(stats["embedder"]["state"], "failed", "{named}");
        assert!(stats["embedder"]["failure"].as_str().unwrap().contains(named), "{stats}");
        let doctor = run(&["doctor", "--config", &config], "");
        let told = String::from_utf8_lossy(&doctor.stdout).into_owned();
        assert_eq!(doctor.status.code(), Some(1), "{told}");
        assert!(told.contains("WRONG  embedder") && told.contains(named), "{told}");
        assert!(told.contains("ok     restore"), "the data dir is looked at all the same: {told}");
    }
}

#[test]
fn with_a_broken_model_everything_runs_on_hashing_and_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let broken = config(dir.path(), &onnx(&dir.path().join("no-model")));
    let scored = run(&["score", "--config", &broken], a_log());
    ok(&scored);
    assert!(stderr(&scored).contains("templates have hashing vectors"), "{}", stderr(&scored));
    let (found, told) = search(&broken, "refused connections");
    assert!(found[0]["template"].as_str().unwrap().contains("postgres"));
    assert!(told.contains("searched by words alone") && told.contains("model.onnx"), "{told}");
    let stats = json(ok(&run(&["stats", "--config", &broken, "--format", "json"], "")));
    assert_eq!(stats["embedder"]["state"], "failed");
    assert!(stats["embedder"]["failure"].as_str().unwrap().contains("model.onnx"));
    for command in [&["doctor", "--config"][..], &["config", "check"], &["reembed", "--config"]] {
        let done = run(&[command, &[&broken]].concat(), "");
        assert_eq!(done.status.code(), Some(1), "{command:?}");
        assert!(format!("{done:?}").contains("model.onnx"), "{command:?} {done:?}");
    }
}
