//! Whether every symbol that has to be bound is defined by something that is loaded.

use super::{Failure, Process, Search, Why};
use crate::layer::elf::Symbols;

/// The most missing names that are counted.
const MOST_MISSING: usize = 1000;
/// Names that end in 64 and that musl's loader binds to what has no 64 at its end (musl, ldso/dynlink.c, `get_lfs64`).
const WITHOUT_64: &str = "aio_cancel aio_error aio_fsync aio_read aio_return aio_suspend aio_write alphasort creat \
    fallocate fgetpos fopen freopen fseeko fsetpos fstat fstatat fstatfs fstatvfs ftello ftruncate ftw getdents \
    getrlimit glob globfree lio_listio lockf lseek lstat mkostemp mkostemps mkstemp mkstemps mmap nftw open openat \
    posix_fadvise posix_fallocate pread preadv prlimit pwrite pwritev readdir scandir sendfile setrlimit stat statfs \
    statvfs tmpfile truncate versionsort __fxstat __fxstatat __lxstat __xstat";

impl Process<'_> {
    /// The symbols that the objects from `first` on need and that nothing in `scope` defines.
    ///
    /// musl binds all symbols of a program at its start (ldso/dynlink.c, `do_relocs`), glibc functions only where the
    /// file or `LD_BIND_NOW` asks for it (elf/dl-reloc.c). What is opened later is bound late by both, unless the file
    /// asks otherwise.
    pub(super) fn missing_symbols(&self, first: usize, scope: &[usize]) -> Vec<Failure> {
        if self.is_musl()
            && let Some(failure) = (first..self.objects.len()).find_map(|index| self.built_for_glibc(index))
        {
            return vec![failure];
        }
        // What is not known of one object may be what is missing.
        let symbols = |index: usize| self.objects[index].elf.symbols.as_ref();
        if scope.iter().any(|&index| symbols(index).is_none()) {
            return Vec::new();
        }
        // What a file needs it does not define, but for what it copies.
        let is_defined = |name: &str, asker: usize| {
            let mut others = scope.iter().filter(|index| **index != asker);
            others.any(|&index| symbols(index).is_some_and(|symbols| symbols.may_define(name)))
        };
        let is_missing =
            |name: &&str, asker: usize| !(is_defined(name, asker) || self.is_musl() && self.stands_in_for(name));
        let own = (first..self.objects.len()).filter(|index| scope.contains(index) && *index != 1);
        let failure = |index: usize| {
            let Symbols { called, referenced, copied, .. } = symbols(index)?;
            let (calls, references) = self.binds(index, first == 0);
            let calls = called.iter().filter(|_| calls);
            let references = referenced.iter().filter(|_| references);
            let mut missing = calls.chain(references).chain(copied.iter()).filter(|name| is_missing(name, index));
            let object = &self.objects[index];
            let symbol = missing.next()?.to_owned();
            let others = missing.take(MOST_MISSING).count();
            Some(Failure {
                library: object.name().to_owned(),
                asked_by: object.path.clone(),
                why: Why::SymbolMissing { symbol, others, loaded: self.providers(index) },
                place: object.place.clone(),
            })
        };
        own.filter_map(failure).collect()
    }

    /// Of what is built for glibc not all names are kept, so whether musl has them is not known.
    fn built_for_glibc(&self, index: usize) -> Option<Failure> {
        let object = &self.objects[index];
        let (library, version) = object.elf.version_needs.iter().find(|(_, version)| version.starts_with("GLIBC_"))?;
        Some(Failure {
            library: library.clone(),
            asked_by: object.path.clone(),
            why: Why::Unknown(format!("it is built for glibc ({version}), and musl may lack symbols that it needs")),
            place: object.place.clone(),
        })
    }

    /// Whether functions, and whether addresses and variables of an object are bound when it is loaded.
    pub(super) fn binds(&self, index: usize, is_start: bool) -> (bool, bool) {
        let elf = self.objects[index].elf;
        match &self.linker.search {
            Search::Glibc(glibc) => (glibc.binds_now || elf.binds_now, true),
            Search::Musl(_) => (is_start || elf.binds_now, is_start || elf.binds_now),
        }
    }

    /// Whether musl's loader binds a name to another one of its own.
    fn stands_in_for(&self, name: &str) -> bool {
        let short = match name {
            "readdir64_r" => Some("readdir_r"),
            name => name.strip_suffix("64").filter(|short| WITHOUT_64.split_whitespace().any(|known| known == *short)),
        };
        let own = self.objects[1].elf.symbols.as_ref();
        short.is_some_and(|short| own.is_none_or(|own| own.defined.may_have(short)))
    }

    /// The paths of the libraries that an object asks for by name.
    fn providers(&self, index: usize) -> Vec<String> {
        let needed = &self.objects[index].elf.needed;
        let found = needed.iter().filter_map(|name| self.objects.iter().find(|object| object.is_named(name)));
        found.map(|object| object.path.clone()).collect()
    }

    /// What symbols of something that is opened later are looked for in: all that was loaded at the start, the object
    /// itself, and what it needs.
    pub(super) fn scope_of(&self, index: usize) -> Vec<usize> {
        let mut scope: Vec<usize> = (0..self.at_start).collect();
        let mut next = vec![index];
        while let Some(index) = next.pop() {
            if !scope.contains(&index) {
                scope.push(index);
            }
            for name in &self.objects[index].elf.needed {
                let named = |index: &usize| self.objects[*index].is_named(name);
                if let Some(needed) = (0..self.objects.len()).find(named).filter(|needed| !scope.contains(needed)) {
                    scope.push(needed);
                    next.push(needed);
                }
            }
        }
        scope
    }
}
