//! Tells whether the layers hold a Windows, which kind of base it is, and which layers belong to it.

use super::drive::{Drive, Look};
use super::parts::Part;
use super::programs::Judged;
use super::registry::{Hive, Registry};
use super::version::BASE_ENTRIES;
use crate::facts::Fact;
use crate::image::Image;
use crate::rootfs::windows::Sought;
use crate::tables::windows::{WindowsKind, windows};
use crate::verdict::Place;

/// Files that Nano Server does not have and all larger bases do.
const LARGER: [&str; 3] = [
    r"C:\Windows\System32\WindowsPowerShell\v1.0\powershell.exe",
    r"C:\Windows\Microsoft.NET\Framework64",
    r"C:\Windows\System32\wbem",
];
/// Libraries that every process of Windows is made of.
pub(super) const KERNEL: [&str; 2] = [r"C:\Windows\System32\ntdll.dll", r"C:\Windows\System32\kernel32.dll"];
/// The `EditionID`s of Nano Server (Microsoft's New-ContainerHost.ps1).
const NANO_EDITIONS: [&str; 4] = ["ServerStandardNano", "ServerDataCenterNano", "NanoServer", "ServerTuva"];

/// A kind of base, and how it is known.
pub(super) type Known = (WindowsKind, String);

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

/// The kind that the lowest layers are by their sizes and marks, whatever their content says.
pub(super) fn by_marks(image: &Image, base_layers: usize) -> Option<Known> {
    by_size(image, base_layers).or_else(|| by_url(image, base_layers))
}

/// The kind of base. `drive` does not know it yet; `by_marks` is what [`by_marks`] says.
pub(super) fn kind(
    drive: &Drive<'_>,
    registry: &Registry<'_>,
    by_marks: Option<Known>,
    is_version_known: bool,
) -> (Fact<WindowsKind>, Option<String>) {
    let (kernel, files) = (kernel(drive), drive.files);
    let known = match &kernel {
        // What is all read and has no kernel is no Windows, whatever its registry says.
        Kernel::Missing(why) if files.is_whole() => no_windows(drive, registry, why),
        _ => by_registry(registry).or_else(|| by_files(drive, &kernel)).or(by_marks),
    };
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

/// Whether the image has a Windows of its own: the libraries that every process needs.
pub(super) fn system(drive: &Drive<'_>) -> Fact<Part> {
    match kernel(drive) {
        Kernel::There(place, known_by) => Fact::Known(Part { present: true, version: None, known_by, place }),
        Kernel::Missing(why) => {
            let known_by = format!("the layers hold no Windows: {why}");
            let place = Place::path(r"C:\Windows\System32");
            Fact::Known(Part { present: false, version: None, known_by, place })
        }
        Kernel::Open(why) => Fact::unknown(why),
    }
}

/// What became of looking for [`KERNEL`].
enum Kernel {
    There(Place, String),
    Missing(String),
    Open(String),
}

fn kernel(drive: &Drive<'_>) -> Kernel {
    let (mut there, mut open) = (None, None);
    for path in KERNEL {
        let (place, known_by) = match drive.find(path) {
            Look::Found(node) => match drive.library(&node) {
                Judged::Good(what) => (drive.files.place(&node), what),
                // One that is there and broken stops every process, whatever the other one is.
                Judged::Bad(what) => return Kernel::Missing(what),
                Judged::Open(why) => {
                    open.get_or_insert(why);
                    continue;
                }
            },
            Look::OfBase(place) => (place, format!("{} has it", drive.claimed.map_or("the base", WindowsKind::title))),
            Look::Absent => continue,
            Look::Open(why) => {
                open.get_or_insert(why);
                continue;
            }
        };
        there.get_or_insert((place, known_by));
    }
    match (there, open) {
        (Some((place, known_by)), _) => Kernel::There(place, known_by),
        (None, Some(why)) => Kernel::Open(why),
        (None, None) => Kernel::Missing(format!("neither {} nor kernel32.dll is there", KERNEL[0])),
    }
}

/// Microsoft's base for HostProcess containers has hives, and nothing of Windows besides.
fn no_windows(drive: &Drive<'_>, registry: &Registry<'_>, why: &str) -> Option<Known> {
    let known_by = || format!("the layers hold registry hives, but no Windows: {why}");
    let has_programs = !matches!(drive.find(r"C:\Windows\System32\cmd.exe"), Look::Absent);
    (registry.has_base() && !has_programs).then(|| (WindowsKind::HostProcess, known_by()))
}

/// By the base's own hive. What a layer above changes there says nothing about the base.
fn by_registry(registry: &Registry<'_>) -> Option<Known> {
    let key = r"Microsoft\Windows NT\CurrentVersion";
    let text = |name: &str| registry.text_of_base(Hive::Software, key, name);
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

fn by_files(drive: &Drive<'_>, kernel: &Kernel) -> Option<Known> {
    // An image that was squashed has its base in a layer of another name.
    let base_layers = match kernel {
        Kernel::There(place, _) => drive.base_layers.max(place.layer.map_or(0, |layer| layer + 1)),
        Kernel::Missing(_) | Kernel::Open(_) => drive.base_layers,
    };
    let in_base = |path: &&str| match drive.files.find(path) {
        // What a layer above brings says nothing about the base.
        Sought::Found(node) if node.layer >= base_layers => false,
        Sought::Found(node) if path.ends_with(".exe") => matches!(drive.program(&node, path), Judged::Good(_)),
        Sought::Found(_) => true,
        _ => false,
    };
    if let Some(path) = LARGER.iter().copied().find(|path| in_base(path)) {
        return Some((
            WindowsKind::ServercoreOrLarger,
            format!("the base has {path}, which Nano Server does not have"),
        ));
    }
    match kernel {
        Kernel::There(place, _) if drive.files.is_whole() => {
            let path = place.path.as_deref().unwrap_or(KERNEL[0]);
            Some((WindowsKind::Nanoserver, format!("the base has {path}, but not {}", LARGER[0])))
        }
        _ => None,
    }
}

fn by_size(image: &Image, base_layers: usize) -> Option<Known> {
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

/// By the address that Microsoft's own registry has for the layer, if the base is no smaller than such a base is.
/// Microsoft has mixed up the repositories once.
fn by_url(image: &Image, base_layers: usize) -> Option<Known> {
    let url = image.layers.first()?.urls.first()?;
    let kinds = [
        ("nanoserver/", WindowsKind::Nanoserver),
        ("servercore/", WindowsKind::Servercore),
        ("server/", WindowsKind::Server),
        ("blobs/", WindowsKind::Windows),
    ];
    let repository = url.strip_prefix("https://mcr.microsoft.com/v2/windows/")?;
    let (_, kind) = kinds.into_iter().find(|(start, _)| repository.starts_with(start))?;
    let bytes = image.layers[..base_layers].iter().fold(0_u64, |sum, layer| sum.saturating_add(layer.bytes));
    let is_large = windows().ok()?.base(kind).is_some_and(|base| bytes >= base.least_bytes);
    is_large.then(|| (kind, "the base layer's url names the repository".to_owned()))
}
