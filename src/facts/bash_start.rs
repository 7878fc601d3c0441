//! Finds what the image's environment does to every script of bash before its first line: `BASH_ENV`, `SHELLOPTS`, exported
//! functions, and tildes in `PATH`, which bash expands and other programs do not.

use serde::{Deserialize, Serialize};

use super::SearchPath;
use super::off_path::folders_of;
use super::programs::Surroundings;
use super::search_path::look_at_entries;
use super::shell_files::{ShellFile, ShellFiles};
use crate::printable::excerpt;
use crate::shell::{self, BashEnv, End, Mode, World};
use crate::tables::tools::tools;
use crate::verdict::{Outcome, Place};

/// What the environment does to scripts of bash.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BashStart {
    /// The file that `BASH_ENV` names, with what it adds to `PATH`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reads: Option<ShellFile>,
    /// The `PATH` that scripts have, where it is not that of the container.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<SearchPath>,
    /// Why that `PATH` is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path_unknown: Option<String>,
    /// What is wrong with it.
    pub problems: Vec<BashProblem>,
}

/// One thing that the environment does to scripts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BashProblem {
    /// Fail, or unknown.
    pub outcome: Outcome,
    /// Whether scripts run nevertheless, though otherwise than elsewhere.
    pub lesser: bool,
    /// What it is: a sentence without its full stop.
    pub statement: String,
    /// Where it is set.
    pub place: Place,
}

impl Default for BashProblem {
    fn default() -> Self {
        Self { outcome: Outcome::Fail, lesser: false, statement: String::new(), place: Place::default() }
    }
}

/// Looks at the environment of the image as bash does that is started for a script (bash(1), INVOCATION).
#[must_use]
pub fn bash_start(around: &Surroundings<'_>, path: &SearchPath, user: Option<&str>) -> BashStart {
    let mut found = BashStart::default();
    let options: Vec<&str> = around.variable("SHELLOPTS").unwrap_or_default().split(':').collect();
    options_in_env(around, &options, &mut found);
    functions_in_env(around, &mut found);
    let is_posix = around.variable("POSIXLY_CORRECT").is_some() || options.contains(&"posix");
    let value = around.variable("BASH_ENV").filter(|value| !value.is_empty() && !is_posix);
    let mut folders: Vec<String> = path.folders.clone();
    let mut is_changed = false;
    if let Some(value) = value.filter(|_| !options.contains(&"noexec")) {
        let mut environment: std::collections::BTreeMap<String, String> =
            around.settings.env.iter().map(|(name, set)| (name.clone(), set.value.clone())).collect();
        environment.insert("PATH".to_owned(), path.folders.join(":"));
        let (mode, home) = (Mode::Script, around.home.as_str());
        let world = World { mode, rootfs: around.rootfs, user, account: around.user, home, environment: &environment };
        let env = shell::read_bash_env(world, value);
        match follow(around, path, value, env, &mut found) {
            Ok(Some(own)) => {
                is_changed = own != folders;
                folders = own;
            }
            Ok(None) => {}
            Err(why) => found.path_unknown = Some(why),
        }
    }
    if !is_posix {
        for folder in &mut folders {
            if let Some(rest) = folder.strip_prefix('~').filter(|rest| rest.is_empty() || rest.starts_with('/')) {
                *folder = format!("{}{rest}", around.home.trim_end_matches('/'));
                is_changed = true;
            }
        }
    }
    if is_changed && found.path_unknown.is_none() {
        let place = if value.is_some() { around.variable_place("BASH_ENV") } else { path.place.clone() };
        let mut own = SearchPath { folders, place, ..SearchPath::default() };
        look_at_entries(&mut own, around.rootfs, around.user);
        found.path = Some(own);
    }
    found
}

/// What `SHELLOPTS` switches on.
fn options_in_env(around: &Surroundings<'_>, options: &[&str], found: &mut BashStart) {
    for option in options {
        if let Some((lesser, what)) = option_means(option) {
            found.problems.push(BashProblem {
                lesser,
                statement: format!("SHELLOPTS has {option}: {what}"),
                place: around.variable_place("SHELLOPTS"),
                ..BashProblem::default()
            });
        }
    }
}

