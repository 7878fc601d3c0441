//! Measures the program itself: however large a layer is, and whatever it unpacks to, memory stays bounded.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use crate::support::elf::{self, Elf};
use crate::support::tars::{Member, header};
use imglint::digest::{Algorithm, Digest, Hasher};
use serde_json::json;

/// What the program may take at its peak for images as they are.
const MOST: u64 = 100 << 20;
/// And for any image, whatever it is made for and however many layers are read at a time.
const MOST_OF_ALL: u64 = 256 << 20;

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
    let layer = gzip_layer(folder, level, write);
    let sizes = (layer.packed, layer.unpacked);
    layout_of(folder, &[layer]);
    sizes
}

/// A layer in a layout.
struct Layer {
    diff_id: Digest,
    digest: Digest,
    packed: u64,
    unpacked: u64,
}

fn gzip_layer(folder: &Path, level: u32, write: impl FnOnce(&mut dyn Write)) -> Layer {
    let blobs = folder.join("blobs/sha256");
    fs::create_dir_all(&blobs).unwrap();
    let file = Hashing::new(BufWriter::new(File::create(blobs.join("layer")).unwrap()));
    let mut tar = Hashing::new(flate2::write::GzEncoder::new(file, flate2::Compression::new(level)));
    write(&mut tar);
    tar.write_all(&[0; 1024]).unwrap();
    let (diff_id, unpacked) = (tar.hasher.finish(), tar.bytes);
    let mut file = tar.to.finish().unwrap();
    file.flush().unwrap();
    let (digest, packed) = (file.hasher.finish(), file.bytes);
    fs::rename(blobs.join("layer"), blobs.join(digest.hex())).unwrap();
    Layer { diff_id, digest, packed, unpacked }
}

/// A layer of these bytes, as they are.
fn stored_layer(folder: &Path, tar: &[u8], stored: &[u8]) -> Layer {
    let digest = Digest::of(stored);
    fs::create_dir_all(folder.join("blobs/sha256")).unwrap();
    fs::write(folder.join("blobs/sha256").join(digest.hex()), stored).unwrap();
    Layer { diff_id: Digest::of(tar), digest, packed: stored.len() as u64, unpacked: tar.len() as u64 }
}

