//! Tables of contents of layers that can be fetched in part: eStargz and zstd:chunked.
//!
//! eStargz: containerd/stargz-snapshotter, docs/estargz.md and estargz/types.go. zstd:chunked: containers/storage,
//! pkg/chunked/internal/minimal/compression.go. Both list the members of the tar in its order as JSON, with the place
//! and the digest of each file's content; an annotation of the manifest has the digest of the list.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Read};
use std::ops::Range;

use serde::de::{DeserializeSeed, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::bounded_json::BoundedJson;
use super::index::{Extent, IndexBuilder, Kind, LayerIndex, NewEntry};
use super::path::normalise;
use super::scan::FileScanner;
use super::tar::{LONGEST_PATH, TarReader};
use crate::digest::{Algorithm, Digest, HashingReader};

/// The size of what eStargz layers end with, in bytes, and the name of their table.
const STARGZ_FOOTER: u64 = 51;
const STARGZ_NAME: &str = "stargz.index.json";
/// The largest table, compressed and not, in bytes: several times what the largest real images have.
const LARGEST_STORED: u64 = 64 << 20;
const LARGEST_TABLE: u64 = 512 << 20;

/// Layers smaller than this are fetched whole, in bytes: asking several times takes longer.
const WORTH_IT: u64 = 4 << 20;

/// What a manifest says of a layer's table of contents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TocHint {
    form: Form,
    digest: Digest,
    /// The size of the tar in bytes, where it is said.
    tar_bytes: Option<u64>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Form {
    /// The end of the layer says where it is.
    Stargz,
    /// It is here.
    ZstdChunked(Range<u64>),
}

impl TocHint {
    /// What the annotations of a layer of `bytes` say; nothing if it is small, or if its media type is that of another
    /// compression.
    #[must_use]
    pub fn of(annotations: &BTreeMap<String, String>, media_type: &str, bytes: u64) -> Option<Self> {
        let get = |key: &str| annotations.get(key).map(String::as_str);
        if bytes < WORTH_IT {
            return None;
        }
        if media_type.ends_with("gzip") {
            let digest = get("containerd.io/snapshot/stargz/toc.digest")?;
            let tar_bytes = get("io.containers.estargz.uncompressed-size").and_then(|text| text.parse().ok());
            return Some(Self { form: Form::Stargz, digest: digest.parse().ok()?, tar_bytes });
        }
        if !media_type.ends_with("zstd") {
            return None;
        }
        // Till 2022 without `github`.
        let chunked = |what: &str| {
            let key = |start: &str| get(&format!("{start}.zstd-chunked.manifest-{what}"));
            key("io.github.containers").or_else(|| key("io.containers"))
        };
        let (digest, position) = (chunked("checksum")?.parse().ok()?, chunked("position")?);
        let numbers: Vec<u64> = position.split(':').map(str::parse).collect::<Result<_, _>>().ok()?;
        let [start, length, _, 1] = numbers[..] else { return None };
        let place = start..start.checked_add(length).filter(|end| *end <= bytes)?;
        Some(Self { form: Form::ZstdChunked(place), digest, tar_bytes: None })
    }

    /// The digest of the table.
    #[must_use]
    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    /// The size of the tar in bytes, if the annotations say it. Nothing proves it.
    #[must_use]
    pub fn tar_bytes(&self) -> Option<u64> {
        self.tar_bytes
    }

    /// How many bytes at the end of the layer have to be read to find the table.
    #[must_use]
    pub fn footer(&self) -> u64 {
        if self.form == Form::Stargz { STARGZ_FOOTER } else { 0 }
    }

    /// Where the table is in a layer of `bytes` that ends with this [`footer`](Self::footer); nothing if it does not say.
    #[must_use]
    pub fn place(&self, bytes: u64, footer: &[u8]) -> Option<Range<u64>> {
        let place = match &self.form {
            Form::ZstdChunked(place) => place.clone(),
            Form::Stargz => stargz_place(footer)?..bytes.checked_sub(STARGZ_FOOTER)?,
        };
        Some(place).filter(|place| place.start < place.end && place.end - place.start <= LARGEST_STORED)
    }

    /// Reads the table, which starts at `start` of the layer: the index without the content of files.
    ///
    /// # Errors
    /// It cannot be read, is not what the manifest says, or does not list a layer.
    pub fn read(&self, table: impl Read + Send, start: u64) -> Result<LayerIndex, String> {
        let broken = |error: &dyn fmt::Display| format!("its table of contents is broken: {error}");
        let mut files = Files { ends_at: start, is_stargz: self.form == Form::Stargz, ..Files::default() };
        let digest = match self.form {
            Form::ZstdChunked(_) => {
                let mut stored = HashingReader::new(table, self.digest.algorithm());
                let decoder = zstd::stream::read::Decoder::new(&mut stored).map_err(|error| broken(&error))?;
                files.read(decoder.take(LARGEST_TABLE)).map_err(|error| broken(&error))?;
                io::copy(&mut stored, &mut io::sink()).map_err(|error| broken(&error))?;
                stored.finish().0
            }
            Form::Stargz => {
                let tar = flate2::bufread::MultiGzDecoder::new(io::BufReader::new(table));
                let mut tar = TarReader::new(tar.take(LARGEST_TABLE));
                let member = tar.next_member().map_err(|error| broken(&error))?;
                let member = member.filter(|member| member.path == STARGZ_NAME && member.kind == Kind::File);
                let member = member.ok_or_else(|| broken(&"it is not there"))?;
                let mut content = HashingReader::new(tar, self.digest.algorithm());
                files.read(&mut content).map_err(|error| broken(&error))?;
                io::copy(&mut content, &mut io::sink()).map_err(|error| broken(&error))?;
                // The tar of the layer has it as its last member.
                let new = NewEntry { mode: member.mode, size: member.size, ..entry(STARGZ_NAME, Kind::File) };
                files.builder.add(&new, None).map_err(|error| error.to_string())?;
                content.finish().0
            }
        };
        if digest != self.digest {
            return Err(format!(
                "its table of contents has the digest {digest}, not {} as the manifest says",
                self.digest
            ));
        }
        files.finish().map_err(|error| broken(&error))
    }
}

/// Where the table starts, by the end of an eStargz layer: an empty gzip member with the offset in its extra field.
fn stargz_place(footer: &[u8]) -> Option<u64> {
    let field = footer.get(10..38)?.strip_prefix(&[26, 0, b'S', b'G', 22, 0])?;
    let (offset, mark) = field.split_at_checked(16)?;
    let is_footer = footer.starts_with(&[0x1f, 0x8b, 8, 4]) && mark == b"STARGZ";
    u64::from_str_radix(std::str::from_utf8(offset).ok()?, 16).ok().filter(|_| is_footer)
}

/// The index while the table is read.
#[derive(Default)]
struct Files {
    builder: IndexBuilder,
    scanner: FileScanner,
    extents: Vec<Extent>,
    is_stargz: bool,
    /// Of eStargz: where each piece starts, and what comes after the last one.
    starts: Vec<u64>,
    ends_at: u64,
}

/// An entry of the table. Chunks say only where they are.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Listed {
    #[serde(rename = "type")]
    kind: String,
    name: String,
    #[serde(default)]
    link_name: String,
    #[serde(default)]
    mode: u32,
    #[serde(default)]
    uid: u32,
    #[serde(default)]
    gid: u32,
    #[serde(default)]
    size: u64,
    #[serde(default)]
    digest: String,
    #[serde(default)]
    offset: u64,
    #[serde(default)]
    inner_offset: u64,
    #[serde(default)]
    end_offset: u64,
}

