//! Tests which endpoints an environment names.

use super::*;
use crate::digest::Digest;

/// A certificate of a test's own.
const AUTHORITY: &str = "\
-----BEGIN CERTIFICATE-----\n\
MIIBmTCCAT+gAwIBAgIUXrRB71uL6gqp4wBky70cn3P6OvwwCgYIKoZIzj0EAwIw\n\
ITEfMB0GA1UEAwwWaW1nbGludCB0ZXN0IGF1dGhvcml0eTAgFw0yNjExMjQxMTM2\n\
NDlaGA8yMTI2MTAzMTExMzY0OVowITEfMB0GA1UEAwwWaW1nbGludCB0ZXN0IGF1\n\
dGhvcml0eTBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABMWI379W1rHTjhgEItXx\n\
yl/fbqlhEGIaDKiqVBYSiCgswUt/9xbISK1BZGSgvkGAJDXnuGYoBLuYxXXI5CAs\n\
xfqjUzBRMB0GA1UdDgQWBBTvKmTvWGbgHDl5SP7iICEskiGfCDAfBgNVHSMEGDAW\n\
gBTvKmTvWGbgHDl5SP7iICEskiGfCDAPBgNVHRMBAf8EBTADAQH/MAoGCCqGSM49\n\
BAMCA0gAMEUCIFnhgMIxdCzD29l17907j2LMifyAkPuWyEXJwfp358lJAiEAvS1P\n\
d8yd/+AHtrOAJqlVUfpA7Drqcb9GQYa8Df2wdPk=\n\
-----END CERTIFICATE-----\n";

fn environment(home: &Path, variables: &[(&str, &str)]) -> Environment {
    let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), OsString::from(value)));
    Environment { variables: variables.collect(), home: Some(home.to_owned()) }
}

/// The only endpoint.
fn only(home: &Path, variables: &[(&str, &str)]) -> Endpoint {
    let mut all = environment(home, variables).endpoints(None).unwrap();
    assert_eq!(all.len(), 1, "{all:?}");
    all.remove(0)
}

fn why(home: &Path, variables: &[(&str, &str)]) -> Misnamed {
    environment(home, variables).endpoints(None).unwrap_err()
}

