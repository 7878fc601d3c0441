//! What a user may do with the image's files: owners, groups and permission bits, as path_resolution(7) has them.

use super::{Node, Rootfs};
use crate::layer::Kind;
use crate::layer::path::ancestors;

/// A user as far as permissions go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Account<'a> {
    /// The user id.
    pub uid: u32,
    /// The group id; `None` if it is not known.
    pub gid: Option<u32>,
    /// The ids of the other groups that the user is in.
    pub groups: &'a [u32],
}

impl Account<'_> {
    /// The superuser.
    pub const ROOT: Self = Self { uid: 0, gid: Some(0), groups: &[] };
}

/// What is wanted of a file or folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// To read it, or list it.
    Read = 4,
    /// To write to it, or make files in it.
    Write = 2,
    /// To execute it, or go through it.
    Execute = 1,
}

impl Rootfs {
    /// Whether a user may have `access` to what a look-up found: by its own mode, and by every folder that the path and
    /// its links lead through. A group that is not known counts as the file's own.
    #[must_use]
    pub fn may(&self, user: Account<'_>, access: Access, node: &Node<'_>) -> bool {
        if user.uid == 0 {
            // The superuser reads and writes everything, but executes only what somebody may execute.
            return access != Access::Execute || node.kind == Kind::Directory || node.mode & 0o111 != 0;
        }
        let is_open = |folder: &str| self.find(folder).is_ok_and(|node| allows(&node, user, Access::Execute));
        allows(node, user, access)
            && ancestors(&node.path).all(is_open)
            && node.links.iter().all(|(path, _)| ancestors(path).all(is_open))
            && node.left.iter().all(|folder| is_open(folder) && ancestors(folder).all(is_open))
    }
}

fn allows(node: &Node<'_>, user: Account<'_>, access: Access) -> bool {
    let (uid, gid) = node.owner;
    let shift = if uid == user.uid {
        6
    } else if user.gid.is_none_or(|own| own == gid) || user.groups.contains(&gid) {
        3
    } else {
        0
    };
    (node.mode >> shift) & access as u32 != 0
}
