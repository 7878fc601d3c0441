//! What the merged view shows of layers that replace, remove and link to one another's files.

use super::*;
use crate::layer::{IndexBuilder, NewEntry};

/// A layer from lines: `d PATH`, `f PATH`, `l PATH TARGET` (symbolic link), `h PATH TARGET` (hard link).
fn layer(lines: &str) -> StackedLayer {
    let mut builder = IndexBuilder::default();
    for (number, line) in lines.split(',').map(str::trim).filter(|line| !line.is_empty()).enumerate() {
        let mut words = line.split(' ');
        let kind = match words.next().unwrap() {
            "d" => Kind::Directory,
            "f" => Kind::File,
            "l" => Kind::Symlink,
            "h" => Kind::HardLink,
            other => panic!("{other}"),
        };
        let path = words.next().unwrap();
        let link = words.next().unwrap_or_default();
        builder.add(&NewEntry { path, kind, mode: 0o755, uid: 0, gid: 0, size: number as u64, link }, None).unwrap();
    }
    StackedLayer { index: Arc::new(builder.finish(None, 0).unwrap()), instruction: Some(format!("RUN {lines}")) }
}

fn stack(layers: &[&str]) -> Rootfs {
    Rootfs::new(layers.iter().map(|lines| layer(lines)).collect())
}

/// The real path and layer of what is at `path`.
fn at(rootfs: &Rootfs, path: &str) -> Option<(String, usize)> {
    rootfs.find(path).ok().map(|node| (node.path, node.layer))
}

fn found(path: &str, layer: usize) -> Option<(String, usize)> {
    Some((path.to_owned(), layer))
}

#[test]
fn the_uppermost_layer_wins() {
    let rootfs = stack(&["f a, f b", "f a"]);
    assert_eq!(at(&rootfs, "/a"), found("a", 1));
    assert_eq!(at(&rootfs, "b"), found("b", 0));
    assert_eq!(rootfs.place("a", &rootfs.find("a").unwrap()).instruction.as_deref(), Some("RUN f a"));
}

#[test]
fn a_whiteout_removes_a_file_and_a_folder_with_all_below_it() {
    let rootfs = stack(&["f a, f d/x, f d/y/z", "f .wh.a, f .wh.d"]);
    assert_eq!(at(&rootfs, "a"), None);
    assert_eq!(at(&rootfs, "d/y/z"), None);
    let back = stack(&["f d/x", "f .wh.d", "f d/y"]);
    assert_eq!((at(&back, "d/x"), at(&back, "d/y")), (None, found("d/y", 2)));
}

#[test]
fn an_opaque_folder_hides_only_what_lower_layers_have_in_it() {
    let rootfs = stack(&["f d/x, f e", "d d, f d/.wh..wh..opq, f d/y"]);
    assert_eq!((at(&rootfs, "d/x"), at(&rootfs, "d/y"), at(&rootfs, "e")), (None, found("d/y", 1), found("e", 0)));
    assert_eq!(rootfs.names("d"), ["y"]);
}

#[test]
fn a_whiteout_beside_a_new_file_of_that_name_does_not_remove_the_new_one() {
    assert_eq!(at(&stack(&["f a", "f .wh.a, f a"]), "a"), found("a", 1));
}

#[test]
fn a_file_replaces_a_folder_and_a_folder_a_file() {
    let rootfs = stack(&["f a/x", "f a", "d a, f a/y"]);
    assert_eq!((at(&rootfs, "a/x"), at(&rootfs, "a/y")), (None, found("a/y", 2)));
    assert_eq!(stack(&["f a/x", "f a"]).find("a/x").unwrap_err(), Missing::NotAFolder("a".into()));
}

#[test]
fn hard_links_reach_across_layers_and_keep_the_file_they_named() {
    let rootfs = stack(&["f busybox", "h sh busybox", "f busybox"]);
    let node = rootfs.find("sh").unwrap();
    assert_eq!((node.layer, node.kind), (0, Kind::File));
    assert!(rootfs.find("busybox").unwrap().layer == 2);
    assert_eq!(at(&stack(&["h a b"]), "a"), None);
    assert_eq!(at(&stack(&["h a b, h b a"]), "a"), None);
}

