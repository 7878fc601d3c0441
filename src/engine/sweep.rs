//! What killed runs have left, found by their leases and removed. Nothing that somebody else made is touched.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use bollard::errors::Error;
use bollard::query_parameters::{InspectContainerOptions, RemoveContainerOptionsBuilder};

use super::connection::Connection;
use super::lease::{Thing, dead};
use super::owner::{LABEL, PREFIX};

/// How long an engine may take for one question, or to remove a container.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long an engine may take to make a container that it was asked for by a run that is dead now.
const COMES: Duration = Duration::from_secs(600);

/// After how long a dead run is forgotten whose engine is not there any more.
const OLDEST: Duration = Duration::from_secs(30 * 24 * 3600);

/// What became of something that was to be removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It was removed.
    Removed,
    /// There is no such thing here, or what there is belongs to somebody else.
    Absent,
    /// It may still be there.
    Left,
}

/// A container that has a name which a run gave.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen {
    name: String,
    label: Option<String>,
    image: ImageLabel,
}

/// The label as the container's image has it: containers inherit the labels of images.
#[derive(Clone, Debug, PartialEq, Eq)]
enum ImageLabel {
    /// As the engine says.
    Is(Option<String>),
    /// The engine no longer has the image.
    Gone,
    /// The engine does not answer.
    Unknown,
}

/// Removes what runs of this user have left on this machine and this engine when they were killed. Returns how many
/// containers those were.
pub(super) fn sweep(connection: &Connection) -> usize {
    let (mut removed, begun) = (0, Instant::now());
    for mut lease in dead() {
        if lease.age() > OLDEST {
            lease.end();
            continue;
        }
        for thing in lease.made() {
            // An engine that does not answer keeps nobody waiting for each of them: the next run goes on.
            if begun.elapsed() > PATIENCE {
                return removed;
            }
            let fate = settle(connection, &thing);
            removed += usize::from(fate == Fate::Removed);
            // Of a run that was killed just now the engine may still be making one.
            let may_come = lease.age() < COMES || thing.engine != connection.key;
            if fate == Fate::Removed || (fate == Fate::Absent && !may_come) {
                lease.strike(&thing);
            }
        }
        if lease.is_settled() {
            lease.end();
        }
    }
    removed
}

/// Removes a container that a run has noted.
pub(super) fn settle(connection: &Connection, Thing { name, label, .. }: &Thing) -> Fate {
    let docker = &connection.docker;
    let found = connection.asked(PATIENCE, docker.inspect_container(name, None::<InspectContainerOptions>));
    let found = match found {
        Ok(found) => found,
        Err(error) => return if is_absent(error.as_ref()) { Fate::Absent } else { Fate::Left },
    };
    let of = |labels: Option<HashMap<String, String>>| labels.and_then(|mut labels| labels.remove(LABEL));
    let image = match &found.image {
        None => ImageLabel::Unknown,
        Some(id) => match connection.asked(PATIENCE, docker.inspect_image(id)) {
            Ok(image) => ImageLabel::Is(of(image.config.and_then(|config| config.labels))),
            Err(error) if is_absent(error.as_ref()) => ImageLabel::Gone,
            Err(_) => ImageLabel::Unknown,
        },
    };
    let seen =
        Seen { name: found.name.unwrap_or_default(), label: of(found.config.and_then(|config| config.labels)), image };
    let Some(id) = found.id else { return Fate::Left };
    if seen.image == ImageLabel::Unknown {
        return Fate::Left;
    }
    if !is_ours(name, label, &seen) {
        return Fate::Absent;
    }
    // By its id: what has the name by now may be another.
    remove(connection, &id)
}

/// Removes a container of a run, running or not, with the volumes that were made for it.
pub(super) fn remove(connection: &Connection, id: &str) -> Fate {
    let options = RemoveContainerOptionsBuilder::new().force(true).v(true).build();
    match connection.asked(PATIENCE, connection.docker.remove_container(id, Some(options))) {
        Ok(()) => Fate::Removed,
        Err(error) if is_absent(error.as_ref()) => Fate::Absent,
        Err(_) => Fate::Left,
    }
}

