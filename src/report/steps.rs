//! Which types of steps an image is ready for, or at least has the tools for: the selected ones, then the others.

use std::collections::BTreeMap;

use super::ImageResult;
use crate::facts::steps::StepFact;
use crate::tables::steps::steps;
use crate::verdict::{Outcome, Verdict};

/// How many needs are named of a step that an image is not ready for.
const MOST_NAMED: usize = 3;

/// The rows of the table, each a label and a text; none where steps were not looked at.
pub(super) fn table(result: &ImageResult) -> Vec<(&'static str, String)> {
    let facts: Option<BTreeMap<String, StepFact>> =
        result.facts.get("steps").and_then(|steps| serde_json::from_value(steps.clone()).ok());
    let Some(facts) = facts.filter(|facts| !facts.contains_key("unknown") && !facts.contains_key("not_applicable"))
    else {
        return Vec::new();
    };
    let selected: Vec<&str> =
        result.parameters.get("steps").map(|steps| steps.split(',').collect()).unwrap_or_default();
    let is_selected = |step: &str| selected.contains(&step);
    let row = |wanted: &dyn Fn(&str, &StepFact) -> bool| {
        let named = facts.iter().filter(|(step, fact)| wanted(step, fact)).map(|(step, fact)| named(step, fact));
        named.collect::<Vec<String>>().join(", ")
    };
    // A step needs more than its tools: what stops it otherwise is among the findings.
    let is_stopped = result.verdict != Verdict::Compatible;
    let (ready, also_ready) =
        if is_stopped { ("has tools for", "also tools for") } else { ("steps ready", "also ready for") };
    let rows = [
        (ready, row(&|step, fact| is_selected(step) && fact.outcome == Outcome::Pass)),
        ("not ready", row(&|step, fact| is_selected(step) && fact.outcome != Outcome::Pass)),
        (also_ready, row(&|step, fact| !is_selected(step) && fact.outcome == Outcome::Pass)),
        ("not for", row(&|step, fact| !is_selected(step) && fact.outcome == Outcome::Fail)),
        ("perhaps for", row(&|step, fact| !is_selected(step) && fact.outcome == Outcome::Unknown)),
    ];
    rows.into_iter().filter(|(_, text)| !text.is_empty()).collect()
}

/// A step, and what it lacks.
fn named(step: &str, fact: &StepFact) -> String {
    let problems = fact.problems.iter().filter(|problem| !problem.lesser && problem.outcome == fact.outcome);
    let words =
        |id: &str| steps().ok().and_then(|table| Some(table.need(id)?.words())).unwrap_or_else(|| id.to_owned());
    let mut needs: Vec<String> = problems.map(|problem| words(&problem.need)).collect();
    needs.dedup();
    if fact.outcome == Outcome::Pass || needs.is_empty() {
        return step.to_owned();
    }
    let more = if needs.len() > MOST_NAMED { ", …" } else { "" };
    needs.truncate(MOST_NAMED);
    let word = if fact.outcome == Outcome::Fail { "no" } else { "unknown" };
    format!("{step} ({word} {}{more})", needs.join(", "))
}
