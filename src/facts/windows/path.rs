//! `PATH` of a Windows container: that of the configuration's Env alone, else the machine's and the user's of the registry.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::drive::{Drive, Look};
use super::registry::{Hive, Registry, Value, says};
use crate::facts::Fact;
use crate::facts::configuration::set_by;
use crate::image::config::Configuration;
use crate::layer::Kind;
use crate::layer::hive::HiveData;
use crate::rootfs::windows::{Sought, fold};
use crate::tables::windows::{WindowsKind, windows};
use crate::verdict::Place;

/// The most folders that are looked at.
const MOST_FOLDERS: usize = 300;
/// The user of a container whose configuration names none.
const DEFAULT_USER: &str = "ContainerAdministrator";
/// Variables that every process has, and their values in a container.
const VARIABLES: [(&str, &str); 8] = [
    ("systemroot", r"C:\Windows"),
    ("windir", r"C:\Windows"),
    ("systemdrive", "C:"),
    ("programfiles", r"C:\Program Files"),
    ("programfiles(x86)", r"C:\Program Files (x86)"),
    ("programdata", r"C:\ProgramData"),
    ("allusersprofile", r"C:\ProgramData"),
    ("public", r"C:\Users\Public"),
];

/// `PATH` as a container gets it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WindowsPath {
    /// Its folders, in order.
    pub entries: Vec<WindowsPathEntry>,
    /// The field that sets it, or the hive with the machine's part.
    pub place: Place,
    /// Folders that a layer above the base put on the registry's PATH, and that Env's hides.
    pub hidden: Vec<HiddenFolder>,
    /// Why it cannot be told whether there are more of those.
    pub hidden_open: Option<String>,
    /// The names of Env that differ from `PATH` in case only, each with its value, the last one counts.
    pub spellings: BTreeMap<String, String>,
}

/// One folder of `PATH`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WindowsPathEntry {
    /// Its name, variables of the registry replaced.
    pub folder: String,
    /// What is there.
    pub state: WindowsPathState,
    /// Which part of the environment it is from.
    pub of: WindowsPathOf,
    /// What put it there.
    pub place: Place,
}

/// What an entry of `PATH` is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WindowsPathState {
    /// A folder.
    Folder,
    /// Nothing is there.
    Missing,
    /// A file.
    NotAFolder,
    /// A path of Linux.
    Linux,
    /// It holds `%NAME%`, which nothing replaces there.
    Unexpanded,
    /// Not on drive C:, or relative.
    Elsewhere,
    /// A layer that was not read may have it.
    #[default]
    Unknown,
}

/// Which part of the environment an entry of `PATH` is from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WindowsPathOf {
    /// The configuration's `Env`, which replaces all others.
    #[default]
    Env,
    /// The machine's environment in the registry.
    Machine,
    /// The user's environment in the registry.
    User,
}

/// A folder that is on the registry's PATH only.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HiddenFolder {
    /// Its name.
    pub folder: String,
    /// The layer that put it there.
    pub place: Place,
}

/// Environment variables of the registry, by folded name.
type Variables = BTreeMap<String, String>;

