//! Reads small files that people write: no more of them than they may have, and no devices or pipes by accident.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

/// What kind of file is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A regular one. Others, which may never end or wait for a writer, are an error.
    Regular,
    /// Any, for files that a person names on the command line, where a shell may put a pipe.
    Any,
}

/// The content of a file of at most `most` bytes.
///
/// # Errors
/// It cannot be read, is larger, or is of another kind.
pub fn read(path: &Path, most: u64, kind: Kind) -> io::Result<Vec<u8>> {
    // Asked before opening: opening a pipe would wait for its other end.
    if kind == Kind::Regular && !fs::metadata(path)?.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    bounded(File::open(path)?, most)
}

/// As [`read`], for text.
///
/// # Errors
/// As [`read`], or it is not UTF-8.
pub fn read_text(path: &Path, most: u64, kind: Kind) -> io::Result<String> {
    let text = |_| io::Error::new(io::ErrorKind::InvalidData, "it is not UTF-8");
    read(path, most, kind).and_then(|bytes| String::from_utf8(bytes).map_err(text))
}

/// What comes from a reader, of at most `most` bytes.
///
/// # Errors
/// It cannot be read, or gives more.
pub fn bounded(reader: impl Read, most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    reader.take(most.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most {
        let limit = if most >= 1 << 20 { format!("{} MiB", most >> 20) } else { format!("{} KiB", most >> 10) };
        return Err(io::Error::other(format!("it is larger than {limit}")));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_larger_or_not_a_file_is_not_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        fs::write(&path, [b'x'; 2048]).unwrap();
        assert_eq!(read(&path, 2048, Kind::Regular).unwrap().len(), 2048);
        assert_eq!(read(&path, 1024, Kind::Any).unwrap_err().to_string(), "it is larger than 1 KiB");
        assert!(read(folder.path(), 10, Kind::Regular).is_err());
        #[cfg(unix)]
        assert!(read(Path::new("/dev/zero"), 10, Kind::Regular).unwrap_err().to_string().contains("regular file"));
    }
}
