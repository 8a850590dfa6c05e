//! A model's directory: what is in it, and what its own configuration says of pooling and length.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::error::OnnxError;
use super::pooling::Pooling;

/// Bytes of a `model.onnx` at most: it is one protobuf message, which cannot be longer.
pub const MOST_MODEL_BYTES: u64 = (1 << 31) - 1;

/// Bytes of a tokenizer at most; the largest published have 20 MB.
const MOST_TOKENIZER_BYTES: u64 = 64 << 20;

/// Bytes of a configuration at most.
const MOST_CONFIG_BYTES: u64 = 1 << 20;

/// Numbers of a vector at most.
pub(super) const MOST_DIMENSIONS: usize = 8_192;

/// Tokens of a text at most, whatever the model could take: a template is a line.
const MOST_TOKENS: usize = 512;

/// Where nothing says how many tokens a text may have: what all-MiniLM-L6-v2 has.
const USUAL_TOKENS: usize = 256;

/// What is no regular file is not opened: a pipe would be waited for.
const NO_FILE: &str = "not a regular file";

/// What the model says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Settings {
    pub(super) pooling: Pooling,
    /// Tokens of a text that are looked at, the special ones among them.
    pub(super) most_tokens: usize,
    /// Texts are lower-cased before they are tokenised.
    pub(super) lower_case: bool,
}

/// What was found in a directory.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) dir: PathBuf,
    pub(super) model: PathBuf,
    pub(super) tokenizer: PathBuf,
    pub(super) tokenizer_bytes: Vec<u8>,
    pub(super) settings: Settings,
    /// Tokens the model knows, where it says so.
    pub(super) vocabulary: Option<u64>,
    model_size: u64,
    model_checksum: u32,
}

impl Found {
    /// Of everything a vector depends on.
    pub(super) fn name(&self) -> String {
        let Settings { pooling, most_tokens, lower_case } = self.settings;
        let (size, model, tokenizer) = (self.model_size, self.model_checksum, crc32c::crc32c(&self.tokenizer_bytes));
        let lower = if lower_case { "-lower" } else { "" };
        format!("{size:x}-{model:08x}-{tokenizer:08x}-{}-{most_tokens}{lower}", pooling.as_str())
    }
}

/// Looks at a directory.
///
/// # Errors
/// When something is missing, too large, or says what is not supported.
pub(super) fn look(dir: &Path) -> Result<Found, OnnxError> {
    let (model, tokenizer) = (dir.join("model.onnx"), dir.join("tokenizer.json"));
    let model_size = size(&model, MOST_MODEL_BYTES)?;
    let tokenizer_bytes = read(&tokenizer, MOST_TOKENIZER_BYTES)?;
    refuse_modules(dir)?;
    let config = Config::read(dir, "config.json")?;
    let settings = settings(dir, &config)?;
    let vocabulary = config.number("vocab_size");
    let (mut model_size, mut model_checksum) = (model_size, 0);
    for path in [model.clone()].into_iter().chain(weights(dir)) {
        let file = |source| OnnxError::File { path: path.clone(), source };
        if path != model {
            model_size = model_size.saturating_add(size(&path, u64::MAX)?);
        }
        model_checksum = checksum(&path, model_checksum).map_err(file)?;
    }
    let dir = dir.to_owned();
    Ok(Found { dir, model, tokenizer, tokenizer_bytes, settings, vocabulary, model_size, model_checksum })
}

fn size(path: &Path, most: u64) -> Result<u64, OnnxError> {
    let file = |source| OnnxError::File { path: path.to_owned(), source };
    let meta = std::fs::metadata(path).map_err(file)?;
    if !meta.is_file() {
        return Err(file(io::Error::new(io::ErrorKind::InvalidInput, NO_FILE)));
    }
    if meta.len() > most {
        return Err(OnnxError::TooLarge { path: path.to_owned(), found: meta.len(), most });
    }
    Ok(meta.len())
}

