//! What `check --run` sees of an image is what `check` reads in it, stage by stage.

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::Value;

use super::corpus::corpus;
use super::dotnet::tag;
use super::engines::Engine;
use super::tool_corpus;
use crate::support::image::TestImage;
use crate::support::{leave_out, real_part, rules};

/// How many calls of imglint run at a time, and how many images each of them checks: what they share is read once.
const AT_ONCE: usize = 2;
const IN_ONE_CALL: usize = 20;

/// The outcome of a run's stage; nothing where it did not take place.
fn ran(run: &Value, stage: &str) -> Option<bool> {
    let stages = run["stages"].as_array().unwrap();
    let outcome = stages.iter().find(|known| known["name"] == stage)?["outcome"].as_str().unwrap();
    ["fail", "pass"].iter().position(|known| *known == outcome).map(|at| at == 1)
}

#[test]
fn docker_runs_show_what_the_files_predict() {
    if let Some(engine) = Engine::docker() {
        compare(&engine, usize::MAX);
    }
}

#[test]
fn podman_runs_show_what_the_files_predict() {
    if let Some(engine) = Engine::podman() {
        compare(&engine, 40);
    }
}

#[test]
fn a_user_s_podman_runs_show_what_the_files_predict() {
    if let Some(engine) = Engine::rootless() {
        compare(&engine, 12);
    }
}

/// An image with its name and what is set for it.
type Image = (String, TestImage, &'static [&'static str]);

fn images(folder: &Path) -> Vec<Image> {
    let shared = std::env::var_os("IMGLINT_SHARED_IMAGES").map(PathBuf::from);
    let programs = corpus(folder, shared.as_deref()).into_iter().map(|image| (image, &[][..]));
    let all_tools: &[&str] = &["--set", "steps=bash,powershell,kubernetes,helm,aks,eks,gke,terraform,java"];
    let tools = tool_corpus::images(Some(folder)).unwrap_or_default().into_iter().map(|image| (image, all_tools));
    // Their Python is a real one; that of the others is a stand-in that runs no script.
    let with_python: &[&str] = &["--set", "steps=bash,python"];
    let pythons = tool_corpus::pythons(folder).into_iter().map(|image| (image, with_python));
    let tools = tools.chain(pythons);
    programs.chain(tools).map(|((name, image), set)| (name.to_owned(), image, set)).collect()
}

