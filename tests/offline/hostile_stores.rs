//! Stores of a shared cache that answer slowly, too much or not to the point, and what the user says of them wrongly.

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::cache::registry;
use crate::hostile_caches::in_time;
use crate::support::caching::{image, told};
use crate::support::fake_redis::{Answer, FakeRedis};
use crate::support::forged_entries as forged;
use crate::support::image::{Tar, TestImage, gzip};
use crate::support::lying_registry::{LyingRegistry, Reply};
use crate::support::{Run, imglint, program};
use imglint::digest::Digest;
use imglint::layer::{IndexBuilder, Kind, LayerIndex, NewEntry};
use serde_json::{Value, json};

/// What the program may take at its peak, whatever a store answers.
#[cfg(target_os = "linux")]
const MOST: u64 = 256 << 20;

/// `imglint` with this cache and no credentials but those that a test gives it.
fn with(cache: &str) -> Command {
    let mut command = program();
    for (name, _) in std::env::vars_os() {
        if ["AWS_", "AZURE_", "GOOGLE_"].iter().any(|prefix| name.to_string_lossy().starts_with(prefix)) {
            command.env_remove(name);
        }
    }
    command.env_remove("IMGLINT_NO_CACHE").env("IMGLINT_CACHE", cache);
    command
}

fn checks(cache: &str, server: &LyingRegistry) -> Command {
    let mut command = with(cache);
    command.args(["check", "--report", "json", &format!("docker://{}/images:0", server.host())]);
    command
}

/// A check with this cache is as one without, but for a warning, which is given.
fn warning(command: &mut Command, server: &LyingRegistry) -> String {
    let without = imglint(["check", "--report", "json", &format!("docker://{}/images:0", server.host())]);
    let run = in_time(command, 60);
    let (mut report, mut expected) = (told(&run), told(&without));
    let warnings = report["warnings"].take();
    expected["warnings"].take();
    assert!(report == expected && run.code == without.code, "{warnings}\n{}", run.stderr);
    let warnings: Vec<&str> = warnings.as_array().unwrap().iter().filter_map(Value::as_str).collect();
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    warnings[0].to_owned()
}

#[test]
fn a_redis_that_drips_ends_with_the_deadline() {
    let server = registry(&[&image("a")], false);
    let pause = Duration::from_millis(700);
    for slow in ["PING", "GETRANGE", "EXPIRE", "SETEX"] {
        let redis = FakeRedis::start(move |command| match Answer::usual(command) {
            Answer::Bytes(_) if command[0] == slow.as_bytes() => Answer::Drip(vec![b'+'; 1000], pause),
            usual => usual,
        });
        let start = Instant::now();
        let said = warning(checks(&redis.cache(), &server).args(["--timeout", "8"]), &server);
        assert!(said.contains("is of no use: no answer within 2 s"), "{slow}: {said}");
        // Every question has its own deadline, and after one that is not answered there is no other.
        assert!(start.elapsed() < Duration::from_secs(30), "{slow}: {:?}", start.elapsed());
        let info = in_time(with(&redis.cache()).args(["cache", "info"]), 60);
        assert_eq!(slow == "PING", info.code == 2, "{slow}: {}", info.stderr);
    }
}

#[test]
fn a_redis_whose_answers_are_all_slow_is_given_up() {
    let server = registry(&[&image("a")], false);
    let redis = FakeRedis::start(|command| {
        if command[0] == b"GETRANGE" {
            std::thread::sleep(Duration::from_millis(1500));
        }
        Answer::usual(command)
    });
    let said = warning(checks(&redis.cache(), &server).args(["--timeout", "8"]), &server);
    assert!(said.contains("its slow answers have taken 4."), "{said}");
    assert_eq!(redis.asked("GETRANGE"), 3);
}

#[test]
fn what_keeps_a_redis_from_answering_is_said_in_words() {
    let server = registry(&[&image("a")], false);
    let refusing = |answer: &'static str| FakeRedis::start(move |_| Answer::of(answer)).cache();
    let https = LyingRegistry::start_tls(false, |_| Reply::ok(""));
    let silent = FakeRedis::start(|_| Answer::Silence).cache();
    let tls = |cache: &str| cache.replace("redis://", "rediss://");
    for (cache, expected) in [
        (refusing("-NOAUTH Authentication required.\r\n"), "the server wants a password (redis://:PASSWORD@host"),
        (refusing("-WRONGPASS invalid username-password pair\r\n"), "the server refuses the name or the password"),
        (refusing("-LOADING Redis is \u{1b}[31mloading\r\n"), "the server says LOADING Redis is \\u{1b}[31mloading"),
        (refusing("HTTP/1.1 400 Bad Request\r\n\r\n"), "what answers is no Redis server"),
        (format!("redis://{}/0", https.host()), "the server speaks TLS: the address begins with rediss://"),
        // What a server without TLS takes for the greeting is no command, and ends the connection.
        (tls(&refusing("-ERR\r\n")), "does the server speak TLS? redis:// asks without"),
        (tls(&silent), "does the server speak TLS? redis:// asks without"),
        (tls(&format!("redis://{}/0", https.host())), "invalid peer certificate"),
    ] {
        let said = warning(&mut checks(&cache, &server), &server);
        assert!(said.contains("is of no use: ") && said.contains(expected), "{cache}: {said}");
        let info = in_time(with(&cache).args(["cache", "info"]), 60);
        assert!(info.one_clear_line().contains(expected), "{cache}: {}", info.stderr);
    }
}

