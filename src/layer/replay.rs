//! The entries of a layer extracted in their order, as engines with an overlay file system do it: Docker, containerd and
//! Podman by default. For layers in which one entry stands in the way of another.
//!
//! moby/moby, pkg/archive/archive.go (`Unpack`) and archive_linux.go; containers/storage has the same code; containerd,
//! archive/tar.go (`applyNaive`).

use std::collections::{BTreeMap, HashMap, VecDeque};

use super::index::Kind;
use super::path::{absolute, parent_and_name, split};

/// How many links a path is followed through (Linux, path_resolution(7)).
const MOST_LINKS: usize = 40;
/// How many folders are gone through in all. Of a real layer it is some million.
const MOST_STEPS: usize = 20_000_000;
/// How many bytes a node takes in memory, about, besides its path.
const NODE: usize = 96;

/// What a tar has engines do, by normalised path.
pub(super) enum Step<'a> {
    /// An entry.
    Entry {
        /// Its number.
        id: u32,
        /// Where it goes.
        path: &'a str,
        /// What it is.
        kind: Kind,
        /// The target of a link.
        link: &'a str,
        /// Whether it is the device by which an overlay file system hides what lies below.
        is_whiteout: bool,
    },
    /// The mark that hides what lies below at this path.
    Whiteout(&'a str),
    /// The mark that hides what lies below in this folder.
    Opaque(&'a str),
}

/// What a hard link names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// An entry of this layer, by its number.
    Here(u32),
    /// A file of the layers below, by its path.
    Below(String),
}

/// What extracting leaves behind.
#[derive(Debug, Default)]
pub(super) struct Extracted {
    /// The entries that are still there, by where they are.
    pub files: BTreeMap<String, u32>,
    /// Folders without an entry of their own.
    pub implied: Vec<String>,
    /// What the hard links name.
    pub targets: HashMap<u32, Target>,
    /// What is hidden.
    pub whiteouts: Vec<String>,
    /// The folders whose content below is hidden.
    pub opaque: Vec<String>,
    /// Why engines refuse the layer, if they do.
    pub refused: Option<String>,
}

/// Who refuses a layer.
pub(super) const ALL: &str = "Docker, containerd and Podman refuse it";
/// As [`ALL`], of what containerd takes.
pub(super) const NOT_CONTAINERD: &str = "Docker and Podman refuse it";

