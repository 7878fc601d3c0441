//! Drive C: with what is known of a base image whose layers were not read.

use crate::rootfs::windows::{Sought, WindowsFiles, WindowsNode, fold};
use crate::tables::windows::{WindowsBase, WindowsKind, windows};
use crate::verdict::Place;

/// Drive C: of an image.
pub(super) struct Drive<'a> {
    pub(super) files: &'a WindowsFiles,
    pub(super) kind: Option<WindowsKind>,
    /// How many of the lowest layers are the base's.
    pub(super) base_layers: usize,
}

/// What became of a look-up.
#[derive(Clone, Debug)]
pub(super) enum Look<'a> {
    /// It is there.
    Found(WindowsNode<'a>),
    /// Every base image of this kind has it.
    OfBase(Place),
    /// It is not.
    Absent,
    /// It could not be told, and why.
    Open(String),
}

impl<'a> Drive<'a> {
    pub(super) fn new(files: &'a WindowsFiles, base_layers: usize, kind: Option<WindowsKind>) -> Self {
        Self { files, kind, base_layers }
    }

    /// Looks up a file that facts ask for: a base image of a known kind has it if the table of bases says so. Tools that
    /// somebody installs are in none.
    pub(super) fn find(&self, path: &str) -> Look<'a> {
        let why = match self.files.find(path) {
            Sought::Found(node) => return Look::Found(node),
            Sought::Absent => return Look::Absent,
            Sought::Open(why) => why,
        };
        match self.base().filter(|_| !self.is_open_above_base()) {
            Some(base) if has(base, path) => Look::OfBase(self.files.place_in(path, 0)),
            Some(_) => Look::Absent,
            None => Look::Open(why),
        }
    }

    /// What the base brings, if its kind is known.
    pub(super) fn base(&self) -> Option<&'static WindowsBase> {
        windows().ok()?.base(self.kind?)
    }

    /// Whether a layer above the base was not read to its end.
    pub(super) fn is_open_above_base(&self) -> bool {
        self.files.unread().last().is_some_and(|&number| number >= self.base_layers)
    }
}

fn has(base: &WindowsBase, path: &str) -> bool {
    base.files.iter().any(|known| fold(known) == fold(path))
}
