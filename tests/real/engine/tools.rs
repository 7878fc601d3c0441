//! What imglint says of every command on `PATH` is what a real container shows that is started as the target starts it.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use super::engines::save;
use super::tool_corpus;
use crate::support::image::TestImage;
use crate::support::{check, leave_out, real_part};

/// Commands that are asked for beside those that some step needs.
const OTHERS: [&str; 8] = ["ash", "dash", "java", "node", "npm", "apt-get", "ls", "env"];

/// What a container shows of one command: the file, if `PATH` has one, and whether it starts.
#[derive(Debug, Default)]
struct Shown {
    path: Option<String>,
    starts: bool,
}

fn docker(engine: &str, arguments: &[&str]) -> std::process::Output {
    Command::new("docker").args(["-H", engine]).args(arguments).output().unwrap()
}

/// Loads images into the engine, and gives the archive for imglint to read.
fn load(engine: &str, corpus: &[(String, TestImage)], folder: &Path) -> String {
    let archive = folder.join("corpus.tar");
    let tags: Vec<[&str; 1]> = corpus.iter().map(|(name, _)| [name.as_str()]).collect();
    let images: Vec<(&TestImage, &[&str])> =
        corpus.iter().zip(&tags).map(|((_, image), tags)| (image, &tags[..])).collect();
    save(&archive, &images);
    let loaded = docker(engine, &["load", "-i", archive.to_str().unwrap()]);
    assert!(loaded.status.success(), "{}", String::from_utf8_lossy(&loaded.stderr));
    archive.to_str().unwrap().to_owned()
}

/// What one call of imglint says of all these images of an archive.
pub fn results(archive: &str, names: &[&str], options: &[&str]) -> Vec<Value> {
    // As a layout, in which layers have digests, so one that several images have is read once.
    let given = names.iter().map(|name| format!("oci-archive:{archive}:{name}"));
    let arguments: Vec<String> = options.iter().map(|&option| option.to_owned()).chain(given).collect();
    let results = check(arguments).report()["results"].as_array().unwrap().clone();
    assert_eq!(results.len(), names.len());
    results
}

/// Asks a container, and a bash in it, if there is one, for all commands.
fn shown(engine: &str, image: &str, probe: &Path, tools: &[&str]) -> BTreeMap<String, Shown> {
    let mount = format!("{}:/probe:ro", probe.display());
    let start = ["run", "--rm", "--network", "none", "-v", &mount, "-w", "/step", "--entrypoint", "", image];
    // One container for both: the program ends as bash, where PATH has one.
    let question = format!("for name in {}; do echo \"$name $(command -v $name)\"; done", tools.join(" "));
    let run = docker(engine, &[&start[..], &["/probe/ask", &question], tools].concat());
    assert!(run.status.success(), "{image}: {}", String::from_utf8_lossy(&run.stderr));
    let output = String::from_utf8(run.stdout).unwrap();
    let (asked, of_bash) = output.split_once("--\n").unwrap();
    let mut shown = BTreeMap::new();
    for line in asked.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        let [name, path, starts] = words[..] else { panic!("{line}") };
        let path = (path != "-").then(|| path.replace("//", "/"));
        shown.insert(name.to_owned(), Shown { path, starts: starts == "1" });
    }
    for line in of_bash.lines() {
        let (name, path) = line.split_once(' ').unwrap();
        let own = &shown[name];
        // bash also names a file that may not be executed, where there is no other.
        let agrees = own.path.is_none() || own.path.as_deref() == Some(&path.replace("//", "/"));
        assert!(agrees, "{image}: command -v {name} says {path:?}, and the probe {own:?}");
    }
    shown
}

