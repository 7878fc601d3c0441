//! Whose containers a run removes: its own, and those of killed runs of the same user on the same machine. Nothing else.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::engines::{Engine, LABEL, copy_program};
use crate::support::image::{Tar, TestImage};
use crate::support::{Run, leave_out, program};

/// The users of these tests who are not root. Runs of other tests are root's, and clean up what root's have left.
const USERS: [u32; 2] = [54321, 54322];

/// An image whose bash does nothing for minutes; `None` where there is no static busybox. Each test has one of its own,
/// since engines list the containers of an image under all its names.
fn sleeper(test: &str) -> Option<TestImage> {
    let Ok(busybox) = std::fs::read("/bin/busybox") else {
        leave_out("a static busybox");
        return None;
    };
    let script = b"#!/bin/busybox sh\nexec /bin/busybox sleep 300\n";
    let tar = Tar::default().file("bin/busybox", 0o755, &busybox).file("bin/bash", 0o755, script);
    Some(
        TestImage::like_this_machine(json!({"Env": ["PATH=/bin", format!("TEST={test}")]}))
            .unwrap()
            .layer("COPY busybox", &tar),
    )
}

/// The ids of the running containers of an image that runs have made.
fn running(engine: &Engine, image: &str) -> Vec<String> {
    // Podman knows images by their whole names only.
    let ancestor = format!("ancestor={}{image}", if engine.name == "docker" { "" } else { "localhost/" });
    let said = engine.docker_says(&["ps", "-q", "--no-trunc", "--filter", LABEL, "--filter", &ancestor]);
    said.lines().map(str::to_owned).collect()
}

fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < Duration::from_secs(90), "{what}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// Starts a run and waits until its bash, which sleeps, is running.
fn started(engine: &Engine, command: &mut Command, image: &str) -> (Child, String) {
    let known = running(engine, image);
    let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    // The first containers of a run end at once. One may be gone before it is asked about.
    let is_bash = |id: &String| {
        let asked =
            Command::new("docker").args(["-H", &engine.host, "inspect", "-f", "{{.Path}}", id]).output().unwrap();
        asked.stdout.trim_ascii() == b"bash"
    };
    let sleeping = || running(engine, image).into_iter().find(|id| !known.contains(id) && is_bash(id));
    wait_until("bash is not running", || sleeping().is_some());
    (child, sleeping().unwrap())
}

fn kill(mut child: Child) {
    child.kill().unwrap();
    child.wait().unwrap();
}

fn is_there(engine: &Engine, id: &str) -> bool {
    engine.docker_says(&["ps", "-aq", "--no-trunc"]).lines().any(|known| known == id)
}

/// Asserts that a dead run's container goes: a run of another test may be removing it just now.
fn goes(engine: &Engine, id: &str) {
    wait_until("a killed run's container stays", || !is_there(engine, id));
}

fn inspected(engine: &Engine, id: &str) -> Value {
    serde_json::from_str::<Value>(&engine.docker_says(&["inspect", id])).unwrap()[0].clone()
}

/// A container that a person has started; removed when this is dropped.
struct ByHand<'a> {
    engine: &'a Engine,
    id: String,
}

impl<'a> ByHand<'a> {
    fn start(engine: &'a Engine, arguments: &[&str], image: &str) -> Self {
        let end = [
            image,
            "/bin/busybox",
            "sh",
            "-c",
            "/bin/busybox mkdir -p /data; echo precious > /data/file; exec /bin/busybox sleep 600",
        ];
        let said = engine.docker_says(&[&["run", "-d", "--entrypoint="], arguments, &end].concat());
        Self { engine, id: said.trim().to_owned() }
    }

    fn is_untouched(&self) -> bool {
        let is_running = || inspected(self.engine, &self.id)["State"]["Running"] == json!(true);
        is_there(self.engine, &self.id)
            && is_running()
            && self.engine.docker_says(&["exec", &self.id, "/bin/busybox", "cat", "/data/file"]) == "precious\n"
    }
}

