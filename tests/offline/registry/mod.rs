//! Reading from registries, held against one that can lie, fail and hang.

mod blobs;
mod documents;
mod failures;
mod logins;
mod redirects;
mod tls;

use std::collections::BTreeMap;
use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::support::lying_registry::{LyingRegistry, Reply, Seen};
use imglint::digest::Digest;
use imglint::image::documents::Documents;
use imglint::image::manifest::{Descriptor, LARGEST_DOCUMENT, OCI_MANIFEST};
use imglint::image::registry::{Places, Registry, RegistryOptions, Retries};
use imglint::image::{Error, ErrorKind, Source};

const MANIFEST: &[u8] = br#"{"schemaVersion":2,"config":{"digest":"sha256:x","size":2},"layers":[]}"#;

/// No waiting, and nothing of the machine the tests run on, not even its certificates.
fn options() -> RegistryOptions {
    let retries = Retries {
        tries: 4,
        first_wait: Duration::ZERO,
        longest_wait: Duration::ZERO,
        longest_asked: Duration::from_millis(1),
        ..Retries::default()
    };
    let insecure = vec!["127.0.0.1".to_owned()];
    RegistryOptions { retries, insecure, places: Places::default(), ..RegistryOptions::default() }
}

/// Options with a credentials file for `host`; the folder goes when the test is over.
fn login(host: &str, entry: &str) -> (RegistryOptions, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("auth.json");
    std::fs::write(&path, format!(r#"{{"auths":{{"{host}":{entry}}}}}"#)).unwrap();
    (RegistryOptions { auth_file: Some(path), ..options() }, folder)
}

/// me:hunter2
const ENTRY: &str = r#"{"auth":"bWU6aHVudGVyMg=="}"#;
const BASIC: &str = "Basic bWU6aHVudGVyMg==";

fn open_as(host: &str, identifier: &str, options: &RegistryOptions) -> Registry {
    Registry::open(&format!("{host}/team/app{identifier}").parse().unwrap(), options).unwrap()
}

fn open(server: &LyingRegistry) -> Registry {
    open_as(&server.host(), ":1", &options())
}

/// The bytes of a blob, or the error that its opening or its stream gave.
fn blob(registry: &Registry, digest: &Digest, size: usize) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    let mut stream = registry.open_digest("layer 3".into(), digest, size as u64)?;
    stream.read_to_end(&mut bytes).map_err(|error| Error::from_io("layer 3", error))?;
    Ok(bytes)
}

fn content() -> Vec<u8> {
    (0..75_000_u32).flat_map(u32::to_le_bytes).collect()
}

fn fails(outcome: Result<impl Sized, Error>, kind: ErrorKind, words: &[&str]) -> String {
    let error = outcome.err().expect("it should fail");
    let text = error.to_string();
    assert_eq!(error.kind(), kind, "{text}");
    for word in words {
        assert!(text.contains(word), "{word:?} is not in {text:?}");
    }
    assert!(!text.contains("hunter2") && !text.contains("bWU6aHVudGVyMg"), "a secret is in {text:?}");
    assert!(!text.chars().any(char::is_control), "{text:?}");
    text
}

/// Answers that differ from one request to the next; the last one stays.
fn one_after_another(replies: Vec<fn(&Seen) -> Reply>) -> LyingRegistry {
    let count = AtomicUsize::new(0);
    LyingRegistry::start(move |seen| replies[count.fetch_add(1, Ordering::SeqCst).min(replies.len() - 1)](seen))
}
