//! How a registry asks for proof of who is there (RFC 9110, 11.6.1; distribution, auth/token.md).

use http_auth::ChallengeParser;
use reqwest::header::{HeaderMap, WWW_AUTHENTICATE};

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Challenge {
    /// A name and a password with each request.
    Basic,
    /// A token from a token server.
    Bearer {
        /// The token server's URL.
        realm: String,
        /// The name by which the token server knows the registry.
        service: Option<String>,
    },
}

impl Challenge {
    /// The best of the challenges of an answer that can be met: a token rather than a password. `Err` holds the schemes
    /// that were asked for when there is none.
    pub(super) fn choose(headers: &HeaderMap) -> Result<Self, String> {
        let mut basic = false;
        let mut others = Vec::new();
        for header in headers.get_all(WWW_AUTHENTICATE) {
            let text = String::from_utf8_lossy(header.as_bytes());
            for Asked { scheme, parameters } in asked(&text) {
                let value = |name: &str| {
                    let found = parameters.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
                    found.map(|(_, value)| value.clone()).filter(|text| !text.is_empty())
                };
                if scheme.eq_ignore_ascii_case("bearer")
                    && let Some(realm) = value("realm")
                {
                    return Ok(Self::Bearer { realm, service: value("service") });
                }
                basic |= scheme.eq_ignore_ascii_case("basic");
                others.push(scheme);
            }
        }
        if basic { Ok(Self::Basic) } else { Err(others.join(", ")) }
    }
}

/// A challenge, taken apart.
struct Asked {
    scheme: String,
    parameters: Vec<(String, String)>,
}

/// The challenges of one header. One that is not of the form that RFC 9110 wants is read as far as engines read it.
fn asked(text: &str) -> Vec<Asked> {
    let mut all = Vec::new();
    for challenge in ChallengeParser::new(text) {
        let Ok(challenge) = challenge else { return vec![as_engines_read(text)] };
        let parameters = challenge.params.iter().map(|(key, value)| ((*key).to_owned(), value.to_unescaped()));
        all.push(Asked { scheme: challenge.scheme.to_owned(), parameters: parameters.collect() });
    }
    all
}

/// A header as one challenge, up to where it is broken (distribution, registry/client/auth/challenge,
/// `parseValueAndParams`).
fn as_engines_read(text: &str) -> Asked {
    let is_of_token = |c: char| c.is_ascii_graphic() && !"()<>@,;:\\\"/[]?={}".contains(c);
    let token = |text: &str| {
        let end = text.find(|c| !is_of_token(c)).unwrap_or(text.len());
        (text[..end].to_owned(), text[end..].to_owned())
    };
    let (scheme, rest) = token(text.trim_start());
    let (mut rest, mut parameters) = (format!(",{}", rest.trim_start()), Vec::new());
    while let Some(next) = rest.strip_prefix(',') {
        let (key, after) = token(next.trim_start());
        let Some(value) = after.strip_prefix('=').filter(|_| !key.is_empty()) else { break };
        let (value, after) = match value.strip_prefix('"') {
            Some(quoted) => match unquoted(quoted) {
                Some(read) => read,
                None => break,
            },
            None => token(value),
        };
        parameters.push((key, value));
        rest = after.trim_start().to_owned();
    }
    Asked { scheme, parameters }
}

/// A quoted text up to its closing quote, and what follows.
fn unquoted(text: &str) -> Option<(String, String)> {
    let (mut value, mut letters) = (String::new(), text.char_indices());
    while let Some((at, letter)) = letters.next() {
        match letter {
            '"' => return Some((value, text[at + 1..].to_owned())),
            '\\' => value.push(letters.next()?.1),
            letter => value.push(letter),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choose(values: &[&str]) -> Result<Challenge, String> {
        let headers = values.iter().map(|value| (WWW_AUTHENTICATE, value.parse().unwrap()));
        Challenge::choose(&headers.collect())
    }

    #[test]
    fn a_token_is_preferred_to_a_password() {
        let bearer = r#"Bearer realm="https://auth.example/token",service="r.example",scope="repository:a/b:pull""#;
        let expected =
            Challenge::Bearer { realm: "https://auth.example/token".into(), service: Some("r.example".into()) };
        assert_eq!(choose(&[bearer]), Ok(expected.clone()));
        assert_eq!(choose(&[r#"Basic realm="x""#, bearer]), Ok(expected.clone()));
        assert_eq!(choose(&[&format!(r#"BASIC realm="x", {bearer}"#)]), Ok(expected));
        assert_eq!(choose(&[r#"basic realm="x""#]), Ok(Challenge::Basic));
    }

    #[test]
    fn challenges_that_engines_meet_are_met() {
        for basic in
            ["Basic realm=Registry Realm", "Basic realm=", "Basic", "basic realm=\"a\" b", "Basic realm=\"\u{e9}\""]
        {
            assert_eq!(choose(&[basic]), Ok(Challenge::Basic), "{basic}");
        }
        let bearer = |service: Option<&str>| {
            Ok(Challenge::Bearer { realm: "https://a.example/t".into(), service: service.map(str::to_owned) })
        };
        assert_eq!(choose(&[r#"Bearer realm="https://a.example/t";service="s""#]), bearer(None));
        assert_eq!(choose(&[r#"Bearer realm="https://a.example/t",service="s",error=x y"#]), bearer(Some("s")));
    }

    #[test]
    fn what_cannot_be_met_is_named() {
        assert_eq!(choose(&["Negotiate", r#"Digest realm="x", nonce="y""#]), Err("Negotiate, Digest".into()));
        assert_eq!(choose(&["Bearer"]), Err("Bearer".into()), "a token server must be named");
        assert_eq!(choose(&[]), Err(String::new()));
    }
}
