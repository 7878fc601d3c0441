//! Layers that are written in odd ways: headers, extended headers, sparse files, ends and compressed streams.

use std::io::Write;

use super::random::Random;
use crate::support::tars::{Member, header, pax, seal};

/// A layer, and what is odd about it.
pub struct Form {
    pub what: String,
    pub tar: Vec<u8>,
}

/// Makes the odd members of a layer, and says what is odd.
type Maker = fn(&mut Random) -> (String, Vec<u8>);

/// A layer in which bash is replaced, or something else happens, by an odd member.
pub fn odd_tar(random: &mut Random) -> Form {
    const FORMS: [Maker; 13] = [
        records, records, numbers, names, long_names, fields, magic, types, sparse, old_sparse, attributes, devices,
        ends,
    ];
    let (what, mut tar) = random.pick(&FORMS)(random);
    if !what.starts_with("ends") {
        tar.extend(Member::file("opt/after", b"after").bytes());
        tar.extend([0; 1024]);
    }
    Form { what, tar }
}

fn link() -> Vec<u8> {
    Member::symlink("bin/bash", "none").bytes()
}

/// PAX records for names.
fn records(random: &mut Random) -> (String, Vec<u8>) {
    let long = "x".repeat(150);
    let values: [&[u8]; 10] = [
        b"",
        b"bin/sh",
        b"./bin/sh",
        b"/bin/sh",
        b"bin/sh\0x",
        b"bin/sh/",
        b"opt/a/../bash",
        b"bin/\xe9",
        b".",
        long.as_bytes(),
    ];
    let (key, value) =
        (random.pick(&["path", "linkpath", "path", "GNU.sparse.name", "uname", "comment"]), random.pick(&values));
    let mut header = pax(random.pick(b"xxxg"), &[("path", b"opt/a/bash"), (key, value)]);
    let mut what = format!("record {key}={:?}", String::from_utf8_lossy(value));
    if random.below(4) == 0 {
        let at = 512 + random.below(40) as usize;
        header[at] = random.pick(b"0 =\n\0x9");
        what = format!("{what}, byte {at} changed");
    }
    (what, [header, link()].concat())
}

/// PAX records for numbers.
fn numbers(random: &mut Random) -> (String, Vec<u8>) {
    let key = random.pick(&["size", "mtime", "atime", "ctime", "uid", "gid"]);
    let values: [&[u8]; 16] = [
        b"5",
        b"+5",
        b"05",
        b" 5",
        b"5 ",
        b"abc",
        b"-1",
        b"5.0",
        b"",
        b"9999999999999999999",
        b"1.5",
        b"-1.5",
        b"1.x",
        b".5",
        b"5_0",
        b"0x5",
    ];
    let value = random.pick(&values);
    let member = Member::file("opt/a/bash", b"12345").bytes();
    (format!("record {key}={:?}", String::from_utf8_lossy(value)), [pax(b'x', &[(key, value)]), member].concat())
}

/// Paths and targets.
fn names(random: &mut Random) -> (String, Vec<u8>) {
    let name = "n".repeat(250 + random.below(9) as usize);
    let deep = format!("opt/{}", "d/".repeat(2030 + random.below(30) as usize));
    let target = "t/".repeat(2040 + random.below(10) as usize);
    let paths = ["/bin/bash", "../bin/bash", "bin/./bash", "bin//bash", "bin/bash/", "bin/../bin/bash", "", ".", "./"];
    let kind = random.pick(b"0125");
    let (what, key, value) = match random.below(5) {
        0 => (format!("a name of {} bytes", name.len()), "path", name),
        1 => (format!("a path of {} bytes", deep.len()), "path", deep),
        2 => (format!("a target of {} bytes", target.len()), "linkpath", target),
        _ => {
            let path = random.pick(&paths);
            (format!("the path {path:?}"), "path", path.to_owned())
        }
    };
    let record = if value.len() > 99 { pax(b'x', &[(key, value.as_bytes())]) } else { Vec::new() };
    let path = if record.is_empty() { value } else { "opt/a/bash".to_owned() };
    let link = if kind == b'1' { "opt/a/b" } else { random.pick(&["b", ""]) };
    let before = if kind == b'1' { Member::file("opt/a/b", b"x").bytes() } else { Vec::new() };
    let member = Member { path: path.as_bytes(), kind, mode: 0o755, link: link.as_bytes(), content: b"" };
    (format!("{what}, type {}, link {link:?}", char::from(kind)), [before, record, member.bytes()].concat())
}

