//! What a check's report says of the settings that can change its result.

use super::args::CheckArguments;
use crate::config::{Config, Ignore};
use crate::report::{Configuration, Override, SetBy, Setting};

/// The settings of the arguments and of the configuration file, without those that something else stands in place of.
pub(super) fn configuration(arguments: &CheckArguments, config: &Config) -> Configuration {
    let file = Some(config.file.clone()).filter(|file| !file.is_empty());
    let overrides = of_file(arguments, config).into_iter().chain(of_arguments(arguments)).collect();
    Configuration { file, overrides }
}

fn of_file(arguments: &CheckArguments, config: &Config) -> Vec<Override> {
    let target = &arguments.target;
    let mut all = Vec::new();
    let mut add = |what, which: String| all.push(Override { what, which, by: SetBy::File });
    let is_overridden = |rule: &String| arguments.rule.iter().any(|(other, _)| other == rule);
    for (rule, level) in config.severity.iter().filter(|(rule, _)| !is_overridden(rule)) {
        add(Setting::Severity, format!("{rule}={level}"));
    }
    for ignore in &config.ignores {
        add(Setting::Ignore, ignored(ignore));
    }
    if let Some(baseline) = config.baseline.as_ref().filter(|_| arguments.baseline.is_none()) {
        add(Setting::Baseline, baseline.display().to_string());
    }
    for (registry, entry) in &config.registries {
        for mirror in &entry.mirror {
            add(Setting::Mirror, format!("{mirror} for {registry}"));
        }
    }
    if let Some(fail_on) = config.fail_on.filter(|_| arguments.fail_on.is_none()) {
        add(Setting::FailOn, format!("{fail_on:?}").to_lowercase());
    }
    if target.profile.is_empty() {
        config.profile.iter().for_each(|profile| add(Setting::Profile, profile.clone()));
    }
    let is_set = |key: &String| target.set.iter().any(|(set, _)| set == key);
    for (key, values) in config.parameters.iter().filter(|(key, _)| !is_set(key)) {
        add(Setting::Parameter, format!("{key}={}", values.join(",")));
    }
    if let Some(platform) = config.platform.as_ref().filter(|_| arguments.sources.platform.is_none()) {
        add(Setting::Platform, platform.clone());
    }
    all
}

/// Of the arguments only what makes a result better than it was: everybody sees the others, who sees the command line.
fn of_arguments(arguments: &CheckArguments) -> Vec<Override> {
    let by = |id: &str| match arguments.of_environment.iter().any(|of| of == id) {
        true => SetBy::Environment,
        false => SetBy::CommandLine,
    };
    let rules = arguments.rule.iter().map(|(rule, level)| (Setting::Severity, format!("{rule}={level}"), by("rule")));
    let baseline = arguments.baseline.iter();
    let baseline = baseline.map(|path| (Setting::Baseline, path.display().to_string(), by("baseline")));
    let fail_on = arguments.fail_on.iter();
    let fail_on = fail_on.map(|fail_on| (Setting::FailOn, format!("{fail_on:?}").to_lowercase(), by("fail_on")));
    rules.chain(baseline).chain(fail_on).map(|(what, which, by)| Override { what, which, by }).collect()
}

fn ignored(ignore: &Ignore) -> String {
    let image = ignore.image.as_ref().map(|image| format!(" of {image}")).unwrap_or_default();
    let path = ignore.path.as_ref().map(|path| format!(" at {path}")).unwrap_or_default();
    format!("{}{image}{path} ({})", ignore.rule, ignore.reason.trim())
}
