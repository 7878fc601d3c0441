//! Words that an image cannot guess: they mark what imglint's own programs and scripts print.

use std::io;

/// A random word of 32 hexadecimal digits.
///
/// # Errors
/// The operating system gives no random bytes.
pub(super) fn word() -> io::Result<String> {
    Ok(bytes()?.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Random bytes.
pub(super) fn bytes() -> io::Result<[u8; 16]> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|error| io::Error::other(error.to_string()))?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_words_are_the_same() {
        let (one, other) = (word().unwrap(), word().unwrap());
        assert_eq!((one.len(), other.len()), (32, 32));
        assert_ne!(one, other);
    }
}
