//! What is said of the tools that steps call: on PATH, off it, of which version, and put there by files no step reads.

use crate::support::elf::{Elf, X86_64};
use crate::support::image::{Tar, TestImage, write_layout};
use crate::support::{Run, check, finding, imglint, rules};
use serde_json::{Value, json};

/// A system whose programs need no libraries, with the commands that a Bash step calls.
fn system() -> Tar {
    let commands = [
        "sh", "openssl", "uname", "whoami", "hostname", "getconf", "mktemp", "dirname", "basename", "wc", "cat",
        "xargs", "xxd", "which", "chmod", "apt-get",
    ];
    let bash = Elf::fixed(X86_64, b"@(#)Bash version 5.2.15(1) release GNU\0").bytes();
    let tar = Tar::default()
        .file("usr/bin/bash", 0o755, &bash)
        .file("etc/os-release", 0o644, b"ID=debian\nVERSION_ID=12\n")
        .file("etc/passwd", 0o644, b"root:x:0:0::/root:/bin/bash\n");
    commands.iter().fold(tar, |tar, name| tar.file(&format!("usr/bin/{name}"), 0o755, &program()))
}

fn program() -> Vec<u8> {
    Elf::fixed(X86_64, b"program").bytes()
}

/// An image with these files on top of the system.
fn image(tar: Tar) -> TestImage {
    TestImage::new(json!({"Env": ["PATH=/usr/bin:/bin"]})).layer("FROM base", &system()).layer("RUN install", &tar)
}

fn run(image: &TestImage, arguments: &[&str]) -> Run {
    let folder = tempfile::tempdir().unwrap();
    write_layout(folder.path(), &[(image, "")]);
    let name = format!("oci:{}", folder.path().display());
    check([&["--jobs", "1"], arguments, &[name.as_str()]].concat())
}

fn facts(image: &TestImage) -> Value {
    let folder = tempfile::tempdir().unwrap();
    write_layout(folder.path(), &[(image, "")]);
    let run = imglint(["facts", &format!("oci:{}", folder.path().display())]);
    serde_json::from_str::<Value>(&run.stdout).unwrap()["facts"].clone()
}

/// Node as nvm installs it, in these versions, of which one is the default.
fn nvm(versions: &[&str], default: &str) -> Tar {
    let lines =
        "export NVM_DIR=\"$HOME/.nvm\"\n[ -s \"$NVM_DIR/nvm.sh\" ] && \\. \"$NVM_DIR/nvm.sh\"  # This loads nvm\n";
    // As large as the real one, which is why it is not read.
    let tar = Tar::default()
        .file("root/.bashrc", 0o644, lines.as_bytes())
        .file("root/.nvm/nvm.sh", 0o644, &vec![b'#'; 150 << 10])
        .file("root/.nvm/alias/default", 0o644, default.as_bytes());
    versions.iter().fold(tar, |tar, version| {
        let folder = format!("root/.nvm/versions/node/v{version}/bin");
        tar.file(&format!("{folder}/node"), 0o755, &program()).file(&format!("{folder}/npm"), 0o755, &program())
    })
}

#[test]
fn node_through_nvm_gets_the_line_that_the_documentation_gives() {
    for (versions, default, expected) in [
        (vec!["18.19.0"], "18\n", "18.19.0"),
        (vec!["18.19.0", "20.11.1", "9.1.0"], "18", "18.19.0"),
        (vec!["18.19.0", "20.11.1", "9.1.0"], "v9.1.0", "9.1.0"),
        (vec!["18.19.0", "20.11.1", "9.1.0"], "node", "20.11.1"),
    ] {
        let result = run(&image(nvm(&versions, default)), &[]).result();
        let found = finding(&result, "tool-off-path");
        assert_eq!(found["fix"], format!("ENV PATH=\"/root/.nvm/versions/node/v{expected}/bin:$PATH\""));
        assert_eq!((&found["severity"], &found["evidence"][0]["layer"]), (&json!("warning"), &json!(1)));
        let line = found["evidence"][1]["statement"].as_str().unwrap();
        assert!(line.starts_with("/root/.bashrc, line 2, puts it on PATH, which no step reads: [ -s"), "{line}");
    }
    let mended = image(nvm(&["18.19.0"], "18")).env("PATH=/root/.nvm/versions/node/v18.19.0/bin:/usr/bin");
    assert!(rules(&run(&mended, &[]).result(), "warning", "fail").iter().all(|rule| rule != "tool-off-path"));
}

