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
    builder.finish(None, 0).unwrap()
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
    let index = index(&[("d/.wh.x", Kind::File, ""), ("d/.wh..wh..opq", Kind::File, ""), ("e/.wh.y", Kind::File, "")]);
    assert!(index.is_whiteout("d/x") && index.is_opaque("d"));
    assert!(index.get("d/.wh.x").is_none());
    let is_folder = |path: &str| index.get(path).is_some_and(|entry| entry.kind() == Kind::Directory);
    assert!(is_folder("d") && is_folder("e"), "the folders that they are in are there");
}

#[test]
fn what_engines_refuse_of_a_layer_is_said() {
    let file = |path| (path, Kind::File, "");
    for (entries, why) in [
        (&[file("a"), file("a")][..], "it has /a twice: Docker and Podman refuse it"),
        (&[file("a"), ("a", Kind::Directory, "")], "it has /a twice"),
        (&[file("a"), file("a/x")], "an entry lies below /a"),
        (&[file("a/.wh.")], "its whiteout /a/.wh. names no file"),
        (&[file("a/.wh...")], "names no file"),
        (&[file("a/x"), file("a/.wh.x")], "it has /a/x and the whiteout of it"),
        (&[file("d/x"), file(".wh.d")], "it has /d and the whiteout of it"),
        (&[file(".wh.d"), file("d/x")], "an entry lies below /d"),
        (&[file(".wh.d"), file(".wh.d")], "it has /d and the whiteout of it"),
        (&[("a", Kind::HardLink, "b"), file("b")], "a hard link to /b, which is not in this layer before it"),
        (&[("d", Kind::Directory, ""), ("a", Kind::HardLink, "d")], "a hard link to the folder /d"),
        (&[("b", Kind::Symlink, "c"), file("b/x")], "leads to nothing in this layer"),
    ] {
        let index = index(entries);
        assert!(index.refused().is_some_and(|said| said.contains(why)), "{entries:?}: {:?}", index.refused());
    }
    for entries in [
        &[file("a/x"), file("a/.wh.y"), file("a/.wh..wh..opq")][..],
        &[file(".wh.a"), file("a")],
        &[file(".wh.d"), ("d", Kind::Directory, ""), file("d/x")],
        &[file("b"), ("a", Kind::HardLink, "b"), ("c", Kind::HardLink, "a")],
        &[("l", Kind::Symlink, "x"), ("m", Kind::HardLink, "l")],
        &[("d", Kind::Directory, ""), ("l", Kind::Symlink, "d"), file("l/x")],
    ] {
        assert_eq!(index(entries).refused(), None, "{entries:?}");
    }
}

#[test]
fn a_folder_in_the_place_of_a_whiteout_shows_what_lies_below() {
    let index = index(&[(".wh.d", Kind::File, ""), ("d", Kind::Directory, "")]);
    assert!(!index.is_whiteout("d") && !index.is_opaque("d") && index.get("d").is_some());
}

#[test]
fn a_device_of_an_overlay_file_system_is_a_whiteout() {
    let mut builder = IndexBuilder::default();
    builder.add_whiteout_device(&entry("d/x", Kind::Special, "")).unwrap();
    builder.add(&entry("y", Kind::HardLink, "d/x"), None).unwrap();
    let index = builder.finish(None, 0).unwrap();
    assert_eq!((index.refused(), index.is_whiteout("d/x"), index.is_whiteout("y")), (None, true, true));
    assert!(index.get("d/x").is_none());
}

#[test]
fn paths_that_are_written_otherwise_are_no_duplicates() {
    let mut builder = IndexBuilder::default();
    builder.add_written(&entry("a", Kind::File, ""), Some(b"/a".to_vec()), None).unwrap();
    builder.add(&entry("a", Kind::File, ""), None).unwrap();
    assert_eq!(builder.finish(None, 0).unwrap().refused(), None);
    let mut builder = IndexBuilder::default();
    for _ in 0..2 {
        builder.other(b".".to_vec()).unwrap();
    }
    assert!(builder.finish(None, 0).unwrap().refused().is_some());
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
    let index =
        index(&[("usr/bin", Kind::Directory, ""), ("bin", Kind::Symlink, "usr/bin"), ("bin/sh", Kind::File, "")]);
    assert_eq!(index.refused(), None);
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
    let index = builder.finish(None, 0).unwrap();
    let is_left_out = |path: &str| index.get(path).unwrap().detail().unwrap().left_out;
    assert!(!is_left_out("a") && !is_left_out("c") && is_left_out("e"));
    assert_eq!(index.get("e").unwrap().detail().unwrap().content, None);
}
