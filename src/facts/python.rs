//! Tells whether the step's Python finds the module that decrypts its variables, or can install it.
//!
//! Calamari runs `python3` twice: first a script that imports `Crypto.Cipher.AES`, and on failure calls
//! `python3 -m pip install pycryptodome --user`.

use serde::{Deserialize, Serialize};

use super::Command;
use super::programs::Surroundings;
use super::versions::numbers;
use crate::layer::path::{absolute, join, parent_and_name};
use crate::verdict::Place;

/// What the `python3` on `PATH` has of what a step needs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Python {
    /// Its version as far as folders tell, such as `3.11`.
    pub version: Option<String>,
    /// The folders that modules are looked for in.
    pub packages: Vec<String>,
    /// The package `Crypto`, if it is in one of them.
    pub crypto: Option<String>,
    /// pip, if it is in one of them.
    pub pip: Option<String>,
    /// The marker that forbids pip to install anything (PEP 668).
    pub externally_managed: Option<String>,
    /// Why it could not be told.
    pub open: Option<String>,
    /// The interpreter.
    pub place: Place,
}

/// What the Python of a usable `python3` has.
#[must_use]
pub fn python(around: &Surroundings<'_>, command: &Command) -> Python {
    let rootfs = around.rootfs;
    let asked = command.place.path.clone().unwrap_or_default();
    let real = command.target.clone().unwrap_or_else(|| asked.clone());
    let mut fact = Python { place: command.place.clone(), ..Python::default() };
    let name = parent_and_name(&real).1;
    let is_program = command.program.as_ref().is_some_and(|program| program.architecture.is_some());
    let Some(version) = version_of(around, &real).filter(|_| is_program) else {
        fact.open = Some(format!("which Python {real} starts cannot be told from its name ({name})"));
        return fact;
    };
    let prefix = parent_and_name(parent_and_name(real.trim_start_matches('/')).0).0.to_owned();
    let environment = virtual_environment(around, asked.trim_start_matches('/'));
    let mut folders: Vec<String> = Vec::new();
    if let Some(path) = around.variable("PYTHONPATH") {
        folders.extend(path.split(':').filter(|folder| folder.starts_with('/')).map(str::to_owned));
    }
    if let Some(environment) = &environment {
        folders.extend(site_packages(&environment.prefix, &version));
    }
    if environment.as_ref().is_none_or(|environment| environment.sees_system) {
        folders.push(format!("{}/.local/lib/python{version}/site-packages", around.home.trim_end_matches('/')));
        if prefix == "usr" && is_debian(around) {
            folders.push(format!("/usr/local/lib/python{version}/dist-packages"));
            folders.push("/usr/lib/python3/dist-packages".to_owned());
        } else {
            if prefix == "usr" {
                folders.extend(site_packages("usr/local", &version));
            }
            folders.extend(site_packages(&prefix, &version));
        }
    }
    folders.retain(|folder| rootfs.find(folder).is_ok());
    let first_with = |path: &str| {
        let path_in = |folder: &String| format!("{folder}/{path}");
        folders.iter().map(path_in).find(|path| rootfs.find(path).is_ok())
    };
    fact.crypto = first_with("Crypto/Cipher/AES.py");
    fact.pip = first_with("pip/__init__.py").or_else(|| first_with("pip/__main__.py"));
    if environment.is_none() {
        let marks = ["lib", "lib64"]
            .map(|library| absolute(&join(&prefix, &format!("{library}/python{version}/EXTERNALLY-MANAGED"))));
        fact.externally_managed = marks.into_iter().find(|mark| rootfs.find(mark).is_ok());
    }
    fact.version = Some(version);
    fact.packages = folders;
    fact
}

/// A virtual environment.
struct Environment {
    /// Its folder.
    prefix: String,
    /// Whether modules of the system are seen in it, which they are unless its file says no (Python, Lib/site.py).
    sees_system: bool,
}

/// The virtual environment of an interpreter, known by a file beside its folder or in it (PEP 405).
fn virtual_environment(around: &Surroundings<'_>, asked: &str) -> Option<Environment> {
    let folder = parent_and_name(asked).0;
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

fn site_packages(prefix: &str, version: &str) -> [String; 2] {
    ["lib", "lib64"].map(|library| absolute(&join(prefix, &format!("{library}/python{version}/site-packages"))))
}

/// Whether the system's Python is Debian's, which looks into folders of other names.
fn is_debian(around: &Surroundings<'_>) -> bool {
    ["etc/debian_version", "var/lib/dpkg"].iter().any(|path| around.rootfs.find(path).is_ok())
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
