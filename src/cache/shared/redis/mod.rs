//! Entries as keys of a Redis server. They go when nobody asked for them in a while, or when the server needs the room.
//!
//! The few commands are spoken here: the usual clients read an answer however large it says it is, and know no deadline but
//! that for single reads.

mod answers;
mod connection;

use std::collections::HashSet;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use percent_encoding::percent_decode_str;
use reqwest::Url;

use super::super::folder;
use super::{Far, Gate, LARGEST_STORED, Loaded, Patience, Usage, lock};
use answers::{Said, Trouble};
use connection::Connection;

/// After so long without use an entry goes, in seconds.
const KEPT: &str = "2592000";
/// What all keys begin with.
const PREFIX: &str = "imglint/";
/// How many keys are looked at or removed at a time.
const AT_ONCE: usize = 500;
/// The most keys that are listed.
const MOST_LISTED: usize = 2_000_000;
/// How long listing all keys may take, or removing them.
const LISTING: Duration = Duration::from_secs(120);

pub(super) struct RedisStore {
    /// The trouble once there was some: what still comes would answer another question.
    connection: Mutex<Result<Connection, String>>,
    turn: Mutex<()>,
    patience: Patience,
}

impl RedisStore {
    /// Connects, logs in, and asks whether the server takes questions.
    ///
    /// # Errors
    /// The server does not answer or lets nobody in.
    pub(super) fn open(url: &Url, patience: Patience) -> Result<Self, String> {
        let mut connection = Connection::open(url, patience.connect)?;
        let text = |encoded: &str| percent_decode_str(encoded).decode_utf8_lossy().into_owned();
        let (user, password) = (text(url.username()), url.password().map(text));
        let database = url.path().trim_matches('/').to_owned();
        let mut commands: Vec<Vec<&[u8]>> = Vec::new();
        match &password {
            Some(password) if user.is_empty() => commands.push(vec![b"AUTH", password.as_bytes()]),
            Some(password) => commands.push(vec![b"AUTH", user.as_bytes(), password.as_bytes()]),
            None => {}
        }
        if !database.is_empty() {
            commands.push(vec![b"SELECT", database.as_bytes()]);
        }
        commands.push(vec![b"PING"]);
        for command in commands {
            connection.send(&[&command]).map_err(|trouble| connection.explain(trouble))?;
            connection.answers().status().map_err(|trouble| connection.explain(trouble))?;
        }
        Ok(Self { connection: Mutex::new(Ok(connection)), turn: Mutex::new(()), patience })
    }

    /// Asks one question, for whose whole answer there is `time`.
    fn ask<T>(
        &self,
        time: Duration,
        question: impl FnOnce(&mut Connection) -> Result<T, Trouble>,
    ) -> Result<T, String> {
        let mut held = lock(&self.connection);
        let taken = std::mem::replace(&mut *held, Err("the connection was lost".to_owned()));
        let answer = taken.and_then(|mut connection| {
            connection.begin(time);
            match question(&mut connection) {
                Ok(answer) => Ok((answer, connection)),
                Err(trouble) => Err(connection.explain(trouble)),
            }
        });
        match answer {
            Ok((answer, connection)) => {
                *held = Ok(connection);
                Ok(answer)
            }
            // For who asks next, too.
            Err(why) => {
                *held = Err(why.clone());
                Err(why)
            }
        }
    }

