//! Decides whether a volume of the image meets a folder that the target mounts.

use serde::Deserialize;

use super::when_known;
use crate::facts::{Facts, Setting};
use crate::verdict::{Answer, Evidence, Place};

/// `kind = "volumes"`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct VolumesClear {
    /// The folders, Linux and Windows alike.
    pub folders: Vec<String>,
}

impl VolumesClear {
    pub(super) fn judge(&self, facts: &Facts) -> Answer {
        when_known(&facts.configuration, &Place::field("config.Volumes"), |configuration| {
            let met: Vec<Evidence> = configuration.volumes.iter().filter_map(|volume| self.meets(volume)).collect();
            if met.is_empty() { Answer::pass() } else { Answer::fail(met) }
        })
    }

    fn meets(&self, volume: &Setting<String>) -> Option<Evidence> {
        let own = parts(&volume.value);
        let met = self.folders.iter().filter_map(|folder| Some((Relation::of(&own, &parts(folder))?, folder)));
        let (relation, folder) = met.min_by_key(|(relation, _)| *relation)?;
        let place = if volume.place == Place::default() { &Place::field("config.Volumes") } else { &volume.place };
        let path = &volume.value;
        Some(place.says(match relation {
            Relation::At => format!("{path} is a volume of the image, and the worker mounts {folder}"),
            Relation::Above => format!("the volume {path} lies above {folder}, which the worker mounts"),
            Relation::Inside => {
                format!("the volume {path} lies inside {folder}, which the worker mounts, and hides what is there")
            }
        }))
    }
}

/// How a volume lies to a mounted folder, the most telling first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Relation {
    At,
    Inside,
    Above,
}

impl Relation {
    fn of(volume: &[String], folder: &[String]) -> Option<Self> {
        match (folder.starts_with(volume), volume.starts_with(folder)) {
            (true, true) => Some(Self::At),
            (true, false) => Some(Self::Above),
            (false, true) => Some(Self::Inside),
            (false, false) => None,
        }
    }
}

/// The names on the way to a folder; a drive is one, and Windows' names are folded.
fn parts(path: &str) -> Vec<String> {
    let is_windows = path.as_bytes().get(1) == Some(&b':');
    let mut parts: Vec<String> = if is_windows { Vec::new() } else { vec!["/".to_owned()] };
    let split: fn(char) -> bool = if is_windows { |c| matches!(c, '/' | '\\') } else { |c| c == '/' };
    for part in path.split(split) {
        match part {
            "" | "." => {}
            ".." if parts.len() > 1 => drop(parts.pop()),
            ".." => {}
            part if is_windows => parts.push(part.to_lowercase()),
            part => parts.push(part.to_owned()),
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meets(volume: &str) -> bool {
        let check = VolumesClear { folders: vec!["/home/Octopus".to_owned(), r"C:\Octopus\Work".to_owned()] };
        check.meets(&Setting { value: volume.to_owned(), place: Place::default() }).is_some()
    }

    #[test]
    fn at_above_and_inside_count_and_beside_does_not() {
        for volume in
            ["/home/Octopus", "/home/Octopus/", "/home", "/", "/home/./x/../Octopus//Tools", "c:/octopus/WORK", "C:"]
        {
            assert!(meets(volume), "{volume}");
        }
        for volume in ["/home/octopus", "/home/Octopus2", "/var/lib/data", r"C:\Octopus\Workers", "D:\\"] {
            assert!(!meets(volume), "{volume}");
        }
    }
}
