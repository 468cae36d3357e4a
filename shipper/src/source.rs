//! Where bytes come from: a file at any place, or a compressed file from its beginning on.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

/// Something with bytes at places.
pub(crate) trait Source: Send {
    /// The bytes from `at` on: `bytes_max` of them, fewer only where the source ends. The
    /// memory taken is about `bytes_max`.
    ///
    /// # Errors
    /// As the system says; for compressed files also when they are cut or damaged.
    fn window(&mut self, at: u64, bytes_max: usize) -> io::Result<&[u8]>;
}

/// A file as it is.
#[derive(Debug)]
pub(crate) struct PlainFile<'a> {
    file: &'a File,
    /// Kept by the caller, so that it is allocated once; longer than what was read last.
    buffer: &'a mut Vec<u8>,
    /// What was read last: where it begins, and how much of the buffer it is.
    at: u64,
    length: usize,
}

/// Bytes of what was read that are compared with the file afterwards, at each end.
const PROOF_BYTES: usize = 64;

impl<'a> PlainFile<'a> {
    /// Reads that file into that buffer.
    pub(crate) fn new(file: &'a File, buffer: &'a mut Vec<u8>) -> Self {
        Self { file, buffer, at: 0, length: 0 }
    }

    /// The file that is read.
    pub(crate) fn file(&self) -> &'a File {
        self.file
    }

    /// Whether the file still holds what was read last, as far as `to`: looked at by its first
    /// bytes and by its last ones.
    ///
    /// # Errors
    /// As the system says.
    pub(crate) fn still_holds(&self, to: u64) -> io::Result<bool> {
        let read = usize::try_from(to.saturating_sub(self.at)).unwrap_or(usize::MAX);
        let bytes = self.buffer.get(..read.min(self.length)).unwrap_or_default();
        let proof = PROOF_BYTES.min(bytes.len());
        for start in [0, bytes.len() - proof] {
            let expected = bytes.get(start..start + proof).unwrap_or_default();
            let mut found = [0; PROOF_BYTES];
            let found = found.get_mut(..proof).unwrap_or_default();
            if read_at(self.file, self.at + start as u64, found)? < proof || found != expected {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

impl Source for PlainFile<'_> {
    fn window(&mut self, at: u64, bytes_max: usize) -> io::Result<&[u8]> {
        // A small file shall not cost a large buffer.
        let left = self.file.metadata()?.len().saturating_sub(at);
        let wanted = usize::try_from(left).unwrap_or(usize::MAX).min(bytes_max);
        if self.buffer.len() < wanted {
            self.buffer.resize(wanted, 0);
        }
        let window = self.buffer.get_mut(..wanted).unwrap_or_default();
        let read = read_at(self.file, at, window)?;
        (self.at, self.length) = (at, read);
        Ok(window.get(..read).unwrap_or_default())
    }
}

/// Reads at a place until the buffer is full or the file ends.
pub(crate) fn read_at(file: &File, at: u64, buffer: &mut [u8]) -> io::Result<usize> {
    let mut read = 0;
    while let Some(rest) = buffer.get_mut(read..)
        && !rest.is_empty()
    {
        match file.read_at(rest, at + read as u64) {
            Ok(0) => break,
            Ok(count) => read += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(read)
}

/// How a file's content is wrapped, told by its first bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wrapping {
    Plain,
    Gzip,
    Zstd,
}

impl Wrapping {
    /// Looks at the file's first bytes.
    ///
    /// # Errors
    /// As the system says.
    pub(crate) fn of(file: &File) -> io::Result<Self> {
        let mut magic = [0; 4];
        let read = read_at(file, 0, &mut magic)?;
        Ok(match magic.get(..read).unwrap_or_default() {
            [0x1f, 0x8b, ..] => Self::Gzip,
            [0x28, 0xb5, 0x2f, 0xfd] => Self::Zstd,
            _ => Self::Plain,
        })
    }
}

/// A file read forward from its beginning, whoever else reads it.
struct Forward {
    file: Arc<File>,
    at: u64,
}

impl Read for Forward {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(buffer, self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}

/// A stream read forward, with the last window kept; going back before it starts over.
pub(crate) struct Unwrapped {
    file: Arc<File>,
    wrapping: Wrapping,
    reader: Box<dyn Read + Send>,
    window: Vec<u8>,
    window_at: u64,
}

impl Unwrapped {
    /// Reads a file of that wrapping. The file and not its path: another may stand there later.
    ///
    /// # Errors
    /// As the system says.
    pub(crate) fn open(file: &Arc<File>, wrapping: Wrapping) -> io::Result<Self> {
        let reader = Self::reader(file, wrapping)?;
        Ok(Self { file: file.clone(), wrapping, reader, window: Vec::new(), window_at: 0 })
    }

    fn reader(file: &Arc<File>, wrapping: Wrapping) -> io::Result<Box<dyn Read + Send>> {
        let file = BufReader::with_capacity(128 << 10, Forward { file: file.clone(), at: 0 });
        Ok(match wrapping {
            Wrapping::Plain => Box::new(file),
            Wrapping::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(file)),
            Wrapping::Zstd => Box::new(zstd::stream::read::Decoder::with_buffer(file)?),
        })
    }

    fn seek(&mut self, at: u64) -> io::Result<()> {
        if at < self.window_at {
            self.reader = Self::reader(&self.file, self.wrapping)?;
            self.window.clear();
            self.window_at = 0;
        }
        let ahead = at - self.window_at;
        let kept = usize::try_from(ahead).unwrap_or(usize::MAX).min(self.window.len());
        self.window.drain(..kept);
        self.window_at += kept as u64;
        let skipped = at - self.window_at;
        self.window_at += io::copy(&mut (&mut self.reader).take(skipped), &mut io::sink())?;
        Ok(())
    }
}

impl Source for Unwrapped {
    fn window(&mut self, at: u64, bytes_max: usize) -> io::Result<&[u8]> {
        self.seek(at)?;
        if self.window_at < at {
            return Ok(&[]);
        }
        let missing = bytes_max.saturating_sub(self.window.len()) as u64;
        (&mut self.reader).take(missing).read_to_end(&mut self.window)?;
        Ok(self.window.get(..bytes_max).unwrap_or(&self.window))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn a_file_that_was_written_anew_no_longer_holds_what_was_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let write = |text: &str| File::create(&path).unwrap().write_all(text.as_bytes()).unwrap();
        write("one\ntwo\n");
        let (file, mut buffer) = (File::open(&path).unwrap(), Vec::new());
        let mut source = PlainFile::new(&file, &mut buffer);
        assert!(source.still_holds(0).unwrap());
        source.window(0, 100).unwrap();
        assert!(source.still_holds(8).unwrap());
        for (text, same) in [("one\ntwo\nthree\n", true), ("one\n", false), ("one\nTwo\n", false)] {
            write(text);
            assert_eq!(source.still_holds(8).unwrap(), same, "{text}");
        }
        assert!(source.still_holds(4).unwrap(), "what changed stands behind");
    }

    #[test]
    fn an_open_file_is_read_to_its_end_whatever_stands_at_its_path() {
        let folder = tempfile::tempdir().unwrap();
        let (path, other) = (folder.path().join("1.zst"), folder.path().join("2.zst"));
        for (path, text) in [(&path, "one two three"), (&other, "something else")] {
            let packed = zstd::encode_all(text.as_bytes(), 1).unwrap();
            File::create(path).unwrap().write_all(&packed).unwrap();
        }
        let file = Arc::new(File::open(&path).unwrap());
        let mut source = Unwrapped::open(&file, Wrapping::Zstd).unwrap();
        assert_eq!(source.window(8, 5).unwrap(), b"three");
        platform::disk::rename(&other, &path).unwrap();
        assert_eq!(source.window(0, 7).unwrap(), b"one two");
    }

    #[track_caller]
    fn check(source: &mut dyn Source, content: &[u8]) {
        for (at, bytes) in [(0, 10), (5, 10), (5, 3), (100, 50), (90, 50), (0, 4), (995, 50)] {
            let end = content.len().min(at + bytes);
            assert_eq!(source.window(at as u64, bytes).unwrap(), &content[at..end], "{at}");
        }
        assert_eq!(source.window(5_000, 10).unwrap(), b"");
    }

    #[test]
    fn every_wrapping_gives_the_same_bytes_at_the_same_places() {
        let content: Vec<u8> = (0..1_000_u32).map(|n| (n % 251) as u8).collect();
        let folder = tempfile::tempdir().unwrap();
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(&content).unwrap();
        let wrapped = [
            (Wrapping::Plain, content.clone()),
            (Wrapping::Gzip, gzip.finish().unwrap()),
            (Wrapping::Zstd, zstd::encode_all(content.as_slice(), 1).unwrap()),
        ];
        for (wrapping, bytes) in wrapped {
            let path = folder.path().join(format!("{wrapping:?}"));
            File::create(&path).unwrap().write_all(&bytes).unwrap();
            let file = Arc::new(File::open(&path).unwrap());
            assert_eq!(Wrapping::of(&file).unwrap(), wrapping);
            check(&mut Unwrapped::open(&file, wrapping).unwrap(), &content);
            if wrapping == Wrapping::Plain {
                check(&mut PlainFile::new(&file, &mut Vec::new()), &content);
            }
        }
    }
}
