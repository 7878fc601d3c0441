//! Workflow commands of GitHub Actions: an annotation a finding (docs.github.com, "Workflow commands for GitHub Actions").

use super::terms::{NOT_CHECKED_TITLE, headline, statements};
use super::{ImageResult, Mention, Report};
use crate::printable::printable;
use crate::verdict::Severity;

/// The commands, a line each. Ignored findings have none.
pub(super) fn github(report: &Report) -> String {
    let mut out = String::new();
    for result in &report.results {
        let image = printable(&result.image.reference);
        if let Some(error) = &result.error {
            out += &command("error", result, NOT_CHECKED_TITLE, &format!("{image}: {}", printable(error)));
        }
        for reported in result.counting() {
            let word = match reported.finding.severity {
                Severity::Error => "error",
                Severity::Warning => "warning",
                Severity::Info => "notice",
            };
            let title = format!("{} [{}]", headline(reported), reported.finding.rule);
            let message = format!("{image}: {}\n{}", statements(reported), reported.finding.fix.trim());
            out += &command(word, result, &title, &message);
        }
    }
    if let Some(line) = report.configuration.line() {
        out += &format!("::notice::{}\n", data(&line));
    }
    for warning in &report.warnings {
        out += &format!("::warning::{}\n", data(warning));
    }
    out
}

fn command(word: &str, result: &ImageResult, title: &str, message: &str) -> String {
    let place =
        result.image.named_in.first().map(|Mention { file, line }| format!("file={},line={line},", property(file)));
    format!("::{word} {}title={}::{}\n", place.unwrap_or_default(), property(title), data(message))
}

/// A message, of which each line break has to be escaped (actions/toolkit, packages/core/src/command.ts).
fn data(text: &str) -> String {
    let lines: Vec<String> = text.lines().map(|line| printable(line).replace('%', "%25")).collect();
    lines.join("%0A")
}

/// A property, which ends at a comma or a colon.
fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_a_text_ends_a_command() {
        assert_eq!(
            data("50 %\n::error::x\r\x1b[2K"),
            "50 %25%0A::error::x\u{fffd}[2K".replace("x\u{fffd}", &printable("x\r\u{1b}"))
        );
        assert_eq!(property("a: b, c"), "a%3A b%2C c");
    }
}
