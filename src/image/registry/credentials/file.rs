//! A credentials file as `docker login` and `podman login` write it (containers-auth.json(5), Docker's config.json).

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use super::{Password, Secret};
use crate::image::json::{self, Json, JsonError, Read, Repeats};
use crate::image::{Error, Result};
use crate::small_file;

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

#[derive(Default)]
struct Content {
    auths: BTreeMap<String, Entry>,
    cred_helpers: BTreeMap<String, String>,
    creds_store: String,
}

#[derive(Default)]
struct Entry {
    auth: String,
    username: String,
    password: String,
    identitytoken: String,
    registrytoken: String,
}

impl Content {
    /// Read leniently: of equal keys the last one counts, as for Docker and Podman.
    fn read(bytes: &[u8]) -> Result<Self, JsonError> {
        let mut content = Self::default();
        json::read(bytes, Repeats::LastWins, |json| {
            json.fields(&["auths", "credHelpers", "credsStore"], |json, key| {
                match key {
                    "auths" => json
                        .object(|json, registry| {
                            content.auths.insert(registry.into_owned(), Entry::read(json)?);
                            Ok(())
                        })
                        .map(drop)?,
                    "credHelpers" => content.cred_helpers.extend(json.texts_by_name()?),
                    _ => content.creds_store = json.text()?.unwrap_or(std::mem::take(&mut content.creds_store)),
                }
                Ok(())
            })
        })?;
        Ok(content)
    }
}

impl Entry {
    fn read(json: &mut Json<'_>) -> Read<Self> {
        let mut entry = Self::default();
        json.fields(&["auth", "username", "password", "identitytoken", "registrytoken"], |json, key| {
            let text = json.text()?;
            let field = match key {
                "auth" => &mut entry.auth,
                "username" => &mut entry.username,
                "password" => &mut entry.password,
                "identitytoken" => &mut entry.identitytoken,
                _ => &mut entry.registrytoken,
            };
            *field = text.unwrap_or(std::mem::take(field));
            Ok(())
        })?;
        Ok(entry)
    }
}

