//! The parts of an ELF file that its summary needs, picked out while the file streams past: bounded whatever its size.

use std::ops::Range;

use object::elf;
use object::read::elf::{FileHeader, ProgramHeader};
use object::{Endianness, ReadRef};

/// How much of the start of a file is looked at, in bytes. Headers, symbol and string tables lie there, and relocations: of
/// Node.js they end at 6 MB.
const HEAD: u64 = 8 << 20;
/// The largest loadable segment behind [`HEAD`] that is kept, in bytes (patchelf moves the string table into a new one, which
/// has 2 MB in Node.js).
const SMALL_SEGMENT: u64 = 4 << 20;
/// How much is kept behind [`HEAD`] in all, in bytes.
const BUDGET: u64 = 8 << 20;

/// A file of which ranges are kept: the start without segments that hold nothing but code, and what else may have tables.
/// It reads like the whole file; what was not kept fails.
#[derive(Debug, Default)]
pub struct Capture {
    /// One after the other, none overlapping.
    ranges: Vec<Kept>,
    bytes: Vec<u8>,
    position: u64,
    size: u64,
}

/// A range of the file, and where its bytes begin among those that are kept.
#[derive(Debug)]
struct Kept {
    range: Range<u64>,
    at: usize,
}

impl Capture {
    /// Forgets the last file, keeps the memory, and starts on a file of `size` bytes.
    pub fn start(&mut self, size: u64) {
        self.ranges.clear();
        self.bytes.clear();
        self.position = 0;
        self.size = size;
    }

    /// Takes the next bytes of the file; the first time at least its program headers.
    pub fn push(&mut self, bytes: &[u8]) {
        let start = self.position;
        self.position += bytes.len() as u64;
        if start == 0 && !bytes.is_empty() {
            self.plan(bytes);
        }
        for Kept { range, at } in &mut self.ranges {
            let (from, to) = (range.start.max(start), range.end.min(self.position));
            if from >= to {
                continue;
            }
            if from == range.start {
                *at = self.bytes.len();
            }
            // Both ends lie inside `bytes`, so the differences fit.
            self.bytes.extend_from_slice(&bytes[(from - start) as usize..(to - start) as usize]);
        }
    }

    /// The first bytes of the file.
    #[must_use]
    pub fn start_of_file(&self) -> &[u8] {
        self.from(0).unwrap_or_default()
    }

    /// All bytes that were kept of the first part of the file, without those that were not kept between them.
    #[must_use]
    pub fn head(&self) -> &[u8] {
        let behind = self.ranges.iter().find(|kept| kept.range.start >= HEAD);
        &self.bytes[..behind.map_or(self.bytes.len(), |kept| kept.at.min(self.bytes.len()))]
    }

    /// What was kept from this place of the file on without a gap.
    pub(super) fn from(&self, offset: u64) -> Option<&[u8]> {
        let kept = self.ranges.iter().find(|kept| kept.range.contains(&offset))?;
        let length = usize::try_from(kept.range.end.min(self.position).checked_sub(kept.range.start)?).ok()?;
        let bytes = self.bytes.get(kept.at..kept.at.checked_add(length)?)?;
        bytes.get(usize::try_from(offset - kept.range.start).ok()?..)
    }

    /// Decides, by the program headers in the first chunk, which ranges to keep.
    fn plan(&mut self, first: &[u8]) {
        let segments = match first.get(4) {
            Some(&1) => segments::<elf::FileHeader32<Endianness>>(first),
            Some(&2) => segments::<elf::FileHeader64<Endianness>>(first),
            _ => None,
        };
        let segments = segments.unwrap_or_default();
        let mut keep = |range: Range<u64>| {
            let range = range.start..range.end.min(self.size);
            match self.ranges.last_mut() {
                _ if range.is_empty() => {}
                Some(last) if last.range.end >= range.start => last.range.end = last.range.end.max(range.end),
                _ => self.ranges.push(Kept { range, at: usize::MAX }),
            }
        };
        let mut start = 0;
        for code in segments.iter().filter(|segment| segment.is_code(&segments)) {
            keep(start..code.range.start.clamp(start, HEAD));
            start = code.range.end.clamp(start, HEAD);
        }
        keep(start..HEAD);
        let mut budget = BUDGET;
        let mut behind: Vec<Range<u64>> =
            segments.iter().filter(|segment| segment.may_have_tables).map(|segment| segment.range.clone()).collect();
        behind.sort_by_key(|range| range.start);
        for range in behind {
            let range = range.start.max(HEAD)..range.end.min(self.size);
            let length = range.end.saturating_sub(range.start);
            if length <= budget {
                budget -= length;
                keep(range);
            }
        }
    }
}

/// What a program header says of a part of the file.
struct Segment {
    range: Range<u64>,
    /// Whether it is loaded to be executed, not only to be read.
    is_executable: bool,
    may_have_tables: bool,
}

impl Segment {
    /// Whether it has nothing but code. That with the headers also has the tables, where they are not kept apart; and none
    /// has the dynamic section but by intent.
    fn is_code(&self, all: &[Self]) -> bool {
        let has = |other: &Self| {
            !other.is_executable && other.range.start < self.range.end && self.range.start < other.range.end
        };
        self.is_executable && self.range.start > 0 && !all.iter().any(has)
    }
}

