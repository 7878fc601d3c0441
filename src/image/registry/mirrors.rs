//! An image of a registry that has mirrors: they are asked first, and it itself where they do not have the image.

use std::io::Read;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

use super::{Registry, RegistryOptions};
use crate::cache::Cache;
use crate::image::{Error, ErrorKind, Image, Layer, LayerBytes, Result, Source, SourceKind};
use crate::platform::PlatformChoice;
use crate::reference::Name;

/// A registry and its mirrors, for one image.
pub struct Mirrored {
    name: Name,
    options: RegistryOptions,
    cache: Option<Arc<Cache>>,
    /// The one that has the image.
    chosen: OnceLock<Registry>,
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
        Ok(Self { name: name.clone(), options: options.clone(), cache, chosen })
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
            let name = Name { registry: asked.clone(), ..self.name.clone() };
            let opened = Registry::open(&name, &self.options.of(&self.name.registry, &asked));
            let opened = opened.map(|registry| registry.keeping(self.cache.clone()));
            match opened.and_then(|registry| registry.images(choice).map(|images| (registry, images))) {
                // A mirror that does not have it, or does not answer, is no reason not to ask the next.
                Err(error) => failure = Some(error),
                Ok((registry, mut images)) => {
                    for image in &mut images {
                        image.name = Some(self.name.to_string());
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

    fn bytes_fetched(&self) -> Option<u64> {
        self.chosen.get().and_then(Source::bytes_fetched)
    }
}
