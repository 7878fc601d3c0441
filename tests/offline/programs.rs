//! What is said of programs in an image and of a payload that will be mounted: from the command line to the report.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::support::elf::{AARCH64, Elf, X86_64};
use crate::support::image::{Tar, TestImage, dotnet_libraries, write_layout};
use crate::support::{Run, check, finding, imglint, rules};
use serde_json::{Value, json};
use tempfile::TempDir;

const LOADER: &str = "lib64/ld-linux-x86-64.so.2";
const LIB: &str = "usr/lib64";
const CONFIG: &str = r#"{"runtimeOptions": {"tfm": "net8.0", "includedFrameworks":
    [{"name": "Microsoft.NETCore.App", "version": "8.0.1"}], "configProperties": {}}}"#;

/// A loader of glibc that looks in `/usr/lib64`, and a C library.
fn system() -> Tar {
    let text = b"GNU C Library (GNU libc) stable release version 2.36.\0/usr/lib64/\0";
    let loader = Elf { versions: vec!["GLIBC_2.36"], ..Elf::library(X86_64, "ld-linux-x86-64.so.2") };
    let libc = Elf {
        versions: vec!["GLIBC_2.14", "GLIBC_2.16", "GLIBC_2.27", "GLIBC_2.36"],
        ..Elf::library(X86_64, "libc.so.6")
    };
    Tar::default()
        .file(LOADER, 0o755, &loader.text(text).bytes())
        .file("usr/lib64/libc.so.6", 0o755, &libc.text(text).bytes())
        .file("etc/os-release", 0o644, b"ID=debian\nVERSION_ID=12\n")
        .file("usr/bin/apt-get", 0o755, &Elf::fixed(X86_64, b"apt").bytes())
}

/// An image with all that .NET 8 needs but the libraries of these names.
fn image(without: &[&str]) -> TestImage {
    let libraries = dotnet_libraries(X86_64);
    let wanted = libraries.iter().filter(|(name, _)| !without.contains(name));
    let tar = wanted.fold(system(), |tar, (name, library)| tar.file(&format!("{LIB}/{name}"), 0o644, &library.bytes()));
    TestImage::new(json!({"Env": ["PATH=/usr/bin"]})).layer("FROM base", &tar)
}

/// The image as a layout, which is gone with the folder.
fn layout(image: &TestImage) -> (TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    write_layout(folder.path(), &[(image, "")]);
    let name = format!("oci:{}", folder.path().display());
    (folder, name)
}

fn programs(run: &Run) -> Vec<Value> {
    run.result()["facts"]["programs"].as_array().unwrap().clone()
}

fn stages(program: &Value) -> [&str; 3] {
    ["start", "globalization", "cryptography"].map(|stage| program[stage].as_str().unwrap())
}

#[test]
fn a_program_for_dotnet_8_is_described_unless_something_else_is_set() {
    let (_folder, name) = layout(&image(&[]));
    let found = programs(&check([&name]));
    assert_eq!(found.len(), 1);
    assert_eq!((found[0]["program"].as_str(), stages(&found[0])), (Some("dotnet 8.0"), ["pass"; 3]));
    let found = programs(&check(["--set", "dotnet=3.1,10.0", &name]));
    let names: Vec<_> = found.iter().map(|program| program["program"].as_str().unwrap()).collect();
    assert_eq!(names, ["dotnet 3.1", "dotnet 10.0"]);
    assert_eq!(stages(&found[0]), ["fail"; 3], "ICU 72 and OpenSSL 3 are too new, and there is no /tmp");
    assert_eq!(stages(&found[1]), ["pass"; 3]);
}

#[test]
fn what_is_missing_is_named_with_asker_places_and_package() {
    let (_folder, name) = layout(&image(&["libstdc++.so.6"]));
    let run = check([&name]);
    let result = run.result();
    assert_eq!(programs(&run)[0]["missing"], json!(["libstdc++.so.6"]));
    assert_eq!(stages(&programs(&run)[0]), ["fail"; 3]);
    let found = finding(&result, "dotnet-library-missing");
    let statement = found["evidence"][0]["statement"].as_str().unwrap();
    assert_eq!(
        statement,
        "libstdc++.so.6, which a program for .NET 8.0 needs, is in none of the places that the loader searches: \
         /etc/ld.so.cache, /usr/lib64 (default folder)"
    );
    assert!(found["fix"].as_str().unwrap().contains("apt-get install -y --no-install-recommends libstdc++6 "));
}

