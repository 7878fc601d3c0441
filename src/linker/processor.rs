//! The processors that an image may run on, as far as glibc's search depends on them.

/// What glibc's loader sees in a processor. An image does not say which one it gets, so a prediction holds only if it is
/// the same for all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Processor {
    /// For people.
    pub name: &'static str,
    /// The `glibc-hwcaps` folders that it takes, the best first (glibc 2.33 and later).
    pub levels: &'static [&'static str],
    /// AT_PLATFORM, or what glibc puts in its place: `$PLATFORM`, and a folder before glibc 2.37.
    pub platform: &'static str,
    /// The folders of before glibc 2.37 that stand for one ability each, the last first in a path, with their bits in
    /// `ld.so.cache`.
    pub abilities: &'static [(&'static str, u32)],
    /// The bit of `platform` in `ld.so.cache`.
    pub platform_bit: Option<u32>,
}

impl Processor {
    /// Folders inside each folder that glibc before 2.37 looks into, in its order (elf/dl-hwcaps.c,
    /// `_dl_important_hwcaps`): every selection of `tls`, the platform and the abilities, in this order.
    pub fn legacy_folders(&self) -> Vec<String> {
        let mut parts: Vec<&str> = self.abilities.iter().map(|(name, _)| *name).collect();
        if !self.platform.is_empty() {
            parts.push(self.platform);
        }
        parts.push("tls");
        let selection = |mask: usize| {
            let chosen = parts.iter().enumerate().rev().filter(move |(at, _)| mask & (1 << at) != 0);
            chosen.map(|(_, part)| *part).collect::<Vec<_>>().join("/")
        };
        (1..1_usize << parts.len()).rev().map(selection).collect()
    }
}

const BASELINE: Processor = Processor {
    name: "x86-64 without more",
    levels: &[],
    platform: "x86_64",
    abilities: &[("x86_64", 1)],
    platform_bit: None,
};
const V2: Processor = Processor { name: "x86-64-v2", levels: &["x86-64-v2"], ..BASELINE };
const V3: Processor = Processor { name: "x86-64-v3 of AMD", levels: &["x86-64-v3", "x86-64-v2"], ..BASELINE };
const V4: Processor =
    Processor { name: "x86-64-v4 of AMD", levels: &["x86-64-v4", "x86-64-v3", "x86-64-v2"], ..BASELINE };
/// Names and abilities of Intel's processors (glibc, sysdeps/x86/cpu-features.c, `init_cpu_features`; the bits:
/// sysdeps/x86/dl-hwcap.h).
const INTEL_V3: Processor = Processor { name: "x86-64-v3 of Intel", platform: "haswell", platform_bit: Some(50), ..V3 };
const INTEL_V4: Processor = Processor {
    name: "x86-64-v4 of Intel",
    levels: V4.levels,
    abilities: &[("x86_64", 1), ("avx512_1", 2)],
    ..INTEL_V3
};
const XEON_PHI: Processor = Processor { name: "Xeon Phi", platform: "xeon_phi", platform_bit: Some(51), ..V3 };

const X86_64: [Processor; 7] = [BASELINE, V2, V3, V4, INTEL_V3, INTEL_V4, XEON_PHI];
const X86: [Processor; 1] =
    [Processor { name: "i686", levels: &[], platform: "i686", abilities: &[("sse2", 0)], platform_bit: Some(49) }];
const ARM64: [Processor; 2] = [
    Processor { name: "Armv8.0", levels: &[], platform: "aarch64", abilities: &[], platform_bit: None },
    Processor {
        name: "Armv8.1 (atomics)",
        levels: &[],
        platform: "aarch64",
        abilities: &[("atomics", 8)],
        platform_bit: None,
    },
];
const OTHER: [Processor; 1] =
    [Processor { name: "any", levels: &[], platform: "", abilities: &[], platform_bit: None }];

/// The processors that programs for an architecture may meet, the plainest first.
#[must_use]
pub const fn processors(architecture: &str) -> &'static [Processor] {
    match architecture.as_bytes() {
        b"amd64" => &X86_64,
        b"386" => &X86,
        b"arm64" => &ARM64,
        _ => &OTHER,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn legacy_folders_are_all_selections_in_the_loader_s_order() {
        assert_eq!(
            ARM64[1].legacy_folders(),
            ["tls/aarch64/atomics", "tls/aarch64", "tls/atomics", "tls", "aarch64/atomics", "aarch64", "atomics"]
        );
        let intel = INTEL_V4.legacy_folders();
        assert_eq!(intel[..3], ["tls/haswell/avx512_1/x86_64", "tls/haswell/avx512_1", "tls/haswell/x86_64"]);
        assert_eq!((intel.len(), intel.last().map(String::as_str)), (15, Some("x86_64")));
        assert_eq!(OTHER[0].legacy_folders(), ["tls"]);
    }
}