/// `PATH`, or why it is not known.
pub(super) fn path(configuration: &Configuration, drive: &Drive<'_>, registry: &Registry<'_>) -> Fact<WindowsPath> {
    if drive.kind == Some(WindowsKind::HostProcess) {
        return Fact::not_applicable("containers of such an image have the PATH of their host");
    }
    let spellings = spellings(configuration);
    let variables = variables(configuration, registry);
    if let Some(text) = configuration.run.env.iter().rev().find_map(|entry| value_of(entry, "path")) {
        let place = set_by(configuration, "Env", "ENV", text);
        let entries = entries(text, WindowsPathOf::Env, &place, &Variables::new(), drive);
        let (hidden, hidden_open) = hidden(&entries, drive, registry, &variables);
        return Fact::Known(WindowsPath { entries, place, hidden, hidden_open, spellings });
    }
    let (text, place) = match machine(drive, registry) {
        Ok(found) => found,
        Err(why) => return Fact::unknown(why),
    };
    let mut all = entries(&text, WindowsPathOf::Machine, &place, &variables, drive);
    // setx writes the whole PATH anew: a folder comes from the first layer that had it.
    let of_base = default_of_base(drive).filter(|_| !registry.has_base());
    let texts = registry.texts(Hive::System, &environment_key(registry), "Path");
    let texts = texts.into_iter().map(|(text, place)| (text.to_owned(), place));
    let sources: Vec<(BTreeSet<String>, Place)> = of_base
        .into_iter()
        .chain(texts)
        .map(|(text, place)| {
            let folders = split(&text).into_iter().map(|folder| comparable(&expand(&folder, &variables)));
            (folders.collect(), place)
        })
        .collect();
    for entry in &mut all {
        let own = comparable(&entry.folder);
        if let Some((_, place)) = sources.iter().find(|(folders, _)| folders.contains(&own)) {
            entry.place = place.clone();
        }
    }
    if let Some((text, place)) = user(configuration, drive, registry) {
        all.extend(entries(text, WindowsPathOf::User, &place, &variables, drive));
    }
    Fact::Known(WindowsPath { entries: all, place, spellings, ..WindowsPath::default() })
}

/// The value of an Env entry of this name, in any case.
fn value_of<'a>(entry: &'a str, name: &str) -> Option<&'a str> {
    let (own, value) = entry.split_once('=')?;
    own.eq_ignore_ascii_case(name).then_some(value)
}

fn spellings(configuration: &Configuration) -> BTreeMap<String, String> {
    let all: BTreeMap<String, String> = configuration
        .run
        .env
        .iter()
        .filter(|entry| value_of(entry, "path").is_some())
        .filter_map(|entry| entry.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    if all.len() > 1 { all } else { BTreeMap::new() }
}

/// A variable as a container's processes have it: of Env, else of the registry.
pub(super) fn variable(configuration: &Configuration, registry: &Registry<'_>, name: &str) -> Option<String> {
    let by_env = configuration.run.env.iter().rev().find_map(|entry| value_of(entry, name)).map(str::to_owned);
    by_env.or_else(|| registry.text(Hive::System, &environment_key(registry), name).map(|(text, _)| text.to_owned()))
}

fn variables(configuration: &Configuration, registry: &Registry<'_>) -> Variables {
    let user = user_name(configuration);
    let mut all: Variables = VARIABLES.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    all.insert("userprofile".to_owned(), format!(r"C:\Users\{user}"));
    all.insert("localappdata".to_owned(), format!(r"C:\Users\{user}\AppData\Local"));
    all.insert("appdata".to_owned(), format!(r"C:\Users\{user}\AppData\Roaming"));
    // Those that tools leave for PATH to refer to.
    for name in ["ChocolateyInstall", "JAVA_HOME", "GOPATH", "GOROOT", "DOTNET_ROOT", "NVM_HOME", "NVM_SYMLINK"] {
        if let Some(value) = variable(configuration, registry, name) {
            all.insert(fold(name), value);
        }
    }
    all
}

/// The name without domain.
fn user_name(configuration: &Configuration) -> &str {
    let name = configuration.run.user.rsplit('\\').next().unwrap_or_default();
    if name.is_empty() { DEFAULT_USER } else { name }
}

fn environment_key(registry: &Registry<'_>) -> String {
    let current = match registry.value(Hive::System, "Select", "Current").found() {
        Some((HiveData::Number(number), _)) => *number,
        _ => 1,
    };
    format!(r"ControlSet{current:03}\Control\Session Manager\Environment")
}

/// The machine's part, and the hive that says it. That of a base that was not read is known by its kind.
fn machine(drive: &Drive<'_>, registry: &Registry<'_>) -> Result<(String, Place), String> {
    let found = registry.value(Hive::System, &environment_key(registry), "Path");
    let default = || default_of_base(drive).unwrap_or_default();
    match found {
        Value::Found(HiveData::Text(text), place) => Ok((text.clone(), place)),
        Value::Found(_, place) => Ok((String::new(), place)),
        Value::Open(layer, _) if layer < drive.base_layers && drive.base().is_some() => Ok(default()),
        Value::Open(_, why) | Value::Damaged(why) => Err(why),
        // An image whose layers hold no registry at all has what its base is known to have.
        Value::Absent if !registry.has_base() => Ok(default()),
        Value::Absent if !registry.base_has_key(Hive::System, &environment_key(registry)) => {
            Err(r"C:\Windows\System32\config\SYSTEM has no environment, so that PATH is not known".to_owned())
        }
        Value::Absent => Ok((String::new(), Place::path(r"C:\Windows\System32\config\SYSTEM"))),
    }
}

/// What the machine's part is known to be in a base, by its kind; of one of unknown kind what all have.
fn default_of_base(drive: &Drive<'_>) -> Option<(String, Place)> {
    let base = drive.base().or_else(|| windows().ok()?.base(WindowsKind::Nanoserver))?;
    // No layer that was read says so: it is known by the kind of base.
    Some((base.path.clone(), Place::path(r"C:\Windows\System32\config\SYSTEM")))
}

/// The user's part: of the user's own hive, else of what new users get.
fn user<'a>(configuration: &Configuration, drive: &Drive<'a>, registry: &Registry<'a>) -> Option<(&'a str, Place)> {
    let file = format!(r"C:\Users\{}\NTUSER.DAT", user_name(configuration));
    if let Sought::Found(node) = drive.files.find(&file) {
        let summary = node.detail.and_then(|detail| detail.hive.as_ref())?;
        if let Some(Some(HiveData::Text(text))) = says(summary, "Environment", "Path") {
            return Some((text, drive.files.place(&node)));
        }
    }
    registry.text(Hive::DefaultUser, "Environment", "Path")
}

