//! Opening one file as a library: what a loader takes, what it passes over, and what ends its search.

use super::{How, Linker, Lookup, Machine, NotFound, Opened, Why};
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
    /// It could not be opened, for a reason that ends the search in one list of folders (glibc) or in all (musl).
    Ends(String),
    /// There is one that ends the search with an error: the end of a sentence about it.
    Broken(String, Place),
    /// It could not be told.
    Unknown(String, Place),
    /// It can be loaded.
    Opened(Box<Opened<'a>>),
}

impl<'a> Linker<'a> {
    /// Opens `path` as glibc does in its search (elf/dl-load.c, `open_path` and `open_verify`): files for another machine
    /// are passed over, what is no ELF file at all ends the search, and errors other than ENOENT and EACCES end the list.
    pub(super) fn open(&self, path: &str) -> Attempt<'a> {
        let node = match self.rootfs.find(path) {
            Ok(node) => node,
            Err(Missing::Absent(missing)) if absolute(&missing) != path && self.rootfs.is_link(path) => {
                return Attempt::Absent(Some(format!(
                    "{path} is a link to {}, which is not in the image",
                    absolute(&missing)
                )));
            }
            Err(Missing::Loop(_)) => return Attempt::Ends(format!("the links at {path} go round in circles")),
            Err(Missing::NotAFolder(there)) if !self.is_musl() => {
                return Attempt::Ends(format!("{path} leads through {}, which is not a folder", absolute(&there)));
            }
            Err(_) => return Attempt::Absent(None),
        };
        let place = self.place(path, &node);
        if !self.rootfs.may(self.reader, Access::Read, &node) {
            return Attempt::PassedOver(format!("{path} cannot be read by uid {}", self.reader.uid));
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
        if let Some(refusal) = elf.refusal.filter(|refusal| !self.is_musl() || refusal.is_musls()) {
            return broken(&format!("is refused by the loader: {}", refusal.words()));
        }
        if elf.is_cut {
            return broken("is cut off: it has less bytes than its headers say");
        }
        if let Some(why) = &elf.incomplete {
            return Attempt::Unknown(format!("{path} could not be read in full: {why}"), place);
        }
        Attempt::Opened(Box::new(Opened { path: path.to_owned(), elf, node }))
    }

    /// Opens a library by its path, which nothing else stands in for.
    pub(super) fn open_path(&self, path: &str) -> Lookup<'a> {
        let not_found = |why: Option<String>| {
            let (looked_in, passed_over) = (vec![path.to_owned()], why.into_iter().collect());
            Lookup::Failed(Why::NotFound(NotFound { looked_in, passed_over, ..NotFound::default() }), None)
        };
        match self.open(path) {
            Attempt::Opened(opened) => Lookup::Found(opened, How::Path),
            Attempt::Absent(why) => not_found(why),
            Attempt::Ends(why) => not_found(Some(why)),
            Attempt::PassedOver(why) => Lookup::Failed(Why::Broken { path: path.to_owned(), why }, None),
            Attempt::Broken(why, place) => Lookup::Failed(Why::Broken { path: path.to_owned(), why }, Some(place)),
            Attempt::Unknown(why, place) => Lookup::Failed(Why::Unknown(why), Some(place)),
        }
    }
}
