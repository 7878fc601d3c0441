//! What a run makes of a verdict: an image cannot talk itself green, and no stage that failed is forgotten.

use std::path::Path;

use serde_json::{Value, json};

use super::corpus::corpus;
use super::engines::Engine;
use crate::support::image::{Tar, TestImage, write_layout};
use crate::support::{Run, finding, leave_out, program, real_part, rules};

/// An image of Debian by its name in the corpus.
fn debian(name: &str) -> Option<TestImage> {
    let images = real_part("images of Debian", "IMGLINT_TEST_IMAGES")?;
    let all = corpus(Path::new(&images), None);
    Some(all.into_iter().find(|(known, _)| *known == name).unwrap().1)
}

fn outcome<'a>(result: &'a Value, stage: &str) -> &'a str {
    let stages = result["run"]["stages"].as_array().unwrap();
    stages.iter().find(|known| known["name"] == stage).map_or("", |stage| stage["outcome"].as_str().unwrap())
}

#[test]
fn an_image_cannot_print_itself_green() {
    let (Some(engine), Some(without_icu)) = (Engine::docker(), debian("debian-12-openssl")) else { return };
    let says = ["globalization", "cryptography", "shell:bash", "variables", "artifact"];
    let script: String = says.iter().map(|stage| format!("echo '##imglint {stage} pass forged'\n")).collect();
    let forged = without_icu
        .clone()
        .layer("COPY evil.sh", &Tar::default().file("evil.sh", 0o755, format!("{script}exit 42\n").as_bytes()))
        .field("config", json!({"Env": ["PATH=/usr/bin:/bin", "BASH_ENV=/evil.sh"]}));
    let archive = engine.load(&[(&forged, &["imglint/verdict-forged:1"])]);
    for trusted in [&[][..], &["--trust-run"]] {
        let run = engine.check(&[trusted, &[archive.given.as_str()]].concat());
        let result = run.result();
        assert_eq!((run.code, &result["verdict"]), (1, &json!("incompatible")), "{:#}", result["run"]);
        assert_eq!(finding(&result, "icu-missing")["outcome"], "fail", "{:#}", result["run"]);
    }
}

#[test]
fn a_container_that_cannot_be_created_or_started_is_a_finding_in_every_profile() {
    let Some(engine) = Engine::docker() else { return };
    let Ok(busybox) = std::fs::read("/bin/busybox") else {
        leave_out("a static busybox");
        return;
    };
    let tar = Tar::default().file("bin/busybox", 0o755, &busybox).link("bin/bash", "busybox");
    let image = |config| TestImage::like_this_machine(config).unwrap().layer("COPY busybox", &tar);
    let folder = tempfile::tempdir().unwrap();
    let profile = folder.path().join("own.toml");
    let text = "id = \"own\"\ntitle = \"t\"\ndocs = \"https://example.com\"\nrules = [\"media-types-mixed\"]\n";
    std::fs::write(&profile, text).unwrap();
    let profile = profile.display().to_string();
    for (name, config) in [
        ("volume", json!({"Env": ["PATH=/bin"], "Volumes": {"/": {}}})),
        ("variable", json!({"Env": ["PATH=/bin", "=x"]})),
        ("user", json!({"Env": ["PATH=/bin"], "User": "nobody-here"})),
        ("group", json!({"Env": ["PATH=/bin"], "User": "root:nogroup-here"})),
    ] {
        let archive = engine.load(&[(&image(config), &[&format!("imglint/verdict-{name}:1")])]);
        // In a profile that has a rule for it the run confirms that rule; in any other the run is a finding of its own.
        for (arguments, said) in [
            (&["--profile", profile.as_str()][..], "run-"),
            (&["--rule", "libc-not-glibc=off"], "container-does-not-start"),
            (&["--rule", "libc-not-glibc=off", "--rule", "container-does-not-start=off"], "run-"),
        ] {
            let run = engine.check(&[arguments, &[archive.given.as_str()]].concat());
            let result = run.result();
            let says = |outcome| rules(&result, "error", outcome).iter().any(|rule| rule.starts_with(said));
            assert_eq!(run.code, 1, "{name}: {:#}", result["run"]);
            assert!(says("fail") || says("unknown"), "{name} {arguments:?}: {result:#}");
        }
    }
}

#[test]
fn a_payload_that_ends_with_an_unknown_error_is_a_finding() {
    let (Some(engine), Some(good)) = (Engine::docker(), debian("debian-12-all")) else { return };
    let folder = tempfile::tempdir().unwrap();
    let script = "#!/bin/sh\necho 'a word that nobody knows' >&2\nexit 3\n";
    std::fs::write(folder.path().join("program"), script).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(folder.path().join("program"), mode).unwrap();
    let archive = engine.load(&[(&good, &["imglint/verdict-payload:1"])]);
    let payload = folder.path().display().to_string();
    let run = engine.check(&["--payload", &payload, "--payload-command", "program", &archive.given]);
    let result = run.result();
    assert_eq!((run.code, outcome(&result, "payload")), (1, "fail"), "{:#}", result["run"]);
    let said = finding(&result, "run-failed")["evidence"][0]["statement"].as_str().unwrap().to_owned();
    assert!(said.starts_with("running it, the stage payload failed: a word that nobody knows"), "{said}");
}

#[test]
fn a_run_that_starts_nothing_is_undetermined() {
    let Some(engine) = Engine::docker() else { return };
    let folder = tempfile::tempdir().unwrap();
    let other = if cfg!(target_arch = "x86_64") { "arm64" } else { "amd64" };
    let none = TestImage::new(json!({"Env": ["NOBODY=HAS_THIS_EITHER"]}));
    let foreign = TestImage::new(json!({})).field("architecture", json!(other));
    for (name, image, why) in [("none", none, "does not have it"), ("foreign", foreign, "under emulation")] {
        let layout = folder.path().join(name);
        write_layout(&layout, &[(&image, "")]);
        // Everything that is read is left out, so that the run decides alone.
        let given = format!("oci:{}", layout.display());
        let ids = Run::of(program().args(["rules", "--markdown"])).stdout;
        let ids = ids.lines().filter_map(|line| line.strip_prefix("| [`")?.split('`').next());
        let off = ids.filter(|id| !id.starts_with("run-")).map(|id| format!("{id}=off")).collect::<Vec<_>>().join(" ");
        let mut command = engine.command(&[&given]);
        let run = Run::of(command.env("IMGLINT_RULE", off));
        let result = run.result();
        assert_eq!((run.code, &result["verdict"]), (1, &json!("undetermined")), "{name}: {result:#}");
        let said = finding(&result, "run-undetermined")["evidence"][0]["statement"].as_str().unwrap().to_owned();
        assert!(said.starts_with("no container was seen to start") && said.contains(why), "{said}");
    }
}

#[test]
fn a_good_image_is_compatible_when_it_is_run() {
    let Some(good) = debian("debian-12-all") else { return };
    for engine in [Engine::docker(), Engine::podman()].into_iter().flatten() {
        let archive = engine.load(&[(&good, &["imglint/verdict-good:1"])]);
        let result = engine.check(&[&archive.given]).result();
        assert_eq!(result["run"]["disagreements"], json!([]), "{}", engine.name);
        let of_run = |outcome| rules(&result, "error", outcome).iter().any(|rule| rule.starts_with("run-"));
        assert!(!of_run("fail") && !of_run("unknown"), "{}: {:#}", engine.name, result["findings"]);
    }
}
