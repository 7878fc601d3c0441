//! A program of the user's own, run where the worker would have it: any folder with a command line, or Calamari itself.

use std::path::{Path, PathBuf};

use super::container::{Folder, Wanted};
use super::host::Host;
use super::path::{EXIT_CODE, Run, Stopped, failed, skipped, unknown};
use super::said::{is_of_image, of_engine};
use super::stage::StageReport;
use crate::verdict::Outcome;

/// Calamari's program, as it is called on Linux.
const CALAMARI: &str = "Calamari";
/// The script that Calamari is given: it reads a variable and ends with a code of its own.
const SCRIPT: &str = "echo \"the variable is: $(get_octopusvariable imglint.probe)\"; exit 42";
/// What the script says if the variable came through.
const SAYS: &str = "the variable is: imglint's";

/// A folder of this machine, mounted into a container, and the command line that is run in it.
#[derive(Clone, Debug)]
pub struct RunPayload {
    /// The folder.
    pub folder: PathBuf,
    /// The words; the first is a path below the folder, or a command of the image. Calamari needs none.
    pub command: Option<Vec<String>>,
}

impl Run<'_> {
    /// The payload, at its place below the worker's home.
    pub(super) fn payload(&mut self, payload: &RunPayload) -> Result<(), Stopped> {
        let place = self.host.home().join("Tools/payload");
        let made = std::fs::create_dir_all(&place).and_then(|()| payload.folder.canonicalize());
        let folder = made.map_err(|error| unknown("payload", &format!("it cannot be mounted: {error}")))?;
        match &payload.command {
            Some(words) => {
                // A word that names something in the folder is a path there, as the files are judged.
                let inside = |word: &String| {
                    let is_there = !word.is_empty() && folder.join(word).exists();
                    if is_there { place.join(word).display().to_string() } else { word.clone() }
                };
                let wanted = self.mounting(&folder, &place, words.iter().map(inside).collect());
                self.start(&wanted, "payload", 0, None)
            }
            None if folder.join(CALAMARI).is_file() => self.calamari(&folder, &place),
            None => {
                let why = "--payload-command says how it is started, and is not given";
                self.push(skipped("payload", why));
                Ok(())
            }
        }
    }

    /// Calamari: whether it starts, then a Bash step with a variable (Calamari, `RunScriptCommand`; the variables as
    /// `VariablesFactory` reads them without a password).
    fn calamari(&mut self, folder: &Path, place: &Path) -> Result<(), Stopped> {
        let program = place.join(CALAMARI).display().to_string();
        let wanted = self.mounting(folder, place, vec![program.clone(), "version".to_owned()]);
        self.start(&wanted, "payload", 0, None)?;
        let variable = |key: &str, value: &str| serde_json::json!({"Key": key, "Value": value, "IsSensitive": false});
        let variables = serde_json::json!([
            variable("imglint.probe", "imglint's"),
            variable("Octopus.Action.Script.ScriptBody", SCRIPT),
            variable("Octopus.Action.Script.Syntax", "Bash"),
            variable("Octopus.Action.Script.ScriptSource", "Inline"),
        ]);
        let file = self.host.work().join("variables.json");
        Host::write(&file, variables.to_string().as_bytes(), false)
            .map_err(|error| unknown("payload:run-script", &format!("its variables cannot be written: {error}")))?;
        let argument = format!("--variables={}", file.display());
        let wanted = self.mounting(folder, place, vec![program, "run-script".to_owned(), argument]);
        self.start(&wanted, "payload:run-script", EXIT_CODE, Some(SAYS))
    }

    fn mounting(&self, folder: &Path, place: &Path, command: Vec<String>) -> Wanted {
        let mut wanted = self.wanted(command);
        let (source, target) = (folder.display().to_string(), place.display().to_string());
        wanted.mounts.push(Folder { source, target, is_read_only: true });
        wanted
    }

    fn start(&mut self, wanted: &Wanted, stage: &str, expected: i64, says: Option<&str>) -> Result<(), Stopped> {
        let stage = match self.ended_of(stage, wanted)? {
            Err(why) if !is_of_image(&why) => return Err(unknown(stage, &of_engine(&why))),
            Err(why) => failed(stage, &why),
            Ok(ended) => {
                let seen = ended.stage(stage, expected);
                let is_silent = seen.outcome == Outcome::Pass && says.is_some_and(|says| !ended.output.contains(says));
                if is_silent {
                    let output = format!("the script did not read its variable: {}", seen.output);
                    StageReport { outcome: Outcome::Fail, output, ..seen }
                } else {
                    seen
                }
            }
        };
        self.push(stage);
        Ok(())
    }
}
