//! The one pass over a layer's uncompressed bytes: tar members in, index out, and no copy of a file but the wanted few.

use std::io::{self, Read};

use memchr::memmem;

use super::bundle::HostScanner;
use super::capture::Capture;
use super::decompress::drain;
use super::elf;
use super::exec_header::not_started;
use super::hive::{self, LARGEST_HIVE};
use super::index::{Detail, IndexBuilder, Kind, LayerIndex, NewEntry};
use super::packages::PackageScanner;
use super::path::{absolute, parent_and_name};
use super::pe::{self, PeForm, PeSummary};
use super::replay::ALL;
use super::tar::{Error, Member, TarReader, TooLong};
use super::unpacked::Unpacked;
use super::wanted::{largest_kept, may_be_bash, package_format};
use crate::digest::{Algorithm, Digest, HashingBeside};
use crate::printable::excerpt;

/// The longest `#!` line that counts, in bytes (Linux reads 256).
const LONGEST_INTERPRETER_LINE: usize = 256;
/// The largest sparse file that is looked into, in bytes, and the most bytes of such files that are filled up in one
/// layer: a program may be stored sparse, but a hole costs nothing to write and much to read.
const LARGEST_SPARSE: u64 = 8 << 20;
const MOST_SPARSE: u64 = 256 << 20;
/// The longest path that engines take wherever they keep layers, in bytes: with that folder's it may have 4095.
const SAFE_PATH: usize = 3900;
/// The largest loader's cache that is kept, in bytes: the largest real ones have 200 kB.
const LARGEST_LOADER_CACHE: u64 = 1 << 20;

/// Indexes an uncompressed layer and computes its DiffID. What follows the end blocks counts for that only.
///
/// # Errors
/// The stream cannot be read, is no tar, or is too large.
pub fn scan(stream: impl Read) -> Result<LayerIndex, Error> {
    scan_until(stream, true, &Unpacked::default(), |_| false).map(|(index, _)| index)
}

/// As [`scan`], but reads no further than the first member after which `enough`, called with the path of each one, says
/// so. The second part of the result is whether all was read; if not, the index has no DiffID, and neither if none is
/// wanted. The holes of sparse files count as `unpacked`.
///
/// # Errors
/// As [`scan`].
pub fn scan_until(
    stream: impl Read,
    with_diff_id: bool,
    unpacked: &Unpacked,
    mut enough: impl FnMut(&str) -> bool,
) -> Result<(LayerIndex, bool), Error> {
    let mut tar = TarReader::new(Passing::new(stream, with_diff_id));
    let mut scan = Scan::default();
    while let Some(member) = tar.next_member()? {
        unpacked.take(member.size.saturating_sub(member.stored)).map_err(Error::Read)?;
        scan.member(&member, &mut tar)?;
        if enough(&member.path) {
            let (_, bytes) = tar.into_inner().finish().map_err(Error::Read)?;
            return Ok((scan.builder.finish(None, bytes)?, false));
        }
    }
    let mut stream = tar.into_inner();
    drain(&mut stream)?;
    let (diff_id, bytes) = stream.finish().map_err(Error::Read)?;
    Ok((scan.builder.finish(diff_id, bytes)?, true))
}

/// A layer while its members pass.
struct Scan {
    builder: IndexBuilder,
    files: FileScanner,
    sparse_left: u64,
}

impl Default for Scan {
    fn default() -> Self {
        Self { builder: IndexBuilder::default(), files: FileScanner::default(), sparse_left: MOST_SPARSE }
    }
}

impl Scan {
    fn member<R: Read>(&mut self, member: &Member, tar: &mut TarReader<R>) -> Result<(), Error> {
        self.look_for_trouble(member);
        if member.type_flag == b'g' || member.path.is_empty() {
            return Ok(self.builder.other(member.written.clone().unwrap_or_default())?);
        }
        // What cannot be made need not be kept.
        if member.too_long.is_some() {
            return Ok(());
        }
        let mut detail = self.detail(member, tar)?;
        if let Some(detail) = &mut detail {
            detail.capabilities = member.attributes.capabilities;
        }
        let new = NewEntry {
            path: &member.path,
            kind: member.kind,
            mode: member.mode,
            uid: member.uid,
            gid: member.gid,
            size: member.size,
            link: &member.link,
        };
        let added = if member.is_whiteout_device {
            self.builder.add_whiteout_device(&new)
        } else {
            self.builder.add_written(&new, member.written.clone(), detail)
        };
        Ok(added?)
    }

