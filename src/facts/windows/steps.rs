//! Tells for each type of step what it needs of a Windows image and does not find.

use std::collections::BTreeMap;

use super::commands::{Commands, OnPath, on_path};
use super::drive::{Drive, Look};
use super::parts::POWERSHELL;
use super::programs::Judged;
use crate::facts::Fact;
use crate::facts::steps::{StepFact, StepProblem};
use crate::layer::path::parent_and_name;
use crate::rootfs::windows::Sought;
use crate::tables::steps::{Need, NeedFact, Step, steps};
use crate::tables::windows::{WindowsKind, windows};
use crate::verdict::{Outcome, Place};

/// The most folders that one pattern stands for.
const MOST_FOLDERS: usize = 100;

/// All types of steps.
pub(super) fn all(drive: &Drive<'_>, found: &Commands) -> Fact<BTreeMap<String, StepFact>> {
    let table = match steps() {
        Ok(table) => table,
        Err(error) => return Fact::unknown(format!("the table of steps is broken: {error}")),
    };
    if drive.kind == Some(WindowsKind::HostProcess) {
        return Fact::not_applicable("it is an image for HostProcess containers");
    }
    let search = Search { drive, found };
    let fact = |step: &Step| {
        let Some(needs) = &step.windows_needs else { return for_linux_only(step) };
        let needed: Vec<&Need> = needs.iter().filter_map(|id| table.need(id)).collect();
        let problems = needed.iter().filter_map(|need| search.problem(need)).collect();
        StepFact::new(needs.clone(), problems)
    };
    Fact::Known(table.step.iter().map(|step| (step.id.clone(), fact(step))).collect())
}

/// It is told as a lack of bash, which all of these types need.
fn for_linux_only(step: &Step) -> StepFact {
    let problem = StepProblem {
        need: "bash".to_owned(),
        statement: format!("steps of type {} run in images for Linux only", step.id),
        place: Place::field("os"),
        ..StepProblem::default()
    };
    StepFact::new(vec![problem.need.clone()], vec![problem])
}

struct Search<'a> {
    drive: &'a Drive<'a>,
    found: &'a Commands,
}

