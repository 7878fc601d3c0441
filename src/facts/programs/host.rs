//! What a program is: an ELF file, maybe a .NET host, and what .NET loads for it before its own code runs.

use super::collect::{Runtime, Subject, Surroundings};
use super::start::privileges;
use super::{PAYLOAD_FOLDER, Problem, ProblemKind, Shape, Stage};
use crate::facts::starting::program_at;
use crate::layer::bundle::{Bundle, DotnetHost};
use crate::layer::elf::Symbols;
use crate::layer::path::{absolute, join, parent_and_name};
use crate::layer::{ElfSummary, Kind};
use crate::rootfs::{Access, Node};
use crate::runtime_config::{self, RuntimeConfig, release_of};
use crate::tables::dotnet::{Needs, dotnet};
use crate::verdict::{Outcome, Place};

/// The most programs of a payload that are judged.
const MOST_PROGRAMS: usize = 16;
/// The folders where a program without a runtime looks for one, after `DOTNET_ROOT` (dotnet/runtime,
/// src/native/corehost/hostmisc/pal.unix.cpp; the second is that of distributions' own packages).
const INSTALLED: [&str; 2] = ["/usr/share/dotnet", "/usr/lib/dotnet"];
/// The framework that every program needs.
const FRAMEWORK: &str = "shared/Microsoft.NETCore.App";

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
        Some(DotnetHost::AppHost) => Some(folder(around, &node)),
        None => muxer(around, &node, command),
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
    let looks_beside = major(runtime.version.as_deref()).is_some_and(|major| major < 10);
    runtime.app_folder = looks_beside.then(|| absolute(parent_and_name(&node.path).0));
    runtime
}

