//! The command line: what can be asked of imglint and how.

mod sources;
mod values;

use std::path::PathBuf;
use std::time::Duration;

use clap::parser::ValueSource;
use clap::{ArgMatches, Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand, ValueEnum};

use crate::cache::NamedBy;
use crate::config::FailOn;
use crate::report::ReportFormat;
pub use sources::{CacheAction, CacheArguments, CacheCommandArguments, SourceArguments};
pub use values::Unread;
use values::{absolute_path, command_line, duration, key_value, report_target};

/// Says, before a deployment does, whether a container image works as the image a CI/CD step runs in.
#[derive(Debug, Parser)]
#[command(name = "imglint", version, max_term_width = 100, disable_help_subcommand = true, after_help = EXIT_CODES)]
pub struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// When to colour what is printed.
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto", env = "IMGLINT_COLOR")]
    pub color: Color,
}

impl Arguments {
    /// The arguments of this process, and of its environment.
    ///
    /// # Errors
    /// They are wrong, or ask for help.
    pub fn of_this_process() -> Result<Self, clap::Error> {
        let matches = Self::command().try_get_matches()?;
        let mut arguments = Self::from_arg_matches(&matches)?;
        let named_by = matches.subcommand().map_or(NamedBy::Nobody, |(_, matches)| cache_is_named_by(matches));
        match &mut arguments.command {
            Command::Check(check) => {
                check.sources.cache.named_by = named_by;
                check.of_environment = of_environment(&matches);
            }
            Command::Facts(facts) => facts.sources.cache.named_by = named_by,
            Command::Cache(cache) => cache.named_by = named_by,
            _ => {}
        }
        Ok(arguments)
    }
}

/// The arguments of a command that variables of the environment give.
fn of_environment(matches: &ArgMatches) -> Vec<String> {
    let Some((_, matches)) = matches.subcommand() else { return Vec::new() };
    let is_of_environment = |id: &&str| matches.value_source(id) == Some(ValueSource::EnvVariable);
    ["rule", "fail_on", "baseline"].into_iter().filter(is_of_environment).map(str::to_owned).collect()
}

/// Who says where the cache is.
fn cache_is_named_by(matches: &ArgMatches) -> NamedBy {
    let is_there = matches.try_contains_id("place").unwrap_or(false);
    match is_there.then(|| matches.value_source("place")).flatten() {
        Some(ValueSource::CommandLine) => NamedBy::CommandLine,
        Some(ValueSource::EnvVariable) => NamedBy::Environment,
        _ => NamedBy::Nobody,
    }
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
    /// Write another form of a report that was written as JSON.
    Report(ReportArguments),
    /// Say what got better and worse from one JSON report to another.
    Diff(DiffArguments),
    /// Print the JSON Schema of the report or of the configuration file.
    Schema {
        /// Of what.
        #[arg(value_enum)]
        of: Schema,
    },
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
    /// Print the manual page, or write those of all commands.
    Man {
        /// The folder to write them to.
        #[arg(long, value_name = "DIR")]
        to: Option<PathBuf>,
    },
}

/// Arguments of `imglint check`.
#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES)]
pub struct CheckArguments {
    /// The images to judge.
    #[arg(value_name = "IMAGE", long_help = IMAGE_HELP)]
    pub images: Vec<String>,
    /// Also the images of a list, one a line, with comments after #; - is standard input. Repeatable.
    #[arg(long, value_name = "FILE")]
    pub images_from: Vec<PathBuf>,
    /// Also the images that a file names: a compose file, Kubernetes manifests, an Octopus deployment process, or a
    /// workflow of GitHub, GitLab or Azure. Repeatable.
    #[arg(long, value_name = "FILE")]
    pub from: Vec<PathBuf>,
    /// Complete names in those files by this variable of the environment, too. Without it only by the .env file next to
    /// a file. Repeatable.
    #[arg(long, value_name = "NAME")]
    pub env: Vec<String>,
    /// Which settings come from the environment.
    #[arg(skip)]
    pub of_environment: Vec<String>,
    #[command(flatten)]
    /// For what images are judged.
    pub target: TargetArguments,
    /// Override how much a rule matters: off, info, warning or error. Repeatable.
    #[arg(long, value_name = "ID=SEVERITY", value_parser = key_value, env = "IMGLINT_RULE", value_delimiter = ' ')]
    pub rule: Vec<(String, String)>,
    /// Write a report: text, json, sarif, junit, github, gitlab, markdown, html or openmetrics, to the terminal or a file.
    /// Repeatable; text goes to the terminal unless another report does.
    #[arg(long, value_name = "FORMAT[=FILE]", value_parser = report_target, env = "IMGLINT_REPORT")]
    pub report: Vec<ReportTarget>,
    /// What makes the exit code 1. Default: error.
    #[arg(long, value_name = "SEVERITY", env = "IMGLINT_FAIL_ON")]
    pub fail_on: Option<FailOn>,
    /// A JSON report of an earlier run: what it has is ignored, only what is new counts.
    #[arg(long, value_name = "FILE", env = "IMGLINT_BASELINE")]
    pub baseline: Option<PathBuf>,
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
    /// Also print digests, sizes and layers, what was fetched, and what the verdict rests on and how it was found.
    #[arg(short, long)]
    pub verbose: bool,
}

