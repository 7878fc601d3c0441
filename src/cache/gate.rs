//! Lets only so many bytes be loaded at a time, however many threads load entries.

use std::sync::{Arc, Condvar, Mutex, PoisonError};

use super::lock;

/// Who holds a pass may hold so many bytes in memory.
pub(super) struct Gate {
    most: usize,
    held: Mutex<usize>,
    freed: Condvar,
}

/// The right to hold some bytes in memory, until it is dropped.
pub(super) struct Pass {
    gate: Arc<Gate>,
    bytes: usize,
}

impl Gate {
    /// At most so many bytes at a time.
    pub(super) fn new(most: usize) -> Arc<Self> {
        Arc::new(Self { most, held: Mutex::new(0), freed: Condvar::new() })
    }

    /// Waits until there is room for so many bytes. What is larger than the gate waits until it is alone.
    ///
    /// Who holds a pass does not wait for anybody but a store, and that only until its deadline.
    pub(super) fn enter(self: &Arc<Self>, bytes: usize) -> Pass {
        let bytes = bytes.min(self.most);
        let mut held = lock(&self.held);
        while *held + bytes > self.most {
            held = self.freed.wait(held).unwrap_or_else(PoisonError::into_inner);
        }
        *held += bytes;
        Pass { gate: Arc::clone(self), bytes }
    }
}

impl Pass {
    /// Keeps only so much of what was asked for.
    pub(super) fn shrink(&mut self, bytes: usize) {
        let unused = self.bytes.saturating_sub(bytes);
        self.bytes -= unused;
        *lock(&self.gate.held) -= unused;
        self.gate.freed.notify_all();
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        self.shrink(0);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::thread;

    use super::*;

    #[test]
    fn no_more_than_fits_is_held_at_a_time() {
        let (gate, held, most) = (Gate::new(100), AtomicUsize::new(0), AtomicUsize::new(0));
        thread::scope(|scope| {
            for number in 0..8 {
                let (gate, held, most) = (&gate, &held, &most);
                scope.spawn(move || {
                    for _ in 0..200 {
                        let bytes = 30 + number;
                        let mut pass = gate.enter(bytes);
                        most.fetch_max(held.fetch_add(bytes, Ordering::SeqCst) + bytes, Ordering::SeqCst);
                        held.fetch_sub(20, Ordering::SeqCst);
                        pass.shrink(bytes - 20);
                        held.fetch_sub(bytes - 20, Ordering::SeqCst);
                    }
                });
            }
        });
        assert!(most.load(Ordering::SeqCst) <= 100, "{most:?}");
        assert_eq!(*lock(&gate.held), 0);
    }

    #[test]
    fn what_is_too_large_waits_until_it_is_alone() {
        let gate = Gate::new(100);
        drop(gate.enter(1000));
        drop(gate.enter(100));
    }
}