impl Files {
    fn read(&mut self, json: impl Read) -> Result<(), serde_json::Error> {
        let json = io::BufReader::with_capacity(64 << 10, BoundedJson::new(json));
        let mut deserializer = serde_json::Deserializer::from_reader(json);
        TableSeed(self).deserialize(&mut deserializer)?;
        deserializer.end()
    }

    fn add(&mut self, listed: &Listed) -> Result<(), String> {
        let kind = match listed.kind.as_str() {
            "chunk" => {
                self.go_on(listed.offset);
                return Ok(());
            }
            "reg" => Kind::File,
            "dir" => Kind::Directory,
            "symlink" => Kind::Symlink,
            "hardlink" => Kind::HardLink,
            "char" | "block" | "fifo" => Kind::Special,
            other => return Err(format!("{:?} is no type of a file", crate::printable::excerpt(other, 40))),
        };
        // As written, which is what tars are held to.
        if listed.name.len().max(listed.link_name.len()) > LONGEST_PATH {
            return Err(format!("a path is longer than {LONGEST_PATH} bytes"));
        }
        let link =
            if kind == Kind::HardLink { normalise(listed.link_name.as_bytes()) } else { listed.link_name.clone() };
        let path = normalise(listed.name.as_bytes());
        let size = if kind == Kind::File { listed.size } else { 0 };
        let new = NewEntry {
            mode: listed.mode,
            uid: listed.uid,
            gid: listed.gid,
            size,
            link: if matches!(kind, Kind::HardLink | Kind::Symlink) { &link } else { "" },
            ..entry(&path, kind)
        };
        if kind != Kind::File || size == 0 {
            let empty = |scanner: &mut FileScanner| {
                scanner.start(&path, 0);
                scanner.finish()
            };
            let detail = if kind == Kind::File { empty(&mut self.scanner) } else { None };
            return self.builder.add(&new, detail).map_err(|error| error.to_string());
        }
        if self.is_stargz {
            self.starts.push(listed.offset);
        }
        let Some(number) = self.builder.add_unread(&new).map_err(|error| error.to_string())? else { return Ok(()) };
        let sha256 = sha256(&listed.digest).ok_or_else(|| format!("{path} has no digest"))?;
        // Of eStargz the end is known when all starts are; till then it is where the last piece starts.
        let end = if self.is_stargz { listed.offset } else { listed.end_offset };
        self.extents.push(Extent { entry: number, start: listed.offset, end, skip: listed.inner_offset, sha256 });
        Ok(())
    }

