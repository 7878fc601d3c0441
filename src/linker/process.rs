//! A program with the libraries that are loaded for it, at its start and later on.

use std::collections::{BTreeSet, VecDeque};

use super::paths::parent;
use super::{Failure, How, Linker, Lookup, Object, Search, Why};
use crate::layer::ElfSummary;
use crate::verdict::Place;

/// The most searches for a library that is not loaded yet, at the start and for each probe: more than the largest real
/// programs make.
const MOST_LOOKUPS: usize = 1500;

/// A program and its libraries. The first object is the program, the second its loader.
pub struct Process<'a> {
    pub(super) linker: &'a Linker<'a>,
    pub(super) objects: Vec<Object<'a>>,
    lookups: usize,
    /// How many of the objects were loaded at the start.
    pub(super) at_start: usize,
}

/// A program that is to be started.
pub struct Main<'a> {
    /// What it is.
    pub elf: &'a ElfSummary,
    /// Its path as it was called; of a program that is only described, a name in words.
    pub path: &'a str,
    /// Its path without links: `$ORIGIN` is its folder (proc(5), `/proc/PID/exe`).
    pub real: Option<&'a str>,
    /// The file, and the layer that gives it.
    pub place: Place,
}

impl<'a> Process<'a> {
    /// Starts a program: loads what is preloaded and all that it needs, breadth first, and checks the symbol versions.
    /// Gives everything that is wrong, where the loader would stop at the first.
    pub fn start(linker: &'a Linker<'a>, loader: Object<'a>, program: Main<'a>) -> (Self, Vec<Failure>) {
        let main = Object {
            asked: String::new(),
            names: Vec::new(),
            path: program.path.to_owned(),
            origin: program.real.map(|real| parent(real).to_owned()),
            real: None,
            elf: program.elf,
            asked_by: None,
            how: How::Path,
            place: program.place,
        };
        linker.depends_on_processor.set(false);
        let mut process = Self { linker, objects: vec![main, loader], lookups: 0, at_start: 0 };
        let mut failures = process.audit();
        process.preload();
        failures.extend(process.load_needed(0));
        process.at_start = process.objects.len();
        // Without a library most of its symbols are missing, too.
        if failures.is_empty() {
            failures = process.missing_symbols(0, &(0..process.at_start).collect::<Vec<_>>());
        }
        (process, failures)
    }

    /// Loads a library by its name for an object that asks for it, as dlopen(3) does: all or nothing.
    ///
    /// # Errors
    /// It, or something that it needs, cannot be loaded.
    pub fn open(&mut self, name: &str, asked_by: usize) -> Result<usize, Vec<Failure>> {
        let before = self.objects.len();
        let index = self.load(name, asked_by).map_err(|failure| vec![*failure])?;
        let mut failures = self.load_needed(before);
        if failures.is_empty() && index >= before {
            failures = self.missing_symbols(before, &self.scope_of(index));
        }
        if failures.is_empty() {
            return Ok(index);
        }
        self.objects.truncate(before);
        Err(failures)
    }

    /// The names that start so and that the loader's cache or a loaded library answers to.
    #[must_use]
    pub fn known_names(&self, start: &str) -> BTreeSet<String> {
        let cached = match &self.linker.search {
            Search::Glibc(glibc) => glibc.cached_names(start),
            Search::Musl(_) => Vec::new(),
        };
        let loaded = self.objects.iter().flat_map(|object| &object.names).filter(|name| name.starts_with(start));
        cached.into_iter().chain(loaded.cloned()).collect()
    }

    /// Begins a search of its own for libraries: what was looked up before does not count against it.
    pub fn begin_probe(&mut self) {
        self.lookups = 0;
    }

    /// Whether the loader is musl's.
    #[must_use]
    pub fn is_musl(&self) -> bool {
        self.linker.is_musl()
    }

    /// Gives up what was loaded since there were `count` objects (dlclose(3)).
    pub fn close_to(&mut self, count: usize) {
        self.objects.truncate(count);
    }

    /// Everything that is loaded.
    #[must_use]
    pub fn objects(&self) -> &[Object<'a>] {
        &self.objects
    }

    /// The path of the object that asked for the one at `index`.
    #[must_use]
    pub fn asker(&self, index: usize) -> &str {
        self.objects[index].asked_by.map_or("", |asker| self.objects[asker].path.as_str())
    }

    /// A library that audits may answer every search otherwise. One that cannot be loaded is passed over (ld.so(8),
    /// "LD_AUDIT").
    fn audit(&mut self) -> Vec<Failure> {
        let names = match &self.linker.search {
            Search::Glibc(glibc) => glibc.audit.clone(),
            Search::Musl(_) => Vec::new(),
        };
        let found = names.into_iter().find(|name| {
            let is_there = self.load(name, 0).is_ok();
            self.objects.truncate(2);
            is_there
        });
        let failure = |name: String| Failure {
            why: Why::Unknown(format!("LD_AUDIT loads {name}, which may change every search")),
            library: name,
            asked_by: self.objects[0].path.clone(),
            place: Place::field("config.Env"),
        };
        found.map(failure).into_iter().collect()
    }

