//! Tells the kind of a Windows base image, and which layers belong to it.

use super::registry::{Hive, Registry};
use super::version::BASE_ENTRIES;
use crate::facts::Fact;
use crate::image::Image;
use crate::rootfs::windows::{Sought, WindowsFiles};
use crate::tables::windows::{WindowsKind, windows};

/// Files that Nano Server does not have and all larger bases do.
const LARGER: [&str; 3] = [
    r"C:\Windows\System32\WindowsPowerShell\v1.0\powershell.exe",
    r"C:\Windows\Microsoft.NET\Framework64",
    r"C:\Windows\System32\wbem",
];
/// Files that every Windows has.
const ANY: [&str; 3] =
    [r"C:\Windows\System32\ntdll.dll", r"C:\Windows\System32\kernel32.dll", r"C:\Windows\System32\cmd.exe"];
/// The `EditionID`s of Nano Server (Microsoft's New-ContainerHost.ps1).
const NANO_EDITIONS: [&str; 4] = ["ServerStandardNano", "ServerDataCenterNano", "NanoServer", "ServerTuva"];

/// How many of the lowest layers are the base's: by the history of Microsoft's images, or because they are foreign.
/// Without such a mark the lowest one alone.
#[must_use]
pub fn base_layers(image: &Image) -> usize {
    let is_base = |created_by: &Option<String>| {
        created_by.as_deref().is_some_and(|text| BASE_ENTRIES.iter().any(|start| text.starts_with(start)))
    };
    let last = image.layers.iter().rposition(|layer| layer.is_foreign() || is_base(&layer.created_by));
    last.map_or(1, |last| last + 1).min(image.layers.len())
}

/// Whether the lowest layers are known to be Microsoft's.
fn is_marked(image: &Image) -> bool {
    image.layers.first().is_some_and(|layer| {
        layer.is_foreign() || layer.created_by.as_deref().is_some_and(|text| text.starts_with(BASE_ENTRIES[0]))
    })
}

/// The kind, and how it is known.
pub(super) fn kind(
    image: &Image,
    base_layers: usize,
    files: &WindowsFiles,
    registry: &Registry<'_>,
    is_version_known: bool,
) -> (Fact<WindowsKind>, Option<String>) {
    let known = by_registry(registry)
        .or_else(|| by_files(files, registry, base_layers))
        .or_else(|| by_size(image, base_layers))
        .or_else(|| by_url(image));
    match known {
        Some((kind, by)) => (Fact::Known(kind), Some(by)),
        None if files.is_whole() && is_version_known => {
            (Fact::unknown("the layers hold none of the files that tell the kinds of Windows apart"), None)
        }
        None => {
            let why = files.open().unwrap_or_else(|| "the layers hold no files of Windows".to_owned());
            (Fact::unknown(format!("neither its files nor its size tell the kind of base: {why}")), None)
        }
    }
}

fn by_registry(registry: &Registry<'_>) -> Option<(WindowsKind, String)> {
    let key = r"Microsoft\Windows NT\CurrentVersion";
    let text = |name: &str| registry.text(Hive::Software, key, name).map(|(text, _)| text);
    let (edition, installation) = (text("EditionID").unwrap_or_default(), text("InstallationType").unwrap_or_default());
    let is_nano = NANO_EDITIONS.iter().any(|nano| edition.eq_ignore_ascii_case(nano));
    let kind = match installation.to_ascii_lowercase().as_str() {
        _ if is_nano => WindowsKind::Nanoserver,
        "nano server" => WindowsKind::Nanoserver,
        "server core" => WindowsKind::Servercore,
        "server" => WindowsKind::Server,
        "client" => WindowsKind::Windows,
        _ => return None,
    };
    Some((kind, format!("the registry says InstallationType {installation:?}, EditionID {edition:?}")))
}

fn by_files(files: &WindowsFiles, registry: &Registry<'_>, base_layers: usize) -> Option<(WindowsKind, String)> {
    let in_base = |path: &&str| match files.find(path) {
        // What a layer above brings says nothing about the base.
        Sought::Found(node) => node.layer < base_layers,
        _ => false,
    };
    if let Some(path) = LARGER.iter().copied().find(|path| in_base(path)) {
        return Some((
            WindowsKind::ServercoreOrLarger,
            format!("the base has {path}, which Nano Server does not have"),
        ));
    }
    if !files.is_whole() {
        return None;
    }
    if let Some(path) = ANY.iter().find(|path| files.has(path)) {
        return Some((WindowsKind::Nanoserver, format!("the base has {path}, but not {}", LARGER[0])));
    }
    // Microsoft's base for HostProcess containers has hives, and nothing of Windows besides.
    registry.has_base().then(|| {
        (WindowsKind::HostProcess, format!("the layers hold registry hives, but no Windows, not even {}", ANY[0]))
    })
}

fn by_size(image: &Image, base_layers: usize) -> Option<(WindowsKind, String)> {
    let base = &image.layers[..base_layers];
    let is_compressed =
        base.iter().all(|layer| layer.media_type.ends_with("gzip") || layer.media_type.ends_with("zstd"));
    if !is_marked(image) || !is_compressed {
        return None;
    }
    let bytes = base.iter().fold(0_u64, |sum, layer| sum.saturating_add(layer.bytes));
    let found = windows().ok()?.base_of_size(bytes)?;
    Some((found.kind, format!("the base's {base_layers} layers have {bytes} bytes: {}", found.title)))
}

/// The repository that a foreign layer is to be had from. Microsoft has mixed them up once.
fn by_url(image: &Image) -> Option<(WindowsKind, String)> {
    let url = image.layers.first()?.urls.first()?;
    let kinds = [
        ("/windows/nanoserver/", WindowsKind::Nanoserver),
        ("/windows/servercore/", WindowsKind::Servercore),
        ("/windows/server/", WindowsKind::Server),
        ("/windows/blobs/", WindowsKind::Windows),
    ];
    let (_, kind) = kinds.into_iter().find(|(part, _)| url.contains(part))?;
    Some((kind, "the base layer's url names the repository".to_owned()))
}
