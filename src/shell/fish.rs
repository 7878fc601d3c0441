//! fish's `config.fish` and `conf.d`: `set … PATH …` and `fish_add_path`, line by line. Everything else is passed over.

use std::collections::BTreeMap;

use super::{Addition, Content, Line, Note, Reading, World};

/// Reads a file.
pub(super) fn read(world: World<'_>, path: &str) -> Reading {
    let mut reading = Reading::default();
    let note = |line: Line, why: String| Note { line, why };
    let text = match world.content(path) {
        Content::Missing => return reading,
        Content::NotKept(why) => {
            reading.unknown.push(note(Line { file: path.to_owned(), ..Line::default() }, why));
            return reading;
        }
        Content::Text(text) => text,
    };
    let own: Vec<&str> = world.path().split(':').collect();
    let mut variables = world.environment.clone();
    variables.insert("HOME".to_owned(), world.home.to_owned());
    for (number, line) in text.lines().enumerate() {
        let at = Line { file: path.to_owned(), number: number + 1, text: line.trim().to_owned() };
        // One command a line, or several with semicolons; what makes a command conditional is passed over.
        for command in line.split(';') {
            let Some(words) = shlex::split(command.trim()) else { continue };
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            let words = match words.as_slice() {
                ["and" | "or", rest @ ..] => rest,
                words => words,
            };
            let Some(values) = added(words, &mut variables) else { continue };
            for value in values {
                match expand(value, &variables) {
                    _ if value == "$PATH" || value == "$fish_user_paths" => {}
                    Some(folder) if own.contains(&folder.as_str()) => {}
                    Some(folder) => reading.additions.push(Addition { folder, line: at.clone() }),
                    None => reading.unknown.push(note(at.clone(), format!("what {value} stands for is not known"))),
                }
            }
        }
    }
    reading
}

/// The words that a command adds to `PATH`, if it does; other variables that it sets are noted.
fn added<'w>(words: &'w [&'w str], variables: &mut BTreeMap<String, String>) -> Option<Vec<&'w str>> {
    let (command, rest) = words.split_first()?;
    let arguments: Vec<&str> = rest.iter().copied().filter(|word| !word.starts_with('-')).collect();
    match (*command, arguments.as_slice()) {
        ("fish_add_path", folders) => Some(folders.to_vec()),
        ("set", ["PATH" | "fish_user_paths", folders @ ..]) => Some(folders.to_vec()),
        ("set", [name, value]) => {
            if let Some(value) = expand(value, variables) {
                variables.insert((*name).to_owned(), value);
            }
            None
        }
        _ => None,
    }
}

/// A word with its variables and its tilde expanded, if they are known.
fn expand(word: &str, variables: &BTreeMap<String, String>) -> Option<String> {
    let word = match word.strip_prefix('~') {
        Some(rest) if rest.is_empty() || rest.starts_with('/') => format!("$HOME{rest}"),
        _ => word.to_owned(),
    };
    let mut text = String::new();
    let mut rest = word.as_str();
    while let Some(at) = rest.find(['$', '(', '*']) {
        text.push_str(&rest[..at]);
        let name = rest[at..].strip_prefix('$')?;
        let length = name.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(name.len());
        text.push_str(variables.get(&name[..length])?);
        rest = &name[length..];
    }
    text.push_str(rest);
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_expanded_or_given_up() {
        let variables = BTreeMap::from([("HOME".to_owned(), "/root".to_owned())]);
        assert_eq!(expand("~/.local/bin", &variables).as_deref(), Some("/root/.local/bin"));
        assert_eq!(expand("$HOME/x", &variables).as_deref(), Some("/root/x"));
        assert_eq!(expand("$GOPATH/bin", &variables), None);
        assert_eq!(expand("(brew --prefix)/bin", &variables), None);
    }
}
