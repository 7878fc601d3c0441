//! What running an image showed, stage by stage, as rows of the text report.

use super::ImageResult;
use crate::engine::StageReport;
use crate::verdict::Outcome;

/// The rows, each a label and a text; none for an image that was not run.
pub(super) fn rows(result: &ImageResult) -> Vec<(&'static str, String)> {
    let Some(run) = &result.run else { return Vec::new() };
    let mut rows = Vec::new();
    if let Some(engine) = &run.engine {
        rows.push(("run by", format!("{} {}", engine.name, engine.version)));
    }
    let (tools, stages): (Vec<&StageReport>, Vec<&StageReport>) =
        run.stages.iter().partition(|stage| stage.name.starts_with("tool:"));
    let passed: Vec<String> =
        stages.iter().filter(|stage| stage.outcome == Outcome::Pass).map(|stage| timed(stage)).collect();
    if !passed.is_empty() {
        rows.push(("stages passed", passed.join(", ")));
    }
    // Of a variant only what is otherwise than in the usual form, and not what is left out for want of that.
    let is_told = |stage: &&&StageReport| {
        let is_known = || run.stage(&stage.name).is_some_and(|usual| usual.outcome == stage.outcome);
        let is_new = stage.variant.is_none() || (stage.outcome != Outcome::NotApplicable && !is_known());
        stage.outcome != Outcome::Pass && is_new
    };
    for stage in stages.iter().filter(is_told) {
        let label = match stage.outcome {
            Outcome::Fail => "stage failed",
            Outcome::Unknown => "stage unknown",
            _ => "stage left out",
        };
        rows.push((label, format!("{}: {}", timed(stage), stage.output)));
    }
    let missing: Vec<&str> = tools
        .iter()
        .filter(|stage| stage.outcome == Outcome::Fail && stage.variant.is_none())
        .filter_map(|stage| stage.name.strip_prefix("tool:"))
        .collect();
    if !missing.is_empty() {
        rows.push(("tools not found", missing.join(", ")));
    }
    for differing in &run.disagreements {
        let word = |outcome| if outcome == Outcome::Pass { "passes" } else { "fails" };
        rows.push((
            "disagreement",
            format!(
                "{} {} by the image's files and {} when it is run: please report it, imglint should have known \
                 (--trust-run takes what the run showed)",
                differing.rule,
                word(differing.read),
                word(differing.run)
            ),
        ));
    }
    if !run.command.is_empty() {
        rows.push(("to do the same", run.command.iter().map(|word| pasted(word)).collect::<Vec<_>>().join(" ")));
    }
    rows
}

/// A word for a shell, which still puts in the folder that `$TentacleHome` stands for.
fn pasted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "$/._-+@:,=".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        return word.to_owned();
    }
    let escaped: String =
        word.chars().flat_map(|c| "\"\\`".contains(c).then_some('\\').into_iter().chain([c])).collect();
    format!("\"{escaped}\"")
}

fn timed(stage: &StageReport) -> String {
    let variant = stage.variant.as_ref().map(|variant| format!(" [{variant}]")).unwrap_or_default();
    match stage.duration_ms {
        Some(time) => format!("{}{variant} ({:.1} s)", stage.name, time as f64 / 1e3),
        None => format!("{}{variant}", stage.name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_line_can_be_pasted() {
        assert_eq!(pasted("$TentacleHome/Work/1"), "$TentacleHome/Work/1");
        assert_eq!(pasted("$TentacleHome/x bash 'a b' \"c\""), "\"$TentacleHome/x bash 'a b' \\\"c\\\"\"");
        assert_eq!(pasted(""), "\"\"");
    }
}
