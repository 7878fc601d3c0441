//! Dotted version numbers, compared by their numbers.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

/// A version such as `2021.2.124`: numbers with dots between them. What follows a `-` or `+` is kept but not compared.
#[derive(Clone, Debug)]
pub struct Version {
    text: String,
    numbers: Vec<u64>,
}

/// A text that is not a version.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a version: expected numbers with dots between them, such as 2024.1 or 8.0")]
pub struct NotAVersion(String);

impl FromStr for Version {
    type Err = NotAVersion;

    fn from_str(text: &str) -> Result<Self, NotAVersion> {
        let bare = text.strip_prefix('v').unwrap_or(text);
        let dotted = bare.split(['-', '+']).next().unwrap_or_default();
        let numbers = dotted.split('.').map(str::parse).collect::<Result<_, _>>();
        let numbers = numbers.map_err(|_| NotAVersion(text.to_owned()))?;
        Ok(Self { text: text.to_owned(), numbers })
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Ord for Version {
    /// A number that is not there counts as 0, so 2021.2 is older than 2021.2.124.
    fn cmp(&self, other: &Self) -> Ordering {
        let most = self.numbers.len().max(other.numbers.len());
        let number = |version: &Self, at| version.numbers.get(at).copied().unwrap_or(0);
        (0..most)
            .map(|at| number(self, at).cmp(&number(other, at)))
            .find(|order| order.is_ne())
            .unwrap_or(Ordering::Equal)
    }
}

impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Version {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Version {}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(text: &str) -> Version {
        text.parse().unwrap()
    }

    #[test]
    fn numbers_are_compared_as_numbers() {
        assert!(version("2021.10") > version("2021.9.1"));
        assert!(version("2021.2") < version("2021.2.124"));
        assert!(version("2024.1") > version("2021.2.124"));
        assert_eq!(version("8"), version("8.0"));
        assert_eq!(version("v2021.2.124-hotfix.1"), version("2021.2.124"));
    }

    #[test]
    fn words_are_not_versions() {
        for text in ["", "latest", "1.", "1..2", "1.x", "-1"] {
            assert!(text.parse::<Version>().is_err(), "{text}");
        }
    }
}
