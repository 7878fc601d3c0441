//! OCI image layouts, as folder or in a tar (image-spec, image-layout.md).

use super::documents::{self, Documents, Fetched, is_no_image};
use super::files::Files;
use super::manifest::{self, Descriptor, Document, Index};
use super::{Error, Image, Layer, LayerBytes, Result, Source, SourceKind, config};
use crate::digest::Digest;
use crate::platform::PlatformChoice;
use crate::printable::excerpt;
use crate::reference::{Name, Pick};

/// The annotations that name an entry of `index.json` (image-spec, annotations.md; containerd's own).
const NAMES: [&str; 2] = ["org.opencontainers.image.ref.name", "io.containerd.image.name"];

/// How deep indexes are looked into for a digest, and how many of each index.
const DEEPEST_NESTING: usize = 4;
const MOST_INDEXES: usize = 100;

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

    fn index(&self) -> Result<Index> {
        let what = format!("{}: index.json", self.files.what());
        let bytes = self.files.document("index.json")?.ok_or_else(|| {
            Error::broken(format!("{} is not an OCI image layout: it has no index.json", self.files.what()))
        })?;
        match manifest::parse(&what, manifest::OCI_INDEX, &bytes)? {
            Document::Index(index) => Ok(index),
            _ => Err(Error::broken(format!("{what} is not an index"))),
        }
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
        documents::verify_size(&format!("{}: blob {digest}", self.files.what()), descriptor, bytes.len())?;
        Ok(bytes)
    }

    /// The entries that the reference names: one, or those that are the platforms of one image.
    fn picked(&self, index: &Index) -> Result<Vec<Descriptor>> {
        let what = self.files.what();
        let images: Vec<&Descriptor> = index.manifests.iter().filter(|entry| !is_no_image(entry)).collect();
        let list = |entries: &[&Descriptor]| {
            let mut names: Vec<String> = entries.iter().map(|entry| called(entry)).collect();
            names.dedup();
            excerpt(&names.join(", "), 600)
        };
        let found: Vec<&Descriptor> = match &self.pick {
            None => images.clone(),
            Some(Pick::Position(position)) => index.manifests.get(*position).into_iter().collect(),
            Some(Pick::Digest(digest)) => match index.manifests.iter().find(|entry| entry.digest == *digest) {
                Some(entry) => vec![entry],
                None => {
                    return self.inside(index, digest, 0)?.map(|entry| vec![entry]).ok_or_else(|| {
                        Error::not_found(format!("{what} has no image {digest}; there is {}", list(&images)))
                    });
                }
            },
            Some(Pick::Name(name)) => {
                let exactly = |entry: &&&Descriptor| entry.annotations.get(NAMES[0]) == Some(name);
                let alike = |entry: &&&Descriptor| NAMES.iter().any(|key| is_named(entry.annotations.get(*key), name));
                let all: Vec<&Descriptor> = index.manifests.iter().collect();
                match all.iter().filter(exactly).copied().collect::<Vec<_>>() {
                    exact if !exact.is_empty() => exact,
                    _ => all.iter().filter(alike).copied().collect(),
                }
            }
        };
        let mut different: Vec<&Descriptor> = Vec::new();
        for entry in found {
            if different.iter().all(|known| known.digest != entry.digest) {
                different.push(entry);
            }
        }
        // What entries leave out, their manifests say.
        let read: Vec<(&Descriptor, Descriptor)> = match different.as_slice() {
            [] | [_] => different.into_iter().map(|entry| (entry, entry.clone())).collect(),
            _ => different.into_iter().filter_map(|entry| Some((entry, self.image_at(entry)?))).collect(),
        };
        let different: Vec<&Descriptor> = read.iter().map(|(_, read)| read).collect();
        match (&self.pick, different.as_slice()) {
            (Some(pick), []) => {
                Err(Error::not_found(format!("{what} has no image {pick}; there is {}", list(&images))))
            }
            (None, []) => Err(Error::not_found(format!("{what} is an image layout without any image"))),
            (None, several) if !are_one_image(several) => {
                Err(Error::not_found(format!("{what} holds several images, say which: {}", list(several))))
            }
            (Some(pick), several) if !are_one_image(several) => {
                // Their names may be alike.
                let digests = several.iter().map(|entry| format!("@{}", entry.digest)).collect::<Vec<_>>().join(", ");
                let digests = excerpt(&digests, 600);
                Err(Error::not_found(format!(
                    "{what} has several images {pick}, say which: {} ({digests})",
                    list(several)
                )))
            }
            // As they are written: how an entry is chosen depends on what it leaves out.
            _ => Ok(read.iter().map(|(entry, _)| (*entry).clone()).collect()),
        }
    }

    /// An entry with the platform that its configuration names, completed by its own; `None` if it is not an image. One
    /// that cannot be read stays as it is: it may not be the one that is meant.
    fn image_at(&self, entry: &Descriptor) -> Option<Descriptor> {
        let manifest = self.blob(entry).and_then(|bytes| manifest::parse("", &entry.media_type, &bytes));
        let Ok(Document::Manifest(manifest)) = manifest else { return Some(entry.clone()) };
        if manifest.other_thing().is_some() {
            return None;
        }
        let configured = || {
            let bytes = self.blob(&manifest.config).ok()?;
            Some(documents::complete(&config::parse("", &bytes).ok()?.platform, entry.platform.as_ref()))
        };
        Some(Descriptor { platform: configured().or_else(|| entry.platform.clone()), ..entry.clone() })
    }

    /// The entry with this digest in the indexes that an index lists.
    fn inside(&self, index: &Index, digest: &Digest, depth: usize) -> Result<Option<Descriptor>> {
        let is_index =
            |entry: &&Descriptor| matches!(entry.media_type.as_str(), manifest::OCI_INDEX | manifest::DOCKER_LIST);
        for entry in index.manifests.iter().filter(is_index).take(MOST_INDEXES).filter(|_| depth < DEEPEST_NESTING) {
            let Document::Index(inner) =
                manifest::parse(&entry.digest.to_string(), &entry.media_type, &self.blob(entry)?)?
            else {
                continue;
            };
            if let Some(found) = inner.manifests.iter().find(|inner| inner.digest == *digest) {
                return Ok(Some(found.clone()));
            }
            if let Some(found) = self.inside(&inner, digest, depth + 1)? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }
}

