//! Builds images in code: tar layers, a configuration, and around them an OCI layout or what `docker save` writes.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use imglint::digest::Digest;
use serde_json::{Value, json};

use super::elf::{AARCH64, Elf, X86_64};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

/// The commands that a Bash step calls beside bash.
const BASH_STEP_COMMANDS: [&str; 13] = [
    "openssl", "uname", "whoami", "hostname", "getconf", "mktemp", "dirname", "basename", "wc", "cat", "xargs", "xxd",
    "which",
];

/// A tar under construction: a layer, or an archive around an image.
#[derive(Clone, Default)]
pub struct Tar {
    bytes: Vec<u8>,
    /// The owner of the next entry.
    uid: u32,
}

impl Tar {
    /// Adds a regular file.
    pub fn file(self, path: &str, mode: u32, content: &[u8]) -> Self {
        self.entry(path, mode, b'0', "", content)
    }

    /// Adds a folder.
    pub fn folder(self, path: &str) -> Self {
        self.folder_of(path, 0o755, 0)
    }

    /// Adds a folder with a mode and an owner.
    pub fn folder_of(mut self, path: &str, mode: u32, uid: u32) -> Self {
        self.uid = uid;
        let mut made = self.entry(path, mode, b'5', "", b"");
        made.uid = 0;
        made
    }

    /// Adds a symbolic link.
    pub fn link(self, path: &str, target: &str) -> Self {
        self.entry(path, 0o777, b'2', target, b"")
    }

    /// Adds another name of a file.
    pub fn hard_link(self, path: &str, target: &str) -> Self {
        self.entry(path, 0o644, b'1', target, b"")
    }

    /// Adds PAX records, which speak of the next entry.
    pub fn pax(self, records: &[(&str, &str)]) -> Self {
        let record = |(key, value): &(&str, &str)| {
            let length = key.len() + value.len() + 3;
            // The length counts its own digits.
            let digits = (length + 2).to_string().len();
            format!("{} {key}={value}\n", length + digits)
        };
        let text: String = records.iter().map(record).collect();
        self.entry("PaxHeaders.0/x", 0o644, b'x', "", text.as_bytes())
    }

    /// Adds a whiteout: `path` of the layers below is gone.
    pub fn whiteout(self, path: &str) -> Self {
        let (folder, name) = path.rsplit_once('/').map_or(("", path), |(folder, name)| (folder, name));
        let marker = if folder.is_empty() { format!(".wh.{name}") } else { format!("{folder}/.wh.{name}") };
        self.file(&marker, 0o644, b"")
    }

    /// The finished tar.
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = self.bytes.clone();
        bytes.extend([0; 1024]);
        bytes
    }

    fn entry(mut self, path: &str, mode: u32, kind: u8, target: &str, content: &[u8]) -> Self {
        self.bytes.extend(Self::header(path, mode, kind, target, self.uid, content.len()));
        self.bytes.extend(content);
        self.bytes.resize(self.bytes.len().next_multiple_of(512), 0);
        self
    }

    /// The header of an entry whose content has this many bytes.
    fn header(path: &str, mode: u32, kind: u8, target: &str, uid: u32, size: usize) -> [u8; 512] {
        assert!(path.len() <= 100 && target.len() <= 100, "{path}: ustar takes no longer names here");
        let mut header = [0_u8; 512];
        let mut put = |at: usize, text: &str| header[at..at + text.len()].copy_from_slice(text.as_bytes());
        put(0, path);
        put(100, &format!("{mode:07o}"));
        put(108, &format!("{uid:07o}"));
        put(116, "0000000");
        put(124, &format!("{size:011o}"));
        put(136, "00000000000");
        put(148, "        ");
        put(157, target);
        put(257, "ustar\x0000");
        header[156] = kind;
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        header
    }
}

/// An image under construction.
#[derive(Clone)]
pub struct TestImage {
    document: Value,
    layers: Vec<TestLayer>,
}

/// A layer, whose bytes are shared by all images that have it.
#[derive(Clone)]
pub struct TestLayer {
    pub digest: Digest,
    pub tar: Arc<Vec<u8>>,
}

