//! `imglint check` and `imglint facts`: has images read, judges them, and reports.

use std::collections::BTreeSet;
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use super::args::{CheckArguments, FactsArguments, ProgramArguments};
use super::plan::{self, Plan, ToCheck};
use super::reading::{ReadImage, Reader};
use super::run::Runner;
use super::{Failure, print, progress, reports};
use crate::catalog::{Catalog, Overrides, Profile};
use crate::config::FailOn;
use crate::facts::Facts;
use crate::facts::programs::{PAYLOAD_FOLDER, Payload, Wanted};
use crate::image;
use crate::lint::{self, Judgement};
use crate::parameters::Parameters;
use crate::platform::{Platform, PlatformChoice};
use crate::printable::printable_json;
use crate::report::{ImageResult, Report, ReportFormat};
use crate::verdict::{Outcome, Verdict};

/// A profile with all that the command line says about it.
pub(super) struct Target {
    name: String,
    pub(super) profile: Profile,
    parameters: Parameters,
    /// Whether the command line or the configuration says what workers are.
    has_own_worker: bool,
    pub(super) overrides: Overrides,
}

impl Target {
    pub(super) fn new(
        profile: &str,
        set: &[(String, String)],
        rules: &[(String, String)],
        platform: Option<&PlatformChoice>,
    ) -> Result<Self, Failure> {
        let profile = super::rules::profile(Catalog::to_judge(), profile)?;
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
        let has_own_worker = set.iter().any(|(key, _)| ["worker", "host"].contains(key));
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
        Ok(Self { has_own_worker, name: profile.id.clone(), profile, parameters, overrides })
    }

    /// The platform of its workers, if it was said.
    pub(super) fn worker(&self) -> Option<Platform> {
        self.has_own_worker.then(|| self.parameters.platform("worker").cloned()).flatten()
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
    let started = jiff::Timestamp::now();
    let start = Instant::now();
    let plan = Plan::new(arguments)?;
    progress::show(&plan.sources, arguments.quiet);
    let wanted = wanted(&arguments.programs, plan.targets.iter().map(|target| &target.parameters))?;
    let reader = Reader::new(&plan.sources, wanted, &plan.targets, plan.fail_on, plan.images.len())?;
    let runner = || Runner::new(&arguments.run, &arguments.programs, &plan.sources).map(Mutex::new);
    let runner = arguments.run.run.then(runner).transpose()?;
    let results = results(&plan, &reader, runner.as_ref());
    super::unless_interrupted();
    let mut told = BTreeSet::new();
    for error in results.iter().filter_map(|result| result.error.as_ref()) {
        // Once, however many profiles it was to be judged for.
        if told.insert(error.clone()) {
            super::complain(error);
        }
    }
    let mut report = Report::new(started.to_string(), start.elapsed(), results);
    report.configuration = plan.configuration.clone();
    report.warnings = plan.gate.apply(&mut report, jiff::tz::Offset::UTC.to_datetime(started).date());
    report.warnings.extend(reader.cache_warnings());
    // The report for people says it itself.
    let is_told =
        !arguments.quiet && plan.reports.iter().all(|one| one.file.is_some() || one.format == ReportFormat::Text);
    for warning in report.warnings.iter().filter(|_| !is_told) {
        super::complain(&format!("warning: {warning}"));
    }
    reports::write(&report, &plan.reports, arguments.quiet, arguments.verbose)?;
    Ok(exit_code(&report, plan.fail_on))
}

/// The results, in the order of the images; several images are read at a time.
fn results(plan: &Plan, reader: &Reader<'_>, runner: Option<&Mutex<Runner<'_>>>) -> Vec<ImageResult> {
    let done: Vec<Mutex<Vec<ImageResult>>> = plan.images.iter().map(|_| Mutex::default()).collect();
    let next = AtomicUsize::new(0);
    let work = || {
        while let Some((number, image)) = plan.images.iter().enumerate().nth(next.fetch_add(1, Ordering::Relaxed)) {
            let results = results_of(plan, reader, runner, image);
            *done[number].lock().unwrap_or_else(PoisonError::into_inner) = results;
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..reader.images_at_once() {
            scope.spawn(work);
        }
        work();
    });
    done.into_iter().flat_map(|slot| slot.into_inner().unwrap_or_else(PoisonError::into_inner)).collect()
}

/// What all targets say of one image, on each platform that was chosen.
fn results_of(
    plan: &Plan,
    reader: &Reader<'_>,
    runner: Option<&Mutex<Runner<'_>>>,
    image: &ToCheck,
) -> Vec<ImageResult> {
    let start = Instant::now();
    let read = match &image.trouble {
        None => reader.read(&image.given),
        Some(why) => Err(format!("{}: {why}", image.given)),
    };
    let mut results = Vec::new();
    match read {
        Ok(images) => {
            for image in &images {
                // One image at a time is run, so that none waits for another's containers.
                let runner = runner.map(|runner| runner.lock().unwrap_or_else(PoisonError::into_inner));
                results.extend(plan.targets.iter().map(|target| judged(target, image, runner.as_deref())));
            }
        }
        Err(message) => {
            let failed = |target: &Target| ImageResult::failed(&image.given, &target.name, message.clone());
            results.extend(plan.targets.iter().map(failed));
        }
    }
    for result in &mut results {
        result.image.named_in.clone_from(&image.named_in);
        result.duration_ms = Some(u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX));
    }
    results
}

