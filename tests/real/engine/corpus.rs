//! The images in which .NET programs are predicted and run: one line an image, by what is particular about it.

use std::path::Path;
use std::process::Command;
use std::sync::{Arc, OnceLock};

use serde_json::json;

use super::releases::{LIB, Release};
use crate::support::image::{Tar, TestImage, TestLayer};
use crate::support::ld_so_cache;

const ICU: &[&str] = &["libicuuc", "libicui18n", "libicudata"];
const SSL: &[&str] = &["libssl", "libcrypto"];
const ALL: &[&str] = &["libicuuc", "libicui18n", "libicudata", "libssl", "libcrypto"];

/// The images, each with a name.
pub type Corpus = Vec<(&'static str, TestImage)>;

trait Change {
    /// One more layer.
    fn with(self, tar: Tar) -> Self;
}

impl Change for TestImage {
    fn with(self, tar: Tar) -> Self {
        self.layer("RUN change", &tar)
    }
}

fn new() -> Tar {
    Tar::default()
}

/// All images; `shared` holds images of other distributions, where there are any. They are built once.
pub fn corpus(images: &Path, shared: Option<&Path>) -> Corpus {
    static CORPUS: OnceLock<Corpus> = OnceLock::new();
    CORPUS.get_or_init(|| build(images, shared)).clone()
}

fn build(images: &Path, shared: Option<&Path>) -> Corpus {
    let releases = ["11", "12", "13"].map(|version| Release::read(images, version));
    let mut all = releases_as_they_are(&releases);
    all.extend(libraries(&releases[1]));
    all.extend(places(&releases[1]));
    all.extend(broken(&releases));
    all.extend(icu(&releases));
    all.extend(environment(&releases));
    all.extend(users(&releases[1]));
    all.extend(others(shared));
    all
}

fn releases_as_they_are([d11, d12, d13]: &[Arc<Release>; 3]) -> Corpus {
    vec![
        ("debian-11", d11.minimal()),
        ("debian-12", d12.minimal()),
        ("debian-13", d13.minimal()),
        ("debian-11-icu", d11.minimal().with(d11.libraries(ICU, LIB))),
        ("debian-12-icu", d12.minimal().with(d12.libraries(ICU, LIB))),
        ("debian-13-icu", d13.minimal().with(d13.libraries(ICU, LIB))),
        ("debian-12-openssl", d12.minimal().with(d12.libraries(SSL, LIB))),
        ("debian-12-all", d12.minimal().with(d12.libraries(ALL, LIB))),
        ("debian-12-all-in-two-layers", d12.minimal().with(d12.libraries(ICU, LIB)).with(d12.libraries(SSL, LIB))),
        ("debian-11-icu-of-12", d11.minimal().with(d12.libraries(ICU, LIB))),
        ("debian-12-icu-of-11", d12.minimal().with(d11.libraries(ICU, LIB)).with(d12.libraries(SSL, LIB))),
        ("debian-13-openssl-gone", d13.minimal().with(d13.libraries(ICU, LIB)).with(d13.without("libssl"))),
        ("debian-12-openssl-1.1", d12.minimal().with(d12.libraries(ICU, LIB)).with(d11.libraries(SSL, LIB))),
        ("debian-12-icu-67-openssl-1.1", d12.minimal().with(d11.libraries(ICU, LIB)).with(d11.libraries(SSL, LIB))),
    ]
}

fn libraries(d12: &Release) -> Corpus {
    let full = || d12.minimal().with(d12.libraries(ALL, LIB));
    vec![
        ("libstdc++-gone", full().with(d12.without("libstdc++"))),
        ("libgcc-gone", full().with(d12.without("libgcc_s"))),
        ("zlib-gone", full().with(d12.without("libz.so"))),
        ("libc-gone", full().with(d12.without("libc.so"))),
        ("loader-gone", full().with(new().whiteout("usr/lib64/ld-linux-x86-64.so.2"))),
        ("loader-not-executable", {
            let path = format!("{LIB}/ld-linux-x86-64.so.2");
            full().with(new().file(&path, 0o644, &std::fs::read("/lib64/ld-linux-x86-64.so.2").unwrap()))
        }),
        ("libcrypto-gone", full().with(new().whiteout(&format!("{LIB}/libcrypto.so.3")))),
        ("libssl-gone", full().with(new().whiteout(&format!("{LIB}/libssl.so.3")))),
        ("icu-data-gone", full().with(new().whiteout(&format!("{LIB}/libicudata.so.72")))),
        ("icu-i18n-gone", full().with(new().whiteout(&format!("{LIB}/libicui18n.so.72")))),
        ("icu-uc-dangling", full().with(new().whiteout(&format!("{LIB}/libicuuc.so.72.1")))),
        ("all-gone-with-their-folder", full().with(new().whiteout("usr/lib/x86_64-linux-gnu"))),
        ("back-in-a-third-layer", full().with(d12.without("libstdc++")).with(d12.libraries(&["libstdc++"], LIB))),
        ("folder-opaque", full().with(new().folder(LIB).file(&format!("{LIB}/.wh..wh..opq"), 0o644, b""))),
        (
            "library-is-a-folder",
            full().with(new().whiteout(&format!("{LIB}/libssl.so.3")).folder(&format!("{LIB}/libicuuc.so.72"))),
        ),
    ]
}

fn places(d12: &Release) -> Corpus {
    let base = || d12.minimal().with(d12.libraries(SSL, LIB));
    let at = |folder: &str| base().with(d12.libraries(ICU, folder));
    let cache = |folder: &str, both: bool| {
        let names = ["libicuuc.so.72", "libicui18n.so.72", "libicudata.so.72"];
        let paths = names.map(|name| format!("/{folder}/{name}"));
        let entries: Vec<(&str, &str)> = names.iter().zip(&paths).map(|(name, path)| (*name, path.as_str())).collect();
        let file = if both { ld_so_cache::both_formats(&entries) } else { ld_so_cache::new_format(&entries) };
        new().file("etc/ld.so.cache", 0o644, &file)
    };
    let corrupt = |bytes: &[u8]| new().file("etc/ld.so.cache", 0o644, bytes);
    let links = new()
        .link(&format!("{LIB}/libicuuc.so.72"), "/opt/links/a")
        .link("opt/links/a", "b")
        .link("opt/links/b", "../icu/libicuuc.so.72");
    vec![
        ("in-opt", at("opt/icu")),
        ("in-usr-local-lib", at("usr/local/lib")),
        ("in-usr-local-lib-multiarch", at("usr/local/lib/x86_64-linux-gnu")),
        ("in-usr-lib", at("usr/lib")),
        ("in-usr-lib64", at("usr/lib64")),
        (
            "in-a-folder-of-ld.so.conf",
            at("opt/icu").with(new().file("etc/ld.so.conf.d/icu.conf", 0o644, b"/opt/icu\n")),
        ),
        ("in-the-cache", at("opt/icu").with(cache("opt/icu", false))),
        ("in-the-cache-of-both-formats", at("opt/icu").with(cache("opt/icu", true))),
        ("in-a-cache-of-what-is-gone", base().with(cache("opt/icu", false))),
        ("in-a-cache-of-what-is-elsewhere", at("usr/lib").with(cache("opt/icu", false))),
        ("cache-is-cut", at("opt/icu").with(corrupt(b"glibc-ld.so.cache1.1\x03\0\0\0"))),
        ("cache-is-garbage", at(LIB).with(corrupt(b"garbage"))),
        ("no-cache", at(LIB).with(new().whiteout("etc/ld.so.cache"))),
        ("in-LD_LIBRARY_PATH", at("opt/icu").env("LD_LIBRARY_PATH=/nowhere:/opt/icu")),
        ("in-LD_LIBRARY_PATH-with-semicolon", at("opt/icu").env("LD_LIBRARY_PATH=;/opt/icu;")),
        ("in-LD_LIBRARY_PATH-with-LIB", at("opt/lib/x86_64-linux-gnu").env("LD_LIBRARY_PATH=/opt/$LIB")),
        ("in-LD_LIBRARY_PATH-relative", at("opt/icu").env("LD_LIBRARY_PATH=opt/icu")),
        ("through-links", at("opt/icu").with(links).env("LD_LIBRARY_PATH=/opt/icu")),
        ("in-legacy-tls", at(&format!("{LIB}/tls"))),
        ("netcoredeps-elsewhere", at("opt/netcoredeps")),
    ]
}

/// Files that are no libraries, or not the ones that their names say.
fn broken([d11, d12, d13]: &[Arc<Release>; 3]) -> Corpus {
    let full = || d12.minimal().with(d12.libraries(ALL, LIB));
    let put = |name: &str, content: &[u8]| full().with(new().file(&format!("{LIB}/{name}"), 0o644, content));
    let first = |name: &str, content: &[u8]| {
        full().with(new().file(&format!("first/{name}"), 0o644, content)).env("LD_LIBRARY_PATH=/first")
    };
    let uc = d12.library("libicuuc.so.72");
    let mut foreign = uc.to_vec();
    foreign[18] = 183;
    let mut small = uc.to_vec();
    small[4] = 1;
    let half = &uc[..uc.len() / 2];
    let stdcxx = d13.library("libstdc++.so.6");
    let rename = |from: &str, to: &str, stems: &[&str]| {
        stems.iter().fold(new(), |tar, stem| {
            tar.file(&format!("{LIB}/{stem}.so.{to}"), 0o644, d12.library(&format!("{stem}.so.{from}")))
        })
    };
    let base = || d12.minimal().with(d12.libraries(SSL, LIB)).with(d12.libraries(&["libicudata"], LIB));
    vec![
        ("icu-for-another-processor", put("libicuuc.so.72.1", &foreign)),
        ("icu-for-32-bits", put("libicuuc.so.72.1", &small)),
        ("icu-cut-in-half", put("libicuuc.so.72.1", half)),
        ("icu-cut-to-10-bytes", put("libicuuc.so.72.1", &uc[..10])),
        ("icu-empty", put("libicuuc.so.72.1", b"")),
        (
            "icu-is-text",
            put("libicuuc.so.72.1", b"This is no library, but long enough to be read as one by a hasty loader."),
        ),
        ("libstdc++-cut-in-half", put("libstdc++.so.6.0.30", &stdcxx[..stdcxx.len() / 2])),
        ("another-processor-s-first", first("libicuuc.so.72", &foreign)),
        (
            "text-first",
            first("libicuuc.so.72", b"This is no library, but long enough to be read as one by a hasty loader."),
        ),
        ("empty-first", first("libstdc++.so.6", b"")),
        ("old-libstdc++-first", first("libstdc++.so.6", d11.library("libstdc++.so.6"))),
        (
            "libstdc++-of-13-on-11",
            d11.minimal().with(d11.libraries(ICU, LIB)).with(new().file(
                &format!("{LIB}/libstdc++.so.6.0.28"),
                0o644,
                stdcxx,
            )),
        ),
        ("icu-72-named-80", base().with(rename("72", "80", &["libicuuc", "libicui18n"]))),
        ("icu-72-named-60", base().with(rename("72", "60", &["libicuuc", "libicui18n"]))),
        ("only-icu-uc-named-80", full().with(rename("72", "80", &["libicuuc"]))),
        (
            "icu-without-links",
            base().with(rename("72", "72.1", &["libicuuc", "libicui18n"])).with(rename("72", "72", &["libicuuc"])),
        ),
        (
            "icu-by-minor-version",
            base().with(rename("72", "72.1", &["libicui18n"])).with(rename("72", "72.1", &["libicuuc"])).with(
                // libicui18n asks for it by its soname, which only a loaded library answers to.
                new(),
            ),
        ),
        ("icu-unversioned", base().with(new().file(&format!("{LIB}/libicuuc.so"), 0o644, uc))),
        (
            "openssl-1.1-named-3",
            d12.minimal().with(d12.libraries(ICU, LIB)).with(new().file(
                &format!("{LIB}/libssl.so.3"),
                0o644,
                d11.library("libssl.so.1.1"),
            )),
        ),
    ]
}

/// Several ICUs, or one without its data.
fn icu([d11, d12, d13]: &[Arc<Release>; 3]) -> Corpus {
    let ssl = || d12.minimal().with(d12.libraries(SSL, LIB));
    let both = || ssl().with(d11.libraries(ICU, LIB)).with(d12.libraries(ICU, LIB));
    let data = format!("{LIB}/libicudata.so.72.1");
    let mut corpus = vec![
        ("icu-67-and-72", both()),
        ("icu-76-broken-and-72", ssl().with(d13.libraries(&["libicuuc"], LIB)).with(d12.libraries(ICU, LIB))),
        ("icu-76-on-12", ssl().with(d13.libraries(ICU, LIB))),
        ("override-67", both().env("CLR_ICU_VERSION_OVERRIDE=67").env("DOTNET_ICU_VERSION_OVERRIDE=67.1")),
        ("override-72", both().env("CLR_ICU_VERSION_OVERRIDE=72").env("DOTNET_ICU_VERSION_OVERRIDE=72")),
        (
            "override-72.1",
            ssl()
                .with(d12.libraries(ICU, LIB))
                .env("CLR_ICU_VERSION_OVERRIDE=72.1")
                .env("DOTNET_ICU_VERSION_OVERRIDE=72.1"),
        ),
        ("override-99", both().env("CLR_ICU_VERSION_OVERRIDE=99").env("DOTNET_ICU_VERSION_OVERRIDE=99")),
        ("override-garbage", both().env("CLR_ICU_VERSION_OVERRIDE=newest").env("DOTNET_ICU_VERSION_OVERRIDE=newest")),
        ("override-of-another-release", ssl().with(d12.libraries(ICU, LIB)).env("DOTNET_ICU_VERSION_OVERRIDE=72")),
        (
            "override-build",
            ssl()
                .with(d12.libraries(ICU, LIB))
                .env("CLR_ICU_VERSION_OVERRIDE=build")
                .env("DOTNET_ICU_VERSION_OVERRIDE=build"),
        ),
        (
            "app-local-that-is-there",
            ssl().with(d12.libraries(ICU, LIB)).env("DOTNET_SYSTEM_GLOBALIZATION_APPLOCALICU=72.1"),
        ),
        (
            "app-local-that-is-not",
            ssl().with(d12.libraries(ICU, LIB)).env("DOTNET_SYSTEM_GLOBALIZATION_APPLOCALICU=71.1"),
        ),
    ];
    if let Some(stub) = stub_data() {
        corpus.push(("icu-data-is-a-stub", ssl().with(d12.libraries(ICU, LIB)).with(new().file(&data, 0o644, &stub))));
    }
    corpus
}

fn environment([d11, d12, _]: &[Arc<Release>; 3]) -> Corpus {
    let full = || d12.minimal().with(d12.libraries(ALL, LIB));
    let bare = || d12.minimal().with(d12.libraries(SSL, LIB));
    let invariant =
        |image: TestImage, value: &str| image.env(&format!("DOTNET_SYSTEM_GLOBALIZATION_INVARIANT={value}"));
    let preloaded = |name: &str| full().env(&format!("LD_PRELOAD={name}"));
    let both_ssl = || full().with(d11.libraries(SSL, LIB));
    let ssl = |value: &str| {
        both_ssl()
            .env(&format!("CLR_OPENSSL_VERSION_OVERRIDE={value}"))
            .env(&format!("DOTNET_OPENSSL_VERSION_OVERRIDE={value}"))
    };
    vec![
        ("invariant-1", invariant(bare(), "1")),
        ("invariant-true", invariant(bare(), "true")),
        ("invariant-TRUE", invariant(bare(), "TRUE")),
        ("invariant-yes", invariant(bare(), "yes")),
        ("invariant-empty", invariant(bare(), "")),
        ("invariant-0", invariant(bare(), "0")),
        ("invariant-false", invariant(bare(), "false")),
        ("invariant-0-with-icu", invariant(full(), "0")),
        ("invariant-1-with-icu", invariant(full(), "1")),
        ("invariant-1-without-openssl", invariant(d12.minimal(), "1")),
        ("openssl-override-1.1", ssl("1.1")),
        ("openssl-override-3", ssl("3")),
        ("openssl-override-4", ssl("4")),
        ("preload-that-is-there", preloaded("libz.so.1")),
        ("preload-that-is-not", preloaded("libnothing.so.1:/opt/nothing.so")),
        ("preload-by-file", full().with(new().file("etc/ld.so.preload", 0o644, b"libnothing.so.1 libz.so.1\n"))),
        (
            "preload-with-what-it-needs-gone",
            preloaded("libicuuc.so.72").with(new().whiteout(&format!("{LIB}/libicudata.so.72"))),
        ),
    ]
}

fn users(d12: &Release) -> Corpus {
    let full = || d12.minimal().with(d12.libraries(ALL, LIB));
    let account = |home: &str| format!("root:x:0:0:root:/root:/bin/sh\napp:x:1234:1234::{home}:/bin/sh\n");
    let with_account = |home: &str| full().with(new().file("etc/passwd", 0o644, account(home).as_bytes())).user("app");
    vec![
        ("user-without-entry", full().user("1234")),
        ("user-with-home", with_account("/home/app").with(new().folder_of("home/app", 0o755, 1234))),
        ("user-with-home-of-root", with_account("/home/app").with(new().folder_of("home/app", 0o755, 0))),
        ("user-with-home-that-is-not-there", with_account("/home/app")),
        ("user-with-HOME", full().user("1234").env("HOME=/tmp")),
        ("user-with-extract-folder", full().user("1234").env("DOTNET_BUNDLE_EXTRACT_BASE_DIR=/tmp/extract")),
        ("user-with-extract-folder-of-root", full().user("1234").env("DOTNET_BUNDLE_EXTRACT_BASE_DIR=/opt/extract")),
        (
            "user-may-not-read-icu",
            full().user("1234").env("HOME=/tmp").with(new().file(
                &format!("{LIB}/libicuuc.so.72.1"),
                0o600,
                d12.library("libicuuc.so.72"),
            )),
        ),
        (
            "user-may-not-read-libstdc++",
            full().user("1234").with(new().file(
                &format!("{LIB}/libstdc++.so.6.0.30"),
                0o600,
                d12.library("libstdc++.so.6"),
            )),
        ),
        ("home-is-gone", full().env("HOME=/nowhere")),
        ("no-tmp", full().with(new().whiteout("tmp"))),
        ("no-tmp-but-TMPDIR", full().with(new().whiteout("tmp")).env("TMPDIR=/var/lib")),
        ("TMPDIR-that-is-not-there", full().env("TMPDIR=/nowhere")),
        ("no-tmp-and-no-diagnostics", full().with(new().whiteout("tmp")).env("COMPlus_EnableDiagnostics=0")),
        ("no-tmp-and-DOTNET_EnableDiagnostics", full().with(new().whiteout("tmp")).env("DOTNET_EnableDiagnostics=0")),
        ("user-may-not-write-to-tmp", full().user("1234").with(new().folder_of("tmp", 0o755, 0)).env("HOME=/home")),
    ]
}

/// What is no Debian.
fn others(shared: Option<&Path>) -> Corpus {
    let mut corpus = vec![("scratch", TestImage::new(json!({})).with(new().file("readme", 0o644, b"nothing else\n")))];
    let shared_images = [
        ("alpine", "alpine/alpine-minirootfs-3.20.3-x86_64.tar.gz"),
        ("busybox-glibc", "busybox/glibc/rootfs.tar.gz"),
        ("busybox-musl", "busybox/musl/rootfs.tar.gz"),
        ("busybox-uclibc", "busybox/uclibc/rootfs.tar.gz"),
    ];
    for (name, file) in shared_images {
        let Some(file) = shared.map(|folder| folder.join(file)).filter(|file| file.exists()) else { continue };
        let mut tar = Vec::new();
        let mut stream = flate2::read::GzDecoder::new(std::fs::File::open(file).unwrap());
        std::io::Read::read_to_end(&mut stream, &mut tar).unwrap();
        corpus.push((name, TestImage::new(json!({})).shared_layer("ADD rootfs.tar.gz /", &TestLayer::new(tar))));
    }
    corpus
}

/// A libicudata 72 as ICU builds it where the data is a file of its own: a header and no items (ICU, stubdata.cpp).
/// Nothing where there is no compiler.
fn stub_data() -> Option<Vec<u8>> {
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("stub.c");
    let code = "const struct { unsigned short size; unsigned char magic[2]; unsigned short info; unsigned short reserved;\n\
         unsigned char order, charset, width, more; char format[4]; unsigned char version[4], data[4]; char pad[8];\n\
         unsigned int count; unsigned int rest; } icudt72_dat =\n\
         { 32, { 0xda, 0x27 }, 20, 0, 0, 0, 2, 0, { 'T', 'o', 'C', 'P' }, { 1, 0, 0, 0 }, { 0, 0, 0, 0 }, {}, 0, 0 };\n";
    std::fs::write(&source, code).unwrap();
    let library = folder.path().join("libicudata.so.72");
    let made = Command::new("cc")
        .args(["-shared", "-nostdlib", "-Wl,-soname,libicudata.so.72", "-o"])
        .arg(&library)
        .arg(&source)
        .status();
    made.is_ok_and(|status| status.success()).then(|| std::fs::read(&library).unwrap())
}
