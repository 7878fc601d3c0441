//! `imglint check` and `imglint facts`: has images read, judges them, and reports.

use std::io::IsTerminal;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use super::args::{CheckArguments, FactsArguments, FailOn, ProgramArguments, ReportFormat, ReportTarget};
use super::reading::{ReadImage, Reader};
use super::run::Runner;
use super::{Failure, print};
use crate::catalog::{Overrides, Profile};
use crate::facts::Facts;
use crate::facts::programs::{PAYLOAD_FOLDER, Payload, Wanted};
use crate::image;
use crate::lint::{self, Judgement};
use crate::parameters::Parameters;
use crate::platform::PlatformChoice;
use crate::report::{self, ImageResult, Report, TextStyle};
use crate::verdict::{Outcome, Verdict};

/// The width of the text report where there is no terminal to ask, in characters.
const WIDTH: usize = 100;

/// A profile with all that the command line says about it.
pub(super) struct Target {
    name: String,
    pub(super) profile: Profile,
    parameters: Parameters,
    pub(super) overrides: Overrides,
}

impl Target {
    fn new(
        profile: &str,
        set: &[(String, String)],
        rules: &[(String, String)],
        platform: Option<&PlatformChoice>,
    ) -> Result<Self, Failure> {
        let profile = super::rules::profile(profile)?;
        // Who asks for an image for Windows has workers with Windows: no other could run it.
        let implied = match platform {
            Some(PlatformChoice::Exactly(wanted)) if wanted.os == "windows" => {
                Some(("worker".to_owned(), format!("windows/{}", wanted.architecture)))
            }
            _ => None,
        };
        let implied = implied.filter(|(key, _)| profile.parameters.contains_key(key));
        let mut set: Vec<(&str, &str)> =
            implied.iter().chain(set).map(|(key, value)| (key.as_str(), value.as_str())).collect();
        let mut parameters = profile.parameters(&set)?;
        // A pod needs what its runner needs, whatever the steps.
        if parameters.text("target").as_deref() == Some("kubernetes") {
            let has_steps = set.iter().any(|(key, _)| *key == "steps");
            let usual = if has_steps { Vec::new() } else { parameters.texts("steps") };
            let steps = usual.into_iter().chain(["kubernetes-agent".to_owned()]).collect::<Vec<_>>().join(",");
            set.push(("steps", &steps));
            parameters = profile.parameters(&set)?;
        }
        let overrides = profile.overrides(rules)?;
        Ok(Self { name: profile.id.clone(), profile, parameters, overrides })
    }

    /// The parameters for an image: some have another default on its operating system.
    pub(super) fn parameters(&self, facts: &Facts) -> Parameters {
        self.parameters.on(facts.platform.known().map_or("", |platform| platform.is.os.as_str()))
    }

    /// What the profile says of an image.
    pub(super) fn judge(&self, facts: &Facts) -> Judgement {
        lint::judge(facts, &self.profile, &self.parameters(facts), &self.overrides)
    }
}

/// Judges the images and reports.
///
/// # Errors
/// The arguments do not fit the profile, or a report cannot be written. Images that cannot be checked are no errors
/// here but results.
pub fn check(arguments: &CheckArguments) -> Result<ExitCode, Failure> {
    let started_at = jiff::Timestamp::now().to_string();
    let start = Instant::now();
    let targets = targets(arguments)?;
    let wanted = wanted(&arguments.programs, targets.iter().map(|target| &target.parameters))?;
    let reader = Reader::new(&arguments.sources, wanted, &targets, arguments.fail_on);
    let runner = || Runner::new(&arguments.run, &arguments.programs, &arguments.sources);
    let runner = arguments.run.run.then(runner).transpose()?;
    let mut results = Vec::new();
    for given in &arguments.images {
        match reader.read(given) {
            Ok(images) => {
                for image in &images {
                    results.extend(targets.iter().map(|target| judged(target, image, runner.as_ref())));
                }
            }
            Err(message) => {
                super::complain(&message);
                let failed = |target: &Target| ImageResult::failed(given, &target.name, message.clone());
                results.extend(targets.iter().map(failed));
            }
        }
    }
    let report = Report::new(started_at, start.elapsed(), results);
    write_reports(arguments, &report)?;
    Ok(exit_code(&report, arguments.fail_on))
}

