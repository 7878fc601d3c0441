//! A gate: what the configuration, ignores and baselines decide, and the images that other files name.

use std::fs;
use std::path::{Path, PathBuf};

use crate::support::image::{Tar, TestImage, write_layout};
use crate::support::{Run, finding, program, rules};
use serde_json::{Value, json};
use tempfile::TempDir;

/// A folder with layouts of several fates, in which imglint is called: `plain` has several errors, `open` cannot be
/// decided, and `broken` cannot be read.
struct Gate {
    folder: TempDir,
}

impl Gate {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let plain = TestImage::new(json!({"Entrypoint": ["/app"]}))
            .layer("COPY base /", &Tar::default().file("opt/app/tool", 0o755, b"\x7fELF"));
        let open = TestImage::new(json!({})).field("architecture", Value::Null);
        for (name, image) in [("plain", &plain), ("open", &open)] {
            write_layout(&made(folder.path().join(name)), &[(image, "")]);
        }
        fs::create_dir(folder.path().join("broken")).unwrap();
        fs::write(folder.path().join("broken/index.json"), "{").unwrap();
        Self { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: &str) -> &Self {
        fs::write(self.path(name), text).unwrap();
        self
    }

    fn run(&self, arguments: &[&str]) -> Run {
        Run::of(program().current_dir(self.folder.path()).args(arguments))
    }

    fn check(&self, arguments: &[&str]) -> Run {
        self.run(&[&["check", "--report", "json"], arguments].concat())
    }
}

/// A folder, made.
fn made(folder: PathBuf) -> PathBuf {
    fs::create_dir(&folder).unwrap();
    folder
}

/// Off for every rule that the image fails, as options.
fn all_off(run: &Run) -> Vec<String> {
    let results = run.report()["results"].as_array().unwrap().clone();
    let rules = results.iter().flat_map(|result| result["findings"].as_array().unwrap().clone());
    rules.flat_map(|found| ["--rule".to_owned(), format!("{}=off", found["rule"].as_str().unwrap())]).collect()
}

fn ignored(result: &Value, rule: &str) -> Value {
    finding(result, rule)["ignored"].clone()
}

