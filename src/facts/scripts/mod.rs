//! What programs make of the words that the kernel starts them with for a script: env(1) and shells.

pub mod env;
pub mod shells;
