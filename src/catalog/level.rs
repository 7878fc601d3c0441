//! How much a rule is made to matter by a profile, a configuration or a command line: a severity, or off.

use std::str::FromStr;

use serde::Deserialize;

use crate::spelling;
use crate::verdict::Severity;

/// A severity, or not at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// The rule is not judged.
    Off,
    /// The rule is of severity info.
    Info,
    /// The rule is of severity warning.
    Warning,
    /// The rule is of severity error.
    Error,
}

/// A text that is not a level.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{given:?} is not a severity{suggestion} (there are: off, info, warning, error)")]
pub struct NotALevel {
    given: String,
    suggestion: String,
}

impl Level {
    /// The severity, if it is one.
    #[must_use]
    pub fn severity(self) -> Option<Severity> {
        match self {
            Self::Off => None,
            Self::Info => Some(Severity::Info),
            Self::Warning => Some(Severity::Warning),
            Self::Error => Some(Severity::Error),
        }
    }
}

impl std::fmt::Display for Level {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.severity() {
            Some(severity) => severity.fmt(f),
            None => f.pad("off"),
        }
    }
}

impl FromStr for Level {
    type Err = NotALevel;

    fn from_str(text: &str) -> Result<Self, NotALevel> {
        match text {
            "off" => Ok(Self::Off),
            "info" => Ok(Self::Info),
            "warning" => Ok(Self::Warning),
            "error" => Ok(Self::Error),
            _ => {
                let suggestion = spelling::suggestion(text, ["off", "info", "warning", "error"]);
                Err(NotALevel { given: text.to_owned(), suggestion })
            }
        }
    }
}
