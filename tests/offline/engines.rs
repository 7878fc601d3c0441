//! Tests how engines are chosen, and that the rules about runs belong to every profile, without any engine.

use serde_json::json;

use crate::support::{Run, imglint, program};

#[test]
fn a_context_that_is_not_there_is_one_clear_line_and_no_other_engine_is_asked() {
    let images: [&[&str]; 4] = [
        &["engines"],
        &["check", "--run", "registry.invalid/a:1"],
        &["check", "docker-daemon:registry.invalid/a:1"],
        &["check", "registry.invalid/a:1"],
    ];
    for arguments in images {
        let run = Run::of(program().args(arguments).env("DOCKER_CONTEXT", "production-typo"));
        assert_eq!(run.code, 2);
        let said = format!("{}{}", run.stderr, run.stdout);
        assert!(
            said.contains("Docker's context production-typo is not found (DOCKER_CONTEXT)"),
            "{arguments:?}: {said}"
        );
        assert_eq!(run.stderr.lines().count(), 1, "{}", run.stderr);
    }
}

#[test]
fn a_current_context_that_is_not_there_stops_only_what_needs_an_engine() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("config.json"), r#"{"currentContext":"of-another-machine"}"#).unwrap();
    let run = |arguments: &[&str]| Run::of(program().args(arguments).env("DOCKER_CONFIG", folder.path()));
    for arguments in [&["engines"][..], &["check", "docker-daemon:registry.invalid/a:1"]] {
        let run = run(arguments);
        assert!(run.code == 2 && run.stderr.contains("of-another-machine is not found"), "{}", run.stderr);
    }
    // The registry is asked, which is not there either.
    let run = run(&["check", "registry.invalid/a:1"]);
    assert!(run.code == 2 && !run.stderr.contains("of-another-machine"), "{}", run.stderr);
}

#[test]
fn an_engine_is_never_asked_in_the_clear_where_tls_is_asked_for() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    for name in ["DOCKER_TLS_VERIFY", "DOCKER_TLS", "DOCKER_CERT_PATH"] {
        let run = Run::of(program().arg("engines").env("DOCKER_HOST", &url).env(name, "1"));
        assert!(run.code == 2 && run.stderr.contains("TLS is asked for"), "{name}: {}", run.stderr);
    }
    assert!(listener.accept().is_err(), "nobody has come");
}

#[test]
fn the_rules_about_runs_belong_to_every_profile_and_stay_on() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let file = folder.path().join(name);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(&file, text).unwrap();
        file.display().to_string()
    };
    let head = "id = \"own\"\ntitle = \"t\"\ndocs = \"https://example.com\"\n";
    // A rule of the user's own of that name does not stand in for it.
    let stand_in = "id = \"run-failed\"\ntitle = \"Nothing\"\nseverity = \"info\"\ncheck = { kind = \"os-release-present\" }\n\
        why = \"w\"\nfix = \"f\"\ndocs = \"https://example.com\"\nsources = []\n";
    write("rules/run-failed.toml", stand_in);
    let own = write("own.toml", &format!("{head}rules-folder = \"rules\"\nrules = [\"run-failed\"]\n"));
    let listed = imglint(["rules", "--profile", &own]).stdout;
    for line in
        ["run-failed        error    A stage of the run failed", "run-undetermined  error    The run does not say"]
    {
        assert!(listed.contains(line), "{listed}");
    }
    let off = write("off.toml", &format!("{head}rules = []\n[severity]\nrun-failed = \"off\"\n"));
    let run = imglint(["rules", "--profile", &off]);
    assert!(run.code == 2 && run.stderr.contains("`run-failed` cannot be off"), "{}", run.stderr);
    for rule in ["run-failed", "run-undetermined"] {
        let run = imglint(["check", "--rule", &format!("{rule}=off"), "x"]);
        assert!(run.code == 2 && run.stderr.contains("cannot be off"), "{}", run.stderr);
        assert!(imglint(["explain", rule]).stdout.contains("belongs to every profile"));
    }
    let hello = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/hello");
    let result = crate::support::check(["--rule", "run-failed=warning", hello]).result();
    let applies = result["not_applicable"].as_array().unwrap();
    assert!(applies.contains(&json!("run-failed")) && applies.contains(&json!("run-undetermined")));
}

#[test]
fn a_run_is_trusted_only_if_there_is_one() {
    let run = imglint(["check", "--trust-run", "x"]);
    assert!(run.code == 2 && run.stderr.contains("--run"), "{}", run.stderr);
}
