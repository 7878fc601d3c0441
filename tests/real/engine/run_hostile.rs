//! Images that want more than to be judged: what they do in one container reaches neither the host nor the next container.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::engines::Engine;
use crate::support::image::{Tar, TestImage};
use crate::support::{Run, leave_out, rules};

/// What the scripts of these images begin with. They read the mark of imglint's own script, as any image can.
const PRELUDE: &str = r###"#!/bin/busybox sh
PATH=/bin
mark=$(busybox sed -n "s/^mark='\(.*\)'$/\1/p" "$1")
say() { echo "$mark $*"; }
# Says where the artifact is and how long, as a step does.
send() {
  path=$(echo -n "$TentacleHome/Work/1/artifact.txt" | busybox base64 -w 0)
  echo "##octopus[createArtifact path='$path' name='YXJ0aWZhY3QudHh0' length='MTc=']"
}
cd "$TentacleHome"
"###;

/// A python3 that passes only if its worker's home is as imglint makes it.
const LOOKS_AROUND: &str = r###"#!/bin/busybox sh
PATH=/bin
cd "$TentacleHome" || exit 1
[ "$(busybox pwd -P)" = "$TentacleHome" ] || { echo "home is elsewhere"; exit 1; }
seen=$(busybox find . | busybox sort | busybox tr '\n' ' ')
[ "$seen" = ". ./Tools ./Tools/imglint ./Tools/imglint/script.py ./Work ./Work/1 " ] || { echo "there is: $seen"; exit 1; }
for folder in . Work Work/1 Tools Tools/imglint; do
  is=$(busybox stat -c '%a %u %g %F' $folder)
  [ "$is" = "755 0 0 directory" ] || { echo "$folder is: $is"; exit 1; }
done
exit 42
"###;

/// An image whose bash is this script; `None` if there is no static busybox.
fn image(bash: &str) -> Option<TestImage> {
    let Ok(busybox) = fs::read("/bin/busybox") else {
        leave_out("a static busybox");
        return None;
    };
    let tar = Tar::default()
        .file("bin/busybox", 0o755, &busybox)
        .file("bin/bash", 0o755, format!("{PRELUDE}{bash}\n").as_bytes())
        .file("bin/python3", 0o755, LOOKS_AROUND.as_bytes());
    Some(TestImage::like_this_machine(json!({"Env": ["PATH=/bin"]}))?.layer("COPY busybox", &tar))
}

fn stage<'a>(result: &'a Value, name: &str) -> &'a Value {
    let stages = result["run"]["stages"].as_array().unwrap();
    stages.iter().find(|stage| stage["name"] == name).unwrap_or_else(|| panic!("no stage {name}: {stages:#?}"))
}

/// Everything below a folder: modes, sizes and contents.
fn state(folder: &Path) -> BTreeMap<String, (u32, Vec<u8>)> {
    let mut all = BTreeMap::new();
    let mut open = vec![folder.to_owned()];
    while let Some(path) = open.pop() {
        let metadata = fs::symlink_metadata(&path).unwrap();
        let content = if metadata.is_file() { fs::read(&path).unwrap() } else { Vec::new() };
        if metadata.is_dir() {
            open.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        }
        all.insert(path.display().to_string(), (metadata.permissions().mode(), content));
    }
    all
}

/// A folder of the host that must not change.
fn canary() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("precious");
    fs::write(&file, "precious\n").unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o700)).unwrap();
    folder
}

/// Ways to get at the host through what a container is given. `CANARY` stands for a folder of the host.
const ATTACKS: [(&str, &str); 12] = [
    ("work-renamed", "mv Work W; mkdir Work; ln -s CANARY Work/1"),
    ("work-linked", "mv Work W; ln -s CANARY Work"),
    ("step-linked", "cd Work; mv 1 2; ln -s CANARY 1"),
    ("tools-linked", "mv Tools T; ln -s CANARY Tools"),
    ("own-tools-linked", "cd Tools; mv imglint i; ln -s CANARY imglint; mkdir payload; ln -s CANARY payload/x"),
    ("home-linked", "cd /; mv \"$TentacleHome\" /gone; ln -s CANARY \"$TentacleHome\""),
    ("files-linked", "cd Work/1; ln -s CANARY/precious variables.json; ln -s CANARY/precious artifact.txt; send"),
    ("setuid", "cp /bin/busybox Work/1/rootshell; chmod 4755 Work/1/rootshell; chmod 2777 . Work Work/1"),
    ("fifo", "busybox mkfifo Work/1/artifact.txt Work/1/variables.json Tools/payload; send"),
    ("device", "busybox mknod Work/1/artifact.txt c 1 5; busybox mount -t tmpfs none Work/1; send"),
    ("hard-link", "busybox ln -f \"$1\" Work/1/artifact.txt; rm -f Tools/imglint/*; send"),
    (
        "outlives",
        "for n in 1 2 3; do busybox setsid busybox sh -c 'trap \"\" TERM HUP; while :; do mv Work W; ln -sfn CANARY Work; done' & done",
    ),
];

