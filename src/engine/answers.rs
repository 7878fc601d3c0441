//! What a run says about rules: which stage tests exactly what a rule asks, and which rules explain that it failed.

use super::path::CLOSED_HOME;
use super::said::is_of_user;
use super::stage::{Form, RunReport, StageReport};
use crate::verdict::Outcome;

/// Rules that say why nothing at all can be loaded.
const LOADING: [&str; 4] = ["dotnet-library-missing", "symbol-version-missing", "glibc-too-old", "libc-not-glibc"];

/// The rule that says why engines create or start no container.
const NO_START: &str = "container-does-not-start";

/// Rules that say why a container does not start.
const OF_START: [&str; 5] =
    [NO_START, "dotnet-library-missing", "symbol-version-missing", "glibc-too-old", "libc-not-glibc"];

/// Rules that say why no ICU can be loaded.
const OF_ICU: [&str; 5] =
    ["icu-unusable", "dotnet-library-missing", "symbol-version-missing", "glibc-too-old", "libc-not-glibc"];

/// Rules that say why a program of the user's own does not run, whatever it prints.
const OF_PAYLOAD: [&str; 11] = [
    "program-unusable",
    "libc-not-glibc",
    "dotnet-library-missing",
    "symbol-version-missing",
    "glibc-too-old",
    "icu-missing",
    "icu-unusable",
    "openssl-library-missing",
    "dotnet-runtime-missing",
    "home-not-writable",
    "temp-folder-missing",
];

/// Rules that say why Calamari does not run a script, whatever it prints.
const OF_SCRIPT: [&str; 3] = ["openssl-command-missing", "bash-missing", "home-not-writable"];

/// Rules that say why a step's artifact does not come to be, or is not announced.
const OF_ARTIFACT: [&str; 4] = ["user-not-root", "openssl-command-missing", "core-command-missing", "bash-missing"];

/// The rule that says which users depend on the host.
const OF_USER: &str = "user-not-root";

/// What one stage says about rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunAnswer {
    /// The stage's name, and the variant of the run in brackets.
    pub stage: String,
    /// Pass, fail or unknown.
    pub outcome: Outcome,
    /// What was said last.
    pub output: String,
    /// Whether imglint observed the outcome itself.
    pub is_observed: bool,
    /// Whether it says nothing of what a step does in the usual form of a run.
    pub is_lesser: bool,
    /// The rules that it tests: an observed pass refutes each of them. Of a fail the first is at fault.
    pub rules: Vec<&'static str>,
    /// Other rules that explain a fail, if they weigh as much as one.
    pub explained_by: Vec<&'static str>,
    /// Those of all these rules that explain a fail whatever they weigh: they say that it depends on the host.
    pub accepted: Vec<&'static str>,
}

/// Which rules a stage is about.
#[derive(Clone, Copy, Default)]
struct Rules {
    tested: &'static [&'static str],
    explained_by: &'static [&'static str],
    accepted: &'static [&'static str],
}

/// What the stages of a run say. A stage that did not take place says nothing: the one before it does.
#[must_use]
pub fn answers(run: &RunReport) -> Vec<RunAnswer> {
    run.stages.iter().filter_map(|stage| answer(stage, run)).collect()
}

/// Why no container was seen to start; `None` if one was.
#[must_use]
pub fn not_started(run: &RunReport) -> Option<String> {
    let usual = || run.stages.iter().filter(|stage| stage.variant.is_none());
    let passed = || usual().filter(|stage| stage.outcome == Outcome::Pass);
    let is_started = match run.stage("start").map(|stage| stage.outcome) {
        Some(Outcome::Pass) => true,
        Some(Outcome::Fail | Outcome::Unknown) => false,
        // Where no program is brought along, or it is not the one that counts, any program of the image shows it.
        Some(Outcome::NotApplicable) | None => passed().any(|stage| stage.exit_code.is_some()),
    };
    if is_started {
        return None;
    }
    let first = usual().find(|stage| stage.outcome != Outcome::Pass);
    Some(first.map_or_else(|| "nothing was run".to_owned(), |stage| format!("{}: {}", stage.name, stage.output)))
}

/// The rule whose fault a .NET program's last words are; `None` where they are its own affair.
fn rules_of_payload(output: &str) -> Option<&'static [&'static str]> {
    const WORDS: [(&str, &[&str]); 18] = [
        ("Couldn't find a valid ICU package", &["icu-missing", "icu-unusable"]),
        ("Failed to load app-local ICU", &["icu-missing", "icu-unusable"]),
        ("Cannot get symbol u_", &["icu-unusable", "icu-missing"]),
        ("No usable version of libssl", &["openssl-library-missing"]),
        ("version `", &["symbol-version-missing"]),
        ("symbol lookup error", &["symbol-version-missing"]),
        ("error while loading shared libraries: libz.so.1", &["zlib-missing", "dotnet-library-missing"]),
        ("error while loading shared libraries", &["dotnet-library-missing"]),
        ("Unable to load shared library 'libSystem.Native'", &["dotnet-library-missing"]),
        ("You must install or update .NET", &["dotnet-runtime-missing"]),
        ("You must install .NET", &["dotnet-runtime-missing"]),
        ("It was not possible to find any compatible framework version", &["dotnet-runtime-missing"]),
        ("Failure processing application bundle", &["home-not-writable"]),
        ("Could not extract contents of the bundle", &["home-not-writable"]),
        ("Failed to create CoreCLR, HRESULT: 0x80004005", &["temp-folder-missing", "dotnet-library-missing"]),
        ("openssl: command not found", &["openssl-command-missing"]),
        ("please ensure that bash is installed", &["bash-missing"]),
        ("The time zone ID", &["tzdata-missing"]),
    ];
    WORDS.iter().find(|(words, _)| output.contains(words)).map(|(_, rules)| *rules)
}