    /// Another chunk of the last file.
    fn go_on(&mut self, offset: u64) {
        if self.is_stargz {
            self.starts.push(offset);
            if let Some(extent) = self.extents.last_mut() {
                extent.end = extent.end.max(offset);
            }
        }
    }

    fn finish(mut self) -> Result<LayerIndex, String> {
        self.starts.push(self.ends_at);
        self.starts.sort_unstable();
        if self.is_stargz {
            for extent in &mut self.extents {
                let next = self.starts.partition_point(|start| *start <= extent.end);
                extent.end = self.starts.get(next).copied().unwrap_or(self.ends_at);
            }
        }
        self.builder.finish_unread(self.extents)
    }
}

fn entry(path: &str, kind: Kind) -> NewEntry<'_> {
    NewEntry { path, kind, mode: 0, uid: 0, gid: 0, size: 0, link: "" }
}

fn sha256(text: &str) -> Option<[u8; 32]> {
    let digest: Digest = text.parse().ok()?;
    let hex = (digest.algorithm() == Algorithm::Sha256).then(|| digest.hex())?;
    let mut bytes = [0; 32];
    for (byte, digits) in bytes.iter_mut().zip(hex.as_bytes().chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
    }
    Some(bytes)
}

/// Reads the table entry by entry, so that it is never in memory as a whole.
struct TableSeed<'a>(&'a mut Files);

impl<'de> DeserializeSeed<'de> for TableSeed<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for TableSeed<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a table of contents")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "version" => match map.next_value()? {
                    1_u64 => {}
                    other => return Err(A::Error::custom(format!("version {other} is unknown"))),
                },
                "entries" => map.next_value_seed(EntriesSeed(&mut *self.0))?,
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(())
    }
}

struct EntriesSeed<'a>(&'a mut Files);

