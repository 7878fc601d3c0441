//! Programs that will run in the image, and what its files predict of them: does it start, does it reach culture data
//! and cryptography, and if not, why.

mod collect;
mod cryptography;
mod cultures;
mod folders;
mod frameworks;
mod globalization;
mod host;
mod hosting;
mod loading;
mod start;
mod variables;

use serde::{Deserialize, Serialize};

use crate::verdict::{Outcome, Place};

pub use collect::{Surroundings, programs};
pub use start::{privileges, starts};

/// One program and what the image's files predict of it (contract: `facts.programs`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ProgramFact {
    /// `dotnet 8.0` for a program that is only described, `payload` for one that will be mounted, else its path.
    pub program: String,
    /// Where the program is in the image, or will be mounted.
    pub path: Option<String>,
    /// What is known of it as a .NET program; nothing for others.
    pub dotnet: Option<DotnetFact>,
    /// Whether it starts.
    pub start: Outcome,
    /// Whether it reaches culture data.
    pub globalization: Outcome,
    /// Whether it reaches cryptography.
    pub cryptography: Outcome,
    /// The libraries that stop it, by soname.
    pub missing: Vec<String>,
    /// What is wrong, in the order of the stages.
    pub problems: Vec<Problem>,
    /// Every library that was asked for, in the order of loading.
    pub libraries: Vec<LibraryFact>,
    /// The highest level of x86-64 that it, its loader or one of its libraries is marked as needing, where that is more than
    /// the baseline.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub level: Option<Level>,
}

/// A level of x86-64 (x86-64 psABI, "Micro-Architecture Levels").
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Level {
    /// `x86-64-v2`, `x86-64-v3` or `x86-64-v4`.
    pub level: String,
    /// The file that is marked.
    pub place: Place,
}

impl Level {
    /// The level of a number; nothing for the baseline.
    #[must_use]
    pub fn of(number: u8, place: &Place) -> Option<Self> {
        (number > 1).then(|| Self { level: format!("x86-64-v{number}"), place: place.clone() })
    }
}

impl ProgramFact {
    fn outcome(&self, stage: Stage) -> Outcome {
        match stage {
            Stage::Start => self.start,
            Stage::Globalization => self.globalization,
            Stage::Cryptography => self.cryptography,
        }
    }
}

impl Default for ProgramFact {
    fn default() -> Self {
        Self {
            program: String::new(),
            path: None,
            dotnet: None,
            start: Outcome::Unknown,
            globalization: Outcome::NotApplicable,
            cryptography: Outcome::NotApplicable,
            missing: Vec::new(),
            problems: Vec::new(),
            libraries: Vec::new(),
            level: None,
        }
    }
}

/// What is known of a .NET program.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DotnetFact {
    /// The release it runs on, such as `8.0`.
    pub version: Option<String>,
    /// How that is known, a sentence.
    pub known_by: String,
    /// How it is laid out.
    pub shape: Shape,
    /// Whether it writes files of its own to the home folder before it starts.
    pub extracts: bool,
    /// Whether globalization is off.
    pub invariant: bool,
    /// What decides that, a sentence; nothing when it is the default.
    pub invariant_by: Option<String>,
    /// The ICU version that it loads, such as `72`.
    pub icu: Option<String>,
    /// The OpenSSL library that it loads, such as `libssl.so.3`.
    pub openssl: Option<String>,
}

/// How a .NET program is laid out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Shape {
    /// A folder that holds the runtime, too.
    #[default]
    Folder,
    /// One file that holds the runtime, too.
    SingleFile,
    /// A folder without the runtime, which is started by a `dotnet` program.
    FrameworkDependent,
}

/// The stages of a program that can fail one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// The kernel, the loader and the .NET host.
    Start,
    /// Culture data.
    Globalization,
    /// Hashes, ciphers, TLS.
    Cryptography,
}

