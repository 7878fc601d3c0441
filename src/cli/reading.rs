//! Reads images: opens their sources, reads the layers that are needed, and gathers facts.
//!
//! Of a Windows image, whose base layers are large and rarely say more than its configuration, only what decides
//! something is read: small layers first, then those above the base, then the base, no further than to the last file
//! that is asked for.

use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError, RwLock};

use super::Failure;
use super::args::SourceArguments;
use super::check::Target;
use super::progress::Reading;
use crate::cache::Cache;
use crate::config::FailOn;
#[cfg(feature = "run")]
use crate::engine::Pull;
use crate::facts::configuration::instruction;
use crate::facts::programs::Wanted;
use crate::facts::windows::base_layers;
use crate::facts::{Content, Facts, Layers, gather};
use crate::image::read::{Depth, ReadOptions, is_held_to_diff_id, verified};
use crate::image::registry::{self, RegistryOptions, StreamLimits};
use crate::image::{self, ErrorKind, Image, Layer, Opened, SourceOptions};
use crate::layer::LayerIndex;
use crate::layer::allowance::{Budget, INDEXES};
use crate::panics::caught;
use crate::parameters::size;
use crate::platform::PlatformChoice;
use crate::printable::excerpt;
use crate::reference::{ImageReference, NotAReference};
use crate::report::{ImageReport, LayerRead, LayerReading};
use crate::rootfs::windows::{WindowsFiles, WindowsLayer, fold};
use crate::rootfs::{Rootfs, StackedLayer};
use crate::tables;
use crate::verdict::{Outcome, Severity, Verdict};

/// Up to which size a layer is read whatever it may be needed for, and how much of such layers in all, in bytes.
const SMALL_LAYER: u64 = 1 << 20;
const SMALL_LAYERS: u64 = 4 << 20;

/// Reads images, with everything that the command line says about reaching them.
pub(super) struct Reader<'a> {
    arguments: &'a SourceArguments,
    options: SourceOptions,
    /// How many layers of an image, and how many images, are read at a time.
    jobs: usize,
    images_at_once: usize,
    cache: Option<Arc<Cache>>,
    warnings: Vec<String>,
    wanted: Wanted,
    /// For whom facts are gathered: what decides nothing for them is not fetched.
    targets: &'a [Target],
    fail_on: FailOn,
    /// Held for reading while an image is read, and for writing while one is read by itself.
    turns: RwLock<()>,
}

/// An image that was read.
pub(super) struct ReadImage {
    pub(super) report: ImageReport,
    pub(super) facts: Facts,
    /// The name that an engine can fetch it by.
    #[cfg(feature = "run")]
    pub(super) pull: Option<Pull>,
}

impl<'a> Reader<'a> {
    /// For so many images.
    ///
    /// # Errors
    /// What is said of the cache is wrong.
    pub(super) fn new(
        arguments: &'a SourceArguments,
        wanted: Wanted,
        targets: &'a [Target],
        fail_on: FailOn,
        images: usize,
    ) -> Result<Self, Failure> {
        // While the network is waited for.
        tables::read_ahead();
        // One layer keeps a core busy; a second one hides the waiting for the network.
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        let all_jobs = arguments.jobs.map_or(cores.clamp(2, 4), usize::from);
        let images_at_once = all_jobs.min(images).max(1);
        let jobs = all_jobs.div_ceil(images_at_once);
        let (cache, warnings) = arguments.cache.cache(images, arguments.timeout, arguments.verify_layers)?;
        let options = SourceOptions {
            registry: RegistryOptions {
                auth_file: arguments.registry_auth.clone(),
                ca: arguments.tls_ca.clone(),
                client_cert: arguments.tls_cert.clone(),
                client_key: arguments.tls_key.clone(),
                insecure: arguments.insecure_registry.clone(),
                timeout: arguments.timeout,
                streams: Arc::new(StreamLimits::new(all_jobs)),
                registries: arguments.registries.clone(),
                ..RegistryOptions::default()
            },
            engine: arguments.engine.clone(),
            cache: cache.clone(),
            jobs,
            verify_layers: arguments.verify_layers,
            budget: cache.as_ref().map_or_else(|| Budget::new(INDEXES), |cache| Arc::clone(cache.budget())),
            config_json: arguments.config_json.clone(),
        };
        Ok(Self {
            arguments,
            options,
            jobs,
            images_at_once,
            cache,
            warnings,
            wanted,
            targets,
            fail_on,
            turns: RwLock::new(()),
        })
    }

