//! Where Docker's contexts and Podman's connections lead: the files in which both keep them.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::Path;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::Endpoint;
use super::address::{Certificates, Way, way};
use crate::digest::Digest;
use crate::printable::excerpt;

/// The largest of these files, in bytes.
const LARGEST: u64 = 1 << 20;

/// The part of a Docker context's `meta.json` that counts (docker/cli, cli/context/store).
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Meta {
    #[serde(default)]
    endpoints: BTreeMap<String, MetaEndpoint>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct MetaEndpoint {
    #[serde(default)]
    host: String,
    #[serde(default, rename = "SkipTLSVerify")]
    skip_tls_verify: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Configuration {
    #[serde(default)]
    current_context: String,
}

/// The part of `podman-connections.json` that counts (containers/common, `pkg/config`, `ConnectionsFile`).
#[derive(Deserialize)]
struct Connections {
    #[serde(default, rename = "Connection")]
    connection: Destinations,
}

#[derive(Default, Deserialize)]
struct Destinations {
    #[serde(default, rename = "Connections")]
    connections: BTreeMap<String, Destination>,
}

#[derive(Deserialize)]
struct Destination {
    #[serde(rename = "URI")]
    uri: String,
    #[serde(default, rename = "TLSCA")]
    authority: String,
    #[serde(default, rename = "TLSCert")]
    certificate: String,
}

/// The context that Docker's configuration makes the current one; `None` for the default one, or without a configuration.
pub(super) fn current_context(folder: &Path) -> Option<String> {
    let read = json::<Configuration>(&folder.join("config.json")).ok()??;
    Some(read.current_context).filter(|name| !is_default(name))
}

/// Whether a context is the one that stands for the variables and the usual socket.
pub(super) fn is_default(name: &str) -> bool {
    name.is_empty() || name == "default"
}

/// Where the context `name` leads. `from` names who asks for it.
///
/// # Errors
/// There is no such context, or its files are broken: a sentence.
pub(super) fn context(folder: &Path, name: &str, from: &str) -> Result<Endpoint, String> {
    let shown = excerpt(name, 60);
    if !is_context_name(name) {
        return Err(format!("{shown:?} is not a name of a Docker context ({from})"));
    }
    // A context's folder is called by the SHA-256 of its name.
    let id = Digest::of(name.as_bytes()).hex().to_owned();
    let file = folder.join("contexts/meta").join(&id).join("meta.json");
    let meta: Option<Meta> = json(&file).map_err(|why| format!("Docker's context {shown} ({from}): {why}"))?;
    let Some(mut meta) = meta else {
        return Err(format!("Docker's context {shown} is not found ({from}): there is no {}", file.display()));
    };
    let endpoint = meta.endpoints.remove("docker");
    let endpoint = endpoint.ok_or_else(|| format!("Docker's context {shown} ({from}) has no endpoint of Docker"))?;
    let certificates = folder.join("contexts/tls").join(&id).join("docker");
    // Whoever lets Docker skip the verification still asks for TLS, and imglint verifies.
    let has_certificates = certificates.symlink_metadata().is_ok();
    let certificates = (has_certificates || endpoint.skip_tls_verify)
        .then(|| Certificates { folder: has_certificates.then_some(certificates), needs_authority: false });
    let url = if endpoint.host.is_empty() { "unix://" } else { endpoint.host.trim() };
    Ok(Endpoint::new(url, &format!("Docker's context {shown}"), certificates))
}

/// Docker's own rule (`ValidateContextName`): `^[a-zA-Z0-9][a-zA-Z0-9_.+-]+$`.
fn is_context_name(name: &str) -> bool {
    name.len() >= 2
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || "_.+-".contains(c))
}

/// Where Podman's connection `name` leads, by its file of connections.
///
/// # Errors
/// There is no such connection, or the file is broken: a sentence.
pub(super) fn connection(file: &Path, name: &str) -> Result<Endpoint, String> {
    let shown = excerpt(name, 60);
    let from = format!("Podman's connection {shown}");
    let read: Option<Connections> = json(file).map_err(|why| format!("{from} (CONTAINER_CONNECTION): {why}"))?;
    let found = read.and_then(|mut read| read.connection.connections.remove(name));
    let Some(Destination { uri, authority, certificate }) = found else {
        return Err(format!("{from} is not found in {} (CONTAINER_CONNECTION)", file.display()));
    };
    let mut endpoint = podman(&uri, &from);
    if !authority.is_empty() || !certificate.is_empty() {
        endpoint.way = Way::Refused("the certificates of Podman's connections are not supported".to_owned());
    }
    Ok(endpoint)
}

/// The endpoint at an address as Podman reads it (`pkg/bindings/connection.go`).
pub(super) fn podman(url: &str, from: &str) -> Endpoint {
    let url = url.trim();
    let mut endpoint = Endpoint::new(url, from, None);
    endpoint.way = match url.split_once("://") {
        // Podman takes what follows unix:// for a path from / on.
        Some(("unix", path)) => Way::Socket(format!("/{}", path.trim_start_matches('/'))),
        Some(("tcp" | "ssh", _)) => way(url, None),
        _ => Way::Refused("Podman's addresses begin with unix://, tcp:// or ssh://".to_owned()),
    };
    endpoint
}

/// What a file of JSON says; `None` if there is no such file.
fn json<T: DeserializeOwned>(file: &Path) -> Result<Option<T>, String> {
    let wrong = |why: String| format!("{}: {}", file.display(), excerpt(&why, 200));
    let opened = match File::open(file) {
        Ok(opened) => opened,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => return Ok(None),
        Err(error) => return Err(wrong(error.to_string())),
    };
    if !opened.metadata().is_ok_and(|metadata| metadata.is_file()) {
        return Err(wrong("it is not a file".to_owned()));
    }
    let mut bytes = Vec::new();
    opened.take(LARGEST + 1).read_to_end(&mut bytes).map_err(|error| wrong(error.to_string()))?;
    if bytes.len() as u64 > LARGEST {
        return Err(wrong(format!("it is larger than {} MiB", LARGEST >> 20)));
    }
    serde_json::from_slice(&bytes).map(Some).map_err(|error| wrong(error.to_string()))
}