/// Whether a container is the one that a run noted: it has the name and the label that the run gave it, and does not
/// have the label from its image.
fn is_ours(name: &str, label: &str, seen: &Seen) -> bool {
    let is_named = seen.name.strip_prefix('/').unwrap_or(&seen.name) == name && name.starts_with(PREFIX);
    let is_labelled = !label.is_empty() && seen.label.as_deref() == Some(label);
    let is_own_label = match &seen.image {
        ImageLabel::Is(of_image) => of_image.as_deref() != Some(label),
        ImageLabel::Gone => true,
        ImageLabel::Unknown => false,
    };
    is_named && is_labelled && is_own_label
}

/// Whether an engine says that it has no such thing.
fn is_absent(error: Option<&Error>) -> bool {
    matches!(error, Some(Error::DockerResponseServerError { status_code: 404, .. }))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NAME: &str = "imglint-run-00112233445566778899aabbccddeeff-0";
    const VALUE: &str = "0.abc.123-00112233445566778899aabbccddeeff-0";

    fn seen() -> Seen {
        Seen { name: format!("/{NAME}"), label: Some(VALUE.to_owned()), image: ImageLabel::Is(None) }
    }

    #[test]
    fn a_container_is_ours_by_name_and_by_a_label_that_its_image_does_not_have() {
        assert!(is_ours(NAME, VALUE, &seen()));
        assert!(is_ours(NAME, VALUE, &Seen { name: NAME.to_owned(), ..seen() }), "some engines give no slash");
        let other = ImageLabel::Is(Some("another".to_owned()));
        assert!(is_ours(NAME, VALUE, &Seen { image: other, ..seen() }));
        let forged = ImageLabel::Is(Some(VALUE.to_owned()));
        for not_ours in [
            Seen { name: "/rt2-db".to_owned(), ..seen() },
            Seen { name: format!("/{NAME}0"), ..seen() },
            Seen { label: None, ..seen() },
            Seen { label: Some(format!("{VALUE}0")), ..seen() },
            Seen { image: forged, ..seen() },
            Seen { image: ImageLabel::Unknown, ..seen() },
        ] {
            assert!(!is_ours(NAME, VALUE, &not_ours), "{not_ours:?}");
        }
        assert!(!is_ours("db", VALUE, &Seen { name: "/db".to_owned(), ..seen() }), "no name that a run gives");
        assert!(!is_ours(NAME, "", &Seen { label: Some(String::new()), ..seen() }));
    }

    fn word() -> impl Strategy<Value = String> {
        prop_oneof![Just(NAME.to_owned()), Just(format!("/{NAME}")), Just(VALUE.to_owned()), "[a-z/.-]{0,40}"]
    }

    fn image() -> impl Strategy<Value = ImageLabel> {
        let is = proptest::option::of(word()).prop_map(ImageLabel::Is);
        prop_oneof![is, Just(ImageLabel::Gone), Just(ImageLabel::Unknown)]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20_000))]

        /// Whatever an image's labels are and whatever a person calls a container: only a pair that a run noted is its.
        #[test]
        fn nothing_is_ours_that_differs_in_one_point(
            name in word(), label in word(), found in word(), own in proptest::option::of(word()), image in image(),
        ) {
            let seen = Seen { name: found.clone(), label: own.clone(), image: image.clone() };
            if is_ours(&name, &label, &seen) {
                prop_assert!(found == name || found.strip_prefix('/') == Some(name.as_str()));
                prop_assert!(name.starts_with(PREFIX));
                prop_assert_eq!(own.as_deref(), Some(label.as_str()));
                prop_assert_ne!(image.clone(), ImageLabel::Is(Some(label)));
                prop_assert_ne!(image, ImageLabel::Unknown);
            }
        }
    }
}
