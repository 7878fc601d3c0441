//! Entries as keys of a Redis server. They go when nobody asked for them in a while, or when the server needs the room.

use std::sync::Mutex;
use std::time::Duration;

use redis::{Client, Commands as _, Connection, Expiry, RedisError, RedisResult};
use reqwest::Url;

use super::super::folder;
use super::{ANSWER, CONNECT, Far, LARGEST_STORED, Usage, lock};

/// After so long without use an entry goes.
const KEPT: Duration = Duration::from_secs(30 * 24 * 3600);
/// What all keys begin with.
const PREFIX: &str = "imglint/";
/// How many keys are looked at or removed at a time.
const AT_ONCE: usize = 500;

pub(super) struct RedisStore {
    connection: Mutex<Connection>,
}

impl RedisStore {
    /// # Errors
    /// The address is wrong, or the server does not answer or lets nobody in.
    pub(super) fn open(url: &Url) -> Result<Self, String> {
        crate::tls::ready();
        let connect = || {
            let connection = Client::open(url.clone())?.get_connection_with_timeout(CONNECT)?;
            connection.set_read_timeout(Some(ANSWER))?;
            connection.set_write_timeout(Some(ANSWER))?;
            Ok(connection)
        };
        let connection = connect().map_err(|error: RedisError| told(&error))?;
        Ok(Self { connection: Mutex::new(connection) })
    }

    fn ask<T>(&self, question: impl FnOnce(&mut Connection) -> RedisResult<T>) -> Result<T, String> {
        question(&mut lock(&self.connection)).map_err(|error| told(&error))
    }

    /// The keys of entries.
    fn keys(&self) -> Result<Vec<String>, String> {
        self.ask(|connection| {
            let options = redis::ScanOptions::default().with_pattern(format!("{PREFIX}*")).with_count(AT_ONCE);
            let mut keys = connection.scan_options::<String>(options)?.collect::<RedisResult<Vec<_>>>()?;
            keys.retain(|key| {
                let rest = key.strip_prefix(PREFIX).and_then(|rest| rest.split_once('/'));
                rest.is_some_and(|(format, name)| folder::is_format(format) && folder::is_entry(name))
            });
            // A key may come twice.
            keys.sort_unstable();
            keys.dedup();
            Ok(keys)
        })
    }
}

impl Far for RedisStore {
    fn get(&self, name: &str) -> Result<Option<Vec<u8>>, String> {
        let key = format!("{PREFIX}{name}");
        self.ask(|connection| {
            let length: u64 = connection.strlen(&key)?;
            if length == 0 || length > LARGEST_STORED {
                return Ok(None);
            }
            connection.get_ex(&key, Expiry::EX(KEPT.as_secs()))
        })
    }

    fn put(&self, name: &str, bytes: Vec<u8>) -> Result<(), String> {
        self.ask(|connection| connection.set_ex(format!("{PREFIX}{name}"), bytes, KEPT.as_secs()))
    }

    fn usage(&self) -> Result<Usage, String> {
        let keys = self.keys()?;
        let mut bytes = 0;
        for keys in keys.chunks(AT_ONCE) {
            let mut lengths = redis::pipe();
            for key in keys {
                lengths.strlen(key);
            }
            let lengths: Vec<u64> = self.ask(|connection| lengths.query(connection))?;
            bytes += lengths.iter().sum::<u64>();
        }
        Ok(Usage { entries: keys.len(), bytes })
    }

    fn clear(&self) -> Result<Usage, String> {
        let usage = self.usage()?;
        for keys in self.keys()?.chunks(AT_ONCE) {
            self.ask(|connection| connection.del::<_, ()>(keys))?;
        }
        Ok(usage)
    }
}

/// What the server or the connection says.
fn told(error: &RedisError) -> String {
    crate::printable::excerpt(&error.to_string(), 300)
}
