//! `imglint rules` and `imglint explain`: what the rules are and why they are there.

use std::fmt::Write;
use std::path::Path;
use std::process::ExitCode;

use super::args::{ExplainArguments, RulesArguments};
use super::{Failure, print};
use crate::catalog::{Catalog, FixOs, Profile, Rule, rule_table_markdown};
use crate::config::{EXPIRED, EXPIRED_FIX, EXPIRED_TITLE};
use crate::verdict::Outcome;

/// The profile of that name: a file if the name looks like one, else one of the catalogue.
///
/// # Errors
/// There is none, or it is wrong.
pub fn profile(catalog: Catalog, name: &str) -> Result<Profile, Failure> {
    let path = Path::new(name);
    let is_file = path.extension().is_some_and(|ending| ending == "toml") || name.contains(std::path::MAIN_SEPARATOR);
    Ok(if is_file { catalog.profile_from_file(path)? } else { catalog.profile(name)? })
}

/// Lists the rules of a profile.
///
/// # Errors
/// There is no such profile, or the list cannot be printed.
pub fn rules(arguments: &RulesArguments) -> Result<ExitCode, Failure> {
    let profile = profile(Catalog::builtin(), &arguments.profile)?;
    if arguments.markdown {
        print(&rule_table_markdown(&profile))?;
        return Ok(ExitCode::SUCCESS);
    }
    let width = profile.rules.iter().map(|rule| rule.id.len()).max().unwrap_or_default();
    let mut out = String::new();
    for rule in &profile.rules {
        let level = level(&profile, rule);
        let _ = writeln!(out, "{:<width$}  {level:<7}  {}", rule.id, rule.title);
    }
    let _ = writeln!(
        out,
        "\n{} rules of the profile {}; `imglint explain RULE` tells more",
        profile.rules.len(),
        profile.id
    );
    print(&out)?;
    Ok(ExitCode::SUCCESS)
}

/// Explains one rule.
///
/// # Errors
/// There is no such rule, or it cannot be printed.
pub fn explain(arguments: &ExplainArguments) -> Result<ExitCode, Failure> {
    if arguments.rule == EXPIRED {
        print(&format!("{EXPIRED} (error)\n{EXPIRED_TITLE}\n\nFix\n{}\n", wrapped(EXPIRED_FIX)))?;
        return Ok(ExitCode::SUCCESS);
    }
    // One built-in rule needs no other file to be read; a rule of a user's profile needs that profile.
    let catalog = Catalog::builtin();
    let own;
    let rule = if arguments.profile == "octopus" {
        own = catalog.rule(&arguments.rule)?;
        &own
    } else {
        let profile = profile(catalog, &arguments.profile)?;
        own = profile.rule(&arguments.rule)?.clone();
        &own
    };
    print(&explanation(rule))?;
    Ok(ExitCode::SUCCESS)
}

fn level(profile: &Profile, rule: &Rule) -> String {
    let level = profile.levels.get(&rule.id).map_or(Some(rule.severity), |level| level.severity());
    level.map_or_else(|| "off".to_owned(), |severity| severity.to_string())
}

fn explanation(rule: &Rule) -> String {
    let lesser = rule.lesser_severity.map(|lesser| format!(", the lesser defect {lesser}")).unwrap_or_default();
    let mut out = format!("{} ({}{lesser})\n{}\n", rule.id, rule.severity, rule.title);
    let mut section = |heading: &str, body: &str| {
        let _ = writeln!(out, "\n{heading}\n{}", wrapped(body));
    };
    section("Why", &rule.why);
    section("Fix", &rule.fix);
    for fix in &rule.fix_for {
        let on = fix.os.map_or_else(|| fix.distributions.join(", "), |FixOs::Windows| "Windows".to_owned());
        section(&format!("Fix on {on}"), &fix.fix);
    }
    for when in &rule.when {
        let severity = when.severity.map(|severity| format!(" ({severity})")).unwrap_or_default();
        let text: Vec<&str> = [&when.title, &when.why, &when.fix].into_iter().flatten().map(String::as_str).collect();
        let range = match (&when.at_least, &when.below) {
            _ if when.is.is_some() => when.is.clone().unwrap_or_default(),
            (Some(least), Some(first)) => format!("{least} or later, before {first}"),
            (Some(least), None) => format!("{least} or later"),
            (None, Some(first)) => format!("before {first}"),
            (None, None) => String::new(),
        };
        section(&format!("With {} {range}{severity}", when.parameter), &text.join("\n\n"));
    }
    let examples: Vec<String> =
        rule.examples.iter().map(|example| format!("  {:<14} {}", outcome(example.outcome), example.name)).collect();
    section("Examples", &examples.join("\n"));
    let sources: Vec<String> = rule.sources.iter().map(|source| format!("  {}: {}", source.url, source.says)).collect();
    section("Sources", &sources.join("\n"));
    section("Documentation", &format!("  {}", rule.docs));
    out
}

fn outcome(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Pass => "passes",
        Outcome::Fail => "fails",
        Outcome::Unknown => "is unknown",
        Outcome::NotApplicable => "does not apply",
    }
}

/// Paragraphs wrapped to a line's width; lines that are indented or are Dockerfile lines stay as they are.
fn wrapped(text: &str) -> String {
    let is_code = |line: &str| {
        line.starts_with("  ") || ["RUN ", "FROM ", "ENV ", "USER "].iter().any(|word| line.starts_with(word))
    };
    let mut out = Vec::new();
    for paragraph in text.trim().split("\n\n") {
        if paragraph.lines().any(is_code) {
            out.push(
                paragraph
                    .lines()
                    .map(|line| if line.starts_with("  ") { line.to_owned() } else { format!("  {line}") })
                    .collect::<Vec<_>>()
                    .join("\n"),
            );
        } else {
            let options = textwrap::Options::new(96).initial_indent("  ").subsequent_indent("  ").break_words(false);
            let options = options.word_splitter(textwrap::WordSplitter::NoHyphenation);
            out.push(textwrap::fill(&paragraph.split_whitespace().collect::<Vec<_>>().join(" "), options));
        }
    }
    out.join("\n\n")
}
