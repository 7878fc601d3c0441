//! From the document that a reference names to the images that were asked for: nested indexes, platforms, manifests
//! and configurations, the same for every source that holds OCI documents.

use super::manifest::{Descriptor, Document, Index, Manifest, Unreadable};
use super::{Error, ErrorKind, Image, Layer, ManifestKind, Result, config, manifest};
use crate::cache::Cache;
use crate::digest::Digest;
use crate::layer::TocHint;
use crate::platform::{Platform, PlatformChoice};
use crate::printable::excerpt;

/// How deep indexes may be nested; real ones stop at two.
const DEEPEST_NESTING: usize = 4;
/// The most manifests that are considered of one index.
const MOST_MANIFESTS: usize = 500;

/// A source of manifests and configurations that point to one another by digest.
///
/// Implementations bound what they read by [`manifest::LARGEST_DOCUMENT`] and verify it against the descriptor.
pub trait Documents {
    /// The document that the reference names.
    ///
    /// # Errors
    /// It is not there, or cannot be read.
    fn root(&self) -> Result<Fetched>;

    /// A manifest or index that an index points to.
    ///
    /// # Errors
    /// It is not there, or is not what the descriptor says.
    fn manifest(&self, descriptor: &Descriptor) -> Result<Vec<u8>>;

    /// The configuration that a manifest points to.
    ///
    /// # Errors
    /// It is not there, or is not what the descriptor says.
    fn configuration(&self, descriptor: &Descriptor) -> Result<Vec<u8>>;
}

/// Documents that are kept once they were read, by their digests.
pub struct Kept<'a> {
    /// Where they come from.
    pub documents: &'a dyn Documents,
    /// Where they are kept.
    pub cache: &'a Cache,
}

impl Kept<'_> {
    fn document(&self, descriptor: &Descriptor, read: impl FnOnce() -> Result<Vec<u8>>) -> Result<Vec<u8>> {
        let kept = self.cache.document(&descriptor.digest);
        if let Some(bytes) = kept.filter(|bytes| bytes.len() as u64 == descriptor.size) {
            return Ok(bytes);
        }
        let bytes = read()?;
        self.cache.keep_document(&descriptor.digest, &bytes);
        Ok(bytes)
    }
}

impl Documents for Kept<'_> {
    /// What a name stands for may change, so it is always asked for.
    fn root(&self) -> Result<Fetched> {
        self.documents.root()
    }

    fn manifest(&self, descriptor: &Descriptor) -> Result<Vec<u8>> {
        self.document(descriptor, || self.documents.manifest(descriptor))
    }

    fn configuration(&self, descriptor: &Descriptor) -> Result<Vec<u8>> {
        self.document(descriptor, || self.documents.configuration(descriptor))
    }
}

/// A document with what is known about it.
#[derive(Clone, Debug)]
pub struct Fetched {
    /// What its source calls it, for error messages: a name, or a file.
    pub what: String,
    /// As the source said, empty if it did not.
    pub media_type: String,
    /// The platform by the list that named it, if one did.
    pub listed: Option<Platform>,
    /// Of the bytes.
    pub digest: Digest,
    /// The document, at most [`manifest::LARGEST_DOCUMENT`].
    pub bytes: Vec<u8>,
    /// Of an index the entries that the reference names, if they are not all.
    pub picked: Option<Index>,
}

/// The images that the reference of `documents` and the choice name. `name` is what they are called, if anything.
///
/// # Errors
/// A document is missing or broken, or there is no image for the platform; the error then lists those there are.
pub fn images(documents: &dyn Documents, name: Option<&str>, choice: &PlatformChoice) -> Result<Vec<Image>> {
    let root = documents.root()?;
    let what = root.what.clone();
    let read = Reader { documents, name };
    if let Some(index) = root.picked {
        return read.of_index(&what, index, choice);
    }
    match manifest::parse(&root.what, &root.media_type, &root.bytes)? {
        Document::Index(index) => read.of_index(&what, index, choice),
        Document::Manifest(manifest) => {
            let listed = root.listed.filter(|listed| !listed.is_unknown());
            let image = read.image(&what, root.digest, &manifest, listed.as_ref(), &[])?;
            only_platform(&what, image, choice)
        }
        Document::Schema1(schema1) => Ok(vec![read.schema1(root.digest, &schema1.architecture)]),
    }
}

