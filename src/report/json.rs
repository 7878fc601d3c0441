//! The report as one JSON document.

use super::Report;

/// The document, with a line end.
///
/// # Errors
/// Never for a report that imglint made; serde_json asks for it.
pub fn json(report: &Report) -> serde_json::Result<String> {
    serde_json::to_string_pretty(report).map(|text| text + "\n")
}