impl AuthFile {
    /// Reads a file; nothing if there is none.
    pub(super) fn read(path: &Path) -> Result<Option<Self>> {
        let what = || format!("the credentials file {}", path.display());
        let bytes = match small_file::read(path, LARGEST_FILE, small_file::Kind::Any) {
            Ok(bytes) => bytes,
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                return Ok(None);
            }
            Err(error) => return Err(Error::from_io(&what(), error)),
        };
        if bytes.iter().all(u8::is_ascii_whitespace) {
            return Ok(Some(Self { path: path.to_owned(), content: Content::default() }));
        }
        // Only the field and the place: names in the file may be somebody's secret.
        let content = Content::read(&bytes).map_err(|error| {
            let at = if error.field.is_empty() { error.why } else { format!("{} is not as expected", error.field) };
            Error::broken(format!("{} cannot be read: {at}", what()))
        })?;
        Ok(Some(Self { path: path.to_owned(), content }))
    }

    /// What a variable of the environment holds in place of a file; `None` if it cannot be read, as for Docker, or if it
    /// has no entries, which are all that Docker takes of it.
    pub(super) fn of_variable(text: &str) -> Option<Self> {
        let content = Content::read(text.as_bytes()).ok().filter(|content| !content.auths.is_empty())?;
        let content = Content { auths: content.auths, ..Content::default() };
        Some(Self { path: PathBuf::from("DOCKER_AUTH_CONFIG"), content })
    }

    /// The helper for a registry: its own, else the one for all.
    pub(super) fn helper(&self, registry: &str) -> Option<&str> {
        let own = self.content.cred_helpers.iter().find(|(key, _)| normal(key) == registry_key(registry));
        let own = own.map(|(_, name)| name.as_str());
        Some(own.unwrap_or(&self.content.creds_store)).filter(|name| !name.is_empty())
    }

    /// What the file itself holds for a repository. The most specific key wins: Podman keeps credentials for parts of a
    /// registry too (`quay.io/organisation`).
    pub(super) fn entry(&self, registry: &str, repository: &str) -> Result<Option<Secret>> {
        let mut wanted = format!("{}/{repository}", registry_key(registry));
        loop {
            for (key, entry) in &self.content.auths {
                if normal(key) == wanted
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
        if !entry.identitytoken.is_empty() {
            // A password next to it is of use only if it can be read.
            let password = match self.password(key, entry) {
                // Azure writes an empty one next to a token.
                Ok(Some(Secret::Password(login))) => Some(login).filter(|login| !login.password.is_empty()),
                _ => None,
            };
            return Ok(Some(Secret::Identity { token: entry.identitytoken.clone(), password }));
        }
        if !entry.registrytoken.is_empty() {
            return Ok(Some(Secret::Bearer(entry.registrytoken.clone())));
        }
        self.password(key, entry)
    }

    fn password(&self, key: &str, entry: &Entry) -> Result<Option<Secret>> {
        if entry.auth.is_empty() {
            let (user, password) = (entry.username.as_bytes(), entry.password.as_bytes());
            return Ok((!user.is_empty()).then(|| password_or_token(user, password)));
        }
        let wrong = || {
            Error::broken(format!("the credentials file {}: auth of {key:?} cannot be decoded", self.path.display()))
        };
        // As Go's decoder: `base64` without -w0 breaks lines.
        let auth: String = entry.auth.chars().filter(|letter| !matches!(letter, '\r' | '\n')).collect();
        let bytes = BASE64.decode(auth.trim()).map_err(|_| wrong())?;
        let colon = bytes.iter().position(|byte| *byte == b':').ok_or_else(wrong)?;
        let (user, password) = (&bytes[..colon], &bytes[colon + 1..]);
        let padding = password.iter().rev().take_while(|byte| **byte == 0).count();
        Ok(Some(password_or_token(user, &password[..password.len() - padding])))
    }
}

/// The user name `<token>` says that the password is an identity token (docker-credential-helpers).
pub(super) fn password_or_token(user: &[u8], password: &[u8]) -> Secret {
    match std::str::from_utf8(password) {
        Ok(token) if user == b"<token>" => Secret::Identity { token: token.to_owned(), password: None },
        _ => Secret::Password(Password { user: user.to_owned(), password: password.to_owned() }),
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
        AuthFile { path: "auth.json".into(), content: Content::read(text.as_bytes()).unwrap() }
    }

    fn user(file: &AuthFile, registry: &str, repository: &str) -> Option<String> {
        match file.entry(registry, repository).unwrap() {
            Some(Secret::Password(login)) => Some(login.account()),
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
        let password = Some(Password { user: "me".into(), password: "pw".into() });
        assert!(file.entry("a", "x").unwrap() == Some(Secret::Identity { token: "t".into(), password }));
        assert!(file.entry("b", "x").unwrap() == Some(Secret::Identity { token: "t".into(), password: None }));
        assert!(file.entry("c", "x").unwrap() == Some(Secret::Bearer("t".into())));
        assert!(file.entry("d", "x").unwrap().is_none());
        assert!(file.entry("e", "x").unwrap().is_none());
        assert!(
            file.entry("f", "x").unwrap()
                == Some(Secret::Password(Password { user: "me".into(), password: "pw:x".into() })),
            "a password may hold colons, and some files pad it with NULs"
        );
    }

    #[test]
    fn files_are_read_as_docker_and_podman_read_them() {
        let twice = file(
            r#"{"credsStore":"x","CREDSSTORE":"","auths":{"a":{"auth":"bWU6\ncHc=\r\n"},"b":{"Auth":"bWU66Q=="}}}"#,
        );
        assert_eq!(twice.helper("a"), None);
        assert_eq!(user(&twice, "a", "x").as_deref(), Some("me"));
        let latin = Secret::Password(Password { user: "me".into(), password: b"\xe9".to_vec() });
        assert!(twice.entry("b", "x").unwrap() == Some(latin));
        let inline = AuthFile::of_variable(r#"{"credsStore":"desktop","auths":{"a":{"auth":"bWU6cHc="}}}"#).unwrap();
        assert_eq!((user(&inline, "a", "x").as_deref(), inline.helper("a")), (Some("me"), None));
        assert!(AuthFile::of_variable("nonsense").is_none());
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