    /// Libraries that come before all others; one that cannot be loaded is passed over (ld.so(8), "LD_PRELOAD").
    fn preload(&mut self) {
        let names = match &self.linker.search {
            Search::Glibc(glibc) => glibc.preload.clone(),
            Search::Musl(musl) => musl.preload.clone(),
        };
        for name in names {
            let before = self.objects.len();
            if let Ok(index) = self.load(&name, 0)
                && index >= before
            {
                self.objects[index].how = How::Preload;
            }
        }
    }

    /// Loads what the objects from `first` on need, and checks their symbol versions.
    fn load_needed(&mut self, first: usize) -> Vec<Failure> {
        let mut failures = Vec::new();
        let mut queue: VecDeque<usize> = (first..self.objects.len()).collect();
        while let Some(index) = queue.pop_front() {
            let elf = self.objects[index].elf;
            // A filter's libraries are needed like others (glibc, elf/dl-deps.c); musl does not know filters.
            let filters = if self.linker.is_musl() { &[][..] } else { &elf.filters };
            for name in filters.iter().chain(&elf.needed) {
                let before = self.objects.len();
                match self.load(name, index) {
                    Ok(loaded) if loaded >= before => queue.push_back(loaded),
                    Ok(_) => {}
                    // What one asker cannot have, the next cannot either; but each is told once.
                    Err(failure) if failures.iter().any(|known: &Failure| known.library == failure.library) => {}
                    Err(failure) => failures.push(*failure),
                }
            }
        }
        if !self.linker.is_musl() {
            failures.extend((first..self.objects.len()).flat_map(|index| self.missing_versions(index)));
        }
        failures
    }

    fn load(&mut self, name: &str, asked_by: usize) -> Result<usize, Box<Failure>> {
        let failure = |objects: &[Object<'a>], why: Why, place: Option<Place>| {
            Box::new(Failure {
                library: name.to_owned(),
                asked_by: objects[asked_by].path.clone(),
                why,
                place: place.unwrap_or_else(|| objects[asked_by].place.clone()),
            })
        };
        if self.lookups > MOST_LOOKUPS {
            return Err(failure(
                &self.objects,
                Why::Unknown("the program asks for too many libraries".to_owned()),
                None,
            ));
        }
        match self.linker.look_up(name, asked_by, &self.objects) {
            Lookup::Loaded(index) => Ok(index),
            Lookup::Failed(why, place) => {
                self.lookups += 1;
                Err(failure(&self.objects, why, place))
            }
            Lookup::Found(opened, how) => {
                self.lookups += 1;
                // The same file under another name is not loaded twice.
                let known = self.objects.iter().position(|object| object.real.as_ref() == Some(&opened.node.path));
                let is_musl = self.linker.is_musl();
                if let Some(index) = known {
                    if !is_musl || (self.objects[index].names.is_empty() && !name.contains('/')) {
                        self.objects[index].names.push(name.to_owned());
                    }
                    return Ok(index);
                }
                let place = self.linker.place(&opened.path, &opened.node);
                let names = if is_musl {
                    (!name.contains('/')).then(|| name.to_owned()).into_iter().collect()
                } else {
                    [Some(name.to_owned()), opened.elf.soname.clone()].into_iter().flatten().collect()
                };
                self.objects.push(Object {
                    asked: name.to_owned(),
                    names,
                    path: opened.path,
                    origin: None,
                    real: Some(opened.node.path),
                    elf: opened.elf,
                    asked_by: Some(asked_by),
                    how,
                    place,
                });
                Ok(self.objects.len() - 1)
            }
        }
    }

    /// The symbol versions that an object needs of what is loaded, and that are not there (glibc, elf/dl-version.c).
    fn missing_versions(&self, index: usize) -> Vec<Failure> {
        let object = &self.objects[index];
        let mut missing = Vec::new();
        for (library, version) in &object.elf.version_needs {
            let Some(provider) = self.objects.iter().find(|object| object.is_named(library)) else { continue };
            let elf = provider.elf;
            // One that defines none only causes a warning. But where its symbols have no versions whatever, the loader
            // ends with "Inconsistency detected by ld.so" once it looks one up (glibc, elf/dl-lookup.c).
            let is_lenient = !elf.defines_versions && elf.has_versioned_symbols;
            if is_lenient || elf.version_definitions.contains(version) {
                continue;
            }
            let is_late = !elf.defines_versions && !self.binds(index, true).0;
            let path = provider.path.clone();
            let why = if is_late {
                let what =
                    format!("{path} has no symbol versions, so the loader ends once {version} is looked up there");
                Why::Unknown(what)
            } else {
                Why::VersionMissing { path, version: version.clone() }
            };
            missing.push(Failure {
                library: library.clone(),
                asked_by: object.path.clone(),
                why,
                place: provider.place.clone(),
            });
        }
        missing
    }
}

impl Object<'_> {
    /// The name that was asked for.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.asked
    }

    /// The folder that `$ORIGIN` stands for.
    pub(super) fn origin(&self) -> &str {
        self.origin.as_deref().unwrap_or_else(|| parent(&self.path))
    }

    /// Whether a name stands for this object.
    pub(super) fn is_named(&self, name: &str) -> bool {
        self.names.iter().any(|known| known == name)
    }
}
