//! `imglint.toml`: what a gate is asked to do, so that its command line stays short.

mod ignore;

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer};

use crate::catalog::Level;
use crate::report::ReportFormat;
use crate::small_file;
use crate::toml_file;
use crate::verdict::Severity;

pub use ignore::{Baseline, EXPIRED, EXPIRED_FIX, EXPIRED_TITLE, Gate, Ignore};

/// The file that is read where none is named.
pub const FILE: &str = "imglint.toml";
/// The largest configuration file, in bytes.
const LARGEST: u64 = 1 << 20;

/// What `imglint.toml` says. Paths in it are relative to its own folder.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
#[schemars(title = "imglint.toml")]
pub struct Config {
    /// The file's name, for errors.
    #[serde(skip)]
    pub file: String,
    /// Whether the user named it. One that was found may come with what is checked, and may do less.
    #[serde(skip)]
    pub is_named: bool,
    /// The folder that it is in.
    #[serde(skip)]
    pub folder: PathBuf,
    /// The targets to judge for: built-in profiles, or profile files.
    #[serde(deserialize_with = "one_or_many")]
    #[schemars(with = "OneOrMany")]
    pub profile: Vec<String>,
    /// What makes the exit code 1: error (the default), warning or never.
    pub fail_on: Option<FailOn>,
    /// The images to judge where the command line names none.
    pub images: Vec<String>,
    /// Files whose images are judged, too, where the command line names none: compose files, manifests, workflows.
    pub from: Vec<PathBuf>,
    /// Which entry of an index, as `--platform`.
    pub platform: Option<String>,
    /// How many images and layers are read at a time.
    #[schemars(range(min = 1, max = 64))]
    pub jobs: Option<u16>,
    /// A JSON report of an earlier run: what it has is ignored.
    pub baseline: Option<PathBuf>,
    /// Parameters of the profile, as `--set`: a text, or a list of texts.
    #[serde(deserialize_with = "lists")]
    #[schemars(with = "BTreeMap<String, OneOrMany>")]
    pub parameters: BTreeMap<String, Vec<String>>,
    /// How much rules matter: off, info, warning or error, by the rule's id.
    #[schemars(with = "BTreeMap<String, LevelWord>")]
    pub severity: BTreeMap<String, Level>,
    /// Findings that count for nothing, each with a reason.
    #[serde(rename = "ignore")]
    pub ignores: Vec<Ignore>,
    /// The reports to write, as `--report`.
    #[serde(rename = "report")]
    pub reports: Vec<ReportEntry>,
    /// How registries are reached, by `HOST[:PORT]`.
    #[serde(rename = "registry")]
    pub registries: BTreeMap<String, RegistryEntry>,
}

/// A report and where it goes.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ReportEntry {
    /// Its form.
    pub format: ReportFormat,
    /// The file; without one it is printed.
    pub file: Option<PathBuf>,
}

/// How one registry is reached.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct RegistryEntry {
    /// Registries that are asked first, in order: `HOST[:PORT]`, with a path if they have the images below one, or a URL.
    pub mirror: Vec<String>,
    /// A certificate authority to trust besides the system's (PEM), for this registry and its mirrors.
    pub ca: Option<PathBuf>,
    /// Whether to speak to it without verifying its certificate, or over plain HTTP.
    pub insecure: bool,
    /// Credentials in the form of Docker's config.json or Podman's auth.json.
    pub auth_file: Option<PathBuf>,
}

/// A text or a list of texts, as the schema says it.
#[derive(JsonSchema)]
#[schemars(untagged)]
#[allow(dead_code, reason = "only its schema is used")]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

/// How much a rule matters, as the schema says it.
#[derive(JsonSchema)]
#[serde(rename_all = "lowercase")]
#[allow(dead_code, reason = "only its schema is used")]
enum LevelWord {
    Off,
    Info,
    Warning,
    Error,
}

impl Config {
    /// Reads a configuration file that the user named.
    ///
    /// # Errors
    /// It cannot be read, or says something that is not known: one line with file, line and key.
    pub fn load(path: &Path) -> Result<Self, String> {
        let config = Self::of_file(path, small_file::Kind::Any)?;
        Ok(Self { is_named: true, ..config })
    }

