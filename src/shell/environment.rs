//! `/etc/environment` as pam_env(8) reads it: `NAME=value` lines, quotes around the value taken off, nothing expanded.

use super::{Addition, Content, Line, Note, Reading, World};

/// Reads the file.
pub(super) fn read(world: World<'_>, path: &str) -> Reading {
    let mut reading = Reading::default();
    let text = match world.content(path) {
        Content::Missing => return reading,
        Content::NotKept(why) => {
            reading.unknown.push(Note { line: Line { file: path.to_owned(), ..Line::default() }, why });
            return reading;
        }
        Content::Text(text) => text,
    };
    let own: Vec<&str> = world.path().split(':').collect();
    for (number, line) in text.lines().enumerate() {
        let Some(value) = value_of_path(line) else { continue };
        let line = Line { file: path.to_owned(), number: number + 1, text: line.trim().to_owned() };
        for folder in value.split(':').filter(|folder| !folder.is_empty() && !own.contains(folder)) {
            reading.additions.push(Addition { folder: folder.to_owned(), line: line.clone() });
        }
    }
    reading
}

fn value_of_path(line: &str) -> Option<&str> {
    let line = line.trim();
    let line = line.strip_prefix("export ").unwrap_or(line).trim_start();
    let value = line.strip_prefix("PATH=")?;
    let value = value.split('#').next().unwrap_or_default().trim();
    let bare = value.strip_prefix(['"', '\'']).unwrap_or(value);
    Some(bare.strip_suffix(['"', '\'']).unwrap_or(bare))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_value_is_what_stands_between_the_quotes() {
        assert_eq!(value_of_path("PATH=\"/a:/b\"  # as ever"), Some("/a:/b"));
        assert_eq!(value_of_path("export PATH=/a"), Some("/a"));
        assert_eq!(value_of_path("#PATH=/a"), None);
        assert_eq!(value_of_path("MANPATH=/a"), None);
    }
}
