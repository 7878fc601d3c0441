//! The parts of an ELF file that its summary needs, picked out while the file streams past: bounded whatever its size.

use std::ops::Range;

use object::elf;
use object::read::elf::{FileHeader, ProgramHeader};
use object::{Endianness, ReadRef};

/// How much of the start of a file is kept, in bytes. Headers, symbol and string tables lie there.
const HEAD: u64 = 4 << 20;
/// The largest loadable segment behind [`HEAD`] that is kept, in bytes (patchelf moves the string table into a new one).
const SMALL_SEGMENT: u64 = 512 << 10;
/// How much is kept behind [`HEAD`] in all, in bytes.
const BUDGET: u64 = 2 << 20;

/// A file of which the start and some later ranges are kept. It reads like the whole file; what was not kept fails.
#[derive(Debug, Default)]
pub struct Capture {
    head: Vec<u8>,
    ranges: Vec<(Range<u64>, Vec<u8>)>,
    position: u64,
    size: u64,
}

impl Capture {
    /// Forgets the last file, keeps the memory, and starts on a file of `size` bytes.
    pub fn start(&mut self, size: u64) {
        self.head.clear();
        self.ranges.clear();
        self.position = 0;
        self.size = size;
    }

    /// Takes the next bytes of the file.
    pub fn push(&mut self, bytes: &[u8]) {
        let start = self.position;
        self.position += bytes.len() as u64;
        if start < HEAD {
            let room = usize::try_from(HEAD - start).unwrap_or(usize::MAX);
            self.head.extend_from_slice(&bytes[..bytes.len().min(room)]);
        }
        if start == 0 && self.size > HEAD {
            self.plan();
        }
        for (range, kept) in &mut self.ranges {
            let from = range.start.max(start);
            let to = range.end.min(self.position);
            if from < to {
                // Both ends lie inside `bytes`, so the differences fit.
                kept.extend_from_slice(&bytes[(from - start) as usize..(to - start) as usize]);
            }
        }
    }

    /// The bytes kept from the start of the file.
    #[must_use]
    pub fn head(&self) -> &[u8] {
        &self.head
    }

    /// Decides, by the program headers in the first chunk, which later ranges to keep.
    fn plan(&mut self) {
        let ranges = match self.head.get(4) {
            Some(&1) => wanted_ranges::<elf::FileHeader32<Endianness>>(&self.head),
            Some(&2) => wanted_ranges::<elf::FileHeader64<Endianness>>(&self.head),
            _ => None,
        };
        let mut budget = BUDGET;
        for range in ranges.unwrap_or_default() {
            let range = range.start.max(HEAD)..range.end.min(self.size);
            let Some(length) = range.end.checked_sub(range.start).filter(|&length| length > 0 && length <= budget)
            else {
                continue;
            };
            budget -= length;
            self.ranges.push((range, Vec::new()));
        }
    }
}

fn wanted_ranges<Elf: FileHeader<Endian = Endianness>>(head: &[u8]) -> Option<Vec<Range<u64>>> {
    let header = Elf::parse(head).ok()?;
    let endian = header.endian().ok()?;
    let segments = header.program_headers(endian, head).ok()?;
    let wanted = segments.iter().filter_map(|segment| {
        let (offset, size) = segment.file_range(endian);
        let is_wanted = match segment.p_type(endian) {
            elf::PT_DYNAMIC | elf::PT_INTERP => true,
            elf::PT_LOAD => size <= SMALL_SEGMENT,
            _ => false,
        };
        is_wanted.then(|| offset..offset.saturating_add(size))
    });
    Some(wanted.collect())
}

impl<'a> ReadRef<'a> for &'a Capture {
    fn len(self) -> Result<u64, ()> {
        Ok(self.size)
    }

    fn read_bytes_at(self, offset: u64, size: u64) -> Result<&'a [u8], ()> {
        let end = offset.checked_add(size).ok_or(())?;
        if end <= self.head.len() as u64 {
            return self.head.as_slice().read_bytes_at(offset, size);
        }
        self.ranges
            .iter()
            .filter(|(range, _)| range.start <= offset && end <= range.end)
            .find_map(|(range, kept)| kept.as_slice().read_bytes_at(offset - range.start, size).ok())
            .ok_or(())
    }

    fn read_bytes_at_until(self, range: Range<u64>, delimiter: u8) -> Result<&'a [u8], ()> {
        if range.start < self.head.len() as u64 {
            let end = range.end.min(self.head.len() as u64);
            return self.head.as_slice().read_bytes_at_until(range.start..end, delimiter);
        }
        self.ranges
            .iter()
            .filter(|(kept, _)| kept.contains(&range.start))
            .find_map(|(kept, bytes)| {
                let end = range.end.min(kept.end) - kept.start;
                bytes.as_slice().read_bytes_at_until(range.start - kept.start..end, delimiter).ok()
            })
            .ok_or(())
    }
}
