//! `imglint check --run` and `imglint engines`: which engine, what is run in the image, and what follows for the rules.

use std::process::ExitCode;
use std::time::Duration;

use super::args::{EnginesArguments, ProgramArguments, RunArguments, SourceArguments};
use super::check::Target;
use super::reading::ReadImage;
use super::running::{Running, fetched};
use super::{Failure, print};
use crate::catalog::Rule;
use crate::checks::Check;
use crate::engine::{
    self, Candidates, Connection, Disagreement, Form, Loaded, Plan, Probes, RunAnswer, RunPayload, RunReport,
    StageReport,
};
use crate::facts::Facts;
use crate::facts::run::OpenStage;
use crate::lint::{self, Judgement, Ran, Tested};
use crate::parameters::Parameters;
use crate::printable::printable;
use crate::tables::dotnet::dotnet;
use crate::tables::steps::{Need, steps};
use crate::verdict::Outcome;

/// How long an engine may take for one request, if `--timeout` is not less.
const PATIENCE: Duration = Duration::from_secs(120);

/// Since this version servers empty the image's entrypoint.
const CLEARS_ENTRYPOINT: &str = "2021.2.124";

/// Lists the engines that answer.
///
/// # Errors
/// None does, or the list cannot be printed.
pub(super) fn engines(arguments: &EnginesArguments) -> Result<ExitCode, Failure> {
    let (mut list, mut silent) = (String::new(), Vec::new());
    for answer in engine::all(arguments.engine.as_deref()).map_err(|misnamed| Failure(misnamed.why))? {
        match answer {
            Ok(Connection { about, endpoint, .. }) => {
                let rootless = if about.is_rootless { ", rootless" } else { "" };
                list.push_str(&format!(
                    "{} {}  {}/{}{rootless}  {}  ({})\n",
                    printable(&about.name),
                    printable(&about.version),
                    printable(&about.os),
                    printable(&about.architecture),
                    printable(&endpoint.url),
                    endpoint.from
                ));
            }
            Err(none) => silent.push(format!("{} ({}): {}", none.endpoint.url, none.endpoint.from, none.why)),
        }
    }
    if list.is_empty() {
        return Err(Failure(format!("no container engine answers; tried {}", silent.join("; "))));
    }
    print(&list)?;
    Ok(ExitCode::SUCCESS)
}

/// Runs images as the targets would.
pub(super) struct Runner<'a> {
    connection: Connection,
    arguments: &'a RunArguments,
    programs: &'a ProgramArguments,
    /// How long the engine may take for one request.
    patience: Duration,
}

impl<'a> Runner<'a> {
    /// The engine that answers first.
    ///
    /// # Errors
    /// None does.
    pub(super) fn new(
        arguments: &'a RunArguments,
        programs: &'a ProgramArguments,
        sources: &'a SourceArguments,
    ) -> Result<Self, Failure> {
        let engine = sources.engine.as_deref();
        let connection = Connection::first(engine).map_err(|why| Failure(format!("--run: {why}")))?;
        let patience = sources.timeout.map_or(PATIENCE, |given| given.min(PATIENCE));
        Ok(Self { connection, arguments, programs, patience })
    }

    /// Runs an image for one target, and joins what was seen to what was read.
    pub(super) fn run(&self, target: &Target, image: &ReadImage, judgement: &mut Judgement) -> RunReport {
        let parameters = target.parameters(&image.facts);
        let mut report = self.report(image, &parameters);
        let architecture = image.report.platform.as_ref().map_or("", |platform| platform.architecture.as_str());
        let has_probes = !probes(architecture, &parameters, &image.facts).loader.is_empty();
        for stage in &mut report.stages {
            leave_out_of_place(stage, &image.facts, has_probes);
        }
        let form = report.form;
        for stage in &mut report.stages {
            leave_open_what_gains_privileges(stage, form, &image.facts);
        }
        leave_out_what_is_not_needed(&mut report, &needs(&parameters));
        let ran = Ran {
            tested: engine::answers(&report).into_iter().map(|answer| tested(answer, target, &parameters)).collect(),
            not_started: engine::not_started(&report),
            is_trusted: self.arguments.trust_run,
        };
        let differing = lint::join(judgement, ran, &image.facts, &target.profile, &parameters, &target.overrides);
        let disagreement = |(rule, read)| {
            let run = if read == Outcome::Pass { Outcome::Fail } else { Outcome::Pass };
            Disagreement { rule, read, run }
        };
        report.disagreements = differing.into_iter().map(disagreement).collect();
        report
    }

