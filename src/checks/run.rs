//! Decides whether a run of the image failed, or left something open, that no rule about the image explains.

use serde::Deserialize;

use crate::facts::run::{OpenStage, RunFacts};
use crate::verdict::{Answer, Basis, Evidence, Outcome, Place};

/// `kind = "run"`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct RunIs {
    /// What the run is not to be.
    pub is: RunDefect,
}

/// What can be wrong with a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RunDefect {
    /// A stage failed.
    Failed,
    /// A stage gave no answer, no container was seen to start, or reading and running disagree.
    Undetermined,
}

impl RunIs {
    /// What a run says; `None` where the image was not run.
    pub(crate) fn judge(&self, run: Option<&RunFacts>) -> Answer {
        let Some(run) = run else { return Answer::not_applicable("the image was not run") };
        let outcome = match self.is {
            RunDefect::Failed => Outcome::Fail,
            RunDefect::Undetermined => Outcome::Unknown,
        };
        let stages: Vec<&OpenStage> = run.stages.iter().filter(|stage| stage.outcome == outcome).collect();
        let mut statements: Vec<String> = stages.iter().map(|stage| stage.statement()).collect();
        let mut is_lesser = stages.iter().all(|stage| stage.lesser);
        if self.is == RunDefect::Undetermined {
            let differs = |rule| format!("reading the image and running it say different things of {rule}");
            let not_started = run.not_started.iter().map(|why| format!("no container was seen to start: {why}"));
            let others: Vec<String> = run.disagreements.iter().map(differs).chain(not_started).collect();
            is_lesser &= others.is_empty();
            statements.extend(others);
        }
        if statements.is_empty() {
            return Answer::pass();
        }
        let evidence = |statement| Evidence { basis: Basis::Run, statement, place: Place::default() };
        let answer = Answer { outcome, ..Answer::fail(statements.into_iter().map(evidence)) };
        if is_lesser { answer.lesser() } else { answer }
    }
}