/// One thing that is wrong with an image for a program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Problem {
    /// What it is.
    pub kind: ProblemKind,
    /// The stage that it ends; nothing for one that the program survives.
    #[serde(default)]
    pub stage: Option<Stage>,
    /// Fail, or unknown where it could not be told.
    #[serde(default = "fail")]
    pub outcome: Outcome,
    /// A whole sentence without its full stop: what, who asks for it, where it was looked for.
    pub statement: String,
    /// Where it can be seen.
    #[serde(default)]
    pub place: Place,
    /// What has to be installed to mend it, in the words of `rules/tables/packages.toml`; nothing where that does not help.
    #[serde(default)]
    pub component: Option<String>,
}

fn fail() -> Outcome {
    Outcome::Fail
}

/// The kinds of problems. Rules pick the ones that they speak of (`rules/README.md`, `kind = "program"`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProblemKind {
    /// The program is not there, not executable, for another processor, or lacks files of its own.
    ProgramUnusable,
    /// The program's loader is not there or cannot be used.
    LoaderMissing,
    /// A library that it needs to be loaded is not found, or what is found cannot be loaded.
    LibraryMissing,
    /// The C library lacks a symbol version that is needed.
    GlibcVersionMissing,
    /// The C library is older than the oldest one that .NET is supported on.
    GlibcBelowMinimum,
    /// Another library lacks a symbol version that is needed.
    SymbolVersionMissing,
    /// No library that is loaded defines a symbol that is needed.
    SymbolMissing,
    /// There is no ICU library.
    IcuMissing,
    /// There is an ICU library, but not one that this .NET can use.
    IcuUnusable,
    /// Globalization is off by the image's environment.
    GlobalizationInvariant,
    /// There is no OpenSSL library that this .NET can use.
    OpensslMissing,
    /// The configuration of OpenSSL leaves no ciphers.
    OpensslWithoutCiphers,
    /// There is no zlib for compression.
    ZlibMissing,
    /// There is no folder for temporary files that can be written to.
    TempFolderMissing,
    /// The home folder, where the program extracts itself, cannot be written to.
    HomeNotWritable,
    /// A variable of the environment keeps the runtime from starting programs.
    VariableHarmful,
    /// A variable of the environment has foreign code run inside of programs.
    StartupHook,
}

/// What became of one library that was asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LibraryFact {
    /// The name that was asked for.
    pub name: String,
    /// The path of the file that asked for it.
    pub needed_by: String,
    /// Where it was found, as the loader opens it.
    pub found: Option<String>,
    /// How it was found (`ld.so.cache`, `RUNPATH of /x`, …), or why it was not.
    pub how: String,
    /// The file, and the layer that gives it.
    pub place: Place,
    /// Where it was looked for, when it was not found.
    pub looked_in: Vec<String>,
}

/// What facts are wanted for beside the image itself: programs and steps that will run in it, hosts it will run on.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// The types of steps that are meant to run in a Windows image: what only others need is not fetched.
    pub steps: Vec<String>,
    /// Hosts that a Windows image is meant to run on, as they are named.
    pub hosts: Vec<String>,
    /// Releases of .NET of which a program is only described, such as `8.0`.
    pub releases: Vec<String>,
    /// Paths of programs in the image.
    pub paths: Vec<String>,
    /// A folder that will be mounted into the image.
    pub payload: Option<Payload>,
    /// The user that containers are started as, in place of the image's own.
    pub user: Option<String>,
}

/// A folder of this machine that will be mounted into the image.
#[derive(Clone, Debug)]
pub struct Payload {
    /// Its content, all paths below [`PAYLOAD_FOLDER`].
    pub index: std::sync::Arc<crate::layer::LayerIndex>,
    /// The words of the command line that will be run; nothing to look for the program.
    pub command: Option<Vec<String>>,
}

/// Where a payload is taken to be mounted, without leading slash.
pub const PAYLOAD_FOLDER: &str = "payload";
