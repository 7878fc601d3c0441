//! Makes the index of a layer, entry by entry, as extracting the layer would leave it.

use std::collections::HashMap;

use super::details::Details;
use super::{Detail, Entry, Extent, Kind, LayerIndex, NONE, NewEntry};
use crate::digest::Digest;
use crate::layer::allowance::{self, Occupied, UsedUp};
use crate::layer::path::{absolute, ancestors, parent_and_name};
use crate::layer::replay::{ALL, Extracted, NOT_CONTAINERD, Step, Target, replay};

/// The most entries that a layer may have: ten times what the largest real images have.
pub(super) const MOST_ENTRIES: usize = 4_000_000;
/// The most bytes that the names of a layer may have in all.
pub(super) const MOST_NAME_BYTES: usize = 384 << 20;
/// How many disputes are reported of one layer.
pub(super) const MOST_DISPUTED: usize = 8;
/// The memory that an entry takes besides its names, in bytes: it is sorted, too.
const ENTRY: usize = size_of::<Entry>() + 3 * size_of::<u32>();
/// The memory that a mark takes besides its path, in bytes.
const MARK: usize = size_of::<Mark>() + size_of::<String>();
/// The prefix of whiteouts (image-spec, layer.md, "Whiteouts").
const WHITEOUT: &str = ".wh.";
/// The name that makes a folder opaque (image-spec, layer.md, "Opaque Whiteout").
const OPAQUE: &str = ".wh..wh..opq";

/// Why a layer has no index.
#[derive(Debug, thiserror::Error)]
pub enum TooLarge {
    /// It has more than any real one.
    #[error("{0}")]
    Layer(String),
    /// The run has no memory left for it.
    #[error(transparent)]
    Memory(#[from] UsedUp),
}

/// A layer index in the making.
#[derive(Debug, Default)]
pub struct IndexBuilder {
    names: String,
    pub(super) entries: Vec<Entry>,
    /// What hides, in its order.
    marks: Vec<Mark>,
    details: Details,
    pub(super) extents: Option<Vec<Extent>>,
    /// The paths of entries as written, where they differ from their paths, and those of entries that are no files.
    written: HashMap<u32, Vec<u8>>,
    others: Vec<Vec<u8>>,
    refused: Option<String>,
    disputed: Vec<String>,
}

/// What hides what lies below.
#[derive(Debug)]
struct Mark {
    /// How many entries come before it.
    at: u32,
    path: String,
    kind: MarkKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum MarkKind {
    Whiteout,
    Opaque,
    /// The last entry before it is the device that an overlay file system takes for a whiteout.
    Device,
}

impl IndexBuilder {
    /// Adds an entry in the order of the tar. A whiteout becomes one; the root itself is passed over.
    ///
    /// # Errors
    /// The layer has more entries or longer names than any real one, or the run has no memory left for them.
    pub fn add(&mut self, new: &NewEntry<'_>, detail: Option<Detail>) -> Result<(), TooLarge> {
        self.add_written(new, None, detail)
    }

