//! A blob, or a part of one, as a stream that survives cut connections: it goes on where it was cut (RFC 9110, 14, "Range Requests").

use std::io::{self, Read};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use reqwest::blocking::Response;
use reqwest::header::{CONTENT_RANGE, ETAG, HeaderMap, TRANSFER_ENCODING};
use reqwest::{StatusCode, Url};

use super::retry::{Failure, Tries};
use super::session::Session;
use super::streams::Leave;
use super::transport::{Get, Pace, TooSlow};
use crate::image::{Error, ErrorKind, Result};

/// After this much progress, in bytes, the count of failures starts again.
const PROGRESS: u64 = 1024 * 1024;

/// In so much waiting at least so many bytes must come: 3.5 KB/s.
const PACE: (Duration, u64) = (Duration::from_secs(300), 1024 * 1024);

/// The bytes of one blob, exactly as many as its descriptor says, or of a part of it; or an error.
pub(super) struct Blob {
    session: Arc<Session>,
    /// What it is, in error messages.
    what: String,
    url: Url,
    size: u64,
    at: u64,
    /// Where the part ends; the size for the whole.
    until: u64,
    is_part: bool,
    source: Option<Source>,
    etag: String,
    failures: u32,
    /// Where it was when it last failed.
    failed_at: u64,
    end: Option<End>,
    pace: Pace,
    /// Leave to be open; given back while it waits for another attempt.
    leave: Option<Leave>,
}

/// One answer that is being read.
struct Source {
    response: Response,
    host: String,
    /// Whether its end is told apart from a cut.
    framed: bool,
}

/// How the stream ended, for those who go on reading.
enum End {
    Whole,
    Failed(ErrorKind, String),
}

impl Blob {
    /// Starts to fetch a blob.
    ///
    /// # Errors
    /// It is not there, or not of this size.
    pub(super) fn open(session: Arc<Session>, what: String, digest: &str, size: u64) -> Result<Self> {
        Self::begin(session, what, digest, size, None)
    }

    /// Starts to fetch a part of a blob.
    ///
    /// # Errors
    /// It is not there, not of this size, or is only given as a whole (`Unsupported`).
    pub(super) fn open_part(
        session: Arc<Session>,
        what: String,
        digest: &str,
        size: u64,
        part: Range<u64>,
    ) -> Result<Self> {
        Self::begin(session, what, digest, size, Some(part))
    }

    fn begin(session: Arc<Session>, what: String, digest: &str, size: u64, part: Option<Range<u64>>) -> Result<Self> {
        let url = session.url("blobs", digest);
        let leave = session.streams.begin();
        let is_part = part.is_some();
        let Range { start, end } = part.unwrap_or(0..size);
        let mut blob = Self {
            session,
            what,
            url,
            size,
            at: start,
            until: end,
            is_part,
            source: None,
            etag: String::new(),
            failures: 0,
            failed_at: start,
            end: None,
            pace: Pace::new(PACE.0, PACE.1),
            leave: Some(leave),
        };
        while blob.source.is_none() {
            match blob.connect() {
                Ok(source) => blob.source = Some(source),
                Err(failure) => blob.again(failure)?,
            }
        }
        Ok(blob)
    }

    /// Asks for what is still missing, always at the registry: where it redirected to before may be closed by now.
    fn connect(&mut self) -> Result<Source, Failure> {
        let last = self.is_part.then(|| self.until.saturating_sub(1));
        let part = (self.is_part || self.at > 0).then_some((self.at, last));
        let get = Get { what: &self.what, url: self.url.clone(), accept: "", part };
        let answer = self.session.get(&get)?;
        let headers = answer.response.headers();
        let etag = headers.get(ETAG).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
        let partial = answer.response.status() == StatusCode::PARTIAL_CONTENT;
        if self.is_part && !partial {
            let text = format!("{}: {} gives no parts of it", self.what, answer.host);
            return Err(Error::new(ErrorKind::Unsupported, text).into());
        }
        let expected = if partial { self.until - self.at } else { self.size };
        let length = answer.response.content_length();
        if partial && !self.is_the_rest(headers) {
            return Err(self.broken("the registry gave another part than it was asked for").into());
        }
        if length != Some(self.size) && answer.media_type() == "text/html" {
            return Err(self.broken(&format!("{} sends a web page: is it a registry?", answer.host)).into());
        }
        match length {
            Some(length) if length < expected => return Err(self.short(self.until - expected + length).into()),
            Some(length) if length > expected => return Err(self.long().into()),
            _ => {}
        }
        if !self.etag.is_empty() && !etag.is_empty() && self.etag != etag {
            return Err(self.broken("it changed while it was read").into());
        }
        if !etag.is_empty() {
            self.etag = etag;
        }
        let framed = length.is_some() || headers.contains_key(TRANSFER_ENCODING);
        let mut source = Source { response: answer.response, host: answer.host, framed };
        if !partial {
            self.skip(&mut source)?;
        }
        Ok(source)
    }

