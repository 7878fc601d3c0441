//! Looks at the entries of `PATH` one by one: folders, and what is none.

use std::collections::HashMap;

use super::{EntryState, PathEntry, SearchPath};
use crate::layer::Kind;
use crate::layer::path::absolute;
use crate::rootfs::{Access, Account, Rootfs};

/// Fills in what each entry of `PATH` is.
pub fn look_at_entries(path: &mut SearchPath, rootfs: &Rootfs, user: Account<'_>) {
    let mut seen: HashMap<String, String> = HashMap::new();
    let mut entries = Vec::new();
    for folder in &path.folders {
        let (state, real) = state(folder, rootfs, user);
        let same_as = real.as_ref().and_then(|real| seen.get(real)).cloned();
        if let Some(real) = &real {
            seen.entry(real.clone()).or_insert_with(|| folder.clone());
        }
        let target = real.filter(|real| real != folder.trim_end_matches('/'));
        entries.push(PathEntry { folder: folder.clone(), state, target, same_as });
    }
    path.entries = entries;
}

fn state(folder: &str, rootfs: &Rootfs, user: Account<'_>) -> (EntryState, Option<String>) {
    if folder.is_empty() {
        return (EntryState::Empty, None);
    }
    if !folder.starts_with('/') {
        return (EntryState::Relative, None);
    }
    match rootfs.find(folder) {
        Err(_) => (EntryState::Missing, None),
        Ok(node) if node.kind != Kind::Directory => (EntryState::NotAFolder, None),
        Ok(node) if !rootfs.may(user, Access::Execute, &node) => (EntryState::Closed, Some(absolute(&node.path))),
        Ok(node) => (EntryState::Folder, Some(absolute(&node.path))),
    }
}

/// An entry that means a folder which depends on where the step runs; `None` if there is none.
pub fn depends_on_work_folder(path: &SearchPath) -> Option<&str> {
    let depends = |entry: &&PathEntry| matches!(entry.state, EntryState::Relative | EntryState::Empty);
    path.entries.iter().find(depends).map(|entry| entry.folder.as_str())
}

/// The folders that are searched: each once, as written and without links. Relative ones are relative to the work
/// folder, which is not the image's.
pub fn searched(path: &SearchPath) -> impl Iterator<Item = (&str, &str)> {
    let is_searched =
        |entry: &&PathEntry| matches!(entry.state, EntryState::Folder | EntryState::Closed) && entry.same_as.is_none();
    path.entries.iter().filter(is_searched).map(|entry| {
        let real = entry.target.as_deref().unwrap_or_else(|| entry.folder.trim_end_matches('/'));
        (entry.folder.as_str(), real)
    })
}
