//! The search of musl's loader for one library (musl, ldso/dynlink.c, `load_library`).

use super::open::Attempt;
use super::paths::{SearchPath, musl_expanded, parent};
use super::system::{Content, content};
use super::{How, Linker, Lookup, NotFound, Object, Start, Why};
use crate::layer::{ElfSummary, Kind};
use crate::platform::machine_name;
use crate::rootfs::{Access, Missing, Rootfs};

/// Names that stand for the loader itself: `libc.so…`, `libm.so…`.
const RESERVED: [&str; 7] = ["c", "pthread", "rt", "m", "dl", "util", "xnet"];
/// The folders where neither the image nor the loader says otherwise.
const DEFAULT: &str = "/lib:/usr/local/lib:/usr/lib";
/// The longest name that is searched for, in bytes (NAME_MAX).
const LONGEST_NAME: usize = 255;
/// How many places of one search are remembered for a report.
const MOST_PLACES: usize = 40;

/// What the search depends on.
pub(super) struct Musl {
    library_path: SearchPath,
    pub preload: Vec<String>,
    system: SearchPath,
    /// The file that names the folders, if there is one.
    path_file: Option<String>,
    /// Why the folders are not known.
    unread: Option<String>,
}

impl Musl {
    /// `interpreter` is the path of the loader, such as `/lib/ld-musl-x86_64.so.1`.
    pub fn new(rootfs: &Rootfs, loader: &ElfSummary, interpreter: &str, start: &Start<'_, '_>) -> Self {
        let file = path_file(loader, interpreter);
        // A file that is there but cannot be read leaves no folders, not the usual ones.
        let (text, unread) = match rootfs.find(&file) {
            Err(Missing::Absent(_)) => (None, None),
            Err(_) => (Some(String::new()), None),
            Ok(node) if node.kind != Kind::File || !rootfs.may(start.reader, Access::Read, &node) => {
                (Some(String::new()), None)
            }
            Ok(_) => match content(rootfs, &file) {
                Content::Bytes(bytes) => {
                    let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
                    (Some(String::from_utf8_lossy(&bytes[..end]).into_owned()), None)
                }
                _ => (None, Some(format!("{file} is there, but its content was not read"))),
            },
        };
        let is_blank = |c: char| c == ':' || c == '\x0b' || c.is_ascii_whitespace();
        let preload = start.variable("LD_PRELOAD").unwrap_or_default();
        Self {
            library_path: SearchPath::musl(start.variable("LD_LIBRARY_PATH").unwrap_or_default()),
            preload: preload.split(is_blank).filter(|name| !name.is_empty()).map(str::to_owned).collect(),
            path_file: text.is_some().then_some(file),
            system: SearchPath::musl(text.as_deref().unwrap_or(DEFAULT)),
            unread,
        }
    }

    /// The folders that are searched last.
    pub fn system_folders(&self) -> &[String] {
        &self.system.folders
    }

