//! The image configuration (image-spec, config.md), read as engines read it.

use std::collections::{BTreeMap, BTreeSet};

use super::json::{self, Json, Read, Repeats};
use super::{Error, Result};
use crate::digest::Digest;
use crate::platform::Platform;
use crate::printable::excerpt;

/// What an image's configuration says.
#[derive(Clone, Debug, Default)]
pub struct Configuration {
    /// Operating system, architecture, variant, os.version.
    pub platform: Platform,
    /// What containers are started with.
    pub run: RunConfiguration,
    /// The DiffIDs of the layers, base first.
    pub diff_ids: Vec<Digest>,
    /// How the image came about, oldest first.
    pub history: Vec<History>,
}

/// The `config` object: defaults for containers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RunConfiguration {
    /// The words of `ENTRYPOINT`.
    pub entrypoint: Vec<String>,
    /// The words of `CMD`.
    pub cmd: Vec<String>,
    /// `NAME=value` entries.
    pub env: Vec<String>,
    /// As written: `user`, `uid`, `user:group`, …; empty means root.
    pub user: String,
    /// The working directory; empty means `/`.
    pub working_dir: String,
    /// The paths of the volumes.
    pub volumes: Vec<String>,
    /// The words of `SHELL`; empty means the default.
    pub shell: Vec<String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
}

/// One entry of the history.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History {
    /// The Dockerfile instruction, in the builder's words.
    pub created_by: String,
    /// Whether it made no layer.
    pub empty_layer: bool,
}

/// The most history entries that are kept.
const MOST_HISTORY: usize = 20_000;

/// Reads a configuration. `what` names it in errors.
///
/// # Errors
/// It is not a JSON object, a field has the wrong type, or a key that is read is there twice; the error names the field.
pub fn parse(what: &str, bytes: &[u8]) -> Result<Configuration> {
    let mut configuration = Configuration::default();
    let read = json::read(bytes, Repeats::Refused, |json| fields(json, &mut configuration));
    read.map_err(|error| {
        let colon = if error.field.is_empty() { " cannot be read:" } else { ":" };
        Error::broken(format!("{what}{colon} {error}"))
    })?;
    Ok(configuration)
}

/// The kinds of values.
#[derive(Clone, Copy)]
enum Kind {
    Text,
    Texts,
    Bool,
    Number,
    Object,
    Time,
}

/// Keys that decide nothing here, and what engines refuse a configuration without: they read all of it into structures
/// (moby, image/image.go and api/types/container/config.go).
const OTHER: [(&str, Kind); 10] = [
    ("id", Kind::Text),
    ("parent", Kind::Text),
    ("comment", Kind::Text),
    ("created", Kind::Time),
    ("container", Kind::Text),
    ("container_config", Kind::Object),
    ("docker_version", Kind::Text),
    ("author", Kind::Text),
    ("Size", Kind::Number),
    ("os.features", Kind::Texts),
];
/// As [`OTHER`], in `config`.
const OTHER_OF_RUN: [(&str, Kind); 17] = [
    ("Hostname", Kind::Text),
    ("Domainname", Kind::Text),
    ("AttachStdin", Kind::Bool),
    ("AttachStdout", Kind::Bool),
    ("AttachStderr", Kind::Bool),
    ("Tty", Kind::Bool),
    ("OpenStdin", Kind::Bool),
    ("StdinOnce", Kind::Bool),
    ("ArgsEscaped", Kind::Bool),
    ("NetworkDisabled", Kind::Bool),
    ("ExposedPorts", Kind::Object),
    ("Healthcheck", Kind::Object),
    ("Image", Kind::Text),
    ("MacAddress", Kind::Text),
    ("OnBuild", Kind::Texts),
    ("StopSignal", Kind::Text),
    ("StopTimeout", Kind::Number),
];
/// As [`OTHER`], in an entry of `history`.
const OTHER_OF_HISTORY: [(&str, Kind); 3] = [("created", Kind::Time), ("author", Kind::Text), ("comment", Kind::Text)];

/// The keys that are read and the others.
fn known(read: &[&'static str], others: &[(&'static str, Kind)]) -> Vec<&'static str> {
    read.iter().copied().chain(others.iter().map(|(key, _)| *key)).collect()
}

