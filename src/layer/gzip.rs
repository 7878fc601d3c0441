//! gzip (RFC 1952) of one member or several, held to its checksums as Go's compress/gzip does, which engines use.

use std::io::{self, BufRead, Read};

use flate2::{Crc, Decompress, FlushDecompress, Status};

/// Flags of a member's header (RFC 1952, 2.3.1).
const HEADER_CRC: u8 = 2;
const EXTRA: u8 = 4;
const NAME: u8 = 8;
const COMMENT: u8 = 16;
const RESERVED: u8 = 0xe0;
/// The longest name or comment that Go's reader takes, in bytes.
const LONGEST_TEXT: usize = 511;

/// Decompresses all members of a gzip stream, one after the other.
pub(super) struct Members<R> {
    input: R,
    inflate: Decompress,
    /// Of what the member unpacks to.
    crc: Crc,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// A member may begin here.
    Border,
    Inside,
}

impl<R: BufRead> Members<R> {
    pub(super) fn new(input: R) -> Self {
        Self { input, inflate: Decompress::new(false), crc: Crc::new(), state: State::Border }
    }

    /// Reads the header of a member; says whether there is one.
    fn begin(&mut self) -> io::Result<bool> {
        if self.input.fill_buf()?.is_empty() {
            return Ok(false);
        }
        let mut header = Crc::new();
        let fixed: [u8; 10] = self.bytes(&mut header)?;
        let [0x1f, 0x8b, 8, flags, ..] = fixed else { return Err(broken("no gzip header where one should be")) };
        if flags & RESERVED != 0 {
            return Err(broken("a gzip header with unknown flags"));
        }
        if flags & EXTRA != 0 {
            let length = u16::from_le_bytes(self.bytes(&mut header)?);
            let mut extra = vec![0; length.into()];
            self.input.read_exact(&mut extra).map_err(|_| cut())?;
            header.update(&extra);
        }
        for text in [NAME, COMMENT] {
            if flags & text != 0 {
                self.skip_text(&mut header)?;
            }
        }
        if flags & HEADER_CRC != 0 {
            let sum = header.sum() as u16;
            if u16::from_le_bytes(self.bytes(&mut header)?) != sum {
                return Err(broken("a gzip header whose checksum is wrong"));
            }
        }
        self.inflate.reset(false);
        self.crc.reset();
        self.state = State::Inside;
        Ok(true)
    }

    /// Reads the end of a member, which says what it was: its checksum, and how much, by 32 bits.
    fn end(&mut self) -> io::Result<()> {
        let [a, b, c, d, length @ ..]: [u8; 8] = self.bytes(&mut Crc::new())?;
        if u32::from_le_bytes([a, b, c, d]) != self.crc.sum() {
            return Err(broken(
                "a gzip member whose checksum (CRC) is wrong, which engines refuse (\"gzip: invalid checksum\")",
            ));
        }
        if u32::from_le_bytes(length) != self.inflate.total_out() as u32 {
            return Err(broken("a gzip member that is not as long as it says"));
        }
        self.state = State::Border;
        Ok(())
    }

    fn bytes<const COUNT: usize>(&mut self, sum: &mut Crc) -> io::Result<[u8; COUNT]> {
        let mut bytes = [0; COUNT];
        self.input.read_exact(&mut bytes).map_err(|_| cut())?;
        sum.update(&bytes);
        Ok(bytes)
    }

    fn skip_text(&mut self, sum: &mut Crc) -> io::Result<()> {
        for _ in 0..=LONGEST_TEXT {
            if self.bytes(sum)? == [0] {
                return Ok(());
            }
        }
        Err(broken("a gzip header with a name or comment of more than 511 bytes"))
    }
}

