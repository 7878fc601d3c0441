//! What the image's environment does to .NET, OpenSSL and Python is what imglint reads of it.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use imglint::facts::Facts;
use imglint::facts::programs::{PAYLOAD_FOLDER, Payload, ProgramFact, Wanted};
use imglint::image;
use imglint::verdict::Outcome;

use super::dotnet::load;
use super::releases::Release;
use super::variants::{Agreement, Ended, Layers, Variant, run};
use crate::support::image::{Tar, TestImage, TestLayer};
use crate::support::{leave_out, real_part};

const PATH: &str = "PATH=/usr/local/bin:/usr/bin:/bin";
const LIBRARIES: &[&str] = &["libicu", "libssl", "libcrypto", "libstdc++", "libgcc_s", "libz"];
const ENCRYPT: &str = "openssl enc -aes-256-cbc -K 00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff \
     -iv 00112233445566778899aabbccddeeff -in /etc/os-release -out /dev/null";

/// Real parts: an engine, images of Debian, real programs of .NET.
pub fn parts() -> Option<(String, String, String)> {
    if !cfg!(target_arch = "x86_64") {
        leave_out("a machine with x86-64, which the programs are for");
        return None;
    }
    let engine = real_part("a Docker engine", "IMGLINT_TEST_DOCKER_HOST")?;
    let images = real_part("images of Debian", "IMGLINT_TEST_IMAGES")?;
    let programs = real_part("real .NET programs", "IMGLINT_TEST_PROGRAMS")?;
    Some((engine, images, programs))
}

/// Debian 12 with all that .NET needs, OpenSSL and Python.
pub fn debian(images: &Path) -> TestImage {
    let release = Release::read(images, "12");
    let tools = TestLayer::new(fs::read(images.join("tools-12.tar")).unwrap());
    let libraries = release.libraries(LIBRARIES, "usr/lib/x86_64-linux-gnu");
    release
        .minimal()
        .shared_layer("RUN apt-get install python3", &tools)
        .layer("RUN apt-get install libicu", &libraries)
}

fn env(own: &[&str]) -> Vec<String> {
    [PATH, "HOME=/root"].iter().chain(own).map(|&variable| variable.to_owned()).collect()
}

/// The stages that StandIn comes through. One that ends badly after all of them has not started well.
pub fn stages(ended: &Ended) -> [bool; 3] {
    let passed =
        ["start", "globalization", "cryptography"].map(|stage| ended.output.contains(&format!("stage {stage} passed")));
    if passed[2] && ended.code != 0 { [false; 3] } else { passed }
}

/// Compares the stages of one program.
pub fn compare(agreement: &mut Agreement, name: &str, predicted: &ProgramFact, ended: &Ended) {
    let said = [predicted.start, predicted.globalization, predicted.cryptography];
    for ((stage, said), seen) in ["start", "globalization", "cryptography"].iter().zip(said).zip(stages(ended)) {
        agreement.compare(&format!("{name}: {stage}"), said, seen, || {
            format!("{:?}, and it says {:?}", predicted.problems, ended.output.chars().take(300).collect::<String>())
        });
    }
}

/// The payloads that say how far they come, and the lines that start them.
fn payloads(programs: &Path) -> Vec<(&'static str, Payload, Vec<String>)> {
    let payload = |name: &'static str| {
        let folder = programs.join(name);
        let index = Arc::new(image::mounted_folder(&folder, PAYLOAD_FOLDER).unwrap());
        let line =
            fs::read_to_string(folder.join("command")).unwrap().replace("/payload", &format!("/programs/{name}"));
        let command = line.split_whitespace().map(str::to_owned).collect();
        (name, Payload { index, command: None }, command)
    };
    ["net8", "sa9"].map(payload).into()
}

