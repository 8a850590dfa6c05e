//! Measures how well oddline finds injected incidents.
//!
//! ```text
//! oddline-eval [--shared DIR] [--cache DIR] [--seeds 1,2,3] [--quiet-seeds 1,2] [--one-stream] [--quick] [--write FILE]
//! ```
//!
//! Streams are made by `DIR/eval/make_incidents.py` from the logs in `DIR/data/loghub` (default `../shared`) and kept in the cache (default
//! `target/eval-streams`). Without that directory there is nothing to measure: the command says so and fails. `--one-stream` scores
//! everything without `partition_by`; without it the report has a section on that. `--quick` leaves out ablation and baselines, and that section.

mod bgl;
mod csv;
mod forest;
mod metrics;
mod report;
mod score;
mod truth;

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use std::thread;

use metrics::Metrics;
use oddline::config::Config;
use oddline::engine::EngineError;
use report::{Budget, Report, Variant};
use score::Answer;
use truth::{Source, Stream};

const PREFACE: &str = include_str!("preface.md");
const BUDGETS: [f64; 3] = [1e-2, 1e-3, 1e-4];

#[derive(Debug)]
struct Options {
    source: Source,
    seeds: Vec<u32>,
    quiet_seeds: Vec<u32>,
    is_one_stream: bool,
    is_quick: bool,
    write: Option<PathBuf>,
}

fn main() -> ExitCode {
    match options().and_then(|options| run(&options)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("oddline-eval: {error}");
            ExitCode::FAILURE
        }
    }
}

fn options() -> io::Result<Options> {
    let mut options = Options {
        source: Source { shared: "../shared".into(), cache: "target/eval-streams".into() },
        seeds: vec![1, 2, 3],
        quiet_seeds: vec![1, 2],
        is_one_stream: false,
        is_quick: false,
        write: None,
    };
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or_else(|| io::Error::other(format!("{argument} needs a value")));
        match argument.as_str() {
            "--shared" => options.source.shared = value()?.into(),
            "--cache" => options.source.cache = value()?.into(),
            "--seeds" => options.seeds = numbers(&value()?)?,
            "--quiet-seeds" => options.quiet_seeds = numbers(&value()?)?,
            "--write" => options.write = Some(value()?.into()),
            "--one-stream" => options.is_one_stream = true,
            "--quick" => options.is_quick = true,
            unknown => return Err(io::Error::other(format!("unknown option {unknown}; see the head of main.rs"))),
        }
    }
    let loghub = options.source.loghub();
    if !loghub.is_dir() {
        return Err(io::Error::other(format!("nothing to measure: {} is not there (see --shared)", loghub.display())));
    }
    Ok(options)
}

fn numbers(text: &str) -> io::Result<Vec<u32>> {
    text.split(',').map(|number| number.trim().parse().map_err(io::Error::other)).collect()
}

fn run(options: &Options) -> io::Result<()> {
    let systems = options.source.systems()?;
    let load = |seeds: &[u32], is_quiet| -> io::Result<Vec<Stream>> {
        let pairs = seeds.iter().flat_map(|seed| systems.iter().map(move |system| (system, *seed)));
        pairs.map(|(system, seed)| options.source.stream(system, seed, is_quiet)).collect()
    };
    let streams = load(&options.seeds, false)?;
    let quiet = load(&options.quiet_seeds, true)?;
    let mut config = Config::default();
    if options.is_one_stream {
        config.partition_by.clear();
    }
    let answers = score_all(&config, &streams)?;
    let figures: Vec<_> =
        streams.iter().zip(&answers).map(|(stream, answers)| Metrics::of(&stream.records, answers)).collect();
    let mut variants = vec![Variant { name: "**oddline**".to_owned(), metrics: Metrics::sum(&figures) }];
    if !options.is_quick {
        variants.extend(ablation(&config, &streams)?);
        variants.extend(baselines(&streams, &answers));
        variants.extend(with_semantic(&config, &streams)?);
    }
    let one_stream =
        if options.is_one_stream || options.is_quick { None } else { Some(with_one_stream(&config, &streams)?) };
    let group = |name: String, is_in: &dyn Fn(&Stream) -> bool| {
        let chosen = streams.iter().zip(&figures).filter(|(stream, _)| is_in(stream)).map(|(_, figures)| figures);
        Variant { name, metrics: Metrics::sum(chosen) }
    };
    let bgl = bgl::stream(&options.source.loghub())?;
    let bgl_answers = score::with_engine(&config, &bgl).map_err(io::Error::other)?;
    let report = Report {
        by_system: systems.iter().map(|name| group(name.clone(), &|stream| stream.system == *name)).collect(),
        by_seed: options.seeds.iter().map(|seed| group(seed.to_string(), &|stream| stream.seed == *seed)).collect(),
        budgets: budgets(&config, &quiet)?,
        bgl: Metrics::of(&bgl.records, &bgl_answers),
        seeds: options.seeds.clone(),
        quiet_seeds: options.quiet_seeds.clone(),
        systems,
        variants,
        one_stream,
    };
    let text = report.markdown(PREFACE);
    match &options.write {
        Some(path) => std::fs::write(path, text),
        None => {
            print!("{text}");
            Ok(())
        }
    }
}

