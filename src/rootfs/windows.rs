//! The layers of a Windows image as one drive C:, in which names have no case, and of which some layers may not have
//! been read.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use crate::layer::path::parent_and_name;
use crate::layer::{Detail, HardLink, Kind, LayerIndex};
use crate::verdict::Place;

/// How many links a look-up follows (Windows, "Symbolic Link Effects on File Systems": 63).
const MOST_LINKS: usize = 63;
/// How many entries of a folder are looked at for a name in another case.
const MOST_LOOKED_AT: usize = 10_000;
/// The folder of a layer that becomes C: (hcsshim, pkg/ociwclayer).
const FILES: &str = "files";
/// The component store: most of a base's files, from which nothing is run. Others are hard links to them.
const STORE: &str = "windows/winsxs/";

/// One layer of a Windows image, and how much of it was read.
#[derive(Clone, Debug, Default)]
pub struct WindowsLayer {
    /// What was read of it.
    pub index: Option<Arc<LayerIndex>>,
    /// Whether that is all.
    pub is_whole: bool,
    /// Why not, a sentence about it without its full stop; empty if it was not asked for so far.
    pub why_not: String,
    /// The Dockerfile instruction that made it, if the history tells.
    pub instruction: Option<String>,
}

/// Drive C: of an image.
#[derive(Debug, Default)]
pub struct WindowsFiles {
    layers: Vec<WindowsLayer>,
    /// By folded path below C:, with slashes.
    files: BTreeMap<String, Entry>,
    /// The folded paths that a layer takes away, and the last layer that does.
    gone: BTreeMap<String, usize>,
    /// The layers of which not all was read.
    unread: Vec<usize>,
    /// Whether paths within the layer are paths on C: already.
    is_plain: bool,
}

#[derive(Debug)]
struct Entry {
    kind: Kind,
    layer: usize,
    /// Its place among the members of its layer.
    number: u32,
    /// Its path in its layer, as written.
    written: String,
    /// The layer and path of its content, where it is another name of a file.
    content: Option<(usize, String)>,
}

/// A file or folder that was found.
#[derive(Clone, Debug)]
pub struct WindowsNode<'a> {
    /// Where it really is, as people write it: `C:\Windows\System32`.
    pub path: String,
    /// Never a link.
    pub kind: Kind,
    /// The layer that gives it.
    pub layer: usize,
    /// What is kept of its content.
    pub detail: Option<&'a Detail>,
    /// The size of its content in bytes; `None` if no layer that was read has it.
    pub bytes: Option<u64>,
    folded: String,
}

/// What became of a look-up.
#[derive(Clone, Debug)]
pub enum Sought<'a> {
    /// It is there.
    Found(WindowsNode<'a>),
    /// It is not.
    Absent,
    /// A layer that was not read may have it, or take it away: why it was not read.
    Open(String),
}

impl WindowsFiles {
    /// Lays the layers over each other, base first. `is_plain` says that the one layer is a folder which is itself C:.
    #[must_use]
    pub fn new(layers: Vec<WindowsLayer>, is_plain: bool) -> Self {
        let unread = layers.iter().enumerate().filter(|(_, layer)| !layer.is_whole).map(|(number, _)| number).collect();
        let mut drive = Self { files: BTreeMap::new(), gone: BTreeMap::new(), unread, is_plain, layers };
        for number in 0..drive.layers.len() {
            if let Some(index) = drive.layers[number].index.clone() {
                drive.lay(number, &index);
            }
        }
        drive
    }

    /// The layers, base first.
    #[must_use]
    pub fn layers(&self) -> &[WindowsLayer] {
        &self.layers
    }

