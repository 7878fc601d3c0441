//! Layers with a table of contents: with `--trust-toc` only the files that are asked for are fetched, and the verdict is the
//! same.

use std::collections::HashMap;
use std::path::Path;

use crate::support::elf::{self, Elf};
use crate::support::image::dotnet_libraries;
use crate::support::lazy_layers::{Form, LazyLayer};
use crate::support::lying_registry::{LyingRegistry, Reply};
use crate::support::tars::{Member, noise};
use crate::support::{Run, fetched, program};
use imglint::digest::Digest;
use serde_json::{Value, json};

const FORMS: [Form; 3] = [Form::Stargz, Form::PackedStargz, Form::ZstdChunked];

/// Two layers: one with programs, libraries and six megabytes that nobody asks for, one that changes some of it.
fn layers(form: Form, table: impl Fn(&mut Value)) -> [LazyLayer; 2] {
    let program = Elf { gap: 3 << 20, ..Elf::program(elf::X86_64, "/lib64/ld-linux-x86-64.so.2") }.bytes();
    let library = |name: &str, library: &Elf<'_>| (format!("usr/lib/x86_64-linux-gnu/{name}"), library.bytes());
    let mut libraries: Vec<_> =
        dotnet_libraries(elf::X86_64).iter().map(|(name, found)| library(name, found)).collect();
    for name in ["libc.so.6", "ld-linux-x86-64.so.2"] {
        libraries.push(library(name, &Elf::library(elf::X86_64, name)));
    }
    let data = noise(6 << 20);
    let mut base = vec![
        Member::folder("etc/"),
        Member::file("etc/os-release", b"ID=debian\nVERSION_ID=12\n").mode(0o644),
        Member::file("etc/passwd", b"root:x:0:0:root:/root:/bin/bash\n").mode(0o644),
        Member::file("etc/empty", b"").mode(0o644),
        Member::file("bin/bash", &program),
        Member::symlink("bin/sh", "bash"),
        Member::symlink("lib64", "usr/lib/x86_64-linux-gnu"),
        Member::file("usr/share/data", &data).mode(0o644),
        Member::file("bin/tool", b"#!/bin/bash\nexit 0\n"),
        Member::hard_link("bin/other", "bin/tool"),
        Member::file("bin/gone", b"#!/nowhere\n"),
    ];
    base.extend(libraries.iter().map(|(path, library)| Member::file(path, library)));
    let top_data = noise(5 << 20);
    let top = [
        Member::file("usr/share/more", &top_data).mode(0o644),
        Member::file("bin/.wh.gone", b"").mode(0o644),
        Member::file("root/.bashrc", b"export PATH=/opt/tools/bin:$PATH\n").mode(0o644),
        Member::file("opt/tools/bin/helm", b"#!/bin/missing\n"),
    ];
    [form.layer(&base, &table), form.layer(&top, &table)]
}

/// A registry with these layers as image `lazy:1`, which gives parts if `gives_parts`.
fn registry(layers: &[LazyLayer], gives_parts: bool) -> LyingRegistry {
    let diff_ids: Vec<&Digest> = layers.iter().map(|layer| &layer.diff_id).collect();
    let config = json!({
        "os": "linux", "architecture": "amd64", "config": {"Env": ["PATH=/usr/bin:/bin"]},
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
    });
    let config = config.to_string().into_bytes();
    let described = layers.iter().map(|layer| {
        json!({"mediaType": layer.media_type, "digest": layer.digest, "size": layer.stored.len(),
               "annotations": layer.annotations})
    });
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": Digest::of(&config),
                   "size": config.len()},
        "layers": described.collect::<Vec<_>>(),
    });
    let mut blobs: HashMap<String, Vec<u8>> =
        layers.iter().map(|layer| (layer.digest.to_string(), layer.stored.clone())).collect();
    blobs.insert(Digest::of(&config).to_string(), config);
    LyingRegistry::start(move |seen| {
        if seen.path.ends_with("/manifests/1") {
            return Reply::ok(manifest.to_string()).with("Content-Type", "application/vnd.oci.image.manifest.v1+json");
        }
        let Some(blob) = seen.path.rsplit('/').next().and_then(|digest| blobs.get(digest)) else {
            return Reply::error(404, "NOT_FOUND", "not here");
        };
        match seen.part().filter(|_| gives_parts) {
            Some(part) => Reply::part(blob, part),
            None => Reply::ok(blob),
        }
    })
}

