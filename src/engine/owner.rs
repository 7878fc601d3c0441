//! What this process has in engines, and its end: after each stage, and after interrupts.
//!
//! A container is known by a name and a label that nobody can guess. Both are noted in this process's [lease](Lease)
//! before the engine is asked, so that what a killed run leaves is found by them, and nothing else is.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::connection::{Connection, is_silent};
use super::lease::{Lease, Thing};
use super::secret::word;
pub(super) use super::sweep::sweep;
use super::sweep::{self, Fate};
use crate::image::endpoints::Endpoint;

/// The label of a run's containers. Its value names user, machine and run.
pub(super) const LABEL: &str = "io.imglint.owner";
/// How the names of containers of runs begin.
pub(super) const PREFIX: &str = "imglint-run-";
/// How long the end of a process waits for what is being made.
const PATIENCE: Duration = Duration::from_secs(60);

static OWNED: Mutex<Owned> = Mutex::new(Owned { is_ending: false, making: 0, active: Vec::new(), lease: None });
/// Notified when something was made.
static MADE: Condvar = Condvar::new();

struct Owned {
    /// Whether [`clean_up`] was called: nothing is made any more.
    is_ending: bool,
    /// How many containers are being made, and are not complete yet.
    making: usize,
    /// What would be left behind if the process ended now.
    active: Vec<Active>,
    /// Where it is noted. `None` as long as there is nothing to note, or where nothing can be noted.
    lease: Option<Lease>,
}

struct Active {
    thing: Thing,
    /// The engine that has it.
    endpoint: Box<Endpoint>,
    /// Its id there, once it is known.
    id: Option<String>,
}

/// What a container is called.
#[derive(Clone, Debug)]
pub(super) struct Identity {
    /// Its name.
    pub name: String,
    /// The value of its [`LABEL`].
    pub label: String,
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
        let mut owned = owned();
        owned.making -= 1;
        owned.end_lease();
        MADE.notify_all();
    }
}

impl Owned {
    fn note(&mut self, thing: Thing, endpoint: Box<Endpoint>) {
        if self.lease.is_none() {
            self.lease = Lease::take();
        }
        if let Some(lease) = &mut self.lease {
            lease.note(thing.clone());
        }
        self.active.push(Active { thing, endpoint, id: None });
    }

    /// Forgets what is gone.
    fn strike(&mut self, thing: &Thing) {
        self.active.retain(|one| one.thing != *thing);
        if let Some(lease) = &mut self.lease {
            lease.strike(thing);
        }
        self.end_lease();
    }

    fn end_lease(&mut self) {
        if self.making == 0
            && let Some(lease) = self.lease.take_if(|lease| lease.is_settled())
        {
            lease.end();
        }
    }
}

/// What a container is to be called. It is noted: whatever happens from now on, it is removed.
///
/// # Errors
/// The system gives no random bytes: the rest of a sentence.
pub(super) fn identity(_: &Making, connection: &Connection) -> Result<Identity, String> {
    let word = word().map_err(|error| format!("there are no random bytes to name it by: {error}"))?;
    let identity = Identity { name: format!("{PREFIX}{word}"), label: format!("{}-{word}", here()) };
    owned().note(identity.thing(connection), Box::new(connection.endpoint.clone()));
    Ok(identity)
}

impl Identity {
    fn thing(&self, connection: &Connection) -> Thing {
        Thing { name: self.name.clone(), label: self.label.clone(), engine: connection.key.clone() }
    }
}

/// Notes that a container is there.
pub(super) fn created(_: &Making, connection: &Connection, identity: &Identity, id: &str) {
    let thing = identity.thing(connection);
    let mut owned = owned();
    if let Some(one) = owned.active.iter_mut().find(|one| one.thing == thing) {
        one.id = Some(id.to_owned());
    }
}

/// Notes that a container was not made, if the engine says so. One of which it says nothing may be there.
pub(super) fn refused(_: &Making, connection: &Connection, identity: &Identity, why: &str) {
    if !is_silent(why) {
        owned().strike(&identity.thing(connection));
    }
}

/// Removes a container, running or not.
///
/// # Errors
/// The engine does not do it: it is left.
pub(super) fn remove(connection: &Connection, id: &str) -> Result<(), String> {
    if sweep::remove(connection, id) == Fate::Left {
        return Err("the engine does not remove it".to_owned());
    }
    let is_it = |one: &Active| *one.endpoint == connection.endpoint && one.id.as_deref() == Some(id);
    let mut owned = owned();
    let thing = owned.active.iter().find(|one| is_it(one)).map(|one| one.thing.clone());
    if let Some(thing) = thing {
        owned.strike(&thing);
    }
    Ok(())
}

/// How many containers of a run could not be removed. They are left to the next run.
pub(super) fn left(connection: &Connection) -> usize {
    let is_here = |one: &Active| *one.endpoint == connection.endpoint;
    let (here, others) = std::mem::take(&mut owned().active).into_iter().partition::<Vec<_>, _>(is_here);
    owned().active.extend(others);
    let mut left = 0;
    for Active { thing, id, .. } in here {
        // One that has an id was to be removed before. Of the others the engine has not said whether they are there.
        match if id.is_some() { Fate::Left } else { sweep::settle(connection, &thing) } {
            Fate::Removed => owned().strike(&thing),
            // It may still come: the lease keeps it.
            Fate::Absent => {}
            Fate::Left => left += 1,
        }
    }
    left
}

/// Removes everything that this process has in engines: for the moment before it ends.
/// Whoever wants to make something more waits for that end.
pub fn clean_up() {
    let mut owned = owned();
    owned.is_ending = true;
    let made = MADE.wait_timeout_while(owned, PATIENCE, |owned| owned.making > 0);
    let mut owned = made.unwrap_or_else(PoisonError::into_inner).0;
    let (active, mut lease) = (std::mem::take(&mut owned.active), owned.lease.take());
    drop(owned);
    for Active { thing, endpoint, id } in active {
        let is_gone = Connection::open(&endpoint).is_ok_and(|connection| {
            let fate = match id {
                Some(id) => sweep::remove(&connection, &id),
                None => sweep::settle(&connection, &thing),
            };
            fate != Fate::Left
        });
        if let Some(lease) = lease.as_mut().filter(|_| is_gone) {
            lease.strike(&thing);
        }
    }
    if let Some(lease) = lease.filter(Lease::is_settled) {
        lease.end();
    }
}

/// This user, this boot of this machine, and this namespace of processes. It says where a container comes from; whether
/// its run is alive is not read from it.
fn here() -> String {
    #[cfg(unix)]
    let user = rustix::process::geteuid().as_raw().to_string();
    #[cfg(not(unix))]
    let user = String::new();
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let namespace = std::fs::read_link("/proc/self/ns/pid").unwrap_or_default();
    let namespace: String = namespace.to_string_lossy().chars().filter(char::is_ascii_digit).collect();
    format!("{user}.{}.{namespace}", boot.split('-').next().unwrap_or_default().trim())
}

fn owned() -> MutexGuard<'static, Owned> {
    OWNED.lock().unwrap_or_else(PoisonError::into_inner)
}