    fn detail<R: Read>(&mut self, member: &Member, tar: &mut TarReader<R>) -> Result<Option<Detail>, Error> {
        if member.kind != Kind::File {
            return Ok(None);
        }
        if member.is_sparse {
            if member.size > LARGEST_SPARSE.min(self.sparse_left) {
                return Ok(None);
            }
            self.sparse_left -= member.size;
            self.files.start(&member.path, member.size);
            self.files.push(&filled_up(member, tar)?);
            return Ok(self.files.finish());
        }
        self.files.start(&member.path, member.stored);
        loop {
            let bytes = tar.chunk()?;
            if bytes.is_empty() || !self.files.push(bytes) {
                return Ok(self.files.finish());
            }
        }
    }

    /// Notes what engines refuse of a member by itself, and what they unpack in different ways.
    fn look_for_trouble(&mut self, member: &Member) {
        let path = || absolute(&excerpt(&member.path, 200));
        let builder = &mut self.builder;
        if !matches!(member.type_flag, b'0'..=b'6' | b'g') {
            let (kind, number) = (char::from(member.type_flag).escape_default(), member.type_flag);
            builder.refuse(|| {
                format!("{} is of type {kind} in the tar: {ALL} (\"unhandled tar header type {number}\")", path())
            });
        }
        match member.too_long {
            Some(TooLong::Name) => builder
                .refuse(|| format!("the name of {} has more than 255 bytes: {ALL} (\"file name too long\")", path())),
            Some(TooLong::Path) => builder
                .refuse(|| format!("the path {} has more than 4094 bytes: {ALL} (\"file name too long\")", path())),
            Some(TooLong::Target) => builder.refuse(|| {
                format!("the target of the link {} has more than 4095 bytes: {ALL} (\"file name too long\")", path())
            }),
            None => {}
        }
        if member.too_long.is_none() && member.path.len() > SAFE_PATH {
            builder.dispute(|| {
                format!(
                    "the path {} has more than {SAFE_PATH} bytes: whether an engine takes it depends on the folder in which \
                     it keeps layers",
                    path()
                )
            });
        }
        if member.kind == Kind::Symlink && member.link.is_empty() && !member.path.is_empty() {
            builder.refuse(|| {
                format!("the symbolic link {} has no target: {ALL} (\"no such file or directory\")", path())
            });
        }
        if member.attributes.has_wrong_capabilities && !member.path.is_empty() {
            builder.refuse(|| {
                format!("{} has file capabilities that the kernel does not take: {ALL} (\"invalid argument\")", path())
            });
        }
        if member.attributes.are_too_long {
            builder.refuse(|| format!("{} has an extended attribute that is too long or has no name: {ALL}", path()));
        } else if member.attributes.are_large {
            builder.dispute(|| {
                format!(
                    "the extended attributes of {} take more room than ext4 has for them: there engines end with \"no space \
                     left on device\"",
                    path()
                )
            });
        }
        if let Some(name) = &member.attributes.overlay {
            builder.dispute(|| {
                format!(
                    "{} has the attribute {}, which an overlay file system obeys: whether an engine sets it, and what the \
                     image then holds, depends on the engine and its storage driver",
                    path(),
                    excerpt(name, 60)
                )
            });
        }
    }
}

/// The layer while it passes.
enum Passing<R> {
    Hashed(HashingBeside<R>),
    Counted(R, u64),
}

impl<R: Read> Passing<R> {
    fn new(stream: R, with_diff_id: bool) -> Self {
        if with_diff_id {
            Self::Hashed(HashingBeside::new(stream, Algorithm::Sha256))
        } else {
            Self::Counted(stream, 0)
        }
    }