/// What layers above the base put on the machine's PATH and Env's does not have.
fn hidden(
    entries: &[WindowsPathEntry],
    drive: &Drive<'_>,
    registry: &Registry<'_>,
    variables: &Variables,
) -> (Vec<HiddenFolder>, Option<String>) {
    let (text, place) = match registry.value(Hive::System, &environment_key(registry), "Path") {
        Value::Found(HiveData::Text(text), place) => (text, place),
        Value::Open(layer, why) if layer >= drive.base_layers => return (Vec::new(), Some(why)),
        Value::Damaged(why) => return (Vec::new(), Some(why)),
        _ => return (Vec::new(), None),
    };
    if place.layer.is_none_or(|layer| layer < drive.base_layers) {
        return (Vec::new(), None);
    }
    let shown: BTreeSet<String> = entries.iter().map(|entry| comparable(&entry.folder)).collect();
    let folders = split(text).into_iter().map(|folder| expand(&folder, variables));
    let hidden = folders.filter(|folder| !shown.contains(&comparable(folder)));
    (hidden.map(|folder| HiddenFolder { folder, place: place.clone() }).collect(), None)
}

/// A folder's name as it is compared.
pub(super) fn comparable(folder: &str) -> String {
    fold(&folder.replace('/', "\\")).trim_end_matches('\\').to_owned()
}

fn entries(
    text: &str,
    of: WindowsPathOf,
    place: &Place,
    variables: &Variables,
    drive: &Drive<'_>,
) -> Vec<WindowsPathEntry> {
    let entry = |folder: String| {
        let folder = expand(&folder, variables);
        WindowsPathEntry { state: state(&folder, drive), folder, of, place: place.clone() }
    };
    split(text).into_iter().take(MOST_FOLDERS).map(entry).collect()
}

/// The folders of a PATH: quotes are taken off, and a semicolon within them does not part.
fn split(text: &str) -> Vec<String> {
    let (mut folders, mut folder, mut is_quoted) = (Vec::new(), String::new(), false);
    for letter in text.chars().chain([';']) {
        match letter {
            '"' => is_quoted = !is_quoted,
            ';' if !is_quoted => {
                let whole = std::mem::take(&mut folder);
                if !whole.trim().is_empty() {
                    folders.push(whole.trim().to_owned());
                }
            }
            _ => folder.push(letter),
        }
    }
    folders
}

