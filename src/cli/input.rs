//! Where lines come from: files, directories, standard input; plain, gzip or zstd.
//!
//! Compression is told by the first bytes, not by the name, so it works on standard input too. A directory
//! stands for its files, hidden and binary ones left out, rotated ones oldest first (`a.log.2.gz`,
//! `a.log.1`, `a.log`; `a.log-20250101`, `a.log`).

use std::cmp::Reverse;
use std::fs::{self, File};
use std::io::{self, Read, Seek, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use flate2::read::MultiGzDecoder;

use super::error::CliError;
use super::signals::Stop;

/// First bytes of a gzip member (RFC 1952, 2.3.1).
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];
/// First bytes of a zstd frame (RFC 8878, 3.1.1).
const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// Bytes of a file in a directory that are looked at to tell text from binary.
const SNIFFED_BYTES: usize = 4096;
/// Bytes copied at once when input is kept to be read twice.
const SPOOLED_BLOCK_BYTES: usize = 256 << 10;
/// How soon a request to stop is heard while nothing comes.
const SPOOL_WAIT: Duration = Duration::from_millis(100);

/// One thing to read.
#[derive(Clone, Debug)]
pub(crate) enum Source {
    /// Standard input.
    Stdin,
    /// A file, plain or compressed.
    File(PathBuf),
    /// What can be read only once, copied to a file to be read more often, one reader at a time.
    Spooled(Arc<File>),
}

impl Source {
    /// The name shown to people.
    pub(crate) fn path(&self) -> &Path {
        match self {
            Self::Stdin | Self::Spooled(_) => Path::new("-"),
            Self::File(path) => path,
        }
    }

    /// Opens it; `read` counts the bytes taken from the file, before decompression.
    pub(crate) fn open(&self, read: &Arc<AtomicU64>) -> Result<Box<dyn Read + Send>, CliError> {
        let failed = |source| CliError::Input { path: self.path().to_owned(), source };
        let file = match self {
            // A duplicate of the descriptor, because `Stdin` puts a small buffer in between.
            Self::Stdin => File::from(io::stdin().as_fd().try_clone_to_owned().map_err(failed)?),
            Self::File(path) => File::open(path).map_err(failed)?,
            Self::Spooled(file) => {
                let mut file = file.try_clone().map_err(failed)?;
                file.rewind().map_err(failed)?;
                file
            }
        };
        decompressed(Counted { inner: file, read: Arc::clone(read) }).map_err(failed)
    }

    fn can_be_read_only_once(&self) -> bool {
        match self {
            Self::Stdin => true,
            Self::File(path) => fs::metadata(path).is_ok_and(|meta| !meta.is_file()),
            Self::Spooled(_) => false,
        }
    }

    /// Size of the file in bytes; `None` where it is not known beforehand.
    pub(crate) fn size(&self) -> Option<u64> {
        match self {
            Self::Stdin => None,
            Self::File(path) => fs::metadata(path).ok().filter(fs::Metadata::is_file).map(|m| m.len()),
            Self::Spooled(file) => file.metadata().ok().map(|m| m.len()),
        }
    }
}

/// Copies what among `sources` can be read only once (standard input, pipes) to temporary files.
///
/// A request to stop ends the copying; what was read until then is the input. The files have no name any more when
/// this returns, so nothing is left behind however the process ends.
pub(crate) fn spool(sources: &mut [Source], stop: &Stop) -> Result<(), CliError> {
    for source in sources.iter_mut().filter(|source| source.can_be_read_only_once()) {
        let mut file = nameless_file()?;
        copy(source.clone(), &mut file, stop)?;
        *source = Source::Spooled(Arc::new(file));
    }
    Ok(())
}

fn nameless_file() -> Result<File, CliError> {
    let path = std::env::temp_dir().join(format!("oddline-{}.spool", std::process::id()));
    let failed = |source| CliError::Output { what: path.display().to_string(), source };
    let file = File::options().read(true).write(true).create_new(true).mode(0o600).open(&path).map_err(failed)?;
    fs::remove_file(&path).map_err(failed)?;
    Ok(file)
}

