//! What a check does when all layers are known: reading the cache, looking files up, reading rules and tables.
//!
//! `cargo bench --bench verdicts`. The files are those of this machine's /usr, /etc and /bin, by name only.

#![allow(missing_docs, reason = "criterion makes the functions")]

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::fs;
use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;

use criterion::{Criterion, criterion_group, criterion_main};
use imglint::cache::{Cache, StoredLayer};
use imglint::catalog::Catalog;
use imglint::digest::Digest;
use imglint::layer::{IndexBuilder, Kind, LayerIndex, NewEntry};
use imglint::rootfs::{Rootfs, StackedLayer};

/// No more files than this, so that machines with more do not take for ever.
const MOST: usize = 50_000;

fn walk(folder: &Path, builder: &mut IndexBuilder, count: &mut usize) {
    let entries: BTreeSet<_> = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    for path in entries {
        let (Ok(metadata), Some(text)) = (path.symlink_metadata(), path.to_str()) else { continue };
        if *count == MOST {
            return;
        }
        *count += 1;
        let link = fs::read_link(&path).ok().and_then(|link| link.to_str().map(str::to_owned)).unwrap_or_default();
        let kind = match () {
            () if metadata.is_symlink() => Kind::Symlink,
            () if metadata.is_dir() => Kind::Directory,
            () => Kind::File,
        };
        let new = NewEntry {
            path: text.trim_start_matches('/'),
            kind,
            mode: 0o755,
            uid: 0,
            gid: 0,
            size: metadata.len(),
            link: &link,
        };
        builder.add(&new, None).unwrap();
        if kind == Kind::Directory {
            walk(&path, builder, count);
        }
    }
}

fn index() -> LayerIndex {
    let (mut builder, mut count) = (IndexBuilder::default(), 0);
    for folder in ["/bin", "/etc", "/usr"] {
        walk(Path::new(folder), &mut builder, &mut count);
    }
    builder.finish(Some(Digest::of(b"layer")), 1).unwrap()
}

fn verdicts(criterion: &mut Criterion) {
    let index = Arc::new(index());
    let rootfs = Rootfs::new(vec![StackedLayer { index: Arc::clone(&index), instruction: None }]);
    let names = rootfs.names("usr/bin");
    let mut group = criterion.benchmark_group(format!("{} files", index.len()));
    group.bench_function("find each of /usr/bin", |bench| {
        bench.iter(|| names.iter().filter(|name| rootfs.find(&format!("/usr/bin/{name}")).is_ok()).count());
    });
    group.bench_function("find none of them elsewhere", |bench| {
        bench.iter(|| names.iter().filter(|name| rootfs.find(&format!("/usr/lib/{name}.so")).is_err()).count());
    });
    group.bench_function("names in /usr", |bench| bench.iter(|| rootfs.names(black_box("usr"))));
    let cache = Cache::in_memory(256 << 20);
    let digest = Digest::of(b"stored");
    let stored = StoredLayer { digest: &digest, bytes: 1, table: None };
    cache.keep_layer(stored, &index);
    group.bench_function("index from the cache", |bench| {
        bench.iter(|| cache.layer(stored, |_| true, || Ok::<_, Infallible>(Arc::clone(&index))).unwrap());
    });
    group.finish();

    criterion.bench_function("all rules of a profile", |bench| {
        bench.iter(|| Catalog::builtin().profile(black_box("octopus")).unwrap());
    });
}

criterion_group!(benches, verdicts);
criterion_main!(benches);
