//! Where an image's bytes come from: registry, engine, archive, layout or folder, all behind [`Source`].

use std::io::Read;
use std::ops::Range;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::layer::{LayerIndex, TocHint};
use crate::platform::{Platform, PlatformChoice};

pub mod config;
#[cfg(feature = "run")]
mod daemon;
#[cfg(not(feature = "run"))]
#[path = "without_daemon.rs"]
mod daemon;
mod docker_archive;
pub mod documents;
#[cfg(feature = "run")]
pub mod endpoints;
mod error;
mod files;
mod folder;
mod json;
mod layout;
mod lazy;
pub mod manifest;
mod no_archive;
mod open;
pub mod read;
pub mod registry;
mod stream;
mod waiting;

pub use error::{Error, ErrorKind};
pub use folder::{TELLING, mounted_folder};
pub use open::{Opened, SourceOptions, open};

/// What any operation on a source gives.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A place that images are read from, opened for one reference.
///
/// A new kind of source writes three methods; verification, decompression and indexing are not its business
/// ([`read`]).
pub trait Source: Send + Sync {
    /// Which kind it is, for the report.
    fn kind(&self) -> SourceKind;

    /// The images that the reference and the choice of platform name, at least one: manifests and configurations,
    /// fetched and verified, but no layer.
    ///
    /// # Errors
    /// Nothing of that name or platform, no access, or a document that is broken.
    fn images(&self, choice: &PlatformChoice) -> Result<Vec<Image>>;

    /// The bytes of one layer of an image that [`Source::images`] gave.
    ///
    /// # Errors
    /// The layer cannot be opened.
    fn open_layer(&self, layer: &Layer) -> Result<LayerBytes>;

    /// The bytes of a part of such a layer, as it is stored: exactly those, or an error in their place. The digest of
    /// the layer does not prove them.
    ///
    /// # Errors
    /// The source gives no parts (`Unsupported`), or the layer cannot be opened.
    fn open_part(&self, layer: &Layer, part: Range<u64>) -> Result<Box<dyn Read + Send>> {
        Err(Error::new(
            ErrorKind::Unsupported,
            format!("bytes {part:?} of layer {}: no parts are to be had", layer.index),
        ))
    }

    /// The mirror that answered in place of the registry that was named, if one did.
    fn mirror(&self) -> Option<String> {
        None
    }

    /// How many bytes came over the network so far, for sources that use one.
    fn bytes_fetched(&self) -> Option<u64> {
        None
    }
}

/// A layer's content as a source has it.
pub enum LayerBytes {
    /// A stream, still to be verified and indexed. Its `io::Error`s may carry an [`Error`].
    Stream(Box<dyn Read + Send>),
    /// A layer that the source had to index while its own bytes passed by (an archive that cannot be sought).
    Indexed(Arc<LayerIndex>),
}

/// The kinds of source, in the words of the report (contract: `image.source`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SourceKind {
    /// A registry.
    Registry,
    /// An engine's image store.
    DockerDaemon,
    /// An OCI image layout in a folder.
    Oci,
    /// An OCI image layout in a tar file.
    OciArchive,
    /// What `docker save` writes.
    DockerArchive,
    /// An unpacked root file system.
    Rootfs,
}

/// One image of one platform: everything about it but the layers' content.
#[derive(Clone, Debug)]
pub struct Image {
    /// The normalised name, where the source knows one.
    pub name: Option<String>,
    /// The digest of the manifest, where there is a manifest.
    pub digest: Option<Digest>,
    /// The digest of the configuration, where there is one.
    pub config_digest: Option<Digest>,
    /// The platform by the configuration, completed by the index entry.
    pub platform: Platform,
    /// The platforms of the index it was chosen from, in its order; empty when there was none.
    pub offered: Vec<Platform>,
    /// Which of those it was chosen from is its own.
    pub entry: Option<usize>,
    /// Whether all entries of the index were asked for.
    pub is_one_of_all: bool,
    /// The platform as the index entry says it, where there was one.
    pub listed: Option<Platform>,
    /// What kind of manifest described it.
    pub manifest: ManifestKind,
    /// The media types as written: the manifest's own, the configuration's, then the layers'.
    pub media_types: Vec<String>,
    /// The configuration; nothing for a manifest that is not read further (schema 1).
    pub configuration: Option<config::Configuration>,
    /// The layers, base first.
    pub layers: Vec<Layer>,
}

/// The kinds of manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ManifestKind {
    /// OCI image manifest.
    Oci,
    /// Docker image manifest version 2, schema 2.
    DockerSchema2,
    /// Docker image manifest version 2, schema 1: refused by current engines and not read further.
    DockerSchema1,
    /// `manifest.json` of `docker save`, or no manifest at all.
    None,
}

/// One layer as manifest and configuration describe it.
#[derive(Clone, Debug)]
pub struct Layer {
    /// Its number, the base is 0.
    pub index: usize,
    /// The digest of its bytes as stored, where the source names it.
    pub digest: Option<Digest>,
    /// The digest of its uncompressed tar, by the configuration.
    pub diff_id: Option<Digest>,
    /// Its media type as written, empty where none is.
    pub media_type: String,
    /// Its size as stored, in bytes.
    pub bytes: u64,
    /// Other places it may be had from (`urls` of foreign layers).
    pub urls: Vec<String>,
    /// The history entry that made it: its text, or nothing when history and layers do not match.
    pub created_by: Option<String>,
    /// Where its table of contents is, if it has one and can be fetched in part.
    pub toc: Option<TocHint>,
    /// What the source finds it by.
    pub(crate) key: String,
}

impl Layer {
    /// Whether a registry may not have it: it names other places, or is of a type that must not be passed on
    /// (image-spec, layer.md, "Non-Distributable Layers"; Docker's `foreign`).
    #[must_use]
    pub fn is_foreign(&self) -> bool {
        !self.urls.is_empty() || ["foreign", "nondistributable"].iter().any(|word| self.media_type.contains(word))
    }
}

impl Image {
    /// The sum of the layers' stored sizes in bytes.
    #[must_use]
    pub fn stored_bytes(&self) -> u64 {
        self.layers.iter().fold(0, |sum, layer| sum.saturating_add(layer.bytes))
    }
}
