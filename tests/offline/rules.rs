//! Holds the rules to what `rules/README.md` promises: every example comes out as it says, and every file is in order.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use imglint::catalog::{Catalog, Example, Profile, Rule, rule_table_markdown};
use imglint::checks::Check;
use imglint::checks::run::RunDefect;
use imglint::tables::distributions::distributions;
use imglint::tables::packages::packages;
use imglint::tables::steps::steps;
use imglint::verdict::Outcome;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("rules")
}

fn names_in(folder: &Path) -> BTreeSet<String> {
    let names = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter_map(|name| name.strip_suffix(".toml").map(str::to_owned)).collect()
}

/// Every built-in rule with a profile that asks for it.
fn rules() -> Vec<(Profile, Rule)> {
    let catalog = Catalog::builtin();
    let profiles: Vec<Profile> =
        catalog.profile_names().into_iter().map(|name| catalog.profile(name).unwrap()).collect();
    let with_profile = |id: &str| {
        let rule = catalog.rule(id).unwrap_or_else(|error| panic!("{error}"));
        let asks = |profile: &&Profile| profile.rules.iter().any(|known| known.id == id);
        let profile = profiles.iter().find(asks).unwrap_or_else(|| panic!("no profile asks for the rule `{id}`"));
        (profile.clone(), rule)
    };
    catalog.rule_ids().into_iter().map(with_profile).collect()
}

