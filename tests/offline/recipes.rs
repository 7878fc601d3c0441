//! The ways into CI keep what others set apart from what they do: names of images, files, and what is kept.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use crate::support;
use serde_json::Value;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn passes(command: &mut Command) {
    let output = command.output().unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?}: {said}");
}

fn json(path: &str) -> Value {
    serde_json::from_slice(&fs::read(root().join(path)).unwrap()).unwrap()
}

/// The lines of a block of YAML that follows the line `start`, without their indentation.
fn block(text: &str, start: &str) -> String {
    let mut lines = text.lines().skip_while(|line| line.trim() != start).skip(1).peekable();
    let indent = |line: &str| line.len() - line.trim_start().len();
    let own = lines.peek().map_or(0, |line| indent(line));
    let taken = lines.take_while(|line| line.trim().is_empty() || (own > 0 && indent(line) >= own));
    taken.map(|line| format!("{}\n", line.get(own..).unwrap_or_default())).collect()
}

/// The script of the action's step of this name.
fn action_script(step: &str) -> String {
    let action = fs::read_to_string(root().join("action.yml")).unwrap();
    let (_, rest) = action.split_once(&format!("- name: {step}\n")).unwrap();
    block(rest, "run: |")
}

/// The part of a recipe that checks images, as a script for bash. Names of images are in `IMAGES`, or, where the recipe
/// checks what it built, in `TAG`.
fn recipe(name: &str) -> String {
    let file = |path: &str| fs::read_to_string(root().join(path)).unwrap();
    match name {
        "action" => action_script("Check the images"),
        "gitlab" => {
            let script = block(&file("integrations/gitlab-ci.yml"), "script:");
            script.lines().map(|line| format!("{}\n", line.strip_prefix("- ").unwrap_or(line))).collect()
        }
        "azure" => {
            let script = block(&file("integrations/azure-pipelines.yml"), "- bash: |");
            format!("export BUILD_BUILDID=$TAG BUILD_STAGINGDIRECTORY=. PIPELINE_WORKSPACE=$HOME/azure\n{script}")
        }
        "jenkins" => {
            let pipeline = file("integrations/Jenkinsfile");
            let line = pipeline.lines().find(|line| line.contains("imglint check")).unwrap();
            let script = line.split('\'').nth(1).unwrap();
            format!("export BUILD_NUMBER=$TAG\n{script}\n")
        }
        "octopus" => {
            let template = json("integrations/octopus-step-template.json");
            let body = template["Properties"]["Octopus.Action.Script.ScriptBody"].as_str().unwrap();
            let functions = "get_octopusvariable() {\n\
                case $1 in Imglint.Images) printf %s \"$IMAGES\" ;; Imglint.FailOn) printf error ;; esac\n\
                }\n\
                new_octopusartifact() { :; }\n";
            format!("{functions}{body}")
        }
        other => panic!("no recipe {other}"),
    }
}

const RECIPES: [&str; 5] = ["action", "gitlab", "azure", "jenkins", "octopus"];

/// Runs a recipe in `folder` with the built program; `images` are what somebody else may set.
fn run_recipe(name: &str, folder: &Path, images: &str) -> Output {
    let built = Path::new(env!("CARGO_BIN_EXE_imglint"));
    let home = folder.join("home");
    for place in [".imglint/bin", "azure/imglint/bin"] {
        fs::create_dir_all(home.join(place)).unwrap();
        let _ = std::os::unix::fs::symlink(built, home.join(place).join("imglint"));
    }
    let path = format!("{}:{}", built.parent().unwrap().display(), std::env::var("PATH").unwrap());
    let mut command = support::program();
    let set: Vec<(String, String)> =
        command.get_envs().filter_map(|(key, value)| Some((text(key), text(value?)))).collect();
    command = Command::new("bash");
    for name in ["FROM", "CONFIG", "FAIL_ON", "SARIF", "HTML", "ARGUMENTS", "GITHUB_STEP_SUMMARY", "DOCKER_HOST"] {
        command.env(name, "");
    }
    command.args(["--noprofile", "--norc", "-eo", "pipefail", "-c", &recipe(name)]).envs(set);
    command.env("PATH", path).env("HOME", home).env("IMAGES", images).env("TAG", images).current_dir(folder);
    command.stdin(std::process::Stdio::null()).output().unwrap()
}

