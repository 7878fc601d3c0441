//! What is under way, on a terminal: a line an image with layers, bytes and rate. Never in logs.

use std::io::IsTerminal;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use super::args::SourceArguments;
use crate::image::read::Progress;
use crate::image::{Image, Layer};
use crate::printable::excerpt;

/// The lines that are shown; nothing where none are.
static LINES: OnceLock<MultiProgress> = OnceLock::new();
/// What is known at first, and once there are bytes to count.
const WAITING: &str = "{spinner} {prefix} {msg}";
pub(super) const READING: &str = "{spinner} {prefix} {msg}  {bytes}/{total_bytes}  {binary_bytes_per_sec}";
/// The longest name that is shown, in characters.
const LONGEST_NAME: usize = 60;

/// Has lines shown from now on, if there is somebody to see them.
pub(super) fn show(arguments: &SourceArguments, quiet: bool) {
    if !arguments.no_progress && !quiet && std::io::stderr().is_terminal() && std::env::var_os("CI").is_none() {
        LINES.get_or_init(MultiProgress::new);
    }
}

/// Takes all lines away.
pub(super) fn clear() {
    if let Some(lines) = LINES.get() {
        let _ = lines.clear();
    }
}

pub(super) fn line(prefix: &str, name: &str) -> ProgressBar {
    let Some(lines) = LINES.get() else { return ProgressBar::hidden() };
    let bar = lines.add(ProgressBar::new_spinner());
    bar.set_style(style(WAITING));
    bar.set_prefix(format!("{prefix} {}", excerpt(name, LONGEST_NAME)));
    bar.enable_steady_tick(Duration::from_millis(120));
    bar
}

pub(super) fn style(template: &str) -> ProgressStyle {
    // The templates are fixed, and right.
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_spinner())
}

/// The line of an image that is read, gone when it is dropped.
pub(super) struct Reading {
    bar: ProgressBar,
    layers: AtomicUsize,
    done: AtomicUsize,
    known: AtomicU64,
}

impl Reading {
    pub(super) fn of(name: &str) -> Self {
        let bar = line("reading", name);
        Self { bar, layers: AtomicUsize::new(0), done: AtomicUsize::new(0), known: AtomicU64::new(0) }
    }

    /// What there is to read of it.
    pub(super) fn begins(&self, image: &Image) {
        self.layers.fetch_add(image.layers.len(), Ordering::Relaxed);
        let known = self.known.fetch_add(image.stored_bytes(), Ordering::Relaxed) + image.stored_bytes();
        self.bar.set_length(known);
        self.bar.set_style(style(READING));
        self.tell();
    }

    fn tell(&self) {
        let (done, layers) = (self.done.load(Ordering::Relaxed), self.layers.load(Ordering::Relaxed));
        self.bar.set_message(format!("layer {done}/{layers}"));
    }
}

impl Progress for Reading {
    fn bytes(&self, count: u64) {
        self.bar.inc(count);
    }

    fn layer_ends(&self, _: &Layer) {
        self.done.fetch_add(1, Ordering::Relaxed);
        self.tell();
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
