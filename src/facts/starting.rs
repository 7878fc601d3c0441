//! Follows what the kernel starts for a file: its interpreter, that one's interpreter, and what env and shells make of it.

use super::CommandState;
use super::commands::{Caller, CommandSearch, Stop, StopKind};
use super::programs::Surroundings;
use super::scripts::env::{self, Call, Whose};
use super::scripts::shells::{Shell, Taken};
use crate::layer::elf::architecture;
use crate::layer::path::{absolute, parent_and_name};
use crate::layer::{ElfSummary, Kind, NotStarted};
use crate::rootfs::{Access, Node};
use crate::verdict::Outcome;

/// How many scripts may be interpreters of one another (Linux, fs/exec.c, `exec_binprm`: the program itself is the sixth).
const MOST_SCRIPTS: usize = 5;
/// How many programs that env starts for one another are followed.
const MOST_FOLLOWED: usize = 30;
/// Programs that go by the name of bash and are none.
const OTHER_SHELLS: [&str; 12] =
    ["ash", "busybox", "dash", "fish", "ksh", "ksh93", "loksh", "mksh", "oksh", "toybox", "yash", "zsh"];

/// What the kernel starts for a file.
pub(super) struct Started<'a> {
    /// The ELF file.
    pub(super) program: Node<'a>,
    /// The script that it is started with; `None` if it is the file itself.
    script: Option<Script<'a>>,
}

/// A script whose interpreter is an ELF file.
struct Script<'a> {
    path: String,
    node: Node<'a>,
    interpreter: String,
    argument: Option<String>,
}

/// Follows the interpreters of a file that may be executed (Linux, fs/binfmt_script.c).
///
/// # Errors
/// Why nothing is started.
pub(super) fn started<'a>(around: &'a Surroundings<'_>, asked: &str, node: &Node<'a>) -> Result<Started<'a>, Stop> {
    let mut node = node.clone();
    let mut path = absolute(asked);
    let mut script = None;
    for scripts in 0.. {
        let shown = absolute(&node.path);
        let detail = node.detail();
        if detail.is_some_and(|detail| detail.left_out) {
            return Err(Stop::open(format!("{shown} was not looked into: its layer has too many files of its kind")));
        }
        if node.kind != Kind::File {
            return Err(Stop::passed(format!("{shown} is no regular file")));
        }
        if detail.is_some_and(|detail| detail.elf.is_some()) {
            return Ok(Started { program: node, script });
        }
        match detail.and_then(|detail| detail.not_started.as_ref()) {
            Some(NotStarted::Perhaps(why)) => return Err(Stop::open(format!("{shown} {why}"))),
            Some(NotStarted::Certain(why)) => return Err(Stop::fails(format!("{shown} {why}"))),
            Some(NotStarted::Library) | None => {}
        }
        let line = detail.and_then(|detail| detail.interpreter_line.as_deref()).filter(|line| !line.is_empty());
        let Some(line) = line else {
            let is_text = if node.size == 0 { Some(true) } else { detail.and_then(|detail| detail.is_text) };
            let why = format!("{shown} is neither a program nor a script with #!");
            // What a shell takes for its own script is the file that was asked for.
            let is_text = if scripts == 0 { is_text } else { Some(true) };
            return Err(Stop { kind: StopKind::NoFormat(is_text), why });
        };
        if scripts == MOST_SCRIPTS {
            let why = format!("{shown} is the sixth script of a script, and the kernel follows {MOST_SCRIPTS}");
            return Err(Stop::fails(why));
        }
        let (interpreter, argument) = line.split_once(' ').map_or((line, None), |(name, rest)| (name, Some(rest)));
        let next = interpreter_of(around, &shown, interpreter)?;
        let (interpreter, argument) = (interpreter.to_owned(), argument.map(str::to_owned));
        script = Some(Script { path, node, interpreter: interpreter.clone(), argument });
        (node, path) = (next, interpreter);
    }
    Err(Stop::open(format!("{path} was not followed")))
}

