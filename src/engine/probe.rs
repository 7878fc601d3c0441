//! Tiny programs that need what a .NET program needs to be loaded, and end at once: the image's own loader decides.
//!
//! They are written here, byte by byte, so that no toolchain and no program of anybody else is needed (ELF-64,
//! System V ABI; symbol versions by the Linux Standard Base).

use std::collections::BTreeMap;
use std::io;

use super::secret;

/// What a program is made of.
#[derive(Clone, Debug)]
pub(super) struct Probe<'a> {
    /// `amd64` or `arm64`.
    pub architecture: &'a str,
    /// The program loader.
    pub loader: &'a str,
    /// The libraries, by soname, in order.
    pub libraries: Vec<String>,
    /// Symbol versions, by library.
    pub versions: BTreeMap<String, Vec<String>>,
    /// Symbols that the libraries have to have.
    pub symbols: Vec<String>,
    /// What it prints and ends with.
    pub proof: &'a Proof,
}

/// What a program prints and ends with once it is loaded: another in each container, so that nothing which only looks like
/// a success is taken for one. A loader of the image that reads the program's code could print it, too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Proof {
    word: String,
    code: u8,
}

impl Proof {
    /// A new one, for one container.
    ///
    /// # Errors
    /// The operating system gives no random bytes.
    pub(super) fn new() -> io::Result<Self> {
        let word = secret::word()?;
        // Not a code by which shells and engines report something.
        let code = 64 + secret::bytes()?[0] % 60;
        Ok(Self { word, code })
    }

    /// True if this is how a container ended.
    pub(super) fn is_given(&self, exit_code: Option<i64>, output: &str) -> bool {
        exit_code == Some(self.code.into()) && output.contains(&self.word)
    }

    /// The word that it prints.
    pub(super) fn word(&self) -> &str {
        &self.word
    }

    /// What else was printed.
    pub(super) fn rest(&self, output: &str) -> String {
        output.replace(&self.word, "").trim().to_owned()
    }
}

/// What differs between machines.
struct Machine {
    /// Machine code that prints the proof's word and ends with its code.
    code: fn(&Proof) -> Vec<u8>,
    /// The machine's number (`e_machine`).
    number: u16,
    /// The largest page, in bytes.
    page: usize,
    /// The relocation that puts a symbol's address in a place (`R_…_GLOB_DAT`).
    relocation: u64,
}

fn machine(architecture: &str) -> Option<Machine> {
    match architecture {
        "amd64" => Some(Machine { code: code_of_amd64, number: 62, page: 0x1000, relocation: 6 }),
        "arm64" => Some(Machine { code: code_of_arm64, number: 183, page: 0x1_0000, relocation: 1025 }),
        _ => None,
    }
}

/// The word with a line end, as it stands behind the machine code.
fn line(proof: &Proof) -> Vec<u8> {
    format!("{}\n", proof.word).into_bytes()
}

/// write(1, line, length), exit_group(code).
fn code_of_amd64(proof: &Proof) -> Vec<u8> {
    let line = line(proof);
    let mut code = vec![0xb8, 1, 0, 0, 0]; // mov eax, 1
    code.extend([0xbf, 1, 0, 0, 0]); // mov edi, 1
    code.extend([0x48, 0x8d, 0x35, 19, 0, 0, 0]); // lea rsi, [rip + 19]: the line behind the code
    code.push(0xba); // mov edx, length
    code.extend((line.len() as u32).to_le_bytes());
    code.extend([0x0f, 0x05]); // syscall
    code.extend([0xb8, 231, 0, 0, 0]); // mov eax, 231
    code.extend([0xbf, proof.code, 0, 0, 0]); // mov edi, code
    code.extend([0x0f, 0x05]); // syscall
    code.extend(line);
    code
}

/// The same for the other machine.
fn code_of_arm64(proof: &Proof) -> Vec<u8> {
    let line = line(proof);
    let movz = |register: u32, value: u32| 0xd280_0000 | (value << 5) | register;
    let svc = 0xd400_0001;
    let words = [
        movz(8, 64),                // mov x8, 64
        movz(0, 1),                 // mov x0, 1
        0x1000_0000 | (6 << 5) | 1, // adr x1, 24 bytes on: the line behind the code
        movz(2, line.len() as u32), // mov x2, length
        svc,                        // svc 0
        movz(8, 94),                // mov x8, 94
        movz(0, proof.code.into()), // mov x0, code
        svc,                        // svc 0
    ];
    words.iter().flat_map(|word| word.to_le_bytes()).chain(line).collect()
}

/// A part of the file under construction: bytes, each part aligned to eight.
#[derive(Default)]
struct Body(Vec<u8>);

impl Body {
    fn place(&mut self, bytes: &[u8]) -> u64 {
        self.0.resize(self.0.len().next_multiple_of(8), 0);
        let at = self.0.len() as u64;
        self.0.extend_from_slice(bytes);
        at
    }
}