    /// What running it shows.
    fn report(&self, image: &ReadImage, parameters: &Parameters) -> RunReport {
        let platform = image.report.platform.clone().unwrap_or_default();
        if platform.os != "linux" {
            let why = format!("it is an image for {}, and the engine runs Linux", platform.os);
            return RunReport::none("create", Outcome::NotApplicable, why);
        }
        let _progress = Running::of(&image.report.reference);
        let plan = Plan { progress: Some(fetched), ..self.plan(image, &platform.architecture, parameters) };
        engine::run(&self.connection, &plan)
    }

    fn plan(&self, image: &ReadImage, architecture: &str, parameters: &Parameters) -> Plan {
        let server = parameters.version("server");
        let first = CLEARS_ENTRYPOINT.parse().ok();
        let needs = needs(parameters);
        let mut tools: Vec<String> = needs.iter().flat_map(|need| need.commands.iter().cloned()).collect();
        tools.sort();
        tools.dedup();
        let has = |name: &str| needs.iter().any(|need| need.commands.iter().any(|command| command == name));
        let shells = ["bash", "pwsh", "python3"].into_iter().filter(|shell| has(shell)).map(str::to_owned);
        Plan {
            image: image.report.name.clone().unwrap_or_else(|| image.report.reference.clone()),
            id: image.report.config_digest.as_ref().map(ToString::to_string),
            pull: image.pull.clone(),
            architecture: architecture.to_owned(),
            form: if parameters.text("target").as_deref() == Some("kubernetes") {
                Form::Pod
            } else if server.zip(first.as_ref()).is_none_or(|(own, first)| own >= first) {
                Form::Worker
            } else {
                Form::OldWorker
            },
            user: parameters.text("user"),
            has_network: self.arguments.run_network,
            is_root: image.facts.user.known().is_none_or(|user| user.uid.is_none_or(|uid| uid == 0)),
            limit: self.arguments.run_timeout,
            patience: self.patience,
            shells: shells.collect(),
            tools,
            progress: None,
            payload: self.programs.payload.clone().map(|folder| RunPayload {
                folder,
                command: self.programs.payload_command.as_ref().map(|line| line.0.clone()),
            }),
            probes: probes(architecture, parameters, &image.facts),
        }
    }
}

/// What the selected steps need.
fn needs(parameters: &Parameters) -> Vec<&'static Need> {
    let Ok(table) = steps() else { return Vec::new() };
    let selected = parameters.texts("steps");
    let steps = table.step.iter().filter(|step| selected.contains(&step.id));
    steps.flat_map(|step| step.needs.iter().filter_map(|id| table.need(id))).collect()
}

/// What the first of the .NET releases that are asked for needs.
fn probes(architecture: &str, parameters: &Parameters, facts: &Facts) -> Probes {
    let release = parameters.text("dotnet").and_then(|version| dotnet().ok()?.release(&version));
    let Some((release, needs)) = release.and_then(|release| Some((release, release.needs_on(architecture)?))) else {
        return Probes::default();
    };
    // Symbols end in the version, in a part of it, or, if it was built so, in nothing.
    let icu = |version: &str, ending: &str| Loaded {
        name: format!("{version}{ending}"),
        libraries: ["libicuuc", "libicui18n"].map(|name| format!("{name}.so.{version}")).into(),
        symbols: ["u_strlen", "ucol_open"].map(|name| format!("{name}{ending}")).into(),
    };
    let major = |version: &str| format!("_{}", version.split('.').next().unwrap_or_default());
    // What was read says which libraries load. Those of ICU may have a name with more numbers than are looked for anyway.
    let found = facts.programs.known().and_then(|programs| programs.first()?.dotnet.as_ref());
    let found_icu = found.and_then(|found| found.icu.as_deref()).into_iter().flat_map(|version| {
        [major(version), format!("_{}", version.replace('.', "_")), String::new()].map(|ending| icu(version, &ending))
    });
    let tried = (release.icu.oldest..=release.icu.newest).rev().map(|version| version.to_string());
    let tried = tried.map(|version| icu(&version, &major(&version)));
    let openssl = |name: &str| Loaded {
        name: name.trim_start_matches("libssl.so.").to_owned(),
        libraries: vec![name.to_owned()],
        symbols: Vec::new(),
    };
    let found_openssl = found.and_then(|found| found.openssl.as_deref()).map(openssl);
    let names = release.openssl.versions.iter().map(|version| format!("libssl.so.{version}"));
    Probes {
        loader: needs.loader.clone(),
        libraries: needs.libraries.clone(),
        versions: needs.symbol_versions.clone(),
        icu: Candidates { expected: found_icu.collect(), others: tried.collect() },
        openssl: Candidates {
            expected: found_openssl.into_iter().collect(),
            others: names.map(|name| openssl(&name)).collect(),
        },
    }
}

