//! runtimeconfig.json: which .NET a program runs on and what it sets for itself.
//!
//! Source: dotnet/sdk, "Runtime configuration files" (documentation/specs/runtime-configuration-file.md), and the host
//! that reads it (dotnet/runtime, src/native/corehost/runtime_config.cpp: comments are allowed).

use serde::Deserialize;
use serde_json::Value;

/// What matters of a runtimeconfig.json.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RuntimeConfig {
    /// The target, such as `net8.0` or `netcoreapp3.1`.
    pub tfm: Option<String>,
    /// The frameworks it needs, or has in it.
    pub frameworks: Vec<FrameworkReference>,
    /// Whether the frameworks are part of the program.
    pub is_self_contained: bool,
    /// Whether it names frameworks that have to be installed.
    pub is_framework_dependent: bool,
    /// How far it lets its frameworks roll forward.
    pub roll: Roll,
    /// Why hosts refuse the file, though it can be read.
    pub refused: Option<String>,
    /// `System.Globalization.Invariant`.
    pub invariant: Option<bool>,
    /// `System.Globalization.AppLocalIcu`.
    pub app_local_icu: Option<String>,
    /// `System.Globalization.PredefinedCulturesOnly`.
    pub predefined_cultures_only: Option<bool>,
    /// `System.StartupHookProvider.IsSupported`: trimmed programs have it off.
    pub startup_hooks: Option<bool>,
}

/// A framework that a program needs, or has in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FrameworkReference {
    /// Such as `Microsoft.NETCore.App`.
    pub name: String,
    /// Such as `8.0.0`.
    pub version: String,
    /// How far it may roll forward, where it differs from the whole file.
    pub roll: Roll,
}

/// How far a framework may roll forward, as far as it is said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Roll {
    /// `rollForward`, or `rollForwardOnNoCandidateFx` in its words.
    pub forward: Option<RollForward>,
    /// `applyPatches`.
    pub apply_patches: Option<bool>,
}

/// Which other versions may take the place of the one that is asked for (dotnet/runtime,
/// src/native/corehost/roll_forward_option.cpp).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RollForward {
    /// None.
    Disable,
    /// The newest patch.
    LatestPatch,
    /// The nearest minor version.
    Minor,
    /// The newest minor version.
    LatestMinor,
    /// The nearest major version.
    Major,
    /// The newest version.
    LatestMajor,
}

