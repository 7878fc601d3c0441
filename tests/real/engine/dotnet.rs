//! Whether real .NET programs start, reach culture data and reach cryptography is what imglint predicts from the files.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use imglint::facts::programs::{PAYLOAD_FOLDER, Payload, ProblemKind, ProgramFact, Wanted};
use imglint::image;
use imglint::layer::LayerIndex;
use imglint::verdict::Outcome;

use super::corpus::{Corpus, corpus};
use super::engines::save;
use super::reading;
use super::runs::{Run, run_all};
use crate::support::image::TestImage;
use crate::support::{leave_out, real_part};

const STAGES: [&str; 3] = ["start", "globalization", "cryptography"];
/// Programs that are also described by their release alone.
const DESCRIBED: [(&str, &str); 4] = [("net31", "3.1"), ("net8", "8.0"), ("sa9", "9.0"), ("sc10", "10.0")];
/// How many images are predicted and run at a time: a container waits for its engine while another image is read.
const AT_ONCE: usize = 3;

/// The programs that are given to images.
struct Reader {
    payloads: Vec<(String, Arc<LayerIndex>)>,
}

impl Reader {
    fn new(programs: &Path) -> Self {
        let mut names: Vec<PathBuf> = std::fs::read_dir(programs)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.is_dir())
            .collect();
        names.sort();
        let payload = |folder: &PathBuf| {
            let name = folder.file_name().unwrap().to_str().unwrap().to_owned();
            (name, Arc::new(image::mounted_folder(folder, PAYLOAD_FOLDER).unwrap()))
        };
        Self { payloads: names.iter().map(payload).collect() }
    }

    /// What is predicted of each payload, and of the described programs.
    fn predictions(&self, test: &TestImage) -> Vec<(String, ProgramFact)> {
        let rootfs = reading::rootfs(test);
        let programs = |wanted: Wanted| reading::programs(test, &rootfs, &wanted);
        let mut predictions = Vec::new();
        for (name, index) in &self.payloads {
            let payload = Some(Payload { index: Arc::clone(index), command: None });
            let mut found = programs(Wanted { payload, ..Wanted::default() });
            assert_eq!(found.len(), 1, "{name}: {found:?}");
            predictions.push((name.clone(), found.remove(0)));
        }
        let releases = DESCRIBED.map(|(_, release)| release.to_owned()).to_vec();
        let described = programs(Wanted { releases, ..Wanted::default() });
        predictions.extend(DESCRIBED.iter().zip(described).map(|((name, _), fact)| ((*name).to_owned(), fact)));
        predictions
    }
}

#[test]
fn programs_come_as_far_as_is_predicted() {
    if !cfg!(target_arch = "x86_64") {
        leave_out("a machine with x86-64, which the programs are for");
        return;
    }
    let Some(engine) = real_part("a Docker engine", "IMGLINT_TEST_DOCKER_HOST") else { return };
    let Some(images) = real_part("images of Debian", "IMGLINT_TEST_IMAGES") else { return };
    let Some(programs) = real_part("real .NET programs", "IMGLINT_TEST_PROGRAMS") else { return };
    let programs = Path::new(&programs);
    let shared = std::env::var_os("IMGLINT_SHARED_IMAGES").map(PathBuf::from);
    let mut corpus = corpus(Path::new(&images), shared.as_deref());
    if let Ok(only) = std::env::var("IMGLINT_TEST_ONLY") {
        corpus.retain(|(name, _)| name.contains(&only));
    }
    load(&engine, &corpus);

    let reader = Reader::new(programs);
    let seen = everywhere(&corpus, |name, image| (reader.predictions(image), run_all(&engine, &tag(name), programs)));
    let mut table = Comparison::default();
    for ((name, _), (predictions, runs)) in corpus.iter().zip(&seen) {
        for run in runs {
            // One that extracts itself is not like the described one where it cannot.
            let of_run: Vec<&ProgramFact> =
                predictions.iter().filter(|(name, _)| *name == run.program).map(|(_, fact)| fact).collect();
            let is_special = of_run.iter().any(|fact| has(fact, ProblemKind::HomeNotWritable));
            for predicted in of_run.iter().filter(|fact| !is_special || fact.program == "payload") {
                table.compare(name, predicted, run);
            }
        }
    }
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join("dotnet-agreement.tsv");
    std::fs::write(&file, &table.text).unwrap();
    println!("{}", table.text);
    println!(
        "{} images, {} runs of {} programs, {} stages compared, {} predicted as unknown, {} differ (table: {})",
        corpus.len(),
        seen.iter().map(|(_, runs)| runs.len()).sum::<usize>(),
        reader.payloads.len(),
        table.compared,
        table.unknown,
        table.wrong.len(),
        file.display()
    );
    assert!(table.wrong.is_empty(), "{}", table.wrong.join("\n\n"));
}

