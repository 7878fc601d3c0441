//! The one pass over a layer's uncompressed bytes: tar members in, index out, and no copy of a file but the wanted few.

use std::io::Read;

use super::bundle::HostScanner;
use super::capture::Capture;
use super::decompress::drain;
use super::elf;
use super::index::{Detail, IndexBuilder, Kind, LayerIndex, NewEntry};
use super::path::parent_and_name;
use super::tar::{Error, Member, TarReader};
use crate::digest::{Algorithm, HashingReader};

/// The largest wanted file that is kept whole, in bytes.
const LARGEST_KEPT: u64 = 1 << 20;
/// The largest runtimeconfig.json that is kept, in bytes.
const LARGEST_CONFIG: u64 = 64 << 10;
/// The longest `#!` line that counts, in bytes (Linux reads 256).
const LONGEST_INTERPRETER_LINE: usize = 256;
/// The largest sparse file that is looked into, in bytes, and the most bytes of such files that are filled up in one
/// layer: a program may be stored sparse, but a hole costs nothing to write and much to read.
const LARGEST_SPARSE: u64 = 8 << 20;
const MOST_SPARSE: u64 = 256 << 20;

/// Indexes an uncompressed layer and computes its DiffID. What follows the end blocks counts for the DiffID only.
///
/// # Errors
/// The stream cannot be read, is no tar, or is too large.
pub fn scan(stream: impl Read) -> Result<LayerIndex, Error> {
    let mut tar = TarReader::new(HashingReader::new(stream, Algorithm::Sha256));
    let mut builder = IndexBuilder::default();
    let mut files = FileScanner::default();
    let mut sparse_left = MOST_SPARSE;
    while let Some(member) = tar.next_member()? {
        let mut detail = None;
        if member.is_sparse {
            if member.kind == Kind::File && member.size <= LARGEST_SPARSE.min(sparse_left) {
                sparse_left -= member.size;
                files.start(&member.path, member.size);
                files.push(&filled_up(&member, &mut tar)?);
                detail = files.finish();
            }
        } else if member.kind == Kind::File {
            files.start(&member.path, member.stored);
            loop {
                let bytes = tar.chunk()?;
                if bytes.is_empty() || !files.push(bytes) {
                    break;
                }
            }
            detail = files.finish();
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
        builder.add(&new, detail).map_err(Error::TooLarge)?;
    }
    let mut stream = tar.into_inner();
    drain(&mut stream)?;
    let (diff_id, bytes) = stream.finish();
    Ok(builder.finish(Some(diff_id), bytes))
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

/// Looks at one file after the other while their bytes pass, and keeps what matters of each.
#[derive(Debug, Default)]
pub struct FileScanner {
    capture: Capture,
    host: HostScanner,
    name: String,
    want: Want,
    kept: Vec<u8>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Want {
    /// The first bytes will tell.
    #[default]
    Look,
    Nothing,
    Whole,
    Elf,
    InterpreterLine,
}

impl FileScanner {
    /// Begins with the file at `path` (normalised), which has `size` bytes.
    pub fn start(&mut self, path: &str, size: u64) {
        parent_and_name(path).1.clone_into(&mut self.name);
        self.kept.clear();
        self.capture.start(size);
        self.host.start();
        self.want = if size <= largest_kept(path) { Want::Whole } else { Want::Look };
    }

    /// Takes the next bytes, the first time all that the kind of file can be told by; says whether it wants more.
    pub fn push(&mut self, bytes: &[u8]) -> bool {
        if self.want == Want::Look {
            self.want = match bytes {
                [0x7f, b'E', b'L', b'F', ..] => Want::Elf,
                [b'#', b'!', ..] => Want::InterpreterLine,
                _ => Want::Nothing,
            };
        }
        match self.want {
            Want::Elf => {
                self.capture.push(bytes);
                self.host.push(bytes);
            }
            Want::Whole => self.kept.extend_from_slice(bytes),
            Want::InterpreterLine => {
                self.kept.extend_from_slice(&bytes[..bytes.len().min(LONGEST_INTERPRETER_LINE - self.kept.len())]);
                return self.kept.len() < LONGEST_INTERPRETER_LINE;
            }
            Want::Look | Want::Nothing => return false,
        }
        true
    }

    /// What is kept of the file.
    #[must_use]
    pub fn finish(&mut self) -> Option<Detail> {
        match self.want {
            Want::Whole => Some(Detail { content: Some(self.kept.clone()), ..Detail::default() }),
            Want::Elf => {
                let elf = elf::summarise(&self.name, &self.capture)?;
                Some(Detail { elf: Some(elf), dotnet: self.host.finish(), ..Detail::default() })
            }
            Want::InterpreterLine => {
                let line = self.kept.split(|&byte| byte == b'\n').next().unwrap_or_default();
                let line = String::from_utf8_lossy(line.get(2..).unwrap_or_default()).trim().to_owned();
                Some(Detail { interpreter_line: Some(line), ..Detail::default() })
            }
            Want::Look | Want::Nothing => None,
        }
    }
}

/// Up to which size a file is kept whole, in bytes; 0 for those that facts do not read. Links may lead
/// `/etc/os-release` to any file of such a name.
fn largest_kept(path: &str) -> u64 {
    let (folder, name) = parent_and_name(path);
    let is_wanted = match folder {
        "etc" => {
            matches!(name, "passwd" | "ld.so.cache" | "ld.so.preload")
                || (name.starts_with("ld-musl-") && name.ends_with(".path"))
        }
        _ => false,
    };
    if is_wanted || name.starts_with("os-release") {
        LARGEST_KEPT
    } else if name.ends_with(".runtimeconfig.json") {
        LARGEST_CONFIG
    } else {
        0
    }
}
