//! Decides whether the image brings a command of its own that containers are started with.

use serde::Deserialize;

use super::{display_words, when_known};
use crate::facts::{Facts, Setting};
use crate::printable::excerpt;
use crate::verdict::{Answer, Place};

/// `kind = "start-command"`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct StartCommand {
    /// The field of the configuration.
    pub setting: StartSetting,
    /// The shells that alone are no command: base images bring one, and starting it does nothing.
    #[serde(default)]
    pub shells: Vec<String>,
}

/// The fields that say how a container is started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StartSetting {
    /// `Entrypoint`.
    Entrypoint,
    /// `Cmd`.
    Cmd,
}

impl StartCommand {
    pub(super) fn judge(&self, facts: &Facts) -> Answer {
        let (field, name) = match self.setting {
            StartSetting::Entrypoint => ("config.Entrypoint", "Entrypoint"),
            StartSetting::Cmd => ("config.Cmd", "Cmd"),
        };
        when_known(&facts.configuration, &Place::field(field), |configuration| {
            let setting = match self.setting {
                StartSetting::Entrypoint => &configuration.entrypoint,
                StartSetting::Cmd => &configuration.cmd,
            };
            let is_windows = facts.platform.known().is_some_and(|platform| platform.is.os == "windows");
            if is_windows && self.setting == StartSetting::Cmd && is_base_command(&setting.value) {
                return repeated(setting);
            }
            if is_empty(&setting.value) || self.is_only_shell(&setting.value) {
                Answer::pass()
            } else {
                fail(field, name, setting)
            }
        })
    }

    /// Whether the words start a shell and give it nothing to do: `bash`, `/bin/sh -l`, `env bash`, `/bin/sh -c bash`.
    fn is_only_shell(&self, words: &[String]) -> bool {
        // Windows takes a single word for a command line; elsewhere no program has such a name.
        let mut words = match words {
            [line] if line.contains(char::is_whitespace) => line.split_whitespace().map(str::to_owned).collect(),
            words => words.to_vec(),
        };
        for _ in 0..MOST_SHELLS {
            let Some((program, arguments)) = words.split_first() else { return false };
            let rest = match base_name(program).as_str() {
                "env" => after_env(arguments),
                "exec" | "busybox" => Some(arguments.to_vec()),
                _ if !self.is_shell(program) => None,
                name => match after_shell(arguments, name.starts_with("cmd")) {
                    Started::Nothing => return true,
                    Started::Line(line) => plain_words(&line),
                    Started::Something => None,
                },
            };
            match rest {
                Some(rest) => words = rest,
                None => return false,
            }
        }
        false
    }

    fn is_shell(&self, word: &str) -> bool {
        self.shells.contains(&base_name(word))
    }
}

/// How many programs may start one another before the last shell.
const MOST_SHELLS: usize = 8;

/// What a shell is given to do.
enum Started {
    /// It reads commands from its input.
    Nothing,
    /// A line of commands.
    Line(String),
    /// A file of commands, or an option that may lead to something.
    Something,
}

/// The file name in lower case.
fn base_name(word: &str) -> String {
    word.rsplit(['/', '\\']).next().unwrap_or_default().to_ascii_lowercase()
}

/// What the arguments of a shell make it do.
fn after_shell(arguments: &[String], is_cmd: bool) -> Started {
    const LONG: [&str; 12] = [
        "--login",
        "--interactive",
        "--norc",
        "--noprofile",
        "--posix",
        "--restricted",
        "--verbose",
        "-login",
        "-interactive",
        "-nologo",
        "-noexit",
        "-noprofile",
    ];
    let mut is_command = false;
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        let option = argument.to_ascii_lowercase();
        // All of these only change how the commands of cmd.exe are read.
        let of_cmd = is_cmd && ["/s", "/d", "/q", "/a", "/u"].contains(&option.as_str());
        if of_cmd || LONG.contains(&option.as_str()) || ["-", "--", ""].contains(&option.as_str()) {
            continue;
        }
        let for_cmd = is_cmd && ["/c", "/k"].contains(&option.as_str());
        if for_cmd || ["-command", "--command"].contains(&option.as_str()) {
            is_command = true;
            continue;
        }
        match option.strip_prefix(['-', '+']) {
            // Letters of options, of which -o takes a name and -c the line that follows all options.
            Some(letters) if letters.len() <= 4 && letters.chars().all(|letter| letter.is_ascii_lowercase()) => {
                is_command |= letters.contains('c');
                if letters.contains('o') {
                    rest.next();
                }
            }
            Some(_) => return Started::Something,
            // What follows the line is its parameters, but for cmd.exe, which takes all words together.
            None if is_command => {
                let words: Vec<&str> = std::iter::once(argument).chain(rest).map(String::as_str).collect();
                return Started::Line(if is_cmd { words.join(" ") } else { argument.clone() });
            }
            None => return Started::Something,
        }
    }
    if is_command { Started::Something } else { Started::Nothing }
}

