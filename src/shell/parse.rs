//! Parsing a shell file within bounds of time and stack: what is too deeply nested is not parsed at all.

use std::rc::Rc;

use shuck_parser::ShellDialect;
use shuck_parser::parser::{ParseStatus, Parser, ShellProfile};

use super::Dialect;

/// The largest text that is parsed, in bytes.
const LONGEST: usize = 64 << 10;
/// How deep brackets may be nested; the parser's time grows with the square of it.
const DEEPEST_BRACKETS: usize = 60;
/// How many brackets one line may open, and how many a file may leave open, quoted ones included.
const MOST_BRACKETS: usize = 1000;
const MOST_LEFT_OPEN: usize = 200;
/// How deep the parser may nest, and how many operations it may take.
const DEEPEST: usize = 60;
const MOST_OPERATIONS: usize = 100_000;

/// A parsed text.
pub(super) struct Parsed {
    pub(super) source: Rc<str>,
    pub(super) file: shuck_ast::File,
    /// Where the parser had to skip something, and why.
    pub(super) skipped: Option<(usize, String)>,
}

/// Parses a text.
///
/// # Errors
/// The line at which it cannot be parsed, and why.
pub(super) fn parse(source: &str, dialect: Dialect) -> Result<Parsed, (usize, String)> {
    if source.len() > LONGEST {
        return Err((0, format!("it has {} bytes, which is too much to parse", source.len())));
    }
    if let Some(line) = too_deep(source) {
        return Err((line, "its brackets are nested too deeply".to_owned()));
    }
    let shell = if dialect == Dialect::Zsh { ShellDialect::Zsh } else { ShellDialect::Bash };
    let result = Parser::with_limits_and_profile(source, DEEPEST, MOST_OPERATIONS, ShellProfile::native(shell)).parse();
    let first = result.diagnostics.first().map(|found| (found.span.start.line(), found.message.clone()));
    match result.status {
        ParseStatus::Fatal => Err(first.unwrap_or((0, "it cannot be parsed".to_owned()))),
        ParseStatus::Clean => Ok(Parsed { source: source.into(), file: result.file, skipped: None }),
        ParseStatus::Recovered => Ok(Parsed { source: source.into(), file: result.file, skipped: first }),
    }
}

/// The first line at which more brackets are open than any start-up file has. What is quoted is not nested, but for the
/// expansions in double quotes.
fn too_deep(source: &str) -> Option<usize> {
    // What is open: a bracket, or the quote that text stands in.
    let mut open: Vec<u8> = Vec::new();
    let mut brackets = 0_usize;
    for (number, line) in source.lines().enumerate() {
        let bytes = line.as_bytes();
        let mut at = 0;
        let mut in_line = 0_usize;
        while at < bytes.len() {
            let byte = bytes[at];
            let before = at.checked_sub(1).map(|at| bytes[at]);
            match (open.last(), byte) {
                (Some(b'\''), b'\'') => drop(open.pop()),
                (Some(b'\''), _) => {}
                (_, b'\\') => at += 1,
                (Some(b'"'), b'"') => drop(open.pop()),
                (Some(b'"'), b'(' | b'{') if before != Some(b'$') => {}
                (Some(b'"'), b'\'' | b')' | b'}' | b'#') => {}
                // A comment goes on to the end of the line.
                (_, b'#') if before.is_none_or(|before| matches!(before, b' ' | b'\t' | b';')) => break,
                (_, b'\'' | b'"') => open.push(byte),
                (_, b'(' | b'{') => {
                    open.push(byte);
                    brackets += 1;
                    in_line += 1;
                }
                (Some(b'(' | b'{'), b')' | b'}') => {
                    open.pop();
                    brackets = brackets.saturating_sub(1);
                }
                _ => {}
            }
            at += 1;
        }
        if brackets > DEEPEST_BRACKETS || in_line > MOST_BRACKETS || open.len() > 4 * DEEPEST_BRACKETS {
            return Some(number + 1);
        }
    }
    // What is not balanced may be read otherwise than it was here.
    let raw = |brackets: [u8; 2]| source.bytes().filter(|byte| brackets.contains(byte)).count();
    let left_open = raw([b'(', b'{']).saturating_sub(raw([b')', b'}']));
    (left_open > MOST_LEFT_OPEN).then_some(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_nested_too_deeply_is_not_parsed() {
        for piece in ["(", "$(", "${a:-", "$((", "{a,{b,", "[[ (", "if a; then (", "`", "\"$(", "f() { "] {
            let _ = parse(&piece.repeat(LONGEST / piece.len()), Dialect::Posix);
        }
        assert!(parse(&"$((".repeat(10_000), Dialect::Posix).is_err());
        assert!(parse(&"x".repeat(LONGEST + 1), Dialect::Posix).is_err());
        assert!(
            parse("if true; then PATH=/x:$PATH; fi\n", Dialect::Posix).is_ok_and(|parsed| parsed.skipped.is_none())
        );
    }
}