fn answer(stage: &StageReport, run: &RunReport) -> Option<RunAnswer> {
    // A payload that was given and not run leaves open what was asked.
    let outcome = match stage.outcome {
        Outcome::NotApplicable if stage.name == "payload" && has_started(run) => Outcome::Unknown,
        Outcome::NotApplicable => return None,
        outcome => outcome,
    };
    let is_variant = stage.variant.is_some();
    let is_usual_the_same = || run.stage(&stage.name).is_some_and(|usual| usual.outcome == outcome);
    // What is the same in the usual form of the run is reported there.
    if is_variant && (outcome == Outcome::Pass || is_usual_the_same()) {
        return None;
    }
    let Rules { tested, explained_by, accepted } = rules(stage, outcome == Outcome::Pass, run.form);
    let variant = stage.variant.as_ref().map(|variant| format!(" [{variant}]")).unwrap_or_default();
    Some(RunAnswer {
        stage: format!("{}{variant}", stage.name),
        outcome,
        output: stage.output.clone(),
        is_observed: stage.observed,
        is_lesser: is_variant || stage.name == "cleanup",
        rules: tested.to_vec(),
        explained_by: explained_by.to_vec(),
        accepted: accepted.to_vec(),
    })
}

fn has_started(run: &RunReport) -> bool {
    not_started(run).is_none()
}

