//! The `imglint` program: hands its arguments to the library and exits with the code it is given.
#![warn(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, clippy::print_stderr)]

fn main() -> std::process::ExitCode {
    imglint::cli::run_guarded()
}
