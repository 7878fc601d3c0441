//! Reads tars as GNU tar writes them in all its formats, and as nobody should write them, and holds the index to what
//! other readers say.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use crate::support::elf::{self, Elf};
use crate::support::image::{Tar, TestImage, docker_archive};
use crate::support::leave_out;
use crate::support::listing::{gnu_tar, listing, python};
use crate::support::tars::{Member, header, pax, seal, tar};
use imglint::layer::allowance::Working;
use imglint::layer::{Kind, LayerIndex, decompress, scan};

/// Gives a few bytes at a time.
struct Trickle<'a>(&'a [u8], usize);

impl Read for Trickle<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.1.min(buffer.len());
        self.0.read(&mut buffer[..count])
    }
}

fn index(tar: &[u8]) -> LayerIndex {
    scan(tar).unwrap_or_else(|error| panic!("{error}"))
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[track_caller]
fn assert_refused(index: &LayerIndex, why: &str) {
    assert!(index.refused().is_some_and(|said| said.contains(why)), "{:?}", index.refused());
}

/// All that must be the same however the bytes come, and what Python says of them.
fn check(what: &str, tar: &[u8]) -> LayerIndex {
    let index = index(tar);
    match python(tar) {
        Some((digest, members)) => {
            assert_eq!(listing(&index), members, "{what}");
            assert_eq!(index.diff_id.as_ref().unwrap().hex(), digest, "{what}");
        }
        None => drop(leave_out(&format!("python3, to ask about {what}"))),
    }
    assert_eq!(index.bytes, Some(tar.len() as u64), "{what}");
    let step = if tar.len() < 50_000 { 1 } else { 509 };
    assert_eq!(scan(Trickle(tar, step)).unwrap(), index, "{what}, {step} bytes at a time");
    let (front, back) = tar.split_at(tar.len() / 3);
    let skippable = [&[0x5a, 0x2a, 0x4d, 0x18, 3, 0, 0, 0][..], b"xyz"].concat();
    let zstd = |bytes| zstd::encode_all(bytes, 1).unwrap();
    for (how, bytes) in [
        ("gzip", gzip(tar)),
        ("gzip of several members", [gzip(front), gzip(b""), gzip(back)].concat()),
        ("zstd", zstd(tar)),
        (
            "zstd with skippable frames",
            [&skippable, &zstd(front), &skippable, &zstd(back), &skippable].map(|part| part.as_slice()).concat(),
        ),
    ] {
        let (_, stream) = decompress::open(Trickle(&bytes, 1000), Working::begin()).unwrap();
        assert_eq!(scan(stream).unwrap(), index, "{what}, {how}");
    }
    index
}

/// A folder with everything that the formats write differently.
fn fill(folder: &Path) {
    let write = |path: &str, bytes: &[u8]| {
        let path = folder.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    };
    write("short", b"short");
    write("empty", b"");
    write("etc/os-release", b"ID=x\n");
    for length in [98, 99, 100, 101, 155, 200, 255] {
        write(&format!("names/{}", "n".repeat(length)), b"long name");
    }
    let deep = format!("{}/{}/{}", "p".repeat(120), "q".repeat(120), "r".repeat(120));
    write(&format!("{deep}/file"), b"deep");
    write(&format!("split/{}/{}", "s".repeat(130), "t".repeat(90)), b"prefix and name");
    for length in [99, 100, 101, 120, 300] {
        symlink("x".repeat(length), folder.join(format!("link-{length}"))).unwrap();
    }
    symlink("../../outside", folder.join("link-outside")).unwrap();
    fs::hard_link(folder.join("short"), folder.join("zz-hard")).unwrap();
    fs::hard_link(folder.join(format!("{deep}/file")), folder.join("zz-hard-to-long")).unwrap();
    fs::write(folder.join(std::ffi::OsStr::from_bytes(b"latin-\xe9-\xff\xfe")), b"bytes").unwrap();
    write("umlaut-ä-€-😀", b"utf-8");
    let mut sparse = File::create(folder.join("sparse")).unwrap();
    for at in 0..30 {
        sparse.seek(SeekFrom::Start(at * 12_288)).unwrap();
        sparse.write_all(b"data").unwrap();
    }
    sparse.set_len(400_000).unwrap();
    File::create(folder.join("hole")).unwrap().set_len(200_000).unwrap();
    let old = folder.join("old");
    fs::write(&old, b"before 1970").unwrap();
    let time = std::time::UNIX_EPOCH - std::time::Duration::from_millis(86_400_500);
    File::options().write(true).open(&old).unwrap().set_modified(time).unwrap();
    let run = |arguments: &[&str]| Command::new(arguments[0]).current_dir(folder).args(&arguments[1..]).output();
    let _ = run(&["mkfifo", "fifo"]);
    // Only root may, and not even root in every container.
    let _ = run(&["mknod", "device", "c", "1", "3"]);
}

#[test]
fn what_gnu_tar_writes_is_read_as_python_reads_it() {
    let folder = tempfile::tempdir().unwrap();
    fill(folder.path());
    for arguments in [
        &["--format=v7", "."][..],
        &["--format=ustar", "."],
        &["--format=oldgnu", "."],
        &["--format=gnu", "."],
        &["--format=posix", "."],
        &["--format=gnu", "--owner=someone:3000000", "--group=some:4000000", "."],
        &["--format=posix", "--owner=someone:3000000", "."],
        &["--format=oldgnu", "-S", "."],
        &["--format=gnu", "-S", "."],
        &["--format=posix", "-S", "--sparse-version=0.0", "."],
        &["--format=posix", "-S", "--sparse-version=0.1", "."],
        &["--format=posix", "-S", "--sparse-version=1.0", "."],
        &["--format=posix", "--pax-option=globexthdr.name=/tmp/x,comment=hello", "."],
        &["--format=posix", "--pax-option=delete=atime,delete=ctime,exthdr.name=%d/%f", "."],
        &["--format=gnu", "--label=volume", "short"],
        &["--format=gnu", "--blocking-factor=1", "etc", "names"],
        &["--format=gnu", "-h", "--hard-dereference", "names", "short", "zz-hard"],
        &["--format=gnu", "--transform=s,^,/abs/,", "-P", "etc", "short", "zz-hard"],
        &["--format=gnu", "--transform=s,^,../../up/,", "-P", "etc", "short", "zz-hard"],
    ] {
        let Some(tar) = gnu_tar(folder.path(), arguments) else {
            leave_out("GNU tar");
            return;
        };
        if arguments[1].starts_with("--label") {
            assert_refused(&index(&tar), "is of type V in the tar");
            continue;
        }
        let index = check(&format!("{arguments:?}"), &tar);
        // GNU's own form of sparse files is no type that engines know.
        let is_odd = arguments.contains(&"-S") && !arguments[0].ends_with("posix");
        assert_eq!(index.refused().is_some(), is_odd, "{arguments:?}: {:?}", index.refused());
        assert!(index.len() > 2, "{arguments:?}: {}", index.len());
    }
}

#[test]
fn entries_that_were_appended_replace_the_first_ones() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a"), b"one").unwrap();
    if gnu_tar(folder.path(), &["a"]).is_none() {
        leave_out("GNU tar");
        return;
    }
    let run = |mode: &str| {
        let status = Command::new("tar").current_dir(&folder).args([mode, "x.tar", "a"]).status().unwrap();
        assert!(status.success());
    };
    run("-cf");
    fs::write(folder.path().join("a"), b"three").unwrap();
    run("-rf");
    let index = check("appended", &fs::read(folder.path().join("x.tar")).unwrap());
    assert_eq!((index.len(), index.get("a").unwrap().size()), (1, 5));
    assert_refused(&index, "it has /a twice");
}

