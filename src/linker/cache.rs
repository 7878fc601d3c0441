//! `/etc/ld.so.cache` as glibc's loader reads it: the old format, the new one, and the new one inside the old.

use std::cmp::Ordering;
use std::ops::Range;

use super::processor::Processor;

/// The old format's magic, after which the count stands at the next multiple of four.
const OLD_MAGIC: &[u8] = b"ld.so-1.7.0";
const OLD_HEADER: usize = 16;
const OLD_ENTRY: usize = 12;
/// The new format's magic and version.
const NEW_MAGIC: &[u8] = b"glibc-ld.so.cache1.1";
const NEW_HEADER: usize = 48;
const NEW_ENTRY: usize = 24;
/// The byte of the new header that says the byte order (glibc 2.33 and later).
const ORDER_AT: usize = 28;
/// Where the new header says where the extensions are (glibc 2.33 and later), their magic, and the tag of the one that
/// lists the names of `glibc-hwcaps` folders (dl-cache.h, `cache_extension`).
const EXTENSIONS_AT: usize = 32;
const EXTENSIONS_MAGIC: u32 = 0xeaa4_2174;
const HWCAPS_TAG: u32 = 1;
const MOST_EXTENSIONS: usize = 16;
/// Marks an entry of a `glibc-hwcaps` folder (dl-cache.h, `DL_CACHE_HWCAP_EXTENSION`); its name's number is in the lower
/// half.
const HWCAPS_FOLDER: u64 = 1 << 62;
/// Bits that ask for no ability: the platform of x86 (sysdeps/x86/dl-procinfo.h) and thread-local storage.
const PLATFORMS: u64 = 0xf << 48;
const TLS: u64 = 1 << 63;
/// The longest name or path that counts, in bytes.
const LONGEST: usize = 4096;

/// A parsed cache; it borrows the file.
#[derive(Clone, Debug)]
pub struct Cache<'a> {
    /// What strings are counted from: the file for the new format, what follows the entries for the old.
    strings: &'a [u8],
    entries: &'a [u8],
    is_new: bool,
    is_little_endian: bool,
}

/// What an entry has to fit.
#[derive(Clone, Copy, Debug)]
pub struct Fitting {
    /// The flags of the loader's own libraries; nothing if they are not known, then all fit.
    pub flags: Option<u32>,
    /// The processor.
    pub processor: Processor,
    /// Whether entries for abilities of a processor count (glibc before 2.37).
    pub has_legacy: bool,
}

impl<'a> Cache<'a> {
    /// Reads the headers of a cache in the byte order of the machine; nothing if a loader would pass over the file
    /// (glibc, elf/dl-cache.c, `_dl_load_cache_lookup`).
    #[must_use]
    pub fn parse(file: &'a [u8], is_little_endian: bool) -> Option<Self> {
        if file.starts_with(OLD_MAGIC) && file.len() > OLD_HEADER {
            let count = word(file, 12, is_little_endian)? as usize;
            let end = count.checked_mul(OLD_ENTRY)?.checked_add(OLD_HEADER)?;
            let (entries, strings) = (file.get(OLD_HEADER..end)?, file.get(end..)?);
            let inside = file.get(end.next_multiple_of(8)..).unwrap_or_default();
            if let Some(new) = Self::parse_new(inside, is_little_endian) {
                return Some(new);
            }
            return Some(Self { strings, entries, is_new: false, is_little_endian });
        }
        Self::parse_new(file, is_little_endian)
    }

    fn parse_new(file: &'a [u8], is_little_endian: bool) -> Option<Self> {
        if !file.starts_with(NEW_MAGIC) || file.len() <= NEW_HEADER {
            return None;
        }
        // 0 is from before there was such a byte.
        let native = if is_little_endian { 2 } else { 3 };
        if ![0, native].contains(file.get(ORDER_AT)?) {
            return None;
        }
        let count = word(file, 20, is_little_endian)? as usize;
        let end = count.checked_mul(NEW_ENTRY)?.checked_add(NEW_HEADER)?;
        Some(Self { strings: file, entries: file.get(NEW_HEADER..end)?, is_new: true, is_little_endian })
    }

    /// How many entries there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len() / self.entry_size()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The path that the loader takes for `name`, found by the same search as the loader's (elf/dl-cache.c,
    /// `search_cache`): in a cache that is not sorted some entries are never found.
    pub fn find(&self, name: &str, fitting: &Fitting) -> Option<String> {
        self.best(self.same(name)?, fitting)
    }

