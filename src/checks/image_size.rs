//! Decides whether pulling the image transfers more than a limit.

use serde::Deserialize;

use super::{when_known, without_parameter};
use crate::facts::{Fact, Facts};
use crate::parameters::{Parameters, size};
use crate::verdict::{Answer, Place};

/// `kind = "image-size"`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ImageSize {
    /// The profile's parameter that holds the limit.
    pub parameter: String,
}

impl ImageSize {
    pub(super) fn judge(&self, facts: &Facts, parameters: &Parameters) -> Answer {
        let Some(limit) = parameters.size(&self.parameter) else { return without_parameter(&self.parameter) };
        let place = Place::field("layers");
        let sizes = &facts.size;
        match (&sizes.compressed_bytes, &sizes.uncompressed_bytes) {
            (Fact::Known(bytes), _) if *bytes > limit => Answer::fail([place.says(format!(
                "pulling the image transfers {} in {} ({bytes} bytes), more than {}",
                size::display(*bytes),
                layers(sizes.layers),
                size::display(limit)
            ))]),
            (Fact::Known(_), _) => Answer::pass(),
            // Compressed layers are hardly ever larger than their content.
            (_, Fact::Known(bytes)) if *bytes <= limit => Answer::pass(),
            (_, Fact::Known(bytes)) => Answer::unknown(
                &place,
                format!(
                    "the layers are {} uncompressed, more than {}, and what a pull transfers is not known here",
                    size::display(*bytes),
                    size::display(limit)
                ),
            ),
            (compressed, _) => when_known(compressed, &place, |_| Answer::pass()),
        }
    }
}

fn layers(count: usize) -> String {
    if count == 1 { "1 layer".to_owned() } else { format!("{count} layers") }
}
