//! Reads configuration files of OpenSSL as its own parser does: sections, variables, included files.
//!
//! Source: OpenSSL, crypto/conf/conf_def.c (`def_load_bio`, `str_copy`), config(5).

use std::collections::BTreeMap;

/// The most lines and included files that are read.
const MOST_LINES: usize = 20_000;
const MOST_FILES: usize = 64;
/// The longest value, in bytes, after variables are put in.
const LONGEST_VALUE: usize = 64 << 10;

/// What a configuration says: the settings of each section, in order.
pub type Sections = BTreeMap<String, Vec<(String, String)>>;

/// Why there are no settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unread {
    /// The library passes over the whole file.
    PassedOver,
    /// It is not known: why, a sentence.
    Open(String),
}

/// A file that is included.
pub enum Included {
    /// These files' content, in the order in which they are read.
    Files(Vec<Vec<u8>>),
    /// Nothing is there, which is no error.
    Missing,
    /// It is not known: why, a sentence.
    Open(String),
}

/// Reads a configuration. `include` gives a file or folder by its path; `environment` a variable.
///
/// # Errors
/// The library would pass over it, or it is not known what it says.
pub fn read(
    content: &[u8],
    environment: &dyn Fn(&str) -> Option<String>,
    include: &dyn Fn(&str) -> Included,
) -> Result<Sections, Unread> {
    let mut reader = Reader {
        sections: Sections::new(),
        section: "default".to_owned(),
        folder: None,
        lines: 0,
        files: 0,
        environment,
        include,
    };
    reader.file(content, 0)?;
    Ok(reader.sections)
}

struct Reader<'a> {
    sections: Sections,
    section: String,
    /// What `.pragma includedir` names.
    folder: Option<String>,
    lines: usize,
    files: usize,
    environment: &'a dyn Fn(&str) -> Option<String>,
    include: &'a dyn Fn(&str) -> Included,
}

impl Reader<'_> {
    fn file(&mut self, content: &[u8], depth: usize) -> Result<(), Unread> {
        self.files += 1;
        if self.files > MOST_FILES || depth > 8 {
            return Err(Unread::Open("it includes too many files".to_owned()));
        }
        let text = String::from_utf8_lossy(content);
        let mut lines = text.strip_prefix('\u{feff}').unwrap_or(&text).lines();
        while let Some(first) = lines.next() {
            let mut line = without_comment(first.trim_end());
            // A backslash at the end goes on with the next line.
            while line.ends_with('\\') && !line.ends_with("\\\\") {
                line.pop();
                self.lines += 1;
                match lines.next() {
                    Some(more) if line.len() < LONGEST_VALUE => line.push_str(&without_comment(more.trim_end())),
                    _ => break,
                }
            }
            self.lines += 1;
            if self.lines > MOST_LINES {
                return Err(Unread::Open("it has too many lines".to_owned()));
            }
            self.line(line.trim(), depth)?;
        }
        Ok(())
    }

    fn line(&mut self, line: &str, depth: usize) -> Result<(), Unread> {
        if line.is_empty() {
            return Ok(());
        }
        if let Some(rest) = line.strip_prefix('[') {
            let (name, _) = rest.split_once(']').ok_or(Unread::PassedOver)?;
            self.section = self.expanded(name.trim())?;
            self.sections.entry(self.section.clone()).or_default();
            return Ok(());
        }
        if let Some(rest) = directive(line, ".include") {
            return self.included(rest, depth);
        }
        if let Some(rest) = directive(line, ".pragma") {
            let (name, value) = rest.split_once(':').unwrap_or((rest, ""));
            match name.trim() {
                "includedir" => self.folder = Some(value.trim().to_owned()),
                "dollarid" if !matches!(value.trim(), "off" | "false") => {
                    return Err(Unread::Open("it uses .pragma dollarid".to_owned()));
                }
                _ => {}
            }
            return Ok(());
        }
        let (name, value) = line.split_once('=').ok_or(Unread::PassedOver)?;
        let (section, name) = match name.trim().split_once("::") {
            Some((section, name)) => (section.to_owned(), name.trim()),
            None => (self.section.clone(), name.trim()),
        };
        if name.contains(|character: char| character.is_whitespace()) {
            return Err(Unread::PassedOver);
        }
        let value = self.value(value.trim(), &section)?;
        self.sections.entry(section).or_default().push((name.to_owned(), value));
        Ok(())
    }

    fn included(&mut self, rest: &str, depth: usize) -> Result<(), Unread> {
        let path = self.expanded(rest.trim_start_matches('=').trim())?;
        let folder = self.folder.clone().or_else(|| (self.environment)("OPENSSL_CONF_INCLUDE"));
        let path = match folder {
            _ if path.starts_with('/') => path,
            Some(folder) => format!("{}/{path}", folder.trim_end_matches('/')),
            None => return Err(Unread::Open(format!("it includes {path:?}, which depends on the working folder"))),
        };
        match (self.include)(&path) {
            Included::Missing => Ok(()),
            Included::Open(why) => Err(Unread::Open(why)),
            Included::Files(files) => files.iter().try_for_each(|content| self.file(content, depth + 1)),
        }
    }

    fn expanded(&self, text: &str) -> Result<String, Unread> {
        self.value(text, &self.section)
    }

    /// A value without quotes and escapes, with variables put in.
    fn value(&self, text: &str, section: &str) -> Result<String, Unread> {
        let mut value = String::new();
        let mut rest = text;
        while let Some(character) = rest.chars().next() {
            rest = &rest[character.len_utf8()..];
            match character {
                '"' | '\'' | '`' => {
                    let end = rest.find(character).unwrap_or(rest.len());
                    value.push_str(&rest[..end]);
                    rest = rest.get(end + 1..).unwrap_or_default();
                }
                '\\' => {
                    let mut escaped = rest.chars();
                    match escaped.next() {
                        Some('n') => value.push('\n'),
                        Some('r') => value.push('\r'),
                        Some('t') => value.push('\t'),
                        Some(other) => value.push(other),
                        None => {}
                    }
                    rest = escaped.as_str();
                }
                '$' => {
                    let (name, after) = variable(rest)?;
                    value.push_str(&self.variable(name, section)?);
                    rest = after;
                }
                other => value.push(other),
            }
            if value.len() > LONGEST_VALUE {
                return Err(Unread::PassedOver);
            }
        }
        Ok(value)
    }

    /// A variable: of a section, of the environment, of the default section. One that is not set is an error.
    fn variable(&self, name: &str, section: &str) -> Result<String, Unread> {
        let (section, name) = name.split_once("::").unwrap_or((section, name));
        let of = |section: &str| {
            let own = self.sections.get(section)?;
            own.iter().rev().find(|(known, _)| known == name).map(|(_, value)| value.clone())
        };
        let set = if section == "ENV" { (self.environment)(name) } else { of(section) };
        set.or_else(|| of("default")).ok_or(Unread::PassedOver)
    }
}

