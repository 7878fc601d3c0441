//! Tests how engines are chosen, without any engine.

use crate::support::{Run, program};

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
