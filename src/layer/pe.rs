//! Windows programs and libraries (PE): for which processor they are, and the version that their fixed information says.

use object::LittleEndian as LE;
use object::pe::{ImageNtHeaders32, ImageNtHeaders64, RT_VERSION};
use object::read::pe::{ImageNtHeaders, PeFile, ResourceDirectoryEntryData, optional_header_magic};
use serde::{Deserialize, Serialize};

use super::path::parent_and_name;

/// The largest file whose version is looked for, in bytes. ntdll.dll has 2 MB.
const LARGEST_VERSIONED: u64 = 8 << 20;
/// Files whose versions facts are about.
const VERSIONED: [&str; 7] =
    ["ntdll.dll", "kernel32.dll", "icu.dll", "vcruntime140.dll", "clr.dll", "pwsh.exe", "powershell.exe"];

/// What is kept of a PE file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeSummary {
    /// The architecture in Go's words; nothing for one that imglint has no word for.
    pub architecture: Option<String>,
    /// `VS_FIXEDFILEINFO` FileVersion, most significant first. The text beside it may say anything.
    pub version: Option<[u16; 4]>,
    /// Why the version could not be read: the end of a sentence.
    pub trouble: Option<String>,
}

/// Up to which size a file is kept whole for its version, in bytes; 0 for others.
pub(super) fn largest_versioned(path: &str) -> u64 {
    let (folder, name) = parent_and_name(path);
    let is_utility = folder.get(..10).is_some_and(|start| start.eq_ignore_ascii_case("utilityvm/"));
    if !is_utility && VERSIONED.iter().any(|known| name.eq_ignore_ascii_case(known)) { LARGEST_VERSIONED } else { 0 }
}

/// What the first bytes tell (PE format, "COFF File Header"); nothing if they are those of no PE file.
pub(super) fn summarise_head(head: &[u8]) -> Option<PeSummary> {
    if !head.starts_with(b"MZ") {
        return None;
    }
    let at = head.get(0x3c..0x40)?.try_into().ok().map(u32::from_le_bytes)? as usize;
    let header = head.get(at..)?.get(..6)?;
    let machine = header.strip_prefix(b"PE\0\0")?;
    let architecture = match u16::from_le_bytes([machine[0], machine[1]]) {
        0x8664 => Some("amd64"),
        0x014c => Some("386"),
        0xaa64 => Some("arm64"),
        0x01c4 => Some("arm"),
        _ => None,
    };
    Some(PeSummary { architecture: architecture.map(str::to_owned), ..PeSummary::default() })
}

/// What a whole file tells; nothing if it is no PE file.
pub(super) fn summarise(bytes: &[u8]) -> Option<PeSummary> {
    let head = summarise_head(bytes)?;
    Some(match version(bytes) {
        Ok(version) => PeSummary { version: Some(version), ..head },
        Err(why) => PeSummary { trouble: Some(why), ..head },
    })
}

fn version(bytes: &[u8]) -> Result<[u16; 4], String> {
    let info = match optional_header_magic(bytes) {
        Ok(object::pe::IMAGE_NT_OPTIONAL_HDR32_MAGIC) => version_resource::<ImageNtHeaders32>(bytes),
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
    fn the_head_tells_the_processor() {
        let mut head = vec![0; 0x80];
        head[..2].copy_from_slice(b"MZ");
        head[0x3c] = 0x40;
        head[0x40..0x46].copy_from_slice(b"PE\0\0\x64\x86");
        assert_eq!(summarise_head(&head).unwrap().architecture.as_deref(), Some("amd64"));
        assert_eq!(summarise_head(b"MZ"), None);
        let whole = summarise(&head).unwrap();
        assert!(whole.version.is_none() && whole.trouble.is_some());
    }

    /// A file with one section, in which a version stands below three folders.
    fn library() -> Vec<u8> {
        let mut file = vec![0; 0x400];
        let mut put = |at: usize, bytes: &[u8]| file[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, b"MZ");
        put(0x3c, &[0x40]);
        put(0x40, b"PE\0\0\x64\x86\x01\0");
        put(0x54, &[0xf0, 0, 0x22, 0x20, 0x0b, 0x02]);
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
        let summary = summarise(&library()).unwrap();
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
            bytes.truncate(length.max(2));
            drop(summarise(&bytes));
        }
    }

    #[test]
    fn versions_are_looked_for_in_few_files_and_not_in_the_utility_machine() {
        assert!(largest_versioned("Files/Windows/System32/NTDLL.dll") > 0);
        assert_eq!(largest_versioned("UtilityVM/Files/Windows/System32/ntdll.dll"), 0);
        assert_eq!(largest_versioned("Files/app.dll"), 0);
    }
}
