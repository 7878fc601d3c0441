//! The registry of an image: the base's hives with the deltas of the layers above laid over them, as far as they were
//! read (hcsshim, `ORMergeHives`; regf specification, layered keys).

use crate::layer::hive::{HiveData, HiveKey, HiveSummary, Layering};
use crate::rootfs::windows::WindowsFiles;
use crate::verdict::Place;

/// The hives that layers have deltas of and facts are about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hive {
    /// `HKLM\SYSTEM`.
    System,
    /// `HKLM\SOFTWARE`.
    Software,
    /// What new users get.
    DefaultUser,
}

impl Hive {
    /// Its file in a base layer.
    fn base(self) -> &'static str {
        match self {
            Self::System => "Files/Windows/System32/config/SYSTEM",
            Self::Software => "Files/Windows/System32/config/SOFTWARE",
            Self::DefaultUser => "Files/Windows/System32/config/DEFAULT",
        }
    }

    /// Its file in the layers above.
    fn delta(self) -> &'static str {
        match self {
            Self::System => "Hives/System_Delta",
            Self::Software => "Hives/Software_Delta",
            Self::DefaultUser => "Hives/DefaultUser_Delta",
        }
    }
}

/// What became of looking for a value.
#[derive(Clone, Debug)]
pub(super) enum Value<'a> {
    /// What it is, and the hive that says so.
    Found(&'a HiveData, Place),
    /// There is none.
    Absent,
    /// A layer that was not read may have it: which, and why.
    Open(usize, String),
    /// A hive that was read is damaged, and why.
    Damaged(String),
}

impl<'a> Value<'a> {
    /// The data and its place, if it was found.
    pub(super) fn found(self) -> Option<(&'a HiveData, Place)> {
        match self {
            Self::Found(data, place) => Some((data, place)),
            _ => None,
        }
    }
}

/// The registry.
pub(super) struct Registry<'a> {
    files: &'a WindowsFiles,
    /// The layer with the base hives: those of layers above it are not merged.
    base: Option<usize>,
}

impl<'a> Registry<'a> {
    pub(super) fn new(files: &'a WindowsFiles) -> Self {
        let has_hive = |number: &usize| files.in_layer(*number, Hive::System.base()).is_some();
        Self { files, base: (0..files.layers().len()).find(has_hive) }
    }

    /// Whether the base's own hive has a key.
    pub(super) fn base_has_key(&self, hive: Hive, key: &str) -> bool {
        let summary = self.base.and_then(|base| self.files.in_layer(base, hive.base())?.hive.as_ref());
        summary.is_some_and(|summary| summary.key(key).is_some())
    }

    /// Whether a layer that was read has the base's hives.
    pub(super) fn has_base(&self) -> bool {
        self.base.is_some()
    }

    /// A text and the hive that says it.
    pub(super) fn text(&self, hive: Hive, key: &str, name: &str) -> Option<(&'a str, Place)> {
        match self.value(hive, key, name).found()? {
            (HiveData::Text(text), place) => Some((text, place)),
            _ => None,
        }
    }

