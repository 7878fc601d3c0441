//! Platforms: what an image was built for and what somebody asks for.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// An operating system and processor architecture (image-spec, image-index.md, "platform").
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Platform {
    /// As Go's GOOS: `linux`, `windows`.
    pub os: String,
    /// As Go's GOARCH: `amd64`, `arm64`, `arm`.
    pub architecture: String,
    /// The variant of the architecture: `v7`, `v8`.
    pub variant: Option<String>,
    /// The version of the operating system, Windows only: `10.0.20348.2227`.
    #[serde(alias = "os.version")]
    pub os_version: Option<String>,
}

/// A text that is not a platform.
#[derive(Debug, thiserror::Error)]
#[error(
    "{0:?} is not a platform: expected os/architecture[/variant][:os-version], such as linux/amd64 or windows/amd64:10.0.20348"
)]
pub struct NotAPlatform(String);

/// The name of an architecture in the file names of musl's loader and Debian's library folders.
#[must_use]
pub fn machine_name(architecture: &str) -> &str {
    match architecture {
        "amd64" => "x86_64",
        "386" => "i386",
        "arm64" => "aarch64",
        "arm" => "arm",
        "ppc64le" => "powerpc64le",
        other => other,
    }
}

impl Platform {
    /// A platform without variant and os.version.
    #[must_use]
    pub fn new(os: &str, architecture: &str) -> Self {
        Self { os: os.to_owned(), architecture: architecture.to_owned(), variant: None, os_version: None }
    }

    /// Linux on the architecture of the machine that imglint runs on.
    #[must_use]
    pub fn linux_here() -> Self {
        Self::new("linux", architecture_here())
    }

    /// Whether this is what attestation manifests carry instead of a platform (BuildKit,
    /// docs/attestations/attestation-storage.md).
    #[must_use]
    pub fn is_unknown(&self) -> bool {
        self.os == "unknown" && self.architecture == "unknown"
    }

    /// The platform in Go's words, whatever it was called (containerd, platforms/database.go, `normalizeOS` and
    /// `normalizeArch`): `x86_64` is `amd64`, `AArch64` is `arm64`, `armhf` is `arm/v7`.
    #[must_use]
    pub fn normal(self) -> Self {
        let os = match self.os.to_ascii_lowercase() {
            os if os == "macos" => "darwin".to_owned(),
            os => os,
        };
        let (architecture, implied) = normal_architecture(&self.architecture);
        let written = self.variant.map(|variant| variant.to_ascii_lowercase()).filter(|variant| !variant.is_empty());
        let written = written.map(|variant| match variant.as_bytes() {
            [b'0'..=b'9', ..] if architecture.starts_with("arm") => format!("v{variant}"),
            _ => variant,
        });
        Self { os, architecture, variant: implied.map(str::to_owned).or(written), os_version: self.os_version }
    }

    /// Whether an image built for `self` is one that `wanted` asks for: what `wanted` leaves out matches anything,
    /// and its os.version may be a prefix (`10.0.20348` matches `10.0.20348.2227`).
    #[must_use]
    pub fn satisfies(&self, wanted: &Self) -> bool {
        self.os == wanted.os
            && self.architecture == wanted.architecture
            && wanted.variant.as_ref().is_none_or(|variant| self.variant_or_default() == Some(variant.as_str()))
            && wanted.os_version.as_ref().is_none_or(|version| self.has_os_version(version))
    }

    /// The variant, or the one that its absence means: `v8` for arm64, `v7` for arm (containerd's normalisation,
    /// platforms/database.go).
    #[must_use]
    pub fn variant_or_default(&self) -> Option<&str> {
        match (self.variant.as_deref(), self.architecture.as_str()) {
            (Some(variant), _) => Some(variant),
            (None, "arm64") => Some("v8"),
            (None, "arm") => Some("v7"),
            _ => None,
        }
    }

    fn has_os_version(&self, wanted: &str) -> bool {
        self.os_version
            .as_deref()
            .is_some_and(|have| have.strip_prefix(wanted).is_some_and(|rest| rest.is_empty() || rest.starts_with('.')))
    }
}

