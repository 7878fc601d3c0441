//! Bounds the memory of a run: what indexes take while they are made or decoded and for as long as they are used, and what
//! layers take while they are read.
//!
//! A layer, or a kept index of one, comes from others, and a few bytes there can stand for many here. serde gives a decoder
//! no place for a limit of its own, so the limit belongs to the thread that works.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

/// How much a decoder draws from its budget at a time, in bytes.
const STEP: usize = 64 << 10;
/// The allowance of a thread that has no budget.
const UNLIMITED: usize = usize::MAX;

/// What the indexes of all layers that are read at a time may take, in bytes: those of the largest real images take half of
/// it.
pub const INDEXES: usize = 96 << 20;
/// What reading one layer takes at most, but for its index and the window of its decoder, in bytes: what is looked into is
/// kept till its end has come.
const READING: usize = 24 << 20;
/// The largest window of a decoder, in bytes: engines take no larger one either.
pub const LARGEST_WINDOW: usize = 64 << 20;
/// What all layers that are read at a time may take of these, in bytes.
const WORKING: usize = READING + LARGEST_WINDOW + (8 << 20);

/// Memory that is shared.
#[derive(Debug)]
pub struct Budget {
    left: AtomicUsize,
}

impl Budget {
    /// A budget of so many bytes.
    #[must_use]
    pub fn new(bytes: usize) -> Arc<Self> {
        Arc::new(Self { left: AtomicUsize::new(bytes) })
    }

    /// How many bytes nobody has drawn.
    #[must_use]
    pub fn left(&self) -> usize {
        self.left.load(Ordering::Relaxed)
    }

    fn draw(&self, bytes: usize) -> bool {
        let take = |left: usize| left.checked_sub(bytes);
        self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok()
    }
}

/// Memory that was drawn from a budget. It goes back when this is dropped.
pub struct Drawn {
    budget: Arc<Budget>,
    bytes: usize,
}

impl Drawn {
    /// How many bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

impl fmt::Debug for Drawn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.bytes)
    }
}

impl Drop for Drawn {
    fn drop(&mut self) {
        self.budget.left.fetch_add(self.bytes, Ordering::Relaxed);
    }
}

/// The allowance that a value occupies. It is no part of the value: all are equal.
#[derive(Clone, Debug, Default)]
pub(super) struct Occupied(Vec<Arc<Drawn>>);

impl Occupied {
    pub(super) fn add(&mut self, drawn: Drawn) {
        self.0.push(Arc::new(drawn));
    }
}

impl PartialEq for Occupied {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Occupied {}

thread_local! {
    /// What this thread may still take of what it has drawn.
    static LEFT: Cell<usize> = const { Cell::new(UNLIMITED) };
    static DRAWN: RefCell<Option<Drawn>> = const { RefCell::new(None) };
}

/// The memory that `take` was asked for is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("what has to be known of its files takes more memory than imglint allows itself ({} MiB)", INDEXES >> 20)]
pub struct UsedUp;

/// Runs `work`, which may [`take`] as much as is left in the budget. Returns its result and what it took.
pub fn within<T>(budget: &Arc<Budget>, work: impl FnOnce() -> T) -> (T, Drawn) {
    /// Puts the thread's own allowance back, also if `work` panics.
    struct Before(usize, Option<Drawn>);
    impl Drop for Before {
        fn drop(&mut self) {
            LEFT.set(self.0);
            DRAWN.replace(self.1.take());
        }
    }
    let mine = Drawn { budget: Arc::clone(budget), bytes: 0 };
    let _before = Before(LEFT.replace(0), DRAWN.replace(Some(mine)));
    let result = work();
    let unused = LEFT.replace(0);
    let mut drawn = DRAWN.take().unwrap_or(Drawn { budget: Arc::clone(budget), bytes: 0 });
    let unused = unused.min(drawn.bytes);
    drawn.bytes -= unused;
    budget.left.fetch_add(unused, Ordering::Relaxed);
    (result, drawn)
}

/// Takes memory from the allowance of this thread, in bytes. Without a budget there is no limit.
///
/// # Errors
/// The budget has not so much left.
pub fn take(bytes: usize) -> Result<(), UsedUp> {
    let left = LEFT.get();
    if left == UNLIMITED {
        return Ok(());
    }
    if bytes > left {
        let more = (bytes - left).max(STEP);
        let is_drawn = DRAWN.with_borrow_mut(|drawn| match drawn {
            Some(drawn) if drawn.budget.draw(more) => {
                drawn.bytes += more;
                true
            }
            _ => false,
        });
        if !is_drawn {
            return Err(UsedUp);
        }
        LEFT.set(left + more - bytes);
    } else {
        LEFT.set(left - bytes);
    }
    Ok(())
}

/// How much this thread may take, as long as no other takes of the same budget.
pub(super) fn left() -> usize {
    match LEFT.get() {
        UNLIMITED => UNLIMITED - 1,
        left => left + DRAWN.with_borrow(|drawn| drawn.as_ref().map_or(0, |drawn| drawn.budget.left())),
    }
}

/// What the layers that are being read take besides their indexes.
static TAKEN: Mutex<usize> = Mutex::new(0);
static GIVEN_BACK: Condvar = Condvar::new();

/// Leave to read a layer. It ends when this is dropped.
#[derive(Debug)]
pub struct Working(usize);

impl Working {
    /// Waits until a layer can be read without taking too much memory. A waiting reader holds nothing that others wait for.
    #[must_use]
    pub fn begin() -> Self {
        Self::wait_for(READING)
    }

