//! From the document that a reference names to the images that were asked for: nested indexes, platforms, manifests
//! and configurations, the same for every source that holds OCI documents.

use super::manifest::{Descriptor, Document, Index, LARGEST_DOCUMENT, Manifest};
use super::{Error, ErrorKind, Image, Layer, ManifestKind, Result, config, manifest};
use crate::digest::Digest;
use crate::platform::{Platform, PlatformChoice};
use crate::printable::excerpt;

/// A source of manifests and configurations that point to one another by digest.
///
/// Implementations bound what they read by [`LARGEST_DOCUMENT`] and verify it against the descriptor.
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

/// A document with what is known about it.
#[derive(Clone, Debug)]
pub struct Fetched {
    /// What its source calls it, for error messages: a name, or a file.
    pub what: String,
    /// As the source said, empty if it did not.
    pub media_type: String,
    /// Of the bytes.
    pub digest: Digest,
    /// The document, at most [`LARGEST_DOCUMENT`].
    pub bytes: Vec<u8>,
}
