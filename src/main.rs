//! The `imglint` program: hands its arguments to the library and exits with the code it is given.

fn main() -> std::process::ExitCode {
    imglint::cli::run()
}
