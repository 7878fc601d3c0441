//! Shell patterns (`*`, `?`, `[a-z]`): matching a text, and the lengths of what they match at its start.

/// One piece of a pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Piece {
    Char(char),
    AnyChar,
    AnyString,
    Class { negated: bool, ranges: Vec<(char, char)> },
}

/// A pattern.
pub(super) type Pattern = Vec<Piece>;

/// The longest text and pattern that are matched; longer ones match nobody knows what.
pub(super) const LONGEST: usize = 1024;

/// A pattern from its text; a backslash takes the next character as it is.
pub(super) fn read(text: &str) -> Pattern {
    let mut pieces = Pattern::new();
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        pieces.push(match c {
            '*' => Piece::AnyString,
            '?' => Piece::AnyChar,
            '\\' => Piece::Char(rest.next().unwrap_or('\\')),
            '[' => match class(&rest.clone().collect::<String>()) {
                Some((class, length)) => {
                    for _ in 0..length {
                        rest.next();
                    }
                    class
                }
                None => Piece::Char('['),
            },
            c => Piece::Char(c),
        });
    }
    pieces
}

/// A class from what follows `[`, and how many characters it has.
pub(super) fn class(text: &str) -> Option<(Piece, usize)> {
    let chars: Vec<char> = text.chars().collect();
    let negated = matches!(chars.first(), Some('!' | '^'));
    let first = usize::from(negated);
    let end = (first + 1..chars.len()).find(|&at| chars[at] == ']')?;
    let inner = &chars[first..end];
    let mut ranges = Vec::new();
    let mut at = 0;
    while at < inner.len() {
        match inner.get(at..at + 3) {
            Some([from, '-', to]) => {
                ranges.push((*from, *to));
                at += 3;
            }
            _ => {
                ranges.push((inner[at], inner[at]));
                at += 1;
            }
        }
    }
    Some((Piece::Class { negated, ranges }, end + 1))
}

impl Piece {
    fn takes(&self, c: char) -> bool {
        match self {
            Self::Char(own) => *own == c,
            Self::AnyChar | Self::AnyString => true,
            Self::Class { negated, ranges } => *negated != ranges.iter().any(|(from, to)| (*from..=*to).contains(&c)),
        }
    }
}

/// Whether a pattern matches the whole text.
pub(super) fn matches(pattern: &[Piece], text: &str) -> bool {
    let chars: Vec<char> = text.chars().collect();
    lengths(pattern, &chars).last() == Some(&chars.len())
}

/// How many characters at the start of the text a pattern can match, in order.
pub(super) fn lengths(pattern: &[Piece], text: &[char]) -> Vec<usize> {
    // Which pieces may come next, before each character.
    let mut states = vec![false; pattern.len() + 1];
    states[0] = true;
    let mut found = Vec::new();
    for at in 0..=text.len() {
        for (number, piece) in pattern.iter().enumerate() {
            if states[number] && *piece == Piece::AnyString {
                states[number + 1] = true;
            }
        }
        if states[pattern.len()] {
            found.push(at);
        }
        let Some(&c) = text.get(at) else { break };
        let mut next = vec![false; pattern.len() + 1];
        for (number, piece) in pattern.iter().enumerate().filter(|(number, _)| states[*number]) {
            if piece.takes(c) {
                next[if *piece == Piece::AnyString { number } else { number + 1 }] = true;
            }
        }
        states = next;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_a_shell_s() {
        for (pattern, text, expected) in [
            ("*i*", "himBH", true),
            ("*i*", "hmBH", false),
            ("*:/x:*", ":/a:/x:/b:", true),
            ("[a-c]?", "bz", true),
            ("[!a-c]?", "bz", false),
            ("a\\*", "a*", true),
            ("a\\*", "ab", false),
            ("", "", true),
            ("*", "", true),
            ("[", "[", true),
        ] {
            assert_eq!(matches(&read(pattern), text), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn lengths_tell_the_shortest_and_the_longest_match() {
        let text: Vec<char> = "a/b/c".chars().collect();
        assert_eq!(lengths(&read("*/"), &text), [2, 4]);
    }
}
