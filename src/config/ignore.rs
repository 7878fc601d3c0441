//! Findings that count for nothing: those that the configuration ignores with a reason, and those of a baseline.

use std::collections::BTreeSet;
use std::path::Path;

use globset::{GlobBuilder, GlobMatcher};
use jiff::civil::Date;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer};

use crate::lint::Finding;
use crate::platform::Platform;
use crate::reference::untagged;
use crate::report::{self, ImageResult, Report, ReportedFinding};
use crate::small_file;
use crate::verdict::{Evidence, Outcome, Place, Severity};

/// The finding that stands beside one that is no longer ignored. It is of the gate, not of the image, so that no rule
/// file has it.
pub const EXPIRED: &str = "ignore-expired";
/// Its fixed words.
pub const EXPIRED_TITLE: &str = "Something was ignored until a day that is over";
/// What to do about it.
pub const EXPIRED_FIX: &str =
    "Mend what was ignored, or give the ignore in imglint.toml another day, and a reason for it.";

/// What is ignored.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Ignore {
    /// The rule's id.
    pub rule: String,
    /// Images, by a pattern: `*` stands for anything but `/`, `**` for anything. Without a tag in it, any tag.
    #[serde(default)]
    pub image: Option<String>,
    /// Paths in the image, by such a pattern: a finding is ignored if all that it says is of such paths.
    #[serde(default)]
    pub path: Option<String>,
    /// Why.
    #[schemars(length(min = 1))]
    pub reason: String,
    /// The last day on which it is ignored: `2027-01-31`.
    #[serde(default, deserialize_with = "date")]
    #[schemars(with = "Option<String>", extend("format" = "date"))]
    pub until: Option<Date>,
    #[serde(skip)]
    #[schemars(skip)]
    patterns: Patterns,
}

#[derive(Clone, Debug, Default)]
struct Patterns {
    image: Option<GlobMatcher>,
    path: Option<GlobMatcher>,
}

fn date<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Date>, D::Error> {
    let text = String::deserialize(deserializer)?;
    let wrong = |_| serde::de::Error::custom(format!("{text:?} is not a day as 2027-01-31"));
    text.parse().map(Some).map_err(wrong)
}

impl Ignore {
    /// Makes it ready: the field that is wrong, and why.
    pub(super) fn prepare(&mut self) -> Result<(), (&'static str, String)> {
        if self.reason.trim().is_empty() {
            return Err(("reason", "it is empty".to_owned()));
        }
        let pattern = |field, text: &Option<String>| {
            let glob = text.as_ref().map(|text| GlobBuilder::new(text).literal_separator(true).build());
            let glob = glob.transpose().map_err(|error| (field, error.to_string()))?;
            Ok::<_, (&'static str, String)>(glob.map(|glob| glob.compile_matcher()))
        };
        self.patterns = Patterns { image: pattern("image", &self.image)?, path: pattern("path", &self.path)? };
        Ok(())
    }

    fn covers(&self, result: &ImageResult, finding: &Finding) -> bool {
        let is_of_path = |glob: &GlobMatcher| {
            let paths: Vec<_> = finding.evidence.iter().map(|piece| piece.place.path.as_ref()).collect();
            !paths.is_empty() && paths.iter().all(|path| path.is_some_and(|path| glob.is_match(path)))
        };
        finding.rule == self.rule
            && self.patterns.image.as_ref().is_none_or(|glob| names(result).iter().any(|name| glob.is_match(name)))
            && self.patterns.path.as_ref().is_none_or(is_of_path)
    }

    /// What it says, for people.
    fn told(&self) -> String {
        let image = self.image.as_ref().map(|image| format!(" of {image}")).unwrap_or_default();
        let path = self.path.as_ref().map(|path| format!(" at {path}")).unwrap_or_default();
        format!("{}{image}{path}", self.rule)
    }
}

/// What an image is called: as given, written out, and both without tag and digest.
fn names(result: &ImageResult) -> Vec<String> {
    let given = result.image.reference.clone();
    let all = std::iter::once(given).chain(result.image.name.clone());
    all.flat_map(|name| [untagged(&name), name]).collect()
}

/// What an earlier report found, which is not new.
#[derive(Clone, Debug)]
pub struct Baseline {
    file: String,
    known: BTreeSet<String>,
}

/// What is read of an earlier report: of each image only what findings are known again by. Its facts are much more.
#[derive(Deserialize)]
struct Earlier {
    results: Vec<EarlierResult>,
}

#[derive(Deserialize)]
struct EarlierResult {
    image: EarlierImage,
    profile: String,
    findings: Vec<Finding>,
}

#[derive(Deserialize)]
struct EarlierImage {
    reference: String,
    name: Option<String>,
    platform: Option<Platform>,
}

/// The largest baseline, in bytes: the report of some hundred images.
const LARGEST_BASELINE: u64 = 64 << 20;

impl Baseline {
    /// Reads a JSON report.
    ///
    /// # Errors
    /// It cannot be read, or is no report: one line that names it.
    pub fn load(path: &Path) -> Result<Self, String> {
        let file = path.display().to_string();
        let bytes = small_file::read(path, LARGEST_BASELINE, small_file::Kind::Regular);
        let bytes = bytes.map_err(|error| format!("--baseline {file}: {error}"))?;
        let known: Earlier = report::read(&bytes).map_err(|error| format!("--baseline {file}: {error}"))?;
        let of_result = |result: &EarlierResult| {
            let EarlierImage { reference, name, platform } = &result.image;
            let image = (name.as_ref().unwrap_or(reference), platform.as_ref());
            result.findings.iter().flat_map(|finding| keys(image, &result.profile, finding)).collect::<Vec<_>>()
        };
        Ok(Self { file, known: known.results.iter().flat_map(of_result).collect() })
    }

