//! Reads JSON documents as Go's `encoding/json` does, because that is what engines read them with.
//!
//! The case of keys does not matter, `null` leaves a value as it is, broken Unicode is replaced, and a number that
//! is not read may be of any size (pkg.go.dev/encoding/json, `Unmarshal`; decode.go).

mod scan;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::fmt;

use scan::Scanner;

/// Why a document cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct JsonError {
    /// The field, such as `config.Env`; empty for the document as a whole.
    pub field: String,
    /// What is wrong with it, the end of a sentence.
    pub why: String,
}

impl fmt::Display for JsonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.field.as_str() {
            "" => f.write_str(&self.why),
            field => write!(f, "{field}: {}", self.why),
        }
    }
}

/// What reading a part of a document gives.
pub type Read<T> = Result<T, JsonError>;

/// What happens to a known key that an object has twice, which may be in another case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repeats {
    /// It is an error: no honest tool writes such a document, and tools that read it do not agree about it.
    Refused,
    /// The last one counts, as in Go.
    LastWins,
}

/// A document that is being read from its start to its end.
pub struct Json<'a> {
    scanner: Scanner<'a>,
    repeats: Repeats,
    /// The keys that lead to where it is.
    path: Vec<String>,
}

/// Reads a document: `read` takes its one value.
///
/// # Errors
/// It is not JSON, or `read` fails.
pub fn read<'a, T>(bytes: &'a [u8], repeats: Repeats, read: impl FnOnce(&mut Json<'a>) -> Read<T>) -> Read<T> {
    let whole = |why: String| JsonError { field: String::new(), why };
    if bytes.starts_with(b"\xef\xbb\xbf") {
        return Err(whole("it begins with a byte order mark, which JSON does not have".to_owned()));
    }
    // As Go: nothing is read of a document that is broken further on.
    let mut scanner = Scanner::new(bytes);
    scanner
        .skip()
        .and_then(|()| scanner.end())
        .map_err(|at| whole(format!("it is not JSON: {}", scan::place(bytes, at))))?;
    read(&mut Json { scanner: Scanner::new(bytes), repeats, path: Vec::new() })
}

