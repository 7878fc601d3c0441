//! GitLab's code quality report: the part of Code Climate's format that GitLab reads (docs.gitlab.com, "Code Quality
//! report format").

use serde_json::{Value, json};

use super::terms::{NOT_CHECKED, NOT_CHECKED_TITLE, fingerprint, headline, places, statements};
use super::{ImageResult, Report};
use crate::printable::printable;
use crate::verdict::Severity;

/// The document. Ignored findings are not in it.
pub(super) fn gitlab(report: &Report) -> serde_json::Result<String> {
    let issues: Vec<Value> = report.results.iter().flat_map(of_result).collect();
    serde_json::to_string_pretty(&issues).map(|text| text + "\n")
}

fn of_result(result: &ImageResult) -> Vec<Value> {
    let image = printable(&result.image.reference);
    let mention = result.image.named_in.first();
    let (path, line) = mention.map_or((image.as_ref(), 1), |mention| (mention.file.as_str(), mention.line));
    let issue = |rule: &str, severity: &str, description: String, fingerprint: String| {
        json!({
            "type": "issue",
            "check_name": rule,
            "description": description,
            "categories": ["Compatibility"],
            "severity": severity,
            "fingerprint": fingerprint,
            "location": { "path": path, "lines": { "begin": line } },
        })
    };
    let failed = result.error.iter().map(|error| {
        let description = format!("{image}: {NOT_CHECKED_TITLE}: {}", printable(error));
        issue(NOT_CHECKED, "blocker", description, fingerprint(result, NOT_CHECKED, []))
    });
    let findings = result.counting().map(|reported| {
        let severity = match reported.finding.severity {
            Severity::Error => "critical",
            Severity::Warning => "minor",
            Severity::Info => "info",
        };
        let rule = &reported.finding.rule;
        let description = format!("{image}: {}: {}", headline(reported), statements(reported));
        issue(rule, severity, description, fingerprint(result, rule, places(reported)))
    });
    failed.chain(findings).collect()
}