/// The names of the file, each once.
#[derive(Default)]
struct Strings(Vec<u8>);

impl Strings {
    fn place(&mut self, text: &str) -> u32 {
        if self.0.is_empty() {
            self.0.push(0);
        }
        let at = self.0.len() as u32;
        self.0.extend_from_slice(text.as_bytes());
        self.0.push(0);
        at
    }
}

impl Probe<'_> {
    /// The program; `None` for an architecture that none is written for.
    pub(super) fn bytes(&self) -> Option<Vec<u8>> {
        const HEADERS: usize = 64 + 6 * 56;
        let Machine { code, number: machine, page, relocation } = machine(self.architecture)?;
        let mut strings = Strings::default();
        let needed: Vec<u64> = self.libraries.iter().map(|name| strings.place(name).into()).collect();
        let (versions, libraries) = self.needs(&mut strings);
        let mut body = Body(vec![0; HEADERS]);
        let code = body.place(&code(self.proof));
        let interpreter = body.place(&[self.loader.as_bytes(), b"\0"].concat());
        // The first symbol is none; the others are undefined and global. A hash table of one chain without any.
        let wanted: Vec<u32> = self.symbols.iter().map(|name| strings.place(name)).collect();
        let count = wanted.len();
        let undefined = |name: &u32| [&name.to_le_bytes()[..], &[0x10], &[0; 19]].concat();
        let symbols = body.place(&[vec![0; 24], wanted.iter().flat_map(undefined).collect()].concat());
        let head = [1_u32, count as u32 + 1, 0].map(u32::to_le_bytes).concat();
        let hash = body.place(&[head, vec![0; 4 * (count + 1)]].concat());
        let of_symbols = body.place(&[vec![0; 2], [1, 0].repeat(count)].concat());
        let relocations = body.place(&vec![0; 24 * count]);
        let versions = body.place(&versions);
        let size = strings.0.len() as u64;
        let strings = body.place(&strings.0);
        let text = body.0.len();

        let mut tags: Vec<(u64, u64)> = needed.into_iter().map(|name| (1, name)).collect();
        tags.extend([(4, hash), (5, strings), (6, symbols), (10, size), (11, 24)]);
        if libraries > 0 {
            tags.extend([(0x6fff_fff0, of_symbols), (0x6fff_fffe, versions), (0x6fff_ffff, libraries)]);
        }
        if count > 0 {
            tags.extend([(7, relocations), (8, 24 * count as u64), (9, 24)]);
        }
        // Everything is bound at once.
        tags.extend([(30, 8), (0x6fff_fffb, 1), (0, 0)]);
        // Loaders write to it, so it has a page of its own.
        body.0.resize(text.next_multiple_of(page), 0);
        let dynamic: Vec<u8> =
            tags.iter().flat_map(|(tag, value)| [tag.to_le_bytes(), value.to_le_bytes()]).flatten().collect();
        let at = body.place(&dynamic);
        let addresses = body.place(&vec![0; 8 * count]);
        let length = dynamic.len() as u64;
        for (number, entry) in body.0[relocations as usize..][..24 * count].chunks_exact_mut(24).enumerate() {
            let number = number as u64;
            let fields = [addresses + 8 * number, ((number + 1) << 32) | relocation, 0];
            entry.copy_from_slice(&fields.map(u64::to_le_bytes).concat());
        }
        let end = body.0.len() as u64;

        let mut head: Vec<u8> = b"\x7fELF\x02\x01\x01".to_vec();
        head.resize(16, 0);
        head.extend([3_u16, machine].map(u16::to_le_bytes).concat());
        head.extend(1_u32.to_le_bytes());
        head.extend([code, 64, 0].map(u64::to_le_bytes).concat());
        head.extend(0_u32.to_le_bytes());
        head.extend([64_u16, 56, 6, 0, 0, 0].map(u16::to_le_bytes).concat());
        let mut segment = |kind: u32, flags: u32, offset: u64, size: u64, align: u64| {
            head.extend([kind, flags].map(u32::to_le_bytes).concat());
            head.extend([offset, offset, offset, size, size, align].map(u64::to_le_bytes).concat());
        };
        // By the place of the headers loaders tell where the program came to lie.
        segment(6, 4, 64, 6 * 56, 8);
        segment(3, 4, interpreter, self.loader.len() as u64 + 1, 1);
        segment(1, 5, 0, text as u64, page as u64);
        segment(1, 6, at, end - at, page as u64);
        segment(2, 6, at, length, 8);
        // The stack need not be executable.
        segment(0x6474_e551, 6, 0, 0, 16);
        body.0[..HEADERS].copy_from_slice(&head);
        Some(body.0)
    }

    /// The needed versions (`Elf64_Verneed`, `Elf64_Vernaux`), and of how many libraries there are some.
    fn needs(&self, strings: &mut Strings) -> (Vec<u8>, u64) {
        let with: Vec<(&String, &Vec<String>)> = self
            .versions
            .iter()
            .filter(|(library, versions)| self.libraries.contains(library) && !versions.is_empty())
            .collect();
        let (mut bytes, mut number) = (Vec::new(), 2_u16);
        for (at, (library, versions)) in with.iter().enumerate() {
            let next = if at + 1 == with.len() { 0 } else { 16 + 16 * versions.len() as u32 };
            bytes.extend([1_u16, versions.len() as u16].map(u16::to_le_bytes).concat());
            bytes.extend([strings.place(library), 16, next].map(u32::to_le_bytes).concat());
            for (at, version) in versions.iter().enumerate() {
                bytes.extend(hash(version).to_le_bytes());
                bytes.extend([0_u16, number].map(u16::to_le_bytes).concat());
                let next = if at + 1 == versions.len() { 0 } else { 16_u32 };
                bytes.extend([strings.place(version), next].map(u32::to_le_bytes).concat());
                number += 1;
            }
        }
        (bytes, with.len() as u64)
    }
}

