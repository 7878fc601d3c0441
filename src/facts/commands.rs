//! Looks commands up on `PATH` as the kernel would start them: the first executable hit, its architecture, its interpreter.

use std::collections::BTreeMap;

use super::{Command, CommandState, Program, SearchPath};
use crate::layer::Kind;
use crate::layer::path::{absolute, join};
use crate::platform::Platform;
use crate::rootfs::{Missing, Node, Rootfs};
use crate::verdict::Place;

/// Shells, package managers, and the commands that the target's own scripts call (Calamari, `Bash/Bootstrap.sh`; the
/// Kubernetes agent's `execute-bootstrapRunner.sh`).
const LOOKED_FOR: &[&str] = &[
    "apk", "apt-get", "ash", "basename", "bash", "cat", "chmod", "cp", "dash", "dirname", "dnf", "getconf", "hostname",
    "microdnf", "mkdir", "mktemp", "openssl", "pwsh", "python3", "sh", "tdnf", "uname", "wc", "which", "whoami",
    "xargs", "yum", "zsh", "zypper",
];
/// How many interpreters of interpreters are followed (Linux, `binfmt_script`: 5).
const MOST_INTERPRETERS: usize = 5;

/// Looks all commands up that facts are wanted of.
#[must_use]
pub fn commands(rootfs: &Rootfs, path: &SearchPath, platform: &Platform) -> BTreeMap<String, Command> {
    LOOKED_FOR.iter().map(|&name| (name.to_owned(), command(rootfs, path, platform, name))).collect()
}

/// Looks one command up: execvp(3) takes the first folder of `PATH` that has an executable file of that name.
#[must_use]
pub fn command(rootfs: &Rootfs, path: &SearchPath, platform: &Platform, name: &str) -> Command {
    let mut passed_over: Vec<(Place, String)> = Vec::new();
    // Relative folders are relative to the work folder, which is not the image's.
    for folder in path.folders.iter().filter(|folder| folder.starts_with('/')) {
        let Ok(real) = rootfs.find(folder) else { continue };
        let (asked, full) = (join(folder, name), join(&real.path, name));
        match rootfs.find(&full) {
            Err(Missing::Absent(path)) if path == full => {}
            Err(Missing::NotAFolder(path)) if path == real.path => {}
            Err(missing) => {
                let path = absolute(&asked);
                passed_over.push((Place::path(&path), format!("{path} leads nowhere: {}", missing.why())));
            }
            Ok(node) if node.kind == Kind::Directory => {
                passed_over.push((rootfs.place(&asked, &node), format!("{} is a folder", absolute(&asked))));
            }
            Ok(node) if node.mode & 0o111 == 0 => {
                let why = format!("{} is not executable (mode {:04o})", absolute(&asked), node.mode);
                passed_over.push((rootfs.place(&asked, &node), why));
            }
            Ok(node) => return hit(rootfs, platform, &asked, &node),
        }
    }
    let (places, reasons): (Vec<Place>, Vec<String>) = passed_over.into_iter().unzip();
    let (state, place, why) = match places.into_iter().next() {
        Some(place) => (CommandState::Unusable, place, reasons.join("; ")),
        None if path.folders.is_empty() => (CommandState::Missing, path.place.clone(), "PATH is empty".to_owned()),
        None => {
            let why = format!("it is in no folder of PATH ({})", path.folders.join(":"));
            (CommandState::Missing, path.place.clone(), why)
        }
    };
    Command { state, place, why: Some(why), ..Command::default() }
}

fn hit(rootfs: &Rootfs, platform: &Platform, path: &str, node: &Node<'_>) -> Command {
    let place: Place = rootfs.place(path, node);
    let target = (node.path != path).then(|| absolute(&node.path));
    let why = cannot_start(rootfs, platform, node, MOST_INTERPRETERS);
    let state = if why.is_some() { CommandState::Unusable } else { CommandState::Usable };
    Command { state, place, target, why, program: program(node) }
}

fn program(node: &Node<'_>) -> Option<Program> {
    let detail = node.detail?;
    match &detail.elf {
        Some(elf) => Some(Program {
            architecture: elf.architecture().map(str::to_owned),
            interpreter: elf.interpreter.clone(),
            needed: elf.needed.clone(),
        }),
        None => detail.interpreter_line.clone().map(|line| Program { interpreter: Some(line), ..Program::default() }),
    }
}

/// Why the kernel would not start a file, as a sentence about it; nothing if it would.
fn cannot_start(rootfs: &Rootfs, platform: &Platform, node: &Node<'_>, interpreters: usize) -> Option<String> {
    let path = absolute(&node.path);
    let detail = node.detail;
    // Nobody looked into it, because its layer has too many programs; then it is most likely one of them.
    if detail.is_some_and(|detail| detail.left_out) {
        return None;
    }
    if let Some(line) = detail.and_then(|detail| detail.interpreter_line.as_deref()) {
        let interpreter = line.split_whitespace().next().unwrap_or_default();
        if !interpreter.starts_with('/') {
            return Some(format!("{path} names no absolute interpreter (#!{line})"));
        }
        if interpreters == 0 {
            return Some(format!("{path} is a script of a script of a script …"));
        }
        return match rootfs.find(interpreter) {
            Err(_) => Some(format!("{path} is a script of {interpreter}, which is not in the image")),
            Ok(program) if program.mode & 0o111 == 0 => {
                Some(format!("{path} is a script of {interpreter}, which is not executable"))
            }
            Ok(program) => cannot_start(rootfs, platform, &program, interpreters - 1),
        };
    }
    let Some(elf) = detail.and_then(|detail| detail.elf.as_ref()) else {
        return Some(format!("{path} is neither a program nor a script with #!"));
    };
    if !runs_on(elf.architecture(), &platform.architecture) {
        let other = elf.architecture().unwrap_or("another architecture");
        return Some(format!("{path} is a program for {other}, not for {}", platform.architecture));
    }
    let interpreter = elf.interpreter.as_deref()?;
    match rootfs.find(interpreter) {
        Err(missing) => Some(format!("{path} is started by {interpreter}, but {}", missing.why())),
        Ok(loader) => {
            let loader_elf = loader.detail.and_then(|detail| detail.elf.as_ref());
            let fits = loader_elf.is_some_and(|loader| loader.machine == elf.machine && loader.is_64 == elf.is_64);
            (!fits).then(|| {
                let architecture = elf.architecture().unwrap_or("its architecture");
                format!("{path} is started by {interpreter}, which is no program loader for {architecture}")
            })
        }
    }
}

/// Whether a processor of the platform starts such programs; amd64 starts 386 as well.
fn runs_on(program: Option<&str>, platform: &str) -> bool {
    program == Some(platform) || (program == Some("386") && platform == "amd64")
}
