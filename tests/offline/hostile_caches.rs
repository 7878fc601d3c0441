//! Caches into which somebody else has put something: it is not believed, not followed, and not waited for.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::cache::registry;
use crate::support::caching::{checking, image, told};
use crate::support::forged_entries as forged;
use crate::support::image::{Tar, gzip};
use crate::support::lying_registry::LyingRegistry;
use crate::support::{Run, imglint, program};
use imglint::cache::FORMAT;
use imglint::digest::Digest;
use imglint::layer::{LayerIndex, scan};

const KEY: &[u8] = b"0123456789abcdef";

/// Runs a command that may be made to wait for ever, which is what is tested.
pub(crate) fn in_time(command: &mut Command, seconds: u64) -> Run {
    let (out, err) = (tempfile::NamedTempFile::new().unwrap(), tempfile::NamedTempFile::new().unwrap());
    let mut child = command.stdout(out.reopen().unwrap()).stderr(err.reopen().unwrap()).spawn().unwrap();
    let start = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            let text = |file: &tempfile::NamedTempFile| fs::read_to_string(file.path()).unwrap();
            let run = Run { code: status.code().unwrap_or(-1), stdout: text(&out), stderr: text(&err) };
            assert!((0..=2).contains(&run.code) && !run.stderr.contains("panicked"), "{}: {}", run.code, run.stderr);
            return run;
        }
        if start.elapsed() > Duration::from_secs(seconds) {
            child.kill().unwrap();
            child.wait().unwrap();
            panic!("{command:?} is not done after {seconds} s");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The digest and the size of the lower layer of an image as stored, and an index that is not its.
fn other_index() -> (Digest, usize, LayerIndex) {
    let stored = gzip(&image("a").layers()[0].tar);
    let other = Tar::default().file("etc/os-release", 0o644, b"ID=ubuntu\nVERSION_ID=24.04\n");
    let other = image("a").layer("COPY / /", &other).layers().last().unwrap().tar.clone();
    let mut index = scan(&other[..]).unwrap();
    index.diff_id = Some(Digest::of(&image("a").layers()[0].tar));
    (Digest::of(&stored), stored.len(), index)
}

fn only_image(server: &LyingRegistry) -> String {
    format!("docker://{}/images:0", server.host())
}

#[test]
fn a_forged_index_is_believed_neither_with_a_key_nor_by_who_verifies_layers() {
    let server = registry(&[&image("a")], false);
    let name = only_image(&server);
    let honest = told(&imglint(["check", "--report", "json", &name]));
    let (digest, bytes, index) = other_index();
    let entry = forged::of_layer(&digest, bytes, &index);
    let key = tempfile::NamedTempFile::new().unwrap();
    fs::write(key.path(), KEY).unwrap();
    let key = key.path().to_str().unwrap();
    let keyed = forged::seal("the folder of", FORMAT.trim().as_bytes(), Some(KEY))[..FORMAT.trim().len()].to_owned();
    for (arguments, is_believed) in [
        // Nothing shows that it is forged: whoever may write there is trusted.
        (&[][..], true),
        (&["--verify-layers"], false),
        (&["--cache-key-file", key], false),
        (&["--cache-key-file", key, "--verify-layers"], false),
    ] {
        let cache = tempfile::tempdir().unwrap();
        let file = forged::put(cache.path(), &forged::name(&digest), &entry);
        // Also where those with the key look.
        fs::create_dir(cache.path().join(&keyed)).unwrap();
        fs::copy(&file, cache.path().join(&keyed).join(forged::name(&digest))).unwrap();
        let run = Run::of(checking(cache.path(), arguments).arg(&name));
        assert_eq!(told(&run) != honest, is_believed, "{arguments:?}");
    }
}

#[test]
fn with_a_key_a_layer_is_fetched_once_by_all_who_have_it() {
    let server = registry(&[&image("a")], false);
    let (cache, key) = (tempfile::tempdir().unwrap(), tempfile::NamedTempFile::new().unwrap());
    let check = |bytes: &[u8]| {
        fs::write(key.path(), bytes).unwrap();
        let mut command = checking(cache.path(), &[&only_image(&server)]);
        let run = Run::of(command.env("IMGLINT_CACHE_KEY_FILE", key.path()));
        assert_eq!(run.report()["warnings"], serde_json::json!([]), "{}", run.stdout);
        server.seen().iter().filter(|seen| seen.path.contains("/blobs/")).count()
    };
    assert_eq!(check(KEY), 3);
    assert_eq!(check(b"0123456789abcdef\r\n"), 3, "a line end is no part of it");
    assert_eq!(check(b"another key, long"), 6);
    assert_eq!(check(KEY), 6);
    let info = |arguments: &[&str]| {
        Run::of(program().args(["cache", "info", "--cache", cache.path().to_str().unwrap()]).args(arguments)).stdout
    };
    let with_key = info(&["--cache-key-file", key.path().to_str().unwrap()]);
    assert!(with_key.ends_with(", used with a key\n"), "{with_key}");
    assert!(!info(&[]).contains("key"), "{}", info(&[]));
}

#[test]
fn a_key_that_cannot_be_one_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("key");
    for (content, expected) in [
        (Some("fifteen bytes..\n"), "it has 15 bytes, and a key of fewer than 16 bytes can be guessed"),
        (Some(""), "it has 0 bytes"),
        (None, "cannot read it: No such file or directory"),
    ] {
        match content {
            Some(content) => fs::write(&key, content).unwrap(),
            None => fs::remove_file(&key).unwrap(),
        }
        let mut command = checking(folder.path(), &["--cache-key-file", key.to_str().unwrap(), "oci:x"]);
        let run = Run::of(&mut command);
        let line = run.one_clear_line();
        assert!(line.contains("the key file") && line.contains(expected), "{line}");
    }
}