fn has(fact: &ProgramFact, kind: ProblemKind) -> bool {
    fact.problems.iter().any(|problem| problem.kind == kind)
}

pub fn tag(name: &str) -> String {
    format!(
        "imglint/dotnet-{}:1",
        name.to_lowercase().replace(['+', '_'], "-").replace("--", "-").trim_end_matches('-')
    )
}

pub fn load(engine: &str, corpus: &[(&'static str, TestImage)]) {
    let folder = tempfile::tempdir().unwrap();
    let archive = folder.path().join("corpus.tar");
    let names: Vec<String> = corpus.iter().map(|(name, _)| tag(name)).collect();
    let tags: Vec<[&str; 1]> = names.iter().map(|name| [name.as_str()]).collect();
    let images: Vec<(&TestImage, &[&str])> =
        corpus.iter().zip(&tags).map(|((_, image), tags)| (image, &tags[..])).collect();
    save(&archive, &images);
    let loaded = Command::new("docker").args(["-H", engine, "load", "-q", "-i"]).arg(&archive).output().unwrap();
    assert!(loaded.status.success(), "{}", String::from_utf8_lossy(&loaded.stderr));
}

/// What `work` gives of each image, several at a time, in the order of the corpus.
fn everywhere<T: Send>(corpus: &Corpus, work: impl Fn(&str, &TestImage) -> T + Sync) -> Vec<T> {
    let next = AtomicUsize::new(0);
    let done: Vec<Mutex<Option<T>>> = corpus.iter().map(|_| Mutex::default()).collect();
    let take = || {
        let at = next.fetch_add(1, Ordering::Relaxed);
        corpus.get(at).map(|(name, image)| (at, name, image))
    };
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some((at, name, image)) = take() {
                    *done[at].lock().unwrap() = Some(work(name, image));
                }
            });
        }
    });
    done.into_iter().map(|slot| slot.into_inner().unwrap().unwrap()).collect()
}

/// The table of all comparisons.
#[derive(Default)]
struct Comparison {
    text: String,
    compared: usize,
    unknown: usize,
    wrong: Vec<String>,
}

impl Comparison {
    fn compare(&mut self, image: &str, predicted: &ProgramFact, run: &Run) {
        let said = [predicted.start, predicted.globalization, predicted.cryptography];
        for ((stage, said), ran) in STAGES.iter().zip(said).zip(run.stages) {
            let Some(ran) = ran else { continue };
            self.compared += 1;
            let agrees = match said {
                Outcome::Pass => ran,
                Outcome::Fail => !ran,
                Outcome::Unknown | Outcome::NotApplicable => {
                    self.unknown += 1;
                    true
                }
            };
            let verdict = if agrees { "agree" } else { "DIFFER" };
            let ran = if ran { "pass" } else { "fail" };
            writeln!(
                self.text,
                "{verdict}\t{image}\t{}\t{}\t{stage}\tread: {said:?}\trun: {ran}",
                run.program, predicted.program
            )
            .unwrap();
            if !agrees {
                let output: String = run.output.chars().take(600).collect();
                self.wrong.push(format!(
                    "{image}: {} as {}: {stage} is predicted to {said:?} and does {ran}\n  predicted: {:?} {:?}\n  it says: {output}",
                    run.program, predicted.program, predicted.problems, predicted.dotnet
                ));
            }
        }
    }
}
