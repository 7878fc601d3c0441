//! What the kernel makes of an ELF file before any loader runs: refused, killed at its start, or started.

use object::elf;
use object::read::elf::{FileHeader, ProgramHeader};
use object::{Endianness, ReadRef};
use serde::{Deserialize, Serialize};

use super::capture::Capture;

/// Pages are at least so large, in bytes; behind the last page of a file nothing can be read.
const PAGE: u64 = 4096;
/// The length of the shortest header, that of a 32-bit file, in bytes.
const SHORTEST: usize = 52;
/// The flag of DT_FLAGS_1 that is called DF_1_PIE.
const PIE: u64 = 0x0800_0000;
/// The most entries of a dynamic section that are looked through.
const MOST_ENTRIES: u64 = 1024;

/// Why the kernel does not start an ELF file as a program (Linux, fs/binfmt_elf.c: `load_elf_binary`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum NotStarted {
    /// It is refused, or killed before it does anything: why.
    Certain(String),
    /// It may be: why that is not known.
    Perhaps(String),
    /// It names no interpreter and does not say that it is a program, as shared libraries and loaders do.
    Library,
}

/// Looks at the headers of a captured ELF file; `None` if the kernel starts it.
#[must_use]
pub(super) fn not_started(file: &Capture) -> Option<NotStarted> {
    let start = file.start_of_file();
    if start.len() < SHORTEST {
        return Some(NotStarted::Certain("ends within its header".to_owned()));
    }
    // What says for whom the file is the kernel does not read.
    let [class, data, version] = [start[4], start[5], start[6]];
    if !matches!((class, data, version), (1 | 2, 1 | 2, 1)) {
        return Some(NotStarted::Perhaps("has a header that is marked wrongly".to_owned()));
    }
    let found = if class == 1 {
        look::<elf::FileHeader32<Endianness>>(file)
    } else {
        look::<elf::FileHeader64<Endianness>>(file)
    };
    found.err()
}

fn look<Elf: FileHeader<Endian = Endianness>>(file: &Capture) -> Result<(), NotStarted> {
    let certain = |why: &str| Err(NotStarted::Certain(why.to_owned()));
    let Ok(header) = Elf::parse(file) else { return Ok(()) };
    let Ok(endian) = header.endian() else { return Ok(()) };
    match header.e_type(endian) {
        elf::ET_EXEC | elf::ET_DYN => {}
        elf::ET_REL => return certain("is an object file, not a program"),
        elf::ET_CORE => return certain("is a core dump, not a program"),
        _ => return certain("is of a type of ELF file that is not a program"),
    }
    let machine = header.e_machine(endian);
    if machine == elf::EM_X86_64 && !header.is_type_64() {
        return Err(NotStarted::Perhaps("is a program for x32, which few kernels start".to_owned()));
    }
    if machine == elf::EM_386 && header.is_type_64() {
        return certain("is marked as a 64-bit program for 386");
    }
    if usize::from(header.e_phentsize(endian)) != size_of::<Elf::ProgramHeader>() {
        return certain("has program headers of a wrong size");
    }
    if header.e_phnum(endian) == 0 {
        return certain("has no program headers");
    }
    let size = file.len().unwrap_or_default();
    let table: u64 = header.e_phoff(endian).into();
    let length = u64::from(header.e_phentsize(endian)) * u64::from(header.e_phnum(endian));
    if table.checked_add(length).is_none_or(|end| end > size) {
        return certain("ends before its program headers");
    }
    let Ok(segments) = header.program_headers(endian, file) else { return Ok(()) };
    loaded::<Elf>(endian, segments, header.e_entry(endian).into(), size)?;
    let has = |kind| segments.iter().any(|segment| segment.p_type(endian) == kind);
    let is_library = header.e_type(endian) == elf::ET_DYN && !has(elf::PT_INTERP);
    if is_library && !says_that_it_is_a_program::<Elf>(endian, segments, file) {
        return Err(NotStarted::Library);
    }
    Ok(())
}

