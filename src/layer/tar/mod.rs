//! Tar members one after the other, read as container engines read them: as Go's archive/tar does (reader.go).

mod header;
mod pax;
mod sparse;

use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;

use super::decompress::CHUNK;
use super::index::{FileCapabilities, Kind, TooLarge};
use super::path::{cleaned, normalise, text};
use header::{BLOCK, Block, Header, Wrong};
use pax::Pax;

/// How much of a member's start [`TarReader::chunk`] gives at once, at least, in bytes: who judges by the first
/// bytes sees them together.
const FIRST_CHUNK: u64 = 64 * 1024;
/// The largest long name or extended header, in bytes, as in Go's reader.
const LARGEST_SPECIAL: u64 = 1 << 20;
/// The most extended headers and long names of one member; real ones have three.
const MOST_HEADERS: usize = 1000;
/// The longest path, in bytes (Linux, `PATH_MAX`, less the slash before it and the NUL behind it).
pub(super) const LONGEST_PATH: usize = 4094;
/// The longest target of a symbolic link, in bytes (Linux, `PATH_MAX`).
const LONGEST_LINK: usize = 4095;
/// The longest name in a folder, in bytes (Linux, `NAME_MAX`).
const LONGEST_NAME: usize = 255;

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
    #[error(transparent)]
    TooLarge(#[from] TooLarge),
}

/// One member of a tar.
#[derive(Clone, Debug)]
pub struct Member {
    /// Normalised path.
    pub path: String,
    /// The path as written but for needless dots and slashes, where that is another: engines that refuse a path that
    /// comes twice compare these.
    pub written: Option<Vec<u8>>,
    /// The target of a link: as written for symbolic links, normalised for hard links.
    pub link: String,
    /// What it is.
    pub kind: Kind,
    /// Its type as the header says it (`typeflag`).
    pub type_flag: u8,
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
    /// Whether it is the device by which an overlay file system hides what lies below: a character device 0:0.
    pub is_whiteout_device: bool,
    /// What no Linux file system takes, if it has something of that kind.
    pub too_long: Option<TooLong>,
    /// Its attributes that matter.
    pub attributes: Attributes,
    /// Of a sparse file, which ranges of it stand in the tar, one after the other.
    pub pieces: Vec<Range<u64>>,
}

/// What is longer than a Linux file system takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TooLong {
    /// The name of a file in its folder.
    Name,
    /// The whole path.
    Path,
    /// The target of a link.
    Target,
}

/// Extended attributes that change what an image holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attributes {
    /// Its file capabilities.
    pub capabilities: Option<FileCapabilities>,
    /// Whether it has file capabilities that the kernel does not take.
    pub has_wrong_capabilities: bool,
    /// The first attribute that an overlay file system obeys.
    pub overlay: Option<String>,
    /// Whether one has a name or a value that Linux does not take.
    pub are_too_long: bool,
    /// Whether they take more room than some file systems have for them.
    pub are_large: bool,
}

/// The longest name and value of an extended attribute, in bytes (Linux, include/uapi/linux/limits.h, `XATTR_NAME_MAX` and
/// `XATTR_SIZE_MAX`).
const LONGEST_ATTRIBUTE: (usize, usize) = (255, 65_536);
/// How much room a file has for them on ext4, in bytes: a block, in which there is more than that.
const ROOM_FOR_ATTRIBUTES: usize = 3500;

