//! The index of one layer: entries sorted by path, whiteouts, and details of the files that matter.

mod builder;
mod details;
mod search;
mod sound;
mod stored;
mod unread;

use std::collections::BTreeSet;
use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::allowance::{Drawn, Occupied};
use super::bundle::DotnetHost;
use super::elf::ElfSummary;
use super::exec_header::NotStarted;
use super::hive::HiveSummary;
use super::packages::Package;
use super::pe::PeSummary;
use crate::digest::Digest;
pub use builder::{IndexBuilder, TooLarge};
pub use search::Child;
pub use unread::Extent;

/// The most bytes that are kept of the files of a layer in all.
const MOST_KEPT: usize = 48 << 20;

/// What one layer holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayerIndex {
    /// The digest of the layer's uncompressed tar, where it was computed. Folders have no tar.
    pub diff_id: Option<Digest>,
    /// The size of the uncompressed tar in bytes, if it is known; for folders the sum of the files.
    pub bytes: Option<u64>,
    names: String,
    entries: Vec<Entry>,
    /// Entries by path, only the last of each path.
    visible: Vec<u32>,
    whiteouts: Vec<String>,
    opaque: Vec<String>,
    details: Vec<Detail>,
    /// Why engines refuse it.
    refused: Option<String>,
    /// What engines unpack in different ways.
    disputed: Vec<String>,
    /// Of a layer that was fetched in part: where content lies that was left where it is, by entry.
    extents: Option<Vec<Extent>>,
    /// The memory that it takes of a budget, if it was kept.
    occupied: Occupied,
}

/// What a directory entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Kind {
    /// A regular file.
    File,
    /// A folder.
    Directory,
    /// A symbolic link.
    Symlink,
    /// Another name of a file.
    HardLink,
    /// A device, a FIFO, or what only some systems know.
    Special,
}

/// What is kept of a file's content.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Detail {
    /// The whole content of a small wanted file.
    pub content: Option<Vec<u8>>,
    /// Of a script, what the kernel reads after `#!`: the interpreter, and after a blank its argument. Empty for a line that
    /// the kernel does not take.
    pub interpreter_line: Option<String>,
    /// Of a file in a folder of commands that is no program and has no `#!` that the kernel takes: whether its first line is
    /// text, as shells ask that run it themselves. Of other scripts only that it is not.
    #[serde(default)]
    pub is_text: Option<bool>,
    /// Why the kernel does not start an ELF file.
    #[serde(default)]
    pub not_started: Option<NotStarted>,
    /// The summary of an ELF file.
    pub elf: Option<ElfSummary>,
    /// What the file is as a .NET host.
    #[serde(default)]
    pub dotnet: Option<DotnetHost>,
    /// The version of a bash.
    #[serde(default)]
    pub bash: Option<String>,
    /// What a package manager's list of installed packages says.
    #[serde(default)]
    pub packages: Option<Vec<Package>>,
    /// What a Windows registry hive says.
    #[serde(default)]
    pub hive: Option<HiveSummary>,
    /// What a Windows program or library is for.
    #[serde(default)]
    pub pe: Option<PeSummary>,
    /// The file capabilities of a program.
    #[serde(default)]
    pub capabilities: Option<FileCapabilities>,
    /// Whether there was something to keep, but the layer has too much of it.
    #[serde(default)]
    pub left_out: bool,
}

/// What a program gains when it is started (capabilities(7), "File capabilities").
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileCapabilities {
    /// The permitted set, a bit for each.
    pub permitted: u64,
    /// Whether it cannot be started without them.
    pub is_effective: bool,
}

impl FileCapabilities {
    /// Whether the kernel takes such an attribute of a file (Linux, security/commoncap.c, `cap_convert_nscap`): engines end
    /// with "invalid argument" otherwise.
    #[must_use]
    pub fn can_be_set(value: &[u8]) -> bool {
        let Some(kind) = value.first_chunk().map(|kind| u32::from_le_bytes(*kind)) else { return false };
        matches!((kind & !1, value.len()), (0x0200_0000, 20) | (0x0300_0000, 24))
    }

    /// Reads the extended attribute `security.capability` (Linux, include/uapi/linux/capability.h, `vfs_cap_data`); nothing
    /// if the kernel would pass over it. Such of another user namespace do not count.
    #[must_use]
    pub fn parse(value: &[u8]) -> Option<Self> {
        let word = |at: usize| Some(u32::from_le_bytes(value.get(at..at + 4)?.try_into().ok()?));
        let kind = word(0)?;
        let high = match (kind >> 24, value.len()) {
            (1, 12) => 0,
            (2, 20) => word(12)?,
            (3, 24) if word(20)? == 0 => word(12)?,
            _ => return None,
        };
        let permitted = (u64::from(high) << 32) | u64::from(word(4)?);
        Some(Self { permitted, is_effective: kind & 1 != 0 })
    }
}

