//! A cache that machines share: what one has read the other does not fetch, and a cache that fails costs no verdict.

use std::collections::HashMap;
use std::fs;
use std::net::TcpListener;
use std::process::Command;
use std::time::SystemTime;

use crate::support::image::{Tar, TestImage, write_layout};
use crate::support::lying_registry::{LyingRegistry, Reply};
use crate::support::{Run, program, real_part};
use redis::Commands as _;
use serde_json::{Value, json};

/// A registry with an image of one layer as `shared:1`, made for one test.
fn registry(test: &str) -> LyingRegistry {
    let folder = tempfile::tempdir().unwrap();
    // New every time: the stores may have what an earlier run left there.
    let test = format!("{test} {:?}", SystemTime::now());
    let tar = Tar::default().file("etc/os-release", 0o644, b"ID=debian\n").file("srv/test", 0o644, test.as_bytes());
    write_layout(folder.path(), &[(&TestImage::new(json!({})).layer("COPY / /", &tar), "")]);
    let index: Value = serde_json::from_slice(&fs::read(folder.path().join("index.json")).unwrap()).unwrap();
    let blobs: HashMap<String, Vec<u8>> = fs::read_dir(folder.path().join("blobs/sha256"))
        .unwrap()
        .map(Result::unwrap)
        .map(|blob| (blob.file_name().into_string().unwrap(), fs::read(blob.path()).unwrap()))
        .collect();
    let manifest = index["manifests"][0]["digest"].as_str().unwrap().replace("sha256:", "");
    LyingRegistry::start(move |seen| match blobs.get(seen.path.rsplit(':').next().unwrap()) {
        Some(blob) => Reply::ok(blob),
        None if seen.path.ends_with("/manifests/1") => {
            Reply::ok(&blobs[&manifest]).with("Content-Type", "application/vnd.oci.image.manifest.v1+json")
        }
        None => Reply::error(404, "NOT_FOUND", "not here"),
    })
}

/// `imglint` with this cache, as on a machine of its own.
fn with(cache: &str) -> Command {
    let mut command = program();
    command.env_remove("IMGLINT_NO_CACHE").env("IMGLINT_CACHE", cache);
    for name in ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"] {
        command.env(name, "test");
    }
    command.env("AWS_ALLOW_HTTP", "true").env("AWS_REGION", "us-east-1");
    if let Ok(server) = std::env::var("IMGLINT_TEST_S3") {
        command.env("AWS_ENDPOINT", server);
    }
    command
}

fn check(cache: &str, server: &LyingRegistry) -> Run {
    let image = format!("docker://{}/shared:1", server.host());
    Run::of(with(cache).args(["check", "--report", "json", &image]))
}

/// How many blobs the registry was asked for.
fn blobs(server: &LyingRegistry) -> usize {
    server.seen().iter().filter(|seen| seen.path.contains("/blobs/")).count()
}

/// The stores that there are, each for one test of its own.
fn stores(test: &str) -> Vec<String> {
    let redis = real_part("a Redis server", "IMGLINT_TEST_REDIS");
    let bucket = real_part("an S3 server", "IMGLINT_TEST_S3").map(|_| format!("s3://imglint/{test}/of/ci"));
    redis.into_iter().chain(bucket).collect()
}

#[test]
fn what_one_machine_has_read_the_others_do_not_fetch() {
    for store in stores("shared") {
        let server = registry(&format!("shared {store}"));
        let first = check(&store, &server);
        // The configuration and the layer.
        assert_eq!(blobs(&server), 2, "{store}");
        let others = std::thread::scope(|scope| {
            let runs: Vec<_> = (0..4).map(|_| scope.spawn(|| check(&store, &server))).collect();
            runs.into_iter().map(|run| run.join().unwrap()).collect::<Vec<_>>()
        });
        assert_eq!(blobs(&server), 2, "{store}: nothing more");
        for run in others {
            assert_eq!(run.report()["warnings"], json!([]));
            assert_eq!(run.result()["findings"], first.result()["findings"]);
        }
    }
}

#[test]
fn who_has_another_key_or_none_does_not_use_what_those_with_the_key_have_read() {
    for store in stores("keyed") {
        let server = registry(&format!("keyed {store}"));
        let image = format!("docker://{}/shared:1", server.host());
        let key = tempfile::NamedTempFile::new().unwrap();
        let check = |text: &str| {
            let mut command = with(&store);
            command.args(["check", "--report", "json", &image]);
            if !text.is_empty() {
                fs::write(key.path(), text).unwrap();
                command.arg("--cache-key-file").arg(key.path());
            }
            let run = Run::of(&mut command);
            assert_eq!(run.report()["warnings"], json!([]), "{store}");
            blobs(&server)
        };
        let (first, other) = ("the first key, 16", "another key of 16");
        assert_eq!([check(first), check(first)], [2, 2], "{store}");
        assert_eq!([check(other), check(other), check(first)], [4, 4, 4], "{store}");
        assert_eq!([check(""), check(""), check(other)], [6, 6, 6], "{store}");
    }
}

