//! Decides whether data is there that programs look for late.

use serde::Deserialize;

use super::{list, when_known};
use crate::facts::Facts;
use crate::verdict::{Answer, Place};

/// `kind = "present"`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Present {
    /// Which data.
    pub what: What,
    /// What has to be installed to have it, in the words of `rules/tables/packages.toml`.
    pub component: String,
}

/// The data that is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum What {
    /// Certificate authorities.
    CaCertificates,
    /// The time zone database.
    TimeZones,
}

impl Present {
    pub(super) fn judge(&self, facts: &Facts) -> Answer {
        let (fact, name) = match self.what {
            What::CaCertificates => (&facts.ca_certificates, "certificate authorities"),
            What::TimeZones => (&facts.time_zones, "time zones"),
        };
        when_known(fact, &Place::path("/"), |presence| {
            if presence.present {
                return Answer::pass();
            }
            let looked_in =
                if presence.looked_in.is_empty() { "any place".to_owned() } else { list(&presence.looked_in) };
            let statement = presence.place.says(format!("there are no {name} in {looked_in}"));
            match &presence.usual {
                // They are installed: what leads away from them is what is wrong.
                Some(usual) => {
                    let there = usual.says("they are here, but variables of the image lead elsewhere");
                    let fix = "Correct or remove the variables with ENV: what they name has to be in the image.";
                    Answer { fix: Some(fix.to_owned()), ..Answer::fail([statement, there]) }
                }
                None => Answer::fail([statement]).needing(vec![self.component.clone()]),
            }
        })
    }
}
