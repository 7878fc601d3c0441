//! The target's path with an image, stage by stage: fetch it, create and start containers in it, run a step's script.

use std::time::{Duration, Instant};

use super::connection::{Connection, is_silent};
use super::container::{Container, Ended, NOT_GIVEN, Stop, Wanted};
use super::form::command_line;
use super::home::{Files, Home, Modes};
use super::limits::Limits;
use super::owner;
use super::plan::{Plan, Pull};
use super::pull::{find, pull};
use super::said::{Mark, is_of_image, of_engine};
use super::stage::{EngineReport, Form, LONGEST_OUTPUT, RunReport, StageReport};
use crate::image::registry::login;
use crate::printable::excerpt;
use crate::verdict::Outcome;

/// What scripts end with, which the engine has to hand through.
pub(super) const EXIT_CODE: i64 = 42;
/// Who pods run as unless the cluster says otherwise, and as whom guides for OpenShift have them run.
const ROOT: &str = "0:0";
const POD_USER: &str = "999:999";
/// The variants of a run.
const AS_POD_USER: &str = "uid 999";
pub(super) const CLOSED_HOME: &str = "home of mode 0700";
/// What a run does otherwise than the target, and why that does not change what it tests.
const CHANGED: [&str; 4] = [
    "no network, no new privileges, and only the capabilities to use files and change users: nothing that is tested needs more",
    "limits on time, memory, CPU, processes, disk and output",
    "the worker's home is unpacked in each container and is not mounted from a host: paths, owners and modes are the same",
    "in place of Calamari a tiny program with the same needs is loaded, and its script does what Calamari's begins with",
];

/// Runs an image. Whatever happens, no container is left, and nothing is written on this machine.
#[must_use]
pub fn run(connection: &Connection, plan: &Plan) -> RunReport {
    owner::sweep(connection);
    let about = &connection.about;
    let mut report = RunReport {
        engine: Some(EngineReport { name: about.name.clone(), version: about.version.clone() }),
        form: plan.form,
        command: Vec::new(),
        stages: Vec::new(),
        changed: CHANGED.map(str::to_owned).into(),
        disagreements: Vec::new(),
    };
    // An emulator would change what is tested.
    let differs = about.os != "linux" || !is_same(&about.architecture, &plan.architecture);
    if differs {
        let why = format!(
            "the engine runs {}/{}, and the image is for linux/{}: under emulation it would not be the same",
            about.os, about.architecture, plan.architecture
        );
        report.stages.push(StageReport::new("create", Outcome::NotApplicable, why));
        return report;
    }
    let home = match Home::new() {
        Ok(home) => home,
        Err(error) => {
            report.stages.push(unknown("create", &format!("this machine gives no random bytes: {error}")));
            return report;
        }
    };
    let mut run = Run {
        connection,
        plan,
        home: &home,
        report: &mut report,
        image: String::new(),
        user: plan.user.clone(),
        variant: None,
        modes: Modes::TENTACLE,
        limits: Limits::default(),
        left: plan.limit,
        is_inspected: false,
    };
    if let Err(stage) = run.all() {
        run.push(stage);
    }
    let cleanup = match owner::left(connection) {
        0 => StageReport::new("cleanup", Outcome::Pass, "containers are removed"),
        left => {
            let why = format!(
                "{left} of its containers could not be removed from the engine at {}; the next run with this engine does it",
                connection.endpoint.url
            );
            StageReport::new("cleanup", Outcome::Fail, why)
        }
    };
    report.stages.push(cleanup.seen());
    // The folder's name is another in each run.
    let outputs = report.stages.iter_mut().map(|stage| &mut stage.output);
    for text in outputs.chain(&mut report.command).chain(&mut report.changed) {
        *text = text.replace(home.path(), "$TentacleHome");
    }
    report
}

/// Whether two names of architectures mean one: kernels and Go have different words.
fn is_same(one: &str, other: &str) -> bool {
    let plain = |name: &str| match name {
        "x86_64" => "amd64".to_owned(),
        "aarch64" => "arm64".to_owned(),
        name => name.to_owned(),
    };
    plain(one) == plain(other)
}

