//! Whether small programs start is what imglint predicts: they are built here, and started by this machine's own loader.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use crate::support::file_systems::Made;
use crate::support::leave_out;
use crate::support::tars::Member;
use imglint::facts::programs::ProgramFact;
use imglint::verdict::Outcome;

const LOADER: &str = "/lib64/ld-linux-x86-64.so.2";
/// Where this machine's libraries are.
const FOLDER: &str = "/lib/x86_64-linux-gnu";
const BARE: [&str; 4] = ["-nostdlib", "-fno-stack-protector", "-fcf-protection=none", "-O1"];
const EXIT: &str =
    "__asm__ volatile(\"syscall\" : : \"a\"(60), \"D\"((long)code) : \"memory\"); __builtin_unreachable();";

/// A folder in which programs are built, and one in which they are started.
struct Workshop {
    build: tempfile::TempDir,
    root: tempfile::TempDir,
}

/// A file below the root: its content, or where it links to.
enum File {
    File(Vec<u8>, u32),
    Link(String),
}

struct Case {
    name: String,
    files: BTreeMap<String, File>,
    environment: Vec<(&'static str, String)>,
    program: String,
    /// The working directory, below the case's folder.
    at: &'static str,
    /// Libraries of this machine that are loaded, too.
    libraries: &'static [&'static str],
}

impl Workshop {
    fn new() -> Self {
        Self { build: tempfile::tempdir().unwrap(), root: tempfile::tempdir().unwrap() }
    }

    fn compile(&self, output: &str, source: &str, flags: &[&str]) -> Vec<u8> {
        fs::write(self.build.path().join("x.c"), source).unwrap();
        let done = Command::new("cc")
            .args(BARE)
            .args(["-w", "-o", output, "x.c", "-L."])
            .args(flags)
            .current_dir(&self.build)
            .output()
            .unwrap();
        assert!(done.status.success(), "{flags:?}: {}", String::from_utf8_lossy(&done.stderr));
        fs::read(self.build.path().join(output)).unwrap()
    }

    /// Builds `lib<name>.so`, which stays there for programs to be linked with.
    fn library(&self, name: &str, source: &str, flags: &[&str]) -> Vec<u8> {
        let soname = format!("-Wl,-soname,lib{name}.so");
        self.compile(&format!("lib{name}.so"), source, &[&["-shared", "-fPIC", &soname][..], flags].concat())
    }

    /// Builds a program that ends with what `body` puts into `code`.
    fn program(&self, declared: &str, body: &str, flags: &[&str]) -> Vec<u8> {
        let source = format!("{declared} void _start(void){{int code=0; {body} {EXIT}}}");
        self.compile("main", &source, &[&["-fPIE", "-pie"][..], flags].concat())
    }

    fn case(&self, name: &str) -> Case {
        let program = "app/main".to_owned();
        Case { name: name.to_owned(), files: BTreeMap::new(), environment: Vec::new(), program, at: "", libraries: &[] }
    }

    /// The folder of a case, and with it what its programs are linked with.
    fn at(&self, case: &str, path: &str) -> String {
        format!("{}/{case}/{path}", self.root.path().display())
    }

    fn runpath(&self, case: &str, folders: &[&str]) -> String {
        let folders: Vec<String> = folders.iter().map(|folder| self.at(case, folder)).collect();
        format!("-Wl,--enable-new-dtags,-rpath,{}", folders.join(":"))
    }

    fn really(&self, case: &Case) -> (bool, String) {
        for (path, file) in &case.files {
            let path = self.root.path().join(&case.name).join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            match file {
                File::File(content, mode) => {
                    fs::write(&path, content).unwrap();
                    fs::set_permissions(&path, fs::Permissions::from_mode(*mode)).unwrap();
                }
                File::Link(target) => symlink(target, &path).unwrap(),
            }
        }
        let folder = self.root.path().join(&case.name);
        let at = folder.join(case.at);
        fs::create_dir_all(&at).unwrap();
        let mut command = Command::new(folder.join(&case.program));
        command.env_clear().envs(case.environment.iter().cloned()).current_dir(at);
        match command.output() {
            Ok(done) => (done.status.success(), String::from_utf8_lossy(&done.stderr).into_owned()),
            Err(error) => (false, error.to_string()),
        }
    }

