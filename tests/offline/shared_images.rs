//! Real images and parts of images, made by others and kept beside the checkout, each with the verdict or error it gets.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::still_registry::StillRegistry;
use crate::support::{Run, check, leave_out, rules};
use serde_json::Value;

use Fate::{Breaks, Incompatible, Part, Served, ServedBroken, Windows};

/// What imglint says of an item. None of them is compatible: no such image has bash.
enum Fate {
    /// Exactly these rules of severity error fail.
    Incompatible(&'static [&'static str]),
    /// Exit code 2 and one line with this in it.
    Breaks(&'static str),
    /// A file that is part of something, given as if it were an image: exit code 2, and the line names the file.
    Part,
    /// A manifest that a registry answers with: exactly these rules fail.
    Served(&'static [&'static str]),
    /// A manifest that a registry answers with, broken or with blobs that are not there: exit code 2, and this.
    ServedBroken(&'static str),
    /// A Windows image whose layers cannot be had or do not match: its platform is told, or an error, never a panic.
    Windows,
}

const BUSYBOX: &[&str] =
    &["bash-missing", "dotnet-library-missing", "icu-missing", "openssl-command-missing", "openssl-library-missing"];
const NO_GLIBC: &[&str] = &["bash-missing", "libc-not-glibc", "openssl-command-missing"];
const NO_GLIBC_ON_ARM: &[&str] = &["bash-missing", "libc-not-glibc", "openssl-command-missing", "platform-mismatch"];
const HELLO: &[&str] = &["bash-missing", "libc-not-glibc", "openssl-command-missing"];
const HELLO_ON_ARM: &[&str] = &["bash-missing", "libc-not-glibc", "openssl-command-missing", "platform-mismatch"];
const SCHEMA_1: &[&str] = &["manifest-schema-1"];

