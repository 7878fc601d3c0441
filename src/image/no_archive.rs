//! Says what a file is that was given as an image's archive but is not one.

use std::path::Path;

use super::{Error, ErrorKind, Result};
use crate::printable::excerpt;

/// The size of a tar's blocks, in bytes.
const BLOCK: usize = 512;
/// The first words of files that are often given by mistake, and what such a file is.
const KNOWN: [(&[u8], &str); 9] = [
    (b"PK\x03\x04", "a ZIP file"),
    (b"\x7fELF", "a program (ELF)"),
    (b"MZ", "a program for Windows"),
    (b"%PDF", "a PDF document"),
    (b"<", "a web page or an XML file"),
    (b"version https://git-lfs", "a pointer of Git LFS (fetch the file itself with `git lfs pull`)"),
    (b"{", "a JSON file"),
    (b"!<arch>", "a Debian package or another ar archive"),
    (b"\xed\xab\xee\xdb", "an RPM package"),
];

/// That the first bytes of a file can be those of an archive. `path` is the file's name, if it has one.
///
/// # Errors
/// It is something else; the error says what.
pub(super) fn refuse(what: &str, path: Option<&Path>, start: &[u8]) -> Result<()> {
    let unsupported = |text: String| Err(Error::new(ErrorKind::Unsupported, text));
    if start.starts_with(b"\x5d\0\0") {
        let name = path.map_or_else(String::new, |path| format!(" {}", path.display()));
        return unsupported(format!(
            "{what} is compressed with lzma, which is not read here: unpack it with `lzma -dc{name} | imglint check -`"
        ));
    }
    // Compressed, which the reader unpacks, or a tar.
    let is_zstd = start.get(1..4) == Some(b"\xb5\x2f\xfd");
    let is_compressed = [&b"\x1f\x8b"[..], b"\xfd7zXZ\0", b"BZh"].iter().any(|magic| start.starts_with(magic));
    if is_compressed || is_zstd || is_skippable_frame(start) || start.is_empty() || is_tar(start) {
        return Ok(());
    }
    if let Some((_, thing)) = KNOWN.iter().find(|(magic, _)| start.starts_with(magic)) {
        return unsupported(format!("{what} is not a tar and so not an image archive, but {thing}"));
    }
    let shown = std::str::from_utf8(start).or_else(|error| std::str::from_utf8(&start[..error.valid_up_to()]));
    let is_text = |text: &&str| text.len() + 4 > start.len() && !text.contains('\0');
    let Some(text) = shown.ok().filter(is_text) else {
        return unsupported(format!("{what} is not a tar and so not an image archive"));
    };
    let line = text.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
    let hint = hint(path, text);
    unsupported(format!(
        "{what} is not a tar and so not an image archive, but a text that begins with {:?}{hint}",
        excerpt(line, 60)
    ))
}

/// What to do with a text that was given as an image.
fn hint(path: Option<&Path>, text: &str) -> String {
    let ending = |endings: &[&str]| {
        path.and_then(Path::extension).is_some_and(|own| endings.iter().any(|ending| own.eq_ignore_ascii_case(ending)))
    };
    let words = |line: &str| line.split_whitespace().next().unwrap_or_default().to_ascii_uppercase();
    let is_dockerfile = text.lines().any(|line| words(line) == "FROM") || text.starts_with("# syntax=");
    if ending(&["yaml", "yml"]) || text.contains("\nservices:") || text.starts_with("apiVersion:") {
        format!(
            " (--from {} checks the images that it names)",
            path.map(|path| path.display().to_string()).unwrap_or_default()
        )
    } else if is_dockerfile {
        " (build it, and check the image)".to_owned()
    } else {
        String::new()
    }
}

/// A frame of zstd that holds no data may come first (RFC 8878, 3.1.2).
fn is_skippable_frame(start: &[u8]) -> bool {
    matches!(start, [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..])
}

/// Whether a file begins as a tar does: with a header whose checksum or mark is right, or with its end.
fn is_tar(start: &[u8]) -> bool {
    let Some(block) = start.get(..BLOCK) else {
        // Cut off in its first header, which the reader says.
        return start.get(257..262) == Some(b"ustar") || start.iter().all(|byte| *byte == 0);
    };
    let digits = String::from_utf8_lossy(&block[148..156]).into_owned();
    let written = i64::from_str_radix(digits.trim_matches(|c: char| c == ' ' || c == '\0'), 8).ok();
    let sum = |value: fn(u8) -> i64| -> i64 {
        block.iter().enumerate().map(|(at, &byte)| if (148..156).contains(&at) { 32 } else { value(byte) }).sum()
    };
    let signed = |byte: u8| i64::from(byte.cast_signed());
    block[257..262] == *b"ustar"
        || block.iter().all(|byte| *byte == 0)
        || written.is_some_and(|written| written == sum(i64::from) || written == sum(signed))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(name: &str, start: &[u8]) -> String {
        refuse("x", Some(Path::new(name)), start).unwrap_err().to_string()
    }

    #[test]
    fn what_is_no_tar_is_called_by_its_name() {
        assert!(said("a.zip", b"PK\x03\x04....").ends_with("a ZIP file"));
        assert!(said("a", b"version https://git-lfs.github.com/spec/v1\noid x").contains("Git LFS"));
        assert!(said("Dockerfile", b"# x\nFROM debian\n").contains("build it"));
        assert!(said("compose.yaml", b"services:\n  a:\n").contains("--from compose.yaml"));
        assert!(
            said("a.txt", b"hello\x1b[31m world\n").contains("\"hello\\\\u{1b}[31m world\""),
            "no raw control characters"
        );
        assert!(said("a.tar.lzma", b"\x5d\0\0rest").contains("lzma -dc a.tar.lzma | imglint check -"));
        assert!(said("a", &[1, 0, 255, 3]).ends_with("not an image archive"));
    }

    #[test]
    fn tars_and_what_holds_them_are_let_through() {
        let mut header = [0; BLOCK];
        header[0] = b'a';
        header[148..156].copy_from_slice(format!("{:06o}\0 ", 97 + 8 * 32).as_bytes());
        for start in [&header[..], &[0; BLOCK], b"\x1f\x8b\x08", b"\x28\xb5\x2f\xfd", b""] {
            assert!(refuse("x", None, start).is_ok());
        }
        header[1] = b'b';
        assert!(refuse("x", None, &header).is_err());
    }
}
