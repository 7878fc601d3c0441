//! `imglint cache`, and which cache a command uses.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use super::args::{CacheAction, CacheArguments, CacheCommandArguments, Unread};
use super::{Failure, print};
use crate::cache::{Cache, CacheOptions, Key, NamedBy, Place, SHARED, Usage, folder_of_this_machine};
use crate::parameters::size;
use crate::printable::printable;

/// A cache, and what the user should know of its key.
pub(super) type Opened = (Option<Arc<Cache>>, Vec<String>);

impl CacheArguments {
    /// The cache to use for so many images. Where none is wanted, or this machine has no place for one, images of one run
    /// still share their layers.
    ///
    /// # Errors
    /// Its place or its key is wrong.
    pub(super) fn cache(&self, images: usize, timeout: Option<Duration>, verifies: bool) -> Result<Opened, Failure> {
        let in_memory = || (images > 1).then(|| Arc::new(Cache::in_memory(SHARED)));
        if self.no_cache {
            return Ok((in_memory(), Vec::new()));
        }
        let (key, warnings) = key(self.key_file.as_deref())?;
        let Some(place) = place(self.place.as_ref(), self.named_by)? else { return Ok((in_memory(), warnings)) };
        let options = CacheOptions { named_by: self.named_by, limit: self.cache_size, key, timeout, verifies };
        let cache = Cache::at(&place, options).map_err(|error| about(&place, &error.to_string()))?;
        Ok((Some(Arc::new(cache)), warnings))
    }
}

/// The place that was named, else the usual one, if this machine has one.
fn place(named: Option<&Unread>, by: NamedBy) -> Result<Option<Place>, Failure> {
    let from = if by == NamedBy::CommandLine { "--cache" } else { "IMGLINT_CACHE" };
    match named {
        None => Ok(folder_of_this_machine().map(Place::Folder)),
        Some(named) => match Place::parse(named.read()) {
            Ok(place) => Ok(Some(place)),
            Err(error) => Err(Failure(format!("the value of {from} is wrong: {error}"))),
        },
    }
}

/// The key in a file, and what the user should know of it.
fn key(file: Option<&Path>) -> Result<(Option<Key>, Vec<String>), Failure> {
    let Some(file) = file else { return Ok((None, Vec::new())) };
    let name = printable(&file.display().to_string()).into_owned();
    let key = Key::read(file).map_err(|why| Failure(format!("the key file {name} cannot be used: {why}")))?;
    let warnings = key.warning().map(|why| format!("the key file {name}: {why}")).into_iter().collect();
    Ok((Some(key), warnings))
}

fn about(place: &Place, why: &str) -> Failure {
    Failure(format!("cannot use the cache {}: {why}", place.printable()))
}

/// Says what is kept, or removes it.
///
/// # Errors
/// There is no place for a cache, a file cannot be removed, or the answer cannot be printed.
pub(super) fn cache(arguments: &CacheCommandArguments) -> Result<ExitCode, Failure> {
    let nowhere = || Failure("this machine has no folder for caches: give one with --cache".to_owned());
    let cache = place(arguments.place.as_ref(), arguments.named_by)?.ok_or_else(nowhere)?;
    let (key, warnings) = key(arguments.key_file.as_deref())?;
    for warning in warnings {
        super::complain(&format!("warning: {warning}"));
    }
    let with_key = if key.is_some() { ", used with a key" } else { "" };
    let options = CacheOptions { named_by: arguments.named_by, key, ..CacheOptions::default() };
    let place = cache.printable();
    let failed = |what: &str, error: String| Failure(format!("cannot {what} {place}: {error}"));
    let told = |usage: Usage| format!("{} entries, {}", usage.entries, size::display(usage.bytes));
    match arguments.action {
        CacheAction::Info => {
            let usage = Usage::of(&cache, &options).map_err(|error| failed("look at", error))?;
            print(&format!("{place}: {}{with_key}\n", told(usage)))?;
        }
        CacheAction::Clear => {
            let removed = Usage::clear(&cache, &options).map_err(|error| failed("clear", error))?;
            print(&format!("{place}: removed {}\n", told(removed)))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
