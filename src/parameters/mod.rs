//! Parameters of a profile: what a user may set (`--set server=2024.1`), and the values that checks read.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::Deserialize;

use crate::platform::Platform;
use crate::spelling;
use crate::tables::windows::windows;

pub mod size;
mod version;

pub use version::{NotAVersion, Version};

/// One parameter as a profile declares it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Parameter {
    /// What its values are.
    pub kind: ParameterKind,
    /// What it says and what it changes, one or two sentences.
    pub description: String,
    /// Its value when it is not set; empty means "not given".
    #[serde(default)]
    pub default: String,
    /// A value that could be set.
    pub example: String,
    /// The only values there are; empty allows all of the kind.
    #[serde(default)]
    pub allowed: Vec<String>,
    /// Whether it takes several values: with commas between them, or set one after the other.
    #[serde(default)]
    pub list: bool,
    /// Other defaults for images of certain operating systems, by Go's GOOS.
    #[serde(default)]
    pub default_on: BTreeMap<String, String>,
    /// Other defaults when certain other parameters are set, by their names.
    #[serde(default)]
    pub default_with: BTreeMap<String, String>,
}

/// The kinds of values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ParameterKind {
    /// Any text.
    Text,
    /// A [`Version`].
    Version,
    /// A [`Platform`].
    Platform,
    /// A [`size`].
    Size,
    /// A Windows host: its version, or the tag of a base image.
    WindowsHost,
}

impl fmt::Display for ParameterKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Text => "text",
            Self::Version => "version",
            Self::Platform => "platform",
            Self::Size => "size",
            Self::WindowsHost => "windows-host",
        })
    }
}

/// Why a parameter could not be set.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The profile has no parameter of this name.
    #[error("there is no parameter `{key}`{suggestion} (there are: {known})")]
    Unknown {
        /// As given.
        key: String,
        /// What was most likely meant, as the end of a sentence.
        suggestion: String,
        /// All names.
        known: String,
    },
    /// The value is none of this parameter's.
    #[error("parameter `{key}`: {why}")]
    Value {
        /// The parameter.
        key: String,
        /// What is wrong with the value and what would be right.
        why: String,
    },
}

/// The parameters of a profile, by name.
pub type Declared = BTreeMap<String, Parameter>;

/// The values that images are judged with: the defaults and what was set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parameters {
    values: BTreeMap<String, Vec<Value>>,
    /// What stands in for values that were not set, by operating system.
    on: BTreeMap<String, BTreeMap<String, Vec<Value>>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Value {
    Text(String),
    Version(Version),
    Platform(Platform),
    Size(u64),
}

impl Parameters {
    /// The defaults of `declared`, overridden by `set` in its order. An empty value is the default again: so comes
    /// what a shell makes of a variable that is not set.
    ///
    /// # Errors
    /// A key that is not declared, or a value that its parameter does not take.
    pub fn new<K: AsRef<str>, V: AsRef<str>>(declared: &Declared, set: &[(K, V)]) -> Result<Self, Error> {
        let mut values: BTreeMap<String, Vec<Value>> = BTreeMap::new();
        for (key, value) in set {
            let key = key.as_ref();
            let parameter = declared.get(key).ok_or_else(|| unknown(declared, key))?;
            let read = parameter.read(key, value.as_ref())?;
            let before = values.remove(key).filter(|_| parameter.list && !read.is_empty()).unwrap_or_default();
            let new = read.into_iter().filter(|one| !before.contains(one)).collect();
            values.insert(key.to_owned(), [before, new].concat());
        }
        values.retain(|_, read| !read.is_empty());
        let given: Vec<String> = values.keys().cloned().collect();
        let mut on: BTreeMap<String, BTreeMap<String, Vec<Value>>> = BTreeMap::new();
        for (key, parameter) in declared.iter().filter(|(key, _)| !given.contains(key)) {
            let with = parameter.default_with.iter().find(|(other, _)| given.contains(other));
            let default = with.map_or(&parameter.default, |(_, default)| default);
            values.insert(key.clone(), parameter.read(key, default)?);
            for (system, default) in &parameter.default_on {
                on.entry(system.clone()).or_default().insert(key.clone(), parameter.read(key, default)?);
            }
        }
        Ok(Self { values, on })
    }

