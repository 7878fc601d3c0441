//! Holds the generated parts of the documentation to what the program says. `IMGLINT_BLESS=1 cargo test --test offline docs`
//! writes them anew.

use std::path::Path;
use std::process::Command;

const FIRST_CHECK: &[&str] = &["check", "fixtures/hello"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn imglint(arguments: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_imglint"));
    let output = command.args(arguments).current_dir(root()).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

/// Compares what stands between two marks of the README with what should, or writes it.
fn holds(mark: &str, expected: &str) {
    let path = root().join("README.md");
    let readme = std::fs::read_to_string(&path).unwrap();
    let (start, end) = (format!("<!-- generated: {mark} -->\n"), "<!-- end -->");
    let from = readme.find(&start).unwrap_or_else(|| panic!("README.md has no mark {start:?}")) + start.len();
    let to = from + readme[from..].find(end).unwrap();
    if std::env::var_os("IMGLINT_BLESS").is_some() {
        std::fs::write(&path, format!("{}{expected}{}", &readme[..from], &readme[to..])).unwrap();
        return;
    }
    assert_eq!(&readme[from..to], expected, "README.md is stale: IMGLINT_BLESS=1 cargo test --test offline docs");
}

#[test]
fn the_readme_shows_what_the_first_check_and_the_rule_list_really_print() {
    let first = imglint(FIRST_CHECK);
    assert!(first.contains("incompatible"), "{first}");
    holds("first-check", &format!("```console\n$ cargo run -q -- {}\n{first}```\n", FIRST_CHECK.join(" ")));
    holds("rules", &imglint(&["rules", "--markdown"]));
    let config = std::fs::read_to_string(root().join("fixtures/gate/imglint.toml")).unwrap();
    let gate = ["check", "--quiet", "--config", "fixtures/gate/imglint.toml"];
    let said = imglint(&gate);
    assert!(said.contains("incompatible"), "{said}");
    let rest: String = imglint(&gate[..1].iter().chain(&gate[2..]).copied().collect::<Vec<_>>());
    let ignored = rest.lines().skip_while(|line| !line.contains("[entrypoint-defined]"));
    let ignored: String = ignored.take_while(|line| !line.is_empty()).map(|line| format!("{line}\n")).collect();
    assert!(ignored.contains("ignored: our server is newer"), "{ignored}");
    holds(
        "gate",
        &format!(
            "```toml\n{config}```\n\n```console\n$ imglint {}\n{said}$ imglint check --config fixtures/gate/imglint.toml\n…\n{ignored}…\n```\n",
            gate.join(" ")
        ),
    );
}

#[test]
fn the_published_schemas_are_those_of_the_program() {
    for name in ["report", "config"] {
        let path = root().join("schemas").join(format!("{name}.json"));
        let expected = imglint(&["schema", name]);
        if std::env::var_os("IMGLINT_BLESS").is_some() {
            std::fs::write(&path, &expected).unwrap();
        }
        let published = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(published == expected, "{} is stale: IMGLINT_BLESS=1 cargo test --test offline docs", path.display());
    }
}

#[test]
fn the_image_of_the_readme_is_what_its_script_makes() {
    let folder = tempfile::tempdir().unwrap();
    let made = folder.path().join("hello");
    let status = match Command::new("python3").arg(root().join("fixtures/make-hello")).arg(&made).status() {
        Ok(status) => status,
        Err(_) => {
            crate::support::leave_out("python3");
            return;
        }
    };
    assert!(status.success());
    let same = Command::new("diff").arg("-r").arg(root().join("fixtures/hello")).arg(&made).status().unwrap();
    assert!(same.success(), "fixtures/hello differs from what fixtures/make-hello makes");
}
