//! Windows programs and libraries (PE): what kind of file it is, for which processor, and its fixed version.

use object::LittleEndian as LE;
use object::pe::{
    IMAGE_NT_OPTIONAL_HDR32_MAGIC, IMAGE_NT_OPTIONAL_HDR64_MAGIC, ImageNtHeaders32, ImageNtHeaders64, RT_VERSION,
};
use object::read::pe::{ImageNtHeaders, PeFile, ResourceDirectoryEntryData, optional_header_magic};
use serde::{Deserialize, Serialize};

use super::path::parent_and_name;

/// The largest file whose version is looked for, in bytes. ntdll.dll has 2 MB.
const LARGEST_VERSIONED: u64 = 8 << 20;
/// Files whose versions facts are about.
const VERSIONED: [&str; 8] =
    ["ntdll.dll", "kernel32.dll", "icu.dll", "icuuc.dll", "vcruntime140.dll", "clr.dll", "pwsh.exe", "powershell.exe"];
/// The endings of files that Windows starts by their names.
const STARTED: [&str; 4] = ["exe", "com", "bat", "cmd"];
/// How many bytes of a text are looked at.
const TEXT: usize = 512;
/// Flags of the header (PE format, "Characteristics").
const EXECUTABLE_IMAGE: u16 = 0x0002;
const DLL: u16 = 0x2000;
/// The smallest alignment of a section in a file, in bytes: up to there a file may end early (PE format, "FileAlignment").
const ALIGNMENT: u64 = 512;

/// What is kept of a PE file, and of any other file that goes by the name of a program.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeSummary {
    /// What the file is by its first bytes. The other fields are only set for [`PeForm::Image`].
    pub form: PeForm,
    /// The architecture in Go's words; `None` for one that imglint has no word for.
    pub architecture: Option<String>,
    /// The architecture as the header has it (PE format, "Machine Types").
    pub machine: u16,
    /// Whether the header says that it is a library.
    pub is_library: bool,
    /// Whether the header says that it has been linked and can be run.
    pub is_executable: bool,
    /// What it needs to run (PE format, "Windows Subsystem"): 2 is a window, 3 a console.
    pub subsystem: u16,
    /// `VS_FIXEDFILEINFO` FileVersion, most significant first. The text next to it may say anything.
    pub version: Option<[u16; 4]>,
    /// Why the version could not be read: the end of a sentence.
    pub trouble: Option<String>,
}

/// What a file is by its first bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum PeForm {
    /// A PE image that is as long as its headers say.
    #[default]
    Image,
    /// A PE image that ends before its headers or sections do.
    Cut,
    /// A PE image whose headers lie behind the bytes that are looked at.
    Far,
    /// A program for DOS or 16-bit Windows.
    Dos,
    /// Nothing.
    Empty,
    /// A program for Linux and other systems.
    Elf,
    /// A script that begins with `#!`.
    Script,
    /// Text.
    Text,
    /// Anything else.
    Other,
}

/// Whether the first bytes of a file are looked at because facts ask what it is.
pub(super) fn is_looked_at(path: &str) -> bool {
    let ending = path.rsplit('.').next().unwrap_or_default();
    !is_utility(path) && (STARTED.iter().any(|known| ending.eq_ignore_ascii_case(known)) || is_versioned(path))
}

/// Up to which size a file is kept whole for its version, in bytes; 0 for others.
pub(super) fn largest_versioned(path: &str) -> u64 {
    if !is_utility(path) && is_versioned(path) { LARGEST_VERSIONED } else { 0 }
}

fn is_versioned(path: &str) -> bool {
    let name = parent_and_name(path).1;
    VERSIONED.iter().any(|known| name.eq_ignore_ascii_case(known))
}

/// Whether a file belongs to the utility machine of Hyper-V, which no container sees.
fn is_utility(path: &str) -> bool {
    path.get(..10).is_some_and(|start| start.eq_ignore_ascii_case("utilityvm/"))
}

/// What the first bytes of a file of `size` bytes tell.
pub(super) fn summarise_head(head: &[u8], size: u64) -> PeSummary {
    let is_whole = head.len() as u64 >= size;
    read_head(head, size).unwrap_or_else(|form| PeSummary {
        // What the file does not have is missing; what was not looked at may be there.
        form: if form == PeForm::Cut && !is_whole { PeForm::Far } else { form },
        ..PeSummary::default()
    })
}

