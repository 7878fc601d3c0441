//! A slow, plain model of what layers add up to, and of which layers engines refuse: every layer extracted entry by entry
//! into a folder of its own, and an overlay file system over them, as Docker, containerd and Podman do it. It shares nothing
//! with imglint but the words of its answers.

use std::collections::{BTreeMap, BTreeSet};

use super::tars::Member;

/// A path as its names; the root has none.
pub type Path = Vec<String>;

/// An entry of a layer.
#[derive(Clone, Debug)]
pub enum Step {
    Folder(Path),
    /// With a size that no other file has.
    File(Path, u64),
    Fifo(Path),
    Symlink(Path, String),
    HardLink(Path, Path),
    Whiteout(Path),
    Opaque(Path),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    Folder,
    File(u64),
    Fifo,
    Symlink(String),
    /// The device that hides what lies below.
    Whiteout,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    pub what: What,
    pub layer: usize,
    /// Of a folder, whether it hides what lies below.
    is_opaque: bool,
}

impl Node {
    /// Of an engine's file system, in which layers are not told apart.
    pub fn new(what: What) -> Self {
        Self { what, layer: 0, is_opaque: false }
    }
}

/// A file system: every folder has a node, the root has none.
pub type Tree = BTreeMap<Path, Node>;

/// What a look-up says: real path, node (none for the root), and links followed; or why there is nothing.
pub type Found = Result<(Path, Option<Node>, Vec<(Path, String)>), Missing>;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Missing {
    Absent(Path),
    NotAFolder(Path),
    Loop(Path),
}

