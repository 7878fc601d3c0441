//! Decides by the release of Windows that an image is based on: whether it is known, old, supported, and runs on a host.

use serde::Deserialize;

use super::{list, when_known};
use crate::facts::Facts;
use crate::facts::windows::{StatedVersion, Windows};
use crate::parameters::Parameters;
use crate::tables::windows::{WindowsBuild, WindowsKind, WindowsTable, windows};
use crate::verdict::{Answer, Evidence, Place};

/// `kind = "windows-version"`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct WindowsVersion {
    /// What is asked of the version.
    pub is: Asked,
    /// The oldest build that will do, for `at-least`.
    #[serde(default)]
    pub build: u32,
}

/// What is asked of a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Asked {
    /// It is said somewhere.
    Known,
    /// It is a certain build or a later one.
    AtLeast,
    /// All places that say one agree.
    Agreed,
    /// Its support has not ended.
    Supported,
}

impl WindowsVersion {
    pub(super) fn judge(&self, facts: &Facts) -> Answer {
        let place = Place::field("os.version");
        when_known(&facts.windows, &place, |found| match (self.is, found.build) {
            _ if is_host_process(found) => {
                Answer::not_applicable("the image has no Windows of its own: its containers use that of their host")
            }
            (Asked::Known, None) => Answer::fail([place.says(not_known(found))]),
            (Asked::Known, Some(_)) => Answer::pass(),
            (_, None) => Answer::unknown(&place, not_known(found)),
            (Asked::AtLeast, Some(build)) if build < self.build => {
                Answer::fail([first_place(found).says(format!("the image is based on {}", called(found)))])
            }
            (Asked::AtLeast, Some(_)) => Answer::pass(),
            (Asked::Agreed, Some(_)) => agreed(&found.stated),
            (Asked::Supported, Some(_)) => supported(found),
        })
    }
}

fn is_host_process(found: &Windows) -> bool {
    found.kind.known() == Some(&WindowsKind::HostProcess)
}

fn first_place(found: &Windows) -> Place {
    found.stated.first().map_or_else(|| Place::field("os.version"), |stated| stated.place.clone())
}

fn called(found: &Windows) -> String {
    let version = found.version.as_deref().unwrap_or_default();
    match &found.name {
        Some(name) => format!("{name} ({version})"),
        None => format!("Windows {version}"),
    }
}

fn not_known(found: &Windows) -> String {
    match found.stated.first() {
        None => {
            let told = "neither the configuration nor an index entry nor the history says a version of Windows";
            match (&found.version_trouble, found.unread_layers.first()) {
                (Some(trouble), _) => format!("{told}, and {trouble}"),
                (None, Some(unread)) => format!("{told}, and layer {} was not read: {}", unread.layer, unread.why),
                (None, None) => format!("{told}, and the layers hold no file that does"),
            }
        }
        Some(stated) => format!("{:?} is no version of Windows that is known", stated.version),
    }
}

fn agreed(stated: &[StatedVersion]) -> Answer {
    let Some((first, others)) = stated.split_first() else { return Answer::pass() };
    let differs = |other: &&StatedVersion| {
        let revisions = first.revision.zip(other.revision).is_some_and(|(own, other)| own != other);
        // The history tells of the base, on top of which an update may have raised the revision; and not every update
        // changes every file.
        let is_of_base = other.place.instruction.is_some() || other.place.path.is_some();
        other.build.is_some() && (other.build != first.build || (revisions && !is_of_base))
    };
    let different: Vec<&StatedVersion> = others.iter().filter(differs).collect();
    if different.is_empty() {
        return Answer::pass();
    }
    let says = |stated: &StatedVersion| stated.place.says(format!("this says {}", stated.version));
    Answer::fail([first].into_iter().chain(different).map(says))
}

/// By the day on which the table was read, so that the same image gives the same report tomorrow.
fn supported(found: &Windows) -> Answer {
    let Ok(table) = windows() else { return Answer::unknown(&Place::default(), "the table of releases is broken") };
    let has_ended = |day: &Option<String>| day.as_ref().filter(|day| **day < table.read).cloned();
    let place = first_place(found);
    match (has_ended(&found.all_end), has_ended(&found.mainstream_end)) {
        (Some(day), _) => Answer::fail([place.says(format!("all support of {} ended on {day}", called(found)))]),
        (None, Some(day)) => {
            let until = found.all_end.as_deref().unwrap_or_default();
            let statement =
                format!("mainstream support of {} ended on {day}; security updates come until {until}", called(found));
            Answer::fail([place.says(statement)]).lesser()
        }
        (None, None) if found.name.is_none() => {
            Answer::unknown(&place, format!("it is not known until when {} is supported", called(found)))
        }
        (None, None) => Answer::pass(),
    }
}

