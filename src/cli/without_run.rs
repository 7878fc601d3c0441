//! Stands in for `run.rs` in a build without the feature `run`: what needs an engine says so in one line.

use std::convert::Infallible;
use std::marker::PhantomData;
use std::process::ExitCode;

use super::Failure;
use super::args::{EnginesArguments, ProgramArguments, RunArguments, SourceArguments};
use super::check::Target;
use super::reading::ReadImage;
use crate::engine::RunReport;
use crate::lint::Judgement;

fn missing(what: &str) -> Failure {
    Failure(format!(
        "{what}: this build of imglint cannot use container engines: it was made without the feature `run`"
    ))
}

/// Lists no engines.
///
/// # Errors
/// Always.
pub(super) fn engines(_arguments: &EnginesArguments) -> Result<ExitCode, Failure> {
    Err(missing("engines"))
}

/// Runs images. There is none in this build.
pub(super) struct Runner<'a>(Infallible, PhantomData<&'a ()>);

impl<'a> Runner<'a> {
    /// Gives none.
    ///
    /// # Errors
    /// Always.
    pub(super) fn new(
        _arguments: &'a RunArguments,
        _programs: &'a ProgramArguments,
        _sources: &'a SourceArguments,
    ) -> Result<Self, Failure> {
        Err(missing("--run"))
    }

    /// Runs an image.
    pub(super) fn run(&self, _target: &Target, _image: &ReadImage, _judgement: &mut Judgement) -> RunReport {
        match self.0 {}
    }
}
