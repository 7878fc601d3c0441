//! Tests that need nothing but this machine: no engine, no registry, nothing installed or fetched.

mod advice;
mod architecture;
mod cache;
mod cli;
mod docs;
mod documents;
mod engines;
mod environment;
mod errors;
mod facts;
mod gate;
mod hostile;
mod hostile_caches;
mod hostile_documents;
mod hostile_repository;
#[cfg(feature = "shared-cache")]
mod hostile_stores;
mod indexes;
mod layers;
mod lazy;
mod libc;
mod linker;
#[cfg(all(feature = "run", target_os = "linux"))]
mod lying_engine;
#[cfg(target_os = "linux")]
mod memory;
mod programs;
#[cfg(unix)]
mod recipes;
mod refusals;
mod registry;
mod rules;
mod shared_images;
mod stacks;
mod steps;
#[path = "../support/mod.rs"]
mod support;
mod windows;
mod windows_documents;
mod windows_fetch;
mod windows_layers;
mod windows_programs;