/// `kind = "windows-host"`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct WindowsHost {
    /// The profile's parameter that names the hosts.
    pub parameter: String,
}

impl WindowsHost {
    pub(super) fn judge(&self, facts: &Facts, parameters: &Parameters) -> Answer {
        let place = Place::field("os.version");
        when_known(&facts.windows, &place, |found| {
            let hosts = parameters.texts(&self.parameter);
            let Ok(table) = windows() else { return Answer::unknown(&place, "the table of releases is broken") };
            if hosts.is_empty() {
                return Answer::not_applicable("no host was named that it has to run on");
            }
            if is_host_process(found) {
                return Answer::not_applicable(
                    "a container of such an image runs on any host, as one of its processes",
                );
            }
            let Some(build) = found.build else { return Answer::unknown(&place, not_known(found)) };
            let image = WindowsBuild { build, revision: found.revision };
            let takes_other = |name: &String| found.hosts.iter().any(|fact| fact.host == *name && fact.takes_other());
            if hosts.iter().all(takes_other) {
                return Answer::not_applicable("the hosts take other entries of the index");
            }
            let on_host = |name: &String| match table.host(name) {
                Some(host) => runs_on(table, (name, host), found, image),
                None => {
                    let tags: Vec<&str> =
                        table.release.iter().flat_map(|known| &known.tags).map(String::as_str).collect();
                    let why =
                        format!("{name:?} is no host that is known: a version such as 10.0.20348, or {}", list(&tags));
                    Answer::unknown(&place, why)
                }
            };
            Answer::worst(hosts.iter().filter(|name| !takes_other(name)).map(on_host))
        })
    }
}

/// Whether one host runs the image.
fn runs_on(table: &WindowsTable, (name, host): (&str, WindowsBuild), found: &Windows, image: WindowsBuild) -> Answer {
    match (table.runs_as_process(host, image), table.runs_by_hyperv(host, image)) {
        (Some(true), _) => Answer::pass(),
        (None, _) => {
            let why = format!("whether {name} runs {} depends on the host's revision", called(found));
            Answer::unknown(&first_place(found), why)
        }
        (Some(false), true) => {
            let by_default =
                if is_client(host) { "as clients do by default" } else { "which servers do not use by default" };
            let statement =
                format!("a host with {name} runs {} by Hyper-V isolation only, {by_default}", called(found));
            Answer::fail([first_place(found).says(statement)]).lesser()
        }
        (Some(false), false) => {
            let statement = format!("a host with {name} cannot run {}, which is newer", called(found));
            Answer::fail([first_place(found).says(statement)])
        }
    }
}

/// Whether a build is one of Windows 10 or 11, of which there is no server.
fn is_client(host: WindowsBuild) -> bool {
    [19043, 19044, 19045, 22000, 22621, 22631, 26200].contains(&host.build)
}

/// `kind = "foreign-layers"`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ForeignLayers {}

impl ForeignLayers {
    #[allow(clippy::unused_self, reason = "all checks are called alike")]
    pub(super) fn judge(&self, facts: &Facts) -> Answer {
        when_known(&facts.windows, &Place::field("layers"), |found| {
            let evidence: Vec<Evidence> = found
                .foreign_layers
                .iter()
                .map(|foreign| {
                    let place =
                        Place { layer: Some(foreign.layer), ..Place::field(&format!("layers[{}]", foreign.layer)) };
                    let from = foreign.urls.first().map(|url| format!(", to be had from {url}")).unwrap_or_default();
                    place.says(format!("layer {} is {}{from}", foreign.layer, foreign.media_type))
                })
                .collect();
            if evidence.is_empty() { Answer::pass() } else { Answer::fail(evidence) }
        })
    }
}

/// `kind = "windows-base"`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct WindowsBasePresent {}

impl WindowsBasePresent {
    #[allow(clippy::unused_self, reason = "all checks are called alike")]
    pub(super) fn judge(&self, facts: &Facts) -> Answer {
        let place = Place::path(r"C:\Windows\System32");
        when_known(&facts.windows, &place, |found| {
            when_known(&found.system, &place, |system| match (&found.kind_known_by, system.present) {
                (_, true) => Answer::pass(),
                (Some(known_by), false) if is_host_process(found) => Answer::fail([place.says(known_by)]),
                (_, false) => Answer::fail([system.place.says(&system.known_by)]),
            })
        })
    }
}
