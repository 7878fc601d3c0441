//! Reads the answers of a Redis server (RESP2, the Redis serialization protocol specification), each within bounds.

use std::io::{self, BufRead, Read as _};

use super::super::LARGEST_STORED;

/// The longest line that is not content: a status, a number, an error.
const LONGEST_LINE: usize = 1024;
/// The longest key, and the most of them in one page of a list.
const LONGEST_KEY: usize = 4096;
const MOST_KEYS: usize = 100_000;
/// The most bytes of one page.
const LARGEST_PAGE: usize = LARGEST_STORED;

/// Why an answer cannot be used.
#[derive(Debug)]
pub(super) enum Trouble {
    /// It does not come.
    Lost(io::Error),
    /// The server refuses.
    Refused(String),
    /// It is not what Redis answers; with its first byte, if that is known.
    Garbled(Option<u8>),
    /// Something else: the end of a sentence.
    Other(String),
}

impl Trouble {
    pub(super) fn new(why: String) -> Self {
        Self::Other(why)
    }

    pub(super) fn garbled() -> Self {
        Self::Garbled(None)
    }
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        Self::Lost(error)
    }
}

/// A status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Said {
    /// It was done.
    Ok,
    /// Another word, such as PONG.
    Other,
}

/// The answers that come from a server.
pub(super) struct Answers<'a, R>(pub(super) &'a mut R);

impl<R: BufRead> Answers<'_, R> {
    /// The next answer, which is a status.
    ///
    /// # Errors
    /// It is something else, or does not come.
    pub(super) fn status(&mut self) -> Result<Said, Trouble> {
        Ok(if self.line(b'+')? == b"OK" { Said::Ok } else { Said::Other })
    }

    /// The next answer, which is a number.
    ///
    /// # Errors
    /// It is something else, or does not come.
    pub(super) fn number(&mut self) -> Result<u64, Trouble> {
        number(&self.line(b':')?)
    }

    /// The next answer, which is content of at most so many bytes; empty if there is none.
    ///
    /// # Errors
    /// It is something else or more, or does not come.
    pub(super) fn bytes(&mut self, most: usize) -> Result<Vec<u8>, Trouble> {
        let line = self.line(b'$')?;
        if line == b"-1" {
            return Ok(Vec::new());
        }
        let length = usize::try_from(number(&line)?).ok().filter(|length| *length <= most);
        let length = length.ok_or_else(|| Trouble::Other("its answer is longer than was asked for".to_owned()))?;
        let mut bytes = Vec::with_capacity(length);
        self.0.take(length as u64).read_to_end(&mut bytes)?;
        if bytes.len() < length {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        let mut end = [0; 2];
        self.0.read_exact(&mut end)?;
        if end == *b"\r\n" { Ok(bytes) } else { Err(Trouble::garbled()) }
    }

    /// The next answer, which is a page of a list of keys: where the list goes on, and the keys.
    ///
    /// # Errors
    /// It is something else or more, or does not come.
    pub(super) fn page(&mut self) -> Result<(Vec<u8>, Vec<Vec<u8>>), Trouble> {
        if number(&self.line(b'*')?)? != 2 {
            return Err(Trouble::garbled());
        }
        let cursor = self.bytes(LONGEST_KEY)?;
        let count = usize::try_from(number(&self.line(b'*')?)?).ok().filter(|count| *count <= MOST_KEYS);
        let (mut keys, mut room) = (Vec::new(), LARGEST_PAGE);
        for _ in 0..count.ok_or_else(Trouble::garbled)? {
            let key = self.bytes(LONGEST_KEY.min(room))?;
            room -= key.len();
            keys.push(key);
        }
        Ok((cursor, keys))
    }

    /// The rest of a line that begins with `kind`.
    fn line(&mut self, kind: u8) -> Result<Vec<u8>, Trouble> {
        let mut line = Vec::new();
        self.0.take(LONGEST_LINE as u64).read_until(b'\n', &mut line)?;
        let Some(&first) = line.first() else { return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()) };
        if !matches!(first, b'+' | b'-' | b':' | b'$' | b'*') {
            return Err(Trouble::Garbled(Some(first)));
        }
        let Some(rest) = line.strip_suffix(b"\r\n") else {
            // Half a line is what an end in the middle leaves.
            let is_cut = line.len() < LONGEST_LINE && !line.ends_with(b"\n");
            return Err(if is_cut { io::Error::from(io::ErrorKind::UnexpectedEof).into() } else { Trouble::garbled() });
        };
        match first {
            _ if first == kind => Ok(rest[1..].to_vec()),
            b'-' => Err(Trouble::Refused(String::from_utf8_lossy(&rest[1..]).into_owned())),
            _ => Err(Trouble::garbled()),
        }
    }
}

