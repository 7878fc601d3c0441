//! imglint reads a container image without an engine and says whether it works as the image a CI/CD step runs in.
//!
//! Data flows one way through the modules, in the order in which they are declared here; a module names only what
//! stands above it (`tests/offline/architecture.rs` holds that).
//!
//! Words: [`digest`], [`platform`], [`reference`](mod@reference), [`printable`], [`spelling`], [`small_file`], [`toml_file`],
//! [`verdict`]. Panics of others: [`panics`]. Bytes: [`layer`] (one layer's bytes become its index), [`cache`],
//! [`runtime_config`], [`image`] (where the bytes come from).
//! Knowledge: [`rootfs`], [`tables`], [`shell`] (what start-up files do to `PATH`), [`linker`], [`facts`]. Judgement: [`parameters`], [`checks`], [`catalog`], [`lint`]. Running an
//! image: [`engine`]. What a person or a program sees: [`report`], [`cli`].
#![warn(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, clippy::print_stderr)]

pub mod digest;
pub mod platform;
pub mod printable;
pub mod reference;
pub mod spelling;
mod tls;
pub mod verdict;

pub mod panics;

pub mod small_file;

pub mod toml_file;

pub mod layer;

pub mod cache;

pub mod runtime_config;

pub mod image;

pub mod rootfs;

pub mod tables;

pub mod shell;

pub mod linker;

pub mod facts;

pub mod parameters;

pub mod checks;

pub mod catalog;

pub mod lint;

pub mod engine;

pub mod report;

pub mod config;

pub mod mentions;

pub mod cli;