/// Makes an image of layers.
fn layout_of(folder: &Path, layers: &[Layer]) {
    let blob = |text: String| {
        let digest = Digest::of(text.as_bytes());
        fs::write(folder.join("blobs/sha256").join(digest.hex()), &text).unwrap();
        json!({"digest": digest, "size": text.len(), "mediaType": "application/vnd.oci.image.manifest.v1+json"})
    };
    let diff_ids: Vec<&Digest> = layers.iter().map(|layer| &layer.diff_id).collect();
    let config = json!({"os": "linux", "architecture": "amd64", "rootfs": {"type": "layers", "diff_ids": diff_ids}});
    let mut config = blob(config.to_string());
    config["mediaType"] = json!("application/vnd.oci.image.config.v1+json");
    let described = layers.iter().map(|layer| {
        json!({"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "digest": layer.digest, "size": layer.packed})
    });
    let described: Vec<_> = described.collect();
    let manifest = blob(json!({"schemaVersion": 2, "config": config, "layers": described}).to_string());
    fs::write(folder.join("index.json"), json!({"schemaVersion": 2, "manifests": [manifest]}).to_string()).unwrap();
    fs::write(folder.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
}

/// Runs imglint on the layout; gives what it prints and its peak of resident memory in bytes.
fn peak(what: &str, folder: &Path, sizes: (u64, u64)) -> (String, u64) {
    let (exit, output, peak) = peak_of(what, folder, sizes, &[]);
    assert!(exit.success(), "{what}: {exit}: {output}");
    (output, peak)
}

/// As [`peak`], however it ends.
fn peak_of(what: &str, folder: &Path, (packed, unpacked): (u64, u64), arguments: &[&str]) -> (ExitStatus, String, u64) {
    let start = Instant::now();
    let output = tempfile::NamedTempFile::new().unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_imglint"))
        .arg("facts")
        .arg(format!("oci:{}", folder.display()))
        .args(arguments)
        .env("IMGLINT_NO_CACHE", "true")
        .stdin(Stdio::null())
        .stdout(output.reopen().unwrap())
        .stderr(output.reopen().unwrap())
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
    let seconds = start.elapsed().as_secs_f64();
    println!(
        "{what}: {} MB that unpack to {} MB, peak {} MB, {seconds:.1} s",
        packed >> 20,
        unpacked >> 20,
        peak >> 20
    );
    (exit, fs::read_to_string(output.path()).unwrap(), peak)
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

#[test]
fn what_is_kept_of_all_layers_together_is_bounded() {
    let folder = tempfile::tempdir().unwrap();
    let script = vec![b'#'; 64 << 10];
    let layers: Vec<Layer> = (0..10)
        .map(|layer| {
            gzip_layer(folder.path(), 6, |tar| {
                for file in 0..700 {
                    tar.write_all(&Member::file(&format!("etc/profile.d/{layer}-{file}.sh"), &script).bytes()).unwrap();
                }
            })
        })
        .collect();
    layout_of(folder.path(), &layers);
    for jobs in ["1", "16"] {
        let (exit, output, peak) = peak_of("start-up files", folder.path(), (0, 0), &["--jobs", jobs]);
        assert!(exit.code() == Some(2) && output.contains("takes more memory than imglint allows itself"), "{output}");
        assert!(peak < MOST_OF_ALL, "{peak} bytes");
    }
}

#[test]
fn names_take_no_more_memory_than_there_is() {
    let folder = tempfile::tempdir().unwrap();
    let sizes = layout(folder.path(), 6, |tar| {
        for number in 0..700_000 {
            let path = format!("usr/share/{}/{number}", "n".repeat(70));
            tar.write_all(&header(path.as_bytes(), b'0', 0, 0o644, b"")).unwrap();
        }
    });
    let (exit, output, peak) = peak_of("names", folder.path(), sizes, &[]);
    assert!(exit.code() == Some(2) && output.contains("takes more memory than imglint allows itself"), "{output}");
    assert!(peak < MOST_OF_ALL, "{peak} bytes");
}

#[test]
fn windows_of_decoders_are_not_had_all_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let layers: Vec<Layer> = (0..12_u8)
        .map(|layer| {
            let tar = [Member::file("zeros", &vec![layer; 66 << 20]).bytes(), vec![0; 1024]].concat();
            let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
            encoder.set_parameter(zstd::stream::raw::CParameter::WindowLog(26)).unwrap();
            encoder.write_all(&tar).unwrap();
            stored_layer(folder.path(), &tar, &encoder.finish().unwrap())
        })
        .collect();
    layout_of(folder.path(), &layers);
    let (exit, output, peak) = peak_of("windows", folder.path(), (0, 0), &["--jobs", "12"]);
    assert!(exit.success(), "{output}");
    assert!(peak < MOST_OF_ALL, "{peak} bytes");
}

/// How long it takes is bounded by what it may unpack to.
#[test]
fn a_layer_that_unpacks_to_far_more_than_an_image_has_is_given_up() {
    let folder = tempfile::tempdir().unwrap();
    let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
    encoder.write_all(&header(b"zeros", b'0', (8 << 30) - 1, 0o644, b"")).unwrap();
    encoder.do_finish().unwrap();
    let head = encoder.finish().unwrap();
    // A frame of 128 MiB of zeros, again and again.
    let zeros = zstd::encode_all(&vec![0; 128 << 20][..], 1).unwrap();
    let stored = [head, zeros.repeat(200)].concat();
    layout_of(folder.path(), &[stored_layer(folder.path(), b"", &stored)]);
    let (exit, output, peak) = peak_of("a bomb", folder.path(), (0, 0), &[]);
    assert!(exit.code() == Some(2) && output.contains("unpacks to far more than an image has"), "{output}");
    assert!(peak < MOST, "{peak} bytes");
}
