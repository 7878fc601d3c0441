//! Tests against real parts that `tests/run` installs, starts or fetches. Without `tests/run` each is left out and says so.

mod engine;
mod loader;
mod recipes;
mod registries;
mod reports;
mod shared_cache;
mod sources;
#[path = "../support/mod.rs"]
mod support;
mod zstd_chunked;
