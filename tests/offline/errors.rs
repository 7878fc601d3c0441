//! What cannot be checked is one clear line on standard error and exit code 2, and never a panic.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};

use crate::support::image::{Tar, TestImage, docker_archive, gzip, write_layout};
use crate::support::{check, imglint};
use serde_json::json;

fn small() -> TestImage {
    let noise: Vec<u8> = (0..60_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    TestImage::new(json!({"Cmd": ["sh"]})).layer("COPY noise /", &Tar::default().file("noise", 0o644, &noise))
}

fn write(folder: &Path, name: &str, bytes: &[u8]) -> PathBuf {
    let path = folder.join(name);
    fs::write(&path, bytes).unwrap();
    path
}

#[test]
fn a_text_that_names_no_image_is_an_error() {
    for (text, part) in [
        ("docker://app/UPPER", "app/UPPER"),
        ("docker://", "docker://"),
        ("oci:", "oci:"),
        ("containers-storage:x", "containers-storage"),
        ("ftp://example/x", "ftp"),
    ] {
        check([text]).fails_saying(&[part]);
    }
}

#[test]
fn a_missing_file_is_named() {
    for transport in ["oci:", "oci-archive:", "docker-archive:", "rootfs:", ""] {
        check([format!("{transport}/nowhere/at/all.tar")]).fails_saying(&["/nowhere/at/all.tar"]);
    }
}

#[test]
fn an_empty_file_and_a_file_of_another_kind_are_named() {
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes) in [
        ("empty.tar", Vec::new()),
        ("words.tar", b"this is no archive at all".repeat(100)),
        ("rootfs.tar", Tar::default().file("etc/os-release", 0o644, b"ID=debian\n").bytes()),
        ("rootfs.tar.gz", gzip(&Tar::default().file("etc/os-release", 0o644, b"ID=debian\n").bytes())),
    ] {
        let path = write(folder.path(), name, &bytes);
        for transport in ["", "docker-archive:", "oci-archive:"] {
            check([format!("{transport}{}", path.display())]).fails_saying(&[name]);
        }
    }
}

#[test]
fn a_missing_platform_lists_what_there_is() {
    let folder = tempfile::tempdir().unwrap();
    let arm = small().field("architecture", json!("arm64"));
    let mainframe = small().field("architecture", json!("s390x"));
    write_layout(folder.path(), &[(&arm, "1"), (&mainframe, "1")]);
    let image = format!("oci:{}:1", folder.path().display());
    check(["--platform", "linux/ppc64le", &image]).fails_saying(&["linux/ppc64le", "linux/arm64", "linux/s390x"]);
}

#[test]
fn a_missing_name_lists_what_there_is() {
    let folder = tempfile::tempdir().unwrap();
    let other = small().layer("COPY", &Tar::default().folder("srv"));
    let archive = docker_archive(&[(&small(), &["app/one:1"]), (&other, &["app/two:2"])]);
    let path = write(folder.path(), "two.tar", &archive);
    let names = ["app/one:1", "app/two:2"];
    check([format!("docker-archive:{}:app/three:3", path.display())]).fails_saying(&names);
    check([format!("docker-archive:{}", path.display())]).fails_saying(&names);
    let picked = check([format!("docker-archive:{}:app/two:2", path.display())]);
    assert_eq!(picked.result()["image"]["layers"].as_array().unwrap().len(), 2);
}

#[test]
fn a_truncated_archive_is_an_error_wherever_it_ends() {
    let folder = tempfile::tempdir().unwrap();
    let whole = docker_archive(&[(&small(), &["app:1"])]);
    for at in [100, 700, whole.len() / 2, whole.len() - 2000] {
        let name = format!("cut-{at}.tar");
        let path = write(folder.path(), &name, &whole[..at]);
        check([format!("docker-archive:{}", path.display())]).fails_saying(&[&name]);
    }
    let packed = gzip(&whole);
    let path = write(folder.path(), "cut.tar.gz", &packed[..packed.len() / 2]);
    check([format!("docker-archive:{}", path.display())]).fails_saying(&["cut.tar.gz"]);
}

#[test]
fn a_layer_that_is_not_what_its_digest_says_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let layer = write_layout(folder.path(), &[(&small(), "1")]).remove(0);
    let mut bytes = fs::read(&layer).unwrap();
    let last = bytes.len() - 1;
    bytes[last / 2] ^= 0x20;
    fs::write(&layer, &bytes).unwrap();
    let digest = layer.file_name().unwrap().to_str().unwrap().to_owned();
    check([format!("oci:{}", folder.path().display())]).fails_saying(&[&digest[..12]]);
}

#[test]
fn a_truncated_and_a_missing_layer_are_errors() {
    let folder = tempfile::tempdir().unwrap();
    let layer = write_layout(folder.path(), &[(&small(), "1")]).remove(0);
    let digest = layer.file_name().unwrap().to_str().unwrap().to_owned();
    let bytes = fs::read(&layer).unwrap();
    fs::write(&layer, &bytes[..bytes.len() / 2]).unwrap();
    check([format!("oci:{}", folder.path().display())]).fails_saying(&[&digest[..12]]);
    fs::remove_file(&layer).unwrap();
    check([format!("oci:{}", folder.path().display())]).fails_saying(&[&digest[..12]]);
}

#[test]
fn a_registry_that_nobody_answers_for_is_named() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    check([format!("docker://{free}/app:1")]).fails_saying(&[&free.to_string()]);
}

#[test]
fn unknown_words_are_named_and_nothing_is_printed() {
    let folder = tempfile::tempdir().unwrap();
    write_layout(folder.path(), &[(&small(), "1")]);
    let image = format!("oci:{}", folder.path().display());
    for (arguments, part) in [
        (vec!["--rule", "no-such-rule=off", &image], "no-such-rule"),
        (vec!["--rule", "bash-missing=loud", &image], "loud"),
        (vec!["--rule", "bash-missing", &image], "bash-missing"),
        (vec!["--set", "no-such-parameter=1", &image], "no-such-parameter"),
        (vec!["--set", "server=yesterday", &image], "yesterday"),
        (vec!["--profile", "no-such-profile", &image], "no-such-profile"),
        (vec!["--platform", "linux", &image], "linux"),
        (vec!["--report", "no-such-format", &image], "no-such-format"),
        (vec!["--fail-on", "sometimes", &image], "sometimes"),
    ] {
        let run = imglint(["check"].into_iter().chain(arguments));
        assert!(run.one_clear_line().contains(part), "{}", run.stderr);
        assert_eq!(run.stdout, "");
    }
}

#[test]
fn a_slip_of_the_pen_is_answered_with_the_nearest_word() {
    let run = imglint(["explain", "bash-mising"]);
    assert!(run.one_clear_line().contains("bash-missing"), "{}", run.stderr);
}

#[test]
fn no_image_at_all_is_an_error() {
    let run = imglint(["check"]);
    assert_eq!((run.code, run.stdout.as_str()), (2, ""), "{}", run.stderr);
    assert!(!run.stderr.is_empty());
}

#[test]
fn a_report_that_cannot_be_written_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    write_layout(folder.path(), &[(&small(), "1")]);
    let image = format!("oci:{}", folder.path().display());
    let run = imglint(["check", "--report", "json=/nowhere/report.json", &image]);
    assert_eq!(run.code, 2, "{}", run.stderr);
    assert!(run.stderr.contains("/nowhere/report.json"), "{}", run.stderr);
}
