//! What shows that an entry is whole, and with a key also that it was made by somebody who has the key.

use std::fmt;
use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use super::FORMAT;
use crate::digest::{Algorithm, Hasher};

/// The length of a seal in hexadecimal digits (SHA-256).
pub(super) const SEAL: usize = 64;
/// The shortest key, in bytes: 128 bits cannot be guessed.
const SHORTEST: usize = 16;
/// The largest key file, in bytes.
const LARGEST: u64 = 64 << 10;

/// A key that the machines share that use one cache.
#[derive(Clone)]
pub struct Key {
    mac: Hmac<Sha256>,
    warning: Option<String>,
}

impl fmt::Debug for Key {
    /// Without the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key")
    }
}

impl Key {
    /// Reads a key from a file: its bytes but for a line end at their end. Links are followed: it is the user who names
    /// the file, and the secrets of Kubernetes are links.
    ///
    /// # Errors
    /// It cannot be read, is not a plain file, or has too few bytes for a key. The error is the end of a sentence.
    pub fn read(file: &Path) -> Result<Self, String> {
        let opened = open(file).map_err(|error| format!("cannot read it: {error}"))?;
        let metadata = opened.metadata().map_err(|error| format!("cannot read it: {error}"))?;
        if !metadata.is_file() {
            return Err("it is not a plain file".to_owned());
        }
        let mut bytes = Vec::new();
        opened.take(LARGEST + 1).read_to_end(&mut bytes).map_err(|error| format!("cannot read it: {error}"))?;
        if bytes.len() as u64 > LARGEST {
            return Err(format!("it is larger than {} KiB: a key is not", LARGEST >> 10));
        }
        Ok(Self { warning: warning(&metadata).map(str::to_owned), ..Self::new(&bytes)? })
    }

    /// A key of these bytes, but for a line end at their end.
    ///
    /// # Errors
    /// They are too few. The error is the end of a sentence.
    pub fn new(bytes: &[u8]) -> Result<Self, String> {
        let bytes = bytes.strip_suffix(b"\n").map_or(bytes, |rest| rest.strip_suffix(b"\r").unwrap_or(rest));
        if bytes.len() < SHORTEST {
            let count = bytes.len();
            return Err(format!("it has {count} bytes, and a key of fewer than {SHORTEST} bytes can be guessed"));
        }
        let mac = Hmac::new_from_slice(bytes).map_err(|error| error.to_string())?;
        Ok(Self { mac, warning: None })
    }

    /// What the user should change about the file, if anything.
    #[must_use]
    pub fn warning(&self) -> Option<&str> {
        self.warning.as_deref()
    }
}

/// Opens a file without waiting for the other end of a FIFO.
fn open(file: &Path) -> std::io::Result<File> {
    let mut options = File::options();
    options.read(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::custom_flags(&mut options, rustix::fs::OFlags::NONBLOCK.bits().cast_signed());
    options.open(file)
}

#[cfg(unix)]
fn warning(metadata: &std::fs::Metadata) -> Option<&'static str> {
    use std::os::unix::fs::MetadataExt as _;
    let is_own = [0, rustix::process::geteuid().as_raw()].contains(&metadata.uid());
    match metadata.mode() & 0o077 {
        _ if !is_own => Some("it belongs to another user of this machine, who has the key too"),
        mode if mode & 0o066 != 0 => Some("other users of this machine may read or change it (chmod 600)"),
        _ => None,
    }
}

/// Windows has no modes, and its access lists are not looked at.
#[cfg(not(unix))]
fn warning(_: &std::fs::Metadata) -> Option<&'static str> {
    None
}

/// How entries are sealed.
#[derive(Clone, Debug)]
pub(super) enum Seal {
    /// By a checksum, which shows damage. Anybody can make one.
    Checksum,
    /// By a key.
    Key(Key),
}

impl Seal {
    /// The seal of an entry, in hexadecimal digits.
    pub(super) fn make(&self, name: &str, content: &[u8]) -> String {
        match self {
            Self::Checksum => {
                let mut hasher = Hasher::new(Algorithm::Sha256);
                parts(name, content, |part| hasher.update(part));
                hasher.finish().hex().to_owned()
            }
            Self::Key(key) => hex(&self.mac(key, name, content).finalize().into_bytes()),
        }
    }

