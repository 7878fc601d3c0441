//! Small file systems as distributions make them, file by file, and the facts that are gathered of them.

use std::sync::Arc;

use imglint::facts::programs::{ProgramFact, Wanted};
use imglint::facts::{Command, Content, Fact, Facts, Libc, OsRelease, gather};
use imglint::image::config::{Configuration, RunConfiguration};
use imglint::image::{Image, ManifestKind, SourceKind};
use imglint::layer::scan;
use imglint::rootfs::{Rootfs, StackedLayer};

use super::elf::{BASH_MARK, Elf, X86_64};
use super::tars::{Member, tar};

pub const GLIBC_LOADER: &str = "lib64/ld-linux-x86-64.so.2";
pub const MUSL_LOADER: &str = "lib/ld-musl-x86_64.so.1";
pub const GLIBC_BANNER: &[u8] = b"GNU C Library (Debian GLIBC 2.36-9+deb12u10) stable release version 2.36.\n";
pub const MUSL_BANNER: &[u8] = b"musl libc (x86_64)\nVersion %s\0\x001.2.5\0No error information\0";

/// A file system under construction, its layers and its configuration.
#[derive(Default)]
pub struct Made {
    layers: Vec<Vec<u8>>,
    run: RunConfiguration,
    platform: Option<&'static str>,
}

/// A file to be: path and content.
pub type File<'a> = (&'a str, Vec<u8>);

impl Made {
    pub fn new(files: &[File<'_>], links: &[(&str, &str)]) -> Self {
        Self::default().layer(files, links)
    }

    pub fn layer(self, files: &[File<'_>], links: &[(&str, &str)]) -> Self {
        let files = files.iter().map(|(path, content)| Member::file(path, content));
        let links = links.iter().map(|(path, target)| Member::symlink(path, target));
        self.tar(&files.chain(links).collect::<Vec<_>>())
    }

    pub fn tar(mut self, members: &[Member<'_>]) -> Self {
        self.layers.push(tar(members));
        self
    }

    pub fn on(mut self, platform: &'static str) -> Self {
        self.platform = Some(platform);
        self
    }

    pub fn env(mut self, entry: &str) -> Self {
        self.run.env.push(entry.to_owned());
        self
    }

    pub fn user(mut self, user: &str) -> Self {
        user.clone_into(&mut self.run.user);
        self
    }

    pub fn facts(self) -> Facts {
        self.facts_of(&Wanted::default())
    }

    /// What is said of the program at `path`.
    pub fn program(self, path: &str) -> ProgramFact {
        let wanted = Wanted { paths: vec![path.to_owned()], ..Wanted::default() };
        self.facts_of(&wanted).programs.known().unwrap()[0].clone()
    }

    fn facts_of(self, wanted: &Wanted) -> Facts {
        let platform = self.platform.unwrap_or("linux/amd64").parse().unwrap();
        let image = Image {
            name: None,
            digest: None,
            config_digest: None,
            platform,
            offered: Vec::new(),
            entry: None,
            is_one_of_all: false,
            listed: None,
            manifest: ManifestKind::None,
            media_types: Vec::new(),
            configuration: Some(Configuration { run: self.run, ..Configuration::default() }),
            layers: Vec::new(),
        };
        let layers = self.layers.iter().map(|tar| StackedLayer {
            index: Arc::new(scan(tar.as_slice()).unwrap()),
            instruction: Some("COPY . .".to_owned()),
        });
        gather(&image, SourceKind::Oci, None, Content::Linux(&Rootfs::new(layers.collect())), wanted)
    }

    pub fn libc(self) -> Libc {
        self.facts().libc.known().unwrap().clone()
    }

    pub fn os_release(self) -> Fact<OsRelease> {
        self.facts().os_release
    }

    pub fn command(self, name: &str) -> Command {
        self.facts().commands.known().unwrap()[name].clone()
    }
}

pub fn glibc_program() -> Vec<u8> {
    Elf::program(X86_64, "/lib64/ld-linux-x86-64.so.2").text(BASH_MARK).bytes()
}

pub fn musl_program() -> Vec<u8> {
    Elf { needed: vec!["libc.musl-x86_64.so.1"], ..Elf::program(X86_64, "/lib/ld-musl-x86_64.so.1") }.bytes()
}

pub fn glibc_loader(machine: u16) -> Vec<u8> {
    Elf { versions: vec!["GLIBC_2.2.5", "GLIBC_PRIVATE"], ..Elf::library(machine, "ld-linux-x86-64.so.2") }.bytes()
}

pub fn glibc_library(machine: u16) -> Vec<u8> {
    let library = Elf::library(machine, "libc.so.6").text(GLIBC_BANNER);
    Elf { versions: vec!["GLIBC_2.2.5", "GLIBC_2.36"], interpreter: Some("/lib64/ld-linux-x86-64.so.2"), ..library }
        .bytes()
}

pub fn musl_loader() -> Vec<u8> {
    Elf::library(X86_64, "libc.musl-x86_64.so.1").text(MUSL_BANNER).bytes()
}

pub fn debian() -> Made {
    let files = [
        ("usr/bin/dash", glibc_program()),
        ("usr/bin/bash", glibc_program()),
        ("usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2", glibc_loader(X86_64)),
        ("usr/lib/x86_64-linux-gnu/libc.so.6", glibc_library(X86_64)),
        (
            "usr/lib/os-release",
            b"ID=debian\nVERSION_ID=\"12\"\nPRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\n".to_vec(),
        ),
    ];
    let links = [
        ("bin", "usr/bin"),
        ("lib", "usr/lib"),
        ("lib64", "usr/lib64"),
        ("usr/lib64/ld-linux-x86-64.so.2", "../lib/x86_64-linux-gnu/ld-linux-x86-64.so.2"),
        ("usr/bin/sh", "dash"),
        ("etc/os-release", "../usr/lib/os-release"),
    ];
    Made::new(&files, &links)
}

pub fn alpine() -> Made {
    let files = [
        ("bin/busybox", musl_program()),
        (MUSL_LOADER, musl_loader()),
        ("etc/os-release", b"ID=alpine\nVERSION_ID=3.20.3\nPRETTY_NAME=\"Alpine Linux v3.20\"\n".to_vec()),
    ];
    Made::new(&files, &[("bin/sh", "/bin/busybox"), ("lib/libc.musl-x86_64.so.1", "ld-musl-x86_64.so.1")])
}