/// `imglint check` of the image, with a cache if there is one, and how many bytes came over the network.
fn check(server: &LyingRegistry, cache: Option<&Path>, arguments: &[&str]) -> (Run, u64) {
    let mut command = program();
    if let Some(cache) = cache {
        command.env_remove("IMGLINT_NO_CACHE").env("IMGLINT_CACHE", cache);
    }
    let image = format!("docker://{}/lazy:1", server.host());
    fetched(command.args(["check", "--report", "json", &image]).args(arguments))
}

/// As [`check`] by tables of contents.
fn trusting(server: &LyingRegistry, cache: Option<&Path>, arguments: &[&str]) -> (Run, u64) {
    check(server, cache, &[arguments, &["--trust-toc"]].concat())
}

/// The result, but for how much of the layers was read.
fn judged(run: &Run) -> Value {
    let mut result = run.result();
    result["image"]["layers"].as_array_mut().unwrap().iter_mut().for_each(|layer| {
        for key in ["read", "table_trusted", "diff_id_verified"] {
            layer[key] = Value::Null;
        }
    });
    result
}

fn read_of_layers(run: &Run) -> Vec<Value> {
    run.result()["image"]["layers"].as_array().unwrap().iter().map(|layer| layer["read"].clone()).collect()
}

#[test]
fn tables_of_contents_are_believed_only_on_request() {
    for form in FORMS {
        let layers = layers(form, |table| {
            table["entries"].as_array_mut().unwrap().retain(|entry| entry["name"] != "bin/bash");
        });
        let server = registry(&layers, true);
        let (whole, bytes) = check(&server, None, &[]);
        let (lied, _) = trusting(&server, None, &[]);
        assert!(bytes >= stored(&layers) && read_of_layers(&whole) == ["whole", "whole"], "{form:?}");
        assert_eq!(read_of_layers(&lied), ["part", "part"], "the report says so");
        assert!(lied.result()["findings"] != whole.result()["findings"], "{form:?}");
        let image = format!("docker://{}/lazy:1", server.host());
        let text = fetched(program().args(["check", "--trust-toc", &image])).0.stdout;
        assert!(text.contains("2 layers were read by the table of contents (--trust-toc)"), "{text}");
    }
}

/// How many bytes the layers have as stored.
fn stored(layers: &[LazyLayer]) -> u64 {
    layers.iter().map(|layer| layer.stored.len() as u64).sum()
}

#[test]
fn what_nobody_asks_for_is_not_fetched_and_the_report_is_the_same() {
    for form in FORMS {
        let layers = layers(form, |_| {});
        let server = registry(&layers, true);
        let (whole, bytes) = check(&server, None, &["--verify-layers"]);
        assert!(bytes >= stored(&layers), "{form:?}");
        for jobs in ["1", "8"] {
            let (part, bytes) = trusting(&server, None, &["--jobs", jobs]);
            assert!(bytes < 1 << 20, "{form:?}: {bytes} of {} bytes: {}", stored(&layers), part.stderr);
            assert!(judged(&part) == judged(&whole), "{form:?}");
        }
    }
}

#[test]
fn what_was_fetched_is_not_fetched_again() {
    for form in FORMS {
        let layers = layers(form, |_| {});
        let server = registry(&layers, true);
        let cache = tempfile::tempdir().unwrap();
        let blobs = || server.seen().iter().filter(|seen| seen.part().is_some()).count();
        let (cold, _) = trusting(&server, Some(cache.path()), &[]);
        let asked = blobs();
        assert!(asked > 0);
        let (warm, _) = trusting(&server, Some(cache.path()), &[]);
        assert_eq!(blobs(), asked, "{form:?}");
        assert!(warm.result() == cold.result() && read_of_layers(&cold) == ["part", "part"]);
        // What is fetched whole serves those as well who ask for a part only.
        let (whole, bytes) = check(&server, Some(cache.path()), &["--verify-layers"]);
        assert!(bytes >= stored(&layers), "{form:?}");
        let (again, bytes) = trusting(&server, Some(cache.path()), &[]);
        assert!(bytes < 10_000, "{form:?}: {bytes}");
        assert!(judged(&whole) == judged(&cold) && again.result() == cold.result());
    }
}

