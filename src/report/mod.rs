//! The report: its own types, as promised to dashboards and gates, and one renderer a file.
//!
//! The types are separate from the ones that images are judged with, so that those can change without breaking
//! readers. `schema_version` changes when a field is removed or changes its meaning.

mod configuration;
mod diff;
mod github;
mod gitlab;
mod html;
mod json;
mod junit;
mod known;
mod markdown;
mod openmetrics;
mod run;
mod sarif;
mod steps;
mod terms;
mod text;
mod windows;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::engine::RunReport;
use crate::facts::{Facts, SizeFacts};
use crate::image::{Image, SourceKind};
use crate::lint::{self, Finding, Judgement};
use crate::parameters::Parameters;
use crate::platform::Platform;
use crate::printable::{printable_json, printable_lines};
use crate::verdict::Verdict;

pub use configuration::{Configuration, Override, SetBy, Setting};
pub use diff::diff;
pub use json::{NotAReport, SCHEMA_VERSION, read, schema};
pub use markdown::markdown;
pub use text::TextStyle;

/// The forms of report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum ReportFormat {
    /// For people.
    Text,
    /// For programs: all there is to know.
    Json,
    /// SARIF 2.1.0, for code scanning.
    Sarif,
    /// `JUnit`'s XML: a suite an image, a case a rule.
    Junit,
    /// Workflow commands of GitHub Actions.
    Github,
    /// GitLab's code quality.
    Gitlab,
    /// For a comment on a pull request.
    Markdown,
    /// One file for a browser.
    Html,
    /// `OpenMetrics` text for dashboards.
    Openmetrics,
}

impl ReportFormat {
    /// The report in this form.
    ///
    /// # Errors
    /// It has no such form, which no report of imglint's own lacks.
    pub fn render(self, report: &Report, style: TextStyle) -> Result<String, String> {
        let page = |text: String| printable_lines(&text).into_owned();
        let document = |text: String| printable_json(&text).into_owned();
        match self {
            // It has the terminal's own sequences, so what is printed is made safe piece by piece.
            Self::Text => Ok(text::text(report, style)),
            Self::Json => json::json(report).map(document).map_err(|error| error.to_string()),
            Self::Sarif => sarif::sarif(report).map(document).map_err(|error| error.to_string()),
            Self::Junit => junit::junit(report).map(page).map_err(|error| error.to_string()),
            Self::Github => Ok(page(github::github(report))),
            Self::Gitlab => gitlab::gitlab(report).map(document).map_err(|error| error.to_string()),
            Self::Markdown => Ok(page(markdown(report))),
            Self::Html => Ok(page(html::html(report))),
            Self::Openmetrics => Ok(page(openmetrics::openmetrics(report))),
        }
    }
}

/// What one run of `imglint check` found.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Report {
    /// 1.
    pub schema_version: u32,
    /// What made the report.
    pub tool: Tool,
    /// When the run began: RFC 3339, UTC.
    pub started_at: String,
    /// How long it took, in milliseconds.
    pub duration_ms: u64,
    /// What configured it.
    #[serde(default)]
    pub configuration: Configuration,
    /// How many images came to which verdict.
    pub summary: Summary,
    /// What should be known about the check itself, such as an ignore that ignores nothing.
    #[serde(default)]
    pub warnings: Vec<String>,
    /// One a checked image, platform and profile, in the order of the command line.
    pub results: Vec<ImageResult>,
}

/// The program that made a report.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Tool {
    /// `imglint`.
    pub name: String,
    /// Its version.
    pub version: String,
}

/// Counts of results.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Summary {
    /// All of them.
    pub checked: usize,
    /// With verdict compatible.
    pub compatible: usize,
    /// With verdict incompatible.
    pub incompatible: usize,
    /// With verdict undetermined.
    pub undetermined: usize,
    /// That could not be checked.
    pub failed: usize,
}

/// What one profile says of one image.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ImageResult {
    /// The image.
    pub image: ImageReport,
    /// The profile's name.
    pub profile: String,
    /// The profile's parameters that the image was judged with.
    #[serde(default)]
    pub parameters: BTreeMap<String, String>,
    /// The verdict.
    pub verdict: Verdict,
    /// Why it could not be checked, for the verdict failed.
    pub error: Option<String>,
    /// By severity, then rule id.
    pub findings: Vec<ReportedFinding>,
    /// Ids of the rules that passed.
    pub passed: Vec<String>,
    /// Ids of the rules that do not speak of such an image.
    pub not_applicable: Vec<String>,
    /// What was found out; nothing for the verdict failed.
    pub facts: serde_json::Value,
    /// What running the image showed; null when it was only read.
    pub run: Option<RunReport>,
    /// How long it took, in milliseconds, with all that was waited for. It is not in the document: results of one digest
    /// are the same in each.
    #[serde(skip)]
    pub duration_ms: Option<u64>,
}

