//! Gathers all facts about an image, each by its collector, and says of the rest why it could not be had.

use std::sync::Arc;

use super::commands::CommandSearch;
use super::programs::{self, Surroundings, Wanted};
use super::steps::Available;
use super::{
    ConfigurationFacts, Fact, Facts, ManifestFact, PlatformFact, ReferenceFact, SearchPath, SizeFacts, configuration,
    java, libc, off_path, os_release, search_path, shell_files, steps, system_files, user, windows,
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
        facts.windows = Fact::not_applicable("a schema 1 manifest is not read further, because engines refuse it");
        facts.platform = Fact::not_applicable("a schema 1 manifest is not read further, because engines refuse it");
        return facts;
    };
    facts.windows = windows::windows_facts(image, configured);
    let settings = configuration::configuration(configured);
    match rootfs {
        Some(rootfs) => inside(&mut facts, image, &settings, rootfs, wanted),
        None => nothing_inside(&mut facts, &format!("it is an image for {}", image.platform.os)),
    }
    facts.configuration = Fact::Known(settings);
    facts
}

fn inside(facts: &mut Facts, image: &Image, settings: &ConfigurationFacts, rootfs: &Rootfs, wanted: &Wanted) {
    let mut path = configuration::search_path(settings);
    facts.os_release = os_release::os_release(rootfs);
    facts.ca_certificates = Fact::Known(system_files::ca_certificates(rootfs, settings));
    facts.time_zones = Fact::Known(system_files::time_zones(rootfs, settings));
    facts.user = user::user(&settings.user, rootfs);
    // Engines take such an image for one of their own architecture, whichever that is.
    if image.platform.architecture.is_empty() {
        let why = "the configuration does not say for which architecture the image is";
        facts.libc = Fact::unknown(why);
        facts.commands = Fact::unknown(why);
        facts.off_path = Fact::unknown(why);
        facts.shell_files = Fact::unknown(why);
        facts.java_home = Fact::unknown(why);
        facts.steps = Fact::unknown(why);
        facts.programs = Fact::unknown(why);
    } else {
        facts.libc = libc::libc(rootfs, &image.platform, &facts.os_release);
        let architecture = &image.platform.architecture;
        tools(
            facts,
            &mut path,
            &Surroundings::new(rootfs, architecture, &facts.libc.clone(), settings, facts.user.clone().known()),
        );
        let mounted = wanted.payload.as_ref().map(|payload| rootfs.with_mount(Arc::clone(&payload.index)));
        let rootfs = mounted.as_ref().unwrap_or(rootfs);
        let around = Surroundings::new(rootfs, architecture, &facts.libc, settings, facts.user.known());
        facts.programs = Fact::Known(programs::programs(&around, wanted));
    }
    facts.path = Fact::Known(path);
}

/// What is on `PATH`, what is not, and what that means for steps.
fn tools(facts: &mut Facts, path: &mut SearchPath, around: &Surroundings<'_>) {
    search_path::look_at_entries(path, around.rootfs, around.user);
    let search = CommandSearch::new(around, path);
    let commands = search.all();
    let user = facts.user.known().and_then(|user| user.name.clone());
    let shell_files = shell_files::shell_files(around, path, user.as_deref());
    let off_path = off_path::off_path(around, path, &commands, &shell_files);
    let java_home = java::java_home(around, &search);
    let available =
        Available { around, path, commands: &commands, search: &search, off_path: &off_path, java_home: &java_home };
    facts.steps = steps::all(&available);
    facts.commands = Fact::Known(commands);
    facts.off_path = Fact::Known(off_path);
    facts.shell_files = Fact::Known(shell_files.files);
    facts.java_home = java_home;
}

fn nothing_inside(facts: &mut Facts, why: &str) {
    facts.os_release = Fact::not_applicable(why);
    facts.libc = Fact::not_applicable(why);
    facts.configuration = Fact::not_applicable(why);
    facts.user = Fact::not_applicable(why);
    facts.path = Fact::not_applicable(why);
    facts.commands = Fact::not_applicable(why);
    facts.off_path = Fact::not_applicable(why);
    facts.shell_files = Fact::not_applicable(why);
    facts.java_home = Fact::not_applicable(why);
    facts.steps = Fact::not_applicable(why);
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
