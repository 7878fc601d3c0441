//! The worker's side of a run: a fresh folder that stands for its home, mounted into containers at the same path.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::owner;

/// A worker's home, with the folder of one step in it; removed when it is dropped.
pub(super) struct Host {
    home: PathBuf,
}

impl Host {
    /// Makes the folders, as a Tentacle makes them.
    pub(super) fn new() -> io::Result<Self> {
        let making = owner::making();
        let host = Self { home: owner::folder(&making)? };
        fs::create_dir_all(host.work())?;
        fs::create_dir_all(host.tools())?;
        // Whatever this process's umask is: a Tentacle's home is open to be read.
        for folder in
            [host.home().to_owned(), host.home().join("Work"), host.work(), host.home().join("Tools"), host.tools()]
        {
            Self::set_mode(&folder, 0o755)?;
        }
        Ok(host)
    }

    /// `TentacleHome`.
    pub(super) fn home(&self) -> &Path {
        &self.home
    }

    /// The step's folder.
    pub(super) fn work(&self) -> PathBuf {
        self.home.join("Work/1")
    }

    /// What is brought along for this run.
    pub(super) fn tools(&self) -> PathBuf {
        self.home.join("Tools/imglint")
    }

    /// The script that a pod's shell starts.
    pub(super) fn runner(&self) -> PathBuf {
        self.work().join("execute-bootstrapRunner.sh")
    }

    /// Lets every user write into the step's folder.
    pub(super) fn open_work(&self) -> io::Result<()> {
        Self::set_mode(&self.work(), 0o777)
    }

    /// Lets nobody but its owner into the home.
    pub(super) fn close(&self) -> io::Result<()> {
        Self::set_mode(&self.home, 0o700)
    }

    /// Writes a file, executable or not.
    pub(super) fn write(path: &Path, bytes: &[u8], is_program: bool) -> io::Result<()> {
        fs::write(path, bytes)?;
        Self::set_mode(path, if is_program { 0o755 } else { 0o644 })
    }

    #[cfg(unix)]
    fn set_mode(path: &Path, mode: u32) -> io::Result<()> {
        use std::os::unix::fs::PermissionsExt as _;
        fs::set_permissions(path, fs::Permissions::from_mode(mode))
    }

    #[cfg(not(unix))]
    fn set_mode(_path: &Path, _mode: u32) -> io::Result<()> {
        Ok(())
    }

    /// Removes it all.
    ///
    /// # Errors
    /// A container left something that may not be removed.
    pub(super) fn remove(self) -> io::Result<()> {
        let removed = owner::remove_folder(&self.home);
        // What is removed needs not be removed once more.
        std::mem::forget(self);
        removed
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = owner::remove_folder(&self.home);
    }
}
