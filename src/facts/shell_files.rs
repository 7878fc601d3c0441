//! Collects what the files that shells read at their start add to `PATH`. No step reads them: what only they add is
//! not there.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::SearchPath;
use super::programs::Surroundings;
use super::search_path::searched;
use crate::layer::Kind;
use crate::layer::path::absolute;
use crate::rootfs::Rootfs;
use crate::shell::{self, Dialect, Hook, Line, Mode, Reading, StartFile, World};
use crate::tables::tools::{Manager, tools};
use crate::verdict::Place;

/// A file that some shell reads at its start.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ShellFile {
    /// Its path.
    pub path: String,
    /// Who reads it.
    pub read_by: String,
    /// What it adds to `PATH`, itself and by what it sources.
    pub adds: Vec<PathAddition>,
    /// Folders of the container's `PATH` that are not on it afterwards.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub removes: Vec<String>,
    /// What could not be told.
    pub unknown: Vec<ShellLine>,
    /// The file.
    pub place: Place,
}

/// A folder that a line adds to `PATH`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PathAddition {
    /// The folder.
    pub folder: String,
    /// The file with the line, when it is one that is sourced.
    pub file: Option<String>,
    /// The line's number, from 1.
    pub line: usize,
    /// The line.
    pub text: String,
    /// Whether the folder is on the container's `PATH`, too.
    pub is_on_path: bool,
    /// Whether the folder has commands.
    pub has_commands: bool,
}

/// A line of a shell file, and what there is to say about it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ShellLine {
    /// The file.
    pub file: String,
    /// The line's number, from 1; 0 for the whole file.
    pub line: usize,
    /// The line.
    pub text: String,
    /// Why it could not be told what it does.
    pub why: String,
}

impl ShellLine {
    /// Where it is, for people: file and line.
    #[must_use]
    pub fn position(&self) -> String {
        if self.line == 0 { self.file.clone() } else { format!("{}, line {},", self.file, self.line) }
    }
}

/// What the shell files say, and the lines that hook into managers of tools.
#[derive(Clone, Debug, Default)]
pub struct ShellFiles {
    /// The files that are there.
    pub files: Vec<ShellFile>,
    /// Lines that put a manager's folders on `PATH`, with its name.
    pub hooks: Vec<(&'static str, ShellLine)>,
}

/// What runs in start-up files of distributions and changes no `PATH`.
const HARMLESS: &[&str] = &[
    "dircolors",
    "lesspipe",
    "bash_completion",
    "bash-completion",
    "command-not-found",
    "command_not_found",
    "ssh-agent",
    "git-prompt",
    "git-sh-prompt",
    "vte",
    "debuginfod",
    "locale",
    "lessopen",
    "colorls",
    "resize",
    "tput",
];

/// The folders that distributions' own files put on everybody's `PATH`.
const USUAL: &[&str] = &[
    "/usr/local/sbin",
    "/usr/local/bin",
    "/usr/sbin",
    "/usr/bin",
    "/sbin",
    "/bin",
    "/usr/local/games",
    "/usr/games",
    "/snap/bin",
];

/// Whether a folder is one that distributions put on everybody's `PATH`, which says nothing about an image.
#[must_use]
pub fn is_usual(folder: &str) -> bool {
    USUAL.contains(&folder.trim_end_matches('/'))
}

/// Reads the start-up files that are in the image.
#[must_use]
pub fn shell_files(around: &Surroundings<'_>, path: &SearchPath, user: Option<&str>) -> ShellFiles {
    let rootfs = around.rootfs;
    let start_files = start_files(around);
    let mut environment: std::collections::BTreeMap<String, String> =
        around.settings.env.iter().map(|(name, set)| (name.clone(), set.value.clone())).collect();
    environment.insert("PATH".to_owned(), path.folders.join(":"));
    let mut found = ShellFiles::default();
    if start_files.is_empty() {
        return found;
    }
    // Files of another user's home are read for that user.
    for home in homes(around) {
        let own: Vec<&(StartFile, &str, Option<String>)> =
            start_files.iter().filter(|(_, _, of)| of.as_ref().is_none_or(|of| *of == home)).collect();
        let files: Vec<StartFile> = own.iter().map(|(file, _, _)| file.clone()).collect();
        let is_root = home == "/root" && around.user.uid != 0;
        let account = if is_root { crate::rootfs::Account::ROOT } else { around.user };
        let name = if account.uid == 0 { Some("root") } else { user };
        let world =
            World { mode: Mode::Interactive, rootfs, user: name, account, home: &home, environment: &environment };
        for (reading, (file, read_by, _)) in shell::read(world, &files).into_iter().zip(own) {
            if found.files.iter().any(|known| known.path == file.path) {
                continue;
            }
            found.add(rootfs, path, file, read_by, reading);
        }
    }
    found
}

impl ShellFiles {
    pub(super) fn add(
        &mut self,
        rootfs: &Rootfs,
        path: &SearchPath,
        file: &StartFile,
        read_by: &str,
        reading: Reading,
    ) {
        let place =
            rootfs.find(&file.path).map_or_else(|_| Place::path(&file.path), |node| rootfs.place(&file.path, &node));
        let mut fact =
            ShellFile { path: file.path.clone(), read_by: read_by.to_owned(), place, ..ShellFile::default() };
        fact.removes = reading.removes;
        for addition in reading.additions {
            let Line { file: of, number, text } = addition.line;
            fact.adds.push(PathAddition {
                is_on_path: is_on_path(rootfs, path, &addition.folder),
                has_commands: !commands_in(rootfs, &addition.folder).is_empty(),
                folder: addition.folder,
                file: (of != file.path).then_some(of),
                line: number,
                text,
            });
        }
        for note in reading.unknown {
            fact.unknown.push(told(note.line, note.why));
        }
        for hook in reading.hooks {
            self.hook(rootfs, &mut fact, hook);
        }
        self.files.push(fact);
    }

