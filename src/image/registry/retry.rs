//! Which failures are worth another try, how many, and how long to wait before it.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use reqwest::header::{HeaderMap, RETRY_AFTER};

use super::options::Retries;
use crate::image::{Error, ErrorKind};

/// Why one attempt failed.
#[derive(Debug)]
pub(super) enum Failure {
    /// It would fail again.
    Final(Error),
    /// It may pass.
    Passing {
        /// What to say when it does not.
        error: Error,
        /// How many attempts it is worth at most.
        most: u32,
        /// How long the registry asks to wait.
        asked: Option<Duration>,
    },
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Final(error)
    }
}

impl Failure {
    /// A failure that is worth as many attempts as the options allow.
    pub(super) fn passing(error: Error) -> Self {
        Self::Passing { error, most: u32::MAX, asked: None }
    }
}

/// The time that everything about one image may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Deadline {
    limit: Option<(Instant, Duration)>,
}

impl Deadline {
    pub(super) fn new(timeout: Option<Duration>) -> Self {
        Self { limit: timeout.map(|timeout| (Instant::now(), timeout)) }
    }

    /// What is left of it; nothing when there is no limit.
    pub(super) fn left(&self) -> Result<Option<Duration>, Error> {
        match self.limit {
            None => Ok(None),
            Some((start, timeout)) => match timeout.checked_sub(start.elapsed()) {
                Some(left) if !left.is_zero() => Ok(Some(left)),
                _ => Err(self.over()),
            },
        }
    }

    /// That it is over.
    pub(super) fn over(&self) -> Error {
        let seconds = self.limit.map_or(0.0, |(_, timeout)| timeout.as_secs_f32());
        Error::new(ErrorKind::Unreachable, format!("the time limit of {seconds} s for one image is over (--timeout)"))
    }
}

/// The attempts at one thing.
#[derive(Debug)]
pub(super) struct Tries<'a> {
    retries: &'a Retries,
    deadline: Deadline,
    made: u32,
}

impl<'a> Tries<'a> {
    pub(super) fn new(retries: &'a Retries, deadline: Deadline) -> Self {
        Self { retries, deadline, made: 0 }
    }

    /// As if `made` attempts had already failed.
    pub(super) fn after(retries: &'a Retries, deadline: Deadline, made: u32) -> Self {
        Self { retries, deadline, made }
    }

    /// How many attempts failed.
    pub(super) fn made(&self) -> u32 {
        self.made
    }

    /// Waits until it is time for another attempt.
    ///
    /// # Errors
    /// There is none left, or no time; the error is the failure's own.
    pub(super) fn wait(&mut self, failure: Failure) -> Result<(), Error> {
        let (error, most, asked) = match failure {
            Failure::Final(error) => return Err(error),
            Failure::Passing { error, most, asked } => (error, most, asked),
        };
        self.made += 1;
        if self.made >= most.min(self.retries.tries) {
            return Err(error);
        }
        let wait = match asked.filter(|asked| !asked.is_zero()) {
            None => self.backoff(),
            Some(asked) => match self.granted(asked) {
                Some(granted) => granted,
                None => return Err(error),
            },
        };
        if self.deadline.left()?.is_some_and(|left| left <= wait) {
            return Err(error);
        }
        thread::sleep(wait);
        Ok(())
    }

    /// How long is waited where a registry asks for so much; `None` if registries have made this run wait long enough.
    fn granted(&self, asked: Duration) -> Option<Duration> {
        let Retries { longest_asked, longest_asked_in_all, asked_so_far, .. } = self.retries;
        let milliseconds = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let wait = asked.min(*longest_asked);
        let before = asked_so_far.fetch_add(milliseconds(wait), Ordering::Relaxed);
        (before < milliseconds(*longest_asked_in_all)).then_some(wait)
    }

    /// Twice as long each time, and between half and all of it, so that many clients do not come back at once.
    fn backoff(&self) -> Duration {
        let doubled = self.retries.first_wait.saturating_mul(1 << (self.made - 1).min(16));
        let whole = doubled.min(self.retries.longest_wait);
        let chance = RandomState::new().hash_one(self.made) % 1024;
        whole / 2 + (whole / 2).mul_f64(chance as f64 / 1024.0)
    }
}

/// What a `Retry-After` header asks for: seconds or a date (RFC 9110, 10.2.3).
pub(super) fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    match text.parse::<u64>() {
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        Err(_) => {
            let date = httpdate::parse_http_date(text).ok()?;
            Some(date.duration_since(now).unwrap_or_default())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registry_may_ask_for_seconds_or_a_date() {
        let asked = |text: &str| {
            let headers = HeaderMap::from_iter([(RETRY_AFTER, text.parse().unwrap())]);
            let now = httpdate::parse_http_date("Mon, 23 Nov 2026 10:00:00 GMT").unwrap();
            retry_after(&headers, now)
        };
        assert_eq!(asked("7"), Some(Duration::from_secs(7)));
        assert_eq!(asked("Mon, 23 Nov 2026 10:00:09 GMT"), Some(Duration::from_secs(9)));
        assert_eq!(asked("Mon, 23 Nov 2026 09:00:00 GMT"), Some(Duration::ZERO), "a date that has passed");
        assert_eq!(asked("soon"), None);
    }

    #[test]
    fn waits_grow_but_never_beyond_the_longest() {
        let retries =
            Retries { first_wait: Duration::from_secs(4), longest_wait: Duration::from_secs(10), ..Retries::default() };
        let waits = |made| Tries::after(&retries, Deadline::new(None), made).backoff();
        assert!((2..=4).contains(&waits(1).as_secs()));
        assert!((5..=10).contains(&waits(3).as_secs()));
        assert!((5..=10).contains(&waits(4_000_000_000).as_secs()));
    }

    #[test]
    fn registries_can_make_a_run_wait_only_so_long() {
        let retries = Retries {
            longest_asked: Duration::from_millis(2),
            longest_asked_in_all: Duration::from_millis(5),
            ..Retries::default()
        };
        let asked = || {
            let failure = Failure::Passing {
                error: Error::broken("x"),
                most: 9,
                asked: Some(Duration::from_secs(1_000_000_000)),
            };
            Tries::new(&retries, Deadline::new(None)).wait(failure)
        };
        // Each request is a new one.
        assert!(asked().is_ok() && asked().is_ok() && asked().is_ok());
        assert!(asked().is_err());
    }

    #[test]
    fn when_tries_are_used_up_the_failure_is_told() {
        let retries = Retries { tries: 3, first_wait: Duration::ZERO, ..Retries::default() };
        let mut tries = Tries::new(&retries, Deadline::new(None));
        let failure = || Failure::passing(Error::broken("x"));
        assert!(tries.wait(failure()).is_ok() && tries.wait(failure()).is_ok());
        assert_eq!(tries.wait(failure()).unwrap_err().to_string(), "x");
    }
}
