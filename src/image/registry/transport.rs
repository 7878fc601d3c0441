//! One HTTP exchange at a time: redirects followed by our own rules, bodies counted and bounded, time limited.

use std::io::{self, Read};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use reqwest::blocking::{RequestBuilder, Response};
use reqwest::header::{ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, CONTENT_TYPE, HeaderValue, LOCATION, RANGE};
use reqwest::{StatusCode, Url};

use super::clients::Clients;
use super::hosts;
use super::options::Retries;
use super::retry::{Deadline, Failure};
use super::trouble;
use crate::image::{Error, ErrorKind};

/// How many redirects are followed.
const MOST_REDIRECTS: usize = 10;
/// The largest body that is read only so that the connection can be used again, in bytes.
const WORTH_DRAINING: u64 = 16 * 1024;

/// How much of a document must come in the time that is set for one, in bytes.
const DOCUMENT_PACE: u64 = 32 * 1024;

/// Gives up on what comes too slowly: a server that sends a byte now and then is never silent.
pub(super) struct Pace {
    window: Duration,
    least: u64,
    waited: Duration,
    came: u64,
}

/// That something came too slowly.
#[derive(Debug, thiserror::Error)]
#[error("{came} bytes in {} s", window.as_secs_f32())]
pub(super) struct TooSlow {
    came: u64,
    window: Duration,
}

impl Pace {
    /// In each `window` of waiting at least `least` bytes must come.
    pub(super) fn new(window: Duration, least: u64) -> Self {
        Self { window, least, waited: Duration::ZERO, came: 0 }
    }

    /// Reads, and counts only the time that this takes.
    pub(super) fn timed(&mut self, read: impl FnOnce() -> io::Result<usize>) -> io::Result<usize> {
        let start = Instant::now();
        let count = read()?;
        self.waited += start.elapsed();
        self.came += count as u64;
        if self.waited >= self.window {
            if count > 0 && self.came < self.least {
                return Err(io::Error::other(TooSlow { came: self.came, window: self.window }));
            }
            (self.waited, self.came) = (Duration::ZERO, 0);
        }
        Ok(count)
    }
}

/// What requests need that is the same for all of them.
pub(super) struct Transport {
    pub(super) clients: Clients,
    pub(super) retries: Retries,
    pub(super) deadline: Deadline,
    pub(super) fetched: AtomicU64,
}

/// A GET request.
pub(super) struct Get<'a> {
    /// What it is for, in error messages.
    pub(super) what: &'a str,
    pub(super) url: Url,
    /// The media types asked for; empty for any.
    pub(super) accept: &'a str,
    /// The part that is wanted: the first byte, and where one is named, the last; nothing for the whole.
    pub(super) part: Option<(u64, Option<u64>)>,
}

/// An answer, its body still to be read.
pub(super) struct Answer {
    pub(super) response: Response,
    /// Who gave it, in error messages.
    pub(super) host: String,
    /// Whether it came from somewhere else than was asked.
    pub(super) strayed: bool,
}

