//! The HTTP clients: which certificates are trusted and shown, and which way requests go.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use reqwest::blocking::Client;
use reqwest::redirect::Policy;
use reqwest::{Certificate, Identity, Url};

use super::options::RegistryOptions;
use super::{hosts, proxies};
use crate::digest::{Algorithm, Digest, Hasher};
use crate::image::{Error, ErrorKind, Result};
use crate::small_file;

/// The largest file of certificates, in bytes; those of whole systems have some hundred KiB.
const LARGEST_PEM: u64 = 16 << 20;

/// Clients for the hosts that one image's registry leads to, made when they are first needed.
pub(super) struct Clients {
    options: RegistryOptions,
    /// The registry's host, with port, which the client certificate belongs to.
    home: String,
    authorities: Vec<Certificate>,
    identity: Option<Identity>,
    made: Mutex<HashMap<Kind, Client>>,
}

/// What makes one client differ from another.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Kind {
    verify: bool,
    identity: bool,
    proxy: bool,
}

impl Clients {
    /// Reads the certificates for `registry`.
    ///
    /// # Errors
    /// A certificate file that is missing or holds none.
    pub(super) fn new(registry: &str, options: &RegistryOptions) -> Result<Self> {
        crate::tls::ready();
        let mut authorities = Vec::new();
        for path in &options.ca {
            authorities.extend(certificates_at(path)?);
        }
        let pair = options.client_cert.clone().zip(options.client_key.clone());
        if pair.is_none() && (options.client_cert.is_some() || options.client_key.is_some()) {
            let what = "a client certificate needs its key and a key its certificate (--tls-cert and --tls-key)";
            return Err(Error::new(ErrorKind::Unsupported, what));
        }
        let mut identity = pair.map(|(certificate, key)| self::identity(&certificate, &key)).transpose()?;
        if let Some(folder) = &options.places.certificates {
            for path in files_in(&folder.join(registry)) {
                match path.extension().and_then(|extension| extension.to_str()) {
                    Some("crt") => authorities.extend(if_allowed(certificates(&path))?.into_iter().flatten()),
                    Some("cert") if identity.is_none() => {
                        identity = if_allowed(self::identity(&path, &path.with_extension("key")))?;
                    }
                    _ => {}
                }
            }
        }
        let home = hosts::api_host(registry).to_owned();
        Ok(Self { options: options.clone(), home, authorities, identity, made: Mutex::default() })
    }

    /// Whether a URL may be asked.
    pub(super) fn reaches(&self, url: &Url) -> bool {
        self.options.reach.allows(url)
    }

    /// Whether a URL leads to the registry itself, not to a host that it names.
    fn is_home(&self, url: &Url) -> bool {
        let home = Url::parse(&format!("{}://{}/", url.scheme(), self.home));
        home.is_ok_and(|home| home.origin() == url.origin())
    }

    /// Whether a URL's host need not prove who it is.
    pub(super) fn is_insecure(&self, url: &Url) -> bool {
        hosts::is_insecure(url, &self.options.insecure)
    }

    /// How long a connection may be silent.
    pub(super) fn stall(&self) -> Duration {
        self.options.stall
    }

    /// The time in which a document must come.
    pub(super) fn document_time(&self) -> Duration {
        self.options.document_time
    }

    /// The client for a URL. The client certificate is shown to the registry itself only, and only where `identity` says
    /// so: neither to its token server on another host nor to hosts that it redirects to.
    pub(super) fn client(&self, url: &Url, identity: bool) -> Result<Client> {
        // Plain HTTP has nothing to verify, and must work on machines without any trusted certificate.
        self.of_kind(url, url.scheme() == "https" && !self.is_insecure(url), identity)
    }

    /// The client that finds out which scheme a host speaks, and tells it nothing: reading the machine's certificates
    /// takes longer than the question.
    pub(super) fn greeting(&self, url: &Url) -> Result<Client> {
        self.of_kind(url, false, true)
    }

    fn of_kind(&self, url: &Url, verify: bool, identity: bool) -> Result<Client> {
        let kind = Kind {
            verify,
            identity: identity && self.identity.is_some() && url.scheme() == "https" && self.is_home(url),
            proxy: !hosts::is_loopback(url),
        };
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = made.get(&kind) {
            return Ok(client.clone());
        }
        let client = self.make(kind)?;
        made.insert(kind, client.clone());
        Ok(client)
    }