    fn hook(&mut self, rootfs: &Rootfs, fact: &mut ShellFile, hook: Hook) {
        let target = hook.sources.clone().unwrap_or_default();
        let is_meant = |manager: &&Manager| {
            manager.marks.iter().any(|mark| hook.line.text.contains(mark) || target.contains(mark.as_str()))
        };
        if let Some(manager) = tools().ok().and_then(|table| table.manager.iter().find(is_meant)) {
            self.hooks.push((&manager.name, told(hook.line, String::new())));
            return;
        }
        let is_read = hook.sources.as_ref().is_some_and(|path| {
            rootfs
                .find(path)
                .is_ok_and(|node| node.size == 0 || node.detail().is_some_and(|detail| detail.content.is_some()))
        });
        let mut words = hook.line.text.split(|c: char| !c.is_alphanumeric() && !"_-".contains(c));
        if is_read || words.any(|word| HARMLESS.contains(&word)) {
            return;
        }
        let why = match hook.sources {
            Some(path) => format!("what {path} does to PATH was not looked into"),
            None => "what this line does to PATH depends on what a command prints".to_owned(),
        };
        fact.unknown.push(told(hook.line, why));
    }
}

fn told(line: Line, why: String) -> ShellLine {
    ShellLine { file: line.file, line: line.number, text: line.text, why }
}

/// The home folders whose files count: the user's own, and root's where that may be entered.
#[must_use]
pub fn homes(around: &Surroundings<'_>) -> Vec<String> {
    let mut homes = vec![around.home.clone()];
    let may_enter = |home: &str| {
        let rootfs = around.rootfs;
        rootfs.find(home).is_ok_and(|node| rootfs.may(around.user, crate::rootfs::Access::Execute, &node))
    };
    if !homes.iter().any(|home| home == "/root") && may_enter("/root") {
        homes.push("/root".to_owned());
    }
    homes.retain(|home| home != "/");
    if homes.is_empty() { vec!["/".to_owned()] } else { homes }
}

/// The start-up files that are there, who reads each, and whose home it is in.
fn start_files(around: &Surroundings<'_>) -> Vec<(StartFile, &'static str, Option<String>)> {
    let rootfs = around.rootfs;
    let mut files: Vec<(StartFile, &'static str, Option<String>)> = Vec::new();
    let mut seen: BTreeSet<String> = BTreeSet::new();
    let mut add = |path: String, dialect: Dialect, read_by: &'static str, home: Option<&String>| {
        let is_file = rootfs.find(&path).is_ok_and(|node| node.kind == Kind::File);
        if is_file && seen.insert(path.clone()) {
            files.push((StartFile { path, dialect }, read_by, home.cloned()));
        }
    };
    let (login, interactive) = ("login shells", "interactive bash");
    add("/etc/environment".into(), Dialect::Environment, "PAM sessions", None);
    add("/etc/profile".into(), Dialect::Posix, login, None);
    for path in ["/etc/bash.bashrc", "/etc/bashrc", "/etc/bash/bashrc"] {
        add(path.into(), Dialect::Posix, interactive, None);
    }
    for name in ["zshenv", "zprofile", "zshrc", "zlogin"] {
        add(format!("/etc/{name}"), Dialect::Zsh, "zsh", None);
        add(format!("/etc/zsh/{name}"), Dialect::Zsh, "zsh", None);
    }
    let fish = |folder: &str| {
        let names = rootfs.names(folder).into_iter().filter(|name| name.ends_with(".fish"));
        names.map(|name| format!("{folder}/{name}")).collect::<Vec<String>>()
    };
    add("/etc/fish/config.fish".into(), Dialect::Fish, "fish", None);
    for path in fish("/etc/fish/conf.d") {
        add(path, Dialect::Fish, "fish", None);
    }
    for home in homes(around) {
        for name in [".bash_profile", ".bash_login", ".profile"] {
            add(format!("{home}/{name}"), Dialect::Posix, login, Some(&home));
        }
        add(format!("{home}/.bashrc"), Dialect::Posix, interactive, Some(&home));
        for name in [".zshenv", ".zprofile", ".zshrc", ".zlogin"] {
            add(format!("{home}/{name}"), Dialect::Zsh, "zsh", Some(&home));
        }
        let folder = format!("{home}/.config/fish");
        add(format!("{folder}/config.fish"), Dialect::Fish, "fish", Some(&home));
        for path in fish(&format!("{folder}/conf.d")) {
            add(path, Dialect::Fish, "fish", Some(&home));
        }
    }
    files
}

/// Whether a folder is one of those on `PATH`, links followed.
#[must_use]
pub fn is_on_path(rootfs: &Rootfs, path: &SearchPath, folder: &str) -> bool {
    let own = rootfs.find(folder).map(|node| absolute(&node.path)).ok();
    let is_same = |real: &str| own.as_deref() == Some(real);
    searched(path).any(|(_, real)| is_same(real)) || path.folders.iter().any(|known| known == folder)
}

/// The executable files in a folder.
#[must_use]
pub fn commands_in(rootfs: &Rootfs, folder: &str) -> Vec<String> {
    if !folder.starts_with('/') {
        return Vec::new();
    }
    let is_command = |name: &String| {
        let node = rootfs.find(&format!("{folder}/{name}"));
        node.is_ok_and(|node| node.kind == Kind::File && node.mode & 0o111 != 0)
    };
    rootfs.names(folder).into_iter().filter(is_command).collect()
}
