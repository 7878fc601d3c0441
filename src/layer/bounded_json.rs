//! Bounds what a parser of a table of contents has to keep in memory at a time.

use std::io::{self, Read};

use memchr::memchr2;

/// JSON as it streams past, as long as no string in it is longer and no list deeper than in any real table of contents: a
/// parser keeps both in memory.
pub(super) struct BoundedJson<R> {
    inner: R,
    /// The bytes of the string so far, if it is in one; and whether the next one is escaped.
    string: Option<usize>,
    is_escaped: bool,
    depth: usize,
}

/// Extended attributes, of at most 64 KiB each, are the longest strings.
const LONGEST_STRING: usize = 1 << 20;
/// Extended attributes are at depth 4.
const DEEPEST: usize = 64;

impl<R> BoundedJson<R> {
    pub(super) fn new(inner: R) -> Self {
        Self { inner, string: None, is_escaped: false, depth: 0 }
    }

    fn is_in_bounds(&mut self, mut bytes: &[u8]) -> bool {
        while let [first, rest @ ..] = bytes {
            let Some(length) = &mut self.string else {
                bytes = rest;
                match first {
                    b'"' => self.string = Some(0),
                    b'[' | b'{' => self.depth += 1,
                    b']' | b'}' => self.depth = self.depth.saturating_sub(1),
                    _ => {}
                }
                if self.depth > DEEPEST {
                    return false;
                }
                continue;
            };
            let plain = if self.is_escaped { 1 } else { memchr2(b'"', b'\\', bytes).unwrap_or(bytes.len()) };
            *length += plain;
            if *length > LONGEST_STRING {
                return false;
            }
            bytes = &bytes[plain..];
            if std::mem::take(&mut self.is_escaped) {
                continue;
            }
            match bytes.split_first() {
                Some((b'"', rest)) => (self.string, bytes) = (None, rest),
                Some((_, rest)) => (self.is_escaped, bytes) = (true, rest),
                None => {}
            }
        }
        true
    }
}

impl<R: Read> Read for BoundedJson<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        if self.is_in_bounds(&buffer[..count]) {
            return Ok(count);
        }
        Err(io::Error::other("it has longer strings or deeper lists than any real one"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How long it is, whatever the size of the pieces in which it is read.
    fn read(json: &str) -> io::Result<usize> {
        let in_pieces_of = |size: usize| {
            let (mut bounded, mut buffer, mut sum) = (BoundedJson::new(json.as_bytes()), vec![0; size], 0);
            while let count @ 1.. = bounded.read(&mut buffer)? {
                sum += count;
            }
            Ok(sum)
        };
        let [whole, others @ ..] = [64 << 10, 7, 1].map(in_pieces_of);
        assert!(others.iter().all(|other: &io::Result<usize>| other.is_ok() == whole.is_ok()));
        whole
    }

    #[test]
    fn real_tables_pass() {
        let value = format!(r#"{{"entries": [{{"xattrs": {{"a": "\\\"{}"}}}}], "b": "\\"}}"#, "[{".repeat(60_000));
        assert_eq!(read(&value).unwrap(), value.len());
        let siblings = "[[]],{},".repeat(1000);
        assert_eq!(read(&siblings).unwrap(), siblings.len());
    }

    #[test]
    fn strings_and_lists_without_end_do_not() {
        let long = "a".repeat(2_000_000);
        for endless in [format!("{{\"{long}\": 1}}"), format!("[\"{long}"), "[".repeat(100), "{\"a\":".repeat(100)] {
            let said = read(&endless).unwrap_err().to_string();
            assert!(said.contains("than any real one"), "{said}");
        }
    }
}
