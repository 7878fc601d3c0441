//! Asks a credential helper, a program `docker-credential-NAME` (docker-credential-helpers, "Development").

use std::ffi::OsStr;
use std::io::{self, Read, Write as _};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use super::Secret;
use super::file::password_or_token;
use crate::image::json::{self, JsonError, Repeats};
use crate::printable::excerpt;

/// How long a helper may take: some ask a cloud first.
pub(super) const LONGEST: Duration = Duration::from_secs(30);
/// How long the output for errors is waited for once a helper has ended.
const ERRORS_AFTER_END: Duration = Duration::from_millis(500);
/// The most that is read of a helper's answer, in bytes; tokens of clouds are a few KiB.
const LARGEST_ANSWER: u64 = 256 * 1024;

/// What a helper answers.
#[derive(Default)]
struct Answer {
    username: String,
    secret: String,
}

impl Answer {
    fn read(bytes: &[u8]) -> Result<Self, JsonError> {
        let mut answer = Self::default();
        json::read(bytes, Repeats::LastWins, |json| {
            json.fields(&["Username", "Secret"], |json, key| {
                let text = json.text()?.unwrap_or_default();
                *(if key == "Username" { &mut answer.username } else { &mut answer.secret }) = text;
                Ok(())
            })
        })?;
        Ok(answer)
    }
}

/// What a program printed.
struct Printed {
    output: Vec<u8>,
    errors: Vec<u8>,
}

/// The credential that the helper `name`, looked for in the folders of `path`, has for `server`.
///
/// # Errors
/// Why the helper could not be asked, in one line without secrets.
pub(super) fn get(name: &str, path: Option<&OsStr>, server: &str, longest: Duration) -> Result<Option<Secret>, String> {
    let program = find(name, path)?;
    let shown = format!("docker-credential-{name}");
    let mut child = Command::new(program)
        .arg("get")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| format!("{shown} cannot be started: {error}"))?;
    let printed = talk(&mut child, server, longest);
    // Whatever happened, no process is left behind. Killing one that has ended is an error that does not matter.
    if printed.is_err() {
        let _ = child.kill();
    }
    let ended = child.wait();
    let printed = printed.map_err(|error| format!("{shown} {error}"))?;
    if !ended.is_ok_and(|status| status.success()) {
        let texts = [&printed.output, &printed.errors].map(|bytes| String::from_utf8_lossy(bytes).trim().to_owned());
        let text = texts.iter().find(|text| !text.is_empty()).map_or("it says nothing", String::as_str);
        // The words that helpers have in common (docker-credential-helpers, credentials/error.go).
        if text.contains("credentials not found") || text.contains("no credentials server URL") {
            return Ok(None);
        }
        return Err(format!("{shown} failed: {}", excerpt(text, 200)));
    }
    let answer = Answer::read(&printed.output).map_err(|_| format!("{shown} gave an answer that is not JSON"))?;
    let (user, secret) = (answer.username.as_bytes(), answer.secret.as_bytes());
    Ok((!secret.is_empty()).then(|| password_or_token(user, secret)))
}

/// Writes the question and reads the answer until the helper closes its output or its time is up.
fn talk(child: &mut Child, server: &str, longest: Duration) -> Result<Printed, String> {
    let until = Instant::now() + longest;
    let late = || format!("did not answer within {} s", longest.as_secs_f32());
    if let Some(mut input) = child.stdin.take() {
        // A helper that does not read its input may answer all the same.
        let _ = input.write_all(server.as_bytes());
    }
    let output = child.stdout.take().ok_or("has no output")?;
    let errors = child.stderr.take().ok_or("has no output for errors")?;
    // Not joined: a grandchild may keep a pipe open for longer than anybody wants to wait.
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || sender.send(read(output)));
    let (error_sender, error_receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut start = Vec::new();
        let mut errors = errors;
        let _ = (&mut errors).take(LARGEST_ANSWER).read_to_end(&mut start);
        let _ = error_sender.send(start);
        // A helper that cannot write would wait.
        io::copy(&mut errors, &mut io::sink())
    });
    let output = receiver.recv_timeout(longest).map_err(|_| late())?.map_err(|error| error.to_string())?;
    while child.try_wait().map_err(|error| error.to_string())?.is_none() {
        if Instant::now() > until {
            return Err(late());
        }
        thread::sleep(Duration::from_millis(2));
    }
    // What is still to come of them is little, unless a grandchild keeps them open.
    let errors = error_receiver.recv_timeout(ERRORS_AFTER_END).unwrap_or_default();
    Ok(Printed { output, errors })
}

