//! Where container engines listen: `--engine`, `DOCKER_HOST`, the Docker context, `CONTAINER_HOST`, or the usual sockets.
//!
//! Addresses are read as the clients of Docker (docker/cli, `cli/command/cli.go`) and Podman (`cmd/podman/root.go`) read
//! them. TLS is stricter: the engine's certificate is always verified, and TLS that is asked for is never left out.

mod address;
mod settings;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use bollard::Docker;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use tokio::runtime::Runtime;

use crate::printable::excerpt;
use address::{Authority, Certificates, Way, way};

/// How long an engine may take to begin an answer, in seconds: it may have to assemble an export first.
const REQUEST_SECONDS: u64 = 600;
/// The variables that say where engines are.
const VARIABLES: [&str; 11] = [
    "CONTAINER_CONNECTION",
    "CONTAINER_HOST",
    "DOCKER_CERT_PATH",
    "DOCKER_CONFIG",
    "DOCKER_CONTEXT",
    "DOCKER_HOST",
    "DOCKER_TLS",
    "DOCKER_TLS_VERIFY",
    "PODMAN_CONNECTIONS_CONF",
    "XDG_CONFIG_HOME",
    "XDG_RUNTIME_DIR",
];

/// A place where an engine may listen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// `unix://PATH`, `tcp://HOST:PORT`, `npipe://PATH`, safe to print.
    pub url: String,
    /// Who says so, for people.
    pub from: String,
    way: Way,
}

/// Settings that name an engine which cannot be found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Misnamed {
    /// What is wrong, a sentence.
    pub why: String,
    /// Whether a file says so. What needs no engine may go on without one then: the file may have come from another
    /// machine, for the sake of the credentials in it.
    pub is_by_file: bool,
}

/// What the process was started with, as far as it says where engines are.
#[derive(Clone, Debug, Default)]
struct Environment {
    variables: BTreeMap<String, OsString>,
    home: Option<PathBuf>,
}

impl Endpoint {
    fn new(url: &str, from: &str, certificates: Option<Certificates>) -> Self {
        Self { url: shown(url), from: from.to_owned(), way: way(url, certificates) }
    }

    /// Whether nobody else can read what is sent there.
    #[must_use]
    pub fn is_private(&self) -> bool {
        match &self.way {
            Way::Socket(_) | Way::Pipe(_) | Way::Tls(..) => true,
            Way::Plain(authority) => authority.is_loopback(),
            Way::Refused(_) => false,
        }
    }
}

/// An address for people: without a password, on one line.
fn shown(url: &str) -> String {
    let hidden = url.split_once("://").and_then(|(scheme, rest)| {
        let (user, host) = rest.rsplit_once('@')?;
        let (user, _) = user.split_once(':')?;
        Some(format!("{scheme}://{user}:***@{host}"))
    });
    excerpt(hidden.as_deref().unwrap_or(url), 300)
}

impl Environment {
    fn of_process() -> Self {
        let variables = VARIABLES.iter().filter_map(|name| Some(((*name).to_owned(), std::env::var_os(name)?)));
        let home = std::env::home_dir().filter(|home| !home.as_os_str().is_empty());
        Self { variables: variables.collect(), home }
    }

    fn path(&self, name: &str) -> Option<PathBuf> {
        self.variables.get(name).filter(|value| !value.is_empty()).map(PathBuf::from)
    }

    fn is_set(&self, name: &str) -> bool {
        self.path(name).is_some()
    }

    fn text(&self, name: &str) -> Result<Option<String>, Misnamed> {
        let text = self.path(name).map(|value| value.into_os_string().into_string()).transpose();
        text.map_err(|_| Misnamed { why: format!("{name} is not UTF-8"), is_by_file: false })
    }

    /// Docker's folder of settings.
    fn docker_folder(&self) -> Option<PathBuf> {
        self.path("DOCKER_CONFIG").or_else(|| Some(self.home.as_ref()?.join(".docker")))
    }