#[test]
fn a_redis_answers_no_more_than_is_asked_for() {
    let server = registry(&[&image("a")], false);
    for answer in ["$9000000000\r\n", "$18446744073709551616\r\n", "*1000000000\r\n", "%1000000000\r\n", "$-2\r\n"] {
        let redis = FakeRedis::start(move |command| match command[0].as_slice() {
            b"GETRANGE" => Answer::of(answer),
            _ => Answer::usual(command),
        });
        let said = warning(&mut checks(&redis.cache(), &server), &server);
        assert!(said.contains("is of no use: "), "{answer:?}: {said}");
    }
}

#[test]
fn a_forged_index_in_a_store_is_not_believed_by_who_verifies_layers() {
    let server = registry(&[&image("a")], false);
    let stored = gzip(&image("a").layers()[0].tar);
    let index = imglint::layer::scan(&[0_u8; 1024][..]).unwrap();
    let entry = forged::of_layer(&Digest::of(&stored), stored.len(), &index);
    let name = forged::name(&Digest::of(&stored));
    let redis = FakeRedis::start(move |command| match command[0].as_slice() {
        b"GETRANGE" if command[1].ends_with(name.as_bytes()) => Answer::content(&entry),
        _ => Answer::usual(command),
    });
    let honest = told(&imglint(["check", "--report", "json", &format!("docker://{}/images:0", server.host())]));
    let key = tempfile::NamedTempFile::new().unwrap();
    fs::write(key.path(), "0123456789abcdef").unwrap();
    let check = |arguments: &[&str]| told(&Run::of(checks(&redis.cache(), &server).args(arguments)));
    assert!(check(&[]) != honest, "without a key everybody who writes there is trusted");
    assert!(check(&["--verify-layers"]) == honest);
    assert!(check(&["--cache-key-file", key.path().to_str().unwrap()]) == honest);
}

#[test]
fn a_bucket_that_answers_without_end_or_not_at_all_costs_a_warning() {
    let server = registry(&[&image("a")], false);
    type MakesReply = fn() -> Reply;
    let answers: [(&str, MakesReply); 5] = [
        ("endless", || Reply::ok("").endless()),
        ("endless error", || Reply::new(403, "").endless()),
        ("endless absence", || Reply::new(404, "").endless()),
        ("silence", || Reply::ok(vec![0; 1000]).silent_after(10)),
        ("refusal", || Reply::new(403, "<Error><Code>\u{1b}[31m</Code></Error>")),
    ];
    for (what, answer) in answers {
        let bucket = LyingRegistry::start(move |_| answer());
        let mut command = checks("s3://bucket/prefix", &server);
        for (name, value) in [
            ("AWS_ENDPOINT", format!("http://{}", bucket.host())),
            ("AWS_ALLOW_HTTP", "true".to_owned()),
            ("AWS_ACCESS_KEY_ID", "key".to_owned()),
            ("AWS_SECRET_ACCESS_KEY", "s3cr3t".to_owned()),
        ] {
            command.env(name, value);
        }
        let said = warning(command.args(["--timeout", "8"]), &server);
        assert!(said.contains("the cache s3://bucket/prefix is of no use: "), "{what}: {said}");
        assert!(!said.contains("s3cr3t") && !said.contains('\u{1b}'), "{what}: {said}");
    }
}

#[test]
fn a_line_end_behind_a_secret_is_left_out_and_told_of() {
    let server = registry(&[&image("a")], false);
    let bucket = LyingRegistry::start(|seen| match seen.header("x-amz-security-token") {
        Some("T0K3N") => Reply::new(404, ""),
        _ => Reply::new(403, ""),
    });
    let mut command = checks("s3://bucket/prefix", &server);
    command.env("AWS_ENDPOINT", format!("http://{}", bucket.host())).env("AWS_ALLOW_HTTP", "true");
    command.env("AWS_ACCESS_KEY_ID", "key").env("AWS_SECRET_ACCESS_KEY", "s3cr3t").env("AWS_SESSION_TOKEN", "T0K3N\n");
    let run = in_time(&mut command, 60);
    let warnings = run.report()["warnings"].to_string();
    assert!(warnings.contains("AWS_SESSION_TOKEN ends in a line end, which is left out"), "{warnings}");
    assert!(bucket.seen().iter().all(|seen| seen.header("x-amz-security-token") == Some("T0K3N")));
}

