//! The layers of an image as one file system: look-ups that follow links inside the image and say which layer and
//! which history entry gave a file.

mod access;
mod parts;
pub mod windows;

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use crate::layer::path::{absolute, ancestors, join, parent_and_name, split};
use crate::layer::{Child, Detail, EntryRef, HardLink, Kind, LayerIndex};
use crate::verdict::Place;

pub use access::{Access, Account};
use parts::{FolderParts, Part, hides};

/// How many paths are remembered: a few times what the look-ups for one image are.
const MOST_KNOWN: usize = 100_000;
/// How many links a look-up follows (Linux, path_resolution(7)).
const MOST_LINKS: usize = 40;

/// Links that a look-up went through: where each is, and its target as written.
pub type Links = Vec<(String, String)>;

/// The stack of an image's layers.
#[derive(Clone, Debug, Default)]
pub struct Rootfs {
    layers: Vec<StackedLayer>,
    /// How many of them are the image's; what is above is mounted.
    own: usize,
    asked: Arc<Asked>,
    known: LookUps,
}

/// What was found by the paths that were looked for.
#[derive(Debug, Default)]
struct LookUps {
    files: Mutex<HashMap<String, Result<Known, Missing>>>,
    folders: Mutex<HashMap<String, Known>>,
    parts: Mutex<FolderParts>,
}

/// A file or folder: where it is, the links that led there, its layer, and the number of its entry there if it has one.
#[derive(Clone, Debug)]
struct Known {
    path: String,
    links: Links,
    left: Vec<String>,
    place: (usize, Option<u32>),
}

impl Clone for LookUps {
    /// Another stack may have something else there.
    fn clone(&self) -> Self {
        Self::default()
    }
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
    /// The layer that gives it, counted from 0, the base.
    pub layer: usize,
    /// The links that led there: where each is, and its target as written.
    pub links: Links,
    /// The folders that the way there went into and left again by `..`.
    pub left: Vec<String>,
    entry: Option<EntryRef<'a>>,
    asked: Option<&'a Asked>,
}

impl<'a> Node<'a> {
    fn known(&self) -> Known {
        let place = (self.layer, self.entry.map(|entry| entry.number()));
        Known { path: self.path.clone(), links: self.links.clone(), left: self.left.clone(), place }
    }

    /// What is kept of its content. Of content that was left where it is, it is noted that somebody asked for it.
    #[must_use]
    pub fn detail(&self) -> Option<&'a Detail> {
        let entry = self.entry?;
        if let Some((asked, number)) = self.asked.zip(entry.unread()) {
            lock(&asked.0).insert((self.layer, number));
        }
        entry.detail()
    }
}

