//! Foreign layers: fetched from where they come from, if that is one of few places, and only as a blob of a registry.

use reqwest::Url;

use super::{Registry, RegistryOptions};
use crate::digest::Digest;
use crate::image::{Error, ErrorKind, Layer, Result};
use crate::printable::excerpt;
use crate::reference::Name;

/// The only hosts that are asked: an image could name any other, even one of the network that imglint runs in.
const HOSTS: [&str; 1] = ["mcr.microsoft.com"];

/// A layer's place of origin, opened.
#[derive(Debug)]
pub struct ForeignLayer {
    /// The registry that it comes from.
    pub registry: Registry,
    /// The place's host.
    pub host: String,
}

/// Opens the first of a layer's `urls` that is allowed. The user's credentials and client certificate do not go there.
///
/// # Errors
/// None of them is allowed, or the registry there cannot be opened.
pub fn foreign(layer: &Layer, options: &RegistryOptions) -> Result<ForeignLayer> {
    let digest = layer.digest.as_ref();
    let Some((name, host)) = layer.urls.iter().find_map(|url| allowed(url, digest?)) else {
        let urls = excerpt(&layer.urls.join(", "), 300);
        let text = format!("layer {}: its urls lead to no place that is followed ({urls})", layer.index);
        return Err(Error::new(ErrorKind::Unsupported, text));
    };
    let options = RegistryOptions {
        auth_file: None,
        client_cert: None,
        client_key: None,
        insecure: Vec::new(),
        ..options.clone()
    };
    Ok(ForeignLayer { registry: Registry::open(&name, &options)?, host })
}

/// What `https://HOST/v2/REPOSITORY/blobs/DIGEST` names, if the host is one of [`HOSTS`] and the digest is the layer's.
fn allowed(url: &str, digest: &Digest) -> Option<(Name, String)> {
    let parsed = Url::parse(url).ok()?;
    let host = parsed.host_str()?;
    let is_plain = parsed.username().is_empty() && parsed.password().is_none() && parsed.query().is_none();
    if parsed.scheme() != "https" || !HOSTS.contains(&host) || parsed.port().is_some() || !is_plain {
        return None;
    }
    let (repository, named) = parsed.path().strip_prefix("/v2/")?.rsplit_once("/blobs/")?;
    let name = format!("{host}/{repository}@{digest}").parse().ok()?;
    (named == digest.to_string()).then(|| (name, host.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_blobs_of_few_hosts_are_followed() {
        let digest = Digest::of(b"layer");
        let followed = |url: &str| allowed(&url.replace("DIGEST", &digest.to_string()), &digest).is_some();
        assert!(followed("https://mcr.microsoft.com/v2/windows/servercore/blobs/DIGEST"));
        for url in [
            "http://mcr.microsoft.com/v2/windows/servercore/blobs/DIGEST",
            "https://mcr.microsoft.com:8443/v2/windows/servercore/blobs/DIGEST",
            "https://user:secret@mcr.microsoft.com/v2/windows/servercore/blobs/DIGEST",
            "https://mcr.microsoft.com/v2/windows/servercore/blobs/DIGEST?to=elsewhere",
            "https://mcr.microsoft.com.evil.example/v2/windows/servercore/blobs/DIGEST",
            "https://169.254.169.254/v2/windows/servercore/blobs/DIGEST",
            "https://go.microsoft.com/fwlink/?linkid=873595",
            "https://mcr.microsoft.com/v2/windows/servercore/blobs/sha256:0000",
            "file:///etc/passwd",
            "",
        ] {
            assert!(!followed(url), "{url}");
        }
    }
}
