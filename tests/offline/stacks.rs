//! Holds the merged view of random stacks of layers to a plain model that extracts them entry by entry.

use std::sync::Arc;

use crate::support::layer_model::{self as model, Node, Step, What, accepted, apply, children, extract, names, tar_of};
use imglint::layer::{Kind, scan};
use imglint::rootfs::{Missing, Rootfs, StackedLayer};
use proptest::prelude::*;

/// Few names, so that entries meet one another.
fn path(deepest: usize) -> impl Strategy<Value = String> {
    prop::collection::vec(prop::sample::select(vec!["a", "b", "c"]), 1..=deepest).prop_map(|names| names.join("/"))
}

fn link_target() -> impl Strategy<Value = String> {
    let name = prop::sample::select(vec!["a", "b", "c", "..", "."]);
    (any::<bool>(), prop::collection::vec(name, 1..=3))
        .prop_map(|(is_absolute, names)| format!("{}{}", if is_absolute { "/" } else { "" }, names.join("/")))
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => path(3).prop_map(|path| Step::Folder(names(&path))),
        8 => path(3).prop_map(|path| Step::File(names(&path), 0)),
        1 => path(2).prop_map(|path| Step::Fifo(names(&path))),
        4 => (path(3), link_target()).prop_map(|(path, target)| Step::Symlink(names(&path), target)),
        3 => (path(3), path(3)).prop_map(|(path, target)| Step::HardLink(names(&path), names(&target))),
        3 => path(3).prop_map(|path| Step::Whiteout(names(&path))),
        2 => path(2).prop_map(|path| Step::Opaque(names(&path))),
        1 => Just(Step::Opaque(Vec::new())),
    ]
}

/// Layers in which anything may stand in the way of anything, as far as engines take it.
fn layers() -> impl Strategy<Value = Vec<Vec<Step>>> {
    prop::collection::vec(prop::collection::vec(step(), 0..14).prop_map(accepted), 1..6).prop_map(numbered)
}

/// Layers as builders write them: every path once, sorted, so that folders stand before what is in them.
fn orderly_layers() -> impl Strategy<Value = Vec<Vec<Step>>> {
    let orderly = |mut steps: Vec<Step>| {
        steps.sort_by(|a, b| subject(a).cmp(subject(b)));
        steps.dedup_by(|b, a| {
            let is_inside = subject(b).starts_with(subject(a)) && !matches!(a, Step::Folder(_) | Step::Opaque(_));
            is_inside || subject(a) == subject(b)
        });
        steps
    };
    prop::collection::vec(prop::collection::vec(step(), 0..12).prop_map(orderly), 1..7).prop_map(numbered)
}

fn subject(step: &Step) -> &model::Path {
    match step {
        Step::Folder(path)
        | Step::File(path, _)
        | Step::Fifo(path)
        | Step::Symlink(path, _)
        | Step::HardLink(path, _)
        | Step::Whiteout(path)
        | Step::Opaque(path) => path,
    }
}

/// Gives every file a size of its own, by which it is known again.
fn numbered(mut layers: Vec<Vec<Step>>) -> Vec<Vec<Step>> {
    let steps = layers.iter_mut().flatten();
    for (number, step) in steps.enumerate() {
        if let Step::File(_, size) = step {
            *size = number as u64;
        }
    }
    layers
}

fn rootfs_of(layers: &[Vec<Step>], style: usize) -> Rootfs {
    let stacked = layers.iter().map(|steps| StackedLayer {
        index: Arc::new(scan(tar_of(steps, style).as_slice()).unwrap()),
        instruction: None,
    });
    Rootfs::new(stacked.collect())
}

/// All paths of the few names, and some with dots.
fn queries() -> Vec<String> {
    let mut all = vec![String::new()];
    let mut last = all.clone();
    for _ in 0..4 {
        last = last.iter().flat_map(|path| ["a", "b", "c"].map(|name| format!("{path}/{name}"))).collect();
        all.extend(last.iter().cloned());
    }
    all.extend(["a/..", "a/.", "a/b/..", "a/b/../c", "c/../../b", "..", "a/./b/."].map(str::to_owned));
    all
}

