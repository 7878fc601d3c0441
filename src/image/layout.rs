//! OCI image layouts, as folder or in a tar (image-spec, image-layout.md).

use super::documents::{self, Documents, Fetched};
use super::files::Files;
use super::manifest::{self, Descriptor, Document, Index};
use super::{Error, Image, Layer, LayerBytes, Result, Source, SourceKind};
use crate::digest::Digest;
use crate::platform::PlatformChoice;
use crate::printable::excerpt;
use crate::reference::{Name, Pick};

/// The annotations that name an entry of `index.json` (image-spec, annotations.md; containerd's own).
const NAMES: [&str; 2] = ["org.opencontainers.image.ref.name", "io.containerd.image.name"];

/// An image layout, opened for one reference.
pub struct Layout {
    files: Box<dyn Files>,
    kind: SourceKind,
    pick: Option<Pick>,
}

impl Layout {
    /// The layout that `files` hold; `pick` says which of its images.
    #[must_use]
    pub fn new(files: Box<dyn Files>, kind: SourceKind, pick: Option<Pick>) -> Self {
        Self { files, kind, pick }
    }

    fn index(&self) -> Result<Fetched> {
        let what = format!("{}: index.json", self.files.what());
        let bytes = self.files.document("index.json")?.ok_or_else(|| {
            Error::broken(format!("{} is no OCI image layout: it has no index.json", self.files.what()))
        })?;
        Ok(Fetched {
            what,
            media_type: manifest::OCI_INDEX.to_owned(),
            listed: None,
            digest: Digest::of(&bytes),
            bytes,
        })
    }

    fn blob(&self, descriptor: &Descriptor) -> Result<Vec<u8>> {
        let digest = &descriptor.digest;
        let name = format!("blobs/{}/{}", digest.algorithm().name(), digest.hex());
        let bytes = self
            .files
            .document(&name)?
            .ok_or_else(|| Error::broken(format!("{}: blob {digest} is missing", self.files.what())))?;
        let mut hasher = crate::digest::Hasher::new(digest.algorithm());
        hasher.update(&bytes);
        let actual = hasher.finish();
        if actual != *digest {
            return Err(Error::broken(format!("{}: blob {digest} has the digest {actual}", self.files.what())));
        }
        Ok(bytes)
    }

    /// The entries that the reference names.
    fn picked(&self, index: &Index) -> Result<Vec<Descriptor>> {
        let entries = &index.manifests;
        let named: Vec<&str> = entries.iter().filter_map(name_of).collect();
        let list = || {
            let mut names: Vec<String> = entries
                .iter()
                .map(|entry| name_of(entry).map_or_else(|| format!("@{}", entry.digest), str::to_owned))
                .collect();
            names.dedup();
            excerpt(&names.join(", "), 600)
        };
        let what = self.files.what();
        let found: Vec<Descriptor> = match &self.pick {
            Some(Pick::Digest(digest)) => entries.iter().filter(|entry| entry.digest == *digest).cloned().collect(),
            Some(Pick::Name(name)) => entries
                .iter()
                .filter(|entry| NAMES.iter().any(|key| is_named(entry.annotations.get(*key), name)))
                .cloned()
                .collect(),
            None if named.iter().any(|name| Some(name) != named.first()) => {
                return Err(Error::not_found(format!("{what} holds several images, say which: {}", list())));
            }
            None => entries.clone(),
        };
        match (&self.pick, found.is_empty()) {
            (Some(pick), true) => Err(Error::not_found(format!("{what} has no image {pick}; there is {}", list()))),
            (None, true) => Err(Error::not_found(format!("{what} is an image layout without any image"))),
            _ => Ok(found),
        }
    }
}

fn name_of(entry: &Descriptor) -> Option<&str> {
    NAMES.iter().rev().find_map(|key| entry.annotations.get(*key)).map(String::as_str)
}

/// Whether an entry called `annotation` is what somebody means by `wanted`: the same text, the same tag, or the same
/// name once both are written out.
pub(super) fn is_named(annotation: Option<&String>, wanted: &str) -> bool {
    let Some(have) = annotation else { return false };
    if have == wanted {
        return true;
    }
    match (have.parse::<Name>(), wanted.parse::<Name>()) {
        (Ok(have), Ok(named)) if have.to_string() == named.to_string() => true,
        (Ok(have), _) => have.tag.as_deref() == Some(wanted),
        _ => false,
    }
}

impl Documents for Layout {
    fn root(&self) -> Result<Fetched> {
        let index = self.index()?;
        let Document::Index(entries) = manifest::parse(&index.what, &index.media_type, &index.bytes)? else {
            return Err(Error::broken(format!("{} is no index", index.what)));
        };
        let picked = self.picked(&entries)?;
        // Several entries that are the platforms of one image are an index themselves.
        match picked.as_slice() {
            [one] => Ok(Fetched {
                what: self.files.what().to_owned(),
                media_type: one.media_type.clone(),
                listed: one.platform.clone(),
                digest: one.digest.clone(),
                bytes: self.blob(one)?,
            }),
            _ => Ok(index),
        }
    }

    fn manifest(&self, descriptor: &Descriptor) -> Result<Vec<u8>> {
        self.blob(descriptor)
    }

    fn configuration(&self, descriptor: &Descriptor) -> Result<Vec<u8>> {
        self.blob(descriptor)
    }
}

impl Source for Layout {
    fn kind(&self) -> SourceKind {
        self.kind
    }

    fn images(&self, choice: &PlatformChoice) -> Result<Vec<Image>> {
        documents::images(self, None, choice)
    }

    fn open_layer(&self, layer: &Layer) -> Result<LayerBytes> {
        match self.files.layer(&layer.key)? {
            Some((_, bytes)) => Ok(bytes),
            None => Err(Error::not_found(format!("{}: {} is missing", self.files.what(), layer.key))),
        }
    }
}
