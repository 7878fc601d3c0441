//! Paths inside an image: relative to its root, without `.`, `..`, doubled or leading slashes.

/// The path of a tar entry as it would be extracted: relative to the root, which nothing can leave.
///
/// `./usr//bin/../lib` becomes `usr/lib`; the root itself is the empty path. Bytes that are no UTF-8 are replaced:
/// no file that a rule asks for has such a name.
#[must_use]
pub fn normalise(raw: &[u8]) -> String {
    let text = String::from_utf8_lossy(raw);
    // Most are `./usr/lib/` or `usr/lib`.
    let inner = text.strip_prefix("./").unwrap_or(&text);
    let inner = inner.strip_suffix('/').unwrap_or(inner);
    if inner.split('/').all(|part| !matches!(part, "" | "." | "..")) {
        return inner.to_owned();
    }
    join("", &text)
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