#[test]
fn a_program_in_a_sparse_file_is_summarised_as_if_it_were_whole() {
    let folder = tempfile::tempdir().unwrap();
    let program = Elf { gap: 2_000_000, ..Elf::program(elf::X86_64, "/lib64/ld-linux-x86-64.so.2") }.bytes();
    let mut file = File::create(folder.path().join("program")).unwrap();
    file.write_all(&program[..300]).unwrap();
    let end = program.len() - 1000;
    file.seek(SeekFrom::Start(end as u64)).unwrap();
    file.write_all(&program[end..]).unwrap();
    for format in ["--format=gnu", "--format=posix"] {
        let Some(sparse) = gnu_tar(folder.path(), &[format, "-S", "program"]) else {
            leave_out("GNU tar");
            return;
        };
        assert!(sparse.len() < 1_000_000, "{} bytes are not sparse", sparse.len());
        let whole = index(&tar(&[Member::file("program", &program)]));
        let detail = |index: &LayerIndex| index.get("program").unwrap().detail().unwrap().clone();
        assert_eq!(detail(&index(&sparse)), detail(&whole));
        assert!(detail(&whole).elf.unwrap().interpreter.is_some());
    }
}

#[test]
fn long_pax_values_and_attributes_are_read() {
    let long = format!("{}/file", "d/".repeat(1500));
    let records: &[(&str, &[u8])] = &[
        ("path", long.as_bytes()),
        ("mtime", b"-1.5"),
        ("atime", b"1700000000.123456789"),
        ("SCHILY.xattr.security.capability", b"\x01\0\0\x02\n=\0"),
        ("SCHILY.xattr.user.big", &[b'='; 60_000]),
        ("LIBARCHIVE.xattr.user.x", b"eA=="),
    ];
    let mut bytes = pax(b'x', records);
    bytes.extend(Member::file("short", b"content").bytes());
    bytes.extend(pax(b'x', &[("linkpath", "../".repeat(500).as_bytes())]));
    bytes.extend(Member::symlink("link", "x").bytes());
    bytes.extend(pax(b'x', &[("size", b"3")]));
    let mut odd = header(b"sized", b'0', 0, 0o644, b"").to_vec();
    odd.extend(b"abc");
    odd.resize(1024, 0);
    bytes.extend(odd);
    bytes.extend([0; 1024]);
    let index = check("long PAX values", &bytes);
    assert_eq!(index.get(&long.replace("//", "/")).unwrap().size(), 7);
    assert_eq!(index.get("sized").unwrap().size(), 3);
}

