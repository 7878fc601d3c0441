//! Generated layers and documents are given to Docker, to Podman and to imglint: who refuses them, and what bash, os-release,
//! PATH and all else are that they hold, has to agree.
//!
//! `IMGLINT_TEST_LAYERS` says how many images with odd layers are made instead of 300 (a third as many have odd documents),
//! and `IMGLINT_TEST_SEED` which.

mod documents;
mod forms;
mod judges;
mod random;

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use self::forms::Form;
use self::judges::{Judge, Seen, imglint_sees};
use self::random::Random;
use super::engines::Engine;
use crate::support::layer_model::{Step, accepted, names, tar_of};
use crate::support::leave_out;

/// The layer below all others.
fn base() -> Vec<u8> {
    let folder = |path: &str| Step::Folder(names(path));
    let file = |path: &str, size| Step::File(names(path), size);
    let mut steps: Vec<Step> =
        ["bin", "dev", "etc", "opt", "opt/a", "proc", "sys", "usr", "usr/bin", "usr/lib"].map(folder).into();
    steps.extend([file("bin/bash", 1001), file("usr/bin/env", 1002), file("usr/lib/os-release", 1003)]);
    steps.extend([file("opt/a/b", 1004), Step::Symlink(names("etc/os-release"), "../usr/lib/os-release".into())]);
    tar_of(&steps, 0)
}

/// The paths that are looked up: of bash, os-release and others, through links and not.
const PATHS: [&str; 16] = [
    "bin/bash",
    "usr/bin/bash",
    "bin/sh",
    "etc/os-release",
    "usr/lib/os-release",
    "usr/bin/env",
    "bin",
    "usr/bin",
    "usr/lib",
    "opt",
    "opt/a",
    "opt/a/b",
    "opt/after",
    "lnk",
    "lnk/bash",
    "opt/a/bash",
];

/// The folders whose names are compared. In others engines put files of their own.
const FOLDERS: [&str; 6] = ["bin", "opt", "opt/a", "usr", "usr/bin", "usr/lib"];

/// Where steps of generated layers go.
const PLACES: [&str; 14] = [
    "bin",
    "bin/bash",
    "bin/sh",
    "usr",
    "usr/bin",
    "usr/bin/bash",
    "usr/bin/env",
    "usr/lib/os-release",
    "etc/os-release",
    "opt",
    "opt/a",
    "opt/a/b",
    "opt/a/bash",
    "lnk",
];
const TARGETS: [&str; 12] = [
    "bash",
    "env",
    "/usr/bin",
    "usr/bin",
    "../usr/bin/env",
    "a",
    "/opt/a",
    "../bin/bash",
    "none",
    "lnk",
    "..",
    "/bin/bash",
];

fn step(random: &mut Random, number: u64) -> Step {
    let path = names(random.pick(&PLACES));
    match random.below(24) {
        0..4 => Step::Folder(path),
        4..12 => Step::File(path, number),
        12 => Step::Fifo(path),
        13..16 => Step::Symlink(path, random.pick(&TARGETS).to_owned()),
        16..19 => Step::HardLink(path, names(random.pick(&PLACES))),
        19..22 => Step::Whiteout(path),
        22 => Step::Opaque(path),
        _ => Step::Opaque(Vec::new()),
    }
}

/// One image: its layers as stored and as they are uncompressed, and what is odd about it.
struct Generated {
    what: String,
    layers: Vec<(Vec<u8>, Vec<u8>)>,
}

fn generated(seed: u64, number: u64) -> Generated {
    let mut random = Random::new(seed, number);
    let plain = |tar: Vec<u8>| (tar.clone(), tar);
    let mut layers = vec![plain(base())];
    let what = match number % 4 {
        0 | 1 => {
            let mut said = Vec::new();
            for layer in 0..1 + random.below(3) {
                let count = 1 + random.below(7);
                let steps: Vec<Step> = (0..count).map(|at| step(&mut random, 1 + layer * 10 + at)).collect();
                // Half of the images are such as engines should take.
                let steps = if number.is_multiple_of(4) { accepted(steps) } else { steps };
                layers.push(plain(tar_of(&steps, random.below(3) as usize)));
                said.push(format!("{steps:?}"));
            }
            said.join(" | ")
        }
        2 => {
            let Form { what, tar } = forms::odd_tar(&mut random);
            layers.push(plain(tar));
            what
        }
        _ => {
            let (what, tar, stored) = match random.below(3) {
                0 => forms::odd_stream(&mut random),
                _ => {
                    let Form { what, tar } = forms::odd_tar(&mut random);
                    (what, tar.clone(), tar)
                }
            };
            layers.push((tar, stored));
            what
        }
    };
    Generated { what, layers }
}