fn text(value: &std::ffi::OsStr) -> String {
    value.to_str().unwrap().to_owned()
}

#[test]
fn names_of_images_never_become_options_or_patterns() {
    let hello = root().join("fixtures/hello");
    for recipe in RECIPES {
        for hostile in [
            "--fail-on=never",
            "oci:x --report=json=precious --fail-on=never",
            "X --report=text=precious --no-config",
            "-- --report=json=precious",
            "*",
            "p* --fail-on never",
            "-q",
            "--version",
            "--help",
            "X\n--report=json=precious",
            "$(touch precious2) `touch precious2`",
            "\";touch precious2;\"",
        ] {
            let folder = tempfile::tempdir().unwrap();
            fs::write(folder.path().join("precious"), "precious").unwrap();
            // What a pattern would become.
            fs::write(folder.path().join("--fail-on=never"), "").unwrap();
            let images = hostile.replace("oci:x", &hello.display().to_string());
            let output = run_recipe(recipe, folder.path(), &images);
            assert_eq!(output.status.code(), Some(2), "{recipe} {hostile:?}: {output:?}");
            assert_eq!(fs::read_to_string(folder.path().join("precious")).unwrap(), "precious", "{recipe} {hostile:?}");
            assert!(!folder.path().join("precious2").exists(), "{recipe} {hostile:?}");
        }
    }
}

#[test]
fn recipes_hand_on_the_exit_code_of_the_check() {
    let hello = root().join("fixtures/hello").display().to_string();
    for recipe in ["action", "gitlab", "octopus"] {
        let folder = tempfile::tempdir().unwrap();
        let output = run_recipe(recipe, folder.path(), &hello);
        assert_eq!(output.status.code(), Some(1), "{recipe}: {output:?}");
        let two = format!("{hello}\n  {hello}");
        assert_eq!(run_recipe(recipe, folder.path(), &two).status.code(), Some(1), "{recipe}");
    }
}

#[test]
fn a_compose_file_of_any_name_is_a_file() {
    let hooks = fs::read_to_string(root().join(".pre-commit-hooks.yaml")).unwrap();
    let entry = hooks.lines().find_map(|line| line.trim().strip_prefix("entry: sh -c ")).unwrap();
    let (script, rest) = entry.strip_prefix('\'').unwrap().split_once('\'').unwrap();
    assert_eq!(rest.trim(), "--");
    let folder = tempfile::tempdir().unwrap();
    let names = ["-q/compose.yaml", "--fail-on=never/compose.yaml", "a b/compose.yaml", "*/compose.yaml"];
    for name in names {
        let file = folder.path().join(name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, "services: { a: { image: \"localhost:1/none:1\" } }\n").unwrap();
    }
    let path = format!(
        "{}:{}",
        Path::new(env!("CARGO_BIN_EXE_imglint")).parent().unwrap().display(),
        std::env::var("PATH").unwrap()
    );
    for files in names.iter().map(std::slice::from_ref).chain([&names[..]]) {
        let mut command = Command::new("sh");
        command.args(["-c", script, "--"]).args(files).env("PATH", &path).env("IMGLINT_NO_CACHE", "true");
        let output = command.env("HOME", folder.path()).current_dir(folder.path()).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{files:?}: {said}");
        assert!(said.contains("localhost:1/none:1") && !said.contains("--from"), "{files:?}: {said}");
    }
}

