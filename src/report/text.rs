//! The report for people: the verdict first, then what is wrong, where, which instruction did it, and how to mend it.

use std::fmt::Write;

use anstyle::{AnsiColor, Style};

use super::terms::{about, counts, headline, made_by, place, severity_word, size, verdict_mark, verdict_word};
use super::{ImageReport, ImageResult, LayerRead, LayerReport, Report, ReportedFinding, known, run, steps, windows};
use crate::printable::printable;
use crate::verdict::{Evidence, Outcome, Severity, Verdict};

/// How far what belongs to a finding is moved in.
const INDENT: &str = "           ";

/// The first words of lines in a fix that are to be copied as they are.
const INSTRUCTIONS: [&str; 5] = ["RUN ", "FROM ", "ENV ", "COPY ", "ENTRYPOINT "];

/// How the report for people is laid out.
#[derive(Clone, Copy, Debug)]
pub struct TextStyle {
    /// The width of a line, in characters.
    pub width: usize,
    /// Only the verdicts.
    pub quiet: bool,
    /// Also digests and sizes, what the verdict rests on, and the findings' documentation.
    pub verbose: bool,
}

const BOLD: Style = Style::new().bold();
const DIM: Style = Style::new().dimmed();
const RED: Style = AnsiColor::Red.on_default().bold();
const YELLOW: Style = AnsiColor::Yellow.on_default().bold();
const GREEN: Style = AnsiColor::Green.on_default().bold();
const BLUE: Style = AnsiColor::Cyan.on_default().bold();

/// The report with colours as terminal sequences; whoever prints it takes them out where they do not belong.
pub(super) fn text(report: &Report, style: TextStyle) -> String {
    let mut page = Page { out: String::new(), style };
    for (number, result) in report.results.iter().enumerate() {
        if number > 0 && !style.quiet {
            page.out.push('\n');
        }
        page.result(result);
    }
    if report.results.len() > 1 {
        page.summary(report);
    }
    // Also where little is said: who reads a verdict has to see what it depends on.
    if let Some(line) = report.configuration.line() {
        let gap = if style.quiet { "" } else { "\n" };
        page.wrapped_with(gap, "  ", &line);
    }
    if !style.quiet {
        for warning in &report.warnings {
            page.wrapped_with("\nwarning: ", "         ", warning);
        }
    }
    if !style.quiet && report.results.iter().any(|result| !result.findings.is_empty()) {
        page.line(format_args!("\n{DIM}`imglint explain RULE` tells why a rule is there.{DIM:#}"));
    }
    page.out
}

struct Page {
    out: String,
    style: TextStyle,
}

impl Page {
    fn line(&mut self, text: std::fmt::Arguments<'_>) {
        // Writing to a String cannot fail.
        let _ = self.out.write_fmt(text);
        self.out.push('\n');
    }

    fn result(&mut self, result: &ImageResult) {
        let (mark, word) = (verdict_mark(result.verdict), verdict_word(result.verdict));
        let color = match result.verdict {
            Verdict::Compatible => GREEN,
            Verdict::Undetermined => YELLOW,
            Verdict::Incompatible | Verdict::Failed => RED,
        };
        let name = printable(&result.image.reference);
        let about = about(&result.image, &result.profile);
        self.line(format_args!("{color}{mark} {word}{color:#}  {BOLD}{name}{BOLD:#}  {DIM}{about}{DIM:#}"));
        if !self.style.quiet {
            for mention in &result.image.named_in {
                self.line(format_args!("  {DIM}named in {}:{}{DIM:#}", printable(&mention.file), mention.line));
            }
        }
        if let Some(mirror) = &result.image.mirror {
            self.line(format_args!("  {DIM}read from the mirror {}{DIM:#}", printable(mirror)));
        }
        if let Some(error) = &result.error {
            self.wrapped("  ", error);
            return;
        }
        if self.style.quiet {
            return;
        }
        if self.style.verbose {
            self.details(&result.image);
        } else {
            self.fetched(&result.image);
        }
        self.unproven(&result.image);
        let mut fixes: Vec<(&str, &str)> = Vec::new();
        for finding in &result.findings {
            self.out.push('\n');
            self.finding(finding, &mut fixes);
        }
        if !result.findings.is_empty() {
            self.out.push('\n');
        }
        if self.style.verbose {
            for (label, text) in known::rows(result) {
                self.wrapped_with(&format!("  {label:<16}"), &" ".repeat(18), &text);
            }
        }
        for (label, text) in windows::rows(result).into_iter().chain(steps::table(result)).chain(run::rows(result)) {
            self.wrapped_with(&format!("  {label:<16}"), &" ".repeat(18), &text);
        }
        self.ids("passed", &result.passed);
        self.ids("not applicable", &result.not_applicable);
    }

    fn details(&mut self, image: &ImageReport) {
        if let Some(digest) = &image.digest {
            self.line(format_args!("  {DIM}manifest {digest}{DIM:#}"));
        }
        let fetched = image.fetched_bytes.map(|bytes| format!(", {} fetched", size(bytes))).unwrap_or_default();
        let (stored, unpacked) = (image.compressed_bytes.unwrap_or_default(), image.uncompressed_bytes);
        let unpacked = unpacked.map_or("not all layers read".to_owned(), |bytes| format!("{} unpacked", size(bytes)));
        self.line(format_args!(
            "  {DIM}{} layers, {} stored, {unpacked}{fetched}{DIM:#}",
            image.layers.len(),
            size(stored)
        ));
        for layer in &image.layers {
            let by = made_by(layer.created_by.as_deref());
            let read = match layer.read {
                LayerRead::Whole => "",
                LayerRead::Part => ", read in part",
                LayerRead::None => ", not read",
            };
            self.line(format_args!("  {DIM}layer {}: {}{read}  {by}{DIM:#}", layer.index, size(layer.bytes)));
        }
    }

