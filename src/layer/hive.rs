//! Windows registry hives: the few keys that facts are about, read in bounded time whatever a hive claims.
//!
//! The crate `regf` parses the records; the walk is our own. Its own reader holds the whole hive three times in memory
//! and visits every value of it first, which a hive of a megabyte can make take minutes.

use regf::{BigData, KeyNode, KeyValue, SubkeysList};
use serde::{Deserialize, Serialize};

/// The largest hive that is looked into, in bytes. System hives of Server Core have about 12 MB.
pub(super) const LARGEST_HIVE: u64 = 24 << 20;
/// The keys that facts are about. `*` at the end of a name stands for anything.
const KEYS: [&[&str]; 6] = [
    &["Select"],
    &["ControlSet*", "Control", "Session Manager", "Environment"],
    &["Environment"],
    &["Microsoft", "Windows NT", "CurrentVersion"],
    &["Microsoft", "NET Framework Setup", "NDP", "v4", "Full"],
    &["Microsoft", "VisualStudio", "14.0", "VC", "Runtimes", "X64"],
];
/// The values that are kept of all keys but `Environment`, of which all are.
const VALUES: [&str; 9] = [
    "Current",
    "CurrentBuild",
    "CurrentBuildNumber",
    "UBR",
    "InstallationType",
    "EditionID",
    "Release",
    "Version",
    "Installed",
];
/// The most records that are looked at in one hive. A real key has a few thousand keys below it.
const MOST_RECORDS: usize = 200_000;
/// The longest text that is kept, in bytes of UTF-16 (an environment variable has at most 32,767 characters).
const LONGEST_TEXT: u32 = 65_536;
/// The most bytes of text that are kept of one hive.
const MOST_TEXT: usize = 1 << 20;
/// Where the first hive bin starts (regf specification, "Base block").
const BINS: usize = 4096;
/// The largest value that is one cell, and the size of the parts of larger ones (regf specification, "Big data").
const LARGEST_CELL: u32 = 16_344;
/// The flag of a value that hides the one of the layers below (regf specification, "Key value", layered keys).
const VALUE_TOMBSTONE: u16 = 2;

/// What is kept of a hive.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HiveSummary {
    /// The keys of interest that are there, and the keys above them.
    pub keys: Vec<HiveKey>,
    /// Why it could not be read, or not to its end: the end of a sentence.
    pub trouble: Option<String>,
}

/// A registry key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HiveKey {
    /// Its path below the hive's root, with backslashes, as written.
    pub path: String,
    /// What it does to the same key of the layers below.
    pub layering: Layering,
    /// The values that are kept.
    pub values: Vec<HiveValue>,
}

/// What a key of a delta hive does to the key below it (regf specification, "Key node", layered keys).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Layering {
    /// Both are one.
    Merge,
    /// The lower one is gone, with all below it.
    Tombstone,
    /// The lower one's values are gone.
    SupersedeLocal,
    /// The lower one is replaced, with all below it.
    SupersedeTree,
}

/// A value of a key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HiveValue {
    /// Its name as written.
    pub name: String,
    /// What it holds.
    pub data: HiveData,
}

/// What a value holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum HiveData {
    /// `REG_SZ`, and `REG_EXPAND_SZ`, in which `%NAME%` stands for a variable.
    Text(String),
    /// `REG_DWORD`.
    Number(u32),
    /// The value of the layers below is gone.
    Tombstone,
    /// Another kind, or too long.
    Other,
}

impl HiveSummary {
    /// About how many bytes it takes.
    #[must_use]
    pub fn weight(&self) -> usize {
        let value = |value: &HiveValue| {
            size_of::<HiveValue>()
                + value.name.len()
                + match &value.data {
                    HiveData::Text(text) => text.len(),
                    _ => 0,
                }
        };
        self.keys.iter().map(|key| key.path.len() + 64 + key.values.iter().map(value).sum::<usize>()).sum()
    }

    /// The key at `path`, in any case.
    #[must_use]
    pub fn key(&self, path: &str) -> Option<&HiveKey> {
        self.keys.iter().find(|key| key.path.eq_ignore_ascii_case(path))
    }
}

