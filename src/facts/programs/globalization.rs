//! Whether a .NET program reaches culture data: invariant or not, and the probe for ICU as the runtime does it.

use std::collections::BTreeSet;

use super::collect::{Runtime, Surroundings};
use super::cultures;
use super::loading::{cached, component, not_loaded, outcome, removed, statement};
use super::{DotnetFact, LibraryFact, Problem, ProblemKind, Stage};
use crate::layer::path::absolute;
use crate::linker::{Failure, Process, Why};
use crate::tables::dotnet::{Icu, Release};
use crate::verdict::{Outcome, Place};

const INVARIANT: &str = "DOTNET_SYSTEM_GLOBALIZATION_INVARIANT";
const APP_LOCAL: &str = "DOTNET_SYSTEM_GLOBALIZATION_APPLOCALICU";
/// A libicudata smaller than this has no data of its own, in bytes; the smallest real one has megabytes.
const STUB: u64 = 256 << 10;
/// No distribution has a newer ICU than this yet.
const NEWEST_OF_ALL: u32 = 80;
/// How many failures one sentence tells.
const MOST_TOLD: usize = 4;

/// What became of the stage.
#[derive(Default)]
pub struct Reached {
    /// What is wrong.
    pub problems: Vec<Problem>,
    /// Libraries that were asked for in vain.
    pub libraries: Vec<LibraryFact>,
    /// Their names.
    pub missing: Vec<String>,
}

/// Whether globalization is off, and what decides that (dotnet/runtime, `GlobalizationMode.cs` and
/// `AppContextConfigHelper.cs`; since 9.0 the environment comes first).
pub fn invariant(release: &Release, own: Option<bool>, variable: Option<&str>) -> (bool, Option<String>) {
    let is_on = |value: &str| value == "1" || value.eq_ignore_ascii_case("true");
    let is_off = |value: &str| value == "0" || value.eq_ignore_ascii_case("false");
    let by_variable = |value: &str| Some(format!("{INVARIANT} is {value:?} in the image's environment"));
    let by_program = |value: bool| Some(format!("the program's own runtimeconfig.json says {value}"));
    match (own, variable) {
        (_, Some(value)) if release.environment_decides_invariant && is_on(value) => (true, by_variable(value)),
        (_, Some(value)) if release.environment_decides_invariant && is_off(value) => (false, by_variable(value)),
        (Some(own), _) => (own, by_program(own)),
        (None, Some(value)) if !release.environment_decides_invariant && is_on(value) => (true, by_variable(value)),
        (None, Some(value)) => (false, Some(format!("{INVARIANT} is {value:?}, which does not count"))),
        (None, None) => (false, None),
    }
}

/// Goes through the stage, and leaves in `process` what it loads.
pub fn reach(
    around: &Surroundings<'_>,
    runtime: &Runtime,
    release: &Release,
    process: &mut Process<'_>,
    caller: usize,
    fact: &mut DotnetFact,
) -> Reached {
    let variable = around.variable(INVARIANT);
    (fact.invariant, fact.invariant_by) = invariant(release, runtime.invariant, variable);
    if fact.invariant {
        let decided = fact.invariant_by.as_ref().filter(|by| by.starts_with(INVARIANT));
        let problem = decided.map(|by| Problem {
            kind: ProblemKind::GlobalizationInvariant,
            stage: None,
            outcome: Outcome::Fail,
            statement: format!("{by}, so a program for .NET {} has no cultures but the invariant one", release.version),
            place: around.variable_place(INVARIANT),
            component: None,
        });
        return Reached { problems: problem.into_iter().collect(), ..Reached::default() };
    }
    let culture = cultures::problem(around, runtime, release);
    let app_local = runtime.app_local_icu.as_deref().or_else(|| around.variable(APP_LOCAL));
    let mut reached = match app_local.filter(|value| release.icu.app_local && !value.is_empty()) {
        Some(value) => app_local_icu(around, runtime, value, process, caller, fact),
        None => Probe { around, release, process, caller, failures: Vec::new(), stop: None }.run(fact),
    };
    reached.problems.extend(culture);
    reached
}

