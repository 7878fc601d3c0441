//! What is known about a Windows image: its base, its registry's PATH, PowerShell, and which host runs it.
//!
//! Base layers are large, so facts are drawn from whatever was read so far, and say which files of layers that were
//! not read would tell more.

mod base;
mod commands;
mod drive;
mod hosts;
mod parts;
mod path;
mod programs;
mod registry;
mod sought;
mod start;
mod steps;
mod version;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::programs::Wanted;
use super::start::Refusal;
use super::steps::StepFact;
use super::{Command, ConfigurationFacts, Fact, Setting};
use crate::image::Image;
use crate::image::config::Configuration;
use crate::rootfs::windows::WindowsFiles;
use crate::tables::windows::{WindowsKind, windows};
use crate::verdict::Place;

pub use base::base_layers;
use drive::Drive;
pub use hosts::HostFact;
pub use parts::Part;
pub use path::{HiddenFolder, WindowsPath, WindowsPathEntry, WindowsPathOf, WindowsPathState};
use registry::Registry;

/// What is known of a Windows image.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Windows {
    /// The version that counts: by the configuration, else by the index entry, else by the history, else by the files. If
    /// two of history, files and registry agree on another build than the configuration's, that one counts.
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
    /// Why files that would say one could not be read.
    pub version_trouble: Option<String>,
    /// Layers that may have to be fetched from elsewhere (`urls`, or a nondistributable media type).
    pub foreign_layers: Vec<ForeignLayer>,
    /// The kind of base image.
    pub kind: Fact<WindowsKind>,
    /// How the kind is known.
    pub kind_known_by: Option<String>,
    /// The image's own Windows: the libraries that every process is made of.
    pub system: Fact<Part>,
    /// `PATH` as a container gets it.
    pub path: Fact<WindowsPath>,
    /// Windows PowerShell. Files that are no programs do not count here and below.
    pub powershell: Fact<Part>,
    /// PowerShell Core (`pwsh`), in any version.
    pub pwsh: Fact<Part>,
    /// `cmd.exe`.
    pub cmd: Fact<Part>,
    /// .NET Framework.
    pub dotnet_framework: Fact<Part>,
    /// The runtime of Visual C++ 2015 and later.
    pub vc_runtime: Fact<Part>,
    /// ICU. Without it .NET uses the system's own culture data (NLS), which is no failure.
    pub icu: Fact<Part>,
    /// Which hosts run the image.
    pub hosts: Vec<HostFact>,
    /// The user, if it is one that may not use folders that are mounted from the host.
    pub user_without_mounts: Option<Setting<String>>,
    /// Layers that were not read, or not to their ends.
    pub unread_layers: Vec<UnreadLayer>,
    /// Why commands may be there that `commands` does not list.
    pub more_commands: Option<String>,
    /// Files of layers that were not read, of which any one of each group would answer a question.
    #[serde(skip)]
    pub sought: Vec<Vec<String>>,
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
    /// The field or the file that says it.
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

/// A layer that was not read, or not to its end.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct UnreadLayer {
    /// Its number, the base is 0.
    pub layer: usize,
    /// Its size as stored, in bytes.
    pub bytes: u64,
    /// Why, a sentence without its full stop.
    pub why: String,
}

/// What was found out about a Windows image, in the fields of [`Facts`](super::Facts).
pub struct Collected {
    /// `windows`.
    pub windows: Windows,
    /// `commands`.
    pub commands: Fact<BTreeMap<String, Command>>,
    /// `steps`.
    pub steps: Fact<BTreeMap<String, StepFact>>,
    /// `start_refused`.
    pub start_refused: Fact<Vec<Refusal>>,
}

/// All facts about a Windows image, drawn from its configuration and from `files`, as far as they were read.
#[must_use]
pub fn collect(
    image: &Image,
    configuration: &Configuration,
    settings: &ConfigurationFacts,
    files: &WindowsFiles,
    wanted: &Wanted,
) -> Collected {
    let registry = Registry::new(files);
    let stated = version::stated(image, configuration, files, &registry);
    let first = stated.first().filter(|first| first.build.is_some()).cloned().unwrap_or_default();
    let release = first.build.and_then(|build| windows().ok()?.release(build));
    let base_layers = base_layers(image);
    let by_marks = base::by_marks(image, base_layers);
    let claimed = by_marks.as_ref().map(|(kind, _)| *kind);
    let mut drive = Drive { files, architecture: &image.platform.architecture, kind: None, claimed, base_layers };
    let (kind, kind_known_by) = base::kind(&drive, &registry, by_marks, first.build.is_some());
    drive.kind = kind.known().copied();
    let path = path::path(configuration, &drive, &registry);
    let found = commands::commands(configuration, &drive, &registry, &path);
    let steps = steps::all(&drive, &found);
    let foreign = image.layers.iter().filter(|layer| layer.is_foreign());
    let mut windows = Windows {
        version: first.build.map(|_| first.version.clone()),
        build: first.build,
        revision: first.revision,
        name: release.map(|release| release.name.clone()),
        mainstream_end: release.and_then(|release| release.mainstream_end.clone()),
        all_end: release.map(|release| release.all_end.clone()),
        foreign_layers: foreign
            .map(|layer| ForeignLayer {
                layer: layer.index,
                media_type: layer.media_type.clone(),
                urls: layer.urls.clone(),
            })
            .collect(),
        powershell: found.powershell.clone(),
        pwsh: found.pwsh.clone(),
        cmd: parts::cmd(&drive),
        dotnet_framework: parts::dotnet_framework(&drive, &registry),
        vc_runtime: parts::vc_runtime(&drive),
        icu: parts::icu(&drive, first.build),
        version_trouble: version::trouble(files, &registry),
        hosts: hosts::hosts(image, &first, &wanted.hosts),
        user_without_mounts: start::without_mounts(settings).filter(|_| drive.kind != Some(WindowsKind::HostProcess)),
        unread_layers: unread(image, files),
        more_commands: found.more.clone(),
        sought: Vec::new(),
        system: base::system(&drive),
        kind,
        kind_known_by,
        path,
        stated,
    };
    if !files.is_whole() {
        windows.sought = sought::sought(&windows, &steps, &wanted.steps);
    }
    let start_refused = start::refusals(settings, drive.kind);
    Collected { windows, commands: found.commands, steps, start_refused }
}

fn unread(image: &Image, files: &WindowsFiles) -> Vec<UnreadLayer> {
    let unread =
        files.unread().iter().filter_map(|&number| Some((image.layers.get(number)?, files.layers().get(number)?)));
    unread
        .map(|(layer, read)| UnreadLayer {
            layer: layer.index,
            bytes: layer.bytes,
            why: match (read.why_not.as_str(), read.index.is_some()) {
                ("", true) => "what was needed of it stands before its end".to_owned(),
                ("", false) => "nothing that is asked depends on it".to_owned(),
                (why, _) => why.to_owned(),
            },
        })
        .collect()
}
