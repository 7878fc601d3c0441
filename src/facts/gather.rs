//! Gathers all facts about an image, each by its collector, and says of the rest why it could not be had.

use std::sync::Arc;

use super::programs::{self, Surroundings, Wanted};
use super::{
    ConfigurationFacts, Fact, Facts, ManifestFact, PlatformFact, ReferenceFact, SizeFacts, commands, configuration,
    libc, os_release, system_files, user,
};
use crate::image::{Image, ManifestKind, SourceKind};
use crate::reference::Name;
use crate::rootfs::Rootfs;

/// Whether an image's layers say anything about it that imglint understands. An image that names no operating system
/// is one for Linux.
#[must_use]
pub fn needs_layers(image: &Image) -> bool {
    image.configuration.is_some() && matches!(image.platform.os.as_str(), "linux" | "")
}

/// Gathers the facts. `name` is what the image is pulled by, where there is such a name; `rootfs` are its layers, if
/// [`needs_layers`] asked for them.
#[must_use]
pub fn gather(
    image: &Image,
    source: SourceKind,
    name: Option<&Name>,
    rootfs: Option<&Rootfs>,
    wanted: &Wanted,
) -> Facts {
    let mut facts = Facts {
        reference: name.map_or_else(
            || Fact::not_applicable("the image was not named as a registry names it"),
            |name| Fact::Known(reference(name)),
        ),
        platform: Fact::Known(PlatformFact { is: image.platform.clone(), offered: image.offered.clone() }),
        manifest: match image.manifest {
            ManifestKind::None => Fact::not_applicable("there is no manifest here"),
            kind => Fact::Known(ManifestFact { kind, media_types: image.media_types.clone() }),
        },
        size: sizes(image, source, rootfs),
        ..Facts::default()
    };
    let Some(configured) = &image.configuration else {
        nothing_inside(&mut facts, "a schema 1 manifest is not read further, because engines refuse it");
        facts.platform = Fact::not_applicable("a schema 1 manifest is not read further, because engines refuse it");
        return facts;
    };
    let settings = configuration::configuration(configured);
    match rootfs {
        Some(rootfs) => inside(&mut facts, image, &settings, rootfs, wanted),
        None => nothing_inside(&mut facts, &format!("it is an image for {}", image.platform.os)),
    }
    facts.configuration = Fact::Known(settings);
    facts
}

fn inside(facts: &mut Facts, image: &Image, settings: &ConfigurationFacts, rootfs: &Rootfs, wanted: &Wanted) {
    let path = configuration::search_path(settings);
    facts.os_release = os_release::os_release(rootfs);
    facts.ca_certificates = Fact::Known(system_files::ca_certificates(rootfs, settings));
    facts.time_zones = Fact::Known(system_files::time_zones(rootfs, settings));
    facts.user = user::user(&settings.user, rootfs);
    // Engines take such an image for one of their own architecture, whichever that is.
    if image.platform.architecture.is_empty() {
        let why = "the configuration does not say for which architecture the image is";
        facts.libc = Fact::unknown(why);
        facts.commands = Fact::unknown(why);
        facts.programs = Fact::unknown(why);
    } else {
        facts.libc = libc::libc(rootfs, &image.platform, &facts.os_release);
        facts.commands = Fact::Known(commands::commands(rootfs, &path, &image.platform));
        let architecture = &image.platform.architecture;
        let mounted = wanted.payload.as_ref().map(|payload| rootfs.with_mount(Arc::clone(&payload.index)));
        let rootfs = mounted.as_ref().unwrap_or(rootfs);
        let around = Surroundings::new(rootfs, architecture, &facts.libc, settings, facts.user.known());
        facts.programs = Fact::Known(programs::programs(&around, wanted));
    }
    facts.path = Fact::Known(path);
}

fn nothing_inside(facts: &mut Facts, why: &str) {
    facts.os_release = Fact::not_applicable(why);
    facts.libc = Fact::not_applicable(why);
    facts.configuration = Fact::not_applicable(why);
    facts.user = Fact::not_applicable(why);
    facts.path = Fact::not_applicable(why);
    facts.commands = Fact::not_applicable(why);
    facts.ca_certificates = Fact::not_applicable(why);
    facts.time_zones = Fact::not_applicable(why);
    facts.programs = Fact::not_applicable(why);
}

fn reference(name: &Name) -> ReferenceFact {
    ReferenceFact {
        registry: name.registry.clone(),
        repository: name.repository.clone(),
        tag: name.tag.clone(),
        digest: name.digest.as_ref().map(ToString::to_string),
    }
}

fn sizes(image: &Image, source: SourceKind, rootfs: Option<&Rootfs>) -> SizeFacts {
    let is_compressed = |media_type: &str| media_type.ends_with("gzip") || media_type.ends_with("zstd");
    let compressed_bytes = match source {
        SourceKind::Rootfs => Fact::not_applicable("a folder is not pulled"),
        // What the registry holds is what a pull transfers.
        SourceKind::Registry => Fact::Known(image.stored_bytes()),
        _ if !image.layers.is_empty() && image.layers.iter().all(|layer| is_compressed(&layer.media_type)) => {
            Fact::Known(image.stored_bytes())
        }
        _ => Fact::unknown("the layers are not compressed here"),
    };
    SizeFacts {
        compressed_bytes,
        uncompressed_bytes: rootfs
            .map_or_else(|| Fact::unknown("the layers were not read"), |rootfs| Fact::Known(rootfs.bytes())),
        layers: image.layers.len(),
    }
}