/// Which unread content was asked for: the layer and the number of the entry in it.
#[derive(Debug, Default)]
struct Asked(Mutex<BTreeSet<(usize, u32)>>);

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
        Self { own: layers.len(), layers, asked: Arc::default(), known: LookUps::default() }
    }

    /// The files whose content was asked for and not read yet, by layer ([`LayerIndex::fill`]): what was found without
    /// them may be wrong.
    #[must_use]
    pub fn unread(&self) -> Vec<(usize, Vec<u32>)> {
        let asked = lock(&self.asked.0);
        let of_layer = |layer: usize| asked.iter().filter(move |(of, _)| *of == layer).map(|(_, number)| *number);
        let layers = (0..self.layers.len()).map(|layer| (layer, of_layer(layer).collect::<Vec<_>>()));
        layers.filter(|(_, numbers)| !numbers.is_empty()).collect()
    }

    /// The same file system with a folder mounted into it, which is no layer of the image: places in it name none.
    #[must_use]
    pub fn with_mount(&self, index: Arc<LayerIndex>) -> Self {
        let mut layers = self.layers.clone();
        layers.push(StackedLayer { index, instruction: None });
        Self { layers, own: self.own, asked: Arc::clone(&self.asked), known: LookUps::default() }
    }

    /// What engines unpack in different ways, by layer.
    pub fn disputed(&self) -> impl Iterator<Item = (usize, &str)> {
        let own = self.layers.iter().take(self.own).enumerate();
        own.flat_map(|(number, layer)| layer.index.disputed().iter().map(move |statement| (number, statement.as_str())))
    }

    /// How many bytes each layer has uncompressed, where that is known.
    pub fn bytes_of_layers(&self) -> impl Iterator<Item = Option<u64>> {
        self.layers.iter().map(|layer| layer.index.bytes)
    }

    /// Looks a path up, from the root and following every link.
    ///
    /// # Errors
    /// There is nothing, with the reason.
    pub fn find(&self, path: &str) -> Result<Node<'_>, Missing> {
        // Programs ask for the same libraries over and over.
        let known = lock(&self.known.files).get(path).cloned();
        if let Some(found) = known {
            return found.map(|found| self.at(found));
        }
        let found = self.look_up(path);
        remember(&self.known.files, path, found.as_ref().map_err(Missing::clone).map(Node::known));
        found
    }

    fn look_up(&self, path: &str) -> Result<Node<'_>, Missing> {
        let (folder, name) = parent_and_name(path);
        if folder.is_empty() || matches!(name, "" | "." | "..") {
            return self.walk(self.folder(String::new()), path);
        }
        // Many files are looked for in few folders.
        let known = lock(&self.known.folders).get(folder).cloned();
        let from = match known {
            Some(known) => self.at(known),
            None => {
                let found = self.walk(self.folder(String::new()), folder)?;
                if found.kind == Kind::Directory {
                    remember(&self.known.folders, folder, found.known());
                }
                found
            }
        };
        self.walk(from, name)
    }

    /// Looks `path` up from a folder that was found.
    fn walk<'a>(&'a self, from: Node<'a>, path: &str) -> Result<Node<'a>, Missing> {
        let mut rest: VecDeque<String> = split(path).map(str::to_owned).collect();
        let mut here = from;
        let mut links = std::mem::take(&mut here.links);
        let mut left = std::mem::take(&mut here.left);
        while let Some(name) = rest.pop_front() {
            if here.kind != Kind::Directory {
                return Err(Missing::NotAFolder(here.path));
            }
            let path = match name.as_str() {
                "." => continue,
                ".." => {
                    left.push(here.path.clone());
                    here.path.truncate(here.path.rfind('/').unwrap_or(0));
                    here = self.folder(here.path);
                    continue;
                }
                _ if here.path.is_empty() => name,
                _ => format!("{}/{name}", here.path),
            };
            match self.entry(&path) {
                None => return Err(Missing::Absent(path)),
                Some(Found::Entry { entry, .. }) if entry.kind() == Kind::Symlink => {
                    if links.len() >= MOST_LINKS {
                        return Err(Missing::Loop(path));
                    }
                    let target = entry.link();
                    links.push((path, target.to_owned()));
                    if target.starts_with('/') {
                        here = self.folder(String::new());
                    }
                    for part in split(target).rev() {
                        rest.push_front(part.to_owned());
                    }
                }
                Some(found) => here = found.node(path, &self.asked),
            }
        }
        Ok(Node { links, left, ..here })
    }

    /// Whether there is a link at `path` itself, wherever it leads.
    #[must_use]
    pub fn is_link(&self, path: &str) -> bool {
        let (folder, name) = parent_and_name(path);
        let Ok(folder) = self.find(folder) else { return false };
        let found = self.entry(&join(&folder.path, name));
        matches!(found, Some(Found::Entry { entry, .. }) if entry.kind() == Kind::Symlink)
    }

    /// What an earlier look-up found.
    fn at(&self, Known { path, links, left, place: (layer, number) }: Known) -> Node<'_> {
        let entry = number.and_then(|number| self.layers.get(layer)?.index.entry(number));
        let found = entry.map_or(Found::Implied { layer }, |entry| Found::Entry { entry, layer });
        Node { links, left, ..found.node(path, &self.asked) }
    }

    /// The folder at a path that is known to be one.
    fn folder(&self, path: String) -> Node<'_> {
        let found = if path.is_empty() { None } else { self.entry(&path) };
        found.unwrap_or(Found::Implied { layer: 0 }).node(path, &self.asked)
    }

    /// The names in a folder, sorted; none if it is no folder.
    #[must_use]
    pub fn names(&self, folder: &str) -> Vec<String> {
        let Ok(folder) = self.find(folder) else { return Vec::new() };
        let names: BTreeSet<&str> = self.layers.iter().flat_map(|layer| layer.index.names(&folder.path)).collect();
        let is_there = |name: &&str| {
            let path = if folder.path.is_empty() { (*name).to_owned() } else { format!("{}/{name}", folder.path) };
            self.entry(&path).is_some()
        };
        names.into_iter().filter(is_there).map(str::to_owned).collect()
    }

    /// The place of what a look-up of `path` found: the path that was asked for, and the layer that gave the file.
    #[must_use]
    pub fn place(&self, path: &str, node: &Node<'_>) -> Place {
        Place {
            path: Some(absolute(path)),
            layer: (node.layer < self.own).then_some(node.layer),
            instruction: self.layers.get(node.layer).and_then(|layer| layer.instruction.clone()),
            field: None,
        }
    }

    /// All regular files below a folder, by path; links are not followed.
    #[must_use]
    pub fn files_below(&self, folder: &str) -> Vec<Node<'_>> {
        let Ok(folder) = self.find(folder) else { return Vec::new() };
        let all = self.layers.iter().flat_map(|layer| layer.index.below(&folder.path).map(|entry| entry.path()));
        let paths: BTreeSet<&str> = all.collect();
        let file = |path: &str| match self.entry(path)? {
            found @ Found::Entry { entry, .. } if entry.kind() == Kind::File => {
                Some(found.node(path.to_owned(), &self.asked))
            }
            _ => None,
        };
        paths.into_iter().filter_map(file).collect()
    }

    /// All files and links whose names start with `start`, by path.
    #[must_use]
    pub fn files_named(&self, start: &str) -> Vec<String> {
        let is_file = |path: &&str| match self.entry(path) {
            Some(Found::Entry { entry, .. }) => entry.kind() != Kind::Directory,
            _ => false,
        };
        self.paths_named(start).into_iter().filter(is_file).map(str::to_owned).collect()
    }

    /// All paths whose names start with `start` that lower layers have and layers above have taken away.
    #[must_use]
    pub fn removed_files(&self, start: &str) -> Vec<String> {
        let is_gone = |path: &&str| self.entry(path).is_none();
        self.paths_named(start).into_iter().filter(is_gone).map(str::to_owned).collect()
    }

    fn paths_named(&self, start: &str) -> BTreeSet<&str> {
        self.layers.iter().flat_map(|layer| layer.index.named(start)).collect()
    }

    /// The place of what lower layers have at `path` and a layer above has taken away; nothing if none ever had it.
    #[must_use]
    pub fn removed(&self, path: &str) -> Option<Place> {
        let (folder, name) = parent_and_name(path);
        let path = self.find(folder).map_or_else(|_| join("", path), |folder| join(&folder.path, name));
        let had = self.layers.iter().rposition(|layer| layer.index.get(&path).is_some())?;
        let is_gone =
            |index: &LayerIndex| index.is_whiteout(&path) || ancestors(&path).any(|above| hides(index, above));
        let remover = (had + 1..self.layers.len()).find(|&number| is_gone(&self.layers[number].index))?;
        Some(Place {
            path: Some(absolute(&path)),
            layer: Some(remover),
            instruction: self.layers[remover].instruction.clone(),
            field: None,
        })
    }

    /// What the layers have at `path`, the uppermost first (image-spec, layer.md, "Whiteouts").
    fn entry(&self, path: &str) -> Option<Found<'_>> {
        let (_, parts) = self.parts(parent_and_name(path).0);
        let mut found = self.first(&mut parts.iter().cloned(), path)?;
        let mut is_second_name = false;
        loop {
            let Found::Entry { entry, layer } = found else { return (!is_second_name).then_some(found) };
            match entry.hard_link() {
                // Folders have one name only.
                None => return (!is_second_name || entry.kind() != Kind::Directory).then_some(found),
                Some(HardLink::Here(entry)) => {
                    return (entry.kind() != Kind::Directory).then_some(Found::Entry { entry, layer });
                }
                Some(HardLink::Below(target)) => {
                    // What a layer above does to that path does not change the file. Links may lead down through many
                    // layers, so no more of them are looked at than need be.
                    found = self.first(&mut self.parts_below(parent_and_name(target).0, layer), target)?;
                }
            }
            is_second_name = true;
        }
    }

    /// What the first of these parts has at `path` that has something there or takes it away.
    fn first(&self, parts: &mut dyn Iterator<Item = Part>, path: &str) -> Option<Found<'_>> {
        for Part { layer, below, has_whiteouts } in parts {
            let index = &self.layers[layer].index;
            match index.child(below, path) {
                Some(Child::Entry(entry)) => return Some(Found::Entry { entry, layer }),
                Some(Child::Implied) => return Some(Found::Implied { layer }),
                None if has_whiteouts && index.is_whiteout(path) => return None,
                None => {}
            }
        }
        None
    }
}

impl<'a> Found<'a> {
    fn node(self, path: String, asked: &'a Asked) -> Node<'a> {
        match self {
            Self::Entry { entry, layer } => Node {
                path,
                kind: entry.kind(),
                mode: entry.mode(),
                owner: entry.owner(),
                size: entry.size(),
                layer,
                links: Vec::new(),
                left: Vec::new(),
                entry: Some(entry),
                asked: Some(asked),
            },
            // The mode with which engines make folders that have no entry of their own.
            Self::Implied { layer } => Node {
                path,
                kind: Kind::Directory,
                mode: 0o755,
                owner: (0, 0),
                size: 0,
                layer,
                links: Vec::new(),
                left: Vec::new(),
                entry: None,
                asked: None,
            },
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Keeps what was found, unless there is much already.
fn remember<T>(known: &Mutex<HashMap<String, T>>, path: &str, found: T) {
    let mut known = lock(known);
    if known.len() < MOST_KNOWN {
        known.insert(path.to_owned(), found);
    }
}

#[cfg(test)]
mod tests;
