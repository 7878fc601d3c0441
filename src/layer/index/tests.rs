//! What an index says of entries that repeat, link and hide, and how much it keeps.

use super::*;

fn entry<'a>(path: &'a str, kind: Kind, link: &'a str) -> NewEntry<'a> {
    NewEntry { path, kind, mode: 0o755, uid: 0, gid: 0, size: 1, link }
}

fn index(entries: &[(&str, Kind, &str)]) -> LayerIndex {
    let mut builder = IndexBuilder::default();
    for (path, kind, link) in entries {
        builder.add(&entry(path, *kind, link), None).unwrap();
    }
    builder.finish(None, 0)
}

#[test]
fn of_several_entries_of_a_path_the_last_counts() {
    let index = index(&[("a", Kind::File, ""), ("a", Kind::Symlink, "b")]);
    assert_eq!(index.len(), 1);
    assert_eq!(index.get("a").unwrap().kind(), Kind::Symlink);
}

#[test]
fn a_hard_link_names_the_file_of_its_time() {
    let index = index(&[
        ("a", Kind::File, ""),
        ("b", Kind::HardLink, "a"),
        ("a", Kind::Symlink, "x"),
        ("c", Kind::HardLink, "z"),
    ]);
    let Some(HardLink::Here(target)) = index.get("b").unwrap().hard_link() else { panic!("in this layer") };
    assert_eq!(target.kind(), Kind::File);
    assert!(matches!(index.get("c").unwrap().hard_link(), Some(HardLink::Below("z"))));
}

#[test]
fn whiteouts_are_no_files() {
    let index =
        index(&[("d/.wh.x", Kind::File, ""), ("d/.wh..wh..opq", Kind::File, ""), (".wh..wh.plnk/1", Kind::File, "")]);
    assert!(index.is_whiteout("d/x") && index.is_opaque("d"));
    assert!(index.get("d/.wh.x").is_none());
}

#[test]
fn below_a_folder_is_what_its_path_starts() {
    let index = index(&[
        ("a", Kind::Directory, ""),
        ("a-b", Kind::File, ""),
        ("a/x", Kind::File, ""),
        ("a/y/z", Kind::File, ""),
        ("a0", Kind::File, ""),
    ]);
    assert_eq!(index.below("a").map(|entry| entry.path()).collect::<Vec<_>>(), ["a/x", "a/y/z"]);
    assert!(!index.has_below("a/x"));
}

#[test]
fn entries_behind_a_link_of_the_same_layer_go_through_it() {
    let index = index(&[("bin", Kind::Symlink, "usr/bin"), ("bin/sh", Kind::File, "")]);
    assert!(index.get("usr/bin/sh").is_some());
    assert!(index.get("bin/sh").is_none());
}

#[test]
fn what_is_kept_of_all_files_together_is_bounded() {
    let mut builder = IndexBuilder::default();
    let content = Detail { content: Some(vec![0; MOST_KEPT / 4]), ..Detail::default() };
    for name in ["a", "b", "c", "d", "e"] {
        builder.add(&entry(name, Kind::File, ""), Some(content.clone())).unwrap();
    }
    let index = builder.finish(None, 0);
    let is_left_out = |path: &str| index.get(path).unwrap().detail().unwrap().left_out;
    assert!(!is_left_out("a") && !is_left_out("c") && is_left_out("e"));
    assert_eq!(index.get("e").unwrap().detail().unwrap().content, None);
}
