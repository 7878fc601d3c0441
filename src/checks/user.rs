//! Decides whether containers run as the user that the target's mounts belong to.

use serde::Deserialize;

use super::when_known;
use crate::facts::{Facts, User};
use crate::verdict::{Answer, Place};

/// `kind = "user"`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct UserIs {
    /// The id that is wanted.
    pub uid: u32,
    /// What any other user is refused, each as the end of "such a user …".
    #[serde(default)]
    pub otherwise: Vec<String>,
}

impl UserIs {
    pub(super) fn judge(&self, facts: &Facts) -> Answer {
        if let Some(windows) = facts.windows.known() {
            return match &windows.user_without_mounts {
                Some(user) => Answer::fail([user.place.says(format!(
                    "containers run as {}, which is refused folders that are mounted from the host: \"Access is denied\"",
                    user.value
                ))]),
                None => Answer::pass(),
            };
        }
        when_known(&facts.user, &Place::field("config.User"), |user| match user.uid {
            Some(uid) if uid == self.uid => Answer::pass(),
            None if user.given.is_empty() && self.uid == 0 => Answer::pass(),
            uid => self.fail(user, uid),
        })
    }

    fn fail(&self, user: &User, uid: Option<u32>) -> Answer {
        let place = if user.place == Place::default() { &Place::field("config.User") } else { &user.place };
        let Some(uid) = uid else {
            let why = user.refused.as_deref().unwrap_or("the image does not have this user");
            return Answer::not_applicable(format!("no container starts as User {:?}: {why}", user.given));
        };
        let who = format!("containers run as {:?}, which is uid {uid}", user.given);
        let refused = self.otherwise.iter().map(|what| place.says(format!("uid {uid} {what}")));
        Answer::fail(std::iter::once(place.says(who)).chain(refused))
    }
}