/// A run under way.
pub(super) struct Run<'a> {
    pub connection: &'a Connection,
    pub plan: &'a Plan,
    pub home: &'a Home,
    report: &'a mut RunReport,
    image: String,
    /// `UID:GID` in place of the image's own user.
    user: Option<String>,
    /// What is otherwise than in the usual form.
    pub variant: Option<&'static str>,
    modes: Modes,
    limits: Limits,
    /// How long containers may still run.
    left: Duration,
    /// Whether the engine was asked which limits it holds.
    is_inspected: bool,
}

/// The stage that ends a run.
pub(super) type Stopped = StageReport;

/// How a container ended that was used as the target would: with its own files still in the engine.
pub(super) struct Used<'a> {
    pub ended: Ended,
    pub container: Container<'a>,
}

impl<'a> Run<'a> {
    fn all(&mut self) -> Result<(), Stopped> {
        self.fetch()?;
        if self.plan.form == Form::Pod {
            self.user.get_or_insert_with(|| ROOT.to_owned());
        }
        let has_probe = self.has_probe();
        if has_probe {
            self.load()?;
        }
        self.shells()?;
        if let Some(payload) = &self.plan.payload {
            self.payload(payload)?;
        }
        match self.plan.form {
            Form::Pod => {
                // Volumes of pods are open to the pod's group.
                self.modes = Modes::POD;
                // With a named user, no other one is asked about.
                if self.plan.user.is_some() {
                    return Ok(());
                }
                (self.user, self.variant) = (Some(POD_USER.to_owned()), Some(AS_POD_USER));
                if has_probe {
                    self.start_of_pod()?;
                }
                self.shells()
            }
            _ if has_probe && !self.plan.is_root => {
                self.variant = Some(CLOSED_HOME);
                self.modes = Modes::CLOSED;
                self.reach()
            }
            _ => Ok(()),
        }
    }

    fn shells(&mut self) -> Result<(), Stopped> {
        for shell in &self.plan.shells {
            match shell.as_str() {
                "bash" => self.bash()?,
                other => self.shell(other)?,
            }
        }
        Ok(())
    }

    /// Notes a stage, of the variant that is run.
    pub(super) fn push(&mut self, stage: StageReport) {
        self.report.stages.push(StageReport { variant: self.variant.map(str::to_owned), ..stage });
    }

    /// True if the usual form has such a stage already.
    pub(super) fn has(&self, stage: &str) -> bool {
        self.report.stage(stage).is_some()
    }

    fn fetch(&mut self) -> Result<(), Stopped> {
        let start = Instant::now();
        let patience = self.plan.patience;
        let has = self.plan.id.as_ref().and_then(|id| find(self.connection, id, patience));
        let (id, output) = match (has, &self.plan.pull) {
            (Some(id), _) => (id.clone(), format!("the engine has it: {id}")),
            (None, Some(Pull { by, name, options })) => {
                let login = login(name, options);
                let id = pull(self.connection, by, login.as_ref(), self.plan.progress, patience)
                    .map_err(|why| StageReport { duration_ms: since(start), ..failed("pull", &why) })?;
                (id.clone(), format!("fetched: {id}"))
            }
            (None, None) => {
                return Err(skipped("pull", "the engine does not have it, and there is no name to fetch it by"));
            }
        };
        let stage = StageReport::new("pull", Outcome::Pass, output).seen();
        self.push(StageReport { duration_ms: since(start), ..stage });
        self.image = id;
        Ok(())
    }

    /// The worker's home for one container.
    pub(super) fn files(&self) -> Files {
        self.home.files(self.modes)
    }

