//! Tables of numbers and names that change without a compiler: `rules/tables/`, each with its sources and date.

pub mod distributions;
pub mod dotnet;
pub mod dotnet_variable;
pub mod packages;
pub mod steps;
pub mod tools;
pub mod windows;

use std::thread;

use serde::Deserialize;

/// Begins to read the tables that Linux images are held to, so that who asks for one later need not wait.
pub fn read_ahead() {
    thread::spawn(|| {
        // Whoever needs one is told what is wrong with it.
        let _ = (distributions::distributions(), steps::steps(), tools::tools());
        let _ = (dotnet::dotnet(), packages::packages());
    });
}

/// A Linux system in the words of os-release(5), as tables look it up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct System<'a> {
    /// `ID`.
    pub id: &'a str,
    /// The words of `ID_LIKE`.
    pub id_like: &'a [String],
    /// `VERSION_ID`.
    pub version: Option<&'a str>,
    /// `PLATFORM_ID`, such as `platform:el9`.
    pub platform: Option<&'a str>,
}

impl<'a> System<'a> {
    /// The distribution that a system is built as, and its release, by `PLATFORM_ID`: `platform:el9` is Red Hat
    /// Enterprise Linux 9, `platform:f40` is Fedora 40 (os-release(5); the identifiers are those of dnf's modules).
    #[must_use]
    pub fn built_as(&self) -> Option<(&'static str, &'a str)> {
        let platform = self.platform?.strip_prefix("platform:")?;
        [("el", "rhel"), ("f", "fedora")].into_iter().find_map(|(prefix, id)| {
            let release = platform.strip_prefix(prefix)?;
            let is_number = !release.is_empty() && release.chars().all(|c| c.is_ascii_digit() || c == '.');
            is_number.then_some((id, release))
        })
    }
}

/// Where an entry of a table or a statement of a rule comes from.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// Where it can be read.
    pub url: String,
    /// What it says, in our words.
    pub says: String,
}
