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
        || matches!(character, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escape_sequences_do_not_survive() {
        assert_eq!(printable("a\x1b[31mb\r\n\u{9b}2J\u{202e}x"), "a\\u{1b}[31mb\\u{d}\\u{a}\\u{9b}2J\\u{202e}x");
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
