//! The rules and profiles there are: those that imglint is built with (`rules/`) and those of a user's files.

mod error;
mod level;
mod profile;
mod rule;
mod table;

use std::path::Path;

use include_dir::{Dir, include_dir};

pub use error::Error;
pub use level::{Level, NotALevel};
pub use profile::{Overrides, Profile};
pub use rule::{Example, FixFor, FixOs, Rule, When, Wording};
pub use table::rule_table_markdown;

use crate::small_file;
use crate::{spelling, toml_file};
use profile::ProfileFile;

/// Everything under `rules/`, as it was when imglint was built.
static RULES: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/rules");

/// The rules that every profile has, and that nobody can replace or switch off: without them a failed run could vanish.
const IN_EVERY_PROFILE: [&str; 2] = ["run-failed", "run-undetermined"];

/// The rules and profiles there are. Files are read when they are asked for.
#[derive(Clone, Copy, Debug)]
pub struct Catalog {
    with_examples: bool,
}

impl Catalog {
    /// What imglint is built with.
    #[must_use]
    pub fn builtin() -> Self {
        Self { with_examples: true }
    }

    /// The same, but its own rules without their examples, which are half of their text.
    #[must_use]
    pub fn to_judge() -> Self {
        Self { with_examples: false }
    }

    /// The ids of all built-in rules, in order.
    #[must_use]
    pub fn rule_ids(&self) -> Vec<&'static str> {
        ids_in(&RULES)
    }

    /// The names of all built-in profiles, in order.
    #[must_use]
    pub fn profile_names(&self) -> Vec<&'static str> {
        RULES.get_dir("profiles").map(ids_in).unwrap_or_default()
    }

    /// A built-in rule.
    ///
    /// # Errors
    /// There is none of that id.
    pub fn rule(&self, id: &str) -> Result<Rule, Error> {
        let text = builtin(&format!("{id}.toml")).ok_or_else(|| Error::NoSuchRule {
            id: id.to_owned(),
            suggestion: spelling::suggestion(id, self.rule_ids()),
        })?;
        // They stand at the end of the file (`tests/offline/rules.rs` holds that).
        let without = text.find("\n[[example]]").filter(|_| !self.with_examples);
        Ok(Rule::read(&format!("rules/{id}.toml"), id, without.map_or(text, |end| &text[..=end]))?)
    }

    /// A built-in profile with its rules.
    ///
    /// # Errors
    /// There is none of that name.
    pub fn profile(&self, name: &str) -> Result<Profile, Error> {
        let text = builtin(&format!("profiles/{name}.toml")).ok_or_else(|| Error::NoSuchProfile {
            name: name.to_owned(),
            suggestion: spelling::suggestion(name, self.profile_names()),
            known: self.profile_names().join(", "),
        })?;
        self.read_profile(&format!("rules/profiles/{name}.toml"), text, None)
    }

    /// A profile of the user's: a file of the same format as the built-in ones, whose `rules-folder`, beside it, may
    /// hold further rules.
    ///
    /// # Errors
    /// The file, or a rule it asks for, cannot be read or is wrong; the error names the file, the line and the field.
    pub fn profile_from_file(&self, path: &Path) -> Result<Profile, Error> {
        let text = read(path)?;
        self.read_profile(&path.display().to_string(), &text, path.parent())
    }

    fn read_profile(&self, file: &str, text: &str, folder: Option<&Path>) -> Result<Profile, Error> {
        let given: ProfileFile = toml_file::parse(file, text)?;
        let wrong = |field: &str, message: String| toml_file::Error::about(file, text, field, message);
        let mut profile = match &given.extends {
            Some(base) => self.profile(base).map_err(|error| wrong("extends", error.to_string()))?,
            None => Profile::empty(),
        };
        let own_folder = given.rules_folder.as_ref().map(|own| folder.unwrap_or(Path::new("")).join(own));
        for id in &given.rules {
            let rule = self.find_rule(own_folder.as_deref(), id).map_err(|error| match error {
                Error::NoSuchRule { .. } => wrong("rules", error.to_string()).into(),
                other => other,
            })?;
            profile.rules.retain(|known| known.id != rule.id);
            profile.rules.push(rule);
        }
        for id in IN_EVERY_PROFILE {
            profile.rules.retain(|known| known.id != id);
            profile.rules.push(self.rule(id)?);
        }
        profile.rules.sort_by(|one, other| one.id.cmp(&other.id));
        profile.parameters.extend(given.parameters);
        profile.levels.extend(given.severity);
        (profile.id, profile.title, profile.docs) = (given.id, given.title, given.docs);
        profile.verify().map_err(|(field, message)| wrong(&field, message))?;
        Ok(profile)
    }

    /// A rule of the user's folder, else a built-in one.
    fn find_rule(&self, own_folder: Option<&Path>, id: &str) -> Result<Rule, Error> {
        let Some(folder) = own_folder else { return self.rule(id) };
        let is_name = id.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
        let path = folder.join(format!("{id}.toml"));
        if is_name && path.is_file() {
            return Ok(Rule::read(&path.display().to_string(), id, &read(&path)?)?);
        }
        self.rule(id).or_else(|_| {
            let own = ids_in_folder(folder)?;
            let known = own.iter().map(String::as_str).chain(self.rule_ids());
            Err(Error::NoSuchRule { id: id.to_owned(), suggestion: spelling::suggestion(id, known) })
        })
    }
}

fn builtin(path: &str) -> Option<&'static str> {
    RULES.get_file(path)?.contents_utf8()
}

/// The names of the TOML files in a folder of the built-in ones, without their ending.
fn ids_in(folder: &'static Dir<'static>) -> Vec<&'static str> {
    folder.files().filter_map(|file| file.path().file_name()?.to_str()?.strip_suffix(".toml")).collect()
}

fn ids_in_folder(folder: &Path) -> Result<Vec<String>, Error> {
    let unreadable = |error| Error::Unreadable { path: folder.to_owned(), error };
    let mut ids = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(unreadable)? {
        let name = entry.map_err(unreadable)?.file_name();
        ids.extend(name.to_str().and_then(|name| name.strip_suffix(".toml")).map(str::to_owned));
    }
    ids.sort();
    Ok(ids)
}

/// The largest file of rules or of a profile, in bytes.
const LARGEST: u64 = 4 << 20;

fn read(path: &Path) -> Result<String, Error> {
    small_file::read_text(path, LARGEST, small_file::Kind::Regular)
        .map_err(|error| Error::Unreadable { path: path.to_owned(), error })
}