/// A thread of its own reads: it may wait for input that never comes, and is then left behind.
fn copy(source: Source, file: &mut File, stop: &Stop) -> Result<(), CliError> {
    let (blocks, received) = sync_channel(1);
    let path = source.path().to_owned();
    thread::Builder::new()
        .name("oddline-spool".into())
        .spawn(move || read_blocks(&source, &blocks))
        .map_err(|source| CliError::Input { path, source })?;
    loop {
        let stopping = stop.is_set();
        match received.recv_timeout(SPOOL_WAIT) {
            Ok(block) => {
                let failed = |source| CliError::Output { what: "a temporary file (see TMPDIR)".into(), source };
                let block = block?;
                file.write_all(&block).map_err(failed)?;
                tracing::debug!(bytes = block.len(), "spooled");
            }
            Err(RecvTimeoutError::Timeout) if !stopping => {}
            Err(_) => return Ok(()),
        }
    }
}

fn read_blocks(source: &Source, blocks: &SyncSender<Result<Vec<u8>, CliError>>) {
    let mut reader = match source.open(&Arc::default()) {
        Ok(reader) => reader,
        // Whoever would hear of it has gone.
        Err(error) => return blocks.send(Err(error)).unwrap_or_default(),
    };
    loop {
        let mut block = vec![0; SPOOLED_BLOCK_BYTES];
        let sent = match reader.read(&mut block) {
            Ok(0) => return,
            Ok(len) => {
                block.truncate(len);
                blocks.send(Ok(block))
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(()),
            Err(error) => blocks.send(Err(CliError::Input { path: source.path().to_owned(), source: error })),
        };
        if sent.is_err() {
            return;
        }
    }
}

/// What the command line's paths stand for; no path at all is standard input.
///
/// Fails for a path that does not exist or cannot be listed; `notes` gets what was left out and why.
pub(crate) fn sources(paths: &[PathBuf], notes: &mut Vec<String>) -> Result<Vec<Source>, CliError> {
    if paths.is_empty() {
        return Ok(vec![Source::Stdin]);
    }
    let mut found = Vec::new();
    for path in paths {
        if path.as_os_str() == "-" {
            found.push(Source::Stdin);
        } else if metadata(path)?.is_dir() {
            list(path, &mut found, notes)?;
        } else {
            found.push(Source::File(path.clone()));
        }
    }
    Ok(found)
}

fn metadata(path: &Path) -> Result<fs::Metadata, CliError> {
    fs::metadata(path).map_err(|source| CliError::Input { path: path.to_owned(), source })
}

/// Appends the files below `directory`; does not follow links to directories, so it cannot go in circles.
fn list(directory: &Path, found: &mut Vec<Source>, notes: &mut Vec<String>) -> Result<(), CliError> {
    let failed = |source| CliError::Input { path: directory.to_owned(), source };
    let mut entries: Vec<PathBuf> = Vec::new();
    for entry in fs::read_dir(directory).map_err(failed)? {
        entries.push(entry.map_err(failed)?.path());
    }
    entries.retain(|path| !file_name(path).starts_with('.'));
    entries.sort_by_cached_key(|path| rotation_key(&file_name(path)));
    for path in entries {
        let is_link = path.is_symlink();
        match fs::metadata(&path) {
            Ok(meta) if meta.is_dir() && !is_link => {
                if let Err(error) = list(&path, found, notes) {
                    notes.push(format!("left out: {error}"));
                }
            }
            Ok(meta) if meta.is_file() => match is_text(&path) {
                Ok(true) => found.push(Source::File(path)),
                Ok(false) => notes.push(format!("left out {}: not text", path.display())),
                Err(error) => notes.push(format!("left out {}: {error}", path.display())),
            },
            Ok(_) => {}
            Err(error) => notes.push(format!("left out {}: {error}", path.display())),
        }
    }
    Ok(())
}

fn file_name(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

/// Name without rotation and compression, then what puts older parts first.
fn rotation_key(name: &str) -> (String, u8, Reverse<u64>, String) {
    let plain = name.strip_suffix(".gz").or_else(|| name.strip_suffix(".zst")).unwrap_or(name);
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if let Some((stem, number)) = plain.rsplit_once('.')
        && digits(number)
        && number.len() < 6
    {
        return (stem.to_owned(), 1, Reverse(number.parse().unwrap_or(u64::MAX)), String::new());
    }
    if let Some((stem, date)) = plain.rsplit_once('-')
        && digits(date)
        && date.len() >= 8
    {
        return (stem.to_owned(), 0, Reverse(0), date.to_owned());
    }
    (plain.to_owned(), 2, Reverse(0), String::new())
}

/// Whether a file's beginning, decompressed, is free of NUL bytes.
fn is_text(path: &Path) -> io::Result<bool> {
    let mut head = Vec::new();
    decompressed(File::open(path)?)?.take(SNIFFED_BYTES as u64).read_to_end(&mut head)?;
    Ok(!head.contains(&0))
}

/// `reader`, decompressed when it starts like gzip or zstd.
fn decompressed<R: Read + Send + 'static>(mut reader: R) -> io::Result<Box<dyn Read + Send>> {
    let (head, len) = first_bytes(&mut reader)?;
    let whole = io::Cursor::new(head).take(len as u64).chain(reader);
    Ok(match &head[..len] {
        bytes if bytes.starts_with(&GZIP_MAGIC) => Box::new(MultiGzDecoder::new(whole)),
        bytes if bytes.starts_with(&ZSTD_MAGIC) => Box::new(zstd::Decoder::new(whole)?),
        _ => Box::new(whole),
    })
}

/// Up to four bytes: reads on only while what is there could still be the beginning of a magic number.
fn first_bytes(reader: &mut impl Read) -> io::Result<([u8; 4], usize)> {
    let mut head = [0; 4];
    let mut len = 0;
    while len < head.len() && [&GZIP_MAGIC[..], &ZSTD_MAGIC[..]].iter().any(|magic| magic.starts_with(&head[..len])) {
        match reader.read(&mut head[len..]) {
            Ok(0) => break,
            Ok(n) => len += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok((head, len))
}

/// Counts what is read through it.
struct Counted<R> {
    inner: R,
    read: Arc<AtomicU64>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buf)?;
        self.read.fetch_add(n as u64, Ordering::Relaxed);
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_all(path: &Path) -> Vec<u8> {
        let mut bytes = Vec::new();
        Source::File(path.to_owned()).open(&Arc::default()).unwrap().read_to_end(&mut bytes).unwrap();
        bytes
    }

    #[test]
    fn tells_compression_by_the_first_bytes_and_reads_every_member() {
        let dir = tempfile::tempdir().unwrap();
        let mut gz = Vec::new();
        for part in [&b"one\n"[..], b"two\n"] {
            let mut encoder = flate2::write::GzEncoder::new(&mut gz, flate2::Compression::fast());
            encoder.write_all(part).unwrap();
            encoder.finish().unwrap();
        }
        let mut zst = zstd::encode_all(&b"one\n"[..], 1).unwrap();
        zst.extend(zstd::encode_all(&b"two\n"[..], 1).unwrap());
        for (name, bytes) in [("misnamed.log", gz), ("a.zst", zst), ("plain.gz", b"one\ntwo\n".to_vec())] {
            let path = dir.path().join(name);
            fs::write(&path, bytes).unwrap();
            assert_eq!(read_all(&path), b"one\ntwo\n", "{name}");
        }
    }

    #[test]
    fn reads_inputs_shorter_than_any_magic_number() {
        let dir = tempfile::tempdir().unwrap();
        for bytes in [&b""[..], b"a", b"\x28\xb5", b"\x28\xb5\x2f"] {
            let path = dir.path().join("short");
            fs::write(&path, bytes).unwrap();
            assert_eq!(read_all(&path), bytes);
        }
    }

    #[test]
    fn lists_a_directory_oldest_rotation_first_without_hidden_and_binary_files() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["a.log", "a.log.1", "a.log.2", "a.log.10", ".hidden", "b.log", "b.log-20250102", "b.log-20250101"]
        {
            fs::write(dir.path().join(name), "x\n").unwrap();
        }
        fs::write(dir.path().join("binary"), [0u8; 8]).unwrap();
        let mut notes = Vec::new();
        let found = sources(&[dir.path().to_owned()], &mut notes).unwrap();
        let names: Vec<_> = found.iter().map(|s| file_name(s.path())).collect();
        let expected = ["a.log.10", "a.log.2", "a.log.1", "a.log", "b.log-20250101", "b.log-20250102", "b.log"];
        assert_eq!(names, expected);
        assert_eq!(notes.len(), 1);
    }

    #[test]
    fn no_path_and_a_dash_are_standard_input() {
        for paths in [&[][..], &["-".into()]] {
            assert!(matches!(sources(paths, &mut Vec::new()).unwrap()[..], [Source::Stdin]));
        }
    }
}