    /// Whether a partial answer starts and ends where it should, and belongs to a whole of the right size.
    fn is_the_rest(&self, headers: &HeaderMap) -> bool {
        let text = headers.get(CONTENT_RANGE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let parts = text.trim().strip_prefix("bytes ").and_then(|rest| rest.split_once('/'));
        let Some((range, total)) = parts else { return false };
        let Some((first, last)) = range.split_once('-') else { return false };
        let is = |text: &str, number: u64| text.trim().parse() == Ok(number);
        is(first, self.at) && is(last, self.until.saturating_sub(1)) && (total.trim() == "*" || is(total, self.size))
    }

    /// Leaves out what was read before, when the registry starts over.
    fn skip(&self, source: &mut Source) -> Result<(), Failure> {
        let copied = io::copy(&mut (&mut source.response).take(self.at), &mut io::sink());
        let count = copied.map_err(|error| self.session.transport.failed(&self.what, &source.host, &error))?;
        self.session.transport.fetched.fetch_add(count, Ordering::Relaxed);
        if count < self.at {
            return Err(self.cut(&source.host));
        }
        Ok(())
    }

    /// Waits for another attempt, if there is one left.
    fn again(&mut self, failure: Failure) -> Result<()> {
        if self.at - self.failed_at >= PROGRESS {
            self.failures = 0;
        }
        self.failed_at = self.at;
        let transport = &self.session.transport;
        let mut tries = Tries::after(&transport.retries, transport.deadline, self.failures);
        self.leave = None;
        let outcome = tries.wait(failure);
        self.failures = tries.made();
        self.leave = Some(self.session.streams.begin());
        outcome
    }

    fn step(&mut self, buffer: &mut [u8]) -> Result<usize> {
        loop {
            self.session.transport.deadline.left()?;
            let mut source = match self.source.take() {
                Some(source) => source,
                None => match self.connect() {
                    Ok(source) => source,
                    Err(failure) => {
                        self.again(failure)?;
                        continue;
                    }
                },
            };
            let missing = self.until - self.at;
            if missing == 0 {
                return match source.response.read(&mut [0]) {
                    Ok(1..) => Err(self.long()),
                    // All is there: how the connection ends after that does not matter.
                    Ok(0) | Err(_) => Ok(0),
                };
            }
            let room = usize::try_from(missing).unwrap_or(usize::MAX).min(buffer.len());
            let read = self.pace.timed(|| source.response.read(&mut buffer[..room]));
            match read {
                Err(error) if error.get_ref().is_some_and(|inner| inner.is::<TooSlow>()) => {
                    let text = format!("{}: {} is too slow: {error}", self.what, source.host);
                    return Err(Error::new(ErrorKind::Unreachable, text));
                }
                Ok(0) if source.framed => return Err(self.short(self.at)),
                Ok(0) => self.again(self.cut(&source.host))?,
                Ok(count) => {
                    self.at += count as u64;
                    self.session.transport.fetched.fetch_add(count as u64, Ordering::Relaxed);
                    self.source = Some(source);
                    return Ok(count);
                }
                Err(error) => self.again(self.session.transport.failed(&self.what, &source.host, &error))?,
            }
        }
    }

    fn cut(&self, host: &str) -> Failure {
        let text = format!("{}: the connection to {host} broke after {} of {} bytes", self.what, self.at, self.size);
        Failure::passing(Error::new(ErrorKind::Unreachable, text))
    }

    fn short(&self, at: u64) -> Error {
        self.broken(&format!("ended after {at} of {} bytes", self.size))
    }

    fn long(&self) -> Error {
        self.broken(&format!("does not end after the {} bytes that the manifest says it has", self.size))
    }

    fn broken(&self, text: &str) -> Error {
        Error::broken(format!("{}: {text}", self.what))
    }
}

impl Read for Blob {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match &self.end {
            Some(End::Whole) => return Ok(0),
            Some(End::Failed(kind, text)) => return Err(Error::new(*kind, text).into()),
            None if buffer.is_empty() => return Ok(0),
            None => {}
        }
        let outcome = self.step(buffer);
        match &outcome {
            Ok(0) => {
                self.end = Some(End::Whole);
                self.leave = None;
                self.session.streams.went_well();
            }
            Ok(_) => {}
            Err(error) => self.end = Some(End::Failed(error.kind(), error.to_string())),
        }
        Ok(outcome?)
    }
}
