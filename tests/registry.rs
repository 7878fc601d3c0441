//! Reading from registries, held against one that can lie, fail and hang.

mod support;

use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use imglint::digest::Digest;
use imglint::image::documents::Documents;
use imglint::image::manifest::{Descriptor, LARGEST_DOCUMENT, OCI_MANIFEST};
use imglint::image::registry::{Places, Registry, RegistryOptions, Retries};
use imglint::image::{Error, ErrorKind};
use support::lying_registry::{LyingRegistry, Reply, Seen};

const MANIFEST: &[u8] = br#"{"schemaVersion":2,"config":{"digest":"sha256:x","size":2},"layers":[]}"#;

/// No waiting, and nothing of the machine the tests run on, not even its certificates.
fn options() -> RegistryOptions {
    let retries = Retries {
        tries: 4,
        first_wait: Duration::ZERO,
        longest_wait: Duration::ZERO,
        longest_asked: Duration::from_millis(1),
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

mod documents {
    use super::*;

    #[test]
    fn a_manifest_comes_with_its_media_type_and_digest() {
        let server = LyingRegistry::start(|_| Reply::ok(MANIFEST).with("Content-Type", format!("{OCI_MANIFEST}; x=y")));
        let registry = open(&server);
        let fetched = registry.root().unwrap();
        assert_eq!(fetched.bytes, MANIFEST);
        assert_eq!(fetched.media_type, OCI_MANIFEST);
        assert_eq!(fetched.digest, Digest::of(MANIFEST));
        assert_eq!(registry.bytes_fetched(), MANIFEST.len() as u64);
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
        assert!(registry.bytes_fetched() <= LARGEST_DOCUMENT + 1);
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
}

mod blobs {
    use super::*;

    fn fetch(server: &LyingRegistry) -> Result<Vec<u8>, Error> {
        blob(&open(server), &Digest::of(&content()), content().len())
    }

    #[test]
    fn a_blob_comes_whole_whether_its_length_is_said_or_not() {
        assert_eq!(fetch(&LyingRegistry::start(|_| Reply::ok(content()))).unwrap(), content());
        assert_eq!(fetch(&LyingRegistry::start(|_| Reply::ok(content()).chunked())).unwrap(), content());
    }

    #[test]
    fn a_shorter_blob_is_told() {
        let words = ["layer 3", "ended after 299999 of 300000 bytes"];
        let short = || Reply::ok(&content()[1..]);
        fails(fetch(&LyingRegistry::start(move |_| short())), ErrorKind::Broken, &words);
        fails(fetch(&LyingRegistry::start(move |_| short().chunked())), ErrorKind::Broken, &words);
    }

    #[test]
    fn a_longer_blob_is_told_and_an_endless_one_ends() {
        let long = || Reply::ok([content(), vec![0]].concat());
        fails(fetch(&LyingRegistry::start(move |_| long())), ErrorKind::Broken, &["does not end after the 300000"]);
        fails(fetch(&LyingRegistry::start(move |_| long().chunked())), ErrorKind::Broken, &["does not end"]);
        fails(fetch(&LyingRegistry::start(|_| Reply::ok("").endless())), ErrorKind::Broken, &["does not end"]);
    }

    #[test]
    fn a_cut_blob_goes_on_where_it_was_cut() {
        let server = one_after_another(vec![
            |_| Reply::ok(content()).with("ETag", "\"a\"").cut_after(200_000),
            |_| Reply::error(503, "BUSY", "busy"),
            |seen| Reply::rest(&content(), seen.from()).with("ETag", "\"a\""),
        ]);
        let registry = open(&server);
        assert_eq!(blob(&registry, &Digest::of(&content()), content().len()).unwrap(), content());
        let ranges: Vec<_> = server.seen().iter().map(Seen::from).collect();
        assert_eq!(ranges, [0, 200_000, 200_000]);
        assert!(registry.bytes_fetched() < content().len() as u64 + 1000, "nothing was fetched twice");
    }

    #[test]
    fn a_registry_without_ranges_starts_over_and_the_stream_does_not() {
        let server = one_after_another(vec![
            |_| Reply::ok(content()).cut_after(200_000),
            |_| Reply::ok(content()).cut_after(150_000),
            |_| Reply::ok(content()),
        ]);
        assert_eq!(fetch(&server).unwrap(), content());
    }

    #[test]
    fn a_blob_that_is_cut_again_and_again_is_given_up() {
        let server = one_after_another(vec![|_| Reply::ok(content()).cut_after(200_000), |seen| {
            Reply::rest(&content(), seen.from()).cut_after(0)
        }]);
        fails(fetch(&server), ErrorKind::Unreachable, &["layer 3", "broke"]);
        assert_eq!(server.seen().len(), 4);
    }

    #[test]
    fn a_blob_that_changes_while_it_is_read_is_broken() {
        let server = one_after_another(vec![|_| Reply::ok(content()).with("ETag", "\"a\"").cut_after(10), |seen| {
            Reply::rest(&content(), seen.from()).with("ETag", "\"b\"")
        }]);
        fails(fetch(&server), ErrorKind::Broken, &["changed"]);
        let other_part = one_after_another(vec![|_| Reply::ok(content()).cut_after(10), |seen| {
            Reply::rest(&content(), seen.from() + 1)
        }]);
        fails(fetch(&other_part), ErrorKind::Broken, &["another part"]);
        let other_size =
            one_after_another(vec![|_| Reply::ok(content()).cut_after(10), |_| Reply::ok(&content()[..1000])]);
        fails(fetch(&other_size), ErrorKind::Broken, &["ended after 1000 of"]);
    }

    #[test]
    fn an_error_stays_one_for_those_who_read_on() {
        let server = LyingRegistry::start(|_| Reply::ok(&content()[1..]).chunked());
        let registry = open(&server);
        let mut stream = registry.open_digest("layer 3".into(), &Digest::of(b""), 300_000).unwrap();
        assert!(stream.read_to_end(&mut Vec::new()).is_err());
        let again = stream.read(&mut [0; 10]).unwrap_err();
        assert_eq!(Error::from_io("x", again).kind(), ErrorKind::Broken);
    }

    #[test]
    fn layers_are_read_by_several_threads_at_once() {
        let server = LyingRegistry::start(|seen| match seen.header("authorization") {
            Some(_) => Reply::ok(content()),
            None => Reply::challenge("Basic realm=\"x\""),
        });
        let (options, _folder) = login(&server.host(), ENTRY);
        let registry = open_as(&server.host(), ":1", &options);
        std::thread::scope(|scope| {
            for _ in 0..6 {
                scope.spawn(|| assert_eq!(blob(&registry, &Digest::of(b""), content().len()).unwrap(), content()));
            }
        });
        assert!(registry.bytes_fetched() >= 6 * content().len() as u64);
    }

    #[test]
    fn silence_is_not_waited_out() {
        let server = LyingRegistry::start(|_| Reply::ok(content()).silent_after(10));
        let registry =
            open_as(&server.host(), ":1", &RegistryOptions { stall: Duration::from_millis(80), ..options() });
        let outcome = blob(&registry, &Digest::of(b""), content().len());
        fails(outcome, ErrorKind::Unreachable, &["does not answer in time"]);
        let limited = RegistryOptions { timeout: Some(Duration::from_millis(200)), ..options() };
        let registry = open_as(&server.host(), ":1", &limited);
        let started = Instant::now();
        let outcome = blob(&registry, &Digest::of(b""), content().len());
        fails(outcome, ErrorKind::Unreachable, &["time limit of 0.2 s"]);
        assert!(started.elapsed() < Duration::from_secs(5));
    }
}

mod logins {
    use super::*;

    /// A registry that wants a bearer token, which it hands out itself at `/token`.
    fn token_registry(answer: impl Fn(&Seen, usize) -> Reply + Send + Sync + 'static) -> LyingRegistry {
        let tokens = AtomicUsize::new(0);
        LyingRegistry::start(move |seen| {
            if seen.path.starts_with("/token") {
                return answer(seen, tokens.fetch_add(1, Ordering::SeqCst));
            }
            match seen.header("authorization") {
                Some(header) if header == format!("Bearer t{}", tokens.load(Ordering::SeqCst) - 1) => Reply::ok("{}"),
                _ => {
                    let host = seen.header("host").unwrap();
                    let scope = "repository:team/app:pull";
                    Reply::challenge(format!(r#"Bearer realm="http://{host}/token?x=y",service="s e",scope="{scope}""#))
                }
            }
        })
    }

    #[test]
    fn a_token_is_asked_for_with_scope_and_password_and_used_again() {
        let server = token_registry(|_, count| Reply::ok(format!(r#"{{"access_token":"t{count}"}}"#)));
        let (options, _folder) = login(&server.host(), ENTRY);
        let registry = open_as(&server.host(), ":1", &options);
        registry.root().unwrap();
        registry.root().unwrap();
        let asked: Vec<_> = server.seen().into_iter().filter(|seen| seen.path.starts_with("/token")).collect();
        assert_eq!(asked.len(), 1);
        assert_eq!(asked[0].header("authorization"), Some(BASIC));
        assert_eq!(asked[0].path, "/token?x=y&service=s+e&scope=repository%3Ateam%2Fapp%3Apull&account=me");
        assert!(!format!("{registry:?}").contains("hunter2"));
    }

    #[test]
    fn anybody_may_get_a_token() {
        let server = token_registry(|_, count| Reply::ok(format!(r#"{{"token":"t{count}","expires_in":300}}"#)));
        open(&server).root().unwrap();
        assert!(server.seen().iter().all(|seen| seen.header("authorization").is_none_or(|text| text == "Bearer t0")));
    }

    #[test]
    fn a_token_that_is_not_taken_any_more_is_renewed() {
        let uses = AtomicUsize::new(0);
        let tokens = AtomicUsize::new(0);
        let server = LyingRegistry::start(move |seen| {
            if seen.path.starts_with("/token") {
                return Reply::ok(format!(r#"{{"token":"t{}"}}"#, tokens.fetch_add(1, Ordering::SeqCst)));
            }
            let newest = format!("Bearer t{}", tokens.load(Ordering::SeqCst).wrapping_sub(1));
            // Each token is good for two requests.
            if seen.header("authorization") == Some(&newest) && uses.fetch_add(1, Ordering::SeqCst) % 3 < 2 {
                return Reply::ok("{}");
            }
            Reply::challenge(format!(r#"Bearer realm="http://{}/token""#, seen.header("host").unwrap()))
        });
        let registry = open(&server);
        for _ in 0..4 {
            registry.root().unwrap();
        }
        assert_eq!(server.seen().iter().filter(|seen| seen.path.starts_with("/token")).count(), 2);
        assert!(server.seen().iter().any(|seen| seen.path.contains("scope=repository%3Ateam%2Fapp%3Apull")));
    }

    #[test]
    fn a_token_is_renewed_before_it_is_too_old() {
        let server = token_registry(|_, count| Reply::ok(format!(r#"{{"token":"t{count}","expires_in":1.05}}"#)));
        let registry = open(&server);
        registry.root().unwrap();
        std::thread::sleep(Duration::from_millis(1000));
        registry.root().unwrap();
        let refused = server.seen().iter().filter(|seen| seen.header("authorization").is_none()).count();
        assert_eq!(refused, 3, "one challenge and two tokens: the second one was asked for without being told");
    }

    #[test]
    fn a_registry_that_refuses_every_token_is_not_asked_for_ever() {
        let server = LyingRegistry::start(|seen| match seen.path.starts_with("/token") {
            true => Reply::ok(r#"{"token":"t"}"#),
            false => Reply::challenge(format!(r#"Bearer realm="http://{}/token""#, seen.header("host").unwrap())),
        });
        fails(open(&server).root(), ErrorKind::Denied, &["needs a login", "docker login 127.0.0.1", "--registry-auth"]);
        assert_eq!(server.seen().len(), 3);
        let (options, folder) = login(&server.host(), ENTRY);
        let registry = open_as(&server.host(), ":1", &options);
        let file = folder.path().join("auth.json");
        fails(registry.root(), ErrorKind::Denied, &["refused the credentials from", &file.display().to_string()]);
    }

    #[test]
    fn an_identity_token_is_exchanged_in_a_form() {
        let server = token_registry(|seen, count| match seen.method.as_str() {
            "POST" => Reply::ok(format!(r#"{{"access_token":"t{count}","expires_in":3600}}"#)),
            _ => Reply::new(405, ""),
        });
        let (options, _folder) = login(&server.host(), r#"{"auth":"MDAwMDo=","identitytoken":"a&b="}"#);
        open_as(&server.host(), ":1", &options).root().unwrap();
        let post = server.seen().into_iter().find(|seen| seen.method == "POST").unwrap();
        assert_eq!(post.header("content-type"), Some("application/x-www-form-urlencoded"));
        for field in ["grant_type=refresh%5Ftoken", "refresh_token=a%26b%3D", "client_id=imglint", "service=s%20e"] {
            assert!(post.body.split('&').any(|part| part == field), "{field} is not in {}", post.body);
        }
    }

    #[test]
    fn a_password_is_shown_only_when_asked_for_and_a_wrong_one_is_told() {
        let server = LyingRegistry::start(|seen| match seen.header("authorization") {
            Some(BASIC) => Reply::ok("{}"),
            // Some registries send back what they were sent.
            Some(other) => {
                Reply::error(401, "X", &format!("{other} hunter3")).with("WWW-Authenticate", "Basic realm=x")
            }
            None => Reply::challenge("Basic realm=\"x\""),
        });
        let (options, _folder) = login(&server.host(), ENTRY);
        open_as(&server.host(), ":1", &options).root().unwrap();
        assert_eq!(server.seen()[0].header("authorization"), None);
        let (options, folder) = login(&server.host(), r#"{"username":"me","password":"hunter3"}"#);
        let registry = open_as(&server.host(), ":1", &options);
        let file = folder.path().join("auth.json").display().to_string();
        let text = fails(registry.root(), ErrorKind::Denied, &["refused the credentials from", &file]);
        assert!(!text.contains("hunter3") && !text.contains("bWU6aHVudGVyMw"), "{text}");
        fails(open(&server).root(), ErrorKind::Denied, &["needs a login"]);
    }

    #[test]
    fn a_wrong_password_at_the_token_server_is_told() {
        let server = token_registry(|_, _| Reply::new(401, r#"{"details":"incorrect username or password"}"#));
        let (options, _folder) = login(&server.host(), ENTRY);
        let outcome = open_as(&server.host(), ":1", &options).root();
        fails(outcome, ErrorKind::Denied, &["refused the credentials", "incorrect username or password"]);
    }

    #[test]
    fn a_registry_that_hides_private_images_is_asked_at_its_entrance() {
        let server = LyingRegistry::start(|seen| match (seen.header("authorization"), seen.path.as_str()) {
            (Some(BASIC), _) => Reply::ok("{}"),
            (_, "/v2/") => Reply::challenge("Basic realm=\"x\""),
            _ => Reply::error(404, "NAME_UNKNOWN", "no such repository"),
        });
        let (options, _folder) = login(&server.host(), ENTRY);
        open_as(&server.host(), ":1", &options).root().unwrap();
    }

    #[test]
    fn a_login_of_another_kind_is_named() {
        let server = LyingRegistry::start(|_| Reply::challenge("Negotiate"));
        fails(open(&server).root(), ErrorKind::Denied, &["Negotiate"]);
    }
}

mod failures {
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
}

mod redirects {
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
        let storage = one_after_another(vec![|_| Reply::ok(content()).cut_after(1000), |seen| {
            Reply::rest(&content(), seen.from())
        }]);
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
}

mod tls {
    use super::*;
    use support::lying_registry::tls_file;

    fn verified() -> RegistryOptions {
        RegistryOptions { insecure: Vec::new(), ..options() }
    }

    fn root(server: &LyingRegistry, options: &RegistryOptions) -> Result<Vec<u8>, Error> {
        let registry = Registry::open(&format!("{}/team/app:1", server.host()).parse().unwrap(), options)?;
        registry.root().map(|fetched| fetched.bytes)
    }

    #[test]
    fn a_certificate_must_be_trusted_by_the_system_or_a_file_or_not_be_verified() {
        let server = LyingRegistry::start_tls(false, |_| Reply::ok(MANIFEST));
        fails(root(&server, &verified()), ErrorKind::Unreachable, &["certificate", "not trusted", "--tls-ca"]);
        let file = RegistryOptions { ca: vec![tls_file("authority.pem")], ..verified() };
        assert_eq!(root(&server, &file).unwrap(), MANIFEST);
        assert_eq!(root(&server, &options()).unwrap(), MANIFEST);
        let folder = tempfile::tempdir().unwrap();
        std::fs::copy(tls_file("authority.pem"), folder.path().join("x.crt")).unwrap();
        let folder_option = RegistryOptions { ca: vec![folder.path().to_owned()], ..verified() };
        assert_eq!(root(&server, &folder_option).unwrap(), MANIFEST);
    }

    #[test]
    fn a_client_certificate_is_shown_to_a_registry_that_wants_one() {
        let server = LyingRegistry::start_tls(true, |_| Reply::ok(MANIFEST));
        let without = RegistryOptions { ca: vec![tls_file("authority.pem")], ..verified() };
        fails(root(&server, &without), ErrorKind::Denied, &["client certificate", "--tls-cert"]);
        let with = RegistryOptions {
            client_cert: Some(tls_file("client.pem")),
            client_key: Some(tls_file("client.key")),
            ..without
        };
        assert_eq!(root(&server, &with).unwrap(), MANIFEST);
    }

    #[test]
    fn docker_s_folder_of_certificates_is_read() {
        let server = LyingRegistry::start_tls(true, |_| Reply::ok(MANIFEST));
        let folder = tempfile::tempdir().unwrap();
        let own = folder.path().join(server.host());
        std::fs::create_dir(&own).unwrap();
        let files = [("authority.pem", "ca.crt"), ("client.pem", "client.cert"), ("client.key", "client.key")];
        for (from, to) in files {
            std::fs::copy(tls_file(from), own.join(to)).unwrap();
        }
        let places = Places { certificates: Some(folder.path().to_owned()), ..Places::default() };
        assert_eq!(root(&server, &RegistryOptions { places, ..verified() }).unwrap(), MANIFEST);
    }

    #[test]
    fn certificate_files_that_hold_none_are_named() {
        let server = LyingRegistry::start(|_| Reply::ok(MANIFEST));
        let key = RegistryOptions { ca: vec![tls_file("client.key")], ..options() };
        fails(root(&server, &key), ErrorKind::Broken, &["client.key", "no certificate"]);
        let missing = RegistryOptions { ca: vec!["missing.pem".into()], ..options() };
        fails(root(&server, &missing), ErrorKind::NotFound, &["missing.pem"]);
        let half = RegistryOptions { client_cert: Some(tls_file("client.pem")), ..options() };
        fails(root(&server, &half), ErrorKind::Unsupported, &["--tls-key"]);
        let swapped = RegistryOptions {
            client_cert: Some(tls_file("client.key")),
            client_key: Some(tls_file("client.key")),
            ..options()
        };
        fails(root(&server, &swapped), ErrorKind::Broken, &["client.key"]);
    }

    #[test]
    fn nothing_is_stepped_down_from_https_to_plain_http() {
        let storage = LyingRegistry::start(|_| Reply::ok(MANIFEST));
        let url = format!("http://localhost:{}/x?signature=hunter2", storage.port());
        let server = LyingRegistry::start_tls(false, move |_| Reply::redirect(&url));
        let words = ["from HTTPS to plain HTTP at localhost:", "refused"];
        fails(root(&server, &options()), ErrorKind::Broken, &words);
        let allowed = RegistryOptions { insecure: vec!["127.0.0.1".into(), "localhost".into()], ..options() };
        assert_eq!(root(&server, &allowed).unwrap(), MANIFEST);

        let realm = format!(r#"Bearer realm="http://localhost:{}/token""#, storage.port());
        let server = LyingRegistry::start_tls(false, move |_| Reply::challenge(&realm));
        let (options, _folder) = login(&server.host(), ENTRY);
        let outcome = root(&server, &options);
        fails(outcome, ErrorKind::Broken, &["token server without HTTPS", "gets no credentials"]);
        assert_eq!(storage.seen().len(), 1, "only the allowed redirect came there");
    }
}
