//! The inner loops of reading a layer: decompressing, hashing, walking and indexing, each alone and all together.
//!
//! `cargo bench --bench layers`. The layer is made here, the same each time: 64 MB of programs, texts and many small
//! files. Throughput is in bytes of the uncompressed tar, but for hashing what is stored.

#![allow(missing_docs, reason = "criterion makes the functions")]

use std::hint::black_box;
use std::io::{Read, Write};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use imglint::digest::{Algorithm, Digest, Hasher};
use imglint::layer::allowance::Working;
use imglint::layer::decompress::{self, CHUNK};
use imglint::layer::unpacked::Unpacked;
use imglint::layer::{FileScanner, scan, scan_until};

/// Bytes between text and noise, as compressible as a distribution's programs are.
fn content(seed: u64, count: usize) -> Vec<u8> {
    let mut state = seed | 1;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state >> 33
    };
    let words: Vec<Vec<u8>> = (0..512).map(|_| (0..3 + next() % 9).map(|_| (next() % 200) as u8).collect()).collect();
    let mut bytes = Vec::with_capacity(count + 16);
    while bytes.len() < count {
        bytes.extend(&words[(next() % 512) as usize]);
    }
    bytes.truncate(count);
    bytes
}

fn member(tar: &mut Vec<u8>, path: &str, content: &[u8]) {
    let mut header = [0; 512];
    let mut put = |at: usize, text: &str| header[at..at + text.len()].copy_from_slice(text.as_bytes());
    put(0, path);
    put(100, "0000755");
    put(108, "0000000");
    put(116, "0000000");
    put(124, &format!("{:011o}", content.len()));
    put(136, "00000000000");
    put(148, "        ");
    put(156, "0");
    put(257, "ustar\x0000");
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    tar.extend(header);
    tar.extend(content);
    tar.resize(tar.len().next_multiple_of(512), 0);
}

fn layer() -> Vec<u8> {
    let mut tar = Vec::new();
    let program = [b"\x7fELF\x02\x01\x01".to_vec(), content(7, 400_000)].concat();
    for number in 0..100 {
        member(&mut tar, &format!("usr/lib/x86_64-linux-gnu/lib{number}.so.1"), &program);
        member(&mut tar, &format!("usr/share/data/{number}"), &content(number, 150_000));
        for file in 0..100 {
            member(&mut tar, &format!("usr/share/doc/package-{number}/file-{file}"), &content(file, 700));
        }
    }
    tar.resize(tar.len() + 1024, 0);
    tar
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(6));
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// Reads to the end, as much at a time as the reader of tars does.
fn drain(mut reader: impl Read) -> u64 {
    let mut buffer = vec![0; CHUNK];
    let mut total = 0;
    loop {
        match reader.read(&mut buffer).unwrap() {
            0 => return total,
            count => total += count as u64,
        }
    }
}

fn layers(criterion: &mut Criterion) {
    let tar = layer();
    let (gz, zst) = (gzip(&tar), zstd::encode_all(&tar[..], 3).unwrap());
    let mut group = criterion.benchmark_group("layer");
    group.sample_size(10).throughput(Throughput::Bytes(tar.len() as u64));
    let open = |bytes| decompress::open_buffered(bytes, Working::begin()).unwrap().1;
    let index = |tar: &mut dyn Read| scan_until(tar, false, &Unpacked::default(), |_| false).unwrap();
    group.bench_function("inflate", |bench| bench.iter(|| drain(open(&gz[..]))));
    group.bench_function("zstd", |bench| bench.iter(|| drain(open(&zst[..]))));
    group.bench_function("walk and index", |bench| bench.iter(|| index(&mut &tar[..])));
    group.bench_function("walk, index and DiffID", |bench| bench.iter(|| scan(&tar[..]).unwrap()));
    group.bench_function("inflate, walk and index", |bench| bench.iter(|| index(&mut open(&gz[..]))));
    group.finish();

    let mut group = criterion.benchmark_group("digest");
    group.throughput(Throughput::Bytes(gz.len() as u64));
    group.bench_function("SHA-256", |bench| bench.iter(|| Digest::of(black_box(&gz))));
    group.bench_function("SHA-512", |bench| {
        bench.iter(|| {
            let mut hasher = Hasher::new(Algorithm::Sha512);
            hasher.update(black_box(&gz));
            hasher.finish()
        });
    });
    group.finish();

    let program = std::fs::read(std::env::current_exe().unwrap()).unwrap();
    let mut group = criterion.benchmark_group("file");
    group.throughput(Throughput::Bytes(program.len() as u64));
    group.bench_function("an ELF file", |bench| {
        let mut scanner = FileScanner::default();
        bench.iter(|| {
            scanner.start("usr/bin/program", program.len() as u64);
            for chunk in program.chunks(CHUNK) {
                scanner.push(chunk);
            }
            scanner.finish()
        });
    });
    group.finish();
}

criterion_group!(benches, layers);
criterion_main!(benches);
