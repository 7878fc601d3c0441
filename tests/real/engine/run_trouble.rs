//! Runs that meet trouble: floods, bombs, full disks, engines that go away, and the end at any moment.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::engines::{Engine, LABEL, signal};
use crate::support::image::{Tar, TestImage};
use crate::support::{Run, finding, leave_out, program};

/// An image whose bash is a script of busybox's shell; nothing where there is no static busybox.
fn image(script: &str) -> Option<TestImage> {
    let Ok(busybox) = std::fs::read("/bin/busybox") else {
        leave_out("a static busybox");
        return None;
    };
    let tar = Tar::default().file("bin/busybox", 0o755, &busybox).file(
        "bin/bash",
        0o755,
        format!("#!/bin/busybox sh\n{script}\n").as_bytes(),
    );
    Some(TestImage::like_this_machine(json!({"Env": ["PATH=/bin"]})).unwrap().layer("COPY busybox", &tar))
}

fn bash(result: &Value) -> &Value {
    let stages = result["run"]["stages"].as_array().unwrap();
    stages.iter().find(|stage| stage["name"] == "shell:bash").unwrap_or_else(|| panic!("{stages:#?}"))
}

#[test]
fn a_flood_of_output_is_cut() {
    let Some(flood) = image("busybox yes imglint | busybox head -c 100000000\nexit 42") else { return };
    for engine in Engine::all() {
        let archive = engine.load(&[(&flood, &["imglint/flood:1"])]);
        let run = engine.check(&[&archive.given]);
        let result = run.result();
        let bash = bash(&result).clone();
        assert_eq!((&bash["outcome"], &bash["exit_code"]), (&json!("fail"), &json!(42)), "{}: {bash}", engine.name);
        // A shell that runs no script is none.
        let evidence = finding(&result, "bash-missing")["evidence"].as_array().unwrap().clone();
        assert_eq!(evidence.last().unwrap()["basis"], "run", "{}: {evidence:?}", engine.name);
        assert!(run.stdout.len() < 300_000, "{}: {} bytes", engine.name, run.stdout.len());
        engine.is_left_clean();
    }
}

#[test]
fn a_bomb_of_processes_is_held() {
    let Some(bomb) = image("bomb() { bomb | bomb & }\nbomb\nbusybox sleep 60") else { return };
    // A user's engine has no limits where the kernel gives users none (control groups of the first version).
    for engine in [Engine::docker(), Engine::podman()].into_iter().flatten() {
        let archive = engine.load(&[(&bomb, &["imglint/bomb:1"])]);
        let result = engine.check(&["--run-timeout", "5s", &archive.given]).result();
        assert_ne!(bash(&result)["outcome"], "pass", "{}", engine.name);
        engine.is_left_clean();
    }
}

#[test]
fn a_full_disk_of_this_machine_does_not_matter() {
    let Some(engine) = Engine::docker() else { return };
    let Some(any) = image("exit 42") else { return };
    let full = tempfile::tempdir().unwrap();
    let path = full.path().to_str().unwrap();
    let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=32k", "tmpfs", path]).status();
    if !mounted.is_ok_and(|status| status.success()) {
        leave_out("leave to mount a small disk");
        return;
    }
    std::fs::write(full.path().join("full"), vec![1; 28 << 10]).unwrap();
    let archive = engine.load(&[(&any, &["imglint/full:1"])]);
    let run = Run::of(engine.command(&[&archive.given]).env("TMPDIR", path));
    let left = std::fs::read_dir(path).unwrap().count();
    assert!(Command::new("umount").arg(path).status().unwrap().success());
    let result = run.result();
    // The engine has its own disk, and this machine's is not written to.
    assert_eq!((&bash(&result)["exit_code"], left), (&json!(42), 1), "{:#}", result["run"]);
}

