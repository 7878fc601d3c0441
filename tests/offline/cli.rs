//! The command line, the exit codes and the JSON report keep what they promise.

use std::fs;
use std::path::Path;

use crate::support::image::{Tar, TestImage, write_layout};
use crate::support::{check, imglint, leave_out, rules};
use serde_json::{Value, json};
use tempfile::TempDir;

/// Layouts of four fates, and the worker they are judged for.
struct Fates {
    folder: TempDir,
    worker: String,
}

impl Fates {
    /// Nothing on a machine whose own programs cannot be made an image of.
    fn new() -> Option<Self> {
        let Some(good) = TestImage::like_this_machine(json!({"Cmd": ["bash"]})) else {
            leave_out("a machine with glibc and bash, on x86-64 or arm64");
            return None;
        };
        let good = good.ready();
        let entrypoint = TestImage::like_this_machine(json!({"Entrypoint": ["/app"], "User": "1000"})).unwrap();
        let entrypoint = entrypoint.ready();
        // What a start-up file does that runs what another program prints is not known.
        let start = Tar::default().file("start.sh", 0o644, b"eval \"$(cat /run/x)\"\n");
        let nowhere = good.clone().env("BASH_ENV=/start.sh").layer("COPY start.sh /", &start);
        let bashless = good.clone().layer("RUN rm /bin/bash", &Tar::default().whiteout("bin/bash"));
        let folder = tempfile::tempdir().unwrap();
        for (name, image) in
            [("good", &good), ("entrypoint", &entrypoint), ("undetermined", &nowhere), ("bashless", &bashless)]
        {
            let layout = folder.path().join(name);
            fs::create_dir(&layout).unwrap();
            write_layout(&layout, &[(image, "")]);
        }
        Some(Self { worker: good.worker(), folder })
    }

    fn image(&self, name: &str) -> String {
        format!("oci:{}", self.folder.path().join(name).display())
    }

    /// `check --report json` of these images for an old server, which an entrypoint is an error for, with these options.
    fn check(&self, options: &[&str], names: &[&str]) -> crate::support::Run {
        let images = names.iter().map(|name| self.image(name));
        let options = ["--set", &self.worker, "--set", "server=2020.6"]
            .into_iter()
            .chain(options.iter().copied())
            .map(str::to_owned);
        check(options.chain(images).collect::<Vec<_>>())
    }
}

#[test]
fn every_command_explains_itself() {
    for command in ["check", "facts", "rules", "explain", "completions", "man"] {
        let run = imglint([command, "--help"]);
        assert_eq!((run.code, run.stderr.as_str()), (0, ""), "{command}");
        assert!(run.stdout.contains("Usage:"), "{command}: {}", run.stdout);
    }
    let all = imglint(["--help"]).stdout;
    for command in ["check", "facts", "rules", "explain", "completions", "man"] {
        assert!(all.contains(command), "{command} is not in --help");
    }
    assert!(imglint(["--version"]).stdout.starts_with("imglint "));
}

#[test]
fn every_rule_is_listed_and_explained() {
    let listed = imglint(["rules"]);
    assert_eq!(listed.code, 0, "{}", listed.stderr);
    for rule in imglint::catalog::Catalog::builtin().rule_ids() {
        assert!(listed.stdout.contains(rule), "{rule} is not listed");
        let explained = imglint(["explain", rule]);
        assert_eq!(explained.code, 0, "{rule}: {}", explained.stderr);
        assert!(explained.stdout.contains(rule) && explained.stdout.contains("https://"), "{}", explained.stdout);
    }
}

#[test]
fn completions_and_the_manual_page_are_printed() {
    for shell in ["bash", "zsh", "fish", "powershell"] {
        let run = imglint(["completions", shell]);
        assert!(run.code == 0 && run.stdout.contains("imglint"), "{shell}: {}", run.stderr);
    }
    assert!(imglint(["man"]).stdout.contains(".TH"));
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(imglint(["man", "--to", path(folder.path())]).code, 0);
    assert!(fs::read_to_string(folder.path().join("imglint-check.1")).unwrap().contains("baseline"));
}