/// Every item: its path (a folder that is an OCI layout stands for all that is in it) and a name to pick where it holds
/// several, and its fate.
const EXPECTED: &[(&str, &str, Fate)] = &[
    // Layers without configuration; see also `a_layer_unpacked_is_a_root_file_system`.
    ("alpine/", "", Part),
    // Four hundred hard links to one file; Cmd ["sh"].
    ("busybox/glibc", "", Incompatible(BUSYBOX)),
    ("busybox/musl", "", Incompatible(NO_GLIBC)),
    ("busybox/uclibc", "", Incompatible(NO_GLIBC)),
    ("containers-image-manifests/non-json.manifest.json", "", ServedBroken("manifest")),
    ("containers-image-manifests/unknown-version.manifest.json", "", ServedBroken("schemaVersion 99999")),
    // Its only entry is an artifact by its artifactType.
    ("containers-image-manifests/oci1.index.everything.json", "", ServedBroken("without any image")),
    ("containers-image-manifests/oci1.index.zstd-selection.json", "", ServedBroken("sha256:")),
    ("containers-image-manifests/oci1.index.zstd-selection2.json", "", ServedBroken("sha256:")),
    ("containers-image-manifests/oci1index.json", "", ServedBroken("sha256:")),
    ("containers-image-manifests/ocilist-variants.json", "", ServedBroken("sha256:")),
    ("containers-image-manifests/ociv1.artifact.json", "", ServedBroken("")),
    ("containers-image-manifests/ociv1.image.index.json", "", ServedBroken("sha256:")),
    ("containers-image-manifests/ociv1.manifest.json", "", ServedBroken("sha256:")),
    ("containers-image-manifests/ociv1nomime.artifact.json", "", ServedBroken("")),
    ("containers-image-manifests/ociv1nomime.image.index.json", "", ServedBroken("sha256:")),
    ("containers-image-manifests/ociv1nomime.manifest.json", "", ServedBroken("sha256:")),
    ("containers-image-manifests/schema2list-variants.json", "", ServedBroken("sha256:")),
    ("containers-image-manifests/schema2list.json", "", ServedBroken("sha256:")),
    ("containers-image-manifests/v2list.everything.json", "", ServedBroken("sha256:")),
    ("containers-image-manifests/v2list.manifest.json", "", ServedBroken("sha256:")),
    ("containers-image-manifests/v2s1-invalid-signatures.manifest.json", "", Served(SCHEMA_1)),
    ("containers-image-manifests/v2s1-unsigned.manifest.json", "", Served(SCHEMA_1)),
    ("containers-image-manifests/v2s1.manifest.json", "", Served(SCHEMA_1)),
    ("containers-image-manifests/v2s2.manifest.json", "", ServedBroken("sha256:")),
    ("containers-image-manifests/v2s2nomime.manifest.json", "", ServedBroken("")),
    // One README.md, for arm64, in four compressions.
    ("dive/test-oci-estargz-image.tar", "", Incompatible(NO_GLIBC_ON_ARM)),
    ("dive/test-oci-gzip-image.tar", "", Incompatible(NO_GLIBC_ON_ARM)),
    ("dive/test-oci-uncompressed-image.tar", "", Incompatible(NO_GLIBC_ON_ARM)),
    ("dive/test-oci-zstd-image.tar", "", Incompatible(NO_GLIBC_ON_ARM)),
    ("fanal/alpine-310.tar.gz", "", Incompatible(NO_GLIBC)),
    ("ggcr-mutate/overwritten_file.tar", "", Incompatible(NO_GLIBC)),
    ("ggcr-mutate/source_image.tar", "", Incompatible(NO_GLIBC)),
    // Its configuration was edited and is not what its file name says; `docker load` takes it all the same.
    ("ggcr-mutate/source_image_with_empty_layer_history.tar", "", Incompatible(NO_GLIBC)),
    ("ggcr-mutate/whiteout_dir.tar", "", Incompatible(NO_GLIBC)),
    ("ggcr-mutate/whiteout_image.tar", "", Incompatible(NO_GLIBC)),
    ("ggcr-tarball/content.tar", "", Part),
    ("ggcr-tarball/content.tar.zst", "", Part),
    ("ggcr-tarball/hello-world-v25.tar", "", Incompatible(HELLO_ON_ARM)),
    ("ggcr-tarball/no_manifest.tar", "", Breaks("no_manifest.tar")),
    ("ggcr-tarball/null_manifest.tar", "", Breaks("null_manifest.tar")),
    ("ggcr-tarball/test_bundle.tar", "", Breaks("test_image_2")),
    ("ggcr-tarball/test_bundle.tar", "test_image_1", Incompatible(NO_GLIBC)),
    ("ggcr-tarball/test_bundle.tar", "test_image_2", Incompatible(NO_GLIBC)),
    ("ggcr-tarball/test_image_1.tar", "", Incompatible(NO_GLIBC)),
    ("ggcr-tarball/test_image_2.tar", "", Incompatible(NO_GLIBC)),
    // Two images; a layer of the second is a symbolic link to one of the first.
    ("ggcr-tarball/test_link.tar", "", Breaks("bazel/v1/tarball:test_image_3")),
    ("ggcr-tarball/test_link.tar", "bazel/v1/tarball:test_image_1", Incompatible(NO_GLIBC)),
    ("ggcr-tarball/test_link.tar", "bazel/v1/tarball:test_image_3", Incompatible(NO_GLIBC)),
    ("ggcr-tarball/test_load_manifest.tar", "", Incompatible(NO_GLIBC)),
    ("trivy-oci/test.oci", "", Incompatible(HELLO)),
    ("trivy-oci/test_bad_index_json.oci", "", Breaks("index.json")),
    ("trivy-oci/test_image_tag.oci", "", Incompatible(HELLO)),
    ("trivy-oci/test_image_tag.oci", "0.0.1", Incompatible(HELLO)),
    ("trivy-oci/test_image_tag.oci", "0.0.2", Breaks("0.0.1")),
    ("trivy-oci/test_index_json_dir.oci", "", Breaks("index.json")),
    ("trivy-oci/test_index_json_dir.oci/test_bad_index_json.oci", "", Breaks("index.json")),
    ("trivy-oci/test_invalid_oci_image.oci", "", Breaks("")),
    ("trivy-oci/test_no_valid_manifests.oci", "", Breaks("")),
    ("windows/container-inspector-windows-container-rootfs.tar", "", Part),
    ("windows/container-inspector-windows-mini-image.tar.gz", "", Windows),
    ("windows/container-inspector-windows-mini-image.tar.gz.expected.json", "", Part),
    ("windows/framework-runtime-4.8-ltsc2022.config.json", "", Part),
    // Its configuration is served too, its layers are not.
    ("windows/framework-runtime-4.8-ltsc2022.manifest.json", "", Windows),
    ("windows/framework-runtime-4.8.list.json", "", ServedBroken("sha256:")),
    ("windows/hello-world-nanoserver-1809.list.json", "", ServedBroken("sha256:")),
    ("windows/hello-world-nanoserver-1809.manifest.json", "", ServedBroken("sha256:")),
    ("windows/hello-world-nanoserver-1809.rootfs.json", "", Part),
    ("windows/nanoserver-20H2.config.json", "", Part),
    ("windows/hives/", "", Part),
    ("windows/layers/", "", Part),
    ("windows/pe/", "", Part),
];