pub fn names(path: &str) -> Path {
    path.split('/').filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

/// Puts one layer over the other; nothing if engines refuse one.
pub fn apply(layers: &[Vec<Step>]) -> Option<Tree> {
    let mut tree = Tree::new();
    for (number, steps) in layers.iter().enumerate() {
        merge(&mut tree, extract(steps, number)?);
    }
    Some(tree)
}

/// As many of these steps as engines take, one after the other.
pub fn accepted(steps: Vec<Step>) -> Vec<Step> {
    let mut kept = Vec::new();
    for step in steps {
        kept.push(step);
        if extract(&kept, 0).is_none() {
            kept.pop();
        }
    }
    kept
}

/// The path of an entry as it stands in the tar.
pub fn written(step: &Step) -> String {
    match step {
        Step::Folder(path)
        | Step::File(path, _)
        | Step::Fifo(path)
        | Step::Symlink(path, _)
        | Step::HardLink(path, _) => path.join("/"),
        Step::Whiteout(hidden) => {
            let (name, parent) = hidden.split_last().unwrap();
            [parent, &[format!(".wh.{name}")]].concat().join("/")
        }
        Step::Opaque(path) => [&path[..], &[".wh..wh..opq".to_owned()]].concat().join("/"),
    }
}

/// The layer as a tar; `style` is how its paths are written.
pub fn tar_of(steps: &[Step], style: usize) -> Vec<u8> {
    let start = ["", "./", "/"][style];
    let mut bytes = Vec::new();
    for step in steps {
        let (kind, link, size) = match step {
            Step::Folder(_) => (b'5', String::new(), 0),
            Step::File(_, size) => (b'0', String::new(), *size),
            Step::Fifo(_) => (b'6', String::new(), 0),
            Step::Symlink(_, target) => (b'2', target.clone(), 0),
            Step::HardLink(_, target) => (b'1', format!("{start}{}", target.join("/")), 0),
            Step::Whiteout(_) | Step::Opaque(_) => (b'0', String::new(), 0),
        };
        let path = format!("{start}{}{}", written(step), if kind == b'5' { "/" } else { "" });
        let content = vec![b'x'; size as usize];
        let member = Member { path: path.as_bytes(), kind, mode: 0o755, link: link.as_bytes(), content: &content };
        bytes.extend(member.bytes());
    }
    bytes.resize(bytes.len() + 1024, 0);
    bytes
}

/// What one layer holds by itself; nothing if engines refuse it.
pub fn extract(steps: &[Step], layer: usize) -> Option<Tree> {
    let (mut own, mut seen) = (Tree::new(), BTreeSet::new());
    for step in steps {
        if !seen.insert(written(step)) {
            return None;
        }
        let (path, what) = match step {
            Step::Folder(path) => (path, What::Folder),
            Step::File(path, size) => (path, What::File(*size)),
            Step::Fifo(path) => (path, What::Fifo),
            Step::Symlink(path, target) => (path, What::Symlink(target.clone())),
            Step::HardLink(path, _) | Step::Whiteout(path) => (path, What::Whiteout),
            Step::Opaque(folder) => {
                let place = folder_of(&mut own, folder, layer)?;
                if let Some(node) = own.get_mut(&place) {
                    node.is_opaque = true;
                }
                continue;
            }
        };
        let (name, parent) = path.split_last()?;
        let mut place = folder_of(&mut own, parent, layer)?;
        place.push(name.clone());
        let there = own.get(&place).cloned();
        if matches!(step, Step::Whiteout(_)) && there.is_some() {
            return None;
        }
        if what == What::Folder && there.as_ref().is_some_and(|node| node.what == What::Folder) {
            continue;
        }
        remove(&mut own, &place, true);
        let what = match step {
            Step::HardLink(_, target) => linked(&own, target)?,
            _ => what,
        };
        own.insert(place, Node { what, layer, is_opaque: false });
    }
    // At last engines set the times of folders, which have to be there.
    let mut folders = steps.iter().filter(|step| matches!(step, Step::Folder(_)));
    folders.all(|step| find(&own, &written(step)).is_ok()).then_some(own)
}

fn linked(own: &Tree, target: &Path) -> Option<What> {
    let (name, parent) = target.split_last()?;
    // Links are followed, but nothing is made.
    let mut place = folder_of(&mut own.clone(), parent, usize::MAX)?;
    place.push(name.clone());
    own.get(&place).map(|node| node.what.clone()).filter(|what| *what != What::Folder)
}

/// Where a folder is, which is made if it is not there; nothing if it cannot be.
fn folder_of(tree: &mut Tree, path: &[String], layer: usize) -> Option<Path> {
    let mut rest: Vec<(String, bool)> = path.iter().rev().map(|name| (name.clone(), false)).collect();
    let (mut here, mut links) = (Path::new(), 0);
    while let Some((name, is_of_link)) = rest.pop() {
        if name == "." {
            continue;
        }
        if name == ".." {
            here.pop();
            continue;
        }
        here.push(name);
        match tree.get(&here).map(|node| node.what.clone()) {
            None if is_of_link => return None,
            None => {
                tree.insert(here.clone(), Node { what: What::Folder, layer, is_opaque: false });
            }
            Some(What::Folder) => {}
            Some(What::Symlink(target)) if links < 40 => {
                links += 1;
                here.pop();
                if target.starts_with('/') {
                    here.clear();
                }
                rest.extend(names(&target).into_iter().rev().map(|name| (name, true)));
            }
            Some(_) => return None,
        }
    }
    Some(here)
}

fn merge(tree: &mut Tree, own: Tree) {
    for (path, node) in own {
        let is_folder = |node: &Node| node.what == What::Folder;
        if !(is_folder(&node) && tree.get(&path).is_some_and(is_folder)) {
            remove(tree, &path, true);
        }
        if node.is_opaque {
            remove(tree, &path, false);
        }
        if node.what != What::Whiteout {
            tree.insert(path, Node { is_opaque: false, ..node });
        }
    }
}

fn remove(tree: &mut Tree, path: &Path, itself: bool) {
    tree.retain(|other, _| !other.starts_with(path) || (!itself && other == path));
}

/// Looks up as the kernel does (path_resolution(7)).
pub fn find(tree: &Tree, path: &str) -> Found {
    let mut rest: Vec<String> = names(path).into_iter().rev().collect();
    let (mut here, mut links) = (Path::new(), Vec::new());
    while let Some(name) = rest.pop() {
        if tree.get(&here).is_some_and(|node| node.what != What::Folder) {
            return Err(Missing::NotAFolder(here));
        }
        if name == "." {
            continue;
        }
        if name == ".." {
            here.pop();
            continue;
        }
        let mut next = here.clone();
        next.push(name);
        match tree.get(&next).map(|node| &node.what) {
            None => return Err(Missing::Absent(next)),
            Some(What::Symlink(_)) if links.len() == 40 => return Err(Missing::Loop(next)),
            Some(What::Symlink(target)) => {
                links.push((next, target.clone()));
                if target.starts_with('/') {
                    here.clear();
                }
                rest.extend(names(target).into_iter().rev());
            }
            Some(_) => here = next,
        }
    }
    let node = tree.get(&here).cloned();
    Ok((here, node, links))
}

/// The names in a folder.
pub fn children(tree: &Tree, folder: &str) -> Vec<String> {
    let Ok((folder, node, _)) = find(tree, folder) else { return Vec::new() };
    if node.is_some_and(|node| node.what != What::Folder) {
        return Vec::new();
    }
    let is_child = |path: &&Path| path.len() == folder.len() + 1 && path.starts_with(&folder);
    tree.keys().filter(is_child).filter_map(|path| path.last().cloned()).collect()
}
