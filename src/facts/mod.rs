//! What is known about an image: plain data, gathered once, that says where it came from and what could not be looked at.
//!
//! Facts carry knowledge, [checks](crate::checks) carry judgement. Every fact can be read from TOML, which is how the
//! examples in rule files are written, and is printed as JSON by `imglint facts` and in the report.

pub mod bash_start;
pub mod commands;
pub mod configuration;
mod disputed;
mod gather;
pub mod java;
mod libc;
pub mod off_path;
mod openssl;
mod os_release;
pub mod programs;
pub mod python;
pub mod run;
mod scripts;
mod search_path;
pub mod shell_files;
mod shown;
mod start;
mod starting;
pub mod steps;
pub mod system_files;
mod user;
pub mod versions;
pub mod windows;

use std::collections::BTreeMap;

use serde::de::{DeserializeOwned, Error};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use crate::image::ManifestKind;
use crate::platform::Platform;
use crate::tables::System;
use crate::verdict::Place;

pub use disputed::Disputed;
pub use gather::{Content, Layers, gather};

/// Something that was looked for: known, or why not.
///
/// Serialised as the value itself, `{"unknown": "why"}` or `{"not_applicable": "why"}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Fact<T> {
    /// It could not be looked at.
    Unknown(Unknown),
    /// There is no such thing in an image like this.
    NotApplicable(NotApplicable),
    /// It is known.
    Known(T),
}

/// By hand, because the derived one has only one error for all that can be wrong: this one names the wrong key.
impl<'de, T: DeserializeOwned> Deserialize<'de> for Fact<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        let read = if value.get("unknown").is_some() {
            Unknown::deserialize(value).map(Self::Unknown)
        } else if value.get("not_applicable").is_some() {
            NotApplicable::deserialize(value).map(Self::NotApplicable)
        } else {
            T::deserialize(value).map(Self::Known)
        };
        read.map_err(D::Error::custom)
    }
}

/// Why something could not be looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Unknown {
    /// The reason, a sentence without its full stop.
    pub unknown: String,
}

/// Why there is no such thing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NotApplicable {
    /// The reason, a sentence without its full stop.
    pub not_applicable: String,
}

impl<T> Fact<T> {
    /// It could not be looked at, because of `why`.
    pub fn unknown(why: impl Into<String>) -> Self {
        Self::Unknown(Unknown { unknown: why.into() })
    }

    /// There is no such thing, because of `why`.
    pub fn not_applicable(why: impl Into<String>) -> Self {
        Self::NotApplicable(NotApplicable { not_applicable: why.into() })
    }

    /// The value, if it is known.
    pub fn known(&self) -> Option<&T> {
        match self {
            Self::Known(value) => Some(value),
            _ => None,
        }
    }
}

impl<T> Default for Fact<T> {
    fn default() -> Self {
        Self::unknown("it was not looked at")
    }
}

/// All facts about one image.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Facts {
    /// The name the image goes by where it will be pulled from. Archives and folders have none.
    pub reference: Fact<ReferenceFact>,
    /// The platform the image says it is for.
    pub platform: Fact<PlatformFact>,
    /// The manifest: its kind and media types.
    pub manifest: Fact<ManifestFact>,
    /// Sizes in bytes.
    pub size: SizeFacts,
    /// What engines unpack in different ways.
    pub disputed_layers: Fact<Vec<Disputed>>,
    /// `/etc/os-release`.
    pub os_release: Fact<OsRelease>,
    /// The C library that programs of this image are started with.
    pub libc: Fact<Libc>,
    /// What containers are started with.
    pub configuration: Fact<ConfigurationFacts>,
    /// The user that a container runs as.
    pub user: Fact<User>,
    /// Why engines create or start no container of the image; empty if they do.
    pub start_refused: Fact<Vec<start::Refusal>>,
    /// `PATH` as a container gets it.
    pub path: Fact<SearchPath>,
    /// Every command on `PATH`, and those that were looked for and are missing, by name.
    pub commands: Fact<BTreeMap<String, Command>>,
    /// Folders with commands that are in no folder of `PATH`.
    pub off_path: Fact<Vec<off_path::OffPath>>,
    /// The files that shells read at their start, and what they do to `PATH`.
    pub shell_files: Fact<Vec<shell_files::ShellFile>>,
    /// What the environment does to every script of bash before its first line.
    pub bash_start: Fact<bash_start::BashStart>,
    /// What `JAVA_HOME` leads to.
    pub java_home: Fact<java::JavaHome>,
    /// What the image has for each type of step, by its id.
    pub steps: Fact<BTreeMap<String, steps::StepFact>>,
    /// Certificate authorities for TLS.
    pub ca_certificates: Fact<system_files::Presence>,
    /// The time zone database.
    pub time_zones: Fact<system_files::Presence>,
    /// What is known of a Windows image beside its commands and steps.
    pub windows: Fact<windows::Windows>,
    /// Programs that will run in the image, and what its files predict of them.
    pub programs: Fact<Vec<programs::ProgramFact>>,
    /// What running the image left open; `None` where it was only read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run: Option<run::RunFacts>,
}

