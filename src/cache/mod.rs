//! Keeps the indexes of layers from one run to the next, and within one run from image to image.
//!
//! An index is a pure function of a layer's bytes, so it is kept by the digest that proves them: in a registry that of the
//! layer as stored, in an engine the DiffID; of a layer that was fetched in part it is proven by the table of contents that a
//! manifest names, and kept for those that name the same. What is kept was verified before (but for starts of layers, which
//! cannot be, and are kept on this machine only), and is believed only if the entry is whole and was made by the same code
//! ([`FORMAT`]).

mod entry;
mod folder;
mod memory;
mod place;
mod shared;

use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::digest::{Digest, Hasher};
use crate::layer::LayerIndex;
use folder::FolderStore;
pub use folder::folder_of_this_machine;
use memory::MemoryStore;
pub use place::{NotAPlace, Place};
use shared::SharedStore;

/// Changes whenever the code that makes indexes does (`tests/offline/cache.rs` holds that).
pub const FORMAT: &str = include_str!("format.txt");

/// The kinds of entries: the index of a layer by the digest of its bytes as stored; that of a layer that was fetched in
/// part, by this and the digest of its table; that of the start of a layer, by where it was read and up to what; the index
/// of a layer by DiffID; what an engine's image consists of, by its id; which layers a registry's image has, by the digest
/// of its configuration; a manifest or configuration by its digest.
const BLOB: &str = "blob";
const PART: &str = "part";
const START: &str = "start";
const LAYER: &str = "layer";
const IMAGE: &str = "image";
const LAYERS_OF: &str = "layers-of";
const DOCUMENT: &str = "document";
const KINDS: [&str; 7] = [BLOB, PART, START, LAYER, IMAGE, LAYERS_OF, DOCUMENT];

/// How much images of one run share without another place, in bytes of compressed indexes: some hundred large layers.
pub const SHARED: usize = 32 << 20;

/// Where entries are kept, by name.
trait Store: Send + Sync {
    /// The bytes of an entry as they were put there, if they still are.
    fn get(&self, name: &str) -> Option<Vec<u8>>;
    /// Keeps an entry, or does not: nothing depends on it.
    fn put(&self, name: &str, bytes: Vec<u8>);
    /// Ends what is still going on; tells why the store was of no use, if it was not.
    fn finish(&self) -> Option<String> {
        None
    }
}

/// A layer as a manifest names it.
#[derive(Clone, Copy, Debug)]
pub struct StoredLayer<'a> {
    /// The digest of its bytes as stored.
    pub digest: &'a Digest,
    /// How many those are.
    pub bytes: u64,
    /// The digest of its table of contents, if it has one. Another manifest may say something else of the same layer.
    pub table: Option<&'a Digest>,
}

impl StoredLayer<'_> {
    fn whole(&self) -> String {
        name(BLOB, self.digest)
    }

    fn part(&self) -> Option<String> {
        let table = self.table?;
        Some(name(PART, &Digest::of(format!("{} {table}", self.digest).as_bytes())))
    }
}

/// How much a cache holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// How many entries.
    pub entries: usize,
    /// Their size as stored, in bytes.
    pub bytes: u64,
}

impl Usage {
    /// What the cache at this place holds.
    ///
    /// # Errors
    /// It cannot be reached.
    pub fn of(place: &Place) -> io::Result<Self> {
        match (place, shared::open(place).map_err(io::Error::other)?) {
            (_, Some(far)) => far.usage().map_err(io::Error::other),
            (Place::Folder(folder), _) => Ok(folder::usage(folder)),
            _ => Ok(Self::default()),
        }
    }

    /// Removes what the cache at this place holds, of all formats; what else is there stays. Gives what was removed.
    ///
    /// # Errors
    /// It cannot be reached, or an entry cannot be removed.
    pub fn clear(place: &Place) -> io::Result<Self> {
        match (place, shared::open(place).map_err(io::Error::other)?) {
            (_, Some(far)) => far.clear().map_err(io::Error::other),
            (Place::Folder(folder), _) => folder::clear(folder),
            _ => Ok(Self::default()),
        }
    }
}

