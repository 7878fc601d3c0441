//! What counts as a Windows and as a program of it: files of the right kind, not of the right name.

use crate::support::image::{Tar, TestImage, write_layout};
use crate::support::windows::{Data, Pe, core_base, hive, image, library, nano_base, nanoserver, program, program_for};
use crate::support::{Run, check, finding, rules};
use serde_json::{Value, json};

const CORE: &str = "10.0.20348.2227";
const SYSTEM32: &str = "Files/Windows/System32";
const POWERSHELL: &str = "Files/Windows/System32/WindowsPowerShell/v1.0/powershell.exe";
const ELF: &[u8] = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\x3e\0";

fn run(image: &TestImage, arguments: &[&str]) -> Run {
    let folder = tempfile::tempdir().unwrap();
    write_layout(folder.path(), &[(image, "")]);
    let name = format!("oci:{}", folder.path().display());
    check([&["--platform", "windows/amd64", "--set", "worker=windows/amd64"], arguments, &[name.as_str()]].concat())
}

fn result(image: &TestImage, arguments: &[&str]) -> Value {
    let run = run(image, arguments);
    assert!(run.code < 2, "{}", run.stderr);
    run.result()
}

/// An image of one layer, which is all of it.
fn only(layer: &Tar) -> TestImage {
    TestImage::new(json!({}))
        .field("os", json!("windows"))
        .field("os.version", json!(CORE))
        .layer(&format!("Apply image {CORE}"), layer)
}

/// A SOFTWARE hive that says Server Core.
fn software() -> Vec<u8> {
    let values = [("InstallationType", Data::Text("Server Core")), ("EditionID", Data::Text("ServerDatacenterACor"))];
    hive(&[(r"Microsoft\Windows NT\CurrentVersion", &values)])
}

#[test]
fn layers_without_windows_are_no_windows_image_whatever_else_they_hold() {
    let tar = Tar::default;
    let hive_at = |name: &str| format!("{SYSTEM32}/config/{name}");
    let real = |version| library(version);
    for (what, layer) in [
        ("one file", tar().file("Files/x", 0o644, b"x")),
        ("nothing", tar()),
        ("a rubbish SOFTWARE hive", tar().file(&hive_at("SOFTWARE"), 0o644, b"rubbish")),
        ("a rubbish SYSTEM hive", tar().file(&hive_at("SYSTEM"), 0o644, &[0xff; 9000])),
        ("a huge hive", tar().file(&hive_at("SOFTWARE"), 0o644, &vec![0; 25 << 20])),
        ("a hive that is cut off", tar().file(&hive_at("SOFTWARE"), 0o644, &software()[..4100])),
        ("a whole hive that says Server Core", tar().file(&hive_at("SOFTWARE"), 0o644, &software())),
        (
            "both hives",
            tar().file(&hive_at("SOFTWARE"), 0o644, &software()).file(&hive_at("SYSTEM"), 0o644, &hive(&[])),
        ),
        ("PowerShell alone", tar().file(POWERSHELL, 0o644, &program([10, 0, 20348, 1]))),
        ("an empty ntdll.dll", tar().file(&format!("{SYSTEM32}/ntdll.dll"), 0o644, b"")),
        ("a text", tar().file(&format!("{SYSTEM32}/ntdll.dll"), 0o644, b"I am ntdll")),
        ("a library for Linux", tar().file(&format!("{SYSTEM32}/kernel32.dll"), 0o644, ELF)),
        (
            "a library that is cut off",
            tar().file(&format!("{SYSTEM32}/ntdll.dll"), 0o644, &real([10, 0, 1, 1])[..0x200]),
        ),
        (
            "a library for arm64",
            tar().file(&format!("{SYSTEM32}/ntdll.dll"), 0o644, &Pe::new(0xaa64).library().bytes()),
        ),
        (
            "that of the utility machine",
            tar().file("UtilityVM/Files/Windows/System32/ntdll.dll", 0o644, &real([10, 0, 1, 1])),
        ),
    ] {
        for steps in ["powershell", "kubernetes"] {
            let run = run(&only(&layer), &["--set", &format!("steps={steps}")]);
            let result = run.result();
            assert_eq!((run.code, &result["verdict"]), (1, &json!("incompatible")), "{what}");
            assert!(rules(&result, "error", "fail").contains(&"windows-base-missing".to_owned()), "{what}: {result:#}");
        }
    }
}

#[test]
fn the_evidence_says_what_is_there_instead_of_windows() {
    let says = |layer: Tar| finding(&result(&only(&layer), &[]), "windows-base-missing")["evidence"].to_string();
    assert!(says(Tar::default().file("Files/x", 0o644, b"x")).contains("the layers hold no Windows"));
    let text = Tar::default().file(&format!("{SYSTEM32}/ntdll.dll"), 0o644, b"text");
    assert!(says(text).contains("ntdll.dll is a text"));
}

