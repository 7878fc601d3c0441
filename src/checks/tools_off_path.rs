//! Decides whether tools are installed where only a shell's files put them on `PATH`.

use serde::Deserialize;

use super::{MOST_TOLD, list, when_known};
use crate::facts::Facts;
use crate::facts::off_path::OffPath;
use crate::parameters::Parameters;
use crate::printable::excerpt;
use crate::verdict::{Answer, Evidence, Place};

/// How many names one sentence lists.
const MOST_LISTED: usize = 6;

/// `kind = "tools-off-path"`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ToolsOffPath {
    /// The profile's parameter that names the selected types of steps.
    pub parameter: String,
}

impl ToolsOffPath {
    pub(super) fn judge(&self, facts: &Facts, parameters: &Parameters) -> Answer {
        let selected = parameters.texts(&self.parameter);
        when_known(&facts.off_path, &Place::field("config.Env"), |found| {
            if found.is_empty() {
                return Answer::pass();
            }
            let is_needed = |off: &OffPath| off.needed_by.iter().any(|step| selected.contains(step));
            let mut told: Vec<&OffPath> = found.iter().collect();
            told.sort_by_key(|off| !is_needed(off));
            told.truncate(MOST_TOLD);
            // What the file of BASH_ENV sources is not known where it could not be followed.
            let bash = facts.bash_start.known();
            let may_be_read = bash.is_some_and(|bash| bash.reads.is_some() || bash.path_unknown.is_some());
            let reader = if may_be_read { "the target itself does not read" } else { "no step reads" };
            let evidence = told.iter().flat_map(|off| evidence(off, reader));
            let folders = told.iter().map(|off| off.folder.clone()).collect();
            let answer = Answer::fail(evidence).with_folders(folders);
            if found.iter().any(is_needed) { answer } else { answer.lesser() }
        })
    }
}

fn evidence(off: &OffPath, reader: &str) -> Vec<Evidence> {
    let by = match (&off.by, &off.version) {
        (Some(by), Some(version)) => format!(" ({by}, {version})"),
        (Some(by), None) => format!(" ({by})"),
        (None, Some(version)) => format!(" ({version})"),
        (None, None) => String::new(),
    };
    let statement = format!("{}{by} are only in {}, which is not on PATH", named(&off.commands), off.folder);
    let statement =
        if off.commands.len() == 1 { statement.replacen(" are only in ", " is only in ", 1) } else { statement };
    let mut evidence = vec![off.place.says(statement)];
    if off.is_in_bash {
        let why = "scripts of bash find it by the file of BASH_ENV; what the target starts itself does not";
        evidence.push(Place::field("config.Env").says(why));
        return evidence;
    }
    for line in off.added_by.iter().take(2) {
        evidence.push(Place::path(&line.file).says(format!(
            "{} puts it on PATH, which {reader}: {}",
            line.position(),
            excerpt(&line.text, 120)
        )));
    }
    evidence
}

fn named(commands: &[String]) -> String {
    let shown: Vec<&str> = commands.iter().take(MOST_LISTED).map(String::as_str).collect();
    match commands.len().checked_sub(MOST_LISTED) {
        Some(more) if more > 0 => format!("{} and {more} more", shown.join(", ")),
        _ => list(&shown),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_names_are_counted() {
        let names: Vec<String> = (0..8).map(|number| format!("c{number}")).collect();
        assert_eq!(named(&names), "c0, c1, c2, c3, c4, c5 and 2 more");
        assert_eq!(named(&names[..2]), "c0 and c1");
    }
}
