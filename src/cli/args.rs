//! The command line: what can be asked of imglint and how.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::platform::PlatformChoice;
use crate::verdict::Severity;

/// Says, before a deployment does, whether a container image works as the image a CI/CD step runs in.
#[derive(Debug, Parser)]
#[command(name = "imglint", version, max_term_width = 100, disable_help_subcommand = true, after_help = EXIT_CODES)]
pub struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// When to colour what is printed.
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    pub color: Color,
}

const EXIT_CODES: &str = "\
Exit codes:
  0  every image is compatible (nothing at or above --fail-on)
  1  an image is incompatible, or a rule of severity error could not be decided
  2  an image could not be checked, or the arguments are wrong";

const IMAGE_HELP: &str = "\
A name as `docker pull` takes it, or one with a transport:
  NAME                     the local engine's image if an engine has it, else the registry's
  docker://NAME            the registry's, never an engine's
  docker-daemon:NAME       the local engine's (Docker, or Podman through its socket)
  oci:DIR[:TAG|@DIGEST]    an OCI image layout in a folder
  oci-archive:FILE[:TAG]   an OCI image layout in a tar
  docker-archive:FILE[:NAME]  what `docker save` writes
  rootfs:DIR               an unpacked root file system
  -                        an archive on standard input
A file or folder without transport is detected by its content.";

/// What imglint does.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Judge images: will they work as the image that a step runs in?
    Check(CheckArguments),
    /// Print what was found out about an image, as JSON, without judging.
    Facts(FactsArguments),
    /// Say what is kept of layers that were read, or remove it.
    Cache(CacheCommandArguments),
    /// List the container engines that answer.
    Engines(EnginesArguments),
    /// List the rules of a profile.
    Rules(RulesArguments),
    /// Tell why a rule is there, what fails it and how to mend it.
    Explain(ExplainArguments),
    /// Print completions for a shell.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
    /// Print the manual page.
    Man,
}

/// Arguments of `imglint check`.
#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES)]
pub struct CheckArguments {
    /// The images to judge.
    #[arg(value_name = "IMAGE", required = true, long_help = IMAGE_HELP)]
    pub images: Vec<String>,
    /// The target to judge for: a built-in profile or a profile file. Repeatable.
    #[arg(long, value_name = "NAME or FILE", default_value = "octopus")]
    pub profile: Vec<String>,
    /// Set a parameter of the profile, such as `server=2024.1`. Repeatable.
    #[arg(long, value_name = "KEY=VALUE", value_parser = key_value)]
    pub set: Vec<(String, String)>,
    /// Override how much a rule matters: off, info, warning or error. Repeatable.
    #[arg(long, value_name = "ID=SEVERITY", value_parser = key_value)]
    pub rule: Vec<(String, String)>,
    /// Write a report: text or json, to the terminal or a file. Repeatable; text goes to the terminal unless another
    /// report does.
    #[arg(long, value_name = "FORMAT[=FILE]", value_parser = report_target)]
    pub report: Vec<ReportTarget>,
    /// What makes the exit code 1.
    #[arg(long, value_name = "SEVERITY", default_value = "error")]
    pub fail_on: FailOn,
    #[command(flatten)]
    /// Which programs are judged.
    pub programs: ProgramArguments,
    #[command(flatten)]
    /// Whether images are run, too.
    pub run: RunArguments,
    #[command(flatten)]
    /// How images are reached.
    pub sources: SourceArguments,
    /// Print only the verdicts.
    #[arg(short, long, conflicts_with = "verbose")]
    pub quiet: bool,
    /// Also print digests, sizes and layers.
    #[arg(short, long)]
    pub verbose: bool,
}

/// Arguments of `imglint facts`.
#[derive(Debug, Args)]
pub struct FactsArguments {
    /// The image.
    #[arg(value_name = "IMAGE", long_help = IMAGE_HELP)]
    pub image: String,
    /// The target whose programs are described: a built-in profile or a profile file.
    #[arg(long, value_name = "NAME or FILE", default_value = "octopus")]
    pub profile: String,
    /// Set a parameter of the profile, such as `dotnet=10.0`. Repeatable.
    #[arg(long, value_name = "KEY=VALUE", value_parser = key_value)]
    pub set: Vec<(String, String)>,
    #[command(flatten)]
    /// Which programs are looked at.
    pub programs: ProgramArguments,
    #[command(flatten)]
    /// How images are reached.
    pub sources: SourceArguments,
}

