//! Finds the user that a container runs as, and with which groups, or why engines refuse to start it.

use super::{Fact, Setting, User};
use crate::layer::Kind;
use crate::printable::excerpt;
use crate::rootfs::{Missing, Rootfs};

/// The largest user or group id that engines take from a number (moby/sys, user: `maxID`).
const LARGEST_ID: i64 = (1 << 31) - 1;
/// From this length on, in bytes, a line of `/etc/passwd` ends the reading (Go, bufio.Scanner).
const LONGEST_LINE: usize = 64 << 10;
/// The most groups that are kept of one user (Linux, NGROUPS_MAX).
const MOST_GROUPS: usize = 65_536;

/// The user that `USER` means, as engines resolve it (moby/sys, user: `GetExecUser`), and as runc does it again with the
/// numbers that come of it.
#[must_use]
pub fn user(setting: &Setting<String>, rootfs: &Rootfs) -> Fact<User> {
    let mut found = User { given: setting.value.clone(), place: setting.place.clone(), ..User::default() };
    let (passwd, group) = match (text(rootfs, "etc/passwd"), text(rootfs, "etc/group")) {
        (Text::NotKept(why), _) | (_, Text::NotKept(why)) => return Fact::unknown(why),
        (Text::Unreadable(why), _) | (_, Text::Unreadable(why)) => {
            found.refused = Some(why);
            return Fact::Known(found);
        }
        (Text::Missing, Text::Missing) => (None, None),
        (Text::Missing, Text::Known(group)) => (None, Some(group)),
        (Text::Known(passwd), Text::Missing) => (Some(passwd), None),
        (Text::Known(passwd), Text::Known(group)) => (Some(passwd), Some(group)),
    };
    if let Err(why) = resolve(&mut found, passwd.as_deref().unwrap_or_default(), group.as_deref().unwrap_or_default()) {
        found.refused = Some(why);
    }
    Fact::Known(found)
}

/// A file that engines read themselves.
enum Text {
    Missing,
    Known(String),
    /// It is there, and engines give up on it.
    Unreadable(String),
    /// It is there, and what is in it is not known.
    NotKept(String),
}

fn text(rootfs: &Rootfs, path: &str) -> Text {
    let node = match rootfs.find(path) {
        Ok(node) => node,
        Err(Missing::Absent(_)) => return Text::Missing,
        Err(missing) => return Text::Unreadable(format!("/{path} cannot be opened: {}", missing.why())),
    };
    match (node.kind, node.detail().and_then(|detail| detail.content.as_deref())) {
        (Kind::Directory, _) => Text::Unreadable(format!("/{path} is a folder")),
        (_, Some(content)) => Text::Known(String::from_utf8_lossy(content).into_owned()),
        (Kind::File, None) if node.size == 0 => Text::Known(String::new()),
        _ => Text::NotKept(format!("/{path} is not a small regular file")),
    }
}

/// Fills in the ids.
///
/// # Errors
/// Why engines refuse to start a container.
fn resolve(found: &mut User, passwd: &str, group: &str) -> Result<(), String> {
    let given = found.given.clone();
    let mut parts = given.split(':');
    let (wanted, wanted_group) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let account = find_account(passwd, wanted)?;
    let (uid, mut gid) = match &account {
        Some(account) => (account.uid, account.gid),
        None if wanted.is_empty() => (0, 0),
        None => match wanted.parse::<i64>() {
            Ok(uid) => (in_range("user", uid)?, 0),
            Err(_) => return Err(format!("/etc/passwd has no user {:?}", excerpt(wanted, 80))),
        },
    };
    let groups: Vec<Group> = group.lines().filter_map(Group::read).collect();
    if !wanted_group.is_empty() {
        let number = wanted_group.parse::<i64>();
        let fits = |group: &&Group| number.as_ref().map_or(group.name == wanted_group, |number| group.gid == *number);
        gid = match (groups.iter().find(fits), &number) {
            (Some(group), _) => group.gid,
            (None, Ok(number)) => in_range("group", *number)?,
            (None, Err(_)) => return Err(format!("/etc/group has no group {:?}", excerpt(wanted_group, 80))),
        };
    } else if let Some(account) = &account {
        let own = groups.iter().filter(|group| group.members.iter().any(|member| *member == account.name));
        found.groups = own.map(|group| group.gid as u32).take(MOST_GROUPS).collect();
    }
    // Engines hand the low 32 bits on, and runc looks them up once more, as numbers.
    let (uid, gid) = (uid as u32, gid as u32);
    if find_account(passwd, &uid.to_string())?.is_none() {
        in_range("user", uid.into())?;
    }
    for gid in std::iter::once(&gid).chain(&found.groups) {
        if !groups.iter().any(|group| group.gid == i64::from(*gid)) {
            in_range("group", (*gid).into())?;
        }
    }
    (found.uid, found.gid) = (Some(uid), Some(gid));
    if let Some(account) = account {
        (found.name, found.home) = (Some(account.name), Some(account.home));
    }
    Ok(())
}

