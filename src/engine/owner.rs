//! Whose a container and its folder are, and their end: after interrupts, and after runs that were killed.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bollard::query_parameters::{ListContainersOptionsBuilder, RemoveContainerOptionsBuilder};

use super::connection::Connection;
use crate::image::endpoints::Endpoint;

/// The label that names the process a container belongs to.
pub(super) const LABEL: &str = "io.imglint.owner";
/// How the folders of runs are called; the owner follows.
const PREFIX: &str = "imglint-run-";
/// How long an engine may take to remove a container.
const PATIENCE: Duration = Duration::from_secs(60);

static OWNED: Mutex<Owned> = Mutex::new(Owned { is_ending: false, making: 0, active: Vec::new() });
/// Told when something was made.
static MADE: Condvar = Condvar::new();

struct Owned {
    /// Whether [`clean_up`] was called: nothing is made any more.
    is_ending: bool,
    /// How many containers and folders are being made, and not in `active` yet.
    making: usize,
    /// What would be left behind if the process ended now.
    active: Vec<Active>,
}

#[derive(Clone, PartialEq, Eq)]
enum Active {
    Container(Box<Endpoint>, String),
    Folder(PathBuf),
}

/// This process: where its number counts, the number, and when it began, so that a later one of the same number is
/// another.
pub(super) fn own() -> String {
    let pid = std::process::id();
    format!("{}-{pid}-{}", here(), began(pid).unwrap_or_default())
}

/// This boot of this machine and this namespace of process numbers: only within one can a number be looked up.
fn here() -> String {
    let id = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let namespace = fs::read_link("/proc/self/ns/pid").unwrap_or_default();
    let namespace: String = namespace.to_string_lossy().chars().filter(char::is_ascii_digit).collect();
    format!("{}.{namespace}", id.split('-').next().unwrap_or_default().trim())
}

/// When a process began, in ticks since the boot (proc(5), `/proc/PID/stat`, field 22); nothing if there is none.
fn began(pid: u32) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in the second field may hold anything, even brackets.
    let rest = &stat[stat.rfind(')')? + 1..];
    rest.split_whitespace().nth(19).map(str::to_owned)
}

/// Whether an owner is a process that is still there. Of another machine that uses the same engine, or of another boot,
/// nobody can tell: they count as alive.
fn is_alive(owner: &str) -> bool {
    let mut parts = owner.split('-');
    let (Some(place), Some(pid), Some(start)) = (parts.next(), parts.next(), parts.next()) else { return true };
    place != here() || pid.parse().ok().and_then(began).is_some_and(|began| began == start)
}

/// Held while something is made, from before it is asked for until it is noted and complete.
pub(super) struct Making(());

/// To be called before anything is made. Does not return once the process is about to end.
pub(super) fn making() -> Making {
    let mut owned = owned();
    while owned.is_ending {
        owned = MADE.wait(owned).unwrap_or_else(PoisonError::into_inner);
    }
    owned.making += 1;
    Making(())
}

impl Drop for Making {
    fn drop(&mut self) {
        owned().making -= 1;
        MADE.notify_all();
    }
}

/// A new folder for a run, which [`clean_up`] removes if it still is there.
pub(super) fn folder(_: &Making) -> std::io::Result<PathBuf> {
    let temporary = std::env::temp_dir();
    let folder = (0..1000)
        .map(|number| temporary.join(format!("{PREFIX}{}-{number}", own())))
        .find(|folder| !folder.exists())
        .ok_or_else(|| std::io::Error::other("too many runs at once"))?;
    fs::create_dir(&folder)?;
    remember(Active::Folder(folder.clone()));
    Ok(folder)
}

/// Removes a run's folder.
pub(super) fn remove_folder(folder: &Path) -> std::io::Result<()> {
    let removed = fs::remove_dir_all(folder);
    forget(&Active::Folder(folder.to_owned()));
    removed
}

/// Notes that a container is there.
pub(super) fn created(_: &Making, connection: &Connection, id: &str) {
    remember(Active::Container(Box::new(connection.endpoint.clone()), id.to_owned()));
}

/// Removes a container, running or not.
pub(super) fn remove(connection: &Connection, id: &str) -> Result<(), String> {
    let options = RemoveContainerOptionsBuilder::new().force(true).v(true).build();
    connection.within(PATIENCE, connection.docker.remove_container(id, Some(options)))?;
    forget(&Active::Container(Box::new(connection.endpoint.clone()), id.to_owned()));
    Ok(())
}

/// How many containers of a run could not be removed. They are left to the next run.
pub(super) fn left(connection: &Connection) -> usize {
    let active = &mut owned().active;
    let before = active.len();
    active.retain(|one| !matches!(one, Active::Container(endpoint, _) if **endpoint == connection.endpoint));
    before - active.len()
}

/// Removes what runs that were killed have left behind, containers first; says how many containers those were.
pub(super) fn sweep(connection: &Connection) -> usize {
    let filters = HashMap::from([("label", vec![LABEL])]);
    let options = ListContainersOptionsBuilder::new().all(true).filters(&filters).build();
    let containers = connection.within(PATIENCE, connection.docker.list_containers(Some(options))).unwrap_or_default();
    let is_left = |labels: &HashMap<String, String>| labels.get(LABEL).is_some_and(|owner| !is_alive(owner));
    let left = containers.into_iter().filter(|found| found.labels.as_ref().is_some_and(is_left));
    let removed = left.filter_map(|found| found.id).filter(|id| remove(connection, id).is_ok()).count();
    let entries = fs::read_dir(std::env::temp_dir()).into_iter().flatten().flatten();
    for entry in entries {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.strip_prefix(PREFIX).is_some_and(|owner| !is_alive(owner)) {
            // One that belongs to somebody else stays.
            let _ = fs::remove_dir_all(entry.path());
        }
    }
    removed
}

/// Removes everything that this process has in engines and in the temporary folder: for the moment before it ends.
/// Whoever wants to make something more waits for that end.
pub fn clean_up() {
    let mut owned = owned();
    owned.is_ending = true;
    let made = MADE.wait_timeout_while(owned, PATIENCE, |owned| owned.making > 0);
    let active = std::mem::take(&mut made.unwrap_or_else(PoisonError::into_inner).0.active);
    for one in &active {
        if let Active::Container(endpoint, id) = one
            && let Ok(connection) = Connection::open(endpoint)
        {
            let _ = remove(&connection, id);
        }
    }
    for one in &active {
        if let Active::Folder(folder) = one {
            let _ = fs::remove_dir_all(folder);
        }
    }
}

fn owned() -> MutexGuard<'static, Owned> {
    OWNED.lock().unwrap_or_else(PoisonError::into_inner)
}

fn remember(one: Active) {
    owned().active.push(one);
}

fn forget(one: &Active) {
    owned().active.retain(|other| other != one);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_alive_as_long_as_it_is_the_same_one() {
        assert!(is_alive(&own()));
        let other_start = format!("{}-{}-1", here(), std::process::id());
        assert!(!is_alive(&other_start));
        assert!(is_alive("0123.456-1-1"), "another machine's");
        assert!(is_alive("something else"));
    }
}
