//! Signs of a C library in a file: whose it is, its version, and where its loader looks for libraries.

use memchr::memmem;
use serde::{Deserialize, Serialize};

use super::elf::ElfSummary;

/// A sign of a C library in a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LibcMark {
    /// `glibc`, `musl` or `uclibc`.
    pub family: String,
    /// The version, where it stands in the file.
    pub version: Option<String>,
    /// Of a loader of glibc, the folders that it searches unasked, as they stand in it.
    #[serde(default)]
    pub default_folders: Vec<String>,
}

/// Looks for the sign of a C library in loaders, C libraries and static programs; other files only repeat theirs.
pub(super) fn libc_mark(name: &str, summary: &ElfSummary, head: &[u8]) -> Option<LibcMark> {
    let is_libc = name.starts_with("libc.") || name.starts_with("libc-") || name.starts_with("libuClibc");
    let is_loader = name.starts_with("ld-") || name.starts_with("ld.so") || name.starts_with("ld64");
    let is_static = summary.interpreter.is_none() && summary.needed.is_empty() && summary.is_executable;
    if !(is_libc || is_loader || is_static) {
        return None;
    }
    let mark = |family: &str, version: Option<String>| {
        let default_folders = if is_loader && family == "glibc" { default_folders(head) } else { Vec::new() };
        Some(LibcMark { family: family.to_owned(), version, default_folders })
    };
    if memmem::find(head, b"musl libc").is_some() || memmem::find(head, b"No error information\0").is_some() {
        // Only the library itself has its version; other programs have all kinds of numbers.
        return mark("musl", (is_libc || is_loader).then(|| musl_version(head)).flatten());
    }
    if name.contains("uClibc") || memmem::find(head, b"/etc/TZ\0").is_some() {
        return mark("uclibc", None);
    }
    let glibc = memmem::find(head, b"GNU C Library").or_else(|| memmem::find(head, b"GNU libc\0"));
    let banner = glibc.or_else(|| is_loader.then(|| loader_banner(head)).flatten());
    if let Some(at) = banner {
        return mark("glibc", glibc_version(&head[at..]));
    }
    let defines_glibc = summary.version_definitions.iter().any(|version| version.starts_with("GLIBC_"));
    if defines_glibc || memmem::find(head, b"GCONV_PATH\0").is_some() {
        return mark("glibc", None);
    }
    None
}

/// Where a loader says which release it is, since glibc 2.35: `ld.so (Debian GLIBC 2.41-12) stable release version 2.41.`
/// (glibc, elf/dl-usage.c). Other texts begin like it.
fn loader_banner(head: &[u8]) -> Option<usize> {
    let is_banner = |at: &usize| {
        let line = head[*at..].split(|byte| matches!(byte, 0 | b'\n')).next().unwrap_or_default();
        memmem::find(line, b" release version ").is_some()
    };
    memmem::find_iter(head, b"ld.so (").find(is_banner)
}

/// `GNU C Library (Debian GLIBC 2.36-9) stable release version 2.36.` (glibc, csu/version.c).
fn glibc_version(banner: &[u8]) -> Option<String> {
    let banner = &banner[..banner.len().min(300)];
    let at = memmem::find(banner, b"version ")? + "version ".len();
    let digits: Vec<u8> =
        banner[at..].iter().copied().take_while(|byte| byte.is_ascii_digit() || *byte == b'.').collect();
    let version = String::from_utf8(digits).ok()?;
    Some(version.trim_end_matches('.').to_owned()).filter(|version| version.contains('.'))
}

/// musl keeps its version as a string of its own, `1.2.5` (musl, src/internal/version.c). Before it may lie the last byte
/// of a constant, but no digit or dot, which would make it a part of another number.
fn musl_version(head: &[u8]) -> Option<String> {
    memmem::find_iter(head, b"1.").find_map(|at| {
        let before = at.checked_sub(1).and_then(|at| head.get(at)).copied().unwrap_or(0);
        if before.is_ascii_digit() || before == b'.' {
            return None;
        }
        let text: Vec<u8> = head[at..].iter().copied().take(24).take_while(|&byte| byte != 0).collect();
        let version = String::from_utf8(text).ok()?;
        let release = version.split('-').next().unwrap_or_default();
        let is_version = release.split('.').count() == 3
            && release.split('.').all(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()));
        is_version.then_some(version)
    })
}

/// The longest run of texts like `/usr/lib/` that follow one another (glibc, elf/dl-load.c, `system_dirs`).
fn default_folders(head: &[u8]) -> Vec<String> {
    let mut best: Vec<String> = Vec::new();
    let mut after = 0;
    for start in memmem::find_iter(head, b"\0/") {
        if start + 1 < after {
            continue;
        }
        let mut run = Vec::new();
        let mut at = start + 1;
        while let Some(folder) = folder_at(&head[at..]) {
            at += folder.len() + 1;
            run.push(folder.trim_end_matches('/').to_owned());
        }
        after = at;
        if run.len() > best.len() {
            best = run;
        }
    }
    best
}

/// A text such as `/usr/lib/` that ends with NUL.
fn folder_at(bytes: &[u8]) -> Option<&str> {
    const LONGEST: usize = 256;
    let end = bytes.iter().take(LONGEST).position(|&byte| byte == 0)?;
    let text = std::str::from_utf8(&bytes[..end]).ok()?;
    let is_plain = text.bytes().all(|byte| byte.is_ascii_graphic());
    (is_plain && text.len() > 2 && text.starts_with('/') && text.ends_with('/') && text.contains("lib")).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_stand_in_the_banner() {
        let banner = b"GNU C Library (Debian GLIBC 2.36-9+deb12u14) stable release version 2.36.\nCopyright";
        assert_eq!(glibc_version(banner).as_deref(), Some("2.36"));
        assert_eq!(musl_version(b"x\x001.5\x001.2.5\0").as_deref(), Some("1.2.5"));
        assert_eq!(musl_version(b"\0\x80\x3d1.2.4\0").as_deref(), Some("1.2.4"), "behind a constant");
        assert_eq!(musl_version(b"11.2.4\x000.1.2.4\0"), None);
    }

    #[test]
    fn a_loader_says_its_release_in_its_own_banner() {
        let head = b"ld.so (1)\0ld.so (Debian GLIBC 2.41-12) stable release version 2.41.\nCopyright\0";
        assert_eq!(loader_banner(head).and_then(|at| glibc_version(&head[at..])).as_deref(), Some("2.41"));
        assert_eq!(loader_banner(b"use ld.so (8)\0"), None);
    }

    #[test]
    fn the_folders_of_a_loader_follow_one_another() {
        let debian = b"x\0/proc/\0y\0/lib/x86_64-linux-gnu/\0/usr/lib/x86_64-linux-gnu/\0/lib/\0/usr/lib/\0\0/lib/\0";
        let expected = ["/lib/x86_64-linux-gnu", "/usr/lib/x86_64-linux-gnu", "/lib", "/usr/lib"];
        assert_eq!(default_folders(debian), expected);
        assert_eq!(default_folders(b"\0/lib64/\0/usr/lib64/\0"), ["/lib64", "/usr/lib64"]);
        assert!(default_folders(b"\0/lib64").is_empty());
    }
}
