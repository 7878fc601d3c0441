//! The folders that a .NET program has to write to before it starts: for temporary files, and for its own parts.

use super::collect::{Runtime, Surroundings};
use super::{Problem, ProblemKind, Stage};
use crate::layer::Kind;
use crate::rootfs::{Access, Node};
use crate::tables::dotnet::Release;
use crate::verdict::{Outcome, Place};

const EXTRACT: &str = "DOTNET_BUNDLE_EXTRACT_BASE_DIR";

/// What is wrong with the folders.
pub fn problems(around: &Surroundings<'_>, runtime: &Runtime, release: Option<&Release>) -> Vec<Problem> {
    let temp = release.filter(|release| release.needs_temp_folder).and_then(|release| temp_folder(around, release));
    let home = runtime.extracts.then(|| home_folder(around)).flatten();
    temp.into_iter().chain(home).collect()
}

fn temp_folder(around: &Surroundings<'_>, release: &Release) -> Option<Problem> {
    if release.diagnostics_variables.iter().any(|name| around.variable(name) == Some("0")) {
        return None;
    }
    let set = around.variable("TMPDIR").filter(|folder| !folder.is_empty());
    let folder = set.unwrap_or("/tmp");
    let why = cannot_write(around, folder)?;
    let named = if set.is_some() { "TMPDIR names it" } else { "TMPDIR is not set" };
    Some(Problem {
        kind: ProblemKind::TempFolderMissing,
        stage: Some(Stage::Start),
        outcome: Outcome::Fail,
        statement: format!(
            ".NET {} makes files for its diagnostics in {folder} before it starts ({named}), but {why}",
            release.version
        ),
        place: if set.is_some() { around.variable_place("TMPDIR") } else { place(around, folder) },
        component: None,
    })
}

fn home_folder(around: &Surroundings<'_>) -> Option<Problem> {
    let (folder, named, field) = match around.variable(EXTRACT).filter(|folder| !folder.is_empty()) {
        // It is made if it is not there.
        Some(folder) => (nearest(around, folder), format!("{EXTRACT} is {folder}"), Some(EXTRACT)),
        None => (around.home.clone(), format!("HOME is {}", around.home), None),
    };
    let why = cannot_write(around, &folder)?;
    Some(Problem {
        kind: ProblemKind::HomeNotWritable,
        stage: Some(Stage::Start),
        outcome: Outcome::Fail,
        statement: format!("the program writes its own parts to a folder before it starts ({named}), but {why}"),
        place: field.map_or_else(|| place(around, &folder), |name| around.variable_place(name)),
        component: None,
    })
}

/// The folder itself, or the nearest one above it that there is.
fn nearest(around: &Surroundings<'_>, folder: &str) -> String {
    let mut folder = folder.trim_end_matches('/');
    while around.rootfs.find(folder).is_err() {
        match folder.rsplit_once('/') {
            Some((above, _)) if !above.is_empty() => folder = above,
            _ => return "/".to_owned(),
        }
    }
    folder.to_owned()
}

/// Why the user cannot make files in a folder; nothing if that works.
fn cannot_write(around: &Surroundings<'_>, folder: &str) -> Option<String> {
    let node = match around.rootfs.find(folder) {
        Ok(node) => node,
        Err(missing) => return Some(missing.why()),
    };
    let may = |node: &Node<'_>, access| around.rootfs.may(around.user, access, node);
    if node.kind != Kind::Directory {
        return Some(format!("{folder} is not a folder"));
    }
    let all = may(&node, Access::Read) && may(&node, Access::Write) && may(&node, Access::Execute);
    (!all).then(|| format!("uid {} may not write to {folder} (mode {:04o})", around.user.uid, node.mode))
}

fn place(around: &Surroundings<'_>, folder: &str) -> Place {
    around
        .rootfs
        .find(folder)
        .map_or_else(|_| Place::path(folder), |node| around.rootfs.place(folder.trim_start_matches('/'), &node))
}
