//! What is read in the layers of Windows images: registry, programs, PATH, and what follows for steps.

use crate::support::image::{Tar, TestImage, write_layout};
use crate::support::windows::{
    CORE_PATH, Data, ENVIRONMENT, core_base, hive, image, layered, library, nano_base, nanoserver, program,
    program_for, servercore, setx, value_tombstone,
};
use crate::support::{check, finding, rules};
use serde_json::{Value, json};

const CORE: &str = "10.0.20348.2227";
const SETX: &str = r"cmd /S /C setx /M PATH x";

fn result_with(image: &TestImage, arguments: &[&str]) -> Value {
    let folder = tempfile::tempdir().unwrap();
    write_layout(folder.path(), &[(image, "")]);
    let name = format!("oci:{}", folder.path().display());
    let run = check([&["--set", "worker=windows/amd64"], arguments, &[name.as_str()]].concat());
    assert!(run.code < 2, "{}", run.stderr);
    run.result()
}

fn result(image: &TestImage) -> Value {
    result_with(image, &[])
}

fn failed(result: &Value, severity: &str) -> Vec<String> {
    rules(result, severity, "fail")
}

/// The folders of PATH with their states.
fn path(result: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let entries = result["facts"]["windows"]["path"]["entries"].as_array().unwrap();
    entries.iter().map(|entry| (text(&entry["folder"]), text(&entry["state"]))).collect()
}

fn folders(result: &Value) -> Vec<String> {
    path(result).into_iter().map(|(folder, _)| folder).collect()
}

#[test]
fn an_image_like_worker_tools_is_compatible_and_says_what_put_its_tools_on_path() {
    let tools = Tar::default()
        .folder("Files/tools")
        .file("Files/tools/bin/KubeCtl.EXE", 0o644, &program([1, 30, 0, 0]))
        .file("Files/tools/bin/az.cmd", 0o644, b"@echo off")
        .file("Hives/System_Delta", 0o644, &setx(r"C:\Windows\system32;C:\Windows;C:\tools\bin"));
    let image = servercore(CORE).layer(SETX, &tools);
    let result = result_with(&image, &["--set", "steps=powershell,kubernetes,bicep"]);
    assert_eq!((result["verdict"].clone(), failed(&result, "error")), (json!("compatible"), vec![]), "{result:#}");
    let windows = &result["facts"]["windows"];
    assert_eq!(folders(&result), [r"C:\Windows\system32", r"C:\Windows", r"C:\tools\bin"]);
    let place = &windows["path"]["entries"][2]["place"];
    assert_eq!((&place["layer"], &place["path"]), (&json!(1), &json!("Hives/System_Delta")));
    assert_eq!(place["instruction"], "RUN setx /M PATH x");
    let of_base = &windows["path"]["entries"][0]["place"];
    assert_eq!((&of_base["layer"], &of_base["path"]), (&json!(0), &json!(r"C:\Windows\System32\config\SYSTEM")));
    assert_eq!(windows["kind"], "servercore");
    assert!(windows["kind_known_by"].as_str().unwrap().contains("Server Core"));
    assert_eq!(windows["dotnet_framework"]["version"], "4.8.4000.0");
    assert_eq!((&windows["powershell"]["present"], &windows["pwsh"]["present"]), (&json!(true), &json!(false)));
    assert_eq!((&windows["icu"]["present"], &windows["vc_runtime"]["present"]), (&json!(true), &json!(false)));
    let kubectl = &result["facts"]["commands"]["kubectl"];
    assert_eq!((&kubectl["state"], &kubectl["place"]["path"]), (&json!("usable"), &json!(r"C:\tools\bin\KubeCtl.EXE")));
    assert_eq!(result["facts"]["commands"]["helm"]["state"], "missing");
    assert!(result["facts"]["commands"]["where"].is_null(), "the utility machine's programs are not the image's");
}

