//! Documents and archives with random changes are read or refused in one clear line, whatever the changes are.

use std::fs;

use crate::support::image::{Tar, TestImage, docker_archive, write_layout};
use imglint::image::manifest::OCI_MANIFEST;
use imglint::image::{Error, LayerBytes, SourceOptions, config, manifest, open};
use imglint::platform::PlatformChoice;
use serde_json::json;

/// How many changed documents and archives are tried: together 5,000.
const DOCUMENTS: usize = 3_500;
const ARCHIVES: usize = 1_500;

/// Random numbers that are the same in each run (Marsaglia, "Xorshift RNGs").
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % limit.max(1) as u64).unwrap()
    }

    /// The bytes with some of them changed, left out, doubled, or with something put between them.
    fn change(&mut self, bytes: &[u8], pieces: &[&[u8]]) -> Vec<u8> {
        let mut changed = bytes.to_vec();
        for _ in 0..=self.below(4) {
            let at = self.below(changed.len());
            let end = (at + self.below(24)).min(changed.len());
            match self.below(5) {
                0 => changed.get_mut(at).into_iter().for_each(|byte| *byte = self.0.to_le_bytes()[3]),
                1 => drop(changed.drain(at..end)),
                2 => drop(changed.splice(at..at, bytes[at.min(bytes.len())..end.min(bytes.len())].to_vec())),
                3 => drop(changed.splice(at..end, pieces[self.below(pieces.len())].to_vec())),
                _ => changed.truncate(changed.len() - self.below(3)),
            }
        }
        changed
    }
}

/// What has been trouble to readers of JSON.
const PIECES: [&[u8]; 14] = [
    b"null",
    b"{}",
    b"[]",
    b"\"\"",
    b"-1",
    b"1e999",
    b"18446744073709551616",
    b"\xff\xfe",
    b"\\ud800",
    b"\"Config\":",
    b"\"LAYERS\":[],",
    b",",
    b"\x1b]0;",
    b"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[",
];

fn is_clear(error: &Error) {
    let text = error.to_string();
    assert!(!text.chars().any(char::is_control) && text.len() < 2_000, "{text:?}");
}

#[test]
fn changed_documents_are_read_or_refused() {
    let digest = |byte: char| format!("sha256:{}", byte.to_string().repeat(64));
    let platform = json!({"os": "linux", "architecture": "amd64", "variant": "v1", "os.version": "1"});
    let config = json!({"os": "linux", "architecture": "amd64", "created": "2026-01-02T03:04:05Z", "rootfs": {"type": "layers",
        "diff_ids": [digest('a')]}, "history": [{"created_by": "RUN x", "empty_layer": false}], "config": {"Env": ["PATH=/bin"],
        "Entrypoint": ["/x"], "Cmd": null, "User": "1", "WorkingDir": "/", "Volumes": {"/v": {}}, "Labels": {"a": "b"}}});
    let part = |byte| json!({"mediaType": "x/y", "digest": digest(byte), "size": 7, "urls": [], "platform": platform});
    let image = json!({"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": part('b'), "layers": [part('c')], "annotations": {}});
    let index = json!({"schemaVersion": 2, "manifests": [part('d'), part('e')]});
    let [config, image, index] = [config, image, index].map(|document| document.to_string().into_bytes());
    assert!(config::parse("x", &config).is_ok() && manifest::parse("x", "", &image).is_ok());
    assert!(manifest::parse("x", "", &index).is_ok());
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    for number in 0..DOCUMENTS {
        let document = [&config, &image, &index][number % 3];
        let changed = random.change(document, &PIECES);
        config::parse("x", &changed).err().iter().for_each(is_clear);
        manifest::parse("x", OCI_MANIFEST, &changed).err().iter().for_each(is_clear);
        manifest::parse("x", "", &changed).err().iter().for_each(is_clear);
    }
}

#[test]
fn changed_archives_are_read_or_refused() {
    let layer = Tar::default().file("etc/os-release", 0o644, b"ID=x\n").link("bin", "usr/bin");
    let image = TestImage::new(json!({"Cmd": ["x"]})).layer("RUN x", &layer);
    let docker = docker_archive(&[(&image, &["app:1"])]);
    let folder = tempfile::tempdir().unwrap();
    write_layout(folder.path(), &[(&image, "1")]);
    let mut oci = Tar::default();
    let mut folders = vec![folder.path().to_owned()];
    while let Some(inner) = folders.pop() {
        for entry in fs::read_dir(inner).unwrap().map(|entry| entry.unwrap().path()) {
            if entry.is_dir() {
                folders.push(entry);
                continue;
            }
            let name = entry.strip_prefix(folder.path()).unwrap().display().to_string();
            oci = oci.file(&name, 0o644, &fs::read(&entry).unwrap());
        }
    }
    let oci = oci.bytes();
    let path = folder.path().join("changed");
    let read = |bytes: &[u8]| -> Result<(), Error> {
        fs::write(&path, bytes).unwrap();
        let choice = PlatformChoice::All;
        let source = open(&path.display().to_string().parse().unwrap(), &SourceOptions::default(), &choice)?.source;
        for image in source.images(&choice)? {
            for layer in &image.layers {
                if let LayerBytes::Stream(stream) = source.open_layer(layer)? {
                    let _ = imglint::layer::scan(stream);
                }
            }
        }
        Ok(())
    };
    read(&docker).unwrap();
    read(&oci).unwrap();
    let pieces: Vec<&[u8]> = PIECES
        .into_iter()
        .chain([&b"ustar\0"[..], b"\0\0\0\0\0\0\0\0\0\0\0\0", b"77777777777", b"\x80\xff\xff"])
        .collect();
    let mut random = Random(0x2545_f491_4f6c_dd1d);
    for number in 0..ARCHIVES {
        let archive = [&docker, &oci][number % 2];
        let changed = random.change(archive, &pieces);
        // Compressed, an archive is read as it streams by.
        let changed = if number % 4 > 1 { crate::support::image::gzip(&changed) } else { changed };
        read(&changed).err().iter().for_each(is_clear);
    }
}
