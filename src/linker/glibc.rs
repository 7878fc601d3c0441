//! The search of glibc's loader for one library (ld.so(8); glibc, elf/dl-load.c, `_dl_map_object`).

use std::collections::BTreeMap;

use super::open::Attempt;
use super::paths::{Tokens, filled, folders, parent};
use super::{Cache, How, Linker, Lookup, Machine, Object, Why};
use crate::layer::ElfSummary;
use crate::platform::machine_name;
use crate::rootfs::Rootfs;
use crate::verdict::Place;

/// `glibc-hwcaps` folders of x86-64, the best first (glibc 2.33 and later). Which of them count depends on the
/// processor, which no image tells.
const HWCAPS: [&str; 3] = ["x86-64-v4", "x86-64-v3", "x86-64-v2"];

/// What the search depends on.
pub(super) struct Glibc<'a> {
    cache: Option<Cache<'a>>,
    /// Why the cache is of no use though it is there.
    cache_trouble: Option<&'static str>,
    /// Whether it is there, but nobody could look into it.
    is_cache_unread: bool,
    /// The flags of cache entries for this machine; nothing if they are not known.
    cache_flags: Option<u32>,
    pub default_folders: Vec<String>,
    /// `LD_LIBRARY_PATH`, as written.
    library_path: Option<String>,
    pub preload: Vec<String>,
    tokens: Tokens,
    /// Folders that are tried inside each folder, whatever the processor (glibc before 2.37).
    legacy: &'static [&'static str],
    hwcaps: &'static [&'static str],
}

impl<'a> Glibc<'a> {
    pub fn new(
        rootfs: &'a Rootfs,
        loader: &ElfSummary,
        environment: &BTreeMap<String, String>,
        machine: Machine,
    ) -> Self {
        let architecture = loader.architecture().unwrap_or_default();
        let file = content(rootfs, "etc/ld.so.cache");
        let cache = match file {
            Content::Bytes(bytes) => Cache::parse(bytes, machine.is_little_endian),
            Content::None | Content::Unread => None,
        };
        let is_refused = cache.is_none() && matches!(file, Content::Bytes(_));
        let cache_trouble = is_refused.then_some("/etc/ld.so.cache is no cache that a loader takes");
        let default_folders = default_folders(loader, architecture);
        let lib = default_folders.first().map_or("lib", |folder| folder.trim_start_matches('/')).to_owned();
        let platforms = match architecture {
            "amd64" => vec!["haswell".to_owned(), "x86_64".to_owned()],
            _ => vec![machine_name(architecture).to_owned()],
        };
        let version = newest_glibc(loader);
        let is_amd64 = architecture == "amd64";
        Self {
            cache,
            cache_trouble,
            is_cache_unread: matches!(file, Content::Unread),
            cache_flags: cache_flags(architecture),
            default_folders,
            library_path: environment.get("LD_LIBRARY_PATH").filter(|path| !path.is_empty()).cloned(),
            preload: preload(rootfs, environment),
            tokens: Tokens { lib, platforms },
            legacy: if is_amd64 && version.is_some_and(|version| version < 37) {
                &["tls/x86_64", "tls", "x86_64"]
            } else {
                &[]
            },
            hwcaps: if is_amd64 && version.is_none_or(|version| version >= 33) { &HWCAPS } else { &[] },
        }
    }

