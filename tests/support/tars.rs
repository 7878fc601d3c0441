//! Writes tars by hand, header by header, so that tests can say exactly what stands in them.

/// One member: a header, its content, and zeros up to the next block.
pub struct Member<'a> {
    pub path: &'a [u8],
    /// `typeflag`: `0` file, `1` hard link, `2` symbolic link, `3` device, `5` folder, `6` FIFO, `x` PAX header, …
    pub kind: u8,
    pub mode: u32,
    pub link: &'a [u8],
    pub content: &'a [u8],
}

impl<'a> Member<'a> {
    pub fn file(path: &'a str, content: &'a [u8]) -> Self {
        Self { path: path.as_bytes(), kind: b'0', mode: 0o755, link: b"", content }
    }

    pub fn folder(path: &'a str) -> Self {
        Self { path: path.as_bytes(), kind: b'5', mode: 0o755, link: b"", content: b"" }
    }

    pub fn symlink(path: &'a str, link: &'a str) -> Self {
        Self { path: path.as_bytes(), kind: b'2', mode: 0o777, link: link.as_bytes(), content: b"" }
    }

    pub fn hard_link(path: &'a str, link: &'a str) -> Self {
        Self { path: path.as_bytes(), kind: b'1', mode: 0o755, link: link.as_bytes(), content: b"" }
    }

    pub fn mode(self, mode: u32) -> Self {
        Self { mode, ..self }
    }

    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = header(self.path, self.kind, self.content.len() as u64, self.mode, self.link).to_vec();
        bytes.extend_from_slice(self.content);
        bytes.resize(bytes.len().next_multiple_of(512), 0);
        bytes
    }
}

/// A whole tar of these members with its two end blocks.
pub fn tar(members: &[Member<'_>]) -> Vec<u8> {
    let mut bytes: Vec<u8> = members.iter().flat_map(Member::bytes).collect();
    bytes.resize(bytes.len() + 1024, 0);
    bytes
}

/// A ustar header; path and link have at most 100 bytes.
pub fn header(path: &[u8], kind: u8, size: u64, mode: u32, link: &[u8]) -> [u8; 512] {
    let mut header = [0; 512];
    header[..path.len()].copy_from_slice(path);
    header[100..107].copy_from_slice(format!("{mode:07o}").as_bytes());
    header[108..115].copy_from_slice(b"0000000");
    header[116..123].copy_from_slice(b"0000000");
    header[124..135].copy_from_slice(format!("{size:011o}").as_bytes());
    header[136..147].copy_from_slice(b"00000000000");
    header[156] = kind;
    header[157..157 + link.len()].copy_from_slice(link);
    header[257..265].copy_from_slice(b"ustar\x0000");
    seal(&mut header);
    header
}

/// Writes the checksum of a header that was changed.
pub fn seal(header: &mut [u8; 512]) {
    header[148..156].copy_from_slice(b"        ");
    let sum: u32 = header.iter().map(|&byte| u32::from(byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
}

/// A PAX header (`x`, or `g` for a global one) with these records.
pub fn pax(kind: u8, records: &[(&str, &[u8])]) -> Vec<u8> {
    let mut content = Vec::new();
    for (key, value) in records {
        // The length counts its own digits.
        let rest = key.len() + value.len() + 3;
        let length = (rest..).find(|length| length.to_string().len() + rest == *length).unwrap();
        content.extend_from_slice(format!("{length} {key}=").as_bytes());
        content.extend_from_slice(value);
        content.push(b'\n');
    }
    Member { path: b"PaxHeaders/x", kind, mode: 0o644, link: b"", content: &content }.bytes()
}

/// Bytes that cannot be compressed.
pub fn noise(count: usize) -> Vec<u8> {
    let mut state = 1_u64;
    let next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    std::iter::repeat_with(next).take(count).collect()
}
