//! Collects whether data is there that programs look for late: certificate authorities and time zones.

use serde::{Deserialize, Serialize};

use super::{ConfigurationFacts, Setting};
use crate::layer::Kind;
use crate::layer::path::{absolute, join};
use crate::rootfs::Rootfs;
use crate::verdict::Place;

/// The folders in which OpenSSL looks for certificate authorities, by distribution family (OpenSSL's OPENSSLDIR of Debian, of
/// Fedora and of Alpine), and the folder that SUSE's leads to.
const AUTHORITY_FOLDERS: [&str; 4] =
    ["/usr/lib/ssl/certs", "/etc/ssl/certs", "/etc/pki/tls/certs", "/var/lib/ca-certificates/openssl"];
/// The files that it reads besides.
const AUTHORITY_FILES: [&str; 3] = ["/usr/lib/ssl/cert.pem", "/etc/ssl/cert.pem", "/etc/pki/tls/cert.pem"];
/// Where .NET looks for time zones (dotnet/runtime, `TimeZoneInfo.Unix.NonAndroid.cs`, and glibc's `TZDIR`).
const ZONES: [&str; 1] = ["/usr/share/zoneinfo"];

/// Whether something is there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Presence {
    /// Whether it is.
    pub present: bool,
    /// Where it was found, or the variable that names where it should be.
    pub place: Place,
    /// Where it was looked for.
    pub looked_in: Vec<String>,
    /// Where it is, though variables of the image lead away from there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usual: Option<Place>,
}

/// Whether TLS has certificate authorities to trust. `SSL_CERT_FILE` takes the place of the default file, `SSL_CERT_DIR`
/// that of the default folder: each leaves the other as it is (OpenSSL, crypto/x509/by_file.c and by_dir.c; .NET does the
/// same).
#[must_use]
pub fn ca_certificates(rootfs: &Rootfs, settings: &ConfigurationFacts) -> Presence {
    let is_certificate = |name: &str| name.ends_with(".pem") || name.ends_with(".crt") || is_hashed(name);
    let (file, folder) = (settings.env.get("SSL_CERT_FILE"), settings.env.get("SSL_CERT_DIR"));
    let files = file.map_or_else(|| AUTHORITY_FILES.to_vec(), |set| vec![set.value.as_str()]);
    let folders = folder.map_or_else(|| AUTHORITY_FOLDERS.to_vec(), |set| set.value.split(':').collect());
    let paths: Vec<&str> = folders.into_iter().chain(files).filter(|path| !path.is_empty()).collect();
    let mut found = find(rootfs, &paths, folder.or(file), is_certificate);
    if !found.present && (file.is_some() || folder.is_some()) {
        let defaults: Vec<&str> = AUTHORITY_FOLDERS.iter().chain(&AUTHORITY_FILES).copied().collect();
        let usual = find(rootfs, &defaults, None, is_certificate);
        found.usual = usual.present.then_some(usual.place);
    }
    found
}

/// Whether there is a time zone database. `TZDIR` takes the place of the default.
#[must_use]
pub fn time_zones(rootfs: &Rootfs, settings: &ConfigurationFacts) -> Presence {
    let is_zone = |name: &str| name.starts_with(|first: char| first.is_ascii_uppercase()) || name.starts_with("zone");
    let set = settings.env.get("TZDIR");
    let paths = set.map_or_else(|| ZONES.to_vec(), |set| set.value.split(':').collect());
    find(rootfs, &paths, set, is_zone)
}

/// A name such as `3bde41ac.0`, by which OpenSSL finds a certificate.
fn is_hashed(name: &str) -> bool {
    name.strip_suffix(".0").is_some_and(|hash| hash.len() == 8 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

fn find(rootfs: &Rootfs, paths: &[&str], set: Option<&Setting<String>>, is_wanted: impl Fn(&str) -> bool) -> Presence {
    let looked_in = paths.iter().map(|path| (*path).to_owned()).collect();
    let found = paths.iter().find_map(|path| {
        let node = rootfs.find(path).ok()?;
        match node.kind {
            Kind::File if node.size > 0 => Some(rootfs.place(path.trim_start_matches('/'), &node)),
            Kind::Directory => {
                let name = rootfs.names(path).into_iter().find(|name| is_wanted(name))?;
                let inside = join(path, &name);
                // A link to a certificate that is gone is none.
                let node = rootfs.find(&inside).ok()?;
                Some(Place { path: Some(absolute(&inside)), ..rootfs.place(&inside, &node) })
            }
            _ => None,
        }
    });
    let first = || Place::path(paths.first().copied().unwrap_or("/"));
    let asked = set.map_or_else(first, |setting| setting.place.clone());
    Presence { present: found.is_some(), place: found.unwrap_or(asked), looked_in, usual: None }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::layer::{IndexBuilder, NewEntry};
    use crate::rootfs::StackedLayer;

    fn rootfs(files: &[(&str, u64)]) -> Rootfs {
        let mut builder = IndexBuilder::default();
        for (path, size) in files {
            let new = NewEntry { path, kind: Kind::File, mode: 0o644, uid: 0, gid: 0, size: *size, link: "" };
            builder.add(&new, None).unwrap();
        }
        Rootfs::new(vec![StackedLayer { index: Arc::new(builder.finish(None, 0).unwrap()), instruction: None }])
    }

    fn with(name: &str, value: &str) -> ConfigurationFacts {
        let setting = Setting { value: value.to_owned(), place: Place::field("config.Env") };
        ConfigurationFacts { env: [(name.to_owned(), setting)].into(), ..ConfigurationFacts::default() }
    }

    #[test]
    fn authorities_are_a_bundle_or_a_folder_of_certificates() {
        let none = ConfigurationFacts::default();
        assert!(ca_certificates(&rootfs(&[("etc/ssl/certs/ca-certificates.crt", 9)]), &none).present);
        assert!(ca_certificates(&rootfs(&[("etc/pki/tls/certs/3bde41ac.0", 9)]), &none).present);
        assert!(!ca_certificates(&rootfs(&[("etc/ssl/cert.pem", 0), ("etc/ssl/certs/README", 9)]), &none).present);
    }

    #[test]
    fn variables_take_the_place_of_the_defaults() {
        let rootfs = rootfs(&[("etc/ssl/certs/ca-certificates.crt", 9), ("own/ca.pem", 9), ("zones/Europe/Berlin", 9)]);
        assert!(ca_certificates(&rootfs, &with("SSL_CERT_FILE", "/own/ca.pem")).present);
        // Each variable leaves what the other one names as it is.
        assert!(ca_certificates(&rootfs, &with("SSL_CERT_FILE", "/own/gone.pem")).present);
        assert!(ca_certificates(&rootfs, &with("SSL_CERT_DIR", "/gone:/own")).present);
        assert!(!ca_certificates(&rootfs, &with("SSL_CERT_DIR", "/gone")).present, "there is no default file");
        let mut both = with("SSL_CERT_FILE", "/own/gone.pem");
        both.env.extend(with("SSL_CERT_DIR", "/gone").env);
        let lost = ca_certificates(&rootfs, &both);
        assert_eq!((lost.present, lost.place), (false, Place::field("config.Env")));
        let usual = lost.usual.and_then(|place| place.path);
        assert_eq!(usual.as_deref(), Some("/etc/ssl/certs/ca-certificates.crt"));
        assert!(time_zones(&rootfs, &with("TZDIR", "/zones")).present);
        assert!(!time_zones(&rootfs, &ConfigurationFacts::default()).present);
    }
}
