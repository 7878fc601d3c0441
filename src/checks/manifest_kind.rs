//! Decides whether the manifest is of a kind that engines still read.

use serde::Deserialize;

use super::when_known;
use crate::facts::Facts;
use crate::image::ManifestKind;
use crate::verdict::{Answer, Place};

/// `kind = "manifest-kind"`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ManifestKindIs {
    /// The kinds that are refused.
    pub refused: Vec<ManifestKind>,
}

impl ManifestKindIs {
    pub(super) fn judge(&self, facts: &Facts) -> Answer {
        let place = Place::field("manifest.schemaVersion");
        when_known(&facts.manifest, &place, |manifest| match manifest.kind {
            ManifestKind::None => Answer::not_applicable("the image was not described by a manifest here"),
            kind if self.refused.contains(&kind) => {
                let written = manifest.media_types.iter().find(|media_type| !media_type.is_empty());
                let media_type = written.map(|media_type| format!(" ({media_type})")).unwrap_or_default();
                Answer::fail([place.says(format!("the registry has the image only as {}{media_type}", name(kind)))])
            }
            _ => Answer::pass(),
        })
    }
}

fn name(kind: ManifestKind) -> &'static str {
    match kind {
        ManifestKind::Oci => "an OCI image manifest",
        ManifestKind::DockerSchema2 => "a Docker manifest of schema 2",
        ManifestKind::DockerSchema1 => "a Docker manifest of schema 1",
        ManifestKind::None => "no manifest",
    }
}
