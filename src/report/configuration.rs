//! What configured a check: the file, and each setting of it or of the command line that can change the result.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::printable::excerpt;

/// How many settings are named where a person reads them.
const MOST_SHOWN: usize = 20;

/// What configured a check.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Configuration {
    /// The configuration file; null if none was used.
    pub file: Option<String>,
    /// What it, the environment or the command line set.
    #[serde(default)]
    pub overrides: Vec<Override>,
}

/// A setting that can change the result.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Override {
    /// What kind it is.
    pub what: Setting,
    /// The rule and its severity, the ignored rule, the baseline's file, the registry and its mirror, …
    pub which: String,
    /// Who set it.
    pub by: SetBy,
}

/// The kinds of setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Setting {
    /// How much a rule matters.
    Severity,
    /// A finding that is ignored.
    Ignore,
    /// An earlier report whose findings are ignored.
    Baseline,
    /// A registry that is asked first.
    Mirror,
    /// What makes the exit code 1.
    FailOn,
    /// The profile.
    Profile,
    /// A parameter of the profile.
    Parameter,
    /// Which entry of an index is checked.
    Platform,
}

/// Who set something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum SetBy {
    /// The configuration file.
    #[serde(rename = "file")]
    File,
    /// A variable of the environment.
    #[serde(rename = "environment")]
    Environment,
    /// An argument.
    #[serde(rename = "command line")]
    CommandLine,
}

impl Configuration {
    /// What configured the check, in one line for people; `None` if nothing did.
    #[must_use]
    pub fn line(&self) -> Option<String> {
        let of = |by: SetBy| -> Vec<String> {
            self.overrides.iter().filter(|one| one.by == by).map(|one| one.words()).collect()
        };
        let file = self.file.as_ref().map(|file| format!("by {}{}", excerpt(file, 300), list(&of(SetBy::File))));
        let others = [(SetBy::Environment, "by the environment"), (SetBy::CommandLine, "on the command line")];
        let others = others.into_iter().map(|(by, words)| (of(by), words)).filter(|(all, _)| !all.is_empty());
        let parts: Vec<String> =
            file.into_iter().chain(others.map(|(all, words)| format!("{words}{}", list(&all)))).collect();
        (!parts.is_empty()).then(|| format!("configured {}", parts.join("; ")))
    }
}

impl Override {
    /// The setting in words.
    #[must_use]
    pub fn words(&self) -> String {
        let what = match self.what {
            Setting::Severity => "severity",
            Setting::Ignore => "ignore",
            Setting::Baseline => "baseline",
            Setting::Mirror => "mirror",
            Setting::FailOn => "fail-on",
            Setting::Profile => "profile",
            Setting::Parameter => "parameter",
            Setting::Platform => "platform",
        };
        format!("{what} {}", excerpt(&self.which, 200))
    }
}

fn list(all: &[String]) -> String {
    let shown = all.iter().take(MOST_SHOWN).cloned().collect::<Vec<_>>().join(", ");
    match all.len() {
        0 => String::new(),
        count if count > MOST_SHOWN => format!(": {shown} and {} more", count - MOST_SHOWN),
        _ => format!(": {shown}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_setting_is_named_with_who_set_it() {
        let one = |what, which: &str, by| Override { what, which: which.to_owned(), by };
        let mut configuration = Configuration {
            file: Some("imglint.toml".to_owned()),
            overrides: vec![
                one(Setting::Severity, "tag-floating=off", SetBy::File),
                one(Setting::FailOn, "never", SetBy::File),
                one(Setting::Severity, "icu-missing=info", SetBy::CommandLine),
            ],
        };
        assert_eq!(
            configuration.line().unwrap(),
            "configured by imglint.toml: severity tag-floating=off, fail-on never; on the command line: severity icu-missing=info"
        );
        configuration.overrides.clear();
        assert_eq!(configuration.line().unwrap(), "configured by imglint.toml");
        assert_eq!(Configuration::default().line(), None);
    }
}