    pub fn look_up(&self, linker: &Linker<'a>, name: &str, asked_by: usize, objects: &[Object<'a>]) -> Lookup<'a> {
        if let Some(index) = objects.iter().position(|object| object.is_named(name)) {
            return Lookup::Loaded(index);
        }
        if name.contains('/') {
            return self.by_path(linker, name, &objects[asked_by]);
        }
        let mut walk = Walk { linker, name, looked_in: Vec::new(), passed_over: Vec::new(), only_some: None };
        let asker = &objects[asked_by];
        let found = self
            .by_rpath(&mut walk, asked_by, objects)
            .or_else(|| self.by_library_path(&mut walk, objects))
            .or_else(|| self.by_runpath(&mut walk, asker))
            .or_else(|| self.by_cache(&mut walk, asker))
            .or_else(|| self.by_default(&mut walk, asker));
        match found {
            Some(found) => found,
            None if self.is_cache_unread => {
                Lookup::Failed(Why::Unknown("/etc/ld.so.cache is there, but could not be looked into".to_owned()), None)
            }
            None => walk.not_found(self.cache_trouble),
        }
    }

    /// Whether the cache has an entry whose name starts so.
    pub fn is_any_cached(&self, start: &str) -> bool {
        self.cache.as_ref().is_some_and(|cache| cache.has_any(start))
    }

    fn by_path(&self, linker: &Linker<'a>, name: &str, asker: &Object<'a>) -> Lookup<'a> {
        let paths = filled(name, parent(&asker.path), &self.tokens);
        let Some(path) = paths.iter().find(|path| path.starts_with('/')) else {
            return Lookup::Failed(Why::Unknown(format!("{name} is relative to the work folder")), None);
        };
        match linker.open(path) {
            Attempt::Opened(opened) => Lookup::Found(opened, How::Path),
            Attempt::Absent(why) => Lookup::Failed(
                Why::NotFound { looked_in: vec![path.clone()], passed_over: why.into_iter().collect() },
                None,
            ),
            Attempt::PassedOver(why) => Lookup::Failed(Why::Broken { path: path.clone(), why }, None),
            Attempt::Broken(why, place) => Lookup::Failed(Why::Broken { path: path.clone(), why }, Some(place)),
            Attempt::Unknown(why, place) => Lookup::Failed(Why::Unknown(why), Some(place)),
        }
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
        chain.into_iter().map(|index| &objects[index]).find_map(|object| {
            let rpath = object.elf.rpath.as_deref().filter(|_| object.elf.runpath.is_none())?;
            let how = How::Rpath(object.path.clone());
            self.folders_in(walk, &folders(rpath, &[':'], parent(&object.path), &self.tokens), &how)
        })
    }

    fn by_library_path(&self, walk: &mut Walk<'_, 'a>, objects: &[Object<'a>]) -> Option<Lookup<'a>> {
        let path = self.library_path.as_deref()?;
        let folders = folders(path, &[':', ';'], parent(&objects[0].path), &self.tokens);
        self.folders_in(walk, &folders, &How::LibraryPath)
    }

    fn by_runpath(&self, walk: &mut Walk<'_, 'a>, asker: &Object<'a>) -> Option<Lookup<'a>> {
        let runpath = asker.elf.runpath.as_deref()?;
        let how = How::Runpath(asker.path.clone());
        self.folders_in(walk, &folders(runpath, &[':'], parent(&asker.path), &self.tokens), &how)
    }

    fn by_cache(&self, walk: &mut Walk<'_, 'a>, asker: &Object<'a>) -> Option<Lookup<'a>> {
        walk.looked_in.push("/etc/ld.so.cache".to_owned());
        let entry = self.cache.as_ref()?.find(walk.name, self.cache_flags)?;
        let is_default = self.default_folders.iter().any(|folder| parent(&entry.path) == folder);
        if !entry.path.starts_with('/') || (asker.elf.no_default_folders && is_default) {
            return None;
        }
        let found = walk.attempt(&entry.path, &How::Cache);
        match found {
            // Another search may still lead to one for all processors.
            Some(found) if entry.is_for_some_processors => {
                walk.only_some = Some(found);
                None
            }
            None => {
                walk.passed_over.push(format!("/etc/ld.so.cache names {}, which cannot be opened", entry.path));
                None
            }
            found => found,
        }
    }

    fn by_default(&self, walk: &mut Walk<'_, 'a>, asker: &Object<'a>) -> Option<Lookup<'a>> {
        if asker.elf.no_default_folders {
            return None;
        }
        self.default_folders
            .iter()
            .find_map(|folder| self.folders_in(walk, std::slice::from_ref(folder), &How::Default(folder.clone())))
    }

    /// Tries a name in folders, and inside each in the folders for processors. One that is there for certain
    /// processors only is kept back, in case the same folder has one for all.
    fn folders_in(&self, walk: &mut Walk<'_, 'a>, folders: &[String], how: &How) -> Option<Lookup<'a>> {
        for folder in folders {
            let folder = folder.trim_end_matches('/');
            walk.looked_in.push(match how {
                How::Default(_) => format!("{folder} (default folder)"),
                how => format!("{folder} ({})", how.words()),
            });
            if walk.linker.rootfs.find(folder).is_err() {
                continue;
            }
            for inside in self.hwcaps {
                let path = format!("{folder}/glibc-hwcaps/{inside}/{}", walk.name);
                if walk.only_some.is_none() {
                    walk.only_some = walk.attempt(&path, how);
                }
            }
            for inside in self.legacy {
                if let Some(found) = walk.attempt(&format!("{folder}/{inside}/{}", walk.name), how) {
                    return Some(found);
                }
            }
            if let Some(found) = walk.attempt(&format!("{folder}/{}", walk.name), how) {
                return Some(found);
            }
        }
        None
    }
}

/// One search, and what it met on its way.
struct Walk<'w, 'a> {
    linker: &'w Linker<'a>,
    name: &'w str,
    looked_in: Vec<String>,
    passed_over: Vec<String>,
    /// What only certain processors find.
    only_some: Option<Lookup<'a>>,
}

impl<'a> Walk<'_, 'a> {
    /// Opens one path; nothing if the search goes on.
    fn attempt(&mut self, path: &str, how: &How) -> Option<Lookup<'a>> {
        match self.linker.open(path) {
            Attempt::Opened(opened) => Some(Lookup::Found(opened, how.clone())),
            Attempt::Broken(why, place) => {
                Some(Lookup::Failed(Why::Broken { path: path.to_owned(), why }, Some(place)))
            }
            Attempt::Unknown(why, place) => Some(Lookup::Failed(Why::Unknown(why), Some(place))),
            Attempt::Absent(why) => {
                self.passed_over.extend(why);
                None
            }
            Attempt::PassedOver(why) => {
                self.passed_over.push(why);
                None
            }
        }
    }

    fn not_found(self, cache_trouble: Option<&str>) -> Lookup<'a> {
        if let Some(Lookup::Found(opened, _)) = self.only_some {
            let why = format!("{} counts only on processors that have what its folder is named for", opened.path);
            let place = self.linker.place(&opened.path, &opened.node);
            return Lookup::Failed(Why::Unknown(why), Some(place));
        }
        let mut passed_over = self.passed_over;
        passed_over.extend(cache_trouble.map(str::to_owned));
        Lookup::Failed(Why::NotFound { looked_in: self.looked_in, passed_over }, None::<Place>)
    }
}

