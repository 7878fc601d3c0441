//! Entries in memory, for the images of one run.

use std::collections::{HashMap, VecDeque};
use std::sync::Mutex;

use bytes::Bytes;

use super::{Loaded, Store, lock};

/// Entries up to a limit; the oldest goes first.
pub(super) struct MemoryStore {
    limit: usize,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    entries: HashMap<String, Bytes>,
    order: VecDeque<String>,
    bytes: usize,
}

impl MemoryStore {
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, kept: Mutex::default() }
    }
}

impl Store for MemoryStore {
    fn get(&self, name: &str) -> Option<Loaded> {
        let bytes = lock(&self.kept).entries.get(name).cloned()?;
        Some(Loaded { bytes, _pass: None })
    }

    fn put(&self, name: &str, bytes: Bytes) {
        let mut kept = lock(&self.kept);
        kept.bytes += bytes.len();
        match kept.entries.insert(name.to_owned(), bytes) {
            Some(before) => kept.bytes -= before.len(),
            None => kept.order.push_back(name.to_owned()),
        }
        while kept.bytes > self.limit {
            let Some(oldest) = kept.order.pop_front() else { break };
            kept.bytes -= kept.entries.remove(&oldest).map_or(0, |bytes| bytes.len());
        }
    }
}
