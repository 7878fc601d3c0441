//! Parsing a shell file within bounds of time and stack: what is too deeply nested is not parsed at all.

use std::rc::Rc;

use shuck_parser::ShellDialect;
use shuck_parser::parser::{ParseStatus, Parser, ShellProfile};

use super::Dialect;

/// The largest text that is parsed, in bytes.
const LONGEST: usize = 64 << 10;
/// How deep brackets may be nested; the parser's time grows with the square of it.
const DEEPEST_BRACKETS: usize = 60;
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

/// The first line at which more brackets are open than any start-up file has. Brackets in quotes count as well.
fn too_deep(source: &str) -> Option<usize> {
    let mut open = 0_usize;
    for (number, line) in source.lines().enumerate() {
        for byte in line.bytes() {
            match byte {
                b'(' | b'{' | b'[' => open += 1,
                b')' | b'}' | b']' => open = open.saturating_sub(1),
                _ => {}
            }
        }
        if open > DEEPEST_BRACKETS || line.bytes().filter(|byte| matches!(byte, b'(' | b'{' | b'[')).count() > 1000 {
            return Some(number + 1);
        }
    }
    None
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
