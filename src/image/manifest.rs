//! Manifests and indexes, OCI's and Docker's, read as engines read them: real ones leave media types out.

use std::collections::BTreeMap;

use super::json::{self, Json, JsonError, Read, Repeats};
use super::{Error, ManifestKind, Result};
use crate::digest::Digest;
use crate::platform::Platform;
use crate::printable::excerpt;

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
#[derive(Clone, Debug)]
pub struct Descriptor {
    /// What it points to.
    pub media_type: String,
    /// The digest of the content.
    pub digest: Digest,
    /// The size of the content in bytes.
    pub size: u64,
    /// Other places it may be had from.
    pub urls: Vec<String>,
    /// What platform it is for, in an index.
    pub platform: Option<Platform>,
    /// Annotations.
    pub annotations: BTreeMap<String, String>,
    /// What kind of artifact it points to, when it is none of an image's.
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
#[derive(Clone, Debug)]
pub struct Index {
    /// As written.
    pub media_type: String,
    /// The entries in order.
    pub manifests: Vec<Descriptor>,
    /// Entries without a digest that can be read, which matter only to those who would choose one.
    pub unreadable: Vec<Unreadable>,
}

/// An entry of an index that cannot be read.
#[derive(Clone, Debug)]
pub struct Unreadable {
    /// What it is for, if it says so.
    pub platform: Option<Platform>,
    /// What is wrong with it, the end of a sentence.
    pub why: String,
}

/// An image manifest.
#[derive(Clone, Debug)]
pub struct Manifest {
    /// As written; empty when left out, which OCI allows.
    pub media_type: String,
    /// The configuration.
    pub config: Descriptor,
    /// The layers, base first.
    pub layers: Vec<Descriptor>,
}

/// What is kept of a schema 1 manifest (distribution, manifest-v2-1.md).
#[derive(Clone, Debug)]
pub struct Schema1 {
    /// The architecture, as written.
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

    /// What this is if it is not an image that engines can unpack, and the media type that shows it: artifacts use the
    /// same manifests with another configuration or other layers (image-spec, manifest.md, "Guidelines for Artifact
    /// Usage").
    #[must_use]
    pub fn other_thing(&self) -> Option<String> {
        let layer = self.layers.iter().find_map(|layer| Some((&layer.media_type, other_thing(&layer.media_type)?)));
        let own = &self.config.media_type;
        let (media_type, thing) = match (other_thing(own), layer) {
            (Some(thing), _) => (own, thing),
            (None, Some(by_layer)) => by_layer,
            (None, None) if !is_image_config(own) => (own, "an artifact"),
            (None, None) => return None,
        };
        Some(format!("{thing} ({})", excerpt(media_type, 100)))
    }

    /// Why engines do not unpack one of its layers, by its media type.
    #[must_use]
    pub fn refused_layer(&self) -> Option<String> {
        let (number, layer) = self
            .layers
            .iter()
            .enumerate()
            .find(|(_, layer)| layer.media_type.ends_with("+encrypted") || !is_layer(&layer.media_type))?;
        let media_type = excerpt(&layer.media_type, 100);
        Some(match layer.media_type.ends_with("+encrypted") {
            true => format!("layer {number} is encrypted ({media_type}), which engines cannot read without its key"),
            false => format!("layer {number} is of the media type {media_type}, which Docker refuses to pull"),
        })
    }
}

/// Whether a configuration of this media type is an image's. Old builders and registries wrote others, which engines
/// take all the same (moby, distribution/registry.go, `imageTypes`).
#[must_use]
pub fn is_image_config(media_type: &str) -> bool {
    matches!(
        media_type,
        "" | "application/vnd.oci.image.config.v1+json"
            | "application/vnd.docker.container.image.v1+json"
            | "application/octet-stream"
            | "application/json"
            | "text/html"
    )
}

/// What media types of other things than images contain, and what such a thing is called.
const OTHER_THINGS: [(&str, &str); 13] = [
    ("in-toto", "an attestation"),
    ("dsse", "an attestation"),
    ("simplesigning", "a signature"),
    ("sigstore.bundle", "a signature"),
    ("cosign.artifact.sig", "a signature"),
    ("notary.signature", "a signature"),
    ("spdx", "an SBOM"),
    ("cyclonedx", "an SBOM"),
    ("syft", "an SBOM"),
    ("helm", "a Helm chart"),
    ("docker.plugin", "a Docker plugin"),
    ("cacheconfig", "a build cache"),
    ("wasm", "a WebAssembly module"),
];

/// What a thing with a part of this media type is, if it is of a kind that is known and not an image.
fn other_thing(media_type: &str) -> Option<&'static str> {
    let media_type = media_type.to_ascii_lowercase();
    OTHER_THINGS.iter().find(|(mark, _)| media_type.contains(mark)).map(|(_, name)| *name)
}

