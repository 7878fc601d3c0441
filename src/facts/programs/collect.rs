//! Predicts programs: what their files and the image's say of their start, stage by stage.

use std::collections::BTreeMap;

use super::loading::{libraries, not_loaded, problems as loading_problems};
use super::start::{Privileges, disagreement, on_processors};
use super::{
    DotnetFact, Level, PAYLOAD_FOLDER, Problem, ProblemKind, ProgramFact, Shape, Stage, Wanted, cryptography, folders,
    globalization, host, variables,
};
use crate::facts::{ConfigurationFacts, Fact, Libc, LibcFamily, User};
use crate::layer::ElfSummary;
use crate::linker::{Linker, Main, NoLinker, Process, Processor, Start};
use crate::rootfs::{Account, Rootfs};
use crate::tables::dotnet::{Release, dotnet};
use crate::verdict::{Outcome, Place};

/// All that a program's start depends on beside the program.
pub struct Surroundings<'a> {
    /// The image's files, and those that will be mounted.
    pub rootfs: &'a Rootfs,
    /// The architecture, in Go's words.
    pub architecture: &'a str,
    /// The C library of the image.
    pub libc: &'a Fact<Libc>,
    /// What containers are started with.
    pub settings: &'a ConfigurationFacts,
    /// The user.
    pub user: Account<'a>,
    /// The home folder that the engine sets.
    pub home: String,
}

impl<'a> Surroundings<'a> {
    /// Puts together what other facts say.
    pub fn new(
        rootfs: &'a Rootfs,
        architecture: &'a str,
        libc: &'a Fact<Libc>,
        settings: &'a ConfigurationFacts,
        user: Option<&'a User>,
    ) -> Self {
        let account = user.map_or_else(Account::default, |user| Account {
            uid: user.uid.unwrap_or_default(),
            gid: user.gid,
            groups: &user.groups,
        });
        // Engines set HOME by /etc/passwd, else to the root (moby, daemon/oci_linux.go; runc, libcontainer/init_linux.go).
        let home = settings.env.get("HOME").map(|setting| setting.value.clone()).filter(|home| !home.is_empty());
        let home = home.or_else(|| user?.home.clone()).unwrap_or_else(|| "/".to_owned());
        Self { rootfs, architecture, libc, settings, user: account, home }
    }

    /// The value of an environment variable, if the image sets it.
    pub fn variable(&self, name: &str) -> Option<&str> {
        self.settings.env.get(name).map(|setting| setting.value.as_str())
    }

    /// Where a variable is set.
    pub fn variable_place(&self, name: &str) -> Place {
        self.settings.env.get(name).map_or_else(|| Place::field("config.Env"), |setting| setting.place.clone())
    }

    fn environment(&self) -> BTreeMap<String, String> {
        self.settings.env.iter().map(|(name, setting)| (name.clone(), setting.value.clone())).collect()
    }
}

/// A program that is to be predicted.
pub struct Subject<'a> {
    /// What the report calls it.
    pub name: String,
    /// Where it is; nothing if it is only described.
    pub path: Option<String>,
    /// What evidence calls it.
    pub called: String,
    /// Its path without links.
    pub real: Option<String>,
    /// With what it runs.
    pub privileges: Privileges<'a>,
    /// What it asks of the loader.
    pub elf: ElfSummary,
    /// Its file.
    pub place: Place,
    /// What it is as a .NET program.
    pub runtime: Option<Runtime>,
}

/// A .NET program beyond its ELF file.
#[derive(Clone, Debug, Default)]
pub struct Runtime {
    /// The release it runs on.
    pub version: Option<String>,
    /// How that is known.
    pub known_by: String,
    /// How it is laid out.
    pub shape: Shape,
    /// Whether the host has the mark of .NET's own.
    pub is_marked: bool,
    /// Whether it writes its own parts to the home folder before it starts.
    pub extracts: bool,
    /// What its own configuration says of invariant globalization.
    pub invariant: Option<bool>,
    /// What its own configuration says of an ICU of its own.
    pub app_local_icu: Option<String>,
    /// What its own configuration says of undefined cultures.
    pub predefined_cultures_only: Option<bool>,
    /// What its own configuration says of startup hooks.
    pub startup_hooks: Option<bool>,
    /// The folder that libraries of its own are taken from.
    pub app_folder: Option<String>,
    /// The files that are loaded by their paths before its own code runs, in order.
    pub chain: Vec<String>,
    /// The file that looks for ICU, and the one that looks for OpenSSL; else the program itself.
    pub icu_caller: Option<String>,
    /// See `icu_caller`.
    pub openssl_caller: Option<String>,
    /// Files of its own that are missing.
    pub incomplete: Vec<Problem>,
}

