//! What the files that shells read at their start do to `PATH`, without running them.
//!
//! The files are parsed and evaluated as far as text, the image's files and a handful of commands (`id -u`, `test`,
//! `dirname` …) tell. What cannot be told is said; nothing is guessed. Time is bounded: by the size of the files, the
//! depth of their nesting, and the number of statements that are followed.

mod branches;
mod commands;
mod compound;
mod conditions;
mod declare;
mod environment;
mod evaluate;
mod expand;
mod fish;
mod parse;
mod pattern;
mod start;
mod value;

use std::collections::BTreeMap;

use crate::rootfs::{Account, Rootfs};

/// The most files that are read, start-up files and sourced ones.
const MOST_FILES: usize = 400;
/// The most text that is parsed in all, in bytes: the real ones are a few kilobytes each.
const MOST_TEXT: usize = 1 << 20;
/// The most statements that are followed in all.
const MOST_STATEMENTS: usize = 20_000;
/// How deep files may source one another, and functions call one another.
const DEEPEST: usize = 12;
/// The longest value of a variable, in bytes.
const LONGEST_VALUE: usize = 4096;
/// The most that is said about one file.
const MOST_NOTES: usize = 200;
/// The stack for parsing and evaluating, in bytes: more than the deepest nesting in the largest file takes. Only what
/// is used of it costs memory.
const STACK: usize = 256 << 20;

/// What a shell is started for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// At a prompt.
    #[default]
    Interactive,
    /// For a script.
    Script,
}

impl Mode {
    fn is_interactive(self) -> bool {
        self == Self::Interactive
    }
}

/// Who starts the shell, and in which image.
#[derive(Clone, Copy)]
pub struct World<'a> {
    /// What it is started for.
    pub mode: Mode,
    /// The image's files.
    pub rootfs: &'a Rootfs,
    /// The user's name; nothing where `/etc/passwd` has none.
    pub user: Option<&'a str>,
    /// The user as far as permissions go.
    pub account: Account<'a>,
    /// The user's home folder.
    pub home: &'a str,
    /// The environment of the container, with `PATH`.
    pub environment: &'a BTreeMap<String, String>,
}

/// Who reads a file, which also says how it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// bash, dash and other POSIX shells.
    Posix,
    /// zsh.
    Zsh,
    /// fish.
    Fish,
    /// `/etc/environment` (pam_env(8)): names and values, no shell.
    Environment,
}

/// What one start-up file does, with all that it sources.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// Folders that are added to `PATH`, in order.
    pub additions: Vec<Addition>,
    /// What is sourced or evaluated that is not in the files.
    pub hooks: Vec<Hook>,
    /// Folders of the container's `PATH` that are no longer on it.
    pub removes: Vec<String>,
    /// What could not be told.
    pub unknown: Vec<Note>,
}

/// What comes of the file that `BASH_ENV` names, which bash reads before it runs a script.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BashEnv {
    /// The file; `None` if none is named, or if it is not known.
    pub file: Option<String>,
    /// Whether there is no such file, or none that the user may read: bash goes on without it.
    pub is_missing: bool,
    /// Whether it ends the shell, so that the script is not run.
    pub end: End,
    /// The line that ends it.
    pub ended: Option<Line>,
    /// The folders of `PATH` afterwards; of one that is not known, what it is.
    pub path: Vec<Result<String, String>>,
    /// The options that it sets, by the letters of `set` and the names of `shopt`.
    pub options: std::collections::BTreeSet<String>,
    /// What it does besides.
    pub reading: Reading,
    /// Why it was not followed at all.
    pub unknown: Option<String>,
}

/// Whether a file ends the shell that reads it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum End {
    /// It does not.
    #[default]
    Never,
    /// That depends on what is not known.
    Perhaps,
    /// It does.
    Always,
}

/// A line of a shell file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Line {
    /// The file's path.
    pub file: String,
    /// The line's number, from 1.
    pub number: usize,
    /// The line, without blanks at its ends.
    pub text: String,
}

/// A folder that a line adds to `PATH`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Addition {
    /// The folder.
    pub folder: String,
    /// The line.
    pub line: Line,
}

/// A line that sources a file whose content is not known, or evaluates what a command prints.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hook {
    /// The line.
    pub line: Line,
    /// The file that is sourced, where its path is known.
    pub sources: Option<String>,
}

/// Something that could not be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// The line.
    pub line: Line,
    /// Why, a sentence without its full stop.
    pub why: String,
}

/// A start-up file to be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StartFile {
    /// Its path.
    pub path: String,
    /// How it is written.
    pub dialect: Dialect,
}

/// Reads start-up files, each as if it were the first that an interactive shell reads. Gives one reading for each.
#[must_use]
pub fn read(world: World<'_>, files: &[StartFile]) -> Vec<Reading> {
    let all = || {
        let mut budget = Budget::default();
        files.iter().map(|file| read_one(world, file, &mut budget)).collect::<Vec<_>>()
    };
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("shell files".to_owned()).stack_size(STACK);
        let result = thread.spawn_scoped(scope, all).ok().and_then(|thread| thread.join().ok());
        result.unwrap_or_else(|| files.iter().map(failed).collect())
    })
}

/// Reads the file that the value of `BASH_ENV` names.
#[must_use]
pub fn read_bash_env(world: World<'_>, value: &str) -> BashEnv {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("BASH_ENV".to_owned()).stack_size(STACK);
        let run = || start::run_bash_env(world, value, &mut Budget::default());
        let result = thread.spawn_scoped(scope, run).ok().and_then(|thread| thread.join().ok());
        let failed = || BashEnv { unknown: Some("it could not be evaluated".to_owned()), ..BashEnv::default() };
        result.unwrap_or_else(failed)
    })
}

/// What is left of the effort that all files together may cost.
struct Budget {
    files: usize,
    text: usize,
    statements: usize,
}

impl Default for Budget {
    fn default() -> Self {
        Self { files: MOST_FILES, text: MOST_TEXT, statements: MOST_STATEMENTS }
    }
}

fn read_one(world: World<'_>, file: &StartFile, budget: &mut Budget) -> Reading {
    match file.dialect {
        Dialect::Posix | Dialect::Zsh => start::run(world, file, budget),
        Dialect::Fish => fish::read(world, &file.path),
        Dialect::Environment => environment::read(world, &file.path),
    }
}

fn failed(file: &StartFile) -> Reading {
    let line = Line { file: file.path.clone(), ..Line::default() };
    let why = format!("{} could not be evaluated", file.path);
    Reading { unknown: vec![Note { line, why }], ..Reading::default() }
}

/// The content of a file.
enum Content<'a> {
    /// There is no such file.
    Missing,
    /// It is there, but was not kept: why.
    NotKept(String),
    Text(std::borrow::Cow<'a, str>),
}

impl<'a> World<'a> {
    fn content(&self, path: &str) -> Content<'a> {
        let Ok(node) = self.rootfs.find(path) else { return Content::Missing };
        let content = node.detail().and_then(|detail| detail.content.as_deref());
        match content {
            Some(content) => Content::Text(String::from_utf8_lossy(content)),
            None if node.kind != crate::layer::Kind::File => Content::Missing,
            None if node.size == 0 => Content::Text(String::new().into()),
            None => Content::NotKept(format!("{path} ({} bytes) was not read", node.size)),
        }
    }

    fn path(&self) -> &'a str {
        self.environment.get("PATH").map_or("", String::as_str)
    }
}

#[cfg(test)]
mod tests;