/// Passes over the value of one of the other keys, if it is of the kind that engines want.
fn other(json: &mut Json<'_>, key: &str, others: &[(&str, Kind)]) -> Read<()> {
    let Some((_, kind)) = others.iter().find(|(other, _)| *other == key) else { return json.skip() };
    match kind {
        Kind::Text => json.text().map(drop),
        Kind::Texts => json.texts().map(drop),
        Kind::Bool => json.boolean().map(drop),
        Kind::Number => json.integer().map(drop),
        Kind::Object => json.object(|json, _| json.skip()).map(drop),
        Kind::Time => match json.text()? {
            Some(text) if text.parse::<jiff::Timestamp>().is_err() => {
                Err(json.error(format!("{:?} is not a time as 2006-01-02T15:04:05Z", excerpt(&text, 60))))
            }
            _ => Ok(()),
        },
    }
}

fn fields(json: &mut Json<'_>, configuration: &mut Configuration) -> Read<()> {
    let known = known(&["os", "architecture", "variant", "os.version", "config", "rootfs", "history"], &OTHER);
    let mut platform = Platform::default();
    json.fields(&known, |json, key| {
        match key {
            "os" => platform.os = json.text()?.unwrap_or_default(),
            "architecture" => platform.architecture = json.text()?.unwrap_or_default(),
            "variant" => platform.variant = json.text()?.filter(|text| !text.is_empty()),
            "os.version" => platform.os_version = json.text()?.filter(|text| !text.is_empty()),
            "config" => run(json, &mut configuration.run)?,
            "rootfs" => json.fields(&["diff_ids", "type"], |json, key| match key {
                "diff_ids" => diff_ids(json, &mut configuration.diff_ids),
                _ => json.text().map(drop),
            })?,
            "history" => history(json, &mut configuration.history)?,
            _ => other(json, key, &OTHER)?,
        }
        Ok(())
    })?;
    configuration.platform = platform.normal();
    Ok(())
}

fn run(json: &mut Json<'_>, run: &mut RunConfiguration) -> Read<()> {
    let read = ["Entrypoint", "Cmd", "Env", "User", "WorkingDir", "Volumes", "Shell", "Labels"];
    json.fields(&known(&read, &OTHER_OF_RUN), |json, key| {
        match key {
            "Entrypoint" => run.entrypoint = words(json)?,
            "Cmd" => run.cmd = words(json)?,
            "Shell" => run.shell = words(json)?,
            "Env" => run.env = json.texts()?,
            "User" => run.user = json.text()?.unwrap_or_default(),
            "WorkingDir" => run.working_dir = json.text()?.unwrap_or_default(),
            "Labels" => run.labels = json.texts_by_name()?,
            "Volumes" => {
                let mut volumes = BTreeSet::new();
                json.object(|json, path| {
                    volumes.insert(path.into_owned());
                    json.skip()
                })?;
                run.volumes = volumes.into_iter().collect();
            }
            _ => other(json, key, &OTHER_OF_RUN)?,
        }
        Ok(())
    })
}

/// A list of words; a single text stands for a list of one, as Docker reads it (moby, api/types/strslice).
fn words(json: &mut Json<'_>) -> Read<Vec<String>> {
    if json.is_text() {
        return Ok(json.text()?.into_iter().collect());
    }
    json.texts()
}

fn diff_ids(json: &mut Json<'_>, all: &mut Vec<Digest>) -> Read<()> {
    json.items(|json, number| {
        let text = json.text()?.unwrap_or_default();
        all.push(text.parse().map_err(|error| json.error(format!("DiffID {number}: {error}")))?);
        Ok(())
    })
    .map(drop)
}