    /// The same for an image of an operating system, on which some defaults are others.
    #[must_use]
    pub fn on(&self, system: &str) -> Self {
        let mut own = self.clone();
        own.values.extend(self.on.get(system).into_iter().flatten().map(|(key, read)| (key.clone(), read.clone())));
        own
    }

    /// The text of a parameter, if it has one.
    #[must_use]
    pub fn text(&self, key: &str) -> Option<String> {
        self.first(key).map(Value::to_string)
    }

    /// All texts of a parameter.
    #[must_use]
    pub fn texts(&self, key: &str) -> Vec<String> {
        self.values.get(key).into_iter().flatten().map(Value::to_string).collect()
    }

    /// All parameters that have a value, each as it would be set.
    #[must_use]
    pub fn all(&self) -> BTreeMap<String, String> {
        let given = self.values.iter().filter(|(_, values)| !values.is_empty());
        given.map(|(key, _)| (key.clone(), self.texts(key).join(","))).collect()
    }

    /// The version that a parameter has, if one was given.
    #[must_use]
    pub fn version(&self, key: &str) -> Option<&Version> {
        match self.first(key)? {
            Value::Version(version) => Some(version),
            _ => None,
        }
    }

    /// The platform that a parameter has, if one was given.
    #[must_use]
    pub fn platform(&self, key: &str) -> Option<&Platform> {
        match self.first(key)? {
            Value::Platform(platform) => Some(platform),
            _ => None,
        }
    }

    /// The size in bytes that a parameter has, if one was given.
    #[must_use]
    pub fn size(&self, key: &str) -> Option<u64> {
        match self.first(key)? {
            Value::Size(bytes) => Some(*bytes),
            _ => None,
        }
    }

    fn first(&self, key: &str) -> Option<&Value> {
        self.values.get(key)?.first()
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::Version(version) => version.fmt(f),
            Self::Platform(platform) => platform.fmt(f),
            Self::Size(bytes) => f.write_str(&size::display(*bytes)),
        }
    }
}

impl Parameter {
    fn read(&self, key: &str, text: &str) -> Result<Vec<Value>, Error> {
        let several = if self.list { text.split(',').collect() } else { vec![text] };
        several.into_iter().map(str::trim).filter(|one| !one.is_empty()).map(|one| self.read_one(key, one)).collect()
    }

    /// Whether two texts are the same value: versions are compared as versions, so `8` is `8.0`.
    fn is_same(&self, one: &str, other: &str) -> bool {
        let versions = (one.parse::<Version>(), other.parse::<Version>());
        match (self.kind, versions) {
            (ParameterKind::Version, (Ok(one), Ok(other))) => one == other,
            _ => one == other,
        }
    }

    fn read_one(&self, key: &str, text: &str) -> Result<Value, Error> {
        let wrong = |why: String| Error::Value { key: key.to_owned(), why };
        let text = match self.allowed.iter().find(|allowed| self.is_same(allowed, text)) {
            Some(allowed) => allowed,
            None if self.allowed.is_empty() => text,
            None => {
                let suggestion = spelling::suggestion(text, self.allowed.iter().map(String::as_str));
                return Err(wrong(format!("{text:?} is not one of {}{suggestion}", self.allowed.join(", "))));
            }
        };
        match self.kind {
            ParameterKind::Text => Ok(Value::Text(text.to_owned())),
            ParameterKind::Version => {
                Version::from_str(text).map(Value::Version).map_err(|error| wrong(error.to_string()))
            }
            ParameterKind::Platform => {
                Platform::from_str(text).map(Value::Platform).map_err(|error| wrong(error.to_string()))
            }
            ParameterKind::WindowsHost => match windows().ok().and_then(|table| table.host(text)) {
                Some(_) => Ok(Value::Text(text.to_owned())),
                None => {
                    let known = windows().map(|table| table.host_names().collect::<Vec<_>>()).unwrap_or_default();
                    let suggestion = spelling::suggestion(text, known.iter().copied());
                    let known = known.join(", ");
                    Err(wrong(format!(
                        "{text:?} is no Windows host{suggestion}: a version such as 10.0.20348, or one of {known}"
                    )))
                }
            },
            ParameterKind::Size => size::parse(text).map(Value::Size).map_err(|error| wrong(error.to_string())),
        }
    }
}

