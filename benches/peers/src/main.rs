//! oddline's templates beside other miners: every figure from one run on one file and one machine.
//!
//! | row | what is done for each line |
//! |---|---|
//! | floor | split the line on blanks, hash the tokens without a digit: what any miner has to do |
//! | oddline, known | find the template, every template known |
//! | oddline, learning | the same from nothing; then its first and its last lines after a warm-up of as many |
//! | whole path, known | find the template, score, write to the log's buffer, with a data dir in the directory for temporary files; on one thread and on two |
//! | drain3, known | find the cluster; trained on the first 100,000 lines |
//! | drain3, learning | the same from nothing |
//! | oddline / drain3 | how many times as fast, of known lines and of all from nothing |
//! | storm | lines of random words that never repeat |
//! | floor between | the floor of known lines, in blocks between the storm's: what any code loses there, which has to fetch its lines and itself into the caches again |
//! | whole path between | the whole path of known lines, in the same blocks |
//! | known lines between, beside | 20,000 lines in blocks of 1,000 after each 1,000 of the storm, or all of them while another thread storms; against the same lines in the same blocks without a storm |
//!
//! Memory is what the store accounts for: texts, tokens, ids and the tables they are found by.
//!
//! The drain3 crate is the Rust port of Drain3, with its default configuration.

use std::collections::HashSet;
use std::hint::black_box;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use clap::Parser;
use oddline::template::{LaneMatcher, TemplateOptions, TemplateStore};

mod floor;
mod storm;
mod whole;

/// Lines the drain3 crate is trained on for the row `drain3, known`.
const TRAINED_ON: usize = 100_000;

/// Lines at either end of the learning run that are compared.
const ENDS: usize = 100_000;

/// Compares oddline's templates with other miners on a log.
#[derive(Debug, Parser)]
struct Args {
    /// The log, one message a line.
    file: PathBuf,
    /// Leave out the drain3 crate's learning run, which takes as long as all else together.
    #[arg(long)]
    skip_slow: bool,
    /// How often each of the fast rows is measured; the best counts.
    #[arg(long, default_value_t = 3)]
    repeat: usize,
}

fn main() -> std::io::Result<()> {
    let args = Args::parse();
    let text = String::from_utf8_lossy(&std::fs::read(&args.file)?).into_owned();
    let lines: Vec<&str> = text.lines().collect();
    println!("{} lines, {} bytes", lines.len(), text.len());
    let floor = best(args.repeat, || rate(&lines, |line| _ = black_box(floor::of(line.as_bytes()))));
    row("floor", floor, floor);
    let own = known_and_learning(&args, &lines, floor);
    let (one, two) = whole::one_and_two(&lines, args.repeat)?;
    row("whole path, known", one, floor);
    row("whole path, 2 threads", two, floor);
    println!("{:<28} {:>11.2}x", "… against one", two / one);
    drain3_rows(&args, &lines, floor, &own);
    storm_rows(&lines, floor)
}

/// Lines a second.
struct Rates {
    known: f64,
    learning: f64,
}

fn known_and_learning(args: &Args, lines: &[&str], floor: f64) -> Rates {
    let mut miner = Miner::new();
    let warmed = lines.len().min(ENDS);
    let (head, rest) = lines.split_at(warmed);
    let start = Instant::now();
    let mut parts = vec![rate(head, |line| miner.line(line))];
    parts.extend(rest.chunks(ENDS).map(|chunk| rate(chunk, |line| miner.line(line))));
    let learning = lines.len() as f64 / start.elapsed().as_secs_f64();
    row("oddline, learning", learning, floor);
    if let Some(first) = parts.first() {
        row("… the first 100k", *first, floor);
    }
    if let ([_, first, ..], Some(last)) = (&parts[..], parts.last()) {
        row("… lines 100k–200k", *first, floor);
        row("… the last 100k", *last, floor);
    }
    println!("{:<28} {:>12}", "… templates", miner.templates());
    memory_row(&miner);
    let known = best(args.repeat, || rate(lines, |line| miner.line(line)));
    row("oddline, known", known, floor);
    let two = best(args.repeat, || two_threads(&miner.store, lines));
    row("oddline, known, 2 threads", two, floor);
    println!("{:<28} {:>11.2}x", "… against one", two / known);
    Rates { known, learning }
}