impl TestLayer {
    /// A layer of these bytes. Layers of the same bytes share them, however many images are built of them.
    pub fn new(tar: Vec<u8>) -> Self {
        static LAYERS: Mutex<BTreeMap<String, Weak<Vec<u8>>>> = Mutex::new(BTreeMap::new());
        let digest = Digest::of(&tar);
        let mut layers = LAYERS.lock().unwrap_or_else(PoisonError::into_inner);
        let known = layers.get(&digest.to_string()).and_then(Weak::upgrade);
        let tar = known.unwrap_or_else(|| Arc::new(tar));
        layers.insert(digest.to_string(), Arc::downgrade(&tar));
        Self { digest, tar }
    }
}

impl TestImage {
    /// An image of linux/amd64 without layers whose `config` is the given one.
    pub fn new(config: Value) -> Self {
        Self {
            document: json!({"os": "linux", "architecture": "amd64", "config": config, "history": []}),
            layers: Vec::new(),
        }
    }

    /// An image that can run bash, of this machine's own architecture: loader, C library, bash and os-release of the
    /// machine that runs the test. Nothing where that is no machine with glibc and bash.
    pub fn like_this_machine(config: Value) -> Option<Self> {
        let (architecture, loader, triple) = match std::env::consts::ARCH {
            "x86_64" => ("amd64", "lib64/ld-linux-x86-64.so.2", "x86_64-linux-gnu"),
            "aarch64" => ("arm64", "lib/ld-linux-aarch64.so.1", "aarch64-linux-gnu"),
            _ => return None,
        };
        let mut tar = Tar::default().file(loader, 0o755, &fs::read(Path::new("/").join(loader)).ok()?);
        for library in ["libc.so.6", "libtinfo.so.6", "libdl.so.2"] {
            let found = [format!("lib/{triple}/{library}"), format!("lib64/{library}"), format!("usr/lib/{library}")]
                .into_iter()
                .find_map(|path| Some((fs::read(Path::new("/").join(&path)).ok()?, path)));
            match found {
                Some((content, path)) => tar = tar.file(&path, 0o755, &content),
                None if library == "libc.so.6" => return None,
                None => {}
            }
        }
        tar = tar.file("bin/bash", 0o755, &fs::read("/bin/bash").ok()?).link("bin/sh", "bash");
        tar = tar.file("etc/os-release", 0o644, b"ID=debian\nVERSION_ID=\"12\"\nPRETTY_NAME=\"Debian GNU/Linux 12\"\n");
        Some(
            Self::new(config).field("architecture", json!(architecture)).layer("COPY / / # made of this machine", &tar),
        )
    }

    /// Adds what .NET programs and Bash steps need, as far as files tell: libraries of the right names, symbols and
    /// versions, and commands.
    pub fn ready(self) -> Self {
        let machine = if self.document["architecture"] == "arm64" { AARCH64 } else { X86_64 };
        let triple = if machine == AARCH64 { "aarch64-linux-gnu" } else { "x86_64-linux-gnu" };
        // The default folders of Debian and of the others.
        let tar = [format!("usr/lib/{triple}"), "usr/lib64".to_owned()].iter().fold(Tar::default(), |tar, folder| {
            dotnet_libraries(machine)
                .iter()
                .fold(tar, |tar, (name, library)| tar.file(&format!("{folder}/{name}"), 0o644, &library.bytes()))
        });
        let tar =
            BASH_STEP_COMMANDS.iter().fold(tar, |tar, name| tar.file(&format!("bin/{name}"), 0o755, b"#!/bin/sh\n"));
        self.layer("RUN install what steps need", &tar)
    }

    /// Sets a top-level field of the configuration document; `null` takes it away.
    pub fn field(mut self, name: &str, value: Value) -> Self {
        let document = self.document.as_object_mut().unwrap();
        if value.is_null() {
            document.remove(name);
        } else {
            document.insert(name.to_owned(), value);
        }
        self
    }

    /// Adds a layer and the history entry that made it.
    pub fn layer(self, created_by: &str, tar: &Tar) -> Self {
        self.shared_layer(created_by, &TestLayer::new(tar.bytes()))
    }

    /// Adds a layer that other images have, too.
    pub fn shared_layer(mut self, created_by: &str, layer: &TestLayer) -> Self {
        self.layers.push(layer.clone());
        self.document["history"].as_array_mut().unwrap().push(json!({"created_by": created_by}));
        self
    }

