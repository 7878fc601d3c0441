//! Where a cache is: a folder, or a store that several machines share.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use reqwest::Url;

/// Where a cache is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A folder of this machine.
    Folder(PathBuf),
    /// A bucket or a container: `s3://bucket/prefix`, `gs://…`, `az://…`.
    Bucket(Url),
    /// A Redis server or one that speaks as it does: `redis://host:6379/0`, with TLS `rediss://…`.
    Redis(Url),
}

/// A text that names no place for a cache.
#[derive(Debug, thiserror::Error)]
#[error("it is neither a folder nor an address like s3://bucket/prefix, gs://…, az://…, redis://host or rediss://host")]
pub struct NotAPlace;

impl FromStr for Place {
    type Err = NotAPlace;

    fn from_str(text: &str) -> Result<Self, NotAPlace> {
        let Some((scheme, _)) = text.split_once("://") else {
            return if text.is_empty() { Err(NotAPlace) } else { Ok(Self::Folder(text.into())) };
        };
        let url = Url::parse(text).ok().filter(Url::has_host).ok_or(NotAPlace)?;
        match scheme {
            "s3" | "gs" | "az" => Ok(Self::Bucket(url)),
            "redis" | "rediss" => Ok(Self::Redis(url)),
            _ => Err(NotAPlace),
        }
    }
}

impl fmt::Display for Place {
    /// Without what an address may have of secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder(folder) => write!(f, "{}", folder.display()),
            Self::Bucket(url) | Self::Redis(url) => {
                let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
                write!(f, "{}://{}{port}{}", url.scheme(), url.host_str().unwrap_or_default(), url.path())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_shown_without_its_secrets() {
        let shown = |text: &str| text.parse::<Place>().map(|place| place.to_string());
        assert_eq!(shown("/var/cache").unwrap(), "/var/cache");
        assert_eq!(shown("cache").unwrap(), "cache");
        assert_eq!(shown("s3://bucket/ci/imglint?x=y").unwrap(), "s3://bucket/ci/imglint");
        assert_eq!(shown("rediss://user:secret@host:6380/1").unwrap(), "rediss://host:6380/1");
        for wrong in ["", "s3://", "http://host/", "ftp://host/"] {
            assert!(shown(wrong).is_err(), "{wrong}");
        }
    }
}
