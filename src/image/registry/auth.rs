//! Meets a registry's challenges and keeps what it got: passwords, tokens and their renewal (distribution,
//! auth/token.md and auth/oauth.md).

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::Url;
use reqwest::header::{HeaderMap, HeaderValue};

use super::challenge::Challenge;
use super::credentials::{Credentials, Found, Password as Login, Secret};
use super::hosts;
use super::retry::Failure;
use super::transport::{Get, Transport};
use crate::image::json::{self, JsonError, Repeats};
use crate::image::{Error, ErrorKind, Result};
use crate::printable::excerpt;

/// The largest answer of a token server, in bytes.
const LARGEST_ANSWER: u64 = 1024 * 1024;
/// How long a token lives when the token server does not say (auth/token.md).
const USUAL_LIFE: Duration = Duration::from_secs(60);

/// The proof that one repository's requests carry.
pub(super) struct Auth {
    registry: String,
    repository: String,
    /// The image, in error messages.
    image: String,
    base: Url,
    credentials: Credentials,
    found: OnceLock<Arc<Found>>,
    state: Mutex<State>,
    /// The newest token, to be kept out of messages.
    issued: Mutex<String>,
}

/// All requests of one image need the same scope, so one proof is kept, and it is renewed under the lock: threads that
/// need it meanwhile wait rather than ask for their own.
#[derive(Default)]
struct State {
    /// How many proofs there have been.
    number: u64,
    proof: Option<Proof>,
}

struct Proof {
    challenge: Challenge,
    header: HeaderValue,
    until: Option<Instant>,
}

/// What a token server answers (distribution, auth/token.md).
#[derive(Default)]
struct TokenAnswer {
    token: String,
    access_token: String,
    /// In seconds.
    expires_in: Option<i64>,
}

impl TokenAnswer {
    fn read(bytes: &[u8]) -> Result<Self, JsonError> {
        let mut answer = Self::default();
        json::read(bytes, Repeats::LastWins, |json| {
            json.fields(&["token", "access_token", "expires_in"], |json, key| {
                match key {
                    "token" => answer.token = json.text()?.unwrap_or_default(),
                    "access_token" => answer.access_token = json.text()?.unwrap_or_default(),
                    // How long it lives is no reason to do without it.
                    _ => answer.expires_in = json.any_number()?,
                }
                Ok(())
            })
        })?;
        Ok(answer)
    }
}

impl Auth {
    pub(super) fn new(name: &crate::reference::Name, base: Url, credentials: Credentials) -> Self {
        Self {
            registry: name.registry.clone(),
            repository: name.repository.clone(),
            image: name.to_string(),
            base,
            credentials,
            found: OnceLock::new(),
            state: Mutex::default(),
            issued: Mutex::default(),
        }
    }

    /// The number of the newest proof.
    pub(super) fn number(&self) -> u64 {
        self.state().number
    }

    /// The header to send, if one is known to be wanted, and its number; renewed when its time is over.
    pub(super) fn header(&self, transport: &Transport) -> Result<(Option<HeaderValue>, u64), Failure> {
        let mut state = self.state();
        if let Some(proof) = &state.proof
            && proof.until.is_some_and(|until| until <= Instant::now())
        {
            let challenge = proof.challenge.clone();
            self.renew(transport, &mut state, challenge)?;
        }
        Ok((state.proof.as_ref().map(|proof| proof.header.clone()), state.number))
    }

    /// Meets the challenge of a 401 answer. `used` is the number of the proof that was refused, `before` the number of
    /// the newest one when the request was first sent.
    ///
    /// # Errors
    /// A proof that is new since then was refused: there is no better one. Or there is no way to meet the challenge.
    pub(super) fn challenged(
        &self,
        transport: &Transport,
        headers: &HeaderMap,
        used: u64,
        before: u64,
        said: &str,
    ) -> Result<(), Failure> {
        let mut state = self.state();
        if used > before {
            return Err(self.refused(said));
        }
        if state.number > used {
            // Another thread has renewed it.
            return Ok(());
        }
        let challenge = Challenge::choose(headers).map_err(|schemes| {
            let schemes = if schemes.is_empty() { "it does not say how".to_owned() } else { schemes };
            self.denied(&format!("{} wants a login of a kind imglint does not know: {schemes}", self.host()))
        })?;
        self.renew(transport, &mut state, challenge)
    }

