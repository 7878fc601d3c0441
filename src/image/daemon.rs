//! An engine's image store, through the Docker API: Docker, or Podman behind its compatible socket.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::thread;
use std::time::Duration;

use bollard::Docker;
use bollard::models::ImageInspect;
use futures_util::StreamExt;
use tokio::runtime::Runtime;

use super::docker_archive::DockerArchive;
use super::endpoints::{Endpoint, endpoints, open};
use super::open::SourceOptions;
use super::read::{Depth, ReadOptions, layers};
use super::registry::{Registry, RegistryOptions, Retries};
use super::stream::Stream;
use super::waiting::{Patience, WAITING, Waiting};
use super::{Error, ErrorKind, Image, Layer, LayerBytes, Result, Source, SourceKind};
use crate::digest::Digest;
use crate::layer::allowance::Budget;
use crate::platform::PlatformChoice;
use crate::printable::excerpt;
use crate::reference::Name;

/// How long an engine may take to say whether it is there and has an image.
const PATIENCE: Duration = Duration::from_secs(15);
/// From which size on an engine's image is rather fetched from its registry than exported, in bytes.
const LARGE: i64 = 256 << 20;
/// How long a registry may be silent that nobody asked to use.
const UNASKED: Duration = Duration::from_secs(3);

/// An image in an engine's store, found but not yet exported.
pub struct Found {
    docker: Docker,
    runtime: Runtime,
    endpoint: String,
    image: ImageInspect,
}

/// An exported image.
struct Daemon {
    archive: DockerArchive,
    digest: Option<Digest>,
    name: String,
    /// What came from a registry in place of the export, in bytes.
    fetched: Option<u64>,
}

/// Looks for an image called `name` in the engines that answer. `None` if none answers or none has it.
///
/// # Errors
/// `name` is none that an engine takes, `engine` names an engine that does not answer, or an engine is named that cannot
/// be found. `is_needed` says whether an engine is needed: if not, a name that only a file gives is passed over.
pub fn find(name: &str, engine: Option<&str>, is_needed: bool) -> Result<Option<Found>> {
    // The name becomes a part of a URL.
    if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-/:@".contains(&byte)) {
        return Err(Error::not_found(format!("{} is not a name of an engine's image", excerpt(name, 200))));
    }
    let endpoints = match endpoints(engine) {
        Ok(endpoints) => endpoints,
        Err(misnamed) if misnamed.is_by_file && !is_needed => return Ok(None),
        Err(misnamed) => return Err(Error::not_found(misnamed.why)),
    };
    let mut silent = Vec::new();
    for endpoint in endpoints {
        match ask(&endpoint, name) {
            Ok(Some(found)) => return Ok(Some(found)),
            Ok(None) => {}
            Err(why) => silent.push(format!("{}: {why}", endpoint.url)),
        }
    }
    match engine {
        Some(_) if !silent.is_empty() => {
            Err(Error::new(ErrorKind::Unreachable, format!("the engine does not answer ({})", silent.join("; "))))
        }
        _ => Ok(None),
    }
}

/// What `find` tries, for an error message.
#[must_use]
pub fn tried(engine: Option<&str>) -> String {
    let endpoints = endpoints(engine).unwrap_or_default();
    endpoints.into_iter().map(|endpoint| endpoint.url).collect::<Vec<_>>().join(", ")
}

fn ask(endpoint: &Endpoint, name: &str) -> Result<Option<Found>, String> {
    let (docker, runtime) = open(endpoint)?;
    let asked = runtime.block_on(async {
        let inspect = async {
            let docker = docker.negotiate_version().await?;
            let image = docker.inspect_image(name).await?;
            Ok::<_, bollard::errors::Error>((docker, image))
        };
        tokio::time::timeout(PATIENCE, inspect).await
    });
    match asked {
        Err(_) => Err(format!("no answer within {} s", PATIENCE.as_secs())),
        Ok(Ok((docker, image))) => Ok(Some(Found { docker, runtime, endpoint: endpoint.url.clone(), image })),
        Ok(Err(bollard::errors::Error::DockerResponseServerError { status_code: 404, .. })) => Ok(None),
        Ok(Err(error)) => Err(excerpt(&error.to_string(), 200)),
    }
}

impl Found {
    /// Whether the image is of the platform that was asked for, as far as one was.
    #[must_use]
    pub fn is_of(&self, choice: &PlatformChoice) -> bool {
        let PlatformChoice::Exactly(wanted) = choice else { return true };
        self.image.os.as_deref() == Some(wanted.os.as_str())
            && self.image.architecture.as_deref() == Some(wanted.architecture.as_str())
    }

    /// Whether the engine knows the image by this name; an id is none.
    #[must_use]
    pub fn is_called(&self, name: &str) -> bool {
        let Ok(name) = name.parse::<Name>() else { return false };
        self.image
            .repo_tags
            .iter()
            .flatten()
            .any(|tag| tag.parse::<Name>().is_ok_and(|tag| tag.to_string() == name.to_string()))
    }

