//! The report: its own types, as promised to dashboards and gates, and one renderer a file.
//!
//! The types are separate from the ones that images are judged with, so that those can change without breaking
//! readers. `schema_version` changes when a field is removed or changes its meaning.

mod json;
mod run;
mod steps;
mod text;
mod windows;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::engine::RunReport;
use crate::facts::{Facts, SizeFacts};
use crate::image::{Image, SourceKind};
use crate::lint::{Finding, Judgement};
use crate::parameters::Parameters;
use crate::platform::Platform;
use crate::verdict::Verdict;

pub use json::json;
pub use text::{TextStyle, text};

/// What one run of `imglint check` found.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Report {
    /// 1.
    pub schema_version: u32,
    /// What made the report.
    pub tool: Tool,
    /// When the run began: RFC 3339, UTC.
    pub started_at: String,
    /// How long it took, in milliseconds.
    pub duration_ms: u64,
    /// How many images came to which verdict.
    pub summary: Summary,
    /// One a checked image, platform and profile, in the order of the command line.
    pub results: Vec<ImageResult>,
}

/// The program that made a report.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Tool {
    /// `imglint`.
    pub name: String,
    /// Its version.
    pub version: String,
}

/// Counts of results.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
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
#[derive(Clone, Debug, Serialize, Deserialize)]
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
}

/// An image as the report names it. What is not known of an image that could not be checked is null.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct ImageReport {
    /// As given.
    pub reference: String,
    /// Where it was read from.
    pub source: Option<SourceKind>,
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
    /// The sum of the layers' tars, in bytes; null if they were not read.
    pub uncompressed_bytes: Option<u64>,
    /// What came over the network, in bytes; null for sources that use none.
    pub fetched_bytes: Option<u64>,
    /// The layers, base first.
    pub layers: Vec<LayerReport>,
}

/// A layer as the report names it.
#[derive(Clone, Debug, Serialize, Deserialize)]
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
}

/// How much of a layer was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LayerRead {
    /// All of it; digest and DiffID are right.
    #[default]
    Whole,
    /// Its beginning, up to what was needed; the digest could not be verified.
    Part,
    /// Nothing.
    None,
}

/// A finding as the report has it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ReportedFinding {
    /// What was found.
    #[serde(flatten)]
    pub finding: Finding,
    /// Why it counts for nothing, if the configuration says so.
    pub ignored: Option<Ignored>,
}

/// Why a finding counts for nothing.
#[derive(Clone, Debug, Serialize, Deserialize)]
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
        let mut summary = Summary { checked: results.len(), ..Summary::default() };
        for result in &results {
            let count = match result.verdict {
                Verdict::Compatible => &mut summary.compatible,
                Verdict::Incompatible => &mut summary.incompatible,
                Verdict::Undetermined => &mut summary.undetermined,
                Verdict::Failed => &mut summary.failed,
            };
            *count += 1;
        }
        Self {
            schema_version: 1,
            tool: Tool { name: "imglint".to_owned(), version: env!("CARGO_PKG_VERSION").to_owned() },
            started_at,
            duration_ms: u64::try_from(duration.as_millis()).unwrap_or(u64::MAX),
            summary,
            results,
        }
    }
}

impl ImageReport {
    /// What is reported of an image; `read` says how much of each layer was read, and `sizes` what that told.
    #[must_use]
    pub fn new(reference: &str, source: SourceKind, image: &Image, read: &[LayerRead], sizes: &SizeFacts) -> Self {
        let uncompressed = sizes.uncompressed_bytes.known().copied();
        Self {
            reference: reference.to_owned(),
            source: Some(source),
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
                    read: *read,
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
        }
    }
}
