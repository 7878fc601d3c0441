//! From layers to their indexes: several at a time, each fetched, verified, decompressed and indexed in one pass.

use std::collections::BTreeSet;
use std::io::{self, BufRead, Read};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use super::{Error, ErrorKind, Image, Layer, LayerBytes, Result, Source, SourceKind, lazy};
use crate::cache::{Cache, StoredLayer};
use crate::digest::{Algorithm, Digest, Hasher, HashingReader};
use crate::layer::allowance::{Budget, Working, within};
use crate::layer::decompress::{self, CHUNK, Compression};
use crate::layer::unpacked::Unpacked;
use crate::layer::{self, LayerIndex, TocHint, TooLarge, scan_until};

/// How layers are read.
#[derive(Clone, Copy)]
pub struct ReadOptions<'a> {
    /// How many at a time, at most.
    pub jobs: usize,
    /// What was read before. Layers that lie on this machine are hashed all the same, which takes a sixth of reading them.
    pub cache: Option<&'a Cache>,
    /// How much of each is read.
    pub depth: Depth,
    /// Who is told how far it is.
    pub progress: Option<&'a dyn Progress>,
    /// What the indexes of all layers may take.
    pub budget: &'a Arc<Budget>,
}

/// How much of a layer is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// What is asked for ([`complete`]), if the layer has a table of contents and its place gives parts; else all.
    Asked,
    /// All. The digest of its bytes as stored proves them, if there is one: the manifest names it, so the content is what
    /// was pushed, and hashing it a second time, uncompressed, would take longer than all other work but decompressing. A
    /// layer without such a digest is proven by its DiffID.
    Whole,
    /// All, and it has the DiffID that the configuration names, which engines verify when they pull.
    Verified,
}

impl Depth {
    fn is_reached(self, index: &LayerIndex) -> bool {
        match self {
            Self::Asked => true,
            Self::Whole => !index.is_part(),
            Self::Verified => index.diff_id.is_some(),
        }
    }

    fn needs_diff_id(self, layer: &Layer) -> bool {
        self == Self::Verified || layer.digest.is_none()
    }
}

/// Is told how far reading is, from several threads.
pub trait Progress: Sync {
    /// So many bytes of a layer, as stored, have come.
    fn bytes(&self, count: u64);
    /// A layer is known, read or kept from before.
    fn layer_ends(&self, layer: &Layer);
}

/// How many chunks may wait between fetching and decompressing a layer.
const WAITING: usize = 4;

/// Reads all layers of an image, the largest first. The order of the result is that of the image.
///
/// # Errors
/// The first layer that cannot be had or is not what its digests say; the others are then abandoned.
pub fn layers(source: &dyn Source, image: &Image, options: ReadOptions<'_>) -> Result<Vec<Arc<LayerIndex>>> {
    let read: Vec<_> = chosen(source, image, &|_| true, options)?.into_iter().flatten().collect();
    if image.platform.os != "windows" && source.kind() != SourceKind::Rootfs {
        image.layers.iter().zip(&read).try_for_each(|(layer, index)| not_refused(layer, index))?;
    }
    let digests: Option<Vec<Digest>> = image.layers.iter().map(|layer| layer.digest.clone()).collect();
    let proven = options.cache.zip(image.config_digest.as_ref()).zip(digests);
    if let Some(((cache, configuration), digests)) = proven.filter(|_| source.kind() == SourceKind::Registry) {
        cache.keep_layers_of(configuration, &digests);
    }
    Ok(read)
}

/// A layer that engines unpack on Linux.
fn not_refused(layer: &Layer, index: &LayerIndex) -> Result<()> {
    index.refused().map_or(Ok(()), |why| Err(Error::broken(format!("{}: {why}", name(layer)))))
}

/// As [`layers`], but only the layers that `is_chosen`; in their places, nothing in those of the others.
///
/// # Errors
/// As [`layers`].
pub fn chosen(
    source: &dyn Source,
    image: &Image,
    is_chosen: &dyn Fn(&Layer) -> bool,
    options: ReadOptions<'_>,
) -> Result<Vec<Option<Arc<LayerIndex>>>> {
    let mut order: Vec<&Layer> = image.layers.iter().filter(|layer| is_chosen(layer)).collect();
    order.sort_by_key(|layer| std::cmp::Reverse(layer.bytes));
    let done: Vec<Mutex<Option<Arc<LayerIndex>>>> = image.layers.iter().map(|_| Mutex::new(None)).collect();
    let (next, stop, failure) = (AtomicUsize::new(0), AtomicBool::new(false), Mutex::new(None));
    let unpacked = Unpacked::default();
    let work = || {
        while let Some(layer) = order.get(next.fetch_add(1, Ordering::Relaxed)) {
            match read_layer(source, layer, options, &stop, &unpacked) {
                Ok(index) => {
                    if let Some(progress) = options.progress {
                        progress.layer_ends(layer);
                    }
                    *lock(&done[layer.index]) = Some(index);
                }
                Err(error) => {
                    // The first failure stops the others; what they then say is only its echo.
                    if !stop.swap(true, Ordering::Relaxed) {
                        *lock(&failure) = Some(error);
                    }
                    return;
                }
            }
        }
    };
    thread::scope(|scope| {
        for _ in 1..options.jobs.min(order.len()) {
            scope.spawn(work);
        }
        work();
    });
    if let Some(error) = lock(&failure).take() {
        return Err(error);
    }
    Ok(done.iter().map(|slot| lock(slot).take()).collect())
}

