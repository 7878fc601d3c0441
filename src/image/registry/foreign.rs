//! Foreign layers: fetched from where they come from, if that is one of few places, and only as a blob of a registry.

use reqwest::Url;

use super::reach::Reach;
use super::{Registry, RegistryOptions};
use crate::digest::Digest;
use crate::image::{Error, ErrorKind, Layer, Result};
use crate::printable::excerpt;
use crate::reference::Name;

/// A layer's place of origin, opened.
#[derive(Debug)]
pub struct ForeignLayer {
    /// The registry that it comes from.
    pub registry: Registry,
    /// The place's host.
    pub host: String,
}

/// Opens the first of a layer's `urls` that is allowed: on Microsoft's registry, or on one of the hosts `named`
/// (`HOST[:PORT]`) by the user. The user's credentials and client certificate do not go there, and redirects do not leave
/// these hosts.
///
/// # Errors
/// None of them is allowed, or the registry there cannot be opened.
pub fn foreign(layer: &Layer, named: &[String], options: &RegistryOptions) -> Result<ForeignLayer> {
    let (digest, reach) = (layer.digest.as_ref(), Reach::of_foreign_layers(named));
    let Some((name, host)) = layer.urls.iter().find_map(|url| allowed(url, digest?, &reach)) else {
        let urls = excerpt(&layer.urls.join(", "), 300);
        let text = format!("layer {}: its urls lead to no place that is followed ({urls})", layer.index);
        return Err(Error::new(ErrorKind::Unsupported, text));
    };
    let options = RegistryOptions {
        auth_file: None,
        client_cert: None,
        client_key: None,
        insecure: Vec::new(),
        reach,
        ..options.clone()
    };
    Ok(ForeignLayer { registry: Registry::open(&name, &options)?, host })
}

/// What `https://HOST[:PORT]/v2/REPOSITORY/blobs/DIGEST` names, if the host is within reach as an origin and the digest is
/// the layer's.
fn allowed(url: &str, digest: &Digest, reach: &Reach) -> Option<(Name, String)> {
    let parsed = Url::parse(url).ok()?;
    let is_plain = parsed.username().is_empty() && parsed.password().is_none() && parsed.query().is_none();
    if !reach.is_origin(&parsed) || !is_plain {
        return None;
    }
    let host = super::hosts::shown(&parsed);
    let (repository, named) = parsed.path().strip_prefix("/v2/")?.rsplit_once("/blobs/")?;
    let name = format!("{host}/{repository}@{digest}").parse().ok()?;
    (named == digest.to_string()).then_some((name, host))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_blobs_of_few_hosts_are_followed() {
        let digest = Digest::of(b"layer");
        let named = ["mirror.example".to_owned(), "other.example:8443".to_owned()];
        let followed_with = |url: &str, named: &[String]| {
            let url = url.replace("DIGEST", &digest.to_string());
            allowed(&url, &digest, &Reach::of_foreign_layers(named)).is_some()
        };
        let followed = |url: &str| followed_with(url, &[]);
        assert!(followed("https://mcr.microsoft.com/v2/windows/servercore/blobs/DIGEST"));
        for url in [
            "http://mcr.microsoft.com/v2/windows/servercore/blobs/DIGEST",
            "https://mcr.microsoft.com:8443/v2/windows/servercore/blobs/DIGEST",
            "https://user:secret@mcr.microsoft.com/v2/windows/servercore/blobs/DIGEST",
            "https://mcr.microsoft.com/v2/windows/servercore/blobs/DIGEST?to=elsewhere",
            "https://mcr.microsoft.com.evil.example/v2/windows/servercore/blobs/DIGEST",
            "https://westeurope.data.mcr.microsoft.com/v2/windows/servercore/blobs/DIGEST",
            "https://169.254.169.254/v2/windows/servercore/blobs/DIGEST",
            "https://go.microsoft.com/fwlink/?linkid=873595",
            "https://mcr.microsoft.com/v2/windows/servercore/blobs/sha256:0000",
            "file:///etc/passwd",
            "",
        ] {
            assert!(!followed(url), "{url}");
        }
        for (url, expected) in [
            ("https://mirror.example/v2/windows/servercore/blobs/DIGEST", true),
            ("https://other.example:8443/v2/windows/servercore/blobs/DIGEST", true),
            ("https://other.example/v2/windows/servercore/blobs/DIGEST", false),
            ("http://mirror.example/v2/windows/servercore/blobs/DIGEST", false),
        ] {
            assert_eq!((followed_with(url, &named), followed(url)), (expected, false), "{url}");
        }
    }
}
