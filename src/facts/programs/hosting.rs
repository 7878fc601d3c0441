//! Where a .NET program finds its runtime: next to itself, or installed, and then in which version.

use std::cmp::Reverse;

use super::collect::{Runtime, Surroundings};
use super::frameworks::{Installation, Settings, Unresolved, Version, resolve};
use super::host::{configure, unusable};
use super::{PAYLOAD_FOLDER, Problem, Shape};
use crate::layer::Kind;
use crate::layer::path::{absolute, join, parent_and_name};
use crate::printable::excerpt;
use crate::rootfs::{Access, Node};
use crate::runtime_config::{self, RollForward, RuntimeConfig, release_of};
use crate::verdict::{Outcome, Place};

/// The framework that every program needs.
const FRAMEWORK: &str = "Microsoft.NETCore.App";
/// Where hosts look for an installed .NET if nothing says where it is: Microsoft's, and those of some distributions.
const INSTALLED: &str = "/usr/share/dotnet";
const INSTALLED_BY_DISTRIBUTIONS: [&str; 2] = ["/usr/lib/dotnet", "/usr/lib64/dotnet"];
/// The first release whose hosts know of architectures in the names of variables and files.
const KNOWS_ARCHITECTURES: u32 = 6;

/// Whether a program is a host by what lies next to it, though it does not have the mark of one.
pub fn looks_like_host(around: &Surroundings<'_>, node: &Node<'_>) -> bool {
    let (folder, name) = parent_and_name(&node.path);
    ["dll", "runtimeconfig.json"].iter().all(|ending| has(around, folder, &format!("{name}.{ending}")))
}

/// A plain host: the program lies next to it, and the runtime, too, or it is installed. Of a host without the mark it is
/// not known which files of the runtime it loads beyond those that lead there.
pub fn folder(around: &Surroundings<'_>, node: &Node<'_>, is_marked: bool) -> Runtime {
    let (folder, name) = parent_and_name(&node.path);
    let mut runtime = Runtime { app_folder: Some(absolute(folder)), is_marked, ..Runtime::default() };
    let config = read_config(around, &join(folder, &format!("{name}.runtimeconfig.json")), &mut runtime);
    require(around, &mut runtime, &join(folder, &format!("{name}.dll")), "the program itself");
    // Without a framework hosts take the program for one that brings the runtime along.
    let is_self_contained = config.as_ref().is_none_or(|config| !config.is_framework_dependent);
    if is_self_contained {
        host_files(around, &mut runtime, folder, folder);
        return runtime;
    }
    runtime.shape = Shape::FrameworkDependent;
    match root(around, &runtime) {
        Ok(root) => installed(around, &mut runtime, &root, config.as_ref(), None),
        Err(problem) => {
            let statement = format!("{} needs an installed .NET: {}", absolute(&node.path), problem.statement);
            runtime.incomplete.push(Problem { statement, ..*problem });
        }
    }
    runtime
}

/// `dotnet`, which starts programs that it is given; nothing if the file is no such program.
pub fn muxer(around: &Surroundings<'_>, node: &Node<'_>, command: Option<&[String]>) -> Option<Runtime> {
    let (folder, name) = parent_and_name(&node.path);
    if name != "dotnet" || !has(around, folder, "host/fxr") {
        return None;
    }
    let mut runtime = Runtime { shape: Shape::FrameworkDependent, is_marked: true, ..Runtime::default() };
    let path = config_of_command(around, folder, command);
    let config = path.as_deref().and_then(|path| read_config(around, path, &mut runtime));
    if let Some(path) = path {
        runtime.app_folder = Some(absolute(parent_and_name(&path).0));
    }
    installed(around, &mut runtime, folder, config.as_ref(), command);
    Some(runtime)
}