    /// A text of the base's own hive, whatever layers above it say.
    pub(super) fn text_of_base(&self, hive: Hive, key: &str, name: &str) -> Option<&'a str> {
        let summary = self.files.in_layer(self.base?, hive.base())?.hive.as_ref()?;
        match summary.key(key)?.value(name)? {
            HiveData::Text(text) => Some(text),
            _ => None,
        }
    }

    /// A value, by the uppermost layer that has a say. Key and name in any case.
    pub(super) fn value(&self, hive: Hive, key: &str, name: &str) -> Value<'a> {
        for (number, layer) in self.files.layers().iter().enumerate().rev() {
            let path = if Some(number) == self.base { hive.base() } else { hive.delta() };
            let detail = self.files.in_layer(number, path);
            if detail.is_some_and(|detail| detail.left_out) {
                return Value::Open(number, format!("layer {number} has too much that is kept to keep {path} as well"));
            }
            if let Some(summary) = detail.and_then(|detail| detail.hive.as_ref()) {
                match says(summary, key, name) {
                    Some(Some(data)) => return Value::Found(data, self.place(number, path)),
                    Some(None) => return Value::Absent,
                    None => {}
                }
                if let Some(trouble) = &summary.trouble {
                    return Value::Damaged(format!("{path} of layer {number} cannot be read: {trouble}"));
                }
            } else if !layer.is_whole {
                return Value::Open(number, self.files.open().unwrap_or_default());
            }
        }
        Value::Absent
    }

    /// Why a hive could not be read, in the uppermost layer where that is so.
    pub(super) fn trouble(&self, hive: Hive) -> Option<String> {
        (0..self.files.layers().len()).rev().find_map(|number| {
            let path = if Some(number) == self.base { hive.base() } else { hive.delta() };
            let trouble = self.files.in_layer(number, path)?.hive.as_ref()?.trouble.as_ref()?;
            Some(format!("{path} of layer {number} cannot be read: {trouble}"))
        })
    }

    /// All texts that the layers say of a value, from the lowest on, whatever became of them above.
    pub(super) fn texts(&self, hive: Hive, key: &str, name: &str) -> Vec<(&'a str, Place)> {
        let text = |number: usize| {
            let path = if Some(number) == self.base { hive.base() } else { hive.delta() };
            let summary = self.files.in_layer(number, path)?.hive.as_ref()?;
            match summary.key(key)?.value(name)? {
                HiveData::Text(text) => Some((text.as_str(), self.place(number, path))),
                _ => None,
            }
        };
        (0..self.files.layers().len()).filter_map(text).collect()
    }

    fn place(&self, number: usize, path: &str) -> Place {
        let shown = path.strip_prefix("Files/").map(|path| format!(r"C:\{}", path.replace('/', r"\")));
        self.files.place_in(shown.as_deref().unwrap_or(path), number)
    }
}

/// What one hive says of a value: that it is this, that there is none (`Some(None)`), or nothing.
pub(super) fn says<'a>(summary: &'a HiveSummary, key: &str, name: &str) -> Option<Option<&'a HiveData>> {
    let own = summary.key(key);
    match own.and_then(|own| own.value(name)) {
        Some(HiveData::Tombstone) => return Some(None),
        Some(data) => return Some(Some(data)),
        None => {}
    }
    let hides = |key: &HiveKey| matches!(key.layering, Layering::Tombstone | Layering::SupersedeTree);
    let is_hidden = own.is_some_and(|own| own.layering == Layering::SupersedeLocal)
        || std::iter::successors(Some(key), |key| key.rsplit_once('\\').map(|(parent, _)| parent))
            .any(|path| summary.key(path).is_some_and(hides));
    is_hidden.then_some(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layer::hive::HiveValue;

    /// A hive with one key and at most one value.
    fn hive(path: &str, layering: Layering, value: Option<(&str, HiveData)>) -> HiveSummary {
        let values = value.into_iter().map(|(name, data)| HiveValue { name: name.to_owned(), data }).collect();
        HiveSummary { keys: vec![HiveKey { path: path.to_owned(), layering, values }], trouble: None }
    }

    #[test]
    fn deltas_merge_hide_and_supersede() {
        let text = || HiveData::Text("x".to_owned());
        let asked = |path: &str, layering, value| {
            says(&hive(path, layering, value), r"A\B", "Path").map(|found| found.is_some())
        };
        assert_eq!(asked(r"a\b", Layering::Merge, Some(("PATH", text()))), Some(true));
        assert_eq!(asked(r"A\B", Layering::Merge, Some(("Other", text()))), None);
        assert_eq!(asked(r"A\B", Layering::Merge, Some(("Path", HiveData::Tombstone))), Some(false));
        assert_eq!(asked(r"A\B", Layering::Tombstone, None), Some(false));
        assert_eq!(asked("A", Layering::Tombstone, None), Some(false));
        assert_eq!(asked("A", Layering::SupersedeTree, None), Some(false));
        assert_eq!(asked("A", Layering::SupersedeLocal, None), None);
        assert_eq!(asked(r"A\B", Layering::SupersedeLocal, None), Some(false));
        assert_eq!(asked(r"A\B", Layering::SupersedeTree, Some(("Path", text()))), Some(true));
    }
}