/// GNU's long names, with PAX headers between.
fn long_names(random: &mut Random) -> (String, Vec<u8>) {
    let (mut what, mut tar) = ("long names".to_owned(), Vec::new());
    for _ in 0..1 + random.below(3) {
        let value = random.pick(&[&b"bin/sh\0"[..], b"opt/a/bash", b"\0", b"", b"usr/bin/bash\0junk", b"none\0"]);
        let kind = random.pick(b"LLKx");
        what = format!("{what} {}:{:?}", char::from(kind), String::from_utf8_lossy(value));
        tar.extend(match kind {
            b'x' => pax(b'x', &[("path", b"bin/sh"), ("linkpath", b"env")]),
            _ => Member { path: b"././@LongLink", kind, mode: 0, link: b"", content: value }.bytes(),
        });
    }
    (what, [tar, link()].concat())
}

/// Fields of the header.
fn fields(random: &mut Random) -> (String, Vec<u8>) {
    let ranges = [100..108, 108..116, 116..124, 124..136, 136..148, 148..156, 329..337, 337..345];
    let range = ranges[random.below(8) as usize].clone();
    let values: [&[u8]; 12] = [
        b"",
        b"garbage",
        b"0000644\0",
        b"777 ",
        b"\0\0 7",
        b"8",
        b"-1",
        b"\x80\0\0\0\0\0\0\x05",
        b"\xff\xff\xff\xff\xff\xff\xff\xff",
        b"5\x00x",
        b"+5",
        b"7777777777777",
    ];
    let value = random.pick(&values);
    let mut header = header(b"opt/a/bash", random.pick(b"0025"), 0, 0o755, b"none");
    header[range.clone()].fill(0);
    let count = value.len().min(range.len());
    header[range.start..range.start + count].copy_from_slice(&value[..count]);
    if range.start != 148 {
        seal(&mut header);
        if random.below(4) == 0 {
            // As Sun's tar sums bytes.
            header[20] = 0xe9;
            header[148..156].copy_from_slice(b"        ");
            let sum: i32 = header.iter().map(|&byte| i32::from(byte.cast_signed())).sum();
            header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        }
    }
    (format!("bytes {range:?} of a header are {value:?}"), header.to_vec())
}

/// What tells the format of a header.
fn magic(random: &mut Random) -> (String, Vec<u8>) {
    let magic = random.pick(&[b"ustar\0", b"ustar ", b"\0\0\0\0\0\0", b"usta\0\0"]);
    let version = random.pick(&[b"00", b" \0", b"xx", b"\0\0"]);
    let prefix: &[u8] =
        random.pick(&[&b""[..], b"bin", b"bin\0junk", b"opt/a", b"00000000000\x0000000000000", b"\xe9"]);
    let is_star = random.below(3) == 0;
    let mut header = header(b"bash", b'2', 0, 0o777, b"none");
    header[257..263].copy_from_slice(magic);
    header[263..265].copy_from_slice(version);
    header[345..345 + prefix.len()].copy_from_slice(prefix);
    if is_star {
        header[508..512].copy_from_slice(b"tar\0");
    }
    seal(&mut header);
    (format!("magic {magic:?}, version {version:?}, prefix {prefix:?}, star {is_star}"), header.to_vec())
}

/// Types of members.
fn types(random: &mut Random) -> (String, Vec<u8>) {
    let kind = match random.below(4) {
        0 => random.below(256) as u8,
        1 => random.pick(b"ADKLMNSVXZgx7"),
        _ => random.pick(b"\x000123456"),
    };
    let path = random.pick(&["opt/a/bash", "opt/a/bash/", "bin/bash"]);
    let size = random.pick(&[0, 0, 1, 600]);
    let mut tar = header(path.as_bytes(), kind, size, 0o755, b"opt/a/b").to_vec();
    if random.below(2) == 0 {
        tar[257..265].fill(0);
        let block: &mut [u8; 512] = (&mut tar[..512]).try_into().unwrap();
        seal(block);
    }
    let content = if random.below(2) == 0 { size.next_multiple_of(512) } else { 0 };
    tar.resize(512 + content as usize, b'\n');
    (format!("type {kind} at {path}, size {size}, content {content}"), tar)
}