#[test]
fn a_damaged_hive_beside_a_kernel_leaves_open_what_it_would_tell() {
    let base = core_base(CORE).file(&format!("{SYSTEM32}/config/SYSTEM"), 0o644, b"rubbish").file(
        &format!("{SYSTEM32}/config/SOFTWARE"),
        0o644,
        b"rubbish",
    );
    let result = result(&image(CORE, &base), &[]);
    assert!(result["passed"].as_array().unwrap().contains(&json!("windows-base-missing")), "{result:#}");
    assert_eq!(finding(&result, "windows-path-broken")["outcome"], "unknown");
    assert_eq!(result["verdict"], "undetermined");
}

/// What the image says of PowerShell: the severity, the outcome, and the evidence.
fn powershell(image: &TestImage) -> (String, String, String) {
    let result = result(image, &[]);
    let empty = json!({"severity": "", "outcome": "pass", "evidence": ""});
    let findings = result["findings"].as_array().unwrap();
    let found = findings.iter().find(|finding| finding["rule"] == "powershell-missing").unwrap_or(&empty);
    let text = |name: &str| found[name].as_str().map_or_else(|| found[name].to_string(), str::to_owned);
    (text("severity"), text("outcome"), text("evidence"))
}

fn with_powershell(content: &[u8]) -> TestImage {
    image(CORE, &core_base(CORE)).layer("COPY powershell.exe", &Tar::default().file(POWERSHELL, 0o644, content))
}

#[test]
fn powershell_has_to_be_a_program() {
    let good = program([10, 0, 20348, 1]);
    for (content, says) in [
        (b"".to_vec(), "is empty"),
        (b"Write-Host hello\r\n".to_vec(), "is a text"),
        (b"#!/bin/sh\n".to_vec(), "is a script that begins with #!"),
        (ELF.to_vec(), "is an ELF file"),
        (b"PK\x03\x04\0\0".to_vec(), "does not begin as a program"),
        (good[..0x44].to_vec(), "is cut off"),
        (good[..0x200].to_vec(), "is cut off"),
        ([&b"MZ"[..], &[0; 200]].concat(), "for DOS or 16-bit Windows"),
        (library([10, 0, 20348, 1]), "is a library"),
        (program_for(0xaa64, [10, 0, 20348, 1]), "for arm64, not for amd64"),
        (program_for(0x01c4, [10, 0, 20348, 1]), "for arm, not for amd64"),
        (program_for(0x0200, [10, 0, 20348, 1]), "unknown processor (0x0200)"),
        (Pe::new(0x8664).subsystem(1).bytes(), "subsystem 1"),
        (Pe::new(0x8664).flags(0x20).bytes(), "not linked into a program"),
    ] {
        let (severity, outcome, evidence) = powershell(&with_powershell(&content));
        assert_eq!((severity.as_str(), outcome.as_str()), ("error", "fail"), "{says}: {evidence}");
        assert!(evidence.contains(says), "{says:?} is not in {evidence}");
    }
    for good in
        [program([10, 0, 20348, 1]), program_for(0x014c, [10, 0, 20348, 1]), Pe::new(0x8664).subsystem(2).bytes()]
    {
        assert_eq!(powershell(&with_powershell(&good)).1, "pass");
    }
}

#[test]
fn an_image_of_names_alone_is_incompatible() {
    for content in [&b""[..], b"text", ELF] {
        let layer = Tar::default()
            .file(POWERSHELL, 0o644, content)
            .file(&format!("{SYSTEM32}/cmd.exe"), 0o644, content)
            .file(&format!("{SYSTEM32}/ntdll.dll"), 0o644, content);
        let run = run(&only(&layer), &[]);
        assert_eq!((run.code, rules(&run.result(), "error", "fail").len()), (1, 2), "{}", run.stdout);
    }
}

#[test]
fn what_decides_keeps_its_severity_where_it_is_open() {
    // Another name of a file of which the start was not kept, because no program has such a name.
    let layer = Tar::default().file("Files/data.bin", 0o644, b"MZ").hard_link(POWERSHELL, "Files/data.bin");
    let image = image(CORE, &nano_base(CORE)).layer("COPY x", &layer);
    let run = run(&image, &[]);
    let found = run.result();
    let found = finding(&found, "powershell-missing");
    assert_eq!((&found["severity"], &found["outcome"]), (&json!("error"), &json!("unknown")), "{found:#}");
    assert!(found["evidence"].to_string().contains("was not read"), "{found:#}");
    assert_eq!((run.code, &run.result()["verdict"]), (1, &json!("undetermined")));
}

#[test]
fn powershell_core_has_to_be_a_program_too() {
    let with = |content: &[u8]| {
        let layer = Tar::default().file("Files/Program Files/PowerShell/7/pwsh.exe", 0o644, content);
        powershell(&nanoserver(CORE).layer("COPY pwsh", &layer))
    };
    assert_eq!(with(&program([7, 4, 1, 500])).0, "warning");
    for bad in [&b""[..], b"text", ELF, &library([7, 4, 1, 500]), &program_for(0x14c, [7, 4, 1, 500])] {
        let (severity, outcome, evidence) = with(bad);
        assert_eq!((severity.as_str(), outcome.as_str()), ("error", "fail"), "{evidence}");
    }
}

