//! Decides whether all commands on `PATH` can be run.

use serde::Deserialize;

use super::{MOST_TOLD, when_known};
use crate::facts::{Command, CommandState, Facts};
use crate::parameters::Parameters;
use crate::tables::steps::steps;
use crate::verdict::{Answer, Evidence, Place};

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
            let is_broken = |command: &Command| {
                let in_bash = command.in_bash.as_ref().map(|found| found.state);
                command.state == CommandState::Unusable || in_bash == Some(CommandState::Unusable)
            };
            let broken: Vec<_> = commands.iter().filter(|(_, command)| is_broken(command)).collect();
            if broken.is_empty() {
                return Answer::pass();
            }
            let mut told = broken.clone();
            told.sort_by_key(|(_, command)| command.needed_by.is_empty());
            let mut evidence: Vec<Evidence> = Vec::new();
            for (name, command) in told.iter().take(MOST_TOLD) {
                let (why, place) = match &command.in_bash {
                    Some(found) if command.state != CommandState::Unusable => (&found.why, &found.place),
                    _ => (&command.why, &command.place),
                };
                let why = why.as_deref().unwrap_or("it is not a program that can be started here");
                let whom = match &command.in_bash {
                    Some(found) if found.state == CommandState::Usable => "can be run by scripts of bash only",
                    Some(found) if command.state != found.state => "cannot be run by scripts of bash",
                    _ => "cannot be run",
                };
                evidence.push(place.says(format!("`{name}` is on PATH but {whom}: {why}")));
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
            let is_needed = broken.iter().any(|(name, command)| {
                command.needed_by.iter().any(|step| selected.contains(step) && lacks(step, name, command))
            });
            // To install anew what works already does not help.
            let remove = |(_, command): &(&String, &Command)| {
                let (good, bad) = command.usable_behind.as_ref().zip(command.place.path.as_ref())?;
                Some(format!("Remove or rebuild {bad}: {good} behind it works."))
            };
            let lines: Option<Vec<String>> = broken.iter().map(remove).collect();
            let fix = lines.filter(|lines| lines.len() <= MOST_TOLD).map(|lines| lines.join("\n"));
            let answer = Answer { fix, ..Answer::fail(evidence) };
            if is_needed { answer } else { answer.lesser() }
        })
    }
}

/// Whether those who start a command in a type of step get none that can be run.
fn lacks(step: &str, name: &str, command: &Command) -> bool {
    let Ok(table) = steps() else { return true };
    let callers = table.callers(step, name);
    let in_bash = command.in_bash.as_ref().map_or(command.state, |found| found.state);
    // What the table does not list is taken to be started by the target.
    let by_others = callers.by_others || !callers.by_bash;
    (by_others && command.state == CommandState::Unusable) || (callers.by_bash && in_bash == CommandState::Unusable)
}
