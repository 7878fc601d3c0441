//! What is advised fits the image: its packages, what it lacks to install them, and what stands in the way of what is there.

use serde_json::{Value, json};

use crate::support::elf::{AARCH64, Elf, X86_64};
use crate::support::image::{Tar, TestImage, write_layout};
use crate::support::windows::{program, servercore};
use crate::support::{check, finding, rules};

const CORE: &str = "10.0.20348.2227";

fn linux() -> Vec<u8> {
    Elf::fixed(X86_64, b"").bytes()
}

/// What is said of a Linux image with these files, as an image of x86-64 without a C library.
fn result(tar: &Tar, arguments: &[&str]) -> Value {
    result_of(&TestImage::new(json!({"Env": ["PATH=/usr/local/bin:/usr/bin"]})).layer("FROM base", tar), arguments)
}

fn result_of(image: &TestImage, arguments: &[&str]) -> Value {
    let folder = tempfile::tempdir().unwrap();
    write_layout(folder.path(), &[(image, "")]);
    let name = format!("oci:{}", folder.path().display());
    check([arguments, &[name.as_str()]].concat()).result()
}

fn fix(result: &Value, rule: &str) -> String {
    finding(result, rule)["fix"].as_str().unwrap().to_owned()
}

/// Rules on the base's C library are left out where they are not the point.
const NO_BASE: [&str; 2] = ["--rule", "libc-not-glibc=off"];

#[test]
fn an_image_without_a_package_manager_is_told_so() {
    let release = Tar::default().file("etc/os-release", 0o644, b"ID=ubuntu\nID_LIKE=debian\nVERSION_ID=24.04\n");
    let chiseled = result(&release, &NO_BASE);
    for rule in ["bash-missing", "openssl-command-missing", "shell-missing", "core-command-missing"] {
        let fix = fix(&chiseled, rule);
        assert!(fix.contains("no package manager and no shell") && fix.contains("FROM ubuntu:24.04"), "{rule}: {fix}");
        assert!(!fix.contains("apt-get"), "{rule}: {fix}");
    }
    let micro = Tar::default()
        .file("etc/os-release", 0o644, b"ID=rhel\nVERSION_ID=9.4\nPLATFORM_ID=\"platform:el9\"\n")
        .file("usr/bin/sh", 0o755, &linux())
        .file("usr/bin/bash", 0o755, &linux());
    let fix = fix(&result(&micro, &NO_BASE), "openssl-command-missing");
    assert!(
        fix.contains("no package manager, so") && fix.contains("dnf install -y --installroot /rootfs openssl"),
        "{fix}"
    );
}

#[test]
fn what_is_known_of_the_packages_is_said_and_the_rest_is_named() {
    let wolfi = Tar::default()
        .file("etc/os-release", 0o644, b"ID=wolfi\nVERSION_ID=20230201\n")
        .file("usr/bin/apk", 0o755, &linux())
        .file("usr/bin/bash", 0o755, &linux());
    let fix = fix(&result(&wolfi, &NO_BASE), "core-command-missing");
    assert!(fix.starts_with("RUN apk add --no-cache coreutils "), "{fix}");
    assert!(fix.contains("Install hostname, xxd, too"), "{fix}");
}

#[test]
fn where_the_base_has_to_be_changed_nothing_is_installed_in_it() {
    let alpine = Tar::default().file("etc/os-release", 0o644, b"ID=alpine\nVERSION_ID=3.18.1\n").file(
        "usr/bin/apk",
        0o755,
        &linux(),
    );
    let found = result(&alpine, &[]);
    assert!(fix(&found, "bash-missing").starts_with("Change the base first, as the finding libc-not-glibc says"));
    let not_applicable = found["not_applicable"].as_array().unwrap();
    assert!(not_applicable.contains(&json!("distribution-unsupported")), "no release of Alpine would do");
    let without = result(&alpine, &NO_BASE);
    assert!(rules(&without, "warning", "fail").contains(&"distribution-unsupported".to_owned()));
}

#[test]
fn a_command_before_a_good_one_is_what_has_to_go() {
    let tar = Tar::default()
        .file("etc/os-release", 0o644, b"ID=debian\nVERSION_ID=12\n")
        .file("usr/bin/apt-get", 0o755, &linux())
        .file("usr/bin/bash", 0o755, &linux())
        .file("usr/local/bin/openssl", 0o755, &Elf::fixed(AARCH64, b"").bytes())
        .file("usr/bin/openssl", 0o755, &linux());
    let found = result(&tar, &NO_BASE);
    assert_eq!(found["facts"]["commands"]["openssl"]["usable_behind"], "/usr/bin/openssl");
    for rule in ["openssl-command-missing", "command-unusable"] {
        let fix = fix(&found, rule);
        assert!(fix.contains("Remove or rebuild /usr/local/bin/openssl") && !fix.contains("apt-get"), "{rule}: {fix}");
    }
}