/// Kept layer indexes.
pub struct Cache {
    store: Box<dyn Store>,
    /// One lock a layer that is being read, so that no other image reads it at the same time.
    reading: Mutex<HashMap<String, Arc<Mutex<()>>>>,
    trouble: Option<String>,
    /// For what nothing proves, where other machines write to the store.
    own: Option<MemoryStore>,
}

impl Cache {
    /// A cache at a place; `limit` is for folders. One that cannot be reached is told of by [`Cache::finish`], and kept
    /// in memory.
    #[must_use]
    pub fn at(place: &Place, limit: u64) -> Self {
        match (place, shared::open(place)) {
            (Place::Folder(folder), _) => Self::in_folder(folder.clone(), limit),
            (_, Ok(Some(far))) => {
                Self { own: Some(MemoryStore::new(SHARED)), ..Self::new(Box::new(SharedStore::new(far))) }
            }
            (_, Ok(None)) => Self::in_memory(SHARED),
            (_, Err(why)) => Self { trouble: Some(why), ..Self::in_memory(SHARED) },
        }
    }

    /// A cache in a folder, which is made once there is something to keep. It is kept below `limit` bytes when it is
    /// dropped.
    #[must_use]
    pub fn in_folder(folder: PathBuf, limit: u64) -> Self {
        Self::new(Box::new(FolderStore::new(folder, limit)))
    }

    /// A cache that is gone with this process, of at most `limit` bytes.
    #[must_use]
    pub fn in_memory(limit: usize) -> Self {
        Self::new(Box::new(MemoryStore::new(limit)))
    }

    fn new(store: Box<dyn Store>) -> Self {
        Self { store, reading: Mutex::new(HashMap::new()), trouble: None, own: None }
    }

    /// The index of a layer: the kept one if it `is_enough`, else what `read` gives, which is then kept. Whoever asks for a
    /// layer that is being read waits for it.
    ///
    /// # Errors
    /// What `read` says.
    pub fn layer<E>(
        &self,
        layer: StoredLayer<'_>,
        is_enough: impl Fn(&LayerIndex) -> bool,
        read: impl FnOnce() -> Result<Arc<LayerIndex>, E>,
    ) -> Result<Arc<LayerIndex>, E> {
        let turn = self.turn(&layer.whole());
        let _turn = lock(&turn);
        let known = |name: &str, is_part: bool| {
            let (bytes, index): (u64, LayerIndex) = self.get(name)?;
            let is_it = bytes == layer.bytes && index.is_part() == is_part && index.is_sound();
            (is_it && is_enough(&index)).then(|| Arc::new(index))
        };
        let found = known(&layer.whole(), false).or_else(|| known(&layer.part()?, true));
        if let Some(index) = found {
            return Ok(index);
        }
        let index = read()?;
        self.keep_layer(layer, &index);
        Ok(index)
    }

    /// Keeps what is known by now of such a layer.
    pub fn keep_layer(&self, layer: StoredLayer<'_>, index: &LayerIndex) {
        let name = if index.is_part() { layer.part() } else { Some(layer.whole()) };
        if let Some(name) = name {
            self.put(&name, &(layer.bytes, index));
        }
    }

    /// What was read of the start of a layer, and whether that was all: as it was kept, else what `read` gives. Nothing proves
    /// a start but where it came from, so `asked` names the layer, how its place is reached, who is trusted there and up to
    /// what it is read; and no other machine is believed.
    ///
    /// # Errors
    /// What `read` says.
    pub fn start<E>(
        &self,
        asked: &str,
        read: impl FnOnce() -> Result<Option<(Arc<LayerIndex>, bool)>, E>,
    ) -> Result<Option<(Arc<LayerIndex>, bool)>, E> {
        let store = self.own.as_ref().map_or(&*self.store, |own| own);
        let name = name(START, &Digest::of(asked.as_bytes()));
        let turn = self.turn(&name);
        let _turn = lock(&turn);
        let kept = store.get(&name).and_then(|bytes| entry::decode::<(LayerIndex, bool)>(&name, &bytes));
        if let Some((index, is_whole)) = kept.filter(|(index, _)| index.is_sound()) {
            return Ok(Some((Arc::new(index), is_whole)));
        }
        let found = read()?;
        if let Some((index, is_whole)) = &found
            && let Some(bytes) = entry::encode(&name, &(index.as_ref(), is_whole))
        {
            store.put(&name, bytes);
        }
        Ok(found)
    }

