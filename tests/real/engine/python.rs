//! Which module a real Python imports, and whether it starts at all, is what imglint reads of the environment and the files.

use std::path::Path;

use imglint::facts::programs::Wanted;
use imglint::verdict::Outcome;

use super::dotnet::{load, tag};
use super::environment::{debian, parts};
use super::variants::{Agreement, Layers, Variant, run};
use crate::support::image::Tar;

const SITE: &str = "lib/python3.11/site-packages";
const MODULE: [&str; 3] = ["__init__.py", "Cipher/__init__.py", "Cipher/AES.py"];

fn module(tar: Tar, folder: &str) -> Tar {
    MODULE.iter().fold(tar, |tar, file| tar.file(&format!("{folder}/Crypto/{file}"), 0o644, b""))
}

/// Folders of users with one site each, which `PYTHONUSERBASE` chooses.
fn bases(mut tar: Tar) -> Tar {
    let site = |name: &str| format!("u/{name}/{SITE}");
    tar = module(tar, &site("module"));
    let pth: [(&str, &[u8]); 9] = [
        ("pth", b"/m\n"),
        ("pth-relative", b"sub\n"),
        ("pth-comment", b"# x\r\n\r\n/m\r\n"),
        ("pth-blanks", b"/m  \n"),
        ("pth-gone", b"/gone\n"),
        ("pth-code", b"import sys; sys.path.append('/m')\n"),
        ("pth-zip", b"/m.zip\n"),
        ("pth-of-pth", b"/u/pth/lib/python3.11/site-packages\n"),
        ("pth-broken-code", b"import gone_module\n/m\n"),
    ];
    for (name, content) in pth {
        tar = tar.file(&format!("{}/x.pth", site(name)), 0o644, content);
    }
    tar = module(tar, &format!("{}/sub", site("pth-relative")));
    let package = |tar: Tar, name: &str, files: &[&str]| {
        files.iter().fold(tar, |tar, file| tar.file(&format!("{}/Crypto/{file}", site(name)), 0o644, b""))
    };
    tar = package(tar, "without-init", &["Cipher/AES.py"]);
    tar = package(tar, "aes-is-a-package", &["__init__.py", "Cipher/__init__.py", "Cipher/AES/__init__.py"]);
    tar = package(tar, "no-aes", &["__init__.py", "Cipher/__init__.py"]);
    tar = package(tar, "no-cipher", &["__init__.py"]);
    tar = package(tar, "cache-only", &["__init__.py", "Cipher/__init__.py", "Cipher/__pycache__/AES.cpython-311.pyc"]);
    tar = package(
        tar,
        "compiled-for-3.9",
        &["__init__.py", "Cipher/__init__.py", "Cipher/AES.cpython-39-x86_64-linux-gnu.so"],
    );
    tar = package(tar, "compiled-empty", &["__init__.py", "Cipher/__init__.py", "Cipher/AES.abi3.so"]);
    tar = tar.file(&format!("{}/Crypto.py", site("one-file")), 0o644, b"");
    tar = package(tar, "pyc-garbage", &["__init__.py", "Cipher/__init__.py"]);
    tar = tar.file(&format!("{}/Crypto/Cipher/AES.pyc", site("pyc-garbage")), 0o644, b"\x61\x0d\x0d\x0aabcdefgh");
    tar = module(tar, &site("usercustomize-exits"));
    tar.file(&format!("{}/usercustomize.py", site("usercustomize-exits")), 0o644, b"import sys; sys.exit(3)\n")
}

