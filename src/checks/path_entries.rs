//! Decides whether all entries of `PATH` are folders of the image.

use serde::Deserialize;

use super::{MOST_TOLD, when_known};
use crate::facts::shell_files::is_usual;
use crate::facts::{EntryState, Facts, PathEntry};
use crate::printable::excerpt;
use crate::verdict::{Answer, Place};

/// `kind = "path-entries"`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct PathEntries {}

impl PathEntries {
    #[allow(clippy::unused_self, reason = "all checks are called alike")]
    pub(super) fn judge(&self, facts: &Facts) -> Answer {
        when_known(&facts.path, &Place::field("config.Env"), |path| {
            // Nobody chose the entries of the engine's default, which base images repeat.
            let is_default = |entry: &PathEntry| entry.state == EntryState::Missing && is_usual(&entry.folder);
            let is_wrong = |entry: &&PathEntry| entry.state != EntryState::Folder && !is_default(entry);
            let wrong: Vec<&PathEntry> = path.entries.iter().filter(is_wrong).collect();
            if wrong.is_empty() {
                return Answer::pass();
            }
            let is_lesser = wrong.iter().all(|entry| entry.state == EntryState::Missing);
            let answer = Answer::fail(wrong.iter().take(MOST_TOLD).map(|entry| path.place.says(wrong_with(entry))));
            if is_lesser { answer.lesser() } else { answer }
        })
    }
}

fn wrong_with(entry: &PathEntry) -> String {
    let folder = excerpt(&entry.folder, 200);
    match entry.state {
        EntryState::Folder => format!("{folder} is a folder"),
        EntryState::Missing => format!("{folder} is on PATH, but not in the image"),
        EntryState::NotAFolder => format!("{folder} is on PATH, but it is no folder"),
        EntryState::Relative => {
            format!("{folder} on PATH is relative: it means a folder below the step's work folder, not the image's")
        }
        EntryState::Empty => "PATH has an empty entry, which means the step's work folder".to_owned(),
        EntryState::Closed => format!("{folder} is on PATH, but the image's user may not enter it"),
    }
}