fn compare(engine: &Engine, most: usize) {
    if !cfg!(target_arch = "x86_64") {
        leave_out("a machine with x86-64, which the images are for");
        return;
    }
    let Some(folder) = real_part("images of Debian", "IMGLINT_TEST_IMAGES") else { return };
    let mut images = images(Path::new(&folder));
    if let Ok(only) = std::env::var("IMGLINT_TEST_ONLY") {
        images.retain(|(name, ..)| name.contains(&only));
    }
    // Every so many, so that there are some of all kinds: the engines differ less than the images.
    let most =
        if std::env::var_os("IMGLINT_TEST_EVERY_IMAGE").is_some() { images.len() } else { most.min(images.len()) };
    let step = images.len().div_ceil(most);
    let mut images: Vec<_> = images.into_iter().step_by(step).collect();
    // What images of one call have in common is loaded and read once.
    images.sort_by_key(|(_, image, set)| (*set, image.layers().first().map(|layer| layer.digest.to_string())));
    let calls: Vec<_> =
        images.chunk_by(|one, other| one.2 == other.2).flat_map(|alike| alike.chunks(IN_ONE_CALL)).collect();
    let (next, wrong, compared) = (AtomicUsize::new(0), Mutex::new(Vec::new()), AtomicUsize::new(0));
    let work = || {
        while let Some(images) = calls.get(next.fetch_add(1, Ordering::Relaxed)) {
            for ((name, ..), result) in images.iter().zip(results(engine, images)) {
                let (count, differing) = differences(&result);
                compared.fetch_add(count, Ordering::Relaxed);
                wrong.lock().unwrap().extend(differing.into_iter().map(|text| format!("{name}: {text}")));
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(work);
        }
    });
    let wrong = wrong.into_inner().unwrap();
    let compared = compared.into_inner();
    println!("{}: {} images, {compared} stages compared, {} differ", engine.name, images.len(), wrong.len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(compared > 2 * images.len(), "the runs took place");
    engine.is_left_clean();
}

/// What one call of imglint says of images that have the same set for them.
fn results(engine: &Engine, images: &[Image]) -> Vec<Value> {
    let tags: Vec<String> =
        // Images of two corpora may have one name.
        images.iter().enumerate().map(|(number, (name, ..))| {
            tag(name).replace("imglint/dotnet-", "imglint/run-path-").replace(":1", &format!(":{number}"))
        }).collect();
    let tags: Vec<[&str; 1]> = tags.iter().map(|tag| [tag.as_str()]).collect();
    let named: Vec<(&TestImage, &[&str])> =
        images.iter().zip(&tags).map(|((_, image, _), tags)| (image, &tags[..])).collect();
    let archive = engine.load(&named);
    // As a layout, in which layers have digests, so one that several images have is read once.
    let given: Vec<String> = tags.iter().map(|[tag]| format!("oci-archive:{}:{tag}", archive.file.display())).collect();
    let arguments: Vec<&str> = images[0].2.iter().copied().chain(given.iter().map(String::as_str)).collect();
    let results = engine.check(&arguments).report()["results"].as_array().unwrap().clone();
    assert_eq!(results.len(), images.len());
    results
}

/// How many stages were compared, and those that differ.
fn differences(result: &Value) -> (usize, Vec<String>) {
    let (run, facts) = (&result["run"], &result["facts"]);
    assert!(run["stages"].is_array(), "{}: {}", result["given"], result["error"]);
    let program = &facts["programs"][0];
    let bash = &facts["commands"]["bash"]["state"];
    let bash = if bash.is_null() || bash == "missing" || bash == "unusable" { "fail" } else { "pass" };
    let loaded = ran(run, "start").map(|start| start && ran(run, "linker").unwrap_or(false));
    let read = |stage: &str| program[stage].as_str().unwrap_or("unknown").to_owned();
    // What is loaded may be of no use all the same, and a stage after one that fails counts as failed.
    let decided = |stage: &str, rule: &str| {
        let is_missing = read("start") == "pass" && rules(result, "error", "fail").iter().any(|known| known == rule);
        let outcome = if read(stage) == "pass" {
            "pass"
        } else if is_missing {
            "fail"
        } else {
            "unknown"
        };
        outcome.to_owned()
    };
    let sets_icu = facts["configuration"]["env"]
        .as_object()
        .unwrap()
        .keys()
        .any(|name| name.contains("GLOBALIZATION") || name.contains("ICU"));
    let globalization = if sets_icu { "unknown".to_owned() } else { decided("globalization", "icu-missing") };
    let pairs = [
        ("start", read("start"), loaded),
        ("globalization", globalization, ran(run, "globalization")),
        ("cryptography", decided("cryptography", "openssl-library-missing"), ran(run, "cryptography")),
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
    let tools =
        run["stages"].as_array().unwrap().iter().filter_map(|stage| stage["name"].as_str()?.strip_prefix("tool:"));
    for tool in tools {
        let state = facts["commands"][tool]["state"].as_str().unwrap_or("missing");
        let Some(ran) = ran(run, &format!("tool:{tool}")) else { continue };
        count += 1;
        // The shell finds what cannot be run, too, as long as it is executable.
        if state != "unusable" && ran != (state == "usable") {
            differing.push(format!("{tool} is {state}, and the shell says {ran}"));
        }
    }
    let disagreements = run["disagreements"].as_array().unwrap();
    differing.extend(disagreements.iter().map(|rule| format!("the rules disagree: {rule} {}", run["stages"])));
    (count, differing)
}