impl Search<'_> {
    fn problem(&self, need: &Need) -> Option<StepProblem> {
        let mut problem = match need.fact {
            Some(NeedFact::WindowsPowershell) => self.powershell(),
            Some(NeedFact::PythonCrypto) => self.python_crypto(),
            Some(NeedFact::DotnetRuntime) => self.dotnet_runtime(need),
            Some(NeedFact::Java) => self.java(),
            // No step of a Windows image asks for them.
            Some(NeedFact::OpensslCiphers) => None,
            None => self.one_of(&need.windows),
        }?;
        problem.need.clone_from(&need.id);
        problem.lesser |= need.lesser;
        if problem.outcome == Outcome::Fail && !problem.lesser {
            let without = need.windows_without.as_ref().unwrap_or(&need.without);
            problem.statement = format!("{}; without it {without}", problem.statement);
        }
        Some(problem)
    }

    /// One of several files, each as good as the others.
    fn one_of(&self, names: &[String]) -> Option<StepProblem> {
        let mut problems = Vec::new();
        for name in names {
            problems.push(self.file(name)?);
        }
        let open = problems.iter().position(|problem| problem.outcome == Outcome::Unknown);
        problems.into_iter().nth(open.unwrap_or(0))
    }

    fn file(&self, name: &str) -> Option<StepProblem> {
        let mut folders = Vec::new();
        let (outcome, statement, place) = if name.contains('\\') {
            self.at(name)?
        } else {
            match on_path(self.found, self.drive, name) {
                OnPath::Usable(..) => return None,
                OnPath::Unusable(why, place) => (Outcome::Fail, why, place),
                OnPath::Open(why, place) => (Outcome::Unknown, why, place),
                OnPath::Missing(why, place) => {
                    let elsewhere = || {
                        let (why, place, folder) = self.elsewhere(name)?;
                        folders.push(folder);
                        Some((why, place))
                    };
                    let (why, place) = self.off_path(name).or_else(elsewhere).unwrap_or((why, place));
                    (Outcome::Fail, why, place)
                }
            }
        };
        Some(StepProblem { outcome, statement, place, folders, ..StepProblem::default() })
    }

    /// A program in a folder that tools are installed in without being on PATH.
    fn elsewhere(&self, name: &str) -> Option<(String, Place, String)> {
        let patterns = &windows().ok()?.tool_folders;
        patterns.iter().flat_map(|pattern| self.expanded(pattern)).find_map(|folder| {
            let file = format!(r"{folder}\{name}");
            let Sought::Found(node) = self.drive.files.find(&file) else { return None };
            if !matches!(self.drive.program(&node, &file), Judged::Good(_)) {
                return None;
            }
            let why = format!("`{name}` is in {folder}, which is not on PATH");
            Some((why, self.drive.files.place(&node), folder))
        })
    }

    /// The folders that a path with `*` for whole names stands for.
    fn expanded(&self, pattern: &str) -> Vec<String> {
        let mut found: Vec<String> = Vec::new();
        for part in pattern.split('\\') {
            if found.is_empty() {
                found.push(part.to_owned());
                continue;
            }
            let names = |folder: &String| match self.drive.files.find(&format!(r"{folder}\")) {
                Sought::Found(node) => self.drive.files.names(&node),
                _ => Vec::new(),
            };
            found = found
                .iter()
                .flat_map(|folder| match part {
                    "*" => {
                        let folders = names(folder).into_iter().filter(|(_, is_file)| !is_file).take(MOST_FOLDERS);
                        folders.map(|(name, _)| format!(r"{folder}\{name}")).collect()
                    }
                    part => vec![format!(r"{folder}\{part}")],
                })
                .take(MOST_FOLDERS)
                .collect();
        }
        found
    }

    /// What is wrong with the program at a whole path.
    fn at(&self, path: &str) -> Option<(Outcome, String, Place)> {
        let node = match self.drive.find(path) {
            Look::Found(node) => node,
            Look::OfBase(_) => return None,
            Look::Absent => {
                return Some((Outcome::Fail, format!("there is no program at {path}"), Place::path(path)));
            }
            Look::Open(why) => return Some((Outcome::Unknown, why, Place::path(path))),
        };
        let place = self.drive.files.place(&node);
        match self.drive.program(&node, path) {
            Judged::Good(_) => None,
            Judged::Bad(why) => Some((Outcome::Fail, why, place)),
            Judged::Open(why) => Some((Outcome::Unknown, why, place)),
        }
    }

    /// A file in a folder that only the registry's PATH has.
    fn off_path(&self, name: &str) -> Option<(String, Place)> {
        let hidden = self.found.path.known()?.hidden.iter();
        hidden.map(|hidden| &hidden.folder).find_map(|folder| {
            let file = format!(r"{}\{name}", folder.trim_end_matches('\\'));
            let Look::Found(node) = self.drive.find(&file) else { return None };
            let why = format!("`{name}` is in {folder}, which is on the registry's PATH but not on that of Env");
            Some((why, self.drive.files.place(&node)))
        })
    }

    fn powershell(&self) -> Option<StepProblem> {
        let part = match &self.found.powershell {
            Fact::Known(part) if part.present => return None,
            Fact::Known(part) => part,
            Fact::Unknown(why) => {
                let (statement, place) = (why.unknown.clone(), Place::path(POWERSHELL));
                return Some(StepProblem { outcome: Outcome::Unknown, statement, place, ..StepProblem::default() });
            }
            Fact::NotApplicable(_) => return None,
        };
        let kind = self.drive.kind.map_or("the image", WindowsKind::title);
        match &self.found.pwsh {
            Fact::Known(core) if core.present => {
                let at = core.place.path.as_deref().unwrap_or("pwsh.exe");
                let statement = format!(
                    "{kind} has no Windows PowerShell, only PowerShell Core ({at}): a step runs if it chooses the Core \
                     edition, and ends at once with the default one"
                );
                Some(StepProblem { lesser: true, statement, place: core.place.clone(), ..StepProblem::default() })
            }
            Fact::Unknown(why) => {
                let statement = format!("there is no Windows PowerShell, and {}", why.unknown);
                let place = part.place.clone();
                Some(StepProblem { outcome: Outcome::Unknown, statement, place, ..StepProblem::default() })
            }
            _ => {
                let statement = format!("{kind} has no Windows PowerShell ({}), and no pwsh.exe either", part.known_by);
                Some(StepProblem { statement, place: part.place.clone(), ..StepProblem::default() })
            }
        }
    }

    /// The folder of a program on `PATH`; `None` if there is none that can be started, which is a need of its own.
    fn folder_of(&self, name: &str) -> Option<(String, Place)> {
        let OnPath::Usable(path, place) = on_path(self.found, self.drive, name) else { return None };
        Some((path.rsplit_once('\\')?.0.to_owned(), place))
    }

    fn python_crypto(&self) -> Option<StepProblem> {
        let (folder, place) = self.folder_of("python.exe")?;
        let packages = format!(r"{folder}\Lib\site-packages");
        let find = |name: &str| self.drive.find(&format!(r"{packages}\{name}"));
        let (outcome, lesser, statement) = match (find("Crypto"), find("pip")) {
            (Look::Found(_) | Look::OfBase(_), _) => return None,
            (Look::Open(why), _) | (Look::Absent, Look::Open(why)) => (Outcome::Unknown, false, why),
            (Look::Absent, Look::Found(_) | Look::OfBase(_)) => {
                let why = format!("Python has no module Crypto in {packages}; pip has to download it in every step");
                (Outcome::Fail, true, why)
            }
            (Look::Absent, Look::Absent) => {
                (Outcome::Fail, false, format!("Python has neither the module Crypto nor pip in {packages}"))
            }
        };
        Some(StepProblem { outcome, lesser, statement, place, ..StepProblem::default() })
    }

    fn dotnet_runtime(&self, need: &Need) -> Option<StepProblem> {
        let (folder, place) = self.folder_of("dotnet.exe")?;
        let least = need.least.as_deref().unwrap_or_default();
        let shared = format!(r"{folder}\shared\Microsoft.NETCore.App");
        let versions: Vec<String> = match self.drive.files.find(&shared) {
            Sought::Found(node) => self.drive.files.names(&node).into_iter().map(|(name, _)| name).collect(),
            _ => Vec::new(),
        };
        if versions.iter().any(|version| version.strip_prefix(least).is_some_and(|rest| rest.starts_with('.'))) {
            return None;
        }
        // A layer that was not read may have it.
        if let Look::Open(statement) = self.drive.find(&format!(r"{shared}\{least}")) {
            return Some(StepProblem { outcome: Outcome::Unknown, statement, place, ..StepProblem::default() });
        }
        let has = if versions.is_empty() { "no runtime".to_owned() } else { versions.join(", ") };
        let statement = format!("there is no .NET runtime {least} in {shared}, which has {has}");
        Some(StepProblem { statement, place, ..StepProblem::default() })
    }

    fn java(&self) -> Option<StepProblem> {
        let Some(home) = self.found.java_home.as_deref().filter(|home| !home.is_empty()) else {
            return self.file("java.exe");
        };
        let file = format!(r"{}\bin\java.exe", home.trim_end_matches(['\\', '/']));
        let problem = self.file(&file)?;
        let name = parent_and_name(&file.replace('\\', "/")).1.to_owned();
        Some(StepProblem {
            statement: format!("JAVA_HOME is {home}, which has no bin\\{name}: {}", problem.statement),
            ..problem
        })
    }
}