impl<'de> DeserializeSeed<'de> for EntriesSeed<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for EntriesSeed<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of entries")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut entries: A) -> Result<(), A::Error> {
        while let Some(listed) = entries.next_element::<Listed>()? {
            self.0.add(&listed).map_err(A::Error::custom)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BYTES: u64 = 5_000_000;

    fn hint(compression: &str, annotations: &[(&str, &str)]) -> Option<TocHint> {
        let annotations = annotations.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let hint =
            |bytes| TocHint::of(&annotations, &format!("application/vnd.oci.image.layer.v1.tar{compression}"), bytes);
        assert_eq!(hint(100_000), None, "it is not worth it");
        hint(BYTES)
    }

    #[test]
    fn annotations_tell_where_the_table_is() {
        let digest = Digest::of(b"table").to_string();
        let chunked = |position: &str| {
            let key = "io.github.containers.zstd-chunked.manifest-";
            hint("+zstd", &[(&format!("{key}checksum"), &digest), (&format!("{key}position"), position)])
        };
        let found = chunked("900:90:4000:1").unwrap();
        assert_eq!((found.footer(), found.place(BYTES, b"")), (0, Some(900..990)));
        for wrong in ["4999900:101:4000:1", "900:90:4000:2", "900:90", "", "18446744073709551615:2:3:1", "-1:2:3:1"] {
            assert_eq!(chunked(wrong), None, "{wrong}");
        }
        let old = "io.containers.zstd-chunked.manifest-";
        let old = [(&*format!("{old}checksum"), &*digest), (&*format!("{old}position"), "1:2:3:1")];
        assert!(hint("+zstd", &old).is_some() && hint("+gzip", &old).is_none());
        let stargz = |digest: &str, compression: &str| {
            hint(compression, &[("containerd.io/snapshot/stargz/toc.digest", digest)])
        };
        assert_eq!([stargz("nothing", "+gzip"), stargz(&digest, ""), stargz(&digest, "+zstd")], [None, None, None]);
        let found = stargz(&digest, "+gzip").unwrap();
        let mut footer = vec![0x1f, 0x8b, 8, 4, 0, 0, 0, 0, 0, 255, 26, 0, b'S', b'G', 22, 0];
        footer.extend(b"0000000000000010STARGZ\x01\0\0\xff\xff\0\0\0\0\0\0\0\0");
        assert_eq!(footer.len() as u64, found.footer());
        assert_eq!(found.place(1000, &footer), Some(16..949));
        footer[20] = b'z';
        assert_eq!(found.place(1000, &footer), None);
    }

    fn table(json: &str) -> Result<LayerIndex, String> {
        let stored = zstd::encode_all(json.as_bytes(), 1).unwrap();
        let digest = Digest::of(&stored);
        TocHint { form: Form::ZstdChunked(0..1), digest, tar_bytes: None }.read(&stored[..], 0)
    }

    #[test]
    fn a_table_lists_a_layer() {
        let digest = Digest::of(b"x");
        let index = table(&format!(
            r#"{{"version": 1, "other": [1], "entries": [
                {{"type": "dir", "name": "./usr/", "mode": 493}},
                {{"type": "reg", "name": "usr/a", "size": 9, "offset": 5, "endOffset": 8, "digest": "{digest}"}},
                {{"type": "chunk", "name": "usr/a", "offset": 6}},
                {{"type": "hardlink", "name": "usr/b", "linkName": "usr/a"}},
                {{"type": "reg", "name": "usr/.wh.c", "size": 1, "digest": ""}},
                {{"type": "reg", "name": "etc/passwd"}}]}}"#
        ));
        let index = index.unwrap();
        assert_eq!((index.len(), index.bytes, index.is_whiteout("usr/c")), (4, None, true));
        let file = index.get("usr/a").unwrap();
        let extent = index.extent(file.unread().unwrap()).unwrap();
        assert_eq!((extent.start, extent.end, file.size()), (5, 8, 9));
        let empty = index.get("etc/passwd").unwrap();
        assert_eq!((empty.unread(), empty.detail().unwrap().content.as_deref()), (None, Some(&b""[..])));
        for (json, why) in [
            (r#"{"version": 2}"#, "version 2 is unknown"),
            (r#"{"entries": [{"type": "door", "name": "a"}]}"#, "\"door\" is no type of a file"),
            (r#"{"entries": [{"type": "reg", "name": "a", "size": 1}]}"#, "a has no digest"),
            (r#"{"entries": [{"type": "reg", "name": "a", "size": -1}]}"#, "invalid value"),
            (r#"{"entries": []} more"#, "trailing characters"),
            (&format!(r#"{{"entries": [{{"type": "dir", "name": "{}a"}}]}}"#, "./".repeat(40_000)), "a path is longer"),
        ] {
            let said = table(json).unwrap_err();
            assert!(said.contains(why), "{said}");
        }
    }

    proptest::proptest! {
        /// Whatever a table says, reading it ends.
        #[test]
        fn a_table_of_anything_is_read_in_bounds(json in "[{}\\[\\]\":,a-z0-9.-]{0,60}", at in 0..40_usize) {
            drop(table(&json));
            let whole = r#"{"version":1,"entries":[{"type":"reg","name":"a","size":1,"offset":3}]}"#;
            drop(table(&format!("{}{json}{}", &whole[..at], &whole[at..])));
        }
    }
}