/// The folder of the installed .NET (dotnet/runtime, src/native/corehost/fxr_resolver.cpp and hostmisc/pal.unix.cpp): that
/// of the first variable that names something, else that of the first file that is there, else the default. There is no
/// second try: if it has no host, the program does not start.
fn root(around: &Surroundings<'_>, runtime: &Runtime) -> Result<String, Box<Problem>> {
    let knows = major(runtime.version.as_deref()).is_none_or(|major| major >= KNOWS_ARCHITECTURES);
    let architecture = match around.architecture {
        "amd64" => "x64",
        "386" => "x86",
        "loong64" => "loongarch64",
        other => other,
    };
    let of_architecture = format!("DOTNET_ROOT_{}", architecture.to_ascii_uppercase());
    let variables = [knows.then_some(of_architecture.as_str()), Some("DOTNET_ROOT")];
    for name in variables.into_iter().flatten() {
        let Some(value) = around.variable(name).filter(|value| !value.is_empty()) else { continue };
        let place = around.variable_place(name);
        if !value.starts_with('/') {
            return Err(open(
                format!("{name} is {:?}, which depends on the working folder", excerpt(value, 120)),
                place,
            ));
        }
        if around.rootfs.find(value).is_ok() {
            return with_host(around, value, &format!("{name} is {value}"), place);
        }
    }
    let file_of_architecture = format!("/etc/dotnet/install_location_{architecture}");
    let files = [knows.then_some(file_of_architecture.as_str()), Some("/etc/dotnet/install_location")];
    for path in files.into_iter().flatten() {
        let Ok(node) = around.rootfs.find(path) else { continue };
        let place = around.rootfs.place(path.trim_start_matches('/'), &node);
        if !around.rootfs.may(around.user, Access::Read, &node) || node.size == 0 || node.kind != Kind::File {
            break;
        }
        let Some(content) = node.detail().and_then(|detail| detail.content.as_deref()) else {
            return Err(open(format!("{path} was not read"), place));
        };
        let line = content.split(|byte| *byte == b'\n').next().unwrap_or_default();
        if line.is_empty() {
            break;
        }
        let line = String::from_utf8_lossy(line).into_owned();
        let said = format!("{path} says {:?}", excerpt(&line, 120));
        if !line.starts_with('/') {
            return Err(open(format!("{said}, which depends on the working folder"), place));
        }
        return with_host(around, &line, &said, place);
    }
    let found =
        with_host(around, INSTALLED, &format!("nothing says where, so it is {INSTALLED}"), Place::path(INSTALLED));
    let others = INSTALLED_BY_DISTRIBUTIONS.iter().find(|root| has(around, root, "host/fxr"));
    match (found, others) {
        (Err(problem), Some(other)) => {
            let statement = format!(
                "{}; there is one in {other}, where only hosts that distributions build look by themselves",
                problem.statement
            );
            Err(Box::new(Problem { outcome: Outcome::Unknown, statement, ..*problem }))
        }
        (found, _) => found,
    }
}

fn open(statement: String, place: Place) -> Box<Problem> {
    Box::new(Problem { outcome: Outcome::Unknown, ..unusable(statement, place) })
}

fn with_host(around: &Surroundings<'_>, root: &str, said: &str, place: Place) -> Result<String, Box<Problem>> {
    if is_folder(around, &join(root, "host/fxr")) {
        return Ok(root.to_owned());
    }
    Err(Box::new(unusable(format!("{said}, and there is no host/fxr"), place)))
}

/// The runtimeconfig.json that a command line for `dotnet` leads to; without one the only one next to it.
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
    let at = absolute(path);
    let node = match around.rootfs.find(path) {
        Ok(node) => node,
        Err(_) => return None,
    };
    let place = around.rootfs.place(path, &node);
    if !around.rootfs.may(around.user, Access::Read, &node) {
        let why = format!("uid {} may not read {at}", around.user.uid);
        runtime.incomplete.push(unusable(why, place));
        return None;
    }
    let config = match node.detail().and_then(|detail| detail.content.as_deref()).map(runtime_config::parse) {
        Some(Ok(config)) => config,
        Some(Err(why)) => {
            runtime.known_by = format!("{at} is broken: {why}");
            runtime.incomplete.push(unusable(runtime.known_by.clone(), place));
            return None;
        }
        None => {
            runtime.known_by = format!("{at} could not be looked into");
            runtime.incomplete.push(*open(runtime.known_by.clone(), place));
            return None;
        }
    };
    if let Some(why) = &config.refused {
        runtime.incomplete.push(unusable(format!("hosts refuse {at}: {why}"), place));
    }
    configure(runtime, &config, &at);
    // A second file that tools of developers leave is read first.
    let second = format!("{}.dev.json", path.strip_suffix(".json").unwrap_or(path));
    if let Ok(node) = around.rootfs.find(&second)
        && sets_frameworks(&node)
    {
        let at = absolute(&second);
        let why = format!("{at} sets frameworks, too, and what comes of both is not known");
        runtime.incomplete.push(*open(why, around.rootfs.place(&second, &node)));
    }
    Some(config)
}

