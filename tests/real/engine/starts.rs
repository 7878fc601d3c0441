//! Which users, groups, variables and volumes an engine starts containers with, and which scripts a real bash runs, is what
//! imglint reads in the same images.

use std::fs;
use std::process::Command;

use serde_json::{Value, json};

use super::engines::save;
use super::tools::results;
use crate::support::image::{Tar, TestImage};
use crate::support::{leave_out, real_part};

const PASSWD: &[u8] =
    b"root:x:0:0:root:/root:/bin/sh\napp:x:1000:1000::/home/app:/bin/sh\nbig:x:4294967294:1::/:/bin/sh\n\
bad\nodd:x:abc:def::/odd:/bin/sh\nneg:x:-5:0::/:\n  blank:x:77:88::/h:\r\ntwice:x:5:5::/:\ntwice:x:6:6::/:\n";
const GROUP: &[u8] =
    b"root:x:0:\napp:x:1000:\ntools:x:2000:app,x\nmore:x:2001:x,app\nroots:x:7:root\nbadg\nneg:x:-1:\n";

const USERS: &[&str] = &[
    "",
    ":",
    "root",
    "app",
    "app:app",
    "app:tools",
    "app:0",
    "1000",
    "1000:",
    "1000:tools",
    "+1000",
    "01000",
    "1234",
    "1234:badg",
    "12345:23456",
    ":tools",
    "app:tools:x",
    "2147483647",
    "big",
    "4294967294",
    "odd",
    "bad",
    "blank",
    "twice",
    "nobody-here",
    "root:nogroup-here",
    " app",
    "app ",
    "neg",
    "-5",
    "-6",
    "2147483648",
    "4294967295",
    "99999999999999999999",
    "0x10",
    "app:neg",
    "app:99999999999",
    ":99999999999",
];

const VARIABLES: &[&str] = &["=x", "", "FOO", "A=b\0c", "A\0=b", "A B=1", "1=2", "A=\n", "é=1", "HOME=", "A=1"];

const VOLUMES: &[&str] = &[
    "/",
    "/.",
    "//",
    "/x/..",
    "/../..",
    "./",
    "x",
    "bin",
    "/data",
    "/data:ro",
    "/new/folder",
    "/dangling",
    "/file",
    "/link",
    "/file/x",
    "/root-link",
    "/loop",
    "/etc",
    "/etc/hosts",
    "/etc/resolv.conf",
    "/.dockerenv",
    "/etc/passwd",
    "/proc",
    "/proc/x",
    "/proc/self",
    "/proc/cpuinfo",
    "/sys",
    "/sys/fs/cgroup",
    "/dev",
    "/dev/null",
    "/dev/ptmx",
    "/dev/shm",
    "/dev/x",
    "/tmp",
];

