//! What was read of a layer is kept: it is fetched once, and the report is the same.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use crate::support::caching::{check, checking, image, told};
use crate::support::image::{Tar, TestImage, TestLayer, blob, gzip, write_layout};
use crate::support::lying_registry::{LyingRegistry, Reply};
use crate::support::{fetched, imglint};
use imglint::cache::{Cache, StoredLayer};
use imglint::digest::{Algorithm, Digest, Hasher};
use imglint::layer::scan;
use serde_json::{Value, json};

/// A registry with these images, as `images:NUMBER`; its layers are damaged if `damaged` says so.
pub(crate) fn registry(images: &[&TestImage], is_damaged: bool) -> LyingRegistry {
    let folder = tempfile::tempdir().unwrap();
    let mut stored = HashMap::new();
    for (number, image) in images.iter().enumerate() {
        write_layout(folder.path(), &[(image, "")]);
        let index: Value = serde_json::from_slice(&fs::read(folder.path().join("index.json")).unwrap()).unwrap();
        let digest = index["manifests"][0]["digest"].as_str().unwrap().replace(':', "/");
        let manifest = fs::read(folder.path().join("blobs").join(digest)).unwrap();
        stored.insert(format!("/v2/images/manifests/{number}"), manifest);
    }
    for blob in fs::read_dir(folder.path().join("blobs/sha256")).unwrap() {
        let blob = blob.unwrap();
        stored.insert(blob.file_name().into_string().unwrap(), fs::read(blob.path()).unwrap());
    }
    LyingRegistry::start(move |seen| {
        let digest = seen.path.rsplit(':').next().unwrap_or_default();
        match stored.get(&seen.path).or_else(|| stored.get(digest)) {
            Some(manifest) if seen.path.contains("/manifests/") => {
                Reply::ok(manifest).with("Content-Type", "application/vnd.oci.image.manifest.v1+json")
            }
            Some(blob) if is_damaged && blob.starts_with(&[0x1f, 0x8b]) => Reply::ok(&blob[1..]),
            Some(blob) => Reply::ok(blob),
            None => Reply::error(404, "NOT_FOUND", "not here"),
        }
    })
}

/// How many layers of these images the registry was asked for.
fn asked_for(server: &LyingRegistry, images: &[&TestImage]) -> usize {
    let layers: Vec<String> = images
        .iter()
        .flat_map(|image| image.layers())
        .map(|layer| Digest::of(&gzip(&layer.tar)).hex().to_owned())
        .collect();
    server.seen().iter().filter(|seen| layers.iter().any(|layer| seen.path.ends_with(layer))).count()
}

#[test]
fn a_layer_is_fetched_once_and_the_report_is_the_same() {
    let (one, two) = (image("a"), image("b"));
    let server = registry(&[&one, &two], false);
    let [first, second] = [0, 1].map(|number| format!("docker://{}/images:{number}", server.host()));
    let cache = tempfile::tempdir().unwrap();
    let without = imglint(["check", "--report", "json", &first]);
    let (cold, of_cold) = fetched(&mut checking(cache.path(), &[&first]));
    assert_eq!(asked_for(&server, &[&one, &two]), 4);
    let (warm, of_warm) = fetched(&mut checking(cache.path(), &[&first]));
    assert_eq!(asked_for(&server, &[&one, &two]), 4, "nothing more");
    assert!(told(&cold) == told(&without) && told(&warm) == told(&without));
    assert!(of_warm < of_cold, "{of_warm} and {of_cold} bytes");
    check(cache.path(), &[&second]);
    assert_eq!(asked_for(&server, &[&one, &two]), 5, "only what is new");
}

