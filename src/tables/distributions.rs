//! The Linux distributions that .NET is supported on (`rules/tables/distributions.toml`).

use std::collections::BTreeMap;
use std::sync::OnceLock;

use serde::Deserialize;

use super::{Source, System};
use crate::toml_file;

const FILE: &str = "rules/tables/distributions.toml";
const TEXT: &str = include_str!("../../rules/tables/distributions.toml");

/// The whole table.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Distributions {
    /// What it lists.
    pub title: String,
    /// The day it was last held against its sources, `YYYY-MM-DD`.
    pub read: String,
    /// Where it comes from.
    pub sources: Vec<Source>,
    /// One entry for each .NET release.
    pub dotnet: Vec<Dotnet>,
    /// What is known of each distribution whatever the release.
    pub distribution: Vec<Distribution>,
}

/// What one .NET release supports.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Dotnet {
    /// The release, such as `8.0`.
    pub version: String,
    /// The day its own support ends.
    pub end_of_life: String,
    /// The list it was read from.
    pub source: String,
    /// The date that list carries.
    pub dated: String,
    /// Supported versions by os-release `ID`, the newest first.
    pub supported: BTreeMap<String, Vec<String>>,
}

/// What is known of one distribution.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Distribution {
    /// Its os-release `ID`.
    pub id: String,
    /// Its name.
    pub name: String,
    /// The `ID`s of others that are supported as this one.
    #[serde(default)]
    pub compatible: Vec<String>,
    /// Whether others whose `PLATFORM_ID` names this one are supported as this one. `ID_LIKE` does not do: many that are
    /// like it number their releases themselves.
    #[serde(default)]
    pub compatible_by_platform: bool,
    /// What else is worth knowing.
    #[serde(default)]
    pub note: Option<String>,
    /// The day support ended, by version.
    #[serde(default)]
    pub end_of_life: BTreeMap<String, String>,
}

/// What a .NET release says of one system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing<'a> {
    /// The listed distribution that the system is or counts as; nothing when none is listed.
    pub counts_as: Option<&'a str>,
    /// Whether it only counts as it, being compatible.
    pub is_derivative: bool,
    /// The version of that distribution that the system is or counts as.
    pub version: Option<&'a str>,
    /// The supported versions of that distribution.
    pub supported_versions: &'a [String],
    /// Whether the system's version is one of them.
    pub is_supported: bool,
    /// The day support of this version of the distribution ended, where that is known.
    pub end_of_life: Option<&'a str>,
}

/// The table, read when it is first asked for.
///
/// # Errors
/// The table is broken; a test holds that the one imglint is built with is not.
pub fn distributions() -> Result<&'static Distributions, &'static toml_file::Error> {
    static TABLE: OnceLock<Result<Distributions, toml_file::Error>> = OnceLock::new();
    TABLE.get_or_init(|| toml_file::parse(FILE, TEXT)).as_ref()
}

impl Distributions {
    /// The entry of a .NET release.
    #[must_use]
    pub fn release(&self, version: &str) -> Option<&Dotnet> {
        self.dotnet.iter().find(|dotnet| dotnet.version == version)
    }

    /// How a system stands with a .NET release.
    #[must_use]
    pub fn standing<'a>(&'a self, dotnet: &'a Dotnet, system: System<'a>) -> Standing<'a> {
        let own = self.distribution.iter().find(|known| known.id == system.id);
        let like = || self.distribution.iter().find(|known| known.counts(&system));
        let distribution = own.or_else(like);
        // What a derivative calls its release need not be that of what it is built as.
        let release =
            system.built_as().filter(|(id, _)| own.is_none() && distribution.is_some_and(|as_| as_.id == *id));
        let version = match (release, system.version) {
            (Some((_, release)), Some(version)) if is_within(version, release) => Some(version),
            (Some((_, release)), _) => Some(release),
            (None, version) => version,
        };
        let supported_versions = distribution.and_then(|known| dotnet.supported.get(&known.id));
        let supported_versions = supported_versions.map_or(&[][..], Vec::as_slice);
        let covers = |listed: &str| version.is_some_and(|version| is_within(version, listed));
        Standing {
            counts_as: distribution.map(|known| known.name.as_str()),
            is_derivative: own.is_none() && distribution.is_some(),
            version,
            supported_versions,
            is_supported: supported_versions.iter().any(|listed| covers(listed)),
            end_of_life: distribution.and_then(|known| {
                known.end_of_life.iter().find(|(listed, _)| covers(listed)).map(|(_, day)| day.as_str())
            }),
        }
    }
}