/// Fetches content that was left where it is: for the layers of these numbers that of the entries of these numbers.
/// A layer that cannot be had so is read whole.
///
/// # Errors
/// As [`layers`].
pub fn complete(
    source: &dyn Source,
    image: &Image,
    indexes: &mut [Arc<LayerIndex>],
    unread: &[(usize, Vec<u32>)],
    options: ReadOptions<'_>,
) -> Result<()> {
    let mut failed = BTreeSet::new();
    for (number, wanted) in unread {
        let (Some(layer), Some(index)) = (image.layers.get(*number), indexes.get_mut(*number)) else { continue };
        match lazy::complete(source, layer, Arc::make_mut(index), wanted, options) {
            Err(_) => drop(failed.insert(*number)),
            Ok(()) => {
                if let Some((cache, stored)) = options.cache.zip(stored(source, layer)) {
                    cache.keep_layer(stored, index);
                }
            }
        }
    }
    let options = ReadOptions { depth: Depth::Whole, ..options };
    let whole = chosen(source, image, &|layer| failed.contains(&layer.index), options)?;
    for (index, whole) in indexes.iter_mut().zip(whole) {
        *index = whole.unwrap_or_else(|| Arc::clone(index));
    }
    Ok(())
}

/// Reads one layer until `enough`, called with the path of each member, says so. The second part of the result is
/// whether all was read: only then could digest and DiffID be verified.
///
/// # Errors
/// The layer cannot be had, or is not what its digests say as far as it was read.
pub fn layer_until(
    source: &dyn Source,
    layer: &Layer,
    options: ReadOptions<'_>,
    enough: &mut (dyn FnMut(&str) -> bool + Send),
) -> Result<(Arc<LayerIndex>, bool)> {
    match source.open_layer(layer)? {
        LayerBytes::Indexed(index) => verified(layer, index, options.depth).map(|index| (index, true)),
        LayerBytes::Stream(stream) => stream_until(stream, layer, options, enough),
    }
}

/// As [`layer_until`], of a stream that was opened before.
///
/// # Errors
/// As [`layer_until`].
pub fn stream_until(
    stream: Box<dyn Read + Send>,
    layer: &Layer,
    options: ReadOptions<'_>,
    enough: &mut (dyn FnMut(&str) -> bool + Send),
) -> Result<(Arc<LayerIndex>, bool)> {
    let watched = Watched { stream, stop: &AtomicBool::new(false), progress: None };
    let (index, is_whole) = index(layer, watched, options, &Unpacked::default(), Working::begin(), enough)?;
    let index = Arc::new(index);
    Ok(if is_whole { (verified(layer, index, options.depth)?, true) } else { (index, false) })
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn read_layer(
    source: &dyn Source,
    layer: &Layer,
    options: ReadOptions<'_>,
    stop: &AtomicBool,
    unpacked: &Unpacked,
) -> Result<Arc<LayerIndex>> {
    let watched = |stream| Watched { stream, stop, progress: options.progress };
    let whole =
        |stream, working| Ok(Arc::new(index(layer, watched(stream), options, unpacked, working, &mut |_| false)?.0));
    let known_or = |read: &mut dyn FnMut() -> Result<Arc<LayerIndex>>| match options.cache.zip(stored(source, layer)) {
        Some((cache, stored)) => cache.layer(stored, |index| options.depth.is_reached(index), read),
        None => read(),
    };
    let index = if source.kind() == SourceKind::Registry {
        let part = || if options.depth == Depth::Asked { lazy::open(source, layer).map(Arc::new) } else { None };
        known_or(&mut || match part() {
            Some(part) => Ok(part),
            None => {
                // Waited for before there is a connection, which would not wait.
                let working = Working::begin();
                match source.open_layer(layer)? {
                    LayerBytes::Indexed(index) => Ok(index),
                    LayerBytes::Stream(stream) => whole(stream, working),
                }
            }
        })?
    } else {
        match source.open_layer(layer)? {
            LayerBytes::Indexed(index) => index,
            LayerBytes::Stream(stream) => {
                // Nobody vouches for what lies on this machine: it is hashed even if its index is known.
                let mut unread = Some(stream);
                let index = known_or(&mut || match unread.take() {
                    Some(stream) => whole(stream, Working::begin()),
                    None => Err(Error::broken("read twice")),
                })?;
                if let Some(stream) = unread {
                    prove(layer, watched(stream))?;
                }
                index
            }
        }
    };
    verified(layer, index, options.depth)
}

/// What the index of a layer is kept by, if anything proves it. What lies on this machine is never read in part.
fn stored<'a>(source: &dyn Source, layer: &'a Layer) -> Option<StoredLayer<'a>> {
    let table = layer.toc.as_ref().filter(|_| source.kind() == SourceKind::Registry).map(TocHint::digest);
    layer.digest.as_ref().map(|digest| StoredLayer { digest, bytes: layer.bytes, table })
}

