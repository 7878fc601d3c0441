//! What one ELF file asks of an image and gives to it: interpreter, needed libraries, search paths, symbol versions.

mod names;
mod refusal;
mod symbols;

use std::collections::BTreeSet;

use object::elf;
use object::read::elf::{Dyn, FileHeader, GnuHashTable, HashTable, ProgramHeader, Sym};
use object::{Endianness, ReadRef};
use serde::{Deserialize, Serialize};

use super::capture::Capture;
use super::libc_mark::{LibcMark, libc_mark};
pub use names::NameSet;
pub use refusal::Refusal;
pub use symbols::{Besides, Names, Symbols};

/// The most entries of one kind that are kept of a file.
const MOST: usize = 1024;
/// The most symbols that are looked through: ten times what the largest library of ICU has.
const MOST_SYMBOLS: u32 = 100_000;
/// Flags of DT_FLAGS_1: DF_1_NOW, DF_1_NODEFLIB and DF_1_PIE; and DF_BIND_NOW of DT_FLAGS.
const BIND_NOW_1: u64 = 0x1;
const NO_DEFAULT_FOLDERS: u64 = 0x800;
const PIE: u64 = 0x0800_0000;
const BIND_NOW: u64 = 0x8;
/// How much of a file is searched for the signs of a C library, in bytes.
const MARKS_WITHIN: usize = 4 << 20;
/// The longest string that is kept, in bytes.
const LONGEST: u64 = 4096;

/// What is known of an ELF file (gABI chapters 4 and 5; LSB core, "Symbol Versioning").
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ElfSummary {
    /// Whether addresses have 64 bits.
    pub is_64: bool,
    /// Whether numbers are little-endian.
    pub is_little_endian: bool,
    /// `e_machine`.
    pub machine: u16,
    /// Whether it can be started: an executable, or a position-independent one. Shared libraries are both.
    pub is_executable: bool,
    /// PT_INTERP.
    pub interpreter: Option<String>,
    /// Whether it has a dynamic section.
    pub is_dynamic: bool,
    /// DT_SONAME.
    pub soname: Option<String>,
    /// DT_NEEDED, in order.
    pub needed: Vec<String>,
    /// DT_RPATH, as written.
    pub rpath: Option<String>,
    /// DT_RUNPATH, as written.
    pub runpath: Option<String>,
    /// DT_FILTER: libraries that stand in for its own symbols, and without which it is not loaded.
    pub filters: Vec<String>,
    /// DF_BIND_NOW, DF_1_NOW or DT_BIND_NOW: all its symbols are bound when it is loaded.
    pub binds_now: bool,
    /// Why a loader does not take it as a library, as far as its headers say.
    pub refusal: Option<Refusal>,
    /// The level of x86-64 that it is marked as needing (GNU_PROPERTY_X86_ISA_1_NEEDED): 1 for the baseline, at most 4; 0
    /// without a mark.
    pub isa_level: u8,
    /// Its dynamic symbols; nothing where it has none, or they are not known.
    pub symbols: Option<Symbols>,
    /// DF_1_NODEFLIB: its libraries are not looked for in the default folders.
    #[serde(default)]
    pub no_default_folders: bool,
    /// Whether it has a table of the symbol versions it defines, be it an empty one.
    #[serde(default)]
    pub defines_versions: bool,
    /// Whether its symbols have versions, be it only those of other files.
    #[serde(default)]
    pub has_versioned_symbols: bool,
    /// The symbol versions it defines.
    pub version_definitions: Vec<String>,
    /// The symbol versions it cannot do without: library and version.
    pub version_needs: Vec<(String, String)>,
    /// Which C library it is, or was linked with statically, where it says so.
    pub libc_mark: Option<LibcMark>,
    /// Of a library of ICU, the symbols by which its version and its data are told: `u_strlen…`, `ucol_open…`, `icudt…`.
    #[serde(default)]
    pub icu_symbols: Vec<String>,
    /// Whether the file ends before its last segment.
    #[serde(default)]
    pub is_cut: bool,
    /// What could not be read of it.
    pub incomplete: Option<String>,
}