    fn make(&self, kind: Kind) -> Result<Client> {
        // Only HTTP/1.1: in one HTTP/2 connection a layer that is read slowly would hold up the others.
        let mut builder = Client::builder()
            .http1_only()
            .user_agent(concat!("imglint/", env!("CARGO_PKG_VERSION")))
            .redirect(Policy::none())
            .referer(false)
            .retry(reqwest::retry::never())
            .connect_timeout(self.options.connect)
            // For the head of an answer, and for each read of its body.
            .timeout(self.options.stall);
        if kind.verify {
            builder = builder.tls_certs_merge(self.authorities.iter().cloned());
        } else {
            builder = builder.tls_danger_accept_invalid_certs(true);
        }
        if let (true, Some(identity)) = (kind.identity, &self.identity) {
            builder = builder.identity(identity.clone());
        }
        if kind.proxy {
            proxies::verify()?;
        } else {
            builder = builder.no_proxy();
        }
        if let Some(resolver) = self.options.reach.resolver() {
            builder = builder.dns_resolver(resolver);
        }
        builder.build().map_err(|error| {
            let why = super::trouble::innermost(&error);
            Error::new(
                ErrorKind::Unreachable,
                format!("TLS cannot be set up: {why} (--tls-ca names a file with certificates to trust)"),
            )
        })
    }
}

/// What decides who is believed to be a registry, one of its mirrors, or a host of these URLs: the digest of all
/// certificates that are read for them; nothing if a host need not prove who it is.
#[must_use]
pub fn trust(registry: &str, urls: &[String], options: &RegistryOptions) -> Option<Digest> {
    let mut hasher = Hasher::new(Algorithm::Sha256);
    let elsewhere = urls.iter().filter_map(|url| Url::parse(url).ok()?.host_str().map(str::to_owned));
    let mirrors = options.asked_for(registry).into_iter();
    if mirrors.clone().any(|mirror| mirror.is_plain) {
        return None;
    }
    for asked in mirrors.map(|mirror| mirror.host).chain(elsewhere) {
        let asked = asked.as_str();
        let options = options.of(registry, asked);
        if !options.insecure.is_empty() {
            return None;
        }
        let folder = options.places.certificates.as_ref().map(|folder| folder.join(asked));
        let files = |path: &PathBuf| if path.is_dir() { files_in(path) } else { vec![path.clone()] };
        for file in options.ca.iter().chain(&options.client_cert).chain(&folder).flat_map(files) {
            hasher.update(Digest::of(&read(&file).unwrap_or_default()).to_string().as_bytes());
        }
        hasher.update(asked.as_bytes());
    }
    Some(hasher.finish())
}

/// Nothing for a file that may not be read: those in Docker's folder can be meant for its daemon alone.
fn if_allowed<T>(outcome: Result<T>) -> Result<Option<T>> {
    match outcome {
        Err(error) if error.kind() == ErrorKind::Denied => Ok(None),
        other => other.map(Some),
    }
}

/// The certificates of a PEM file, or of all PEM files of a folder.
fn certificates_at(path: &Path) -> Result<Vec<Certificate>> {
    if !path.is_dir() {
        return certificates(path);
    }
    let mut all = Vec::new();
    for file in files_in(path) {
        let extension = file.extension().and_then(|extension| extension.to_str());
        if matches!(extension, Some("pem" | "crt" | "cer")) {
            all.extend(certificates(&file)?);
        }
    }
    match all.is_empty() {
        true => Err(Error::broken(format!("{} holds no .pem, .crt or .cer file", path.display()))),
        false => Ok(all),
    }
}

fn certificates(path: &Path) -> Result<Vec<Certificate>> {
    let pem = read(path)?;
    match Certificate::from_pem_bundle(&pem) {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        _ => Err(Error::broken(format!("{} holds no certificate in PEM form", path.display()))),
    }
}

fn identity(certificate: &Path, key: &Path) -> Result<Identity> {
    let mut pem = read(certificate)?;
    pem.push(b'\n');
    pem.extend(read(key)?);
    Identity::from_pem(&pem).map_err(|_| {
        let (certificate, key) = (certificate.display(), key.display());
        Error::broken(format!("{certificate} and {key} are no client certificate with its key in PEM form"))
    })
}

fn read(path: &Path) -> Result<Vec<u8>> {
    small_file::read(path, LARGEST_PEM, small_file::Kind::Any)
        .map_err(|error: io::Error| Error::from_io(&path.display().to_string(), error))
}

/// The files of a folder in the order of their names; none if it cannot be listed, which is usual for Docker's folder.
fn files_in(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    files.sort();
    files
}
