//! Paths inside an image: relative to its root, without `.`, `..`, doubled or leading slashes.

use std::borrow::Cow;

/// Where characters stand for bytes that are no UTF-8: in a part of Unicode that is left to private use.
const BYTES: u32 = 0xf700;

/// The path of a tar entry as it would be extracted: relative to the root, which nothing can leave.
///
/// `./usr//bin/../lib` becomes `usr/lib`; the root itself is the empty path.
#[must_use]
pub fn normalise(raw: &[u8]) -> String {
    let text = text(raw);
    // Most are `./usr/lib/` or `usr/lib`.
    let inner = text.strip_prefix("./").unwrap_or(&text);
    let inner = inner.strip_suffix('/').unwrap_or(inner);
    if inner.split('/').all(|part| !matches!(part, "" | "." | "..")) {
        return inner.to_owned();
    }
    join("", &text)
}

/// A path as text. Names are bytes: each that is no UTF-8 becomes a character of its own, so that no two names are one.
#[must_use]
pub fn text(raw: &[u8]) -> Cow<'_, str> {
    if let Ok(text) = std::str::from_utf8(raw) {
        return Cow::Borrowed(text);
    }
    let mut text = String::with_capacity(raw.len() * 2);
    for chunk in raw.utf8_chunks() {
        text.push_str(chunk.valid());
        text.extend(chunk.invalid().iter().filter_map(|&byte| char::from_u32(BYTES + u32::from(byte))));
    }
    Cow::Owned(text)
}

/// A path without needless dots and slashes, but with the ones that it begins with (Go, `path/filepath.Clean`).
#[must_use]
pub fn cleaned(raw: &[u8]) -> Vec<u8> {
    let is_absolute = raw.starts_with(b"/");
    let mut parts: Vec<&[u8]> = Vec::new();
    for part in raw.split(|&byte| byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." if parts.last().is_some_and(|last| *last != b"..") => drop(parts.pop()),
            b".." if is_absolute => {}
            name => parts.push(name),
        }
    }
    let path = parts.join(&b'/');
    if is_absolute {
        [b"/", &path[..]].concat()
    } else if path.is_empty() {
        b".".to_vec()
    } else {
        path
    }
}

/// `path` seen from the folder `base`, lexically: for paths in which no link needs following.
#[must_use]
pub fn join(base: &str, path: &str) -> String {
    let mut parts: Vec<&str> = if path.starts_with('/') { Vec::new() } else { split(base).collect() };
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            name => parts.push(name),
        }
    }
    parts.join("/")
}

/// The names of a path, one by one.
pub fn split(path: &str) -> impl DoubleEndedIterator<Item = &str> {
    path.split('/').filter(|part| !part.is_empty())
}

/// The folder that holds `path`, and its name there.
#[must_use]
pub fn parent_and_name(path: &str) -> (&str, &str) {
    path.rsplit_once('/').unwrap_or(("", path))
}

/// The proper ancestors of `path`, nearest first, without the root.
pub fn ancestors(path: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(path.rsplit_once('/'), |(parent, _)| parent.rsplit_once('/')).map(|(parent, _)| parent)
}

/// The path as people write it: absolute.
#[must_use]
pub fn absolute(path: &str) -> String {
    format!("/{}", path.trim_start_matches('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_entry_leaves_the_root() {
        for (raw, path) in [
            ("./usr/bin", "usr/bin"),
            ("/etc/passwd", "etc/passwd"),
            ("../../etc/passwd", "etc/passwd"),
            ("a/../../b//c/.", "b/c"),
            ("./", ""),
            ("/", ""),
            ("..", ""),
        ] {
            assert_eq!(normalise(raw.as_bytes()), path, "{raw}");
        }
    }

    #[test]
    fn bytes_that_are_no_text_keep_names_apart() {
        let names: [&[u8]; 4] = [b"caf\xe8", b"caf\xe9", b"caf\xe9\xe9", "caf\u{fffd}".as_bytes()];
        let texts: std::collections::BTreeSet<String> = names.iter().map(|name| normalise(name)).collect();
        assert_eq!(texts.len(), names.len());
        assert_eq!(normalise("caf\u{e9}".as_bytes()), "caf\u{e9}");
    }

    #[test]
    fn a_cleaned_path_keeps_what_it_begins_with() {
        for (raw, path) in [
            ("./a//b/../c/", "a/c"),
            ("/a/", "/a"),
            ("/../a", "/a"),
            ("../a/../..", "../.."),
            ("", "."),
            ("./", "."),
            ("//", "/"),
        ] {
            assert_eq!(cleaned(raw.as_bytes()), path.as_bytes(), "{raw}");
        }
    }

    #[test]
    fn ancestors_come_nearest_first() {
        assert_eq!(ancestors("a/b/c").collect::<Vec<_>>(), ["a/b", "a"]);
        assert_eq!(ancestors("a").count(), 0);
    }

    #[test]
    fn relative_links_start_at_their_folder() {
        assert_eq!(join("usr/lib", "../bin/sh"), "usr/bin/sh");
        assert_eq!(join("usr/lib", "/bin/sh"), "bin/sh");
    }
}
