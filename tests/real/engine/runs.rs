//! Runs real .NET programs in an image and tells from what they print how far each came.

use std::path::Path;
use std::process::Command;

/// How far one program came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Run {
    pub program: String,
    /// For the stages start, globalization and cryptography: whether it passed; nothing for one that it does not reach.
    pub stages: [Option<bool>; 3],
    /// What it printed, for people.
    pub output: String,
}

/// Texts by which .NET and the loader say what failed; those of the start first.
const START: &[&str] = &[
    "error while loading shared libraries",
    "not found (required by",
    "Failed to create CoreCLR",
    "Failed to load System.Private.CoreLib",
    "Failure processing application bundle",
    "Failed to determine location for extracting embedded files",
    "Could not extract contents of the bundle",
    "You must install",
    "was not found in",
    "not found",
    "No such file or directory",
    "can't execute",
    "Permission denied",
    "version `",
    "Failed to load ",
    "Unable to load shared library 'libSystem.Native'",
    "Failed to create directory",
];
const GLOBALIZATION: &[&str] = &[
    "Couldn't find a valid ICU package",
    "Failed to load app-local ICU",
    "Cannot get symbol",
    "Could not load ICU data",
    "Cannot get the symbols of ICU APIs",
    "System.Globalization",
    "U_FILE_ACCESS_ERROR",
];
const CRYPTOGRAPHY: &[&str] = &["No usable version of libssl was found", "Cannot get required symbol", "Cryptography"];

/// Runs all programs in one container, started as the target starts one: no entrypoint, no network, another work folder.
pub fn run_all(engine: &str, image: &str, programs: &Path) -> Vec<Run> {
    let mount = format!("{}:/programs:ro", programs.display());
    let arguments =
        ["run", "--rm", "--network", "none", "-v", &mount, "-w", "/step", "--entrypoint", "/programs/busybox"];
    let run = Command::new("docker")
        .args(["-H", engine])
        .args(arguments)
        .args([image, "sh", "/programs/run-all"])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&run.stdout).into_owned();
    let runs = told(&text);
    assert!(!runs.is_empty(), "{image}: {text}\n{}", String::from_utf8_lossy(&run.stderr));
    runs
}

/// What the script printed, program by program.
fn told(text: &str) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    for part in text.split("@@ ").skip(1) {
        let (head, output) = part.split_once('\n').unwrap_or((part, ""));
        let words: Vec<&str> = head.split(' ').collect();
        let [program, command, code] = words[..] else { panic!("{head}") };
        let code: i32 = code.parse().unwrap();
        let stages = if output.contains("stage start passed") || is_stand_in(program) {
            by_words(output, code)
        } else if command == "command-cryptography" {
            by_end(output, code, 3)
        } else {
            by_end(output, code, 2)
        };
        runs.push(Run { program: program.to_owned(), stages, output: output.to_owned() });
    }
    runs
}

fn is_stand_in(program: &str) -> bool {
    ["net31", "net8", "sa9"].contains(&program)
}

/// The stages that the program itself says it is through with.
fn by_words(output: &str, code: i32) -> [Option<bool>; 3] {
    let passed = |stage: &str| output.contains(&format!("stage {stage} passed"));
    // Old releases need cultures even to start talking.
    let failed_at = failed_stage(output, code);
    let start = passed("start") || failed_at > 0;
    [start, start && passed("globalization"), passed("cryptography")].map(Some)
}

/// A program that reaches `reach` stages and ends well, or says what failed.
fn by_end(output: &str, code: i32, reach: usize) -> [Option<bool>; 3] {
    if is_silent_crash(output, code) {
        // Where it crashed does not show: somewhere on the way.
        return [None, Some(false), None];
    }
    let failed_at = if code == 0 { 3 } else { failed_stage(output, code) };
    let mut stages = [None; 3];
    for (stage, passed) in stages.iter_mut().enumerate().take(reach) {
        *passed = Some(stage < failed_at);
    }
    stages
}

/// The stage that failed by what was printed: 0, 1 or 2.
fn failed_stage(output: &str, code: i32) -> usize {
    let says = |texts: &[&str]| texts.iter().any(|text| output.contains(text));
    if says(GLOBALIZATION) {
        1
    } else if says(CRYPTOGRAPHY) || output.contains("stage globalization passed") {
        2
    } else if output.contains("stage start passed") {
        1
    } else {
        let is_known = says(START) || is_silent_crash(output, code) || [126, 127].contains(&code);
        assert!(is_known, "exit code {code}: {output:?}");
        0
    }
}

/// A signal of a file that ends too early (SIGBUS, SIGSEGV), without a word.
fn is_silent_crash(output: &str, code: i32) -> bool {
    let output = output.replace("Bus error", "").replace("Segmentation fault", "");
    [135, 139].contains(&code) && output.trim().is_empty()
}
