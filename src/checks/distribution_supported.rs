//! Decides whether the distribution is on the list of those that a .NET release supports.

use serde::Deserialize;

use super::{list, when_known, without_parameter};
use crate::facts::{Facts, OsRelease};
use crate::parameters::Parameters;
use crate::printable::excerpt;
use crate::tables::distributions::{self, Distributions, Dotnet, Standing};
use crate::verdict::{Answer, Evidence, Outcome, Place};

/// `kind = "distribution-supported"`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct DistributionSupported {
    /// The profile's parameter that names the .NET release.
    pub parameter: String,
}

impl DistributionSupported {
    pub(super) fn judge(&self, facts: &Facts, parameters: &Parameters) -> Answer {
        let versions = parameters.texts(&self.parameter);
        if versions.is_empty() {
            return without_parameter(&self.parameter);
        }
        when_known(&facts.os_release, &Place::path("/etc/os-release"), |system| {
            if !system.present {
                return Answer::not_applicable("there is no os-release file that names a distribution");
            }
            match distributions::distributions() {
                Ok(table) => together(versions.iter().map(|version| judge(table, version, system))),
                Err(error) => Answer::unknown(&system.place, format!("the table of distributions is broken: {error}")),
            }
        })
    }
}

/// One answer of those for several releases: it fails if one of them fails, else is unknown if one of them is.
fn together(answers: impl Iterator<Item = Answer>) -> Answer {
    let answers: Vec<Answer> = answers.collect();
    let mut evidence: Vec<Evidence> = Vec::new();
    for said in answers.iter().filter(|answer| answer.outcome == Outcome::Fail).flat_map(|answer| &answer.evidence) {
        if !evidence.contains(said) {
            evidence.push(said.clone());
        }
    }
    if !evidence.is_empty() {
        return Answer::fail(evidence);
    }
    answers.into_iter().find(|answer| answer.outcome != Outcome::Pass).unwrap_or_else(Answer::pass)
}

fn judge(table: &Distributions, version: &str, system: &OsRelease) -> Answer {
    match table.release(version) {
        Some(dotnet) => {
            let standing = table.standing(dotnet, system.system());
            if standing.is_supported { Answer::pass() } else { unsupported(dotnet, system, &standing) }
        }
        None => {
            let known: Vec<_> = table.dotnet.iter().map(|dotnet| &dotnet.version).collect();
            let why = format!("there is no list of distributions for .NET {version}, only for {}", list(&known));
            Answer::unknown(&system.place, why)
        }
    }
}

fn unsupported(dotnet: &Dotnet, system: &OsRelease, standing: &Standing<'_>) -> Answer {
    let mut evidence = vec![system.place.says(not_listed(dotnet, system, standing))];
    if let Some(day) = standing.end_of_life {
        evidence.push(system.place.says(format!("the end of life of {} is dated {day}", name_of(system))));
    }
    Answer::fail(evidence)
}

fn not_listed(dotnet: &Dotnet, system: &OsRelease, standing: &Standing<'_>) -> String {
    let release = format!(".NET {}", dotnet.version);
    let versions = list(standing.supported_versions);
    match (standing.counts_as, standing.version) {
        (None, _) => {
            format!("{} (ID={}) is no distribution that {release} is supported on", name_of(system), system.id)
        }
        (Some(name), _) if standing.supported_versions.is_empty() => {
            format!("{release} is not supported on {name}, whatever its version")
        }
        (Some(name), None) => format!(
            "os-release has no VERSION_ID, as in testing, unstable and rolling systems; {release} is supported on {name} {versions}"
        ),
        (Some(name), Some(version)) if standing.is_derivative => {
            format!("{} counts as {name} {version}, but {release} is supported on {name} {versions}", name_of(system))
        }
        (Some(name), Some(version)) => {
            format!("this is {name} {version}, but {release} is supported on {name} {versions}")
        }
    }
}

fn name_of(system: &OsRelease) -> String {
    match (&system.pretty_name, &system.version_id) {
        (Some(pretty), _) => excerpt(pretty, 80),
        (None, Some(version)) => format!("{} {version}", system.id),
        (None, None) => system.id.clone(),
    }
}
