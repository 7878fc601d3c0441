//! Images with tools in every place where they are installed, found, hidden and broken.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;

use super::releases::Release;
use crate::support::image::{Tar, TestImage, TestLayer};

const PATH: &str = "PATH=/usr/local/bin:/usr/bin:/bin";
const SCRIPT: &[u8] = b"#!/bin/sh\necho 1.0\n";

/// The lines that nvm's installer appends to .bashrc.
const NVM_LINES: &[u8] = br#"export NVM_DIR="$HOME/.nvm"
[ -s "$NVM_DIR/nvm.sh" ] && \. "$NVM_DIR/nvm.sh"  # This loads nvm
[ -s "$NVM_DIR/bash_completion" ] && \. "$NVM_DIR/bash_completion"  # This loads nvm bash_completion
"#;

/// Compiles the program that asks inside containers into a folder.
pub fn probe(folder: &Path) {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/ask.c");
    let status = Command::new("cc").args(["-static", "-O1", "-o"]).arg(folder.join("ask")).arg(source).status();
    assert!(
        status.is_ok_and(|status| status.success()),
        "a C compiler, which Rust needs to link, and a static C library"
    );
}

/// What Node is for the images: a program of this machine that starts.
fn program() -> Option<Vec<u8>> {
    fs::read("/bin/bash").ok()
}

/// nvm as its installer lays it out in a home folder, with one version of Node.
pub fn nvm(home: &str, node: &[u8]) -> Tar {
    let version = format!("{home}/.nvm/versions/node/v18.19.0");
    Tar::default()
        .file(&format!("{home}/.bashrc"), 0o644, NVM_LINES)
        .file(&format!("{home}/.nvm/nvm.sh"), 0o644, b"PATH=\"$NVM_DIR/versions/node/v18.19.0/bin:$PATH\"\n")
        .file(&format!("{home}/.nvm/alias/default"), 0o644, b"18\n")
        .file(&format!("{version}/bin/node"), 0o755, node)
        .link(&format!("{version}/bin/npm"), "../lib/node_modules/npm/bin/npm-cli.js")
        .file(&format!("{version}/lib/node_modules/npm/bin/npm-cli.js"), 0o755, b"#!/usr/bin/env node\n")
        .file(
            &format!("{version}/lib/node_modules/npm/package.json"),
            0o644,
            br#"{"name": "npm", "version": "10.2.3"}"#,
        )
}

