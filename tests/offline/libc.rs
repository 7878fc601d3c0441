//! Which C library is found in file systems as distributions make them, and what is said about it.

use crate::support::elf::{AARCH64, Elf, I386, X86_64};
use crate::support::file_systems::{
    GLIBC_LOADER, MUSL_LOADER, Made, alpine, debian, glibc_library, glibc_loader, musl_loader,
};
use imglint::catalog::Catalog;
use imglint::facts::{Fact, Facts, Libc, LibcFamily};
use imglint::parameters::Parameters;

/// What the check for glibc says of it.
fn said(libc: &Libc) -> Vec<String> {
    let rule = Catalog::builtin().rule("libc-not-glibc").unwrap();
    let facts = Facts { libc: Fact::Known(libc.clone()), ..Facts::default() };
    let answer = rule.check.judge(&facts, &Parameters::default());
    for evidence in &answer.evidence {
        assert!(evidence.place.path.is_some(), "{evidence:?} says of no place");
    }
    answer.evidence.into_iter().map(|evidence| evidence.statement).collect()
}

#[test]
fn debian_has_glibc_of_the_version_in_its_banner() {
    let libc = debian().libc();
    assert_eq!((libc.family, libc.version.as_deref()), (LibcFamily::Glibc, Some("2.36")));
    assert_eq!(libc.loader.path.as_deref(), Some("/lib64/ld-linux-x86-64.so.2"));
    assert_eq!(libc.loader.instruction.as_deref(), Some("COPY . ."));
    assert_eq!(
        libc.known_by,
        [
            "/bin/sh is started by /lib64/ld-linux-x86-64.so.2",
            "/lib64/ld-linux-x86-64.so.2 is the program loader of glibc, for amd64",
            "/lib/x86_64-linux-gnu/libc.so.6 says that it is glibc 2.36",
            "/etc/os-release says Debian GNU/Linux 12 (bookworm)",
        ]
    );
    assert_eq!(said(&libc), [""; 0]);
}

#[test]
fn glibc_without_a_banner_has_the_version_of_its_newest_symbols() {
    let mute = Elf { versions: vec!["GLIBC_2.9", "GLIBC_2.35", "GLIBC_2.4.1"], ..Elf::library(X86_64, "libc.so.6") };
    let libc = debian().layer(&[("usr/lib/x86_64-linux-gnu/libc.so.6", mute.bytes())], &[]).libc();
    assert_eq!(libc.version.as_deref(), Some("2.35"));
    assert_eq!(libc.known_by[2], "/lib/x86_64-linux-gnu/libc.so.6 has the symbols of glibc up to 2.35");
}

#[test]
fn distroless_has_glibc_without_any_program() {
    let libc = Made::new(
        &[
            ("lib/x86_64-linux-gnu/ld-linux-x86-64.so.2", glibc_loader(X86_64)),
            ("lib/x86_64-linux-gnu/libc.so.6", glibc_library(X86_64)),
        ],
        &[(GLIBC_LOADER, "/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2")],
    )
    .libc();
    assert_eq!((libc.family, libc.version.as_deref()), (LibcFamily::Glibc, Some("2.36")));
    assert_eq!(libc.known_by[0], "/lib64/ld-linux-x86-64.so.2 is the program loader of glibc, for amd64");
}

#[test]
fn a_static_tool_beside_glibc_does_not_make_the_system() {
    let busybox = Elf::fixed(X86_64, b"No error information\0").bytes();
    let made = Made::new(&[(GLIBC_LOADER, glibc_loader(X86_64)), ("lib64/libc.so.6", glibc_library(X86_64))], &[]);
    let libc = made.layer(&[("bin/sh", busybox)], &[]).libc();
    assert_eq!(libc.family, LibcFamily::Glibc);
}

#[test]
fn debian_with_the_package_musl_is_still_debian() {
    let libc = debian().layer(&[("usr/lib/ld-musl-x86_64.so.1", musl_loader())], &[]).libc();
    assert_eq!(libc.family, LibcFamily::Glibc);
    assert_eq!(libc.beside.unwrap().family, LibcFamily::Musl);
}