/// The libraries of an ICU that a program brings along: `[suffix:]version` (dotnet/runtime,
/// `GlobalizationMode.LoadAppLocalIcu.cs`).
fn app_local_icu(
    around: &Surroundings<'_>,
    runtime: &Runtime,
    value: &str,
    process: &mut Process<'_>,
    caller: usize,
    fact: &mut DotnetFact,
) -> Reached {
    let (suffix, version) = value.split_once(':').unwrap_or(("", value));
    for stem in ["libicudata", "libicuuc", "libicui18n"] {
        let name = format!("{stem}{suffix}.so.{version}");
        let own = runtime.app_folder.as_ref().map(|folder| format!("{folder}/{name}"));
        let beside = own.and_then(|path| process.open(&path, caller).ok());
        if beside.is_some() {
            continue;
        }
        if let Err(failures) = process.open(&name, caller) {
            let told = failures.iter().map(|failure| statement(failure, around.rootfs)).collect::<Vec<_>>().join("; ");
            let problem = Problem {
                kind: ProblemKind::IcuUnusable,
                stage: Some(Stage::Globalization),
                outcome: worst(&failures),
                statement: format!("the program is to use an ICU of its own ({value}), which cannot be loaded: {told}"),
                place: around.variable_place(APP_LOCAL),
                component: None,
            };
            let libraries = failures.iter().filter_map(not_loaded).collect();
            return Reached { problems: vec![problem], libraries, missing: vec![name] };
        }
    }
    fact.icu = Some(version.to_owned());
    Reached::default()
}

/// Unknown only if nothing is known to fail.
fn worst(failures: &[Failure]) -> Outcome {
    let fails = failures.iter().any(|failure| outcome(failure) == Outcome::Fail);
    if fails { Outcome::Fail } else { Outcome::Unknown }
}

/// One version that is tried: `72`, `72.1`, `72.1.1`, maybe with SUSE's prefix.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Candidate {
    prefix: &'static str,
    numbers: Vec<u32>,
}

impl Candidate {
    fn version(&self) -> String {
        self.numbers.iter().map(u32::to_string).collect::<Vec<_>>().join(".")
    }

    fn library(&self, stem: &str) -> String {
        format!("{stem}.so.{}{}", self.prefix, self.version())
    }

    /// The endings that symbols of this version may have, in the order in which they are tried.
    fn endings(&self) -> Vec<String> {
        let versioned = (1..=self.numbers.len())
            .map(|count| self.numbers[..count].iter().map(|number| format!("_{number}")).collect::<String>());
        std::iter::once(String::new()).chain(versioned).collect()
    }
}

/// All that the runtime tries, in its order (dotnet/runtime, `pal_icushim.c`, `FindICULibs`).
fn candidates(icu: &Icu, newest: u32, chosen: Option<&str>) -> Vec<Candidate> {
    let mut all = Vec::new();
    let majors: Vec<u32> = (icu.oldest..=newest).rev().collect();
    for prefix in ["", "suse"] {
        let mut add = |numbers: &[u32]| all.push(Candidate { prefix, numbers: numbers.to_vec() });
        if let Some(numbers) = chosen.map(|text| chosen_numbers(text, icu)).filter(|numbers| !numbers.is_empty()) {
            add(&numbers);
        }
        if icu.oldest_first {
            add(&[icu.oldest]);
        }
        majors.iter().for_each(|&major| add(&[major]));
        for &major in &majors {
            (1..=5).rev().for_each(|minor| add(&[major, minor]));
        }
        for &major in &majors {
            for minor in (1..=5).rev() {
                (1..=5).rev().for_each(|sub| add(&[major, minor, sub]));
            }
        }
    }
    all
}

/// The numbers of the variable as `sscanf("%d.%d.%d")` reads them; none if it does not begin with one.
fn chosen_numbers(text: &str, icu: &Icu) -> Vec<u32> {
    if let Some(build) = icu.build.filter(|_| text == "build") {
        return vec![build];
    }
    let mut numbers = Vec::new();
    let mut rest = text.trim_start();
    while numbers.len() < 3 {
        let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let Ok(number) = rest[..end].parse() else { break };
        numbers.push(number);
        match rest[end..].strip_prefix('.') {
            Some(more) => rest = more,
            None => break,
        }
    }
    numbers
}