/// The hash of a symbol's or a version's name (System V ABI, "Hash Table").
fn hash(name: &str) -> u32 {
    name.bytes().fold(0_u32, |hash, byte| {
        let hash = (hash << 4).wrapping_add(byte.into());
        let top = hash & 0xf000_0000;
        (hash ^ (top >> 24)) & !top
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proof() -> Proof {
        Proof { word: "0123456789abcdef0123456789abcdef".to_owned(), code: 77 }
    }

    fn probe(libraries: &[&str], versions: &[(&str, &str)], symbols: &[&str]) -> Vec<u8> {
        let (architecture, loader) = match std::env::consts::ARCH {
            "aarch64" => ("arm64", "/lib/ld-linux-aarch64.so.1"),
            _ => ("amd64", "/lib64/ld-linux-x86-64.so.2"),
        };
        let versions = versions.iter().map(|(library, version)| ((*library).to_owned(), vec![(*version).to_owned()]));
        let probe = Probe {
            architecture,
            loader,
            libraries: libraries.iter().map(|name| (*name).to_owned()).collect(),
            versions: versions.collect(),
            symbols: symbols.iter().map(|name| (*name).to_owned()).collect(),
            proof: &proof(),
        };
        probe.bytes().unwrap()
    }

    #[test]
    fn hashes_are_those_of_the_system() {
        assert_eq!(hash("GLIBC_2.2.5"), 0x0969_1a75);
        assert_eq!(hash("GLIBC_2.17"), 0x0696_9197);
    }

    #[cfg(unix)]
    #[test]
    fn this_machine_s_own_loader_decides() {
        use std::os::unix::fs::PermissionsExt as _;
        use std::process::Command;
        if !std::path::Path::new("/lib64/ld-linux-x86-64.so.2").exists() {
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let run = |bytes: &[u8]| {
            let file = folder.path().join("probe");
            std::fs::write(&file, bytes).unwrap();
            std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
            let output = Command::new(&file).output().unwrap();
            let said = [output.stdout, output.stderr].concat();
            (output.status.code(), String::from_utf8_lossy(&said).into_owned())
        };
        let (code, said) = run(&probe(&["libc.so.6"], &[("libc.so.6", "GLIBC_2.17")], &["malloc", "puts"]));
        assert_eq!((code, said.as_str()), (Some(77), "0123456789abcdef0123456789abcdef\n"));
        assert!(proof().is_given(code.map(i64::from), &said) && proof().rest(&said).is_empty());
        let (code, said) = run(&probe(&["libc.so.6"], &[("libc.so.6", "GLIBC_9.99")], &[]));
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains("version `GLIBC_9.99' not found"), "{said}");
        let (code, said) = run(&probe(&["libnowhere.so.1", "libc.so.6"], &[], &[]));
        assert_eq!(code, Some(127), "{said}");
        assert!(said.contains("libnowhere.so.1: cannot open shared object file"), "{said}");
        let (code, said) = run(&probe(&["libc.so.6"], &[("libc.so.6", "GLIBC_2.17")], &["puts", "u_strlen_72"]));
        assert_eq!(code, Some(127), "{said}");
        assert!(said.contains("undefined symbol: u_strlen_72"), "{said}");
    }

    #[test]
    fn none_is_written_for_other_machines() {
        let probe = Probe {
            architecture: "riscv64",
            loader: "",
            libraries: Vec::new(),
            versions: BTreeMap::new(),
            symbols: Vec::new(),
            proof: &proof(),
        };
        assert!(probe.bytes().is_none());
    }

    #[test]
    fn only_its_own_word_and_code_together_are_a_proof() {
        let (own, other) = (Proof::new().unwrap(), Proof::new().unwrap());
        assert_ne!(own.word, other.word);
        assert!((64..124).contains(&own.code));
        assert!(!own.is_given(Some(own.code.into()), &other.word));
        assert!(!own.is_given(Some(0), &own.word) && !own.is_given(None, &own.word));
    }
}
