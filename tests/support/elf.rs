//! Builds tiny ELF files: one segment with what a loader asks for, and any text one wants to be found in it.

pub const X86_64: u16 = 62;
pub const I386: u16 = 3;
pub const AARCH64: u16 = 183;
/// What a bash says of itself.
pub const BASH_MARK: &[u8] = b"@(#)Bash version 5.2.15(1) release GNU\0";
/// Where each file says that it begins: somewhere in what is loaded.
const ENTRY: usize = 16;

/// What an ELF file shall say of itself. Little-endian; 32 bits for i386, else 64.
#[derive(Clone, Debug, Default)]
pub struct Elf<'a> {
    pub machine: u16,
    pub interpreter: Option<&'a str>,
    pub needed: Vec<&'a str>,
    pub soname: Option<&'a str>,
    pub runpath: Option<&'a str>,
    pub rpath: Option<&'a str>,
    /// Symbols that it defines (64 bits only).
    pub symbols: Vec<&'a str>,
    /// Symbol versions that it defines.
    pub versions: Vec<&'a str>,
    /// Bytes that stand in it for no other reason, such as the banner of a C library.
    pub text: Vec<u8>,
    /// How many zeros stand between the headers and all the rest.
    pub gap: usize,
}

impl<'a> Elf<'a> {
    /// A program that is started by `interpreter`.
    pub fn program(machine: u16, interpreter: &'a str) -> Self {
        Self { machine, interpreter: Some(interpreter), needed: vec!["libc.so.6"], ..Self::default() }
    }

    /// A program that needs nothing, with `text` in it.
    pub fn fixed(machine: u16, text: &[u8]) -> Self {
        Self { machine, text: text.to_vec(), ..Self::default() }
    }

    /// A library or loader.
    pub fn library(machine: u16, soname: &'a str) -> Self {
        Self { machine, soname: Some(soname), ..Self::default() }
    }

    pub fn text(self, text: &[u8]) -> Self {
        Self { text: text.to_vec(), ..self }
    }

    pub fn bytes(&self) -> Vec<u8> {
        let is_64 = self.machine != I386;
        let word = |value: usize| if is_64 { (value as u64).to_le_bytes().to_vec() } else { four(value) };
        let (header_size, segment_size) = if is_64 { (64, 56) } else { (52, 32) };
        let is_dynamic = !self.needed.is_empty() || self.soname.is_some();
        let segments = 1 + usize::from(self.interpreter.is_some()) + usize::from(is_dynamic);
        let start = (header_size + segments * segment_size + self.gap).next_multiple_of(16);

        let mut body = Vec::new();
        let interpreter = self.interpreter.map(|path| {
            body.extend_from_slice(path.as_bytes());
            body.push(0);
            (start, path.len() + 1)
        });
        let mut strings = vec![0];
        let mut string = |text: &str| {
            let at = strings.len();
            strings.extend_from_slice(text.as_bytes());
            strings.push(0);
            at
        };
        let mut tags: Vec<(usize, usize)> = self.needed.iter().map(|name| (1, string(name))).collect();
        tags.extend(self.soname.map(|name| (14, string(name))));
        tags.extend(self.runpath.map(|path| (29, string(path))));
        tags.extend(self.rpath.map(|path| (15, string(path))));
        let symbols: Vec<usize> = self.symbols.iter().map(|name| string(name)).collect();
        let names: Vec<usize> = self.soname.iter().chain(&self.versions).map(|name| string(name)).collect();
        body.resize(body.len().next_multiple_of(16), 0);
        if !self.versions.is_empty() {
            tags.push((0x6fff_fffc, start + body.len()));
            tags.push((0x6fff_fffd, names.len()));
            for (at, name) in names.iter().enumerate() {
                let next = if at + 1 == names.len() { 0 } else { 28 };
                // The base definition has the flag 1.
                for half in [1, u16::from(at == 0 && self.soname.is_some()), at as u16 + 1, 1] {
                    body.extend(half.to_le_bytes());
                }
                body.extend([four(0), four(20), four(next), four(*name), four(0)].concat());
            }
        }
        if !symbols.is_empty() {
            assert!(is_64, "symbols are written for 64 bits only");
            // A hash table of one chain; the first symbol is none.
            tags.push((4, start + body.len()));
            let chain = 0..=symbols.len();
            body.extend([four(1), four(symbols.len() + 1), four(1)].concat());
            body.extend(chain.clone().flat_map(|at| four(if at == 0 || at == symbols.len() { 0 } else { at + 1 })));
            body.resize(body.len().next_multiple_of(8), 0);
            tags.push((6, start + body.len()));
            for at in chain {
                let name = if at == 0 { 0 } else { symbols[at - 1] };
                // Global, a function, defined in section 1.
                let section = usize::from(at > 0);
                body.extend([four(name), vec![0x12, 0], two(section), word(0), word(0)].concat());
            }
        }
        tags.push((5, start + body.len()));
        tags.push((10, strings.len()));
        body.extend_from_slice(&strings);
        body.extend_from_slice(&self.text);
        body.resize(body.len().next_multiple_of(16), 0);
        tags.push((0, 0));
        let dynamic_start = start + body.len();
        let dynamic: Vec<u8> = tags.iter().flat_map(|&(tag, value)| [word(tag), word(value)].concat()).collect();
        if is_dynamic {
            body.extend_from_slice(&dynamic);
        }

        let mut file = b"\x7fELF".to_vec();
        file.extend([if is_64 { 2 } else { 1 }, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        file.extend(
            [two(3), two(self.machine.into()), four(1), word(ENTRY), word(header_size), word(0), four(0)].concat(),
        );
        file.extend([header_size, segment_size, segments, 0, 0, 0].map(two).concat());
        let mut segment = |kind: usize, offset: usize, size: usize| {
            let flags = four(4);
            let parts = [word(offset), word(offset), word(offset), word(size), word(size)].concat();
            let align = word(8);
            file.extend(four(kind));
            file.extend(if is_64 { [flags, parts, align].concat() } else { [parts, flags, align].concat() });
        };
        segment(1, 0, start + body.len());
        if let Some((offset, size)) = interpreter {
            segment(3, offset, size);
        }
        if is_dynamic {
            segment(2, dynamic_start, dynamic.len());
        }
        file.resize(start, 0);
        file.extend(body);
        file
    }
}

fn two(value: usize) -> Vec<u8> {
    (value as u16).to_le_bytes().to_vec()
}

fn four(value: usize) -> Vec<u8> {
    (value as u32).to_le_bytes().to_vec()
}
