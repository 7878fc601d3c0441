//! The folder of the user's own program as members of a tar archive, read file by file as they are sent.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use tar_core::EntryType;

use super::home::{BLOCK, header};

/// The most files and folders.
const MOST_FILES: usize = 100_000;
/// The most bytes in all.
const MOST_BYTES: u64 = 4 << 30;
/// The deepest folder.
const DEEPEST: usize = 64;
/// How much of a file is read at once, in bytes.
const PIECE: usize = 256 << 10;

/// What is in the folder, and where it goes.
#[derive(Clone, Debug)]
pub(super) struct PayloadFiles {
    files: Vec<Entry>,
    size: u64,
}

#[derive(Clone, Debug)]
struct Entry {
    /// On this machine.
    source: PathBuf,
    /// In the container.
    target: String,
    kind: Kind,
}

#[derive(Clone, Debug)]
enum Kind {
    Folder,
    File { size: u64, is_program: bool },
    Link(PathBuf),
}

impl PayloadFiles {
    /// Lists a folder. Links stay links: what they lead to is looked up in the container.
    ///
    /// # Errors
    /// Something cannot be read, is neither file nor folder nor link, or there is too much of it.
    pub(super) fn list(folder: &Path, target: &str) -> io::Result<Self> {
        let mut list = Self { files: Vec::new(), size: 0 };
        list.files.push(Entry { source: folder.to_owned(), target: target.to_owned(), kind: Kind::Folder });
        list.walk(folder, target, 0)?;
        Ok(list)
    }

    fn walk(&mut self, folder: &Path, target: &str, depth: usize) -> io::Result<()> {
        let refused = |path: &Path, why: &str| io::Error::other(format!("{}: {why}", path.display()));
        if depth > DEEPEST {
            return Err(refused(folder, "its folders are nested too deep"));
        }
        let mut entries = fs::read_dir(folder)?.collect::<io::Result<Vec<_>>>()?;
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let source = entry.path();
            let Ok(name) = entry.file_name().into_string() else {
                return Err(refused(&source, "its name is not UTF-8"));
            };
            let target = format!("{target}/{name}");
            let metadata = fs::symlink_metadata(&source)?;
            let kind = if metadata.is_dir() {
                Kind::Folder
            } else if metadata.is_symlink() {
                Kind::Link(fs::read_link(&source)?)
            } else if metadata.is_file() {
                self.size = self.size.saturating_add(metadata.len());
                Kind::File { size: metadata.len(), is_program: is_program(&metadata) }
            } else {
                return Err(refused(&source, "it is neither a file nor a folder nor a link"));
            };
            if self.files.len() >= MOST_FILES || self.size > MOST_BYTES {
                return Err(refused(folder, "there are more than 100,000 files or 4 GiB"));
            }
            let is_folder = matches!(kind, Kind::Folder);
            self.files.push(Entry { source: source.clone(), target: target.clone(), kind });
            if is_folder {
                self.walk(&source, &target, depth + 1)?;
            }
        }
        Ok(())
    }

    /// How many bytes the files have.
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// The members, piece by piece.
    pub(super) fn pieces(self) -> impl Iterator<Item = io::Result<Vec<u8>>> + Send {
        self.files.into_iter().flat_map(Entry::pieces)
    }
}

impl Entry {
    fn pieces(self) -> Pieces {
        let (mode, size, kind, link) = match &self.kind {
            Kind::Folder => (0o755, 0, EntryType::Directory, None),
            Kind::File { size, is_program } => {
                (if *is_program { 0o755 } else { 0o644 }, *size, EntryType::Regular, None)
            }
            Kind::Link(to) => (0o777, 0, EntryType::Symlink, Some(to.as_os_str().as_encoded_bytes())),
        };
        let head = header(&self.target, mode, size, kind, link);
        Pieces { head: Some(head), source: self.source, left: size, file: None }
    }
}

/// A member of the archive while it is sent.
struct Pieces {
    head: Option<Vec<u8>>,
    source: PathBuf,
    /// Bytes of the file that were announced and not sent yet.
    left: u64,
    file: Option<File>,
}

impl Iterator for Pieces {
    type Item = io::Result<Vec<u8>>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(head) = self.head.take() {
            return Some(Ok(head));
        }
        if self.left == 0 {
            return None;
        }
        let piece = self.read();
        if piece.is_err() {
            self.left = 0;
        }
        Some(piece)
    }
}

impl Pieces {
    fn read(&mut self) -> io::Result<Vec<u8>> {
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(File::open(&self.source)?),
        };
        let wanted = usize::try_from(self.left).unwrap_or(PIECE).min(PIECE);
        let mut piece = vec![0; wanted];
        file.read_exact(&mut piece)
            .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", self.source.display())))?;
        self.left -= wanted as u64;
        if self.left == 0 {
            piece.resize(wanted.next_multiple_of(BLOCK), 0);
        }
        Ok(piece)
    }
}

#[cfg(unix)]
fn is_program(metadata: &fs::Metadata) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    metadata.permissions().mode() & 0o111 != 0
}

#[cfg(not(unix))]
fn is_program(_: &fs::Metadata) -> bool {
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layer::Kind as MemberKind;
    use crate::layer::tar::TarReader;

    #[cfg(unix)]
    #[test]
    fn a_folder_becomes_an_archive_without_following_links() {
        use std::os::unix::fs::{PermissionsExt as _, symlink};
        let folder = tempfile::tempdir().unwrap();
        let long = vec![7; PIECE + 3];
        fs::create_dir(folder.path().join("lib")).unwrap();
        fs::write(folder.path().join("lib/long"), &long).unwrap();
        fs::write(folder.path().join("program"), "x").unwrap();
        fs::set_permissions(folder.path().join("program"), fs::Permissions::from_mode(0o4711)).unwrap();
        symlink("/etc/passwd", folder.path().join("z")).unwrap();
        let list = PayloadFiles::list(folder.path(), "/h/payload").unwrap();
        assert_eq!(list.size(), PIECE as u64 + 4);
        let archive: Vec<u8> = list.pieces().flat_map(|piece| piece.unwrap()).chain([0; 2 * BLOCK]).collect();
        let mut reader = TarReader::new(&archive[..]);
        let mut seen = Vec::new();
        while let Some(member) = reader.next_member().unwrap() {
            seen.push(format!("{} {:o} {} {}", member.path, member.mode, member.size, member.link));
            if member.path.ends_with("long") {
                let mut content = Vec::new();
                loop {
                    let piece = reader.chunk().unwrap();
                    if piece.is_empty() {
                        break;
                    }
                    content.extend_from_slice(piece);
                }
                assert_eq!(content, long);
            }
            assert!(member.kind != MemberKind::File || member.mode & 0o7000 == 0, "nothing setuid is sent");
        }
        let size = PIECE + 3;
        assert_eq!(
            seen,
            [
                "h/payload 755 0 ",
                "h/payload/lib 755 0 ",
                &format!("h/payload/lib/long 644 {size} "),
                "h/payload/program 755 1 ",
                "h/payload/z 777 0 /etc/passwd",
            ]
        );
    }

    #[cfg(unix)]
    #[test]
    fn a_fifo_is_refused_before_it_is_opened() {
        let folder = tempfile::tempdir().unwrap();
        let made = std::process::Command::new("mkfifo").arg(folder.path().join("pipe")).status();
        if !made.is_ok_and(|status| status.success()) {
            return;
        }
        let error = PayloadFiles::list(folder.path(), "/h").unwrap_err().to_string();
        assert!(error.contains("pipe: it is neither a file"), "{error}");
    }
}