/// The layer with everything that environments choose from.
fn files() -> Tar {
    let mut tar = module(bases(Tar::default()), "m");
    tar = tar.file("first/file/Crypto.py", 0o644, b"").file("first/package/Crypto/__init__.py", 0o644, b"");
    tar = tar.file("first/folder/Crypto/x", 0o644, b"").file("first/library/Crypto.so", 0o644, b"x");
    tar = tar.file("custom/exits/sitecustomize.py", 0o644, b"import sys; sys.exit(3)\n");
    tar = tar.file("custom/prints/sitecustomize.py", 0o644, b"x = 1\n");
    for name in ["isolated", "open", "shared"] {
        tar = tar.link(&format!("v/{name}/bin/python3"), "/usr/bin/python3");
    }
    tar = tar.file("v/isolated/pyvenv.cfg", 0o644, b"home = /usr/bin\ninclude-system-site-packages = false\n");
    tar = tar.file("v/open/pyvenv.cfg", 0o644, b"home = /usr/bin\n");
    tar = tar.file("v/shared/pyvenv.cfg", 0o644, b"home = /gone\ninclude-system-site-packages = true\n");
    tar = module(tar, &format!("v/isolated/{SITE}"));
    tar = tar.link("pth/bin/python3", "/usr/bin/python3").file(
        "pth/bin/python3._pth",
        0o644,
        b"/usr/lib/python3.11\n/m\n",
    );
    tar = tar.link("nothing/bin/python3", "/usr/bin/python3").file("nothing/bin/python3._pth", 0o644, b"/m\n");
    let root = "root/.pyenv";
    tar = tar.file(&format!("{root}/version"), 0o644, b"3.11.2\n");
    tar = tar.file(&format!("{root}/libexec/pyenv"), 0o755, b"#!/bin/bash\nexit 1\n");
    tar = tar.link(&format!("{root}/versions/3.11.2/bin/python3"), "/usr/bin/python3.11");
    tar = tar.file(
        &format!("{root}/shims/python3"),
        0o755,
        b"#!/bin/bash\nexec /root/.pyenv/versions/3.11.2/bin/python3 \"$@\"\n",
    );
    // Closed to all but root.
    tar = module(tar, "closed/folder").folder_of("closed/folder", 0o700, 0);
    tar = module(tar, "closed/package").folder_of("closed/package/Crypto", 0o711, 0);
    let file = |tar: Tar, name: &str, mode| tar.file(&format!("closed/file/Crypto/{name}"), mode, b"");
    tar = file(file(tar, "__init__.py", 0o644), "Cipher/__init__.py", 0o644);
    file(tar, "Cipher/AES.py", 0o600)
}

const ENVIRONMENTS: &[&[&str]] = &[
    &[],
    &["PYTHONPATH=/m"],
    &["PYTHONPATH=/m/"],
    &["PYTHONPATH=/gone:/m"],
    &["PYTHONPATH=~/m"],
    &["PYTHONPATH=/first/file:/m"],
    &["PYTHONPATH=/first/package:/m"],
    &["PYTHONPATH=/first/folder:/m"],
    &["PYTHONPATH=/first/library:/m"],
    &["PYTHONPATH=/m:/first/file"],
    &["PYTHONPATH=/u/pth/lib/python3.11/site-packages"],
    &["PYTHONPATH=/custom/exits:/m"],
    &["PYTHONPATH=/custom/prints:/m"],
    &["PYTHONPATH=/closed/folder"],
    &["PYTHONPATH=/closed/package"],
    &["PYTHONPATH=/closed/file"],
    &["PYTHONPATH=/closed/folder:/m"],
    &["PYTHONUSERBASE=/u/module"],
    &["PYTHONUSERBASE=/u/module", "PYTHONNOUSERSITE=1"],
    &["PYTHONUSERBASE=/u/module", "PYTHONNOUSERSITE="],
    &["PYTHONUSERBASE=/u/module", "PYTHONNOUSERSITE=0"],
    &["PYTHONUSERBASE=/u/pth"],
    &["PYTHONUSERBASE=/u/pth-relative"],
    &["PYTHONUSERBASE=/u/pth-comment"],
    &["PYTHONUSERBASE=/u/pth-blanks"],
    &["PYTHONUSERBASE=/u/pth-gone"],
    &["PYTHONUSERBASE=/u/pth-code"],
    &["PYTHONUSERBASE=/u/pth-broken-code"],
    &["PYTHONUSERBASE=/u/pth-zip"],
    &["PYTHONUSERBASE=/u/pth-of-pth"],
    &["PYTHONUSERBASE=/u/without-init"],
    &["PYTHONUSERBASE=/u/aes-is-a-package"],
    &["PYTHONUSERBASE=/u/no-aes"],
    &["PYTHONUSERBASE=/u/no-cipher"],
    &["PYTHONUSERBASE=/u/cache-only"],
    &["PYTHONUSERBASE=/u/compiled-for-3.9"],
    &["PYTHONUSERBASE=/u/compiled-empty"],
    &["PYTHONUSERBASE=/u/one-file"],
    &["PYTHONUSERBASE=/u/pyc-garbage"],
    &["PYTHONUSERBASE=/u/usercustomize-exits"],
    &["PYTHONUSERBASE=/u/module", "PYTHONHOME=/gone"],
    &["PYTHONUSERBASE=/u/module", "PYTHONHOME=/usr"],
    &["PYTHONUSERBASE=/u/module", "PYTHONHOME=/usr:/usr"],
    &["PYTHONUSERBASE=/u/module", "PYTHONHOME="],
    &["PYTHONUSERBASE=/u/module", "PYTHONPLATLIBDIR=gone"],
    &["PYTHONUSERBASE=/u/module", "PYTHONHASHSEED=x"],
    &["PYTHONUSERBASE=/u/module", "PYTHONHASHSEED=7"],
    &["PYTHONUSERBASE=/u/module", "PYTHONUTF8=x"],
    &["PYTHONUSERBASE=/u/module", "PYTHONMALLOC=x"],
    &["PYTHONUSERBASE=/u/module", "PYTHONMALLOC=debug"],
    &["PYTHONUSERBASE=/u/module", "PYTHONTRACEMALLOC=x"],
    &["PYTHONUSERBASE=/u/module", "PYTHONINTMAXSTRDIGITS=1"],
    &["PYTHONUSERBASE=/u/module", "PYTHONOPTIMIZE=2", "PYTHONSAFEPATH=1", "PYTHONDONTWRITEBYTECODE=1"],
    &["PATH=/v/isolated/bin:/usr/bin:/bin"],
    &["PATH=/v/isolated/bin:/usr/bin:/bin", "PYTHONUSERBASE=/u/module"],
    &["PATH=/v/open/bin:/usr/bin:/bin", "PYTHONUSERBASE=/u/module"],
    &["PATH=/v/shared/bin:/usr/bin:/bin", "PYTHONUSERBASE=/u/module"],
    &["PATH=/v/open/bin:/usr/bin:/bin"],
    &["PATH=/pth/bin:/usr/bin:/bin"],
    &["PATH=/nothing/bin:/usr/bin:/bin"],
    &["PATH=/root/.pyenv/shims:/usr/bin:/bin"],
    &["PATH=/root/.pyenv/shims:/usr/bin:/bin", "PYTHONPATH=/m"],
    &["VIRTUAL_ENV=/v/isolated"],
];

