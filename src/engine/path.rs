//! The target's path with an image, stage by stage: fetch it, create and start containers in it, run a step's script.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::connection::Connection;
use super::container::{Container, Ended, Folder, Wanted, find, pull};
use super::host::Host;
use super::owner;
use super::probe::Probe;
use super::said::{is_not_started, is_of_image, marks, of_engine};
use super::stage::{EngineReport, LONGEST_OUTPUT, RunReport, StageReport};
use crate::printable::excerpt;
use crate::verdict::Outcome;

/// The script that a container's bash runs.
const BOOTSTRAP: &[u8] = include_bytes!("bootstrap.sh");
/// What the script ends with, which the engine has to hand through.
const EXIT_CODE: i64 = 42;
/// What the script writes into its artifact.
const ARTIFACT: &str = "made by the step\n";
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
    pub pull: Option<String>,
    /// Go's word for the image's architecture.
    pub architecture: String,
    /// Whether the server empties the image's entrypoint.
    pub clears_entrypoint: bool,
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
}

/// A folder of this machine, mounted into a container, and the command line that is run in it.
#[derive(Clone, Debug)]
pub struct RunPayload {
    /// The folder.
    pub folder: PathBuf,
    /// The words; the first is a path below the folder, or a command of the image.
    pub command: Option<Vec<String>>,
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
    /// The libraries of each ICU that is looked for, by a name for it, in order.
    pub icu: Vec<(String, Vec<String>)>,
    /// The libraries of each OpenSSL that is looked for.
    pub openssl: Vec<(String, Vec<String>)>,
}