/// The corpus. `debian` is the folder with images of Debian, where there are any.
pub fn images(debian: Option<&Path>) -> Option<Vec<(&'static str, TestImage)>> {
    let program = program()?;
    let mut foreign = program.clone();
    // e_machine: the other one of x86-64 and AArch64.
    foreign[18..20].copy_from_slice(&if cfg!(target_arch = "x86_64") { [183, 0] } else { [62, 0] });
    let base = |env: &str| TestImage::like_this_machine(json!({"Env": [env]})).unwrap();
    let with = |tar: Tar| base(PATH).layer("RUN change", &tar);
    let on = |env: &str, tar: Tar| base(env).layer("RUN change", &tar);
    let new = Tar::default;
    let env = |tar: Tar| tar.file("usr/bin/env", 0o755, &fs::read("/usr/bin/env").unwrap());
    let node = "/root/.nvm/versions/node/v18.19.0/bin";
    let passwd = b"root:x:0:0::/root:/bin/bash\napp:x:1000:1000::/home/app:/bin/bash\n";
    TestImage::like_this_machine(json!({}))?;
    let mut corpus = vec![
        ("plain", base(PATH)),
        ("nvm", with(env(nvm("root", &program)))),
        ("nvm-mended", on(&format!("PATH={node}:/usr/bin:/bin"), env(nvm("root", &program)))),
        ("nvm-mended-without-env", on(&format!("PATH={node}:/usr/bin:/bin"), nvm("root", &program))),
        ("nvm-of-a-user", with(env(nvm("home/app", &program)).file("etc/passwd", 0o644, passwd)).user("app")),
        (
            "pyenv",
            on(
                "PATH=/root/.pyenv/shims:/usr/bin:/bin",
                new()
                    .file("root/.pyenv/version", 0o644, b"3.11.4\n")
                    .file("root/.pyenv/versions/3.11.4/bin/python3", 0o755, &program)
                    .file("root/.pyenv/shims/python3", 0o755, b"#!/usr/bin/env bash\nexec /bin/bash \"$@\"\n"),
            ),
        ),
        (
            "sdkman",
            with(
                new()
                    .link("root/.sdkman/candidates/java/current", "17.0.2-tem")
                    .file("root/.sdkman/candidates/java/17.0.2-tem/bin/java", 0o755, &program)
                    .file("root/.sdkman/bin/sdkman-init.sh", 0o644, b"PATH=/root/.sdkman/candidates/java/current/bin:$PATH\n")
                    .file("root/.bashrc", 0o644, b"[[ -s \"$HOME/.sdkman/bin/sdkman-init.sh\" ]] && source \"$HOME/.sdkman/bin/sdkman-init.sh\"\n"),
            ),
        ),
        (
            "conda",
            on(
                "PATH=/opt/conda/bin:/usr/bin:/bin",
                new().link("opt/conda/bin/python3", "python3.11").file("opt/conda/bin/python3.11", 0o755, &program),
            ),
        ),
        ("cargo", with(new().file("root/.cargo/bin/helm", 0o755, &program).file("root/.cargo/env", 0o644, b"export PATH=\"$HOME/.cargo/bin:$PATH\"\n").file("root/.profile", 0o644, b". \"$HOME/.cargo/env\"\n"))),
        ("profile-d", with(new().file("usr/local/go/bin/terraform", 0o755, &program).file("etc/profile.d/go.sh", 0o644, b"export PATH=$PATH:/usr/local/go/bin\n"))),
        ("etc-environment", with(new().file("opt/k8s/bin/kubectl", 0o755, &program).file("etc/environment", 0o644, b"PATH=\"/usr/bin:/bin:/opt/k8s/bin\"\n"))),
        ("fish", with(new().file("root/.local/bin/az", 0o755, SCRIPT).file("root/.config/fish/config.fish", 0o644, b"fish_add_path ~/.local/bin\n"))),
        (
            "alternatives",
            with(
                new()
                    .link("usr/bin/java", "/etc/alternatives/java")
                    .link("etc/alternatives/java", "/usr/lib/jvm/java-17/bin/java")
                    .file("usr/lib/jvm/java-17/bin/java", 0o755, &program),
            ),
        ),
        ("alternatives-broken", with(new().link("usr/bin/java", "/etc/alternatives/java").link("etc/alternatives/java", "/usr/lib/jvm/gone/bin/java"))),
        ("link-broken", with(new().link("usr/local/bin/terraform", "/opt/terraform/1.5/terraform"))),
        ("interpreter-missing", with(new().file("usr/bin/az", 0o755, b"#!/opt/az/bin/python3\n").file("usr/bin/helm", 0o755, b"#!/bin/bash\n"))),
        ("env-missing", with(new().file("usr/bin/npm", 0o755, b"#!/usr/bin/env node\n"))),
        ("env-without-its-program", with(env(new()).file("usr/bin/npm", 0o755, b"#!/usr/bin/env node\n").file("usr/bin/az", 0o755, b"#!/usr/bin/env -S bash -e\n"))),
        ("other-processor", with(new().file("usr/bin/kubectl", 0o755, &foreign))),
        ("path-unset", TestImage::like_this_machine(json!({}))?.layer("RUN x", &new().file("usr/local/sbin/kubectl", 0o755, &program))),
        ("path-empty", on("PATH=", new().file("usr/bin/kubectl", 0o755, &program))),
        // Not in the work folder, which is mounted, so that an image cannot have anything there.
        ("path-relative", on("PATH=bin:./bin:/bin", new().file("opt/bin/kubectl", 0o755, &program))),
        ("path-through-links", on("PATH=/tools:/bin:/etc/os-release:/nowhere", new().link("tools", "opt/tools").file("opt/tools/helm", 0o755, &program))),
        ("first-is-not-executable", on("PATH=/a:/b:/bin", new().file("a/helm", 0o644, &program).file("b/helm", 0o755, &program))),
        ("first-is-foreign", on("PATH=/a:/b:/bin", new().file("a/helm", 0o755, &foreign).file("b/helm", 0o755, &program))),
        ("first-leads-nowhere", on("PATH=/a:/b:/bin", new().link("a/helm", "gone").file("b/helm", 0o755, &program))),
        ("first-is-a-folder", on("PATH=/a:/b:/bin", new().folder("a/helm").file("b/helm", 0o755, &program))),
        ("not-for-this-user", with(new().file("usr/bin/helm", 0o700, &program).file("usr/bin/az", 0o711, &program).file("etc/passwd", 0o644, passwd)).user("1000")),
        ("folder-not-for-this-user", on("PATH=/closed:/bin", new().folder_of("closed", 0o700, 0).file("closed/helm", 0o755, &program)).user("1000:1000")),
        ("owned-by-this-user", on("PATH=/own:/bin", new().folder_of("own", 0o700, 1000).file("own/helm", 0o755, &program)).user("1000:1000")),
        ("crlf", with(new().file("usr/bin/az", 0o755, b"#!/bin/bash\r\necho\r\n"))),
        ("blanks-after-the-marks", with(new().file("usr/bin/az", 0o755, b"#! \t /bin/bash \t -e  \ntrue\n"))),
        ("no-programs-at-all", with(new().file("usr/bin/az", 0o755, b"").file("usr/bin/helm", 0o755, b"echo hello\n"))),
        ("only-in-opt", with(new().file("opt/helm/bin/helm", 0o755, &program))),
        ("script-of-a-script", with(new().file("usr/bin/helm", 0o755, b"#!/usr/bin/az\n").file("usr/bin/az", 0o755, b"#!/bin/bash\n"))),
    ];
    if let Some((with, without)) = with_and_without_openssl() {
        corpus.extend([("openssl", with), ("no-openssl", without)]);
    }
    if let Some(image) = openssl_without_its_library() {
        corpus.push(("library-missing", image));
    }
    if let Some(busybox) = ["/bin/busybox", "/usr/bin/busybox"].iter().find_map(|path| fs::read(path).ok()) {
        let names = ["sh", "ash", "cat", "uname", "which", "xargs", "wc", "mktemp", "dirname", "basename", "hostname"];
        let tar = names
            .iter()
            .fold(new().file("bin/busybox", 0o755, &busybox), |tar, name| tar.link(&format!("bin/{name}"), "busybox"));
        corpus.push((
            "busybox",
            TestImage::new(json!({"Env": [PATH]})).field("architecture", architecture()).layer("COPY busybox", &tar),
        ));
    }
    if let Some(images) = debian.filter(|_| cfg!(target_arch = "x86_64")) {
        for (name, version) in [("debian-11", "11"), ("debian-12", "12"), ("debian-13", "13")] {
            corpus.push((name, Release::read(images, version).minimal()));
        }
        let tools = TestLayer::new(fs::read(images.join("tools-12.tar")).unwrap());
        corpus.push(("debian-12-with-tools", Release::read(images, "12").minimal().shared_layer("RUN tools", &tools)));
        corpus.push(("debian-12-with-nvm", debian_with_nvm(images)));
    }
    Some(corpus)
}