/// Compares the size of a document that has the right digest with what its descriptor says. Docker takes an image in which
/// they differ; containerd refuses it, and Podman where it is the configuration's.
///
/// # Errors
/// They differ.
pub fn verify_size(what: &str, descriptor: &Descriptor, bytes: usize) -> Result<()> {
    if bytes as u64 == descriptor.size {
        return Ok(());
    }
    Err(Error::broken(format!(
        "{what}: has {bytes} bytes, but the index or manifest that names it says size {}, which containerd and Podman refuse",
        descriptor.size
    )))
}

/// For an image that stands alone: it must be of the platform that was asked for, if one was.
///
/// # Errors
/// It is of another one.
pub fn only_platform(what: &str, image: Image, choice: &PlatformChoice) -> Result<Vec<Image>> {
    match choice {
        // Engines take an image that does not say what it is for.
        PlatformChoice::Exactly(wanted)
            if !image.platform.architecture.is_empty() && !image.platform.satisfies(wanted) =>
        {
            Err(no_platform(what, wanted, std::slice::from_ref(&image.platform)))
        }
        _ => Ok(vec![image]),
    }
}

struct Reader<'a> {
    documents: &'a dyn Documents,
    name: Option<&'a str>,
}

/// A manifest that an index offers, with its platform.
struct Candidate {
    descriptor: Descriptor,
    platform: Platform,
}