    /// Whether some entry for `name` counts only on certain processors.
    pub fn depends_on_processor(&self, name: &str) -> bool {
        self.same(name).is_some_and(|mut range| range.any(|at| self.hwcap(at) != 0))
    }

    /// The entries of this name.
    fn same(&self, name: &str) -> Option<Range<usize>> {
        let (mut left, mut right) = (0_usize, self.len().checked_sub(1)?);
        loop {
            let middle = left.midpoint(right);
            match compare(name.as_bytes(), self.string(middle, 4)?) {
                Ordering::Equal => break,
                Ordering::Less => left = middle + 1,
                Ordering::Greater => right = middle.checked_sub(1)?,
            }
            if left > right {
                return None;
            }
        }
        let at = left.midpoint(right);
        let is_same =
            |&at: &usize| self.string(at, 4).is_some_and(|key| compare(name.as_bytes(), key) == Ordering::Equal);
        let first = (0..at).rev().take_while(is_same).last().unwrap_or(at);
        let count = (first..=right).take_while(is_same).count();
        Some(first..first + count)
    }

    /// The names that start so.
    pub fn names(&self, start: &str) -> impl Iterator<Item = String> {
        let name = move |at| self.string(at, 4).filter(|name| name.starts_with(start.as_bytes()));
        (0..self.len()).filter_map(name).map(|name| String::from_utf8_lossy(name).into_owned())
    }

    fn best(&self, range: Range<usize>, fitting: &Fitting) -> Option<String> {
        let levels = fitting.processor.levels;
        let mut best: Option<(usize, usize)> = None;
        for at in range {
            if fitting.flags.is_some_and(|flags| self.word(at, 0) != Some(flags)) || self.string(at, 8).is_none() {
                continue;
            }
            let hwcap = self.hwcap(at);
            if hwcap & HWCAPS_FOLDER != 0 {
                let name = self.hwcaps_name(hwcap as u32);
                let rank = levels.iter().position(|level| name == Some(level.as_bytes()));
                if let Some(rank) = rank.filter(|rank| best.is_none_or(|(known, _)| *rank < known)) {
                    best = Some((rank, at));
                }
                continue;
            }
            if best.is_some() {
                break;
            }
            if hwcap == 0 || (fitting.has_legacy && fits_legacy(hwcap, &fitting.processor)) {
                best = Some((0, at));
                break;
            }
        }
        best.and_then(|(_, at)| Some(String::from_utf8_lossy(self.string(at, 8)?).into_owned()))
    }

    /// What the entry asks of the processor.
    fn hwcap(&self, at: usize) -> u64 {
        if !self.is_new {
            return 0;
        }
        let (low, high) = (self.word(at, 16).unwrap_or(0), self.word(at, 20).unwrap_or(0));
        let (low, high) = if self.is_little_endian { (low, high) } else { (high, low) };
        (u64::from(high) << 32) | u64::from(low)
    }

    /// The name of a `glibc-hwcaps` folder by its number (elf/cacheinfo.h, `cache_extension_load`).
    fn hwcaps_name(&self, number: u32) -> Option<&'a [u8]> {
        let word = |at: usize| word(self.strings, at, self.is_little_endian);
        let start = word(EXTENSIONS_AT)? as usize;
        if word(start)? != EXTENSIONS_MAGIC {
            return None;
        }
        let count = (word(start.checked_add(4)?)? as usize).min(MOST_EXTENSIONS);
        let section = (0..count).map(|at| start + 8 + 16 * at).find(|&at| word(at) == Some(HWCAPS_TAG))?;
        let (names, size) = (word(section + 8)? as usize, word(section + 12)? as usize);
        let at = (number as usize).checked_mul(4).filter(|at| *at < size)?;
        text(self.strings, word(names.checked_add(at)?)? as usize)
    }

    fn entry_size(&self) -> usize {
        if self.is_new { NEW_ENTRY } else { OLD_ENTRY }
    }

    fn word(&self, entry: usize, at: usize) -> Option<u32> {
        word(self.entries, entry.checked_mul(self.entry_size())?.checked_add(at)?, self.is_little_endian)
    }

    /// The string whose offset stands in the entry at `at`.
    fn string(&self, entry: usize, at: usize) -> Option<&'a [u8]> {
        text(self.strings, self.word(entry, at)? as usize)
    }
}