/// Whether a runtimeconfig.dev.json says anything of frameworks. One that cannot be read is passed over.
fn sets_frameworks(node: &Node<'_>) -> bool {
    match node.detail().and_then(|detail| detail.content.as_deref()).map(runtime_config::parse) {
        Some(Ok(config)) => config.is_framework_dependent || config.roll != runtime_config::Roll::default(),
        Some(Err(_)) => false,
        None => true,
    }
}

/// What is below the root of an installation, as the user sees it.
struct Below<'a> {
    around: &'a Surroundings<'a>,
    root: &'a str,
}

impl Below<'_> {
    fn at(&self, framework: &str) -> String {
        join(self.root, &join("shared", framework))
    }
}

impl Installation for Below<'_> {
    fn versions(&self, framework: &str) -> Vec<Version> {
        let folder = self.at(framework);
        if !is_folder(self.around, &folder) {
            return Vec::new();
        }
        let names = self.around.rootfs.names(&folder);
        let mut versions: Vec<Version> = names.iter().filter_map(|name| Version::parse(name)).collect();
        // One that was not unpacked to its end is passed over.
        versions.retain(|version| has(self.around, &join(&folder, version.text()), &format!("{framework}.deps.json")));
        versions.sort_by_key(|version| Reverse(version.clone()));
        versions
    }

    fn config(&self, framework: &str, version: &str) -> Result<RuntimeConfig, Unresolved> {
        let path = join(&self.at(framework), &format!("{version}/{framework}.runtimeconfig.json"));
        let Ok(node) = self.around.rootfs.find(&path) else { return Ok(RuntimeConfig::default()) };
        let at = absolute(&path);
        match node.detail().and_then(|detail| detail.content.as_deref()).map(runtime_config::parse) {
            Some(Ok(RuntimeConfig { refused: Some(why), .. })) => {
                Err(Unresolved::Fails(format!("hosts refuse {at}: {why}")))
            }
            Some(Ok(config)) => Ok(config),
            Some(Err(why)) => Err(Unresolved::Fails(format!("{at} is broken: {why}"))),
            None => Err(Unresolved::Open(format!("{at} could not be looked into"))),
        }
    }
}

/// What the environment and a command line for `dotnet` say of rolling forward.
///
/// # Errors
/// Hosts refuse it, or it is not known what comes of it: the problem.
fn settings(around: &Surroundings<'_>, command: Option<&[String]>) -> Result<Settings, Box<Problem>> {
    let set = |name: &'static str| around.variable(name).filter(|value| !value.is_empty());
    let number = |text: &str| leading_number(text);
    let mut settings = Settings {
        default_roll_forward: set("DOTNET_ROLL_FORWARD_ON_NO_CANDIDATE_FX")
            .map(|text| RollForward::on_no_candidate(number(text))),
        rolls_to_prerelease: set("DOTNET_ROLL_FORWARD_TO_PRERELEASE").is_some_and(|text| number(text) == 1),
        ..Settings::default()
    };
    if let Some(word) = set("DOTNET_ROLL_FORWARD") {
        settings.roll_forward = RollForward::parse(word);
        if settings.roll_forward.is_none() {
            let why = format!("DOTNET_ROLL_FORWARD is {:?}, which is no such setting", excerpt(word, 60));
            return Err(Box::new(unusable(why, around.variable_place("DOTNET_ROLL_FORWARD"))));
        }
    }
    let words = command.unwrap_or_default();
    if words.iter().any(|word| word == "--fx-version" || word == "--roll-forward-on-no-candidate-fx") {
        let why = "the command line names a version of the framework, and what comes of it is not known".to_owned();
        return Err(open(why, Place::default()));
    }
    if let Some(at) = words.iter().position(|word| word == "--roll-forward") {
        settings.roll_forward = words.get(at + 1).and_then(|word| RollForward::parse(word));
    }
    Ok(settings)
}

