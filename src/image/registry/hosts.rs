//! What a registry's name and a URL's host mean: where the API is, who is on this machine, who is not verified.

use std::net::IpAddr;

use reqwest::Url;

/// The host, with port, that serves a registry's API.
pub(super) fn api_host(registry: &str) -> &str {
    match registry {
        "docker.io" | "index.docker.io" => "registry-1.docker.io",
        other => other,
    }
}

/// A URL's host with its port where one is written.
pub(super) fn shown(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

/// Whether a URL leads to this machine by its spelling, which no name server has a say in.
pub(super) fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    host.eq_ignore_ascii_case("localhost") || address.is_ok_and(|address| address.is_loopback())
}

/// Whether somebody said that a URL's host need not be verified: `HOST` for all its ports, or `HOST:PORT`.
pub(super) fn is_insecure(url: &Url, insecure: &[String]) -> bool {
    let host = url.host_str().unwrap_or_default();
    let port = url.port_or_known_default();
    insecure.iter().any(|entry| {
        let entry = entry.split_once("://").map_or(entry.as_str(), |(_, rest)| rest).trim_end_matches('/');
        let with_port = port.is_some_and(|port| entry.eq_ignore_ascii_case(&format!("{host}:{port}")));
        with_port || entry.eq_ignore_ascii_case(host)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap()
    }

    #[test]
    fn loopback_is_told_by_its_spelling() {
        for host in ["localhost", "LOCALHOST:5000", "127.0.0.1", "127.8.9.10:80", "[::1]:5000"] {
            assert!(is_loopback(&url(&format!("https://{host}/"))), "{host}");
        }
        for host in ["localhost.example", "128.0.0.1", "[::2]", "127.0.0.1.example"] {
            assert!(!is_loopback(&url(&format!("https://{host}/"))), "{host}");
        }
    }

    #[test]
    fn an_insecure_host_without_port_means_all_its_ports() {
        let insecure = |entry: &str, of: &str| is_insecure(&url(of), &[entry.to_owned()]);
        assert!(insecure("r.example", "https://r.example:5000/") && insecure("r.example", "http://r.example/"));
        assert!(insecure("r.example:5000", "http://r.example:5000/"));
        assert!(insecure("http://r.example:5000/", "http://r.example:5000/"));
        assert!(!insecure("r.example:5000", "http://r.example:5001/"));
        assert!(!insecure("example", "http://r.example/"));
    }
}