fn memory_row(miner: &Miner) {
    println!("{:<28} {:>8.1} MiB", "… memory held", miner.memory_bytes() as f64 / f64::from(1 << 20));
}

fn drain3_rows(args: &Args, lines: &[&str], floor: f64, own: &Rates) {
    let config = drain3::Config::default();
    let fits = |line: &&&str| line.len() <= config.max_bytes && line.split_whitespace().count() <= config.max_tokens;
    let sample: Vec<String> = lines.iter().take(TRAINED_ON).filter(fits).map(|line| (*line).to_owned()).collect();
    match drain3::train(&sample, drain3::Config::default()) {
        Ok(matcher) => {
            let known = rate(lines, |line| _ = black_box(matcher.match_id(line)));
            row("drain3, known", known, floor);
            println!("{:<28} {:>11.2}x", "oddline / drain3, known", own.known / known);
        }
        Err(error) => println!("drain3, known: {error}"),
    }
    if args.skip_slow {
        return;
    }
    let mut matcher = drain3::Matcher::new(drain3::Config::default());
    let mut clusters = HashSet::new();
    let mut refused = 0;
    let learning = rate(lines, |line| match matcher.add_log_message(line) {
        Ok(template) => _ = clusters.insert(template.id()),
        Err(_) => refused += 1,
    });
    row("drain3, learning", learning, floor);
    println!("{:<28} {:>12}   {refused} lines refused", "… clusters", clusters.len());
    println!("{:<28} {:>11.2}x", "oddline / drain3, learning", own.learning / learning);
}

/// A storm of long lines: what it costs goes by their length.
fn long_storm_row(name: &str, count: usize, words: Range<u64>) {
    let (mut miner, storm) = (Miner::new(), storm::lines(count, words));
    let bytes: usize = storm.iter().map(String::len).sum();
    let rate = rate(&storm, |line| miner.line(line));
    let megabytes = rate * bytes as f64 / count as f64 / 1e6;
    println!("{name:<28} {rate:>12.0} lines/s   {megabytes:>6.1} MB/s, {} templates", miner.templates());
    memory_row(&miner);
}

fn storm_rows(lines: &[&str], floor: f64) -> std::io::Result<()> {
    let known: Vec<&str> = lines.iter().take(20_000).copied().collect();
    let mut miner = Miner::new();
    known.iter().for_each(|line| miner.line(line));
    let storm = storm::lines(400_000, storm::WORDS);
    let blocks = storm.len().div_ceil(storm::BLOCK);
    let meet = |miner: &mut Miner, storm: &[String]| storm.iter().for_each(|line| miner.line(line));
    let find = |miner: &mut Miner, known: &[&str]| known.iter().for_each(|line| miner.line(line));
    let split = |_: &mut Miner, known: &[&str]| known.iter().for_each(|line| _ = black_box(floor::of(line.as_bytes())));
    let no_storm = || std::iter::repeat_n(&[][..], blocks);
    let quiet = storm::between(&mut miner, &known, no_storm(), meet, find);
    let quiet_best = best(5, || rate(&known, |line| miner.line(line)));
    row("storm", rate(&storm, |line| miner.line(line)), floor);
    println!("{:<28} {:>12}", "… templates, at their cap", miner.templates());
    memory_row(&miner);
    known.iter().for_each(|line| miner.line(line));
    row("known lines without a storm", quiet, floor);
    let between = storm::between(&mut miner, &known, storm.chunks(storm::BLOCK), meet, find);
    against_none_rows("known lines between", between, quiet, floor);
    let floor_quiet = storm::between(&mut miner, &known, no_storm(), meet, split);
    let floor_between = storm::between(&mut miner, &known, storm.chunks(storm::BLOCK), meet, split);
    against_none_rows("floor between", floor_between, floor_quiet, floor);
    let (whole_quiet, whole_between) = whole::between(&known, &storm)?;
    against_none_rows("whole path between", whole_between, whole_quiet, floor);
    let beside = beside_a_storm(&miner.store, &known, &storm);
    against_none_rows("known lines beside", beside, quiet_best, floor);
    long_storm_row("storm of 60 to 100 words", 60_000, 60..101);
    long_storm_row("storm of 300 words", 20_000, 300..301);
    Ok(())
}