fn number_of(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |text| text.parse().unwrap())
}

/// How many images were refused by both engines, taken by both alike, and made different things of; what imglint leaves
/// open, and where it differs.
#[derive(Default)]
struct Tally {
    refused: u64,
    taken: u64,
    different: u64,
    disputed: u64,
    wrong: Vec<String>,
}

/// Gives all images to all, several at a time.
fn compared(
    judges: &[Judge; 2],
    count: u64,
    make: impl Fn(u64) -> (String, Vec<u8>) + Sync,
    agrees: impl Fn(&str, [&Seen; 2], &Seen) -> bool + Sync,
) -> Tally {
    let (next, done) = (AtomicUsize::new(0), Mutex::new(Tally::default()));
    let work = || {
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed) as u64;
            if number >= count {
                return;
            }
            let (what, archive) = make(number);
            let [docker, podman] = [0, 1].map(|at: usize| judges[at].sees(&archive, number));
            let ours = imglint_sees(&archive);
            let mut done = done.lock().unwrap();
            match (&docker, &podman) {
                (Seen::Refused(_), Seen::Refused(_)) => done.refused += 1,
                (docker, podman) if docker == podman => done.taken += 1,
                _ => done.different += 1,
            }
            done.disputed += u64::from(matches!(ours, Seen::Disputed(_)));
            if !agrees(&what, [&docker, &podman], &ours) {
                let said = format!(
                    "number {number}: {}\n  docker:  {docker:?}\n  podman:  {podman:?}\n  imglint: {ours:?}",
                    what.escape_debug()
                );
                done.wrong.push(said);
            }
        }
    };
    std::thread::scope(|scope| (0..4).for_each(|_| drop(scope.spawn(work))));
    done.into_inner().unwrap()
}

/// Docker and Podman, if both put layers together by an overlay file system.
fn judges() -> Option<[Judge; 2]> {
    let judges = [Judge::of(&Engine::docker()?.host), Judge::of(&Engine::podman()?.host)];
    if let Some(judge) = judges.iter().find(|judge| !judge.is_overlay()) {
        leave_out(&format!("engines that use overlay file systems, which {} does not", judge.host));
        return None;
    }
    Some(judges)
}

#[test]
fn generated_layers_are_what_engines_make_of_them() {
    let Some(judges) = judges() else { return };
    let (count, seed) = (number_of("IMGLINT_TEST_LAYERS", 300), number_of("IMGLINT_TEST_SEED", 21));
    let make = |number| {
        let image = generated(seed, number);
        let archive = judges::archive(&image.layers, number);
        (image.what, archive)
    };
    let tally = compared(&judges, count, make, |_, [docker, podman], ours| match (docker, podman, ours) {
        // It is open, which is right whatever an engine makes of it here, but must be rare.
        (_, _, Seen::Disputed(_)) => true,
        (Seen::Refused(_), _, ours) | (_, Seen::Refused(_), ours) => matches!(ours, Seen::Refused(_)),
        (docker, podman, ours) => docker == podman && docker == ours,
    });
    let Tally { refused, taken, different, disputed, wrong } = tally;
    println!(
        "{count} images, seed {seed}: engines refuse {refused}, take {taken}, differ about {different}; {disputed} are open"
    );
    assert!(wrong.is_empty(), "{} of {count} differ (seed {seed}):\n{}", wrong.len(), wrong.join("\n"));
    assert!(refused > count / 10 && taken > count / 4 && disputed <= count / 15, "the images do not tell much");
}

#[test]
fn generated_documents_are_what_engines_make_of_them() {
    let Some(judges) = judges() else { return };
    let (count, seed) = (number_of("IMGLINT_TEST_LAYERS", 300) / 3, number_of("IMGLINT_TEST_SEED", 21));
    let make = |number| {
        let document = documents::generated(seed, number, &[base()]);
        (document.what, document.archive)
    };
    let tally = compared(&judges, count, make, |what, [docker, podman], ours| {
        let is_refused = |seen: &Seen| matches!(seen, Seen::Refused(_));
        match is_refused(ours) {
            // A key that is there twice is how one image shows two faces, whatever engines make of it.
            true => is_refused(docker) || is_refused(podman) || what.contains(documents::TWICE),
            false => ours == docker && (ours == podman || is_refused(podman)),
        }
    });
    let Tally { refused, taken, different, wrong, .. } = tally;
    println!("{count} documents, seed {seed}: engines refuse {refused}, take {taken}, differ about {different}");
    assert!(wrong.is_empty(), "{} of {count} differ (seed {seed}):\n{}", wrong.len(), wrong.join("\n"));
    assert!(refused > count / 10 && taken > count / 4, "the documents do not tell much");
}
