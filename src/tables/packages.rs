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
    /// The `ID`s of others that have the same packages in releases of the same numbers.
    #[serde(default)]
    pub same: Vec<String>,
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

/// How components are installed on one system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Install {
    /// The Dockerfile instruction; `None` where the system's package manager is not there.
    pub instruction: Option<String>,
    /// The packages, in the order of the components.
    pub packages: Vec<String>,
    /// The components of which the package's name is not known.
    pub unknown: Vec<String>,
}

impl Packages {
    /// How to install components on a system of which `is_there` says which commands it has. `None` where no package of
    /// them is known.
    #[must_use]
    pub fn install(
        &self,
        system: System<'_>,
        is_there: impl Fn(&str) -> bool,
        components: &[String],
    ) -> Option<Install> {
        let (distribution, release) = self.distribution(system)?;
        let (mut packages, mut unknown): (Vec<String>, Vec<String>) = (Vec::new(), Vec::new());
        for component in components {
            let name = distribution.package(release, component);
            let (list, text) = name.map_or((&mut unknown, component.as_str()), |name| (&mut packages, name));
            if !list.iter().any(|known| known == text) {
                list.push(text.to_owned());
            }
        }
        if packages.is_empty() {
            return None;
        }
        let of = |command: &String| self.manager.iter().find(|manager| manager.command == *command);
        let manager = distribution.managers.iter().filter_map(of).find(|manager| is_there(&manager.command));
        let instruction = manager.map(|manager| manager.instruction.replace("{packages}", &packages.join(" ")));
        Some(Install { instruction, packages, unknown })
    }

    /// Whether the packages of a system are those of RPM distributions with dnf.
    #[must_use]
    pub fn has_dnf(&self, system: System<'_>) -> bool {
        self.distribution(system).is_some_and(|(distribution, _)| distribution.managers.iter().any(|one| one == "dnf"))
    }

    /// The entry of a system, and its release in the numbers of that entry: a system that is only like another one may number
    /// its releases itself.
    fn distribution<'a>(&'a self, system: System<'a>) -> Option<(&'a Distribution, &'a str)> {
        let of = |id: &str| self.distribution.iter().find(|known| known.id == id);
        let same = |id: &str| self.distribution.iter().find(|known| known.same.iter().any(|same| same == id));
        if let Some(own) = of(system.id).or_else(|| same(system.id)) {
            return Some((own, system.version.unwrap_or_default()));
        }
        if let Some((built_as, release)) = system.built_as().and_then(|(id, release)| Some((of(id)?, release))) {
            return Some((built_as, release));
        }
        system.id_like.iter().find_map(|id| of(id).or_else(|| same(id))).map(|like| (like, ""))
    }
}

impl Distribution {
    fn package(&self, version: &str, component: &str) -> Option<&str> {
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
        let system = System { id, id_like: &id_like, version, platform: None };
        packages().unwrap().install(system, |name| there.contains(&name), &components)?.instruction
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
        assert_eq!(install("clear-linux-os", &[], Some("43000"), &["swupd"], &["icu"]), None);
        assert_eq!(install("nixos", &[], Some("24"), &all, &["icu"]), None);
        assert_eq!(install("linuxmint", &["ubuntu", "debian"], Some("22"), &all, &["icu"]), None);
        assert_eq!(install("debian", &[], Some("12"), &all, &[]), None);
        assert_eq!(install("debian", &[], Some("12"), &all, &["nothing like it"]), None);
    }

    #[test]
    fn more_distributions_have_names_of_their_own() {
        let icu = |id, like: &[&str], version, manager| install(id, like, version, &[manager], &["icu"]).unwrap();
        assert!(icu("mariner", &[], Some("2.0"), "tdnf").starts_with("RUN tdnf install -y icu "));
        assert!(icu("photon", &[], Some("5.0"), "tdnf").starts_with("RUN tdnf install -y icu "));
        assert_eq!(icu("wolfi", &[], Some("20230201"), "apk"), "RUN apk add --no-cache icu-libs");
        assert_eq!(icu("chainguard", &[], Some("20230201"), "apk"), "RUN apk add --no-cache icu-libs");
        assert!(icu("arch", &[], None, "pacman").starts_with("RUN pacman -Syu --noconfirm icu "));
        assert!(icu("manjaro", &["arch"], None, "pacman").contains(" icu "));
        assert!(icu("gentoo", &[], Some("2.17"), "emerge").contains(" dev-libs/icu "));
        for (id, like) in [
            ("opensuse-leap", &["suse", "opensuse"][..]),
            ("sles", &["suse"]),
            ("opensuse-tumbleweed", &["opensuse", "suse"]),
        ] {
            assert!(icu(id, like, Some("15.6"), "zypper").contains(" install libicu "), "{id}");
        }
        assert!(icu("amzn", &["centos", "rhel", "fedora"], Some("2"), "yum").starts_with("RUN yum install -y libicu"));
        let xxd = |id, version, manager| install(id, &[], Some(version), &[manager], &["xxd"]).unwrap();
        assert!(xxd("debian", "12", "apt-get").contains(" xxd "));
        assert!(xxd("rhel", "9.4", "microdnf").contains(" vim-common "));
    }

    #[test]
    fn what_is_only_like_another_has_no_release_of_it() {
        let old = |id, version, platform| {
            let system = System { id, id_like: &["rhel".to_owned()], version: Some(version), platform };
            let install = packages().unwrap().install(system, |_| true, &["openssl-1.1".to_owned()]);
            install.and_then(|install| install.instruction).is_some()
        };
        assert!(!old("xenenterprise", "8.2.0", None), "it is built from CentOS 7");
        assert!(old("mylinux", "3", Some("platform:el8")));
        let pure = install("pureos", &["debian"], Some("10"), &["apt-get"], &["icu"]);
        assert_eq!(pure, None, "PureOS 10 is made from Debian 11");
        assert!(install("raspbian", &["debian"], Some("12"), &["apt-get"], &["icu"]).is_some());
    }

    #[test]
    fn an_unknown_component_does_not_discard_the_others() {
        let components = ["hostname", "nothing like it", "findutils"].map(str::to_owned);
        let system = System { id: "azurelinux", version: Some("3.0"), ..System::default() };
        let install = packages().unwrap().install(system, |name| name == "tdnf", &components).unwrap();
        assert!(install.instruction.unwrap().starts_with("RUN tdnf install -y hostname findutils "));
        assert_eq!(install.unknown, ["nothing like it"]);
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