impl RollForward {
    /// Reads a setting in any case; `None` for a word that hosts refuse.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let all = [
            ("disable", Self::Disable),
            ("latestpatch", Self::LatestPatch),
            ("minor", Self::Minor),
            ("latestminor", Self::LatestMinor),
            ("major", Self::Major),
            ("latestmajor", Self::LatestMajor),
        ];
        all.into_iter().find(|(word, _)| text.eq_ignore_ascii_case(word)).map(|(_, roll)| roll)
    }

    /// The meaning of the older setting `rollForwardOnNoCandidateFx`.
    #[must_use]
    pub fn on_no_candidate(number: i64) -> Self {
        match number {
            0 => Self::LatestPatch,
            1 => Self::Minor,
            2 => Self::Major,
            _ => Self::Disable,
        }
    }
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Options {
    tfm: Option<String>,
    framework: Option<Framework>,
    frameworks: Option<Vec<Framework>>,
    included_frameworks: Option<Vec<Framework>>,
    config_properties: serde_json::Map<String, Value>,
    #[serde(flatten)]
    roll: Rolling,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Rolling {
    roll_forward: Option<String>,
    roll_forward_on_no_candidate_fx: Option<i64>,
    apply_patches: Option<bool>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Framework {
    name: String,
    version: String,
    #[serde(flatten)]
    roll: Rolling,
}

/// Reads the content of a runtimeconfig.json.
///
/// # Errors
/// It is none, and why.
pub fn parse(bytes: &[u8]) -> Result<RuntimeConfig, String> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let text = std::str::from_utf8(bytes).map_err(|error| error.to_string())?;
    let mut file: serde_json::Map<String, Value> =
        serde_json::from_str(&without_comments(text)).map_err(|error| error.to_string())?;
    let options = match file.remove("runtimeOptions") {
        None => {
            let refused = Some("it has no runtimeOptions".to_owned());
            return Ok(RuntimeConfig { refused, ..RuntimeConfig::default() });
        }
        Some(Value::Null) => Options::default(),
        Some(options) => serde_json::from_value(options).map_err(|error| error.to_string())?,
    };
    Ok(read(options))
}

/// Reads the options as hosts do (dotnet/runtime, src/native/corehost/runtime_config.cpp, `parse_opts`).
fn read(options: Options) -> RuntimeConfig {
    let mut config = RuntimeConfig {
        tfm: options.tfm,
        is_self_contained: options.included_frameworks.as_ref().is_some_and(|included| !included.is_empty()),
        is_framework_dependent: options.framework.is_some() || options.frameworks.is_some(),
        ..RuntimeConfig::default()
    };
    let has_included = options.included_frameworks.is_some();
    let (mut is_new, mut is_old) = (false, false);
    let mut refused = None;
    let mut roll = |own: Rolling| {
        is_new |= own.roll_forward.is_some();
        is_old |= own.apply_patches.is_some() || own.roll_forward_on_no_candidate_fx.is_some();
        let word = own.roll_forward.as_deref();
        if let Some(word) = word.filter(|word| RollForward::parse(word).is_none()) {
            refused = Some(format!("its rollForward is {word:?}, which is no such setting"));
        }
        let old = own.roll_forward_on_no_candidate_fx.map(RollForward::on_no_candidate);
        Roll { forward: old.or(word.and_then(RollForward::parse)), apply_patches: own.apply_patches }
    };
    config.roll = roll(options.roll);
    let mut names: Vec<String> = Vec::new();
    let lists = [options.frameworks, options.included_frameworks];
    let all = options.framework.into_iter().chain(lists.into_iter().flatten().flatten());
    for Framework { name, version, roll: own } in all {
        names.push(name.clone());
        config.frameworks.push(FrameworkReference { name, version, roll: roll(own) });
    }
    names.sort();
    if is_new && is_old {
        refused = Some("it has rollForward, and applyPatches or rollForwardOnNoCandidateFx too".to_owned());
    } else if config.is_framework_dependent && has_included {
        refused = Some("it has includedFrameworks, and framework or frameworks too".to_owned());
    } else if names.windows(2).any(|pair| pair[0] == pair[1]) {
        refused = Some("it names a framework twice".to_owned());
    } else if names.first().is_some_and(String::is_empty) {
        refused = Some("it names a framework without a name".to_owned());
    }
    config.refused = refused;
    let property = |name: &str| options.config_properties.get(name);
    config.invariant = property("System.Globalization.Invariant").and_then(switch);
    config.app_local_icu = property("System.Globalization.AppLocalIcu").and_then(Value::as_str).map(str::to_owned);
    config.predefined_cultures_only = property("System.Globalization.PredefinedCulturesOnly").and_then(switch);
    config.startup_hooks = property("System.StartupHookProvider.IsSupported").and_then(switch);
    config
}

impl RuntimeConfig {
    /// The release it is for, such as `8.0`: by its main framework, else by its target.
    #[must_use]
    pub fn release(&self) -> Option<String> {
        let own = |framework: &&FrameworkReference| framework.name == "Microsoft.NETCore.App";
        let framework = self.frameworks.iter().find(own).or_else(|| self.frameworks.first());
        let by_framework = framework.and_then(|framework| release_of(&framework.version));
        by_framework.or_else(|| {
            let tfm = self.tfm.as_deref()?;
            release_of(tfm.strip_prefix("netcoreapp").or_else(|| tfm.strip_prefix("net"))?)
        })
    }
}

/// `8.0` of `8.0.4` or `8.0`.
#[must_use]
pub fn release_of(version: &str) -> Option<String> {
    let mut parts = version.split('.');
    let number = |part: Option<&str>| {
        part.filter(|part| !part.is_empty() && part.len() < 4 && part.bytes().all(|byte| byte.is_ascii_digit()))
            .map(str::to_owned)
    };
    let (major, minor) = (number(parts.next())?, number(parts.next())?);
    Some(format!("{major}.{minor}"))
}

/// A switch as the runtime reads it: a truth value, or its name in any case.
fn switch(value: &Value) -> Option<bool> {
    match value {
        Value::Bool(value) => Some(*value),
        Value::String(text) if text.eq_ignore_ascii_case("true") => Some(true),
        Value::String(text) if text.eq_ignore_ascii_case("false") => Some(false),
        _ => None,
    }
}

/// The text with `//` and `/* */` comments turned to spaces, outside of strings.
fn without_comments(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    let mut is_string = false;
    while let Some(character) = rest.chars().next() {
        let skip = match character {
            '\\' if is_string => rest.chars().take(2).map(char::len_utf8).sum(),
            '"' => {
                is_string = !is_string;
                1
            }
            '/' if !is_string && rest.starts_with("//") => {
                rest = rest.find('\n').map_or("", |end| &rest[end..]);
                continue;
            }
            '/' if !is_string && rest.starts_with("/*") => {
                rest = rest.find("*/").map_or("", |end| &rest[end + 2..]);
                continue;
            }
            other => other.len_utf8(),
        };
        plain.push_str(&rest[..skip]);
        rest = &rest[skip..];
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_self_contained_program_says_its_release_and_switches() {
        let text = br#"{ // written by hand
            "runtimeOptions": {
                "tfm": "net8.0",
                "includedFrameworks": [{"name": "Microsoft.AspNetCore.App", "version": "8.0.30"},
                                       {"name": "Microsoft.NETCore.App", "version": "8.0.28"}],
                "configProperties": {"System.Globalization.Invariant": "True", "url": "https://x /* no comment */"}
            } /* the end */
        }"#;
        let config = parse(text).unwrap();
        assert_eq!((config.release().as_deref(), config.is_self_contained), (Some("8.0"), true));
        assert_eq!(config.invariant, Some(true));
    }

    #[test]
    fn other_programs_name_one_framework_or_only_a_target() {
        let text = br#"{"runtimeOptions": {"tfm": "netcoreapp3.1", "framework": {"name": "Microsoft.NETCore.App", "version": "3.1.0"}}}"#;
        assert_eq!(parse(text).unwrap().release().as_deref(), Some("3.1"));
        let text = "\u{feff}{\"runtimeOptions\": {\"tfm\": \"net10.0\", \"configProperties\": {\"System.Globalization.Invariant\": false}}}";
        let config = parse(text.as_bytes()).unwrap();
        assert_eq!((config.release().as_deref(), config.invariant), (Some("10.0"), Some(false)));
    }

    #[test]
    fn what_is_none_says_why() {
        assert!(parse(b"{").is_err() && parse(b"\xff").is_err());
        assert!(parse(b"{}").unwrap().refused.is_some());
        assert_eq!(parse(br#"{"runtimeOptions": null}"#).unwrap(), RuntimeConfig::default());
        assert_eq!(release_of("preview"), None);
    }

    #[test]
    fn how_far_frameworks_roll_forward_is_read_for_the_file_and_for_each() {
        let text = br#"{"runtimeOptions": {"rollForward": "latestMajor", "frameworks": [
            {"name": "A", "version": "1.0.0", "rollForward": "Disable"}, {"name": "B", "version": "2.0.0"}]}}"#;
        let config = parse(text).unwrap();
        assert_eq!((config.roll.forward, config.refused.clone()), (Some(RollForward::LatestMajor), None));
        let own: Vec<_> = config.frameworks.iter().map(|framework| framework.roll.forward).collect();
        assert_eq!((own, config.is_framework_dependent), (vec![Some(RollForward::Disable), None], true));
    }

    #[test]
    fn settings_that_hosts_refuse_are_refused() {
        let refused =
            |options: &str| parse(format!("{{\"runtimeOptions\": {{{options}}}}}").as_bytes()).unwrap().refused;
        let framework = r#""framework": {"name": "A", "version": "1.0.0"}"#;
        assert_eq!(refused(framework), None);
        for options in [
            r#""rollForward": "sideways""#.to_owned(),
            r#""rollForward": "Minor", "applyPatches": true"#.to_owned(),
            format!(r#"{framework}, "includedFrameworks": []"#),
            format!(r#"{framework}, "frameworks": [{{"name": "A", "version": "1.0.0"}}]"#),
            r#""frameworks": [{"version": "1.0.0"}]"#.to_owned(),
        ] {
            assert!(refused(&options).is_some(), "{options}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "[\\PC]{0,80}|[\"/*{}\\\\\n:,]{0,60}") {
            let _ = parse(text.as_bytes());
        }
    }
}