/// Whether an entry of before `glibc-hwcaps` fits a processor.
fn fits_legacy(hwcap: u64, processor: &Processor) -> bool {
    let own = processor.abilities.iter().fold(0, |own, (_, bit)| own | 1_u64 << bit);
    let platform = hwcap & PLATFORMS;
    hwcap & !(own | PLATFORMS | TLS) == 0
        && (platform == 0 || processor.platform_bit.is_some_and(|bit| platform == 1 << bit))
}

/// The text that begins at a place and ends with NUL.
fn text(strings: &[u8], at: usize) -> Option<&[u8]> {
    let rest = strings.get(at..)?;
    let end = rest.iter().take(LONGEST).position(|&byte| byte == 0)?;
    rest.get(..end)
}

fn word(bytes: &[u8], at: usize, is_little_endian: bool) -> Option<u32> {
    let four: [u8; 4] = bytes.get(at..at.checked_add(4)?)?.try_into().ok()?;
    Some(if is_little_endian { u32::from_le_bytes(four) } else { u32::from_be_bytes(four) })
}

/// The order of the cache: numbers inside names are compared as numbers (elf/dl-cache.c, `_dl_cache_libcmp`). The
/// entries are sorted downwards, so "less" leads to the right.
fn compare(one: &[u8], other: &[u8]) -> Ordering {
    let (mut one, mut other) = (one, other);
    loop {
        match (one.first(), other.first()) {
            (None, None) => return Ordering::Equal,
            (None, Some(_)) => return Ordering::Less,
            (Some(a), b) if a.is_ascii_digit() => {
                if !b.is_some_and(u8::is_ascii_digit) {
                    return Ordering::Greater;
                }
                let (a, rest) = number(one);
                let (b, other_rest) = number(other);
                if a != b {
                    return a.cmp(&b);
                }
                (one, other) = (rest, other_rest);
            }
            (Some(_), Some(b)) if b.is_ascii_digit() => return Ordering::Less,
            (Some(a), Some(b)) if a != b => return a.cmp(b),
            (Some(_), None) => return Ordering::Greater,
            (Some(_), Some(_)) => (one, other) = (&one[1..], &other[1..]),
        }
    }
}

fn number(text: &[u8]) -> (u64, &[u8]) {
    let end = text.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(text.len());
    let value =
        text[..end].iter().fold(0_u64, |value, digit| value.wrapping_mul(10).wrapping_add(u64::from(digit - b'0')));
    (value, &text[end..])
}

#[cfg(test)]
mod tests {
    use super::super::processor::processors;
    use super::*;

    const FLAGS: u32 = 0x303;

    fn put(value: u32, is_little_endian: bool) -> [u8; 4] {
        if is_little_endian { value.to_le_bytes() } else { value.to_be_bytes() }
    }

    /// A cache as ldconfig writes it: `(name, path, flags, hwcap)`, sorted downwards.
    fn new_cache(entries: &[(&str, &str, u32, u64)], is_little_endian: bool) -> Vec<u8> {
        let mut sorted = entries.to_vec();
        sorted.sort_by(|one, other| compare(other.0.as_bytes(), one.0.as_bytes()));
        let mut file = NEW_MAGIC.to_vec();
        file.extend(put(sorted.len() as u32, is_little_endian));
        file.extend(put(0, is_little_endian));
        file.extend([if is_little_endian { 2 } else { 3 }, 0, 0, 0]);
        file.resize(NEW_HEADER, 0);
        let mut strings = Vec::new();
        let start = NEW_HEADER + sorted.len() * NEW_ENTRY;
        for (name, path, flags, hwcap) in sorted {
            let key = start + strings.len();
            strings.extend_from_slice(name.as_bytes());
            strings.push(0);
            let value = start + strings.len();
            strings.extend_from_slice(path.as_bytes());
            strings.push(0);
            for word in [flags, key as u32, value as u32, 0] {
                file.extend(put(word, is_little_endian));
            }
            file.extend(if is_little_endian { hwcap.to_le_bytes() } else { hwcap.to_be_bytes() });
        }
        file.extend(strings);
        file
    }

    fn old_cache(entries: &[(&str, &str)], inside: &[u8]) -> Vec<u8> {
        let mut file = OLD_MAGIC.to_vec();
        file.push(0);
        file.extend((entries.len() as u32).to_le_bytes());
        let mut strings = Vec::new();
        // The strings of a file with both formats are counted from behind the old entries, too.
        let skip = if inside.is_empty() {
            0
        } else {
            (OLD_HEADER + entries.len() * OLD_ENTRY).next_multiple_of(8) + inside.len()
                - (OLD_HEADER + entries.len() * OLD_ENTRY)
        };
        for (name, path) in entries {
            file.extend(FLAGS.to_le_bytes());
            for text in [name, path] {
                file.extend(((skip + strings.len()) as u32).to_le_bytes());
                strings.extend_from_slice(text.as_bytes());
                strings.push(0);
            }
        }
        if !inside.is_empty() {
            file.resize(file.len().next_multiple_of(8), 0);
            file.extend_from_slice(inside);
        }
        file.extend(strings);
        file
    }

