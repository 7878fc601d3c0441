//! Holds the shape of the source: modules name only what is declared above them, and files stay small and well named.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

#[test]
fn a_module_names_only_what_is_declared_above_it() {
    let modules = declared(&fs::read_to_string(root().join("src/lib.rs")).unwrap());
    let place = |name: &str| modules.iter().position(|module| module == name);
    let mut wrong = Vec::new();
    for file in rust_files("src") {
        let path = module_path(&file);
        let Some(own) = path.first().and_then(|first| place(first)) else { continue };
        for (line, named) in names(&fs::read_to_string(&file).unwrap(), path.len()) {
            if place(&named).is_some_and(|at| at > own) {
                wrong.push(format!("{}:{line}: `{}` names `{named}`", shown(&file), modules[own]));
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "{}\n\nData flows one way: a module may name only those declared above it in src/lib.rs. Move what is needed up \
         into a module that both may name, or hand it in as an argument from below (src/cli, src/lint.rs). Only if the \
         order itself is wrong, change it in src/lib.rs, and say why there.",
        wrong.join("\n")
    );
}

#[test]
fn every_file_begins_with_what_it_is_for() {
    let without: Vec<String> = all_files()
        .filter(|file| !fs::read_to_string(file).unwrap().starts_with("//! "))
        .map(|file| shown(&file))
        .collect();
    assert!(without.is_empty(), "begin these with one sentence that says what they are for (`//! …`): {without:?}");
}

/// Without `std` zlib-rs leaves out all code for processors newer than those of 2003, and is a fifth slower; flate2 does
/// not switch it on.
#[test]
fn zlib_rs_looks_at_the_processor() {
    let lines = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let zlib = lines.lines().find(|line| line.starts_with("zlib-rs = ")).unwrap();
    assert!(zlib.contains("features = [\"std\"]"), "{zlib}");
    let flate2 = lines.lines().find(|line| line.starts_with("flate2 = ")).unwrap();
    assert!(flate2.contains("default-features = false, features = [\"zlib-rs\"]"), "{flate2}");
}

#[test]
fn no_file_is_longer_than_500_lines() {
    let long: Vec<String> = all_files()
        .map(|file| (fs::read_to_string(&file).unwrap().lines().count(), file))
        .filter(|(lines, _)| *lines > 500)
        .map(|(lines, file)| format!("{} ({lines})", shown(&file)))
        .collect();
    assert!(long.is_empty(), "files stop at 500 lines; split these by what they know, not by size: {long:?}");
}

#[test]
fn names_say_what_is_in_the_file() {
    let empty = ["util", "utils", "helper", "helpers", "common", "misc", "manager", "handler", "context", "policy"];
    let vague: Vec<String> = all_files()
        .map(|file| shown(&file))
        .filter(|path| path.split(['/', '_', '.']).any(|word| empty.contains(&word)))
        .collect();
    assert!(vague.is_empty(), "these names fit anything; name what is inside: {vague:?}");
}

#[test]
fn the_scan_sees_every_way_to_name_a_module() {
    let text = "use crate::{a::B, c::{D, e}, f};\n// crate::comment\nlet x = crate::g::h();\nuse super::i;\nuse super::super::j;\n\
                #[cfg(test)]\nmod tests {\n    use crate::k;\n}\n";
    let named = |depth| names(text, depth).into_iter().map(|(_, name)| name).collect::<Vec<_>>().join(" ");
    assert_eq!(named(1), "a c f g i");
    assert_eq!(named(2), "a c f g j");
    assert_eq!(declared("pub mod a;\nmod b;\npub use a::c;\n"), ["a", "b"]);
}

/// The modules in the order in which lib.rs declares them.
fn declared(lib: &str) -> Vec<String> {
    let declaration = |line: &str| {
        let rest = line.strip_prefix("pub mod ").or_else(|| line.strip_prefix("mod "))?;
        Some(rest.strip_suffix(';')?.to_owned())
    };
    lib.lines().filter_map(declaration).collect()
}

/// The top-level names that a file of a module `depth` deep says, with their lines; comments and unit tests left out.
fn names(text: &str, depth: usize) -> Vec<(usize, String)> {
    let code: Vec<&str> = text
        .split("#[cfg(test)]\nmod tests {")
        .next()
        .unwrap()
        .lines()
        .map(|line| if line.trim_start().starts_with("//") { "" } else { line })
        .collect();
    let code = code.join("\n");
    let up = "super::".repeat(depth);
    let mut found = BTreeSet::new();
    for root in ["crate::", up.as_str()] {
        for (at, _) in code.match_indices(root) {
            let before = &code[..at];
            if before.ends_with("::") || before.ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == '$') {
                continue;
            }
            let line = before.matches('\n').count() + 1;
            found.extend(first_names(&code[at + root.len()..]).into_iter().map(|name| (line, name)));
        }
    }
    found.into_iter().filter(|(_, name)| name != "super").collect()
}

/// The first segments of a path or of a group of paths: `a` of `a::b`, `a` and `c` of `{a::b, c}`.
fn first_names(rest: &str) -> Vec<String> {
    let word = |text: &str| text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
    let Some(group) = rest.strip_prefix('{') else { return vec![word(rest)] };
    let mut depth = 0;
    let mut starts = vec![0];
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => starts.push(at + 1),
            _ => {}
        }
    }
    starts.into_iter().map(|at| word(group[at..].trim_start())).filter(|name| !name.is_empty()).collect()
}

/// `["image", "registry", "auth"]` for src/image/registry/auth.rs; a mod.rs is its folder.
fn module_path(file: &Path) -> Vec<String> {
    let inside = file.strip_prefix(root().join("src")).unwrap().with_extension("");
    let mut path: Vec<String> = inside.iter().map(|part| part.to_str().unwrap().to_owned()).collect();
    path.pop_if(|last| last == "mod");
    path
}

fn all_files() -> impl Iterator<Item = PathBuf> {
    rust_files("src").into_iter().chain(rust_files("tests"))
}

fn rust_files(folder: &str) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                files.push(path);
            }
        }
    }
    files.sort();
    files
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn shown(file: &Path) -> String {
    file.strip_prefix(root()).unwrap().display().to_string()
}