    /// The credential for the repository, looked for when it is first needed.
    pub(super) fn found(&self) -> Result<Arc<Found>> {
        if let Some(found) = self.found.get() {
            return Ok(Arc::clone(found));
        }
        let found = Arc::new(self.credentials.find(&self.registry, &self.repository)?);
        Ok(Arc::clone(self.found.get_or_init(|| found)))
    }

    /// That the registry does not let us in, and what to do about it.
    pub(super) fn refused(&self, said: &str) -> Failure {
        let found = match self.found() {
            Ok(found) => found,
            Err(error) => return error.into(),
        };
        let (host, registry) = (self.host(), &self.registry);
        let said = self.shown(said);
        let colon = if said.is_empty() { "" } else { ": " };
        match (&found.credential, &found.problem) {
            (Some(credential), _) => {
                let origin = &credential.origin;
                self.denied(&format!("the registry {host} refused the credentials from {origin}{colon}{said}"))
            }
            (None, Some(problem)) => self.denied(&format!("{host} wants a login, but {problem}")),
            (None, None) => self.denied(&format!(
                "needs a login, or does not exist: run `docker login {registry}` or pass --registry-auth{colon}{said}"
            )),
        }
    }

    /// What a registry said, fit to be shown: no secrets, which are looked for before anything is shortened, nothing
    /// that steers a terminal, and not much of it.
    pub(super) fn shown(&self, said: &str) -> String {
        let mut text = said.to_owned();
        if let Some(credential) = self.found.get().and_then(|found| found.credential.as_ref()) {
            text = credential.hide(&text);
        }
        let issued = self.issued.lock().unwrap_or_else(PoisonError::into_inner);
        if !issued.is_empty() {
            text = text.replace(issued.as_str(), "…");
        }
        excerpt(&text, 200)
    }

    fn renew(&self, transport: &Transport, state: &mut State, challenge: Challenge) -> Result<(), Failure> {
        let proof = match &challenge {
            Challenge::Basic => self.password()?,
            Challenge::Bearer { realm, service } => self.token(transport, realm, service.as_deref())?,
        };
        state.number += 1;
        state.proof = Some(Proof { challenge, header: proof.0, until: proof.1 });
        Ok(())
    }

    fn password(&self) -> Result<(HeaderValue, Option<Instant>), Failure> {
        let found = self.found()?;
        match found.credential.as_ref().map(|credential| &credential.secret) {
            Some(Secret::Password(login) | Secret::Identity { password: Some(login), .. }) => Ok((basic(login)?, None)),
            Some(Secret::Bearer(token)) => Ok((bearer(token)?, None)),
            Some(Secret::Identity { .. }) => {
                Err(self.denied("the registry wants a password, but there is only a token"))
            }
            None => Err(self.refused("")),
        }
    }

