//! A rule: what a target needs, why, what to do about it, and examples that prove it. One TOML file each.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::checks::Check;
use crate::facts::{Facts, OsRelease};
use crate::parameters::{Parameters, Version};
use crate::tables::Source;
use crate::toml_file;
use crate::verdict::{Outcome, Severity};

/// A rule as its file has it (`rules/README.md`).
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Rule {
    /// Its name, that of the file; it names the defect.
    pub id: String,
    /// Fixed words that say what is wrong when it fails.
    pub title: String,
    /// How much it matters, if nobody says otherwise.
    pub severity: Severity,
    /// How it is decided.
    pub check: Check,
    /// Why it is there.
    pub why: String,
    /// What to do about it.
    pub fix: String,
    /// How much it matters when a check says that it is only the lesser defect.
    #[serde(default)]
    pub lesser_severity: Option<Severity>,
    /// What to do about it where it is known what to install: `{install}` stands for the instruction.
    #[serde(default)]
    pub fix_install: Option<String>,
    /// What to do about it where it is there, but off `PATH`: `{env-path}` stands for the instruction.
    #[serde(default)]
    pub fix_path: Option<String>,
    /// What to do about it where it is known which folder has to get it: `{root}` stands for that folder.
    #[serde(default)]
    pub fix_into: Option<String>,
    /// What to do about it on certain distributions, or on Windows.
    #[serde(default)]
    pub fix_for: Vec<FixFor>,
    /// Where the target's documentation speaks of it.
    pub docs: String,
    /// What it was learnt from.
    pub sources: Vec<Source>,
    /// What is different with certain parameters; the last that holds counts.
    #[serde(default)]
    pub when: Vec<When>,
    /// Facts and what the rule says of them.
    #[serde(default, rename = "example")]
    pub examples: Vec<Example>,
}

/// A fix for certain distributions, or for an operating system.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct FixFor {
    /// By os-release `ID`, then by `ID_LIKE`.
    #[serde(default)]
    pub distributions: Vec<String>,
    /// The operating system in place of distributions.
    #[serde(default)]
    pub os: Option<FixOs>,
    /// What to do there.
    pub fix: String,
}

/// An operating system with fixes of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FixOs {
    /// Windows, of any version.
    Windows,
}

/// What is different when a parameter is a version of a range, or a certain word. It is never different where the parameter
/// is not given.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct When {
    /// The profile's parameter.
    pub parameter: String,
    /// The word that this holds for, of a parameter that is no version.
    pub is: Option<String>,
    /// The first version that this holds for; `None` for the oldest.
    pub at_least: Option<String>,
    /// The first version that this no longer holds for; `None` if it holds for the newest.
    pub below: Option<String>,
    /// In place of the rule's own.
    pub severity: Option<Severity>,
    /// In place of the rule's own.
    pub title: Option<String>,
    /// In place of the rule's own.
    pub why: Option<String>,
    /// In place of the rule's own.
    pub fix: Option<String>,
}

/// Facts and what the rule says of them.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Example {
    /// What it shows, for people.
    pub name: String,
    /// What the rule says.
    pub outcome: Outcome,
    /// Parameters that are set.
    #[serde(default)]
    pub parameters: BTreeMap<String, String>,
    /// The severity with these parameters, where that is the point.
    pub severity: Option<Severity>,
    /// Words that stand in the evidence.
    pub says: Option<String>,
    /// The facts; what is left out was not looked at.
    pub facts: Facts,
}

/// A rule's words and severity with the parameters that images are judged with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wording<'a> {
    /// How much it matters.
    pub severity: Severity,
    /// What is wrong when it fails.
    pub title: &'a str,
    /// Why it is there.
    pub why: &'a str,
    fix: &'a str,
    fix_for: &'a [FixFor],
}

impl Rule {
    /// Reads a rule from the content of `<folder>/<id>.toml`.
    ///
    /// # Errors
    /// It is no rule, or not the one that the file is named for.
    pub(super) fn read(file: &str, id: &str, text: &str) -> Result<Self, toml_file::Error> {
        let rule: Self = toml_file::parse(file, text)?;
        let wrong = |field: &str, message: String| Err(toml_file::Error::about(file, text, field, message));
        if rule.id != id {
            return wrong("id", format!("{:?} is not the name of the file, which is {id:?}", rule.id));
        }
        if rule.fix_for.iter().any(|fix| fix.distributions.is_empty() == fix.os.is_none()) {
            return wrong("fix-for", "it needs distributions or os, and not both".to_owned());
        }
        if !rule.docs.starts_with("https://") {
            return wrong("docs", format!("{:?} is not an https address", rule.docs));
        }
        for when in &rule.when {
            let has_range = when.at_least.is_some() || when.below.is_some();
            if has_range == when.is.is_some() {
                return wrong("when", "it needs is, or at-least or below or both of these".to_owned());
            }
            for (field, version) in [("at-least", &when.at_least), ("below", &when.below)] {
                if let Some(Err(error)) = version.as_ref().map(|version| version.parse::<Version>()) {
                    return wrong(field, error.to_string());
                }
            }
        }
        Ok(rule)
    }

    /// How much an answer matters with these parameters, if nobody says otherwise.
    #[must_use]
    pub fn severity_of(&self, parameters: &Parameters, is_lesser: bool) -> Severity {
        let own = self.wording(parameters).severity;
        // The order of severities begins with the worst.
        if is_lesser { self.lesser_severity.map_or(own, |lesser| own.max(lesser)) } else { own }
    }

    /// The words and the severity with these parameters.
    #[must_use]
    pub fn wording(&self, parameters: &Parameters) -> Wording<'_> {
        let own = Wording {
            severity: self.severity,
            title: &self.title,
            why: &self.why,
            fix: &self.fix,
            fix_for: &self.fix_for,
        };
        self.when.iter().filter(|when| when.holds(parameters)).fold(own, Wording::changed_by)
    }
}

impl When {
    fn holds(&self, parameters: &Parameters) -> bool {
        if let Some(word) = &self.is {
            return parameters.text(&self.parameter).as_ref() == Some(word);
        }
        let Some(version) = parameters.version(&self.parameter) else { return false };
        let is = |limit: &Option<String>, holds: fn(&Version, &Version) -> bool| {
            limit.as_ref().is_none_or(|limit| limit.parse().is_ok_and(|limit| holds(version, &limit)))
        };
        is(&self.at_least, |version, least| version >= least) && is(&self.below, |version, first| version < first)
    }
}

impl<'a> Wording<'a> {
    fn changed_by(self, when: &'a When) -> Self {
        Self {
            severity: when.severity.unwrap_or(self.severity),
            title: when.title.as_deref().unwrap_or(self.title),
            why: when.why.as_deref().unwrap_or(self.why),
            fix: when.fix.as_deref().unwrap_or(self.fix),
            fix_for: if when.fix.is_some() { &[] } else { self.fix_for },
        }
    }

    /// What to do about it in an image for Windows.
    #[must_use]
    pub fn fix_on_windows(&self) -> &'a str {
        let own = self.fix_for.iter().find(|fix| fix.os == Some(FixOs::Windows));
        own.map_or(self.fix, |own| own.fix.as_str())
    }

    /// What to do about it on this system.
    #[must_use]
    pub fn fix(&self, system: Option<&OsRelease>) -> &'a str {
        let of = |id: &str| self.fix_for.iter().find(|fix| fix.distributions.iter().any(|known| known == id));
        let fits = system.and_then(|system| of(&system.id).or_else(|| system.id_like.iter().find_map(|id| of(id))));
        fits.map_or(self.fix, |fits| fits.fix.as_str())
    }
}