const DOTNET: &[&[&str]] = &[
    &[],
    &["DOTNET_STARTUP_HOOKS=/gone.dll"],
    &["DOTNET_STARTUP_HOOKS="],
    &["DOTNET_STARTUP_HOOKS= "],
    &["DOTNET_STARTUP_HOOKS=:"],
    &["DOTNET_STARTUP_HOOKS=::/gone.dll"],
    &["DOTNET_STARTUP_HOOKS=Simple"],
    &["DOTNET_STARTUP_HOOKS=Simple.dll"],
    &["DOTNET_STARTUP_HOOKS=a/b.dll"],
    &["DOTNET_STARTUP_HOOKS=/etc"],
    &["DOTNET_STARTUP_HOOKS=/etc/os-release"],
    &["COMPlus_STARTUP_HOOKS=/gone.dll"],
    &["DOTNET_DiagnosticPorts=/d/p"],
    &["DOTNET_DiagnosticPorts=/d/p,nosuspend"],
    &["DOTNET_DiagnosticPorts=/d/p,NOSUSPEND"],
    &["DOTNET_DiagnosticPorts=/d/p,suspend,nosuspend"],
    &["DOTNET_DiagnosticPorts=/d/p,nosuspend,suspend"],
    &["DOTNET_DiagnosticPorts=/d/p,nosuspend;/d/q"],
    &["DOTNET_DiagnosticPorts=/d/p,listen"],
    &["DOTNET_DiagnosticPorts=;"],
    &["DOTNET_DIAGNOSTICPORTS=/d/p"],
    &["COMPlus_DiagnosticPorts=/d/p"],
    &["DOTNET_DiagnosticPorts=/d/p", "DOTNET_EnableDiagnostics=0"],
    &["DOTNET_DiagnosticPorts=/d/p", "COMPlus_EnableDiagnostics=0"],
    &["DOTNET_DiagnosticPorts=/d/p", "DOTNET_EnableDiagnostics_IPC=0"],
    &["DOTNET_DefaultDiagnosticPortSuspend=1"],
    &["DOTNET_DefaultDiagnosticPortSuspend=true"],
    &["DOTNET_GCHeapHardLimit=0x100000"],
    &["DOTNET_GCHeapHardLimit=200"],
    &["DOTNET_GCHeapHardLimit=100000zz"],
    &["DOTNET_GCHeapHardLimit=0x800000"],
    &["DOTNET_GCHeapHardLimit=0x10000000"],
    &["DOTNET_GCHeapHardLimit=xyz"],
    &["COMPlus_GCHeapHardLimit=100000"],
    &["DOTNET_GCHeapHardLimit=10000000", "COMPlus_GCHeapHardLimit=100000"],
    &["DOTNET_GCHeapHardLimit=", "COMPlus_GCHeapHardLimit=100000"],
    &["DOTNET_GCHeapHardLimitPercent=1"],
    &["DOTNET_GCHeapHardLimitSOH=10000000"],
    &["DOTNET_GCHeapHardLimitSOH=10000000", "DOTNET_GCHeapHardLimitLOH=10000000", "DOTNET_GCHeapHardLimitPOH=10000000"],
    &["DOTNET_GCName=libgone.so"],
    &["DOTNET_GCName=libclrgc.so"],
    &["DOTNET_GCPath=/gone.so"],
    &["DOTNET_GCRegionRange=100"],
    &["DOTNET_GCRegionSize=1"],
    &["DOTNET_GCRegionSize=0x300000"],
    &["DOTNET_GCLargePages=1"],
    &["DOTNET_GCHeapAffinitizeRanges=x"],
    &["DOTNET_GCHeapAffinitizeRanges=x", "DOTNET_gcServer=1"],
    &["DOTNET_gcServer=1"],
    &["DOTNET_DefaultStackSize=1000"],
    &["DOTNET_DefaultStackSize=0"],
    &["DOTNET_DefaultStackSize=180000"],
    &["DOTNET_Thread_DefaultStackSize=1000"],
    &["DOTNET_JitName=libgone.so"],
    &["DOTNET_JitName=libclrjit.so"],
    &["DOTNET_AltJitName=libgone.so"],
    &["DOTNET_AltJit=*"],
    &["DOTNET_ROLL_FORWARD=sideways"],
    &["DOTNET_ROLL_FORWARD=Disable"],
    &["DOTNET_ROLL_FORWARD=latestMajor"],
    &["DOTNET_ROLL_FORWARD_ON_NO_CANDIDATE_FX=7"],
    &["DOTNET_ROLL_FORWARD_ON_NO_CANDIDATE_FX=0"],
    &["DOTNET_SYSTEM_GLOBALIZATION_PREDEFINED_CULTURES_ONLY=1", "LANG=qq_QQ"],
    &["DOTNET_SYSTEM_GLOBALIZATION_PREDEFINED_CULTURES_ONLY=1", "LANG=en_US.UTF-8"],
    &["DOTNET_SYSTEM_GLOBALIZATION_PREDEFINED_CULTURES_ONLY=1", "LC_ALL=", "LANG=qq"],
    &["DOTNET_SYSTEM_GLOBALIZATION_PREDEFINED_CULTURES_ONLY=1", "LANG=de_QQ"],
    &["LANG=qq_QQ"],
    &[
        "CORECLR_ENABLE_PROFILING=1",
        "CORECLR_PROFILER={846F5F1C-F9AE-4B07-969E-05C26BC060D8}",
        "CORECLR_PROFILER_PATH=/gone",
    ],
    &["DOTNET_TieredCompilation=0", "DOTNET_ReadyToRun=0", "DOTNET_EnableWriteXorExecute=0"],
    &["DOTNET_ADDITIONAL_DEPS=/gone", "DOTNET_SHARED_STORE=/gone", "DOTNET_ROOT=/gone"],
];

