//! Whether programs with every kind of search path start is what imglint predicts: small programs, built here, that need
//! nothing but their own libraries.

use std::fs;
use std::path::Path;
use std::process::Command;

use imglint::facts::programs::Wanted;
use imglint::verdict::Outcome;

use super::dotnet::{load, tag};
use super::reading::{programs, rootfs};
use super::releases::{LIB, Release};
use crate::support::image::{Tar, TestImage};
use crate::support::{ld_so_cache, leave_out, real_part};

/// A program that calls what it needs and ends well, without a C library.
const MAIN: &str = "int a(void); void _start(void) { int code = a();\n\
    __asm__ volatile(\"syscall\" : : \"a\"(60), \"D\"(code) : \"memory\"); __builtin_unreachable(); }\n";

/// A folder in which programs and libraries are built.
struct Workshop(tempfile::TempDir);

impl Workshop {
    fn new() -> Option<Self> {
        Command::new("cc").arg("--version").output().ok()?;
        Some(Self(tempfile::tempdir().unwrap()))
    }

    fn cc(&self, arguments: &[&str]) {
        let done = Command::new("cc")
            .args(["-nostdlib", "-fno-stack-protector"])
            .args(arguments)
            .current_dir(&self.0)
            .output()
            .unwrap();
        assert!(done.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
    }

    fn write(&self, name: &str, content: &str) {
        fs::write(self.0.path().join(name), content).unwrap();
    }

    /// A library with the function of its name, which may call another's.
    fn library(&self, name: &str, calls: Option<&str>, flags: &[&str]) -> Vec<u8> {
        let body = calls.map_or("0".to_owned(), |other| format!("{other}()"));
        let declared = calls.map_or(String::new(), |other| format!("int {other}(void);"));
        self.write("lib.c", &format!("{declared} int {name}(void) {{ return {body}; }}"));
        let file = format!("lib{name}.so");
        let soname = format!("-Wl,-soname,{file}");
        let link = calls.map(|other| format!("-l{other}"));
        let mut arguments = vec!["-shared", "-fPIC", &soname, "-L.", "-o", &file, "lib.c"];
        arguments.extend(link.as_deref());
        arguments.extend(flags);
        self.cc(&arguments);
        fs::read(self.0.path().join(&file)).unwrap()
    }

    /// The program, linked with liba as it lies here now.
    fn main(&self, flags: &[&str]) -> Vec<u8> {
        self.write("main.c", MAIN);
        let mut arguments =
            vec!["-pie", "-fPIE", "-o", "main", "main.c", "-L.", "-Wl,--unresolved-symbols=ignore-in-shared-libs"];
        arguments.extend(flags);
        arguments.push("-la");
        self.cc(&arguments);
        fs::read(self.0.path().join("main")).unwrap()
    }
}

const RPATH: &str = "-Wl,--disable-new-dtags,-rpath,/app/lib";
const RUNPATH: &str = "-Wl,--enable-new-dtags,-rpath,/app/lib";

/// The images, each with a program `/app/main`.
fn corpus(shop: &Workshop, release: &Release) -> Vec<(&'static str, TestImage)> {
    let one = shop.library("a", None, &[]);
    let image = |main: &[u8], files: &[(&str, &[u8])]| {
        let tar = Tar::default().file("app/main", 0o755, main);
        let tar = files.iter().fold(tar, |tar, (path, content)| tar.file(path, 0o644, content));
        release.minimal().layer("COPY app /app", &tar)
    };
    let at = "app/lib/liba.so";
    let default = format!("{LIB}/liba.so");
    let text = b"This is no library, but long enough to be read as one by a hasty loader.";
    let (rpath, runpath, plain) = (shop.main(&[RPATH]), shop.main(&[RUNPATH]), shop.main(&[]));
    let no_default = shop.main(&["-Wl,-z,nodefaultlib"]);
    let with = |path: &str| shop.main(&[&format!("-Wl,--enable-new-dtags,-rpath,{path}")]);
    let mut corpus = vec![
        ("default-folder", image(&plain, &[(&default, &one)])),
        ("nowhere", image(&plain, &[(at, &one)])),
        ("rpath", image(&rpath, &[(at, &one)])),
        ("runpath", image(&runpath, &[(at, &one)])),
        ("runpath-origin", image(&with("$ORIGIN/lib"), &[(at, &one)])),
        ("runpath-origin-up", image(&with("${ORIGIN}/../app/lib"), &[(at, &one)])),
        ("runpath-lib", image(&with("/app/$LIB"), &[("app/lib/x86_64-linux-gnu/liba.so", &one)])),
        ("runpath-relative", image(&with("app/lib"), &[(at, &one)])),
        ("no-default-folders", image(&no_default, &[(&default, &one)])),
        (
            "library-path-before-runpath",
            image(&runpath, &[(at, &one), ("first/liba.so", text)]).env("LD_LIBRARY_PATH=/first"),
        ),
        (
            "rpath-before-library-path",
            image(&rpath, &[(at, &one), ("first/liba.so", text)]).env("LD_LIBRARY_PATH=/first"),
        ),
        ("preloaded-by-path", image(&plain, &[(at, &one)]).env("LD_PRELOAD=/app/lib/liba.so")),
        ("preloaded-by-file", image(&plain, &[(at, &one), ("etc/ld.so.preload", b"# ours\n/app/lib/liba.so\n")])),
    ];
    let cache = ld_so_cache::new_format(&[("liba.so", "/app/lib/liba.so")]);
    corpus.push(("no-default-folders-but-the-cache", image(&no_default, &[(at, &one), ("etc/ld.so.cache", &cache)])));

    // liba that needs libb.
    let b = shop.library("b", None, &[]);
    let a = shop.library("a", Some("b"), &[]);
    let both = [(at, a.as_slice()), ("app/lib/libb.so", b.as_slice())];
    corpus.push(("rpath-is-inherited", image(&shop.main(&[RPATH]), &both)));
    corpus.push(("runpath-is-not-inherited", image(&shop.main(&[RUNPATH]), &both)));
    let own = shop.library("a", Some("b"), &["-Wl,--enable-new-dtags,-rpath,/nowhere"]);
    corpus.push(("runpath-ends-the-inheritance", image(&shop.main(&[RPATH]), &[(at, &own), both[1]])));
    let own = shop.library("a", Some("b"), &["-Wl,--enable-new-dtags,-rpath,$ORIGIN"]);
    corpus.push(("runpath-of-the-library", image(&shop.main(&[RUNPATH]), &[(at, &own), both[1]])));
    corpus.push(("what-a-library-needs-is-gone", image(&shop.main(&[RPATH]), &both[..1])));

    // libb needs liba again.
    let circle = shop.library("b", None, &["-Wl,--no-as-needed", "-la"]);
    corpus.push(("in-a-circle", image(&shop.main(&[RPATH]), &[(at, &a), ("app/lib/libb.so", &circle)])));

    // Symbol versions.
    shop.write("one.map", "V_1 { global: a; local: *; };");
    shop.write("two.map", "V_2 { global: a; local: *; };");
    let first = shop.library("a", None, &["-Wl,--version-script=one.map"]);
    let second = shop.library("a", None, &["-Wl,--version-script=two.map"]);
    let main = shop.main(&[RPATH]);
    corpus.push(("version-that-is-there", image(&main, &[(at, &second)])));
    corpus.push(("version-that-is-not", image(&main, &[(at, &first)])));
    corpus.push(("library-without-versions", image(&main, &[(at, &one)])));
    corpus
}

#[test]
fn programs_with_search_paths_start_as_predicted() {
    if !cfg!(target_arch = "x86_64") {
        leave_out("a machine with x86-64");
        return;
    }
    let Some(engine) = real_part("a Docker engine", "IMGLINT_TEST_DOCKER_HOST") else { return };
    let Some(images) = real_part("images of Debian", "IMGLINT_TEST_IMAGES") else { return };
    let shop = Workshop::new().expect("a C compiler, which Rust needs to link");
    let corpus = corpus(&shop, &Release::read(Path::new(&images), "12"));
    load(&engine, &corpus);
    let mut wrong = Vec::new();
    for (name, image) in &corpus {
        let wanted = Wanted { paths: vec!["/app/main".to_owned()], ..Wanted::default() };
        let predicted = programs(image, &rootfs(image), &wanted).remove(0);
        let arguments =
            ["run", "--rm", "--network", "none", "-w", "/step", "--entrypoint", "", &tag(name), "/app/main"];
        let run = Command::new("docker").args(["-H", &engine]).args(arguments).output().unwrap();
        let starts = run.status.success();
        // What depends on the working directory, or on which symbols are used, files do not tell.
        let open = ["runpath-relative", "library-without-versions"].contains(name);
        let expected = if starts { Outcome::Pass } else { Outcome::Fail };
        let agrees = predicted.start == if open { Outcome::Unknown } else { expected };
        let said = if agrees { "agree " } else { "DIFFER" };
        println!("{said} read: {:?} run: {starts} {name}", predicted.start);
        if !agrees {
            let says = String::from_utf8_lossy(&run.stderr);
            wrong.push(format!("{name}: {:?} {:?}\n  it says: {says}", predicted.start, predicted.problems));
        }
    }
    println!("{} images, {} differ", corpus.len(), wrong.len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