/// Whether different entries are the platforms of one image: they have one name, or none, and each another platform.
fn are_one_image(entries: &[&Descriptor]) -> bool {
    let has_same = |one: &Descriptor, other: &Descriptor| name_of(one) == name_of(other);
    let is_alone = |(number, entry): (usize, &&Descriptor)| {
        let others = entries.iter().take(number);
        entry.platform.is_some() && others.clone().all(|other| other.platform != entry.platform)
    };
    match entries {
        [] | [_] => true,
        [first, ..] => entries.iter().all(|entry| has_same(first, entry)) && entries.iter().enumerate().all(is_alone),
    }
}

/// What an entry is called in lists.
fn called(entry: &Descriptor) -> String {
    name_of(entry).map_or_else(|| format!("@{}", entry.digest), str::to_owned)
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
        let picked = self.picked(&index)?;
        let what = self.files.what().to_owned();
        // Several entries that are the platforms of one image are an index themselves.
        match picked.as_slice() {
            [one] => Ok(Fetched {
                what,
                media_type: one.media_type.clone(),
                listed: one.platform.clone(),
                digest: one.digest.clone(),
                bytes: self.blob(one)?,
                picked: None,
            }),
            _ => Ok(Fetched {
                what,
                media_type: manifest::OCI_INDEX.to_owned(),
                listed: None,
                digest: Digest::of(b""),
                bytes: Vec::new(),
                picked: Some(Index { manifests: picked, ..index }),
            }),
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
