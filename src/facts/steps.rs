//! Tells for each type of step what it needs and the image does not have, whichever steps were selected.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::commands::{Caller, CommandSearch};
use super::off_path::OffPath;
use super::openssl::without_ciphers;
use super::programs::Surroundings;
use super::python::{Python, python};
use super::versions::numbers;
use super::{Command, CommandState, Fact, InBash, SearchPath};
use crate::facts::java::JavaHome;
use crate::layer::path::{absolute, parent_and_name};
use crate::printable::excerpt;
use crate::tables::steps::{Need, NeedFact, Step, steps};
use crate::verdict::{Outcome, Place};

/// What the image has for one type of step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StepFact {
    /// Whether such a step can run: a lesser problem does not stop it.
    pub outcome: Outcome,
    /// The ids of what it needs.
    pub needs: Vec<String>,
    /// What is missing, or could not be told.
    pub problems: Vec<StepProblem>,
}

/// Something that a step needs and does not get.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StepProblem {
    /// The id of the need.
    pub need: String,
    /// Fail, or unknown where it could not be told.
    pub outcome: Outcome,
    /// Whether the step goes on without it, but poorer.
    pub lesser: bool,
    /// What is wrong: a sentence without its full stop.
    pub statement: String,
    /// The command that is in no folder of `PATH`, if that is all.
    pub missing: Option<String>,
    /// Where it can be seen.
    pub place: Place,
    /// What has to be installed, in the words of `rules/tables/packages.toml`.
    pub components: Vec<String>,
    /// Folders that have it, but are not on `PATH`.
    pub folders: Vec<String>,
    /// A command that works and the one before it on `PATH` that does not.
    #[serde(skip)]
    pub shadowed: Option<(String, String)>,
    /// The folder that it has to be put into.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub root: Option<String>,
}

impl Default for StepFact {
    fn default() -> Self {
        Self { outcome: Outcome::Pass, needs: Vec::new(), problems: Vec::new() }
    }
}

impl Default for StepProblem {
    fn default() -> Self {
        Self {
            need: String::new(),
            outcome: Outcome::Fail,
            lesser: false,
            statement: String::new(),
            missing: None,
            place: Place::default(),
            components: Vec::new(),
            folders: Vec::new(),
            shadowed: None,
            root: None,
        }
    }
}

/// What steps are judged by.
pub struct Available<'a> {
    /// The image.
    pub around: &'a Surroundings<'a>,
    /// `PATH`.
    pub path: &'a SearchPath,
    /// Commands on it.
    pub commands: &'a BTreeMap<String, Command>,
    /// Looks up what is at a path.
    pub search: &'a CommandSearch<'a>,
    /// Tools that are off it.
    pub off_path: &'a [OffPath],
    /// `JAVA_HOME`.
    pub java_home: &'a Fact<JavaHome>,
}

/// All types of steps.
#[must_use]
pub fn all(available: &Available<'_>) -> Fact<BTreeMap<String, StepFact>> {
    let table = match steps() {
        Ok(table) => table,
        Err(error) => return Fact::unknown(format!("the table of steps is broken: {error}")),
    };
    let decide = |in_bash: bool| {
        let decided = table.need.iter().map(|need| (need.id.as_str(), available.decide(need, in_bash)));
        decided.collect::<BTreeMap<&str, Decision>>()
    };
    let decided = [decide(false), decide(true)];
    let of =
        |step: &Step| fact(&step.needs, |id| decided[usize::from(step.in_bash.iter().any(|own| own == id))].get(id));
    Fact::Known(table.step.iter().map(|step| (step.id.clone(), of(step))).collect())
}

/// What became of a need.
enum Decision {
    Met,
    /// What it is about is missing, which is a need of its own.
    Moot,
    Open(Box<StepProblem>),
}

fn fact<'a>(needs: &[String], decided: impl Fn(&str) -> Option<&'a Decision>) -> StepFact {
    let is_meant = |need: &&String| !matches!(decided(need), Some(Decision::Moot));
    let needs: Vec<String> = needs.iter().filter(is_meant).cloned().collect();
    let problem = |need: &String| match decided(need)? {
        Decision::Open(problem) => Some((**problem).clone()),
        Decision::Met | Decision::Moot => None,
    };
    let problems = needs.iter().filter_map(problem).collect();
    StepFact::new(needs, problems)
}