/// The index of a layer, if its content is what the configuration says, as far as `depth` asks for that: what others asked
/// for and was kept makes no difference.
///
/// # Errors
/// It is something else.
pub fn verified(layer: &Layer, index: Arc<LayerIndex>, depth: Depth) -> Result<Arc<LayerIndex>> {
    match (&layer.diff_id, &index.diff_id) {
        (Some(wanted), Some(actual)) if is_held_to_diff_id(layer, &index, depth) && wanted != actual => {
            Err(Error::broken(format!(
                "{}: its content has the DiffID {actual}, but the configuration says {wanted}",
                name(layer)
            )))
        }
        (Some(_), None) if depth == Depth::Verified => {
            Err(Error::broken(format!("{}: the DiffID of its content is not known", name(layer))))
        }
        _ => Ok(index),
    }
}

/// The index of a layer, which takes its memory from the run's budget.
fn index(
    layer: &Layer,
    watched: Watched<'_>,
    options: ReadOptions<'_>,
    unpacked: &Unpacked,
    working: Working,
    enough: &mut (dyn FnMut(&str) -> bool + Send),
) -> Result<(LayerIndex, bool)> {
    let (result, drawn) = within(options.budget, || scanned(layer, watched, options.depth, unpacked, working, enough));
    result.map(|(index, is_whole)| (index.occupying(drawn), is_whole))
}

/// Whether the DiffID of a layer that was read counts: it was asked for, or is there for nothing, as that of a layer that is
/// stored uncompressed.
#[must_use]
pub fn is_held_to_diff_id(layer: &Layer, index: &LayerIndex, depth: Depth) -> bool {
    depth.needs_diff_id(layer) || (index.diff_id.is_some() && index.diff_id == layer.digest)
}

/// Fetching and hashing run on a thread of their own, decompressing and indexing here.
fn scanned(
    layer: &Layer,
    watched: Watched<'_>,
    depth: Depth,
    unpacked: &Unpacked,
    working: Working,
    enough: &mut (dyn FnMut(&str) -> bool + Send),
) -> Result<(LayerIndex, bool)> {
    thread::scope(|scope| {
        let (full, chunks) = sync_channel(WAITING);
        let (empty, buffers) = sync_channel(WAITING + 1);
        let algorithm = layer.digest.as_ref().map_or(Algorithm::Sha256, Digest::algorithm);
        let fetch = scope.spawn(move || fetch(unpacked.stored(watched), algorithm, &full, &buffers));
        let mut chunks = Chunks { chunks, empty, current: Vec::new(), at: 0, failure: None };
        let with_diff_id = depth.needs_diff_id(layer);
        let opened = decompress::open_buffered(&mut chunks, working);
        let result = opened.map_err(layer::Error::Read).and_then(|(compression, tar)| {
            let tar = unpacked.bounded(tar, compression.cost());
            let (mut index, is_whole) = scan_until(tar, with_diff_id, unpacked, enough)?;
            let digest = layer.digest.as_ref().filter(|digest| digest.algorithm() == Algorithm::Sha256);
            if compression == Compression::None && is_whole && index.diff_id.is_none() {
                // What is stored is the tar itself.
                index.diff_id = digest.cloned();
            }
            Ok((index, is_whole))
        });
        let said = |error: &layer::Error| {
            let kind = match error {
                layer::Error::TooLarge(TooLarge::Memory(_)) => ErrorKind::TooMuch,
                _ => ErrorKind::Broken,
            };
            Error::new(kind, format!("{}: {error}", name(layer)))
        };
        if let Ok((_, false)) = result {
            // Nobody listens to the fetching thread any more, which ends it.
            drop(chunks);
            return result.map_err(|error| said(&error));
        }
        // What a decoder leaves behind still counts for the digest; and a wrong digest explains a broken stream.
        let rest = decompress::drain(&mut chunks).map_err(layer::Error::Read);
        let failure = chunks.failure.take();
        drop(chunks);
        let fetched = fetch.join().map_err(|_| Error::broken(format!("{}: reading it failed", name(layer))))?;
        if let Some(failure) = failure {
            return Err(Error::from_io(&name(layer), failure));
        }
        if let Some((digest, bytes)) = fetched {
            verify(layer, &digest, bytes)?;
        }
        let index = result.map_err(|error| said(&error))?;
        rest.map_err(|error| said(&error))?;
        Ok(index)
    })
}

