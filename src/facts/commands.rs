//! Looks commands up on `PATH` as the kernel would start them: the first executable hit, its architecture, its
//! interpreter, and the libraries that it needs.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::programs::{Surroundings, failure_outcome, failure_statement};
use super::search_path::searched;
use super::versions::Versions;
use super::{Command, CommandState, Program, SearchPath};
use crate::layer::path::{absolute, join, parent_and_name};
use crate::layer::{ElfSummary, Kind};
use crate::linker::{Linker, NoLinker, Process};
use crate::printable::excerpt;
use crate::rootfs::{Access, Missing, Node};
use crate::tables::steps::steps;
use crate::verdict::{Outcome, Place};

/// Shells and package managers that are looked for beside the commands that steps need.
const LOOKED_FOR: &[&str] =
    &["apk", "apt-get", "ash", "dash", "dnf", "java", "microdnf", "sh", "tdnf", "yum", "zsh", "zypper"];
/// How many interpreters of interpreters are followed (Linux, `binfmt_script`: 5).
const MOST_INTERPRETERS: usize = 5;
/// The most folders of `PATH` that are searched.
const MOST_FOLDERS: usize = 300;
/// The most commands of `PATH` that are looked into: several times what the largest real images have.
const MOST_COMMANDS: usize = 20_000;

/// Looks up commands of one image.
pub struct CommandSearch<'a> {
    around: &'a Surroundings<'a>,
    path: &'a SearchPath,
    folders: Vec<Folder<'a>>,
    versions: Versions<'a>,
    environment: BTreeMap<String, String>,
    /// What became of files that were asked before, by their real paths.
    known: RefCell<HashMap<String, Option<CannotStart>>>,
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

/// Why a program cannot be started.
#[derive(Clone, Debug)]
struct CannotStart {
    /// Whether it could only not be told.
    is_open: bool,
    /// A sentence about it.
    why: String,
}

impl CannotStart {
    fn because(why: String) -> Self {
        Self { is_open: false, why }
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
        Self { around, path, folders, versions, environment, known: RefCell::default() }
    }

