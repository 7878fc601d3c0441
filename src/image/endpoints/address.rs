//! The address of a container engine: parsed once, so that what is judged is what is connected to.

use std::net::{IpAddr, Ipv6Addr};
use std::path::PathBuf;

/// Docker's port where an address names none, with TLS or without (docker/cli, `opts/hosts.go`).
const PORT: u16 = 2375;
/// What imglint speaks.
pub(super) const SPOKEN: &str = "imglint speaks to engines through unix://, tcp:// and, on Windows, npipe://";

/// How an engine is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// A socket of this machine.
    Socket(String),
    /// A named pipe of this machine, on Windows.
    Pipe(String),
    /// HTTP that others may read on its way.
    Plain(Authority),
    /// HTTP over TLS.
    Tls(Authority, Certificates),
    /// Not at all: why, as a part of a sentence.
    Refused(String),
}

/// A host and a port that were parsed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Authority {
    host: String,
    port: u16,
}

/// What TLS is spoken with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Certificates {
    /// The folder that may hold `ca.pem`, `cert.pem` and `key.pem`.
    pub folder: Option<PathBuf>,
    /// Whether `ca.pem` has to be there. Without one the system's own authorities are trusted.
    pub needs_authority: bool,
}

impl Authority {
    /// Whether it leads to this machine by its spelling, which no name server has a say in.
    pub(super) fn is_loopback(&self) -> bool {
        let address = self.host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
        self.host.eq_ignore_ascii_case("localhost") || address.is_ok_and(|address| address.to_canonical().is_loopback())
    }

    /// Reads `HOST`, `HOST:PORT`, `[ADDRESS]` or `[ADDRESS]:PORT`, with at most a `/` behind it.
    fn parse(text: &str, port: u16) -> Result<Self, String> {
        let (authority, path) = text.split_once('/').unwrap_or((text, ""));
        if authority.is_empty() && !path.is_empty() {
            return Err(format!("a socket is named with its scheme: unix:///{path}"));
        }
        if !path.is_empty() {
            return Err("a path behind the host is not supported".to_owned());
        }
        if authority.contains('@') {
            return Err("a user name in the address is not supported".to_owned());
        }
        let wrong = || "the host is neither a name nor an address".to_owned();
        let (host, rest) = match authority.strip_prefix('[') {
            Some(inner) => {
                let (address, rest) = inner.split_once(']').ok_or_else(wrong)?;
                let address: Ipv6Addr = address.parse().map_err(|_| wrong())?;
                (format!("[{address}]"), rest)
            }
            None => {
                let end = authority.find(':').unwrap_or(authority.len());
                (authority[..end].to_owned(), &authority[end..])
            }
        };
        let host = if host.is_empty() { "localhost".to_owned() } else { host };
        let is_name = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
        if !host.starts_with('[') && !host.chars().all(is_name) {
            return Err(wrong());
        }
        let port = match rest {
            "" | ":" => port,
            _ => {
                let digits = rest.strip_prefix(':').filter(|port| port.bytes().all(|byte| byte.is_ascii_digit()));
                let port = digits.and_then(|digits| digits.parse().ok()).filter(|port| *port > 0);
                port.ok_or_else(|| "the port is not a number from 1 to 65535".to_owned())?
            }
        };
        Ok(Self { host, port })
    }
}

