//! The commands on `PATH` of a Windows container: by the endings of PATHEXT, in any case.

use std::collections::BTreeMap;

use super::drive::{Drive, Look};
use super::parts::{self, Part};
use super::path::{WindowsPath, in_path, is_searched, variable};
use super::registry::Registry;
use crate::facts::{Command, CommandState, Fact};
use crate::image::config::Configuration;
use crate::layer::Kind;
use crate::layer::path::parent_and_name;
use crate::printable::excerpt;
use crate::rootfs::windows::{Sought, WindowsNode, fold};
use crate::tables::steps::steps;
use crate::tables::windows::{WindowsKind, windows};
use crate::verdict::Place;

/// The most commands that are listed: several times what the largest real images have.
const MOST_COMMANDS: usize = 20_000;

/// What there is to be run.
pub(super) struct Commands {
    /// Every command on `PATH`, and those that steps need and are missing, by name without ending, in lower case; or
    /// why they are not known.
    pub(super) commands: Fact<BTreeMap<String, Command>>,
    pub(super) powershell: Fact<Part>,
    pub(super) pwsh: Fact<Part>,
    /// The `JAVA_HOME` that a container's processes have.
    pub(super) java_home: Option<String>,
    /// `PATH`.
    pub(super) path: Fact<WindowsPath>,
    /// Why there may be commands that are not listed.
    pub(super) more: Option<String>,
}

/// Looks at all folders of `PATH`.
pub(super) fn commands(
    configuration: &Configuration,
    drive: &Drive<'_>,
    registry: &Registry<'_>,
    path: &Fact<WindowsPath>,
) -> Commands {
    let listed = match path {
        Fact::Known(path) => Fact::Known(listed(configuration, drive, registry, path)),
        Fact::Unknown(unknown) => Fact::Unknown(unknown.clone()),
        Fact::NotApplicable(why) => Fact::NotApplicable(why.clone()),
    };
    Commands {
        commands: listed,
        powershell: parts::powershell(drive, path.known()),
        pwsh: parts::pwsh(drive, path.known()),
        java_home: variable(configuration, registry, "JAVA_HOME"),
        path: path.clone(),
        more: drive.files.open(),
    }
}

fn listed(
    configuration: &Configuration,
    drive: &Drive<'_>,
    registry: &Registry<'_>,
    path: &WindowsPath,
) -> BTreeMap<String, Command> {
    let endings = endings(configuration, registry);
    let mut commands: BTreeMap<String, Command> = BTreeMap::new();
    for entry in path.entries.iter().filter(|entry| is_searched(entry)) {
        let Sought::Found(folder) = drive.files.find(&entry.folder) else { continue };
        let mut files: Vec<(usize, String, String)> = Vec::new();
        for (name, is_file) in drive.files.names(&folder) {
            let folded = fold(&name);
            let ending = endings.iter().position(|ending| folded.ends_with(ending.as_str()));
            if let (Some(ending), true) = (ending, is_file) {
                let stem = folded[..folded.len() - endings[ending].len()].to_owned();
                files.push((ending, stem, name));
            }
        }
        // In one folder the order of the endings decides.
        files.sort();
        for (_, stem, name) in files {
            if commands.len() < MOST_COMMANDS && !stem.is_empty() && !commands.contains_key(&stem) {
                let file = format!(r"{}\{name}", entry.folder.trim_end_matches(['\\', '/']));
                if let Sought::Found(node) = drive.files.find(&file)
                    && node.kind != Kind::Directory
                {
                    commands.insert(stem, command(drive, &configuration.platform.architecture, &node));
                }
            }
        }
    }
    let needs = steps().map(|table| table.need.as_slice()).unwrap_or_default();
    for name in needs.iter().flat_map(|need| &need.windows).filter(|name| !name.contains('\\')) {
        let stem = fold(name.rsplit_once('.').map_or(name, |(stem, _)| stem));
        commands.entry(stem).or_insert_with(|| missing(drive, path, name));
    }
    commands
}

/// The endings that PATHEXT has, in lower case; those of script hosts need what no container has.
fn endings(configuration: &Configuration, registry: &Registry<'_>) -> Vec<String> {
    let default = || windows().map(|table| table.path_endings.clone()).unwrap_or_default();
    let Some(text) = variable(configuration, registry, "PATHEXT") else { return default() };
    let known = default();
    let given = text.split(';').map(|ending| ending.trim().to_ascii_lowercase());
    given.filter(|ending| known.contains(ending)).collect()
}

fn command(drive: &Drive<'_>, architecture: &str, node: &WindowsNode<'_>) -> Command {
    let place = drive.files.place(node);
    let why = cannot_run(drive, architecture, node);
    let state = if why.is_some() { CommandState::Unusable } else { CommandState::Usable };
    Command { state, place, why, ..Command::default() }
}

/// Why Windows does not start a file, as far as its header tells.
pub(super) fn cannot_run(drive: &Drive<'_>, architecture: &str, node: &WindowsNode<'_>) -> Option<String> {
    let name = parent_and_name(&node.path.replace('\\', "/")).1.to_ascii_lowercase();
    let own = node.detail.and_then(|detail| detail.pe.as_ref()?.architecture.clone())?;
    let path = &node.path;
    match (architecture, own.as_str()) {
        _ if !name.ends_with(".exe") => None,
        ("amd64", "386") if drive.kind == Some(WindowsKind::Nanoserver) => {
            Some(format!("{path} is a 32-bit program, which Nano Server does not start"))
        }
        ("amd64", "arm" | "arm64") => Some(format!("{path} is a program for {own}, not for amd64")),
        _ => None,
    }
}

fn missing(drive: &Drive<'_>, path: &WindowsPath, name: &str) -> Command {
    let found = in_path(path, drive, name);
    let (state, why) = match found {
        Look::Open(why) => (CommandState::Unknown, why),
        _ => (CommandState::Missing, in_no_folder(name, path)),
    };
    Command { state, place: path.place.clone(), why: Some(why), ..Command::default() }
}

/// That no folder of `PATH` has a file.
pub(super) fn in_no_folder(name: &str, path: &WindowsPath) -> String {
    let folders: Vec<&str> = path.entries.iter().map(|entry| entry.folder.as_str()).collect();
    if folders.is_empty() {
        return format!("`{name}` cannot be found: PATH is empty");
    }
    format!("no folder of PATH has `{name}`: {}", excerpt(&folders.join(";"), 400))
}

/// A file on `PATH` by its full name.
pub(super) fn on_path(
    found: &Commands,
    drive: &Drive<'_>,
    name: &str,
) -> Result<(String, Place), (bool, String, Place)> {
    let path = match &found.path {
        Fact::Known(path) => path,
        Fact::Unknown(why) => return Err((true, why.unknown.clone(), Place::field("config.Env"))),
        Fact::NotApplicable(why) => return Err((true, why.not_applicable.clone(), Place::field("config.Env"))),
    };
    match in_path(path, drive, name) {
        Look::Found(node) => Ok((node.path.clone(), drive.files.place(&node))),
        Look::OfBase(place) => Ok((place.path.clone().unwrap_or_default(), place)),
        Look::Absent => Err((false, in_no_folder(name, path), path.place.clone())),
        Look::Open(why) => {
            Err((true, format!("whether `{name}` is on PATH could not be told: {why}"), path.place.clone()))
        }
    }
}