    /// A container with the target's arguments.
    pub(super) fn wanted(&mut self, mut files: Files, mark: &Mark, command: Vec<String>) -> Wanted {
        let mut env = vec![format!("TentacleHome={}", self.home.path())];
        if self.plan.form == Form::Pod {
            env.push("OCTOPUS_RUNNING_IN_CONTAINER=Y".to_owned());
            files.add(&self.home.runner(), &mark.in_script(include_str!("runner.sh")), true);
        }
        let (entrypoint, command) = self.plan.form.words(&self.home.runner(), command);
        let wanted = Wanted {
            image: self.image.clone(),
            entrypoint,
            command,
            env,
            working_dir: self.home.work(),
            files,
            has_network: self.plan.has_network,
            user: self.user.clone(),
            is_root: match &self.user {
                Some(user) if self.plan.user.is_none() => user == ROOT,
                _ => self.plan.is_root,
            },
            is_dotnet: false,
        };
        if self.report.command.is_empty() {
            let folders = [self.home.path(), &self.home.work()];
            self.report.command = command_line(&wanted, &folders, &self.plan.image);
        }
        wanted
    }

    /// Creates, starts and waits for a container; `what` is the stage that a failure is reported as. The inner error is why
    /// the engine did not start it.
    pub(super) fn used(&mut self, what: &str, wanted: &Wanted) -> Result<Result<Used<'a>, String>, Stopped> {
        if self.left.is_zero() {
            return Err(unknown(what, &format!("the containers ran for {} s before it", self.plan.limit.as_secs())));
        }
        let container = match self.started(wanted)? {
            Ok(container) => container,
            Err(why) => return Ok(Err(why)),
        };
        let ended = container.wait(self.left).map_err(|why| unknown(what, &why))?;
        self.left = self.left.saturating_sub(ended.duration);
        if !ended.is_watched {
            self.change("the engine does not say how much its containers write: no limit on their disk".to_owned());
        }
        if !self.is_inspected {
            self.is_inspected = true;
            let config = container.host_config();
            let missing = config.map(|config| self.limits.missing(&config, wanted.is_dotnet)).unwrap_or_default();
            if !missing.is_empty() {
                self.change(format!("the engine holds no limit on {}", missing.join(", ")));
            }
        }
        Ok(Ok(Used { ended, container }))
    }

    /// A container that runs. An engine that cannot hold a limit is asked again without it. Only if that helps the limit
    /// stays dropped, and the report says so: an image can have a part in what an engine says.
    fn started(&mut self, wanted: &Wanted) -> Result<Result<Container<'a>, String>, Stopped> {
        let mut limits = self.limits.clone();
        let mut changes = Vec::new();
        loop {
            let start = Instant::now();
            let made = Container::create(self.connection, wanted, &limits, self.plan.patience);
            let begun = made.and_then(|container| match container.start() {
                Ok(()) => Ok((container, None)),
                Err(why) if is_of_image(&why) => Ok((container, Some(why))),
                Err(why) => match limits.clone().give_way(&why) {
                    Some(_) => Err(why),
                    None => Ok((container, Some(why))),
                },
            });
            let (container, why) = match begun {
                Ok(begun) => begun,
                Err(why) => {
                    let change = limits.give_way(&why).filter(|_| !is_of_image(&why));
                    let Some(change) = change else {
                        return Err(StageReport { duration_ms: since(start), ..not_created(&why) });
                    };
                    changes.push(format!("{change}, because the engine says: {}", excerpt(&why, LONGEST_OUTPUT)));
                    continue;
                }
            };
            if why.is_none() {
                self.limits = limits;
                changes.into_iter().for_each(|change| self.change(change));
            }
            for warning in &container.warnings {
                self.change(format!("the engine says: {}", excerpt(warning, LONGEST_OUTPUT)));
            }
            if !self.has("create") {
                let stage = StageReport::new("create", Outcome::Pass, "with the target's arguments").seen();
                self.push(StageReport { duration_ms: since(start), ..stage });
            }
            return Ok(why.map_or(Ok(container), Err));
        }
    }

    fn change(&mut self, change: String) {
        if !self.report.changed.contains(&change) {
            self.report.changed.push(change);
        }
    }

    /// Another language's script, started as Calamari starts it, that ends with a code of its own.
    fn shell(&mut self, shell: &str) -> Result<(), Stopped> {
        let name = format!("shell:{shell}");
        let mark = self.mark()?;
        let script = self.home.tool("script.py");
        let mut files = self.files();
        files.add(&script, &mark.in_script(include_str!("script.py")), false);
        let words: &[&str] = match shell {
            "pwsh" => {
                &["-NoProfile", "-NoLogo", "-NonInteractive", "-ExecutionPolicy", "Unrestricted", "-Command", "exit 42"]
            }
            _ => &["-u", &script],
        };
        let words = std::iter::once(&shell).chain(words).map(|word| (*word).to_owned()).collect();
        let wanted = Wanted { is_dotnet: shell == "pwsh", ..self.wanted(files, &mark, words) };
        match self.ended(&name, &wanted, &mark)? {
            Err(stage) => self.push(stage),
            Ok(ended) => {
                let variables = mark.stages(&ended.output).remove("variables:python3").filter(|_| shell == "python3");
                let stage = ended.stage(&name, EXIT_CODE);
                let output = if variables.is_some() { String::new() } else { stage.output };
                self.push(StageReport { output, ..stage });
                if let Some(variables) = variables {
                    self.push(variables);
                }
            }
        }
        Ok(())
    }

    /// Uses a container. The inner error is the stage's fail if the image is why it did not start.
    pub(super) fn ended(
        &mut self,
        what: &str,
        wanted: &Wanted,
        mark: &Mark,
    ) -> Result<Result<Ended, StageReport>, Stopped> {
        let started = self.used(what, wanted)?.and_then(|used| self.own_output(used, mark));
        match started {
            Ok(used) => Ok(Ok(used.ended)),
            Err(why) if is_of_image(&why) => Ok(Err(failed(what, &why).seen())),
            Err(why) => Err(unknown(what, &of_engine(&why))),
        }
    }

    /// The output of the program alone, without what the form's own scripts print.
    pub(super) fn own_output(&self, mut used: Used<'a>, mark: &Mark) -> Result<Used<'a>, String> {
        if used.ended.exit_code.is_some() {
            used.ended.output = self.plan.form.start_of(&used.ended.output, mark)?;
        }
        Ok(used)
    }

    /// A mark for one container.
    pub(super) fn mark(&self) -> Result<Mark, Stopped> {
        Mark::new().map_err(|error| unknown("create", &format!("this machine gives no random bytes: {error}")))
    }
}

