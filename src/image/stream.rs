//! An archive that can be read only once (compressed, piped, exported by an engine): every layer is indexed as it
//! passes, because what it belongs to may stand at the end.

use std::collections::HashMap;
use std::io::Read;
use std::sync::Arc;

#[cfg(feature = "run")]
use serde::{Deserialize, Serialize};

use super::files::{Files, Followed, follow, read_document};
use super::manifest::LARGEST_DOCUMENT;
use super::{Error, ErrorKind, LayerBytes, Result};
#[cfg(feature = "run")]
use crate::cache::Cache;
use crate::digest::{Algorithm, Digest, HashingReader};
use crate::layer::allowance::{Budget, Working, within};
use crate::layer::decompress::{self, Sniffed, drain, looks_like_layer};
use crate::layer::path::{join, parent_and_name};
use crate::layer::tar::{Member, TarReader};
use crate::layer::unpacked::Unpacked;
use crate::layer::{self, Kind, LayerIndex, TooLarge, scan_until};

/// How many bytes of documents are kept of one archive.
const MOST_DOCUMENT_BYTES: u64 = 64 << 20;
/// How many bytes may follow the end of an archive; tools pad to some KiB.
const MOST_TRAILING: u64 = 64 << 20;
/// How many members an archive may have, how long their names may be together, and how much may be in those that are
/// neither documents nor layers, in bytes.
const MOST_MEMBERS: usize = 1_000_000;
const MOST_NAME_BYTES: usize = 32 << 20;
const MOST_OTHER_BYTES: u64 = 4 << 30;
/// How many files of layers are kept of one archive; images have at most a few hundred thousand.
const MOST_FILES: usize = 8_000_000;

/// What is kept of an archive after its one pass.
pub struct Stream {
    what: String,
    members: HashMap<String, Kept>,
}

enum Kept {
    Document(Vec<u8>),
    Layer {
        bytes: u64,
        index: Arc<LayerIndex>,
    },
    /// A blob that is broken. It is an error only if the chosen image needs it.
    Broken(String),
    Link(String),
}

impl Stream {
    /// Reads an archive to its end. `what` names it in errors.
    ///
    /// # Errors
    /// The stream cannot be read, is no tar, or holds more than any real archive.
    pub fn read(what: &str, stream: impl Read + Send, budget: &Arc<Budget>) -> Result<Self> {
        let failed = |error: std::io::Error| Error::from_io(what, error);
        let unpacked = Unpacked::default();
        let (compression, stream) = decompress::open(unpacked.stored(stream), Working::begin()).map_err(failed)?;
        let mut tar = TarReader::new(unpacked.bounded(stream, compression.cost()));
        let mut pass = Pass::new(what, budget, unpacked);
        loop {
            let member = tar.next_member().map_err(|error| match error {
                crate::layer::Error::Read(error) => failed(error),
                other => Error::broken(format!("{what}: {other}")),
            })?;
            match member {
                None => break,
                Some(member) => pass.member(member, &mut tar)?,
            }
        }
        let mut rest = tar.into_inner().take(MOST_TRAILING + 1);
        drain(&mut rest).map_err(failed)?;
        if rest.limit() == 0 {
            return Err(Error::broken(format!(
                "{what} does not end {} MiB after its last member",
                MOST_TRAILING >> 20
            )));
        }
        Ok(Self { what: what.to_owned(), members: pass.members })
    }

    fn kept(&self, name: &str) -> Option<&Kept> {
        follow(name, |name| match self.members.get(name)? {
            Kept::Link(target) => Some(Followed::Link(target.clone())),
            kept => Some(Followed::End(kept)),
        })
    }
}

/// How an engine's image is known again.
#[cfg(feature = "run")]
impl Stream {
    /// Keeps what the archive held in the cache, as that of the image with this id.
    pub(super) fn remember(&self, cache: &Cache, id: &Digest) {
        let mut members = Vec::new();
        for (name, kept) in &self.members {
            let member = match kept {
                Kept::Document(bytes) => Remembered::Document(bytes.clone()),
                Kept::Layer { bytes, index } => match cache.keep_index(index) {
                    Some(diff_id) => Remembered::Layer { bytes: *bytes, diff_id },
                    None => return,
                },
                // To say again what is broken, it has to be read again.
                Kept::Broken(_) => return,
                Kept::Link(target) => Remembered::Link(target.clone()),
            };
            members.push((name.clone(), member));
        }
        cache.keep_image(id, &members);
    }

