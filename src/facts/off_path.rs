//! Finds tools that are installed, but in folders that are not on `PATH`: there only for people at a prompt.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::bash_start::BashStart;
use super::programs::Surroundings;
use super::shell_files::{ShellFiles, ShellLine, commands_in, homes, is_on_path, is_usual};
use super::versions::{numbers, version_of_folder};
use super::{Command, CommandState, SearchPath};
use crate::layer::path::absolute;
use crate::rootfs::{Access, Rootfs};
use crate::tables::steps::steps;
use crate::tables::tools::{Manager, tools};
use crate::verdict::Place;

/// The most commands that are named of one folder.
const MOST_COMMANDS: usize = 200;
/// The most folders that one pattern stands for.
const MOST_FOLDERS: usize = 100;

/// A folder with commands that are not on `PATH`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OffPath {
    /// The folder.
    pub folder: String,
    /// Its commands that are in no folder of `PATH`; those that a step needs first.
    pub commands: Vec<String>,
    /// What installed them there, if that is known.
    pub by: Option<String>,
    /// The version, where the folder or a file beside it tells.
    pub version: Option<String>,
    /// The types of steps that need one of them.
    pub needed_by: Vec<String>,
    /// The lines of shell files that put the folder on `PATH` for people at a prompt.
    pub added_by: Vec<ShellLine>,
    /// Whether scripts of bash have it on `PATH`, because the file of `BASH_ENV` puts it there.
    pub is_in_bash: bool,
    /// The folder, and the layer that gives it.
    pub place: Place,
}

/// The folders with tools off `PATH`: of managers that are known, and those that shell files name.
#[must_use]
pub fn off_path(
    around: &Surroundings<'_>,
    path: &SearchPath,
    commands: &BTreeMap<String, Command>,
    files: &ShellFiles,
    bash: &BashStart,
) -> Vec<OffPath> {
    let mut found: Vec<OffPath> = Vec::new();
    let search = Search { around, path, commands, files, bash };
    for manager in tools().map(|table| table.manager.as_slice()).unwrap_or_default() {
        for (root, folder) in manager_folders(around, manager) {
            search.add(&mut found, Some((manager, &root)), &folder);
        }
    }
    let additions = files.files.iter().flat_map(|file| &file.adds).map(|addition| addition.folder.as_str());
    for folder in additions.collect::<BTreeSet<_>>() {
        search.add(&mut found, None, folder);
    }
    found
}

struct Search<'a> {
    around: &'a Surroundings<'a>,
    path: &'a SearchPath,
    commands: &'a BTreeMap<String, Command>,
    files: &'a ShellFiles,
    bash: &'a BashStart,
}

/// The folders with a manager's commands.
pub(super) fn folders_of(around: &Surroundings<'_>, manager: &Manager) -> Vec<String> {
    manager_folders(around, manager).into_iter().map(|(_, folder)| folder).collect()
}

/// The folders with a manager's commands, each with the manager's own folder.
fn manager_folders(around: &Surroundings<'_>, manager: &Manager) -> Vec<(String, String)> {
    let mut roots: Vec<String> = Vec::new();
    if let Some(value) = manager.variable.as_ref().and_then(|name| around.variable(name)) {
        roots.push(value.to_owned());
    }
    for folder in &manager.folders {
        match folder.strip_prefix('~') {
            Some(rest) => roots.extend(homes(around).iter().map(|home| format!("{home}{rest}"))),
            None => roots.push(folder.clone()),
        }
    }
    let mut folders = Vec::new();
    for root in roots.iter().flat_map(|root| expanded(around.rootfs, root)) {
        for bin in &manager.bins {
            let all = match bin.as_str() {
                "." => vec![root.clone()],
                bin => expanded(around.rootfs, &format!("{root}/{bin}")),
            };
            let one_of_versions = manager.chosen.is_some() && all.len() > 1;
            let counts = if one_of_versions { chosen(around, manager, &root, all) } else { all };
            folders.extend(counts.into_iter().map(|folder| (root.clone(), folder)));
        }
    }
    folders
}

/// Of the folders of several versions the one that is chosen, else the newest.
fn chosen(around: &Surroundings<'_>, manager: &Manager, root: &str, all: Vec<String>) -> Vec<String> {
    let version = |folder: &String| version_of_folder(&format!("{folder}/x")).unwrap_or_default();
    let mut alias = manager.chosen.as_ref().and_then(|file| text_of(around, &format!("{root}/{file}")));
    // An alias may name another one (nvm: `lts/*`, `stable`).
    for _ in 0..4 {
        let next = alias.as_ref().and_then(|name| text_of(around, &format!("{root}/alias/{name}")));
        match next {
            Some(next) => alias = Some(next),
            None => break,
        }
    }
    let wanted = alias.as_deref().map(numbers).filter(|wanted| !wanted.is_empty());
    let fits = |folder: &&String| wanted.as_ref().is_some_and(|wanted| numbers(&version(folder)).starts_with(wanted));
    let newest = |folders: Vec<&String>| folders.into_iter().max_by_key(|folder| numbers(&version(folder))).cloned();
    newest(all.iter().filter(fits).collect()).or_else(|| newest(all.iter().collect())).into_iter().collect()
}

fn text_of(around: &Surroundings<'_>, path: &str) -> Option<String> {
    let content = around.rootfs.find(path).ok()?.detail()?.content.as_deref()?;
    Some(String::from_utf8_lossy(content).trim().to_owned())
}

