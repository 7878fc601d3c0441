//! From what the linker could not load to problems of a program, in words, and the list of what it loaded.

use super::{LibraryFact, Problem, ProblemKind, Stage};
use crate::linker::{Failure, NotFound, Process, Why};
use crate::rootfs::Rootfs;
use crate::verdict::{Outcome, Place};

/// How many places or reasons one sentence lists.
const MOST_LISTED: usize = 8;

/// The problems that failures of loading are.
pub fn problems(failures: &[Failure], rootfs: &Rootfs) -> Vec<Problem> {
    failures.iter().map(|failure| problem(failure, rootfs)).collect()
}

fn problem(failure: &Failure, rootfs: &Rootfs) -> Problem {
    let removed = removed(failure, rootfs);
    let kind = match &failure.why {
        Why::VersionMissing { version, .. } if version.starts_with("GLIBC_") => ProblemKind::GlibcVersionMissing,
        Why::VersionMissing { .. } => ProblemKind::SymbolVersionMissing,
        Why::SymbolMissing { .. } => ProblemKind::SymbolMissing,
        _ => ProblemKind::LibraryMissing,
    };
    let is_absent = matches!(failure.why, Why::NotFound(_));
    Problem {
        kind,
        stage: Some(Stage::Start),
        outcome: outcome(failure),
        statement: statement(failure, rootfs),
        // A package that is installed already is not installed again because a layer took its files away.
        component: (is_absent && removed.is_none()).then(|| component(&failure.library)).flatten().map(str::to_owned),
        place: removed.unwrap_or_else(|| place(failure)),
    }
}

/// Fail, or unknown where it could not be told.
pub fn outcome(failure: &Failure) -> Outcome {
    match &failure.why {
        Why::Unknown(_) => Outcome::Unknown,
        Why::NotFound(found) if found.open.is_some() => Outcome::Unknown,
        _ => Outcome::Fail,
    }
}

/// What is wrong, who asks, and where was looked: a sentence.
pub fn statement(failure: &Failure, rootfs: &Rootfs) -> String {
    let Failure { library, asked_by, why, .. } = failure;
    match why {
        Why::NotFound(NotFound { looked_in, passed_over, open, .. }) => {
            let mut text = format!(
                "{library}, which {asked_by} needs, is in none of the places that the loader searches: {}",
                listed(looked_in)
            );
            for reason in passed_over.iter().take(MOST_LISTED) {
                text.push_str(&format!("; {reason}"));
            }
            if let Some(open) = open {
                text.push_str(&format!("; but {open}"));
            }
            if let Some(place) = removed(failure, rootfs)
                && let (Some(path), Some(layer)) = (&place.path, place.layer)
            {
                text.push_str(&format!("; layer {layer} takes {path} away"));
            }
            text
        }
        Why::Broken { path, why } => format!("{path}, which {asked_by} needs as {library}, {why}"),
        Why::VersionMissing { path, version } => {
            format!("{path} does not have the symbol version {version}, which {asked_by} needs")
        }
        Why::SymbolMissing { symbol, others, loaded } => {
            let more = match others {
                0 => String::new(),
                1 => " (and one more)".to_owned(),
                others => format!(" (and {others} more)"),
            };
            let loaded = if loaded.is_empty() { String::new() } else { format!("; it asks for {}", listed(loaded)) };
            format!("{asked_by} needs the symbol {symbol}{more}, which nothing that is loaded with it defines{loaded}")
        }
        Why::Unknown(why) => format!("whether {asked_by} finds {library} is not known: {why}"),
    }
}

/// Where it can be seen: the file that is wrong, else the file that asks, else the first folder that was searched.
pub fn place(failure: &Failure) -> Place {
    if failure.place.path.is_some() {
        return failure.place.clone();
    }
    let first = match &failure.why {
        Why::NotFound(found) => found.looked_in.iter().find(|place| place.ends_with("(default folder)")),
        _ => None,
    };
    first.map_or_else(Place::default, |place| Place::path(place.split(' ').next().unwrap_or_default()))
}

/// The layer that took a library away from where it was searched for.
pub fn removed(failure: &Failure, rootfs: &Rootfs) -> Option<Place> {
    let Why::NotFound(found) = &failure.why else { return None };
    let by_cache = found.cached.as_ref().and_then(|path| rootfs.removed(path.trim_start_matches('/')));
    by_cache.or_else(|| {
        found.looked_in.iter().find_map(|place| {
            let folder = place.split(" (").next().unwrap_or_default();
            rootfs.removed(&format!("{}/{}", folder.trim_start_matches('/'), failure.library))
        })
    })
}

/// What the loader's cache names although it is not there, in words, and the layer that took it away.
pub fn cached(failure: &Failure, rootfs: &Rootfs) -> Option<(String, Option<Place>)> {
    let Why::NotFound(NotFound { cached: Some(path), .. }) = &failure.why else { return None };
    let gone = rootfs.removed(path.trim_start_matches('/'));
    let what = match gone.as_ref().and_then(|place| place.path.as_ref().zip(place.layer)) {
        Some((real, layer)) => format!("which layer {layer} removed ({real})"),
        None => "which is not there".to_owned(),
    };
    Some((format!("/etc/ld.so.cache names {path}, {what}"), gone))
}

fn listed(places: &[String]) -> String {
    let mut text = places.iter().take(MOST_LISTED).map(String::as_str).collect::<Vec<_>>().join(", ");
    if places.len() > MOST_LISTED {
        text.push_str(", …");
    }
    text
}

/// What has to be installed to have a library, in the words of `rules/tables/packages.toml`.
pub fn component(library: &str) -> Option<&'static str> {
    let starts = |start: &str| library.starts_with(start);
    Some(match library {
        "libstdc++.so.6" => "libstdc++",
        "libgcc_s.so.1" => "libgcc",
        "libz.so.1" => "zlib",
        "libgssapi_krb5.so.2" => "krb5",
        _ if starts("libicu") => "icu",
        _ if starts("libssl.so") || starts("libcrypto.so") => "openssl",
        _ => return None,
    })
}

/// Every library of a process, with how it was found.
pub fn libraries(process: &Process<'_>) -> Vec<LibraryFact> {
    let objects = process.objects().iter().enumerate().skip(1);
    let fact = |(index, object): (usize, &crate::linker::Object<'_>)| LibraryFact {
        name: object.name().to_owned(),
        needed_by: process.asker(index).to_owned(),
        found: Some(object.path.clone()),
        how: object.how.words(),
        place: object.place.clone(),
        looked_in: Vec::new(),
    };
    objects.map(fact).collect()
}

/// A library that was asked for in vain.
pub fn not_loaded(failure: &Failure) -> Option<LibraryFact> {
    let (how, looked_in) = match &failure.why {
        Why::NotFound(NotFound { looked_in, passed_over, .. }) if passed_over.is_empty() => {
            ("not found".to_owned(), looked_in.clone())
        }
        Why::NotFound(NotFound { looked_in, passed_over, .. }) => {
            (format!("not found: {}", listed(passed_over)), looked_in.clone())
        }
        Why::Broken { path, why } => (format!("{path} {why}"), Vec::new()),
        Why::Unknown(why) => (why.clone(), Vec::new()),
        Why::VersionMissing { .. } | Why::SymbolMissing { .. } => return None,
    };
    Some(LibraryFact {
        name: failure.library.clone(),
        needed_by: failure.asked_by.clone(),
        found: None,
        how,
        place: failure.place.clone(),
        looked_in,
    })
}
