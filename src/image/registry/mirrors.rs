//! An image of a registry that has mirrors: they are asked first, and it itself where they do not have the image.

use std::fmt;
use std::io::Read;
use std::ops::Range;
use std::str::FromStr;
use std::sync::{Arc, OnceLock};

use super::{Registry, RegistryOptions};
use crate::cache::Cache;
use crate::image::{Error, ErrorKind, Image, Layer, LayerBytes, Result, Source, SourceKind};
use crate::platform::PlatformChoice;
use crate::printable::excerpt;
use crate::reference::Name;

/// A registry that is asked in place of another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mirror {
    /// `HOST[:PORT]`.
    pub host: String,
    /// The path below which it has the other's repositories; empty if they are called the same.
    pub below: String,
    /// Whether it speaks plain HTTP.
    pub is_plain: bool,
}

impl Mirror {
    /// What the image is called there.
    fn name(&self, name: &Name) -> Name {
        let repository = match self.below.as_str() {
            "" => name.repository.clone(),
            below => format!("{below}/{}", name.repository),
        };
        Name { registry: self.host.clone(), repository, ..name.clone() }
    }
}

impl fmt::Display for Mirror {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let slash = if self.below.is_empty() { "" } else { "/" };
        write!(f, "{}{slash}{}", self.host, self.below)
    }
}

impl FromStr for Mirror {
    type Err = String;

    /// Reads `[http[s]://]HOST[:PORT][/PATH]`, as Docker, containerd and Podman have mirrors.
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = |why: &str| format!("{:?} is not a mirror: {why}", excerpt(text, 200));
        let (scheme, rest) = text.split_once("://").map_or((None, text), |(scheme, rest)| (Some(scheme), rest));
        let is_plain = match scheme {
            None | Some("https") => false,
            Some("http") => true,
            Some(_) => return Err(wrong("it can begin with https:// or http://")),
        };
        let rest = rest.trim_end_matches('/');
        let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
        // The API's own path, which containerd's mirrors may have.
        let below = if path == "v2" { "" } else { path.strip_prefix("v2/").unwrap_or(path) };
        // A name of it shows whether both parts are of the right form.
        let named = format!("{host}/{}", if below.is_empty() { "x" } else { below });
        match named.parse::<Name>() {
            Ok(name) if name.registry == host && name.tag.is_none() && name.digest.is_none() => {
                Ok(Self { host: host.to_owned(), below: below.to_owned(), is_plain })
            }
            _ => Err(wrong(
                "expected HOST[:PORT] with a dot or a port, and a path if it has one, such as mirror.example/hub",
            )),
        }
    }
}

/// A registry and its mirrors, for one image.
pub struct Mirrored {
    name: Name,
    options: RegistryOptions,
    cache: Option<Arc<Cache>>,
    /// The one that has the image.
    chosen: OnceLock<Registry>,
    /// Which mirror that is, if it is one.
    answered: OnceLock<String>,
}

impl Mirrored {
    /// Gets ready to read the image `name`.
    ///
    /// # Errors
    /// As [`Registry::open`], for a registry without mirrors.
    pub fn open(name: &Name, options: &RegistryOptions, cache: Option<Arc<Cache>>) -> Result<Self> {
        let chosen = OnceLock::new();
        if options.asked_for(&name.registry).len() == 1 {
            let registry = Registry::open(name, &options.of(&name.registry, &name.registry))?;
            let _ = chosen.set(registry.keeping(cache.clone()));
        }
        Ok(Self { name: name.clone(), options: options.clone(), cache, chosen, answered: OnceLock::new() })
    }

    fn chosen(&self) -> Result<&Registry> {
        self.chosen.get().ok_or_else(|| Error::new(ErrorKind::Unreachable, "no registry has been asked yet"))
    }
}

impl Source for Mirrored {
    fn kind(&self) -> SourceKind {
        SourceKind::Registry
    }

    fn images(&self, choice: &PlatformChoice) -> Result<Vec<Image>> {
        if let Some(registry) = self.chosen.get() {
            return registry.images(choice);
        }
        let mut failure = None;
        for asked in self.options.asked_for(&self.name.registry) {
            let is_mirror = asked.host != self.name.registry || !asked.below.is_empty();
            let mut options = self.options.of(&self.name.registry, &asked.host);
            options.insecure.extend(asked.is_plain.then(|| asked.host.clone()));
            let opened = Registry::open(&asked.name(&self.name), &options);
            let opened = opened.map(|registry| registry.keeping(self.cache.clone()));
            match opened.and_then(|registry| registry.images(choice).map(|images| (registry, images))) {
                // A mirror that does not have it, or does not answer, is no reason not to ask the next.
                Err(error) => failure = Some(error),
                Ok((registry, mut images)) => {
                    for image in &mut images {
                        image.name = Some(self.name.to_string());
                    }
                    if is_mirror {
                        let _ = self.answered.set(asked.to_string());
                    }
                    let _ = self.chosen.set(registry);
                    return Ok(images);
                }
            }
        }
        Err(failure.unwrap_or_else(|| Error::not_found(format!("{}: no registry to ask", self.name))))
    }

    fn open_layer(&self, layer: &Layer) -> Result<LayerBytes> {
        self.chosen()?.open_layer(layer)
    }

    fn open_part(&self, layer: &Layer, part: Range<u64>) -> Result<Box<dyn Read + Send>> {
        self.chosen()?.open_part(layer, part)
    }

    fn mirror(&self) -> Option<String> {
        self.answered.get().cloned()
    }

    fn bytes_fetched(&self) -> Option<u64> {
        self.chosen.get().and_then(Source::bytes_fetched)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mirror_may_be_a_host_a_url_or_have_a_path() {
        let name: Name = "alpine:3.20".parse().unwrap();
        for (text, expected) in [
            ("mirror.example", "mirror.example/library/alpine:3.20"),
            ("mirror.example:5000/hub", "mirror.example:5000/hub/library/alpine:3.20"),
            ("https://mirror.example/", "mirror.example/library/alpine:3.20"),
            ("https://mirror.example/v2/a/b/", "mirror.example/a/b/library/alpine:3.20"),
            ("http://localhost:5000", "localhost:5000/library/alpine:3.20"),
        ] {
            let mirror: Mirror = text.parse().unwrap();
            assert_eq!(mirror.name(&name).to_string(), expected, "{text}");
            assert_eq!(mirror.is_plain, text.starts_with("http:"), "{text}");
        }
    }

    #[test]
    fn what_is_no_mirror_is_refused() {
        for text in [
            "",
            "https://",
            "ftp://a.example",
            "a.example/UPPER",
            "a.example/x:1",
            "a.example//x",
            "word",
            "u:p@a.example",
        ] {
            let error = text.parse::<Mirror>().unwrap_err();
            assert!(error.contains("is not a mirror"), "{text}: {error}");
        }
    }
}
