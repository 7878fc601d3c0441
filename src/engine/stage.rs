//! The stages of a run as they are reported (contract: `results[].run`).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::verdict::Outcome;

#[cfg(feature = "run")]
/// How much of a stage's output is reported, in characters.
pub(super) const LONGEST_OUTPUT: usize = 600;

/// How the target starts a step's container.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Form {
    /// A worker's `docker run --entrypoint=''`: the program is the container's first process.
    #[default]
    Worker,
    /// A worker's `docker run` as servers before 2021.2.124 wrote it: the image's entrypoint stays.
    OldWorker,
    /// A script pod: `sh -c` starts a script for /bin/bash, which starts the program (OctopusTentacle,
    /// `KubernetesScriptPodCreator`).
    Pod,
}

/// What running an image showed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RunReport {
    /// What ran it; nothing if no engine was asked.
    pub engine: Option<EngineReport>,
    /// How the target starts a step's container.
    #[serde(default)]
    pub form: Form,
    /// The equivalent command line, to paste where `TentacleHome` is a folder of one's own.
    pub command: Vec<String>,
    /// The stages, in order.
    pub stages: Vec<StageReport>,
    /// Where this image was run otherwise than the target would.
    pub changed: Vec<String>,
    /// Rules of which reading and running the image say different things: a defect of imglint, or an image that pretends.
    #[serde(default)]
    pub disagreements: Vec<Disagreement>,
}

/// An engine by name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EngineReport {
    /// `docker` or `podman`.
    pub name: String,
    /// Its version.
    pub version: String,
}

/// One stage.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StageReport {
    /// `pull`, `create`, `start`, `linker`, `shell:bash`, …
    pub name: String,
    /// What was otherwise than in the usual form, such as `uid 999`: then it decides nothing.
    #[serde(default)]
    pub variant: Option<String>,
    /// What became of it.
    pub outcome: Outcome,
    /// True if imglint saw the outcome itself: the engine reported it, or imglint's own program was the container's first
    /// process and proved it. False if the outcome rests on what programs of the image print or end with, which may only
    /// make a verdict worse.
    #[serde(default)]
    pub observed: bool,
    /// How long it took, in milliseconds; nothing for one that takes no time of its own.
    pub duration_ms: Option<u64>,
    /// The exit code of what was started.
    pub exit_code: Option<i64>,
    /// What was said last, or why the stage did not take place.
    pub output: String,
}

/// A rule that reading and running an image decide differently. The verdict is undetermined then, unless the run is trusted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Disagreement {
    /// The rule's id.
    pub rule: String,
    /// What reading said.
    pub read: Outcome,
    /// What running said.
    pub run: Outcome,
}

impl StageReport {
    /// The same stage, its outcome seen by imglint itself.
    #[must_use]
    pub fn seen(self) -> Self {
        Self { observed: true, ..self }
    }

    /// A stage and what became of it, by what the image says.
    #[must_use]
    pub fn new(name: &str, outcome: Outcome, output: impl Into<String>) -> Self {
        Self {
            name: name.to_owned(),
            variant: None,
            outcome,
            observed: false,
            duration_ms: None,
            exit_code: None,
            output: output.into(),
        }
    }
}

impl RunReport {
    /// A run that did not take place, and why.
    #[must_use]
    pub fn none(stage: &str, outcome: Outcome, why: impl Into<String>) -> Self {
        Self {
            engine: None,
            form: Form::default(),
            command: Vec::new(),
            stages: vec![StageReport::new(stage, outcome, why)],
            changed: Vec::new(),
            disagreements: Vec::new(),
        }
    }

    /// The stage of this name, in the usual form.
    #[must_use]
    pub fn stage(&self, name: &str) -> Option<&StageReport> {
        self.stages.iter().find(|stage| stage.name == name && stage.variant.is_none())
    }
}