impl Reader<'_> {
    fn of_index(&self, what: &str, index: Index, choice: &PlatformChoice) -> Result<Vec<Image>> {
        let (mut candidates, mut unreadable) = (Vec::new(), Vec::new());
        self.collect(what, index, 0, &mut candidates, &mut unreadable)?;
        let offered: Vec<Platform> = candidates.iter().map(|candidate| candidate.platform.clone()).collect();
        let chosen = match offered.is_empty() {
            true if unreadable.is_empty() => {
                return Err(Error::not_found(format!("{what} is an index without any image")));
            }
            true => Vec::new(),
            false => choose(what, &offered, choice)?,
        };
        // Engines pass over what is for others.
        let matters = |entry: &&Unreadable| {
            let Some(platform) = &entry.platform else { return true };
            let is_for =
                |at: &usize| (&offered[*at].os, &offered[*at].architecture) == (&platform.os, &platform.architecture);
            chosen.is_empty() || chosen.iter().any(is_for)
        };
        if let Some(entry) = unreadable.iter().find(matters) {
            return Err(Error::broken(format!("{what}: {}", entry.why)));
        }
        chosen
            .into_iter()
            .map(|at| {
                let Candidate { descriptor, platform } = &candidates[at];
                let what = format!("manifest {} of {what}", descriptor.digest);
                let bytes = self.documents.manifest(descriptor)?;
                match manifest::parse(&what, &descriptor.media_type, &bytes)? {
                    Document::Manifest(manifest) => {
                        let image =
                            self.image(&what, descriptor.digest.clone(), &manifest, Some(platform), &offered)?;
                        Ok(Image { entry: Some(at), is_one_of_all: *choice == PlatformChoice::All, ..image })
                    }
                    Document::Schema1(schema1) => Ok(self.schema1(descriptor.digest.clone(), &schema1.architecture)),
                    Document::Index(_) => {
                        Err(Error::broken(format!("{what} is an index, but is listed as a manifest")))
                    }
                }
            })
            .collect()
    }

    /// Flattens nested indexes and learns the platforms that entries leave out from the configurations.
    fn collect(
        &self,
        what: &str,
        index: Index,
        depth: usize,
        into: &mut Vec<Candidate>,
        unreadable: &mut Vec<Unreadable>,
    ) -> Result<()> {
        unreadable.extend(index.unreadable);
        if depth > DEEPEST_NESTING {
            return Err(Error::broken(format!("{what}: its indexes are nested more than {DEEPEST_NESTING} deep")));
        }
        for descriptor in index.manifests {
            if into.len() >= MOST_MANIFESTS {
                return Err(Error::broken(format!("{what} lists more than {MOST_MANIFESTS} images")));
            }
            if into.iter().any(|known| known.descriptor.digest == descriptor.digest) || is_no_image(&descriptor) {
                continue;
            }
            if let Some(platform) = descriptor.platform.clone().filter(|platform| !platform.os.is_empty())
                && !matches!(descriptor.media_type.as_str(), manifest::OCI_INDEX | manifest::DOCKER_LIST)
            {
                into.push(Candidate { descriptor, platform });
                continue;
            }
            let inner = format!("manifest {} of {what}", descriptor.digest);
            let bytes = self.documents.manifest(&descriptor)?;
            match manifest::parse(&inner, &descriptor.media_type, &bytes)? {
                Document::Index(index) => self.collect(&inner, index, depth + 1, into, unreadable)?,
                Document::Manifest(manifest) if manifest.other_thing().is_none() => {
                    let platform = self.image(&inner, descriptor.digest.clone(), &manifest, None, &[])?.platform;
                    into.push(Candidate { descriptor, platform });
                }
                Document::Manifest(_) => {}
                Document::Schema1(schema1) => {
                    into.push(Candidate { descriptor, platform: Platform::new("linux", &schema1.architecture) });
                }
            }
        }
        Ok(())
    }

    fn image(
        &self,
        what: &str,
        digest: Digest,
        manifest: &Manifest,
        listed: Option<&Platform>,
        offered: &[Platform],
    ) -> Result<Image> {
        if let Some(thing) = manifest.other_thing() {
            return Err(Error::new(ErrorKind::Unsupported, format!("{what} is not an image but {thing}")));
        }
        if let Some(why) = manifest.refused_layer() {
            return Err(Error::new(ErrorKind::Unsupported, format!("{what}: {why}")));
        }
        let bytes = self.documents.configuration(&manifest.config)?;
        let what = format!("configuration {} of {what}", manifest.config.digest);
        let configuration = config::parse(&what, &bytes)?;
        let layers = layers(&what, &configuration, &manifest.layers)?;
        let mut media_types = vec![manifest.media_type.clone(), manifest.config.media_type.clone()];
        media_types.extend(manifest.layers.iter().map(|layer| layer.media_type.clone()));
        Ok(Image {
            name: self.name.map(str::to_owned),
            digest: Some(digest),
            config_digest: Some(manifest.config.digest.clone()),
            platform: complete(&configuration.platform, listed),
            offered: offered.to_vec(),
            entry: None,
            is_one_of_all: false,
            listed: listed.cloned(),
            manifest: manifest.kind(),
            media_types,
            configuration: Some(configuration),
            layers,
        })
    }

    fn schema1(&self, digest: Digest, architecture: &str) -> Image {
        Image {
            name: self.name.map(str::to_owned),
            digest: Some(digest),
            config_digest: None,
            platform: Platform::new("linux", if architecture.is_empty() { "amd64" } else { architecture }),
            offered: Vec::new(),
            entry: None,
            is_one_of_all: false,
            listed: None,
            manifest: ManifestKind::DockerSchema1,
            media_types: vec!["application/vnd.docker.distribution.manifest.v1+prettyjws".to_owned()],
            configuration: None,
            layers: Vec::new(),
        }
    }
}

