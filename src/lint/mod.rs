//! Judges an image: every rule of a profile over its facts, and the verdict that follows from them.

mod fix;
mod join;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::catalog::{Overrides, Profile, Rule};
use crate::checks::Check;
use crate::facts::Facts;
use crate::parameters::Parameters;
use crate::verdict::{Answer, Evidence, Outcome, Severity, Verdict};

pub use join::{Ran, Tested, join};

/// What one profile says of one image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judgement {
    /// The verdict on the whole image.
    pub verdict: Verdict,
    /// The rules that failed or could not be decided, by severity, then id.
    pub findings: Vec<Finding>,
    /// The ids of the rules that passed, in order.
    pub passed: Vec<String>,
    /// The ids of the rules that do not speak of such an image, in order.
    pub not_applicable: Vec<String>,
}

/// A rule that failed or could not be decided.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Finding {
    /// The rule's id.
    pub rule: String,
    /// How much it matters here.
    pub severity: Severity,
    /// Whether it failed or is unknown.
    pub outcome: Outcome,
    /// The rule's fixed words.
    pub title: String,
    /// What is so in this image, at least one statement.
    pub evidence: Vec<Evidence>,
    /// What to do about it, on this image's distribution where that is known.
    pub fix: String,
    /// Where the target's documentation speaks of it.
    pub docs: String,
}

/// Judges an image by a profile. Rules that `overrides` or the profile switch off are not judged at all.
#[must_use]
pub fn judge(facts: &Facts, profile: &Profile, parameters: &Parameters, overrides: &Overrides) -> Judgement {
    let mut judgement = Judgement {
        verdict: Verdict::Compatible,
        findings: Vec::new(),
        passed: Vec::new(),
        not_applicable: Vec::new(),
    };
    // What is wrong with the base itself goes first: it decides what can be done about the rest.
    let (of_base, others): (Vec<&Rule>, Vec<&Rule>) =
        profile.rules.iter().partition(|rule| matches!(rule.check, Check::Libc(_)));
    for rule in of_base.into_iter().chain(others) {
        if profile.severity(rule, parameters, overrides, false).is_none() {
            continue;
        }
        let base = fix::wrong_base(&judgement.findings, profile);
        // Which releases of a distribution are supported does not matter where it has to be another one.
        if base.is_some() && matches!(rule.check, Check::DistributionSupported(_)) {
            judgement.not_applicable.push(rule.id.clone());
            continue;
        }
        let answer = rule.check.judge(facts, parameters);
        let severity = profile.severity(rule, parameters, overrides, answer.is_lesser);
        match answer.outcome {
            Outcome::Pass => judgement.passed.push(rule.id.clone()),
            Outcome::NotApplicable => judgement.not_applicable.push(rule.id.clone()),
            Outcome::Fail | Outcome::Unknown => {
                judgement.findings.extend(
                    severity.map(|severity| finding(rule, severity, answer, facts, parameters, base.as_deref())),
                );
            }
        }
    }
    judgement.settle();
    judgement
}

impl Judgement {
    /// Puts everything in order, and works out the verdict.
    fn settle(&mut self) {
        self.passed.sort();
        self.not_applicable.sort();
        self.findings.sort_by(|one, other| (one.severity, &one.rule).cmp(&(other.severity, &other.rule)));
        self.verdict = verdict(&self.findings);
    }
}

/// `base` is the rule that says that the base has to be changed, whatever else is wrong.
fn finding(
    rule: &Rule,
    severity: Severity,
    answer: Answer,
    facts: &Facts,
    parameters: &Parameters,
    base: Option<&str>,
) -> Finding {
    let wording = rule.wording(parameters);
    let fix = fix::fix(rule, &answer, facts, parameters, base);
    Finding {
        rule: rule.id.clone(),
        severity,
        outcome: answer.outcome,
        title: wording.title.to_owned(),
        evidence: answer.evidence,
        fix: fix.trim().to_owned(),
        docs: rule.docs.clone(),
    }
}

/// The verdict that follows from the findings: only those of severity error count.
#[must_use]
pub fn verdict<'a>(findings: impl IntoIterator<Item = &'a Finding>) -> Verdict {
    let worst = findings
        .into_iter()
        .filter(|finding| finding.severity == Severity::Error)
        .map(|finding| if finding.outcome == Outcome::Fail { Verdict::Incompatible } else { Verdict::Undetermined });
    worst.max().unwrap_or(Verdict::Compatible)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::{Catalog, Level};
    use crate::facts::{ConfigurationFacts, Fact, Libc, LibcFamily, Setting};
    use crate::verdict::Place;

    fn libc(family: LibcFamily) -> Fact<Libc> {
        let place = Place::path("/lib64/ld-linux-x86-64.so.2");
        Fact::Known(Libc {
            family,
            version: None,
            loader: place.clone(),
            library: place,
            known_by: Vec::new(),
            beside: None,
        })
    }

    fn judged(facts: &Facts, set: &[(&str, &str)], levels: &[(&str, &str)]) -> Judgement {
        let profile = Catalog::builtin().profile("octopus").unwrap();
        judge(facts, &profile, &profile.parameters(set).unwrap(), &profile.overrides(levels).unwrap())
    }

    #[test]
    fn nothing_known_is_undetermined() {
        let judgement = judged(&Facts::default(), &[], &[]);
        assert_eq!(judgement.verdict, Verdict::Undetermined);
        assert!(judgement.passed.is_empty());
        let order: Vec<_> = judgement.findings.iter().map(|finding| (finding.severity, &finding.rule)).collect();
        assert!(order.is_sorted(), "{order:?}");
    }

    #[test]
    fn an_error_that_fails_outweighs_one_that_is_open() {
        let facts = Facts { libc: libc(LibcFamily::Musl), ..Facts::default() };
        assert_eq!(judged(&facts, &[], &[]).verdict, Verdict::Incompatible);
    }

    #[test]
    fn overrides_have_the_last_word() {
        let facts = Facts { libc: libc(LibcFamily::Musl), ..Facts::default() };
        let judgement = judged(&facts, &[], &[("libc-not-glibc", "off")]);
        assert!(judgement.findings.iter().all(|finding| finding.rule != "libc-not-glibc"));
        let judgement = judged(&facts, &[], &[("libc-not-glibc", "info")]);
        assert_eq!(judgement.verdict, Verdict::Undetermined, "the others are still open");
        let last = judgement.findings.iter().find(|finding| finding.rule == "libc-not-glibc").unwrap();
        assert_eq!((last.severity, Level::Info.severity()), (Severity::Info, Some(Severity::Info)));
    }

    #[test]
    fn parameters_change_words_and_severity() {
        let entrypoint = Setting { value: vec!["/init".to_owned()], place: Place::field("config.Entrypoint") };
        let configuration = Fact::Known(ConfigurationFacts { entrypoint, ..ConfigurationFacts::default() });
        let facts = Facts { configuration, ..Facts::default() };
        let find =
            |judgement: Judgement| judgement.findings.into_iter().find(|f| f.rule == "entrypoint-defined").unwrap();
        let before = find(judged(&facts, &[], &[]));
        let after = find(judged(&facts, &[("server", "2024.1")], &[]));
        let old = find(judged(&facts, &[("server", "2020.6")], &[]));
        assert_eq!(
            (before.severity, after.severity, old.severity),
            (Severity::Warning, Severity::Warning, Severity::Error)
        );
        assert_eq!(before.title, after.title);
        assert_ne!(before.title, old.title);
    }
}