/// The annotations of a manifest prove a table for this manifest only: another may name the same layer, and lie of it.
#[test]
fn a_table_counts_only_for_those_who_name_it() {
    let right = layers(Form::ZstdChunked, |_| {});
    // A registry that has something else under the digests of these layers, with a table in which programs are missing.
    let mut lie = layers(Form::ZstdChunked, |table| {
        table["entries"].as_array_mut().unwrap().retain(|entry| !entry["name"].as_str().unwrap().starts_with("bin/"));
    });
    for (lie, right) in lie.iter_mut().zip(&right) {
        lie.digest = right.digest.clone();
        lie.stored.resize(right.stored.len(), 0);
    }
    let cache = tempfile::tempdir().unwrap();
    let (lied, _) = trusting(&registry(&lie, true), Some(cache.path()), &[]);
    let without = right.clone().map(|layer| LazyLayer { annotations: json!({}), ..layer });
    for honest in [right, without] {
        let server = registry(&honest, true);
        let run = |cache| trusting(&server, cache, &[]).0.result();
        assert!(run(Some(cache.path())) == run(None));
        assert!(run(None)["findings"] != lied.result()["findings"], "the lie said nothing else");
    }
}

/// What is kept of a file goes by the path that the layer has it by.
#[test]
fn layers_with_files_behind_links_are_fetched_whole() {
    let data = noise(5 << 20);
    let status = b"Package: libicu72\nStatus: install ok installed\nVersion: 72.1-3\nArchitecture: amd64\n\n";
    let members = [
        Member::folder("data/lib/dpkg/"),
        Member::file("data/more", &data).mode(0o644),
        Member::symlink("var/lib", "../data/lib"),
        Member::file("var/lib/dpkg/status", status).mode(0o644),
    ];
    for form in FORMS {
        let [base, _] = layers(form, |_| {});
        let layers = [base, form.layer(&members, |_| {})];
        let server = registry(&layers, true);
        let ((part, bytes), (whole, _)) = (trusting(&server, None, &[]), check(&server, None, &["--verify-layers"]));
        assert!(bytes > layers[1].stored.len() as u64 && bytes < stored(&layers), "{form:?}: {bytes}");
        assert!(judged(&part) == judged(&whole), "{form:?}");
    }
}

#[test]
fn a_registry_without_parts_gives_the_whole() {
    for form in FORMS {
        let layers = layers(form, |_| {});
        let server = registry(&layers, false);
        let (run, bytes) = trusting(&server, None, &[]);
        assert!(bytes >= stored(&layers), "{form:?}");
        assert!(judged(&run) == judged(&check(&server, None, &["--verify-layers"]).0));
    }
}

#[test]
fn a_table_that_is_not_right_is_not_believed() {
    let other = format!("sha256:{}", "0".repeat(64));
    let change = |name: &'static str, key: &'static str, value: Value| {
        move |table: &mut Value| {
            for entry in table["entries"].as_array_mut().unwrap() {
                if entry["name"] == name && entry["type"] == "reg" {
                    entry[key] = value.clone();
                }
            }
        }
    };
    type Change = Box<dyn Fn(&mut Value)>;
    let changes: [(&str, Change); 9] = [
        ("another version", Box::new(|table| table["version"] = json!(2))),
        ("a type that there is not", Box::new(change("bin/tool", "type", json!("door")))),
        ("another file's digest", Box::new(change("bin/tool", "digest", json!(other)))),
        ("no digest", Box::new(change("bin/tool", "digest", json!("")))),
        ("a place outside", Box::new(change("bin/tool", "offset", json!(1_u64 << 40)))),
        ("the middle of something", Box::new(change("bin/tool", "offset", json!(7)))),
        ("another size", Box::new(change("bin/tool", "size", json!(5)))),
        ("another file", Box::new(change("bin/tool", "innerOffset", json!(5)))),
        ("files that overlap", Box::new(change("etc/passwd", "size", json!(1_u64 << 40)))),
    ];
    let findings = |run: &Run| run.result()["findings"].clone();
    for form in FORMS {
        let (right, _) = check(&registry(&layers(form, |_| {}), true), None, &["--verify-layers"]);
        for (what, change) in &changes {
            let layers = layers(form, change);
            let (run, bytes) = trusting(&registry(&layers, true), None, &[]);
            assert!(bytes >= layers[0].stored.len() as u64, "{form:?}, {what}: {bytes}");
            assert_eq!(findings(&run), findings(&right), "{form:?}, {what}");
        }
        let mut layers = layers(form, |_| {});
        for annotation in layers.iter_mut().flat_map(|layer| layer.annotations.as_object_mut().unwrap().values_mut()) {
            if annotation.as_str().unwrap().starts_with("sha256:") {
                *annotation = json!(other);
            }
        }
        let (run, bytes) = trusting(&registry(&layers, true), None, &[]);
        assert!(bytes >= stored(&layers), "{form:?}: not the manifest's table");
        assert_eq!(findings(&run), findings(&right));
    }
}
