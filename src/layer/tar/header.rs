//! One header block of a tar, read as Go's archive/tar reads it (format.go, reader.go, strconv.go): container engines are
//! written in Go, so that reader says what a layer holds.

/// The size of a block, in bytes.
pub(super) const BLOCK: usize = 512;

/// A block as it stands in the tar.
pub(super) type Block = [u8; BLOCK];

/// What is wrong with a header: the end of a sentence.
pub(super) type Wrong = &'static str;

/// The forms of header that fields depend on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    V7,
    Ustar,
    Star,
    Gnu,
}

/// What a header says. Names are as written, without the NUL that ends them.
#[derive(Clone, Debug)]
pub(super) struct Header {
    pub format: Format,
    pub kind: u8,
    pub name: Vec<u8>,
    pub link: Vec<u8>,
    pub mode: i64,
    pub uid: i64,
    pub gid: i64,
    pub size: i64,
    /// Major and minor number of a device.
    pub device: (i64, i64),
}

impl Header {
    /// Reads a block that is not all zeros.
    ///
    /// # Errors
    /// It is no header, or a number in it is none.
    pub(super) fn parse(block: &Block) -> Result<Self, Wrong> {
        let format = format(block)?;
        let mut header = Self {
            format,
            kind: block[156],
            name: text(&block[..100]).to_vec(),
            link: text(&block[157..257]).to_vec(),
            mode: number(&block[100..108])?,
            uid: number(&block[108..116])?,
            gid: number(&block[116..124])?,
            size: number(&block[124..136])?,
            device: (0, 0),
        };
        number(&block[136..148])?;
        if format != Format::V7 {
            header.device = (number(&block[329..337])?, number(&block[337..345])?);
        }
        let prefix = match format {
            Format::V7 => &[][..],
            Format::Ustar => text(&block[345..500]),
            Format::Star => {
                number(&block[476..488])?;
                number(&block[488..500])?;
                text(&block[345..476])
            }
            Format::Gnu => old_prefix(block),
        };
        if !prefix.is_empty() {
            header.name = [prefix, b"/", &header.name].concat();
        }
        Ok(header)
    }
}

/// Of GNU's format: Go before 1.8 wrote a prefix where the times of access and change stand. It is one if these are no
/// numbers (golang/go#12594, #21005).
fn old_prefix(block: &Block) -> &[u8] {
    let is_time = |field: &[u8]| field[0] == 0 || number(field).is_ok();
    if is_time(&block[345..357]) && is_time(&block[357..369]) {
        return &[];
    }
    Some(text(&block[345..500])).filter(|prefix| prefix.is_ascii()).unwrap_or_default()
}

/// Checks the sum, of unsigned bytes or, as Sun's tar wrote it, of signed ones.
fn format(block: &Block) -> Result<Format, Wrong> {
    let (mut unsigned, mut signed) = (0_i64, 0_i64);
    for (at, &byte) in block.iter().enumerate() {
        let byte = if (148..156).contains(&at) { b' ' } else { byte };
        unsigned += i64::from(byte);
        signed += i64::from(byte.cast_signed());
    }
    let written = octal(&block[148..156]).map_err(|_| "the checksum of a header is no number")?;
    if written != unsigned && written != signed {
        return Err("the checksum of a header is wrong");
    }
    let (magic, version, trailer) = (&block[257..263], &block[263..265], &block[508..512]);
    Ok(match (magic, version, trailer) {
        (b"ustar\0", _, b"tar\0") => Format::Star,
        (b"ustar\0", ..) => Format::Ustar,
        (b"ustar ", b" \0", _) => Format::Gnu,
        _ => Format::V7,
    })
}

/// The bytes before the first NUL.
pub(super) fn text(field: &[u8]) -> &[u8] {
    &field[..memchr::memchr(0, field).unwrap_or(field.len())]
}

/// A number in octal digits, or in base 256 if the first bit is set.
pub(super) fn number(field: &[u8]) -> Result<i64, Wrong> {
    match field.first() {
        Some(first) if first & 0x80 != 0 => base_256(field),
        _ => octal(field),
    }
}

fn base_256(field: &[u8]) -> Result<i64, Wrong> {
    let inverted = if field[0] & 0x40 == 0 { 0 } else { 0xff };
    let mut value = 0_u64;
    for (at, &byte) in field.iter().enumerate() {
        let byte = (byte ^ inverted) & if at == 0 { 0x7f } else { 0xff };
        if value >> 56 > 0 {
            return Err("a number in a header is too large");
        }
        value = value << 8 | u64::from(byte);
    }
    let value = i64::try_from(value).map_err(|_| "a number in a header is too large")?;
    Ok(if inverted == 0 { value } else { !value })
}

fn octal(field: &[u8]) -> Result<i64, Wrong> {
    const WRONG: Wrong = "a field of a header is no number";
    let is_padding = |byte: &u8| matches!(byte, b' ' | 0);
    let Some(start) = field.iter().position(|byte| !is_padding(byte)) else { return Ok(0) };
    let end = field.iter().rposition(|byte| !is_padding(byte)).unwrap_or(start);
    let mut value = 0_u64;
    for byte in text(&field[start..=end]) {
        if !matches!(byte, b'0'..=b'7') || value >> 61 > 0 {
            return Err(WRONG);
        }
        value = value << 3 | u64::from(byte - b'0');
    }
    // As Go has it: the largest ones become negative.
    Ok(value.cast_signed())
}

/// A decimal number as Go's `strconv.ParseInt` reads it.
pub(super) fn decimal(text: &[u8]) -> Option<i64> {
    // Both take one sign, and digits only.
    std::str::from_utf8(text).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_octal_or_base_256() {
        assert_eq!(number(b"0000644\0"), Ok(0o644));
        assert_eq!(number(b"  644 \0\0"), Ok(0o644));
        assert_eq!(number(b"\0\0\0\0"), Ok(0));
        assert_eq!(number(b"644\x00junk"), Ok(0o644), "what follows a NUL does not count");
        assert_eq!(number(b"\x80\0\0\0\0\0\x02\x01"), Ok(513));
        assert_eq!(number(b"\xff\xff\xff\xff\xff\xff\xff\xfe"), Ok(-2));
        for wrong in [&b"garbage\0"[..], b"0648", b"-1", b"+1", b"\x80\xff\xff\xff\xff\xff\xff\xff\xff\xff"] {
            assert!(number(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn decimals_are_those_of_go() {
        assert_eq!((decimal(b"+12"), decimal(b"-3"), decimal(b"0007")), (Some(12), Some(-3), Some(7)));
        for wrong in [&b""[..], b" 1", b"1 ", b"1.0", b"1_0", b"0x1", b"9223372036854775808", b"\xff"] {
            assert_eq!(decimal(wrong), None, "{wrong:?}");
        }
    }
}
