//! Debian's docker-registry over plain HTTP, over TLS from a test CA, and with basic authentication.

use crate::support::{Run, check, program, real_part};

const FAULTY: &str = "imglint/faulty:1.0.0";

/// Asserts that the image was read to its end, whatever the verdict: it is the faulty one.
fn assert_read(run: &Run) {
    let result = run.result();
    assert_eq!((run.code, &result["error"]), (1, &serde_json::Value::Null), "{}", run.stderr);
    assert_eq!(result["verdict"], "incompatible");
    assert!(result["image"]["digest"].as_str().is_some_and(|digest| digest.starts_with("sha256:")), "{result:#}");
}

#[test]
fn loopback_is_asked_over_plain_http_without_an_option() {
    let Some(registry) = real_part("a registry", "IMGLINT_TEST_REGISTRY") else { return };
    assert_read(&check([format!("docker://{registry}/{FAULTY}")]));
}

#[test]
fn a_digest_names_the_same_image_as_its_tag() {
    let Some(registry) = real_part("a registry", "IMGLINT_TEST_REGISTRY") else { return };
    let by_tag = check([format!("docker://{registry}/{FAULTY}")]).result();
    let digest = by_tag["image"]["digest"].as_str().unwrap();
    let by_digest = check([format!("docker://{registry}/imglint/faulty@{digest}")]).result();
    assert_eq!(by_digest["image"]["config_digest"], by_tag["image"]["config_digest"]);
    assert_eq!(by_digest["findings"], by_tag["findings"]);
}

#[test]
fn an_absent_tag_and_an_absent_repository_are_named() {
    let Some(registry) = real_part("a registry", "IMGLINT_TEST_REGISTRY") else { return };
    for absent in ["imglint/faulty:9.9.9", "imglint/nothing:1"] {
        check([format!("docker://{registry}/{absent}")]).fails_saying(&[absent]);
    }
}

#[test]
fn an_absent_digest_is_named() {
    let Some(registry) = real_part("a registry", "IMGLINT_TEST_REGISTRY") else { return };
    let absent = format!("sha256:{}", "0".repeat(64));
    check([format!("docker://{registry}/imglint/faulty@{absent}")]).fails_saying(&[&absent]);
}

#[test]
fn a_registry_of_one_s_own_ca_is_trusted_with_tls_ca() {
    let Some(registry) = real_part("a TLS registry", "IMGLINT_TEST_REGISTRY_TLS") else { return };
    let Some(ca) = real_part("a test CA", "IMGLINT_TEST_CA") else { return };
    assert_read(&check(["--tls-ca", &ca, &format!("docker://{registry}/{FAULTY}")]));
    let by_name = registry.replace("127.0.0.1", "localhost");
    assert_read(&check(["--tls-ca", &ca, &format!("docker://{by_name}/{FAULTY}")]));
}

#[test]
fn a_registry_of_an_unknown_ca_is_refused_with_a_word_on_certificates() {
    let Some(registry) = real_part("a TLS registry", "IMGLINT_TEST_REGISTRY_TLS") else { return };
    let run = check([format!("docker://{registry}/{FAULTY}")]);
    run.fails_saying(&[&registry]);
    assert!(run.stderr.to_lowercase().contains("certificate"), "{}", run.stderr);
    assert!(run.stderr.contains("--tls-ca"), "the way out is named: {}", run.stderr);
}

#[test]
fn a_ca_file_that_is_none_is_an_error() {
    let Some(registry) = real_part("a TLS registry", "IMGLINT_TEST_REGISTRY_TLS") else { return };
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("no-ca.pem");
    std::fs::write(&file, "not a certificate").unwrap();
    let file = file.to_str().unwrap();
    for ca in [file, "/nowhere/ca.pem"] {
        let run = check(["--tls-ca", ca, &format!("docker://{registry}/{FAULTY}")]);
        assert!(run.one_clear_line().contains(ca), "{}", run.stderr);
    }
}

#[test]
fn right_credentials_from_a_file_open_the_registry() {
    let Some(registry) = real_part("a registry with basic auth", "IMGLINT_TEST_REGISTRY_AUTH") else { return };
    let Some(file) = real_part("its credentials", "IMGLINT_TEST_REGISTRY_AUTH_FILE") else { return };
    assert_read(&check(["--registry-auth", &file, &format!("docker://{registry}/{FAULTY}")]));
}

#[test]
fn right_credentials_are_found_where_docker_and_podman_keep_them() {
    let Some(registry) = real_part("a registry with basic auth", "IMGLINT_TEST_REGISTRY_AUTH") else { return };
    let Some(file) = real_part("its credentials", "IMGLINT_TEST_REGISTRY_AUTH_FILE") else { return };
    let image = format!("docker://{registry}/{FAULTY}");
    let arguments = ["check", "--report", "json", &image];
    assert_read(&Run::of(program().env("REGISTRY_AUTH_FILE", &file).args(arguments)));

    let docker = tempfile::tempdir().unwrap();
    std::fs::copy(&file, docker.path().join("config.json")).unwrap();
    assert_read(&Run::of(program().env("DOCKER_CONFIG", docker.path()).args(arguments)));
}

#[test]
fn wrong_credentials_are_refused_and_not_shown() {
    let Some(registry) = real_part("a registry with basic auth", "IMGLINT_TEST_REGISTRY_AUTH") else { return };
    let Some(file) = real_part("its wrong credentials", "IMGLINT_TEST_REGISTRY_AUTH_WRONG_FILE") else { return };
    let run = check(["--registry-auth", &file, &format!("docker://{registry}/{FAULTY}")]);
    run.fails_saying(&[&registry]);
    for shown in [&run.stderr, &run.stdout] {
        assert!(!shown.contains("wrong-password"), "{shown}");
    }
}

#[test]
fn without_credentials_the_login_that_is_missing_is_named() {
    let Some(registry) = real_part("a registry with basic auth", "IMGLINT_TEST_REGISTRY_AUTH") else { return };
    let run = check([format!("docker://{registry}/{FAULTY}")]);
    run.fails_saying(&[&registry]);
    let line = run.one_clear_line();
    assert!(["login", "credentials", "--registry-auth"].iter().any(|word| line.contains(word)), "{line}");
}