#[test]
fn nano_server_has_no_powershell_unless_it_is_brought_along() {
    let bare = result(&nanoserver(CORE));
    assert_eq!(failed(&bare, "error"), ["powershell-missing"]);
    let evidence = &finding(&bare, "powershell-missing")["evidence"][0];
    assert!(evidence["statement"].as_str().unwrap().contains("Nano Server has no Windows PowerShell"));
    assert_eq!(bare["facts"]["windows"]["icu"]["present"], false);

    let pwsh = Tar::default().file("Files/Program Files/PowerShell/7/pwsh.exe", 0o644, &program([7, 4, 1, 500]));
    let with = result(&nanoserver(CORE).layer("COPY pwsh", &pwsh));
    assert_eq!(
        (with["verdict"].clone(), failed(&with, "warning")),
        (json!("compatible"), ["powershell-missing", "user-not-root"].map(str::to_owned).into())
    );
    let evidence = &finding(&with, "powershell-missing")["evidence"][0];
    assert!(evidence["statement"].as_str().unwrap().contains("Core edition"), "{evidence}");
    assert_eq!((&evidence["path"], &evidence["layer"]), (&json!(r"C:\Program Files\PowerShell\7\pwsh.exe"), &json!(1)));
    assert_eq!(with["facts"]["windows"]["pwsh"]["version"], "7.4.1.500");
    assert_eq!(with["parameters"]["steps"], "powershell", "the default for Windows images");
}

#[test]
fn an_ltsc2016_image_is_too_old() {
    let result = result(&servercore("10.0.14393.5427"));
    assert_eq!(failed(&result, "error"), ["windows-version-unsupported"]);
}

#[test]
fn without_os_version_the_files_tell_it_by_the_fixed_part_of_their_version() {
    let silent = |base: &Tar| image(CORE, &Tar::default()).field("os.version", Value::Null).layer("RUN x", base);
    let unmarked = |base: &Tar| TestImage::new(json!({})).field("os", json!("windows")).layer("COPY . .", base);
    let by_history = result(&silent(&Tar::default()));
    assert_eq!(by_history["facts"]["windows"]["stated"][0]["place"]["field"], "history[0]");
    let by_file = result(&unmarked(&core_base("10.0.17763.3887")));
    let windows = &by_file["facts"]["windows"];
    assert_eq!((&windows["build"], &windows["revision"]), (&json!(17763), &json!(3887)));
    assert_eq!(windows["stated"][0]["place"]["path"], r"C:\Windows\System32\ntdll.dll");
    assert_eq!(windows["stated"][1]["version"], "10.0.17763.3887", "the registry says it, too");
    assert!(failed(&by_file, "error").is_empty(), "{:?}", failed(&by_file, "error"));
    let old = result(&unmarked(&core_base("10.0.14393.1")));
    assert_eq!(failed(&old, "error"), ["windows-version-unsupported"]);
}

#[test]
fn a_file_of_another_release_than_the_configuration_says_is_told() {
    let result = result(&image("10.0.20348.1", &core_base("10.0.17763.3887")));
    let evidence = finding(&result, "windows-version-mismatch")["evidence"].clone();
    assert_eq!(evidence[0]["path"], r"C:\Windows\System32\config\SOFTWARE", "{evidence:#}");
    assert_eq!(evidence[1]["field"], "os.version", "{evidence:#}");
}

#[test]
fn what_files_and_registry_agree_on_decides_against_a_claimed_version() {
    let claims = image("10.0.20348.1", &core_base("10.0.17763.3887"));
    let on = |host: &str| result_with(&claims, &["--set", &format!("host={host}")]);
    let windows = on("ltsc2022")["facts"]["windows"].clone();
    assert_eq!((&windows["build"], &windows["revision"]), (&json!(17763), &json!(3887)));
    assert_eq!(finding(&on("ltsc2022"), "windows-host-mismatch")["severity"], "warning", "Hyper-V isolation only");
    let passed = on("ltsc2019")["passed"].clone();
    assert!(passed.as_array().unwrap().contains(&json!("windows-host-mismatch")), "{passed}");
    // One file alone is no proof against it.
    let library = Tar::default().file("Files/Windows/System32/ntdll.dll", 0o644, &library([10, 0, 17763, 1])).file(
        "Files/Windows/System32/cmd.exe",
        0o644,
        &program([10, 0, 17763, 1]),
    );
    assert_eq!(result(&image("10.0.20348.1", &library))["facts"]["windows"]["build"], 20348);
}

