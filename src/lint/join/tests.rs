//! Tests how what was run changes what was read.

use super::*;
use crate::catalog::Catalog;
use crate::facts::{Fact, Libc, LibcFamily};
use crate::lint::Finding;
use crate::lint::judge;

fn facts(family: LibcFamily) -> Facts {
    let place = Place::path("/lib64/ld-linux-x86-64.so.2");
    let libc =
        Libc { family, version: None, loader: place.clone(), library: place, known_by: Vec::new(), beside: None };
    Facts { libc: Fact::Known(libc), ..Facts::default() }
}

fn test(name: &str, outcome: Outcome, rules: &[&str]) -> Tested {
    let output = "its last words".to_owned();
    Tested {
        stage: OpenStage { name: name.to_owned(), outcome, output, lesser: false },
        is_observed: true,
        rules: rules.iter().map(|rule| (*rule).to_owned()).collect(),
        explained_by: Vec::new(),
        accepted: Vec::new(),
    }
}

/// A profile with the rule about libc, and the severities that are set for it.
fn profile(levels: &[(&str, &str)]) -> (Profile, Overrides) {
    let mut profile = Catalog::builtin().profile("octopus").unwrap();
    profile.rules.retain(|rule| ["libc-not-glibc", "run-failed", "run-undetermined"].contains(&rule.id.as_str()));
    let overrides = profile.overrides(levels).unwrap();
    (profile, overrides)
}

struct Joined {
    judgement: Judgement,
    differing: Vec<(String, Outcome)>,
}

impl Joined {
    fn find(&self, rule: &str) -> Option<&Finding> {
        self.judgement.findings.iter().find(|finding| finding.rule == rule)
    }

    fn verdict(&self) -> Verdict {
        self.judgement.verdict
    }
}

fn joined_by(facts: &Facts, ran: Ran, levels: &[(&str, &str)]) -> Joined {
    let (profile, overrides) = profile(levels);
    let parameters = profile.parameters::<&str, &str>(&[]).unwrap();
    let mut judgement = judge(facts, &profile, &parameters, &overrides);
    let differing = join(&mut judgement, ran, facts, &profile, &parameters, &overrides);
    Joined { judgement, differing }
}

fn joined(facts: &Facts, tested: Vec<Tested>) -> Joined {
    joined_by(facts, Ran { tested, ..Ran::default() }, &[])
}

const LIBC: &[&str] = &["libc-not-glibc"];

#[test]
fn without_a_run_its_rules_do_not_apply() {
    let (profile, overrides) = profile(&[]);
    let parameters = profile.parameters::<&str, &str>(&[]).unwrap();
    let judgement = judge(&facts(LibcFamily::Glibc), &profile, &parameters, &overrides);
    assert_eq!(judgement.not_applicable, ["run-failed", "run-undetermined"]);
    assert_eq!(judgement.verdict, Verdict::Compatible);
    let ran = joined(&facts(LibcFamily::Glibc), vec![test("start", Outcome::Pass, LIBC)]);
    assert_eq!(ran.judgement.passed, ["libc-not-glibc", "run-failed", "run-undetermined"]);
    assert_eq!((ran.verdict(), ran.differing), (Verdict::Compatible, vec![]));
}

#[test]
fn reading_and_running_that_agree_are_one_finding() {
    let ran = joined(&facts(LibcFamily::Musl), vec![test("start", Outcome::Fail, LIBC)]);
    assert_eq!(ran.find("libc-not-glibc").unwrap().evidence.len(), 2);
    assert!(ran.find("run-failed").is_none() && ran.differing.is_empty());
    assert_eq!(ran.verdict(), Verdict::Incompatible);
}

#[test]
fn what_an_image_says_of_itself_refutes_nothing() {
    let said = Tested { is_observed: false, ..test("start", Outcome::Pass, LIBC) };
    for is_trusted in [false, true] {
        let ran = Ran { tested: vec![said.clone()], is_trusted, ..Ran::default() };
        let read = joined_by(&facts(LibcFamily::Musl), ran.clone(), &[]);
        assert_eq!((read.verdict(), read.find("libc-not-glibc").unwrap().evidence.len()), (Verdict::Incompatible, 1));
        let unread = joined_by(&Facts::default(), ran, &[]);
        assert_eq!(unread.verdict(), Verdict::Undetermined, "nor does it answer what is open");
    }
}

