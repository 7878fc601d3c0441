//! Where tools are installed off `PATH`, and which packages tell their versions (`rules/tables/tools.toml`).

use std::sync::OnceLock;

use serde::Deserialize;

use super::Source;
use crate::toml_file;

const FILE: &str = "rules/tables/tools.toml";
const TEXT: &str = include_str!("../../rules/tables/tools.toml");

/// The whole table.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Tools {
    /// What it lists.
    pub title: String,
    /// The day it was last held against its sources, `YYYY-MM-DD`.
    pub read: String,
    /// Where it comes from.
    pub sources: Vec<Source>,
    /// What installs tools into folders of its own.
    pub manager: Vec<Manager>,
    /// What tells the versions of tools.
    pub version: Vec<VersionOf>,
}

/// Something that installs tools into folders of its own.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Manager {
    /// What people call it.
    pub name: String,
    /// Where it may be: `~` is a home folder, `*` any name.
    pub folders: Vec<String>,
    /// The environment variable that says where it is.
    #[serde(default)]
    pub variable: Option<String>,
    /// The folders with its commands, below its own; `*` is any name.
    pub bins: Vec<String>,
    /// The folder, below its own, whose scripts do no more than start its program.
    #[serde(default)]
    pub shims: Option<String>,
    /// The name of that program.
    #[serde(default)]
    pub shim_of: Option<String>,
    /// The file, below its folder, that names the version that counts where there are several.
    #[serde(default)]
    pub chosen: Option<String>,
    /// The file, below its folder, that says which version is installed.
    #[serde(default)]
    pub version_file: Option<String>,
    /// What stands in lines of shell files that put it on `PATH`.
    #[serde(default)]
    pub marks: Vec<String>,
    /// Whether only commands that a step type needs count.
    #[serde(default)]
    pub only_known: bool,
}

/// What tells the version of a tool.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct VersionOf {
    /// The tool's command.
    pub command: String,
    /// Packages of dpkg or apk.
    #[serde(default)]
    pub packages: Vec<String>,
    /// The name in Python's `NAME-VERSION.dist-info`.
    #[serde(default)]
    pub python: Option<String>,
}

/// The table, read when it is first asked for.
///
/// # Errors
/// The table is broken; a test holds that the one imglint is built with is not.
pub fn tools() -> Result<&'static Tools, &'static toml_file::Error> {
    static TABLE: OnceLock<Result<Tools, toml_file::Error>> = OnceLock::new();
    TABLE.get_or_init(|| toml_file::parse(FILE, TEXT)).as_ref()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_whole() {
        let table = tools().unwrap();
        assert!(!table.title.is_empty() && table.read.len() == 10 && !table.sources.is_empty());
        for manager in &table.manager {
            assert!(manager.folders.iter().all(|folder| folder.starts_with(['/', '~'])), "{}", manager.name);
            assert!(manager.bins.iter().all(|bin| !bin.starts_with('/')), "{}", manager.name);
        }
    }
}
