//! Layers of which only a part is fetched: their table of contents, and then the files that somebody asks for.

use std::io::{BufRead, BufReader, Read};
use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use super::read::{fill, lock};
use super::{Error, Layer, Result, Source};
use crate::digest::{Algorithm, Hasher};
use crate::layer::decompress::{self, CHUNK};
use crate::layer::{Detail, Extent, FileScanner, LayerIndex};

/// Layers smaller than this are fetched whole, in bytes: asking several times takes longer.
const WORTH_IT: u64 = 4 << 20;
/// What is not wanted between two files is fetched with them up to this size, in bytes, for the same reason.
const GAP: u64 = 128 << 10;
/// Files are fetched together up to this size, in bytes; it is kept in memory.
const TOGETHER: u64 = 2 << 20;

/// The index of a layer by its table of contents, without the content of files; nothing if it has no table, is not
/// worth it, or the table is not what the manifest says.
pub(super) fn open(source: &dyn Source, layer: &Layer) -> Option<LayerIndex> {
    let toc = layer.toc.as_ref().filter(|_| layer.bytes >= WORTH_IT)?;
    let mut footer = Vec::new();
    if toc.footer() > 0 {
        let end = layer.bytes - toc.footer()..layer.bytes;
        source.open_part(layer, end).ok()?.read_to_end(&mut footer).ok()?;
    }
    let place = toc.place(layer.bytes, &footer)?;
    let table = source.open_part(layer, place.clone()).ok()?;
    toc.read(table, place.start).ok()
}

/// Fetches the content of files by the numbers of their entries, verifies it and puts what is kept of it into the
/// index.
///
/// # Errors
/// A file cannot be fetched, or is not what the table says.
pub(super) fn complete(
    source: &dyn Source,
    layer: &Layer,
    index: &mut LayerIndex,
    wanted: &[u32],
    jobs: usize,
) -> Result<()> {
    let missing = || Error::broken("a file is not in the table of contents");
    let extents: Option<Vec<&Extent>> = wanted.iter().map(|&number| index.extent(number)).collect();
    let mut extents = extents.ok_or_else(missing)?;
    extents.sort_unstable_by_key(|extent| (extent.start, extent.end));
    let parts = parts(&extents, layer.bytes)?;
    let (next, found, failure) = (AtomicUsize::new(0), Mutex::new(Vec::new()), Mutex::new(None));
    let work = || {
        while let Some((part, extents)) = parts.get(next.fetch_add(1, Ordering::Relaxed)) {
            match files(source, layer, index, part, extents) {
                Ok(details) => lock(&found).extend(details),
                Err(error) => {
                    next.store(parts.len(), Ordering::Relaxed);
                    *lock(&failure) = Some(error);
                }
            }
        }
    };
    thread::scope(|scope| {
        for _ in 1..jobs.min(parts.len()) {
            scope.spawn(work);
        }
        work();
    });
    if let Some(error) = lock(&failure).take() {
        return Err(error);
    }
    let mut found = std::mem::take(&mut *lock(&found));
    // Whatever order they came in.
    found.sort_unstable_by_key(|(number, _)| *number);
    index.fill(found);
    Ok(())
}

/// What is fetched in one go, and which files are in it.
type Part<'a> = (Range<u64>, Vec<&'a Extent>);

/// Groups of files that lie close to each other. Large ones are alone.
fn parts<'a>(extents: &[&'a Extent], bytes: u64) -> Result<Vec<Part<'a>>> {
    let mut parts: Vec<Part<'a>> = Vec::new();
    for extent in extents {
        if extent.start >= extent.end || extent.end > bytes {
            return Err(Error::broken("its table of contents leads out of the layer"));
        }
        match parts.last_mut() {
            Some((part, files))
                if extent.start <= part.end.saturating_add(GAP)
                    && extent.end.max(part.end) - part.start <= TOGETHER =>
            {
                part.end = part.end.max(extent.end);
                files.push(extent);
            }
            _ => parts.push((extent.start..extent.end, vec![extent])),
        }
    }
    // Only a table that lies has files that overlap so much.
    let sum = parts.iter().fold(0_u64, |sum, (part, _)| sum.saturating_add(part.end - part.start));
    if sum > bytes {
        return Err(Error::broken("its table of contents has more than the layer"));
    }
    Ok(parts)
}

fn files(
    source: &dyn Source,
    layer: &Layer,
    index: &LayerIndex,
    part: &Range<u64>,
    extents: &[&Extent],
) -> Result<Vec<(u32, Option<Detail>)>> {
    let mut stream = source.open_part(layer, part.clone())?;
    if let [extent] = extents {
        return Ok(vec![(extent.entry, file(index, extent, BufReader::with_capacity(CHUNK, stream))?)]);
    }
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).map_err(|error| Error::from_io("a part of the layer", error))?;
    let of_file = |extent: &&Extent| {
        // Within the part, which is at most TOGETHER long.
        let (from, to) = ((extent.start - part.start) as usize, (extent.end - part.start) as usize);
        let stored = bytes.get(from..to).unwrap_or_default();
        Ok((extent.entry, file(index, extent, stored)?))
    };
    extents.iter().map(of_file).collect()
}

/// What is kept of a file whose content is somewhere in these bytes as stored.
fn file(index: &LayerIndex, extent: &Extent, stored: impl BufRead + Send) -> Result<Option<Detail>> {
    let broken = |error: std::io::Error| Error::from_io("a file of the layer", error);
    let (path, size) = index.file(extent.entry).unwrap_or_default();
    let (_, mut content) = decompress::open_proven(stored).map_err(broken)?;
    std::io::copy(&mut content.by_ref().take(extent.skip), &mut std::io::sink()).map_err(broken)?;
    let mut content = content.take(size);
    let (mut scanner, mut hasher) = (FileScanner::default(), Hasher::new(Algorithm::Sha256));
    let (mut buffer, mut wants_more) = (vec![0; CHUNK], true);
    scanner.start(path, size);
    loop {
        let count = fill(&mut content, &mut buffer).map_err(broken)?;
        if count == 0 {
            break;
        }
        hasher.update(&buffer[..count]);
        wants_more = wants_more && scanner.push(&buffer[..count]);
    }
    let wanted: String = extent.sha256.iter().map(|byte| format!("{byte:02x}")).collect();
    if hasher.finish().hex() != wanted {
        return Err(Error::broken("a file is not what its table of contents says"));
    }
    Ok(scanner.finish())
}
