//! The form of a kept entry: a mark, a seal over name and content, and the content: its length, and itself compressed.
//!
//! Whoever writes to a store may write anything there, so reading is bounded: the bytes as stored by the store, the
//! unpacked bytes and the value that is made of them here.

use std::io::{self, Write};
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::gate::Gate;
use super::key::{SEAL, Seal};
use super::metered::Metered;
use crate::layer::allowance::{Budget, Drawn, INDEXES, within};

/// What every entry begins with.
const MARK: &[u8; 8] = b"imglint\n";
/// How many bytes say how long the content is when it is decompressed.
const LENGTH: usize = size_of::<u64>();
/// The largest entry as stored, in bytes. Those of real layers have a few hundred kilobytes; the index of half a million
/// files has four megabytes.
pub(super) const LARGEST_STORED: usize = 8 << 20;
/// The largest entry when it is decompressed, in bytes.
const LARGEST: usize = 32 << 20;

/// How hard entries are compressed (zstd): an entry is written once and read often, from far stores, too.
const EFFORT: i32 = 6;

/// Makes entries, and reads them within bounds.
pub(super) struct Entries {
    seal: Seal,
    unpacking: Arc<Gate>,
    decoded: Arc<Budget>,
}

impl Entries {
    pub(super) fn new(seal: Seal) -> Self {
        Self { seal, unpacking: Gate::new(LARGEST), decoded: Budget::new(INDEXES) }
    }

    /// The memory that all decoded entries share, and all else that is known of layers.
    pub(super) fn budget(&self) -> &Arc<Budget> {
        &self.decoded
    }

    /// An entry's bytes. `None` if the value has none, or is too large to be read again.
    pub(super) fn encode(&self, name: &str, value: &impl Serialize) -> Option<Vec<u8>> {
        let compressed = zstd::stream::write::Encoder::new(vec![0; LENGTH], EFFORT).ok()?;
        let counted = postcard::to_io(value, Counted { inner: compressed, bytes: 0 }).ok()?;
        let mut content = counted.inner.finish().ok()?;
        content[..LENGTH].copy_from_slice(&counted.bytes.to_le_bytes());
        let mut bytes = MARK.to_vec();
        bytes.extend(self.seal.make(name, &content).bytes());
        bytes.extend(content);
        (bytes.len() <= LARGEST_STORED).then_some(bytes)
    }

    /// The value of an entry that is whole and has this name and seal, and the memory that it occupies. `None` if there is
    /// not enough for it.
    pub(super) fn decode<T: DeserializeOwned>(&self, name: &str, bytes: &[u8]) -> Option<(T, Drawn)> {
        let (seal, content) = bytes.strip_prefix(MARK)?.split_at_checked(SEAL)?;
        if !self.seal.fits(name, content, seal) {
            return None;
        }
        let (length, compressed) = content.split_first_chunk()?;
        let length = usize::try_from(u64::from_le_bytes(*length)).ok().filter(|length| *length <= LARGEST)?;
        let _pass = self.unpacking.enter(length);
        // Into memory of the right size at once: growing it would take longer than decompressing.
        let unpacked = zstd::bulk::decompress(compressed, length).ok().filter(|bytes| bytes.len() == length)?;
        let (value, drawn) = within(&self.decoded, || read(&unpacked));
        Some((value?, drawn))
    }
}

fn read<T: DeserializeOwned>(unpacked: &[u8]) -> Option<T> {
    let mut deserializer = postcard::Deserializer::from_bytes(unpacked);
    let value = T::deserialize(Metered(&mut deserializer)).ok()?;
    deserializer.finalize().is_ok_and(<[u8]>::is_empty).then_some(value)
}

/// Counts what is written, which is not more than [`LARGEST`].
struct Counted<W> {
    inner: W,
    bytes: u64,
}

impl<W: Write> Write for Counted<W> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        if self.bytes + buffer.len() as u64 > LARGEST as u64 {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        let count = self.inner.write(buffer)?;
        self.bytes += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::layer::{Detail, ElfSummary, IndexBuilder, Kind, LayerIndex, NewEntry};

    fn entries() -> Entries {
        Entries::new(Seal::Checksum)
    }

    /// An entry as somebody makes it who has no key but needs none.
    fn forged(name: &str, unpacked: &[u8], claimed: u64) -> Vec<u8> {
        let mut content = claimed.to_le_bytes().to_vec();
        content.extend(zstd::bulk::compress(unpacked, 1).unwrap());
        let seal = Seal::Checksum.make(name, &content);
        [MARK, seal.as_bytes(), &content].concat()
    }

    /// An index that has something of everything, as it is written.
    fn written() -> Vec<u8> {
        let mut builder = IndexBuilder::default();
        let entry = NewEntry { path: "usr", kind: Kind::Directory, mode: 0o755, uid: 0, gid: 0, size: 0, link: "" };
        let elf = ElfSummary { needed: vec!["libc.so.6".to_owned(), "libm.so.6".to_owned()], ..ElfSummary::default() };
        let detail = Detail { content: Some(b"content".to_vec()), elf: Some(elf), ..Detail::default() };
        builder.add(&entry, None).unwrap();
        let file = NewEntry { path: "usr/a", kind: Kind::File, size: 7, ..entry.clone() };
        builder.add(&file, Some(detail)).unwrap();
        builder.add(&NewEntry { path: "usr/b", kind: Kind::HardLink, link: "usr/a", ..entry.clone() }, None).unwrap();
        builder.add(&NewEntry { path: "usr/c", kind: Kind::Symlink, link: "a", ..entry.clone() }, None).unwrap();
        builder.add(&NewEntry { path: "usr/.wh.d", ..file.clone() }, None).unwrap();
        builder.add(&NewEntry { path: "e/.wh..wh..opq", ..file }, None).unwrap();
        postcard::to_stdvec(&(7_u64, builder.finish(None, 1024).unwrap())).unwrap()
    }