#[test]
fn whenever_imglint_is_killed_the_next_run_leaves_nothing() {
    let Some(sleeper) = image("exec busybox sleep 60") else { return };
    let folder = tempfile::tempdir().unwrap();
    for engine in [Engine::docker(), Engine::podman()].into_iter().flatten() {
        let archive = engine.load(&[(&sleeper, &["imglint/killed:1"])]);
        // From before the first container to within the last.
        for delay in [20, 60, 120, 250, 400, 600, 900, 1500, 2500] {
            let mut command = engine.command(&[&archive.given]);
            let mut child =
                command.env("TMPDIR", folder.path()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
            std::thread::sleep(Duration::from_millis(delay));
            child.kill().unwrap();
            child.wait().unwrap();
        }
        let next = || Run::of(engine.command(&["--run-timeout", "1s", &archive.given]).env("TMPDIR", folder.path()));
        next();
        // Of the last one that was killed the engine may have been making a container just now.
        if !engine.is_clean_within(Duration::from_secs(20)) {
            next();
        }
        engine.is_left_clean();
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "{}", engine.name);
    }
}

/// How late the answer is that a [`Relay`] holds back.
const LATE: Duration = Duration::from_secs(5);

/// Forwards connections to an engine until it is told to go away.
struct Relay {
    url: String,
    is_gone: Arc<AtomicBool>,
    /// Whether the answer to the next removal of a container will be late.
    removes_late: Arc<AtomicBool>,
    /// Whether such an answer is being held back.
    is_holding: Arc<AtomicBool>,
    open: Arc<Mutex<Vec<(TcpStream, UnixStream)>>>,
}

impl Relay {
    fn to(socket: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("tcp://{}", listener.local_addr().unwrap());
        let (is_gone, open) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Vec::new())));
        let (removes_late, is_holding) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let (gone, all, socket) = (Arc::clone(&is_gone), Arc::clone(&open), socket.to_owned());
        let (removes, holding) = (Arc::clone(&removes_late), Arc::clone(&is_holding));
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if gone.load(Ordering::SeqCst) {
                    let _ = client.shutdown(Shutdown::Both);
                    continue;
                }
                let engine = UnixStream::connect(&socket).unwrap();
                all.lock().unwrap().push((client.try_clone().unwrap(), engine.try_clone().unwrap()));
                let (back, forth) = (client.try_clone().unwrap(), engine.try_clone().unwrap());
                let (removes, is_late) = (Arc::clone(&removes), Arc::new(AtomicBool::new(false)));
                let (late, holding) = (Arc::clone(&is_late), Arc::clone(&holding));
                std::thread::spawn(move || {
                    pass(client, engine, |asked| {
                        if asked.starts_with(b"DELETE ") && removes.swap(false, Ordering::SeqCst) {
                            is_late.store(true, Ordering::SeqCst);
                        }
                    });
                });
                std::thread::spawn(move || {
                    pass(forth, back, |_| {
                        if late.swap(false, Ordering::SeqCst) {
                            holding.store(true, Ordering::SeqCst);
                            std::thread::sleep(LATE);
                            holding.store(false, Ordering::SeqCst);
                        }
                    });
                });
            }
        });
        Self { url, is_gone, removes_late, is_holding, open }
    }

    /// A check whose run goes through this.
    fn started(&self, image: &str, temporary: &Path) -> Child {
        program()
            .args(["check", "--report", "json", "--run", "--engine", &self.url, image])
            .env("TMPDIR", temporary)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }

    fn goes_away(&self) {
        self.is_gone.store(true, Ordering::SeqCst);
        for (client, engine) in self.open.lock().unwrap().drain(..) {
            let _ = client.shutdown(Shutdown::Both);
            let _ = engine.shutdown(Shutdown::Both);
        }
    }
}

fn pass(mut from: impl Read, mut to: impl Write, before: impl Fn(&[u8])) {
    let mut piece = [0; 16_384];
    while let Ok(length @ 1..) = from.read(&mut piece) {
        before(&piece[..length]);
        if to.write_all(&piece[..length]).is_err() {
            return;
        }
    }
}

/// The containers of runs of an image that are running.
fn containers(engine: &Engine, image: &str) -> String {
    engine.docker_says(&["ps", "-q", "--filter", LABEL, "--filter", &format!("ancestor={image}")])
}