#[test]
fn exit_codes_hold_for_images_of_different_fates_in_one_run() {
    let gate = Gate::new();
    let plain_is_fine = all_off(&gate.check(&["oci:plain"]));
    let fine: Vec<&str> = plain_is_fine.iter().map(String::as_str).collect();
    let code = |arguments: &[&str]| gate.check(arguments).code;
    let with = |options: &[&str], images: &[&str]| code(&[options, images].concat());
    // Every image is compatible.
    assert_eq!(with(&fine, &["oci:plain", "oci:plain"]), 0);
    // One is incompatible, or open, and nothing worse.
    assert_eq!(code(&["oci:plain"]), 1);
    assert_eq!(code(&["oci:open"]), 1);
    assert_eq!(with(&fine, &["oci:plain", "oci:open"]), 1);
    // One could not be checked, whatever the others are.
    for others in [&["oci:plain"][..], &["oci:open", "oci:plain"], &[]] {
        assert_eq!(with(others, &["oci:broken"]), 2);
        assert_eq!(with(&["--fail-on", "never"], &[others, &["oci:broken"]].concat()), 2);
    }
    // never turns 1 into 0.
    assert_eq!(with(&["--fail-on", "never"], &["oci:plain", "oci:open"]), 0);
    // Arguments or configuration are wrong.
    for wrong in [
        &["--fail-on", "x", "oci:plain"][..],
        &["--config", "none.toml", "oci:plain"],
        &["--baseline", "none.json", "oci:plain"],
        &[],
    ] {
        let run = gate.check(wrong);
        assert_eq!((run.code, run.stderr.lines().count()), (2, 1), "{wrong:?}: {}", run.stderr);
    }
    // One image's failure does not hide another's findings, and the order is that of the arguments.
    let run = gate.check(&["oci:broken", "oci:plain", "oci:open", "oci:broken"]);
    let verdicts: Vec<String> = run.report()["results"]
        .as_array()
        .unwrap()
        .iter()
        .map(|result| result["verdict"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(verdicts, ["failed", "incompatible", "undetermined", "failed"]);
    assert_eq!(run.stderr.lines().count(), 1, "the same is said once: {}", run.stderr);
}

#[test]
fn the_command_line_beats_the_environment_beats_the_file() {
    let gate = Gate::new();
    gate.write("imglint.toml", "fail-on = \"never\"\nimages = [\"oci:plain\"]\n[parameters]\nsteps = [\"bash\", \"helm\"]\nserver = \"2024.1\"\n[severity]\nbash-missing = \"off\"\n");
    let steps = |run: &Run| run.result()["parameters"]["steps"].as_str().unwrap().to_owned();
    let of_file = gate.check(&[]);
    assert_eq!((of_file.code, steps(&of_file).as_str()), (0, "bash,helm"));
    assert!(!rules(&of_file.result(), "error", "fail").contains(&"bash-missing".to_owned()));
    let mut command = program();
    command.current_dir(gate.folder.path()).env("IMGLINT_SET", "steps=java").env("IMGLINT_FAIL_ON", "error");
    let of_environment = Run::of(command.args(["check", "--report", "json"]));
    assert_eq!((of_environment.code, steps(&of_environment).as_str()), (1, "java"));
    assert_eq!(of_environment.result()["parameters"]["server"], "2024.1", "what nobody else sets stays");
    let of_line = Run::of(command.args(["--set", "steps=python", "--fail-on", "never"]));
    assert_eq!((of_line.code, steps(&of_line).as_str()), (0, "python"));
    gate.write("other.toml", "images = [\"oci:open\"]\n");
    assert_eq!(gate.check(&["--config", "other.toml"]).result()["image"]["reference"], "oci:open");
}

#[test]
fn a_wrong_configuration_is_one_line_with_file_line_and_key() {
    let gate = Gate::new();
    let says = |text: &str| {
        let run = gate.write("imglint.toml", text).check(&["oci:plain"]);
        run.one_clear_line().to_owned()
    };
    assert_eq!(says("profil = \"octopus\""), "imglint: imglint.toml:1: unknown key `profil`; did you mean `profile`?");
    assert!(says("[[ignore]]\nrule = \"icu-mising\"\nreason = \"x\"").contains("icu-missing"));
    assert!(says("[parameters]\nstep = \"bash\"").contains("steps"));
    assert!(says("[severity]\nbash-mising = \"off\"").contains("bash-missing"));
}

#[test]
fn what_is_ignored_with_a_reason_counts_for_nothing() {
    let gate = Gate::new();
    let plain = gate.check(&["oci:plain"]).result();
    let errors = rules(&plain, "error", "fail");
    let ignores: String =
        errors.iter().map(|rule| format!("[[ignore]]\nrule = \"{rule}\"\nreason = \"for {rule}\"\n")).collect();
    gate.write("imglint.toml", &format!("{ignores}until = \"2999-01-31\"\n"));
    let run = gate.check(&["oci:plain"]);
    assert_eq!((run.code, run.stderr.as_str()), (0, ""));
    let result = run.result();
    assert_eq!(result["verdict"], "compatible");
    assert_eq!(ignored(&result, &errors[0]), json!({"reason": format!("for {}", errors[0]), "until": null}));
    assert_eq!(ignored(&result, errors.last().unwrap())["until"], "2999-01-31");

    // An image's name in a pattern, with and without its tag.
    let ignore = |more: &str| {
        gate.write("imglint.toml", &format!("[[ignore]]\nrule = \"entrypoint-defined\"\nreason = \"x\"\n{more}\n"))
    };
    for (pattern, covers) in [("oci:plain", true), ("oci:*", true), ("oci:other", false), ("**", true)] {
        ignore(&format!("image = \"{pattern}\""));
        assert_eq!(ignored(&gate.check(&["oci:plain"]).result(), "entrypoint-defined").is_null(), !covers, "{pattern}");
    }
    // A path covers only what is of it.
    ignore("path = \"/opt/**\"");
    assert!(ignored(&gate.check(&["oci:plain"]).result(), "entrypoint-defined").is_null());
}

#[test]
fn an_ignore_that_is_over_fails_and_one_that_is_of_no_use_warns() {
    let gate = Gate::new();
    gate.write("imglint.toml", "[[ignore]]\nrule = \"entrypoint-defined\"\nreason = \"moving\"\nuntil = \"2020-02-29\"\n[[ignore]]\nrule = \"tag-floating\"\nreason = \"x\"\n");
    let run = gate.check(&["oci:plain"]);
    let result = run.result();
    assert!(ignored(&result, "entrypoint-defined").is_null());
    let expired = finding(&result, "ignore-expired");
    assert_eq!((&expired["severity"], &expired["outcome"]), (&json!("error"), &json!("fail")));
    let said = expired["evidence"][0]["statement"].as_str().unwrap();
    assert_eq!(said, "entrypoint-defined was ignored until 2020-02-29: moving");
    assert!(crate::support::imglint(["explain", "ignore-expired"]).stdout.contains("another day"));
    assert_eq!(run.report()["warnings"], json!(["the ignore of tag-floating ignores nothing"]));
    assert_eq!(run.stderr, "imglint: warning: the ignore of tag-floating ignores nothing\n");
    let on_terminal = gate.run(&["check", "oci:plain"]);
    assert_eq!(on_terminal.stderr, "", "the report says it");
    assert!(on_terminal.stdout.contains("warning: the ignore of tag-floating ignores nothing"));
}

#[test]
fn of_a_baseline_only_what_is_new_counts() {
    let gate = Gate::new();
    gate.check(&["oci:plain", "--report", "json=old.json"]);
    let same = gate.check(&["oci:plain", "--baseline", "old.json"]);
    assert_eq!(same.code, 0, "{}", same.stdout);
    assert_eq!(ignored(&same.result(), "entrypoint-defined")["reason"], "it is in old.json");
    let new = gate.check(&["oci:plain", "--baseline", "old.json", "--set", "steps=bash,java"]);
    assert_eq!(new.code, 1);
    let counting: Vec<String> = rules(&new.result(), "error", "fail");
    assert_eq!(counting, ["step-tool-missing"], "the others were there");
    // What an old report has under another tag is the same image; here the name is the path.
    gate.write("no.json", "{}");
    assert!(gate.check(&["oci:plain", "--baseline", "no.json"]).one_clear_line().contains("no.json"));
}

#[test]
fn images_come_from_lists_and_from_files_that_name_them() {
    let gate = Gate::new();
    gate.write("list.txt", "# ours\noci:plain\n\noci:open # open\noci:plain\n");
    let run = gate.check(&["--images-from", "list.txt"]);
    let results = run.report()["results"].as_array().unwrap().clone();
    let named: Vec<Value> = results.iter().map(|result| result["image"]["named_in"].clone()).collect();
    let at = |line| json!({"file": "list.txt", "line": line});
    assert_eq!(named, [json!([at(2), at(5)]), json!([at(4)])]);

    gate.write("compose.yaml", "services:\n  a: {image: \"oci:plain\"}\n  b: {image: \"oci:${WHICH:-open}\"}\n  c: {image: \"x:${NOT_SET_ANYWHERE}\"}\n");
    let run = gate.check(&["--from", "compose.yaml"]);
    assert_eq!(run.code, 2, "a gate that cannot look never goes green");
    let results = run.report()["results"].as_array().unwrap().clone();
    let references: Vec<&str> = results.iter().map(|result| result["image"]["reference"].as_str().unwrap()).collect();
    assert_eq!(references, ["oci:plain", "oci:open", "compose.yaml:4"]);
    assert!(results[2]["error"].as_str().unwrap().contains("NOT_SET_ANYWHERE"));
    assert!(gate.run(&["check", "--from", "compose.yaml"]).stdout.contains("named in compose.yaml:2"));

    gate.write("odd.yaml", "a: 1\n");
    assert!(gate.check(&["--from", "odd.yaml"]).one_clear_line().contains("odd.yaml"));
    gate.write("empty.txt", "# none\n");
    assert!(gate.check(&["--images-from", "empty.txt"]).one_clear_line().contains("name no image"));
}

#[test]
fn standard_input_may_be_a_list() {
    let gate = Gate::new();
    let list = gate.path("list.txt");
    gate.write("list.txt", "oci:plain\n");
    let mut command = program();
    command.current_dir(gate.folder.path()).stdin(fs::File::open(list).unwrap());
    let result = Run::of(command.args(["check", "--report", "json", "--images-from", "-"])).result();
    assert_eq!(result["image"]["named_in"], json!([{"file": "standard input", "line": 1}]));
}

#[test]
fn a_report_is_rendered_later_as_it_was_at_once() {
    let gate = Gate::new();
    let forms = ["text", "sarif", "junit", "github", "gitlab", "markdown", "html", "openmetrics"];
    let files: Vec<String> =
        forms.iter().flat_map(|form| ["--report".to_owned(), format!("{form}=now.{form}")]).collect();
    let files: Vec<&str> = files.iter().map(String::as_str).collect();
    gate.run(&[&["check", "oci:plain", "oci:broken", "--report", "json=now.json"], &files[..]].concat());
    for form in forms {
        let later = gate.run(&["report", form, "now.json"]);
        assert_eq!(later.code, 0, "{form}: {}", later.stderr);
        // How long each image took is known only at once.
        let told = |text: &str| {
            text.lines().filter(|line| !line.starts_with("imglint_image_duration")).collect::<Vec<_>>().join("\n")
        };
        let now = fs::read_to_string(gate.path(&format!("now.{form}"))).unwrap();
        assert!(told(&later.stdout) == told(&now), "{form}");
    }
    assert!(gate.run(&["report", "html", "broken/index.json"]).one_clear_line().contains("broken/index.json"));
}

#[test]
fn a_diff_says_what_got_better_and_what_worse() {
    let gate = Gate::new();
    gate.check(&["oci:plain", "--set", "server=2020.6", "--report", "json=old.json"]);
    gate.check(&[
        "oci:plain",
        "--set",
        "server=2020.6",
        "--rule",
        "entrypoint-defined=off",
        "--set",
        "steps=bash,java",
        "--report",
        "json=new.json",
    ]);
    let same = gate.run(&["diff", "old.json", "old.json"]);
    assert_eq!((same.code, same.stdout.as_str()), (0, "nothing changed\n"));
    let diff = gate.run(&["diff", "old.json", "new.json"]);
    assert_eq!(diff.code, 1);
    assert!(diff.stdout.contains("  better: error entrypoint-defined, no longer judged\n"), "{}", diff.stdout);
    assert!(diff.stdout.contains("  worse: error step-tool-missing, was fine and is failing\n"), "{}", diff.stdout);
    let better = gate.run(&["diff", "new.json", "old.json"]);
    assert_eq!(better.code, 1, "the entrypoint is judged again: {}", better.stdout);
}

#[test]
fn github_s_job_summary_is_added_to() {
    let gate = Gate::new();
    let summary = gate.path("summary.md");
    fs::write(&summary, "before\n").unwrap();
    let mut command = program();
    command.current_dir(gate.folder.path()).env("GITHUB_STEP_SUMMARY", &summary);
    let run = Run::of(command.args(["check", "oci:plain", "--report", "github"]));
    assert!(run.stdout.lines().all(|line| line.starts_with("::")), "{}", run.stdout);
    assert!(fs::read_to_string(summary).unwrap().starts_with("before\n## imglint\n"));
}

#[test]
fn what_an_image_says_is_text_in_every_form() {
    let hostile = "\u{1b}[2Jx\r\n::error::y <script>alert(1)</script> ]]> \"q\" | @all `z`";
    let gate = Gate::new();
    let layout = made(gate.path("hostile"));
    let image = TestImage::new(json!({"Entrypoint": [hostile], "User": hostile, "Env": [format!("PATH={hostile}")]}))
        .layer(
            hostile,
            &Tar::default().file("etc/os-release", 0o644, format!("ID=debian\nPRETTY_NAME=\"{hostile}\"\n").as_bytes()),
        );
    write_layout(&layout, &[(&image, "")]);
    gate.check(&["oci:hostile", "--report", "json=h.json"]);
    for form in ["text", "sarif", "junit", "github", "gitlab", "markdown", "html", "openmetrics"] {
        let out = gate.run(&["report", form, "h.json"]).stdout;
        assert!(!out.contains('\u{1b}'), "{form}");
        assert!(!out.lines().any(|line| line.starts_with("::error::y")), "{form}");
        if ["markdown", "html"].contains(&form) {
            assert!(!out.contains("<script>alert"), "{form}");
        }
    }
}

#[test]
fn mirrors_are_asked_first() {
    use crate::support::lying_registry::{LyingRegistry, Reply};
    let config = TestImage::new(json!({})).document();
    let digest = |bytes: &[u8]| imglint::digest::Digest::of(bytes).to_string();
    let manifest = json!({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": digest(&config), "size": config.len()}, "layers": []})
    .to_string();
    let serve = move || {
        let (config, manifest) = (config.clone(), manifest.clone());
        LyingRegistry::start(move |seen| match seen.path.contains("/manifests/") {
            true => Reply::ok(&manifest).with("Content-Type", "application/vnd.oci.image.manifest.v1+json"),
            false => Reply::ok(&config),
        })
    };
    let without = LyingRegistry::start(|_| Reply::error(404, "NOT_FOUND", "not here"));
    let (mirror, origin) = (serve(), serve());
    let gate = Gate::new();
    let (host, first, second) = (origin.host(), without.host(), mirror.host());
    gate.write("gate.toml", &format!("[registry.\"{host}\"]\nmirror = [\"{first}\", \"http://{second}/hub/\"]\n"));
    let run = gate.check(&["--config", "gate.toml", &format!("docker://{host}/app:1")]);
    let result = run.result();
    assert_eq!(result["image"]["mirror"], format!("{second}/hub"), "which one answered is said");
    assert_eq!(
        run.report()["configuration"]["overrides"][1],
        json!({"what": "mirror", "which": format!("http://{second}/hub/ for {host}"), "by": "file"})
    );
    assert_eq!(result["image"]["name"], format!("{host}/app:1"), "{result:#}");
    assert_eq!((without.seen().len(), origin.seen().len()), (1, 0));
    let asked: Vec<String> = mirror.seen().into_iter().map(|seen| seen.path).collect();
    assert!(asked.len() == 2 && asked.iter().all(|path| path.starts_with("/v2/hub/app/")), "{asked:?}");
    gate.write("gate.toml", &format!("[registry.\"{host}\"]\nmirror = [\"ftp://x.example\"]\n"));
    let wrong = gate.check(&["--config", "gate.toml", "oci:plain"]);
    assert!(wrong.one_clear_line().contains("gate.toml") && wrong.stderr.contains("ftp://x.example"));
}

/// Reports that were written when the form was young still mean the same.
#[test]
fn frozen_reports_are_still_read() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/reports");
    let mut count = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let run =
            crate::support::imglint([std::ffi::OsStr::new("report"), std::ffi::OsStr::new("json"), path.as_os_str()]);
        assert_eq!(run.code, 0, "{}: {}", path.display(), run.stderr);
        let frozen: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        assert!(keeps(&frozen, &run.report()), "{}: something was lost", path.display());
        count += 1;
    }
    assert!(count > 0);
}

/// Whether all that `old` says is said by `new` as well.
fn keeps(old: &Value, new: &Value) -> bool {
    match (old, new) {
        (Value::Object(old), Value::Object(new)) => {
            old.iter().all(|(key, value)| new.get(key).is_some_and(|new| keeps(value, new)))
        }
        (Value::Array(old), Value::Array(new)) => {
            old.len() == new.len() && old.iter().zip(new).all(|(old, new)| keeps(old, new))
        }
        (old, new) => old == new,
    }
}
