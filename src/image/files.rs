//! Named files that an image is made of, whatever holds them: a folder, a tar that can be sought, or one that streams by.

use std::collections::HashMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Take};
use std::path::{Path, PathBuf};

use super::manifest::LARGEST_DOCUMENT;
use super::{Error, LayerBytes, Result};
use crate::layer::Kind;
use crate::layer::path::{join, parent_and_name};
use crate::layer::tar::TarReader;

/// The most members of an archive that are remembered, and the most bytes of their names.
const MOST_MEMBERS: usize = 200_000;
const MOST_NAME_BYTES: usize = 32 << 20;
/// How many links a name may lead through.
const MOST_LINKS: usize = 10;

/// A set of files under relative names such as `index.json` and `blobs/sha256/…`.
pub trait Files: Send + Sync {
    /// What holds the files, for error messages.
    fn what(&self) -> &str;

    /// The content of a small file, or nothing if there is no such file.
    ///
    /// # Errors
    /// The file cannot be read, or is larger than [`LARGEST_DOCUMENT`].
    fn document(&self, name: &str) -> Result<Option<Vec<u8>>>;

    /// A layer: its size in bytes as stored, and its content; or nothing if there is no such file.
    ///
    /// # Errors
    /// The file cannot be opened.
    fn layer(&self, name: &str) -> Result<Option<(u64, LayerBytes)>>;
}

/// Reads a whole document from a stream of `size` bytes.
pub(super) fn read_document(what: &str, name: &str, size: u64, stream: impl Read) -> Result<Vec<u8>> {
    let too_large = || Error::broken(format!("{what}: {name} is larger than {} MiB", LARGEST_DOCUMENT >> 20));
    if size > LARGEST_DOCUMENT {
        return Err(too_large());
    }
    let mut bytes = Vec::new();
    stream
        .take(LARGEST_DOCUMENT + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| Error::from_io(&format!("{what}: {name}"), error))?;
    if bytes.len() as u64 > LARGEST_DOCUMENT {
        return Err(too_large());
    }
    Ok(bytes)
}

/// A folder on this machine.
pub struct Folder {
    path: PathBuf,
    what: String,
}

impl Folder {
    /// The folder at `path`.
    #[must_use]
    pub fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), what: path.display().to_string() }
    }

    /// Opens a regular file; links are followed, because layouts link blobs to where builders keep them, and their
    /// content is held to the digest anyway.
    fn open(&self, name: &str) -> Result<Option<(u64, File)>> {
        let path = self.path.join(name);
        let failed = |error| Error::from_io(&format!("{}: {name}", self.what), error);
        // Asked before opening: opening a FIFO would wait for its other end.
        match std::fs::metadata(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(error)),
            Ok(metadata) if !metadata.is_file() => {
                return Err(Error::broken(format!("{}: {name} is not a regular file", self.what)));
            }
            Ok(_) => {}
        }
        let file = File::open(&path).map_err(failed)?;
        let size = file.metadata().map_err(failed)?.len();
        Ok(Some((size, file)))
    }
}

impl Files for Folder {
    fn what(&self) -> &str {
        &self.what
    }

    fn document(&self, name: &str) -> Result<Option<Vec<u8>>> {
        self.open(name)?.map(|(size, file)| read_document(&self.what, name, size, file)).transpose()
    }

    fn layer(&self, name: &str) -> Result<Option<(u64, LayerBytes)>> {
        Ok(self.open(name)?.map(|(size, file)| (size, LayerBytes::Stream(Box::new(file)))))
    }
}

/// An uncompressed tar file: its members are found first, then read where they are.
pub struct TarFile {
    path: PathBuf,
    what: String,
    members: HashMap<String, Place>,
}

#[derive(Clone, Debug)]
enum Place {
    At { offset: u64, size: u64 },
    Link(String),
}

impl TarFile {
    /// Finds the members of the tar at `path`.
    ///
    /// # Errors
    /// The file cannot be read, or is no tar.
    pub fn open(path: &Path) -> Result<Self> {
        let what = path.display().to_string();
        let file = File::open(path).map_err(|error| Error::from_io(&what, error))?;
        let size = file.metadata().map_err(|error| Error::from_io(&what, error))?.len();
        let mut tar = TarReader::new(file);
        let mut members = HashMap::new();
        let mut name_bytes = 0;
        while let Some(member) = tar.seek_next_member().map_err(|error| Error::broken(format!("{what}: {error}")))? {
            name_bytes += member.path.len() + member.link.len();
            if members.len() >= MOST_MEMBERS || name_bytes > MOST_NAME_BYTES {
                return Err(Error::broken(format!("{what} has more members than any image's archive")));
            }
            let place = match member.kind {
                Kind::File if member.offset + member.stored > size => {
                    return Err(Error::broken(format!("{what} is cut off in the middle of {}", member.path)));
                }
                Kind::File => Place::At { offset: member.offset, size: member.stored },
                Kind::Symlink => Place::Link(join(parent_and_name(&member.path).0, &member.link)),
                Kind::HardLink => Place::Link(member.link),
                Kind::Directory | Kind::Special => continue,
            };
            members.insert(member.path, place);
        }
        Ok(Self { path: path.to_owned(), what, members })
    }

    fn member(&self, name: &str) -> Result<Option<(u64, Take<File>)>> {
        let Some((offset, size)) = follow(name, |name| match self.members.get(name)? {
            Place::At { offset, size } => Some(Followed::End((*offset, *size))),
            Place::Link(target) => Some(Followed::Link(target.clone())),
        }) else {
            return Ok(None);
        };
        let failed = |error| Error::from_io(&format!("{}: {name}", self.what), error);
        let mut file = File::open(&self.path).map_err(failed)?;
        file.seek(SeekFrom::Start(offset)).map_err(failed)?;
        Ok(Some((size, file.take(size))))
    }
}

impl Files for TarFile {
    fn what(&self) -> &str {
        &self.what
    }

    fn document(&self, name: &str) -> Result<Option<Vec<u8>>> {
        self.member(name)?.map(|(size, content)| read_document(&self.what, name, size, content)).transpose()
    }

    fn layer(&self, name: &str) -> Result<Option<(u64, LayerBytes)>> {
        Ok(self.member(name)?.map(|(size, content)| (size, LayerBytes::Stream(Box::new(content)))))
    }
}

/// What a name leads to.
pub(super) enum Followed<T> {
    /// A file.
    End(T),
    /// Another name.
    Link(String),
}

/// Follows links from `name` to a file, if they lead to one.
pub(super) fn follow<T>(name: &str, look: impl Fn(&str) -> Option<Followed<T>>) -> Option<T> {
    let mut name = name.to_owned();
    for _ in 0..MOST_LINKS {
        match look(&name)? {
            Followed::End(found) => return Some(found),
            Followed::Link(target) => name = target,
        }
    }
    None
}