/// The ELF file that the kernel starts for a file, and its path: the file itself, or the interpreter of a script. What its
/// libraries do is not looked at.
///
/// # Errors
/// It is not started, or what it starts is not: fail or unknown, and why.
pub(super) fn program_at<'a>(
    around: &'a Surroundings<'_>,
    asked: &str,
    node: &Node<'a>,
) -> Result<(String, Node<'a>), (Outcome, String)> {
    let outcome = |stopped: Stop| {
        let is_open = stopped.kind == StopKind::Open;
        (if is_open { Outcome::Unknown } else { Outcome::Fail }, stopped.why)
    };
    let started = started(around, asked, node).map_err(outcome)?;
    let path = started.script.as_ref().map_or_else(|| absolute(asked), |script| script.interpreter.clone());
    let elf = started.program.detail().and_then(|detail| detail.elf.as_ref());
    let refused = elf.and_then(|elf| refused(around, &path, &started.program, elf));
    if let Some(stopped) = refused {
        return Err(outcome(stopped));
    }
    if let Some(script) = &started.script {
        let mut own = super::configuration::search_path(around.settings);
        super::search_path::look_at_entries(&mut own, around.rootfs, around.user);
        let search = CommandSearch::new(around, &own);
        // What the interpreter itself lacks is reported of it as a program.
        let is_started = search.program_of(&started.program).is_none();
        if let Some(stopped) = is_started.then(|| search.stop_of_script(script, &started.program)).flatten() {
            return Err(outcome(stopped));
        }
    }
    Ok((path, started.program))
}

/// The file that a script names after `#!`.
fn interpreter_of<'a>(around: &'a Surroundings<'_>, script: &str, name: &str) -> Result<Node<'a>, Stop> {
    if !name.starts_with('/') {
        let why = format!("{script} names an interpreter that depends on the folder it is started in (#!{name})");
        return Err(Stop::open(why));
    }
    let Ok(node) = around.rootfs.find(name) else {
        let why = match name.strip_suffix('\r') {
            Some(name) => format!("{script} has lines that end with CR LF, so its interpreter is {name} with a CR"),
            None => format!("{script} is a script of {name}, which is not in the image"),
        };
        return Err(Stop::passed(why));
    };
    if name.ends_with('/') && node.kind != Kind::Directory {
        return Err(Stop::passed(format!("{script} is a script of {name}, which is not a folder")));
    }
    if node.kind != Kind::File || !around.rootfs.may(around.user, Access::Execute, &node) {
        return Err(Stop::passed(format!("{script} is a script of {name}, which is not executable")));
    }
    Ok(node)
}

/// Why the kernel does not start an ELF file.
pub(super) fn refused(around: &Surroundings<'_>, path: &str, node: &Node<'_>, elf: &ElfSummary) -> Option<Stop> {
    if !elf.is_little_endian && architecture(elf.machine.swap_bytes(), elf.is_64, true) == Some(around.architecture) {
        return Some(Stop::open(format!(
            "{path} is marked as a file of another byte order, which the kernel may not mind"
        )));
    }
    if !runs_on(elf.architecture(), around.architecture) {
        let other = elf.architecture().unwrap_or("another architecture");
        return Some(Stop::fails(format!("{path} is a program for {other}, not for {}", around.architecture)));
    }
    let is_loader = elf.libc_mark.is_some() && elf.needed.is_empty();
    match node.detail()?.not_started.as_ref() {
        Some(NotStarted::Certain(why)) => Some(Stop::fails(format!("{path} {why}"))),
        Some(NotStarted::Perhaps(why)) => Some(Stop::open(format!("{path} {why}"))),
        Some(NotStarted::Library) if is_loader => None,
        Some(NotStarted::Library) => {
            Some(Stop::open(format!("{path} is built as a library, and whether it can be started is not known")))
        }
        None if elf.interpreter.is_none() && !elf.needed.is_empty() => {
            Some(Stop::fails(format!("{path} needs {}, but names no loader that would load it", elf.needed.join(", "))))
        }
        None => None,
    }
}

/// Whether a processor of the platform starts such programs; amd64 starts 386 as well.
fn runs_on(program: Option<&str>, platform: &str) -> bool {
    program == Some(platform) || (program == Some("386") && platform == "amd64")
}

