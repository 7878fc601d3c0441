//! Collects the identification of the operating system (os-release(5)).

use super::{Fact, OsRelease};
use crate::rootfs::{Missing, Rootfs};

/// The files in the order in which os-release(5) looks for them.
const FILES: [&str; 2] = ["etc/os-release", "usr/lib/os-release"];

/// Reads `/etc/os-release`, else `/usr/lib/os-release`.
#[must_use]
pub fn os_release(rootfs: &Rootfs) -> Fact<OsRelease> {
    for file in FILES {
        let node = match rootfs.find(file) {
            Ok(node) => node,
            Err(Missing::Loop(_) | Missing::NotAFolder(_) | Missing::Absent(_)) => continue,
        };
        let place = rootfs.place(file, &node);
        return match node.detail().and_then(|detail| detail.content.as_deref()) {
            Some(content) => Fact::Known(OsRelease { place, ..parse(&String::from_utf8_lossy(content)) }),
            None => Fact::unknown(format!("/{file} leads to /{}, which is not a small regular file", node.path)),
        };
    }
    Fact::Known(OsRelease::default())
}

fn parse(text: &str) -> OsRelease {
    let mut release = OsRelease { present: true, id: "linux".to_owned(), ..OsRelease::default() };
    for line in text.lines() {
        let line = line.trim();
        let Some((name, value)) = line.split_once('=').filter(|_| !line.starts_with('#')) else { continue };
        let value = unquote(value);
        let filled = Some(value.clone()).filter(|value| !value.is_empty());
        match name {
            "ID" => release.id = filled.unwrap_or(release.id),
            "ID_LIKE" => release.id_like = value.split_whitespace().map(str::to_owned).collect(),
            "VERSION_ID" => release.version_id = filled,
            "VERSION_CODENAME" => release.version_codename = filled,
            "PLATFORM_ID" => release.platform_id = filled,
            "PRETTY_NAME" => release.pretty_name = filled,
            _ => {}
        }
    }
    release
}

/// A value as the shell reads it: one pair of quotes, and backslashes before `$`, `"`, `\` and `` ` ``.
fn unquote(value: &str) -> String {
    let value = value.trim();
    let inner = ['"', '\'']
        .iter()
        .find_map(|&quote| value.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote)))
        .unwrap_or(value);
    if value.starts_with('\'') {
        return inner.to_owned();
    }
    let mut plain = String::with_capacity(inner.len());
    let mut characters = inner.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => plain.extend(characters.next()),
            other => plain.push(other),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_comments_and_empty_values_are_read_as_the_shell_does() {
        let release = parse(
            "# ID=no\nID=\"debian\"\nVERSION_ID='12'\nID_LIKE=\"a b\"\nPRETTY_NAME=\"a \\\"b\\\"\"\nVERSION_CODENAME=\n",
        );
        assert_eq!((release.id.as_str(), release.version_id.as_deref()), ("debian", Some("12")));
        assert_eq!(release.id_like, ["a", "b"]);
        assert_eq!(release.pretty_name.as_deref(), Some("a \"b\""));
        assert_eq!(release.version_codename, None);
    }

    #[test]
    fn a_file_without_id_means_linux() {
        assert_eq!(parse("NAME=x").id, "linux");
    }
}
