//! The syntax of JSON: passes over values and unquotes texts, as Go's scanner does.

use std::borrow::Cow;

/// How deep Go's scanner goes (encoding/json, scanner.go, `maxNestingDepth`).
const DEEPEST: usize = 10_000;

/// A place in a document.
pub(super) struct Scanner<'a> {
    bytes: &'a [u8],
    at: usize,
}

/// Where the syntax is broken, in bytes.
pub(super) type Scan<T> = Result<T, usize>;

impl<'a> Scanner<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    pub(super) fn at(&self) -> usize {
        self.at
    }

    /// What was passed since `start`.
    pub(super) fn since(&self, start: usize) -> &'a [u8] {
        self.bytes.get(start..self.at).unwrap_or_default()
    }

    /// The byte that the next value or mark begins with.
    pub(super) fn peek(&mut self) -> Option<u8> {
        while let Some(b' ' | b'\t' | b'\r' | b'\n') = self.bytes.get(self.at) {
            self.at += 1;
        }
        self.bytes.get(self.at).copied()
    }

    /// Takes a mark, if it is what comes.
    pub(super) fn take(&mut self, mark: u8) -> bool {
        let is_it = self.peek() == Some(mark);
        self.at += usize::from(is_it);
        is_it
    }

    /// That nothing follows.
    pub(super) fn end(&mut self) -> Scan<()> {
        self.peek().map_or(Ok(()), |_| Err(self.at))
    }

    /// Passes over a value, however deep it is.
    pub(super) fn skip(&mut self) -> Scan<()> {
        let mut open = Vec::new();
        loop {
            match self.peek().ok_or(self.at)? {
                mark @ (b'{' | b'[') => {
                    self.at += 1;
                    if !self.take(closing(mark)) {
                        if open.len() >= DEEPEST {
                            return Err(self.at);
                        }
                        open.push(mark);
                        self.before_value(mark)?;
                        continue;
                    }
                }
                b'"' => self.pass_string()?,
                b'-' | b'0'..=b'9' => self.number()?,
                _ => self.word()?,
            }
            loop {
                let Some(mark) = open.last().copied() else { return Ok(()) };
                if self.take(b',') {
                    self.before_value(mark)?;
                    break;
                }
                if !self.take(closing(mark)) {
                    return Err(self.at);
                }
                open.pop();
            }
        }
    }

    /// In an object, a key.
    fn before_value(&mut self, mark: u8) -> Scan<()> {
        if mark == b'[' {
            return Ok(());
        }
        self.pass_string()?;
        if self.take(b':') { Ok(()) } else { Err(self.at) }
    }

    fn word(&mut self) -> Scan<()> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let word =
            ["null", "true", "false"].into_iter().find(|word| rest.starts_with(word.as_bytes())).ok_or(self.at)?;
        self.at += word.len();
        Ok(())
    }

    fn number(&mut self) -> Scan<()> {
        self.at += usize::from(self.bytes.get(self.at) == Some(&b'-'));
        if self.bytes.get(self.at) == Some(&b'0') {
            self.at += 1;
        } else {
            self.digits()?;
        }
        if self.bytes.get(self.at) == Some(&b'.') {
            self.at += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.bytes.get(self.at) {
            self.at += 1;
            self.at += usize::from(matches!(self.bytes.get(self.at), Some(b'+' | b'-')));
            self.digits()?;
        }
        Ok(())
    }

    fn digits(&mut self) -> Scan<()> {
        let start = self.at;
        while self.bytes.get(self.at).is_some_and(u8::is_ascii_digit) {
            self.at += 1;
        }
        if self.at > start { Ok(()) } else { Err(self.at) }
    }

    /// Passes over a text with its quotes.
    fn pass_string(&mut self) -> Scan<()> {
        if !self.take(b'"') {
            return Err(self.at);
        }
        loop {
            match self.bytes.get(self.at).ok_or(self.at)? {
                b'"' => {
                    self.at += 1;
                    return Ok(());
                }
                b'\\' => {
                    let escape = self.bytes.get(self.at + 1).ok_or(self.at)?;
                    let length = match escape {
                        b'u' if code_unit(self.bytes, self.at).is_some() => 6,
                        b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => 2,
                        _ => return Err(self.at),
                    };
                    self.at += length;
                }
                0..=0x1f => return Err(self.at),
                _ => self.at += 1,
            }
        }
    }

    /// A text without its quotes. Bytes that are not UTF-8 and halves of surrogate pairs become U+FFFD, each its own
    /// (encoding/json, decode.go, `unquoteBytes`).
    pub(super) fn string(&mut self) -> Scan<Cow<'a, str>> {
        self.peek();
        let start = self.at + 1;
        self.pass_string()?;
        let raw = self.bytes.get(start..self.at - 1).unwrap_or_default();
        match std::str::from_utf8(raw) {
            Ok(text) if !raw.contains(&b'\\') => Ok(Cow::Borrowed(text)),
            _ => Ok(Cow::Owned(unquoted(raw))),
        }
    }
}

fn closing(mark: u8) -> u8 {
    if mark == b'{' { b'}' } else { b']' }
}

fn unquoted(raw: &[u8]) -> String {
    let mut text = String::with_capacity(raw.len());
    let mut at = 0;
    while let Some(&byte) = raw.get(at) {
        if byte != b'\\' {
            let end = raw[at..].iter().position(|byte| *byte == b'\\').map_or(raw.len(), |length| at + length);
            push_lossy(&mut text, &raw[at..end]);
            at = end;
            continue;
        }
        let escape = raw.get(at + 1).copied().unwrap_or_default();
        let plain = match escape {
            b'u' => {
                let unit = code_unit(raw, at).unwrap_or(0xfffd);
                let pair = code_unit(raw, at + 6).map(|second| char::decode_utf16([unit, second]).next());
                let (letter, length) = match (char::from_u32(u32::from(unit)), pair) {
                    (Some(letter), _) => (letter, 6),
                    (None, Some(Some(Ok(letter)))) => (letter, 12),
                    (None, _) => (char::REPLACEMENT_CHARACTER, 6),
                };
                text.push(letter);
                at += length;
                continue;
            }
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            other => char::from(other),
        };
        text.push(plain);
        at += 2;
    }
    text
}

/// The four digits of `\uXXXX` at a place.
fn code_unit(bytes: &[u8], at: usize) -> Option<u16> {
    let digits = bytes.get(at..at + 6)?.strip_prefix(b"\\u")?;
    let is_hex = digits.iter().all(u8::is_ascii_hexdigit);
    std::str::from_utf8(digits).ok().filter(|_| is_hex).and_then(|digits| u16::from_str_radix(digits, 16).ok())
}

/// Adds bytes with one U+FFFD for each that is not part of a character, as Go's `utf8.DecodeRune` counts them.
fn push_lossy(text: &mut String, bytes: &[u8]) {
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        text.extend(chunk.invalid().iter().map(|_| char::REPLACEMENT_CHARACTER));
    }
}

/// A place in words, lines and columns counted from 1.
pub(super) fn place(bytes: &[u8], at: usize) -> String {
    let before = bytes.get(..at).unwrap_or(bytes);
    if at >= bytes.len() {
        return "it ends too early".to_owned();
    }
    let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
    let column = before.iter().rev().take_while(|byte| **byte != b'\n').count() + 1;
    format!("line {line}, column {column}")
}
