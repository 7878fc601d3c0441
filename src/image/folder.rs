//! An unpacked root file system in a folder of this machine, read as one layer. Nothing outside the folder is looked at.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::documents::only_platform;
use super::read::fill;
use super::{Error, Image, Layer, LayerBytes, ManifestKind, Result, Source, SourceKind, config};
use crate::digest::Digest;
use crate::layer::decompress::CHUNK;
use crate::layer::{Detail, FileScanner, IndexBuilder, Kind, LayerIndex, NewEntry, TooLarge};
use crate::platform::{Platform, PlatformChoice};

/// Programs by which the architecture of a root file system is told.
pub const TELLING: [&str; 6] = ["bin/sh", "usr/bin/sh", "bin/bash", "usr/bin/bash", "bin/busybox", "usr/bin/env"];

/// A root file system with the configuration to judge it by.
pub struct RootfsFolder {
    path: PathBuf,
    configuration: Option<(Digest, config::Configuration)>,
}

impl RootfsFolder {
    /// The folder at `path`, with the configuration of `config_file` or else the defaults.
    ///
    /// # Errors
    /// There is no such folder, or the configuration cannot be read.
    pub fn open(path: &Path, config_file: Option<&Path>) -> Result<Self> {
        let what = path.display().to_string();
        let metadata = fs::metadata(path).map_err(|error| Error::from_io(&what, error))?;
        if !metadata.is_dir() {
            return Err(Error::broken(format!("{what} is not a folder; rootfs: takes an unpacked root file system")));
        }
        let configuration = config_file
            .map(|file| {
                let what = file.display().to_string();
                let content = File::open(file).map_err(|error| Error::from_io(&what, error))?;
                let bytes = super::files::read_document(&what, "the configuration", 0, content)?;
                Ok((Digest::of(&bytes), config::parse(&what, &bytes)?))
            })
            .transpose()?;
        Ok(Self { path: path.to_owned(), configuration })
    }

    fn index(&self) -> Result<LayerIndex> {
        let mut walk = Walk::new(&self.path, "");
        walk.folder("")?;
        walk.builder.finish(None, walk.bytes).map_err(too_large)
    }
}

impl Source for RootfsFolder {
    fn kind(&self) -> SourceKind {
        SourceKind::Rootfs
    }

    fn images(&self, choice: &PlatformChoice) -> Result<Vec<Image>> {
        let (digest, mut configuration) = match self.configuration.clone() {
            Some((digest, configuration)) => (Some(digest), configuration),
            None => (None, config::Configuration::default()),
        };
        if configuration.platform.os.is_empty() {
            configuration.platform = told_by_programs(&self.path).unwrap_or_else(Platform::linux_here);
        }
        let layer = Layer {
            index: 0,
            digest: None,
            diff_id: None,
            media_type: String::new(),
            bytes: 0,
            urls: Vec::new(),
            created_by: None,
            toc: None,
            key: String::new(),
        };
        let image = Image {
            name: None,
            digest: None,
            config_digest: digest,
            platform: configuration.platform.clone(),
            offered: Vec::new(),
            entry: None,
            is_one_of_all: false,
            listed: None,
            manifest: ManifestKind::None,
            media_types: Vec::new(),
            configuration: Some(configuration),
            layers: vec![layer],
        };
        only_platform(&self.path.display().to_string(), image, choice)
    }

    fn open_layer(&self, _: &Layer) -> Result<LayerBytes> {
        self.index().map(|index| LayerBytes::Indexed(Arc::new(index)))
    }
}

/// Indexes a folder of this machine that will be mounted at `mount` (without leading slash), where it hides what an
/// image has. Links to absolute paths inside the folder are kept as they will be there.
///
/// # Errors
/// It is no folder, is empty, or cannot be read.
pub fn mounted_folder(path: &Path, mount: &str) -> Result<LayerIndex> {
    let what = path.display().to_string();
    let root = path.canonicalize().map_err(|error| Error::from_io(&what, error))?;
    if !root.is_dir() {
        return Err(Error::broken(format!("{what} is not a folder")));
    }
    let mut walk = Walk::new(&root, mount);
    for path in [mount, &format!("{mount}/.wh..wh..opq")] {
        let entry = NewEntry { path, kind: Kind::Directory, mode: 0o755, uid: 0, gid: 0, size: 0, link: "" };
        walk.builder.add(&entry, None).map_err(too_large)?;
    }
    walk.folder("")?;
    let index = walk.builder.finish(None, walk.bytes).map_err(too_large)?;
    if index.len() < 2 {
        return Err(Error::broken(format!("{what} is empty")));
    }
    Ok(index)
}

