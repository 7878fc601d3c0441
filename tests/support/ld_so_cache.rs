//! Writes `/etc/ld.so.cache` as ldconfig does, for libraries in folders where loaders do not look unasked.

/// The flags of a library for x86-64.
const FLAGS: u32 = 0x0303;
const NEW_HEADER: usize = 48;
const NEW_ENTRY: usize = 24;

/// The new format alone (glibc 2.32 and later): libraries by name, each with its path.
pub fn new_format(libraries: &[(&str, &str)]) -> Vec<u8> {
    new_part(libraries, NEW_HEADER + libraries.len() * NEW_ENTRY).0
}

/// The old format with the new one inside, as older releases write it.
pub fn both_formats(libraries: &[(&str, &str)]) -> Vec<u8> {
    let mut file = b"ld.so-1.7.0\0".to_vec();
    file.extend((libraries.len() as u32).to_le_bytes());
    let old_end = 16 + libraries.len() * 12;
    let new_start = old_end.next_multiple_of(8);
    let (new, strings) = new_part(libraries, NEW_HEADER + libraries.len() * NEW_ENTRY);
    for (key, value) in strings {
        // These are counted from the end of the old entries.
        let from_old = |at: usize| ((new_start + at - old_end) as u32).to_le_bytes();
        file.extend(FLAGS.to_le_bytes());
        file.extend(from_old(key));
        file.extend(from_old(value));
    }
    file.resize(new_start, 0);
    file.extend(new);
    file
}

/// The new format, and where each name and path stands in it.
fn new_part(libraries: &[(&str, &str)], mut at: usize) -> (Vec<u8>, Vec<(usize, usize)>) {
    let mut sorted = libraries.to_vec();
    sorted.sort_by_key(|(name, _)| std::cmp::Reverse(*name));
    let mut file = b"glibc-ld.so.cache1.1".to_vec();
    file.extend((sorted.len() as u32).to_le_bytes());
    file.resize(NEW_HEADER, 0);
    let (mut strings, mut places) = (Vec::new(), Vec::new());
    let mut keep = |text: &str| {
        let start = at;
        strings.extend_from_slice(text.as_bytes());
        strings.push(0);
        at += text.len() + 1;
        start
    };
    for (name, path) in sorted {
        let place = (keep(name), keep(path));
        for word in [FLAGS, place.0 as u32, place.1 as u32, 0, 0, 0] {
            file.extend(word.to_le_bytes());
        }
        places.push(place);
    }
    file[24..28].copy_from_slice(&(strings.len() as u32).to_le_bytes());
    file.extend(strings);
    (file, places)
}
