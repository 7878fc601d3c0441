//! Registry documents of Windows images in the shapes that real ones have, our own and, where they are there, the real.

use std::fs;
use std::path::{Path, PathBuf};

use crate::support::check;
use crate::support::windows::core_base;
use imglint::image::manifest::{self, Document};
use serde_json::{Value, json};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/windows").join(name)
}

/// A document of the real ones, which are not everywhere.
fn real(name: &str) -> Option<PathBuf> {
    let folder = std::env::var_os("IMGLINT_SHARED_IMAGES").filter(|folder| !folder.is_empty())?;
    Some(PathBuf::from(folder).join("windows").join(name)).filter(|path| path.exists())
}

/// What is said of a folder with a base of Server Core of a version, judged by this configuration.
fn by_configuration(path: &Path, version: &str) -> Value {
    let folder = tempfile::tempdir().unwrap();
    let tar = folder.path().join("layer.tar");
    fs::write(&tar, core_base(version).bytes()).unwrap();
    let rootfs = folder.path().join("rootfs");
    fs::create_dir(&rootfs).unwrap();
    let status = std::process::Command::new("tar").arg("-xf").arg(&tar).arg("-C").arg(&rootfs).output().unwrap();
    assert!(status.status.success());
    let name = format!("rootfs:{}", rootfs.display());
    check(["--set", "worker=windows/amd64", "--config-json", path.to_str().unwrap(), &name]).result()
}

#[test]
fn configurations_are_read_however_their_keys_are_spelt() {
    let expected = [
        (Some(fixture("nanoserver.config.json")), "10.0.17763.3887", "os.version", "ContainerUser"),
        (real("nanoserver-20H2.config.json"), "10.0.19042.985", "os.version", "ContainerUser"),
        (Some(fixture("servercore-classic.config.json")), "10.0.20348.473", "os.version", ""),
        (real("framework-runtime-4.8-ltsc2022.config.json"), "10.0.20348.473", "os.version", ""),
        (Some(fixture("without-os-version.config.json")), "ltsc2019-amd64", "history[0]", ""),
    ];
    for (path, version, field, user) in expected {
        let Some(path) = path else { continue };
        // What two witnesses in the layers agree on would count more than what the configuration claims.
        let result = by_configuration(&path, if version.starts_with("10.") { version } else { "10.0.17763.1" });
        let facts = &result["facts"];
        assert_eq!(facts["windows"]["version"], version, "{}", path.display());
        assert_eq!(facts["windows"]["stated"][0]["place"]["field"], field);
        assert_eq!(facts["configuration"]["user"]["value"], user);
        let base = r"c:\windows\system32\cmd.exe";
        assert_eq!(facts["configuration"]["cmd"]["value"], json!([base]));
        let passed = result["passed"].as_array().unwrap();
        assert!(passed.contains(&json!("cmd-defined")) && passed.contains(&json!("entrypoint-defined")));
    }
}

#[test]
fn foreign_layers_of_manifests_are_known_with_their_urls() {
    for path in [
        Some(fixture("servercore-foreign.manifest.json")),
        real("framework-runtime-4.8-ltsc2022.manifest.json"),
        real("hello-world-nanoserver-1809.manifest.json"),
    ] {
        let Some(path) = path else { continue };
        let bytes = fs::read(&path).unwrap();
        let Document::Manifest(manifest) = manifest::parse("manifest", "", &bytes).unwrap() else { panic!() };
        let foreign: Vec<bool> = manifest.layers.iter().map(|layer| !layer.urls.is_empty()).collect();
        assert!(foreign[0] && !foreign[foreign.len() - 1], "{}: {foreign:?}", path.display());
        let url = &manifest.layers[0].urls[0];
        assert!(url.ends_with(&manifest.layers[0].digest.to_string()), "{url}");
    }
}

#[test]
fn lists_say_the_version_of_each_entry() {
    for path in [
        Some(fixture("releases.list.json")),
        real("framework-runtime-4.8.list.json"),
        real("hello-world-nanoserver-1809.list.json"),
    ] {
        let Some(path) = path else { continue };
        let bytes = fs::read(&path).unwrap();
        let Document::Index(index) = manifest::parse("list", "", &bytes).unwrap() else { panic!() };
        assert!(!index.manifests.is_empty());
        for entry in index.manifests {
            let platform = entry.platform.unwrap();
            assert_eq!(platform.os, "windows");
            assert!(platform.os_version.unwrap().starts_with("10.0."), "{}", path.display());
        }
    }
}

#[test]
fn real_hives_layers_and_programs_are_read() {
    let Some(hives) = real("hives") else { return };
    let layers = hives.parent().unwrap().join("layers");
    for entry in fs::read_dir(&layers).unwrap() {
        let path = entry.unwrap().path();
        let file = fs::File::open(&path).unwrap();
        let (_, tar) = imglint::layer::decompress::open(file, imglint::layer::allowance::Working::begin()).unwrap();
        let index = imglint::layer::scan(tar).unwrap();
        for entry in index.below("Hives").chain(index.below("Files/Windows")) {
            let Some(detail) = entry.detail() else { continue };
            let trouble = detail.hive.as_ref().and_then(|hive| hive.trouble.clone());
            assert_eq!(trouble, None, "{}: {}", path.display(), entry.path());
            if entry.path().ends_with("ntdll.dll") {
                let version = detail.pe.as_ref().and_then(|pe| pe.version);
                assert_eq!(version, Some([10, 0, 17763, 3887]), "{}", path.display());
            }
        }
    }
}
