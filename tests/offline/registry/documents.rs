//! Manifests, indexes and configurations: verified, bounded, and refused when they are something else.

use super::*;

fn descriptor(content: &[u8], size: usize) -> Descriptor {
    Descriptor {
        media_type: String::new(),
        digest: Digest::of(content),
        size: size as u64,
        urls: Vec::new(),
        platform: None,
        annotations: BTreeMap::new(),
        artifact_type: None,
    }
}

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
fn a_signed_schema_1_manifest_has_the_digest_of_what_is_signed() {
    let payload = "{\n   \"schemaVersion\": 1,\n   \"architecture\": \"amd64\"\n}";
    // {"formatLength":51,"formatTail":"Cn0"}
    let protected = "eyJmb3JtYXRMZW5ndGgiOjUxLCJmb3JtYXRUYWlsIjoiQ24wIn0";
    let signed = payload.replace("\n}", &format!(",\n   \"signatures\": [{{\"protected\": \"{protected}\"}}]\n}}"));
    assert_eq!(payload.len() - 2, 51);
    let digest = Digest::of(payload.as_bytes());
    let reply = |body: &str| {
        let body = body.to_owned();
        LyingRegistry::start(move |_| {
            Reply::ok(&body).with("Content-Type", "application/vnd.docker.distribution.manifest.v1+prettyjws")
        })
    };
    let root = |body: &str| open_as(&reply(body).host(), &format!("@{digest}"), &options()).root();
    assert_eq!(root(&signed).unwrap().bytes, signed.as_bytes());
    fails(root(&signed.replace("amd64", "arm64")), ErrorKind::Broken, &["instead of"]);
    fails(root(r#"{"schemaVersion":1,"signatures":[]}"#), ErrorKind::Broken, &["instead of"]);
}

#[test]
fn no_content_type_turns_the_digest_of_a_part_off() {
    for kind in ["application/vnd.docker.distribution.manifest.v1+prettyjws", "text/html", OCI_MANIFEST] {
        let server = LyingRegistry::start(move |_| Reply::ok(r#"{"schemaVersion":1}"#).with("Content-Type", kind));
        let registry = open(&server);
        let wanted = descriptor(br#"{"schemaVersion":2}"#, 19);
        fails(registry.configuration(&wanted), ErrorKind::Broken, &[]);
        fails(registry.manifest(&wanted), ErrorKind::Broken, &[]);
    }
}

#[test]
fn a_configuration_that_is_served_as_a_web_page_is_read() {
    let server = LyingRegistry::start(|_| Reply::ok(b"{}").with("Content-Type", "text/html; charset=utf-8"));
    assert_eq!(open(&server).configuration(&descriptor(b"{}", 2)).unwrap(), b"{}");
    fails(open(&server).configuration(&descriptor(b"[]", 2)), ErrorKind::Broken, &["sends a web page"]);
}

#[test]
fn a_coding_that_was_not_asked_for_is_named() {
    let packed = crate::support::image::gzip(MANIFEST);
    let server = LyingRegistry::start(move |_| Reply::ok(&packed).with("Content-Encoding", "gzip"));
    fails(open(&server).root(), ErrorKind::Broken, &["Content-Encoding: gzip"]);
    assert_eq!(server.seen()[0].header("accept-encoding"), Some("identity"));
    // Some registries say so of what is as it is.
    let server = LyingRegistry::start(|_| Reply::ok(MANIFEST).with("Content-Encoding", "gzip"));
    assert_eq!(open(&server).root().unwrap().bytes, MANIFEST);
}

#[test]
fn a_document_that_comes_byte_by_byte_is_given_up() {
    let server = LyingRegistry::start(|_| Reply::ok([b' '; 4000]).slowly(Duration::from_millis(5)));
    let options = RegistryOptions { document_time: Duration::from_millis(100), ..options() };
    fails(open_as(&server.host(), ":1", &options).root(), ErrorKind::Unreachable, &["too slow", "bytes in 0.1 s"]);
    assert_eq!(server.seen().len(), 1, "another try would not be faster");
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
    assert_eq!(registry.configuration(&descriptor(b"{}", 2)).unwrap(), b"{}");
    assert_eq!(registry.manifest(&descriptor(b"{}", 2)).unwrap(), b"{}");
    fails(registry.configuration(&descriptor(b"{}", 9)), ErrorKind::Broken, &["has 2 bytes", "size 9"]);
    fails(registry.configuration(&descriptor(b"{}", 1)), ErrorKind::Broken, &["has 2 bytes", "size 1"]);
    fails(registry.configuration(&descriptor(b"[]", 2)), ErrorKind::Broken, &["instead of"]);
    fails(registry.manifest(&descriptor(b"{}", usize::MAX / 4)), ErrorKind::Broken, &["allowed"]);
    let paths: Vec<_> = server.seen().iter().map(|seen| seen.path.clone()).collect();
    let digest = Digest::of(b"{}");
    assert_eq!(paths[..2], [format!("/v2/team/app/blobs/{digest}"), format!("/v2/team/app/manifests/{digest}")]);
}