    /// The images that somebody named, read; or why they cannot be, in one line that names them.
    pub(super) fn read(&self, given: &str) -> Result<Vec<ReadImage>, String> {
        let reference: ImageReference =
            given.parse().map_err(|error: NotAReference| about(given, &error.to_string()))?;
        // What one image brings about is no matter of the others.
        let read = caught(|| self.read_in_turn(&reference).map_err(|error| error.to_string()));
        let read = read.unwrap_or_else(|panic| Err(format!("internal error: {panic}; please report it")));
        read.map_err(|error| about(given, &error))
    }

    /// Reads an image together with others, or, if there is not enough memory for that, by itself: what others take makes no
    /// difference to what is said of it.
    fn read_in_turn(&self, reference: &ImageReference) -> image::Result<Vec<ReadImage>> {
        let read = {
            let _turn = self.turns.read().unwrap_or_else(PoisonError::into_inner);
            self.read_reference(reference)
        };
        match read {
            Err(error) if error.kind() == ErrorKind::TooMuch && self.images_at_once > 1 => {
                let _turn = self.turns.write().unwrap_or_else(PoisonError::into_inner);
                self.read_reference(reference)
            }
            read => read,
        }
    }

    fn read_reference(&self, reference: &ImageReference) -> image::Result<Vec<ReadImage>> {
        let choice = self.arguments.platform.clone().or_else(|| self.of_workers()).unwrap_or_default();
        let progress = Reading::of(&reference.given);
        let opened = image::open(reference, &self.options, &choice)?;
        let images = opened.source.images(&choice)?;
        let read = images.iter().map(|image| {
            progress.begins(image);
            let (facts, read, elsewhere) = self.read_image(&opened, image, &progress)?;
            let mut report = ImageReport::new(&reference.given, opened.source.kind(), image, &read, &facts.size);
            report.mirror = opened.source.mirror();
            // What an image does not say, its files do.
            report.platform = facts.platform.known().map(|fact| fact.is.clone()).or(report.platform);
            report.fetched_bytes = opened.source.bytes_fetched().map(|bytes| bytes + elsewhere);
            #[cfg(feature = "run")]
            let pull = opened.name.as_ref().zip(image.digest.as_ref());
            #[cfg(feature = "run")]
            let pull = pull.map(|(name, digest)| Pull {
                by: format!("{}/{}@{digest}", name.registry, name.repository),
                name: name.clone(),
                options: self.options.registry.of(&name.registry, &name.registry),
            });
            Ok(ReadImage {
                report,
                facts,
                #[cfg(feature = "run")]
                pull,
            })
        });
        read.collect()
    }

    /// The entry that workers take, if it was said what they are, and all of them are alike.
    fn of_workers(&self) -> Option<PlatformChoice> {
        let mut workers = self.targets.iter().map(Target::worker);
        let first = workers.next()??;
        workers.all(|other| other.as_ref() == Some(&first)).then_some(PlatformChoice::AsWorker(first))
    }

