//! Which credentials this machine has for a repository: Docker's and Podman's files and their helpers.

mod file;
mod program;

use std::fmt;
use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::options::Places;
use crate::image::{Error, Result};
use file::AuthFile;

/// Proof of who somebody is, and where it was found. Never printed.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Credential {
    pub(super) secret: Secret,
    /// The file or helper, for error messages.
    pub(super) origin: String,
}

/// A name and a password, which need not be UTF-8.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Password {
    pub(super) user: Vec<u8>,
    pub(super) password: Vec<u8>,
}

impl Password {
    /// The two as a header has them (RFC 7617).
    pub(super) fn encoded(&self) -> String {
        STANDARD.encode([self.user.as_slice(), b":", &self.password].concat())
    }

    /// The name as a text.
    pub(super) fn account(&self) -> String {
        String::from_utf8_lossy(&self.user).into_owned()
    }
}

/// The kinds of proof that credential files hold.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Secret {
    /// A name and a password.
    Password(Password),
    /// An identity token: an OAuth 2 refresh token (distribution, auth/oauth.md); and the password that stands next to
    /// it, for registries that take only passwords.
    Identity { token: String, password: Option<Password> },
    /// A token that the registry itself takes.
    Bearer(String),
}

impl Credential {
    /// `text` without anything that is secret: registries have been seen to send back what they were sent.
    pub(super) fn hide(&self, text: &str) -> String {
        let mut secrets = Vec::new();
        let mut hide = |password: &Password| {
            secrets.push(String::from_utf8_lossy(&password.password).into_owned());
            secrets.push(password.encoded());
        };
        match &self.secret {
            Secret::Password(password) => hide(password),
            Secret::Identity { token, password } => {
                password.as_ref().into_iter().for_each(&mut hide);
                secrets.push(token.clone());
            }
            Secret::Bearer(token) => secrets.push(token.clone()),
        }
        secrets
            .iter()
            .filter(|secret| !secret.is_empty())
            .fold(text.to_owned(), |text, secret| text.replace(secret.as_str(), "…"))
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credential").field("origin", &self.origin).finish_non_exhaustive()
    }
}

/// A credential as engines take it (Docker Engine API, "Authentication"). Never printed.
pub struct Login {
    /// The registry, as `docker login` writes it.
    pub registry: String,
    /// A name and a password.
    pub user: Option<String>,
    /// See `user`.
    pub password: Option<String>,
    /// An OAuth 2 refresh token.
    pub identity_token: Option<String>,
    /// A token that the registry itself takes.
    pub registry_token: Option<String>,
}

impl Credential {
    /// As engines take it.
    pub(super) fn login(self, registry: &str) -> Login {
        let registry = if registry == file::DOCKER_HUB { file::DOCKER_HUB_KEY } else { registry };
        let none = Login {
            registry: registry.to_owned(),
            user: None,
            password: None,
            identity_token: None,
            registry_token: None,
        };
        match self.secret {
            // Engines take texts only.
            Secret::Password(login) => Login {
                user: Some(login.account()),
                password: Some(String::from_utf8_lossy(&login.password).into_owned()),
                ..none
            },
            Secret::Identity { token, .. } => Login { identity_token: Some(token), ..none },
            Secret::Bearer(token) => Login { registry_token: Some(token), ..none },
        }
    }
}

/// What looking for a credential gave.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// The credential, if there is one.
    pub(super) credential: Option<Credential>,
    /// Why a helper could not be asked. Only worth telling when the registry does not let us in without.
    pub(super) problem: Option<String>,
}

/// The credential files of this machine, read.
#[derive(Debug)]
pub(super) struct Credentials {
    files: Vec<AuthFile>,
    places: Places,
}