/// Known lines on this thread while another one storms through the same store.
fn beside_a_storm(store: &Mutex<TemplateStore>, known: &[&str], storm: &[String]) -> f64 {
    let stop = AtomicBool::new(false);
    let mut lane = Lane::new(store);
    known.iter().for_each(|line| lane.line(line));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut lane = Lane::new(store);
            storm.iter().cycle().take_while(|_| !stop.load(Ordering::Relaxed)).for_each(|line| lane.line(line));
        });
        let rate = best(5, || rate(known, |line| lane.line(line)));
        stop.store(true, Ordering::Relaxed);
        rate
    })
}

fn two_threads(store: &Mutex<TemplateStore>, lines: &[&str]) -> f64 {
    let halves = lines.split_at(lines.len() / 2);
    let mut lanes = [Lane::new(store), Lane::new(store)];
    lines.iter().for_each(|line| lanes.iter_mut().for_each(|lane| lane.line(line)));
    let [left, right] = &mut lanes;
    let start = Instant::now();
    std::thread::scope(|scope| {
        scope.spawn(|| halves.0.iter().for_each(|line| left.line(line)));
        halves.1.iter().for_each(|line| right.line(line));
    });
    lines.len() as f64 / start.elapsed().as_secs_f64()
}

/// A store and one lane.
struct Miner {
    store: Mutex<TemplateStore>,
    matcher: LaneMatcher,
}

impl Miner {
    fn new() -> Self {
        let store = TemplateStore::new(TemplateOptions::default());
        Self { matcher: LaneMatcher::new(&store), store: Mutex::new(store) }
    }

    fn line(&mut self, line: impl AsRef<str>) {
        find_or_learn(&mut self.matcher, &self.store, line.as_ref());
    }

    fn memory_bytes(&self) -> usize {
        self.store.lock().unwrap_or_else(PoisonError::into_inner).memory_bytes()
    }

    fn templates(&self) -> usize {
        self.store.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}

/// Another lane of a store.
struct Lane<'s> {
    store: &'s Mutex<TemplateStore>,
    matcher: LaneMatcher,
}

impl<'s> Lane<'s> {
    fn new(store: &'s Mutex<TemplateStore>) -> Self {
        Self { matcher: LaneMatcher::new(&store.lock().unwrap_or_else(PoisonError::into_inner)), store }
    }

    fn line(&mut self, line: impl AsRef<str>) {
        find_or_learn(&mut self.matcher, self.store, line.as_ref());
    }
}

fn find_or_learn(matcher: &mut LaneMatcher, store: &Mutex<TemplateStore>, line: &str) {
    let line = line.as_bytes();
    if let Some(found) = matcher.find(line) {
        black_box(found);
        return;
    }
    let learned = store.lock().unwrap_or_else(PoisonError::into_inner).learn(matcher.skeleton(), line);
    black_box(matcher.remember(learned));
}

/// Lines a second.
fn rate<L: AsRef<str>>(lines: &[L], mut work: impl FnMut(&str)) -> f64 {
    let start = Instant::now();
    lines.iter().for_each(|line| work(line.as_ref()));
    lines.len() as f64 / start.elapsed().as_secs_f64()
}

fn best(times: usize, mut measure: impl FnMut() -> f64) -> f64 {
    (0..times.max(1)).map(|_| measure()).fold(0.0, f64::max)
}

fn row(name: &str, rate: f64, floor: f64) {
    println!("{name:<28} {:>12.0} lines/s   {:>4.0} % of the floor", rate, 100.0 * rate / floor);
}

/// A rate while a storm lasts, and how it stands to the one without it.
fn against_none_rows(name: &str, rate: f64, quiet: f64, floor: f64) {
    row(name, rate, floor);
    println!("{:<28} {:>11.2}x", "… against none", rate / quiet);
}