    fn token(
        &self,
        transport: &Transport,
        realm: &str,
        service: Option<&str>,
    ) -> Result<(HeaderValue, Option<Instant>), Failure> {
        let url = self.realm(transport, realm)?;
        // As Docker: what is needed, not what the registry suggests.
        let scope = &format!("repository:{}:pull", self.repository);
        let found = self.found()?;
        let is_at_home = url.origin() == self.base.origin();
        let asked = Instant::now();
        let mut answer = match found.credential.as_ref().map(|credential| &credential.secret) {
            Some(Secret::Bearer(token)) => return Ok((bearer(token)?, None)),
            Some(Secret::Identity { token, password }) => {
                let fields = [
                    ("grant_type", "refresh_token"),
                    ("service", service.unwrap_or_default()),
                    ("client_id", "imglint"),
                    ("scope", scope),
                    ("refresh_token", token),
                ];
                let answer = transport.post(&self.image, &url, form(&fields))?;
                // Some token servers know only the older way (containerd, remotes/docker/authorizer.go).
                if matches!(answer.response.status().as_u16(), 404 | 405) {
                    let of_token = Login { user: Vec::new(), password: token.clone().into_bytes() };
                    let login = password.as_ref().unwrap_or(&of_token);
                    let url = with_query(url, service, scope, Some(&login.account()));
                    transport.get(&self.ask(url), Some(&basic(login)?))?
                } else {
                    answer
                }
            }
            Some(Secret::Password(login)) => {
                let url = with_query(url, service, scope, Some(&login.account()));
                transport.get(&self.ask(url), Some(&basic(login)?))?
            }
            None => transport.get(&self.ask(with_query(url, service, scope, None)), None)?,
        };
        let (status, host) = (answer.response.status(), answer.host.clone());
        if !status.is_success() {
            let said =
                if is_at_home { transport.said(&mut answer) } else { transport.said_by_token_server(&mut answer) };
            let said = self.shown(&said);
            return Err(match (transport.overloaded(&self.image, &answer, &said), status.as_u16()) {
                (Some(failure), _) => failure,
                (None, 400 | 401 | 403) => self.refused(&said),
                _ => {
                    let colon = if said.is_empty() { "" } else { ": " };
                    self.denied(&format!(
                        "the token server {host} answers {status}{colon}{said} when it is asked for a token"
                    ))
                }
            });
        }
        let body = transport.read(&self.image, answer, LARGEST_ANSWER)?;
        let no_token =
            || Failure::Final(Error::broken(format!("{}: the token server {host} gave no token", self.image)));
        let answer = TokenAnswer::read(&body).map_err(|_| no_token())?;
        let named = [answer.token, answer.access_token].into_iter().find(|token| !token.is_empty());
        let token = named.ok_or_else(no_token)?;
        self.issued.lock().unwrap_or_else(PoisonError::into_inner).clone_from(&token);
        let seconds = answer.expires_in.filter(|seconds| *seconds >= 1);
        let life = seconds.and_then(|seconds| u64::try_from(seconds).ok()).map_or(USUAL_LIFE, Duration::from_secs);
        // A little early, as the request with it takes a while too.
        let early = (life / 10).min(Duration::from_secs(10));
        Ok((bearer(&token)?, asked.checked_add(life - early)))
    }

    /// The token server's URL, if it may be given a secret: credentials and tokens do not go out in plain HTTP unless
    /// the registry itself is talked to so.
    fn realm(&self, transport: &Transport, realm: &str) -> Result<Url, Failure> {
        let wrong =
            |text: &str| Failure::Final(Error::broken(format!("{}: the registry {} {text}", self.image, self.host())));
        let mut url = Url::parse(realm).map_err(|_| wrong("names a token server that is no URL"))?;
        let _ = url.set_username("");
        let _ = url.set_password(None);
        url.set_fragment(None);
        match url.scheme() {
            "https" => Ok(url),
            "http" if self.base.scheme() == "http" || transport.clients.is_insecure(&url) => Ok(url),
            _ => Err(wrong(&format!(
                "names a token server without HTTPS ({}), which gets no credentials",
                hosts::shown(&url)
            ))),
        }
    }

    fn ask(&self, url: Url) -> Get<'_> {
        Get { what: &self.image, url, accept: "", part: None }
    }

    fn host(&self) -> String {
        hosts::shown(&self.base)
    }

    fn denied(&self, text: &str) -> Failure {
        Failure::Final(Error::new(ErrorKind::Denied, format!("{}: {text}", self.image)))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn basic(login: &Login) -> Result<HeaderValue> {
    secret_header(&format!("Basic {}", login.encoded()))
}

fn bearer(token: &str) -> Result<HeaderValue> {
    secret_header(&format!("Bearer {token}"))
}

fn secret_header(text: &str) -> Result<HeaderValue> {
    let mut header =
        HeaderValue::from_str(text).map_err(|_| Error::broken("a token holds characters that cannot be sent"))?;
    header.set_sensitive(true);
    Ok(header)
}

/// The query of a token request; a scope of several parts is sent as several, as Docker does.
fn with_query(mut url: Url, service: Option<&str>, scope: &str, account: Option<&str>) -> Url {
    {
        let mut query = url.query_pairs_mut();
        query.extend_pairs(service.map(|service| ("service", service)));
        query.extend_pairs(scope.split(' ').filter(|part| !part.is_empty()).map(|part| ("scope", part)));
        query.extend_pairs(account.map(|account| ("account", account)));
    }
    url
}

fn form(fields: &[(&str, &str)]) -> String {
    let encoded = fields.iter().map(|(key, value)| format!("{key}={}", utf8_percent_encode(value, NON_ALPHANUMERIC)));
    encoded.collect::<Vec<_>>().join("&")
}
