//! What engines and scripts say, and what it means.

use std::collections::BTreeMap;

use super::secret;
use super::stage::{LONGEST_OUTPUT, StageReport};
use crate::printable::excerpt;
use crate::verdict::Outcome;

/// Whether it is the image's doing that a container did not start: its program is not there, or cannot be run. All else
/// is between the engine and its machine.
pub(super) fn is_of_image(why: &str) -> bool {
    let why = why.to_ascii_lowercase();
    let is_about_program = why.contains("exec");
    let is_about_user = is_of_user(&why);
    is_about_user
        || is_about_program
            && ["not found", "no such file or directory", "permission denied", "exec format error", "is a directory"]
                .iter()
                .any(|reason| why.contains(reason))
}

/// Whether a container did not start because the image does not know its own user.
pub(super) fn is_of_user(why: &str) -> bool {
    ["unable to find user", "unable to find group"].iter().any(|reason| why.contains(reason))
}

pub(super) fn of_engine(why: &str) -> String {
    format!("the engine could not start a container: {why}")
}

/// Whether a runtime says in a container's own output that it could not start its program.
pub(super) fn is_not_started(output: &str) -> bool {
    let output = output.trim();
    let is_said = output.starts_with("exec ") || output.contains("standard_init_linux.go");
    is_said
        && ["no such file or directory", "exec format error", "permission denied"]
            .iter()
            .any(|end| output.ends_with(end))
}

/// How the lines begin by which a script reports its stages: with a word of their container.
///
/// The image can read the word, since its own shell runs the script. So a mark never counts for more than what an image
/// says about itself.
#[derive(Clone, Debug)]
pub(super) struct Mark {
    start: String,
}

impl Mark {
    /// A new one, for one container.
    ///
    /// # Errors
    /// The operating system gives no random bytes.
    pub(super) fn new() -> std::io::Result<Self> {
        Ok(Self::of(&secret::word()?))
    }

    pub(super) fn of(word: &str) -> Self {
        Self { start: format!("##imglint:{word}") }
    }

    /// The beginning of a line.
    pub(super) fn line(&self, rest: &str) -> String {
        format!("{} {rest}", self.start)
    }

    /// A script in which this mark stands for `@MARK@`.
    pub(super) fn in_script(&self, script: &str) -> Vec<u8> {
        script.replace("@MARK@", &self.start).into_bytes()
    }

    /// The stages that a script reports, by name. None of them was observed by imglint.
    pub(super) fn stages(&self, output: &str) -> BTreeMap<String, StageReport> {
        let stage = |line: &str| {
            let rest = line.strip_prefix(&self.start)?.strip_prefix(' ')?;
            let (name, rest) = rest.split_once(' ')?;
            let (outcome, said) = rest.split_once(' ').unwrap_or((rest, ""));
            let outcome = if outcome == "pass" { Outcome::Pass } else { Outcome::Fail };
            Some((name.to_owned(), StageReport::new(name, outcome, excerpt(said, LONGEST_OUTPUT))))
        };
        // Of two lines for one stage the worse counts.
        let mut stages = BTreeMap::new();
        for (name, stage) in output.lines().filter_map(stage) {
            if stage.outcome == Outcome::Fail || !stages.contains_key(&name) {
                stages.insert(name, stage);
            }
        }
        stages
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_keeps_a_container_from_starting_is_the_image_s_doing_or_not() {
        for why in [
            r#"OCI runtime create failed: runc create failed: unable to start container process: exec: "bash": executable file not found in $PATH: unknown"#,
            "crun: executable file `bash` not found in $PATH: No such file or directory: OCI runtime attempted to invoke a command that was not found",
            r#"exec: "/x/program": permission denied: unknown"#,
            "exec /x/program: exec format error",
            "unable to find user nobody-here: no matching entries in passwd file",
        ] {
            assert!(is_of_image(why), "{why}");
        }
        for why in [
            "crun: cgroups in hybrid mode not supported, drop all controllers from cgroupv2: OCI runtime error",
            "error mounting \"/tmp/x\" to rootfs: no such file or directory",
            "no space left on device",
        ] {
            assert!(!is_of_image(why), "{why}");
        }
        assert!(is_not_started("exec /usr/bin/bash: permission denied\n") && !is_not_started("bash: no such file"));
    }

    #[test]
    fn a_script_s_marks_are_its_stages() {
        let seen = Mark::of("0123").stages(
            "noise\n##imglint:0123 shell:bash pass bash 5.2\n##imglint:0123 variables fail the value is: x\n\
             ##imglint:0123\n##imglint:0124 globalization pass forged\n##imglint cryptography pass forged\n",
        );
        assert_eq!(seen["shell:bash"].outcome, Outcome::Pass);
        assert_eq!((seen["variables"].outcome, seen["variables"].output.as_str()), (Outcome::Fail, "the value is: x"));
        assert!(!seen["shell:bash"].observed);
        assert_eq!(seen.len(), 2);
    }

    #[test]
    fn a_later_pass_does_not_hide_a_fail() {
        let mark = Mark::of("0123");
        let output = "##imglint:0123 variables fail it\n##imglint:0123 variables pass it\n";
        assert_eq!(mark.stages(output)["variables"].outcome, Outcome::Fail);
    }
}
