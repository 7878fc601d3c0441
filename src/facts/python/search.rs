//! The folders that Python looks for modules in: PYTHONPATH, its standard library, and those of sites with what their `.pth`
//! files add.
//!
//! Source: Python, Lib/site.py and Modules/getpath.py; Debian, patches/deb-locations.diff; Fedora, 00251-change-user-install-location.patch.

use super::interpreter::Interpreter;
use crate::facts::programs::Surroundings;
use crate::layer::Kind;
use crate::layer::path::{absolute, join};
use crate::printable::excerpt;
use crate::rootfs::Access;

/// The most `.pth` files that are read.
const MOST_PTH_FILES: usize = 1000;
/// The most folders that are searched.
const MOST_FOLDERS: usize = 10_000;
/// `.pth` files that run code which adds no modules: those of setuptools and virtualenv, and of namespace packages.
const HARMLESS: [&str; 4] = ["distutils-precedence.pth", "_virtualenv.pth", "a1_coverage.pth", "-nspkg.pth"];

/// Where modules are looked for.
#[derive(Default)]
pub struct ModulePath {
    /// The folders that are there, in order.
    pub folders: Vec<String>,
    /// Why there may be more: a sentence.
    pub more: Option<String>,
    /// Whether the user's own folder is one of them, or would be if it were there.
    pub has_user: bool,
}

/// The path of an interpreter.
#[must_use]
pub fn module_path(around: &Surroundings<'_>, python: &Interpreter) -> ModulePath {
    let mut path = ModulePath::default();
    let (version, prefix) = (&python.version, &python.prefix);
    if let Some((folders, with_site)) = &python.only {
        folders.iter().for_each(|folder| path.add(around, folder));
        if *with_site {
            sites(around, python, &mut path);
        }
        return path;
    }
    let set = around.variable("PYTHONPATH").unwrap_or_default();
    for folder in set.split(':').filter(|folder| !folder.is_empty()).take(MOST_FOLDERS) {
        match folder.strip_prefix('~') {
            _ if folder.starts_with('/') => path.add(around, folder),
            // It is not expanded, so it is a folder of this name.
            Some(_) => {}
            None => {
                path.note(|| format!("PYTHONPATH has {:?}, which depends on the working folder", excerpt(folder, 120)))
            }
        }
    }
    for library in ["lib", "lib64"] {
        path.add_here(around, &join(prefix, &format!("{library}/python{version}")));
        path.add_here(around, &join(prefix, &format!("{library}/python{version}/lib-dynload")));
    }
    sites(around, python, &mut path);
    path
}

/// The folders of sites, in the order in which they are added.
fn sites(around: &Surroundings<'_>, python: &Interpreter, path: &mut ModulePath) {
    let version = &python.version;
    let sees_system = python.environment.as_ref().is_none_or(|environment| environment.sees_system);
    if let Some(environment) = &python.environment {
        site_packages(&environment.prefix, version).iter().for_each(|folder| path.site(around, folder));
    }
    if !sees_system {
        return;
    }
    // A number other than 0, or any word (Python, Python/preconfig.c, `_Py_get_env_flag`).
    let set = around.variable("PYTHONNOUSERSITE").filter(|set| !set.is_empty());
    let is_off = set.is_some_and(|set| set.trim().parse() != Ok(0_i32));
    if !is_off {
        path.has_user = true;
        let set = around.variable("PYTHONUSERBASE").filter(|base| !base.is_empty());
        let base = set.map_or_else(|| format!("{}/.local", around.home.trim_end_matches('/')), str::to_owned);
        if base.starts_with('/') {
            path.site(around, &format!("{base}/lib/python{version}/site-packages"));
        }
    }
    for folder in of_system(around, python) {
        path.site(around, &folder);
    }
}

/// The folders of the system's Python.
fn of_system(around: &Surroundings<'_>, python: &Interpreter) -> Vec<String> {
    let (version, prefix) = (&python.version, python.prefix.as_str());
    let is_there = |path: &str| around.rootfs.find(path).is_ok();
    let is_debian = ["etc/debian_version", "var/lib/dpkg"].iter().any(|path| is_there(path));
    if prefix == "usr" && is_debian {
        return vec![
            format!("/usr/local/lib/python{version}/dist-packages"),
            "/usr/lib/python3/dist-packages".to_owned(),
            format!("/usr/lib/python{version}/dist-packages"),
        ];
    }
    let mut folders = Vec::new();
    // Distributions with lib64 let administrators install below /usr/local.
    if prefix == "usr" && is_there(&format!("usr/lib64/python{version}")) {
        folders.extend(site_packages("usr/local", version));
    }
    folders.extend(site_packages(prefix, version));
    folders
}

fn site_packages(prefix: &str, version: &str) -> [String; 2] {
    ["lib64", "lib"].map(|library| absolute(&join(prefix, &format!("{library}/python{version}/site-packages"))))
}

impl ModulePath {
    /// Adds a folder. A file may be a packed library, which is not looked into.
    fn add(&mut self, around: &Surroundings<'_>, folder: &str) {
        let Ok(node) = around.rootfs.find(folder) else { return };
        if node.kind == Kind::Directory {
            let folder = absolute(&join("", folder));
            if !self.folders.contains(&folder) && self.folders.len() < MOST_FOLDERS {
                self.folders.push(folder);
            }
        } else if node.size > 0 {
            self.note(|| format!("what is in {} is not known", excerpt(folder, 120)));
        }
    }

    fn add_here(&mut self, around: &Surroundings<'_>, folder: &str) {
        self.add(around, &absolute(folder));
    }

    fn note(&mut self, why: impl FnOnce() -> String) {
        self.more.get_or_insert_with(why);
    }

    /// Adds a folder of a site, and what its `.pth` files name (Lib/site.py, `addsitedir`).
    fn site(&mut self, around: &Surroundings<'_>, folder: &str) {
        let Ok(node) = around.rootfs.find(folder) else { return };
        let is_listed = around.rootfs.may(around.user, Access::Read, &node);
        self.add(around, folder);
        if node.kind != Kind::Directory || !is_listed {
            return;
        }
        let names = around.rootfs.names(folder);
        for name in names.iter().filter(|name| name.ends_with(".pth")).take(MOST_PTH_FILES) {
            self.pth_file(around, folder, name);
        }
    }

    fn pth_file(&mut self, around: &Surroundings<'_>, folder: &str, name: &str) {
        let path = absolute(&join(folder, name));
        let Ok(node) = around.rootfs.find(&path) else { return };
        if node.kind != Kind::File || !around.rootfs.may(around.user, Access::Read, &node) {
            return;
        }
        // Newer releases pass over hidden files, older ones do not.
        let is_hidden = name.starts_with('.');
        let Some(content) = node.detail().and_then(|detail| detail.content.as_deref()) else {
            self.note(|| format!("{path} was not read"));
            return;
        };
        let text = String::from_utf8_lossy(content).into_owned();
        for line in text.lines().map(str::trim_end).filter(|line| !line.is_empty() && !line.starts_with('#')) {
            if line.starts_with("import ") || line.starts_with("import\t") {
                if HARMLESS.iter().any(|known| name.ends_with(known)) {
                    continue;
                }
                // If the code fails, the rest of the file is passed over.
                self.note(|| format!("{path} runs code, which may add folders"));
                return;
            }
            if is_hidden {
                self.note(|| format!("whether {path} counts depends on the release of Python"));
                return;
            }
            self.add_here(around, &join(folder, line));
        }
    }
}