/// Arguments of `imglint rules`.
#[derive(Debug, Args)]
pub struct RulesArguments {
    /// The profile: a built-in one or a file.
    #[arg(long, value_name = "NAME or FILE", default_value = "octopus")]
    pub profile: String,
    /// Print a Markdown table.
    #[arg(long)]
    pub markdown: bool,
}

/// Arguments of `imglint explain`.
#[derive(Debug, Args)]
pub struct ExplainArguments {
    /// The rule's id.
    #[arg(value_name = "RULE")]
    pub rule: String,
    /// The profile that has it: a built-in one or a file.
    #[arg(long, value_name = "NAME or FILE", default_value = "octopus")]
    pub profile: String,
}

/// Which programs are judged, beside those that the profile describes.
#[derive(Debug, Args)]
#[command(next_help_heading = "Programs")]
pub struct ProgramArguments {
    /// Judge this program of the image, too: will it start, does it find its libraries? Repeatable.
    #[arg(long, value_name = "PATH", value_parser = absolute_path)]
    pub program: Vec<String>,
    /// Judge the program in this folder, which will be mounted into the image, in place of the one that the profile
    /// describes.
    #[arg(long, value_name = "DIR")]
    pub payload: Option<PathBuf>,
    /// How the program of the payload is started, relative to the folder, such as `dotnet app.dll`. Default: the only
    /// program in it.
    #[arg(long, value_name = "LINE", requires = "payload", value_parser = command_line)]
    pub payload_command: Option<CommandLine>,
}

/// The words of a command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandLine(pub Vec<String>);

/// Whether and how images are run.
#[derive(Debug, Args)]
#[command(next_help_heading = "Running images")]
pub struct RunArguments {
    /// Also run the image with a container engine, as the target would: does a program with .NET's needs load, do
    /// scripts run, do variables and artifacts pass?
    #[arg(long)]
    pub run: bool,
    /// Give the containers a network.
    #[arg(long, requires = "run")]
    pub run_network: bool,
    /// How long each container may run, such as 90, 90s or 5m.
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "2m", requires = "run")]
    pub run_timeout: Duration,
}

/// Arguments of `imglint engines`.
#[derive(Debug, Args)]
pub struct EnginesArguments {
    /// The engine: unix://PATH or tcp://HOST:PORT. Default: `DOCKER_HOST`, else the Docker context, else the usual
    /// sockets.
    #[arg(long, value_name = "URL")]
    pub engine: Option<String>,
}

/// How images are reached.
#[derive(Debug, Args)]
#[command(next_help_heading = "Reaching images")]
pub struct SourceArguments {
    /// Which entry of an index: OS/ARCH[/VARIANT][:OSVERSION], or all. Default: linux on this machine's
    /// architecture, else linux/amd64, else all.
    #[arg(long, value_name = "PLATFORM")]
    pub platform: Option<PlatformChoice>,
    /// The engine: unix://PATH or tcp://HOST:PORT. Default: `DOCKER_HOST`, else the Docker context, else the usual
    /// sockets.
    #[arg(long, value_name = "URL")]
    pub engine: Option<String>,
    /// Credentials in the form of Docker's config.json or Podman's auth.json.
    #[arg(long, value_name = "FILE")]
    pub registry_auth: Option<PathBuf>,
    /// A certificate authority to trust besides the system's (PEM). Repeatable.
    #[arg(long, value_name = "FILE")]
    pub tls_ca: Vec<PathBuf>,
    /// A client certificate (PEM).
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub tls_cert: Option<PathBuf>,
    /// The key of the client certificate (PEM).
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,
    /// Speak to this registry without verifying its certificate, or over plain HTTP. Repeatable; plain HTTP to
    /// loopback needs no leave.
    #[arg(long, value_name = "HOST[:PORT]")]
    pub insecure_registry: Vec<String>,
    /// The configuration to judge a rootfs: folder by.
    #[arg(long, value_name = "FILE")]
    pub config_json: Option<PathBuf>,
    /// Fetch no layer that is larger, such as 500MB: what only it could tell is unknown.
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub max_layer_fetch: Option<u64>,
    /// Fetch foreign layers of Windows images, which the registry does not have, from mcr.microsoft.com.
    #[arg(long)]
    pub allow_foreign_urls: bool,
    /// How many layers are read at a time.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=64))]
    pub jobs: Option<u16>,
    /// Give up on a registry's image after this time, such as 90, 90s or 5m.
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub timeout: Option<Duration>,
    #[command(flatten)]
    /// What was read before.
    pub cache: CacheArguments,
    /// Show no progress on the terminal.
    #[arg(long)]
    pub no_progress: bool,
}

