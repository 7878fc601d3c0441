//! Entries in a store that several machines share, before which those of this run are kept in memory.
//!
//! A store that does not answer costs a warning and some seconds, never a verdict.

mod bounded_http;
mod bucket;
mod redis;
mod variables;

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::entry::LARGEST_STORED;
use super::gate::Gate;
use super::memory::MemoryStore;
use super::{Loaded, Place, SHARED, Store, Trouble, Usage, lock};
use crate::panics::caught;

/// How long reaching a store may take, its answer to one question, and all slow answers of a run together.
const CONNECT: Duration = Duration::from_secs(3);
const ANSWER: Duration = Duration::from_secs(5);
const IN_ALL: Duration = Duration::from_secs(30);
/// An answer that takes longer counts as slow.
const SLOW: Duration = Duration::from_secs(1);
/// Of the user's time limit for an image, one answer may take a quarter and all slow ones half: it is not for the cache.
const OF_LIMIT: u32 = 4;
/// How much is kept in memory that waits to be sent, in bytes. What comes on top is not sent.
const WAITING: usize = 8 << 20;

/// A store on other machines. Errors are the ends of sentences, without secrets.
pub(super) trait Far: Send + Sync {
    /// Held while something is asked, if only one question is asked at a time.
    fn turn(&self) -> Option<MutexGuard<'_, ()>> {
        None
    }
    /// The bytes of an entry, if it is there and not larger than [`LARGEST_STORED`]; they pass the gate before they are in
    /// memory.
    fn get(&self, name: &str, loading: &Arc<Gate>) -> Result<Option<Loaded>, String>;
    /// Keeps an entry.
    fn put(&self, name: &str, bytes: Bytes) -> Result<(), String>;
    /// What entries of all formats there are.
    fn usage(&self) -> Result<Usage, String>;
    /// Removes all entries of all formats; gives what was removed.
    fn clear(&self) -> Result<Usage, String>;
}

/// How long a store may take. The user may be less patient than usual.
#[derive(Clone, Copy)]
struct Patience {
    connect: Duration,
    answer: Duration,
    slow: Duration,
    in_all: Duration,
}

impl Patience {
    fn new(timeout: Option<Duration>) -> Self {
        let quarter = timeout.map_or(Duration::MAX, |timeout| timeout / OF_LIMIT);
        Self {
            connect: CONNECT.min(quarter),
            answer: ANSWER.min(quarter),
            slow: SLOW.min(quarter / 4),
            in_all: IN_ALL.min(quarter.saturating_mul(2)),
        }
    }
}

/// The entries in `folder` of the store at a place, and what the user should know of its configuration.
///
/// # Errors
/// The address or the configuration of its credentials is wrong, or it cannot be reached, if that is known at once.
pub(super) fn store(
    place: &Place,
    folder: String,
    timeout: Option<Duration>,
) -> Result<(Box<dyn Store>, Vec<String>), Trouble> {
    let (far, notes) = open(place, timeout)?;
    Ok((Box::new(SharedStore::new(far, folder, place, timeout)), notes))
}

/// What the store at a place holds, of all formats and keys.
///
/// # Errors
/// It cannot be reached. The error is the end of a sentence.
pub(super) fn usage(place: &Place) -> Result<Usage, String> {
    let (far, _) = open(place, None).map_err(Trouble::into_text)?;
    guarded(|| far.usage())
}

/// Removes what the store at a place holds, of all formats and keys; gives what was removed.
///
/// # Errors
/// It cannot be reached. The error is the end of a sentence.
pub(super) fn clear(place: &Place) -> Result<Usage, String> {
    let (far, _) = open(place, None).map_err(Trouble::into_text)?;
    guarded(|| far.clear())
}

fn open(place: &Place, timeout: Option<Duration>) -> Result<(Arc<dyn Far>, Vec<String>), Trouble> {
    let patience = Patience::new(timeout);
    let open = || -> Result<(Arc<dyn Far>, Vec<String>), Trouble> {
        match place {
            Place::Folder(_) => Err(Trouble::Wrong("a folder is no shared store".to_owned())),
            Place::Bucket(url) => {
                let (variables, notes) = variables::of(url.scheme()).map_err(Trouble::Wrong)?;
                let store = bucket::BucketStore::open(url, variables, patience).map_err(Trouble::Unusable)?;
                Ok((Arc::new(store), notes))
            }
            Place::Redis(url) => {
                let store = redis::RedisStore::open(url, patience).map_err(Trouble::Unusable)?;
                Ok((Arc::new(store), Vec::new()))
            }
        }
    };
    caught(open).unwrap_or_else(|panic| Err(Trouble::Unusable(internal(&panic))))
}

