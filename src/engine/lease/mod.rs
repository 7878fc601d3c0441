//! A file that this process keeps locked while it lives, and that says what it has made. By it a later run of the same
//! user tells what a killed one has left.
//!
//! A lock needs no look at other processes: it holds without /proc, where /proc is hidden from other users, and when
//! process numbers are used again. The system frees it however a process ends. Who has no such file here, is another
//! user's or another machine's process, counts as alive.

mod place;

use std::fs::{File, TryLockError};
use std::io::{ErrorKind, Read, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::secret::word;
use place::{Place, places};

/// The largest file that is read, in bytes.
const LARGEST: u64 = 1 << 20;
/// How many files are looked at.
const MOST: usize = 1000;
/// How often a new file is tried, when others clean up at the same moment.
const TRIES: usize = 100;

/// A container that a process makes and has to remove.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Thing {
    /// The name that it was given.
    pub name: String,
    /// The value of its label.
    pub label: String,
    /// Which engine has it.
    pub engine: String,
}

/// A line of the file. The last line on a thing holds.
#[derive(Serialize, Deserialize)]
struct Line {
    is_made: bool,
    thing: Thing,
}

/// The file of this process.
pub(super) struct Lease {
    place: Arc<Place>,
    name: String,
    file: File,
    made: Vec<Thing>,
}

impl Lease {
    /// Takes one out. `None` where no folder can hold it: then nobody removes what this process leaves if it is killed.
    pub(super) fn take() -> Option<Self> {
        places().into_iter().find_map(Self::take_in)
    }

    fn take_in(path: PathBuf) -> Option<Self> {
        for _ in 0..TRIES {
            let place = Place::make(&path)?;
            let name = word().ok()?;
            let file = match place.create(&name) {
                Ok(file) => file,
                // Another process removed the empty folder just now.
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                Err(_) => return None,
            };
            match file.try_lock() {
                Ok(()) if Place::has(&file) => {
                    return Some(Self { place: Arc::new(place), name, file, made: Vec::new() });
                }
                // Another process took it for a dead one's before it was locked, and removes it.
                Ok(()) | Err(TryLockError::WouldBlock) => {}
                Err(TryLockError::Error(_)) => {
                    place.remove(&name);
                    place.remove_folder();
                    return None;
                }
            }
        }
        None
    }

    /// Notes what is about to be made.
    pub(super) fn note(&mut self, thing: Thing) {
        self.write(true, &thing);
        self.made.push(thing);
    }

    /// Notes that something is gone.
    pub(super) fn strike(&mut self, thing: &Thing) {
        if let Some(at) = self.made.iter().position(|known| known == thing) {
            self.made.remove(at);
            self.write(false, thing);
        }
    }

    /// Whether all that was made is gone.
    pub(super) fn is_settled(&self) -> bool {
        self.made.is_empty()
    }

    /// Gives it back: nothing is left of it. One that is only dropped stays, unlocked.
    pub(super) fn end(self) {
        self.place.remove(&self.name);
        self.place.remove_folder();
    }

    fn write(&mut self, is_made: bool, thing: &Thing) {
        let Ok(line) = serde_json::to_string(&Line { is_made, thing: thing.clone() }) else { return };
        // A disk that is full does not stop a run: only a killed one would leave something then. A line that was cut off
        // there does not swallow the next one.
        let _ = self.file.write_all(format!("\n{line}\n").as_bytes());
    }
}

/// Dead processes of this user, each locked by this one from now on.
pub(super) fn dead() -> Vec<Lease> {
    places().into_iter().flat_map(|path| dead_in(&path)).collect()
}

fn dead_in(path: &std::path::Path) -> Vec<Lease> {
    let Some(place) = Place::open(path).map(Arc::new) else { return Vec::new() };
    let is_name = |name: &String| name.len() == 32 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
    let names = place.names(MOST).into_iter().filter(is_name);
    let lease = |name: String| {
        let file = place.file(&name)?;
        // One that cannot be locked is alive, or cannot be told from one that is. One without a name was given back just
        // now, or is another's who cleans up.
        file.try_lock().ok().filter(|()| Place::has(&file))?;
        let made = read(&file)?;
        Some(Lease { place: Arc::clone(&place), name, file, made })
    };
    names.filter_map(lease).collect()
}

/// What a file says was made and is not gone. `None` if it is too large.
fn read(file: &File) -> Option<Vec<Thing>> {
    let mut bytes = Vec::new();
    file.take(LARGEST + 1).read_to_end(&mut bytes).ok()?;
    if bytes.len() as u64 > LARGEST {
        return None;
    }
    let mut made = Vec::new();
    // A process that is killed while it writes leaves half a line.
    for Line { is_made, thing } in
        bytes.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok())
    {
        made.retain(|known| *known != thing);
        if is_made {
            made.push(thing);
        }
    }
    Some(made)
}

impl Lease {
    /// How long ago something was noted last. Zero if the system does not say.
    pub(super) fn age(&self) -> Duration {
        let noted = self.file.metadata().and_then(|found| found.modified()).ok();
        noted.and_then(|noted| noted.elapsed().ok()).unwrap_or_default()
    }

