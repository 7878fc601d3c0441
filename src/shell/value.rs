//! Values of shell variables that may be known in part: `/opt/` followed by what some command prints.

use super::LONGEST_VALUE;

/// A piece of a value.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    /// What it is, for people: "what `go env GOPATH` prints".
    Unknown(String),
}

/// A value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Value {
    parts: Vec<Part>,
}

impl Value {
    pub(super) fn text(text: impl Into<String>) -> Self {
        let mut value = Self::default();
        value.push_text(&text.into());
        value
    }

    pub(super) fn unknown(what: impl Into<String>) -> Self {
        Self { parts: vec![Part::Unknown(what.into())] }
    }

    pub(super) fn push_text(&mut self, text: &str) {
        match self.parts.last_mut() {
            _ if text.is_empty() => {}
            Some(Part::Text(last)) => last.push_str(text),
            _ => self.parts.push(Part::Text(text.to_owned())),
        }
    }

    pub(super) fn push(&mut self, other: Self) {
        for part in other.parts {
            match part {
                Part::Text(text) => self.push_text(&text),
                unknown => self.parts.push(unknown),
            }
        }
        let length = |part: &Part| match part {
            Part::Text(text) | Part::Unknown(text) => text.len() + 1,
        };
        let length: usize = self.parts.iter().map(length).sum();
        if length > LONGEST_VALUE {
            *self = Self::unknown("a very long value");
        }
    }

    /// The whole text, if all of it is known.
    pub(super) fn known(&self) -> Option<&str> {
        match self.parts.as_slice() {
            [] => Some(""),
            [Part::Text(text)] => Some(text),
            _ => None,
        }
    }

    /// What is not known of it.
    pub(super) fn why_unknown(&self) -> Option<&str> {
        self.parts.iter().find_map(|part| match part {
            Part::Unknown(what) => Some(what.as_str()),
            Part::Text(_) => None,
        })
    }

    /// Whether it is certainly empty, or certainly not; nothing if that cannot be told.
    pub(super) fn is_empty(&self) -> Option<bool> {
        let has_text = self.parts.iter().any(|part| matches!(part, Part::Text(_)));
        if self.parts.is_empty() {
            Some(true)
        } else if has_text {
            Some(false)
        } else {
            None
        }
    }

    /// The pieces between colons.
    pub(super) fn folders(&self) -> Vec<Self> {
        let mut folders = vec![Self::default()];
        for part in &self.parts {
            match part {
                Part::Text(text) => {
                    for (number, piece) in text.split(':').enumerate() {
                        if number > 0 {
                            folders.push(Self::default());
                        }
                        if let Some(last) = folders.last_mut() {
                            last.push_text(piece);
                        }
                    }
                }
                Part::Unknown(_) => folders.last_mut().into_iter().for_each(|last| last.parts.push(part.clone())),
            }
        }
        folders.retain(|folder| !folder.parts.is_empty());
        folders
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_known_or_not_one_by_one() {
        let mut value = Value::text("/a:/b/");
        value.push(Value::unknown("x"));
        value.push_text(":/c:");
        let folders: Vec<Option<String>> =
            value.folders().iter().map(|folder| folder.known().map(str::to_owned)).collect();
        assert_eq!(folders, [Some("/a".into()), None, Some("/c".into())]);
    }

    #[test]
    fn values_that_double_stay_bounded() {
        let mut value = Value::text("x");
        for _ in 0..100 {
            let again = value.clone();
            value.push(again);
        }
        assert!(value.known().is_none_or(|text| text.len() <= LONGEST_VALUE));
    }
}
