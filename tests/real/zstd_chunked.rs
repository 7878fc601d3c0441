//! Layers that skopeo pushes as zstd:chunked are fetched in part.

use std::fs;
use std::process::Command;

use serde_json::json;

use crate::support::image::{Tar, TestImage, write_layout};
use crate::support::tars::noise;
use crate::support::{fetched, program, real_part};

#[test]
fn skopeo_s_zstd_chunked_layers_are_fetched_in_part() {
    let Some(registry) = real_part("a registry", "IMGLINT_TEST_REGISTRY") else { return };
    let Some(image) = TestImage::like_this_machine(json!({"Env": ["PATH=/usr/bin:/bin"]})) else { return };
    let image = image.ready().layer("COPY data /", &Tar::default().file("usr/share/data", 0o644, &noise(9 << 20)));
    let folder = tempfile::tempdir().unwrap();
    write_layout(folder.path(), &[(&image, "lazy")]);
    let plain = folder.path().join("plain");
    let name = format!("docker://{registry}/imglint/lazy:1.0.0");
    let skopeo = |arguments: &[&str]| {
        let mut command = Command::new("skopeo");
        // Whose memory of what was pushed would take another compression for this one.
        command.env("XDG_DATA_HOME", folder.path()).args(["--insecure-policy", "copy", "--quiet"]).args(arguments);
        let output = command.output().expect("skopeo is installed");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    let plain = plain.to_str().unwrap();
    skopeo(&["--dest-decompress", &format!("oci:{}:lazy", folder.path().display()), &format!("dir:{plain}")]);
    let chunked = ["--dest-tls-verify=false", "--format", "oci", "--dest-compress-format", "zstd:chunked"];
    skopeo(&[&chunked[..], &[&format!("dir:{plain}"), &name]].concat());
    let check = |arguments: &[&str]| fetched(program().args(["check", "--report", "json", &name]).args(arguments));
    let ((part, of_part), (whole, of_whole)) = (check(&["--trust-toc"]), check(&["--verify-layers"]));
    assert!(of_part + (8 << 20) < of_whole, "{of_part} and {of_whole} bytes");
    assert_eq!(part.result()["findings"], whole.result()["findings"]);
    fs::remove_dir_all(plain).unwrap();
}