/// What env starts, if it does so with plain arguments.
fn after_env(arguments: &[String]) -> Option<Vec<String>> {
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        match argument.as_str() {
            "-i" | "-" | "--ignore-environment" | "--" => {}
            "-u" | "--unset" | "-C" | "--chdir" => {
                rest.next();
            }
            "-S" | "--split-string" => {
                let mut words = plain_words(rest.next()?)?;
                words.extend(rest.cloned());
                return after_env(&words);
            }
            word if word.starts_with('-') => return None,
            word if word.contains('=') => {}
            program => return Some(std::iter::once(program.to_owned()).chain(rest.cloned()).collect()),
        }
    }
    None
}

/// The words of a line that does no more than start a program; `None` of any other.
fn plain_words(line: &str) -> Option<Vec<String>> {
    let is_more = line.contains(|character| ";&|<>()$`*?[]{}~#!\n".contains(character));
    // Windows separates folders by what is an escape elsewhere.
    let plain = line.replace('\\', "/");
    if is_more { None } else { shlex::split(&plain).filter(|words| !words.is_empty()) }
}

/// Engines take a list of one empty word for a reset.
fn is_empty(words: &[String]) -> bool {
    words.iter().all(String::is_empty)
}

/// The Cmd of Microsoft's base images, which every image on them inherits unless it has another.
fn is_base_command(words: &[String]) -> bool {
    matches!(words, [only] if only.eq_ignore_ascii_case(r"c:\windows\system32\cmd.exe"))
}

/// The base's own Cmd, or the same again.
fn repeated(setting: &Setting<Vec<String>>) -> Answer {
    match &setting.place.instruction {
        None => Answer::pass(),
        Some(instruction) => {
            let by = excerpt(instruction.trim(), 200);
            Answer::fail([setting.place.says(format!("{by} sets the Cmd that the base image has anyway"))]).lesser()
        }
    }
}

fn fail(field: &str, name: &str, setting: &Setting<Vec<String>>) -> Answer {
    let place = if setting.place == Place::default() { &Place::field(field) } else { &setting.place };
    let by = match &place.instruction {
        Some(instruction) => format!(", set by {}", excerpt(instruction.trim(), 200)),
        None => "; the history does not tell which instruction set it".to_owned(),
    };
    Answer::fail([place.says(format!("{name} is {}{by}", display_words(&setting.value)))])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_only_shell(words: &[&str]) -> bool {
        let shells = ["bash", "sh", "dash", "ash", "zsh", "fish", "pwsh", "cmd", "cmd.exe"].map(str::to_owned).into();
        let check = StartCommand { setting: StartSetting::Cmd, shells };
        check.is_only_shell(&words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn a_shell_alone_is_no_command() {
        for words in [
            &["bash"][..],
            &["/bin/bash"],
            &["/usr/local/bin/SH"],
            &["bash", "-l"],
            &["/bin/bash", "--login"],
            &["/bin/bash", "-il"],
            &["/bin/sh", "-i"],
            &["bash", "--login", "-i", "--norc"],
            &["/bin/dash"],
            &["/bin/ash"],
            &["/usr/bin/zsh", "-l"],
            &["/usr/bin/env", "bash"],
            &["env", "-i", "TERM=xterm", "bash", "-l"],
            &["env", "-S", "bash -l"],
            &["busybox", "sh"],
            &[r"c:\windows\system32\cmd.exe"],
            &["/bin/sh", "-c", "bash"],
            &["/bin/sh", "-c", "exec /bin/bash -l"],
            &["/bin/bash", "-o", "pipefail", "-c", "bash"],
            &["/bin/bash", "-eo", "pipefail", "-c", "bash -l"],
            &["/bin/sh", "-c", "/bin/bash "],
            &["bash -l"],
            &["pwsh", "-NoLogo", "-NoExit"],
            &["cmd", "/S", "/C", "cmd.exe"],
            &["cmd /S /C cmd.exe"],
        ] {
            assert!(is_only_shell(words), "{words:?}");
        }
    }

    #[test]
    fn a_shell_with_something_to_do_is_a_command() {
        for words in [
            &["bash", "-c", "npm start"][..],
            &["/bin/sh", "-c", "bash run.sh"],
            &["/bin/sh", "-c", "nginx; bash"],
            &["/bin/sh", "-c", "bash -c 'npm start'"],
            &["/bin/sh", "-c", "$SHELL"],
            &["/bin/sh", "-c"],
            &["bash", "run.sh"],
            &["bash", "--rcfile", "/start.sh"],
            &["bash", "--init-file=/start.sh"],
            &["bash", "-l", "run.sh"],
            &["/usr/bin/env", "python3"],
            &["/usr/bin/env", "--block-signal", "bash"],
            &["env"],
            &["pwsh", "-File", "run.ps1"],
            &["pwsh", "-Command", "Start-Service"],
            &["cmd", "/C", "run.bat"],
            &["bashful"],
            &["npm", "start"],
        ] {
            assert!(!is_only_shell(words), "{words:?}");
        }
    }
}