    /// Whether all layers were read to their ends.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.unread.is_empty()
    }

    /// How many bytes the layers have uncompressed, as far as they were read.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        let indexes = self.layers.iter().filter_map(|layer| layer.index.as_ref());
        indexes.fold(0, |sum, index| sum.saturating_add(index.bytes.unwrap_or_default()))
    }

    /// The numbers of the layers that were not read to their ends.
    #[must_use]
    pub fn unread(&self) -> &[usize] {
        &self.unread
    }

    /// The entry of one layer at a path within it, such as `Hives/System_Delta`, in any case.
    #[must_use]
    pub fn in_layer(&self, number: usize, path: &str) -> Option<&Detail> {
        let index = self.layers.get(number)?.index.as_deref()?;
        let path = if self.is_plain { path.strip_prefix("Files/").unwrap_or(path) } else { path };
        let exact = index.get(path).and_then(|entry| entry.detail());
        let folder = parent_and_name(path).0;
        // A case that nobody writes costs a look at the folder, and in one of that size nobody looks.
        exact.or_else(|| {
            index.below(folder).take(MOST_LOOKED_AT).find(|entry| fold(entry.path()) == fold(path))?.detail()
        })
    }

    fn lay(&mut self, number: usize, index: &LayerIndex) {
        let is_plain = self.is_plain;
        for path in index.whiteouts() {
            let Some(path) = below_files(path, is_plain) else { continue };
            self.remove(&fold(path));
            self.gone.insert(fold(path), number);
        }
        let mut links: Vec<(String, String)> = Vec::new();
        for entry in index.below("") {
            let Some(path) = below_files(entry.path(), is_plain) else { continue };
            // Of `NAME:STREAM` the file itself is all that counts.
            if parent_and_name(path).1.contains(':') {
                continue;
            }
            let content = match entry.hard_link() {
                None => None,
                Some(HardLink::Here(target)) => Some((number, target.path().to_owned())),
                Some(HardLink::Below(target)) => {
                    links.push((fold(path), target.to_owned()));
                    self.below(number, target)
                }
            };
            let kind = if entry.kind() == Kind::HardLink { Kind::File } else { entry.kind() };
            let folded = fold(path);
            if folded.starts_with(STORE) {
                continue;
            }
            // Of names that differ in case only, the last member of the layer is what Windows has in the end.
            if self.files.get(&folded).is_some_and(|own| own.layer == number && own.number > entry.number()) {
                continue;
            }
            if kind != Kind::Directory {
                self.remove_below(&folded);
            } else if self.files.get(&folded).is_some_and(|lower| lower.kind == Kind::Directory) {
                continue;
            }
            let written = entry.path().to_owned();
            self.files.insert(folded, Entry { kind, layer: number, number: entry.number(), written, content });
        }
        // What a hard link names may be written in another case, or be in a layer below.
        for (path, target) in links {
            let Some(target) = below_files(&target, is_plain) else { continue };
            let content = self
                .files
                .get(&fold(target))
                .map(|found| found.content.clone().unwrap_or_else(|| (found.layer, found.written.clone())));
            if let Some(entry) = self.files.get_mut(&path) {
                entry.content = content.or(entry.content.take());
            }
        }
    }

    /// The layer and path of a file that a layer below has, written in the same case.
    fn below(&self, number: usize, path: &str) -> Option<(usize, String)> {
        let has = |number: &usize| self.layers[*number].index.as_deref().is_some_and(|index| index.get(path).is_some());
        (0..number).rev().find(has).map(|number| (number, path.to_owned()))
    }

    fn remove(&mut self, folded: &str) {
        self.files.remove(folded);
        self.remove_below(folded);
    }

    fn remove_below(&mut self, folded: &str) {
        let first = format!("{folded}/");
        let range = self.files.range(first.clone()..).take_while(|(path, _)| path.starts_with(&first));
        let below: Vec<String> = range.map(|(path, _)| path.clone()).collect();
        for path in below {
            self.files.remove(&path);
        }
    }

    /// Looks up `C:\…`, following links and junctions.
    #[must_use]
    pub fn find(&self, path: &str) -> Sought<'_> {
        let Some(mut rest) = parts(path) else { return Sought::Absent };
        let (mut here, mut shown, mut links) = (String::new(), String::from("C:"), 0);
        while let Some(name) = rest.pop_front() {
            if name == ".." {
                here.truncate(here.rfind('/').unwrap_or(0));
                shown.truncate(shown.rfind('\\').unwrap_or(2));
                continue;
            }
            let at = if here.is_empty() { fold(&name) } else { format!("{here}/{}", fold(&name)) };
            match self.files.get(&at) {
                Some(entry) if entry.kind == Kind::Symlink => {
                    links += 1;
                    let target = self.link(entry);
                    let Some(target_parts) = parts(target).filter(|_| links <= MOST_LINKS) else {
                        return Sought::Absent;
                    };
                    if is_absolute(target) {
                        (here, shown) = (String::new(), String::from("C:"));
                    }
                    for part in target_parts.into_iter().rev() {
                        rest.push_front(part);
                    }
                    continue;
                }
                Some(entry) => {
                    if let Some(open) = self.above(entry.layer) {
                        return Sought::Open(open);
                    }
                    if entry.kind != Kind::Directory && !rest.is_empty() {
                        return Sought::Absent;
                    }
                    let own = below_files(&entry.written, self.is_plain).unwrap_or(&entry.written);
                    shown = format!("{shown}\\{}", parent_and_name(own).1);
                }
                None if self.has_below(&at) => shown = format!("{shown}\\{name}"),
                None => return self.absent(&at),
            }
            here = at;
        }
        Sought::Found(self.node(here, shown))
    }

    /// Whether a file or folder is there, as far as the layers were read.
    #[must_use]
    pub fn has(&self, path: &str) -> bool {
        matches!(self.find(path), Sought::Found(_))
    }

    /// The names in a folder that was found, with whether each is a file: as far as the layers were read.
    #[must_use]
    pub fn names(&self, folder: &WindowsNode<'_>) -> Vec<(String, bool)> {
        let first = if folder.folded.is_empty() { String::new() } else { format!("{}/", folder.folded) };
        let mut names: BTreeMap<&str, (String, bool)> = BTreeMap::new();
        for (path, entry) in self.files.range(first.clone()..).take_while(|(path, _)| path.starts_with(&first)) {
            let below = &path[first.len()..];
            let Some(name) = below.split('/').next().filter(|name| !name.is_empty()) else { continue };
            if name.len() == below.len() {
                let own = parent_and_name(&entry.written).1.to_owned();
                names.insert(name, (own, entry.kind != Kind::Directory));
            } else {
                names.entry(name).or_insert_with(|| (name.to_owned(), false));
            }
        }
        names.into_values().collect()
    }

    /// The place of what was found.
    #[must_use]
    pub fn place(&self, node: &WindowsNode<'_>) -> Place {
        self.place_in(&node.path, node.layer)
    }

    /// A path and the layer that gives it.
    #[must_use]
    pub fn place_in(&self, path: &str, layer: usize) -> Place {
        Place {
            path: Some(path.to_owned()),
            layer: Some(layer),
            instruction: self.layers.get(layer).and_then(|layer| layer.instruction.clone()),
            field: None,
        }
    }

    /// Why it cannot be told what the layers have; nothing if all of them were read.
    #[must_use]
    pub fn open(&self) -> Option<String> {
        self.unread.last().map(|&number| self.why(number))
    }

    /// Why it cannot be told what the layers above one have; nothing if they were read.
    #[must_use]
    pub fn above(&self, layer: usize) -> Option<String> {
        self.unread.last().filter(|&&number| number > layer).map(|&number| self.why(number))
    }

    fn why(&self, number: usize) -> String {
        match self.layers[number].why_not.as_str() {
            "" => format!("layer {number} was not read to its end"),
            why => format!("layer {number} was not read: {why}"),
        }
    }

    fn absent(&self, folded: &str) -> Sought<'_> {
        let ancestors = std::iter::successors(Some(folded), |path| path.rsplit_once('/').map(|(parent, _)| parent));
        let removed = ancestors.filter_map(|path| self.gone.get(path)).max();
        match (self.unread.last(), removed) {
            (None, _) => Sought::Absent,
            (Some(last), Some(remover)) if last < remover => Sought::Absent,
            (Some(last), _) => Sought::Open(self.why(*last)),
        }
    }

    fn has_below(&self, folded: &str) -> bool {
        let first = format!("{folded}/");
        self.files.range(first.clone()..).next().is_some_and(|(path, _)| path.starts_with(&first))
    }

    fn link(&self, entry: &Entry) -> &str {
        let index = self.layers[entry.layer].index.as_deref();
        index.and_then(|index| index.get(&entry.written)).map_or("", |found| found.link())
    }

    fn node(&self, folded: String, path: String) -> WindowsNode<'_> {
        let path = if path.len() == 2 { format!("{path}\\") } else { path };
        let Some(entry) = self.files.get(&folded) else {
            return WindowsNode { path, kind: Kind::Directory, layer: 0, detail: None, bytes: None, folded };
        };
        let (layer, written) =
            entry.content.as_ref().map_or((entry.layer, &entry.written), |(layer, path)| (*layer, path));
        let found = self.layers[layer].index.as_deref().and_then(|index| index.get(written));
        let content = found.filter(|found| found.kind() == Kind::File);
        let (detail, bytes) = (content.and_then(|content| content.detail()), content.map(|content| content.size()));
        WindowsNode { path, kind: entry.kind, layer: entry.layer, detail, bytes, folded }
    }
}

