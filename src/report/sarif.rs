//! SARIF 2.1.0 for code scanning: rules with their help, and a result a finding (OASIS, "Static Analysis Results
//! Interchange Format", 2.1.0).

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::terms::{NOT_CHECKED, NOT_CHECKED_TITLE, fingerprint, headline, places, statements};
use super::{ImageResult, Report, ReportedFinding};
use crate::catalog::Catalog;
use crate::printable::printable;
use crate::verdict::{Outcome, Severity, Verdict};

/// The name of the fingerprint, which says how it is made.
const FINGERPRINT: &str = "imageRulePlaces/v1";

/// The document.
pub(super) fn sarif(report: &Report) -> serde_json::Result<String> {
    let rules = rules(report);
    let ids: Vec<&String> = rules.keys().collect();
    let results: Vec<Value> = report.results.iter().flat_map(|result| of_result(result, &ids)).collect();
    let note = |level: &str, text: &String| json!({ "level": level, "message": { "text": sentence(text) }, "descriptor": { "id": "configuration" } });
    let configured = report.configuration.line();
    let configured = configured.iter().map(|line| note("note", line));
    let notes: Vec<Value> = configured.chain(report.warnings.iter().map(|text| note("warning", text))).collect();
    let has_failed = report.results.iter().any(|result| result.verdict == Verdict::Failed);
    let document = json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": {
                "name": report.tool.name,
                "fullName": format!("{} {}", report.tool.name, report.tool.version),
                "version": report.tool.version,
                "semanticVersion": report.tool.version,
                "informationUri": env!("CARGO_PKG_HOMEPAGE"),
                "rules": rules.into_values().collect::<Vec<_>>(),
            }},
            "automationDetails": { "id": "imglint/" },
            "columnKind": "unicodeCodePoints",
            "invocations": [{
                "executionSuccessful": !has_failed,
                "startTimeUtc": report.started_at,
                "toolConfigurationNotifications": notes,
            }],
            "results": results,
        }],
    });
    serde_json::to_string_pretty(&document).map(|text| text + "\n")
}

/// What is known of each rule that results name, by id: more of the built-in ones than the report has.
fn rules(report: &Report) -> BTreeMap<String, Value> {
    let catalog = Catalog::builtin();
    let mut rules = BTreeMap::new();
    let rule = |id: &str, title: &str, why: &str, fix: &str, docs: &str, severity: Severity| {
        let help = format!("{}\n\n{}", why.trim(), fix.trim());
        let mut rule = json!({
            "id": id,
            "name": pascal(id),
            "shortDescription": { "text": sentence(title) },
            "fullDescription": { "text": sentence(why.trim().split("\n\n").next().unwrap_or(title)) },
            "help": { "text": sentence(&help), "markdown": help },
            "defaultConfiguration": { "level": level(severity) },
        });
        if docs.starts_with("https://") {
            rule["helpUri"] = json!(docs);
        }
        rule
    };
    for result in &report.results {
        for ReportedFinding { finding, .. } in &result.findings {
            let made = || match catalog.rule(&finding.rule) {
                Ok(known) => rule(&finding.rule, &finding.title, &known.why, &known.fix, &finding.docs, known.severity),
                // A user's own.
                Err(_) => {
                    rule(&finding.rule, &finding.title, &finding.title, &finding.fix, &finding.docs, finding.severity)
                }
            };
            rules.entry(finding.rule.clone()).or_insert_with(made);
        }
        if result.verdict == Verdict::Failed {
            let why = "A gate that cannot look never goes green.";
            let fix = "See the message: the image is not there, there is no access, or it is broken.";
            let made = || rule(NOT_CHECKED, NOT_CHECKED_TITLE, why, fix, "", Severity::Error);
            rules.entry(NOT_CHECKED.to_owned()).or_insert_with(made);
        }
    }
    rules
}