/// Variables that change which ICU .NET loads, or whether it loads one at all.
const OF_ICU: [&str; 4] = [
    "CLR_ICU_VERSION_OVERRIDE",
    "DOTNET_ICU_VERSION_OVERRIDE",
    "DOTNET_SYSTEM_GLOBALIZATION_INVARIANT",
    "DOTNET_SYSTEM_GLOBALIZATION_APPLOCALICU",
];

/// Takes back what a stage says where it is not about this image: the tiny programs know of no settings, and they are not
/// the payload or the programs that were named.
fn leave_out_of_place(stage: &mut StageReport, facts: &Facts, has_probes: bool) {
    let programs = facts.programs.known();
    let described = programs.map(|all| all.iter().map(|program| program.program.starts_with("dotnet ")));
    let is_described = described.clone().is_none_or(|mut all| all.any(|is_so| is_so));
    let is_only_described = described.is_none_or(|mut all| all.all(|is_so| is_so));
    let sets = |names: &[&'static str]| {
        let settings = facts.configuration.known()?;
        names.iter().copied().find(|name| settings.env.contains_key(*name))
    };
    let set = match stage.name.as_str() {
        "start" | "linker" => None,
        "globalization" => sets(&OF_ICU),
        "cryptography" => sets(&["CLR_OPENSSL_VERSION_OVERRIDE"]),
        _ => return,
    };
    // A program of which more is asked may fail where the tiny one passes.
    stage.observed &= has_probes && is_only_described && set.is_none();
    let why = match set {
        _ if !has_probes => "no .NET release is asked about that runs on this platform".to_owned(),
        _ if !is_described => "a payload is given, which is run in place of this program".to_owned(),
        Some(name) => format!("the image sets {name}, which this stage does not follow"),
        None => return,
    };
    if matches!(stage.outcome, Outcome::Fail | Outcome::Unknown) {
        let said = if stage.output.is_empty() { String::new() } else { format!(": {}", stage.output) };
        (stage.outcome, stage.output) = (Outcome::NotApplicable, format!("{why}{said}"));
    }
}

/// Takes back what a stage says of a program that the kernel would start with more than its caller has, or refuse. A run
/// allows no new privileges, so the program starts otherwise than in the target's container.
fn leave_open_what_gains_privileges(stage: &mut StageReport, form: Form, facts: &Facts) {
    if ["pull", "create", "cleanup"].contains(&stage.name.as_str()) {
        return;
    }
    let mut names = match stage.name.as_str() {
        "variables" | "artifact" => vec!["bash", "openssl"],
        "variables:python3" => vec!["python3"],
        // Tools are only looked up, and are not started.
        name if name.starts_with("tool:") => vec!["bash"],
        name => name.strip_prefix("shell:").into_iter().collect(),
    };
    // Everything in a pod is started by these.
    if form == Form::Pod {
        names.extend(["sh", "bash"]);
    }
    let commands = facts.commands.known();
    let is_privileged =
        |name: &&str| commands.and_then(|commands| commands.get(*name)).is_some_and(|command| command.is_privileged);
    let Some(name) = names.iter().copied().find(|name| is_privileged(name)).map(str::to_owned) else { return };
    if matches!(stage.outcome, Outcome::Pass | Outcome::Fail) {
        let said = if stage.output.is_empty() { String::new() } else { format!(": {}", stage.output) };
        stage.output = format!(
            "{name} is set-user-ID, set-group-ID or has file capabilities, which a run does not allow to take effect{said}"
        );
        (stage.outcome, stage.observed) = (Outcome::Unknown, false);
    }
}