    fn predicted(&self, case: &Case) -> ProgramFact {
        let loader = fs::read(LOADER).unwrap();
        let cache = fs::read("/etc/ld.so.cache").unwrap_or_default();
        let mut members = vec![Member::file(&LOADER[1..], &loader), Member::file("etc/ld.so.cache", &cache)];
        let libraries = case.libraries.iter().map(|name| format!("{FOLDER}/{name}"));
        let libraries: Vec<_> = libraries.map(|path| (fs::read(&path).unwrap(), path)).collect();
        members.extend(libraries.iter().map(|(content, path)| Member::file(&path[1..], content)));
        let root = self.root.path().to_str().unwrap().trim_start_matches('/').to_owned();
        let paths: Vec<String> = case.files.keys().map(|path| format!("{root}/{}/{path}", case.name)).collect();
        for (path, file) in paths.iter().zip(case.files.values()) {
            members.push(match file {
                File::File(content, mode) => Member::file(path, content).mode(*mode),
                File::Link(target) => Member::symlink(path, target),
            });
        }
        let program = self.at(&case.name, &case.program);
        let made = case
            .environment
            .iter()
            .fold(Made::default().tar(&members), |made, (name, value)| made.env(&format!("{name}={value}")));
        made.program(&program)
    }
}

impl Case {
    fn file(mut self, path: &str, content: &[u8]) -> Self {
        self.files.insert(path.to_owned(), File::File(content.to_vec(), 0o755));
        self
    }

    fn link(mut self, path: &str, target: &str) -> Self {
        self.files.insert(path.to_owned(), File::Link(target.to_owned()));
        self
    }

    fn env(mut self, name: &'static str, value: &str) -> Self {
        self.environment.push((name, value.to_owned()));
        self
    }

    fn in_folder(self, at: &'static str) -> Self {
        Self { at, ..self }
    }
}

fn edited(file: &[u8], at: usize, bytes: &[u8]) -> Vec<u8> {
    let mut file = file.to_vec();
    file[at..at + bytes.len()].copy_from_slice(bytes);
    file
}

/// The file with its PT_DYNAMIC taken for something else.
fn without_dynamic(file: &[u8]) -> Vec<u8> {
    let start = u64::from_le_bytes(file[32..40].try_into().unwrap()) as usize;
    let headers = (0..usize::from(file[56])).map(|number| start + 56 * number);
    let at = headers.into_iter().find(|at| file[*at..*at + 4] == [2, 0, 0, 0]).unwrap();
    edited(file, at, &[0x99, 0, 0, 0x60])
}

const A: &str = "int a(void){return 0;}";
const CALLS_A: (&str, &str) = ("int a(void);", "code=a();");
const TEXT: [u8; 200] = [b'x'; 200];

