//! The one error of this module: what went wrong with which image, file, layer or field, and of what kind it is.

use std::io;

use crate::printable::printable;

/// Why an image could not be had or read. Its text is one line that names what it is about and is safe to print.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    kind: ErrorKind,
    message: String,
}

/// What callers tell errors apart by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// There is no such image, file or platform.
    NotFound,
    /// The registry or the file system does not let us.
    Denied,
    /// Nobody answers there, or answers no longer.
    Unreachable,
    /// It is there, but not what its format or its digest says it should be.
    Broken,
    /// It is sound, but not something imglint reads.
    Unsupported,
    /// It takes more memory than the run has left for it.
    TooMuch,
}

impl Error {
    /// An error of the given kind. Control characters in `message` are made harmless.
    #[must_use]
    pub fn new(kind: ErrorKind, message: impl AsRef<str>) -> Self {
        Self { kind, message: printable(message.as_ref()).into_owned() }
    }

    /// No such image, file or platform.
    #[must_use]
    pub fn not_found(message: impl AsRef<str>) -> Self {
        Self::new(ErrorKind::NotFound, message)
    }

    /// Not what its format or digest says it should be.
    #[must_use]
    pub fn broken(message: impl AsRef<str>) -> Self {
        Self::new(ErrorKind::Broken, message)
    }

    /// What an I/O error on `what` means. An [`Error`] that travelled inside the `io::Error` comes out again.
    #[must_use]
    pub fn from_io(what: &str, error: io::Error) -> Self {
        let kind = match error.kind() {
            io::ErrorKind::NotFound => ErrorKind::NotFound,
            io::ErrorKind::PermissionDenied => ErrorKind::Denied,
            io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput => {
                ErrorKind::Broken
            }
            _ => ErrorKind::Unreachable,
        };
        match error.downcast::<Self>() {
            Ok(own) => own,
            Err(error) => Self::new(kind, format!("{what}: {error}")),
        }
    }

    /// What kind of error it is.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }
}

impl From<Error> for io::Error {
    /// Lets an [`Error`] travel through `Read`; [`Error::from_io`] takes it out again.
    fn from(error: Error) -> Self {
        Self::other(error)
    }
}
