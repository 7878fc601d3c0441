//! Joins what running an image showed to what reading it said.
//!
//! What an image says of itself can only make a verdict worse. Only what was observed may refute what was read, and even
//! then a disagreement leaves the verdict open, unless the run is trusted. A stage that failed or gave no answer is
//! always behind a finding that weighs enough: of the rule that explains it, or of the rules about the run.

use crate::catalog::{Overrides, Profile};
use crate::checks::Check;
use crate::facts::Facts;
use crate::facts::run::{OpenStage, RunFacts};
use crate::parameters::Parameters;
use crate::verdict::{Answer, Basis, Evidence, Outcome, Place, Severity, Verdict};

use super::fix::wrong_base;
use super::{Judgement, finding};

/// What running an image showed.
#[derive(Clone, Debug, Default)]
pub struct Ran {
    /// The stages, in order.
    pub tested: Vec<Tested>,
    /// Why no container was seen to start, if none was.
    pub not_started: Option<String>,
    /// Whether what was run counts where it differs from what was read.
    pub is_trusted: bool,
}

/// What one stage says about rules.
#[derive(Clone, Debug)]
pub struct Tested {
    /// The stage: its outcome is pass, fail or unknown.
    pub stage: OpenStage,
    /// Whether the outcome was observed, and is not only what the image says of itself.
    pub is_observed: bool,
    /// The rules that it tests: an observed pass refutes each of them. Of a fail the first is at fault.
    pub rules: Vec<String>,
    /// Other rules that explain a fail, if they weigh as much as one.
    pub explained_by: Vec<String>,
    /// Those of all these rules that explain a fail whatever they weigh: they say that it depends on the host.
    pub accepted: Vec<String>,
}

/// Joins what running an image showed to what reading it said. The evidence of both stays. Returns the rules of which
/// they say different things, with what reading said.
pub fn join(
    judgement: &mut Judgement,
    ran: Ran,
    facts: &Facts,
    profile: &Profile,
    parameters: &Parameters,
    overrides: &Overrides,
) -> Vec<(String, Outcome)> {
    let Ran { tested, not_started, is_trusted } = ran;
    let (open, differing) = (RunFacts::default(), Vec::new());
    let mut join = Join { judgement, facts, profile, parameters, overrides, is_trusted, open, differing };
    // What speaks for the image comes first, so that it takes nothing back that speaks against it.
    let (passed, others) = tested.into_iter().partition::<Vec<_>, _>(|test| test.stage.outcome == Outcome::Pass);
    for test in passed.into_iter().filter(|test| test.is_observed) {
        join.passed(&test);
    }
    for test in others {
        join.not_passed(test);
    }
    join.judge_run();
    if join.judgement.verdict == Verdict::Compatible && not_started.is_some() {
        join.open.not_started = not_started;
        join.judge_run();
    }
    join.differing
}

struct Join<'a> {
    judgement: &'a mut Judgement,
    facts: &'a Facts,
    profile: &'a Profile,
    parameters: &'a Parameters,
    overrides: &'a Overrides,
    is_trusted: bool,
    /// What no rule about the image explains.
    open: RunFacts,
    /// The rules that reading and running decide differently, with what reading said.
    differing: Vec<(String, Outcome)>,
}