/// The search for ICU in a running program.
struct Probe<'p, 'a> {
    around: &'p Surroundings<'p>,
    release: &'p Release,
    process: &'p mut Process<'a>,
    caller: usize,
    /// Why libraries that are there cannot be used.
    failures: Vec<Failure>,
    /// What ends the search for good.
    stop: Option<(String, Place)>,
}

impl Probe<'_, '_> {
    fn run(mut self, fact: &mut DotnetFact) -> Reached {
        let icu = &self.release.icu;
        let newest = if self.process.is_musl() { icu.newest_on_musl.unwrap_or(icu.newest) } else { icu.newest };
        // Of the many names that are tried only these can be found.
        let mut names = self.process.known_names("libicuuc.so.");
        names.extend(self.there().iter().map(|path| name_of(path).to_owned()));
        let chosen = self.around.variable(&icu.variable);
        let all = if names.is_empty() { Vec::new() } else { candidates(icu, newest, chosen) };
        for candidate in all {
            if !names.contains(&candidate.library("libicuuc")) {
                continue;
            }
            if self.try_version(&candidate) {
                fact.icu = Some(candidate.version());
                return Reached::default();
            }
            if self.stop.is_some() {
                break;
            }
        }
        self.in_vain(newest)
    }

    /// The files that are some version of libicuuc.
    fn there(&self) -> Vec<String> {
        self.around.rootfs.files_named("libicuuc.so")
    }

    /// Opens one version and checks that it is one; gives up what it loaded if not.
    fn try_version(&mut self, candidate: &Candidate) -> bool {
        let before = self.process.objects().len();
        let opened = self.process.open(&candidate.library("libicuuc"), self.caller);
        let Some(uc) = self.kept(opened) else { return false };
        let ending = self.ending(uc, "u_strlen", candidate);
        if ending.is_none() && !self.release.icu.trusts_names {
            self.other_version(uc, candidate);
            self.process.close_to(before);
            return false;
        }
        let opened = self.process.open(&candidate.library("libicui18n"), self.caller);
        let Some(i18n) = self.kept(opened) else {
            self.process.close_to(before);
            return false;
        };
        // From here on the runtime does not look further: what is wrong now ends the program.
        let has = |index: usize, stem: &str, ending: &str| {
            self.process.objects()[index].elf.icu_symbols.contains(&format!("{stem}{ending}"))
        };
        match ending {
            Some(ending) if has(i18n, "ucol_open", &ending) => {}
            Some(_) => return self.stop_at(i18n, "is not of the same version as libicuuc: it lacks its symbols"),
            None => return self.stop_at(uc, &format!("is not ICU {}: it lacks its symbols", candidate.version())),
        }
        if let Some(why) = self.without_data(candidate.numbers[0]) {
            self.stop = Some(why);
        }
        self.stop.is_none()
    }

    fn kept(&mut self, opened: Result<usize, Vec<Failure>>) -> Option<usize> {
        match opened {
            Ok(index) => Some(index),
            Err(failures) => {
                self.failures.extend(failures);
                None
            }
        }
    }

    fn ending(&self, index: usize, stem: &str, candidate: &Candidate) -> Option<String> {
        let symbols = &self.process.objects()[index].elf.icu_symbols;
        candidate.endings().into_iter().find(|ending| symbols.contains(&format!("{stem}{ending}")))
    }

    fn stop_at(&mut self, index: usize, why: &str) -> bool {
        let object = &self.process.objects()[index];
        self.stop = Some((format!("{} {why}", object.path), object.place.clone()));
        false
    }

    /// A library that goes by a version whose symbols it does not have.
    fn other_version(&mut self, index: usize, candidate: &Candidate) {
        let object = &self.process.objects()[index];
        let own = object.elf.icu_symbols.iter().find_map(|symbol| symbol.strip_prefix("u_strlen_"));
        let own = own.map_or_else(String::new, |own| format!(", but those of ICU {}", own.replace('_', ".")));
        let why = format!("does not have the symbols of ICU {}{own}", candidate.version());
        self.failures.push(Failure {
            library: candidate.library("libicuuc"),
            asked_by: self.process.objects()[self.caller].path.clone(),
            why: Why::Broken { path: object.path.clone(), why },
            place: object.place.clone(),
        });
    }