#[test]
fn a_malformed_variable_is_an_error_that_names_it_and_not_its_value() {
    for (cache, name, value) in [
        ("s3://b/p", "AWS_SESSION_TOKEN", "s3cr3t\n\n"),
        ("s3://b/p", "AWS_ACCESS_KEY_ID", "s3cr3t\nx"),
        ("s3://b/p", "AWS_SECRET_ACCESS_KEY", "s3cr3t\u{e4}"),
        ("s3://b/p", "AWS_ENDPOINT", "http://u:s3cr3t@bad host"),
        ("s3://b/p", "AWS_ENDPOINT_URL", "http://u:s3cr3t@host:99999"),
        ("az://b/p", "AZURE_STORAGE_ACCOUNT_NAME", "s3cr3t\nx"),
        ("az://b/p", "AZURE_STORAGE_TOKEN", "s3cr3t\r\n\r\n"),
        ("gs://b/p", "GOOGLE_BEARER_TOKEN", "s3cr3t\n\n"),
    ] {
        for arguments in [&["check", "oci:x"][..], &["facts", "oci:x"], &["cache", "info"], &["cache", "clear"]] {
            let run = Run::of(with(cache).env(name, value).args(arguments));
            let line = run.one_clear_line();
            assert!(line.contains(name) && line.contains(cache), "{line}");
            assert!(!format!("{}{}", run.stdout, run.stderr).contains("s3cr3t"), "{line}");
        }
    }
}

#[test]
fn a_malformed_address_is_an_error_without_a_word_of_it() {
    for (cache, expected) in [
        ("reds://:s3cr3tpw@h/0", "did you mean redis://?"),
        ("redis://:s3cr3tpw@127.0.0.1:99999/0", "invalid port number"),
        ("redis://:s3cr3tpw x@127.0.0.1/0", "it has a blank"),
        ("redis://:s3cr3tpw#x@127.0.0.1/0", "# as %23"),
        ("redis://:s3cr3tpw@127.0.0.1/0\n", "a line end"),
        ("redis:/:s3cr3tpw@127.0.0.1/0", ":// follows the scheme"),
        ("https://:s3cr3tpw@127.0.0.1/", "neither a folder nor an address"),
    ] {
        for arguments in [&["check", "oci:x"][..], &["facts", "oci:x"], &["cache", "info"], &["cache", "clear"]] {
            let by_variable = Run::of(with(cache).args(arguments));
            let by_argument = Run::of(with("x").args(arguments).args(["--cache", cache]));
            for (run, name) in [(by_variable, "IMGLINT_CACHE"), (by_argument, "--cache")] {
                let line = run.one_clear_line();
                assert!(line.contains(&format!("the value of {name} is wrong: ")) && line.contains(expected), "{line}");
                assert!(!format!("{}{}", run.stdout, run.stderr).contains("s3cr3tpw"), "{line}");
            }
        }
    }
    // In the wrong place.
    let run = imglint(["cache", "info", "redis://:s3cr3tpw@host/0"]);
    assert!(run.one_clear_line().contains("redis://\u{2026}@host/0"), "{}", run.stderr);
    assert!(!run.stderr.contains("s3cr3tpw"), "{}", run.stderr);
}