impl StepFact {
    /// What follows from the problems for the step.
    #[must_use]
    pub fn new(needs: Vec<String>, problems: Vec<StepProblem>) -> Self {
        let has = |outcome| problems.iter().any(|problem: &StepProblem| problem.outcome == outcome && !problem.lesser);
        let outcome = if has(Outcome::Fail) {
            Outcome::Fail
        } else if has(Outcome::Unknown) {
            Outcome::Unknown
        } else {
            Outcome::Pass
        };
        Self { outcome, needs, problems }
    }
}

impl Available<'_> {
    fn decide(&self, need: &Need, in_bash: bool) -> Decision {
        let is_usable =
            |name: &str| self.commands.get(name).is_some_and(|command| command.state == CommandState::Usable);
        let is_moot = match need.fact {
            Some(NeedFact::PythonCrypto) => !is_usable("python3"),
            Some(NeedFact::OpensslCiphers) => !is_usable("openssl"),
            Some(NeedFact::DotnetRuntime) => !is_usable("dotnet"),
            Some(NeedFact::Java) => false,
            // No step of a Linux image has it.
            Some(NeedFact::WindowsPowershell) => true,
            // A version is asked of what is there.
            None => need.least.is_some() && need.lesser && !need.commands.iter().any(|name| is_usable(name)),
        };
        if is_moot {
            Decision::Moot
        } else {
            self.problem(need, in_bash).map_or(Decision::Met, |problem| Decision::Open(Box::new(problem)))
        }
    }

    /// What is wrong with a need; nothing if it is met.
    fn problem(&self, need: &Need, in_bash: bool) -> Option<StepProblem> {
        let mut problem = match (&need.path, need.fact) {
            (Some(path), _) => self.at(path),
            (None, Some(NeedFact::PythonCrypto)) => self.python_crypto(),
            (None, Some(NeedFact::OpensslCiphers)) => self.openssl_ciphers(),
            (None, Some(NeedFact::DotnetRuntime)) => self.dotnet_runtime(need),
            (None, Some(NeedFact::Java)) => self.java(need, in_bash),
            (None, Some(NeedFact::WindowsPowershell)) => None,
            (None, None) => self.one_of(&need.commands, need, in_bash),
        }?;
        problem.need.clone_from(&need.id);
        problem.lesser |= need.lesser;
        if problem.outcome == Outcome::Fail {
            problem.statement = format!("{}; without it {}", problem.statement, need.without);
            // To install what is there does not help.
            let is_there =
                |name: &String| self.commands.get(name).is_some_and(|command| command.state == CommandState::Usable);
            if problem.shadowed.is_none()
                && problem.folders.is_empty()
                && problem.components.is_empty()
                && !need.commands.iter().any(is_there)
            {
                problem.components.extend(need.component.clone());
            }
        }
        Some(problem)
    }

    fn at(&self, path: &str) -> Option<StepProblem> {
        let command = self.search.at(path, Caller::Execve);
        let why = command.why.clone().unwrap_or_default();
        let statement = match command.state {
            CommandState::Usable => return None,
            CommandState::Missing => format!("there is no program at {path}: {why}"),
            CommandState::Unusable | CommandState::Unknown => format!("the program at {path} cannot be run: {why}"),
        };
        Some(StepProblem { outcome: outcome(command.state), statement, place: command.place, ..StepProblem::default() })
    }

    /// One of several commands, each as good as the others.
    fn one_of(&self, names: &[String], need: &Need, in_bash: bool) -> Option<StepProblem> {
        let mut problems: Vec<StepProblem> = Vec::new();
        for (number, name) in names.iter().enumerate() {
            let least = need.least.as_deref().filter(|_| number == 0);
            problems.push(self.command(name, least, need.unknown_version_passes, in_bash)?);
        }
        // One that could not be told may be there.
        let worst = problems.iter().position(|problem| problem.outcome == Outcome::Unknown).unwrap_or(0);
        let others = names.iter().skip(1).map(|name| format!("`{name}`")).collect::<Vec<_>>().join(" or ");
        let mut problem = problems.into_iter().nth(worst)?;
        if !others.is_empty() {
            problem.missing = None;
            problem.statement = format!("{}, and no {others} either", problem.statement);
        }
        Some(problem)
    }

    fn command(&self, name: &str, least: Option<&str>, unknown_passes: bool, in_bash: bool) -> Option<StepProblem> {
        let missing = Command::default();
        let command = self.commands.get(name).unwrap_or(&missing);
        if let Some(found) = command.in_bash.as_ref().filter(|_| in_bash) {
            return in_script(name, found);
        }
        let why = command.why.as_deref().unwrap_or("it is not a program that can be started here");
        let statement = match command.state {
            CommandState::Usable => return too_old(name, command, least?, unknown_passes),
            CommandState::Unusable => format!("`{name}` is on PATH but cannot be run: {why}"),
            CommandState::Unknown => format!("whether `{name}` can be run could not be told: {why}"),
            CommandState::Missing => return Some(self.missing(name)),
        };
        let place = command.place.clone();
        let shadowed = command.usable_behind.clone().zip(place.path.clone());
        Some(StepProblem { outcome: outcome(command.state), statement, place, shadowed, ..StepProblem::default() })
    }

    fn missing(&self, name: &str) -> StepProblem {
        let off: Vec<&OffPath> =
            self.off_path.iter().filter(|off| off.commands.iter().any(|known| known == name)).collect();
        if let Some(first) = off.first() {
            let statement = format!("`{name}` is in {}, which is not on PATH", first.folder);
            let folders = vec![first.folder.clone()];
            return StepProblem { statement, place: first.place.clone(), folders, ..StepProblem::default() };
        }
        let whose = if self.path.is_default { "the engine's default PATH" } else { "PATH" };
        let statement = if self.path.folders.is_empty() {
            format!("`{name}` cannot be found: PATH is empty")
        } else {
            format!("no folder of {whose} has `{name}`: {}", excerpt(&self.path.folders.join(":"), 400))
        };
        let missing = Some(name.to_owned());
        StepProblem { statement, missing, place: self.path.place.clone(), ..StepProblem::default() }
    }

    /// Older releases than OpenSSL 3 know no providers. A program that holds the library is taken for a newer one.
    fn openssl_ciphers(&self) -> Option<StepProblem> {
        let program = self.commands.get("openssl")?.program.as_ref()?;
        let is_older = |library: &String| {
            library.strip_prefix("libcrypto.so.").is_some_and(|release| !release.starts_with(['3', '4']))
        };
        if program.architecture.is_none() || program.needed.iter().any(is_older) {
            return None;
        }
        let (outcome, statement, place) = without_ciphers(self.around)?;
        Some(StepProblem { outcome, statement, place, ..StepProblem::default() })
    }

    fn python_crypto(&self) -> Option<StepProblem> {
        let command = self.commands.get("python3")?;
        let found = python(self.around, command);
        let place = found.place.clone();
        let (outcome, lesser, statement) = lost_cipher(found)?;
        Some(StepProblem { outcome, lesser, statement, place, ..StepProblem::default() })
    }

    fn dotnet_runtime(&self, need: &Need) -> Option<StepProblem> {
        let command = self.commands.get("dotnet")?;
        let least = need.least.as_deref().unwrap_or_default();
        let real = command.real_path().unwrap_or_default();
        let folder = format!("{}/shared/Microsoft.NETCore.App", parent_and_name(&real).0);
        let versions = self.around.rootfs.names(&folder);
        let is_taken = |version: &String| version.strip_prefix(least).is_some_and(|rest| rest.starts_with('.'));
        if versions.iter().any(is_taken) {
            return None;
        }
        let has = if versions.is_empty() { "no runtime".to_owned() } else { versions.join(", ") };
        let root = absolute(parent_and_name(&real).0);
        let folder = absolute(&folder);
        let is_script = command.program.as_ref().is_some_and(|program| program.architecture.is_none());
        let (outcome, statement) = if is_script {
            (Outcome::Unknown, format!("`dotnet` is a script ({real}), and which runtimes it starts cannot be told"))
        } else {
            (Outcome::Fail, format!("there is no .NET runtime {least} in {folder}, which has {has}"))
        };
        let root = (outcome == Outcome::Fail).then_some(root);
        Some(StepProblem { outcome, statement, root, place: command.place.clone(), ..StepProblem::default() })
    }

    fn java(&self, need: &Need, in_bash: bool) -> Option<StepProblem> {
        let Some(home) = self.java_home.known() else {
            return self.one_of(&["java".to_owned()], need, in_bash);
        };
        if home.java == CommandState::Usable {
            return None;
        }
        let why = home.why.as_deref().unwrap_or_default();
        let statement = format!("JAVA_HOME is {}, but there is no bin/java that can be run: {why}", home.value);
        let outcome = outcome(home.java);
        Some(StepProblem { outcome, statement, place: home.place.clone(), ..StepProblem::default() })
    }
}

