//! Which installed frameworks a .NET program is started with: versions, and how far they may roll forward.
//!
//! Source: dotnet/runtime, src/native/corehost/fxr/fx_resolver.cpp and fx_ver.cpp.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use crate::runtime_config::{FrameworkReference, Roll, RollForward, RuntimeConfig};

/// How often the search begins again when a framework asks for a newer version of one that was found before.
const MOST_ROUNDS: usize = 100;
/// The most frameworks that one program may lead to.
const MOST_FRAMEWORKS: usize = 100;

/// A version of a framework (Semantic Versioning 2.0, as hosts read it).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    numbers: [i64; 3],
    /// What follows `-`.
    early: String,
    /// As written.
    text: String,
}

impl Version {
    /// Reads a version; `None` for what hosts pass over, such as `9.0`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (rest, build) = text.split_once('+').map_or((text, None), |(rest, build)| (rest, Some(build)));
        let (core, early) = rest.split_once('-').map_or((rest, None), |(core, early)| (core, Some(early)));
        let is_name =
            |name: &str| !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        let is_number = |part: &str| {
            !part.is_empty()
                && part.len() < 10
                && part.bytes().all(|byte| byte.is_ascii_digit())
                && (part.len() == 1 || !part.starts_with('0'))
        };
        let is_early =
            |name: &str| is_name(name) && (!name.bytes().all(|byte| byte.is_ascii_digit()) || is_number(name));
        if early.is_some_and(|early| !early.split('.').all(is_early))
            || build.is_some_and(|build| !build.split('.').all(is_name))
        {
            return None;
        }
        let mut parts = core.split('.');
        let mut next = || parts.next().filter(|part| is_number(part))?.parse().ok();
        let numbers = [next()?, next()?, next()?];
        if parts.next().is_some() {
            return None;
        }
        Some(Self { numbers, early: early.unwrap_or_default().to_owned(), text: text.to_owned() })
    }

    /// What stands for a version that cannot be read: less than every other.
    fn none(text: &str) -> Self {
        Self { numbers: [-1; 3], early: String::new(), text: text.to_owned() }
    }

    fn is_prerelease(&self) -> bool {
        !self.early.is_empty()
    }

    /// As written.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }
}

impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Version {
    fn cmp(&self, other: &Self) -> Ordering {
        let early = || match (self.early.is_empty(), other.early.is_empty()) {
            (true, is_empty) => (!is_empty).cmp(&false),
            (false, true) => Ordering::Less,
            (false, false) => by_identifiers(&self.early, &other.early),
        };
        self.numbers.cmp(&other.numbers).then_with(early)
    }
}

/// The order of what follows `-`: numbers by value and before words, the shorter of two before the longer.
fn by_identifiers(one: &str, other: &str) -> Ordering {
    let (mut one, mut other) = (one.split('.'), other.split('.'));
    loop {
        let (left, right) = match (one.next(), other.next()) {
            (None, None) => return Ordering::Equal,
            (None, Some(_)) => return Ordering::Less,
            (Some(_), None) => return Ordering::Greater,
            (Some(left), Some(right)) => (left, right),
        };
        let order = match (left.parse::<u64>(), right.parse::<u64>()) {
            (Ok(left), Ok(right)) => left.cmp(&right),
            (Ok(_), Err(_)) => Ordering::Less,
            (Err(_), Ok(_)) => Ordering::Greater,
            (Err(_), Err(_)) => left.cmp(right),
        };
        if order != Ordering::Equal {
            return order;
        }
    }
}

/// How far versions may differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Range {
    Exact,
    Patch,
    Minor,
    Major,
}

/// What is asked of one framework.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Wanted {
    version: Version,
    range: Range,
    takes_highest: bool,
    applies_patches: bool,
    prefers_release: bool,
}

