//! Manifests and indexes, OCI's and Docker's, read leniently: real ones leave media types out.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{Error, ManifestKind, Result};
use crate::digest::Digest;
use crate::platform::Platform;

/// The media types of manifests and indexes that imglint asks registries for, schema 1 last so that it is only
/// sent when there is nothing else.
pub const ACCEPTED: &[&str] = &[
    OCI_INDEX,
    OCI_MANIFEST,
    DOCKER_LIST,
    DOCKER_MANIFEST,
    "application/vnd.docker.distribution.manifest.v1+prettyjws",
    "application/vnd.docker.distribution.manifest.v1+json",
];
/// OCI image index (image-spec, media-types.md).
pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// OCI image manifest (image-spec, media-types.md).
pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// Docker manifest list (distribution, manifest-v2-2.md).
pub const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
/// Docker image manifest, schema 2 (distribution, manifest-v2-2.md).
pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
/// The largest document a registry must take, and the largest imglint reads (distribution-spec, "Pushing
/// Manifests"), in bytes.
pub const LARGEST_DOCUMENT: u64 = 4 * 1024 * 1024;

/// A pointer to content (image-spec, descriptor.md).
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// What it points to.
    #[serde(default)]
    pub media_type: String,
    /// The digest of the content.
    pub digest: Digest,
    /// The size of the content in bytes.
    pub size: u64,
    /// Other places it may be had from.
    #[serde(default)]
    pub urls: Vec<String>,
    /// What platform it is for, in an index.
    #[serde(default)]
    pub platform: Option<Platform>,
    /// Annotations.
    #[serde(default)]
    pub annotations: BTreeMap<String, String>,
    /// What kind of artifact it points to, when it is none of an image's.
    #[serde(default)]
    pub artifact_type: Option<String>,
}

/// A manifest or an index, told apart by content and media type.
#[derive(Clone, Debug)]
pub enum Document {
    /// An index or a manifest list.
    Index(Index),
    /// An image manifest.
    Manifest(Box<Manifest>),
    /// A schema 1 manifest, of which only the layers' digests are known.
    Schema1(Schema1),
}

/// An index of manifests.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Index {
    /// As written.
    #[serde(default)]
    pub media_type: String,
    /// The entries in order.
    pub manifests: Vec<Descriptor>,
}

/// An image manifest.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// As written; empty when left out, which OCI allows.
    #[serde(default)]
    pub media_type: String,
    /// The configuration.
    pub config: Descriptor,
    /// The layers, base first.
    #[serde(default)]
    pub layers: Vec<Descriptor>,
}

/// What is kept of a schema 1 manifest (distribution, manifest-v2-1.md).
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Schema1 {
    /// The architecture, as written.
    #[serde(default)]
    pub architecture: String,
}

impl Manifest {
    /// Which kind it is, by its own media type, else by its configuration's.
    #[must_use]
    pub fn kind(&self) -> ManifestKind {
        let docker = match self.media_type.as_str() {
            "" => self.config.media_type.starts_with("application/vnd.docker."),
            own => own.starts_with("application/vnd.docker."),
        };
        if docker { ManifestKind::DockerSchema2 } else { ManifestKind::Oci }
    }

    /// Whether this is an image at all: artifacts (signatures, charts, attestations) use the same manifests with
    /// another configuration (image-spec, manifest.md, "Guidelines for Artifact Usage").
    #[must_use]
    pub fn is_image(&self) -> bool {
        is_image_config(&self.config.media_type)
    }
}

/// Whether a configuration of this media type is an image's.
#[must_use]
pub fn is_image_config(media_type: &str) -> bool {
    matches!(
        media_type,
        "" | "application/vnd.oci.image.config.v1+json"
            | "application/vnd.docker.container.image.v1+json"
            // Written by old builders and accepted by engines.
            | "application/octet-stream"
    )
}

/// Reads a manifest or an index. `what` names it in errors; `media_type` is what the registry or the descriptor said.
///
/// # Errors
/// It is not JSON, or of no known kind, or lacks a field.
pub fn parse(what: &str, media_type: &str, bytes: &[u8]) -> Result<Document> {
    let broken = |error: serde_json::Error| Error::broken(format!("{what} is not a manifest: {error}"));
    let shape: Shape = serde_json::from_slice(bytes).map_err(broken)?;
    match shape.schema_version {
        Some(1) => return serde_json::from_slice(bytes).map(Document::Schema1).map_err(broken),
        Some(2) | None => {}
        Some(other) => return Err(Error::broken(format!("{what} has schemaVersion {other}, which nothing reads"))),
    }
    let said = if shape.media_type.is_empty() { media_type } else { &shape.media_type };
    let is_index = matches!(said, OCI_INDEX | DOCKER_LIST);
    let is_manifest = matches!(said, OCI_MANIFEST | DOCKER_MANIFEST);
    // A document that is both could be read differently by different tools (CVE-2021-41190), so it is refused.
    if shape.manifests && (shape.config || shape.layers) {
        return Err(Error::broken(format!("{what} is an index and a manifest at once, which is not allowed")));
    }
    match (shape.manifests, shape.config) {
        (true, _) if !is_manifest => serde_json::from_slice(bytes).map(Document::Index).map_err(broken),
        (false, true) if !is_index => {
            serde_json::from_slice(bytes).map(|manifest| Document::Manifest(Box::new(manifest))).map_err(broken)
        }
        _ => Err(Error::broken(format!("{what} is neither an image manifest nor an index (media type {said:?})"))),
    }
}

#[derive(Deserialize)]
struct Shape {
    #[serde(default, rename = "schemaVersion")]
    schema_version: Option<u64>,
    #[serde(default, rename = "mediaType")]
    media_type: String,
    #[serde(default, deserialize_with = "is_there")]
    manifests: bool,
    #[serde(default, deserialize_with = "is_there")]
    config: bool,
    #[serde(default, deserialize_with = "is_there")]
    layers: bool,
}

fn is_there<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    Option::<serde::de::IgnoredAny>::deserialize(deserializer).map(|value| value.is_some())
}