    fn covers(&self, result: &ImageResult, finding: &Finding) -> bool {
        let image = (result.image.name.as_ref().unwrap_or(&result.image.reference), result.image.platform.as_ref());
        let keys = keys(image, &result.profile, finding);
        !keys.is_empty() && keys.iter().all(|key| self.known.contains(key))
    }
}

/// What makes each statement of a finding the same as in an earlier report: image without tag, platform, profile, rule,
/// outcome and what is said of which place; but not the layer, which moves.
fn keys((image, platform): (&String, Option<&Platform>), profile: &str, finding: &Finding) -> Vec<String> {
    let platform = platform.map(ToString::to_string);
    let of_piece = |evidence: &Evidence| {
        let Place { path, field, .. } = &evidence.place;
        let (rule, outcome, said) = (&finding.rule, finding.outcome, &evidence.statement);
        format!("{:?}", (untagged(image), &platform, profile, rule, outcome, said, path, field))
    };
    finding.evidence.iter().map(of_piece).collect()
}

/// All that decides which findings count.
#[derive(Clone, Debug, Default)]
pub struct Gate {
    /// What the configuration ignores.
    pub ignores: Vec<Ignore>,
    /// What was there before.
    pub baseline: Option<Baseline>,
}

impl Gate {
    /// Marks what is ignored and works out the verdicts anew. `today` decides what has expired. Gives the ignores that
    /// ignore nothing, for people.
    #[must_use]
    pub fn apply(&self, report: &mut Report, today: Date) -> Vec<String> {
        let mut used = vec![false; self.ignores.len()];
        for result in &mut report.results {
            self.apply_to(result, today, &mut used);
        }
        report.count();
        let unused = self.ignores.iter().zip(used).filter(|(_, is_used)| !is_used);
        unused.map(|(ignore, _)| format!("the ignore of {} ignores nothing", ignore.told())).collect()
    }

    fn apply_to(&self, result: &mut ImageResult, today: Date, used: &mut [bool]) {
        let mut expired = Vec::new();
        let findings = std::mem::take(&mut result.findings);
        let mut marked = Vec::new();
        for mut reported in findings {
            for (ignore, used) in self.ignores.iter().zip(used.iter_mut()) {
                if !ignore.covers(result, &reported.finding) {
                    continue;
                }
                *used = true;
                if ignore.until.is_some_and(|until| until < today) {
                    expired.push(ignore);
                } else if reported.ignored.is_none() {
                    let until = ignore.until.map(|until| until.to_string());
                    reported.ignore(&ignore.reason, until);
                }
            }
            let baseline = self.baseline.as_ref().filter(|baseline| baseline.covers(result, &reported.finding));
            if let Some(baseline) = baseline.filter(|_| reported.ignored.is_none()) {
                reported.ignore(&format!("it is in {}", baseline.file), None);
            }
            marked.push(reported);
        }
        marked.extend(finding_of(&expired).map(|finding| ReportedFinding { finding, ignored: None }));
        result.replace_findings(marked);
    }
}

/// The one finding about all ignores that are over.
fn finding_of(expired: &[&Ignore]) -> Option<Finding> {
    let evidence: Vec<Evidence> = expired
        .iter()
        .map(|ignore| {
            let until = ignore.until.map(|until| until.to_string()).unwrap_or_default();
            let statement = format!("{} was ignored until {until}: {}", ignore.told(), ignore.reason);
            Place::field("ignore").says(statement)
        })
        .collect();
    (!evidence.is_empty()).then(|| Finding {
        rule: EXPIRED.to_owned(),
        severity: Severity::Error,
        outcome: Outcome::Fail,
        title: EXPIRED_TITLE.to_owned(),
        evidence,
        fix: EXPIRED_FIX.to_owned(),
        docs: String::new(),
    })
}