/// The architecture of an `e_machine` in Go's words; nothing for one that no image is made for.
#[must_use]
pub fn architecture(machine: u16, is_64: bool, is_little_endian: bool) -> Option<&'static str> {
    Some(match (elf::Machine(machine), is_64, is_little_endian) {
        (elf::EM_X86_64, ..) => "amd64",
        (elf::EM_386, ..) => "386",
        (elf::EM_AARCH64, ..) => "arm64",
        (elf::EM_ARM, ..) => "arm",
        (elf::EM_PPC64, _, true) => "ppc64le",
        (elf::EM_PPC64, _, false) => "ppc64",
        (elf::EM_S390, true, _) => "s390x",
        (elf::EM_RISCV, true, _) => "riscv64",
        (elf::EM_LOONGARCH, true, _) => "loong64",
        (elf::EM_MIPS, true, true) => "mips64le",
        (elf::EM_MIPS, false, true) => "mipsle",
        _ => return None,
    })
}

/// `e_machine` of an architecture that .NET is built for, and whether it has 64 bits.
#[must_use]
pub fn machine(architecture: &str) -> Option<(u16, bool)> {
    Some(match architecture {
        "amd64" => (elf::EM_X86_64.0, true),
        "arm64" => (elf::EM_AARCH64.0, true),
        "arm" => (elf::EM_ARM.0, false),
        _ => return None,
    })
}

impl ElfSummary {
    /// About how many bytes its texts take.
    pub(super) fn weight(&self) -> usize {
        let lists = [&self.needed, &self.filters, &self.version_definitions, &self.icu_symbols].into_iter().flatten();
        let pairs = self.version_needs.iter().flat_map(|(library, version)| [library, version]);
        let single = [&self.interpreter, &self.soname, &self.rpath, &self.runpath].into_iter().flatten();
        let symbols = self.symbols.as_ref().map_or(0, |symbols| {
            let names = [&symbols.called, &symbols.referenced, &symbols.copied];
            names.map(Names::weight).iter().sum::<usize>() + symbols.defined.len() * size_of::<u32>()
        });
        lists.chain(pairs).chain(single).map(|text| text.len() + size_of::<String>()).sum::<usize>() + symbols
    }

    /// The architecture in Go's words.
    #[must_use]
    pub fn architecture(&self) -> Option<&'static str> {
        architecture(self.machine, self.is_64, self.is_little_endian)
    }
}

/// Summarises a captured file; nothing if it is no ELF file. `name` is its file name.
#[must_use]
pub fn summarise(name: &str, file: &Capture) -> Option<ElfSummary> {
    let mut summary = match file.start_of_file().get(4)? {
        1 => headers::<elf::FileHeader32<Endianness>>(name, file)?,
        2 => headers::<elf::FileHeader64<Endianness>>(name, file)?,
        _ => return None,
    };
    let head = file.head();
    summary.libc_mark = libc_mark(name, &summary, &head[..head.len().min(MARKS_WITHIN)]);
    Some(summary)
}

fn headers<Elf: FileHeader<Endian = Endianness>>(name: &str, file: &Capture) -> Option<ElfSummary> {
    let header = Elf::parse(file).ok()?;
    let endian = header.endian().ok()?;
    let mut summary = ElfSummary {
        is_64: header.is_type_64(),
        is_little_endian: endian == Endianness::Little,
        machine: header.e_machine(endian).0,
        is_executable: matches!(header.e_type(endian), elf::ET_EXEC | elf::ET_DYN),
        ..ElfSummary::default()
    };
    let length = file.len().unwrap_or_default();
    summary.refusal = refusal::of_header(header, endian, length);
    match header.program_headers(endian, file) {
        Ok(segments) => {
            let has = |kind| segments.iter().any(|segment| segment.p_type(endian) == kind);
            let lacks = |kind, refusal| (!has(kind)).then_some(refusal);
            summary.refusal = summary
                .refusal
                .or_else(|| lacks(elf::PT_LOAD, Refusal::NoSegments))
                .or_else(|| lacks(elf::PT_DYNAMIC, Refusal::NoDynamicSection));
            summary.isa_level = isa_level::<Elf>(endian, segments, file);
            summary.is_cut = segments.iter().any(|segment| is_beyond::<Elf>(endian, segment, file));
            dynamic_part::<Elf>(endian, segments, file, &mut summary, name.starts_with("libicu"));
        }
        Err(_) => summary.incomplete = Some("its program headers cannot be read".to_owned()),
    }
    Some(summary)
}

