//! The report as one JSON document: written, read again, and described by a schema.

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::Report;

/// The version of the form that is written. It changes when a field is removed or changes its meaning.
pub const SCHEMA_VERSION: u32 = 1;

/// A document that is no report.
#[derive(Debug, thiserror::Error)]
pub enum NotAReport {
    /// It is no JSON, or has not a report's fields.
    #[error("it is no report of imglint's: {0}")]
    Form(#[from] serde_json::Error),
    /// A later imglint made it.
    #[error("it has schema_version {0}, and this imglint knows {SCHEMA_VERSION}")]
    Version(u32),
}

/// The document, with a line end.
pub(super) fn json(report: &Report) -> serde_json::Result<String> {
    serde_json::to_string_pretty(report).map(|text| text + "\n")
}

/// The schema of the document (JSON Schema, draft 2020-12).
#[must_use]
pub fn schema() -> String {
    format!("{:#}\n", schemars::schema_for!(Report).to_value())
}

impl Report {
    /// Reads a report that was written as JSON.
    ///
    /// # Errors
    /// It is none, or one of a later form.
    pub fn from_json(bytes: &[u8]) -> Result<Self, NotAReport> {
        read(bytes)
    }
}

/// Reads a report, or of one what `T` takes.
///
/// # Errors
/// It is not a report, or one of a later form.
pub fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, NotAReport> {
    #[derive(Deserialize)]
    struct Version {
        schema_version: u32,
    }
    let Version { schema_version } = serde_json::from_slice(bytes)?;
    if schema_version != SCHEMA_VERSION {
        return Err(NotAReport::Version(schema_version));
    }
    Ok(serde_json::from_slice(bytes)?)
}
