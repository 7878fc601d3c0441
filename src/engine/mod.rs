//! Runs an image with a container engine as the target would: the only part that starts a container.
//!
//! Every container has a name and a label that nobody can guess. It is removed when its stage is over, when imglint is
//! interrupted, or, if imglint was killed, by the next run of the same user on the same machine.

// What a run showed is read in reports whether or not this build can run an image.
mod stage;

#[cfg(feature = "run")]
mod answers;
#[cfg(feature = "run")]
mod connection;
#[cfg(feature = "run")]
mod container;
#[cfg(feature = "run")]
mod form;
#[cfg(feature = "run")]
mod host;
#[cfg(feature = "run")]
mod lease;
#[cfg(feature = "run")]
mod owner;
#[cfg(feature = "run")]
mod path;
#[cfg(feature = "run")]
mod payload;
#[cfg(feature = "run")]
mod probe;
#[cfg(feature = "run")]
mod said;
#[cfg(feature = "run")]
mod script;
#[cfg(feature = "run")]
mod sweep;

pub use stage::{Disagreement, EngineReport, Form, RunReport, StageReport};

#[cfg(feature = "run")]
pub use answers::{RunAnswer, answers, not_started};
#[cfg(feature = "run")]
pub use connection::{About, Connection, Unreachable, all};
#[cfg(feature = "run")]
pub use owner::clean_up;
#[cfg(feature = "run")]
pub use path::{Loaded, Plan, Probes, Pull, run};
#[cfg(feature = "run")]
pub use payload::RunPayload;