/// Where libraries are found.
fn searches(shop: &Workshop) -> Vec<Case> {
    let a = shop.library("a", A, &[]);
    let plain = shop.program(CALLS_A.0, CALLS_A.1, &["-la"]);
    let main =
        |case: &str, folders: &[&str]| shop.program(CALLS_A.0, CALLS_A.1, &["-la", &shop.runpath(case, folders)]);
    let with = |case: &str, path: &str| {
        shop.program(CALLS_A.0, CALLS_A.1, &["-la", &format!("-Wl,--enable-new-dtags,-rpath,{}", shop.at(case, path))])
    };
    let mut cases = Vec::new();
    for level in ["x86-64-v2", "x86-64-v3", "x86-64-v4"] {
        let inside = format!("app/lib/glibc-hwcaps/{level}/liba.so");
        let case = |name: &str| {
            let name = format!("{name}-{level}");
            let program = main(&name, &["app/lib"]);
            shop.case(&name).file("app/main", &program)
        };
        cases.push(case("hwcaps-broken").file("app/lib/liba.so", &a).file(&inside, &TEXT));
        cases.push(case("hwcaps-good").file("app/lib/liba.so", &TEXT).file(&inside, &a));
        cases.push(case("hwcaps-both").file("app/lib/liba.so", &a).file(&inside, &a));
        cases.push(case("hwcaps-neither").file("app/lib/liba.so", &TEXT).file(&inside, &TEXT));
        cases.push(case("hwcaps-only").file(&inside, &a));
    }
    for folder in ["tls", "x86_64", "haswell", "tls/x86_64", "haswell/x86_64", "avx512_1", "x86_64/tls", "i686"] {
        let inside = format!("app/lib/{folder}/liba.so");
        let case = |name: &str| {
            let name = format!("{name}-{}", folder.replace('/', "-"));
            let program = main(&name, &["app/lib"]);
            shop.case(&name).file("app/main", &program)
        };
        cases.push(case("legacy-broken").file("app/lib/liba.so", &a).file(&inside, &TEXT));
        cases.push(case("legacy-only").file(&inside, &a));
    }
    let own = shop.program(CALLS_A.0, CALLS_A.1, &["-la", "-Wl,--enable-new-dtags,-rpath,$ORIGIN/lib"]);
    let linked = |name: &str| shop.case(name).file("real/main", &own);
    cases.push(linked("origin-real").link("app/main", "../real/main").file("real/lib/liba.so", &a));
    cases.push(linked("origin-link").link("app/main", "../real/main").file("app/lib/liba.so", &a));
    cases.push(linked("origin-folder-real").link("app", "real").file("real/lib/liba.so", &a));
    cases.push(shop.case("origin-plain").file("app/main", &own).file("app/lib/liba.so", &a));

    let two = |name: &str| shop.case(name).file("app/main", &main(name, &["one", "two"])).file("two/liba.so", &a);
    cases.push(two("loop-ends-the-list").link("one/liba.so", "liba.so"));
    cases.push(two("dangling-goes-on").link("one/liba.so", "gone"));
    cases.push(two("no-folder-goes-on").file("one", b"text"));
    cases.push(two("through-a-file-ends").link("one/liba.so", "../app/main/x"));
    cases.push(two("a-folder-of-the-name-ends").file("one/liba.so/x", b""));
    cases.push(two("text-ends").file("one/liba.so", &TEXT));
    cases.push(two("nothing-in-the-first"));
    let many: Vec<String> = (0..70).map(|number| format!("n{number}")).chain(["app/lib".to_owned()]).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    cases.push(shop.case("many").file("app/main", &main("many", &many)).file("app/lib/liba.so", &a));
    cases.push(shop.case("many-in-vain").file("app/main", &main("many-in-vain", &many)));

    for (number, (path, folder)) in [
        ("$LIBS", "$LIBS"),
        ("$LIBS", "lib/x86_64-linux-gnuS"),
        ("${LIB}", "lib/x86_64-linux-gnu"),
        ("$LIB", "lib64"),
        ("$ORIGINAL", "$ORIGINAL"),
        ("$LIB-x", "lib/x86_64-linux-gnu-x"),
        ("$PLATFORM", "x86_64"),
        ("$PLATFORM", "haswell"),
        ("$$LIB", "$lib/x86_64-linux-gnu"),
    ]
    .into_iter()
    .enumerate()
    {
        let case = |name: &str| format!("{name}-{number}");
        let inside = format!("{folder}/liba.so");
        let name = case("token-in-runpath");
        cases.push(shop.case(&name).file("app/main", &with(&name, path)).file(&inside, &a));
        let name = case("token-in-variable");
        let variable = shop.at(&name, path);
        cases.push(shop.case(&name).file("app/main", &plain).file(&inside, &a).env("LD_LIBRARY_PATH", &variable));
    }
    let relative = |name: &str, path: &str| {
        let main = shop.program(CALLS_A.0, CALLS_A.1, &["-la", &format!("-Wl,--enable-new-dtags,-rpath,{path}")]);
        shop.case(name).file("app/main", &main).file("app/lib/liba.so", &a)
    };
    cases.push(relative("relative-there", "lib").in_folder("app"));
    cases.push(relative("relative-elsewhere", "lib"));
    cases.push(relative("empty-there", ":/x").in_folder("app/lib"));
    let variable = |name: &str, value: &str| shop.case(name).file("app/main", &plain).env("LD_LIBRARY_PATH", value);
    cases.push(variable("empty-in-variable", "/x::/y").file("app/lib/liba.so", &a).in_folder("app/lib"));
    let name = "empty-but-found";
    cases.push(variable(name, &format!(":{}", shop.at(name, "l"))).file("l/liba.so", &a));
    let name = "semicolons";
    cases.push(variable(name, &format!("/x;{}", shop.at(name, "l"))).file("l/liba.so", &a));
    cases.push(shop.case("audit-gone").file("app/main", &own).file("app/lib/liba.so", &a).env("LD_AUDIT", "/gone.so"));
    let relative = shop.program("", "", &["-Wl,--dynamic-linker=lib64/ld-linux-x86-64.so.2"]);
    cases.push(shop.case("relative-loader").file("app/main", &relative));
    cases
}

