//! What is found out about file systems as distributions make them: os-release, commands on `PATH`, users.

use crate::support::elf::{AARCH64, BASH_MARK, Elf, I386, X86_64};
use crate::support::file_systems::{
    GLIBC_LOADER, MUSL_LOADER, Made, debian, glibc_loader, glibc_program, musl_loader, musl_program,
};
use crate::support::tars::Member;
use imglint::facts::{CommandState, Fact};

#[test]
fn os_release_is_found_through_links() {
    let fedora = b"NAME=\"Fedora Linux\"\nID=fedora\nVERSION_ID=40\n".to_vec();
    let made = Made::new(
        &[("usr/lib/os.release.d/os-release-fedora", fedora)],
        &[("usr/lib/os-release", "./os.release.d/os-release-fedora"), ("etc/os-release", "../usr/lib/os-release")],
    );
    let release = made.os_release();
    let release = release.known().unwrap();
    assert_eq!((release.id.as_str(), release.version_id.as_deref()), ("fedora", Some("40")));
    assert_eq!(release.place.path.as_deref(), Some("/etc/os-release"));
}

#[test]
fn os_release_behind_a_broken_link_is_looked_for_elsewhere() {
    let broken = [("etc/os-release", "../usr/lib/nowhere")];
    assert!(!Made::new(&[], &broken).os_release().known().unwrap().present);
    let made = Made::new(&[("usr/lib/os-release", b"ID=x\n".to_vec())], &broken);
    assert_eq!(made.os_release().known().unwrap().place.path.as_deref(), Some("/usr/lib/os-release"));
    let around = [("etc/os-release", "../usr/lib/os-release"), ("usr/lib/os-release", "../../etc/os-release")];
    assert!(!Made::new(&[], &around).os_release().known().unwrap().present);
    let elsewhere = Made::new(&[("opt/distribution", b"ID=x\n".to_vec())], &[("etc/os-release", "/opt/distribution")]);
    assert!(matches!(elsewhere.os_release(), Fact::Unknown(_)));
}

#[test]
fn bash_is_found_where_the_folders_are_links() {
    let bash = debian().command("bash");
    assert_eq!((bash.state, bash.why), (CommandState::Usable, None));
    assert_eq!(bash.place.path.as_deref(), Some("/usr/bin/bash"));
    let bash = debian().env("PATH=/bin").command("bash");
    assert_eq!(bash.place.path.as_deref(), Some("/bin/bash"));
    assert_eq!(bash.target.as_deref(), Some("/usr/bin/bash"));
    assert_eq!(debian().command("zsh").state, CommandState::Missing);
}

#[test]
fn applets_are_found_behind_hard_links_and_behind_links() {
    let busybox = musl_program();
    let loader = musl_loader();
    let made = Made::default().tar(&[
        Member::file(MUSL_LOADER, &loader),
        Member::file("bin/busybox", &busybox),
        Member::hard_link("bin/sh", "bin/busybox"),
        Member::symlink("bin/ash", "/bin/busybox"),
    ]);
    let facts = made.facts();
    for name in ["sh", "ash"] {
        assert_eq!(facts.commands.known().unwrap()[name].state, CommandState::Usable, "{name}");
    }
}

/// The state, the sentence, and the place of it.
fn unusable(made: Made) -> (CommandState, String, Option<String>) {
    let bash = made.command("bash");
    (bash.state, bash.why.unwrap_or_default(), bash.place.path)
}

#[test]
fn a_bash_that_cannot_be_started_says_why() {
    let program = glibc_program();
    let linked = |target| Made::default().layer(&[], &[("usr/bin/bash", target)]);
    let script = |line: &str| Made::new(&[("usr/bin/bash", line.as_bytes().to_vec())], &[]);
    let file = |bytes: Vec<u8>| Made::new(&[("usr/bin/bash", bytes)], &[]);
    let folder = Made::default().tar(&[Member::folder("usr/bin/bash/")]);
    let locked = Made::default().tar(&[Member::file("usr/bin/bash", &program).mode(0o644)]);
    let wrong_loader = file(program.clone()).layer(&[(GLIBC_LOADER, glibc_loader(AARCH64))], &[]);
    for (made, why) in [
        (linked("/opt/bash"), "/usr/bin/bash leads nowhere: /opt is not in the image"),
        (linked("bash"), "/usr/bin/bash leads nowhere: the links at /usr/bin/bash go round in circles"),
        (folder, "/usr/bin/bash is a folder"),
        (locked, "/usr/bin/bash is not executable (mode 0644)"),
        (script("#!/usr/bin/nothing -x\n"), "/usr/bin/bash is a script of /usr/bin/nothing, which is not in the image"),
        (
            script("echo hello\n"),
            "/usr/bin/bash is neither a program nor a script with #!: shells run it as a script of theirs, other programs such as .NET do not",
        ),
        (script("#!/usr/bin/bash\n"), "/usr/bin/bash is the sixth script of a script, and the kernel follows 5"),
        (file(Elf::fixed(AARCH64, b"").bytes()), "/usr/bin/bash is a program for arm64, not for amd64"),
        (
            file(program.clone()),
            "/usr/bin/bash does not start: its loader /lib64/ld-linux-x86-64.so.2 cannot be started: /lib64 is not in the image",
        ),
        (wrong_loader, "/usr/bin/bash does not start: its loader /lib64/ld-linux-x86-64.so.2 is for arm64"),
    ] {
        let place = Some("/usr/bin/bash".to_owned());
        assert_eq!(unusable(made), (CommandState::Unusable, why.to_owned(), place));
    }
    let relative = unusable(script("#!bash\n"));
    assert_eq!(relative.0, CommandState::Unknown);
    assert!(relative.1.contains("depends on the folder it is started in (#!bash)"), "{}", relative.1);
}

