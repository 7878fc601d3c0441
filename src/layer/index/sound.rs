//! Whether an index that comes from elsewhere than from a layer can be used without going astray.

use super::{Entry, Kind, LayerIndex, NONE};

impl LayerIndex {
    /// Whether all that it says of itself holds: places of names, order, links. Every index that was made here is so.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        let is_text =
            |(start, length): (u32, u32)| self.names.get(start as usize..start as usize + length as usize).is_some();
        let is_link = |entry: &Entry| {
            let target = self.entries.get(entry.more as usize);
            let leads_on = target.is_some_and(|target| target.kind == Kind::HardLink);
            entry.kind != Kind::HardLink || (!leads_on && (target.is_some() || entry.more == NONE))
        };
        self.entries.iter().all(|entry| is_text(entry.path) && is_text(entry.link) && is_link(entry))
            && self.visible.iter().all(|&id| (id as usize) < self.entries.len())
            && self.visible.is_sorted_by(|&a, &b| self.path_of(a) < self.path_of(b))
            && self.whiteouts.is_sorted()
            && self.opaque.is_sorted()
    }
}

#[cfg(test)]
mod tests {
    use super::super::{IndexBuilder, NewEntry};
    use super::*;

    fn index() -> LayerIndex {
        let mut builder = IndexBuilder::default();
        let entry = NewEntry { path: "a", kind: Kind::File, mode: 0o644, uid: 0, gid: 0, size: 1, link: "" };
        builder.add(&entry, None).unwrap();
        builder.add(&NewEntry { path: "b", ..entry.clone() }, None).unwrap();
        builder.add(&NewEntry { path: "c", kind: Kind::HardLink, link: "a", ..entry }, None).unwrap();
        builder.finish(None, 0).unwrap()
    }

    #[test]
    fn what_would_lead_astray_is_not_sound() {
        assert!(index().is_sound());
        let spoil: [fn(&mut LayerIndex); 5] = [
            |index| index.entries[0].path.1 = 99,
            |index| index.visible[1] = 3,
            |index| index.visible.swap(0, 1),
            |index| index.entries[2].more = 2,
            |index| index.whiteouts = vec!["b".to_owned(), "a".to_owned()],
        ];
        for (number, spoil) in spoil.into_iter().enumerate() {
            let mut index = index();
            spoil(&mut index);
            assert!(!index.is_sound(), "{number}");
        }
    }
}
