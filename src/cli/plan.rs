//! What is asked for in all: the command line, before the environment, before the configuration file.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::args::{CheckArguments, ReportTarget, SourceArguments, TargetArguments};
use super::check::Target;
use super::{Failure, settings};
use crate::config::{self, Baseline, Config, EXPIRED, FailOn, Gate};
use crate::image::registry::{Mirror, RegistrySettings};
use crate::mentions::{self, Named, Variables};
use crate::printable::excerpt;
use crate::report::{Configuration, Mention};
use crate::{small_file, spelling};

/// The profile that is taken where nobody names one.
const PROFILE: &str = "octopus";
/// The largest list of images, in bytes.
const LARGEST_LIST: u64 = 16 << 20;
/// The largest `.env` file, in bytes.
const LARGEST_ENV: u64 = 1 << 20;
/// The longest name of an image that is looked for, in bytes: a path and a name in it are shorter.
const LONGEST_NAME: usize = 8 << 10;

/// What `imglint check` is to do.
pub(super) struct Plan {
    pub(super) images: Vec<ToCheck>,
    pub(super) targets: Vec<Target>,
    pub(super) reports: Vec<ReportTarget>,
    pub(super) fail_on: FailOn,
    pub(super) gate: Gate,
    /// What the report says of all this.
    pub(super) configuration: Configuration,
    pub(super) sources: SourceArguments,
}

/// An image to check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ToCheck {
    pub(super) given: String,
    /// Where it was found, if it was not on the command line.
    pub(super) named_in: Vec<Mention>,
    /// Why it cannot be told which image is meant.
    pub(super) trouble: Option<String>,
}

/// The configuration file that is meant, or an empty one.
///
/// # Errors
/// It is named and cannot be read, or it is wrong.
pub(super) fn config(arguments: &TargetArguments) -> Result<Config, Failure> {
    let config = match &arguments.config {
        _ if arguments.no_config => Ok(None),
        Some(path) => Config::load(path).map(Some),
        None => Config::find(),
    };
    config.map(Option::unwrap_or_default).map_err(Failure)
}

/// Profiles with everything that is set for them.
pub(super) fn targets(
    arguments: &TargetArguments,
    rules: &[(String, String)],
    sources: &SourceArguments,
    config: &Config,
) -> Result<Vec<Target>, Failure> {
    let usual = [PROFILE.to_owned()];
    let profiles = [&arguments.profile[..], &config.profile, &usual].into_iter().find(|all| !all.is_empty());
    // Of lists every item is set on its own, and what the command line sets stands in place of all of them.
    let is_set = |key: &String| arguments.set.iter().any(|(set, _)| set == key);
    let of_file = config.parameters.iter().filter(|(key, _)| !is_set(key));
    let of_file = of_file.flat_map(|(key, values)| values.iter().map(|value| (key.clone(), value.clone())));
    let set: Vec<(String, String)> = of_file.chain(arguments.set.iter().cloned()).collect();
    let levels = config.severity.iter().map(|(rule, level)| (rule.clone(), level.to_string()));
    let levels: Vec<(String, String)> = levels.chain(rules.iter().cloned()).collect();
    let platform = sources.platform.as_ref();
    profiles.into_iter().flatten().map(|name| Target::new(name, &set, &levels, platform)).collect()
}

/// How images are reached, by the arguments and the configuration.
pub(super) fn sources(arguments: &SourceArguments, config: &Config) -> Result<SourceArguments, Failure> {
    let mut sources = arguments.clone();
    if let Some(platform) = config.platform.as_ref().filter(|_| sources.platform.is_none()) {
        let wrong = |error| Failure(format!("{}: platform: {error}", config.file));
        sources.platform = Some(platform.parse().map_err(wrong)?);
    }
    sources.jobs = sources.jobs.or(config.jobs);
    let of_entry = |(name, entry): (&String, &config::RegistryEntry)| {
        let wrong = |error| Failure(format!("{}: registry.{name:?}: mirror: {error}", config.file));
        let mirrors: Result<Vec<Mirror>, String> = entry.mirror.iter().map(|mirror| mirror.parse()).collect();
        let settings = RegistrySettings {
            mirrors: mirrors.map_err(wrong)?,
            ca: entry.ca.clone(),
            is_insecure: entry.insecure,
            auth_file: entry.auth_file.clone(),
        };
        Ok::<_, Failure>((name.clone(), settings))
    };
    sources.registries = config.registries.iter().map(of_entry).collect::<Result<_, _>>()?;
    Ok(sources)
}

