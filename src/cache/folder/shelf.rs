//! The folder that has the files of entries, by descriptor: nothing below the cache's folder is found by following links.

use std::fs::{File, Metadata};
use std::io::{self, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, mkdirat, open, openat, renameat, statat, unlinkat};

use super::Kept;

/// How a folder is opened.
const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);
/// How an entry is opened: without waiting for the other end of a FIFO.
const ENTRY: OFlags =
    OFlags::RDONLY.union(OFlags::NOFOLLOW).union(OFlags::NONBLOCK).union(OFlags::NOCTTY).union(OFlags::CLOEXEC);
/// How an entry is made.
const NEW: OFlags =
    OFlags::WRONLY.union(OFlags::CREATE).union(OFlags::EXCL).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// The folder that the user names.
pub(super) struct Base(OwnedFd);

/// One of the folders in it.
pub(super) struct Shelf(OwnedFd);

/// What there is under the name of an entry.
pub(super) enum Found {
    /// A plain file that only this user and root can have written.
    File(File),
    /// Something that is not read, and why.
    Refused(&'static str),
    /// Nothing that can be read.
    Nothing,
}

/// Whether this belongs to this user or to root.
pub(super) fn is_own(metadata: &Metadata) -> bool {
    [0, rustix::process::geteuid().as_raw()].contains(&metadata.uid())
}

impl Base {
    /// Opens the folder. How the user names it is followed.
    ///
    /// # Errors
    /// There is no such folder.
    pub(super) fn open(folder: &Path) -> io::Result<Self> {
        Ok(Self(open(folder, FOLDER, Mode::empty())?))
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
        if is_made && let Err(error) = mkdirat(&self.0, name, Mode::RWXU) {
            let error = io::Error::from(error);
            if error.kind() != io::ErrorKind::AlreadyExists {
                return Err(error);
            }
        }
        Ok(Shelf(openat(&self.0, name, FOLDER | OFlags::NOFOLLOW, Mode::empty())?))
    }

    /// Removes an empty folder in it.
    ///
    /// # Errors
    /// It is not empty, or cannot be removed.
    pub(super) fn remove(&self, name: &str) -> io::Result<()> {
        Ok(unlinkat(&self.0, name, AtFlags::REMOVEDIR)?)
    }
}

impl Shelf {
    /// Opens an entry to read it.
    pub(super) fn open(&self, name: &str) -> Found {
        let file = match openat(&self.0, name, ENTRY, Mode::empty()) {
            Ok(file) => File::from(file),
            Err(rustix::io::Errno::LOOP | rustix::io::Errno::MLINK) => return Found::Refused("it is a link"),
            // What opening a socket ends in.
            Err(rustix::io::Errno::NXIO | rustix::io::Errno::OPNOTSUPP) => {
                return Found::Refused("it is not a plain file");
            }
            Err(_) => return Found::Nothing,
        };
        let Ok(metadata) = file.metadata() else { return Found::Nothing };
        if !metadata.is_file() {
            Found::Refused("it is not a plain file")
        } else if !is_own(&metadata) {
            Found::Refused("it belongs to another user")
        } else if metadata.mode() & 0o022 != 0 {
            Found::Refused("other users can write to it")
        } else {
            Found::File(file)
        }
    }

    /// Writes a new file `part`, which nobody has made before, and gives it the name of an entry.
    ///
    /// # Errors
    /// It cannot be written. Nothing of it is left then.
    pub(super) fn write(&self, part: &str, name: &str, bytes: &[u8]) -> io::Result<()> {
        let mut file = File::from(openat(&self.0, part, NEW, Mode::RUSR | Mode::WUSR)?);
        let written = file.write_all(bytes).and_then(|()| Ok(renameat(&self.0, part, &self.0, name)?));
        if written.is_err() {
            let _ = self.remove(part);
        }
        written
    }

    /// Removes a file.
    ///
    /// # Errors
    /// It is not there, or cannot be removed.
    pub(super) fn remove(&self, name: &str) -> io::Result<()> {
        Ok(unlinkat(&self.0, name, AtFlags::empty())?)
    }

    /// The plain files in it.
    #[allow(clippy::useless_conversion, reason = "how the system counts nanoseconds differs")]
    pub(super) fn files(&self) -> Vec<Kept> {
        let file = |name: String| {
            let found = statat(&self.0, &name, AtFlags::SYMLINK_NOFOLLOW).ok()?;
            let seconds = Duration::from_secs(u64::try_from(found.st_mtime).unwrap_or_default());
            let used =
                UNIX_EPOCH + seconds + Duration::from_nanos(u64::try_from(found.st_mtime_nsec).unwrap_or_default());
            let bytes = u64::try_from(found.st_size).unwrap_or_default();
            (FileType::from_raw_mode(found.st_mode) == FileType::RegularFile).then_some(Kept { name, bytes, used })
        };
        names(&self.0).into_iter().filter_map(file).collect()
    }
}

fn names(folder: &OwnedFd) -> Vec<String> {
    let entries = Dir::read_from(folder).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str().ok().map(str::to_owned)).collect()
}
