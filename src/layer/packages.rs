//! Lists of installed packages, read while they stream past: of each package the name and the version, nothing more.
//!
//! dpkg's list is `/var/lib/dpkg/status` (dpkg(1); deb822(5)); distroless images have one file a package in `status.d`.
//! apk's is `lib/apk/db/installed` (apk-package(5)). RPM's database is not read.

use serde::{Deserialize, Serialize};

/// The longest line that counts, in bytes; longer ones are descriptions.
const LONGEST_LINE: usize = 512;
/// The most packages of one list: ten times what the largest real images have.
const MOST_PACKAGES: usize = 50_000;

/// An installed package.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// Its version, as the package manager has it.
    pub version: String,
}

impl Package {
    /// About how many bytes it takes.
    #[must_use]
    pub fn weight(&self) -> usize {
        size_of::<Self>() + self.name.len() + self.version.len()
    }
}

/// How a list is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PackageFormat {
    /// `Package:`, `Status:`, `Version:`.
    #[default]
    Dpkg,
    /// `P:`, `V:`.
    Apk,
}

/// Reads one list after the other.
#[derive(Debug, Default)]
pub struct PackageScanner {
    format: PackageFormat,
    line: Vec<u8>,
    package: Package,
    is_removed: bool,
    packages: Vec<Package>,
}

impl PackageScanner {
    /// Begins with the next list.
    pub fn start(&mut self, format: PackageFormat) {
        *self = Self { format, ..Self::default() };
    }

    /// Takes the next bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while let Some(end) = memchr::memchr(b'\n', rest) {
            self.extend(&rest[..end]);
            self.end_of_line();
            rest = &rest[end + 1..];
        }
        self.extend(rest);
    }

    /// The packages.
    #[must_use]
    pub fn finish(&mut self) -> Vec<Package> {
        self.end_of_line();
        self.end_of_package();
        std::mem::take(&mut self.packages)
    }

    fn extend(&mut self, bytes: &[u8]) {
        let room = LONGEST_LINE.saturating_sub(self.line.len());
        self.line.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    fn end_of_line(&mut self) {
        let line = std::mem::take(&mut self.line);
        let line = String::from_utf8_lossy(&line);
        if line.trim().is_empty() {
            self.end_of_package();
            return;
        }
        let Some((key, value)) = line.split_once(':') else { return };
        let value = || value.trim().to_owned();
        match (self.format, key) {
            (PackageFormat::Dpkg, "Package") | (PackageFormat::Apk, "P") => self.package.name = value(),
            (PackageFormat::Dpkg, "Version") | (PackageFormat::Apk, "V") => self.package.version = value(),
            // "want flag status": what is removed may keep its entry for its configuration files.
            (PackageFormat::Dpkg, "Status") => self.is_removed = !value().ends_with(" installed"),
            _ => {}
        }
    }

    fn end_of_package(&mut self) {
        let package = std::mem::take(&mut self.package);
        let is_removed = std::mem::take(&mut self.is_removed);
        if !package.name.is_empty() && !is_removed && self.packages.len() < MOST_PACKAGES {
            self.packages.push(package);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(format: PackageFormat, text: &str, piece: usize) -> Vec<String> {
        let mut scanner = PackageScanner::default();
        scanner.start(format);
        text.as_bytes().chunks(piece).for_each(|bytes| scanner.push(bytes));
        scanner.finish().iter().map(|package| format!("{} {}", package.name, package.version)).collect()
    }

    #[test]
    fn dpkg_s_list_names_what_is_installed() {
        let text = "Package: bash\nStatus: install ok installed\nVersion: 5.2.15-2+b2\nDescription: a shell\n Package: x\n\n\
                    Package: gone\nStatus: deinstall ok config-files\nVersion: 1\n\nPackage: last\nVersion: 2";
        for piece in [1, 7, 4096] {
            assert_eq!(read(PackageFormat::Dpkg, text, piece), ["bash 5.2.15-2+b2", "last 2"]);
        }
    }

    #[test]
    fn apk_s_list_is_written_in_single_letters() {
        let text = "C:Q1x=\nP:bash\nV:5.2.21-r0\nA:x86_64\nF:bin\nR:bash\n\nP:musl\nV:1.2.4-r2\n\n";
        assert_eq!(read(PackageFormat::Apk, text, 5), ["bash 5.2.21-r0", "musl 1.2.4-r2"]);
    }

    #[test]
    fn endless_lines_cost_nothing() {
        let text = format!("Package: a\nDescription: {}\nVersion: 1\n", "x".repeat(1 << 20));
        assert_eq!(read(PackageFormat::Dpkg, &text, 1 << 16), ["a 1"]);
    }
}
