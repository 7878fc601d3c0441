//! Decides whether engines create and start containers of the image.

use serde::Deserialize;

use super::{MOST_TOLD, when_known};
use crate::facts::Facts;
use crate::verdict::{Answer, Place};

/// `kind = "container-start"`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ContainerStart {}

impl ContainerStart {
    #[allow(clippy::unused_self, reason = "all checks are called alike")]
    pub(super) fn judge(&self, facts: &Facts) -> Answer {
        when_known(&facts.start_refused, &Place::field("config"), |refused| {
            if refused.is_empty() {
                return Answer::pass();
            }
            Answer::fail(refused.iter().take(MOST_TOLD).map(|one| one.place.says(&one.statement)))
        })
    }
}
