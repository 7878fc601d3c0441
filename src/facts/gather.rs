//! Gathers all facts about an image, each by its collector, and says of the rest why it could not be had.

use std::borrow::Cow;
use std::sync::Arc;

use super::commands::CommandSearch;
use super::programs::{self, Surroundings, Wanted};
use super::steps::Available;
use super::{
    ConfigurationFacts, Disputed, Fact, Facts, ManifestFact, PlatformFact, ReferenceFact, SearchPath, Setting,
    SizeFacts, bash_start, configuration, java, libc, off_path, os_release, search_path, shell_files, start, steps,
    system_files, user, windows,
};
use crate::image::{Image, Layer, ManifestKind, SourceKind, TELLING};
use crate::platform::Platform;
use crate::reference::Name;
use crate::rootfs::Rootfs;
use crate::rootfs::windows::WindowsFiles;
use crate::verdict::Place;

/// How an image's layers are looked into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layers {
    /// They say nothing that imglint understands.
    None,
    /// All of them, as a [`Rootfs`]. An image that names no operating system is one for Linux.
    All,
    /// Those that are needed, as [`WindowsFiles`].
    AsNeeded,
}

impl Layers {
    /// Which of an image's layers are looked into.
    #[must_use]
    pub fn of(image: &Image) -> Self {
        match image.platform.os.as_str() {
            _ if image.configuration.is_none() => Self::None,
            "linux" | "" => Self::All,
            "windows" => Self::AsNeeded,
            _ => Self::None,
        }
    }
}

