//! The dynamic symbols of an ELF file: the names that it defines, and those that it cannot be started without.

use std::collections::BTreeMap;

use object::elf;
use object::read::elf::{FileHeader, Rel, Rela, Sym};
use object::{Endianness, ReadRef};
use serde::{Deserialize, Serialize};

use super::names::{MOST_NAMES, NameSet};
use super::{MOST_SYMBOLS, Tables};

/// The most relocations that are looked through: several times what the largest libraries have.
const MOST_RELOCATIONS: u64 = 2_000_000;
/// The most bytes of names of one file that are kept.
const MOST_BYTES: usize = 1 << 20;
/// The most names that a program for glibc defines for its libraries, where they are kept; more are for its plugins.
const MOST_OF_PROGRAM: usize = 32;
/// Versions of the default and of the base definition: those that a reference without a version takes (glibc,
/// elf/dl-lookup.c, `check_match`).
const FIRST_VERSIONS: u16 = 3;
/// The first number of a version that is needed: those below stand for none.
const FIRST_NEEDED: u16 = 2;

/// What a file defines and needs by name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Symbols {
    /// The names that it defines for others.
    pub defined: NameSet,
    /// Names that it may define besides.
    pub besides: Besides,
    /// Strong undefined names that may be bound late: functions that are called through the procedure linkage table.
    pub called: Names,
    /// Strong undefined names that are bound at the start: variables, and functions whose address is taken.
    pub referenced: Names,
    /// Names whose content is copied from another file at the start.
    pub copied: Names,
}

/// Names that a file defines and that are not kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Besides {
    /// None.
    #[default]
    Nothing,
    /// Those of a C library's own that begin with `_`: versions decide over them.
    Underscored,
    /// Those of C++ as well: they are many, and versions decide over them, too.
    Cxx,
    /// Any.
    Anything,
}

impl Symbols {
    /// Whether others may find a name in this file. A no is certain.
    #[must_use]
    pub fn may_define(&self, name: &str) -> bool {
        let is_besides = match self.besides {
            Besides::Nothing => false,
            Besides::Underscored => name.starts_with('_') && !name.starts_with("_Z"),
            Besides::Cxx => name.starts_with('_'),
            Besides::Anything => true,
        };
        is_besides || self.defined.may_have(name)
    }
}

/// A list of names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Names(String);

impl Names {
    /// The names, sorted.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.lines()
    }

    fn new(mut names: Vec<&str>) -> Self {
        names.sort_unstable();
        names.dedup();
        Self(names.join("\n"))
    }

    /// How many bytes they take.
    #[must_use]
    pub fn weight(&self) -> usize {
        self.0.len()
    }
}

/// What kind of file the symbols are of.
#[derive(Clone, Copy, Debug)]
pub(super) struct Of {
    /// Whether it is built for musl, which knows no versions.
    pub is_musls: bool,
    /// Whether it is started, not loaded.
    pub is_program: bool,
    /// Whether it has no name by which others ask for it, and binds late.
    pub is_plugin: bool,
}

/// The names that a file defines, and whether some of C++ are left out.
struct Defined<'n> {
    names: Vec<&'n [u8]>,
    is_cut: bool,
}

/// How a symbol is referred to; the last of several counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Reference {
    Called,
    Referenced,
    Copied,
}