#[test]
fn commands_are_found_and_start_as_predicted() {
    let Some(engine) = real_part("a Docker engine", "IMGLINT_TEST_DOCKER_HOST") else { return };
    let images = real_part("images of Debian", "IMGLINT_TEST_IMAGES");
    let Some(corpus) = tool_corpus::images(images.as_deref().map(Path::new)) else {
        leave_out("a machine with glibc and bash, on x86-64 or arm64");
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    tool_corpus::probe(folder.path());
    let corpus: Vec<(String, TestImage)> =
        corpus.into_iter().map(|(name, image)| (format!("imglint/tools-{name}:1"), image)).collect();
    let archive = load(&engine, &corpus, folder.path());
    let steps = imglint::tables::steps::steps().unwrap();
    let mut tools: Vec<&str> = steps.commands().chain(OTHERS).collect();
    tools.sort_unstable();
    tools.dedup();

    let (mut compared, mut usable, mut wrong) = (0, 0, Vec::new());
    let names: Vec<&str> = corpus.iter().map(|(name, _)| name.as_str()).collect();
    for (name, result) in names.iter().zip(results(&archive, &names, &[])) {
        for (tool, shown) in shown(&engine, name, folder.path(), &tools) {
            let read = &result["facts"]["commands"][&tool];
            let state = read["state"].as_str().unwrap_or("missing");
            let path = read["place"]["path"].as_str().map(str::to_owned);
            let agrees = match (&shown.path, shown.starts) {
                // What relative entries of PATH mean depends on the work folder.
                (None, _) => matches!(state, "missing" | "unusable") || (state == "unknown" && name.contains("path-")),
                (Some(_), false) => state == "unusable",
                (Some(_), true) => state == "usable" && path == shown.path,
            };
            compared += 1;
            usable += usize::from(shown.starts);
            if !agrees {
                wrong.push(format!("{name} {tool}: {state} {path:?} {}, but {shown:?}", read["why"]));
            }
        }
        docker(&engine, &["rmi", "-f", name]);
    }
    println!("{} images, {compared} commands of which {usable} start, {} differ", corpus.len(), wrong.len());
    assert!(corpus.len() >= 25 && wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A script as a step gets it: its variable encrypted, and functions that put everything through openssl. `KEY`, `IV`
/// and `VALUE` are filled in by the side that encrypts.
const STEP: &str = r###"
key=KEY
to_base64() { printf %s "$1" | openssl enc -base64 -A; }
variable() { echo VALUE | openssl enc -a -A -d -aes-256-cbc -nosalt -K "$key" -iv IV; }
echo "mask:$(to_base64 "$key")"
value=$(variable)
echo "value:$value"
echo "##octopus[createArtifact path='$(to_base64 /step/report.txt)' name='$(to_base64 report.txt)']"
"###;

#[test]
fn without_openssl_a_step_is_green_and_its_variables_are_empty() {
    let Some(engine) = real_part("a Docker engine", "IMGLINT_TEST_DOCKER_HOST") else { return };
    let Some((with, without)) = tool_corpus::with_and_without_openssl() else {
        leave_out("a machine with glibc, bash and openssl");
        return;
    };
    let (key, iv, secret) = ("0123456789abcdef".repeat(4), "fedcba9876543210".repeat(2), "a secret value");
    let encrypt = format!("printf %s '{secret}' | openssl enc -aes-256-cbc -nosalt -K {key} -iv {iv} -a -A");
    let encrypted = Command::new("bash").args(["-c", &encrypt]).output().unwrap();
    let encrypted = String::from_utf8(encrypted.stdout).unwrap();
    let script = STEP.replace("KEY", &key).replace("IV", &iv).replace("VALUE", encrypted.trim());
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("step.sh"), script).unwrap();
    let corpus =
        [("imglint/tools-with-openssl:1".to_owned(), with), ("imglint/tools-without-openssl:1".to_owned(), without)];
    let archive = load(&engine, &corpus, folder.path());
    let mount = format!("{}:/step:ro", folder.path().display());
    let run = |name: &str| {
        let start = ["run", "--rm", "--network", "none", "-v", &mount, "-w", "/step", "--entrypoint", "", name];
        docker(&engine, &[&start[..], &["bash", "/step/step.sh"]].concat())
    };
    let failed = |name: &str| {
        let result = check(["--set", &corpus[0].1.worker(), &format!("docker-archive:{archive}:{name}")]).result();
        result["findings"].as_array().unwrap().iter().any(|finding| finding["rule"] == "openssl-command-missing")
    };

    let good = run(&corpus[0].0);
    let text = String::from_utf8(good.stdout).unwrap();
    assert!(good.status.success() && text.contains(&format!("value:{secret}\n")), "{text}");
    assert!(text.contains("path='L3N0ZXAvcmVwb3J0LnR4dA=='"), "{text}");
    assert!(!failed(&corpus[0].0));

    let silent = run(&corpus[1].0);
    let (text, errors) = (String::from_utf8(silent.stdout).unwrap(), String::from_utf8(silent.stderr).unwrap());
    println!("exit code {:?}\n{text}{errors}", silent.status.code());
    assert_eq!(silent.status.code(), Some(0), "the step is green");
    assert!(text.contains("mask:\nvalue:\n##octopus[createArtifact path='' name='']"), "{text}");
    assert!(errors.contains("openssl: command not found"), "{errors}");
    assert!(failed(&corpus[1].0));
    for (name, _) in &corpus {
        docker(&engine, &["rmi", "-f", name]);
    }
}

#[test]
fn node_that_nvm_installed_is_missing_in_a_step_and_the_fix_mends_it() {
    let Some(engine) = real_part("a Docker engine", "IMGLINT_TEST_DOCKER_HOST") else { return };
    let Some(images) = real_part("images of Debian", "IMGLINT_TEST_IMAGES") else { return };
    if !cfg!(target_arch = "x86_64") {
        leave_out("a machine with x86-64");
        return;
    }
    let image = tool_corpus::debian_with_nvm(Path::new(&images));
    let folder = tempfile::tempdir().unwrap();
    let corpus = [("imglint/tools-nvm-real:1".to_owned(), image.clone())];
    let archive = load(&engine, &corpus, folder.path());
    let start = |name: &str, words: &[&str]| {
        let start = ["run", "--rm", "--network", "none", "-w", "/step", "--entrypoint", "", name];
        docker(&engine, &[&start[..], words].concat())
    };
    let told = |output: std::process::Output| String::from_utf8(output.stdout).unwrap().trim().to_owned();
    // At a prompt it is there; in a step it is not.
    assert_eq!(told(start(&corpus[0].0, &["bash", "-ic", "node --version"])), "v18.19.0");
    assert!(!start(&corpus[0].0, &["bash", "-c", "node --version"]).status.success());

    let result = check([&format!("docker-archive:{archive}:{}", corpus[0].0)]).result();
    let findings = result["findings"].as_array().unwrap();
    let finding = findings.iter().find(|finding| finding["rule"] == "tool-off-path").unwrap();
    // The line that the target's documentation gives, with the version that is there.
    assert_eq!(finding["fix"], "ENV PATH=\"/root/.nvm/versions/node/v18.19.0/bin:$PATH\"");
    assert_eq!(finding["severity"], "warning");
    let statements: Vec<&str> =
        finding["evidence"].as_array().unwrap().iter().map(|said| said["statement"].as_str().unwrap()).collect();
    assert_eq!(
        statements[0],
        "node and npm (nvm, 18.19.0) are only in /root/.nvm/versions/node/v18.19.0/bin, which is not on PATH"
    );
    assert!(statements[1].starts_with("/root/.bashrc, line 2, puts it on PATH"), "{statements:?}");

    let fix = finding["fix"].as_str().unwrap();
    let added = fix.strip_prefix("ENV PATH=\"").unwrap().strip_suffix(":$PATH\"").unwrap();
    let mended = [("imglint/tools-nvm-real-mended:1".to_owned(), image.env(&format!("PATH={added}:/usr/bin:/bin")))];
    let archive = load(&engine, &mended, folder.path());
    assert_eq!(told(start(&mended[0].0, &["node", "--version"])), "v18.19.0");
    let result = check([&format!("docker-archive:{archive}:{}", mended[0].0)]).result();
    assert!(result["passed"].as_array().unwrap().iter().any(|rule| rule == "tool-off-path"), "{result}");
    for (name, _) in corpus.iter().chain(&mended) {
        docker(&engine, &["rmi", "-f", name]);
    }
}

#[test]
fn python_finds_the_module_where_it_is_said_to() {
    let Some(engine) = real_part("a Docker engine", "IMGLINT_TEST_DOCKER_HOST") else { return };
    let Some(images) = real_part("images of Debian", "IMGLINT_TEST_IMAGES") else { return };
    if !cfg!(target_arch = "x86_64") {
        leave_out("a machine with x86-64");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let corpus: Vec<(String, TestImage)> = tool_corpus::pythons(Path::new(&images))
        .into_iter()
        .map(|(name, image)| (format!("imglint/python-{name}:1"), image))
        .collect();
    let archive = load(&engine, &corpus, folder.path());
    let mut wrong = Vec::new();
    let names: Vec<&str> = corpus.iter().map(|(name, _)| name.as_str()).collect();
    for (name, result) in names.iter().zip(results(&archive, &names, &["--set", "steps=python"])) {
        let start = ["run", "--rm", "--network", "none", "-w", "/step", "--entrypoint", "", name];
        let code = "print('started')\nfrom Crypto.Cipher import AES";
        let run = docker(&engine, &[&start[..], &["python3", "-c", code]].concat());
        assert_eq!(run.stdout, b"started\n", "{name}");
        let imports = run.status.success();
        let passed = result["passed"].as_array().unwrap().iter().any(|rule| rule == "python-crypto-missing");
        if imports != passed {
            let said = &result["facts"]["steps"]["python"];
            wrong.push(format!("{name}: read {passed}, run {imports}: {said}"));
        }
        docker(&engine, &["rmi", "-f", name]);
    }
    println!("{} images with Python, {} differ", corpus.len(), wrong.len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