/// What an option does to scripts that do not know of it, and whether they run nevertheless.
fn option_means(option: &str) -> Option<(bool, &'static str)> {
    Some(match option {
        "noexec" | "n" => {
            (false, "bash reads scripts and runs none of their commands, so that a step is green and does nothing")
        }
        "errexit" | "e" => (true, "every script of bash ends at the first command that fails"),
        "nounset" | "u" => (true, "every script of bash ends at a variable that is not set"),
        _ => return None,
    })
}

/// Functions that bash takes from the environment; they go before builtins and programs of the same name.
fn functions_in_env(around: &Surroundings<'_>, found: &mut BashStart) {
    for (name, set) in &around.settings.env {
        let function = name.strip_prefix("BASH_FUNC_").and_then(|rest| rest.strip_suffix("%%"));
        if let Some(function) = function.filter(|_| set.value.starts_with("() {")) {
            let function = excerpt(function, 60);
            let statement = format!(
                "Env has an exported function (BASH_FUNC_{function}%%), which every script of bash runs in place of `{function}`"
            );
            let place = around.variable_place(name);
            found.problems.push(BashProblem { lesser: true, statement, place, ..BashProblem::default() });
        }
    }
}

/// Notes what the file of `BASH_ENV` does. Gives the folders of `PATH` afterwards, if it is read.
///
/// # Errors
/// They are not known: why.
fn follow(
    around: &Surroundings<'_>,
    path: &SearchPath,
    value: &str,
    env: BashEnv,
    found: &mut BashStart,
) -> Result<Option<Vec<String>>, String> {
    let place = around.variable_place("BASH_ENV");
    let value = excerpt(value, 120);
    let mut note = |outcome, lesser, statement: String| {
        found.problems.push(BashProblem { outcome, lesser, statement, place: place.clone() });
    };
    if let Some(why) = env.unknown {
        let statement = format!("what the file of BASH_ENV ({value}) does to every script of bash is not known: {why}");
        note(Outcome::Unknown, false, statement.clone());
        return Err(statement);
    }
    let Some(file) = env.file else { return Ok(None) };
    if env.is_missing {
        note(
            Outcome::Fail,
            true,
            format!("BASH_ENV names {file}, which is not there or may not be read: bash goes on without it"),
        );
        return Ok(None);
    }
    let line = env.ended.as_ref().map(|line| format!(", line {}: {}", line.number, excerpt(&line.text, 80)));
    let line = line.unwrap_or_default();
    match env.end {
        End::Always if env.options.contains("n") => {
            note(
                Outcome::Fail,
                false,
                format!("the file of BASH_ENV ({file}{line}) has bash run none of a script's commands"),
            );
        }
        End::Always => {
            note(
                Outcome::Fail,
                false,
                format!("the file of BASH_ENV ({file}{line}) ends every script of bash before its first line"),
            );
        }
        End::Perhaps => {
            note(
                Outcome::Unknown,
                false,
                format!("whether the file of BASH_ENV ({file}{line}) ends every script of bash is not known"),
            );
        }
        End::Never => {}
    }
    for option in &env.options {
        if let Some((true, what)) = option_means(option) {
            note(Outcome::Fail, true, format!("the file of BASH_ENV ({file}) sets the option -{option}: {what}"));
        }
    }
    let mut files = ShellFiles::default();
    let start = shell::StartFile { path: file.clone(), dialect: shell::Dialect::Posix };
    files.add(around.rootfs, path, &start, "scripts of bash", env.reading);
    // A manager whose files are known puts its own folders first.
    let mut first: Vec<String> = Vec::new();
    for (name, _) in &files.hooks {
        let manager = tools().ok().and_then(|table| table.manager.iter().find(|manager| manager.name == *name));
        for folder in manager.map(|manager| folders_of(around, manager)).unwrap_or_default() {
            if !first.contains(&folder) && !env.path.contains(&Ok(folder.clone())) {
                first.push(folder);
            }
        }
    }
    let fact = files.files.pop().unwrap_or_default();
    let open = fact.unknown.first().map(|line| format!("{} {}", line.position(), line.why));
    found.reads = Some(fact);
    let known: Result<Vec<String>, String> = env.path.into_iter().collect();
    match (known, open) {
        (Ok(known), None) => Ok(Some(first.into_iter().chain(known).collect())),
        (Err(why), None) | (_, Some(why)) => {
            Err(format!("the PATH that the file of BASH_ENV ({file}) leaves to scripts of bash is not known: {why}"))
        }
    }
}