impl Answer {
    /// The value of a header, empty if there is none or it is no text.
    pub(super) fn header(&self, name: &str) -> &str {
        self.response.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// The media type without parameters, in lower case.
    pub(super) fn media_type(&self) -> String {
        let text = self.header(CONTENT_TYPE.as_str());
        text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
    }

    /// Reads a small body to its end, so that its connection serves the next request.
    pub(super) fn drain(mut self) {
        if self.response.content_length().is_some_and(|length| length <= WORTH_DRAINING) {
            let _ = std::io::copy(&mut self.response, &mut std::io::sink());
        }
    }
}

impl Transport {
    /// Sends a GET request and follows redirects. `authorization` and the client certificate go to the origin of the
    /// request only; once a redirect has left it, also not when another one leads back.
    pub(super) fn get(&self, get: &Get<'_>, authorization: Option<&HeaderValue>) -> Result<Answer, Failure> {
        let mut url = get.url.clone();
        let mut strayed = false;
        for _ in 0..=MOST_REDIRECTS {
            self.within_reach(get.what, &url)?;
            let client = self.clients.client(&url, !strayed)?;
            // Without it any coding may come (RFC 9110, 12.5.3), and a digest is of the bytes without.
            let mut request = client.get(url.clone()).header(ACCEPT_ENCODING, "identity");
            if !get.accept.is_empty() {
                request = request.header(ACCEPT, get.accept);
            }
            if let Some((first, last)) = get.part {
                let last = last.map(|last| last.to_string()).unwrap_or_default();
                request = request.header(RANGE, format!("bytes={first}-{last}"));
            }
            if let Some(authorization) = authorization.filter(|_| !strayed) {
                request = request.header(AUTHORIZATION, authorization.clone());
            }
            let answer = self.send(get.what, request, &url, strayed)?;
            if !is_redirect(answer.response.status()) {
                return Ok(answer);
            }
            let next = self.redirected(get.what, &url, &answer)?;
            strayed |= next.origin() != get.url.origin();
            url = next;
            answer.drain();
        }
        let host = hosts::shown(&get.url);
        let text = format!("{}: {host} redirects more than {MOST_REDIRECTS} times", get.what);
        Err(Error::broken(text).into())
    }

    /// Posts a form. Redirects are not followed: a form holds secrets.
    pub(super) fn post(&self, what: &str, url: &Url, form: String) -> Result<Answer, Failure> {
        self.within_reach(what, url)?;
        let client = self.clients.client(url, true)?;
        let request = client.post(url.clone()).header(CONTENT_TYPE, "application/x-www-form-urlencoded").body(form);
        self.send(what, request, url, false)
    }

    /// That a URL is one that may be asked, wherever it came from.
    fn within_reach(&self, what: &str, url: &Url) -> Result<(), Failure> {
        if self.clients.reaches(url) {
            return Ok(());
        }
        let text = format!(
            "{what}: it leads to {}, which is not asked for a foreign layer; name it in --allow-foreign-urls=HOST to allow it",
            hosts::shown(url)
        );
        Err(Failure::Final(Error::new(ErrorKind::Denied, text)))
    }

    fn send(&self, what: &str, request: RequestBuilder, url: &Url, strayed: bool) -> Result<Answer, Failure> {
        let host = hosts::shown(url);
        match self.in_time(request)?.send() {
            Ok(response) => Ok(Answer { response, host, strayed }),
            Err(error) => Err(self.failed(what, &host, &error)),
        }
    }

    /// The request, to be ended by the time limit. Such a limit replaces that on silence, so it is set only where it
    /// comes first or soon after; readers of longer bodies look at the clock themselves.
    pub(super) fn in_time(&self, request: RequestBuilder) -> Result<RequestBuilder, Error> {
        Ok(match self.deadline.left()? {
            Some(left) if left < self.clients.stall().saturating_mul(2) => request.timeout(left),
            _ => request,
        })
    }

    /// Where a redirect leads, if it may lead there. Its URL can carry a signature, so only its host is ever shown.
    fn redirected(&self, what: &str, from: &Url, answer: &Answer) -> Result<Url, Failure> {
        let host = &answer.host;
        let wrong = |text: String| Failure::Final(Error::broken(format!("{what}: {host} redirects {text}")));
        let location =
            answer.response.headers().get(LOCATION).map(|value| written(value.as_bytes())).unwrap_or_default();
        let mut next = match from.join(&location) {
            Ok(next) if !location.is_empty() && next.has_host() => next,
            _ => return Err(wrong("to nowhere".to_owned())),
        };
        // A name and password in a URL would become an Authorization header.
        let _ = next.set_username("");
        let _ = next.set_password(None);
        match (from.scheme(), next.scheme()) {
            (_, "https") | ("http", "http") => Ok(next),
            ("https", "http") if self.clients.is_insecure(&next) => Ok(next),
            (_, "http") => Err(wrong(format!("from HTTPS to plain HTTP at {}, which is refused", hosts::shown(&next)))),
            (_, scheme) => Err(wrong(format!("to a {scheme}: URL, which is refused"))),
        }
    }

