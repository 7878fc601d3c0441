//! .NET hosts, told while a file streams past: plain hosts, and single files with their list and their runtimeconfig.json.
//!
//! The format is that of dotnet/runtime, src/native/corehost/bundle (`header.h`, `manifest.cpp`, `file_entry.cpp`).

use memchr::memmem;
use object::Endianness;
use object::elf;
use object::read::elf::{FileHeader, ProgramHeader};
use serde::{Deserialize, Serialize};

/// What every host has once, after the eight bytes that say where its list is.
const SIGNATURE: [u8; 32] = [
    0x8b, 0x12, 0x02, 0xb9, 0x6a, 0x61, 0x20, 0x38, 0x72, 0x7b, 0x93, 0x02, 0x14, 0xd7, 0xa0, 0x32, 0x13, 0xf5, 0xb9,
    0xe6, 0xef, 0xae, 0x33, 0x18, 0xee, 0x3b, 0x2d, 0xce, 0x24, 0xb3, 0x6a, 0xae,
];
/// Stands near the start of every runtimeconfig.json. The list, which says where that is, comes after it.
const MARK: &[u8] = b"\"runtimeOptions\"";
/// How much is kept before and after a mark, in bytes, and how many marks count.
const BEFORE: usize = 256;
const AFTER: usize = 16 << 10;
const MOST_MARKS: usize = 16;
/// How much is kept of the list, in bytes: four times what the largest real one has.
const LONGEST_LIST: usize = 512 << 10;
/// The longest name in the list, in bytes.
const LONGEST_NAME: usize = 4096;

/// A .NET host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum DotnetHost {
    /// It starts a program that lies beside it.
    AppHost,
    /// It holds the program.
    SingleFile(Bundle),
}

/// What a single file holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bundle {
    /// The version of the format: 1 for .NET Core 3, 2 for .NET 5, 6 since .NET 6.
    pub major: u32,
    /// Whether it writes files of its own to a folder before it starts.
    pub extracts: bool,
    /// Its runtimeconfig.json.
    pub runtime_config: Option<Vec<u8>>,
    /// What could not be read of it.
    pub incomplete: Option<String>,
}

/// Looks for a host in one file after the other.
#[derive(Debug, Default)]
pub struct HostScanner {
    state: State,
    /// Where the next bytes begin.
    position: u64,
    /// The last bytes that passed.
    tail: Vec<u8>,
    list: Vec<u8>,
    windows: Vec<(u64, Vec<u8>)>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// Nothing has passed yet.
    #[default]
    Start,
    /// It is no program that is started with a loader.
    Other,
    Searching,
    AppHost,
    /// The list begins here.
    SingleFile(u64),
}

impl HostScanner {
    /// Begins with the next file.
    pub fn start(&mut self) {
        self.state = State::Start;
        self.position = 0;
        self.tail.clear();
        self.list.clear();
        self.windows.clear();
    }

    /// Takes the next bytes; the first time at least the program headers.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.state == State::Start {
            self.state = if is_program(bytes) { State::Searching } else { State::Other };
        }
        if self.state == State::Searching {
            self.search(bytes);
        }
        match self.state {
            State::Start | State::Other | State::AppHost => return,
            State::Searching => {}
            State::SingleFile(list) => self.follow(bytes, list),
        }
        self.position += bytes.len() as u64;
        let keep = bytes.len().min(BEFORE);
        self.tail.extend_from_slice(&bytes[bytes.len() - keep..]);
        let surplus = self.tail.len().saturating_sub(BEFORE);
        self.tail.drain(..surplus);
    }

    /// What the file is.
    #[must_use]
    pub fn finish(&mut self) -> Option<DotnetHost> {
        match self.state {
            State::AppHost => Some(DotnetHost::AppHost),
            State::SingleFile(_) => Some(DotnetHost::SingleFile(self.bundle())),
            State::Start | State::Other | State::Searching => None,
        }
    }

    fn search(&mut self, bytes: &[u8]) {
        // The signature and the eight bytes before it may lie across the border.
        let mut border = self.tail.clone();
        border.extend_from_slice(&bytes[..bytes.len().min(8 + SIGNATURE.len())]);
        for part in [border.as_slice(), bytes] {
            let offset =
                memmem::find_iter(part, &SIGNATURE).find_map(|at| part.get(at.checked_sub(8)?..at)?.try_into().ok());
            let Some(offset) = offset.map(i64::from_le_bytes) else { continue };
            self.state = match u64::try_from(offset) {
                Ok(0) | Err(_) => State::AppHost,
                Ok(list) => State::SingleFile(list),
            };
            break;
        }
    }

    fn follow(&mut self, bytes: &[u8], list: u64) {
        let end = self.position + bytes.len() as u64;
        if list < end && self.list.len() < LONGEST_LIST {
            let from = usize::try_from(list.saturating_sub(self.position)).unwrap_or(bytes.len());
            let room = LONGEST_LIST - self.list.len();
            self.list.extend(bytes[from..].iter().take(room));
        }
        for (start, window) in &mut self.windows {
            let reached = *start + window.len() as u64;
            if reached == self.position {
                window.extend(bytes.iter().take((BEFORE + AFTER).saturating_sub(window.len())));
            }
        }
        let mut joined = self.tail.clone();
        joined.extend_from_slice(bytes);
        let first = self.position - self.tail.len() as u64;
        // A mark that ends in the tail was found when that passed.
        let from = self.tail.len().saturating_sub(MARK.len() - 1);
        for at in memmem::find_iter(&joined[from..], MARK).map(|at| from + at) {
            if self.windows.len() < MOST_MARKS {
                let start = at.saturating_sub(BEFORE);
                let window = joined[start..joined.len().min(at + AFTER)].to_vec();
                self.windows.push((first + start as u64, window));
            }
        }
    }

    fn bundle(&self) -> Bundle {
        let mut bundle = Bundle::default();
        let mut reader = Reader { bytes: &self.list };
        match reader.list(&mut bundle) {
            Some((_, 0)) => bundle.incomplete = Some("it has no runtimeconfig.json".to_owned()),
            Some((offset, size)) => {
                bundle.runtime_config = self.windows.iter().find_map(|(start, window)| {
                    let from = usize::try_from(offset.checked_sub(*start)?).ok()?;
                    window.get(from..from.checked_add(usize::try_from(size).ok()?)?).map(<[u8]>::to_vec)
                });
                if bundle.runtime_config.is_none() {
                    bundle.incomplete = Some("its runtimeconfig.json could not be read".to_owned());
                }
            }
            None => bundle.incomplete = Some("the list of what it holds cannot be read".to_owned()),
        }
        bundle
    }
}