impl Drop for ByHand<'_> {
    fn drop(&mut self) {
        let _ = Command::new("docker").args(["-H", &self.engine.host, "rm", "-f", "-v", &self.id]).output();
    }
}

/// A run that looks at nothing for long.
fn short(engine: &Engine, image: &str) {
    let run = engine.check(&["--run-timeout", "1s", image]);
    assert_eq!(run.code, 1, "its bash was stopped: {}{}", run.stdout, run.stderr);
}

#[test]
fn labels_of_images_and_names_that_people_give_never_make_a_container_a_run_s() {
    let (Some(engine), Some(sleeper)) = (Engine::docker(), sleeper("forged")) else {
        return;
    };
    let archive = engine.load(&[(&sleeper, &["imglint/owner-forged:1"])]);
    // What a killed run leaves is known to everybody who may ask the engine.
    let (child, left) = started(&engine, &mut engine.command(&[&archive.given]), "imglint/owner-forged:1");
    let found = inspected(&engine, &left);
    kill(child);
    let (name, labels) = (found["Name"].as_str().unwrap()[1..].to_owned(), &found["Config"]["Labels"]);
    let label = labels["io.imglint.owner"].as_str().unwrap().to_owned();
    assert!(name.starts_with("imglint-run-") && label.ends_with(name.trim_start_matches("imglint-run-")), "{found}");

    // An image can have such a label: one that was committed from a container has it.
    let config = json!({"Env": ["PATH=/bin"], "Labels": {"io.imglint.owner": label}, "Volumes": {"/data": {}}});
    let forged = sleeper.clone().field("config", config);
    let plain = sleeper.field("config", json!({"Env": ["PATH=/bin"], "Volumes": {"/data": {}}}));
    let _both = engine.load(&[(&forged, &["imglint/owner-forged:2"]), (&plain, &["imglint/owner-forged:3"])]);
    let value = format!("io.imglint.owner={label}");
    let others = [
        ByHand::start(&engine, &["--name", "owner-forged-db"], "imglint/owner-forged:2"),
        ByHand::start(&engine, &["--name", &format!("{name}0")], "imglint/owner-forged:2"),
        ByHand::start(&engine, &["--label", &value], "imglint/owner-forged:3"),
        ByHand::start(&engine, &["--label", "io.imglint.owner=0.0.0-1-1"], "imglint/owner-forged:3"),
        ByHand::start(&engine, &["--name", "imglint-run-00000000000000000000000000000000"], "imglint/owner-forged:3"),
    ];
    short(&engine, &archive.given);
    goes(&engine, &left);
    for other in &others {
        assert!(other.is_untouched(), "{}", inspected(&engine, &other.id));
    }

    // Even the very name is not enough, nor is it with the very label where the image gives it.
    for image in ["imglint/owner-forged:3", "imglint/owner-forged:4"] {
        let (child, left) = started(&engine, &mut engine.command(&[&archive.given]), "imglint/owner-forged:1");
        let name = inspected(&engine, &left)["Name"].as_str().unwrap()[1..].to_owned();
        engine.docker_says(&["commit", &left, "imglint/owner-forged:4"]);
        kill(child);
        // A run of another test may have removed it by now.
        let _ = Command::new("docker").args(["-H", &engine.host, "rm", "-f", &left]).output();
        let taken = ByHand::start(&engine, &["--name", &name], image);
        short(&engine, &archive.given);
        assert!(taken.is_untouched(), "{image}");
    }
}