#[test]
fn one_job_or_eight_with_or_without_a_cache_make_the_same_document() {
    let mut many = image("a");
    for number in 0..12 {
        // Layers of different sizes end in another order than they begin.
        let content = format!("export PATH=/opt/{number}/bin:$PATH\n").repeat(1 + number * 97 % 1000);
        let tar = Tar::default().file(&format!("etc/profile.d/{number}.sh"), 0o644, content.as_bytes()).file(
            &format!("opt/{number}/bin/kubectl"),
            0o755,
            b"#!/usr/bin/bash\n",
        );
        many = many.layer(&format!("COPY {number} /"), &tar);
    }
    let server = registry(&[&many], false);
    let name = format!("docker://{}/images:0", server.host());
    let cache = tempfile::tempdir().unwrap();
    let one = imglint(["check", "--report", "json", "--jobs", "1", &name]);
    let documents = [
        imglint(["check", "--report", "json", "--jobs", "8", &name]),
        imglint(["check", "--report", "json", "--verify-layers", &name]),
        check(cache.path(), &["--jobs", "8", &name]),
        check(cache.path(), &["--jobs", "1", &name]),
    ];
    assert_eq!(one.result()["image"]["layers"].as_array().unwrap().len(), 14);
    assert!(documents.iter().all(|run| told(run) == told(&one)));
}

#[test]
fn several_images_of_one_run_share_layers_even_without_a_cache() {
    let images: Vec<TestImage> = (0..6).map(|number| image(&number.to_string())).collect();
    let images: Vec<&TestImage> = images.iter().collect();
    let server = registry(&images, false);
    let names: Vec<String> = (0..6).map(|number| format!("docker://{}/images:{number}", server.host())).collect();
    let run = imglint(["check", "--report", "json"].into_iter().chain(names.iter().map(String::as_str)));
    assert_eq!(run.report()["summary"]["incompatible"], 6, "{}", run.stderr);
    assert_eq!(asked_for(&server, &images), 7);
}

#[test]
fn what_was_verified_for_others_makes_no_difference() {
    let layer = TestLayer { digest: Digest::of(b"something else"), ..image("a").layers()[0].clone() };
    let wrong = TestImage::new(json!({"Entrypoint": ["x"]})).shared_layer("COPY base /", &layer);
    let server = registry(&[&wrong], false);
    let name = format!("docker://{}/images:0", server.host());
    let cache = tempfile::tempdir().unwrap();
    let before = check(cache.path(), &[&name]);
    check(cache.path(), &["--verify-layers", &name]).fails_saying(&["but the configuration says"]);
    let after = check(cache.path(), &[&name]);
    assert_eq!(before.result()["verdict"], "incompatible");
    assert!(told(&after) == told(&before));
}

#[test]
fn layers_of_a_layout_are_read_once_and_proven_each_time() {
    let (layout, cache) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    write_layout(layout.path(), &[(&image("a"), "")]);
    let reference = format!("oci:{}", layout.path().display());
    let without = imglint(["check", "--report", "json", &reference]);
    let [cold, warm] = [(); 2].map(|()| check(cache.path(), &[&reference]));
    assert!(told(&cold) == told(&without) && told(&warm) == told(&without));
    let digest = Digest::of(&gzip(&image("a").layers()[1].tar));
    let blob = layout.path().join("blobs/sha256").join(digest.hex());
    let mut damaged = fs::read(&blob).unwrap();
    *damaged.last_mut().unwrap() ^= 1;
    fs::write(&blob, damaged).unwrap();
    check(cache.path(), &[&reference]).fails_saying(&[&format!("layer 1 ({digest}): its content has the digest")]);
}

