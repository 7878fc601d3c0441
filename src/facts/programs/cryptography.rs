//! Whether a .NET program reaches cryptography: the probe for OpenSSL as the runtime does it.

use super::collect::Surroundings;
use super::globalization::Reached;
use super::loading::{component, not_loaded, outcome, removed, statement};
use super::{DotnetFact, Problem, ProblemKind, Stage};
use crate::facts::openssl::without_ciphers;
use crate::linker::{Failure, Process, Why};
use crate::tables::dotnet::Release;
use crate::verdict::{Outcome, Place};

/// The longest version that the variable may name, in bytes (dotnet/runtime, `opensslshim.c`).
const LONGEST_VERSION: usize = 32;

/// Goes through the stage (dotnet/runtime, `opensslshim.c`, `OpenLibraryOnce`), and leaves in `process` what it loads.
pub fn reach(
    around: &Surroundings<'_>,
    release: &Release,
    process: &mut Process<'_>,
    caller: usize,
    fact: &mut DotnetFact,
) -> Reached {
    let openssl = &release.openssl;
    let chosen = around.variable(&openssl.variable).filter(|version| version.len() <= LONGEST_VERSION);
    let versions = chosen.into_iter().chain(openssl.versions.iter().map(String::as_str));
    let mut failures: Vec<Failure> = Vec::new();
    for version in versions {
        let name = format!("libssl.so.{version}");
        match process.open(&name, caller) {
            Ok(_) => {
                let problem = if version == "3" { configured(around, release) } else { None };
                fact.openssl = Some(name);
                return Reached { problems: problem.into_iter().collect(), ..Reached::default() };
            }
            Err(more) => failures.extend(more),
        }
    }
    in_vain(around, release, &failures)
}

/// What the configuration of OpenSSL says against ciphers.
fn configured(around: &Surroundings<'_>, release: &Release) -> Option<Problem> {
    let (outcome, statement, place) = without_ciphers(around)?;
    Some(Problem {
        kind: ProblemKind::OpensslWithoutCiphers,
        stage: Some(Stage::Cryptography),
        outcome,
        statement: format!("{statement}; a program for .NET {} ends when it first encrypts", release.version),
        place,
        component: None,
    })
}

fn in_vain(around: &Surroundings<'_>, release: &Release, failures: &[Failure]) -> Reached {
    let version = &release.version;
    let is_telling = |failure: &&Failure| match &failure.why {
        Why::NotFound(found) => !failure.library.starts_with("libssl.so") || !found.passed_over.is_empty(),
        _ => true,
    };
    let telling = failures.iter().find(is_telling);
    let names: Vec<String> = release.openssl.versions.iter().map(|version| format!("libssl.so.{version}")).collect();
    let names = names.join(", ");
    let there = around.rootfs.files_named("libssl.so.");
    let gone = failures.iter().find_map(|failure| removed(failure, around.rootfs));
    let (mut text, mut place) = match (telling, failures.first()) {
        (Some(failure), _) => (
            format!("there is an OpenSSL, but .NET {version} cannot use it: {}", statement(failure, around.rootfs)),
            failure.place.clone(),
        ),
        (None, Some(first)) => {
            let looked_in = match &first.why {
                Why::NotFound(found) => found.looked_in.join(", "),
                _ => String::new(),
            };
            let others: Vec<String> = there.iter().map(|path| crate::layer::path::absolute(path)).collect();
            let others =
                if others.is_empty() { String::new() } else { format!("; there is only {}", others.join(", ")) };
            let text = format!("{} looks for {names}, and finds none in {looked_in}{others}", first.asked_by);
            (text, super::loading::place(first))
        }
        (None, None) => (format!(".NET {version} looks for {names}"), Place::default()),
    };
    if let Some(gone) = &gone
        && let (Some(path), Some(layer)) = (&gone.path, gone.layer)
    {
        if !text.contains("takes") {
            text.push_str(&format!("; layer {layer} takes {path} away"));
        }
        place = gone.clone();
    }
    let missing = telling.map_or_else(|| "libssl.so".to_owned(), |failure| failure.library.clone());
    let is_open = telling.is_some_and(|failure| outcome(failure) == Outcome::Unknown);
    let knows_3 = release.openssl.versions.iter().any(|version| version == "3");
    let needed = component(&missing).filter(|_| gone.is_none());
    let needed = needed.map(|needed| if knows_3 { needed } else { "openssl-1.1" });
    let problem = Problem {
        kind: ProblemKind::OpensslMissing,
        stage: Some(Stage::Cryptography),
        outcome: if is_open { Outcome::Unknown } else { Outcome::Fail },
        statement: text,
        place,
        component: needed.map(str::to_owned),
    };
    let libraries = telling.or(failures.first()).and_then(not_loaded).into_iter().collect();
    Reached { problems: vec![problem], libraries, missing: vec![missing] }
}
