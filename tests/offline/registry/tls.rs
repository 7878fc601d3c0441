//! Certificates: verified, added, shown, and never stepped down from.

use super::*;
use crate::support::lying_registry::tls_file;

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

#[test]
fn a_client_certificate_is_shown_to_the_registry_alone() {
    let with = |options: RegistryOptions| RegistryOptions {
        ca: vec![tls_file("authority.pem")],
        client_cert: Some(tls_file("client.pem")),
        client_key: Some(tls_file("client.key")),
        ..options
    };
    // Another server that wants it, named as the token server or redirected to, on another port or by another name.
    let other = LyingRegistry::start_tls(true, |_| Reply::ok(r#"{"token":"t"}"#));
    for host in ["127.0.0.1", "localhost"] {
        let (place, url) = (format!("{host}:{}", other.port()), format!("https://{host}:{}/blob", other.port()));
        let challenge = format!(r#"Bearer realm="https://{place}/token""#);
        let server = LyingRegistry::start_tls(true, move |seen| match seen.header("authorization") {
            Some(_) => Reply::ok(MANIFEST),
            None => Reply::challenge(&challenge),
        });
        fails(root(&server, &with(verified())), ErrorKind::Denied, &["client certificate", &place]);
        let (login, _folder) = login(&server.host(), r#"{"identitytoken":"hunter2"}"#);
        let login = RegistryOptions { insecure: Vec::new(), ..login };
        fails(root(&server, &with(login)), ErrorKind::Denied, &["client certificate", &place]);
        let server = LyingRegistry::start_tls(true, move |_| Reply::redirect(&url));
        fails(root(&server, &with(verified())), ErrorKind::Denied, &["client certificate", &place]);
    }
    assert!(other.seen().is_empty());
    // Its own token server is the registry.
    let server = LyingRegistry::start_tls(true, |seen| {
        if seen.path.starts_with("/token") {
            return Reply::ok(r#"{"token":"t"}"#);
        }
        match seen.header("authorization") {
            Some(_) => Reply::ok(MANIFEST),
            None => Reply::challenge(format!(r#"Bearer realm="https://{}/token""#, seen.header("host").unwrap())),
        }
    });
    assert_eq!(root(&server, &with(verified())).unwrap(), MANIFEST);
}
