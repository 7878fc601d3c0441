//! The report as one file for a browser: readable without script or network, on a phone, in the dark, and by ear.

mod layers;

use super::markdown::html as escaped;
use super::terms::{about, counts, headline, place, severity_word, size, verdict_mark, verdict_word};
use super::{ImageResult, Report, ReportedFinding, run, steps, windows};
use crate::verdict::{Basis, Evidence, Outcome, Severity, Verdict};

const STYLE: &str = include_str!("style.css");
const SCRIPT: &str = include_str!("filter.js");

/// The page. Nothing in it comes from elsewhere, and what an image says is text.
pub(super) fn html(report: &Report) -> String {
    let summary = report.summary;
    let counts: String = counts(summary)
        .map(|(count, word)| format!("<li class=\"{}\"><b>{count}</b> {word}</li>", word.replace(' ', "-")))
        .collect();
    let configured = report.configuration.line();
    let warnings: String = configured
        .iter()
        .chain(&report.warnings)
        .map(|note| format!("<p class=\"note\">{}</p>", escaped(note)))
        .collect();
    let rows: String = report.results.iter().enumerate().map(|(number, result)| row(number, result)).collect();
    let sections: String = report.results.iter().enumerate().map(|(number, result)| section(number, result)).collect();
    let plural = if summary.checked == 1 { "image" } else { "images" };
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; \
         script-src 'unsafe-inline'\">\n<meta name=\"color-scheme\" content=\"light dark\">\n\
         <title>imglint: {checked} {plural}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n\
         <header>\n<h1>imglint</h1>\n<p>{checked} {plural}, {started}, {version}</p>\n\
         <ul class=\"counts\">{counts}</ul>\n{warnings}</header>\n<main>\n{filters}\
         <h2>Verdicts</h2>\n<div class=\"wide\" role=\"region\" aria-label=\"Verdicts\" tabindex=\"0\">\n<table>\n<thead><tr><th scope=\"col\">Verdict</th><th scope=\"col\">Image</th><th scope=\"col\" class=\"minor\">Platform</th>\
         <th scope=\"col\" class=\"minor\">Profile</th><th scope=\"col\" class=\"number\">Errors</th>\
         <th scope=\"col\" class=\"number minor\">Warnings</th><th scope=\"col\" class=\"number minor\">Stored</th></tr></thead>\n\
         <tbody>\n{rows}</tbody>\n</table>\n</div>\n{sections}</main>\n<script>\n{SCRIPT}</script>\n</body>\n</html>\n",
        checked = summary.checked,
        started = escaped(&report.started_at.chars().take(16).collect::<String>().replace('T', " ")) + " UTC",
        version = escaped(&format!("{} {}", report.tool.name, report.tool.version)),
        filters = filters(report),
    )
}

/// The choices of what is shown; the script makes them appear, for without it they do nothing.
fn filters(report: &Report) -> String {
    let all = |selector: &dyn Fn(&ReportedFinding) -> String| {
        let mut words: Vec<String> =
            report.results.iter().flat_map(|result| result.findings.iter().map(selector)).collect();
        words.sort();
        words.dedup();
        words
    };
    let choice = |id: &str, label: &str, words: Vec<String>| {
        let options: String = words.iter().map(|word| format!("<option>{}</option>", escaped(word))).collect();
        format!(
            "<label for=\"{id}\">{label} <select id=\"{id}\"><option value=\"\">all</option>{options}</select></label>\n"
        )
    };
    let mut verdicts: Vec<String> =
        report.results.iter().map(|result| verdict_word(result.verdict).to_owned()).collect();
    verdicts.sort();
    verdicts.dedup();
    let severities = ["error", "warning", "info", "ignored"].map(str::to_owned).into();
    format!(
        "<form id=\"filters\" hidden aria-label=\"What is shown\">\n{}{}{}<p id=\"shown\" role=\"status\"></p></form>\n",
        choice("verdict", "Verdict", verdicts),
        choice("severity", "Severity", severities),
        choice("rule", "Rule", all(&|reported| reported.finding.rule.clone())),
    )
}

fn class(verdict: Verdict) -> String {
    verdict_word(verdict).replace(' ', "-")
}

fn verdict(verdict: Verdict) -> String {
    format!(
        "<span class=\"verdict {}\"><span aria-hidden=\"true\">{}</span> {}</span>",
        class(verdict),
        verdict_mark(verdict),
        verdict_word(verdict)
    )
}