fn in_range(what: &str, id: i64) -> Result<i64, String> {
    if (0..=LARGEST_ID).contains(&id) { Ok(id) } else { Err(format!("the {what} id {id} is not in 0 to {LARGEST_ID}")) }
}

struct Account {
    name: String,
    uid: i64,
    gid: i64,
    home: String,
}

/// The first account of a name, or of a number; of no name that of the superuser.
fn find_account(passwd: &str, wanted: &str) -> Result<Option<Account>, String> {
    let number = if wanted.is_empty() { Ok(0) } else { wanted.parse::<i64>() };
    if passwd.lines().any(|line| line.len() >= LONGEST_LINE) {
        return Err("/etc/passwd has a line that is too long for engines to read".to_owned());
    }
    let fits = |account: &Account| number.as_ref().map_or(account.name == wanted, |number| account.uid == *number);
    Ok(passwd.lines().filter_map(account).find(fits))
}

/// A line of passwd(5): name, password, uid, gid, comment, home, shell. Engines take what is missing for empty, and a
/// number that is none for 0.
fn account(line: &str) -> Option<Account> {
    let line = line.trim();
    if line.is_empty() {
        return None;
    }
    let mut fields = line.split(':');
    let name = fields.next()?.to_owned();
    let uid = number(fields.nth(1));
    let gid = number(fields.next());
    let home = fields.nth(1).unwrap_or_default().to_owned();
    Some(Account { name, uid, gid, home })
}

/// A number as Go's `strconv.Atoi` leaves it after an error: 0, or the nearest one that fits.
fn number(field: Option<&str>) -> i64 {
    let text = field.unwrap_or_default();
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    match text.parse() {
        Ok(number) => number,
        Err(_) if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) => 0,
        Err(_) if text.starts_with('-') => i64::MIN,
        Err(_) => i64::MAX,
    }
}

/// A line of group(5): name, password, gid, members.
struct Group<'a> {
    name: &'a str,
    gid: i64,
    members: Vec<&'a str>,
}

