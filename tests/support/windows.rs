//! Makes Windows images in code: registry hives and deltas, programs with a version, base layers of each kind.

use regf::{DataType, HiveBuilder};
use serde_json::json;

use super::image::{Tar, TestImage};

/// The key of the machine's environment, below the SYSTEM hive's root.
pub const ENVIRONMENT: &str = r"ControlSet001\Control\Session Manager\Environment";
/// `PATH` of Server Core, as its hive has it.
pub const CORE_PATH: &str = r"%SystemRoot%\system32;%SystemRoot%;%SystemRoot%\System32\Wbem;%SYSTEMROOT%\System32\WindowsPowerShell\v1.0\;%SYSTEMROOT%\System32\OpenSSH\";
/// `PATH` of Nano Server.
pub const NANO_PATH: &str = r"%SystemRoot%\system32;%SystemRoot%;";

/// A registry value.
pub enum Data<'a> {
    Text(&'a str),
    Number(u32),
}

/// A hive with these keys and their values.
pub fn hive(keys: &[(&str, &[(&str, Data<'_>)])]) -> Vec<u8> {
    let mut builder = HiveBuilder::new_with_name("ROOT").unwrap();
    for (path, values) in keys {
        let key = builder.create_key(path).unwrap();
        for (name, data) in *values {
            match data {
                Data::Text(text) => {
                    let units: Vec<u8> = text.encode_utf16().chain([0]).flat_map(u16::to_le_bytes).collect();
                    builder.add_value(key, name, DataType::ExpandString, &units).unwrap();
                }
                Data::Number(number) => {
                    builder.add_value(key, name, DataType::Dword, &number.to_le_bytes()).unwrap();
                }
            }
        }
    }
    builder.build().unwrap()
}

/// A delta hive that sets the machine's `PATH`, as setx /M does.
pub fn setx(path: &str) -> Vec<u8> {
    hive(&[(ENVIRONMENT, &[("PATH", Data::Text(path))])])
}

/// The hive, its key of this name marked as one of a layer: 1 tombstone, 2 supersede-local, 3 supersede-tree.
pub fn layered(mut hive: Vec<u8>, key: &str, flags: u8) -> Vec<u8> {
    let name = find(&hive, key.as_bytes(), 76, b"nk");
    hive[name - 76 + 13] = flags;
    hive
}

/// The hive, its value of this name a tombstone.
pub fn value_tombstone(mut hive: Vec<u8>, value: &str) -> Vec<u8> {
    let record = find(&hive, value.as_bytes(), 20, b"vk") - 20;
    hive[record + 4..record + 8].fill(0);
    hive[record + 8..record + 12].fill(0xff);
    hive[record + 12..record + 16].fill(0);
    hive[record + 16] |= 2;
    hive
}

/// Where a name stands that is `offset` bytes into a record of this kind.
fn find(hive: &[u8], name: &[u8], offset: usize, kind: &[u8]) -> usize {
    let is_there = |at: &usize| hive[*at..].starts_with(name) && hive[at - offset..].starts_with(kind);
    (4096 + offset..hive.len() - name.len()).find(is_there).unwrap()
}

/// A program for amd64 with this fixed version, and a misleading text beside it.
pub fn program(version: [u16; 4]) -> Vec<u8> {
    program_for(0x8664, version)
}

/// As [`program`], for another processor (PE format, "Machine Types").
pub fn program_for(machine: u16, version: [u16; 4]) -> Vec<u8> {
    Pe::new(machine).version(version).bytes()
}

/// A library for amd64 with this fixed version.
pub fn library(version: [u16; 4]) -> Vec<u8> {
    Pe::new(0x8664).version(version).library().bytes()
}

/// A PE image in the making: a program for consoles, if nothing else is said.
#[derive(Clone, Copy)]
pub struct Pe {
    machine: u16,
    flags: u16,
    subsystem: u16,
    version: Option<[u16; 4]>,
}

impl Pe {
    /// For a processor (PE format, "Machine Types"), without a version.
    pub fn new(machine: u16) -> Self {
        Self { machine, flags: 0x22, subsystem: 3, version: None }
    }

    /// A library.
    pub fn library(self) -> Self {
        Self { flags: self.flags | 0x2000, ..self }
    }

    /// With these flags (PE format, "Characteristics").
    pub fn flags(self, flags: u16) -> Self {
        Self { flags, ..self }
    }

    /// For a subsystem (PE format, "Windows Subsystem").
    pub fn subsystem(self, subsystem: u16) -> Self {
        Self { subsystem, ..self }
    }

    /// With this fixed version.
    pub fn version(self, version: [u16; 4]) -> Self {
        Self { version: Some(version), ..self }
    }

    /// The file: headers in the first 512 bytes, then one section with the version.
    pub fn bytes(self) -> Vec<u8> {
        const SECTION: u32 = 0x1000;
        let resources = version_resource(SECTION, self.version.unwrap_or_default());
        let mut file = vec![0; 0x40];
        file[..2].copy_from_slice(b"MZ");
        file[0x3c] = 0x40;
        file.extend(b"PE\0\0");
        let halves =
            |file: &mut Vec<u8>, halves: &[u16]| file.extend(halves.iter().flat_map(|half| half.to_le_bytes()));
        let words = |file: &mut Vec<u8>, words: &[u32]| file.extend(words.iter().flat_map(|word| word.to_le_bytes()));
        halves(&mut file, &[self.machine, 1, 0, 0, 0, 0, 0, 0, 240, self.flags]);
        halves(&mut file, &[0x20b, 0]);
        words(&mut file, &[0, 0x200, 0, 0, SECTION, 0x8000_0000, 1, SECTION, 0x200]);
        halves(&mut file, &[10, 0, 10, 0, 10, 0]);
        words(&mut file, &[0, 0x2000, 0x200, 0]);
        halves(&mut file, &[self.subsystem, 0]);
        file.extend([0; 32]);
        words(&mut file, &[0, 16]);
        for directory in 0..16 {
            let place = if directory == 2 && self.version.is_some() { [SECTION, 0x200] } else { [0, 0] };
            words(&mut file, &place);
        }
        file.extend(b".rsrc\0\0\0");
        words(&mut file, &[0x200, SECTION, 0x200, 0x200, 0, 0, 0, 0x4000_0040]);
        file.resize(0x200, 0);
        file.extend(resources);
        file
    }
}

/// A section of resources with nothing but a version.
fn version_resource(section: u32, version: [u16; 4]) -> Vec<u8> {
    let mut info: Vec<u8> = Vec::new();
    let key: Vec<u8> = "VS_VERSION_INFO\0".encode_utf16().flat_map(u16::to_le_bytes).collect();
    info.extend([92_u16, 52, 0].iter().flat_map(|half| half.to_le_bytes()));
    info.extend(&key);
    info.resize(40, 0);
    let [major, minor, build, revision] = version.map(u32::from);
    let fixed = [0xFEEF_04BD, 0x0001_0000, major << 16 | minor, build << 16 | revision, major << 16 | minor, 0];
    info.extend(fixed.iter().flat_map(|word| word.to_le_bytes()));
    info.resize(92, 0);

    // Type 16, name 1, language 1033: three folders of one entry each, then the place of the data.
    let mut resources: Vec<u8> = Vec::new();
    for (id, next) in [(16_u32, 0x8000_0018_u32), (1, 0x8000_0030), (1033, 0x48)] {
        resources.extend([0; 12]);
        resources.extend([0, 0, 1, 0]);
        resources.extend(id.to_le_bytes());
        resources.extend(next.to_le_bytes());
    }
    let place = [section + 0x58, info.len() as u32, 0, 0];
    resources.extend(place.iter().flat_map(|word| word.to_le_bytes()));
    resources.extend(&info);
    resources.resize(0x200, 0);
    resources
}

/// A version by its parts.
pub fn parts(version: &str) -> [u16; 4] {
    let parts: Vec<u16> = version.split('.').map(|part| part.parse().unwrap()).collect();
    parts.try_into().unwrap()
}

/// The base layer of Nano Server.
pub fn nano_base(version: &str) -> Tar {
    base(version, NANO_PATH, "Nano Server", "ServerDatacenterNano")
}

/// The base layer of Server Core.
pub fn core_base(version: &str) -> Tar {
    base(version, CORE_PATH, "Server Core", "ServerDatacenterACor")
        .file("Files/Windows/System32/WindowsPowerShell/v1.0/powershell.exe", 0o644, &program(parts(version)))
        .file("Files/Windows/Microsoft.NET/Framework64/v4.0.30319/clr.dll", 0o644, &library([4, 8, 4000, 0]))
        .folder("Files/Windows/System32/Wbem")
        .file("Files/Windows/System32/icu.dll", 0o644, &library(parts(version)))
}

fn base(version: &str, path: &str, installation: &str, edition: &str) -> Tar {
    let [_, _, build, revision] = parts(version);
    let current = hive(&[
        (ENVIRONMENT, &[("Path", Data::Text(path)), ("PATHEXT", Data::Text(".COM;.EXE;.BAT;.CMD;.VBS;.MSC"))]),
        ("Select", &[("Current", Data::Number(1))]),
    ]);
    let software = hive(&[(
        r"Microsoft\Windows NT\CurrentVersion",
        &[
            ("CurrentBuild", Data::Text(&build.to_string())),
            ("UBR", Data::Number(revision.into())),
            ("InstallationType", Data::Text(installation)),
            ("EditionID", Data::Text(edition)),
            ("ProductName", Data::Text("Windows Server 2016 Datacenter")),
        ],
    )]);
    Tar::default()
        .folder("Files")
        .file("Files/License.txt", 0o644, b"licence")
        .pax(&[("MSWINDOWS.fileattr", "1040"), ("MSWINDOWS.mountpoint", "1")])
        .link("Files/Documents and Settings", r"C:\Users")
        .pax(&[("MSWINDOWS.fileattr", "16"), ("MSWINDOWS.rawsd", "AQAUgBQAAAAk")])
        .folder("Files/Windows/System32/config")
        .file("Files/Windows/System32/ntdll.dll", 0o644, &library(parts(version)))
        .file("Files/Windows/System32/cmd.exe", 0o644, &program(parts(version)))
        .file("Files/Windows/System32/config/SYSTEM", 0o644, &current)
        .file("Files/Windows/System32/config/SOFTWARE", 0o644, &software)
        .hard_link("UtilityVM/Files/License.txt", "Files/License.txt")
        .file("UtilityVM/Files/Windows/System32/ntdll.dll", 0o644, &library([10, 0, 14393, 1]))
        .file("UtilityVM/Files/Windows/System32/where.exe", 0o644, &program([10, 0, 14393, 1]))
}

/// An image on a base, as Microsoft makes them: history, os.version, the shell as Cmd.
pub fn image(version: &str, base: &Tar) -> TestImage {
    TestImage::new(json!({"Cmd": [r"c:\windows\system32\cmd.exe"]}))
        .field("os", json!("windows"))
        .field("os.version", json!(version))
        .layer(&format!("Apply image {version}"), base)
}

/// Nano Server.
pub fn nanoserver(version: &str) -> TestImage {
    image(version, &nano_base(version)).user("ContainerUser")
}

/// Server Core.
pub fn servercore(version: &str) -> TestImage {
    image(version, &core_base(version))
}
