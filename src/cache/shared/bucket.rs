//! Entries as objects of a bucket: Amazon S3 and what speaks as it does, Google Cloud Storage, Azure Blob Storage.
//!
//! Credentials and endpoints come from the variables that the crate `object_store` documents (`AWS_…`, `GOOGLE_…`,
//! `AZURE_…`), else from the machine the program runs on, as its cloud gives them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt};
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};
use object_store::gcp::{GoogleCloudStorageBuilder, GoogleConfigKey};
use object_store::path::Path;
use object_store::{ClientConfigKey, GetResult, ObjectMeta, ObjectStore, ObjectStoreExt, PutPayload, RetryConfig};
use reqwest::Url;
use tokio::runtime::Runtime;

use super::super::folder;
use super::bounded_http::BoundedConnector;
use super::variables::Variable;
use super::{Far, Gate, LARGEST_STORED, Loaded, Patience, Usage, seconds};

/// How many objects are removed at a time.
const AT_ONCE: usize = 16;
/// How long listing a bucket may take, or emptying it.
const LISTING: Duration = Duration::from_secs(120);
/// The most objects that are listed.
const MOST_LISTED: usize = 2_000_000;

pub(super) struct BucketStore {
    store: Box<dyn ObjectStore>,
    prefix: Path,
    /// There until this is dropped.
    runtime: Option<Runtime>,
    patience: Patience,
}

impl BucketStore {
    /// # Errors
    /// The address, or what the environment says of credentials, is wrong.
    pub(super) fn open(url: &Url, variables: Vec<Variable>, patience: Patience) -> Result<Self, String> {
        crate::tls::ready();
        let retry = RetryConfig { max_retries: 2, retry_timeout: patience.answer, ..RetryConfig::default() };
        let connect = (ClientConfigKey::ConnectTimeout, format!("{} ms", patience.connect.as_millis()));
        let answer = (ClientConfigKey::Timeout, format!("{} ms", patience.answer.as_millis()));
        // Its own word for where an address may lead is of no use here: the scheme is known.
        let address = Url::parse(&format!("{}://{}/", url.scheme(), url.host_str().unwrap_or_default()));
        let address = address.map_err(|error| error.to_string())?;
        macro_rules! build {
            ($builder:ty, $key:ident) => {{
                let mut builder = <$builder>::new().with_url(address).with_retry(retry);
                for (name, value) in variables {
                    if let Ok(key) = name.to_ascii_lowercase().parse::<$key>() {
                        builder = builder.with_config(key, value);
                    }
                }
                for (key, value) in [connect, answer] {
                    builder = builder.with_config($key::Client(key), value);
                }
                Box::new(builder.with_http_connector(BoundedConnector).build().map_err(|error| innermost(&error))?)
            }};
        }
        let store: Box<dyn ObjectStore> = match url.scheme() {
            "s3" => build!(AmazonS3Builder, AmazonS3ConfigKey),
            "gs" => build!(GoogleCloudStorageBuilder, GoogleConfigKey),
            _ => build!(MicrosoftAzureBuilder, AzureConfigKey),
        };
        let prefix = Path::from_url_path(url.path()).map_err(|error| error.to_string())?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = Some(runtime.map_err(|error| error.to_string())?);
        Ok(Self { store, prefix, runtime, patience })
    }

    fn path(&self, name: &str) -> Path {
        name.split('/').fold(self.prefix.clone(), |path, part| path.join(part))
    }