    /// A processor of x86-64 without more, and one of Intel with all.
    const PLAIN: Fitting = Fitting { flags: Some(FLAGS), processor: processors("amd64")[0], has_legacy: false };
    const BEST: Fitting = Fitting { processor: processors("amd64")[5], ..PLAIN };

    fn path(cache: &Cache<'_>, name: &str) -> Option<String> {
        cache.find(name, &PLAIN)
    }

    #[test]
    fn the_new_format_is_read_in_both_byte_orders() {
        let entries = [
            ("libz.so.1", "/lib/libz.so.1", FLAGS, 0),
            ("libssl.so.3", "/opt/libssl.so.3", FLAGS, 0),
            ("libicuuc.so.72", "/opt/libicuuc.so.72", FLAGS, 0),
            ("libicuuc.so.67", "/opt/libicuuc.so.67", FLAGS, 0),
        ];
        for is_little_endian in [true, false] {
            let file = new_cache(&entries, is_little_endian);
            let cache = Cache::parse(&file, is_little_endian).unwrap();
            assert_eq!(cache.len(), 4);
            for (name, wanted, ..) in entries {
                assert_eq!(path(&cache, name).as_deref(), Some(wanted));
            }
            assert_eq!(path(&cache, "libicuuc.so.7"), None);
            assert!(Cache::parse(&file, !is_little_endian).is_none(), "a cache of the other byte order is passed over");
        }
    }

    #[test]
    fn the_old_format_is_read_alone_and_around_the_new_one() {
        let file = old_cache(&[("libz.so.1", "/old/libz.so.1"), ("libc.so.6", "/old/libc.so.6")], &[]);
        assert_eq!(path(&Cache::parse(&file, true).unwrap(), "libc.so.6").as_deref(), Some("/old/libc.so.6"));
        let inside = new_cache(&[("libc.so.6", "/new/libc.so.6", FLAGS, 0)], true);
        let file = old_cache(&[("libc.so.6", "/old/libc.so.6")], &inside);
        assert_eq!(path(&Cache::parse(&file, true).unwrap(), "libc.so.6").as_deref(), Some("/new/libc.so.6"));
    }

    #[test]
    fn entries_for_other_machines_do_not_count() {
        let file =
            new_cache(&[("libz.so.1", "/lib32/libz.so.1", 3, 0), ("libz.so.1", "/lib/libz.so.1", FLAGS, 0)], true);
        let cache = Cache::parse(&file, true).unwrap();
        assert_eq!(path(&cache, "libz.so.1").as_deref(), Some("/lib/libz.so.1"));
        assert_eq!(cache.find("libz.so.1", &Fitting { flags: Some(0xa03), ..PLAIN }), None);
    }

    /// A cache with extensions: the names of `glibc-hwcaps` folders.
    fn with_names(mut file: Vec<u8>, names: &[&str]) -> Vec<u8> {
        let start = file.len() as u32;
        file[EXTENSIONS_AT..EXTENSIONS_AT + 4].copy_from_slice(&start.to_le_bytes());
        let list = start + 24;
        let mut at = list + 4 * names.len() as u32;
        for word in [EXTENSIONS_MAGIC, 1, HWCAPS_TAG, 0, list, 4 * names.len() as u32] {
            file.extend(word.to_le_bytes());
        }
        for name in names {
            file.extend(at.to_le_bytes());
            at += name.len() as u32 + 1;
        }
        names.iter().for_each(|name| file.extend([name.as_bytes(), &[0]].concat()));
        file
    }

