//! What each type of step needs of an image (`rules/tables/steps.toml`).

use std::sync::OnceLock;

use serde::Deserialize;

use super::Source;
use crate::toml_file;

const FILE: &str = "rules/tables/steps.toml";
const TEXT: &str = include_str!("../../rules/tables/steps.toml");

/// The whole table.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Steps {
    /// What it lists.
    pub title: String,
    /// The day it was last held against its sources, `YYYY-MM-DD`.
    pub read: String,
    /// Where it comes from.
    pub sources: Vec<Source>,
    /// What steps need.
    pub need: Vec<Need>,
    /// The types of steps.
    pub step: Vec<Step>,
}

/// Something that steps need. One of `commands`, `path` and `fact` says what.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Need {
    /// Its name, by which rules speak of it.
    pub id: String,
    /// Commands of which one has to be on `PATH` and usable.
    #[serde(default)]
    pub commands: Vec<String>,
    /// A program that has to be at exactly this path.
    #[serde(default)]
    pub path: Option<String>,
    /// What is decided by a fact of its own.
    #[serde(default)]
    pub fact: Option<NeedFact>,
    /// In Windows images: file names of which one has to be on `PATH`, or whole paths.
    #[serde(default)]
    pub windows: Vec<String>,
    /// The least version of the first of the commands; of a .NET runtime the release that is taken.
    #[serde(default)]
    pub least: Option<String>,
    /// Whether a version that no file tells is taken for new enough.
    #[serde(default)]
    pub unknown_version_passes: bool,
    /// Whether the step goes on without it, but poorer.
    #[serde(default)]
    pub lesser: bool,
    /// What has to be installed, in the words of `packages.toml`.
    #[serde(default)]
    pub component: Option<String>,
    /// What happens without it, the end of a sentence.
    pub without: String,
    /// The same in Windows images, if it is otherwise there.
    #[serde(default)]
    pub windows_without: Option<String>,
}

/// Needs that are more than a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NeedFact {
    /// Python finds the module `Crypto`, or can install it.
    PythonCrypto,
    /// OpenSSL's configuration leaves it ciphers.
    OpensslCiphers,
    /// A .NET runtime of exactly one release.
    DotnetRuntime,
    /// Java, by `JAVA_HOME` or on `PATH`.
    Java,
    /// Windows PowerShell, or as the lesser evil PowerShell Core.
    WindowsPowershell,
}

/// A type of step.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Step {
    /// Its name, as it is selected.
    pub id: String,
    /// What the target calls it.
    pub title: String,
    /// The ids of what it needs.
    pub needs: Vec<String>,
    /// The ids of those needs that scripts of bash call, which find them along the `PATH` that such scripts have. The target
    /// starts all others itself.
    #[serde(default)]
    pub in_bash: Vec<String>,
    /// The ids of what it needs of a Windows image; nothing for a type that runs in images for Linux only.
    #[serde(default)]
    pub windows_needs: Option<Vec<String>>,
}

/// The table, read when it is first asked for.
///
/// # Errors
/// The table is broken; a test holds that the one imglint is built with is not.
pub fn steps() -> Result<&'static Steps, &'static toml_file::Error> {
    static TABLE: OnceLock<Result<Steps, toml_file::Error>> = OnceLock::new();
    TABLE.get_or_init(|| toml_file::parse(FILE, TEXT)).as_ref()
}

impl Need {
    /// What it is, in a word or two.
    #[must_use]
    pub fn words(&self) -> String {
        match (&self.path, self.fact) {
            (Some(path), _) => path.clone(),
            (None, Some(NeedFact::PythonCrypto)) => "pycryptodome".to_owned(),
            (None, Some(NeedFact::OpensslCiphers)) => "ciphers of OpenSSL".to_owned(),
            (None, Some(NeedFact::DotnetRuntime)) => {
                format!(".NET runtime {}", self.least.as_deref().unwrap_or_default())
            }
            (None, Some(NeedFact::Java)) => "java".to_owned(),
            (None, Some(NeedFact::WindowsPowershell)) => "Windows PowerShell".to_owned(),
            (None, None) => self.commands.join("/"),
        }
    }
}

