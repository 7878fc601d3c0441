//! The search of glibc's loader for one library (ld.so(8); glibc, elf/dl-load.c, `_dl_map_object`).

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use super::cache::Fitting;
use super::open::Attempt;
use super::paths::{SearchPath, Tokens, expanded, parent};
use super::processor::{Processor, processors};
use super::system::{Content, cache_flags, content, default_folders, newest_glibc, preload};
use super::{Cache, How, Linker, Lookup, Machine, NotFound, Object, Start, Why};
use crate::layer::{ElfSummary, Kind};
use crate::platform::machine_name;
use crate::rootfs::{Access, Rootfs};

/// How many places of one search are remembered for a report.
const MOST_PLACES: usize = 40;

/// What the search depends on.
pub(super) struct Glibc<'a> {
    cache: Option<Cache<'a>>,
    /// Why the cache is of no use though it is there.
    cache_trouble: Option<String>,
    /// Whether it is there, but its content was not kept.
    is_cache_unread: bool,
    fitting: Fitting,
    pub default_folders: Vec<String>,
    /// `LD_LIBRARY_PATH`, as written.
    library_path: Option<String>,
    pub preload: Vec<String>,
    /// The libraries of `LD_AUDIT`, which may answer every search otherwise.
    pub audit: Vec<String>,
    /// `LD_BIND_NOW`: all symbols are bound at the start.
    pub binds_now: bool,
    tokens: Tokens,
    /// Folders for processors inside each folder: those of this one, and those that only others take.
    inside: Vec<String>,
    of_others: Vec<String>,
    lists: RefCell<HashMap<ListKey, Rc<List>>>,
}

/// What a list depends on: the path as written, the folder for `$ORIGIN`, whether the program says it, and how many
/// separators there are.
type ListKey = (String, String, bool, usize);

/// The folders of one search path.
struct List {
    folders: Vec<Folder>,
    path: SearchPath,
}

/// One folder that is there.
struct Folder {
    path: String,
    is_there: bool,
    /// Which of [`Glibc::inside`] are in it.
    inside: Vec<String>,
    /// Which of [`Glibc::of_others`] are in it.
    of_others: Vec<String>,
}

impl<'a> Glibc<'a> {
    pub fn new(rootfs: &'a Rootfs, loader: &ElfSummary, start: &Start<'_, '_>, machine: Machine) -> Self {
        let architecture = loader.architecture().unwrap_or_default();
        let (file, may_read) = match rootfs.find("etc/ld.so.cache") {
            Ok(node) => (content(rootfs, "etc/ld.so.cache"), rootfs.may(start.reader, Access::Read, &node)),
            Err(_) => (Content::None, true),
        };
        let cache = match file {
            Content::Bytes(bytes) if may_read => Cache::parse(bytes, machine.is_little_endian),
            _ => None,
        };
        let cache_trouble = match file {
            Content::None => None,
            _ if !may_read => Some(format!("/etc/ld.so.cache cannot be read by uid {}", start.reader.uid)),
            Content::Bytes(_) if cache.is_none() => {
                Some("/etc/ld.so.cache is not a cache that a loader accepts".to_owned())
            }
            _ => None,
        };
        let default_folders = default_folders(loader, architecture);
        let lib = default_folders.first().map_or("lib", |folder| folder.trim_start_matches('/')).to_owned();
        let platform = match start.processor.platform {
            "" => machine_name(architecture),
            platform => platform,
        };
        let version = newest_glibc(rootfs, loader, &default_folders);
        let has_legacy = version.is_some_and(|version| version < 37);
        let has_levels = version.is_none_or(|version| version >= 33);
        let of = |processor: &Processor| inside(processor, has_levels, has_legacy);
        let own = of(&start.processor);
        let mut of_others: Vec<String> = processors(architecture).iter().flat_map(of).collect();
        of_others.sort_unstable();
        of_others.dedup();
        of_others.retain(|folder| processors(architecture).iter().any(|other| !of(other).contains(folder)));
        let fitting_processor = if has_levels { start.processor } else { Processor { levels: &[], ..start.processor } };
        Self {
            cache,
            cache_trouble,
            is_cache_unread: matches!(file, Content::Unread) && may_read,
            fitting: Fitting { flags: cache_flags(architecture), processor: fitting_processor, has_legacy },
            library_path: start.variable("LD_LIBRARY_PATH").map(str::to_owned),
            preload: preload(rootfs, start),
            audit: start.variable("LD_AUDIT").map_or_else(Vec::new, |names| {
                names.split(':').filter(|name| !name.is_empty()).map(str::to_owned).collect()
            }),
            binds_now: start.environment.get("LD_BIND_NOW").is_some_and(|value| !value.is_empty()),
            tokens: Tokens {
                lib,
                platform: platform.to_owned(),
                trusted: start.is_secure.then(|| default_folders.clone()),
            },
            default_folders,
            inside: own,
            of_others,
            lists: RefCell::default(),
        }
    }

