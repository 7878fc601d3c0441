//! The command line: takes arguments, does what they ask, prints, and gives the exit code.

mod args;
mod cache;
mod check;
mod plan;
mod progress;
mod reading;
mod reports;
mod rules;
#[cfg(feature = "run")]
mod run;
#[cfg(not(feature = "run"))]
#[path = "without_run.rs"]
mod run;
#[cfg(feature = "run")]
mod running;
mod settings;

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::CommandFactory;
use clap::error::ErrorKind;

use crate::panics;
use args::{Arguments, Color, Command};

/// Why a command could not be carried out, for people: one line, exit code 2.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Failure(String);

impl From<crate::catalog::Error> for Failure {
    fn from(error: crate::catalog::Error) -> Self {
        Self(error.to_string())
    }
}

/// Carries out what the process's arguments ask. A panic ends it with one line and exit code 2, as an error does.
#[must_use]
pub fn run_guarded() -> ExitCode {
    panics::report_in_one_line();
    let code = std::panic::catch_unwind(run).unwrap_or_else(|_| ExitCode::from(2));
    // Of a thread that nobody waits for, too.
    if panics::is_one_reported() { ExitCode::from(2) } else { code }
}

/// Carries out what the process's arguments ask.
#[must_use]
pub fn run() -> ExitCode {
    let arguments = match Arguments::of_this_process() {
        Ok(arguments) => arguments,
        Err(error) => return wrong_arguments(&error),
    };
    choose_colors(arguments.color);
    if let Err(error) = ctrlc::set_handler(interrupted) {
        complain(&format!("cannot listen for interrupts: {error}"));
    }
    let done = match &arguments.command {
        Command::Check(arguments) => check::check(arguments),
        Command::Facts(arguments) => check::facts(arguments),
        Command::Engines(arguments) => run::engines(arguments),
        Command::Report(arguments) => reports::render(arguments),
        Command::Diff(arguments) => reports::diff(arguments),
        Command::Schema { of } => reports::schema(*of),
        Command::Cache(arguments) => cache::cache(arguments),
        Command::Rules(arguments) => rules::rules(arguments),
        Command::Explain(arguments) => rules::explain(arguments),
        Command::Completions { shell } => completions(*shell),
        Command::Man { to } => man(to.as_deref()),
    };
    unless_interrupted();
    done.unwrap_or_else(|failure| {
        complain(&failure.to_string());
        ExitCode::from(2)
    })
}

/// Help and version are printed as asked; a wrong argument gets one line, as every other error does.
fn wrong_arguments(error: &clap::Error) -> ExitCode {
    if !error.use_stderr() || error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        let _ = error.print();
        return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
    }
    let text = error.to_string();
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let told: Vec<&str> =
        lines.take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more")).collect();
    let told = without_logins(&told.join(" ").replace(" tip: ", "; "));
    complain(&format!("{} (see imglint --help)", told.strip_prefix("error: ").unwrap_or(&told)));
    ExitCode::from(2)
}

/// The text without what stands before the host of an address: it may be an argument that is in the wrong place.
fn without_logins(text: &str) -> String {
    let Some((before, rest)) = text.split_once("://") else { return text.to_owned() };
    match rest.rsplit_once('@') {
        Some((_, rest)) => format!("{before}://…@{rest}"),
        None => text.to_owned(),
    }
}

/// Whether somebody has asked for the end.
static IS_INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// The contract counts an interrupted check as one that could not be made.
fn interrupted() {
    if IS_INTERRUPTED.swap(true, Ordering::SeqCst) {
        // Who asks twice does not want to wait. What is left is removed by the next run.
        std::process::exit(2);
    }
    std::thread::spawn(|| {
        progress::clear();
        complain("interrupted");
        #[cfg(feature = "run")]
        crate::engine::clean_up();
        std::process::exit(2);
    });
}

/// Does not return if the process was interrupted: what clearing up after it looks like from here (a container that went
/// away) is no result to report, and [`interrupted`] gives the exit code.
fn unless_interrupted() {
    while IS_INTERRUPTED.load(Ordering::SeqCst) {
        std::thread::park();
    }
}

fn choose_colors(color: Color) {
    match color {
        Color::Auto => {}
        Color::Always => anstream::ColorChoice::Always.write_global(),
        Color::Never => anstream::ColorChoice::Never.write_global(),
    }
}

/// One line on standard error.
fn complain(message: &str) {
    // Nothing can be done if standard error is closed.
    let _ = writeln!(anstream::stderr(), "imglint: {}", crate::printable::printable(message));
}

/// Prints to standard output, with colours only where they belong.
fn print(text: &str) -> Result<(), Failure> {
    let mut out = anstream::stdout();
    // In pieces of whole lines, so that it is known whether any was taken.
    for line in text.split_inclusive('\n') {
        match out.write_all(line.as_bytes()) {
            // Who reads the output, as `head` does, has seen enough.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe && IS_PRINTED.load(Ordering::Relaxed) => {
                return Ok(());
            }
            Err(error) => return Err(Failure(format!("cannot write to standard output: {error}"))),
            Ok(()) => IS_PRINTED.store(true, Ordering::Relaxed),
        }
    }
    out.flush().or_else(|error| match error.kind() {
        io::ErrorKind::BrokenPipe if IS_PRINTED.load(Ordering::Relaxed) => Ok(()),
        _ => Err(Failure(format!("cannot write to standard output: {error}"))),
    })
}

/// Whether anything was printed.
static IS_PRINTED: AtomicBool = AtomicBool::new(false);

fn completions(shell: clap_complete::Shell) -> Result<ExitCode, Failure> {
    let mut out = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "imglint", &mut out);
    print(&String::from_utf8_lossy(&out))?;
    Ok(ExitCode::SUCCESS)
}

#[cfg(feature = "man")]
fn man(to: Option<&Path>) -> Result<ExitCode, Failure> {
    if let Some(folder) = to {
        let written = std::fs::create_dir_all(folder)
            .and_then(|()| clap_mangen::generate_to(Arguments::command().disable_help_subcommand(true), folder));
        written.map_err(|error| Failure(format!("cannot write to {}: {error}", folder.display())))?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut out = Vec::new();
    clap_mangen::Man::new(Arguments::command())
        .render(&mut out)
        .map_err(|error| Failure(format!("cannot write the manual page: {error}")))?;
    print(&String::from_utf8_lossy(&out))?;
    Ok(ExitCode::SUCCESS)
}

#[cfg(not(feature = "man"))]
fn man(_to: Option<&Path>) -> Result<ExitCode, Failure> {
    Err(Failure("man: this build of imglint has no manual page: it was made without the feature `man`".to_owned()))
}
