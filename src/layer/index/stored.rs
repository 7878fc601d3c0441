//! The form in which an index is kept: of each path only what it does not share with the one before, which is little.
//!
//! What is read may come from a store that others write to, so its lists are bounded as those of layers are. How much
//! memory all of it takes is bounded by the [`allowance`] of the thread that decodes it.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{Error as _, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::builder::{MOST_DISPUTED, MOST_ENTRIES, MOST_NAME_BYTES};
use super::details::MOST_DETAILS;
use super::{Detail, Entry, Extent, Kind, LayerIndex};
use crate::digest::Digest;
use crate::layer::allowance::{self, Occupied};

/// An index as it is written.
#[derive(Serialize)]
struct Written<'a> {
    diff_id: &'a Option<Digest>,
    bytes: Option<u64>,
    entries: WrittenEntries<'a>,
    visible: &'a [u32],
    whiteouts: &'a [String],
    opaque: &'a [String],
    details: &'a [Detail],
    refused: &'a Option<String>,
    disputed: &'a [String],
    extents: &'a Option<Vec<Extent>>,
}

/// The same as it is read.
#[derive(Deserialize)]
struct Kept {
    diff_id: Option<Digest>,
    bytes: Option<u64>,
    entries: KeptEntries,
    visible: Bounded<u32, MOST_ENTRIES>,
    whiteouts: Bounded<String, MOST_ENTRIES>,
    opaque: Bounded<String, MOST_ENTRIES>,
    details: Bounded<Detail, MOST_DETAILS>,
    refused: Option<String>,
    disputed: Bounded<String, MOST_DISPUTED>,
    extents: Option<Bounded<Extent, MOST_ENTRIES>>,
}

/// A list of at most so many.
struct Bounded<T, const MOST: usize>(Vec<T>);

struct WrittenEntries<'a>(&'a LayerIndex);

#[derive(Default)]
struct KeptEntries {
    names: Vec<u8>,
    entries: Vec<Entry>,
}

#[derive(Serialize, Deserialize)]
struct StoredEntry<'a> {
    /// How many bytes of the path are those of the entry before.
    shared: u32,
    rest: &'a str,
    /// Nothing where it is that of the entry before.
    link: Option<&'a str>,
    size: u64,
    uid: u32,
    gid: u32,
    more: u32,
    mode: u16,
    kind: Kind,
}

impl Serialize for LayerIndex {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let written = Written {
            diff_id: &self.diff_id,
            bytes: self.bytes,
            entries: WrittenEntries(self),
            visible: &self.visible,
            whiteouts: &self.whiteouts,
            opaque: &self.opaque,
            details: &self.details,
            refused: &self.refused,
            disputed: &self.disputed,
            extents: &self.extents,
        };
        written.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for LayerIndex {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let kept = Kept::deserialize(deserializer)?;
        Ok(Self {
            diff_id: kept.diff_id,
            bytes: kept.bytes,
            names: String::from_utf8(kept.entries.names).map_err(D::Error::custom)?,
            entries: kept.entries.entries,
            visible: kept.visible.0,
            whiteouts: kept.whiteouts.0,
            opaque: kept.opaque.0,
            details: kept.details.0,
            refused: kept.refused,
            disputed: kept.disputed.0,
            extents: kept.extents.map(|extents| extents.0),
            occupied: Occupied::default(),
        })
    }
}

impl Serialize for WrittenEntries<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let index = self.0;
        let mut before = ("", "");
        serializer.collect_seq(index.entries.iter().map(|entry| {
            let (path, link) = (index.text(entry.path), index.text(entry.link));
            let (shared, is_same) = (shared(before.0, path), before.1 == link);
            before = (path, link);
            let Entry { size, uid, gid, more, mode, kind, .. } = *entry;
            let (rest, link) = (&path[shared..], (!is_same).then_some(link));
            // No longer than the path, whose length is of this type.
            StoredEntry { shared: shared as u32, rest, link, size, uid, gid, more, mode, kind }
        }))
    }
}

/// How many bytes both begin with, in whole characters.
fn shared(one: &str, other: &str) -> usize {
    let same = one.bytes().zip(other.bytes()).take_while(|(one, other)| one == other).count();
    (0..=same).rev().find(|&at| other.is_char_boundary(at)).unwrap_or(0)
}

impl<'de> Deserialize<'de> for KeptEntries {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(EntriesVisitor)
    }
}

struct EntriesVisitor;

impl<'de> Visitor<'de> for EntriesVisitor {
    type Value = KeptEntries;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of entries")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<KeptEntries, A::Error> {
        let mut kept = KeptEntries::default();
        let mut before = ((0, 0), (0, 0));
        while let Some(stored) = list.next_element::<StoredEntry<'de>>()? {
            let StoredEntry { shared, rest, link, size, uid, gid, more, mode, kind } = stored;
            let (before_path, before_link): ((u32, u32), (u32, u32)) = before;
            let start = kept.names.len();
            let bytes = shared as usize + rest.len() + link.map_or(0, str::len);
            // A few words could stand for very long names.
            if shared > before_path.1 || start + bytes > 2 * MOST_NAME_BYTES || kept.entries.len() >= MOST_ENTRIES {
                return Err(A::Error::custom("more names than any index has"));
            }
            // The rest of the path and the link were taken when they were read.
            allowance::take(shared as usize).map_err(A::Error::custom)?;
            allowance::give_back(size_of::<StoredEntry<'_>>() - size_of::<Entry>());
            kept.names.extend_from_within(before_path.0 as usize..(before_path.0 + shared) as usize);
            kept.names.extend_from_slice(rest.as_bytes());
            // Twice MOST_NAME_BYTES is below u32::MAX.
            let path = (start as u32, shared + rest.len() as u32);
            let link = link.map_or(before_link, |link| {
                kept.names.extend_from_slice(link.as_bytes());
                (path.0 + path.1, link.len() as u32)
            });
            kept.entries.push(Entry { path, link, size, uid, gid, more, mode, kind });
            before = (path, link);
        }
        Ok(kept)
    }
}