    /// Why there is no data though there is a libicudata: some distributions keep it in a file of its own.
    fn without_data(&self, major: u32) -> Option<(String, Place)> {
        let data = self.process.objects().iter().find(|object| object.name().starts_with("libicudata"))?;
        let size = self.around.rootfs.find(&data.path).map_or(0, |node| node.size);
        if size >= STUB {
            return None;
        }
        let file = format!("icudt{major}{}.dat", if data.elf.is_little_endian { 'l' } else { 'b' });
        let is_set = self.around.variable("ICU_DATA").map(|folder| format!("{folder}/{file}"));
        let is_there = is_set.is_some_and(|path| self.around.rootfs.find(&path).is_ok())
            || self.around.rootfs.files_named(&file).iter().any(|path| path.starts_with("usr/share/icu/"));
        let why = format!("{} holds no data ({size} bytes), and there is no /usr/share/icu/*/{file}", data.path);
        (!is_there).then(|| (why, data.place.clone()))
    }

    fn in_vain(mut self, newest: u32) -> Reached {
        let (icu, version) = (&self.release.icu, &self.release.version);
        let there = self.there();
        let asker = self.process.objects()[self.caller].path.clone();
        let wanted = format!("ICU {} to {newest}", icu.oldest);
        let problem = |kind, outcome, statement: String, place, component: Option<&str>| Problem {
            kind,
            stage: Some(Stage::Globalization),
            outcome,
            statement,
            place,
            // Distributions have newer ones than old releases take.
            component: component.map(|name| match name {
                "icu" if icu.newest < NEWEST_OF_ALL => format!("icu-{newest}"),
                name => name.to_owned(),
            }),
        };
        // What the search for a version that nobody has says of the places.
        let first = self.process.open(&format!("libicuuc.so.{newest}"), self.caller).err().unwrap_or_default();
        let places = match first.first().map(|failure| &failure.why) {
            Some(Why::NotFound(found)) => found.looked_in.clone(),
            _ => Vec::new(),
        };
        let mut libraries: Vec<LibraryFact> = self.failures.iter().filter_map(not_loaded).collect();
        let mut missing: Vec<String> = self.failures.iter().map(|failure| failure.library.clone()).collect();
        missing.dedup();
        if missing.is_empty() {
            missing.push("libicuuc.so".to_owned());
            libraries.push(LibraryFact {
                name: format!("libicuuc.so.N (N from {} to {newest})", icu.oldest),
                needed_by: asker.clone(),
                how: "not found".to_owned(),
                looked_in: places.clone(),
                ..LibraryFact::default()
            });
        }
        let reached = |problem| Reached { problems: vec![problem], libraries, missing };
        if let Some((why, place)) = self.stop.take() {
            let statement = format!("{why}; .NET {version} takes no other and ends");
            return reached(problem(ProblemKind::IcuUnusable, Outcome::Fail, statement, place, Some("icu")));
        }
        // What the cache alone knows is no ICU.
        let is_gone = |failure: &Failure| {
            failure.library.starts_with("libicuuc.so")
                && matches!(&failure.why, Why::NotFound(found) if found.open.is_none())
        };
        if there.is_empty() && self.failures.iter().all(is_gone) {
            let cached = self.failures.iter().find_map(|failure| cached(failure, self.around.rootfs));
            let (named, gone) = cached.map_or((String::new(), None), |(named, gone)| (format!("; {named}"), gone));
            let statement =
                format!("there is no ICU: {asker} looks for libicuuc.so.N ({wanted}) in {}{named}", places.join(", "));
            let gone = gone.or_else(|| gone_icu(self.around, &places));
            let place = gone.unwrap_or_else(|| Place::path(&first_default(&places)));
            let component = place.layer.is_none().then_some("icu");
            return reached(problem(ProblemKind::IcuMissing, Outcome::Fail, statement, place, component));
        }
        // A file that is there and wrong says more than a name of which there is none.
        self.failures.sort_by_key(is_gone);
        if let Some(failure) = self.failures.first() {
            let told: BTreeSet<String> =
                self.failures.iter().map(|failure| statement(failure, self.around.rootfs)).take(MOST_TOLD).collect();
            let told = told.into_iter().collect::<Vec<_>>().join("; ");
            let statement = format!("there is an ICU, but .NET {version} ({wanted}) cannot use it: {told}");
            let gone = removed(failure, self.around.rootfs);
            let lacks = matches!(failure.why, Why::NotFound(_)) && gone.is_none();
            let place = gone.unwrap_or_else(|| failure.place.clone());
            let component = lacks.then(|| component(&failure.library)).flatten();
            return reached(problem(ProblemKind::IcuUnusable, worst(&self.failures), statement, place, component));
        }
        let paths: Vec<String> = there.iter().take(MOST_TOLD).map(|path| absolute(path)).collect();
        let statement = format!(
            "the only ICU is {}, which .NET {version} does not find: it takes {wanted} by a name such as libicuuc.so.{newest}, and looks in {}",
            paths.join(", "),
            places.join(", ")
        );
        let place = self
            .around
            .rootfs
            .find(&there[0])
            .map_or_else(|_| Place::path(&absolute(&there[0])), |node| self.around.rootfs.place(&there[0], &node));
        reached(problem(ProblemKind::IcuUnusable, Outcome::Fail, statement, place, None))
    }
}

