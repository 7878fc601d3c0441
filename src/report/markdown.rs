//! The report as Markdown that fits a comment on a pull request: a table of verdicts, then the findings, folded.

use super::terms::{about, headline, made_by, place, severity_word, size, verdict_mark, verdict_word};
use super::{ImageResult, Report, ReportedFinding};
use crate::printable::printable;
use crate::verdict::{Outcome, Severity, Verdict};

/// GitHub takes comments of 65,536 characters, GitLab longer ones.
const LONGEST: usize = 60_000;
/// What stands in place of what does not fit.
const CUT: &str = "\n*The rest does not fit here; the other reports have it.*\n";

/// The report. Whatever an image says is shown, never taken for markup.
#[must_use]
pub fn markdown(report: &Report) -> String {
    let mut out = String::from("## imglint\n\n");
    out += "| | image | verdict | errors | warnings | stored |\n| --- | --- | --- | ---: | ---: | ---: |\n";
    for result in &report.results {
        let count = |severity| result.counting().filter(|reported| reported.finding.severity == severity).count();
        let stored = result.image.compressed_bytes.map(size).unwrap_or_default();
        out += &format!(
            "| {} | {} | {} | {} | {} | {stored} |\n",
            verdict_mark(result.verdict),
            code(&result.image.reference),
            verdict_word(result.verdict),
            count(Severity::Error),
            count(Severity::Warning),
        );
    }
    for note in report.configuration.line().iter().chain(&report.warnings) {
        out += &format!("\n> {}\n", plain(note));
    }
    for result in &report.results {
        let section = section(result);
        if out.chars().count() + section.chars().count() + CUT.len() > LONGEST {
            out += CUT;
            break;
        }
        out += &section;
    }
    out
}

fn section(result: &ImageResult) -> String {
    let is_open = if result.verdict == Verdict::Compatible { "" } else { " open" };
    let mut out = format!(
        "\n<details{is_open}><summary>{} <code>{}</code>: {} <i>({})</i></summary>\n\n",
        verdict_mark(result.verdict),
        html(&result.image.reference),
        verdict_word(result.verdict),
        html(&about(&result.image, &result.profile)),
    );
    for mention in &result.image.named_in {
        out += &format!("Named in {}\n\n", code(&format!("{}:{}", mention.file, mention.line)));
    }
    if let Some(error) = &result.error {
        out += &format!("{}\n", plain(error));
    }
    for reported in &result.findings {
        out += &finding(result, reported);
    }
    if !result.passed.is_empty() {
        out += &format!("\n{} rules passed.\n", result.passed.len());
    }
    out + "\n</details>\n"
}

fn finding(result: &ImageResult, reported: &ReportedFinding) -> String {
    let finding = &reported.finding;
    let severity = if reported.ignored.is_some() { "ignored" } else { severity_word(finding.severity) };
    let mut out = format!("- **{severity}**: {} {}\n", plain(&headline(reported)), code(&finding.rule));
    for evidence in &finding.evidence {
        let layer = evidence.place.layer.and_then(|number| result.image.layers.get(number));
        let made_by = made_by(layer.and_then(|layer| layer.created_by.as_deref()));
        let at = place(evidence);
        let at = if at.is_empty() { made_by } else { at };
        let at = if at.is_empty() { String::new() } else { format!(" (at {})", code(&at)) };
        out += &format!("  - {}{at}\n", plain(&evidence.statement));
    }
    if let Some(ignored) = &reported.ignored {
        out += &format!("  - ignored: {}\n", plain(&ignored.reason));
    } else if finding.outcome == Outcome::Fail {
        let lines = finding.fix.trim().lines().map(|line| format!("    {}\n", printable(line).replace("```", "` ` `")));
        out += &format!("\n    ```text\n{}    ```\n", lines.collect::<String>());
    }
    out
}

/// A text in which nothing is markup.
fn plain(text: &str) -> String {
    let text = html(&text.replace(['\n', '\r'], " "));
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if "\\`*_[]|~#!".contains(c) {
            out.push('\\');
        }
        // Nobody is to be called by what an image says.
        match c {
            '@' => out.push_str("&#64;"),
            c => out.push(c),
        }
    }
    out
}

/// A text as code, in a table as well.
fn code(text: &str) -> String {
    format!(
        "<code>{}</code>",
        html(text).replace('|', "&#124;").replace('@', "&#64;").replace('_', "&#95;").replace('*', "&#42;")
    )
}

/// A text within HTML.
pub(super) fn html(text: &str) -> String {
    let text = printable(text);
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_image_says_is_no_markup() {
        assert_eq!(plain("<b> [x](y) @all | `c`"), "&lt;b&gt; \\[x\\](y) &#64;all \\| \\`c\\`");
        assert_eq!(code("a|b`<"), "<code>a&#124;b`&lt;</code>");
    }
}