/// Asks a store; a panic of the code that speaks with it is an error like others.
///
/// # Errors
/// Those of `ask`, and panics.
fn guarded<T>(ask: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    caught(ask).unwrap_or_else(|panic| Err(internal(&panic)))
}

/// A time for people.
fn seconds(time: Duration) -> String {
    match time.subsec_millis() {
        0 => format!("{} s", time.as_secs()),
        _ => format!("{:.1} s", time.as_secs_f64()),
    }
}

fn internal(panic: &str) -> String {
    format!("internal error: {panic}")
}

/// An entry that waits to be sent.
type Waiting = (String, Bytes);

/// A far store, and what came of asking it.
struct Asked {
    far: Arc<dyn Far>,
    patience: Patience,
    trouble: Mutex<Option<String>>,
    /// How long slow answers took in all, in milliseconds.
    slow: AtomicU64,
    /// How many bytes wait to be sent.
    waiting: AtomicUsize,
}

impl Asked {
    /// The answer, unless there is trouble, or was before.
    fn ask<T>(&self, question: impl FnOnce(&dyn Far) -> Result<T, String>) -> Option<T> {
        if lock(&self.trouble).is_some() {
            return None;
        }
        let turn = self.far.turn();
        let start = Instant::now();
        let answer = guarded(|| question(&*self.far));
        let took = start.elapsed();
        drop(turn);
        if let Err(why) = &answer {
            lock(&self.trouble).get_or_insert_with(|| why.clone());
        }
        if took > self.patience.slow {
            let took = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
            let slow = Duration::from_millis(self.slow.fetch_add(took, Ordering::Relaxed).saturating_add(took));
            if slow > self.patience.in_all {
                lock(&self.trouble).get_or_insert(format!("its slow answers have taken {}", seconds(slow)));
            }
        }
        answer.ok()
    }
}

/// A far store with a near one before it. What is kept is sent while other work goes on.
pub(super) struct SharedStore {
    near: MemoryStore,
    asked: Arc<Asked>,
    loading: Arc<Gate>,
    /// The folder of the entries, and the place for people.
    folder: String,
    place: String,
    sender: Mutex<Option<Sender<Waiting>>>,
    sending: Mutex<Option<JoinHandle<()>>>,
}

impl SharedStore {
    /// The entries of a far store, those in `folder` there.
    pub(super) fn new(far: Arc<dyn Far>, folder: String, place: &Place, timeout: Option<Duration>) -> Self {
        let (sender, waiting) = channel::<Waiting>();
        let patience = Patience::new(timeout);
        let asked =
            Asked { far, patience, trouble: Mutex::default(), slow: AtomicU64::new(0), waiting: AtomicUsize::new(0) };
        let asked = Arc::new(asked);
        let to = Arc::clone(&asked);
        let send = move || {
            for (name, bytes) in waiting {
                let length = bytes.len();
                to.ask(|far| far.put(&name, bytes));
                to.waiting.fetch_sub(length, Ordering::Relaxed);
            }
        };
        let sending = thread::Builder::new().name("cache".to_owned()).spawn(send).ok();
        Self {
            near: MemoryStore::new(SHARED),
            asked,
            loading: Gate::new(2 * LARGEST_STORED),
            folder,
            place: place.printable(),
            sender: Mutex::new(Some(sender)),
            sending: Mutex::new(sending),
        }
    }

    /// The name of an entry where those of all formats are together.
    fn far_name(&self, name: &str) -> String {
        format!("{}/{name}", self.folder)
    }

    /// Waits until everything is sent.
    fn end(&self) {
        drop(lock(&self.sender).take());
        if let Some(sending) = lock(&self.sending).take() {
            drop(sending.join());
        }
    }
}

impl Store for SharedStore {
    fn get(&self, name: &str) -> Option<Loaded> {
        if let Some(found) = self.near.get(name) {
            return Some(found);
        }
        let found = self.asked.ask(|far| far.get(&self.far_name(name), &self.loading))??;
        self.near.put(name, found.bytes.clone());
        Some(found)
    }

    fn put(&self, name: &str, bytes: Bytes) {
        self.near.put(name, bytes.clone());
        let length = bytes.len();
        let fits = |waiting: usize| waiting.checked_add(length).filter(|sum| *sum <= WAITING);
        if self.asked.waiting.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).is_err() {
            return;
        }
        if let Some(sender) = &*lock(&self.sender) {
            // Without a thread that sends nothing is sent.
            drop(sender.send((self.far_name(name), bytes)));
        }
    }

    fn finish(&self) -> Vec<String> {
        self.end();
        let trouble = lock(&self.asked.trouble).clone();
        trouble.map(|why| format!("the cache {} is of no use: {why}", self.place)).into_iter().collect()
    }
}

impl Drop for SharedStore {
    fn drop(&mut self) {
        self.end();
    }
}
