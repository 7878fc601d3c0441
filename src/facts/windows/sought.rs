//! Which files of layers that were not read would answer what is open: the layers are read until they were seen.

use std::collections::BTreeMap;

use super::base::KERNEL;
use super::parts::POWERSHELL;
use super::path::folders;
use super::{Windows, version};
use crate::facts::Fact;
use crate::facts::steps::StepFact;
use crate::rootfs::windows::fold;
use crate::tables::steps::{NeedFact, steps};
use crate::verdict::Outcome;

/// The hive with the machine's PATH.
const SYSTEM: &str = r"C:\Windows\System32\config\SYSTEM";

/// Groups of paths within a layer, folded; any one of a group answers a question. `selected` are the types of steps that
/// are meant to run.
pub(super) fn sought(
    windows: &Windows,
    facts: &Fact<BTreeMap<String, StepFact>>,
    selected: &[String],
) -> Vec<Vec<String>> {
    let mut groups: Vec<Vec<String>> = Vec::new();
    let mut seek = |paths: Vec<String>| {
        let group: Vec<String> = paths.iter().map(|path| member(path)).collect();
        if !group.is_empty() && !groups.contains(&group) {
            groups.push(group);
        }
    };
    if windows.build.is_none() {
        seek(version::FILES.map(str::to_owned).to_vec());
    }
    if matches!(windows.system, Fact::Unknown(_)) {
        seek(KERNEL.map(str::to_owned).to_vec());
    }
    if matches!(windows.path, Fact::Unknown(_)) {
        seek(vec![SYSTEM.to_owned()]);
    }
    let (Ok(table), Fact::Known(facts)) = (steps(), facts) else { return groups };
    let problems = selected.iter().filter_map(|step| facts.get(step)).flat_map(|fact| &fact.problems);
    for need in problems.filter(|problem| problem.outcome == Outcome::Unknown).filter_map(|open| table.need(&open.need))
    {
        if need.fact == Some(NeedFact::WindowsPowershell) {
            seek(vec![POWERSHELL.to_owned()]);
        }
        let on_path = |name: &String| {
            let is_whole = name.contains('\\');
            let folders = if is_whole { Vec::new() } else { folders(&windows.path) };
            let files = folders.into_iter().map(move |folder| format!(r"{}\{name}", folder.trim_end_matches('\\')));
            is_whole.then(|| name.clone()).into_iter().chain(files).collect::<Vec<String>>()
        };
        seek(need.windows.iter().flat_map(on_path).collect());
    }
    groups
}

/// A path on C: as a layer has it.
fn member(path: &str) -> String {
    format!("files{}", fold(path.get(2..).unwrap_or_default()).replace('\\', "/"))
}