/// Who starts a command in a type of step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Callers {
    /// Scripts of bash.
    pub by_bash: bool,
    /// The target itself, and scripts of other languages.
    pub by_others: bool,
}

impl Steps {
    /// Who starts a command in a type of step.
    #[must_use]
    pub fn callers(&self, step: &str, command: &str) -> Callers {
        let mut callers = Callers::default();
        let Some(step) = self.step.iter().find(|known| known.id == step) else { return callers };
        for need in step.needs.iter().filter_map(|id| self.need(id)) {
            let is_java = need.fact == Some(NeedFact::Java) && command == "java";
            if is_java || need.commands.iter().any(|name| name == command) {
                let by_bash = step.in_bash.contains(&need.id);
                callers.by_bash |= by_bash;
                callers.by_others |= !by_bash;
            }
        }
        callers
    }

    /// A need by its id.
    #[must_use]
    pub fn need(&self, id: &str) -> Option<&Need> {
        self.need.iter().find(|need| need.id == id)
    }

    /// The types of steps that need a command on `PATH`, in order: those that have no other one to take in its place.
    #[must_use]
    pub fn needing(&self, command: &str, is_usable: impl Fn(&str) -> bool) -> Vec<String> {
        let is_met = |need: &Need| need.commands.iter().any(|other| other != command && is_usable(other));
        let speaks = |need: &Need| {
            need.commands.iter().any(|name| name == command) || (need.fact == Some(NeedFact::Java) && command == "java")
        };
        let is_meant = |id: &String| self.need(id).is_some_and(|need| speaks(need) && !is_met(need));
        self.step.iter().filter(|step| step.needs.iter().any(is_meant)).map(|step| step.id.clone()).collect()
    }

    /// As [`needing`](Self::needing), in a Windows image: `command` is the name in lower case, without its ending.
    #[must_use]
    pub fn needing_on_windows(&self, command: &str, is_usable: impl Fn(&str) -> bool) -> Vec<String> {
        let stems = |need: &Need| -> Vec<String> {
            let names = need.windows.iter().filter(|name| !name.contains('\\'));
            names.map(|name| name.rsplit_once('.').map_or(name.as_str(), |(stem, _)| stem).to_lowercase()).collect()
        };
        let is_meant = |id: &String| {
            self.need(id).is_some_and(|need| {
                let stems = stems(need);
                stems.iter().any(|stem| stem == command) && !stems.iter().any(|stem| stem != command && is_usable(stem))
            })
        };
        let needs = |step: &&Step| step.windows_needs.iter().flatten().any(is_meant);
        self.step.iter().filter(needs).map(|step| step.id.clone()).collect()
    }

    /// All commands that some step needs.
    pub fn commands(&self) -> impl Iterator<Item = &str> {
        self.need.iter().flat_map(|need| &need.commands).map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_whole() {
        let table = steps().unwrap();
        assert!(!table.title.is_empty() && table.read.len() == 10 && !table.sources.is_empty());
        for need in &table.need {
            let kinds = [!need.commands.is_empty(), need.path.is_some(), need.fact.is_some()];
            assert_eq!(kinds.iter().filter(|kind| **kind).count(), 1, "{} says in one way what it is", need.id);
            let is_asked =
                |step: &Step| step.needs.iter().chain(step.windows_needs.iter().flatten()).any(|id| *id == need.id);
            assert!(table.step.iter().any(is_asked), "no step needs {}", need.id);
            assert!(!need.without.ends_with('.'), "{}", need.id);
        }
        for step in &table.step {
            assert!(step.in_bash.iter().all(|id| step.needs.contains(id)), "{}", step.id);
            for id in step.needs.iter().chain(step.windows_needs.iter().flatten()) {
                assert!(table.need(id).is_some(), "{} needs {id}, which is no [[need]]", step.id);
            }
            assert!(step.windows_needs.is_some() || step.needs.iter().any(|need| need == "bash"), "{}", step.id);
            for need in step.windows_needs.iter().flatten().filter_map(|id| table.need(id)) {
                assert!(!need.windows.is_empty() || need.fact.is_some(), "{} is told for Windows", need.id);
            }
        }
    }
}
