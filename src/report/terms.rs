//! The words and figures that all forms of report use alike.

use super::{ImageReport, ImageResult, ReportedFinding, Summary};
use crate::digest::Digest;
use crate::facts::configuration::instruction;
use crate::printable::{excerpt, printable};
use crate::verdict::{Evidence, Outcome, Severity, Verdict};

/// The longest instruction that is shown, in characters.
const LONGEST_INSTRUCTION: usize = 120;
/// The id under which forms that know only rules tell of an image that could not be checked.
pub(super) const NOT_CHECKED: &str = "image-not-checked";
/// What is said of such an image.
pub(super) const NOT_CHECKED_TITLE: &str = "The image could not be checked";

/// A verdict in words.
pub(super) fn verdict_word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Compatible => "compatible",
        Verdict::Incompatible => "incompatible",
        Verdict::Undetermined => "undetermined",
        Verdict::Failed => "could not be checked",
    }
}

/// How many images came to which verdict, those to which none came left out.
pub(super) fn counts(summary: Summary) -> impl Iterator<Item = (usize, &'static str)> {
    let counts = [
        (summary.compatible, Verdict::Compatible),
        (summary.incompatible, Verdict::Incompatible),
        (summary.undetermined, Verdict::Undetermined),
        (summary.failed, Verdict::Failed),
    ];
    counts.into_iter().filter(|(count, _)| *count > 0).map(|(count, verdict)| (count, verdict_word(verdict)))
}

/// A verdict as one character.
pub(super) fn verdict_mark(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Compatible => "✓",
        Verdict::Incompatible | Verdict::Failed => "✗",
        Verdict::Undetermined => "?",
    }
}

/// A severity's name.
pub(super) fn severity_word(severity: Severity) -> &'static str {
    match severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
        Severity::Info => "info",
    }
}

/// The title, and whether it is an open question.
pub(super) fn headline(reported: &ReportedFinding) -> String {
    let open = if reported.finding.outcome == Outcome::Unknown { " (could not be decided)" } else { "" };
    format!("{}{open}", printable(&reported.finding.title))
}

/// Where a statement can be seen, as far as it does not say so itself; empty if it does.
pub(super) fn place(evidence: &Evidence) -> String {
    let (place, statement) = (&evidence.place, &evidence.statement);
    let mut parts: Vec<String> = Vec::new();
    parts.extend(place.field.clone());
    parts.extend(place.path.as_ref().filter(|path| !statement.contains(path.as_str())).cloned());
    parts.extend(place.layer.map(|layer| format!("layer {layer}")));
    let instruction = place.instruction.as_ref().filter(|text| !statement.contains(text.as_str()));
    parts.extend(instruction.map(|text| excerpt(text, LONGEST_INSTRUCTION)));
    parts.iter().map(|part| printable(part).into_owned()).collect::<Vec<_>>().join(", ")
}

/// What made a layer, in one line.
pub(super) fn made_by(created_by: Option<&str>) -> String {
    created_by.map(|text| excerpt(&instruction(text), LONGEST_INSTRUCTION)).unwrap_or_default()
}

/// Source, platform and profile in a few words.
pub(super) fn about(image: &ImageReport, profile: &str) -> String {
    let source = image.source.map(|source| match source {
        crate::image::SourceKind::Registry => "from the registry",
        crate::image::SourceKind::DockerDaemon => "from the local engine",
        crate::image::SourceKind::Oci => "from an OCI layout",
        crate::image::SourceKind::OciArchive => "from an OCI archive",
        crate::image::SourceKind::DockerArchive => "from a docker archive",
        crate::image::SourceKind::Rootfs => "from a folder",
    });
    let platform = image.platform.as_ref().map(|platform| printable(&platform.to_string()).into_owned());
    let parts: Vec<String> =
        source.map(str::to_owned).into_iter().chain(platform).chain([format!("profile {profile}")]).collect();
    parts.join(", ")
}

/// A size as people read it.
pub(super) fn size(bytes: u64) -> String {
    match bytes {
        0..1_000 => format!("{bytes} B"),
        1_000..1_000_000 => format!("{:.1} kB", bytes as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} MB", bytes as f64 / 1e6),
        _ => format!("{:.2} GB", bytes as f64 / 1e9),
    }
}

/// An image without tag, by which it is the same tomorrow.
pub(super) fn lasting_name(image: &ImageReport) -> String {
    let name = image.name.as_ref().unwrap_or(&image.reference);
    crate::reference::untagged(name)
}

/// What tells a finding from all others and stays the same while the image is built again and again: image without tag,
/// platform, profile, rule, and the places that it is about.
pub(super) fn fingerprint(result: &ImageResult, rule: &str, places: impl IntoIterator<Item = String>) -> String {
    let platform = result.image.platform.as_ref().map(ToString::to_string).unwrap_or_default();
    let mut places: Vec<String> = places.into_iter().collect();
    places.sort();
    places.dedup();
    let named = [lasting_name(&result.image), platform, result.profile.clone(), rule.to_owned(), places.join("\n")];
    Digest::of(named.join("\0").as_bytes()).hex()[..32].to_owned()
}

/// The places of a finding, for its fingerprint.
pub(super) fn places(reported: &ReportedFinding) -> impl Iterator<Item = String> {
    let of_piece = |piece: &Evidence| piece.place.path.clone().or_else(|| piece.place.field.clone());
    reported.finding.evidence.iter().filter_map(of_piece)
}

/// The statements of a finding in one paragraph, the places where they can be seen in brackets.
pub(super) fn statements(reported: &ReportedFinding) -> String {
    let of_piece = |piece: &Evidence| {
        let (said, place) = (printable(&piece.statement), place(piece));
        if place.is_empty() { said.into_owned() } else { format!("{said} ({place})") }
    };
    reported.finding.evidence.iter().map(of_piece).collect::<Vec<_>>().join("; ")
}