    /// As [`IndexBuilder::add`], of an entry whose path is written otherwise.
    ///
    /// # Errors
    /// As [`IndexBuilder::add`].
    pub fn add_written(
        &mut self,
        new: &NewEntry<'_>,
        written: Option<Vec<u8>>,
        detail: Option<Detail>,
    ) -> Result<(), TooLarge> {
        let (parent, name) = parent_and_name(new.path);
        if name.is_empty() {
            return Ok(());
        }
        if self.entries.len() + self.marks.len() >= MOST_ENTRIES {
            return Err(TooLarge::Layer(format!("it has more than {MOST_ENTRIES} entries")));
        }
        if name == OPAQUE {
            self.other(written.unwrap_or_else(|| new.path.as_bytes().to_vec()))?;
            // Overlay file systems do not look at the root's mark.
            return if parent.is_empty() { Ok(()) } else { self.mark(parent, MarkKind::Opaque) };
        }
        if let Some(hidden) = name.strip_prefix(WHITEOUT) {
            if matches!(hidden, "" | "." | "..") {
                self.refuse(|| format!("its whiteout {} names no file: {ALL}", absolute(new.path)));
                return Ok(());
            }
            let separator = if parent.is_empty() { "" } else { "/" };
            return self.mark(&format!("{parent}{separator}{hidden}"), MarkKind::Whiteout);
        }
        if let Some(written) = written {
            allowance::take(written.len() + 64)?;
            self.written.insert(self.entries.len() as u32, written);
        }
        allowance::take(ENTRY)?;
        let more = match detail {
            Some(detail) if new.kind == Kind::File => self.details.keep(detail)?,
            _ => NONE,
        };
        let entry = Entry {
            path: self.keep(new.path)?,
            link: self.keep(new.link)?,
            size: new.size,
            uid: new.uid,
            gid: new.gid,
            more,
            mode: (new.mode & 0o7777) as u16,
            kind: new.kind,
        };
        self.entries.push(entry);
        Ok(())
    }

    /// Adds the device that an overlay file system takes for a whiteout of its path.
    ///
    /// # Errors
    /// As [`IndexBuilder::add`].
    pub fn add_whiteout_device(&mut self, new: &NewEntry<'_>) -> Result<(), TooLarge> {
        let before = self.entries.len();
        self.add(new, None)?;
        if self.entries.len() > before { self.mark(new.path, MarkKind::Device) } else { Ok(()) }
    }

    /// Notes the path of a member that leaves nothing behind, such as the root: Docker's way of keeping layers counts it.
    ///
    /// # Errors
    /// The run has no memory left for it.
    pub fn other(&mut self, path: Vec<u8>) -> Result<(), TooLarge> {
        allowance::take(path.len() + 32)?;
        self.others.push(path);
        Ok(())
    }

    /// Notes why engines refuse the layer. The first reason counts, as it is the one that engines say.
    pub fn refuse(&mut self, why: impl FnOnce() -> String) {
        if self.refused.is_none() {
            self.refused = Some(why());
        }
    }

    /// Notes what engines unpack in different ways.
    pub fn dispute(&mut self, what: impl FnOnce() -> String) {
        if self.disputed.len() < MOST_DISPUTED {
            self.disputed.push(what());
        }
    }

    /// The finished index.
    ///
    /// # Errors
    /// The run has no memory left for what has to be kept to put it in order.
    pub fn finish(mut self, diff_id: Option<Digest>, bytes: u64) -> Result<LayerIndex, TooLarge> {
        let order = self.sorted();
        self.refuse_what_comes_twice(&order);
        if self.is_in_the_way(&order) || self.is_odd(&order) {
            let extracted = self.extracted()?;
            return Ok(self.with(extracted, diff_id, Some(bytes)));
        }
        let order = if self.imply_folders(&order) { self.sorted() } else { order };
        let visible = self.last_of_each_path(order);
        Ok(self.with_visible(visible, diff_id, Some(bytes)))
    }

    pub(super) fn with_visible(mut self, visible: Vec<u32>, diff_id: Option<Digest>, bytes: Option<u64>) -> LayerIndex {
        let mut hidden = [Vec::new(), Vec::new()];
        for Mark { path, kind, .. } in std::mem::take(&mut self.marks) {
            hidden[usize::from(kind == MarkKind::Opaque)].push(path);
        }
        let [whiteouts, opaque] = hidden.map(|mut paths| {
            paths.sort_unstable();
            paths.dedup();
            paths
        });
        self.index(visible, [whiteouts, opaque], diff_id, bytes)
    }