/// Looks at what is loaded.
fn loaded<Elf: FileHeader<Endian = Endianness>>(
    endian: Endianness,
    segments: &[Elf::ProgramHeader],
    entry: u64,
    size: u64,
) -> Result<(), NotStarted> {
    let certain = |why: &str| Err(NotStarted::Certain(why.to_owned()));
    let is_loaded = |segment: &&Elf::ProgramHeader| segment.p_type(endian) == elf::PT_LOAD;
    if !segments.iter().any(|segment| segment.p_type(endian) == elf::PT_LOAD) {
        return certain("has nothing to be loaded");
    }
    let has_interpreter = segments.iter().any(|segment| segment.p_type(endian) == elf::PT_INTERP);
    // The last page that the file has is filled up with zeros.
    let readable = size.next_multiple_of(PAGE);
    let mut is_cut = false;
    for segment in segments {
        let (offset, length) = segment.file_range(endian);
        let end = offset.saturating_add(length);
        let in_memory: u64 = segment.p_memsz(endian).into();
        let is_needed = match segment.p_type(endian) {
            elf::PT_LOAD => {
                if in_memory < length {
                    return certain("has a segment that is larger in the file than in memory");
                }
                is_cut |= end > size;
                // What follows the file's part of it in the same page is cleared before the start.
                segment.p_flags(endian).contains(elf::PF_W) && in_memory > length && length > 0
            }
            // The loader and the kernel read these first.
            elf::PT_INTERP => length > 0,
            elf::PT_DYNAMIC => has_interpreter && length > 0,
            _ => false,
        };
        let last_page = end.saturating_sub(1) / PAGE * PAGE;
        if is_needed && end > size && last_page >= readable {
            return certain("is cut off: it ends before what is read at its start");
        }
    }
    let holds = |segment: &&Elf::ProgramHeader| {
        let (start, length): (u64, u64) = (segment.p_vaddr(endian).into(), segment.p_memsz(endian).into());
        entry >= start && entry - start < length
    };
    match segments.iter().filter(is_loaded).find(holds) {
        _ if entry == 0 => return certain("has no entry point: it is a library, not a program"),
        None => return certain("begins at an address where it has nothing"),
        Some(segment) => {
            let start: u64 = segment.p_vaddr(endian).into();
            let (offset, length) = segment.file_range(endian);
            let at = entry - start;
            if at < length && offset.saturating_add(at) >= readable {
                return certain("is cut off: it ends before its first instruction");
            }
        }
    }
    if is_cut {
        return Err(NotStarted::Perhaps(
            "is cut off: it ends before its last segment, and how far it gets is not known".to_owned(),
        ));
    }
    Ok(())
}

