//! The table of a profile's rules as Markdown, for the README.

use std::fmt::Write;

use super::Profile;
use crate::verdict::Severity;

/// A table of the profile's rules, the severest first: id (linked to its file), severity, title.
#[must_use]
pub fn rule_table_markdown(profile: &Profile) -> String {
    let mut rows: Vec<_> = profile
        .rules
        .iter()
        .filter_map(|rule| {
            let severity = profile.levels.get(&rule.id).map_or(Some(rule.severity), |level| level.severity())?;
            Some((severity, rule))
        })
        .collect();
    rows.sort_by(|one, other| (one.0, &one.1.id).cmp(&(other.0, &other.1.id)));
    let mut table = String::from("| Rule | Severity | What it finds |\n| --- | --- | --- |\n");
    for (severity, rule) in rows {
        let severity = match severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::Info => "info",
        };
        let title = rule.title.replace('|', "\\|");
        // Writing to a String does not fail.
        let _ = writeln!(table, "| [`{0}`](rules/{0}.toml) | {severity} | {title} |", rule.id);
    }
    table
}