    /// Every command on `PATH`, and those that are looked for and missing. Of commands that nobody asked for only the
    /// state and the place are told.
    #[must_use]
    pub fn all(&self) -> BTreeMap<String, Command> {
        let mut asked: BTreeSet<&str> = LOOKED_FOR.iter().copied().collect();
        if let Ok(steps) = steps() {
            asked.extend(steps.commands());
        }
        let names: BTreeSet<&String> = self.folders.iter().flat_map(|folder| &folder.names).collect();
        let others = names.into_iter().filter(|name| !asked.contains(name.as_str())).take(MOST_COMMANDS);
        let mut commands: BTreeMap<String, Command> = BTreeMap::new();
        for name in others {
            let command = self.look_up(name);
            // Folders and data files on PATH are no commands that somebody meant to have.
            if !command.is_no_program {
                commands.insert(name.clone(), command.brief());
            }
        }
        for name in asked {
            let mut command = self.look_up(name);
            command.hides = self.hidden(name, &command);
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

    /// Looks one command up: execvp(3) takes the first folder of `PATH` that has an executable file of that name.
    #[must_use]
    pub fn look_up(&self, name: &str) -> Command {
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
            match rootfs.find(&full) {
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
                Ok(node) => return self.hit(&asked, &node),
            }
        }
        let (places, reasons): (Vec<Place>, Vec<String>) = passed_over.into_iter().unzip();
        let (state, place, why) = match places.into_iter().next() {
            Some(place) => (CommandState::Unusable, place, reasons.join("; ")),
            None if self.path.folders.is_empty() => {
                (CommandState::Missing, self.path.place.clone(), "PATH is empty".to_owned())
            }
            None if self.folders.len() >= MOST_FOLDERS => {
                let why = format!("PATH has more than {MOST_FOLDERS} folders, of which only the first were searched");
                (CommandState::Unknown, self.path.place.clone(), why)
            }
            None => {
                let folders = excerpt(&self.path.folders.join(":"), 400);
                (CommandState::Missing, self.path.place.clone(), format!("it is in no folder of PATH ({folders})"))
            }
        };
        Command { state, place, why: Some(why), is_no_program, ..Command::default() }
    }

    /// A program that has to be at exactly this path.
    #[must_use]
    pub fn at(&self, path: &str) -> Command {
        let rootfs = self.around.rootfs;
        match rootfs.find(path) {
            Err(missing) => Command { place: Place::path(path), why: Some(missing.why()), ..Command::default() },
            Ok(node) if node.kind != Kind::File || !rootfs.may(self.around.user, Access::Execute, &node) => Command {
                state: CommandState::Unusable,
                place: rootfs.place(path, &node),
                why: Some(format!("{path} is not executable (mode {:04o})", node.mode)),
                ..Command::default()
            },
            Ok(node) => self.hit(path.trim_start_matches('/'), &node),
        }
    }

    fn hit(&self, path: &str, node: &Node<'_>) -> Command {
        let place: Place = self.around.rootfs.place(path, node);
        let target = (node.path != path).then(|| absolute(&node.path));
        let stopped = self.cannot_start(node, MOST_INTERPRETERS);
        let state = match &stopped {
            None => CommandState::Usable,
            Some(stopped) if stopped.is_open => CommandState::Unknown,
            Some(_) => CommandState::Unusable,
        };
        let why = stopped.map(|stopped| stopped.why);
        Command { state, place, target, why, program: program(node), ..Command::default() }
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

    /// Why a file cannot be started, as a sentence about it; nothing if it can.
    fn cannot_start(&self, node: &Node<'_>, interpreters: usize) -> Option<CannotStart> {
        if let Some(known) = self.known.borrow().get(&node.path) {
            return known.clone();
        }
        let found = self.find_out(node, interpreters);
        self.known.borrow_mut().insert(node.path.clone(), found.clone());
        found
    }

    fn find_out(&self, node: &Node<'_>, interpreters: usize) -> Option<CannotStart> {
        let path = absolute(&node.path);
        let detail = node.detail();
        if detail.is_some_and(|detail| detail.left_out) {
            let why = format!("{path} was not looked into: its layer has too many files of its kind");
            return Some(CannotStart { is_open: true, why });
        }
        if node.kind != Kind::File {
            return Some(CannotStart::because(format!("{path} is no regular file")));
        }
        if let Some(line) = detail.and_then(|detail| detail.interpreter_line.as_deref()) {
            return self.script(&path, line, interpreters);
        }
        let Some(elf) = detail.and_then(|detail| detail.elf.as_ref()) else {
            return Some(CannotStart::because(format!("{path} is neither a program nor a script with #!")));
        };
        self.program(&path, node, elf)
    }

    fn script(&self, path: &str, line: &str, interpreters: usize) -> Option<CannotStart> {
        let because = |why: String| Some(CannotStart::because(why));
        let (interpreter, argument) = line.split_once([' ', '\t']).unwrap_or((line, ""));
        if interpreter.ends_with('\r') {
            let name = interpreter.trim_end();
            return because(format!("{path} has lines that end with CR LF, so its interpreter is {name} with a CR"));
        }
        if !interpreter.starts_with('/') {
            return because(format!("{path} names no absolute interpreter (#!{line})"));
        }
        if interpreters == 0 {
            return because(format!("{path} is a script of a script of a script …"));
        }
        let program = match self.around.rootfs.find(interpreter) {
            Err(_) => return because(format!("{path} is a script of {interpreter}, which is not in the image")),
            Ok(program) if !self.around.rootfs.may(self.around.user, Access::Execute, &program) => {
                return because(format!("{path} is a script of {interpreter}, which is not executable"));
            }
            Ok(program) => program,
        };
        if let Some(stopped) = self.cannot_start(&program, interpreters - 1) {
            return Some(stopped);
        }
        // env(1) looks the real interpreter up on PATH.
        if parent_and_name(interpreter).1 != "env" {
            return None;
        }
        let is_name = |word: &&str| !word.starts_with('-') && !word.contains('=');
        let name = argument.split_whitespace().find(is_name)?;
        let command = if name.starts_with('/') { self.at(name) } else { self.look_up(name) };
        let why = command.why.unwrap_or_default();
        match command.state {
            CommandState::Usable => None,
            CommandState::Missing => because(format!("{path} is a script of {name}, which is missing: {why}")),
            CommandState::Unusable => because(format!("{path} is a script of {name}, which cannot be run: {why}")),
            CommandState::Unknown => Some(CannotStart { is_open: true, why }),
        }
    }

    fn program(&self, path: &str, node: &Node<'_>, elf: &ElfSummary) -> Option<CannotStart> {
        let because = |why: String| Some(CannotStart::because(why));
        let architecture = self.around.architecture;
        if !runs_on(elf.architecture(), architecture) {
            let other = elf.architecture().unwrap_or("another architecture");
            return because(format!("{path} is a program for {other}, not for {architecture}"));
        }
        elf.interpreter.as_deref()?;
        let rootfs = self.around.rootfs;
        match Linker::of(elf, rootfs, &self.environment, self.around.user) {
            Err(NoLinker::Missing(why, _)) => because(format!("{path} does not start: {why}")),
            Err(NoLinker::Strange(why, _)) => Some(CannotStart { is_open: true, why }),
            Ok((linker, loader)) => {
                let (_, failures) = Process::start(&linker, loader, elf, path, rootfs.place(&node.path, node));
                // A failure that is certain outweighs one that could not be told.
                let is_open = |failure| failure_outcome(failure) != Outcome::Fail;
                let worst = failures.iter().min_by_key(|failure| is_open(failure))?;
                Some(CannotStart { is_open: is_open(worst), why: failure_statement(worst, rootfs) })
            }
        }
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
        }),
        None => detail.interpreter_line.clone().map(|line| Program { interpreter: Some(line), ..Program::default() }),
    }
}

/// Whether a processor of the platform starts such programs; amd64 starts 386 as well.
fn runs_on(program: Option<&str>, platform: &str) -> bool {
    program == Some(platform) || (program == Some("386") && platform == "amd64")
}
