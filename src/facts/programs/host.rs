//! What a program is: an ELF file, maybe a .NET host, and what .NET loads for it before its own code runs.

use super::collect::{Runtime, Subject, Surroundings};
use super::start::privileges;
use super::{PAYLOAD_FOLDER, Problem, ProblemKind, Shape, Stage, hosting};
use crate::facts::starting::program_at;
use crate::layer::bundle::{Bundle, DotnetHost};
use crate::layer::elf::Symbols;
use crate::layer::path::{absolute, join, parent_and_name};
use crate::layer::{ElfSummary, Kind};
use crate::rootfs::{Access, Node};
use crate::runtime_config::{self, RuntimeConfig};
use crate::tables::dotnet::{Needs, dotnet};
use crate::verdict::{Outcome, Place};

/// The most programs of a payload that are judged.
const MOST_PROGRAMS: usize = 16;

/// A problem of a program that cannot be started whatever the libraries.
pub fn unusable(statement: String, place: Place) -> Problem {
    Problem {
        kind: ProblemKind::ProgramUnusable,
        stage: Some(Stage::Start),
        outcome: Outcome::Fail,
        statement,
        place,
        component: None,
    }
}

/// What a program that is only described asks of the loader; nothing for an architecture without such programs.
pub fn described_elf(needs: &Needs, architecture: &str) -> Option<ElfSummary> {
    let (machine, is_64) = crate::layer::elf::machine(architecture)?;
    let mut elf = ElfSummary {
        is_64,
        is_little_endian: true,
        machine,
        is_executable: true,
        interpreter: Some(needs.loader.clone()),
        is_dynamic: true,
        symbols: Some(Symbols::default()),
        ..ElfSummary::default()
    };
    add_needs(&mut elf, needs);
    Some(elf)
}

/// Lets a program ask for what the runtime's own files ask for.
fn add_needs(elf: &mut ElfSummary, needs: &Needs) {
    for library in &needs.libraries {
        if !elf.needed.contains(library) {
            elf.needed.push(library.clone());
        }
    }
    for (library, versions) in &needs.symbol_versions {
        elf.version_needs.extend(versions.iter().map(|version| (library.clone(), version.clone())));
    }
}

/// The programs of a payload: their paths, and their names inside the payload.
pub fn in_payload(around: &Surroundings<'_>, command: Option<&[String]>) -> Vec<(String, String)> {
    let named = |path: &str| {
        let inside = path.trim_start_matches('/').strip_prefix(PAYLOAD_FOLDER).unwrap_or(path).trim_start_matches('/');
        (absolute(path.trim_start_matches('/')), inside.to_owned())
    };
    if let Some(word) = command.and_then(|words| words.first()) {
        return vec![named(&join(PAYLOAD_FOLDER, word))];
    }
    let files = around.rootfs.files_below(PAYLOAD_FOLDER);
    let is_muxer = |node: &Node<'_>| {
        let (folder, name) = parent_and_name(&node.path);
        name == "dotnet" && node.kind == Kind::File && around.rootfs.find(&join(folder, "host/fxr")).is_ok()
    };
    let is_host = |node: &&Node<'_>| node.detail().is_some_and(|detail| detail.dotnet.is_some()) || is_muxer(node);
    let is_program = |node: &&Node<'_>| {
        let elf = node.detail().and_then(|detail| detail.elf.as_ref());
        elf.is_some_and(|elf| elf.interpreter.is_some()) && node.mode & 0o111 != 0
    };
    let mut found: Vec<&Node<'_>> = files.iter().filter(is_host).collect();
    if found.is_empty() {
        found = files.iter().filter(is_program).collect();
    }
    // What lies nearest to the top is what is started; the rest are its parts.
    let depth = |node: &&Node<'_>| node.path.matches('/').count();
    let least = found.iter().map(depth).min().unwrap_or_default();
    found.into_iter().filter(|node| depth(node) == least).take(MOST_PROGRAMS).map(|node| named(&node.path)).collect()
}

