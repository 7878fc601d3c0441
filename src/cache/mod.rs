//! Keeps the indexes of layers from one run to the next, and within one run from image to image.
//!
//! An index is a pure function of a layer's bytes, so it is kept by the digest that proves them: in a registry that of the
//! layer as stored, in an engine the DiffID; of a layer that was fetched in part it is proven by the table of contents that a
//! manifest names, and kept for those that name the same. What is kept was verified before (but for starts of layers, which
//! cannot be, and are kept on this machine only), and is believed only if the entry is whole and was made by the same code
//! ([`FORMAT`]). With a key it is believed only if its maker has the key, too; if layers are to be verified, only if it was
//! made by this process.

mod entry;
mod folder;
mod gate;
mod key;
mod memory;
mod metered;
mod place;
#[cfg(feature = "shared-cache")]
mod shared;
#[cfg(not(feature = "shared-cache"))]
#[path = "without_shared.rs"]
mod shared;
mod usage;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::digest::{Digest, Hasher};
use crate::layer::LayerIndex;
use crate::layer::allowance::{Budget, Drawn};
use entry::Entries;
use folder::FolderStore;
pub use folder::folder_of_this_machine;
use gate::Pass;
pub use key::Key;
use key::Seal;
use memory::MemoryStore;
pub use place::{NotAPlace, Place};
pub use usage::Usage;

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

/// Who says where the cache is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NamedBy {
    /// Nobody: it is where this machine keeps such things.
    #[default]
    Nobody,
    /// A variable of the environment.
    Environment,
    /// The command line. What it names is used, whoever else can write there.
    CommandLine,
}

/// How a cache is used.
#[derive(Clone, Debug, Default)]
pub struct CacheOptions {
    /// Who says where it is.
    pub named_by: NamedBy,
    /// How much is kept in a folder, in bytes.
    pub limit: u64,
    /// The key of those who may put entries into it.
    pub key: Option<Key>,
    /// How long one question to a store may take, if that is shorter than usual.
    pub timeout: Option<Duration>,
    /// Believe no index that another process made, so that every layer is read and verified.
    pub verifies: bool,
}

/// The address of a store, or what the environment says of it, is wrong. The message has no secrets.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Misconfigured(String);

/// Why a shared store cannot be opened: the end of a sentence, without secrets.
enum Trouble {
    /// What the user says of it is wrong.
    #[cfg(feature = "shared-cache")]
    Wrong(String),
    /// It cannot be used as it is now.
    Unusable(String),
}

#[cfg(feature = "shared-cache")]
impl Trouble {
    fn into_text(self) -> String {
        match self {
            Self::Wrong(why) | Self::Unusable(why) => why,
        }
    }
}

/// Where entries are kept, by name.
trait Store: Send + Sync {
    /// The bytes of an entry as they were put there, if they still are.
    fn get(&self, name: &str) -> Option<Loaded>;
    /// Keeps an entry, or does not: nothing depends on it.
    fn put(&self, name: &str, bytes: Bytes);
    /// Ends what is still going on. Returns what the user should know, in whole sentences.
    fn finish(&self) -> Vec<String> {
        Vec::new()
    }
}

/// The bytes of an entry, and the right to hold them in memory.
struct Loaded {
    bytes: Bytes,
    _pass: Option<Pass>,
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

/// Kept layer indexes.
pub struct Cache {
    store: Box<dyn Store>,
    entries: Entries,
    /// One lock a layer that is being read, so that no other image reads it at the same time.
    reading: Mutex<HashMap<String, Arc<Mutex<()>>>>,
    warnings: Vec<String>,
    /// What this process itself has made. For what nothing proves where other machines write to the store, and for all
    /// indexes if it `verifies`.
    own: Option<MemoryStore>,
    verifies: bool,
}

impl Cache {
    /// A cache at a place. [`Cache::finish`] says why one cannot be used; it is then kept in memory.
    ///
    /// # Errors
    /// The address, or what the environment says of the store, is wrong.
    pub fn at(place: &Place, options: CacheOptions) -> Result<Self, Misconfigured> {
        let CacheOptions { named_by, limit, key, timeout, verifies } = options;
        let seal = key.map_or(Seal::Checksum, Seal::Key);
        let of_no_use = |why: String| format!("the cache {} is of no use: {why}", place.printable());
        let mut warnings = Vec::new();
        let (store, is_far): (Box<dyn Store>, bool) = match place {
            Place::Folder(folder) => match folder::checked(folder, named_by) {
                Ok(folder) => (Box::new(FolderStore::new(folder, seal.folder(), limit)), false),
                Err(refused) => {
                    warnings.push(of_no_use(refused.to_string()));
                    (Box::new(MemoryStore::new(SHARED)), false)
                }
            },
            Place::Bucket(_) | Place::Redis(_) => match shared::store(place, seal.folder(), timeout) {
                Ok((store, notes)) => {
                    warnings.extend(notes);
                    (store, true)
                }
                #[cfg(feature = "shared-cache")]
                Err(Trouble::Wrong(why)) => return Err(Misconfigured(why)),
                Err(Trouble::Unusable(why)) => {
                    warnings.push(of_no_use(why));
                    (Box::new(MemoryStore::new(SHARED)), false)
                }
            },
        };
        let own = (is_far || verifies).then(|| MemoryStore::new(SHARED));
        Ok(Self { warnings, own, verifies, ..Self::new(store, seal) })
    }