impl<'a> Json<'a> {
    /// Reads an object's keys that are among `known`, in any case; `each` takes the value of one.
    ///
    /// # Errors
    /// The value is not an object, a key is there twice and must not be, or `each` fails.
    pub fn fields(
        &mut self,
        known: &[&'static str],
        mut each: impl FnMut(&mut Self, &'static str) -> Read<()>,
    ) -> Read<()> {
        let mut seen: Vec<Option<Cow<'a, str>>> = vec![None; known.len()];
        self.object(|json, key| {
            let Some(number) = known.iter().position(|known| is_same_key(&key, known)) else { return json.skip() };
            if let Some(before) = &seen[number]
                && json.repeats == Repeats::Refused
            {
                let as_what = if *before == key { String::new() } else { format!(" (as {before:?} and {key:?})") };
                json.path.push(known[number].to_owned());
                return Err(
                    json.error(format!("the key is there twice{as_what}, and tools do not agree which one counts"))
                );
            }
            seen[number] = Some(key);
            json.path.push(known[number].to_owned());
            each(json, known[number])?;
            json.path.pop();
            Ok(())
        })
        .map(drop)
    }

    /// Reads an object whose keys are names of the document's own; `each` takes the value of one. Equal names are not
    /// joined. Says whether there was an object: `null` is none.
    ///
    /// # Errors
    /// The value is not an object, or `each` fails.
    pub fn object(&mut self, mut each: impl FnMut(&mut Self, Cow<'a, str>) -> Read<()>) -> Read<bool> {
        if self.is_null()? {
            return Ok(false);
        }
        if self.scanner.peek() != Some(b'{') {
            return Err(self.wrong_kind("an object"));
        }
        let mut is_first = true;
        while self.next_of(b'{', b'}', &mut is_first)? {
            let key = self.string()?;
            self.expect(b':')?;
            each(self, key)?;
        }
        Ok(true)
    }

    /// Reads a list; `each` takes the item of a number. Says whether there was a list: `null` is none.
    ///
    /// # Errors
    /// The value is not a list, or `each` fails.
    pub fn items(&mut self, mut each: impl FnMut(&mut Self, usize) -> Read<()>) -> Read<bool> {
        if self.is_null()? {
            return Ok(false);
        }
        if self.scanner.peek() != Some(b'[') {
            return Err(self.wrong_kind("a list"));
        }
        let (mut is_first, mut number) = (true, 0);
        while self.next_of(b'[', b']', &mut is_first)? {
            each(self, number)?;
            number += 1;
        }
        Ok(true)
    }

    /// A text; `None` for `null`.
    ///
    /// # Errors
    /// The value is something else.
    pub fn text(&mut self) -> Read<Option<String>> {
        if self.is_null()? {
            return Ok(None);
        }
        match self.is_text() {
            true => self.string().map(|text| Some(text.into_owned())),
            false => Err(self.wrong_kind("a text")),
        }
    }

    /// A list of texts, of which those that are `null` are empty; empty for `null`.
    ///
    /// # Errors
    /// The value is something else.
    pub fn texts(&mut self) -> Read<Vec<String>> {
        let mut all = Vec::new();
        self.items(|json, _| {
            all.push(json.text()?.unwrap_or_default());
            Ok(())
        })?;
        Ok(all)
    }

    /// Texts by names, of which the last one of a name counts, and those that are `null` are empty.
    ///
    /// # Errors
    /// The value is something else.
    pub fn texts_by_name(&mut self) -> Read<std::collections::BTreeMap<String, String>> {
        let mut all = std::collections::BTreeMap::new();
        self.object(|json, name| {
            let text = json.text()?.unwrap_or_default();
            all.insert(name.into_owned(), text);
            Ok(())
        })?;
        Ok(all)
    }

    /// A whole number; `None` for `null`.
    ///
    /// # Errors
    /// The value is something else, or is no number of 64 bits.
    pub fn integer(&mut self) -> Read<Option<i64>> {
        if self.is_null()? {
            return Ok(None);
        }
        self.scanner.peek();
        let start = self.scanner.at();
        if !matches!(self.scanner.peek(), Some(b'-' | b'0'..=b'9')) {
            return Err(self.wrong_kind("a number"));
        }
        self.skip()?;
        let text = self.scanner.since(start);
        let number = std::str::from_utf8(text).ok().and_then(|text| text.parse().ok());
        number.map(Some).ok_or_else(|| self.error("it is not a whole number of 64 bits".to_owned()))
    }

    /// The whole part of a number; `None` for a value of another kind.
    ///
    /// # Errors
    /// The document ends.
    pub fn any_number(&mut self) -> Read<Option<i64>> {
        self.scanner.peek();
        let start = self.scanner.at();
        self.skip()?;
        let number = std::str::from_utf8(self.scanner.since(start)).ok().and_then(|text| text.parse::<f64>().ok());
        // A cast of a number that is too large gives the largest.
        Ok(number.map(|number| number as i64))
    }

    /// Yes or no; `None` for `null`.
    ///
    /// # Errors
    /// The value is something else.
    pub fn boolean(&mut self) -> Read<Option<bool>> {
        match self.scanner.peek() {
            Some(b'n') => self.skip().map(|()| None),
            Some(b't') => self.skip().map(|()| Some(true)),
            Some(b'f') => self.skip().map(|()| Some(false)),
            _ => Err(self.wrong_kind("true or false")),
        }
    }

    /// Whether the value is a text.
    #[must_use]
    pub fn is_text(&mut self) -> bool {
        self.scanner.peek() == Some(b'"')
    }

    /// Takes a `null`, if that is what comes.
    ///
    /// # Errors
    /// The document ends.
    pub fn is_null(&mut self) -> Read<bool> {
        let is_null = self.scanner.peek() == Some(b'n');
        if is_null {
            self.skip()?;
        }
        Ok(is_null)
    }

    /// Passes over a value.
    ///
    /// # Errors
    /// The document ends.
    pub fn skip(&mut self) -> Read<()> {
        self.scanner.skip().map_err(|_| self.error("it is not JSON".to_owned()))
    }

    /// An error about where it is.
    #[must_use]
    pub fn error(&self, why: String) -> JsonError {
        JsonError { field: self.path.join("."), why }
    }

    fn wrong_kind(&mut self, wanted: &str) -> JsonError {
        let is = match self.scanner.peek() {
            Some(b'{') => "an object",
            Some(b'[') => "a list",
            Some(b'"') => "a text",
            Some(b't' | b'f') => "true or false",
            _ => "a number",
        };
        self.error(format!("it is {is}, not {wanted}"))
    }

    fn string(&mut self) -> Read<Cow<'a, str>> {
        self.scanner.string().map_err(|_| self.error("it is not JSON".to_owned()))
    }

    /// Goes on to the next item of a list or an object; says whether there is one.
    fn next_of(&mut self, open: u8, close: u8, is_first: &mut bool) -> Read<bool> {
        let before = if std::mem::take(is_first) { open } else { b',' };
        match self.scanner.peek() {
            Some(byte) if byte == close && before == b',' => self.expect(close).map(|()| false),
            _ => {
                self.expect(before)?;
                let is_empty = before == open && self.scanner.peek() == Some(close);
                if is_empty {
                    self.expect(close)?;
                }
                Ok(!is_empty)
            }
        }
    }

    fn expect(&mut self, byte: u8) -> Read<()> {
        if self.scanner.take(byte) { Ok(()) } else { Err(self.error("it is not JSON".to_owned())) }
    }
}

/// Whether Go takes `key` for the field `name` of a structure: it folds case by Unicode, where two letters more are the
/// same as ASCII's (encoding/json, fold.go).
fn is_same_key(key: &str, name: &str) -> bool {
    let folded = |letter: char| match letter {
        '\u{17f}' => 's',
        '\u{212a}' => 'k',
        letter => letter.to_ascii_lowercase(),
    };
    key.chars().map(folded).eq(name.chars().map(folded))
}
