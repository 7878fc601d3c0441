//! The folder that has the files of entries, by path, where there are no descriptors of folders. Windows lets only
//! administrators make links, unless somebody has switched its developer mode on.

use std::fs::{self, File, Metadata};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use super::Kept;

/// The folder that the user names.
pub(super) struct Base(PathBuf);

/// One of the folders in it.
pub(super) struct Shelf(PathBuf);

/// What there is under the name of an entry.
pub(super) enum Found {
    /// A plain file.
    File(File),
    /// Something that is not read, and why.
    Refused(&'static str),
    /// Nothing that can be read.
    Nothing,
}

impl Base {
    /// Opens the folder.
    ///
    /// # Errors
    /// There is no such folder.
    pub(super) fn open(folder: &Path) -> io::Result<Self> {
        if fs::metadata(folder)?.is_dir() {
            Ok(Self(folder.to_owned()))
        } else {
            Err(io::ErrorKind::NotADirectory.into())
        }
    }

    /// The names in it.
    pub(super) fn names(&self) -> Vec<String> {
        names(&self.0)
    }

    /// A folder in it, which is made if `is_made` says so.
    ///
    /// # Errors
    /// There is no such folder, or it cannot be made.
    pub(super) fn shelf(&self, name: &str, is_made: bool) -> io::Result<Shelf> {
        let folder = self.0.join(name);
        if is_made
            && let Err(error) = fs::create_dir(&folder)
            && error.kind() != io::ErrorKind::AlreadyExists
        {
            return Err(error);
        }
        // A link is no folder here.
        if fs::symlink_metadata(&folder)?.is_dir() {
            Ok(Shelf(folder))
        } else {
            Err(io::ErrorKind::NotADirectory.into())
        }
    }

    /// Removes an empty folder in it.
    ///
    /// # Errors
    /// It is not empty, or cannot be removed.
    pub(super) fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_dir(self.0.join(name))
    }
}

impl Shelf {
    /// Opens an entry to read it, and to note that it was used.
    pub(super) fn open(&self, name: &str) -> Found {
        let path = self.0.join(name);
        match fs::symlink_metadata(&path) {
            Ok(metadata) if metadata.is_file() => {}
            Ok(_) => return Found::Refused("it is not a plain file"),
            Err(_) => return Found::Nothing,
        }
        let opened = File::options().read(true).append(true).open(&path).or_else(|_| File::open(&path));
        let is_plain = |file: &File| file.metadata().is_ok_and(|metadata: Metadata| metadata.is_file());
        opened.ok().filter(is_plain).map_or(Found::Nothing, Found::File)
    }

    /// Writes a new file `part`, which nobody has made before, and gives it the name of an entry.
    ///
    /// # Errors
    /// It cannot be written. Nothing of it is left then.
    pub(super) fn write(&self, part: &str, name: &str, bytes: &[u8]) -> io::Result<()> {
        let path = self.0.join(part);
        let mut file = File::create_new(&path)?;
        let written = file.write_all(bytes);
        drop(file);
        let written = written.and_then(|()| fs::rename(&path, self.0.join(name)));
        if written.is_err() {
            let _ = fs::remove_file(&path);
        }
        written
    }

    /// Removes a file.
    ///
    /// # Errors
    /// It is not there, or cannot be removed.
    pub(super) fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.0.join(name))
    }

    /// The plain files in it.
    pub(super) fn files(&self) -> Vec<Kept> {
        let file = |name: String| {
            let metadata = fs::symlink_metadata(self.0.join(&name)).ok().filter(Metadata::is_file)?;
            Some(Kept { name, bytes: metadata.len(), used: metadata.modified().ok()? })
        };
        names(&self.0).into_iter().filter_map(file).collect()
    }
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().into_string().ok()).collect()
}
