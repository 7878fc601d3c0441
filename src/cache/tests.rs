//! Tests of what is kept and what is believed.

use std::convert::Infallible;
use std::fs;

use super::*;
use crate::layer::scan;

fn index() -> Arc<LayerIndex> {
    Arc::new(scan(&[0_u8; 1024][..]).unwrap())
}

fn digest(text: &str) -> Digest {
    Digest::of(text.as_bytes())
}

fn stored(digest: &Digest, bytes: u64) -> StoredLayer<'_> {
    StoredLayer { digest, bytes, table: None }
}

/// How often a layer is read if it is asked for.
fn reads(cache: &Cache, text: &str, bytes: u64) -> usize {
    let mut count = 0;
    let read = || {
        count += 1;
        Ok::<_, Infallible>(index())
    };
    let found = cache.layer(stored(&digest(text), bytes), |_| true, read).unwrap();
    assert_eq!(found, index());
    count
}

#[test]
fn what_was_read_is_read_no_more() {
    let folder = tempfile::tempdir().unwrap();
    let on_disk = || Cache::in_folder(folder.path().join("new/cache"), 1 << 20);
    let cache = on_disk();
    assert_eq!([reads(&cache, "a", 9), reads(&cache, "a", 9), reads(&on_disk(), "a", 9)], [1, 0, 0]);
    assert_eq!(reads(&cache, "a", 8), 1, "another size is another claim");
    let memory = Cache::in_memory(1 << 20);
    assert_eq!([reads(&memory, "a", 9), reads(&memory, "a", 9), reads(&memory, "b", 9)], [1, 0, 1]);
    assert_eq!([reads(&Cache::in_memory(0), "a", 9), reads(&Cache::in_memory(0), "a", 9)], [1, 1]);
}

#[test]
fn what_is_damaged_or_of_another_name_is_read_again_and_mended() {
    let folder = tempfile::tempdir().unwrap();
    let cache = Cache::in_folder(folder.path().to_owned(), 1 << 20);
    let files = || -> Vec<PathBuf> {
        let mut all: Vec<_> =
            fs::read_dir(folder.path().join(FORMAT.trim())).unwrap().map(|entry| entry.unwrap().path()).collect();
        all.sort();
        all
    };
    reads(&cache, "a", 9);
    assert_eq!(files().len(), 1);
    for file in files() {
        let whole = fs::read(&file).unwrap();
        for at in [0, 10, whole.len() - 1] {
            let mut damaged = whole.clone();
            damaged[at] ^= 1;
            fs::write(&file, &damaged).unwrap();
            assert_eq!(reads(&cache, "a", 9), 1, "{} at {at}", file.display());
            assert_eq!(fs::read(&file).unwrap(), whole);
        }
        fs::write(&file, &whole[..whole.len() / 2]).unwrap();
        assert_eq!(reads(&cache, "a", 9), 1);
    }
    reads(&cache, "b", 9);
    let [a, b] = ["a", "b"].map(|text| folder.path().join(FORMAT.trim()).join(name(BLOB, &digest(text))));
    fs::copy(a, &b).unwrap();
    assert_eq!(reads(&cache, "b", 9), 1, "an entry says whose it is");
}

#[test]
fn the_least_recently_used_goes_first() {
    let folder = tempfile::tempdir().unwrap();
    let cache = Cache::in_folder(folder.path().to_owned(), 1 << 20);
    cache.keep_image(&digest("old"), &"x");
    cache.keep_image(&digest("new"), &"y");
    let path = |text: &str| folder.path().join(FORMAT.trim()).join(name(IMAGE, &digest(text)));
    let old = std::time::SystemTime::now() - std::time::Duration::from_secs(9000);
    for text in ["old", "new"] {
        fs::File::options().write(true).open(path(text)).unwrap().set_modified(old).unwrap();
    }
    assert_eq!(cache.image::<String>(&digest("old")).as_deref(), Some("x"), "which is a use");
    drop(cache);
    let size = fs::metadata(path("old")).unwrap().len();
    let cache = Cache::in_folder(folder.path().to_owned(), size + size / 2);
    cache.keep_image(&digest("third"), &"z");
    drop(cache);
    assert_eq!(["old", "new", "third"].map(|text| path(text).exists()), [false, false, true]);
}

#[test]
fn a_layer_that_is_being_read_is_waited_for() {
    let cache = Cache::in_memory(1 << 20);
    let count = std::sync::atomic::AtomicUsize::new(0);
    let read = || {
        count.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        std::thread::sleep(std::time::Duration::from_millis(20));
        Ok::<_, Infallible>(index())
    };
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| cache.layer(stored(&digest("a"), 9), |_| true, read).unwrap());
        }
    });
    assert_eq!(count.into_inner(), 1);
}

/// A cache at a folder that the command line names.
fn at(folder: &std::path::Path, options: CacheOptions) -> Cache {
    let options = CacheOptions { named_by: NamedBy::CommandLine, limit: 1 << 20, ..options };
    Cache::at(&Place::Folder(folder.to_owned()), options).unwrap()
}

fn with_key(text: &str) -> CacheOptions {
    CacheOptions { key: Some(Key::new(text.as_bytes()).unwrap()), ..CacheOptions::default() }
}

#[test]
fn entries_of_another_key_or_of_none_are_absent() {
    let folder = tempfile::tempdir().unwrap();
    let options = [CacheOptions::default(), with_key("the first key, 16"), with_key("the second key 16")];
    for options in &options {
        assert_eq!(reads(&at(folder.path(), options.clone()), "a", 9), 1, "what others made is not believed");
    }
    let own: Vec<PathBuf> = fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().path().join(name(BLOB, &digest("a"))))
        .collect();
    assert_eq!(own.len(), 3, "and is not replaced");
    for options in &options {
        assert_eq!(reads(&at(folder.path(), options.clone()), "a", 9), 0);
    }
    // Copied to where those with the key look.
    let entries: Vec<Vec<u8>> = own.iter().map(|file| fs::read(file).unwrap()).collect();
    for (number, file) in own.iter().enumerate() {
        fs::write(file, &entries[(number + 1) % 3]).unwrap();
    }
    for options in options {
        assert_eq!(reads(&at(folder.path(), options), "a", 9), 1);
    }
}