#[test]
fn python_imports_what_is_predicted() {
    let Some((engine, images, programs)) = parts() else { return };
    let base = debian(Path::new(&images)).layer("COPY modules /", &files());
    load(&engine, &[("imports", base.clone())]);
    let layers = Layers::of(&base);
    let command = ["python3", "-c", "from Crypto.Cipher import AES"].map(str::to_owned);
    let mut agreement = Agreement::default();
    for (user, home) in [("", "/root"), ("1000", "/")] {
        let variant = |own: &&[&str]| {
            let has_path = own.iter().any(|variable| variable.starts_with("PATH="));
            let path = if has_path { None } else { Some("PATH=/usr/local/bin:/usr/bin:/bin") };
            let home = format!("HOME={home}");
            let env = path.into_iter().chain(own.iter().copied()).chain([home.as_str()]).map(str::to_owned).collect();
            Variant { name: format!("{}uid {user}", own.join(" ") + " "), env, command: command.to_vec() }
        };
        // The folder of root's pyenv is closed to others.
        let is_meant = |own: &&&[&str]| user.is_empty() || !own.iter().any(|variable| variable.contains(".pyenv"));
        let variants: Vec<Variant> = ENVIRONMENTS.iter().filter(is_meant).map(variant).collect();
        let ended = run(&engine, &tag("imports"), Path::new(&programs), user, &variants);
        for (variant, ended) in variants.iter().zip(&ended) {
            let facts = layers.facts(&variant.env, user, &Wanted::default());
            let step = &facts.steps.known().unwrap()["python"];
            let problem = step.problems.iter().find(|problem| problem.need == "python-crypto");
            let predicted = problem.map_or(Outcome::Pass, |problem| problem.outcome);
            agreement.compare(&variant.name, predicted, ended.code == 0, || {
                format!("{problem:?}, and it says {:?}", ended.output.chars().take(300).collect::<String>())
            });
        }
    }
    let code = "code of a .pth file may add folders";
    let first = "what a module runs first is not followed";
    agreement.demand(
        "imports of Python",
        &[
            ("PYTHONUSERBASE=/u/pth-code", code),
            ("PYTHONUSERBASE=/u/pth-broken-code", code),
            ("PYTHONPATH=/custom/exits", first),
            ("PYTHONUSERBASE=/u/usercustomize-exits", first),
        ],
    );
}
