//! The commands on `PATH` of a Windows container: by the endings of PATHEXT, in any case.

use std::collections::BTreeMap;

use super::drive::{Drive, Look};
use super::parts::{self, Part};
use super::path::{WindowsPath, in_path, is_searched, variable};
use super::programs::Judged;
use super::registry::Registry;
use crate::facts::{Command, CommandState, Fact};
use crate::image::config::Configuration;
use crate::layer::Kind;
use crate::printable::excerpt;
use crate::rootfs::windows::{Sought, fold};
use crate::tables::steps::steps;
use crate::tables::windows::windows;
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
                if let Some(command) = command(drive, &file) {
                    commands.insert(stem, command);
                }
            }
        }
    }
    let Ok(steps) = steps() else { return commands };
    let needed = steps.need.iter().flat_map(|need| &need.windows).filter(|name| !name.contains('\\'));
    let needed: BTreeMap<String, &String> =
        needed.map(|name| (fold(name.rsplit_once('.').map_or(name, |(stem, _)| stem)), name)).collect();
    for (stem, name) in &needed {
        commands.entry(stem.clone()).or_insert_with(|| missing(drive, path, name));
    }
    let is_usable = |stem: &str| commands.get(stem).is_some_and(|command| command.state == CommandState::Usable);
    let steps_of = |stem: &String| (stem.clone(), steps.needing_on_windows(stem, is_usable));
    let needed_by: Vec<(String, Vec<String>)> = needed.keys().map(steps_of).collect();
    for (stem, needed_by) in needed_by {
        commands.entry(stem).or_default().needed_by = needed_by;
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

/// What is at a path; `None` for what Windows passes over: folders and links that lead nowhere.
fn command(drive: &Drive<'_>, file: &str) -> Option<Command> {
    let (state, place, why) = match drive.files.find(file) {
        Sought::Found(node) if node.kind == Kind::Directory => return None,
        Sought::Found(node) => {
            let place = drive.files.place(&node);
            match drive.program(&node, file) {
                Judged::Good(_) => (CommandState::Usable, place, None),
                Judged::Bad(why) => (CommandState::Unusable, place, Some(why)),
                Judged::Open(why) => (CommandState::Unknown, place, Some(why)),
            }
        }
        // Windows passes over a link that leads nowhere.
        Sought::Absent => return None,
        Sought::Open(why) => (CommandState::Unknown, Place::path(file), Some(why)),
    };
    Some(Command { state, place, why, ..Command::default() })
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

/// A program on `PATH`, or why there is none.
pub(super) enum OnPath {
    /// It can be started: its path.
    Usable(String, Place),
    /// It is there and cannot be started, and why.
    Unusable(String, Place),
    /// No folder of `PATH` has it.
    Missing(String, Place),
    /// It is not known, and why.
    Open(String, Place),
}

/// Looks for a program on `PATH` by its full name.
pub(super) fn on_path(found: &Commands, drive: &Drive<'_>, name: &str) -> OnPath {
    let path = match &found.path {
        Fact::Known(path) => path,
        Fact::Unknown(why) => return OnPath::Open(why.unknown.clone(), Place::field("config.Env")),
        Fact::NotApplicable(why) => return OnPath::Open(why.not_applicable.clone(), Place::field("config.Env")),
    };
    match in_path(path, drive, name) {
        Look::Found(node) => {
            let place = drive.files.place(&node);
            match drive.program(&node, name) {
                Judged::Good(_) => OnPath::Usable(node.path, place),
                Judged::Bad(why) => OnPath::Unusable(why, place),
                Judged::Open(why) => OnPath::Open(why, place),
            }
        }
        Look::OfBase(place) => OnPath::Usable(place.path.clone().unwrap_or_default(), place),
        Look::Absent => OnPath::Missing(in_no_folder(name, path), path.place.clone()),
        Look::Open(why) => {
            OnPath::Open(format!("whether `{name}` is on PATH could not be told: {why}"), path.place.clone())
        }
    }
}
