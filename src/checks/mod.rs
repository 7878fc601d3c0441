//! The ways in which rules are decided: each a pure function from facts and parameters to an answer.
//!
//! A rule file picks one by `check = { kind = "…" }` and gives it its parameters. A check never knows how much its
//! rule matters, reads no files, and cannot fail: what it cannot tell is [unknown](crate::verdict::Outcome::Unknown).

mod bash_start;
mod command_usable;
mod commands_usable;
mod container_start;
mod distribution_supported;
mod env_set;
mod image_size;
mod java_home;
mod layers;
mod libc;
mod manifest_kind;
mod media_types;
mod os_release_present;
mod path_entries;
mod platform;
mod present;
mod processor;
mod program;
pub mod run;
mod shell_file_path;
mod start_command;
pub mod step_needs;
mod tag;
mod tools_off_path;
mod user;
mod volumes;
mod windows;
mod windows_path;

use serde::Deserialize;

use crate::facts::{Fact, Facts};
use crate::parameters::{ParameterKind, Parameters};
use crate::printable::excerpt;
use crate::verdict::{Answer, Place};

/// How many things of a kind are told as evidence.
const MOST_TOLD: usize = 6;

/// One way of deciding a rule, with its parameters from the rule file.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Check {
    /// The environment lets scripts of bash run as they are written.
    BashStart(bash_start::BashStartClean),
    /// No command on `PATH` is broken.
    CommandsUsable(commands_usable::CommandsUsable),
    /// A command is on `PATH` and can be run.
    CommandUsable(command_usable::CommandUsable),
    /// Engines create and start containers of the image.
    ContainerStart(container_start::ContainerStart),
    /// The distribution is on .NET's list.
    DistributionSupported(distribution_supported::DistributionSupported),
    /// Certain variables are not set.
    EnvSet(env_set::EnvSet),
    /// No layer has to be fetched from elsewhere.
    ForeignLayers(windows::ForeignLayers),
    /// The image is no larger than a limit.
    ImageSize(image_size::ImageSize),
    /// `JAVA_HOME` leads to a Java, if it is set.
    JavaHome(java_home::JavaHomeLeads),
    /// There are not too many layers.
    LayerCount(layers::LayerCount),
    /// Engines agree about what layers hold.
    LayersUndisputed(layers::LayersUndisputed),
    /// The C library is of a certain family.
    Libc(libc::LibcIs),
    /// The manifest is of no refused kind.
    ManifestKind(manifest_kind::ManifestKindIs),
    /// All media types of the manifest are of one family.
    MediaTypesAgree(media_types::MediaTypesAgree),
    /// There is an os-release file.
    OsReleasePresent(os_release_present::OsReleasePresent),
    /// All entries of `PATH` are folders of the image.
    PathEntries(path_entries::PathEntries),
    /// The image is for the platform it will run on.
    Platform(platform::PlatformIs),
    /// Data that programs look for late is there.
    Present(present::Present),
    /// Programs need no more of a processor than it has.
    Processor(processor::ProcessorFits),
    /// The programs that will run have no problem of certain kinds.
    Program(program::ProgramFine),
    /// A run did not fail, or left nothing open, that no other rule explains.
    Run(run::RunIs),
    /// No shell file sets a `PATH` that nobody reads.
    ShellFilePath(shell_file_path::ShellFilePath),
    /// `Entrypoint` or `Cmd` is empty or only a shell.
    StartCommand(start_command::StartCommand),
    /// The selected steps find what they need.
    StepNeeds(step_needs::StepNeeds),
    /// The tag names one version for good.
    TagFixed(tag::TagFixed),
    /// No tool is installed off `PATH`.
    ToolsOffPath(tools_off_path::ToolsOffPath),
    /// Containers run as a certain user.
    User(user::UserIs),
    /// No volume meets certain folders.
    Volumes(volumes::VolumesClear),
    /// There is a Windows in the image.
    WindowsBase(windows::WindowsBasePresent),
    /// A Windows image runs on certain hosts.
    WindowsHost(windows::WindowsHost),
    /// `PATH` of a Windows container is whole.
    WindowsPath(windows_path::WindowsPathWhole),
    /// `PATH` of Env hides nothing that layers put on the registry's.
    WindowsPathHidden(windows_path::WindowsPathHidden),
    /// The release of Windows is as it should be.
    WindowsVersion(windows::WindowsVersion),
}