fn of_result(result: &ImageResult, ids: &[&String]) -> Vec<Value> {
    let image = printable(&result.image.reference).into_owned();
    let make = |rule: &str, severity, kind: &str, text: String, fingerprint: String, paths: Vec<Value>| {
        json!({
            "ruleId": rule,
            "ruleIndex": ids.iter().position(|id| *id == rule),
            "kind": kind,
            "level": if kind == "fail" { level(severity) } else { "none" },
            "message": { "text": sentence(&text) },
            "locations": [{ "physicalLocation": place_of(result), "logicalLocations": paths }],
            "partialFingerprints": { FINGERPRINT: fingerprint },
        })
    };
    let own = json!({ "name": image, "fullyQualifiedName": image, "kind": "module" });
    let failed = result.error.iter().map(|error| {
        let text = format!("{image} could not be checked: {}", printable(error));
        make(NOT_CHECKED, Severity::Error, "fail", text, fingerprint(result, NOT_CHECKED, []), vec![own.clone()])
    });
    let findings = result.findings.iter().map(|reported| {
        let finding = &reported.finding;
        let mut paths = vec![own.clone()];
        paths.extend(logical(&image, reported));
        let text = format!("{image}: {}: {}", headline(reported), statements(reported));
        let fingerprint = fingerprint(result, &finding.rule, places(reported));
        // An open question of severity error makes a gate red as well: code scanning shows only what fails.
        let kind =
            if finding.outcome == Outcome::Fail || finding.severity == Severity::Error { "fail" } else { "open" };
        let mut made = make(&finding.rule, finding.severity, kind, text, fingerprint, paths);
        if let Some(ignored) = &reported.ignored {
            let why = printable(&ignored.reason);
            made["suppressions"] = json!([{ "kind": "external", "status": "accepted", "justification": why }]);
        }
        made
    });
    failed.chain(findings).collect()
}

/// Layers and paths that a finding is about, each within the image.
fn logical(image: &str, reported: &ReportedFinding) -> Vec<Value> {
    let mut all: Vec<(String, String, &str)> = Vec::new();
    for evidence in &reported.finding.evidence {
        let place = &evidence.place;
        let layer = place.layer.map(|layer| format!("layer {layer}"));
        let inside = |name: &str| match &layer {
            Some(layer) if layer != name => format!("{image}/{layer}/{name}"),
            _ => format!("{image}/{name}"),
        };
        all.extend(layer.iter().map(|layer| (layer.clone(), inside(layer), "namespace")));
        all.extend(place.path.iter().map(|path| (printable(path).into_owned(), inside(&printable(path)), "resource")));
        all.extend(place.field.iter().map(|field| (field.clone(), inside(field), "member")));
    }
    all.dedup();
    let location = |(name, qualified, kind)| json!({ "name": name, "fullyQualifiedName": qualified, "kind": kind });
    all.into_iter().map(location).collect()
}

/// The line that names the image; of an image that no file names, the image itself in place of a file.
fn place_of(result: &ImageResult) -> Value {
    let (file, line) = match result.image.named_in.first() {
        Some(mention) => (mention.file.replace('\\', "/"), mention.line),
        None => (result.image.reference.clone(), 1),
    };
    json!({ "artifactLocation": { "uri": uri(&file) }, "region": { "startLine": line.max(1) } })
}

/// A relative reference (RFC 3986, section 4.2): without a colon, which would make a scheme of what is before it.
fn uri(text: &str) -> String {
    const KEPT: &percent_encoding::AsciiSet = &percent_encoding::NON_ALPHANUMERIC
        .remove(b'/')
        .remove(b'.')
        .remove(b'-')
        .remove(b'_')
        .remove(b'~')
        .remove(b'+')
        .remove(b'=');
    percent_encoding::utf8_percent_encode(text.trim_start_matches('/'), KEPT).to_string()
}

fn level(severity: Severity) -> &'static str {
    match severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
        Severity::Info => "note",
    }
}

fn pascal(id: &str) -> String {
    let word = |word: &str| {
        let mut letters = word.chars();
        letters.next().map(|first| first.to_uppercase().chain(letters).collect::<String>()).unwrap_or_default()
    };
    id.split('-').map(word).collect()
}

/// A text that ends as a sentence does.
fn sentence(text: &str) -> String {
    let text: String = text.lines().map(printable).collect::<Vec<_>>().join("\n");
    let text = text.trim_end();
    if text.ends_with(['.', '?', '!']) { text.to_owned() } else { format!("{text}.") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_s_name_is_a_relative_reference() {
        assert_eq!(uri("h:5000/a b:1"), "h%3A5000/a%20b%3A1");
        assert_eq!(uri("/etc/x"), "etc/x");
    }

    #[test]
    fn ids_become_names_and_texts_sentences() {
        assert_eq!(pascal("icu-missing"), "IcuMissing");
        assert_eq!((sentence("a"), sentence("a.\n")), ("a.".to_owned(), "a.".to_owned()));
    }
}
