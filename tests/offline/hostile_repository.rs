//! A gate in a repository whose author means harm: what its files may not do, and what reports say of what they did.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use crate::support::image::{TestImage, write_layout};
use crate::support::lying_registry::{LyingRegistry, Reply};
use crate::support::{Run, program};
use serde_json::{Value, json};
use tempfile::TempDir;

const SECRET: &str = "ghp_16C7e42F292c6912E7710c838347Ae178B4a";

/// A repository with an image that fails, next to a file of another person.
struct Repository {
    folder: TempDir,
}

impl Repository {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("repo/layout")).unwrap();
        fs::write(folder.path().join("precious"), "precious").unwrap();
        write_layout(&folder.path().join("repo/layout"), &[(&TestImage::new(json!({"Entrypoint": ["/evil"]})), "")]);
        Self { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join("repo").join(name)
    }

    fn write(&self, name: &str, text: &str) -> &Self {
        fs::write(self.path(name), text).unwrap();
        self
    }

    fn run_in(&self, folder: &Path, arguments: &[&str]) -> Run {
        Run::of(program().current_dir(folder).args(arguments).env("GITHUB_TOKEN", SECRET))
    }

    fn check(&self, arguments: &[&str]) -> Run {
        self.run_in(&self.path(""), &[&["check", "oci:layout"], arguments].concat())
    }

    /// That nothing but the repository was written.
    fn is_untouched(&self) {
        assert_eq!(fs::read_to_string(self.folder.path().join("precious")).unwrap(), "precious");
    }
}

/// That nothing was checked, for a reason with these words.
fn says(run: &Run, words: &[&str]) {
    let line = run.one_clear_line();
    assert!(run.code == 2 && words.iter().all(|word| line.contains(word)), "{line}");
}

#[test]
fn names_in_files_are_completed_by_what_was_asked_for_alone() {
    let registry = LyingRegistry::start(|_| Reply::error(404, "MANIFEST_UNKNOWN", "unknown"));
    let repository = Repository::new();
    let image = format!("services: {{a: {{image: \"{}/x:${{GITHUB_TOKEN}}\"}}}}\n", registry.host());
    repository.write("compose.yaml", &image);
    let run_with = |arguments: &[&str]| {
        let run = repository.run_in(&repository.path(""), &[&["check", "--from", "compose.yaml"], arguments].concat());
        assert_eq!(run.code, 2);
        run
    };
    let is_sent = || registry.seen().iter().any(|seen| seen.path.contains(SECRET));
    let run = run_with(&[]);
    assert!(!is_sent() && !run.stdout.contains(SECRET) && !run.stderr.contains(SECRET));
    assert!(run.stderr.contains("GITHUB_TOKEN, which is not set"), "{}", run.stderr);
    // Nor by way of the file of variables.
    repository.write(".env", "GITHUB_TOKEN=${GITHUB_TOKEN}\n");
    run_with(&[]);
    assert!(!is_sent());
    repository.write(".env", "GITHUB_TOKEN=seven\n");
    run_with(&[]);
    assert!(registry.seen().iter().any(|seen| seen.path.ends_with("/manifests/seven")));
    run_with(&["--env", "GITHUB_TOKEN"]);
    assert!(is_sent(), "who asks for it gets it");
}

#[test]
#[cfg(unix)]
fn a_link_in_place_of_the_file_of_variables_is_not_followed() {
    let repository = Repository::new();
    fs::write(repository.folder.path().join("foreign"), "TAG=secret\n").unwrap();
    std::os::unix::fs::symlink("../foreign", repository.path(".env")).unwrap();
    repository.write("compose.yaml", "services: {a: {image: \"oci:${TAG}\"}}\n");
    let run = repository.run_in(&repository.path(""), &["check", "--from", "compose.yaml"]);
    assert!(run.code == 2 && !run.stderr.contains("secret"), "{}", run.stderr);
}