/// The number that a text begins with, as atoi(3) has it.
fn leading_number(text: &str) -> i64 {
    let text = text.trim_start();
    let (sign, digits) = text.strip_prefix('-').map_or((1, text), |rest| (-1, rest));
    let end = digits.find(|character: char| !character.is_ascii_digit()).unwrap_or(digits.len());
    digits[..end.min(9)].parse::<i64>().map_or(0, |number| sign * number)
}

/// The frameworks below `root` that a program is started with, and what is loaded of them.
fn installed(
    around: &Surroundings<'_>,
    runtime: &mut Runtime,
    root: &str,
    config: Option<&RuntimeConfig>,
    command: Option<&[String]>,
) {
    let below = Below { around, root };
    let place = Place::path(&absolute(&below.at(FRAMEWORK)));
    if config.is_some_and(|config| !config.is_framework_dependent) {
        let why = "the program names no framework, so whether `dotnet` starts it is not known".to_owned();
        runtime.incomplete.push(*open(why, place));
        return;
    }
    let known = match config.filter(|config| config.is_framework_dependent) {
        Some(config) => settings(around, command).and_then(|settings| {
            resolve(&below, config, &settings).map_err(|why| match why {
                Unresolved::Fails(why) => Box::new(unusable(why, place.clone())),
                Unresolved::Open(why) => open(why, place.clone()),
            })
        }),
        // Without a program it shows what is there.
        None => {
            Ok(below.versions(FRAMEWORK).into_iter().take(1).map(|newest| (FRAMEWORK.to_owned(), newest)).collect())
        }
    };
    let version = match known {
        Ok(mut found) => match found.remove(FRAMEWORK) {
            Some(version) => version,
            None => {
                let why = format!("the program needs {FRAMEWORK}, and {} has none", absolute(root));
                runtime.incomplete.push(unusable(why, place));
                return;
            }
        },
        Err(problem) => {
            runtime.incomplete.push(*problem);
            return;
        }
    };
    runtime.version = release_of(version.text());
    if runtime.known_by.is_empty() {
        runtime.known_by = format!("it is the newest in {}", absolute(&below.at(FRAMEWORK)));
    }
    let hosts = join(root, "host/fxr");
    let newest = around.rootfs.names(&hosts).iter().filter_map(|name| Version::parse(name)).max();
    let Some(newest) = newest.filter(|_| is_folder(around, &hosts)) else {
        let why = format!("{} has no version of the .NET host", absolute(&hosts));
        runtime.incomplete.push(unusable(why, Place::path(&absolute(&hosts))));
        return;
    };
    let host = join(&hosts, newest.text());
    host_files(around, runtime, &host, &join(&below.at(FRAMEWORK), version.text()));
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
    let loaded = if runtime.is_marked { chain.len() } else { 3 };
    for (path, what) in chain.into_iter().take(loaded) {
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

/// Whether a file that the program cannot do without is there for the user; if not, that is a problem.
fn require(around: &Surroundings<'_>, runtime: &mut Runtime, path: &str, what: &str) -> bool {
    let at = absolute(path);
    let why = match around.rootfs.find(path) {
        Err(_) => format!("{at}, a part of {what}, is not there"),
        Ok(node) if !around.rootfs.may(around.user, Access::Read, &node) => {
            format!("{at}, a part of {what}, may not be read by uid {}", around.user.uid)
        }
        Ok(_) => return true,
    };
    runtime.incomplete.push(unusable(why, Place::path(&at)));
    false
}

fn has(around: &Surroundings<'_>, folder: &str, name: &str) -> bool {
    around.rootfs.find(&join(folder, name)).is_ok()
}

/// Whether a folder is there that the user may list.
fn is_folder(around: &Surroundings<'_>, path: &str) -> bool {
    let open = |node: &Node<'_>| {
        [Access::Read, Access::Execute].iter().all(|access| around.rootfs.may(around.user, *access, node))
    };
    around.rootfs.find(path).is_ok_and(|node| node.kind == Kind::Directory && open(&node))
}

/// The major number of a release.
pub fn major(version: Option<&str>) -> Option<u32> {
    version?.split('.').next()?.parse().ok()
}