impl Check {
    /// What the facts say.
    #[must_use]
    pub fn judge(&self, facts: &Facts, parameters: &Parameters) -> Answer {
        match self {
            Self::BashStart(check) => check.judge(facts, parameters),
            Self::CommandsUsable(check) => check.judge(facts, parameters),
            Self::CommandUsable(check) => check.judge(facts),
            Self::ContainerStart(check) => check.judge(facts),
            Self::DistributionSupported(check) => check.judge(facts, parameters),
            Self::EnvSet(check) => check.judge(facts),
            Self::ForeignLayers(check) => check.judge(facts),
            Self::ImageSize(check) => check.judge(facts, parameters),
            Self::JavaHome(check) => check.judge(facts, parameters),
            Self::LayerCount(check) => check.judge(facts),
            Self::LayersUndisputed(check) => check.judge(facts),
            Self::Libc(check) => check.judge(facts),
            Self::ManifestKind(check) => check.judge(facts),
            Self::MediaTypesAgree(check) => check.judge(facts),
            Self::OsReleasePresent(check) => check.judge(facts),
            Self::PathEntries(check) => check.judge(facts),
            Self::Platform(check) => check.judge(facts, parameters),
            Self::Present(check) => check.judge(facts),
            Self::Processor(check) => check.judge(facts, parameters),
            Self::Program(check) => check.judge(facts, parameters),
            Self::Run(check) => check.judge(facts.run.as_ref()),
            Self::ShellFilePath(check) => check.judge(facts),
            Self::StartCommand(check) => check.judge(facts),
            Self::StepNeeds(check) => check.judge(facts, parameters),
            Self::TagFixed(check) => check.judge(facts),
            Self::ToolsOffPath(check) => check.judge(facts, parameters),
            Self::User(check) => check.judge(facts),
            Self::Volumes(check) => check.judge(facts),
            Self::WindowsBase(check) => check.judge(facts),
            Self::WindowsHost(check) => check.judge(facts, parameters),
            Self::WindowsPath(check) => check.judge(facts),
            Self::WindowsPathHidden(check) => check.judge(facts),
            Self::WindowsVersion(check) => check.judge(facts),
        }
    }

    /// The profile's parameter that this check reads, and the kind it has to be of.
    #[must_use]
    pub fn parameter(&self) -> Option<(&str, ParameterKind)> {
        match self {
            Self::BashStart(check) => Some((&check.parameter, ParameterKind::Text)),
            Self::CommandsUsable(check) => Some((&check.parameter, ParameterKind::Text)),
            Self::DistributionSupported(check) => Some((&check.parameter, ParameterKind::Version)),
            Self::ImageSize(check) => Some((&check.parameter, ParameterKind::Size)),
            Self::JavaHome(check) => Some((&check.parameter, ParameterKind::Text)),
            Self::StepNeeds(check) => Some((&check.parameter, ParameterKind::Text)),
            Self::ToolsOffPath(check) => Some((&check.parameter, ParameterKind::Text)),
            Self::Platform(check) => Some((&check.parameter, ParameterKind::Platform)),
            Self::WindowsHost(check) => Some((&check.parameter, ParameterKind::WindowsHost)),
            Self::Processor(check) => Some((&check.parameter, ParameterKind::Text)),
            Self::Program(check) => Some((&check.parameter, ParameterKind::Version)),
            _ => None,
        }
    }
}

/// Judges what is known; what is not known, or does not exist, is the answer already.
fn when_known<T>(fact: &Fact<T>, place: &Place, judge: impl FnOnce(&T) -> Answer) -> Answer {
    match fact {
        Fact::Known(value) => judge(value),
        Fact::Unknown(unknown) => Answer::unknown(place, &unknown.unknown),
        Fact::NotApplicable(reason) => Answer::not_applicable(&reason.not_applicable),
    }
}

/// The answer of a check whose parameter has no value in this profile.
fn without_parameter(name: &str) -> Answer {
    Answer::unknown(
        &Place::default(),
        format!("the parameter `{name}` has no value, so there is nothing to hold the image against"),
    )
}

/// Words as an exec-form instruction writes them: `["npm", "start"]`, the long shortened.
fn display_words(words: &[String]) -> String {
    const MOST: usize = 8;
    let mut shown: Vec<String> = words.iter().take(MOST).map(|word| display_word(word)).collect();
    if words.len() > MOST {
        shown.push("…".to_owned());
    }
    format!("[{}]", shown.join(", "))
}

fn display_word(word: &str) -> String {
    const LONGEST: usize = 120;
    format!("\"{}\"", excerpt(&word.replace('\\', "\\\\").replace('"', "\\\""), LONGEST))
}

/// `a`, `a and b`, `a, b and c`.
fn list<T: ToString>(items: &[T]) -> String {
    let texts: Vec<String> = items.iter().map(ToString::to_string).collect();
    match texts.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} and {last}", rest.join(", ")),
        Some((last, _)) => last.clone(),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verdict::Outcome;

    #[test]
    fn nothing_known_is_never_a_pass() {
        let texts = [
            r#"kind = "libc"
               families = ["glibc"]"#,
            r#"kind = "layers-undisputed""#,
            r#"kind = "os-release-present""#,
            r#"kind = "start-command"
               setting = "cmd""#,
            r#"kind = "command-usable"
               command = "bash""#,
            r#"kind = "media-types-agree""#,
            r#"kind = "user"
               uid = 0"#,
            r#"kind = "volumes"
               folders = ["/octopus"]"#,
        ];
        for text in texts {
            let check: Check = toml::from_str(text).unwrap();
            let answer = check.judge(&Facts::default(), &Parameters::default());
            assert_eq!(answer.outcome, Outcome::Unknown, "{text}");
            assert!(!answer.evidence.is_empty());
        }
    }

    #[test]
    fn words_are_written_as_in_a_dockerfile() {
        let words: Vec<String> = ["npm", r#"a"b\"#].map(str::to_owned).into();
        assert_eq!(display_words(&words), r#"["npm", "a\"b\\"]"#);
        assert_eq!(list(&["a", "b", "c"]), "a, b and c");
        assert_eq!(list::<&str>(&[]), "");
    }
}