/// The level in the notes of a file (x86-64 psABI, "Program Property").
fn isa_level<Elf: FileHeader<Endian = Endianness>>(
    endian: Endianness,
    segments: &[Elf::ProgramHeader],
    file: &Capture,
) -> u8 {
    let notes = segments.iter().filter_map(|segment| segment.notes(endian, file).ok().flatten());
    let notes = notes.flat_map(|notes| notes.map_while(Result::ok).take(MOST));
    let properties = notes.filter_map(|note| note.gnu_properties(endian)).flatten().map_while(Result::ok);
    let needed = properties.filter(|property| property.pr_type() == elf::GNU_PROPERTY_X86_ISA_1_NEEDED);
    let bits = needed.filter_map(|property| property.data_u32(endian).ok()).fold(0, |all, bits| all | bits) & 0xf;
    // At most 4.
    (u32::BITS - bits.leading_zeros()) as u8
}

/// Whether a segment ends behind the end of the file.
fn is_beyond<Elf: FileHeader<Endian = Endianness>>(
    endian: Endianness,
    segment: &Elf::ProgramHeader,
    file: &Capture,
) -> bool {
    let (offset, size) = segment.file_range(endian);
    let end = offset.checked_add(size);
    segment.p_type(endian) == elf::PT_LOAD && file.len().is_ok_and(|length| end.is_none_or(|end| end > length))
}

fn dynamic_part<Elf: FileHeader<Endian = Endianness>>(
    endian: Endianness,
    segments: &[Elf::ProgramHeader],
    file: &Capture,
    summary: &mut ElfSummary,
    is_icu: bool,
) {
    for segment in segments {
        match segment.interpreter(endian, file) {
            Ok(Some(path)) => summary.interpreter = Some(String::from_utf8_lossy(path).into_owned()),
            Ok(None) => {}
            Err(_) => summary.incomplete = Some("its interpreter cannot be read".to_owned()),
        }
    }
    let Some(segment) = segments.iter().find(|segment| segment.p_type(endian) == elf::PT_DYNAMIC) else { return };
    summary.is_dynamic = true;
    let Ok(Some(entries)) = segment.dynamic(endian, file) else {
        summary.incomplete = Some("its dynamic section cannot be read".to_owned());
        return;
    };
    let entries: Vec<(elf::DynamicTag, u64)> = entries
        .iter()
        .map(|entry| (entry.tag(endian), entry.val(endian)))
        .take_while(|&(tag, _)| tag != elf::DT_NULL)
        .take(MOST)
        .collect();
    let tables = Tables::<Elf> { endian, segments, file, entries: &entries };
    if is_icu {
        summary.icu_symbols = tables.icu_symbols().unwrap_or_default();
    }
    if tables.read(summary).is_none() {
        summary.incomplete =
            Some("its dynamic section points outside the file or to a part that was not kept".to_owned());
    }
    let is_musls =
        summary.needed.iter().chain(&summary.soname).any(|name| name.starts_with("libc.musl-") || name == "libc.so");
    // The C library names an interpreter, too.
    let is_program = summary.interpreter.is_some() && summary.soname.is_none();
    let is_plugin = !is_musls && !is_program && summary.soname.is_none() && !summary.binds_now;
    let of = symbols::Of { is_musls, is_program, is_plugin };
    summary.symbols = tables.symbols(elf::Machine(summary.machine), of);
}

/// The tables that the dynamic section points to.
struct Tables<'a, Elf: FileHeader<Endian = Endianness>> {
    endian: Endianness,
    segments: &'a [Elf::ProgramHeader],
    file: &'a Capture,
    entries: &'a [(elf::DynamicTag, u64)],
}