/// The headers (PE format, "COFF File Header", "Optional Header", "Section Table"); or what the file is instead.
fn read_head(head: &[u8], size: u64) -> Result<PeSummary, PeForm> {
    if !head.starts_with(b"MZ") {
        return Err(other_form(head));
    }
    let half = |at: usize| Some(u16::from_le_bytes(head.get(at..at.checked_add(2)?)?.try_into().ok()?));
    let word = |at: usize| Some(u32::from_le_bytes(head.get(at..at.checked_add(4)?)?.try_into().ok()?));
    let at = word(0x3c).ok_or(PeForm::Cut)? as usize;
    match head.get(at..at.saturating_add(4)) {
        Some(b"PE\0\0") => {}
        Some(_) => return Err(PeForm::Dos),
        None => return Err(PeForm::Cut),
    }
    let coff = |offset: usize| half(at + offset).ok_or(PeForm::Cut);
    let (machine, sections, optional_size, flags) = (coff(4)?, coff(6)?, coff(20)?, coff(22)?);
    let magic = coff(24)?;
    if ![IMAGE_NT_OPTIONAL_HDR32_MAGIC, IMAGE_NT_OPTIONAL_HDR64_MAGIC].contains(&magic) {
        return Err(PeForm::Other);
    }
    let subsystem = coff(24 + 68)?;
    let mut ends = vec![u64::from(word(at + 24 + 60).ok_or(PeForm::Cut)?)];
    let table = at + 24 + usize::from(optional_size);
    for section in 0..usize::from(sections) {
        let field = |offset: usize| word(table + 40 * section + offset).map(u64::from).ok_or(PeForm::Cut);
        let (bytes, start) = (field(16)?, field(20)?);
        ends.push(if bytes == 0 || start == 0 { 0 } else { start + bytes });
    }
    if ends.iter().any(|end| *end > size.next_multiple_of(ALIGNMENT)) {
        return Err(PeForm::Cut);
    }
    let architecture = match machine {
        0x8664 => Some("amd64"),
        0x014c => Some("386"),
        // 0xa641 is ARM64EC.
        0xaa64 | 0xa641 => Some("arm64"),
        0x01c0 | 0x01c2 | 0x01c4 => Some("arm"),
        _ => None,
    };
    Ok(PeSummary {
        architecture: architecture.map(str::to_owned),
        machine,
        is_library: flags & DLL != 0,
        is_executable: flags & EXECUTABLE_IMAGE != 0,
        subsystem,
        ..PeSummary::default()
    })
}

/// What a file is that does not begin as programs for DOS and Windows do.
fn other_form(head: &[u8]) -> PeForm {
    let is_text = |byte: &u8| !byte.is_ascii_control() || matches!(byte, b'\t' | b'\n' | b'\r' | 0x0c | 0x1a | 0x1b);
    match head {
        [] => PeForm::Empty,
        [0x7f, b'E', b'L', b'F', ..] => PeForm::Elf,
        [b'#', b'!', ..] => PeForm::Script,
        // The marks of UTF-16.
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => PeForm::Text,
        _ if head.iter().take(TEXT).all(is_text) => PeForm::Text,
        _ => PeForm::Other,
    }
}

/// What a whole file tells.
pub(super) fn summarise(bytes: &[u8]) -> PeSummary {
    let head = summarise_head(bytes, bytes.len() as u64);
    if !bytes.starts_with(b"MZ") {
        return head;
    }
    match version(bytes) {
        Ok(version) => PeSummary { version: Some(version), ..head },
        Err(why) => PeSummary { trouble: Some(why), ..head },
    }
}

fn version(bytes: &[u8]) -> Result<[u16; 4], String> {
    let info = match optional_header_magic(bytes) {
        Ok(IMAGE_NT_OPTIONAL_HDR32_MAGIC) => version_resource::<ImageNtHeaders32>(bytes),
        Ok(_) => version_resource::<ImageNtHeaders64>(bytes),
        Err(error) => Err(error),
    };
    let info = info.map_err(|error| format!("it has no version that can be read: {error}"))?;
    let info = info.ok_or("it has no version among its resources")?;
    fixed_version(info).ok_or_else(|| "its version has no fixed part".to_owned())
}

