//! How much a cache holds, and how it is emptied.

use super::{CacheOptions, Place, folder, shared};

/// How much a cache holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// How many entries.
    pub entries: usize,
    /// Their size as stored, in bytes.
    pub bytes: u64,
}

impl Usage {
    /// What the cache at this place holds, of all formats and keys.
    ///
    /// # Errors
    /// It cannot be reached, or is not to be used. The error is the end of a sentence, without secrets.
    pub fn of(place: &Place, options: &CacheOptions) -> Result<Self, String> {
        match place {
            Place::Folder(folder) => {
                let folder = folder::checked(folder, options.named_by).map_err(|why| why.to_string())?;
                Ok(folder::usage(&folder))
            }
            Place::Bucket(_) | Place::Redis(_) => shared::usage(place),
        }
    }

    /// Removes what the cache at this place holds, of all formats and keys; what else is there stays. Returns what was
    /// removed.
    ///
    /// # Errors
    /// As [`Usage::of`], or an entry cannot be removed.
    pub fn clear(place: &Place, options: &CacheOptions) -> Result<Self, String> {
        match place {
            Place::Folder(folder) => {
                let folder = folder::checked(folder, options.named_by).map_err(|why| why.to_string())?;
                folder::clear(&folder).map_err(|error| error.to_string())
            }
            Place::Bucket(_) | Place::Redis(_) => shared::clear(place),
        }
    }
}
