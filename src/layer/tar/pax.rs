//! PAX extended headers (POSIX.1-2001) as Go's archive/tar reads them: the last of several equal keys counts, and an empty
//! value says nothing.

use std::collections::HashMap;

use super::header::{Header, Wrong, decimal};

/// What extended attributes are called by.
const XATTR: &str = "SCHILY.xattr.";
/// Where the pieces of a sparse file are listed.
pub(super) const SPARSE_MAP: &str = "GNU.sparse.map";

/// The records of one extended header that matter.
#[derive(Clone, Debug, Default)]
pub(super) struct Pax {
    records: HashMap<String, Vec<u8>>,
    /// How much room extended attributes take, in bytes, and of the longest the name and the value.
    pub room: usize,
    pub longest_name: usize,
    pub longest_value: usize,
}

impl Pax {
    /// Reads all records.
    ///
    /// # Errors
    /// One is broken, for which Go refuses the tar.
    pub(super) fn parse(mut rest: &[u8]) -> Result<Self, Wrong> {
        let mut pax = Self::default();
        let mut pieces: Vec<&[u8]> = Vec::new();
        while !rest.is_empty() {
            let (key, value);
            (key, value, rest) = record(rest).ok_or("a PAX record is broken")?;
            let is_name = [&b"path"[..], b"linkpath", b"uname", b"gname"].contains(&key);
            if memchr::memchr(0, if is_name { value } else { key }).is_some() {
                return Err("a PAX record has a NUL where none may be");
            }
            match key {
                // Sparse files of version 0.0, whose order matters.
                b"GNU.sparse.offset" | b"GNU.sparse.numbytes" => {
                    let is_offset = key == b"GNU.sparse.offset";
                    if is_offset != pieces.len().is_multiple_of(2) || value.contains(&b',') {
                        return Err("the map of a sparse file is broken");
                    }
                    pieces.push(value);
                }
                _ => {
                    if let Some(name) = key.strip_prefix(XATTR.as_bytes()).filter(|_| !value.is_empty()) {
                        pax.room += name.len() + value.len();
                        // An empty name is none.
                        pax.longest_name = pax.longest_name.max(if name.is_empty() { usize::MAX } else { name.len() });
                        pax.longest_value = pax.longest_value.max(value.len());
                    }
                    if let Some(key) = std::str::from_utf8(key).ok().filter(|key| is_read(key)) {
                        pax.records.insert(key.to_owned(), value.to_vec());
                    }
                }
            }
        }
        if !pieces.is_empty() {
            pax.records.insert(SPARSE_MAP.to_owned(), pieces.join(&b','));
        }
        Ok(pax)
    }

    /// The value of a key, if it has one that says something.
    pub(super) fn get(&self, key: &str) -> Option<&[u8]> {
        self.records.get(key).map(Vec::as_slice).filter(|value| !value.is_empty())
    }

    /// The extended attributes by name.
    pub(super) fn attributes(&self) -> impl Iterator<Item = (&str, &[u8])> {
        let all = self.records.iter().filter_map(|(key, value)| Some((key.strip_prefix(XATTR)?, value.as_slice())));
        all.filter(|(_, value)| !value.is_empty())
    }

    /// Puts what the records say in the place of what the header says.
    ///
    /// # Errors
    /// A number is none, for which Go refuses the tar.
    pub(super) fn merge_into(&self, header: &mut Header) -> Result<(), Wrong> {
        if self.records.is_empty() {
            return Ok(());
        }
        let number = |key: &str| {
            let Some(value) = self.get(key) else { return Ok(None) };
            decimal(value).map(Some).ok_or("a number in a PAX record is none")
        };
        header.uid = number("uid")?.unwrap_or(header.uid);
        header.gid = number("gid")?.unwrap_or(header.gid);
        header.size = number("size")?.unwrap_or(header.size);
        if ["atime", "mtime", "ctime"].iter().filter_map(|key| self.get(key)).any(|time| !is_time(time)) {
            return Err("a time in a PAX record is none");
        }
        if let Some(path) = self.get("path") {
            header.name = path.to_vec();
        }
        if let Some(link) = self.get("linkpath") {
            header.link = link.to_vec();
        }
        Ok(())
    }
}

/// Whether anything is made of records with this key. The others need no memory.
fn is_read(key: &str) -> bool {
    matches!(key, "path" | "linkpath" | "uid" | "gid" | "size" | "atime" | "mtime" | "ctime")
        || key.starts_with("GNU.sparse.")
        || key.strip_prefix(XATTR).is_some_and(|name| name == "security.capability" || name.contains("overlay."))
}

/// Key and value of the first record, `LENGTH KEY=VALUE\n`, and what follows it.
fn record(text: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let blank = memchr::memchr(b' ', text)?;
    let length = usize::try_from(decimal(&text[..blank])?).ok().filter(|length| *length >= 5)?;
    let (record, rest) = text.split_at_checked(length)?;
    let record = record.get(blank + 1..)?.strip_suffix(b"\n")?;
    let equals = memchr::memchr(b'=', record)?;
    Some((&record[..equals], &record[equals + 1..], rest))
}

/// Whether a time is one: seconds, and after a point digits or nothing.
fn is_time(text: &[u8]) -> bool {
    let point = memchr::memchr(b'.', text).unwrap_or(text.len());
    let fraction = text.get(point + 1..).unwrap_or_default();
    decimal(&text[..point]).is_some() && fraction.iter().all(u8::is_ascii_digit)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(records: &str) -> Result<Option<Vec<u8>>, Wrong> {
        Pax::parse(records.as_bytes()).map(|pax| pax.get("path").map(<[u8]>::to_vec))
    }

    #[test]
    fn the_last_record_of_a_key_counts_and_an_empty_one_says_nothing() {
        assert_eq!(path("9 path=a\n9 path=b\n"), Ok(Some(b"b".to_vec())));
        assert_eq!(path("9 path=a\n8 path=\n"), Ok(None));
        assert_eq!(path(""), Ok(None));
    }

    #[test]
    fn broken_records_are_refused() {
        for records in ["9 path=a", "9 path=ab\n", "path=a\n", "4 p=\n", "99 path=a\n", "8 path-a\n", "9 path=\0\n"] {
            assert!(path(records).is_err(), "{records:?}");
        }
        assert!(path("11 other=\0\n").is_ok(), "a NUL in another value");
        assert!(path("11 oth\0r=1\n").is_err(), "a NUL in a key");
    }

    #[test]
    fn times_have_digits_only() {
        for (time, is_one) in
            [("1", true), ("-1.5", true), ("1.", true), ("+1.25", true), ("1.x", false), (".5", false)]
        {
            assert_eq!(is_time(time.as_bytes()), is_one, "{time}");
        }
    }
}