#[test]
fn alpine_has_musl_of_the_version_in_its_loader() {
    let libc = alpine().libc();
    assert_eq!((libc.family, libc.version.as_deref()), (LibcFamily::Musl, Some("1.2.5")));
    assert_eq!(
        libc.known_by,
        [
            "/bin/sh is started by /lib/ld-musl-x86_64.so.1",
            "/lib/ld-musl-x86_64.so.1 says that it is version 1.2.5",
            "/etc/os-release says Alpine Linux v3.20",
        ]
    );
    assert_eq!(libc.beside, None);
    assert_eq!(said(&libc), ["programs are started with musl 1.2.5 by /lib/ld-musl-x86_64.so.1 in layer 0"]);
}

#[test]
fn alpine_with_a_compatibility_layer_still_has_musl() {
    let gcompat = Elf { needed: vec!["libc.musl-x86_64.so.1"], ..Elf::program(X86_64, "/lib/ld-musl-x86_64.so.1") };
    let compat = "usr/glibc-compat/lib/ld-linux-x86-64.so.2";
    let still = "is installed beside it, but a compatibility layer does not make the system one of glibc";
    for (made, what) in [
        (
            alpine().layer(
                &[("lib/ld-linux-x86-64.so.2", gcompat.bytes())],
                &[(GLIBC_LOADER, "/lib/ld-linux-x86-64.so.2")],
            ),
            "gcompat",
        ),
        (
            alpine().layer(&[], &[(GLIBC_LOADER, "/lib/libc.musl-x86_64.so.1")]),
            "libc6-compat (/lib64/ld-linux-x86-64.so.2 leads to musl's own loader /lib/ld-musl-x86_64.so.1)",
        ),
        (
            alpine().layer(
                &[(compat, glibc_loader(X86_64))],
                &[(GLIBC_LOADER, "/usr/glibc-compat/lib/ld-linux-x86-64.so.2")],
            ),
            "glibc from the package glibc-compat",
        ),
        (alpine().layer(&[(GLIBC_LOADER, glibc_loader(X86_64))], &[]), "a program loader of glibc"),
    ] {
        let libc = made.libc();
        assert_eq!(libc.family, LibcFamily::Musl, "{what}");
        let beside = libc.beside.clone().unwrap();
        assert_eq!((beside.family, beside.what.as_str()), (LibcFamily::Glibc, what));
        assert!(beside.place.layer.is_some(), "{what}");
        let said = said(&libc);
        assert!(said[1].starts_with(&format!("{what} {still}")), "{said:?}");
    }
}

#[test]
fn musl_without_programs_is_known_by_its_loader() {
    let libc = Made::new(&[(MUSL_LOADER, musl_loader())], &[]).libc();
    assert_eq!((libc.family, libc.version.as_deref()), (LibcFamily::Musl, Some("1.2.5")));
    assert_eq!(libc.known_by[0], "the only program loader is /lib/ld-musl-x86_64.so.1");
}

#[test]
fn nixos_has_glibc_where_no_program_looks() {
    let loader = "/nix/store/3bvl-glibc-2.40-36/lib/ld-linux-x86-64.so.2";
    let files = [(&loader[1..], glibc_loader(X86_64)), ("bin/sh", Elf::program(X86_64, loader).bytes())];
    let libc = Made::new(&files, &[]).libc();
    assert_eq!(libc.family, LibcFamily::None);
    assert_eq!(
        said(&libc),
        [
            "there is no C library that programs find: there is nothing at /lib64/ld-linux-x86-64.so.2, where programs built \
          for glibc look for their loader; /bin/sh is started by /nix/store/3bvl-glibc-2.40-36/lib/ld-linux-x86-64.so.2"
        ]
    );
}

#[test]
fn a_static_busybox_says_which_c_library_is_in_it() {
    for (text, family, name) in [
        (&b"No error information\0\x001.36.1\0"[..], LibcFamily::Musl, "musl"),
        (b"/etc/TZ\0", LibcFamily::Uclibc, "uClibc"),
    ] {
        let busybox = Elf::fixed(X86_64, text).bytes();
        let libc = Made::new(&[("bin/busybox", busybox)], &[("bin/sh", "busybox")]).libc();
        assert_eq!(
            (libc.family, libc.version.as_deref()),
            (family, None),
            "the version of busybox is not that of {name}"
        );
        assert_eq!(libc.library.path.as_deref(), Some("/bin/sh"));
        assert_eq!(said(&libc), [format!("the C library is {name}: /bin/sh is linked statically with {name}")]);
    }
}

