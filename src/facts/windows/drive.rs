//! Drive C: with what is known of a base image whose layers were not read.

use crate::rootfs::windows::{Sought, WindowsFiles, WindowsNode, fold};
use crate::tables::windows::{WindowsBase, WindowsKind, windows};
use crate::verdict::Place;

/// Drive C: of an image.
pub(super) struct Drive<'a> {
    pub(super) files: &'a WindowsFiles,
    /// The architecture of the image, in Go's words.
    pub(super) architecture: &'a str,
    pub(super) kind: Option<WindowsKind>,
    /// The kind of base that size, history and address of the lowest layers claim.
    pub(super) claimed: Option<WindowsKind>,
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
    /// Looks up a file that facts ask for. Where it may be in a base that was not read, the table of bases says whether
    /// it is, if the base is one of Microsoft's by its size. Tools that somebody installs are in none.
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

    /// What the base brings, if it need not be read to know that. What its registry and its files say is not enough: it
    /// takes the base's own size to fake that.
    pub(super) fn base(&self) -> Option<&'static WindowsBase> {
        windows().ok()?.base(self.claimed?)
    }

    /// Whether a layer above the base was not read to its end.
    pub(super) fn is_open_above_base(&self) -> bool {
        self.files.unread().last().is_some_and(|&number| number >= self.base_layers)
    }
}

fn has(base: &WindowsBase, path: &str) -> bool {
    base.files.iter().any(|known| fold(known) == fold(path))
}
