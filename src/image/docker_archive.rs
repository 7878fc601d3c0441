//! What `docker save` writes: `manifest.json` with a configuration and layer files for each image (moby
//! image/spec/v1.2; the same file in the archives of Docker 25 and later, which are OCI layouts as well).

use super::documents::{complete, created_by, only_platform};
use super::files::Files;
use super::json::{self, Json, Read, Repeats};
use super::layout::is_named;
use super::{Error, Image, Layer, LayerBytes, ManifestKind, Result, Source, SourceKind, config};
use crate::digest::Digest;
use crate::layer::path::normalise;
use crate::platform::PlatformChoice;
use crate::printable::excerpt;
use crate::reference::Pick;

/// A docker archive, opened for one reference.
pub struct DockerArchive {
    files: Box<dyn Files>,
    kind: SourceKind,
    pick: Option<Pick>,
}

/// One image of `manifest.json`.
#[derive(Default)]
struct Entry {
    config: String,
    repo_tags: Vec<String>,
    layers: Vec<String>,
}

impl Entry {
    fn read(json: &mut Json<'_>) -> Read<Self> {
        let mut entry = Self::default();
        json.fields(&["Config", "RepoTags", "Layers", "Parent", "LayerSources"], |json, key| {
            match key {
                // Not read here, but engines refuse those of another kind.
                "Parent" => drop(json.text()?),
                "LayerSources" => drop(json.object(|json, _| json.skip())?),
                // Tools name members as they wrote them, such as `./x.json`.
                "Config" => entry.config = normalise(json.text()?.unwrap_or_default().as_bytes()),
                "RepoTags" => entry.repo_tags = json.texts()?,
                _ => entry.layers = json.texts()?.iter().map(|name| normalise(name.as_bytes())).collect(),
            }
            Ok(())
        })?;
        Ok(entry)
    }

    /// What it is called in lists.
    fn called(&self) -> String {
        match self.repo_tags.as_slice() {
            [] => config_digest(&self.config).map_or_else(|| self.config.clone(), |digest| format!("@{digest}")),
            tags => tags.join(" = "),
        }
    }
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
        let mut entries = Vec::new();
        let read = json::read(&bytes, Repeats::Refused, |json| {
            json.items(|json, _| {
                entries.push(Entry::read(json)?);
                Ok(())
            })
        });
        read.map_err(|error| Error::broken(format!("{}: manifest.json: {error}", self.what())))?;
        if entries.is_empty() {
            return Err(Error::broken(format!("{}: manifest.json lists no image", self.what())));
        }
        Ok(entries)
    }

    /// The entry that the reference names. Entries of the same configuration are one image.
    fn picked(&self, entries: Vec<Entry>) -> Result<Entry> {
        let what = self.what();
        let list = |entries: &mut dyn Iterator<Item = &Entry>| {
            excerpt(&entries.map(Entry::called).collect::<Vec<_>>().join(", "), 600)
        };
        let all = list(&mut entries.iter());
        let is_picked = |(number, entry): (usize, &Entry)| match &self.pick {
            None => true,
            Some(Pick::Name(name)) => entry.repo_tags.iter().any(|tag| is_named(Some(tag), name)),
            Some(Pick::Digest(digest)) => config_digest(&entry.config).as_ref() == Some(digest),
            Some(Pick::Position(position)) => number == *position,
        };
        let found: Vec<usize> = (0..entries.len()).filter(|&number| is_picked((number, &entries[number]))).collect();
        let Some(&first) = found.first() else {
            let pick = self.pick.as_ref().map(ToString::to_string).unwrap_or_default();
            return Err(Error::not_found(format!("{what} has no image {pick}; there is {all}")));
        };
        let is_other = |&&number: &&usize| {
            (&entries[number].config, &entries[number].layers) != (&entries[first].config, &entries[first].layers)
        };
        if found.iter().any(|number| is_other(&number)) {
            let candidates = list(&mut found.iter().map(|&number| &entries[number]));
            // Their names may be alike.
            let positions = found.iter().map(|number| format!("@{number}")).collect::<Vec<_>>().join(", ");
            return Err(Error::not_found(match &self.pick {
                None => format!("{what} holds several images, say which: {candidates}"),
                Some(pick) => format!("{what} has several images {pick}, say which: {candidates} ({positions})"),
            }));
        }
        entries.into_iter().nth(first).ok_or_else(|| Error::not_found(format!("{what} holds no image")))
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
        let names = entry.layers.clone();
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
            name: entry.repo_tags.first().cloned(),
            digest: None,
            config_digest: Some(digest),
            platform: complete(&configuration.platform, None),
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