/// Debian's Python, with the module `Crypto` in one of the places where it may or may not be looked for.
pub fn pythons(images: &Path) -> Vec<(&'static str, TestImage)> {
    let tools = TestLayer::new(fs::read(images.join("tools-12.tar")).unwrap());
    let base = || Release::read(images, "12").minimal().shared_layer("RUN apt-get install python3", &tools);
    let with = |folder: &str| {
        let tar = ["__init__.py", "Cipher/__init__.py", "Cipher/AES.py"]
            .iter()
            .fold(Tar::default(), |tar, file| tar.file(&format!("{folder}/Crypto/{file}"), 0o644, b""));
        base().layer("RUN pip install pycryptodome", &tar)
    };
    let venv = Tar::default().link("opt/venv/bin/python3", "/usr/bin/python3.11").file(
        "opt/venv/pyvenv.cfg",
        0o644,
        b"home = /usr/bin\ninclude-system-site-packages = false\n",
    );
    let open = Tar::default().file("opt/venv/pyvenv.cfg", 0o644, b"home = /usr/bin\n");
    vec![
        ("nowhere", base()),
        ("dist-packages", with("usr/lib/python3/dist-packages")),
        ("local-dist-packages", with("usr/local/lib/python3.11/dist-packages")),
        ("local-site-packages", with("usr/local/lib/python3.11/site-packages")),
        ("site-packages", with("usr/lib/python3.11/site-packages")),
        ("other-release", with("usr/local/lib/python3.9/dist-packages")),
        ("of-the-user", with("root/.local/lib/python3.11/site-packages")),
        ("of-another-user", with("home/app/.local/lib/python3.11/site-packages")),
        ("python-path", with("srv/modules").env("PYTHONPATH=/srv/modules")),
        (
            "virtual-environment",
            with("opt/venv/lib/python3.11/site-packages")
                .layer("RUN venv", &venv)
                .env("PATH=/opt/venv/bin:/usr/bin:/bin"),
        ),
        (
            "outside-of-an-open-environment",
            with("usr/local/lib/python3.11/dist-packages")
                .layer("RUN venv", &venv)
                .layer("RUN open", &open)
                .env("PATH=/opt/venv/bin:/usr/bin:/bin"),
        ),
        (
            "outside-of-the-environment",
            with("usr/local/lib/python3.11/dist-packages")
                .layer("RUN venv", &venv)
                .env("PATH=/opt/venv/bin:/usr/bin:/bin"),
        ),
    ]
}

