//! Which package has what a program needs, by distribution and release (`rules/tables/packages.toml`).

use std::collections::BTreeMap;
use std::sync::OnceLock;

use serde::Deserialize;

use super::{Source, System};
use crate::toml_file;

const FILE: &str = "rules/tables/packages.toml";
const TEXT: &str = include_str!("../../rules/tables/packages.toml");

/// The whole table.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Packages {
    /// What it lists.
    pub title: String,
    /// The day it was last held against its sources, `YYYY-MM-DD`.
    pub read: String,
    /// Where it comes from.
    pub sources: Vec<Source>,
    /// How packages are installed.
    pub manager: Vec<Manager>,
    /// The distributions.
    pub distribution: Vec<Distribution>,
}

/// A package manager.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Manager {
    /// Its command.
    pub command: String,
    /// The Dockerfile instruction; `{packages}` stands for the names.
    pub instruction: String,
}

/// The packages of one distribution.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Distribution {
    /// Its os-release `ID`.
    pub id: String,
    /// Its package managers, the usual one first.
    pub managers: Vec<String>,
    /// Packages by component, where their names are the same in every release.
    #[serde(default)]
    pub packages: BTreeMap<String, String>,
    /// Packages by release, then by component; these go before the others.
    #[serde(default)]
    pub release: BTreeMap<String, BTreeMap<String, String>>,
}

/// The table, read when it is first asked for.
///
/// # Errors
/// The table is broken; a test holds that the one imglint is built with is not.
pub fn packages() -> Result<&'static Packages, &'static toml_file::Error> {
    static TABLE: OnceLock<Result<Packages, toml_file::Error>> = OnceLock::new();
    TABLE.get_or_init(|| toml_file::parse(FILE, TEXT)).as_ref()
}

impl Packages {
    /// The instruction that installs components on a system of which `is_there` tells the commands. Nothing where a
    /// package's name is not known, or no package manager of the distribution is there.
    #[must_use]
    pub fn install(
        &self,
        system: System<'_>,
        is_there: impl Fn(&str) -> bool,
        components: &[String],
    ) -> Option<String> {
        let distribution = self.distribution(system)?;
        let mut names: Vec<&str> = Vec::new();
        for component in components {
            let name = distribution.package(system, component)?;
            if !names.contains(&name) {
                names.push(name);
            }
        }
        if names.is_empty() {
            return None;
        }
        let usable = |manager: &&Manager| is_there(&manager.command);
        let of = |command: &String| self.manager.iter().find(|manager| manager.command == *command);
        let manager = distribution.managers.iter().filter_map(of).find(usable)?;
        Some(manager.instruction.replace("{packages}", &names.join(" ")))
    }

    fn distribution(&self, system: System<'_>) -> Option<&Distribution> {
        let of = |id: &str| self.distribution.iter().find(|known| known.id == id);
        of(system.id).or_else(|| system.id_like.iter().find_map(|id| of(id)))
    }
}

impl Distribution {
    fn package(&self, system: System<'_>, component: &str) -> Option<&str> {
        let version = system.version.unwrap_or_default();
        let fits = |release: &&String| {
            version.strip_prefix(release.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        let release = self.release.keys().find(fits).and_then(|release| self.release.get(release));
        release
            .and_then(|packages| packages.get(component))
            .or_else(|| self.packages.get(component))
            .map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn install(id: &str, like: &[&str], version: Option<&str>, there: &[&str], components: &[&str]) -> Option<String> {
        let id_like: Vec<String> = like.iter().map(|id| (*id).to_owned()).collect();
        let components: Vec<String> = components.iter().map(|name| (*name).to_owned()).collect();
        let system = System { id, id_like: &id_like, version };
        packages().unwrap().install(system, |name| there.contains(&name), &components)
    }

    #[test]
    fn names_follow_the_distribution_and_its_release() {
        let with = |id, version, manager| install(id, &[], Some(version), &[manager], &["icu", "openssl"]).unwrap();
        assert!(with("debian", "11", "apt-get").contains(" libicu67 libssl1.1 "));
        assert!(with("debian", "12", "apt-get").contains(" libicu72 libssl3 "));
        assert!(with("debian", "13", "apt-get").contains(" libicu76 libssl3t64 "));
        assert!(with("ubuntu", "24.04", "apt-get").contains(" libicu74 libssl3t64 "));
        let old = |version| install("debian", &[], Some(version), &["apt-get"], &["icu-70", "openssl-1.1"]);
        assert!(old("11").is_some_and(|line| line.contains(" libicu67 libssl1.1 ")) && old("12").is_none());
        assert!(with("fedora", "43", "dnf").starts_with("RUN dnf install -y libicu openssl-libs"));
        let rocky = install("rocky", &["rhel", "centos", "fedora"], Some("9.4"), &["microdnf"], &["icu"]).unwrap();
        assert!(rocky.starts_with("RUN microdnf install -y libicu"), "{rocky}");
    }

    #[test]
    fn what_is_not_known_is_not_guessed() {
        let all = ["apt-get", "dnf"];
        assert_eq!(install("debian", &[], None, &all, &["icu"]), None, "testing and unstable have no release");
        assert_eq!(install("debian", &[], Some("12"), &[], &["icu"]), None, "distroless has no package manager");
        assert_eq!(install("nixos", &[], Some("24"), &all, &["icu"]), None);
        assert_eq!(install("linuxmint", &["ubuntu", "debian"], Some("22"), &all, &["icu"]), None);
        assert_eq!(install("debian", &[], Some("12"), &all, &[]), None);
        assert_eq!(install("debian", &[], Some("12"), &all, &["nothing like it"]), None);
    }

    #[test]
    fn the_table_is_whole() {
        let table = packages().unwrap();
        assert!(!table.title.is_empty() && table.read.len() == 10 && !table.sources.is_empty());
        for manager in &table.manager {
            assert!(manager.instruction.starts_with("RUN ") && manager.instruction.contains("{packages}"));
        }
        for distribution in &table.distribution {
            for name in &distribution.managers {
                assert!(table.manager.iter().any(|manager| manager.command == *name), "{name} is no [[manager]]");
            }
        }
    }
}
