//! The dynamic linker's work on an image's files: which libraries a program gets, from where, and what it cannot get.
//!
//! Nothing is run and no file is opened: the search goes through the layers' entries and ELF summaries, as glibc's
//! loader (ld.so(8); glibc, elf/dl-load.c) or musl's (musl, ldso/dynlink.c) would go through the files.

mod cache;
mod glibc;
mod musl;
mod open;
mod paths;
mod process;
mod processor;
mod symbols;
mod system;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

use crate::layer::ElfSummary;
use crate::rootfs::{Access, Account, Node, Rootfs};
use crate::verdict::Place;

pub use cache::Cache;
pub use process::{Main, Process};
pub use processor::{Processor, processors};

/// A loader in an image, with all that its search depends on.
pub struct Linker<'a> {
    rootfs: &'a Rootfs,
    /// The user who opens files.
    reader: Account<'a>,
    /// The class, byte order and machine that libraries have to be of.
    machine: Machine,
    search: Search<'a>,
    is_secure: bool,
    /// Whether a search so far may end otherwise on another processor.
    depends_on_processor: Cell<bool>,
}

/// With what a program is started.
#[derive(Clone, Copy, Debug)]
pub struct Start<'e, 'a> {
    /// The environment variables.
    pub environment: &'e BTreeMap<String, String>,
    /// The user who starts it.
    pub user: Account<'a>,
    /// The user that it runs as, who opens its libraries: another one if it is a set-user-ID program.
    pub reader: Account<'a>,
    /// Secure-execution mode (ld.so(8)): what the environment says of libraries does not count.
    pub is_secure: bool,
    /// The processor.
    pub processor: Processor,
}

impl<'e> Start<'e, '_> {
    /// A variable that is set to something and counts.
    fn variable(&self, name: &str) -> Option<&'e str> {
        let value = self.environment.get(name).filter(|value| !value.is_empty() && !self.is_secure);
        value.map(String::as_str)
    }
}

/// What ELF files have to be of to be loaded together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Machine {
    is_64: bool,
    is_little_endian: bool,
    machine: u16,
}

enum Search<'a> {
    Glibc(Box<glibc::Glibc<'a>>),
    Musl(musl::Musl),
}

/// A program, or a library that was loaded.
#[derive(Clone, Debug)]
pub struct Object<'a> {
    /// The name that was asked for.
    asked: String,
    /// The names by which it is found again. With glibc what was asked for and its soname, with musl only what a search
    /// found.
    names: Vec<String>,
    /// Of a program, the folder that `$ORIGIN` stands for, where that is not the folder of its path.
    origin: Option<String>,
    /// Its path as it was opened; of a program that is only described, a name in words.
    pub path: String,
    /// Its path without links, by which it is known again.
    real: Option<String>,
    /// What it is.
    pub elf: &'a ElfSummary,
    /// Which object asked for it first.
    pub asked_by: Option<usize>,
    /// How it was found.
    pub how: How,
    /// The file, and the layer that gives it.
    pub place: Place,
}

/// How a library was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum How {
    /// It was started, or loaded by its full path.
    Path,
    /// The program's loader.
    Loader,
    /// `LD_PRELOAD` or `/etc/ld.so.preload`.
    Preload,
    /// DT_RPATH of this object.
    Rpath(String),
    /// `LD_LIBRARY_PATH`.
    LibraryPath,
    /// DT_RUNPATH of this object.
    Runpath(String),
    /// `/etc/ld.so.cache`.
    Cache,
    /// A folder that the loader knows by itself, or (musl) by `/etc/ld-musl-*.path`.
    Default(String),
}

impl How {
    /// For people.
    #[must_use]
    pub fn words(&self) -> String {
        match self {
            Self::Path => "its path".to_owned(),
            Self::Loader => "the program's loader".to_owned(),
            Self::Preload => "LD_PRELOAD or /etc/ld.so.preload".to_owned(),
            Self::Rpath(owner) => format!("RPATH of {owner}"),
            Self::LibraryPath => "LD_LIBRARY_PATH".to_owned(),
            Self::Runpath(owner) => format!("RUNPATH of {owner}"),
            Self::Cache => "ld.so.cache".to_owned(),
            Self::Default(folder) => format!("default folder {folder}"),
        }
    }
}

