//! Layers: exactly as long as they should be, and taken up again where a connection was cut.

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
    assert!(registry.bytes_fetched().unwrap_or_default() < content().len() as u64 + 1000, "nothing was fetched twice");
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
    let other_size = one_after_another(vec![|_| Reply::ok(content()).cut_after(10), |_| Reply::ok(&content()[..1000])]);
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
    assert!(registry.bytes_fetched().unwrap_or_default() >= 6 * content().len() as u64);
}

#[test]
fn silence_is_not_waited_out() {
    let server = LyingRegistry::start(|_| Reply::ok(content()).silent_after(10));
    let registry = open_as(&server.host(), ":1", &RegistryOptions { stall: Duration::from_millis(400), ..options() });
    let outcome = blob(&registry, &Digest::of(b""), content().len());
    fails(outcome, ErrorKind::Unreachable, &["does not answer in time"]);
    let limited = RegistryOptions { timeout: Some(Duration::from_secs(1)), ..options() };
    let registry = open_as(&server.host(), ":1", &limited);
    let started = Instant::now();
    let outcome = blob(&registry, &Digest::of(b""), content().len());
    fails(outcome, ErrorKind::Unreachable, &["time limit of 1 s"]);
    assert!(started.elapsed() < Duration::from_secs(5));
}
