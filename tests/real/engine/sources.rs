//! An image that an engine has gives the same findings as from anywhere else.

use std::fs::File;

use crate::sources::{assert_same, images};
use crate::support::{Run, check, program, real_part};

#[test]
fn the_engine_gives_the_same_findings() {
    let Some(images) = images() else { return };
    let Some(engine) = real_part("a Docker engine", "IMGLINT_TEST_DOCKER_HOST") else { return };
    let arguments = ["check", "--report", "json", "docker-daemon:imglint/faulty:1.0.0"];
    assert_same(&Run::of(program().env("DOCKER_HOST", &engine).args(arguments)), "docker-daemon", &images);
}

#[test]
fn a_name_that_the_engine_has_is_the_engine_s_image() {
    let Some(images) = images() else { return };
    let Some(engine) = real_part("a Docker engine", "IMGLINT_TEST_DOCKER_HOST") else { return };
    let arguments = ["check", "--report", "json", "imglint/faulty:1.0.0"];
    assert_same(&Run::of(program().env("DOCKER_HOST", &engine).args(arguments)), "docker-daemon", &images);
}

#[test]
fn a_name_that_the_engine_does_not_have_is_the_registry_s_image() {
    let Some(images) = images() else { return };
    let Some(engine) = real_part("a Docker engine", "IMGLINT_TEST_DOCKER_HOST") else { return };
    let Some(registry) = real_part("a registry", "IMGLINT_TEST_REGISTRY") else { return };
    let name = format!("{registry}/imglint/faulty:1.0.0");
    let run = Run::of(program().env("DOCKER_HOST", &engine).args(["check", "--report", "json", &name]));
    assert_same(&run, "registry", &images);
}

#[test]
fn an_engine_without_the_image_says_so() {
    let Some(engine) = real_part("a Docker engine", "IMGLINT_TEST_DOCKER_HOST") else { return };
    let arguments = ["check", "--report", "json", "docker-daemon:imglint/absent:1"];
    Run::of(program().env("DOCKER_HOST", &engine).args(arguments)).fails_saying(&["imglint/absent:1"]);
}

#[test]
fn what_the_engine_saved_gives_the_same_findings() {
    let Some(images) = images() else { return };
    let saved = format!("{images}/faulty.saved.tar");
    assert_same(&check([format!("docker-archive:{saved}")]), "docker-archive", &images);
    let piped = Run::of(program().args(["check", "--report", "json", "-"]).stdin(File::open(saved).unwrap()));
    assert_same(&piped, "docker-archive", &images);
}
