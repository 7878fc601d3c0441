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

#[test]
fn what_a_host_that_was_redirected_to_says_is_not_shown() {
    for body in
        [r#"{"errors":[{"code":"X","message":"INTERNAL PAGE"}]}"#, "INTERNAL PAGE", r#"{"message":"INTERNAL PAGE"}"#]
    {
        for status in [400, 401, 403, 404, 418, 429, 500, 503] {
            let internal = LyingRegistry::start(move |_| Reply::new(status, body).with("X-Secret", "INTERNAL PAGE"));
            let url = format!("http://{}/admin?x=1", internal.host());
            let server = LyingRegistry::start(move |_| Reply::redirect(&url));
            let registry = open(&server);
            for error in [registry.root().err().unwrap(), blob(&registry, &Digest::of(b""), 10).err().unwrap()] {
                let text = error.to_string();
                assert!(text.contains(&internal.host()) && !text.contains("INTERNAL"), "{status}: {text}");
            }
        }
    }
    // That of the registry itself is.
    let own = LyingRegistry::start(|_| Reply::error(500, "X", "out of space"));
    fails(open(&own).root(), ErrorKind::Unreachable, &["500", "out of space"]);
}

#[test]
fn what_a_token_server_elsewhere_says_is_shown_only_in_the_form_of_one() {
    let said = |answer: fn() -> Reply| {
        let internal = LyingRegistry::start(move |_| answer());
        let realm = format!(r#"Bearer realm="http://{}/admin""#, internal.host());
        let server = LyingRegistry::start(move |_| Reply::challenge(&realm));
        open(&server).root().err().unwrap().to_string()
    };
    for answer in [
        (|| Reply::new(500, "INTERNAL PAGE")) as fn() -> Reply,
        || Reply::new(404, r#"{"message":"INTERNAL PAGE"}"#),
        || Reply::ok("INTERNAL PAGE"),
        || Reply::redirect("/elsewhere?INTERNAL"),
    ] {
        let text = said(answer);
        assert!(!text.contains("INTERNAL"), "{text}");
    }
    let text = said(|| Reply::new(401, r#"{"details":"incorrect username or password"}"#));
    assert!(text.contains("incorrect username or password"), "{text}");
    // A token server that leads on to another host says nothing either.
    let internal = LyingRegistry::start(|_| Reply::new(401, r#"{"details":"INTERNAL PAGE"}"#));
    let url = format!("http://{}/admin", internal.host());
    let server = LyingRegistry::start(move |seen| match seen.path.starts_with("/token") {
        true => Reply::redirect(&url),
        false => Reply::challenge(format!(r#"Bearer realm="http://{}/token""#, seen.header("host").unwrap())),
    });
    let text = open(&server).root().err().unwrap().to_string();
    assert!(!text.contains("INTERNAL"), "{text}");
}

#[test]
fn a_place_outside_of_ascii_is_followed() {
    let server = LyingRegistry::start(|seen| match seen.path.as_str() {
        "/store/%C3%A9" => Reply::ok(MANIFEST),
        _ => Reply::redirect("/store/\u{e9}"),
    });
    assert_eq!(open(&server).root().unwrap().bytes, MANIFEST);
}