/// Libraries that a loader refuses, and those it does not.
fn refusals(shop: &Workshop) -> Vec<Case> {
    let a = shop.library("a", A, &[]);
    let pie = shop.program("int a(void){return 0;}", "", &["-rdynamic"]);
    let filter = shop.library("f", A, &["-Wl,-F,libgone.so"]);
    let filter_there = shop.library("f", A, &["-Wl,-F,libb.so"]);
    let auxiliary = shop.library("f", A, &["-Wl,-f,libgone.so"]);
    let newer = shop.library("n", A, &["-Wl,-z,x86-64-v2"]);
    let files: [(&str, Vec<u8>); 18] = [
        ("osabi-freebsd", edited(&a, 7, &[9])),
        ("osabi-solaris", edited(&a, 7, &[6])),
        ("osabi-gnu", edited(&a, 7, &[3])),
        ("abi-9", edited(&a, 8, &[9])),
        ("padding", edited(&a, 10, &[1])),
        ("last-padding", edited(&a, 15, &[1])),
        ("version-2", edited(&a, 20, &[2])),
        ("ident-version-2", edited(&a, 6, &[2])),
        ("executable", edited(&a, 16, &[2])),
        ("object", edited(&a, 16, &[1])),
        ("program-header-size", edited(&a, 54, &[55])),
        ("no-program-headers", edited(&a, 56, &[0])),
        ("no-dynamic", without_dynamic(&a)),
        ("pie", pie),
        ("filter-gone", filter),
        ("filter-there", filter_there),
        ("auxiliary-gone", auxiliary),
        ("newer-processor", newer),
    ];
    shop.library("a", A, &[]);
    let mut cases = Vec::new();
    for (name, file) in files {
        let own = shop.program(CALLS_A.0, CALLS_A.1, &["-la", &shop.runpath(name, &["one", "two"])]);
        let case = shop.case(name).file("app/main", &own).file("one/liba.so", &file).file("two/liba.so", &a);
        cases.push(case.file("two/libb.so", &a));
    }
    let cut = ["64", "100", "3000"].map(|size| (format!("cut-{size}"), size.parse::<usize>().unwrap()));
    for (name, size) in cut {
        let own = shop.program(CALLS_A.0, CALLS_A.1, &["-la", &shop.runpath(&name, &["one"])]);
        cases.push(shop.case(&name).file("app/main", &own).file("one/liba.so", &a[..size.min(a.len())]));
    }
    cases
}