#[test]
fn the_action_builds_anew_what_changed() {
    let script = action_script("Name what the program is built from");
    let source = tempfile::tempdir().unwrap();
    let write = |name: &str, content: &str| {
        let file = source.path().join(name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, content).unwrap();
    };
    for name in ["Cargo.toml", "Cargo.lock", "src/main.rs", "src/a b.rs", "rules/x.toml"] {
        write(name, "1");
    }
    let digest = |reference: &str| {
        let output = source.path().join("output");
        fs::write(&output, "").unwrap();
        let mut command = Command::new("bash");
        command.args(["--noprofile", "--norc", "-eo", "pipefail", "-c", &script]);
        command.env("SOURCE", source.path()).env("REF", reference).env("GITHUB_OUTPUT", &output);
        passes(&mut command);
        let text = fs::read_to_string(&output).unwrap();
        let digest = text.strip_prefix("digest=").unwrap().trim().to_owned();
        assert_eq!(digest.len(), 64, "{text}");
        digest
    };
    let first = digest("v1");
    assert_eq!(digest("v1"), first);
    let mut seen = vec![first, digest("v2")];
    for name in ["Cargo.toml", "Cargo.lock", "src/main.rs", "src/a b.rs", "rules/x.toml", "src/new.rs"] {
        write(name, "2");
        seen.push(digest("v1"));
    }
    fs::rename(source.path().join("src/new.rs"), source.path().join("src/other.rs")).unwrap();
    seen.push(digest("v1"));
    let different: std::collections::BTreeSet<&String> = seen.iter().collect();
    assert_eq!(different.len(), seen.len(), "{seen:?}");
    let action = fs::read_to_string(root().join("action.yml")).unwrap();
    let key = action.lines().find(|line| line.trim().starts_with("key: ")).unwrap();
    assert!(key.contains("${{ steps.source.outputs.digest }}"), "{key}");
    assert!(!action.contains("hashFiles("), "it sees nothing of an action");
}

#[test]
fn nothing_is_expanded_into_a_script() {
    for file in ["action.yml", "integrations/github-workflow.yml", "integrations/azure-pipelines.yml"] {
        let text = fs::read_to_string(root().join(file)).unwrap();
        let mut script: Option<usize> = None;
        for (number, line) in text.lines().enumerate() {
            let indent = line.len() - line.trim_start().len();
            let key = line.trim_start().trim_start_matches("- ");
            if script.is_some_and(|own| indent <= own && !line.trim().is_empty()) {
                script = None;
            }
            if ["run:", "bash:", "script:", "pwsh:", "powershell:"].iter().any(|start| key.starts_with(start)) {
                script = Some(indent);
            }
            let is_expanded = line.contains("${{") || (file.contains("azure") && line.contains("$("));
            assert!(!(script.is_some() && is_expanded), "{file}:{}: {line}", number + 1);
        }
    }
}

#[test]
fn what_others_make_is_named_by_its_commit_or_version() {
    for file in ["action.yml", "integrations/github-workflow.yml"] {
        let text = fs::read_to_string(root().join(file)).unwrap();
        for line in text.lines().filter(|line| line.contains("uses: ")) {
            let (_, named) = line.split_once("uses: ").unwrap();
            if named.starts_with("OWNER/imglint@COMMIT") {
                continue;
            }
            let (commit, version) = named.split_once('@').unwrap().1.split_once(" # v").unwrap();
            assert!(commit.len() == 40 && commit.bytes().all(|byte| byte.is_ascii_hexdigit()), "{file}: {line}");
            assert!(version.split('.').count() == 3, "{file}: {line}");
        }
    }
    let azure = fs::read_to_string(root().join("integrations/azure-pipelines.yml")).unwrap();
    assert!(azure.contains(&format!("IMGLINT_VERSION: {}\n", env!("CARGO_PKG_VERSION"))));
    assert!(azure.contains("| \"$(IMGLINT_VERSION)\"") && azure.contains("imglint@$IMGLINT_VERSION"));
}

#[test]
fn no_template_keeps_a_cache_in_the_checkout() {
    let gitlab = fs::read_to_string(root().join("integrations/gitlab-ci.yml")).unwrap();
    assert!(!gitlab.contains("CI_PROJECT_DIR") && !gitlab.lines().any(|line| line.trim() == "cache:"), "{gitlab}");
}
