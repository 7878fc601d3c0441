//! Collects the user that a container runs as.

use super::{Fact, Setting, User};
use crate::rootfs::Rootfs;

/// The user that `USER` means, by number or by `/etc/passwd`, as engines resolve it (moby/sys, user).
#[must_use]
pub fn user(setting: &Setting<String>, rootfs: &Rootfs) -> Fact<User> {
    let given = setting.value.trim();
    let name = given.split(':').next().unwrap_or_default();
    let passwd = match rootfs.find("etc/passwd") {
        Ok(node) => match node.detail().and_then(|detail| detail.content.as_deref()) {
            Some(content) => String::from_utf8_lossy(content).into_owned(),
            None => return Fact::unknown("/etc/passwd is not a small regular file"),
        },
        Err(_) => String::new(),
    };
    let accounts = passwd.lines().filter_map(account);
    let number = if name.is_empty() { Some(0) } else { name.parse().ok() };
    let found = accounts.into_iter().find(|account| account.name == name || Some(account.uid) == number);
    let group = given.split_once(':').map(|(_, group)| group);
    Fact::Known(User {
        given: setting.value.clone(),
        uid: found.as_ref().map(|account| account.uid).or(number),
        gid: match group {
            // A name stands in /etc/group, which is not read.
            Some(group) => group.parse().ok(),
            // Engines give a number without an account the group 0.
            None => Some(found.as_ref().map_or(0, |account| account.gid)),
        },
        name: found.as_ref().map(|account| account.name.clone()),
        home: found.map(|account| account.home),
        place: setting.place.clone(),
    })
}

struct Account {
    name: String,
    uid: u32,
    gid: u32,
    home: String,
}

/// A line of passwd(5): name, password, uid, gid, comment, home, shell.
fn account(line: &str) -> Option<Account> {
    let mut fields = line.split(':');
    let name = fields.next()?.to_owned();
    let uid = fields.nth(1)?.parse().ok()?;
    let gid = fields.next()?.parse().ok()?;
    let home = fields.nth(1)?.to_owned();
    Some(Account { name, uid, gid, home })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::layer::{Detail, IndexBuilder, Kind, NewEntry};
    use crate::rootfs::StackedLayer;

    fn user_of(given: &str) -> User {
        let passwd = b"root:x:0:0:root:/root:/bin/bash\napp:x:1000:1000::/home/app:/bin/sh\nbad\n";
        let mut builder = IndexBuilder::default();
        let entry = NewEntry { path: "etc/passwd", kind: Kind::File, mode: 0o644, uid: 0, gid: 0, size: 1, link: "" };
        builder.add(&entry, Some(Detail { content: Some(passwd.to_vec()), ..Detail::default() })).unwrap();
        let layer = StackedLayer { index: Arc::new(builder.finish(None, 0)), instruction: None };
        let setting = Setting { value: given.to_owned(), ..Setting::default() };
        user(&setting, &Rootfs::new(vec![layer])).known().unwrap().clone()
    }

    #[test]
    fn names_and_numbers_are_resolved_as_engines_do() {
        assert_eq!((user_of("").uid, user_of("").home.as_deref()), (Some(0), Some("/root")));
        assert_eq!((user_of("app").uid, user_of("app:staff").home.as_deref()), (Some(1000), Some("/home/app")));
        assert_eq!((user_of("app").gid, user_of("1234").gid, user_of("app:7").gid), (Some(1000), Some(0), Some(7)));
        assert_eq!((user_of("1234:0").uid, user_of("1234").home), (Some(1234), None));
        assert_eq!(user_of("nobody-here").uid, None);
    }
}