fn needs_of(around: &Surroundings<'_>, version: &str) -> Option<&'static Needs> {
    dotnet().ok()?.release(version)?.needs_on(around.architecture)
}

fn configure(runtime: &mut Runtime, config: &RuntimeConfig, known_by: &str) {
    runtime.version = config.release();
    runtime.invariant = config.invariant;
    runtime.app_local_icu = config.app_local_icu.clone();
    runtime.known_by = format!("{known_by} says so");
}

/// A plain host: the program and mostly the runtime lie beside it.
fn folder(around: &Surroundings<'_>, node: &Node<'_>) -> Runtime {
    let (folder, name) = parent_and_name(&node.path);
    let mut runtime = Runtime { app_folder: Some(absolute(folder)), ..Runtime::default() };
    let config = read_config(around, &join(folder, &format!("{name}.runtimeconfig.json")), &mut runtime);
    require(around, &mut runtime, &join(folder, &format!("{name}.dll")), "the program itself");
    let is_self_contained =
        config.map_or_else(|| has(around, folder, "libhostpolicy.so"), |config| config.is_self_contained);
    if is_self_contained {
        host_files(around, &mut runtime, folder, folder);
        return runtime;
    }
    runtime.shape = Shape::FrameworkDependent;
    let set = around.variable("DOTNET_ROOT").filter(|root| !root.is_empty());
    let root = set.into_iter().chain(INSTALLED).find(|root| has(around, root, "host/fxr"));
    match root {
        Some(root) => installed(around, &mut runtime, root),
        None => {
            let why = format!(
                "{} needs an installed .NET, and there is none in DOTNET_ROOT, {}",
                absolute(&node.path),
                INSTALLED.join(" or ")
            );
            runtime.incomplete.push(unusable(why, Place::path(INSTALLED[0])));
        }
    }
    runtime
}

/// `dotnet`, which starts programs that it is told; nothing if the file is no such program.
fn muxer(around: &Surroundings<'_>, node: &Node<'_>, command: Option<&[String]>) -> Option<Runtime> {
    let (folder, name) = parent_and_name(&node.path);
    if name != "dotnet" || !has(around, folder, "host/fxr") {
        return None;
    }
    let mut runtime = Runtime { shape: Shape::FrameworkDependent, ..Runtime::default() };
    if let Some(config) = config_of_command(around, folder, command) {
        read_config(around, &config, &mut runtime);
        runtime.app_folder = Some(absolute(parent_and_name(&config).0));
    }
    installed(around, &mut runtime, folder);
    Some(runtime)
}

/// The runtimeconfig.json that a command line for `dotnet` leads to; without one the only one beside it.
fn config_of_command(around: &Surroundings<'_>, folder: &str, command: Option<&[String]>) -> Option<String> {
    let words = command.unwrap_or_default();
    if let Some(at) = words.iter().position(|word| word == "--runtimeconfig") {
        return Some(join(PAYLOAD_FOLDER, words.get(at + 1)?));
    }
    let program = words.iter().skip(1).find(|word| word.ends_with(".dll") || word.ends_with(".exe"));
    if let Some(program) = program {
        let (stem, _) = program.rsplit_once('.')?;
        return Some(join(PAYLOAD_FOLDER, &format!("{stem}.runtimeconfig.json")));
    }
    let names = around.rootfs.names(folder);
    let mut configs = names.iter().filter(|name| name.ends_with(".runtimeconfig.json"));
    let only = configs.next()?;
    configs.next().is_none().then(|| join(folder, only))
}

fn read_config(around: &Surroundings<'_>, path: &str, runtime: &mut Runtime) -> Option<RuntimeConfig> {
    let node = around.rootfs.find(path).ok()?;
    let at = absolute(path);
    let config = match node.detail().and_then(|detail| detail.content.as_deref()).map(runtime_config::parse) {
        Some(Ok(config)) => config,
        Some(Err(why)) => {
            runtime.known_by = format!("{at} is broken: {why}");
            runtime.incomplete.push(unusable(runtime.known_by.clone(), around.rootfs.place(path, &node)));
            return None;
        }
        None => {
            runtime.known_by = format!("{at} could not be looked into");
            return None;
        }
    };
    configure(runtime, &config, &at);
    Some(config)
}

/// The newest installed runtime of the wanted release; without a wanted one the newest of all.
fn installed(around: &Surroundings<'_>, runtime: &mut Runtime, root: &str) {
    let frameworks = join(root, FRAMEWORK);
    let mut versions = around.rootfs.names(&frameworks);
    versions.sort_by_key(|version| numbers(version));
    let wanted = runtime.version.clone();
    let same = |version: &&String| wanted.is_none() || release_of(version) == wanted;
    // Programs roll forward to a newer minor version, never to another major one.
    let newer = |version: &&String| {
        major(Some(version)) == major(wanted.as_deref())
            && numbers(version) > numbers(wanted.as_deref().unwrap_or_default())
    };
    let Some(version) = versions.iter().rfind(same).or_else(|| versions.iter().find(newer)) else {
        let why = format!(
            "the program needs .NET {}, and {} has {}",
            wanted.unwrap_or_default(),
            absolute(&frameworks),
            if versions.is_empty() { "none".to_owned() } else { versions.join(", ") }
        );
        runtime.incomplete.push(unusable(why, Place::path(&absolute(&frameworks))));
        return;
    };
    runtime.version = release_of(version);
    if runtime.known_by.is_empty() {
        runtime.known_by = format!("it is the newest in {}", absolute(&frameworks));
    }
    let mut hosts = around.rootfs.names(&join(root, "host/fxr"));
    hosts.sort_by_key(|version| numbers(version));
    let host = join(root, &format!("host/fxr/{}", hosts.last().map_or("", String::as_str)));
    host_files(around, runtime, &host, &join(&frameworks, version));
}

/// The files that are loaded before the program's own code runs, and those that look for ICU and OpenSSL.
fn host_files(around: &Surroundings<'_>, runtime: &mut Runtime, host: &str, framework: &str) {
    let either = |name: &str| {
        let plain = name.trim_start_matches("lib");
        let chosen = if has(around, framework, plain) { plain } else { name };
        join(framework, chosen)
    };
    let chain = [
        (join(host, "libhostfxr.so"), "the .NET host"),
        (join(framework, "libhostpolicy.so"), "the .NET host"),
        (join(framework, "libcoreclr.so"), "the .NET runtime"),
        (join(framework, "libclrjit.so"), "the .NET runtime"),
        (either("libSystem.Native.so"), "the .NET runtime"),
    ];
    for (path, what) in chain {
        if require(around, runtime, &path, what) {
            runtime.chain.push(absolute(&path));
        }
    }
    require(around, runtime, &join(framework, "System.Private.CoreLib.dll"), "the .NET runtime");
    let is_there = |path: &String| around.rootfs.find(path).is_ok();
    // Since .NET 8 the search for ICU is part of the runtime itself.
    let globalization = either("libSystem.Globalization.Native.so");
    let is_inside = major(runtime.version.as_deref()).is_none_or(|major| major >= 8) || !is_there(&globalization);
    let searcher = if is_inside { join(framework, "libcoreclr.so") } else { globalization };
    runtime.icu_caller = Some(absolute(&searcher));
    let openssl = either("libSystem.Security.Cryptography.Native.OpenSsl.so");
    runtime.openssl_caller = is_there(&openssl).then(|| absolute(&openssl));
}

/// Whether a file that the program cannot do without is there; if not, that is a problem.
fn require(around: &Surroundings<'_>, runtime: &mut Runtime, path: &str, what: &str) -> bool {
    let is_there = around.rootfs.find(path).is_ok();
    if !is_there {
        let at = absolute(path);
        runtime.incomplete.push(unusable(format!("{at}, a part of {what}, is not there"), Place::path(&at)));
    }
    is_there
}

fn has(around: &Surroundings<'_>, folder: &str, name: &str) -> bool {
    around.rootfs.find(&join(folder, name)).is_ok()
}

fn major(version: Option<&str>) -> Option<u32> {
    version?.split('.').next()?.parse().ok()
}

/// A version in an order that knows that 10 comes after 9.
fn numbers(version: &str) -> Vec<u32> {
    version.split(['.', '-']).map(|part| part.parse().unwrap_or(0)).collect()
}
