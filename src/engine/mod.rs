//! Runs an image with a container engine as the target would: the only part that starts a container.
//!
//! Every container carries a label that names the process it belongs to, and is removed when its stage is over, when
//! imglint is interrupted, or, if imglint was killed, by its next run.

mod answers;
mod connection;
mod container;
mod form;
mod host;
mod owner;
mod path;
mod payload;
mod probe;
mod said;
mod script;
mod stage;

pub use answers::{RunAnswer, answers};
pub use connection::{About, Connection, Unreachable, all};
pub use form::Form;
pub use owner::clean_up;
pub use path::{Loaded, Plan, Probes, Pull, run};
pub use payload::RunPayload;
pub use stage::{Disagreement, EngineReport, RunReport, StageReport};