#[test]
fn a_disagreement_is_undetermined_unless_the_run_is_trusted() {
    let musl = facts(LibcFamily::Musl);
    let passes = || vec![test("start", Outcome::Pass, LIBC)];
    let ran = joined(&musl, passes());
    let found = ran.find("libc-not-glibc").unwrap();
    assert_eq!((found.outcome, found.evidence.len(), ran.verdict()), (Outcome::Unknown, 2, Verdict::Undetermined));
    assert_eq!(ran.differing, [("libc-not-glibc".to_owned(), Outcome::Fail)]);
    let trusted = joined_by(&musl, Ran { tested: passes(), is_trusted: true, not_started: None }, &[]);
    assert_eq!((trusted.find("libc-not-glibc"), trusted.verdict()), (None, Verdict::Compatible));
    assert_eq!(trusted.differing, ran.differing);

    let glibc = facts(LibcFamily::Glibc);
    let fails = || vec![test("start", Outcome::Fail, LIBC)];
    let ran = joined(&glibc, fails());
    assert_eq!((ran.find("libc-not-glibc").unwrap().outcome, ran.verdict()), (Outcome::Unknown, Verdict::Undetermined));
    assert_eq!(ran.differing, [("libc-not-glibc".to_owned(), Outcome::Pass)]);
    let trusted = joined_by(&glibc, Ran { tested: fails(), is_trusted: true, not_started: None }, &[]);
    assert_eq!(trusted.verdict(), Verdict::Incompatible);
}

#[test]
fn a_disagreement_on_a_rule_of_little_weight_is_not_green() {
    for level in ["warning", "info"] {
        for (family, outcome) in [(LibcFamily::Musl, Outcome::Pass), (LibcFamily::Glibc, Outcome::Fail)] {
            let tested = vec![test("start", outcome, LIBC)];
            let ran = joined_by(&facts(family), Ran { tested, ..Ran::default() }, &[("libc-not-glibc", level)]);
            assert_eq!(ran.verdict(), Verdict::Undetermined, "{level} {outcome:?}");
            let said = &ran.find("run-undetermined").unwrap().evidence[0].statement;
            assert!(said.ends_with("say different things of libc-not-glibc"), "{said}");
        }
    }
}

#[test]
fn an_observed_pass_answers_what_was_open() {
    let ran = joined(&Facts::default(), vec![test("start", Outcome::Pass, LIBC)]);
    assert_eq!((ran.verdict(), ran.differing), (Verdict::Compatible, vec![]));
    assert!(ran.judgement.passed.contains(&"libc-not-glibc".to_owned()));
    let fails = joined(&Facts::default(), vec![test("start", Outcome::Fail, LIBC)]);
    assert_eq!(
        (fails.find("libc-not-glibc").unwrap().outcome, fails.verdict()),
        (Outcome::Fail, Verdict::Incompatible)
    );
}

#[test]
fn a_pass_takes_nothing_back_that_speaks_against_the_image() {
    let stages = [test("linker", Outcome::Fail, LIBC), test("start", Outcome::Pass, LIBC)];
    for order in [[0, 1], [1, 0]] {
        let tested = order.map(|at: usize| stages[at].clone()).to_vec();
        let ran = joined(&facts(LibcFamily::Musl), tested);
        assert_eq!(ran.verdict(), Verdict::Incompatible, "{order:?}");
    }
}

#[test]
fn no_failed_stage_vanishes() {
    let glibc = facts(LibcFamily::Glibc);
    for name in ["pull", "create", "start", "linker", "artifact", "payload", "shell:pwsh"] {
        // None of the rules is in this profile.
        let ran = joined(&glibc, vec![test(name, Outcome::Fail, &["pwsh-missing"])]);
        let found = ran.find("run-failed").unwrap();
        assert_eq!(
            (found.severity, found.outcome, ran.verdict()),
            (Severity::Error, Outcome::Fail, Verdict::Incompatible)
        );
        assert_eq!(found.evidence[0].statement, format!("running it, the stage {name} failed: its last words"));
        assert_eq!(found.evidence[0].basis, Basis::Run);
        let ran = joined(&glibc, vec![test(name, Outcome::Unknown, LIBC)]);
        let found = ran.find("run-undetermined").unwrap();
        assert_eq!(
            (found.severity, found.outcome, ran.verdict()),
            (Severity::Error, Outcome::Unknown, Verdict::Undetermined)
        );
    }
    let tested = vec![test("start", Outcome::Fail, LIBC)];
    let ran = joined_by(&glibc, Ran { tested, ..Ran::default() }, &[("libc-not-glibc", "off")]);
    assert_eq!((ran.verdict(), ran.find("run-failed").is_some()), (Verdict::Incompatible, true), "a rule that is off");
}

