//! What a failed connection or an HTTP status means to a person, and whether another try may help.

use std::error::Error as StdError;
use std::io;

use reqwest::StatusCode;
use serde_json::Value;

use super::retry::Failure;
use crate::image::{Error, ErrorKind};
use crate::printable::excerpt;

/// What kept a request or its answer from getting through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// The server's certificate is not trusted.
    Certificate,
    /// The server wants a client certificate, or another one.
    ClientCertificate,
    /// The server does not speak TLS.
    PlainHttp,
    /// The name is not known.
    Name,
    /// Nobody listens.
    Refused,
    /// Too slow.
    Time,
    /// A connection that did not come about otherwise.
    Connect,
    /// A connection that broke.
    Cut,
}

impl Trouble {
    /// Tells which trouble an error is. TLS errors are known by rustls' words, as their types do not get here.
    pub(super) fn of(error: &(dyn StdError + 'static)) -> Self {
        let mut flags = (false, false, false);
        let mut texts = String::new();
        let mut refused = false;
        walk(error, &mut |link| {
            if let Some(error) = link.downcast_ref::<reqwest::Error>() {
                flags = (flags.0 | error.is_dns(), flags.1 | error.is_timeout(), flags.2 | error.is_connect());
            } else {
                texts.push_str(&link.to_string());
            }
            refused |= link.downcast_ref::<io::Error>().is_some_and(|io| io.kind() == io::ErrorKind::ConnectionRefused);
        });
        let says = |words: &str| texts.contains(words);
        if says("invalid peer certificate") {
            Self::Certificate
        } else if says("CertificateRequired") || says("BadCertificate") || says("alert: CertificateUnknown") {
            Self::ClientCertificate
        } else if says("InvalidContentType") {
            Self::PlainHttp
        } else if flags.0 {
            Self::Name
        } else if refused {
            Self::Refused
        } else if flags.1 {
            Self::Time
        } else if flags.2 {
            Self::Connect
        } else {
            Self::Cut
        }
    }
}

/// A failed request to `host`, or a failed answer of it, made for `what`.
pub(super) fn connection(what: &str, host: &str, error: &(dyn StdError + 'static)) -> Failure {
    let why = innermost(error);
    let trouble = Trouble::of(error);
    let unreachable = |text: String| Error::new(ErrorKind::Unreachable, format!("{what}: {text}"));
    match trouble {
        Trouble::Certificate => Failure::Final(unreachable(format!(
            "the TLS certificate of {host} is not trusted: {why} (--tls-ca names a file with the authority to trust)"
        ))),
        Trouble::ClientCertificate => Failure::Final(Error::new(
            ErrorKind::Denied,
            format!("{what}: {host} wants another client certificate (--tls-cert and --tls-key): {why}"),
        )),
        Trouble::PlainHttp => Failure::Final(unreachable(format!(
            "{host} speaks plain HTTP, not HTTPS; if that is intended, pass --insecure-registry {host}"
        ))),
        Trouble::Name => twice(unreachable(format!("the host name {host} is not known: {why}"))),
        Trouble::Refused => twice(unreachable(format!("nobody answers at {host}: {why}"))),
        Trouble::Time => twice(unreachable(format!("{host} does not answer in time"))),
        Trouble::Connect => Failure::passing(unreachable(format!("no connection to {host}: {why}"))),
        Trouble::Cut => Failure::passing(unreachable(format!("the connection to {host} broke: {why}"))),
    }
}

/// What is not worth more than one more try.
fn twice(error: Error) -> Failure {
    Failure::Passing { error, most: 2, asked: None }
}

/// The cause at the bottom, which is the one that tells something, and never holds a URL.
pub(super) fn innermost(error: &(dyn StdError + 'static)) -> String {
    let mut text = String::new();
    let mut proxy = false;
    walk(error, &mut |link| {
        if link.downcast_ref::<reqwest::Error>().is_none() {
            text = link.to_string();
            proxy |= text.contains("tunnel");
        }
    });
    let text = if text.is_empty() { "no reason given" } else { &text };
    format!("{}{}", if proxy { "by way of the proxy: " } else { "" }, excerpt(text, 200))
}

/// Visits an error and its causes, those inside of I/O errors too.
fn walk<'a>(error: &'a (dyn StdError + 'static), visit: &mut impl FnMut(&'a (dyn StdError + 'static))) {
    let mut next = Some(error);
    while let Some(link) = next {
        visit(link);
        let inside = link.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        next = match inside {
            Some(inside) => Some(inside as &(dyn StdError + 'static)),
            None => link.source(),
        };
    }
}

/// Whether a status may pass: RFC 9110 and what registries send when they have too much to do.
pub(super) fn may_pass(status: StatusCode) -> bool {
    matches!(status.as_u16(), 408 | 429 | 500 | 502 | 503 | 504)
}

/// What an error's body says (distribution-spec, "Error Codes"), as it is; empty when it is nothing for people.
pub(super) fn said(body: &[u8]) -> String {
    let Ok(value) = serde_json::from_slice::<Value>(body) else {
        let text = String::from_utf8_lossy(body);
        let text = text.trim();
        return if text.starts_with('<') || text.contains('\n') { String::new() } else { text.to_owned() };
    };
    let first = value.pointer("/errors/0").unwrap_or(&value);
    first_text(first, &["message", "details", "error_description", "error", "code"])
}

/// As [`said`], but only what stands where token servers put it: the body of any other page is not shown.
pub(super) fn said_by_token_server(body: &[u8]) -> String {
    let Ok(value) = serde_json::from_slice::<Value>(body) else { return String::new() };
    match value.pointer("/errors/0") {
        Some(first) => first_text(first, &["message"]),
        None => first_text(&value, &["details", "error_description"]),
    }
}

fn first_text(value: &Value, keys: &[&str]) -> String {
    let texts = keys.iter().filter_map(|key| value.get(key).and_then(Value::as_str));
    texts.map(str::trim).find(|text| !text.is_empty()).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_registries_say_is_found() {
        assert_eq!(said(br#"{"errors":[{"code":"DENIED","message":" no way "}]}"#), "no way");
        assert_eq!(said(br#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":""}]}"#), "MANIFEST_UNKNOWN");
        assert_eq!(said(br#"{"details":"incorrect username or password"}"#), "incorrect username or password");
        assert_eq!(said(b"404 page not found\n"), "404 page not found");
        assert_eq!(said(b"<html>\n<body>"), "");
    }

    #[test]
    fn of_a_token_server_only_what_it_is_to_say_is_shown() {
        assert_eq!(
            said_by_token_server(br#"{"details":"incorrect username or password"}"#),
            "incorrect username or password"
        );
        assert_eq!(said_by_token_server(br#"{"errors":[{"code":"DENIED","message":"no way"}]}"#), "no way");
        for page in [&b"INTERNAL PAGE"[..], br#"{"message":"INTERNAL"}"#, br#""INTERNAL""#, br#"{"error":"INTERNAL"}"#]
        {
            assert_eq!(said_by_token_server(page), "");
        }
    }

    #[test]
    fn causes_inside_of_io_errors_are_seen() {
        let inner = io::Error::new(io::ErrorKind::ConnectionRefused, "Connection refused");
        let outer = io::Error::other(io::Error::other(inner));
        assert_eq!(Trouble::of(&outer), Trouble::Refused);
        assert_eq!(innermost(&outer), "Connection refused");
    }
}
