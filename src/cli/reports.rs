//! Writes reports: those of a check, and those that are made later of a JSON report.

use std::fs::OpenOptions;
use std::io::{IsTerminal, Read, Write};
use std::path::Path;
use std::process::ExitCode;

use super::args::{DiffArguments, ReportArguments, ReportTarget, Schema};
use super::{Failure, print};
use crate::config::Config;
use crate::printable::printable_lines;
use crate::report::{self, Report, ReportFormat, TextStyle};

/// The width of the text report where there is no terminal to ask, in characters.
const WIDTH: usize = 100;
/// The largest report that is read, in bytes: some thousand images.
const LARGEST: u64 = 1 << 30;

/// Writes the reports that are wanted; the one for people is printed unless another is.
///
/// # Errors
/// A file cannot be written.
pub(super) fn write(report: &Report, targets: &[ReportTarget], quiet: bool, verbose: bool) -> Result<(), Failure> {
    let to_terminal = ReportTarget { format: ReportFormat::Text, file: None };
    let is_printed = targets.iter().any(|target| target.file.is_none());
    for target in targets.iter().chain((!is_printed).then_some(&to_terminal)) {
        let on_terminal = target.file.is_none() && std::io::stdout().is_terminal();
        let width = if on_terminal { textwrap::termwidth().min(WIDTH) } else { WIDTH };
        let rendered = target.format.render(report, TextStyle { width, quiet, verbose }).map_err(Failure)?;
        match &target.file {
            None => print(&rendered)?,
            Some(file) => {
                let plain = anstream::adapter::strip_str(&rendered).to_string();
                std::fs::write(file, plain)
                    .map_err(|error| Failure(format!("cannot write {}: {error}", file.display())))?;
            }
        }
        if target.format == ReportFormat::Github {
            summarise(report)?;
        }
    }
    Ok(())
}

/// Adds to the summary of the job that GitHub shows, if this is one (docs.github.com, "Adding a job summary").
fn summarise(report: &Report) -> Result<(), Failure> {
    let Some(file) = std::env::var_os("GITHUB_STEP_SUMMARY").filter(|file| !file.is_empty()) else { return Ok(()) };
    let written = OpenOptions::new()
        .append(true)
        .create(true)
        .open(&file)
        .and_then(|mut file| file.write_all(report::markdown(report).as_bytes()));
    written.map_err(|error| Failure(format!("cannot write the job's summary: {error}")))
}

/// Writes another form of a JSON report.
///
/// # Errors
/// It cannot be read or is none.
pub(super) fn render(arguments: &ReportArguments) -> Result<ExitCode, Failure> {
    let report = read(arguments.file.as_deref())?;
    let target = ReportTarget { format: arguments.format, file: None };
    write(&report, &[target], false, false)?;
    Ok(ExitCode::SUCCESS)
}

/// Says what changed from one JSON report to another; exit code 1 if something got worse.
///
/// # Errors
/// One of them cannot be read or is none.
pub(super) fn diff(arguments: &DiffArguments) -> Result<ExitCode, Failure> {
    let (told, is_worse) = report::diff(&read(Some(&arguments.old))?, &read(Some(&arguments.new))?);
    print(&printable_lines(&told))?;
    Ok(if is_worse { ExitCode::from(1) } else { ExitCode::SUCCESS })
}

/// Prints a JSON Schema.
///
/// # Errors
/// It cannot be printed.
pub(super) fn schema(of: Schema) -> Result<ExitCode, Failure> {
    print(&match of {
        Schema::Report => report::schema(),
        Schema::Config => Config::schema(),
    })?;
    Ok(ExitCode::SUCCESS)
}

fn read(file: Option<&Path>) -> Result<Report, Failure> {
    let name = file.map_or_else(|| "standard input".to_owned(), |file| file.display().to_string());
    let mut bytes = Vec::new();
    let read = match file {
        Some(file) => std::fs::File::open(file).and_then(|file| file.take(LARGEST).read_to_end(&mut bytes)),
        None => std::io::stdin().take(LARGEST).read_to_end(&mut bytes),
    };
    read.map_err(|error| Failure(format!("{name}: {error}")))?;
    Report::from_json(&bytes).map_err(|error| Failure(format!("{name}: {error}")))
}