impl HiveKey {
    /// The value of a name, in any case.
    #[must_use]
    pub fn value(&self, name: &str) -> Option<&HiveData> {
        self.values.iter().find(|value| value.name.eq_ignore_ascii_case(name)).map(|value| &value.data)
    }
}

/// Whether a file of this path (in a layer, normalised) is a hive that facts are about.
pub(super) fn is_hive(path: &str) -> bool {
    let lower = path.to_ascii_lowercase();
    if lower.starts_with("utilityvm/") {
        return false;
    }
    let (folder, name) = super::path::parent_and_name(&lower);
    match name {
        "system" | "software" => folder.ends_with("windows/system32/config"),
        "system_delta" | "software_delta" | "defaultuser_delta" => folder == "hives",
        "ntuser.dat" => super::path::parent_and_name(folder).0.ends_with("users"),
        _ => false,
    }
}

/// Reads the keys of interest.
pub(super) fn summarise(bytes: &[u8]) -> HiveSummary {
    let mut hive = Walk { bytes, records: 0, text: 0, summary: HiveSummary::default() };
    if let Err(why) = hive.run() {
        hive.summary.trouble = Some(why);
    }
    hive.summary
}

struct Walk<'a> {
    bytes: &'a [u8],
    records: usize,
    text: usize,
    summary: HiveSummary,
}

type Result<T> = std::result::Result<T, String>;

impl<'a> Walk<'a> {
    fn run(&mut self) -> Result<()> {
        let header = self.bytes.get(..BINS).ok_or("it is shorter than the header of a hive")?;
        if !header.starts_with(b"regf") {
            return Err("it does not begin as a registry hive does".to_owned());
        }
        let root = number(header, 36).ok_or("its header is cut off")?;
        let root = self.key(root)?;
        KEYS.into_iter().try_for_each(|names| self.descend(&root, "", names))
    }

    /// Follows `names` from a key, and keeps the keys on the way that a delta marks, and those at the end.
    fn descend(&mut self, key: &KeyNode, path: &str, names: &[&str]) -> Result<()> {
        let Some((name, rest)) = names.split_first() else { return Ok(()) };
        for child in self.children(key, name)? {
            let path = if path.is_empty() { child.name() } else { format!("{path}\\{}", child.name()) };
            let values = if rest.is_empty() { self.values(&child)? } else { Vec::new() };
            let layering = layering(child.layered_key_flags);
            if self.summary.key(&path).is_none() {
                self.summary.keys.push(HiveKey { path: path.clone(), layering, values });
            }
            self.descend(&child, &path, rest)?;
        }
        Ok(())
    }

    fn children(&mut self, key: &KeyNode, name: &str) -> Result<Vec<KeyNode>> {
        let mut found = Vec::new();
        if !key.has_subkeys() {
            return Ok(found);
        }
        let list = self.list(key.subkeys_list_offset)?;
        let leaves = match &list {
            // Lists of lists are one deep.
            SubkeysList::IndexRoot(_) => {
                list.get_offsets().into_iter().map(|offset| self.list(offset)).collect::<Result<Vec<_>>>()?
            }
            _ => vec![list],
        };
        for offset in leaves.iter().flat_map(SubkeysList::get_offsets) {
            let child = self.key(offset)?;
            let own = child.name();
            let is_it = match name.strip_suffix('*') {
                Some(start) => own.get(..start.len()).is_some_and(|own| own.eq_ignore_ascii_case(start)),
                None => own.eq_ignore_ascii_case(name),
            };
            if is_it {
                found.push(child);
            }
        }
        Ok(found)
    }

