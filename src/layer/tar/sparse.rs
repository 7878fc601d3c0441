//! Sparse files as Go's archive/tar reads them: GNU's old form in the header itself, and three forms in PAX records.

use std::io::Read;
use std::ops::Range;

use super::header::{BLOCK, Block, Format, Header, Wrong, decimal, number};
use super::pax::{Pax, SPARSE_MAP};
use super::{Error, TarReader};

/// The most pieces of a sparse file; a map of 1 MiB has about as many.
const MOST_PIECES: usize = 100_000;

/// The ranges of a file that stand in the tar, one after the other.
pub(super) type Pieces = Vec<Range<u64>>;

const BROKEN: Wrong = "the map of a sparse file is broken";

impl<R: Read> TarReader<R> {
    /// Reads the map of a file, if it is sparse, and corrects its name and size. The content follows.
    ///
    /// # Errors
    /// The map is broken, or not that of the content.
    pub(super) fn sparse(&mut self, header: &mut Header, pax: &Pax, block: &Block) -> Result<Option<Pieces>, Error> {
        let pieces = if header.kind == b'S' {
            self.old_map(header, block)?
        } else {
            match self.pax_map(header, pax)? {
                Some(pieces) => pieces,
                None => return Ok(None),
            }
        };
        let is_content = !super::is_header_only(header.kind);
        let size = u64::try_from(header.size).ok().filter(|_| is_content);
        let is_whole = size.is_some_and(|size| are_in_order(&pieces, size))
            && pieces.iter().map(|piece| piece.end - piece.start).sum::<u64>() == self.left;
        if is_whole { Ok(Some(pieces)) } else { Err(self.broken(BROKEN)) }
    }

    /// The map in the header, and in blocks that follow it.
    fn old_map(&mut self, header: &mut Header, block: &Block) -> Result<Pieces, Error> {
        if header.format != Format::Gnu {
            return Err(self.broken("a sparse file has no header of GNU's form"));
        }
        header.size = number(&block[483..495]).map_err(|why| self.broken(why))?;
        let mut pieces = Pieces::new();
        self.old_pieces(&block[386..482], &mut pieces)?;
        let mut goes_on = block[482] > 0;
        for _ in 0..MOST_PIECES / 21 {
            if !goes_on {
                return Ok(pieces);
            }
            let block = self.raw_block()?;
            self.old_pieces(&block[..504], &mut pieces)?;
            goes_on = block[504] > 0;
        }
        Err(self.broken(BROKEN))
    }

    fn old_pieces(&self, list: &[u8], pieces: &mut Pieces) -> Result<(), Error> {
        for entry in list.chunks_exact(24).take_while(|entry| entry[0] != 0) {
            let number = |field: &[u8]| number(field).map_err(|why| self.broken(why));
            self.add(number(&entry[..12])?, number(&entry[12..])?, pieces)?;
        }
        Ok(())
    }

    fn pax_map(&mut self, header: &mut Header, pax: &Pax) -> Result<Option<Pieces>, Error> {
        let get = |key: &str| pax.get(key).unwrap_or_default();
        let is_first = match (get("GNU.sparse.major"), get("GNU.sparse.minor")) {
            (b"0", b"0" | b"1") => true,
            (b"1", b"0") => false,
            (b"", b"") if !get(SPARSE_MAP).is_empty() => true,
            // Not sparse, or of an unknown version.
            _ => return Ok(None),
        };
        if let Some(name) = pax.get("GNU.sparse.name") {
            header.name = name.to_vec();
        }
        if let Some(size) = pax.get("GNU.sparse.size").or_else(|| pax.get("GNU.sparse.realsize")) {
            header.size = decimal(size).ok_or_else(|| self.broken(BROKEN))?;
        }
        if is_first { self.listed(pax) } else { self.map_before_content() }.map(Some)
    }

    /// Versions 0.0 and 0.1: in a record.
    fn listed(&self, pax: &Pax) -> Result<Pieces, Error> {
        let count = pax.get("GNU.sparse.numblocks").and_then(decimal);
        let numbers: Vec<i64> = match pax.get(SPARSE_MAP) {
            Some(map) => map.split(|&byte| byte == b',').map(decimal).collect::<Option<_>>(),
            None => Some(Vec::new()),
        }
        .ok_or_else(|| self.broken(BROKEN))?;
        if count.and_then(|count| usize::try_from(count).ok()?.checked_mul(2)) != Some(numbers.len()) {
            return Err(self.broken(BROKEN));
        }
        self.pieces(&numbers)
    }

    /// Version 1.0: lines in the blocks before the content. The first says how many pieces there are.
    fn map_before_content(&mut self) -> Result<Pieces, Error> {
        let (mut numbers, mut line, mut count) = (Vec::new(), Vec::new(), None);
        loop {
            let mut block = [0; BLOCK];
            self.read_exact(&mut block).map_err(|_| self.broken(BROKEN))?;
            for byte in block {
                if count == Some(numbers.len()) {
                    break;
                }
                if byte != b'\n' {
                    line.push(byte);
                    // The longest number has nineteen digits and a sign; others would be leading zeros.
                    if line.len() > BLOCK {
                        return Err(self.broken(BROKEN));
                    }
                    continue;
                }
                let number = decimal(&line).ok_or_else(|| self.broken(BROKEN))?;
                line.clear();
                match count {
                    None => {
                        let most = usize::try_from(number).ok().filter(|count| *count <= MOST_PIECES);
                        count = Some(2 * most.ok_or_else(|| self.broken(BROKEN))?);
                    }
                    Some(_) => numbers.push(number),
                }
            }
            if count == Some(numbers.len()) {
                return self.pieces(&numbers);
            }
        }
    }

    fn pieces(&self, numbers: &[i64]) -> Result<Pieces, Error> {
        let mut pieces = Pieces::new();
        for piece in numbers.chunks_exact(2) {
            self.add(piece[0], piece[1], &mut pieces)?;
        }
        Ok(pieces)
    }

    fn add(&self, offset: i64, length: i64, pieces: &mut Pieces) -> Result<(), Error> {
        let start = u64::try_from(offset).ok();
        let piece = start.zip(u64::try_from(length).ok()).and_then(|(start, length)| {
            let end = start.checked_add(length).filter(|end| i64::try_from(*end).is_ok())?;
            Some(start..end)
        });
        pieces.push(piece.filter(|_| pieces.len() < MOST_PIECES).ok_or_else(|| self.broken(BROKEN))?);
        Ok(())
    }
}

/// Whether pieces lie one after the other in a file of this size.
fn are_in_order(pieces: &Pieces, size: u64) -> bool {
    let mut before = 0;
    pieces.iter().all(|piece| {
        let is_behind = piece.start >= before && piece.end <= size;
        before = piece.end;
        is_behind
    })
}
