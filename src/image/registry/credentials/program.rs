//! Asks a credential helper, a program `docker-credential-NAME` (docker-credential-helpers, "Development").

use std::ffi::OsStr;
use std::io::{self, Read, Write as _};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use serde::Deserialize;

use super::Secret;
use super::file::password_or_token;
use crate::printable::excerpt;

/// How long a helper may take: some ask a cloud first.
pub(super) const LONGEST: Duration = Duration::from_secs(30);
/// The most that is read of a helper's answer, in bytes; tokens of clouds are a few KiB.
const LARGEST_ANSWER: u64 = 256 * 1024;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    #[serde(default)]
    username: String,
    #[serde(default)]
    secret: String,
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
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| format!("{shown} cannot be started: {error}"))?;
    let output = talk(&mut child, server, longest);
    // Whatever happened, no process is left behind. Killing one that has ended is an error that does not matter.
    if output.is_err() {
        let _ = child.kill();
    }
    let ended = child.wait();
    let output = output.map_err(|error| format!("{shown} {error}"))?;
    if !ended.is_ok_and(|status| status.success()) {
        let text = String::from_utf8_lossy(&output);
        let text = text.trim();
        // The words that helpers have in common (docker-credential-helpers, credentials/error.go).
        if text.contains("credentials not found") || text.contains("no credentials server URL") {
            return Ok(None);
        }
        return Err(format!("{shown} failed: {}", excerpt(text, 200)));
    }
    let answer: Answer =
        serde_json::from_slice(&output).map_err(|_| format!("{shown} gave an answer that is not JSON"))?;
    Ok((!answer.secret.is_empty()).then(|| password_or_token(&answer.username, &answer.secret)))
}

/// Writes the question and reads the answer until the helper closes its output or its time is up.
fn talk(child: &mut Child, server: &str, longest: Duration) -> Result<Vec<u8>, String> {
    let until = Instant::now() + longest;
    let late = || format!("did not answer within {} s", longest.as_secs_f32());
    if let Some(mut input) = child.stdin.take() {
        // A helper that does not read its input may answer all the same.
        let _ = input.write_all(server.as_bytes());
    }
    let output = child.stdout.take().ok_or("has no output")?;
    let (sender, receiver) = mpsc::channel();
    // Not joined: a grandchild may keep the pipe open for longer than anybody wants to wait.
    thread::spawn(move || sender.send(read(output)));
    let answer = receiver.recv_timeout(longest).map_err(|_| late())?.map_err(|error| error.to_string())?;
    while child.try_wait().map_err(|error| error.to_string())?.is_none() {
        if Instant::now() > until {
            return Err(late());
        }
        thread::sleep(Duration::from_millis(2));
    }
    Ok(answer)
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
        let expected = Secret::Password { user: "me@r.example".into(), password: "get".into() };
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
