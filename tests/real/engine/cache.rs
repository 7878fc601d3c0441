//! What an engine has is exported once, or not at all where its layers are known already.

use std::fs;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::support::caching::{check, checking, image, told};
use crate::support::image::{Tar, TestImage, docker_archive};
use crate::support::{fetched, imglint, program, real_part};

fn docker(engine: &str, arguments: &[&str]) -> String {
    let output = Command::new("docker").args(["-H", engine]).args(arguments).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn load(engine: &str, image: &TestImage, name: &str) {
    let archive = tempfile::NamedTempFile::new().unwrap();
    fs::write(archive.path(), docker_archive(&[(image, &[name])])).unwrap();
    docker(engine, &["load", "-q", "-i", archive.path().to_str().unwrap()]);
}

/// How often the engine exported this image.
fn exports(engine: &str, id: &str) -> usize {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() + 1;
    let until = now.to_string();
    let arguments =
        ["events", "--since", "0", "--until", &until, "--filter", "type=image", "--format", "{{.Action}} {{.ID}}"];
    docker(engine, &arguments).lines().filter(|line| *line == format!("save {id}")).count()
}

#[test]
fn an_engine_s_image_is_exported_once() {
    let Some(engine) = real_part("a Docker engine", "IMGLINT_TEST_DOCKER_HOST") else { return };
    load(&engine, &image("exported-once"), "imglint/exported:1");
    let id = docker(&engine, &["inspect", "--format", "{{.Id}}", "imglint/exported:1"]).trim().to_owned();
    let cache = tempfile::tempdir().unwrap();
    let arguments = ["--engine", engine.as_str(), "imglint/exported:1"];
    let cold = check(cache.path(), &arguments);
    assert_eq!(exports(&engine, &id), 1);
    let warm = check(cache.path(), &arguments);
    assert_eq!(exports(&engine, &id), 1);
    assert!(told(&cold) == told(&warm));
    assert_eq!(cold.result()["image"]["source"], "docker-daemon");
}

#[test]
fn an_engine_s_image_whose_layers_are_known_is_not_exported() {
    let Some(engine) = real_part("a Docker engine", "IMGLINT_TEST_DOCKER_HOST") else { return };
    let Some(registry) = real_part("a registry", "IMGLINT_TEST_REGISTRY") else { return };
    let name = format!("{registry}/imglint/known:1.0.0");
    load(&engine, &image("known"), &name);
    docker(&engine, &["push", "-q", &name]);
    let id = docker(&engine, &["inspect", "--format", "{{.Id}}", &name]).trim().to_owned();
    let cache = tempfile::tempdir().unwrap();
    check(cache.path(), &[&format!("docker://{name}")]);
    let (known, few) = fetched(&mut checking(cache.path(), &["--engine", &engine, &name]));
    assert_eq!((exports(&engine, &id), &known.result()["image"]["source"]), (0, &json!("docker-daemon")));
    let exported = imglint(["check", "--report", "json", "--engine", &engine, &name]);
    assert_eq!(exports(&engine, &id), 1);
    assert!(told(&known) == told(&exported));
    // Known by their digests, but not by those that the configuration names: fetched once more.
    let (verified, bytes) = fetched(&mut checking(cache.path(), &["--verify-layers", "--engine", &engine, &name]));
    assert_eq!(exports(&engine, &id), 1);
    assert!(told(&known) == told(&verified) && bytes > few, "{bytes} and {few}");
}

#[test]
fn a_large_image_of_an_engine_is_not_exported_if_its_registry_has_it() {
    let Some(engine) = real_part("a Docker engine", "IMGLINT_TEST_DOCKER_HOST") else { return };
    let Some(registry) = real_part("a registry", "IMGLINT_TEST_REGISTRY") else { return };
    let name = format!("{registry}/imglint/large:1.0.0");
    let zeros = Tar::default().file("srv/zeros", 0o644, &vec![0; 300 << 20]);
    load(&engine, &image("large").layer("COPY zeros /srv/", &zeros), &name);
    let id = docker(&engine, &["inspect", "--format", "{{.Id}}", &name]).trim().to_owned();
    let arguments = ["check", "--report", "json", "--engine", engine.as_str(), name.as_str()];
    let exported = imglint(arguments);
    assert_eq!(exports(&engine, &id), 1, "nobody else has it yet");
    docker(&engine, &["push", "-q", &name]);
    let (fetched, bytes) = fetched(program().args(arguments));
    assert_eq!(exports(&engine, &id), 1);
    assert!(bytes < 2 << 20, "{bytes} bytes of compressed zeros");
    let (mut exported, mut fetched) = (told(&exported), told(&fetched));
    // The registry's digest is known only since the push.
    let digest = |document: &Value| document["results"][0]["image"]["digest"].as_str().map(str::to_owned);
    assert!(digest(&fetched).is_some_and(|digest| digest.starts_with("sha256:")));
    for document in [&mut exported, &mut fetched] {
        document["results"][0]["image"]["digest"].take();
        document["results"][0]["facts"]["reference"].take();
    }
    assert!(exported == fetched);
    docker(&engine, &["rmi", &name]);
}