/// Prints the facts of an image, one JSON document for each platform that was chosen.
///
/// # Errors
/// The image cannot be read, or the facts cannot be printed.
pub fn facts(arguments: &FactsArguments) -> Result<ExitCode, Failure> {
    let target = Target::new(&arguments.profile, &arguments.set, &[], arguments.sources.platform.as_ref())?;
    let wanted = wanted(&arguments.programs, [&target.parameters])?;
    let targets = [target];
    let reader = Reader::new(&arguments.sources, wanted, &targets, FailOn::Error);
    let images = reader.read(&arguments.image).map_err(Failure)?;
    for ReadImage { report, facts, .. } in images {
        let document = serde_json::json!({ "image": report, "facts": facts });
        print(&format!("{document:#}\n"))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn targets(arguments: &CheckArguments) -> Result<Vec<Target>, Failure> {
    let platform = arguments.sources.platform.as_ref();
    arguments.profile.iter().map(|name| Target::new(name, &arguments.set, &arguments.rule, platform)).collect()
}

/// What facts are wanted for: the described programs of all targets, or the payload, and those that were named; steps
/// and hosts.
fn wanted<'a>(
    arguments: &ProgramArguments,
    parameters: impl IntoIterator<Item = &'a Parameters>,
) -> Result<Wanted, Failure> {
    let mut wanted = Wanted { paths: arguments.program.clone(), ..Wanted::default() };
    for parameters in parameters {
        add(&mut wanted.releases, parameters.texts("dotnet"));
        add(&mut wanted.hosts, parameters.texts("host"));
        add(&mut wanted.steps, parameters.on("windows").texts("steps"));
    }
    let payload = arguments.payload.as_ref().map(|folder| {
        let index =
            image::mounted_folder(folder, PAYLOAD_FOLDER).map_err(|error| Failure(format!("--payload: {error}")))?;
        let command = arguments.payload_command.as_ref().map(|line| line.0.clone());
        Ok::<_, Failure>(Payload { index: Arc::new(index), command })
    });
    Ok(Wanted { payload: payload.transpose()?, ..wanted })
}

fn add(all: &mut Vec<String>, more: Vec<String>) {
    for one in more {
        if !all.contains(&one) {
            all.push(one);
        }
    }
}

fn judged(target: &Target, image: &ReadImage, runner: Option<&Runner<'_>>) -> ImageResult {
    let mut judgement = target.judge(&image.facts);
    let run = runner.map(|runner| runner.run(target, image, &mut judgement));
    let parameters = target.parameters(&image.facts);
    let result = ImageResult::judged(image.report.clone(), &target.name, &parameters, judgement, &image.facts);
    ImageResult { run, ..result }
}

fn write_reports(arguments: &CheckArguments, report: &Report) -> Result<(), Failure> {
    let to_terminal = ReportTarget { format: ReportFormat::Text, file: None };
    let is_printed = arguments.report.iter().any(|target| target.file.is_none());
    let targets = arguments.report.iter().chain((!is_printed).then_some(&to_terminal));
    for target in targets {
        let rendered = match target.format {
            ReportFormat::Json => report::json(report).map_err(|error| Failure(error.to_string()))?,
            ReportFormat::Text => {
                let on_terminal = target.file.is_none() && std::io::stdout().is_terminal();
                let width = if on_terminal { textwrap::termwidth().min(WIDTH) } else { WIDTH };
                report::text(report, TextStyle { width, quiet: arguments.quiet, verbose: arguments.verbose })
            }
        };
        match &target.file {
            None => print(&rendered)?,
            Some(file) => {
                let plain = anstream::adapter::strip_str(&rendered).to_string();
                std::fs::write(file, plain)
                    .map_err(|error| Failure(format!("cannot write {}: {error}", file.display())))?;
            }
        }
    }
    Ok(())
}

/// The contract's exit codes: 2 when an image could not be checked, else 1 when something at or above the threshold
/// failed or is open, else 0.
fn exit_code(report: &Report, fail_on: FailOn) -> ExitCode {
    let counts = |result: &ImageResult| {
        result.findings.iter().any(|reported| {
            reported.ignored.is_none()
                && matches!(reported.finding.outcome, Outcome::Fail | Outcome::Unknown)
                && fail_on.counts(reported.finding.severity)
        })
    };
    if report.results.iter().any(|result| result.verdict == Verdict::Failed) {
        ExitCode::from(2)
    } else if report.results.iter().any(counts) {
        ExitCode::from(1)
    } else {
        ExitCode::SUCCESS
    }
}
