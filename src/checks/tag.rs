//! Decides whether the name an image is pulled by means the same image tomorrow.

use serde::Deserialize;

use super::when_known;
use crate::facts::{Facts, ReferenceFact};
use crate::verdict::{Answer, Place};

/// `kind = "tag-fixed"`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct TagFixed {
    /// Words that name a channel: `latest`, `stable`, `main`.
    pub channels: Vec<String>,
    /// Words that begin a distribution's tag: `ubuntu` (`ubuntu.22.04`), `bookworm`, `ltsc` (`ltsc2022`).
    pub distributions: Vec<String>,
    /// Words that say nothing about the version: `slim`, `amd64`.
    #[serde(default)]
    pub flavours: Vec<String>,
    /// Repositories whose numbers are releases that move: Windows' `1809`.
    #[serde(default)]
    pub releases: Vec<Releases>,
    /// A number from here on is a build's, below it is part of a version.
    pub build_number_from: u64,
}

/// Numbers that look like a build's but are a release's.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Releases {
    /// How the names of the repositories end.
    pub repositories: Vec<String>,
    /// The tags' words.
    pub tags: Vec<String>,
}

impl TagFixed {
    pub(super) fn judge(&self, facts: &Facts) -> Answer {
        let place = Place::field("reference");
        when_known(&facts.reference, &place, |reference| {
            let why = match (&reference.digest, &reference.tag) {
                (Some(_), _) => None,
                (None, None) => Some("the name has neither tag nor digest, so `latest` is pulled".to_owned()),
                (None, Some(tag)) => self.floats(reference, tag).map(|why| format!("the tag `{tag}` {why}")),
            };
            why.map_or_else(Answer::pass, |why| Answer::fail([place.says(why)]))
        })
    }

    /// Why the tag may come to mean another image, if it may.
    fn floats(&self, reference: &ReferenceFact, tag: &str) -> Option<&'static str> {
        let words: Vec<&str> = tag.split(['-', '_', '+']).filter(|word| !word.is_empty()).collect();
        let is_release = |word: &str| self.is_release(&reference.repository, word);
        let is_exact = |word: &&str| !is_release(word) && self.is_exact(word);
        let of_channel = "is the name of a channel, and another image with every release";
        if words.iter().any(|word| word.eq_ignore_ascii_case("latest")) {
            return Some(of_channel);
        }
        if is_iso_date(&words) || words.iter().any(is_exact) {
            return None;
        }
        let first = words.first()?;
        if self.is_channel(first) {
            return Some(of_channel);
        }
        if is_part_of_version(first) {
            return Some("names only part of a version, and another image with every release of it");
        }
        let is_word = |word: &str| {
            is_release(word) || self.is_distribution(word) || self.is_channel(word) || is_in(&self.flavours, word)
        };
        let is_named = words.iter().any(|word| is_release(word) || self.is_distribution(word));
        let all_known = words.iter().all(|word| is_word(word) || is_part_of_version(word));
        (is_named && all_known).then_some("names a distribution but no version, and another image with every release")
    }

    /// Whether this word alone names one build: a full version, a date, a commit, a build number, a content hash.
    fn is_exact(&self, word: &str) -> bool {
        let is_build = word.parse::<u64>().is_ok_and(|number| number >= self.build_number_from);
        is_build || is_full_version(word) || is_date(word) || is_commit(word) || is_content_hash(word)
    }

    fn is_channel(&self, word: &str) -> bool {
        is_in(&self.channels, word)
    }

    fn is_distribution(&self, word: &str) -> bool {
        let name = word.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.');
        let first = word.split('.').next().unwrap_or_default();
        is_in(&self.distributions, name)
            || is_in(&self.distributions, first)
            || is_in(&self.distributions, first.trim_end_matches(|c: char| c.is_ascii_digit()))
    }

    fn is_release(&self, repository: &str, word: &str) -> bool {
        let of = |releases: &Releases| releases.repositories.iter().any(|end| ends_with_path(repository, end));
        self.releases.iter().any(|releases| of(releases) && is_in(&releases.tags, word))
    }
}

fn is_in(list: &[String], word: &str) -> bool {
    list.iter().any(|known| known.eq_ignore_ascii_case(word))
}

fn ends_with_path(repository: &str, end: &str) -> bool {
    repository.strip_suffix(end).is_some_and(|rest| rest.is_empty() || rest.ends_with('/'))
}

/// The numbers a word begins with, and the rest.
fn numbers_of(word: &str) -> Option<(Vec<&str>, &str)> {
    let bare = word.strip_prefix(['v', 'V']).unwrap_or(word);
    let end = bare.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(bare.len());
    let (numbers, rest) = bare.split_at(end);
    let numbers: Vec<&str> = numbers.split('.').collect();
    numbers.iter().all(|number| !number.is_empty()).then_some((numbers, rest))
}

/// `1.2.3`, `v1.2.3rc1`, `10.0.20348.2227`.
fn is_full_version(word: &str) -> bool {
    numbers_of(word).is_some_and(|(numbers, _)| numbers.len() >= 3)
}

/// `5`, `v1.2`, `3.x`, `2.0rc1`.
fn is_part_of_version(word: &str) -> bool {
    let bare = word.trim_end_matches(".x");
    numbers_of(bare).is_some_and(|(numbers, rest)| {
        let stage = rest.trim_end_matches(|c: char| c.is_ascii_digit());
        numbers.len() <= 2 && ["", "a", "b", "rc", "alpha", "beta", "dev", "pre"].contains(&stage)
    })
}

/// `20240110`, `20240110.1`.
fn is_date(word: &str) -> bool {
    let digits = word.split('.').next().unwrap_or_default();
    let part = |range: std::ops::Range<usize>| digits.get(range).and_then(|part| part.parse::<u32>().ok());
    digits.len() == 8
        && digits.bytes().all(|b| b.is_ascii_digit())
        && part(0..4).is_some_and(|year| (1990..2200).contains(&year))
        && part(4..6).is_some_and(|month| (1..=12).contains(&month))
        && part(6..8).is_some_and(|day| (1..=31).contains(&day))
}

/// `2024-01-10` anywhere in the tag.
fn is_iso_date(words: &[&str]) -> bool {
    words.windows(3).any(|three| is_date(&three.concat()) && three.iter().all(|part| part.len() <= 4))
}

/// A commit of git, shortened to no less than 7 characters; `git describe` puts a `g` before it.
fn is_commit(word: &str) -> bool {
    let hash = word.strip_prefix('g').filter(|rest| rest.len() >= 7).unwrap_or(word);
    let is_hex = hash.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    let has_digit = hash.bytes().any(|b| b.is_ascii_digit());
    is_hex && (7..=64).contains(&hash.len()) && (has_digit || hash.len() >= 40)
}

/// Digits, capitals and small letters without order, as in `1.36-tT2Ki6`.
fn is_content_hash(word: &str) -> bool {
    let has = |wanted: fn(&u8) -> bool| word.as_bytes().iter().any(wanted);
    word.len() >= 6
        && word.bytes().all(|b| b.is_ascii_alphanumeric())
        && has(u8::is_ascii_digit)
        && has(u8::is_ascii_lowercase)
        && word.bytes().skip(1).any(|b| b.is_ascii_uppercase())
}