/// Libraries of the system that programs are linked with, and what a case with them is called.
const SYSTEM: [(&str, &[&str]); 3] =
    [("alone", &[]), ("libc", &["libc.so.6"]), ("cxx", &["libstdc++.so.6", "libm.so.6", "libgcc_s.so.1", "libc.so.6"])];

/// Symbols that are missing, by how they are bound and who has them.
fn symbols(shop: &Workshop) -> Vec<Case> {
    let whole = "int a(void){return 0;} int extra(void){return 0;} int var=0; int big[4]={0};";
    shop.library("a", whole, &[]);
    let lacking = |shop: &Workshop| shop.library("l", A, &["-Wl,-soname,liba.so"]);
    let poor = lacking(shop);
    let extra = shop.library("b", "int extra(void){return 0;} int var=0; int big[4]={0};", &[]);
    let rich = shop.library("a", whole, &[]);
    let declared = "int a(void); extern int extra(void); extern int var; extern int big[4]; volatile int never;";
    let weak = "int a(void); __attribute__((weak)) int extra(void); volatile int never;";
    let sometimes = "code=a(); if(never) code=extra();";
    let pointer = "code=a(); int (*volatile f)(void)=extra; if(never) code=f();";
    let variable = "code=a()+var;";
    let array = "code=a()+big[1];";
    let mut cases = Vec::new();
    for (kind, declared, body, flags) in [
        ("lazy", declared, sometimes, &["-Wl,-z,lazy"][..]),
        ("now", declared, sometimes, &["-Wl,-z,now"]),
        ("pointer", declared, pointer, &["-Wl,-z,lazy"]),
        ("variable", declared, variable, &["-Wl,-z,lazy"]),
        ("array", declared, array, &["-Wl,-z,lazy"]),
        ("variable-now", declared, variable, &["-Wl,-z,now"]),
        ("no-plt", declared, sometimes, &["-Wl,-z,lazy", "-fno-plt"]),
        ("fixed-address", declared, variable, &["-Wl,-z,lazy", "-no-pie", "-fno-pie"]),
        ("weak-now", weak, "code=a(); if(extra && never) code=extra();", &["-Wl,-z,now"]),
        ("weak-pointer", weak, "code=a(); int (*volatile f)(void)=extra; if(f && never) code=f();", &["-Wl,-z,lazy"]),
    ] {
        let mut add = |what: &str, library: &[u8], with: &dyn Fn(Case) -> Case| {
            for (loaded, libraries) in SYSTEM {
                let name = format!("{kind}-{what}-{loaded}");
                let runpath = shop.runpath(&name, &["lib"]);
                let paths: Vec<String> = libraries.iter().map(|library| format!("{FOLDER}/{library}")).collect();
                if !paths.iter().all(|path| Path::new(path).exists()) {
                    continue;
                }
                let links: Vec<&str> = paths.iter().map(String::as_str).collect();
                let flags = [flags, &["-la", &runpath, "-Wl,--no-as-needed"], &links].concat();
                let case = shop.case(&name).file("app/main", &shop.program(declared, body, &flags));
                cases.push(with(Case { libraries, ..case }.file("lib/liba.so", library)));
            }
        };
        add("missing", &poor, &|case| case);
        add("there", &rich, &|case| case);
        add("missing-bind-now", &poor, &|case| case.env("LD_BIND_NOW", "1"));
        add("there-bind-now", &rich, &|case| case.env("LD_BIND_NOW", "1"));
        add("missing-bind-empty", &poor, &|case| case.env("LD_BIND_NOW", ""));
        add("preloaded", &poor, &|case| {
            let path = shop.at(&case.name, "pre/libb.so");
            case.file("pre/libb.so", &extra).env("LD_PRELOAD", &path)
        });
    }
    // What a library needs, and the program or another library has or has not.
    for now in ["now", "lazy"] {
        let flag = format!("-Wl,-z,{now}");
        let asking =
            shop.library("q", "int extra(void); int a(void){return extra();}", &["-Wl,-soname,liba.so", &flag]);
        let plain = |name: &str, flags: &[&str], declared: &str| {
            shop.library("a", A, &[]);
            let runpath = shop.runpath(name, &["lib"]);
            let flags = [&["-la", &runpath, "-Wl,--unresolved-symbols=ignore-all"][..], flags].concat();
            shop.case(name)
                .file(
                    "app/main",
                    &shop.program(
                        &format!("int a(void); volatile int never; {declared}"),
                        "if(never) code=a();",
                        &flags,
                    ),
                )
                .file("lib/liba.so", &asking)
        };
        let name = |what: &str| format!("library-{what}-{now}");
        cases.push(plain(&name("missing"), &[], ""));
        cases.push(plain(&name("of-program"), &["-rdynamic"], "int extra(void){return 0;}"));
        cases.push(plain(&name("of-other"), &["-Wl,--no-as-needed", "-lb"], "").file("lib/libb.so", &extra));
    }
    cases
}