/// Whether Docker pulls a layer of this media type: any of the families of images' types, or one of those that it takes
/// for a configuration.
#[must_use]
pub fn is_layer(media_type: &str) -> bool {
    let families = ["application/vnd.oci.image.", "application/vnd.docker."];
    is_image_config(media_type) || families.iter().any(|family| media_type.starts_with(family))
}

/// Reads a manifest or an index. `what` names it in errors; `media_type` is what the registry or the descriptor said.
///
/// # Errors
/// It is not JSON, or of no known kind, or lacks a field.
pub fn parse(what: &str, media_type: &str, bytes: &[u8]) -> Result<Document> {
    let mut parts = Parts::default();
    json::read(bytes, Repeats::Refused, |json| parts.read(json))
        .map_err(|error| Error::broken(format!("{what} is not a manifest: {error}")))?;
    let kind = |media_type: &str| match media_type {
        OCI_INDEX | DOCKER_LIST => Some("an index"),
        OCI_MANIFEST | DOCKER_MANIFEST => Some("a manifest"),
        _ => None,
    };
    // Engines go by the media type that the registry or the descriptor says.
    if let (Some(outside), Some(inside)) = (kind(media_type), kind(&parts.media_type))
        && outside != inside
    {
        return Err(Error::broken(format!("{what} is said to be {outside} ({media_type}), but calls itself {inside}")));
    }
    // Of any other version they read all that is known here.
    let said_kind = kind(media_type).or(kind(&parts.media_type));
    if parts.schema_version == Some(1) && said_kind.is_none() {
        return Ok(Document::Schema1(Schema1 { architecture: parts.architecture }));
    }
    // A document that is both could be read differently by different tools (CVE-2021-41190), so it is refused.
    // containerd does so even if what is too much is null.
    let has = |key: &str| parts.keys.contains(&key);
    let is_both = (parts.manifests.is_some() && (has("config") || has("layers")))
        || (has("manifests") && (parts.config.is_some() || parts.layers.is_some()));
    if is_both {
        return Err(Error::broken(format!("{what} is an index and a manifest at once, which is not allowed")));
    }
    let said = if parts.media_type.is_empty() { media_type.to_owned() } else { parts.media_type.clone() };
    let is_index = matches!(said.as_str(), OCI_INDEX | DOCKER_LIST);
    let is_manifest = matches!(said.as_str(), OCI_MANIFEST | DOCKER_MANIFEST);
    match (parts.manifests, parts.config) {
        (Some(manifests), _) if !is_manifest => {
            Ok(Document::Index(Index { media_type: parts.media_type, manifests, unreadable: parts.unreadable }))
        }
        (None, Some(config)) if !is_index => {
            let layers = parts.layers.unwrap_or_default();
            Ok(Document::Manifest(Box::new(Manifest { media_type: parts.media_type, config, layers })))
        }
        // As Go writes an empty list.
        (None, None) if is_index && parts.layers.is_none() => Ok(Document::Index(Index {
            media_type: parts.media_type,
            manifests: Vec::new(),
            unreadable: parts.unreadable,
        })),
        _ => {
            let version = parts.schema_version.filter(|version| *version != 2);
            let version = version.map_or_else(String::new, |version| format!("schemaVersion {version}, "));
            let text = format!("{what} is neither an image manifest nor an index ({version}media type {said:?})");
            Err(Error::broken(text))
        }
    }
}

/// What stands in a manifest or an index.
#[derive(Default)]
struct Parts {
    schema_version: Option<i64>,
    media_type: String,
    architecture: String,
    config: Option<Descriptor>,
    layers: Option<Vec<Descriptor>>,
    manifests: Option<Vec<Descriptor>>,
    unreadable: Vec<Unreadable>,
    /// Which keys there are.
    keys: Vec<&'static str>,
}

