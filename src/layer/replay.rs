//! The entries of a layer extracted in their order, for layers in which one entry stands in the way of another.

use std::collections::{BTreeMap, HashMap, VecDeque};

use super::index::Kind;
use super::path::{parent_and_name, split};

/// How many links a path is followed through (Linux, path_resolution(7)).
const MOST_LINKS: usize = 40;

/// An entry as it stands in the tar, by normalised path.
pub(super) struct Step<'a> {
    pub path: &'a str,
    pub kind: Kind,
    pub link: &'a str,
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
    /// What the hard links name.
    pub targets: HashMap<u32, Target>,
}

/// Extracts entries as engines do: through the symbolic links that are there by then; what is no folder replaces what
/// it finds with all below it, and a folder replaces what is no folder. An entry below a file cannot be extracted, and
/// neither can one after the first `most` bytes of paths: links may make them far longer than the tar.
pub(super) fn replay(steps: &[Step<'_>], most: usize) -> Extracted {
    let mut tree = Tree { steps, left: most, done: Extracted::default() };
    for (id, step) in steps.iter().enumerate() {
        // There are at most u32::MAX entries.
        tree.extract(id as u32, step);
    }
    tree.done
}

struct Tree<'a> {
    steps: &'a [Step<'a>],
    left: usize,
    done: Extracted,
}

impl<'a> Tree<'a> {
    fn extract(&mut self, id: u32, step: &Step<'a>) {
        let Some(path) = self.place(step.path) else { return };
        let Some(left) = self.left.checked_sub(path.len() + step.link.len()) else { return };
        self.left = left;
        if step.kind == Kind::HardLink {
            self.done.targets.insert(id, self.target(step.link));
        }
        if step.kind != Kind::Directory {
            self.remove_below(&path);
        }
        self.done.files.insert(path, id);
    }

    /// Where an entry of this path comes to lie.
    fn place(&self, path: &str) -> Option<String> {
        let (parent, name) = parent_and_name(path);
        let mut place = self.folder(parent)?;
        push(&mut place, name);
        Some(place)
    }

    fn target(&self, link: &str) -> Target {
        let Some(place) = self.place(link) else { return Target::Below(link.to_owned()) };
        match self.done.files.get(&place) {
            // A link to a link names what that one names.
            Some(id) => self.done.targets.get(id).cloned().unwrap_or(Target::Here(*id)),
            None => Target::Below(place),
        }
    }

    /// The folder that a path leads to, whether it is there or would be made; nothing if a file is in the way.
    fn folder(&self, path: &str) -> Option<String> {
        let mut rest: VecDeque<&str> = split(path).collect();
        let (mut here, mut links) = (String::new(), 0);
        while let Some(name) = rest.pop_front() {
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
            match self.done.files.get(&here).map(|&id| self.file(id)) {
                None => {}
                Some(step) if step.kind == Kind::Directory => {}
                Some(step) if step.kind == Kind::Symlink && links < MOST_LINKS => {
                    links += 1;
                    here.truncate(if step.link.starts_with('/') { 0 } else { length });
                    for part in split(step.link).rev() {
                        rest.push_front(part);
                    }
                }
                Some(_) => return None,
            }
        }
        Some(here)
    }

    /// The entry itself, or what it is a hard link to. Folders have one name only.
    fn file(&self, id: u32) -> &'a Step<'a> {
        let itself = &self.steps[id as usize];
        match self.done.targets.get(&id) {
            Some(Target::Here(target)) => {
                Some(&self.steps[*target as usize]).filter(|step| step.kind != Kind::Directory).unwrap_or(itself)
            }
            _ => itself,
        }
    }

    fn remove_below(&mut self, path: &str) {
        let first = format!("{path}/");
        let gone: Vec<String> = self
            .done
            .files
            .range(first.clone()..)
            .take_while(|(path, _)| path.starts_with(&first))
            .map(|(path, _)| path.clone())
            .collect();
        for path in gone {
            self.done.files.remove(&path);
        }
    }
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

    fn files(steps: &[(&str, Kind, &str)]) -> Vec<(String, u32)> {
        let steps: Vec<Step<'_>> = steps.iter().map(|&(path, kind, link)| Step { path, kind, link }).collect();
        replay(&steps, 1000).files.into_iter().collect()
    }

    fn at(paths: &[(&str, u32)]) -> Vec<(String, u32)> {
        paths.iter().map(|&(path, id)| (path.to_owned(), id)).collect()
    }

    #[test]
    fn entries_go_through_links_that_lead_to_links() {
        let steps = [("a", Kind::Symlink, "b"), ("b", Kind::Symlink, "/c/d"), ("a/x", Kind::File, "")];
        assert_eq!(files(&steps), at(&[("a", 0), ("b", 1), ("c/d/x", 2)]));
    }

    #[test]
    fn a_folder_replaces_a_link_and_a_file_a_folder() {
        let steps = [("a", Kind::Symlink, "b"), ("a", Kind::Directory, ""), ("a/x", Kind::File, "")];
        assert_eq!(files(&steps), at(&[("a", 1), ("a/x", 2)]));
        let steps = [("a/x", Kind::File, ""), ("a", Kind::File, ""), ("a", Kind::Directory, "")];
        assert_eq!(files(&steps), at(&[("a", 2)]));
    }

    #[test]
    fn nothing_is_extracted_below_a_file_or_through_a_circle() {
        assert_eq!(files(&[("a", Kind::File, ""), ("a/x", Kind::File, "")]), at(&[("a", 0)]));
        assert_eq!(files(&[("a", Kind::Symlink, "a"), ("a/x", Kind::File, "")]), at(&[("a", 0)]));
    }

    #[test]
    fn a_hard_link_finds_its_file_through_a_symbolic_link() {
        let steps = [("bin", Kind::Symlink, "usr/bin"), ("usr/bin/a", Kind::File, ""), ("b", Kind::HardLink, "bin/a")];
        let steps: Vec<Step<'_>> = steps.iter().map(|&(path, kind, link)| Step { path, kind, link }).collect();
        assert_eq!(replay(&steps, 1000).targets[&2], Target::Here(1));
    }
}
