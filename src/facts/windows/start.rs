//! Finds what Docker on Windows refuses: volumes that it does not parse, and users that no Windows has.

use crate::facts::start::Refusal;
use crate::facts::{ConfigurationFacts, Fact, Setting};
use crate::printable::excerpt;
use crate::tables::windows::WindowsKind;
use crate::verdict::Place;

/// The account that Nano Server's images name, which may not use folders that are mounted from the host.
const CONTAINER_USER: &str = "ContainerUser";
/// The account that containers run as if the image names none.
const ADMINISTRATOR: &str = "ContainerAdministrator";
/// Signs that no part of a path has (moby, daemon/volume/mounts/windows_parser.go, `rxDestination`).
const NOT_IN_NAMES: &str = ":*?\"<>\r\n";

/// All that Docker on Windows refuses of an image. Unknown where an account may be one of the image's own, since accounts
/// are not read.
#[must_use]
pub fn refusals(settings: &ConfigurationFacts, kind: Option<WindowsKind>) -> Fact<Vec<Refusal>> {
    let volumes = settings.volumes.iter().filter_map(|volume| {
        let why = refused_volume(&volume.value)?;
        let statement = format!("the volume {:?} is refused by Docker on Windows: {why}", excerpt(&volume.value, 200));
        Some(Refusal { statement, place: or_field(&volume.place, "config.Volumes") })
    });
    let mut found: Vec<Refusal> = volumes.collect();
    // Such containers run as an account of their host.
    let account = if kind == Some(WindowsKind::HostProcess) { Account::Usual } else { account(&settings.user.value) };
    match account {
        Account::Never(why) => {
            let statement = format!("USER is {:?}, but {why}", excerpt(&settings.user.value, 80));
            found.push(Refusal { statement, place: or_field(&settings.user.place, "config.User") });
        }
        Account::Perhaps if found.is_empty() => {
            let user = excerpt(&settings.user.value, 80);
            let why = "whether the image has such an account is not known, because its accounts are not read";
            return Fact::unknown(format!("USER is {user:?}, and {why}"));
        }
        Account::Perhaps | Account::Usual => {}
    }
    Fact::Known(found)
}

/// The user, if it is the one that may not use mounted folders.
#[must_use]
pub fn without_mounts(settings: &ConfigurationFacts) -> Option<Setting<String>> {
    let is_it = base_name(&settings.user.value).eq_ignore_ascii_case(CONTAINER_USER);
    is_it.then(|| Setting { value: CONTAINER_USER.to_owned(), place: or_field(&settings.user.place, "config.User") })
}

enum Account {
    /// Every image for containers has it.
    Usual,
    /// The image may have it.
    Perhaps,
    /// No Windows has it, and why.
    Never(String),
}

fn account(user: &str) -> Account {
    let name = base_name(user);
    let is_usual = [ADMINISTRATOR, CONTAINER_USER].iter().any(|usual| name.eq_ignore_ascii_case(usual));
    if name.is_empty() || is_usual {
        Account::Usual
    } else if name.contains(':') {
        Account::Never("Windows takes it for one name, which no account can have: users have no group there".to_owned())
    } else if name.bytes().all(|byte| byte.is_ascii_digit()) {
        let why = "Windows looks for an account of that name, and numbers are none: \"The user name or password is incorrect\"";
        Account::Never(why.to_owned())
    } else {
        Account::Perhaps
    }
}

/// The name without domain.
fn base_name(user: &str) -> &str {
    user.rsplit('\\').next().unwrap_or_default()
}

fn or_field(place: &Place, field: &str) -> Place {
    if *place == Place::default() { Place::field(field) } else { place.clone() }
}

/// Why a volume of the configuration is refused (moby, daemon/create_windows.go and
/// daemon/volume/mounts/windows_parser.go, `ParseMountRaw`).
fn refused_volume(spec: &str) -> Option<String> {
    let invalid = || Some("invalid volume specification".to_owned());
    let lower = spec.to_ascii_lowercase();
    let (destination, has_source) = match is_destination(&lower) {
        true => (lower.as_str(), false),
        false => match with_source(&lower) {
            Some(destination) => (destination, true),
            None => return invalid(),
        },
    };
    let plain = destination.replace('/', "\\");
    if plain == "c:" || plain == "c:\\" {
        return Some("destination path cannot be c: or c:\\".to_owned());
    }
    // A folder of the host would have to be there.
    let has_folder = has_source && lower.get(1..3).is_some_and(|start| [":\\", ":/"].contains(&start));
    if has_folder { Some("it names a folder of the host".to_owned()) } else { None }
}

