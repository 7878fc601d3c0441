//! Every form of report is what its readers take: held to the validators of those who made the forms.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::support::image::{Tar, TestImage, write_layout};
use crate::support::{Run, leave_out, program, real_part};
use serde_json::{Value, json};
use tempfile::TempDir;

/// Reports on images of several fates in a folder, `report.FORM`: with findings of all severities, an ignored one, one
/// that is over, odd texts, and images that cannot be checked.
fn reports() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let odd = "/app\u{1b}[1m <b>&amp;]]> \"q\" \u{202e} %0A, x: y";
    let plain = TestImage::new(json!({"Entrypoint": [odd], "User": "1000", "Env": ["PATH=/opt/a/bin:/usr/bin"]}))
        .layer("COPY base /", &Tar::default().file("usr/bin/bash", 0o755, b"#!/nowhere\n"))
        .layer(odd, &Tar::default().file("opt/a/x", 0o644, &vec![7; 90_000]));
    let open = TestImage::new(json!({})).field("architecture", Value::Null);
    for (name, image) in [("plain", &plain), ("open", &open)] {
        fs::create_dir(at(name)).unwrap();
        write_layout(&at(name), &[(image, "")]);
    }
    fs::write(
        at("compose.yaml"),
        "services:\n  a:\n    image: \"oci:plain\"\n  b:\n    image: \"x:${NOT_SET_ANYWHERE}\"\n",
    )
    .unwrap();
    let ignore =
        |rule: &str, more: &str| format!("[[ignore]]\nrule = \"{rule}\"\nreason = \"we <know> & wait\"\n{more}\n");
    let config = ignore("bash-missing", "until = \"2999-12-31\"")
        + &ignore("libc-not-glibc", "until = \"2020-01-01\"")
        + &ignore("java-home-dangling", "");
    fs::write(at("imglint.toml"), config).unwrap();
    let forms = ["json", "sarif", "junit", "github", "gitlab", "markdown", "html", "openmetrics"];
    let mut command = program();
    command.current_dir(folder.path()).args(["check", "--from", "compose.yaml", "oci:open", "oci:nowhere"]);
    let run =
        Run::of(command.args(forms.iter().flat_map(|form| ["--report".to_owned(), format!("{form}=report.{form}")])));
    assert_eq!(run.code, 2, "{}", run.stderr);
    folder
}

fn validators() -> Option<PathBuf> {
    real_part("validators of reports", "IMGLINT_TEST_VALIDATORS").map(PathBuf::from)
}

/// A Python with what the validators need.
fn python(validators: &Path) -> Command {
    let mut command = Command::new("python3");
    command.env("PYTHONPATH", validators.join("python"));
    command
}

fn says(command: &mut Command) -> String {
    let Output { status, stdout, stderr } = command.output().unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    assert!(status.success(), "{command:?}: {said}");
    said
}

#[test]
fn sarif_passes_microsoft_s_validator_without_a_warning() {
    let Some(validators) = validators() else { return };
    if !cfg!(target_arch = "x86_64") {
        leave_out("a machine with x86-64, which the validator is for");
        return;
    }
    let folder = reports();
    let mut command = Command::new(validators.join("node_modules/@microsoft/sarif-multitool-linux/Sarif.Multitool"));
    command.env("DOTNET_SYSTEM_GLOBALIZATION_INVARIANT", "1").current_dir(folder.path());
    command.args([
        "validate",
        "report.sarif",
        "--output",
        "validated.sarif",
        "--level",
        "Error;Warning;Note",
        "--kind",
        "Fail",
    ]);
    says(&mut command);
    let validated: Value = serde_json::from_slice(&fs::read(folder.path().join("validated.sarif")).unwrap()).unwrap();
    let results = validated["runs"][0]["results"].as_array().unwrap().clone();
    let level = |result: &Value| result["level"].as_str().unwrap_or("warning").to_owned();
    let worse: Vec<&Value> = results.iter().filter(|result| level(result) != "note").collect();
    assert!(worse.is_empty(), "{worse:#?}");
    assert!(!results.is_empty(), "it always has something to note");
}

#[test]
fn sarif_names_rules_places_and_fingerprints() {
    let folder = reports();
    let sarif: Value = serde_json::from_slice(&fs::read(folder.path().join("report.sarif")).unwrap()).unwrap();
    let run = &sarif["runs"][0];
    let results = run["results"].as_array().unwrap();
    for result in results {
        let rule = &run["tool"]["driver"]["rules"][result["ruleIndex"].as_u64().unwrap() as usize];
        assert_eq!(rule["id"], result["ruleId"]);
        assert!(rule["help"]["text"].as_str().is_some_and(|help| help.len() > 20), "{rule}");
    }
    let is_of_plain = |result: &&Value| result["message"]["text"].as_str().unwrap().starts_with("oci:plain");
    let of = |rule: &str| results.iter().filter(is_of_plain).find(|result| result["ruleId"] == rule).unwrap();
    let named = &of("entrypoint-defined")["locations"][0]["physicalLocation"];
    assert_eq!((&named["artifactLocation"]["uri"], &named["region"]["startLine"]), (&json!("compose.yaml"), &json!(3)));
    assert_eq!(of("bash-missing")["suppressions"][0]["justification"], "we <know> & wait");
    let logical: Vec<&Value> = of("bash-missing")["locations"][0]["logicalLocations"]
        .as_array()
        .unwrap()
        .iter()
        .map(|place| &place["fullyQualifiedName"])
        .collect();
    assert_eq!(logical, ["oci:plain", "oci:plain/layer 0", "oci:plain/layer 0//usr/bin/bash"]);
    let fingerprints: Vec<&Value> =
        results.iter().map(|result| &result["partialFingerprints"]["imageRulePlaces/v1"]).collect();
    let mut unique = fingerprints.clone();
    unique.sort_by_key(|value| value.to_string());
    unique.dedup();
    assert_eq!(unique.len(), fingerprints.len());
}

