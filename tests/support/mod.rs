//! What tests share.

pub mod lying_registry;
