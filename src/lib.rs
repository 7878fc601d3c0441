//! imglint reads a container image without an engine and says whether it works as the image a CI/CD step runs in.
//!
//! Data flows one way through the modules, in the order in which they are declared here; a module names only what
//! stands above it (`tests/architecture.rs` holds that).
//!
//! Words: [`digest`], [`platform`], [`reference`], [`printable`], [`verdict`]. Bytes: [`layer`] (one layer's bytes
//! become its index), [`image`] (where the bytes come from). Knowledge: [`rootfs`], [`facts`]. Judgement: [`tables`],
//! [`catalog`], [`checks`], [`lint`]. What a person or a program sees: [`report`], [`cli`].

pub mod digest;
pub mod platform;
pub mod printable;
pub mod reference;
pub mod verdict;

pub mod layer;

pub mod image;

pub mod rootfs;

pub mod facts;

pub mod tables;

pub mod catalog;

pub mod checks;

pub mod lint;

pub mod report;

pub mod cli;
