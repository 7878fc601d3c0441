//! Reads TOML files into types, with errors that name file, line and field and, for an unknown key, the right one.

use std::fmt;
use std::ops::Range;

use serde::de::DeserializeOwned;

use crate::spelling;

/// What is wrong with a TOML file, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Error {
    /// The file, as it was named.
    pub file: String,
    /// The line, counted from 1.
    pub line: Option<usize>,
    /// The key that the error is about, where one can be told.
    pub field: Option<String>,
    /// What is wrong, a sentence without its full stop.
    pub message: String,
}

impl Error {
    /// An error about a field as a whole; the line is that of the first `field =` in `text`.
    pub fn about(file: &str, text: &str, field: &str, message: impl Into<String>) -> Self {
        let line = find_key(text, field).map(|at| line_of(text, at));
        Self { file: file.to_owned(), line, field: Some(field.to_owned()), message: message.into() }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        match &self.field {
            Some(field) => write!(f, ": {field}: {}", self.message),
            None => write!(f, ": {}", self.message),
        }
    }
}

/// Reads `text`, the content of `file`.
///
/// # Errors
/// It is not TOML, or not what `T` wants.
pub fn parse<T: DeserializeOwned>(file: &str, text: &str) -> Result<T, Error> {
    toml::from_str(text).map_err(|error| explain(file, text, &error))
}

fn explain(file: &str, text: &str, error: &toml::de::Error) -> Error {
    let span = error.span().unwrap_or(0..text.len());
    // The span of a table with a header is the header alone.
    let onward = span.start..text.len();
    let message = error.message().lines().next().unwrap_or_default();
    let (at, field, message) = match Complaint::read(message) {
        Some(Complaint { what: "field", word, known }) => {
            let at = find_key_in(text, &span, word).or_else(|| find_key_in(text, &onward, word)).unwrap_or(span.start);
            (at, None, format!("unknown key `{word}`{}", correction(word, &known)))
        }
        Some(Complaint { word, known, .. }) => {
            let quoted = format!("\"{word}\"");
            let at = text.get(onward).and_then(|part| part.find(&quoted)).map_or(span.start, |at| span.start + at);
            (at, key_at(text, at), format!("unknown value `{word}`{}", correction(word, &known)))
        }
        None => (span.start, key_at(text, span.start), message.replace("missing field", "missing key")),
    };
    Error { file: file.to_owned(), line: error.span().map(|_| line_of(text, at)), field, message }
}

fn correction(word: &str, known: &[&str]) -> String {
    match spelling::nearest(word, known.iter().copied()) {
        Some(right) => format!("; did you mean `{right}`?"),
        None if known.is_empty() => String::new(),
        None => format!("; known here: {}", known.join(", ")),
    }
}

/// serde's words for an unknown field or variant, taken apart.
struct Complaint<'a> {
    what: &'a str,
    word: &'a str,
    known: Vec<&'a str>,
}

impl<'a> Complaint<'a> {
    /// "unknown field `x`, expected one of `a`, `b`" (serde, `de::Error::unknown_field` and `unknown_variant`).
    fn read(message: &'a str) -> Option<Self> {
        let rest = message.strip_prefix("unknown ")?;
        let (what, rest) = rest.split_once(" `")?;
        let (word, rest) = rest.split_once("`, ")?;
        let known = rest.split('`').skip(1).step_by(2).collect();
        matches!(what, "field" | "variant").then_some(Self { what, word, known })
    }
}

/// The key that the line of `at` sets, if it sets one.
fn key_at(text: &str, at: usize) -> Option<String> {
    let start = text.get(..at)?.rfind('\n').map_or(0, |newline| newline + 1);
    let line = text.get(start..)?.lines().next()?;
    let (key, _) = line.split_once('=')?;
    let key = key.trim().trim_matches('"');
    let is_key = !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'));
    is_key.then(|| key.to_owned())
}

fn find_key(text: &str, key: &str) -> Option<usize> {
    find_key_in(text, &(0..text.len()), key)
}

/// Where `key` is set, as `key =` or as the last word of a table's name.
fn find_key_in(text: &str, span: &Range<usize>, key: &str) -> Option<usize> {
    let part = text.get(span.clone())?;
    let is_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    part.match_indices(key)
        .find(|(at, _)| {
            let before = part.get(..*at).and_then(|before| before.chars().next_back());
            let after = part.get(at + key.len()..).unwrap_or_default();
            let after = after.trim_start_matches(['"', ' ', '\t']);
            let ends = after.is_empty() || after.starts_with(['=', ']', '.']);
            !before.is_some_and(is_word) && ends
        })
        .map(|(at, _)| span.start + at)
}

fn line_of(text: &str, at: usize) -> usize {
    text.get(..at).map_or(1, |before| before.matches('\n').count() + 1)
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[allow(dead_code)]
    struct Sample {
        title: String,
        #[serde(default)]
        severity: Option<crate::verdict::Severity>,
        #[serde(default)]
        inner: Option<Inner>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(tag = "kind", rename_all = "kebab-case")]
    #[allow(dead_code)]
    enum Inner {
        First(Words),
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[allow(dead_code)]
    struct Words {
        words: Vec<String>,
    }

    fn error(text: &str) -> String {
        parse::<Sample>("a.toml", text).unwrap_err().to_string()
    }

    #[test]
    fn an_unknown_key_names_the_line_and_the_right_key() {
        assert_eq!(
            error("title = \"x\"\nsevrity = \"error\""),
            "a.toml:2: unknown key `sevrity`; did you mean `severity`?"
        );
        assert_eq!(
            error("title = \"x\"\ncolour = 1"),
            "a.toml:2: unknown key `colour`; known here: title, severity, inner"
        );
    }

    #[test]
    fn a_key_inside_a_tagged_table_is_found_too() {
        let text = "title = \"x\"\n[inner]\nkind = \"first\"\nwods = []\n";
        assert_eq!(error(text), "a.toml:4: unknown key `wods`; did you mean `words`?");
        let text = "title = \"x\"\ninner = { kind = \"frist\" }\n";
        assert_eq!(error(text), "a.toml:2: inner: unknown value `frist`; did you mean `first`?");
    }

    #[test]
    fn wrong_values_and_missing_keys_name_the_field() {
        let text = "title = \"x\"\nseverity = \"eror\"";
        assert_eq!(error(text), "a.toml:2: severity: unknown value `eror`; did you mean `error`?");
        assert!(error("title = 1").starts_with("a.toml:1: title: invalid type"), "{}", error("title = 1"));
        assert!(error("").contains("missing key `title`"), "{}", error(""));
        assert!(error("title = \n").starts_with("a.toml:1"), "{}", error("title = \n"));
    }
}