impl Wanted {
    fn new(reference: &FrameworkReference, whole: &Roll, settings: &Settings) -> Self {
        let version = Version::parse(&reference.version).unwrap_or_else(|| Version::none(&reference.version));
        let roll = settings.roll_forward.or(reference.roll.forward).or(whole.forward).or(settings.default_roll_forward);
        let (range, takes_highest) = match roll.unwrap_or(RollForward::Minor) {
            RollForward::Disable => (Range::Exact, false),
            RollForward::LatestPatch => (Range::Patch, false),
            RollForward::Minor => (Range::Minor, false),
            RollForward::LatestMinor => (Range::Minor, true),
            RollForward::Major => (Range::Major, false),
            RollForward::LatestMajor => (Range::Major, true),
        };
        let applies_patches = reference.roll.apply_patches.or(whole.apply_patches).unwrap_or(true);
        let prefers_release = !version.is_prerelease() && !settings.rolls_to_prerelease;
        Self { version, range, takes_highest, applies_patches, prefers_release }
    }

    /// Whether a version that is not less may take the place of the wanted one.
    fn takes(&self, higher: &Version) -> bool {
        let (own, other) = (&self.version.numbers, &higher.numbers);
        if own[0] != other[0] {
            return self.range >= Range::Major;
        }
        if own[1] != other[1] {
            return self.range >= Range::Minor;
        }
        if own[2] != other[2] && self.range == Range::Patch && !self.applies_patches {
            return false;
        }
        self.range != Range::Exact || self.version == *higher
    }

    /// One wish for two of the same framework; `None` if no version can be both.
    fn reconciled(&self, other: &Self) -> Option<Self> {
        let (lower, higher) = if self.version >= other.version { (other, self) } else { (self, other) };
        lower.takes(&higher.version).then(|| Self {
            version: higher.version.clone(),
            range: lower.range.min(higher.range),
            takes_highest: lower.takes_highest || higher.takes_highest,
            applies_patches: lower.applies_patches && higher.applies_patches,
            prefers_release: lower.prefers_release || higher.prefers_release,
        })
    }

    /// The one of the installed versions that is taken.
    fn best<'v>(&self, installed: &'v [Version]) -> Option<&'v Version> {
        let is_fixed = self.range == Range::Exact
            || (self.range == Range::Patch && !self.applies_patches && !self.version.is_prerelease());
        if is_fixed {
            return installed.iter().find(|version| version.text == self.version.text);
        }
        let release = self.prefers_release.then(|| self.best_of(installed, true)).flatten();
        release.or_else(|| self.best_of(installed, false))
    }

    fn best_of<'v>(&self, installed: &'v [Version], release_only: bool) -> Option<&'v Version> {
        let may_be = |version: &&Version| !release_only || !version.is_prerelease();
        let fitting =
            || installed.iter().filter(may_be).filter(|version| **version >= self.version && self.takes(version));
        let is_highest = self.takes_highest && self.range != Range::Patch;
        let first = if is_highest { fitting().max() } else { fitting().min() }?;
        if first.is_prerelease() {
            return Some(first);
        }
        let is_patch = |version: &&Version| {
            version.numbers[..2] == first.numbers[..2]
                && *version >= first
                && (self.applies_patches || version.numbers[2] == first.numbers[2])
        };
        installed.iter().filter(may_be).filter(is_patch).max()
    }
}

/// What the environment and the command line say of rolling forward.
#[derive(Clone, Copy, Debug, Default)]
pub struct Settings {
    /// `DOTNET_ROLL_FORWARD`, or `--roll-forward`, which outweighs it.
    pub roll_forward: Option<RollForward>,
    /// `DOTNET_ROLL_FORWARD_ON_NO_CANDIDATE_FX`, which everything outweighs.
    pub default_roll_forward: Option<RollForward>,
    /// `DOTNET_ROLL_FORWARD_TO_PRERELEASE`.
    pub rolls_to_prerelease: bool,
}

/// What an installation has.
pub trait Installation {
    /// The versions of a framework that are whole.
    fn versions(&self, framework: &str) -> Vec<Version>;

    /// The runtimeconfig.json of an installed framework.
    ///
    /// # Errors
    /// It cannot be read, or hosts refuse it.
    fn config(&self, framework: &str, version: &str) -> Result<RuntimeConfig, Unresolved>;
}

/// Why frameworks are not found: the end of a sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unresolved {
    /// The program does not start.
    Fails(String),
    /// It is not known.
    Open(String),
}

