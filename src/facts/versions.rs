//! Tells the versions of tools by files alone: what a bash says of itself, package managers' lists, the metadata that
//! Python, Node and JDKs leave, and folders that are named for a version.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Fact;
use crate::layer::path::{absolute, join, parent_and_name};
use crate::rootfs::Rootfs;
use crate::tables::tools::tools;

/// Where RPM keeps its database.
const RPM: [&str; 2] = ["var/lib/rpm", "usr/lib/sysimage/rpm"];

/// The version of a tool and how it is known.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ToolVersion {
    /// The version, without the distribution's own additions.
    pub version: String,
    /// What says so.
    pub known_by: String,
}

/// Versions of the tools of one image.
pub struct Versions<'a> {
    rootfs: &'a Rootfs,
    /// Installed packages by name: the version, and the file that says so.
    packages: BTreeMap<String, (String, String)>,
}

impl<'a> Versions<'a> {
    /// Reads the lists of packages.
    #[must_use]
    pub fn new(rootfs: &'a Rootfs) -> Self {
        let mut lists = vec!["/var/lib/dpkg/status".to_owned()];
        lists
            .extend(rootfs.names("/var/lib/dpkg/status.d").iter().map(|name| format!("/var/lib/dpkg/status.d/{name}")));
        lists.extend(["/lib/apk/db/installed", "/usr/lib/apk/db/installed"].map(str::to_owned));
        let mut packages = BTreeMap::new();
        for list in lists {
            let Ok(node) = rootfs.find(&list) else { continue };
            for package in node.detail().and_then(|detail| detail.packages.as_deref()).unwrap_or_default() {
                packages.insert(package.name.clone(), (package.version.clone(), list.clone()));
            }
        }
        Self { rootfs, packages }
    }

    /// The version of a command whose file, links followed, is at `path`.
    #[must_use]
    pub fn of(&self, command: &str, path: &str) -> Fact<ToolVersion> {
        let has_rpm = || RPM.iter().any(|folder| self.rootfs.find(folder).is_ok());
        match self.told_by_files(command, path) {
            Some(version) => Fact::Known(version),
            None if has_rpm() => Fact::unknown("no file tells it but perhaps the RPM database, which is not read"),
            None => Fact::unknown("no file tells it"),
        }
    }

    fn told_by_files(&self, command: &str, path: &str) -> Option<ToolVersion> {
        let detail = self.rootfs.find(path).ok()?.detail();
        if let Some(version) = detail.and_then(|detail| detail.bash.as_deref()) {
            return told(version, "the program itself");
        }
        self.by_its_folder(path).or_else(|| self.by_package(command, path))
    }

    fn by_package(&self, command: &str, path: &str) -> Option<ToolVersion> {
        // What somebody put there by hand is of no package.
        let is_by_hand = ["/usr/local/", "/root/", "/home/"].iter().any(|folder| path.starts_with(folder));
        let known = tools().ok()?.version.iter().find(|known| known.command == command)?;
        let package = known.packages.iter().find_map(|name| Some((name, self.packages.get(name)?)));
        if let Some((name, (version, list))) = package.filter(|_| !is_by_hand) {
            return told(upstream(version), &format!("the package {name} in {list}"));
        }
        let distribution = known.python.as_deref()?;
        // Commands that pip installs lie in the bin folder beside lib.
        let prefix = parent_and_name(parent_and_name(path).0).0;
        ["lib", "lib64"].iter().find_map(|library| {
            let library = join(prefix, library);
            let pythons = self.rootfs.names(&library).into_iter().filter(|name| name.starts_with("python3"));
            pythons
                .flat_map(|python| {
                    ["site-packages", "dist-packages"].map(|packages| format!("{library}/{python}/{packages}"))
                })
                .find_map(|folder| {
                    let names = self.rootfs.names(&folder);
                    let version = names.iter().find_map(|name| version_in(name, distribution))?;
                    told(&version, &format!("{distribution} in {}", absolute(&folder)))
                })
        })
    }

