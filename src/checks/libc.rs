//! Decides whether the C library is of a family that the target's programs are built for.

use serde::Deserialize;

use super::when_known;
use crate::facts::{Facts, Libc, LibcFamily};
use crate::verdict::{Answer, Evidence, Place};

/// `kind = "libc"`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct LibcIs {
    /// The families that will do.
    pub families: Vec<LibcFamily>,
}

impl LibcIs {
    pub(super) fn judge(&self, facts: &Facts) -> Answer {
        when_known(&facts.libc, &Place::path("/lib"), |libc| {
            if self.families.contains(&libc.family) { Answer::pass() } else { self.fail(libc) }
        })
    }

    fn fail(&self, libc: &Libc) -> Answer {
        let mut evidence = vec![what_is_there(libc)];
        let beside = libc.beside.as_ref().filter(|beside| self.families.contains(&beside.family));
        if let Some(beside) = beside {
            evidence.push(beside.place.says(format!(
                "{} is installed beside it, but a compatibility layer does not make the system one of {}: this is still not supported",
                beside.what,
                name(beside.family)
            )));
        }
        Answer::fail(evidence)
    }
}

fn what_is_there(libc: &Libc) -> Evidence {
    let version = libc.version.as_ref().map(|version| format!(" {version}")).unwrap_or_default();
    let name = name(libc.family);
    // The first sentence is the one that decides.
    let known_by = libc.known_by.first().map(|sentence| format!(": {sentence}")).unwrap_or_default();
    match (libc.family, &libc.loader.path) {
        (LibcFamily::None, path) => {
            let place = if path.is_some() { libc.loader.clone() } else { Place::path("/lib") };
            // Where there are programs all the same, what they are explains it.
            let programs = libc.known_by.get(1).map(|sentence| format!("; {sentence}")).unwrap_or_default();
            place.says(format!("there is no C library that programs find{known_by}{programs}"))
        }
        (_, Some(path)) => {
            let layer = libc.loader.layer.map(|layer| format!(" in layer {layer}")).unwrap_or_default();
            libc.loader.says(format!("programs are started with {name}{version} by {path}{layer}"))
        }
        (_, None) => {
            let place = if libc.library.path.is_some() { libc.library.clone() } else { Place::path("/lib") };
            place.says(format!("the C library is {name}{version}{known_by}"))
        }
    }
}

fn name(family: LibcFamily) -> &'static str {
    match family {
        LibcFamily::Glibc => "glibc",
        LibcFamily::Musl => "musl",
        LibcFamily::Uclibc => "uClibc",
        LibcFamily::Other => "a C library of another kind",
        LibcFamily::None => "no C library",
    }
}