    fn wait<T>(&self, time: Duration, work: impl Future<Output = object_store::Result<T>>) -> Result<T, Trouble> {
        let Some(runtime) = &self.runtime else { return Err(Trouble::Other("it was closed".to_owned())) };
        let in_time = async { tokio::time::timeout(time, work).await };
        match runtime.block_on(in_time) {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(object_store::Error::NotFound { .. })) => Err(Trouble::NotFound),
            Ok(Err(error)) => Err(Trouble::Other(innermost(&error))),
            Err(_) => Err(Trouble::Other(format!("no answer within {}", seconds(self.patience.answer)))),
        }
    }

    /// The bytes of an object that is not too large, as they come: that it says how many there are proves nothing.
    fn read(&self, found: GetResult, time: Duration) -> Result<Option<Bytes>, Trouble> {
        let length = usize::try_from(found.meta.size).unwrap_or(usize::MAX).min(LARGEST_STORED);
        self.wait(time, async {
            let mut bytes = Vec::with_capacity(length);
            let mut stream = found.into_stream();
            while let Some(more) = stream.try_next().await? {
                if more.len() > length - bytes.len() {
                    return Ok(None);
                }
                bytes.extend_from_slice(&more);
            }
            Ok(Some(Bytes::from(bytes)))
        })
    }

    /// Calls `each` with the entries, one after the other, and with nothing else that may lie below the prefix.
    fn for_each(&self, mut each: impl FnMut(ObjectMeta)) -> Result<(), Trouble> {
        let is_entry = |meta: &ObjectMeta| {
            let parts: Vec<_> = meta.location.prefix_match(&self.prefix).into_iter().flatten().collect();
            matches!(&parts[..], [format, name] if folder::is_format(format.as_ref()) && folder::is_entry(name.as_ref()))
        };
        let mut listed = 0;
        self.wait(LISTING, async {
            let mut all = self.store.list(Some(&self.prefix)).take(MOST_LISTED + 1);
            while let Some(meta) = all.try_next().await? {
                listed += 1;
                if is_entry(&meta) {
                    each(meta);
                }
            }
            Ok(())
        })?;
        match listed > MOST_LISTED {
            true => Err(Trouble::Other(format!("it lists more than {MOST_LISTED} objects"))),
            false => Ok(()),
        }
    }
}

impl Far for BucketStore {
    fn get(&self, name: &str, loading: &Arc<Gate>) -> Result<Option<Loaded>, String> {
        let path = self.path(name);
        let start = Instant::now();
        let found = match self.wait(self.patience.answer, self.store.get(&path)) {
            Ok(found) if found.meta.size <= LARGEST_STORED as u64 => found,
            Ok(_) | Err(Trouble::NotFound) => return Ok(None),
            Err(Trouble::Other(why)) => return Err(why),
        };
        let left = self.patience.answer.saturating_sub(start.elapsed());
        // Not while the runtime is held, which others need for their bytes.
        let pass = loading.enter(usize::try_from(found.meta.size).unwrap_or(LARGEST_STORED));
        let bytes = self.read(found, left)?;
        Ok(bytes.map(|bytes| Loaded { bytes, _pass: Some(pass) }))
    }

    fn put(&self, name: &str, bytes: Bytes) -> Result<(), String> {
        let path = self.path(name);
        self.wait(self.patience.answer, self.store.put(&path, PutPayload::from(bytes)))?;
        Ok(())
    }

    fn usage(&self) -> Result<Usage, String> {
        let mut usage = Usage::default();
        self.for_each(|entry| usage = Usage { entries: usage.entries + 1, bytes: usage.bytes + entry.size })?;
        Ok(usage)
    }

    fn clear(&self) -> Result<Usage, String> {
        let (mut usage, mut places) = (Usage::default(), Vec::new());
        self.for_each(|entry| {
            usage = Usage { entries: usage.entries + 1, bytes: usage.bytes + entry.size };
            places.push(entry.location);
        })?;
        let remove = futures_util::stream::iter(places).map(|place| async move { self.store.delete(&place).await });
        self.wait(LISTING, remove.buffer_unordered(AT_ONCE).try_collect::<Vec<()>>())?;
        Ok(usage)
    }
}

impl Drop for BucketStore {
    fn drop(&mut self) {
        // Whoever still looks for a name in vain is not waited for.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

enum Trouble {
    NotFound,
    Other(String),
}

impl From<Trouble> for String {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::NotFound => "there is no such bucket".to_owned(),
            Trouble::Other(why) => why,
        }
    }
}

/// The cause of an error: what is around it repeats it, with addresses.
fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    let text = causes.last().map(ToString::to_string).unwrap_or_default();
    // Not the document that the server sent with it.
    crate::printable::excerpt(text.split(": <").next().unwrap_or_default().trim_end_matches([' ', ':']), 300)
}
