//! What the verdict rests on, and how each of it was found, as rows of the text report when more is asked for.

use serde_json::Value;

use super::ImageResult;

/// The rows, each a label and a text; none for what was not looked at.
pub(super) fn rows(result: &ImageResult) -> Vec<(String, String)> {
    let facts = &result.facts;
    let mut rows = Vec::new();
    let mut row = |label: &str, text: Option<String>| rows.extend(text.map(|text| (label.to_owned(), text)));
    let os_release = &facts["os_release"];
    row("distribution", text(&os_release["pretty_name"]).map(|name| format!("{name}{}", at(&os_release["place"]))));
    let libc = &facts["libc"];
    let version = text(&libc["version"]).map(|version| format!(" {version}")).unwrap_or_default();
    row(
        "C library",
        text(&libc["family"]).map(|family| format!("{family}{version}: {}", list(&libc["known_by"], "; "))),
    );
    let path = &facts["path"];
    let folders = Some(list(&path["folders"], ":")).filter(|folders| !folders.is_empty());
    row("PATH", folders.map(|folders| format!("{folders}{}", at(&path["place"]))));
    let user = &facts["user"];
    let name = text(&user["name"]).map(|name| format!(" ({name})")).unwrap_or_default();
    row("runs as", user["uid"].as_u64().map(|uid| format!("uid {uid}{name}{}", at(&user["place"]))));
    for program in facts["programs"].as_array().into_iter().flatten() {
        let stage = |name: &str| text(&program[name]).map(|outcome| format!("{name}: {outcome}"));
        let stages: Vec<String> = ["start", "globalization", "cryptography"].into_iter().filter_map(stage).collect();
        row(program["program"].as_str().unwrap_or("program"), Some(stages.join(", ")));
        let libraries = program["libraries"].as_array().into_iter().flatten().filter_map(library);
        let libraries: Vec<String> = libraries.collect();
        row("its libraries", Some(libraries.join(", ")).filter(|text| !text.is_empty()));
    }
    rows
}

/// A library, where it was found, and by what.
fn library(library: &Value) -> Option<String> {
    let name = text(&library["name"])?;
    match (text(&library["found"]), text(&library["how"])) {
        (Some(found), Some(how)) if found != name => Some(format!("{found} ({how})")),
        (Some(found), _) => Some(found),
        (None, _) => Some(format!("{name} (nowhere)")),
    }
}

/// A place in brackets.
fn at(place: &Value) -> String {
    let layer = place["layer"].as_u64().map(|layer| format!("layer {layer}"));
    let parts: Vec<String> = [text(&place["path"]), layer, text(&place["field"])].into_iter().flatten().collect();
    if parts.is_empty() { String::new() } else { format!(" ({})", parts.join(", ")) }
}

fn text(value: &Value) -> Option<String> {
    value.as_str().filter(|text| !text.is_empty()).map(str::to_owned)
}

fn list(value: &Value, between: &str) -> String {
    value.as_array().into_iter().flatten().filter_map(Value::as_str).collect::<Vec<_>>().join(between)
}