impl<R: BufRead> Read for Members<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if buffer.is_empty() || (self.state == State::Border && !self.begin()?) {
                return Ok(0);
            }
            let input = self.input.fill_buf()?;
            let is_end = input.is_empty();
            let (taken, given) = (self.inflate.total_in(), self.inflate.total_out());
            let flush = if is_end { FlushDecompress::Finish } else { FlushDecompress::None };
            let status =
                self.inflate.decompress(input, buffer, flush).map_err(|_| broken("a broken deflate stream"))?;
            // No more than the buffers' lengths.
            let count = (self.inflate.total_out() - given) as usize;
            self.input.consume((self.inflate.total_in() - taken) as usize);
            self.crc.update(&buffer[..count]);
            match status {
                Status::StreamEnd => self.end()?,
                _ if is_end && count == 0 => return Err(cut()),
                _ => {}
            }
            if count > 0 {
                return Ok(count);
            }
        }
    }
}

fn cut() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "its gzip stream is cut off")
}

fn broken(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("it has {what}"))
}

#[cfg(test)]
mod tests {
    use std::io::{BufReader, Write as _};

    use flate2::bufread::MultiGzDecoder;
    use flate2::{Compression, GzBuilder};
    use proptest::prelude::*;

    use super::*;

    /// What both decoders make of a stream: its content, or that it is broken.
    fn both(stream: &[u8], buffer: usize) -> [Option<Vec<u8>>; 2] {
        let all = |mut reader: Box<dyn Read + '_>| {
            let mut content = Vec::new();
            reader.read_to_end(&mut content).ok().map(|_| content)
        };
        [
            all(Box::new(Members::new(BufReader::with_capacity(buffer, stream)))),
            all(Box::new(MultiGzDecoder::new(BufReader::with_capacity(buffer, stream)))),
        ]
    }

    fn member(content: &[u8], level: u32, extra: Option<Vec<u8>>) -> Vec<u8> {
        let builder = match extra {
            Some(extra) => GzBuilder::new().extra(extra).filename("name").comment("a comment"),
            None => GzBuilder::new(),
        };
        let mut encoder = builder.write(Vec::new(), Compression::new(level));
        encoder.write_all(content).unwrap();
        encoder.finish().unwrap()
    }

    proptest! {
        #[test]
        fn members_are_what_another_decoder_says(
            members in proptest::collection::vec(
                (proptest::collection::vec(0..4_u8, 0..5000), 0..9_u32, proptest::option::of(proptest::collection::vec(any::<u8>(), 0..40))),
                1..4,
            ),
            buffer in 1..5000_usize,
        ) {
            let stream: Vec<u8> =
                members.iter().flat_map(|(content, level, extra)| member(content, *level, extra.clone())).collect();
            let content: Vec<u8> = members.iter().flat_map(|(content, ..)| content.clone()).collect();
            let [ours, other] = both(&stream, buffer);
            prop_assert_eq!(&ours, &Some(content));
            prop_assert_eq!(ours, other);
        }

        #[test]
        fn a_damaged_stream_is_broken_or_as_another_decoder_says(
            cut in 0..300_usize, at in 0..300_usize, byte in any::<u8>(), buffer in 1..400_usize,
        ) {
            let mut stream = [member(&[7; 900], 6, Some(vec![1, 2])), member(b"two", 0, None)].concat();
            let length = stream.len();
            stream[at % length] = byte;
            stream.truncate(length - cut % length);
            let [ours, other] = both(&stream, buffer);
            // The other does not look at unknown flags and the checksums of headers.
            if let Some(ours) = ours {
                prop_assert_eq!(Some(ours), other);
            }
        }
    }

    #[test]
    fn what_is_cut_or_has_something_behind_is_broken() {
        let whole = member(&[1; 3000], 6, None);
        for cut in 1..whole.len() {
            assert_eq!(both(&whole[..cut], 64), [None, None], "{cut}");
        }
        assert_eq!(both(&[&whole[..], b"more behind it"].concat(), 64), [None, None]);
        let mut short = whole.clone();
        let end = short.len() - 4;
        short[end] ^= 1;
        assert_eq!(both(&short, 64), [None, None], "another length");
        let mut other = whole.clone();
        other[end - 1] ^= 1;
        assert_eq!(both(&other, 64), [None, None], "another checksum");
    }
}
