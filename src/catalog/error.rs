//! Why a rule or a profile cannot be had.

use std::path::PathBuf;

use crate::{parameters, toml_file};

/// Why a rule or a profile cannot be had. Every one is the user's to mend (exit code 2).
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no rule of this name.
    #[error("there is no rule `{id}`{suggestion} (`imglint rules` lists them)")]
    NoSuchRule {
        /// As asked for.
        id: String,
        /// What was most likely meant, as the end of a sentence.
        suggestion: String,
    },
    /// There is no profile of this name.
    #[error("there is no profile `{name}`{suggestion} (there are: {known}; a file is named with its .toml ending)")]
    NoSuchProfile {
        /// As asked for.
        name: String,
        /// What was most likely meant, as the end of a sentence.
        suggestion: String,
        /// All names.
        known: String,
    },
    /// A file is not what it should be.
    #[error(transparent)]
    File(#[from] toml_file::Error),
    /// A file or folder cannot be read.
    #[error("cannot read {}: {error}", path.display())]
    Unreadable {
        /// The file or folder.
        path: PathBuf,
        /// What the system says.
        error: std::io::Error,
    },
    /// A parameter cannot be set.
    #[error(transparent)]
    Parameter(#[from] parameters::Error),
    /// A rule that belongs to every profile is switched off.
    #[error(
        "rule `{rule}` cannot be off: a run that failed is always reported (give it another severity, or ignore it with a reason)"
    )]
    AlwaysOn {
        /// The rule.
        rule: String,
    },
    /// A severity cannot be set.
    #[error("rule `{rule}`: {error}")]
    Level {
        /// The rule.
        rule: String,
        /// What is wrong with the severity.
        error: super::NotALevel,
    },
}
