//! What is read agrees with what runs: for each image of two corpora, what imglint says is what a real engine shows.
//! Prints the comparisons (`-- --nocapture`).
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test may fail this way"
)]

mod corpus;
mod dotnet;
mod engines;
mod linker;
mod releases;
mod run_forms;
mod run_path;
mod run_safety;
mod run_trouble;
mod runs;
mod shell_files;
mod shells;
#[path = "../support/mod.rs"]
mod support;
mod tool_corpus;
mod tools;