/// Holds a layer whose index is known against its digest.
fn prove(layer: &Layer, watched: Watched<'_>) -> Result<()> {
    let algorithm = layer.digest.as_ref().map_or(Algorithm::Sha256, Digest::algorithm);
    let mut stream = HashingReader::new(watched, algorithm);
    decompress::drain(&mut stream).map_err(|error| Error::from_io(&name(layer), error))?;
    let (digest, bytes) = stream.finish();
    verify(layer, &digest, bytes)
}

fn verify(layer: &Layer, digest: &Digest, bytes: u64) -> Result<()> {
    match &layer.digest {
        Some(_) if bytes != layer.bytes => Err(Error::broken(format!(
            "{}: it has {bytes} bytes, not the {} of its manifest",
            name(layer),
            layer.bytes
        ))),
        Some(wanted) if wanted != digest => {
            Err(Error::broken(format!("{}: its content has the digest {digest}", name(layer))))
        }
        _ => Ok(()),
    }
}

fn name(layer: &Layer) -> String {
    match layer.digest.as_ref().or(layer.diff_id.as_ref()) {
        Some(digest) => format!("layer {} ({digest})", layer.index),
        None => format!("layer {}", layer.index),
    }
}

/// A stream, who may stop it, and who is told of it.
struct Watched<'a> {
    stream: Box<dyn Read + Send>,
    stop: &'a AtomicBool,
    progress: Option<&'a dyn Progress>,
}

impl Read for Watched<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.stop.load(Ordering::Relaxed) {
            return Err(io::Error::other("abandoned because another layer failed"));
        }
        let count = self.stream.read(buffer)?;
        if let Some(progress) = self.progress {
            progress.bytes(count as u64);
        }
        Ok(count)
    }
}

type Chunk = io::Result<Vec<u8>>;

/// Reads the stream to its end; gives its digest and size, unless it failed or nobody listens any more.
fn fetch(
    mut watched: impl Read,
    algorithm: Algorithm,
    full: &SyncSender<Chunk>,
    buffers: &Receiver<Vec<u8>>,
) -> Option<(Digest, u64)> {
    let mut hasher = Hasher::new(algorithm);
    let mut bytes = 0;
    loop {
        let mut buffer = buffers.try_recv().unwrap_or_default();
        buffer.resize(CHUNK, 0);
        match fill(&mut watched, &mut buffer) {
            Ok(0) => return Some((hasher.finish(), bytes)),
            Ok(count) => {
                buffer.truncate(count);
                hasher.update(&buffer);
                bytes += count as u64;
                full.send(Ok(buffer)).ok()?;
            }
            Err(error) => {
                full.send(Err(error)).ok()?;
                return None;
            }
        }
    }
}

/// Reads until the buffer is full or the stream ends, so that few chunks change hands.
pub(super) fn fill(stream: &mut dyn Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match stream.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// The chunks of the fetching thread as a stream. An error of that thread is kept apart from what a decoder makes of it.
struct Chunks {
    chunks: Receiver<Chunk>,
    empty: SyncSender<Vec<u8>>,
    current: Vec<u8>,
    at: usize,
    failure: Option<io::Error>,
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
        if self.failure.is_some() {
            return Err(io::Error::other("the layer could not be fetched"));
        }
        while self.at == self.current.len() {
            match self.chunks.recv() {
                Ok(Ok(chunk)) => {
                    let used = std::mem::replace(&mut self.current, chunk);
                    self.at = 0;
                    // A full channel only means that the buffer is not needed again.
                    drop(self.empty.try_send(used));
                }
                Ok(Err(error)) => {
                    self.failure = Some(error);
                    return Err(io::Error::other("the layer could not be fetched"));
                }
                Err(_) => return Ok(&[]),
            }
        }
        Ok(&self.current[self.at..])
    }

    fn consume(&mut self, count: usize) {
        self.at += count;
    }
}