    /// Adds a variable to the environment.
    pub fn env(mut self, variable: &str) -> Self {
        let config = self.document["config"].as_object_mut().unwrap();
        config.entry("Env").or_insert_with(|| json!([])).as_array_mut().unwrap().push(json!(variable));
        self
    }

    /// Sets the user.
    pub fn user(mut self, user: &str) -> Self {
        self.document["config"]["User"] = json!(user);
        self
    }

    /// The layers, base first.
    pub fn layers(&self) -> &[TestLayer] {
        &self.layers
    }

    /// Its `worker` parameter, so that an image of this machine's architecture is not judged for another.
    pub fn worker(&self) -> String {
        format!("worker=linux/{}", self.document["architecture"].as_str().unwrap_or("amd64"))
    }

    /// The configuration document.
    pub fn document(&self) -> Vec<u8> {
        let diff_ids: Vec<String> = self.layers.iter().map(|layer| layer.digest.to_string()).collect();
        let mut document = self.document.clone();
        document["rootfs"] = json!({"type": "layers", "diff_ids": diff_ids});
        document.to_string().into_bytes()
    }
}

/// Libraries by soname that satisfy a program for .NET 8.
pub fn dotnet_libraries(machine: u16) -> Vec<(&'static str, Elf<'static>)> {
    let library = |soname: &'static str, versions: &[&'static str], symbols: &[&'static str]| {
        let elf = Elf { versions: versions.to_vec(), symbols: symbols.to_vec(), ..Elf::library(machine, soname) };
        (soname, elf)
    };
    let data = library("libicudata.so.72", &[], &["icudt72_dat"]);
    vec![
        library("libpthread.so.0", &["GLIBC_2.12", "GLIBC_2.17"], &[]),
        library("libdl.so.2", &[], &[]),
        library("librt.so.1", &[], &[]),
        library("libm.so.6", &["GLIBC_2.27"], &[]),
        library("libstdc++.so.6", &["GLIBCXX_3.4.21", "GLIBCXX_3.4.22", "CXXABI_1.3.7"], &[]),
        library("libgcc_s.so.1", &["GCC_3.0"], &[]),
        library("libz.so.1", &[], &[]),
        library("libcrypto.so.3", &[], &[]),
        library("libssl.so.3", &[], &[]),
        library("libicuuc.so.72", &[], &["u_strlen_72"]),
        library("libicui18n.so.72", &[], &["ucol_open_72"]),
        // Smaller ones count as having no data.
        (data.0, data.1.text(&vec![7; 300 << 10])),
    ]
}

/// Writes an OCI layout with these images: one entry of index.json each, with its platform (when the configuration
/// says it) and, if not empty, its tag.
/// Gives the paths of the images' first layers (of the configuration where there is none), for tests that break one.
pub fn write_layout(folder: &Path, images: &[(&TestImage, &str)]) -> Vec<std::path::PathBuf> {
    let mut entries = Vec::new();
    let mut first = Vec::new();
    for (image, tag) in images {
        let config = blob(folder, CONFIG, &image.document());
        let layers: Vec<Value> = image.layers.iter().map(|layer| blob(folder, LAYER, &gzip(&layer.tar))).collect();
        let manifest = json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers});
        let mut entry = blob(folder, MANIFEST, manifest.to_string().as_bytes());
        if let (Value::String(os), Value::String(architecture)) =
            (&image.document["os"], &image.document["architecture"])
        {
            entry["platform"] = json!({"os": os, "architecture": architecture});
        }
        if !tag.is_empty() {
            entry["annotations"] = json!({"org.opencontainers.image.ref.name": tag});
        }
        entries.push(entry);
        let shown = layers.first().unwrap_or(&config)["digest"].as_str().unwrap();
        first.push(folder.join("blobs").join(shown.replace(':', "/")));
    }
    fs::write(folder.join("oci-layout"), br#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
    fs::write(folder.join("index.json"), json!({"schemaVersion": 2, "manifests": entries}).to_string()).unwrap();
    first
}