impl Detail {
    /// About how many bytes it takes.
    #[must_use]
    pub fn weight(&self) -> usize {
        let bytes = |bytes: &Option<Vec<u8>>| bytes.as_ref().map_or(0, Vec::len);
        let config = match &self.dotnet {
            Some(DotnetHost::SingleFile(bundle)) => bytes(&bundle.runtime_config),
            _ => 0,
        };
        let line = self.interpreter_line.as_ref().map_or(0, String::len);
        let packages = self.packages.iter().flatten().map(Package::weight).sum::<usize>();
        size_of::<Self>()
            + bytes(&self.content)
            + line
            + config
            + packages
            + self.hive.as_ref().map_or(0, HiveSummary::weight)
            + self.elf.as_ref().map_or(0, ElfSummary::weight)
    }
}

/// An entry about to be added.
#[derive(Clone, Debug)]
pub struct NewEntry<'a> {
    /// Normalised ([`super::path::normalise`]).
    pub path: &'a str,
    /// What it is.
    pub kind: Kind,
    /// Permission bits, set-id bits and the sticky bit.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Size in bytes of a file.
    pub size: u64,
    /// The target of a link, as written; of a hard link, normalised.
    pub link: &'a str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry {
    path: (u32, u32),
    link: (u32, u32),
    size: u64,
    uid: u32,
    gid: u32,
    /// For files an index into `details`, or [`UNREAD`]; for hard links one into `entries`; else, or if there is none,
    /// [`NONE`].
    more: u32,
    mode: u16,
    kind: Kind,
}

const NONE: u32 = u32::MAX;
/// Content that was left where it is.
const UNREAD: u32 = u32::MAX - 1;

/// An entry of a layer, borrowed.
#[derive(Clone, Copy, Debug)]
pub struct EntryRef<'a> {
    index: &'a LayerIndex,
    id: u32,
}

/// Where the file is that a hard link is another name of.
#[derive(Clone, Copy, Debug)]
pub enum HardLink<'a> {
    /// In the same layer.
    Here(EntryRef<'a>),
    /// In a layer below, under this path.
    Below(&'a str),
}

impl<'a> EntryRef<'a> {
    fn entry(&self) -> &'a Entry {
        &self.index.entries[self.id as usize]
    }

    /// The path in the image, without leading slash.
    #[must_use]
    pub fn path(&self) -> &'a str {
        self.index.text(self.entry().path)
    }

    /// What it is.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.entry().kind
    }

    /// Permission bits, set-id bits and the sticky bit.
    #[must_use]
    pub fn mode(&self) -> u32 {
        self.entry().mode.into()
    }

    /// Owner and group.
    #[must_use]
    pub fn owner(&self) -> (u32, u32) {
        (self.entry().uid, self.entry().gid)
    }

    /// Size in bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.entry().size
    }

    /// The target of a symbolic link, as written.
    #[must_use]
    pub fn link(&self) -> &'a str {
        self.index.text(self.entry().link)
    }

    /// What is kept of a file's content.
    #[must_use]
    pub fn detail(&self) -> Option<&'a Detail> {
        (self.entry().kind == Kind::File).then(|| self.index.details.get(self.entry().more as usize)).flatten()
    }

    /// The number of the entry in its layer.
    #[must_use]
    pub fn number(&self) -> u32 {
        self.id
    }

    /// The number of the entry in its layer, if its content was left where it is ([`LayerIndex::fill`]).
    #[must_use]
    pub fn unread(&self) -> Option<u32> {
        (self.entry().kind == Kind::File && self.entry().more == UNREAD).then_some(self.id)
    }

    /// Where the file of a hard link is.
    #[must_use]
    pub fn hard_link(&self) -> Option<HardLink<'a>> {
        if self.entry().kind != Kind::HardLink {
            return None;
        }
        let target = self.entry().more;
        let is_here = (target as usize) < self.index.entries.len();
        Some(if is_here { HardLink::Here(EntryRef { id: target, ..*self }) } else { HardLink::Below(self.link()) })
    }
}

impl LayerIndex {
    /// The same index, which occupies this memory of a budget for as long as it is used.
    #[must_use]
    pub fn occupying(mut self, drawn: Drawn) -> Self {
        self.occupy(drawn);
        self
    }