#[test]
fn each_fate_has_its_verdict_and_exit_code() {
    let Some(fates) = Fates::new() else { return };
    for (name, verdict, code) in
        [("good", "compatible", 0), ("entrypoint", "incompatible", 1), ("undetermined", "undetermined", 1)]
    {
        let run = fates.check(&[], &[name]);
        assert_eq!((run.result()["verdict"].clone(), run.code), (json!(verdict), code), "{name}: {}", run.stdout);
    }
    let missing = fates.check(&[], &["absent"]);
    assert_eq!((missing.result()["verdict"].clone(), missing.code), (json!("failed"), 2));
}

#[test]
fn the_worst_image_sets_the_exit_code_and_the_order_is_kept() {
    let Some(fates) = Fates::new() else { return };
    let names = ["absent", "good", "undetermined", "entrypoint"];
    let run = fates.check(&["--jobs", "4"], &names);
    let report = run.report();
    assert_eq!(run.code, 2);
    let references: Vec<_> =
        report["results"].as_array().unwrap().iter().map(|r| r["image"]["reference"].clone()).collect();
    assert_eq!(references, names.map(|name| Value::from(fates.image(name))));
    let summary = json!({"checked": 4, "compatible": 1, "incompatible": 1, "undetermined": 1, "failed": 1});
    assert_eq!(report["summary"], summary);
    assert_eq!(fates.check(&[], &["good", "entrypoint"]).code, 1);
    assert_eq!(fates.check(&[], &["good", "good"]).code, 0);
}

#[test]
fn fail_on_moves_the_line_between_0_and_1_but_never_hides_a_2() {
    let Some(fates) = Fates::new() else { return };
    assert_eq!(fates.check(&["--fail-on", "never"], &["entrypoint"]).code, 0);
    assert_eq!(fates.check(&["--fail-on", "never"], &["undetermined"]).code, 0);
    assert_eq!(fates.check(&["--fail-on", "never"], &["absent"]).code, 2);
    let only_warnings = ["--rule", "entrypoint-defined=off"];
    assert_eq!(fates.check(&only_warnings, &["entrypoint"]).code, 0);
    assert_eq!(fates.check(&[&only_warnings[..], &["--fail-on", "warning"]].concat(), &["entrypoint"]).code, 1);
}

#[test]
fn verbose_says_how_facts_were_found() {
    let Some(fates) = Fates::new() else { return };
    let run = imglint(["check", "--verbose", "--set", &fates.worker, &fates.image("good")]);
    for words in
        ["C library       glibc", "is the program loader of glibc", "its libraries", "layer 0: ", "manifest sha256:"]
    {
        assert!(run.stdout.contains(words), "{words}: {}", run.stdout);
    }
}

#[test]
fn fail_fast_reads_no_layer_of_what_the_configuration_condemns() {
    let Some(fates) = Fates::new() else { return };
    let fast = fates.check(&["--fail-fast"], &["entrypoint"]);
    let result = fast.result();
    assert_eq!((fast.code, &result["image"]["layers"][0]["read"]), (1, &json!("none")));
    assert!(fast.stdout.contains("--fail-fast then reads no layers"), "{}", fast.stdout);
    let good = fates.check(&["--fail-fast"], &["good"]);
    assert_eq!((good.code, &good.result()["image"]["layers"][0]["read"]), (0, &json!("whole")));
}

#[test]
fn config_only_decides_what_the_configuration_tells() {
    let Some(fates) = Fates::new() else { return };
    let run = fates.check(&["--config-only"], &["entrypoint"]);
    let result = run.result();
    assert_eq!((run.code, &result["verdict"]), (1, &json!("incompatible")));
    assert!(rules(&result, "error", "fail").contains(&"entrypoint-defined".to_owned()));
    assert!(rules(&result, "error", "unknown").contains(&"icu-missing".to_owned()));
    assert_eq!(result["image"]["layers"][0]["read"], "none");
    assert!(run.stdout.contains("--config-only reads no layers"), "{}", run.stdout);
    let good = fates.check(&["--config-only"], &["good"]);
    assert_eq!(
        (good.code, &good.result()["verdict"]),
        (1, &json!("undetermined")),
        "a gate that did not look is not green"
    );
}

