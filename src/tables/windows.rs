//! Releases of Windows, the ends of their support, and which host runs which image (`rules/tables/windows.toml`).

use std::sync::OnceLock;

use serde::{Deserialize, Serialize};

use super::Source;
use crate::toml_file;

const FILE: &str = "rules/tables/windows.toml";
const TEXT: &str = include_str!("../../rules/tables/windows.toml");

/// The whole table.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct WindowsTable {
    /// What it lists.
    pub title: String,
    /// The day it was last held against its sources, `YYYY-MM-DD`.
    pub read: String,
    /// Where it comes from.
    pub sources: Vec<Source>,
    /// The builds since which hosts run containers of older builds, in order.
    pub stable_since: Vec<u32>,
    /// The hosts that are told of when nobody names any.
    pub usual_hosts: Vec<String>,
    /// The endings of files that are started without them.
    pub path_endings: Vec<String>,
    /// Where tools are installed whose folder need not be on `PATH`; `*` is any name.
    pub tool_folders: Vec<String>,
    /// The kinds of base images.
    pub base: Vec<WindowsBase>,
    /// The releases, by build.
    pub release: Vec<WindowsRelease>,
}

/// A kind of base image, and what it brings.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct WindowsBase {
    /// Which.
    pub kind: WindowsKind,
    /// What people call it.
    pub title: String,
    /// The least that its layers have as stored in a registry, in bytes.
    pub least_bytes: u64,
    /// The most, in bytes.
    #[serde(default)]
    pub most_bytes: Option<u64>,
    /// `PATH` by its registry.
    pub path: String,
    /// Files that it has.
    pub files: Vec<String>,
}

/// The kinds of base images.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WindowsKind {
    /// Nano Server.
    Nanoserver,
    /// Server Core.
    Servercore,
    /// Server with desktop (`windows/server`).
    Server,
    /// Windows (`windows`).
    Windows,
    /// One of the last three: which, could not be told.
    ServercoreOrLarger,
    /// No Windows at all, only its registry: for HostProcess containers of Kubernetes.
    HostProcess,
}

impl WindowsKind {
    /// What people call it.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::Nanoserver => "Nano Server",
            Self::Servercore => "Server Core",
            Self::Server => "Windows Server",
            Self::Windows => "Windows",
            Self::ServercoreOrLarger => "Server Core or larger",
            Self::HostProcess => "an image for HostProcess containers",
        }
    }
}

/// One release of Windows.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct WindowsRelease {
    /// Its build number.
    pub build: u32,
    /// What people call it.
    pub name: String,
    /// The tags of its base images, or what a host of it is called.
    pub tags: Vec<String>,
    /// The last day of mainstream support, `YYYY-MM-DD`, where there is more than one kind.
    #[serde(default)]
    pub mainstream_end: Option<String>,
    /// The last day of all support, `YYYY-MM-DD`.
    pub all_end: String,
}

/// Build and revision: of `10.0.20348.2227` 20348 and 2227.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WindowsBuild {
    /// The build number.
    pub build: u32,
    /// The revision (UBR).
    pub revision: Option<u32>,
}

impl WindowsBuild {
    /// From `10.0.BUILD`, `10.0.BUILD.REVISION` or a bare build number.
    #[must_use]
    pub fn read(version: &str) -> Option<Self> {
        let numbers: Option<Vec<u32>> = version.trim().split('.').map(|part| part.parse().ok()).collect();
        match numbers?.as_slice() {
            [build] if *build > 10_000 => Some(Self { build: *build, revision: None }),
            [10, 0, build] => Some(Self { build: *build, revision: None }),
            [10, 0, build, revision] => Some(Self { build: *build, revision: Some(*revision) }),
            _ => None,
        }
    }

    /// An image's os.version as engines read it: at least three numbers with dots between them, of which the third is the
    /// build (containerd/platforms, platform_windows_compat.go). They take a shorter one, or a tag, for no version that fits.
    #[must_use]
    pub fn of_image(version: &str) -> Option<Self> {
        let parts: Vec<&str> = version.split('.').collect();
        let [major, minor, build, rest @ ..] = parts.as_slice() else { return None };
        if (major.parse(), minor.parse()) != (Ok(10_u32), Ok(0_u32)) {
            return None;
        }
        Some(Self { build: build.parse().ok()?, revision: rest.first().and_then(|revision| revision.parse().ok()) })
    }
}

/// The table, read when it is first asked for.
///
/// # Errors
/// The table is broken; a test holds that the one imglint is built with is not.
pub fn windows() -> Result<&'static WindowsTable, &'static toml_file::Error> {
    static TABLE: OnceLock<Result<WindowsTable, toml_file::Error>> = OnceLock::new();
    TABLE.get_or_init(|| toml_file::parse(FILE, TEXT)).as_ref()
}

impl WindowsTable {
    /// The release of a build.
    #[must_use]
    pub fn release(&self, build: u32) -> Option<&WindowsRelease> {
        self.release.iter().find(|release| release.build == build)
    }

    /// A host as it is named: by a version, a build, or a tag of a release.
    #[must_use]
    pub fn host(&self, name: &str) -> Option<WindowsBuild> {
        let by_tag = self.release.iter().find(|release| release.tags.iter().any(|tag| tag.eq_ignore_ascii_case(name)));
        by_tag.map(|release| WindowsBuild { build: release.build, revision: None }).or_else(|| WindowsBuild::read(name))
    }