    /// The index of what extracting entry by entry left.
    fn with(mut self, extracted: Extracted, diff_id: Option<Digest>, bytes: Option<u64>) -> LayerIndex {
        let Extracted { mut files, implied, targets, whiteouts, opaque, refused } = extracted;
        if let Some(why) = refused {
            self.refuse(|| why);
        }
        for (id, target) in targets {
            match target {
                Target::Here(target) => self.entries[id as usize].more = target,
                Target::Below(path) => self.entries[id as usize].link = self.append(&path),
            }
        }
        // Those with something below them need no entry. The deepest come first.
        for folder in implied.into_iter().rev() {
            let below = format!("{folder}/");
            if !files.range(below.clone()..).next().is_some_and(|(path, _)| path.starts_with(&below)) {
                let id = self.implied_folder(&folder);
                files.insert(folder, id);
            }
        }
        for (path, &id) in &files {
            if self.path(id) != path {
                self.entries[id as usize].path = self.append(path);
            }
        }
        self.index(files.into_values().collect(), [whiteouts, opaque], diff_id, bytes)
    }

    fn index(
        mut self,
        visible: Vec<u32>,
        [whiteouts, opaque]: [Vec<String>; 2],
        diff_id: Option<Digest>,
        bytes: Option<u64>,
    ) -> LayerIndex {
        self.names.shrink_to_fit();
        LayerIndex {
            diff_id,
            bytes,
            names: self.names,
            entries: self.entries,
            visible,
            whiteouts,
            opaque,
            details: self.details.finish(),
            refused: self.refused,
            disputed: self.disputed,
            extents: self.extents,
            occupied: Occupied::default(),
        }
    }

    fn mark(&mut self, path: &str, kind: MarkKind) -> Result<(), TooLarge> {
        allowance::take(path.len() + MARK)?;
        self.marks.push(Mark { at: self.entries.len() as u32, path: path.to_owned(), kind });
        Ok(())
    }

    fn keep(&mut self, text: &str) -> Result<(u32, u32), TooLarge> {
        if self.names.len() + text.len() > MOST_NAME_BYTES {
            let most = MOST_NAME_BYTES >> 20;
            return Err(TooLarge::Layer(format!("the names of its files are longer than {most} MiB in all")));
        }
        allowance::take(text.len())?;
        Ok(self.append(text))
    }

    fn append(&mut self, text: &str) -> (u32, u32) {
        let start = self.names.len();
        self.names.push_str(text);
        // Twice MOST_NAME_BYTES is below u32::MAX.
        (start as u32, text.len() as u32)
    }

    pub(super) fn sorted(&self) -> Vec<u32> {
        let mut order: Vec<u32> = (0..self.entries.len() as u32).collect();
        // Layers are nearly in order, which a stable sort makes use of.
        order.sort_by(|&a, &b| self.path(a).cmp(self.path(b)));
        order
    }

    fn path(&self, id: u32) -> &str {
        let (start, length) = self.entries[id as usize].path;
        &self.names[start as usize..(start + length) as usize]
    }

    fn link(&self, id: u32) -> &str {
        let (start, length) = self.entries[id as usize].link;
        &self.names[start as usize..(start + length) as usize]
    }

    /// Docker and Podman list the members of a layer by their paths, and each path can be there once (vbatts/tar-split,
    /// tar/storage/packer.go).
    fn refuse_what_comes_twice(&mut self, order: &[u32]) {
        let written = |id: u32| self.written.get(&id).map_or(self.path(id).as_bytes(), Vec::as_slice);
        let same = order.chunk_by(|&a, &b| self.path(a) == self.path(b)).filter(|same| same.len() > 1);
        let twice = same.flat_map(|same| same.iter().enumerate().map(move |(at, &id)| (id, &same[..at])));
        let of_files = twice.filter(|(id, before)| before.iter().any(|&other| written(other) == written(*id)));
        let of_files = of_files.map(|(id, _)| absolute(self.path(id))).next();
        let mut others: Vec<&[u8]> = self.others.iter().map(Vec::as_slice).collect();
        others.sort_unstable();
        let of_others = others.windows(2).find(|pair| pair[0] == pair[1]);
        let path = of_files.or_else(|| Some(String::from_utf8_lossy(of_others?[0]).into_owned()));
        if let Some(path) = path {
            self.refuse(|| {
                format!(
                    "it has {path} twice: {NOT_CONTAINERD} (\"duplicates of file paths not supported\"), and containerd \
                     takes the last"
                )
            });
        }
    }