#[test]
fn a_severity_is_overridden_by_rule() {
    let Some(fates) = Fates::new() else { return };
    // The other commands of the image are scripts, which its shell no longer runs either.
    let others = ["--rule", "openssl-command-missing=off", "--rule", "command-unusable=off"];
    let as_is = fates.check(&others, &["bashless"]).result();
    assert_eq!(rules(&as_is, "error", "fail"), ["bash-missing"]);
    let lowered = fates.check(&[&others[..], &["--rule", "bash-missing=warning"]].concat(), &["bashless"]);
    assert_eq!(lowered.code, 0);
    assert!(rules(&lowered.result(), "warning", "fail").contains(&"bash-missing".to_owned()));
    let off = fates.check(&["--rule", "bash-missing=off"], &["bashless"]).result();
    assert!(!off.to_string().contains("\"bash-missing\""), "a rule that is off is nowhere in the report");
}

#[test]
fn a_newer_server_makes_an_entrypoint_a_warning() {
    let Some(fates) = Fates::new() else { return };
    let old = fates.check(&["--set", "server=2020.6"], &["entrypoint"]);
    assert_eq!((old.code, rules(&old.result(), "error", "fail")), (1, vec!["entrypoint-defined".to_owned()]));
    for current in ["server=2024.1", "server="] {
        let new = fates.check(&["--set", current], &["entrypoint"]);
        assert_eq!(new.code, 0, "{current}");
        assert!(rules(&new.result(), "warning", "fail").contains(&"entrypoint-defined".to_owned()));
    }
}

#[test]
fn the_worker_s_platform_is_a_parameter() {
    let Some(fates) = Fates::new() else { return };
    let run = check(["--set", "worker=linux/riscv64", &fates.image("good")]);
    assert_eq!((run.code, rules(&run.result(), "error", "fail")), (1, vec!["platform-mismatch".to_owned()]));
}

#[test]
fn a_file_and_the_terminal_get_their_reports_at_once() {
    let Some(fates) = Fates::new() else { return };
    let file = fates.folder.path().join("report.json");
    let json = format!("json={}", file.display());
    let run =
        imglint(["check", "--report", "text", "--report", &json, "--set", &fates.worker, &fates.image("bashless")]);
    assert_eq!(run.code, 1, "{}", run.stderr);
    assert!(run.stdout.contains("incompatible") && run.stdout.contains("bash-missing"), "{}", run.stdout);
    assert!(run.stdout.contains("RUN rm /bin/bash") || run.stdout.contains("/bin/bash"), "{}", run.stdout);
    assert!(!run.stdout.contains('\u{1b}'), "no colour where there is no terminal");
    let report: Value = serde_json::from_str(&fs::read_to_string(file).unwrap()).unwrap();
    assert_eq!(report["summary"]["incompatible"], 1);
}

#[test]
fn the_json_report_has_every_promised_field() {
    let Some(fates) = Fates::new() else { return };
    let report = fates.check(&[], &["entrypoint"]).report();
    assert_eq!(report["schema_version"], 1);
    assert_eq!(report["tool"], json!({"name": "imglint", "version": env!("CARGO_PKG_VERSION")}));
    assert!(report["started_at"].as_str().is_some_and(|time| time.ends_with('Z')), "{}", report["started_at"]);
    assert!(report["duration_ms"].is_u64());
    let result = &report["results"][0];
    has(result, &["image", "profile", "verdict", "error", "findings", "passed", "not_applicable", "facts", "run"]);
    assert_eq!((&result["profile"], &result["run"]), (&json!("octopus"), &Value::Null));
    let image = &result["image"];
    has(image, &["reference", "source", "name", "digest", "config_digest", "platform"]);
    has(image, &["compressed_bytes", "uncompressed_bytes", "layers"]);
    has(&image["platform"], &["os", "architecture", "variant", "os_version"]);
    has(&image["layers"][0], &["index", "digest", "diff_id", "media_type", "bytes", "created_by"]);
    assert!(image["uncompressed_bytes"].as_u64() > image["compressed_bytes"].as_u64());
    for finding in result["findings"].as_array().unwrap() {
        has(finding, &["rule", "severity", "outcome", "title", "evidence", "fix", "docs", "ignored"]);
        assert!(!finding["evidence"].as_array().unwrap().is_empty(), "{finding:#}");
        for evidence in finding["evidence"].as_array().unwrap() {
            has(evidence, &["basis", "statement", "path", "layer", "instruction", "field"]);
        }
    }
}

