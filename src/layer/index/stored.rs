//! The form in which an index is kept: of each path only what it does not share with the one before, which is little.

use std::fmt;

use serde::de::{Error as _, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::builder::MOST_NAME_BYTES;
use super::{Detail, Entry, Extent, Kind, LayerIndex};
use crate::digest::Digest;

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
    extents: &'a Option<Vec<Extent>>,
}

/// The same as it is read.
#[derive(Deserialize)]
struct Read {
    diff_id: Option<Digest>,
    bytes: Option<u64>,
    entries: ReadEntries,
    visible: Vec<u32>,
    whiteouts: Vec<String>,
    opaque: Vec<String>,
    details: Vec<Detail>,
    extents: Option<Vec<Extent>>,
}

struct WrittenEntries<'a>(&'a LayerIndex);

#[derive(Default)]
struct ReadEntries {
    names: Vec<u8>,
    entries: Vec<Entry>,
}

#[derive(Serialize, Deserialize)]
struct StoredEntry<'a> {
    /// How many bytes of the path are those of the entry before.
    shared: u32,
    rest: &'a str,
    link: &'a str,
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
            extents: &self.extents,
        };
        written.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for LayerIndex {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let read = Read::deserialize(deserializer)?;
        Ok(Self {
            diff_id: read.diff_id,
            bytes: read.bytes,
            names: String::from_utf8(read.entries.names).map_err(D::Error::custom)?,
            entries: read.entries.entries,
            visible: read.visible,
            whiteouts: read.whiteouts,
            opaque: read.opaque,
            details: read.details,
            extents: read.extents,
        })
    }
}

impl Serialize for WrittenEntries<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let index = self.0;
        let mut before = "";
        serializer.collect_seq(index.entries.iter().map(|entry| {
            let path = index.text(entry.path);
            let shared = shared(before, path);
            before = path;
            let Entry { size, uid, gid, more, mode, kind, .. } = *entry;
            let (rest, link) = (&path[shared..], index.text(entry.link));
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

impl<'de> Deserialize<'de> for ReadEntries {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(EntriesVisitor)
    }
}

struct EntriesVisitor;

impl<'de> Visitor<'de> for EntriesVisitor {
    type Value = ReadEntries;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of entries")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<ReadEntries, A::Error> {
        let mut read = ReadEntries::default();
        let mut before = (0, 0);
        while let Some(stored) = list.next_element::<StoredEntry<'de>>()? {
            let StoredEntry { shared, rest, link, size, uid, gid, more, mode, kind } = stored;
            let start = read.names.len();
            let bytes = shared as usize + rest.len() + link.len();
            // A few words could stand for very long names.
            if shared > before.1 || start + bytes > 2 * MOST_NAME_BYTES {
                return Err(A::Error::custom("names that no index has"));
            }
            read.names.extend_from_within(before.0 as usize..(before.0 + shared) as usize);
            read.names.extend_from_slice(rest.as_bytes());
            read.names.extend_from_slice(link.as_bytes());
            // Twice MOST_NAME_BYTES is below u32::MAX.
            let path = (start as u32, shared + rest.len() as u32);
            let link = (path.0 + path.1, link.len() as u32);
            read.entries.push(Entry { path, link, size, uid, gid, more, mode, kind });
            before = path;
        }
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{IndexBuilder, NewEntry};
    use super::*;

    fn index(paths: &[&str]) -> LayerIndex {
        let mut builder = IndexBuilder::default();
        for path in paths {
            let new = NewEntry { path, kind: Kind::Symlink, mode: 0o777, uid: 1, gid: 2, size: 3, link: "../ziel" };
            builder.add(&new, None).unwrap();
        }
        builder.finish(None, 7)
    }

    #[test]
    fn an_index_is_read_as_it_was_written() {
        for paths in [&[][..], &["usr/bin/a", "usr/bin/\u{e4}", "usr/bin/\u{e5}x", "etc", "etc", "e"]] {
            let index = index(paths);
            let bytes = postcard::to_stdvec(&index).unwrap();
            assert_eq!(postcard::from_bytes::<LayerIndex>(&bytes).unwrap(), index);
        }
    }

    #[test]
    fn what_names_share_is_written_once() {
        let long = "a".repeat(1000);
        let paths: Vec<String> = (0..100).map(|number| format!("{long}/{number}")).collect();
        let index = index(&paths.iter().map(String::as_str).collect::<Vec<_>>());
        assert!(postcard::to_stdvec(&index).unwrap().len() < 5000);
    }

    #[test]
    fn few_words_do_not_become_endless_names() {
        let entry = |shared, rest| StoredEntry {
            shared,
            rest,
            link: "",
            size: 0,
            uid: 0,
            gid: 0,
            more: 0,
            mode: 0,
            kind: Kind::File,
        };
        let long = "a".repeat(1 << 20);
        let mut list = vec![entry(0, long.as_str())];
        assert!(postcard::from_bytes::<ReadEntries>(&postcard::to_stdvec(&list).unwrap()).is_ok());
        list.extend((0..1000).map(|_| entry(1 << 20, "")));
        assert!(postcard::from_bytes::<ReadEntries>(&postcard::to_stdvec(&list).unwrap()).is_err());
        let beyond = vec![entry(0, "ab"), entry(3, "")];
        assert!(postcard::from_bytes::<ReadEntries>(&postcard::to_stdvec(&beyond).unwrap()).is_err());
    }
}