/// Predicts all wanted programs. `rootfs` has the payload mounted, if there is one.
pub fn programs(around: &Surroundings<'_>, wanted: &Wanted) -> Vec<ProgramFact> {
    let mut facts = Vec::new();
    if wanted.payload.is_none() {
        facts.extend(wanted.releases.iter().map(|version| described(around, version)));
    } else {
        let command = wanted.payload.as_ref().and_then(|payload| payload.command.as_deref());
        let found = host::in_payload(around, command);
        let is_one = found.len() == 1;
        for (path, name) in found {
            let called = if is_one { "payload".to_owned() } else { format!("payload {name}") };
            facts.push(at_path(around, called, &path, command));
        }
        if facts.is_empty() {
            let why = format!("there is no program in the payload that imglint knows how to start (/{PAYLOAD_FOLDER})");
            let problem = host::unusable(why, Place::path(&format!("/{PAYLOAD_FOLDER}")));
            let (program, start) = ("payload".to_owned(), Outcome::Fail);
            facts.push(ProgramFact { program, start, problems: vec![problem], ..ProgramFact::default() });
        }
    }
    facts.extend(wanted.paths.iter().map(|path| at_path(around, path.clone(), path, None)));
    facts
}

/// A program of which only the .NET release is known.
fn described(around: &Surroundings<'_>, version: &str) -> ProgramFact {
    let name = format!("dotnet {version}");
    let called = format!("a program for .NET {version}");
    let open = |why: String| ProgramFact {
        problems: vec![open_problem(ProblemKind::LibraryMissing, Stage::Start, why)],
        program: name.clone(),
        ..ProgramFact::default()
    };
    let release = match dotnet() {
        Ok(table) => table.release(version),
        Err(error) => return open(format!("the table of .NET releases is broken: {error}")),
    };
    let Some(needs) = release.and_then(|release| release.needs_on(around.architecture)) else {
        return open(format!("imglint does not know what .NET {version} needs on {}", around.architecture));
    };
    let Some(elf) = host::described_elf(needs, around.architecture) else {
        return open(format!("imglint does not know programs for {}", around.architecture));
    };
    let runtime =
        Runtime { version: Some(version.to_owned()), known_by: "it was set (dotnet)".to_owned(), ..Runtime::default() };
    let subject = Subject {
        name: name.clone(),
        path: None,
        called,
        real: None,
        privileges: Privileges { account: around.user, is_secure: false },
        elf,
        place: Place::default(),
        runtime: Some(runtime),
    };
    predict(around, &subject)
}

/// A program in the image or the payload.
fn at_path(around: &Surroundings<'_>, name: String, path: &str, command: Option<&[String]>) -> ProgramFact {
    match host::subject(around, name.clone(), path, command) {
        Ok(subject) => predict(around, &subject),
        Err(problem) => {
            let (path, start) = (Some(path.to_owned()), problem.outcome);
            ProgramFact { program: name, path, start, problems: vec![*problem], ..ProgramFact::default() }
        }
    }
}

fn open_problem(kind: ProblemKind, stage: Stage, statement: String) -> Problem {
    Problem { kind, stage: Some(stage), outcome: Outcome::Unknown, statement, place: Place::default(), component: None }
}

/// Predicts a program on every processor that its loader tells apart.
fn predict(around: &Surroundings<'_>, subject: &Subject<'_>) -> ProgramFact {
    let architecture = subject.elf.architecture().unwrap_or_default();
    agreed(on_processors(architecture, |processor| predict_on(around, subject, processor)), subject.runtime.is_some())
}

