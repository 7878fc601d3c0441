//! What is said of Windows images from configuration, index entry and history; their layers are in `windows_layers.rs`.

use std::fs;

use crate::support::image::{Tar, TestImage, write_layout};
use crate::support::windows::Pe;
use crate::support::{check, finding, rules};
use serde_json::{Value, json};

/// A Windows image on a base of this version, with the history entry that Microsoft's bases have.
fn image(os_version: Value, base: &str) -> TestImage {
    TestImage::new(json!({"Cmd": ["c:\\windows\\system32\\cmd.exe"]}))
        .field("os", json!("windows"))
        .field("os.version", os_version)
        .layer(base, &silent_base())
}

/// A Windows of which no file tells the version.
fn silent_base() -> Tar {
    let (library, program) = (Pe::new(0x8664).library().bytes(), Pe::new(0x8664).bytes());
    Tar::default().file("Files/Windows/System32/ntdll.dll", 0o644, &library).file(
        "Files/Windows/System32/WindowsPowerShell/v1.0/powershell.exe",
        0o644,
        &program,
    )
}

/// The result; the index entry says `listed`, if anything.
fn result(image: &TestImage, listed: Option<&str>, arguments: &[&str]) -> Value {
    let folder = tempfile::tempdir().unwrap();
    // With a second image the layout's list is an index, whose entries have a say.
    write_layout(folder.path(), &[(image, ""), (&TestImage::new(json!({})), "")]);
    if let Some(version) = listed {
        let path = folder.path().join("index.json");
        let mut index: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        index["manifests"][0]["platform"]["os.version"] = json!(version);
        fs::write(&path, index.to_string()).unwrap();
    }
    let name = format!("oci:{}", folder.path().display());
    let run = check(
        [&["--set", "worker=windows/amd64", "--platform", "windows/amd64"], arguments, &[name.as_str()]].concat(),
    );
    assert!(run.code < 2, "{}", run.stderr);
    run.result()
}

fn failed(result: &Value, rule: &str) -> Option<String> {
    let is_failed = ["error", "warning", "info"]
        .into_iter()
        .find(|severity| rules(result, severity, "fail").contains(&rule.to_owned()));
    is_failed.map(str::to_owned)
}

#[test]
fn a_base_older_than_2019_is_not_supported() {
    for (version, expected) in
        [("10.0.14393.5427", Some("error")), ("10.0.17763.3887", None), ("10.0.26100.33438", None)]
    {
        let result = result(&image(json!(version), "Apply image x"), None, &[]);
        assert_eq!(failed(&result, "windows-version-unsupported").as_deref(), expected, "{version}");
        assert_eq!(result["facts"]["windows"]["version"], version);
    }
}

#[test]
fn the_version_is_told_by_configuration_then_index_then_history() {
    let version = |image: &TestImage, listed: Option<&str>| {
        let facts = result(image, listed, &[])["facts"]["windows"].clone();
        (facts["build"].clone(), facts["stated"][0]["place"]["field"].clone())
    };
    let silent = || image(Value::Null, "Apply image ltsc2019-amd64");
    assert_eq!(version(&image(json!("10.0.20348.1"), "RUN x"), None), (json!(20348), json!("os.version")));
    assert_eq!(version(&silent(), Some("10.0.20348.2")).0, json!(20348));
    assert_eq!(version(&silent(), None), (json!(17763), json!("history[0]")));
    let updated = silent().layer("Install update 10.0.26100.33296", &Tar::default());
    assert_eq!(version(&updated, None), (json!(26100), json!("history[1]")), "the last entry counts");
    let unknown = result(&image(Value::Null, "RUN x"), None, &[]);
    assert_eq!(unknown["verdict"], "undetermined");
    assert_eq!(failed(&unknown, "windows-version-unknown").as_deref(), Some("warning"));
    assert_eq!(finding(&unknown, "windows-version-unsupported")["outcome"], "unknown");
}

#[test]
fn an_index_entry_that_says_another_version_is_told() {
    let image = image(json!("10.0.20348.2227"), "Apply image ltsc2022-amd64");
    assert_eq!(failed(&result(&image, Some("10.0.20348.2227"), &[]), "windows-version-mismatch"), None);
    let other = result(&image, Some("10.0.17763.3887"), &[]);
    assert_eq!(failed(&other, "windows-version-mismatch").as_deref(), Some("warning"));
    let evidence = &finding(&other, "windows-version-mismatch")["evidence"];
    assert_eq!(evidence[1]["field"], "manifests[].platform.os.version");
}

#[test]
fn hosts_that_are_named_have_to_run_it() {
    let image = image(json!("10.0.20348.2227"), "Apply image ltsc2022-amd64");
    let on = |hosts: &str| failed(&result(&image, None, &["--set", &format!("host={hosts}")]), "windows-host-mismatch");
    assert_eq!(on("ltsc2022,ltsc2025"), None);
    assert_eq!(on("ltsc2022,10.0.17763").as_deref(), Some("error"));
    let old = self::image(json!("10.0.17763.3887"), "Apply image ltsc2019-amd64");
    let newer = result(&old, None, &["--set", "host=ltsc2022"]);
    assert_eq!(failed(&newer, "windows-host-mismatch").as_deref(), Some("warning"), "Hyper-V would do");
    let wrong = check(["--set", "host=ltsc2023", "oci:nowhere"]);
    assert_eq!(wrong.code, 2);
    assert!(wrong.stderr.contains("did you mean `ltsc2022`"), "{}", wrong.stderr);
}

#[test]
fn who_asks_for_windows_has_workers_with_windows() {
    let folder = tempfile::tempdir().unwrap();
    write_layout(folder.path(), &[(&image(json!("10.0.20348.1"), "Apply image x"), "")]);
    let name = format!("oci:{}", folder.path().display());
    let mismatch = |arguments: &[&str]| {
        let result = check([arguments, &[name.as_str()]].concat()).result();
        failed(&result, "platform-mismatch").is_some()
    };
    assert!(mismatch(&[]), "the worker is linux/amd64 unless something speaks against it");
    assert!(!mismatch(&["--platform", "windows/amd64"]));
    assert!(!mismatch(&["--set", "host=ltsc2022"]));
    assert!(!mismatch(&["--set", "worker=windows/amd64"]));
    assert!(mismatch(&["--platform", "windows/amd64", "--set", "worker=linux/amd64"]));
}

#[test]
fn linux_images_are_not_asked() {
    let folder = tempfile::tempdir().unwrap();
    write_layout(folder.path(), &[(&TestImage::new(json!({})), "")]);
    let result = check([format!("oci:{}", folder.path().display())]).result();
    let not_applicable = result["not_applicable"].as_array().unwrap();
    for rule in ["windows-version-unsupported", "windows-version-unknown", "windows-host-mismatch", "foreign-layers"] {
        assert!(not_applicable.contains(&json!(rule)), "{rule}");
    }
}
