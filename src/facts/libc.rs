//! Finds out which C library an image's programs are started with: by the loader and library files themselves.

use super::{Fact, Libc, LibcFamily, OsRelease, OtherLibc};
use crate::layer::path::absolute;
use crate::layer::{ElfSummary, LibcMark};
use crate::platform::{Platform, machine_name};
use crate::rootfs::{Node, Rootfs};
use crate::verdict::Place;

/// Programs of the system itself, by whose interpreter the system's own C library is told.
const SYSTEM_PROGRAMS: [&str; 9] = [
    "bin/sh",
    "bin/busybox",
    "bin/bash",
    "usr/bin/env",
    "bin/ls",
    "bin/cat",
    "usr/bin/bash",
    "sbin/apk",
    "usr/bin/getconf",
];
/// Where libraries lie when nothing says otherwise (ld.so(8); Debian's multiarch folders; `/lib64` of the others).
const LIBRARY_FOLDERS: [&str; 4] = ["lib", "usr/lib", "lib64", "usr/lib64"];

/// Where programs for a glibc architecture look for their loader (psABI supplements; glibc, shlib-versions). Two are
/// of processors with and without floating point.
fn glibc_loaders(architecture: &str) -> &'static [&'static str] {
    match architecture {
        "amd64" => &["lib64/ld-linux-x86-64.so.2"],
        "386" => &["lib/ld-linux.so.2"],
        "arm64" => &["lib/ld-linux-aarch64.so.1"],
        "arm" => &["lib/ld-linux-armhf.so.3", "lib/ld-linux.so.3"],
        "ppc64le" => &["lib64/ld64.so.2"],
        "s390x" => &["lib/ld64.so.1"],
        "riscv64" => &["lib/ld-linux-riscv64-lp64d.so.1"],
        "loong64" => &["lib64/ld-linux-loongarch-lp64d.so.1"],
        _ => &[],
    }
}

/// Finds the C library for programs of `platform`.
#[must_use]
pub fn libc(rootfs: &Rootfs, platform: &Platform, os_release: &Fact<OsRelease>) -> Fact<Libc> {
    let loaders = glibc_loaders(&platform.architecture);
    let is_there = |path: &&&str| rootfs.find(path).is_ok();
    let Some(standard) = loaders.iter().find(is_there).or_else(|| loaders.first()) else {
        return Fact::unknown(format!("imglint does not know where programs for {platform} look for their loader"));
    };
    let look = Look { rootfs, platform, standard };
    let mut libc = look.libc();
    // The distribution's name supports what the files say; it never decides.
    if let Some(release) = os_release.known().filter(|release| release.present) {
        let name = release.pretty_name.as_deref().unwrap_or(&release.id);
        libc.known_by.push(format!("{} says {name}", release.place.path.as_deref().unwrap_or("os-release")));
    }
    Fact::Known(libc)
}

struct Look<'a> {
    rootfs: &'a Rootfs,
    platform: &'a Platform,
    /// Where programs for glibc look for their loader.
    standard: &'static str,
}

/// The C library by one of the system's own programs.
struct System {
    family: LibcFamily,
    /// Whether the library is part of the program, so that other programs do not have it.
    is_static: bool,
    sentence: String,
    place: Place,
}

/// What is where programs for glibc look for their loader.
enum AtStandard<'a> {
    Nothing,
    /// A loader of glibc.
    Loader(File<'a>),
    /// Something else that lets programs for glibc start, for people.
    Layer(File<'a>, String),
    /// What does not work, and why: a sentence.
    Broken(String),
}

/// A file with where it was looked for.
struct File<'a> {
    asked: String,
    node: Node<'a>,
}

impl File<'_> {
    fn elf(&self) -> Option<&ElfSummary> {
        self.node.detail().and_then(|detail| detail.elf.as_ref())
    }

    fn mark(&self) -> Option<&LibcMark> {
        self.elf().and_then(|elf| elf.libc_mark.as_ref())
    }
}

fn shown(file: &File<'_>) -> String {
    absolute(&file.asked)
}