    /// How much of an image was fetched, where not all of it was.
    fn fetched(&mut self, image: &ImageReport) {
        if let (Some(fetched), Some(stored)) = (image.fetched_bytes, image.compressed_bytes)
            && fetched < stored
        {
            self.line(format_args!("  {DIM}{} of {} fetched{DIM:#}", size(fetched), size(stored)));
        }
    }

    /// What was believed of layers that engines do not believe.
    fn unproven(&mut self, image: &ImageReport) {
        let by_table = image.layers.iter().filter(|layer| layer.table_trusted).count();
        if by_table > 0 {
            let layers = if by_table == 1 { "1 layer was".to_owned() } else { format!("{by_table} layers were") };
            self.line(format_args!(
                "  {DIM}{layers} read by the table of contents (--trust-toc), at which engines do not look{DIM:#}"
            ));
        }
        let is_open =
            |layer: &&LayerReport| layer.diff_id.is_some() && layer.read == LayerRead::Whole && !layer.diff_id_verified;
        if image.layers.iter().any(|layer| is_open(&layer)) {
            self.line(format_args!("  {DIM}DiffIDs not verified (--verify-layers does it, as engines do){DIM:#}"));
        }
    }

    /// `fixes` are those that were printed, each with its rule: the same one is not printed again.
    fn finding<'r>(&mut self, reported: &'r ReportedFinding, fixes: &mut Vec<(&'r str, &'r str)>) {
        let finding = &reported.finding;
        let color = match finding.severity {
            Severity::Error => RED,
            Severity::Warning => YELLOW,
            Severity::Info => BLUE,
        };
        let (word, rule) = (severity_word(finding.severity), printable(&finding.rule));
        let title = printable(&finding.title);
        let open = &headline(reported)[title.len()..];
        self.line(format_args!("  {color}{word:<7}{color:#}  {BOLD}{title}{BOLD:#}{open}  {DIM}[{rule}]{DIM:#}"));
        for (number, evidence) in finding.evidence.iter().enumerate() {
            self.wrapped(INDENT, &evidence.statement);
            // Several statements about one place name it once.
            if finding.evidence.get(number + 1).is_none_or(|next| next.place != evidence.place) {
                self.place(evidence);
            }
        }
        if finding.outcome == Outcome::Fail {
            match fixes.iter().find(|(fix, _)| *fix == finding.fix) {
                Some((_, rule)) => self.fix(&format!("As for {rule}.")),
                None => {
                    self.fix(&finding.fix);
                    fixes.push((&finding.fix, &finding.rule));
                }
            }
        }
        if self.style.verbose && !finding.docs.is_empty() {
            self.line(format_args!("{INDENT}{DIM}see {}{DIM:#}", printable(&finding.docs)));
        }
        if let Some(ignored) = &reported.ignored {
            let until = ignored.until.as_ref().map(|until| format!(" (until {until})")).unwrap_or_default();
            self.wrapped(INDENT, &format!("ignored: {}{until}", ignored.reason));
        }
    }

    /// Where a statement can be seen, as far as it does not say so itself.
    fn place(&mut self, evidence: &Evidence) {
        let place = place(evidence);
        if !place.is_empty() {
            self.line(format_args!("{INDENT}{DIM}at {place}{DIM:#}"));
        }
    }

    /// The fix may hold lines to be copied (indented, or Dockerfile instructions), which are not wrapped.
    fn fix(&mut self, fix: &str) {
        let mut label = "fix: ";
        for line in fix.lines().filter(|line| !line.trim().is_empty()) {
            if line.starts_with("  ") || INSTRUCTIONS.iter().any(|word| line.starts_with(word)) {
                self.line(format_args!("{INDENT}{label}{}", printable(line.trim_end())));
            } else {
                self.wrapped_with(&format!("{INDENT}{label}"), &format!("{INDENT}     "), line);
            }
            label = "     ";
        }
    }

    fn ids(&mut self, what: &str, ids: &[String]) {
        if !ids.is_empty() {
            self.wrapped_with(&format!("  {} {what}: ", ids.len()), "    ", &ids.join(", "));
        }
    }

    fn summary(&mut self, report: &Report) {
        let summary = report.summary;
        let counts: Vec<String> = counts(summary).map(|(count, word)| format!("{count} {word}")).collect();
        self.line(format_args!("\n{BOLD}{} checked{BOLD:#}: {}", summary.checked, counts.join(", ")));
    }

    fn wrapped(&mut self, indent: &str, text: &str) {
        self.wrapped_with(indent, indent, text);
    }

    fn wrapped_with(&mut self, first: &str, rest: &str, text: &str) {
        let options = textwrap::Options::new(self.style.width.max(40))
            .initial_indent(first)
            .subsequent_indent(rest)
            .break_words(false)
            .word_splitter(textwrap::WordSplitter::NoHyphenation);
        for line in textwrap::wrap(&printable(text), options) {
            self.line(format_args!("{line}"));
        }
    }
}
