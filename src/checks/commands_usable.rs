//! Decides whether all commands on `PATH` can be run.

use serde::Deserialize;

use super::{MOST_TOLD, when_known};
use crate::facts::{CommandState, Facts};
use crate::parameters::Parameters;
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
