//! A Bash step's script: run in the image's own bash, what it says of itself read, its artifact fetched.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::path::{EXIT_CODE, Run, Stopped, failed, millis, skipped, unknown};
use super::said::{is_not_started, is_of_image, marks, of_engine};
use super::stage::{LONGEST_OUTPUT, StageReport};
use crate::printable::excerpt;
use crate::verdict::Outcome;

/// What the script writes into its artifact.
const ARTIFACT: &str = "made by the step\n";

impl Run<'_> {
    /// A Bash step: `bash SCRIPT`, looked up on the image's PATH by the engine.
    pub(super) fn bash(&mut self) -> Result<(), Stopped> {
        let script = self.host.tools().join("bootstrap.sh").display().to_string();
        let home = self.host.home().display().to_string();
        // An earlier run's, perhaps of another user.
        let _ = std::fs::remove_file(self.host.work().join("artifact.txt"));
        let rest = ["variables", "artifact", "globalization", "cryptography"];
        let ended = match self.ended("shell:bash", vec!["bash".to_owned(), script, home])? {
            Ok(ended) if is_not_started(&ended.output) => Err(ended.output.trim().to_owned()),
            other => other,
        };
        let ended = match ended {
            Ok(ended) => ended,
            Err(why) if !is_of_image(&why) => return Err(unknown("shell:bash", &of_engine(&why))),
            Err(why) => {
                self.push(failed("shell:bash", &why));
                for name in rest {
                    self.push(skipped(name, "no script ran"));
                }
                return Ok(());
            }
        };
        let mut seen = marks(&ended.output);
        let mut shell = seen.remove("shell:bash").unwrap_or_else(|| {
            let output = excerpt(ended.output.trim(), LONGEST_OUTPUT);
            StageReport::new("shell:bash", Outcome::Fail, format!("the script did not run: {output}"))
        });
        shell.duration_ms = Some(millis(ended.duration));
        shell.exit_code = ended.exit_code;
        match ended.exit_code {
            Some(EXIT_CODE) => {}
            None => {
                let limit = self.plan.limit.as_secs();
                (shell.outcome, shell.output) = (Outcome::Unknown, format!("it was stopped after {limit} s"));
            }
            Some(code) if shell.outcome == Outcome::Pass => {
                shell.outcome = Outcome::Fail;
                shell.output = format!("the script ends with {EXIT_CODE}, the container with {code}");
            }
            Some(_) => {}
        }
        self.push(shell);
        let failed = seen.remove("artifact").filter(|stage| stage.outcome == Outcome::Fail);
        let artifact = failed.unwrap_or_else(|| self.artifact(&ended.output));
        seen.insert("artifact".to_owned(), artifact);
        for name in rest {
            let stage = seen.remove(name).unwrap_or_else(|| skipped(name, "the script did not come so far"));
            self.push(stage);
        }
        // An image may print what it likes: only what was asked for is a stage.
        for tool in &self.plan.tools {
            if let Some(stage) = seen.remove(&format!("tool:{tool}")) {
                self.push(stage);
            }
        }
        Ok(())
    }

    /// The artifact as the server would fetch it: by the path in the message, from this machine.
    fn artifact(&self, output: &str) -> StageReport {
        let field = |name: &str| {
            let line = output.lines().find_map(|line| line.strip_prefix("##octopus[createArtifact "))?;
            let start = line.find(&format!("{name}='"))? + name.len() + 2;
            let text = line[start..].split('\'').next()?;
            String::from_utf8(STANDARD.decode(text).ok()?).ok()
        };
        let stage = |outcome, output: String| StageReport::new("artifact", outcome, output);
        let Some(path) = field("path").filter(|path| !path.is_empty()) else {
            return stage(Outcome::Fail, "the message about the artifact names no path".to_owned());
        };
        // What a container says is not opened outside the run's own folder.
        let expected = self.host.work().join("artifact.txt");
        if Path::new(&path) != expected {
            return stage(Outcome::Fail, format!("the artifact is said to be at {}", excerpt(&path, 200)));
        }
        let is_plain = std::fs::symlink_metadata(&expected).is_ok_and(|found| found.is_file() && found.len() < 1024);
        match std::fs::read_to_string(&expected) {
            Ok(text) if is_plain && text == ARTIFACT => {
                let length = field("length").unwrap_or_default();
                if length.trim() == ARTIFACT.len().to_string() {
                    stage(Outcome::Pass, "read back on the worker".to_owned())
                } else {
                    stage(Outcome::Fail, "the message about the artifact has no length".to_owned())
                }
            }
            Ok(_) => stage(Outcome::Fail, "the artifact holds something else".to_owned()),
            Err(error) => stage(Outcome::Fail, format!("the artifact cannot be read on the worker: {error}")),
        }
    }
}
