//! From a reference to the source that has the image, detecting what an untold path holds.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::docker_archive::DockerArchive;
use super::files::{Files, Folder, TarFile};
use super::folder::RootfsFolder;
use super::layout::Layout;
use super::registry::{Mirrored, RegistryOptions};
use super::stream::Stream;
use super::waiting::{Patience, Waiting};
use super::{Error, ErrorKind, Result, Source, SourceKind, daemon, no_archive};
use crate::cache::Cache;
use crate::layer::allowance::{Budget, INDEXES};
use crate::layer::decompress::{Sniffed, is_compressed};
use crate::platform::PlatformChoice;
use crate::reference::{ImageReference, Location, Name, NotAReference, Pick};

/// How sources are reached.
#[derive(Clone)]
pub struct SourceOptions {
    /// For registries.
    pub registry: RegistryOptions,
    /// The engine to ask instead of the usual ones: `unix://…` or `tcp://…`.
    pub engine: Option<String>,
    /// What was read before.
    pub cache: Option<Arc<Cache>>,
    /// How many layers are read at a time where a source reads them itself.
    pub jobs: usize,
    /// Whether layers that a source reads itself are held to their DiffIDs.
    pub verify_layers: bool,
    /// What the indexes of layers may take.
    pub budget: Arc<Budget>,
    /// The configuration to judge an unpacked root file system by.
    pub config_json: Option<PathBuf>,
}

impl Default for SourceOptions {
    fn default() -> Self {
        Self {
            registry: RegistryOptions::default(),
            engine: None,
            cache: None,
            jobs: 0,
            verify_layers: false,
            budget: Budget::new(INDEXES),
            config_json: None,
        }
    }
}

/// A source, and the name that the image is pulled by where it has one.
pub struct Opened {
    /// Where the image is read from.
    pub source: Box<dyn Source>,
    /// What it is pulled by.
    pub name: Option<Name>,
}

/// Opens what a reference names.
///
/// # Errors
/// There is no such thing, or it is not of the kind that the reference says.
pub fn open(reference: &ImageReference, options: &SourceOptions, choice: &PlatformChoice) -> Result<Opened> {
    let unnamed = |source: Box<dyn Source>| Ok(Opened { source, name: None });
    match &reference.location {
        Location::Registry(name) => registry(name, options),
        Location::Daemon(name) => engine(name, options, choice),
        Location::OciLayout(path, pick) => unnamed(layout(path, pick.clone())?),
        Location::OciArchive(path, pick) => {
            unnamed(archive(path, pick.clone(), Some(SourceKind::OciArchive), options)?)
        }
        Location::DockerArchive(path, pick) => {
            unnamed(archive(path, pick.clone(), Some(SourceKind::DockerArchive), options)?)
        }
        Location::Rootfs(path) => unnamed(rootfs(path, options)?),
        Location::StandardInput => {
            let what = "standard input";
            let input = Waiting::reading(what, io::stdin(), Patience::of(options.registry.timeout));
            let start = Sniffed::new(input).map_err(|error| Error::from_io(what, error))?;
            no_archive::refuse(what, None, start.start())?;
            unnamed(archive_source(Box::new(Stream::read(what, rewound(start), &options.budget)?), None, None)?)
        }
        Location::PathOrName(path, name) => path_or_name(reference, path, name, options, choice),
    }
}

fn registry(name: &Name, options: &SourceOptions) -> Result<Opened> {
    Ok(Opened {
        source: Box::new(Mirrored::open(name, &options.registry, options.cache.clone())?),
        name: Some(name.clone()),
    })
}

/// The engine's image if it has one of that name, else the registry's.
fn anywhere(given: &str, name: &Name, options: &SourceOptions, choice: &PlatformChoice) -> Result<Opened> {
    match daemon::find(given, options.engine.as_deref(), false)? {
        Some(found) if found.is_of(choice) => {
            Ok(Opened { source: found.read(given, options)?, name: Some(name.clone()) })
        }
        _ => registry(name, options),
    }
}

fn engine(name: &str, options: &SourceOptions, choice: &PlatformChoice) -> Result<Opened> {
    let tried = daemon::tried(options.engine.as_deref());
    let found = daemon::find(name, options.engine.as_deref(), true)?
        .ok_or_else(|| Error::not_found(format!("no engine has an image {name} (tried {tried})")))?;
    if !found.is_of(choice) {
        return Err(Error::not_found(format!("the engine's image {name} is not of the platform that was asked for")));
    }
    // An image id is no name to pull by.
    let pulled_by = name.parse::<Name>().ok().filter(|_| found.is_called(name));
    Ok(Opened { source: found.read(name, options)?, name: pulled_by })
}

