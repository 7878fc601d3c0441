//! Decides whether the image is for the platform it will run on.

use serde::Deserialize;

use super::{list, when_known, without_parameter};
use crate::facts::{Facts, PlatformFact};
use crate::parameters::Parameters;
use crate::platform::Platform;
use crate::verdict::{Answer, Place};

/// `kind = "platform"`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct PlatformIs {
    /// The profile's parameter that names the platform.
    pub parameter: String,
}

impl PlatformIs {
    pub(super) fn judge(&self, facts: &Facts, parameters: &Parameters) -> Answer {
        let Some(wanted) = parameters.platform(&self.parameter) else { return without_parameter(&self.parameter) };
        when_known(&facts.platform, &Place::field("architecture"), |platform| judge(wanted, platform))
    }
}

fn judge(wanted: &Platform, platform: &PlatformFact) -> Answer {
    let is = &platform.is;
    if is.os.is_empty() || is.architecture.is_empty() {
        let field = if is.os.is_empty() { "os" } else { "architecture" };
        return Answer::unknown(&Place::field(field), format!("the configuration does not say its {field}"));
    }
    if is.satisfies(wanted) {
        return Answer::pass();
    }
    // A worker never pulls what is for others if there is an entry for itself.
    if platform.is_one_of_all && platform.offered.iter().any(|offered| offered.satisfies(wanted)) {
        return Answer::not_applicable(format!("the worker is {wanted} and takes another entry of the index"));
    }
    let place = Place::field(if is.os == wanted.os { "architecture" } else { "os" });
    let mut evidence = vec![place.says(format!("the image is for {is}, the worker is {wanted}"))];
    if let Some(other) = platform.offered.iter().find(|offered| offered.satisfies(wanted)) {
        evidence.push(place.says(format!("the name also offers {other}: check that one with --platform {other}")));
    } else if !platform.offered.is_empty() {
        evidence.push(place.says(format!("the name offers {}, none of which fits", list(&platform.offered))));
    }
    Answer::fail(evidence)
}
