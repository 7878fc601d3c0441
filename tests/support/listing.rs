//! Asks the real GNU tar and Python's tarfile what a tar holds, for comparison.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use imglint::layer::{Kind, LayerIndex};

/// What stands at a path: kind, size of files, target of links.
pub type Listing = BTreeMap<String, (char, u64, String)>;

/// Prints the SHA-256 digest, then kind, size, name and link of every member, each ended by a zero.
const SCRIPT: &str = r#"
import hashlib, io, sys, tarfile
data = sys.stdin.buffer.read()
out = [hashlib.sha256(data).hexdigest()]
kinds = {tarfile.LNKTYPE: "h", tarfile.SYMTYPE: "l", tarfile.DIRTYPE: "d"}
with tarfile.open(fileobj=io.BytesIO(data), mode="r:", encoding="utf-8", errors="surrogateescape") as tar:
    for member in tar:
        special = member.type in (tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE)
        out += ["s" if special else kinds.get(member.type, "f"), str(member.size), member.name, member.linkname]
sys.stdout.buffer.write("\0".join(out).encode("utf-8", "surrogateescape"))
"#;

/// Runs GNU tar in a folder; gives the archive, or nothing where there is no GNU tar. Names that a format cannot hold
/// make tar complain, and leave them out.
pub fn gnu_tar(folder: &Path, arguments: &[&str]) -> Option<Vec<u8>> {
    let version = Command::new("tar").arg("--version").output().ok()?;
    if !version.stdout.starts_with(b"tar (GNU tar)") {
        return None;
    }
    let run = Command::new("tar").current_dir(folder).args(["-c", "-f", "-"]).args(arguments).output().ok()?;
    assert!(!run.stdout.is_empty(), "tar {arguments:?}: {}", String::from_utf8_lossy(&run.stderr));
    Some(run.stdout)
}

/// The digest and the members by Python's tarfile; nothing where there is no Python.
pub fn python(tar: &[u8]) -> Option<(String, Listing)> {
    let mut child = Command::new("python3")
        .args(["-c", SCRIPT])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .ok()?;
    let mut stdin = child.stdin.take().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(move || stdin.write_all(tar));
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "tarfile failed");
        let words: Vec<&[u8]> = output.stdout.split(|&byte| byte == 0).collect();
        let text = |at: usize| imglint::layer::path::text(words[at]).into_owned();
        let mut listing = Listing::new();
        for at in (1..words.len()).step_by(4) {
            let kind = char::from(words[at][0]);
            let size = if kind == 'f' { text(at + 1).parse().unwrap() } else { 0 };
            let link = if kind == 'h' { normal(&text(at + 3)) } else { text(at + 3) };
            let link = if matches!(kind, 'h' | 'l') { link } else { String::new() };
            listing.insert(normal(&text(at + 2)), (kind, size, link));
        }
        listing.remove("");
        Some((text(0), listing))
    })
}

/// The entries of an index in the same words.
pub fn listing(index: &LayerIndex) -> Listing {
    let entries = index.below("").map(|entry| {
        let kind = match entry.kind() {
            Kind::File => 'f',
            Kind::Directory => 'd',
            Kind::Symlink => 'l',
            Kind::HardLink => 'h',
            Kind::Special => 's',
        };
        (entry.path().to_owned(), (kind, entry.size(), entry.link().to_owned()))
    });
    entries.collect()
}

/// A path without leading slash, `.` and `..`; none leads out of the root.
fn normal(path: &str) -> String {
    let mut names: Vec<&str> = Vec::new();
    for name in path.split('/') {
        match name {
            "" | "." => {}
            ".." => drop(names.pop()),
            name => names.push(name),
        }
    }
    names.join("/")
}
