//! What passes and is tried again, and what does not and is told.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use imglint::image::registry::StreamLimits;

use super::*;

#[test]
fn what_passes_is_waited_out() {
    let server = one_after_another(vec![
        |_| Reply::error(429, "TOOMANYREQUESTS", "slow down").with("Retry-After", "3600"),
        |_| Reply::new(503, "").with("Retry-After", "Mon, 23 Nov 2099 10:00:00 GMT"),
        |_| Reply::ok(MANIFEST).cut_after(10),
        |_| Reply::ok(MANIFEST),
    ]);
    assert_eq!(open(&server).root().unwrap().bytes, MANIFEST);
}

#[test]
fn too_many_requests_for_ever_are_told() {
    let server = LyingRegistry::start(|_| Reply::error(429, "TOOMANYREQUESTS", "pull rate limit"));
    fails(open(&server).root(), ErrorKind::Unreachable, &["no more requests", "429", "pull rate limit"]);
    assert_eq!(server.seen().len(), 4);
}

#[test]
fn a_registry_of_this_machine_may_speak_plain_http() {
    let server = LyingRegistry::start(|_| Reply::ok(MANIFEST));
    let options = RegistryOptions { insecure: Vec::new(), ..options() };
    assert_eq!(open_as(&server.host(), ":1", &options).root().unwrap().bytes, MANIFEST);
    let by_name = format!("localhost:{}", server.port());
    assert_eq!(open_as(&by_name, ":1", &options).root().unwrap().bytes, MANIFEST);
}

#[test]
fn a_host_where_nobody_listens_is_told() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let host = listener.local_addr().unwrap().to_string();
    drop(listener);
    let outcome = Registry::open(&format!("{host}/team/app").parse().unwrap(), &options());
    fails(outcome, ErrorKind::Unreachable, &["nobody answers", &host]);
}

#[test]
fn a_host_that_speaks_plain_http_where_https_is_wanted_is_told() {
    let plain = LyingRegistry::start(|_| Reply::ok(MANIFEST));
    let url = format!("https://localhost:{}/", plain.port());
    let server = LyingRegistry::start(move |_| Reply::redirect(&url));
    let words = ["speaks plain HTTP", "--insecure-registry localhost:"];
    fails(open(&server).root(), ErrorKind::Unreachable, &words);
}

#[test]
fn no_wait_goes_beyond_the_time_limit() {
    let server = LyingRegistry::start(|_| Reply::new(503, "").with("Retry-After", "60"));
    let retries = Retries { longest_asked: Duration::from_secs(60), ..options().retries };
    let limited = RegistryOptions { timeout: Some(Duration::from_secs(2)), retries, ..options() };
    let started = Instant::now();
    fails(open_as(&server.host(), ":1", &limited).root(), ErrorKind::Unreachable, &["503"]);
    assert!(started.elapsed() < Duration::from_secs(2));
}

#[test]
fn a_registry_that_says_too_many_gets_fewer_streams_at_a_time() {
    const ALLOWED: usize = 2;
    let open = Arc::new(AtomicUsize::new(0));
    let refused = Arc::new(AtomicUsize::new(0));
    let (now, refusals) = (Arc::clone(&open), Arc::clone(&refused));
    let server = LyingRegistry::start(move |_| {
        let count = now.fetch_add(1, Ordering::SeqCst) + 1;
        thread::sleep(Duration::from_millis(20));
        now.fetch_sub(1, Ordering::SeqCst);
        if count <= ALLOWED {
            return Reply::ok(b"layer");
        }
        refusals.fetch_add(1, Ordering::SeqCst);
        Reply::error(429, "TOOMANYREQUESTS", "slow down")
    });
    let retries = Retries { tries: 100, ..options().retries };
    let options = RegistryOptions { streams: Arc::new(StreamLimits::new(8)), retries, ..options() };
    let registry = open_as(&server.host(), ":1", &options);
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..8 {
                    assert_eq!(blob(&registry, &Digest::of(b"layer"), 5).unwrap(), b"layer");
                }
            });
        }
    });
    // 64 blobs; who keeps knocking with eight streams is refused several times for each of them.
    let refused = refused.load(Ordering::SeqCst);
    assert!((1..64).contains(&refused), "{refused}");
}

#[test]
fn a_proxy_that_cannot_be_read_is_an_error_and_nothing_goes_out_directly() {
    let server = LyingRegistry::start(|_| Reply::ok(MANIFEST));
    let port = server.port();
    for variable in ["HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"] {
        for value in ["http://puser:PROXY PW@bad host:1", "http://PROXYPW@proxy:99999", "ftp://PROXYPW@proxy:21"] {
            let mut command = crate::support::program();
            // A name that leads here, and that only a name server could tell from another.
            let image = format!("docker://localhost.localdomain:{port}/team/app:1");
            command.args(["check", "--report", "json", "--insecure-registry", "localhost.localdomain", &image]);
            let run = crate::support::Run::of(command.env(variable, value));
            run.fails_saying(&[variable, "does not name a proxy"]);
            assert!(!run.stderr.contains("PROXY PW") && !run.stderr.contains("PROXYPW"), "{}", run.stderr);
            assert!(!run.stdout.contains("PROXY PW") && !run.stdout.contains("PROXYPW"), "{}", run.stdout);
        }
    }
    assert!(server.seen().is_empty());
    // This machine needs none.
    let mut command = crate::support::program();
    command.args(["check", "--report", "json", &format!("docker://{}/team/app:1", server.host())]);
    let run = crate::support::Run::of(command.env("HTTPS_PROXY", "http://bad host"));
    assert!(!run.stderr.contains("HTTPS_PROXY"), "{}", run.stderr);
}
