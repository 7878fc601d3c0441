//! Which Python a `python3` starts, and whether the environment and its files let it start at all.
//!
//! Source: Python, Modules/getpath.py (before 3.11 Modules/getpath.c) and Python/preconfig.c, Python/initconfig.c.

use crate::facts::Command;
use crate::facts::programs::Surroundings;
use crate::facts::versions::numbers;
use crate::layer::Kind;
use crate::layer::path::{absolute, ancestors, join, parent_and_name};
use crate::printable::excerpt;
use crate::rootfs::Access;
use crate::verdict::Outcome;

/// The release since which a `._pth` file counts outside of Windows.
const PTH_FILES: [u64; 2] = [3, 11];
/// Allocators that `PYTHONMALLOC` may name (Python, Objects/obmalloc.c).
const ALLOCATORS: [&str; 8] =
    ["", "default", "malloc", "malloc_debug", "pymalloc", "pymalloc_debug", "mimalloc", "mimalloc_debug"];

/// A Python of the image.
pub struct Interpreter {
    /// Its release, such as `3.11`.
    pub version: String,
    /// The folder that its standard library is below, without leading slash.
    pub prefix: String,
    /// Its virtual environment.
    pub environment: Option<Environment>,
    /// The folders of a `._pth` file, which stand for everything else, and whether it has modules of sites, too.
    pub only: Option<(Vec<String>, bool)>,
}

/// A virtual environment.
pub struct Environment {
    /// Its folder.
    pub prefix: String,
    /// Whether modules of the system are seen in it, which they are unless its file says no (Python, Lib/site.py).
    pub sees_system: bool,
}

/// Why it does not start, or is not known: a sentence.
pub type Stopped = (Outcome, String);

/// The Python of a usable `python3`.
///
/// # Errors
/// It does not start, or which it is is not known.
pub fn interpreter(around: &Surroundings<'_>, command: &Command) -> Result<Interpreter, Stopped> {
    let asked = command.place.path.clone().unwrap_or_default();
    let real = command.target.clone().unwrap_or_else(|| asked.clone());
    let is_program = command.program.as_ref().is_some_and(|program| program.architecture.is_some());
    let (asked, real) =
        if is_program { (asked, real) } else { behind_shim(around, &real).ok_or_else(|| strange(&real))? };
    let version = version_of(around, &real).ok_or_else(|| strange(&real))?;
    refused(around, &version)?;
    let home = around.variable("PYTHONHOME").filter(|home| !home.is_empty());
    let only = only(around, &asked, &real, &version);
    if let Some((folders, _)) = &only {
        let has = |folder: &String| has_encodings(around, folder);
        if !folders.iter().any(has) {
            return Err((
                Outcome::Fail,
                format!("{real} has a ._pth file, and none of its folders has a standard library"),
            ));
        }
    }
    let prefix = match home.filter(|_| only.is_none()) {
        Some(home) => of_home(around, home, &version)?,
        None if only.is_some() => parent_and_name(parent_and_name(real.trim_start_matches('/')).0).0.to_owned(),
        None => prefix_of(around, &real, &version)?,
    };
    let environment = if home.is_some() || only.is_some() { None } else { virtual_environment(around, &asked) };
    Ok(Interpreter { version, prefix, environment, only })
}

fn strange(real: &str) -> Stopped {
    let name = parent_and_name(real).1;
    (Outcome::Unknown, format!("which Python {real} starts does not show in its name ({name})"))
}

/// The program behind a shim of pyenv, by the version that was chosen: as it is started, and without links.
fn behind_shim(around: &Surroundings<'_>, shim: &str) -> Option<(String, String)> {
    let (folder, name) = parent_and_name(shim.trim_start_matches('/'));
    let root = folder.strip_suffix("/shims")?;
    let file = around.rootfs.find(&join(root, "version")).ok();
    let content = file.as_ref().and_then(|node| node.detail()?.content.as_deref()).unwrap_or_default();
    let chosen = String::from_utf8_lossy(content).into_owned();
    let set = around.variable("PYENV_VERSION").filter(|set| !set.is_empty());
    let words = set.map_or_else(|| chosen.split_whitespace().collect(), |set| set.split(':').collect::<Vec<_>>());
    words.iter().take(16).find_map(|version| {
        let path = absolute(&join(root, &format!("versions/{version}/bin/{name}")));
        let node = around.rootfs.find(&path).ok()?;
        let is_program = node.detail().is_some_and(|detail| detail.elf.is_some());
        let may = around.rootfs.may(around.user, Access::Execute, &node);
        (is_program && may).then(|| (path, absolute(&node.path)))
    })
}

/// Variables with which no Python starts.
fn refused(around: &Surroundings<'_>, version: &str) -> Result<(), Stopped> {
    let is_number = |value: &str, most: u64| value.trim().parse::<u64>().is_ok_and(|number| number <= most);
    let knows = |least: u64| numbers(version).get(1).is_some_and(|minor| *minor >= least);
    let bad = |name: &'static str, is_good: &dyn Fn(&str) -> bool| {
        around.variable(name).filter(|value| !value.is_empty() && !is_good(value)).map(|value| (name, value))
    };
    let found = bad("PYTHONHASHSEED", &|value| value == "random" || is_number(value, u32::MAX.into()))
        .or_else(|| bad("PYTHONUTF8", &|value| !knows(7) || matches!(value, "0" | "1")))
        .or_else(|| bad("PYTHONMALLOC", &|value| !knows(6) || ALLOCATORS.contains(&value) || value == "debug"))
        .or_else(|| bad("PYTHONTRACEMALLOC", &|value| is_number(value, 65535)))
        .or_else(|| {
            let is_good =
                |value: &str| value.trim() == "0" || (is_number(value, i32::MAX as u64) && value.trim().len() > 2);
            bad("PYTHONINTMAXSTRDIGITS", &|value| !knows(11) || is_good(value))
        });
    match found {
        Some((name, value)) => Err((
            Outcome::Fail,
            format!("{name} is {:?}, with which Python {version} does not start", excerpt(value, 60)),
        )),
        None => Ok(()),
    }
}

