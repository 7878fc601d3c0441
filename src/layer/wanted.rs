//! Which files of a layer are looked into beyond their first bytes, told by their paths alone.
//!
//! A layer does not know what lies above it, so links count by their names: `/etc/os-release` may lead to any file of
//! such a name, and so may a home folder.

use super::packages::PackageFormat;
use super::path::parent_and_name;

/// The largest file of the system that is kept whole, in bytes.
const LARGEST_KEPT: u64 = 1 << 20;
/// The largest runtimeconfig.json, shell file or version file that is kept, in bytes. Parsing a longer shell file could
/// take long; real ones that set PATH are far smaller.
const LARGEST_SMALL: u64 = 64 << 10;

/// Up to which size a file is kept whole, in bytes; 0 for those that facts do not read.
pub(super) fn largest_kept(path: &str) -> u64 {
    let (folder, name) = parent_and_name(path);
    let is_of_system = match folder {
        "etc" => {
            matches!(name, "passwd" | "group" | "ld.so.cache" | "ld.so.preload")
                || (name.starts_with("ld-musl-") && name.ends_with(".path"))
        }
        "etc/dotnet" => name.starts_with("install_location"),
        _ => false,
    };
    if is_of_system || name.starts_with("os-release") {
        LARGEST_KEPT
    } else if name.ends_with(".runtimeconfig.json")
        || name.ends_with(".runtimeconfig.dev.json")
        || is_shell_file(folder, name)
        || tells_version(folder, name)
        || decides_imports(folder, name)
        || configures_openssl(folder, name)
    {
        LARGEST_SMALL
    } else {
        0
    }
}

/// How a file lists installed packages, if it does.
pub(super) fn package_format(path: &str) -> Option<PackageFormat> {
    let (folder, name) = parent_and_name(path);
    match folder {
        "var/lib/dpkg" if name == "status" => Some(PackageFormat::Dpkg),
        "var/lib/dpkg/status.d" if !name.contains('.') => Some(PackageFormat::Dpkg),
        "lib/apk/db" | "usr/lib/apk/db" if name == "installed" => Some(PackageFormat::Apk),
        _ => None,
    }
}

/// How large a program of another name may be that `bash` may lead to, in bytes; those of distributions have 1 to 2 MB.
const LARGEST_BASH: usize = 3 << 20;

/// Whether a program of this name may be bash. Links called bash can lead to any name, so it goes by the size, too.
pub(super) fn may_be_bash(name: &str, size: usize) -> bool {
    name.starts_with("bash") || name == "sh" || (size <= LARGEST_BASH && !name.contains(".so"))
}

/// Whether a shell reads such a file when it starts, or such files source it: the start-up files of bash, dash, zsh and
/// fish, and what installers of tools leave to be sourced.
fn is_shell_file(folder: &str, name: &str) -> bool {
    let is_start_up = matches!(
        name,
        ".profile"
            | ".bash_profile"
            | ".bash_login"
            | ".bashrc"
            | ".bash_aliases"
            | ".zshenv"
            | ".zprofile"
            | ".zshrc"
            | ".zlogin"
            | "config.fish"
    );
    let is_script = [".sh", ".bash", ".zsh", ".fish", ".inc", ".local"].iter().any(|ending| name.ends_with(ending));
    let of_etc = folder == "etc"
        && matches!(
            name,
            "profile" | "bash.bashrc" | "bashrc" | "environment" | "zshenv" | "zprofile" | "zshrc" | "zlogin"
        );
    let depth = folder.matches('/').count();
    let is_sourced = (folder.starts_with("etc/")
        && (is_script || folder.starts_with("etc/zsh") || folder == "etc/bash"))
        || (folder.ends_with("profile.d") && is_script)
        || (is_home(folder) && is_script)
        || (depth < 6 && name == "env")
        || matches!(name, "path.bash.inc" | "conda.sh" | "env.sh");
    of_etc || is_start_up || is_sourced || may_be_bash_env(folder, name)
}