/// A tar, member by member. Missing end blocks are forgiven.
pub struct TarReader<R> {
    stream: R,
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
        let buffer = vec![0; CHUNK];
        Self { stream, buffer, start: 0, end: 0, position: 0, left: 0, padding: 0, is_first_chunk: false }
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
        let (mut pax, mut long_name, mut long_link) = (Pax::default(), Vec::new(), Vec::new());
        for _ in 0..MOST_HEADERS {
            self.skip_padding()?;
            let Some(block) = self.header_block()? else { return Ok(None) };
            let mut header = Header::parse(&block).map_err(|why| self.broken(why))?;
            self.take(BLOCK);
            self.expect_content(&header)?;
            match header.kind {
                // The last one counts, as for names.
                b'x' => pax = self.extended_header()?,
                b'g' => {
                    // Engines pass it over, and with it what was to hold for the next member.
                    pax = self.extended_header()?;
                    let _ = pax.merge_into(&mut header);
                    return self.member(header, &Pax::default(), None).map(Some);
                }
                b'L' => long_name = header::text(&self.special()?).to_vec(),
                b'K' => long_link = header::text(&self.special()?).to_vec(),
                _ => {
                    pax.merge_into(&mut header).map_err(|why| self.broken(why))?;
                    for (long, field) in [(long_name, &mut header.name), (long_link, &mut header.link)] {
                        if !long.is_empty() {
                            *field = long;
                        }
                    }
                    if header.kind == 0 {
                        // Very old tars have no type for folders and mark them by a slash.
                        header.kind = if header.name.ends_with(b"/") { b'5' } else { b'0' };
                    }
                    self.expect_content(&header)?;
                    let pieces = self.sparse(&mut header, &pax, &block)?;
                    return self.member(header, &pax, pieces).map(Some);
                }
            }
        }
        Err(self.broken("a member has more extended headers and long names than any real one"))
    }

    /// The next block that is not all zeros; nothing at the end. It is still to be taken.
    fn header_block(&mut self) -> Result<Option<Block>, Error> {
        let mut zeros = 0;
        while self.next_block()? {
            let mut block = [0; BLOCK];
            block.copy_from_slice(&self.buffer[self.start..self.start + BLOCK]);
            match (block.iter().all(|&byte| byte == 0), zeros) {
                (true, 0) => zeros = 1,
                (true, _) => {
                    self.take(BLOCK);
                    return Ok(None);
                }
                (false, 0) => return Ok(Some(block)),
                (false, _) => {
                    return Err(self
                        .broken("a block of zeros stands between members, where engines say \"invalid tar header\""));
                }
            }
            self.take(BLOCK);
        }
        Ok(None)
    }

    /// Makes the next block available; says whether there is one.
    fn next_block(&mut self) -> Result<bool, Error> {
        if self.end - self.start >= BLOCK || self.fill(BLOCK)? {
            return Ok(true);
        }
        if self.start == self.end { Ok(false) } else { Err(self.broken("it ends in the middle of a header")) }
    }

    /// A block that belongs to the header before it.
    fn raw_block(&mut self) -> Result<Block, Error> {
        if !self.next_block()? {
            return Err(self.broken("it ends in the middle of a header"));
        }
        let mut block = [0; BLOCK];
        block.copy_from_slice(&self.buffer[self.start..self.start + BLOCK]);
        self.take(BLOCK);
        Ok(block)
    }

    /// Says where the content ends that follows a header.
    fn expect_content(&mut self, header: &Header) -> Result<(), Error> {
        let size = if is_header_only(header.kind) { 0 } else { header.size };
        self.left = u64::try_from(size).map_err(|_| self.broken("the size of a member is negative"))?;
        self.padding = self.left.next_multiple_of(BLOCK as u64) - self.left;
        Ok(())
    }

    fn extended_header(&mut self) -> Result<Pax, Error> {
        let records = self.special()?;
        Pax::parse(&records).map_err(|why| self.broken(why))
    }

    /// The content of a member that tells of the next one.
    fn special(&mut self) -> Result<Vec<u8>, Error> {
        if self.left > LARGEST_SPECIAL {
            return Err(self.broken("a long name or extended header has more than 1 MiB"));
        }
        let mut content = Vec::new();
        loop {
            let chunk = self.chunk()?;
            if chunk.is_empty() {
                return Ok(content);
            }
            content.extend_from_slice(chunk);
        }
    }

    fn member(&mut self, header: Header, pax: &Pax, pieces: Option<Vec<Range<u64>>>) -> Result<Member, Error> {
        let kind = match header.kind {
            b'5' => Kind::Directory,
            b'2' => Kind::Symlink,
            b'1' => Kind::HardLink,
            b'3' | b'4' | b'6' | b'g' => Kind::Special,
            _ => Kind::File,
        };
        if header.kind == b'g' {
            while !self.chunk()?.is_empty() {}
        }
        self.is_first_chunk = true;
        let path = normalise(&header.name);
        let clean = cleaned(&header.name);
        let too_long = too_long(&clean, kind, &header.link);
        Ok(Member {
            written: (header.kind == b'g' || clean != path.as_bytes()).then_some(clean),
            path,
            link: match kind {
                Kind::HardLink => normalise(&header.link),
                Kind::Symlink => text(&header.link).into_owned(),
                _ => String::new(),
            },
            kind,
            type_flag: header.kind,
            mode: header.mode as u32,
            uid: owner(header.uid),
            gid: owner(header.gid),
            // Neither was found to be negative.
            size: if kind == Kind::File { header.size.cast_unsigned() } else { 0 },
            is_sparse: pieces.is_some(),
            offset: self.position,
            stored: self.left,
            is_whiteout_device: header.kind == b'3' && header.device == (0, 0),
            too_long,
            attributes: attributes(pax),
            pieces: pieces.unwrap_or_default(),
        })
    }

    fn broken(&self, why: Wrong) -> Error {
        Error::Tar { at: self.position, why: why.to_owned() }
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

/// Whether members of this type have no content, whatever size they claim (Go archive/tar, `isHeaderOnly`).
fn is_header_only(kind: u8) -> bool {
    matches!(kind, b'1'..=b'6')
}

/// A user or group as the kernel takes it: 32 bits, of which all set change nothing, and engines unpack as root.
fn owner(id: i64) -> u32 {
    let id = id as u32;
    if id == u32::MAX { 0 } else { id }
}

fn too_long(path: &[u8], kind: Kind, link: &[u8]) -> Option<TooLong> {
    if path.split(|&byte| byte == b'/').any(|name| name.len() > LONGEST_NAME) {
        Some(TooLong::Name)
    } else if path.len() > LONGEST_PATH {
        Some(TooLong::Path)
    } else if kind == Kind::Symlink && link.len() > LONGEST_LINK {
        Some(TooLong::Target)
    } else {
        None
    }
}

/// The extended attributes that engines set (Go archive/tar, `PAXRecords`).
fn attributes(pax: &Pax) -> Attributes {
    let mut found = Attributes {
        are_too_long: pax.longest_name > LONGEST_ATTRIBUTE.0 || pax.longest_value > LONGEST_ATTRIBUTE.1,
        are_large: pax.room > ROOM_FOR_ATTRIBUTES,
        ..Attributes::default()
    };
    for (name, value) in pax.attributes() {
        if name == "security.capability" {
            found.capabilities = FileCapabilities::parse(value);
            found.has_wrong_capabilities = !FileCapabilities::can_be_set(value);
        } else if is_obeyed(name) && found.overlay.as_deref().is_none_or(|known| name < known) {
            found.overlay = Some(name.to_owned());
        }
    }
    found
}

/// Whether an overlay file system obeys an attribute (Linux, Documentation/filesystems/overlayfs.rst). The others record
/// where something came from.
fn is_obeyed(name: &str) -> bool {
    let obeyed = name.strip_prefix("trusted.overlay.").or_else(|| name.strip_prefix("user.overlay."));
    obeyed.is_some_and(|name| {
        ["opaque", "whiteout", "whiteouts", "redirect", "metacopy", "overlay."]
            .iter()
            .any(|known| name.starts_with(known))
    })
}
