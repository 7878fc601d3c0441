//! What the kernel and the loader make of a program's start: its privileges, and what depends on the processor.

use std::collections::BTreeMap;

use super::collect::Surroundings;
use super::loading::{outcome, statement};
use crate::layer::ElfSummary;
use crate::layer::path::absolute;
use crate::linker::{Loaders, Main, NoLinker, Process, Processor, Start, processors};
use crate::rootfs::{Account, Node};
use crate::verdict::Outcome;

/// The capabilities that a container may have at most where nothing else is asked for (moby, oci/caps/defaults.go):
/// chown, dac_override, fowner, fsetid, kill, setgid, setuid, setpcap, net_bind_service, net_raw, sys_chroot, mknod,
/// audit_write and setfcap.
const BOUNDING_SET: u64 = 0xa804_25fb;
/// The mode bits of set-user-ID and set-group-ID programs; the latter needs the group's execute bit, too.
const SET_USER: u32 = 0o4000;
const SET_GROUP: u32 = 0o2010;

/// With what a program runs.
pub struct Privileges<'a> {
    /// The user that it runs as.
    pub account: Account<'a>,
    /// Whether the loader is in secure-execution mode (ld.so(8)): the kernel gave it more than its starter has.
    pub is_secure: bool,
}

/// What the kernel gives to a program that `user` starts.
///
/// # Errors
/// It refuses the program: the reason, a sentence. File capabilities that a container may not have are refused even to
/// the superuser (Linux, security/commoncap.c, `bprm_caps_from_vfs_caps`).
pub fn privileges<'a>(user: Account<'a>, node: &Node<'_>) -> Result<Privileges<'a>, String> {
    let capabilities = node.detail().and_then(|detail| detail.capabilities);
    if let Some(capabilities) = capabilities.filter(|own| own.is_effective && own.permitted & !BOUNDING_SET != 0) {
        return Err(format!(
            "{} has the file capability {}, which containers do not have: the kernel refuses to start it (EPERM)",
            absolute(&node.path),
            names(capabilities.permitted & !BOUNDING_SET)
        ));
    }
    let mut account = user;
    let mut is_secure = false;
    if node.mode & SET_USER != 0 {
        is_secure |= account.uid != node.owner.0;
        account.uid = node.owner.0;
    }
    if node.mode & SET_GROUP == SET_GROUP && account.gid.is_some_and(|gid| gid != node.owner.1) {
        is_secure = true;
        account.gid = Some(node.owner.1);
    }
    let gained = capabilities.is_some_and(|own| own.is_effective || own.permitted & BOUNDING_SET != 0);
    is_secure |= gained && user.uid != 0;
    Ok(Privileges { account, is_secure })
}

/// The names of capabilities (capabilities(7)).
fn names(bits: u64) -> String {
    const NAMES: [&str; 41] = [
        "chown",
        "dac_override",
        "dac_read_search",
        "fowner",
        "fsetid",
        "kill",
        "setgid",
        "setuid",
        "setpcap",
        "linux_immutable",
        "net_bind_service",
        "net_broadcast",
        "net_admin",
        "net_raw",
        "ipc_lock",
        "ipc_owner",
        "sys_module",
        "sys_rawio",
        "sys_chroot",
        "sys_ptrace",
        "sys_pacct",
        "sys_admin",
        "sys_boot",
        "sys_nice",
        "sys_resource",
        "sys_time",
        "sys_tty_config",
        "mknod",
        "lease",
        "audit_write",
        "audit_control",
        "setfcap",
        "mac_override",
        "mac_admin",
        "syslog",
        "wake_alarm",
        "block_suspend",
        "audit_read",
        "perfmon",
        "bpf",
        "checkpoint_restore",
    ];
    let name = |bit: usize| NAMES.get(bit).map_or_else(|| format!("number {bit}"), |name| format!("cap_{name}"));
    (0..64).filter(|bit| bits >> bit & 1 == 1).map(name).collect::<Vec<_>>().join(", ")
}

/// What comes of a start on the processors that an image may run on: only the first where the others are alike.
/// `run` says besides whether what it found depends on the processor.
pub fn on_processors<T>(
    architecture: &str,
    mut run: impl FnMut(&'static Processor) -> (T, bool),
) -> Vec<(&'static Processor, T)> {
    let mut found = Vec::new();
    for processor in processors(architecture) {
        let (one, depends) = run(processor);
        found.push((processor, one));
        if !depends && found.len() == 1 {
            break;
        }
    }
    found
}

/// What keeps a program with this file from starting, as far as the kernel and the loader are concerned, and whether that
/// is certain; nothing if it starts.
pub fn starts<'a>(
    around: &Surroundings<'a>,
    loaders: &Loaders<'a>,
    environment: &BTreeMap<String, String>,
    node: &Node<'_>,
    elf: &ElfSummary,
) -> Option<(Outcome, String)> {
    let privileges = match privileges(around.user, node) {
        Ok(privileges) => privileges,
        Err(why) => return Some((Outcome::Fail, why)),
    };
    elf.interpreter.as_deref()?;
    let architecture = elf.architecture().unwrap_or_default();
    let all = on_processors(architecture, |processor| {
        let start = Start {
            environment,
            user: around.user,
            reader: privileges.account,
            is_secure: privileges.is_secure,
            processor: *processor,
        };
        on_one(around, loaders, &start, node, elf)
    });
    let is = |stopped: &Option<(Outcome, String)>| stopped.as_ref().map_or(Outcome::Pass, |(outcome, _)| *outcome);
    let (first, stopped) = all.first()?;
    match all.iter().find(|(_, other)| is(other) != is(stopped)) {
        None => stopped.clone(),
        Some((other, otherwise)) => {
            let why = [stopped, otherwise].into_iter().flatten().next().map(|(_, why)| why.as_str());
            Some((Outcome::Unknown, disagreement(first, other, why.unwrap_or_default())))
        }
    }
}

/// That a start ends differently on two processors, and how it fails on one of them: a sentence.
pub fn disagreement(one: &Processor, other: &Processor, why: &str) -> String {
    format!("it depends on the processor ({} or {}): {why}", one.name, other.name)
}

fn on_one<'a>(
    around: &Surroundings<'_>,
    loaders: &Loaders<'a>,
    start: &Start<'_, 'a>,
    node: &Node<'_>,
    elf: &ElfSummary,
) -> (Option<(Outcome, String)>, bool) {
    let path = absolute(&node.path);
    let loader = loaders.of(elf, start);
    match loader.as_ref() {
        Err(NoLinker::Missing(why, _)) => (Some((Outcome::Fail, format!("{path} does not start: {why}"))), false),
        Err(NoLinker::Strange(why, _)) => (Some((Outcome::Unknown, why.clone())), false),
        Ok((linker, object)) => {
            let place = around.rootfs.place(&node.path, node);
            let main = Main { elf, path: &path, real: Some(&path), place };
            let (_, failures) = Process::start(linker, object.clone(), main);
            // A failure that is certain outweighs one that is not.
            let worst = failures.iter().min_by_key(|failure| outcome(failure) != Outcome::Fail);
            (worst.map(|worst| (outcome(worst), statement(worst, around.rootfs))), linker.depends_on_processor())
        }
    }
}