/// Sparse files in PAX records.
fn sparse(random: &mut Random) -> (String, Vec<u8>) {
    let (major, minor) =
        random.pick(&[("1", "0"), ("1", "0"), ("0", "1"), ("0", "0"), ("", ""), ("2", "0"), ("1", "")]);
    let size = random.pick(&["4096", "5", "0", "-1", "x", ""]);
    let map = random.pick(&[
        "1\n0\n5\n",
        "0\n",
        "2\n0\n2\n9\n3\n",
        "1\n5\n0\n",
        "1\n0\n9\n",
        "x\n",
        "1\n-1\n5\n",
        "2\n3\n2\n0\n3\n",
    ]);
    let name = random.pick(&["bin/bash", "opt/a/bash", ""]);
    let listed = map.split_once('\n').unwrap();
    let in_records = listed.1.trim().replace('\n', ",");
    let mut records: Vec<(&str, &[u8])> = vec![
        ("GNU.sparse.major", major.as_bytes()),
        ("GNU.sparse.minor", minor.as_bytes()),
        ("GNU.sparse.name", name.as_bytes()),
        (random.pick(&["GNU.sparse.realsize", "GNU.sparse.size"]), size.as_bytes()),
    ];
    let is_first = major != "1" && random.below(3) > 0;
    if is_first {
        records.push(("GNU.sparse.numblocks", listed.0.as_bytes()));
        records.push(("GNU.sparse.map", in_records.as_bytes()));
    }
    let mut content = if major == "1" { map.as_bytes().to_vec() } else { Vec::new() };
    content.resize(content.len().next_multiple_of(512), 0);
    content.extend(b"12345");
    let member = Member::file("GNUSparseFile.0/x", &content).bytes();
    (
        format!("sparse {major}.{minor} {name:?} size {size}, map {map:?}, listed {is_first}"),
        [pax(b'x', &records), member].concat(),
    )
}

/// GNU's old form of sparse files.
fn old_sparse(random: &mut Random) -> (String, Vec<u8>) {
    let mut head = header(b"opt/a/bash", b'S', 5, 0o755, b"");
    head[257..265].copy_from_slice(random.pick(&[b"ustar  \0", b"ustar  \0", b"ustar\x0000"]));
    head[386..410].copy_from_slice(b"00000000000\x0000000000005\0");
    head[483..495].copy_from_slice(b"00000000005\0");
    seal(&mut head);
    let mut tar = head.to_vec();
    tar.extend(b"12345");
    tar.resize(1024, 0);
    ("an old sparse file".to_owned(), tar)
}

/// Extended attributes.
fn attributes(random: &mut Random) -> (String, Vec<u8>) {
    let long = vec![b'v'; random.pick(&[100, 3000, 5000, 65_536, 65_537])];
    let mut capabilities = vec![0; random.pick(&[0, 3, 12, 19, 20, 21, 24])];
    if let [.., flags, revision] = &mut capabilities.iter_mut().take(4).collect::<Vec<_>>()[..] {
        **revision = random.pick(&[1, 2, 3, 4]);
        **flags = random.pick(&[0, 0, 1]);
    }
    let overlay = random.pick(&["opaque", "redirect", "metacopy", "origin", "whiteout", "nonsense"]);
    let (name, value) = match random.below(6) {
        0 => ("user.x".to_owned(), long),
        1 => (format!("trusted.overlay.{overlay}"), random.pick(&[&b"y"[..], b"x", b"/opt", b""]).to_vec()),
        2 => (format!("user.overlay.{overlay}"), b"y".to_vec()),
        3 => (format!("user.{}", "n".repeat(248 + random.below(6) as usize)), b"1".to_vec()),
        _ => ("security.capability".to_owned(), capabilities),
    };
    let member = match random.below(3) {
        0 => Member::folder("bin/").bytes(),
        _ => Member::file("opt/a/bash", b"12345").bytes(),
    };
    let what = format!("attribute {name} of {} bytes {:?}", value.len(), &value[..value.len().min(24)]);
    (what, [pax(b'x', &[(&format!("SCHILY.xattr.{name}"), &value)]), member].concat())
}