#[test]
fn who_verifies_believes_only_what_this_process_has_read() {
    let folder = tempfile::tempdir().unwrap();
    let verifying = || at(folder.path(), CacheOptions { verifies: true, ..CacheOptions::default() });
    let other = at(folder.path(), CacheOptions::default());
    assert_eq!(reads(&other, "a", 9), 1);
    other.keep_image(&digest("a"), &"x");
    other.keep_index(&scan(&[0_u8; 1024][..]).unwrap());
    let diff_id = index().diff_id.clone();
    other.keep_document(&Digest::of(b"document"), b"document");
    let start = |cache: &Cache| {
        let mut is_read = false;
        let read = || {
            is_read = true;
            Ok::<_, Infallible>(Some((index(), false)))
        };
        cache.start("a", read).unwrap();
        is_read
    };
    assert!(start(&other) && !start(&other));
    let cache = verifying();
    assert_eq!([reads(&cache, "a", 9), reads(&cache, "a", 9)], [1, 0]);
    assert_eq!(cache.image::<String>(&digest("a")), None);
    assert!(diff_id.is_none_or(|diff_id| cache.index(&diff_id).is_none()));
    assert!(start(&cache) && !start(&cache));
    assert_eq!(cache.document(&Digest::of(b"document")).as_deref(), Some(&b"document"[..]), "its digest proves it");
    assert_eq!(reads(&verifying(), "a", 9), 1);
    assert_eq!(reads(&other, "a", 9), 0, "others may use what it has kept");
}

#[cfg(unix)]
mod files {
    use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _, symlink};

    use super::*;

    /// Puts something in place of an entry; it may use a file that is elsewhere.
    type Spoil = fn(&std::path::Path, &std::path::Path);

    fn fifo(path: &std::path::Path) {
        rustix::fs::mknodat(rustix::fs::CWD, path, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    }

    #[test]
    fn what_is_no_plain_file_of_this_user_is_not_read_and_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let precious = folder.path().join("precious");
        let file = folder.path().join(FORMAT.trim()).join(name(BLOB, &digest("a")));
        let say = |cache: Cache| {
            assert_eq!(reads(&cache, "a", 9), 1);
            cache.finish().concat()
        };
        let cache = || at(folder.path(), CacheOptions::default());
        assert_eq!(say(cache()), "");
        let good = fs::read(&file).unwrap();
        let spoil: [(&str, Spoil); 4] = [
            ("it is not a plain file", |file, _| fifo(file)),
            ("it is not a plain file", |file, precious| {
                // The paths of sockets are short.
                let socket = precious.with_file_name("s");
                drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
                fs::rename(socket, file).unwrap();
            }),
            ("it is a link", |file, precious| symlink(precious, file).unwrap()),
            ("other users can write to it", |file, precious| {
                fs::copy(precious, file).unwrap();
                fs::set_permissions(file, fs::Permissions::from_mode(0o620)).unwrap();
            }),
        ];
        for (expected, spoil) in spoil {
            fs::write(&precious, &good).unwrap();
            fs::remove_file(&file).unwrap();
            spoil(&file, &precious);
            let said = say(cache());
            assert!(said.contains("was not read: ") && said.contains(expected), "{said}");
            assert!(!said.contains('\n'), "one line for all of them: {said}");
            let now = fs::symlink_metadata(&file).unwrap();
            assert!(now.is_file() && !now.file_type().is_fifo() && now.mode() & 0o777 == 0o600, "{now:?}");
            assert_eq!(fs::read(&precious).unwrap(), good, "what a link leads to stays as it was");
            assert_eq!(reads(&cache(), "a", 9), 0);
        }
    }

    #[test]
    fn what_is_written_goes_to_a_new_file_of_a_name_that_nobody_knows() {
        let folder = tempfile::tempdir().unwrap();
        let (own, precious) = (folder.path().join(FORMAT.trim()), folder.path().join("precious"));
        fs::create_dir(&own).unwrap();
        fs::write(&precious, "precious").unwrap();
        let entry = name(BLOB, &digest("a"));
        for number in 0..8 {
            let part = format!("{entry}.part-{}-{number}", std::process::id());
            symlink(&precious, own.join(part)).unwrap();
        }
        assert_eq!(reads(&at(folder.path(), CacheOptions::default()), "a", 9), 1);
        assert_eq!(fs::read(&precious).unwrap(), b"precious");
        assert!(fs::symlink_metadata(own.join(entry)).unwrap().is_file());
    }

    #[test]
    fn a_link_in_place_of_the_folder_of_a_format_is_not_followed() {
        let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let file = other.path().join(name(BLOB, &digest("a")));
        fs::write(&file, "not of this cache").unwrap();
        symlink(other.path(), folder.path().join(FORMAT.trim())).unwrap();
        let cache = at(folder.path(), CacheOptions::default());
        assert_eq!([reads(&cache, "a", 9), reads(&cache, "a", 9)], [1, 1]);
        drop(cache);
        let place = Place::Folder(folder.path().to_owned());
        let options = CacheOptions { named_by: NamedBy::CommandLine, ..CacheOptions::default() };
        assert_eq!(Usage::clear(&place, &options), Ok(Usage::default()));
        assert_eq!(fs::read(&file).unwrap(), b"not of this cache");
    }
}
