//! Tar members one after the other, read as container engines read them, over any stream.

use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;

use tar_core::EntryType;
use tar_core::parse::{Limits, ParseError, ParseEvent, ParsedEntry, Parser};

use super::decompress::CHUNK;
use super::index::{FileCapabilities, Kind};
use super::path::normalise;

/// How much of a member's start [`TarReader::chunk`] gives at once, at least, in bytes: whoever judges by the first
/// bytes sees them together.
const FIRST_CHUNK: u64 = 64 * 1024;
/// The largest header of a member, in bytes: its long names, PAX records and sparse map. Go's reader, which engines use,
/// stops at 1 MiB for each of them.
const LARGEST_HEADER: usize = 4 << 20;
/// The longest path and link, in bytes (Linux, `PATH_MAX`): engines cannot extract longer ones.
pub(super) const LONGEST_PATH: u32 = 4096;
/// The most pieces of a sparse file; a map of 1 MiB has about as many.
const MOST_PIECES: usize = 100_000;

/// Why a tar could not be read. The text starts in lower case: the caller says which tar it is.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The stream broke off or could not be decompressed.
    #[error(transparent)]
    Read(#[from] io::Error),
    /// It is no tar file, or a broken one.
    #[error("its tar is broken at byte {at}: {why}")]
    Tar {
        /// Bytes of the uncompressed stream before the fault.
        at: u64,
        /// What is wrong there.
        why: String,
    },
    /// It claims more than any real one has.
    #[error("{0}")]
    TooLarge(String),
}

/// One member of a tar.
#[derive(Clone, Debug)]
pub struct Member {
    /// Normalised path.
    pub path: String,
    /// The target of a link: as written for symbolic links, normalised for hard links.
    pub link: String,
    /// What it is.
    pub kind: Kind,
    /// Permission bits and more.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// The size of a file in bytes, holes included.
    pub size: u64,
    /// Whether the content stands in the tar without its holes.
    pub is_sparse: bool,
    /// Where the content starts in the stream.
    pub offset: u64,
    /// How many bytes of content stand in the tar.
    pub stored: u64,
    /// Its file capabilities.
    pub capabilities: Option<FileCapabilities>,
    /// Of a sparse file, which ranges of it stand in the tar, one after the other.
    pub pieces: Vec<Range<u64>>,
}

/// A tar, member by member: ustar, GNU long names and sparse files, PAX. Missing end blocks are forgiven.
pub struct TarReader<R> {
    stream: R,
    parser: Parser,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    position: u64,
    /// Content of the current member that was not given out yet, and the padding behind it.
    left: u64,
    padding: u64,
    is_first_chunk: bool,
}

impl<R: Read> TarReader<R> {
    /// Starts at the beginning of an uncompressed stream.
    pub fn new(stream: R) -> Self {
        let limits = Limits { max_sparse_entries: MOST_PIECES, max_path_len: Some(LONGEST_PATH), ..Limits::default() };
        let mut parser = Parser::new(limits);
        // A member without a name is the root; it is for the caller to pass over.
        parser.set_allow_empty_path(true);
        // A time before 1970 is negative, which the parser takes for an error.
        parser.set_ignore_pax_errors(true);
        let buffer = vec![0; CHUNK];
        Self { stream, parser, buffer, start: 0, end: 0, position: 0, left: 0, padding: 0, is_first_chunk: false }
    }

    /// The next member; what was not read of the last one is skipped.
    ///
    /// # Errors
    /// The stream cannot be read, or is no tar.
    pub fn next_member(&mut self) -> Result<Option<Member>, Error> {
        while !self.chunk()?.is_empty() {}
        self.next_header()
    }

    /// The next bytes of the current member's content; none at its end.
    ///
    /// # Errors
    /// The stream cannot be read or ends too early.
    pub fn chunk(&mut self) -> Result<&[u8], Error> {
        if self.left == 0 {
            return Ok(&[]);
        }
        let wanted = if self.is_first_chunk { self.left.min(FIRST_CHUNK) } else { 1 };
        self.is_first_chunk = false;
        // At most FIRST_CHUNK.
        if ((self.end - self.start) as u64) < wanted {
            self.fill(wanted as usize)?;
        }
        if self.start == self.end {
            return Err(Error::Tar { at: self.position, why: "it ends in the middle of a file".to_owned() });
        }
        let count = usize::try_from(self.left).unwrap_or(usize::MAX).min(self.end - self.start);
        self.left -= count as u64;
        self.take(count);
        Ok(&self.buffer[self.start - count..self.start])
    }

    /// The stream, somewhere behind the last member.
    pub fn into_inner(self) -> R {
        self.stream
    }

    fn next_header(&mut self) -> Result<Option<Member>, Error> {
        self.skip_padding()?;
        loop {
            let event = self.parser.parse(&self.buffer[self.start..self.end]);
            match event.map_err(|error| broken(self.position, &error))? {
                ParseEvent::NeedData { min_bytes } => {
                    // A sparse map without line ends is asked for again and again.
                    if min_bytes > LARGEST_HEADER || min_bytes <= self.end - self.start {
                        let why = "the header of a member is too large or makes no sense".to_owned();
                        return Err(Error::Tar { at: self.position, why });
                    }
                    if !self.fill(min_bytes)? {
                        return self.check_end().map(|()| None);
                    }
                }
                ParseEvent::End { .. } => return Ok(None),
                // Engines pass global headers over.
                ParseEvent::GlobalExtensions { consumed, .. } => self.take(consumed),
                ParseEvent::Entry { consumed, entry } => {
                    let member = member(&entry, entry.size);
                    return self.enter(member, consumed).map(Some);
                }
                ParseEvent::SparseEntry { consumed, entry, real_size, sparse_map } => {
                    let pieces = sparse_map.iter().map(|piece| piece.offset..piece.offset.saturating_add(piece.length));
                    let member = Member { is_sparse: true, pieces: pieces.collect(), ..member(&entry, real_size) };
                    return self.enter(member, consumed).map(Some);
                }
            }
        }
    }

