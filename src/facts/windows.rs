//! Tells from configuration, index entry and history which release of Windows an image is based on. Layers are not read.

use serde::{Deserialize, Serialize};

use super::Fact;
use crate::image::Image;
use crate::image::config::Configuration;
use crate::tables::windows::{WindowsBuild, windows};
use crate::verdict::Place;

/// The beginnings of the history entries with which Microsoft's base images come about.
const BASE_ENTRIES: [&str; 2] = ["Apply image ", "Install update "];

/// What is known of a Windows image's base.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Windows {
    /// The version that counts: by the configuration, else by the index entry, else by the history.
    pub version: Option<String>,
    /// Its build number.
    pub build: Option<u32>,
    /// Its revision (UBR).
    pub revision: Option<u32>,
    /// What people call it.
    pub name: Option<String>,
    /// The last day of mainstream support, `YYYY-MM-DD`.
    pub mainstream_end: Option<String>,
    /// The last day of all support, `YYYY-MM-DD`.
    pub all_end: Option<String>,
    /// Every place that says a version, the one that counts first.
    pub stated: Vec<StatedVersion>,
    /// Layers that may have to be fetched from elsewhere (`urls`, or a nondistributable media type).
    pub foreign_layers: Vec<ForeignLayer>,
}

/// A version and where it is said.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StatedVersion {
    /// As written, such as `10.0.20348.2227` or `ltsc2022-amd64`.
    pub version: String,
    /// The build number it means, if it means one.
    pub build: Option<u32>,
    /// The revision, if it says one.
    pub revision: Option<u32>,
    /// The field that says it.
    pub place: Place,
}

/// A layer that a registry may not have.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ForeignLayer {
    /// Its number, the base is 0.
    pub layer: usize,
    /// Its media type.
    pub media_type: String,
    /// Where it may be had from.
    pub urls: Vec<String>,
}

/// What configuration, index entry and history say; nothing for an image of another system.
#[must_use]
pub fn windows_facts(image: &Image, configuration: &Configuration) -> Fact<Windows> {
    if image.platform.os != "windows" {
        return Fact::not_applicable("it is no Windows image");
    }
    let mut stated: Vec<StatedVersion> = Vec::new();
    let own = configuration.platform.os_version.as_deref();
    stated.extend(own.map(|version| said(version, Place::field("os.version"))));
    let listed = image.listed.as_ref().and_then(|listed| listed.os_version.as_deref());
    stated.extend(listed.map(|version| said(version, Place::field("manifests[].platform.os.version"))));
    let base = configuration.history.iter().enumerate().rev().find_map(|(number, entry)| {
        let version = BASE_ENTRIES.iter().find_map(|start| entry.created_by.strip_prefix(start))?;
        let mut place = Place::field(&format!("history[{number}]"));
        place.instruction = Some(entry.created_by.clone());
        Some(said(version, place))
    });
    stated.extend(base);
    // What means no build counts for nothing, but is told.
    stated.sort_by_key(|version| version.build.is_none());
    let first = stated.first().filter(|first| first.build.is_some()).cloned().unwrap_or_default();
    let release = first.build.and_then(|build| windows().ok()?.release(build));
    let foreign_layers = image.layers.iter().filter(|layer| {
        !layer.urls.is_empty() || ["foreign", "nondistributable"].iter().any(|word| layer.media_type.contains(word))
    });
    Fact::Known(Windows {
        version: first.build.map(|_| first.version.clone()),
        build: first.build,
        revision: first.revision,
        name: release.map(|release| release.name.clone()),
        mainstream_end: release.and_then(|release| release.mainstream_end.clone()),
        all_end: release.map(|release| release.all_end.clone()),
        foreign_layers: foreign_layers
            .map(|layer| ForeignLayer {
                layer: layer.index,
                media_type: layer.media_type.clone(),
                urls: layer.urls.clone(),
            })
            .collect(),
        stated,
    })
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
}
