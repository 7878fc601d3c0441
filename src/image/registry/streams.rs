//! How many layers are fetched from one registry at a time: fewer when it says that it is too much, more again later.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, PoisonError};

/// The streams of all registries of a run.
#[derive(Debug)]
pub struct StreamLimits {
    most: usize,
    registries: Mutex<BTreeMap<String, Arc<Streams>>>,
}

/// The streams of one registry, whichever images they are of.
#[derive(Debug)]
pub(super) struct Streams {
    most: usize,
    state: Mutex<State>,
    ended: Condvar,
}

#[derive(Debug)]
struct State {
    limit: usize,
    open: usize,
}

/// Leave for one stream, until it is dropped.
#[derive(Debug)]
pub(super) struct Leave(Arc<Streams>);

impl StreamLimits {
    /// At most so many streams at a time from each registry.
    #[must_use]
    pub fn new(most: usize) -> Self {
        Self { most: most.max(1), registries: Mutex::default() }
    }

    pub(super) fn of(&self, registry: &str) -> Arc<Streams> {
        let mut all = self.registries.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(all.entry(registry.to_owned()).or_insert_with(|| Arc::new(Streams::new(self.most))))
    }
}

impl Default for StreamLimits {
    /// As many as engines have that fetch much at a time (dockerd, `max-concurrent-downloads`, is at 3).
    fn default() -> Self {
        Self::new(6)
    }
}

impl Streams {
    fn new(most: usize) -> Self {
        Self { most, state: Mutex::new(State { limit: most, open: 0 }), ended: Condvar::new() }
    }

    /// Waits until one more stream is allowed.
    pub(super) fn begin(self: &Arc<Self>) -> Leave {
        let mut state = self.state();
        while state.open >= state.limit {
            state = self.ended.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.open += 1;
        Leave(Arc::clone(self))
    }

    /// The registry said that it is too much: half as many streams as there were.
    pub(super) fn slow_down(&self) {
        let mut state = self.state();
        state.limit = (state.limit.min(state.open) / 2).max(1);
    }

    /// A stream ended as it should: one more may be open.
    pub(super) fn went_well(&self) {
        let mut state = self.state();
        state.limit = (state.limit + 1).min(self.most);
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Leave {
    fn drop(&mut self) {
        self.0.state().open -= 1;
        self.0.ended.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_are_fewer_after_too_many_and_more_again_later() {
        let streams = StreamLimits::new(8).of("a");
        let limit = || streams.state().limit;
        let mut open: Vec<Leave> = (0..8).map(|_| streams.begin()).collect();
        streams.slow_down();
        assert_eq!(limit(), 4);
        streams.slow_down();
        streams.slow_down();
        streams.slow_down();
        assert_eq!(limit(), 1, "never none");
        open.clear();
        assert_eq!((limit(), streams.state().open), (1, 0));
        streams.went_well();
        assert_eq!(limit(), 2);
        (0..9).for_each(|_| streams.went_well());
        assert_eq!(limit(), 8, "never more than allowed");
    }

    #[test]
    fn registries_do_not_wait_for_each_other() {
        let limits = StreamLimits::new(1);
        let _one = limits.of("a").begin();
        let _other = limits.of("b").begin();
        assert_eq!(limits.of("a").state().open, 1);
    }
}
