//! Looks commands up on `PATH` as the kernel would start them: the first executable hit, its architecture, its
//! interpreter, and the libraries that it needs.

use std::cell::{OnceCell, RefCell};
use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::off_path::folders_of;
use super::programs::{Level, Surroundings, privileges, starts};
use super::search_path::{depends_on_work_folder, searched};
use super::starting::{refused, started};
use super::versions::Versions;
use super::{Command, CommandState, InBash, Program, SearchPath};
use crate::layer::path::{absolute, join, parent_and_name};
use crate::layer::{ElfSummary, Kind};
use crate::linker::Loaders;
use crate::printable::excerpt;
use crate::rootfs::{Access, Missing, Node};
use crate::tables::steps::steps;
use crate::tables::tools::tools;
use crate::verdict::{Outcome, Place};

/// Shells and package managers that are looked for beside the commands that steps need.
const LOOKED_FOR: &[&str] = &[
    "apk", "apt-get", "ash", "dash", "dnf", "emerge", "java", "microdnf", "pacman", "sh", "tdnf", "yum", "zsh",
    "zypper",
];
/// The most folders of `PATH` that are searched.
const MOST_FOLDERS: usize = 300;
/// The most commands of `PATH` that are looked into: several times what the largest real images have.
const MOST_COMMANDS: usize = 20_000;

/// Looks up commands of one image.
pub struct CommandSearch<'a> {
    pub(super) around: &'a Surroundings<'a>,
    path: &'a SearchPath,
    folders: Vec<Folder<'a>>,
    versions: Versions<'a>,
    pub(super) environment: BTreeMap<String, String>,
    loaders: Loaders<'a>,
    /// What became of programs that were asked before, by their real paths.
    pub(super) known: RefCell<HashMap<String, Option<Stop>>>,
    /// The scripts that are being followed, each for the one before it.
    pub(super) following: RefCell<Vec<String>>,
    /// Folders with shims of managers that are gone, and the managers.
    dead_shims: OnceCell<Vec<(String, String)>>,
}

/// Who starts a command, which decides what becomes of a file that the kernel does not start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Caller {
    /// execve(2), as .NET's Process calls it: the first file that may be executed, or none.
    Execve,
    /// bash: the same, but it runs a text without `#!` itself.
    Bash,
    /// execvp(3) of glibc, as env(1) and xargs(1) call it: goes on behind a file whose interpreter is missing, and has /bin/sh
    /// run a text without `#!`.
    Execvp,
}

/// A folder of `PATH` that is there, each but once.
struct Folder<'a> {
    /// As written.
    written: &'a str,
    /// Without links.
    real: &'a str,
    /// What is in it, sorted.
    names: Vec<String>,
}

impl Folder<'_> {
    /// Whether it may have something of this name. Only plain names are in lists.
    fn may_have(&self, name: &str) -> bool {
        let is_plain = !name.contains('/') && !matches!(name, "" | "." | "..");
        !is_plain || self.names.binary_search_by(|known| known.as_str().cmp(name)).is_ok()
    }
}

/// Why a program is not started.
#[derive(Clone, Debug)]
pub(super) struct Stop {
    pub(super) kind: StopKind,
    /// A sentence about it.
    pub(super) why: String,
}

/// What kind of reason it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StopKind {
    /// It fails.
    Fails,
    /// It fails with ENOENT, ENOTDIR or EACCES, behind which execvp(3) goes on.
    Passed,
    /// It fails with ENOEXEC: whether the file is a text, if that is known.
    NoFormat(Option<bool>),
    /// It is not known.
    Open,
}

impl Stop {
    pub(super) fn fails(why: impl Into<String>) -> Self {
        Self { kind: StopKind::Fails, why: why.into() }
    }

    pub(super) fn passed(why: impl Into<String>) -> Self {
        Self { kind: StopKind::Passed, why: why.into() }
    }

    pub(super) fn open(why: impl Into<String>) -> Self {
        Self { kind: StopKind::Open, why: why.into() }
    }

    fn state(&self) -> CommandState {
        if self.kind == StopKind::Open { CommandState::Unknown } else { CommandState::Unusable }
    }
}

