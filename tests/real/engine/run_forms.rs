//! The other forms of a run: a script pod's, a closed home, Calamari as payload, an engine behind TLS or without the image.

use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use serde_json::{Value, json};

use super::engines::Engine;
use super::tool_corpus;
use crate::support::image::{Tar, TestImage, write_layout};
use crate::support::{Run, finding, leave_out, program, real_part};

/// The stages of a variant, by name: their outcomes.
fn outcomes(result: &Value, variant: Option<&str>) -> Vec<(String, String)> {
    let stages = result["run"]["stages"].as_array().unwrap().iter();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    stages
        .filter(|stage| stage["variant"].as_str() == variant)
        .map(|stage| (text(&stage["name"]), text(&stage["outcome"])))
        .collect()
}

fn outcome(result: &Value, variant: Option<&str>, name: &str) -> String {
    let all = outcomes(result, variant);
    all.iter().find(|(known, _)| known == name).unwrap_or_else(|| panic!("{name}: {:#}", result["run"])).1.clone()
}

/// An image with bash, openssl and a shell with the usual small programs; and one without openssl.
fn images() -> Option<(TestImage, TestImage)> {
    let (with, without) = tool_corpus::with_and_without_openssl()?;
    let Ok(busybox) = std::fs::read("/bin/busybox") else {
        leave_out("a static busybox");
        return None;
    };
    let tools = ["dirname", "basename", "wc", "uname", "sh", "grep"]
        .iter()
        .fold(Tar::default(), |tar, name| tar.link(&format!("usr/bin/{name}"), "/usr/bin/busybox"));
    let tools = tools.file("usr/bin/busybox", 0o755, &busybox);
    let [with, without] = [with, without].map(|image| image.layer("COPY busybox", &tools));
    Some((with, without))
}

#[test]
fn a_pod_is_run_by_its_shell_as_root_and_as_uid_999() {
    let Some((good, _)) = images() else { return };
    let no_shell = good.clone().layer("RUN rm sh", &Tar::default().whiteout("usr/bin/sh").whiteout("bin/sh"));
    for engine in Engine::all() {
        let run = |image: &TestImage, tag: &str| {
            let archive = engine.load(&[(image, &[tag])]);
            engine.check(&["--set", "target=kubernetes", &archive.given]).result()
        };
        let pod = run(&good, "imglint/pod:1");
        assert_eq!(pod["run"]["form"], "pod");
        for variant in [None, Some("uid 999")] {
            for name in ["shell:bash", "variables", "artifact"] {
                assert_eq!(outcome(&pod, variant, name), "pass", "{}: {name}: {:#}", engine.name, pod["run"]);
            }
        }
        let words = pod["run"]["command"].as_array().unwrap();
        assert!(words.contains(&json!("--entrypoint=sh")) && words.contains(&json!("-c")), "{words:?}");
        assert_eq!(pod["run"]["disagreements"], json!([]), "{}", engine.name);

        let without = run(&no_shell, "imglint/pod-without-sh:1");
        assert_eq!(outcome(&without, None, "start"), "fail", "{}: {:#}", engine.name, without["run"]);
        let evidence = finding(&without, "shell-missing")["evidence"].as_array().unwrap();
        assert_eq!(evidence.last().unwrap()["basis"], "run", "{evidence:?}");
        engine.is_left_clean();
    }
}

#[test]
fn a_closed_home_keeps_out_users_who_are_not_root() {
    let Some((good, _)) = images() else { return };
    for engine in [Engine::docker(), Engine::podman()].into_iter().flatten() {
        let archive = engine.load(&[(&good.clone().user("1000"), &["imglint/user-1000:1"])]);
        let result = engine.check(&[&archive.given]).result();
        let closed = outcomes(&result, Some("home of mode 0700"));
        assert_eq!(closed, [("start".to_owned(), "fail".to_owned())], "{}: {:#}", engine.name, result["run"]);
        let stages = result["run"]["stages"].as_array().unwrap();
        let closed = stages.iter().find(|stage| stage["variant"] == "home of mode 0700").unwrap();
        assert!(closed["output"].as_str().unwrap().to_lowercase().contains("permission denied"), "{closed}");
        // What the run shows first is reported as evidence: even in an open home the work folder is the worker's.
        let evidence = finding(&result, "user-not-root")["evidence"].as_array().unwrap().last().unwrap();
        assert!(evidence["statement"].as_str().unwrap().contains("the work folder cannot be written to"), "{evidence}");
        assert_eq!(outcome(&result, None, "cleanup"), "pass");
        let root = engine.load(&[(&good, &["imglint/user-0:1"])]);
        assert_eq!(outcomes(&engine.check(&[&root.given]).result(), Some("home of mode 0700")), []);
    }
}

