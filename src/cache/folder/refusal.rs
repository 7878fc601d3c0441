//! Which folders are not used for a cache unless the command line names them: those in which others may have put entries.
//!
//! Without a key an entry proves nothing but that it is whole. A folder of this user's, below folders that nobody else can
//! change, is as good as the program itself. A folder in a checkout is not, whoever owns it: an entry in it may have been
//! committed by the author of what is checked.

use std::fmt;
use std::io;
use std::path::{Component, Path, PathBuf};

use super::super::NamedBy;

/// Why a folder is not used for a cache.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::cache) struct Refused(String);

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; use another folder, or name it on the command line (--cache)", self.0)
    }
}

/// Where the folder is that the user, the environment or nobody names, without links.
///
/// # Errors
/// Others may have put entries there, and the command line does not name it.
pub(in crate::cache) fn checked(folder: &Path, named_by: NamedBy) -> Result<PathBuf, Refused> {
    if named_by == NamedBy::CommandLine {
        return Ok(folder.to_owned());
    }
    let Some((existing, rest)) = resolved(folder)? else { return Ok(folder.to_owned()) };
    let whole = existing.join(&rest);
    let here = std::env::current_dir().and_then(|here| here.canonicalize()).ok();
    let home = std::env::home_dir().and_then(|home| home.canonicalize().ok());
    let of_folder = (named_by == NamedBy::Environment).then(|| repository(&whole)).flatten();
    let checkouts = here.and_then(|here| checkout(&here, home.as_deref())).into_iter().chain(of_folder);
    if let Some(checkout) = checkouts.into_iter().find(|checkout| whole.starts_with(checkout)) {
        let place = checkout.display();
        return Err(Refused(format!(
            "it lies in {place}, and whoever changes what is checked there can put entries into it"
        )));
    }
    match others(&existing, rest.as_os_str().is_empty()) {
        Some(why) => Err(Refused(why)),
        None => Ok(whole),
    }
}

/// The part of a path that is there, without links, and the part that is not. `None` if it cannot be looked at, so that
/// it cannot be used either.
fn resolved(folder: &Path) -> Result<Option<(PathBuf, PathBuf)>, Refused> {
    let Ok(absolute) = std::path::absolute(folder) else { return Ok(None) };
    for existing in absolute.ancestors() {
        match existing.canonicalize() {
            Ok(found) => {
                let rest = absolute.strip_prefix(existing).unwrap_or(Path::new(""));
                if rest.components().any(|part| part == Component::ParentDir) {
                    return Err(Refused("its path leads back out of a folder that is not there".to_owned()));
                }
                return Ok(Some((found, rest.to_owned())));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                if existing.symlink_metadata().is_ok() {
                    return Err(Refused(format!("{} is a link that leads nowhere", existing.display())));
                }
            }
            Err(_) => return Ok(None),
        }
    }
    Ok(None)
}

/// The checkout that a folder lies in: the repository, else the folder itself, unless it is one that has the user's own
/// folder or everything in it.
fn checkout(here: &Path, home: Option<&Path>) -> Option<PathBuf> {
    let is_above = here.parent().is_none() || home.is_some_and(|home| home.starts_with(here));
    repository(here).or_else(|| Some(here.to_owned()).filter(|_| !is_above))
}

/// The nearest folder with a repository. Of submodules and other trees, in which `.git` is a file, the outermost.
fn repository(folder: &Path) -> Option<PathBuf> {
    let mut found = None;
    for folder in folder.ancestors() {
        match folder.join(".git").symlink_metadata() {
            Ok(git) if git.is_file() => found = Some(folder),
            Ok(_) => return Some(folder.to_owned()),
            Err(_) => {}
        }
    }
    found.map(Path::to_owned)
}

/// Why others than this user and root can change what a folder holds; `is_cache` if it is the cache's own.
#[cfg(unix)]
fn others(folder: &Path, is_cache: bool) -> Option<String> {
    use std::os::unix::fs::MetadataExt as _;
    /// Files in it can be renamed and removed by their owners only.
    const STICKY: u32 = 0o1000;
    for (number, folder) in folder.ancestors().enumerate() {
        let Ok(metadata) = folder.symlink_metadata() else { continue };
        let (name, mode) = (folder.display(), metadata.mode());
        let is_cache = is_cache && number == 0;
        if !super::shelf::is_own(&metadata) {
            return Some(format!("{name} belongs to another user, who can put entries into it"));
        }
        // A group that may change a folder above cannot make one that belongs to this user.
        let (bits, who) = if is_cache { (0o022, "others") } else { (0o002, "everybody") };
        if mode & bits != 0 && (is_cache || mode & STICKY == 0) {
            return Some(format!("{who} can write to {name}, and so put entries into it"));
        }
    }
    None
}

