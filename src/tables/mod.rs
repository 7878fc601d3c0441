//! Tables of numbers and names that change without a compiler: `rules/tables/`, each with its sources and date.

pub mod distributions;
pub mod dotnet;
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
