//! What `check --run` sees of an image is what `check` reads in it, stage by stage.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::Value;

use crate::corpus::corpus;
use crate::dotnet::{load, tag};
use crate::support::image::docker_archive;
use crate::support::{check, leave_out, real_part};

/// How many images are checked at a time.
const AT_ONCE: usize = 2;

/// The outcome of a run's stage; nothing where it did not take place.
fn ran(run: &Value, stage: &str) -> Option<bool> {
    let stages = run["stages"].as_array().unwrap();
    let outcome = stages.iter().find(|known| known["name"] == stage)?["outcome"].as_str().unwrap();
    ["fail", "pass"].iter().position(|known| *known == outcome).map(|at| at == 1)
}

#[test]
fn a_run_sees_what_the_files_predict() {
    if !cfg!(target_arch = "x86_64") {
        leave_out("a machine with x86-64, which the images are for");
        return;
    }
    let Some(engine) = real_part("a Docker engine", "IMGLINT_TEST_DOCKER_HOST") else { return };
    let Some(images) = real_part("images of Debian", "IMGLINT_TEST_IMAGES") else { return };
    let shared = std::env::var_os("IMGLINT_SHARED_IMAGES").map(PathBuf::from);
    let mut corpus = corpus(Path::new(&images), shared.as_deref());
    if let Ok(only) = std::env::var("IMGLINT_TEST_ONLY") {
        corpus.retain(|(name, _)| name.contains(&only));
    }
    load(&engine, &corpus);
    let folder = tempfile::tempdir().unwrap();
    let (next, wrong, compared) = (AtomicUsize::new(0), Mutex::new(Vec::new()), AtomicUsize::new(0));
    let work = || {
        while let Some((name, image)) = corpus.get(next.fetch_add(1, Ordering::Relaxed)) {
            let archive = folder.path().join(format!("{name}.tar"));
            let tag = tag(name);
            std::fs::write(&archive, docker_archive(&[(image, &[tag.as_str()])])).unwrap();
            let given = format!("docker-archive:{}", archive.display());
            let result = check(["--run", "--engine", &engine, &given]).result();
            std::fs::remove_file(&archive).unwrap();
            let (count, differing) = differences(&result);
            compared.fetch_add(count, Ordering::Relaxed);
            wrong.lock().unwrap().extend(differing.into_iter().map(|text| format!("{name}: {text}")));
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(work);
        }
    });
    let wrong = wrong.into_inner().unwrap();
    println!("{} images, {} stages compared, {} differ", corpus.len(), compared.into_inner(), wrong.len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let left = Command::new("docker").args(["-H", &engine, "ps", "-aq", "--filter", "label=io.imglint.owner"]).output();
    assert!(left.unwrap().stdout.is_empty(), "containers are left");
}

/// How many stages were compared, and those that differ.
fn differences(result: &Value) -> (usize, Vec<String>) {
    let (run, facts) = (&result["run"], &result["facts"]);
    let program = &facts["programs"][0];
    let bash = &facts["commands"]["bash"]["state"];
    let bash = if bash.is_null() || bash == "missing" || bash == "unusable" { "fail" } else { "pass" };
    let loaded = ran(run, "start").map(|start| start && ran(run, "linker").unwrap_or(false));
    let read = |stage: &str| program[stage].as_str().unwrap_or("unknown").to_owned();
    // What is loaded may be of no use all the same, and a stage after one that fails counts as failed.
    let only_if_passed = |stage: &str| if read(stage) == "pass" { read(stage) } else { "unknown".to_owned() };
    let sets_icu = facts["configuration"]["env"]
        .as_object()
        .unwrap()
        .keys()
        .any(|name| name.contains("GLOBALIZATION") || name.contains("ICU"));
    let globalization = if sets_icu { "unknown".to_owned() } else { only_if_passed("globalization") };
    let pairs = [
        ("start", read("start"), loaded),
        ("globalization", globalization, ran(run, "globalization")),
        ("cryptography", only_if_passed("cryptography"), ran(run, "cryptography")),
        ("shell:bash", bash.to_owned(), ran(run, "shell:bash")),
    ];
    let (mut count, mut differing) = (0, Vec::new());
    for (stage, read, ran) in pairs {
        let read = read.as_str();
        let (Some(ran), "pass" | "fail") = (ran, read) else { continue };
        count += 1;
        if ran != (read == "pass") {
            differing.push(format!("{stage} reads as {read}, and runs as {ran}: {}", run["stages"]));
        }
    }
    let disagreements = run["disagreements"].as_array().unwrap();
    differing.extend(disagreements.iter().map(|rule| format!("the rules disagree: {rule} {}", run["stages"])));
    (count, differing)
}
