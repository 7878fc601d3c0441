//! Layers that engines refuse at pull, and layers about which they differ: the image fails, or stays open, in clear words.

use std::fs;
use std::io::Write;

use serde_json::{Value, json};

use crate::support::image::{Tar, TestImage, docker_archive, gzip};
use crate::support::tars::{Member, header, pax, tar};
use crate::support::{Run, check, rules};
use imglint::digest::Digest;

/// A layout of one layer, uncompressed and as it is stored, with this DiffID instead of its own if one is given.
fn layout(tar: &[u8], stored: &[u8], diff_id: Option<Digest>) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let blobs = folder.path().join("blobs/sha256");
    fs::create_dir_all(&blobs).unwrap();
    let blob = |media_type: &str, bytes: &[u8]| {
        let digest = Digest::of(bytes);
        fs::write(blobs.join(digest.hex()), bytes).unwrap();
        json!({"mediaType": format!("application/vnd.oci.image.{media_type}"), "digest": digest, "size": bytes.len()})
    };
    let document = |media_type: &str, value: Value| blob(media_type, value.to_string().as_bytes());
    let diff_id = diff_id.unwrap_or_else(|| Digest::of(tar));
    let config = json!({"os": "linux", "architecture": "amd64", "rootfs": {"type": "layers", "diff_ids": [diff_id]}});
    let config = document("config.v1+json", config);
    let layer = blob("layer.v1.tar+gzip", stored);
    let manifest = document("manifest.v1+json", json!({"schemaVersion": 2, "config": config, "layers": [layer]}));
    let index = json!({"schemaVersion": 2, "manifests": [manifest]}).to_string();
    fs::write(folder.path().join("index.json"), index).unwrap();
    fs::write(folder.path().join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
    folder
}

fn checked(folder: &tempfile::TempDir, arguments: &[&str]) -> Run {
    let image = format!("oci:{}", folder.path().display());
    check([&[image.as_str()], arguments].concat())
}

fn of_tar(tar: &[u8]) -> Run {
    checked(&layout(tar, tar, None), &[])
}

#[test]
fn an_image_that_engines_refuse_fails_and_says_which_of_them_and_why() {
    let all = "Docker, containerd and Podman refuse it";
    let file = |path| Member::file(path, b"x");
    for (members, why) in [
        (vec![Member::hard_link("a", "b")], "a hard link to /b, which is not in this layer before it"),
        (vec![file("a"), file("a/x")], "an entry lies below /a, which is no folder"),
        (vec![file("a"), file(".wh.a")], "it has /a and the whiteout of it"),
        (vec![file("d/.wh.")], "its whiteout /d/.wh. names no file"),
        (vec![Member { kind: b'X', ..file("a") }], "/a is of type X in the tar"),
        (vec![Member::symlink("a", "")], "the symbolic link /a has no target"),
    ] {
        of_tar(&tar(&members)).fails_saying(&["layer 0", why, all]);
    }
    of_tar(&tar(&[file("a"), file("./a")])).fails_saying(&[
        "it has /a twice",
        "Docker and Podman refuse it",
        "containerd takes",
    ]);
    let wrong = pax(b'x', &[("SCHILY.xattr.security.capability", b"abc")]);
    of_tar(&[wrong, tar(&[file("a")])].concat())
        .fails_saying(&["file capabilities that the kernel does not take", all]);
    let zeros = [file("a").bytes(), vec![0; 512], tar(&[file("b")])].concat();
    of_tar(&zeros).fails_saying(&["layer 0", "a block of zeros stands between members"]);
    for value in ["abc", "1 ", "-1"] {
        let record = pax(b'x', &[("size", value.as_bytes())]);
        of_tar(&[record, tar(&[file("a")])].concat()).fails_saying(&["layer 0", "its tar is broken"]);
    }
}

