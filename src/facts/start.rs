//! Finds what engines refuse: settings and files with which no container is created or started.

use serde::{Deserialize, Serialize};

use super::{ConfigurationFacts, Fact, Setting, User};
use crate::layer::Kind;
use crate::layer::path::absolute;
use crate::printable::excerpt;
use crate::rootfs::{Missing, Rootfs};
use crate::verdict::Place;

/// Files that engines put into every container; a folder of that name cannot be covered by one (moby,
/// daemon/initlayer/setup_unix.go and daemon/container_operations_unix.go).
const MOUNTED_FILES: [&str; 3] = ["/etc/hosts", "/etc/hostname", "/etc/resolv.conf"];
/// Other files that are in every container before its volumes are made (moby, daemon/initlayer/setup_unix.go).
const MADE_FILES: [&str; 2] = ["/.dockerenv", "/dev/console"];

/// One thing that an engine refuses.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Refusal {
    /// What is wrong and what the engine says, a sentence without its full stop.
    pub statement: String,
    /// Where it is set.
    pub place: Place,
}

/// All that engines refuse of an image for Linux, as Docker with runc does.
#[must_use]
pub fn refusals(settings: &ConfigurationFacts, user: &Fact<User>, rootfs: &Rootfs) -> Fact<Vec<Refusal>> {
    let user = match user {
        Fact::Known(user) => user,
        Fact::Unknown(unknown) => return Fact::unknown(&unknown.unknown),
        Fact::NotApplicable(why) => return Fact::not_applicable(&why.not_applicable),
    };
    let mut found = Vec::new();
    if let Some(why) = &user.refused {
        let what = if user.given.is_empty() {
            "USER is not set".to_owned()
        } else if user.place.field.as_deref() == Some("--set user") {
            format!("the user is {:?}", user.given)
        } else {
            format!("USER is {:?}", user.given)
        };
        let statement = format!("{what}, but {why}");
        found.push(Refusal { statement, place: or_field(&user.place, "config.User") });
    }
    for (name, setting) in &settings.env {
        let why = if name.is_empty() {
            "environment variable name can't be empty"
        } else if name.contains('\0') {
            "environment variable name can't contain null"
        } else if setting.value.contains('\0') {
            "environment variable value can't contain null"
        } else {
            continue;
        };
        let entry = excerpt(&format!("{name}={}", setting.value), 80);
        let statement = format!("Env has the entry {entry:?}, which runc refuses: {why}");
        found.push(Refusal { statement, place: or_field(&setting.place, "config.Env") });
    }
    found.extend(settings.volumes.iter().filter_map(|volume| refused_volume(volume, rootfs)));
    for path in MOUNTED_FILES {
        if let Ok(node) = rootfs.find(path)
            && node.kind == Kind::Directory
            && node.links.is_empty()
        {
            let statement = format!("{path} is a folder, and the file that engines mount there cannot cover it");
            found.push(Refusal { statement, place: rootfs.place(path.trim_start_matches('/'), &node) });
        }
    }
    Fact::Known(found)
}

fn or_field(place: &Place, field: &str) -> Place {
    if *place == Place::default() { Place::field(field) } else { place.clone() }
}

/// Why a volume cannot be made (moby, daemon/create_unix.go; runc, libcontainer/rootfs_linux.go).
fn refused_volume(volume: &Setting<String>, rootfs: &Rootfs) -> Option<Refusal> {
    let given = &volume.value;
    let path = cleaned(given);
    let says = |why: String| {
        let statement = format!("the volume {:?} {why}", excerpt(given, 200));
        Some(Refusal { statement, place: or_field(&volume.place, "config.Volumes") })
    };
    if given.contains('\0') {
        return says("has a NUL in its path".to_owned());
    }
    // Engines make these before they look at volumes, over whatever the image has there.
    if MOUNTED_FILES.contains(&path.as_str()) || MADE_FILES.contains(&path.as_str()) {
        return says(format!(
            "is at {path}, which is a file in every container: cannot mount volume over existing file"
        ));
    }
    let is_below = |folder: &str| path == folder || path.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'));
    let real = match rootfs.find(&path) {
        _ if is_below("/proc") || is_below("/dev") => path.clone(),
        Ok(node) if node.kind == Kind::Directory => absolute(&node.path),
        Ok(node) => {
            let real = absolute(&node.path);
            return says(format!("is at {real}, which is a file: cannot mount volume over existing file"));
        }
        Err(Missing::Absent(_)) => path.clone(),
        Err(missing) => return says(format!("cannot be made: {}", missing.why())),
    };
    match real.as_str() {
        "/" => says("covers the whole file system of the container, so that its start fails".to_owned()),
        "/proc" => says("is at /proc: it cannot be mounted because it is not of type proc".to_owned()),
        "/dev" => says("covers /dev, so that there is no /dev/null and the start fails".to_owned()),
        "/dev/null" | "/dev/ptmx" => says(format!("is at {real}, where engines put a device or a link")),
        inside if inside.starts_with("/proc/") => says("cannot be mounted because it is inside /proc".to_owned()),
        _ => None,
    }
}