#[test]
fn a_file_that_was_found_may_not_set_registries_and_jobs() {
    let repository = Repository::new();
    for (text, key) in
        [("jobs = 32\n", "jobs"), ("[registry.\"docker.io\"]\nmirror = [\"evil.example\"]\n", "registry")]
    {
        repository.write("imglint.toml", text);
        says(&repository.check(&[]), &["imglint.toml", key, "--config"]);
        assert_eq!(repository.check(&["--config", "imglint.toml"]).code, 1);
        assert_eq!(repository.check(&["--no-config"]).code, 1);
    }
}

#[test]
fn every_report_names_the_file_and_what_it_changed() {
    let repository = Repository::new();
    repository.write(
        "imglint.toml",
        "fail-on = \"never\"\n[severity]\nentrypoint-defined = \"off\"\n[[ignore]]\nrule = \"bash-missing\"\nreason = \"so\"\n",
    );
    for form in ["text", "markdown", "html", "junit", "sarif", "github", "openmetrics"] {
        let run = repository.check(&["--report", form]);
        assert_eq!(run.code, 0);
        let words: Vec<&str> = run.stdout.split_whitespace().collect();
        let text = words.join(" ");
        for word in ["imglint.toml", "severity entrypoint-defined=off", "ignore bash-missing", "fail-on never"] {
            assert!(text.contains(word), "{form}: {word} is not in\n{}", run.stdout);
        }
    }
    assert!(repository.check(&["-q"]).stdout.contains("entrypoint-defined=off"), "also where little is said");
    let report = repository.check(&["--report", "json", "--rule", "bash-missing=info"]).report();
    let configuration = &report["configuration"];
    assert_eq!(configuration["file"], "imglint.toml");
    let overrides: Vec<String> = configuration["overrides"].as_array().unwrap().iter().map(Value::to_string).collect();
    let has = |what: &str, which: &str, by: &str| {
        overrides.contains(&json!({"what": what, "which": which, "by": by}).to_string())
    };
    assert!(has("severity", "entrypoint-defined=off", "file"), "{overrides:?}");
    assert!(has("fail-on", "never", "file") && has("severity", "bash-missing=info", "command line"), "{overrides:?}");
    assert_eq!(repository.check(&["--no-config", "--report", "json"]).report()["configuration"]["file"], Value::Null);
}

#[test]
fn reports_of_a_file_that_was_found_stay_in_its_folder() {
    let repository = Repository::new();
    let absolute = repository.folder.path().join("precious").display().to_string();
    for file in ["../precious", "a/../../precious", &absolute, ".git/config", ".GIT/hooks/x"] {
        repository.write("imglint.toml", &format!("[[report]]\nformat = \"markdown\"\nfile = {file:?}\n"));
        says(&repository.check(&[]), &["imglint.toml: report"]);
        repository.is_untouched();
    }
    repository.write("imglint.toml", "[[report]]\nformat = \"markdown\"\nfile = \"report.md\"\n");
    assert_eq!(repository.check(&[]).code, 1);
    assert!(repository.path("report.md").exists());
}

#[test]
#[cfg(unix)]
fn reports_are_not_written_through_links() {
    use std::os::unix::fs::symlink;
    let repository = Repository::new();
    symlink("../precious", repository.path("out.json")).unwrap();
    symlink("..", repository.path("folder")).unwrap();
    for file in ["out.json", "folder/precious"] {
        repository.write("imglint.toml", &format!("[[report]]\nformat = \"json\"\nfile = {file:?}\n"));
        says(&repository.check(&[]), &["imglint.toml: report", "link"]);
        repository.is_untouched();
    }
}

#[test]
fn the_file_is_looked_for_up_to_the_root_of_the_repository() {
    let repository = Repository::new();
    let inner = repository.path("a/b");
    fs::create_dir_all(&inner).unwrap();
    repository.write("imglint.toml", "fail-on = \"never\"\n");
    let check = || repository.run_in(&inner, &["check", "oci:../../layout"]);
    assert_eq!(check().code, 1, "without a repository there is no root to look up to");
    fs::create_dir(repository.path(".git")).unwrap();
    let run = check();
    assert!(run.code == 0 && run.stdout.contains("imglint.toml"), "{}", run.stdout);
    fs::create_dir(inner.join(".git")).unwrap();
    assert_eq!(check().code, 1, "it is above the root");
}

