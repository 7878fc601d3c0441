//! Decides by what was predicted of programs: do they have a problem of certain kinds?

use serde::Deserialize;

use super::when_known;
use crate::facts::programs::{Problem, ProblemKind, ProgramFact};
use crate::facts::{Facts, LibcFamily};
use crate::parameters::Parameters;
use crate::tables::dotnet::{Release, dotnet};
use crate::verdict::{Answer, Evidence, Outcome, Place};

/// `kind = "program"`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ProgramFine {
    /// The profile's parameter that names the .NET releases of which a program is described.
    pub parameter: String,
    /// The kinds of problems that fail the rule.
    pub problems: Vec<ProblemKind>,
    /// Those of them that are a lesser defect.
    #[serde(default)]
    pub lesser: Vec<ProblemKind>,
    /// Which programs the rule speaks of.
    #[serde(default)]
    pub of: Of,
}

/// Which programs a rule speaks of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Of {
    /// All of them.
    #[default]
    All,
    /// Those of .NET.
    Dotnet,
    /// Those of .NET that use culture data.
    Cultures,
    /// Those that were named, and are not only described.
    Named,
    /// Those that write their own parts to a folder before they start.
    Extracting,
    /// Those of .NET releases that do not start without a folder for temporary files.
    TempFolder,
    /// Those of .NET releases that compress with the system's zlib.
    SystemZlib,
}

impl Of {
    fn includes(self, program: &ProgramFact) -> bool {
        let dotnet_fact = program.dotnet.as_ref();
        let release = || -> Option<&Release> { dotnet().ok()?.release(dotnet_fact?.version.as_deref()?) };
        match self {
            Self::All => true,
            Self::Dotnet => dotnet_fact.is_some(),
            Self::Cultures => dotnet_fact.is_some_and(|dotnet| !dotnet.invariant),
            Self::Named => !is_described(program),
            Self::Extracting => dotnet_fact.is_some_and(|dotnet| dotnet.extracts),
            Self::TempFolder => release().is_some_and(|release| release.needs_temp_folder),
            Self::SystemZlib => release().is_some_and(|release| release.system_zlib),
        }
    }

    fn words(self) -> &'static str {
        match self {
            Self::All | Self::Named => "no program was named to be judged",
            Self::Dotnet => "none of the programs is one of .NET",
            Self::Cultures => "none of the programs uses culture data",
            Self::Extracting => "none of the programs writes its own parts to a folder before it starts",
            Self::TempFolder => "none of the programs runs on a .NET release that needs a folder for temporary files",
            Self::SystemZlib => "none of the programs runs on a .NET release that uses the system's zlib",
        }
    }
}

impl ProgramFine {
    pub(super) fn judge(&self, facts: &Facts, parameters: &Parameters) -> Answer {
        when_known(&facts.programs, &Place::path("/"), |programs| {
            let described: Vec<String> =
                parameters.texts(&self.parameter).iter().map(|release| format!("dotnet {release}")).collect();
            let is_mounted = programs.iter().any(|program| program.program.starts_with("payload"));
            let is_judged = |program: &&ProgramFact| !is_described(program) || described.contains(&program.program);
            let judged: Vec<&ProgramFact> = programs.iter().filter(is_judged).collect();
            let is_there = |name: &&String| judged.iter().any(|program| program.program == **name);
            match described.iter().find(|name| !is_mounted && !is_there(name)) {
                Some(name) => Answer::unknown(&Place::path("/"), format!("a program for {name} was not looked at")),
                None => self.answer(&judged, facts.libc.known().map(|libc| libc.family)),
            }
        })
    }

    fn answer(&self, programs: &[&ProgramFact], libc: Option<LibcFamily>) -> Answer {
        let spoken_of: Vec<&ProgramFact> =
            programs.iter().copied().filter(|program| self.of.includes(program)).collect();
        if spoken_of.is_empty() {
            return Answer::not_applicable(self.of.words());
        }
        // What is described is not there, so that its loader is missing is the image's matter: rule `libc-not-glibc`.
        let is_out = |program: &&ProgramFact| is_described(program) && does_not_load(program, libc);
        let judged: Vec<&ProgramFact> = spoken_of.iter().copied().filter(|program| !is_out(program)).collect();
        if judged.is_empty() {
            return Answer::not_applicable("programs that are built for glibc do not start in this image at all");
        }
        let found = |outcome: Outcome| {
            let problems =
                judged.iter().flat_map(|program| program.problems.iter().map(move |problem| (program, problem)));
            // Whether named programs are started at all is a rule's own matter.
            let is_meant = move |program: &ProgramFact, problem: &Problem| {
                problem.outcome == outcome
                    && self.problems.contains(&problem.kind)
                    && (problem.kind != ProblemKind::LoaderMissing || self.of == Of::Named || is_described(program))
            };
            problems.filter(move |(program, problem)| is_meant(program, problem)).map(|(_, problem)| problem)
        };
        let mut evidence: Vec<Evidence> = Vec::new();
        for problem in found(Outcome::Fail) {
            let said = problem.place.says(&problem.statement);
            if !evidence.contains(&said) {
                evidence.push(said);
            }
        }
        let failed = (!evidence.is_empty()).then(|| {
            let mut components: Vec<String> =
                found(Outcome::Fail).filter_map(|problem| problem.component.clone()).collect();
            components.dedup();
            let is_lesser = found(Outcome::Fail).all(|problem| self.lesser.contains(&problem.kind));
            let answer = Answer::fail(evidence).needing(components);
            if is_lesser { answer.lesser() } else { answer }
        });
        // Whoever could not be looked into far enough has not passed.
        let not_looked_into = judged
            .iter()
            .flat_map(|program| &program.problems)
            .find(|problem| problem.outcome == Outcome::Unknown && problem.kind == ProblemKind::LoaderMissing);
        let open = found(Outcome::Unknown).next().or(not_looked_into);
        let open = open.map(|problem| Answer::unknown(&problem.place, &problem.statement));
        Answer::worst(failed.into_iter().chain(open))
    }
}

fn is_described(program: &ProgramFact) -> bool {
    program.program.starts_with("dotnet ")
}

/// Whether the loader is missing because the system's C library is another or not known, or is one of a compatibility
/// layer, beside which nothing more is asked. Where the system has glibc, its loader is broken.
fn does_not_load(program: &ProgramFact, libc: Option<LibcFamily>) -> bool {
    let mut problems = program.problems.iter().filter(|problem| problem.kind == ProblemKind::LoaderMissing);
    problems.any(|problem| match libc {
        Some(LibcFamily::Glibc) => false,
        Some(_) => true,
        None => problem.outcome == Outcome::Fail,
    })
}
