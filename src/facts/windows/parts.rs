//! Parts of Windows that programs count on: shells, .NET Framework, Visual C++, ICU.

use serde::{Deserialize, Serialize};

use super::drive::{Drive, Look};
use super::path::{WindowsPath, in_path};
use super::programs::{CMD, Judged};
use super::registry::{Hive, Registry};
use crate::facts::Fact;
use crate::layer::hive::HiveData;
use crate::rootfs::windows::{Sought, WindowsNode, fold};
use crate::tables::windows::WindowsKind;
use crate::verdict::Place;

/// Windows PowerShell, where Calamari looks for it first.
pub(super) const POWERSHELL: &str = r"C:\Windows\System32\WindowsPowerShell\v1.0\powershell.exe";
/// Where PowerShell Core is installed, in a folder a version.
const PWSH: [&str; 2] = [r"C:\Program Files\PowerShell", r"C:\Program Files (x86)\PowerShell"];

/// Whether a part of Windows is there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Part {
    /// Whether it is.
    pub present: bool,
    /// Its version, if the files say it.
    pub version: Option<String>,
    /// How it is known, a sentence without its full stop.
    pub known_by: String,
    /// Where it is.
    pub place: Place,
}

/// A part that is a program or a library, by the ending of `path`. A file that is something else does not count.
fn part(drive: &Drive<'_>, look: Look<'_>, path: &str) -> Fact<Part> {
    let absent = |known_by: String, place: Place| Fact::Known(Part { present: false, version: None, known_by, place });
    match look {
        Look::Found(node) => {
            let judged = if fold(path).ends_with(".dll") { drive.library(&node) } else { drive.program(&node, path) };
            let place = drive.files.place(&node);
            match judged {
                Judged::Good(known_by) => Fact::Known(Part { present: true, version: version(&node), known_by, place }),
                Judged::Bad(known_by) => absent(known_by, place),
                Judged::Open(why) => Fact::unknown(why),
            }
        }
        Look::OfBase(place) => {
            let kind = drive.claimed.or(drive.kind).map_or("the base", WindowsKind::title);
            Fact::Known(Part { present: true, version: None, known_by: format!("{kind} has it"), place })
        }
        Look::Absent => absent(format!("{path} is not there"), Place::path(path)),
        Look::Open(why) => Fact::unknown(why),
    }
}

fn version(node: &WindowsNode<'_>) -> Option<String> {
    let [major, minor, build, revision] = node.detail?.pe.as_ref()?.version?;
    Some(format!("{major}.{minor}.{build}.{revision}"))
}

fn standard(drive: &Drive<'_>, path: &str) -> Fact<Part> {
    part(drive, drive.find(path), path)
}

pub(super) fn cmd(drive: &Drive<'_>) -> Fact<Part> {
    standard(drive, CMD)
}

/// In its own folder, else on `PATH`: as Calamari looks for it (`WindowsPowerShellBootstrapper`). A file in its own folder
/// is taken whatever it is.
pub(super) fn powershell(drive: &Drive<'_>, path: Option<&WindowsPath>) -> Fact<Part> {
    let in_folder = drive.find(POWERSHELL);
    if !matches!(in_folder, Look::Absent | Look::Open(_)) {
        return part(drive, in_folder, POWERSHELL);
    }
    match path.map_or(Look::Absent, |path| in_path(path, drive, "powershell.exe")) {
        Look::Absent => part(drive, in_folder, POWERSHELL),
        found => part(drive, found, "powershell.exe"),
    }
}

/// In the folder of the newest version, else on `PATH`: as Calamari looks for it (`WindowsPowerShellCoreBootstrapper`).
pub(super) fn pwsh(drive: &Drive<'_>, path: Option<&WindowsPath>) -> Fact<Part> {
    for folder in PWSH {
        let Sought::Found(node) = drive.files.find(folder) else { continue };
        let mut versions: Vec<String> =
            drive.files.names(&node).into_iter().filter(|(_, is_file)| !is_file).map(|(name, _)| name).collect();
        versions.sort_by_key(|name| {
            let major = name.split('-').next().and_then(|text| text.parse::<u32>().ok());
            std::cmp::Reverse((major, std::cmp::Reverse(name.clone())))
        });
        for version in versions {
            let file = format!(r"{folder}\{version}\pwsh.exe");
            if let found @ Look::Found(_) = drive.find(&file) {
                return part(drive, found, &file);
            }
        }
    }
    match path {
        Some(path) => part(drive, in_path(path, drive, "pwsh.exe"), "pwsh.exe"),
        None => match drive.files.open() {
            Some(why) => Fact::unknown(why),
            None => part(drive, Look::Absent, "pwsh.exe"),
        },
    }
}

pub(super) fn dotnet_framework(drive: &Drive<'_>, registry: &Registry<'_>) -> Fact<Part> {
    let found = standard(drive, r"C:\Windows\Microsoft.NET\Framework64\v4.0.30319\clr.dll");
    let key = r"Microsoft\NET Framework Setup\NDP\v4\Full";
    let version = registry.text(Hive::Software, key, "Version").map(|(text, _)| text.to_owned());
    let release = match registry.value(Hive::Software, key, "Release").found() {
        Some((HiveData::Number(release), _)) => Some(format!("release {release}")),
        _ => None,
    };
    match found {
        Fact::Known(part) if part.present => {
            Fact::Known(Part { version: version.or(release).or_else(|| part.version.clone()), ..part })
        }
        other => other,
    }
}

pub(super) fn vc_runtime(drive: &Drive<'_>) -> Fact<Part> {
    // In neither Nano Server nor Server Core (docker/for-win#2926), so a base that was not read does not have it.
    let path = r"C:\Windows\System32\vcruntime140.dll";
    part(drive, drive.find(path), path)
}

/// ICU of the system: icu.dll since 1903, before that icuuc.dll, which .NET takes from 7 on; Nano Server has none.
pub(super) fn icu(drive: &Drive<'_>, build: Option<u32>) -> Fact<Part> {
    for path in [r"C:\Windows\System32\icu.dll", r"C:\Windows\System32\icuuc.dll"] {
        if let Sought::Found(node) = drive.files.find(path)
            && let known @ Fact::Known(Part { present: true, .. }) = part(drive, Look::Found(node), path)
        {
            return known;
        }
    }
    let nls = |known_by: &str| Fact::Known(Part { present: false, known_by: known_by.to_owned(), ..Part::default() });
    match (drive.kind, build) {
        _ if drive.files.is_whole() && drive.kind.is_some() => {
            nls(r"C:\Windows\System32 has neither icu.dll nor icuuc.dll: .NET uses NLS")
        }
        (Some(WindowsKind::Nanoserver), _) => nls("Nano Server has no ICU: .NET uses NLS"),
        (Some(kind), Some(build)) if kind != WindowsKind::HostProcess => {
            let known_by = match build {
                ..17763 => return nls("Windows before 1809 has no ICU: .NET uses NLS"),
                17763 => "Windows Server 2019 has icuuc.dll, which .NET uses from 7 on",
                _ => "Windows since 1903 has icu.dll",
            };
            Fact::Known(Part { present: true, known_by: known_by.to_owned(), ..Part::default() })
        }
        _ => Fact::unknown(drive.files.open().unwrap_or_else(|| "the layers hold no Windows".to_owned())),
    }
}
