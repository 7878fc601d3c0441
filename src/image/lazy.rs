//! Layers of which only a part is fetched: their table of contents, and then the files that somebody asks for.

use std::io::{BufRead, BufReader, Read};
use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use super::read::{ReadOptions, fill, lock};
use super::{Error, ErrorKind, Layer, Result, Source};
use crate::digest::{Algorithm, Digest, Hasher};
use crate::layer::allowance::{Working, within};
use crate::layer::decompress::{self, CHUNK};
use crate::layer::{Detail, Extent, FileScanner, LayerIndex};

/// What is not wanted between two files is fetched with them up to this size, in bytes: asking twice takes longer.
const GAP: u64 = 128 << 10;
/// Files are fetched together up to this size, in bytes; it is kept in memory.
const TOGETHER: u64 = 2 << 20;

/// The index of a layer by its table of contents, without the content of files; nothing if it has no table, or
/// not the one that the manifest names.
pub(super) fn open(source: &dyn Source, layer: &Layer) -> Option<LayerIndex> {
    let toc = layer.toc.as_ref()?;
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
/// A file cannot be fetched, or is not what the table says; or there is no room for what is kept, which is then left out
/// in the order of the layer, not of the asking.
pub(super) fn complete(
    source: &dyn Source,
    layer: &Layer,
    index: &mut LayerIndex,
    wanted: &[u32],
    options: ReadOptions<'_>,
) -> Result<()> {
    let missing = || Error::broken("a file is not in the table of contents");
    let extents: Option<Vec<&Extent>> = wanted.iter().map(|&number| index.extent(number)).collect();
    let parts = parts(groups(extents.ok_or_else(missing)?, layer.bytes)?);
    let (next, found, failure) = (AtomicUsize::new(0), Mutex::new(Vec::new()), Mutex::new(None));
    let room = AtomicUsize::new(index.room());
    let work = || {
        while let Some(part) = parts.get(next.fetch_add(1, Ordering::Relaxed)) {
            match fetched(source, layer, index, part, &room) {
                Ok(details) => lock(&found).extend(details),
                Err(error) => {
                    next.store(parts.len(), Ordering::Relaxed);
                    *lock(&failure) = Some(error);
                }
            }
        }
    };
    thread::scope(|scope| {
        for _ in 1..options.jobs.min(parts.len()) {
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
    let (filled, drawn) = within(options.budget, || index.fill(found));
    index.occupy(drawn);
    filled.map_err(|error| Error::new(ErrorKind::TooMuch, error.to_string()))
}

/// Files that are decompressed from the same place on, in their order, and where they lie in the layer as stored.
struct Group<'a> {
    place: Range<u64>,
    files: Vec<&'a Extent>,
}

/// What is fetched in one go.
struct Part<'a> {
    place: Range<u64>,
    groups: Vec<Group<'a>>,
}

fn groups(mut extents: Vec<&Extent>, bytes: u64) -> Result<Vec<Group<'_>>> {
    extents.sort_unstable_by_key(|extent| (extent.start, extent.skip));
    let mut groups: Vec<Group<'_>> = Vec::new();
    for extent in extents {
        if extent.start >= extent.end || extent.end > bytes {
            return Err(Error::broken("its table of contents leads out of the layer"));
        }
        match groups.last_mut() {
            Some(group) if group.place.start == extent.start => {
                group.place.end = group.place.end.max(extent.end);
                group.files.push(extent);
            }
            _ => groups.push(Group { place: extent.start..extent.end, files: vec![extent] }),
        }
    }
    // The end of a large file and the small ones behind it may be compressed together. Only a table that lies has groups
    // that overlap more.
    let sum = groups.iter().fold(0_u64, |sum, group| sum.saturating_add(group.place.end - group.place.start));
    if sum > bytes.saturating_mul(2) {
        return Err(Error::broken("its table of contents has more than the layer"));
    }
    Ok(groups)
}

/// Puts together what lies close to each other. Large groups are alone.
fn parts(groups: Vec<Group<'_>>) -> Vec<Part<'_>> {
    let mut parts: Vec<Part<'_>> = Vec::new();
    for group in groups {
        let (start, end) = (group.place.start, group.place.end);
        match parts.last_mut() {
            Some(Part { place, groups })
                if start <= place.end.saturating_add(GAP) && end.max(place.end) - place.start <= TOGETHER =>
            {
                place.end = place.end.max(end);
                groups.push(group);
            }
            _ => parts.push(Part { place: start..end, groups: vec![group] }),
        }
    }
    parts
}

/// What is kept of a file, by the number of its entry.
type Found = (u32, Option<Detail>);

fn fetched(
    source: &dyn Source,
    layer: &Layer,
    index: &LayerIndex,
    part: &Part<'_>,
    room: &AtomicUsize,
) -> Result<Vec<Found>> {
    let mut stream = source.open_part(layer, part.place.clone())?;
    let mut found = Vec::new();
    if let [group] = &part.groups[..] {
        read_files(index, group, BufReader::with_capacity(CHUNK, stream), room, &mut found)?;
        return Ok(found);
    }
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).map_err(|error| Error::from_io("a part of the layer", error))?;
    for group in &part.groups {
        // Within the part, which is at most TOGETHER long.
        let (from, to) =
            ((group.place.start - part.place.start) as usize, (group.place.end - part.place.start) as usize);
        read_files(index, group, bytes.get(from..to).unwrap_or_default(), room, &mut found)?;
    }
    Ok(found)
}

/// Reads the files of a group from its bytes as stored.
fn read_files(
    index: &LayerIndex,
    group: &Group<'_>,
    stored: impl BufRead + Send,
    room: &AtomicUsize,
    found: &mut Vec<Found>,
) -> Result<()> {
    let broken = |error: std::io::Error| Error::from_io("a file of the layer", error);
    let (_, mut content) = decompress::open_buffered(stored, Working::begin()).map_err(broken)?;
    let (mut scanner, mut buffer, mut at) = (FileScanner::default(), vec![0; CHUNK], 0_u64);
    for extent in &group.files {
        let (path, size) = index.file(extent.entry).unwrap_or_default();
        let between = extent.skip.checked_sub(at);
        let between = between.ok_or_else(|| Error::broken("its table of contents has files that overlap"))?;
        std::io::copy(&mut content.by_ref().take(between), &mut std::io::sink()).map_err(broken)?;
        at = extent.skip.saturating_add(size);
        scanner.start(path, size);
        let (digest, bytes) = read_file(&mut content.by_ref().take(size), &mut scanner, &mut buffer).map_err(broken)?;
        let wanted: String = extent.sha256.iter().map(|byte| format!("{byte:02x}")).collect();
        if digest.hex() != wanted || bytes != size {
            return Err(Error::broken("a file is not what its table of contents says"));
        }
        let detail = scanner.finish();
        let weight = detail.as_ref().map_or(0, Detail::weight);
        let take = |room: usize| room.checked_sub(weight);
        if room.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_err() {
            return Err(Error::broken("it has more than is kept of the files of a layer"));
        }
        found.push((extent.entry, detail));
    }
    Ok(())
}

/// Has a file scanned; gives its digest and size.
fn read_file(content: &mut dyn Read, scanner: &mut FileScanner, buffer: &mut [u8]) -> std::io::Result<(Digest, u64)> {
    let (mut hasher, mut bytes, mut wants_more) = (Hasher::new(Algorithm::Sha256), 0, true);
    loop {
        let count = fill(content, buffer)?;
        if count == 0 {
            return Ok((hasher.finish(), bytes));
        }
        bytes += count as u64;
        hasher.update(&buffer[..count]);
        wants_more = wants_more && scanner.push(&buffer[..count]);
    }
}