    /// Keeps of which layers a registry's image consists, by the digest of its configuration.
    pub fn keep_layers_of(&self, configuration: &Digest, layers: &[Digest]) {
        let name = name(LAYERS_OF, configuration);
        if self.get::<Vec<Digest>>(&name).as_deref() != Some(layers) {
            self.put(&name, &layers);
        }
    }

    /// Whether all layers of the image with this configuration are known whole.
    #[must_use]
    pub fn has_layers_of(&self, configuration: &Digest) -> bool {
        let layers: Option<Vec<Digest>> = self.get(&name(LAYERS_OF, configuration));
        let is_kept = |layer: &Digest| self.get::<(u64, LayerIndex)>(&name(BLOB, layer)).is_some();
        layers.is_some_and(|layers| layers.iter().all(is_kept))
    }

    /// The index of the layer with this DiffID.
    #[must_use]
    pub fn index(&self, diff_id: &Digest) -> Option<Arc<LayerIndex>> {
        let index: LayerIndex = self.get(&name(LAYER, diff_id))?;
        (index.diff_id.as_ref() == Some(diff_id) && index.is_sound()).then(|| Arc::new(index))
    }

    /// Keeps an index, if it has a DiffID to keep it by.
    pub fn keep_index(&self, index: &LayerIndex) -> Option<Digest> {
        let diff_id = index.diff_id.clone()?;
        self.put(&name(LAYER, &diff_id), index);
        Some(diff_id)
    }

    /// What was kept of an image by its id.
    #[must_use]
    pub fn image<T: DeserializeOwned>(&self, id: &Digest) -> Option<T> {
        self.get(&name(IMAGE, id))
    }

    /// A manifest or a configuration with this digest.
    #[must_use]
    pub fn document(&self, digest: &Digest) -> Option<Vec<u8>> {
        let bytes: Vec<u8> = self.get(&name(DOCUMENT, digest))?;
        let mut hasher = Hasher::new(digest.algorithm());
        hasher.update(&bytes);
        (hasher.finish() == *digest).then_some(bytes)
    }

    /// Keeps such a document.
    pub fn keep_document(&self, digest: &Digest, bytes: &[u8]) {
        self.put(&name(DOCUMENT, digest), &bytes);
    }

    /// Keeps something of an image by its id.
    pub fn keep_image(&self, id: &Digest, kept: &impl Serialize) {
        self.put(&name(IMAGE, id), kept);
    }

    /// Ends what is still being kept, and tells why nothing could be, if so: the end of a sentence.
    #[must_use]
    pub fn finish(&self) -> Option<String> {
        self.trouble.clone().or_else(|| self.store.finish())
    }

    /// Held while something is read, by name.
    fn turn(&self, name: &str) -> Arc<Mutex<()>> {
        Arc::clone(lock(&self.reading).entry(name.to_owned()).or_default())
    }

    fn get<T: DeserializeOwned>(&self, name: &str) -> Option<T> {
        entry::decode(name, &self.store.get(name)?)
    }

    fn put(&self, name: &str, value: &impl Serialize) {
        if let Some(bytes) = entry::encode(name, value) {
            self.store.put(name, bytes);
        }
    }
}

