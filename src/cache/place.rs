//! Where a cache is: a folder, or a store that several machines share.

use std::ffi::OsStr;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use reqwest::Url;

use crate::printable::printable;
use crate::spelling;

/// The schemes of addresses.
const SCHEMES: [&str; 5] = ["s3", "gs", "az", "redis", "rediss"];

/// Where a cache is.
#[derive(Clone, PartialEq, Eq)]
pub enum Place {
    /// A folder of this machine.
    Folder(PathBuf),
    /// A bucket or a container: `s3://bucket/prefix`, `gs://…`, `az://…`.
    Bucket(Url),
    /// A Redis server or one that speaks as it does: `redis://host:6379/0`, with TLS `rediss://…`.
    Redis(Url),
}

/// A text that names no place for a cache. The message has nothing of the text, which may hold a password.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NotAPlace(String);

/// How characters are written that mean something else in an address.
const ESCAPES: &str =
    "in a name or password, write % as %25, @ as %40, : as %3A, / as %2F, ? as %3F, # as %23, a blank as %20";

impl Place {
    /// The place that an argument or a variable names; a folder may have any name.
    ///
    /// # Errors
    /// It names none.
    pub fn parse(text: &OsStr) -> Result<Self, NotAPlace> {
        match text.to_str() {
            Some(text) => text.parse(),
            None => Ok(Self::Folder(text.into())),
        }
    }

    /// As it is displayed, safe for a terminal.
    #[must_use]
    pub fn printable(&self) -> String {
        printable(&self.to_string()).into_owned()
    }
}

impl FromStr for Place {
    type Err = NotAPlace;

    fn from_str(text: &str) -> Result<Self, NotAPlace> {
        let wrong = |why: String| Err(NotAPlace(why));
        if text.is_empty() {
            return wrong("it is empty: give a folder, or an address like s3://bucket/prefix".to_owned());
        }
        // Such as the line end of a file that somebody put into a variable.
        if text.contains(char::is_control) {
            return wrong("it has a line end or another control character".to_owned());
        }
        let Some((scheme, rest)) = text.split_once("://") else {
            let is_address =
                SCHEMES.iter().any(|scheme| text.strip_prefix(scheme).is_some_and(|rest| rest.starts_with(':')));
            return match is_address {
                true => wrong("its address is malformed: :// follows the scheme".to_owned()),
                false => Ok(Self::Folder(text.into())),
            };
        };
        if !SCHEMES.contains(&scheme) {
            // Only words that are known here are repeated.
            let nearest = spelling::nearest(scheme, SCHEMES).map(|right| format!("; did you mean {right}://?"));
            return wrong(format!(
                "it is neither a folder nor an address like s3://bucket/prefix, gs://…, az://…, redis://host or rediss://host{}",
                nearest.unwrap_or_default()
            ));
        }
        let is_redis = scheme.starts_with("redis");
        let in_password = if is_redis && rest.contains('@') { format!(" ({ESCAPES})") } else { String::new() };
        let malformed = |why: &str| wrong(format!("its address is malformed: {why}{in_password}"));
        if rest.contains(char::is_whitespace) {
            return malformed("it has a blank");
        }
        let url = match Url::parse(text) {
            Ok(url) if url.host_str().is_some_and(|host| !host.is_empty()) => url,
            Ok(_) => return malformed("it names no host or bucket"),
            Err(error) => return malformed(&error.to_string()),
        };
        if !is_redis {
            let has_login = !url.username().is_empty() || url.password().is_some();
            return match has_login {
                true => wrong("the credentials of a bucket belong into variables such as AWS_ACCESS_KEY_ID".to_owned()),
                false => Ok(Self::Bucket(url)),
            };
        }
        if url.query().is_some() || url.fragment().is_some() {
            return malformed("nothing follows the number of the database");
        }
        let database = url.path().trim_matches('/');
        if !database.is_empty() && database.parse::<u32>().is_err() {
            return malformed("what follows the host is the number of a database");
        }
        Ok(Self::Redis(url))
    }
}

impl fmt::Display for Place {
    /// Without what an address may have of secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder(folder) => write!(f, "{}", folder.display()),
            Self::Bucket(url) | Self::Redis(url) => {
                let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
                write!(f, "{}://{}{port}{}", url.scheme(), url.host_str().unwrap_or_default(), url.path())
            }
        }
    }
}

impl fmt::Debug for Place {
    /// As it is displayed: an address may have a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_shown_without_its_secrets() {
        let shown = |text: &str| text.parse::<Place>().map(|place| place.to_string());
        assert_eq!(shown("/var/cache").unwrap(), "/var/cache");
        assert_eq!(shown("cache").unwrap(), "cache");
        assert_eq!(shown("s3://bucket/ci/imglint?x=y").unwrap(), "s3://bucket/ci/imglint");
        assert_eq!(shown("rediss://user:secret@host:6380/1").unwrap(), "rediss://host:6380/1");
        for wrong in ["", "s3://", "http://host/", "ftp://host/"] {
            assert!(shown(wrong).is_err(), "{wrong}");
        }
        let place: Place = "redis://user:secret@host/0".parse().unwrap();
        assert_eq!(format!("{place:?}"), "redis://host/0");
    }

    #[test]
    fn what_is_wrong_with_an_address_is_said_without_a_word_of_it() {
        for (text, expected) in [
            ("reds://:s3cr3tpw@h/0", "did you mean redis://?"),
            ("redis://:s3cr3tpw@127.0.0.1:99999/0", "invalid port number"),
            ("redis://:s3cr3tpw@127.0.0.1:port/0", "invalid port number"),
            ("redis://:s3cr3tpw x@127.0.0.1/0", "it has a blank (in a name or password, write % as %25"),
            ("redis://:s3cr3tpw#x@127.0.0.1/0", "# as %23"),
            ("redis://s3cr3tpw#x@127.0.0.1/0", "nothing follows the number of the database (in a name"),
            ("redis://s3cr3tpw?x@127.0.0.1/0", "nothing follows"),
            ("redis://:s3cr3tpw/x@127.0.0.1/0", "its address is malformed"),
            ("redis://s3cr3tpw/x@127.0.0.1/0", "the number of a database"),
            ("redis://:s3cr3tpw@/0", "its address is malformed"),
            ("redis://:s3cr3tpw@h/zero", "the number of a database"),
            ("redis://:s3cr3tpw@h/0\n", "a line end"),
            ("redis:/:s3cr3tpw@h/0", ":// follows the scheme"),
            ("redis::s3cr3tpw@h/0", ":// follows the scheme"),
            ("s3://AKIA:s3cr3tpw@bucket/x", "AWS_ACCESS_KEY_ID"),
            ("s3://s3cr3tpw bucket/x", "it has a blank"),
            ("https://user:s3cr3tpw@h/", "neither a folder nor an address"),
        ] {
            let said = text.parse::<Place>().unwrap_err().to_string();
            assert!(said.contains(expected) && !said.contains("s3cr3tpw"), "{text:?}: {said}");
            assert!(!said.contains('\n'), "{said}");
        }
        assert_eq!("redis.d/x".parse::<Place>().unwrap(), Place::Folder("redis.d/x".into()));
        assert!("redis://:a%20b%23@h/15".parse::<Place>().is_ok());
    }
}
