//! The image configuration (image-spec, config.md), read leniently: keys of any case, exact match first.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::{Error, Result};
use crate::digest::Digest;
use crate::platform::Platform;

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

/// The largest number of history entries, environment entries and so on that is kept of a hostile configuration.
const MOST_ITEMS: usize = 20_000;

/// Reads a configuration. `what` names it in errors.
///
/// # Errors
/// It is not a JSON object, or a field has the wrong type; the error names the field.
pub fn parse(what: &str, bytes: &[u8]) -> Result<Configuration> {
    let value: Value =
        serde_json::from_slice(bytes).map_err(|error| Error::broken(format!("{what} is not JSON: {error}")))?;
    let Value::Object(root) = value else {
        return Err(Error::broken(format!("{what} is not a JSON object")));
    };
    let read = Reader { what, at: "" };
    let empty = Map::new();
    let run_object = read.object(&root, "config")?.unwrap_or(&empty);
    let rootfs = read.object(&root, "rootfs")?.unwrap_or(&empty);
    Ok(Configuration {
        platform: Platform {
            os: read.text(&root, "os")?,
            architecture: read.text(&root, "architecture")?,
            variant: Some(read.text(&root, "variant")?).filter(|text| !text.is_empty()),
            os_version: Some(read.text(&root, "os.version")?).filter(|text| !text.is_empty()),
        },
        run: Reader { what, at: "config." }.run(run_object)?,
        diff_ids: Reader { what, at: "rootfs." }.typed(rootfs, "diff_ids")?,
        history: read.history(&root)?,
    })
}

struct Reader<'a> {
    what: &'a str,
    at: &'a str,
}

impl Reader<'_> {
    fn run(&self, object: &Map<String, Value>) -> Result<RunConfiguration> {
        let volumes = self.object(object, "Volumes")?;
        Ok(RunConfiguration {
            entrypoint: self.words(object, "Entrypoint")?,
            cmd: self.words(object, "Cmd")?,
            env: self.words(object, "Env")?,
            user: self.text(object, "User")?,
            working_dir: self.text(object, "WorkingDir")?,
            volumes: volumes.map(|volumes| volumes.keys().take(MOST_ITEMS).cloned().collect()).unwrap_or_default(),
            shell: self.words(object, "Shell")?,
            labels: self.typed(object, "Labels")?,
        })
    }

    fn history(&self, root: &Map<String, Value>) -> Result<Vec<History>> {
        #[derive(Deserialize)]
        struct Entry {
            #[serde(default)]
            created_by: Option<String>,
            #[serde(default)]
            empty_layer: Option<bool>,
        }
        let entries: Vec<Entry> = self.typed(root, "history")?;
        let history = entries.into_iter().take(MOST_ITEMS).map(|entry| History {
            created_by: entry.created_by.unwrap_or_default(),
            empty_layer: entry.empty_layer.unwrap_or_default(),
        });
        Ok(history.collect())
    }

    /// A list of words; a single string stands for a list of one, as engines read it.
    fn words(&self, object: &Map<String, Value>, key: &str) -> Result<Vec<String>> {
        match get(object, key) {
            Some(Value::String(word)) => Ok(vec![word.clone()]),
            _ => self.typed::<Vec<String>>(object, key).map(|mut words| {
                words.truncate(MOST_ITEMS);
                words
            }),
        }
    }

    fn text(&self, object: &Map<String, Value>, key: &str) -> Result<String> {
        self.typed(object, key)
    }

    fn object<'a>(&self, object: &'a Map<String, Value>, key: &str) -> Result<Option<&'a Map<String, Value>>> {
        match get(object, key) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::Object(inner)) => Ok(Some(inner)),
            Some(_) => Err(Error::broken(format!("{}: {}{key} is not an object", self.what, self.at))),
        }
    }

    /// A missing or null value is the default.
    fn typed<T: for<'de> Deserialize<'de> + Default>(&self, object: &Map<String, Value>, key: &str) -> Result<T> {
        match get(object, key) {
            None => Ok(T::default()),
            Some(value) => Option::<T>::deserialize(value)
                .map(Option::unwrap_or_default)
                .map_err(|error| Error::broken(format!("{}: {}{key}: {error}", self.what, self.at))),
        }
    }
}

/// The value of a key: spelt exactly, else in any case (Windows base images write `rootfS` and `config.user`).
fn get<'a>(object: &'a Map<String, Value>, key: &str) -> Option<&'a Value> {
    object.get(key).or_else(|| object.iter().find(|(name, _)| name.eq_ignore_ascii_case(key)).map(|(_, value)| value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_any_case_are_read_and_the_exact_one_wins() {
        let bytes = br#"{"os":"windows","architecture":"amd64","os.version":"10.0.17763.1",
            "config":{"user":"ContainerUser","CMD":["other"],"Cmd":["c:\\windows\\system32\\cmd.exe"]},
            "rootfS":{"type":"layers","diff_ids":[]}}"#;
        let configuration = parse("config", bytes).unwrap();
        assert_eq!(configuration.run.user, "ContainerUser");
        assert_eq!(configuration.run.cmd, [r"c:\windows\system32\cmd.exe"]);
        assert_eq!(configuration.platform.to_string(), "windows/amd64:10.0.17763.1");
    }

    #[test]
    fn a_field_of_the_wrong_type_is_named() {
        let error = parse("the configuration", br#"{"config":{"Env":[1]}}"#).unwrap_err().to_string();
        assert!(error.contains("config.Env"), "{error}");
        assert!(parse("x", b"[]").unwrap_err().to_string().contains("not a JSON object"));
    }

    #[test]
    fn null_means_nothing() {
        let configuration =
            parse("x", br#"{"config":{"Cmd":null,"Entrypoint":null,"Volumes":null},"history":null}"#).unwrap();
        assert_eq!(configuration.run, RunConfiguration::default());
    }
}