/// Takes back that a tool was not found where another one does as well.
fn leave_out_what_is_not_needed(report: &mut RunReport, needs: &[&Need]) {
    let found: Vec<String> = report
        .stages
        .iter()
        .filter(|stage| stage.outcome == Outcome::Pass)
        .filter_map(|stage| stage.name.strip_prefix("tool:").map(str::to_owned))
        .collect();
    for stage in report.stages.iter_mut().filter(|stage| stage.outcome == Outcome::Fail) {
        let Some(tool) = stage.name.strip_prefix("tool:") else { continue };
        let of_tool = needs.iter().filter(|need| need.commands.iter().any(|command| command == tool));
        let others: Option<Vec<&String>> =
            of_tool.map(|need| need.commands.iter().find(|command| found.contains(command))).collect();
        if let Some(other) = others.as_ref().and_then(|others| others.first()) {
            (stage.outcome, stage.output) = (Outcome::NotApplicable, format!("{other} does as well"));
        }
    }
}

/// What a stage says, with the rules of the profile that explain it.
fn tested(answer: RunAnswer, target: &Target, parameters: &Parameters) -> Tested {
    let owned = |rules: Vec<&str>| rules.into_iter().map(str::to_owned).collect::<Vec<_>>();
    let mut tested = Tested {
        stage: OpenStage {
            name: answer.stage,
            outcome: answer.outcome,
            output: answer.output,
            lesser: answer.is_lesser,
        },
        is_observed: answer.is_observed,
        rules: owned(answer.rules),
        explained_by: owned(answer.explained_by),
        accepted: owned(answer.accepted),
    };
    if let Some(tool) = tested.stage.name.strip_prefix("tool:") {
        let needs = needs(parameters);
        let needs: Vec<_> = needs.iter().filter(|need| need.commands.iter().any(|command| command == tool)).collect();
        tested.stage.lesser |= needs.iter().all(|need| need.lesser);
        let is_about = |rule: &&Rule| match &rule.check {
            Check::StepNeeds(check) => needs.iter().any(|need| check.needs.contains(&need.id)),
            _ => false,
        };
        tested.rules = target.profile.rules.iter().filter(is_about).map(|rule| rule.id.clone()).collect();
        // What is found on PATH and cannot be run is reported by rules of its own.
        tested.explained_by.push("command-unusable".to_owned());
    }
    tested
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::{Command, Fact};

    #[test]
    fn a_program_that_gains_privileges_leaves_its_stage_open() {
        let command = |name: &str, is_privileged| (name.to_owned(), Command { is_privileged, ..Command::default() });
        let commands = [command("bash", false), command("kubectl", true), command("pwsh", true)];
        let facts = Facts { commands: Fact::Known(commands.into()), ..Facts::default() };
        let outcome = |name: &str, before: Outcome, form: Form| {
            let mut stage = StageReport::new(name, before, "").seen();
            leave_open_what_gains_privileges(&mut stage, form, &facts);
            (stage.outcome, stage.observed)
        };
        assert_eq!(outcome("shell:pwsh", Outcome::Pass, Form::Worker), (Outcome::Unknown, false));
        assert_eq!(outcome("shell:pwsh", Outcome::Fail, Form::Worker), (Outcome::Unknown, false));
        assert_eq!(outcome("shell:pwsh", Outcome::NotApplicable, Form::Worker), (Outcome::NotApplicable, true));
        assert_eq!(outcome("tool:kubectl", Outcome::Pass, Form::Worker), (Outcome::Pass, true), "it is only looked up");
        assert_eq!(outcome("shell:bash", Outcome::Pass, Form::Worker), (Outcome::Pass, true));
        assert_eq!(outcome("start", Outcome::Pass, Form::Pod), (Outcome::Pass, true));
        let bash = Command { is_privileged: true, ..Command::default() };
        let facts = Facts { commands: Fact::Known([("bash".to_owned(), bash)].into()), ..Facts::default() };
        let mut stage = StageReport::new("start", Outcome::Pass, "").seen();
        leave_open_what_gains_privileges(&mut stage, Form::Pod, &facts);
        assert_eq!(stage.outcome, Outcome::Unknown, "a pod starts everything by bash");
    }
}
