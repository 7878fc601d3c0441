//! Variables of the environment that keep a .NET runtime from starting a program (`[[variable]]` in
//! `rules/tables/dotnet.toml`).

use serde::Deserialize;

/// A variable that runtimes read.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Variable {
    /// Its name, without the prefix unless `is-whole`.
    pub name: String,
    /// Whether `name` is all of its name. If not, runtimes read it with each prefix of their release.
    #[serde(default)]
    pub is_whole: bool,
    /// The first release that reads it.
    pub since: String,
    /// The last release that reads it; nothing for one that the newest reads, too.
    #[serde(default)]
    pub until: Option<String>,
    /// What it does.
    pub effect: Effect,
    /// Variables that switch it off when they are 0; the prefix is left out.
    #[serde(default)]
    pub unless_zero: Vec<String>,
    /// A variable without which it does nothing, or which is 0; the prefix is left out.
    #[serde(default)]
    pub only_with: Option<String>,
    /// Whether single files do not read it, because they hold what it names.
    #[serde(default)]
    pub not_in_single_files: bool,
    /// What becomes of the program: the end of a sentence.
    pub then: String,
    /// Where that is written.
    pub source: String,
}

/// When a variable keeps programs from starting. Numbers are hexadecimal, as the runtime reads them.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", rename_all_fields = "kebab-case", tag = "kind")]
pub enum Effect {
    /// It names assemblies that have to be there.
    StartupHooks,
    /// It names ports that the runtime waits at.
    DiagnosticPorts,
    /// It is a number other than 0.
    NotZero,
    /// It is a number that is too small or too large.
    Number(Limits),
    /// It is set, and not all of these are.
    Alone {
        /// The names of the others, without prefix.
        with: Vec<String>,
    },
    /// It is set to other than 0; what comes of it depends on the host if another variable is set, too.
    NotZeroWithout {
        /// The other, without prefix.
        with: String,
    },
    /// It is no list of processor numbers.
    Processors,
    /// It names a library next to the runtime's own that is not there.
    Library {
        /// Libraries of the runtime itself that may be named.
        own: Vec<OwnLibrary>,
    },
    /// If it is set, a library next to the runtime's own has to be there.
    NeedsLibrary {
        /// The variable that names it, without prefix.
        named_by: String,
    },
    /// It names a file that is not there.
    File,
}

/// A library that a release has next to its runtime.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct OwnLibrary {
    /// Its file name.
    pub name: String,
    /// The first release that has it.
    pub since: String,
}

/// Which numbers a variable may have.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Limits {
    /// Below this number no program starts.
    pub fails_below: u64,
    /// From this number on programs start as well as without it. What is between depends on the program.
    pub works_from: u64,
    /// Up to this number they do, if there is a limit.
    #[serde(default)]
    pub works_to: Option<u64>,
    /// Above this number none does.
    #[serde(default)]
    pub fails_above: Option<u64>,
    /// Whether 0 is a number like others; else it stands for none.
    #[serde(default)]
    pub zero_counts: bool,
    /// Whether it has to be a power of two.
    #[serde(default)]
    pub power_of_two: bool,
}

impl Variable {
    /// Whether a release, such as `8.0`, reads it.
    #[must_use]
    pub fn is_read_by(&self, release: &str) -> bool {
        let is_over = self.until.as_deref().is_some_and(|until| order(release) > order(until));
        order(release) >= order(&self.since) && !is_over
    }
}

/// A release in an order that knows that 10 comes after 9.
#[must_use]
pub fn order(release: &str) -> Vec<u32> {
    release.split('.').map(|part| part.parse().unwrap_or(0)).collect()
}
