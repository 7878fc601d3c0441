//! What the integration tests share: calling the built program, reading its report, and the gate to real parts.
#![allow(dead_code, reason = "each test crate uses its own part of this")]

use std::ffi::OsStr;
use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

pub mod caching;
pub mod elf;
pub mod fake_redis;
pub mod file_systems;
pub mod forged_entries;
pub mod image;
pub mod layer_model;
pub mod lazy_layers;
pub mod ld_so_cache;
pub mod listing;
pub mod lying_registry;
pub mod still_registry;
pub mod tars;
pub mod windows;

/// The gate to a real part: its address as `tests/run` exports it in `variable`. Without it the test says that it is
/// left out and should return; under `tests/run` (`IMGLINT_TEST_ALL`) a part that is missing is a failure.
pub fn real_part(what: &str, variable: &str) -> Option<String> {
    let found = std::env::var(variable).ok().filter(|value| !value.is_empty());
    if found.is_none() {
        let said = leave_out(&format!("{what} (run tests/run)"));
        assert!(std::env::var_os("IMGLINT_TEST_ALL").is_none(), "{said}: {variable} is not set");
    }
    found
}

/// Says that the running test is left out for want of `what`.
pub fn leave_out(what: &str) -> String {
    let thread = std::thread::current();
    let said = format!("left out: {}: needs {what}", thread.name().unwrap_or("a test"));
    // Not `eprintln!`: the test runner swallows that when a test passes.
    let _ = writeln!(std::io::stderr(), "{said}");
    said
}

/// The program, called as on a machine where nobody has configured anything: no engine, no credentials, no proxy.
pub fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_imglint"));
    let home = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("home");
    fs::create_dir_all(&home).unwrap();
    // Tests that are about what is kept say so.
    command.env("IMGLINT_NO_CACHE", "true");
    for variable in ["DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_TLS", "DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH"] {
        command.env_remove(variable);
    }
    for variable in
        ["CONTAINER_HOST", "CONTAINER_CONNECTION", "REGISTRY_AUTH_FILE", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME"]
    {
        command.env_remove(variable);
    }
    for proxy in ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"] {
        command.env_remove(proxy).env_remove(proxy.to_lowercase());
    }
    command.env("DOCKER_CONFIG", &home).env("HOME", &home).current_dir(home).stdin(Stdio::null());
    command
}

/// Calls the program with `arguments`.
pub fn imglint<A: AsRef<OsStr>>(arguments: impl IntoIterator<Item = A>) -> Run {
    Run::of(program().args(arguments))
}

/// `imglint check --report json` with `arguments`.
pub fn check<A: AsRef<OsStr>>(arguments: impl IntoIterator<Item = A>) -> Run {
    Run::of(program().args(["check", "--report", "json"]).args(arguments))
}

/// Calls the program and tells what of each image came over the network, in bytes.
pub fn fetched(command: &mut Command) -> (Run, u64) {
    let metrics = tempfile::NamedTempFile::new().unwrap();
    let run = Run::of(command.arg("--report").arg(format!("openmetrics={}", metrics.path().display())));
    let metrics = fs::read_to_string(metrics.path()).unwrap();
    let samples = metrics.lines().filter(|line| line.starts_with("imglint_image_fetched_bytes{"));
    let bytes = samples.map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap());
    (run, bytes.sum())
}

/// How one call of the program ended.
pub struct Run {
    /// The exit code; a death by signal is -1.
    pub code: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Run {
    /// Runs the command to its end. That it does not panic is part of every test.
    pub fn of(command: &mut Command) -> Self {
        let Output { status, stdout, stderr } = command.output().unwrap();
        let text = |bytes| String::from_utf8(bytes).expect("what it prints is UTF-8");
        let run = Self { code: status.code().unwrap_or(-1), stdout: text(stdout), stderr: text(stderr) };
        assert!(!run.stderr.contains("panicked at"), "{command:?} panicked:\n{}", run.stderr);
        assert!((0..=2).contains(&run.code), "{command:?} ended with {}:\n{}", run.code, run.stderr);
        run
    }

    /// The JSON report, which is all that is on standard output.
    pub fn report(&self) -> Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("{error}\nstdout:\n{}\nstderr:\n{}", self.stdout, self.stderr))
    }

    /// The only result of the report.
    pub fn result(&self) -> Value {
        let report = self.report();
        let results = report["results"].as_array().expect("results is a list");
        assert_eq!(results.len(), 1, "{}", self.stdout);
        results[0].clone()
    }

    /// Asserts that the call ended with exit code 2 and one line on standard error, and gives the line.
    pub fn one_clear_line(&self) -> &str {
        assert_eq!(self.code, 2, "stdout:\n{}\nstderr:\n{}", self.stdout, self.stderr);
        let lines: Vec<&str> = self.stderr.lines().filter(|line| !line.trim().is_empty()).collect();
        assert_eq!(lines.len(), 1, "one line on standard error:\n{}", self.stderr);
        lines[0]
    }

    /// Asserts that the image failed with one clear line, and that the line and the JSON report's `error` both contain
    /// each of `parts`.
    pub fn fails_saying(&self, parts: &[&str]) {
        let line = self.one_clear_line();
        let result = self.result();
        assert_eq!(result["verdict"], "failed", "{result:#}");
        let error = result["error"].to_string();
        for part in parts {
            assert!(line.contains(part), "{part:?} is not in: {line}");
            assert!(error.contains(part), "{part:?} is not in the report's error: {error}");
        }
    }
}

/// The ids of the rules of `severity` with `outcome` in a result, ignored ones left out, in the report's order.
pub fn rules(result: &Value, severity: &str, outcome: &str) -> Vec<String> {
    let findings = result["findings"].as_array().expect("findings is a list");
    findings
        .iter()
        .filter(|finding| {
            finding["severity"] == severity && finding["outcome"] == outcome && finding["ignored"].is_null()
        })
        .map(|finding| finding["rule"].as_str().expect("rule is a text").to_owned())
        .collect()
}

/// The finding of `rule` in a result.
pub fn finding<'a>(result: &'a Value, rule: &str) -> &'a Value {
    let findings = result["findings"].as_array().expect("findings is a list");
    findings
        .iter()
        .find(|finding| finding["rule"] == rule)
        .unwrap_or_else(|| panic!("no finding {rule}: {:?}", findings.iter().map(|f| &f["rule"]).collect::<Vec<_>>()))
}