/// For what images are judged.
#[derive(Debug, Args)]
pub struct TargetArguments {
    /// The target to judge for: a built-in profile or a profile file. Repeatable. Default: octopus.
    #[arg(long, value_name = "NAME or FILE", env = "IMGLINT_PROFILE", value_delimiter = ',')]
    pub profile: Vec<String>,
    /// Set a parameter of the profile, such as `server=2024.1`. Repeatable.
    #[arg(long, value_name = "KEY=VALUE", value_parser = key_value, env = "IMGLINT_SET", value_delimiter = ' ')]
    pub set: Vec<(String, String)>,
    /// The configuration file. Default: imglint.toml in the working directory, or in the nearest folder above it up to
    /// the root of the git repository. One that is not named here may not set registries and jobs.
    #[arg(long, value_name = "FILE", env = "IMGLINT_CONFIG")]
    pub config: Option<PathBuf>,
    /// Read no configuration file.
    #[arg(long, env = "IMGLINT_NO_CONFIG", conflicts_with = "config")]
    pub no_config: bool,
}

/// Arguments of `imglint facts`.
#[derive(Debug, Args)]
pub struct FactsArguments {
    /// The image.
    #[arg(value_name = "IMAGE", long_help = IMAGE_HELP)]
    pub image: String,
    #[command(flatten)]
    /// For what facts are found out.
    pub target: TargetArguments,
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

/// Arguments of `imglint report`.
#[derive(Debug, Args)]
pub struct ReportArguments {
    /// The form to write.
    #[arg(value_enum, value_name = "FORMAT")]
    pub format: ReportFormat,
    /// The JSON report. Default: standard input.
    #[arg(value_name = "FILE")]
    pub file: Option<PathBuf>,
}

/// Arguments of `imglint diff`.
#[derive(Debug, Args)]
#[command(after_help = "Exit codes:\n  0  nothing got worse\n  1  something did\n  2  a report cannot be read")]
pub struct DiffArguments {
    /// The earlier JSON report.
    #[arg(value_name = "OLD.json")]
    pub old: PathBuf,
    /// The later one.
    #[arg(value_name = "NEW.json")]
    pub new: PathBuf,
}

/// What has a schema.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Schema {
    /// The JSON report.
    Report,
    /// The configuration file, imglint.toml.
    Config,
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
    /// Where reading the image and running it disagree, take what the run showed. Without it the verdict is undetermined
    /// then: an image may pretend, and imglint may be wrong.
    #[arg(long, requires = "run")]
    pub trust_run: bool,
    /// Give the containers a network.
    #[arg(long, requires = "run")]
    pub run_network: bool,
    /// How long an image's containers may run, all together, such as 90, 90s or 5m.
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "2m", requires = "run")]
    pub run_timeout: Duration,
}

/// Arguments of `imglint engines`.
#[derive(Debug, Args)]
pub struct EnginesArguments {
    /// The engine: unix://PATH or tcp://HOST:PORT. Default: `DOCKER_HOST`, else `DOCKER_CONTEXT`, `CONTAINER_HOST`, Docker's
    /// current context, or the usual sockets.
    #[arg(long, value_name = "URL")]
    pub engine: Option<String>,
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

/// A report and where it goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReportTarget {
    /// Its form.
    pub format: ReportFormat,
    /// The file, or standard output.
    pub file: Option<PathBuf>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Arguments::command().debug_assert();
    }
}
