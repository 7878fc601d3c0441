//! Opening one file as a library: what a loader takes, what it passes over, and what ends its search.

use super::{Linker, Machine, Opened};
use crate::layer::Kind;
use crate::layer::path::absolute;
use crate::rootfs::{Access, Missing};
use crate::verdict::Place;

/// What became of opening one path.
pub(super) enum Attempt<'a> {
    /// There is no such file; with the reason where that is worth saying.
    Absent(Option<String>),
    /// There is one, but the search goes on: a sentence about it.
    PassedOver(String),
    /// There is one that ends the search with an error: the end of a sentence about it.
    Broken(String, Place),
    /// It could not be told.
    Unknown(String, Place),
    /// It can be loaded.
    Opened(Box<Opened<'a>>),
}

impl<'a> Linker<'a> {
    /// Opens `path` as glibc does in its search (elf/dl-load.c, `open_verify`): files for another machine are passed
    /// over, and what is no ELF file at all ends the search.
    pub(super) fn open(&self, path: &str) -> Attempt<'a> {
        let node = match self.rootfs.find(path) {
            Ok(node) => node,
            Err(Missing::Absent(missing)) if absolute(&missing) != path && self.rootfs.is_link(path) => {
                return Attempt::Absent(Some(format!(
                    "{path} is a link to {}, which is not in the image",
                    absolute(&missing)
                )));
            }
            Err(Missing::Loop(_)) => return Attempt::Absent(Some(format!("the links at {path} go round in circles"))),
            Err(_) => return Attempt::Absent(None),
        };
        let place = self.place(path, &node);
        if !self.rootfs.may(self.user, Access::Read, &node) {
            return Attempt::PassedOver(format!("{path} cannot be read by uid {}", self.user.uid));
        }
        let broken = |why: &str| Attempt::Broken(why.to_owned(), place.clone());
        if node.kind != Kind::File {
            return broken(if node.kind == Kind::Directory { "is a folder" } else { "is no regular file" });
        }
        if node.detail().is_some_and(|detail| detail.left_out) {
            return Attempt::Unknown(
                format!("{path} was not looked into: its layer has too many files of its kind"),
                place,
            );
        }
        let Some(elf) = node.detail().and_then(|detail| detail.elf.as_ref()) else {
            return broken(if node.size < 64 { "is too short for an ELF file" } else { "is no ELF file" });
        };
        let machine = Machine::of(elf);
        if machine != self.machine {
            if machine.is_64 == self.machine.is_64 && machine.is_little_endian != self.machine.is_little_endian {
                return broken("is of the other byte order");
            }
            let architecture = elf.architecture().unwrap_or("another machine");
            return Attempt::PassedOver(format!("{path} is for {architecture}"));
        }
        if !elf.is_executable {
            return broken("is no shared library");
        }
        if elf.is_cut {
            return broken("is cut off: it has less bytes than its headers say");
        }
        if let Some(why) = &elf.incomplete {
            return Attempt::Unknown(format!("{path} could not be read in full: {why}"), place);
        }
        Attempt::Opened(Box::new(Opened { path: path.to_owned(), elf, node }))
    }
}
