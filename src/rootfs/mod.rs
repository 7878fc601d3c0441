//! The layers of an image as one file system: look-ups that follow links inside the image and say which layer and
//! which history entry gave a file.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use crate::layer::path::{absolute, ancestors, split};
use crate::layer::{Detail, EntryRef, HardLink, Kind, LayerIndex};
use crate::verdict::Place;

/// How many links a look-up follows (Linux, path_resolution(7)).
const MOST_LINKS: usize = 40;

/// The stack of an image's layers.
#[derive(Clone, Debug, Default)]
pub struct Rootfs {
    layers: Vec<StackedLayer>,
}

/// One layer in the stack.
#[derive(Clone, Debug)]
pub struct StackedLayer {
    /// What it holds.
    pub index: Arc<LayerIndex>,
    /// The Dockerfile instruction that made it, if the history tells.
    pub instruction: Option<String>,
}

/// A file, folder or special file that a look-up found.
#[derive(Clone, Debug)]
pub struct Node<'a> {
    /// Where it really is, without leading slash; `""` is the root.
    pub path: String,
    /// Never a link.
    pub kind: Kind,
    /// Permission bits and more.
    pub mode: u32,
    /// User and group id of the owner.
    pub owner: (u32, u32),
    /// Size in bytes.
    pub size: u64,
    /// What is kept of its content.
    pub detail: Option<&'a Detail>,
    /// The layer that gives it, counted from 0, the base.
    pub layer: usize,
    /// The links that led there: where each is, and its target as written.
    pub links: Vec<(String, String)>,
}

/// Why a look-up found nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Missing {
    /// There is nothing at this path, which a link may have led to.
    Absent(String),
    /// Something on the way is no folder.
    NotAFolder(String),
    /// The links go round in circles, or are too many.
    Loop(String),
}

impl Missing {
    /// The reason as the end of a sentence.
    #[must_use]
    pub fn why(&self) -> String {
        match self {
            Self::Absent(path) => format!("{} is not in the image", absolute(path)),
            Self::NotAFolder(path) => format!("{} is not a folder", absolute(path)),
            Self::Loop(path) => format!("the links at {} go round in circles", absolute(path)),
        }
    }
}

/// What the merged view has at a path of which every ancestor is a folder.
enum Found<'a> {
    Entry {
        entry: EntryRef<'a>,
        layer: usize,
    },
    /// A folder without an entry of its own.
    Implied {
        layer: usize,
    },
}

impl Rootfs {
    /// Stacks layers, base first.
    #[must_use]
    pub fn new(layers: Vec<StackedLayer>) -> Self {
        Self { layers }
    }

    /// How many bytes the layers have uncompressed.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.layers.iter().fold(0, |sum, layer| sum.saturating_add(layer.index.bytes))
    }

    /// Looks a path up, from the root and following every link.
    ///
    /// # Errors
    /// There is nothing, with the reason.
    pub fn find(&self, path: &str) -> Result<Node<'_>, Missing> {
        let mut rest: VecDeque<String> = split(path).map(str::to_owned).collect();
        let mut here = Node {
            path: String::new(),
            kind: Kind::Directory,
            mode: 0o755,
            owner: (0, 0),
            size: 0,
            detail: None,
            layer: 0,
            links: Vec::new(),
        };
        while let Some(name) = rest.pop_front() {
            match name.as_str() {
                "." => continue,
                ".." => {
                    here.path.truncate(here.path.rfind('/').unwrap_or(0));
                    continue;
                }
                _ if here.kind != Kind::Directory => return Err(Missing::NotAFolder(here.path)),
                _ => {}
            }
            let path = if here.path.is_empty() { name } else { format!("{}/{name}", here.path) };
            match self.entry(&path, self.layers.len()) {
                None => return Err(Missing::Absent(path)),
                Some(Found::Implied { layer }) => {
                    here = Node {
                        path,
                        kind: Kind::Directory,
                        mode: 0o755,
                        owner: (0, 0),
                        size: 0,
                        detail: None,
                        layer,
                        ..here
                    };
                }
                Some(Found::Entry { entry, layer: _ }) if entry.kind() == Kind::Symlink => {
                    if here.links.len() >= MOST_LINKS {
                        return Err(Missing::Loop(path));
                    }
                    let target = entry.link();
                    here.links.push((path, target.to_owned()));
                    if target.starts_with('/') {
                        here.path.clear();
                    }
                    for part in split(target).rev() {
                        rest.push_front(part.to_owned());
                    }
                }
                Some(Found::Entry { entry, layer }) => {
                    let (mode, owner, size, detail) = (entry.mode(), entry.owner(), entry.size(), entry.detail());
                    // A hard link is the file itself.
                    let kind = if entry.kind() == Kind::HardLink { Kind::File } else { entry.kind() };
                    here = Node { path, kind, mode, owner, size, detail, layer, links: here.links };
                }
            }
        }
        Ok(here)
    }

    /// The names in a folder, sorted; none if it is no folder.
    #[must_use]
    pub fn names(&self, folder: &str) -> Vec<String> {
        let Ok(folder) = self.find(folder) else { return Vec::new() };
        let skip = if folder.path.is_empty() { 0 } else { folder.path.len() + 1 };
        let mut names = BTreeSet::new();
        for layer in &self.layers {
            names.extend(layer.index.below(&folder.path).filter_map(|entry| entry.path()[skip..].split('/').next()));
        }
        let is_there = |name: &&str| {
            let path = if folder.path.is_empty() { (*name).to_owned() } else { format!("{}/{name}", folder.path) };
            self.entry(&path, self.layers.len()).is_some()
        };
        names.into_iter().filter(is_there).map(str::to_owned).collect()
    }

    /// The place of what a look-up of `path` found: the path that was asked for, and the layer that gave the file.
    #[must_use]
    pub fn place(&self, path: &str, node: &Node<'_>) -> Place {
        Place {
            path: Some(absolute(path)),
            layer: Some(node.layer),
            instruction: self.layers.get(node.layer).and_then(|layer| layer.instruction.clone()),
            field: None,
        }
    }

    /// What the layers below number `top` have at `path`, the uppermost first (image-spec, layer.md, "Whiteouts").
    fn entry(&self, path: &str, top: usize) -> Option<Found<'_>> {
        for (number, layer) in self.layers[..top].iter().enumerate().rev() {
            let index = &layer.index;
            if let Some(entry) = index.get(path) {
                return self.behind_hard_links(entry, number);
            }
            if index.has_below(path) {
                return Some(Found::Implied { layer: number });
            }
            if index.is_whiteout(path) || index.is_opaque("") || ancestors(path).any(|folder| hides(index, folder)) {
                return None;
            }
        }
        None
    }

    /// The file that a hard link names, which a layer above it cannot change.
    fn behind_hard_links<'a>(&'a self, entry: EntryRef<'a>, layer: usize) -> Option<Found<'a>> {
        let mut entry = entry;
        for _ in 0..MOST_LINKS {
            match entry.hard_link() {
                None => return Some(Found::Entry { entry, layer }),
                Some(HardLink::Here(target)) => entry = target,
                Some(HardLink::Below(path)) => return self.entry(path, layer),
            }
        }
        None
    }
}

/// Whether a layer hides what lower layers have below `folder`.
fn hides(index: &LayerIndex, folder: &str) -> bool {
    index.is_opaque(folder)
        || index.is_whiteout(folder)
        || index.get(folder).is_some_and(|entry| entry.kind() != Kind::Directory)
}

#[cfg(test)]
mod tests;
