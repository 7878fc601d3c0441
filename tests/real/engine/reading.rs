//! What imglint reads of a test's image. A layer that several images have is read once.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use imglint::facts::programs::{ProgramFact, Wanted};
use imglint::facts::{Content, Fact, Facts, gather};
use imglint::image::{Image, ManifestKind, SourceKind, config};
use imglint::layer::{LayerIndex, scan};
use imglint::rootfs::{Rootfs, StackedLayer};

use crate::support::image::{TestImage, TestLayer};

/// The files of an image.
pub fn rootfs(image: &TestImage) -> Rootfs {
    let read = |layer: &TestLayer| StackedLayer { index: index(layer), instruction: Some("RUN change".to_owned()) };
    Rootfs::new(image.layers().iter().map(read).collect())
}

/// What imglint reads of an image with these files.
pub fn facts(test: &TestImage, rootfs: &Rootfs, wanted: &Wanted) -> Facts {
    let configuration = config::parse("the test's", &test.document()).unwrap();
    let image = Image {
        name: None,
        digest: None,
        config_digest: None,
        platform: configuration.platform.clone(),
        offered: Vec::new(),
        entry: None,
        is_one_of_all: false,
        listed: None,
        manifest: ManifestKind::Oci,
        media_types: Vec::new(),
        configuration: Some(configuration),
        layers: Vec::new(),
    };
    gather(&image, SourceKind::Oci, None, Content::Linux(rootfs), wanted)
}

/// What is predicted of the wanted programs in an image with these files.
pub fn programs(test: &TestImage, rootfs: &Rootfs, wanted: &Wanted) -> Vec<ProgramFact> {
    match facts(test, rootfs, wanted).programs {
        Fact::Known(programs) => programs,
        other => panic!("{other:?}"),
    }
}

/// What a layer holds. One that several images have is read once.
fn index(layer: &TestLayer) -> Arc<LayerIndex> {
    static KNOWN: Mutex<BTreeMap<String, Arc<LayerIndex>>> = Mutex::new(BTreeMap::new());
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    let read = || Arc::new(scan(layer.tar.as_slice()).unwrap());
    Arc::clone(known.entry(layer.digest.to_string()).or_insert_with(read))
}
