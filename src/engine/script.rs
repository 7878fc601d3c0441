//! A Bash step's script: run in the image's own bash, what it says of itself read, its artifact fetched.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::container::{Container, Ended, Stop, Wanted};
use super::load::KINDS;
use super::path::{EXIT_CODE, Run, Stopped, TOO_MUCH_WRITTEN, failed, millis, skipped, unknown};
use super::probe::Proof;
use super::said::{Mark, is_not_started, is_of_image, of_engine};
use super::stage::{LONGEST_OUTPUT, StageReport};
use crate::printable::excerpt;
use crate::verdict::Outcome;

/// What the script writes into its artifact.
const ARTIFACT: &str = "made by the step\n";
/// The artifact's name.
const NAME: &str = "artifact.txt";
/// The largest artifact that is read, in bytes.
const LARGEST: usize = 1024;

impl Run<'_> {
    /// A Bash step: `bash SCRIPT`, looked up on the image's PATH by the engine.
    pub(super) fn bash(&mut self) -> Result<(), Stopped> {
        let mark = self.mark()?;
        let wanted = self.script(&mark)?;
        let used = self.used("shell:bash", &wanted)?.and_then(|used| self.own_output(used, &mark));
        let used = match used {
            Ok(used) if is_not_started(&used.ended.output) => Err(used.ended.output.trim().to_owned()),
            other => other,
        };
        let used = match used {
            Ok(used) => used,
            Err(why) if !is_of_image(&why) => {
                return Err(unknown("shell:bash", &of_engine(&why)));
            }
            Err(why) => {
                self.push(failed("shell:bash", &why).seen());
                for name in ["variables", "artifact"] {
                    self.push(skipped(name, "no script ran"));
                }
                return self.libraries(&mut BTreeMap::new(), Some("no script ran"));
            }
        };
        let mut seen = mark.stages(&used.ended.output);
        let shell = self.bash_itself(seen.remove("shell:bash"), &used.ended);
        let failed = seen.remove("artifact").filter(|stage| stage.outcome == Outcome::Fail);
        let artifact = failed.unwrap_or_else(|| self.artifact(&used.ended, &used.container));
        drop(used);
        self.push(shell);
        self.push(seen.remove("variables").unwrap_or_else(|| skipped("variables", NOT_SO_FAR)));
        self.push(artifact);
        self.libraries(&mut seen, None)?;
        // An image may print what it likes: only what was asked for is a stage.
        for tool in &self.plan.tools {
            if let Some(stage) = seen.remove(&format!("tool:{tool}")) {
                self.push(stage);
            }
        }
        Ok(())
    }

    /// The script's container. It is given the tiny programs of those stages that have not passed.
    fn script(&mut self, mark: &Mark) -> Result<Wanted, Stopped> {
        let no_random = |error| unknown("shell:bash", &format!("this machine gives no random bytes: {error}"));
        let proof = Proof::new().map_err(no_random)?;
        let script = self.home.tool("bootstrap.sh");
        let text = include_str!("bootstrap.sh").replace("@PROOF@", proof.word());
        let mut files = self.files();
        files.add(&script, &mark.in_script(&text), false);
        let tools: String = self.plan.tools.iter().map(|tool| format!("{tool}\n")).collect();
        files.add(&self.home.tool("tools"), tools.as_bytes(), false);
        for (stage, kind) in KINDS {
            if self.has(stage) && self.variant.is_none() {
                continue;
            }
            let candidates = self.candidates(stage);
            for (number, one) in candidates.expected.iter().chain(&candidates.others).enumerate() {
                if let Some(program) = self.program(&proof, false, &[one]) {
                    files.add(&self.home.tool(&format!("{kind}-{number:03}")), &program, true);
                }
            }
        }
        let tools = self.home.tool("").trim_end_matches('/').to_owned();
        Ok(self.wanted(files, mark, vec!["bash".to_owned(), script, tools]))
    }

    fn bash_itself(&self, marked: Option<StageReport>, ended: &Ended) -> StageReport {
        let mut shell = marked.unwrap_or_else(|| {
            let output = excerpt(ended.output.trim(), LONGEST_OUTPUT);
            StageReport::new("shell:bash", Outcome::Fail, format!("the script did not run: {output}"))
        });
        shell.duration_ms = Some(millis(ended.duration));
        shell.exit_code = ended.exit_code;
        match (ended.exit_code, ended.stopped) {
            (Some(EXIT_CODE), _) => {}
            (None, Some(Stop::Disk)) => (shell.outcome, shell.output) = (Outcome::Unknown, TOO_MUCH_WRITTEN.to_owned()),
            (None, _) => {
                let limit = self.plan.limit.as_secs();
                (shell.outcome, shell.output) = (Outcome::Unknown, format!("it was stopped after {limit} s"));
            }
            (Some(code), _) if shell.outcome == Outcome::Pass => {
                shell.outcome = Outcome::Fail;
                shell.output = format!("the script ends with {EXIT_CODE}, the container with {code}");
            }
            (Some(_), _) => {}
        }
        shell
    }

    /// The stages of libraries that have not passed yet, as the script reports them. Its word is enough for a fail. For a
    /// pass imglint starts the program that the script names.
    fn libraries(&mut self, seen: &mut BTreeMap<String, StageReport>, left_out: Option<&str>) -> Result<(), Stopped> {
        for (stage, kind) in KINDS {
            let Some(said) = seen.remove(stage).filter(|_| !self.has(stage) || self.variant.is_some()) else {
                if !self.has(stage) {
                    let expected = !self.candidates(stage).expected.is_empty() && self.has_probe();
                    self.push(if expected {
                        failed(stage, "the libraries that are expected to load do not").seen()
                    } else {
                        skipped(stage, left_out.unwrap_or(NOT_SO_FAR))
                    });
                }
                continue;
            };
            let is_usual = self.variant.is_none();
            let stage = match said.outcome {
                Outcome::Pass if is_usual => self.confirmed(stage, number_of(&said.output, kind))?,
                _ => said,
            };
            self.push(stage);
        }
        Ok(())
    }

    /// The artifact as the server would fetch it: by the path in the message, from the worker.
    fn artifact(&self, ended: &Ended, container: &Container<'_>) -> StageReport {
        let field = |name: &str| {
            let line = ended.output.lines().find_map(|line| line.strip_prefix("##octopus[createArtifact "))?;
            let start = line.find(&format!("{name}='"))? + name.len() + 2;
            let text = line[start..].split('\'').next()?;
            String::from_utf8(STANDARD.decode(text).ok()?).ok()
        };
        let stage = |outcome, output: String| StageReport::new("artifact", outcome, output);
        if ended.exit_code.is_none() {
            return skipped("artifact", "the script was stopped");
        }
        let Some(path) = field("path").filter(|path| !path.is_empty()) else {
            return stage(Outcome::Fail, "the message about the artifact names no path".to_owned());
        };
        // Nothing else is fetched, whatever a container asks for.
        let folder = self.home.work();
        if path != format!("{folder}/{NAME}") {
            return stage(Outcome::Fail, format!("the artifact is said to be at {}", excerpt(&path, 200)));
        }
        match container.file(&folder, NAME, LARGEST) {
            Ok(bytes) if bytes == ARTIFACT.as_bytes() => {
                let length = field("length").unwrap_or_default();
                if length.trim() == ARTIFACT.len().to_string() {
                    stage(Outcome::Pass, "read back on the worker".to_owned())
                } else {
                    stage(Outcome::Fail, "the message about the artifact has no length".to_owned())
                }
            }
            Ok(_) => stage(Outcome::Fail, "the artifact holds something else".to_owned()),
            Err(why) => stage(Outcome::Fail, excerpt(&format!("the artifact cannot be read: {why}"), LONGEST_OUTPUT)),
        }
    }
}

/// Why a stage of a script did not take place.
const NOT_SO_FAR: &str = "the script did not come so far";

/// Which of the candidates a tiny program is for: 3 of `icu-003`.
fn number_of(program: &str, kind: &str) -> Option<usize> {
    program.strip_prefix(kind)?.strip_prefix('-')?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tiny_program_s_name_says_what_it_is_for() {
        assert_eq!(number_of("icu-003", "icu"), Some(3));
        assert_eq!(number_of("ssl-000", "icu"), None);
        assert_eq!(number_of("../../bin/true", "icu"), None);
    }
}
