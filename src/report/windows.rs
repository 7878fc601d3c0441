//! What a Windows image is based on and which hosts run it, in a few rows.

use super::ImageResult;
use crate::facts::windows::{HostFact, Windows};

/// The rows, each a label and a text; none for images of other systems.
pub(super) fn rows(result: &ImageResult) -> Vec<(&'static str, String)> {
    let facts = result.facts.get("windows").filter(|facts| facts.get("stated").is_some());
    let Some(windows) = facts.and_then(|facts| serde_json::from_value::<Windows>(facts.clone()).ok()) else {
        return Vec::new();
    };
    let version = windows.version.as_deref().unwrap_or("version unknown");
    let name = windows.name.as_ref().map_or_else(|| version.to_owned(), |name| format!("{name} ({version})"));
    let kind = windows.kind.known().map_or("kind of base unknown", |kind| kind.title());
    let mut rows = vec![("based on", format!("{name}, {kind}"))];
    if !windows.hosts.is_empty() {
        rows.push(("hosts", windows.hosts.iter().map(of_host).collect::<Vec<_>>().join("; ")));
    }
    let unread: Vec<String> =
        windows.unread_layers.iter().map(|layer| format!("layer {}: {}", layer.layer, layer.why)).collect();
    if !unread.is_empty() {
        rows.push(("not read", unread.join("; ")));
    }
    rows
}

fn of_host(host: &HostFact) -> String {
    let isolation = match (host.process, host.hyperv) {
        _ if host.takes_other() => "takes another entry of the index",
        (Some(true), _) => "process and Hyper-V isolation",
        (None, _) => "Hyper-V isolation, by process if it has the same revision",
        (Some(false), true) => "Hyper-V isolation only",
        (Some(false), false) => "does not run it",
    };
    let takes = |engine: &str, taken: &Option<String>, is_this: bool| match taken.as_deref() {
        Some(_) if is_this => format!("{engine} takes this one"),
        Some("") => format!("{engine} takes an entry without version"),
        Some(version) => format!("{engine} takes {version}"),
        None => format!("{engine} takes none"),
    };
    let of_index = if host.is_chosen_from_several {
        let docker = takes("Docker", &host.docker_takes, host.docker_takes_this);
        let containerd = takes("containerd", &host.containerd_takes, host.containerd_takes_this);
        format!(" ({docker} of the index, {containerd})")
    } else {
        String::new()
    };
    format!("{}: {isolation}{of_index}", host.host)
}
