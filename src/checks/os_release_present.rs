//! Decides whether the image says which operating system it is.

use serde::Deserialize;

use super::when_known;
use crate::facts::Facts;
use crate::verdict::{Answer, Place};

/// `kind = "os-release-present"`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct OsReleasePresent {}

impl OsReleasePresent {
    #[allow(clippy::unused_self, reason = "all checks are called alike")]
    pub(super) fn judge(&self, facts: &Facts) -> Answer {
        let place = Place::path("/etc/os-release");
        when_known(&facts.os_release, &place, |system| {
            if system.present {
                Answer::pass()
            } else {
                Answer::fail([place.says("there is neither /etc/os-release nor /usr/lib/os-release")])
            }
        })
    }
}
