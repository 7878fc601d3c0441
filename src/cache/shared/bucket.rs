//! Entries as objects of a bucket: Amazon S3 and what speaks as it does, Google Cloud Storage, Azure Blob Storage.
//!
//! Credentials and endpoints come from the variables that the crate `object_store` documents (`AWS_…`, `GOOGLE_…`,
//! `AZURE_…`), else from the machine the program runs on, as its cloud gives them.

use futures_util::{StreamExt, TryStreamExt};
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};
use object_store::gcp::{GoogleCloudStorageBuilder, GoogleConfigKey};
use object_store::path::Path;
use object_store::{ClientConfigKey, ObjectMeta, ObjectStore, ObjectStoreExt, PutPayload, RetryConfig};
use reqwest::Url;
use tokio::runtime::Runtime;

use super::super::folder;
use super::{ANSWER, CONNECT, Far, LARGEST_STORED, Usage};

/// How many objects are removed at a time.
const AT_ONCE: usize = 16;

pub(super) struct BucketStore {
    store: Box<dyn ObjectStore>,
    prefix: Path,
    runtime: Runtime,
}

impl BucketStore {
    /// # Errors
    /// The address, or what the environment says of credentials, is wrong.
    pub(super) fn open(url: &Url) -> Result<Self, String> {
        crate::tls::ready();
        let retry = RetryConfig { max_retries: 2, retry_timeout: ANSWER, ..RetryConfig::default() };
        let connect = (ClientConfigKey::ConnectTimeout, format!("{} s", CONNECT.as_secs()));
        let answer = (ClientConfigKey::Timeout, format!("{} s", ANSWER.as_secs()));
        // Its own word for where an address may lead is of no use here: the scheme is known.
        let address = Url::parse(&format!("{}://{}/", url.scheme(), url.host_str().unwrap_or_default()));
        let address = address.map_err(|error| error.to_string())?;
        macro_rules! build {
            ($builder:ty, $key:ident) => {{
                let mut builder = <$builder>::from_env().with_url(address).with_retry(retry);
                for (key, value) in [connect, answer] {
                    builder = builder.with_config($key::Client(key), value);
                }
                Box::new(builder.build().map_err(|error| error.to_string())?)
            }};
        }
        let store: Box<dyn ObjectStore> = match url.scheme() {
            "s3" => build!(AmazonS3Builder, AmazonS3ConfigKey),
            "gs" => build!(GoogleCloudStorageBuilder, GoogleConfigKey),
            _ => build!(MicrosoftAzureBuilder, AzureConfigKey),
        };
        let prefix = Path::from_url_path(url.path()).map_err(|error| error.to_string())?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        Ok(Self { store, prefix, runtime: runtime.map_err(|error| error.to_string())? })
    }

    fn path(&self, name: &str) -> Path {
        name.split('/').fold(self.prefix.clone(), |path, part| path.join(part))
    }

    fn wait<T>(&self, work: impl Future<Output = object_store::Result<T>>) -> Result<T, Trouble> {
        let in_time = async { tokio::time::timeout(ANSWER, work).await };
        match self.runtime.block_on(in_time) {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(object_store::Error::NotFound { .. })) => Err(Trouble::NotFound),
            Ok(Err(error)) => Err(Trouble::Other(innermost(&error))),
            Err(_) => Err(Trouble::Other(format!("no answer within {} s", ANSWER.as_secs()))),
        }
    }

    /// The entries, and nothing else that may lie below the prefix.
    fn entries(&self) -> Result<Vec<ObjectMeta>, Trouble> {
        let all: Vec<ObjectMeta> = self.wait(self.store.list(Some(&self.prefix)).try_collect())?;
        let is_entry = |meta: &ObjectMeta| {
            let parts: Vec<_> = meta.location.prefix_match(&self.prefix).into_iter().flatten().collect();
            matches!(&parts[..], [format, name] if folder::is_format(format.as_ref()) && folder::is_entry(name.as_ref()))
        };
        Ok(all.into_iter().filter(is_entry).collect())
    }
}

impl Far for BucketStore {
    fn get(&self, name: &str) -> Result<Option<Vec<u8>>, String> {
        let path = self.path(name);
        let found = self.wait(async {
            let found = self.store.get(&path).await?;
            if found.meta.size > LARGEST_STORED { Ok(None) } else { found.bytes().await.map(Some) }
        });
        match found {
            Ok(bytes) => Ok(bytes.map(|bytes| bytes.to_vec())),
            Err(Trouble::NotFound) => Ok(None),
            Err(Trouble::Other(why)) => Err(why),
        }
    }

    fn put(&self, name: &str, bytes: Vec<u8>) -> Result<(), String> {
        let path = self.path(name);
        self.wait(self.store.put(&path, PutPayload::from(bytes)))?;
        Ok(())
    }

    fn usage(&self) -> Result<Usage, String> {
        let entries = self.entries()?;
        Ok(Usage { entries: entries.len(), bytes: entries.iter().map(|entry| entry.size).sum() })
    }

    fn clear(&self) -> Result<Usage, String> {
        let entries = self.entries()?;
        let usage = Usage { entries: entries.len(), bytes: entries.iter().map(|entry| entry.size).sum() };
        let remove = futures_util::stream::iter(entries).map(|entry| {
            let store = &self.store;
            async move { store.delete(&entry.location).await }
        });
        self.runtime
            .block_on(remove.buffer_unordered(AT_ONCE).try_collect::<Vec<()>>())
            .map_err(|error| innermost(&error))?;
        Ok(usage)
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