/// What keeps a Python from decrypting variables: the outcome, whether the step goes on without it, and a sentence.
fn lost_cipher(found: Python) -> Option<(Outcome, bool, String)> {
    let version = found.version.unwrap_or_default();
    let packages = found.packages;
    let looked_in = if packages.is_empty() { "no folder".to_owned() } else { excerpt(&packages.join(", "), 400) };
    if let Some(why) = found.stopped {
        return Some((Outcome::Fail, false, why));
    }
    if let Some(why) = found.open {
        return Some((Outcome::Unknown, false, why));
    }
    if found.crypto.is_some() {
        return None;
    }
    if let Some(why) = found.shadowed {
        return Some((
            Outcome::Fail,
            false,
            format!("Python {version} cannot import the module Crypto.Cipher.AES: {why}"),
        ));
    }
    let statement = match (found.pip, found.externally_managed, found.without_user_site) {
        (None, ..) => format!("Python {version} has neither the module Crypto nor pip: it looks in {looked_in}"),
        (Some(_), Some(mark), _) => {
            format!("Python {version} has no module Crypto ({looked_in}), and {mark} forbids pip to install it")
        }
        (Some(_), None, true) => format!(
            "Python {version} has no module Crypto ({looked_in}), and it leaves out what pip installs for the user"
        ),
        (Some(pip), None, false) => {
            let statement = format!(
                "Python {version} has no module Crypto ({looked_in}); pip ({pip}) has to download it in every step"
            );
            return Some((Outcome::Fail, true, statement));
        }
    };
    Some((Outcome::Fail, false, statement))
}