/// The folders that the loader knows by itself: as they stand in its own file, else as its architecture's usually do.
fn default_folders(loader: &ElfSummary, architecture: &str) -> Vec<String> {
    let known = loader.libc_mark.as_ref().map(|mark| mark.default_folders.as_slice()).unwrap_or_default();
    if !known.is_empty() {
        return known.to_vec();
    }
    let triplet = format!("{}-linux-gnu", machine_name(architecture));
    [
        format!("/lib/{triplet}"),
        format!("/usr/lib/{triplet}"),
        "/lib64".into(),
        "/usr/lib64".into(),
        "/lib".into(),
        "/usr/lib".into(),
    ]
    .into()
}

/// The minor number of the newest glibc whose symbols the loader defines.
fn newest_glibc(loader: &ElfSummary) -> Option<u32> {
    let banner = loader
        .libc_mark
        .as_ref()
        .and_then(|mark| mark.version.as_deref())
        .and_then(|version| version.strip_prefix("2."));
    let banner = banner.and_then(|minor| minor.split('.').next()?.parse().ok());
    let minors = loader.version_definitions.iter().filter_map(|version| version.strip_prefix("GLIBC_2.")?.parse().ok());
    banner.or_else(|| minors.max())
}

/// The flags of entries for a machine (glibc, sysdeps/generic/ldconfig.h; each machine's dl-cache.h).
fn cache_flags(architecture: &str) -> Option<u32> {
    Some(match architecture {
        "amd64" => 0x0303,
        "386" => 0x0003,
        "arm64" => 0x0a03,
        "s390x" => 0x0403,
        _ => return None,
    })
}

/// The names that come before all others: the variable's, then the file's (ld.so(8), "FILES").
fn preload(rootfs: &Rootfs, environment: &BTreeMap<String, String>) -> Vec<String> {
    let variable = environment.get("LD_PRELOAD").map(String::as_str).unwrap_or_default();
    let mut names: Vec<String> = split_names(variable);
    if let Content::Bytes(bytes) = content(rootfs, "etc/ld.so.preload") {
        let text = String::from_utf8_lossy(bytes);
        let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default());
        names.extend(lines.flat_map(split_names));
    }
    names
}

fn split_names(text: &str) -> Vec<String> {
    text.split(|c: char| c == ':' || c.is_whitespace()).filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

/// A small file of the image.
pub(super) enum Content<'a> {
    None,
    /// It is there, but its content was not kept.
    Unread,
    Bytes(&'a [u8]),
}

pub(super) fn content<'a>(rootfs: &'a Rootfs, path: &str) -> Content<'a> {
    match rootfs.find(path) {
        Err(_) => Content::None,
        Ok(node) => match node.detail().and_then(|detail| detail.content.as_deref()) {
            Some(bytes) => Content::Bytes(bytes),
            None => Content::Unread,
        },
    }
}
