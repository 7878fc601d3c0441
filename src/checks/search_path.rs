//! Decides by what is on `PATH`, what is not, and who would have put it there.

use serde::Deserialize;

use super::{list, when_known};
use crate::facts::off_path::OffPath;
use crate::facts::shell_files::{ShellLine, is_usual};
use crate::facts::{CommandState, EntryState, Facts, PathEntry};
use crate::parameters::Parameters;
use crate::printable::excerpt;
use crate::verdict::{Answer, Evidence, Outcome, Place};

/// How many names one sentence lists, and how many findings of a kind are told.
const MOST_LISTED: usize = 6;
const MOST_TOLD: usize = 12;

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
            let evidence = told.iter().flat_map(|off| evidence(off));
            let folders = told.iter().map(|off| off.folder.clone()).collect();
            let answer = Answer::fail(evidence).with_folders(folders);
            if found.iter().any(is_needed) { answer } else { answer.lesser() }
        })
    }
}

fn evidence(off: &OffPath) -> Vec<Evidence> {
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
    for line in off.added_by.iter().take(2) {
        evidence.push(Place::path(&line.file).says(format!(
            "{} puts it on PATH, which no step reads: {}",
            position(line),
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

fn position(line: &ShellLine) -> String {
    if line.line == 0 { line.file.clone() } else { format!("{}, line {},", line.file, line.line) }
}

/// `kind = "shell-file-path"`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ShellFilePath {}

impl ShellFilePath {
    #[allow(clippy::unused_self, reason = "all checks are called alike")]
    pub(super) fn judge(&self, facts: &Facts) -> Answer {
        when_known(&facts.shell_files, &Place::path("/etc/profile"), |files| {
            let mut evidence: Vec<Evidence> = Vec::new();
            for file in files {
                let is_meant = |folder: &str| !is_usual(folder);
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
                    if !evidence.contains(&said) && evidence.len() < MOST_TOLD {
                        evidence.push(said);
                    }
                }
            }
            if !evidence.is_empty() {
                return Answer::fail(evidence);
            }
            let open = files.iter().find_map(|file| Some((file, file.unknown.first()?)));
            open.map_or_else(Answer::pass, |(file, line)| {
                Answer::unknown(&file.place, format!("{} {}", position(line).trim_end_matches(','), said_of(line)))
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

/// `kind = "path-entries"`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct PathEntries {}

impl PathEntries {
    #[allow(clippy::unused_self, reason = "all checks are called alike")]
    pub(super) fn judge(&self, facts: &Facts) -> Answer {
        when_known(&facts.path, &Place::field("config.Env"), |path| {
            // Nobody chose the entries of the engine's default.
            let is_wrong = |entry: &&PathEntry| entry.state != EntryState::Folder && !path.is_default;
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

/// `kind = "commands-usable"`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct CommandsUsable {
    /// The profile's parameter that names the selected types of steps.
    pub parameter: String,
}

impl CommandsUsable {
    pub(super) fn judge(&self, facts: &Facts, parameters: &Parameters) -> Answer {
        let selected = parameters.texts(&self.parameter);
        when_known(&facts.commands, &Place::field("config.Env"), |commands| {
            let broken: Vec<_> =
                commands.iter().filter(|(_, command)| command.state == CommandState::Unusable).collect();
            if broken.is_empty() {
                return Answer::pass();
            }
            let mut told = broken.clone();
            told.sort_by_key(|(_, command)| command.needed_by.is_empty());
            let mut evidence: Vec<Evidence> = Vec::new();
            for (name, command) in told.iter().take(MOST_TOLD) {
                let why = command.why.as_deref().unwrap_or("it is not a program that can be started here");
                evidence.push(command.place.says(format!("`{name}` is on PATH but cannot be run: {why}")));
            }
            if broken.len() > MOST_TOLD {
                evidence.push(
                    facts
                        .path
                        .known()
                        .map(|path| path.place.clone())
                        .unwrap_or_default()
                        .says(format!("{} more commands on PATH cannot be run", broken.len() - MOST_TOLD)),
                );
            }
            let is_needed =
                broken.iter().any(|(_, command)| command.needed_by.iter().any(|step| selected.contains(step)));
            let answer = Answer::fail(evidence);
            if is_needed { answer } else { answer.lesser() }
        })
    }
}

/// `kind = "java-home"`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct JavaHomeLeads {
    /// The profile's parameter that names the selected types of steps.
    pub parameter: String,
}

impl JavaHomeLeads {
    pub(super) fn judge(&self, facts: &Facts, parameters: &Parameters) -> Answer {
        let is_needed = parameters.texts(&self.parameter).iter().any(|step| step == "java");
        when_known(&facts.java_home, &Place::field("config.Env"), |home| {
            let why = home.why.as_deref().unwrap_or("there is nothing that can be run");
            let statement = format!(
                "JAVA_HOME is {}, but {}/bin/java cannot be run: {why}",
                home.value,
                home.value.trim_end_matches('/')
            );
            let answer = match home.java {
                CommandState::Usable => return Answer::pass(),
                CommandState::Unknown => Answer::unknown(&home.place, statement),
                CommandState::Missing | CommandState::Unusable => Answer::fail([home.place.says(statement)]),
            };
            if is_needed || answer.outcome == Outcome::Pass { answer } else { answer.lesser() }
        })
    }
}

/// `kind = "env-set"`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct EnvSet {
    /// The variables that are told.
    pub variables: Vec<String>,
}

impl EnvSet {
    pub(super) fn judge(&self, facts: &Facts) -> Answer {
        when_known(&facts.configuration, &Place::field("config.Env"), |configuration| {
            let is_set = |name: &&String| configuration.env.get(*name).is_some_and(|set| !set.value.is_empty());
            let evidence: Vec<Evidence> = self
                .variables
                .iter()
                .filter(is_set)
                .filter_map(|name| {
                    let set = configuration.env.get(name)?;
                    Some(set.place.says(format!("ENV sets {name} to {}", excerpt(&without_password(&set.value), 200))))
                })
                .collect();
            if evidence.is_empty() { Answer::pass() } else { Answer::fail(evidence) }
        })
    }
}

/// An address without what stands before its `@`.
fn without_password(value: &str) -> String {
    match value.rsplit_once('@') {
        Some((before, host)) => {
            let scheme = before.split_once("://").map_or("", |(scheme, _)| scheme);
            if scheme.is_empty() { format!("…@{host}") } else { format!("{scheme}://…@{host}") }
        }
        None => value.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_of_proxies_are_not_told() {
        assert_eq!(without_password("http://me:secret@proxy:3128"), "http://…@proxy:3128");
        assert_eq!(without_password("http://proxy:3128"), "http://proxy:3128");
    }

    #[test]
    fn many_names_are_counted() {
        let names: Vec<String> = (0..8).map(|number| format!("c{number}")).collect();
        assert_eq!(named(&names), "c0, c1, c2, c3, c4, c5 and 2 more");
        assert_eq!(named(&names[..2]), "c0 and c1");
    }
}
