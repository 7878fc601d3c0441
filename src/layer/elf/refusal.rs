//! Why a loader does not take an ELF file as a library, as far as its headers say.

use object::Endianness;
use object::elf;
use object::read::elf::FileHeader;
use serde::{Deserialize, Serialize};

/// The newest ABI version of GNU's own that any glibc knows, with room for some more (glibc, libc-abis).
const NEWEST_GNU_ABI: u8 = 8;

/// Why glibc refuses a file as a library (elf/dl-load.c, `open_verify` and `_dl_map_object_from_fd`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Refusal {
    /// EI_OSABI is neither System V's nor GNU's.
    OsAbi,
    /// EI_ABIVERSION is not known.
    AbiVersion,
    /// Bytes behind the known ones of `e_ident` are not zero.
    Padding,
    /// `e_version`.
    Version,
    /// `e_type` is neither ET_DYN nor ET_EXEC.
    Type,
    /// `e_phentsize`.
    ProgramHeaderSize,
    /// The program headers lie outside the file.
    ProgramHeadersCut,
    /// There is no PT_LOAD.
    NoSegments,
    /// ET_EXEC.
    Executable,
    /// There is no PT_DYNAMIC.
    NoDynamicSection,
    /// DF_1_PIE.
    PositionIndependentExecutable,
}

impl Refusal {
    /// The loader's own words.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::OsAbi => "ELF file OS ABI invalid",
            Self::AbiVersion => "ELF file ABI version invalid",
            Self::Padding => "nonzero padding in e_ident",
            Self::Version => "ELF file version does not match current one",
            Self::Type => "only ET_DYN and ET_EXEC can be loaded",
            Self::ProgramHeaderSize => "ELF file's phentsize not the expected size",
            Self::ProgramHeadersCut => "cannot read file data",
            Self::NoSegments => "object file has no loadable segments",
            Self::Executable => "cannot dynamically load executable",
            Self::NoDynamicSection => "object file has no dynamic section",
            Self::PositionIndependentExecutable => "cannot dynamically load position-independent executable",
        }
    }

    /// Whether musl refuses such a file, too, which looks at less (ldso/dynlink.c, `map_library`).
    #[must_use]
    pub fn is_musls(self) -> bool {
        matches!(self, Self::Type | Self::ProgramHeadersCut | Self::NoSegments | Self::NoDynamicSection)
    }
}

/// What the file header alone is refused for; `length` is the size of the file in bytes.
pub(super) fn of_header<Elf: FileHeader<Endian = Endianness>>(
    header: &Elf,
    endian: Endianness,
    length: u64,
) -> Option<Refusal> {
    let ident = header.e_ident();
    let (os_abi, abi) = (ident.os_abi.0, ident.abi_version);
    let is_gnu = os_abi == elf::ELFOSABI_GNU.0;
    // MIPS numbers its own ABIs.
    let is_known_abi = abi == 0 || (is_gnu && abi <= NEWEST_GNU_ABI) || header.e_machine(endian) == elf::EM_MIPS;
    let entry = u64::from(header.e_phentsize(endian));
    let end = entry.checked_mul(header.e_phnum(endian).into()).and_then(|size| {
        let start: u64 = header.e_phoff(endian).into();
        start.checked_add(size)
    });
    let checks = [
        (os_abi != elf::ELFOSABI_NONE.0 && !is_gnu, Refusal::OsAbi),
        (!is_known_abi, Refusal::AbiVersion),
        (ident.padding.iter().any(|byte| *byte != 0), Refusal::Padding),
        (header.e_version(endian) != u32::from(elf::EV_CURRENT.0), Refusal::Version),
        (!matches!(header.e_type(endian), elf::ET_EXEC | elf::ET_DYN), Refusal::Type),
        (entry != size_of::<Elf::ProgramHeader>() as u64, Refusal::ProgramHeaderSize),
        (end.is_none_or(|end| end > length), Refusal::ProgramHeadersCut),
        (header.e_phnum(endian) == 0, Refusal::NoSegments),
        (header.e_type(endian) == elf::ET_EXEC, Refusal::Executable),
    ];
    checks.into_iter().find_map(|(is_refused, refusal)| is_refused.then_some(refusal))
}