#[test]
fn every_example_comes_out_as_it_says() {
    let mut wrong = Vec::new();
    for (profile, rule) in rules() {
        for example in &rule.examples {
            if let Err(why) = run(&profile, &rule, example) {
                wrong.push(format!("{}: {}: {why}", rule.id, example.name));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn examples_come_last_and_make_no_other_difference() {
    for name in Catalog::builtin().profile_names() {
        let [whole, to_judge] = [Catalog::builtin(), Catalog::to_judge()].map(|from| from.profile(name).unwrap());
        let without = whole.rules.into_iter().map(|rule| Rule { examples: Vec::new(), ..rule });
        let (without, to_judge): (Vec<_>, Vec<_>) = (
            without.map(|rule| format!("{rule:?}")).collect(),
            to_judge.rules.iter().map(|rule| format!("{rule:?}")).collect(),
        );
        assert_eq!(without, to_judge);
    }
}

fn run(profile: &Profile, rule: &Rule, example: &Example) -> Result<(), String> {
    let set: Vec<_> = example.parameters.iter().collect();
    let parameters = profile.parameters(&set).map_err(|error| error.to_string())?;
    let answer = rule.check.judge(&example.facts, &parameters);
    let statements: Vec<&str> = answer.evidence.iter().map(|evidence| evidence.statement.as_str()).collect();
    if answer.outcome != example.outcome {
        return Err(format!("is {:?}, not {:?}: {statements:?}", answer.outcome, example.outcome));
    }
    if answer.outcome != Outcome::Pass && statements.is_empty() {
        return Err("has no evidence".to_owned());
    }
    if let Some(text) = statements.iter().find(|text| text.is_empty() || text.ends_with('.')) {
        return Err(format!("{text:?} is empty or has a full stop"));
    }
    if let Some(says) = &example.says
        && !statements.iter().any(|statement| statement.contains(says.as_str()))
    {
        return Err(format!("says {statements:?}, not {says:?}"));
    }
    let severity = rule.severity_of(&parameters, answer.is_lesser);
    match example.severity {
        Some(wanted) if wanted != severity => Err(format!("is of severity {severity:?}, not {wanted:?}")),
        _ => Ok(()),
    }
}

#[test]
fn every_rule_has_an_example_of_each_outcome() {
    for (_, rule) in rules() {
        // A rule about runs has one bad outcome, by which it is called.
        let outcomes: &[Outcome] = match &rule.check {
            Check::Run(check) if check.is == RunDefect::Failed => {
                &[Outcome::Pass, Outcome::Fail, Outcome::NotApplicable]
            }
            Check::Run(_) => &[Outcome::Pass, Outcome::Unknown, Outcome::NotApplicable],
            // How many layers there are is always known; and what engines do in different ways is open by that.
            Check::LayerCount(_) => &[Outcome::Pass, Outcome::Fail],
            Check::LayersUndisputed(_) => &[Outcome::Pass, Outcome::Unknown],
            _ => &[Outcome::Pass, Outcome::Fail, Outcome::Unknown],
        };
        for &outcome in outcomes {
            let has = rule.examples.iter().any(|example| example.outcome == outcome);
            assert!(has, "rules/{}.toml has no [[example]] with outcome {outcome:?}", rule.id);
        }
        let names: BTreeSet<_> = rule.examples.iter().map(|example| &example.name).collect();
        assert_eq!(names.len(), rule.examples.len(), "{}: two examples have the same name", rule.id);
    }
}

#[test]
fn every_variant_of_a_rule_has_an_example() {
    for (profile, rule) in rules() {
        for when in &rule.when {
            // Of a range without a beginning the oldest version is in it.
            let version = when.is.as_deref().or(when.at_least.as_deref()).unwrap_or("0");
            let set = [(when.parameter.as_str(), version)];
            let wanted = rule.wording(&profile.parameters(&set).unwrap()).severity;
            let shows = |example: &Example| {
                example.parameters.contains_key(&when.parameter) && example.severity == Some(wanted)
            };
            assert!(rule.examples.iter().any(shows), "{}: no example of {} {version}", rule.id, when.parameter);
        }
    }
}

#[test]
fn every_file_is_built_in_and_kebab_case() {
    let catalog = Catalog::builtin();
    let on_disk = names_in(&folder());
    let built_in: BTreeSet<String> = catalog.rule_ids().into_iter().map(str::to_owned).collect();
    assert_eq!(on_disk, built_in, "touch src/catalog/mod.rs and build again: it embeds rules/ as it was");
    let profiles: BTreeSet<String> = catalog.profile_names().into_iter().map(str::to_owned).collect();
    assert_eq!(names_in(&folder().join("profiles")), profiles);
    for name in on_disk.iter().chain(&profiles) {
        let is_kebab = !name.starts_with('-')
            && !name.ends_with('-')
            && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
        assert!(is_kebab, "{name} is not kebab-case");
    }
}

#[test]
fn the_words_are_in_order() {
    for (_, rule) in rules() {
        let id = &rule.id;
        assert!(
            !rule.title.ends_with('.') && rule.title.len() <= 80,
            "{id}: the title is a short line without full stop"
        );
        assert!(rule.title.starts_with(char::is_uppercase), "{id}: the title begins with a capital");
        assert!(rule.why.split_whitespace().count() >= 20, "{id}: `why` is a paragraph or two");
        assert!(!rule.fix.trim().is_empty(), "{id}: `fix` is empty");
        assert!(rule.docs.starts_with("https://"), "{id}: docs");
        assert!(!rule.sources.is_empty(), "{id}: a rule has sources");
        for source in &rule.sources {
            assert!(source.url.starts_with("https://"), "{id}: {}", source.url);
            assert!(!source.says.is_empty(), "{id}: {} says nothing", source.url);
        }
    }
}

#[test]
fn the_fix_is_the_one_for_the_distribution() {
    let rule = Catalog::builtin().rule("distribution-unsupported").unwrap();
    let wording = rule.wording(&imglint::parameters::Parameters::default());
    let system = |id: &str, like: &[&str]| imglint::facts::OsRelease {
        id: id.to_owned(),
        id_like: like.iter().map(|id| (*id).to_owned()).collect(),
        ..Default::default()
    };
    assert!(wording.fix(Some(&system("debian", &[]))).contains("debian:12-slim"));
    assert!(wording.fix(Some(&system("linuxmint", &["ubuntu", "debian"]))).contains("ubuntu:24.04"));
    assert_eq!(wording.fix(Some(&system("rocky", &["rhel", "fedora"]))), rule.fix);
    assert_eq!(wording.fix(None), rule.fix);
}

#[test]
fn tags_that_move_are_told_from_those_that_do_not() {
    let check = Catalog::builtin().rule("tag-floating").unwrap().check;
    let outcome = |repository: &str, tag: &str| {
        let reference = imglint::facts::ReferenceFact {
            registry: "registry.example".to_owned(),
            repository: repository.to_owned(),
            tag: Some(tag.to_owned()),
            digest: None,
        };
        let reference = imglint::facts::Fact::Known(reference);
        let facts = imglint::facts::Facts { reference, ..Default::default() };
        check.judge(&facts, &imglint::parameters::Parameters::default()).outcome
    };
    let moving = "latest LATEST stable main-slim nightly 5 v5 5.0 5.0.x 3-alpine 3.12-slim-bookworm 8.0-jammy-chiseled-extra \
        ubuntu.22.04 windows.ltsc2025 ltsc2022 jammy 22.04 ubuntu-22.04 debian12 alpine3.20 ubi9 noble-chiseled \
        2022-latest 2024.1 2.0rc1 release-1.2 123 1.27-alpine3.20.3 bookworm-slim";
    for tag in moving.split_whitespace() {
        assert_eq!(outcome("a/b", tag), Outcome::Fail, "{tag}");
    }
    let fixed = "1.2.3 v1.2.3 1.2.3rc1 3.12.1-slim 5.0.0-ubuntu.22.04 1.2.3_build.7 10.0.20348.2227 bookworm-20240110 \
        20240110.3 2024-01-10 main-2024-01-10 4711 main-4711 build-4711 sha-1a2b3c4 1a2b3c4 1.2-5-g1a2b3c4d 1.36-tT2Ki6 \
        da39a3ee5e6b4b0d3255bfef95601890afd80709 octopus-steps pr-123 3d-tools 8u402-jdk jammy-ours 1809";
    for tag in fixed.split_whitespace() {
        assert_eq!(outcome("a/b", tag), Outcome::Pass, "{tag}");
    }
    for tag in ["1809", "ltsc2022-amd64", "20H2"] {
        assert_eq!(outcome("windows/nanoserver", tag), Outcome::Fail, "{tag}");
    }
}

#[test]
fn the_guide_is_right() {
    let guide = std::fs::read_to_string(folder().join("README.md")).unwrap();
    let blocks: Vec<&str> = guide.split("```toml\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    let [rule, profile] = blocks[..] else { panic!("rules/README.md has a rule and a profile") };
    let own = OwnFolder::new();
    own.write("rules/git-missing.toml", rule);
    own.write("own.toml", profile);
    let profile = Catalog::builtin().profile_from_file(&own.path("own.toml")).unwrap_or_else(|error| panic!("{error}"));
    let rule = profile.rule("git-missing").unwrap();
    for example in &rule.examples {
        run(&profile, rule, example).unwrap_or_else(|why| panic!("{}: {why}", example.name));
    }

    own.write("rules/git-missing.toml", &rule_text("git-missing", r#"check = { kind = "nothing-like-it" }"#));
    let error = Catalog::builtin().profile_from_file(&own.path("own.toml")).unwrap_err().to_string();
    let (_, kinds) = error.split_once("known here: ").unwrap();
    for kind in kinds.split(", ") {
        assert!(guide.contains(&format!("\n| `{kind}` | ")), "rules/README.md does not explain the kind {kind}");
    }
}

#[test]
fn the_releases_that_can_be_set_are_those_of_the_table() {
    let profile = Catalog::builtin().profile("octopus").unwrap();
    let table: Vec<&String> = distributions().unwrap().dotnet.iter().map(|dotnet| &dotnet.version).collect();
    assert_eq!(profile.parameters["dotnet"].allowed.iter().collect::<Vec<_>>(), table);
}

#[test]
fn every_need_of_a_step_is_spoken_of_by_one_rule() {
    let table = steps().unwrap();
    let rules = rules();
    for need in &table.need {
        let speaks = |rule: &Rule| matches!(&rule.check, Check::StepNeeds(check) if check.needs.contains(&need.id));
        let speaking: Vec<&str> =
            rules.iter().filter(|(_, rule)| speaks(rule)).map(|(_, rule)| rule.id.as_str()).collect();
        assert_eq!(speaking.len(), 1, "{}: {speaking:?}", need.id);
    }
    for (_, rule) in &rules {
        let Check::StepNeeds(check) = &rule.check else { continue };
        for need in &check.needs {
            assert!(table.need(need).is_some(), "{} speaks of {need}, which is no need", rule.id);
        }
    }
    let components = table.need.iter().filter_map(|need| need.component.as_ref());
    let debian = packages().unwrap().distribution.iter().find(|distribution| distribution.id == "debian").unwrap();
    for component in components {
        assert!(debian.packages.contains_key(component), "no package of Debian is known for {component}");
    }
}

#[test]
fn the_steps_that_can_be_set_are_those_of_the_table() {
    let profile = Catalog::builtin().profile("octopus").unwrap();
    let ids: Vec<&str> = steps().unwrap().step.iter().map(|step| step.id.as_str()).collect();
    assert_eq!(profile.parameters["steps"].allowed, ids);
}

#[test]
fn every_table_says_where_it_is_from_and_when_it_was_read() {
    for name in names_in(&folder().join("tables")) {
        let text = std::fs::read_to_string(folder().join("tables").join(format!("{name}.toml"))).unwrap();
        let table: toml::Table = toml::from_str(&text).unwrap();
        assert!(table["sources"].as_array().is_some_and(|sources| !sources.is_empty()), "{name}: sources");
        assert!(table["read"].as_str().is_some_and(|day| day.len() == 10), "{name}: read");
    }
}

#[test]
fn unknown_names_lead_to_the_right_ones() {
    let catalog = Catalog::builtin();
    let error = catalog.rule("bash-mising").unwrap_err().to_string();
    assert!(error.contains("did you mean `bash-missing`?"), "{error}");
    let error = catalog.profile("octopuss").unwrap_err().to_string();
    assert!(error.contains("did you mean `octopus`?"), "{error}");
    let profile = catalog.profile("octopus").unwrap();
    let error = profile.parameters(&[("sever", "2024.1")]).unwrap_err().to_string();
    assert!(error.contains("did you mean `server`?") && error.contains("worker"), "{error}");
    let error = profile.overrides(&[("tag-floatin", "off")]).unwrap_err().to_string();
    assert!(error.contains("did you mean `tag-floating`?"), "{error}");
    let error = profile.overrides(&[("tag-floating", "of")]).unwrap_err().to_string();
    assert!(error.starts_with("rule `tag-floating`: \"of\" is not a severity; did you mean `off`?"), "{error}");
}

#[test]
fn a_profile_of_the_user_s_extends_and_adds() {
    let own = OwnFolder::new();
    own.write(
        "rules/zsh-missing.toml",
        &rule_text("zsh-missing", r#"check = { kind = "command-usable", command = "zsh" }"#),
    );
    own.write(
        "own.toml",
        r#"
            id = "own"
            title = "Our workers"
            docs = "https://example.com/workers"
            extends = "octopus"
            rules-folder = "rules"
            rules = ["zsh-missing"]
            [severity]
            tag-floating = "error"
            shell-missing = "off"
        "#,
    );
    let profile = Catalog::builtin().profile_from_file(&own.path("own.toml")).unwrap();
    assert!(profile.rule("zsh-missing").is_ok() && profile.rule("libc-not-glibc").is_ok());
    let parameters = profile.parameters::<&str, &str>(&[]).unwrap();
    let severity = |id: &str| profile.severity(profile.rule(id).unwrap(), &parameters, &Default::default(), false);
    assert_eq!(severity("tag-floating"), Some(imglint::verdict::Severity::Error));
    assert_eq!(severity("shell-missing"), None);
    assert!(rule_table_markdown(&profile).contains("| [`zsh-missing`](rules/zsh-missing.toml) | info |"));
}

#[test]
fn mistakes_in_a_user_s_files_name_file_line_and_field() {
    let own = OwnFolder::new();
    let profile = |rules: &str| {
        format!(
            "id = \"own\"\ntitle = \"t\"\ndocs = \"https://example.com\"\nrules-folder = \"rules\"\nrules = [\"{rules}\"]\n"
        )
    };
    let error = |own: &OwnFolder| Catalog::builtin().profile_from_file(&own.path("own.toml")).unwrap_err().to_string();

    own.write("own.toml", &(profile("os-release-missing") + "severty = {}\n"));
    assert!(error(&own).ends_with("own.toml:6: unknown key `severty`; did you mean `severity`?"), "{}", error(&own));

    own.write("own.toml", &profile("os-release-mising"));
    own.write("rules/one.toml", &rule_text("two", r#"check = { kind = "os-release-present" }"#));
    assert!(error(&own).contains("own.toml:5: rules: there is no rule `os-release-mising`"), "{}", error(&own));

    own.write("own.toml", &profile("one"));
    assert!(
        error(&own).ends_with("one.toml:1: id: \"two\" is not the name of the file, which is \"one\""),
        "{}",
        error(&own)
    );

    own.write("rules/one.toml", &rule_text("one", r#"check = { kind = "command-usable", comand = "zsh" }"#));
    assert!(error(&own).ends_with("one.toml:4: unknown key `comand`; did you mean `command`?"), "{}", error(&own));

    own.write("rules/one.toml", &rule_text("one", r#"check = { kind = "comand-usable", command = "zsh" }"#));
    assert!(error(&own).ends_with("one.toml:4: check: unknown value `comand-usable`; did you mean `command-usable`?"));

    let facts = "[[example]]\nname = \"n\"\noutcome = \"pass\"\nfacts.os_release = { presnt = true }\n";
    own.write("rules/one.toml", &(rule_text("one", r#"check = { kind = "os-release-present" }"#) + facts));
    assert!(error(&own).ends_with("unknown key `presnt`; did you mean `present`?"), "{}", error(&own));

    own.write("rules/one.toml", &rule_text("one", r#"check = { kind = "platform", parameter = "worker" }"#));
    assert!(error(&own).contains("rule `one` needs a parameter `worker`"), "{}", error(&own));

    own.write("own.toml", "id = \n");
    assert!(error(&own).contains("own.toml:1"), "{}", error(&own));
}

fn rule_text(id: &str, check: &str) -> String {
    format!(
        "id = \"{id}\"\ntitle = \"T\"\nseverity = \"info\"\n{check}\nwhy = \"w\"\nfix = \"f\"\ndocs = \"https://example.com\"\n\
         sources = [{{ url = \"https://example.com\", says = \"s\" }}]\n"
    )
}

/// A folder for a test's own files, gone when it is dropped.
struct OwnFolder(tempfile::TempDir);

impl OwnFolder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
}
