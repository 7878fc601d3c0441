//! Finds modules along Python's path as `import` does, as the user of the image.
//!
//! Source: Python, Lib/importlib/_bootstrap_external.py (`FileFinder`, `PathFinder`, `_NamespacePath`).

use crate::facts::programs::Surroundings;
use crate::layer::Kind;
use crate::layer::path::{absolute, join};
use crate::rootfs::{Access, Node};

/// The first number of compiled modules, by release (Python, Include/internal/pycore_magic_number.h).
const MAGIC: [(&str, u16); 9] = [
    ("3.6", 3379),
    ("3.7", 3394),
    ("3.8", 3413),
    ("3.9", 3425),
    ("3.10", 3439),
    ("3.11", 3495),
    ("3.12", 3531),
    ("3.13", 3571),
    ("3.14", 3627),
];

/// What became of an import.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Import {
    /// The file of the module, or the folder of one without a file.
    Found(String),
    /// No folder has it.
    Missing,
    /// What is found first cannot be imported: why, a sentence.
    Fails(String),
    /// It is not known: why, a sentence.
    Open(String),
}

/// Imports as one Python does it.
pub struct Importer<'a> {
    /// The image.
    pub around: &'a Surroundings<'a>,
    /// The release, such as `3.11`.
    pub version: &'a str,
}

/// One part of a dotted name.
enum Part {
    /// A package: where its parts are looked for, and its own file.
    Package(Vec<String>, String),
    /// A module in one file.
    Module(String),
}

