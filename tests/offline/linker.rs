//! What is predicted of programs by how their loader searches: users, privileges, links, processors, and musl's own ways.

use crate::support::elf::{Elf, X86_64};
use crate::support::file_systems::{GLIBC_LOADER, MUSL_LOADER, Made, glibc_loader, musl_loader};
use crate::support::ld_so_cache;
use crate::support::tars::Member;
use imglint::facts::programs::ProgramFact;
use imglint::verdict::Outcome;

/// A program that needs liba.so of `loader`, with a search path of its own.
fn program(loader: &'static str, runpath: Option<&'static str>) -> Vec<u8> {
    Elf { needed: vec!["liba.so"], runpath, ..Elf::program(X86_64, loader) }.bytes()
}

fn glibc_program(runpath: Option<&'static str>) -> Vec<u8> {
    program("/lib64/ld-linux-x86-64.so.2", runpath)
}

fn library() -> Vec<u8> {
    Elf::library(X86_64, "liba.so").bytes()
}

/// A loader of glibc of this release, which says so as real ones do.
fn loader_of(release: &str) -> Vec<u8> {
    let banner = format!("\0ld.so (Debian GLIBC {release}-1) stable release version {release}.\n\0");
    Elf { versions: vec!["GLIBC_2.35"], ..Elf::library(X86_64, "ld-linux-x86-64.so.2") }.text(banner.as_bytes()).bytes()
}

fn start(made: Made) -> Outcome {
    made.program("/app/main").start
}

fn said(program: &ProgramFact) -> &str {
    program.problems.first().map_or("", |problem| problem.statement.as_str())
}

#[test]
fn folders_of_old_loaders_count_by_the_release_in_the_loader_s_banner() {
    let main = glibc_program(Some("/app/lib"));
    let made = |release| {
        Made::new(
            &[(GLIBC_LOADER, loader_of(release)), ("app/main", main.clone()), ("app/lib/x86_64/liba.so", library())],
            &[],
        )
    };
    assert_eq!([start(made("2.36")), start(made("2.41"))], [Outcome::Pass, Outcome::Fail]);
}

#[test]
fn what_only_some_processors_take_is_open_unless_all_end_alike() {
    let main = glibc_program(Some("/app/lib"));
    let made = |good: &str, broken: &str| {
        Made::new(
            &[
                (GLIBC_LOADER, loader_of("2.36")),
                ("app/main", main.clone()),
                (good, library()),
                (broken, b"not a library at all, though there are more bytes than in a header of ELF".to_vec()),
            ],
            &[],
        )
    };
    let (plain, v3) = ("app/lib/liba.so", "app/lib/glibc-hwcaps/x86-64-v3/liba.so");
    let open = made(plain, v3).program("/app/main");
    assert_eq!(open.start, Outcome::Unknown);
    assert!(said(&open).contains("x86-64-v3"), "{}", said(&open));
    assert_eq!(start(made(v3, plain)), Outcome::Unknown);
    assert_eq!(start(made(plain, "app/lib/glibc-hwcaps/power9/liba.so")), Outcome::Pass);
    assert_eq!(start(made(plain, "app/lib/haswell/liba.so")), Outcome::Unknown);
    assert_eq!(start(made(plain, "app/lib/tls/liba.so")), Outcome::Fail, "every processor looks there");
}

#[test]
fn the_origin_of_a_program_is_the_folder_of_the_real_file() {
    for (loader, own) in [(GLIBC_LOADER, glibc_loader(X86_64)), (MUSL_LOADER, musl_loader())] {
        let interpreter =
            if loader == MUSL_LOADER { "/lib/ld-musl-x86_64.so.1" } else { "/lib64/ld-linux-x86-64.so.2" };
        let main = program(interpreter, Some("$ORIGIN/lib"));
        let made = |library_at: &str| {
            let files = [(loader, own.clone()), ("real/main", main.clone()), (library_at, library())];
            start(Made::new(&files, &[("app/main", "/real/main")]))
        };
        assert_eq!([made("real/lib/liba.so"), made("app/lib/liba.so")], [Outcome::Pass, Outcome::Fail], "{loader}");
    }
}

#[test]
fn a_cache_that_the_user_cannot_read_leads_nowhere() {
    let cache = ld_so_cache::new_format(&[("liba.so", "/opt/l/liba.so")]);
    let (loader, main, library) = (loader_of("2.36"), glibc_program(None), library());
    let made = |user: &str, mode| {
        let members = [
            Member::file(GLIBC_LOADER, &loader),
            Member::file("app/main", &main),
            Member::file("opt/l/liba.so", &library),
            Member::file("etc/ld.so.cache", &cache).mode(mode),
        ];
        start(Made::default().tar(&members).user(user))
    };
    assert_eq!(
        [made("1000", 0o600), made("1000", 0o644), made("", 0o600)],
        [Outcome::Fail, Outcome::Pass, Outcome::Pass]
    );
}

#[test]
fn a_program_with_privileges_of_its_own_does_not_listen_to_the_environment() {
    let (loader, main, library) = (loader_of("2.36"), glibc_program(None), library());
    let made = |user: &str, mode| {
        let members = [
            Member::file(GLIBC_LOADER, &loader),
            Member::file("app/main", &main).mode(mode),
            Member::file("app/lib/liba.so", &library),
        ];
        start(Made::default().tar(&members).user(user).env("LD_LIBRARY_PATH=/app/lib"))
    };
    assert_eq!([made("1000", 0o4755), made("1000:1000", 0o2755)], [Outcome::Fail; 2]);
    assert_eq!([made("", 0o4755), made("1000", 0o755), made("1000:1000", 0o2745)], [Outcome::Pass; 3]);
}