    /// Podman's file of connections.
    fn podman_connections(&self) -> Option<PathBuf> {
        self.path("PODMAN_CONNECTIONS_CONF").or_else(|| {
            let folder = self.path("XDG_CONFIG_HOME").or_else(|| Some(self.home.as_ref()?.join(".config")));
            Some(folder?.join("containers/podman-connections.json"))
        })
    }

    /// Whether Docker's client speaks TLS to the default context (docker/cli, `SetDefaultOptions`).
    fn wants_tls(&self) -> bool {
        self.is_set("DOCKER_TLS_VERIFY") || self.is_set("DOCKER_TLS")
    }

    /// What TLS is spoken with where variables ask for it. A folder alone asks for it, too, as in Docker's libraries.
    fn certificates(&self) -> Option<Certificates> {
        let folder = self.path("DOCKER_CERT_PATH");
        let is_wanted = self.wants_tls() || folder.is_some();
        is_wanted.then(|| Certificates { folder: folder.or_else(|| self.docker_folder()), needs_authority: true })
    }

    fn endpoints(&self, engine: Option<&str>) -> Result<Vec<Endpoint>, Misnamed> {
        let named = |url: &str, from: &str| Ok(vec![Endpoint::new(url.trim(), from, self.certificates())]);
        if let Some(url) = engine.map(str::trim).filter(|url| !url.is_empty()) {
            let mut named = named(url, "--engine")?;
            if !url.contains("://") {
                // Only Docker's own variable has addresses without a scheme.
                named.iter_mut().for_each(|endpoint| endpoint.way = Way::Refused(address::SPOKEN.to_owned()));
            }
            return Ok(named);
        }
        if let Some(url) = self.text("DOCKER_HOST")? {
            return named(&url, "DOCKER_HOST");
        }
        let by_variable = |why| Misnamed { why, is_by_file: false };
        let folder = self.docker_folder();
        let context = |name: &str, from: &str| {
            let folder =
                folder.as_deref().ok_or_else(|| "there is no home folder with Docker's contexts".to_owned())?;
            settings::context(folder, name, from)
        };
        let chosen = self.text("DOCKER_CONTEXT")?;
        if let Some(name) = chosen.as_ref().filter(|name| !settings::is_default(name)) {
            return Ok(vec![context(name, "DOCKER_CONTEXT").map_err(by_variable)?]);
        }
        if chosen.is_none() {
            if let Some(name) = self.text("CONTAINER_CONNECTION")? {
                let file = self.podman_connections().unwrap_or_default();
                return Ok(vec![settings::connection(&file, &name).map_err(by_variable)?]);
            }
            if let Some(url) = self.text("CONTAINER_HOST")? {
                return Ok(vec![settings::podman(&url, "CONTAINER_HOST")]);
            }
            let current = folder.as_deref().and_then(settings::current_context);
            if let Some(name) = current {
                let from = "the current context of Docker's config.json";
                return Ok(vec![context(&name, from).map_err(|why| Misnamed { why, is_by_file: true })?]);
            }
        }
        if self.wants_tls() {
            // Docker's client asks this machine over TLS then, not its socket.
            return named("tcp://localhost:2376", "DOCKER_TLS_VERIFY");
        }
        Ok(self.usual())
    }

    fn usual(&self) -> Vec<Endpoint> {
        let usual = |url: &str, from: &str| Endpoint::new(url, from, None);
        if cfg!(windows) {
            return vec![usual("npipe:////./pipe/docker_engine", "Docker's pipe")];
        }
        let mut all = vec![usual("unix:///var/run/docker.sock", "Docker's socket")];
        let folder = self.path("XDG_RUNTIME_DIR").and_then(|folder| folder.into_os_string().into_string().ok());
        if let Some(folder) = folder {
            all.push(usual(&format!("unix://{folder}/docker.sock"), "rootless Docker's socket"));
            all.push(usual(&format!("unix://{folder}/podman/podman.sock"), "rootless Podman's socket"));
        }
        all.push(usual("unix:///run/podman/podman.sock", "Podman's socket"));
        all
    }
}