/// Answers to every stream, on as many threads as there are processors.
fn score_all(config: &Config, streams: &[Stream]) -> io::Result<Vec<Vec<Answer>>> {
    let threads = thread::available_parallelism()?.get();
    let part = streams.len().div_ceil(threads).max(1);
    let score = |streams: &[Stream]| -> Result<Vec<_>, EngineError> {
        streams.iter().map(|stream| score::with_engine(config, stream)).collect()
    };
    let parts = thread::scope(|scope| {
        let workers: Vec<_> = streams.chunks(part).map(|part| scope.spawn(|| score(part))).collect();
        workers.into_iter().map(|worker| worker.join()).collect::<Vec<_>>()
    });
    let mut answers = Vec::new();
    for part in parts {
        answers.extend(part.map_err(|_| io::Error::other("a thread panicked"))?.map_err(io::Error::other)?);
    }
    Ok(answers)
}

/// Each detector left out in turn.
fn ablation(config: &Config, streams: &[Stream]) -> io::Result<Vec<Variant>> {
    type Weight = fn(&mut Config) -> &mut f64;
    let weights: [(&str, Weight); 6] = [
        ("rarity", |config| &mut config.rarity_weight),
        ("rate", |config| &mut config.rate_weight),
        ("numeric", |config| &mut config.numeric_weight),
        ("categorical", |config| &mut config.categorical_weight),
        ("sequence", |config| &mut config.sequence_weight),
        ("severity", |config| &mut config.severity_weight),
    ];
    let without = |(name, weight): (&str, Weight)| {
        let mut config = config.clone();
        *weight(&mut config) = 0.0;
        let answers = score_all(&config, streams)?;
        Ok(Variant { name: format!("without {name}"), metrics: metrics_of(streams, &answers) })
    };
    weights.into_iter().map(without).collect()
}

fn baselines(streams: &[Stream], answers: &[Vec<Answer>]) -> Vec<Variant> {
    let of = |name: &str, score: &dyn Fn(&Stream, &[Answer]) -> Vec<Answer>| {
        let answers: Vec<_> = streams.iter().zip(answers).map(|(stream, answers)| score(stream, answers)).collect();
        Variant { name: name.to_owned(), metrics: metrics_of(streams, &answers) }
    };
    vec![
        of("baseline: first-seen template", &|_, answers| score::first_seen(answers)),
        of("baseline: surprisal of the template", &|_, answers| score::surprisal(answers)),
        of("baseline: isolation forest on size", &forest::by_size),
    ]
}

/// The detector `semantic`, which is off by default: alone, and with all others.
fn with_semantic(config: &Config, streams: &[Stream]) -> io::Result<Vec<Variant>> {
    let config = Config { semantic_weight: 1.0, ..config.clone() };
    let answers = score_all(&config, streams)?;
    let alone: Vec<_> = answers.iter().map(|answers| score::by_meaning(answers)).collect();
    let of =
        |name: &str, answers: &[Vec<Answer>]| Variant { name: name.to_owned(), metrics: metrics_of(streams, answers) };
    Ok(vec![
        of("baseline: frozen centroids (`semantic` alone)", &alone),
        of("oddline with `semantic_weight: 1`", &answers),
    ])
}

/// All hosts in one stream, as where nothing tells them apart.
fn with_one_stream(config: &Config, streams: &[Stream]) -> io::Result<Variant> {
    let config = Config { partition_by: Vec::new(), ..config.clone() };
    let answers = score_all(&config, streams)?;
    Ok(Variant { name: "`partition_by: []`".to_owned(), metrics: metrics_of(streams, &answers) })
}

fn metrics_of(streams: &[Stream], answers: &[Vec<Answer>]) -> Metrics {
    let each: Vec<_> =
        streams.iter().zip(answers).map(|(stream, answers)| Metrics::of(&stream.records, answers)).collect();
    Metrics::sum(&each)
}

fn budgets(config: &Config, quiet: &[Stream]) -> io::Result<Vec<Budget>> {
    let of = |budget: f64| {
        let answers = score_all(&Config { alert_budget: budget.into(), ..config.clone() }, quiet)?;
        let each: Vec<_> =
            quiet.iter().zip(&answers).map(|(stream, answers)| Metrics::of(&stream.records, answers)).collect();
        let ratios = each.iter().map(|metrics| metrics.alert_rate() / budget).collect();
        Ok(Budget { budget, ratios, together: Metrics::sum(&each).alert_rate() / budget })
    };
    BUDGETS.into_iter().map(of).collect()
}
