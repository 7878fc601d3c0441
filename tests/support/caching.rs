//! Calls of the program with a cache, and images of two layers to cache.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use super::image::{Tar, TestImage};
use super::{Run, program};

/// `imglint check` with a cache of its own.
pub fn check(cache: &Path, arguments: &[&str]) -> Run {
    Run::of(&mut checking(cache, arguments))
}

pub fn checking(cache: &Path, arguments: &[&str]) -> Command {
    let mut command = program();
    command.env_remove("IMGLINT_NO_CACHE").env("IMGLINT_CACHE", cache);
    command.args(["check", "--report", "json"]).args(arguments);
    command
}

/// The whole document but for times.
pub fn told(run: &Run) -> Value {
    let mut report = run.report();
    for time in ["started_at", "duration_ms"] {
        report[time].take();
    }
    // Whether DiffIDs were verified is what an option says, not what was read.
    for result in report["results"].as_array_mut().into_iter().flatten() {
        for layer in result["image"]["layers"].as_array_mut().into_iter().flatten() {
            layer["diff_id_verified"].take();
        }
    }
    report
}

pub fn image(file: &str) -> TestImage {
    let base = Tar::default().file("etc/os-release", 0o644, b"ID=debian\nVERSION_ID=12\n").file(
        "usr/bin/bash",
        0o755,
        b"#!/nowhere\n",
    );
    let config = json!({"Env": ["PATH=/usr/bin:/bin"], "Entrypoint": ["x"]});
    TestImage::new(config).layer("COPY base /", &base).layer("COPY top /", &Tar::default().file(file, 0o644, b"x"))
}