/// Why something could not be loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The name that was asked for.
    pub library: String,
    /// The path of the object that asked for it.
    pub asked_by: String,
    /// What is wrong.
    pub why: Why,
    /// The file that is wrong, or the one that asks.
    pub place: Place,
}

/// What is wrong with a library.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    /// It is nowhere.
    NotFound(NotFound),
    /// What was found cannot be loaded, and why: the end of a sentence about it.
    Broken {
        /// The file, as it was opened.
        path: String,
        /// The reason.
        why: String,
    },
    /// It lacks a symbol version.
    VersionMissing {
        /// The file.
        path: String,
        /// The version.
        version: String,
    },
    /// Nothing that is loaded defines a symbol that has to be bound.
    SymbolMissing {
        /// Its name.
        symbol: String,
        /// How many more are missing.
        others: usize,
        /// The libraries that the object asks for, as they were opened.
        loaded: Vec<String>,
    },
    /// It could not be told, and why.
    Unknown(String),
}

/// Where a library is not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NotFound {
    /// The folders, and what names them.
    pub looked_in: Vec<String>,
    /// Files of that name that were passed over, and why.
    pub passed_over: Vec<String>,
    /// The path in the loader's cache, where nothing can be opened.
    pub cached: Option<String>,
    /// Why it may be found nevertheless.
    pub open: Option<String>,
}

impl NotFound {
    fn or_open(&mut self, why: impl FnOnce() -> String) {
        self.open.get_or_insert_with(why);
    }
}

/// What became of looking for one name.
enum Lookup<'a> {
    /// An object that is loaded already.
    Loaded(usize),
    /// A file that can be loaded.
    Found(Box<Opened<'a>>, How),
    /// Anything else.
    Failed(Why, Option<Place>),
}

/// A file that was opened as a library.
struct Opened<'a> {
    path: String,
    node: Node<'a>,
    elf: &'a ElfSummary,
}

/// Why a program has no linker that could be followed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoLinker {
    /// Its loader is not there or cannot be used: a sentence.
    Missing(String, Place),
    /// Its loader is of a kind that is not known: a sentence.
    Strange(String, Place),
}

/// The loaders of an image, each set up once for all programs that ask for it. All are for one environment.
pub struct Loaders<'a> {
    rootfs: &'a Rootfs,
    known: RefCell<HashMap<LoaderKey, Rc<Loader<'a>>>>,
}

/// A loader that is set up, and itself as something that is loaded.
pub type Loader<'a> = Result<(Linker<'a>, Object<'a>), NoLinker>;

/// What a loader depends on: its path, the machine, the user, secure-execution mode and the processor.
type LoaderKey = (Option<String>, Machine, (u32, Option<u32>, bool), &'static str);

impl<'a> Loaders<'a> {
    /// None so far.
    #[must_use]
    pub fn new(rootfs: &'a Rootfs) -> Self {
        Self { rootfs, known: RefCell::default() }
    }

    /// The loader that a program asks for ([`Linker::of`]).
    #[must_use]
    pub fn of(&self, program: &ElfSummary, start: &Start<'_, 'a>) -> Rc<Loader<'a>> {
        let who = (start.reader.uid, start.reader.gid, start.is_secure);
        let key = (program.interpreter.clone(), Machine::of(program), who, start.processor.name);
        let mut known = self.known.borrow_mut();
        Rc::clone(known.entry(key).or_insert_with(|| Rc::new(Linker::of(program, self.rootfs, start))))
    }
}