    /// The facts, what was read of each layer, and how many bytes came from elsewhere than the source.
    fn read_image(
        &self,
        opened: &Opened,
        image: &Image,
        progress: &Reading,
    ) -> image::Result<(Facts, Vec<LayerReading>, u64)> {
        let gather =
            |content: Content<'_>| gather(image, opened.source.kind(), opened.name.as_ref(), content, &self.wanted);
        let none = || vec![LayerReading::from(LayerRead::None); image.layers.len()];
        match Layers::of(image) {
            Layers::None => Ok((gather(Content::None), none(), 0)),
            Layers::All => {
                if let Some(why) = image.layers.iter().find_map(|layer| self.why_not_fetched(layer)) {
                    return Ok((gather(Content::OutOfReach(&why)), none(), 0));
                }
                if self.arguments.fail_fast {
                    let why = "manifest and configuration decide already, and --fail-fast then reads no layers";
                    let facts = gather(Content::OutOfReach(why));
                    let is_decided = |target: &Target| target.judge(&facts).verdict == Verdict::Incompatible;
                    if !self.targets.is_empty() && self.targets.iter().all(is_decided) {
                        return Ok((facts, none(), 0));
                    }
                }
                let (source, options) = (opened.source.as_ref(), self.read_options(self.depth(), progress));
                let mut layers = image::read::layers(source, image, options)?;
                // What is asked for shows what else is to be asked for, as libraries do.
                let facts = loop {
                    let rootfs = stack(image, &layers);
                    let facts = gather(Content::Linux(&rootfs));
                    let unread = rootfs.unread();
                    drop(rootfs);
                    if unread.is_empty() {
                        break facts;
                    }
                    image::read::complete(source, image, &mut layers, &unread, options)?;
                };
                // What a cache had of it makes no difference.
                let is_by_table = options.depth == Depth::Asked && source.kind() == image::SourceKind::Registry;
                let read = |(layer, index): (&Layer, &Arc<LayerIndex>)| {
                    let table_trusted = is_by_table && layer.toc.is_some();
                    let read = if table_trusted { LayerRead::Part } else { LayerRead::Whole };
                    let diff_id_verified = layer.diff_id.is_some() && is_held_to_diff_id(layer, index, options.depth);
                    LayerReading { read, table_trusted, diff_id_verified }
                };
                Ok((facts, image.layers.iter().zip(&layers).map(read).collect(), 0))
            }
            Layers::AsNeeded => {
                let mut reading = WindowsReading::new(self, opened, image, progress);
                let facts = reading.read(&gather)?;
                Ok((facts, reading.read_of_layers(), reading.elsewhere))
            }
        }
    }

    /// What the user should know of the cache. Asked for when all is read.
    pub(super) fn cache_warnings(&self) -> Vec<String> {
        let of_cache = self.cache.iter().flat_map(|cache| cache.finish());
        self.warnings.iter().cloned().chain(of_cache).collect()
    }

    /// How many images are read at a time.
    pub(super) fn images_at_once(&self) -> usize {
        self.images_at_once
    }

    /// How much of the layers of a Linux image is read: their maker's table of contents is believed only on request.
    fn depth(&self) -> Depth {
        if self.arguments.trust_toc { Depth::Asked } else { Depth::Whole }
    }

    /// How layers are read: as deep as this, or deeper if they are to be verified.
    fn read_options<'r>(&'r self, depth: Depth, progress: &'r Reading) -> ReadOptions<'r> {
        let depth = if self.arguments.verify_layers { Depth::Verified } else { depth };
        ReadOptions {
            jobs: self.jobs,
            cache: self.cache.as_deref(),
            depth,
            progress: Some(progress),
            budget: &self.options.budget,
        }
    }

    /// Why a layer is not fetched, if it is too large for that, or none is to be.
    fn why_not_fetched(&self, layer: &Layer) -> Option<String> {
        if self.arguments.config_only {
            return Some("--config-only reads no layers".to_owned());
        }
        let limit = self.arguments.max_layer_fetch.filter(|limit| layer.bytes > *limit)?;
        let (bytes, limit) = (size::display(layer.bytes), size::display(limit));
        Some(format!("layer {} has {bytes}, and --max-layer-fetch allows {limit}", layer.index))
    }

    /// Whether something that matters this much could not be decided.
    fn is_open(&self, facts: &Facts, matters: impl Fn(Severity) -> bool) -> bool {
        self.targets.iter().any(|target| {
            let judgement = target.judge(facts);
            judgement.findings.iter().any(|finding| finding.outcome == Outcome::Unknown && matters(finding.severity))
        })
    }
}

/// The layers of one Windows image while they are read.
struct WindowsReading<'a> {
    reader: &'a Reader<'a>,
    opened: &'a Opened,
    image: &'a Image,
    progress: &'a Reading,
    layers: Vec<WindowsLayer>,
    /// How many bytes came from other places than the source.
    elsewhere: u64,
}

