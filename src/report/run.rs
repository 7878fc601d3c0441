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
    // What a variant leaves out, it leaves out for want of the stage that failed.
    let is_told = |stage: &&&StageReport| {
        stage.outcome != Outcome::Pass && (stage.variant.is_none() || stage.outcome != Outcome::NotApplicable)
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
                "{} {} by the image's files and {} when it is run: please tell us, for imglint should have known",
                differing.rule,
                word(differing.read),
                word(differing.run)
            ),
        ));
    }
    if !run.command.is_empty() {
        rows.push(("to do the same", run.command.join(" ")));
    }
    rows
}

fn timed(stage: &StageReport) -> String {
    let variant = stage.variant.as_ref().map(|variant| format!(" [{variant}]")).unwrap_or_default();
    match stage.duration_ms {
        Some(time) => format!("{}{variant} ({:.1} s)", stage.name, time as f64 / 1e3),
        None => format!("{}{variant}", stage.name),
    }
}
