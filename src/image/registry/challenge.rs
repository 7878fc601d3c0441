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
        /// What the token must allow.
        scope: Option<String>,
    },
}

impl Challenge {
    /// The best of the challenges of an answer that can be met: a token rather than a password. `Err` holds the schemes
    /// that were asked for when there is none.
    pub(super) fn choose(headers: &HeaderMap) -> Result<Self, String> {
        let mut basic = false;
        let mut others = Vec::new();
        for header in headers.get_all(WWW_AUTHENTICATE) {
            let text = header.to_str().unwrap_or_default();
            for challenge in ChallengeParser::new(text).map_while(Result::ok) {
                let value = |name: &str| {
                    let found = challenge.params.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
                    found.map(|(_, value)| value.to_unescaped()).filter(|text| !text.is_empty())
                };
                if challenge.scheme.eq_ignore_ascii_case("bearer")
                    && let Some(realm) = value("realm")
                {
                    return Ok(Self::Bearer { realm, service: value("service"), scope: value("scope") });
                }
                basic |= challenge.scheme.eq_ignore_ascii_case("basic");
                others.push(challenge.scheme.to_owned());
            }
        }
        if basic { Ok(Self::Basic) } else { Err(others.join(", ")) }
    }
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
        let expected = Challenge::Bearer {
            realm: "https://auth.example/token".into(),
            service: Some("r.example".into()),
            scope: Some("repository:a/b:pull".into()),
        };
        assert_eq!(choose(&[bearer]), Ok(expected.clone()));
        assert_eq!(choose(&[r#"Basic realm="x""#, bearer]), Ok(expected.clone()));
        assert_eq!(choose(&[&format!(r#"BASIC realm="x", {bearer}"#)]), Ok(expected));
        assert_eq!(choose(&[r#"basic realm="x""#]), Ok(Challenge::Basic));
    }

    #[test]
    fn what_cannot_be_met_is_named() {
        assert_eq!(choose(&["Negotiate", r#"Digest realm="x", nonce="y""#]), Err("Negotiate, Digest".into()));
        assert_eq!(choose(&["Bearer"]), Err("Bearer".into()), "a token server must be named");
        assert_eq!(choose(&[]), Err(String::new()));
    }
}