/// The segments of a file, by where they start.
fn segments<Elf: FileHeader<Endian = Endianness>>(head: &[u8]) -> Option<Vec<Segment>> {
    let header = Elf::parse(head).ok()?;
    let endian = header.endian().ok()?;
    let headers = header.program_headers(endian, head).ok()?;
    let segment = |header: &Elf::ProgramHeader| {
        let (offset, size) = header.file_range(endian);
        let kind = header.p_type(endian);
        let may_have_tables = match kind {
            elf::PT_DYNAMIC | elf::PT_INTERP => true,
            elf::PT_LOAD => size <= SMALL_SEGMENT,
            _ => false,
        };
        let is_executable = kind == elf::PT_LOAD && header.p_flags(endian).contains(elf::PF_X);
        Segment { range: offset..offset.saturating_add(size), is_executable, may_have_tables }
    };
    let mut segments: Vec<Segment> = headers.iter().map(segment).collect();
    segments.sort_by_key(|segment| segment.range.start);
    Some(segments)
}

impl<'a> ReadRef<'a> for &'a Capture {
    fn len(self) -> Result<u64, ()> {
        Ok(self.size)
    }

    fn read_bytes_at(self, offset: u64, size: u64) -> Result<&'a [u8], ()> {
        self.from(offset).ok_or(())?.get(..usize::try_from(size).map_err(drop)?).ok_or(())
    }

    fn read_bytes_at_until(self, range: Range<u64>, delimiter: u8) -> Result<&'a [u8], ()> {
        let bytes = self.from(range.start).ok_or(())?;
        let length = usize::try_from(range.end.saturating_sub(range.start)).unwrap_or(usize::MAX);
        bytes.read_bytes_at_until(0..bytes.len().min(length) as u64, delimiter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file of `size` bytes, each telling its place, with these segments: type, flags, offset and size.
    fn file(size: usize, segments: &[(u32, u32, u64, u64)]) -> Vec<u8> {
        let mut bytes: Vec<u8> = (0..size).map(|at| (at / 1000) as u8).collect();
        bytes[..64].fill(0);
        bytes[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
        bytes[20] = 1;
        bytes[32] = 64;
        bytes[52] = 64;
        bytes[54] = 56;
        bytes[56] = segments.len() as u8;
        for (number, (kind, flags, offset, size)) in segments.iter().enumerate() {
            let header = &mut bytes[64 + 56 * number..][..56];
            header[..4].copy_from_slice(&kind.to_le_bytes());
            header[4..8].copy_from_slice(&flags.to_le_bytes());
            header[8..16].copy_from_slice(&offset.to_le_bytes());
            header[32..40].copy_from_slice(&size.to_le_bytes());
        }
        bytes
    }

    /// Which of these places can be read, after checking that they say what the file says.
    fn kept(bytes: &[u8], pieces: usize, places: &[usize]) -> Vec<bool> {
        let mut capture = Capture::default();
        for _ in 0..2 {
            capture.start(bytes.len() as u64);
            bytes.chunks(pieces).for_each(|piece| capture.push(piece));
        }
        let read = |&place: &usize| {
            let found = (&capture).read_bytes_at(place as u64, 8);
            assert!(found.is_err() || found == Ok(&bytes[place..place + 8]), "{place}");
            found.is_ok()
        };
        places.iter().map(read).collect()
    }

    const LOAD: u32 = 1;
    const DYNAMIC: u32 = 2;

    #[test]
    fn what_is_only_code_is_left_out() {
        let parts =
            [(LOAD, 4, 0, 10_000), (LOAD, 5, 10_000, 20_000), (LOAD, 6, 30_000, 5000), (DYNAMIC, 6, 31_000, 500)];
        let bytes = file(40_000, &parts);
        for pieces in [1000, 4096, 40_000] {
            assert_eq!(
                kept(&bytes, pieces, &[0, 9992, 10_000, 20_000, 29_992, 30_000, 39_992, 9996, 29_996]),
                [true, true, false, false, false, true, true, false, false],
                "{pieces}"
            );
        }
    }

    #[test]
    fn code_with_tables_in_it_is_kept() {
        for parts in
            [&[(LOAD, 5, 0, 30_000)][..], &[(LOAD, 4, 0, 100), (LOAD, 7, 1000, 20_000), (DYNAMIC, 6, 2000, 100)]]
        {
            assert_eq!(kept(&file(40_000, parts), 4096, &[0, 1000, 20_000, 39_992]), [true; 4]);
        }
        assert_eq!(kept(&[7; 100], 100, &[0, 92]), [true; 2], "no program headers");
    }

    #[test]
    fn of_what_lies_far_behind_small_segments_are_kept() {
        let far = HEAD + 1_000_000;
        let parts = [(LOAD, 4, 0, HEAD + 1000), (LOAD, 6, far, 1000), (LOAD, 4, far + 1000, 5 << 20)];
        let bytes = file(far as usize + 6_000_000, &parts);
        let at = |offset: u64| (far + offset) as usize;
        assert_eq!(
            kept(&bytes, 100_000, &[HEAD as usize - 8, HEAD as usize, at(0), at(992), at(1000)]),
            [true, false, true, true, false]
        );
    }
}
