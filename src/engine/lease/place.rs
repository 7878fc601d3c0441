//! A folder of this user's alone, whose files are opened from its descriptor: no link leads out of it.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

/// How often a folder is made anew that another process removes at the same moment.
#[cfg(unix)]
const TRIES: usize = 100;

/// Such a folder.
pub(super) struct Place {
    path: PathBuf,
    #[cfg(unix)]
    folder: std::os::fd::OwnedFd,
}

/// The folders that may hold leases, best first. They do not depend on the environment, so that all runs of a user find
/// the same ones.
#[cfg(unix)]
pub(super) fn places() -> Vec<PathBuf> {
    let user = rustix::process::geteuid().as_raw();
    let mut all =
        vec![PathBuf::from(format!("/run/user/{user}/imglint")), PathBuf::from(format!("/tmp/imglint-{user}"))];
    let other = std::env::temp_dir().join(format!("imglint-{user}"));
    if !all.contains(&other) {
        all.push(other);
    }
    all
}

/// As above. The folder for temporary files is each user's own here.
#[cfg(not(unix))]
pub(super) fn places() -> Vec<PathBuf> {
    vec![std::env::temp_dir().join("imglint-runs")]
}

#[cfg(unix)]
impl Place {
    /// Opens the folder. `None` if it is not there, is a link, or is open to other users.
    pub(super) fn open(path: &Path) -> Option<Self> {
        use rustix::fs::{Mode, OFlags, fstat, open};
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let folder = open(path, flags, Mode::empty()).ok()?;
        let found = fstat(&folder).ok()?;
        let is_own = found.st_uid == rustix::process::geteuid().as_raw() && found.st_mode & 0o077 == 0;
        is_own.then(|| Self { path: path.to_owned(), folder })
    }

    /// Opens the folder, and makes it first if it is not there.
    pub(super) fn make(path: &Path) -> Option<Self> {
        for _ in 0..TRIES {
            match rustix::fs::mkdir(path, rustix::fs::Mode::RWXU) {
                Ok(()) | Err(rustix::io::Errno::EXIST) => {}
                Err(_) => return None,
            }
            let place = Self::open(path);
            // Another process may have removed it just now, while it was empty.
            if place.is_some() {
                return place;
            }
        }
        None
    }

    /// Creates a file. What is there already is never opened.
    pub(super) fn create(&self, name: &str) -> io::Result<File> {
        use rustix::fs::{Mode, OFlags, openat};
        let flags = OFlags::RDWR | OFlags::APPEND | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(openat(&self.folder, name, flags, Mode::RUSR | Mode::WUSR)?.into())
    }

    /// Opens a file. `None` if it is not a plain file of this user's with one name.
    pub(super) fn file(&self, name: &str) -> Option<File> {
        use rustix::fs::{FileType, Mode, OFlags, fstat, openat};
        let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = openat(&self.folder, name, flags, Mode::empty()).ok()?;
        let found = fstat(&file).ok()?;
        let is_plain = FileType::from_raw_mode(found.st_mode) == FileType::RegularFile && found.st_nlink == 1;
        (is_plain && found.st_uid == rustix::process::geteuid().as_raw()).then(|| file.into())
    }

    /// Whether a file that was created here still has its name.
    pub(super) fn has(file: &File) -> bool {
        rustix::fs::fstat(file).is_ok_and(|found| found.st_nlink == 1)
    }

    /// The names of what is in it, at most so many.
    pub(super) fn names(&self, most: usize) -> Vec<String> {
        let entries = rustix::fs::Dir::read_from(&self.folder).into_iter().flatten().flatten();
        let names = entries.filter_map(|entry| entry.file_name().to_str().ok().map(str::to_owned));
        names.filter(|name| name != "." && name != "..").take(most).collect()
    }

    /// Removes a file.
    pub(super) fn remove(&self, name: &str) {
        let _ = rustix::fs::unlinkat(&self.folder, name, rustix::fs::AtFlags::empty());
    }
}

#[cfg(not(unix))]
impl Place {
    /// Opens the folder. `None` if it is not there.
    pub(super) fn open(path: &Path) -> Option<Self> {
        path.symlink_metadata().is_ok_and(|found| found.is_dir()).then(|| Self { path: path.to_owned() })
    }

    /// Opens the folder, and makes it first if it is not there.
    pub(super) fn make(path: &Path) -> Option<Self> {
        let _ = std::fs::create_dir(path);
        Self::open(path)
    }

    /// Creates a file. What is there already is never opened.
    pub(super) fn create(&self, name: &str) -> io::Result<File> {
        File::options().read(true).append(true).create_new(true).open(self.path.join(name))
    }

    /// Opens a file. `None` if it is not a plain file.
    pub(super) fn file(&self, name: &str) -> Option<File> {
        let path = self.path.join(name);
        let is_plain = path.symlink_metadata().is_ok_and(|found| found.is_file());
        File::options().read(true).write(true).open(path).ok().filter(|_| is_plain)
    }

    /// Whether a file that was created here still has its name.
    pub(super) fn has(_file: &File) -> bool {
        true
    }

    /// The names of what is in it, at most so many.
    pub(super) fn names(&self, most: usize) -> Vec<String> {
        let entries = std::fs::read_dir(&self.path).into_iter().flatten().flatten();
        entries.filter_map(|entry| entry.file_name().into_string().ok()).take(most).collect()
    }

    /// Removes a file.
    pub(super) fn remove(&self, name: &str) {
        let _ = std::fs::remove_file(self.path.join(name));
    }
}

impl Place {
    /// Removes the folder if nothing is in it.
    pub(super) fn remove_folder(&self) {
        let _ = std::fs::remove_dir(&self.path);
    }
}