fn wait_until(is_so: impl Fn() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < Duration::from_secs(60));
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Waits until a container runs on, which the first of a run do not; gives its id.
fn wait_for_one(running: impl Fn() -> String) -> String {
    wait_until(|| {
        let before = running();
        std::thread::sleep(Duration::from_secs(1));
        !before.is_empty() && running() == before
    });
    running().trim().to_owned()
}

#[test]
fn a_container_that_somebody_else_removes_says_nothing_of_the_image() {
    let Some(engine) = Engine::docker() else { return };
    let Some(sleeper) = image("exec busybox sleep 63") else { return };
    let archive = engine.load(&[(&sleeper, &["imglint/removed:1"])]);
    let child = engine.command(&[&archive.given]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let id = wait_for_one(|| containers(&engine, "imglint/removed:1"));
    engine.docker_says(&["rm", "-f", &id]);
    let report: Value = serde_json::from_slice(&child.wait_with_output().unwrap().stdout).unwrap();
    let result = &report["results"][0];
    assert_eq!(bash(result)["outcome"], "unknown", "{:#}", bash(result));
    assert_eq!(result["run"]["disagreements"], json!([]));
}

#[test]
fn an_interrupted_run_takes_the_loss_of_its_container_for_no_result() {
    let Some(engine) = Engine::docker() else { return };
    let Some(sleeper) = image("exec busybox sleep 62") else { return };
    let archive = engine.load(&[(&sleeper, &["imglint/interrupted:1"])]);
    let relay = Relay::to(engine.host.strip_prefix("unix://").unwrap());
    let folder = tempfile::tempdir().unwrap();
    let running = || containers(&engine, "imglint/interrupted:1");
    let is_holding = || relay.is_holding.load(Ordering::SeqCst);
    for is_impatient in [false, true] {
        let child = relay.started(&archive.given, folder.path());
        wait_for_one(running);
        // While the engine takes its time to say that the container is gone, the run sees that it is.
        relay.removes_late.store(true, Ordering::SeqCst);
        signal(&child, "INT");
        wait_until(is_holding);
        if is_impatient {
            signal(&child, "INT");
        }
        let output = child.wait_with_output().unwrap();
        assert_eq!(is_holding(), is_impatient, "who interrupts twice does not wait");
        let told = [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap());
        assert_eq!((output.status.code(), told), (Some(2), [String::new(), "imglint: interrupted\n".to_owned()]));
        assert_eq!(running(), "", "and it starts no other");
        let is_cleared = std::fs::read_dir(folder.path()).unwrap().next().is_none();
        assert!(is_cleared || is_impatient);
    }
}

#[test]
fn an_engine_that_goes_away_in_mid_run_is_told_of_and_cleaned_later() {
    let Some(engine) = Engine::docker() else { return };
    let Some(sleeper) = image("exec busybox sleep 61") else { return };
    let archive = engine.load(&[(&sleeper, &["imglint/gone:1"])]);
    let relay = Relay::to(engine.host.strip_prefix("unix://").unwrap());
    let folder = tempfile::tempdir().unwrap();
    let child = relay.started(&archive.given, folder.path());
    let is_running = || !containers(&engine, "imglint/gone:1").is_empty();
    wait_for_one(|| containers(&engine, "imglint/gone:1"));
    relay.goes_away();
    let output = child.wait_with_output().unwrap();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let result = &report["results"][0];
    assert_eq!(bash(result)["outcome"], "unknown", "{:#}", result["run"]);
    assert_eq!(result["run"]["disagreements"], json!([]));
    let cleanup = result["run"]["stages"].as_array().unwrap().last().unwrap();
    assert_eq!((&cleanup["name"], &cleanup["outcome"]), (&json!("cleanup"), &json!("fail")), "it says what it left");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "nothing is left here");
    engine.check(&["--run-timeout", "1s", &archive.given]);
    assert!(!is_running(), "the next run removes it");
}
