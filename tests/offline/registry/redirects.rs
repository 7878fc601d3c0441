//! Redirects: followed without taking secrets along.

use super::*;

#[test]
fn another_host_gets_no_authorization() {
    let storage = Arc::new(LyingRegistry::start(|_| Reply::ok(content())));
    for target in ["127.0.0.1", "localhost"] {
        let url = format!("http://me:hunter2@{target}:{}/x?signature=hunter2", storage.port());
        let server = LyingRegistry::start(move |seen| match seen.header("authorization") {
            Some(BASIC) => Reply::redirect(&url),
            _ => Reply::challenge("Basic realm=\"x\""),
        });
        let (options, _folder) = login(&server.host(), ENTRY);
        let registry = open_as(&server.host(), ":1", &options);
        assert_eq!(blob(&registry, &Digest::of(b""), content().len()).unwrap(), content());
    }
    assert_eq!(storage.seen().len(), 2);
    assert!(storage.seen().iter().all(|seen| seen.header("authorization").is_none()));
}

#[test]
fn the_same_host_gets_it_again_unless_the_redirect_had_left() {
    let server = LyingRegistry::start(|seen| match (seen.header("authorization"), seen.path.as_str()) {
        (None, "/back") => Reply::ok("{}"),
        (None, "/own") => Reply::ok("[]"),
        (None, _) => Reply::challenge("Basic realm=\"x\""),
        (Some(_), "/own") => Reply::ok("{}"),
        (Some(_), _) => Reply::redirect("/own"),
    });
    let (options, _folder) = login(&server.host(), ENTRY);
    assert_eq!(open_as(&server.host(), ":1", &options).root().unwrap().bytes, b"{}");
    let port = server.port();
    let back = LyingRegistry::start(move |_| Reply::redirect(format!("http://127.0.0.1:{port}/back")));
    let away = back.host();
    let start = LyingRegistry::start(move |_| Reply::redirect(format!("http://{away}/")));
    assert_eq!(open(&start).root().unwrap().bytes, b"{}");
}

#[test]
fn storage_that_refuses_is_named_without_its_signed_url() {
    let storage = LyingRegistry::start(|_| Reply::new(403, "<Error>\n<Code>AccessDenied</Code></Error>"));
    let url = format!("http://{}/x?signature=hunter2", storage.host());
    let server = LyingRegistry::start(move |_| Reply::redirect(&url));
    fails(blob(&open(&server), &Digest::of(b""), 10), ErrorKind::Denied, &[&storage.host(), "403"]);
}

#[test]
fn a_cut_download_starts_again_at_the_registry() {
    let storage =
        one_after_another(vec![|_| Reply::ok(content()).cut_after(1000), |seen| Reply::rest(&content(), seen.from())]);
    let host = storage.host();
    let count = AtomicUsize::new(0);
    let server = LyingRegistry::start(move |_| {
        Reply::redirect(format!("http://{host}/x?signature={}", count.fetch_add(1, Ordering::SeqCst)))
    });
    assert_eq!(blob(&open(&server), &Digest::of(b""), content().len()).unwrap(), content());
    let paths: Vec<_> = storage.seen().iter().map(|seen| (seen.path.clone(), seen.from())).collect();
    assert_eq!(paths, [("/x?signature=0".to_owned(), 0), ("/x?signature=1".to_owned(), 1000)]);
}

#[test]
fn circles_and_other_schemes_are_refused() {
    let circle = LyingRegistry::start(|seen| Reply::redirect(&seen.path));
    fails(open(&circle).root(), ErrorKind::Broken, &["more than 10 times"]);
    assert_eq!(circle.seen().len(), 11);
    let file = LyingRegistry::start(|_| Reply::redirect("file:///etc/passwd"));
    fails(open(&file).root(), ErrorKind::Broken, &["redirects"]);
    let nowhere = LyingRegistry::start(|_| Reply::new(307, ""));
    fails(open(&nowhere).root(), ErrorKind::Broken, &["to nowhere"]);
}
