//! Tests that need a container engine. The agreement tests compare what imglint reads in images with what really runs;
//! they print the comparisons (`-- --nocapture`).

mod cache;
mod corpus;
mod dotnet;
mod engines;
mod environment;
mod hosting;
mod linker;
mod python;
mod reading;
mod releases;
mod run_forms;
mod run_hostile;
mod run_owner;
mod run_path;
mod run_safety;
mod run_trouble;
mod run_verdict;
mod runs;
mod shell_files;
mod shells;
mod sources;
mod starts;
mod tool_corpus;
mod tools;
mod unpacking;
mod variants;
