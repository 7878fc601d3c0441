//! Feeds broken and malicious layers to the reader: it may refuse them, but ends soon, stays small and never panics.

use std::io::{Read, Write};
use std::sync::Arc;

use crate::support::elf::{self, Elf};
use crate::support::tars::{Member, header, pax, seal, tar};
use imglint::layer::{Error, LayerIndex, decompress, scan};
use imglint::rootfs::{Rootfs, StackedLayer};
use proptest::prelude::*;

/// More than any header needs.
const MUCH: u64 = 16 << 20;

/// What comes first, then the same block for ever; counts what was taken of it.
struct Endless<'a> {
    first: &'a [u8],
    block: &'a [u8],
    taken: u64,
}

impl Read for Endless<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if self.first.is_empty() {
            self.first = self.block;
        }
        let count = self.first.read(buffer)?;
        self.taken += count as u64;
        assert!(self.taken < MUCH, "the reader takes and takes");
        Ok(count)
    }
}

fn read_endless(first: &[u8], block: &[u8]) -> Result<LayerIndex, Error> {
    scan(Endless { first, block, taken: 0 })
}

fn unpack(bytes: &[u8]) -> Result<LayerIndex, Error> {
    let (_, stream) = decompress::open(bytes, imglint::layer::allowance::Working::begin())?;
    scan(stream)
}

/// A tar with one of everything that readers treat in a way of its own.
fn everything() -> Vec<u8> {
    let mut sparse = header(b"sparse", b'S', 512, 0o644, b"");
    sparse[257..265].copy_from_slice(b"ustar  \0");
    sparse[386..398].copy_from_slice(b"00000000000\0");
    sparse[398..410].copy_from_slice(b"00000001000\0");
    sparse[483..495].copy_from_slice(b"00000010000\0");
    seal(&mut sparse);
    let mut map = b"1\n0\n512\n".to_vec();
    map.resize(1024, 0);
    let version: &[(&str, &[u8])] = &[
        ("GNU.sparse.major", b"1"),
        ("GNU.sparse.minor", b"0"),
        ("GNU.sparse.name", b"real"),
        ("GNU.sparse.realsize", b"8192"),
    ];
    let program = Elf {
        soname: Some("libc.so.6"),
        versions: vec!["GLIBC_2.2.5", "GLIBC_2.36"],
        ..Elf::program(elf::X86_64, "/lib64/ld-linux-x86-64.so.2")
    };
    [
        Member::folder("d/").bytes(),
        Member::file("d/libc.so.6", &program.bytes()).bytes(),
        Member { kind: b'L', ..Member::file("././@LongLink", b"a/long/name\0") }.bytes(),
        Member::file("a/long", b"#!/bin/sh\n").bytes(),
        Member { kind: b'K', ..Member::file("././@LongLink", b"a/long/target\0") }.bytes(),
        Member::symlink("link", "a").bytes(),
        Member::hard_link("hard", "d/libc.so.6").bytes(),
        pax(b'g', &[("comment", b"x")]),
        pax(b'x', &[("path", b"etc/os-release"), ("size", b"5"), ("uid", b"1000")]),
        Member::file("x", b"ID=x\n").bytes(),
        sparse.to_vec(),
        vec![b'x'; 512],
        pax(b'x', version),
        Member::file("y", &map).bytes(),
        Member::file("d/.wh.gone", b"").bytes(),
        Member::file("d/.wh..wh..opq", b"").bytes(),
        vec![0; 1024],
    ]
    .concat()
}

/// One change of some bytes; the checksum of the block is made right again or not.
fn changes() -> impl Strategy<Value = Vec<(prop::sample::Index, Vec<u8>, bool)>> {
    let bytes = prop_oneof![
        prop::collection::vec(any::<u8>(), 1..12),
        Just(b"77777777777".to_vec()),
        Just(vec![0xff; 12]),
        Just(vec![0x80, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]),
        Just(b"18446744073709551615\n".to_vec()),
        Just(vec![0; 8]),
    ];
    prop::collection::vec((any::<prop::sample::Index>(), bytes, any::<bool>()), 1..8)
}

fn changed(mut tar: Vec<u8>, changes: &[(prop::sample::Index, Vec<u8>, bool)]) -> Vec<u8> {
    for (at, bytes, is_sealed) in changes {
        let at = at.index(tar.len());
        let count = bytes.len().min(tar.len() - at);
        tar[at..at + count].copy_from_slice(&bytes[..count]);
        let block = at / 512 * 512;
        if let Some(header) = tar.get_mut(block..block + 512).filter(|_| *is_sealed) {
            seal(header.try_into().unwrap());
        }
    }
    tar
}