/// Devices, some of which hide what lies below.
fn devices(random: &mut Random) -> (String, Vec<u8>) {
    let (kind, path) = (random.pick(b"334"), random.pick(&["bin/bash", "opt/a", "bin", "usr/lib/os-release"]));
    let mut head = header(path.as_bytes(), kind, 0, 0o600, b"");
    let (major, minor) = random.pick(&[(0, 0), (0, 0), (1, 3), (0, 1), (1, 0)]);
    head[329..337].copy_from_slice(format!("{major:07o}\0").as_bytes());
    head[337..345].copy_from_slice(format!("{minor:07o}\0").as_bytes());
    seal(&mut head);
    let mut tar = head.to_vec();
    let follows = random.below(4);
    match follows {
        0 => tar.extend(Member::hard_link("opt/linked", path).bytes()),
        1 => tar.extend(Member::file(&format!("{path}/below"), b"x").bytes()),
        _ => {}
    }
    (format!("device {} {major}:{minor} at {path}, then {follows}", char::from(kind)), tar)
}

/// How a tar ends, and what stands between members.
fn ends(random: &mut Random) -> (String, Vec<u8>) {
    let zeros = |count: usize| vec![0; count];
    let (first, second) = (Member::file("opt/a/bash", b"12345").bytes(), link());
    let (between, behind) = (random.pick(&[0, 0, 1, 512, 1024, 1536]), random.pick(&[0, 100, 512, 1000, 1024, 10_240]));
    let mut tar = [first, zeros(between), second, zeros(behind)].concat();
    let cut = random.pick(&[0, 0, 0, 1, 100, 507, 512, 600]);
    tar.truncate(tar.len() - cut);
    let garbage = random.pick(&[0, 0, 0, 700]);
    tar.extend(vec![b'g'; garbage]);
    (format!("ends: {between} zeros between, {behind} behind, {cut} cut off, {garbage} of garbage"), tar)
}

/// A layer, and how it is stored: what is odd, the tar, and the stream.
pub fn odd_stream(random: &mut Random) -> (String, Vec<u8>, Vec<u8>) {
    let mut tar = [link(), Member::file("opt/after", b"after").bytes()].concat();
    tar.extend([0; 1024]);
    if random.below(5) == 0 {
        let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
        encoder.write_all(&tar).unwrap();
        let mut stored = encoder.finish().unwrap();
        let cut = random.pick(&[0, 0, 1, 20]);
        stored.truncate(stored.len() - cut);
        return (format!("bzip2, {cut} cut off"), tar, stored);
    }
    let name = "f".repeat(random.pick(&[0, 5, 510, 511, 512]));
    let mut stored = member(&tar[..600], &name);
    let is_empty_between = random.below(3) == 0;
    if is_empty_between {
        stored.extend(member(b"", ""));
    }
    stored.extend(member(&tar[600..], ""));
    let mut what = format!("gzip, a name of {}, an empty member {is_empty_between}", name.len());
    let length = stored.len();
    match random.below(6) {
        0 => {
            let back = 1 + random.below(8) as usize;
            stored[length - back] ^= 1;
            what = format!("{what}, byte -{back} changed");
        }
        1 => {
            let cut = 1 + random.below(30) as usize;
            stored.truncate(length - cut);
            what = format!("{what}, {cut} cut off");
        }
        2 => {
            let more = random.pick(&[&[0; 1][..], &[0; 100], b"more behind it"]);
            stored.extend(more);
            what = format!("{what}, {} bytes behind", more.len());
        }
        3 => {
            stored[8] = random.pick(&[0, 2, 4, 255]);
            stored[9] = random.pick(&[0, 3, 255]);
            what = format!("{what}, other system");
        }
        _ => {}
    }
    (what, tar, stored)
}

fn member(bytes: &[u8], name: &str) -> Vec<u8> {
    let builder = flate2::GzBuilder::new();
    let builder = if name.is_empty() { builder } else { builder.filename(name) };
    let mut encoder = builder.write(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}