    fn finish(self) -> io::Result<(Option<Digest>, u64)> {
        match self {
            Self::Hashed(stream) => stream.finish().map(|(digest, bytes)| (Some(digest), bytes)),
            Self::Counted(_, bytes) => Ok((None, bytes)),
        }
    }
}

impl<R: Read> Read for Passing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Hashed(stream) => stream.read(buffer),
            Self::Counted(stream, bytes) => {
                let count = stream.read(buffer)?;
                *bytes += count as u64;
                Ok(count)
            }
        }
    }
}

/// The content of a sparse file with its holes.
fn filled_up<R: Read>(member: &Member, tar: &mut TarReader<R>) -> Result<Vec<u8>, Error> {
    // At most LARGEST_SPARSE.
    let mut content = vec![0; member.size as usize];
    for piece in &member.pieces {
        let end = piece.end.min(member.size);
        if piece.start < end {
            tar.read_exact(&mut content[piece.start as usize..end as usize])?;
        }
    }
    Ok(content)
}

/// Whether a file begins as glibc's `ld.so.cache` does, in the old format or the new one.
fn is_loader_cache(bytes: &[u8]) -> bool {
    bytes.starts_with(b"ld.so-1.7.0") || bytes.starts_with(b"glibc-ld.so.cache1.1")
}

/// Looks at one file after the other while their bytes pass, and keeps what matters of each.
#[derive(Debug, Default)]
pub struct FileScanner {
    capture: Capture,
    host: HostScanner,
    packages: PackageScanner,
    name: String,
    want: Want,
    kept: Vec<u8>,
    /// Of a file that goes by the name of a Windows program, what its first bytes tell.
    pe: Option<PeSummary>,
    is_windows_program: bool,
    size: u64,
    is_too_large: bool,
    /// Whether it lies where commands do, and of one that is no program whether it is text.
    is_command: bool,
    is_text: Option<bool>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Want {
    /// The first bytes will tell.
    #[default]
    Look,
    Nothing,
    Whole,
    Packages,
    Elf,
    InterpreterLine,
    Hive,
    Pe,
    PeHead,
}

impl FileScanner {
    /// Begins with the file at `path` (normalised), which has `size` bytes.
    pub fn start(&mut self, path: &str, size: u64) {
        parent_and_name(path).1.clone_into(&mut self.name);
        self.kept.clear();
        self.capture.start(size);
        self.host.start();
        self.pe = None;
        self.is_windows_program = pe::is_looked_at(path);
        self.size = size;
        self.is_command = ["bin", "shims", "tools", "scripts"].iter().any(|end| parent_and_name(path).0.ends_with(end));
        self.is_text = None;
        let is_hive = hive::is_hive(path);
        self.is_too_large = is_hive && size > LARGEST_HIVE;
        self.want = if let Some(format) = package_format(path) {
            self.packages.start(format);
            Want::Packages
        } else if size <= largest_kept(path) {
            Want::Whole
        } else if self.is_too_large {
            Want::Nothing
        } else if is_hive {
            Want::Hive
        } else if size <= pe::largest_versioned(path) {
            Want::Pe
        } else {
            Want::Look
        };
    }

    /// Takes the next bytes, the first time all that the kind of file can be told by; says whether it wants more.
    pub fn push(&mut self, bytes: &[u8]) -> bool {
        if self.want == Want::Look {
            self.pe = self.is_windows_program.then(|| pe::summarise_head(bytes, self.size));
            self.want = match bytes {
                [0x7f, b'E', b'L', b'F', ..] => Want::Elf,
                [b'#', b'!', ..] => Want::InterpreterLine,
                _ if self.is_windows_program => Want::PeHead,
                // It may lie where a link leads to.
                _ if self.size <= LARGEST_LOADER_CACHE && is_loader_cache(bytes) => Want::Whole,
                _ => Want::Nothing,
            };
            if self.want == Want::Nothing && self.is_command {
                self.is_text = Some(is_text(bytes));
            }
        }
        // A program may go by the name of a file that is kept, as `env` does.
        if self.want == Want::Whole && self.kept.is_empty() && bytes.starts_with(b"\x7fELF") {
            self.want = Want::Elf;
        }
        match self.want {
            Want::Elf => {
                self.capture.push(bytes);
                self.host.push(bytes);
            }
            Want::Whole | Want::Hive | Want::Pe => self.kept.extend_from_slice(bytes),
            Want::Packages => self.packages.push(bytes),
            Want::InterpreterLine => {
                self.kept.extend_from_slice(&bytes[..bytes.len().min(LONGEST_INTERPRETER_LINE - self.kept.len())]);
                return self.kept.len() < LONGEST_INTERPRETER_LINE;
            }
            Want::PeHead | Want::Look | Want::Nothing => return false,
        }
        true
    }