impl Join<'_> {
    /// A stage that was observed to pass answers what was open, and contradicts what was read to fail.
    fn passed(&mut self, test: &Tested) {
        for rule in &test.rules {
            let Some(at) = self.judgement.findings.iter().position(|finding| finding.rule == *rule) else { continue };
            let finding = &mut self.judgement.findings[at];
            let was_read = finding.evidence.iter().all(|piece| piece.basis == Basis::Read);
            if finding.outcome == Outcome::Fail {
                self.differing.push((rule.clone(), Outcome::Fail));
                if !self.is_trusted {
                    finding.outcome = Outcome::Unknown;
                    finding.evidence.push(evidence(test));
                    let severity = finding.severity;
                    self.disagree(rule, severity);
                    continue;
                }
            }
            // A second stage that passes does not settle what the first has left open.
            if was_read {
                self.judgement.findings.remove(at);
                self.judgement.passed.push(rule.clone());
            }
        }
    }

    /// A disagreement is never green: the rule's own finding has to weigh enough, or the run's does.
    fn disagree(&mut self, rule: &str, severity: Severity) {
        if severity != Severity::Error && !self.open.disagreements.iter().any(|known| known == rule) {
            self.open.disagreements.push(rule.to_owned());
        }
    }

    /// A stage that failed or gave no answer.
    fn not_passed(&mut self, test: Tested) {
        if test.stage.outcome != Outcome::Fail {
            // No rule about the image explains why an engine does not answer, or why a program does not end.
            self.open.stages.push(test.stage);
            return;
        }
        // What the stage tests comes before what else may explain it, a fail before what is open.
        let explains = |outcome: Outcome| {
            let is_it =
                |rule: &&String| self.judgement.findings.iter().any(|one| one.rule == **rule && one.outcome == outcome);
            test.rules.iter().chain(&test.explained_by).find(is_it).cloned()
        };
        if let Some(rule) = explains(Outcome::Fail).or_else(|| explains(Outcome::Unknown)) {
            let mut is_enough = false;
            for finding in self.judgement.findings.iter_mut().filter(|finding| finding.rule == rule) {
                // Another form of the run says nothing of what is open in the usual one.
                if !test.stage.lesser || test.rules.contains(&rule) {
                    finding.outcome = Outcome::Fail;
                }
                // What follows from the same defect is in the run's stages.
                if finding.evidence.iter().all(|piece| piece.basis == Basis::Read) {
                    finding.evidence.push(evidence(&test));
                }
                let is_chosen = self.overrides.contains_key(&rule) || self.profile.levels.contains_key(&rule);
                let is_accepted = test.stage.lesser || test.accepted.contains(&rule);
                is_enough = finding.severity == Severity::Error || is_chosen || is_accepted;
            }
            if !is_enough {
                self.open.stages.push(test.stage);
            }
            return;
        }
        // Nothing that was read explains it.
        let passed = test.rules.iter().find(|rule| self.judgement.passed.contains(*rule));
        let rule = passed.and_then(|rule| self.profile.rule(rule).ok());
        let is_lesser = test.stage.lesser;
        let severity = rule.and_then(|rule| self.profile.severity(rule, self.parameters, self.overrides, is_lesser));
        let Some((rule, severity)) = rule.zip(severity) else {
            self.open.stages.push(test.stage);
            return;
        };
        self.judgement.passed.retain(|passed| *passed != rule.id);
        self.differing.push((rule.id.clone(), Outcome::Pass));
        let outcome = if self.is_trusted { Outcome::Fail } else { Outcome::Unknown };
        let answer = Answer { outcome, ..Answer::fail([evidence(&test)]) };
        let base = wrong_base(&self.judgement.findings, self.profile);
        self.judgement.findings.push(finding(rule, severity, answer, self.facts, self.parameters, base.as_deref()));
        if !self.is_trusted {
            self.disagree(&rule.id, severity);
        } else if severity != Severity::Error && !test.accepted.contains(&rule.id) {
            self.open.stages.push(test.stage);
        }
    }

    /// Judges the rules about the run by what is left open.
    fn judge_run(&mut self) {
        for rule in &self.profile.rules {
            let Check::Run(check) = &rule.check else { continue };
            let Judgement { findings, passed, not_applicable, .. } = &mut *self.judgement;
            for ids in [passed, not_applicable] {
                ids.retain(|id| *id != rule.id);
            }
            findings.retain(|finding| finding.rule != rule.id);
            let answer = check.judge(Some(&self.open));
            if answer.outcome == Outcome::Pass {
                self.judgement.passed.push(rule.id.clone());
                continue;
            }
            let severity = self.profile.severity(rule, self.parameters, self.overrides, answer.is_lesser);
            // These rules cannot be switched off.
            let severity = severity.unwrap_or_else(|| rule.severity_of(self.parameters, answer.is_lesser));
            self.judgement.findings.push(finding(rule, severity, answer, self.facts, self.parameters, None));
        }
        self.judgement.settle();
    }
}

fn evidence(test: &Tested) -> Evidence {
    Evidence { basis: Basis::Run, statement: test.stage.statement(), place: Place::default() }
}

#[cfg(test)]
mod tests;
