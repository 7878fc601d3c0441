//! Entries as files in a folder of the user's, which several processes may use at once.

mod refusal;
#[cfg_attr(not(unix), path = "shelf_by_path.rs")]
mod shelf;

use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use bytes::Bytes;

use super::entry::LARGEST_STORED;
use super::gate::Gate;
use super::{FORMAT, KINDS, Loaded, Store, Usage, lock};
pub(super) use refusal::checked;
use shelf::{Base, Found, Shelf};

/// A use is noted if the last one was longer ago: to find what was used least, minutes do.
const NOTED: Duration = Duration::from_secs(600);
/// What a process that was killed left half written is removed after this time.
const ABANDONED: Duration = Duration::from_secs(3600);
/// The mark in the names of files that are being written.
const PART: &str = ".part-";

/// A folder of entries, those of each format and key in one of their own.
pub(super) struct FolderStore {
    folder: PathBuf,
    /// The name of the folder in it that has the entries.
    own: String,
    limit: u64,
    loading: Arc<Gate>,
    has_grown: AtomicBool,
    opened: Mutex<Option<Arc<Shelf>>>,
    /// Why an entry was not read, though it was there.
    refused: Mutex<Option<String>>,
}

/// What the cache in this folder holds.
pub(super) fn usage(folder: &Path) -> Usage {
    let files: Vec<Kept> = shelves(folder).iter().flat_map(|(_, shelf)| files(shelf)).collect();
    Usage { entries: files.len(), bytes: files.iter().map(|file| file.bytes).sum() }
}

/// Removes what the cache in this folder holds; other files stay. Returns what was removed.
///
/// # Errors
/// A file cannot be removed.
pub(super) fn clear(folder: &Path) -> io::Result<Usage> {
    let mut removed = Usage::default();
    for (name, shelf) in shelves(folder) {
        for file in files(&shelf) {
            match shelf.remove(&file.name) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            removed = Usage { entries: removed.entries + 1, bytes: removed.bytes + file.bytes };
        }
        // Folders with something else in them stay.
        if let Ok(base) = Base::open(folder) {
            let _ = base.remove(&name);
        }
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
    /// The entries below `folder`, in the folder `own`.
    pub(super) fn new(folder: PathBuf, own: String, limit: u64) -> Self {
        Self {
            folder,
            own,
            limit,
            loading: Gate::new(2 * LARGEST_STORED),
            has_grown: AtomicBool::new(false),
            opened: Mutex::default(),
            refused: Mutex::default(),
        }
    }

    /// The folder of the entries, which is opened once.
    fn shelf(&self, is_made: bool) -> io::Result<Arc<Shelf>> {
        let mut opened = lock(&self.opened);
        if let Some(shelf) = &*opened {
            return Ok(Arc::clone(shelf));
        }
        if is_made {
            make_private(&self.folder)?;
        }
        let shelf = Arc::new(Base::open(&self.folder)?.shelf(&self.own, is_made)?);
        *opened = Some(Arc::clone(&shelf));
        Ok(shelf)
    }

    fn write(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let random = getrandom::u64().map_err(io::Error::other)?;
        // Renaming is all or nothing, so that nobody ever reads a half of it.
        self.shelf(true)?.write(&format!("{name}{PART}{random:016x}"), name, bytes)
    }

    /// Removes what was used least until the rest is within the limit; of other formats, too.
    fn trim(&self) {
        let shelves = shelves(&self.folder);
        let mut all: Vec<(Kept, &Shelf)> = Vec::new();
        for (_, shelf) in &shelves {
            all.extend(files(shelf).into_iter().map(|file| (file, shelf)));
        }
        let now = SystemTime::now();
        let age = |file: &Kept| now.duration_since(file.used).unwrap_or_default();
        let mut bytes: u64 = all.iter().map(|(file, _)| file.bytes).sum();
        all.sort_by_key(|(file, _)| file.used);
        for (file, shelf) in all {
            let is_abandoned = file.name.contains(PART) && age(&file) > ABANDONED;
            if (bytes > self.limit || is_abandoned) && shelf.remove(&file.name).is_ok() {
                bytes -= file.bytes;
            }
        }
    }
}

impl Store for FolderStore {
    fn get(&self, name: &str) -> Option<Loaded> {
        let file = match self.shelf(false).ok()?.open(name) {
            Found::Nothing => return None,
            Found::Refused(why) => {
                lock(&self.refused).get_or_insert_with(|| format!("{why} ({name})"));
                return None;
            }
            Found::File(file) => file,
        };
        let metadata = file.metadata().ok()?;
        let length = usize::try_from(metadata.len()).ok().filter(|length| *length <= LARGEST_STORED)?;
        let pass = self.loading.enter(length);
        let mut bytes = Vec::with_capacity(length);
        // It may grow while it is read.
        (&file).take(length as u64).read_to_end(&mut bytes).ok()?;
        let age = metadata.modified().ok().and_then(|used| SystemTime::now().duration_since(used).ok());
        if age.is_some_and(|age| age > NOTED) {
            let _ = file.set_modified(SystemTime::now());
        }
        Some(Loaded { bytes: Bytes::from(bytes), _pass: Some(pass) })
    }

    fn put(&self, name: &str, bytes: Bytes) {
        if bytes.len() as u64 <= self.limit && self.write(name, &bytes).is_ok() {
            self.has_grown.store(true, Ordering::Relaxed);
        }
    }

    fn finish(&self) -> Vec<String> {
        let refused = lock(&self.refused).clone();
        refused
            .map(|why| format!("an entry of the cache {} was not read: {why}", self.folder.display()))
            .into_iter()
            .collect()
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
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}

/// A file of the cache.
struct Kept {
    name: String,
    bytes: u64,
    used: SystemTime,
}

/// Whether this is the name of a format.
pub(super) fn is_format(name: &str) -> bool {
    name.len() == FORMAT.trim().len() && name.bytes().all(|c| c.is_ascii_hexdigit())
}

/// Whether this is the name of an entry.
pub(super) fn is_entry(name: &str) -> bool {
    KINDS.iter().any(|kind| name.strip_prefix(kind).is_some_and(|rest| rest.starts_with("-sha")))
}

/// The folders of all formats, with their names.
fn shelves(folder: &Path) -> Vec<(String, Shelf)> {
    let Ok(base) = Base::open(folder) else { return Vec::new() };
    let names = base.names().into_iter().filter(|name| is_format(name));
    names.filter_map(|name| base.shelf(&name, false).ok().map(|shelf| (name, shelf))).collect()
}

/// The entries of one format. Other files in the folder are nobody's here.
fn files(shelf: &Shelf) -> Vec<Kept> {
    let mut files = shelf.files();
    files.retain(|file| is_entry(&file.name));
    files
}