#[test]
fn a_library_that_a_layer_takes_away_leads_to_that_layer() {
    let gone =
        image(&[]).layer("RUN rm /usr/lib64/libicuuc.so.72", &Tar::default().whiteout("usr/lib64/libicuuc.so.72"));
    let (_folder, name) = layout(&gone);
    let result = check([&name]).result();
    let evidence = &finding(&result, "icu-missing")["evidence"][0];
    assert_eq!(
        (evidence["layer"].clone(), evidence["instruction"].clone()),
        (json!(1), json!("RUN rm /usr/lib64/libicuuc.so.72"))
    );
}

#[test]
fn an_icu_that_is_there_but_of_no_use_is_told_from_none() {
    for (without, rule) in [
        ("libicuuc.so.72", "icu-missing"),
        ("libicudata.so.72", "icu-unusable"),
        ("libssl.so.3", "openssl-library-missing"),
    ] {
        // libicuuc asks for its data as the real one does.
        let uc = Elf {
            needed: vec!["libicudata.so.72"],
            symbols: vec!["u_strlen_72"],
            ..Elf::library(X86_64, "libicuuc.so.72")
        };
        let mut test = image(&[without]);
        if without != "libicuuc.so.72" {
            test = test.layer("RUN icu", &Tar::default().file("usr/lib64/libicuuc.so.72", 0o644, &uc.bytes()));
        }
        let (_folder, name) = layout(&test);
        let failed =
            rules(&check(["--set", "steps=java", "--rule", "step-tool-missing=off", &name]).result(), "error", "fail");
        assert_eq!(failed, [rule], "without {without}");
    }
}

#[test]
fn a_user_without_rights_gets_a_fix_that_can_be_built() {
    let (_folder, name) = layout(&image(&["libssl.so.3"]).user("1000"));
    let fix = finding(&check([&name]).result(), "openssl-library-missing")["fix"].as_str().unwrap().to_owned();
    assert!(fix.starts_with("USER root\nRUN apt-get update") && fix.ends_with("\nUSER 1000"), "{fix}");
}

#[test]
fn a_program_of_the_image_is_judged_like_the_described_one() {
    let tool = Elf {
        needed: vec!["libc.so.6", "libown.so.1"],
        runpath: Some("$ORIGIN/../lib"),
        ..Elf::program(X86_64, "/lib64/ld-linux-x86-64.so.2")
    };
    let own = Elf::library(X86_64, "libown.so.1");
    let with = image(&[]).layer(
        "COPY tool /opt",
        &Tar::default().file("opt/bin/tool", 0o755, &tool.bytes()).file("opt/lib/libown.so.1", 0o644, &own.bytes()),
    );
    let (_folder, name) = layout(&with);
    let run = check(["--program", "/opt/bin/tool", &name]);
    let found = programs(&run);
    assert_eq!(found[1]["program"], "/opt/bin/tool");
    assert_eq!(stages(&found[1]), ["pass", "not_applicable", "not_applicable"]);
    let library = found[1]["libraries"]
        .as_array()
        .unwrap()
        .iter()
        .find(|library| library["name"] == "libown.so.1")
        .unwrap()
        .clone();
    assert_eq!(library["found"], "/opt/bin/../lib/libown.so.1");
    assert_eq!(library["how"], "RUNPATH of /opt/bin/tool");
    assert_eq!((library["needed_by"].clone(), library["place"]["layer"].clone()), (json!("/opt/bin/tool"), json!(1)));
}

