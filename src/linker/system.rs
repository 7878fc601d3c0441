//! What a loader of glibc finds in the image before it searches: its version, its folders, and files that preload.

use super::Start;
use crate::layer::ElfSummary;
use crate::platform::machine_name;
use crate::rootfs::Rootfs;

/// The folders that the loader knows by itself: as they stand in its own file, else as its architecture's usually do.
pub(super) fn default_folders(loader: &ElfSummary, architecture: &str) -> Vec<String> {
    let known = loader.libc_mark.as_ref().map(|mark| mark.default_folders.as_slice()).unwrap_or_default();
    if !known.is_empty() {
        return known.to_vec();
    }
    let triplet = format!("{}-linux-gnu", machine_name(architecture));
    [
        format!("/lib/{triplet}"),
        format!("/usr/lib/{triplet}"),
        "/lib64".into(),
        "/usr/lib64".into(),
        "/lib".into(),
        "/usr/lib".into(),
    ]
    .into()
}

/// The minor number of the loader's release: as it or its C library says, else that of the newest symbols it defines.
pub(super) fn newest_glibc(rootfs: &Rootfs, loader: &ElfSummary, folders: &[String]) -> Option<u32> {
    let minor = |elf: &ElfSummary| {
        let version = elf.libc_mark.as_ref()?.version.as_deref()?.strip_prefix("2.")?;
        version.split('.').next()?.parse().ok()
    };
    let library = || {
        folders.iter().find_map(|folder| {
            let node = rootfs.find(&format!("{folder}/libc.so.6")).ok()?;
            minor(node.detail()?.elf.as_ref().filter(|elf| elf.architecture() == loader.architecture())?)
        })
    };
    let minors = loader.version_definitions.iter().filter_map(|version| version.strip_prefix("GLIBC_2.")?.parse().ok());
    minor(loader).or_else(library).or_else(|| minors.max())
}

/// The flags of entries for a machine (glibc, sysdeps/generic/ldconfig.h; each machine's dl-cache.h).
pub(super) fn cache_flags(architecture: &str) -> Option<u32> {
    Some(match architecture {
        "amd64" => 0x0303,
        "386" => 0x0003,
        "arm64" => 0x0a03,
        "s390x" => 0x0403,
        _ => return None,
    })
}

/// The names that come before all others: the variable's, then the file's (ld.so(8), "FILES").
pub(super) fn preload(rootfs: &Rootfs, start: &Start<'_, '_>) -> Vec<String> {
    let mut names: Vec<String> = split_names(start.variable("LD_PRELOAD").unwrap_or_default());
    if let Content::Bytes(bytes) = content(rootfs, "etc/ld.so.preload") {
        let text = String::from_utf8_lossy(bytes);
        let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default());
        names.extend(lines.flat_map(split_names));
    }
    names
}

fn split_names(text: &str) -> Vec<String> {
    text.split(|c: char| c == ':' || c.is_whitespace()).filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

/// A small file of the image.
pub(super) enum Content<'a> {
    None,
    /// It is there, but its content was not kept.
    Unread,
    Bytes(&'a [u8]),
}

pub(super) fn content<'a>(rootfs: &'a Rootfs, path: &str) -> Content<'a> {
    match rootfs.find(path) {
        Err(_) => Content::None,
        Ok(node) => match node.detail().and_then(|detail| detail.content.as_deref()) {
            Some(bytes) => Content::Bytes(bytes),
            None => Content::Unread,
        },
    }
}
