//! Text that came from an image, made safe to print.

use std::borrow::Cow;

/// Replaces what could steer a terminal or reorder a line: control characters (C0, DEL, C1) and the Unicode
/// direction marks become `\u{…}`; everything else stays as it is.
#[must_use]
pub fn printable(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_unsafe) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        if is_unsafe(character) {
            safe.extend(character.escape_unicode());
        } else {
            safe.push(character);
        }
    }
    Cow::Owned(safe)
}

/// [`printable`], cut to at most `limit` characters with `…` at the end.
#[must_use]
pub fn excerpt(text: &str, limit: usize) -> String {
    let safe = printable(text);
    if safe.chars().count() <= limit {
        return safe.into_owned();
    }
    let mut short: String = safe.chars().take(limit.saturating_sub(1)).collect();
    short.push('…');
    short
}

fn is_unsafe(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{206f}'
        )
}

/// [`printable`] for a whole page, in which lines end and tabs are meant.
#[must_use]
pub fn printable_lines(text: &str) -> Cow<'_, str> {
    escaped(text, |character, out| out.extend(character.escape_unicode()))
}

/// A JSON document in which nothing can steer a terminal or reorder a line: what could becomes `\uXXXX`, which means the
/// same in the texts of the document, the only place where it can be.
#[must_use]
pub fn printable_json(document: &str) -> Cow<'_, str> {
    escaped(document, |character, out| {
        for unit in character.encode_utf16(&mut [0; 2]) {
            out.push_str(&format!("\\u{unit:04x}"));
        }
    })
}

fn escaped(text: &str, escape: impl Fn(char, &mut String)) -> Cow<'_, str> {
    let is_escaped = |character: char| is_unsafe(character) && !matches!(character, '\n' | '\t');
    if !text.chars().any(is_escaped) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        if is_escaped(character) {
            escape(character, &mut safe);
        } else {
            safe.push(character);
        }
    }
    Cow::Owned(safe)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escape_sequences_do_not_survive() {
        assert_eq!(printable("a\x1b[31mb\r\n\u{9b}2J\u{202e}x"), "a\\u{1b}[31mb\\u{d}\\u{a}\\u{9b}2J\\u{202e}x");
    }

    #[test]
    fn pages_keep_their_lines_and_json_its_meaning() {
        assert_eq!(printable_lines("a\n\tb\rc\u{61c}"), "a\n\tb\\u{d}c\\u{61c}");
        let text = "\u{7f}\u{85}\u{202e}\u{2028}";
        let document = serde_json::to_string(&text).unwrap();
        let safe = printable_json(&document);
        assert_eq!(safe, "\"\\u007f\\u0085\\u202e\\u2028\"");
        assert_eq!(serde_json::from_str::<String>(&safe).unwrap(), text);
    }

    #[test]
    fn ordinary_text_is_not_copied() {
        assert!(matches!(printable("Grüße, 世界"), Cow::Borrowed(_)));
    }

    #[test]
    fn an_excerpt_is_never_longer_than_asked() {
        assert_eq!(excerpt("abcdef", 6), "abcdef");
        assert_eq!(excerpt("abcdefg", 6), "abcde…");
    }
}
