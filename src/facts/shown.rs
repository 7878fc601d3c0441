//! What documents show of long lists: their first entries.

use std::collections::BTreeMap;

use serde::{Serialize, Serializer};

/// The most entries of a kind that documents have of a configuration. All of them are judged.
const MOST_SHOWN: usize = 1000;

pub(super) fn first_of_map<S: Serializer>(
    map: &BTreeMap<String, impl Serialize>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_map(map.iter().take(MOST_SHOWN))
}

pub(super) fn first_of_list<S: Serializer>(list: &[impl Serialize], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(list.iter().take(MOST_SHOWN))
}