    fn enter(&mut self, mut member: Member, consumed: usize) -> Result<Member, Error> {
        if i64::try_from(member.stored).is_err() {
            let why = format!("a member claims to have {} bytes", member.stored);
            return Err(Error::Tar { at: self.position, why });
        }
        self.take(consumed);
        member.offset = self.position;
        self.left = member.stored;
        self.padding = member.stored.next_multiple_of(512) - member.stored;
        self.is_first_chunk = true;
        Ok(member)
    }

    fn take(&mut self, count: usize) {
        self.start += count;
        self.position += count as u64;
    }

    fn skip_padding(&mut self) -> Result<(), Error> {
        // At most 511 bytes; a tar may end without its last padding.
        let padding = self.padding as usize;
        if self.end - self.start < padding {
            self.fill(padding)?;
        }
        self.take(padding.min(self.end - self.start));
        self.padding = 0;
        Ok(())
    }

    /// Makes at least `wanted` bytes available; says whether the stream had them.
    fn fill(&mut self, wanted: usize) -> Result<bool, Error> {
        if self.start > 0 {
            self.buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        if wanted > self.buffer.len() {
            // The parser's limits on metadata bound this.
            self.buffer.resize(wanted.next_multiple_of(CHUNK), 0);
        }
        while self.end < wanted {
            match self.stream.read(&mut self.buffer[self.end..]) {
                Ok(0) => return Ok(false),
                Ok(count) => self.end += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(true)
    }

    /// At the end of the stream nothing may be left but zeros.
    fn check_end(&self) -> Result<(), Error> {
        if self.buffer[self.start..self.end].iter().all(|&byte| byte == 0) {
            return Ok(());
        }
        Err(Error::Tar { at: self.position, why: "it ends in the middle of a header".to_owned() })
    }
}

impl<R: Read + Seek> TarReader<R> {
    /// As [`TarReader::next_member`], but steps over the content instead of reading it.
    ///
    /// # Errors
    /// The file cannot be read, or is no tar.
    pub fn seek_next_member(&mut self) -> Result<Option<Member>, Error> {
        let buffered = (self.end - self.start) as u64;
        if self.left > buffered {
            // The difference fits, because members are not longer than i64.
            self.stream.seek(SeekFrom::Current((self.left - buffered) as i64))?;
            self.position += self.left;
            (self.start, self.end, self.left) = (0, 0, 0);
        }
        self.next_member()
    }
}

impl<R: Read> Read for TarReader<R> {
    /// Reads the current member's content.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.left == 0 || buffer.is_empty() {
            return Ok(0);
        }
        let chunk = self.chunk().map_err(io::Error::from)?;
        let (given, count) = (chunk.len(), chunk.len().min(buffer.len()));
        buffer[..count].copy_from_slice(&chunk[..count]);
        let back = given - count;
        self.start -= back;
        self.position -= back as u64;
        self.left += back as u64;
        Ok(count)
    }
}

impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        match error {
            Error::Read(error) => error,
            other => Self::new(io::ErrorKind::InvalidData, other.to_string()),
        }
    }
}

fn broken(at: u64, error: &ParseError) -> Error {
    Error::Tar { at, why: error.to_string() }
}

fn member(entry: &ParsedEntry<'_>, size: u64) -> Member {
    // Very old tars have no type for folders and mark them by a slash; in all others the slash means nothing.
    let is_marked_folder = entry.header.as_bytes()[156] == 0 && entry.path.ends_with(b"/");
    let kind = match entry.entry_type {
        EntryType::Directory => Kind::Directory,
        EntryType::Symlink => Kind::Symlink,
        EntryType::Link => Kind::HardLink,
        EntryType::Char | EntryType::Block | EntryType::Fifo => Kind::Special,
        _ if is_marked_folder => Kind::Directory,
        _ => Kind::File,
    };
    let link = entry.link_target.as_deref().unwrap_or_default();
    // Headers of all but files may carry a size, but no content follows (Go archive/tar, `isHeaderOnly`).
    let has_content = kind == Kind::File || is_marked_folder;
    Member {
        path: normalise(&entry.path),
        link: match kind {
            Kind::HardLink => normalise(link),
            Kind::Symlink => String::from_utf8_lossy(link).into_owned(),
            _ => String::new(),
        },
        kind,
        mode: entry.mode,
        uid: u32::try_from(entry.uid).unwrap_or(u32::MAX),
        gid: u32::try_from(entry.gid).unwrap_or(u32::MAX),
        size: if kind == Kind::File { size } else { 0 },
        is_sparse: false,
        offset: 0,
        stored: if has_content { entry.size } else { 0 },
        capabilities: capabilities(entry),
        pieces: Vec::new(),
    }
}

/// The extended attribute that engines set file capabilities by (Go archive/tar, `PAXRecords`).
fn capabilities(entry: &ParsedEntry<'_>) -> Option<FileCapabilities> {
    let of_file = entry.xattrs.iter().find(|(name, _)| name.as_ref() == b"security.capability")?;
    FileCapabilities::parse(&of_file.1)
}
