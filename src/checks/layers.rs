//! Decides whether engines can unpack the layers of an image, and whether they agree about what that gives.

use serde::Deserialize;

use super::when_known;
use crate::facts::{Fact, Facts};
use crate::verdict::{Answer, Place};

/// `kind = "layer-count"`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct LayerCount {
    /// How many layers there may be.
    pub most: usize,
}

impl LayerCount {
    pub(super) fn judge(&self, facts: &Facts) -> Answer {
        let (count, most) = (facts.size.layers, self.most);
        let place = Place::field("layers");
        if count > most {
            return Answer::fail([place.says(format!("the image has {count} layers, and Docker takes {most}"))]);
        }
        let sizes = [&facts.size.compressed_bytes, &facts.size.uncompressed_bytes];
        if count == 0 && !sizes.iter().any(|size| matches!(size, Fact::Known(_))) {
            return Answer::unknown(&place, "how many layers the image has is not known".to_owned());
        }
        Answer::pass()
    }
}

/// `kind = "layers-undisputed"`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct LayersUndisputed {}

impl LayersUndisputed {
    #[allow(clippy::unused_self, reason = "all checks are called alike")]
    pub(super) fn judge(&self, facts: &Facts) -> Answer {
        let place = Place::field("layers");
        when_known(&facts.disputed_layers, &place, |disputed| {
            let Some(first) = disputed.first() else { return Answer::pass() };
            let mut answer = Answer::unknown(&place, format!("layer {}: {}", first.layer, first.statement));
            let others = disputed.iter().skip(1);
            answer
                .evidence
                .extend(others.map(|other| place.says(format!("layer {}: {}", other.layer, other.statement))));
            answer
        })
    }
}
