//! Finds out which C library an image's programs are started with: by the loader and library files themselves.

use super::{Fact, Libc, LibcFamily, OsRelease, OtherLibc};
use crate::layer::elf::{ElfSummary, LibcMark};
use crate::layer::path::absolute;
use crate::platform::Platform;
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

/// Where programs for a glibc architecture look for their loader (psABI supplements; glibc, shlib-versions).
fn glibc_loader(architecture: &str) -> Option<&'static str> {
    Some(match architecture {
        "amd64" => "lib64/ld-linux-x86-64.so.2",
        "386" => "lib/ld-linux.so.2",
        "arm64" => "lib/ld-linux-aarch64.so.1",
        "arm" => "lib/ld-linux-armhf.so.3",
        "ppc64le" => "lib64/ld64.so.2",
        "s390x" => "lib/ld64.so.1",
        "riscv64" => "lib/ld-linux-riscv64-lp64d.so.1",
        "loong64" => "lib64/ld-linux-loongarch-lp64d.so.1",
        _ => return None,
    })
}

/// The name of an architecture in the file names of musl's loader and Debian's library folders.
fn machine_name(architecture: &str) -> &str {
    match architecture {
        "amd64" => "x86_64",
        "386" => "i386",
        "arm64" => "aarch64",
        "arm" => "arm",
        "ppc64le" => "powerpc64le",
        other => other,
    }
}

/// Finds the C library for programs of `platform`.
#[must_use]
pub fn libc(rootfs: &Rootfs, platform: &Platform, os_release: &Fact<OsRelease>) -> Fact<Libc> {
    let Some(standard) = glibc_loader(&platform.architecture) else {
        return Fact::unknown(format!("imglint does not know where programs for {platform} look for their loader"));
    };
    let look = Look { rootfs, platform, standard };
    let glibc = look.glibc();
    let musl = look.loader_named("ld-musl-");
    let uclibc = look.loader_named("ld-uClibc").or_else(|| look.loader_named("ld64-uClibc"));
    let mut libc = match (look.system(), glibc, musl, uclibc) {
        (Some(System { family: LibcFamily::Musl, sentence }), glibc, musl, _) => look.musl(sentence, musl, glibc),
        (Some(System { family: LibcFamily::Uclibc, sentence }), _, _, uclibc) => {
            look.without_version(LibcFamily::Uclibc, sentence, uclibc)
        }
        (system, Some(Ok(loader)), musl, _) => look.glibc_found(system, loader, musl),
        (Some(System { family: LibcFamily::Glibc, sentence }), broken, _, _) => look.glibc_elsewhere(sentence, broken),
        (None, _, Some(musl), _) => look.musl(format!("its loader is {}", shown(&musl)), Some(musl), None),
        (None, _, None, Some(uclibc)) => {
            look.without_version(LibcFamily::Uclibc, format!("its loader is {}", shown(&uclibc)), Some(uclibc))
        }
        (system, broken, None, None) => look.none(system, broken),
        (Some(other), ..) => look.without_version(LibcFamily::Other, other.sentence, None),
    };
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

/// The C library by the system's own programs.
struct System {
    family: LibcFamily,
    sentence: String,
}

/// A file with where it was looked for.
struct File<'a> {
    asked: String,
    node: Node<'a>,
}