fn name(kind: &str, digest: &Digest) -> String {
    format!("{kind}-{}-{}", digest.algorithm().name(), digest.hex())
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::fs;

    use super::*;
    use crate::layer::scan;

    fn index() -> Arc<LayerIndex> {
        Arc::new(scan(&[0_u8; 1024][..]).unwrap())
    }

    fn digest(text: &str) -> Digest {
        Digest::of(text.as_bytes())
    }

    fn stored(digest: &Digest, bytes: u64) -> StoredLayer<'_> {
        StoredLayer { digest, bytes, table: None }
    }

    /// How often a layer is read if it is asked for.
    fn reads(cache: &Cache, text: &str, bytes: u64) -> usize {
        let mut count = 0;
        let read = || {
            count += 1;
            Ok::<_, Infallible>(index())
        };
        let found = cache.layer(stored(&digest(text), bytes), |_| true, read).unwrap();
        assert_eq!(found, index());
        count
    }

    #[test]
    fn what_was_read_is_read_no_more() {
        let folder = tempfile::tempdir().unwrap();
        let on_disk = || Cache::in_folder(folder.path().join("new/cache"), 1 << 20);
        let cache = on_disk();
        assert_eq!([reads(&cache, "a", 9), reads(&cache, "a", 9), reads(&on_disk(), "a", 9)], [1, 0, 0]);
        assert_eq!(reads(&cache, "a", 8), 1, "another size is another claim");
        let memory = Cache::in_memory(1 << 20);
        assert_eq!([reads(&memory, "a", 9), reads(&memory, "a", 9), reads(&memory, "b", 9)], [1, 0, 1]);
        assert_eq!([reads(&Cache::in_memory(0), "a", 9), reads(&Cache::in_memory(0), "a", 9)], [1, 1]);
    }

    #[test]
    fn what_is_damaged_or_of_another_name_is_read_again_and_mended() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::in_folder(folder.path().to_owned(), 1 << 20);
        let files = || -> Vec<PathBuf> {
            let mut all: Vec<_> =
                fs::read_dir(folder.path().join(FORMAT.trim())).unwrap().map(|entry| entry.unwrap().path()).collect();
            all.sort();
            all
        };
        reads(&cache, "a", 9);
        assert_eq!(files().len(), 1);
        for file in files() {
            let whole = fs::read(&file).unwrap();
            for at in [0, 10, whole.len() - 1] {
                let mut damaged = whole.clone();
                damaged[at] ^= 1;
                fs::write(&file, &damaged).unwrap();
                assert_eq!(reads(&cache, "a", 9), 1, "{} at {at}", file.display());
                assert_eq!(fs::read(&file).unwrap(), whole);
            }
            fs::write(&file, &whole[..whole.len() / 2]).unwrap();
            assert_eq!(reads(&cache, "a", 9), 1);
        }
        reads(&cache, "b", 9);
        let [a, b] = ["a", "b"].map(|text| folder.path().join(FORMAT.trim()).join(name(BLOB, &digest(text))));
        fs::copy(a, &b).unwrap();
        assert_eq!(reads(&cache, "b", 9), 1, "an entry says whose it is");
    }

    #[test]
    fn the_least_recently_used_goes_first() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::in_folder(folder.path().to_owned(), 1 << 20);
        cache.keep_image(&digest("old"), &"x");
        cache.keep_image(&digest("new"), &"y");
        let path = |text: &str| folder.path().join(FORMAT.trim()).join(name(IMAGE, &digest(text)));
        let old = std::time::SystemTime::now() - std::time::Duration::from_secs(9000);
        for text in ["old", "new"] {
            fs::File::options().write(true).open(path(text)).unwrap().set_modified(old).unwrap();
        }
        assert_eq!(cache.image::<String>(&digest("old")).as_deref(), Some("x"), "which is a use");
        drop(cache);
        let size = fs::metadata(path("old")).unwrap().len();
        let cache = Cache::in_folder(folder.path().to_owned(), size + size / 2);
        cache.keep_image(&digest("third"), &"z");
        drop(cache);
        assert_eq!(["old", "new", "third"].map(|text| path(text).exists()), [false, false, true]);
    }

    #[test]
    fn a_layer_that_is_being_read_is_waited_for() {
        let cache = Cache::in_memory(1 << 20);
        let count = std::sync::atomic::AtomicUsize::new(0);
        let read = || {
            count.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            std::thread::sleep(std::time::Duration::from_millis(20));
            Ok::<_, Infallible>(index())
        };
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| cache.layer(stored(&digest("a"), 9), |_| true, read).unwrap());
            }
        });
        assert_eq!(count.into_inner(), 1);
    }
}
