//! Stands in for `daemon.rs` in a build without the feature `run`: no engine is asked.

use super::open::SourceOptions;
use super::{Error, ErrorKind, Result, Source};
use crate::platform::PlatformChoice;

/// Why no engine is asked.
const MISSING: &str = "this build of imglint cannot use container engines: it was made without the feature `run`";

/// An image in an engine's store. There is none in this build.
pub enum Found {}

/// Finds no image, as no engine is asked.
///
/// # Errors
/// `engine` names an engine.
pub fn find(_name: &str, engine: Option<&str>, _is_needed: bool) -> Result<Option<Found>> {
    match engine {
        Some(_) => Err(Error::new(ErrorKind::Unsupported, MISSING)),
        None => Ok(None),
    }
}

/// What `find` tries, for an error message.
#[must_use]
pub fn tried(_engine: Option<&str>) -> String {
    format!("none: {MISSING}")
}

impl Found {
    /// Whether the image is of the platform that was asked for.
    #[must_use]
    pub fn is_of(&self, _choice: &PlatformChoice) -> bool {
        match *self {}
    }

    /// Whether the engine knows the image by this name, and not only by its id.
    #[must_use]
    pub fn is_called(&self, _name: &str) -> bool {
        match *self {}
    }

    /// Reads the image.
    ///
    /// # Errors
    /// Never: there is no such image.
    pub fn read(self, _name: &str, _options: &SourceOptions) -> Result<Box<dyn Source>> {
        match self {}
    }
}