impl File<'_> {
    fn elf(&self) -> Option<&ElfSummary> {
        self.node.detail.and_then(|detail| detail.elf.as_ref())
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

    /// What is where programs for glibc look for their loader: glibc's own, or why it is not.
    fn glibc(&self) -> Option<Result<File<'a>, (File<'a>, String)>> {
        let file = self.find(self.standard)?;
        let at = shown(&file);
        let Some(elf) = file.elf() else {
            return Some(Err((file, format!("{at} is not a program"))));
        };
        let architecture = elf.architecture().unwrap_or("another architecture");
        if architecture != self.platform.architecture {
            let why = format!("{at} is for {architecture}, not for {}", self.platform.architecture);
            return Some(Err((file, why)));
        }
        let real = absolute(&file.node.path);
        match file.mark().map(|mark| mark.family.as_str()) {
            Some("musl") => Some(Err((file, format!("{at} is {real}, which is musl (libc6-compat)")))),
            // gcompat's loader is a program that calls musl's.
            _ if elf.needed.iter().any(|library| library.contains("musl")) || real.contains("gcompat") => {
                Some(Err((file, format!("{at} is the compatibility layer gcompat"))))
            }
            _ => Some(Ok(file)),
        }
    }

    /// The first file in `/lib` whose name starts so and that is a loader for the platform.
    fn loader_named(&self, start: &str) -> Option<File<'a>> {
        let names = self.rootfs.names("lib");
        let mut files =
            names.iter().filter(|name| name.starts_with(start)).filter_map(|name| self.find(&format!("lib/{name}")));
        files.find(|file| file.elf().and_then(ElfSummary::architecture) == Some(self.platform.architecture.as_str()))
    }

    /// The C library that the system's own programs were linked with.
    fn system(&self) -> Option<System> {
        let programs: Vec<File<'_>> = SYSTEM_PROGRAMS.iter().filter_map(|path| self.find(path)).collect();
        let of_platform = |file: &&File<'_>| {
            file.elf().and_then(ElfSummary::architecture) == Some(self.platform.architecture.as_str())
        };
        let dynamic = programs.iter().filter(of_platform).find_map(|file| {
            let interpreter = file.elf()?.interpreter.as_deref()?;
            let name = interpreter.rsplit('/').next().unwrap_or_default();
            let family = if name.starts_with("ld-musl") {
                LibcFamily::Musl
            } else if name.contains("uClibc") {
                LibcFamily::Uclibc
            } else if name.starts_with("ld-linux") || name.starts_with("ld64.so") || name.starts_with("ld.so") {
                LibcFamily::Glibc
            } else {
                LibcFamily::Other
            };
            Some(System { family, sentence: format!("{} is started by {interpreter}", shown(file)) })
        });
        dynamic.or_else(|| {
            programs.iter().filter(of_platform).find_map(|file| {
                let family = match file.mark()?.family.as_str() {
                    "musl" => LibcFamily::Musl,
                    "uclibc" => LibcFamily::Uclibc,
                    _ => return None,
                };
                let name = if family == LibcFamily::Musl { "musl" } else { "uClibc" };
                Some(System { family, sentence: format!("{} is linked statically with {name}", shown(file)) })
            })
        })
    }

    fn glibc_found(&self, system: Option<System>, loader: File<'a>, musl: Option<File<'a>>) -> Libc {
        let library = self.library();
        let mut known_by = Vec::new();
        known_by.extend(system.map(|system| system.sentence));
        known_by.push(format!("{} is its loader", shown(&loader)));
        let version = library.as_ref().and_then(|library| glibc_version(library));
        match (&library, &version) {
            (Some(library), Some(version)) => known_by.push(format!("{} says version {version}", shown(library))),
            (Some(library), None) => known_by.push(format!("{} does not say its version", shown(library))),
            (None, _) => known_by.push("libc.so.6 is in no default folder".to_owned()),
        }
        Libc {
            family: LibcFamily::Glibc,
            version,
            loader: self.place(&loader),
            library: library.map(|library| self.place(&library)).unwrap_or_default(),
            known_by,
            beside: musl.map(|musl| OtherLibc {
                family: LibcFamily::Musl,
                what: "musl".to_owned(),
                place: self.place(&musl),
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
        folders
            .filter_map(|folder| self.find(&format!("{folder}/libc.so.6")))
            .find(|file| file.elf().and_then(ElfSummary::architecture) == Some(self.platform.architecture.as_str()))
    }

    fn musl(
        &self,
        sentence: String,
        musl: Option<File<'a>>,
        glibc: Option<Result<File<'a>, (File<'a>, String)>>,
    ) -> Libc {
        let version = musl.as_ref().and_then(|file| file.mark()?.version.clone());
        let mut known_by = vec![sentence];
        if let (Some(file), Some(version)) = (&musl, &version) {
            known_by.push(format!("{} says version {version}", shown(file)));
        }
        let beside = glibc.map(|found| {
            let (place, what) = match &found {
                Ok(file) if file.node.path.contains("glibc-compat") => {
                    (self.place(file), "glibc from the package glibc-compat".to_owned())
                }
                Ok(file) => (self.place(file), "a glibc loader".to_owned()),
                Err((file, why)) => (self.place(file), why.clone()),
            };
            OtherLibc { family: LibcFamily::Glibc, what, place }
        });
        let place = musl.map(|file| self.place(&file)).unwrap_or_default();
        Libc { family: LibcFamily::Musl, version, loader: place.clone(), library: place, known_by, beside }
    }

    fn without_version(&self, family: LibcFamily, sentence: String, loader: Option<File<'a>>) -> Libc {
        let loader = loader.map(|file| self.place(&file)).unwrap_or_default();
        Libc { family, version: None, loader, library: Place::default(), known_by: vec![sentence], beside: None }
    }

    /// The system's programs have glibc somewhere (NixOS, Guix), but other programs do not find it there.
    fn glibc_elsewhere(&self, sentence: String, broken: Option<Result<File<'a>, (File<'a>, String)>>) -> Libc {
        self.none(Some(System { family: LibcFamily::Glibc, sentence }), broken)
    }

    fn none(&self, system: Option<System>, broken: Option<Result<File<'a>, (File<'a>, String)>>) -> Libc {
        let expected = absolute(self.standard);
        let mut known_by: Vec<String> = system.map(|system| system.sentence).into_iter().collect();
        known_by.push(match broken {
            Some(Err((_, why))) => why,
            _ => format!("there is no loader at {expected}, where programs for glibc look for it"),
        });
        Libc {
            family: LibcFamily::None,
            version: None,
            loader: Place::path(&expected),
            library: Place::default(),
            known_by,
            beside: None,
        }
    }
}

/// By its banner, else by the newest symbol version it defines.
fn glibc_version(library: &File<'_>) -> Option<String> {
    let elf = library.elf()?;
    let banner = elf.libc_mark.as_ref().and_then(|mark| mark.version.clone());
    banner.or_else(|| {
        let newest = elf.version_definitions.iter().filter_map(|version| {
            let (major, minor) = version.strip_prefix("GLIBC_")?.split_once('.')?;
            Some((major.parse::<u32>().ok()?, minor.split('.').next()?.parse::<u32>().ok()?))
        });
        newest.max().map(|(major, minor)| format!("{major}.{minor}"))
    })
}