    /// Whether this is the seal of an entry. How long that takes says nothing about the right one.
    pub(super) fn fits(&self, name: &str, content: &[u8], seal: &[u8]) -> bool {
        match self {
            Self::Checksum => self.make(name, content).as_bytes() == seal,
            Self::Key(key) => bytes(seal).is_some_and(|seal| self.mac(key, name, content).verify_slice(&seal).is_ok()),
        }
    }

    /// The folder of the entries with this seal: those of different keys do not replace each other.
    pub(super) fn folder(&self) -> String {
        let format = FORMAT.trim();
        match self {
            Self::Checksum => format.to_owned(),
            Self::Key(_) => {
                let mut name = self.make("the folder of", format.as_bytes());
                name.truncate(format.len());
                name
            }
        }
    }

    fn mac(&self, key: &Key, name: &str, content: &[u8]) -> Hmac<Sha256> {
        let mut mac = key.mac.clone();
        parts(name, content, |part| mac.update(part));
        mac
    }
}

/// What a seal covers. The format belongs to it: what one version has sealed means something else to another.
fn parts(name: &str, content: &[u8], mut update: impl FnMut(&[u8])) {
    for part in [FORMAT.trim().as_bytes(), b"\n", name.as_bytes(), b"\n", content] {
        update(part);
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn bytes(hex: &[u8]) -> Option<Vec<u8>> {
    let digit = |c: &u8| char::from(*c).to_digit(16).map(|digit| digit as u8);
    hex.chunks(2).map(|pair| Some(digit(pair.first()?)? << 4 | digit(pair.get(1)?)?)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> Seal {
        Seal::Key(Key::new(text.as_bytes()).unwrap())
    }

    #[test]
    fn a_seal_fits_only_what_it_was_made_for_and_only_with_its_key() {
        let seals = [Seal::Checksum, key("sixteen bytes ok"), key("sixteen bytes too")];
        for (number, seal) in seals.iter().enumerate() {
            let made = seal.make("name", b"content");
            assert_eq!(made.len(), SEAL);
            assert!(seal.fits("name", b"content", made.as_bytes()));
            assert!(!seal.fits("nam", b"econtent", made.as_bytes()));
            assert!(!seal.fits("name", b"contenT", made.as_bytes()));
            assert!(!seal.fits("name", b"content", &made.as_bytes()[..SEAL - 2]));
            assert!(!seal.fits("name", b"content", b""));
            for (other, others) in seals.iter().enumerate().filter(|(other, _)| *other != number) {
                assert!(!others.fits("name", b"content", made.as_bytes()), "{number} and {other}");
                assert_ne!(others.folder(), seal.folder());
            }
        }
    }

    /// RFC 4231, test case 2, whose key is shorter than any that is taken here.
    #[test]
    fn the_mac_is_hmac_sha_256() {
        let mut mac = Hmac::<Sha256>::new_from_slice(b"Jefe").unwrap();
        mac.update(b"what do ya want for nothing?");
        let expected = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
        assert_eq!(hex(&mac.finalize().into_bytes()), expected);
    }

    #[test]
    fn a_line_end_is_no_part_of_a_key() {
        let made = key("sixteen bytes ok").make("a", b"b");
        for same in ["sixteen bytes ok\n", "sixteen bytes ok\r\n"] {
            assert_eq!(key(same).make("a", b"b"), made);
        }
        assert_ne!(key("sixteen bytes ok\n\n").make("a", b"b"), made);
        let error = Key::new(b"fifteen bytes..\n").unwrap_err();
        assert_eq!(error, "it has 15 bytes, and a key of fewer than 16 bytes can be guessed");
    }

    #[cfg(unix)]
    #[test]
    fn a_key_is_a_plain_file_that_only_its_owner_reads() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("key");
        std::fs::write(&file, "0123456789abcdef\n").unwrap();
        for (mode, is_private) in [(0o600, true), (0o400, true), (0o640, false), (0o644, false), (0o622, false)] {
            std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(Key::read(&file).unwrap().warning().is_none(), is_private, "{mode:o}");
        }
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(&file, &link).unwrap();
        assert!(Key::read(&link).is_ok());
        let fifo = folder.path().join("fifo");
        rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
        assert_eq!(Key::read(&fifo).unwrap_err(), "it is not a plain file");
        assert_eq!(Key::read(folder.path()).unwrap_err(), "it is not a plain file");
        std::fs::write(&file, vec![b'x'; 65 << 10]).unwrap();
        assert_eq!(Key::read(&file).unwrap_err(), "it is larger than 64 KiB: a key is not");
        assert!(Key::read(&folder.path().join("absent")).unwrap_err().starts_with("cannot read it: "));
    }
}