impl Plan {
    /// # Errors
    /// A file cannot be read, something in it or among the arguments is wrong, or there is no image to check.
    pub(super) fn new(arguments: &CheckArguments) -> Result<Self, Failure> {
        let config = config(&arguments.target)?;
        let sources = sources(&arguments.sources, &config)?;
        let targets = targets(&arguments.target, &arguments.rule, &sources, &config)?;
        for ignore in config.ignores.iter().filter(|ignore| ignore.rule != EXPIRED) {
            let ids = || targets.iter().flat_map(|target| target.profile.rules.iter().map(|rule| rule.id.as_str()));
            if !ids().any(|id| id == ignore.rule) {
                let nearest = spelling::suggestion(&ignore.rule, ids());
                return Err(Failure(format!("{}: ignore: there is no rule {:?}{nearest}", config.file, ignore.rule)));
            }
        }
        let baseline = arguments.baseline.as_ref().or(config.baseline.as_ref());
        let baseline = baseline.map(|path| Baseline::load(path)).transpose().map_err(Failure)?;
        let reports = if arguments.report.is_empty() {
            config
                .reports
                .iter()
                .filter_map(|entry| entry.file.as_ref())
                .try_for_each(|file| config.may_write(file))
                .map_err(Failure)?;
            let of_entry =
                |entry: &config::ReportEntry| ReportTarget { format: entry.format, file: entry.file.clone() };
            config.reports.iter().map(of_entry).collect()
        } else {
            arguments.report.clone()
        };
        Ok(Self {
            images: images(arguments, &config)?,
            configuration: settings::configuration(arguments, &config),
            targets,
            reports,
            fail_on: arguments.fail_on.or(config.fail_on).unwrap_or_default(),
            gate: Gate { ignores: config.ignores, baseline },
            sources,
        })
    }
}

/// The images of the arguments; where they name none, those of the configuration.
fn images(arguments: &CheckArguments, config: &Config) -> Result<Vec<ToCheck>, Failure> {
    let names_any = !arguments.images.is_empty() || !arguments.images_from.is_empty() || !arguments.from.is_empty();
    let (plain, from) = match names_any {
        true => (&arguments.images, &arguments.from),
        false => (&config.images, &config.from),
    };
    let plain = plain.iter().map(|given| ToCheck { given: given.clone(), named_in: Vec::new(), trouble: None });
    let mut all: Vec<ToCheck> = plain.collect();
    let mut places = BTreeMap::new();
    for file in &arguments.images_from {
        let (name, text) = read(file)?;
        add(&mut all, &mut places, &name, mentions::list(&text));
    }
    for file in from {
        let (name, text) = read(file)?;
        let variables = variables(file, &arguments.env);
        let found = mentions::find(&text, &variables).map_err(|why| Failure(format!("{name}: {why}")))?;
        add(&mut all, &mut places, &name, found);
    }
    let is_from_file = names_any && arguments.images.is_empty();
    match all.is_empty() {
        false => Ok(all),
        true if is_from_file => Err(Failure("the files name no image".to_owned())),
        true => {
            Err(Failure("no image is named: give one, or images in imglint.toml (see imglint check --help)".to_owned()))
        }
    }
}

/// The variables that complete names in a file: those of the `.env` file next to it, before which those of the
/// environment come that were asked for.
fn variables(file: &Path, asked: &[String]) -> Variables {
    let next_to_it = file.with_file_name(".env");
    // A link may lead to any file of this machine.
    let is_file = std::fs::symlink_metadata(&next_to_it).is_ok_and(|metadata| metadata.is_file());
    let text = is_file.then(|| small_file::read_text(&next_to_it, LARGEST_ENV, small_file::Kind::Regular).ok());
    let mut all = text.flatten().map(|text| mentions::variables(&text)).unwrap_or_default();
    all.extend(asked.iter().filter_map(|name| Some((name.clone(), std::env::var(name).ok()?))));
    all
}

/// Adds what a file names; an image that is named more than once is checked once.
fn add(all: &mut Vec<ToCheck>, places: &mut BTreeMap<String, usize>, file: &str, found: Vec<Named>) {
    let mut seen = BTreeSet::new();
    for Named { image, line } in found {
        let mention = Mention { file: file.to_owned(), line };
        let (given, trouble) = match image {
            Ok(image) if image.len() > LONGEST_NAME => {
                let why = format!("the name {:?} has {} characters", excerpt(&image, 60), image.chars().count());
                (format!("{file}:{line}"), Some(why))
            }
            Ok(image) => (image, None),
            Err(why) => (format!("{file}:{line}"), Some(why)),
        };
        match places.get(&given) {
            Some(&at) => {
                if seen.insert((given, line)) {
                    all[at].named_in.push(mention);
                }
            }
            None => {
                places.insert(given.clone(), all.len());
                seen.insert((given.clone(), line));
                all.push(ToCheck { given, named_in: vec![mention], trouble });
            }
        }
    }
}

/// A file's name, for people, and its text.
fn read(file: &Path) -> Result<(String, String), Failure> {
    let is_input = file.as_os_str() == "-";
    let name = if is_input { "standard input".to_owned() } else { file.display().to_string() };
    let failed = |error: std::io::Error| Failure(format!("{name}: {error}"));
    let bytes = match is_input {
        true => small_file::bounded(std::io::stdin(), LARGEST_LIST),
        false => small_file::read(file, LARGEST_LIST, small_file::Kind::Any),
    };
    let bytes = bytes.map_err(failed)?;
    String::from_utf8(bytes).map(|text| (name.clone(), text)).map_err(|_| Failure(format!("{name}: it is no UTF-8")))
}
