//! Entries as files in a folder of the user's, which several processes may use at once.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use super::{FORMAT, KINDS, Store, Usage};

/// A use is noted if the last one was longer ago: to find what was used least, minutes do.
const NOTED: Duration = Duration::from_secs(600);
/// What a process that was killed left half written is removed after this time.
const ABANDONED: Duration = Duration::from_secs(3600);
/// The mark in the names of files that are being written.
const PART: &str = ".part-";

/// A folder of entries, those of each format in one of their own.
pub(super) struct FolderStore {
    folder: PathBuf,
    limit: u64,
    has_grown: AtomicBool,
    parts: AtomicU64,
}

/// What the cache in this folder holds.
pub(super) fn usage(folder: &Path) -> Usage {
    let files = files(folder);
    Usage { entries: files.len(), bytes: files.iter().map(|file| file.bytes).sum() }
}

/// Removes what the cache in this folder holds; other files stay. Gives what was removed.
///
/// # Errors
/// A file cannot be removed.
pub(super) fn clear(folder: &Path) -> io::Result<Usage> {
    let mut removed = Usage::default();
    for file in files(folder) {
        match fs::remove_file(&file.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        removed = Usage { entries: removed.entries + 1, bytes: removed.bytes + file.bytes };
    }
    // Folders with something else in them stay.
    for folder in formats(folder) {
        let _ = fs::remove_dir(folder);
    }
    Ok(removed)
}

/// Where this machine keeps such things: `$XDG_CACHE_HOME`, else `~/.cache` (XDG Base Directory Specification),
/// `~/Library/Caches` on macOS, `%LOCALAPPDATA%` on Windows.
#[must_use]
pub fn folder_of_this_machine() -> Option<PathBuf> {
    let absolute = |path: PathBuf| Some(path).filter(|path| path.is_absolute());
    let named = if cfg!(windows) { "LOCALAPPDATA" } else { "XDG_CACHE_HOME" };
    let folder = std::env::var_os(named).map(PathBuf::from).and_then(absolute).or_else(|| {
        let home = std::env::home_dir().and_then(absolute)?;
        Some(home.join(if cfg!(target_os = "macos") { "Library/Caches" } else { ".cache" }))
    })?;
    Some(folder.join("imglint"))
}

impl FolderStore {
    pub(super) fn new(folder: PathBuf, limit: u64) -> Self {
        Self { folder, limit, has_grown: AtomicBool::new(false), parts: AtomicU64::new(0) }
    }

    fn own(&self) -> PathBuf {
        self.folder.join(FORMAT.trim())
    }

    fn write(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let own = self.own();
        make_private(&own)?;
        let number = self.parts.fetch_add(1, Ordering::Relaxed);
        let part = own.join(format!("{name}{PART}{}-{number}", std::process::id()));
        // Renaming is all or nothing, so that nobody ever reads a half of it.
        let written = File::create(&part)
            .and_then(|mut file| file.write_all(bytes))
            .and_then(|()| fs::rename(&part, own.join(name)));
        if written.is_err() {
            let _ = fs::remove_file(&part);
        }
        written
    }

    /// Removes what was used least until the rest is within the limit; of other formats, too.
    fn trim(&self) {
        let mut files = files(&self.folder);
        let now = SystemTime::now();
        let age = |file: &Kept| now.duration_since(file.used).unwrap_or_default();
        let mut bytes: u64 = files.iter().map(|file| file.bytes).sum();
        files.sort_by_key(|file| file.used);
        for file in files {
            let is_abandoned = file.is_part && age(&file) > ABANDONED;
            if (bytes > self.limit || is_abandoned) && fs::remove_file(&file.path).is_ok() {
                bytes -= file.bytes;
            }
        }
    }
}

impl Store for FolderStore {
    fn get(&self, name: &str) -> Option<Vec<u8>> {
        let path = self.own().join(name);
        let bytes = fs::read(&path).ok()?;
        let file = File::options().append(true).open(&path).ok();
        if let Some((file, metadata)) = file.and_then(|file| file.metadata().ok().map(|metadata| (file, metadata))) {
            let age = metadata.modified().ok().and_then(|used| SystemTime::now().duration_since(used).ok());
            if age.is_some_and(|age| age > NOTED) {
                let _ = file.set_modified(SystemTime::now());
            }
        }
        Some(bytes)
    }

    fn put(&self, name: &str, bytes: Vec<u8>) {
        if bytes.len() as u64 <= self.limit && self.write(name, &bytes).is_ok() {
            self.has_grown.store(true, Ordering::Relaxed);
        }
    }
}

impl Drop for FolderStore {
    fn drop(&mut self) {
        if self.has_grown.load(Ordering::Relaxed) {
            self.trim();
        }
    }
}

/// Makes a folder that only its owner can enter: images may be secret.
fn make_private(folder: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}

struct Kept {
    path: PathBuf,
    bytes: u64,
    used: SystemTime,
    is_part: bool,
}

/// Whether this is the name of a format.
pub(super) fn is_format(name: &str) -> bool {
    name.len() == FORMAT.trim().len() && name.bytes().all(|c| c.is_ascii_hexdigit())
}

/// Whether this is the name of an entry.
pub(super) fn is_entry(name: &str) -> bool {
    KINDS.iter().any(|kind| name.strip_prefix(kind).is_some_and(|rest| rest.starts_with("-sha")))
}

/// The folders of all formats.
fn formats(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter(|entry| entry.file_name().to_str().is_some_and(is_format)).map(|entry| entry.path()).collect()
}

/// The entries of all formats. Other files in the folder are nobody's here.
fn files(folder: &Path) -> Vec<Kept> {
    let entries = formats(folder).into_iter().filter_map(|folder| fs::read_dir(folder).ok()).flatten().flatten();
    entries
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok().filter(|name| is_entry(name))?;
            let metadata = entry.metadata().ok().filter(fs::Metadata::is_file)?;
            let used = metadata.modified().ok()?;
            Some(Kept { path: entry.path(), bytes: metadata.len(), used, is_part: name.contains(PART) })
        })
        .collect()
}