    /// Of several entries of one path the last counts, as it would after extraction.
    pub(super) fn last_of_each_path(&mut self, order: Vec<u32>) -> Vec<u32> {
        self.resolve_hard_links(&order);
        let mut visible: Vec<u32> = Vec::with_capacity(order.len());
        for id in order {
            match visible.last_mut() {
                Some(last) if self.path(*last) == self.path(id) => *last = id,
                _ => visible.push(id),
            }
        }
        visible
    }

    /// A hard link names the file that had the path when the link was extracted, not one that replaced it later.
    fn resolve_hard_links(&mut self, order: &[u32]) {
        for id in 0..self.entries.len() as u32 {
            if self.entries[id as usize].kind != Kind::HardLink {
                continue;
            }
            let Some(found) = self.before(order, self.link(id), id) else { continue };
            let Entry { kind, more, link, .. } = self.entries[found as usize];
            // A link to a link names what that one names.
            match (kind, more) {
                (Kind::HardLink, NONE) => self.entries[id as usize].link = link,
                (Kind::HardLink, target) => self.entries[id as usize].more = target,
                _ => self.entries[id as usize].more = found,
            }
        }
    }

    /// The last entry of a path before another entry.
    fn before(&self, order: &[u32], path: &str, id: u32) -> Option<u32> {
        let end = order.partition_point(|&other| (self.path(other), other) < (path, id));
        end.checked_sub(1).map(|at| order[at]).filter(|&other| self.path(other) == path)
    }

    /// Whether an entry, or the target of a hard link, has something that is no folder among its ancestors. Layers
    /// that engines and builders make never do.
    pub(super) fn is_in_the_way(&self, order: &[u32]) -> bool {
        let mut checked = "";
        for &id in order {
            let parent = parent_and_name(self.path(id)).0;
            let is_checked = |path: &str| checked == path || is_below(checked, path);
            let is_no_folder = |path: &str| self.is_no_folder(order, path);
            if parent != checked && ancestors(self.path(id)).take_while(|path| !is_checked(path)).any(is_no_folder) {
                return true;
            }
            checked = parent;
        }
        false
    }

    fn is_no_folder(&self, order: &[u32], path: &str) -> bool {
        let first = order.partition_point(|&id| self.path(id) < path);
        let mut same = order[first..].iter().take_while(|&&id| self.path(id) == path);
        same.any(|&id| self.entries[id as usize].kind != Kind::Directory)
    }

    /// Whether whiteouts or hard links do something that layers of engines and builders never do.
    pub(super) fn is_odd(&self, order: &[u32]) -> bool {
        self.refused.is_some() || self.has_odd_marks(order) || self.has_odd_hard_links(order)
    }

    /// Whether a whiteout is not by itself: something is there or below it, or what is no folder above it.
    fn has_odd_marks(&self, order: &[u32]) -> bool {
        let mut paths: Vec<&str> =
            self.marks.iter().filter(|mark| mark.kind != MarkKind::Opaque).map(|mark| mark.path.as_str()).collect();
        paths.sort_unstable();
        let is_twice = paths.windows(2).any(|pair| pair[0] == pair[1]);
        let is_hidden = |path: &str| paths.binary_search(&path).is_ok();
        is_twice
            || paths.iter().any(|path| self.has_at_or_below(order, path))
            || self.marks.iter().any(|mark| {
                let is_odd = |path: &str| self.is_no_folder(order, path) || is_hidden(path);
                ancestors(&mark.path).any(is_odd)
                    || mark.kind == MarkKind::Opaque && is_odd(&mark.path)
                    || mark.kind == MarkKind::Device
            })
    }

