//! Decides whether the selected types of steps find certain things that they need.

use serde::Deserialize;

use super::command_usable::in_no_folder;
use super::{list, when_known};
use crate::facts::steps::{StepFact, StepProblem};
use crate::facts::{Facts, SearchPath};
use crate::parameters::Parameters;
use crate::verdict::{Answer, Evidence, Outcome, Place};

/// How many missing commands are told one by one, each with what happens without it.
const MOST_TOLD_ALONE: usize = 2;

/// `kind = "step-needs"`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct StepNeeds {
    /// The profile's parameter that names the selected types of steps.
    pub parameter: String,
    /// The ids of the needs that the rule speaks of.
    pub needs: Vec<String>,
    /// Whether it is judged, as the lesser defect, where no selected step has such a need.
    #[serde(default)]
    pub otherwise: bool,
}

impl StepNeeds {
    pub(super) fn judge(&self, facts: &Facts, parameters: &Parameters) -> Answer {
        when_known(&facts.steps, &Place::field("config.Env"), |steps| {
            let selected = parameters.texts(&self.parameter);
            if let Some(missing) = selected.iter().find(|step| !steps.contains_key(*step)) {
                return Answer::unknown(
                    &Place::default(),
                    format!("what steps of type {missing} need was not looked at"),
                );
            }
            let speaks_of = |step: &&StepFact| step.needs.iter().any(|need| self.needs.contains(need));
            let having: Vec<&StepFact> = selected.iter().filter_map(|step| steps.get(step)).filter(speaks_of).collect();
            if !having.is_empty() {
                return self.answer(&having, facts.path.known());
            }
            let others: Vec<&StepFact> = steps.values().filter(speaks_of).collect();
            if self.otherwise && !others.is_empty() {
                return self.answer(&others, facts.path.known()).lesser();
            }
            Answer::not_applicable(format!("steps of type {} do not need it", list(&selected)))
        })
    }

    fn answer(&self, steps: &[&StepFact], path: Option<&SearchPath>) -> Answer {
        let mut found: Vec<&StepProblem> = Vec::new();
        let problems = steps.iter().flat_map(|step| &step.problems);
        for problem in problems.filter(|problem| self.needs.contains(&problem.need)) {
            if !found.contains(&problem) {
                found.push(problem);
            }
        }
        // Of what is open the first is told, of each degree.
        let open = [false, true].into_iter().filter_map(|lesser| {
            let is_it = |problem: &&&StepProblem| problem.outcome == Outcome::Unknown && problem.lesser == lesser;
            let problem = found.iter().find(is_it)?;
            let answer = Answer::unknown(&problem.place, &problem.statement);
            Some(if lesser { answer.lesser() } else { answer })
        });
        let failed: Vec<&StepProblem> =
            found.iter().copied().filter(|problem| problem.outcome == Outcome::Fail).collect();
        Answer::worst(open.chain((!failed.is_empty()).then(|| fail(&failed, path))))
    }
}

/// The answer for needs of which all are known not to be met.
fn fail(failed: &[&StepProblem], path: Option<&SearchPath>) -> Answer {
    let mut evidence: Vec<Evidence> = Vec::new();
    // Many commands that are just not there are told in one sentence.
    let missing: Vec<&StepProblem> = failed.iter().copied().filter(|problem| problem.missing.is_some()).collect();
    let told_together = if missing.len() > MOST_TOLD_ALONE { path } else { None };
    if let Some(path) = told_together {
        let mut names: Vec<String> =
            missing.iter().filter_map(|problem| Some(format!("`{}`", problem.missing.as_ref()?))).collect();
        names.dedup();
        evidence.push(path.place.says(in_no_folder(&list(&names), path)));
    }
    for problem in failed.iter().filter(|problem| told_together.is_none() || problem.missing.is_none()) {
        let said = problem.place.says(&problem.statement);
        if !evidence.contains(&said) {
            evidence.push(said);
        }
    }
    let collect = |of: fn(&StepProblem) -> &[String]| {
        let mut all: Vec<String> = failed.iter().flat_map(|problem| of(problem).iter().cloned()).collect();
        let mut seen = std::collections::BTreeSet::new();
        all.retain(|one| seen.insert(one.clone()));
        all
    };
    let folders = collect(|problem| &problem.folders);
    let components = collect(|problem| &problem.components);
    let root = failed.iter().find_map(|problem| problem.root.clone());
    let shadowed = failed.iter().find_map(|problem| problem.shadowed.as_ref());
    let fix = shadowed.map(|(good, bad)| {
        format!("Remove or rebuild {bad}: it comes first on PATH and cannot be run, and {good} behind it works.")
    });
    let answer = Answer { root, fix, ..Answer::fail(evidence).needing(components).with_folders(folders) };
    if failed.iter().all(|problem| problem.lesser) { answer.lesser() } else { answer }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(outcome: Outcome, lesser: bool, statement: &str) -> StepProblem {
        StepProblem { need: "x".to_owned(), outcome, lesser, statement: statement.to_owned(), ..StepProblem::default() }
    }

    #[test]
    fn what_is_open_is_hidden_neither_by_a_lesser_defect_nor_by_a_lesser_question() {
        let check = StepNeeds { parameter: "steps".to_owned(), needs: vec!["x".to_owned()], otherwise: false };
        let answer = |problems: Vec<StepProblem>| {
            let answer = check.answer(&[&StepFact::new(vec!["x".to_owned()], problems)], None);
            (answer.outcome, answer.is_lesser)
        };
        let (open, lesser_open) = (problem(Outcome::Unknown, false, "a"), problem(Outcome::Unknown, true, "b"));
        let (failed, lesser_failed) = (problem(Outcome::Fail, false, "c"), problem(Outcome::Fail, true, "d"));
        assert_eq!(answer(vec![lesser_failed.clone(), open.clone()]), (Outcome::Unknown, false));
        assert_eq!(answer(vec![lesser_open.clone(), open.clone()]), (Outcome::Unknown, false));
        assert_eq!(answer(vec![lesser_open.clone(), lesser_failed]), (Outcome::Fail, true));
        assert_eq!(answer(vec![lesser_open]), (Outcome::Unknown, true), "a fail would be no more");
        assert_eq!(answer(vec![open, failed]), (Outcome::Fail, false));
        assert_eq!(answer(vec![]), (Outcome::Pass, false));
    }
}