impl<'a> WindowsReading<'a> {
    fn new(reader: &'a Reader<'a>, opened: &'a Opened, image: &'a Image, progress: &'a Reading) -> Self {
        let layer = |layer: &Layer| WindowsLayer {
            why_not: reader.why_not_fetched(layer).unwrap_or_default(),
            instruction: layer.created_by.as_deref().map(instruction),
            ..WindowsLayer::default()
        };
        Self { reader, opened, image, progress, layers: image.layers.iter().map(layer).collect(), elsewhere: 0 }
    }

    fn read(&mut self, gather: &dyn Fn(Content<'_>) -> Facts) -> image::Result<Facts> {
        let is_plain = self.opened.source.kind() == image::SourceKind::Rootfs;
        let facts_of = |layers: &[WindowsLayer]| {
            let has_files = |layer: &WindowsLayer| layer.index.as_ref().is_some_and(|index| index.has_below("Files"));
            let files = WindowsFiles::new(layers.to_vec(), is_plain && !layers.iter().any(has_files));
            gather(Content::Windows(&files))
        };
        let base = base_layers(self.image);
        self.read_all(&self.small())?;
        let mut facts = facts_of(&self.layers);
        let matters = |severity| severity != Severity::Info;
        let above: Vec<usize> = (base..self.layers.len()).filter(|&number| self.is_unread(number)).collect();
        if !above.is_empty() && self.reader.is_open(&facts, matters) {
            self.read_all(&above)?;
            facts = facts_of(&self.layers);
        }
        // What is at stake has to be worth a gigabyte.
        let fail_on = if self.reader.fail_on == FailOn::Warning { FailOn::Warning } else { FailOn::Error };
        // At first only what is sought, which shows what else is to be sought.
        for is_last in [false, true] {
            for number in (0..base).rev() {
                if self.is_unread(number) && self.reader.is_open(&facts, |severity| fail_on.counts(severity)) {
                    let sought = facts.windows.known().map(|known| known.sought.clone()).unwrap_or_default();
                    if is_last || sought.is_empty() {
                        self.read_all(&[number])?;
                    } else {
                        self.read_until(number, &sought)?;
                    }
                    facts = facts_of(&self.layers);
                }
            }
        }
        Ok(facts)
    }

    fn is_unread(&self, number: usize) -> bool {
        !self.layers[number].is_whole && self.layers[number].why_not.is_empty()
    }

    /// The smallest layers, as many as are read anyway.
    fn small(&self) -> Vec<usize> {
        let mut by_size: Vec<&Layer> = self.image.layers.iter().filter(|layer| self.is_unread(layer.index)).collect();
        by_size.sort_by_key(|layer| layer.bytes);
        let mut sum = 0_u64;
        let fits = by_size.into_iter().take_while(|layer| {
            sum = sum.saturating_add(layer.bytes);
            layer.bytes <= SMALL_LAYER && sum <= SMALL_LAYERS
        });
        fits.map(|layer| layer.index).collect()
    }

    fn read_all(&mut self, numbers: &[usize]) -> image::Result<()> {
        let is_chosen = |layer: &Layer| numbers.contains(&layer.index) && !layer.is_foreign();
        let read = image::read::chosen(
            self.opened.source.as_ref(),
            self.image,
            &is_chosen,
            self.reader.read_options(Depth::Whole, self.progress),
        )?;
        for (number, index) in read.into_iter().enumerate() {
            if let Some(index) = index {
                self.layers[number] =
                    WindowsLayer { index: Some(index), is_whole: true, ..std::mem::take(&mut self.layers[number]) };
            }
        }
        let foreign = numbers.iter().filter(|&&number| self.image.layers[number].is_foreign());
        foreign.copied().collect::<Vec<_>>().into_iter().try_for_each(|number| self.read_until(number, &[]))
    }

    /// Reads a layer until one file of each group has been seen; without groups to its end.
    fn read_until(&mut self, number: usize, groups: &[Vec<String>]) -> image::Result<()> {
        let source = self.opened.source.as_ref();
        let cache = self.reader.cache.as_deref().filter(|_| source.kind() == image::SourceKind::Registry);
        let asked = self.opened.name.as_ref().and_then(|name| {
            let (layer, arguments) = (&self.image.layers[number], self.reader.arguments);
            let (digest, bytes) = (&layer.digest, layer.bytes);
            let trust = registry::trust(&name.registry, &layer.urls, &self.reader.options.registry)?;
            let from = (&name.registry, &name.repository, trust, &layer.urls);
            let how = (&arguments.allow_foreign_urls, arguments.verify_layers);
            Some(format!("{digest:?} {bytes} {from:?} {how:?} {groups:?}"))
        });
        let read = match cache.zip(asked) {
            Some((cache, asked)) => cache.start(&asked, || self.start(number, groups))?,
            None => self.start(number, groups)?,
        };
        if let Some((index, is_whole)) = read {
            let depth = self.reader.read_options(Depth::Whole, self.progress).depth;
            // The configuration that named it when it was kept may have been another.
            let index = if is_whole { verified(&self.image.layers[number], index, depth)? } else { index };
            let layer = std::mem::take(&mut self.layers[number]);
            self.layers[number] = WindowsLayer { index: Some(index), is_whole, ..layer };
        }
        Ok(())
    }

    /// The start of a layer, and whether that is all of it; nothing if it may not be fetched, which is noted.
    fn start(&mut self, number: usize, groups: &[Vec<String>]) -> image::Result<Option<(Arc<LayerIndex>, bool)>> {
        let (source, layer) = (self.opened.source.as_ref(), &self.image.layers[number]);
        let options = self.reader.read_options(Depth::Whole, self.progress);
        let mut left: Vec<BTreeSet<&String>> = groups.iter().map(|group| group.iter().collect()).collect();
        let mut enough = move |path: &str| {
            let path = fold(path);
            left.retain(|group| !group.contains(&path));
            !groups.is_empty() && left.is_empty()
        };
        let why_not = match image::read::layer_until(source, layer, options, &mut enough) {
            Err(error) if layer.is_foreign() && error.kind() == ErrorKind::NotFound => {
                let named = &self.reader.arguments.allow_foreign_urls;
                if !named.is_empty() {
                    match registry::foreign(layer, named, &self.reader.options.registry) {
                        Err(error) if error.kind() == ErrorKind::Unsupported => {
                            format!("it is a foreign layer, and {error}")
                        }
                        Err(error) => return Err(error),
                        Ok(place) => {
                            let stream = place.registry.open_blob(layer)?;
                            let read = image::read::stream_until(stream, layer, options, &mut enough)?;
                            self.elsewhere += image::Source::bytes_fetched(&place.registry).unwrap_or_default();
                            return Ok(Some(read));
                        }
                    }
                } else {
                    "it is a foreign layer that is not kept where the image is; --allow-foreign-urls fetches it from where it \
                     comes from"
                        .to_owned()
                }
            }
            read => return read.map(Some),
        };
        self.layers[number].why_not = why_not;
        Ok(None)
    }

    fn read_of_layers(&self) -> Vec<LayerReading> {
        let read = |layer: &WindowsLayer| match (&layer.index, layer.is_whole) {
            (None, _) => LayerRead::None,
            (Some(_), false) => LayerRead::Part,
            (Some(_), true) => LayerRead::Whole,
        };
        self.layers.iter().map(|layer| read(layer).into()).collect()
    }
}

/// An error with the image it is about, unless it names it itself.
fn about(given: &str, error: &str) -> String {
    let given = excerpt(given, 300);
    if error.contains(given.as_str()) { error.to_owned() } else { format!("{given}: {error}") }
}

fn stack(image: &Image, layers: &[Arc<LayerIndex>]) -> Rootfs {
    let stacked = image.layers.iter().zip(layers).map(|(layer, index)| StackedLayer {
        index: Arc::clone(index),
        instruction: layer.created_by.as_deref().map(instruction),
    });
    Rootfs::new(stacked.collect())
}
