//! A slow, plain model of what layers add up to: every layer extracted entry by entry onto a tree, as engines do it
//! (image-spec, layer.md). It shares nothing with imglint but the words of its answers.

use std::collections::BTreeMap;

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
    /// A hard link to nothing: there is no file, but what was there is gone.
    Nothing,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    pub what: What,
    pub layer: usize,
    /// While extracting, nothing is extracted through what a hard link took from the layers below.
    is_from_below: bool,
    /// A folder without an entry of its own. What a hard link to such a thing means is nobody's business: engines fail.
    is_implied: bool,
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

/// Applies one layer after the other.
pub fn apply(layers: &[Vec<Step>]) -> Tree {
    let mut tree = Tree::new();
    for (number, steps) in layers.iter().enumerate() {
        let own = extract(steps, number, &tree);
        for step in steps {
            match step {
                Step::Whiteout(path) => remove(&mut tree, path, true),
                Step::Opaque(path) => remove(&mut tree, path, false),
                _ => {}
            }
        }
        merge(&mut tree, own);
    }
    tree
}

/// What one layer holds by itself. `below` is only asked what hard links to other layers name.
fn extract(steps: &[Step], layer: usize, below: &Tree) -> Tree {
    let mut own = Tree::new();
    for step in steps {
        let (path, what) = match step {
            Step::Folder(path) => (path, What::Folder),
            Step::File(path, size) => (path, What::File(*size)),
            Step::Fifo(path) => (path, What::Fifo),
            Step::Symlink(path, target) => (path, What::Symlink(target.clone())),
            Step::HardLink(path, _) => (path, What::Nothing),
            Step::Whiteout(_) | Step::Opaque(_) => continue,
        };
        let Some(place) = place(&own, path) else { continue };
        let mut node = Node { what, layer, is_from_below: false, is_implied: false };
        if let Step::HardLink(_, target) = step {
            node = hard_linked(&own, below, target).unwrap_or(node);
        }
        for length in 1..place.len() {
            let folder = Node { what: What::Folder, layer, is_from_below: false, is_implied: true };
            own.entry(place[..length].to_vec()).or_insert(folder);
        }
        let is_folder = |node: &Node| node.what == What::Folder;
        if !(is_folder(&node) && own.get(&place).is_some_and(is_folder)) {
            remove(&mut own, &place, true);
        }
        own.insert(place, node);
    }
    own
}

fn hard_linked(own: &Tree, below: &Tree, target: &Path) -> Option<Node> {
    let place = place(own, target);
    let found = match place.as_ref().and_then(|place| own.get(place)) {
        Some(node) if !node.is_implied => node.clone(),
        _ => Node { is_from_below: true, ..below.get(&place.unwrap_or_else(|| target.clone()))?.clone() },
    };
    (found.what != What::Folder).then_some(found)
}

/// Where an entry comes to lie, through the links that are there; nothing if a file is in the way.
fn place(tree: &Tree, path: &Path) -> Option<Path> {
    let (name, parent) = path.split_last()?;
    let mut rest: Vec<String> = parent.iter().rev().cloned().collect();
    let (mut here, mut links) = (Path::new(), 0);
    while let Some(name) = rest.pop() {
        if name == "." {
            continue;
        }
        if name == ".." {
            here.pop();
            continue;
        }
        here.push(name);
        let Some(node) = tree.get(&here) else { continue };
        match &node.what {
            What::Folder => {}
            What::Symlink(target) if links < 40 && !node.is_from_below => {
                links += 1;
                here.pop();
                if target.starts_with('/') {
                    here.clear();
                }
                rest.extend(names(target).into_iter().rev());
            }
            _ => return None,
        }
    }
    here.push(name.clone());
    Some(here)
}

fn merge(tree: &mut Tree, own: Tree) {
    for (path, node) in own {
        let is_folder = |node: &Node| node.what == What::Folder;
        if !(is_folder(&node) && tree.get(&path).is_some_and(is_folder)) {
            remove(tree, &path, true);
        }
        if node.what != What::Nothing {
            tree.insert(path, node);
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
