//! Stands in for `shared` in a build without the feature `shared-cache`: what needs a shared store says so in one line.

use std::time::Duration;

use super::{Place, Store, Trouble, Usage};

const WHY: &str = "this build of imglint has no shared caches: it was made without the feature `shared-cache`";

/// There is none.
///
/// # Errors
/// Always.
pub(super) fn store(_: &Place, _: String, _: Option<Duration>) -> Result<(Box<dyn Store>, Vec<String>), Trouble> {
    Err(Trouble::Unusable(WHY.to_owned()))
}

/// As [`store`].
///
/// # Errors
/// Always.
pub(super) fn usage(_: &Place) -> Result<Usage, String> {
    Err(WHY.to_owned())
}

/// As [`store`].
///
/// # Errors
/// Always.
pub(super) fn clear(_: &Place) -> Result<Usage, String> {
    Err(WHY.to_owned())
}
