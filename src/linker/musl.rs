//! The search of musl's loader for one library (musl, ldso/dynlink.c, `load_library`).

use std::collections::BTreeMap;

use super::glibc::{Content, content};
use super::open::Attempt;
use super::paths::{Tokens, folders, parent};
use super::{How, Linker, Lookup, Object, Why};
use crate::rootfs::Rootfs;

/// Names that stand for the loader itself: `libc.so…`, `libm.so…`.
const RESERVED: [&str; 7] = ["c", "pthread", "rt", "m", "dl", "util", "xnet"];
/// The folders where neither the image nor the loader says otherwise.
const DEFAULT: &str = "/lib:/usr/local/lib:/usr/lib";

/// What the search depends on.
pub(super) struct Musl {
    library_path: Option<String>,
    pub preload: Vec<String>,
    pub system_folders: Vec<String>,
    /// The file that names the folders, if there is one.
    path_file: Option<String>,
}

impl Musl {
    /// `interpreter` is the path of the loader, such as `/lib/ld-musl-x86_64.so.1`.
    pub fn new(rootfs: &Rootfs, interpreter: &str, environment: &BTreeMap<String, String>) -> Self {
        // Its own name says the architecture, and its folder the prefix of /etc.
        let name = interpreter.rsplit('/').next().unwrap_or_default();
        let prefix = interpreter.strip_suffix(name).and_then(|folder| folder.strip_suffix("/lib/")).unwrap_or_default();
        let stem = name.split(".so").next().unwrap_or_default();
        let file = format!("{prefix}/etc/{stem}.path");
        let (text, path_file) = match content(rootfs, &file) {
            Content::Bytes(bytes) => (String::from_utf8_lossy(bytes).into_owned(), Some(file)),
            Content::None | Content::Unread => (DEFAULT.to_owned(), None),
        };
        let variable = |name: &str| environment.get(name).filter(|value| !value.is_empty()).cloned();
        let preload = variable("LD_PRELOAD").unwrap_or_default();
        Self {
            library_path: variable("LD_LIBRARY_PATH"),
            preload: preload.split([' ', ':']).filter(|name| !name.is_empty()).map(str::to_owned).collect(),
            system_folders: folders(&text, &[':', '\n'], "", &Tokens::default()),
            path_file,
        }
    }

    pub fn look_up<'a>(&self, linker: &Linker<'a>, name: &str, asked_by: usize, objects: &[Object<'a>]) -> Lookup<'a> {
        if name.contains('/') {
            return match linker.open(name) {
                Attempt::Opened(opened) => Lookup::Found(opened, How::Path),
                other => not_opened(name, other),
            };
        }
        if is_reserved(name) {
            return Lookup::Loaded(1);
        }
        if let Some(index) = objects.iter().position(|object| object.is_named(name)) {
            return Lookup::Loaded(index);
        }
        let (mut looked_in, mut passed_over) = (Vec::new(), Vec::new());
        for (folder, how) in self.folders(asked_by, objects) {
            let path = format!("{}/{name}", folder.trim_end_matches('/'));
            looked_in.push(match &how {
                How::Default(_) => match &self.path_file {
                    Some(file) => format!("{folder} ({file})"),
                    None => format!("{folder} (default folder)"),
                },
                how => format!("{folder} ({})", how.words()),
            });
            match linker.open(&path) {
                Attempt::Opened(opened) => return Lookup::Found(opened, how),
                Attempt::Absent(why) => passed_over.extend(why),
                // The first file of the name is taken, whatever it is; one that may not be read is passed over.
                Attempt::PassedOver(why) if why.contains("cannot be read") => passed_over.push(why),
                other => return not_opened(&path, other),
            }
        }
        Lookup::Failed(Why::NotFound { looked_in, passed_over }, None)
    }

    /// The folders in the order of the search: the variable's, those of the asking object and of the ones that led to
    /// it, the system's.
    fn folders(&self, asked_by: usize, objects: &[Object<'_>]) -> Vec<(String, How)> {
        let tokens = Tokens::default();
        let mut all = Vec::new();
        let path = self.library_path.as_deref().unwrap_or_default();
        all.extend(folders(path, &[':', '\n'], "", &tokens).into_iter().map(|folder| (folder, How::LibraryPath)));
        let (mut next, mut seen) = (Some(asked_by), Vec::new());
        while let Some(index) = next.filter(|index| !seen.contains(index)) {
            seen.push(index);
            let object = &objects[index];
            let (path, how) = match (&object.elf.runpath, &object.elf.rpath) {
                (Some(path), _) => (path.as_str(), How::Runpath(object.path.clone())),
                (None, Some(path)) => (path.as_str(), How::Rpath(object.path.clone())),
                (None, None) => ("", How::Path),
            };
            let found = folders(path, &[':', '\n'], parent(&object.path), &tokens);
            all.extend(found.into_iter().map(|folder| (folder, how.clone())));
            next = object.asked_by;
        }
        all.extend(self.system_folders.iter().map(|folder| (folder.clone(), How::Default(folder.clone()))));
        all
    }
}

fn is_reserved(name: &str) -> bool {
    let word = name.strip_prefix("lib").and_then(|rest| rest.split_once('.')).map(|(word, _)| word);
    word.is_some_and(|word| RESERVED.contains(&word))
}

fn not_opened<'a>(path: &str, attempt: Attempt<'a>) -> Lookup<'a> {
    let path = path.to_owned();
    match attempt {
        Attempt::Absent(why) => {
            Lookup::Failed(Why::NotFound { looked_in: vec![path], passed_over: why.into_iter().collect() }, None)
        }
        Attempt::PassedOver(why) => Lookup::Failed(Why::Broken { path, why }, None),
        Attempt::Broken(why, place) => Lookup::Failed(Why::Broken { path, why }, Some(place)),
        Attempt::Unknown(why, place) => Lookup::Failed(Why::Unknown(why), Some(place)),
        Attempt::Opened(opened) => Lookup::Found(opened, How::Path),
    }
}
