//! What a program is: an ELF file, maybe a .NET host, and what .NET loads for it before its own code runs.

use super::collect::{Subject, Surroundings};
use super::{Problem, ProblemKind, Stage};
use crate::layer::ElfSummary;
use crate::tables::dotnet::Needs;
use crate::verdict::{Outcome, Place};

/// What a program that is only described asks of the loader; nothing for an architecture without such programs.
pub fn described_elf(needs: &Needs, architecture: &str) -> Option<ElfSummary> {
    let (machine, is_64) = crate::layer::elf::machine(architecture)?;
    let versions = needs.symbol_versions.iter();
    Some(ElfSummary {
        is_64,
        is_little_endian: true,
        machine,
        is_executable: true,
        interpreter: Some(needs.loader.clone()),
        is_dynamic: true,
        needed: needs.libraries.clone(),
        version_needs: versions
            .flat_map(|(library, versions)| versions.iter().map(|version| (library.clone(), version.clone())))
            .collect(),
        ..ElfSummary::default()
    })
}

/// The programs of a payload: path, and name inside the payload.
pub fn in_payload(_around: &Surroundings<'_>, _command: Option<&[String]>) -> Vec<(String, String)> {
    Vec::new()
}

/// The program at a path.
///
/// # Errors
/// It is not there, or cannot be started whatever its libraries: the problem.
pub fn subject<'a>(
    _around: &'a Surroundings<'_>,
    _name: String,
    path: &str,
    _command: Option<&[String]>,
) -> Result<Subject<'a>, Box<Problem>> {
    Err(Box::new(Problem {
        kind: ProblemKind::ProgramUnusable,
        stage: Some(Stage::Start),
        outcome: Outcome::Fail,
        statement: format!("{path} is not in the image"),
        place: Place::path(path),
        component: None,
    }))
}
