//! What is kept of the files of one layer, up to a limit.

use super::{Detail, LayerIndex, MOST_KEPT};
use crate::layer::allowance::{self, UsedUp};

/// The most details that a layer has: one stands for all that are left out.
pub(super) const MOST_DETAILS: usize = MOST_KEPT / size_of::<Detail>() + 1;

/// The details of a layer in the making.
#[derive(Debug, Default)]
pub(super) struct Details {
    list: Vec<Detail>,
    weight: usize,
    /// Which of them says that there was something, but too much of it.
    left_out: Option<u32>,
}

impl Details {
    /// Begins with those that there are.
    pub(super) fn of(list: Vec<Detail>) -> Self {
        let left_out = list.iter().position(|detail| detail.left_out).map(|at| at as u32);
        Self { weight: list.iter().map(Detail::weight).sum(), list, left_out }
    }

    /// Keeps one more, or only that it is left out; gives its number.
    ///
    /// # Errors
    /// The run has no memory left for it.
    pub(super) fn keep(&mut self, detail: Detail) -> Result<u32, UsedUp> {
        let weight = detail.weight();
        let fits = self.weight.saturating_add(weight) <= MOST_KEPT;
        if let Some(number) = self.left_out.filter(|_| !fits) {
            return Ok(number);
        }
        // There are at most MOST_DETAILS.
        let number = self.list.len() as u32;
        if fits {
            allowance::take(weight)?;
            self.weight += weight;
            self.list.push(detail);
        } else {
            self.left_out = Some(number);
            self.list.push(Detail { left_out: true, ..Detail::default() });
        }
        Ok(number)
    }

    pub(super) fn finish(self) -> Vec<Detail> {
        self.list
    }
}

impl LayerIndex {
    /// How many bytes of details more are kept before some are left out.
    #[must_use]
    pub fn room(&self) -> usize {
        MOST_KEPT.saturating_sub(self.details.iter().map(Detail::weight).sum())
    }
}