    /// Occupies this memory, too.
    pub fn occupy(&mut self, drawn: Drawn) {
        self.occupied.add(drawn);
    }

    /// Why engines refuse to unpack it on Linux: a statement about the layer. What the index holds then is of no use.
    #[must_use]
    pub fn refused(&self) -> Option<&str> {
        self.refused.as_deref()
    }

    /// What engines and their storage drivers unpack in different ways: statements about the layer, not all of them if
    /// there are many.
    #[must_use]
    pub fn disputed(&self) -> &[String] {
        &self.disputed
    }

    /// The entry at `path`, if this layer has one.
    #[must_use]
    pub fn get(&self, path: &str) -> Option<EntryRef<'_>> {
        let at = self.visible.binary_search_by(|&id| self.path_of(id).cmp(path)).ok()?;
        Some(EntryRef { index: self, id: self.visible[at] })
    }

    /// The entry with this number.
    #[must_use]
    pub fn entry(&self, number: u32) -> Option<EntryRef<'_>> {
        ((number as usize) < self.entries.len()).then_some(EntryRef { index: self, id: number })
    }

    /// All entries below the folder `path` (`""` is the root), at any depth, by path.
    pub fn below<'a>(&'a self, path: &str) -> impl Iterator<Item = EntryRef<'a>> + use<'a> {
        self.visible[self.range_below(path)].iter().map(|&id| EntryRef { index: self, id })
    }

    /// Whether this layer has anything below the folder `path`.
    #[must_use]
    pub fn has_below(&self, path: &str) -> bool {
        path.is_empty() && !self.visible.is_empty() || self.first_below(path).is_some()
    }

    /// The names in the folder `path`, of files and of folders that may have no entry of their own.
    #[must_use]
    pub fn names(&self, path: &str) -> BTreeSet<&str> {
        let mut range = self.range_below(path);
        let skip = if path.is_empty() { 0 } else { path.len() + 1 };
        let mut names = BTreeSet::new();
        while let Some(&id) = self.visible[range.clone()].first() {
            let whole = self.path_of(id);
            let name = whole[skip..].split('/').next().unwrap_or_default();
            names.insert(name);
            let child = &whole[..skip + name.len()];
            // What is below a folder is passed over at once.
            range.start = if child.len() == whole.len() { range.start + 1 } else { self.range_below(child).end };
        }
        names
    }

    /// The first entry below the folder `path`, which is not the root.
    fn first_below(&self, path: &str) -> Option<usize> {
        let below = path.bytes().chain([b'/']);
        let at = self.visible.partition_point(|&id| self.path_of(id).bytes().lt(below.clone()));
        let first = self.path_of(*self.visible.get(at)?);
        first.strip_prefix(path)?.starts_with('/').then_some(at)
    }

    /// Whether this layer removes what lower layers have at `path`.
    #[must_use]
    pub fn is_whiteout(&self, path: &str) -> bool {
        self.whiteouts.binary_search_by(|hidden| hidden.as_str().cmp(path)).is_ok()
    }

    /// All paths that this layer removes.
    pub fn whiteouts(&self) -> impl Iterator<Item = &str> {
        self.whiteouts.iter().map(String::as_str)
    }

    /// Whether this layer hides all that lower layers have below `path`.
    #[must_use]
    pub fn is_opaque(&self, path: &str) -> bool {
        self.opaque.binary_search_by(|folder| folder.as_str().cmp(path)).is_ok()
    }

    /// How many paths the layer has, whiteouts not counted.
    #[must_use]
    pub fn len(&self) -> usize {
        self.visible.len()
    }

    /// Whether it has none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.visible.is_empty()
    }

    /// The places of all entries below the folder `path` among those that are sorted by path.
    #[must_use]
    pub fn range_below(&self, path: &str) -> Range<usize> {
        if path.is_empty() {
            return 0..self.visible.len();
        }
        // '0' is the character after '/'.
        let (first, last) = (format!("{path}/"), format!("{path}0"));
        let start = self.visible.partition_point(|&id| self.path_of(id) < first.as_str());
        let end = self.visible.partition_point(|&id| self.path_of(id) < last.as_str());
        start..end
    }

    fn path_of(&self, id: u32) -> &str {
        self.text(self.entries[id as usize].path)
    }

    fn text(&self, (start, length): (u32, u32)) -> &str {
        &self.names[start as usize..(start + length) as usize]
    }
}

#[cfg(test)]
mod tests;