/// Where indexes of layers are kept, so that a layer is fetched and read only once.
#[derive(Debug, Args)]
pub struct CacheArguments {
    /// The folder in which what was read of layers is kept. Default: imglint in the user's folder for caches.
    #[arg(long = "cache", value_name = "DIR", env = "IMGLINT_CACHE")]
    pub folder: Option<PathBuf>,
    /// Keep nothing, and use nothing that was kept.
    #[arg(long, env = "IMGLINT_NO_CACHE", conflicts_with = "folder")]
    pub no_cache: bool,
    /// How much is kept at most; what was used least goes first.
    #[arg(long, value_name = "SIZE", value_parser = size, default_value = "1GB", env = "IMGLINT_CACHE_SIZE")]
    pub cache_size: u64,
}

/// Arguments of `imglint cache`.
#[derive(Debug, Args)]
pub struct CacheCommandArguments {
    /// What to do with it.
    #[arg(value_enum, value_name = "ACTION")]
    pub action: CacheAction,
    /// The folder. Default: imglint in the user's folder for caches.
    #[arg(long = "cache", value_name = "DIR", env = "IMGLINT_CACHE")]
    pub folder: Option<PathBuf>,
}

/// What can be done with the cache.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum CacheAction {
    /// Say where it is and how much it holds.
    Info,
    /// Remove what it holds.
    Clear,
}

/// When to colour.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Color {
    /// On a terminal, unless `NO_COLOR` is set.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// What makes the exit code 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum FailOn {
    /// A finding of severity error.
    Error,
    /// One of severity warning or error.
    Warning,
    /// Nothing.
    Never,
}

impl FailOn {
    /// Whether a finding of this severity counts.
    #[must_use]
    pub fn counts(self, severity: Severity) -> bool {
        match self {
            Self::Error => severity == Severity::Error,
            Self::Warning => severity != Severity::Info,
            Self::Never => false,
        }
    }
}

/// A report and where it goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReportTarget {
    /// Its form.
    pub format: ReportFormat,
    /// The file, or standard output.
    pub file: Option<PathBuf>,
}

/// The forms of report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ReportFormat {
    /// For people.
    Text,
    /// For programs.
    Json,
}

fn key_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("expected KEY=VALUE".to_owned()),
    }
}

fn report_target(text: &str) -> Result<ReportTarget, String> {
    let (format, file) = match text.split_once('=') {
        Some((_, "")) => return Err("the file name is missing".to_owned()),
        Some((format, file)) => (format, Some(PathBuf::from(file))),
        None => (text, None),
    };
    let format = ReportFormat::from_str(format, false)
        .map_err(|_| format!("there is no report {format:?}; there are text and json"))?;
    Ok(ReportTarget { format, file })
}

fn absolute_path(text: &str) -> Result<String, String> {
    if text.len() > 1 && text.starts_with('/') {
        Ok(text.to_owned())
    } else {
        Err("expected the path of a program in the image, from / on".to_owned())
    }
}

fn command_line(text: &str) -> Result<CommandLine, String> {
    match shlex::split(text) {
        Some(words) if !words.is_empty() => Ok(CommandLine(words)),
        Some(_) => Err("it is empty".to_owned()),
        None => Err("a quote is not closed".to_owned()),
    }
}

fn size(text: &str) -> Result<u64, String> {
    crate::parameters::size::parse(text).map_err(|error| error.to_string())
}

fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = &text[digits.len()..];
    let factor = match unit {
        "" | "s" => 1,
        "m" | "min" => 60,
        "h" => 3600,
        _ => return Err("expected a number of seconds, or one with s, m or h".to_owned()),
    };
    match digits.parse::<u64>() {
        Ok(number) if number > 0 => Ok(Duration::from_secs(number.saturating_mul(factor))),
        _ => Err("expected a number of seconds above 0".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn durations_have_units() {
        assert_eq!(duration("90"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("5m"), Ok(Duration::from_secs(300)));
        assert!(duration("0").is_err() && duration("x").is_err() && duration("5 d").is_err());
    }
}
