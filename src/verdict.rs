//! What judging gives: outcome, evidence, severity, and the verdict on a whole image.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How much a rule matters. The order is that of the report: the worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// A deployment fails, or silently does the wrong thing.
    Error,
    /// A deployment may fail, or is not supported.
    Warning,
    /// Worth knowing.
    Info,
}

impl std::fmt::Display for Severity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Info => "info",
        })
    }
}

/// What a check found. "Could not tell" is neither pass nor fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The image has what the rule asks for.
    Pass,
    /// The image has the defect that the rule names.
    Fail,
    /// What would decide it could not be looked at.
    Unknown,
    /// The rule does not speak of such an image.
    NotApplicable,
}

/// Where a statement comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Basis {
    /// The image was read.
    Read,
    /// The image was run.
    Run,
}

/// The place in an image that a fact or a statement is about.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Place {
    /// A path in the image, absolute.
    pub path: Option<String>,
    /// The layer that holds it, counted from 0, the base.
    pub layer: Option<usize>,
    /// The history entry (Dockerfile instruction) that made that layer or set that field.
    pub instruction: Option<String>,
    /// A field of the configuration or the manifest, such as `config.Entrypoint`.
    pub field: Option<String>,
}

impl Place {
    /// A field of the configuration or the manifest.
    #[must_use]
    pub fn field(field: &str) -> Self {
        Self { field: Some(field.to_owned()), ..Self::default() }
    }

    /// A path of which no layer has an entry.
    #[must_use]
    pub fn path(path: &str) -> Self {
        Self { path: Some(path.to_owned()), ..Self::default() }
    }

    /// Evidence, read, that says `statement` of this place.
    #[must_use]
    pub fn says(&self, statement: impl Into<String>) -> Evidence {
        Evidence { basis: Basis::Read, statement: statement.into(), place: self.clone() }
    }
}

/// One statement that supports an answer, and the place it is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Evidence {
    /// Whether the image was read or run to know this.
    pub basis: Basis,
    /// A whole sentence without its full stop.
    pub statement: String,
    /// Where it can be seen.
    #[serde(flatten)]
    pub place: Place,
}

/// What a check answers: an outcome and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The outcome.
    pub outcome: Outcome,
    /// At least one piece for a fail and an unknown.
    pub evidence: Vec<Evidence>,
    /// Whether a fail is only the lesser defect that the rule knows of; of an unknown, whether a fail would be.
    pub is_lesser: bool,
    /// What has to be installed to mend it, in the words of `rules/tables/packages.toml`; empty where that does not help.
    pub components: Vec<String>,
    /// Folders that have to be put on `PATH` to mend it; empty where that does not help.
    pub folders: Vec<String>,
    /// The folder that what is missing has to be put into; `None` where that does not help.
    pub root: Option<String>,
    /// What to do about it, where only this image tells; `None` where the rule does.
    pub fix: Option<String>,
}

impl Answer {
    fn new(outcome: Outcome, evidence: Vec<Evidence>) -> Self {
        Self { outcome, evidence, is_lesser: false, components: Vec::new(), folders: Vec::new(), root: None, fix: None }
    }

    /// The image has what the rule asks for.
    #[must_use]
    pub fn pass() -> Self {
        Self::new(Outcome::Pass, Vec::new())
    }

    /// The image has the defect.
    #[must_use]
    pub fn fail(evidence: impl IntoIterator<Item = Evidence>) -> Self {
        Self::new(Outcome::Fail, evidence.into_iter().collect())
    }

    /// It could not be told, because of `why`.
    #[must_use]
    pub fn unknown(place: &Place, why: impl Into<String>) -> Self {
        Self::new(Outcome::Unknown, vec![place.says(why)])
    }

    /// The rule does not speak of such an image, because of `why`.
    #[must_use]
    pub fn not_applicable(why: impl Into<String>) -> Self {
        Self::new(Outcome::NotApplicable, vec![Place::default().says(why)])
    }

    /// The same answer, of the lesser degree.
    #[must_use]
    pub fn lesser(self) -> Self {
        Self { is_lesser: true, ..self }
    }

    /// One answer of several to the same question. What makes the verdict worse goes first: the defect, then what could not
    /// be decided, then the lesser defect, then what is at most a lesser defect and could not be decided. So an answer
    /// that is open is never hidden by a defect that matters less. The evidence of lesser defects is kept behind it.
    #[must_use]
    pub fn worst(answers: impl IntoIterator<Item = Self>) -> Self {
        let mut answers: Vec<Self> = answers.into_iter().collect();
        answers.sort_by_key(Self::rank);
        let mut answers = answers.into_iter();
        let Some(mut worst) = answers.next() else { return Self::pass() };
        for other in answers {
            if other.rank() != worst.rank() && other.outcome != Outcome::Fail {
                continue;
            }
            for said in other.evidence {
                if !worst.evidence.contains(&said) {
                    worst.evidence.push(said);
                }
            }
            worst.components.extend(other.components);
            worst.folders.extend(other.folders);
            worst.root = worst.root.or(other.root);
            worst.fix = worst.fix.or(other.fix);
        }
        worst
    }

    /// How bad it is, the worst first.
    fn rank(&self) -> u8 {
        match (self.outcome, self.is_lesser) {
            (Outcome::Fail, false) => 0,
            (Outcome::Unknown, false) => 1,
            (Outcome::Fail, true) => 2,
            (Outcome::Unknown, true) => 3,
            (Outcome::Pass, _) => 4,
            (Outcome::NotApplicable, _) => 5,
        }
    }

    /// The same answer, mended by installing these.
    #[must_use]
    pub fn needing(self, components: Vec<String>) -> Self {
        Self { components, ..self }
    }

    /// The same answer, mended by putting these folders on `PATH`.
    #[must_use]
    pub fn with_folders(self, folders: Vec<String>) -> Self {
        Self { folders, ..self }
    }
}

/// The verdict on one image by one profile (contract: `results[].verdict`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Nothing of severity error failed or stayed open.
    Compatible,
    /// A rule of severity error could not be decided, and none failed.
    Undetermined,
    /// A rule of severity error failed.
    Incompatible,
    /// The image could not be checked.
    Failed,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fail(what: &str) -> Answer {
        Answer::fail([Place::default().says(what)])
    }

    fn unknown(what: &str) -> Answer {
        Answer::unknown(&Place::default(), what)
    }

    #[test]
    fn what_makes_the_verdict_worse_goes_first_and_no_lesser_defect_hides_what_is_open() {
        let worst = |answers: Vec<Answer>| {
            let answer = Answer::worst(answers);
            let said: Vec<String> = answer.evidence.iter().map(|said| said.statement.clone()).collect();
            (answer.outcome, answer.is_lesser, said.join(","))
        };
        let all = || vec![Answer::pass(), unknown("d").lesser(), fail("c").lesser(), unknown("b"), fail("a")];
        assert_eq!(worst(all()), (Outcome::Fail, false, "a,c".to_owned()));
        assert_eq!(worst(all()[..4].to_vec()), (Outcome::Unknown, false, "b,c".to_owned()));
        assert_eq!(worst(all()[..3].to_vec()), (Outcome::Fail, true, "c".to_owned()));
        assert_eq!(worst(all()[..2].to_vec()), (Outcome::Unknown, true, "d".to_owned()));
        assert_eq!(worst(vec![]), (Outcome::Pass, false, String::new()));
        let twice = worst(vec![fail("a"), fail("a"), fail("b")]);
        assert_eq!(twice, (Outcome::Fail, false, "a,b".to_owned()));
    }
}