impl Parts {
    fn read(&mut self, json: &mut Json<'_>) -> Read<()> {
        const KNOWN: [&str; 9] = [
            "schemaVersion",
            "mediaType",
            "architecture",
            "config",
            "layers",
            "manifests",
            // Not read, but other tools tell by them what it is.
            "artifactType",
            "subject",
            "annotations",
        ];
        json.fields(&KNOWN, |json, key| {
            self.keys.push(key);
            match key {
                "schemaVersion" => self.schema_version = json.integer()?,
                "mediaType" => self.media_type = json.text()?.unwrap_or_default(),
                "architecture" => self.architecture = json.text()?.unwrap_or_default(),
                "config" => self.config = descriptor(json)?.transpose().map_err(|unreadable| unreadable.1)?,
                "layers" => self.layers = layers(json)?,
                "manifests" => self.manifests = entries(json, &mut self.unreadable)?,
                "annotations" => drop(json.texts_by_name()?),
                "subject" => drop(json.object(|json, _| json.skip())?),
                _ => drop(json.text()?),
            }
            Ok(())
        })
    }
}

/// The layers of a manifest; `None` for no list.
fn layers(json: &mut Json<'_>) -> Read<Option<Vec<Descriptor>>> {
    let mut all = Vec::new();
    let is_list = json.items(|json, number| {
        let numbered = |error: JsonError| JsonError { why: format!("entry {number}: {}", error.why), ..error };
        match descriptor(json).map_err(numbered)? {
            None => return Err(json.error(format!("entry {number} is null"))),
            Some(Ok(read)) => all.push(read),
            Some(Err((_, error))) => return Err(numbered(error)),
        }
        Ok(())
    })?;
    Ok(is_list.then_some(all))
}

/// The entries of an index, without those that are `null`; `None` for no list.
fn entries(json: &mut Json<'_>, unreadable: &mut Vec<Unreadable>) -> Read<Option<Vec<Descriptor>>> {
    let mut all = Vec::new();
    let is_list = json.items(|json, number| {
        let numbered = |error: JsonError| JsonError { why: format!("entry {number}: {}", error.why), ..error };
        match descriptor(json).map_err(numbered)? {
            None => {}
            Some(Ok(read)) => all.push(read),
            Some(Err((platform, error))) => unreadable.push(Unreadable { platform, why: numbered(error).to_string() }),
        }
        Ok(())
    })?;
    Ok(is_list.then_some(all))
}

/// What a descriptor without a digest that can be read is for, and what is wrong with it.
type NoDigest = (Option<Platform>, JsonError);

/// A descriptor; `None` for `null`.
fn descriptor(json: &mut Json<'_>) -> Read<Option<Result<Descriptor, NoDigest>>> {
    const KNOWN: [&str; 7] = ["mediaType", "digest", "size", "urls", "platform", "annotations", "artifactType"];
    if json.is_null()? {
        return Ok(None);
    }
    let mut media_type = String::new();
    let (mut digest, mut size, mut artifact_type, mut platform) = (None, 0, None, None);
    let (mut urls, mut annotations) = (Vec::new(), BTreeMap::new());
    json.fields(&KNOWN, |json, key| {
        match key {
            "mediaType" => media_type = json.text()?.unwrap_or_default(),
            "digest" => {
                let text = json.text()?.unwrap_or_default();
                digest = Some(text.parse::<Digest>().map_err(|error| json.error(error.to_string())));
            }
            "size" => {
                let number = json.integer()?.unwrap_or_default();
                size = u64::try_from(number).map_err(|_| json.error(format!("{number} is not a size")))?;
            }
            "urls" => urls = json.texts()?,
            "platform" => platform = read_platform(json)?,
            "annotations" => annotations = json.texts_by_name()?,
            _ => artifact_type = json.text()?,
        }
        Ok(())
    })?;
    Ok(Some(match digest.unwrap_or_else(|| Err(json.error("the key digest is missing".to_owned()))) {
        Ok(digest) => Ok(Descriptor { media_type, digest, size, urls, platform, annotations, artifact_type }),
        Err(error) => Err((platform, error)),
    }))
}

fn read_platform(json: &mut Json<'_>) -> Read<Option<Platform>> {
    if json.is_null()? {
        return Ok(None);
    }
    let mut platform = Platform::default();
    json.fields(&["os", "architecture", "variant", "os.version"], |json, key| {
        let text = json.text()?.unwrap_or_default();
        match key {
            "os" => platform.os = text,
            "architecture" => platform.architecture = text,
            "variant" => platform.variant = Some(text).filter(|text| !text.is_empty()),
            _ => platform.os_version = Some(text).filter(|text| !text.is_empty()),
        }
        Ok(())
    })?;
    Ok(Some(platform.normal()))
}