#[test]
fn a_tool_off_path_is_an_error_where_a_selected_step_needs_it() {
    let helm = Tar::default()
        .file("opt/helm/bin/helm", 0o755, &program())
        .file("usr/bin/kubectl", 0o755, &program())
        .file("etc/profile", 0o644, b"for f in /etc/profile.d/*.sh; do . \"$f\"; done\n")
        .file("etc/profile.d/helm.sh", 0o644, b"export PATH=\"$PATH:/opt/helm/bin\"\n");
    let image = image(helm);
    let unselected = run(&image, &[]).result();
    assert_eq!(finding(&unselected, "tool-off-path")["severity"], "warning");
    let selected = run(&image, &["--set", "steps=helm"]).result();
    for rule in ["tool-off-path", "step-tool-missing"] {
        let found = finding(&selected, rule);
        assert_eq!((&found["severity"], &found["fix"]), (&json!("error"), &json!("ENV PATH=\"/opt/helm/bin:$PATH\"")));
    }
    let line = finding(&selected, "tool-off-path")["evidence"][1]["statement"].as_str().unwrap();
    assert!(line.starts_with("/etc/profile.d/helm.sh, line 1,"), "{line}");
    assert!(rules(&selected, "error", "fail").contains(&"tool-off-path".to_owned()));
}

#[test]
fn the_selected_steps_decide_and_the_others_are_summed_up() {
    let image = image(Tar::default().file("usr/bin/pwsh", 0o755, &program()));
    let bash = run(&image, &[]);
    assert_eq!(bash.result()["facts"]["steps"]["bash"]["outcome"], "pass");
    assert_eq!(bash.result()["facts"]["steps"]["terraform"]["problems"][0]["need"], "terraform");
    let folder = tempfile::tempdir().unwrap();
    write_layout(folder.path(), &[(&image, "")]);
    let text = imglint(["check", &format!("oci:{}", folder.path().display())]).stdout;
    // It has no glibc, so that no step runs whatever tools there are.
    assert!(text.contains("  has tools for   bash\n"), "{text}");
    assert!(text.contains("  also tools for  powershell"), "{text}");
    assert!(text.contains("java (no java)"), "{text}");

    let result = run(&image, &["--set", "steps=powershell,terraform"]).result();
    assert_eq!(result["parameters"]["steps"], "powershell,terraform");
    let failed = rules(&result, "error", "fail");
    assert!(
        failed.contains(&"step-tool-missing".to_owned()) && !failed.contains(&"pwsh-missing".to_owned()),
        "{failed:?}"
    );
    let not_applicable = result["not_applicable"].as_array().unwrap();
    assert!(not_applicable.contains(&json!("openssl-command-missing")), "no Bash step is selected");
    let wrong = imglint(["check", "--set", "steps=bsh", "x"]);
    assert!(wrong.code == 2 && wrong.stderr.contains("did you mean `bash`?"), "{}", wrong.stderr);
}