    /// A cache in a folder, which is made once there is something to keep. It is kept below `limit` bytes when it is
    /// dropped.
    #[must_use]
    pub fn in_folder(folder: PathBuf, limit: u64) -> Self {
        Self::new(Box::new(FolderStore::new(folder, Seal::Checksum.folder(), limit)), Seal::Checksum)
    }

    /// A cache that is gone with this process, of at most `limit` bytes.
    #[must_use]
    pub fn in_memory(limit: usize) -> Self {
        Self::new(Box::new(MemoryStore::new(limit)), Seal::Checksum)
    }

    fn new(store: Box<dyn Store>, seal: Seal) -> Self {
        Self {
            store,
            entries: Entries::new(seal),
            reading: Mutex::new(HashMap::new()),
            warnings: Vec::new(),
            own: None,
            verifies: false,
        }
    }

    /// The memory that its decoded entries take, which is that of all indexes of the run.
    #[must_use]
    pub fn budget(&self) -> &Arc<Budget> {
        self.entries.budget()
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
            let ((bytes, index), drawn): ((u64, LayerIndex), Drawn) = self.believed(name)?;
            let is_it = bytes == layer.bytes && index.is_part() == is_part && index.is_sound();
            (is_it && is_enough(&index)).then(|| Arc::new(index.occupying(drawn)))
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
        let store: &dyn Store = self.own.as_ref().map_or(&*self.store, |own| own);
        let name = name(START, &Digest::of(asked.as_bytes()));
        let turn = self.turn(&name);
        let _turn = lock(&turn);
        let kept = self.decoded::<(LayerIndex, bool)>(store, &name);
        if let Some(((index, is_whole), drawn)) = kept.filter(|((index, _), _)| index.is_sound()) {
            return Ok(Some((Arc::new(index.occupying(drawn)), is_whole)));
        }
        let found = read()?;
        if let Some((index, is_whole)) = &found
            && let Some(bytes) = self.entries.encode(&name, &(index.as_ref(), is_whole))
        {
            store.put(&name, bytes.into());
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

    /// Whether all layers of the image with this configuration are kept whole. That says where reading it is quick, no
    /// more.
    #[must_use]
    pub fn has_layers_of(&self, configuration: &Digest) -> bool {
        let layers: Option<Vec<Digest>> = self.get(&name(LAYERS_OF, configuration));
        let is_kept = |layer: &Digest| self.get::<(u64, LayerIndex)>(&name(BLOB, layer)).is_some();
        layers.is_some_and(|layers| layers.iter().all(is_kept))
    }

    /// The index of the layer with this DiffID.
    #[must_use]
    pub fn index(&self, diff_id: &Digest) -> Option<Arc<LayerIndex>> {
        let (index, drawn): (LayerIndex, Drawn) = self.believed(&name(LAYER, diff_id))?;
        (index.diff_id.as_ref() == Some(diff_id) && index.is_sound()).then(|| Arc::new(index.occupying(drawn)))
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
        self.believed(&name(IMAGE, id)).map(|(image, _)| image)
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

    /// Ends what is still being kept. Returns what the user should know of the cache, in whole sentences.
    #[must_use]
    pub fn finish(&self) -> Vec<String> {
        self.warnings.iter().cloned().chain(self.store.finish()).collect()
    }

    /// Held while something is read, by name.
    fn turn(&self, name: &str) -> Arc<Mutex<()>> {
        Arc::clone(lock(&self.reading).entry(name.to_owned()).or_default())
    }

    /// An entry that proves itself.
    fn get<T: DeserializeOwned>(&self, name: &str) -> Option<T> {
        self.decoded(&*self.store, name).map(|(value, _)| value)
    }

    /// An entry of which nothing but its seal says that it is right.
    fn believed<T: DeserializeOwned>(&self, name: &str) -> Option<(T, Drawn)> {
        let own = self.own.as_ref().filter(|_| self.verifies);
        self.decoded(own.map_or(&*self.store, |own| own), name)
    }

    fn decoded<T: DeserializeOwned>(&self, store: &dyn Store, name: &str) -> Option<(T, Drawn)> {
        self.entries.decode(name, &store.get(name)?.bytes)
    }

    fn put(&self, name: &str, value: &impl Serialize) {
        let Some(bytes) = self.entries.encode(name, value).map(Bytes::from) else { return };
        if let Some(own) = self.own.as_ref().filter(|_| self.verifies) {
            own.put(name, bytes.clone());
        }
        self.store.put(name, bytes);
    }
}

fn name(kind: &str, digest: &Digest) -> String {
    format!("{kind}-{}-{}", digest.algorithm().name(), digest.hex())
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