/// An image as the report names it. What is not known of an image that could not be checked is null.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct ImageReport {
    /// As given.
    pub reference: String,
    /// Which lines of files name it, for an image that was found in files.
    #[serde(default)]
    pub named_in: Vec<Mention>,
    /// Where it was read from.
    pub source: Option<SourceKind>,
    /// The mirror that answered in place of the registry that was named.
    #[serde(default)]
    pub mirror: Option<String>,
    /// The normalised name.
    pub name: Option<String>,
    /// The manifest's digest.
    pub digest: Option<Digest>,
    /// The configuration's digest.
    pub config_digest: Option<Digest>,
    /// Its platform.
    pub platform: Option<Platform>,
    /// The sum of the layers as stored, in bytes.
    pub compressed_bytes: Option<u64>,
    /// The sum of the layers' tars, in bytes; null if they were not read, or are of a kind that can be fetched in part and
    /// does not say it.
    pub uncompressed_bytes: Option<u64>,
    /// What came over the network, in bytes; nothing for sources that use none. Always null in the document: results of one
    /// digest are the same in each, whatever was kept from before or fetched in part.
    #[serde(default, serialize_with = "nothing")]
    pub fetched_bytes: Option<u64>,
    /// The layers, base first.
    pub layers: Vec<LayerReport>,
}

fn nothing<S: serde::Serializer>(_: &Option<u64>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_none()
}

/// A line of a file that names an image.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct Mention {
    /// The file, as given.
    pub file: String,
    /// The line, from 1.
    pub line: u64,
}

/// A layer as the report names it.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct LayerReport {
    /// Its number, the base is 0.
    pub index: usize,
    /// The digest of its bytes as stored.
    pub digest: Option<Digest>,
    /// The digest of its tar.
    pub diff_id: Option<Digest>,
    /// As written.
    pub media_type: Option<String>,
    /// Its size as stored.
    pub bytes: u64,
    /// The history entry that made it.
    pub created_by: Option<String>,
    /// How much of it was read.
    #[serde(default)]
    pub read: LayerRead,
    /// Whether its table of contents was believed (`--trust-toc`), at which engines do not look.
    #[serde(default)]
    pub table_trusted: bool,
    /// Whether its content has the DiffID that the configuration names, without which engines refuse it
    /// (`--verify-layers`).
    #[serde(default)]
    pub diff_id_verified: bool,
}

/// What reading did with a layer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LayerReading {
    /// How much of it was read.
    pub read: LayerRead,
    /// Whether its table of contents was believed.
    pub table_trusted: bool,
    /// Whether its DiffID was verified.
    pub diff_id_verified: bool,
}

impl From<LayerRead> for LayerReading {
    fn from(read: LayerRead) -> Self {
        Self { read, ..Self::default() }
    }
}

/// How much of a layer was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LayerRead {
    /// All: it is what its digest says.
    #[default]
    Whole,
    /// Its start, as far as it was needed, or its table of contents and the files that were asked for (`--trust-toc`): its
    /// digest could not be verified.
    Part,
    /// Nothing.
    None,
}

/// A finding as the report has it.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ReportedFinding {
    /// What was found.
    #[serde(flatten)]
    pub finding: Finding,
    /// Why it counts for nothing, if the configuration says so.
    pub ignored: Option<Ignored>,
}

/// Why a finding counts for nothing.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Ignored {
    /// The reason that was given.
    pub reason: String,
    /// The last day on which it is ignored.
    pub until: Option<String>,
}

impl Report {
    /// A report of the results of a run that began at `started_at` (RFC 3339, UTC).
    #[must_use]
    pub fn new(started_at: String, duration: std::time::Duration, results: Vec<ImageResult>) -> Self {
        let mut report = Self {
            schema_version: SCHEMA_VERSION,
            tool: Tool { name: "imglint".to_owned(), version: env!("CARGO_PKG_VERSION").to_owned() },
            started_at,
            duration_ms: u64::try_from(duration.as_millis()).unwrap_or(u64::MAX),
            configuration: Configuration::default(),
            summary: Summary::default(),
            warnings: Vec::new(),
            results,
        };
        report.count();
        report
    }