/// What follows `#!` in scripts, each of which only ends well.
const LINES: &[&str] = &[
    "/bin/bash",
    "/bin/bash -e",
    "/bin/bash -eu",
    "/bin/bash -e -u",
    "/bin/bash -e\r",
    "/bin/bash\r",
    "/bin/bash -",
    "/bin/bash --",
    "/bin/bash --login",
    "/bin/bash --norc -e",
    "/bin/bash --posix",
    "/bin/bash -posix",
    "/bin/bash --foo",
    "/bin/bash -c",
    "/bin/bash -o",
    "/bin/bash -O",
    "/bin/bash -i",
    "/bin/bash -n",
    "/bin/bash -r",
    "/bin/bash -p",
    "/bin/bash x",
    "/bin/bash -eo pipefail",
    "/bin/bash -w",
    "/bin/bash -q",
    "/bin/bash -T",
    "/bin/sh",
    "/bin/sh -e",
    "/bin/sh -e -x",
    "/bin/sh -e\r",
    "/bin/sh\r",
    "/usr/bin/env bash",
    "/usr/bin/env bash\r",
    "/usr/bin/env bash -e",
    "/usr/bin/env -e bash",
    "/usr/bin/env -S bash",
    "/usr/bin/env -S bash -e",
    "/usr/bin/env -S bash -e -u",
    "/usr/bin/env -S bash\r",
    "/usr/bin/env -Sbash",
    "/usr/bin/env -iS bash",
    "/usr/bin/env -S -i PATH=/bin bash",
    "/usr/bin/env -S -u PATH bash",
    "/usr/bin/env -S -u FOO bash",
    "/usr/bin/env -S -u bash no-such-thing",
    "/usr/bin/env -S PATH=/nowhere bash",
    "/usr/bin/env -S PATH=/bin bash",
    "/usr/bin/env -S A=1 bash",
    "/usr/bin/env -0",
    "/usr/bin/env -C /",
    "/usr/bin/env -S -C / bash",
    "/usr/bin/env -S -C /nowhere bash",
    "/usr/bin/env -S --chdir=/ bash",
    "/usr/bin/env --split-string=bash",
    "/usr/bin/env --sp=bash",
    "/usr/bin/env --foo",
    "/usr/bin/env -S \"bash\" -e",
    "/usr/bin/env -S 'bash' -e",
    "/usr/bin/env -S b\"as\"h",
    "/usr/bin/env -S 'bash",
    "/usr/bin/env -S bash\\_-e",
    "/usr/bin/env -S bash\\q",
    "/usr/bin/env -S bash \\c foo",
    "/usr/bin/env -S bash # foo",
    "/usr/bin/env -S ${SHX}",
    "/usr/bin/env -S ${NONE} bash",
    "/usr/bin/env -S $SHX",
    "/usr/bin/env /bin/bash",
    "/usr/bin/env /bin/nope",
    "/usr/bin/env nope",
    "/usr/bin/env -S -- bash",
    "/usr/bin/env -S --unset=PATH bash",
    "/usr/bin/env -S --debug bash",
    "",
    "   ",
    " /bin/bash ",
    " \t/bin/bash \t-e\t ",
    "/bin/bash/",
    "/bin",
    "/nope",
    "/etc/passwd",
    "/usr/../bin/bash",
    "//bin/bash",
    "/usr/bin/env",
];

struct Engine {
    host: String,
    folder: tempfile::TempDir,
}

impl Engine {
    fn docker(&self, arguments: &[&str]) -> std::process::Output {
        Command::new("docker").args(["-H", &self.host]).args(arguments).output().unwrap()
    }

    /// Loads images, and gives what imglint says of each.
    fn load(&self, corpus: &[(String, TestImage)]) -> Vec<Value> {
        let archive = self.folder.path().join("corpus.tar");
        let tags: Vec<[&str; 1]> = corpus.iter().map(|(name, _)| [name.as_str()]).collect();
        let images: Vec<(&TestImage, &[&str])> =
            corpus.iter().zip(&tags).map(|((_, image), tags)| (image, &tags[..])).collect();
        save(&archive, &images);
        let loaded = self.docker(&["load", "-i", archive.to_str().unwrap()]);
        assert!(loaded.status.success(), "{}", String::from_utf8_lossy(&loaded.stderr));
        let names: Vec<&str> = corpus.iter().map(|(name, _)| name.as_str()).collect();
        results(archive.to_str().unwrap(), &names, &[])
    }

    fn run(&self, name: &str, words: &[&str]) -> (bool, String) {
        let start = ["run", "--rm", "--network", "none", "-w", "/step", "--entrypoint", "", name];
        let run = self.docker(&[&start[..], words].concat());
        (run.status.success(), String::from_utf8_lossy(&run.stdout).trim().to_owned())
    }
}

fn engine() -> Option<Engine> {
    let host = real_part("a Docker engine", "IMGLINT_TEST_DOCKER_HOST")?;
    Some(Engine { host, folder: tempfile::tempdir().unwrap() })
}

fn base() -> Option<TestImage> {
    let tar = Tar::default()
        .file("etc/passwd", 0o644, PASSWD)
        .file("etc/group", 0o644, GROUP)
        .file("file", 0o644, b"x")
        .folder("data")
        .link("link", "/file")
        .link("root-link", "/")
        .link("loop", "/loop")
        .link("dangling", "/gone");
    Some(TestImage::like_this_machine(json!({"Env": ["PATH=/usr/bin:/bin"]}))?.layer("COPY files", &tar))
}