/// Whether an index entry is not an image: attestations (BuildKit, attestation-storage.md) and other artifacts.
pub(super) fn is_no_image(descriptor: &Descriptor) -> bool {
    descriptor.platform.as_ref().is_some_and(Platform::is_unknown)
        || descriptor.annotations.contains_key("vnd.docker.reference.type")
        || descriptor.artifact_type.as_deref().is_some_and(|kind| !manifest::is_image_config(kind))
}

/// What the configuration says, and where it says nothing, the index entry. Without any operating system engines take
/// their own (moby, image/store.go), which is Linux's for workers with Linux.
pub(super) fn complete(configured: &Platform, listed: Option<&Platform>) -> Platform {
    let mut platform = configured.clone();
    if let Some(listed) = listed {
        for (own, other) in [(&mut platform.os, &listed.os), (&mut platform.architecture, &listed.architecture)] {
            if own.is_empty() {
                own.clone_from(other);
            }
        }
        if platform.os == listed.os && platform.architecture == listed.architecture {
            platform.variant = platform.variant.or_else(|| listed.variant.clone());
            platform.os_version = platform.os_version.or_else(|| listed.os_version.clone());
        }
    }
    if platform.os.is_empty() {
        platform.os = "linux".to_owned();
    }
    platform
}

/// The layers of a manifest, each with its DiffID and history entry.
fn layers(what: &str, configuration: &config::Configuration, descriptors: &[Descriptor]) -> Result<Vec<Layer>> {
    if configuration.diff_ids.len() != descriptors.len() {
        return Err(Error::broken(format!(
            "{what} has {} DiffIDs for {} layers",
            configuration.diff_ids.len(),
            descriptors.len()
        )));
    }
    let created_by = created_by(configuration, descriptors.len());
    let layers = descriptors.iter().zip(&configuration.diff_ids).zip(created_by).enumerate();
    Ok(layers
        .map(|(index, ((descriptor, diff_id), created_by))| Layer {
            index,
            digest: Some(descriptor.digest.clone()),
            diff_id: Some(diff_id.clone()),
            media_type: descriptor.media_type.clone(),
            bytes: descriptor.size,
            urls: descriptor.urls.clone(),
            created_by,
            toc: TocHint::of(&descriptor.annotations, &descriptor.media_type, descriptor.size),
            key: format!("blobs/{}/{}", descriptor.digest.algorithm().name(), descriptor.digest.hex()),
        })
        .collect())
}

/// For each of `count` layers the history entry that made it, if the history speaks of that many layers.
#[must_use]
pub fn created_by(configuration: &config::Configuration, count: usize) -> Vec<Option<String>> {
    let made: Vec<&str> = configuration
        .history
        .iter()
        .filter(|entry| !entry.empty_layer)
        .map(|entry| entry.created_by.as_str())
        .collect();
    if made.len() != count {
        return vec![None; count];
    }
    made.into_iter().map(|text| Some(text.to_owned()).filter(|text| !text.is_empty())).collect()
}

/// Which of the offered platforms are chosen, as positions.
fn choose(what: &str, offered: &[Platform], choice: &PlatformChoice) -> Result<Vec<usize>> {
    let satisfying =
        |wanted: &Platform| -> Vec<usize> { (0..offered.len()).filter(|&at| offered[at].satisfies(wanted)).collect() };
    match choice {
        PlatformChoice::All => Ok((0..offered.len()).collect()),
        PlatformChoice::Exactly(wanted) => match satisfying(wanted) {
            found if found.is_empty() => Err(no_platform(what, wanted, offered)),
            // Which Windows version is used depends on the host, so all that were asked for are checked.
            found if wanted.os == "windows" => Ok(found),
            found => Ok(vec![best(offered, &found)]),
        },
        PlatformChoice::AsWorker(wanted) => match satisfying(wanted) {
            found if found.is_empty() => choose(what, offered, &PlatformChoice::Default),
            _ => choose(what, offered, &PlatformChoice::Exactly(wanted.clone())),
        },
        PlatformChoice::Default => {
            let here = [Platform::linux_here(), Platform::new("linux", "amd64")];
            let found = here.iter().map(satisfying).find(|found| !found.is_empty());
            Ok(found.map_or_else(|| (0..offered.len()).collect(), |found| vec![best(offered, &found)]))
        }
    }
}

