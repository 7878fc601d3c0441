//! Fast look-ups in one layer: a path in a folder that was looked into before, and names wherever they are.

use std::ops::Range;

use memchr::memmem;

use super::{EntryRef, LayerIndex};
use crate::layer::path::parent_and_name;

/// How many places of a name are remembered while it is sought; no real layer has so many.
const MOST_HITS: usize = 100_000;

/// What a layer has at a path.
#[derive(Clone, Copy, Debug)]
pub enum Child<'a> {
    /// An entry.
    Entry(EntryRef<'a>),
    /// A folder without an entry of its own, but with something below it.
    Implied,
}

impl LayerIndex {
    /// What is at `path`, which lies somewhere `below` a folder ([`LayerIndex::range_below`]).
    #[must_use]
    pub fn child(&self, below: Range<usize>, path: &str) -> Option<Child<'_>> {
        let ids = self.visible.get(below)?;
        let at = ids.partition_point(|&id| self.path_of(id) < path);
        let id = *ids.get(at)?;
        let rest = self.path_of(id).strip_prefix(path)?;
        if rest.is_empty() {
            return Some(Child::Entry(EntryRef { index: self, id }));
        }
        // Names that only begin so may come before those below it.
        (rest.starts_with('/') || self.has_below(path)).then_some(Child::Implied)
    }

    /// Whether this layer removes something of what lower layers have in the folder `path` itself or further below.
    #[must_use]
    pub fn has_whiteouts_in(&self, path: &str) -> bool {
        if path.is_empty() {
            return !self.whiteouts.is_empty();
        }
        let below = path.bytes().chain([b'/']);
        let at = self.whiteouts.partition_point(|hidden| hidden.bytes().lt(below.clone()));
        let first = self.whiteouts.get(at).and_then(|hidden| hidden.strip_prefix(path));
        first.is_some_and(|rest| rest.starts_with('/'))
    }

    /// The paths of all entries whose names start with `start`.
    pub fn named<'a>(&'a self, start: &str) -> impl Iterator<Item = &'a str> + use<'a> {
        // All names are in one text, which is searched much faster than they are one by one.
        let (finder, text) = (memmem::Finder::new(start), self.names.as_bytes());
        let next = |from: usize| finder.find(text.get(from..)?).map(|at| from + at);
        let hits = std::iter::successors(next(0), |at| next(at + 1)).map(|at| at as u32);
        let hits: Vec<u32> = hits.take(MOST_HITS).collect();
        let start = start.to_owned();
        let visible = if hits.is_empty() { &[][..] } else { &self.visible[..] };
        let may_be = move |id: &&u32| {
            let (from, length) = self.entries[**id as usize].path;
            let next = hits.get(hits.partition_point(|hit| *hit < from));
            next.map_or(hits.len() == MOST_HITS, |hit| *hit < from + length)
        };
        let paths = visible.iter().filter(may_be).map(|&id| self.path_of(id));
        paths.filter(move |path| parent_and_name(path).1.starts_with(&start))
    }
}

#[cfg(test)]
mod tests {
    use super::super::{IndexBuilder, Kind, NewEntry};
    use super::*;

    fn index(paths: &[&str]) -> LayerIndex {
        let mut builder = IndexBuilder::default();
        for path in paths {
            let link = if path.ends_with("link") { "aab" } else { "" };
            let kind = if link.is_empty() { Kind::File } else { Kind::Symlink };
            builder.add(&NewEntry { path, kind, mode: 0, uid: 0, gid: 0, size: 0, link }, None).unwrap();
        }
        builder.finish(None, 0).unwrap()
    }

    #[test]
    fn a_child_is_an_entry_or_a_folder_without_one() {
        let index = index(&["usr/a", "usr/b-", "usr/b.x", "usr/b/c/d", "usr/bb", "var"]);
        let found = |folder: &str, path: &str| match index.child(index.range_below(folder), path) {
            Some(Child::Entry(entry)) => Some(entry.path().to_owned()),
            Some(Child::Implied) => Some(format!("{path}/")),
            None => None,
        };
        for (folder, path, what) in [
            ("usr", "usr/a", Some("usr/a")),
            ("usr", "usr/b", Some("usr/b/")),
            ("usr/b", "usr/b/c", Some("usr/b/c/")),
            ("usr/b/c", "usr/b/c/d", Some("usr/b/c/d")),
            ("", "var", Some("var")),
            ("", "usr", Some("usr/")),
            ("usr", "usr/bbb", None),
            ("usr", "usr/", None),
            ("usr/a", "usr/a/x", None),
            ("var", "var/x", None),
        ] {
            assert_eq!(found(folder, path).as_deref(), what, "{path} in {folder}");
        }
    }

    #[test]
    fn whiteouts_are_in_folders() {
        let index = index(&["usr/.wh.a", "usr-x/b", "var/lib/.wh.c"]);
        let folders = ["", "usr", "usr/a", "usr-x", "var", "var/lib", "v"];
        assert_eq!(folders.map(|folder| index.has_whiteouts_in(folder)), [true, true, false, false, true, true, false]);
    }

    #[test]
    fn names_are_found_wherever_they_are_but_not_links_folders_and_middles() {
        // One after the other these make more of what is sought than there is: baa|aab, aab of the link, aa|aa.
        let index = index(&["xa/baa", "aab/x", "y/aab", "y/aabx", "y/link", "z/aa", "aab.z", "y/gone", "aa/aab"]);
        assert_eq!(index.named("aab").collect::<Vec<_>>(), ["aa/aab", "aab.z", "y/aab", "y/aabx"]);
        assert_eq!(index.named("aac").count(), 0);
    }
}
