//! How a target starts a step's container: a worker's `docker run`, or a pod's `sh -c`; as an engine and as people say it.

use super::container::Wanted;
use super::said::Mark;
use super::stage::Form;

impl Form {
    /// What takes the place of the image's entrypoint, if anything does; one empty word is what `--entrypoint=''` sends.
    pub(super) fn entrypoint(self) -> Option<Vec<String>> {
        match self {
            Self::Worker => Some(vec![String::new()]),
            Self::OldWorker => None,
            Self::Pod => Some(vec!["sh".to_owned()]),
        }
    }

    /// Entrypoint and command that start a program.
    pub(super) fn words(self, runner: &str, program: Vec<String>) -> (Option<Vec<String>>, Vec<String>) {
        let command = match self {
            Self::Worker | Self::OldWorker => program,
            Self::Pod => {
                let words = std::iter::once(runner).chain(program.iter().map(String::as_str));
                // Only a NUL cannot be quoted, and no argument holds one.
                let line = shlex::try_join(words).unwrap_or_default();
                vec!["-c".to_owned(), line]
            }
        };
        (self.entrypoint(), command)
    }

    /// The program's own output.
    ///
    /// # Errors
    /// The program never started. Returns what was printed instead, in the words of a runtime that cannot execute it.
    pub(super) fn start_of(self, output: &str, mark: &Mark) -> Result<String, String> {
        if self != Self::Pod {
            return Ok(output.to_owned());
        }
        let runner = mark.line("runner pass");
        let own: Vec<&str> = output.lines().filter(|line| !line.starts_with(&runner)).collect();
        // Of a long output only the end is kept, in which there is no beginning.
        if output.contains(&runner) || output.len() >= super::container::MOST_OUTPUT {
            Ok(own.join("\n"))
        } else {
            Err(format!("exec of the pod's script: not found, or nothing to run it with: {}", output.trim()))
        }
    }
}

/// The command line that does the same, for people. They mount the worker's folders, which are made inside the container
/// here.
pub(super) fn command_line(wanted: &Wanted, folders: &[&str], image: &str) -> Vec<String> {
    let mut words: Vec<String> = ["docker", "run", "--rm"].map(str::to_owned).into();
    words.extend(wanted.entrypoint.as_ref().map(|words| format!("--entrypoint={}", words.concat())));
    if !wanted.has_network {
        words.push("--network=none".to_owned());
    }
    words.extend(wanted.user.as_ref().map(|user| format!("--user={user}")));
    words.extend(wanted.env.iter().flat_map(|variable| ["--env".to_owned(), variable.clone()]));
    words.extend(["-w".to_owned(), wanted.working_dir.clone()]);
    words.extend(folders.iter().flat_map(|folder| ["-v".to_owned(), format!("{folder}:{folder}")]));
    words.push(image.to_owned());
    words.extend(wanted.command.iter().cloned());
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_s_program_is_started_by_its_shell() {
        let program = vec!["bash".to_owned(), "/h/a b.sh".to_owned()];
        let (entrypoint, command) = Form::Pod.words("/h/runner.sh", program.clone());
        assert_eq!(entrypoint, Some(vec!["sh".to_owned()]));
        assert_eq!(command, ["-c", "/h/runner.sh bash '/h/a b.sh'"]);
        assert_eq!(Form::Worker.words("", program.clone()), (Some(vec![String::new()]), program.clone()));
        assert_eq!(Form::OldWorker.words("", program.clone()), (None, program));
    }

    #[test]
    fn without_its_runner_a_pod_s_program_never_starts() {
        let mark = Mark::of("0123");
        let start = Form::Pod.start_of("##imglint:0123 runner pass /bin/bash\nhello\n", &mark);
        assert_eq!(start, Ok("hello".to_owned()));
        assert!(Form::Pod.start_of("sh: 1: /h/runner.sh: not found\n", &mark).is_err());
        assert!(Form::Pod.start_of("##imglint runner pass /bin/bash\nhello\n", &mark).is_err(), "a forged mark");
        assert_eq!(Form::Worker.start_of("hello\n", &mark), Ok("hello\n".to_owned()));
    }
}