impl Credentials {
    /// Reads the file given, else the one the environment names, else those in the usual places.
    ///
    /// # Errors
    /// A named file is missing, or any file is not what credential files are.
    pub(super) fn load(named: Option<&PathBuf>, places: &Places) -> Result<Self> {
        let mut files = Vec::new();
        if let Some(path) = named.or(places.named.as_ref()) {
            let missing = || Error::not_found(format!("the credentials file {} does not exist", path.display()));
            files.push(AuthFile::read(path)?.ok_or_else(missing)?);
        } else {
            files.extend(places.inline.as_ref().and_then(|text| AuthFile::of_variable(text)));
            for path in &places.files {
                files.extend(AuthFile::read(path)?);
            }
        }
        Ok(Self { files, places: places.clone() })
    }

    /// The credential for a repository: in each file the helper for its host, then the store for all hosts, then what
    /// the file itself holds, as `docker` does; where the store has nothing the file may still.
    ///
    /// # Errors
    /// An entry of a file that cannot be decoded.
    pub(super) fn find(&self, registry: &str, repository: &str) -> Result<Found> {
        let mut found = Found::default();
        for file in &self.files {
            if let Some(name) = file.helper(registry) {
                let path = self.places.helpers.as_deref();
                match ask(name, path, registry) {
                    Ok(Some(secret)) => {
                        let origin = format!("docker-credential-{name} (named in {})", file.path.display());
                        found.credential = Some(Credential { secret, origin });
                        return Ok(found);
                    }
                    Ok(None) => {}
                    Err(problem) => {
                        let problem = format!("{problem} (it is named in {})", file.path.display());
                        found.problem.get_or_insert(problem);
                    }
                }
            }
            if let Some(secret) = file.entry(registry, repository)? {
                found.credential = Some(Credential { secret, origin: file.path.display().to_string() });
                return Ok(found);
            }
        }
        Ok(found)
    }
}

/// Docker Hub's helpers know it by its oldest address, Podman's by its name.
fn ask(name: &str, path: Option<&std::ffi::OsStr>, registry: &str) -> Result<Option<Secret>, String> {
    if registry == file::DOCKER_HUB
        && let Some(secret) = program::get(name, path, file::DOCKER_HUB_KEY, program::LONGEST)?
    {
        return Ok(Some(secret));
    }
    program::get(name, path, registry, program::LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_secret_is_printed() {
        let secret = Secret::Password(Password { user: "me".into(), password: "hunter2".into() });
        let credential = Credential { secret, origin: "file".into() };
        assert!(!format!("{credential:?}").contains("hunter2"));
        let echoed = format!("bad password hunter2 in Basic {}", STANDARD.encode("me:hunter2"));
        assert_eq!(credential.hide(&echoed), "bad password … in Basic …");
    }

    #[test]
    fn a_named_file_is_the_only_one_and_must_be_there() {
        let folder = tempfile::tempdir().unwrap();
        let missing = folder.path().join("missing.json");
        let usual = folder.path().join("usual.json");
        std::fs::write(&usual, r#"{"auths":{"r.example":{"auth":"YTpi"}}}"#).unwrap();
        let places = Places { files: vec![missing.clone(), usual], ..Places::default() };
        let found = Credentials::load(None, &places).unwrap().find("r.example", "x").unwrap();
        assert!(found.credential.is_some());
        let error = Credentials::load(Some(&missing), &places).unwrap_err().to_string();
        assert!(error.contains("missing.json does not exist"), "{error}");
    }

    #[test]
    fn a_helper_that_is_not_there_leaves_the_file_s_own_entries_and_a_reason() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.json");
        std::fs::write(&path, r#"{"credsStore":"desktop","auths":{"r.example":{"auth":"YTpi"}}}"#).unwrap();
        let credentials = Credentials::load(Some(&path), &Places::default()).unwrap();
        assert!(credentials.find("r.example", "x").unwrap().credential.is_some());
        let found = credentials.find("other.example", "x").unwrap();
        assert!(found.credential.is_none());
        let problem = found.problem.unwrap();
        assert!(problem.contains("docker-credential-desktop") && problem.contains("config.json"), "{problem}");
    }
}