/// A name as Windows compares it: NTFS folds character by character.
#[must_use]
pub fn fold(text: &str) -> String {
    if text.is_ascii() {
        return text.to_ascii_lowercase();
    }
    let one = |letter: char| {
        let mut lower = letter.to_lowercase();
        lower.next().filter(|_| lower.next().is_none()).unwrap_or(letter)
    };
    text.chars().map(one).collect()
}

/// The part of a layer's path that is on C:.
fn below_files(path: &str, is_plain: bool) -> Option<&str> {
    if is_plain {
        return Some(path);
    }
    let (first, rest) = path.split_once('/')?;
    first.eq_ignore_ascii_case(FILES).then_some(rest)
}

/// The names of a path on C:; nothing for one on another drive or on a share.
fn parts(path: &str) -> Option<VecDeque<String>> {
    let path = [r"\??\", r"\\?\"].iter().find_map(|prefix| path.strip_prefix(prefix)).unwrap_or(path);
    let path = match path.as_bytes() {
        [b'c' | b'C', b':', ..] => &path[2..],
        [_, b':', ..] | [b'\\', b'\\', ..] => return None,
        // A junction to a volume by its identifier leads to C:, the only one there is.
        _ => match path.strip_prefix("Volume{").and_then(|rest| rest.split_once('}')) {
            Some((_, rest)) => rest,
            None => path,
        },
    };
    let trimmed = path.split(['\\', '/']).map(|name| match name {
        "." | ".." => name,
        // Win32 takes dots and spaces at the end of a name off.
        name => name.trim_end_matches(['.', ' ']),
    });
    Some(trimmed.filter(|name| !name.is_empty() && *name != ".").map(str::to_owned).collect())
}

fn is_absolute(target: &str) -> bool {
    target.starts_with(['\\', '/']) || target.as_bytes().get(1) == Some(&b':')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layer::{IndexBuilder, NewEntry};

    fn layer(entries: &[(&str, Kind, &str)]) -> WindowsLayer {
        let mut builder = IndexBuilder::default();
        for &(path, kind, link) in entries {
            let new = NewEntry { path, kind, mode: 0o644, uid: 0, gid: 0, size: 0, link };
            let detail = Detail { interpreter_line: Some(path.to_owned()), ..Detail::default() };
            builder.add(&new, Some(detail)).unwrap();
        }
        let index = Some(Arc::new(builder.finish(None, 0).unwrap()));
        WindowsLayer { index, is_whole: true, ..WindowsLayer::default() }
    }

    fn drive(layers: Vec<WindowsLayer>) -> WindowsFiles {
        WindowsFiles::new(layers, false)
    }

    fn found(drive: &WindowsFiles, path: &str) -> String {
        match drive.find(path) {
            Sought::Found(node) => node.path,
            Sought::Absent => "absent".to_owned(),
            Sought::Open(why) => why,
        }
    }

    #[test]
    fn names_have_no_case_and_the_utility_machine_is_not_looked_at() {
        let drive = drive(vec![layer(&[
            ("Files/Windows/System32/cmd.exe", Kind::File, ""),
            ("UtilityVM/Files/Windows/other.exe", Kind::File, ""),
            ("Files/a.exe:Zone.Identifier", Kind::File, ""),
        ])]);
        assert_eq!(found(&drive, r"c:\WINDOWS\system32\CMD.EXE"), r"C:\WINDOWS\system32\cmd.exe");
        assert_eq!(found(&drive, "C:/Windows/System32/"), r"C:\Windows\System32");
        assert_eq!(found(&drive, r"C:\Windows\other.exe"), "absent");
        assert_eq!(found(&drive, r"C:\a.exe:Zone.Identifier"), "absent");
        assert_eq!(found(&drive, r"D:\Windows"), "absent");
    }

    #[test]
    fn of_names_that_differ_in_case_the_last_one_counts() {
        for names in [["Files/a.exe", "Files/A.EXE"], ["Files/A.EXE", "Files/a.exe"]] {
            let drive = drive(vec![layer(&names.map(|name| (name, Kind::File, "")))]);
            let Sought::Found(node) = drive.find(r"C:\a.exe") else { panic!("not found") };
            assert_eq!(node.detail.unwrap().interpreter_line.as_deref(), Some(names[1]));
        }
    }

    #[test]
    fn whiteouts_may_differ_in_case_from_what_they_take_away() {
        let lower = layer(&[("Files/tools/bin/a.exe", Kind::File, ""), ("Files/tools/b.exe", Kind::File, "")]);
        let upper = layer(&[("Files/TOOLS/.wh.BIN", Kind::File, "")]);
        let drive = drive(vec![lower, upper]);
        assert_eq!(found(&drive, r"C:\tools\bin\a.exe"), "absent");
        assert_eq!(found(&drive, r"C:\tools\b.exe"), r"C:\tools\b.exe");
    }

    #[test]
    fn junctions_and_links_are_followed() {
        let drive = drive(vec![layer(&[
            ("Files/Documents and Settings", Kind::Symlink, r"\??\C:\Users"),
            ("Files/Users/a/x.txt", Kind::File, ""),
            ("Files/Users/b", Kind::Symlink, "a"),
            ("Files/loop", Kind::Symlink, r"C:\loop"),
        ])]);
        assert_eq!(found(&drive, r"C:\Documents and Settings\B\x.txt"), r"C:\Users\a\x.txt");
        assert_eq!(found(&drive, r"C:\loop"), "absent");
    }

    #[test]
    fn a_hard_link_has_the_content_of_a_file_below_in_any_case() {
        let lower = layer(&[("Files/Windows/cmd.exe", Kind::File, "")]);
        let upper = layer(&[("Files/other.exe", Kind::HardLink, "Files/WINDOWS/cmd.exe")]);
        let drive = drive(vec![lower, upper]);
        let Sought::Found(node) = drive.find(r"C:\other.exe") else { panic!("not found") };
        assert_eq!(node.detail.unwrap().interpreter_line.as_deref(), Some("Files/Windows/cmd.exe"));
        assert_eq!(node.layer, 1);
    }

    #[test]
    fn files_of_the_component_store_count_by_their_other_names() {
        let store = "Files/Windows/WinSxS/amd64_x/ntdll.dll";
        let lower = layer(&[(store, Kind::File, ""), ("Files/Windows/System32/ntdll.dll", Kind::HardLink, store)]);
        let upper = layer(&[("Files/Windows/System32/other.dll", Kind::HardLink, store)]);
        let drive = drive(vec![lower, upper]);
        for name in ["ntdll.dll", "other.dll"] {
            let Sought::Found(node) = drive.find(&format!(r"C:\Windows\System32\{name}")) else { panic!("{name}") };
            assert_eq!(node.detail.unwrap().interpreter_line.as_deref(), Some(store));
        }
    }

    #[test]
    fn what_was_not_read_leaves_open_what_it_may_have() {
        let unread = || WindowsLayer { why_not: "it is large".to_owned(), ..WindowsLayer::default() };
        let files = layer(&[("Files/a.exe", Kind::File, ""), ("Files/.wh.gone", Kind::File, "")]);
        let base_unread = drive(vec![unread(), files.clone()]);
        assert_eq!(found(&base_unread, r"C:\a.exe"), r"C:\a.exe");
        assert_eq!(found(&base_unread, r"C:\gone"), "absent", "a layer above it takes it away");
        assert_eq!(found(&base_unread, r"C:\b.exe"), "layer 0 was not read: it is large");
        let top_unread = drive(vec![files, unread()]);
        assert_eq!(found(&top_unread, r"C:\a.exe"), "layer 1 was not read: it is large");
    }
}