impl<Elf: FileHeader<Endian = Endianness>> Tables<'_, Elf> {
    /// The symbols; nothing where the tables are not in what was kept of the file.
    ///
    /// For glibc, versions decide over names that have one: only those without are kept of what a file needs.
    pub(super) fn symbols(&self, machine: elf::Machine, of: Of) -> Option<Symbols> {
        let Of { is_musls, is_program, is_plugin } = of;
        let strings_at = self.offset(self.value(elf::DT_STRTAB)?)?;
        let strings = self.file.from(strings_at)?;
        let table = self.offset(self.value(elf::DT_SYMTAB)?)?;
        let versions = self.value(elf::DT_VERSYM).and_then(|table| self.file.from(self.offset(table)?));
        let mut references: BTreeMap<u32, Reference> = BTreeMap::new();
        self.relocations(machine, |symbol, reference| {
            let known = references.entry(symbol).or_insert(reference);
            *known = reference.max(*known);
        })?;
        let (mut called, mut referenced, mut copied) = (Vec::new(), Vec::new(), Vec::new());
        let mut bytes = 0;
        for (&number, &reference) in &references {
            let symbol = self.symbol(table, number)?;
            let is_needed = symbol.is_undefined(self.endian) || reference == Reference::Copied;
            if !is_needed || !is_bound_elsewhere(symbol, self.endian) {
                continue;
            }
            let version = versions.filter(|_| !is_musls).and_then(|table| self.version(table, number));
            if version.is_some_and(|(version, _)| version >= FIRST_NEEDED) && reference != Reference::Copied {
                continue;
            }
            let name = std::str::from_utf8(text(strings, symbol.st_name(self.endian))?).ok()?;
            bytes += name.len() + 1;
            if bytes > MOST_BYTES {
                return None;
            }
            if name.is_empty() || name.contains('\n') {
                continue;
            }
            match reference {
                // Plugins that bind late are many, and no program asks for them by name.
                Reference::Called if is_plugin => {}
                Reference::Called => called.push(name),
                Reference::Referenced => referenced.push(name),
                Reference::Copied => copied.push(name),
            }
        }
        // What is copied from another file is found there, too.
        let is_copied = |(number, reference): (&u32, &Reference)| (*reference == Reference::Copied).then_some(*number);
        let copies: Vec<u32> = references.iter().filter_map(is_copied).collect();
        let Defined { names: mut defined, is_cut } = self.defined(table, strings, versions, is_musls, &copies)?;
        let besides = if is_musls {
            Besides::Nothing
        } else if is_program && defined.len() > MOST_OF_PROGRAM {
            defined.clear();
            Besides::Anything
        } else if self.defines_version(strings_at, "GLIBCXX_") {
            defined.retain(|name| !name.starts_with(b"_"));
            Besides::Cxx
        } else if self.defines_version(strings_at, "GLIBC_") {
            defined.retain(|name| !name.starts_with(b"_"));
            Besides::Underscored
        } else if is_cut {
            Besides::Cxx
        } else {
            Besides::Nothing
        };
        Some(Symbols {
            defined: NameSet::new(defined.into_iter()),
            besides,
            called: Names::new(called),
            referenced: Names::new(referenced),
            copied: Names::new(copied),
        })
    }

    /// The names that others can bind to (glibc, elf/dl-lookup.c, `check_match`; musl, ldso/dynlink.c, `find_sym2`). For
    /// glibc without those of C++ that have a version, which decides over them.
    fn defined<'n>(
        &self,
        table: u64,
        strings: &'n [u8],
        versions: Option<&[u8]>,
        is_musls: bool,
        left_out: &[u32],
    ) -> Option<Defined<'n>> {
        let (mut names, mut is_cut) = (Vec::new(), false);
        let count = match self.symbol_count() {
            Some(count) => count.min(MOST_SYMBOLS.max(MOST_NAMES as u32)),
            None if self.has_empty_hash()? => 0,
            None => return None,
        };
        let symbols: &[Elf::Sym] = self.file.read_slice_at(table, count as usize).ok()?;
        for (number, symbol) in (0..count).zip(symbols).skip(1) {
            let kind = symbol.st_type();
            let is_kind = matches!(
                kind,
                elf::STT_NOTYPE | elf::STT_OBJECT | elf::STT_FUNC | elf::STT_COMMON | elf::STT_TLS | elf::STT_GNU_IFUNC
            );
            let is_global = matches!(symbol.st_bind(), elf::STB_GLOBAL | elf::STB_WEAK | elf::STB_GNU_UNIQUE);
            let has_value = symbol.st_value(self.endian).into() != 0
                || kind == elf::STT_TLS
                || symbol.st_shndx(self.endian) == elf::SHN_ABS;
            if symbol.is_undefined(self.endian)
                || !is_kind
                || !is_global
                || !has_value
                || left_out.binary_search(&number).is_ok()
            {
                continue;
            }
            let version = versions.and_then(|table| self.version(table, number));
            if version.is_some_and(|(version, is_hidden)| is_hidden && version >= FIRST_VERSIONS) {
                continue;
            }
            let name = text(strings, symbol.st_name(self.endian))?;
            if !is_musls && name.starts_with(b"_Z") && version.is_some_and(|(version, _)| version >= FIRST_NEEDED) {
                is_cut = true;
            } else {
                names.push(name);
            }
        }
        Some(Defined { names, is_cut })
    }

    /// Whether no symbol can be found by the hash table, or there is none; nothing where it was not kept.
    fn has_empty_hash(&self) -> Option<bool> {
        let Some(table) = self.value(elf::DT_GNU_HASH) else {
            return Some(self.value(elf::DT_HASH).is_none());
        };
        let table = self.offset(table)?;
        let word = |at: u64| {
            let word: &object::U32<Endianness> = self.file.read_at(table.checked_add(at)?).ok()?;
            Some(word.get(self.endian))
        };
        let (buckets, filters) = (u64::from(word(0)?), u64::from(word(8)?));
        let start = filters.checked_mul(size_of::<Elf::Word>() as u64)?.checked_add(16)?;
        let mut firsts = (0..buckets.min(MOST_NAMES as u64)).map(|bucket| word(start.checked_add(bucket * 4)?));
        firsts.try_fold(true, |is_empty, first| Some(is_empty && first? == 0))
    }

    fn symbol(&self, table: u64, number: u32) -> Option<&Elf::Sym> {
        let at = table.checked_add(u64::from(number).checked_mul(size_of::<Elf::Sym>() as u64)?)?;
        self.file.read_at(at).ok()
    }

    /// The number of a symbol's version, and whether only references to exactly this version take it.
    fn version(&self, table: &[u8], number: u32) -> Option<(u16, bool)> {
        let at = (number as usize).checked_mul(2)?;
        let bytes: [u8; 2] = table.get(at..at.checked_add(2)?)?.try_into().ok()?;
        let version =
            if self.endian == Endianness::Little { u16::from_le_bytes(bytes) } else { u16::from_be_bytes(bytes) };
        Some((version & 0x7fff, version & 0x8000 != 0))
    }

    /// Whether some version that it defines begins so.
    fn defines_version(&self, strings: u64, start: &str) -> bool {
        let table = self.value(elf::DT_VERDEF).and_then(|table| self.offset(table));
        let versions = table.and_then(|table| self.definitions(table, strings)).unwrap_or_default();
        versions.iter().any(|version| version.starts_with(start))
    }

    /// Calls `found` for each relocation with a symbol.
    fn relocations(&self, machine: elf::Machine, mut found: impl FnMut(u32, Reference)) -> Option<()> {
        // On MIPS the global offset table is relocated without entries of its own.
        if machine == elf::EM_MIPS {
            return None;
        }
        let is_rela = self.value(elf::DT_PLTREL).is_none_or(|kind| kind == elf::DT_RELA.0 as u64);
        for (table, size, is_rela, kind) in [
            (elf::DT_RELA, elf::DT_RELASZ, true, Reference::Referenced),
            (elf::DT_REL, elf::DT_RELSZ, false, Reference::Referenced),
            (elf::DT_JMPREL, elf::DT_PLTRELSZ, is_rela, Reference::Called),
        ] {
            let (Some(table), Some(size)) = (self.value(table), self.value(size)) else { continue };
            if size == 0 {
                continue;
            }
            let table = self.offset(table)?;
            let mut one = |symbol: u32, of: elf::RelocationType| {
                let reference = if of.0 == copy_relocation(machine) { Reference::Copied } else { kind };
                if symbol != 0 {
                    found(symbol, reference);
                }
            };
            if is_rela {
                let entries = self.entries_at::<Elf::Rela>(table, size)?;
                entries.iter().for_each(|entry| one(entry.r_sym(self.endian, false), entry.r_type(self.endian, false)));
            } else {
                let entries = self.entries_at::<Elf::Rel>(table, size)?;
                entries.iter().for_each(|entry| one(entry.r_sym(self.endian), entry.r_type(self.endian)));
            }
        }
        Some(())
    }

    fn entries_at<T: object::Pod>(&self, table: u64, size: u64) -> Option<&[T]> {
        let count = (size / size_of::<T>() as u64).min(MOST_RELOCATIONS);
        self.file.read_slice_at(table, usize::try_from(count).ok()?).ok()
    }
}