impl<'de, T: Deserialize<'de>, const MOST: usize> Deserialize<'de> for Bounded<T, MOST> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(BoundedVisitor(PhantomData))
    }
}

struct BoundedVisitor<T, const MOST: usize>(PhantomData<T>);

impl<'de, T: Deserialize<'de>, const MOST: usize> Visitor<'de> for BoundedVisitor<T, MOST> {
    type Value = Bounded<T, MOST>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a list of at most {MOST}")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Bounded<T, MOST>, A::Error> {
        // What a list says of its length is not believed for more than a few.
        let mut kept = Vec::with_capacity(list.size_hint().unwrap_or_default().min(MOST).min(1 << 16));
        while let Some(one) = list.next_element()? {
            if kept.len() >= MOST {
                return Err(A::Error::custom("a longer list than any index has"));
            }
            kept.push(one);
        }
        Ok(Bounded(kept))
    }
}

#[cfg(test)]
mod tests {
    use super::super::{IndexBuilder, NewEntry};
    use super::*;

    /// Links, each to itself or all to the same.
    fn index(paths: &[&str], link: Option<&str>) -> LayerIndex {
        let mut builder = IndexBuilder::default();
        for path in paths {
            let new = NewEntry {
                path,
                kind: Kind::Symlink,
                mode: 0o777,
                uid: 1,
                gid: 2,
                size: 3,
                link: link.unwrap_or(path),
            };
            builder.add(&new, None).unwrap();
        }
        builder.finish(None, 7).unwrap()
    }

    #[test]
    fn an_index_is_read_as_it_was_written() {
        for paths in [&[][..], &["usr/bin/a", "usr/bin/\u{e4}", "usr/bin/\u{e5}x", "etc", "e"]] {
            let index = index(paths, None);
            let bytes = postcard::to_stdvec(&index).unwrap();
            assert_eq!(postcard::from_bytes::<LayerIndex>(&bytes).unwrap(), index);
        }
    }

    #[test]
    fn what_names_share_is_written_once() {
        let long = "a".repeat(1000);
        let paths: Vec<String> = (0..100).map(|number| format!("{long}/{number}")).collect();
        let index = index(&paths.iter().map(String::as_str).collect::<Vec<_>>(), Some("x"));
        assert!(postcard::to_stdvec(&index).unwrap().len() < 5000);
    }

    #[test]
    fn a_link_that_many_have_is_written_once() {
        let link = "a".repeat(4000);
        let mut builder = IndexBuilder::default();
        let entry = NewEntry { path: "a", kind: Kind::HardLink, mode: 0, uid: 0, gid: 0, size: 0, link: &link };
        builder.add(&entry, None).unwrap();
        for number in 0..1000 {
            // Each is a name of what the first is a name of.
            builder.add(&NewEntry { path: &format!("b{number}"), link: "a", ..entry.clone() }, None).unwrap();
        }
        let bytes = postcard::to_stdvec(&builder.finish(None, 0).unwrap()).unwrap();
        assert!(bytes.len() < 40_000, "{}", bytes.len());
        let index: LayerIndex = postcard::from_bytes(&bytes).unwrap();
        assert!(index.is_sound() && index.names.len() < 20_000);
        assert!(
            matches!(index.get("b7").unwrap().hard_link(), Some(super::super::HardLink::Below(below)) if below == link)
        );
    }

    #[test]
    fn no_list_is_longer_than_a_layer_makes_it() {
        let list =
            |count: usize| postcard::from_bytes::<Bounded<String, 3>>(&postcard::to_stdvec(&vec![""; count]).unwrap());
        assert!(list(3).is_ok() && list(4).is_err());
        assert!(postcard::from_bytes::<Bounded<u32, MOST_ENTRIES>>(&[0xff, 0xff, 0xff, 0xff, 0x0f]).is_err());
    }

    #[test]
    fn few_words_do_not_become_endless_names() {
        let entry = |shared, rest| StoredEntry {
            shared,
            rest,
            link: None,
            size: 0,
            uid: 0,
            gid: 0,
            more: 0,
            mode: 0,
            kind: Kind::File,
        };
        let long = "a".repeat(1 << 20);
        let mut list = vec![entry(0, long.as_str())];
        assert!(postcard::from_bytes::<KeptEntries>(&postcard::to_stdvec(&list).unwrap()).is_ok());
        list.extend((0..1000).map(|_| entry(1 << 20, "")));
        assert!(postcard::from_bytes::<KeptEntries>(&postcard::to_stdvec(&list).unwrap()).is_err());
        let beyond = vec![entry(0, "ab"), entry(3, "")];
        assert!(postcard::from_bytes::<KeptEntries>(&postcard::to_stdvec(&beyond).unwrap()).is_err());
    }
}
