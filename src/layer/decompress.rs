//! Decompression of layers and archives, judged by the first bytes and not by a media type.

use std::io::{self, BufRead, BufReader, Read};

use bzip2::bufread::MultiBzDecoder;
use lzma_rust2::XzReader;

use super::allowance::{LARGEST_WINDOW, Working};
use super::gzip::Members;
use super::zstd_frames::Frames;

/// How a stream is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    None,
    /// gzip (RFC 1952), of one member or several (eStargz).
    Gzip,
    /// Zstandard (RFC 8878), of one frame or several (zstd:chunked).
    Zstd,
    /// xz, of one stream or several. Docker and Podman read such layers, containerd does not.
    Xz,
    /// bzip2, of one stream or several, which the same engines read.
    Bzip2,
}

impl Compression {
    /// Its name, as people write it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
            Self::Xz => "xz",
            Self::Bzip2 => "bzip2",
        }
    }

    /// How much longer decompressing takes than with gzip, about.
    #[must_use]
    pub fn cost(self) -> u64 {
        match self {
            Self::None | Self::Gzip | Self::Zstd => 1,
            Self::Xz | Self::Bzip2 => 8,
        }
    }
}

/// How many bytes are moved at a time: as large as the processor's second-level cache likes.
pub const CHUNK: usize = 256 * 1024;
/// What an xz decoder takes besides its window, in KiB.
const XZ_BESIDE: u32 = 256;

/// Opens a stream of any compression, with leave to take memory for that. An empty stream is an uncompressed one.
///
/// # Errors
/// The stream cannot be read, or there is no memory.
pub fn open<'a>(
    stream: impl Read + Send + 'a,
    working: Working,
) -> io::Result<(Compression, Box<dyn Read + Send + 'a>)> {
    let mut stream = Sniffed::new(stream)?;
    let compression = detect(stream.start());
    stream.rewind();
    let stream = BufReader::with_capacity(CHUNK, stream);
    decoder(compression, stream, working).map(|decoder| (compression, decoder))
}

/// As [`open`], of a stream that has a buffer. The kind is known by the first bytes.
///
/// # Errors
/// As [`open`].
pub fn open_buffered<'a>(
    mut stream: impl BufRead + Send + 'a,
    working: Working,
) -> io::Result<(Compression, Box<dyn Read + Send + 'a>)> {
    let compression = detect(stream.fill_buf()?);
    decoder(compression, stream, working).map(|decoder| (compression, decoder))
}

fn decoder<'a>(
    compression: Compression,
    stream: impl BufRead + Send + 'a,
    mut working: Working,
) -> io::Result<Box<dyn Read + Send + 'a>> {
    Ok(match compression {
        Compression::None => Box::new(Held(stream, working)),
        Compression::Gzip => Box::new(Held(Members::new(stream), working)),
        Compression::Zstd => Box::new(Frames::new(stream, working)?),
        Compression::Xz => {
            working.with_window(LARGEST_WINDOW);
            // At most 64 MiB and a bit.
            let most = (LARGEST_WINDOW >> 10) as u32 + XZ_BESIDE;
            Box::new(Held(Named(XzReader::new_mem_limit(stream, true, most), "xz"), working))
        }
        Compression::Bzip2 => Box::new(Held(Named(MultiBzDecoder::new(stream), "bzip2"), working)),
    })
}

/// A stream, and the leave to read it.
struct Held<R>(R, #[expect(dead_code, reason = "it is held, not read")] Working);

impl<R: Read> Read for Held<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

/// A decoder whose errors do not say what they are about.
struct Named<R>(R, &'static str);

impl<R: Read> Read for Named<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer).map_err(|error| match error.kind() {
            io::ErrorKind::Other => error,
            kind => io::Error::new(kind, format!("its {} stream is broken or cut off: {error}", self.1)),
        })
    }
}

/// Whether these first bytes are those of a compressed stream or of a tar file.
#[must_use]
pub fn looks_like_layer(start: &[u8]) -> bool {
    is_compressed(start) || is_tar_header(start) || (!start.is_empty() && start.iter().all(|&byte| byte == 0))
}

/// Whether these first bytes are those of a compressed stream.
#[must_use]
pub fn is_compressed(start: &[u8]) -> bool {
    detect(start) != Compression::None
}