/// Windows has no modes, and its access lists are not looked at.
#[cfg(not(unix))]
fn others(_: &Path, _: bool) -> Option<String> {
    None
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn the_nearest_repository_is_the_checkout_and_of_submodules_the_outermost() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        fs::create_dir_all(root.join("outer/.git")).unwrap();
        fs::create_dir_all(root.join("outer/inner/.git")).unwrap();
        fs::create_dir_all(root.join("outer/module/src")).unwrap();
        fs::write(root.join("outer/module/.git"), "gitdir: ../.git/modules/module").unwrap();
        assert_eq!(repository(&root.join("outer/src")), Some(root.join("outer")));
        assert_eq!(repository(&root.join("outer/inner/src")), Some(root.join("outer/inner")));
        assert_eq!(repository(&root.join("outer/module/src")), Some(root.join("outer")));
        assert_eq!(repository(&root), None);
        assert_eq!(checkout(&root, None), Some(root.clone()));
        assert_eq!(checkout(&root, Some(&root.join("home"))), None, "the caches of a user are below their own folder");
        assert!(Path::new("/").join(".git").exists() || checkout(Path::new("/"), None).is_none());
        assert_eq!(checkout(&root.join("outer"), Some(&root.join("outer"))), Some(root.join("outer")));
    }

    #[test]
    fn what_the_environment_names_in_a_repository_is_refused_and_what_the_command_line_names_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        fs::create_dir_all(root.join("checkout/.git")).unwrap();
        let cache = root.join("checkout/.cache/imglint");
        let refused = checked(&cache, NamedBy::Environment).unwrap_err().to_string();
        assert!(refused.starts_with(&format!("it lies in {}", root.join("checkout").display())), "{refused}");
        assert!(refused.ends_with("name it on the command line (--cache)"), "{refused}");
        assert_eq!(checked(&cache, NamedBy::CommandLine), Ok(cache));
        assert_eq!(checked(&root.join("cache"), NamedBy::Environment), Ok(root.join("cache")));
    }

    #[cfg(unix)]
    #[test]
    fn links_are_resolved_before_a_folder_is_judged() {
        use std::os::unix::fs::symlink;
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        fs::create_dir_all(root.join("checkout/.git")).unwrap();
        symlink(root.join("checkout"), root.join("link")).unwrap();
        symlink(root.join("nowhere"), root.join("dangling")).unwrap();
        let refused = |path: &str| checked(&root.join(path), NamedBy::Environment).unwrap_err().to_string();
        assert!(refused("link/cache").starts_with("it lies in "), "{}", refused("link/cache"));
        assert!(refused("dangling/cache").contains("is a link that leads nowhere"));
        assert!(refused("absent/../checkout/cache").starts_with("its path leads back out"));
    }

    #[cfg(unix)]
    #[test]
    fn a_folder_that_others_can_write_to_is_refused() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        let (above, cache) = (root.join("above"), root.join("above/cache"));
        fs::create_dir_all(&cache).unwrap();
        let modes = |of_above, of_cache| {
            fs::set_permissions(&above, fs::Permissions::from_mode(of_above)).unwrap();
            fs::set_permissions(&cache, fs::Permissions::from_mode(of_cache)).unwrap();
            checked(&cache, NamedBy::Nobody).map_err(|why| why.to_string())
        };
        for good in [(0o755, 0o700), (0o775, 0o755), (0o1777, 0o700)] {
            assert_eq!(modes(good.0, good.1), Ok(cache.clone()), "{good:?}");
        }
        for (of_above, of_cache) in [(0o777, 0o700), (0o755, 0o770), (0o755, 0o707), (0o755, 0o1777)] {
            let refused = modes(of_above, of_cache).unwrap_err();
            assert!(refused.contains(" can write to "), "{of_above:o} {of_cache:o}: {refused}");
        }
    }
}
