//! What a run is asked to do.

use std::collections::BTreeMap;
use std::time::Duration;

use super::payload::RunPayload;
use super::stage::Form;
use crate::image::registry::RegistryOptions;
use crate::reference::Name;

/// What is run, and how.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The image, for people.
    pub image: String,
    /// The digest of its configuration, by which engines know it.
    pub id: Option<String>,
    /// The name that the engine can fetch it by.
    pub pull: Option<Pull>,
    /// Go's word for the image's architecture.
    pub architecture: String,
    /// How the target starts a step's container.
    pub form: Form,
    /// Whether containers have a network.
    pub has_network: bool,
    /// The user that containers are started as, in place of the image's own.
    pub user: Option<String>,
    /// Whether that user is root.
    pub is_root: bool,
    /// How long the image's containers may run, all together.
    pub limit: Duration,
    /// How long an engine may take for one request. Fetching an image may take longer, as long as it makes progress.
    pub patience: Duration,
    /// The types of scripts that are started: `bash`, `pwsh`, `python3`.
    pub shells: Vec<String>,
    /// Commands that the script looks up.
    pub tools: Vec<String>,
    /// What the tiny programs need.
    pub probes: Probes,
    /// A program of the user's own that is run as well.
    pub payload: Option<RunPayload>,
    /// Called with how many bytes of how many have been fetched.
    pub progress: Option<fn(u64, u64)>,
}

/// What an engine fetches an image by.
#[derive(Clone, Debug)]
pub struct Pull {
    /// The name with the digest.
    pub by: String,
    /// Whose credentials are handed to the engine, and where they are looked for if it comes to that.
    pub name: Name,
    /// How the registry is reached.
    pub options: RegistryOptions,
}

/// What a .NET program needs of an image to be loaded.
#[derive(Clone, Debug, Default)]
pub struct Probes {
    /// The program loader.
    pub loader: String,
    /// The libraries, by soname.
    pub libraries: Vec<String>,
    /// Symbol versions, by library.
    pub versions: BTreeMap<String, Vec<String>>,
    /// Each ICU that is looked for, in order.
    pub icu: Candidates,
    /// Each OpenSSL that is looked for, in order.
    pub openssl: Candidates,
}

/// Libraries of one kind, of which a program needs one.
#[derive(Clone, Debug, Default)]
pub struct Candidates {
    /// Those that are expected to load, by what was read of the image: they are tried one by one.
    pub expected: Vec<Loaded>,
    /// All others that are looked for.
    pub others: Vec<Loaded>,
}

/// Libraries that a program loads once it needs them.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// What they are called among others of their kind.
    pub name: String,
    /// The libraries, by soname.
    pub libraries: Vec<String>,
    /// Symbols that they have to have.
    pub symbols: Vec<String>,
}