/// The rules of a stage that passed, or did not.
fn rules(stage: &StageReport, is_pass: bool, form: Form) -> Rules {
    let about = |tested, explained_by| Rules { tested, explained_by, accepted: &[] };
    // What old servers leave of the image's entrypoint may run in a shell's place.
    let in_its_place: &[&str] = if form == Form::OldWorker { &["entrypoint-defined"] } else { &[] };
    match stage.name.as_str() {
        // That this worker's home can be entered does not mean that others can.
        "start" if stage.variant.as_deref() == Some(CLOSED_HOME) => {
            Rules { tested: &[OF_USER], explained_by: &[], accepted: &[OF_USER] }
        }
        // A user whom the image does not know says nothing of loaders and shells.
        _ if is_of_user(&stage.output) && !is_pass => about(&[], &[NO_START]),
        _ if stage.variant.is_some() => Rules::default(),
        "create" => about(&[], &[NO_START]),
        "start" if form == Form::Pod => about(&["shell-missing"], &["bash-missing", "core-command-missing", NO_START]),
        "start" => about(&["libc-not-glibc"], &OF_START),
        "linker" if is_pass || !stage.output.contains("version `") => {
            about(&["dotnet-library-missing", "symbol-version-missing"], &LOADING)
        }
        "linker" => about(&["symbol-version-missing"], &LOADING),
        // That its libraries can be loaded does not mean that an ICU is of use: `icu-unusable` is not refuted.
        "globalization" => about(&["icu-missing"], &OF_ICU),
        "cryptography" => about(&["openssl-library-missing"], &LOADING),
        "shell:bash" => about(&["bash-missing"], in_its_place),
        "shell:pwsh" => about(&["pwsh-missing"], in_its_place),
        "shell:python3" => about(&["python-missing"], in_its_place),
        "variables:python3" if is_pass => about(&["python-crypto-missing"], &[]),
        // Calamari would try to install it first.
        "variables:python3" => {
            Rules { tested: &[], explained_by: &["python-crypto-missing"], accepted: &["python-crypto-missing"] }
        }
        "variables" => about(&["openssl-command-missing"], &["bash-missing"]),
        "artifact" => Rules { tested: &[], explained_by: &OF_ARTIFACT, accepted: &[OF_USER, "core-command-missing"] },
        "payload" | "payload:run-script" if !is_pass => match rules_of_payload(&stage.output) {
            Some(tested) => about(tested, &LOADING),
            None if stage.name == "payload" => about(&[], &OF_PAYLOAD),
            None => about(&[], &OF_SCRIPT),
        },
        _ => Rules::default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::Catalog;

    fn run(stages: Vec<StageReport>) -> RunReport {
        RunReport { stages, ..RunReport::none("pull", Outcome::Pass, "") }
    }

    fn stage(name: &str, outcome: Outcome) -> StageReport {
        StageReport::new(name, outcome, "")
    }

    fn variant(name: &str, outcome: Outcome, variant: &str) -> StageReport {
        StageReport { variant: Some(variant.to_owned()), ..stage(name, outcome) }
    }

    #[test]
    fn every_rule_that_a_stage_names_is_there() {
        let ids = Catalog::builtin().rule_ids();
        let mut named: Vec<&str> = [&LOADING[..], &OF_ICU, &OF_PAYLOAD, &OF_SCRIPT, &OF_ARTIFACT].concat();
        let names = [
            "pull",
            "create",
            "start",
            "linker",
            "globalization",
            "cryptography",
            "shell:bash",
            "shell:pwsh",
            "shell:python3",
            "variables",
            "variables:python3",
            "artifact",
            "payload",
            "payload:run-script",
            "cleanup",
        ];
        for name in names {
            for form in [Form::Worker, Form::OldWorker, Form::Pod] {
                for stage in [stage(name, Outcome::Fail), variant(name, Outcome::Fail, CLOSED_HOME)] {
                    for is_pass in [true, false] {
                        let Rules { tested, explained_by, accepted } = rules(&stage, is_pass, form);
                        named.extend([tested, explained_by, accepted].concat());
                    }
                }
            }
        }
        for words in ["valid ICU package", "No usable version of libssl", "libz.so.1", "The time zone ID"] {
            let said = format!("error while loading shared libraries: Couldn't find a {words}");
            named.extend(rules_of_payload(&said).unwrap());
        }
        let unknown: Vec<_> = named.into_iter().filter(|rule| !ids.contains(rule)).collect();
        assert!(unknown.is_empty(), "{unknown:?}");
    }

    #[test]
    fn every_stage_that_failed_or_gave_no_answer_says_something() {
        for name in ["pull", "create", "start", "artifact", "payload", "tool:git", "cleanup", "something new"] {
            for outcome in [Outcome::Fail, Outcome::Unknown] {
                let all = answers(&run(vec![stage(name, outcome)]));
                assert_eq!(all.len(), 1, "{name}");
                assert_eq!((all[0].outcome, all[0].is_lesser), (outcome, name == "cleanup"));
            }
        }
    }

    #[test]
    fn another_form_of_the_run_says_only_what_is_otherwise() {
        let all = answers(&run(vec![
            stage("start", Outcome::Pass),
            stage("shell:bash", Outcome::Fail),
            variant("start", Outcome::Fail, "uid 999"),
            variant("shell:bash", Outcome::Fail, "uid 999"),
            variant("variables", Outcome::Pass, "uid 999"),
        ]));
        let told: Vec<_> = all.iter().map(|answer| (answer.stage.as_str(), answer.is_lesser)).collect();
        assert_eq!(told, [("start", false), ("shell:bash", false), ("start [uid 999]", true)]);
        let closed = answers(&run(vec![variant("start", Outcome::Fail, CLOSED_HOME)]));
        assert_eq!((closed[0].rules.as_slice(), closed[0].is_lesser), (&[OF_USER][..], true));
    }

    #[test]
    fn a_payload_that_was_not_run_is_open_unless_nothing_was() {
        let payload = || stage("payload", Outcome::NotApplicable);
        let all = answers(&run(vec![stage("start", Outcome::Pass), payload()]));
        assert_eq!((all[1].stage.as_str(), all[1].outcome), ("payload", Outcome::Unknown));
        assert_eq!(answers(&run(vec![stage("start", Outcome::Fail), payload()])).len(), 1);
    }

    #[test]
    fn a_container_was_seen_to_start_by_its_program_or_by_any() {
        let ended = |name| StageReport { exit_code: Some(0), ..stage(name, Outcome::Pass) };
        assert_eq!(not_started(&run(vec![stage("start", Outcome::Pass)])), None);
        assert_eq!(not_started(&run(vec![ended("shell:bash")])), None);
        assert_eq!(not_started(&run(vec![stage("start", Outcome::NotApplicable), ended("payload")])), None);
        for outcome in [Outcome::Fail, Outcome::Unknown] {
            let why = not_started(&run(vec![stage("start", outcome), ended("shell:bash")]));
            assert_eq!(why, Some("start: ".to_owned()));
        }
        assert!(
            not_started(&run(vec![stage("create", Outcome::Pass), variant("start", Outcome::Pass, "x")])).is_some()
        );
        let foreign = RunReport::none("create", Outcome::NotApplicable, "it is for arm64");
        assert_eq!(not_started(&foreign), Some("create: it is for arm64".to_owned()));
    }

    #[test]
    fn a_user_whom_the_image_does_not_have_is_no_fault_of_its_shells() {
        let output = "unable to find user nobody-here: no matching entries in passwd file";
        let unknown = StageReport { output: output.to_owned(), ..stage("shell:bash", Outcome::Fail) };
        let all = answers(&run(vec![unknown]));
        assert_eq!((all[0].rules.len(), all[0].explained_by.as_slice()), (0, &[NO_START][..]));
    }
}