#[test]
fn a_host_process_image_has_no_windows() {
    let base = Tar::default()
        .file("Files/License.txt", 0o644, b"")
        .file("Files/Windows/System32/config/SYSTEM", 0o644, &hive(&[]))
        .file("Files/Windows/System32/config/SOFTWARE", 0o644, &hive(&[]));
    let image = TestImage::new(json!({})).field("os", json!("windows")).layer("COPY hives", &base);
    let result =
        result(&image.layer("COPY tool", &Tar::default().file("Files/tool.exe", 0o644, &program([1, 0, 0, 0]))));
    assert_eq!(
        (result["verdict"].clone(), failed(&result, "error")),
        (json!("incompatible"), vec!["windows-base-missing".to_owned()])
    );
    assert_eq!(result["facts"]["windows"]["kind"], "host-process");
}

#[test]
fn deltas_are_merged_as_windows_merges_them() {
    let delta = |bytes: Vec<u8>| Tar::default().file("Hives/System_Delta", 0o644, &bytes);
    let tools = setx(r"C:\Windows\system32;C:\tools");
    let environment = || hive(&[(ENVIRONMENT, &[("OTHER", Data::Text("x"))])]);
    let with = |layers: &[Vec<u8>]| {
        let image = layers.iter().fold(servercore(CORE), |image, bytes| image.layer(SETX, &delta(bytes.clone())));
        result(&image)
    };
    let core: Vec<String> = CORE_PATH
        .split(';')
        .map(|folder| folder.replace("%SystemRoot%", r"C:\Windows").replace("%SYSTEMROOT%", r"C:\Windows"))
        .collect();
    assert_eq!(folders(&with(&[])), core);
    assert_eq!(folders(&with(&[environment()])), core, "any RUN leaves a delta that says nothing of PATH");
    assert_eq!(folders(&with(std::slice::from_ref(&tools))), [r"C:\Windows\system32", r"C:\tools"]);
    assert_eq!(
        folders(&with(&[tools.clone(), setx(r"C:\Windows\system32")])),
        [r"C:\Windows\system32"],
        "the last counts"
    );
    let superseded = with(&[tools.clone(), layered(environment(), "Environment", 3)]);
    assert_eq!((folders(&superseded), failed(&superseded, "error")), (vec![], vec!["windows-path-broken".to_owned()]));
    assert!(folders(&with(&[tools.clone(), layered(environment(), "Environment", 1)])).is_empty(), "tombstone");
    assert!(folders(&with(&[tools.clone(), layered(environment(), "Session Manager", 3)])).is_empty(), "above it");
    assert_eq!(folders(&with(&[tools.clone(), layered(environment(), "Session Manager", 2)])).len(), 2, "not its keys");
    assert!(folders(&with(&[tools.clone(), value_tombstone(tools.clone(), "PATH")])).is_empty(), "value tombstone");
    let again = with(&[tools.clone(), layered(environment(), "Environment", 1), tools]);
    assert_eq!(folders(&again).len(), 2, "set again after that");
}