/// The prefix that `PYTHONHOME` names.
fn of_home(around: &Surroundings<'_>, home: &str, version: &str) -> Result<String, Stopped> {
    let prefix = home.split(':').next().unwrap_or_default();
    let shown = excerpt(home, 120);
    if !prefix.starts_with('/') {
        return Err((Outcome::Unknown, format!("PYTHONHOME is {shown}, which depends on the working folder")));
    }
    if has_library(around, prefix, version) {
        return Ok(prefix.trim_matches('/').to_owned());
    }
    let why = format!(
        "PYTHONHOME is {shown}, and there is no standard library of Python {version} below it: Python does not start"
    );
    Err((Outcome::Fail, why))
}

/// The prefix of a program: the nearest folder above it that has a standard library.
fn prefix_of(around: &Surroundings<'_>, real: &str, version: &str) -> Result<String, Stopped> {
    let real = real.trim_start_matches('/');
    let above = ancestors(parent_and_name(real).0).chain([""]);
    if let Some(prefix) = above.into_iter().find(|prefix| has_library(around, prefix, version)) {
        return Ok(prefix.to_owned());
    }
    let built_for = ["usr/local", "usr"].into_iter().find(|prefix| has_library(around, prefix, version));
    Err(match built_for {
        Some(prefix) => {
            (Outcome::Unknown, format!("whether /{real} takes its standard library from /{prefix} is not known"))
        }
        None => (
            Outcome::Fail,
            format!(
                "the standard library of Python {version} is not there for uid {}: /{real} does not start",
                around.user.uid
            ),
        ),
    })
}

/// Whether the part of the standard library is there without which Python does not start.
fn has_library(around: &Surroundings<'_>, prefix: &str, version: &str) -> bool {
    let set = around.variable("PYTHONPLATLIBDIR").filter(|set| !set.is_empty() && numbers(version) >= vec![3, 9]);
    let folders = set.map_or_else(|| vec!["lib", "lib64"], |set| vec![set]);
    let packed = join(prefix, &format!("lib/python{}.zip", version.replace('.', "")));
    folders.iter().any(|library| has_encodings(around, &join(prefix, &format!("{library}/python{version}"))))
        || around.rootfs.find(&packed).is_ok()
}

fn has_encodings(around: &Surroundings<'_>, folder: &str) -> bool {
    ["py", "pyc"].iter().any(|ending| {
        let path = join(folder, &format!("encodings/__init__.{ending}"));
        around
            .rootfs
            .find(&path)
            .is_ok_and(|node| node.kind == Kind::File && around.rootfs.may(around.user, Access::Read, &node))
    })
}

/// The folders of a `._pth` file, and whether it asks for modules of sites.
fn only(around: &Surroundings<'_>, asked: &str, real: &str, version: &str) -> Option<(Vec<String>, bool)> {
    if numbers(version) < PTH_FILES.to_vec() {
        return None;
    }
    let (path, node) = [asked, real].iter().find_map(|program| {
        let path = format!("{program}._pth");
        Some((path.clone(), around.rootfs.find(&path).ok()?))
    })?;
    let content = node.detail().and_then(|detail| detail.content.as_deref()).unwrap_or_default();
    let text = String::from_utf8_lossy(content).into_owned();
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let (imports, folders): (Vec<&str>, Vec<&str>) = lines.partition(|line| line.starts_with("import "));
    let base = parent_and_name(path.trim_start_matches('/')).0;
    let folders = folders.iter().map(|folder| absolute(&join(base, folder))).collect();
    Some((folders, imports.contains(&"import site")))
}

/// The virtual environment of an interpreter, known by a file next to its folder or in it (PEP 405).
fn virtual_environment(around: &Surroundings<'_>, asked: &str) -> Option<Environment> {
    let folder = parent_and_name(asked.trim_start_matches('/')).0;
    let prefix = parent_and_name(folder).0;
    let file = [folder, prefix].iter().find_map(|at| around.rootfs.find(&join(at, "pyvenv.cfg")).ok())?;
    let content = file.detail().and_then(|detail| detail.content.as_deref()).unwrap_or_default();
    let text = String::from_utf8_lossy(content).to_lowercase();
    let says_no = |line: &str| {
        let setting = line.split_once('=').map(|(key, value)| (key.trim(), value.trim()));
        setting.is_some_and(|(key, value)| key == "include-system-site-packages" && value != "true")
    };
    Some(Environment { prefix: prefix.to_owned(), sees_system: !text.lines().any(says_no) })
}

/// The release of Python that a program is, such as `3.11`: by its name, else by the only standard library there is.
fn version_of(around: &Surroundings<'_>, real: &str) -> Option<String> {
    let (folder, name) = parent_and_name(real.trim_start_matches('/'));
    let by_name = name.strip_prefix("python").filter(|rest| numbers(rest).len() == 2);
    if let Some(version) = by_name {
        return Some(version.to_owned());
    }
    let prefix = parent_and_name(folder).0;
    let mut versions: Vec<String> = ["lib", "lib64"]
        .iter()
        .flat_map(|library| around.rootfs.names(&join(prefix, library)))
        .filter_map(|name| name.strip_prefix("python").map(str::to_owned))
        .filter(|version| numbers(version).len() == 2)
        .collect();
    versions.sort();
    versions.dedup();
    if let [version] = versions.as_slice() { Some(version.clone()) } else { None }
}