/// The first resource of type `RT_VERSION`, of any name and language (PE format, "The .rsrc Section").
fn version_resource<Pe: ImageNtHeaders>(bytes: &[u8]) -> object::Result<Option<&[u8]>> {
    let file = PeFile::<Pe>::parse(bytes)?;
    let sections = file.section_table();
    let Some(directory) = file.data_directories().resource_directory(bytes, &sections)? else { return Ok(None) };
    let is_version = |id: Option<u16>| id == Some(RT_VERSION);
    let mut entry = directory.root()?.entries.iter().find(|entry| is_version(entry.name_or_id().id()));
    // Folders are three deep: type, name, language.
    for _ in 0..3 {
        match entry.map(|entry| entry.data(directory)).transpose()? {
            None => return Ok(None),
            Some(ResourceDirectoryEntryData::Table(table)) => entry = table.entries.first(),
            Some(ResourceDirectoryEntryData::Data(place)) => {
                let data = sections.pe_data_at(bytes, place.offset_to_data.get(LE));
                return Ok(data.map(|data| &data[..data.len().min(place.size.get(LE) as usize)]));
            }
        }
    }
    Ok(None)
}

/// FileVersion of `VS_FIXEDFILEINFO`, which stands behind the name of `VS_VERSIONINFO`, aligned to four bytes.
fn fixed_version(info: &[u8]) -> Option<[u16; 4]> {
    const FIXED: usize = 40;
    let half = |at: usize| Some(u16::from_le_bytes(info.get(at..at + 2)?.try_into().ok()?));
    let signature = [half(FIXED)?, half(FIXED + 2)?];
    // 0xFEEF04BD.
    let is_fixed = half(2)? >= 52 && signature == [0x04bd, 0xfeef];
    is_fixed.then_some([half(FIXED + 10)?, half(FIXED + 8)?, half(FIXED + 14)?, half(FIXED + 12)?])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_head_tells_the_processor_and_the_kind_of_program() {
        let file = library();
        let head = |change: &dyn Fn(&mut Vec<u8>)| {
            let mut file = file.clone();
            change(&mut file);
            summarise_head(&file[..0x200], file.len() as u64)
        };
        let as_made = head(&|_| {});
        assert_eq!((as_made.form, as_made.architecture.as_deref()), (PeForm::Image, Some("amd64")));
        assert_eq!((as_made.is_library, as_made.is_executable, as_made.subsystem), (true, true, 3));
        let program = head(&|file| file[0x56..0x58].copy_from_slice(&0x22_u16.to_le_bytes()));
        assert!(!program.is_library && program.is_executable);
        let of_machine = |machine: u16| head(&move |file| file[0x44..0x46].copy_from_slice(&machine.to_le_bytes()));
        assert_eq!(of_machine(0xaa64).architecture.as_deref(), Some("arm64"));
        assert_eq!((of_machine(0x0200).architecture, of_machine(0x0200).machine), (None, 0x0200));
    }

    #[test]
    fn a_file_that_ends_too_early_is_told_from_one_that_was_not_read_further() {
        let file = library();
        let form = |length: usize, size: usize| summarise_head(&file[..length], size as u64).form;
        for cut in [2, 0x3f, 0x41, 0x45, 0x60, 0x9d, 0x15f, 0x200] {
            assert_eq!(form(cut, cut), PeForm::Cut, "{cut:#x}");
        }
        assert_eq!((form(0x41, 0x400), form(0x200, 0x400)), (PeForm::Far, PeForm::Image));
        assert_eq!(form(0x201, 0x201), PeForm::Image, "within the last block");
    }

    #[test]
    fn other_files_are_told_apart() {
        let form = |bytes: &[u8]| summarise_head(bytes, bytes.len() as u64).form;
        let mut dos = vec![0_u8; 0x100];
        dos[..2].copy_from_slice(b"MZ");
        for (bytes, expected) in [
            (&b""[..], PeForm::Empty),
            (b"\x7fELF\x02", PeForm::Elf),
            (b"#!/bin/sh", PeForm::Script),
            (b"@echo off\r\n", PeForm::Text),
            (b"caf\xe9", PeForm::Text),
            (b"\xff\xfea\0", PeForm::Text),
            (b"PK\x03\x04", PeForm::Other),
            (&dos, PeForm::Dos),
        ] {
            assert_eq!(form(bytes), expected, "{bytes:?}");
        }
    }

    /// A file with one section, in which a version stands below three folders.
    fn library() -> Vec<u8> {
        let mut file = vec![0; 0x400];
        let mut put = |at: usize, bytes: &[u8]| file[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, b"MZ");
        put(0x3c, &[0x40]);
        put(0x40, b"PE\0\0\x64\x86\x01\0");
        put(0x54, &[0xf0, 0, 0x22, 0x20, 0x0b, 0x02]);
        put(0x9c, &[3]);
        // Alignments, sizes of image and headers, the number of directories, and the third of them.
        for (at, word) in [(0x78, 0x1000_u32), (0x7c, 0x200), (0x90, 0x2000), (0x94, 0x200), (0xc4, 16)] {
            put(at, &word.to_le_bytes());
        }
        for (at, word) in [(0xd8, 0x1000_u32), (0xdc, 0x200)] {
            put(at, &word.to_le_bytes());
        }
        put(0x148, b".rsrc");
        for (at, word) in [(0x150, 0x200_u32), (0x154, 0x1000), (0x158, 0x200), (0x15c, 0x200)] {
            put(at, &word.to_le_bytes());
        }
        for (number, (id, next)) in [(16_u32, 0x8000_0018_u32), (1, 0x8000_0030), (1033, 0x48)].into_iter().enumerate()
        {
            let at = 0x200 + number * 0x18;
            put(at + 14, &[1]);
            put(at + 16, &id.to_le_bytes());
            put(at + 20, &next.to_le_bytes());
        }
        put(0x248, &0x1058_u32.to_le_bytes());
        put(0x24c, &92_u32.to_le_bytes());
        put(0x258, &[92, 0, 52]);
        let key: Vec<u8> = "VS_VERSION_INFO".encode_utf16().flat_map(u16::to_le_bytes).collect();
        put(0x25e, &key);
        for (at, word) in [(0x280, 0xFEEF_04BD_u32), (0x288, 10 << 16), (0x28c, (20348 << 16) | 2227)] {
            put(at, &word.to_le_bytes());
        }
        file
    }

    #[test]
    fn the_fixed_part_of_the_version_counts() {
        let summary = summarise(&library());
        assert_eq!(summary.version, Some([10, 0, 20348, 2227]), "{:?}", summary.trouble);
    }

    proptest::proptest! {
        /// Whatever a file holds, looking for its version ends and does not panic.
        #[test]
        fn a_damaged_file_is_read_in_bounds(
            damage in proptest::collection::vec((0..0x400_usize, proptest::prelude::any::<u32>(), 0..4_u8), 1..20),
            length in 0..0x500_usize,
        ) {
            let mut bytes = library();
            for (at, value, how) in damage {
                let at = at.min(bytes.len() - 4);
                let value = match how {
                    0 => value % 0x2000,
                    1 => 0x8000_0000 | (value % 0x100),
                    _ => value,
                };
                bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
            }
            bytes.truncate(length);
            drop(summarise(&bytes));
        }
    }

    #[test]
    fn versions_are_looked_for_in_few_files_and_not_in_the_utility_machine() {
        assert!(is_looked_at("Files/tools/A.EXE") && is_looked_at("tools/b.cmd") && is_looked_at("x/ntdll.dll"));
        assert!(!is_looked_at("UtilityVM/Files/a.exe") && !is_looked_at("Files/exe") && !is_looked_at("Files/a.dll"));
        assert!(largest_versioned("Files/Windows/System32/NTDLL.dll") > 0);
        assert_eq!(largest_versioned("UtilityVM/Files/Windows/System32/ntdll.dll"), 0);
        assert_eq!(largest_versioned("Files/app.dll"), 0);
    }
}