#[test]
fn a_bash_that_is_another_program_is_not_bash() {
    let named = |name: &str, text: &[u8]| {
        let files = [(name, Elf::fixed(X86_64, text).bytes())];
        let made = Made::new(&files, &[("usr/bin/bash", &format!("/{name}"))]);
        made.env("PATH=/usr/bin").command("bash").state
    };
    assert_eq!(named("opt/bash5", BASH_MARK), CommandState::Usable);
    assert_eq!(named("opt/shell", BASH_MARK), CommandState::Usable, "links lead to any name");
    assert_eq!(named("opt/dash", b""), CommandState::Unusable);
    assert_eq!(named("opt/busybox", b""), CommandState::Unusable);
    assert_eq!(named("opt/bash5", b"packed"), CommandState::Unknown);
}

#[test]
fn the_first_bash_that_can_be_executed_is_taken() {
    let program = Elf::fixed(X86_64, BASH_MARK).bytes();
    let made = Made::default().tar(&[
        Member::file("usr/local/bin/bash", &program).mode(0o600),
        Member::symlink("usr/sbin/bash", "gone"),
        Member::folder("usr/bin/bash/"),
        Member::file("bin/bash", &program),
    ]);
    let bash = made.command("bash");
    assert_eq!((bash.state, bash.place.path.as_deref()), (CommandState::Usable, Some("/bin/bash")));
}

#[test]
fn only_absolute_folders_of_path_count() {
    let bash = |path: &str| {
        let program = Elf::fixed(X86_64, BASH_MARK).bytes();
        Made::new(&[("tools/bash", program)], &[]).env(path).command("bash").state
    };
    assert_eq!(bash("PATH=tools:./tools:/tools"), CommandState::Usable);
    assert_eq!(bash("PATH=::/bin:/nowhere:/tools/"), CommandState::Usable);
    assert_eq!(bash("PATH=tools::."), CommandState::Unknown, "that depends on the work folder");
    assert_eq!(bash("PATH=/tools/bash"), CommandState::Missing);
    assert_eq!(bash("OTHER=/tools"), CommandState::Missing);
    let command = Made::default().env("PATH=").command("bash");
    assert_eq!((command.state, command.why.as_deref()), (CommandState::Missing, Some("PATH is empty")));
    assert_eq!(command.place.field.as_deref(), Some("config.Env"));
}

#[test]
fn programs_of_386_run_on_amd64() {
    let made = Made::new(&[("bin/bash", Elf::fixed(I386, BASH_MARK).bytes())], &[]);
    assert_eq!(made.command("bash").state, CommandState::Usable);
}

#[test]
fn users_are_resolved_by_name_and_number() {
    let passwd = b"root:x:0:0:root:/root:/bin/sh\nocto:x:1000:1000::/home/octo:/bin/sh\n";
    for (given, uid, home) in [
        ("", Some(0), Some("/root")),
        ("root", Some(0), Some("/root")),
        ("0:0", Some(0), Some("/root")),
        ("octo", Some(1000), Some("/home/octo")),
        ("octo:octo", None, None),
        ("octo:0", Some(1000), Some("/home/octo")),
        ("1000", Some(1000), Some("/home/octo")),
        ("65532:65532", Some(65532), None),
        ("ghost", None, None),
    ] {
        let facts = Made::new(&[("etc/passwd", passwd.to_vec())], &[]).user(given).facts();
        let user = facts.user.known().unwrap();
        assert_eq!((user.uid, user.home.as_deref()), (uid, home), "{given:?}");
    }
    let facts = Made::default().user("1001").facts();
    assert_eq!(facts.user.known().unwrap().uid, Some(1001));
}