impl<'a> Linker<'a> {
    /// The loader that `program` asks for.
    ///
    /// # Errors
    /// The loader is not in the image, cannot be started, or is one whose search is not known.
    pub fn of(program: &ElfSummary, rootfs: &'a Rootfs, start: &Start<'_, 'a>) -> Result<(Self, Object<'a>), NoLinker> {
        let interpreter = program.interpreter.as_deref().unwrap_or_default();
        if !interpreter.starts_with('/') {
            let why = format!("its loader {interpreter:?} is relative to the working directory");
            return Err(NoLinker::Strange(why, Place::default()));
        }
        let missing = |why: String, place: Place| NoLinker::Missing(why, place);
        let node = rootfs.find(interpreter).map_err(|why| {
            missing(format!("its loader {interpreter} cannot be started: {}", why.why()), Place::path(interpreter))
        })?;
        let place = rootfs.place(interpreter.trim_start_matches('/'), &node);
        let machine = Machine::of(program);
        let elf = node.detail().and_then(|detail| detail.elf.as_ref());
        let Some(elf) = elf.filter(|elf| Machine::of(elf) == machine) else {
            let what = match elf.and_then(ElfSummary::architecture) {
                Some(architecture) => format!("is for {architecture}"),
                None => "is no program loader".to_owned(),
            };
            return Err(missing(format!("its loader {interpreter} {what}"), place));
        };
        if !rootfs.may(start.user, Access::Execute, &node) {
            return Err(missing(format!("its loader {interpreter} is not executable"), place));
        }
        if elf.is_cut {
            return Err(missing(format!("its loader {interpreter} is cut off"), place));
        }
        let family = elf.libc_mark.as_ref().map(|mark| mark.family.as_str());
        let search = match family {
            Some("glibc") => Search::Glibc(Box::new(glibc::Glibc::new(rootfs, elf, start, machine))),
            Some("musl") => Search::Musl(musl::Musl::new(rootfs, elf, interpreter, start)),
            _ => {
                let why = format!("{interpreter} is not the loader of glibc or musl, so what it finds is not known");
                return Err(NoLinker::Strange(why, place));
            }
        };
        let object = Object {
            asked: interpreter.to_owned(),
            names: vec![interpreter.to_owned(), paths_name(interpreter), elf.soname.clone().unwrap_or_default()],
            path: interpreter.to_owned(),
            origin: None,
            real: Some(node.path.clone()),
            elf,
            asked_by: Some(0),
            how: How::Loader,
            place,
        };
        let is_secure = start.is_secure;
        let depends_on_processor = Cell::new(false);
        Ok((Self { rootfs, reader: start.reader, machine, search, is_secure, depends_on_processor }, object))
    }

    /// Whether what was looked up so far may be found elsewhere on another processor.
    #[must_use]
    pub fn depends_on_processor(&self) -> bool {
        self.depends_on_processor.get()
    }

    /// Whether this is musl's loader, which knows no symbol versions.
    #[must_use]
    pub fn is_musl(&self) -> bool {
        matches!(self.search, Search::Musl(_))
    }

    /// Where the loader's search ends, for people.
    #[must_use]
    pub fn default_folders(&self) -> &[String] {
        match &self.search {
            Search::Glibc(glibc) => &glibc.default_folders,
            Search::Musl(musl) => musl.system_folders(),
        }
    }

    /// The place of a file as it was opened.
    fn place(&self, path: &str, node: &Node<'_>) -> Place {
        self.rootfs.place(path.trim_start_matches('/'), node)
    }

    fn look_up(&self, name: &str, asked_by: usize, objects: &[Object<'a>]) -> Lookup<'a> {
        match &self.search {
            Search::Glibc(glibc) => glibc.look_up(self, name, asked_by, objects),
            Search::Musl(musl) => musl.look_up(self, name, asked_by, objects),
        }
    }
}

impl Machine {
    fn of(elf: &ElfSummary) -> Self {
        Self { is_64: elf.is_64, is_little_endian: elf.is_little_endian, machine: elf.machine }
    }
}

fn paths_name(path: &str) -> String {
    path.rsplit('/').next().unwrap_or_default().to_owned()
}
