//! A credentials file as `docker login` and `podman login` write it (containers-auth.json(5), Docker's config.json).

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde::Deserialize;

use super::Secret;
use crate::image::{Error, Result};

/// Docker Hub's name in normalised references.
pub(super) const DOCKER_HUB: &str = "docker.io";
/// The key that `docker login` keeps Docker Hub's credentials under.
pub(super) const DOCKER_HUB_KEY: &str = "https://index.docker.io/v1/";
/// Larger than any real file, in bytes.
const LARGEST_FILE: u64 = 4 * 1024 * 1024;
/// Some tools leave the padding out.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// One file, read.
pub(super) struct AuthFile {
    pub(super) path: PathBuf,
    content: Content,
}

impl fmt::Debug for AuthFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthFile").field("path", &self.path).finish_non_exhaustive()
    }
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Content {
    auths: Option<BTreeMap<String, Option<Entry>>>,
    cred_helpers: Option<BTreeMap<String, Option<String>>>,
    creds_store: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Entry {
    auth: Option<String>,
    username: Option<String>,
    password: Option<String>,
    identitytoken: Option<String>,
    registrytoken: Option<String>,
}

impl AuthFile {
    /// Reads a file; nothing if there is none.
    pub(super) fn read(path: &Path) -> Result<Option<Self>> {
        let what = || format!("the credentials file {}", path.display());
        let mut bytes = Vec::new();
        match File::open(path).and_then(|file| file.take(LARGEST_FILE).read_to_end(&mut bytes)) {
            Ok(_) => {}
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                return Ok(None);
            }
            Err(error) => return Err(Error::from_io(&what(), error)),
        }
        if bytes.iter().all(u8::is_ascii_whitespace) {
            return Ok(Some(Self { path: path.to_owned(), content: Content::default() }));
        }
        // Only where, not what: the parser's words can hold a piece of the file.
        let content = serde_json::from_slice(&bytes).map_err(|error| {
            let (line, column) = (error.line(), error.column());
            Error::broken(format!("{} cannot be read: line {line}, column {column} is not as expected", what()))
        })?;
        Ok(Some(Self { path: path.to_owned(), content }))
    }

    /// The helper for a registry: its own, else the one for all.
    pub(super) fn helper(&self, registry: &str) -> Option<&str> {
        let own = self.content.cred_helpers.iter().flatten().find(|(key, _)| normal(key) == registry_key(registry));
        own.and_then(|(_, name)| name.as_deref())
            .or(self.content.creds_store.as_deref())
            .filter(|name| !name.is_empty())
    }

    /// What the file itself holds for a repository. The most specific key wins: Podman keeps credentials for parts of a
    /// registry too (`quay.io/organisation`).
    pub(super) fn entry(&self, registry: &str, repository: &str) -> Result<Option<Secret>> {
        let mut wanted = format!("{}/{repository}", registry_key(registry));
        loop {
            for (key, entry) in self.content.auths.iter().flatten() {
                if normal(key) == wanted
                    && let Some(entry) = entry
                    && let Some(secret) = self.secret(key, entry)?
                {
                    return Ok(Some(secret));
                }
            }
            match wanted.rfind('/') {
                Some(end) => wanted.truncate(end),
                None => return Ok(None),
            }
        }
    }

    /// An entry's content; nothing for the empty ones that stores leave behind.
    fn secret(&self, key: &str, entry: &Entry) -> Result<Option<Secret>> {
        let some = |value: &Option<String>| value.clone().filter(|text| !text.is_empty());
        if let Some(token) = some(&entry.identitytoken) {
            return Ok(Some(Secret::Identity(token)));
        }
        if let Some(token) = some(&entry.registrytoken) {
            return Ok(Some(Secret::Bearer(token)));
        }
        if let Some(auth) = some(&entry.auth) {
            let wrong = || {
                Error::broken(format!(
                    "the credentials file {}: auth of {key:?} cannot be decoded",
                    self.path.display()
                ))
            };
            let bytes = BASE64.decode(auth.trim()).map_err(|_| wrong())?;
            let text = String::from_utf8(bytes).map_err(|_| wrong())?;
            let (user, password) = text.split_once(':').ok_or_else(wrong)?;
            return Ok(Some(password_or_token(user, password.trim_end_matches('\0'))));
        }
        Ok(some(&entry.username).map(|user| password_or_token(&user, entry.password.as_deref().unwrap_or_default())))
    }
}

/// The user name `<token>` says that the password is an identity token (docker-credential-helpers).
pub(super) fn password_or_token(user: &str, password: &str) -> Secret {
    match user {
        "<token>" => Secret::Identity(password.to_owned()),
        _ => Secret::Password { user: user.to_owned(), password: password.to_owned() },
    }
}

