//! Decides whether the environment lets scripts of bash run as they are written.

use serde::Deserialize;

use super::{MOST_TOLD, list, when_known};
use crate::facts::Facts;
use crate::facts::bash_start::BashProblem;
use crate::parameters::Parameters;
use crate::verdict::{Answer, Outcome, Place};

/// `kind = "bash-start"`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct BashStartClean {
    /// The profile's parameter that names the selected types of steps.
    pub parameter: String,
    /// The types of steps that bash runs.
    pub steps: Vec<String>,
}

impl BashStartClean {
    pub(super) fn judge(&self, facts: &Facts, parameters: &Parameters) -> Answer {
        let selected = parameters.texts(&self.parameter);
        when_known(&facts.bash_start, &Place::field("config.Env"), |bash| {
            if !selected.iter().any(|step| self.steps.iter().any(|own| own == step)) {
                return Answer::not_applicable(format!("steps of type {} are not run by bash", list(&selected)));
            }
            let has = |outcome| bash.problems.iter().filter(move |problem| problem.outcome == outcome);
            let failed: Vec<&BashProblem> = has(Outcome::Fail).collect();
            if failed.iter().all(|problem| problem.lesser)
                && let Some(open) = has(Outcome::Unknown).next()
            {
                return Answer::unknown(&open.place, &open.statement);
            }
            if failed.is_empty() {
                return Answer::pass();
            }
            let is_lesser = failed.iter().all(|problem| problem.lesser);
            let mut told = failed;
            told.sort_by_key(|problem| problem.lesser);
            let answer =
                Answer::fail(told.iter().take(MOST_TOLD).map(|problem| problem.place.says(&problem.statement)));
            if is_lesser { answer.lesser() } else { answer }
        })
    }
}
