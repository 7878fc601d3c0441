//! The floor that reading a layout is measured against: reads, hashes, inflates and throws away, and does nothing else.
//!
//! `bare LAYOUT`, with as many threads as imglint takes: layers in parallel, and of each the hash on one thread and the
//! rest on another. It looks at no file, so a program that answers questions can only be slower.

use std::fs::{self, File};
use std::io::{self, BufRead, Read};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use imglint::digest::{Algorithm, Hasher};
use imglint::layer::allowance::Working;
use imglint::layer::decompress::{self, CHUNK};
use serde_json::Value;

fn main() {
    let layout = PathBuf::from(std::env::args().nth(1).expect("usage: bare LAYOUT"));
    let blob = |entry: &Value| layout.join("blobs").join(entry["digest"].as_str().unwrap().replace(':', "/"));
    let json = |path: &Path| -> Value { serde_json::from_slice(&fs::read(path).unwrap()).unwrap() };
    let manifest = json(&blob(&json(&layout.join("index.json"))["manifests"][0]));
    let mut layers = manifest["layers"].as_array().unwrap().clone();
    layers.sort_by_key(|layer| std::cmp::Reverse(layer["size"].as_u64()));
    let jobs = thread::available_parallelism().map_or(2, usize::from).clamp(2, 4);
    let (next, bytes) = (AtomicUsize::new(0), AtomicUsize::new(0));
    thread::scope(|scope| {
        for _ in 0..jobs.min(layers.len()) {
            scope.spawn(|| {
                while let Some(layer) = layers.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let (digest, count) = read(&blob(layer));
                    assert_eq!(Some(digest.as_str()), layer["digest"].as_str());
                    bytes.fetch_add(count as usize, Ordering::Relaxed);
                }
            });
        }
    });
    println!("{} layers, {} bytes", layers.len(), bytes.into_inner());
}

/// The digest of a layer as stored, and how many bytes it has uncompressed.
fn read(layer: &Path) -> (String, u64) {
    let mut file = File::open(layer).unwrap();
    thread::scope(|scope| {
        let (full, chunks) = sync_channel(4);
        let (empty, buffers) = sync_channel(5);
        let hashed = scope.spawn(move || hash(&mut file, &full, &buffers));
        let mut inflated =
            decompress::open_buffered(Chunks { chunks, empty, current: Vec::new(), at: 0 }, Working::begin())
                .unwrap()
                .1;
        let (mut buffer, mut count) = (vec![0; CHUNK], 0);
        loop {
            match inflated.read(&mut buffer).unwrap() {
                0 => break,
                more => count += more as u64,
            }
        }
        drop(inflated);
        (hashed.join().unwrap(), count)
    })
}

fn hash(file: &mut File, full: &SyncSender<Vec<u8>>, buffers: &Receiver<Vec<u8>>) -> String {
    let mut hasher = Hasher::new(Algorithm::Sha256);
    loop {
        let mut buffer = buffers.try_recv().unwrap_or_default();
        buffer.resize(CHUNK, 0);
        let count = file.read(&mut buffer).unwrap();
        if count == 0 {
            return hasher.finish().to_string();
        }
        buffer.truncate(count);
        hasher.update(&buffer);
        full.send(buffer).unwrap();
    }
}

struct Chunks {
    chunks: Receiver<Vec<u8>>,
    empty: SyncSender<Vec<u8>>,
    current: Vec<u8>,
    at: usize,
}

impl Read for Chunks {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.fill_buf()?.read(buffer)?;
        self.consume(count);
        Ok(count)
    }
}

impl BufRead for Chunks {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.at == self.current.len() {
            let Ok(next) = self.chunks.recv() else { return Ok(&[]) };
            let _ = self.empty.try_send(std::mem::replace(&mut self.current, next));
            self.at = 0;
        }
        Ok(&self.current[self.at..])
    }

    fn consume(&mut self, count: usize) {
        self.at += count;
    }
}
