//! Where a real host of .NET 9.0 finds an installed .NET, and which version it takes, is what imglint reads in the image.

use std::fs;
use std::path::Path;

use imglint::facts::programs::Wanted;

use super::dotnet::{load, tag};
use super::environment::{compare, debian, parts};
use super::variants::{Agreement, Layers, Variant, run};
use crate::support::image::{Tar, TestImage};

const CORE: &str = "Microsoft.NETCore.App";

/// A framework of .NET 9.0.7 out of the program that brings it along: its folder is `fx/core`, its host `fx/host`.
fn framework(programs: &Path) -> Tar {
    let shared = programs.join("net8/shared").join(CORE).join("8.0.4");
    let program = programs.join("sa9");
    let mut tar = Tar::default();
    let mut names: Vec<String> =
        fs::read_dir(&program).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    let is_part = |name: &&String| {
        let is_library =
            name.starts_with("lib") && name.ends_with(".so") && !name.contains("hostfxr") && !name.contains("msal");
        is_library || shared.join(name).is_file() || (name.starts_with("System.") && name.ends_with(".dll"))
    };
    let parts: Vec<&String> = names.iter().filter(is_part).collect();
    for name in &parts {
        tar = tar.file(&format!("fx/core/{name}"), 0o644, &fs::read(program.join(name)).unwrap());
    }
    let list = |ending: &str| {
        let named = parts.iter().filter(|name| name.ends_with(ending)).map(|name| format!("\"{name}\": {{}}"));
        named.collect::<Vec<_>>().join(", ")
    };
    let target = ".NETCoreApp,Version=v9.0/linux-x64";
    let package = format!("{CORE}.Runtime.linux-x64/9.0.7");
    let deps = format!(
        r#"{{"runtimeTarget": {{"name": "{target}", "signature": ""}}, "targets": {{"{target}": {{"{package}":
        {{"runtime": {{{}}}, "native": {{{}}}}}}}}}, "libraries": {{"{package}": {{"type": "package", "serviceable": true, "sha512": ""}}}}}}"#,
        list(".dll"),
        list(".so")
    );
    let config = br#"{"runtimeOptions": {"tfm": "net9.0"}}"#;
    tar.file(&format!("fx/core/{CORE}.deps.json"), 0o644, deps.as_bytes())
        .file(&format!("fx/core/{CORE}.runtimeconfig.json"), 0o644, config)
        .file("fx/host/libhostfxr.so", 0o755, &fs::read(program.join("libhostfxr.so")).unwrap())
}

/// One installation and one program: what it asks for, what is there, and variables.
struct Case {
    name: &'static str,
    config: String,
    has: Vec<&'static str>,
    env: Vec<&'static str>,
    files: Vec<(&'static str, &'static str)>,
}

/// Puts an installation at a path: frameworks as `NAME/VERSION`, hosts as `VERSION`.
fn install(mut tar: Tar, root: &str, has: &[&str]) -> Tar {
    for part in has {
        tar = match part.split_once('/') {
            None => tar.link(&format!("{root}/host/fxr/{part}"), "/fx/host"),
            Some((CORE, version)) => tar.link(&format!("{root}/shared/{CORE}/{version}"), "/fx/core"),
            Some((name, version)) => {
                let folder = format!("{root}/shared/{name}/{version}");
                let needs =
                    r#"{"runtimeOptions": {"framework": {"name": "Microsoft.NETCore.App", "version": "9.0.0"}}}"#;
                let deps = r#"{"runtimeTarget": {"name": ".NETCoreApp,Version=v9.0/linux-x64", "signature": ""}, "targets": {".NETCoreApp,Version=v9.0/linux-x64": {}}, "libraries": {}}"#;
                tar.file(&format!("{folder}/{name}.deps.json"), 0o644, deps.as_bytes()).file(
                    &format!("{folder}/{name}.runtimeconfig.json"),
                    0o644,
                    needs.as_bytes(),
                )
            }
        };
    }
    tar
}

fn program(tar: Tar, folder: &str, config: &str, programs: &Path) -> Tar {
    let read = |name: &str| fs::read(programs.join("sa9").join(name)).unwrap();
    tar.file(&format!("{folder}/azmcp"), 0o755, &read("azmcp"))
        .file(&format!("{folder}/azmcp.dll"), 0o644, &read("azmcp.dll"))
        .file(&format!("{folder}/azmcp.runtimeconfig.json"), 0o644, config.as_bytes())
}

