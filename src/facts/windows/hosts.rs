//! Which hosts run an image, and which entry of an index each host's engine would take.

use serde::{Deserialize, Serialize};

use super::StatedVersion;
use crate::image::Image;
use crate::platform::Platform;
use crate::tables::windows::{WindowsBuild, WindowsTable, windows};

/// What becomes of an image on one host.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HostFact {
    /// The host as it was named.
    pub host: String,
    /// Its build number.
    pub build: u32,
    /// Whether it runs the image by process isolation; nothing where the revision decides and is not given.
    pub process: Option<bool>,
    /// Whether it runs the image by Hyper-V isolation.
    pub hyperv: bool,
    /// The os.version of the index entry that containerd takes there; nothing without an index of Windows images, or
    /// where it takes none.
    pub containerd_takes: Option<String>,
    /// The os.version of the index entry that Docker takes there; as above.
    pub docker_takes: Option<String>,
    /// Whether the image is an entry of an index with several for Windows.
    pub is_chosen_from_several: bool,
    /// Whether containerd takes this very entry there.
    pub containerd_takes_this: bool,
    /// Whether Docker takes this very entry there.
    pub docker_takes_this: bool,
}

impl HostFact {
    /// Whether engines there take other entries of the index, and none takes this one.
    #[must_use]
    pub fn takes_other(&self) -> bool {
        let takes_any = self.containerd_takes.is_some() || self.docker_takes.is_some();
        self.is_chosen_from_several && takes_any && !self.containerd_takes_this && !self.docker_takes_this
    }
}

/// The hosts that were named, or else the usual ones.
pub(super) fn hosts(image: &Image, version: &StatedVersion, named: &[String]) -> Vec<HostFact> {
    let (Ok(table), Some(build)) = (windows(), version.build) else { return Vec::new() };
    let own = WindowsBuild { build, revision: version.revision };
    let names = if named.is_empty() { &table.usual_hosts } else { named };
    let is_meant = |entry: &Platform| entry.os == "windows" && entry.architecture == image.platform.architecture;
    let (positions, entries): (Vec<usize>, Vec<&Platform>) =
        image.offered.iter().enumerate().filter(|(_, entry)| is_meant(entry)).unzip();
    // The versions of entries need not be there, and need not be different: only the place tells which one it is.
    let own_entry = image.entry.and_then(|at| positions.iter().position(|position| *position == at));
    let fact = |name: &String| {
        let host = table.host(name)?;
        let (by_containerd, by_docker) = (containerd(table, host, &entries), docker(host, &entries));
        let version = |at: usize| entries[at].os_version.clone().unwrap_or_default();
        let is_this = |taken: Option<usize>| taken.is_some() && taken == own_entry;
        Some(HostFact {
            host: name.clone(),
            build: host.build,
            process: table.runs_as_process(host, own),
            hyperv: table.runs_by_hyperv(host, own),
            containerd_takes: by_containerd.map(version),
            docker_takes: by_docker.map(version),
            is_chosen_from_several: entries.len() > 1,
            containerd_takes_this: is_this(by_containerd),
            docker_takes_this: is_this(by_docker),
        })
    };
    names.iter().filter_map(fact).collect()
}

/// Of the entries that run by process isolation the one whose version is last in the alphabet, of several with the same
/// one the first; one without a version runs anywhere (containerd/platforms, `windowsMatchComparer`).
fn containerd(table: &WindowsTable, host: WindowsBuild, entries: &[&Platform]) -> Option<usize> {
    let version = |at: usize| entries[at].os_version.as_deref().unwrap_or_default();
    let runs = |at: &usize| {
        let build = WindowsBuild::of_image(version(*at));
        version(*at).is_empty() || build.is_some_and(|build| table.runs_as_process(host, build) != Some(false))
    };
    (0..entries.len()).filter(runs).rev().max_by_key(|at| version(*at))
}

/// The first entry of the host's own build, else the first that is not newer; one without a version is not newer
/// (moby, daemon/internal/distribution/pull_v2_windows.go).
fn docker(host: WindowsBuild, entries: &[&Platform]) -> Option<usize> {
    let build = |entry: &Platform| WindowsBuild::of_image(entry.os_version.as_deref().unwrap_or_default());
    let is_own = |entry: &&Platform| build(entry).is_some_and(|build| build.build == host.build);
    let is_old = |entry: &&Platform| build(entry).is_none_or(|build| build.build <= host.build);
    entries.iter().position(is_own).or_else(|| entries.iter().position(is_old))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The versions of the entries that containerd and Docker take.
    fn taken(host: &str, versions: &[&str]) -> (Option<String>, Option<String>) {
        let version = |at: usize| versions[at].to_owned();
        let (containerd, docker) = positions(host, versions);
        (containerd.map(version), docker.map(version))
    }

    /// The positions of the entries that containerd and Docker take.
    fn positions(host: &str, versions: &[&str]) -> (Option<usize>, Option<usize>) {
        let platform = |version: &&str| Platform {
            os_version: Some((*version).to_owned()).filter(|text| !text.is_empty()),
            ..Platform::new("windows", "amd64")
        };
        let entries: Vec<Platform> = versions.iter().map(platform).collect();
        let entries: Vec<&Platform> = entries.iter().collect();
        let table = windows().unwrap();
        let host = table.host(host).unwrap();
        (containerd(table, host, &entries), docker(host, &entries))
    }

    #[test]
    fn of_entries_without_versions_or_with_the_same_one_the_first_is_taken() {
        assert_eq!(positions("ltsc2019", &["", ""]), (Some(0), Some(0)));
        assert_eq!(positions("ltsc2022", &["10.0.20348.1", "10.0.20348.1"]), (Some(0), Some(0)));
        assert_eq!(positions("ltsc2022", &["", "10.0.20348.1"]), (Some(1), Some(1)));
        assert_eq!(positions("ltsc2022", &["10.0.17763.5", "10.0.17763.7"]), (None, Some(0)));
        assert_eq!(positions("ltsc2022", &["10.0.17763.5", ""]), (Some(1), Some(0)));
        assert_eq!(positions("ltsc2022", &["ltsc2022", "20348"]), (None, Some(0)), "containerd takes no such version");
    }

    #[test]
    fn engines_take_the_entry_of_the_host() {
        let all = ["10.0.17763.3887", "10.0.20348.2227", "10.0.26100.33438"];
        for (host, number) in [("ltsc2019", 0), ("ltsc2022", 1), ("ltsc2025", 2)] {
            let own = Some(all[number].to_owned());
            assert_eq!(taken(host, &all), (own.clone(), own), "{host}");
        }
    }

    #[test]
    fn engines_differ_where_the_host_has_no_entry_of_its_own() {
        let both = ["10.0.17763.3887", "10.0.26100.33438"];
        assert_eq!(taken("ltsc2022", &both), (None, Some(both[0].to_owned())), "Docker pulls what does not start");
        assert_eq!(taken("ltsc2019", &["10.0.20348.1"]), (None, None));
        assert_eq!(taken("ltsc2025", &["10.0.20348.9", "10.0.20348.10"]).0.as_deref(), Some("10.0.20348.9"));
        assert_eq!(taken("ltsc2019", &[""]), (Some(String::new()), Some(String::new())));
    }
}
