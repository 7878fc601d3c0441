//! What programs built for each .NET release need of an image (`rules/tables/dotnet.toml`).

use std::collections::BTreeMap;
use std::sync::OnceLock;

use serde::Deserialize;

use super::Source;
use super::dotnet_variable::Variable;
use crate::toml_file;

const FILE: &str = "rules/tables/dotnet.toml";
const TEXT: &str = include_str!("../../rules/tables/dotnet.toml");

/// The whole table.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct DotnetTable {
    /// What it lists.
    pub title: String,
    /// The day it was last held against its sources, `YYYY-MM-DD`.
    pub read: String,
    /// Where it comes from.
    pub sources: Vec<Source>,
    /// One entry for each release, the oldest first.
    pub release: Vec<Release>,
    /// Variables that keep a runtime from starting programs.
    pub variable: Vec<Variable>,
    /// Cultures that ICU defines.
    pub cultures: Cultures,
}

/// Cultures that ICU defines, as far as images name them.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Cultures {
    /// Every language.
    pub languages: Vec<String>,
    /// Languages in the territories where they are mostly spoken, such as `de_DE`.
    pub territories: Vec<String>,
}

/// What one .NET release needs.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Release {
    /// The release, such as `8.0`.
    pub version: String,
    /// The day its own support ends.
    pub end_of_life: String,
    /// The oldest glibc that Microsoft supports it on, by architecture; empty where none is given.
    #[serde(default)]
    pub minimum_glibc: BTreeMap<String, String>,
    /// What the runtime's own files need to be loaded.
    pub needs: Vec<Needs>,
    /// How it looks for ICU.
    pub icu: Icu,
    /// How it looks for OpenSSL.
    pub openssl: Openssl,
    /// Whether `DOTNET_SYSTEM_GLOBALIZATION_INVARIANT` outweighs the program's own setting.
    pub environment_decides_invariant: bool,
    /// Whether it does not start without a folder for temporary files, unless diagnostics are off.
    pub needs_temp_folder: bool,
    /// The variables that switch diagnostics off when they are 0.
    pub diagnostics_variables: Vec<String>,
    /// What the names of the runtime's own variables begin with; the first that is set counts.
    pub prefixes: Vec<String>,
    /// Whether compression uses the system's zlib.
    pub system_zlib: bool,
}

/// What the runtime's own files need to be loaded, on some architectures.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Needs {
    /// The architectures, in Go's words.
    pub architectures: Vec<String>,
    /// The program loader.
    pub loader: String,
    /// The libraries, by soname, in order.
    pub libraries: Vec<String>,
    /// The newest symbol versions, by library.
    pub symbol_versions: BTreeMap<String, Vec<String>>,
}

/// How a release looks for ICU (dotnet/runtime, `pal_icushim.c`).
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Icu {
    /// The oldest major version that is tried.
    pub oldest: u32,
    /// The newest.
    pub newest: u32,
    /// The newest that builds for musl try, where that is known: it follows from the ICU that they are built with.
    #[serde(default)]
    pub newest_on_musl: Option<u32>,
    /// The major version that the word `build` stands for in the variable, in releases that know the word.
    #[serde(default)]
    pub build: Option<u32>,
    /// The variable that names a version to try first.
    pub variable: String,
    /// Whether the oldest is tried before all others.
    #[serde(default)]
    pub oldest_first: bool,
    /// Whether a library is taken for the version it is named for, so that one without its symbols ends the program.
    #[serde(default)]
    pub trusts_names: bool,
    /// Whether a program may bring an ICU of its own.
    pub app_local: bool,
}

/// How a release looks for OpenSSL (dotnet/runtime, `opensslshim.c`).
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Openssl {
    /// The endings of `libssl.so.` in the order in which they are tried.
    pub versions: Vec<String>,
    /// The variable that names an ending to try first.
    pub variable: String,
}

/// The table, read when it is first asked for.
///
/// # Errors
/// The table is broken; a test holds that the one imglint is built with is not.
pub fn dotnet() -> Result<&'static DotnetTable, &'static toml_file::Error> {
    static TABLE: OnceLock<Result<DotnetTable, toml_file::Error>> = OnceLock::new();
    TABLE.get_or_init(|| toml_file::parse(FILE, TEXT)).as_ref()
}

impl DotnetTable {
    /// The entry of a release.
    #[must_use]
    pub fn release(&self, version: &str) -> Option<&Release> {
        self.release.iter().find(|release| release.version == version)
    }
}

impl Release {
    /// What it needs on an architecture, if that is known.
    #[must_use]
    pub fn needs_on(&self, architecture: &str) -> Option<&Needs> {
        self.needs.iter().find(|needs| needs.architectures.iter().any(|known| known == architecture))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_whole() {
        let table = dotnet().unwrap();
        let versions: Vec<_> = table.release.iter().map(|release| release.version.as_str()).collect();
        assert_eq!(versions, ["3.1", "5.0", "6.0", "7.0", "8.0", "9.0", "10.0"]);
        for release in &table.release {
            assert!(release.icu.oldest < release.icu.newest && !release.openssl.versions.is_empty());
            for architecture in ["amd64", "arm64"] {
                let needs = release.needs_on(architecture).unwrap_or_else(|| panic!("{}", release.version));
                assert!(needs.libraries.iter().any(|library| library == "libc.so.6"));
                for library in needs.symbol_versions.keys() {
                    assert!(
                        needs.libraries.contains(library),
                        "{}: {library} is not among the libraries",
                        release.version
                    );
                }
            }
        }
    }
}
