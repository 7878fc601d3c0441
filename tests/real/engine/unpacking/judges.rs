//! Whom images are given to: engines by their API, which load, create a container and export it, and imglint.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use imglint::digest::Digest;
use imglint::image::read::{Depth, ReadOptions, layers};
use imglint::image::{SourceOptions, open};
use imglint::layer::Kind;
use imglint::layer::allowance::{Budget, INDEXES};
use imglint::layer::tar::TarReader;
use imglint::platform::{Platform, PlatformChoice};
use imglint::rootfs::{Missing, Rootfs, StackedLayer};
use serde_json::json;

use super::{FOLDERS, PATHS};
use crate::support::layer_model::{self as model, Node, Tree, What, names};
use crate::support::tars::{Member, tar};

/// The name under which the image's own PATH is noted with what is at paths.
pub const PATH: &str = "PATH";

/// What an engine or imglint makes of an image.
#[derive(Debug, PartialEq, Eq)]
pub enum Seen {
    /// It cannot be loaded, and why.
    Refused(Text),
    /// What is at the paths and in the folders that are looked at.
    Holds(BTreeMap<String, String>),
    /// Engines do not agree about it.
    Disputed(Text),
}

/// Words that differ from one to the other.
#[derive(Debug)]
pub struct Text(#[expect(dead_code, reason = "it is printed")] String);

impl PartialEq for Text {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Text {}

/// What `docker save` writes of an image with these layers, each uncompressed and as it is stored.
pub fn archive(layers: &[(Vec<u8>, Vec<u8>)], number: u64) -> Vec<u8> {
    let diff_ids: Vec<Digest> = layers.iter().map(|(tar, _)| Digest::of(tar)).collect();
    let config = json!({
        "os": "linux", "architecture": Platform::linux_here().architecture, "config": {"Env": ["PATH=/usr/bin:/bin"]},
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
    });
    let config = config.to_string();
    let (name, names): (String, Vec<String>) = (
        format!("{}.json", Digest::of(config.as_bytes()).hex()),
        (0..layers.len()).map(|layer| format!("{layer}/layer.tar")).collect(),
    );
    let manifest =
        json!([{"Config": name, "RepoTags": [format!("unpacking/x:{number}")], "Layers": names}]).to_string();
    let mut members = vec![Member::file(&name, config.as_bytes()), Member::file("manifest.json", manifest.as_bytes())];
    members.extend(names.iter().zip(layers).map(|(name, (_, stored))| Member::file(name, stored)));
    tar(&members)
}

/// An engine behind a socket.
pub struct Judge {
    pub host: String,
}

impl Judge {
    pub fn of(host: &str) -> Self {
        Self { host: host.to_owned() }
    }

    /// Whether it keeps layers so that an overlay file system puts them together, as engines do by default.
    pub fn is_overlay(&self) -> bool {
        let (_, info) = self.ask("GET", "/info", "", b"");
        let info: serde_json::Value = serde_json::from_slice(&info).unwrap();
        info["Driver"].as_str().is_some_and(|driver| driver.starts_with("overlay"))
    }

    /// What an archive is loaded as. Podman loses a layer now and then that another image with it is just deleted of.
    fn load(&self, archive: &[u8]) -> (u16, String) {
        let mut tries = 0;
        loop {
            let (status, answer) = self.ask("POST", "/images/load?quiet=1", "application/x-tar", archive);
            let answer = String::from_utf8_lossy(&answer).into_owned();
            tries += 1;
            if tries == 5 || !answer.contains("layer not known") {
                return (status, answer);
            }
        }
    }

    pub fn sees(&self, archive: &[u8], number: u64) -> Seen {
        let (status, answer) = self.load(archive);
        let named = |words: &str| answer.split(words).nth(1).and_then(|rest| rest.split(['\\', '"', '\n']).next());
        let loaded = named("Loaded image: ").or_else(|| named("Loaded image ID: "));
        let Some(name) = loaded.filter(|_| status == 200) else { return Seen::Refused(Text(answer)) };
        let body = json!({"Image": name, "Cmd": ["/bin/bash"]}).to_string();
        let (status, created) = self.ask("POST", "/containers/create", "application/json", body.as_bytes());
        if status != 201 {
            return Seen::Refused(Text(String::from_utf8_lossy(&created).into_owned()));
        }
        let created: serde_json::Value = serde_json::from_slice(&created).unwrap();
        let id = created["Id"].as_str().unwrap();
        let (status, export) = self.ask("GET", &format!("/containers/{id}/export"), "", b"");
        assert_eq!(status, 200, "number {number}");
        let (_, inspected) = self.ask("GET", &format!("/containers/{id}/json"), "", b"");
        let inspected: serde_json::Value = serde_json::from_slice(&inspected).unwrap();
        self.ask("DELETE", &format!("/containers/{id}?force=1"), "", b"");
        self.ask("DELETE", &format!("/images/{name}?force=1"), "", b"");
        let tree = tree(&export);
        let mut seen: BTreeMap<String, String> =
            PATHS.iter().map(|path| ((*path).to_owned(), modelled(&tree, path))).collect();
        let names = |folder: &str| {
            let mut names = model::children(&tree, folder);
            names.retain(|name| name != ".dockerenv");
            names.join(" ")
        };
        seen.extend(FOLDERS.iter().map(|folder| (format!("{folder}/"), names(folder))));
        let env = inspected["Config"]["Env"].as_array().into_iter().flatten().filter_map(serde_json::Value::as_str);
        seen.insert(PATH.to_owned(), path_of(env));
        Seen::Holds(seen)
    }

    /// One request; status and body.
    fn ask(&self, method: &str, path: &str, content_type: &str, body: &[u8]) -> (u16, Vec<u8>) {
        let mut stream = UnixStream::connect(self.host.trim_start_matches("unix://")).unwrap();
        let head = format!(
            "{method} /v1.40{path} HTTP/1.1\r\nHost: engine\r\nConnection: close\r\nContent-Type: {content_type}\r\n\
             Content-Length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes()).unwrap();
        // Who refuses an image may not wait for all of it.
        let _ = stream.write_all(body);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        let end = answer.windows(4).position(|four| four == b"\r\n\r\n").unwrap_or(answer.len().saturating_sub(4));
        let head = String::from_utf8_lossy(&answer[..end]).to_lowercase();
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
        let body = answer.split_off((end + 4).min(answer.len()));
        (status, if head.contains("transfer-encoding: chunked") { joined(&body) } else { body })
    }
}

/// The content of chunks (RFC 9112, 7.1).
fn joined(mut chunks: &[u8]) -> Vec<u8> {
    let mut content = Vec::new();
    while let Some(end) = chunks.windows(2).position(|two| two == b"\r\n") {
        let size = std::str::from_utf8(&chunks[..end]).unwrap().trim();
        let size = usize::from_str_radix(size, 16).unwrap();
        let Some(chunk) = chunks.get(end + 2..end + 2 + size) else { break };
        content.extend_from_slice(chunk);
        chunks = chunks.get(end + 4 + size..).unwrap_or_default();
        if size == 0 {
            break;
        }
    }
    content
}

/// The PATH of an environment, of which the last entry counts; engines give one to containers whose image has none.
fn path_of<'a>(env: impl Iterator<Item = &'a str>) -> String {
    const ENGINES: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    env.filter_map(|entry| entry.strip_prefix("PATH=")).last().unwrap_or(ENGINES).to_owned()
}

/// The file system that an engine exports.
fn tree(export: &[u8]) -> Tree {
    let (mut tree, mut tar) = (Tree::new(), TarReader::new(export));
    while let Some(member) = tar.next_member().unwrap() {
        let what = match member.kind {
            Kind::Directory => What::Folder,
            Kind::File => What::File(member.size),
            Kind::Special => What::Fifo,
            Kind::Symlink => What::Symlink(member.link),
            Kind::HardLink => tree[&names(&member.link)].what.clone(),
        };
        if !member.path.is_empty() {
            tree.insert(names(&member.path), Node::new(what));
        }
    }
    tree
}

fn modelled(tree: &Tree, path: &str) -> String {
    match model::find(tree, path) {
        Ok((path, node, _)) => {
            let what = match node.map(|node| node.what) {
                None | Some(What::Folder) => "folder".to_owned(),
                Some(What::File(size)) => format!("file of {size}"),
                Some(what) => format!("{what:?}"),
            };
            format!("{what} at {}", path.join("/"))
        }
        Err(model::Missing::Absent(path)) => format!("nothing at {}", path.join("/")),
        Err(model::Missing::NotAFolder(path)) => format!("no folder at {}", path.join("/")),
        Err(model::Missing::Loop(_)) => "a loop".to_owned(),
    }
}

/// What imglint makes of an archive.
pub fn imglint_sees(archive: &[u8]) -> Seen {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("image.tar");
    std::fs::write(&file, archive).unwrap();
    match rootfs(&format!("docker-archive:{}", file.display())) {
        Err(error) => Seen::Refused(Text(error)),
        Ok((rootfs, path)) => {
            if let Some((_, statement)) = rootfs.disputed().next() {
                return Seen::Disputed(Text(statement.to_owned()));
            }
            let mut seen: BTreeMap<String, String> =
                PATHS.iter().map(|path| ((*path).to_owned(), found(&rootfs, path))).collect();
            seen.extend(FOLDERS.iter().map(|folder| (format!("{folder}/"), rootfs.names(folder).join(" "))));
            seen.insert(PATH.to_owned(), path);
            Seen::Holds(seen)
        }
    }
}

fn rootfs(given: &str) -> Result<(Rootfs, String), String> {
    let (options, choice) = (SourceOptions::default(), PlatformChoice::default());
    let opened = open(&given.parse().unwrap(), &options, &choice).map_err(|error| error.to_string())?;
    let images = opened.source.images(&choice).map_err(|error| error.to_string())?;
    let budget = Budget::new(INDEXES);
    let reading = ReadOptions { jobs: 1, cache: None, depth: Depth::Whole, progress: None, budget: &budget };
    let read = layers(opened.source.as_ref(), &images[0], reading).map_err(|error| error.to_string())?;
    let stacked = read.iter().map(|index| StackedLayer { index: Arc::clone(index), instruction: None });
    let env = images[0].configuration.iter().flat_map(|configuration| &configuration.run.env);
    Ok((Rootfs::new(stacked.collect()), path_of(env.map(String::as_str))))
}

fn found(rootfs: &Rootfs, path: &str) -> String {
    match rootfs.find(path) {
        Ok(node) => {
            let what = match node.kind {
                Kind::Directory => "folder".to_owned(),
                Kind::File => format!("file of {}", node.size),
                _ => "Fifo".to_owned(),
            };
            format!("{what} at {}", node.path)
        }
        Err(Missing::Absent(path)) => format!("nothing at {path}"),
        Err(Missing::NotAFolder(path)) => format!("no folder at {path}"),
        Err(Missing::Loop(_)) => "a loop".to_owned(),
    }
}