/// The program at a path, as `called` in the report.
///
/// # Errors
/// It is not there, or cannot be started whatever its libraries: the problem.
pub fn subject<'a>(
    around: &Surroundings<'a>,
    name: String,
    path: &str,
    command: Option<&[String]>,
) -> Result<Subject<'a>, Box<Problem>> {
    let (called, node) = program(around, path)?;
    let refused = |why| Box::new(unusable(why, around.rootfs.place(called.trim_start_matches('/'), &node)));
    let privileges = privileges(around.user, &node).map_err(refused)?;
    let elf = node.detail().and_then(|detail| detail.elf.clone()).unwrap_or_default();
    let place = around.rootfs.place(called.trim_start_matches('/'), &node);
    let mut subject = Subject {
        name,
        path: Some(absolute(path.trim_start_matches('/'))),
        called,
        real: Some(absolute(&node.path)),
        privileges,
        elf,
        place,
        runtime: None,
    };
    subject.runtime = match node.detail().and_then(|detail| detail.dotnet.as_ref()) {
        Some(DotnetHost::SingleFile(bundle)) => Some(single_file(around, bundle, &node, &mut subject.elf)),
        Some(DotnetHost::AppHost) => Some(hosting::folder(around, &node, true)),
        None if hosting::looks_like_host(around, &node) => Some(hosting::folder(around, &node, false)),
        None => hosting::muxer(around, &node, command),
    };
    Ok(subject)
}

/// The ELF file that the kernel starts for a path: itself, or the interpreter of a script.
fn program<'a>(around: &'a Surroundings<'_>, path: &str) -> Result<(String, Node<'a>), Box<Problem>> {
    let path = absolute(path.trim_start_matches('/'));
    let fail = |why: String, place: Place| Box::new(unusable(why, place));
    let node = around
        .rootfs
        .find(&path)
        .map_err(|missing| fail(format!("{path} cannot be started: {}", missing.why()), Place::path(&path)))?;
    let place = around.rootfs.place(path.trim_start_matches('/'), &node);
    if node.kind != Kind::File {
        return Err(fail(format!("{path} is no file"), place));
    }
    if !around.rootfs.may(around.user, Access::Execute, &node) {
        let why = format!("{path} may not be executed by uid {} (mode {:04o})", around.user.uid, node.mode);
        return Err(fail(why, place));
    }
    match program_at(around, &path, &node) {
        Ok(found) => Ok(found),
        Err((outcome, why)) => Err(Box::new(Problem { outcome, ..unusable(why, place) })),
    }
}

fn single_file(around: &Surroundings<'_>, bundle: &Bundle, node: &Node<'_>, elf: &mut ElfSummary) -> Runtime {
    let mut runtime = Runtime { shape: Shape::SingleFile, extracts: bundle.extracts, ..Runtime::default() };
    let at = absolute(&node.path);
    let config = bundle.runtime_config.as_deref().map(runtime_config::parse);
    match config {
        Some(Ok(config)) => configure(&mut runtime, &config, &format!("the runtimeconfig.json inside {at}")),
        Some(Err(why)) => runtime.known_by = format!("the runtimeconfig.json inside {at} is broken: {why}"),
        None => runtime.known_by = format!("{at}: {}", bundle.incomplete.as_deref().unwrap_or("no runtimeconfig.json")),
    }
    // Before .NET 5 the runtime's own files are in it, but are loaded from where they were written.
    if bundle.major == 1
        && let Some(needs) = runtime.version.as_deref().and_then(|version| needs_of(around, version))
    {
        add_needs(elf, needs);
    }
    // Since .NET 10 a single file does not look beside itself (dotnet/docs#46356).
    let looks_beside = hosting::major(runtime.version.as_deref()).is_some_and(|major| major < 10);
    runtime.app_folder = looks_beside.then(|| absolute(parent_and_name(&node.path).0));
    runtime
}

fn needs_of(around: &Surroundings<'_>, version: &str) -> Option<&'static Needs> {
    dotnet().ok()?.release(version)?.needs_on(around.architecture)
}

pub(super) fn configure(runtime: &mut Runtime, config: &RuntimeConfig, known_by: &str) {
    runtime.version = config.release();
    runtime.invariant = config.invariant;
    runtime.app_local_icu = config.app_local_icu.clone();
    runtime.predefined_cultures_only = config.predefined_cultures_only;
    runtime.startup_hooks = config.startup_hooks;
    runtime.known_by = format!("{known_by} says so");
}