fn history(json: &mut Json<'_>, all: &mut Vec<History>) -> Read<()> {
    let known = known(&["created_by", "empty_layer"], &OTHER_OF_HISTORY);
    json.items(|json, _| {
        let mut entry = History::default();
        json.fields(&known, |json, key| {
            match key {
                "created_by" => entry.created_by = json.text()?.unwrap_or_default(),
                "empty_layer" => entry.empty_layer = json.boolean()?.unwrap_or_default(),
                _ => other(json, key, &OTHER_OF_HISTORY)?,
            }
            Ok(())
        })?;
        if all.len() < MOST_HISTORY {
            all.push(entry);
        }
        Ok(())
    })
    .map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_any_case_are_read() {
        let bytes = br#"{"os":"Windows","architecture":"x86_64","os.version":"10.0.17763.1",
            "config":{"user":"ContainerUser","CMD":["c:\\windows\\system32\\cmd.exe"]},
            "rootfS":{"type":"layers","diff_ids":[]}}"#;
        let configuration = parse("config", bytes).unwrap();
        assert_eq!(configuration.run.user, "ContainerUser");
        assert_eq!(configuration.run.cmd, [r"c:\windows\system32\cmd.exe"]);
        assert_eq!(configuration.platform.to_string(), "windows/amd64:10.0.17763.1");
    }

    #[test]
    fn a_key_that_is_there_twice_is_refused_by_name() {
        for (json, field) in [
            (r#"{"config":{"Env":["a"]},"config":{}}"#, "config"),
            (r#"{"config":{"Entrypoint":null,"ENTRYPOINT":["/evil"]}}"#, "config.Entrypoint"),
            (r#"{"config":{"Env":[],"env":["PATH=/nope"]}}"#, "config.Env"),
            (r#"{"os":"linux","o\u017f":"windows"}"#, "os"),
            (r#"{"rootfs":{"diff_ids":[],"diff_IDs":[]}}"#, "rootfs.diff_ids"),
            (r#"{"history":[{"empty_layer":true,"empty_layer":false}]}"#, "history.empty_layer"),
        ] {
            let error = parse("x", json.as_bytes()).unwrap_err().to_string();
            assert!(error.starts_with(&format!("x: {field}: the key is there twice")), "{json}: {error}");
        }
    }

    #[test]
    fn a_field_of_the_wrong_type_is_named() {
        let error = parse("the configuration", br#"{"config":{"Env":[1]}}"#).unwrap_err().to_string();
        assert!(error.contains("config.Env"), "{error}");
        assert!(parse("x", br#"{"config":{"Env":"A=b"}}"#).is_err(), "engines take a text for Entrypoint and Cmd only");
        assert!(parse("x", b"[]").unwrap_err().to_string().contains("not an object"));
    }

    #[test]
    fn what_engines_refuse_in_other_fields_is_refused() {
        for json in [
            r#"{"created":"nonsense"}"#,
            r#"{"created":""}"#,
            r#"{"os.features":"x"}"#,
            r#"{"author":1}"#,
            r#"{"config":{"ExposedPorts":["80"]}}"#,
            r#"{"config":{"Tty":"yes"}}"#,
            r#"{"config":{"StopTimeout":"10"}}"#,
            r#"{"history":[{"created":"yesterday"}]}"#,
        ] {
            assert!(parse("x", json.as_bytes()).is_err(), "{json}");
        }
        let good = br#"{"created":"2026-01-02T03:04:05.123456789+01:00","author":null,"Size":0,"config":{"Tty":false,
            "Healthcheck":{"Test":["NONE"]},"OnBuild":null},"history":[{"created":"0001-01-01T00:00:00Z","comment":"x"}]}"#;
        parse("x", good).unwrap();
    }

    #[test]
    fn null_means_nothing() {
        let json =
            br#"{"config":{"Cmd":null,"Entrypoint":null,"Volumes":null},"history":null,"rootfs":null,"os":null}"#;
        assert_eq!(parse("x", json).unwrap().run, RunConfiguration::default());
        let items = br#"{"config":{"Labels":{"a":null},"Env":["PATH=/bin",null]},"history":[null]}"#;
        let configuration = parse("x", items).unwrap();
        assert_eq!(configuration.run.env, ["PATH=/bin", ""]);
        assert_eq!(configuration.run.labels["a"], "");
        assert_eq!(configuration.history, [History::default()]);
    }

    #[test]
    fn nothing_is_left_out_however_much_there_is() {
        let env: String = (0..30_000).map(|number| format!("\"A{number}=\",")).collect();
        let configuration = parse("x", format!(r#"{{"config":{{"Env":[{env}"PATH=/last"]}}}}"#).as_bytes()).unwrap();
        assert_eq!(configuration.run.env.last().unwrap(), "PATH=/last");
    }
}
