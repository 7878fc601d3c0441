//! Decides whether one manifest mixes Docker's media types with OCI's.

use serde::Deserialize;

use super::when_known;
use crate::facts::Facts;
use crate::image::ManifestKind;
use crate::verdict::{Answer, Place};

/// `kind = "media-types-agree"`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct MediaTypesAgree {}

const DOCKER: &str = "application/vnd.docker.";
const OCI: &str = "application/vnd.oci.";

impl MediaTypesAgree {
    #[allow(clippy::unused_self, reason = "all checks are called alike")]
    pub(super) fn judge(&self, facts: &Facts) -> Answer {
        let place = Place::field("manifest.mediaType");
        when_known(&facts.manifest, &place, |manifest| {
            if manifest.kind == ManifestKind::None {
                return Answer::not_applicable("the image was not described by a manifest here");
            }
            match (parts(&manifest.media_types, DOCKER), parts(&manifest.media_types, OCI)) {
                (Some(docker), Some(oci)) => Answer::fail([
                    place.says(format!("Docker's media types are on {docker}")),
                    place.says(format!("OCI's media types are on {oci}")),
                ]),
                _ => Answer::pass(),
            }
        })
    }
}

/// Which parts of the manifest carry a media type of this family, and the first of those types.
fn parts(media_types: &[String], family: &str) -> Option<String> {
    let having = || media_types.iter().enumerate().filter(|(_, media_type)| media_type.starts_with(family));
    let (_, first) = having().next()?;
    let layers: Vec<usize> = having().filter_map(|(at, _)| at.checked_sub(2)).collect();
    let mut parts: Vec<String> = having()
        .filter_map(|(at, _)| match at {
            0 => Some("the manifest".to_owned()),
            1 => Some("the configuration".to_owned()),
            _ => None,
        })
        .collect();
    match layers.as_slice() {
        [] => {}
        [only] => parts.push(format!("layer {only}")),
        [first, .., last] => parts.push(format!("{} layers between {first} and {last}", layers.len())),
    }
    Some(format!("{} ({first})", super::list(&parts)))
}