    /// What was made and is not gone.
    pub(super) fn made(&self) -> Vec<Thing> {
        self.made.clone()
    }
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};
    use std::path::Path;

    use super::*;

    fn container(name: &str) -> Thing {
        Thing { name: name.to_owned(), label: "l".to_owned(), engine: "e".to_owned() }
    }

    fn files(path: &Path) -> Vec<PathBuf> {
        std::fs::read_dir(path).into_iter().flatten().map(|entry| entry.unwrap().path()).collect()
    }

    #[test]
    fn a_live_process_is_not_dead_and_a_dead_one_is_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("leases");
        let mut live = Lease::take_in(path.clone()).unwrap();
        let mut killed = Lease::take_in(path.clone()).unwrap();
        live.note(container("live"));
        killed.note(container("gone"));
        killed.note(container("left"));
        killed.strike(&container("gone"));
        assert!(dead_in(&path).is_empty(), "both hold their locks");
        drop(killed);
        let dead = dead_in(&path);
        assert_eq!(dead.iter().map(Lease::made).collect::<Vec<_>>(), [[container("left")]]);
        assert!(dead_in(&path).is_empty(), "who cleans up holds the lock");
        dead.into_iter().for_each(Lease::end);
        assert_eq!(files(&path).len(), 1, "the live one's");
        live.end();
        assert!(!path.exists(), "the last one removes the folder");
    }

    #[test]
    fn only_its_user_can_look_into_the_folder() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("leases");
        let _live = Lease::take_in(path.clone()).unwrap();
        let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&path), mode(&files(&path)[0])), (0o700, 0o600));
    }

    #[test]
    fn a_folder_that_others_made_is_not_used() {
        let folder = tempfile::tempdir().unwrap();
        let (real, link) = (folder.path().join("real"), folder.path().join("link"));
        drop(Lease::take_in(real.clone()).unwrap());
        symlink(&real, &link).unwrap();
        assert!(Lease::take_in(link.clone()).is_none() && dead_in(&link).is_empty(), "a link");
        std::fs::set_permissions(&real, std::fs::Permissions::from_mode(0o755)).unwrap();
        assert!(Lease::take_in(real.clone()).is_none() && dead_in(&real).is_empty(), "open to others");
        let file = folder.path().join("file");
        std::fs::write(&file, "").unwrap();
        assert!(Lease::take_in(file.clone()).is_none() && dead_in(&file).is_empty(), "no folder");
        if rustix::process::geteuid().is_root() {
            std::fs::set_permissions(&real, std::fs::Permissions::from_mode(0o700)).unwrap();
            std::os::unix::fs::chown(&real, Some(54321), Some(54321)).unwrap();
            assert!(Lease::take_in(real.clone()).is_none() && dead_in(&real).is_empty(), "another user's");
        }
    }

    #[test]
    fn what_is_not_a_plain_file_of_its_own_is_passed_over() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("leases");
        let mut killed = Lease::take_in(path.clone()).unwrap();
        killed.note(container("left"));
        let name = killed.name.clone();
        drop(killed);
        let other = |digit: &str| path.join(digit.repeat(32));
        let outside = folder.path().join("outside");
        std::fs::copy(path.join(&name), &outside).unwrap();
        symlink(&outside, other("1")).unwrap();
        std::fs::hard_link(&outside, other("2")).unwrap();
        std::fs::create_dir(other("3")).unwrap();
        std::fs::write(path.join("notes"), "").unwrap();
        std::fs::write(other("4"), vec![b'x'; 2 << 20]).unwrap();
        let fifo = std::process::Command::new("mkfifo").arg(other("5")).status();
        assert!(fifo.is_ok_and(|status| status.success()));
        let dead = dead_in(&path);
        assert_eq!(dead.iter().map(|lease| lease.name.clone()).collect::<Vec<_>>(), [name]);
    }

    #[test]
    fn processes_that_come_and_go_at_once_do_not_take_each_other_for_dead() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("leases");
        let work = &|number: usize| {
            for round in 0..100 {
                let mut lease = Lease::take_in(path.clone()).unwrap();
                let own = container(&format!("{number}-{round}"));
                lease.note(own);
                for dead in dead_in(&path) {
                    assert_eq!(dead.made(), [], "it has made something, so it had its lock");
                    dead.end();
                }
                lease.end();
            }
        };
        std::thread::scope(|scope| {
            for number in 0..8 {
                scope.spawn(move || work(number));
            }
        });
        dead_in(&path).into_iter().for_each(Lease::end);
        assert!(!path.exists());
    }

    #[test]
    fn half_a_line_does_not_hide_the_others() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("leases");
        let mut killed = Lease::take_in(path.clone()).unwrap();
        killed.note(container("left"));
        killed.file.write_all(b"{\"is_made\":false,\"thing\":{\"name\":\"le").unwrap();
        drop(killed);
        assert_eq!(dead_in(&path)[0].made(), [container("left")]);
    }
}
