//! Decides whether `JAVA_HOME` leads to a Java.

use serde::Deserialize;

use super::when_known;
use crate::facts::{CommandState, Facts};
use crate::parameters::Parameters;
use crate::verdict::{Answer, Place};

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
            if is_needed { answer } else { answer.lesser() }
        })
    }
}