/// The path from the root on, without `.`, `..` and empty parts, as engines clean it before they look at links.
fn cleaned(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::layer::{IndexBuilder, NewEntry};
    use crate::rootfs::StackedLayer;

    fn rootfs() -> Rootfs {
        let mut builder = IndexBuilder::default();
        let mut add = |path, kind, link| {
            builder.add(&NewEntry { path, kind, mode: 0o755, uid: 0, gid: 0, size: 1, link }, None).unwrap();
        };
        add("file", Kind::File, "");
        add("data", Kind::Directory, "");
        add("link", Kind::Symlink, "/file");
        add("root", Kind::Symlink, "/");
        add("loop", Kind::Symlink, "/loop");
        add("dangling", Kind::Symlink, "/gone");
        add("etc/hosts", Kind::Directory, "");
        add("etc/hostname", Kind::Symlink, "/data");
        Rootfs::new(vec![StackedLayer { index: Arc::new(builder.finish(None, 0).unwrap()), instruction: None }])
    }

    /// As Docker 20.10 with runc 1.1 refuses or takes them.
    #[test]
    fn volumes_are_refused_as_by_an_engine() {
        let rootfs = rootfs();
        for (path, is_refused) in [
            ("/", true),
            ("/.", true),
            ("//", true),
            ("/x/..", true),
            ("/../..", true),
            ("", true),
            ("./", true),
            ("/root", true),
            ("x", false),
            ("data", false),
            ("/data", false),
            ("/data:ro", false),
            ("/dangling", false),
            ("/new/folder", false),
            ("/file", true),
            ("/link", true),
            ("/file/x", true),
            ("/loop", true),
            ("/a\0b", true),
            ("/etc", false),
            ("/etc/hosts", true),
            ("/etc/resolv.conf", true),
            ("/.dockerenv", true),
            ("/proc", true),
            ("/proc/x", true),
            ("/proc/self", true),
            ("/proc/cpuinfo", true),
            ("/procs", false),
            ("/sys", false),
            ("/sys/fs/cgroup", false),
            ("/dev", true),
            ("/dev/null", true),
            ("/dev/ptmx", true),
            ("/dev/zero", false),
            ("/dev/shm", false),
            ("/dev/x", false),
        ] {
            let volume = Setting { value: path.to_owned(), place: Place::default() };
            let refused = refused_volume(&volume, &rootfs);
            assert_eq!(refused.is_some(), is_refused, "{path:?}: {refused:?}");
        }
    }

    fn said(user: User, env: &[(&str, &str)]) -> Vec<String> {
        let mut settings = ConfigurationFacts::default();
        for (name, value) in env {
            settings.env.insert((*name).to_owned(), Setting { value: (*value).to_owned(), ..Setting::default() });
        }
        let found = refusals(&settings, &Fact::Known(user), &rootfs());
        found.known().unwrap().iter().map(|refusal| refusal.statement.clone()).collect()
    }

    #[test]
    fn variables_users_and_files_are_refused_as_by_an_engine() {
        let hosts = "/etc/hosts is a folder, and the file that engines mount there cannot cover it";
        assert_eq!(said(User::default(), &[("A B", "1"), ("1", ""), ("é", "\n")]), [hosts]);
        let unknown =
            User { given: "x".into(), refused: Some("/etc/passwd has no user \"x\"".into()), ..User::default() };
        assert_eq!(said(unknown, &[])[0], "USER is \"x\", but /etc/passwd has no user \"x\"");
        for (name, value) in [("", "x"), ("A\0", "b"), ("A", "b\0c")] {
            assert!(said(User::default(), &[(name, value)])[0].contains("runc refuses"), "{name:?} {value:?}");
        }
    }
}