impl Importer<'_> {
    /// Imports a dotted name. A part of it is taken from the first folder that has it, whatever that is.
    pub fn import(&self, name: &str, path: &[String]) -> Import {
        let mut folders = path.to_vec();
        let mut file = String::new();
        let parts: Vec<&str> = name.split('.').collect();
        for (number, part) in parts.iter().enumerate() {
            match self.part(part, &folders) {
                Err(import) if number == 0 || import != Import::Missing => return import,
                Err(_) => return Import::Fails(format!("{file} is found first, and it has no {part}")),
                Ok(Part::Package(inside, own)) => {
                    folders = inside;
                    file = own;
                }
                Ok(Part::Module(own)) if number + 1 == parts.len() => file = own,
                // What a module defines can be imported from it, but it has no modules in it.
                Ok(Part::Module(own)) if number + 2 == parts.len() && number > 0 => {
                    return Import::Open(format!("whether {own} defines {} is not known", parts[number + 1]));
                }
                Ok(Part::Module(own)) => return Import::Fails(format!("{own} is found first, and it is no package")),
            }
        }
        Import::Found(file)
    }

    fn part(&self, name: &str, folders: &[String]) -> Result<Part, Import> {
        let mut portions: Vec<String> = Vec::new();
        for folder in folders {
            if !self.is_listed(folder) {
                continue;
            }
            let inside = absolute(&join(folder, name));
            let is_folder = self.around.rootfs.find(&inside).is_ok_and(|node| node.kind == Kind::Directory);
            if is_folder
                && self.is_listed(&inside)
                && let Some(file) = self.file(&inside, "__init__")
            {
                return Ok(Part::Package(vec![inside], file?));
            }
            if let Some(file) = self.file(folder, name) {
                return Ok(Part::Module(file?));
            }
            if is_folder {
                portions.push(inside);
            }
        }
        // Folders without __init__.py are one package together.
        match portions.first().cloned() {
            Some(first) => Ok(Part::Package(portions, first)),
            None => Err(Import::Missing),
        }
    }

    /// Whether the user may list a folder; others are passed over.
    fn is_listed(&self, folder: &str) -> bool {
        let may = |node: &Node<'_>, access| self.around.rootfs.may(self.around.user, access, node);
        self.around
            .rootfs
            .find(folder)
            .is_ok_and(|node| node.kind == Kind::Directory && may(&node, Access::Read) && may(&node, Access::Execute))
    }

    /// The file of a module in a folder: compiled code first, then source, then what Python compiled.
    fn file(&self, folder: &str, name: &str) -> Option<Result<String, Import>> {
        let names = self.around.rootfs.names(folder);
        let start = format!("{name}.");
        let endings: Vec<&str> = names.iter().filter_map(|file| file.strip_prefix(&start)).collect();
        let binary = endings.iter().filter(|ending| self.is_extension(ending)).max_by_key(|ending| ending.len());
        let plain = ["py", "pyc"].iter().find(|ending| endings.contains(ending));
        let path = absolute(&join(folder, &format!("{name}.{}", binary.or(plain)?)));
        let node = self.around.rootfs.find(&path).ok()?;
        if node.kind != Kind::File {
            return None;
        }
        if !self.around.rootfs.may(self.around.user, Access::Read, &node) {
            let why = format!("{path} is found first, and uid {} may not read it", self.around.user.uid);
            return Some(Err(Import::Fails(why)));
        }
        let refused = match (binary, plain) {
            (Some(_), _) => self.wrong_processor(&path, &node),
            (None, Some(&"pyc")) => self.other_release(&path, &node),
            _ => None,
        };
        Some(refused.map_or(Ok(path), Err))
    }

    /// Whether a file of compiled code may be one for this Python, by its name.
    fn is_extension(&self, ending: &str) -> bool {
        let Some(tag) = ending.strip_suffix("so") else { return false };
        let of_release = format!("cpython-{}", self.version.replace('.', ""));
        match tag.strip_suffix('.').unwrap_or_default() {
            "" | "abi3" => true,
            tag => tag.strip_prefix(&of_release).is_some_and(|rest| rest.is_empty() || self.is_of_processor(rest)),
        }
    }

    /// Whether what follows the release in a name, such as `-x86_64-linux-gnu`, is this processor.
    fn is_of_processor(&self, rest: &str) -> bool {
        let name = match self.around.architecture {
            "amd64" => "x86_64",
            "arm64" => "aarch64",
            "386" => "i386",
            other => other,
        };
        let rest = rest.trim_start_matches(|flag: char| flag.is_ascii_lowercase()).trim_start_matches('-');
        rest.starts_with(name)
    }

    fn wrong_processor(&self, path: &str, node: &Node<'_>) -> Option<Import> {
        let Some(elf) = node.detail().and_then(|detail| detail.elf.as_ref()) else {
            return Some(Import::Fails(format!("{path} is found first, and it is not a library")));
        };
        let own = elf.architecture().unwrap_or("another processor");
        (own != self.around.architecture).then(|| Import::Fails(format!("{path} is found first, and it is for {own}")))
    }

    fn other_release(&self, path: &str, node: &Node<'_>) -> Option<Import> {
        let open = || Import::Open(format!("whether {path} was compiled by Python {} is not known", self.version));
        let Some(content) = node.detail().and_then(|detail| detail.content.as_deref()) else { return Some(open()) };
        let Some((_, magic)) = MAGIC.iter().find(|(release, _)| *release == self.version) else { return Some(open()) };
        let start = content.get(..4).unwrap_or_default();
        let [low, high] = magic.to_le_bytes();
        (start != [low, high, b'\r', b'\n'])
            .then(|| Import::Fails(format!("{path} is found first, and Python {} did not compile it", self.version)))
    }

    /// Why the compiled part of the cipher cannot be loaded that lies next to its module; `None` where there is none
    /// (pycryptodome, lib/Crypto/Util/_raw_api.py: each ending is tried; PyCrypto's is a module of its own).
    pub fn lost_cipher(&self, module: &str) -> Option<String> {
        let (folder, _) = module.rsplit_once('/')?;
        let names = self.around.rootfs.names(folder);
        let mut parts = names.iter().filter(|name| {
            let ending = name.strip_prefix("_raw_aes.").or_else(|| name.strip_prefix("_AES."));
            ending.is_some_and(|ending| ending.ends_with("so"))
        });
        let may_load = |name: &&String| {
            let ending = name.split_once('.').map_or("", |(_, ending)| ending);
            let path = format!("{folder}/{name}");
            self.is_extension(ending)
                && self.around.rootfs.find(&path).is_ok_and(|node| {
                    self.wrong_processor(&path, &node).is_none()
                        && self.around.rootfs.may(self.around.user, Access::Read, &node)
                })
        };
        let first = parts.next()?;
        let is_lost = !may_load(&first) && !parts.any(|name| may_load(&name));
        is_lost.then(|| format!("{folder}/{first}, which {module} loads, is not for this Python and processor"))
    }
}
