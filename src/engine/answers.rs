//! What a run says about rules: which stage tests exactly what a rule asks.

use super::path::CLOSED_HOME;
use super::said::is_of_user;
use super::stage::{Form, RunReport, StageReport};
use crate::verdict::{Basis, Evidence, Outcome, Place};

/// Rules that say why nothing at all can be loaded.
const LOADING: [&str; 4] = ["dotnet-library-missing", "symbol-version-missing", "glibc-too-old", "libc-not-glibc"];

/// Rules that say why no ICU can be loaded.
const OF_ICU: [&str; 5] =
    ["icu-unusable", "dotnet-library-missing", "symbol-version-missing", "glibc-too-old", "libc-not-glibc"];

/// What one stage says about rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunAnswer {
    /// Pass or fail.
    pub outcome: Outcome,
    /// The rules that the stage tests: a pass refutes each of them; of a fail the first is at fault.
    pub rules: Vec<&'static str>,
    /// Other rules that explain a fail.
    pub explained_by: Vec<&'static str>,
    /// The stage and what was seen.
    pub evidence: Evidence,
}

/// What a run decides. A stage that did not take place, or could not be told, decides nothing.
#[must_use]
pub fn answers(run: &RunReport) -> Vec<(String, RunAnswer)> {
    let decided = run.stages.iter().filter(|stage| matches!(stage.outcome, Outcome::Pass | Outcome::Fail));
    decided.filter_map(|stage| Some((stage.name.clone(), answer(stage, run.form)?))).collect()
}

/// The rule whose fault a .NET program's last words are; nothing where they are its own affair.
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

fn answer(stage: &StageReport, form: Form) -> Option<RunAnswer> {
    let is_pass = stage.outcome == Outcome::Pass;
    // What old servers leave of the image's entrypoint may run in a shell's place.
    let in_its_place: &[&str] = if form == Form::OldWorker { &["entrypoint-defined"] } else { &[] };
    let (rules, explained_by): (&[&str], &[&str]) = match stage.name.as_str() {
        // That this worker's home can be entered does not mean that others can.
        "start" if stage.variant.as_deref() == Some(CLOSED_HOME) && !is_pass => (&["user-not-root"], &[]),
        // A user whom the image does not know says nothing of loaders and shells.
        _ if stage.variant.is_some() || is_of_user(&stage.output) => return None,
        "start" if form == Form::Pod => (&["shell-missing"], &["bash-missing", "core-command-missing"]),
        "start" => (&["libc-not-glibc"], &LOADING),
        "linker" if is_pass || !stage.output.contains("version `") => {
            (&["dotnet-library-missing", "symbol-version-missing"], &LOADING)
        }
        "linker" => (&["symbol-version-missing"], &LOADING),
        // That its libraries can be loaded does not mean that an ICU is of use: `icu-unusable` is not refuted.
        "globalization" => (&["icu-missing"], &OF_ICU),
        "cryptography" => (&["openssl-library-missing"], &LOADING),
        "shell:bash" => (&["bash-missing"], in_its_place),
        "shell:pwsh" => (&["pwsh-missing"], in_its_place),
        "shell:python3" => (&["python-missing"], in_its_place),
        "variables:python3" if is_pass => (&["python-crypto-missing"], &[]),
        // Calamari would try to install it first.
        "variables:python3" => (&[], &["python-crypto-missing"]),
        "variables" => (&["openssl-command-missing"], &[]),
        "payload" | "payload:run-script" if !is_pass => (rules_of_payload(&stage.output)?, &LOADING),
        _ => return None,
    };
    let said = if stage.output.is_empty() { String::new() } else { format!(": {}", stage.output) };
    let word = if is_pass { "passed" } else { "failed" };
    let statement = format!("running it, the stage {} {word}{said}", stage.name);
    Some(RunAnswer {
        outcome: stage.outcome,
        rules: rules.to_vec(),
        explained_by: explained_by.to_vec(),
        evidence: Evidence { basis: Basis::Run, statement, place: Place::default() },
    })
}