#[test]
fn tools_have_to_be_programs_or_scripts() {
    let check_with = |name: &str, content: &[u8], steps: &str, base: &Tar| {
        let layer = Tar::default().file(&format!("Files/t/{name}"), 0o644, content);
        let image = image(CORE, base).layer("COPY t", &layer).env(r"PATH=C:\Windows\System32;C:\t");
        result(&image, &["--set", &format!("steps={steps}")])
    };
    let core = core_base(CORE);
    for (content, says) in [
        (&b""[..], "is empty"),
        (b"text", "is a text"),
        (ELF, "is an ELF file"),
        (&library([1, 0, 0, 0]), "is a library"),
    ] {
        let result = check_with("kubectl.exe", content, "kubernetes", &core);
        assert_eq!(rules(&result, "error", "fail"), ["command-unusable", "step-tool-missing"], "{says}");
        for rule in ["command-unusable", "step-tool-missing"] {
            let evidence = finding(&result, rule)["evidence"].to_string();
            assert!(evidence.contains(says), "{says:?} is not in {evidence}");
        }
        assert_eq!(result["facts"]["commands"]["kubectl"]["state"], "unusable");
    }
    let state = |name: &str, content: &[u8], base: &Tar| {
        check_with(name, content, "bicep", base)["facts"]["commands"]["az"]["state"].clone()
    };
    assert_eq!(state("az.cmd", b"@echo off\r\n", &core), "usable");
    assert_eq!(state("az.bat", b"@echo off\r\n", &core), "usable");
    for bad in [&b""[..], ELF, &program([1, 0, 0, 0])] {
        assert_eq!(state("az.cmd", bad, &core), "unusable");
    }
    let no_shell = core_base(CORE).file(&format!("{SYSTEM32}/cmd.exe"), 0o644, b"text");
    let broken = check_with("az.cmd", b"@echo off\r\n", "bicep", &no_shell);
    let evidence = finding(&broken, "step-tool-missing")["evidence"].to_string();
    assert!(evidence.contains("which cmd.exe runs") && evidence.contains("is a text"), "{evidence}");
    assert_eq!(broken["facts"]["windows"]["cmd"]["present"], false);
}

#[test]
fn links_and_junctions_lead_to_what_counts() {
    let tools = |link: &str, target: &str, real: &str, content: &[u8]| {
        let layer = Tar::default().file(real, 0o644, content).link(link, target);
        let image = image(CORE, &core_base(CORE)).layer("COPY t", &layer).env(r"PATH=C:\Windows\System32;C:\bin");
        result(&image, &[])["facts"]["commands"]["helm"]["state"].clone()
    };
    let good = program([1, 0, 0, 0]);
    assert_eq!(tools("Files/bin/helm.exe", r"C:\t\helm-3.exe", "Files/t/helm-3.exe", &good), "usable");
    assert_eq!(tools("Files/bin/helm.exe", r"..\t\helm-3.exe", "Files/t/helm-3.exe", b"text"), "unusable");
    assert_eq!(tools("Files/bin", r"\??\C:\t", "Files/t/helm.exe", &good), "usable");
    assert_eq!(tools("Files/bin", r"\??\C:\t", "Files/t/helm.exe", ELF), "unusable");
    assert_eq!(tools("Files/bin/helm.exe", r"C:\gone.exe", "Files/t/x", b""), "missing");
}

#[test]
fn an_arm64_image_has_programs_for_arm64() {
    let base = |machine: u16| {
        Tar::default().file(&format!("{SYSTEM32}/ntdll.dll"), 0o644, &Pe::new(machine).library().bytes()).file(
            POWERSHELL,
            0o644,
            &Pe::new(machine).bytes(),
        )
    };
    let of = |layer: &Tar| {
        let image = only(layer).field("architecture", json!("arm64"));
        let folder = tempfile::tempdir().unwrap();
        write_layout(folder.path(), &[(&image, "")]);
        let name = format!("oci:{}", folder.path().display());
        check(["--platform", "windows/arm64", "--set", "worker=windows/arm64", &name]).result()
    };
    assert_eq!(of(&base(0xaa64))["verdict"], "compatible");
    assert!(rules(&of(&base(0x8664)), "error", "fail").contains(&"windows-base-missing".to_owned()));
    let emulated = of(&base(0xaa64).file(POWERSHELL, 0o644, &program([1, 0, 0, 0])));
    assert_eq!(rules(&emulated, "error", "unknown"), ["powershell-missing"], "{emulated:#}");
}

#[test]
fn what_a_layer_above_says_of_the_base_makes_it_no_larger() {
    let claim = Tar::default().file("Hives/Software_Delta", 0o644, &software());
    let result = result(&nanoserver(CORE).layer("RUN reg add", &claim), &[]);
    assert_eq!(result["facts"]["windows"]["kind"], "nanoserver");
    assert_eq!(rules(&result, "error", "fail"), ["powershell-missing"]);
}