#[test]
fn what_engines_read_in_their_own_way_is_read_so() {
    let bash = Member::symlink("usr/bin/bash", "/none").bytes();
    let name = |kind, name: &'static [u8]| Member { path: b"././@LongLink", kind, ..Member::file("", name) }.bytes();
    let mut folder = header(b"a/", 0, 1, 0o755, b"");
    folder[257..265].fill(0);
    crate::support::tars::seal(&mut folder);
    for (what, before) in [
        ("an empty record", pax(b'x', &[("path", b"")])),
        ("a long name after a record", [pax(b'x', &[("path", b"z")]), name(b'L', b"usr/bin/bash\0")].concat()),
        ("a long name before a record", [name(b'L', b"usr/bin/bash\0"), pax(b'x', &[("path", b"z")])].concat()),
        ("two long names", [name(b'L', b"z\0"), name(b'L', b"usr/bin/bash\0")].concat()),
        ("two extended headers", [pax(b'x', &[("path", b"z")]), pax(b'x', &[("uid", b"0")])].concat()),
        ("the name of a sparse file without a map", pax(b'x', &[("GNU.sparse.name", b"z")])),
        ("a folder with a size", folder.to_vec()),
    ] {
        let index = imglint::layer::scan([before, bash.clone(), vec![0; 1024]].concat().as_slice()).unwrap();
        assert_eq!(index.get("usr/bin/bash").map(|entry| entry.link()), Some("/none"), "{what}");
        assert_eq!((index.get("z").is_none(), index.refused()), (true, None), "{what}");
    }
}

#[test]
fn streams_that_engines_cannot_decompress_are_refused_and_those_they_can_are_read() {
    let plain = tar(&[Member::file("etc/os-release", b"ID=wanted\n")]);
    let os = |run: &Run| run.result()["verdict"].clone();
    let mut wrong = gzip(&plain);
    let end = wrong.len() - 8;
    wrong[end] ^= 1;
    checked(&layout(&plain, &wrong, None), &[]).fails_saying(&[
        "layer 0",
        "checksum (CRC) is wrong",
        "gzip: invalid checksum",
    ]);
    let short = gzip(&plain)[..end].to_vec();
    checked(&layout(&plain, &short, None), &[]).fails_saying(&["layer 0", "its gzip stream is cut off"]);
    let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
    encoder.write_all(&plain).unwrap();
    let run = checked(&layout(&plain, &encoder.finish().unwrap(), None), &[]);
    assert_ne!(os(&run), "failed", "{}", run.stderr);
}

#[test]
fn diff_ids_are_held_where_that_costs_nothing_and_on_request_and_else_the_report_says_so() {
    let plain = tar(&[Member::file("a", b"x")]);
    let other = Some(Digest::of(b"another"));
    checked(&layout(&plain, &plain, other.clone()), &[]).fails_saying(&["layer 0", "the configuration says"]);
    let compressed = layout(&plain, &gzip(&plain), other);
    checked(&compressed, &["--verify-layers"]).fails_saying(&["layer 0", "the configuration says"]);
    let run = checked(&compressed, &[]);
    assert_eq!(run.result()["image"]["layers"][0]["diff_id_verified"], false);
    let text = crate::support::imglint(["check", &format!("oci:{}", compressed.path().display())]).stdout;
    assert!(text.contains("DiffIDs not verified"), "{text}");
}

#[test]
fn what_engines_differ_about_is_open() {
    let opaque = pax(b'x', &[("SCHILY.xattr.trusted.overlay.opaque", b"y")]);
    let result = of_tar(&[opaque, tar(&[Member::folder("usr/bin/")])].concat()).result();
    assert!(rules(&result, "error", "unknown").contains(&"layers-disputed".to_owned()), "{result:#}");
    let origin = pax(b'x', &[("SCHILY.xattr.trusted.overlay.origin", b"y")]);
    let result = of_tar(&[origin, tar(&[Member::folder("usr/bin/")])].concat()).result();
    assert!(!rules(&result, "error", "unknown").contains(&"layers-disputed".to_owned()), "{result:#}");
}

#[test]
fn more_layers_than_docker_takes_are_a_finding() {
    for (count, is_too_many) in [(125, false), (126, true)] {
        let mut image = TestImage::new(json!({}));
        for number in 1..count {
            image = image.layer("RUN x", &Tar::default().file(&format!("f{number}"), 0o644, b"x"));
        }
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("image.tar");
        let missing = count - image.layers().len();
        for number in 0..missing {
            image = image.layer("RUN y", &Tar::default().file(&format!("g{number}"), 0o644, b"x"));
        }
        fs::write(&file, docker_archive(&[(&image, &["x:1"])])).unwrap();
        let result = check([format!("docker-archive:{}", file.display())]).result();
        let found = rules(&result, "error", "fail").contains(&"layers-too-many".to_owned());
        assert_eq!(found, is_too_many, "{count}");
    }
}

#[test]
fn standard_input_without_end_is_given_up() {
    let run = Run::of(
        crate::support::program().args(["check", "--report", "json", "-"]).stdin(fs::File::open("/dev/zero").unwrap()),
    );
    assert_eq!(run.code, 2);
    assert!(run.stderr.contains("does not end 64 MiB after its last member"), "{}", run.stderr);
}
