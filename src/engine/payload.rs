//! A program of the user's own, run where the worker would have it: any folder with a command line, or Calamari itself.

use std::path::PathBuf;

use super::container::Wanted;
use super::path::{EXIT_CODE, Run, Stopped, skipped, unknown};
use super::payload_files::PayloadFiles;
use super::stage::StageReport;
use crate::verdict::Outcome;

/// Calamari's program, as it is called on Linux.
const CALAMARI: &str = "Calamari";
/// The script that Calamari is given: it reads a variable and ends with a code of its own.
const SCRIPT: &str = "echo \"the variable is: $(get_octopusvariable imglint.probe)\"; exit 42";
/// What the script says if the variable came through.
const SAYS: &str = "the variable is: imglint's";

/// A folder of this machine, copied into a container, and the command line that is run in it.
#[derive(Clone, Debug)]
pub struct RunPayload {
    /// The folder.
    pub folder: PathBuf,
    /// The words; the first is a path below the folder, or a command of the image. Calamari needs none.
    pub command: Option<Vec<String>>,
}

/// How a payload is run.
struct Use<'a> {
    stage: &'a str,
    command: Vec<String>,
    /// A file in the work folder.
    file: Option<(String, Vec<u8>)>,
    expected: i64,
    /// What it has to print.
    says: Option<&'a str>,
}

impl Run<'_> {
    /// The payload, at its place below the worker's home.
    pub(super) fn payload(&mut self, payload: &RunPayload) -> Result<(), Stopped> {
        let place = self.home.payload();
        let folder = payload.folder.canonicalize();
        let listed = folder.and_then(|folder| Ok((PayloadFiles::list(&folder, &place)?, folder)));
        let (files, folder) = listed.map_err(|error| unknown("payload", &format!("it cannot be read: {error}")))?;
        match &payload.command {
            Some(words) => {
                // A word that names something in the folder is a path there, as the files are judged.
                let inside = |word: &String| {
                    let is_there = !word.is_empty() && folder.join(word).exists();
                    if is_there { format!("{place}/{word}") } else { word.clone() }
                };
                let command = words.iter().map(inside).collect();
                self.use_of(&files, Use { stage: "payload", command, file: None, expected: 0, says: None })
            }
            None if folder.join(CALAMARI).is_file() => self.calamari(&files, &place),
            None => {
                let why = "--payload-command says how it is started, and is not given";
                self.push(skipped("payload", why));
                Ok(())
            }
        }
    }

    /// Calamari: whether it starts, then a Bash step with a variable (Calamari, `RunScriptCommand`; the variables as
    /// `VariablesFactory` reads them without a password).
    fn calamari(&mut self, files: &PayloadFiles, place: &str) -> Result<(), Stopped> {
        let program = format!("{place}/{CALAMARI}");
        let command = vec![program.clone(), "version".to_owned()];
        self.use_of(files, Use { stage: "payload", command, file: None, expected: 0, says: None })?;
        let variable = |key: &str, value: &str| serde_json::json!({"Key": key, "Value": value, "IsSensitive": false});
        let variables = serde_json::json!([
            variable("imglint.probe", "imglint's"),
            variable("Octopus.Action.Script.ScriptBody", SCRIPT),
            variable("Octopus.Action.Script.Syntax", "Bash"),
            variable("Octopus.Action.Script.ScriptSource", "Inline"),
        ]);
        let path = format!("{}/variables.json", self.home.work());
        let command = vec![program, "run-script".to_owned(), format!("--variables={path}")];
        let file = Some((path, variables.to_string().into_bytes()));
        let stage = "payload:run-script";
        self.use_of(files, Use { stage, command, file, expected: EXIT_CODE, says: Some(SAYS) })
    }

    fn use_of(&mut self, payload: &PayloadFiles, how: Use<'_>) -> Result<(), Stopped> {
        let mark = self.mark()?;
        let mut files = self.files();
        if let Some((path, bytes)) = &how.file {
            files.add(path, bytes, false);
        }
        files.add_payload(payload.clone());
        let wanted = Wanted { is_dotnet: true, ..self.wanted(files, &mark, how.command) };
        let stage = match self.ended(how.stage, &wanted, &mark)? {
            Err(stage) => stage,
            Ok(ended) => {
                let seen = ended.stage(how.stage, how.expected);
                let is_silent =
                    seen.outcome == Outcome::Pass && how.says.is_some_and(|says| !ended.output.contains(says));
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