/// Runs a command, and gives its peak of resident memory, in bytes.
#[cfg(target_os = "linux")]
fn peak(command: &mut Command) -> (Run, u64) {
    use std::process::Stdio;
    let (out, err) = (tempfile::NamedTempFile::new().unwrap(), tempfile::NamedTempFile::new().unwrap());
    command.stdin(Stdio::null()).stdout(out.reopen().unwrap()).stderr(err.reopen().unwrap());
    let mut child = command.spawn().unwrap();
    let status = format!("/proc/{}/status", child.id());
    let mut peak = 0;
    let exit = loop {
        // The kernel keeps the peak itself; a process that has ended has none any more.
        let text = fs::read_to_string(&status).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kilobytes = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
        peak = peak.max(kilobytes.unwrap_or_default() << 10);
        if let Some(exit) = child.try_wait().unwrap() {
            break exit;
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    let text = |file: &tempfile::NamedTempFile| fs::read_to_string(file.path()).unwrap();
    (Run { code: exit.code().unwrap_or(-1), stdout: text(&out), stderr: text(&err) }, peak)
}

/// Zeros, packed: a gigabyte of them has some thirty kilobytes.
#[cfg(target_os = "linux")]
fn packed_zeros(count: usize) -> Vec<u8> {
    use std::io::Write as _;
    let mut packed = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
    for _ in 0..count >> 20 {
        packed.write_all(&[0; 1 << 20]).unwrap();
    }
    packed.finish().unwrap()
}

#[cfg(target_os = "linux")]
#[test]
fn an_entry_that_unpacks_to_a_gigabyte_takes_no_more_than_others() {
    let server = registry(&[&image("a")], false);
    let usual = peak(checks("x", &server).env("IMGLINT_NO_CACHE", "true")).1;
    let zeros = packed_zeros(1 << 30);
    assert!(zeros.len() < 200 << 10, "{}", zeros.len());
    // It says so, it says less, or it says as much as an entry may have.
    for claimed in [1 << 30, 1000, 32 << 20] {
        let zeros = zeros.clone();
        let redis = FakeRedis::start(move |command| match command[0].as_slice() {
            b"GETRANGE" => {
                let key = String::from_utf8_lossy(&command[1]).into_owned();
                Answer::content(&forged::packed(key.rsplit('/').next().unwrap(), &zeros, claimed))
            }
            _ => Answer::usual(command),
        });
        let (run, peak) = peak(&mut checks(&redis.cache(), &server));
        assert_eq!(run.result()["verdict"], "incompatible");
        assert!(redis.asked("GETRANGE") > 2);
        assert!(peak < usual + (40 << 20), "{claimed}: {peak} bytes, and {usual} without");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn an_entry_of_empty_lists_takes_no_more_than_is_left() {
    let server = registry(&[&image("a")], false);
    let stored = gzip(&image("a").layers()[0].tar);
    let name = forged::name(&Digest::of(&stored));
    let entry = forged::with_empty_names(&Digest::of(&stored), stored.len(), 30_000_000);
    assert!(entry.len() < 1 << 20);
    let redis = FakeRedis::start(move |command| match command[0].as_slice() {
        b"GETRANGE" if command[1].ends_with(name.as_bytes()) => Answer::content(&entry),
        _ => Answer::usual(command),
    });
    let (run, peak) = peak(&mut checks(&redis.cache(), &server));
    assert_eq!(run.result()["verdict"], "incompatible");
    assert!(peak < 120 << 20, "{peak} bytes");
}

/// An index that is right as far as anybody can tell, of many megabytes.
#[cfg(target_os = "linux")]
fn large_index(number: usize) -> LayerIndex {
    let mut builder = IndexBuilder::default();
    for file in 0..200_000 {
        let path = format!("srv/{number}/some/folder/or/other/{file:07}");
        let new = NewEntry { path: &path, kind: Kind::File, mode: 0o644, uid: 0, gid: 0, size: 1, link: "" };
        builder.add(&new, None).unwrap();
    }
    builder.finish(None, 1).unwrap()
}

#[cfg(target_os = "linux")]
#[test]
fn many_large_entries_at_a_time_stay_within_the_budget_of_the_run() {
    let layers = 16;
    let indexes: Vec<Vec<u8>> = (0..4).map(|number| postcard::to_stdvec(&large_index(number)).unwrap()).collect();
    let images: Vec<TestImage> = (0..4)
        .map(|number| {
            (0..layers).fold(TestImage::new(json!({})), |image, layer| {
                let name = format!("srv/{number}/{layer}");
                image.layer("COPY x /", &Tar::default().file(&name, 0o644, name.as_bytes()))
            })
        })
        .collect();
    let entries: std::collections::HashMap<String, Vec<u8>> = images
        .iter()
        .flat_map(TestImage::layers)
        .enumerate()
        .map(|(number, layer)| {
            let stored = gzip(&layer.tar);
            let digest = Digest::of(&stored);
            let size = postcard::to_stdvec(&(stored.len() as u64)).unwrap();
            let name = forged::name(&digest);
            let entry = forged::entry(&name, &[&size[..], &indexes[number % indexes.len()]].concat());
            (name, entry)
        })
        .collect();
    let redis = FakeRedis::start(move |command| match command[0].as_slice() {
        b"GETRANGE" => {
            let key = String::from_utf8_lossy(&command[1]).into_owned();
            entries.get(key.rsplit('/').next().unwrap()).map_or(Answer::usual(command), |entry| Answer::content(entry))
        }
        _ => Answer::usual(command),
    });
    let server = registry(&images.iter().collect::<Vec<_>>(), false);
    let names = (0..images.len()).map(|number| format!("docker://{}/images:{number}", server.host()));
    let mut command = with(&redis.cache());
    command.args(["check", "--report", "json", "--jobs", "8"]).args(names);
    let (run, peak) = peak(&mut command);
    assert_eq!(run.report()["summary"]["checked"], 4, "{}", run.stderr);
    assert_eq!(run.report()["warnings"], json!([]));
    assert!(peak < MOST, "{peak} bytes");
    println!("{} large entries: peak {} MB", 4 * layers, peak >> 20);
}