impl std::fmt::Display for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// How the engine at this address is reached. `certificates` are there if TLS is asked for: then nothing is sent to it
/// in the clear.
pub(super) fn way(url: &str, certificates: Option<Certificates>) -> Way {
    // An address without a scheme is one of TCP (docker/cli, `parseDockerDaemonHost`).
    let (scheme, rest) = url.split_once("://").unwrap_or(("tcp", url));
    let over_tcp = |port, certificates: Option<Certificates>| match (Authority::parse(rest, port), certificates) {
        (Err(why), _) => Way::Refused(why),
        (Ok(authority), Some(certificates)) => Way::Tls(authority, certificates),
        (Ok(authority), None) => Way::Plain(authority),
    };
    match scheme {
        "unix" if rest.contains("://") => Way::Refused("the path of the socket is wrong".to_owned()),
        "unix" => Way::Socket(if rest.is_empty() { "/var/run/docker.sock" } else { rest }.to_owned()),
        "npipe" => Way::Pipe(if rest.is_empty() { "//./pipe/docker_engine" } else { rest }.to_owned()),
        "tcp" => over_tcp(PORT, certificates),
        "https" => over_tcp(443, Some(certificates.unwrap_or_default())),
        "http" if certificates.is_some() => {
            Way::Refused("TLS is asked for, which http:// does not have: write tcp:// or https://".to_owned())
        }
        "http" => over_tcp(80, None),
        "ssh" => Way::Refused(format!(
            "ssh:// is not supported: forward the engine's socket (ssh -nNT -L /tmp/engine.sock:/var/run/docker.sock HOST) \
             and name unix:///tmp/engine.sock; {SPOKEN}"
        )),
        _ => Way::Refused(SPOKEN.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(url: &str) -> Authority {
        match way(url, None) {
            Way::Plain(authority) => authority,
            other => panic!("{url}: {other:?}"),
        }
    }

    #[test]
    fn only_addresses_and_the_name_localhost_are_this_machine() {
        for url in [
            "tcp://127.0.0.1:2375",
            "tcp://127.8.9.10",
            "tcp://localhost:1",
            "tcp://LOCALHOST",
            "tcp://[::1]:2375",
            "tcp://[::ffff:127.0.0.1]:2375",
            "http://127.0.0.1/",
            "tcp://:2375",
            "localhost:2375",
        ] {
            assert!(plain(url).is_loopback(), "{url}");
        }
        for url in [
            "tcp://127.evil.test:2375",
            "tcp://127.0.0.1.evil.test:2375",
            "tcp://localhost.evil.test:2375",
            "tcp://localhost-evil:2375",
            "tcp://128.0.0.1:2375",
            "tcp://[::2]:2375",
            "tcp://0.0.0.0:2375",
            "tcp://2130706433:2375",
            "tcp://127.1:2375",
        ] {
            assert!(!plain(url).is_loopback(), "{url}");
        }
    }

    #[test]
    fn what_is_not_a_host_and_a_port_is_refused() {
        for url in [
            "tcp://127.0.0.1:1@evil.test:2375",
            "tcp://127.0.0.1#@evil.test:2375",
            "tcp://127.0.0.1\\evil.test",
            "tcp://127.0.0.1?x",
            "tcp://127.0.0.1%2fevil.test",
            "tcp://host:0",
            "tcp://host:99999",
            "tcp://host:+80",
            "tcp://host:80:80",
            "tcp://[::1",
            "tcp://[::1]x",
            "tcp://[127.0.0.1]:80",
            "tcp://::1",
            "tcp://host/base",
            "tcp://ho st",
            "tcp://tcp://host",
            "unix://unix:///var/run/docker.sock",
            "ssh://user@host",
            "fd://3",
            "gopher://host",
        ] {
            assert!(matches!(way(url, None), Way::Refused(_)), "{url}: {:?}", way(url, None));
        }
    }

    #[test]
    fn ports_are_docker_s_unless_the_address_names_one() {
        for (url, shown) in [
            ("tcp://host", "host:2375"),
            ("host", "host:2375"),
            ("tcp://host:", "host:2375"),
            ("http://host", "host:80"),
            ("tcp://[0:0::1]", "[::1]:2375"),
            ("tcp://host:4243/", "host:4243"),
        ] {
            assert_eq!(plain(url).to_string(), shown, "{url}");
        }
        assert_eq!(way("unix://", None), Way::Socket("/var/run/docker.sock".to_owned()));
    }

    #[test]
    fn tls_that_is_asked_for_is_spoken_or_refused() {
        let certificates = || Some(Certificates { folder: Some("/certs".into()), needs_authority: true });
        for url in ["tcp://host:2376", "tcp://127.0.0.1:2376", "https://host:2376", "host:2376"] {
            assert!(matches!(way(url, certificates()), Way::Tls(..)), "{url}");
        }
        let Way::Refused(why) = way("http://host:2376", certificates()) else { panic!("it is not refused") };
        assert!(why.contains("TLS is asked for"), "{why}");
        assert!(matches!(way("https://host:2376", None), Way::Tls(..)), "https:// asks for it by itself");
        assert!(matches!(way("unix:///run/x.sock", certificates()), Way::Socket(_)), "a socket needs none");
    }
}
