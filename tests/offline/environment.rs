//! What the image's environment, and files that it chooses, do to .NET, OpenSSL and Python: from the image to the report.

use serde_json::{Value, json};

use crate::support::elf::{Elf, X86_64};
use crate::support::image::{Tar, TestImage, dotnet_libraries, write_layout};
use crate::support::{check, finding, rules};

const LOADER: &str = "/lib64/ld-linux-x86-64.so.2";

/// An image in which programs for .NET 8 start, with bash and openssl.
fn image() -> TestImage {
    let text = b"GNU C Library (GNU libc) stable release version 2.36.\0/usr/lib64/\0";
    let loader = Elf { versions: vec!["GLIBC_2.36"], ..Elf::library(X86_64, "ld-linux-x86-64.so.2") };
    let libc = Elf {
        versions: vec!["GLIBC_2.14", "GLIBC_2.16", "GLIBC_2.27", "GLIBC_2.36"],
        ..Elf::library(X86_64, "libc.so.6")
    };
    let tar = Tar::default()
        .file(&LOADER[1..], 0o755, &loader.text(text).bytes())
        .file("usr/lib64/libc.so.6", 0o755, &libc.text(text).bytes())
        .file("usr/bin/bash", 0o755, &program())
        .file("usr/bin/openssl", 0o755, &program())
        .file("etc/os-release", 0o644, b"ID=debian\nVERSION_ID=12\n");
    let libraries = dotnet_libraries(X86_64);
    let add =
        |tar: Tar, (name, library): &(&str, Elf<'_>)| tar.file(&format!("usr/lib64/{name}"), 0o644, &library.bytes());
    TestImage::new(json!({"Env": ["PATH=/usr/bin"]})).layer("FROM base", &libraries.iter().fold(tar, add))
}

fn program() -> Vec<u8> {
    Elf { needed: vec!["libc.so.6"], ..Elf::program(X86_64, LOADER) }.bytes()
}

fn result(image: &TestImage, options: &[&str]) -> Value {
    let folder = tempfile::tempdir().unwrap();
    write_layout(folder.path(), &[(image, "")]);
    let name = format!("oci:{}", folder.path().display());
    check(options.iter().copied().chain([name.as_str()])).result()
}

/// How a rule ends on an image with these variables: its outcome and severity.
fn judged(rule: &str, image: &TestImage, variables: &[&str], options: &[&str]) -> String {
    let image = variables.iter().fold(image.clone(), |image, variable| image.env(variable));
    let result = result(&image, options);
    let all = [("fail", "error"), ("fail", "warning"), ("unknown", "error")];
    let found = all.iter().find(|(outcome, severity)| rules(&result, severity, outcome).contains(&rule.to_owned()));
    found.map_or("pass".to_owned(), |(outcome, severity)| format!("{outcome} {severity}"))
}

#[test]
fn variables_that_stop_dotnet_are_errors_and_harmless_ones_pass() {
    let hook = Tar::default().file("otel/hook.dll", 0o644, b"MZ");
    let image = image().layer("COPY otel /otel", &hook);
    let outcome = |variables: &[&str], options: &[&str]| judged("dotnet-env-harmful", &image, variables, options);
    for (variable, wanted) in [
        ("DOTNET_STARTUP_HOOKS=/gone.dll", "fail error"),
        ("DOTNET_STARTUP_HOOKS=/otel/hook.dll", "fail warning"),
        ("DOTNET_STARTUP_HOOKS=", "pass"),
        ("DOTNET_DiagnosticPorts=/diag/port.sock", "fail error"),
        ("DOTNET_DiagnosticPorts=/diag/port.sock,nosuspend", "pass"),
        ("DOTNET_DefaultDiagnosticPortSuspend=1", "fail error"),
        ("COMPlus_GCHeapHardLimit=100000", "fail error"),
        ("DOTNET_GCHeapHardLimit=0x800000", "unknown error"),
        ("DOTNET_GCHeapHardLimit=0x10000000", "pass"),
        ("DOTNET_GCName=libgone.so", "fail error"),
        ("DOTNET_GCName=libclrgc.so", "pass"),
        ("DOTNET_JitName=libgone.so", "fail error"),
        ("DOTNET_DefaultStackSize=1000", "fail error"),
        ("DOTNET_gcServer=1", "pass"),
        ("DOTNET_TieredCompilation=0", "pass"),
    ] {
        assert_eq!(outcome(&[variable], &[]), wanted, "{variable}");
    }
    let new = ["--set", "dotnet=10.0"];
    assert_eq!(outcome(&["DOTNET_DefaultStackSize=1000"], &new), "pass", "10.0 does not know the name");
    assert_eq!(outcome(&["DOTNET_Thread_DefaultStackSize=1000"], &new), "fail error");
    assert_eq!(
        outcome(&["DOTNET_GCHeapHardLimit=100000"], &["--set", "dotnet=3.1"]),
        "pass",
        "3.1 knows the other prefix"
    );
    let off = ["DOTNET_DiagnosticPorts=/diag/port.sock", "DOTNET_EnableDiagnostics=0"];
    assert_eq!(outcome(&off, &[]), "pass");
}

#[test]
fn a_configuration_without_ciphers_is_an_error_for_bash_and_for_dotnet() {
    let null = b"openssl_conf = i\n[i]\nproviders = p\n[p]\nnull = n\n[n]\nactivate = 1\n";
    let files = Tar::default().file("etc/ssl/openssl.cnf", 0o644, null).file("cnf/garbage.cnf", 0o644, b"garbage\n");
    let image = image().layer("COPY openssl.cnf /etc/ssl", &files);
    for rule in ["openssl-ciphers-missing", "openssl-config-harmful"] {
        let outcome = |variables: &[&str]| judged(rule, &image, variables, &[]);
        assert_eq!(outcome(&[]), "fail error", "{rule}");
        for variable in
            ["OPENSSL_CONF=", "OPENSSL_CONF=/gone", "OPENSSL_CONF=/dev/null", "OPENSSL_CONF=/cnf/garbage.cnf"]
        {
            assert_eq!(outcome(&[variable]), "pass", "{rule}: {variable}");
        }
    }
    let found = result(&image, &[]);
    let evidence = &finding(&found, "openssl-ciphers-missing")["evidence"][0];
    assert_eq!(evidence["path"], "/etc/ssl/openssl.cnf");
    assert!(evidence["statement"].as_str().unwrap().contains("activates null"), "{evidence}");
}

#[test]
fn python_is_judged_by_what_it_would_import() {
    let site = "usr/lib/python3.11/site-packages";
    let module = |tar: Tar, folder: &str| {
        let files = ["__init__.py", "Cipher/__init__.py", "Cipher/AES.py"];
        files.iter().fold(tar, |tar, file| tar.file(&format!("{folder}/Crypto/{file}"), 0o644, b""))
    };
    let tar = Tar::default()
        .link("usr/bin/python3", "python3.11")
        .file("usr/bin/python3.11", 0o755, &program())
        .file("usr/lib/python3.11/encodings/__init__.py", 0o644, b"")
        .file("first/Crypto.py", 0o644, b"")
        .file("site/lib/python3.11/site-packages/x.pth", 0o644, b"/m\n")
        .file("code/lib/python3.11/site-packages/x.pth", 0o644, b"import own; own.add()\n");
    let without = image().layer("RUN install python3", &module(tar.clone(), "m"));
    let with = image().layer("RUN install python3", &module(tar, site));
    let outcome = |image: &TestImage, variables: &[&str]| {
        judged("python-crypto-missing", image, variables, &["--set", "steps=python"])
    };
    assert_eq!(outcome(&without, &[]), "fail error");
    assert_eq!(outcome(&without, &["PYTHONPATH=/m"]), "pass");
    assert_eq!(outcome(&without, &["PYTHONUSERBASE=/site"]), "pass", "a .pth file adds the folder");
    assert_eq!(outcome(&without, &["PYTHONUSERBASE=/code"]), "unknown error", "a .pth file runs code");
    assert_eq!(outcome(&without, &["PYTHONUSERBASE=/site", "PYTHONNOUSERSITE=1"]), "fail error");
    assert_eq!(outcome(&with, &[]), "pass");
    assert_eq!(outcome(&with, &["PYTHONPATH=/first"]), "fail error", "another Crypto comes first");
    assert_eq!(outcome(&with, &["PYTHONHOME=/gone"]), "fail error", "Python does not start");
    assert_eq!(outcome(&with, &["PYTHONHOME=/usr"]), "pass");
    let closed = with.clone().layer("RUN chmod", &Tar::default().folder_of(site, 0o700, 0)).user("1000");
    assert_eq!(outcome(&closed, &[]), "fail error", "uid 1000 may not list the folder");
}
