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
            if is_empty(&setting.value) || (!is_windows && self.is_only_shell(&setting.value)) {
                Answer::pass()
            } else {
                fail(field, name, setting)
            }
        })
    }

    /// Whether the words start a shell and nothing in it: `bash`, or `/bin/sh -c bash` of the shell form.
    fn is_only_shell(&self, words: &[String]) -> bool {
        match words {
            [only] => self.is_shell(only) || self.is_shell_form(&only.split_whitespace().collect::<Vec<_>>()),
            words => self.is_shell_form(&words.iter().map(String::as_str).collect::<Vec<_>>()),
        }
    }

    fn is_shell_form(&self, words: &[&str]) -> bool {
        match words {
            [shell, flags @ .., inner] => {
                let is_flag = |flag: &&str| ["-c", "/c", "/s"].contains(&flag.to_ascii_lowercase().as_str());
                self.is_shell(shell) && !flags.is_empty() && flags.iter().all(is_flag) && self.is_shell(inner.trim())
            }
            _ => false,
        }
    }

    fn is_shell(&self, word: &str) -> bool {
        let name = word.rsplit(['/', '\\']).next().unwrap_or_default();
        self.shells.iter().any(|shell| shell.eq_ignore_ascii_case(name))
    }
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
        let shells = ["bash", "sh", "cmd", "cmd.exe"].map(str::to_owned).into();
        let check = StartCommand { setting: StartSetting::Cmd, shells };
        check.is_only_shell(&words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn a_shell_alone_is_no_command() {
        for words in [
            &["bash"][..],
            &["/bin/bash"],
            &["/usr/local/bin/SH"],
            &[r"c:\windows\system32\cmd.exe"],
            &["/bin/sh", "-c", "bash"],
            &["/bin/sh", "-c", "/bin/bash "],
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
            &["bash", "run.sh"],
            &["/bin/bash", "-l"],
            &["powershell.exe"],
            &["bashful"],
            &["npm", "start"],
        ] {
            assert!(!is_only_shell(words), "{words:?}");
        }
    }
}
