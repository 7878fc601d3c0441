//! Requests to one repository: scheme found out, proof attached, statuses understood, failures tried again.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use reqwest::{StatusCode, Url};

use super::auth::Auth;
use super::clients::Clients;
use super::credentials::Credentials;
use super::hosts;
use super::options::RegistryOptions;
use super::retry::{Deadline, Failure, Tries};
use super::streams::Streams;
use super::transport::{Answer, Get, Transport};
use super::trouble::{self, Trouble};
use crate::image::{Error, ErrorKind, Result};
use crate::reference::Name;

/// One repository of one registry.
pub(super) struct Session {
    pub(super) name: Name,
    /// The name, in error messages.
    pub(super) image: String,
    pub(super) transport: Transport,
    pub(super) streams: Arc<Streams>,
    base: Url,
    auth: Auth,
}

impl Session {
    /// Reads files and, where both schemes are possible, finds out which one the registry speaks.
    ///
    /// # Errors
    /// A file that cannot be read, or a registry that does not answer.
    pub(super) fn open(name: &Name, options: &RegistryOptions) -> Result<Self> {
        let image = name.to_string();
        let transport = Transport {
            clients: Clients::new(&name.registry, options)?,
            retries: options.retries.clone(),
            deadline: Deadline::new(options.timeout),
            fetched: AtomicU64::new(0),
        };
        let credentials = Credentials::load(options.auth_file.as_ref(), &options.places)?;
        let base = base(&transport, &image, hosts::api_host(&name.registry))?;
        let auth = Auth::new(name, base.clone(), credentials);
        let streams = options.streams.of(&name.registry);
        Ok(Self { name: name.clone(), image, transport, streams, base, auth })
    }

    /// The URL of a manifest or blob of the repository (distribution-spec, "Endpoints").
    pub(super) fn url(&self, kind: &str, identifier: &str) -> Url {
        let mut url = self.base.clone();
        url.set_path(&format!("/v2/{}/{kind}/{identifier}", self.name.repository));
        url
    }

    /// The registry's host, in error messages.
    pub(super) fn host(&self) -> String {
        hosts::shown(&self.base)
    }

    /// Does something until it succeeds, fails for good or has been tried often enough.
    pub(super) fn retrying<T>(&self, mut attempt: impl FnMut() -> Result<T, Failure>) -> Result<T> {
        let mut tries = Tries::new(&self.transport.retries, self.transport.deadline);
        loop {
            match attempt() {
                Ok(value) => return Ok(value),
                Err(failure) => tries.wait(failure)?,
            }
        }
    }

    /// One attempt at a GET request, logged in where the registry wants it. The answer's status is 200 or 206.
    pub(super) fn get(&self, get: &Get<'_>) -> Result<Answer, Failure> {
        let before = self.auth.number();
        let mut asked_for_challenge = false;
        loop {
            let (header, used) = self.auth.header(&self.transport)?;
            let mut answer = self.transport.get(get, header.as_ref())?;
            match answer.response.status().as_u16() {
                200 | 206 => return Ok(answer),
                401 if !answer.strayed => {
                    let headers = answer.response.headers().clone();
                    let said = self.transport.said(&mut answer);
                    self.auth.challenged(&self.transport, &headers, used, before, &said)?;
                }
                // Registries that let anybody in hide private images from those who have not logged in, and ask only
                // at the entrance.
                403 | 404 if !answer.strayed && header.is_none() && !asked_for_challenge => {
                    asked_for_challenge = true;
                    if !self.enter(used, before)? {
                        return Err(self.failure(get.what, answer));
                    }
                }
                _ => return Err(self.failure(get.what, answer)),
            }
        }
    }

    /// Logs in by the challenge that the entrance gives (distribution-spec, "Determining Support"), if there are
    /// credentials; says whether it did.
    fn enter(&self, used: u64, before: u64) -> Result<bool, Failure> {
        if self.auth.found()?.credential.is_none() {
            return Ok(false);
        }
        let mut url = self.base.clone();
        url.set_path("/v2/");
        let answer = self.transport.get(&Get { what: &self.image, url, accept: "", part: None }, None)?;
        if answer.response.status() != StatusCode::UNAUTHORIZED || answer.strayed {
            return Ok(false);
        }
        self.auth.challenged(&self.transport, answer.response.headers(), used, before, "")?;
        Ok(true)
    }

    /// What an answer that is no success means.
    fn failure(&self, what: &str, mut answer: Answer) -> Failure {
        let said = self.auth.shown(&self.transport.said(&mut answer));
        if let Some(failure) = self.transport.overloaded(what, &answer, &said) {
            self.streams.slow_down();
            return failure;
        }
        let (status, host) = (answer.response.status(), &answer.host);
        let with = if said.is_empty() { String::new() } else { format!(": {said}") };
        let error = |kind, text: String| Failure::Final(Error::new(kind, format!("{what}: {text}")));
        match status.as_u16() {
            404 if answer.media_type() == "text/html" => {
                error(ErrorKind::NotFound, format!("{host} answers {status} with a web page: is it a registry?"))
            }
            404 if !answer.strayed => {
                let hint = if what == self.image && self.is_anonymous() {
                    " (many registries answer so for private images too, and there are no credentials for it)"
                } else {
                    ""
                };
                error(ErrorKind::NotFound, format!("not found at {host}{with}{hint}"))
            }
            401 | 403 if !answer.strayed => self.auth.refused(&said),
            401 | 403 => {
                error(ErrorKind::Denied, format!("{host}, where the registry keeps it, answers {status}{with}"))
            }
            _ => error(ErrorKind::Broken, format!("{host} answers {status}{with}")),
        }
    }

    fn is_anonymous(&self) -> bool {
        self.auth.found().is_ok_and(|found| found.credential.is_none())
    }
}

/// The URL that a registry's paths start from. HTTPS, except that hosts of this machine and those that need not be
/// verified may speak plain HTTP; as Docker does, HTTPS is tried first.
fn base(transport: &Transport, image: &str, host: &str) -> Result<Url> {
    let parse = |scheme: &str| {
        let wrong = |_| Error::new(ErrorKind::Unsupported, format!("{image}: {host} is not a host"));
        Url::parse(&format!("{scheme}://{host}/v2/")).map_err(wrong)
    };
    let secure = parse("https")?;
    if !hosts::is_loopback(&secure) && !transport.clients.is_insecure(&secure) {
        return Ok(secure);
    }
    let probe = |url: &Url| {
        let client = transport.clients.greeting(url).map_err(|error| (Trouble::Connect, Failure::Final(error)))?;
        let request = transport.in_time(client.get(url.clone()));
        let request = request.map_err(|error| (Trouble::Time, Failure::Final(error)))?;
        let host = hosts::shown(url);
        request.send().map_err(|error| (Trouble::of(&error), trouble::connection(image, &host, &error)))
    };
    let mut tries = Tries::new(&transport.retries, transport.deadline);
    loop {
        let failure = match probe(&secure) {
            Ok(_) => return Ok(secure),
            // It speaks HTTPS, so plain HTTP would be a step back.
            Err((Trouble::Certificate | Trouble::ClientCertificate, failure)) => failure,
            Err((_, first)) => {
                let plain = parse("http")?;
                match probe(&plain) {
                    Ok(_) => return Ok(plain),
                    Err((Trouble::Refused, second)) if secure.port().is_some() => second,
                    Err(_) => first,
                }
            }
        };
        tries.wait(failure)?;
    }
}