/// Debian with a real Node, as nvm installs it for root: a prompt finds it, and a step does not.
pub fn debian_with_nvm(images: &Path) -> TestImage {
    let release = Release::read(images, "12");
    let libraries = release.libraries(&["libstdc++", "libgcc_s"], "usr/lib/x86_64-linux-gnu");
    let node = TestLayer::new(fs::read(images.join("nvm.tar")).unwrap());
    let nvm = Tar::default().file("root/.bashrc", 0o644, NVM_LINES).file(
        "root/.nvm/nvm.sh",
        0o644,
        b"PATH=\"$NVM_DIR/versions/node/v18.19.0/bin:$PATH\"\n",
    );
    release
        .minimal()
        .layer("RUN apt-get install libstdc++6", &libraries)
        .shared_layer("RUN nvm install 18", &node)
        .layer("RUN install nvm", &nvm)
}

fn architecture() -> serde_json::Value {
    json!(if cfg!(target_arch = "x86_64") { "amd64" } else { "arm64" })
}

/// The libraries that a program of this machine is loaded with, by ldd(1).
fn libraries(program: &str) -> Vec<PathBuf> {
    let output = Command::new("ldd").arg(program).output().map(|output| output.stdout).unwrap_or_default();
    let text = String::from_utf8_lossy(&output).into_owned();
    text.lines().filter_map(|line| line.split("=> ").nth(1)?.split(' ').next().map(PathBuf::from)).collect()
}

fn openssl() -> Option<(TestImage, Vec<u8>)> {
    Some((TestImage::like_this_machine(json!({"Env": [PATH]}))?, fs::read("/usr/bin/openssl").ok()?))
}

/// An image with bash and this machine's openssl, and the same without openssl.
pub fn with_and_without_openssl() -> Option<(TestImage, TestImage)> {
    let (without, openssl) = openssl()?;
    let mut tar = Tar::default().file("usr/bin/openssl", 0o755, &openssl);
    for library in libraries("/usr/bin/openssl") {
        let name = library.file_name()?.to_str()?.to_owned();
        if !name.starts_with("libc.so") {
            tar = tar.file(
                &format!("usr/lib/{}-linux-gnu/{name}", std::env::consts::ARCH),
                0o755,
                &fs::read(&library).ok()?,
            );
        }
    }
    // The image's own libc lies in /lib.
    Some((without.clone().layer("RUN install openssl", &tar), without))
}

/// An image with this machine's openssl and none of its libraries.
fn openssl_without_its_library() -> Option<TestImage> {
    let (image, openssl) = openssl()?;
    Some(image.layer("COPY openssl", &Tar::default().file("usr/bin/openssl", 0o755, &openssl)))
}