impl Ended {
    /// The stage that a container was; it passed if it ended with this code.
    pub(super) fn stage(&self, name: &str, expected: i64) -> StageReport {
        let output = excerpt(self.output.trim(), LONGEST_OUTPUT);
        let (outcome, output) = match (self.exit_code, self.stopped) {
            (Some(code), _) if code == expected => (Outcome::Pass, output),
            (Some(_), _) => (Outcome::Fail, output),
            (None, Some(Stop::Disk)) => (Outcome::Unknown, TOO_MUCH_WRITTEN.to_owned()),
            (None, _) => (Outcome::Unknown, output),
        };
        StageReport {
            duration_ms: Some(millis(self.duration)),
            exit_code: self.exit_code,
            ..StageReport::new(name, outcome, output)
        }
    }
}

/// What is said of a container that wrote too much.
pub(super) const TOO_MUCH_WRITTEN: &str = "it was stopped because it wrote more than 1 GiB";

/// An engine that is full or gone says nothing of the image.
fn not_created(why: &str) -> Stopped {
    if is_silent(why) || why.starts_with(NOT_GIVEN) || why.contains("no space left") {
        return unknown("create", why);
    }
    failed("create", why).seen()
}

pub(super) fn failed(stage: &str, why: &str) -> Stopped {
    StageReport::new(stage, Outcome::Fail, excerpt(why, LONGEST_OUTPUT))
}

pub(super) fn unknown(stage: &str, why: &str) -> Stopped {
    StageReport::new(stage, Outcome::Unknown, excerpt(why, LONGEST_OUTPUT))
}

pub(super) fn skipped(stage: &str, why: &str) -> Stopped {
    StageReport::new(stage, Outcome::NotApplicable, why)
}

fn since(start: Instant) -> Option<u64> {
    Some(millis(start.elapsed()))
}

pub(super) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