/// The layer that took ICU away, if a lower one had it.
fn gone_icu(around: &Surroundings<'_>, places: &[String]) -> Option<Place> {
    let folders = places.iter().map(|place| place.split(" (").next().unwrap_or_default().trim_start_matches('/'));
    let removed = around.rootfs.removed_files("libicuuc.so.");
    let found = removed.iter().find(|path| folders.clone().any(|folder| path.starts_with(&format!("{folder}/"))));
    around.rootfs.removed(found.or_else(|| removed.first())?)
}

fn first_default(places: &[String]) -> String {
    let default = places.iter().find(|place| place.ends_with("(default folder)"));
    default.map_or_else(|| "/usr/lib".to_owned(), |place| place.split(' ').next().unwrap_or_default().to_owned())
}

fn name_of(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tables::dotnet::dotnet;

    fn release(version: &str) -> &'static Release {
        dotnet().unwrap().release(version).unwrap()
    }

    #[test]
    fn up_to_8_the_program_decides_and_from_9_on_the_environment() {
        let is = |version: &str, own, variable| invariant(release(version), own, variable).0;
        for version in ["3.1", "8.0"] {
            assert!(is(version, Some(true), Some("0")) && !is(version, Some(false), Some("1")), "{version}");
            assert!(is(version, None, Some("True")) && !is(version, None, Some("yes")), "{version}");
        }
        for version in ["9.0", "10.0"] {
            assert!(!is(version, Some(true), Some("0")) && is(version, Some(false), Some("1")), "{version}");
            assert!(is(version, Some(true), Some("yes")) && is(version, Some(true), Some("")), "{version}");
            assert!(!is(version, None, Some("yes")) && !is(version, None, None), "{version}");
        }
    }

    #[test]
    fn the_newest_is_tried_first_and_with_3_1_the_oldest_before_it() {
        let order = |version: &str, chosen| candidates(&release(version).icu, release(version).icu.newest, chosen);
        assert_eq!(order("8.0", None)[0].library("libicuuc"), "libicuuc.so.85");
        assert_eq!(order("3.1", None)[0].numbers, [50]);
        assert_eq!(order("3.1", None)[1].numbers, [70]);
        assert_eq!(order("8.0", Some("72.1"))[0].numbers, [72, 1]);
        assert_eq!(order("8.0", Some("build"))[0].numbers, [55]);
        assert_eq!(order("8.0", Some("x"))[0].numbers, [85]);
        // 36 majors, each also with 5 minors, each of those also with 5 subs; once more for SUSE.
        assert_eq!(order("8.0", None).len(), 2 * 36 * (1 + 5 + 25));
    }

    #[test]
    fn symbols_end_in_the_version() {
        let candidate = Candidate { prefix: "suse", numbers: vec![65, 1] };
        assert_eq!(candidate.library("libicui18n"), "libicui18n.so.suse65.1");
        assert_eq!(candidate.endings(), ["", "_65", "_65_1"]);
    }
}