#[test]
fn a_cache_below_the_checkout_is_used_only_if_the_command_line_names_it() {
    let server = registry(&[&image("a")], false);
    let folder = tempfile::tempdir().unwrap();
    for (checkout, is_repository) in [("with", true), ("without", false)] {
        let checkout = folder.path().canonicalize().unwrap().join(checkout);
        fs::create_dir_all(checkout.join("src")).unwrap();
        if is_repository {
            fs::create_dir(checkout.join(".git")).unwrap();
        }
        let here = if is_repository { checkout.join("src") } else { checkout.clone() };
        let cache = checkout.join(".cache/imglint");
        let run = |command: &mut Command| Run::of(command.current_dir(&here));
        let refused = run(checking(&cache, &[]).arg(only_image(&server)));
        let warnings = refused.report()["warnings"].to_string();
        assert!(warnings.contains("is of no use: it lies in ") && warnings.contains("--cache"), "{warnings}");
        assert_eq!(refused.result()["verdict"], "incompatible");
        assert!(!checkout.join(".cache").exists(), "nothing is written there");
        let asked = run(program().env("IMGLINT_CACHE", &cache).args(["cache", "info"]));
        assert!(asked.one_clear_line().contains("it lies in "), "{}", asked.stderr);
        let cache = cache.to_str().unwrap();
        let mut named = program();
        named.env_remove("IMGLINT_NO_CACHE").args([
            "check",
            "--report",
            "json",
            "--cache",
            cache,
            &only_image(&server),
        ]);
        assert_eq!(run(&mut named).report()["warnings"], serde_json::json!([]));
        let named = run(program().args(["cache", "info", "--cache", cache]));
        assert!(named.stdout.contains(": 4 entries"), "{}", named.stdout);
    }
}

#[cfg(unix)]
mod of_files {
    use std::os::unix::fs::{PermissionsExt as _, chown, symlink};

    use super::*;