/// Extracts entries as engines do: through the symbolic links that are there by then; what is no folder replaces what
/// it finds with all below it, and a folder replaces what is no folder. Where engines end with an error, extracting goes
/// on, so that the layer can be looked at all the same. Nothing if it takes more than `most` bytes of memory, or far more
/// time than any real layer.
pub(super) fn replay(steps: &[Step<'_>], most: usize) -> Option<Extracted> {
    let links = steps.iter().filter_map(|step| match step {
        Step::Entry { id, link, .. } => Some((*id, *link)),
        _ => None,
    });
    let mut tree = Tree { left: most, steps: MOST_STEPS, links: links.collect(), ..Tree::default() };
    for step in steps {
        tree.extract(step)?;
    }
    // At last engines set the times of folders.
    for step in steps {
        if let Step::Entry { path, kind: Kind::Directory, .. } = step {
            tree.set_time(path)?;
        }
    }
    Some(tree.finish())
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Node {
    Folder {
        id: Option<u32>,
        is_opaque: bool,
    },
    /// A file by its entry, and the entry whose content it has: another one for a hard link.
    File {
        id: u32,
        content: u32,
    },
    Link {
        id: u32,
        content: u32,
    },
    /// A hard link to what the layer does not have.
    Elsewhere {
        id: u32,
        path: String,
    },
    Whiteout,
}

#[derive(Default)]
struct Tree<'a> {
    nodes: BTreeMap<String, Node>,
    /// The targets of links by entry.
    links: HashMap<u32, &'a str>,
    left: usize,
    steps: usize,
    refused: Option<String>,
}

/// Why a path leads nowhere.
enum Blocked {
    /// By what is no folder.
    File(String),
    /// By a link that leads nowhere.
    Dangling(String),
    /// By links that go round in circles.
    Loop(String),
    /// It takes too long.
    TooMuch,
}

impl<'a> Tree<'a> {
    fn extract(&mut self, step: &Step<'a>) -> Option<()> {
        match *step {
            Step::Entry { id, path, kind, link, is_whiteout } => {
                let Some(place) = self.place(path)? else { return Some(()) };
                self.entry(id, place, kind, link, is_whiteout)
            }
            Step::Whiteout(path) => {
                let Some(place) = self.place(path)? else { return Some(()) };
                if self.nodes.contains_key(&place) {
                    self.refuse(|| {
                        format!("it has {} and the whiteout of it: {ALL} (\"file exists\")", absolute(path))
                    });
                    return Some(());
                }
                self.put(place, Node::Whiteout)
            }
            Step::Opaque(folder) => {
                let Some(place) = self.folder(folder)? else { return Some(()) };
                if let Some(Node::Folder { is_opaque, .. }) = self.nodes.get_mut(&place) {
                    *is_opaque = true;
                }
                Some(())
            }
        }
    }

    fn entry(&mut self, id: u32, place: String, kind: Kind, link: &str, is_whiteout: bool) -> Option<()> {
        if kind == Kind::Directory {
            if let Some(Node::Folder { id: own, .. }) = self.nodes.get_mut(&place) {
                *own = Some(id);
                return Some(());
            }
            return self.put(place, Node::Folder { id: Some(id), is_opaque: false });
        }
        self.remove_below(&place);
        self.nodes.remove(&place);
        let node = match kind {
            _ if is_whiteout => Node::Whiteout,
            Kind::HardLink => self.linked(id, link)?,
            Kind::Symlink => Node::Link { id, content: id },
            _ => Node::File { id, content: id },
        };
        self.put(place, node)
    }

    /// What a hard link makes: another name of what its target is.
    fn linked(&mut self, id: u32, link: &str) -> Option<Node> {
        let (parent, name) = parent_and_name(link);
        let target = match self.resolve(parent, false) {
            Ok(mut place) => {
                push(&mut place, name);
                place
            }
            Err(Blocked::TooMuch) => return None,
            Err(_) => link.to_owned(),
        };
        match self.nodes.get(&target).cloned() {
            Some(Node::File { content, .. }) => return Some(Node::File { id, content }),
            Some(Node::Link { content, .. }) => return Some(Node::Link { id, content }),
            Some(Node::Whiteout) => return Some(Node::Whiteout),
            Some(Node::Elsewhere { path, .. }) => return Some(Node::Elsewhere { id, path }),
            Some(Node::Folder { .. }) => {
                self.refuse(|| format!("it has a hard link to the folder {}: {ALL}", absolute(link)));
            }
            None => self.refuse(|| missing_target(link)),
        }
        self.left = self.left.checked_sub(target.len())?;
        Some(Node::Elsewhere { id, path: target })
    }

    /// Sets the time of a folder, which is an error if it is gone: what lies above it was replaced.
    fn set_time(&mut self, path: &str) -> Option<()> {
        let (parent, name) = parent_and_name(path);
        let is_there = match self.resolve(parent, false) {
            Ok(mut place) => {
                push(&mut place, name);
                match self.nodes.get(&place) {
                    // It may lead to a file.
                    Some(Node::Link { .. }) => match self.resolve(path, false) {
                        Ok(_) | Err(Blocked::File(_)) => Ok(()),
                        Err(blocked) => Err(blocked),
                    },
                    Some(_) => Ok(()),
                    None => Err(Blocked::Dangling(String::new())),
                }
            }
            Err(blocked) => Err(blocked),
        };
        match is_there {
            Ok(()) => {}
            Err(Blocked::TooMuch) => return None,
            Err(_) => self.refuse(|| {
                format!(
                    "something takes the place of what the folder {} is in: {NOT_CONTAINERD} (\"chtimes\")",
                    absolute(path)
                )
            }),
        }
        Some(())
    }

    /// Where an entry of this path comes to lie. The folder is made if need be. Nothing if that cannot be.
    fn place(&mut self, path: &str) -> Option<Option<String>> {
        let (parent, name) = parent_and_name(path);
        Some(self.folder(parent)?.map(|mut place| {
            push(&mut place, name);
            place
        }))
    }

    /// Where a folder is, which is made if need be.
    fn folder(&mut self, path: &str) -> Option<Option<String>> {
        let why = match self.resolve(path, true) {
            Ok(place) => return Some(Some(place)),
            Err(Blocked::TooMuch) => return None,
            Err(Blocked::File(file)) => {
                format!("an entry lies below {}, which is no folder: {ALL} (\"not a directory\")", absolute(&file))
            }
            Err(Blocked::Loop(link)) => {
                format!("an entry lies behind {}, whose links go round in circles: {ALL}", absolute(&link))
            }
            Err(Blocked::Dangling(link)) => format!(
                "an entry lies behind the link {}, which leads to nothing in this layer: {NOT_CONTAINERD} (\"no such \
                 file or directory\"), and containerd makes the folder",
                absolute(&link)
            ),
        };
        self.refuse(|| why);
        Some(None)
    }

    fn resolve(&mut self, path: &str, makes: bool) -> Result<String, Blocked> {
        // Of each name, the link that led to it.
        let mut rest: VecDeque<(&str, Option<u32>)> = split(path).map(|name| (name, None)).collect();
        let (mut here, mut links) = (String::new(), 0);
        while let Some((name, from)) = rest.pop_front() {
            self.steps = self.steps.checked_sub(1).ok_or(Blocked::TooMuch)?;
            match name {
                "." => continue,
                ".." => {
                    here.truncate(here.rfind('/').unwrap_or(0));
                    continue;
                }
                _ => {}
            }
            let length = here.len();
            push(&mut here, name);
            match self.nodes.get(&here) {
                Some(Node::Folder { .. }) => {}
                Some(&Node::Link { content, .. }) => {
                    links += 1;
                    if links > MOST_LINKS {
                        return Err(Blocked::Loop(here));
                    }
                    let target = self.links.get(&content).copied().unwrap_or_default();
                    here.truncate(if target.starts_with('/') { 0 } else { length });
                    for part in split(target).rev() {
                        rest.push_front((part, Some(content)));
                    }
                }
                Some(_) => return Err(Blocked::File(here)),
                None if from.is_some() || !makes => return Err(Blocked::Dangling(path.to_owned())),
                None => {
                    let folder = Node::Folder { id: None, is_opaque: false };
                    self.put(here.clone(), folder).ok_or(Blocked::TooMuch)?;
                }
            }
        }
        Ok(here)
    }

    /// Puts a node where none is, or in the place of one.
    fn put(&mut self, place: String, node: Node) -> Option<()> {
        self.left = self.left.checked_sub(place.len() + NODE)?;
        self.nodes.insert(place, node);
        Some(())
    }

    fn refuse(&mut self, why: impl FnOnce() -> String) {
        if self.refused.is_none() {
            self.refused = Some(why());
        }
    }

    fn remove_below(&mut self, path: &str) {
        let first = format!("{path}/");
        let below = self.nodes.range(first.clone()..).take_while(|(path, _)| path.starts_with(&first));
        let gone: Vec<String> = below.map(|(path, _)| path.clone()).collect();
        for path in gone {
            self.nodes.remove(&path);
        }
    }

    fn finish(self) -> Extracted {
        let mut done = Extracted { refused: self.refused, ..Extracted::default() };
        for (path, node) in self.nodes {
            match node {
                Node::Whiteout => done.whiteouts.push(path),
                Node::Folder { id, is_opaque } => {
                    if is_opaque {
                        done.opaque.push(path.clone());
                    }
                    match id {
                        Some(id) => drop(done.files.insert(path, id)),
                        None => done.implied.push(path),
                    }
                }
                Node::File { id, content } | Node::Link { id, content } => {
                    if id != content {
                        done.targets.insert(id, Target::Here(content));
                    }
                    done.files.insert(path, id);
                }
                Node::Elsewhere { id, path: target } => {
                    done.targets.insert(id, Target::Below(target));
                    done.files.insert(path, id);
                }
            }
        }
        done
    }
}

/// Says that a hard link leads to nothing.
pub(super) fn missing_target(link: &str) -> String {
    format!(
        "it has a hard link to {}, which is not in this layer before it: {ALL} (\"no such file or directory\")",
        absolute(link)
    )
}

fn push(path: &mut String, name: &str) {
    if !path.is_empty() {
        path.push('/');
    }
    path.push_str(name);
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: Kind = Kind::File;
    const FOLDER: Kind = Kind::Directory;
    const LINK: Kind = Kind::Symlink;
    const HARD: Kind = Kind::HardLink;

    fn extracted(entries: &[(&str, Kind, &str)]) -> Extracted {
        let steps: Vec<Step<'_>> = entries
            .iter()
            .enumerate()
            .map(|(id, &(path, kind, link))| match path.strip_prefix('-') {
                Some(path) => Step::Whiteout(path),
                None => Step::Entry { id: id as u32, path, kind, link, is_whiteout: false },
            })
            .collect();
        replay(&steps, 10_000).unwrap()
    }

    fn files(entries: &[(&str, Kind, &str)]) -> Vec<(String, u32)> {
        let done = extracted(entries);
        assert_eq!(done.refused, None);
        done.files.into_iter().collect()
    }

    fn at(paths: &[(&str, u32)]) -> Vec<(String, u32)> {
        paths.iter().map(|&(path, id)| (path.to_owned(), id)).collect()
    }

    #[track_caller]
    fn is_refused(entries: &[(&str, Kind, &str)], why: &str) {
        let refused = extracted(entries).refused.unwrap_or_default();
        assert!(refused.contains(why), "{refused}");
    }

    #[test]
    fn entries_go_through_links_that_lead_to_links() {
        let entries = [("c/d", FOLDER, ""), ("a", LINK, "b"), ("b", LINK, "/c/d"), ("a/x", FILE, "")];
        assert_eq!(files(&entries), at(&[("a", 1), ("b", 2), ("c/d", 0), ("c/d/x", 3)]));
        assert_eq!(extracted(&entries).implied, ["c"]);
    }

    #[test]
    fn a_folder_replaces_a_link_and_a_file_a_folder() {
        let entries = [("a", LINK, "b"), ("a", FOLDER, ""), ("a/x", FILE, "")];
        assert_eq!(files(&entries), at(&[("a", 1), ("a/x", 2)]));
        assert_eq!(files(&[("a/x", FILE, ""), ("a", FILE, ""), ("a", FOLDER, "")]), at(&[("a", 2)]));
    }

    #[test]
    fn a_hard_link_finds_its_file_through_a_symbolic_link() {
        let done = extracted(&[("usr/bin/a", FILE, ""), ("bin", LINK, "usr/bin"), ("b", HARD, "bin/a")]);
        assert_eq!((done.refused, &done.targets[&2]), (None, &Target::Here(0)));
    }

    #[test]
    fn a_hard_link_to_what_is_hidden_hides() {
        let done = extracted(&[("-a", FILE, ""), ("b", HARD, "a")]);
        assert_eq!((done.refused, done.whiteouts), (None, vec!["a".to_owned(), "b".to_owned()]));
    }

    #[test]
    fn what_replaces_a_whiteout_leaves_nothing_of_it() {
        let done = extracted(&[("-a", FILE, ""), ("a", FOLDER, ""), ("a/x", FILE, "")]);
        assert_eq!((done.refused, done.whiteouts.len(), done.files.len()), (None, 0, 2));
    }

    #[test]
    fn what_engines_cannot_make_is_refused() {
        is_refused(&[("a", FILE, ""), ("a/x", FILE, "")], "below /a, which is no folder");
        is_refused(&[("-a", FILE, ""), ("a/x", FILE, "")], "below /a, which is no folder");
        is_refused(&[("a", LINK, "a"), ("a/x", FILE, "")], "round in circles");
        is_refused(&[("a", LINK, "b"), ("a/x", FILE, "")], "leads to nothing in this layer");
        is_refused(&[("a", FILE, ""), ("-a", FILE, "")], "the whiteout of it");
        is_refused(&[("a/x", FILE, ""), ("-a", FILE, "")], "the whiteout of it");
        is_refused(&[("a", HARD, "b"), ("b", FILE, "")], "hard link to /b, which is not in this layer before it");
        is_refused(&[("a", FILE, ""), ("a", HARD, "a")], "hard link to /a");
        is_refused(&[("a/x", FILE, ""), ("b", HARD, "a")], "hard link to the folder /a");
        is_refused(&[("a/b", FOLDER, ""), ("a", FILE, "")], "takes the place of what the folder /a/b is in");
    }

    #[test]
    fn memory_and_time_are_bounded() {
        let entry = |id, path| Step::Entry { id, path, kind: FILE, link: "", is_whiteout: false };
        assert!(replay(&[entry(0, "a"), entry(1, "b")], 150).is_none());
        let deep = "d/".repeat(2000) + "x";
        let steps: Vec<Step<'_>> = (0..20_000).map(|id| entry(id, &deep)).collect();
        assert!(replay(&steps, 1 << 30).is_none());
    }
}