#[test]
fn variables_of_dotnet_do_to_programs_what_is_predicted() {
    let Some((engine, images, programs)) = parts() else { return };
    let base = debian(Path::new(&images));
    load(&engine, &[("environment", base.clone())]);
    let layers = Layers::of(&base);
    let mut agreement = Agreement::default();
    for (program, payload, command) in payloads(Path::new(&programs)) {
        let variants: Vec<Variant> = DOTNET
            .iter()
            .map(|own| Variant {
                name: format!("{program} {}", own.join(" ")),
                env: env(own),
                command: command.clone(),
            })
            .collect();
        let ended = run(&engine, &super::dotnet::tag("environment"), Path::new(&programs), "", &variants);
        for (variant, ended) in variants.iter().zip(&ended) {
            let wanted = Wanted { payload: Some(payload.clone()), ..Wanted::default() };
            let facts = layers.facts(&variant.env, "", &wanted);
            compare(&mut agreement, &variant.name, &facts.programs.known().unwrap()[0], ended);
        }
    }
    let few = "the memory that a program needs to start is its own matter";
    agreement.demand(
        "variables of .NET",
        &[
            ("net8 DOTNET_GCHeapHardLimit=0x800000", few),
            ("sa9 DOTNET_GCHeapHardLimit=0x800000", few),
            (
                "net8 DOTNET_STARTUP_HOOKS=/etc/os-release",
                "of files that are not called .dll it is not read what they are",
            ),
            (
                "sa9 DOTNET_STARTUP_HOOKS=/etc/os-release",
                "of files that are not called .dll it is not read what they are",
            ),
            (
                "net8 DOTNET_SYSTEM_GLOBALIZATION_PREDEFINED_CULTURES_ONLY=1 LANG=de_QQ",
                "not every territory is in the table",
            ),
            (
                "sa9 DOTNET_SYSTEM_GLOBALIZATION_PREDEFINED_CULTURES_ONLY=1 LANG=de_QQ",
                "not every territory is in the table",
            ),
        ],
    );
}

/// A configuration that activates providers.
fn activating(names: &[&str]) -> String {
    let listed: String = names.iter().map(|name| format!("{name} = a\n")).collect();
    format!("openssl_conf = i\n[i]\nproviders = p\n[p]\n{listed}[a]\nactivate = 1\n")
}

fn configurations() -> Vec<(String, String)> {
    let mut all: Vec<(String, String)> = [
        &["null"][..],
        &["base"],
        &["legacy"],
        &["default"],
        &["default", "legacy"],
        &["fips"],
        &["fips", "base"],
        &["gone"],
        &["gone", "base"],
        &["gone", "default"],
        &["DEFAULT"],
        &["x.null"],
    ]
    .iter()
    .map(|names| (format!("activates {}", names.join(" and ")), activating(names)))
    .collect();
    let section = "[i]\nproviders = p\n[p]\nnull = n\n[n]\nactivate = 1\n";
    let algorithms = |set: &str| format!("openssl_conf = i\n[i]\nalg_section = a\n[a]\n{set}\n");
    let more = [
        ("empty", String::new()),
        ("not activated", "openssl_conf = i\n[i]\nproviders = p\n[p]\nnull = n\n[n]\n".to_owned()),
        ("off", "openssl_conf = i\n[i]\nproviders = p\n[p]\nnull = n\n[n]\nactivate = 0\n".to_owned()),
        (
            "identity",
            "openssl_conf = i\n[i]\nproviders = p\n[p]\nx = n\n[n]\nidentity = null\nactivate = 1\n".to_owned(),
        ),
        ("not named", section.to_owned()),
        ("of Node", format!("nodejs_conf = i\n{section}")),
        ("in the section default", format!("[default]\nopenssl_conf = i\n{section}")),
        ("blanks and comments", format!("  openssl_conf=i # c\n\t\n{section}")),
        ("quotes", format!("openssl_conf = \"i\"\n{section}")),
        ("carriage returns", format!("openssl_conf = i\n{section}").replace('\n', "\r\n")),
        ("continued", format!("openssl_conf = \\\ni\n{section}")),
        ("variable", format!("x = i\nopenssl_conf = $x\n{section}")),
        ("variable of the environment", format!("openssl_conf = $ENV::SECTION\n{section}")),
        ("variable that is not set", format!("openssl_conf = i\nx = $gone\n{section}")),
        ("other section", "openssl_conf = i\ni::providers = p\np::null = n\nn::activate = 1\n".to_owned()),
        ("garbage before", format!("garbage\nopenssl_conf = i\n{section}")),
        ("garbage behind", format!("openssl_conf = i\n{section}garbage\n")),
        ("semicolon", format!("; comment\nopenssl_conf = i\n{section}")),
        ("open bracket", format!("openssl_conf = i\n{}", section.replace("[i]", "[i"))),
        ("unknown setting first", format!("openssl_conf = i\n{}", section.replace("[i]\n", "[i]\nfoo = bar\n"))),
        ("included", "openssl_conf = i\n.include /cnf/part.cnf\n".to_owned()),
        ("included folder", "openssl_conf = i\n.include /cnf/parts\n".to_owned()),
        ("included and gone", format!("openssl_conf = i\n.include /gone.cnf\n{section}")),
        ("includedir", ".pragma includedir:/cnf\nopenssl_conf = i\n.include part.cnf\n".to_owned()),
        ("fips=yes", algorithms("default_properties = fips=yes")),
        ("?fips=yes", algorithms("default_properties = ?fips=yes")),
        ("fips=no", algorithms("default_properties = fips=no")),
        ("provider=default", algorithms("default_properties = provider=default")),
        ("provider!=default", algorithms("default_properties = provider!=default")),
        ("foo=bar", algorithms("default_properties = foo=bar")),
        ("broken properties", algorithms("default_properties = ,,=")),
        ("fips_mode yes", algorithms("fips_mode = yes")),
        ("fips_mode on", algorithms("fips_mode = on")),
        ("fips_mode and properties", algorithms("fips_mode = yes\ndefault_properties = fips=no")),
        ("module that is gone", activating(&["x"]).replace("activate", "module = /gone.so\nactivate")),
    ];
    all.extend(more.into_iter().map(|(name, text)| (name.to_owned(), text)));
    all
}