/// What is wrong with a command that a script of bash finds elsewhere, or otherwise, than other programs do.
fn in_script(name: &str, found: &InBash) -> Option<StepProblem> {
    let why = found.why.as_deref().unwrap_or("it is not a program that can be started here");
    let statement = match found.state {
        CommandState::Usable => return None,
        CommandState::Missing => format!("scripts of bash do not find `{name}`: {why}"),
        CommandState::Unusable => format!("scripts of bash find a `{name}` that cannot be run: {why}"),
        CommandState::Unknown => format!("whether scripts of bash can run `{name}` is not known: {why}"),
    };
    let (outcome, place) = (outcome(found.state), found.place.clone());
    Some(StepProblem { outcome, statement, place, ..StepProblem::default() })
}

fn too_old(name: &str, command: &Command, least: &str, unknown_passes: bool) -> Option<StepProblem> {
    let place = command.place.clone();
    match &command.version {
        Some(Fact::Known(own)) if numbers(&own.version) >= numbers(least) => None,
        Some(Fact::Known(own)) => {
            let statement = format!("`{name}` is {} by {}, older than {least}", own.version, own.known_by);
            Some(StepProblem { statement, place, ..StepProblem::default() })
        }
        _ if unknown_passes => None,
        _ => {
            let statement = format!("no file tells whether `{name}` is {least} or later");
            Some(StepProblem { outcome: Outcome::Unknown, statement, place, ..StepProblem::default() })
        }
    }
}

fn outcome(state: CommandState) -> Outcome {
    match state {
        CommandState::Usable => Outcome::Pass,
        CommandState::Unusable | CommandState::Missing => Outcome::Fail,
        CommandState::Unknown => Outcome::Unknown,
    }
}
