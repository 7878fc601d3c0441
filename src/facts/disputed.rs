//! What engines unpack in different ways.

use serde::{Deserialize, Serialize};

/// Something in a layer that engines unpack in different ways.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Disputed {
    /// The number of the layer, the base is 0.
    pub layer: usize,
    /// What it is.
    pub statement: String,
}
