//! Tables of numbers and names that change without a compiler: `rules/tables/`, each with its sources and date.

pub mod distributions;

use serde::Deserialize;

/// Where an entry of a table or a statement of a rule comes from.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// Where it can be read.
    pub url: String,
    /// What it says, in our words.
    pub says: String,
}