#[test]
fn absolute_links_stay_inside_the_image() {
    let rootfs = stack(&["l etc/mtab /proc/mounts, l bin usr/bin, f usr/bin/sh, l up ../../../usr/bin/sh"]);
    assert_eq!(rootfs.find("etc/mtab").unwrap_err(), Missing::Absent("proc".into()));
    assert_eq!(at(&rootfs, "/bin/sh"), found("usr/bin/sh", 0));
    assert_eq!(at(&rootfs, "up"), found("usr/bin/sh", 0));
    assert_eq!(rootfs.find("bin/sh").unwrap().links, [("bin".to_owned(), "usr/bin".to_owned())]);
}

#[test]
fn links_that_go_round_in_circles_end() {
    let rootfs = stack(&["l a b, l b a, l c c/c"]);
    assert!(matches!(rootfs.find("a"), Err(Missing::Loop(_))));
    assert!(matches!(rootfs.find("c"), Err(Missing::Loop(_))));
}

#[test]
fn names_of_a_folder_come_from_all_layers() {
    let rootfs = stack(&["f d/a, f d/b, f d/c/x", "f d/.wh.a, f d/e"]);
    assert_eq!(rootfs.names("/d"), ["b", "c", "e"]);
    assert_eq!(rootfs.names(""), ["d"]);
    assert!(rootfs.names("nowhere").is_empty());
}

#[test]
fn what_is_mounted_hides_what_was_there_and_is_in_no_layer() {
    let rootfs = stack(&["d app, f app/old, f bin/sh"]);
    let mounted = rootfs.with_mount(layer("d app, f app/.wh..wh..opq, f app/new").index);
    assert_eq!(at(&mounted, "app/old"), None);
    assert_eq!(at(&mounted, "bin/sh"), found("bin/sh", 0));
    let node = mounted.find("app/new").unwrap();
    assert_eq!(mounted.place("app/new", &node), Place::path("/app/new"));
    assert_eq!(at(&rootfs, "app/old"), found("app/old", 0));
}

#[test]
fn what_a_layer_took_away_is_known_by_that_layer() {
    let rootfs = stack(&["f usr/lib/a, f usr/lib/b, l lib usr/lib", "f usr/lib/.wh.a"]);
    let removed = rootfs.removed("lib/a").unwrap();
    assert_eq!((removed.layer, removed.path.as_deref()), (Some(1), Some("/usr/lib/a")));
    assert_eq!(rootfs.removed("lib/b"), None);
    assert_eq!(rootfs.removed("lib/never"), None);
    assert_eq!(rootfs.removed_files("a"), ["usr/lib/a"]);
    assert_eq!(rootfs.files_named("b"), ["usr/lib/b"]);
}

#[test]
fn permissions_are_those_of_the_user_and_of_the_folders_above() {
    let mut builder = IndexBuilder::default();
    let mut add = |path, kind, mode, uid| {
        builder.add(&NewEntry { path, kind, mode, uid, gid: 7, size: 0, link: "" }, None).unwrap();
    };
    add("open", Kind::Directory, 0o755, 0);
    add("open/file", Kind::File, 0o640, 0);
    add("closed", Kind::Directory, 0o700, 0);
    add("closed/file", Kind::File, 0o777, 0);
    let rootfs =
        Rootfs::new(vec![StackedLayer { index: Arc::new(builder.finish(None, 0).unwrap()), instruction: None }]);
    let may =
        |uid, gid, access, path| rootfs.may(Account { uid, gid, groups: &[] }, access, &rootfs.find(path).unwrap());
    assert!(may(1, Some(7), Access::Read, "open/file") && !may(1, Some(8), Access::Read, "open/file"));
    assert!(may(1, None, Access::Read, "open/file"), "a group that is not known counts as the file's");
    assert!(!may(1, Some(7), Access::Read, "closed/file") && may(0, Some(0), Access::Write, "closed/file"));
    assert!(!may(0, None, Access::Execute, "open/file"), "not even root executes what nobody may");
}