/// The text that begins at a place of a table of strings.
fn text(strings: &[u8], at: u32) -> Option<&[u8]> {
    let rest = strings.get(at as usize..)?;
    let rest = &rest[..rest.len().min(super::LONGEST as usize)];
    rest.get(..memchr::memchr(0, rest).unwrap_or(rest.len()))
}

/// Whether a missing symbol is an error, and whether it is looked for in other files at all.
fn is_bound_elsewhere<S: Sym<Endian = Endianness>>(symbol: &S, endian: Endianness) -> bool {
    let is_copy = !symbol.is_undefined(endian);
    let is_strong = symbol.st_bind() != elf::STB_WEAK || is_copy;
    is_strong && symbol.st_bind() != elf::STB_LOCAL && symbol.st_visibility() == elf::STV_DEFAULT
}

/// The type of the relocation that copies a variable into the program.
fn copy_relocation(machine: elf::Machine) -> u32 {
    match machine {
        elf::EM_X86_64 | elf::EM_386 => 5,
        elf::EM_AARCH64 => 1024,
        elf::EM_ARM => 20,
        elf::EM_S390 => 9,
        elf::EM_PPC64 | elf::EM_PPC => 19,
        elf::EM_RISCV | elf::EM_LOONGARCH => 4,
        _ => u32::MAX,
    }
}
