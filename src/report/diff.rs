//! What got better and what got worse from one report to another.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::terms::{lasting_name, verdict_word};
use super::{ImageResult, Report};
use crate::printable::printable;
use crate::verdict::{Outcome, Severity, Verdict};

/// What a rule is to an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum State {
    Fine,
    Ignored,
    Unknown(Severity),
    Fails(Severity),
}

/// The difference in words, and whether something got worse: an image whose verdict did, or that failed or open rules of
/// severity error were added to.
#[must_use]
pub fn diff(old: &Report, new: &Report) -> (String, bool) {
    let (before, after) = (by_name(old), by_name(new));
    let mut out = String::new();
    let mut is_worse = false;
    for (name, result) in &after {
        let lines = match before.get(name) {
            None => vec![format!("  new image: {}", verdict_word(result.verdict))],
            Some(earlier) => changes(earlier, result),
        };
        let earlier = before.get(name).map_or(Verdict::Compatible, |earlier| earlier.verdict);
        let adds_error = lines.iter().any(|line| line.starts_with("  worse: error"));
        is_worse |= rank(result.verdict) > rank(earlier) || adds_error;
        if !lines.is_empty() {
            // Writing to a String cannot fail.
            let _ = writeln!(out, "{}\n{}", printable(name), lines.join("\n"));
        }
    }
    for name in before.keys().filter(|name| !after.contains_key(*name)) {
        let _ = writeln!(out, "{}\n  no longer checked", printable(name));
    }
    if out.is_empty() {
        out.push_str("nothing changed\n");
    }
    (out, is_worse)
}

/// How bad a verdict is.
fn rank(verdict: Verdict) -> u8 {
    match verdict {
        Verdict::Compatible => 0,
        Verdict::Undetermined => 1,
        Verdict::Incompatible => 2,
        Verdict::Failed => 3,
    }
}

/// Results by image without tag, platform and profile; of several of one name the tag tells them apart.
fn by_name(report: &Report) -> BTreeMap<String, &ImageResult> {
    let mut all = BTreeMap::new();
    for result in &report.results {
        let platform = result.image.platform.as_ref().map(|platform| format!("  {platform}")).unwrap_or_default();
        let named = |name: &str| format!("{name}{platform}, profile {}", result.profile);
        let lasting = named(&lasting_name(&result.image));
        let name = if all.contains_key(&lasting) { named(&result.image.reference) } else { lasting };
        all.insert(name, result);
    }
    all
}

fn states(result: &ImageResult) -> BTreeMap<&str, State> {
    let found = result.findings.iter().map(|reported| {
        let severity = reported.finding.severity;
        let state = match reported.finding.outcome {
            _ if reported.ignored.is_some() => State::Ignored,
            Outcome::Unknown => State::Unknown(severity),
            _ => State::Fails(severity),
        };
        (reported.finding.rule.as_str(), state)
    });
    let fine = result.passed.iter().chain(&result.not_applicable).map(|rule| (rule.as_str(), State::Fine));
    fine.chain(found).collect()
}

fn changes(old: &ImageResult, new: &ImageResult) -> Vec<String> {
    let mut lines = Vec::new();
    if old.verdict != new.verdict {
        lines.push(format!("  {} → {}", verdict_word(old.verdict), verdict_word(new.verdict)));
    }
    if new.verdict == Verdict::Failed || old.verdict == Verdict::Failed {
        return lines;
    }
    let (before, after) = (states(old), states(new));
    for (rule, now) in &after {
        let then = before.get(rule).copied().unwrap_or(State::Fine);
        if then == *now {
            continue;
        }
        let word = if weight(*now) > weight(then) { "worse" } else { "better" };
        lines.push(format!("  {word}: {} {}, was {}", kind(*now, then), printable(rule), told(then, *now)));
    }
    for (rule, then) in before.iter().filter(|(rule, then)| !after.contains_key(*rule) && **then != State::Fine) {
        lines.push(format!("  better: {} {}, no longer judged", kind(*then, *then), printable(rule)));
    }
    lines
}

/// The severity that a change is about.
fn kind(now: State, then: State) -> &'static str {
    match (now, then) {
        (State::Unknown(severity) | State::Fails(severity), _)
        | (_, State::Unknown(severity) | State::Fails(severity)) => super::terms::severity_word(severity),
        _ => "ignored",
    }
}

fn weight(state: State) -> u8 {
    match state {
        State::Fine => 0,
        State::Ignored => 1,
        State::Unknown(severity) => 8 - 2 * severity as u8,
        State::Fails(severity) => 9 - 2 * severity as u8,
    }
}

fn told(then: State, now: State) -> String {
    let word = |state| match state {
        State::Fine => "fine",
        State::Ignored => "ignored",
        State::Unknown(_) => "open",
        State::Fails(_) => "failing",
    };
    format!("{} and is {}", word(then), word(now))
}
