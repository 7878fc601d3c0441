//! Judges an image: every rule of a profile over its facts, and the verdict that follows from them.

use serde::{Deserialize, Serialize};

use crate::catalog::{Overrides, Profile, Rule};
use crate::facts::Facts;
use crate::parameters::Parameters;
use crate::verdict::{Evidence, Outcome, Severity, Verdict};

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
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
    for rule in &profile.rules {
        let Some(severity) = profile.severity(rule, parameters, overrides) else { continue };
        let answer = rule.check.judge(facts, parameters);
        match answer.outcome {
            Outcome::Pass => judgement.passed.push(rule.id.clone()),
            Outcome::NotApplicable => judgement.not_applicable.push(rule.id.clone()),
            outcome @ (Outcome::Fail | Outcome::Unknown) => {
                judgement.findings.push(finding(rule, severity, outcome, answer.evidence, facts, parameters));
            }
        }
    }
    judgement.passed.sort();
    judgement.not_applicable.sort();
    judgement.findings.sort_by(|one, other| (one.severity, &one.rule).cmp(&(other.severity, &other.rule)));
    judgement.verdict = verdict(&judgement.findings);
    judgement
}

fn finding(
    rule: &Rule,
    severity: Severity,
    outcome: Outcome,
    evidence: Vec<Evidence>,
    facts: &Facts,
    parameters: &Parameters,
) -> Finding {
    let wording = rule.wording(parameters);
    Finding {
        rule: rule.id.clone(),
        severity,
        outcome,
        title: wording.title.to_owned(),
        evidence,
        fix: wording.fix(facts.os_release.known()).trim().to_owned(),
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
        assert_eq!((before.severity, after.severity), (Severity::Error, Severity::Warning));
        assert_ne!(before.title, after.title);
    }
}