#[test]
fn global_headers_change_no_entry() {
    let bytes = [
        pax(b'g', &[("comment", b"of git"), ("path", b"wrong"), ("size", b"9")]),
        Member::file("right", b"x").bytes(),
        pax(b'g', &[("uid", b"77")]),
        Member::file("also", b"x").bytes(),
        vec![0; 1024],
    ];
    let index = index(&bytes.concat());
    assert_eq!(index.below("").map(|entry| entry.path()).collect::<Vec<_>>(), ["also", "right"]);
    assert_eq!((index.get("also").unwrap().owner(), index.get("right").unwrap().size()), ((0, 0), 1));
}

#[test]
fn sizes_in_base_256_are_read() {
    let mut head = header(b"a", b'0', 0, 0o644, b"");
    head[124..136].copy_from_slice(&[0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x02, 0x01]);
    seal(&mut head);
    let bytes = [&head[..], &[b'x'; 513], &[0; 511], &Member::file("b", b"").bytes(), &[0; 1024]].concat();
    assert_eq!(check("base-256", &bytes).get("a").unwrap().size(), 513);
}

#[test]
fn thousands_of_pieces_of_a_sparse_file_are_read() {
    let pieces = 50_000;
    let mut map = format!("{pieces}\n");
    for piece in 0..pieces {
        map.push_str(&format!("{}\n1\n", piece * 2));
    }
    let mut content = map.into_bytes();
    content.resize(content.len().next_multiple_of(512), 0);
    content.extend(vec![b'x'; pieces]);
    let size = (pieces * 2).to_string();
    let version: &[(&str, &[u8])] = &[
        ("GNU.sparse.major", b"1"),
        ("GNU.sparse.minor", b"0"),
        ("GNU.sparse.name", b"real"),
        ("GNU.sparse.realsize", size.as_bytes()),
    ];
    let bytes =
        [pax(b'x', version), Member::file("GNUSparseFile.0/real", &content).bytes(), Member::file("z", b"z").bytes()];
    let index = check("many pieces", &bytes.concat());
    assert_eq!(index.get("real").unwrap().size(), 100_000);
    assert!(index.get("z").is_some());
}

#[test]
fn folders_are_told_by_their_type_and_in_very_old_tars_by_their_slash() {
    let mut old = header(b"folder/", 0, 0, 0o755, b"");
    old[257..265].fill(0);
    seal(&mut old);
    let bytes = [old.to_vec(), Member::file("file/", b"x").bytes(), Member::folder("new/").bytes()].concat();
    let index = index(&bytes);
    let kinds: Vec<_> = index.below("").map(|entry| (entry.path(), entry.kind())).collect();
    assert_eq!(kinds, [("file", Kind::File), ("folder", Kind::Directory), ("new", Kind::Directory)]);
}

#[test]
fn only_files_have_content() {
    let sized = |kind: u8, path: &str, link: &str| header(path.as_bytes(), kind, 1000, 0o644, link.as_bytes());
    let bytes = [
        &sized(b'1', "hard", "x")[..],
        &sized(b'2', "link", "x"),
        &sized(b'5', "folder", ""),
        &sized(b'4', "device", ""),
        &sized(b'6', "fifo", ""),
        &Member::file("file", b"x").bytes(),
        &[0; 1024],
    ];
    assert_eq!(index(&bytes.concat()).len(), 6);
}

#[test]
fn whatever_follows_the_end_counts_for_the_diff_id_only() {
    let body = [Member::folder("d/").bytes(), Member::file("d/f", b"content").bytes()].concat();
    let entries = listing(&index(&[&body[..], &[0; 1024]].concat()));
    for (what, end) in [
        ("no end block", vec![]),
        ("one end block", vec![0; 512]),
        ("zeros", vec![0; 10_240 - body.len()]),
        ("garbage", [vec![0; 1024], vec![b'g'; 700_001]].concat()),
        ("another tar", [vec![0; 1024], body.clone(), vec![0; 1024]].concat()),
    ] {
        let bytes = [&body[..], &end].concat();
        let index = check(what, &bytes);
        assert_eq!(listing(&index), entries, "{what}");
        assert_eq!(index.bytes, Some(bytes.len() as u64), "{what}");
    }
    let without_padding = &body[..body.len() - 505];
    assert_eq!(listing(&index(without_padding)), entries);
    assert!(
        scan(&[&body[..], &[0; 100]].concat()[..]).is_err(),
        "less than a block, which engines call an unexpected end"
    );
    assert!(index(b"").is_empty());
    assert!(index(&[0; 10_240]).is_empty());
}