impl Search<'_> {
    fn add(&self, found: &mut Vec<OffPath>, of: Option<(&Manager, &str)>, folder: &str) {
        let rootfs = self.around.rootfs;
        let Ok(node) = rootfs.find(folder) else { return };
        let is_known = |known: &OffPath| rootfs.find(&known.folder).is_ok_and(|other| other.path == node.path);
        let may_enter = rootfs.may(self.around.user, Access::Execute, &node);
        let is_in_bash = self.bash.path.as_ref().is_some_and(|own| is_on_path(rootfs, own, folder));
        if !may_enter || is_on_path(rootfs, self.path, folder) || found.iter().any(is_known) {
            return;
        }
        let is_missing =
            |name: &String| self.commands.get(name).is_none_or(|command| command.state == CommandState::Missing);
        let is_usable =
            |name: &str| self.commands.get(name).is_some_and(|command| command.state == CommandState::Usable);
        // Of what scripts of bash find only those steps lack it that start it otherwise.
        let steps = |name: &str| {
            let Ok(table) = steps() else { return Vec::new() };
            let mut needing = table.needing(name, is_usable);
            needing.retain(|step| !is_in_bash || table.callers(step, name).by_others);
            needing
        };
        let only_known = of.map_or_else(|| is_usual(folder), |(manager, _)| manager.only_known);
        let mut commands: Vec<(bool, String)> = commands_in(rootfs, folder)
            .into_iter()
            .filter(is_missing)
            .map(|name| (steps(&name).is_empty(), name))
            .filter(|(_, name)| !only_known || is_known_tool(name))
            .collect();
        commands.sort();
        commands.truncate(MOST_COMMANDS);
        if is_in_bash {
            commands.retain(|(is_not_needed, _)| !is_not_needed);
        }
        let commands: Vec<String> = commands.into_iter().map(|(_, name)| name).collect();
        if commands.is_empty() {
            return;
        }
        let needed_by: BTreeSet<String> = commands.iter().flat_map(|name| steps(name)).collect();
        found.push(OffPath {
            version: self.version(of, folder),
            added_by: self.added_by(of, folder),
            folder: folder.to_owned(),
            commands,
            by: of.map(|(manager, _)| manager.name.clone()),
            is_in_bash,
            needed_by: needed_by.into_iter().collect(),
            place: rootfs.place(folder.trim_start_matches('/'), &node),
        });
    }

    fn version(&self, of: Option<(&Manager, &str)>, folder: &str) -> Option<String> {
        let by_file = of.and_then(|(manager, root)| {
            let text = text_of(self.around, &format!("{root}/{}", manager.version_file.as_ref()?))?;
            let java = text.lines().find_map(|line| line.strip_prefix("JAVA_VERSION="));
            let line = java.or_else(|| text.lines().next())?;
            Some(line.trim_matches('"').trim_start_matches("go").to_owned())
        });
        let real = self.around.rootfs.find(folder).map(|node| absolute(&node.path)).unwrap_or_default();
        by_file.or_else(|| version_of_folder(&format!("{real}/x")))
    }

    /// The lines that start the folder's manager, else those that add the folder itself.
    fn added_by(&self, of: Option<(&Manager, &str)>, folder: &str) -> Vec<ShellLine> {
        let real = |folder: &str| self.around.rootfs.find(folder).map(|node| node.path).ok();
        let is_own = |(name, _): &&(&str, ShellLine)| of.is_some_and(|(manager, _)| manager.name == **name);
        let mut lines: Vec<ShellLine> = self.files.hooks.iter().filter(is_own).map(|(_, line)| line.clone()).collect();
        if lines.is_empty() {
            for file in &self.files.files {
                for addition in file.adds.iter().filter(|addition| real(&addition.folder) == real(folder)) {
                    lines.push(ShellLine {
                        file: addition.file.clone().unwrap_or_else(|| file.path.clone()),
                        line: addition.line,
                        text: addition.text.clone(),
                        why: String::new(),
                    });
                }
            }
        }
        let mut seen = BTreeSet::new();
        lines.retain(|line| seen.insert((line.file.clone(), line.line)));
        lines
    }
}

/// Whether some type of step needs a command of this name.
fn is_known_tool(name: &str) -> bool {
    steps().is_ok_and(|table| !table.needing(name, |_| false).is_empty())
}

/// The folders that a path with `*` in its parts stands for; what begins with a dot is not meant.
fn expanded(rootfs: &Rootfs, pattern: &str) -> Vec<String> {
    let mut found = vec![String::new()];
    for part in pattern.split('/').filter(|part| !part.is_empty()) {
        let mut next = Vec::new();
        for folder in &found {
            match part.split_once('*') {
                None => next.push(format!("{folder}/{part}")),
                Some((start, end)) => {
                    let names = rootfs.names(if folder.is_empty() { "/" } else { folder });
                    let fits = |name: &&String| {
                        name.len() >= start.len() + end.len()
                            && name.starts_with(start)
                            && name.ends_with(end)
                            && !name.starts_with('.')
                    };
                    next.extend(names.iter().filter(fits).take(MOST_FOLDERS).map(|name| format!("{folder}/{name}")));
                }
            }
        }
        next.truncate(MOST_FOLDERS);
        found = next;
    }
    let is_folder = |path: &String| rootfs.find(path).is_ok_and(|node| node.kind == crate::layer::Kind::Directory);
    found.into_iter().filter(is_folder).collect()
}