    /// What the files beside a command say, and what its folders are called.
    fn by_its_folder(&self, path: &str) -> Option<ToolVersion> {
        let folder = parent_and_name(path).0;
        let root = parent_and_name(folder).0;
        // .NET: the newest of the runtimes beside the command.
        let runtimes = join(folder, "shared/Microsoft.NETCore.App");
        if let Some(newest) = self.rootfs.names(&runtimes).into_iter().max_by_key(|version| numbers(version)) {
            return told(&newest, &absolute(&runtimes));
        }
        // A JDK: JAVA_VERSION="17.0.2".
        if let Some(release) = self.text(&join(root, "release")) {
            let version = release.lines().find_map(|line| line.strip_prefix("JAVA_VERSION="));
            if let Some(version) = version {
                return told(version.trim_matches('"'), &absolute(&join(root, "release")));
            }
        }
        // Node's own tools: lib/node_modules/NAME/…
        if let Some((above, rest)) = path.split_once("/lib/node_modules/") {
            let name = rest.split('/').next().unwrap_or_default();
            let file = format!("{above}/lib/node_modules/{name}/package.json");
            let document = serde_json::from_str::<serde_json::Value>(&self.text(&file)?).ok()?;
            return told(document["version"].as_str()?, &absolute(&file));
        }
        if let Some(version) = self.text(&join(root, "VERSION")) {
            return told(version.lines().next().unwrap_or_default(), &absolute(&join(root, "VERSION")));
        }
        let version = version_of_folder(&absolute(path))?;
        told(&version, &format!("the folder {}", absolute(folder)))
    }

    fn text(&self, path: &str) -> Option<String> {
        let content = self.rootfs.find(path).ok()?.detail()?.content.as_deref()?;
        Some(String::from_utf8_lossy(content).into_owned())
    }
}

fn told(version: &str, known_by: &str) -> Option<ToolVersion> {
    let version = version.trim();
    let is_version =
        version.len() < 64 && version.chars().any(|c| c.is_ascii_digit()) && !version.contains(char::is_whitespace);
    is_version.then(|| ToolVersion { version: version.to_owned(), known_by: known_by.to_owned() })
}

/// A package's version without its epoch and the distribution's revision: `2:5.2.15-2+b2` is 5.2.15.
fn upstream(version: &str) -> &str {
    let version = version.split_once(':').map_or(version, |(_, rest)| rest);
    version.split(['-', '+', '~']).next().unwrap_or(version)
}

/// `2.50.0` of `azure_cli-2.50.0.dist-info`.
fn version_in(name: &str, distribution: &str) -> Option<String> {
    let rest = name.strip_suffix(".dist-info").or_else(|| name.split_once(".egg-info").map(|(rest, _)| rest))?;
    let version = rest.strip_prefix(distribution)?.strip_prefix('-')?;
    Some(version.to_owned())
}

/// The version that a folder on the way to a command is named for: the last that looks like one.
#[must_use]
pub fn version_of_folder(path: &str) -> Option<String> {
    let part = path.rsplit('/').skip(1).find(|part| {
        let bare = part.strip_prefix('v').unwrap_or(part);
        bare.matches('.').count() >= 1 && bare.starts_with(|c: char| c.is_ascii_digit())
    })?;
    Some(part.strip_prefix('v').unwrap_or(part).to_owned())
}

/// The numbers of a version, by which versions are put in order.
#[must_use]
pub fn numbers(version: &str) -> Vec<u64> {
    let bare = version.trim_start_matches(|c: char| !c.is_ascii_digit());
    bare.split(|c: char| !c.is_ascii_digit()).map_while(|part| part.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_told_from_names() {
        assert_eq!(upstream("2:5.2.15-2+b2"), "5.2.15");
        assert_eq!(upstream("1.2.4-r2"), "1.2.4");
        assert_eq!(version_in("azure_cli-2.50.0.dist-info", "azure_cli").as_deref(), Some("2.50.0"));
        assert_eq!(version_in("azure_cli_core-2.50.0.dist-info", "azure_cli"), None);
        assert_eq!(version_of_folder("/root/.nvm/versions/node/v18.19.0/bin/node").as_deref(), Some("18.19.0"));
        assert_eq!(version_of_folder("/usr/bin/node"), None);
        assert!(numbers("v18.19.0") > numbers("9.99") && numbers("4.3") > numbers("4.2.46"));
    }
}