#[test]
fn the_user_s_path_is_appended() {
    let user = hive(&[("Environment", &[("Path", Data::Text(r"%USERPROFILE%\bin"))])]);
    let layer = Tar::default()
        .file("Files/Users/ContainerUser/ntuser.dat", 0o644, &user)
        .folder("Files/Users/ContainerUser/bin");
    let found = result(&nanoserver(CORE).layer("RUN setx PATH x", &layer));
    assert_eq!(path(&found)[2], (r"C:\Users\ContainerUser\bin".to_owned(), "folder".to_owned()));
    assert_eq!(found["facts"]["windows"]["path"]["entries"][2]["of"], "user");
    let other = result(&nanoserver(CORE).layer("RUN setx PATH x", &layer).user("ContainerAdministrator"));
    assert_eq!(path(&other).len(), 2, "of that user alone");
}

#[test]
fn files_are_taken_away_linked_and_streamed_as_layers_say() {
    let lower = Tar::default()
        .file("Files/tools/bin/MyTool.EXE", 0o644, &program([1, 0, 0, 0]))
        .file("Files/tools/bin/MyTool.EXE:Zone.Identifier", 0o644, b"[ZoneTransfer]")
        .file("Files/tools/bin/terraform.exe", 0o644, &program([1, 0, 0, 0]))
        .file("Hives/System_Delta", 0o644, &setx(r"C:\Windows\system32;C:\tools\bin"));
    let upper = Tar::default()
        .folder("Files/TOOLS")
        .whiteout("Files/TOOLS/bin/TERRAFORM.exe")
        .hard_link("Files/tools/bin/helm.exe", "Files/Windows/System32/cmd.exe");
    let result = result(&servercore(CORE).layer(SETX, &lower).layer("RUN del", &upper));
    let commands = &result["facts"]["commands"];
    let state = |name: &str| commands[name]["state"].as_str().unwrap_or("none").to_owned();
    assert_eq!(
        (state("mytool"), state("terraform"), state("helm")),
        ("usable".into(), "missing".into(), "usable".into())
    );
    assert_eq!(commands["helm"]["place"]["layer"], 2);
}

#[test]
fn a_layer_that_buildkit_made_on_linux_has_no_delta() {
    let layer = Tar::default().folder("Hives").folder("Files").file("Files/app/app.exe", 0o644, &program([1, 0, 0, 0]));
    let result = result(&servercore(CORE).layer("COPY app app # buildkit", &layer));
    assert_eq!(folders(&result).len(), 5);
    assert_eq!(result["verdict"], "compatible");
}

