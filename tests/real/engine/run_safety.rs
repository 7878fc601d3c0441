//! What `--run` leaves behind: nothing, however it ends. And what it does with images that are none for it.

use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::corpus::corpus;
use super::engines::{Engine, LABEL, signal};
use super::tool_corpus;
use crate::support::image::{Tar, TestImage, write_layout};
use crate::support::{Run, leave_out, program, real_part};

/// An image whose bash does nothing for a minute; nothing where there is no static busybox.
fn sleeper() -> Option<TestImage> {
    let busybox = std::fs::read("/bin/busybox").ok()?;
    let tar = Tar::default().file("bin/busybox", 0o755, &busybox).file(
        "bin/bash",
        0o755,
        b"#!/bin/busybox sh\nexec /bin/busybox sleep 60\n",
    );
    Some(TestImage::new(json!({"Env": ["PATH=/bin"]})).layer("COPY busybox", &tar))
}

fn stage<'a>(result: &'a Value, name: &str) -> &'a Value {
    let stages = result["run"]["stages"].as_array().unwrap();
    stages.iter().find(|stage| stage["name"] == name).unwrap_or_else(|| panic!("no stage {name}: {stages:#?}"))
}

/// How many files and folders there are.
fn folders(temporary: &Path) -> usize {
    std::fs::read_dir(temporary).unwrap().count()
}

/// Starts a run of the sleeper and waits until its bash is running.
fn started(engine: &Engine, image: &str, temporary: &Path) -> Child {
    let mut command = engine.command(&[image]);
    let mut child = command.env("TMPDIR", temporary).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let start = Instant::now();
    while engine.docker_says(&["ps", "-q", "--filter", LABEL, "--filter", "ancestor=imglint/sleeper:1"]).is_empty() {
        assert!(start.elapsed() < Duration::from_secs(60), "no container is running: {:?}", child.try_wait());
        std::thread::sleep(Duration::from_millis(100));
    }
    child
}