/// Makes a context as Docker keeps it; gives the folder for its certificates.
fn make_context(home: &Path, name: &str, docker: &str) -> PathBuf {
    let id = Digest::of(name.as_bytes()).hex().to_owned();
    let meta = home.join(".docker/contexts/meta").join(&id);
    std::fs::create_dir_all(&meta).unwrap();
    let text = format!(r#"{{"Name":"{name}","Metadata":{{}},"Endpoints":{{"docker":{docker}}}}}"#);
    std::fs::write(meta.join("meta.json"), text).unwrap();
    home.join(".docker/contexts/tls").join(id).join("docker")
}

fn is_tls(endpoint: &Endpoint) -> bool {
    matches!(endpoint.way, Way::Tls(..))
}

#[test]
fn the_current_context_is_read_where_docker_keeps_it() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    make_context(home, "remote", r#"{"Host":"unix:///tmp/d.sock"}"#);
    assert_eq!(environment(home, &[]).endpoints(None).unwrap()[0].from, "Docker's socket", "no configuration");
    std::fs::write(home.join(".docker/config.json"), r#"{"currentContext":"remote"}"#).unwrap();
    let found = only(home, &[]);
    assert_eq!((found.url.as_str(), found.from.as_str()), ("unix:///tmp/d.sock", "Docker's context remote"));
    for is_default in ["default", ""] {
        let all = environment(home, &[("DOCKER_CONTEXT", is_default)]).endpoints(None).unwrap();
        let expected = if is_default.is_empty() { "Docker's context remote" } else { "Docker's socket" };
        assert_eq!(all[0].from, expected);
    }
    let elsewhere = home.join(".docker").display().to_string();
    let found = only(Path::new("/nowhere"), &[("DOCKER_CONFIG", &elsewhere)]);
    assert_eq!(found.from, "Docker's context remote");
}

#[test]
fn a_context_that_is_not_there_is_an_error_and_no_other_engine_is_asked() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    let unknown = why(home, &[("DOCKER_CONTEXT", "production-typo")]);
    assert!(unknown.why.contains("production-typo is not found (DOCKER_CONTEXT)"), "{}", unknown.why);
    assert!(!unknown.is_by_file);
    for name in ["../../etc", "a", "-x", "a/b", "a b", "x\u{1b}[2J"] {
        let wrong = why(home, &[("DOCKER_CONTEXT", name)]).why;
        assert!(wrong.contains("is not a name of a Docker context") && !wrong.contains('\u{1b}'), "{wrong}");
    }
    std::fs::create_dir(home.join(".docker")).unwrap();
    std::fs::write(home.join(".docker/config.json"), r#"{"currentContext":"gone"}"#).unwrap();
    assert!(why(home, &[]).is_by_file);
    make_context(home, "broken", "7");
    assert!(why(home, &[("DOCKER_CONTEXT", "broken")]).why.contains("meta.json"));
    let id = Digest::of(b"empty").hex().to_owned();
    let meta = home.join(".docker/contexts/meta").join(id);
    std::fs::create_dir_all(&meta).unwrap();
    std::fs::write(meta.join("meta.json"), r#"{"Name":"empty","Endpoints":{"kubernetes":{}}}"#).unwrap();
    assert!(why(home, &[("DOCKER_CONTEXT", "empty")]).why.contains("no endpoint of Docker"));
    // Docker's own order: a host goes before a context.
    let host = only(home, &[("DOCKER_CONTEXT", "production-typo"), ("DOCKER_HOST", "tcp://host:1")]);
    assert_eq!(host.from, "DOCKER_HOST");
}

#[test]
fn tls_that_a_context_asks_for_is_spoken() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    let certificates = make_context(home, "remote", r#"{"Host":"tcp://host:2376"}"#);
    let of = |name: &str| only(home, &[("DOCKER_CONTEXT", name)]);
    assert!(!is_tls(&of("remote")) && !of("remote").is_private(), "none are there");
    std::fs::create_dir_all(&certificates).unwrap();
    std::fs::write(certificates.join("cert.pem"), "").unwrap();
    std::fs::write(certificates.join("key.pem"), "").unwrap();
    assert!(is_tls(&of("remote")) && of("remote").is_private(), "a context without ca.pem trusts the system's roots");
    std::fs::write(certificates.join("ca.pem"), "").unwrap();
    assert!(is_tls(&of("remote")));
    assert!(connect(&of("remote")).unwrap_err().contains("ca.pem holds no certificate"));
    make_context(home, "unverified", r#"{"Host":"tcp://host:2376","SkipTLSVerify":true}"#);
    assert!(is_tls(&of("unverified")), "it asks for TLS, and imglint verifies it");
    let certificates = make_context(home, "plain", r#"{"Host":"http://host:2376"}"#);
    std::fs::create_dir_all(certificates).unwrap();
    assert!(connect(&of("plain")).unwrap_err().contains("TLS is asked for"));
}

#[test]
fn tls_that_variables_ask_for_is_spoken() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    for name in ["DOCKER_TLS", "DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH"] {
        let of = |url| only(home, &[(name, "1"), ("DOCKER_HOST", url)]);
        assert!(is_tls(&of("tcp://host:2376")), "{name}");
        let why = connect(&of("http://host:2376")).unwrap_err();
        assert!(why.contains("TLS is asked for"), "{name}: {why}");
        assert!(connect(&of("tcp://host:2376")).unwrap_err().contains("ca.pem is missing"), "{name}");
        let named = environment(home, &[(name, "1")]).endpoints(Some("tcp://host:2376")).unwrap();
        assert!(is_tls(&named[0]), "{name} with --engine");
    }
    assert!(!is_tls(&only(home, &[("DOCKER_TLS_VERIFY", ""), ("DOCKER_HOST", "tcp://host:2376")])));
    let local = only(home, &[("DOCKER_TLS_VERIFY", "1")]);
    assert_eq!((local.url.as_str(), is_tls(&local)), ("tcp://localhost:2376", true), "as Docker's client does");
    let with_folder = only(home, &[("DOCKER_CERT_PATH", "/certs"), ("DOCKER_HOST", "tcp://host:2376")]);
    let Way::Tls(_, certificates) = with_folder.way else { panic!("no TLS") };
    assert_eq!(certificates.folder, Some(PathBuf::from("/certs")));
}

#[test]
fn half_a_client_certificate_is_refused() {
    let home = tempfile::tempdir().unwrap();
    let folder = home.path().display().to_string();
    let variables = [("DOCKER_CERT_PATH", folder.as_str()), ("DOCKER_HOST", "tcp://host:2376")];
    std::fs::write(home.path().join("ca.pem"), AUTHORITY).unwrap();
    assert!(connect_here(&only(home.path(), &variables)).is_ok(), "a client need not have a certificate");
    std::fs::write(home.path().join("cert.pem"), "").unwrap();
    assert!(connect_here(&only(home.path(), &variables)).unwrap_err().contains("key.pem is missing"));
    std::fs::rename(home.path().join("cert.pem"), home.path().join("key.pem")).unwrap();
    assert!(connect_here(&only(home.path(), &variables)).unwrap_err().contains("cert.pem is missing"));
}

fn connect_here(endpoint: &Endpoint) -> Result<(), String> {
    open(endpoint).map(drop)
}

#[test]
fn podman_s_variables_are_read() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    let of = |url| only(home, &[("CONTAINER_HOST", url)]);
    assert_eq!(of("unix:///run/podman/podman.sock").way, Way::Socket("/run/podman/podman.sock".to_owned()));
    assert_eq!(of("unix://run/podman/podman.sock").way, Way::Socket("/run/podman/podman.sock".to_owned()));
    assert!(matches!(of("tcp://host:8080").way, Way::Plain(_)));
    let ssh = [("CONTAINER_HOST", "ssh://user:secret@host/run/podman.sock"), ("CONTAINER_SSHKEY", "/key")];
    let ssh = only(home, &ssh);
    assert!(connect(&ssh).unwrap_err().contains("ssh:// is not supported"));
    assert!(!format!("{ssh:?}").contains("secret"), "{ssh:?}");
    assert!(connect(&of("host:8080")).unwrap_err().contains("begin with unix://"));
    for name in ["DOCKER_HOST", "DOCKER_CONTEXT"] {
        let value = if name == "DOCKER_HOST" { "tcp://host:1" } else { "remote" };
        make_context(home, "remote", r#"{"Host":"tcp://host:1"}"#);
        let both = only(home, &[("CONTAINER_HOST", "tcp://host:8080"), (name, value)]);
        assert_eq!(both.url, "tcp://host:1", "{name}");
    }
    // What is set for this process goes before what a file says.
    std::fs::write(home.join(".docker/config.json"), r#"{"currentContext":"remote"}"#).unwrap();
    assert_eq!(of("tcp://host:8080").from, "CONTAINER_HOST");
}

#[test]
fn podman_s_connections_are_read_where_podman_keeps_them() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    let of = |name| environment(home, &[("CONTAINER_CONNECTION", name)]).endpoints(None);
    assert!(of("ci").unwrap_err().why.contains("Podman's connection ci is not found"));
    let folder = home.join(".config/containers");
    std::fs::create_dir_all(&folder).unwrap();
    let text = r#"{"Connection":{"Default":"ci","Connections":{
        "ci":{"URI":"unix:///run/ci.sock","Identity":""},
        "far":{"URI":"ssh://core@host:22/run/podman.sock","Identity":"/key","IsMachine":true},
        "tls":{"URI":"tcp://host:1","TLSCA":"/ca.pem"}}}}"#;
    std::fs::write(folder.join("podman-connections.json"), text).unwrap();
    assert_eq!(of("ci").unwrap()[0].way, Way::Socket("/run/ci.sock".to_owned()));
    assert!(connect(&of("far").unwrap()[0]).unwrap_err().contains("ssh:// is not supported"));
    assert!(connect(&of("tls").unwrap()[0]).unwrap_err().contains("not supported"));
    assert!(of("other").is_err());
}

#[test]
fn credentials_go_over_plain_http_to_this_machine_only() {
    let is_private = |url| environment(Path::new("/h"), &[]).endpoints(Some(url)).unwrap()[0].is_private();
    for url in ["unix:///x.sock", "tcp://127.0.0.1:2375", "tcp://[::1]:2375", "tcp://localhost", "https://host"] {
        assert!(is_private(url), "{url}");
    }
    for url in [
        "tcp://127.evil.test:2375",
        "tcp://localhost.evil.test",
        "http://127.0.0.1.evil.test",
        "tcp://127.0.0.1@evil.test:2375",
        "ssh://127.0.0.1",
    ] {
        assert!(!is_private(url), "{url}");
    }
}

#[test]
fn an_address_of_no_known_kind_is_an_error() {
    let endpoint = |url: &str| Endpoint::new(url, "", None);
    assert!(connect(&endpoint("ssh://host")).unwrap_err().contains("unix://, tcp://"));
    assert!(connect(&endpoint("unix:///nowhere.sock")).unwrap_err().contains("no such socket"));
    assert!(connect(&endpoint("/run/docker.sock")).unwrap_err().contains("unix:///run/docker.sock"));
    let named = |engine| environment(Path::new("/h"), &[]).endpoints(Some(engine)).unwrap().remove(0);
    assert!(connect(&named("podman")).unwrap_err().contains("unix://, tcp://"));
    assert_eq!(named(" ").from, "Docker's socket", "an empty one is none");
    assert!(!endpoint("tcp://user:secret@host").url.contains("secret"));
}
