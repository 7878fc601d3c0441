//! Makes the index of a layer, entry by entry, as extracting the layer would leave it.

use super::details::Details;
use super::{Detail, Entry, Extent, Kind, LayerIndex, NONE, NewEntry};
use crate::digest::Digest;
use crate::layer::allowance::Occupied;
use crate::layer::path::{ancestors, join, parent_and_name};
use crate::layer::replay::{Extracted, Step, Target, replay};

/// The most entries that a layer may have: ten times what the largest real images have.
pub(super) const MOST_ENTRIES: usize = 4_000_000;
/// The most bytes that the names of a layer may have in all.
pub(super) const MOST_NAME_BYTES: usize = 384 << 20;
/// The prefix of whiteouts (image-spec, layer.md, "Whiteouts").
const WHITEOUT: &str = ".wh.";
/// The name that makes a folder opaque (image-spec, layer.md, "Opaque Whiteout").
const OPAQUE: &str = ".wh..wh..opq";
/// The prefix of AUFS's own files, which engines pass over.
const AUFS: &str = ".wh..wh.";

/// A layer index in the making.
#[derive(Debug, Default)]
pub struct IndexBuilder {
    names: String,
    pub(super) entries: Vec<Entry>,
    whiteouts: Vec<String>,
    opaque: Vec<String>,
    details: Details,
    pub(super) extents: Option<Vec<Extent>>,
}

impl IndexBuilder {
    /// Adds an entry in the order of the tar. A whiteout becomes one; the root itself is passed over.
    ///
    /// # Errors
    /// The layer has more entries or longer names than any real one.
    pub fn add(&mut self, new: &NewEntry<'_>, detail: Option<Detail>) -> Result<(), String> {
        let (parent, name) = parent_and_name(new.path);
        if name.is_empty() {
            return Ok(());
        }
        if self.entries.len() + self.whiteouts.len() + self.opaque.len() >= MOST_ENTRIES {
            return Err(format!("it has more than {MOST_ENTRIES} entries"));
        }
        if name == OPAQUE {
            self.opaque.push(parent.to_owned());
        } else if name.starts_with(AUFS) {
            // AUFS's own records are no files of the image.
        } else if let Some(hidden) = name.strip_prefix(WHITEOUT) {
            self.whiteouts.push(join(parent, hidden));
        } else {
            let more = match detail {
                Some(detail) if new.kind == Kind::File => self.details.keep(detail),
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
        }
        Ok(())
    }

    /// The finished index.
    #[must_use]
    pub fn finish(mut self, diff_id: Option<Digest>, bytes: u64) -> LayerIndex {
        let order = self.sorted();
        let visible = if self.is_in_the_way(&order) { self.replay() } else { self.last_of_each_path(order) };
        self.with_visible(visible, diff_id, Some(bytes))
    }

    pub(super) fn with_visible(mut self, visible: Vec<u32>, diff_id: Option<Digest>, bytes: Option<u64>) -> LayerIndex {
        let sort = |mut paths: Vec<String>| {
            paths.sort_unstable();
            paths.dedup();
            paths
        };
        self.names.shrink_to_fit();
        LayerIndex {
            diff_id,
            bytes,
            names: self.names,
            entries: self.entries,
            visible,
            whiteouts: sort(self.whiteouts),
            opaque: sort(self.opaque),
            details: self.details.finish(),
            extents: self.extents,
            occupied: Occupied::default(),
        }
    }

    fn keep(&mut self, text: &str) -> Result<(u32, u32), String> {
        if self.names.len() + text.len() > MOST_NAME_BYTES {
            return Err(format!("the names of its files are longer than {} MiB in all", MOST_NAME_BYTES >> 20));
        }
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
            let target = self.link(id);
            let end = order.partition_point(|&other| (self.path(other), other) < (target, id));
            let found = end.checked_sub(1).map(|at| order[at]).filter(|&other| self.path(other) == target);
            let Some(found) = found else { continue };
            let Entry { kind, more, link, .. } = self.entries[found as usize];
            // A link to a link names what that one names.
            match (kind, more) {
                (Kind::HardLink, NONE) => self.entries[id as usize].link = link,
                (Kind::HardLink, target) => self.entries[id as usize].more = target,
                _ => self.entries[id as usize].more = found,
            }
        }
    }

    /// Whether an entry, or the target of a hard link, has something that is no folder among its ancestors. Layers
    /// that engines and builders make never do.
    pub(super) fn is_in_the_way(&self, order: &[u32]) -> bool {
        let is_no_folder = |path: &str| {
            let first = order.partition_point(|&id| self.path(id) < path);
            let mut same = order[first..].iter().take_while(|&&id| self.path(id) == path);
            same.any(|&id| self.entries[id as usize].kind != Kind::Directory)
        };
        let mut checked = "";
        for &id in order {
            let parent = parent_and_name(self.path(id)).0;
            let is_checked = |path: &str| checked == path || is_below(checked, path);
            if parent != checked && ancestors(self.path(id)).take_while(|path| !is_checked(path)).any(is_no_folder) {
                return true;
            }
            checked = parent;
        }
        let links = order.iter().filter(|&&id| self.entries[id as usize].kind == Kind::HardLink);
        links.map(|&id| self.link(id)).any(|target| {
            let is_there = order.binary_search_by(|&other| self.path(other).cmp(target)).is_ok();
            !is_there && ancestors(target).any(is_no_folder)
        })
    }

    /// Extracts the entries one by one and gives those that are left, by path.
    fn replay(&mut self) -> Vec<u32> {
        let ids = 0..self.entries.len() as u32;
        let steps =
            ids.map(|id| Step { path: self.path(id), kind: self.entries[id as usize].kind, link: self.link(id) });
        let Extracted { files, targets } = replay(&steps.collect::<Vec<_>>(), MOST_NAME_BYTES);
        for (id, target) in targets {
            match target {
                Target::Here(target) => self.entries[id as usize].more = target,
                Target::Below(path) => self.entries[id as usize].link = self.append(&path),
            }
        }
        for (path, &id) in &files {
            if self.path(id) != path {
                self.entries[id as usize].path = self.append(path);
            }
        }
        files.into_values().collect()
    }
}

fn is_below(path: &str, folder: &str) -> bool {
    path.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'))
}