impl Distribution {
    fn counts(&self, system: &System<'_>) -> bool {
        self.compatible.iter().any(|id| id == system.id)
            || (self.compatible_by_platform && system.built_as().is_some_and(|(id, _)| id == self.id))
    }
}

/// Whether `version` is `listed` or a point release of it.
fn is_within(version: &str, listed: &str) -> bool {
    version.strip_prefix(listed).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn standing<'a>(dotnet: &str, id: &'a str, version: &'a str, platform: &'a str) -> Standing<'a> {
        let table = distributions().unwrap();
        let system = System { id, version: Some(version), platform: Some(platform), ..System::default() };
        table.standing(table.release(dotnet).unwrap(), system)
    }

    fn is_supported(dotnet: &str, id: &str, version: &str, platform: &str) -> bool {
        standing(dotnet, id, version, platform).is_supported
    }

    #[test]
    fn point_releases_count_as_their_release() {
        assert!(is_supported("8.0", "rhel", "9.4", "platform:el9"));
        assert!(is_supported("6.0", "alpine", "3.20.3", ""));
        assert!(!is_supported("8.0", "alpine", "3.2", ""));
        assert!(!is_supported("8.0", "alpine", "3.23_alpha20250612", ""), "a pre-release");
        assert!(is_supported("8.0", "sles", "15.7", ""));
    }

    #[test]
    fn derivatives_of_rhel_count_as_rhel_and_others_do_not() {
        assert!(is_supported("8.0", "rocky", "9.4", "platform:el9"));
        assert!(is_supported("8.0", "ol", "8.10", "platform:el8"));
        assert!(is_supported("8.0", "ol", "8.10", ""), "an old one of a family that is known");
        assert!(is_supported("8.0", "navylinux", "8.6", "platform:el8"));
        assert!(!is_supported("8.0", "linuxmint", "22", ""));
        assert!(!is_supported("8.0", "centos", "8", "platform:el8"), "CentOS has a list of its own");
    }

    #[test]
    fn distributions_that_number_their_releases_themselves_are_no_rhel() {
        // What they call a release is no release of RHEL, whatever they are like.
        for (id, version, platform) in [
            ("amzn", "2", ""),
            ("amzn", "2018.03", ""),
            ("xenenterprise", "8.2.0", ""),
            ("nobara", "40", "platform:f40"),
            ("bazzite", "40", "platform:f40"),
            ("alinux", "3", "platform:al8"),
            ("tencentos", "3.1", ""),
            ("anolis", "23", "platform:an23"),
            ("hummingbird", "20251124", "platform:el"),
        ] {
            assert_eq!(standing("8.0", id, version, platform).counts_as, None, "{id} {version}");
        }
        let own = standing("8.0", "mylinux", "3.1", "platform:el9");
        assert_eq!((own.counts_as, own.version, own.is_supported), (Some("Red Hat Enterprise Linux"), Some("9"), true));
    }

    #[test]
    fn the_day_of_the_end_is_known() {
        let standing = standing("8.0", "ubuntu", "20.04", "");
        assert_eq!(standing.end_of_life, Some("2025-05-31"));
        assert!(!standing.is_supported);
    }

    #[test]
    fn the_table_is_whole() {
        let is_day = |day: &str| day.len() == 10 && day.split('-').all(|part| part.parse::<u16>().is_ok());
        let table = distributions().unwrap();
        assert!(is_day(&table.read) && !table.title.is_empty() && !table.sources.is_empty());
        assert!(table.sources.iter().all(|source| source.url.starts_with("https://") && !source.says.is_empty()));
        for dotnet in &table.dotnet {
            assert!(is_day(&dotnet.end_of_life) && dotnet.source.starts_with("https://"), "{}", dotnet.version);
            for id in dotnet.supported.keys() {
                assert!(table.distribution.iter().any(|known| known.id == *id), "{id} has no [[distribution]]");
            }
        }
        for known in &table.distribution {
            assert!(known.end_of_life.values().all(|day| is_day(day)), "{}", known.id);
        }
    }
}
