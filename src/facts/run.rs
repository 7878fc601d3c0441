//! What running an image left open: what no rule about the image itself explains.

use serde::{Deserialize, Serialize};

use crate::verdict::Outcome;

/// What a run left open. A run of which nothing is left open passed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RunFacts {
    /// The stages that failed or gave no answer, in order.
    pub stages: Vec<OpenStage>,
    /// Rules that reading and running decide differently, and whose own findings do not weigh enough to show it.
    pub disagreements: Vec<String>,
    /// Why no container was seen to start, if none was.
    pub not_started: Option<String>,
}

/// A stage that failed or gave no answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OpenStage {
    /// Its name, and the variant of the run in brackets.
    pub name: String,
    /// `fail` or `unknown`.
    pub outcome: Outcome,
    /// What was said last.
    #[serde(default)]
    pub output: String,
    /// Whether it says nothing of what a step does in the usual form of a run.
    #[serde(default)]
    pub lesser: bool,
}

impl OpenStage {
    /// What was seen: a sentence without its full stop.
    #[must_use]
    pub fn statement(&self) -> String {
        let word = match self.outcome {
            Outcome::Pass => "passed",
            Outcome::Unknown => "gave no answer",
            Outcome::Fail | Outcome::NotApplicable => "failed",
        };
        let said = if self.output.is_empty() { String::new() } else { format!(": {}", self.output) };
        format!("running it, the stage {} {word}{}", self.name, said.trim_end_matches('.'))
    }
}