/// Libraries with other versions of symbols than a program was linked with, or none.
fn versions(shop: &Workshop) -> Vec<Case> {
    fs::write(shop.build.path().join("map"), "V_1 { global: a; };\nV_2 { global: extra; } V_1;\n").unwrap();
    fs::write(shop.build.path().join("old"), "V_1 { global: a; };\n").unwrap();
    let source = "int a(void){return 0;} int extra(void){return 0;}";
    let none = shop.library("a", source, &[]);
    let old = shop.library("a", A, &["-Wl,--version-script=old"]);
    let versioned = shop.library("a", source, &["-Wl,--version-script=map"]);
    let declared = "int a(void); int extra(void); volatile int never;";
    let mut cases = Vec::new();
    for (binding, body) in
        [("now", "code=a(); if(never) code=extra();"), ("lazy", "if(never) code=extra();"), ("lazy", "code=extra();")]
    {
        for (what, library) in [("none", &none), ("old", &old), ("right", &versioned)] {
            let name = format!("versions-{what}-{binding}-{}", body.len());
            let flags = [format!("-Wl,-z,{binding}"), shop.runpath(&name, &["lib"])];
            let main = shop.program(declared, body, &[&flags[0], &flags[1], "-la"]);
            cases.push(shop.case(&name).file("app/main", &main).file("lib/liba.so", library));
        }
    }
    cases
}

#[test]
fn small_programs_start_as_predicted() {
    if !cfg!(target_arch = "x86_64") || !Path::new(LOADER).exists() || !Path::new(FOLDER).exists() {
        leave_out("Debian or a relative on x86-64");
        return;
    }
    let shop = Workshop::new();
    let cases: Vec<Case> = [searches, refusals, symbols, versions].into_iter().flat_map(|make| make(&shop)).collect();
    let (mut wrong, mut unknown) = (Vec::new(), Vec::new());
    for case in &cases {
        let (works, says) = shop.really(case);
        let predicted = shop.predicted(case);
        match predicted.start {
            Outcome::Unknown => unknown.push(case.name.as_str()),
            start if start == if works { Outcome::Pass } else { Outcome::Fail } => {}
            start => wrong.push(format!("{}: {start:?} {:?}\n  really: {works} {says}", case.name, predicted.problems)),
        }
    }
    println!("{} comparisons, {} differ, {} unknown: {}", cases.len(), wrong.len(), unknown.len(), unknown.join(" "));
    println!("  hwcaps-*, legacy-*, token-*: it depends on the processor");
    println!("  relative-*, empty-*: it depends on the working directory");
    println!("  versions-none-lazy-*: it depends on whether the symbol is ever used");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