    /// For what is read inside of something that is being read: it does not wait, as the other would wait for it.
    #[must_use]
    pub fn within() -> Self {
        Self(usize::MAX)
    }

    /// Waits for the window of a decoder, too, of at most [`LARGEST_WINDOW`] bytes.
    pub fn with_window(&mut self, bytes: usize) {
        let wanted = READING + bytes.min(LARGEST_WINDOW);
        if wanted > self.0 {
            // Two that hold something and wait for more would wait for each other.
            self.give_back();
            let mut other = Self::wait_for(wanted);
            self.0 = std::mem::take(&mut other.0);
        }
    }

    fn wait_for(bytes: usize) -> Self {
        let taken = TAKEN.lock().unwrap_or_else(PoisonError::into_inner);
        let mut taken =
            GIVEN_BACK.wait_while(taken, |taken| *taken + bytes > WORKING).unwrap_or_else(PoisonError::into_inner);
        *taken += bytes;
        Self(bytes)
    }

    fn give_back(&mut self) {
        let bytes = std::mem::take(&mut self.0);
        if bytes == usize::MAX {
            return;
        }
        *TAKEN.lock().unwrap_or_else(PoisonError::into_inner) -= bytes;
        GIVEN_BACK.notify_all();
    }
}

impl Drop for Working {
    fn drop(&mut self) {
        self.give_back();
    }
}

/// Gives back what was taken for something that is not kept.
pub(super) fn give_back(bytes: usize) {
    let left = LEFT.get();
    if left != UNLIMITED {
        LEFT.set(left.saturating_add(bytes).min(UNLIMITED - 1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_is_missing_until_it_is_dropped() {
        let budget = Budget::new(1 << 20);
        let (result, drawn) = within(&budget, || take(1000).and_then(|()| take(500_000)));
        assert_eq!((result, drawn.bytes(), budget.left()), (Ok(()), 501_000, (1 << 20) - 501_000));
        let (result, second) = within(&budget, || take(600_000));
        assert_eq!((result, second.bytes()), (Err(UsedUp), 0));
        drop((drawn, second));
        assert_eq!(budget.left(), 1 << 20);
    }

    #[test]
    fn outside_of_a_budget_there_is_no_limit() {
        assert_eq!(take(usize::MAX - 1), Ok(()));
        let budget = Budget::new(10);
        let (inner, _) = within(&budget, || take(11));
        assert_eq!((inner, take(usize::MAX - 1)), (Err(UsedUp), Ok(())));
    }

    #[test]
    fn layers_with_large_windows_are_read_one_after_the_other() {
        let mut first = Working::begin();
        first.with_window(LARGEST_WINDOW);
        let second = std::thread::spawn(|| {
            let mut second = Working::begin();
            second.with_window(usize::MAX);
            second.0
        });
        drop(first);
        assert_eq!(second.join().unwrap(), READING + LARGEST_WINDOW);
    }

    #[test]
    fn a_panic_gives_everything_back() {
        let budget = Budget::new(1 << 20);
        let work = std::panic::AssertUnwindSafe(|| within(&budget, || take(1000).map(|()| panic!("on purpose"))));
        assert!(std::panic::catch_unwind(work).is_err());
        assert_eq!((budget.left(), take(usize::MAX - 1)), (1 << 20, Ok(())));
    }
}