fn read(path: &Path, most: u64) -> Result<Vec<u8>, OnnxError> {
    size(path, most)?;
    let read = || {
        let mut bytes = Vec::new();
        File::open(path)?.take(most).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    read().map_err(|source| OnnxError::File { path: path.to_owned(), source })
}

/// Files beside a model that its weights are in, as exporters name them: `model.onnx_data`, `model.onnx.data`.
fn weights(dir: &Path) -> Vec<PathBuf> {
    let mut names = names(dir);
    names.retain(|name| name.starts_with("model.onnx") && name.ends_with("data"));
    names.sort_unstable();
    names.iter().map(|name| dir.join(name)).collect()
}

/// CRC32C of a file after that of what comes before it.
fn checksum(path: &Path, before: u32) -> io::Result<u32> {
    let mut file = File::open(path)?;
    let mut block = vec![0; 1 << 20];
    let mut sum = before;
    loop {
        match file.read(&mut block)? {
            0 => return Ok(sum),
            length => sum = crc32c::crc32c_append(sum, block.get(..length).unwrap_or_default()),
        }
    }
}

/// The bytes of a model, for who reads them in one go.
#[cfg(feature = "onnx-tract")]
pub(super) fn model(path: &Path) -> io::Result<impl io::Read> {
    Ok(File::open(path)?.take(MOST_MODEL_BYTES))
}

/// The first `most` bytes of a file, or all of a shorter one, and how long it is.
pub(super) fn head(path: &Path, most: u64) -> io::Result<(Vec<u8>, u64)> {
    if !std::fs::metadata(path)?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, NO_FILE));
    }
    let mut bytes = Vec::new();
    let file = File::open(path)?;
    let length = file.metadata()?.len();
    file.take(most).read_to_end(&mut bytes)?;
    Ok((bytes, length))
}

/// Names in a directory; none when it cannot be read.
pub(super) fn names(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().into_string().ok()).collect()
}

/// A JSON object, empty where there is no file.
#[derive(Debug)]
struct Config {
    path: PathBuf,
    value: Value,
}

impl Config {
    fn read(dir: &Path, name: &str) -> Result<Self, OnnxError> {
        let path = dir.join(name);
        let bytes = match read(&path, MOST_CONFIG_BYTES) {
            Err(OnnxError::File { source, .. }) if source.kind() == io::ErrorKind::NotFound => b"{}".to_vec(),
            read => read?,
        };
        let read: Result<Value, _> = serde_json::from_slice(&bytes);
        match read {
            Ok(value) => Ok(Self { path, value }),
            Err(error) => Err(OnnxError::Settings { path, expected: "JSON", found: error.to_string() }),
        }
    }

    /// A whole number; numbers that no model has (some write 1e30 for "no limit") are none.
    fn number(&self, key: &str) -> Option<u64> {
        self.value.get(key).and_then(Value::as_u64)
    }

    fn flag(&self, key: &str) -> bool {
        self.value.get(key).and_then(Value::as_bool).unwrap_or(false)
    }
}

/// A model whose vectors go through more than pooling would get other vectors here.
fn refuse_modules(dir: &Path) -> Result<(), OnnxError> {
    let config = Config::read(dir, "modules.json")?;
    let types = config.value.as_array().into_iter().flatten().filter_map(|module| module.get("type")?.as_str());
    let is_known = |name: &str| ["Transformer", "Pooling", "Normalize"].contains(&name);
    match types.map(|name| name.rsplit('.').next().unwrap_or(name)).find(|name| !is_known(name)) {
        None => Ok(()),
        Some(found) => Err(OnnxError::Settings {
            path: config.path.clone(),
            expected: "the modules Transformer, Pooling and Normalize",
            found: found.chars().take(60).collect(),
        }),
    }
}