    #[test]
    fn the_best_folder_of_a_processor_comes_before_the_entry_for_all() {
        let entries = [
            ("libz.so.1", "/v2/libz.so.1", FLAGS, HWCAPS_FOLDER),
            ("libz.so.1", "/v3/libz.so.1", FLAGS, HWCAPS_FOLDER + 1),
            ("libz.so.1", "/lib/libz.so.1", FLAGS, 0),
            ("libc.so.6", "/lib/libc.so.6", FLAGS, 0),
        ];
        let file = with_names(new_cache(&entries, true), &["x86-64-v2", "x86-64-v3"]);
        let cache = Cache::parse(&file, true).unwrap();
        let found = |processor: usize| {
            cache.find("libz.so.1", &Fitting { processor: processors("amd64")[processor], ..PLAIN }).unwrap()
        };
        assert_eq!(
            [found(0), found(1), found(2), found(5)],
            ["/lib/libz.so.1", "/v2/libz.so.1", "/v3/libz.so.1", "/v3/libz.so.1"]
        );
        assert!(cache.depends_on_processor("libz.so.1") && !cache.depends_on_processor("libc.so.6"));
        let only = with_names(new_cache(&entries[..1], true), &["x86-64-v2"]);
        assert_eq!(path(&Cache::parse(&only, true).unwrap(), "libz.so.1"), None);
        let nameless = new_cache(&entries[..1], true);
        assert_eq!(Cache::parse(&nameless, true).unwrap().find("libz.so.1", &BEST), None);
    }

    #[test]
    fn legacy_entries_fit_processors_by_their_bits_and_old_loaders_only() {
        let entry = |hwcap| [("libz.so.1", "/old/libz.so.1", FLAGS, hwcap), ("libz.so.1", "/lib/libz.so.1", FLAGS, 0)];
        for (hwcap, plain, best) in [
            (1 << 50, false, true),
            (1 << 2, false, true),
            (1 << 1, true, true),
            (TLS, true, true),
            (1 << 51, false, false),
        ] {
            let file = new_cache(&entry(hwcap), true);
            let cache = Cache::parse(&file, true).unwrap();
            let takes = |fitting: Fitting| {
                cache.find("libz.so.1", &Fitting { has_legacy: true, ..fitting }).unwrap().starts_with("/old")
            };
            assert_eq!((takes(PLAIN), takes(BEST)), (plain, best), "{hwcap:x}");
            assert_eq!(cache.find("libz.so.1", &BEST).as_deref(), Some("/lib/libz.so.1"));
        }
    }

    #[test]
    fn numbers_in_names_are_compared_as_numbers() {
        assert_eq!(compare(b"libx.so.10", b"libx.so.9"), Ordering::Greater);
        assert_eq!(compare(b"libx.so.09", b"libx.so.9"), Ordering::Equal);
        assert_eq!(compare(b"libx1", b"libxa"), Ordering::Greater);
        assert_eq!(compare(b"libxa", b"libx1"), Ordering::Less);
        assert_eq!(compare(b"libx", b"libx1"), Ordering::Less);
    }

    /// The machine's own ldconfig and its own files agree with what is read.
    #[test]
    #[cfg(target_os = "linux")]
    fn this_machine_s_own_cache_leads_to_files() {
        let Ok(file) = std::fs::read("/etc/ld.so.cache") else { return };
        let cache = Cache::parse(&file, cfg!(target_endian = "little")).unwrap();
        assert!(!cache.is_empty());
        for at in 0..cache.len() {
            let name = String::from_utf8(cache.string(at, 4).unwrap().to_vec()).unwrap();
            let flags = Some(cache.word(at, 0).unwrap());
            let Some(found) = cache.find(&name, &Fitting { flags, has_legacy: true, ..BEST }) else { continue };
            assert!(found.starts_with('/'), "{name}: {found}");
        }
    }

    proptest::proptest! {
        #[test]
        fn hostile_bytes_never_panic(mut bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..400), magic in 0..3, little in proptest::bool::ANY) {
            let magic: &[u8] = match magic { 0 => OLD_MAGIC, 1 => NEW_MAGIC, _ => b"" };
            for (slot, byte) in bytes.iter_mut().zip(magic) { *slot = *byte; }
            if let Some(cache) = Cache::parse(&bytes, little) {
                cache.find("libc.so.6", &Fitting { flags: None, ..BEST });
                cache.find("", &BEST);
            }
        }

        #[test]
        fn a_cache_with_a_changed_byte_never_panics(at in 0_usize..300, byte in proptest::num::u8::ANY) {
            let entries = [("libz.so.1", "/lib/libz.so.1", FLAGS, HWCAPS_FOLDER), ("liba.so", "/liba.so", FLAGS, 0)];
            let mut file = with_names(new_cache(&entries, true), &["x86-64-v2"]);
            if let Some(slot) = file.get_mut(at) { *slot = byte; }
            if let Some(cache) = Cache::parse(&file, true) {
                cache.find("libz.so.1", &BEST);
                cache.find("liba.so", &Fitting { flags: None, ..PLAIN });
            }
        }
    }
}
