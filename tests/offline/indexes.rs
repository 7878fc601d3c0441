//! Which images of an index, a layout or an archive are judged: nested indexes, attestations, platforms, links.

use std::fs;
use std::path::Path;

use crate::support::image::{Tar, TestImage, blob, write_layout};
use crate::support::{check, rules};
use serde_json::{Value, json};

const INDEX: &str = "application/vnd.oci.image.index.v1+json";

fn image_for(architecture: &str) -> TestImage {
    TestImage::new(json!({})).field("architecture", json!(architecture)).layer("COPY", &Tar::default().folder("srv"))
}

/// The platforms that were judged, in order.
fn judged(arguments: &[&str], layout: &Path) -> Vec<String> {
    let image = format!("oci:{}", layout.display());
    let run = check(arguments.iter().copied().chain([image.as_str()]));
    let results = run.report()["results"].as_array().unwrap().clone();
    results.iter().map(|result| result["image"]["platform"]["architecture"].as_str().unwrap().to_owned()).collect()
}

fn index_json(layout: &Path) -> Value {
    serde_json::from_slice(&fs::read(layout.join("index.json")).unwrap()).unwrap()
}

fn write_index(layout: &Path, manifests: &Value) {
    let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests});
    fs::write(layout.join("index.json"), index.to_string()).unwrap();
}

/// A layout of three images of one name: amd64, arm64, s390x.
fn three() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let images = ["amd64", "arm64", "s390x"].map(image_for);
    write_layout(folder.path(), &images.each_ref().map(|image| (image, "1")));
    folder
}

#[test]
fn every_platform_is_judged_when_all_are_asked_for() {
    let folder = three();
    assert_eq!(judged(&["--platform", "all"], folder.path()), ["amd64", "arm64", "s390x"]);
    assert_eq!(judged(&["--platform", "linux/s390x"], folder.path()), ["s390x"]);
}

#[test]
fn a_worker_takes_its_own_entry_and_the_others_are_not_held_against_it() {
    let folder = three();
    assert_eq!(judged(&["--set", "worker=linux/s390x"], folder.path()), ["s390x"]);
    assert_eq!(judged(&["--set", "worker=linux/s390x", "--platform", "linux/arm64"], folder.path()), ["arm64"]);
    let name = format!("oci:{}", folder.path().display());
    let mismatch = |arguments: &[&str]| {
        let report = check([arguments, &[name.as_str()]].concat()).report();
        let results = report["results"].as_array().unwrap().clone();
        results.iter().filter(|result| rules(result, "error", "fail").contains(&"platform-mismatch".to_owned())).count()
    };
    assert_eq!(mismatch(&["--set", "worker=linux/s390x", "--platform", "all"]), 0, "a worker pulls its own");
    assert_eq!(mismatch(&["--set", "worker=linux/riscv64", "--platform", "all"]), 3, "there is none for it");
    assert_eq!(mismatch(&["--set", "worker=linux/s390x", "--platform", "linux/arm64"]), 1, "it was asked for");
}

#[test]
fn indexes_in_indexes_are_followed() {
    let folder = three();
    let inner = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": index_json(folder.path())["manifests"]});
    let middle = json!({"schemaVersion": 2, "mediaType": INDEX,
        "manifests": [blob(folder.path(), INDEX, inner.to_string().as_bytes())]});
    write_index(folder.path(), &json!([blob(folder.path(), INDEX, middle.to_string().as_bytes())]));
    assert_eq!(judged(&["--platform", "all"], folder.path()), ["amd64", "arm64", "s390x"]);
    assert_eq!(judged(&["--platform", "linux/arm64"], folder.path()), ["arm64"]);
}

#[test]
fn an_index_nested_in_itself_ends_in_an_error() {
    let folder = tempfile::tempdir().unwrap();
    write_layout(folder.path(), &[(&image_for("amd64"), "1")]);
    let mut entry = index_json(folder.path())["manifests"][0].clone();
    for _ in 0..8 {
        let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [entry]});
        entry = blob(folder.path(), INDEX, index.to_string().as_bytes());
    }
    write_index(folder.path(), &json!([entry]));
    check([format!("oci:{}", folder.path().display())]).fails_saying(&["nested"]);
}

#[test]
fn attestations_are_never_chosen() {
    let folder = three();
    let mut manifests = index_json(folder.path())["manifests"].clone();
    let attestation =
        json!({"schemaVersion": 2, "config": {"mediaType": "application/vnd.in-toto+json"}, "layers": []});
    let mut entry =
        blob(folder.path(), "application/vnd.oci.image.manifest.v1+json", attestation.to_string().as_bytes());
    entry["platform"] = json!({"os": "unknown", "architecture": "unknown"});
    entry["annotations"] = json!({"vnd.docker.reference.type": "attestation-manifest"});
    manifests.as_array_mut().unwrap().insert(0, entry);
    write_index(folder.path(), &manifests);
    assert_eq!(judged(&["--platform", "all"], folder.path()), ["amd64", "arm64", "s390x"]);
    check(["--platform", "unknown/unknown", &format!("oci:{}", folder.path().display())])
        .fails_saying(&["linux/s390x"]);
}

#[test]
fn entries_that_name_no_platform_are_told_by_their_configuration() {
    let folder = three();
    let mut manifests = index_json(folder.path())["manifests"].clone();
    for entry in manifests.as_array_mut().unwrap() {
        entry.as_object_mut().unwrap().remove("platform");
    }
    write_index(folder.path(), &manifests);
    assert_eq!(judged(&["--platform", "linux/arm64"], folder.path()), ["arm64"]);
}

#[test]
fn blobs_may_be_links() {
    let folder = tempfile::tempdir().unwrap();
    for layer in write_layout(folder.path(), &[(&image_for("amd64"), "1")]) {
        let kept = folder.path().join("kept");
        fs::rename(&layer, &kept).unwrap();
        std::os::unix::fs::symlink("../../kept", &layer).unwrap();
    }
    assert_eq!(judged(&[], folder.path()), ["amd64"]);
}

#[test]
fn a_document_that_is_index_and_manifest_at_once_is_refused() {
    let folder = three();
    let mut index = index_json(folder.path());
    index["config"] = index["manifests"][0].clone();
    fs::write(folder.path().join("index.json"), index.to_string()).unwrap();
    check([format!("oci:{}", folder.path().display())]).fails_saying(&["index and a manifest at once"]);
}
