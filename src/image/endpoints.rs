//! Where container engines listen: `--engine`, `DOCKER_HOST`, the Docker context, or the usual sockets.

use std::path::{Path, PathBuf};

use bollard::Docker;
use serde::Deserialize;
use tokio::runtime::Runtime;

use crate::digest::Digest;
use crate::printable::excerpt;

/// How long an engine may take to begin an answer, in seconds: it may have to assemble an export first.
const REQUEST_SECONDS: u64 = 600;

/// A place where an engine may listen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// `unix://PATH`, `tcp://HOST:PORT`, `npipe://PATH`.
    pub url: String,
    /// Who says so, for people.
    pub from: String,
    /// The folder with `ca.pem`, `cert.pem` and `key.pem`, where TLS is wanted.
    pub certificates: Option<PathBuf>,
}

impl Endpoint {
    /// Whether nobody else can read what is sent there.
    #[must_use]
    pub fn is_private(&self) -> bool {
        let address = self.url.split_once("://").map_or("", |(_, address)| address);
        let is_here = ["127.", "localhost:", "[::1]"].iter().any(|host| address.starts_with(host));
        let is_plain = self.url.starts_with("tcp://") || self.url.starts_with("http://");
        self.certificates.is_some() || is_here || !is_plain
    }
}

/// The part of a Docker context's `meta.json` that counts (docker/cli, cli/context/store).
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Context {
    endpoints: std::collections::BTreeMap<String, ContextEndpoint>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ContextEndpoint {
    host: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Configuration {
    #[serde(default)]
    current_context: String,
}

/// The endpoints to ask, in order: the one that somebody names, else the usual ones of Docker and Podman.
#[must_use]
pub fn endpoints(engine: Option<&str>) -> Vec<Endpoint> {
    let set = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let certificates = || {
        let is_wanted = set("DOCKER_TLS_VERIFY").is_some() || set("DOCKER_CERT_PATH").is_some();
        let folder = set("DOCKER_CERT_PATH").map(PathBuf::from).or_else(configuration_folder);
        folder.filter(|_| is_wanted)
    };
    let named = |url: String, from: &str| {
        let certificates = certificates().filter(|_| url.starts_with("tcp://") || url.starts_with("https://"));
        vec![Endpoint { url, from: from.to_owned(), certificates }]
    };
    if let Some(url) = engine {
        return named(url.to_owned(), "--engine");
    }
    if let Some(url) = set("DOCKER_HOST") {
        return named(url, "DOCKER_HOST");
    }
    let context = configuration_folder().and_then(|folder| context(&folder, set("DOCKER_CONTEXT").as_deref()));
    if let Some(endpoint) = context {
        return vec![endpoint];
    }
    let usual = |url: String, from: &str| Endpoint { url, from: from.to_owned(), certificates: None };
    if cfg!(windows) {
        return vec![usual("npipe:////./pipe/docker_engine".to_owned(), "Docker's pipe")];
    }
    let mut all = vec![usual("unix:///var/run/docker.sock".to_owned(), "Docker's socket")];
    let rootless = set("XDG_RUNTIME_DIR").into_iter().flat_map(|folder| {
        [
            usual(format!("unix://{folder}/docker.sock"), "rootless Docker's socket"),
            usual(format!("unix://{folder}/podman/podman.sock"), "rootless Podman's socket"),
        ]
    });
    all.extend(rootless);
    all.push(usual("unix:///run/podman/podman.sock".to_owned(), "Podman's socket"));
    all
}

/// Docker's folder of settings.
fn configuration_folder() -> Option<PathBuf> {
    let set = std::env::var_os("DOCKER_CONFIG").filter(|value| !value.is_empty()).map(PathBuf::from);
    set.or_else(|| Some(std::env::home_dir().filter(|home| !home.as_os_str().is_empty())?.join(".docker")))
}

/// The endpoint of the context that is named, else of the current one; nothing for the default context.
fn context(folder: &Path, named: Option<&str>) -> Option<Endpoint> {
    let current = || {
        let text = std::fs::read(folder.join("config.json")).ok()?;
        serde_json::from_slice::<Configuration>(&text).ok().map(|read| read.current_context)
    };
    let name = named.map(str::to_owned).or_else(current)?;
    if name.is_empty() || name == "default" {
        return None;
    }
    // A context's folder is called by the SHA-256 of its name.
    let id = Digest::of(name.as_bytes()).hex().to_owned();
    let meta = std::fs::read(folder.join("contexts/meta").join(&id).join("meta.json")).ok()?;
    let mut context: Context = serde_json::from_slice(&meta).ok()?;
    let url = context.endpoints.remove("docker")?.host;
    let certificates = folder.join("contexts/tls").join(&id).join("docker");
    let certificates = Some(certificates).filter(|folder| folder.join("ca.pem").exists());
    Some(Endpoint { url, from: format!("Docker's context {}", excerpt(&name, 60)), certificates })
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
    let url = endpoint.url.as_str();
    crate::tls::ready();
    let docker = match url.split_once("://") {
        #[cfg(unix)]
        Some(("unix", path)) => {
            if !Path::new(path).exists() {
                return Err("there is no such socket".to_owned());
            }
            Docker::connect_with_unix(url, REQUEST_SECONDS, version)
        }
        Some(("tcp" | "https", address)) if endpoint.certificates.is_some() || url.starts_with("https") => {
            let folder = endpoint.certificates.clone().unwrap_or_default();
            let file = |name: &str| folder.join(name);
            for name in ["ca.pem", "cert.pem", "key.pem"] {
                if !file(name).exists() {
                    return Err(format!("{} is missing, which TLS needs", file(name).display()));
                }
            }
            let (key, certificate, authority) = (file("key.pem"), file("cert.pem"), file("ca.pem"));
            let url = format!("tcp://{address}");
            Docker::connect_with_ssl(&url, &key, &certificate, &authority, REQUEST_SECONDS, version)
        }
        Some(("tcp" | "http", _)) => Docker::connect_with_http(url, REQUEST_SECONDS, version),
        #[cfg(windows)]
        Some(("npipe", _)) => Docker::connect_with_named_pipe(url, REQUEST_SECONDS, version),
        _ => return Err("imglint speaks to engines through unix://, tcp:// and, on Windows, npipe://".to_owned()),
    };
    docker.map_err(|error| excerpt(&error.to_string(), 200))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_current_context_is_read_where_docker_keeps_it() {
        let folder = tempfile::tempdir().unwrap();
        let id = Digest::of(b"remote").hex().to_owned();
        let meta = folder.path().join("contexts/meta").join(&id);
        std::fs::create_dir_all(&meta).unwrap();
        let text = r#"{"Name":"remote","Metadata":{},"Endpoints":{"docker":{"Host":"unix:///tmp/d.sock"}}}"#;
        std::fs::write(meta.join("meta.json"), text).unwrap();
        assert_eq!(context(folder.path(), None), None, "no configuration, so the default one");
        std::fs::write(folder.path().join("config.json"), r#"{"currentContext":"remote"}"#).unwrap();
        let found = context(folder.path(), None).unwrap();
        assert_eq!((found.url.as_str(), found.from.as_str()), ("unix:///tmp/d.sock", "Docker's context remote"));
        assert_eq!(found.certificates, None);
        assert_eq!(context(folder.path(), Some("default")), None);
        let tls = folder.path().join("contexts/tls").join(&id).join("docker");
        std::fs::create_dir_all(&tls).unwrap();
        std::fs::write(tls.join("ca.pem"), "").unwrap();
        assert_eq!(context(folder.path(), Some("remote")).unwrap().certificates, Some(tls));
    }

    #[test]
    fn an_address_of_no_known_kind_is_told() {
        let endpoint = |url: &str| Endpoint { url: url.to_owned(), from: String::new(), certificates: None };
        assert!(connect(&endpoint("ssh://host")).unwrap_err().contains("unix://, tcp://"));
        assert!(connect(&endpoint("unix:///nowhere.sock")).unwrap_err().contains("no such socket"));
        assert!(connect(&endpoint("https://host:2376")).unwrap_err().contains("ca.pem"));
    }
}
