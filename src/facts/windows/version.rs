//! Tells which release of Windows an image is based on: by configuration, index entry, history, and the files themselves.

use super::StatedVersion;
use super::registry::{Hive, Registry};
use crate::image::Image;
use crate::image::config::Configuration;
use crate::layer::PeForm;
use crate::layer::hive::HiveData;
use crate::rootfs::windows::{Sought, WindowsFiles};
use crate::tables::windows::{WindowsBuild, windows};
use crate::verdict::Place;

/// The beginnings of the history entries with which Microsoft's base images come about.
pub(super) const BASE_ENTRIES: [&str; 2] = ["Apply image ", "Install update "];
/// The files of which each tells the version.
pub(super) const FILES: [&str; 3] =
    [r"C:\Windows\System32\ntdll.dll", r"C:\Windows\System32\kernel32.dll", r"C:\Windows\System32\config\SOFTWARE"];

/// Every place that says a version, the one that counts first.
pub(super) fn stated(
    image: &Image,
    configuration: &Configuration,
    files: &WindowsFiles,
    registry: &Registry<'_>,
) -> Vec<StatedVersion> {
    let mut stated: Vec<StatedVersion> = Vec::new();
    let own = configuration.platform.os_version.as_deref();
    stated.extend(own.map(|version| claimed(version, Place::field("os.version"))));
    let listed = image.listed.as_ref().and_then(|listed| listed.os_version.as_deref());
    stated.extend(listed.map(|version| claimed(version, Place::field("manifests[].platform.os.version"))));
    let base = configuration.history.iter().enumerate().rev().find_map(|(number, entry)| {
        let version = BASE_ENTRIES.iter().find_map(|start| entry.created_by.strip_prefix(start))?;
        let mut place = Place::field(&format!("history[{number}]"));
        place.instruction = Some(entry.created_by.clone());
        Some(said(version, place))
    });
    stated.extend(base);
    let claimed = stated.len() - usize::from(stated.last().is_some_and(|last| last.place.instruction.is_some()));
    stated.extend(FILES[..2].iter().find_map(|path| by_file(files, path)));
    stated.extend(by_registry(registry));
    // A configuration only claims a version. Where two witnesses of what is in the layers agree on another build, a host
    // runs that one.
    let builds: Vec<u32> = stated[claimed..].iter().rev().filter_map(|witness| witness.build).collect();
    let agreed = builds.iter().copied().find(|build| builds.iter().filter(|other| *other == build).count() > 1);
    let is_claimed = stated[..claimed].iter().find_map(|claim| claim.build);
    if let Some(agreed) = agreed.filter(|agreed| is_claimed.is_some_and(|claim| claim != *agreed)) {
        // Of the witnesses the files say the most.
        stated[claimed..].reverse();
        stated.sort_by_key(|version| version.build != Some(agreed));
    }
    // What means no build counts for nothing, but is told.
    stated.sort_by_key(|version| version.build.is_none());
    stated
}

/// Why the files that would tell the version could not be read, if one of them is there.
pub(super) fn trouble(files: &WindowsFiles, registry: &Registry<'_>) -> Option<String> {
    let of_file = |path: &&str| {
        let Sought::Found(node) = files.find(path) else { return None };
        let why = match node.detail.and_then(|detail| detail.pe.as_ref()) {
            Some(library) if matches!(library.form, PeForm::Image | PeForm::Cut) => library.trouble.clone()?,
            _ => "it is no Windows library".to_owned(),
        };
        Some(format!("{path} cannot be read: {why}"))
    };
    FILES[..2].iter().find_map(of_file).or_else(|| registry.trouble(Hive::Software))
}

/// The fixed part of a library's version, not the text beside it.
fn by_file(files: &WindowsFiles, path: &str) -> Option<StatedVersion> {
    let Sought::Found(node) = files.find(path) else { return None };
    let [major, minor, build, revision] = node.detail?.pe.as_ref()?.version?;
    Some(said(&format!("{major}.{minor}.{build}.{revision}"), files.place(&node)))
}

fn by_registry(registry: &Registry<'_>) -> Option<StatedVersion> {
    let key = r"Microsoft\Windows NT\CurrentVersion";
    let build =
        ["CurrentBuildNumber", "CurrentBuild"].iter().find_map(|name| registry.text(Hive::Software, key, name))?;
    let revision = match registry.value(Hive::Software, key, "UBR").found() {
        Some((HiveData::Number(revision), _)) => format!(".{revision}"),
        _ => String::new(),
    };
    Some(said(&format!("10.0.{}{revision}", build.0), build.1))
}

/// What a field claims, as engines read it.
fn claimed(version: &str, place: Place) -> StatedVersion {
    let build = WindowsBuild::of_image(version);
    StatedVersion {
        version: version.trim().to_owned(),
        build: build.map(|build| build.build),
        revision: build.and_then(|build| build.revision),
        place,
    }
}

fn said(version: &str, place: Place) -> StatedVersion {
    let version = version.trim();
    let build = WindowsBuild::read(version).or_else(|| {
        // `ltsc2022-amd64`, `20H2-amd64`.
        windows().ok()?.host(version.split('-').next().unwrap_or_default())
    });
    StatedVersion {
        version: version.to_owned(),
        build: build.map(|build| build.build),
        revision: build.and_then(|build| build.revision),
        place,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_numbers_or_tags() {
        let read = |text: &str| {
            let said = said(text, Place::default());
            (said.build, said.revision)
        };
        assert_eq!(read("10.0.20348.2227"), (Some(20348), Some(2227)));
        assert_eq!(read("ltsc2022-amd64"), (Some(20348), None));
        assert_eq!(read("20H2-amd64"), (Some(19042), None));
        assert_eq!(read("2022-RTM-amd64"), (None, None));
        assert_eq!(read("6.3.9600"), (None, None));
    }

    #[test]
    fn what_engines_do_not_read_claims_no_version() {
        let read = |text: &str| claimed(text, Place::default()).build;
        assert_eq!(read("10.0.20348.2227"), Some(20348));
        assert_eq!(read("10.0.20348.fe"), Some(20348), "the fourth part is not looked at");
        for text in ["20348", "ltsc2022", "10.0", "", "6.3.9600.1", "10.0.x"] {
            assert_eq!(read(text), None, "{text:?}");
        }
    }
}
