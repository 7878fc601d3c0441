//! The line on a terminal about the image that is run.

use std::sync::{Mutex, PoisonError};

use indicatif::ProgressBar;

use super::progress::{READING, line, style};

/// The line of the image that is run; only one is at a time.
static RUNNING: Mutex<Option<ProgressBar>> = Mutex::new(None);

/// The line of the image that is run, gone when it is dropped.
pub(super) struct Running;

impl Running {
    pub(super) fn of(name: &str) -> Self {
        *RUNNING.lock().unwrap_or_else(PoisonError::into_inner) = Some(line("running", name));
        Self
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(bar) = RUNNING.lock().unwrap_or_else(PoisonError::into_inner).take() {
            bar.finish_and_clear();
        }
    }
}

/// How far the engine has fetched the image that is run, in bytes.
pub(super) fn fetched(done: u64, of: u64) {
    if let Some(bar) = RUNNING.lock().unwrap_or_else(PoisonError::into_inner).as_ref() {
        bar.set_message("the engine fetches it");
        bar.set_style(style(READING));
        bar.set_length(of);
        bar.set_position(done);
    }
}
