//! A set of names that takes little space: of each only a part of its hash is kept.

use std::fmt;

use serde::de::{Error as _, SeqAccess, Visitor};
use serde::ser::SerializeTuple;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::layer::allowance;

/// How many bits of a hash tell a name from those next to it: one name in 256 that is not in a set seems to be.
const BITS: u32 = 8;
/// The most names of one set.
pub(super) const MOST_NAMES: usize = 1 << 20;

/// A set of names. One that is in it is always found; one that is not is rarely found, too.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NameSet {
    /// Sorted; below the number of names times 2^8.
    hashes: Vec<u32>,
}

impl NameSet {
    /// The set of these names.
    pub fn new<'n>(names: impl Iterator<Item = &'n [u8]>) -> Self {
        let mut hashes: Vec<u32> = names.take(MOST_NAMES).map(hash).collect();
        hashes.sort_unstable();
        hashes.dedup();
        let count = hashes.len();
        hashes.iter_mut().for_each(|hash| *hash = reduced(*hash, count));
        Self { hashes }
    }

    /// Whether a name is in it. A no is certain.
    #[must_use]
    pub fn may_have(&self, name: &str) -> bool {
        let wanted = reduced(hash(name.as_bytes()), self.hashes.len());
        self.hashes.binary_search(&wanted).is_ok()
    }

    /// How many names there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.hashes.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.hashes.is_empty()
    }

    /// The differences from each hash to the next as Rice codes: the upper part as ones and a zero, then the lower bits.
    fn packed(&self) -> Vec<u8> {
        let mut bits = Bits::default();
        let mut before = 0;
        for hash in &self.hashes {
            let step = hash - before;
            (0..step >> BITS).for_each(|_| bits.push(true));
            bits.push(false);
            (0..BITS).rev().for_each(|bit| bits.push(step >> bit & 1 == 1));
            before = *hash;
        }
        bits.bytes
    }

    /// The set of so many names from their codes; nothing if they are not such.
    fn unpacked(count: usize, bytes: &[u8]) -> Option<Self> {
        // Each takes more than a byte.
        let mut hashes = Vec::with_capacity(count.min(bytes.len()));
        let mut bits = bytes.iter().flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1 == 1));
        let mut before = 0_u32;
        for _ in 0..count {
            let upper = u32::try_from(bits.by_ref().position(|bit| !bit)?).ok()?;
            let mut lower = 0;
            for _ in 0..BITS {
                lower = lower << 1 | u32::from(bits.next()?);
            }
            before = upper.checked_mul(1 << BITS)?.checked_add(lower)?.checked_add(before)?;
            hashes.push(before);
        }
        Some(Self { hashes })
    }
}

/// A hash in the range of a set.
fn reduced(hash: u32, count: usize) -> u32 {
    // There are at most 2^20 names, so this is below 2^28.
    ((u64::from(hash) * (count as u64)) >> (32 - BITS)) as u32
}

/// FNV-1a, its bits mixed as MurmurHash3 does at its end.
fn hash(name: &[u8]) -> u32 {
    let mut hash = name.iter().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193));
    hash = (hash ^ (hash >> 16)).wrapping_mul(0x85eb_ca6b);
    hash = (hash ^ (hash >> 13)).wrapping_mul(0xc2b2_ae35);
    hash ^ (hash >> 16)
}

#[derive(Default)]
struct Bits {
    bytes: Vec<u8>,
    used: u32,
}

impl Bits {
    fn push(&mut self, bit: bool) {
        if self.used.is_multiple_of(8) {
            self.bytes.push(0);
        }
        if let Some(last) = self.bytes.last_mut() {
            *last |= u8::from(bit) << (7 - self.used % 8);
        }
        self.used = (self.used + 1) % 8;
    }
}

struct Packed<'b>(&'b [u8]);

impl Serialize for Packed<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.0)
    }
}

impl Serialize for NameSet {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut tuple = serializer.serialize_tuple(2)?;
        tuple.serialize_element(&(self.len() as u32))?;
        tuple.serialize_element(&Packed(&self.packed()))?;
        tuple.end()
    }
}

impl<'de> Deserialize<'de> for NameSet {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_tuple(2, SetVisitor)
    }
}

struct SetVisitor;

impl<'de> Visitor<'de> for SetVisitor {
    type Value = NameSet;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a set of names")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut parts: A) -> Result<NameSet, A::Error> {
        let bad = || A::Error::custom("not a set of names");
        let count: u32 = parts.next_element()?.ok_or_else(bad)?;
        let bytes: &'de [u8] = parts.next_element()?.ok_or_else(bad)?;
        if count as usize > MOST_NAMES {
            return Err(bad());
        }
        allowance::take((count as usize).min(bytes.len()) * size_of::<u32>()).map_err(A::Error::custom)?;
        NameSet::unpacked(count as usize, bytes).ok_or_else(bad)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(count: usize) -> Vec<String> {
        (0..count).map(|number| format!("_ZN{number}name{}", number * 7)).collect()
    }

    #[test]
    fn a_set_has_its_names_and_hardly_any_others_and_is_read_as_it_was_written() {
        for count in [0, 1, 2, 3000, 70_000] {
            let names = names(count);
            let set = NameSet::new(names.iter().map(String::as_bytes));
            assert!(names.iter().all(|name| set.may_have(name)));
            let others = (0..10_000).filter(|number| set.may_have(&format!("other{number}"))).count();
            assert!(others < 80, "{others} of {count}");
            let bytes = postcard::to_stdvec(&set).unwrap();
            assert!(bytes.len() <= count * 5 / 4 + 8, "{} bytes for {count}", bytes.len());
            assert_eq!(postcard::from_bytes::<NameSet>(&bytes).unwrap(), set);
        }
    }

    #[test]
    fn few_bytes_do_not_become_many_names() {
        let forged = postcard::to_stdvec(&(u32::MAX, Vec::<u8>::new())).unwrap();
        assert!(postcard::from_bytes::<NameSet>(&forged).is_err());
        assert!(NameSet::unpacked(2, &[0xff; 100]).is_none());
    }
}