/// Replaces `%NAME%` by what `variables` have; others stay as they are.
fn expand(text: &str, variables: &Variables) -> String {
    let mut parts = text.split('%');
    let mut expanded = parts.next().unwrap_or_default().to_owned();
    let mut rest: Vec<&str> = parts.collect();
    rest.reverse();
    while let Some(name) = rest.pop() {
        match (variables.get(&fold(name)), rest.pop()) {
            (Some(value), Some(after)) => {
                expanded.push_str(value);
                expanded.push_str(after);
            }
            (_, after) => {
                expanded.push('%');
                expanded.push_str(name);
                // What follows may be the beginning of another name.
                rest.extend(after);
            }
        }
    }
    expanded
}

fn state(folder: &str, drive: &Drive<'_>) -> WindowsPathState {
    let is_c = folder.get(..2).is_some_and(|drive| drive.eq_ignore_ascii_case("c:"))
        || (folder.starts_with('\\') && !folder.starts_with(r"\\"));
    if folder.starts_with('/') {
        return WindowsPathState::Linux;
    }
    if folder.contains('%') {
        return WindowsPathState::Unexpanded;
    }
    if !is_c {
        return WindowsPathState::Elsewhere;
    }
    match drive.files.find(folder) {
        Sought::Found(node) if node.kind == Kind::Directory => WindowsPathState::Folder,
        Sought::Found(_) => WindowsPathState::NotAFolder,
        Sought::Absent => by_base(folder, drive).unwrap_or(WindowsPathState::Missing),
        Sought::Open(_) => by_base(folder, drive).unwrap_or(WindowsPathState::Unknown),
    }
}

/// Folders that are on the base's own PATH are nobody's mistake, even where the base does not have them.
fn by_base(folder: &str, drive: &Drive<'_>) -> Option<WindowsPathState> {
    let default = windows().ok()?.base(drive.kind.unwrap_or(WindowsKind::ServercoreOrLarger))?;
    let is_default = split(&default.path).iter().any(|known| comparable(known) == comparable(folder));
    let is_store = comparable(folder).ends_with(r"\appdata\local\microsoft\windowsapps");
    (is_default || is_store).then_some(WindowsPathState::Folder)
}

/// The folders of `PATH`; of one that is not known those that every base has.
pub(super) fn folders(path: &Fact<WindowsPath>) -> Vec<String> {
    match path {
        Fact::Known(path) => path.entries.iter().map(|entry| entry.folder.clone()).collect(),
        _ => {
            let base = windows().ok().and_then(|table| table.base(WindowsKind::ServercoreOrLarger));
            base.map(|base| split(&base.path)).unwrap_or_default()
        }
    }
}

/// Looks for `name` in the folders of `PATH`, in order.
pub(super) fn in_path<'a>(path: &WindowsPath, drive: &Drive<'a>, name: &str) -> Look<'a> {
    let mut open = None;
    for entry in path.entries.iter().filter(|entry| is_searched(entry)) {
        let folder = entry.folder.trim_end_matches(['\\', '/']);
        match drive.find(&format!(r"{folder}\{name}")) {
            found @ (Look::Found(_) | Look::OfBase(_)) => {
                if !matches!(&found, Look::Found(node) if node.kind == Kind::Directory) {
                    return found;
                }
            }
            Look::Open(why) => drop(open.get_or_insert(why)),
            Look::Absent => {}
        }
    }
    open.map_or(Look::Absent, Look::Open)
}

/// Whether commands are looked for in an entry.
pub(super) fn is_searched(entry: &WindowsPathEntry) -> bool {
    matches!(entry.state, WindowsPathState::Folder | WindowsPathState::Unknown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_parted_by_semicolons_outside_quotes() {
        assert_eq!(split(r#"C:\a;;"C:\b;c" ;  C:\d"#), [r"C:\a", r"C:\b;c", r"C:\d"]);
    }

    #[test]
    fn variables_are_replaced_and_unknown_ones_stay() {
        let variables = Variables::from([("systemroot".to_owned(), r"C:\Windows".to_owned())]);
        for (text, expected) in [
            (r"%SystemRoot%\system32", r"C:\Windows\system32"),
            (r"%OTHER%\x%systemroot%", r"%OTHER%\xC:\Windows"),
            ("100%", "100%"),
            ("%%", "%%"),
        ] {
            assert_eq!(expand(text, &variables), expected);
        }
    }
}