#[test]
fn a_path_in_env_replaces_the_registry_s() {
    let layer = Tar::default().folder("Files/tools/bin").file(
        "Hives/System_Delta",
        0o644,
        &setx(r"C:\Windows\system32;C:\Windows;C:\tools\bin\"),
    );
    let base = || servercore(CORE).layer(SETX, &layer);
    let hidden = result(&base().env(r"PATH=c:\Windows\System32;c:\Windows"));
    assert_eq!(failed(&hidden, "warning"), ["windows-path-hides-registry"]);
    let evidence = &finding(&hidden, "windows-path-hides-registry")["evidence"];
    assert_eq!((evidence.as_array().unwrap().len(), &evidence[0]["layer"]), (1, &json!(1)));
    assert!(evidence[0]["statement"].as_str().unwrap().contains(r"C:\tools\bin"));
    let shown = result(&base().env(r"Path=c:\Windows\System32;c:\windows\;C:\TOOLS\bin"));
    assert!(failed(&shown, "warning").is_empty(), "{:?}", failed(&shown, "warning"));
    let tool = Tar::default().file("Files/tools/bin/kubectl.exe", 0o644, &program([1, 0, 0, 0]));
    let lost = base().layer("COPY kubectl", &tool).env(r"PATH=c:\Windows\System32");
    let lost = result_with(&lost, &["--set", "steps=kubernetes"]);
    let evidence = &finding(&lost, "step-tool-missing")["evidence"][0];
    assert!(evidence["statement"].as_str().unwrap().contains("on the registry's PATH but not on that of Env"));
    assert_eq!(evidence["path"], r"C:\tools\bin\kubectl.exe");
    // What the base's own registry has is nobody's setx.
    assert!(failed(&result(&servercore(CORE).env(r"PATH=c:\Windows\System32")), "warning").is_empty());
}

#[test]
fn a_broken_path_is_told() {
    let layer = Tar::default().file("Files/lib/Octopus.dll", 0o644, b"");
    let with = |env: &[&str]| {
        let image = env.iter().fold(servercore(CORE).layer("COPY lib", &layer), |image, variable| image.env(variable));
        let result = result(&image);
        let about = finding(&result, "windows-path-broken");
        let text = about["evidence"].to_string();
        (about["severity"].as_str().unwrap_or_default().to_owned(), text)
    };
    for (env, severity, says) in [
        (&["PATH=/usr/local/sbin:/usr/bin:/bin"][..], "error", "one for Linux"),
        (&[r"PATH=;C:\lib"], "error", r"has no C:\\Windows\\System32"),
        (&[r"PATH=C:\windows\SYSTEM32\;C:\lib\octopus.dll"], "warning", "it is a file"),
        (&[r"PATH=C:\Windows\system32;C:\gone"], "warning", "not in the image"),
        (&[r"PATH=C:\Windows\system32;%HOME%\x"], "warning", "nothing replaces"),
        (&[r"PATH=C:\Windows\system32", r"Path=C:\lib"], "error", "has no C:"),
        (&[r"PATH=C:\Windows\system32", r"Path=C:\Windows\system32;C:\lib"], "warning", "not known which one counts"),
    ] {
        let (is, text) = with(env);
        assert_eq!(is, severity, "{env:?}: {text}");
        assert!(text.contains(says), "{env:?}: {text}");
    }
}

#[test]
fn cmd_of_the_base_is_nobody_s_and_any_other_is_told() {
    let with = |cmd: Value, created_by: &str| {
        let image = servercore(CORE).layer(created_by, &Tar::default());
        let config = json!({"Cmd": cmd});
        result(&image.field("config", config))
    };
    let severity = |result: &Value| {
        let findings = result["findings"].as_array().unwrap();
        let found = findings.iter().find(|finding| finding["rule"] == "cmd-defined");
        found.map_or(Value::Null, |finding| finding["severity"].clone())
    };
    assert_eq!(severity(&with(json!([r"c:\windows\system32\cmd.exe"]), "cmd /S /C echo CMD")), Value::Null);
    let repeated = r#"cmd /S /C #(nop)  CMD ["c:\\windows\\system32\\cmd.exe"]"#;
    assert_eq!(severity(&with(json!([r"c:\windows\system32\cmd.exe"]), repeated)), "info");
    assert_eq!(severity(&with(json!(["powershell.exe"]), "")), Value::Null);
    assert_eq!(severity(&with(json!(["cmd /S /C type x"]), "")), "info");
}

#[test]
fn tools_of_other_steps_are_looked_for_by_their_windows_names() {
    let layer = Tar::default()
        .file("Files/Python/python.exe", 0o644, &program([3, 12, 0, 0]))
        .folder("Files/Python/Lib/site-packages/pip")
        .file("Files/Python/helm.exe", 0o644, &program_for(0xaa64, [1, 0, 0, 0]));
    let image = servercore(CORE).layer("COPY python", &layer).env(r"PATH=C:\Windows\System32;C:\Python");
    let steps = |steps: &str| result_with(&image, &["--set", &format!("steps={steps}")]);
    let python = steps("python");
    assert!(failed(&python, "error").is_empty());
    assert_eq!(failed(&python, "warning"), ["command-unusable", "python-crypto-missing"]);
    assert_eq!(failed(&steps("terraform"), "error"), ["step-tool-missing"]);
    let bash = steps("bash");
    assert_eq!(failed(&bash, "error"), ["bash-missing"]);
    assert!(finding(&bash, "bash-missing")["evidence"].to_string().contains("bash.exe"));
    let helm = steps("helm");
    assert!(finding(&helm, "step-tool-missing")["evidence"].to_string().contains("a program for arm64"));
    let agent = steps("kubernetes-agent");
    assert_eq!(failed(&agent, "error"), ["bash-missing"]);
    assert!(finding(&agent, "bash-missing")["evidence"].to_string().contains("images for Linux only"));
}

#[test]
fn of_entries_without_versions_the_first_is_what_hosts_take() {
    let folder = tempfile::tempdir().unwrap();
    let images = ["10.0.20348.1", "10.0.20348.2"].map(servercore);
    write_layout(folder.path(), &images.each_ref().map(|image| (image, "")));
    let path = folder.path().join("index.json");
    let mut index: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    for number in 0..2 {
        index["manifests"][number]["platform"] = json!({"os": "windows", "architecture": "amd64"});
    }
    std::fs::write(&path, index.to_string()).unwrap();
    let name = format!("oci:{}", folder.path().display());
    let run = check(["--set", "host=ltsc2019", &name]);
    assert_eq!(run.code, 1, "{}", run.stdout);
    let report: Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!(failed(&report["results"][0], "error"), ["windows-host-mismatch"]);
    let second = &report["results"][1];
    assert_eq!(failed(second, "error"), Vec::<String>::new(), "no host ever pulls it");
    assert!(second["not_applicable"].as_array().unwrap().contains(&json!("windows-host-mismatch")));
    let hosts = &second["facts"]["windows"]["hosts"][0];
    assert_eq!((&hosts["docker_takes_this"], &hosts["containerd_takes_this"]), (&json!(false), &json!(false)));
}

#[test]
fn volumes_and_users_are_refused_as_docker_on_windows_does() {
    let with = |config: Value| result(&servercore(CORE).field("config", config));
    for volume in [r"C:\", "/data", "data"] {
        let found = with(json!({"Volumes": {volume: {}}}));
        assert_eq!(failed(&found, "error"), ["container-does-not-start"], "{volume}");
    }
    assert_eq!(failed(&with(json!({"Volumes": {"c:/data": {}}})), "error"), Vec::<String>::new());
    assert_eq!(failed(&with(json!({"User": "1000"})), "error"), ["container-does-not-start"]);
    let other = with(json!({"User": "appuser"}));
    assert_eq!(rules(&other, "error", "unknown"), ["container-does-not-start"], "the image may have the account");
    let user = with(json!({"User": "ContainerUser"}));
    assert!(failed(&user, "warning").contains(&"user-not-root".to_owned()) && failed(&user, "error").is_empty());
    assert_eq!(finding(&user, "user-not-root")["fix"], "End the Dockerfile with USER ContainerAdministrator.");
}

#[test]
fn an_index_of_several_releases_gives_each_host_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let versions = ["10.0.17763.3887", "10.0.20348.2227", "10.0.26100.33438"];
    let images = versions.map(servercore);
    write_layout(folder.path(), &images.each_ref().map(|image| (image, "")));
    // As `docker manifest` lists them.
    let path = folder.path().join("index.json");
    let mut index: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    for (number, version) in versions.iter().enumerate() {
        index["manifests"][number]["platform"]["os.version"] = json!(version);
    }
    std::fs::write(&path, index.to_string()).unwrap();
    let name = format!("oci:{}", folder.path().display());
    let run = check(["--set", "host=ltsc2022", "--set", "host=10.0.26100", &name]);
    assert_eq!(run.code, 0, "{}{}", run.stdout, run.stderr);
    let report: Value = serde_json::from_str(&run.stdout).unwrap();
    let results = report["results"].as_array().unwrap();
    assert_eq!(results.len(), 3);
    for result in results {
        let hosts = &result["facts"]["windows"]["hosts"];
        assert_eq!(
            (&hosts[0]["docker_takes"], &hosts[0]["containerd_takes"]),
            (&json!(versions[1]), &json!(versions[1]))
        );
        assert_eq!(hosts[1]["docker_takes"], versions[2]);
    }
    let of_2019 = &results[0]["facts"]["windows"]["hosts"][0];
    assert_eq!((&of_2019["process"], &of_2019["hyperv"]), (&json!(false), &json!(true)));
    assert_eq!(results[0]["parameters"]["worker"], "windows/amd64", "a Windows host is a Windows worker");
    // A host for which there is no entry of its own.
    let only: Vec<Value> = index["manifests"].as_array().unwrap().iter().take(2).cloned().collect();
    std::fs::write(&path, json!({"schemaVersion": 2, "manifests": only}).to_string()).unwrap();
    let run = check(["--set", "host=ltsc2025", &name]);
    let report: Value = serde_json::from_str(&run.stdout).unwrap();
    let results = &report["results"];
    let hosts = |number: usize| &results[number]["facts"]["windows"]["hosts"][0];
    assert_eq!(hosts(0)["docker_takes"], versions[0], "Docker takes the first that is not newer");
    assert_eq!(hosts(0)["containerd_takes"], versions[1], "containerd one that runs");
    assert_eq!(finding(&results[0], "windows-host-mismatch")["severity"], "warning");
    assert_eq!((run.code, &results[1]["verdict"]), (0, &json!("compatible")));
}

