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
    match (libc.family, &libc.loader.path) {
        (LibcFamily::None, Some(path)) => libc
            .loader
            .says(format!("there is no C library: neither a program loader at {path} nor a libc.so was found")),
        (LibcFamily::None, None) => {
            Place::path("/lib").says("there is no C library: neither a program loader nor a libc.so was found")
        }
        (_, Some(path)) => {
            let layer = libc.loader.layer.map(|layer| format!(" in layer {layer}")).unwrap_or_default();
            libc.loader.says(format!("programs are started with {name}{version} by {path}{layer}"))
        }
        (_, None) => libc.library.says(format!("the C library is {name}{version}")),
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