#[test]
fn a_dynamic_uclibc_is_known_by_its_loader() {
    let loader = "/lib/ld64-uClibc.so.0";
    let files = [
        ("bin/sh", Elf::program(X86_64, loader).bytes()),
        ("lib/ld64-uClibc-1.0.45.so", Elf::library(X86_64, "ld64-uClibc.so.0").bytes()),
    ];
    let links = [("lib/ld64-uClibc.so.1", "ld64-uClibc-1.0.45.so"), ("lib/ld64-uClibc.so.0", "ld64-uClibc.so.1")];
    let libc = Made::new(&files, &links).libc();
    assert_eq!(libc.family, LibcFamily::Uclibc);
    assert_eq!(libc.known_by, ["/bin/sh is started by /lib/ld64-uClibc.so.0"]);
    assert_eq!(said(&libc).len(), 1);
}

#[test]
fn a_c_library_of_another_kind_is_called_that() {
    let libc = Made::new(&[("bin/sh", Elf::program(X86_64, "/system/bin/linker64").bytes())], &[]).libc();
    assert_eq!(libc.family, LibcFamily::Other);
    assert_eq!(
        said(&libc),
        ["the C library is a C library of another kind: /bin/sh is started by /system/bin/linker64"]
    );
}

#[test]
fn without_any_library_there_is_none() {
    let nothing = "there is no C library that programs find: there is nothing at /lib64/ld-linux-x86-64.so.2, where \
                   programs built for glibc look for their loader";
    let go = Elf::fixed(X86_64, b"Go build ID: \"x\"").bytes();
    for made in [Made::default(), Made::new(&[], &[]), Made::new(&[("app", go)], &[])] {
        let libc = made.libc();
        assert_eq!(libc.family, LibcFamily::None);
        assert_eq!(said(&libc), [nothing]);
    }
}

#[test]
fn what_is_for_another_processor_is_named() {
    let libc = Made::new(&[(GLIBC_LOADER, glibc_loader(AARCH64))], &[]).libc();
    assert_eq!(libc.family, LibcFamily::None);
    assert_eq!(
        said(&libc),
        ["there is no C library that programs find: /lib64/ld-linux-x86-64.so.2 is for arm64, not for amd64"]
    );
    let i386 = [
        ("bin/sh", Elf::program(I386, "/lib/ld-linux.so.2").bytes()),
        ("lib/ld-linux.so.2", glibc_loader(I386)),
        ("lib/i386-linux-gnu/libc.so.6", glibc_library(I386)),
    ];
    let said = said(&Made::new(&i386, &[]).libc());
    assert!(said[0].ends_with("; /bin/sh is a program for 386, not for amd64"), "{said:?}");
    let libc = Made::new(&i386, &[]).on("linux/386").libc();
    assert_eq!((libc.family, libc.version.as_deref()), (LibcFamily::Glibc, Some("2.36")));
    let text = Made::new(&[(GLIBC_LOADER, b"text".to_vec())], &[]).libc();
    assert_eq!(text.known_by, ["/lib64/ld-linux-x86-64.so.2 is not a program loader"]);
}

#[test]
fn every_architecture_has_its_own_loader() {
    let arm64 = [
        ("bin/sh", Elf::program(AARCH64, "/lib/ld-linux-aarch64.so.1").bytes()),
        ("lib/ld-linux-aarch64.so.1", glibc_loader(AARCH64)),
        ("lib/aarch64-linux-gnu/libc.so.6", glibc_library(AARCH64)),
    ];
    let libc = Made::new(&arm64, &[]).on("linux/arm64").libc();
    assert_eq!((libc.family, libc.version.as_deref()), (LibcFamily::Glibc, Some("2.36")));
    let arm = 40;
    let soft = [("lib/ld-linux.so.3", Elf { machine: arm, ..Elf::library(I386, "ld-linux.so.3") })];
    let soft = soft.map(|(path, elf)| (path, Elf32(elf).bytes()));
    assert_eq!(Made::new(&soft, &[]).on("linux/arm/v5").libc().family, LibcFamily::Glibc);
    let facts = Made::default().on("linux/sparc64").facts();
    assert!(matches!(facts.libc, Fact::Unknown(_)), "{:?}", facts.libc);
}

/// The same file for another processor of 32 bits.
struct Elf32<'a>(Elf<'a>);

impl Elf32<'_> {
    fn bytes(&self) -> Vec<u8> {
        let mut bytes = Elf { machine: I386, ..self.0.clone() }.bytes();
        bytes[18..20].copy_from_slice(&self.0.machine.to_le_bytes());
        bytes
    }
}