    /// What [`remember`](Self::remember) kept of the image with this id, if all of it is still there.
    pub(super) fn recall(what: &str, cache: &Cache, id: &Digest) -> Option<Self> {
        let remembered: Vec<(String, Remembered)> = cache.image(id)?;
        let members = remembered.into_iter().map(|(name, member)| {
            let kept = match member {
                Remembered::Document(bytes) => Kept::Document(bytes),
                Remembered::Layer { bytes, diff_id } => Kept::Layer { bytes, index: cache.index(&diff_id)? },
                Remembered::Link(target) => Kept::Link(target),
            };
            Some((name, kept))
        });
        let members: HashMap<_, _> = members.collect::<Option<_>>()?;
        let is_proven = |kept: &Kept| matches!(kept, Kept::Document(bytes) if Digest::of(bytes) == *id);
        members.values().any(is_proven).then(|| Self { what: what.to_owned(), members })
    }

    /// The archive of an image whose parts came otherwise: its configuration, and its layers as they are in an archive,
    /// uncompressed.
    pub(super) fn of_parts(what: &str, configuration: Vec<u8>, layers: Vec<Arc<LayerIndex>>) -> Self {
        let config = format!("{}.json", Digest::of(&configuration).hex());
        let names: Vec<String> = (0..layers.len()).map(|number| format!("{number}/layer.tar")).collect();
        let manifest = serde_json::json!([{ "Config": config, "Layers": names }]).to_string().into_bytes();
        let documents = [("manifest.json".to_owned(), manifest), (config, configuration)];
        let documents = documents.into_iter().map(|(name, bytes)| (name, Kept::Document(bytes)));
        let layers = layers.into_iter().map(|index| Kept::Layer { bytes: index.bytes.unwrap_or_default(), index });
        Self { what: what.to_owned(), members: documents.chain(names.into_iter().zip(layers)).collect() }
    }
}

/// A member of an archive as the cache has it.
#[cfg(feature = "run")]
#[derive(Serialize, Deserialize)]
enum Remembered {
    Document(Vec<u8>),
    Layer { bytes: u64, diff_id: Digest },
    Link(String),
}

struct Pass<'a> {
    what: &'a str,
    budget: &'a Arc<Budget>,
    unpacked: Unpacked,
    members: HashMap<String, Kept>,
    document_bytes: u64,
    files: usize,
    /// How many members there were, how long the names of those that are kept are, and how much was in others.
    count: usize,
    name_bytes: usize,
    other_bytes: u64,
}

impl<'a> Pass<'a> {
    fn new(what: &'a str, budget: &'a Arc<Budget>, unpacked: Unpacked) -> Self {
        let members = HashMap::new();
        Self { what, budget, unpacked, members, document_bytes: 0, files: 0, count: 0, name_bytes: 0, other_bytes: 0 }
    }

    /// Counts a member.
    fn count(&mut self, member: &Member) -> Result<()> {
        self.count += 1;
        self.name_bytes += member.path.len() + member.link.len();
        match self.count > MOST_MEMBERS || self.name_bytes > MOST_NAME_BYTES {
            true => Err(Error::broken(format!("{} has more members than any image's archive", self.what))),
            false => Ok(()),
        }
    }

    fn member<R: Read + Send>(&mut self, member: Member, tar: &mut TarReader<R>) -> Result<()> {
        self.count(&member)?;
        let kept = match member.kind {
            Kind::File => match self.file(&member, tar)? {
                Some(kept) => kept,
                None => return Ok(()),
            },
            Kind::Symlink => Kept::Link(join(parent_and_name(&member.path).0, &member.link)),
            Kind::HardLink => Kept::Link(member.link),
            Kind::Directory | Kind::Special => return Ok(()),
        };
        self.members.insert(member.path, kept);
        Ok(())
    }

