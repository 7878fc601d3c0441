//! What a user or a test can set about talking to registries, and where credentials are looked for.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use super::mirrors::Mirror;
use super::reach::Reach;
use super::streams::StreamLimits;

/// How registries are talked to.
#[derive(Clone, Debug)]
pub struct RegistryOptions {
    /// The only file to take credentials from; without it the usual places of Docker and Podman are looked at.
    pub auth_file: Option<PathBuf>,
    /// PEM files, or folders of them, with certification authorities to trust besides the system's.
    pub ca: Vec<PathBuf>,
    /// A client certificate (PEM) for the registry.
    pub client_cert: Option<PathBuf>,
    /// The key of the client certificate (PEM).
    pub client_key: Option<PathBuf>,
    /// `HOST[:PORT]` of registries whose certificates are not verified and that may be talked to in plain HTTP; without
    /// a port all ports of the host are meant.
    pub insecure: Vec<String>,
    /// How long everything about one image may take, counted from [`Registry::open`](super::Registry::open).
    pub timeout: Option<Duration>,
    /// How long a connection may take to come about.
    pub connect: Duration,
    /// How long a connection may go without a byte.
    pub stall: Duration,
    /// The time in which a document must come, or 32 KiB of it.
    pub document_time: Duration,
    /// How often and how soon failed requests are tried again.
    pub retries: Retries,
    /// Where credentials, helpers and certificates are looked for.
    pub places: Places,
    /// How many layers are fetched from a registry at a time, together with others who have the same.
    pub streams: Arc<StreamLimits>,
    /// What is different for single registries, by `HOST[:PORT]`.
    pub registries: BTreeMap<String, RegistrySettings>,
    /// The hosts that may be asked.
    pub reach: Reach,
}

/// How one registry is reached.
#[derive(Clone, Debug, Default)]
pub struct RegistrySettings {
    /// Registries that are asked first, in order.
    pub mirrors: Vec<Mirror>,
    /// A certification authority to trust besides the system's (PEM), for it and its mirrors.
    pub ca: Option<PathBuf>,
    /// Whether its certificate is not verified, and it may be talked to in plain HTTP.
    pub is_insecure: bool,
    /// The only file to take its credentials from.
    pub auth_file: Option<PathBuf>,
}

impl RegistryOptions {
    /// The options for one registry or a mirror of it.
    #[must_use]
    pub fn of(&self, registry: &str, asked: &str) -> Self {
        let mut options = self.clone();
        // A mirror may have settings of its own.
        let all = [Some(registry), Some(asked).filter(|asked| *asked != registry)];
        for (named, settings) in
            all.into_iter().flatten().filter_map(|named| Some((named, self.registries.get(named)?)))
        {
            options.ca.extend(settings.ca.clone());
            if named == asked {
                options.auth_file = settings.auth_file.clone().or(options.auth_file);
                options.insecure.extend(settings.is_insecure.then(|| asked.to_owned()));
            }
        }
        options
    }

    /// The registries that are asked for an image of this one, in order, itself last.
    #[must_use]
    pub fn asked_for(&self, registry: &str) -> Vec<Mirror> {
        let mirrors = self.registries.get(registry).map(|settings| settings.mirrors.clone()).unwrap_or_default();
        let itself = Mirror { host: registry.to_owned(), below: String::new(), is_plain: false };
        mirrors.into_iter().chain([itself]).collect()
    }
}

impl Default for RegistryOptions {
    fn default() -> Self {
        Self {
            auth_file: None,
            ca: Vec::new(),
            client_cert: None,
            client_key: None,
            insecure: Vec::new(),
            timeout: None,
            connect: Duration::from_secs(15),
            stall: Duration::from_secs(60),
            document_time: Duration::from_secs(30),
            retries: Retries::default(),
            places: Places::of_this_machine(),
            streams: Arc::default(),
            registries: BTreeMap::new(),
            reach: Reach::default(),
        }
    }
}

/// How often and how soon failed requests are tried again.
#[derive(Clone, Debug)]
pub struct Retries {
    /// How often a request is sent at most.
    pub tries: u32,
    /// How long the first wait is; each further one is twice as long.
    pub first_wait: Duration,
    /// The longest wait.
    pub longest_wait: Duration,
    /// The longest wait that a registry can ask for (`Retry-After`).
    pub longest_asked: Duration,
    /// How long registries can make a whole run wait so.
    pub longest_asked_in_all: Duration,
    /// How long they did so far, in milliseconds.
    pub asked_so_far: Arc<AtomicU64>,
}

impl Default for Retries {
    fn default() -> Self {
        Self {
            tries: 5,
            first_wait: Duration::from_millis(500),
            longest_wait: Duration::from_secs(30),
            longest_asked: Duration::from_secs(30),
            longest_asked_in_all: Duration::from_secs(120),
            asked_so_far: Arc::default(),
        }
    }
}

/// Where credentials, helpers and certificates are looked for.
#[derive(Clone, Default)]
pub struct Places {
    /// What `REGISTRY_AUTH_FILE` names: then the only file.
    pub named: Option<PathBuf>,
    /// Files that need not be there, in order: Podman's (containers-auth.json(5)), then Docker's.
    pub files: Vec<PathBuf>,
    /// What `DOCKER_AUTH_CONFIG` holds: a file's content, looked at before the files.
    pub inline: Option<String>,
    /// The search path for credential helpers.
    pub helpers: Option<OsString>,
    /// Docker's folder of certificates, one folder a registry in it (`/etc/docker/certs.d`).
    pub certificates: Option<PathBuf>,
}

impl fmt::Debug for Places {
    /// Without what a variable holds.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Places").field("named", &self.named).field("files", &self.files).finish_non_exhaustive()
    }
}

impl Places {
    /// The usual places, by the environment.
    #[must_use]
    pub fn of_this_machine() -> Self {
        let folder = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let home = std::env::home_dir().filter(|home| !home.as_os_str().is_empty());
        let configuration = folder("XDG_CONFIG_HOME").or_else(|| home.as_ref().map(|home| home.join(".config")));
        let docker = folder("DOCKER_CONFIG").or_else(|| home.as_ref().map(|home| home.join(".docker")));
        let runtime = folder("XDG_RUNTIME_DIR").map(|folder| folder.join("containers")).or_else(run_folder);
        let files = [
            runtime.map(|folder| folder.join("auth.json")),
            configuration.map(|folder| folder.join("containers/auth.json")),
            docker.map(|folder| folder.join("config.json")),
        ];
        Self {
            named: folder("REGISTRY_AUTH_FILE"),
            inline: std::env::var("DOCKER_AUTH_CONFIG").ok().filter(|text| !text.trim().is_empty()),
            files: files.into_iter().flatten().collect(),
            helpers: std::env::var_os("PATH"),
            certificates: cfg!(unix).then(|| PathBuf::from("/etc/docker/certs.d")),
        }
    }
}

/// Where Podman keeps what belongs in `XDG_RUNTIME_DIR` when there is none.
#[cfg(unix)]
fn run_folder() -> Option<PathBuf> {
    use std::os::unix::fs::MetadataExt as _;
    let user = std::fs::metadata("/proc/self").ok()?.uid();
    Some(PathBuf::from(format!("/run/containers/{user}")))
}

#[cfg(not(unix))]
fn run_folder() -> Option<PathBuf> {
    None
}