/// Prints the facts of an image, one JSON document for each platform that was chosen.
///
/// # Errors
/// The image cannot be read, or the facts cannot be printed.
pub fn facts(arguments: &FactsArguments) -> Result<ExitCode, Failure> {
    let config = plan::config(&arguments.target)?;
    let sources = plan::sources(&arguments.sources, &config)?;
    progress::show(&sources, false);
    let targets = plan::targets(&arguments.target, &[], &sources, &config)?;
    let wanted = wanted(&arguments.programs, targets.iter().map(|target| &target.parameters))?;
    let reader = Reader::new(&sources, wanted, &targets, FailOn::Error, 1)?;
    let images = reader.read(&arguments.image).map_err(Failure)?;
    for warning in reader.cache_warnings() {
        super::complain(&format!("warning: {warning}"));
    }
    for ReadImage { report, facts, .. } in images {
        let document = serde_json::json!({ "image": report, "facts": facts });
        print(&printable_json(&format!("{document:#}\n")))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// What facts are wanted for: the described programs of all targets, or the payload, and those that were named; steps
/// and hosts.
fn wanted<'a>(
    arguments: &ProgramArguments,
    parameters: impl IntoIterator<Item = &'a Parameters>,
) -> Result<Wanted, Failure> {
    let mut wanted = Wanted { paths: arguments.program.clone(), ..Wanted::default() };
    let mut users: Vec<Option<String>> = Vec::new();
    for parameters in parameters {
        add(&mut wanted.releases, parameters.texts("dotnet"));
        add(&mut wanted.hosts, parameters.texts("host"));
        add(&mut wanted.steps, parameters.on("windows").texts("steps"));
        users.push(parameters.text("user"));
    }
    users.dedup();
    if users.len() > 1 {
        return Err(Failure(
            "the parameter `user` has to be the same for all profiles that an image is checked for".to_owned(),
        ));
    }
    wanted.user = users.pop().flatten();
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

/// The contract's exit codes: 2 when an image could not be checked, else 1 when something at or above the threshold
/// failed or is open, else 0.
fn exit_code(report: &Report, fail_on: FailOn) -> ExitCode {
    let counts = |result: &ImageResult| {
        result.counting().any(|reported| {
            matches!(reported.finding.outcome, Outcome::Fail | Outcome::Unknown)
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