fn registry_key(registry: &str) -> String {
    match registry {
        "index.docker.io" | "registry-1.docker.io" => DOCKER_HUB.to_owned(),
        other => other.to_ascii_lowercase(),
    }
}

/// A key without what older tools put around a host: a scheme and `/v1/` or `/v2/`.
fn normal(key: &str) -> String {
    let with_scheme = key.strip_prefix("https://").or_else(|| key.strip_prefix("http://"));
    let bare = match with_scheme {
        Some(rest) => rest.split('/').next().unwrap_or(rest),
        None => key.strip_suffix("/v1/").or_else(|| key.strip_suffix("/v2/")).unwrap_or(key).trim_end_matches('/'),
    };
    let (host, path) = bare.split_at(bare.find('/').unwrap_or(bare.len()));
    format!("{}{path}", registry_key(&host.to_ascii_lowercase()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> AuthFile {
        AuthFile { path: "auth.json".into(), content: serde_json::from_str(text).unwrap() }
    }

    fn user(file: &AuthFile, registry: &str, repository: &str) -> Option<String> {
        match file.entry(registry, repository).unwrap() {
            Some(Secret::Password { user, .. }) => Some(user),
            _ => None,
        }
    }

    #[test]
    fn keys_of_older_tools_mean_their_host() {
        for key in [
            "r.example:5000",
            "https://r.example:5000",
            "https://r.example:5000/v1/",
            "r.example:5000/v2/",
            "R.example:5000/",
        ] {
            let file = file(&format!(r#"{{"auths":{{"{key}":{{"auth":"bWU6cHc="}}}}}}"#));
            assert_eq!(user(&file, "r.example:5000", "a/b").as_deref(), Some("me"), "{key}");
            assert_eq!(user(&file, "r.example", "a/b"), None, "{key}: another port is another registry");
        }
    }

    #[test]
    fn docker_hub_is_known_by_all_its_names() {
        for key in [DOCKER_HUB_KEY, "docker.io", "index.docker.io", "https://registry-1.docker.io/v2/"] {
            let file = file(&format!(r#"{{"auths":{{"{key}":{{"username":"me","password":"pw"}}}}}}"#));
            assert_eq!(user(&file, "docker.io", "library/ubuntu").as_deref(), Some("me"), "{key}");
        }
    }

    #[test]
    fn the_most_specific_key_wins() {
        let file = file(
            r#"{"auths":{"quay.io":{"username":"all"},"quay.io/org":{"username":"org"},
                "quay.io/org/app":{"username":"app"},"quay.io/organic":{"username":"wrong"}}}"#,
        );
        assert_eq!(user(&file, "quay.io", "org/app").as_deref(), Some("app"));
        assert_eq!(user(&file, "quay.io", "org/other").as_deref(), Some("org"));
        assert_eq!(user(&file, "quay.io", "else").as_deref(), Some("all"));
    }

    #[test]
    fn tokens_are_told_from_passwords() {
        let file = file(
            r#"{"auths":{"a":{"auth":"bWU6cHc","identitytoken":"t"},"b":{"username":"<token>","password":"t"},
                "c":{"registrytoken":"t"},"d":{},"e":null,"f":{"auth":"bWU6cHc6eAAA"}}}"#,
        );
        assert!(file.entry("a", "x").unwrap() == Some(Secret::Identity("t".into())));
        assert!(file.entry("b", "x").unwrap() == Some(Secret::Identity("t".into())));
        assert!(file.entry("c", "x").unwrap() == Some(Secret::Bearer("t".into())));
        assert!(file.entry("d", "x").unwrap().is_none());
        assert!(file.entry("e", "x").unwrap().is_none());
        assert!(
            file.entry("f", "x").unwrap() == Some(Secret::Password { user: "me".into(), password: "pw:x".into() }),
            "a password may hold colons, and some files pad it with NULs"
        );
    }

    #[test]
    fn the_helper_for_the_host_comes_before_the_one_for_all() {
        let file = file(r#"{"credsStore":"all","credHelpers":{"r.example":"own"},"auths":{}}"#);
        assert_eq!(file.helper("r.example"), Some("own"));
        assert_eq!(file.helper("other.example"), Some("all"));
        assert_eq!(super::tests::file("{}").helper("r.example"), None);
    }

    #[test]
    fn a_broken_file_is_named_and_none_of_it_is_shown() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.json");
        std::fs::write(&path, r#"{"auths":{"r":"hunter2"}}"#).unwrap();
        let error = AuthFile::read(&path).unwrap_err().to_string();
        assert!(error.contains("config.json") && !error.contains("hunter2"), "{error}");
        let undecodable = super::tests::file(r#"{"auths":{"r":{"auth":"!hunter2"}}}"#).entry("r", "x");
        let error = undecodable.err().unwrap().to_string();
        assert!(error.contains("auth.json") && !error.contains("hunter2"), "{error}");
    }
}