impl CommandSearch<'_> {
    /// Why a file is not started, as a sentence about it; `None` if it is.
    pub(super) fn stop(&self, asked: &str, node: &Node<'_>, caller: Caller) -> Option<Stop> {
        let stopped = match started(self.around, asked, node) {
            Ok(started) => self.stop_of_started(asked, started),
            Err(stopped) => Some(stopped),
        };
        let is_text = match stopped.as_ref().map(|stopped| stopped.kind) {
            Some(StopKind::NoFormat(is_text)) if caller != Caller::Execve => is_text,
            _ => return stopped,
        };
        let path = absolute(&node.path);
        match is_text {
            Some(false) => stopped,
            None => Some(Stop::open(format!(
                "{path} is neither a program nor a script with #!, and whether a shell takes it for a script is not known"
            ))),
            Some(true) if !self.around.rootfs.may(self.around.user, Access::Read, node) => {
                Some(Stop::fails(self.not_readable(&path, node)))
            }
            Some(true) if caller == Caller::Execvp => {
                let shell = self.at("/bin/sh", Caller::Execve);
                (shell.state != CommandState::Usable)
                    .then(|| Stop::fails(format!("{path} has no #!, and /bin/sh cannot be run")))
            }
            Some(true) => None,
        }
    }

    fn not_readable(&self, path: &str, node: &Node<'_>) -> String {
        format!("uid {} may not read the script {path} (mode {:04o})", self.around.user.uid, node.mode)
    }

    fn stop_of_started(&self, asked: &str, started: Started<'_>) -> Option<Stop> {
        let Started { program, script } = started;
        if let Some(stopped) = self.program_of(&program) {
            return Some(stopped);
        }
        if let Some(script) = script {
            return self.stop_of_script(&script, &program);
        }
        let (_, name) = parent_and_name(asked);
        (name == "bash").then(|| not_bash(asked, &program)).flatten()
    }

    fn program_of(&self, node: &Node<'_>) -> Option<Stop> {
        if let Some(known) = self.known.borrow().get(&node.path) {
            return known.clone();
        }
        let elf = node.detail().and_then(|detail| detail.elf.as_ref())?;
        let found = self.program(&absolute(&node.path), node, elf);
        self.known.borrow_mut().insert(node.path.clone(), found.clone());
        found
    }

    /// What the interpreter of a script does.
    fn stop_of_script(&self, script: &Script<'_>, program: &Node<'_>) -> Option<Stop> {
        let path = &absolute(&script.node.path);
        if !self.around.rootfs.may(self.around.user, Access::Read, &script.node) {
            return Some(Stop::fails(self.not_readable(path, &script.node)));
        }
        let (_, name) = parent_and_name(&script.interpreter);
        let (_, real) = parent_and_name(&program.path);
        let is_busybox = real.starts_with("busybox");
        if name == "env" || real == "env" {
            let whose = if is_busybox { Whose::Busybox } else { Whose::Gnu };
            return self.stop_of_env(path, script, whose);
        }
        let is_bash = program.detail().is_some_and(|detail| detail.bash.is_some());
        if is_loader(program) && script.argument.is_none() {
            return Some(Stop::fails(format!(
                "{path} is a script of {name}, a loader of programs, which loads no script"
            )));
        }
        let shell = match real {
            _ if is_bash => Shell::Bash,
            "dash" => Shell::Dash,
            _ if is_busybox && matches!(name, "sh" | "ash") => Shell::Dash,
            // What other interpreters make of an argument is their own affair, but for a CR that none wants.
            _ => {
                let argument = script.argument.as_deref().filter(|argument| argument.ends_with('\r'))?;
                let why = format!("what {name} makes of the argument {argument:?} in {path} is not known");
                return Some(Stop::open(why));
            }
        };
        if shell == Shell::Bash && script.node.detail().is_some_and(|detail| detail.is_text == Some(false)) {
            return Some(Stop::fails(format!(
                "{path} has a NUL in its first line, so that bash takes it for no script"
            )));
        }
        match shell.takes(script.argument.as_deref()?) {
            Taken::Runs => None,
            Taken::Refused(why) => Some(Stop::fails(format!("{path} is a script of {name}, but {why}"))),
            Taken::Unknown(why) => Some(Stop::open(format!("{path} is a script of {name}, and {why}"))),
        }
    }

    fn stop_of_env(&self, path: &str, script: &Script<'_>, whose: Whose) -> Option<Stop> {
        if self.following.borrow().iter().any(|known| known == path) {
            return Some(Stop::fails(format!("{path} starts itself again by env, for ever")));
        }
        if self.following.borrow().len() >= MOST_FOLLOWED {
            return Some(Stop::open(format!("{path} starts a script of a script of a script …")));
        }
        self.following.borrow_mut().push(path.to_owned());
        let stopped = self.stop_of_call(path, script, whose);
        self.following.borrow_mut().pop();
        stopped
    }

    fn stop_of_call(&self, path: &str, script: &Script<'_>, whose: Whose) -> Option<Stop> {
        let call = env::follow(whose, script.argument.as_deref(), &script.path, &self.environment);
        let (program, arguments, changed, folder) = match call {
            Call::Starts { program, arguments, path, folder } => (program, arguments, path, folder),
            Call::Loops => return Some(Stop::fails(format!("{path} names only env, which starts it again for ever"))),
            Call::StartsNothing(why) => return Some(Stop::open(format!("{path} is a script of env, which {why}"))),
            Call::Ends(why) => return Some(Stop::fails(format!("{path} is a script of env, which {why}"))),
        };
        if let Some(folder) = folder {
            let found = self.around.rootfs.find(&folder);
            let may = |node: &Node<'_>| {
                node.kind == Kind::Directory && self.around.rootfs.may(self.around.user, Access::Execute, node)
            };
            if !folder.starts_with('/') {
                return Some(Stop::open(format!(
                    "{path} has env go to {folder}, which depends on the folder it starts in"
                )));
            }
            if !found.is_ok_and(|node| may(&node)) {
                return Some(Stop::fails(format!(
                    "{path} has env go to {folder}, which is no folder that may be entered"
                )));
            }
        }
        let shown = program.escape_debug();
        let command = match changed {
            _ if program.starts_with('/') => self.at(&program, Caller::Execvp),
            _ if program.contains('/') => {
                let why = format!("{path} is a script of {shown}, which depends on the folder it is started in");
                return Some(Stop::open(why));
            }
            None => self.look_up(&program, Caller::Execvp),
            Some(changed) => {
                // Without PATH glibc searches these (confstr(3), _CS_PATH).
                let value = changed.unwrap_or_else(|| "/bin:/usr/bin".to_owned());
                let folders = value.split(':').map(str::to_owned).collect();
                let mut other = super::SearchPath { folders, ..super::SearchPath::default() };
                super::search_path::look_at_entries(&mut other, self.around.rootfs, self.around.user);
                let search = CommandSearch::new(self.around, &other);
                search.following.borrow_mut().clone_from(&self.following.borrow());
                search.look_up(&program, Caller::Execvp)
            }
        };
        let why = command.why.unwrap_or_default();
        let lines = if program.ends_with('\r') { " (its lines end with CR LF)" } else { "" };
        match command.state {
            CommandState::Usable => {
                let real = command.target.or(command.place.path).unwrap_or_default();
                self.stop_of_arguments(path, &program, &real, &arguments)
            }
            CommandState::Missing => {
                Some(Stop::fails(format!("{path} is a script of {shown}{lines}, which is missing: {why}")))
            }
            CommandState::Unusable => {
                Some(Stop::fails(format!("{path} is a script of {shown}, which cannot be run: {why}")))
            }
            CommandState::Unknown => Some(Stop::open(why)),
        }
    }

    /// What a shell that env starts makes of what stands before the script.
    fn stop_of_arguments(&self, path: &str, program: &str, real: &str, arguments: &[String]) -> Option<Stop> {
        let (_, before) = arguments.split_last()?;
        let node = self.around.rootfs.find(real).ok()?;
        let is_bash = node.detail().is_some_and(|detail| detail.bash.is_some());
        let shell = match parent_and_name(&node.path).1 {
            _ if is_bash => Shell::Bash,
            "dash" => Shell::Dash,
            _ => return None,
        };
        // Of several words one may be the value of another.
        let [argument] = before else { return None };
        match shell.takes(argument) {
            Taken::Runs => None,
            Taken::Refused(why) => Some(Stop::fails(format!("{path} is a script of {program}, but {why}"))),
            Taken::Unknown(why) => Some(Stop::open(format!("{path} is a script of {program}, and {why}"))),
        }
    }
}

/// Whether a file is the loader of a C library.
fn is_loader(node: &Node<'_>) -> bool {
    let elf = node.detail().and_then(|detail| detail.elf.as_ref());
    let is_named_so = ["ld-", "ld.so", "ld64"].iter().any(|start| parent_and_name(&node.path).1.starts_with(start));
    is_named_so && elf.is_some_and(|elf| elf.interpreter.is_none() && elf.libc_mark.is_some())
}

/// Why an ELF file that is called bash is none, as far as it says.
fn not_bash(asked: &str, program: &Node<'_>) -> Option<Stop> {
    let detail = program.detail()?;
    if detail.bash.is_some() {
        return None;
    }
    let (asked, path) = (absolute(asked), absolute(&program.path));
    let (_, name) = parent_and_name(&program.path);
    if OTHER_SHELLS.contains(&name) {
        return Some(Stop::fails(format!("{asked} is {path}, which is not bash")));
    }
    Some(Stop::open(format!("{path} does not say that it is bash, as every bash does (\"@(#)Bash version\")")))
}
