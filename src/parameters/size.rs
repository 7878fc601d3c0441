//! Sizes in bytes as people write them, and back.

/// A text that is not a size.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a size: expected a number and a unit, such as 2GiB, 500MB or 1073741824")]
pub struct NotASize(String);

/// The units, longest first so that `GiB` is not taken for `B`. A unit alone (`2G`) is binary, as in `docker run -m`.
const UNITS: &[(&str, u64)] = &[
    ("kib", 1 << 10),
    ("mib", 1 << 20),
    ("gib", 1 << 30),
    ("tib", 1 << 40),
    ("kb", 1_000),
    ("mb", 1_000_000),
    ("gb", 1_000_000_000),
    ("tb", 1_000_000_000_000),
    ("k", 1 << 10),
    ("m", 1 << 20),
    ("g", 1 << 30),
    ("t", 1 << 40),
    ("b", 1),
    ("", 1),
];

/// Reads a size such as `2GiB`, `1.5 GB` or `1073741824` into bytes.
///
/// # Errors
/// There is no number, the unit is unknown, or it is more than 2⁶⁴ bytes.
pub fn parse(text: &str) -> Result<u64, NotASize> {
    let wrong = || NotASize(text.to_owned());
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let unit = unit.trim().to_ascii_lowercase();
    let (_, factor) = UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(wrong)?;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let whole: u64 = whole.parse().map_err(|_| wrong())?;
    let bytes = whole.checked_mul(*factor).ok_or_else(wrong)?;
    bytes.checked_add(part_of(*factor, fraction).ok_or_else(wrong)?).ok_or_else(wrong)
}

/// `0.fraction` of `factor`, to the byte for what people write.
fn part_of(factor: u64, fraction: &str) -> Option<u64> {
    let kept = fraction.get(..fraction.len().min(6))?;
    if kept.is_empty() {
        return Some(0);
    }
    let digits = u32::try_from(kept.len()).ok()?;
    let part = u128::from(kept.parse::<u64>().ok()?) * u128::from(factor) / u128::from(10_u64.pow(digits));
    u64::try_from(part).ok()
}

/// Writes a size for people: `2.4 GiB`, `312 MiB`, `17 bytes`.
#[must_use]
pub fn display(bytes: u64) -> String {
    let units = [("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)];
    match units.iter().find(|(_, shift)| bytes >> shift > 0) {
        Some((unit, shift)) => {
            let tenths = (u128::from(bytes) * 10) >> shift;
            match (tenths / 10, tenths % 10) {
                (whole, tenth) if whole < 100 && tenth > 0 => format!("{whole}.{tenth} {unit}"),
                (whole, _) => format!("{whole} {unit}"),
            }
        }
        None => format!("{bytes} bytes"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_s_sizes_are_read() {
        assert_eq!(parse("2GiB").unwrap(), 2 << 30);
        assert_eq!(parse("1.5 GB").unwrap(), 1_500_000_000);
        assert_eq!(parse("2g").unwrap(), 2 << 30);
        assert_eq!(parse("17").unwrap(), 17);
        for text in ["", "GiB", "2 parsecs", "-1", "1.2.3", "99999999999 TiB"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn sizes_are_written_short() {
        assert_eq!(display(17), "17 bytes");
        assert_eq!(display((2 << 30) + (410 << 20)), "2.4 GiB");
        assert_eq!(display(312 << 20), "312 MiB");
        assert_eq!(display(2 << 30), "2 GiB");
    }
}