fn row(number: usize, result: &ImageResult) -> String {
    let count = |severity| result.counting().filter(|reported| reported.finding.severity == severity).count();
    let platform = result.image.platform.as_ref().map(|platform| escaped(&platform.to_string())).unwrap_or_default();
    format!(
        "<tr data-image=\"{number}\"><td>{}</td><th scope=\"row\"><a href=\"#image-{number}\">{}</a></th><td class=\"minor\">{platform}</td>\
         <td class=\"minor\">{}</td><td class=\"number\">{}</td><td class=\"number minor\">{}</td><td class=\"number minor\">{}</td></tr>\n",
        verdict(result.verdict),
        escaped(&result.image.reference),
        escaped(&result.profile),
        count(Severity::Error),
        count(Severity::Warning),
        result.image.compressed_bytes.map(size).unwrap_or_default(),
    )
}

fn section(number: usize, result: &ImageResult) -> String {
    let image = &result.image;
    let mentions: String = image
        .named_in
        .iter()
        .map(|mention| {
            format!("<p class=\"dim\">Named in <code>{}:{}</code></p>\n", escaped(&mention.file), mention.line)
        })
        .collect();
    let error = result.error.iter().map(|error| format!("<p class=\"note\">{}</p>\n", escaped(error)));
    let digest = image.digest.iter().map(|digest| format!("<p class=\"dim\"><code>{digest}</code></p>\n"));
    let findings: String = result.findings.iter().map(finding).collect();
    let rows: String = windows::rows(result)
        .into_iter()
        .chain(steps::table(result))
        .chain(run::rows(result))
        .map(|(label, text)| format!("<dt>{}</dt><dd>{}</dd>\n", escaped(label), escaped(&text)))
        .collect();
    let rows = if rows.is_empty() { rows } else { format!("<dl>\n{rows}</dl>\n") };
    let ids = |what: &str, ids: &[String]| {
        let list: Vec<String> = ids.iter().map(|id| format!("<code>{}</code>", escaped(id))).collect();
        let (count, list) = (ids.len(), list.join(" "));
        if count == 0 {
            String::new()
        } else {
            format!("<details><summary>{count} {what}</summary><p>{list}</p></details>\n")
        }
    };
    format!(
        "<section id=\"image-{number}\" data-image=\"{number}\" data-verdict=\"{}\">\n<h2>{}</h2>\n<p>{} \
         <span class=\"dim\">{}</span></p>\n{mentions}{}{}{}{findings}{rows}{}{}</section>\n",
        verdict_word(result.verdict),
        escaped(&image.reference),
        verdict(result.verdict),
        escaped(&about(image, &result.profile)),
        digest.collect::<String>(),
        error.collect::<String>(),
        layers::bar(result),
        ids("rules passed", &result.passed),
        ids("rules do not apply", &result.not_applicable),
    )
}

fn finding(reported: &ReportedFinding) -> String {
    let finding = &reported.finding;
    let severity = if reported.ignored.is_some() { "ignored" } else { severity_word(finding.severity) };
    let open = if severity == "error" { " open" } else { "" };
    let evidence: String = finding.evidence.iter().map(evidence).collect();
    let mend = match &reported.ignored {
        Some(ignored) => {
            let until = ignored.until.as_ref().map(|until| format!(" (until {until})")).unwrap_or_default();
            format!("<p>Ignored: {}{}</p>\n", escaped(&ignored.reason), escaped(&until))
        }
        None if finding.outcome == Outcome::Fail => {
            let lines: Vec<String> = finding.fix.trim().lines().map(escaped).collect();
            format!("<p class=\"label\">To mend it</p>\n<pre tabindex=\"0\">{}</pre>\n", lines.join("\n"))
        }
        None => String::new(),
    };
    let docs = Some(escaped(&finding.docs)).filter(|docs| docs.starts_with("https://"));
    let docs = docs.map(|docs| {
        format!("<p><a href=\"{docs}\" rel=\"noreferrer\">Documentation on {}</a></p>\n", escaped(&finding.rule))
    });
    format!(
        "<details class=\"finding {severity}\" data-severity=\"{severity}\" data-rule=\"{rule}\"{open}><summary><span class=\"severity\">{severity}</span> {} \
         <code>{rule}</code></summary>\n<ul>\n{evidence}</ul>\n{mend}{}</details>\n",
        escaped(&headline(reported)),
        docs.unwrap_or_default(),
        rule = escaped(&finding.rule),
    )
}

fn evidence(evidence: &Evidence) -> String {
    let basis = if evidence.basis == Basis::Run { "<b>run</b> " } else { "" };
    let at = place(evidence);
    let at = if at.is_empty() { at } else { format!("<br><span class=\"dim\">at {}</span>", escaped(&at)) };
    format!("<li>{basis}{}{at}</li>\n", escaped(&evidence.statement))
}