/// Runs an image. Whatever happens, no container and no folder is left.
#[must_use]
pub fn run(connection: &Connection, plan: &Plan) -> RunReport {
    owner::sweep(connection);
    let about = &connection.about;
    let mut report = RunReport {
        engine: Some(EngineReport { name: about.name.clone(), version: about.version.clone() }),
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
    let mut run = Run { connection, plan, host: &host, report: &mut report, image: String::new() };
    if let Err(stage) = run.all() {
        report.stages.push(stage);
    }
    let home = host.home().display().to_string();
    let cleanup = match host.remove() {
        Ok(()) => StageReport::new("cleanup", Outcome::Pass, "containers and folder are removed"),
        Err(error) => {
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

struct Run<'a> {
    connection: &'a Connection,
    plan: &'a Plan,
    host: &'a Host,
    report: &'a mut RunReport,
    image: String,
}

/// The stage that ends a run.
type Stopped = StageReport;

impl Run<'_> {
    fn all(&mut self) -> Result<(), Stopped> {
        self.fetch()?;
        let unwritten = |error| StageReport::new("create", Outcome::Unknown, format!("the run's folder: {error}"));
        let has_probe = self.write().map_err(unwritten)?;
        if has_probe {
            self.load()?;
        }
        for shell in self.plan.shells.clone() {
            match shell.as_str() {
                "bash" => self.bash()?,
                other => self.shell(other)?,
            }
        }
        match self.plan.payload.clone() {
            Some(payload) => self.payload(&payload),
            None => Ok(()),
        }
    }

    /// The payload, at its place below the worker's home.
    fn payload(&mut self, payload: &RunPayload) -> Result<(), Stopped> {
        let Some(words) = &payload.command else {
            self.report.stages.push(skipped("payload", "--payload-command says how it is started, and is not given"));
            return Ok(());
        };
        let place = self.host.home().join("Tools/payload");
        let made = std::fs::create_dir_all(&place).and_then(|()| payload.folder.canonicalize());
        let folder = made.map_err(|error| unknown("payload", &format!("it cannot be mounted: {error}")))?;
        // A word that names something in the folder is a path there, as the files are judged.
        let inside = |word: &String| {
            let is_there = !word.is_empty() && folder.join(word).exists();
            if is_there { place.join(word).display().to_string() } else { word.clone() }
        };
        let mut wanted = self.wanted(words.iter().map(inside).collect());
        let (source, target) = (folder.display().to_string(), place.display().to_string());
        wanted.mounts.push(Folder { source, target, is_read_only: true });
        let stage = match self.ended_of("payload", &wanted)? {
            Err(why) if !is_of_image(&why) => return Err(unknown("payload", &of_engine(&why))),
            Err(why) => failed("payload", &why),
            Ok(ended) => ended.stage("payload", 0),
        };
        self.report.stages.push(stage);
        Ok(())
    }

    fn fetch(&mut self) -> Result<(), Stopped> {
        let start = Instant::now();
        let has = self.plan.id.as_ref().and_then(|id| find(self.connection, id));
        let (id, output) = match (has, &self.plan.pull) {
            (Some(id), _) => (id.clone(), format!("the engine has it: {id}")),
            (None, Some(name)) => {
                let id = pull(self.connection, name)
                    .map_err(|why| StageReport { duration_ms: since(start), ..failed("pull", &why) })?;
                (id.clone(), format!("fetched: {id}"))
            }
            (None, None) => {
                return Err(skipped("pull", "the engine does not have it, and there is no name to fetch it by"));
            }
        };
        let stage = StageReport { duration_ms: since(start), ..StageReport::new("pull", Outcome::Pass, output) };
        self.report.stages.push(stage);
        self.image = id;
        Ok(())
    }

    /// Writes script and programs; says whether there is one for this architecture.
    fn write(&self) -> std::io::Result<bool> {
        let tools = self.host.tools();
        Host::write(&tools.join("bootstrap.sh"), BOOTSTRAP, false)?;
        Host::write(&tools.join("tools"), lines(&self.plan.tools).as_bytes(), false)?;
        let probes = &self.plan.probes;
        let probe = |libraries: Vec<String>, versions| {
            let architecture = &self.plan.architecture;
            Probe { architecture, loader: &probes.loader, libraries, versions }.bytes()
        };
        let Some(program) = probe(probes.libraries.clone(), probes.versions.clone()) else { return Ok(false) };
        Host::write(&tools.join("program"), &program, true)?;
        for (kind, all) in [("icu", &probes.icu), ("ssl", &probes.openssl)] {
            for (number, (name, libraries)) in all.iter().enumerate() {
                if let Some(program) = probe(libraries.clone(), BTreeMap::new()) {
                    Host::write(&tools.join(format!("{kind}-{number:03}-{name}")), &program, true)?;
                }
            }
        }
        Ok(true)
    }

    /// A container with the target's arguments.
    fn wanted(&self, command: Vec<String>) -> Wanted {
        let (home, work) = (self.host.home().display().to_string(), self.host.work().display().to_string());
        Wanted {
            image: self.image.clone(),
            clears_entrypoint: self.plan.clears_entrypoint,
            command,
            env: vec![format!("TentacleHome={home}")],
            mounts: [&home, &work]
                .map(|folder| Folder { source: folder.clone(), target: folder.clone(), is_read_only: false })
                .into(),
            working_dir: work,
            has_network: self.plan.has_network,
            is_root: self.plan.is_root,
        }
    }

    /// Creates, starts and waits for a container; `what` is the stage that a failure to start is told as.
    fn ended(&mut self, what: &str, command: Vec<String>) -> Result<Result<Ended, String>, Stopped> {
        let wanted = self.wanted(command);
        self.ended_of(what, &wanted)
    }

    fn ended_of(&mut self, what: &str, wanted: &Wanted) -> Result<Result<Ended, String>, Stopped> {
        if self.report.command.is_empty() {
            self.report.command = command_line(wanted, &self.plan.image);
        }
        let start = Instant::now();
        let container = Container::create(self.connection, wanted)
            .map_err(|why| StageReport { duration_ms: since(start), ..not_created(&why) })?;
        if self.report.stage("create").is_none() {
            let stage = StageReport::new("create", Outcome::Pass, "with the target's arguments");
            self.report.stages.push(StageReport { duration_ms: since(start), ..stage });
        }
        if let Err(why) = container.start() {
            return Ok(Err(why));
        }
        let ended = container.wait(self.plan.limit).map_err(|why| unknown(what, &why))?;
        container.remove().map_err(|why| unknown("cleanup", &format!("a container cannot be removed: {why}")))?;
        Ok(Ok(ended))
    }

    /// The tiny program as the container's first process, as Calamari is.
    fn load(&mut self) -> Result<(), Stopped> {
        let program = self.host.tools().join("program").display().to_string();
        let stages = match self.ended("start", vec![program])? {
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
        self.report.stages.extend(stages);
        Ok(())
    }

    /// A Bash step: `bash SCRIPT`, looked up on the image's PATH by the engine.
    fn bash(&mut self) -> Result<(), Stopped> {
        let script = self.host.tools().join("bootstrap.sh").display().to_string();
        let home = self.host.home().display().to_string();
        let rest = ["variables", "artifact", "globalization", "cryptography"];
        let ended = match self.ended("shell:bash", vec!["bash".to_owned(), script, home])? {
            Ok(ended) if is_not_started(&ended.output) => Err(ended.output.trim().to_owned()),
            other => other,
        };
        let ended = match ended {
            Ok(ended) => ended,
            Err(why) if !is_of_image(&why) => return Err(unknown("shell:bash", &of_engine(&why))),
            Err(why) => {
                self.report.stages.push(failed("shell:bash", &why));
                self.report.stages.extend(rest.map(|name| skipped(name, "no script ran")));
                return Ok(());
            }
        };
        let mut seen = marks(&ended.output);
        let mut shell = seen.remove("shell:bash").unwrap_or_else(|| {
            let output = excerpt(ended.output.trim(), LONGEST_OUTPUT);
            StageReport::new("shell:bash", Outcome::Fail, format!("the script did not run: {output}"))
        });
        shell.duration_ms = Some(millis(ended.duration));
        shell.exit_code = ended.exit_code;
        match ended.exit_code {
            Some(EXIT_CODE) => {}
            None => {
                let limit = self.plan.limit.as_secs();
                (shell.outcome, shell.output) = (Outcome::Unknown, format!("it was stopped after {limit} s"));
            }
            Some(code) if shell.outcome == Outcome::Pass => {
                shell.outcome = Outcome::Fail;
                shell.output = format!("the script ends with {EXIT_CODE}, the container with {code}");
            }
            Some(_) => {}
        }
        self.report.stages.push(shell);
        let artifact = seen.remove("artifact").unwrap_or_else(|| self.artifact(&ended.output));
        seen.insert("artifact".to_owned(), artifact);
        for name in rest {
            let stage = seen.remove(name).unwrap_or_else(|| skipped(name, "the script did not come so far"));
            self.report.stages.push(stage);
        }
        self.report.stages.extend(seen.into_values());
        Ok(())
    }

    /// The artifact as the server would fetch it: by the path in the message, from this machine.
    fn artifact(&self, output: &str) -> StageReport {
        let field = |name: &str| {
            let line = output.lines().find_map(|line| line.strip_prefix("##octopus[createArtifact "))?;
            let start = line.find(&format!("{name}='"))? + name.len() + 2;
            let text = line[start..].split('\'').next()?;
            String::from_utf8(STANDARD.decode(text).ok()?).ok()
        };
        let stage = |outcome, output: String| StageReport::new("artifact", outcome, output);
        let Some(path) = field("path").filter(|path| !path.is_empty()) else {
            return stage(Outcome::Fail, "the message about the artifact names no path".to_owned());
        };
        // What a container says is not opened outside the run's own folder.
        let expected = self.host.work().join("artifact.txt");
        if Path::new(&path) != expected {
            return stage(Outcome::Fail, format!("the artifact is said to be at {}", excerpt(&path, 200)));
        }
        let is_plain = std::fs::symlink_metadata(&expected).is_ok_and(|found| found.is_file() && found.len() < 1024);
        match std::fs::read_to_string(&expected) {
            Ok(text) if is_plain && text == ARTIFACT => {
                let length = field("length").unwrap_or_default();
                if length.trim() == ARTIFACT.len().to_string() {
                    stage(Outcome::Pass, "read back on the worker".to_owned())
                } else {
                    stage(Outcome::Fail, "the message about the artifact has no length".to_owned())
                }
            }
            Ok(_) => stage(Outcome::Fail, "the artifact holds something else".to_owned()),
            Err(error) => stage(Outcome::Fail, format!("the artifact cannot be read on the worker: {error}")),
        }
    }

    /// Another language's script, started as Calamari starts it, that ends with a code of its own.
    fn shell(&mut self, shell: &str) -> Result<(), Stopped> {
        let name = format!("shell:{shell}");
        let words: Vec<&str> = match shell {
            "pwsh" => vec![
                "pwsh",
                "-NoProfile",
                "-NoLogo",
                "-NonInteractive",
                "-ExecutionPolicy",
                "Unrestricted",
                "-Command",
                "exit 42",
            ],
            _ => vec![shell, "-c", "raise SystemExit(42)"],
        };
        let stage = match self.ended(&name, words.into_iter().map(str::to_owned).collect())? {
            Err(why) if !is_of_image(&why) => return Err(unknown(&name, &of_engine(&why))),
            Err(why) => failed(&name, &why),
            Ok(ended) => ended.stage(&name, EXIT_CODE),
        };
        self.report.stages.push(stage);
        Ok(())
    }
}

impl Ended {
    /// The stage that a container was; it passed if it ended with this code.
    fn stage(&self, name: &str, expected: i64) -> StageReport {
        StageReport {
            name: name.to_owned(),
            outcome: match self.exit_code {
                Some(code) if code == expected => Outcome::Pass,
                Some(_) => Outcome::Fail,
                None => Outcome::Unknown,
            },
            duration_ms: Some(millis(self.duration)),
            exit_code: self.exit_code,
            output: excerpt(self.output.trim(), LONGEST_OUTPUT),
        }
    }
}

/// The command line that does the same, for people.
fn command_line(wanted: &Wanted, image: &str) -> Vec<String> {
    let mut words: Vec<String> = ["docker", "run", "--rm"].map(str::to_owned).into();
    if wanted.clears_entrypoint {
        words.push("--entrypoint=".to_owned());
    }
    if !wanted.has_network {
        words.push("--network=none".to_owned());
    }
    words.extend(wanted.env.iter().flat_map(|variable| ["--env".to_owned(), variable.clone()]));
    words.extend(["-w".to_owned(), wanted.working_dir.clone()]);
    words.extend(wanted.mounts.iter().flat_map(|folder| ["-v".to_owned(), folder.words()]));
    words.push(image.to_owned());
    words.extend(wanted.command.iter().cloned());
    words
}

/// An engine that does not see this machine's folders runs elsewhere, which says nothing of the image.
fn not_created(why: &str) -> Stopped {
    let is_elsewhere = why.contains("bind source path does not exist") || why.contains("no such file or directory");
    if is_elsewhere {
        return unknown("create", &format!("the engine does not see this machine's folders: {why}"));
    }
    failed("create", why)
}

fn failed(stage: &str, why: &str) -> Stopped {
    StageReport::new(stage, Outcome::Fail, excerpt(why, LONGEST_OUTPUT))
}

fn unknown(stage: &str, why: &str) -> Stopped {
    StageReport::new(stage, Outcome::Unknown, excerpt(why, LONGEST_OUTPUT))
}

fn skipped(stage: &str, why: &str) -> Stopped {
    StageReport::new(stage, Outcome::NotApplicable, why)
}

fn since(start: Instant) -> Option<u64> {
    Some(millis(start.elapsed()))
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn lines(all: &[String]) -> String {
    all.iter().map(|one| format!("{one}\n")).collect()
}