#[test]
fn a_layer_that_is_known_is_hashed_but_not_decompressed() {
    let (layout, cache) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    write_layout(layout.path(), &[(&image("a"), "")]);
    let read = |path: &Path| -> Value { serde_json::from_slice(&fs::read(path).unwrap()).unwrap() };
    let mut listed = read(&layout.path().join("index.json"));
    let manifest = listed["manifests"][0]["digest"].as_str().unwrap().replace(':', "/");
    let mut manifest = read(&layout.path().join("blobs").join(manifest));
    // In place of the upper layer bytes that nobody can decompress, and under their digest what the layer holds.
    let stored = b"\x1f\x8bno gzip";
    manifest["layers"][1] = blob(layout.path(), "application/vnd.oci.image.layer.v1.tar+gzip", stored);
    listed["manifests"][0] =
        blob(layout.path(), "application/vnd.oci.image.manifest.v1+json", manifest.to_string().as_bytes());
    fs::write(layout.path().join("index.json"), listed.to_string()).unwrap();
    let index = scan(&image("a").layers()[1].tar[..]).unwrap();
    let kept = StoredLayer { digest: &Digest::of(stored), bytes: stored.len() as u64, table: None };
    let reference = format!("oci:{}", layout.path().display());
    imglint(["check", "--report", "json", &reference]).fails_saying(&["layer 1"]);
    Cache::in_folder(cache.path().to_owned(), 1 << 20).keep_layer(kept, &index);
    let run = check(cache.path(), &[&reference]);
    assert_eq!(run.result()["verdict"], "incompatible", "{}", run.stderr);
}

#[test]
fn what_is_broken_is_not_kept() {
    let cache = tempfile::tempdir().unwrap();
    let any = image("a");
    for is_damaged in [true, false, false] {
        let server = registry(&[&any], is_damaged);
        let run = check(cache.path(), &[&format!("docker://{}/images:0", server.host())]);
        assert_eq!(run.code, if is_damaged { 2 } else { 1 }, "{}", run.stderr);
    }
}

#[test]
fn the_cache_can_be_looked_at_and_cleared() {
    let cache = tempfile::tempdir().unwrap();
    let server = registry(&[&image("a")], false);
    check(cache.path(), &[&format!("docker://{}/images:0", server.host())]);
    fs::write(cache.path().join("mine.txt"), "x").unwrap();
    let folder = cache.path().to_str().unwrap();
    let say = |action| imglint(["cache", action, "--cache", folder]).stdout;
    assert!(say("info").starts_with(&format!("{folder}: 4 entries, ")), "{}", say("info"));
    assert!(say("clear").starts_with(&format!("{folder}: removed 4 entries, ")));
    assert!(say("info").starts_with(&format!("{folder}: 0 entries, ")));
    assert!(cache.path().join("mine.txt").exists(), "what is not imglint's stays");
}

/// The mark of the code that makes indexes: an index that other code made may hold something else.
#[test]
fn the_format_of_kept_indexes_changes_with_the_code_that_makes_them() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let makers = ["cache/entry", "cache/mod", "cli/reading", "digest", "image/lazy", "image/read", "image/stream"];
    let mut files = makers.map(|file| root.join(format!("src/{file}.rs"))).to_vec();
    let mut folders = vec![root.join("src/layer")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { folders.push(path) } else { files.push(path) }
        }
    }
    files.retain(|file| !file.ends_with("tests.rs"));
    files.sort();
    let mut hasher = Hasher::new(Algorithm::Sha256);
    for file in files {
        let text = fs::read_to_string(file).unwrap();
        hasher.update(text.split("#[cfg(test)]").next().unwrap().as_bytes());
    }
    // What others' code reads out of files counts as well.
    let lock = fs::read_to_string(root.join("Cargo.lock")).unwrap();
    let ours = ["object", "postcard", "regf", "serde_json", "tar-core"].map(|name| format!("name = \"{name}\"\n"));
    for package in lock.split("[[package]]\n").filter(|package| ours.iter().any(|name| package.starts_with(name))) {
        hasher.update(package.lines().nth(1).unwrap().as_bytes());
    }
    let expected = hasher.finish().short().to_owned();
    let file = root.join("src/cache/format.txt");
    if std::env::var_os("IMGLINT_BLESS").is_some() {
        fs::write(&file, format!("{expected}\n")).unwrap();
        return;
    }
    let stale = "src/cache/format.txt is stale: IMGLINT_BLESS=1 cargo test --test offline cache";
    assert_eq!(fs::read_to_string(&file).unwrap().trim(), expected, "{stale}");
}
