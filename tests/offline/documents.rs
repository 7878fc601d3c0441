//! Manifests, indexes, configurations, layouts and archives: read as engines read them, and refused as they refuse them.

use std::fs;
use std::path::Path;

use crate::support::image::{Tar, TestImage, blob, docker_archive, write_layout};
use imglint::digest::Digest;
use imglint::image::{Error, Image, SourceOptions, open};
use imglint::platform::PlatformChoice;
use serde_json::{Value, json};
use tempfile::TempDir;

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";

fn images_for(reference: &str, choice: &str) -> Result<Vec<Image>, Error> {
    let choice = if choice.is_empty() { PlatformChoice::Default } else { choice.parse().unwrap() };
    open(&reference.parse().unwrap(), &SourceOptions::default(), &choice)?.source.images(&choice)
}

fn images(reference: &str) -> Result<Vec<Image>, Error> {
    images_for(reference, "")
}

/// The label `is` of the only image.
fn label(reference: &str) -> String {
    let images = images(reference).unwrap_or_else(|error| panic!("{reference}: {error}"));
    assert_eq!(images.len(), 1, "{reference}");
    images[0].configuration.as_ref().unwrap().run.labels["is"].clone()
}

fn refused(reference: &str, words: &[&str]) {
    let error = images(reference).expect_err(reference).to_string();
    for word in words {
        assert!(error.contains(word), "{reference}: {word:?} is not in {error:?}");
    }
}

/// A layout that is made of documents as they are written.
struct Layout {
    folder: TempDir,
}

impl Layout {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn blob(&self, media_type: &str, bytes: &[u8]) -> Value {
        blob(self.path(), media_type, bytes)
    }

