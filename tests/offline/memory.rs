//! Measures the program itself: however large a layer is, and whatever it unpacks to, memory stays bounded.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::elf::{self, Elf};
use crate::support::tars::{Member, header};
use imglint::digest::{Algorithm, Digest, Hasher};

/// What the program may take at its peak.
const MOST: u64 = 100 << 20;

/// Passes bytes on and hashes them.
struct Hashing<W> {
    to: W,
    hasher: Hasher,
    bytes: u64,
}

impl<W> Hashing<W> {
    fn new(to: W) -> Self {
        Self { to, hasher: Hasher::new(Algorithm::Sha256), bytes: 0 }
    }
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let count = self.to.write(bytes)?;
        self.hasher.update(&bytes[..count]);
        self.bytes += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.to.flush()
    }
}

/// An image layout in `folder` with one gzip layer, which `write` writes; gives the layer's two sizes.
fn layout(folder: &Path, level: u32, write: impl FnOnce(&mut dyn Write)) -> (u64, u64) {
    let blobs = folder.join("blobs/sha256");
    fs::create_dir_all(&blobs).unwrap();
    let file = Hashing::new(BufWriter::new(File::create(blobs.join("layer")).unwrap()));
    let mut tar = Hashing::new(flate2::write::GzEncoder::new(file, flate2::Compression::new(level)));
    write(&mut tar);
    tar.write_all(&[0; 1024]).unwrap();
    let (diff_id, unpacked) = (tar.hasher.finish(), tar.bytes);
    let mut file = tar.to.finish().unwrap();
    file.flush().unwrap();
    let (layer, packed) = (file.hasher.finish(), file.bytes);
    fs::rename(blobs.join("layer"), blobs.join(layer.hex())).unwrap();
    let blob = |text: String| {
        let digest = Digest::of(text.as_bytes());
        fs::write(blobs.join(digest.hex()), &text).unwrap();
        format!(r#""digest":"{digest}","size":{}"#, text.len())
    };
    let config = blob(format!(
        r#"{{"os":"linux","architecture":"amd64","rootfs":{{"type":"layers","diff_ids":["{diff_id}"]}}}}"#
    ));
    let manifest = blob(format!(
        r#"{{"schemaVersion":2,"config":{{"mediaType":"application/vnd.oci.image.config.v1+json",{config}}},"layers":[{{"mediaType":"application/vnd.oci.image.layer.v1.tar+gzip","digest":"{layer}","size":{packed}}}]}}"#
    ));
    let index = format!(
        r#"{{"schemaVersion":2,"manifests":[{{"mediaType":"application/vnd.oci.image.manifest.v1+json",{manifest}}}]}}"#
    );
    fs::write(folder.join("index.json"), index).unwrap();
    fs::write(folder.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
    (packed, unpacked)
}

/// Runs imglint on the layout; gives what it prints and its peak of resident memory in bytes.
fn peak(what: &str, folder: &Path, (packed, unpacked): (u64, u64)) -> (String, u64) {
    let start = Instant::now();
    let output = tempfile::NamedTempFile::new().unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_imglint"))
        .arg("facts")
        .arg(format!("oci:{}", folder.display()))
        .stdin(Stdio::null())
        .stdout(output.reopen().unwrap())
        .spawn()
        .unwrap();
    let status = format!("/proc/{}/status", child.id());
    let mut peak = 0;
    let exit = loop {
        // The kernel keeps the peak itself; a process that has ended has none any more.
        let text = fs::read_to_string(&status).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kilobytes = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
        peak = peak.max(kilobytes.unwrap_or_default() << 10);
        if let Some(exit) = child.try_wait().unwrap() {
            break exit;
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    assert!(exit.success(), "{what}: {exit}");
    let seconds = start.elapsed().as_secs_f64();
    println!(
        "{what}: {} MB that unpack to {} MB, peak {} MB, {seconds:.1} s",
        packed >> 20,
        unpacked >> 20,
        peak >> 20
    );
    (fs::read_to_string(output.path()).unwrap(), peak)
}

#[test]
fn a_layer_of_two_gigabytes_is_read_in_less_than_100_mb() {
    let folder = tempfile::tempdir().unwrap();
    let size: u64 = 1 << 20;
    // As much as deflate cannot shorten that the blob stays small.
    let mut state = 1_u64;
    let noise = std::iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    });
    let noise: Vec<u8> = noise.take(30 << 10).collect();
    let program = Elf { gap: 40 << 20, ..Elf::program(elf::X86_64, "/lib64/ld-linux-x86-64.so.2") };
    let program = program.bytes();
    let sizes = layout(folder.path(), 1, |tar| {
        let mut text = noise.clone();
        text.resize(size as usize, b'x');
        let mut other = Elf::fixed(elf::X86_64, &noise).bytes();
        other.resize(size as usize, 0);
        for number in 0..2048 {
            tar.write_all(&header(format!("usr/lib/file-{number}").as_bytes(), b'0', size, 0o755, b"")).unwrap();
            tar.write_all(if number % 4 == 0 { &other } else { &text }).unwrap();
        }
        tar.write_all(&Member::file("bin/sh", &program).bytes()).unwrap();
    });
    assert!(sizes.0 < 100 << 20 && sizes.1 > 2 << 30, "{sizes:?}");
    let (facts, peak) = peak("many files", folder.path(), sizes);
    assert!(facts.contains("/bin/sh"), "{facts}");
    assert!(peak < MOST, "{peak} bytes");
}

#[test]
fn a_bomb_of_zeros_is_read_in_less_than_100_mb() {
    let folder = tempfile::tempdir().unwrap();
    let sizes = layout(folder.path(), 6, |tar| {
        tar.write_all(&header(b"zeros", b'0', 1 << 30, 0o644, b"")).unwrap();
        for _ in 0..1024 {
            tar.write_all(&[0; 1 << 20]).unwrap();
        }
    });
    assert!(sizes.0 < 2 << 20, "{sizes:?}");
    let (_, peak) = peak("zeros", folder.path(), sizes);
    assert!(peak < MOST, "{peak} bytes");
}

#[test]
fn half_a_million_small_files_are_read_in_less_than_100_mb() {
    let folder = tempfile::tempdir().unwrap();
    let sizes = layout(folder.path(), 1, |tar| {
        for number in 0..500_000 {
            let path = format!("usr/lib/node_modules/@scope/package-{:05}/dist/esm/file-{number:07}.js", number / 10);
            tar.write_all(&Member::file(&path, b"export {};\n").bytes()).unwrap();
        }
    });
    let (_, peak) = peak("small files", folder.path(), sizes);
    assert!(peak < MOST, "{peak} bytes");
}