#[test]
fn no_rule_explains_that_a_stage_gave_no_answer() {
    let ran = joined(&facts(LibcFamily::Musl), vec![test("start", Outcome::Unknown, LIBC)]);
    assert_eq!(ran.find("libc-not-glibc").unwrap().evidence.len(), 1);
    assert!(ran.find("run-undetermined").is_some());
}

#[test]
fn stages_that_nothing_explains_are_evidence_of_one_finding() {
    let stages = ["payload", "artifact", "payload"].map(|name| test(name, Outcome::Fail, &[])).to_vec();
    let ran = joined(&facts(LibcFamily::Glibc), stages);
    assert_eq!(ran.find("run-failed").unwrap().evidence.len(), 3);
    assert_eq!(ran.judgement.findings.len(), 1);
}

#[test]
fn what_follows_from_an_explained_failure_is_explained() {
    let payload = Tested { explained_by: vec!["libc-not-glibc".to_owned()], ..test("payload", Outcome::Fail, &[]) };
    let stages = vec![test("start", Outcome::Fail, LIBC), payload];
    let ran = joined(&facts(LibcFamily::Musl), stages);
    assert_eq!(ran.find("libc-not-glibc").unwrap().evidence.len(), 2, "once as read, once as run");
    assert_eq!(ran.judgement.findings.len(), 1);
}

#[test]
fn a_rule_explains_a_failure_if_it_weighs_as_much_or_somebody_has_set_what_it_weighs() {
    let musl = facts(LibcFamily::Musl);
    let (mut profile, _) = profile(&[]);
    let run = |profile: &Profile, tested: Tested, levels: &[(&str, &str)]| {
        let parameters = profile.parameters::<&str, &str>(&[]).unwrap();
        let overrides = profile.overrides(levels).unwrap();
        let mut judgement = judge(&musl, profile, &parameters, &overrides);
        let ran = Ran { tested: vec![tested], ..Ran::default() };
        join(&mut judgement, ran, &musl, profile, &parameters, &overrides);
        judgement.verdict
    };
    let fails = || test("start", Outcome::Fail, LIBC);
    assert_eq!(run(&profile, fails(), &[("libc-not-glibc", "warning")]), Verdict::Compatible, "it was asked for");
    profile
        .rules
        .iter_mut()
        .filter(|rule| rule.id == "libc-not-glibc")
        .for_each(|rule| rule.severity = Severity::Warning);
    assert_eq!(run(&profile, fails(), &[]), Verdict::Incompatible);
    let accepted = Tested { accepted: vec!["libc-not-glibc".to_owned()], ..fails() };
    assert_eq!(run(&profile, accepted, &[]), Verdict::Compatible);
}

#[test]
fn what_is_of_little_weight_is_a_warning() {
    let mut cleanup = test("cleanup", Outcome::Fail, &[]);
    cleanup.stage.lesser = true;
    let ran = joined(&facts(LibcFamily::Glibc), vec![cleanup.clone()]);
    assert_eq!((ran.find("run-failed").unwrap().severity, ran.verdict()), (Severity::Warning, Verdict::Compatible));
    let ran = joined(&facts(LibcFamily::Glibc), vec![cleanup, test("payload", Outcome::Fail, &[])]);
    assert_eq!(ran.find("run-failed").unwrap().severity, Severity::Error, "not where another stage failed, too");
}

#[test]
fn a_start_that_was_not_seen_is_never_green() {
    let not_started = Some("create: the engine is for arm64".to_owned());
    let ran = || Ran { not_started: not_started.clone(), ..Ran::default() };
    let open = joined_by(&facts(LibcFamily::Glibc), ran(), &[]);
    assert_eq!(open.verdict(), Verdict::Undetermined);
    let said = &open.find("run-undetermined").unwrap().evidence[0].statement;
    assert_eq!(said, "no container was seen to start: create: the engine is for arm64");
    let fails = joined_by(&facts(LibcFamily::Musl), ran(), &[]);
    assert!(fails.find("run-undetermined").is_none(), "it says nothing new where the verdict is worse");
    let chosen = joined_by(&facts(LibcFamily::Glibc), ran(), &[("run-undetermined", "warning")]);
    assert_eq!(chosen.verdict(), Verdict::Compatible, "it was asked for, and is reported");
    assert!(chosen.find("run-undetermined").is_some());
}
