//! Manifests, indexes and configurations: verified, bounded, and refused when they are something else.

use super::*;

#[test]
fn a_manifest_comes_with_its_media_type_and_digest() {
    let server = LyingRegistry::start(|_| Reply::ok(MANIFEST).with("Content-Type", format!("{OCI_MANIFEST}; x=y")));
    let registry = open(&server);
    let fetched = registry.root().unwrap();
    assert_eq!(fetched.bytes, MANIFEST);
    assert_eq!(fetched.media_type, OCI_MANIFEST);
    assert_eq!(fetched.digest, Digest::of(MANIFEST));
    assert_eq!(registry.bytes_fetched().unwrap_or_default(), MANIFEST.len() as u64);
    let seen = &server.seen()[0];
    assert_eq!(seen.path, "/v2/team/app/manifests/1");
    assert!(seen.header("accept").unwrap().contains(OCI_MANIFEST));
    assert_eq!(seen.header("user-agent"), Some(concat!("imglint/", env!("CARGO_PKG_VERSION"))));
}

#[test]
fn another_document_than_the_digest_names_is_refused() {
    let server = LyingRegistry::start(|_| Reply::ok(MANIFEST));
    let wanted = Digest::of(b"something else");
    let registry = open_as(&server.host(), &format!("@{wanted}"), &options());
    fails(registry.root(), ErrorKind::Broken, &[&wanted.to_string(), &Digest::of(MANIFEST).to_string()]);
}

#[test]
fn another_document_than_the_registry_announces_is_refused() {
    let announced = Digest::of(b"something else").to_string();
    let server = LyingRegistry::start(move |_| Reply::ok(MANIFEST).with("Docker-Content-Digest", &announced));
    fails(open(&server).root(), ErrorKind::Broken, &["instead of sha256:"]);
}

#[test]
fn a_signed_schema_1_manifest_is_handed_on_whatever_its_digest() {
    let body = r#"{"schemaVersion":1,"architecture":"amd64","signatures":[]}"#;
    let kind = "application/vnd.docker.distribution.manifest.v1+prettyjws";
    let digest = Digest::of(b"the signed part").to_string();
    let reply = move |body: &str| Reply::ok(body).with("Content-Type", kind).with("Docker-Content-Digest", &digest);
    let lie = reply.clone();
    assert_eq!(open(&LyingRegistry::start(move |_| reply(body))).root().unwrap().bytes, body.as_bytes());
    let server = LyingRegistry::start(move |_| lie(r#"{"schemaVersion":2}"#));
    fails(open(&server).root(), ErrorKind::Broken, &["instead of"]);
}

#[test]
fn an_endless_document_is_not_read_to_its_end() {
    let registry = open(&LyingRegistry::start(|_| Reply::ok("").endless()));
    fails(registry.root(), ErrorKind::Broken, &["larger than 4194304 bytes"]);
    assert!(registry.bytes_fetched().unwrap_or_default() <= LARGEST_DOCUMENT + 1);
}

#[test]
fn a_web_page_is_not_a_document() {
    let server = LyingRegistry::start(|_| Reply::ok("<html>").with("Content-Type", "text/html; charset=utf-8"));
    fails(open(&server).root(), ErrorKind::Broken, &["web page"]);
}

#[test]
fn an_image_that_is_not_there_is_named_and_may_be_private() {
    let server = LyingRegistry::start(|_| Reply::error(404, "MANIFEST_UNKNOWN", "manifest unknown"));
    fails(open(&server).root(), ErrorKind::NotFound, &["team/app:1", "manifest unknown", "private"]);
    let (options, _folder) = login(&server.host(), ENTRY);
    let text = fails(open_as(&server.host(), ":1", &options).root(), ErrorKind::NotFound, &["manifest unknown"]);
    assert!(!text.contains("private"), "{text}");
}

#[test]
fn what_a_registry_says_cannot_steer_the_terminal() {
    let server = LyingRegistry::start(|_| Reply::error(404, "NAME_UNKNOWN", "\u{1b}]0;x\u{7}\r\n\u{202e}gone"));
    fails(open(&server).root(), ErrorKind::NotFound, &["\\u{1b}]0;x", "gone"]);
    let long = LyingRegistry::start(|_| Reply::error(400, "X", &"y".repeat(5000)));
    assert!(fails(open(&long).root(), ErrorKind::Broken, &["400"]).len() < 500);
}

#[test]
fn what_a_descriptor_points_to_must_be_what_it_says() {
    let server = LyingRegistry::start(|_| Reply::ok(b"{}"));
    let registry = open(&server);
    let descriptor = |content: &[u8], size: usize| -> Descriptor {
        let json = serde_json::json!({"digest": Digest::of(content).to_string(), "size": size});
        serde_json::from_value(json).unwrap()
    };
    assert_eq!(registry.configuration(&descriptor(b"{}", 2)).unwrap(), b"{}");
    assert_eq!(registry.manifest(&descriptor(b"{}", 2)).unwrap(), b"{}");
    fails(registry.configuration(&descriptor(b"{}", 9)), ErrorKind::Broken, &["ended after 2 of 9 bytes"]);
    fails(registry.configuration(&descriptor(b"{}", 1)), ErrorKind::Broken, &["has 2 bytes"]);
    fails(registry.configuration(&descriptor(b"[]", 2)), ErrorKind::Broken, &["instead of"]);
    fails(registry.manifest(&descriptor(b"{}", usize::MAX / 4)), ErrorKind::Broken, &["allowed"]);
    let paths: Vec<_> = server.seen().iter().map(|seen| seen.path.clone()).collect();
    let digest = Digest::of(b"{}");
    assert_eq!(paths[..2], [format!("/v2/team/app/blobs/{digest}"), format!("/v2/team/app/manifests/{digest}")]);
}