#[test]
fn a_program_that_cannot_be_started_says_why() {
    let foreign = Elf::program(AARCH64, "/lib/ld-linux-aarch64.so.1");
    let musl = Elf::program(X86_64, "/lib/ld-musl-x86_64.so.1");
    let tar = Tar::default()
        .file("opt/foreign", 0o755, &foreign.bytes())
        .file("opt/musl", 0o755, &musl.bytes())
        .file("opt/closed", 0o644, &musl.bytes())
        .file("opt/text", 0o755, b"echo hello\n");
    let (_folder, name) = layout(&image(&[]).layer("COPY . /opt", &tar));
    for (path, says) in [
        ("/opt/foreign", "is a program for arm64, not for amd64"),
        ("/opt/musl", "its loader /lib/ld-musl-x86_64.so.1 cannot be started"),
        ("/opt/closed", "may not be executed by uid 0 (mode 0644)"),
        ("/opt/text", "is neither a program nor a script with #!"),
        ("/opt/absent", "/opt/absent is not in the image"),
    ] {
        let result = check(["--program", path, &name]).result();
        let statement = finding(&result, "program-unusable")["evidence"][0]["statement"].to_string();
        assert!(statement.contains(says), "{path}: {statement}");
    }
}

/// A self-contained program in a folder of this machine.
fn payload(config: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let put = |name: &str, content: &[u8]| {
        fs::write(folder.path().join(name), content).unwrap();
        fs::set_permissions(folder.path().join(name), fs::Permissions::from_mode(0o755)).unwrap();
    };
    let host =
        Elf { needed: vec!["libstdc++.so.6", "libc.so.6"], ..Elf::program(X86_64, "/lib64/ld-linux-x86-64.so.2") };
    put("app", &host.text(&[&[0; 8][..], &SIGNATURE[..]].concat()).bytes());
    put("app.runtimeconfig.json", config.as_bytes());
    for name in ["libhostfxr.so", "libhostpolicy.so", "libcoreclr.so", "libclrjit.so", "libSystem.Native.so"] {
        put(name, &Elf { needed: vec!["libc.so.6"], ..Elf::library(X86_64, name) }.bytes());
    }
    put("System.Private.CoreLib.dll", b"MZ");
    put("app.dll", b"MZ");
    folder
}

/// What every .NET host has in it (dotnet/runtime, src/native/corehost/bundle_marker.cpp).
const SIGNATURE: [u8; 32] = [
    0x8b, 0x12, 0x02, 0xb9, 0x6a, 0x61, 0x20, 0x38, 0x72, 0x7b, 0x93, 0x02, 0x14, 0xd7, 0xa0, 0x32, 0x13, 0xf5, 0xb9,
    0xe6, 0xef, 0xae, 0x33, 0x18, 0xee, 0x3b, 0x2d, 0xce, 0x24, 0xb3, 0x6a, 0xae,
];

fn check_payload(folder: &Path, name: &str) -> Run {
    check(["--payload", folder.to_str().unwrap(), name])
}

#[test]
fn a_payload_takes_the_place_of_the_described_program() {
    let (_folder, name) = layout(&image(&[]));
    let program = payload(CONFIG);
    let found = programs(&check_payload(program.path(), &name));
    assert_eq!(found.len(), 1);
    assert_eq!((found[0]["program"].as_str(), stages(&found[0])), (Some("payload"), ["pass"; 3]));
    assert_eq!(
        (found[0]["dotnet"]["version"].as_str(), found[0]["dotnet"]["shape"].as_str()),
        (Some("8.0"), Some("folder"))
    );

    fs::remove_file(program.path().join("libcoreclr.so")).unwrap();
    let result = check_payload(program.path(), &name).result();
    let statement = finding(&result, "program-unusable")["evidence"][0]["statement"].to_string();
    assert!(statement.contains("/payload/libcoreclr.so, a part of the .NET runtime, is not there"), "{statement}");
}

#[test]
fn a_program_s_own_setting_makes_it_invariant() {
    let (_folder, name) = layout(&image(&["libicuuc.so.72"]));
    let invariant =
        CONFIG.replace("\"configProperties\": {}", "\"configProperties\": {\"System.Globalization.Invariant\": true}");
    assert_eq!(stages(&programs(&check_payload(payload(CONFIG).path(), &name))[0]), ["pass", "fail", "fail"]);
    assert_eq!(stages(&programs(&check_payload(payload(&invariant).path(), &name))[0]), ["pass"; 3]);
}

