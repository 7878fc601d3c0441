//! Decides whether a command is on `PATH` and can be run.

use serde::Deserialize;

use super::when_known;
use crate::facts::{Command, CommandState, Facts, SearchPath};
use crate::printable::excerpt;
use crate::verdict::{Answer, Evidence, Place};

/// `kind = "command-usable"`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct CommandUsable {
    /// The name that is looked up.
    pub command: String,
}

impl CommandUsable {
    pub(super) fn judge(&self, facts: &Facts) -> Answer {
        when_known(&facts.commands, &Place::field("config.Env"), |commands| match commands.get(&self.command) {
            Some(command) => self.answer(command, facts.path.known()),
            None if let Some(why) = facts.windows.known().and_then(|windows| windows.more_commands.as_deref()) => {
                Answer::unknown(&Place::field("config.Env"), why)
            }
            // All commands on PATH are known, so one that is not among them is in none of its folders.
            None => self.answer(&Command::default(), facts.path.known()),
        })
    }

    fn answer(&self, command: &Command, path: Option<&SearchPath>) -> Answer {
        let name = &self.command;
        match command.state {
            CommandState::Usable => Answer::pass(),
            CommandState::Unusable => {
                let why = command.why.as_deref().unwrap_or("it is not a program that can be started here");
                Answer::fail([command.place.says(format!("`{name}` is on PATH but cannot be run: {why}"))])
            }
            CommandState::Unknown => {
                Answer::unknown(&command.place, command.why.as_deref().unwrap_or("it was not looked into"))
            }
            CommandState::Missing => Answer::fail([missing(name, command, path)]),
        }
    }
}

fn missing(name: &str, command: &Command, path: Option<&SearchPath>) -> Evidence {
    let place = match path {
        Some(path) if command.place == Place::default() => path.place.clone(),
        _ if command.place == Place::default() => Place::field("config.Env"),
        _ => command.place.clone(),
    };
    match (path, &command.why) {
        (Some(path), _) => place.says(in_no_folder(&format!("`{name}`"), path)),
        (None, Some(why)) => place.says(format!("`{name}` is missing: {why}")),
        (None, None) => place.says(format!("no folder of PATH has `{name}`")),
    }
}

/// That `PATH` has none of `names`, which are written out.
pub(super) fn in_no_folder(names: &str, path: &SearchPath) -> String {
    let whose = if path.is_default { "the engine's default PATH" } else { "PATH" };
    if path.folders.is_empty() {
        format!("{names} cannot be found: PATH is empty")
    } else {
        format!("no folder of {whose} has {names}: {}", excerpt(&path.folders.join(":"), 400))
    }
}
