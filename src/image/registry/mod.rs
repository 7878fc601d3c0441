//! Reads images from a registry over HTTP: OCI distribution and Docker Registry v2, without an engine.

mod auth;
mod blob;
mod challenge;
mod clients;
mod credentials;
mod foreign;
mod hosts;
mod mirrors;
mod options;
mod proxies;
mod reach;
mod retry;
mod schema1;
mod session;
mod streams;
mod transport;
mod trouble;

use std::fmt;
use std::io::Read;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::documents::{Documents, Fetched};
use super::manifest::{ACCEPTED, Descriptor, LARGEST_DOCUMENT};
use super::{Error, Image, Layer, LayerBytes, Result, Source, SourceKind, documents};
use crate::cache::Cache;
use crate::digest::{Digest, Hasher};
use crate::platform::PlatformChoice;
use crate::printable::excerpt;
use crate::reference::Name;
pub use clients::trust;
pub use credentials::Login;
pub use foreign::{ForeignLayer, foreign};
pub use mirrors::{Mirror, Mirrored};
pub use options::{Places, RegistryOptions, RegistrySettings, Retries};
pub use reach::Reach;
use session::Session;
pub use streams::StreamLimits;
use transport::Get;

/// One image's repository in a registry. Layers may be read by several threads at once.
///
/// It blocks, and must not be used from within an asynchronous runtime.
pub struct Registry {
    session: Arc<Session>,
    cache: Option<Arc<Cache>>,
}

/// A document as it came.
struct Received {
    bytes: Vec<u8>,
    media_type: String,
    /// `Docker-Content-Digest`.
    announced: String,
    /// `Content-Encoding`, empty if there is none.
    encoding: String,
    /// Who sent it, in error messages.
    host: String,
}

/// What this machine has to show for a repository, for an engine that fetches from there; nothing where there is
/// nothing, or where it cannot be had: then the registry's own refusal is the better word.
#[must_use]
pub fn login(name: &Name, options: &RegistryOptions) -> Option<Login> {
    let credentials = credentials::Credentials::load(options.auth_file.as_ref(), &options.places).ok()?;
    let credential = credentials.find(&name.registry, &name.repository).ok()?.credential?;
    Some(credential.login(&name.registry))
}

impl Registry {
    /// Gets ready to read the image `name`: reads credential files and certificates; only registries that may speak
    /// plain HTTP (of this machine, or insecure ones) are asked whether they do.
    ///
    /// # Errors
    /// A file that is named but missing or broken, or an insecure registry that does not answer.
    pub fn open(name: &Name, options: &RegistryOptions) -> Result<Self> {
        Ok(Self { session: Arc::new(Session::open(name, options)?), cache: None })
    }

    /// The same, with a cache for documents that digests name.
    #[must_use]
    pub fn keeping(self, cache: Option<Arc<Cache>>) -> Self {
        Self { cache, ..self }
    }

    /// The bytes of a layer as stored: exactly as many as its manifest says, or an error in their place. A cut
    /// connection is taken up again. Whoever reads them verifies the digest (distribution-spec, "Pulling blobs").
    ///
    /// # Errors
    /// It is not there, there is no access, or it is known at once that it has another size.
    pub fn open_blob(&self, layer: &Layer) -> Result<Box<dyn Read + Send>> {
        let (what, digest) = self.named(layer)?;
        self.open_digest(what, digest, layer.bytes)
    }

    /// What a layer is, in errors, and its digest.
    fn named<'a>(&self, layer: &'a Layer) -> Result<(String, &'a Digest)> {
        let image = &self.session.image;
        match &layer.digest {
            Some(digest) => Ok((format!("{image}: layer {} ({digest})", layer.index), digest)),
            None => Err(Error::broken(format!("{image}: layer {} has no digest", layer.index))),
        }
    }

    /// As [`open_blob`](Self::open_blob), for any blob of the repository; `what` names it in errors.
    ///
    /// # Errors
    /// As [`open_blob`](Self::open_blob).
    pub fn open_digest(&self, what: String, digest: &Digest, bytes: u64) -> Result<Box<dyn Read + Send>> {
        Ok(Box::new(blob::Blob::open(Arc::clone(&self.session), what, &digest.to_string(), bytes)?))
    }

    /// The configuration with this digest, verified.
    ///
    /// # Errors
    /// It is not there, there is no access, or it is something else.
    pub fn configuration_document(&self, digest: &Digest) -> Result<Vec<u8>> {
        let what = format!("{}: configuration {digest}", self.session.image);
        let received = self.receive(&what, "blobs", &digest.to_string())?;
        verify(&what, digest, &received)?;
        Ok(received.bytes)
    }

    /// Fetches a document of at most [`LARGEST_DOCUMENT`], whatever its length is said to be.
    fn receive(&self, what: &str, kind: &str, identifier: &str) -> Result<Received> {
        let accept = if kind == "manifests" { ACCEPTED.join(", ") } else { String::new() };
        let url = self.session.url(kind, identifier);
        let received = self.session.retrying(|| {
            let answer = self.session.get(&Get { what, url: url.clone(), accept: &accept, part: None })?;
            let (media_type, host) = (answer.media_type(), answer.host.clone());
            // Storage that guesses what a blob is takes configurations for web pages.
            if media_type == "text/html" && kind == "manifests" {
                let text =
                    format!("{what}: {host} sends it as a web page (text/html), which no engine takes for a manifest");
                return Err(Error::broken(text + ": is it a registry?").into());
            }
            let header = |name| answer.header(name).trim().to_owned();
            let (announced, encoding) = (header("docker-content-digest"), header("content-encoding"));
            let bytes = self.session.transport.read(what, answer, LARGEST_DOCUMENT)?;
            let received = Received { bytes, media_type, announced, encoding, host };
            match received.is_encoded() {
                true => Err(received.encoded(what).into()),
                false => Ok(received),
            }
        })?;
        match received.bytes.len() as u64 > LARGEST_DOCUMENT {
            true => Err(Error::broken(format!("{what}: it is larger than {LARGEST_DOCUMENT} bytes"))),
            false => Ok(received),
        }
    }

    /// Fetches what a descriptor points to and holds it against the descriptor (image-spec, descriptor.md,
    /// "Verification").
    fn described(&self, noun: &str, kind: &str, descriptor: &Descriptor) -> Result<Vec<u8>> {
        let (digest, size) = (&descriptor.digest, descriptor.size);
        let what = format!("{}: {noun} {digest}", self.session.image);
        if size > LARGEST_DOCUMENT {
            return Err(Error::broken(format!("{what}: {size} bytes are more than the {LARGEST_DOCUMENT} allowed")));
        }
        let received = self.receive(&what, kind, &digest.to_string())?;
        verify(&what, digest, &received)?;
        documents::verify_size(&what, descriptor, received.bytes.len())?;
        Ok(received.bytes)
    }
}

