//! Bounds what a parser of a table of contents has to keep in memory at a time.

use std::io::{self, Read};

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

    fn is_in_bounds(&mut self, byte: u8) -> bool {
        match (&mut self.string, byte) {
            (Some(length), _) if self.is_escaped || byte != b'"' => {
                *length += 1;
                self.is_escaped = byte == b'\\' && !self.is_escaped;
                *length <= LONGEST_STRING
            }
            (Some(_), _) => {
                self.string = None;
                true
            }
            (None, b'"') => {
                self.string = Some(0);
                true
            }
            (None, b'[' | b'{') => {
                self.depth += 1;
                self.depth <= DEEPEST
            }
            (None, b']' | b'}') => {
                self.depth = self.depth.saturating_sub(1);
                true
            }
            _ => true,
        }
    }
}

impl<R: Read> Read for BoundedJson<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        if buffer[..count].iter().all(|&byte| self.is_in_bounds(byte)) {
            return Ok(count);
        }
        Err(io::Error::other("it has longer strings or deeper lists than any real one"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> io::Result<usize> {
        io::copy(&mut BoundedJson::new(json.as_bytes()), &mut io::sink()).map(|count| count as usize)
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