#[test]
fn nano_server_starts_no_32_bit_programs() {
    let layer = Tar::default().file("Files/t/helm.exe", 0o644, &program_for(0x14c, [1, 0, 0, 0]));
    let state = |base: &Tar| {
        let image = image(CORE, base).layer("COPY t", &layer).env(r"PATH=C:\Windows\System32;C:\t");
        result(&image)["facts"]["commands"]["helm"]["state"].clone()
    };
    assert_eq!((state(&core_base(CORE)), state(&nano_base(CORE))), (json!("usable"), json!("unusable")));
}

#[test]
fn hostile_hives_and_programs_leave_things_open_and_nothing_worse() {
    let delta = setx(r"C:\Windows\system32;C:\tools");
    let mut points_outside = delta.clone();
    points_outside[36..40].copy_from_slice(&0x7fff_fff0_u32.to_le_bytes());
    for (broken, why) in [
        (b"regf".to_vec(), "shorter than the header"),
        (delta[..4200].to_vec(), ""),
        (points_outside, "no cell is"),
        (vec![0xff; 20_000], "does not begin"),
    ] {
        let layer = Tar::default().file("Hives/System_Delta", 0o644, &broken);
        let result = result(&servercore(CORE).layer("RUN x", &layer));
        let path = &result["facts"]["windows"]["path"]["unknown"];
        assert!(path.as_str().is_some_and(|text| text.contains(why)), "{path}");
        assert_eq!(finding(&result, "windows-path-broken")["outcome"], "unknown");
        assert_eq!(result["verdict"], "undetermined");
    }
    let whole = program([10, 0, 20348, 1]);
    for cut in [3, 0x44, 0x150, 0x1ff, 0x230, 0x290] {
        let base = core_base(CORE).file("Files/Windows/System32/ntdll.dll", 0o644, &whole[..cut]);
        let result = result(&image(CORE, &base));
        assert_eq!(result["facts"]["windows"]["build"], 20348, "{cut}");
    }
    // Where nothing else tells the version, the reason is told.
    let alone = |ntdll: &[u8]| {
        let base = Tar::default().file("Files/Windows/System32/ntdll.dll", 0o644, ntdll);
        let image = TestImage::new(json!({})).field("os", json!("windows")).layer("COPY . .", &base);
        let result = result(&image);
        finding(&result, "windows-version-unsupported")["evidence"][0]["statement"].as_str().unwrap().to_owned()
    };
    for (ntdll, why) in [(&whole[..0x230], "it has no version"), (&b"text"[..], "it is no Windows library")] {
        let statement = alone(ntdll);
        assert!(statement.contains("ntdll.dll cannot be read") && statement.contains(why), "{statement}");
    }
}
