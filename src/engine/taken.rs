//! One small plain file out of the tar archive that an engine sends of it: anything else in it is refused.

use tar_core::EntryType;
use tar_core::parse::{Limits, ParseEvent, Parser};

/// The largest header, in bytes: extended attributes are the container's to choose.
const LARGEST_HEADER: usize = 128 << 10;
/// The most bytes behind the file: the rest of its block and the end of the archive.
const LONGEST_END: usize = 64 << 10;

/// Reads an archive piece by piece. Keeps no more than the header, the file and the end of the archive.
pub(super) struct OneFile<'a> {
    /// The name that the only member has to have.
    name: &'a str,
    /// The most bytes of the file.
    most: usize,
    parser: Parser,
    buffer: Vec<u8>,
    /// Where the next header begins in the buffer.
    next: usize,
    /// Where the file is in the buffer, once its header was seen.
    content: Option<(usize, usize)>,
}

impl<'a> OneFile<'a> {
    /// Expects a file of this name and of at most `most` bytes.
    pub(super) fn new(name: &'a str, most: usize) -> Self {
        let limits = Limits { max_path_len: Some(4096), ..Limits::default() };
        let mut parser = Parser::new(limits);
        parser.set_ignore_pax_errors(true);
        Self { name, most, parser, buffer: Vec::new(), next: 0, content: None }
    }

    /// The next piece of the archive.
    ///
    /// # Errors
    /// It is not what is expected: the rest of a sentence about the file.
    pub(super) fn piece(&mut self, piece: &[u8]) -> Result<(), String> {
        // What is not needed is not kept, however large the piece is.
        for part in piece.chunks(LONGEST_END) {
            self.buffer.extend_from_slice(part);
            self.advance()?;
        }
        Ok(())
    }

    /// The file, once the archive is over.
    ///
    /// # Errors
    /// It is not whole.
    pub(super) fn end(mut self) -> Result<Vec<u8>, String> {
        match self.content {
            Some((start, size)) if self.buffer.len() >= start + size => {
                self.buffer.truncate(start + size);
                Ok(self.buffer.split_off(start))
            }
            _ => Err("the engine's answer ends too early".to_owned()),
        }
    }

    fn advance(&mut self) -> Result<(), String> {
        if let Some((start, size)) = self.content {
            return self.check_end(start + size);
        }
        loop {
            let event = self.parser.parse(&self.buffer[self.next..]).map_err(|_| "the engine's answer is not a tar")?;
            match event {
                ParseEvent::NeedData { .. } if self.buffer.len() > LARGEST_HEADER => {
                    return Err("it has more extended attributes than is allowed".to_owned());
                }
                ParseEvent::NeedData { .. } => return Ok(()),
                ParseEvent::GlobalExtensions { consumed, .. } => self.next += consumed.max(1),
                ParseEvent::SparseEntry { .. } => return Err("it is a sparse file".to_owned()),
                ParseEvent::End { .. } => return Err("the engine's answer is empty".to_owned()),
                ParseEvent::Entry { consumed, entry } => {
                    if let Some(kind) = other_kind(entry.entry_type) {
                        return Err(format!("it is {kind}, not a file"));
                    }
                    if entry.path.as_ref() != self.name.as_bytes() {
                        return Err("the engine's answer holds another file".to_owned());
                    }
                    let size = usize::try_from(entry.size).ok().filter(|size| *size <= self.most);
                    let Some(size) = size else {
                        return Err(format!("it has {} bytes, more than the {} that are read", entry.size, self.most));
                    };
                    let start = self.next + consumed;
                    self.content = Some((start, size));
                    return self.check_end(start + size);
                }
            }
        }
    }

    /// Behind the file an archive holds nothing but zeros.
    fn check_end(&self, end: usize) -> Result<(), String> {
        let rest = self.buffer.get(end..).unwrap_or_default();
        if rest.len() > LONGEST_END || rest.iter().any(|byte| *byte != 0) {
            return Err("the engine's answer holds more than the file".to_owned());
        }
        Ok(())
    }
}

