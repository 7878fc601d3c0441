//! A profile: a target, the rules it asks for and its parameters.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{Error, IN_EVERY_PROFILE, Level, Rule, When};
use crate::parameters::{Declared, ParameterKind, Parameters};
use crate::spelling;
use crate::verdict::Severity;

/// A target: which rules it asks for, how much each matters, and what can be set.
#[derive(Clone, Debug)]
pub struct Profile {
    /// Its name: that of the built-in profile, or what the file gives.
    pub id: String,
    /// What the target is.
    pub title: String,
    /// Where the target is documented.
    pub docs: String,
    /// What can be set, by name.
    pub parameters: Declared,
    /// The rules, by id.
    pub rules: Vec<Rule>,
    /// The rules that matter more or less to this target than they say themselves.
    pub levels: Overrides,
}

/// How much rules are made to matter, by id.
pub type Overrides = BTreeMap<String, Level>;

/// A profile as its file has it (`rules/README.md`).
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct ProfileFile {
    pub id: String,
    pub title: String,
    pub docs: String,
    #[serde(default)]
    pub extends: Option<String>,
    #[serde(default)]
    pub rules_folder: Option<String>,
    pub rules: Vec<String>,
    #[serde(default)]
    pub severity: Overrides,
    #[serde(default)]
    pub parameters: Declared,
}

impl Profile {
    /// The rule of this id.
    ///
    /// # Errors
    /// The profile does not ask for such a rule.
    pub fn rule(&self, id: &str) -> Result<&Rule, Error> {
        let ids = || self.rules.iter().map(|rule| rule.id.as_str());
        self.rules
            .iter()
            .find(|rule| rule.id == id)
            .ok_or_else(|| Error::NoSuchRule { id: id.to_owned(), suggestion: spelling::suggestion(id, ids()) })
    }

    /// The parameters to judge with: the profile's defaults and what is set, the last of a key counting.
    ///
    /// # Errors
    /// A key that the profile does not have, or a value that its parameter does not take.
    pub fn parameters<K: AsRef<str>, V: AsRef<str>>(&self, set: &[(K, V)]) -> Result<Parameters, Error> {
        Ok(Parameters::new(&self.parameters, set)?)
    }

    /// Severities as a configuration or a command line gives them, the last of an id counting.
    ///
    /// # Errors
    /// An id that the profile does not have, or a text that is no severity.
    pub fn overrides<K: AsRef<str>, V: AsRef<str>>(&self, set: &[(K, V)]) -> Result<Overrides, Error> {
        let read = |(id, level): &(K, V)| {
            let rule = self.rule(id.as_ref())?;
            let level = level.as_ref().parse().map_err(|error| Error::Level { rule: rule.id.clone(), error })?;
            if level == Level::Off && IN_EVERY_PROFILE.contains(&rule.id.as_str()) {
                return Err(Error::AlwaysOn { rule: rule.id.clone() });
            }
            Ok((rule.id.clone(), level))
        };
        set.iter().map(read).collect()
    }

    /// How much a rule matters, or its lesser defect: it proposes, the profile disposes, `overrides` have the last word.
    /// Nothing when it is off.
    #[must_use]
    pub fn severity(
        &self,
        rule: &Rule,
        parameters: &Parameters,
        overrides: &Overrides,
        is_lesser: bool,
    ) -> Option<Severity> {
        match overrides.get(&rule.id).or_else(|| self.levels.get(&rule.id)) {
            Some(level) => level.severity(),
            None => Some(rule.severity_of(parameters, is_lesser)),
        }
    }
}

impl Profile {
    pub(super) fn empty() -> Self {
        Self {
            id: String::new(),
            title: String::new(),
            docs: String::new(),
            parameters: Declared::new(),
            rules: Vec::new(),
            levels: Overrides::new(),
        }
    }

    /// Whether its parts fit together: the field that does not, and why.
    pub(super) fn verify(&self) -> Result<(), (String, String)> {
        for (id, level) in &self.levels {
            self.rule(id).map_err(|error| (id.clone(), error.to_string()))?;
            if *level == Level::Off && IN_EVERY_PROFILE.contains(&id.as_str()) {
                return Err((id.clone(), Error::AlwaysOn { rule: id.clone() }.to_string()));
            }
        }
        Parameters::new::<&str, &str>(&self.parameters, &[])
            .map_err(|error| ("parameters".to_owned(), error.to_string()))?;
        for (key, parameter) in &self.parameters {
            Parameters::new(&self.parameters, &[(key, &parameter.example)])
                .map_err(|error| (key.clone(), format!("the example is wrong: {error}")))?;
        }
        self.rules.iter().try_for_each(|rule| self.verify_parameters(rule))
    }

    /// Whether the parameters that a rule reads are there, and of the right kind.
    fn verify_parameters(&self, rule: &Rule) -> Result<(), (String, String)> {
        // Of a profile without the parameter no word of it holds.
        let is_meant = |when: &&When| when.is.is_none() || self.parameters.contains_key(&when.parameter);
        let kind = |when: &When| if when.is.is_some() { ParameterKind::Text } else { ParameterKind::Version };
        let of_when = rule.when.iter().filter(is_meant).map(|when| (when.parameter.as_str(), kind(when)));
        for (name, kind) in rule.check.parameter().into_iter().chain(of_when) {
            match self.parameters.get(name) {
                Some(parameter) if parameter.kind == kind => {}
                Some(parameter) => {
                    let is =
                        format!("parameter `{name}` is a {}, and rule `{}` needs a {kind}", parameter.kind, rule.id);
                    return Err((name.to_owned(), is));
                }
                None => return Err(("rules".to_owned(), format!("rule `{}` needs a parameter `{name}`", rule.id))),
            }
        }
        Ok(())
    }
}