/// A look-up in the words that both sides share.
type Said = Result<(String, Kind, u64, usize, Vec<(String, String)>), (&'static str, String)>;

fn modelled(tree: &model::Tree, path: &str) -> Said {
    match model::find(tree, path) {
        Ok((path, node, links)) => {
            let links = links.into_iter().map(|(path, target)| (path.join("/"), target)).collect();
            let (kind, size, layer) = match node {
                None | Some(Node { what: What::Whiteout | What::Symlink(_), .. }) => (Kind::Directory, 0, 0),
                Some(Node { what: What::Folder, layer, .. }) => (Kind::Directory, 0, layer),
                Some(Node { what: What::File(size), layer, .. }) => (Kind::File, size, layer),
                Some(Node { what: What::Fifo, layer, .. }) => (Kind::Special, 0, layer),
            };
            Ok((path.join("/"), kind, size, layer, links))
        }
        Err(model::Missing::Absent(path)) => Err(("absent", path.join("/"))),
        Err(model::Missing::NotAFolder(path)) => Err(("not a folder", path.join("/"))),
        Err(model::Missing::Loop(path)) => Err(("loop", path.join("/"))),
    }
}

fn read(rootfs: &Rootfs, path: &str) -> Said {
    match rootfs.find(path) {
        Ok(node) => Ok((node.path, node.kind, node.size, node.layer, node.links)),
        Err(Missing::Absent(path)) => Err(("absent", path)),
        Err(Missing::NotAFolder(path)) => Err(("not a folder", path)),
        Err(Missing::Loop(path)) => Err(("loop", path)),
    }
}

fn agree(layers: &[Vec<Step>], style: usize) -> Result<(), TestCaseError> {
    for (number, steps) in layers.iter().enumerate() {
        let index = scan(tar_of(steps, style).as_slice()).unwrap();
        let refused = index.refused();
        prop_assert_eq!(refused.is_some(), extract(steps, number).is_none(), "layer {}: {:?}", number, refused);
    }
    let Some(tree) = apply(layers) else { return Ok(()) };
    let rootfs = rootfs_of(layers, style);
    for query in queries() {
        prop_assert_eq!(modelled(&tree, &query), read(&rootfs, &query), "looking up {:?}", query);
        prop_assert_eq!(children(&tree, &query), rootfs.names(&query), "the names in {:?}", query);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn layers_as_builders_write_them_add_up_as_the_model_says(layers in orderly_layers(), style in 0..3_usize) {
        agree(&layers, style)?;
    }

    #[test]
    fn layers_full_of_conflicts_add_up_as_the_model_says(layers in layers(), style in 0..3_usize) {
        agree(&layers, style)?;
    }

    #[test]
    fn one_layer_full_of_conflicts_is_extracted_as_the_model_says(steps in prop::collection::vec(step(), 0..40)) {
        agree(&numbered(vec![accepted(steps)]), 0)?;
    }

    #[test]
    fn layers_that_engines_refuse_are_refused(steps in prop::collection::vec(step(), 0..6), style in 0..3_usize) {
        agree(&numbered(vec![steps]), style)?;
    }
}

#[test]
fn the_model_itself_knows_whiteouts_links_and_replacements() {
    let layer = |steps: &[Step]| steps.to_vec();
    let file = |path: &str, size| Step::File(names(path), size);
    let tree = apply(&[
        layer(&[file("d/x", 1), file("d/y", 2), Step::Symlink(names("bin"), "d".into()), file("bin/z", 3)]),
        layer(&[Step::Whiteout(names("d/x")), file("e", 5), Step::HardLink(names("h"), names("e"))]),
        layer(&[Step::Opaque(names("d")), file("d/new", 4)]),
    ])
    .unwrap();
    assert_eq!(children(&tree, "bin"), ["new"]);
    assert_eq!(modelled(&tree, "h").unwrap().2, 5);
    assert!(apply(&[layer(&[file("e", 1)]), layer(&[Step::HardLink(names("h"), names("e"))])]).is_none());
    assert_eq!(modelled(&tree, "d/x"), Err(("absent", "d/x".to_owned())));
}