    /// Reads the image: from the cache if it was read before; from its registry if it is there and is large, or needs no
    /// more than its documents; else from the engine, which exports it.
    ///
    /// # Errors
    /// The export breaks off or is no docker archive.
    pub fn read(self, name: &str, options: &SourceOptions) -> Result<Box<dyn Source>> {
        let what = format!("{name} from the engine at {}", self.endpoint);
        let id: Option<Digest> = self.image.id.as_deref().and_then(|id| id.parse().ok());
        let digest = self.image.repo_digests.iter().flatten().find_map(|known| digest_of(known, name));
        let cache = options.cache.as_deref().zip(id.as_ref());
        let made = |files, fetched| -> Box<dyn Source> {
            Box::new(Daemon {
                archive: DockerArchive::new(Box::new(files), SourceKind::DockerDaemon, None),
                digest: digest.clone(),
                name: name.to_owned(),
                fetched,
            })
        };
        if let Some(files) = cache.and_then(|(cache, id)| Stream::recall(&what, cache, id)) {
            return Ok(made(files, None));
        }
        let is_large = self.image.size.is_some_and(|size| size >= LARGE);
        let is_known =
            || options.cache.as_deref().is_some_and(|cache| id.as_ref().is_some_and(|id| cache.has_layers_of(id)));
        let by_digest = id.as_ref().zip(digest.as_ref()).filter(|_| is_large || is_known());
        let from_registry = by_digest.and_then(|(id, digest)| from_registry(&what, name, id, digest, options));
        let (files, fetched) = match from_registry {
            Some((files, fetched)) => (files, fetched),
            None => (self.export(&what, name, Patience::of(options.registry.timeout), &options.budget)?, None),
        };
        if let Some((cache, id)) = cache {
            files.remember(cache, id);
        }
        Ok(made(files, fetched))
    }

    /// Exports the image and reads it while it streams.
    fn export(self, what: &str, name: &str, patience: Patience, budget: &Arc<Budget>) -> Result<Stream> {
        let Self { docker, runtime, image, .. } = self;
        // By its id, so that the archive holds this one image even if its name has moved on.
        let id = image.id.unwrap_or_else(|| name.to_owned());
        let (send, chunks) = sync_channel(WAITING);
        thread::spawn(move || {
            runtime.block_on(async {
                let mut export = std::pin::pin!(docker.export_image(&id));
                while let Some(chunk) = export.next().await {
                    let chunk = chunk.map_err(|error| io::Error::other(excerpt(&error.to_string(), 300)));
                    // Nobody listens any more once the archive was found to be broken.
                    if send.send(chunk.map(Vec::from)).is_err() {
                        return;
                    }
                }
            });
        });
        Stream::read(what, Waiting::for_chunks(what, chunks, patience), budget)
    }
}

/// The engine's image `id` put together from what the registry has under `digest`, and how many bytes that took;
/// nothing if it does not have just that image, or does not answer at once.
fn from_registry(
    what: &str,
    name: &str,
    id: &Digest,
    digest: &Digest,
    options: &SourceOptions,
) -> Option<(Stream, Option<u64>)> {
    let name = Name { digest: Some(digest.clone()), ..name.parse().ok()? };
    let patience = RegistryOptions {
        connect: UNASKED,
        stall: UNASKED,
        retries: Retries { tries: 1, ..options.registry.retries.clone() },
        ..options.registry.clone()
    };
    let registry = Registry::open(&name, &patience.of(&name.registry, &name.registry)).ok()?;
    let registry = registry.keeping(options.cache.clone());
    let images = registry.images(&PlatformChoice::All).ok()?;
    // An engine calls an image by the digest of its configuration, which no other image has.
    let image = images.iter().find(|image| image.config_digest.as_ref() == Some(id))?;
    let (jobs, cache) = (options.jobs.max(1), options.cache.as_deref());
    let depth = if options.verify_layers { Depth::Verified } else { Depth::Whole };
    let reading = ReadOptions { jobs, cache, depth, progress: None, budget: &options.budget };
    let layers = layers(&registry, image, reading).ok()?;
    let configuration = registry.configuration_document(id).ok()?;
    Some((Stream::of_parts(what, configuration, layers), registry.bytes_fetched()))
}

/// The digest of `known` (`NAME@DIGEST`) if it is one of the image's own repository.
fn digest_of(known: &str, name: &str) -> Option<Digest> {
    let known: Name = known.parse().ok()?;
    let name: Name = name.parse().ok()?;
    (known.registry == name.registry && known.repository == name.repository).then_some(known.digest).flatten()
}

impl Source for Daemon {
    fn kind(&self) -> SourceKind {
        SourceKind::DockerDaemon
    }

    fn images(&self, choice: &PlatformChoice) -> Result<Vec<Image>> {
        let mut images = self.archive.images(choice)?;
        for image in &mut images {
            image.name = self.name.parse::<Name>().map(|name| name.to_string()).ok();
            image.digest.clone_from(&self.digest);
        }
        Ok(images)
    }

    fn open_layer(&self, layer: &Layer) -> Result<LayerBytes> {
        self.archive.open_layer(layer)
    }

    fn bytes_fetched(&self) -> Option<u64> {
        self.fetched
    }
}
