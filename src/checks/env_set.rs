//! Decides whether the image's environment sets certain variables.

use serde::Deserialize;

use super::when_known;
use crate::facts::Facts;
use crate::printable::excerpt;
use crate::verdict::{Answer, Evidence, Place};

/// `kind = "env-set"`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct EnvSet {
    /// The variables that are told.
    pub variables: Vec<String>,
}

impl EnvSet {
    pub(super) fn judge(&self, facts: &Facts) -> Answer {
        when_known(&facts.configuration, &Place::field("config.Env"), |configuration| {
            let is_set = |name: &&String| configuration.env.get(*name).is_some_and(|set| !set.value.is_empty());
            let evidence: Vec<Evidence> = self
                .variables
                .iter()
                .filter(is_set)
                .filter_map(|name| {
                    let set = configuration.env.get(name)?;
                    Some(set.place.says(format!("ENV sets {name} to {}", excerpt(&without_password(&set.value), 200))))
                })
                .collect();
            if evidence.is_empty() { Answer::pass() } else { Answer::fail(evidence) }
        })
    }
}

/// An address without what stands before its `@`.
fn without_password(value: &str) -> String {
    match value.rsplit_once('@') {
        Some((before, host)) => {
            let scheme = before.split_once("://").map_or("", |(scheme, _)| scheme);
            if scheme.is_empty() { format!("…@{host}") } else { format!("{scheme}://…@{host}") }
        }
        None => value.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_of_proxies_are_not_told() {
        assert_eq!(without_password("http://me:secret@proxy:3128"), "http://…@proxy:3128");
        assert_eq!(without_password("http://proxy:3128"), "http://proxy:3128");
    }
}