impl<'a> Group<'a> {
    fn read(line: &'a str) -> Option<Self> {
        let line = line.trim();
        if line.is_empty() {
            return None;
        }
        let mut fields = line.split(':');
        let name = fields.next()?;
        let gid = number(fields.nth(1));
        Some(Self { name, gid, members: fields.next().unwrap_or_default().split(',').collect() })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::layer::{Detail, IndexBuilder, NewEntry};
    use crate::rootfs::StackedLayer;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/bash\napp:x:1000:1000::/home/app:/bin/sh\n\
                          big:x:4294967294:1::/:/bin/sh\nbad\nodd:x:abc:def::/odd:/bin/sh\nneg:x:-5:0::/:\n";
    const GROUP: &str =
        "root:x:0:\napp:x:1000:\ntools:x:2000:app,x\nmore:x:2001:x,app\nroots:x:7:root\nbadg\nneg:x:-1:\n";

    fn user_in(given: &str, passwd: &str, group: &str) -> User {
        let mut builder = IndexBuilder::default();
        for (path, content) in [("etc/passwd", passwd), ("etc/group", group)] {
            let entry = NewEntry { path, kind: Kind::File, mode: 0o644, uid: 0, gid: 0, size: 1, link: "" };
            let detail = Detail { content: Some(content.as_bytes().to_vec()), ..Detail::default() };
            builder.add(&entry, Some(detail)).unwrap();
        }
        let layer = StackedLayer { index: Arc::new(builder.finish(None, 0).unwrap()), instruction: None };
        let setting = Setting { value: given.to_owned(), ..Setting::default() };
        user(&setting, &Rootfs::new(vec![layer])).known().unwrap().clone()
    }

    /// User id, group id and further groups, or why there is none.
    fn shown(given: &str) -> String {
        let user = user_in(given, PASSWD, GROUP);
        match user.refused {
            Some(why) => why,
            None => format!("{} {} {:?}", user.uid.unwrap(), user.gid.unwrap(), user.groups),
        }
    }

    /// As Docker 20.10 with runc 1.1 runs or refuses them.
    #[test]
    fn users_and_groups_are_those_of_a_real_container() {
        for (given, expected) in [
            ("", "0 0 [7]"),
            (":", "0 0 [7]"),
            ("root", "0 0 [7]"),
            ("app", "1000 1000 [2000, 2001]"),
            ("1000", "1000 1000 [2000, 2001]"),
            ("+1000", "1000 1000 [2000, 2001]"),
            ("01000", "1000 1000 [2000, 2001]"),
            ("1000:", "1000 1000 [2000, 2001]"),
            ("app:app", "1000 1000 []"),
            ("app:tools:x", "1000 2000 []"),
            ("1000:7", "1000 7 []"),
            (":tools", "0 2000 []"),
            ("1234", "1234 0 []"),
            ("1234:badg", "1234 0 []"),
            ("12345:23456", "12345 23456 []"),
            ("2147483647", "2147483647 0 []"),
            ("big", "4294967294 1 []"),
            ("4294967294", "4294967294 1 []"),
            ("odd", "0 0 []"),
            ("bad", "0 0 []"),
            ("nobody-here", "/etc/passwd has no user \"nobody-here\""),
            (" app", "/etc/passwd has no user \" app\""),
            ("0x10", "/etc/passwd has no user \"0x10\""),
            ("99999999999999999999", "/etc/passwd has no user \"99999999999999999999\""),
            ("root:nogroup-here", "/etc/group has no group \"nogroup-here\""),
            ("neg", "the user id 4294967291 is not in 0 to 2147483647"),
            ("-6", "the user id -6 is not in 0 to 2147483647"),
            ("2147483648", "the user id 2147483648 is not in 0 to 2147483647"),
            ("app:neg", "the group id 4294967295 is not in 0 to 2147483647"),
            (":99999999999", "the group id 99999999999 is not in 0 to 2147483647"),
        ] {
            assert_eq!(shown(given), expected, "{given:?}");
        }
    }

    #[test]
    fn odd_lines_of_passwd_count_as_engines_read_them() {
        let ids = |passwd: &str| {
            let user = user_in("app", passwd, "");
            (user.uid, user.gid, user.home)
        };
        let home = |home: &str| Some(home.to_owned());
        assert_eq!(ids("  app:x:77:88::/h:\r\n"), (Some(77), Some(88), home("/h")));
        assert_eq!(ids("app:x:77:88::/h:\napp:x:1:2::/:\n"), (Some(77), Some(88), home("/h")), "the first counts");
        assert_eq!(ids("app:x: 77:88 ::/h:\n"), (Some(0), Some(0), home("/h")));
        assert_eq!(ids("app"), (Some(0), Some(0), home("")));
        let long = format!("app:x:1:2::/:\n{}\n", "x".repeat(70_000));
        assert!(user_in("app", &long, "").refused.unwrap().contains("too long"));
    }
}
