//! The target's path with an image, stage by stage: fetch it, create and start containers in it, run a step's script.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::connection::{Connection, is_silent};
use super::container::{Container, Ended, Folder, Wanted, find, pull};
use super::form::command_line;
use super::host::Host;
use super::owner;
use super::payload::RunPayload;
use super::probe::Probe;
use super::said::{is_not_started, is_of_image, marks, of_engine};
use super::stage::{EngineReport, Form, LONGEST_OUTPUT, RunReport, StageReport};
use crate::image::registry::{RegistryOptions, login};
use crate::printable::excerpt;
use crate::reference::Name;
use crate::verdict::Outcome;

/// The script that a container's bash runs.
const BOOTSTRAP: &[u8] = include_bytes!("bootstrap.sh");
/// The script that a container's python3 runs.
const PYTHON: &[u8] = include_bytes!("script.py");
/// What a pod's shell starts.
const RUNNER: &[u8] = include_bytes!("runner.sh");
/// What scripts end with, which the engine has to hand through.
pub(super) const EXIT_CODE: i64 = 42;
/// Who pods run as unless the cluster says otherwise, and as whom guides for OpenShift have them run.
const ROOT: &str = "0:0";
const POD_USER: &str = "999:999";
/// The variants of a run.
const AS_POD_USER: &str = "uid 999";
pub(super) const CLOSED_HOME: &str = "home of mode 0700";
/// What a run does otherwise than the target, and why that does not change what it tests.
const CHANGED: [&str; 3] = [
    "no network, no new privileges, and only the capabilities to use files and change users: nothing that is tested needs more",
    "limits on memory, processes and output",
    "in place of Calamari a tiny program with the same needs is loaded, and its script does what Calamari's begins with",
];

/// What is run, and how.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The image, for people.
    pub image: String,
    /// The digest of its configuration, by which engines know it.
    pub id: Option<String>,
    /// The name that the engine can fetch it by.
    pub pull: Option<Pull>,
    /// Go's word for the image's architecture.
    pub architecture: String,
    /// How the target starts a step's container.
    pub form: Form,
    /// Whether containers have a network.
    pub has_network: bool,
    /// Whether the image's user is root.
    pub is_root: bool,
    /// How long each container may run.
    pub limit: Duration,
    /// The types of scripts that are started: `bash`, `pwsh`, `python3`.
    pub shells: Vec<String>,
    /// Commands that the script looks up.
    pub tools: Vec<String>,
    /// What the tiny programs need.
    pub probes: Probes,
    /// A program of the user's own that is run as well.
    pub payload: Option<RunPayload>,
    /// Is told how many bytes of how many have been fetched.
    pub progress: Option<fn(u64, u64)>,
}

/// What an engine fetches an image by.
#[derive(Clone, Debug)]
pub struct Pull {
    /// The name with the digest.
    pub by: String,
    /// Whose credentials are handed to the engine, and where they are looked for if it comes to that.
    pub name: Name,
    /// How the registry is reached.
    pub options: RegistryOptions,
}

/// What a .NET program needs of an image to be loaded.
#[derive(Clone, Debug, Default)]
pub struct Probes {
    /// The program loader.
    pub loader: String,
    /// The libraries, by soname.
    pub libraries: Vec<String>,
    /// Symbol versions, by library.
    pub versions: BTreeMap<String, Vec<String>>,
    /// Each ICU that is looked for, in order.
    pub icu: Vec<Loaded>,
    /// Each OpenSSL that is looked for, in order.
    pub openssl: Vec<Loaded>,
}

/// Libraries that a program loads once it needs them.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// What they are called among others of their kind.
    pub name: String,
    /// The libraries, by soname.
    pub libraries: Vec<String>,
    /// Symbols that they have to have.
    pub symbols: Vec<String>,
}

/// Runs an image. Whatever happens, no container and no folder is left.
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
    let host = match Host::new() {
        Ok(host) => host,
        Err(error) => {
            let why = format!("a folder for the run cannot be made: {error}");
            report.stages.push(StageReport::new("create", Outcome::Unknown, why));
            return report;
        }
    };
    let mut run =
        Run { connection, plan, host: &host, report: &mut report, image: String::new(), user: None, variant: None };
    if let Err(stage) = run.all() {
        run.push(stage);
    }
    let home = host.home().display().to_string();
    let cleanup = match (host.remove(), owner::left(connection)) {
        (Ok(()), left @ 1..) => {
            let why = format!("{left} of its containers could not be removed; the next run with this engine does it");
            StageReport::new("cleanup", Outcome::Fail, why)
        }
        (Ok(()), 0) => StageReport::new("cleanup", Outcome::Pass, "containers and folder are removed"),
        (Err(error), _) => {
            StageReport::new("cleanup", Outcome::Fail, format!("the run's folder cannot be removed: {error}"))
        }
    };
    report.stages.push(cleanup);
    // The folder's name is another in each run.
    let outputs = report.stages.iter_mut().map(|stage| &mut stage.output);
    for text in outputs.chain(&mut report.command) {
        *text = text.replace(&home, "$TentacleHome");
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
    pub host: &'a Host,
    report: &'a mut RunReport,
    image: String,
    /// `UID:GID` in place of the image's own user.
    user: Option<&'static str>,
    /// What is otherwise than in the usual form.
    variant: Option<&'static str>,
}