    /// A manifest of an image without layers, whose configuration is this document.
    fn image(&self, config: &str) -> Value {
        let config = self.blob(CONFIG, config.as_bytes());
        self.manifest(json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": []}))
    }

    fn manifest(&self, manifest: Value) -> Value {
        self.blob(MANIFEST, manifest.to_string().as_bytes())
    }

    /// The reference, with these entries in index.json.
    fn of(&self, entries: &[Value]) -> String {
        self.with_index(&json!({"schemaVersion": 2, "manifests": entries}).to_string())
    }

    fn with_index(&self, index: &str) -> String {
        fs::write(self.path().join("index.json"), index).unwrap();
        format!("oci:{}", self.path().display())
    }

    /// The reference to an image with this configuration.
    fn configured(&self, config: &str) -> String {
        self.of(&[self.image(config)])
    }
}

/// A configuration with a label and a platform.
fn labelled(is: &str) -> String {
    json!({"os": "linux", "architecture": "amd64", "config": {"Labels": {"is": is}}}).to_string()
}

fn named(mut entry: Value, name: &str) -> Value {
    entry["annotations"] = json!({"org.opencontainers.image.ref.name": name});
    entry
}

#[test]
fn null_is_read_where_go_reads_it() {
    let layout = Layout::new();
    let mut config = layout.blob(CONFIG, labelled("x").as_bytes());
    for key in ["annotations", "urls", "platform", "artifactType"] {
        config[key] = Value::Null;
    }
    let manifest = json!({"schemaVersion": 2, "config": config, "layers": null, "annotations": null, "subject": null});
    let mut entry = layout.manifest(manifest);
    entry["platform"] = Value::Null;
    entry["annotations"] = Value::Null;
    assert_eq!(label(&layout.of(&[Value::Null, entry])), "x");
    refused(&layout.with_index(r#"{"schemaVersion": 2, "manifests": null}"#), &["without any image"]);
}

#[test]
fn a_document_in_which_a_known_key_is_there_twice_is_refused_by_its_name() {
    let layout = Layout::new();
    let good = layout.image(&labelled("good"));
    let twice = "the key is there twice";
    let index = format!(r#"{{"manifests": [{good}], "Manifests": []}}"#);
    refused(&layout.with_index(&index), &["index.json", "manifests", twice]);
    let config = layout.blob(CONFIG, labelled("good").as_bytes());
    let manifest = format!(r#"{{"schemaVersion": 2, "config": {config}, "CONFIG": {config}, "layers": []}}"#);
    refused(&layout.of(&[layout.blob(MANIFEST, manifest.as_bytes())]), &["config", twice, "\"CONFIG\""]);
    let digest = format!(r#"{{"config": {{"digest": {}, "Digest": "", "size": 2}}}}"#, config["digest"]);
    refused(&layout.of(&[layout.blob(MANIFEST, digest.as_bytes())]), &["config.digest", twice]);
    refused(&layout.configured(r#"{"config": {"Env": [], "ENV": ["PATH=/nope"]}}"#), &["config.Env", twice]);
    // Others may be there as often as they like: they are not read.
    assert_eq!(
        label(&layout.configured(r#"{"x": 1e999, "x": 2, "config": {"y": 1, "Y": 2, "Labels": {"is": "read"}}}"#)),
        "read"
    );
}

#[test]
fn keys_are_read_in_any_case_and_broken_unicode_is_replaced() {
    let layout = Layout::new();
    let config = layout.blob(
        CONFIG,
        b"{\"CONFIG\": {\"labels\": {\"is\": \"caf\xe9 \\ud83d\"}}, \"history\": [{\"created_by\": \"\xff\"}]}",
    );
    let manifest =
        format!(r#"{{"SchemaVersion": 2, "Config": {config}, "LAYERS": []}}"#).replace("\"digest\"", "\"Digest\"");
    assert_eq!(label(&layout.of(&[layout.blob(MANIFEST, manifest.as_bytes())])), "caf\u{fffd} \u{fffd}");
}

#[test]
fn configurations_of_media_types_that_engines_take_are_read() {
    let layout = Layout::new();
    for media_type in ["text/html", "application/json", "application/octet-stream", ""] {
        let config = layout.blob(media_type, labelled(media_type).as_bytes());
        let manifest = layout.manifest(json!({"schemaVersion": 2, "config": config, "layers": []}));
        assert_eq!(label(&layout.of(&[manifest])), media_type);
    }
}

#[test]
fn what_is_not_an_image_is_called_what_it_is() {
    let layout = Layout::new();
    let config_of = |media_type: &str| layout.blob(media_type, b"{}");
    let of = |config: Value, layer: &str| {
        let layers = if layer.is_empty() { json!([]) } else { json!([layout.blob(layer, b"x")]) };
        layout.of(&[layout.manifest(json!({"schemaVersion": 2, "config": config, "layers": layers}))])
    };
    for (layer, thing) in [
        ("application/vnd.in-toto+json", "an attestation"),
        ("application/vnd.dsse.envelope.v1+json", "an attestation"),
        ("application/vnd.dev.cosign.simplesigning.v1+json", "a signature"),
        ("application/vnd.dev.sigstore.bundle.v0.3+json", "a signature"),
        ("text/spdx+json", "an SBOM"),
        ("application/vnd.cyclonedx+json", "an SBOM"),
    ] {
        refused(&of(config_of(CONFIG), layer), &["not an image but", thing, layer]);
    }
    for (config, thing) in [
        ("application/vnd.cncf.helm.config.v1+json", "a Helm chart"),
        ("application/vnd.oci.empty.v1+json", "an artifact"),
        ("application/vnd.docker.plugin.v1+json", "a Docker plugin"),
    ] {
        refused(&of(config_of(config), ""), &["not an image but", thing, config]);
    }
    let encrypted = "application/vnd.oci.image.layer.v1.tar+gzip+encrypted";
    refused(&of(config_of(CONFIG), encrypted), &["layer 0 is encrypted", encrypted]);
    refused(&of(config_of(CONFIG), "application/x-tar"), &["layer 0", "application/x-tar", "Docker"]);
}

#[test]
fn an_attestation_that_lost_its_marks_is_not_a_second_image() {
    let layout = Layout::new();
    let config = layout.blob(CONFIG, br#"{"os": "unknown", "architecture": "unknown"}"#);
    let layers = json!([layout.blob("application/vnd.in-toto+json", b"{}")]);
    let attestation = layout.manifest(json!({"schemaVersion": 2, "config": config, "layers": layers}));
    let image = layout.image(&labelled("it"));
    let index = json!({"schemaVersion": 2, "manifests": [&attestation, &image]}).to_string();
    assert_eq!(images_for(&layout.of(&[layout.blob(INDEX, index.as_bytes())]), "all").unwrap().len(), 1);
    assert_eq!(images_for(&layout.of(&[attestation, image]), "all").unwrap().len(), 1);
}

#[test]
fn a_descriptor_with_a_wrong_size_is_said_to_be_wrong() {
    let layout = Layout::new();
    let mut entry = layout.image(&labelled("x"));
    entry["size"] = json!(entry["size"].as_u64().unwrap() + 7);
    refused(&layout.of(&[entry]), &["says size", "containerd"]);
}

#[test]
fn manifests_are_refused_and_read_as_engines_do_it() {
    let layout = Layout::new();
    let config = layout.blob(CONFIG, labelled("x").as_bytes());
    let manifest = |more: Value| {
        let mut manifest = json!({"schemaVersion": 2, "config": config, "layers": []});
        manifest.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        layout.of(&[layout.manifest(manifest)])
    };
    assert_eq!(label(&manifest(json!({"schemaVersion": 3}))), "x");
    refused(&manifest(json!({"manifests": null})), &["an index and a manifest at once"]);
    let mut good = layout.image(&labelled("good"));
    good["platform"] = json!({"os": "linux", "architecture": "amd64"});
    let index = |architecture: &str| {
        let broken =
            json!({"digest": "sha256:x", "size": 1, "platform": {"os": "linux", "architecture": architecture}});
        let index = json!({"schemaVersion": 2, "manifests": [broken, good]}).to_string();
        layout.of(&[layout.blob(INDEX, index.as_bytes())])
    };
    assert_eq!(images_for(&index("s390x"), "linux/amd64").unwrap().len(), 1, "an entry that is broken is for others");
    let error = images_for(&index("amd64"), "linux/amd64").unwrap_err().to_string();
    assert!(error.contains("manifests.digest: entry 0"), "{error}");
    assert_eq!(label(&manifest(json!({"schemaVersion": null, "subject": {}}))), "x");
    refused(&manifest(json!({"schemaVersion": "2"})), &["schemaVersion", "not a number"]);
    refused(&manifest(json!({"layers": [null]})), &["layers", "entry 0 is null"]);
    refused(&manifest(json!({"annotations": {"a": 1}})), &["annotations", "not a text"]);
    refused(&manifest(json!({"subject": "x"})), &["subject"]);
    refused(&manifest(json!({"mediaType": INDEX})), &["said to be a manifest", "calls itself an index"]);
}

#[test]
fn a_reference_to_several_images_lists_them_and_the_same_one_twice_is_one() {
    let layout = Layout::new();
    let [z, app, other] = ["z", "app", "other"].map(|is| layout.image(&labelled(is)));
    let all = [named(z, "z:9"), named(app.clone(), "app:1.0"), named(other.clone(), "other:1.0")];
    let reference = layout.of(&all);
    refused(&reference, &["several images", "z:9", "app:1.0", "other:1.0"]);
    refused(&format!("{reference}:1.0"), &["several images 1.0", "app:1.0, other:1.0"]);
    refused(&format!("{reference}:2.0"), &["no image 2.0", "z:9"]);
    assert_eq!(label(&format!("{reference}:other:1.0")), "other");
    assert_eq!(label(&format!("{reference}:@2")), "other");
    refused(&format!("{reference}:@3"), &["no image @3"]);
    let digest = other["digest"].as_str().unwrap();
    let tagged = layout.of(&[named(app, "1"), named(other.clone(), "2"), named(other.clone(), "latest")]);
    assert_eq!(label(&format!("{tagged}@{digest}")), "other");
    assert_eq!(label(&format!("{tagged}:latest")), "other");
    assert_eq!(label(&layout.of(&[named(other.clone(), "2"), named(other, "latest")])), "other");
    // Two images of one name and one platform are not platforms of one image.
    let [one, two] = ["one", "two"].map(|is| named(layout.image(&labelled(is)), "1"));
    refused(&format!("{}:1", layout.of(&[one, two])), &["several images 1"]);
}

#[test]
fn entries_that_are_the_platforms_of_one_image_are_an_index() {
    let layout = Layout::new();
    let of = |architecture: &str| {
        let config = json!({"os": "linux", "architecture": architecture, "config": {"Labels": {"is": architecture}}});
        layout.image(&config.to_string())
    };
    // Their configurations say what they are for.
    let reference = layout.of(&[of("s390x"), of("x86_64"), of("aarch64")]);
    assert_eq!(images_for(&reference, "all").unwrap().len(), 3);
    let of_arm = images_for(&reference, "linux/arm64").unwrap();
    assert_eq!(of_arm[0].configuration.as_ref().unwrap().run.labels["is"], "aarch64");
    assert_eq!(of_arm[0].platform.to_string(), "linux/arm64");
}

#[test]
fn a_digest_inside_an_index_of_the_layout_is_found() {
    let layout = Layout::new();
    let [one, two] = ["one", "two"].map(|is| layout.image(&labelled(is)));
    let digest = two["digest"].as_str().unwrap().to_owned();
    let index = layout.blob(INDEX, json!({"schemaVersion": 2, "manifests": [one, two]}).to_string().as_bytes());
    let reference = layout.of(&[named(index, "1")]);
    assert_eq!(label(&format!("{reference}@{digest}")), "two");
    refused(&format!("{reference}@{}", Digest::of(b"none")), &["no image sha256:", "there is 1"]);
}

#[test]
fn architectures_are_known_by_all_their_names_and_need_not_be_said() {
    let layout = Layout::new();
    let platform = |config: &str| images(&layout.configured(config)).unwrap()[0].platform.to_string();
    assert_eq!(platform(r#"{"os": "Linux", "architecture": "x86_64"}"#), "linux/amd64");
    assert_eq!(platform(r#"{"os": "linux", "architecture": "AArch64", "variant": "8"}"#), "linux/arm64/v8");
    assert_eq!(platform(r#"{"os": "linux", "architecture": "armhf"}"#), "linux/arm/v7");
    assert_eq!(platform("{}"), "linux/", "engines take their own");
    assert!(images_for(&layout.configured("{}"), "linux/s390x").is_ok());
    let mut entry = layout.image(&labelled("x"));
    entry["platform"] = json!({"os": "linux", "architecture": "x86-64"});
    let index = layout.blob(INDEX, json!({"manifests": [entry]}).to_string().as_bytes());
    assert!(images_for(&layout.of(&[index]), "linux/amd64").is_ok());
}

/// An archive of images that differ by a label, under these names.
fn archive(images: &[(&str, &[&str])]) -> (TempDir, String) {
    let made: Vec<TestImage> = images.iter().map(|(is, _)| TestImage::new(json!({"Labels": {"is": is}}))).collect();
    let all: Vec<(&TestImage, &[&str])> = made.iter().zip(images).map(|(image, (_, names))| (image, *names)).collect();
    in_file(&docker_archive(&all))
}

fn in_file(bytes: &[u8]) -> (TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.tar");
    fs::write(&path, bytes).unwrap();
    let reference = format!("docker-archive:{}", path.display());
    (folder, reference)
}

#[test]
fn images_of_a_docker_archive_are_picked_by_name_position_or_digest() {
    let (_folder, reference) = archive(&[("app", &["app:1.0"]), ("other", &["other:1.0"]), ("none", &[])]);
    refused(&reference, &["several images", "app:1.0, other:1.0"]);
    refused(&format!("{reference}:1.0"), &["several images 1.0", "app:1.0, other:1.0"]);
    refused(&format!("{reference}:@7"), &["no image @7"]);
    assert_eq!(label(&format!("{reference}:other:1.0")), "other");
    assert_eq!(label(&format!("{reference}:@2")), "none");
    let digest = images(&format!("{reference}:@2")).unwrap()[0].config_digest.clone().unwrap();
    assert_eq!(label(&format!("{reference}@{digest}")), "none");
    assert_eq!(label(&format!("{reference}:@{digest}")), "none");
}

#[test]
fn the_manifest_of_a_docker_archive_is_read_as_go_reads_it() {
    let config = labelled("x");
    let of = |manifest: &str| {
        in_file(
            &Tar::default()
                .file("c.json", 0o644, config.as_bytes())
                .file("manifest.json", 0o644, manifest.as_bytes())
                .bytes(),
        )
    };
    for manifest in [
        r#"[{"config": "./c.json", "repoTags": null, "layers": null}]"#,
        r#"[{"CONFIG": "c.json", "RepoTags": ["a:1", null]}]"#,
    ] {
        let (_folder, reference) = of(manifest);
        assert_eq!(label(&reference), "x", "{manifest}");
    }
    let (_folder, reference) = of(r#"[{"Config": "c.json", "config": "d.json"}]"#);
    refused(&reference, &["manifest.json", "Config: the key is there twice"]);
}

#[test]
fn files_that_are_no_archive_are_called_what_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let old = Tar::default().file("repositories", 0o644, br#"{"a": {"1": "id"}}"#).bytes();
    for (content, words) in [
        (&b"FROM debian:12\nRUN true\n"[..], &["not an image archive", "\"FROM debian:12\"", "build it"][..]),
        (b"PK\x03\x04xxxx", &["not an image archive", "ZIP"]),
        (b"version https://git-lfs.github.com/spec/v1\n", &["Git LFS"]),
        (b"\x5d\0\0xxxx", &["lzma -dc", "| imglint check -"]),
        (&old, &["before Docker 1.10"]),
    ] {
        let path = folder.path().join("file");
        fs::write(&path, content).unwrap();
        let path = path.display().to_string();
        refused(&path, words);
        // A broken tar is another thing.
        assert!(!images(&path).unwrap_err().to_string().contains("broken"));
    }
}

#[test]
fn names_that_are_none_are_refused_with_the_reason() {
    for (name, why) in [
        ("./Upper/case:1", "lower case"),
        ("a/Upper:1", "lower case"),
        (&format!("a/{}", "x".repeat(300)), "more than 255 characters"),
        ("a/b:bad+tag", "tag"),
    ] {
        let error = images(name).unwrap_err().to_string();
        assert!(error.contains("no such file") && error.contains(why), "{error}");
    }
}

#[test]
fn what_is_large_is_judged_and_neither_slow_nor_lost() {
    let folder = tempfile::tempdir().unwrap();
    let labels: serde_json::Map<String, Value> = (0..50_000).map(|number| (number.to_string(), json!(""))).collect();
    let env: Vec<String> = (0..50_000).map(|number| format!("A{number}=b")).chain(["PATH=/last".to_owned()]).collect();
    let volumes: Value =
        (0..1_500).map(|number| (format!("/v{number}"), json!({}))).collect::<serde_json::Map<_, _>>().into();
    let image = TestImage::new(json!({"Labels": labels, "Env": env, "Volumes": volumes}));
    write_layout(folder.path(), &[(&image, "")]);
    let facts = crate::support::imglint(["facts", &format!("oci:{}", folder.path().display())]);
    let facts: Value = serde_json::from_str(&facts.stdout).unwrap();
    assert_eq!(facts["facts"]["path"]["folders"], json!(["/last"]));
    assert_eq!(facts["facts"]["configuration"]["labels"].as_object().unwrap().len(), 1000, "documents have the first");
}