impl<'a> CommandSearch<'a> {
    /// A search along `path`.
    #[must_use]
    pub fn new(around: &'a Surroundings<'a>, path: &'a SearchPath) -> Self {
        let environment = around.settings.env.iter().map(|(name, set)| (name.clone(), set.value.clone())).collect();
        let versions = Versions::new(around.rootfs);
        let folder = |(written, real)| Folder { written, real, names: around.rootfs.names(real) };
        let folders = searched(path).take(MOST_FOLDERS).map(folder).collect();
        let loaders = Loaders::new(around.rootfs);
        let (known, following) = (RefCell::default(), RefCell::default());
        let dead_shims = OnceCell::new();
        Self { around, path, folders, versions, environment, loaders, known, following, dead_shims }
    }

    /// Every command on `PATH`, and those that are looked for and missing. Of commands that nobody asked for only the
    /// state and the place are told. `bash` searches the `PATH` that scripts of bash have, where that is another one; or
    /// says why it is not known.
    #[must_use]
    pub fn all(&self, bash: Option<&Result<CommandSearch<'_>, String>>) -> BTreeMap<String, Command> {
        let mut asked: BTreeSet<&str> = LOOKED_FOR.iter().copied().collect();
        if let Ok(steps) = steps() {
            asked.extend(steps.commands());
        }
        let more = bash.and_then(|bash| bash.as_ref().ok()).map_or(&[][..], |bash| bash.folders.as_slice());
        let names: BTreeSet<&String> = self.folders.iter().chain(more).flat_map(|folder| &folder.names).collect();
        let others = names.into_iter().filter(|name| !asked.contains(name.as_str())).take(MOST_COMMANDS);
        let mut commands: BTreeMap<String, Command> = BTreeMap::new();
        for name in others {
            let mut command = self.look_up(name, Caller::Execve);
            command.in_bash = self.in_bash(name, &command, bash);
            // Folders and data files on PATH are no commands that somebody meant to have.
            if !command.is_no_program && (command.state != CommandState::Missing || command.in_bash.is_some()) {
                commands.insert(name.clone(), command.brief());
            }
        }
        for name in asked {
            let mut command = self.look_up(name, Caller::Execve);
            command.in_bash = self.in_bash(name, &command, bash);
            command.hides = self.hidden(name, &command);
            if command.state == CommandState::Unusable {
                let is_usable = |path: &&String| self.at(path, Caller::Execve).state == CommandState::Usable;
                command.usable_behind = command.hides.iter().find(is_usable).cloned();
            }
            command.is_privileged = command.real_path().is_some_and(|path| self.is_privileged(&path));
            command.version = command.real_path().map(|path| self.versions.of(name, &path));
            commands.insert(name.to_owned(), command);
        }
        if let Ok(steps) = steps() {
            let usable: BTreeSet<String> = names_of_usable(&commands);
            for (name, command) in &mut commands {
                command.needed_by = steps.needing(name, |other| usable.contains(other));
            }
        }
        commands
    }

    /// What scripts of bash get, where that is something else.
    fn in_bash(&self, name: &str, own: &Command, bash: Option<&Result<CommandSearch<'_>, String>>) -> Option<InBash> {
        let found = match bash {
            Some(Err(why)) => {
                let why = Some(why.clone());
                return Some(InBash { state: CommandState::Unknown, why, ..InBash::default() });
            }
            Some(Ok(bash)) => bash.look_up(name, Caller::Bash),
            None if own.is_for_shells => self.look_up(name, Caller::Bash),
            None => return None,
        };
        let is_same = found.state == own.state && found.place == own.place;
        (!is_same).then_some(InBash { state: found.state, why: found.why, place: found.place })
    }