/// What holds on all processors: a stage that ends differently on two of them is open.
fn agreed(all: Vec<(&'static Processor, ProgramFact)>, is_dotnet: bool) -> ProgramFact {
    let mut all = all.into_iter();
    let Some((first, mut fact)) = all.next() else { return ProgramFact::default() };
    let others: Vec<_> = all.collect();
    let stages = [
        (Stage::Start, ProblemKind::LibraryMissing),
        (Stage::Globalization, ProblemKind::IcuMissing),
        (Stage::Cryptography, ProblemKind::OpensslMissing),
    ];
    let own = fact.clone();
    for (stage, kind) in stages {
        let Some((processor, other)) = others.iter().find(|(_, other)| other.outcome(stage) != own.outcome(stage))
        else {
            continue;
        };
        let of_stage = |problem: &&Problem| problem.stage == Some(stage);
        let mut problems = own.problems.iter().chain(&other.problems);
        let why = problems.find(of_stage).map_or("", |problem| problem.statement.as_str());
        fact.problems.retain(|problem| problem.stage != Some(stage));
        fact.problems.push(open_problem(kind, stage, disagreement(first, processor, why)));
    }
    finish(&mut fact, is_dotnet);
    fact
}

fn predict_on(around: &Surroundings<'_>, subject: &Subject<'_>, processor: &Processor) -> (ProgramFact, bool) {
    let mut fact = ProgramFact { program: subject.name.clone(), path: subject.path.clone(), ..ProgramFact::default() };
    let mut dotnet_fact = subject.runtime.as_ref().map(|runtime| DotnetFact {
        version: runtime.version.clone(),
        known_by: runtime.known_by.clone(),
        shape: runtime.shape,
        extracts: runtime.extracts,
        ..DotnetFact::default()
    });
    if let Some(runtime) = &subject.runtime {
        fact.problems.extend(runtime.incomplete.iter().cloned());
    }
    let mut depends_on_processor = false;
    fact.level = Level::of(subject.elf.isa_level, &subject.place);
    if subject.elf.interpreter.is_some() {
        depends_on_processor = load(around, subject, processor, &mut fact, dotnet_fact.as_mut());
    }
    fact.dotnet = dotnet_fact;
    finish(&mut fact, subject.runtime.is_some());
    (fact, depends_on_processor)
}

/// Follows the loader, then the .NET host, then the runtime's own probes. Gives whether they end otherwise on another
/// processor.
fn load(
    around: &Surroundings<'_>,
    subject: &Subject<'_>,
    processor: &Processor,
    fact: &mut ProgramFact,
    dotnet: Option<&mut DotnetFact>,
) -> bool {
    let environment = around.environment();
    let start = Start {
        environment: &environment,
        user: around.user,
        reader: subject.privileges.account,
        is_secure: subject.privileges.is_secure,
        processor: *processor,
    };
    let (linker, loader) = match Linker::of(&subject.elf, around.rootfs, &start) {
        Ok(found) => found,
        Err(none) => {
            fact.problems.push(no_linker(&subject.called, none));
            return false;
        }
    };
    let main =
        Main { elf: &subject.elf, path: &subject.called, real: subject.real.as_deref(), place: subject.place.clone() };
    let (mut process, failures) = Process::start(&linker, loader, main);
    note_failures(around, fact, &failures);
    if let (Some(runtime), Some(dotnet)) = (&subject.runtime, dotnet) {
        host_and_probes(around, runtime, &mut process, fact, dotnet);
    }
    let levels = process.objects().iter().filter_map(|object| Level::of(object.elf.isa_level, &object.place));
    fact.level = levels.max_by(|one, other| one.level.cmp(&other.level));
    let mut all = libraries(&process);
    all.append(&mut fact.libraries);
    fact.libraries = all;
    linker.depends_on_processor()
}

fn note_failures(around: &Surroundings<'_>, fact: &mut ProgramFact, failures: &[crate::linker::Failure]) {
    for problem in loading_problems(failures, around.rootfs) {
        if !fact.problems.iter().any(|known| known.statement == problem.statement) {
            fact.problems.push(problem);
        }
    }
    fact.libraries.extend(failures.iter().filter_map(not_loaded));
    let lost = failures.iter().filter(|failure| not_loaded(failure).is_some()).map(|failure| failure.library.clone());
    for name in lost {
        note_missing(fact, name);
    }
}

fn note_missing(fact: &mut ProgramFact, name: String) {
    if !fact.missing.contains(&name) {
        fact.missing.push(name);
    }
}

fn host_and_probes(
    around: &Surroundings<'_>,
    runtime: &Runtime,
    process: &mut Process<'_>,
    fact: &mut ProgramFact,
    dotnet_fact: &mut DotnetFact,
) {
    let mut asker = 0;
    for path in &runtime.chain {
        match process.open(path, asker) {
            Ok(index) => asker = index,
            Err(failures) => note_failures(around, fact, &failures),
        }
    }
    let release = runtime.version.as_deref().and_then(|version| dotnet().ok()?.release(version));
    fact.problems.extend(folders::problems(around, runtime, release));
    let Some(release) = release else {
        let version =
            runtime.version.as_deref().map_or("its .NET release".to_owned(), |version| format!(".NET {version}"));
        let why = |what: &str| format!("imglint does not know which {what} {version} takes");
        fact.problems.push(open_problem(ProblemKind::IcuMissing, Stage::Globalization, why("ICU")));
        fact.problems.push(open_problem(ProblemKind::OpensslMissing, Stage::Cryptography, why("OpenSSL")));
        return;
    };
    below_minimum(around, release, fact);
    fact.problems.extend(variables::problems(around, runtime, release));
    let caller = |process: &mut Process<'_>, path: &Option<String>| {
        path.as_ref().and_then(|path| process.open(path, asker).ok()).unwrap_or(0)
    };
    let icu = caller(process, &runtime.icu_caller);
    process.begin_probe();
    let globalization = globalization::reach(around, runtime, release, process, icu, dotnet_fact);
    let openssl = caller(process, &runtime.openssl_caller);
    process.begin_probe();
    let cryptography = cryptography::reach(around, release, process, openssl, dotnet_fact);
    for reached in [globalization, cryptography] {
        fact.problems.extend(reached.problems);
        fact.libraries.extend(reached.libraries);
        reached.missing.into_iter().for_each(|name| note_missing(fact, name));
    }
    if release.system_zlib && runtime.shape != Shape::SingleFile {
        zlib(around, release, process, openssl, fact);
    }
}

