//! Tells whether the step's Python finds the module that decrypts its variables, or can install it.
//!
//! Calamari runs `python3` twice: first a script that imports `Crypto.Cipher.AES`, and on failure calls
//! `python3 -m pip install pycryptodome --user`.

mod import;
mod interpreter;
mod search;

use serde::{Deserialize, Serialize};

use super::Command;
use super::programs::Surroundings;
use crate::layer::path::{absolute, join};
use crate::verdict::{Outcome, Place};
use import::{Import, Importer};

/// The module that decrypts a step's variables.
const CIPHER: &str = "Crypto.Cipher.AES";
/// Modules of sites that run before everything else.
const CUSTOM: [&str; 2] = ["sitecustomize", "usercustomize"];
/// What a module has that may end Python before the script begins.
const ENDINGS: [&str; 4] = ["exit(", "SystemExit", "os.exec", "abort("];

/// What the `python3` on `PATH` has of what a step needs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Python {
    /// Its version as far as folders tell, such as `3.11`.
    pub version: Option<String>,
    /// The folders that modules are looked for in.
    pub packages: Vec<String>,
    /// The module that is imported as `Crypto.Cipher.AES`.
    pub crypto: Option<String>,
    /// Why what is there of it cannot be imported, which nothing that pip installs changes.
    pub shadowed: Option<String>,
    /// pip, if it can be imported.
    pub pip: Option<String>,
    /// The marker that forbids pip to install anything (PEP 668).
    pub externally_managed: Option<String>,
    /// Whether modules that the user installs for itself are left out.
    pub without_user_site: bool,
    /// Why it does not start.
    pub stopped: Option<String>,
    /// Why it is not known.
    pub open: Option<String>,
    /// The interpreter.
    pub place: Place,
}

/// What the Python of a usable `python3` has.
#[must_use]
pub fn python(around: &Surroundings<'_>, command: &Command) -> Python {
    let mut fact = Python { place: command.place.clone(), ..Python::default() };
    let own = match interpreter::interpreter(around, command) {
        Ok(own) => own,
        Err((Outcome::Fail, why)) => return Python { stopped: Some(why), ..fact },
        Err((_, why)) => return Python { open: Some(why), ..fact },
    };
    let path = search::module_path(around, &own);
    let importer = Importer { around, version: &own.version };
    match importer.import(CIPHER, &path.folders) {
        Import::Found(file) => match importer.lost_cipher(&file) {
            Some(why) => fact.shadowed = Some(why),
            None => {
                fact.open = custom(around, &importer, &path.folders, false);
                fact.crypto = Some(file);
            }
        },
        Import::Fails(why) => fact.shadowed = Some(why),
        Import::Open(why) => fact.open = Some(why),
        Import::Missing => {
            fact.open = path.more.clone().or_else(|| custom(around, &importer, &path.folders, true));
        }
    }
    if let Some(why) = &fact.open {
        fact.open = Some(format!("whether Python {} has the module Crypto is not known: {why}", own.version));
    }
    fact.pip = match importer.import("pip.__main__", &path.folders) {
        Import::Found(file) => Some(file),
        _ => None,
    };
    if own.environment.is_none() {
        let marks = ["lib", "lib64"].map(|library| {
            absolute(&join(&own.prefix, &format!("{library}/python{}/EXTERNALLY-MANAGED", own.version)))
        });
        fact.externally_managed = marks.into_iter().find(|mark| around.rootfs.find(mark).is_ok());
    }
    fact.without_user_site = !path.has_user;
    fact.version = Some(own.version);
    fact.packages = path.folders;
    fact
}

/// What code of sites may do that is not known: end Python, or add folders.
fn custom(around: &Surroundings<'_>, importer: &Importer<'_>, folders: &[String], adds: bool) -> Option<String> {
    CUSTOM.iter().find_map(|name| {
        let Import::Found(file) = importer.import(name, folders) else { return None };
        let node = around.rootfs.find(&file).ok()?;
        let Some(content) = node.detail().and_then(|detail| detail.content.as_deref()) else {
            return Some(format!("{file} runs first, and it was not read"));
        };
        let text = String::from_utf8_lossy(content);
        if ENDINGS.iter().any(|ending| text.contains(ending)) {
            return Some(format!("{file} runs first, and may end Python"));
        }
        (adds && text.contains("sys.path")).then(|| format!("{file} runs first, and changes where modules are"))
    })
}