/// The parts of a name as they were written.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ReferenceFact {
    /// The registry's host, `docker.io` for Docker Hub.
    pub registry: String,
    /// The repository.
    pub repository: String,
    /// The tag, if one was written.
    pub tag: Option<String>,
    /// The digest, if one was written.
    pub digest: Option<String>,
}

/// The platform and what else was on offer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PlatformFact {
    /// By the configuration, completed by the index entry.
    pub is: Platform,
    /// The platforms of the index that the image was chosen from; empty if there was none.
    pub offered: Vec<Platform>,
    /// Whether all of these are checked, this one among them.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub is_one_of_all: bool,
}

/// The manifest's kind and media types.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ManifestFact {
    /// Its kind.
    pub kind: ManifestKind,
    /// As written: the manifest's own, the configuration's, then the layers', base first.
    #[serde(default)]
    pub media_types: Vec<String>,
}

/// Sizes in bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SizeFacts {
    /// What a pull transfers: the sum of the compressed layers. Unknown where the source holds them uncompressed.
    pub compressed_bytes: Fact<u64>,
    /// The sum of the layers' tar files.
    pub uncompressed_bytes: Fact<u64>,
    /// How many layers there are.
    pub layers: usize,
}

/// The identification of the operating system (os-release(5)).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OsRelease {
    /// Whether `/etc/os-release` or `/usr/lib/os-release` is there.
    pub present: bool,
    /// `ID`; `linux` when the file leaves it out.
    pub id: String,
    /// The words of `ID_LIKE`.
    pub id_like: Vec<String>,
    /// `VERSION_ID`; rolling and unreleased distributions have none.
    pub version_id: Option<String>,
    /// `VERSION_CODENAME`.
    pub version_codename: Option<String>,
    /// `PLATFORM_ID`: which distribution's modules fit, such as `platform:el9`.
    pub platform_id: Option<String>,
    /// `PRETTY_NAME`.
    pub pretty_name: Option<String>,
    /// The file.
    pub place: Place,
}

impl OsRelease {
    /// As tables look it up.
    #[must_use]
    pub fn system(&self) -> System<'_> {
        System {
            id: &self.id,
            id_like: &self.id_like,
            version: self.version_id.as_deref(),
            platform: self.platform_id.as_deref(),
        }
    }
}

/// The C library.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Libc {
    /// Whose it is.
    pub family: LibcFamily,
    /// Its version, by the library itself.
    #[serde(default)]
    pub version: Option<String>,
    /// The program loader, or where it was expected.
    #[serde(default)]
    pub loader: Place,
    /// The library itself; of one that is part of a static program, that program.
    #[serde(default)]
    pub library: Place,
    /// How the family and the version are known, one sentence each; the first is the one that decides.
    #[serde(default)]
    pub known_by: Vec<String>,
    /// A loader of another family beside the system's own (a compatibility layer), and what it is.
    #[serde(default)]
    pub beside: Option<OtherLibc>,
}

/// A second C library, installed beside the one that the system's own programs use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OtherLibc {
    /// Whose it is.
    pub family: LibcFamily,
    /// What it is, such as `gcompat`, for people.
    pub what: String,
    /// Its loader.
    #[serde(default)]
    pub place: Place,
}

/// The families of C libraries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LibcFamily {
    /// The GNU C library.
    Glibc,
    /// musl.
    Musl,
    /// uClibc and uClibc-ng.
    Uclibc,
    /// Something else (bionic, dietlibc).
    Other,
    /// No loader and no library: only static programs, or none at all.
    None,
}

/// A value of the configuration and the history entry that set it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Setting<T> {
    /// The value.
    pub value: T,
    /// The field of the configuration, and the instruction that set it where the history tells.
    pub place: Place,
}

/// What containers are started with.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ConfigurationFacts {
    /// The words of `Entrypoint`.
    pub entrypoint: Setting<Vec<String>>,
    /// The words of `Cmd`.
    pub cmd: Setting<Vec<String>>,
    /// The environment by name, the last entry of a name counts.
    #[serde(serialize_with = "shown::first_of_map")]
    pub env: BTreeMap<String, Setting<String>>,
    /// As written, empty for the default.
    pub user: Setting<String>,
    /// The working directory.
    pub working_dir: Setting<String>,
    /// The volumes' paths.
    #[serde(serialize_with = "shown::first_of_list")]
    pub volumes: Vec<Setting<String>>,
    /// The words of `Shell`, empty for the default.
    pub shell: Setting<Vec<String>>,
    /// Labels by name.
    #[serde(serialize_with = "shown::first_of_map")]
    pub labels: BTreeMap<String, Setting<String>>,
}

