//! Zstandard (RFC 8878) of one frame or several, whose windows are known before there is memory for them.

use std::io::{self, BufRead, Read};

use zstd::zstd_safe::{DCtx, DParameter, InBuffer, OutBuffer, get_error_name};

use super::allowance::{LARGEST_WINDOW, Working};

/// Where the number stands from which windows are counted in powers of two (RFC 8878, 3.1.1.1.2).
const SMALLEST_WINDOW_LOG: u32 = 10;

/// Decompresses all frames of a stream, one after the other, and holds the leave to do so.
pub(super) struct Frames<R> {
    input: R,
    decoder: DCtx<'static>,
    /// The header of the frame, as far as the decoder did not get it yet.
    header: Vec<u8>,
    state: State,
    working: Working,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// A frame may begin here.
    Border,
    Inside,
}

impl<R: BufRead> Frames<R> {
    /// Starts at the first frame.
    ///
    /// # Errors
    /// There is no memory for a decoder.
    pub(super) fn new(input: R, working: Working) -> io::Result<Self> {
        let mut decoder = DCtx::try_create().ok_or(io::ErrorKind::OutOfMemory)?;
        let largest = DParameter::WindowLogMax(LARGEST_WINDOW.ilog2());
        decoder.set_parameter(largest).map_err(broken)?;
        Ok(Self { input, decoder, header: Vec::new(), state: State::Border, working })
    }

    /// Reads the header of a frame; says whether there is one. Skippable frames are skipped.
    fn begin(&mut self) -> io::Result<bool> {
        while !self.input.fill_buf()?.is_empty() {
            let magic: [u8; 4] = self.array()?;
            match magic {
                [0x50..=0x5f, 0x2a, 0x4d, 0x18] => {
                    let size = u64::from(u32::from_le_bytes(self.array()?));
                    if io::copy(&mut self.input.by_ref().take(size), &mut io::sink())? < size {
                        return Err(cut());
                    }
                }
                [0x28, 0xb5, 0x2f, 0xfd] => {
                    self.header = magic.to_vec();
                    let window = self.window()?;
                    let window = usize::try_from(window).ok().filter(|window| *window <= LARGEST_WINDOW);
                    let Some(window) = window else {
                        let most = LARGEST_WINDOW >> 20;
                        return Err(invalid(format!("one of its zstd frames needs a window of more than {most} MiB")));
                    };
                    self.working.with_window(window);
                    self.state = State::Inside;
                    return Ok(true);
                }
                _ => return Err(invalid("it has no zstd frame where one should be".to_owned())),
            }
        }
        Ok(false)
    }

    /// The size of the window by the header, in bytes, which is read.
    fn window(&mut self) -> io::Result<u64> {
        let [descriptor] = self.array()?;
        self.header.push(descriptor);
        let is_single = descriptor & 0x20 != 0;
        let mut window = 0;
        if !is_single {
            let [byte] = self.array()?;
            self.header.push(byte);
            let base = 1_u64 << (SMALLEST_WINDOW_LOG + u32::from(byte >> 3));
            window = base + base / 8 * u64::from(byte & 7);
        }
        let dictionary = [0, 1, 2, 4][usize::from(descriptor & 3)];
        let content = match descriptor >> 6 {
            0 => usize::from(is_single),
            log => 1 << log,
        };
        let mut rest = vec![0; dictionary + content];
        self.input.read_exact(&mut rest).map_err(|_| cut())?;
        if is_single {
            let size = rest[dictionary..].iter().rev().fold(0, |size, &byte| size << 8 | u64::from(byte));
            window = size + if content == 2 { 256 } else { 0 };
        }
        self.header.extend(rest);
        Ok(window)
    }

    fn array<const COUNT: usize>(&mut self) -> io::Result<[u8; COUNT]> {
        let mut bytes = [0; COUNT];
        self.input.read_exact(&mut bytes).map_err(|_| cut())?;
        Ok(bytes)
    }
}

