//! Decides whether a shell file sets a `PATH` that no step reads.

use std::collections::BTreeSet;

use serde::Deserialize;

use super::{MOST_TOLD, when_known};
use crate::facts::Facts;
use crate::facts::shell_files::{ShellLine, is_usual};
use crate::printable::excerpt;
use crate::verdict::{Answer, Evidence, Place};

/// `kind = "shell-file-path"`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ShellFilePath {}

impl ShellFilePath {
    #[allow(clippy::unused_self, reason = "all checks are called alike")]
    pub(super) fn judge(&self, facts: &Facts) -> Answer {
        when_known(&facts.shell_files, &Place::path("/etc/profile"), |files| {
            let mut evidence: Vec<Evidence> = Vec::new();
            let mut told = BTreeSet::new();
            for file in files {
                let bash = facts.bash_start.known().and_then(|bash| bash.path.as_ref());
                let is_in_bash = |folder: &str| bash.is_some_and(|path| path.folders.iter().any(|own| own == folder));
                let is_meant = |folder: &str| !is_usual(folder) && !is_in_bash(folder);
                for added in
                    file.adds.iter().filter(|added| !added.is_on_path && !added.has_commands && is_meant(&added.folder))
                {
                    let of = added.file.as_ref().unwrap_or(&file.path);
                    let said = file.place.says(format!(
                        "{of}, line {}, puts {} on PATH for {} only, and the image has no commands there: {}",
                        added.line,
                        added.folder,
                        file.read_by,
                        excerpt(&added.text, 120)
                    ));
                    // A file that several source is told once.
                    if told.insert((of, added.line, &added.folder)) && evidence.len() < MOST_TOLD {
                        evidence.push(said);
                    }
                }
            }
            if !evidence.is_empty() {
                return Answer::fail(evidence);
            }
            let open = files.iter().find_map(|file| Some((file, file.unknown.first()?)));
            open.map_or_else(Answer::pass, |(file, line)| {
                Answer::unknown(&file.place, format!("{} {}", line.position().trim_end_matches(','), said_of(line)))
            })
        })
    }
}

fn said_of(line: &ShellLine) -> String {
    if line.text.is_empty() {
        format!("could not be told: {}", line.why)
    } else {
        format!("({}): {}", excerpt(&line.text, 120), line.why)
    }
}