/// A PAX header with file capabilities: their bits, and whether they are effective.
fn capability(permitted: u32, is_effective: bool) -> Vec<u8> {
    let mut record = b" SCHILY.xattr.security.capability=".to_vec();
    for word in [0x0200_0000 | u32::from(is_effective), permitted, 0, 0, 0] {
        record.extend(word.to_le_bytes());
    }
    record.push(b'\n');
    let length = record.len() + 2;
    [length.to_string().as_bytes(), &record].concat()
}

#[test]
fn capabilities_that_containers_lack_stop_a_program_and_others_make_it_secure() {
    let (loader, main, library) = (loader_of("2.36"), glibc_program(None), library());
    let made = |user: &str, permitted, is_effective| {
        let header = capability(permitted, is_effective);
        let members = [
            Member::file(GLIBC_LOADER, &loader),
            Member { kind: b'x', ..Member::file("pax", &header) },
            Member::file("app/main", &main),
            Member::file("app/lib/liba.so", &library),
        ];
        Made::default().tar(&members).user(user).env("LD_LIBRARY_PATH=/app/lib").program("/app/main")
    };
    let refused = made("", 1 << 14, true);
    assert_eq!(refused.start, Outcome::Fail);
    assert!(said(&refused).contains("cap_ipc_lock"), "{}", said(&refused));
    assert_eq!(made("1000", 1 << 21 | 1, true).start, Outcome::Fail);
    assert_eq!(made("", 1 << 14, false).start, Outcome::Pass, "without the effective bit it starts");
    // cap_dac_override and cap_fowner, whose bits are a line end.
    assert_eq!([made("", 0xa, true).start, made("1000", 0xa, true).start], [Outcome::Pass, Outcome::Fail]);
    assert_eq!(made("1000", 1 << 13, true).start, Outcome::Fail, "LD_LIBRARY_PATH is ignored");
}

#[test]
fn musl_searches_by_its_own_rules() {
    let main = |runpath| program("/lib/ld-musl-x86_64.so.1", runpath);
    let made = |runpath: Option<&'static str>, library_at: &str, variables: &[&str]| {
        let files = [(MUSL_LOADER, musl_loader()), ("app/main", main(runpath)), (library_at, library())];
        start(variables.iter().fold(Made::new(&files, &[]), |made, variable| made.env(variable)))
    };
    for (runpath, at, variables, expected) in [
        (None, "usr/lib/liba.so", &[][..], Outcome::Pass),
        (None, "pre/liba.so", &["LD_PRELOAD=/pre/liba.so"], Outcome::Fail),
        (Some("/app/lib:/x/$LIB"), "app/lib/liba.so", &[], Outcome::Fail),
        (Some("/app/lib"), "app/lib/liba.so", &[], Outcome::Pass),
        (None, "opt/liba.so", &["LD_LIBRARY_PATH=/opt/$LIB"], Outcome::Fail),
        (None, "opt/$LIB/liba.so", &["LD_LIBRARY_PATH=/opt/$LIB"], Outcome::Pass),
        (None, "opt/liba.so", &["LD_LIBRARY_PATH=opt"], Outcome::Unknown),
    ] {
        assert_eq!(made(runpath, at, variables), expected, "{runpath:?} {at} {variables:?}");
    }
    let path_file = |mode, kind| {
        let (loader, main, library) = (musl_loader(), main(None), library());
        let members = [
            Member::file(MUSL_LOADER, &loader),
            Member::file("app/main", &main),
            Member::file("usr/lib/liba.so", &library),
            Member { kind, ..Member::file("etc/ld-musl-x86_64.path", b"/lib\n/usr/lib\n") }.mode(mode),
        ];
        start(Made::default().tar(&members).user("1000"))
    };
    assert_eq!([path_file(0o644, b'0'), path_file(0o600, b'0')], [Outcome::Pass, Outcome::Fail]);
}

#[test]
fn a_loop_of_links_ends_a_search() {
    for (loader, own, interpreter) in [
        (GLIBC_LOADER, loader_of("2.36"), "/lib64/ld-linux-x86-64.so.2"),
        (MUSL_LOADER, musl_loader(), "/lib/ld-musl-x86_64.so.1"),
    ] {
        let main = program(interpreter, Some("/one:/two"));
        let files = [(loader, own), ("app/main", main), ("two/liba.so", library())];
        let made = |link: &str| start(Made::new(&files, &[("one/liba.so", link)]));
        assert_eq!([made("liba.so"), made("gone")], [Outcome::Fail, Outcome::Pass], "{loader}");
    }
}

#[test]
fn a_loader_by_a_relative_path_depends_on_the_working_directory() {
    let main = program("lib64/ld-linux-x86-64.so.2", None);
    let files = [(GLIBC_LOADER, loader_of("2.36")), ("app/main", main), ("lib/liba.so", library())];
    assert_eq!(start(Made::new(&files, &[])), Outcome::Unknown);
}