#[test]
fn a_layer_that_is_cut_off_is_broken() {
    let bytes = [pax(b'x', &[("path", b"first")]), Member::file("x", &[b'x'; 1500]).bytes()].concat();
    for cut in 1..bytes.len() {
        let result = scan(&bytes[..cut]);
        // The last 36 bytes are padding; from 526 to 1024 there is a whole extended header, and nothing that it is for.
        match cut {
            526..=1024 => assert!(result.is_ok_and(|index| index.is_empty()), "{cut}"),
            3036.. => assert!(result.is_ok(), "{cut}"),
            _ => assert!(result.is_err(), "{cut}"),
        }
    }
    let tar = tar(&[Member::file("x", &(0..200_000_u64).map(|at| (at * at / 7) as u8).collect::<Vec<_>>())]);
    for whole in [gzip(&tar), zstd::encode_all(&tar[..], 1).unwrap()] {
        for cut in (1..whole.len()).step_by(whole.len() / 50) {
            let read = decompress::open(&whole[..cut], Working::begin()).map_err(imglint::layer::Error::Read);
            assert!(read.and_then(|(_, stream)| scan(stream)).is_err(), "{cut} of {}", whole.len());
        }
    }
}

#[test]
fn programs_are_summarised_wherever_they_lie_in_the_stream() {
    let program = Elf { gap: 60_000, ..Elf::program(elf::X86_64, "/lib64/ld-linux-x86-64.so.2") };
    let large = Elf { gap: 5 << 20, ..Elf::library(elf::X86_64, "libc.so.6") };
    for program in [program.bytes(), large.bytes()] {
        let wanted = index(&tar(&[Member::file("p", &program)])).get("p").unwrap().detail().cloned();
        assert!(wanted.as_ref().and_then(|detail| detail.elf.as_ref()).is_some());
        let window = decompress::CHUNK;
        for start in (window - 66 * 1024..=window + 1024).step_by(if program.len() > 1 << 20 { 33 * 512 } else { 512 })
        {
            // Its header and the one of the filler stand before the program.
            let filler = vec![b'f'; start - 1024];
            let bytes = tar(&[Member::file("filler", &filler), Member::file("p", &program), Member::file("z", b"")]);
            let found = index(&bytes);
            assert_eq!(found.get("p").unwrap().detail().cloned(), wanted, "at {start}");
        }
        for step in [1, 7, 511, 4096, 65_537] {
            let bytes = tar(&[Member::file("a", b"#!/bin/sh -e\nx"), Member::file("p", &program)]);
            assert_eq!(scan(Trickle(&bytes, step)).unwrap(), index(&bytes), "{step} bytes at a time");
        }
    }
}

#[test]
fn what_the_first_line_of_a_script_says_is_kept() {
    let long = format!("#!/{}", "x".repeat(400));
    let index = index(&tar(&[
        Member::file("a", b"#! /bin/sh -e \necho"),
        Member::file("b", b"#!"),
        Member::file("c", long.as_bytes()),
        Member::file("d", b"#"),
        Member::file("e", b""),
    ]));
    let line = |path: &str| index.get(path).unwrap().detail().and_then(|detail| detail.interpreter_line.clone());
    assert_eq!(line("a").as_deref(), Some("/bin/sh -e"));
    assert_eq!(line("b").as_deref(), Some(""));
    assert_eq!(line("c").as_deref(), Some(""), "the name does not end in what the kernel reads");
    assert_eq!((line("d"), line("e")), (None, None));
}

#[test]
fn a_layer_of_a_streamed_archive_may_begin_as_a_document_does() {
    let layer = Tar::default().file("{id}", 0o644, b"x").file("etc/os-release", 0o644, b"ID=x\n");
    let image = TestImage::new(serde_json::json!({})).layer("COPY . .", &layer);
    let folder = tempfile::tempdir().unwrap();
    let archive = folder.path().join("image.tar.gz");
    fs::write(&archive, gzip(&docker_archive(&[(&image, &["x:1"])]))).unwrap();
    let run = crate::support::imglint(["facts", &format!("docker-archive:{}", archive.display())]);
    assert!(run.stdout.contains(r#""present": true"#), "{}{}", run.stdout, run.stderr);
}