/// The stage that ends a run.
pub(super) type Stopped = StageReport;

impl Run<'_> {
    fn all(&mut self) -> Result<(), Stopped> {
        self.fetch()?;
        let unwritten = |error| StageReport::new("create", Outcome::Unknown, format!("the run's folder: {error}"));
        let has_probe = self.write().map_err(unwritten)?;
        if self.plan.form == Form::Pod {
            self.user = Some(ROOT);
        }
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
                self.host.open_work().map_err(unwritten)?;
                (self.user, self.variant) = (Some(POD_USER), Some(AS_POD_USER));
                if has_probe {
                    self.load()?;
                }
                self.shells()
            }
            _ if has_probe && !self.plan.is_root => {
                self.variant = Some(CLOSED_HOME);
                self.host.close().map_err(unwritten)?;
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

    fn fetch(&mut self) -> Result<(), Stopped> {
        let start = Instant::now();
        let has = self.plan.id.as_ref().and_then(|id| find(self.connection, id));
        let (id, output) = match (has, &self.plan.pull) {
            (Some(id), _) => (id.clone(), format!("the engine has it: {id}")),
            (None, Some(Pull { by, name, options })) => {
                let id = pull(self.connection, by, login(name, options).as_ref(), self.plan.progress)
                    .map_err(|why| StageReport { duration_ms: since(start), ..failed("pull", &why) })?;
                (id.clone(), format!("fetched: {id}"))
            }
            (None, None) => {
                return Err(skipped("pull", "the engine does not have it, and there is no name to fetch it by"));
            }
        };
        let stage = StageReport { duration_ms: since(start), ..StageReport::new("pull", Outcome::Pass, output) };
        self.push(stage);
        self.image = id;
        Ok(())
    }

    /// Writes script and programs; says whether there is one for this architecture.
    fn write(&self) -> std::io::Result<bool> {
        let tools = self.host.tools();
        Host::write(&tools.join("bootstrap.sh"), BOOTSTRAP, false)?;
        Host::write(&tools.join("script.py"), PYTHON, false)?;
        Host::write(&self.host.runner(), RUNNER, true)?;
        Host::write(&tools.join("tools"), lines(&self.plan.tools).as_bytes(), false)?;
        let probes = &self.plan.probes;
        let probe = |libraries: Vec<String>, versions, symbols| {
            let architecture = &self.plan.architecture;
            Probe { architecture, loader: &probes.loader, libraries, versions, symbols }.bytes()
        };
        let program = probe(probes.libraries.clone(), probes.versions.clone(), Vec::new());
        let Some(program) = program else { return Ok(false) };
        Host::write(&tools.join("program"), &program, true)?;
        for (kind, all) in [("icu", &probes.icu), ("ssl", &probes.openssl)] {
            for (number, Loaded { name, libraries, symbols }) in all.iter().enumerate() {
                if let Some(program) = probe(libraries.clone(), BTreeMap::new(), symbols.clone()) {
                    Host::write(&tools.join(format!("{kind}-{number:03}-{name}")), &program, true)?;
                }
            }
        }
        Ok(true)
    }

    /// A container with the target's arguments.
    pub(super) fn wanted(&self, command: Vec<String>) -> Wanted {
        let (home, work) = (self.host.home().display().to_string(), self.host.work().display().to_string());
        let mut env = vec![format!("TentacleHome={home}")];
        if self.plan.form == Form::Pod {
            env.push("OCTOPUS_RUNNING_IN_CONTAINER=Y".to_owned());
        }
        let (entrypoint, command) = self.plan.form.words(&self.host.runner().display().to_string(), command);
        Wanted {
            image: self.image.clone(),
            entrypoint,
            command,
            env,
            mounts: [&home, &work]
                .map(|folder| Folder { source: folder.clone(), target: folder.clone(), is_read_only: false })
                .into(),
            working_dir: work,
            has_network: self.plan.has_network,
            user: self.user.map(str::to_owned),
            is_root: self.user.map_or(self.plan.is_root, |user| user == ROOT),
        }
    }

    /// Creates, starts and waits for a container; `what` is the stage that a failure to start is told as.
    pub(super) fn ended(&mut self, what: &str, command: Vec<String>) -> Result<Result<Ended, String>, Stopped> {
        let wanted = self.wanted(command);
        self.ended_of(what, &wanted)
    }

    pub(super) fn ended_of(&mut self, what: &str, wanted: &Wanted) -> Result<Result<Ended, String>, Stopped> {
        if self.report.command.is_empty() {
            let own = Wanted { entrypoint: self.plan.form.entrypoint(), ..wanted.clone() };
            self.report.command = command_line(&own, &self.plan.image);
        }
        let start = Instant::now();
        let container = Container::create(self.connection, wanted)
            .map_err(|why| StageReport { duration_ms: since(start), ..not_created(&why) })?;
        if self.report.stage("create").is_none() {
            let stage = StageReport::new("create", Outcome::Pass, "with the target's arguments");
            self.push(StageReport { duration_ms: since(start), ..stage });
        }
        if let Err(why) = container.start() {
            return Ok(Err(why));
        }
        let ended = container.wait(self.plan.limit).map_err(|why| unknown(what, &why))?;
        drop(container);
        if ended.exit_code.is_none() {
            return Ok(Ok(ended));
        }
        Ok(match self.plan.form.start_of(&ended.output) {
            Ok(output) => Ok(Ended { output, ..ended }),
            Err(why) => Err(why),
        })
    }

    /// Starts the tiny program as the container's first process, as Calamari is. An entrypoint that old servers leave in
    /// place is emptied: how it ends would be taken for how the program does.
    fn program(&mut self) -> Result<Result<Ended, String>, Stopped> {
        let program = self.host.tools().join("program").display().to_string();
        let wanted = self.wanted(vec![program]);
        let entrypoint = wanted.entrypoint.clone().or_else(|| Form::Worker.entrypoint());
        self.ended_of("start", &Wanted { entrypoint, ..wanted })
    }

    fn load(&mut self) -> Result<(), Stopped> {
        let stages = match self.program()? {
            // The kernel says so if the loader is not there.
            Err(why) if is_of_image(&why) => {
                vec![failed("start", &why), skipped("linker", "the program did not start")]
            }
            Err(why) => return Err(unknown("start", &of_engine(&why))),
            // Newer runtimes start a container before they find out.
            Ok(ended) if is_not_started(&ended.output) => {
                vec![
                    StageReport { exit_code: ended.exit_code, ..failed("start", ended.output.trim()) },
                    skipped("linker", "the program did not start"),
                ]
            }
            Ok(ended) => {
                let start = StageReport { output: String::new(), outcome: Outcome::Pass, ..ended.stage("start", 0) };
                vec![start, ended.stage("linker", 0)]
            }
        };
        for stage in stages {
            self.push(stage);
        }
        Ok(())
    }

    /// Whether the image's user comes to where Calamari lies, when only the home's owner may enter it.
    fn reach(&mut self) -> Result<(), Stopped> {
        let stage = match self.program()? {
            Err(why) if is_of_image(&why) => failed("start", &why),
            Err(why) => return Err(unknown("start", &of_engine(&why))),
            Ok(ended) if is_not_started(&ended.output) => failed("start", ended.output.trim()),
            Ok(_) => StageReport::new("start", Outcome::Pass, "the user may enter a home of mode 0700"),
        };
        self.push(stage);
        Ok(())
    }

    /// Another language's script, started as Calamari starts it, that ends with a code of its own.
    fn shell(&mut self, shell: &str) -> Result<(), Stopped> {
        let name = format!("shell:{shell}");
        let script = self.host.tools().join("script.py").display().to_string();
        let words: &[&str] = match shell {
            "pwsh" => {
                &["-NoProfile", "-NoLogo", "-NonInteractive", "-ExecutionPolicy", "Unrestricted", "-Command", "exit 42"]
            }
            _ => &["-u", &script],
        };
        let words = std::iter::once(&shell).chain(words).map(|word| (*word).to_owned()).collect();
        match self.ended(&name, words)? {
            Err(why) if !is_of_image(&why) => return Err(unknown(&name, &of_engine(&why))),
            Err(why) => self.push(failed(&name, &why)),
            Ok(ended) => {
                let variables = marks(&ended.output).remove("variables:python3").filter(|_| shell == "python3");
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
}

impl Ended {
    /// The stage that a container was; it passed if it ended with this code.
    pub(super) fn stage(&self, name: &str, expected: i64) -> StageReport {
        StageReport {
            name: name.to_owned(),
            variant: None,
            outcome: match self.exit_code {
                Some(code) if code == expected => Outcome::Pass,
                Some(_) => Outcome::Fail,
                None => Outcome::Unknown,
            },
            duration_ms: Some(millis(self.duration)),
            exit_code: self.exit_code,
            output: excerpt(self.output.trim(), LONGEST_OUTPUT),
            observed: false,
        }
    }
}

/// An engine that does not see this machine's folders, is full, or is gone, says nothing of the image.
fn not_created(why: &str) -> Stopped {
    if why.contains("bind source path does not exist") || why.contains("no such file or directory") {
        return unknown("create", &format!("the engine does not see this machine's folders: {why}"));
    }
    if is_silent(why) || why.contains("no space left") {
        return unknown("create", why);
    }
    failed("create", why)
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

fn lines(all: &[String]) -> String {
    all.iter().map(|one| format!("{one}\n")).collect()
}