/// What a member is that is not a plain file.
fn other_kind(kind: EntryType) -> Option<&'static str> {
    match kind {
        EntryType::Regular => None,
        EntryType::Directory => Some("a folder"),
        EntryType::Symlink => Some("a symbolic link"),
        EntryType::Link => Some("a hard link"),
        EntryType::Fifo => Some("a FIFO"),
        EntryType::Char | EntryType::Block => Some("a device"),
        _ => Some("something else"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::test_runner::Config;

    use super::*;
    use crate::engine::home::header;

    const NAME: &str = "artifact.txt";

    fn member(path: &str, kind: EntryType, bytes: &[u8], announced: u64) -> Vec<u8> {
        let mut tar = header(path, 0o644, announced, kind, Some(b"/etc/passwd"));
        tar.extend_from_slice(bytes);
        tar.resize(tar.len().next_multiple_of(512), 0);
        tar
    }

    fn read(archive: &[u8], piece: usize) -> Result<Vec<u8>, String> {
        let mut file = OneFile::new(NAME, 1024);
        for piece in archive.chunks(piece.max(1)) {
            file.piece(piece)?;
            assert!(file.buffer.len() <= 1024 + LARGEST_HEADER + 2 * LONGEST_END, "{}", file.buffer.len());
        }
        file.end()
    }

    #[test]
    fn a_plain_file_of_the_name_is_read() {
        let tar = [member(NAME, EntryType::Regular, b"made", 4), vec![0; 1024]].concat();
        assert_eq!(read(&tar, 7), Ok(b"made".to_vec()));
        assert_eq!(read(&member(NAME, EntryType::Regular, b"", 0), 512), Ok(Vec::new()), "without an end");
    }

    #[test]
    fn anything_else_is_refused() {
        let cases: [(&str, Vec<u8>); 9] = [
            ("it is a FIFO, not a file", member(NAME, EntryType::Fifo, b"", 0)),
            ("it is a device, not a file", member(NAME, EntryType::Char, b"", 0)),
            ("it is a symbolic link, not a file", member(NAME, EntryType::Symlink, b"", 0)),
            ("it is a hard link, not a file", member(NAME, EntryType::Link, b"", 0)),
            ("it is a folder, not a file", member(NAME, EntryType::Directory, b"", 0)),
            ("the engine's answer holds another file", member("other.txt", EntryType::Regular, b"", 0)),
            ("it has 1025 bytes, more than the 1024 that are read", member(NAME, EntryType::Regular, &[1; 1025], 1025)),
            (
                "the engine's answer holds more than the file",
                [member(NAME, EntryType::Regular, b"x", 1), member("second", EntryType::Regular, b"y", 1)].concat(),
            ),
            ("the engine's answer ends too early", member(NAME, EntryType::Regular, b"", 1024)),
        ];
        for (why, tar) in cases {
            assert_eq!(read(&tar, 512), Err(why.to_owned()));
        }
        assert!(read(b"HTTP is no tar, and nor is this".repeat(40).as_slice(), 100).is_err());
    }

    #[test]
    fn an_endless_answer_is_refused_early() {
        for endless in [
            member(NAME, EntryType::Regular, b"x", 1),
            [header(NAME, 0o644, 1 << 32, EntryType::Regular, None), vec![0; 512]].concat(),
            header(NAME, 0o644, 1 << 32, EntryType::GnuLongName, None),
        ] {
            let mut file = OneFile::new(NAME, 1024);
            let mut sent = 0_usize;
            let refused = std::iter::once(endless).chain(std::iter::repeat(vec![0; 4096])).find_map(|piece| {
                sent += piece.len();
                assert!(sent < 1 << 20, "it reads on and on");
                file.piece(&piece).err()
            });
            assert!(refused.is_some());
        }
    }

    proptest! {
        #![proptest_config(Config { cases: 100_000, ..Config::default() })]

        #[test]
        fn no_answer_makes_it_fail_or_keep_much(
            kind in prop::sample::select(vec![b'0', b'\0', b'1', b'2', b'3', b'5', b'6', b'7', b'S', b'x', b'g', b'L', b'K']),
            size in prop::sample::select(vec![0_u64, 1, 4, 1023, 1024, 1025, 4096, u64::MAX >> 1]),
            content in prop::collection::vec(any::<u8>(), 0..64),
            changes in prop::collection::vec((0_usize..1600, any::<u8>()), 0..4),
            cut in 0_usize..2048,
            piece in 1_usize..700,
        ) {
            let mut tar = member(NAME, EntryType::Regular, &content, size.min(1 << 32));
            tar[156] = kind;
            for (at, byte) in changes {
                if let Some(place) = tar.get_mut(at) {
                    *place = byte;
                }
            }
            // Half of them with a right checksum.
            if piece % 2 == 0 {
                tar[148..156].fill(b' ');
                let sum: u32 = tar[..512].iter().map(|byte| u32::from(*byte)).sum();
                tar[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
            }
            tar.truncate(cut);
            let whole = read(&tar, usize::MAX);
            prop_assert_eq!(&whole, &read(&tar, piece), "how it is cut makes no difference");
            if let Ok(bytes) = whole {
                prop_assert!(bytes.len() <= 1024);
                prop_assert!(tar.windows(bytes.len().max(1)).any(|window| bytes.is_empty() || window == bytes));
            }
        }
    }
}