    fn fifo(path: &Path) {
        rustix::fs::mknodat(rustix::fs::CWD, path, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    }

    /// Checks with an entry that `spoil` has put where that of a layer belongs; gives the warnings.
    fn check(spoil: impl FnOnce(&Path, &[u8])) -> String {
        let server = registry(&[&image("a")], false);
        let name = only_image(&server);
        let honest = told(&imglint(["check", "--report", "json", &name]));
        let cache = tempfile::tempdir().unwrap();
        let (digest, bytes, index) = other_index();
        let entry = forged::of_layer(&digest, bytes, &index);
        let file = forged::put(cache.path(), &forged::name(&digest), &entry);
        fs::remove_file(&file).unwrap();
        spoil(&file, &entry);
        let run = in_time(&mut checking(cache.path(), &[&name]), 60);
        let (mut report, mut expected) = (told(&run), honest);
        let warnings = report["warnings"].take().to_string();
        expected["warnings"].take();
        assert!(report == expected, "{warnings}");
        warnings
    }

    #[test]
    fn a_fifo_in_place_of_an_entry_is_not_waited_for() {
        assert!(check(|file, _| fifo(file)).contains("was not read: it is not a plain file"));
    }

    #[test]
    fn a_link_in_place_of_an_entry_is_not_followed() {
        let elsewhere = tempfile::tempdir().unwrap();
        let target = elsewhere.path().join("entry");
        let warnings = check(|file, entry| {
            fs::write(&target, entry).unwrap();
            symlink(&target, file).unwrap();
        });
        assert!(warnings.contains("was not read: it is a link"), "{warnings}");
        assert!(check(|file, _| symlink("/dev/zero", file).unwrap()).contains("it is a link"));
    }

    #[test]
    fn an_entry_that_others_can_have_written_is_not_read() {
        let warnings = check(|file, entry| {
            fs::write(file, entry).unwrap();
            fs::set_permissions(file, fs::Permissions::from_mode(0o666)).unwrap();
        });
        assert!(warnings.contains("other users can write to it"), "{warnings}");
        if rustix::process::geteuid().is_root() {
            let warnings = check(|file, entry| {
                fs::write(file, entry).unwrap();
                chown(file, Some(54321), None).unwrap();
            });
            assert!(warnings.contains("it belongs to another user"), "{warnings}");
        }
    }

    #[test]
    fn a_folder_that_others_can_write_to_is_used_only_if_the_command_line_names_it() {
        let server = registry(&[&image("a")], false);
        let folder = tempfile::tempdir().unwrap();
        let cache = folder.path().join("cache");
        type Spoil = fn(&Path);
        let spoil: [(&str, Spoil); 3] = [
            ("others can write to", |cache| fs::set_permissions(cache, fs::Permissions::from_mode(0o777)).unwrap()),
            ("everybody can write to", |cache| {
                fs::set_permissions(cache.parent().unwrap(), fs::Permissions::from_mode(0o777)).unwrap();
            }),
            ("belongs to another user", |cache| {
                fs::set_permissions(cache.parent().unwrap(), fs::Permissions::from_mode(0o755)).unwrap();
                if rustix::process::geteuid().is_root() {
                    chown(cache, Some(54321), None).unwrap();
                }
            }),
        ];
        for (expected, spoil) in spoil {
            fs::create_dir_all(&cache).unwrap();
            fs::set_permissions(&cache, fs::Permissions::from_mode(0o700)).unwrap();
            spoil(&cache);
            let warnings = Run::of(&mut checking(&cache, &[&only_image(&server)])).report()["warnings"].to_string();
            let is_foreign = expected != "belongs to another user" || rustix::process::geteuid().is_root();
            assert!(!is_foreign || warnings.contains(expected), "{expected}: {warnings}");
            if is_foreign {
                assert_eq!(fs::read_dir(&cache).unwrap().count(), 0, "nothing is written there");
            }
        }
        let mut named = program();
        named.env_remove("IMGLINT_NO_CACHE").args(["check", "--report", "json", "--cache"]).arg(&cache);
        assert_eq!(Run::of(named.arg(only_image(&server))).report()["warnings"], serde_json::json!([]));
    }
}