#[test]
fn a_release_that_nobody_knows_yet_leaves_the_stages_open() {
    let (_folder, name) = layout(&image(&[]));
    let future = CONFIG.replace("8.0", "42.0");
    let run = check_payload(payload(&future).path(), &name);
    assert_eq!(stages(&programs(&run)[0]), ["pass", "unknown", "unknown"]);
    assert!(rules(&run.result(), "error", "unknown").contains(&"icu-missing".to_owned()));
}

#[test]
fn a_program_that_asks_for_everything_everywhere_comes_to_an_end() {
    // Five libraries that ask for a thousand others each, none of which is there, in four thousand folders.
    let libraries: Vec<String> = (0..5).map(|number| format!("libgreedy{number}.so")).collect();
    let needed: Vec<&str> = libraries.iter().map(String::as_str).collect();
    let program = Elf { needed, ..Elf::program(X86_64, "/lib64/ld-linux-x86-64.so.2") };
    let tar = libraries.iter().fold(Tar::default().file("opt/greedy", 0o755, &program.bytes()), |tar, name| {
        let absent: Vec<String> = (0..1000).map(|number| format!("{name}.{number}")).collect();
        let elf = Elf { needed: absent.iter().map(String::as_str).collect(), ..Elf::library(X86_64, name) };
        tar.file(&format!("{LIB}/{name}"), 0o755, &elf.bytes())
    });
    let folders: Vec<String> = (0..4000).map(|number| format!("/nowhere/{number}")).collect();
    let greedy = image(&[]).layer("COPY . /", &tar).env(&format!("LD_LIBRARY_PATH={}", folders.join(":")));
    let (_folder, name) = layout(&greedy);
    let found = programs(&check(["--program", "/opt/greedy", &name]));
    let problems = found[1]["problems"].as_array().unwrap();
    assert_eq!(found[1]["start"], "fail");
    assert!(problems.iter().any(|problem| problem["statement"].to_string().contains("asks for too many libraries")));
}

#[test]
fn wrong_arguments_get_one_clear_line() {
    let (_folder, name) = layout(&image(&[]));
    let empty = tempfile::tempdir().unwrap();
    let line = |arguments: &[&str]| {
        let run = imglint([&["check"], arguments, &[name.as_str()]].concat());
        run.one_clear_line().to_owned()
    };
    assert!(line(&["--payload", "/nowhere/at/all"]).contains("--payload: /nowhere/at/all"));
    assert!(line(&["--payload", empty.path().to_str().unwrap()]).contains("is empty"));
    assert!(line(&["--program", "tool"]).contains("expected the path of a program in the image"));
    assert!(line(&["--payload-command", "app"]).contains("--payload"));
    assert!(line(&["--payload", "/", "--payload-command", "a 'b"]).contains("a quote is not closed"));
    assert!(line(&["--set", "dotnet=4.8"]).contains("\"4.8\" is not one of 3.1"));
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig { failure_persistence: None, ..Default::default() })]

    /// Dynamic section, version tables, symbols and hash table of a library, with a few bytes changed.
    #[test]
    fn a_library_with_changed_bytes_never_panics(changes in proptest::collection::vec((0_usize..1200, proptest::num::u8::ANY), 1..8)) {
        let elf = Elf {
            needed: vec!["libc.so.6", "libicudata.so.72"],
            runpath: Some("$ORIGIN"),
            versions: vec!["V_1", "V_2"],
            symbols: vec!["u_strlen_72", "ucol_open_72"],
            ..Elf::program(X86_64, "/lib64/ld-linux-x86-64.so.2")
        };
        let mut bytes = Elf { soname: Some("libicuuc.so.72"), ..elf }.bytes();
        for (at, byte) in changes {
            if let Some(slot) = bytes.get_mut(at) {
                *slot = byte;
            }
        }
        let mut files = imglint::layer::FileScanner::default();
        files.start("usr/lib/libicuuc.so.72", bytes.len() as u64);
        files.push(&bytes);
        let _ = files.finish();
    }
}
