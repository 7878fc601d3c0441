//! Tells which Java a step gets: the target starts `$JAVA_HOME/bin/java` where that is set, else `java` on `PATH`.

use serde::{Deserialize, Serialize};

use super::commands::{Caller, CommandSearch};
use super::programs::Surroundings;
use super::{CommandState, Fact};
use crate::verdict::Place;

/// `JAVA_HOME` and what is there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct JavaHome {
    /// Its value.
    pub value: String,
    /// What is at `bin/java` below it.
    pub java: CommandState,
    /// Why that cannot be run.
    pub why: Option<String>,
    /// Where the variable is set.
    pub place: Place,
}

/// What `JAVA_HOME` leads to.
#[must_use]
pub fn java_home(around: &Surroundings<'_>, search: &CommandSearch<'_>) -> Fact<JavaHome> {
    let Some(value) = around.variable("JAVA_HOME").filter(|value| !value.is_empty()) else {
        return Fact::not_applicable("the image does not set JAVA_HOME");
    };
    let command = search.at(&format!("{}/bin/java", value.trim_end_matches('/')), Caller::Execve);
    Fact::Known(JavaHome {
        value: value.to_owned(),
        java: command.state,
        why: command.why,
        place: around.variable_place("JAVA_HOME"),
    })
}
