//! Decides by the `PATH` of a Windows container: whether it is whole, and whether it hides what the registry has.

use serde::Deserialize;

use super::{MOST_TOLD, list, when_known};
use crate::facts::Facts;
use crate::facts::windows::{WindowsPath, WindowsPathEntry, WindowsPathState};
use crate::printable::excerpt;
use crate::verdict::{Answer, Evidence, Place};

/// The folder without which hardly any program starts.
const SYSTEM: [&str; 2] = [r"c:\windows\system32", r"c:/windows/system32"];

/// `kind = "windows-path"`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct WindowsPathWhole {}

impl WindowsPathWhole {
    #[allow(clippy::unused_self, reason = "all checks are called alike")]
    pub(super) fn judge(&self, facts: &Facts) -> Answer {
        let place = Place::field("config.Env");
        when_known(&facts.windows, &place, |found| when_known(&found.path, &place, whole))
    }
}

fn whole(path: &WindowsPath) -> Answer {
    let mut worse: Vec<Evidence> = Vec::new();
    let is_linux = path.entries.iter().any(|entry| entry.state == WindowsPathState::Linux);
    if !path.entries.iter().any(|entry| is_system(&entry.folder)) {
        let what = if is_linux { "is one for Linux" } else { r"has no C:\Windows\System32" };
        worse.push(path.place.says(format!("PATH {what}: {}", shown(path))));
    }
    for (name, value) in &path.spellings {
        let has_system = value.split(';').any(|folder| is_system(folder.trim_matches('"')));
        if !has_system && worse.is_empty() {
            let names: Vec<&String> = path.spellings.keys().collect();
            worse.push(path.place.says(format!(
                r"Env has {}, of which it is not known which one counts, and {name} has no C:\Windows\System32",
                list(&names)
            )));
        }
    }
    let mut lesser: Vec<Evidence> = Vec::new();
    let mut values = path.spellings.values();
    let first = values.next();
    if values.any(|value| Some(value) != first) {
        let names: Vec<&String> = path.spellings.keys().collect();
        lesser.push(path.place.says(format!("Env has {}, and it is not known which one counts", list(&names))));
    }
    lesser.extend(path.entries.iter().filter_map(wrong_with));
    lesser.truncate(MOST_TOLD);
    if !worse.is_empty() {
        // Of a PATH for Linux one sentence says it all.
        worse.extend(lesser.into_iter().filter(|_| !is_linux));
        return Answer::fail(worse);
    }
    if !lesser.is_empty() {
        return Answer::fail(lesser).lesser();
    }
    let open: Vec<&str> = path
        .entries
        .iter()
        .filter(|entry| entry.state == WindowsPathState::Unknown)
        .map(|entry| entry.folder.as_str())
        .collect();
    if open.is_empty() {
        return Answer::pass();
    }
    let why = format!("layers that were not read may have {} or not", excerpt(&open.join(", "), 300));
    Answer::unknown(&path.place, why).lesser()
}

fn wrong_with(entry: &WindowsPathEntry) -> Option<Evidence> {
    let folder = excerpt(&entry.folder, 200);
    let statement = match entry.state {
        WindowsPathState::Missing => format!("{folder} is on PATH, but not in the image"),
        WindowsPathState::NotAFolder => format!("{folder} is on PATH, but it is a file"),
        WindowsPathState::Unexpanded => format!("{folder} is on PATH as it stands: nothing replaces %…% there"),
        WindowsPathState::Elsewhere => format!("{folder} is on PATH, but not on drive C:"),
        WindowsPathState::Linux => format!("{folder} is on PATH, but it is a folder of Linux"),
        WindowsPathState::Folder | WindowsPathState::Unknown => return None,
    };
    Some(entry.place.says(statement))
}

fn is_system(folder: &str) -> bool {
    let folder = folder.trim().trim_end_matches(['\\', '/']);
    SYSTEM.iter().any(|system| folder.eq_ignore_ascii_case(system))
}

fn shown(path: &WindowsPath) -> String {
    let folders: Vec<&str> = path.entries.iter().map(|entry| entry.folder.as_str()).collect();
    if folders.is_empty() { "it is empty".to_owned() } else { excerpt(&folders.join(";"), 300) }
}

/// `kind = "windows-path-hidden"`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct WindowsPathHidden {}

impl WindowsPathHidden {
    #[allow(clippy::unused_self, reason = "all checks are called alike")]
    pub(super) fn judge(&self, facts: &Facts) -> Answer {
        let place = Place::field("config.Env");
        when_known(&facts.windows, &place, |found| {
            when_known(&found.path, &place, |path| {
                let hidden: Vec<Evidence> = path
                    .hidden
                    .iter()
                    .take(MOST_TOLD)
                    .map(|hidden| {
                        let folder = excerpt(&hidden.folder, 200);
                        hidden.place.says(format!(
                            "this layer puts {folder} on the registry's PATH, which the PATH of Env replaces"
                        ))
                    })
                    .collect();
                match (&path.hidden_open, hidden.is_empty()) {
                    (_, false) => Answer::fail(hidden),
                    (Some(why), true) => Answer::unknown(&path.place, why),
                    (None, true) => Answer::pass(),
                }
            })
        })
    }
}