    /// Looks one command up: the first folder of `PATH` that has an executable file of that name.
    #[must_use]
    pub fn look_up(&self, name: &str, caller: Caller) -> Command {
        let rootfs = self.around.rootfs;
        let mut passed_over: Vec<(Place, String)> = Vec::new();
        let mut is_no_program = true;
        for Folder { written, real, .. } in self.folders.iter().filter(|folder| folder.may_have(name)) {
            let real = real.trim_start_matches('/');
            let (asked, full) = (join(written, name), join(real, name));
            let shown = absolute(&asked);
            let mut pass_over = |place: Place, why: String, is_data: bool| {
                passed_over.push((place, why));
                is_no_program &= is_data;
            };
            match rootfs.find(&asked) {
                Err(Missing::Absent(path)) if path == full => {}
                Err(Missing::NotAFolder(path)) if path == real => {}
                Err(missing) => {
                    pass_over(Place::path(&shown), format!("{shown} leads nowhere: {}", missing.why()), false);
                }
                Ok(node) if node.kind == Kind::Directory => {
                    pass_over(rootfs.place(&asked, &node), format!("{shown} is a folder"), true);
                }
                Ok(node) if node.mode & 0o111 == 0 => {
                    let why = format!("{shown} is not executable (mode {:04o})", node.mode);
                    let is_data = node.detail().is_none_or(|detail| detail.elf.is_none());
                    pass_over(rootfs.place(&asked, &node), why, is_data);
                }
                Ok(node) if !rootfs.may(self.around.user, Access::Execute, &node) => {
                    let why = format!("uid {} may not execute {shown} (mode {:04o})", self.around.user.uid, node.mode);
                    pass_over(rootfs.place(&asked, &node), why, false);
                }
                Ok(node) => match self.stop(&asked, &node, caller) {
                    Some(Stop { kind: StopKind::Passed, why }) if caller == Caller::Execvp => {
                        pass_over(rootfs.place(&asked, &node), why, false);
                    }
                    stopped => return self.hit(&asked, &node, stopped),
                },
            }
        }
        let (places, reasons): (Vec<Place>, Vec<String>) = passed_over.into_iter().unzip();
        let (state, place, why) = match places.into_iter().next() {
            Some(place) => (CommandState::Unusable, place, reasons.join("; ")),
            None => self.missing(),
        };
        Command { state, place, why: Some(why), is_no_program, ..Command::default() }
    }

    /// What is said of a command that is in no folder.
    fn missing(&self) -> (CommandState, Place, String) {
        let place = self.path.place.clone();
        if self.path.folders.is_empty() {
            return (CommandState::Missing, place, "PATH is empty".to_owned());
        }
        if self.folders.len() >= MOST_FOLDERS {
            let why = format!("PATH has more than {MOST_FOLDERS} folders, of which only the first were searched");
            return (CommandState::Unknown, place, why);
        }
        let folders = excerpt(&self.path.folders.join(":"), 400);
        match depends_on_work_folder(self.path) {
            None => (CommandState::Missing, place, format!("it is in no folder of PATH ({folders})")),
            Some(entry) => {
                let entry =
                    if entry.is_empty() { "an empty entry".to_owned() } else { format!("the relative entry {entry}") };
                let why =
                    format!("PATH ({folders}) has {entry}, which means a folder that depends on where the step runs");
                (CommandState::Unknown, place, why)
            }
        }
    }

    /// A program that has to be at exactly this path.
    #[must_use]
    pub fn at(&self, path: &str, caller: Caller) -> Command {
        let rootfs = self.around.rootfs;
        match rootfs.find(path) {
            Err(missing) => Command { place: Place::path(path), why: Some(missing.why()), ..Command::default() },
            Ok(node) if node.kind != Kind::File || !rootfs.may(self.around.user, Access::Execute, &node) => Command {
                state: CommandState::Unusable,
                place: rootfs.place(path, &node),
                why: Some(format!("{path} is not executable (mode {:04o})", node.mode)),
                ..Command::default()
            },
            Ok(node) => {
                let asked = path.trim_start_matches('/');
                self.hit(asked, &node, self.stop(asked, &node, caller))
            }
        }
    }

    fn hit(&self, path: &str, node: &Node<'_>, stopped: Option<Stop>) -> Command {
        let stopped = stopped.or_else(|| self.dead_shim(node));
        let place: Place = self.around.rootfs.place(path, node);
        let target = (node.path != path).then(|| absolute(&node.path));
        let state = stopped.as_ref().map_or(CommandState::Usable, Stop::state);
        let is_for_shells = stopped.as_ref().is_some_and(|stopped| matches!(stopped.kind, StopKind::NoFormat(_)));
        let why = stopped.map(|stopped| match stopped.kind {
            StopKind::NoFormat(Some(true)) => {
                format!("{}: shells run it as a script of theirs, other programs such as .NET do not", stopped.why)
            }
            _ => stopped.why,
        });
        Command { state, place, target, why, program: program(node), is_for_shells, ..Command::default() }
    }

    /// Whether the kernel starts the program of a command with more than its caller has, or refuses to.
    fn is_privileged(&self, path: &str) -> bool {
        let Ok(node) = self.around.rootfs.find(path) else { return false };
        let Ok(started) = started(self.around, path, &node) else { return false };
        privileges(self.around.user, &started.program).map_or(true, |privileges| privileges.is_secure)
    }

