//! What becomes of a panic: one line for people, and an error instead of another exit code.
//!
//! Nothing here panics on purpose, but a dependency may, on input that nobody has thought of.

use std::any::Any;
use std::cell::Cell;
use std::io::Write as _;
use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind, set_hook};
use std::sync::atomic::{AtomicBool, Ordering};

use crate::printable::excerpt;

/// The longest message of a panic that is printed, in characters.
const LONGEST: usize = 300;

thread_local! {
    /// Whether what this thread does reports its panics itself.
    static IS_CAUGHT: Cell<bool> = const { Cell::new(false) };
}

/// Whether a line was printed: the panics that follow are mostly echoes of the first.
static IS_REPORTED: AtomicBool = AtomicBool::new(false);

/// Runs `work` and turns a panic into an error that says what it said.
///
/// # Errors
/// `work` panicked.
pub fn caught<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    struct Before(bool);
    impl Drop for Before {
        fn drop(&mut self) {
            IS_CAUGHT.set(self.0);
        }
    }
    let _before = Before(IS_CAUGHT.replace(true));
    // Whoever gets the error uses nothing that `work` has changed, or only what a lock protects.
    catch_unwind(AssertUnwindSafe(work)).map_err(|panic| excerpt(message(&*panic), LONGEST))
}

/// Has a panic printed as one line on standard error, unless it is [`caught`].
pub fn report_in_one_line() {
    set_hook(Box::new(|panic| {
        if !IS_CAUGHT.get() && !IS_REPORTED.swap(true, Ordering::SeqCst) {
            let _ = writeln!(anstream::stderr(), "imglint: {}", line(panic));
        }
    }));
}

/// Whether a panic was printed.
#[must_use]
pub fn is_one_reported() -> bool {
    IS_REPORTED.load(Ordering::SeqCst)
}

fn line(panic: &PanicHookInfo<'_>) -> String {
    let said = excerpt(message(panic.payload()), LONGEST);
    let place = panic.location().map(|place| format!(" ({}:{})", excerpt(place.file(), LONGEST), place.line()));
    format!("internal error: {said}{}; please report it", place.unwrap_or_default())
}

/// What a panic says.
fn message(payload: &(dyn Any + Send)) -> &str {
    let text = payload.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| payload.downcast_ref::<&str>().copied()).unwrap_or("no reason was given")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_an_error_that_is_safe_to_print() {
        let error = caught(|| panic!("a \x1b[31m{}", "x".repeat(1000))).unwrap_err();
        assert!(error.starts_with("a \\u{1b}[31mxxx") && error.chars().count() == LONGEST, "{error}");
        assert_eq!(caught(|| 7), Ok(7));
        assert_eq!(caught(|| std::panic::panic_any(7)), Err::<(), _>("no reason was given".to_owned()));
    }
}
