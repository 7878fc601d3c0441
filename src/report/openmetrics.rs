//! OpenMetrics text for dashboards: one gauge a rule, image and profile, verdicts, sizes and times (OpenMetrics 1.0).

use std::fmt::Write as _;

use super::{ImageResult, Report};
use crate::printable::printable;
use crate::verdict::{Outcome, Severity, Verdict};

/// The exposition, with its end mark.
pub(super) fn openmetrics(report: &Report) -> String {
    let mut page = Page { out: String::new() };
    let results = || report.results.iter();
    page.family(
        "imglint_image_verdict",
        "",
        "The verdict: 0 compatible, 1 undetermined, 2 incompatible, 3 not checked",
    );
    for result in results() {
        let value = match result.verdict {
            Verdict::Compatible => 0,
            Verdict::Undetermined => 1,
            Verdict::Incompatible => 2,
            Verdict::Failed => 3,
        };
        page.sample("imglint_image_verdict", result, &[], value);
    }
    page.family("imglint_rule", "", "A rule: 0 passed, 1 could not be decided, 2 failed, 3 is ignored");
    for result in results() {
        let found = result.findings.iter().map(|reported| {
            let value = match reported.finding.outcome {
                _ if reported.ignored.is_some() => 3,
                Outcome::Unknown => 1,
                _ => 2,
            };
            (&reported.finding.rule, value)
        });
        for (rule, value) in result.passed.iter().map(|rule| (rule, 0)).chain(found) {
            page.sample("imglint_rule", result, &[("rule", rule)], value);
        }
    }
    page.family("imglint_findings", "", "How many findings of a severity count");
    for result in results().filter(|result| result.verdict != Verdict::Failed) {
        for (word, severity) in [("error", Severity::Error), ("warning", Severity::Warning), ("info", Severity::Info)] {
            let count = result.counting().filter(|reported| reported.finding.severity == severity).count();
            page.sample("imglint_findings", result, &[("severity", word)], count);
        }
    }
    page.family("imglint_image_stored_bytes", "bytes", "The size of the image's layers as they are stored");
    for result in results() {
        if let Some(bytes) = result.image.compressed_bytes {
            page.sample("imglint_image_stored_bytes", result, &[], bytes);
        }
    }
    page.family("imglint_image_fetched_bytes", "bytes", "What came over the network to check the image");
    for result in results() {
        if let Some(bytes) = result.image.fetched_bytes {
            page.sample("imglint_image_fetched_bytes", result, &[], bytes);
        }
    }
    page.family("imglint_image_duration_seconds", "seconds", "How long it took to check the image");
    for result in results() {
        if let Some(time) = result.duration_ms {
            page.sample("imglint_image_duration_seconds", result, &[], time as f64 / 1e3);
        }
    }
    let configuration = &report.configuration;
    if configuration.file.is_some() || !configuration.overrides.is_empty() {
        page.family(
            "imglint_configuration",
            "",
            "What configured the check: 1 for the file and for each of its settings",
        );
        let file = configuration.file.iter().map(|file| ("file".to_owned(), file.clone()));
        let settings = configuration.overrides.iter().map(|one| ("setting".to_owned(), one.words()));
        for (label, text) in file.chain(settings) {
            let _ = writeln!(page.out, "imglint_configuration{{{label}=\"{}\"}} 1", escaped(&text));
        }
    }
    page.family("imglint_duration_seconds", "seconds", "How long the whole check took");
    let _ = writeln!(page.out, "imglint_duration_seconds {}", report.duration_ms as f64 / 1e3);
    page.family("imglint_started_timestamp_seconds", "seconds", "When the check began");
    if let Ok(started) = report.started_at.parse::<jiff::Timestamp>() {
        let _ = writeln!(page.out, "imglint_started_timestamp_seconds {}", started.as_second());
    }
    page.out += "# EOF\n";
    page.out
}

struct Page {
    out: String,
}

impl Page {
    fn family(&mut self, name: &str, unit: &str, help: &str) {
        // Writing to a String cannot fail.
        let _ = writeln!(self.out, "# TYPE {name} gauge");
        if !unit.is_empty() {
            let _ = writeln!(self.out, "# UNIT {name} {unit}");
        }
        let _ = writeln!(self.out, "# HELP {name} {help}.");
    }

    fn sample(&mut self, name: &str, result: &ImageResult, more: &[(&str, &str)], value: impl std::fmt::Display) {
        let platform = result.image.platform.as_ref().map(ToString::to_string).unwrap_or_default();
        let own = [("image", result.image.reference.as_str()), ("platform", &platform), ("profile", &result.profile)];
        let labels: Vec<String> =
            own.iter().chain(more).map(|(label, text)| format!("{label}=\"{}\"", escaped(text))).collect();
        let _ = writeln!(self.out, "{name}{{{}}} {value}", labels.join(","));
    }
}

/// A label's value (OpenMetrics, "ABNF", `escaped-string`).
fn escaped(text: &str) -> String {
    printable(text).replace('\\', "\\\\").replace('"', "\\\"")
}