    /// Why a script that only starts a manager of tools does nothing: the manager is gone.
    fn dead_shim(&self, node: &Node<'_>) -> Option<Stop> {
        node.detail()?.interpreter_line.as_ref()?;
        let folders = self.dead_shims.get_or_init(|| dead_shims(self.around));
        let (_, manager) = folders.iter().find(|(folder, _)| folder == parent_and_name(&node.path).0)?;
        Some(Stop::fails(format!("{} is a shim of {manager}, which is not in the image", absolute(&node.path))))
    }

    /// Other files of that name, in later folders of `PATH`, which nobody gets to see.
    fn hidden(&self, name: &str, command: &Command) -> Vec<String> {
        let (Some(first), Some(real)) = (&command.place.path, command.real_path()) else { return Vec::new() };
        let rootfs = self.around.rootfs;
        let others = self.folders.iter().map(|folder| join(folder.written, name));
        let is_other = |path: &String| {
            absolute(path) != *first
                && rootfs.find(path).is_ok_and(|node| node.kind == Kind::File && absolute(&node.path) != real)
        };
        let mut hidden: Vec<String> = others.filter(is_other).map(|path| absolute(&path)).collect();
        hidden.dedup();
        hidden
    }

    /// Why an ELF file is not started, as a sentence about it; `None` if it is.
    pub(super) fn program(&self, path: &str, node: &Node<'_>, elf: &ElfSummary) -> Option<Stop> {
        if let Some(stopped) = refused(self.around, path, node, elf) {
            return Some(stopped);
        }
        let (outcome, why) = starts(self.around, &self.loaders, &self.environment, node, elf)?;
        let has_loader = elf.interpreter.as_deref().is_none_or(|loader| self.around.rootfs.find(loader).is_ok());
        Some(match outcome {
            Outcome::Fail if has_loader => Stop::fails(why),
            Outcome::Fail => Stop::passed(why),
            _ => Stop::open(why),
        })
    }
}

impl Command {
    /// The file that is started, links followed.
    #[must_use]
    pub fn real_path(&self) -> Option<String> {
        if self.state == CommandState::Missing {
            return None;
        }
        self.target.clone().or_else(|| self.place.path.clone())
    }

    /// Only what a list of all commands has to say.
    fn brief(self) -> Self {
        if self.state != CommandState::Usable {
            return Self { program: None, ..self };
        }
        let place = Place { instruction: None, ..self.place };
        Self { place, target: None, program: None, ..self }
    }
}

/// The folders with the shims of managers whose program no layer has, each with its manager.
fn dead_shims(around: &Surroundings<'_>) -> Vec<(String, String)> {
    let rootfs = around.rootfs;
    let mut found = Vec::new();
    for manager in tools().map(|table| table.manager.as_slice()).unwrap_or_default() {
        let Some((shims, program)) = manager.shims.as_ref().zip(manager.shim_of.as_ref()) else { continue };
        let folders = folders_of(around, manager).into_iter().filter(|folder| folder.ends_with(&format!("/{shims}")));
        let folders: Vec<String> = folders.filter_map(|folder| Some(rootfs.find(&folder).ok()?.path)).collect();
        let has_program = || {
            let is_it = |path: &String| parent_and_name(path).1 == program && rootfs.find(path).is_ok();
            rootfs.files_named(program).iter().filter(|path| is_it(path)).any(|path| {
                // A shim of the manager is not the manager.
                !folders.iter().any(|folder| folder == parent_and_name(path).0)
            })
        };
        if !folders.is_empty() && !has_program() {
            found.extend(folders.into_iter().map(|folder| (folder, manager.name.clone())));
        }
    }
    found
}

/// The names of the commands that can be run.
#[must_use]
pub fn names_of_usable(commands: &BTreeMap<String, Command>) -> BTreeSet<String> {
    let usable = commands.iter().filter(|(_, command)| command.state == CommandState::Usable);
    usable.map(|(name, _)| name.clone()).collect()
}

fn program(node: &Node<'_>) -> Option<Program> {
    let detail = node.detail()?;
    match &detail.elf {
        Some(elf) => Some(Program {
            architecture: elf.architecture().map(str::to_owned),
            interpreter: elf.interpreter.clone(),
            needed: elf.needed.clone(),
            level: Level::of(elf.isa_level, &Place::default()).map(|level| level.level),
        }),
        None => detail.interpreter_line.clone().map(|line| Program { interpreter: Some(line), ..Program::default() }),
    }
}