#[test]
fn junit_is_valid_by_jenkins_schema() {
    let Some(validators) = validators() else { return };
    let folder = reports();
    let script = "import sys, xmlschema; xmlschema.XMLSchema(sys.argv[1]).validate(sys.argv[2])";
    let mut command = python(&validators);
    says(command.args(["-c", script]).arg(validators.join("junit-10.xsd")).arg(folder.path().join("report.junit")));
    let xml = fs::read_to_string(folder.path().join("report.junit")).unwrap();
    assert!(xml.contains("<error") && xml.contains("<failure") && xml.contains("<skipped"));
}

#[test]
fn openmetrics_is_read_by_prometheus_own_parser() {
    let Some(validators) = validators() else { return };
    let folder = reports();
    let script = "import sys\nfrom prometheus_client.openmetrics.parser import text_string_to_metric_families as read\n\
                  for family in read(open(sys.argv[1]).read()):\n  print(family.name, len(family.samples))";
    let mut command = python(&validators);
    let said = says(command.args(["-c", script]).arg(folder.path().join("report.openmetrics")));
    assert!(said.contains("imglint_image_verdict 4\n"), "{said}");
    assert!(said.lines().any(|line| line.starts_with("imglint_rule ")), "{said}");
}

#[test]
fn the_report_and_configurations_are_valid_by_the_published_schemas() {
    let Some(validators) = validators() else { return };
    let folder = reports();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let valid = |schema: &str, file: PathBuf| {
        let mut command = python(&validators);
        let command =
            command.args(["-m", "check_jsonschema", "--schemafile"]).arg(root.join("schemas").join(schema)).arg(file);
        command.output().unwrap().status.success()
    };
    assert!(valid("report.json", folder.path().join("report.json")));
    assert!(valid("report.json", root.join("fixtures/reports/first-form.json")));
    assert!(valid("config.json", root.join("src/config/example.toml")));
    let wrong = folder.path().join("wrong.toml");
    for text in ["fail-on = \"x\"", "imags = []", "[[ignore]]\nrule = \"x\"", "[[report]]\nformat = \"x\""] {
        fs::write(&wrong, text).unwrap();
        assert!(!valid("config.json", wrong.clone()), "{text}");
    }
}

#[test]
fn gitlab_s_report_has_what_gitlab_asks_for() {
    let folder = reports();
    let issues: Value = serde_json::from_slice(&fs::read(folder.path().join("report.gitlab")).unwrap()).unwrap();
    let issues = issues.as_array().unwrap();
    assert!(issues.len() > 5);
    for issue in issues {
        let text = |field: &str| issue[field].as_str().is_some_and(|text| !text.is_empty());
        assert!(text("description") && text("check_name") && text("fingerprint"), "{issue}");
        assert!(["info", "minor", "major", "critical", "blocker"].contains(&issue["severity"].as_str().unwrap()));
        assert!(issue["location"]["path"].is_string() && issue["location"]["lines"]["begin"].is_u64(), "{issue}");
    }
    assert!(!issues.iter().any(|issue| issue["check_name"] == "bash-missing"), "ignored");
}

#[test]
fn markdown_fits_a_comment_however_much_there_is() {
    let folder = reports();
    let mut report: Value = serde_json::from_slice(&fs::read(folder.path().join("report.json")).unwrap()).unwrap();
    let many: Vec<Value> = report["results"].as_array().unwrap().iter().cycle().take(400).cloned().collect();
    report["results"] = json!(many);
    let file = folder.path().join("many.json");
    fs::write(&file, report.to_string()).unwrap();
    let markdown = crate::support::imglint(["report".as_ref(), "markdown".as_ref(), file.as_os_str()]).stdout;
    assert!(markdown.chars().count() < 65_000, "{}", markdown.chars().count());
    assert!(markdown.contains("does not fit here"));
}

#[test]
fn html_is_read_by_people_with_any_screen_and_without_script() {
    let Some(validators) = validators() else { return };
    let folder = reports();
    let shots = Path::new(env!("CARGO_TARGET_TMPDIR")).join("html");
    fs::create_dir_all(&shots).unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/look-at-report.js");
    let mut command = Command::new("node");
    command.env("IMGLINT_TEST_VALIDATORS", &validators).arg(script).arg(folder.path().join("report.html")).arg(&shots);
    assert_eq!(says(&mut command).trim(), "[]", "screenshots are in {}", shots.display());
}