#[test]
#[cfg(unix)]
fn pipes_devices_and_links_are_not_read_as_configuration() {
    let repository = Repository::new();
    for key in ["baseline", "profile"] {
        let end = if key == "profile" { "/dev/zero/x.toml" } else { "/dev/zero" };
        repository.write("imglint.toml", &format!("{key} = {end:?}\n"));
        assert_eq!(repository.check(&[]).code, 2, "{key}");
    }
    fs::remove_file(repository.path("imglint.toml")).unwrap();
    let made = std::process::Command::new("mkfifo").arg(repository.path("imglint.toml")).status();
    if made.is_ok_and(|made| made.success()) {
        says(&repository.check(&[]), &["imglint.toml", "regular file"]);
        fs::remove_file(repository.path("imglint.toml")).unwrap();
    }
    fs::write(repository.folder.path().join("foreign"), "MYSECRET=hunter2\n").unwrap();
    std::os::unix::fs::symlink("../foreign", repository.path("imglint.toml")).unwrap();
    let run = repository.check(&[]);
    says(&run, &["imglint.toml", "link"]);
    assert!(!run.stderr.contains("MYSECRET"));
    fs::remove_file(repository.path("imglint.toml")).unwrap();
    repository.write("imglint.toml", &format!("# {}\n", "x".repeat(2 << 20)));
    says(&repository.check(&[]), &["larger than 1 MiB"]);
}

#[test]
fn long_names_are_cut() {
    let repository = Repository::new();
    repository.write("compose.yaml", &format!("services: {{a: {{image: \"{}\"}}}}\n", "x".repeat(1 << 20)));
    repository.write("list.txt", &"y".repeat(1 << 20));
    let run =
        repository.run_in(&repository.path(""), &["check", "--from", "compose.yaml", "--images-from", "list.txt"]);
    assert_eq!(run.code, 2);
    assert!(run.stdout.len() + run.stderr.len() < 8 << 10, "{} bytes", run.stdout.len() + run.stderr.len());
    assert!(run.stderr.contains("compose.yaml:1") && run.stderr.contains("1048576 characters"), "{}", run.stderr);
}

#[test]
fn no_report_holds_what_steers_a_terminal() {
    let hostile = "\u{1b}]0;x\u{7}\r\u{85}\u{7f}\u{61c}\u{202e}\u{2028}\u{2066}";
    let repository = Repository::new();
    let image = TestImage::new(json!({"Entrypoint": [hostile], "Labels": {"a": hostile}}))
        .field("variant", json!(hostile))
        .field("os.version", json!(hostile));
    let layout = repository.path("hostile");
    fs::create_dir(&layout).unwrap();
    write_layout(&layout, &[(&image, "")]);
    let is_safe = |text: &str| {
        text.chars().all(|c| {
            c == '\n' || c == '\t' || imglint::printable::printable(c.encode_utf8(&mut [0; 4])).len() == c.len_utf8()
        })
    };
    for form in ["text", "json", "sarif", "junit", "github", "gitlab", "markdown", "html", "openmetrics"] {
        let run = repository.run_in(&repository.path(""), &["check", "oci:hostile", "-v", "--report", form]);
        assert!(is_safe(&run.stdout) && is_safe(&run.stderr), "{form}");
    }
    let facts = repository.run_in(&repository.path(""), &["facts", "oci:hostile"]).stdout;
    assert!(is_safe(&facts));
    let facts: Value = serde_json::from_str(&facts).unwrap();
    assert_eq!(facts["facts"]["configuration"]["labels"]["a"]["value"], hostile, "what it means is kept");
}

#[test]
#[cfg(unix)]
fn a_report_that_nobody_could_read_is_an_error() {
    let repository = Repository::new();
    let mut child = program()
        .current_dir(repository.path(""))
        .args(["check", "oci:layout", "--fail-on", "never"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("cannot write to standard output"));
}
