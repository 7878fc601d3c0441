//! Builds layers that can be fetched in part, as their own tools do: eStargz and zstd:chunked.

use std::io::Write;

use imglint::digest::Digest;
use serde_json::{Value, json};

use super::image::gzip;
use super::tars::{Member, tar};

/// The longest piece of a file that is compressed on its own, in bytes.
const CHUNK: usize = 1 << 20;

/// Small files of packed eStargz layers are compressed together up to this size, in bytes.
const PACKED: usize = 16 << 10;

/// The forms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    Stargz,
    /// With `--estargz-min-chunk-size`.
    PackedStargz,
    ZstdChunked,
}

/// A layer: its bytes as stored, the digest of its tar, and what the manifest says of it.
#[derive(Clone)]
pub struct LazyLayer {
    pub stored: Vec<u8>,
    pub digest: Digest,
    pub diff_id: Digest,
    pub annotations: Value,
    pub media_type: &'static str,
}

impl Form {
    fn compress(self, bytes: &[u8]) -> Vec<u8> {
        match self {
            Self::Stargz | Self::PackedStargz => gzip(bytes),
            Self::ZstdChunked => zstd::encode_all(bytes, 1).unwrap(),
        }
    }

    /// A layer of these members. `table` may change what its table of contents says.
    pub fn layer(self, members: &[Member<'_>], table: impl FnOnce(&mut Value)) -> LazyLayer {
        let mut layer = Writer { form: self, stored: Vec::new(), tar: Vec::new(), waiting: Vec::new() };
        let mut entries = Vec::new();
        for member in members {
            layer.waiting.extend(&member.bytes()[..512]);
            let kind = match member.kind {
                b'0' => "reg",
                b'1' => "hardlink",
                b'2' => "symlink",
                b'5' => "dir",
                _ => panic!("no kind of member that is needed here"),
            };
            let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
            let mut entry = json!({"type": kind, "name": text(member.path), "mode": member.mode, "uid": 0, "gid": 0});
            if !member.link.is_empty() {
                entry["linkName"] = json!(text(member.link));
            }
            if member.kind == b'0' {
                entry["size"] = json!(member.content.len());
                entry["digest"] = json!(Digest::of(member.content));
            }
            let first = entries.len();
            for (number, piece) in member.content.chunks(CHUNK).enumerate() {
                if self != Self::PackedStargz || layer.waiting.len() >= PACKED {
                    layer.flush();
                }
                let (offset, inner) = (layer.stored.len(), layer.waiting.len());
                layer.waiting.extend(piece);
                if number == 0 {
                    (entry["offset"], entry["innerOffset"]) = (json!(offset), json!(inner));
                    entries.push(entry.clone());
                } else {
                    let at = number * CHUNK;
                    entries.push(json!({"type": "chunk", "name": entry["name"], "offset": offset, "chunkOffset": at}));
                }
            }
            if member.content.is_empty() {
                entries.push(entry);
            } else if self == Self::ZstdChunked {
                layer.flush();
                entries[first]["endOffset"] = json!(layer.stored.len());
            }
            let padding = member.content.len().next_multiple_of(512) - member.content.len();
            layer.waiting.extend(vec![0; padding]);
        }
        let mut toc = json!({"version": 1, "entries": entries});
        table(&mut toc);
        layer.finish(toc.to_string().as_bytes())
    }
}

/// A layer in the making.
struct Writer {
    form: Form,
    stored: Vec<u8>,
    tar: Vec<u8>,
    waiting: Vec<u8>,
}

impl Writer {
    /// Compresses what waits on its own.
    fn flush(&mut self) {
        if !self.waiting.is_empty() {
            self.stored.extend(self.form.compress(&self.waiting));
            self.tar.append(&mut self.waiting);
        }
    }

    fn finish(mut self, toc: &[u8]) -> LazyLayer {
        let (annotations, media_type) = match self.form {
            Form::Stargz | Form::PackedStargz => {
                self.flush();
                let offset = self.stored.len();
                let table = Member { path: b"stargz.index.json", kind: b'0', mode: 0, link: b"", content: toc };
                self.waiting = tar(&[table]);
                self.flush();
                self.stored.extend([0x1f, 0x8b, 8, 4, 0, 0, 0, 0, 0, 255, 26, 0, b'S', b'G', 22, 0]);
                write!(self.stored, "{offset:016x}STARGZ").unwrap();
                self.stored.extend([1, 0, 0, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 0]);
                let size = self.tar.len().to_string();
                let annotations = json!({
                    "containerd.io/snapshot/stargz/toc.digest": Digest::of(toc),
                    "io.containers.estargz.uncompressed-size": size,
                });
                (annotations, "application/vnd.oci.image.layer.v1.tar+gzip")
            }
            Form::ZstdChunked => {
                self.waiting.extend([0; 1024]);
                self.flush();
                let table = zstd::encode_all(toc, 1).unwrap();
                self.stored.extend([0x50, 0x2a, 0x4d, 0x18]);
                self.stored.extend((table.len() as u32).to_le_bytes());
                let position = format!("{}:{}:{}:1", self.stored.len(), table.len(), toc.len());
                self.stored.extend(&table);
                let annotations = json!({
                    "io.github.containers.zstd-chunked.manifest-checksum": Digest::of(&table),
                    "io.github.containers.zstd-chunked.manifest-position": position,
                });
                (annotations, "application/vnd.oci.image.layer.v1.tar+zstd")
            }
        };
        let digest = Digest::of(&self.stored);
        LazyLayer { stored: self.stored, digest, diff_id: Digest::of(&self.tar), annotations, media_type }
    }
}