#[test]
fn calamari_is_asked_for_its_version_and_given_a_step() {
    let Some((good, silent)) = images() else { return };
    let Some(engine) = Engine::docker() else { return };
    // Stands in for Calamari: it reads its variables as a file and hands the script to the image's bash.
    let folder = tempfile::tempdir().unwrap();
    let calamari = folder.path().join("Calamari");
    let script = "#!/bin/bash\ncase $1 in version) exit 0;; run-script) file=${2#--variables=};; *) exit 9;; esac\n\
        grep -q 'Octopus.Action.Script.ScriptBody' \"$file\" || exit 8\n\
        value=$(openssl version >/dev/null && echo \"imglint's\")\necho \"the variable is: $value\"; exit 42\n";
    std::fs::write(&calamari, script).unwrap();
    std::fs::set_permissions(&calamari, std::fs::Permissions::from_mode(0o755)).unwrap();
    let payload = folder.path().display().to_string();
    for (image, tag, ending) in
        [(&good, "imglint/calamari:1", "pass"), (&silent, "imglint/calamari-without-openssl:1", "fail")]
    {
        let archive = engine.load(&[(image, &[tag])]);
        let result = engine.check(&["--payload", &payload, &archive.given]).result();
        assert_eq!(outcome(&result, None, "payload"), "pass", "{:#}", result["run"]);
        assert_eq!(outcome(&result, None, "payload:run-script"), ending, "{:#}", result["run"]);
    }
}

#[test]
fn an_engine_behind_tls_is_shown_who_we_are() {
    let Some(url) = real_part("a Docker engine behind TLS", "IMGLINT_TEST_DOCKER_TLS") else { return };
    let Some(certificates) = real_part("certificates for it", "IMGLINT_TEST_DOCKER_CERTS") else { return };
    let known = Run::of(program().args(["engines"]).env("DOCKER_HOST", &url).env("DOCKER_CERT_PATH", &certificates));
    assert!(known.code == 0 && known.stdout.starts_with("docker "), "{}{}", known.stdout, known.stderr);
    let stranger = Run::of(program().args(["engines"]).env("DOCKER_HOST", &url));
    assert_eq!((stranger.code, stranger.stderr.lines().count()), (2, 1), "{}", stranger.stderr);
}

#[test]
fn an_image_that_the_engine_lacks_is_fetched_with_this_machine_s_credentials() {
    let Some(engine) = Engine::docker() else { return };
    let Some(registry) = real_part("a registry with basic auth", "IMGLINT_TEST_REGISTRY_AUTH") else { return };
    let Some(file) = real_part("credentials", "IMGLINT_TEST_REGISTRY_AUTH_FILE") else { return };
    let folder = tempfile::tempdir().unwrap();
    // Another image in each run of the tests, so an engine that is still there lacks it.
    let only = format!("ONLY=IN_THE_REGISTRY_{}", std::process::id());
    let image = TestImage::like_this_machine(json!({"Env": [only]})).unwrap();
    write_layout(folder.path(), &[(&image, "1")]);
    let name = format!("{registry}/imglint/private:1");
    let (from, to) = (format!("oci:{}:1", folder.path().display()), format!("docker://{name}"));
    let copied = Command::new("skopeo")
        .args(["--insecure-policy", "copy", "-q", &from, &to, "--dest-tls-verify=false", "--dest-authfile", &file])
        .status();
    assert!(copied.unwrap().success());
    let result = engine.check(&["--registry-auth", &file, &to]).result();
    let pull = &result["run"]["stages"][0];
    assert_eq!((&pull["name"], &pull["outcome"]), (&json!("pull"), &json!("pass")), "{pull}");
    assert!(pull["output"].as_str().unwrap().starts_with("fetched: sha256:") && !pull["duration_ms"].is_null());
}