fn options(inside: &str) -> String {
    format!(r#"{{"runtimeOptions": {{"tfm": "net9.0"{}{inside}}}}}"#, if inside.is_empty() { "" } else { ", " })
}

fn core(version: &str) -> String {
    options(&format!(r#""framework": {{"name": "{CORE}", "version": "{version}"}}"#))
}

fn case(name: &'static str, config: String, has: &[&'static str]) -> Case {
    Case { name, config, has: has.to_vec(), env: Vec::new(), files: Vec::new() }
}

const WHOLE: &[&str] = &["9.0.7", "Microsoft.NETCore.App/9.0.7"];

fn cases() -> Vec<Case> {
    let of = |name, version: &str, has: &[&'static str]| case(name, core(version), &[&["9.0.7"], has].concat());
    let with = |name, version: &str, env: &'static str, has: &[&'static str]| Case {
        env: vec![env],
        ..of(name, version, has)
    };
    let set = |name, version: &str, inside: &str, has: &[&'static str]| Case {
        config: options(&format!(r#""framework": {{"name": "{CORE}", "version": "{version}"}}, {inside}"#)),
        ..of(name, version, has)
    };
    let raw = |name, inside: &str, has: &[&'static str]| case(name, options(inside), &[&["9.0.7"], has].concat());
    const V907: &[&str] = &["Microsoft.NETCore.App/9.0.7"];
    const V910: &[&str] = &["Microsoft.NETCore.App/9.1.0"];
    const RC: &[&str] = &["Microsoft.NETCore.App/9.0.0-rc.1"];
    const LATER_RC: &[&str] = &["Microsoft.NETCore.App/9.0.1-rc.1"];
    const WEB: &[&str] = &["Microsoft.NETCore.App/9.0.7", "Microsoft.AspNetCore.App/9.0.7"];
    const BOTH: &str = r#""frameworks": [{"name": "Microsoft.NETCore.App", "version": "9.0.0"}, {"name": "Microsoft.AspNetCore.App", "version": "9.0.0"}]"#;
    vec![
        of("whole", "9.0.0", V907),
        of("newer patch", "9.0.9", V907),
        of("older minor", "9.0.0", V910),
        of("older major", "8.0.0", V907),
        of("newer major", "10.0.0", V907),
        of("two numbers", "9.0", V907),
        of("no version", "", V907),
        of("early of what is there", "9.0.7-rc.1", V907),
        of("only early", "9.0.0", RC),
        of("only later early", "9.0.0", LATER_RC),
        of("nothing", "9.0.0", &[]),
        with("major by environment", "8.0.0", "DOTNET_ROLL_FORWARD=Major", V907),
        with("latest major by environment", "8.0.0", "DOTNET_ROLL_FORWARD=latestmajor", V907),
        with("disabled", "9.0.0", "DOTNET_ROLL_FORWARD=Disable", V907),
        with("disabled, exact", "9.0.7", "DOTNET_ROLL_FORWARD=Disable", V907),
        with("latest patch", "9.0.0", "DOTNET_ROLL_FORWARD=LatestPatch", V910),
        with("no such word", "9.0.0", "DOTNET_ROLL_FORWARD=sideways", V907),
        with("no word", "9.0.0", "DOTNET_ROLL_FORWARD=", V907),
        with("old setting 2", "8.0.0", "DOTNET_ROLL_FORWARD_ON_NO_CANDIDATE_FX=2", V907),
        with("old setting 0", "9.0.0", "DOTNET_ROLL_FORWARD_ON_NO_CANDIDATE_FX=0", V910),
        with("old setting 7", "9.0.0", "DOTNET_ROLL_FORWARD_ON_NO_CANDIDATE_FX=7", V907),
        with("to early ones", "9.0.0", "DOTNET_ROLL_FORWARD_TO_PRERELEASE=1", LATER_RC),
        set("major by file", "8.0.0", r#""rollForward": "Major""#, V907),
        set("latest major by file", "8.0.0", r#""rollForward": "latestMajor""#, V907),
        set("no such word in the file", "9.0.0", r#""rollForward": "x""#, V907),
        set("old setting in the file", "8.0.0", r#""rollForwardOnNoCandidateFx": 2"#, V907),
        set("no patches", "9.0.0", r#""applyPatches": false"#, V907),
        set("old and new settings", "9.0.0", r#""applyPatches": true, "rollForward": "Minor""#, V907),
        raw(
            "of one framework",
            r#""framework": {"name": "Microsoft.NETCore.App", "version": "8.0.0", "rollForward": "Major"}"#,
            V907,
        ),
        raw("second framework", BOTH, WEB),
        raw("second framework is missing", BOTH, V907),
        raw("only the second", r#""framework": {"name": "Microsoft.AspNetCore.App", "version": "9.0.0"}"#, WEB),
        raw(
            "the second without the first",
            r#""framework": {"name": "Microsoft.AspNetCore.App", "version": "9.0.0"}"#,
            &["Microsoft.AspNetCore.App/9.0.7"],
        ),
        raw(
            "one framework twice",
            r#""framework": {"name": "Microsoft.NETCore.App", "version": "9.0.0"}, "frameworks": [{"name": "Microsoft.NETCore.App", "version": "9.0.0"}]"#,
            V907,
        ),
        raw(
            "included and not",
            r#""framework": {"name": "Microsoft.NETCore.App", "version": "9.0.0"}, "includedFrameworks": []"#,
            V907,
        ),
        raw("no framework", "", V907),
        case("no options", "{}".to_owned(), WHOLE),
        case("garbage", "{".to_owned(), WHOLE),
        case("no host", core("9.0.0"), V907),
        Case { files: vec![("host/fxr/9.0.9/x", "")], ..of("newest host is empty", "9.0.0", V907) },
        Case { files: vec![("host/fxr/10.0/x", "")], ..of("no version of a host", "9.0.0", V907) },
        Case {
            files: vec![("shared/Microsoft.NETCore.App/9.0.8/x", "")],
            ..of("newest framework is empty", "9.0.0", V907)
        },
        Case {
            env: vec!["DOTNET_STARTUP_HOOKS=/gone.dll"],
            ..set("no hooks", "9.0.0", r#""configProperties": {"System.StartupHookProvider.IsSupported": false}"#, V907)
        },
    ]
}

#[test]
fn hosts_find_the_frameworks_that_are_predicted() {
    let Some((engine, images, programs)) = parts() else { return };
    let programs = Path::new(&programs);
    let cases = cases();
    let mut tar = framework(programs);
    for (number, case) in cases.iter().enumerate() {
        let root = format!("hives/{number}");
        tar = program(install(tar.folder(&root), &root, &case.has), &format!("apps/{number}"), &case.config, programs);
        for (path, content) in &case.files {
            tar = tar.file(&format!("{root}/{path}"), 0o644, content.as_bytes());
        }
    }
    let base = debian(Path::new(&images)).layer("COPY . /", &tar);
    load(&engine, &[("hosting", base.clone())]);
    let layers = Layers::of(&base);
    let variants: Vec<Variant> = cases
        .iter()
        .enumerate()
        .map(|(number, case)| {
            let root = format!("DOTNET_ROOT=/hives/{number}");
            let fixed = ["PATH=/usr/bin:/bin", "HOME=/root", root.as_str()];
            let env = fixed.iter().chain(&case.env).map(|&variable| variable.to_owned()).collect();
            Variant { name: case.name.to_owned(), env, command: vec![format!("/apps/{number}/azmcp")] }
        })
        .collect();
    let ended = run(&engine, &tag("hosting"), programs, "", &variants);
    let mut agreement = Agreement::default();
    for (variant, ended) in variants.iter().zip(&ended) {
        let wanted = Wanted { paths: variant.command.clone(), ..Wanted::default() };
        let facts = layers.facts(&variant.env, "", &wanted);
        compare(&mut agreement, &variant.name, &facts.programs.known().unwrap()[0], ended);
    }
    agreement
        .demand("versions of frameworks", &[("older minor", "there is no .NET 9.1, so what it takes is not known")]);
}

/// Images that say in files where .NET is, or in variables.
fn places(programs: &Path) -> Vec<(&'static str, Tar, &'static [&'static str])> {
    let at = |root: &str| program(install(Tar::default(), root, WHOLE), "app", &core("9.0.0"), programs);
    let file = |tar: Tar, name: &str, content: &str| tar.file(&format!("etc/dotnet/{name}"), 0o644, content.as_bytes());
    let closed = |tar: Tar| tar.file("etc/dotnet/install_location", 0o600, b"/opt/net\n");
    vec![
        ("default", at("usr/share/dotnet"), &[]),
        ("of distributions", at("usr/lib/dotnet"), &[]),
        ("nowhere", at("srv/net"), &[]),
        ("file", file(at("opt/net"), "install_location", "/opt/net\n"), &[]),
        ("file of the architecture", file(at("opt/net"), "install_location_x64", "/opt/net"), &[]),
        ("file with a carriage return", file(at("opt/net"), "install_location", "/opt/net\r\n"), &[]),
        ("file that leads nowhere", file(at("usr/share/dotnet"), "install_location", "/gone\n"), &[]),
        ("empty file", file(at("usr/share/dotnet"), "install_location", ""), &[]),
        ("file with a blank line", file(at("usr/share/dotnet"), "install_location", "\n/opt/net\n"), &[]),
        (
            "file of the architecture is empty",
            file(file(at("opt/net"), "install_location_x64", ""), "install_location", "/opt/net"),
            &[],
        ),
        ("closed file", closed(at("usr/share/dotnet")), &["User"]),
        ("variable", at("opt/net"), &["DOTNET_ROOT=/opt/net"]),
        ("variable with a slash", at("opt/net"), &["DOTNET_ROOT=/opt/net/"]),
        ("variable that leads nowhere", at("usr/share/dotnet"), &["DOTNET_ROOT=/gone"]),
        ("variable of another folder", at("usr/share/dotnet"), &["DOTNET_ROOT=/etc"]),
        ("variable of a file", at("usr/share/dotnet"), &["DOTNET_ROOT=/etc/passwd"]),
        ("empty variable", at("usr/share/dotnet"), &["DOTNET_ROOT="]),
        ("variable of the architecture", at("opt/net"), &["DOTNET_ROOT_X64=/opt/net"]),
        ("variable of the architecture in small letters", at("opt/net"), &["DOTNET_ROOT_x64=/opt/net"]),
        ("variable of another architecture", at("opt/net"), &["DOTNET_ROOT_ARM64=/opt/net"]),
        ("both variables", at("opt/net"), &["DOTNET_ROOT_X64=/etc", "DOTNET_ROOT=/opt/net"]),
        ("variable before file", file(at("opt/net"), "install_location", "/gone\n"), &["DOTNET_ROOT=/opt/net"]),
    ]
}

#[test]
fn hosts_look_for_dotnet_where_is_predicted() {
    let Some((engine, images, programs)) = parts() else { return };
    let programs = Path::new(&programs);
    let base = debian(Path::new(&images)).layer("COPY fx /fx", &framework(programs));
    let corpus: Vec<(&'static str, TestImage, &[&str])> = places(programs)
        .into_iter()
        .map(|(name, tar, env)| (name, base.clone().layer("RUN change", &tar), env))
        .collect();
    let names: Vec<&'static str> = corpus.iter().map(|(name, ..)| name_of(name)).collect();
    let loaded: Vec<(&'static str, TestImage)> =
        names.iter().zip(&corpus).map(|(name, (_, image, _))| (*name, image.clone())).collect();
    load(&engine, &loaded);
    let mut agreement = Agreement::default();
    for (tagged, (name, image, own)) in names.iter().zip(&corpus) {
        let user = if own.contains(&"User") { "1000" } else { "" };
        let own = own.iter().filter(|variable| **variable != "User");
        let env = ["PATH=/usr/bin:/bin", "HOME=/root"].iter().chain(own).map(|&variable| variable.to_owned()).collect();
        let command = vec!["/app/azmcp".to_owned()];
        let variant = Variant { name: (*name).to_owned(), env, command };
        let ended = run(&engine, &tag(tagged), programs, user, std::slice::from_ref(&variant)).remove(0);
        let wanted = Wanted { paths: variant.command.clone(), ..Wanted::default() };
        let facts = Layers::of(image).facts(&variant.env, user, &wanted);
        compare(&mut agreement, name, &facts.programs.known().unwrap()[0], &ended);
    }
    agreement.demand(
        "places of .NET",
        &[("of distributions", "hosts that distributions build look there by themselves, and look like Microsoft's")],
    );
}

/// A name as tags have it.
fn name_of(name: &str) -> &'static str {
    Box::leak(format!("place-{}", name.replace(' ', "-")).into_boxed_str())
}
