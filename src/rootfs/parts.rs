//! Which layers do something in a folder: most do nothing in most folders, and others hide what is below them.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use super::{MOST_KNOWN, Rootfs, lock};
use crate::layer::path::{ancestors, parent_and_name};
use crate::layer::{Kind, LayerIndex};

/// How many parts of folders are remembered.
const MOST_PARTS: usize = 200_000;

/// What layers do in folders, by paths in which there are no links.
#[derive(Debug, Default)]
pub(super) struct FolderParts {
    folders: HashMap<String, Parts>,
    /// How many parts those have in all.
    count: usize,
}

/// What the layers do in a folder: the lowest layer that shows there, and the parts, the uppermost first.
pub(super) type Parts = (usize, Arc<[Part]>);

/// What a layer does in a folder: where the entries below it are, and whether it has whiteouts there.
#[derive(Clone, Debug)]
pub(super) struct Part {
    pub(super) layer: usize,
    pub(super) below: Range<usize>,
    pub(super) has_whiteouts: bool,
}

impl Rootfs {
    /// What the layers do in a folder. Others may hide what is in lower layers there, or in a folder above it.
    pub(super) fn parts(&self, folder: &str) -> Parts {
        let known = |folder: &str| lock(&self.known.parts).folders.get(folder).cloned();
        if let Some(known) = known(folder) {
            return known;
        }
        // Whoever looks for a path has looked for the folders above it.
        let (is_above_unknown, lowest) = match known(parent_and_name(folder).0) {
            Some((lowest, _)) => (false, lowest),
            None => (true, 0),
        };
        let hides = |layer: &usize| self.hides(*layer, folder) || is_above_unknown && self.hides_above(*layer, folder);
        let lowest = (lowest..self.layers.len()).rev().find(hides).unwrap_or(lowest);
        let parts: Arc<[Part]> =
            (lowest..self.layers.len()).rev().filter_map(|layer| self.part(layer, folder)).collect();
        let mut known = lock(&self.known.parts);
        if known.count + parts.len() <= MOST_PARTS && known.folders.len() < MOST_KNOWN {
            known.count += parts.len();
            known.folders.insert(folder.to_owned(), (lowest, Arc::clone(&parts)));
        }
        (lowest, parts)
    }

    /// As [`Rootfs::parts`] of the lowest `top` layers, one by one.
    pub(super) fn parts_below<'a>(&'a self, folder: &'a str, top: usize) -> impl Iterator<Item = Part> + use<'a> {
        let mut is_hidden = false;
        let shown = (0..top).rev().map_while(move |layer| {
            let is_shown = !is_hidden;
            is_hidden = is_shown && (self.hides(layer, folder) || self.hides_above(layer, folder));
            is_shown.then_some(layer)
        });
        shown.filter_map(|layer| self.part(layer, folder))
    }

    /// What a layer does in a folder, if it does anything.
    fn part(&self, layer: usize, folder: &str) -> Option<Part> {
        let index = &self.layers[layer].index;
        let (below, has_whiteouts) = (index.range_below(folder), index.has_whiteouts_in(folder));
        (!below.is_empty() || has_whiteouts).then_some(Part { layer, below, has_whiteouts })
    }

    /// Whether a layer hides what lower layers have below a folder.
    fn hides(&self, layer: usize, folder: &str) -> bool {
        !folder.is_empty() && hides(&self.layers[layer].index, folder)
    }

    /// Whether it does so by what it does to a folder above.
    fn hides_above(&self, layer: usize, folder: &str) -> bool {
        ancestors(folder).chain([""]).any(|folder| self.hides(layer, folder))
    }
}

/// Whether a layer hides what lower layers have below `folder`.
pub(super) fn hides(index: &LayerIndex, folder: &str) -> bool {
    index.is_opaque(folder)
        || index.is_whiteout(folder)
        || index.get(folder).is_some_and(|entry| entry.kind() != Kind::Directory)
}