    fn values(&mut self, key: &KeyNode) -> Result<Vec<HiveValue>> {
        let mut values = Vec::new();
        if key.num_values == 0 {
            return Ok(values);
        }
        let list = self.cell(key.values_list_offset)?;
        let count = key.num_values as usize;
        let offsets = list.get(..count.saturating_mul(4)).ok_or("a list of values is cut off")?;
        let keeps_all = key.name().eq_ignore_ascii_case("Environment");
        for offset in offsets.chunks_exact(4).filter_map(|bytes| number(bytes, 0)) {
            let record = self.cell(offset)?;
            let value = KeyValue::parse(record).map_err(|error| format!("a value is broken: {error}"))?;
            let name = value.name();
            if !keeps_all && !VALUES.iter().any(|wanted| name.eq_ignore_ascii_case(wanted)) {
                continue;
            }
            let data = self.data(&value)?;
            self.text += name.len();
            if self.text > MOST_TEXT {
                return Err(format!("the values of interest have more than {} MiB", MOST_TEXT >> 20));
            }
            values.push(HiveValue { name, data });
        }
        Ok(values)
    }

    fn data(&mut self, value: &KeyValue) -> Result<HiveData> {
        if value.flags & VALUE_TOMBSTONE != 0 {
            return Ok(HiveData::Tombstone);
        }
        let size = value.actual_data_size();
        let is_text = matches!(value.data_type, 1 | 2);
        if !(is_text || value.data_type == 4) || size > LONGEST_TEXT {
            return Ok(HiveData::Other);
        }
        let bytes = if value.is_data_resident() {
            value.get_resident_data().unwrap_or_default()
        } else if size == 0 {
            Vec::new()
        } else if size > LARGEST_CELL {
            self.big_data(value.data_offset, size)?
        } else {
            let cell = self.cell(value.data_offset)?;
            // At most LARGEST_CELL.
            cell.get(..size as usize).ok_or("the data of a value is cut off")?.to_vec()
        };
        if is_text {
            let text = text(&bytes);
            self.text += text.len();
            return Ok(HiveData::Text(text));
        }
        Ok(number(&bytes, 0).map_or(HiveData::Other, HiveData::Number))
    }

    fn big_data(&mut self, offset: u32, size: u32) -> Result<Vec<u8>> {
        let record = BigData::parse(self.cell(offset)?).map_err(|error| format!("a value is broken: {error}"))?;
        let list = self.cell(record.segments_list_offset)?;
        let mut bytes = Vec::new();
        for part in list.chunks_exact(4).take(record.num_segments.into()).filter_map(|bytes| number(bytes, 0)) {
            // Both are at most LONGEST_TEXT.
            let missing = (size as usize).saturating_sub(bytes.len());
            let cell = self.cell(part)?;
            bytes.extend_from_slice(&cell[..cell.len().min(missing).min(LARGEST_CELL as usize)]);
        }
        Ok(bytes)
    }

    fn key(&mut self, offset: u32) -> Result<KeyNode> {
        let cell = self.cell(offset)?;
        KeyNode::parse(cell).map_err(|error| format!("a key is broken: {error}"))
    }

    fn list(&mut self, offset: u32) -> Result<SubkeysList> {
        let cell = self.cell(offset)?;
        let list = SubkeysList::parse(cell).map_err(|error| format!("a list of keys is broken: {error}"))?;
        self.count(cell.len() / 4)?;
        Ok(list)
    }

    /// The content of a cell, by its offset from the first bin (regf specification, "Cell").
    fn cell(&mut self, offset: u32) -> Result<&'a [u8]> {
        self.count(1)?;
        let outside = || format!("it points to byte {offset} of its bins, where no cell is");
        let start = BINS.checked_add(offset as usize).ok_or_else(outside)?;
        let size = self.bytes.get(start..).and_then(|rest| number(rest, 0)).ok_or_else(outside)?;
        // Of cells in use the size is negative.
        let size = (size as i32).checked_neg().filter(|&size| size >= 4).ok_or_else(outside)?;
        self.bytes.get(start + 4..start + size as usize).ok_or_else(outside)
    }

    fn count(&mut self, records: usize) -> Result<()> {
        self.records = self.records.saturating_add(records);
        if self.records > MOST_RECORDS {
            return Err(format!("more than {MOST_RECORDS} records would have to be looked at"));
        }
        Ok(())
    }
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4)?.try_into().ok().map(u32::from_le_bytes)
}

fn layering(flags: u8) -> Layering {
    match flags & 3 {
        1 => Layering::Tombstone,
        2 => Layering::SupersedeLocal,
        3 => Layering::SupersedeTree,
        _ => Layering::Merge,
    }
}