#[test]
fn every_rule_of_the_profile_has_one_place_in_the_report() {
    let Some(fates) = Fates::new() else { return };
    let result = fates.check(&[], &["entrypoint"]).result();
    let mut seen: Vec<String> = Vec::new();
    for list in ["passed", "not_applicable"] {
        seen.extend(result[list].as_array().unwrap().iter().map(|rule| rule.as_str().unwrap().to_owned()));
    }
    seen.extend(result["findings"].as_array().unwrap().iter().map(|f| f["rule"].as_str().unwrap().to_owned()));
    let count = seen.len();
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), count, "no rule twice: {seen:?}");
    for rule in imglint::catalog::Catalog::builtin().rule_ids() {
        assert!(seen.iter().any(|one| one == rule), "{rule} is nowhere: {seen:?}");
    }
}

#[test]
fn findings_are_ordered_by_severity_then_rule() {
    let Some(fates) = Fates::new() else { return };
    let result = fates.check(&["--rule", "tag-floating=warning"], &["entrypoint"]).result();
    let order = |severity: &Value| ["error", "warning", "info"].iter().position(|one| severity == one).unwrap();
    let keys: Vec<(usize, String)> =
        result["findings"].as_array().unwrap().iter().map(|f| (order(&f["severity"]), f["rule"].to_string())).collect();
    assert!(keys.is_sorted(), "{keys:?}");
}

#[test]
fn two_runs_give_the_same_document_but_for_times() {
    let Some(fates) = Fates::new() else { return };
    let document = || {
        let mut report = fates.check(&[], &["entrypoint", "good"]).report();
        report["started_at"] = Value::Null;
        report["duration_ms"] = Value::Null;
        report
    };
    assert_eq!(document(), document());
}

#[test]
fn an_unpacked_root_file_system_is_read_with_a_configuration_beside_it() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("root");
    fs::create_dir_all(root.join("etc")).unwrap();
    fs::write(root.join("etc/os-release"), "ID=alpine\nVERSION_ID=3.20.3\n").unwrap();
    let config = folder.path().join("config.json");
    fs::write(&config, r#"{"os":"linux","architecture":"amd64","config":{"Entrypoint":["/app"]}}"#).unwrap();
    let image = format!("rootfs:{}", root.display());
    let run = check(["--config-json", path(&config), &image]);
    assert_eq!(run.code, 1, "{}", run.stderr);
    let result = run.result();
    assert_eq!(result["image"]["source"], "rootfs");
    assert_eq!(rules(&result, "error", "fail"), ["bash-missing", "libc-not-glibc", "openssl-command-missing"]);
    assert!(rules(&result, "warning", "fail").contains(&"entrypoint-defined".to_owned()), "by the configuration");
}

#[test]
fn facts_are_told_without_judging() {
    let Some(fates) = Fates::new() else { return };
    let run = imglint(["facts", &fates.image("entrypoint")]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    for fact in ["glibc", "debian", "/app"] {
        assert!(run.stdout.contains(fact), "{fact}: {}", run.stdout);
    }
}

fn has(value: &Value, fields: &[&str]) {
    for field in fields {
        assert!(value.get(field).is_some(), "{field} is missing: {value:#}");
    }
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}