    /// Calls `each` with the keys of entries, some at a time.
    fn for_each(&self, mut each: impl FnMut(&mut Connection, &[Vec<u8>]) -> Result<(), Trouble>) -> Result<(), String> {
        let is_entry = |key: &[u8]| {
            let rest = std::str::from_utf8(key).ok().and_then(|key| key.strip_prefix(PREFIX));
            let parts = rest.and_then(|rest| rest.split_once('/'));
            parts.is_some_and(|(format, name)| folder::is_format(format) && folder::is_entry(name))
        };
        let (pattern, count) = (format!("{PREFIX}*"), AT_ONCE.to_string());
        self.ask(LISTING, |connection| {
            let (mut cursor, mut listed) = (b"0".to_vec(), 0);
            // A key may come twice.
            let (mut seen, hash) = (HashSet::new(), RandomState::new());
            loop {
                connection.send(&[&[b"SCAN", &cursor, b"MATCH", pattern.as_bytes(), b"COUNT", count.as_bytes()]])?;
                let (next, mut keys) = connection.answers().page()?;
                listed += keys.len().max(1);
                if listed > MOST_LISTED {
                    return Err(Trouble::new(format!("it lists more than {MOST_LISTED} keys")));
                }
                keys.retain(|key| is_entry(key) && seen.insert(hash.hash_one(key)));
                if !keys.is_empty() {
                    each(connection, &keys)?;
                }
                if next == b"0" {
                    return Ok(());
                }
                cursor = next;
            }
        })
    }
}

/// How long the values of these keys are.
fn lengths(connection: &mut Connection, keys: &[Vec<u8>]) -> Result<Vec<u64>, Trouble> {
    let commands: Vec<[&[u8]; 2]> = keys.iter().map(|key| [&b"STRLEN"[..], key.as_slice()]).collect();
    let commands: Vec<&[&[u8]]> = commands.iter().map(|command| &command[..]).collect();
    connection.send(&commands)?;
    keys.iter().map(|_| connection.answers().number()).collect()
}

fn key(name: &str) -> Vec<u8> {
    format!("{PREFIX}{name}").into_bytes()
}

impl Far for RedisStore {
    fn turn(&self) -> Option<MutexGuard<'_, ()>> {
        Some(lock(&self.turn))
    }

    fn get(&self, name: &str, loading: &Arc<Gate>) -> Result<Option<Loaded>, String> {
        // One at a time is asked for, and how large it is shows only in the answer.
        let mut pass = loading.enter(LARGEST_STORED);
        let (key, most) = (key(name), LARGEST_STORED.to_string());
        let bytes = self.ask(self.patience.answer, |connection| {
            // The server counts to the last byte that is wanted: one more than the largest entry shows what is larger.
            let range: [&[u8]; 4] = [b"GETRANGE", &key, b"0", most.as_bytes()];
            connection.send(&[&range, &[b"EXPIRE", &key, KEPT.as_bytes()]])?;
            let bytes = connection.answers().bytes(LARGEST_STORED + 1)?;
            connection.answers().number()?;
            Ok(bytes)
        })?;
        pass.shrink(bytes.len());
        let is_entry = !bytes.is_empty() && bytes.len() <= LARGEST_STORED;
        Ok(is_entry.then(|| Loaded { bytes: Bytes::from(bytes), _pass: Some(pass) }))
    }

    fn put(&self, name: &str, bytes: Bytes) -> Result<(), String> {
        self.ask(self.patience.answer, |connection| {
            connection.send(&[&[b"SETEX", &key(name), KEPT.as_bytes(), &bytes]])?;
            match connection.answers().status()? {
                Said::Ok => Ok(()),
                Said::Other => Err(Trouble::garbled()),
            }
        })
    }

    fn usage(&self) -> Result<Usage, String> {
        let mut usage = Usage::default();
        self.for_each(|connection, keys| {
            let bytes = lengths(connection, keys)?.into_iter().fold(0, u64::saturating_add);
            usage = Usage { entries: usage.entries + keys.len(), bytes: usage.bytes.saturating_add(bytes) };
            Ok(())
        })?;
        Ok(usage)
    }

    fn clear(&self) -> Result<Usage, String> {
        let mut usage = Usage::default();
        self.for_each(|connection, keys| {
            let bytes = lengths(connection, keys)?.into_iter().fold(0, u64::saturating_add);
            let command: Vec<&[u8]> = std::iter::once(&b"DEL"[..]).chain(keys.iter().map(Vec::as_slice)).collect();
            connection.send(&[&command])?;
            let removed = connection.answers().number()?;
            let removed = usize::try_from(removed).unwrap_or_default().min(keys.len());
            usage = Usage { entries: usage.entries + removed, bytes: usage.bytes.saturating_add(bytes) };
            Ok(())
        })?;
        Ok(usage)
    }
}