impl<'a> Look<'a> {
    fn find(&self, path: &str) -> Option<File<'a>> {
        self.rootfs.find(path).ok().map(|node| File { asked: path.to_owned(), node })
    }

    fn place(&self, file: &File<'_>) -> Place {
        self.rootfs.place(&file.asked, &file.node)
    }

    fn libc(&self) -> Libc {
        let standard = self.at_standard();
        let musl = self.loader_named("ld-musl-");
        let uclibc = self.loader_named("ld-uClibc").or_else(|| self.loader_named("ld64-uClibc"));
        // A static program beside a loader of glibc is a tool that somebody added; it does not make the system.
        let is_made_by = |system: &System| {
            !(system.is_static && matches!(&standard, AtStandard::Loader(file) if !is_compatibility_package(file)))
        };
        match (self.system().filter(is_made_by), standard) {
            (Some(system @ System { family: LibcFamily::Musl, .. }), standard) => {
                self.other(LibcFamily::Musl, &system, musl, standard)
            }
            (Some(system @ System { family: LibcFamily::Uclibc, .. }), standard) => {
                self.other(LibcFamily::Uclibc, &system, uclibc, standard)
            }
            (system, AtStandard::Loader(loader)) => self.glibc(system, &loader, musl.as_ref()),
            (Some(system @ System { family: LibcFamily::Other, .. }), standard) => {
                self.other(LibcFamily::Other, &system, None, standard)
            }
            (Some(system), standard) => self.none(Some(system), standard),
            (None, standard) => match (musl, uclibc) {
                (Some(musl), _) => self.other(LibcFamily::Musl, &self.by_loader(&musl), Some(musl), standard),
                (None, Some(uclibc)) => {
                    self.other(LibcFamily::Uclibc, &self.by_loader(&uclibc), Some(uclibc), standard)
                }
                (None, None) => self.none(None, standard),
            },
        }
    }

    fn at_standard(&self) -> AtStandard<'a> {
        let Some(file) = self.find(self.standard) else { return AtStandard::Nothing };
        let at = shown(&file);
        let Some(elf) = file.elf() else {
            return AtStandard::Broken(format!("{at} is not a program loader"));
        };
        let architecture = elf.architecture().unwrap_or("another architecture");
        if architecture != self.platform.architecture {
            return AtStandard::Broken(format!("{at} is for {architecture}, not for {}", self.platform.architecture));
        }
        let real = absolute(&file.node.path);
        if file.mark().is_some_and(|mark| mark.family == "musl") {
            return AtStandard::Layer(file, format!("libc6-compat ({at} leads to musl's own loader {real})"));
        }
        // gcompat's loader is a program that calls musl's.
        if elf.needed.iter().any(|library| library.contains("musl")) || real.contains("gcompat") {
            return AtStandard::Layer(file, "gcompat".to_owned());
        }
        AtStandard::Loader(file)
    }

    /// The first file in `/lib` whose name starts so and that is a loader for the platform.
    fn loader_named(&self, start: &str) -> Option<File<'a>> {
        let names = self.rootfs.names("lib");
        let mut files =
            names.iter().filter(|name| name.starts_with(start)).filter_map(|name| self.find(&format!("lib/{name}")));
        files.find(|file| self.is_for_platform(file))
    }

    fn is_for_platform(&self, file: &File<'_>) -> bool {
        file.elf().and_then(ElfSummary::architecture) == Some(self.platform.architecture.as_str())
    }

    fn system_programs(&self) -> Vec<File<'a>> {
        SYSTEM_PROGRAMS.iter().filter_map(|path| self.find(path)).collect()
    }

    /// The C library that the system's own programs were linked with.
    fn system(&self) -> Option<System> {
        let mut programs = self.system_programs();
        programs.retain(|file| self.is_for_platform(file));
        let dynamic = programs.iter().find_map(|file| {
            let interpreter = file.elf()?.interpreter.as_deref()?;
            let name = interpreter.rsplit('/').next().unwrap_or_default();
            let family = if name.starts_with("ld-musl") {
                LibcFamily::Musl
            } else if name.contains("uClibc") {
                LibcFamily::Uclibc
            } else if ["ld-linux", "ld64.so", "ld.so"].iter().any(|start| name.starts_with(start)) {
                LibcFamily::Glibc
            } else {
                LibcFamily::Other
            };
            let sentence = format!("{} is started by {interpreter}", shown(file));
            Some(System { family, is_static: false, sentence, place: self.place(file) })
        });
        dynamic.or_else(|| {
            programs.iter().find_map(|file| {
                let (family, name) = match file.mark()?.family.as_str() {
                    "musl" => (LibcFamily::Musl, "musl"),
                    "uclibc" => (LibcFamily::Uclibc, "uClibc"),
                    _ => return None,
                };
                let sentence = format!("{} is linked statically with {name}", shown(file));
                Some(System { family, is_static: true, sentence, place: self.place(file) })
            })
        })
    }

    fn by_loader(&self, loader: &File<'_>) -> System {
        let sentence = format!("the only program loader is {}", shown(loader));
        System { family: LibcFamily::Other, is_static: false, sentence, place: self.place(loader) }
    }

    fn glibc(&self, system: Option<System>, loader: &File<'_>, musl: Option<&File<'_>>) -> Libc {
        let library = self.library();
        let (at, architecture) = (shown(loader), &self.platform.architecture);
        let mut known_by: Vec<String> = system.map(|system| system.sentence).into_iter().collect();
        known_by.push(format!("{at} is the program loader of glibc, for {architecture}"));
        let version = library.as_ref().and_then(|library| {
            let (version, sentence) = glibc_version(library)?;
            known_by.push(sentence);
            Some(version)
        });
        match &library {
            Some(library) if version.is_none() => known_by.push(format!("{} does not say its version", shown(library))),
            Some(_) => {}
            None => known_by.push(format!("libc.so.6 for {architecture} is in no folder where loaders look unasked")),
        }
        Libc {
            family: LibcFamily::Glibc,
            version,
            loader: self.place(loader),
            library: library.map(|library| self.place(&library)).unwrap_or_default(),
            known_by,
            beside: musl.map(|musl| OtherLibc {
                family: LibcFamily::Musl,
                what: "musl".to_owned(),
                place: self.place(musl),
            }),
        }
    }

    /// `libc.so.6` in the default folders of all distribution families.
    fn library(&self) -> Option<File<'a>> {
        let triplet = format!("{}-linux-gnu", machine_name(&self.platform.architecture));
        let hard_float = "arm-linux-gnueabihf".to_owned();
        let folders = LIBRARY_FOLDERS
            .iter()
            .flat_map(|folder| [format!("{folder}/{triplet}"), format!("{folder}/{hard_float}"), (*folder).to_owned()]);
        folders.filter_map(|folder| self.find(&format!("{folder}/libc.so.6"))).find(|file| self.is_for_platform(file))
    }

    /// A C library other than glibc. Of one that is part of a static program, that program is the place.
    fn other(&self, family: LibcFamily, system: &System, loader: Option<File<'a>>, standard: AtStandard<'a>) -> Libc {
        let loader = loader.filter(|_| !system.is_static);
        let version = loader.as_ref().and_then(|file| file.mark()?.version.clone());
        let mut known_by = vec![system.sentence.clone()];
        if let (Some(file), Some(version)) = (&loader, &version) {
            known_by.push(format!("{} says that it is version {version}", shown(file)));
        }
        let (file, what) = match standard {
            AtStandard::Nothing | AtStandard::Broken(_) => (None, String::new()),
            AtStandard::Layer(file, what) => (Some(file), what),
            AtStandard::Loader(file) if is_compatibility_package(&file) => {
                (Some(file), "glibc from the package glibc-compat".to_owned())
            }
            AtStandard::Loader(file) => (Some(file), "a program loader of glibc".to_owned()),
        };
        let beside = file.map(|file| OtherLibc { family: LibcFamily::Glibc, what, place: self.place(&file) });
        let (loader, library) = match loader {
            // The loaders of musl and uClibc are, or stand for, the library.
            Some(file) => (self.place(&file), self.place(&file)),
            None => (Place::default(), system.place.clone()),
        };
        Libc { family, version, loader, library, known_by, beside }
    }

    /// No C library that programs find: there is none, it is for another processor, or it lies elsewhere (NixOS, Guix).
    fn none(&self, system: Option<System>, standard: AtStandard<'a>) -> Libc {
        let expected = absolute(self.standard);
        let first = match standard {
            AtStandard::Broken(why) => why,
            _ => format!("there is nothing at {expected}, where programs built for glibc look for their loader"),
        };
        let foreign = || {
            let programs = self.system_programs();
            let file = programs.iter().find(|file| file.elf().is_some() && !self.is_for_platform(file))?;
            let architecture = file.elf()?.architecture().unwrap_or("another architecture");
            Some(format!("{} is a program for {architecture}, not for {}", shown(file), self.platform.architecture))
        };
        let second = system.map(|system| system.sentence).or_else(foreign);
        Libc {
            family: LibcFamily::None,
            version: None,
            loader: Place::path(&expected),
            library: Place::default(),
            known_by: [Some(first), second].into_iter().flatten().collect(),
            beside: None,
        }
    }
}

/// Whether a loader is the one that people install on Alpine (sgerrand/alpine-pkg-glibc).
fn is_compatibility_package(file: &File<'_>) -> bool {
    file.node.path.contains("glibc-compat")
}

/// By its banner, else by the newest symbol version it defines; with the sentence that says so.
fn glibc_version(library: &File<'_>) -> Option<(String, String)> {
    let (elf, at) = (library.elf()?, shown(library));
    if let Some(version) = elf.libc_mark.as_ref().and_then(|mark| mark.version.clone()) {
        let sentence = format!("{at} says that it is glibc {version}");
        return Some((version, sentence));
    }
    let newest = elf.version_definitions.iter().filter_map(|version| {
        let (major, minor) = version.strip_prefix("GLIBC_")?.split_once('.')?;
        Some((major.parse::<u32>().ok()?, minor.split('.').next()?.parse::<u32>().ok()?))
    });
    let (major, minor) = newest.max()?;
    Some((format!("{major}.{minor}"), format!("{at} has the symbols of glibc up to {major}.{minor}")))
}