struct Walk<'a> {
    root: &'a Path,
    /// Where its files will be, without leading slash; empty for a root file system.
    mount: &'a str,
    builder: IndexBuilder,
    files: FileScanner,
    bytes: u64,
    buffer: Vec<u8>,
}

impl<'a> Walk<'a> {
    fn new(root: &'a Path, mount: &'a str) -> Self {
        Self {
            root,
            mount,
            builder: IndexBuilder::default(),
            files: FileScanner::default(),
            bytes: 0,
            buffer: vec![0; CHUNK],
        }
    }

    fn folder(&mut self, path: &str) -> Result<()> {
        let full = self.root.join(path);
        let failed = |error| Error::from_io(&full.display().to_string(), error);
        for entry in fs::read_dir(&full).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let path = if path.is_empty() { name } else { format!("{path}/{name}") };
            self.entry(&path, &entry.path())?;
        }
        Ok(())
    }

    fn entry(&mut self, inside: &str, full: &Path) -> Result<()> {
        let failed = |error| Error::from_io(&full.display().to_string(), error);
        // Of the link itself: what it leads to outside the folder is no part of the image.
        let metadata = fs::symlink_metadata(full).map_err(failed)?;
        let (kind, link) = if metadata.is_symlink() {
            (Kind::Symlink, self.target(&fs::read_link(full).map_err(failed)?))
        } else if metadata.is_dir() {
            (Kind::Directory, String::new())
        } else if metadata.is_file() {
            (Kind::File, String::new())
        } else {
            (Kind::Special, String::new())
        };
        let path = &if self.mount.is_empty() { inside.to_owned() } else { format!("{}/{inside}", self.mount) };
        let mut detail = None;
        if kind == Kind::File {
            self.bytes += metadata.len();
            detail = self.detail(path, metadata.len(), full).map_err(failed)?;
        }
        let new = NewEntry {
            path,
            kind,
            mode: metadata.permissions().mode(),
            uid: metadata.uid(),
            gid: metadata.gid(),
            size: metadata.len(),
            link: &link,
        };
        self.builder.add(&new, detail).map_err(|why| Error::broken(format!("{}: {why}", self.root.display())))?;
        if kind == Kind::Directory { self.folder(inside) } else { Ok(()) }
    }

    /// A link's target; one inside a folder that will be mounted, as it will be there.
    fn target(&self, link: &Path) -> String {
        match link.strip_prefix(self.root) {
            Ok(inside) if !self.mount.is_empty() => format!("/{}/{}", self.mount, inside.display()),
            _ => link.to_string_lossy().into_owned(),
        }
    }

    fn detail(&mut self, path: &str, size: u64, full: &Path) -> io::Result<Option<Detail>> {
        let mut file = match File::open(full) {
            // Fedora's /etc/shadow has mode 0000: only root can look into it, and nothing needs to.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Ok(None),
            opened => opened?,
        };
        self.files.start(path, size);
        loop {
            let count = fill(&mut file, &mut self.buffer)?;
            if count == 0 || !self.files.push(&self.buffer[..count]) {
                return Ok(self.files.finish());
            }
        }
    }
}

fn too_large(error: TooLarge) -> Error {
    Error::broken(error.to_string())
}

/// Linux on the architecture of the first telling program that is a regular ELF file.
fn told_by_programs(root: &Path) -> Option<Platform> {
    TELLING.iter().find_map(|program| {
        let path = root.join(program);
        if !fs::symlink_metadata(&path).ok()?.is_file() {
            return None;
        }
        let mut head = [0; 20];
        File::open(&path).ok()?.read_exact(&mut head).ok()?;
        let is_little_endian = head[5] == 1;
        let machine = [head[18], head[19]];
        let machine = if is_little_endian { u16::from_le_bytes(machine) } else { u16::from_be_bytes(machine) };
        let architecture = crate::layer::elf::architecture(machine, head[4] == 2, is_little_endian);
        head.starts_with(b"\x7fELF").then_some(Platform::new("linux", architecture?))
    })
}