    fn has_at_or_below(&self, order: &[u32], path: &str) -> bool {
        let first = order.partition_point(|&id| self.path(id) < path);
        if order.get(first).is_some_and(|&id| self.path(id) == path) {
            return true;
        }
        let below = path.bytes().chain([b'/']);
        let at = order.partition_point(|&id| self.path(id).bytes().lt(below.clone()));
        order.get(at).is_some_and(|&id| is_below(self.path(id), path))
    }

    /// Whether a hard link is to something else than a file that stands before it.
    fn has_odd_hard_links(&self, order: &[u32]) -> bool {
        let links = (0..self.entries.len() as u32).filter(|&id| self.entries[id as usize].kind == Kind::HardLink);
        let mut links = links.map(|id| (id, self.link(id)));
        links.any(|(id, target)| {
            let found = self.before(order, target, id);
            let is_folder = |id: u32| self.entries[id as usize].kind == Kind::Directory;
            target == self.path(id) || found.is_none_or(is_folder)
        })
    }

    /// Makes entries of the folders that only marks are in: they are there, and hide a file of a lower layer. Says whether
    /// there are any.
    fn imply_folders(&mut self, order: &[u32]) -> bool {
        let folder_of = |mark: &Mark| match mark.kind {
            MarkKind::Opaque => mark.path.clone(),
            _ => parent_and_name(&mark.path).0.to_owned(),
        };
        let mut folders: Vec<String> = self.marks.iter().map(folder_of).collect();
        folders.sort_unstable();
        folders.dedup();
        // Windows has no such folders, and there a name may be written in another case.
        let is_of_windows = |folder: &str| folder == "Files" || folder.starts_with("Files/");
        folders.retain(|folder| !folder.is_empty() && !is_of_windows(folder) && !self.has_at_or_below(order, folder));
        for folder in &folders {
            self.implied_folder(folder);
        }
        !folders.is_empty()
    }

    /// Adds a folder as engines make one that has no entry. Gives its number.
    fn implied_folder(&mut self, path: &str) -> u32 {
        let (path, link) = (self.append(path), (0, 0));
        let entry = Entry { path, link, size: 0, uid: 0, gid: 0, more: NONE, mode: 0o755, kind: Kind::Directory };
        self.entries.push(entry);
        (self.entries.len() - 1) as u32
    }

    /// Extracts the entries one by one.
    fn extracted(&self) -> Result<Extracted, TooLarge> {
        let devices: Vec<u32> = self.marks.iter().filter(|mark| mark.kind == MarkKind::Device).map(|m| m.at).collect();
        let mut marks = self.marks.iter().filter(|mark| mark.kind != MarkKind::Device).peekable();
        let mut steps = Vec::with_capacity(self.entries.len() + self.marks.len());
        allowance::take(steps.capacity() * size_of::<Step<'_>>())?;
        for id in 0..=self.entries.len() as u32 {
            while let Some(mark) = marks.next_if(|mark| mark.at == id) {
                steps.push(match mark.kind {
                    MarkKind::Opaque => Step::Opaque(&mark.path),
                    _ => Step::Whiteout(&mark.path),
                });
            }
            let Some(entry) = self.entries.get(id as usize) else { break };
            let is_whiteout = devices.binary_search(&(id + 1)).is_ok();
            steps.push(Step::Entry { id, path: self.path(id), kind: entry.kind, link: self.link(id), is_whiteout });
        }
        // Links may make paths far longer than they are in the tar, but those of real layers do not.
        let most = (self.names.len() * 4 + self.entries.len() * 512 + (4 << 20)).min(allowance::left());
        allowance::take(most)?;
        let extracted = replay(&steps, most);
        allowance::give_back(most);
        let why = "following the links that its entries lie behind takes more time or memory than for any real layer";
        extracted.ok_or_else(|| TooLarge::Layer(why.to_owned()))
    }
}

fn is_below(path: &str, folder: &str) -> bool {
    path.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'))
}