#[test]
fn a_redis_that_speaks_no_tls_or_wants_a_password_is_told_of_in_words() {
    let Some(store) = real_part("a Redis server", "IMGLINT_TEST_REDIS") else { return };
    let server = registry("words");
    let host = store.rsplit('@').next().unwrap();
    for (cache, expected) in [
        (store.replace("redis://", "rediss://"), "does the server speak TLS? redis:// asks without"),
        (format!("redis://{host}"), "the server wants a password"),
        (format!("redis://:s3cr3t@{host}"), "the server refuses the name or the password"),
        (format!("redis://name:s3cr3t@{host}"), "the server refuses the name or the password"),
        (store.replace("/0", "/99999"), "the server says ERR "),
    ] {
        let warnings = check(&cache, &server).report()["warnings"].to_string();
        assert!(warnings.contains(expected), "{warnings}");
        let info = Run::of(with(&cache).args(["cache", "info"]));
        assert!(info.one_clear_line().contains(expected) && !info.stderr.contains("s3cr3t"), "{}", info.stderr);
    }
}

#[test]
fn what_it_holds_is_told_and_removed_and_nothing_else() {
    let Some(_) = real_part("an S3 server", "IMGLINT_TEST_S3") else { return };
    let (store, below) = ("s3://imglint/told", "s3://imglint/told/below");
    let server = registry("told");
    let said_of = |store: &str, action: &str| Run::of(with(store).args(["cache", action])).stdout;
    let said = |action: &str| said_of(store, action);
    for store in [store, below] {
        said_of(store, "clear");
        check(store, &server);
    }
    assert!(said("info").starts_with("s3://imglint/told: 3 entries, "), "{}", said("info"));
    assert!(said("clear").starts_with("s3://imglint/told: removed 3 entries, "));
    assert_eq!(said("info"), "s3://imglint/told: 0 entries, 0 bytes\n");
    assert!(said_of(below, "info").starts_with("s3://imglint/told/below: 3 entries"));
}

#[test]
fn a_damaged_entry_is_read_again_and_mended() {
    let Some(store) = real_part("a Redis server", "IMGLINT_TEST_REDIS") else { return };
    // A database of its own.
    let store = format!("{}/5", store.trim_end_matches("/0"));
    let mut redis = redis::Client::open(store.as_str()).unwrap().get_connection().unwrap();
    redis.flushdb::<()>().unwrap();
    let server = registry("damaged");
    check(&store, &server);
    let keys: Vec<String> = redis.scan_match("imglint/*").unwrap().map(Result::unwrap).collect();
    let made: HashMap<String, Vec<u8>> = keys.into_iter().map(|key| (key.clone(), redis.get(&key).unwrap())).collect();
    let layer = made.iter().find(|(key, _)| key.contains("/blob-sha256-")).unwrap();
    for damaged in [&layer.1[..20], &layer.1.iter().rev().copied().collect::<Vec<_>>()[..]] {
        redis.set::<_, _, ()>(layer.0, damaged).unwrap();
        let asked = blobs(&server);
        check(&store, &server);
        assert_eq!(blobs(&server), asked + 1);
        assert_eq!(redis.get::<_, Vec<u8>>(layer.0).unwrap(), *layer.1);
    }
    let left: i64 = redis.ttl(layer.0).unwrap();
    assert!(left > 20 * 24 * 3600, "{left} s");
}

#[test]
fn a_cache_that_fails_is_told_of_and_costs_no_verdict() {
    let server = registry("failing");
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = silent.local_addr().unwrap();
    let mut caches = vec!["redis://user:s3cret@127.0.0.1:1/0".to_owned(), format!("redis://{silent}/")];
    if let Some(redis) = real_part("a Redis server", "IMGLINT_TEST_REDIS") {
        let host = redis.rsplit('@').next().unwrap();
        caches.push(format!("redis://:s3cret@{host}"));
    }
    if real_part("an S3 server", "IMGLINT_TEST_S3").is_some() {
        caches.push("s3://no-such-bucket/".to_owned());
    }
    for cache in caches {
        let run = check(&cache, &server);
        assert_eq!(run.result()["verdict"], "incompatible");
        let warnings = run.report()["warnings"].to_string();
        let place = cache.rsplit('@').next().unwrap().trim_start_matches("redis://");
        assert!(warnings.contains(place) && warnings.contains("is of no use"), "{warnings}");
        assert!(!format!("{}{}", run.stdout, run.stderr).contains("s3cret"));
        let line = Run::of(with(&cache).args(["cache", "info"])).one_clear_line().to_owned();
        assert!(line.starts_with("imglint: cannot look at ") && !line.contains("s3cret"), "{line}");
    }
    let wrong = Run::of(with("ftp://host/").args(["cache", "info"]));
    assert!(wrong.code == 2 && wrong.stderr.contains("neither a folder nor an address"), "{}", wrong.stderr);
}