/// The destination of `name:destination`, if it is that. A mode behind it is refused without a source, and taken with one.
fn with_source(spec: &str) -> Option<&str> {
    let without_mode = [":ro", ":rw"].iter().find_map(|mode| spec.strip_suffix(mode)).unwrap_or(spec);
    let colons = without_mode.char_indices().filter(|(_, sign)| *sign == ':').map(|(at, _)| at);
    colons.into_iter().find_map(|at| {
        let (source, destination) = (&without_mode[..at], &without_mode[at + 1..]);
        (is_source(source) && is_destination(destination)).then_some(destination)
    })
}

fn is_source(text: &str) -> bool {
    let is_name = !text.is_empty() && !text.contains(|sign| "\\/|".contains(sign) || NOT_IN_NAMES.contains(sign));
    is_name || is_folder(text) && !text.contains('|')
}

fn is_destination(text: &str) -> bool {
    is_folder(text) || is_pipe(text)
}

/// `c:`, `c:\`, `c:\a\b`, `\\?\c:\a`, with slashes as well; no two in a row.
fn is_folder(text: &str) -> bool {
    let text = text.strip_prefix(r"\\?\").unwrap_or(text);
    let mut signs = text.chars();
    let has_drive = signs.next().is_some_and(|sign| sign.is_ascii_lowercase()) && signs.next() == Some(':');
    let rest = signs.as_str();
    if !has_drive || rest.contains(|sign| NOT_IN_NAMES.contains(sign)) {
        return false;
    }
    let Some(inside) = rest.strip_prefix(['\\', '/']) else { return rest.is_empty() };
    let inside = inside.strip_suffix(['\\', '/']).unwrap_or(inside);
    inside.is_empty() && rest.len() == 1 || inside.split(['\\', '/']).all(|part| !part.is_empty())
}

fn is_pipe(text: &str) -> bool {
    let plain = text.replace('/', "\\");
    plain
        .strip_prefix(r"\\.\pipe\")
        .is_some_and(|name| !name.is_empty() && !name.contains(|c| NOT_IN_NAMES.contains(c)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As the regular expressions of Docker's parser take them.
    #[test]
    fn volumes_are_parsed_as_docker_on_windows_does() {
        for (spec, is_refused) in [
            (r"C:\", true),
            ("c:", true),
            ("C:/", true),
            ("/data", true),
            ("C:data", true),
            ("$RepositoryPath", true),
            ("data", true),
            ("", true),
            (r"C:\a?b", true),
            (r"C:\a\\b", true),
            (r"C:\data:ro", true),
            ("c:/data", false),
            (r"C:\Octopus", false),
            (r"C:\Windows", false),
            (r"C:\data\", false),
            (r"C:\Program Files\x", false),
            (r"\\?\c:\data", false),
            ("d:", false),
            (r"D:\", false),
            (r"name:C:\data", false),
            (r"name:C:\data:ro", false),
            (r"name:C:\", true),
            (r"C:\host:C:\data", true),
            (r"\\.\pipe\docker_engine", false),
        ] {
            assert_eq!(refused_volume(spec).is_some(), is_refused, "{spec:?}: {:?}", refused_volume(spec));
        }
    }

    fn refused(user: &str) -> Option<bool> {
        let user = Setting { value: user.to_owned(), place: Place::default() };
        let settings = ConfigurationFacts { user, ..ConfigurationFacts::default() };
        refusals(&settings, None).known().map(|found| !found.is_empty())
    }

    #[test]
    fn users_are_accounts_of_windows() {
        for user in ["", "ContainerAdministrator", "containeruser", r"User Manager\ContainerUser"] {
            assert_eq!(refused(user), Some(false), "{user:?}");
        }
        for user in ["1000", "app:app", "1000:1000"] {
            assert_eq!(refused(user), Some(true), "{user:?}");
        }
        assert_eq!(refused("appuser"), None, "the image may have such an account");
    }
}
