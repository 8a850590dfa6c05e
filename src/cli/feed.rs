//! The loop every reading command runs: a thread reads blocks, the caller's thread works on their lines.
//!
//! A read returns what is there, at most [`BLOCK_BYTES`]. Slow input thus comes in small blocks that are
//! answered at once, fast input in big ones that are answered with one write. At most [`BLOCKS_AHEAD`]
//! blocks wait; then the reader does. When nothing comes for [`IDLE`], the worker is told, so that time passes
//! for it too. When the end is asked for, what was read is still handed out.

use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, channel, sync_channel};
use std::thread;
use std::time::Duration;

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
    Worker { received, used, stop, splitter: LineSplitter::default(), ended: Ended::default() }.run(work)
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
    stop: &'a Stop,
    splitter: LineSplitter,
    ended: Ended,
}

impl Worker<'_> {
    fn run(mut self, work: &mut impl Work) -> Result<Ended, CliError> {
        loop {
            let wait = if self.stop.is_set() { LAST_BLOCK } else { IDLE };
            match self.received.recv_timeout(wait) {
                Ok(piece) => self.piece(piece, work)?,
                Err(RecvTimeoutError::Timeout) if self.stop.is_set() => break,
                Err(RecvTimeoutError::Timeout) => work.idle()?,
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        self.splitter.finish(|line| work.line(line))?;
        work.pause()?;
        self.ended.stopped = self.stop.is_set();
        self.ended.cut_lines = self.splitter.cut_total();
        Ok(self.ended)
    }

    fn piece(&mut self, piece: Piece, work: &mut impl Work) -> Result<(), CliError> {
        match piece {
            Piece::Block(block, len) => {
                self.splitter.push(&block[..len], |line| work.line(line))?;
                // The reader may have ended and dropped its side; then the block is simply freed.
                self.used.send(block).unwrap_or_default();
                return work.pause();
            }
            Piece::EndOfSource => {}
            Piece::Failure(failure) => self.ended.failures.push(failure),
        }
        self.splitter.finish(|line| work.line(line))
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