#[test]
fn containers_start_or_do_not_as_predicted() {
    let Some(engine) = engine() else { return };
    let Some(base) = base() else {
        leave_out("a machine with glibc and bash, on x86-64 or arm64");
        return;
    };
    let mut images: Vec<(String, TestImage)> = Vec::new();
    images.extend(USERS.iter().map(|user| (format!("user {user:?}"), base.clone().user(user))));
    images.extend(VARIABLES.iter().map(|entry| (format!("variable {entry:?}"), base.clone().env(entry))));
    for volume in VOLUMES {
        let config = json!({"Env": ["PATH=/usr/bin:/bin"], "Volumes": {*volume: {}}});
        images.push((format!("volume {volume:?}"), base.clone().field("config", config)));
    }
    for path in ["etc/hosts", "etc/hostname", "etc/resolv.conf", "etc/mtab"] {
        let folder = base.clone().layer("RUN mkdir", &Tar::default().folder(path));
        images.push((format!("folder {path}"), folder));
    }
    let corpus: Vec<(String, TestImage)> = images
        .iter()
        .enumerate()
        .map(|(number, (_, image))| (format!("imglint/starts-{number}:1"), image.clone()))
        .collect();
    let (mut wrong, mut refused) = (Vec::new(), 0);
    for (((name, _), (what, _)), result) in corpus.iter().zip(&images).zip(engine.load(&corpus)) {
        let (starts, shown) = engine.run(name, &["bash", "-c", "echo $UID ${GROUPS[@]}"]);
        let findings = result["findings"].as_array().unwrap();
        let is_refused = findings.iter().any(|finding| finding["rule"] == "container-does-not-start");
        refused += usize::from(!starts);
        if starts == is_refused {
            wrong.push(format!("{what}: starts {starts}, and {findings:?}"));
        }
        if starts {
            let user = &result["facts"]["user"];
            let mut read = vec![user["uid"].to_string(), user["gid"].to_string()];
            read.extend(user["groups"].as_array().into_iter().flatten().map(Value::to_string));
            if read.join(" ") != shown {
                wrong.push(format!("{what}: read {read:?}, shown {shown:?}"));
            }
        }
        engine.docker(&["rmi", "-f", name]);
    }
    println!("{} images, {refused} of which no container starts, {} differ", images.len(), wrong.len());
    assert!(images.len() > 80 && wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Scripts and other files that are commands: name, mode, content, and the owner's group.
fn commands() -> Option<Vec<(String, u32, Vec<u8>)>> {
    let bash = fs::read("/bin/bash").ok()?;
    let mut found: Vec<(String, u32, Vec<u8>)> = Vec::new();
    for (number, line) in LINES.iter().enumerate() {
        found.push((format!("line{number:03}"), 0o755, format!("#!{line}\nexit 0\n").into_bytes()));
    }
    // Each is the interpreter of the next.
    for depth in 1..=8 {
        let inner = if depth == 1 { "/bin/bash".to_owned() } else { format!("/tools/deep{}", 9 - (depth - 1)) };
        found.push((format!("deep{}", 9 - depth), 0o755, format!("#!{inner}\nexit 0\n").into_bytes()));
    }
    for (name, mode, content) in [
        ("text", 0o755, &b"exit 0\n"[..]),
        ("empty", 0o755, b""),
        ("mark", 0o755, b"\xef\xbb\xbf#!/bin/bash\nexit 0\n"),
        ("binary", 0o755, b"\0\x01\x02abc\n"),
        ("packed", 0o755, b"\x1f\x8b\x08\0\0\0\0"),
        ("zeros-behind", 0o755, b"exit 0\n\0\0\0"),
        ("not-executable", 0o644, b"#!/bin/bash\n"),
        ("without-newline", 0o755, b"#!/bin/bash"),
        ("zero-in-line", 0o755, b"#!/bin/bash\0x\nexit 0\n"),
    ] {
        found.push((name.to_owned(), mode, content.to_vec()));
    }
    for mode in [0o755, 0o711, 0o700, 0o705, 0o750, 0o055, 0o501] {
        found.push((format!("script{mode:o}"), mode, b"#!/bin/bash\nexit 0\n".to_vec()));
        found.push((format!("text{mode:o}"), mode, b"exit 0\n".to_vec()));
        found.push((format!("program{mode:o}"), mode, bash.clone()));
    }
    for size in [20, 64, 100, 1000, 4096, 100_000, 600_000, 1_000_000] {
        found.push((format!("cut{size}"), 0o755, bash[..size.min(bash.len())].to_vec()));
    }
    for (name, at, value) in [
        ("object", 16, &[1, 0][..]),
        ("core", 16, &[4, 0]),
        ("no-type", 16, &[0, 0]),
        ("no-segments", 56, &[0, 0]),
        ("wrong-segments", 54, &[32, 0]),
        ("no-entry", 24, &[0; 8]),
        ("far-segments", 32, &[255, 255, 255, 0]),
        ("section-table", 40, &[255; 8]),
        ("of-another-system", 7, &[9]),
    ] {
        let mut edited = bash.clone();
        edited[at..at + value.len()].copy_from_slice(value);
        found.push((name.to_owned(), 0o755, edited));
    }
    Some(found)
}

#[test]
fn bash_runs_the_commands_that_are_predicted() {
    let Some(engine) = engine() else { return };
    let (Some(base), Some(commands), Ok(env)) = (base(), commands(), fs::read("/usr/bin/env")) else {
        leave_out("a machine with glibc, bash and env, on x86-64 or arm64");
        return;
    };
    let tar = commands.iter().fold(Tar::default().file("usr/bin/env", 0o755, &env), |tar, (name, mode, content)| {
        tar.file(&format!("tools/{name}"), *mode, content)
    });
    let closed = Tar::default()
        .folder_of("closed", 0o700, 0)
        .link("closed/bash", "/bin/bash")
        .link("closed/out", "/opt/out")
        .file("opt/out", 0o755, b"#!/bin/bash\nexit 0\n")
        .link("tools/through", "/closed/out")
        .link("tools/by-dots", "/closed/../opt/out")
        .file("tools/interpreted", 0o755, b"#!/closed/bash\nexit 0\n");
    let image =
        base.layer("COPY tools", &tar).layer("RUN close", &closed).env("PATH=/tools:/usr/bin:/bin").env("SHX=bash");
    let mut names: Vec<&str> = commands.iter().map(|(name, ..)| name.as_str()).collect();
    names.extend(["through", "by-dots", "interpreted"]);
    // What starts itself for ever ends by the limit on its time.
    let asked = format!(
        "for n in {}; do ( ulimit -t 1; bash -c $n </dev/null >/dev/null 2>&1 ); echo \"$n $?\"; done 2>/dev/null",
        names.join(" ")
    );
    let (mut wrong, mut compared, mut unknown) = (Vec::new(), 0, Vec::new());
    let corpus: Vec<(String, TestImage)> = ["", "app", "1234"]
        .iter()
        .map(|user| (format!("imglint/commands-{user}x:1"), image.clone().user(user)))
        .collect();
    for ((name, _), result) in corpus.iter().zip(engine.load(&corpus)) {
        let (_, shown) = engine.run(name, &["bash", "-c", &asked]);
        assert_eq!(shown.lines().count(), names.len(), "{shown}");
        for line in shown.lines() {
            let (command, code) = line.split_once(' ').unwrap();
            let read = &result["facts"]["commands"][command];
            let view = if read["in_bash"].is_null() { read } else { &read["in_bash"] };
            let state = view["state"].as_str().unwrap_or("missing");
            compared += 1;
            if state == "unknown" {
                unknown.push(command.to_owned());
            } else if (state == "usable") != (code == "0") {
                wrong.push(format!("{name} {command}: {state} {}, and bash says {code}", view["why"]));
            }
        }
        engine.docker(&["rmi", "-f", name]);
    }
    unknown.dedup();
    println!("{compared} commands, {} differ; not known: {}", wrong.len(), unknown.join(" "));
    assert!(compared > 400 && wrong.is_empty(), "{}", wrong.join("\n"));
}
