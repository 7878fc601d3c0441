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
    /// The frameworks it needs, or has in it: name and version.
    pub frameworks: Vec<(String, String)>,
    /// Whether the frameworks are part of the program.
    pub is_self_contained: bool,
    /// `System.Globalization.Invariant`.
    pub invariant: Option<bool>,
    /// `System.Globalization.AppLocalIcu`.
    pub app_local_icu: Option<String>,
}

#[derive(Deserialize)]
struct File {
    #[serde(default, rename = "runtimeOptions")]
    options: Options,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Options {
    tfm: Option<String>,
    framework: Option<Framework>,
    frameworks: Vec<Framework>,
    included_frameworks: Vec<Framework>,
    config_properties: serde_json::Map<String, Value>,
}

#[derive(Deserialize)]
#[serde(default)]
#[derive(Default)]
struct Framework {
    name: String,
    version: String,
}

/// Reads the content of a runtimeconfig.json.
///
/// # Errors
/// It is none, and why.
pub fn parse(bytes: &[u8]) -> Result<RuntimeConfig, String> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let text = std::str::from_utf8(bytes).map_err(|error| error.to_string())?;
    let File { options } = serde_json::from_str(&without_comments(text)).map_err(|error| error.to_string())?;
    let is_self_contained = !options.included_frameworks.is_empty();
    let all = options.framework.into_iter().chain(options.frameworks).chain(options.included_frameworks);
    let property = |name: &str| options.config_properties.get(name);
    Ok(RuntimeConfig {
        tfm: options.tfm,
        frameworks: all.map(|framework| (framework.name, framework.version)).collect(),
        is_self_contained,
        invariant: property("System.Globalization.Invariant").and_then(switch),
        app_local_icu: property("System.Globalization.AppLocalIcu").and_then(Value::as_str).map(str::to_owned),
    })
}

impl RuntimeConfig {
    /// The release it is for, such as `8.0`: by its main framework, else by its target.
    #[must_use]
    pub fn release(&self) -> Option<String> {
        let own = |(name, _): &&(String, String)| name == "Microsoft.NETCore.App";
        let framework = self.frameworks.iter().find(own).or_else(|| self.frameworks.first());
        let by_framework = framework.and_then(|(_, version)| release_of(version));
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
        assert_eq!(parse(b"{}").unwrap(), RuntimeConfig::default());
        assert_eq!(release_of("preview"), None);
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "[\\PC]{0,80}|[\"/*{}\\\\\n:,]{0,60}") {
            let _ = parse(text.as_bytes());
        }
    }
}