#[test]
fn nothing_is_left_however_a_run_ends() {
    let Some(engine) = Engine::docker() else { return };
    let Some(sleeper) = sleeper() else {
        leave_out("a static busybox");
        return;
    };
    let archive = engine.load(&[(&sleeper, &["imglint/sleeper:1"])]);
    // Runs of other tests clean up after those that are killed, but not here.
    let temporary = tempfile::tempdir().unwrap();
    let stopped_after = |limit: &str| {
        let mut command = engine.command(&["--run-timeout", limit, &archive.given]);
        Run::of(command.env("TMPDIR", temporary.path())).result()
    };

    let result = stopped_after("2s");
    let bash = stage(&result, "shell:bash");
    assert_eq!((&bash["outcome"], &bash["output"]), (&json!("unknown"), &json!("it was stopped after 2 s")));
    assert_eq!(stage(&result, "cleanup")["outcome"], "pass");

    for name in ["INT", "TERM"] {
        let interrupted = started(&engine, &archive.given, temporary.path());
        signal(&interrupted, name);
        let output = interrupted.wait_with_output().unwrap();
        // That its container went away is no result.
        let told = (output.status.code(), String::from_utf8(output.stdout).unwrap());
        assert_eq!(told, (Some(2), String::new()), "after {name}: {}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(folders(temporary.path()), 0, "after {name}");
    }

    let mut killed = started(&engine, &archive.given, temporary.path());
    killed.kill().unwrap();
    killed.wait().unwrap();
    stopped_after("1s");
    assert_eq!(folders(temporary.path()), 0, "a run writes nothing on this machine");
    let left = engine.docker_says(&["ps", "-aq", "--filter", LABEL, "--filter", "ancestor=imglint/sleeper:1"]);
    assert!(left.is_empty(), "{left}");
}

#[test]
fn variables_and_artifacts_pass_where_there_is_an_openssl() {
    let Some(engine) = Engine::docker() else { return };
    let Some((with, without)) = tool_corpus::with_and_without_openssl() else { return };
    let Ok(busybox) = std::fs::read("/bin/busybox") else {
        leave_out("a static busybox");
        return;
    };
    let tools = ["dirname", "basename", "wc"]
        .iter()
        .fold(Tar::default(), |tar, name| tar.link(&format!("usr/bin/{name}"), "/usr/bin/busybox"));
    let tools = tools.file("usr/bin/busybox", 0o755, &busybox);
    let [with, without] = [with, without].map(|image| image.layer("COPY busybox", &tools));
    let run = |image: &TestImage, name: &str, arguments: &[&str]| {
        let archive = engine.load(&[(image, &[&format!("imglint/run-{name}:1")])]);
        engine.check(&[arguments, &[archive.given.as_str()]].concat()).result()
    };
    let good = run(&with, "with", &[]);
    for name in ["pull", "create", "shell:bash", "variables", "artifact", "cleanup"] {
        assert_eq!(stage(&good, name)["outcome"], "pass", "{name}: {}", stage(&good, name));
    }
    assert_eq!(stage(&good, "shell:bash")["exit_code"], 42);
    assert_eq!(good["run"]["disagreements"], json!([]), "{:#}", good["run"]);
    let words = good["run"]["command"].as_array().unwrap();
    assert!(words.contains(&json!("--entrypoint=")) && words[..3] == [json!("docker"), json!("run"), json!("--rm")]);

    assert!(words.contains(&json!("TentacleHome=$TentacleHome")), "the same in each run: {words:?}");

    let silent = run(&without, "without", &[]);
    assert_eq!(stage(&silent, "variables")["outcome"], "fail");
    assert_eq!(stage(&silent, "artifact")["outcome"], "fail");
    let finding = crate::support::finding(&silent, "openssl-command-missing");
    let bases: Vec<&Value> = finding["evidence"].as_array().unwrap().iter().map(|piece| &piece["basis"]).collect();
    assert_eq!(bases, [&json!("read"), &json!("run")]);

    // An entrypoint that swallows the command line: old servers leave it, new ones empty it.
    let swallows = with
        .clone()
        .field("config", json!({"Env": ["PATH=/usr/bin:/bin"], "Entrypoint": ["/bin/bash", "-c", "exit 0"]}));
    let old = run(&swallows, "swallows", &["--set", "server=2021.1.1"]);
    assert_eq!(stage(&old, "shell:bash")["outcome"], "fail", "nothing ran: {:#}", old["run"]);
    assert_eq!(old["run"]["disagreements"], json!([]), "the entrypoint explains it");
    let new = run(&swallows, "swallows", &["--set", "server=2024.1"]);
    assert_eq!(stage(&new, "shell:bash")["outcome"], "pass");

    // A user who may not write to the work folder, which belongs to root, as a Tentacle's.
    let user = run(&with.clone().user("1000"), "user", &[]);
    assert_eq!(stage(&user, "shell:bash")["outcome"], "pass");
    assert_eq!(stage(&user, "artifact")["outcome"], "fail");
}

#[test]
fn images_that_the_engine_cannot_run_are_not_run() {
    let Some(engine) = Engine::docker() else { return };
    let folder = tempfile::tempdir().unwrap();
    let run = |image: &TestImage| {
        let layout = tempfile::tempdir_in(folder.path()).unwrap();
        write_layout(layout.path(), &[(image, "")]);
        let given = format!("oci:{}", layout.path().display());
        engine.check(&[&given]).result()
    };
    let windows = run(&TestImage::new(json!({})).field("os", json!("windows")));
    assert_eq!(stage(&windows, "create")["outcome"], "not_applicable");
    let other = if cfg!(target_arch = "x86_64") { "arm64" } else { "amd64" };
    let foreign = run(&TestImage::new(json!({})).field("architecture", json!(other)));
    assert!(stage(&foreign, "create")["output"].as_str().unwrap().contains("under emulation"));
    let unknown = run(&TestImage::new(json!({"Env": ["NOBODY=HAS_THIS"]})));
    assert_eq!(stage(&unknown, "pull")["outcome"], "not_applicable");
}

#[test]
fn without_an_engine_there_is_one_clear_line() {
    for arguments in [&["engines"][..], &["check", "--run", "x"]] {
        let run = Run::of(program().args(arguments).args(["--engine", "unix:///nowhere/docker.sock"]));
        assert_eq!(run.code, 2);
        assert_eq!(run.stderr.lines().count(), 1, "{}", run.stderr);
        assert!(run.stderr.contains("/nowhere/docker.sock") && run.stderr.contains("no such socket"), "{}", run.stderr);
    }
    if let Some(engine) = Engine::docker() {
        let run = Run::of(program().args(["engines", "--engine", &engine.host]));
        assert!(run.code == 0 && run.stdout.starts_with("docker "), "{}{}", run.stdout, run.stderr);
    }
}

#[test]
fn a_payload_is_run_where_its_folder_is_mounted() {
    if !cfg!(target_arch = "x86_64") {
        leave_out("a machine with x86-64, which the programs are for");
        return;
    }
    let Some(engine) = Engine::docker() else { return };
    let Some(images) = real_part("images of Debian", "IMGLINT_TEST_IMAGES") else { return };
    let Some(programs) = real_part("real .NET programs", "IMGLINT_TEST_PROGRAMS") else { return };
    let payload = Path::new(&programs).join("sc8").display().to_string();
    let arguments = ["--payload", &payload, "--payload-command", "Sarif.Multitool --help"];
    let all = corpus(Path::new(&images), None);
    let run = |name: &str| {
        let (_, image) = all.iter().find(|(known, _)| *known == name).unwrap();
        let archive = engine.load(&[(image, &[&format!("imglint/payload-{name}:1")])]);
        engine.check(&[&arguments[..], &[archive.given.as_str()]].concat()).result()
    };
    let good = run("debian-12-all");
    assert_eq!(stage(&good, "payload")["outcome"], "pass", "{}", stage(&good, "payload"));
    let without = run("debian-12-openssl");
    assert!(stage(&without, "payload")["output"].as_str().unwrap().contains("valid ICU package"));
    for result in [&good, &without] {
        assert_eq!(result["run"]["disagreements"], json!([]), "{:#}", result["run"]);
    }
    let evidence = &crate::support::finding(&without, "icu-missing")["evidence"];
    assert!(evidence.as_array().unwrap().iter().any(|piece| piece["basis"] == "run"), "{evidence}");
}