fn read(output: impl Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    output.take(LARGEST_ANSWER + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LARGEST_ANSWER {
        return Err(io::Error::other("gave an endless answer"));
    }
    Ok(bytes)
}

/// The program's path. The name comes from a file and must not lead out of the search path.
fn find(name: &str, path: Option<&OsStr>) -> Result<PathBuf, String> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    if name.is_empty() || !name.bytes().all(allowed) {
        return Err(format!("{:?} is not the name of a credential helper", excerpt(name, 60)));
    }
    let file = format!("docker-credential-{}{}", name, std::env::consts::EXE_SUFFIX);
    std::env::split_paths(path.unwrap_or_default())
        .filter(|folder| folder.is_absolute())
        .map(|folder| folder.join(&file))
        .find(|candidate| candidate.is_file())
        .ok_or_else(|| format!("the credential helper docker-credential-{name} is not in the search path"))
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use super::super::Password;
    use super::*;

    /// The script is written by another process: a file this one still has open for writing cannot be started, and a
    /// test that starts a process at the same time would inherit it.
    fn with_helper(script: &str) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let status = Command::new("/bin/sh")
            .args(["-c", r#"printf '#!/bin/sh\n%s\n' "$1" > "$2" && chmod 755 "$2""#, "sh", script])
            .arg(folder.path().join("docker-credential-test"))
            .status();
        assert!(status.unwrap().success());
        folder
    }

    fn ask(script: &str, longest: Duration) -> Result<Option<Secret>, String> {
        let folder = with_helper(script);
        get("test", Some(folder.path().as_os_str()), "r.example", longest)
    }

    #[test]
    fn a_helper_is_asked_with_the_registry_on_its_input() {
        let script = r#"read server; echo "{\"ServerURL\":\"$server\",\"Username\":\"me@$server\",\"Secret\":\"$1\"}""#;
        let expected = Secret::Password(Password { user: "me@r.example".into(), password: "get".into() });
        assert!(ask(script, LONGEST) == Ok(Some(expected)));
    }

    #[test]
    fn a_helper_without_credentials_means_none() {
        assert!(ask("echo 'credentials not found in native keychain'; exit 1", LONGEST) == Ok(None));
    }

    #[test]
    fn what_a_failing_helper_says_is_told() {
        let problem = ask("echo 'the vault is \x1b[31mlocked'; exit 3", LONGEST).err().unwrap();
        assert!(problem.contains("docker-credential-test failed: the vault is \\u{1b}"), "{problem}");
    }

    #[test]
    fn a_helper_may_say_why_it_fails_on_its_output_for_errors() {
        let problem = ask("echo 'You have no active account' >&2; exit 1", LONGEST).err().unwrap();
        assert_eq!(problem, "docker-credential-test failed: You have no active account");
    }

    #[test]
    fn a_helper_s_answer_is_read_as_docker_reads_it() {
        let expected = Secret::Password(Password { user: "me".into(), password: "pw".into() });
        assert!(ask(r#"echo '{"username":"me","secret":"x","SECRET":"pw"}'"#, LONGEST) == Ok(Some(expected)));
    }

    #[test]
    fn a_helper_that_hangs_is_ended() {
        let started = Instant::now();
        let problem = ask("sleep 60", Duration::from_millis(200)).err().unwrap();
        assert!(problem.contains("did not answer within"), "{problem}");
        assert!(started.elapsed() < Duration::from_secs(20));
    }

    #[test]
    fn an_endless_answer_is_not_read() {
        let problem = ask("while :; do echo 0123456789012345678901234567890123456789; done", LONGEST).err().unwrap();
        assert!(problem.contains("endless"), "{problem}");
    }

    #[test]
    fn a_name_that_leads_elsewhere_is_refused() {
        for name in ["../../bin/sh", "a/b", "", "a b"] {
            let problem = get(name, Some(OsStr::new("/bin")), "r.example", LONGEST).err().unwrap();
            assert!(problem.contains("is not the name"), "{problem}");
        }
    }
}
