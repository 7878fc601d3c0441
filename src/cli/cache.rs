//! `imglint cache`, and which cache a command uses.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use super::args::{CacheAction, CacheArguments, CacheCommandArguments};
use super::{Failure, print};
use crate::cache::{Cache, Usage, folder_of_this_machine};
use crate::parameters::size;
use crate::printable::printable;

/// How much images of one run share without a folder, in bytes of compressed indexes: some hundred large layers.
const SHARED: usize = 32 << 20;

impl CacheArguments {
    /// The cache to use for so many images. Where none is wanted, or this machine has no place for one, images of one run
    /// still share their layers.
    pub(super) fn cache(&self, images: usize) -> Option<Arc<Cache>> {
        let folder = self.folder.clone().or_else(folder_of_this_machine).filter(|_| !self.no_cache);
        match folder {
            Some(folder) => Some(Arc::new(Cache::in_folder(folder, self.cache_size))),
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
    let folder: PathBuf = arguments.folder.clone().or_else(folder_of_this_machine).ok_or_else(nowhere)?;
    let place = printable(&folder.display().to_string()).into_owned();
    let told = |usage: Usage| format!("{} entries, {}", usage.entries, size::display(usage.bytes));
    match arguments.action {
        CacheAction::Info => print(&format!("{place}: {}\n", told(Usage::of(&folder))))?,
        CacheAction::Clear => {
            let removed = Usage::clear(&folder).map_err(|error| Failure(format!("cannot clear {place}: {error}")))?;
            print(&format!("{place}: removed {}\n", told(removed)))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
