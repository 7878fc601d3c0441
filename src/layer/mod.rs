//! One layer's bytes become its index: what files there are, and what the few wanted ones hold.

/// stub
#[derive(Debug, Clone, Default)]
pub struct LayerIndex;