fn detect(start: &[u8]) -> Compression {
    match start {
        [0x1f, 0x8b, ..] => Compression::Gzip,
        // A frame, or a skippable frame before it.
        [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Compression::Zstd,
        [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Compression::Xz,
        [b'B', b'Z', b'h', b'1'..=b'9', ..] if !is_tar_header(start) => Compression::Bzip2,
        _ => Compression::None,
    }
}

/// Whether the checksum of a tar header holds (POSIX.1-1988 `chksum`: the sum of all bytes, its own field as spaces).
fn is_tar_header(start: &[u8]) -> bool {
    let Some(header) = start.get(..512) else { return false };
    let written: String =
        header[148..156].iter().filter(|byte| byte.is_ascii_digit()).map(|&byte| char::from(byte)).collect();
    let sum: u64 = header
        .iter()
        .enumerate()
        .map(|(at, &byte)| u64::from(if (148..156).contains(&at) { b' ' } else { byte }))
        .sum();
    u64::from_str_radix(&written, 8).is_ok_and(|written| written == sum)
}

/// A stream of which the first bytes were looked at.
pub struct Sniffed<R> {
    start: Vec<u8>,
    at: usize,
    rest: R,
}

impl<R: Read> Sniffed<R> {
    /// Reads the first 512 bytes, or what there is.
    ///
    /// # Errors
    /// The stream cannot be read.
    pub fn new(mut rest: R) -> io::Result<Self> {
        let mut start = Vec::with_capacity(512);
        rest.by_ref().take(512).read_to_end(&mut start)?;
        let at = start.len();
        Ok(Self { start, at, rest })
    }

    /// The first bytes.
    #[must_use]
    pub fn start(&self) -> &[u8] {
        &self.start
    }

    /// Makes the first bytes come again.
    pub fn rewind(&mut self) {
        self.at = 0;
    }
}

impl<R: Read> Read for Sniffed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.at == self.start.len() {
            return self.rest.read(buffer);
        }
        let count = (&self.start[self.at..]).read(buffer)?;
        self.at += count;
        Ok(count)
    }
}

/// Reads and throws away the rest, for the sake of the digest that is computed on the way.
///
/// # Errors
/// The stream cannot be read.
pub fn drain(reader: &mut dyn Read) -> io::Result<u64> {
    let mut reader = BufReader::with_capacity(CHUNK, reader);
    let mut total = 0;
    loop {
        let count = reader.fill_buf()?.len();
        if count == 0 {
            return Ok(total);
        }
        reader.consume(count);
        total += count as u64;
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn read(bytes: &[u8]) -> (Compression, Vec<u8>) {
        let (compression, mut reader) = open(bytes, Working::begin()).unwrap();
        let mut out = Vec::new();
        reader.read_to_end(&mut out).unwrap();
        (compression, out)
    }

    #[test]
    fn several_gzip_members_and_zstd_frames_are_one_stream() {
        let two = [gzip(b"one "), gzip(b"two")].concat();
        assert_eq!(read(&two), (Compression::Gzip, b"one two".to_vec()));
        let skippable = [0x50, 0x2a, 0x4d, 0x18, 2, 0, 0, 0, 9, 9];
        let frames =
            [zstd::encode_all(&b"one "[..], 3).unwrap(), skippable.to_vec(), zstd::encode_all(&b"two"[..], 3).unwrap()];
        assert_eq!(read(&frames.concat()), (Compression::Zstd, b"one two".to_vec()));
    }

    #[test]
    fn short_and_empty_streams_are_uncompressed() {
        assert_eq!(read(b""), (Compression::None, vec![]));
        assert_eq!(read(b"ab"), (Compression::None, b"ab".to_vec()));
    }

    #[test]
    fn several_streams_of_bzip2_are_one() {
        let bzip2 = |bytes: &[u8]| {
            let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
            encoder.write_all(bytes).unwrap();
            encoder.finish().unwrap()
        };
        assert_eq!(read(&[bzip2(b"one "), bzip2(b"two")].concat()), (Compression::Bzip2, b"one two".to_vec()));
        let whole = bzip2(&[7; 5000]);
        let (_, mut reader) = open(&whole[..whole.len() - 5], Working::begin()).unwrap();
        let error = io::copy(&mut reader, &mut io::sink()).unwrap_err().to_string();
        assert!(error.starts_with("its bzip2 stream is broken or cut off"), "{error}");
    }

    #[test]
    fn xz_is_read_and_its_memory_is_bounded() {
        // What `printf 'one two' | xz --lzma2=dict=4KiB` writes, and the same with a dictionary of 1 GiB.
        let small = hex(
            "fd377a585a000004e6d6b4460200210100000000372797d60100066f6e652074776f0000383264958b58237c00011f07162eb8731fb6f37d010000000004595a",
        );
        let large = hex(
            "fd377a585a000004e6d6b44602002101240000005e1fc7f90100066f6e652074776f0000383264958b58237c00011f07162eb8731fb6f37d010000000004595a",
        );
        assert_eq!(read(&small), (Compression::Xz, b"one two".to_vec()));
        assert_eq!(read(&[&small[..], &small].concat()).1, b"one twoone two");
        assert!(read_error(&large).contains("needed memory too big"));
        assert!(read_error(&small[..small.len() - 9]).starts_with("its xz stream is broken or cut off"));
        let mut damaged = small.clone();
        damaged[30] ^= 1;
        assert!(read_error(&damaged).starts_with("its xz stream is broken or cut off"));
    }

    fn hex(text: &str) -> Vec<u8> {
        let digit = |byte: u8| char::from(byte).to_digit(16).unwrap() as u8;
        text.as_bytes().chunks(2).map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect()
    }

    fn read_error(bytes: &[u8]) -> String {
        let (_, mut reader) = open(bytes, Working::begin()).unwrap();
        io::copy(&mut reader, &mut io::sink()).unwrap_err().to_string()
    }
}