    pub fn look_up<'a>(&self, linker: &Linker<'a>, name: &str, asked_by: usize, objects: &[Object<'a>]) -> Lookup<'a> {
        if is_reserved(name) || name == objects[1].path {
            return Lookup::Loaded(1);
        }
        if name.contains('/') {
            if !name.starts_with('/') {
                return Lookup::Failed(Why::Unknown(format!("{name} is relative to the working directory")), None);
            }
            return linker.open_path(name);
        }
        if let Some(index) = objects.iter().position(|object| object.is_named(name)) {
            return Lookup::Loaded(index);
        }
        let mut found = NotFound::default();
        if name.is_empty() || name.len() > LONGEST_NAME {
            return Lookup::Failed(Why::NotFound(found), None);
        }
        for (path, how) in self.paths(linker.is_secure, asked_by, objects) {
            if let Some(done) = self.search(linker, name, &path, &how, &mut found) {
                return done;
            }
        }
        if let Some(unread) = &self.unread {
            found.or_open(|| unread.clone());
        }
        Lookup::Failed(Why::NotFound(found), None)
    }

    /// Tries the folders of one list; nothing if the search goes on behind it.
    fn search<'a>(
        &self,
        linker: &Linker<'a>,
        name: &str,
        list: &SearchPath,
        how: &How,
        found: &mut NotFound,
    ) -> Option<Lookup<'a>> {
        for folder in &list.folders {
            let path = format!("{folder}/{name}");
            let how = match how {
                How::Default(_) => How::Default(folder.clone()),
                how => how.clone(),
            };
            if found.looked_in.len() < MOST_PLACES {
                found.looked_in.push(match (&how, &self.path_file) {
                    (How::Default(_), Some(file)) => format!("{folder} ({file})"),
                    (How::Default(_), None) => format!("{folder} (default folder)"),
                    (how, _) => format!("{folder} ({})", how.words()),
                });
            }
            match linker.open(&path) {
                Attempt::Opened(opened) => return Some(Lookup::Found(opened, how)),
                Attempt::Absent(why) => found.passed_over.extend(why),
                Attempt::PassedOver(why) if why.contains("cannot be read") => found.passed_over.push(why),
                // The first file of the name is taken, whatever it is.
                Attempt::PassedOver(why) => return Some(Lookup::Failed(Why::Broken { path, why }, None)),
                Attempt::Broken(why, place) => {
                    return Some(Lookup::Failed(Why::Broken { path, why }, Some(place)));
                }
                Attempt::Unknown(why, place) => return Some(Lookup::Failed(Why::Unknown(why), Some(place))),
                Attempt::Ends(why) => {
                    found.passed_over.push(format!("{why}, which ends the search"));
                    return Some(Lookup::Failed(Why::NotFound(std::mem::take(found)), None));
                }
            }
        }
        if let Some(relative) = &list.relative {
            found.or_open(|| format!("{} has {relative}, which is relative to the working directory", how.words()));
        }
        if list.is_cut {
            found.or_open(|| format!("{} has too many folders to search", how.words()));
        }
        None
    }

    /// The lists in the order of the search: the variable's, those of the asking object and of the ones that led to it,
    /// the system's.
    fn paths(&self, is_secure: bool, asked_by: usize, objects: &[Object<'_>]) -> Vec<(SearchPath, How)> {
        let mut all = vec![(self.library_path.clone(), How::LibraryPath)];
        let (mut next, mut seen) = (Some(asked_by), Vec::new());
        while let Some(index) = next.filter(|index| !seen.contains(index)) {
            seen.push(index);
            let object = &objects[index];
            // Where the program lies is not trusted if its starter could have chosen it.
            let origin = (index > 0 || !is_secure).then(|| object.origin());
            let (path, how) = match (&object.elf.runpath, &object.elf.rpath) {
                (Some(path), _) => (path.as_str(), How::Runpath(object.path.clone())),
                (None, Some(path)) => (path.as_str(), How::Rpath(object.path.clone())),
                (None, None) => ("", How::Path),
            };
            let path = musl_expanded(path, origin).unwrap_or_default();
            all.push((SearchPath::musl(&path), how));
            next = object.asked_by;
        }
        all.push((self.system.clone(), How::Default(String::new())));
        all
    }
}

/// The file that names the folders, `/etc/ld-musl-ARCH.path`: below what comes before the loader's folder in its path.
fn path_file(loader: &ElfSummary, interpreter: &str) -> String {
    let name = interpreter.rsplit('/').next().unwrap_or_default();
    let stem = match name.split_once(".so") {
        Some((stem, _)) if stem.starts_with("ld-musl-") => stem.to_owned(),
        _ => format!("ld-musl-{}", machine_name(loader.architecture().unwrap_or_default())),
    };
    let prefix = parent(parent(interpreter)).trim_end_matches('/');
    format!("{prefix}/etc/{stem}.path")
}

fn is_reserved(name: &str) -> bool {
    let word = name.strip_prefix("lib").and_then(|rest| rest.split_once('.')).map(|(word, _)| word);
    word.is_some_and(|word| RESERVED.contains(&word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_file_lies_below_the_prefix_of_the_loader() {
        let loader = ElfSummary { is_64: true, is_little_endian: true, machine: 62, ..ElfSummary::default() };
        for (interpreter, file) in [
            ("/lib/ld-musl-x86_64.so.1", "/etc/ld-musl-x86_64.path"),
            ("/opt/musl/lib/ld-musl-x86_64.so.1", "/opt/musl/etc/ld-musl-x86_64.path"),
            ("/lib64/ld-linux-x86-64.so.2", "/etc/ld-musl-x86_64.path"),
            ("/ld-musl-x86_64.so.1", "/etc/ld-musl-x86_64.path"),
        ] {
            assert_eq!(path_file(&loader, interpreter), file);
        }
    }

    #[test]
    fn names_of_the_c_library_stand_for_the_loader() {
        let reserved = ["libc.musl-x86_64.so.1", "libm.so.6", "libdl.so.2"].map(is_reserved);
        assert_eq!((reserved, is_reserved("libcrypt.so.1")), ([true; 3], false));
    }
}
