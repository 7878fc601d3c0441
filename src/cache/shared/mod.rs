//! Entries in a store that several machines share, before which those of this run are kept in memory.
//!
//! A store that does not answer costs a warning and some seconds once, never a verdict.

#[cfg(feature = "shared-cache")]
mod bucket;
#[cfg(feature = "shared-cache")]
mod redis;

use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
#[cfg(feature = "shared-cache")]
use std::time::Duration;

use super::memory::MemoryStore;
use super::{FORMAT, Place, SHARED, Store, Usage, lock};

#[cfg(feature = "shared-cache")]
/// How long a store may take to be reached, and for one answer.
const CONNECT: Duration = Duration::from_secs(3);
#[cfg(feature = "shared-cache")]
const ANSWER: Duration = Duration::from_secs(5);
#[cfg(feature = "shared-cache")]
/// The largest entry that is fetched, in bytes; those of real layers have a few hundred kilobytes.
const LARGEST_STORED: u64 = 256 << 20;

/// A store on other machines. Errors are the ends of sentences, without secrets.
pub(super) trait Far: Send + Sync {
    /// The bytes of an entry, if it is there and not larger than [`LARGEST_STORED`].
    fn get(&self, name: &str) -> Result<Option<Vec<u8>>, String>;
    /// Keeps an entry.
    fn put(&self, name: &str, bytes: Vec<u8>) -> Result<(), String>;
    /// What entries of all formats there are.
    fn usage(&self) -> Result<Usage, String>;
    /// Removes all entries of all formats; gives what was removed.
    fn clear(&self) -> Result<Usage, String>;
}

/// Opens a store; nothing for a folder.
///
/// # Errors
/// Its address or the configuration of its credentials is wrong, or it cannot be reached, where that is known at once.
pub(super) fn open(place: &Place) -> Result<Option<Arc<dyn Far>>, String> {
    Ok(match place {
        Place::Folder(_) => None,
        #[cfg(feature = "shared-cache")]
        Place::Bucket(url) => Some(Arc::new(bucket::BucketStore::open(url)?)),
        #[cfg(feature = "shared-cache")]
        Place::Redis(url) => Some(Arc::new(redis::RedisStore::open(url)?)),
        #[cfg(not(feature = "shared-cache"))]
        Place::Bucket(_) | Place::Redis(_) => {
            return Err(
                "this build of imglint has no shared caches: it was made without the feature `shared-cache`".to_owned()
            );
        }
    })
}

/// The name of an entry where those of all formats are together, and its bytes.
type Entry = (String, Vec<u8>);

/// A far store with a near one before it. What is kept is sent while other work goes on.
pub(super) struct SharedStore {
    near: MemoryStore,
    far: Arc<dyn Far>,
    trouble: Arc<Mutex<Option<String>>>,
    sender: Mutex<Option<Sender<Entry>>>,
    sending: Mutex<Option<JoinHandle<()>>>,
}

impl SharedStore {
    pub(super) fn new(far: Arc<dyn Far>) -> Self {
        let (sender, waiting) = channel::<Entry>();
        let trouble = Arc::<Mutex<Option<String>>>::default();
        let (to, told) = (Arc::clone(&far), Arc::clone(&trouble));
        let send = move || {
            for (name, bytes) in waiting {
                if lock(&told).is_none()
                    && let Err(why) = to.put(&name, bytes)
                {
                    lock(&told).get_or_insert(why);
                }
            }
        };
        let sending = thread::Builder::new().name("cache".to_owned()).spawn(send).ok();
        Self {
            near: MemoryStore::new(SHARED),
            far,
            trouble,
            sender: Mutex::new(Some(sender)),
            sending: Mutex::new(sending),
        }
    }
}

impl Store for SharedStore {
    fn get(&self, name: &str) -> Option<Vec<u8>> {
        if let Some(bytes) = self.near.get(name) {
            return Some(bytes);
        }
        if lock(&self.trouble).is_some() {
            return None;
        }
        match self.far.get(&far_name(name)) {
            Ok(bytes) => {
                if let Some(bytes) = &bytes {
                    self.near.put(name, bytes.clone());
                }
                bytes
            }
            Err(why) => {
                lock(&self.trouble).get_or_insert(why);
                None
            }
        }
    }

    fn put(&self, name: &str, bytes: Vec<u8>) {
        self.near.put(name, bytes.clone());
        if let Some(sender) = &*lock(&self.sender) {
            // A thread that is gone has told why.
            drop(sender.send((far_name(name), bytes)));
        }
    }

    fn finish(&self) -> Option<String> {
        drop(lock(&self.sender).take());
        if let Some(sending) = lock(&self.sending).take() {
            drop(sending.join());
        }
        lock(&self.trouble).clone()
    }
}

impl Drop for SharedStore {
    fn drop(&mut self) {
        drop(self.finish());
    }
}

/// The name of an entry where those of all formats are together.
fn far_name(name: &str) -> String {
    format!("{}/{name}", FORMAT.trim())
}