fn path_or_name(
    reference: &ImageReference,
    path: &Path,
    name: &Result<Name, NotAReference>,
    options: &SourceOptions,
    choice: &PlatformChoice,
) -> Result<Opened> {
    let source = match std::fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => {
            if path.join("index.json").exists() || path.join("oci-layout").exists() {
                Some(layout(path, None)?)
            } else if ["usr", "bin", "etc"].iter().any(|folder| path.join(folder).is_dir()) {
                Some(rootfs(path, options)?)
            } else {
                None
            }
        }
        Ok(_) => Some(archive(path, None, None, options)?),
        Err(_) => None,
    };
    match (source, name) {
        (Some(source), _) => Ok(Opened { source, name: None }),
        (None, Ok(name)) => anywhere(&reference.given, name, options, choice),
        (None, Err(_)) if path.is_dir() => Err(Error::new(
            ErrorKind::Unsupported,
            format!("{} is a folder, but neither an OCI image layout nor a root file system", path.display()),
        )),
        (None, Err(why)) => Err(Error::not_found(format!("there is no such file, and {why}"))),
    }
}

fn layout(path: &Path, pick: Option<Pick>) -> Result<Box<dyn Source>> {
    match std::fs::metadata(path) {
        Err(error) => Err(Error::from_io(&path.display().to_string(), error)),
        Ok(metadata) if !metadata.is_dir() => {
            Err(Error::broken(format!("{} is not a folder; for a file use oci-archive:", path.display())))
        }
        Ok(_) => Ok(Box::new(Layout::new(Box::new(Folder::new(path)), SourceKind::Oci, pick))),
    }
}

fn rootfs(path: &Path, options: &SourceOptions) -> Result<Box<dyn Source>> {
    Ok(Box::new(RootfsFolder::open(path, options.config_json.as_deref())?))
}

fn archive(
    path: &Path,
    pick: Option<Pick>,
    kind: Option<SourceKind>,
    options: &SourceOptions,
) -> Result<Box<dyn Source>> {
    let what = path.display().to_string();
    let failed = |error| Error::from_io(&what, error);
    let metadata = std::fs::metadata(path).map_err(failed)?;
    if metadata.is_dir() {
        return Err(Error::broken(format!("{what} is a folder, not an archive; for a layout use oci:")));
    }
    let file = File::open(path).map_err(failed)?;
    // A pipe may wait for its other end.
    let stream: Box<dyn Read + Send> = match metadata.is_file() {
        true => Box::new(file),
        false => Box::new(Waiting::reading(&what, file, Patience::of(options.registry.timeout))),
    };
    let start = Sniffed::new(stream).map_err(failed)?;
    no_archive::refuse(&what, Some(path), start.start())?;
    // What cannot be sought, or only after decompressing, is read once.
    let files: Box<dyn Files> = if is_compressed(start.start()) || !metadata.is_file() {
        Box::new(Stream::read(&what, rewound(start), &options.budget)?)
    } else {
        Box::new(TarFile::open(path)?)
    };
    archive_source(files, pick, kind)
}

/// A stream from its start again.
fn rewound<R: Read>(mut start: Sniffed<R>) -> Sniffed<R> {
    start.rewind();
    start
}

/// A docker archive has a `manifest.json`; those of Docker 25 and later are OCI layouts as well, but only there are
/// the images named as the user named them.
fn archive_source(files: Box<dyn Files>, pick: Option<Pick>, kind: Option<SourceKind>) -> Result<Box<dyn Source>> {
    let kind = match kind {
        Some(kind) => kind,
        None if files.document("manifest.json")?.is_some() => SourceKind::DockerArchive,
        None if files.document("index.json")?.is_some() => SourceKind::OciArchive,
        None if files.document("repositories")?.is_some() => {
            return Err(Error::new(
                ErrorKind::Unsupported,
                format!(
                    "{} is an archive in the old form from before Docker 1.10 (repositories, but no manifest.json): load it \
                     with docker load and save it again",
                    files.what()
                ),
            ));
        }
        None => {
            return Err(Error::new(
                ErrorKind::Unsupported,
                format!(
                    "{} is neither a docker archive (no manifest.json) nor an OCI archive (no index.json); to check a root \
                     file system, unpack it and use rootfs:FOLDER",
                    files.what()
                ),
            ));
        }
    };
    Ok(match kind {
        SourceKind::OciArchive => Box::new(Layout::new(files, kind, pick)),
        _ => Box::new(DockerArchive::new(files, kind, pick)),
    })
}
