//! The same image gives the same findings wherever it is read from.

use std::fs::File;

use crate::support::{Run, check, finding, program, real_part, rules};
use serde_json::Value;

/// The findings on `tests/support/make-test-images`' image `faulty` as its layout gives them: what all others must give.
fn expected(images: &str) -> Value {
    check([format!("oci:{images}/faulty:1.0.0")]).result()
}

/// Asserts that a run found what the layout's run finds, evidence included.
pub fn assert_same(run: &Run, source: &str, images: &str) {
    let (found, expected) = (run.result(), expected(images));
    assert_eq!(found["image"]["source"], source);
    assert_eq!(found["image"]["config_digest"], expected["image"]["config_digest"]);
    assert_eq!(found["findings"], expected["findings"], "findings from {source}");
    for list in ["passed", "not_applicable"] {
        assert_eq!(without_name_rules(&found[list]), without_name_rules(&expected[list]), "{list} from {source}");
    }
    assert_eq!(run.code, 1);
}

/// Rules about the name and the manifest's form may not apply to an archive that has neither.
fn without_name_rules(rules: &Value) -> Vec<&str> {
    let about_form = ["tag-floating", "manifest-schema-1", "media-types-mixed"];
    rules.as_array().unwrap().iter().filter_map(Value::as_str).filter(|rule| !about_form.contains(rule)).collect()
}

pub fn images() -> Option<String> {
    real_part("the test images", "IMGLINT_TEST_IMAGES")
}

#[test]
fn the_faulty_image_has_the_faults_it_was_made_with() {
    let Some(images) = images() else { return };
    let found = expected(&images);
    assert_eq!(found["verdict"], "incompatible");
    assert_eq!(
        rules(&found, "error", "fail"),
        ["bash-missing", "icu-missing", "openssl-command-missing", "openssl-library-missing"]
    );
    let warnings = rules(&found, "warning", "fail");
    for rule in ["entrypoint-defined", "user-not-root", "volume-over-work-folder"] {
        assert!(warnings.iter().any(|warning| warning == rule), "{rule} is not in {warnings:?}");
    }
    let instruction = |rule| finding(&found, rule)["evidence"][0]["instruction"].clone();
    assert_eq!(instruction("entrypoint-defined"), "ENTRYPOINT [\"/srv/app/start\"]");
    assert_eq!(instruction("cmd-defined"), "CMD [\"serve\"]");
    assert_eq!(instruction("user-not-root"), "USER 1000");
}

#[test]
fn a_plain_http_registry_gives_the_same_findings() {
    let Some(images) = images() else { return };
    let Some(registry) = real_part("a registry", "IMGLINT_TEST_REGISTRY") else { return };
    assert_same(&check([format!("docker://{registry}/imglint/faulty:1.0.0")]), "registry", &images);
}

#[test]
fn docker_archives_give_the_same_findings_plain_and_compressed() {
    let Some(images) = images() else { return };
    for form in ["docker.tar", "docker.tar.gz", "docker.tar.zst"] {
        assert_same(&check([format!("docker-archive:{images}/faulty.{form}")]), "docker-archive", &images);
    }
}

#[test]
fn an_archive_as_docker_25_writes_it_gives_the_same_findings() {
    let Some(images) = images() else { return };
    assert_same(&check([format!("docker-archive:{images}/faulty.docker-25.tar")]), "docker-archive", &images);
}

#[test]
fn oci_archives_give_the_same_findings_plain_and_compressed() {
    let Some(images) = images() else { return };
    for form in ["oci.tar", "oci.tar.gz"] {
        assert_same(&check([format!("oci-archive:{images}/faulty.{form}")]), "oci-archive", &images);
    }
}

#[test]
fn a_path_without_transport_is_told_by_its_content() {
    let Some(images) = images() else { return };
    for (path, source) in
        [("faulty", "oci"), ("faulty.oci.tar", "oci-archive"), ("faulty.docker.tar.gz", "docker-archive")]
    {
        assert_same(&check([format!("{images}/{path}")]), source, &images);
    }
}

#[test]
fn standard_input_gives_the_same_findings() {
    let Some(images) = images() else { return };
    for (form, source) in [
        ("docker.tar", "docker-archive"),
        ("docker.tar.zst", "docker-archive"),
        ("docker-25.tar", "docker-archive"),
        ("oci.tar.gz", "oci-archive"),
    ] {
        let file = File::open(format!("{images}/faulty.{form}")).unwrap();
        assert_same(&Run::of(program().args(["check", "--report", "json", "-"]).stdin(file)), source, &images);
    }
}

#[test]
fn debian_s_own_images_lack_only_what_dotnet_and_bash_steps_need() {
    let Some(images) = images() else { return };
    let mut seen = 0;
    for release in ["11", "12", "13"] {
        // A mirror may have dropped the oldest.
        if !std::path::Path::new(&images).join(format!("debian-{release}")).exists() {
            continue;
        }
        seen += 1;
        let result = check([format!("oci:{images}/debian-{release}")]).result();
        // Debian 12 has nothing that uses OpenSSL in its smallest system.
        let mut lacks = vec!["icu-missing", "openssl-command-missing"];
        lacks.extend((release == "12").then_some("openssl-library-missing"));
        assert_eq!(rules(&result, "error", "fail"), lacks, "Debian {release}: {result:#}");
        assert!(rules(&result, "error", "unknown").is_empty(), "Debian {release}: {result:#}");
    }
    let ready = format!("{images}/ready");
    if std::path::Path::new(&ready).exists() {
        let run = check([format!("oci:{ready}")]);
        assert_eq!((run.code, &run.result()["verdict"]), (0, &Value::from("compatible")), "{}", run.stdout);
    }
    assert!(seen >= 2, "only {seen} of Debian 11, 12 and 13 are in {images}");
}