    fn file<R: Read + Send>(&mut self, member: &Member, tar: &mut TarReader<R>) -> Result<Option<Kept>> {
        let named = digest_in_name(&member.path);
        let algorithm = named.as_ref().map_or(Algorithm::Sha256, Digest::algorithm);
        let mut hashed = HashingReader::new(&mut *tar, algorithm);
        let mut start = Sniffed::new(&mut hashed).map_err(|error| Error::from_io(self.what, error))?;
        // A layer's first file may have a name that begins as JSON does.
        let is_layer = !member.path.ends_with(".json") && looks_like_layer(start.start());
        let is_document = !is_layer
            && (member.path.ends_with(".json") || start.start().first().is_some_and(|byte| b"{[".contains(byte)));
        start.rewind();
        let kept = if is_document && member.size <= LARGEST_DOCUMENT {
            self.document_bytes += member.size;
            if self.document_bytes > MOST_DOCUMENT_BYTES {
                return Err(Error::broken(format!(
                    "{} holds more than {} MiB of JSON",
                    self.what,
                    MOST_DOCUMENT_BYTES >> 20
                )));
            }
            Some(Kept::Document(read_document(self.what, &member.path, member.size, start)?))
        } else if is_layer {
            Some(self.layer(member, start)?)
        } else {
            self.other_bytes = self.other_bytes.saturating_add(member.size);
            if self.other_bytes > MOST_OTHER_BYTES {
                let limit = MOST_OTHER_BYTES >> 30;
                let text = format!("{} holds more than {limit} GiB that are neither layers nor documents", self.what);
                return Err(Error::broken(text));
            }
            None
        };
        let mut rest = hashed;
        drain(&mut rest).map_err(|error| Error::from_io(self.what, error))?;
        let (digest, _) = rest.finish();
        match named {
            Some(named) if named != digest && kept.is_some() => {
                Ok(Some(Kept::Broken(format!("its content has the digest {digest}, not the one of its name"))))
            }
            _ => Ok(kept),
        }
    }

    fn layer(&mut self, member: &Member, stream: impl Read + Send) -> Result<Kept> {
        let scan = || {
            // The reader of the archive has memory for what is in it.
            let (compression, stream) = decompress::open(stream, Working::within()).map_err(layer::Error::Read)?;
            let stream = self.unpacked.bounded(stream, compression.cost());
            scan_until(stream, true, &self.unpacked, |_| false)
        };
        let (index, drawn) = within(self.budget, scan);
        match index {
            Err(error @ layer::Error::TooLarge(TooLarge::Memory(_))) => {
                Err(Error::new(ErrorKind::TooMuch, format!("{}: {}: {error}", self.what, member.path)))
            }
            Ok((index, _)) => {
                let index = index.occupying(drawn);
                self.files += index.len();
                if self.files > MOST_FILES {
                    return Err(Error::broken(format!("{} holds more than {MOST_FILES} files", self.what)));
                }
                Ok(Kept::Layer { bytes: member.size, index: Arc::new(index) })
            }
            Err(error) => Ok(Kept::Broken(error.to_string())),
        }
    }
}

impl Files for Stream {
    fn what(&self) -> &str {
        &self.what
    }

    fn document(&self, name: &str) -> Result<Option<Vec<u8>>> {
        match self.kept(name) {
            Some(Kept::Document(bytes)) => Ok(Some(bytes.clone())),
            Some(Kept::Broken(why)) => Err(Error::broken(format!("{}: {name}: {why}", self.what))),
            _ => Ok(None),
        }
    }

    fn layer(&self, name: &str) -> Result<Option<(u64, LayerBytes)>> {
        match self.kept(name) {
            Some(Kept::Layer { bytes, index }) => Ok(Some((*bytes, LayerBytes::Indexed(Arc::clone(index))))),
            Some(Kept::Broken(why)) => Err(Error::broken(format!("{}: {name}: {why}", self.what))),
            _ => Ok(None),
        }
    }
}

/// The digest that a blob is named by: `blobs/sha256/…`.
fn digest_in_name(path: &str) -> Option<Digest> {
    let (algorithm, hex) = path.strip_prefix("blobs/")?.split_once('/')?;
    format!("{algorithm}:{hex}").parse().ok()
}