fn number(digits: &[u8]) -> Result<u64, Trouble> {
    let text = std::str::from_utf8(digits).map_err(|_| Trouble::garbled())?;
    text.parse().map_err(|_| Trouble::garbled())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of<T>(bytes: &[u8], ask: impl FnOnce(&mut Answers<'_, &[u8]>) -> Result<T, Trouble>) -> Result<T, String> {
        let mut bytes = bytes;
        ask(&mut Answers(&mut bytes)).map_err(|trouble| format!("{trouble:?}"))
    }

    #[test]
    fn answers_are_read_as_they_are_specified() {
        assert_eq!(of(b"+OK\r\n", |answers| answers.status()), Ok(Said::Ok));
        assert_eq!(of(b"+PONG\r\n", |answers| answers.status()), Ok(Said::Other));
        assert_eq!(of(b":12\r\n", |answers| answers.number()), Ok(12));
        assert_eq!(of(b"$3\r\na\r\n\r\n", |answers| answers.bytes(3)), Ok(b"a\r\n".to_vec()));
        assert_eq!(of(b"$-1\r\n", |answers| answers.bytes(3)), Ok(Vec::new()));
        let page = of(b"*2\r\n$1\r\n7\r\n*2\r\n$1\r\na\r\n$0\r\n\r\n", |answers| answers.page());
        assert_eq!(page, Ok((b"7".to_vec(), vec![b"a".to_vec(), Vec::new()])));
        assert_eq!(of(b"-NOAUTH x\r\n", |answers| answers.number()), Err("Refused(\"NOAUTH x\")".to_owned()));
    }

    #[test]
    fn what_is_longer_or_something_else_is_an_error_before_it_is_read() {
        let is_wrong = |bytes: &[u8]| of(bytes, |answers| answers.bytes(3)).unwrap_err();
        assert!(is_wrong(b"$4\r\nabcd\r\n").contains("longer than was asked for"));
        assert!(is_wrong(b"$18446744073709551616\r\n").contains("Garbled"));
        assert!(is_wrong(b"$3\r\nabcd\r\n").contains("Garbled"));
        assert!(is_wrong(b"$3\r\nab").contains("UnexpectedEof"));
        assert!(is_wrong(b"$").contains("UnexpectedEof"));
        assert!(is_wrong(b"").contains("UnexpectedEof"));
        assert!(is_wrong(b"\x15\x03\x01\0\x02\x02").contains("Garbled(Some(21))"));
        assert!(is_wrong(&[b'+'; 2000]).contains("Garbled"));
        assert!(of(b"*2\r\n$1\r\n0\r\n*100001\r\n", |answers| answers.page()).is_err());
        assert!(of(b"*9\r\n", |answers| answers.page()).is_err());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20_000))]

        #[test]
        fn no_answer_makes_a_panic(bytes in "[-+:$*0-9a\r\n]{0,40}") {
            let bytes = bytes.as_bytes();
            let _ = of(bytes, |answers| answers.status());
            let _ = of(bytes, |answers| answers.number());
            let _ = of(bytes, |answers| answers.page());
            if let Ok(read) = of(bytes, |answers| answers.bytes(8)) {
                prop_assert!(read.len() <= 8);
            }
        }
    }
}