#[test]
fn a_shim_whose_manager_is_gone_runs_nothing() {
    let shims = || {
        Tar::default().file("usr/bin/bash", 0o755, &linux()).file("usr/bin/env", 0o755, &linux()).file(
            "root/.asdf/shims/kubectl",
            0o755,
            b"#!/usr/bin/bash\nexec /root/.asdf/bin/asdf exec kubectl \"$@\"\n",
        )
    };
    let state = |tar: &Tar| {
        let image = TestImage::new(json!({"Env": ["PATH=/root/.asdf/shims:/usr/bin"]})).layer("FROM base", tar);
        result_of(&image, &["--set", "steps=kubernetes"])["facts"]["commands"]["kubectl"].clone()
    };
    let gone = state(&shims());
    assert_eq!(gone["state"], "unusable");
    assert!(gone["why"].as_str().unwrap().contains("a shim of asdf, which is not in the image"), "{gone}");
    assert_eq!(state(&shims().file("opt/asdf-0.16/asdf", 0o755, &linux()))["state"], "usable", "it may be anywhere");
}

#[test]
fn tools_of_buildpacks_and_of_chocolatey_are_found_off_path() {
    let tar = Tar::default().file("layers/paketo-buildpacks_cpython/cpython/bin/python3", 0o755, &linux());
    let found = result(&tar, &["--set", "steps=python", "--rule", "libc-not-glibc=off"]);
    assert_eq!(fix(&found, "python-missing"), "ENV PATH=\"/layers/paketo-buildpacks_cpython/cpython/bin:$PATH\"");

    let kubectl = Tar::default().file("Files/ProgramData/chocolatey/bin/kubectl.exe", 0o644, &program([1, 30, 0, 0]));
    let image = servercore(CORE).layer("RUN choco install kubernetes-cli", &kubectl).user("ContainerUser");
    let found = result_of(&image, &["--set", "worker=windows/amd64", "--set", "steps=kubernetes"]);
    let said = finding(&found, "step-tool-missing")["evidence"][0]["statement"].clone();
    assert!(said.as_str().unwrap().contains(r"is in C:\ProgramData\chocolatey\bin, which is not on PATH"), "{said}");
    assert_eq!(
        fix(&found, "step-tool-missing"),
        "USER ContainerAdministrator\nRUN setx /M PATH \"%PATH%;C:\\ProgramData\\chocolatey\\bin\"\nUSER ContainerUser"
    );
}

#[test]
fn windows_images_get_no_advice_for_linux() {
    let steps = ["--set", "worker=windows/amd64", "--set", "steps=csharp,python,bash,kubernetes"];
    let found = result_of(&servercore(CORE), &steps);
    for rule in ["dotnet-runtime-missing", "python-missing", "bash-missing", "step-tool-missing"] {
        let fix = fix(&found, rule);
        for wrong in ["/usr/", "package manager", "ENV PATH", "apt-get", "ln -s"] {
            assert!(!fix.contains(wrong), "{rule}: {fix}");
        }
    }
    let said = finding(&found, "python-missing")["evidence"][0]["statement"].clone();
    assert!(said.as_str().unwrap().contains("Unable to execute python,"), "{said}");
}

#[test]
fn the_runtime_is_added_to_the_dotnet_that_is_there() {
    let dotnet = Tar::default()
        .file("usr/bin/which", 0o755, &linux())
        .file("usr/lib/dotnet/dotnet", 0o755, &linux())
        .file("usr/lib/dotnet/shared/Microsoft.NETCore.App/10.0.2/System.Private.CoreLib.dll", 0o644, b"x")
        .link("usr/bin/dotnet", "../lib/dotnet/dotnet");
    let there =
        fix(&result(&dotnet, &["--set", "steps=csharp", "--rule", "libc-not-glibc=off"]), "dotnet-runtime-missing");
    assert!(there.contains(" /usr/lib/dotnet/shared/Microsoft.NETCore.App") && !there.contains("ln -s"), "{there}");
}

#[test]
fn users_may_be_others_than_the_image_s() {
    let tar = Tar::default()
        .file("usr/bin/bash", 0o755, &linux())
        .file("usr/bin/which", 0o755, &linux())
        .file("usr/bin/chmod", 0o755, &linux())
        .file("usr/bin/kubectl", 0o750, &linux())
        .file("etc/os-release", 0o644, b"ID=debian\nVERSION_ID=12\n")
        .file("usr/bin/apt-get", 0o755, &linux());
    let as_user = |arguments: &[&str]| {
        let set = ["--set", "steps=kubernetes", "--rule", "libc-not-glibc=off"];
        result(&tar, &[&set[..], arguments].concat())
    };
    assert_eq!(as_user(&[])["facts"]["commands"]["kubectl"]["state"], "usable");
    let other = as_user(&["--set", "user=999:999"]);
    assert_eq!((&other["facts"]["user"]["uid"], &other["parameters"]["user"]), (&json!(999), &json!("999:999")));
    assert!(rules(&other, "error", "fail").contains(&"step-tool-missing".to_owned()), "{other:#}");
    assert!(rules(&other, "warning", "fail").contains(&"user-not-root".to_owned()));
    let pod = as_user(&["--set", "user=999:999", "--set", "target=kubernetes"]);
    assert!(rules(&pod, "info", "fail").contains(&"user-not-root".to_owned()));
    assert!(!fix(&pod, "user-not-root").contains("-u 0"));
    let nobody = as_user(&["--set", "user=nobody-here"]);
    assert!(rules(&nobody, "error", "fail").contains(&"container-does-not-start".to_owned()));
}
