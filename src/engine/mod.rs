//! Runs an image with a container engine as the target would: the only part that starts a container.
//!
//! Images are taken for hostile. A container is given its files through the engine and no folder of the host; what it
//! leaves is never used for another container, and is read back only through the engine, as one small plain file. Every
//! container has a name and a label that nobody can guess. It is removed when its stage is over, when imglint is
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
mod home;
#[cfg(feature = "run")]
mod lease;
#[cfg(feature = "run")]
mod limits;
#[cfg(feature = "run")]
mod load;
#[cfg(feature = "run")]
mod owner;
#[cfg(feature = "run")]
mod path;
#[cfg(feature = "run")]
mod payload;
#[cfg(feature = "run")]
mod payload_files;
#[cfg(feature = "run")]
mod plan;
#[cfg(feature = "run")]
mod probe;
#[cfg(feature = "run")]
mod pull;
#[cfg(feature = "run")]
mod said;
#[cfg(feature = "run")]
mod script;
#[cfg(feature = "run")]
mod secret;
#[cfg(feature = "run")]
mod sweep;
#[cfg(feature = "run")]
mod taken;
#[cfg(feature = "run")]
mod usage;

pub use stage::{Disagreement, EngineReport, Form, RunReport, StageReport};

#[cfg(feature = "run")]
pub use answers::{RunAnswer, answers, not_started};
#[cfg(feature = "run")]
pub use connection::{About, Connection, Unreachable, all};
#[cfg(feature = "run")]
pub use owner::clean_up;
#[cfg(feature = "run")]
pub use path::run;
#[cfg(feature = "run")]
pub use payload::RunPayload;
#[cfg(feature = "run")]
pub use plan::{Candidates, Loaded, Plan, Probes, Pull};
