//! `imglint check` and `imglint facts`: opens images, reads their layers, gathers facts, judges, and reports.

use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use super::args::{
    CheckArguments, FactsArguments, FailOn, ProgramArguments, ReportFormat, ReportTarget, SourceArguments,
};
use super::{Failure, print};
use crate::catalog::{Overrides, Profile};
use crate::facts::programs::{PAYLOAD_FOLDER, Payload, Wanted};
use crate::facts::{Facts, gather, needs_layers};
use crate::image::registry::RegistryOptions;
use crate::image::{self, SourceOptions};
use crate::lint;
use crate::parameters::Parameters;
use crate::reference::{ImageReference, NotAReference};
use crate::report::{self, ImageReport, ImageResult, Report, TextStyle};
use crate::rootfs::{Rootfs, StackedLayer};
use crate::verdict::{Outcome, Verdict};

/// The width of the text report where there is no terminal to ask, in characters.
const WIDTH: usize = 100;

/// A profile with all that the command line says about it.
struct Target {
    name: String,
    profile: Profile,
    parameters: Parameters,
    overrides: Overrides,
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
    let reader = Reader::new(&arguments.sources, wanted);
    let mut results = Vec::new();
    for given in &arguments.images {
        match reader.read(given) {
            Ok(images) => {
                for (image, facts) in images {
                    results.extend(targets.iter().map(|target| judged(target, &image, &facts)));
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
    let parameters = super::rules::profile(&arguments.profile)?.parameters(&arguments.set)?;
    let wanted = wanted(&arguments.programs, [&parameters])?;
    let images = Reader::new(&arguments.sources, wanted).read(&arguments.image).map_err(Failure)?;
    for (image, facts) in images {
        let document = serde_json::json!({ "image": image, "facts": facts });
        print(&format!("{document:#}\n"))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// An error with the image it is about, unless it names it itself.
fn about(given: &str, error: &str) -> String {
    let given = crate::printable::excerpt(given, 300);
    if error.contains(given.as_str()) { error.to_owned() } else { format!("{given}: {error}") }
}

fn targets(arguments: &CheckArguments) -> Result<Vec<Target>, Failure> {
    let target = |name: &String| {
        let profile = super::rules::profile(name)?;
        let parameters = profile.parameters(&arguments.set)?;
        let overrides = profile.overrides(&arguments.rule)?;
        Ok(Target { name: profile.id.clone(), profile, parameters, overrides })
    };
    arguments.profile.iter().map(target).collect()
}

/// The programs to predict: the described ones of all targets, or the payload, and those that were named.
fn wanted<'a>(
    arguments: &ProgramArguments,
    parameters: impl IntoIterator<Item = &'a Parameters>,
) -> Result<Wanted, Failure> {
    let mut releases: Vec<String> = Vec::new();
    for release in parameters.into_iter().flat_map(|parameters| parameters.texts("dotnet")) {
        if !releases.contains(&release) {
            releases.push(release);
        }
    }
    let payload = arguments.payload.as_ref().map(|folder| {
        let index =
            image::mounted_folder(folder, PAYLOAD_FOLDER).map_err(|error| Failure(format!("--payload: {error}")))?;
        let command = arguments.payload_command.as_ref().map(|line| line.0.clone());
        Ok::<_, Failure>(Payload { index: Arc::new(index), command })
    });
    Ok(Wanted { releases, paths: arguments.program.clone(), payload: payload.transpose()? })
}

fn judged(target: &Target, image: &ImageReport, facts: &Facts) -> ImageResult {
    let judgement = lint::judge(facts, &target.profile, &target.parameters, &target.overrides);
    ImageResult::judged(image.clone(), &target.name, &target.parameters, judgement, facts)
}

/// Reads images, with everything that the command line says about reaching them.
struct Reader<'a> {
    arguments: &'a SourceArguments,
    options: SourceOptions,
    jobs: usize,
    wanted: Wanted,
}

impl<'a> Reader<'a> {
    fn new(arguments: &'a SourceArguments, wanted: Wanted) -> Self {
        let options = SourceOptions {
            registry: RegistryOptions {
                auth_file: arguments.registry_auth.clone(),
                ca: arguments.tls_ca.clone(),
                client_cert: arguments.tls_cert.clone(),
                client_key: arguments.tls_key.clone(),
                insecure: arguments.insecure_registry.clone(),
                timeout: arguments.timeout,
                ..RegistryOptions::default()
            },
            engine: arguments.engine.clone(),
            config_json: arguments.config_json.clone(),
        };
        // One layer keeps a core busy; a second one hides the waiting for the network.
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        let jobs = arguments.jobs.map_or(cores.clamp(2, 4), usize::from);
        Self { arguments, options, jobs, wanted }
    }

    /// The images that somebody named, read; or why they cannot be, in one line that names them.
    fn read(&self, given: &str) -> Result<Vec<(ImageReport, Facts)>, String> {
        let reference: ImageReference =
            given.parse().map_err(|error: NotAReference| about(given, &error.to_string()))?;
        self.read_reference(&reference).map_err(|error| about(given, &error.to_string()))
    }

    fn read_reference(&self, reference: &ImageReference) -> image::Result<Vec<(ImageReport, Facts)>> {
        let choice = self.arguments.platform.clone().unwrap_or_default();
        let progress = Progress::show(self.arguments, reference);
        let opened = image::open(reference, &self.options, &choice)?;
        let source = opened.source.as_ref();
        let images = source.images(&choice)?;
        let read = images.iter().map(|image| {
            let layers = needs_layers(image).then(|| image::read::layers(source, image, self.jobs)).transpose()?;
            let rootfs = layers.as_deref().map(|layers| stack(image, layers));
            let facts = gather(image, source.kind(), opened.name.as_ref(), rootfs.as_ref(), &self.wanted);
            let mut report = ImageReport::new(&reference.given, source.kind(), image, layers.as_deref());
            report.fetched_bytes = source.bytes_fetched();
            Ok((report, facts))
        });
        let read = read.collect();
        drop(progress);
        read
    }
}

fn stack(image: &image::Image, layers: &[Arc<crate::layer::LayerIndex>]) -> Rootfs {
    let stacked = image.layers.iter().zip(layers).map(|(layer, index)| StackedLayer {
        index: Arc::clone(index),
        instruction: layer.created_by.as_deref().map(crate::facts::configuration::instruction),
    });
    Rootfs::new(stacked.collect())
}

/// A line on the terminal that says what is being read, gone when it is dropped.
struct Progress;

impl Progress {
    fn show(arguments: &SourceArguments, reference: &ImageReference) -> Option<Self> {
        let mut terminal = std::io::stderr();
        if arguments.no_progress || !terminal.is_terminal() || std::env::var_os("CI").is_some() {
            return None;
        }
        let _ = write!(terminal, "\rreading {} …", crate::printable::excerpt(&reference.given, 60));
        let _ = terminal.flush();
        Some(Self)
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        let _ = write!(std::io::stderr(), "\r\x1b[2K");
    }
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