/// UTF-16 up to the first NUL; what is none is replaced.
fn text(bytes: &[u8]) -> String {
    let units = bytes.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]])).take_while(|&unit| unit != 0);
    char::decode_utf16(units).map(|read| read.unwrap_or(char::REPLACEMENT_CHARACTER)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use regf::{DataType, HiveBuilder};

    fn hive() -> Vec<u8> {
        let mut builder = HiveBuilder::new_with_name("ROOT").unwrap();
        let environment = r"ControlSet001\Control\Session Manager\Environment";
        builder.create_key(environment).unwrap();
        builder.add_value_string(environment, Some("Path"), r"%SystemRoot%\system32;C:\tools").unwrap();
        let key = builder.find_key(environment).unwrap();
        let long: Vec<u8> = "x".repeat(20_000).encode_utf16().flat_map(u16::to_le_bytes).collect();
        builder.add_value(key, "Long", DataType::String, &long).unwrap();
        builder.create_key(r"Microsoft\Windows NT\CurrentVersion").unwrap();
        builder.add_value_dword(r"Microsoft\Windows NT\CurrentVersion", Some("UBR"), 3887).unwrap();
        builder.add_value_string(r"Microsoft\Windows NT\CurrentVersion", Some("Other"), "left out").unwrap();
        builder.build().unwrap()
    }

    #[test]
    fn the_keys_of_interest_are_kept_and_only_those() {
        let summary = summarise(&hive());
        assert_eq!(summary.trouble, None);
        let environment = summary.key(r"controlset001\control\session manager\ENVIRONMENT").unwrap();
        let path = HiveData::Text(r"%SystemRoot%\system32;C:\tools".to_owned());
        assert_eq!(environment.value("PATH"), Some(&path));
        assert_eq!(environment.value("long"), Some(&HiveData::Text("x".repeat(20_000))));
        let version = summary.key(r"Microsoft\Windows NT\CurrentVersion").unwrap();
        assert_eq!(version.values, [HiveValue { name: "UBR".to_owned(), data: HiveData::Number(3887) }]);
    }

    #[test]
    fn a_broken_hive_says_what_is_wrong() {
        for (bytes, why) in [(&b"regf"[..], "shorter than the header"), (&[0; 8192], "does not begin as")] {
            assert!(summarise(bytes).trouble.unwrap().contains(why));
        }
        let whole = hive();
        assert!(summarise(&whole[..4200]).trouble.is_some());
        let mut outside = whole;
        outside[36..40].copy_from_slice(&u32::MAX.to_le_bytes());
        assert!(summarise(&outside).trouble.unwrap().contains("no cell"));
    }

    proptest::proptest! {
        /// Whatever a hive holds, reading it ends, keeps little, and does not panic.
        #[test]
        fn a_damaged_hive_is_read_in_bounds(
            damage in proptest::collection::vec((0..12_288_usize, proptest::prelude::any::<u32>(), 0..5_u8), 1..40),
            length in 0..14_000_usize,
        ) {
            let mut bytes = hive();
            let places = [36, 4096 + 32, 4096 + 32 + 20, 4096 + 32 + 28];
            for (at, value, how) in damage {
                let at = if how == 0 { places[at % places.len()] } else { at % (bytes.len() - 4) };
                // Offsets that lead to other cells do more harm than those that lead nowhere.
                let value = if how < 3 { (value % 12_288) & !7 } else { value };
                bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
            }
            bytes.truncate(length.max(4096));
            let summary = summarise(&bytes);
            proptest::prop_assert!(summary.weight() < 4 << 20);
        }
    }

    #[test]
    fn hives_are_known_by_their_paths() {
        for path in [
            "Files/Windows/System32/config/SYSTEM",
            "files/windows/system32/CONFIG/software",
            "Hives/System_Delta",
            "Files/Users/ContainerAdministrator/NTUSER.DAT",
        ] {
            assert!(is_hive(path), "{path}");
        }
        for path in ["UtilityVM/Files/Windows/System32/config/SYSTEM", "Files/config/SYSTEM", "Hives/Sam_Delta"] {
            assert!(!is_hive(path), "{path}");
        }
    }
}
