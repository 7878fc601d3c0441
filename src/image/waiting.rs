//! A stream that another thread reads, so that waiting for it can end: standard input, a pipe, an engine's export.

use std::io::{self, Read};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use super::{Error, ErrorKind};

/// How long a stream may bring nothing.
const SILENCE: Duration = Duration::from_secs(300);
/// How many chunks may wait to be taken.
pub(super) const WAITING: usize = 4;
/// How many bytes are read at a time.
const CHUNK: usize = 64 << 10;

/// How long is waited for something that is read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// How long it may bring nothing.
    pub(super) silence: Duration,
    /// When all of it must have come.
    pub(super) until: Option<(Instant, Duration)>,
}

impl Patience {
    /// The usual patience; `timeout` is how long everything may take.
    pub(super) fn of(timeout: Option<Duration>) -> Self {
        let until = timeout.and_then(|timeout| Some((Instant::now().checked_add(timeout)?, timeout)));
        Self { silence: SILENCE, until }
    }
}

/// The stream.
pub(super) struct Waiting {
    /// Where it comes from, in error messages.
    what: String,
    chunks: Receiver<io::Result<Vec<u8>>>,
    patience: Patience,
    current: Vec<u8>,
    at: usize,
}

impl Waiting {
    /// What a thread sends.
    pub(super) fn for_chunks(what: &str, chunks: Receiver<io::Result<Vec<u8>>>, patience: Patience) -> Self {
        Self { what: what.to_owned(), chunks, patience, current: Vec::new(), at: 0 }
    }

    /// What a reader gives, read by a thread of its own.
    pub(super) fn reading(what: &str, mut reader: impl Read + Send + 'static, patience: Patience) -> Self {
        let (send, chunks) = sync_channel(WAITING);
        // Not joined: it may wait for ever.
        thread::spawn(move || {
            loop {
                let mut chunk = vec![0; CHUNK];
                let read = reader.read(&mut chunk);
                let is_last = !matches!(read, Ok(1..));
                let read = read.map(|count| {
                    chunk.truncate(count);
                    chunk
                });
                if send.send(read).is_err() || is_last {
                    return;
                }
            }
        });
        Self::for_chunks(what, chunks, patience)
    }

    fn next(&self) -> io::Result<Option<Vec<u8>>> {
        let Patience { silence, until } = self.patience;
        let left = until.map(|(until, _)| until.saturating_duration_since(Instant::now()));
        match self.chunks.recv_timeout(left.map_or(silence, |left| left.min(silence))) {
            Ok(chunk) => chunk.map(Some).or_else(|error| match error.kind() {
                io::ErrorKind::Interrupted => Ok(Some(Vec::new())),
                _ => Err(error),
            }),
            Err(RecvTimeoutError::Disconnected) => Ok(None),
            Err(RecvTimeoutError::Timeout) => {
                let silent = format!("{}: nothing came for {} s", self.what, silence.as_secs_f32());
                Err(self.over().unwrap_or_else(|| Error::new(ErrorKind::Unreachable, silent).into()))
            }
        }
    }

    /// That all its time is over, if it is.
    fn over(&self) -> Option<io::Error> {
        let (_, timeout) = self.patience.until.filter(|(until, _)| *until <= Instant::now())?;
        let text = format!("{}: the time limit of {} s is over (--timeout)", self.what, timeout.as_secs_f32());
        Some(Error::new(ErrorKind::Unreachable, text).into())
    }
}

impl Read for Waiting {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        // Also while there is always something to read.
        if let Some(over) = self.over() {
            return Err(over);
        }
        while self.at == self.current.len() {
            match self.next()? {
                Some(chunk) if chunk.is_empty() => {}
                Some(chunk) => (self.current, self.at) = (chunk, 0),
                None => return Ok(0),
            }
        }
        let count = (&self.current[self.at..]).read(buffer)?;
        self.at += count;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_brings_nothing_is_given_up_and_what_ends_is_read() {
        let patience = Patience { silence: Duration::from_millis(30), until: None };
        let mut text = String::new();
        Waiting::reading("x", &b"all of it"[..], patience).read_to_string(&mut text).unwrap();
        assert_eq!(text, "all of it");
        let (send, chunks) = sync_channel(1);
        send.send(Ok(b"start".to_vec())).unwrap();
        let error = Waiting::for_chunks("x", chunks, patience).read_to_string(&mut text).unwrap_err().to_string();
        assert!(error.contains("x: nothing came for 0.03 s"), "{error}");
    }

    #[test]
    fn what_never_ends_is_given_up_when_the_time_is_over() {
        let patience = Patience::of(Some(Duration::from_millis(50)));
        let error = io::copy(&mut Waiting::reading("x", io::repeat(0), patience), &mut io::sink()).unwrap_err();
        assert!(error.to_string().contains("--timeout"), "{error}");
    }
}