    /// Counts the results anew.
    pub fn count(&mut self) {
        let mut summary = Summary { checked: self.results.len(), ..Summary::default() };
        for result in &self.results {
            let count = match result.verdict {
                Verdict::Compatible => &mut summary.compatible,
                Verdict::Incompatible => &mut summary.incompatible,
                Verdict::Undetermined => &mut summary.undetermined,
                Verdict::Failed => &mut summary.failed,
            };
            *count += 1;
        }
        self.summary = summary;
    }
}

impl ImageReport {
    /// What is reported of an image; `read` says what was done with each layer, and `sizes` what that showed.
    #[must_use]
    pub fn new(reference: &str, source: SourceKind, image: &Image, read: &[LayerReading], sizes: &SizeFacts) -> Self {
        let uncompressed = sizes.uncompressed_bytes.known().copied();
        Self {
            reference: reference.to_owned(),
            named_in: Vec::new(),
            source: Some(source),
            mirror: None,
            name: image.name.clone(),
            digest: image.digest.clone(),
            config_digest: image.config_digest.clone(),
            platform: Some(image.platform.clone()),
            // A folder is stored as it is.
            compressed_bytes: if source == SourceKind::Rootfs { uncompressed } else { Some(image.stored_bytes()) },
            uncompressed_bytes: uncompressed,
            fetched_bytes: None,
            layers: image
                .layers
                .iter()
                .zip(read)
                .map(|(layer, read)| LayerReport {
                    index: layer.index,
                    digest: layer.digest.clone(),
                    diff_id: layer.diff_id.clone(),
                    media_type: Some(layer.media_type.clone()).filter(|text| !text.is_empty()),
                    bytes: layer.bytes,
                    created_by: layer.created_by.clone(),
                    read: read.read,
                    table_trusted: read.table_trusted,
                    diff_id_verified: read.diff_id_verified,
                })
                .collect(),
        }
    }
}

impl ImageResult {
    /// An image that was judged.
    #[must_use]
    pub fn judged(
        image: ImageReport,
        profile: &str,
        parameters: &Parameters,
        judgement: Judgement,
        facts: &Facts,
    ) -> Self {
        Self {
            image,
            profile: profile.to_owned(),
            parameters: parameters.all(),
            verdict: judgement.verdict,
            error: None,
            findings: judgement
                .findings
                .into_iter()
                .map(|finding| ReportedFinding { finding, ignored: None })
                .collect(),
            passed: judgement.passed,
            not_applicable: judgement.not_applicable,
            // Facts are plain data with text keys, which JSON always has a form for.
            facts: serde_json::to_value(facts).unwrap_or_default(),
            run: None,
            duration_ms: None,
        }
    }

    /// An image that could not be checked.
    #[must_use]
    pub fn failed(reference: &str, profile: &str, error: String) -> Self {
        Self {
            image: ImageReport { reference: reference.to_owned(), ..ImageReport::default() },
            profile: profile.to_owned(),
            parameters: BTreeMap::new(),
            verdict: Verdict::Failed,
            error: Some(error),
            findings: Vec::new(),
            passed: Vec::new(),
            not_applicable: Vec::new(),
            facts: serde_json::json!({}),
            run: None,
            duration_ms: None,
        }
    }

    /// Puts other findings in place of these and works out the verdict, for which those that are ignored do not count.
    pub fn replace_findings(&mut self, mut findings: Vec<ReportedFinding>) {
        findings.sort_by(|one, other| {
            let key = |reported: &ReportedFinding| (reported.finding.severity, reported.finding.rule.clone());
            key(one).cmp(&key(other))
        });
        self.findings = findings;
        if self.verdict != Verdict::Failed {
            self.verdict = lint::verdict(self.counting().map(|reported| &reported.finding));
        }
    }

    /// The findings that are not ignored.
    pub fn counting(&self) -> impl Iterator<Item = &ReportedFinding> {
        self.findings.iter().filter(|reported| reported.ignored.is_none())
    }
}

impl ReportedFinding {
    /// Makes it count for nothing.
    pub fn ignore(&mut self, reason: &str, until: Option<String>) {
        self.ignored = Some(Ignored { reason: reason.to_owned(), until });
    }
}
