//! The worker's home inside a container: its folders and files as a tar archive, which the engine unpacks before a start.
//!
//! No folder of the host is mounted. Each container gets a copy of its own, so nothing that one container does to it
//! reaches the host or the next container.

use std::io;

use tar_core::EntryType;
use tar_core::builder::EntryBuilder;

use super::payload_files::PayloadFiles;
use super::secret;

/// The size of a block of a tar, in bytes.
pub(super) const BLOCK: usize = 512;

/// Where the worker's home is in every container of a run.
#[derive(Clone, Debug)]
pub(super) struct Home {
    path: String,
}

/// The modes of the two folders that differ between hosts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Modes {
    /// Of the home itself.
    pub home: u32,
    /// Of the step's folder.
    pub work: u32,
}

impl Modes {
    /// As a Tentacle makes them: everybody may read, only the owner writes.
    pub(super) const TENTACLE: Self = Self { home: 0o755, work: 0o755 };
    /// Only the home's owner may enter it.
    pub(super) const CLOSED: Self = Self { home: 0o700, work: 0o755 };
    /// Everybody may write into the step's folder, as in the volume of a pod.
    pub(super) const POD: Self = Self { home: 0o755, work: 0o777 };
}

impl Home {
    /// A place of its own for each run: no image has anything there.
    ///
    /// # Errors
    /// The operating system gives no random bytes.
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self { path: format!("/imglint-{}", secret::word()?) })
    }

    /// `TentacleHome`.
    pub(super) fn path(&self) -> &str {
        &self.path
    }

    /// The step's folder.
    pub(super) fn work(&self) -> String {
        format!("{}/Work/1", self.path)
    }

    /// A file that is brought along.
    pub(super) fn tool(&self, name: &str) -> String {
        format!("{}/Tools/imglint/{name}", self.path)
    }

    /// The script that a pod's shell starts.
    pub(super) fn runner(&self) -> String {
        format!("{}/execute-bootstrapRunner.sh", self.work())
    }

    /// The folder of the user's own program.
    pub(super) fn payload(&self) -> String {
        format!("{}/Tools/payload", self.path)
    }

    /// The home with nothing in it but its folders.
    pub(super) fn files(&self, modes: Modes) -> Files {
        let mut files = Files::default();
        let inside = |path: &str| format!("{}{path}", self.path);
        files.folder(&inside(""), modes.home);
        files.folder(&inside("/Work"), 0o755);
        files.folder(&inside("/Work/1"), modes.work);
        files.folder(&inside("/Tools"), 0o755);
        files.folder(&inside("/Tools/imglint"), 0o755);
        files
    }
}

/// Files for one container. They belong to root, whoever runs imglint.
#[derive(Clone, Debug, Default)]
pub(super) struct Files {
    tar: Vec<u8>,
    payload: Option<PayloadFiles>,
}

impl Files {
    fn folder(&mut self, path: &str, mode: u32) {
        self.tar.extend(header(path, mode, 0, EntryType::Directory, None));
    }

    /// Adds a file that nobody may write to.
    pub(super) fn add(&mut self, path: &str, bytes: &[u8], is_program: bool) {
        let mode = if is_program { 0o555 } else { 0o444 };
        self.tar.extend(header(path, mode, bytes.len() as u64, EntryType::Regular, None));
        self.tar.extend_from_slice(bytes);
        self.tar.resize(self.tar.len().next_multiple_of(BLOCK), 0);
    }

    /// Adds the folder of the user's own program.
    pub(super) fn add_payload(&mut self, payload: PayloadFiles) {
        self.payload = Some(payload);
    }

    /// How many bytes the files have.
    pub(super) fn size(&self) -> u64 {
        self.tar.len() as u64 + self.payload.as_ref().map_or(0, PayloadFiles::size)
    }

    /// The archive, piece by piece.
    pub(super) fn archive(&self) -> impl Iterator<Item = io::Result<Vec<u8>>> + Send + use<> {
        let payload = self.payload.clone().into_iter().flat_map(PayloadFiles::pieces);
        std::iter::once(Ok(self.tar.clone())).chain(payload).chain(std::iter::once(Ok(vec![0; 2 * BLOCK])))
    }
}

/// The header of a member of an archive.
pub(super) fn header(path: &str, mode: u32, size: u64, kind: EntryType, link: Option<&[u8]>) -> Vec<u8> {
    let mut entry = EntryBuilder::new_gnu();
    entry.path(path.trim_start_matches('/').as_bytes()).entry_type(kind);
    if let Some(link) = link {
        entry.link_name(link);
    }
    // Only a number that does not fit its field is refused: a mode has 12 bits, a size at most a few GiB.
    let _ = entry
        .mode(mode)
        .and_then(|entry| entry.size(size))
        .and_then(|entry| entry.uid(0))
        .and_then(|entry| entry.gid(0));
    entry.finish_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layer::tar::TarReader;

    #[test]
    fn what_a_container_is_given_belongs_to_root_and_is_read_only() {
        let home = Home::new().unwrap();
        let mut files = home.files(Modes::POD);
        files.add(&home.tool("program"), b"bytes", true);
        let archive: Vec<u8> = files.archive().flat_map(|piece| piece.unwrap()).collect();
        let mut reader = TarReader::new(&archive[..]);
        let mut seen = Vec::new();
        while let Some(member) = reader.next_member().unwrap() {
            assert_eq!((member.uid, member.gid), (0, 0));
            let path = format!("/{}", member.path).replace(home.path(), "");
            seen.push(format!("{path} {:o} {}", member.mode & 0o7777, member.size));
        }
        let wanted = [" 755 0", "/Work 755 0", "/Work/1 777 0", "/Tools 755 0", "/Tools/imglint 755 0"];
        assert_eq!(seen[..5], wanted);
        assert_eq!(seen[5..], ["/Tools/imglint/program 555 5"]);
    }
}