/// Whether a file begins as a program that a loader starts.
fn is_program(head: &[u8]) -> bool {
    match head.get(4) {
        Some(1) => has_interpreter::<elf::FileHeader32<Endianness>>(head),
        Some(2) => has_interpreter::<elf::FileHeader64<Endianness>>(head),
        _ => None,
    }
    .unwrap_or(false)
}

fn has_interpreter<Elf: FileHeader<Endian = Endianness>>(head: &[u8]) -> Option<bool> {
    let header = Elf::parse(head).ok()?;
    let endian = header.endian().ok()?;
    let segments = header.program_headers(endian, head).ok()?;
    Some(segments.iter().any(|segment| segment.p_type(endian) == elf::PT_INTERP))
}

/// Reads the list, little-endian whatever the machine.
struct Reader<'a> {
    bytes: &'a [u8],
}

impl Reader<'_> {
    /// Reads the list; gives where the runtimeconfig.json is: offset and size.
    fn list(&mut self, bundle: &mut Bundle) -> Option<(u64, u64)> {
        bundle.major = self.number32()?;
        self.number32()?;
        let count = self.number32()?;
        self.text()?;
        let mut config = (0, 0);
        let mut flags = 0;
        if bundle.major >= 2 {
            self.take(16)?;
            config = (self.number64()?, self.number64()?);
            flags = self.number64()?;
        }
        // .NET Core 3 and the flag for its ways write out everything.
        bundle.extracts = bundle.major == 1 || flags & 1 != 0;
        for _ in 0..count {
            let (offset, size) = (self.number64()?, self.number64()?);
            if bundle.major >= 6 {
                self.number64()?;
            }
            let kind = *self.take(1)?.first()?;
            let name = self.text()?;
            // Assemblies, deps.json and runtimeconfig.json are read where they are; all else is written out.
            bundle.extracts |= ![1, 3, 4].contains(&kind);
            if bundle.major == 1 && name.ends_with(b".runtimeconfig.json") {
                config = (offset, size);
            }
        }
        Some(config)
    }

    fn take(&mut self, count: usize) -> Option<&[u8]> {
        let (taken, rest) = self.bytes.split_at_checked(count)?;
        self.bytes = rest;
        Some(taken)
    }

    fn number32(&mut self) -> Option<u32> {
        self.take(4)?.try_into().ok().map(u32::from_le_bytes)
    }

    fn number64(&mut self) -> Option<u64> {
        self.take(8)?.try_into().ok().map(u64::from_le_bytes)
    }

    /// A text after its length, of which each byte has seven bits.
    fn text(&mut self) -> Option<&[u8]> {
        let mut length = 0_usize;
        for shift in [0, 7, 14] {
            let byte = usize::from(*self.take(1)?.first()?);
            length |= (byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return if length > LONGEST_NAME { None } else { self.take(length) };
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The smallest ELF file with PT_INTERP.
    fn program() -> Vec<u8> {
        let mut file = b"\x7fELF\x02\x01\x01".to_vec();
        file.resize(64, 0);
        file[16] = 3;
        file[18] = 62;
        file[32] = 64;
        file[54] = 56;
        file[56] = 1;
        file.extend([3, 0, 0, 0]);
        file.resize(200, 0);
        file
    }

    fn text(list: &mut Vec<u8>, text: &str) {
        list.push(text.len() as u8);
        list.extend_from_slice(text.as_bytes());
    }

    /// A single file of a format version that holds files of these kinds, and a runtimeconfig.json.
    fn single_file(major: u32, kinds: &[(u8, &str)], config: &str) -> Vec<u8> {
        let mut file = program();
        let placeholder = file.len();
        file.extend([0; 8]);
        file.extend(SIGNATURE);
        file.resize(file.len() + 1000, 7);
        let config_at = file.len() as u64;
        file.extend_from_slice(config.as_bytes());
        file.resize(file.len() + 300, 9);
        let list_at = file.len() as u64;
        file[placeholder..placeholder + 8].copy_from_slice(&list_at.to_le_bytes());
        let mut list = [major.to_le_bytes(), 0_u32.to_le_bytes(), (kinds.len() as u32 + 1).to_le_bytes()].concat();
        text(&mut list, "id");
        let range = |list: &mut Vec<u8>, offset: u64, size: usize| {
            list.extend(offset.to_le_bytes());
            list.extend((size as u64).to_le_bytes());
        };
        if major >= 2 {
            range(&mut list, 0, 0);
            range(&mut list, config_at, config.len());
            list.extend(0_u64.to_le_bytes());
        }
        for (kind, name) in kinds.iter().chain([&(4, "app.runtimeconfig.json")]) {
            range(&mut list, config_at, config.len());
            if major >= 6 {
                list.extend(0_u64.to_le_bytes());
            }
            list.push(if major == 1 { 0 } else { *kind });
            text(&mut list, name);
        }
        file.extend(list);
        file
    }

    fn told(file: &[u8], chunk: usize) -> Option<DotnetHost> {
        let mut scanner = HostScanner::default();
        scanner.start();
        let (head, rest) = file.split_at(file.len().min(chunk.max(200)));
        scanner.push(head);
        rest.chunks(chunk).for_each(|bytes| scanner.push(bytes));
        scanner.finish()
    }

    fn bundle(file: &[u8]) -> Bundle {
        let Some(DotnetHost::SingleFile(bundle)) = told(file, 64 << 10) else { panic!("a single file") };
        bundle
    }

    const CONFIG: &str = "{\n  \"runtimeOptions\": {\"tfm\": \"net8.0\"}\n}";

    #[test]
    fn a_single_file_gives_its_runtimeconfig() {
        let found = bundle(&single_file(6, &[(1, "app.dll"), (3, "app.deps.json")], CONFIG));
        assert_eq!(found.runtime_config.as_deref(), Some(CONFIG.as_bytes()));
        assert_eq!((found.major, found.extracts, found.incomplete), (6, false, None));
    }

    #[test]
    fn native_libraries_and_net_core_3_are_written_out() {
        assert!(bundle(&single_file(6, &[(2, "libx.so")], CONFIG)).extracts);
        assert!(bundle(&single_file(2, &[(0, "data.bin")], CONFIG)).extracts);
        let old = bundle(&single_file(1, &[(0, "app.dll")], CONFIG));
        assert_eq!((old.extracts, old.runtime_config.as_deref()), (true, Some(CONFIG.as_bytes())));
    }

    #[test]
    fn the_size_of_the_chunks_does_not_matter() {
        let file = single_file(6, &[(1, "app.dll")], CONFIG);
        let whole = told(&file, file.len());
        for chunk in [1, 2, 7, 39, 40, 41, 255, 256, 257, 1000] {
            assert_eq!(told(&file, chunk), whole, "{chunk}");
        }
    }

    #[test]
    fn a_host_without_a_list_is_plain_and_other_programs_are_none() {
        let mut file = program();
        assert_eq!(told(&file, 100), None);
        file.extend([0; 8]);
        file.extend(SIGNATURE);
        assert_eq!(told(&file, 100), Some(DotnetHost::AppHost));
        assert_eq!(told(b"\x7fELF", 100), None);
    }

    #[test]
    fn a_list_that_lies_is_incomplete() {
        let mut file = single_file(6, &[(1, "app.dll")], CONFIG);
        file.truncate(file.len() - 5);
        assert!(bundle(&file).incomplete.is_some());
        let far = single_file(6, &[], &format!("{CONFIG}{}", " ".repeat(AFTER)));
        assert_eq!(bundle(&far).incomplete.as_deref(), Some("its runtimeconfig.json could not be read"));
    }

    proptest::proptest! {
        #[test]
        fn a_changed_file_never_panics(at in 0_usize..1800, byte in proptest::num::u8::ANY, chunk in 1_usize..500, major in 0_u32..8) {
            let mut file = single_file(major, &[(1, "app.dll"), (2, "libx.so")], CONFIG);
            if let Some(slot) = file.get_mut(at) { *slot = byte; }
            told(&file, chunk);
        }

        #[test]
        fn hostile_lists_never_panic(list in proptest::collection::vec(proptest::num::u8::ANY, 0..300)) {
            Reader { bytes: &list }.list(&mut Bundle::default());
        }
    }
}