/// The user a container runs as.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct User {
    /// As the configuration has it, empty for the default.
    pub given: String,
    /// The user id: what a number says, else by `/etc/passwd`; `None` if there is no such user.
    pub uid: Option<u32>,
    /// The group id: what a number says, else by `/etc/group` or `/etc/passwd`; `None` if there is no such group.
    pub gid: Option<u32>,
    /// The ids of the other groups: those of `/etc/group` that list the user's name, unless `USER` names a group.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<u32>,
    /// Why engines refuse to start a container as this user, a sentence without its full stop.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
    /// The name by `/etc/passwd`.
    pub name: Option<String>,
    /// The home folder by `/etc/passwd`.
    pub home: Option<String>,
    /// The field that says so.
    pub place: Place,
}

/// `PATH` as a container gets it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SearchPath {
    /// The folders in order, as written.
    pub folders: Vec<String>,
    /// What each of them is, in the same order.
    pub entries: Vec<PathEntry>,
    /// Whether it is the engine's default because `Env` has no `PATH`.
    pub is_default: bool,
    /// The field that sets it.
    pub place: Place,
}

/// One entry of `PATH`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PathEntry {
    /// As written.
    pub folder: String,
    /// What is there.
    pub state: EntryState,
    /// The folder it leads to through links, when it is another.
    pub target: Option<String>,
    /// An earlier entry that leads to the same folder.
    pub same_as: Option<String>,
}

/// What an entry of `PATH` is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EntryState {
    /// A folder.
    Folder,
    /// Nothing is there.
    #[default]
    Missing,
    /// Something that is no folder.
    NotAFolder,
    /// Relative to the work folder, whichever that is.
    Relative,
    /// Empty, which means the work folder.
    Empty,
    /// A folder that the user may not enter.
    Closed,
}

/// What became of looking for one command on `PATH`. What is empty is left out of the report, for there are many.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Command {
    /// Whether it can be run.
    pub state: CommandState,
    /// The first hit on `PATH`; for a missing command, the field that sets `PATH`.
    pub place: Place,
    /// The file that the hit leads to through links, when it is another.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// Why it cannot be run, or where it was looked for: a sentence without its full stop.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// What kind of program the hit is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub program: Option<Program>,
    /// Its version, where a file tells it; of commands that steps need only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<Fact<versions::ToolVersion>>,
    /// Files of the same name in later folders of `PATH`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub hides: Vec<String>,
    /// The first of those that can be run, of a command that cannot.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usable_behind: Option<String>,
    /// The types of steps that need it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub needed_by: Vec<String>,
    /// Whether the kernel starts it with more than its caller has, or refuses to: set-user-ID, set-group-ID or file
    /// capabilities. Where new privileges are not allowed it is started otherwise.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub is_privileged: bool,
    /// What scripts of bash get for it, where that is something else.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub in_bash: Option<InBash>,
    /// Whether what was found is a folder or a data file, which nobody means to run.
    #[serde(skip)]
    pub is_no_program: bool,
    /// Whether it is a file that only shells may run, as a script of their own.
    #[serde(skip)]
    pub is_for_shells: bool,
}

/// What became of looking for a command as a script of bash does: along the `PATH` that it has, where a text without `#!` is
/// a script, too.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct InBash {
    /// Whether it can be run.
    pub state: CommandState,
    /// Why it cannot be run, or where it was looked for: a sentence without its full stop.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// The first hit; for a missing command, where `PATH` is set.
    pub place: Place,
}

/// What the kernel needs to know of a program to start it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Program {
    /// The architecture of an ELF file in Go's words; nothing for a script.
    pub architecture: Option<String>,
    /// Who starts it: PT_INTERP of an ELF file, what follows `#!` of a script; nothing for a static program.
    pub interpreter: Option<String>,
    /// The libraries it names (DT_NEEDED), in order.
    pub needed: Vec<String>,
    /// The level of x86-64 that it is marked as needing, such as `x86-64-v2`, where that is more than the baseline.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub level: Option<String>,
}

/// Whether a command can be run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CommandState {
    /// A program for this platform, executable, its interpreter and its libraries there.
    Usable,
    /// On `PATH`, but it cannot be run.
    Unusable,
    /// In no folder of `PATH`.
    #[default]
    Missing,
    /// On `PATH`, but whether it can be run could not be told.
    Unknown,
}