/// What follows a directive, which may have `=` after it.
fn directive<'t>(line: &'t str, name: &str) -> Option<&'t str> {
    let rest = line.strip_prefix(name)?;
    let rest = if rest.starts_with([' ', '\t', '=']) { rest.trim() } else { return None };
    Some(rest.strip_prefix('=').map_or(rest, str::trim))
}

/// The name of a variable after `$`, and what follows it.
fn variable(text: &str) -> Result<(&str, &str), Unread> {
    for (open, close) in [('{', '}'), ('(', ')')] {
        if let Some(rest) = text.strip_prefix(open) {
            return rest.split_once(close).ok_or(Unread::PassedOver);
        }
    }
    let is_part = |character: char| character.is_ascii_alphanumeric() || matches!(character, '_' | ':');
    let end = text.find(|character| !is_part(character)).unwrap_or(text.len());
    Ok(text.split_at(end))
}

/// A line up to its `#`, which counts only outside of quotes.
fn without_comment(line: &str) -> String {
    let mut quote = None;
    let mut is_escaped = false;
    for (at, character) in line.char_indices() {
        match (quote, character) {
            _ if is_escaped => is_escaped = false,
            (_, '\\') => is_escaped = true,
            (Some(open), _) if open == character => quote = None,
            (None, '"' | '\'' | '`') => quote = Some(character),
            (None, '#') => return line[..at].to_owned(),
            _ => {}
        }
    }
    line.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sections(text: &str) -> Result<Sections, Unread> {
        let environment = |name: &str| (name == "P").then(|| "null".to_owned());
        let include = |path: &str| match path {
            "/etc/p.cnf" => Included::Files(vec![b"[z]\na = b\n".to_vec()]),
            _ => Included::Missing,
        };
        read(text.as_bytes(), &environment, &include)
    }

    fn setting(text: &str, section: &str, name: &str) -> Option<String> {
        let found = sections(text).ok()?;
        found.get(section)?.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone())
    }

    #[test]
    fn settings_are_read_with_quotes_comments_and_variables() {
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(setting("a=b # c\n", "default", "a"), some("b"));
        assert_eq!(setting("[ s ]\n a = 'x # y'\n", "s", "a"), some("x # y"));
        assert_eq!(setting("x = p\n[s]\na = ${x}q\n", "s", "a"), some("pq"));
        assert_eq!(setting("a = $ENV::P\n", "default", "a"), some("null"));
        assert_eq!(setting("s::a = 1\n", "s", "a"), some("1"));
        assert_eq!(setting("a = \\\nb\r\n", "default", "a"), some("b"));
        assert_eq!(setting("\u{feff}a = b\n   \n", "default", "a"), some("b"));
    }

    #[test]
    fn a_broken_file_is_passed_over_whole() {
        for text in ["a = b\ngarbage\n", "[s\na = b\n", "a = $gone\n", "; comment\n", "a = ${x\n"] {
            assert_eq!(sections(text), Err(Unread::PassedOver), "{text}");
        }
    }

    #[test]
    fn included_files_leave_their_section() {
        assert_eq!(setting("[s]\n.include /etc/p.cnf\nc = d\n", "z", "c"), Some("d".to_owned()));
        assert_eq!(setting("[s]\n.include = /gone.cnf\nc = d\n", "s", "c"), Some("d".to_owned()));
        assert!(matches!(sections(".include p.cnf\n"), Err(Unread::Open(_))));
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "[\\PC]{0,80}|[\"'`$(){}\\[\\]=.:#\\\\ a\n]{0,80}") {
            let _ = sections(&text);
        }
    }
}