    pub fn look_up(&self, linker: &Linker<'a>, name: &str, asked_by: usize, objects: &[Object<'a>]) -> Lookup<'a> {
        if let Some(index) = objects.iter().position(|object| object.is_named(name)) {
            return Lookup::Loaded(index);
        }
        let asker = &objects[asked_by];
        if name.contains('/') {
            return self.by_path(linker, name, asked_by, asker);
        }
        let mut walk = Walk { linker, name, found: NotFound::default() };
        let found = self
            .by_rpath(&mut walk, asked_by, objects)
            .or_else(|| self.by_library_path(&mut walk, objects))
            .or_else(|| self.by_runpath(&mut walk, asked_by, asker))
            .or_else(|| self.by_cache(&mut walk, asker))
            .or_else(|| self.by_default(&mut walk, asker));
        found.unwrap_or_else(|| {
            if self.is_cache_unread {
                walk.found.or_open(|| "/etc/ld.so.cache is there, but its content was not read".to_owned());
            }
            walk.found.passed_over.extend(self.cache_trouble.clone());
            Lookup::Failed(Why::NotFound(walk.found), None)
        })
    }

    /// The names in the cache that start so.
    pub fn cached_names(&self, start: &str) -> Vec<String> {
        self.cache.as_ref().map_or_else(Vec::new, |cache| cache.names(start).collect())
    }

    fn by_path(&self, linker: &Linker<'a>, name: &str, asked_by: usize, asker: &Object<'a>) -> Lookup<'a> {
        if name.contains("PLATFORM") {
            linker.depends_on_processor.set(true);
        }
        let path = expanded(name, asker.origin(), asked_by == 0, &self.tokens).unwrap_or_default();
        if path.is_empty() {
            let why = format!("{name} has a token that stands for nothing");
            return Lookup::Failed(Why::Broken { path: name.to_owned(), why }, None);
        }
        if !path.starts_with('/') {
            return Lookup::Failed(Why::Unknown(format!("{name} is relative to the working directory")), None);
        }
        linker.open_path(&path)
    }

    /// DT_RPATH of the asking object and of those that led to it, unless it has a DT_RUNPATH; then of the program.
    fn by_rpath(&self, walk: &mut Walk<'_, 'a>, asked_by: usize, objects: &[Object<'a>]) -> Option<Lookup<'a>> {
        if objects[asked_by].elf.runpath.is_some() {
            return None;
        }
        let mut chain = vec![asked_by];
        let mut next = objects[asked_by].asked_by;
        while let Some(index) = next.filter(|index| !chain.contains(index)) {
            chain.push(index);
            next = objects[index].asked_by;
        }
        if !chain.contains(&0) {
            chain.push(0);
        }
        chain.into_iter().find_map(|index| {
            let object = &objects[index];
            let rpath = object.elf.rpath.as_deref().filter(|_| object.elf.runpath.is_none())?;
            let list = self.list(walk.linker, rpath, &[':'], object.origin(), index == 0);
            self.search(walk, &list, &How::Rpath(object.path.clone()))
        })
    }

    fn by_library_path(&self, walk: &mut Walk<'_, 'a>, objects: &[Object<'a>]) -> Option<Lookup<'a>> {
        let path = self.library_path.as_deref()?;
        let list = self.list(walk.linker, path, &[':', ';'], objects[0].origin(), true);
        self.search(walk, &list, &How::LibraryPath)
    }

    fn by_runpath(&self, walk: &mut Walk<'_, 'a>, asked_by: usize, asker: &Object<'a>) -> Option<Lookup<'a>> {
        let list = self.list(walk.linker, asker.elf.runpath.as_deref()?, &[':'], asker.origin(), asked_by == 0);
        self.search(walk, &list, &How::Runpath(asker.path.clone()))
    }

    fn by_cache(&self, walk: &mut Walk<'_, 'a>, asker: &Object<'a>) -> Option<Lookup<'a>> {
        walk.found.looked_in.push("/etc/ld.so.cache".to_owned());
        let cache = self.cache.as_ref()?;
        if cache.depends_on_processor(walk.name) {
            walk.linker.depends_on_processor.set(true);
        }
        let path = cache.find(walk.name, &self.fitting)?;
        let is_default = self.default_folders.iter().any(|folder| parent(&path) == folder);
        if !path.starts_with('/') || (asker.elf.no_default_folders && is_default) {
            return None;
        }
        match walk.attempt(&path, &How::Cache) {
            Step::Done(found) => Some(found),
            Step::GoOn | Step::EndOfList => {
                walk.found.passed_over.push(format!("/etc/ld.so.cache names {path}, which cannot be opened"));
                walk.found.cached = Some(path);
                None
            }
        }
    }

    fn by_default(&self, walk: &mut Walk<'_, 'a>, asker: &Object<'a>) -> Option<Lookup<'a>> {
        if asker.elf.no_default_folders {
            return None;
        }
        let list = self.list(walk.linker, &self.default_folders.join(":"), &[':'], "/", false);
        self.search(walk, &list, &How::Default(String::new()))
    }

    /// The folders of a search path, which many programs share.
    fn list(&self, linker: &Linker<'a>, path: &str, separators: &[char], origin: &str, is_program: bool) -> Rc<List> {
        let key = (path.to_owned(), origin.to_owned(), is_program, separators.len());
        if let Some(list) = self.lists.borrow().get(&key) {
            return Rc::clone(list);
        }
        let path = SearchPath::glibc(path, separators, origin, is_program, &self.tokens);
        let folders = path.folders.iter().map(|path| self.folder(linker.rootfs, path)).collect();
        let list = Rc::new(List { folders, path });
        self.lists.borrow_mut().insert(key, Rc::clone(&list));
        list
    }

    fn folder(&self, rootfs: &Rootfs, path: &str) -> Folder {
        let is_there = |path: &str| rootfs.find(path).is_ok_and(|node| node.kind == Kind::Directory);
        let mut folder =
            Folder { path: path.to_owned(), is_there: is_there(path), inside: Vec::new(), of_others: Vec::new() };
        if !folder.is_there || (self.inside.is_empty() && self.of_others.is_empty()) {
            return folder;
        }
        // Folders for processors are rare, and found by the first part of their path.
        let all = || self.inside.iter().chain(&self.of_others);
        let mut tops: Vec<&str> = all().map(|inside| inside.split('/').next().unwrap_or_default()).collect();
        tops.sort_unstable();
        tops.dedup();
        tops.retain(|top| is_there(&format!("{path}/{top}")));
        let has = |inside: &&String| {
            tops.contains(&inside.split('/').next().unwrap_or_default()) && is_there(&format!("{path}/{inside}"))
        };
        if !tops.is_empty() {
            folder.inside = self.inside.iter().filter(has).cloned().collect();
            folder.of_others = self.of_others.iter().filter(has).cloned().collect();
        }
        folder
    }

    /// Tries a name in the folders of one list, and inside each in the folders for processors.
    fn search(&self, walk: &mut Walk<'_, 'a>, list: &List, how: &How) -> Option<Lookup<'a>> {
        if list.path.has_platform {
            walk.linker.depends_on_processor.set(true);
        }
        for folder in &list.folders {
            walk.note(&folder.path, how);
            if !folder.is_there {
                continue;
            }
            let in_folder = |inside: &str| format!("{}/{inside}{}", folder.path, walk.name);
            let (inside, of_others): (Vec<String>, Vec<String>) = (
                folder.inside.iter().map(|inside| in_folder(&format!("{inside}/"))).collect(),
                folder.of_others.iter().map(|inside| in_folder(&format!("{inside}/"))).collect(),
            );
            let plain = in_folder("");
            if of_others.iter().any(|path| walk.linker.rootfs.find(path).is_ok()) {
                walk.linker.depends_on_processor.set(true);
            }
            let how = match how {
                How::Default(_) => How::Default(folder.path.clone()),
                how => how.clone(),
            };
            for path in &inside {
                // What goes wrong there has no say in whether the list ends.
                if let Step::Done(found) = walk.attempt(path, &how) {
                    return Some(found);
                }
            }
            match walk.attempt(&plain, &how) {
                Step::Done(found) => return Some(found),
                Step::EndOfList => return None,
                Step::GoOn => {}
            }
        }
        if let Some(relative) = &list.path.relative {
            walk.found.or_open(|| {
                let element = if relative.is_empty() { "an empty element" } else { relative.as_str() };
                format!("{} has {element}, which means a folder relative to the working directory", how.words())
            });
        }
        if list.path.is_cut {
            walk.found.or_open(|| format!("{} has too many folders to search", how.words()));
        }
        None
    }
}

/// The folders inside each folder for one processor: `glibc-hwcaps` first.
fn inside(processor: &Processor, has_levels: bool, has_legacy: bool) -> Vec<String> {
    let levels = processor.levels.iter().filter(|_| has_levels).map(|level| format!("glibc-hwcaps/{level}"));
    levels.chain(has_legacy.then(|| processor.legacy_folders()).into_iter().flatten()).collect()
}

/// How a search goes on after one path.
enum Step<'a> {
    GoOn,
    /// Nothing more of this list is tried.
    EndOfList,
    Done(Lookup<'a>),
}

/// One search, and what it met on its way.
struct Walk<'w, 'a> {
    linker: &'w Linker<'a>,
    name: &'w str,
    found: NotFound,
}

impl<'a> Walk<'_, 'a> {
    fn note(&mut self, folder: &str, how: &How) {
        let is_default = matches!(how, How::Default(_));
        if is_default || self.found.looked_in.len() < MOST_PLACES {
            let folder = if folder.is_empty() { "/" } else { folder };
            self.found.looked_in.push(match how {
                How::Default(_) => format!("{folder} (default folder)"),
                how => format!("{folder} ({})", how.words()),
            });
        }
    }

    /// Opens one path.
    fn attempt(&mut self, path: &str, how: &How) -> Step<'a> {
        match self.linker.open(path) {
            Attempt::Opened(opened) => Step::Done(Lookup::Found(opened, how.clone())),
            Attempt::Broken(why, place) => {
                Step::Done(Lookup::Failed(Why::Broken { path: path.to_owned(), why }, Some(place)))
            }
            Attempt::Unknown(why, place) => Step::Done(Lookup::Failed(Why::Unknown(why), Some(place))),
            Attempt::Absent(why) => {
                self.pass_over(why);
                Step::GoOn
            }
            Attempt::PassedOver(why) => {
                self.pass_over(Some(why));
                Step::GoOn
            }
            Attempt::Ends(why) => {
                self.pass_over(Some(format!("{why}, which ends the search there")));
                Step::EndOfList
            }
        }
    }

    fn pass_over(&mut self, why: Option<String>) {
        if self.found.passed_over.len() < MOST_PLACES {
            self.found.passed_over.extend(why);
        }
    }
}
