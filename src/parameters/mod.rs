//! Parameters of a profile: what a user may set (`--set server=2024.1`), and the values that checks read.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::Deserialize;

use crate::platform::Platform;
use crate::spelling;

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
    /// Whether it takes several values with commas between them.
    #[serde(default)]
    pub list: bool,
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
}

impl fmt::Display for ParameterKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Text => "text",
            Self::Version => "version",
            Self::Platform => "platform",
            Self::Size => "size",
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
        let mut values = BTreeMap::new();
        for (key, parameter) in declared {
            values.insert(key.clone(), parameter.read(key, &parameter.default)?);
        }
        for (key, value) in set {
            let key = key.as_ref();
            let parameter = declared.get(key).ok_or_else(|| unknown(declared, key))?;
            let given = Some(value.as_ref()).filter(|text| !text.trim().is_empty());
            values.insert(key.to_owned(), parameter.read(key, given.unwrap_or(&parameter.default))?);
        }
        Ok(Self { values })
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