/// Compression is used late, so its library does not stop a start.
fn zlib(
    around: &Surroundings<'_>,
    release: &Release,
    process: &mut Process<'_>,
    caller: usize,
    fact: &mut ProgramFact,
) {
    process.begin_probe();
    let Err(failures) = process.open("libz.so.1", caller) else { return };
    for mut problem in loading_problems(&failures, around.rootfs) {
        problem.kind = ProblemKind::ZlibMissing;
        problem.stage = None;
        problem.statement =
            format!("compression in .NET {} ends with an error: {}", release.version, problem.statement);
        fact.problems.push(problem);
    }
    fact.libraries.extend(failures.iter().filter_map(not_loaded));
}

/// Whether the C library is older than Microsoft supports, though it may have all that is needed.
fn below_minimum(around: &Surroundings<'_>, release: &Release, fact: &mut ProgramFact) {
    let Some(libc) = around.libc.known().filter(|libc| libc.family == LibcFamily::Glibc) else { return };
    let (Some(own), Some(least)) = (&libc.version, release.minimum_glibc.get(around.architecture)) else { return };
    let numbers = |text: &str| text.split('.').map(|part| part.parse::<u32>().unwrap_or(0)).collect::<Vec<_>>();
    if numbers(own) < numbers(least) {
        fact.problems.push(Problem {
            kind: ProblemKind::GlibcBelowMinimum,
            stage: None,
            outcome: Outcome::Fail,
            statement: format!(
                "glibc is {own}; Microsoft supports .NET {} on {} from glibc {least} on",
                release.version, around.architecture
            ),
            place: libc.library.clone(),
            component: None,
        });
    }
}

fn no_linker(called: &str, none: NoLinker) -> Problem {
    let (outcome, why, place) = match none {
        NoLinker::Missing(why, place) => (Outcome::Fail, why, place),
        NoLinker::Strange(why, place) => (Outcome::Unknown, why, place),
    };
    Problem {
        kind: ProblemKind::LoaderMissing,
        stage: Some(Stage::Start),
        outcome,
        statement: format!("{called} does not start: {why}"),
        place,
        component: None,
    }
}

/// Draws the outcome of each stage from the problems: a stage after a failed one fails, too.
fn finish(fact: &mut ProgramFact, is_dotnet: bool) {
    fact.problems.sort_by_key(|problem| (problem.stage.is_none(), problem.stage));
    let mut before = Outcome::Pass;
    let mut reach = |stage: Stage| {
        let own = fact.problems.iter().filter(|problem| problem.stage == Some(stage)).map(|problem| problem.outcome);
        let outcome = own.fold(Outcome::Pass, worse);
        before = match before {
            Outcome::Fail => Outcome::Fail,
            Outcome::Unknown if outcome == Outcome::Pass => Outcome::Unknown,
            _ => outcome,
        };
        before
    };
    fact.start = reach(Stage::Start);
    if is_dotnet {
        fact.globalization = reach(Stage::Globalization);
        fact.cryptography = reach(Stage::Cryptography);
    }
}

fn worse(one: Outcome, other: Outcome) -> Outcome {
    match (one, other) {
        (Outcome::Fail, _) | (_, Outcome::Fail) => Outcome::Fail,
        (Outcome::Unknown, _) | (_, Outcome::Unknown) => Outcome::Unknown,
        _ => Outcome::Pass,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stage_after_a_failed_one_fails() {
        let problem =
            |stage, outcome| Problem { outcome, ..open_problem(ProblemKind::IcuMissing, stage, String::new()) };
        let outcomes = |problems: Vec<Problem>| {
            let mut fact = ProgramFact { problems, ..ProgramFact::default() };
            finish(&mut fact, true);
            [fact.start, fact.globalization, fact.cryptography]
        };
        let (pass, fail, unknown) = (Outcome::Pass, Outcome::Fail, Outcome::Unknown);
        assert_eq!(outcomes(vec![]), [pass, pass, pass]);
        assert_eq!(outcomes(vec![problem(Stage::Globalization, fail)]), [pass, fail, fail]);
        assert_eq!(outcomes(vec![problem(Stage::Start, unknown)]), [unknown, unknown, unknown]);
        let both = vec![problem(Stage::Start, unknown), problem(Stage::Cryptography, fail)];
        assert_eq!(outcomes(both), [unknown, unknown, fail]);
    }
}