/// The endpoints to ask, in order: the one that somebody names, else the usual ones of Docker and Podman.
///
/// # Errors
/// A context or a connection is named that cannot be found: then no other engine is asked in its place.
pub fn endpoints(engine: Option<&str>) -> Result<Vec<Endpoint>, Misnamed> {
    Environment::of_process().endpoints(engine)
}

/// A client for an endpoint, and the runtime that it belongs to; nothing is sent yet.
///
/// # Errors
/// There is no such socket, the address is of no known kind, or certificates are missing: a part of a sentence.
pub fn open(endpoint: &Endpoint) -> Result<(Docker, Runtime), String> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| error.to_string())?;
    let docker = {
        // The client registers itself with the runtime it is made in.
        let _inside = runtime.enter();
        connect(endpoint)?
    };
    Ok((docker, runtime))
}

fn connect(endpoint: &Endpoint) -> Result<Docker, String> {
    let version = bollard::API_DEFAULT_VERSION;
    crate::tls::ready();
    let docker = match &endpoint.way {
        Way::Refused(why) => return Err(why.clone()),
        #[cfg(unix)]
        Way::Socket(path) => {
            if !Path::new(path).exists() {
                return Err("there is no such socket".to_owned());
            }
            Docker::connect_with_unix(path, REQUEST_SECONDS, version)
        }
        #[cfg(windows)]
        Way::Pipe(path) => Docker::connect_with_named_pipe(path, REQUEST_SECONDS, version),
        Way::Plain(authority) => Docker::connect_with_http(&format!("http://{authority}"), REQUEST_SECONDS, version),
        Way::Tls(authority, certificates) => return over_tls(authority, certificates),
        #[cfg(unix)]
        Way::Pipe(_) => return Err("named pipes are there on Windows only".to_owned()),
        #[cfg(windows)]
        Way::Socket(_) => return Err("sockets are not supported on Windows: name npipe:// or tcp://".to_owned()),
    };
    docker.map_err(|error| excerpt(&error.to_string(), 200))
}

/// A client over TLS: its certificate and key are optional, and so is the authority where the system's own are trusted.
fn over_tls(authority: &Authority, certificates: &Certificates) -> Result<Docker, String> {
    let file = |name: &str| certificates.folder.as_ref().map(|folder| folder.join(name));
    let [root, certificate, key] =
        ["ca.pem", "cert.pem", "key.pem"].map(|name| file(name).filter(|file| is_there(file)));
    let missing = |name: &str| {
        let file = file(name).unwrap_or_else(|| PathBuf::from(name));
        format!("{} is missing, which TLS needs", file.display())
    };
    if certificates.needs_authority && root.is_none() {
        return Err(missing("ca.pem"));
    }
    if certificate.is_some() != key.is_some() {
        return Err(missing(if key.is_some() { "cert.pem" } else { "key.pem" }));
    }
    if let Some(file) = &root {
        let read: Result<Vec<_>, _> = CertificateDer::pem_file_iter(file).and_then(Iterator::collect);
        if !read.is_ok_and(|all| !all.is_empty()) {
            return Err(format!("{} holds no certificate that can be read", file.display()));
        }
    }
    // The client wants a file of each: an empty one adds no authority, and one that is missing gives no certificate.
    let nothing = PathBuf::from(if cfg!(windows) { "NUL" } else { "/dev/null" });
    let [root, certificate, key] = [root, certificate, key].map(|file| file.unwrap_or_else(|| nothing.clone()));
    let url = format!("https://{authority}");
    let docker =
        Docker::connect_with_ssl(&url, &key, &certificate, &root, REQUEST_SECONDS, bollard::API_DEFAULT_VERSION);
    docker.map_err(|error| excerpt(&error.to_string(), 200))
}

/// Whether a file is there, even if it cannot be read.
fn is_there(file: &Path) -> bool {
    !matches!(file.metadata(), Err(error) if error.kind() == std::io::ErrorKind::NotFound)
}

#[cfg(test)]
mod tests;