    /// Reads the file of the working directory, or of the nearest folder above it up to the repository's root; `None` if
    /// there is none.
    ///
    /// # Errors
    /// As [`load`](Self::load), or it is a link, or says what only a file may say that the user named.
    pub fn find() -> Result<Option<Self>, String> {
        let Some(path) = found() else { return Ok(None) };
        let name = path.display();
        // What it leads to may be any file of this machine, of which errors would show a piece.
        if std::fs::symlink_metadata(&path).is_ok_and(|metadata| metadata.is_symlink()) {
            return Err(format!("{name} is a link, which is not followed; --config {name} reads it all the same"));
        }
        let config = Self::of_file(&path, small_file::Kind::Regular)?;
        let refused = [("jobs", config.jobs.is_some()), ("registry", !config.registries.is_empty())];
        match refused.into_iter().find(|(_, is_set)| *is_set) {
            None => Ok(Some(config)),
            Some((key, _)) => Err(format!(
                "{name}: {key}: only a file that --config names may say this, because one that is found may come with what \
                 is checked (--no-config reads none)"
            )),
        }
    }

    fn of_file(path: &Path, kind: small_file::Kind) -> Result<Self, String> {
        let name = path.display().to_string();
        let text = small_file::read_text(path, LARGEST, kind).map_err(|error| format!("{name}: {error}"))?;
        Self::read(&name, &text, path.parent().unwrap_or(Path::new("")))
    }

    /// Where a report of the file may be written, if it may.
    ///
    /// # Errors
    /// The file was found, and the report would be outside of its folder, behind a link, or among git's own files: why.
    pub fn may_write(&self, report: &Path) -> Result<(), String> {
        let wrong = |why: &str| Err(format!("{}: report: {}: {why}", self.file, report.display()));
        if self.is_named {
            return Ok(());
        }
        let Ok(inside) = report.strip_prefix(&self.folder) else {
            return wrong("it is outside of the folder of the file");
        };
        let mut path = self.folder.clone();
        for part in inside.components() {
            match part {
                Component::Normal(name) if name.eq_ignore_ascii_case(".git") => {
                    return wrong("it is one of git's own files");
                }
                Component::Normal(name) => path.push(name),
                Component::CurDir => {}
                _ => return wrong("it is outside of the folder of the file"),
            }
            if std::fs::symlink_metadata(&path).is_ok_and(|metadata| metadata.is_symlink()) {
                return wrong("it is a link, or behind one, which is not followed");
            }
        }
        match std::fs::metadata(&path) {
            Ok(metadata) if !metadata.is_file() => wrong("it is not a regular file"),
            _ => Ok(()),
        }
    }

    /// The schema of the file (JSON Schema, draft 2020-12).
    #[must_use]
    pub fn schema() -> String {
        format!("{:#}\n", schemars::schema_for!(Config).to_value())
    }

    fn read(name: &str, text: &str, folder: &Path) -> Result<Self, String> {
        let mut config: Self = toml_file::parse(name, text).map_err(|error| error.to_string())?;
        config.file = name.to_owned();
        config.folder = folder.to_owned();
        for ignore in &mut config.ignores {
            let wrong =
                |(field, message): (&str, String)| toml_file::Error::about(name, text, field, message).to_string();
            ignore.prepare().map_err(wrong)?;
        }
        let reports = config.reports.iter_mut().filter_map(|report| report.file.as_mut());
        let registries =
            config.registries.values_mut().flat_map(|entry| entry.ca.iter_mut().chain(&mut entry.auth_file));
        let paths = config.from.iter_mut().chain(&mut config.baseline).chain(reports).chain(registries);
        for path in paths {
            *path = folder.join(&*path);
        }
        for profile in config.profile.iter_mut().filter(|profile| profile.ends_with(".toml")) {
            *profile = folder.join(&*profile).display().to_string();
        }
        Ok(config)
    }
}