#[test]
fn python_needs_the_module_or_may_install_it() {
    let python = || {
        Tar::default()
            .file("etc/debian_version", 0o644, b"12.5\n")
            .link("usr/bin/python3", "python3.11")
            .file("usr/bin/python3.11", 0o755, &program())
            .file("usr/lib/python3.11/encodings/__init__.py", 0o644, b"")
    };
    let crypto = |tar: Tar| {
        let result = run(&image(tar), &["--set", "steps=python"]).result();
        let of = |severity: &str, outcome: &str| {
            rules(&result, severity, outcome).contains(&"python-crypto-missing".to_owned())
        };
        [of("error", "fail"), of("warning", "fail"), of("error", "unknown")]
    };
    let packages = "usr/lib/python3/dist-packages";
    let pip = |tar: Tar| {
        tar.file(&format!("{packages}/pip/__init__.py"), 0o644, b"").file(
            &format!("{packages}/pip/__main__.py"),
            0o644,
            b"",
        )
    };
    assert_eq!(crypto(python()), [true, false, false], "no module, no pip");
    assert_eq!(crypto(pip(python())), [false, true, false], "pip can fetch it");
    let managed = pip(python()).file("usr/lib/python3.11/EXTERNALLY-MANAGED", 0o644, b"");
    assert_eq!(crypto(managed), [true, false, false], "pip may not");
    let there = |folder: &str| python().file(&format!("{folder}/Crypto/Cipher/AES.py"), 0o644, b"").folder(packages);
    assert_eq!(crypto(there(packages)), [false, false, false]);
    assert_eq!(crypto(there("usr/local/lib/python3.11/dist-packages")), [false, false, false]);
    assert_eq!(crypto(there("usr/local/lib/python3.9/dist-packages")), [true, false, false], "another Python's");
    let debian_s_own = python().file(&format!("{packages}/Cryptodome/Cipher/AES.py"), 0o644, b"");
    assert_eq!(crypto(debian_s_own), [true, false, false], "it goes by another name");
    let shim = Tar::default().file("usr/bin/python3", 0o755, b"#!/usr/bin/bash\nexec pyenv exec python3\n");
    assert_eq!(crypto(shim), [false, false, true], "which Python that is nobody can tell");
    let environment = Tar::default()
        .link("opt/venv/bin/python3", "/usr/bin/python3.11")
        .file("opt/venv/pyvenv.cfg", 0o644, b"home = /usr/bin\n")
        .file("opt/venv/lib/python3.11/site-packages/Crypto/Cipher/AES.py", 0o644, b"")
        .file("usr/bin/python3.11", 0o755, &program())
        .file("usr/lib/python3.11/encodings/__init__.py", 0o644, b"");
    let result = run(&image(environment).env("PATH=/opt/venv/bin:/usr/bin"), &["--set", "steps=python"]).result();
    assert!(result["passed"].as_array().unwrap().contains(&json!("python-crypto-missing")));
}

#[test]
fn csharp_takes_exactly_one_release_of_dotnet() {
    let dotnet = |version: &str| {
        let tar = Tar::default()
            .link("usr/bin/dotnet", "../share/dotnet/dotnet")
            .file("usr/share/dotnet/dotnet", 0o755, &program())
            .folder(&format!("usr/share/dotnet/shared/Microsoft.NETCore.App/{version}"));
        run(&image(tar), &["--set", "steps=csharp"]).result()
    };
    assert!(dotnet("8.0.11")["passed"].as_array().unwrap().contains(&json!("dotnet-runtime-missing")));
    let newer = dotnet("9.0.0");
    let said = finding(&newer, "dotnet-runtime-missing")["evidence"][0]["statement"].as_str().unwrap();
    assert!(said.contains("/usr/share/dotnet/shared/Microsoft.NETCore.App, which has 9.0.0"), "{said}");
    assert_eq!(newer["facts"]["commands"]["dotnet"]["version"]["version"], "9.0.0");
}

#[test]
fn versions_are_told_by_files_and_bash_by_itself() {
    let status =
        b"Package: python3\nStatus: install ok installed\nVersion: 3.11.2-1+b1\n\nPackage: az-not\nVersion: 9\n";
    let tar = Tar::default()
        .file("var/lib/dpkg/status", 0o644, status)
        .file("usr/bin/python3", 0o755, &program())
        .file("usr/local/bin/openssl", 0o755, &program())
        .file("usr/lib/jvm/jdk-17/release", 0o644, b"IMPLEMENTOR=\"x\"\nJAVA_VERSION=\"17.0.2\"\n")
        .file("usr/lib/jvm/jdk-17/bin/java", 0o755, &program())
        .link("usr/bin/java", "../lib/jvm/jdk-17/bin/java")
        .file("opt/az/lib/python3.11/site-packages/azure_cli-2.50.0.dist-info/METADATA", 0o644, b"")
        .file("opt/az/bin/az", 0o755, b"#!/usr/bin/bash\n")
        .link("usr/bin/az", "/opt/az/bin/az");
    let facts = facts(&image(tar));
    let version = |name: &str| facts["commands"][name]["version"]["version"].clone();
    let told = ["bash", "python3", "java", "az"].map(version);
    assert_eq!(told, [json!("5.2.15"), json!("3.11.2"), json!("17.0.2"), json!("2.50.0")]);
    assert_eq!(facts["commands"]["bash"]["version"]["known_by"], "the program itself");
    // What somebody put into /usr/local is of no package; RPM's database is not read.
    let rpm = Tar::default().folder("var/lib/rpm").file("usr/bin/python3", 0o755, &program());
    let unknown = self::facts(&image(rpm))["commands"]["python3"]["version"]["unknown"].clone();
    assert!(unknown.as_str().unwrap().contains("the RPM database, which is not read"), "{unknown}");

    let old = Elf::fixed(X86_64, b"@(#)Bash version 4.2.46(2) release GNU\0").bytes();
    let result = run(&image(Tar::default().file("usr/bin/bash", 0o755, &old)), &[]).result();
    assert!(rules(&result, "warning", "fail").contains(&"bash-too-old".to_owned()));
    let silent = run(&image(Tar::default().file("usr/bin/bash", 0o755, &program())), &[]).result();
    assert!(rules(&silent, "error", "unknown").contains(&"bash-missing".to_owned()), "it does not say that it is bash");
}

