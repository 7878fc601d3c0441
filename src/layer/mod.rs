//! One layer's bytes become its index: which files there are, what the few wanted ones hold, and what ELF files need.
//!
//! An index is a pure function of the layer's uncompressed bytes, so it can be kept by DiffID. It is made in one pass
//! ([`scan`]) and nothing is written to disk.

pub mod allowance;
mod bounded_json;
pub mod bundle;
mod capture;
pub mod decompress;
pub mod elf;
mod exec_header;
mod gzip;
pub mod hive;
mod index;
pub mod libc_mark;
pub mod packages;
pub mod path;
mod pe;
mod replay;
mod scan;
pub mod tar;
pub mod toc;
pub mod unpacked;
mod wanted;
mod zstd_frames;

pub use elf::ElfSummary;
pub use exec_header::NotStarted;
pub use index::{
    Child, Detail, EntryRef, Extent, FileCapabilities, HardLink, IndexBuilder, Kind, LayerIndex, NewEntry, TooLarge,
};
pub use libc_mark::LibcMark;
pub use pe::{PeForm, PeSummary};
pub use scan::{FileScanner, scan, scan_until};
pub use tar::Error;
pub use toc::TocHint;
