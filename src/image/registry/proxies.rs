//! The variables that name proxies: one that cannot be read is an error, because requests would go out directly.

use http::Uri;
use hyper_util::client::proxy::matcher::Matcher;
use reqwest::Url;

use crate::image::{Error, Result};

/// The variables by which requests go (curl(1), "ENVIRONMENT"), each in the two spellings that count.
const VARIABLES: [&str; 6] = ["HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"];

/// Whether the variables that are set name proxies that requests can go by.
///
/// # Errors
/// One does not. The error does not have its value, which may hold a password.
pub(super) fn verify() -> Result<()> {
    VARIABLES.into_iter().try_for_each(|name| match std::env::var_os(name) {
        None => Ok(()),
        Some(value) => match value.to_str().map(trouble) {
            Some(None) => Ok(()),
            Some(Some(why)) => Err(wrong(name, why)),
            None => Err(wrong(name, "it is not UTF-8")),
        },
    })
}

fn wrong(name: &str, why: &str) -> Error {
    let text = format!(
        "{name} does not name a proxy: {why}. It has the form http://[USER:PASSWORD@]HOST[:PORT], with %20 for a blank \
         (its value is not shown, because it may hold a password)"
    );
    Error::broken(text)
}

/// Why a value names no proxy, in words that hold nothing of it; `None` if it names one or is empty.
///
/// The client ignores what it cannot read, which the last question finds. The others find what it would take for another
/// host or another password, and say what is wrong.
fn trouble(value: &str) -> Option<&'static str> {
    if value.is_empty() {
        return None;
    }
    if value.chars().any(|letter| letter.is_whitespace() || letter.is_control()) {
        return Some("it has a blank or a control character");
    }
    if !value.is_ascii() {
        return Some("it has a character that is not ASCII");
    }
    let (scheme, rest) = value.split_once("://").unwrap_or(("http", value));
    if scheme.to_ascii_lowercase().starts_with("socks") {
        return Some("it is a SOCKS proxy, which is not supported");
    }
    if !matches!(scheme, "http" | "https") {
        return Some("its scheme is neither http nor https");
    }
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let (login, host) = authority.rsplit_once('@').unwrap_or(("", authority));
    if login.contains('@') {
        return Some("it has several @: those of the password are written %40");
    }
    if rest.contains('@') && login.is_empty() && !authority.starts_with('@') {
        return Some("its password has a character that ends it: /, ? and # are written %2F, %3F and %23");
    }
    let is_allowed = |letter: char| letter.is_ascii_alphanumeric() || "-._~!$&'()*+,;=:%".contains(letter);
    if !login.chars().all(is_allowed) {
        return Some("its name or password has a character that has to be written with %");
    }
    let host_port = Url::parse(&format!("http://{host}/"));
    if host.ends_with(':') || host_port.ok().is_none_or(|url| !url.has_host()) {
        return Some("its host or port cannot be read");
    }
    let matcher = Matcher::builder().all(value.to_owned()).build();
    let is_taken = matcher.intercept(&Uri::from_static("https://registry.example/")).is_some();
    (!is_taken).then_some("it is no URL of a proxy")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proxies_are_told_from_what_would_be_ignored() {
        for good in [
            "",
            "http://proxy:3128",
            "http://proxy:3128/",
            "proxy:3128",
            "proxy.example",
            "https://user:pass%20word@proxy.example:3128",
            "http://user:p!a$s@10.0.0.1:80",
            "http://[::1]:3128",
        ] {
            assert_eq!(trouble(good), None, "{good}");
        }
        for bad in [
            "http://puser:PROXY PW@bad host:1",
            "http://user:pw\n@proxy:1",
            "http://proxy:99999",
            "http://proxy:port",
            "http://proxy:",
            "http://",
            "http:///path",
            "://proxy",
            "ftp://proxy:21",
            "socks5://proxy:1080",
            "SOCKS5h://proxy:1080",
            "http://user:p@ss@proxy:1",
            "http://user:p/w@proxy:1",
            "http://user:p#w@proxy:1",
            "http://us\u{e9}r@proxy:1",
            "http://user:p^w@proxy:1",
            "http://pro%78y:1",
        ] {
            let why = trouble(bad);
            assert!(why.is_some(), "{bad:?}");
        }
    }
}