    /// What is kept of the file.
    #[must_use]
    pub fn finish(&mut self) -> Option<Detail> {
        if self.want == Want::Look && self.size == 0 && self.is_windows_program {
            self.pe = Some(PeSummary { form: PeForm::Empty, ..PeSummary::default() });
        }
        let detail = self.by_want();
        match self.pe.take() {
            Some(pe) => Some(Detail { pe: Some(pe), ..detail.unwrap_or_default() }),
            None => detail,
        }
    }

    fn by_want(&mut self) -> Option<Detail> {
        match self.want {
            Want::Whole => Some(Detail {
                interpreter_line: interpreter_line(&self.kept),
                is_text: self.is_command.then(|| is_text(&self.kept)),
                content: Some(self.kept.clone()),
                ..Detail::default()
            }),
            Want::Packages => Some(Detail { packages: Some(self.packages.finish()), ..Detail::default() }),
            Want::Elf => {
                let Some(elf) = elf::summarise(&self.name, &self.capture) else {
                    return Some(Detail { not_started: not_started(&self.capture), ..Detail::default() });
                };
                let head = self.capture.head();
                let bash = may_be_bash(&self.name, head.len()).then(|| bash_version(head)).flatten();
                let not_started = not_started(&self.capture);
                Some(Detail { elf: Some(elf), not_started, dotnet: self.host.finish(), bash, ..Detail::default() })
            }
            Want::InterpreterLine => {
                let line = interpreter_line(&self.kept);
                let has_line = line.as_ref().is_some_and(|line| !line.is_empty());
                let is_text = Some(is_text(&self.kept)).filter(|is_text| !has_line || !is_text);
                Some(Detail { interpreter_line: line, is_text, ..Detail::default() })
            }
            // The memory of the few large files is not kept for the small ones.
            Want::Hive => {
                let content = std::mem::take(&mut self.kept);
                Some(Detail { hive: Some(hive::summarise(&content)), ..Detail::default() })
            }
            Want::Pe => {
                let content = std::mem::take(&mut self.kept);
                Some(Detail { pe: Some(pe::summarise(&content)), ..Detail::default() })
            }
            Want::Nothing if self.is_too_large => {
                let trouble = Some(format!("it is larger than {} MiB", LARGEST_HIVE >> 20));
                Some(Detail { hive: Some(hive::HiveSummary { trouble, ..Default::default() }), ..Detail::default() })
            }
            Want::PeHead | Want::Look | Want::Nothing => {
                let is_text = self.is_text?;
                Some(Detail { is_text: Some(is_text), ..Detail::default() })
            }
        }
    }
}

/// What the kernel reads after `#!` (Linux, fs/binfmt_script.c): the interpreter, and after one blank all the rest of the line
/// as one argument. Only blanks and tabs are trimmed: the CR of a line that ends with CR LF belongs to the last of the two. Of
/// a line that the kernel does not take it is empty.
fn interpreter_line(content: &[u8]) -> Option<String> {
    let line = content.strip_prefix(b"#!")?;
    let line = &line[..line.len().min(LONGEST_INTERPRETER_LINE - 2)];
    let is_blank = |byte: &u8| matches!(byte, b' ' | b'\t');
    let ends_name = |byte: &u8| is_blank(byte) || *byte == 0;
    let end = line.iter().position(|byte| matches!(byte, b'\n' | 0)).filter(|&at| line[at] == b'\n');
    // The kernel reads zeros behind the end of a short file. The last byte of its buffer is not a part of the line.
    let is_whole = content.len() < LONGEST_INTERPRETER_LINE;
    let line = match end {
        Some(end) => &line[..end],
        None => &line[..line.len().min(LONGEST_INTERPRETER_LINE - 3)],
    };
    let start = line.iter().position(|byte| !is_blank(byte)).unwrap_or(line.len());
    let line = &line[start..];
    let name_end = line.iter().position(ends_name);
    // A name that does not end where the buffer does is cut off.
    if end.is_none() && name_end.is_none() && !is_whole {
        return Some(String::new());
    }
    let (name, rest) = line.split_at(name_end.unwrap_or(line.len()));
    let rest = if rest.first() == Some(&0) { &[] } else { rest };
    let rest = rest.iter().position(|byte| !is_blank(byte)).map_or(&rest[..0], |at| &rest[at..]);
    let rest = rest.split(|byte| *byte == 0).next().unwrap_or_default();
    let rest = rest.iter().rposition(|byte| !is_blank(byte)).map_or(&rest[..0], |at| &rest[..=at]);
    let (name, rest) = (String::from_utf8_lossy(name), String::from_utf8_lossy(rest));
    Some(if rest.is_empty() { name.into_owned() } else { format!("{name} {rest}") })
}

/// Whether a shell takes a file for a script of its own: there is no NUL in its first line (bash, general.c:
/// `check_binary_file`).
fn is_text(content: &[u8]) -> bool {
    let sample = &content[..content.len().min(80)];
    !sample.iter().take_while(|byte| **byte != b'\n').any(|byte| *byte == 0)
}

/// The version that a bash says of itself for what(1): `@(#)Bash version 5.2.15(1) release GNU` (bash, version.c).
fn bash_version(head: &[u8]) -> Option<String> {
    const MARK: &[u8] = b"@(#)Bash version ";
    let start = memmem::find(head, MARK)? + MARK.len();
    let version: Vec<u8> =
        head[start..].iter().copied().take(24).take_while(|byte| byte.is_ascii_digit() || *byte == b'.').collect();
    String::from_utf8(version).ok().filter(|version| !version.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_after_the_marks_is_read_as_the_kernel_reads_it() {
        let read = |text: &[u8]| interpreter_line(text);
        let line = |text: &str| read(text.as_bytes()).unwrap();
        assert_eq!(read(b"echo"), None);
        assert_eq!(line("#!/bin/sh\n"), "/bin/sh");
        assert_eq!(line("#! \t /bin/bash \t -e  \ntrue\n"), "/bin/bash -e");
        assert_eq!(line("#!/bin/sh -e -x\n"), "/bin/sh -e -x", "one argument");
        assert_eq!(line("#!/bin/sh\r\n"), "/bin/sh\r");
        assert_eq!(line("#!/bin/sh -e\r\n"), "/bin/sh -e\r");
        assert_eq!(line("#!/bin/sh"), "/bin/sh", "without a newline");
        assert_eq!(line("#!\n"), "");
        assert_eq!(line("#!  \t\n/bin/sh"), "");
        assert_eq!(line("#!/bin/sh\0x\n"), "/bin/sh");
        assert_eq!(line("#!/bin/sh -a\0b\n"), "/bin/sh -a");
        let name = "x".repeat(253);
        assert_eq!(line(&format!("#!{name}\n")), name);
        assert_eq!(line(&format!("#!{name}y\n")), "", "the name is cut off");
        assert_eq!(
            line(&format!("#!/bin/sh {name}\n")),
            format!("/bin/sh {}", "x".repeat(245)),
            "the argument is cut off"
        );
    }

    #[test]
    fn bash_says_its_version() {
        assert_eq!(bash_version(b"..@(#)Bash version 4.2.46(2) release GNU\0").as_deref(), Some("4.2.46"));
        assert_eq!(bash_version(b"@(#)Bash version unknown"), None);
    }
}
