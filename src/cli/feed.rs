//! The loop every reading command runs: a thread reads blocks, the caller's thread works on their lines.
//!
//! A read returns what is there, at most [`BLOCK_BYTES`]. Slow input thus comes in small blocks that are
//! answered at once, fast input in big ones that are answered with one write. At most [`BLOCKS_AHEAD`]
//! blocks wait; then the reader does. When nothing comes for [`IDLE`], the worker is told, so that time passes
//! for it too. When the end is asked for, what was read is still handed out, for [`LAST_LINES`] at the most: a line that
//! takes long must not hold up the end of those behind it.

use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, channel, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use super::error::CliError;
use super::input::Source;
use super::lines::LineSplitter;
use super::signals::Stop;

/// Most bytes taken with one read.
const BLOCK_BYTES: usize = 256 << 10;
/// Blocks read but not yet worked on.
const BLOCKS_AHEAD: usize = 4;
/// Silence after which [`Work::idle`] is called.
const IDLE: Duration = Duration::from_millis(100);
/// After a request to stop: how long a block that was just being read may take to arrive.
const LAST_BLOCK: Duration = Duration::from_millis(50);
/// After a request to stop: how long lines that were read are still handed out. Services are given 10 s and more to stop.
const LAST_LINES: Duration = Duration::from_secs(5);

/// What a command does with its input.
pub(crate) trait Work {
    /// One line, without its line end.
    fn line(&mut self, line: &[u8]) -> Result<(), CliError>;

    /// Everything read so far has been handed out: the moment to flush.
    fn pause(&mut self) -> Result<(), CliError> {
        Ok(())
    }

    /// Nothing came for a while.
    fn idle(&mut self) -> Result<(), CliError> {
        Ok(())
    }
}

/// How reading ended.
#[derive(Debug, Default)]
pub(crate) struct Ended {
    /// Inputs that could not be read to their end.
    pub(crate) failures: Vec<CliError>,
    /// Lines cut because they were too long.
    pub(crate) cut_lines: u64,
    /// A signal ended it.
    pub(crate) stopped: bool,
    /// Lines that were read and not handed out, since there was no time left after that signal.
    pub(crate) left_lines: u64,
}

impl Ended {
    /// Tells on standard error what went wrong with the input; an error if something did.
    pub(crate) fn report(&self) -> Result<(), CliError> {
        if self.cut_lines > 0 {
            let limit = super::lines::MAX_LINE_BYTES >> 20;
            super::output::warn(format_args!(
                "{} lines were longer than {limit} MiB and were cut there",
                self.cut_lines
            ));
        }
        if self.left_lines > 0 {
            super::output::warn(format_args!(
                "lines that were read and left, since the end was asked for and {} s were not enough for all: {}",
                LAST_LINES.as_secs(),
                self.left_lines
            ));
        }
        for failure in &self.failures {
            super::output::error(failure);
        }
        if self.failures.is_empty() { Ok(()) } else { Err(CliError::AlreadyTold) }
    }
}

enum Piece {
    Block(Vec<u8>, usize),
    EndOfSource,
    Failure(CliError),
}

/// Hands every line of `sources` to `work`; `read` counts bytes taken from the inputs.
pub(crate) fn run(
    sources: Vec<Source>,
    read: Arc<AtomicU64>,
    stop: &Stop,
    work: &mut impl Work,
) -> Result<Ended, CliError> {
    let (pieces, received) = sync_channel(BLOCKS_AHEAD);
    let (used, reusable) = channel();
    let reader_stop = stop.clone();
    let reader = Reader { pieces, reusable, read, stop: reader_stop };
    // Not joined: on a request to stop it may be waiting for input that never comes.
    thread::Builder::new()
        .name("oddline-input".into())
        .spawn(move || reader.run(&sources))
        .map_err(|source| CliError::Input { path: "-".into(), source })?;
    let hand_out = HandOut { stop, stopped_at: None, last_lines: LAST_LINES, left_lines: 0 };
    Worker { received, used, hand_out, splitter: LineSplitter::default(), ended: Ended::default() }.run(work)
}

struct Reader {
    pieces: SyncSender<Piece>,
    reusable: Receiver<Vec<u8>>,
    read: Arc<AtomicU64>,
    stop: Stop,
}

impl Reader {
    /// Ends when all is read, the end was asked for, or the worker has gone.
    fn run(self, sources: &[Source]) {
        for source in sources {
            let end = match self.source(source) {
                Ok(()) => Piece::EndOfSource,
                Err(failure) => Piece::Failure(failure),
            };
            if self.stop.is_set() || self.pieces.send(end).is_err() {
                return;
            }
        }
    }

    fn source(&self, source: &Source) -> Result<(), CliError> {
        let mut reader = source.open(&self.read)?;
        while !self.stop.is_set() {
            let mut block = self.reusable.try_recv().unwrap_or_else(|_| vec![0; BLOCK_BYTES]);
            match reader.read(&mut block) {
                Ok(0) => break,
                Ok(len) => {
                    if self.pieces.send(Piece::Block(block, len)).is_err() {
                        break;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(CliError::Input { path: source.path().to_owned(), source: error }),
            }
        }
        Ok(())
    }
}

struct Worker<'a> {
    received: Receiver<Piece>,
    used: Sender<Vec<u8>>,
    hand_out: HandOut<'a>,
    splitter: LineSplitter,
    ended: Ended,
}

/// Hands out lines as long as there is time for it.
struct HandOut<'a> {
    stop: &'a Stop,
    /// When it was noticed that the end was asked for.
    stopped_at: Option<Instant>,
    /// How long lines are handed out from then on.
    last_lines: Duration,
    left_lines: u64,
}