fn unknown(declared: &Declared, key: &str) -> Error {
    let names = || declared.keys().map(String::as_str);
    let known = names().collect::<Vec<_>>().join(", ");
    Error::Unknown { key: key.to_owned(), suggestion: spelling::suggestion(key, names()), known }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn declared() -> Declared {
        let text = r#"
            server = { kind = "version", description = "d", example = "2024.1" }
            worker = { kind = "platform", description = "d", example = "linux/amd64", default = "linux/amd64" }
            limit = { kind = "size", description = "d", example = "1GB", default = "2GiB" }
            dotnet = { kind = "version", description = "d", example = "8.0", default = "8.0", allowed = ["8.0", "10.0"] }
            steps = { kind = "text", description = "d", example = "bash", allowed = ["bash", "python"], list = true }
        "#;
        crate::toml_file::parse("declared", text).unwrap()
    }

    #[test]
    fn defaults_hold_until_a_value_is_set() {
        let parameters = Parameters::new::<&str, &str>(&declared(), &[]).unwrap();
        assert_eq!(parameters.version("server"), None);
        assert_eq!(parameters.platform("worker"), Some(&Platform::new("linux", "amd64")));
        assert_eq!(parameters.size("limit"), Some(2 << 30));
        let parameters = Parameters::new(&declared(), &[("steps", "bash, python"), ("server", "2024.1")]).unwrap();
        assert_eq!(parameters.texts("steps"), ["bash", "python"]);
        assert_eq!(parameters.text("server").as_deref(), Some("2024.1"));
        let parameters = Parameters::new(&declared(), &[("worker", "")]).unwrap();
        assert_eq!(parameters.platform("worker"), Some(&Platform::new("linux", "amd64")));
        let parameters = Parameters::new(&declared(), &[("dotnet", "10")]).unwrap();
        assert_eq!(parameters.text("dotnet").as_deref(), Some("10.0"), "spelt as allowed");
    }

    #[test]
    fn lists_grow_and_other_things_are_replaced() {
        let set = [("steps", "bash"), ("steps", "python,bash"), ("server", "2023.1"), ("server", "2024.1")];
        let parameters = Parameters::new(&declared(), &set).unwrap();
        assert_eq!(parameters.texts("steps"), ["bash", "python"]);
        assert_eq!(parameters.text("server").as_deref(), Some("2024.1"));
    }

    #[test]
    fn defaults_depend_on_the_system_and_on_what_else_is_set() {
        let text = r#"
            steps = { kind = "text", description = "d", example = "x", default = "bash", default-on = { windows = "powershell" } }
            worker = { kind = "text", description = "d", example = "x", default = "linux", default-with = { host = "windows" } }
            host = { kind = "windows-host", description = "d", example = "ltsc2022" }
        "#;
        let declared: Declared = crate::toml_file::parse("declared", text).unwrap();
        let parameters = |set: &[(&str, &str)]| Parameters::new(&declared, set).unwrap();
        let text = |parameters: Parameters, key: &str| parameters.text(key).unwrap_or_default();
        assert_eq!(text(parameters(&[]).on("linux"), "steps"), "bash");
        assert_eq!(text(parameters(&[]).on("windows"), "steps"), "powershell");
        assert_eq!(text(parameters(&[("steps", "python")]).on("windows"), "steps"), "python");
        assert_eq!(text(parameters(&[]), "worker"), "linux");
        assert_eq!(text(parameters(&[("host", "10.0.20348")]), "worker"), "windows");
        let error = Parameters::new(&declared, &[("host", "ltsc2023")]).unwrap_err().to_string();
        assert!(error.contains("did you mean `ltsc2022`") && error.contains("10.0.20348"), "{error}");
    }

    #[test]
    fn wrong_keys_and_values_say_what_would_be_right() {
        let error = |key, value| Parameters::new(&declared(), &[(key, value)]).unwrap_err().to_string();
        assert_eq!(
            error("sever", "1"),
            "there is no parameter `sever`; did you mean `server`? (there are: dotnet, limit, server, steps, worker)"
        );
        assert!(error("worker", "linux").starts_with("parameter `worker`: \"linux\" is not a platform"));
        assert!(error("limit", "much").starts_with("parameter `limit`: \"much\" is not a size"));
        assert!(error("server", "new").starts_with("parameter `server`: \"new\" is not a version"));
        assert!(error("steps", "bash,pyton").ends_with("did you mean `python`?"));
    }
}
