//! Counts what reading a layer allocates at its peak: it does not grow with the size of what nobody asks for.
mod support;

use std::io::Read;
use std::sync::{Mutex, MutexGuard, PoisonError};

use imglint::layer::decompress;
use imglint::layer::unpacked::Unpacked;
use imglint::layer::{LayerIndex, scan_until};
use peak_alloc::PeakAlloc;
use support::image::gzip;
use support::tars::{Member, header};

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

/// What tests count is the whole process's.
static ALONE: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What `work` gives, and how many bytes more than before it had allocated at its peak.
fn peak<T>(work: impl FnOnce() -> T) -> (T, usize) {
    let before = ALLOCATOR.current_usage();
    ALLOCATOR.reset_peak_usage();
    let result = work();
    (result, ALLOCATOR.peak_usage().saturating_sub(before))
}

fn index(stream: impl Read) -> LayerIndex {
    scan_until(stream, false, &Unpacked::default(), |_| false).unwrap().0
}

/// Files one after the other, made while they are read.
struct Files<F> {
    next: F,
    current: Vec<u8>,
    zeros: u64,
    at: usize,
}

impl<F: FnMut() -> Option<(Vec<u8>, u64)>> Read for Files<F> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if self.at < self.current.len() {
            let count = (&self.current[self.at..]).read(buffer)?;
            self.at += count;
            return Ok(count);
        }
        if self.zeros > 0 {
            let count = buffer.len().min(self.zeros as usize);
            buffer[..count].fill(0);
            self.zeros -= count as u64;
            return Ok(count);
        }
        let Some((bytes, zeros)) = (self.next)() else { return Ok(0) };
        (self.current, self.zeros, self.at) = (bytes, zeros, 0);
        self.read(buffer)
    }
}

/// A tar of so many files of zeros, each of so many bytes, each made an ELF file if `is_elf`.
fn files(count: u64, size: u64, is_elf: bool) -> impl Read {
    let mut number = 0;
    let next = move || {
        number += 1;
        (number <= count).then(|| {
            let mut bytes = header(format!("usr/lib/{number}").as_bytes(), b'0', size, 0o755, b"").to_vec();
            let elf = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0";
            bytes.extend_from_slice(if is_elf { elf } else { &[0; 16] });
            (bytes, size - 16)
        })
    };
    Files { next, current: Vec::new(), zeros: 0, at: 0 }
}

#[test]
fn large_files_are_not_kept() {
    let _alone = alone();
    let (few, of_few) = peak(|| index(files(4, 1 << 20, false)));
    let (many, of_many) = peak(|| index(files(512, 1 << 20, false)));
    assert_eq!((few.len(), many.len()), (4, 512));
    // The index itself is the difference.
    assert!(of_many < of_few + (256 << 10), "{of_few} and {of_many} bytes");
    assert!(of_many < 2 << 20, "{of_many} bytes");
}

#[test]
fn of_programs_only_some_is_looked_at() {
    let _alone = alone();
    let (_, small) = peak(|| index(files(4, 32 << 20, true)));
    let (_, large) = peak(|| index(files(4, 256 << 20, true)));
    assert!(large < small + (1 << 20), "{small} and {large} bytes");
    assert!(large < 40 << 20, "{large} bytes");
}

#[test]
fn an_entry_takes_little_more_than_its_name() {
    let _alone = alone();
    let count = 100_000;
    let (index, bytes) = peak(|| index(files(count, 512, false)));
    assert_eq!(index.len() as u64, count);
    // A growing list is twice as long as it need be at worst, and is copied.
    assert!(bytes < 200 * count as usize + (2 << 20), "{bytes} bytes");
}

#[test]
fn decompressing_takes_the_same_for_any_length() {
    let _alone = alone();
    let stored: Vec<Vec<u8>> =
        [1, 64].map(|count| gzip(&Member::file("a", &vec![7; count << 20]).bytes())).into_iter().collect();
    let peaks: Vec<usize> = stored
        .iter()
        .map(|stored| {
            peak(|| {
                index(decompress::open_buffered(&stored[..], imglint::layer::allowance::Working::begin()).unwrap().1)
            })
            .1
        })
        .collect();
    assert!(peaks[1] < peaks[0] + (64 << 10), "{peaks:?}");
}

/// What somebody has put into a cache takes no more memory than is meant for entries, whatever it says of itself.
#[test]
fn a_forged_entry_takes_no_more_than_is_meant_for_entries() {
    use imglint::cache::{Cache, StoredLayer};
    use imglint::digest::Digest;
    use support::forged_entries as forged;

    let _alone = alone();
    let layer = Digest::of(b"layer");
    let stored = StoredLayer { digest: &layer, bytes: 1, table: None };
    let taken = |entry: Vec<u8>| {
        let folder = tempfile::tempdir().unwrap();
        forged::put(folder.path(), &forged::name(&layer), &entry);
        let cache = Cache::in_folder(folder.path().to_owned(), 1 << 20);
        drop(entry);
        let (found, bytes) = peak(|| cache.layer(stored, |_| true, || Err("absent")).map(|index| index.len()));
        (found.ok(), bytes)
    };
    let (found, bytes) = taken(forged::with_empty_names(&layer, 1, 1000));
    assert!(found == Some(1) && bytes < 1 << 20, "{found:?}, {bytes} bytes");
    // One byte each as stored, twenty-four here. The bytes themselves are what is unpacked.
    let (found, bytes) = taken(forged::with_empty_names(&layer, 1, 30_000_000));
    assert!(found.is_none() && bytes < 40 << 20, "{found:?}, {bytes} bytes");
    // A list that only says that it is long.
    let name = forged::name(&layer);
    let (found, bytes) = taken(forged::entry(&name, &[&[1, 0, 0][..], &[0xff; 9], &[1]].concat()));
    assert!(found.is_none() && bytes < 1 << 20, "{found:?}, {bytes} bytes");
    // An entry that only says that it is large, and one that is.
    for claimed in [1 << 30, u64::MAX] {
        let (found, bytes) = taken(forged::packed(&name, &[0; 1000], claimed));
        assert!(found.is_none() && bytes < 1 << 20, "{found:?}, {bytes} bytes");
    }
    let (found, bytes) = taken(vec![b'x'; 20 << 20]);
    assert!(found.is_none() && bytes < 1 << 20, "{found:?}, {bytes} bytes");
}