/// Whatever was read can be looked at.
fn look_at(index: LayerIndex) {
    let rootfs = Rootfs::new(vec![StackedLayer { index: Arc::new(index), instruction: None }; 3]);
    for path in ["/", "etc/os-release", "link", "hard", "d/libc.so.6", "a/long/name"] {
        let _ = rootfs.find(path);
        let _ = rootfs.names(path);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn changed_tars_are_read_or_refused(changes in changes(), cut in any::<prop::sample::Index>(), is_cut in any::<bool>()) {
        let mut tar = changed(everything(), &changes);
        if is_cut {
            tar.truncate(cut.index(tar.len()));
        }
        if let Ok(index) = scan(tar.as_slice()) {
            look_at(index);
        }
    }

    #[test]
    fn changed_compressed_layers_are_read_or_refused(changes in changes(), is_zstd in any::<bool>()) {
        let tar = everything();
        let compressed = if is_zstd {
            zstd::encode_all(&tar[..], 1).unwrap()
        } else {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(&tar).unwrap();
            encoder.finish().unwrap()
        };
        if let Ok(index) = unpack(&changed(compressed, &changes)) {
            look_at(index);
        }
    }

    #[test]
    fn random_bytes_are_refused_or_nothing(bytes in prop::collection::vec(any::<u8>(), 0..3000)) {
        if let Ok(index) = unpack(&bytes) {
            prop_assert!(index.is_empty());
        }
    }
}

#[test]
fn the_tar_that_is_changed_is_read_when_it_is_not() {
    let index = scan(everything().as_slice()).unwrap();
    let paths: Vec<&str> = index.below("").map(|entry| entry.path()).collect();
    assert_eq!(paths, ["a/long/name", "d", "d/libc.so.6", "etc/os-release", "hard", "link", "real", "sparse"]);
    assert_eq!((index.get("sparse").unwrap().size(), index.get("real").unwrap().size()), (4096, 8192));
}

#[test]
fn headers_without_end_are_refused() {
    let mut sparse = header(b"sparse", b'S', 0, 0o644, b"");
    sparse[257..265].copy_from_slice(b"ustar  \0");
    sparse[482] = 1;
    seal(&mut sparse);
    let mut more = [0; 512];
    more[504] = 1;
    assert!(read_endless(&sparse, &more).is_err(), "sparse headers that always have another one");

    let version: &[(&str, &[u8])] =
        &[("GNU.sparse.major", b"1"), ("GNU.sparse.minor", b"0"), ("GNU.sparse.realsize", b"8192")];
    let sparse = [pax(b'x', version), header(b"s", b'0', (8 << 30) - 1, 0o644, b"").to_vec()].concat();
    assert!(read_endless(&sparse, &[b'1'; 512]).is_err(), "a sparse map without line ends");
    assert!(read_endless(&sparse, b"999999\n").is_err(), "a sparse map of more pieces than any");

    for kind in [b'x', b'g', b'L', b'K'] {
        let head = header(b"x", kind, 1 << 32, 0o644, b"");
        assert!(read_endless(&head, &[b'x'; 512]).is_err(), "a header of 4 GiB");
    }
    let long_names = Member { kind: b'L', ..Member::file("x", b"name\0") }.bytes();
    assert!(read_endless(&[], &long_names).is_err(), "names of nothing");
}

#[test]
fn sizes_that_no_file_has_are_refused() {
    for size in ["18446744073709551615", "18446744073709551000", "9223372036854775808"] {
        let bytes = [pax(b'x', &[("size", size.as_bytes())]), Member::file("x", b"").bytes()].concat();
        assert!(scan(bytes.as_slice()).is_err(), "{size}");
    }
    let mut head = header(b"x", b'0', 0, 0o644, b"");
    head[124..136].fill(0xff);
    seal(&mut head);
    assert!(scan(&head[..]).is_err());
}

#[test]
fn a_path_longer_than_linux_allows_is_refused() {
    let long = "x/".repeat(2100);
    for (key, why) in [("path", "has more than 4094 bytes"), ("linkpath", "has more than 4095 bytes")] {
        let bytes = [pax(b'x', &[(key, long.as_bytes())]), Member::symlink("x", "y").bytes()].concat();
        let index = scan(bytes.as_slice()).unwrap();
        assert!(index.refused().unwrap().contains(why) && index.is_empty(), "{index:?}");
    }
    for (length, is_refused) in [(255, false), (256, true)] {
        let name = "n".repeat(length);
        let bytes = [pax(b'x', &[("path", name.as_bytes())]), Member::file("x", b"").bytes()].concat();
        assert_eq!(scan(bytes.as_slice()).unwrap().refused().is_some(), is_refused, "{length}");
    }
}

#[test]
fn links_that_multiply_paths_do_not_multiply_memory() {
    let target = "t/".repeat(2000);
    let mut bytes = [pax(b'x', &[("path", target.as_bytes())]), Member::folder("t").bytes()].concat();
    bytes.extend([pax(b'x', &[("linkpath", target.as_bytes())]), Member::symlink("d", "y").bytes()].concat());
    for number in 0..2000 {
        bytes.extend(Member::file(&format!("d/{number}"), b"").bytes());
    }
    // Two thousand paths of four thousand bytes would be eight megabytes, which is what such a tar is worth.
    let error = scan(bytes.as_slice()).unwrap_err().to_string();
    assert!(error.contains("following the links that its entries lie behind"), "{error}");
}

#[test]
fn a_tower_of_layers_that_link_to_one_another_is_looked_up() {
    let link = Arc::new(scan(tar(&[Member::hard_link("a", "a")]).as_slice()).unwrap());
    let base = Arc::new(scan(tar(&[Member::file("a", b"x")]).as_slice()).unwrap());
    let stacked = |index: &Arc<LayerIndex>| StackedLayer { index: Arc::clone(index), instruction: None };
    let mut layers = vec![stacked(&base)];
    layers.extend((0..100_000).map(|_| stacked(&link)));
    assert_eq!(Rootfs::new(layers).find("a").unwrap().layer, 0);
}