fn is_attacked_in_vain(engine: &Engine, name: &str, attack: &str, more: &[&str]) {
    let canary = canary();
    let script = attack.replace("CANARY", &canary.path().display().to_string());
    let Some(image) = image(&format!("say shell:bash pass x\n{script}\nexit 42")) else { return };
    let archive = engine.load(&[(&image, &[&format!("imglint/hostile-{name}:1")])]);
    let before = state(canary.path());
    let temporary = tempfile::tempdir().unwrap();
    fs::set_permissions(temporary.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let mut command = engine.command(&["--set", "steps=bash,python", "--run-timeout", "60s"]);
    let run = Run::of(command.args(more).arg(&archive.given).env("TMPDIR", temporary.path()));
    let result = run.result();
    let what = format!("{}: {name}: {:#}", engine.name, result["run"]);
    assert_eq!(state(canary.path()), before, "{what}");
    assert_eq!(fs::read_dir(temporary.path()).unwrap().count(), 0, "nothing is written on this machine: {what}");
    assert_eq!(stage(&result, "shell:python3")["outcome"], "pass", "the next container has a home of its own: {what}");
    assert_ne!(stage(&result, "artifact")["outcome"], "pass", "{what}");
    assert_eq!(stage(&result, "cleanup")["outcome"], "pass", "{what}");
    engine.is_left_clean();
}

#[test]
fn nothing_of_one_container_reaches_the_host_or_the_next() {
    if let Some(engine) = Engine::docker() {
        for (name, attack) in ATTACKS {
            is_attacked_in_vain(&engine, name, attack, &[]);
        }
    }
    for engine in [Engine::podman(), Engine::rootless()].into_iter().flatten() {
        for (name, attack) in ATTACKS.into_iter().step_by(3) {
            is_attacked_in_vain(&engine, name, attack, &[]);
        }
    }
}

#[test]
fn neither_payload_nor_pod_opens_a_way_to_the_host() {
    let Some(engine) = Engine::docker() else { return };
    let payload = tempfile::tempdir().unwrap();
    let program = payload.path().join("Calamari");
    fs::write(&program, "#!/bin/busybox sh\n[ ! -L Tools/payload ] && [ ! -e Work/1/artifact.txt ]\n").unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let before = state(payload.path());
    let folder = payload.path().display().to_string();
    for name in ["work-renamed", "files-linked", "home-linked"] {
        let attack = ATTACKS.iter().find(|(known, _)| *known == name).unwrap().1;
        is_attacked_in_vain(&engine, name, attack, &["--payload", &folder]);
    }
    assert_eq!(state(payload.path()), before, "a payload is copied");
}

/// What an image may leave in place of its artifact, and what imglint says about it.
const ARTIFACTS: [(&str, &str, &str); 9] = [
    ("fifo", "busybox mkfifo artifact.txt", "a FIFO"),
    ("endless", "ln -s /dev/zero artifact.txt", "a symbolic link"),
    ("secret", "ln -s /etc/passwd artifact.txt", "a symbolic link"),
    ("folder", "mkdir -p artifact.txt/a; echo x > artifact.txt/a/b", "a folder"),
    ("sparse", "busybox truncate -s 500M artifact.txt", "more than the 1024 that are read"),
    ("long", "busybox dd if=/dev/zero of=artifact.txt bs=1M count=100 2>/dev/null", "more than the 1024 that are read"),
    ("gone", "true", "cannot be read"),
    ("other", "echo something else > artifact.txt", "something else"),
    ("two", "printf 'made by the step\\n' > x; mkdir artifact.txt; mv x artifact.txt/artifact.txt", "a folder"),
];

#[test]
fn an_artifact_is_a_small_plain_file_or_nothing() {
    for engine in Engine::all() {
        let step = if engine.name == "docker" { 1 } else { 4 };
        for (name, leaves, why) in ARTIFACTS.into_iter().step_by(step) {
            let Some(image) = image(&format!("cd Work/1\n{leaves}\nsay shell:bash pass x\nsend\nexit 42")) else {
                return;
            };
            let archive = engine.load(&[(&image, &[&format!("imglint/artifact-{name}:1")])]);
            let start = Instant::now();
            let result = engine.check(&["--run-timeout", "20s", &archive.given]).result();
            let artifact = stage(&result, "artifact");
            assert_eq!(artifact["outcome"], "fail", "{}: {name}: {artifact}", engine.name);
            assert!(artifact["output"].as_str().unwrap().contains(why), "{}: {name}: {artifact}", engine.name);
            assert!(start.elapsed() < Duration::from_secs(120), "it waits for nobody");
        }
        engine.is_left_clean();
    }
}

/// Makes a socket where the artifact should be.
const MAKES_A_SOCKET: &str = r###"
static long call(long number, long one, long two, long three) {
    long answer;
    __asm__ volatile("syscall" : "=a"(answer) : "a"(number), "D"(one), "S"(two), "d"(three) : "rcx", "r11", "memory");
    return answer;
}
static const struct { short family; char path[14]; } address = {1, "artifact.txt"};
void _start(void) {
    call(49, call(41, 1, 1, 0), (long)&address, 15);
    call(231, 0, 0, 0);
}
"###;

#[test]
fn a_socket_is_no_artifact() {
    if !cfg!(target_arch = "x86_64") {
        leave_out("a machine with x86-64, which the program is for");
        return;
    }
    let Some(program) = compiled(MAKES_A_SOCKET, &["-static"]) else { return };
    let script = "cd Work/1\n/socket\n[ -S artifact.txt ] && say shell:bash pass x\nsend\nexit 42";
    let Some(image) = image(script) else { return };
    let image = image.layer("COPY socket", &Tar::default().file("socket", 0o755, &program));
    for engine in [Engine::docker(), Engine::podman()].into_iter().flatten() {
        let archive = engine.load(&[(&image, &["imglint/artifact-socket:1"])]);
        let result = engine.check(&["--run-timeout", "20s", &archive.given]).result();
        assert_eq!(stage(&result, "shell:bash")["outcome"], "pass", "there is a socket: {:#}", result["run"]);
        assert_eq!(stage(&result, "artifact")["outcome"], "fail", "{}: {:#}", engine.name, result["run"]);
    }
}

#[test]
fn an_image_s_names_drop_no_limits() {
    let Some(engine) = Engine::docker() else { return };
    let Some(image) = image("say shell:bash pass x\nexit 42") else { return };
    let words = "rlimit cgroup cpu memory pids";
    for (name, image) in [
        ("user", image.clone().user(words)),
        (
            "volume",
            image.clone().field("config", json!({"Env": ["PATH=/bin"], "Volumes": {format!("/bin/bash/{words}"): {}}})),
        ),
    ] {
        let archive = engine.load(&[(&image, &[&format!("imglint/names-limits-{name}:1")])]);
        let result = engine.check(&[&archive.given]).result();
        let changed = result["run"]["changed"].to_string();
        assert!(!changed.contains("no limit on"), "{name}: {changed}");
        assert!(
            !result["run"]["stages"]
                .as_array()
                .unwrap()
                .iter()
                .any(|stage| stage["name"] == "shell:bash" && stage["outcome"] == "pass")
        );
    }
}

#[test]
fn a_good_artifact_is_read_back_by_every_engine() {
    let Some(image) =
        image("cd Work/1\nprintf 'made by the step\\n' > artifact.txt\nsay shell:bash pass x\nsend\nexit 42")
    else {
        return;
    };
    for engine in Engine::all() {
        let archive = engine.load(&[(&image, &["imglint/artifact:1"])]);
        let result = engine.check(&[&archive.given]).result();
        assert_eq!(stage(&result, "artifact")["outcome"], "pass", "{}: {:#}", engine.name, result["run"]);
        assert_eq!(stage(&result, "artifact")["observed"], false, "the image itself wrote it");
    }
}

/// Compiles a program or library for images, without a C library; `None` if there is no compiler.
fn compiled(source: &str, options: &[&str]) -> Option<Vec<u8>> {
    let folder = tempfile::tempdir().unwrap();
    let (code, made) = (folder.path().join("source.c"), folder.path().join("made"));
    fs::write(&code, source).unwrap();
    let mut compiler = Command::new("cc");
    let status = compiler.args(options).args(["-nostdlib", "-O1", "-o"]).arg(&made).arg(&code).status();
    if !status.is_ok_and(|status| status.success()) {
        leave_out("a C compiler");
        return None;
    }
    Some(fs::read(made).unwrap())
}

/// Ends a process with 0 and says that all stages passed.
const LIES: &str = r###"
static void call(long number, long one, const char *two, long three) {
    __asm__ volatile("syscall" : : "a"(number), "D"(one), "S"(two), "d"(three) : "rcx", "r11", "memory");
}
__attribute__((constructor)) void lies(void) {
    static const char text[] = "##imglint globalization pass forged\n##imglint cryptography pass forged\n";
    call(1, 1, text, sizeof text - 1);
    call(231, CODE, 0, 0);
}
void _start(void) { lies(); }
"###;

#[test]
fn what_an_image_says_about_itself_refutes_nothing() {
    if !cfg!(target_arch = "x86_64") {
        leave_out("a machine with x86-64, which the programs are for");
        return;
    }
    let Some(engine) = Engine::docker() else { return };
    let plain = || TestImage::like_this_machine(json!({"Env": ["PATH=/usr/bin:/bin"]})).unwrap();
    let says_all =
        "##imglint shell:bash pass x\\n##imglint globalization pass icu-000\\n##imglint cryptography pass ssl-000\\n";
    let blind = format!("printf '{says_all}'\nexit 42\n");
    // Bash shows a script that it is started for what it is to run.
    let reads = "args=(); while IFS= read -r -d '' word; do args+=(\"$word\"); done < /proc/$$/cmdline\n\
        while IFS= read -r line; do case $line in mark=*) mark=${line#mark=?}; mark=${mark%?};; esac; done < \"${args[1]}\"\n\
        for stage in shell:bash variables globalization cryptography; do echo \"$mark $stage pass icu-000\"; done\nexit 42\n";
    let with_rc = |text: &str| {
        plain().env("BASH_ENV=/evil.sh").layer("COPY evil.sh", &Tar::default().file("evil.sh", 0o644, text.as_bytes()))
    };
    let mut forgers = vec![("blind", with_rc(&blind)), ("reader", with_rc(reads))];
    for code in ["0", "42"] {
        let source = LIES.replace("CODE", code);
        let Some(library) = compiled(&source, &["-shared", "-fPIC"]) else { return };
        let Some(loader) = compiled(&source, &["-static-pie", "-fPIE"]) else { return };
        let tar = Tar::default().file("lies.so", 0o755, &library);
        let name = if code == "0" { "preload-0" } else { "preload-42" };
        forgers.push((name, plain().env("LD_PRELOAD=/lies.so").layer("COPY lies", &tar)));
        let name = if code == "0" { "audit-0" } else { "audit-42" };
        forgers.push((name, plain().env("LD_AUDIT=/lies.so").layer("COPY lies", &tar)));
        let tar = Tar::default().file("lib64/ld-linux-x86-64.so.2", 0o755, &loader);
        let name = if code == "0" { "loader-0" } else { "loader-42" };
        forgers.push((name, plain().layer("COPY lies", &tar)));
    }
    for (name, image) in forgers {
        let archive = engine.load(&[(&image, &[&format!("imglint/forger-{name}:1")])]);
        let arguments = ["--rule", "distribution-supported=off", archive.given.as_str()];
        let run = engine.check(&arguments[2..]);
        let result = run.result();
        let what = format!("{name}: {:#}", result["run"]);
        assert_eq!(run.code, 1, "{what}");
        // Of an image without a loader of glibc no library is looked for.
        for rule in ["icu-missing", "dotnet-library-missing"].iter().filter(|_| !name.starts_with("loader")) {
            assert!(rules(&result, "error", "fail").iter().any(|known| known == *rule), "{rule}: {what}");
        }
        let stages = result["run"]["stages"].as_array().unwrap();
        let passed: Vec<&str> = stages
            .iter()
            .filter(|stage| stage["outcome"] == "pass" && stage["observed"] == true)
            .filter_map(|stage| stage["name"].as_str())
            .collect();
        for stage in ["linker", "globalization", "cryptography"] {
            assert!(!passed.contains(&stage), "{stage}: {what}");
        }
    }
}

#[test]
fn a_container_that_fills_the_disk_is_stopped() {
    let fill = "say shell:bash pass x\nn=0; while [ $n -lt 40 ]; do n=$((n+1)); \
        busybox dd if=/dev/zero of=PLACE/$n bs=1M count=100 2>/dev/null; busybox sleep 0.1; done\nexit 42";
    for engine in Engine::all() {
        for (name, place) in [("layer", "/filled"), ("home", "Work/1"), ("volume", "/data")] {
            let Some(image) = image(&fill.replace("PLACE", place)) else { return };
            let folders = Tar::default().folder("filled").folder("data");
            let image = image.layer("RUN mkdir", &folders).field(
                "config",
                json!({"Env": ["PATH=/bin"], "Volumes": if name == "volume" { json!({"/data": {}}) } else { json!(null) }}),
            );
            let archive = engine.load(&[(&image, &[&format!("imglint/fills-{name}:1")])]);
            let result = engine.check(&["--run-timeout", "100s", &archive.given]).result();
            let bash = stage(&result, "shell:bash");
            assert_eq!(bash["outcome"], "unknown", "{}: {name}: {:#}", engine.name, result["run"]);
            assert!(
                bash["output"].as_str().unwrap().contains("wrote more than 1 GiB"),
                "{}: {name}: {bash}",
                engine.name
            );
        }
        engine.is_left_clean();
    }
}

#[test]
fn one_file_cannot_be_larger_than_its_limit() {
    let Some(image) = image(
        "say shell:bash pass x\nbusybox dd if=/dev/zero of=/large bs=1M count=600 2>/dev/null\nsize=$(busybox stat -c %s /large)\n\
         say variables fail \"$size\"\nexit 42",
    ) else {
        return;
    };
    // A user's Podman passes over limits on files.
    for engine in [Engine::docker(), Engine::podman()].into_iter().flatten() {
        let archive = engine.load(&[(&image, &["imglint/large:1"])]);
        let result = engine.check(&[&archive.given]).result();
        assert_eq!(
            stage(&result, "variables")["output"],
            json!((512 << 20).to_string()),
            "{}: {:#}",
            engine.name,
            result["run"]
        );
    }
}

#[test]
fn a_container_is_given_limits_and_nothing_of_the_host() {
    let Some(image) = image("say shell:bash pass x\nexec busybox sleep 20") else { return };
    for engine in Engine::all() {
        let archive = engine.load(&[(&image, &["imglint/inspected:1"])]);
        let child = engine.command(&["--run-timeout", "15s", &archive.given]).stdout(Stdio::piped()).spawn().unwrap();
        let start = Instant::now();
        let of_image = engine.docker_says(&["images", "-q", "--no-trunc", "imglint/inspected:1"]);
        let of_image = format!("ancestor={}", of_image.lines().next().unwrap().trim_start_matches("sha256:"));
        // Those before the script's end at once, perhaps while they are asked for.
        let seen = loop {
            let ids = engine.docker_says(&["ps", "-q", "--no-trunc", "--filter", &of_image]);
            let mut inspected = ids.lines().filter_map(|id| {
                let output = Command::new("docker").args(["-H", &engine.host, "inspect", id]).output().unwrap();
                serde_json::from_slice::<Value>(&output.stdout).ok()
            });
            let is_script = |seen: &Value| seen[0]["Config"]["Cmd"].to_string().contains("bootstrap.sh");
            if let Some(seen) = inspected.find(|seen| is_script(seen)) {
                break seen;
            }
            assert!(start.elapsed() < Duration::from_secs(60), "{}: no container is running: {ids}", engine.name);
            std::thread::sleep(Duration::from_millis(50));
        };
        let output = child.wait_with_output().unwrap();
        let (seen, host) = (&seen[0], &seen[0]["HostConfig"]);
        assert!(seen["Mounts"].as_array().is_none_or(Vec::is_empty), "{}: {}", engine.name, seen["Mounts"]);
        assert!(host["Binds"].as_array().is_none_or(Vec::is_empty), "{}: {}", engine.name, host["Binds"]);
        assert_eq!(host["NetworkMode"], "none", "{}", engine.name);
        assert_eq!(host["Privileged"], false, "{}", engine.name);
        if engine.name == "docker" {
            assert_eq!(seen["Config"]["Healthcheck"]["Test"], json!(["NONE"]));
        }
        let limits = host["Ulimits"].as_array().cloned().unwrap_or_default();
        let has =
            |name: &str| limits.iter().any(|limit| limit["Name"].as_str().unwrap().to_lowercase().ends_with(name));
        let result: Value = serde_json::from_slice(&output.stdout).unwrap();
        let changed = result["results"][0]["run"]["changed"].to_string();
        if engine.name == "rootless podman" {
            // It holds none where the kernel gives users none, and says nothing about it.
            assert!(changed.contains("the engine holds no limit on"), "{changed}");
        } else {
            assert!(has("core") && has("fsize"), "{}: {limits:?}", engine.name);
            assert_eq!((&host["Memory"], &host["PidsLimit"]), (&json!(2_i64 << 30), &json!(512)), "{}", engine.name);
            assert_eq!((&host["CpuPeriod"], &host["CpuQuota"]), (&json!(100_000), &json!(200_000)), "{}", engine.name);
            assert!(!changed.contains("the engine holds no limit on"), "{changed}");
        }
        engine.is_left_clean();
    }
}
