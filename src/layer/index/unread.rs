//! Content that was left where it is, in a layer that can be fetched in part, and how it comes into the index.

use serde::{Deserialize, Serialize};

use super::builder::TooLarge;
use super::details::Details;
use super::{Detail, IndexBuilder, LayerIndex, NONE, NewEntry, UNREAD};
use crate::layer::allowance::UsedUp;

/// Where a file's content lies in a layer as stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Extent {
    /// The number of the entry.
    pub entry: u32,
    /// Where the bytes start from which it can be decompressed, and where they end, in bytes of the layer as stored.
    pub start: u64,
    /// As `start`.
    pub end: u64,
    /// How many decompressed bytes come before the content.
    pub skip: u64,
    /// The SHA-256 digest of the content.
    pub sha256: [u8; 32],
}

impl IndexBuilder {
    /// As [`IndexBuilder::add`] of a file whose content is not read. Gives the number of its entry; nothing for a
    /// whiteout and others that are no files of the image.
    ///
    /// # Errors
    /// As [`IndexBuilder::add`].
    pub fn add_unread(&mut self, new: &NewEntry<'_>) -> Result<Option<u32>, TooLarge> {
        let before = self.entries.len();
        self.add(new, None)?;
        if self.entries.len() == before {
            return Ok(None);
        }
        self.entries[before].more = UNREAD;
        // There are at most MOST_ENTRIES.
        Ok(Some(before as u32))
    }

    /// The finished index of a layer of which not everything was read; `extents` tell where the content of each unread
    /// file is.
    ///
    /// # Errors
    /// Files lie behind links. What is kept of a file goes by the path that the layer has it by, which is another then.
    pub fn finish_unread(mut self, mut extents: Vec<Extent>) -> Result<LayerIndex, String> {
        let order = self.sorted();
        if self.is_in_the_way(&order) || self.is_odd(&order) {
            return Err("its entries stand in one another's way".to_owned());
        }
        extents.sort_unstable_by_key(|extent| extent.entry);
        self.extents = Some(extents);
        let visible = self.last_of_each_path(order);
        Ok(self.with_visible(visible, None, None))
    }
}

impl LayerIndex {
    /// Whether the layer was fetched in part, and so is as its table of contents says, not as its digest proves.
    #[must_use]
    pub fn is_part(&self) -> bool {
        self.extents.is_some()
    }

    /// Where the content of an entry lies that was not read.
    #[must_use]
    pub fn extent(&self, entry: u32) -> Option<&Extent> {
        let extents = self.extents.as_ref()?;
        let at = extents.binary_search_by_key(&entry, |extent| extent.entry).ok()?;
        extents.get(at)
    }

    /// The path and the size in bytes of an entry by its number.
    #[must_use]
    pub fn file(&self, entry: u32) -> Option<(&str, u64)> {
        self.entries.get(entry as usize).map(|entry| (self.text(entry.path), entry.size))
    }

    /// Takes what was found in files that had not been read: the number of the entry, and what is kept of it. There is
    /// [`room`](Self::room) for all of it.
    ///
    /// # Errors
    /// The run has no memory left for it.
    pub fn fill(&mut self, found: Vec<(u32, Option<Detail>)>) -> Result<(), UsedUp> {
        let mut details = Details::of(std::mem::take(&mut self.details));
        for (number, detail) in found {
            let Some(entry) = self.entries.get_mut(number as usize).filter(|entry| entry.more == UNREAD) else {
                continue;
            };
            entry.more = detail.map_or(Ok(NONE), |detail| details.keep(detail))?;
        }
        self.details = details.finish();
        let entries = &self.entries;
        if let Some(extents) = &mut self.extents {
            extents.retain(|extent| entries.get(extent.entry as usize).is_some_and(|entry| entry.more == UNREAD));
        }
        Ok(())
    }
}