/// Of several entries for one architecture the one that engines take: without a variant or with the usual one, else
/// the first.
fn best(offered: &[Platform], found: &[usize]) -> usize {
    let usual = |at: &&usize| {
        let platform = &offered[**at];
        platform.variant.is_none()
            || platform.variant.as_deref() == Platform::new("", &platform.architecture).variant_or_default()
    };
    found.iter().find(usual).or_else(|| found.first()).copied().unwrap_or_default()
}

fn no_platform(what: &str, wanted: &Platform, offered: &[Platform]) -> Error {
    let list: Vec<String> = offered.iter().map(Platform::to_string).collect();
    Error::not_found(format!("{what} has no image for {wanted}; there is {}", excerpt(&list.join(", "), 600)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(offered: &[&str], choice: &str) -> Vec<usize> {
        let offered: Vec<Platform> = offered.iter().map(|text| text.parse().unwrap()).collect();
        let choice = if choice.is_empty() { PlatformChoice::Default } else { choice.parse().unwrap() };
        choose("x", &offered, &choice).unwrap_or_default()
    }

    #[test]
    fn the_usual_variant_is_chosen() {
        assert_eq!(chosen(&["linux/arm/v5", "linux/arm/v7", "linux/arm/v6"], "linux/arm"), [1]);
        assert_eq!(chosen(&["linux/arm/v5", "linux/arm/v7", "linux/arm/v6"], "linux/arm/v6"), [2]);
        assert_eq!(chosen(&["linux/amd64/v3", "linux/amd64"], "linux/amd64"), [1]);
    }

    #[test]
    fn without_a_choice_it_is_linux_here_else_amd64_else_all() {
        let here = Platform::linux_here().to_string();
        assert_eq!(chosen(&["linux/s390x", &here], ""), [1]);
        assert_eq!(chosen(&["linux/s390x", "linux/amd64", "windows/amd64"], ""), [1]);
        assert_eq!(chosen(&["linux/s390x", "windows/amd64:10.0.1"], ""), [0, 1]);
    }

    #[test]
    fn a_worker_takes_its_own_entry_if_there_is_one() {
        let wanted = |text: &str| PlatformChoice::AsWorker(text.parse().unwrap());
        let offered = ["linux/amd64", "linux/arm64", "windows/amd64:10.0.17763.1", "windows/amd64:10.0.20348.2"];
        let offered: Vec<Platform> = offered.iter().map(|text| text.parse().unwrap()).collect();
        assert_eq!(choose("x", &offered, &wanted("linux/arm64")).unwrap(), [1]);
        assert_eq!(choose("x", &offered, &wanted("windows/amd64")).unwrap(), [2, 3]);
        let by_default = choose("x", &offered, &PlatformChoice::Default).unwrap();
        assert_eq!(choose("x", &offered, &wanted("linux/riscv64")).unwrap(), by_default);
    }

    #[test]
    fn all_windows_versions_that_fit_are_chosen() {
        let offered = ["windows/amd64:10.0.17763.1", "windows/amd64:10.0.20348.2", "linux/amd64"];
        assert_eq!(chosen(&offered, "windows/amd64"), [0, 1]);
        assert_eq!(chosen(&offered, "windows/amd64:10.0.20348"), [1]);
        assert_eq!(chosen(&offered, "all"), [0, 1, 2]);
    }

    #[test]
    fn a_missing_platform_lists_what_there_is() {
        let error = choose("x:1", &[Platform::new("linux", "amd64")], &"linux/riscv64".parse().unwrap()).unwrap_err();
        assert_eq!(error.to_string(), "x:1 has no image for linux/riscv64; there is linux/amd64");
    }
}
