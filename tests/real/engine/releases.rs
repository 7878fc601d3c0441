//! Debian releases to build images from: the smallest system, and the libraries that .NET looks for, file by file.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use imglint::layer::Kind;
use imglint::layer::tar::TarReader;
use serde_json::{Value, json};

use crate::support::image::{Tar, TestImage, TestLayer};

/// Where Debian keeps libraries.
pub const LIB: &str = "usr/lib/x86_64-linux-gnu";

/// One release.
pub struct Release {
    base: TestLayer,
    parts: BTreeMap<String, Part>,
    /// The paths of the base, with links followed.
    paths: Vec<String>,
}

/// A file or link of a package.
enum Part {
    File(Vec<u8>),
    Link(String),
}

impl Release {
    /// The release whose layout and parts are in the folder of test images. It is read once.
    pub fn read(images: &Path, version: &str) -> Arc<Self> {
        static RELEASES: Mutex<BTreeMap<String, Arc<Release>>> = Mutex::new(BTreeMap::new());
        let mut releases = RELEASES.lock().unwrap_or_else(PoisonError::into_inner);
        let release = releases.entry(version.to_owned()).or_insert_with(|| Arc::new(Self::read_files(images, version)));
        Arc::clone(release)
    }

    fn read_files(images: &Path, version: &str) -> Self {
        let layout = images.join(format!("debian-{version}"));
        let document = |path: &Path| -> Value { serde_json::from_slice(&fs::read(path).unwrap()).unwrap() };
        let blob = |value: &Value| layout.join("blobs").join(value["digest"].as_str().unwrap().replace(':', "/"));
        let manifest = document(&blob(&document(&layout.join("index.json"))["manifests"][0]));
        let mut tar = Vec::new();
        let layer = fs::File::open(blob(&manifest["layers"][0])).unwrap();
        flate2::read::GzDecoder::new(layer).read_to_end(&mut tar).unwrap();
        let paths = members(&tar).into_iter().map(|(path, _)| path).collect();
        let parts = fs::read(images.join(format!("parts-{version}.tar"))).unwrap();
        let name = |path: &str| path.rsplit('/').next().unwrap().to_owned();
        let libraries = members(&parts).into_iter().filter(|(path, _)| path.contains("/lib") && path.contains(".so"));
        let parts = libraries.map(|(path, part)| (name(&path), part)).collect();
        Self { base: TestLayer::new(tar), parts, paths }
    }

    /// The smallest system of the release.
    pub fn minimal(&self) -> TestImage {
        TestImage::new(json!({"Env": ["PATH=/usr/bin:/bin"]})).shared_layer("# debian.sh", &self.base)
    }

    /// A layer with all libraries whose names start with one of these, in a folder.
    pub fn libraries(&self, starts: &[&str], folder: &str) -> Tar {
        let wanted = self.parts.iter().filter(|(name, _)| starts.iter().any(|start| name.starts_with(start)));
        wanted.fold(Tar::default(), |tar, (name, part)| match part {
            Part::File(content) => tar.file(&format!("{folder}/{name}"), 0o644, content),
            Part::Link(target) => tar.link(&format!("{folder}/{name}"), target),
        })
    }

    /// The content of a library, links followed.
    pub fn library(&self, name: &str) -> &[u8] {
        match &self.parts[name] {
            Part::File(content) => content,
            Part::Link(target) => self.library(target),
        }
    }

    /// A layer that takes away all libraries of the base whose names start so.
    pub fn without(&self, start: &str) -> Tar {
        let is_meant = |path: &&String| {
            path.rsplit('/').next().is_some_and(|name| name.starts_with(start))
                && path.contains("lib/x86_64-linux-gnu/")
        };
        let meant: Vec<&String> = self.paths.iter().filter(is_meant).collect();
        assert!(!meant.is_empty(), "the base has no {start}");
        meant.into_iter().fold(Tar::default(), |tar, path| tar.whiteout(path))
    }
}

fn members(tar: &[u8]) -> Vec<(String, Part)> {
    let mut reader = TarReader::new(tar);
    let mut members = Vec::new();
    while let Some(member) = reader.next_member().unwrap() {
        let part = match member.kind {
            Kind::File => {
                let mut content = vec![0; usize::try_from(member.stored).unwrap()];
                reader.read_exact(&mut content).unwrap();
                Part::File(content)
            }
            Kind::Symlink => Part::Link(member.link.clone()),
            _ => continue,
        };
        members.push((member.path.clone(), part));
    }
    members
}