#[test]
fn every_shared_image_has_its_fate() {
    let Some(shared) = shared() else { return };
    let mut wrong = Vec::new();
    for item in items(&shared) {
        let expected: Vec<_> = EXPECTED.iter().filter(|(path, ..)| covers(path, &item)).collect();
        if expected.is_empty() {
            wrong.push(format!(
                "{item}: look at it and add what is expected of it to EXPECTED in tests/offline/shared_images.rs"
            ));
        }
        for (_, name, fate) in expected {
            if let Err(difference) = meets(&shared, &item, name, fate) {
                wrong.push(format!("{item} {name}: {difference}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_expectation_is_of_something_that_is_there() {
    let Some(shared) = shared() else { return };
    let gone: Vec<_> = EXPECTED.iter().map(|(path, ..)| path).filter(|path| !shared.join(path).exists()).collect();
    assert!(gone.is_empty(), "{gone:?}");
}

#[test]
fn a_layer_unpacked_is_a_root_file_system() {
    let Some(shared) = shared() else { return };
    for architecture in ["x86_64", "aarch64"] {
        let folder = tempfile::tempdir().unwrap();
        let layer = shared.join(format!("alpine/alpine-minirootfs-3.20.3-{architecture}.tar.gz"));
        let tar = Command::new("tar").arg("-xzf").arg(layer).arg("-C").arg(folder.path()).status().unwrap();
        assert!(tar.success());
        let result = check([format!("rootfs:{}", folder.path().display())]).result();
        let failed = rules(&result, "error", "fail");
        for rule in NO_GLIBC {
            assert!(failed.iter().any(|one| one == rule), "{architecture}: {failed:?}");
        }
    }
}

/// Calls imglint on the item and holds what it says against its fate.
fn meets(shared: &Path, item: &str, name: &str, fate: &Fate) -> Result<(), String> {
    let path = shared.join(item);
    let given = path.display().to_string();
    let file_name = path.file_name().unwrap().to_str().unwrap();
    let picked = || if name.is_empty() { given.clone() } else { format!("{}{given}:{name}", transport(&path)) };
    match fate {
        Incompatible(expected) => incompatible(&check([picked()]), expected),
        Breaks(part) => breaks(&check([picked()]), part),
        Part => breaks(&check([given]), file_name),
        Served(expected) => incompatible(&check([serve(&path).image]), expected),
        ServedBroken(part) => breaks(&check([serve(&path).image]), part),
        Windows if item.ends_with(".json") => windows(&check([serve(&path).image])),
        Windows => windows(&check([given])),
    }
}

fn incompatible(run: &Run, expected: &[&str]) -> Result<(), String> {
    let result = only_result(run)?;
    let failed = rules(&result, "error", "fail");
    if run.code == 1 && result["verdict"] == "incompatible" && failed == expected {
        return Ok(());
    }
    Err(format!(
        "exit code {}, verdict {}, failed {failed:?}, not {expected:?}: {}",
        run.code, result["verdict"], run.stderr
    ))
}

fn breaks(run: &Run, part: &str) -> Result<(), String> {
    let lines = run.stderr.lines().filter(|line| !line.trim().is_empty()).count();
    if run.code == 2 && lines == 1 && run.stderr.contains(part) && only_result(run)?["verdict"] == "failed" {
        return Ok(());
    }
    Err(format!("exit code {}, not an error of one line with {part:?}: {}{}", run.code, run.stdout, run.stderr))
}

fn windows(run: &Run) -> Result<(), String> {
    let result = only_result(run)?;
    let told = run.code == 1 && rules(&result, "error", "fail").iter().any(|rule| rule == "platform-mismatch");
    if told { Ok(()) } else { breaks(run, "") }
}

/// The report's result, without a panic where there is none: one broken item must not hide what the others give.
fn only_result(run: &Run) -> Result<Value, String> {
    let report: Value = serde_json::from_str(&run.stdout)
        .map_err(|error| format!("no JSON report ({error}), exit code {}: {}", run.code, run.stderr))?;
    Ok(report["results"][0].clone())
}

/// Serves a manifest as a registry does, and beside it every document of its folder that has the digest it asks for.
fn serve(manifest: &Path) -> StillRegistry {
    let content_type = match manifest.file_name().unwrap().to_str().unwrap() {
        name if name.starts_with("v2s1-unsigned") => "application/vnd.docker.distribution.manifest.v1+json",
        name if name.starts_with("v2s1") => "application/vnd.docker.distribution.manifest.v1+prettyjws",
        name if name.starts_with("v2s2") => "application/vnd.docker.distribution.manifest.v2+json",
        name if name.contains("index") => "application/vnd.oci.image.index.v1+json",
        _ => "application/vnd.oci.image.manifest.v1+json",
    };
    let beside: Vec<Vec<u8>> = fs::read_dir(manifest.parent().unwrap())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "json"))
        .map(|path| fs::read(path).unwrap())
        .collect();
    let beside: Vec<&[u8]> = beside.iter().map(Vec::as_slice).collect();
    StillRegistry::serve(&fs::read(manifest).unwrap(), content_type, &beside)
}

fn transport(path: &Path) -> &'static str {
    if path.is_dir() { "oci:" } else { "docker-archive:" }
}

/// Whether an expectation's path is that of the item, or of a folder (ending in `/`) that it is in.
fn covers(path: &str, item: &str) -> bool {
    path == item || path.ends_with('/') && item.starts_with(path)
}

/// The paths of all that may be given as an image: OCI layouts, and the files outside them.
fn items(shared: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders: Vec<(PathBuf, bool)> = vec![(shared.to_owned(), false)];
    while let Some((folder, inside_layout)) = folders.pop() {
        let is_layout = folder.join("oci-layout").exists();
        if is_layout {
            found.push(folder.clone());
        }
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push((path, inside_layout || is_layout));
            } else if !is_layout && !inside_layout && !path.ends_with("README.md") {
                found.push(path);
            }
        }
    }
    let mut items: Vec<String> =
        found.iter().map(|path| path.strip_prefix(shared).unwrap().to_str().unwrap().to_owned()).collect();
    items.sort();
    items
}

/// The folder, when there is one: these images are nobody's to pass on, so a fresh clone elsewhere has none.
fn shared() -> Option<PathBuf> {
    let found = std::env::var_os("IMGLINT_SHARED_IMAGES").filter(|folder| !folder.is_empty()).map(PathBuf::from);
    if found.is_none() {
        leave_out("the shared images (IMGLINT_SHARED_IMAGES)");
    }
    found
}