/// Whether `BASH_ENV` may name such a file: what is called so, and scripts where images keep their own.
fn may_be_bash_env(folder: &str, name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    let is_called_so = (lower.contains("bash") && lower.contains("env")) || lower.contains("bashrc");
    let is_own =
        matches!(folder, "" | "etc" | "opt") || (folder.starts_with("opt/") && folder.matches('/').count() < 3);
    is_called_so || name.starts_with("scl_enable") || (is_own && (name.ends_with(".sh") || lower.contains("env")))
}

/// Whether a folder is a home folder, or close below one.
fn is_home(folder: &str) -> bool {
    let below = folder.strip_prefix("root").or_else(|| {
        let rest = folder.strip_prefix("home/")?;
        Some(rest.find('/').map_or("", |at| &rest[at..]))
    });
    below.is_some_and(|below| below.matches('/').count() <= 3 && (below.is_empty() || below.starts_with("/.")))
}

/// Whether a file tells the version of the tool that it lies beside, or which version is chosen.
fn tells_version(folder: &str, name: &str) -> bool {
    match name {
        // nvm, and fnm's links to folders.
        "default" => folder.ends_with("/alias"),
        // pyenv, rbenv, Google Cloud SDK, Go.
        "version" | "VERSION" => true,
        // JDKs.
        "release" => folder.contains("jdk") || folder.contains("jvm") || folder.contains("java"),
        // Virtual environments of Python.
        "pyvenv.cfg" => true,
        "package.json" => {
            let (above, _) = parent_and_name(folder);
            above.ends_with("lib/node_modules")
        }
        _ => false,
    }
}

/// Whether a file may configure OpenSSL: what is called so, and what such files include.
fn configures_openssl(folder: &str, name: &str) -> bool {
    let is_near = |text: &str| text.contains("ssl") || text.contains("fips");
    name.ends_with(".cnf")
        || name.starts_with("opensslcnf")
        || ((name.ends_with(".conf") || name.ends_with(".config")) && (is_near(folder) || is_near(name)))
}

/// Whether a file decides what Python imports: files that add folders, that run before everything else, and the few
/// compiled modules whose release is asked for.
fn decides_imports(folder: &str, name: &str) -> bool {
    let is_site = folder.ends_with("/site-packages") || folder.ends_with("/dist-packages");
    let is_cipher = folder.ends_with("/Crypto") || folder.ends_with("/Crypto/Cipher");
    (is_site && name.ends_with(".pth"))
        || name.ends_with("._pth")
        || matches!(name, "sitecustomize.py" | "usercustomize.py")
        || (is_cipher && name.ends_with(".pyc"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_shells_read_is_kept_and_other_scripts_are_not() {
        for path in [
            "etc/profile",
            "etc/profile.d/go.sh",
            "etc/environment",
            "root/.bashrc",
            "home/app/.profile",
            "home/app/.config/fish/config.fish",
            "root/.cargo/env",
            "root/.sdkman/bin/sdkman-init.sh",
            "opt/conda/etc/profile.d/conda.sh",
            "root/.nvm/alias/default",
            "usr/lib/jvm/temurin-17-jdk/release",
            "usr/lib/node_modules/npm/package.json",
        ] {
            assert_eq!(largest_kept(path), LARGEST_SMALL, "{path}");
        }
        for path in ["usr/share/doc/x.sh", "home/app/src/build/a.sh", "srv/package.json", "etc/shadow", "opt/a/b.json"]
        {
            assert_eq!(largest_kept(path), 0, "{path}");
        }
    }

    #[test]
    fn package_lists_are_known_by_their_paths() {
        assert_eq!(package_format("var/lib/dpkg/status"), Some(PackageFormat::Dpkg));
        assert_eq!(package_format("var/lib/dpkg/status.d/base"), Some(PackageFormat::Dpkg));
        assert_eq!(package_format("var/lib/dpkg/status.d/base.md5sums"), None);
        assert_eq!(package_format("lib/apk/db/installed"), Some(PackageFormat::Apk));
    }
}