/// What `docker save` writes of these images, each with its names; a layer that several have is in it once.
pub fn docker_archive(images: &[(&TestImage, &[&str])]) -> Vec<u8> {
    let mut bytes = Vec::new();
    write_docker_archive(&mut bytes, images).unwrap();
    bytes
}

/// Writes what [`docker_archive`] gives: many images are gigabytes.
pub fn write_docker_archive(to: &mut impl Write, images: &[(&TestImage, &[&str])]) -> io::Result<()> {
    let mut archive = ArchiveWriter { to, written: BTreeSet::new() };
    let mut described = Vec::new();
    for (image, names) in images {
        let document = image.document();
        let config = format!("{}.json", Digest::of(&document).to_string().replace("sha256:", ""));
        archive.put(&config, &document)?;
        let path = |layer: &TestLayer| format!("{}/layer.tar", layer.digest.to_string().replace("sha256:", ""));
        for layer in &image.layers {
            archive.put(&path(layer), &layer.tar)?;
        }
        let layers: Vec<String> = image.layers.iter().map(path).collect();
        described.push(json!({"Config": config, "RepoTags": names, "Layers": layers}));
    }
    archive.put("manifest.json", Value::from(described).to_string().as_bytes())?;
    archive.to.write_all(&[0; 1024])
}

/// Writes what `docker save` has written since Docker 25: manifest.json and an OCI layout, over the same blobs.
pub fn write_docker_25_archive(to: &mut impl Write, images: &[(&TestImage, &[&str])]) -> io::Result<()> {
    let mut archive = ArchiveWriter { to, written: BTreeSet::new() };
    let (mut described, mut entries) = (Vec::new(), Vec::new());
    for (image, names) in images {
        let config = archive.blob(CONFIG, &image.document())?;
        let mut layers = Vec::new();
        for layer in &image.layers {
            layers.push(archive.known_blob("application/vnd.oci.image.layer.v1.tar", &layer.digest, &layer.tar)?);
        }
        let manifest = json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers});
        let entry = archive.blob(MANIFEST, manifest.to_string().as_bytes())?;
        for name in *names {
            let mut entry = entry.clone();
            entry["annotations"] = json!({"org.opencontainers.image.ref.name": name});
            entries.push(entry);
        }
        let path = |blob: &Value| format!("blobs/{}", blob["digest"].as_str().unwrap().replace(':', "/"));
        let layers: Vec<String> = layers.iter().map(path).collect();
        described.push(json!({"Config": path(&config), "RepoTags": names, "Layers": layers}));
    }
    archive.put("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#)?;
    archive.put("index.json", json!({"schemaVersion": 2, "manifests": entries}).to_string().as_bytes())?;
    archive.put("manifest.json", Value::from(described).to_string().as_bytes())?;
    archive.to.write_all(&[0; 1024])
}

/// Writes an archive file by file; one that is in it already is not written again.
struct ArchiveWriter<'a, W> {
    to: &'a mut W,
    written: BTreeSet<String>,
}

impl<W: Write> ArchiveWriter<'_, W> {
    fn put(&mut self, path: &str, content: &[u8]) -> io::Result<()> {
        if !self.written.insert(path.to_owned()) {
            return Ok(());
        }
        self.to.write_all(&Tar::header(path, 0o644, b'0', "", 0, content.len()))?;
        self.to.write_all(content)?;
        self.to.write_all(&vec![0; content.len().next_multiple_of(512) - content.len()])
    }

    /// Writes a blob and describes it.
    fn blob(&mut self, media_type: &str, content: &[u8]) -> io::Result<Value> {
        self.known_blob(media_type, &Digest::of(content), content)
    }

    fn known_blob(&mut self, media_type: &str, digest: &Digest, content: &[u8]) -> io::Result<Value> {
        let digest = digest.to_string();
        self.put(&format!("blobs/{}", digest.replace(':', "/")), content)?;
        Ok(json!({"mediaType": media_type, "digest": digest, "size": content.len()}))
    }
}

/// Compresses with gzip.
pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// Stores a blob in a layout and describes it.
pub fn blob(folder: &Path, media_type: &str, bytes: &[u8]) -> Value {
    let digest = Digest::of(bytes).to_string();
    let path = folder.join("blobs").join(digest.replace(':', "/"));
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
    json!({"mediaType": media_type, "digest": digest, "size": bytes.len()})
}