/// The machine's architecture in Go's words.
fn architecture_here() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "x86" => "386",
        "powerpc64" if cfg!(target_endian = "little") => "ppc64le",
        other => other,
    }
}

impl FromStr for Platform {
    type Err = NotAPlatform;

    fn from_str(text: &str) -> Result<Self, NotAPlatform> {
        let wrong = || NotAPlatform(text.to_owned());
        let (names, os_version) = match text.split_once(':') {
            Some((names, version)) => (names, Some(version)),
            None => (text, None),
        };
        let mut parts = names.split('/');
        let os = parts.next().filter(|os| !os.is_empty()).ok_or_else(wrong)?;
        let architecture = parts.next().filter(|architecture| !architecture.is_empty()).ok_or_else(wrong)?;
        let variant = parts.next();
        if parts.next().is_some() || variant == Some("") || os_version == Some("") {
            return Err(wrong());
        }
        let platform = Self {
            os: os.to_owned(),
            architecture: architecture.to_owned(),
            variant: variant.map(str::to_owned),
            os_version: os_version.map(str::to_owned),
        };
        Ok(platform.normal())
    }
}

/// Go's word for an architecture, and the variant that the word implies.
fn normal_architecture(text: &str) -> (String, Option<&'static str>) {
    let (architecture, variant) = match text.to_ascii_lowercase().as_str() {
        "x86_64" | "x86-64" => ("amd64", None),
        "aarch64" => ("arm64", None),
        "i386" => ("386", None),
        "armhf" => ("arm", Some("v7")),
        "armel" => ("arm", Some("v6")),
        other => return (other.to_owned(), None),
    };
    (architecture.to_owned(), variant)
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        if let Some(variant) = &self.variant {
            write!(f, "/{variant}")?;
        }
        if let Some(version) = &self.os_version {
            write!(f, ":{version}")?;
        }
        Ok(())
    }
}

/// Which entries of an index are to be checked (contract: `--platform`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum PlatformChoice {
    /// Linux on this machine's architecture, else linux/amd64, else all there are.
    #[default]
    Default,
    /// Every entry.
    All,
    /// The entries that satisfy this.
    Exactly(Platform),
    /// The entries that satisfy this, as a worker of that platform takes them; if there are none, as by default.
    AsWorker(Platform),
}

impl FromStr for PlatformChoice {
    type Err = NotAPlatform;

    fn from_str(text: &str) -> Result<Self, NotAPlatform> {
        match text {
            "all" => Ok(Self::All),
            _ => text.parse().map(Self::Exactly),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn platform(text: &str) -> Platform {
        text.parse().unwrap()
    }

    #[test]
    fn what_is_left_out_matches_anything() {
        assert!(platform("linux/arm64/v8").satisfies(&platform("linux/arm64")));
        assert!(platform("linux/arm64").satisfies(&platform("linux/arm64/v8")), "v8 is what arm64 means");
        assert!(!platform("linux/arm/v6").satisfies(&platform("linux/arm/v7")));
        assert!(platform("windows/amd64:10.0.20348.2227").satisfies(&platform("windows/amd64:10.0.20348")));
        assert!(!platform("windows/amd64:10.0.203480").satisfies(&platform("windows/amd64:10.0.20348")));
    }

    #[test]
    fn people_s_words_for_architectures_are_understood() {
        assert_eq!(platform("linux/x86_64"), Platform::new("linux", "amd64"));
        assert_eq!(platform("Linux/aarch64"), Platform::new("linux", "arm64"));
        assert_eq!(platform("linux/ARMHF"), platform("linux/arm/7"));
        assert_eq!(Platform::new("Windows", "AMD64").normal(), Platform::new("windows", "amd64"));
        assert_eq!(platform("linux/arm64/8").to_string(), "linux/arm64/v8");
    }

    #[test]
    fn texts_that_are_no_platforms_are_refused() {
        for text in ["", "linux", "linux/", "/amd64", "linux/arm/v7/x", "linux/amd64:"] {
            assert!(text.parse::<Platform>().is_err(), "{text}");
        }
    }
}