fn settings(dir: &Path, config: &Config) -> Result<Settings, OnnxError> {
    let sentence = Config::read(dir, "sentence_bert_config.json")?;
    let tokenizer = Config::read(dir, "tokenizer_config.json")?;
    let stated = sentence.number("max_seq_length").or_else(|| tokenizer.number("model_max_length"));
    let places = config.number("max_position_embeddings").unwrap_or(u64::MAX);
    let most_tokens = stated.unwrap_or(USUAL_TOKENS as u64).min(places).min(MOST_TOKENS as u64) as usize;
    if most_tokens < 3 {
        return Err(OnnxError::Settings {
            path: sentence.path,
            expected: "room for three tokens (max_seq_length) or more",
            found: most_tokens.to_string(),
        });
    }
    Ok(Settings { pooling: pooling(dir)?, most_tokens, lower_case: sentence.flag("do_lower_case") })
}

/// What `1_Pooling/config.json` says, in the older way (a flag for each) or the newer (one word).
fn pooling(dir: &Path) -> Result<Pooling, OnnxError> {
    let config = Config::read(dir, "1_Pooling/config.json")?;
    let word = config.value.get("pooling_mode").and_then(Value::as_str).map(str::to_owned);
    let flags = || {
        let keys = config.value.as_object().into_iter().flatten();
        let set = keys.filter(|(key, value)| key.starts_with("pooling_mode_") && **value == Value::Bool(true));
        let words = set.map(|(key, _)| {
            key.trim_start_matches("pooling_mode_").trim_end_matches("_tokens").trim_end_matches("_token")
        });
        words.collect::<Vec<_>>().join("+")
    };
    let word = word.unwrap_or_else(flags);
    if word.is_empty() {
        return Ok(Pooling::Mean);
    }
    Pooling::ALL.into_iter().find(|pooling| pooling.as_str() == word).ok_or_else(|| OnnxError::Settings {
        path: config.path.clone(),
        expected: "pooling by mean, cls or max",
        found: word.chars().take(60).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directory(files: &[(&str, &str)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("1_Pooling")).unwrap();
        for (name, text) in [("model.onnx", "x"), ("tokenizer.json", "{}")].iter().chain(files) {
            std::fs::write(dir.path().join(name), text).unwrap();
        }
        dir
    }

    fn of(files: &[(&str, &str)]) -> Result<Settings, String> {
        look(directory(files).path()).map(|found| found.settings).map_err(|error| error.to_string())
    }

    #[test]
    fn pooling_and_length_are_the_models_own() {
        let usual = Settings { pooling: Pooling::Mean, most_tokens: 256, lower_case: false };
        assert_eq!(of(&[]), Ok(usual));
        let cls = r#"{"pooling_mode_cls_token": true, "pooling_mode_mean_tokens": false}"#;
        assert_eq!(of(&[("1_Pooling/config.json", cls)]), Ok(Settings { pooling: Pooling::Cls, ..usual }));
        let word = r#"{"pooling_mode": "max"}"#;
        assert_eq!(of(&[("1_Pooling/config.json", word)]), Ok(Settings { pooling: Pooling::Max, ..usual }));
        let length = |file, text| of(&[(file, text)]).map(|settings| settings.most_tokens);
        assert_eq!(length("sentence_bert_config.json", r#"{"max_seq_length": 128}"#), Ok(128));
        assert_eq!(length("tokenizer_config.json", r#"{"model_max_length": 64}"#), Ok(64));
        assert_eq!(length("tokenizer_config.json", r#"{"model_max_length": 1e30}"#), Ok(256));
        assert_eq!(length("sentence_bert_config.json", r#"{"max_seq_length": 8192}"#), Ok(512));
        let both = [
            ("sentence_bert_config.json", r#"{"max_seq_length": 256, "do_lower_case": true}"#),
            ("config.json", r#"{"max_position_embeddings": 100}"#),
        ];
        assert_eq!(of(&both), Ok(Settings { most_tokens: 100, lower_case: true, ..usual }));
    }

    #[test]
    fn a_model_is_named_by_its_weights_wherever_they_are() {
        let name = |files: &[(&str, &str)]| look(directory(files).path()).unwrap().name();
        let names = [
            name(&[]),
            name(&[("model.onnx_data", "1")]),
            name(&[("model.onnx_data", "2")]),
            name(&[("model.onnx_data", "1"), ("model.onnx.data", "1")]),
        ];
        let different: std::collections::HashSet<_> = names.iter().collect();
        assert_eq!(different.len(), names.len(), "{names:?}");
        assert_eq!(names[0], name(&[("notes", "of no weight"), ("model.onnx.md", "data")]));
    }

    #[test]
    fn what_is_not_supported_is_named() {
        for (file, text, named) in [
            ("1_Pooling/config.json", r#"{"pooling_mode_mean_sqrt_len_tokens": true}"#, "mean_sqrt_len"),
            (
                "1_Pooling/config.json",
                r#"{"pooling_mode_cls_token": true, "pooling_mode_mean_tokens": true}"#,
                "cls+mean",
            ),
            ("modules.json", r#"[{"type": "sentence_transformers.models.Dense"}]"#, "Dense"),
            ("sentence_bert_config.json", r#"{"max_seq_length": 2}"#, "three tokens"),
            ("sentence_bert_config.json", "{", "JSON"),
            ("config.json", "\u{0}", "JSON"),
        ] {
            let error = of(&[(file, text)]).unwrap_err();
            assert!(error.contains(named) && error.contains(file.split('/').next_back().unwrap()), "{error}");
        }
    }

    #[test]
    fn missing_and_endless_files_are_named() {
        let dir = directory(&[]);
        std::fs::remove_file(dir.path().join("tokenizer.json")).unwrap();
        let error = look(dir.path()).unwrap_err().to_string();
        assert!(error.contains("tokenizer.json") && error.contains("model directory"), "{error}");
        std::fs::write(dir.path().join("tokenizer.json"), "{}").unwrap();
        let sparse = File::create(dir.path().join("model.onnx")).unwrap();
        sparse.set_len(4 << 30).unwrap();
        let error = look(dir.path()).unwrap_err().to_string();
        assert!(error.contains("4294967296 bytes") && error.contains("right file"), "{error}");
        std::fs::remove_file(dir.path().join("model.onnx")).unwrap();
        std::fs::create_dir(dir.path().join("model.onnx")).unwrap();
        assert!(look(dir.path()).unwrap_err().to_string().contains("not a regular file"));
        std::fs::remove_dir(dir.path().join("model.onnx")).unwrap();
        for pipe in ["model.onnx", "tokenizer.json", "config.json"] {
            let _was_there = std::fs::remove_file(dir.path().join(pipe));
            assert!(std::process::Command::new("mkfifo").arg(dir.path().join(pipe)).status().unwrap().success());
            let error = look(dir.path()).unwrap_err().to_string();
            assert!(error.contains(pipe) && error.contains("not a regular file"), "{error}");
            std::fs::remove_file(dir.path().join(pipe)).unwrap();
            std::fs::write(dir.path().join(pipe), "{}").unwrap();
        }
        assert!(look(&dir.path().join("none")).unwrap_err().to_string().contains("model.onnx"));
    }

    #[test]
    fn the_name_changes_with_all_a_vector_depends_on() {
        let name = |files: &[(&str, &str)]| look(directory(files).path()).unwrap().name();
        let mut names = vec![
            name(&[]),
            name(&[("model.onnx", "y")]),
            name(&[("tokenizer.json", "{ }")]),
            name(&[("1_Pooling/config.json", r#"{"pooling_mode": "cls"}"#)]),
            name(&[("sentence_bert_config.json", r#"{"max_seq_length": 128}"#)]),
            name(&[("sentence_bert_config.json", r#"{"do_lower_case": true}"#)]),
        ];
        assert_eq!(names[0], name(&[]));
        names.sort();
        names.dedup();
        assert_eq!(names.len(), 6);
    }
}