/// Whether a file without interpreter is marked as a program that relocates itself (static PIE). Without a dynamic section
/// there is nothing to mark.
fn says_that_it_is_a_program<Elf: FileHeader<Endian = Endianness>>(
    endian: Endianness,
    segments: &[Elf::ProgramHeader],
    file: &Capture,
) -> bool {
    let Some(segment) = segments.iter().find(|segment| segment.p_type(endian) == elf::PT_DYNAMIC) else { return true };
    let (offset, length) = segment.file_range(endian);
    let word: u64 = if size_of::<Elf::ProgramHeader>() == 32 { 4 } else { 8 };
    let number = |at: u64| {
        let bytes = file.read_bytes_at(at, word).ok()?;
        let mut value = 0_u64;
        for (place, byte) in bytes.iter().enumerate() {
            let shift = if endian == Endianness::Little { place } else { bytes.len() - 1 - place };
            value |= u64::from(*byte) << (8 * shift);
        }
        Some(value)
    };
    for entry in 0..(length / (2 * word)).min(MOST_ENTRIES) {
        let at = offset.saturating_add(2 * word * entry);
        match number(at).zip(number(at.saturating_add(word))) {
            Some((0, _)) => return false,
            // DT_FLAGS_1
            Some((0x6fff_fffb, flags)) => return flags & PIE != 0,
            Some(_) => {}
            // What was not kept cannot be held against it.
            None => return true,
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A 64-bit program of 20,000 bytes: code in the first 12,000, data and a cleared rest behind it.
    fn program() -> Vec<u8> {
        let mut file = vec![0; 20_000];
        file[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
        let mut put = |at: usize, bytes: &[u8]| file[at..at + bytes.len()].copy_from_slice(bytes);
        put(16, &2_u16.to_le_bytes());
        put(18, &62_u16.to_le_bytes());
        put(24, &0x40_1000_u64.to_le_bytes());
        put(32, &64_u64.to_le_bytes());
        put(54, &[56, 0, 2, 0]);
        for (number, (flags, offset, size, more)) in
            [(5_u32, 0_u64, 12_000_u64, 0_u64), (6, 12_288, 7712, 100)].iter().enumerate()
        {
            let at = 64 + 56 * number;
            put(at, &1_u32.to_le_bytes());
            put(at + 4, &flags.to_le_bytes());
            put(at + 8, &offset.to_le_bytes());
            put(at + 16, &(0x40_0000 + offset).to_le_bytes());
            put(at + 32, &size.to_le_bytes());
            put(at + 40, &(size + more).to_le_bytes());
        }
        file
    }

    fn said(bytes: &[u8]) -> String {
        let mut capture = Capture::default();
        capture.start(bytes.len() as u64);
        capture.push(bytes);
        match not_started(&capture) {
            None => "starts".to_owned(),
            Some(NotStarted::Certain(why)) => why,
            Some(NotStarted::Perhaps(why)) => format!("perhaps {why}"),
            Some(NotStarted::Library) => "library".to_owned(),
        }
    }

    #[test]
    fn headers_are_refused_as_the_kernel_refuses_them() {
        assert_eq!(said(&program()), "starts");
        let edited = |at: usize, bytes: &[u8]| {
            let mut file = program();
            file[at..at + bytes.len()].copy_from_slice(bytes);
            said(&file)
        };
        assert_eq!(edited(16, &[1]), "is an object file, not a program");
        assert_eq!(edited(16, &[4]), "is a core dump, not a program");
        assert_eq!(edited(16, &[9]), "is of a type of ELF file that is not a program");
        assert_eq!(edited(54, &[32]), "has program headers of a wrong size");
        assert_eq!(edited(56, &[0]), "has no program headers");
        assert_eq!(edited(64, &[0, 0, 0, 0]).as_str(), "begins at an address where it has nothing");
        assert_eq!(edited(24, &[0; 8]), "has no entry point: it is a library, not a program");
        assert_eq!(edited(24, &[0, 0, 0, 0x7f]), "begins at an address where it has nothing");
        assert_eq!(edited(18, &[3]), "is marked as a 64-bit program for 386");
        assert_eq!(edited(104, &[1, 0, 0, 0]), "has a segment that is larger in the file than in memory");
    }

    #[test]
    fn a_file_that_is_cut_off_is_killed_where_that_is_certain() {
        let cut = |size: usize| said(&program()[..size]);
        assert_eq!(cut(100), "ends before its program headers");
        assert_eq!(cut(4000), "is cut off: it ends before what is read at its start");
        assert_eq!(cut(16_000), "is cut off: it ends before what is read at its start");
        assert!(cut(19_000).starts_with("perhaps is cut off"), "zeros fill up the last page");
        let mut without_data = program()[..12_000].to_vec();
        without_data[56] = 1;
        assert_eq!(said(&without_data), "starts");
        assert_eq!(said(&without_data[..4000]), "is cut off: it ends before its first instruction");
        assert!(said(&without_data[..9000]).starts_with("perhaps is cut off"));
    }
}