impl HandOut<'_> {
    fn line(&mut self, line: &[u8], work: &mut impl Work) -> Result<(), CliError> {
        if self.stop.is_set() && self.stopped_at.get_or_insert_with(Instant::now).elapsed() >= self.last_lines {
            self.left_lines += 1;
            return Ok(());
        }
        work.line(line)
    }
}

impl Worker<'_> {
    fn run(mut self, work: &mut impl Work) -> Result<Ended, CliError> {
        loop {
            let wait = if self.hand_out.stop.is_set() { LAST_BLOCK } else { IDLE };
            match self.received.recv_timeout(wait) {
                Ok(piece) => self.piece(piece, work)?,
                Err(RecvTimeoutError::Timeout) if self.hand_out.stop.is_set() => break,
                Err(RecvTimeoutError::Timeout) => work.idle()?,
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        self.splitter.finish(|line| self.hand_out.line(line, work))?;
        work.pause()?;
        self.ended.stopped = self.hand_out.stop.is_set();
        self.ended.left_lines = self.hand_out.left_lines;
        self.ended.cut_lines = self.splitter.cut_total();
        Ok(self.ended)
    }

    fn piece(&mut self, piece: Piece, work: &mut impl Work) -> Result<(), CliError> {
        match piece {
            Piece::Block(block, len) => {
                self.splitter.push(&block[..len], |line| self.hand_out.line(line, work))?;
                // The reader may have ended and dropped its side; then the block is simply freed.
                self.used.send(block).unwrap_or_default();
                return work.pause();
            }
            Piece::EndOfSource => {}
            Piece::Failure(failure) => self.ended.failures.push(failure),
        }
        self.splitter.finish(|line| self.hand_out.line(line, work))
    }
}

/// A counter to hand to [`run`] by those who do not look at it.
pub(crate) fn uncounted() -> Arc<AtomicU64> {
    Arc::default()
}

/// Bytes read so far.
pub(crate) fn bytes(read: &AtomicU64) -> u64 {
    read.load(Ordering::Relaxed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Keep {
        lines: Vec<Vec<u8>>,
        pauses: usize,
    }

    impl Work for Keep {
        fn line(&mut self, line: &[u8]) -> Result<(), CliError> {
            self.lines.push(line.to_vec());
            Ok(())
        }

        fn pause(&mut self) -> Result<(), CliError> {
            self.pauses += 1;
            Ok(())
        }
    }

    #[test]
    fn a_last_line_without_newline_does_not_run_into_the_next_file() {
        let dir = tempfile::tempdir().unwrap();
        let paths: Vec<_> = ["a", "b"].iter().map(|name| dir.path().join(name)).collect();
        std::fs::write(&paths[0], "one\ntwo").unwrap();
        std::fs::write(&paths[1], "three").unwrap();
        let sources = paths.into_iter().map(Source::File).collect();
        let mut keep = Keep::default();
        let ended = run(sources, uncounted(), &Stop::default(), &mut keep).unwrap();
        assert_eq!(keep.lines, [b"one".to_vec(), b"two".to_vec(), b"three".to_vec()]);
        assert!(ended.failures.is_empty() && keep.pauses >= 2);
    }

    /// Asks for the end at its second line.
    struct EndAtSecond(Stop, Vec<Vec<u8>>);

    impl Work for EndAtSecond {
        fn line(&mut self, line: &[u8]) -> Result<(), CliError> {
            self.1.push(line.to_vec());
            if self.1.len() == 2 {
                self.0.set();
            }
            Ok(())
        }
    }

    #[test]
    fn after_the_end_was_asked_for_lines_that_were_read_are_handed_out_while_there_is_time_and_counted_after_it() {
        for (last_lines, handed_out, left_lines) in [(Duration::MAX, 6, 0), (Duration::ZERO, 2, 4)] {
            let (pieces, received) = sync_channel(BLOCKS_AHEAD);
            let block = b"one\ntwo\nthree\nfour\n".to_vec();
            let length = block.len();
            for piece in [Piece::Block(block, length), Piece::Block(b"five\nsix".to_vec(), 8), Piece::EndOfSource] {
                pieces.send(piece).unwrap();
            }
            drop(pieces);
            let mut work = EndAtSecond(Stop::default(), Vec::new());
            let stop = work.0.clone();
            let hand_out = HandOut { stop: &stop, stopped_at: None, last_lines, left_lines: 0 };
            let (splitter, ended) = (LineSplitter::default(), Ended::default());
            let ended = Worker { received, used: channel().0, hand_out, splitter, ended }.run(&mut work).unwrap();
            assert_eq!((work.1.len(), ended.left_lines, ended.stopped), (handed_out, left_lines, true));
        }
    }

    #[test]
    fn a_damaged_file_gives_its_good_part_and_the_files_after_it() {
        let dir = tempfile::tempdir().unwrap();
        let (broken, fine) = (dir.path().join("broken.zst"), dir.path().join("fine"));
        let text: String = (0..200_000).map(|n| format!("line {n} {}\n", n * 7919)).collect();
        let whole = zstd::encode_all(text.as_bytes(), 1).unwrap();
        std::fs::write(&broken, &whole[..whole.len() / 2]).unwrap();
        std::fs::write(&fine, "last\n").unwrap();
        let mut keep = Keep::default();
        let sources = vec![Source::File(broken), Source::File(fine)];
        let ended = run(sources, uncounted(), &Stop::default(), &mut keep).unwrap();
        assert_eq!(ended.failures.len(), 1);
        assert!(keep.lines.len() > 1000);
        assert_eq!(keep.lines.last().unwrap(), b"last");
        assert!(ended.report().is_err());
    }
}
