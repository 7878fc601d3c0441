//! Whether imglint finds `bash` and `sh` usable is what a real engine shows when it starts them as the target would.

use std::process::Command;

use serde_json::{Value, json};

use super::engines::save;
use super::tools::results;
use crate::support::image::{Tar, TestImage};
use crate::support::{leave_out, real_part};

const PATH: &str = "PATH=/usr/local/bin:/usr/bin:/bin";

/// Names and images: this machine's bash, present, absent and broken in every way a PATH look-up meets.
fn corpus() -> Option<Vec<(&'static str, TestImage)>> {
    let bash = std::fs::read("/bin/bash").ok()?;
    let mut foreign = bash.clone();
    // e_machine: the other one of x86-64 and AArch64.
    foreign[18..20].copy_from_slice(&if cfg!(target_arch = "x86_64") { [183, 0] } else { [62, 0] });
    let base = |env: &str| TestImage::like_this_machine(json!({"Env": [env]}));
    let plain = base(PATH)?;
    let with = |tar: Tar| plain.clone().layer("RUN change", &tar);
    let first = |tar: Tar| base("PATH=/first:/bin").unwrap().layer("RUN change", &tar);
    let new = Tar::default;
    let loader = if cfg!(target_arch = "x86_64") { "lib64/ld-linux-x86-64.so.2" } else { "lib/ld-linux-aarch64.so.1" };
    Some(vec![
        ("as-it-is", plain.clone()),
        ("path-unset", TestImage::like_this_machine(json!({}))?),
        ("path-empty", base("PATH=")?),
        ("path-elsewhere", base("PATH=/opt/bin:/srv")?),
        ("path-relative", base("PATH=bin:./bin:.")?),
        ("path-with-gaps", base("PATH=:/nowhere::/etc/os-release:/bin:")?),
        ("path-with-slashes", base("PATH=/bin//")?),
        ("bash-gone", with(new().whiteout("bin/bash"))),
        (
            "bash-gone-and-back",
            with(new().whiteout("bin/bash")).layer("RUN back", &new().file("bin/bash", 0o755, &bash)),
        ),
        ("folder-gone-and-back", with(new().whiteout("bin")).layer("RUN back", &new().file("bin/bash", 0o755, &bash))),
        (
            "folder-opaque",
            with(new().folder("bin").file("bin/.wh..wh..opq", 0o644, b"").file("bin/bash", 0o755, &bash)),
        ),
        ("folder-is-a-file", with(new().file("bin", 0o755, b"x"))),
        (
            "merged",
            with(new().whiteout("bin"))
                .layer("RUN merge", &new().link("bin", "usr/bin").file("usr/bin/bash", 0o755, &bash)),
        ),
        ("not-executable", with(new().file("bin/bash", 0o644, &bash))),
        ("executable-for-others", with(new().file("bin/bash", 0o001, &bash))),
        ("other-processor", with(new().file("bin/bash", 0o755, &foreign))),
        ("no-loader", with(new().whiteout(loader))),
        ("loader-of-other-processor", with(new().file(loader, 0o755, &foreign))),
        ("empty-file", with(new().file("bin/bash", 0o755, b""))),
        ("text-file", with(new().file("bin/bash", 0o755, b"echo hello\n"))),
        ("script", with(new().file("bin/real", 0o755, &bash).file("bin/bash", 0o755, b"#! /bin/real -e\ntrue\n"))),
        (
            "script-of-a-script",
            with(new().file("bin/real", 0o755, &bash).file("bin/one", 0o755, b"#!/bin/real\n").file(
                "bin/bash",
                0o755,
                b"#!/bin/one\n",
            )),
        ),
        ("script-without-interpreter", with(new().file("bin/bash", 0o755, b"#!/usr/bin/env bash\n"))),
        (
            "script-of-a-file-that-is-not-executable",
            with(new().file("bin/real", 0o644, &bash).file("bin/bash", 0o755, b"#!/bin/real\n")),
        ),
        ("link-absolute", with(new().link("bin/bash", "/opt/bash").file("opt/bash", 0o755, &bash))),
        ("link-relative", with(new().link("bin/bash", "../opt/bash").file("opt/bash", 0o755, &bash))),
        (
            "link-chain",
            with(
                new()
                    .link("bin/bash", "/opt/a")
                    .link("opt/a", "b")
                    .link("opt/b", "../srv/bash")
                    .file("srv/bash", 0o755, &bash),
            ),
        ),
        ("link-dangling", with(new().link("bin/bash", "/opt/nowhere"))),
        ("link-in-a-circle", with(new().link("bin/bash", "/bin/sh"))),
        ("link-out-of-the-root", with(new().link("bin/bash", "../../../../opt/bash").file("opt/bash", 0o755, &bash))),
        ("folder-before", first(new().folder("first/bash"))),
        ("not-executable-before", first(new().file("first/bash", 0o644, &bash))),
        ("dangling-before", first(new().link("first/bash", "nowhere"))),
        ("broken-before", first(new().file("first/bash", 0o755, &foreign))),
        ("first-folder-is-a-file", first(new().file("first", 0o755, b"x"))),
        ("no-layers", TestImage::new(json!({})).field("architecture", plain_architecture(&plain))),
    ])
}

fn plain_architecture(image: &TestImage) -> Value {
    Value::from(image.worker().rsplit('/').next().unwrap())
}

#[test]
fn shells_that_are_said_to_be_usable_can_be_started_and_no_others() {
    let Some(engine) = real_part("a Docker engine", "IMGLINT_TEST_DOCKER_HOST") else { return };
    let Some(corpus) = corpus() else {
        leave_out("a machine with glibc and bash, on x86-64 or arm64");
        return;
    };
    let docker = |arguments: &[&str]| Command::new("docker").args(["-H", &engine]).args(arguments).output().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let names: Vec<String> = corpus.iter().map(|(name, _)| format!("imglint/agreement-{name}:1")).collect();
    let archive = folder.path().join("corpus.tar");
    let tags: Vec<[&str; 1]> = names.iter().map(|name| [name.as_str()]).collect();
    let images: Vec<(&TestImage, &[&str])> =
        corpus.iter().zip(&tags).map(|((_, image), tags)| (image, &tags[..])).collect();
    save(&archive, &images);
    let loaded = docker(&["load", "-i", archive.to_str().unwrap()]);
    assert!(loaded.status.success(), "{}", String::from_utf8_lossy(&loaded.stderr));

    let mut wrong = Vec::new();
    let all: Vec<&str> = names.iter().map(String::as_str).collect();
    for (name, result) in all.iter().zip(results(archive.to_str().unwrap(), &all, &[])) {
        for shell in ["bash", "sh"] {
            let command = &result["facts"]["commands"][shell];
            let read = command["state"] == "usable";
            // As the target starts it: no entrypoint, another working folder than the image's, no shell in between.
            let run = docker(&[
                "run",
                "--rm",
                "--network",
                "none",
                "-w",
                "/step",
                "--entrypoint",
                "",
                name,
                shell,
                "-c",
                ":",
            ]);
            let starts = run.status.success();
            let why = command["why"].as_str().unwrap_or("it is usable");
            println!(
                "{} {shell:<4} read: {read:<5} run: {starts:<5} {name}: {why}",
                if read == starts { "agree " } else { "DIFFER" }
            );
            if read != starts {
                wrong.push(format!("{name} {shell}: {why}; the engine: {}", String::from_utf8_lossy(&run.stderr)));
            }
        }
        docker(&["rmi", "-f", name]);
    }
    println!("{} images, {} comparisons, {} differ", names.len(), 2 * names.len(), wrong.len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