impl<R: BufRead> Read for Frames<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if buffer.is_empty() || (self.state == State::Border && !self.begin()?) {
                return Ok(0);
            }
            let is_header = !self.header.is_empty();
            let bytes = if is_header { &self.header[..] } else { self.input.fill_buf()? };
            let is_end = bytes.is_empty();
            let (mut input, mut output) = (InBuffer::around(bytes), OutBuffer::around(&mut *buffer));
            let hint = self.decoder.decompress_stream(&mut output, &mut input).map_err(broken)?;
            let (taken, given) = (input.pos(), output.pos());
            if is_header {
                self.header.drain(..taken);
            } else {
                self.input.consume(taken);
            }
            if hint == 0 {
                self.state = State::Border;
            } else if is_end && given == 0 {
                return Err(cut());
            }
            if given > 0 {
                return Ok(given);
            }
        }
    }
}

fn broken(code: usize) -> io::Error {
    invalid(format!("its zstd stream is broken: {}", get_error_name(code).to_lowercase()))
}

fn cut() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "its zstd stream is cut off")
}

fn invalid(why: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

#[cfg(test)]
mod tests {
    use std::io::{BufReader, Write as _};

    use proptest::prelude::*;
    use zstd::stream::raw::CParameter;

    use super::*;

    fn read(stream: &[u8], buffer: usize) -> Result<Vec<u8>, String> {
        let mut content = Vec::new();
        let input = BufReader::with_capacity(buffer, stream);
        let mut frames = Frames::new(input, Working::begin()).map_err(|error| error.to_string())?;
        frames.read_to_end(&mut content).map(|_| content).map_err(|error| error.to_string())
    }

    fn frame(content: &[u8], window_log: u32) -> Vec<u8> {
        let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
        encoder.set_parameter(CParameter::WindowLog(window_log)).unwrap();
        encoder.include_checksum(true).unwrap();
        encoder.write_all(content).unwrap();
        encoder.finish().unwrap()
    }

    proptest! {
        #[test]
        fn frames_are_what_they_were_made_of(
            contents in proptest::collection::vec(proptest::collection::vec(0..4_u8, 0..5000), 1..4),
            buffer in 1..500_usize,
            damage in proptest::option::of((any::<prop::sample::Index>(), 1..=u8::MAX)),
        ) {
            let skippable = [0x53, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3];
            let mut stream = skippable.to_vec();
            for (number, content) in contents.iter().enumerate() {
                stream.extend(if number % 2 == 0 { frame(content, 17) } else { zstd::encode_all(&content[..], 3).unwrap() });
                stream.extend(skippable);
            }
            prop_assert_eq!(read(&stream, buffer), Ok(contents.concat()));
            if let Some((at, by)) = damage {
                let at = at.index(stream.len());
                stream[at] ^= by;
                let other = zstd::decode_all(&stream[..]).ok();
                prop_assert!(read(&stream, buffer).ok().is_none_or(|content| other.is_none_or(|other| other == content)));
            }
        }
    }

    #[test]
    fn a_window_that_is_too_large_is_refused_before_there_is_memory_for_it() {
        let content = vec![7; 100];
        assert_eq!(read(&frame(&content, 26), 100), Ok(content.clone()));
        assert!(read(&frame(&content, 27), 100).unwrap_err().contains("a window of more than 64 MiB"));
    }

    #[test]
    fn what_is_cut_or_damaged_is_broken() {
        let whole = frame(&[1, 2, 3, 4, 5].repeat(100), 17);
        for cut in 1..whole.len() {
            assert!(read(&whole[..cut], 64).unwrap_err().contains("cut off"), "{cut}");
        }
        let mut damaged = whole.clone();
        *damaged.last_mut().unwrap() ^= 1;
        assert!(read(&damaged, 64).unwrap_err().contains("checksum"));
        assert!(read(&[&whole[..], b"more"].concat(), 64).unwrap_err().contains("no zstd frame"));
    }
}
