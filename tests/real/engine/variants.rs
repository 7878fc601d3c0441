//! Runs one image again and again in one container, each time with another environment, and reads it as often.

use std::path::Path;
use std::process::Command;

use imglint::facts::Facts;
use imglint::facts::programs::Wanted;
use imglint::rootfs::Rootfs;
use imglint::verdict::Outcome;
use serde_json::json;

use super::reading::{facts, rootfs};
use crate::support::image::{TestImage, TestLayer};

/// How long one run may take, in seconds. What waits for ever takes all of it.
const LONGEST_RUN: &str = "10";

/// One run: its environment, whole, and its command line.
#[derive(Clone, Debug)]
pub struct Variant {
    pub name: String,
    pub env: Vec<String>,
    pub command: Vec<String>,
}

/// How a run ended.
#[derive(Clone, Debug)]
pub struct Ended {
    pub code: i32,
    pub output: String,
}

/// Runs all variants in one container of an image that the engine has, which has the folder of programs mounted.
pub fn run(engine: &str, image: &str, programs: &Path, user: &str, variants: &[Variant]) -> Vec<Ended> {
    let quoted = |word: &String| format!("'{}'", word.replace('\'', r"'\''"));
    let words = |words: &[String]| words.iter().map(quoted).collect::<Vec<_>>().join(" ");
    let line = |variant: &Variant| {
        let (env, command) = (words(&variant.env), words(&variant.command));
        format!(
            "output=$(/programs/busybox env -i {env} /programs/busybox timeout -s KILL {LONGEST_RUN} {command} </dev/null 2>&1)\n\
             printf '@@ %s\\n%s\\n' \"$?\" \"$output\"\n"
        )
    };
    let script: String = std::iter::once("ulimit -c 0\n".to_owned()).chain(variants.iter().map(line)).collect();
    let mount = format!("{}:/programs:ro", programs.display());
    let mut arguments = vec!["run", "--rm", "--network", "none", "-v", &mount, "-w", "/step"];
    if !user.is_empty() {
        arguments.extend(["--user", user]);
    }
    arguments.extend(["--entrypoint", "/programs/busybox", image, "sh", "-c", &script]);
    let run = Command::new("docker").args(["-H", engine]).args(arguments).output().unwrap();
    let text = String::from_utf8_lossy(&run.stdout).into_owned();
    let ended: Vec<Ended> = text
        .split("@@ ")
        .skip(1)
        .map(|part| {
            let (code, output) = part.split_once('\n').unwrap_or((part, ""));
            Ended { code: code.parse().unwrap(), output: output.to_owned() }
        })
        .collect();
    assert_eq!(ended.len(), variants.len(), "{image}: {text}\n{}", String::from_utf8_lossy(&run.stderr));
    ended
}

/// An image whose layers are read once, however many configurations it is given.
pub struct Layers {
    layers: Vec<TestLayer>,
    rootfs: Rootfs,
}

impl Layers {
    pub fn of(image: &TestImage) -> Self {
        Self { layers: image.layers().to_vec(), rootfs: rootfs(image) }
    }

    /// What imglint reads of it with this environment and user.
    pub fn facts(&self, env: &[String], user: &str, wanted: &Wanted) -> Facts {
        let plain = TestImage::new(json!({"Env": env, "User": user}));
        let test = self.layers.iter().fold(plain, |image, layer| image.shared_layer("RUN change", layer));
        facts(&test, &self.rootfs, wanted)
    }
}

/// What was predicted and what was seen, of all variants.
#[derive(Default)]
pub struct Agreement {
    compared: usize,
    unknown: Vec<String>,
    wrong: Vec<String>,
}

impl Agreement {
    /// Compares one prediction with what was seen; `details` are shown where they differ.
    pub fn compare(&mut self, name: &str, predicted: Outcome, seen: bool, details: impl FnOnce() -> String) {
        self.compared += 1;
        match predicted {
            Outcome::Pass if seen => {}
            Outcome::Fail if !seen => {}
            Outcome::Pass | Outcome::Fail => {
                self.wrong.push(format!("{name}: read {predicted:?}, run {seen}: {}", details()));
            }
            Outcome::Unknown | Outcome::NotApplicable => self.unknown.push(name.to_owned()),
        }
    }

    /// Demands that nothing differs, and that only these variants are unknown, each for the reason that stands with it.
    pub fn demand(self, what: &str, explained: &[(&str, &str)]) {
        println!("{what}: {} compared, {} unknown, {} differ", self.compared, self.unknown.len(), self.wrong.len());
        for name in &self.unknown {
            let why = explained.iter().find(|(known, _)| name.starts_with(known)).map(|(_, why)| *why);
            println!("  unknown: {name}: {}", why.unwrap_or("NOT EXPLAINED"));
            assert!(why.is_some(), "{what}: {name} is unknown without a reason");
        }
        assert!(self.wrong.is_empty(), "{what}:\n{}", self.wrong.join("\n"));
    }
}
