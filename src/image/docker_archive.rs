//! What `docker save` writes: `manifest.json` with a configuration and layer files for each image (moby
//! image/spec/v1.2; the same file in the archives of Docker 25 and later, which are OCI layouts as well).

use serde::Deserialize;

use super::documents::{created_by, only_platform};
use super::files::Files;
use super::layout::is_named;
use super::{Error, Image, Layer, LayerBytes, ManifestKind, Result, Source, SourceKind, config};
use crate::digest::Digest;
use crate::platform::PlatformChoice;
use crate::printable::excerpt;
use crate::reference::Pick;

/// A docker archive, opened for one reference.
pub struct DockerArchive {
    files: Box<dyn Files>,
    kind: SourceKind,
    pick: Option<Pick>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Entry {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    #[serde(default)]
    layers: Option<Vec<String>>,
}

impl DockerArchive {
    /// The archive that `files` hold; `pick` says which of its images.
    #[must_use]
    pub fn new(files: Box<dyn Files>, kind: SourceKind, pick: Option<Pick>) -> Self {
        Self { files, kind, pick }
    }

    fn what(&self) -> &str {
        self.files.what()
    }

    fn entries(&self) -> Result<Vec<Entry>> {
        let bytes = self
            .files
            .document("manifest.json")?
            .ok_or_else(|| Error::broken(format!("{} is no docker archive: it has no manifest.json", self.what())))?;
        let entries: Option<Vec<Entry>> = serde_json::from_slice(&bytes)
            .map_err(|error| Error::broken(format!("{}: manifest.json: {error}", self.what())))?;
        entries
            .filter(|entries| !entries.is_empty())
            .ok_or_else(|| Error::broken(format!("{}: manifest.json lists no image", self.what())))
    }

    fn picked(&self, entries: Vec<Entry>) -> Result<Entry> {
        let names = |entry: &Entry| match entry.repo_tags.as_deref().unwrap_or_default() {
            [] => config_digest(&entry.config).map_or_else(|| entry.config.clone(), |digest| format!("@{digest}")),
            tags => tags.join(" = "),
        };
        let list = excerpt(&entries.iter().map(names).collect::<Vec<_>>().join(", "), 600);
        let is_picked = |entry: &Entry| match &self.pick {
            None => true,
            Some(Pick::Name(name)) => entry.repo_tags.iter().flatten().any(|tag| is_named(Some(tag), name)),
            Some(Pick::Digest(digest)) => config_digest(&entry.config).as_ref() == Some(digest),
        };
        let several = entries.len() > 1;
        let found = entries.into_iter().find(is_picked);
        match (&self.pick, found) {
            (None, _) if several => {
                Err(Error::not_found(format!("{} holds several images, say which: {list}", self.what())))
            }
            (_, Some(entry)) => Ok(entry),
            (Some(pick), None) => {
                Err(Error::not_found(format!("{} has no image {pick}; there is {list}", self.what())))
            }
            (None, None) => Err(Error::not_found(format!("{} holds no image", self.what()))),
        }
    }

    fn image(&self, entry: &Entry) -> Result<Image> {
        let what = format!("{}: configuration {}", self.what(), excerpt(&entry.config, 120));
        let bytes = self.files.document(&entry.config)?.ok_or_else(|| Error::broken(format!("{what} is missing")))?;
        let digest = Digest::of(&bytes);
        // Engines take the name of the old `HEX.json` for no more than a name; only blobs are held to theirs.
        if entry.config.starts_with("blobs/") && config_digest(&entry.config).is_some_and(|named| named != digest) {
            return Err(Error::broken(format!("{what} has the digest {digest}")));
        }
        let configuration = config::parse(&what, &bytes)?;
        let names = entry.layers.clone().unwrap_or_default();
        if names.len() != configuration.diff_ids.len() {
            let count = configuration.diff_ids.len();
            return Err(Error::broken(format!("{what} has {count} DiffIDs for {} layers", names.len())));
        }
        let created_by = created_by(&configuration, names.len());
        let layers = names.into_iter().zip(&configuration.diff_ids).zip(created_by).enumerate();
        let layers = layers
            .map(|(index, ((name, diff_id), created_by))| {
                let stored = self.files.layer(&name)?;
                let (bytes, _) = stored.ok_or_else(|| {
                    Error::broken(format!("{}: layer {index} ({}) is missing", self.what(), excerpt(&name, 120)))
                })?;
                Ok(Layer {
                    index,
                    digest: None,
                    diff_id: Some(diff_id.clone()),
                    media_type: String::new(),
                    bytes,
                    urls: Vec::new(),
                    created_by,
                    toc: None,
                    key: name,
                })
            })
            .collect::<Result<_>>()?;
        Ok(Image {
            name: entry.repo_tags.iter().flatten().next().cloned(),
            digest: None,
            config_digest: Some(digest),
            platform: configuration.platform.clone(),
            offered: Vec::new(),
            entry: None,
            is_one_of_all: false,
            listed: None,
            manifest: ManifestKind::None,
            media_types: Vec::new(),
            configuration: Some(configuration),
            layers,
        })
    }
}

/// The digest that a configuration is named by: `HEX.json`, `blobs/sha256/HEX` or `sha256:HEX`.
fn config_digest(name: &str) -> Option<Digest> {
    let name = name.rsplit('/').next()?;
    let name = name.strip_suffix(".json").unwrap_or(name);
    let name = name.strip_prefix("sha256:").unwrap_or(name);
    format!("sha256:{name}").parse().ok()
}

impl Source for DockerArchive {
    fn kind(&self) -> SourceKind {
        self.kind
    }

    fn images(&self, choice: &PlatformChoice) -> Result<Vec<Image>> {
        let entry = self.picked(self.entries()?)?;
        let image = self.image(&entry)?;
        only_platform(self.what(), image, choice)
    }

    fn open_layer(&self, layer: &Layer) -> Result<LayerBytes> {
        match self.files.layer(&layer.key)? {
            Some((_, bytes)) => Ok(bytes),
            None => Err(Error::broken(format!("{}: {} is missing", self.what(), excerpt(&layer.key, 120)))),
        }
    }
}