/// What was read of an image's layers.
#[derive(Clone, Copy, Debug)]
pub enum Content<'a> {
    /// Nothing, because they would say nothing.
    None,
    /// Nothing, and why.
    OutOfReach(&'a str),
    /// All.
    Linux(&'a Rootfs),
    /// What was needed so far.
    Windows(&'a WindowsFiles),
}

/// Gathers the facts. `name` is what the image is pulled by, where there is such a name; `content` is what was read of
/// the layers that [`Layers::of`] asks for.
#[must_use]
pub fn gather(image: &Image, source: SourceKind, name: Option<&Name>, content: Content<'_>, wanted: &Wanted) -> Facts {
    let told = match content {
        Content::Linux(rootfs) if image.platform.architecture.is_empty() => architecture(rootfs),
        _ => None,
    };
    let image = &match told {
        Some(architecture) => {
            let platform = Platform { architecture: architecture.to_owned(), ..image.platform.clone() };
            Cow::Owned(Image { platform, ..image.clone() })
        }
        None => Cow::Borrowed(image),
    };
    let mut facts = Facts {
        reference: name.map_or_else(
            || Fact::not_applicable("the image was not named as a registry names it"),
            |name| Fact::Known(reference(name)),
        ),
        platform: Fact::Known(PlatformFact {
            is: image.platform.clone(),
            offered: image.offered.clone(),
            is_one_of_all: image.is_one_of_all,
        }),
        manifest: match image.manifest {
            ManifestKind::None => Fact::not_applicable("there is no manifest here"),
            kind => Fact::Known(ManifestFact { kind, media_types: image.media_types.clone() }),
        },
        size: sizes(image, source, content),
        ..Facts::default()
    };
    let Some(configured) = &image.configuration else {
        let nothing = Nothing::NotApplicable("a schema 1 manifest is not read further, because engines refuse it");
        nothing.inside(&mut facts);
        facts.configuration = nothing.fact();
        facts.windows = nothing.fact();
        facts.platform = nothing.fact();
        return facts;
    };
    facts.windows = Fact::not_applicable("it is no Windows image");
    let settings = configuration::configuration(configured);
    let why = format!("it is an image for {}", image.platform.os);
    match content {
        Content::Linux(rootfs) => inside(&mut facts, image, &settings, rootfs, wanted),
        Content::Windows(files) => {
            Nothing::NotApplicable(&why).inside(&mut facts);
            let found = windows::collect(image, configured, &settings, files, wanted);
            facts.start_refused = found.start_refused;
            facts.windows = Fact::Known(found.windows);
            facts.commands = found.commands;
            facts.steps = found.steps;
        }
        Content::None => Nothing::NotApplicable(&why).inside(&mut facts),
        Content::OutOfReach(why) => Nothing::Unknown(why).inside(&mut facts),
    }
    facts.configuration = Fact::Known(settings);
    facts
}

/// The architecture of the first program that tells it, for an image that does not: engines take such an image for one of
/// their own architecture, and then its programs decide.
fn architecture(rootfs: &Rootfs) -> Option<&'static str> {
    TELLING.iter().find_map(|path| rootfs.find(path).ok()?.detail()?.elf.as_ref()?.architecture())
}

fn inside(facts: &mut Facts, image: &Image, settings: &ConfigurationFacts, rootfs: &Rootfs, wanted: &Wanted) {
    let mut path = configuration::search_path(settings);
    let disputed = rootfs.disputed().map(|(layer, statement)| Disputed { layer, statement: statement.to_owned() });
    facts.disputed_layers = Fact::Known(disputed.collect());
    facts.os_release = os_release::os_release(rootfs);
    facts.ca_certificates = Fact::Known(system_files::ca_certificates(rootfs, settings));
    facts.time_zones = Fact::Known(system_files::time_zones(rootfs, settings));
    let given = wanted.user.as_ref().map(|user| Setting { value: user.clone(), place: Place::field("--set user") });
    facts.user = user::user(given.as_ref().unwrap_or(&settings.user), rootfs);
    facts.start_refused = start::refusals(settings, &facts.user, rootfs);
    // Engines take such an image for one of their own architecture, whichever that is.
    if image.platform.architecture.is_empty() {
        Nothing::Unknown("the configuration does not say for which architecture the image is").to_run(facts);
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
    let user = facts.user.known().and_then(|user| user.name.clone());
    let bash_start = bash_start::bash_start(around, path, user.as_deref());
    let bash = match (&bash_start.path_unknown, &bash_start.path) {
        (Some(why), _) => Some(Err(why.clone())),
        (None, Some(own)) => Some(Ok(CommandSearch::new(around, own))),
        (None, None) => None,
    };
    let commands = search.all(bash.as_ref());
    drop(bash);
    let shell_files = shell_files::shell_files(around, path, user.as_deref());
    let off_path = off_path::off_path(around, path, &commands, &shell_files, &bash_start);
    let java_home = java::java_home(around, &search);
    let available =
        Available { around, path, commands: &commands, search: &search, off_path: &off_path, java_home: &java_home };
    facts.steps = steps::all(&available);
    facts.commands = Fact::Known(commands);
    facts.off_path = Fact::Known(off_path);
    facts.shell_files = Fact::Known(shell_files.files);
    facts.java_home = java_home;
    facts.bash_start = Fact::Known(bash_start);
}

/// Why the layers tell nothing.
#[derive(Clone, Copy)]
enum Nothing<'a> {
    NotApplicable(&'a str),
    Unknown(&'a str),
}

impl Nothing<'_> {
    fn fact<T>(self) -> Fact<T> {
        match self {
            Self::NotApplicable(why) => Fact::not_applicable(why),
            Self::Unknown(why) => Fact::unknown(why),
        }
    }

    /// Says so of all that they would have told.
    fn inside(self, facts: &mut Facts) {
        facts.disputed_layers = self.fact();
        facts.os_release = self.fact();
        facts.user = self.fact();
        facts.start_refused = self.fact();
        facts.path = self.fact();
        facts.ca_certificates = self.fact();
        facts.time_zones = self.fact();
        self.to_run(facts);
    }

    /// Says so of all that has to do with running programs.
    fn to_run(self, facts: &mut Facts) {
        facts.libc = self.fact();
        facts.commands = self.fact();
        facts.off_path = self.fact();
        facts.shell_files = self.fact();
        facts.java_home = self.fact();
        facts.bash_start = self.fact();
        facts.steps = self.fact();
        facts.programs = self.fact();
    }
}

fn reference(name: &Name) -> ReferenceFact {
    ReferenceFact {
        registry: name.registry.clone(),
        repository: name.repository.clone(),
        tag: name.tag.clone(),
        digest: name.digest.as_ref().map(ToString::to_string),
    }
}

fn sizes(image: &Image, source: SourceKind, content: Content<'_>) -> SizeFacts {
    // Of a layer that can be fetched in part it must not show whether it was.
    let of_layer = |(layer, read): (&Layer, Option<u64>)| match &layer.toc {
        Some(toc) if source == SourceKind::Registry => toc.tar_bytes(),
        _ => read,
    };
    let uncompressed_bytes = match content {
        Content::Linux(rootfs) => image
            .layers
            .iter()
            .zip(rootfs.bytes_of_layers())
            .map(of_layer)
            .try_fold(0_u64, |sum, bytes| Some(sum.saturating_add(bytes?)))
            .map_or_else(|| Fact::unknown("layers that can be fetched in part do not say their size"), Fact::Known),
        Content::Windows(files) if files.is_whole() => Fact::Known(files.bytes()),
        Content::Windows(_) => Fact::unknown("not all layers were read"),
        Content::None | Content::OutOfReach(_) => Fact::unknown("the layers were not read"),
    };
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
    SizeFacts { compressed_bytes, uncompressed_bytes, layers: image.layers.len() }
}