    /// All tags that a host may be named by.
    pub fn host_names(&self) -> impl Iterator<Item = &str> {
        self.release.iter().flat_map(|release| &release.tags).map(String::as_str)
    }

    /// Whether a host runs an image by process isolation; nothing where only revisions that are not given would tell.
    #[must_use]
    pub fn runs_as_process(&self, host: WindowsBuild, image: WindowsBuild) -> Option<bool> {
        let first = self.stable_since.first().copied().unwrap_or(u32::MAX);
        if host.build < first {
            if host.build != image.build {
                return Some(false);
            }
            // For 2016 the revision had to be the same as well.
            return match (host.revision, image.revision) {
                _ if host.build > 14393 => Some(true),
                (Some(own), Some(other)) => Some(own == other),
                _ => None,
            };
        }
        let oldest = self.stable_since.iter().copied().filter(|since| *since < host.build).max().unwrap_or(first);
        Some((oldest..=host.build).contains(&image.build))
    }

    /// What a kind of base image brings; nothing for HostProcess images.
    #[must_use]
    pub fn base(&self, kind: WindowsKind) -> Option<&WindowsBase> {
        let listed = match kind {
            WindowsKind::Nanoserver | WindowsKind::HostProcess => kind,
            _ => WindowsKind::ServercoreOrLarger,
        };
        self.base.iter().find(|base| base.kind == listed)
    }

    /// The kind of base image whose layers have this size in bytes, as stored in a registry.
    #[must_use]
    pub fn base_of_size(&self, bytes: u64) -> Option<&WindowsBase> {
        let fits = |base: &&WindowsBase| bytes >= base.least_bytes && base.most_bytes.is_none_or(|most| bytes <= most);
        self.base.iter().find(fits)
    }

    /// Whether a host runs an image by Hyper-V isolation.
    #[must_use]
    pub fn runs_by_hyperv(&self, host: WindowsBuild, image: WindowsBuild) -> bool {
        image.build <= host.build
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(host: &str, image: &str) -> Option<bool> {
        let table = windows().unwrap();
        table.runs_as_process(table.host(host).unwrap(), table.host(image).unwrap())
    }

    /// containerd/platforms, `platform_windows_compat_test.go`.
    #[test]
    fn kinds_are_told_by_the_sizes_of_real_base_layers() {
        let table = windows().unwrap();
        let kind = |bytes| table.base_of_size(bytes).map(|base| base.kind);
        for bytes in [101_145_811, 122_099_566, 197_650_532, 252_691_002 + 183_000_000] {
            assert_eq!(kind(bytes), Some(WindowsKind::Nanoserver), "{bytes}");
        }
        for bytes in [1_707_943_932, 1_251_699_055 + 955_800_778, 1_386_029_089] {
            assert_eq!(kind(bytes), Some(WindowsKind::ServercoreOrLarger), "{bytes}");
        }
        assert_eq!((kind(8_192), kind(600_000_000)), (None, None));
        assert!(table.usual_hosts.iter().all(|host| table.host(host).is_some()));
    }

    #[test]
    fn hosts_run_images_as_containerd_says() {
        for (host, image, expected) in [
            ("17763", "17763", true),
            ("17763", "20348", false),
            ("20348", "17763", false),
            ("20348", "20348", true),
            ("22621", "17763", false),
            ("22621", "20348", true),
            ("25398", "17763", false),
            ("25398", "20348", true),
            ("26100", "20348", true),
            ("20348", "26100", false),
            ("20348", "22621", false),
            ("26100", "22621", true),
        ] {
            assert_eq!(process(&format!("10.0.{host}"), &format!("10.0.{image}.1")), Some(expected), "{host} {image}");
        }
    }

    /// Microsoft, version-compatibility.md: rows are hosts, columns 2025, 2022, 2019, 2016.
    #[test]
    fn hosts_run_images_as_microsoft_s_matrix_says() {
        let images = ["ltsc2025", "ltsc2022", "ltsc2019", "ltsc2016"];
        let table = windows().unwrap();
        for (host, as_process, by_hyperv) in [
            ("ltsc2025", [true, true, false, false], [true, true, true, true]),
            ("ltsc2022", [false, true, false, false], [false, true, true, true]),
            ("ltsc2019", [false, false, true, false], [false, false, true, true]),
        ] {
            assert_eq!(images.map(|image| process(host, image)), as_process.map(Some), "{host}");
            let hyperv = |image: &str| table.runs_by_hyperv(table.host(host).unwrap(), table.host(image).unwrap());
            assert_eq!(images.map(hyperv), by_hyperv, "{host}");
        }
        assert_eq!(process("10.0.14393.5", "10.0.14393.5"), Some(true));
        assert_eq!(process("10.0.14393.5", "10.0.14393.6"), Some(false));
        assert_eq!(process("ltsc2016", "10.0.14393.6"), None, "the revision decides");
    }

    #[test]
    fn the_table_is_whole() {
        let table = windows().unwrap();
        assert!(!table.title.is_empty() && table.read.len() == 10 && !table.sources.is_empty());
        assert!(table.release.is_sorted_by_key(|release| release.build));
        for release in &table.release {
            let ends = release.mainstream_end.iter().chain([&release.all_end]);
            assert!(ends.clone().all(|day| day.len() == 10) && ends.is_sorted(), "{}", release.name);
        }
    }
}