impl Documents for Registry {
    /// The manifest or index of the name (distribution-spec, "Pulling manifests"). By digest it must have that digest;
    /// by tag it must have the one that the registry announces, if it announces one. Only here the digest may be that of
    /// the signed part of a manifest of schema 1.
    fn root(&self) -> Result<Fetched> {
        let session = &self.session;
        let received = self.receive(&session.image, "manifests", &session.name.identifier())?;
        let expected = session.name.digest.clone().or_else(|| received.announced.parse().ok());
        if let Some(expected) = &expected {
            let signed = schema1::signed_part(&received.bytes);
            match signed.is_some_and(|signed| digest_of(expected, &signed) == *expected) {
                true => {}
                false => verify(&session.image, expected, &received)?,
            }
        }
        let Received { bytes, media_type, .. } = received;
        let digest = session.name.digest.clone().unwrap_or_else(|| Digest::of(&bytes));
        Ok(Fetched { what: session.image.clone(), media_type, listed: None, digest, bytes, picked: None })
    }

    fn manifest(&self, descriptor: &Descriptor) -> Result<Vec<u8>> {
        self.described("manifest", "manifests", descriptor)
    }

    fn configuration(&self, descriptor: &Descriptor) -> Result<Vec<u8>> {
        self.described("configuration", "blobs", descriptor)
    }
}

impl Source for Registry {
    fn kind(&self) -> SourceKind {
        SourceKind::Registry
    }

    fn images(&self, choice: &PlatformChoice) -> Result<Vec<Image>> {
        let name = self.session.name.to_string();
        match &self.cache {
            Some(cache) => documents::images(&documents::Kept { documents: self, cache }, Some(&name), choice),
            None => documents::images(self, Some(&name), choice),
        }
    }

    fn open_layer(&self, layer: &Layer) -> Result<LayerBytes> {
        self.open_blob(layer).map(LayerBytes::Stream)
    }

    fn open_part(&self, layer: &Layer, part: Range<u64>) -> Result<Box<dyn Read + Send>> {
        let (what, digest) = self.named(layer)?;
        let session = Arc::clone(&self.session);
        Ok(Box::new(blob::Blob::open_part(session, what, &digest.to_string(), layer.bytes, part)?))
    }

    fn bytes_fetched(&self) -> Option<u64> {
        Some(self.session.transport.fetched.load(Ordering::Relaxed))
    }
}

impl fmt::Debug for Registry {
    /// Without credentials.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registry")
            .field("image", &self.session.image)
            .field("host", &self.session.host())
            .finish_non_exhaustive()
    }
}

impl Received {
    /// Whether it came compressed, which was not asked for. Some registries say so of blobs that are not.
    fn is_encoded(&self) -> bool {
        let is_plain = matches!(self.encoding.to_ascii_lowercase().as_str(), "" | "identity");
        !is_plain && !self.bytes.trim_ascii_start().starts_with(b"{")
    }

    fn encoded(&self, what: &str) -> Error {
        let coding = excerpt(&self.encoding, 60);
        Error::broken(format!(
            "{what}: {} sends it with Content-Encoding: {coding}, which was not asked for",
            self.host
        ))
    }
}

/// Compares a document with the digest it should have.
fn verify(what: &str, expected: &Digest, received: &Received) -> Result<()> {
    let actual = digest_of(expected, &received.bytes);
    if actual == *expected {
        return Ok(());
    }
    if received.media_type == "text/html" {
        return Err(Error::broken(format!("{what}: {} sends a web page: is it a registry?", received.host)));
    }
    Err(Error::broken(format!("{what}: the registry sent something else: {actual} instead of {expected}")))
}

/// The digest of bytes, by the algorithm of another one.
fn digest_of(like: &Digest, bytes: &[u8]) -> Digest {
    let mut hasher = Hasher::new(like.algorithm());
    hasher.update(bytes);
    hasher.finish()
}