impl<Elf: FileHeader<Endian = Endianness>> Tables<'_, Elf> {
    fn read(&self, summary: &mut ElfSummary) -> Option<()> {
        let Some(strings) = self.value(elf::DT_STRTAB) else {
            return Some(());
        };
        let strings = self.offset(strings)?;
        for &(tag, value) in self.entries {
            match tag {
                elf::DT_NEEDED => summary.needed.push(self.string(strings, value)?),
                elf::DT_SONAME => summary.soname = Some(self.string(strings, value)?),
                elf::DT_RPATH => summary.rpath = Some(self.string(strings, value)?),
                elf::DT_RUNPATH => summary.runpath = Some(self.string(strings, value)?),
                elf::DT_VERSYM => summary.has_versioned_symbols = true,
                elf::DT_FILTER => summary.filters.push(self.string(strings, value)?),
                elf::DT_BIND_NOW => summary.binds_now = true,
                elf::DT_FLAGS => summary.binds_now |= value & BIND_NOW != 0,
                elf::DT_FLAGS_1 => {
                    summary.no_default_folders = value & NO_DEFAULT_FOLDERS != 0;
                    summary.binds_now |= value & BIND_NOW_1 != 0;
                    if value & PIE != 0 && summary.refusal.is_none() {
                        summary.refusal = Some(Refusal::PositionIndependentExecutable);
                    }
                }
                _ => {}
            }
        }
        if let Some(table) = self.value(elf::DT_VERDEF) {
            summary.defines_versions = true;
            summary.version_definitions = self.definitions(self.offset(table)?, strings)?;
        }
        if let Some(table) = self.value(elf::DT_VERNEED) {
            summary.version_needs = self.needs(self.offset(table)?, strings)?;
        }
        Some(())
    }

    fn value(&self, wanted: elf::DynamicTag) -> Option<u64> {
        self.entries.iter().find(|(tag, _)| *tag == wanted).map(|&(_, value)| value)
    }

    /// Where an address of the loaded program lies in the file.
    fn offset(&self, address: u64) -> Option<u64> {
        self.segments.iter().find_map(|segment| {
            let start: u64 = segment.p_vaddr(self.endian).into();
            let (offset, size) = segment.file_range(self.endian);
            let inside = address.checked_sub(start).filter(|&inside| inside < size)?;
            (segment.p_type(self.endian) == elf::PT_LOAD).then(|| offset.checked_add(inside)).flatten()
        })
    }

    fn string(&self, table: u64, at: u64) -> Option<String> {
        let start = table.checked_add(at)?;
        let bytes = self.file.read_bytes_at_until(start..start.checked_add(LONGEST)?, 0).ok()?;
        Some(String::from_utf8_lossy(bytes).into_owned())
    }

    /// The defined symbols by which a library of ICU is told.
    fn icu_symbols(&self) -> Option<Vec<String>> {
        let is_telling = |name: &str| {
            let versioned =
                |stem| name.strip_prefix(stem).is_some_and(|rest: &str| rest.is_empty() || rest.starts_with('_'));
            versioned("u_strlen") || versioned("ucol_open") || (name.starts_with("icudt") && name.ends_with("_dat"))
        };
        let strings = self.offset(self.value(elf::DT_STRTAB)?)?;
        let table = self.offset(self.value(elf::DT_SYMTAB)?)?;
        let mut found = Vec::new();
        for number in 0..self.symbol_count()?.min(MOST_SYMBOLS) {
            let at = table.checked_add(u64::from(number).checked_mul(size_of::<Elf::Sym>() as u64)?)?;
            let symbol: &Elf::Sym = self.file.read_at(at).ok()?;
            if symbol.is_undefined(self.endian) {
                continue;
            }
            let name = self.string(strings, symbol.st_name(self.endian).into())?;
            if is_telling(&name) && found.len() < MOST {
                found.push(name);
            }
        }
        Some(found)
    }

    /// How many dynamic symbols there are, by the hash table (gABI, "Hash Table"; GNU's own form).
    fn symbol_count(&self) -> Option<u32> {
        let table = |tag| self.file.from(self.offset(self.value(tag)?)?);
        if let Some(table) = table(elf::DT_GNU_HASH) {
            return GnuHashTable::<Elf>::parse(self.endian, table).ok()?.symbol_table_length(self.endian);
        }
        HashTable::<Elf>::parse(self.endian, table(elf::DT_HASH)?).ok().map(|table| table.symbol_table_length())
    }

    fn definitions(&self, mut at: u64, strings: u64) -> Option<Vec<String>> {
        let mut names = Vec::new();
        for _ in 0..MOST {
            let definition: &elf::Verdef<Endianness> = self.file.read_at(at).ok()?;
            let first = at.checked_add(definition.vd_aux.get(self.endian).into())?;
            let name: &elf::Verdaux<Endianness> = self.file.read_at(first).ok()?;
            // The base definition names the file, not a version.
            if !definition.vd_flags.get(self.endian).contains(elf::VER_FLG_BASE) {
                names.push(self.string(strings, name.vda_name.get(self.endian).into())?);
            }
            match definition.vd_next.get(self.endian) {
                0 => return Some(names),
                next => at = at.checked_add(next.into())?,
            }
        }
        Some(names)
    }

    fn needs(&self, at: u64, strings: u64) -> Option<Vec<(String, String)>> {
        let mut needs = BTreeSet::new();
        self.each_need(at, strings, &mut |library, version, need| {
            let is_weak = need.vna_flags.get(self.endian).contains(elf::VER_FLG_WEAK);
            if !is_weak && needs.len() < MOST {
                needs.insert((library.to_owned(), version.to_owned()));
            }
        })?;
        Some(needs.into_iter().collect())
    }

    /// Calls `found` with the library, the version and its entry for each version that is needed.
    fn each_need(
        &self,
        mut at: u64,
        strings: u64,
        found: &mut dyn FnMut(&str, &str, &elf::Vernaux<Endianness>),
    ) -> Option<()> {
        for _ in 0..MOST {
            let need: &elf::Verneed<Endianness> = self.file.read_at(at).ok()?;
            let library = self.string(strings, need.vn_file.get(self.endian).into())?;
            let mut version_at = at.checked_add(need.vn_aux.get(self.endian).into())?;
            for _ in 0..need.vn_cnt.get(self.endian) {
                let version: &elf::Vernaux<Endianness> = self.file.read_at(version_at).ok()?;
                found(&library, &self.string(strings, version.vna_name.get(self.endian).into())?, version);
                version_at = version_at.checked_add(version.vna_next.get(self.endian).into())?;
            }
            match need.vn_next.get(self.endian) {
                0 => break,
                next => at = at.checked_add(next.into())?,
            }
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn summary_of(bytes: &[u8], name: &str) -> Option<ElfSummary> {
        let mut capture = Capture::default();
        capture.start(bytes.len() as u64);
        for chunk in bytes.chunks(64 * 1024) {
            capture.push(chunk);
        }
        summarise(name, &capture)
    }

    /// The test program itself is an ELF file at hand on Linux.
    #[test]
    #[cfg(target_os = "linux")]
    fn a_real_program_is_summarised_though_it_is_larger_than_what_is_kept() {
        let bytes = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        let summary = summary_of(&bytes, "test").unwrap();
        assert_eq!(summary.incomplete, None);
        assert!(summary.interpreter.is_some_and(|path| path.contains("ld-")), "dynamically linked");
        assert!(summary.needed.iter().any(|library| library.starts_with("libc.")));
        assert!(summary.version_needs.iter().any(|(_, version)| version.starts_with("GLIBC_")));
        assert!(summary.symbols.is_some());
    }

    #[test]
    fn what_is_no_elf_file_has_no_summary() {
        assert_eq!(summary_of(b"", "x"), None);
        assert_eq!(summary_of(b"\x7fELF", "x"), None);
        assert_eq!(summary_of(b"\x7fELF\x02\x01\x01", "x"), None);
    }

    proptest::proptest! {
        #[test]
        fn hostile_bytes_never_panic(mut bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..4096), class in 1u8..3, order in 1u8..3) {
            for (at, byte) in [0x7f, b'E', b'L', b'F', class, order, 1].into_iter().enumerate() {
                if let Some(slot) = bytes.get_mut(at) { *slot = byte; }
            }
            summary_of(&bytes, "libc.so.6");
        }
    }
}