#[test]
fn java_home_goes_before_path() {
    let java = Tar::default().file("usr/bin/java", 0o755, &program());
    let dangling = image(java).env("JAVA_HOME=/usr/lib/jvm/gone");
    let severity = |set: &[&str]| finding(&run(&dangling, set).result(), "java-home-dangling")["severity"].clone();
    assert_eq!((severity(&[]), severity(&["--set", "steps=java"])), (json!("warning"), json!("error")));
    let result = run(&dangling, &["--set", "steps=java"]).result();
    assert!(rules(&result, "error", "fail").contains(&"step-tool-missing".to_owned()), "the java on PATH is not taken");
}

#[test]
fn entries_of_path_are_facts_one_by_one() {
    let tar = Tar::default().link("tools", "usr/bin").folder_of("closed", 0o700, 0);
    let image = image(tar).env("PATH=/usr/bin:/tools:/gone:bin::/etc/passwd:/closed").user("1000");
    let facts = facts(&image);
    let entries: Vec<(String, Value)> = facts["path"]["entries"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| (entry["state"].as_str().unwrap().to_owned(), entry["same_as"].clone()))
        .collect();
    let states: Vec<&str> = entries.iter().map(|(state, _)| state.as_str()).collect();
    assert_eq!(states, ["folder", "folder", "missing", "relative", "empty", "not-a-folder", "closed"]);
    assert_eq!(entries[1].1, "/usr/bin");
    let result = run(&image, &[]).result();
    assert!(rules(&result, "warning", "fail").contains(&"path-entry-missing".to_owned()));
}

#[test]
fn a_command_that_is_hidden_by_another_is_told() {
    let tar = Tar::default().file("opt/first/bash", 0o755, &program());
    let facts = facts(&image(tar).env("PATH=/opt/first:/usr/bin"));
    assert_eq!(facts["commands"]["bash"]["place"]["path"], "/opt/first/bash");
    assert_eq!(facts["commands"]["bash"]["hides"], json!(["/usr/bin/bash"]));
}

#[test]
fn shell_files_that_nobody_can_read_are_said_to_be_so() {
    let large = b"PATH=/opt/x:$PATH\n".repeat(600_000);
    for (content, why) in [
        (large.as_slice(), "/root/.bashrc (10800000 bytes) was not read"),
        (b"eval \"$(/opt/tool env)\"\n", "depends on what a command prints"),
        (b"if then fi ((\n", "could not be read"),
        (b". /root/.bashrc\n. /root/.bashrc\n", "is sourced again and again"),
    ] {
        let result = run(&image(Tar::default().file("root/.bashrc", 0o644, content)), &[]).result();
        let found = finding(&result, "path-set-in-shell-file");
        assert_eq!((&found["outcome"], &found["severity"]), (&json!("unknown"), &json!("info")));
        let said = found["evidence"][0]["statement"].as_str().unwrap();
        assert!(said.contains(why), "{said}");
        assert_eq!(result["verdict"], run(&image(Tar::default()), &[]).result()["verdict"], "it decides nothing");
    }
}

#[test]
fn a_path_of_thousands_of_folders_is_searched_so_far_and_no_further() {
    let tar = (0..400).fold(Tar::default(), |tar, number| tar.folder(&format!("d{number}")));
    let path: Vec<String> = (0..400).map(|number| format!("/d{number}")).collect();
    let facts = facts(&image(tar).env(&format!("PATH=/usr/bin:{}:{}", path.join(":"), "/usr/bin:".repeat(20_000))));
    assert_eq!(facts["commands"]["bash"]["state"], "usable");
    assert_eq!(facts["commands"]["helm"]["state"], "unknown");
    assert_eq!(facts["steps"]["helm"]["outcome"], "unknown");
}