#[test]
fn runs_at_the_same_time_leave_each_other_alone() {
    let Some(sleeper) = sleeper("at once") else { return };
    for engine in [Engine::docker(), Engine::podman()].into_iter().flatten() {
        let archive = engine.load(&[(&sleeper, &["imglint/owner-at-once:1"])]);
        let long = &mut engine.command(&["--run-timeout", "5m", &archive.given]);
        let (child, id) = started(&engine, long, "imglint/owner-at-once:1");
        let elsewhere = tempfile::tempdir().unwrap();
        short(&engine, &archive.given);
        Run::of(engine.command(&["--run-timeout", "1s", &archive.given]).env("TMPDIR", elsewhere.path()));
        // Where processes cannot be looked up, every one of them counts as alive.
        let line = "umount -l /proc && exec \"$0\" check --run --run-timeout 1s --engine \"$1\" \"$2\"";
        let mut blind = Command::new("unshare");
        blind.args(["--mount", "sh", "-c", line, env!("CARGO_BIN_EXE_imglint"), &engine.host, &archive.given]);
        assert_eq!(Run::of(&mut blind).code, 1, "{}", engine.name);
        assert!(running(&engine, "imglint/owner-at-once:1").contains(&id), "{}", engine.name);
        kill(child);
        short(&engine, &archive.given);
        goes(&engine, &id);
    }
}

/// A run by a user who may ask the engine.
fn by_user(uid: u32, engine: &Engine, folder: &Path, arguments: &[&str]) -> Command {
    let socket = engine.host.strip_prefix("unix://").unwrap();
    let copy = folder.join("imglint");
    if !copy.exists() {
        std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o755)).unwrap();
        copy_program(&copy);
    }
    let own = program();
    let mut command = Command::new(copy);
    command.envs(own.get_envs().filter_map(|(name, value)| Some((name, value?)))).current_dir("/");
    command.args(["check", "--run", "--engine", &engine.host]).args(arguments);
    command.gid(std::fs::metadata(socket).unwrap().gid()).uid(uid);
    command
}

#[test]
fn users_of_one_engine_leave_each_other_alone() {
    let (Some(engine), Some(sleeper)) = (Engine::docker(), sleeper("users")) else {
        return;
    };
    let archive = engine.load(&[(&sleeper, &["imglint/owner-users:1"])]);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("image.tar");
    std::fs::copy(&archive.file, &file).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    let image = format!("docker-archive:{}", file.display());
    let [one, other] = USERS.map(|uid| {
        let (engine, folder, image) = (&engine, folder.path(), image.as_str());
        move |limit| by_user(uid, engine, folder, &["--run-timeout", limit, image])
    });

    // While both live, and when one is dead: nobody but its user removes what it left.
    let (first, of_one) = started(&engine, &mut one("5m"), "imglint/owner-users:1");
    let (second, of_other) = started(&engine, &mut other("5m"), "imglint/owner-users:1");
    short(&engine, &archive.given);
    Run::of(&mut other("1s"));
    assert!(is_there(&engine, &of_one) && is_there(&engine, &of_other), "both live");
    kill(first);
    short(&engine, &archive.given);
    Run::of(&mut other("1s"));
    assert!(is_there(&engine, &of_one), "it is another user's");
    Run::of(&mut one("1s"));
    goes(&engine, &of_one);
    assert!(is_there(&engine, &of_other), "it lives");
    kill(second);
    short(&engine, &archive.given);
    Run::of(&mut one("1s"));
    assert!(is_there(&engine, &of_other), "it is another user's");
    Run::of(&mut other("1s"));
    goes(&engine, &of_other);
    for uid in USERS {
        assert!(!Path::new(&format!("/tmp/imglint-{uid}")).exists(), "and nothing is left on this machine");
    }
}

#[test]
fn a_killed_run_is_cleaned_up_whatever_the_next_one_s_environment_is() {
    let Some(sleeper) = sleeper("killed") else { return };
    for engine in [Engine::docker(), Engine::podman()].into_iter().flatten() {
        let archive = engine.load(&[(&sleeper, &["imglint/owner-killed:1"])]);
        let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let mut command = engine.command(&[&archive.given]);
        let (child, id) = started(&engine, command.env("TMPDIR", one.path()), "imglint/owner-killed:1");
        kill(child);
        Run::of(engine.command(&["--run-timeout", "1s", &archive.given]).env("TMPDIR", other.path()));
        goes(&engine, &id);
        for folder in [one, other] {
            assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "{}", engine.name);
        }
    }
}