/// The frameworks that a program is started with, by name.
///
/// # Errors
/// One of them is not installed in a version that will do, or two ask for versions that exclude each other.
pub fn resolve(
    installation: &dyn Installation,
    config: &RuntimeConfig,
    settings: &Settings,
) -> Result<BTreeMap<String, Version>, Unresolved> {
    let mut search = Search { installation, settings, wanted: BTreeMap::new(), found: BTreeMap::new() };
    for _ in 0..MOST_ROUNDS {
        search.found.clear();
        if search.read(config, false, 0)? {
            return Ok(search.found);
        }
    }
    Err(Unresolved::Open("its frameworks ask for each other in turn".to_owned()))
}

struct Search<'a> {
    installation: &'a dyn Installation,
    settings: &'a Settings,
    wanted: BTreeMap<String, Wanted>,
    found: BTreeMap<String, Version>,
}

impl Search<'_> {
    /// Goes through the frameworks of one file. False if the search has to begin again.
    fn read(&mut self, config: &RuntimeConfig, takes_highest: bool, depth: usize) -> Result<bool, Unresolved> {
        if depth > MOST_FRAMEWORKS {
            return Err(Unresolved::Open("its frameworks lead to each other without end".to_owned()));
        }
        let new = |reference| Wanted::new(reference, &config.roll, self.settings);
        let all: Vec<(String, Wanted)> =
            config.frameworks.iter().map(|reference| (reference.name.clone(), new(reference))).collect();
        for (name, own) in &all {
            self.wanted.entry(name.clone()).or_insert_with(|| own.clone());
        }
        for (name, mut own) in all {
            own.takes_highest |= takes_highest;
            let known = self.wanted.get(&name).cloned().unwrap_or_else(|| own.clone());
            let Some(both) = own.reconciled(&known) else {
                let why = format!("{name} is asked for as {} and as {}", own.version.text, known.version.text);
                return Err(Unresolved::Fails(why));
            };
            self.wanted.insert(name.clone(), both.clone());
            if self.found.contains_key(&name) {
                if both != known {
                    return Ok(false);
                }
                continue;
            }
            let installed = self.installation.versions(&name);
            let Some(version) = both.best(&installed).cloned() else {
                return Err(Unresolved::Fails(missing(&name, &both.version, &installed)));
            };
            let config = self.installation.config(&name, &version.text)?;
            self.found.insert(name, version);
            if !self.read(&config, both.takes_highest, depth + 1)? {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

fn missing(name: &str, wanted: &Version, installed: &[Version]) -> String {
    const MOST: usize = 8;
    let mut there: Vec<&str> = installed.iter().map(|version| version.text.as_str()).take(MOST).collect();
    if installed.len() > MOST {
        there.push("…");
    }
    let there = if there.is_empty() { "no version of it".to_owned() } else { there.join(", ") };
    format!("it asks for {name} {}, and there is {there}", wanted.text)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Installed(Vec<(&'static str, &'static str)>);

    impl Installation for Installed {
        fn versions(&self, framework: &str) -> Vec<Version> {
            self.0.iter().filter(|(name, _)| *name == framework).filter_map(|(_, text)| Version::parse(text)).collect()
        }

        fn config(&self, framework: &str, _: &str) -> Result<RuntimeConfig, Unresolved> {
            let mut config = RuntimeConfig::default();
            if framework == "Web" {
                config.frameworks.push(asked("Core", "9.0.0"));
            }
            Ok(config)
        }
    }

    fn asked(name: &str, version: &str) -> FrameworkReference {
        FrameworkReference { name: name.to_owned(), version: version.to_owned(), roll: Roll::default() }
    }

    fn taken(version: &str, roll: Option<RollForward>, installed: &[&'static str]) -> Option<String> {
        taken_by(version, Settings { roll_forward: roll, ..Settings::default() }, installed)
    }

    fn taken_by(version: &str, settings: Settings, installed: &[&'static str]) -> Option<String> {
        let installed = Installed(installed.iter().map(|version| ("Core", *version)).collect());
        let config = RuntimeConfig { frameworks: vec![asked("Core", version)], ..RuntimeConfig::default() };
        let found = resolve(&installed, &config, &settings).ok()?;
        Some(found["Core"].text.clone())
    }

    #[test]
    fn versions_are_ordered_as_semantic_versioning_has_it() {
        let order = ["9.0.0-preview.1", "9.0.0-rc.1", "9.0.0-rc.2", "9.0.0-rc.10", "9.0.0", "9.0.7", "9.1.0", "10.0.0"];
        for pair in order.windows(2) {
            assert!(Version::parse(pair[0]) < Version::parse(pair[1]), "{pair:?}");
        }
        for text in ["9.0", "9.0.0.0", "9.0.00", "v9.0.0", "", "9.0.0-", "9.0.x", "9.0.0-rc..1"] {
            assert_eq!(Version::parse(text), None, "{text}");
        }
        assert!(Version::parse("9.0.0+abc").is_some());
    }

    #[test]
    fn the_newest_patch_of_the_nearest_minor_version_is_taken() {
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(taken("9.0.0", None, &["9.0.2", "9.0.7", "9.1.3"]), some("9.0.7"));
        assert_eq!(taken("9.0.0", None, &["9.1.0", "9.1.4", "9.2.0"]), some("9.1.4"));
        assert_eq!(taken("9.0.9", None, &["9.0.7"]), None);
        assert_eq!(taken("8.0.0", None, &["9.0.7"]), None);
        assert_eq!(taken("9.0", None, &["9.0.7"]), None);
        assert_eq!(taken("9.0.0", Some(RollForward::LatestMinor), &["9.1.4", "9.2.0"]), some("9.2.0"));
        assert_eq!(taken("8.0.0", Some(RollForward::Major), &["9.0.7", "10.0.1"]), some("9.0.7"));
        assert_eq!(taken("8.0.0", Some(RollForward::LatestMajor), &["9.0.7", "10.0.1"]), some("10.0.1"));
        assert_eq!(taken("9.0.0", Some(RollForward::LatestPatch), &["9.1.0"]), None);
        assert_eq!(taken("9.0.0", Some(RollForward::Disable), &["9.0.7"]), None);
        assert_eq!(taken("9.0.7", Some(RollForward::Disable), &["9.0.7"]), some("9.0.7"));
    }

    #[test]
    fn early_versions_are_taken_only_where_there_is_no_release() {
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(taken("9.0.0", None, &["9.0.0-rc.1"]), None);
        assert_eq!(taken("9.0.0", None, &["9.0.1-rc.1"]), some("9.0.1-rc.1"));
        assert_eq!(taken("9.0.0", None, &["9.0.1", "9.0.2-rc.1"]), some("9.0.1"));
        assert_eq!(taken("9.0.0", None, &["9.1.0", "9.0.2-rc.1"]), some("9.1.0"));
        assert_eq!(taken("9.0.7-rc.1", None, &["9.0.7"]), some("9.0.7"));
        let settings = Settings { rolls_to_prerelease: true, ..Settings::default() };
        assert_eq!(taken_by("9.0.0", settings, &["9.0.2", "9.0.3-rc.1"]), some("9.0.3-rc.1"));
    }

    #[test]
    fn every_framework_has_to_be_there_and_those_that_they_need() {
        let of = |names: &[(&str, &str)]| RuntimeConfig {
            frameworks: names.iter().map(|(name, version)| asked(name, version)).collect(),
            ..RuntimeConfig::default()
        };
        let whole = Installed(vec![("Core", "9.0.7"), ("Web", "9.0.7")]);
        let both = of(&[("Core", "9.0.0"), ("Web", "9.0.0")]);
        let settings = Settings::default();
        assert_eq!(resolve(&whole, &both, &settings).unwrap().len(), 2);
        assert_eq!(resolve(&whole, &of(&[("Web", "9.0.0")]), &settings).unwrap().len(), 2, "Web leads to Core");
        assert!(resolve(&Installed(vec![("Core", "9.0.7")]), &both, &settings).is_err());
        assert!(resolve(&Installed(vec![("Web", "9.0.7")]), &of(&[("Web", "9.0.0")]), &settings).is_err());
        let apart = of(&[("Core", "8.0.0"), ("Web", "9.0.0")]);
        let why = resolve(&Installed(vec![("Core", "8.0.1"), ("Web", "9.0.7")]), &apart, &settings).unwrap_err();
        assert_eq!(why, Unresolved::Fails("Core is asked for as 9.0.0 and as 8.0.0".to_owned()));
    }
}