#[test]
fn configurations_of_openssl_leave_the_ciphers_that_are_predicted() {
    let Some((engine, images, programs)) = parts() else { return };
    let configurations = configurations();
    let part = b"[i]\nproviders = p\n[p]\nnull = n\n[n]\nactivate = 1\n";
    let files = Tar::default().file("cnf/part.cnf", 0o644, part).file("cnf/parts/a.cnf", 0o644, part);
    let files = configurations
        .iter()
        .enumerate()
        .fold(files, |tar, (number, (_, text))| tar.file(&format!("cnf/{number}.cnf"), 0o644, text.as_bytes()));
    let base = debian(Path::new(&images)).layer("COPY cnf /cnf", &files);
    load(&engine, &[("openssl", base.clone())]);
    let layers = Layers::of(&base);
    let own = |path: &str| env(&[&format!("OPENSSL_CONF={path}"), "SECTION=i"]);
    let mut named: Vec<(String, String)> = configurations
        .iter()
        .enumerate()
        .map(|(number, (name, _))| (name.clone(), format!("/cnf/{number}.cnf")))
        .collect();
    for path in ["/gone", "", "/dev/null", "/etc", "/etc/passwd"] {
        named.push((format!("OPENSSL_CONF={path}"), path.to_owned()));
    }
    let (program, payload, start) = payloads(Path::new(&programs)).remove(0);
    let words: Vec<String> = ENCRYPT.split_whitespace().map(str::to_owned).collect();
    let variant = |name: &str, path: &str, command: &[String]| Variant {
        name: name.to_owned(),
        env: own(path),
        command: command.to_vec(),
    };
    let mut variants: Vec<Variant> = named.iter().map(|(name, path)| variant(name, path, &words)).collect();
    let with_dotnet = named.iter().map(|(name, path)| variant(&format!("{program} {name}"), path, &start));
    variants.extend(with_dotnet);
    let ended = run(&engine, &super::dotnet::tag("openssl"), Path::new(&programs), "", &variants);
    let mut agreement = Agreement::default();
    for (number, (variant, ended)) in variants.iter().zip(&ended).enumerate() {
        if number < named.len() {
            let facts = layers.facts(&variant.env, "", &Wanted::default());
            agreement.compare(&variant.name, of_need(&facts, "bash", "openssl-ciphers"), ended.code == 0, || {
                ended.output.clone()
            });
        } else {
            let wanted = Wanted { payload: Some(payload.clone()), ..Wanted::default() };
            let facts = layers.facts(&variant.env, "", &wanted);
            compare(&mut agreement, &variant.name, &facts.programs.known().unwrap()[0], ended);
        }
    }
    let by_release = "what `activate = 0` does depends on the release of OpenSSL";
    agreement.demand("configurations of OpenSSL", &[("off", by_release), ("net8 off", by_release)]);
}

/// What is said of one need of a type of step.
fn of_need(facts: &Facts, step: &str, need: &str) -> Outcome {
    let step = &facts.steps.known().unwrap()[step];
    step.problems.iter().find(|problem| problem.need == need).map_or(Outcome::Pass, |problem| problem.outcome)
}