/// The configuration file of the working directory or of a folder above it, no further than the repository's root.
/// Without a repository only the working directory has one.
fn found() -> Option<PathBuf> {
    let is_there = |path: &Path| std::fs::symlink_metadata(path).is_ok();
    if is_there(Path::new(FILE)) {
        return Some(PathBuf::from(FILE));
    }
    let here = std::env::current_dir().ok()?;
    let root = here.ancestors().find(|folder| is_there(&folder.join(".git")))?;
    let up_to_root = here.ancestors().skip(1).take_while(|folder| folder.starts_with(root));
    up_to_root.map(|folder| folder.join(FILE)).find(|path| is_there(path))
}

/// A text is a list of one.
struct Texts(Vec<String>);

impl<'de> Deserialize<'de> for Texts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = Texts;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a text or a list of texts")
            }

            fn visit_str<E>(self, text: &str) -> Result<Texts, E> {
                Ok(Texts(vec![text.to_owned()]))
            }

            fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut seq: A) -> Result<Texts, A::Error> {
                let mut all = Vec::new();
                while let Some(text) = seq.next_element()? {
                    all.push(text);
                }
                Ok(Texts(all))
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

fn one_or_many<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    Texts::deserialize(deserializer).map(|texts| texts.0)
}

fn lists<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, Vec<String>>, D::Error> {
    let lists = BTreeMap::<String, Texts>::deserialize(deserializer)?;
    Ok(lists.into_iter().map(|(key, texts)| (key, texts.0)).collect())
}

/// What makes the exit code 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum FailOn {
    /// A finding of severity error.
    #[default]
    Error,
    /// One of severity warning or error.
    Warning,
    /// Nothing.
    Never,
}

impl FailOn {
    /// Whether a finding of this severity makes the exit code 1.
    #[must_use]
    pub fn counts(self, severity: Severity) -> bool {
        match self {
            Self::Error => severity == Severity::Error,
            Self::Warning => severity != Severity::Info,
            Self::Never => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Config, String> {
        Config::read("imglint.toml", text, Path::new("gate"))
    }

    #[test]
    fn the_contract_s_example_is_read() {
        let config = read(include_str!("example.toml")).unwrap();
        assert_eq!(config.profile, ["octopus"]);
        assert_eq!(config.parameters["steps"], ["bash", "kubernetes"]);
        assert_eq!(config.parameters["dotnet"], ["8.0"]);
        assert_eq!(config.reports[0].file.as_deref(), Some(Path::new("gate/imglint.sarif")));
        assert_eq!(config.registries["registry.example"].mirror, ["mirror.example"]);
        assert_eq!(config.registries["registry.example"].ca.as_deref(), Some(Path::new("gate/ca.pem")));
        assert_eq!(config.ignores[0].until.unwrap().to_string(), "2027-01-31");
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line() {
        let wrong = |text: &str| read(text).unwrap_err();
        assert_eq!(
            wrong("fail-on = \"error\"\nimage = []"),
            "imglint.toml:2: unknown key `image`; did you mean `images`?"
        );
        assert_eq!(
            wrong("fail-on = \"warn\""),
            "imglint.toml:1: fail-on: unknown value `warn`; did you mean `warning`?"
        );
        let ignore = "[[ignore]]\nrule = \"icu-missing\"\n";
        assert!(wrong(ignore).contains("reason"), "{}", wrong(ignore));
        assert!(wrong(&format!("{ignore}reason = \" \"")).starts_with("imglint.toml:3: reason"));
        let date = format!("{ignore}reason = \"x\"\nuntil = \"31.1.2027\"");
        assert!(wrong(&date).starts_with("imglint.toml:4: until"), "{}", wrong(&date));
        let pattern = format!("{ignore}reason = \"x\"\nimage = \"a[\"");
        assert!(wrong(&pattern).starts_with("imglint.toml:4: image"), "{}", wrong(&pattern));
        assert!(wrong("[parameters]\ndotnet = 8.0").contains("a text or a list of texts"));
        assert!(wrong("[[report]]\nformat = \"jason\"").contains("did you mean `json`?"));
    }
}
