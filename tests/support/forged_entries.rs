//! Entries of a cache as somebody makes them who may write to it: whole, under any name, with anything in them.

use std::path::{Path, PathBuf};

use hmac::{Hmac, KeyInit, Mac};
use imglint::cache::FORMAT;
use imglint::digest::Digest;
use imglint::layer::{Detail, ElfSummary, IndexBuilder, Kind, LayerIndex, NewEntry};
use serde::Serialize;
use sha2::Sha256;

/// What is shown for an entry to be whole; with a key, that its maker has it.
pub fn seal(name: &str, content: &[u8], key: Option<&[u8]>) -> String {
    let sealed = [FORMAT.trim().as_bytes(), b"\n", name.as_bytes(), b"\n", content].concat();
    match key {
        None => Digest::of(&sealed).hex().to_owned(),
        Some(key) => {
            let mac = Hmac::<Sha256>::new_from_slice(key).unwrap().chain_update(sealed).finalize();
            mac.into_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
        }
    }
}

/// An entry of bytes that are already packed, which says that it unpacks to so many.
pub fn packed(name: &str, packed: &[u8], claimed: u64) -> Vec<u8> {
    let content = [&claimed.to_le_bytes()[..], packed].concat();
    [b"imglint\n", seal(name, &content, None).as_bytes(), &content].concat()
}

/// An entry with these bytes in it.
pub fn entry(name: &str, unpacked: &[u8]) -> Vec<u8> {
    packed(name, &zstd::bulk::compress(unpacked, 1).unwrap(), unpacked.len() as u64)
}

/// An entry with this value in it.
pub fn entry_of(name: &str, value: &impl Serialize) -> Vec<u8> {
    entry(name, &postcard::to_stdvec(value).unwrap())
}

/// The name of the entry of a layer.
pub fn name(layer: &Digest) -> String {
    format!("blob-sha256-{}", layer.hex())
}

/// The entry of a layer of so many bytes as stored with the index of another.
pub fn of_layer(layer: &Digest, bytes: usize, index: &LayerIndex) -> Vec<u8> {
    entry_of(&name(layer), &(bytes as u64, index))
}

/// An entry of a layer of so many bytes with an index that no layer has: of one file whose ELF summary has so many empty names.
pub fn with_empty_names(layer: &Digest, bytes: usize, count: usize) -> Vec<u8> {
    let mut builder = IndexBuilder::default();
    let file = NewEntry { path: "a", kind: Kind::File, mode: 0o755, uid: 0, gid: 0, size: 1, link: "" };
    let elf = ElfSummary { needed: vec!["HERE".to_owned()], ..ElfSummary::default() };
    builder.add(&file, Some(Detail { elf: Some(elf), ..Detail::default() })).unwrap();
    let written = postcard::to_stdvec(&(bytes as u64, builder.finish(None, 1).unwrap())).unwrap();
    // A list of one text of four letters.
    let list = b"\x01\x04HERE";
    let at = written.windows(list.len()).position(|window| window == list).unwrap();
    let names = postcard::to_stdvec(&vec![""; count]).unwrap();
    entry(&name(layer), &[&written[..at], &names, &written[at + list.len()..]].concat())
}

/// Puts an entry into a cache folder. Gives the file.
pub fn put(cache: &Path, name: &str, entry: &[u8]) -> PathBuf {
    let folder = cache.join(FORMAT.trim());
    std::fs::create_dir_all(&folder).unwrap();
    let file = folder.join(name);
    std::fs::write(&file, entry).unwrap();
    #[cfg(unix)]
    std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    file
}