    /// Decodes, looks at all that there is, and checks that no memory stays taken.
    fn look(bytes: &[u8]) -> bool {
        let budget = Budget::new(1 << 20);
        let (read, drawn) = within(&budget, || read::<(u64, LayerIndex)>(bytes));
        let is_read = read.is_some();
        if let Some((_, index)) = read.filter(|(_, index)| index.is_sound()) {
            let details = index.below("").filter_map(|entry| entry.detail()).count();
            let links = index.below("").filter_map(|entry| entry.hard_link()).count();
            let names = index.names("").len() + index.names("usr").len() + index.whiteouts().count();
            assert!(details + links + names + index.len() < bytes.len());
        }
        assert!(budget.left() + drawn.bytes() == 1 << 20, "{drawn:?}");
        drop(drawn);
        assert_eq!(budget.left(), 1 << 20);
        is_read
    }

    #[test]
    fn an_entry_is_read_as_it_was_written_and_what_it_occupies_is_known() {
        let (entries, value) = (entries(), vec!["text".to_owned(); 100]);
        let bytes = entries.encode("name", &value).unwrap();
        let (read, drawn) = entries.decode::<Vec<String>>("name", &bytes).unwrap();
        assert_eq!(read, value);
        assert!((100 * 28..100 * 100).contains(&drawn.bytes()), "{drawn:?}");
        assert!(entries.decode::<Vec<String>>("other", &bytes).is_none());
        assert!(look(&written()));
    }

    #[test]
    fn what_unpacks_to_another_size_than_it_says_is_absent() {
        let entries = entries();
        let unpacked = postcard::to_stdvec(&"text").unwrap();
        let is_read = |bytes: &[u8]| entries.decode::<String>("name", bytes).is_some();
        assert!(is_read(&forged("name", &unpacked, 5)));
        for claimed in [0, 4, 6, 1 << 20, 1 << 30, u64::MAX] {
            assert!(!is_read(&forged("name", &unpacked, claimed)), "{claimed}");
        }
        assert!(!is_read(&forged("name", &[&unpacked[..], b"more"].concat(), 9)));
        assert!(!is_read(&forged("name", &vec![0; LARGEST + 1], LARGEST as u64 + 1)));
        assert!(!is_read(&forged("name", &vec![0; LARGEST + 1], 1000)));
    }

    #[test]
    fn lists_take_no_more_memory_than_there_is() {
        let entries = entries();
        let is_read = |unpacked: &[u8]| {
            let bytes = forged("name", unpacked, unpacked.len() as u64);
            entries.decode::<Vec<Vec<String>>>("name", &bytes).is_some()
        };
        let list = |count: usize| postcard::to_stdvec(&vec![vec![""; count]]).unwrap();
        assert!(is_read(&list(1000)));
        // Twenty-four bytes for each that is one here.
        assert!(!is_read(&list(5_000_000)));
        // Lists that only say that they are long.
        for claimed in [u64::from(u32::MAX), u64::MAX / 24, u64::MAX] {
            let mut list = vec![1];
            list.extend(postcard::to_stdvec(&claimed).unwrap());
            assert!(!is_read(&list), "{claimed}");
        }
        assert_eq!(entries.decoded.left(), INDEXES);
    }

    #[test]
    fn what_is_too_large_to_be_read_is_not_written() {
        let entries = entries();
        assert!(entries.encode("name", &"x".repeat(LARGEST)).is_none());
        let mut state = 1_u64;
        let noise = std::iter::repeat_with(|| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            char::from((state >> 57) as u8)
        });
        // Seven bits of each byte cannot be compressed away.
        let noise: String = noise.take(LARGEST_STORED / 7 * 8 + (64 << 10)).collect();
        assert!(entries.encode("name", &noise).is_none());
        assert!(entries.encode("name", &&noise[..LARGEST_STORED - (64 << 10)]).is_some());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(100_000))]

        #[test]
        fn a_damaged_index_leads_nowhere(
            changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
            cut in any::<prop::sample::Index>(),
            is_cut in prop::bool::weighted(0.2),
        ) {
            let mut bytes = written();
            for (at, byte) in changes {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            if is_cut {
                bytes.truncate(cut.index(bytes.len()));
            }
            look(&bytes);
        }

        #[test]
        fn no_bytes_make_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..120)) {
            look(&bytes);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn no_entry_makes_a_panic(
            unpacked in proptest::collection::vec(any::<u8>(), 0..60),
            claimed in prop_oneof![Just(None), any::<u64>().prop_map(Some)],
            damage in (any::<prop::sample::Index>(), any::<u8>()),
        ) {
            let entries = entries();
            let claimed = claimed.unwrap_or(unpacked.len() as u64);
            let mut bytes = forged("name", &unpacked, claimed);
            drop(entries.decode::<(u64, LayerIndex)>("name", &bytes));
            let at = damage.0.index(bytes.len());
            bytes[at] ^= damage.1 | 1;
            prop_assert!(entries.decode::<(u64, LayerIndex)>("name", &bytes).is_none());
        }
    }
}