    /// What a failure of a connection means; when the time limit is over, that is what it means.
    pub(super) fn failed(&self, what: &str, host: &str, error: &(dyn std::error::Error + 'static)) -> Failure {
        match self.deadline.left() {
            Err(over) => Failure::Final(over),
            Ok(_) => trouble::connection(what, host, error),
        }
    }

    /// Reads a body to its end, or one byte more than `limit`.
    pub(super) fn read(&self, what: &str, answer: Answer, limit: u64) -> Result<Vec<u8>, Failure> {
        let Answer { response, host, .. } = answer;
        let mut bytes = Vec::new();
        match self.read_in_time(response.take(limit.saturating_add(1)), &mut bytes) {
            Ok(()) => Ok(bytes),
            Err(error) if error.get_ref().is_some_and(|inner| inner.is::<TooSlow>()) => {
                let text = format!("{what}: {host} is too slow: {error}");
                Err(Failure::Final(Error::new(ErrorKind::Unreachable, text)))
            }
            Err(error) => Err(self.failed(what, &host, &error)),
        }
    }

    /// The failure that an answer with an error status is, when trying again may help; else nothing.
    pub(super) fn overloaded(&self, what: &str, answer: &Answer, said: &str) -> Option<Failure> {
        let status = answer.response.status();
        if !trouble::may_pass(status) {
            return None;
        }
        let host = &answer.host;
        let colon = if said.is_empty() { "" } else { ": " };
        let text = match status {
            StatusCode::TOO_MANY_REQUESTS => format!("{host} allows no more requests for now ({status}){colon}{said}"),
            _ => format!("{host} answers {status}{colon}{said}"),
        };
        let asked = super::retry::retry_after(answer.response.headers(), std::time::SystemTime::now());
        let error = Error::new(ErrorKind::Unreachable, format!("{what}: {text}"));
        Some(Failure::Passing { error, most: u32::MAX, asked })
    }

    /// What the body of an error says. That of a host that was redirected to is not read: it may be a host that only this
    /// machine reaches, and errors go to logs that others read.
    pub(super) fn said(&self, answer: &mut Answer) -> String {
        self.body_of_error(answer).map(|bytes| trouble::said(&bytes)).unwrap_or_default()
    }

    /// As [`said`](Self::said), of a token server that the registry names on another host.
    pub(super) fn said_by_token_server(&self, answer: &mut Answer) -> String {
        self.body_of_error(answer).map(|bytes| trouble::said_by_token_server(&bytes)).unwrap_or_default()
    }

    fn body_of_error(&self, answer: &mut Answer) -> Option<Vec<u8>> {
        let mut bytes = Vec::new();
        // A body that breaks off says what it says.
        let _ =
            (!answer.strayed).then(|| self.read_in_time((&mut answer.response).take(WORTH_DRAINING), &mut bytes))?;
        Some(bytes)
    }

    /// Reads to the end, or until the time limit is over.
    fn read_in_time(&self, mut reader: impl Read, bytes: &mut Vec<u8>) -> std::io::Result<()> {
        let mut buffer = vec![0; WORTH_DRAINING as usize];
        let mut pace = Pace::new(self.clients.document_time(), DOCUMENT_PACE);
        loop {
            self.deadline.left()?;
            let count = pace.timed(|| reader.read(&mut buffer))?;
            if count == 0 {
                return Ok(());
            }
            self.fetched.fetch_add(count as u64, Ordering::Relaxed);
            bytes.extend_from_slice(&buffer[..count]);
        }
    }
}

/// A place as a URL: bytes that are no text are escaped, others outside of ASCII when it is taken apart.
fn written(bytes: &[u8]) -> String {
    let mut text = String::new();
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        text.extend(chunk.invalid().iter().map(|byte| format!("%{byte:02X}")));
    }
    text
}

fn is_redirect(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}
