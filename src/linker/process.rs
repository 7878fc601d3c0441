//! A program with the libraries that are loaded for it, at its start and later on.

use std::collections::VecDeque;

use super::{Failure, How, Linker, Lookup, Object, Search, Why};
use crate::layer::ElfSummary;
use crate::verdict::Place;

/// The most searches for a library that is not loaded yet: more than the largest real programs make.
const MOST_LOOKUPS: usize = 1500;

/// A program and its libraries. The first object is the program, the second its loader.
pub struct Process<'a> {
    linker: &'a Linker<'a>,
    objects: Vec<Object<'a>>,
    lookups: usize,
}

impl<'a> Process<'a> {
    /// Starts a program: loads what is preloaded and all that it needs, breadth first, and checks the symbol versions.
    /// Gives everything that is wrong, where the loader would stop at the first.
    pub fn start(
        linker: &'a Linker<'a>,
        loader: Object<'a>,
        program: &'a ElfSummary,
        path: &str,
        place: Place,
    ) -> (Self, Vec<Failure>) {
        let main = Object {
            names: Vec::new(),
            path: path.to_owned(),
            real: None,
            elf: program,
            asked_by: None,
            how: How::Path,
            place,
        };
        let mut process = Self { linker, objects: vec![main, loader], lookups: 0 };
        process.preload();
        let failures = process.load_needed(0);
        (process, failures)
    }

    /// Loads a library by its name for an object that asks for it, as dlopen(3) does: all or nothing.
    ///
    /// # Errors
    /// It, or something that it needs, cannot be loaded.
    pub fn open(&mut self, name: &str, asked_by: usize) -> Result<usize, Vec<Failure>> {
        let before = self.objects.len();
        let index = self.load(name, asked_by).map_err(|failure| vec![*failure])?;
        let failures = self.load_needed(before);
        if failures.is_empty() {
            return Ok(index);
        }
        self.objects.truncate(before);
        Err(failures)
    }

    /// Whether a library whose name starts so is loaded, or in the loader's cache.
    #[must_use]
    pub fn may_have(&self, start: &str) -> bool {
        let is_cached = match &self.linker.search {
            Search::Glibc(glibc) => glibc.is_any_cached(start),
            Search::Musl(_) => false,
        };
        is_cached || self.objects.iter().any(|object| object.names.iter().any(|name| name.starts_with(start)))
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

    /// Libraries that come before all others; one that cannot be had is passed over (ld.so(8), "LD_PRELOAD").
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
            for name in &elf.needed {
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
                if let Some(index) = known {
                    self.objects[index].names.push(name.to_owned());
                    return Ok(index);
                }
                let place = self.linker.place(&opened.path, &opened.node);
                let soname = opened.elf.soname.clone();
                self.objects.push(Object {
                    names: [Some(name.to_owned()), soname].into_iter().flatten().collect(),
                    path: opened.path,
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
            missing.push(Failure {
                library: library.clone(),
                asked_by: object.path.clone(),
                why: Why::VersionMissing { path: provider.path.clone(), version: version.clone() },
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
        self.names.first().map_or("", String::as_str)
    }

    /// Whether a name stands for this object.
    pub(super) fn is_named(&self, name: &str) -> bool {
        self.names.iter().any(|known| known == name)
    }
}
