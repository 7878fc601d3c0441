//! `imglint cache`, and which cache a command uses.

use std::process::ExitCode;
use std::sync::Arc;

use super::args::{CacheAction, CacheArguments, CacheCommandArguments};
use super::{Failure, print};
use crate::cache::{Cache, Place, SHARED, Usage, folder_of_this_machine};
use crate::parameters::size;
use crate::printable::printable;

impl CacheArguments {
    /// The cache to use for so many images. Where none is wanted, or this machine has no place for one, images of one run
    /// still share their layers.
    pub(super) fn cache(&self, images: usize) -> Option<Arc<Cache>> {
        let usual = || folder_of_this_machine().map(Place::Folder);
        let place = self.place.clone().or_else(usual).filter(|_| !self.no_cache);
        match place {
            Some(place) => Some(Arc::new(Cache::at(&place, self.cache_size))),
            None => (images > 1).then(|| Arc::new(Cache::in_memory(SHARED))),
        }
    }
}

/// Says what is kept, or removes it.
///
/// # Errors
/// There is no place for a cache, a file cannot be removed, or the answer cannot be printed.
pub(super) fn cache(arguments: &CacheCommandArguments) -> Result<ExitCode, Failure> {
    let nowhere = || Failure("this machine has no folder for caches: give one with --cache".to_owned());
    let usual = || folder_of_this_machine().map(Place::Folder);
    let cache = arguments.place.clone().or_else(usual).ok_or_else(nowhere)?;
    let place = printable(&cache.to_string()).into_owned();
    let failed = |what: &str, error: std::io::Error| Failure(format!("cannot {what} {place}: {error}"));
    let told = |usage: Usage| format!("{} entries, {}", usage.entries, size::display(usage.bytes));
    match arguments.action {
        CacheAction::Info => {
            print(&format!("{place}: {}\n", told(Usage::of(&cache).map_err(|error| failed("look at", error))?)))?
        }
        CacheAction::Clear => {
            let removed = Usage::clear(&cache).map_err(|error| failed("clear", error))?;
            print(&format!("{place}: removed {}\n", told(removed)))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
