//! What is told of shell files: what they add to `PATH`, what they hook into, what nobody can tell, and at what cost.

use std::sync::Arc;
use std::time::Instant;

use super::*;
use crate::layer::{Detail, IndexBuilder, Kind, NewEntry};
use crate::rootfs::StackedLayer;

/// A file system of these files; a name that ends with `/` is a folder, one with `*` is executable.
fn rootfs(files: &[(&str, &str)]) -> Rootfs {
    let mut builder = IndexBuilder::default();
    for (path, content) in files {
        let (path, kind, mode) = match (path.strip_suffix('/'), path.strip_suffix('*')) {
            (Some(folder), _) => (folder, Kind::Directory, 0o755),
            (_, Some(program)) => (program, Kind::File, 0o755),
            _ => (*path, Kind::File, 0o644),
        };
        let entry = NewEntry { path, kind, mode, uid: 0, gid: 0, size: content.len() as u64, link: "" };
        let detail = Detail { content: Some(content.as_bytes().to_vec()), ..Detail::default() };
        builder.add(&entry, (kind == Kind::File).then_some(detail)).unwrap();
    }
    Rootfs::new(vec![StackedLayer { index: Arc::new(builder.finish(None, 0).unwrap()), instruction: None }])
}

fn reading(dialect: Dialect, first: &str, files: &[(&str, &str)]) -> Reading {
    let rootfs = rootfs(files);
    let environment = BTreeMap::from([("PATH".to_owned(), "/usr/bin:/bin".to_owned())]);
    let account = Account::ROOT;
    let world = World {
        mode: Mode::Interactive,
        rootfs: &rootfs,
        user: Some("root"),
        account,
        home: "/root",
        environment: &environment,
    };
    read(world, &[StartFile { path: first.to_owned(), dialect }]).remove(0)
}

/// Folders that a script adds, with the numbers of the lines.
fn added(script: &str) -> Vec<String> {
    shown(&reading(Dialect::Posix, "/root/.bashrc", &[("root/.bashrc", script), ("opt/tool/bin/", ""), ("etc/x", "1")]))
}

fn shown(reading: &Reading) -> Vec<String> {
    reading.additions.iter().map(|addition| format!("{} {}", addition.line.number, addition.folder)).collect()
}

#[test]
fn assignments_to_path_are_told_with_their_lines() {
    assert_eq!(added("export PATH=\"$HOME/x:$PATH\"\n"), ["1 /root/x"]);
    assert_eq!(added("PATH=$PATH:/a:/b\n\nPATH+=:/c\n"), ["1 /a", "1 /b", "3 /c"]);
    assert_eq!(added("declare -x PATH=~/bin:$PATH; typeset PATH=/y:$PATH"), ["1 /root/bin", "1 /y"]);
    assert_eq!(added("D=/opt\nT=${D}/go\nexport \"PATH=$T/bin:$PATH\"\n"), ["3 /opt/go/bin"]);
    assert_eq!(added("PATH=/usr/bin:$PATH\n"), [""; 0], "what is there already is not added");
    assert_eq!(added("PATH=${PATH}${PATH:+:}/z\nPATH=${UNSET:-/d}:$PATH\n"), ["1 /z", "2 /d"]);
}

#[test]
fn conditions_are_decided_by_the_image_where_they_can_be() {
    assert_eq!(
        added("if [ -d /opt/tool/bin ]; then PATH=/opt/tool/bin:$PATH; else PATH=/no:$PATH; fi"),
        ["1 /opt/tool/bin"]
    );
    assert_eq!(added("[ -d /gone ] && PATH=/gone:$PATH\n[[ -f /etc/x && ! -d /gone ]] && PATH=/b:$PATH"), ["2 /b"]);
    assert_eq!(
        added("test \"$(id -u)\" -eq 0 || PATH=/user:$PATH\n[ \"$EUID\" = 0 ] && PATH=/root/s:$PATH"),
        ["2 /root/s"]
    );
    assert_eq!(
        added("case $- in *i*) PATH=/i:$PATH;; *) return;; esac\n[ -z \"$PS1\" ] && return\nPATH=/p:$PATH"),
        ["1 /i", "3 /p"]
    );
    let perhaps = "if grep -q x /etc/x; then PATH=/perhaps:$PATH; fi";
    assert_eq!(added(perhaps), [""; 0], "what may be added is not added");
    let reading = reading(Dialect::Posix, "/root/.bashrc", &[("root/.bashrc", perhaps)]);
    assert_eq!(reading.unknown[0].why, "whether /perhaps stays on PATH depends on a condition that is not known");
    assert_eq!(reading.unknown[0].line.number, 1);
    assert_eq!(added("return\nPATH=/never:$PATH"), [""; 0]);
}

#[test]
fn functions_and_loops_are_followed_and_the_call_is_the_line() {
    let munge = "munge () { case \":${PATH}:\" in *:\"$1\":*) ;; *) if [ \"$2\" = after ] ; then PATH=$PATH:$1; else PATH=$1:$PATH; fi; esac; }\n";
    assert_eq!(added(&format!("{munge}munge /a\nmunge /b after\nmunge /usr/bin\nmunge /a")), ["2 /a", "3 /b"]);
    assert_eq!(added("for d in /x /y; do PATH=$d:$PATH; done"), ["1 /x", "1 /y"]);
    assert_eq!(added("(PATH=/sub:$PATH)\nPATH=/one:$PATH command\necho x | PATH=/p:$PATH\n"), [""; 0]);
}

#[test]
fn sourced_files_are_read_where_they_are() {
    let files = [
        (
            "etc/profile",
            "for i in /etc/profile.d/*.sh; do if [ -r $i ]; then . $i; fi; done\n[ -f /gone ] && . /gone\n",
        ),
        ("etc/profile.d/a.sh", "export PATH=$PATH:/a"),
        ("etc/profile.d/b.sh", "\n. /opt/env.sh >/dev/null"),
        ("etc/profile.d/readme.txt", "PATH=/not:$PATH"),
        ("opt/env.sh", "PATH=/b:$PATH"),
    ];
    let reading = reading(Dialect::Posix, "/etc/profile", &files);
    let told: Vec<String> =
        reading.additions.iter().map(|a| format!("{}:{} {}", a.line.file, a.line.number, a.folder)).collect();
    assert_eq!(told, ["/etc/profile.d/a.sh:1 /a", "/opt/env.sh:1 /b"]);
    assert_eq!(reading.unknown, []);
}

#[test]
fn what_cannot_be_told_is_said() {
    let read_one = |script: &str| reading(Dialect::Posix, "/root/.bashrc", &[("root/.bashrc", script)]);
    let one = read_one("PATH=\"$(go env GOPATH)/bin:/known:$PATH\"");
    assert_eq!(shown(&one), ["1 /known"]);
    assert_eq!(one.unknown[0].why, "a folder is added to PATH, but what $(go env GOPATH) prints is not known");
    let one = read_one("eval \"$(pyenv init -)\"\n. \"$UNKNOWN_$(x)/y\"\n");
    assert_eq!(one.hooks.iter().map(|hook| hook.line.number).collect::<Vec<_>>(), [1, 2]);
    assert!(read_one("if then ((").unknown[0].why.contains("could not be read"));
    assert_eq!(shown(&read_one("x='PATH=/e:$PATH'; eval \"$x\"")), ["1 /e"], "known text is evaluated");
}

#[test]
fn zsh_fish_and_pam_have_ways_of_their_own() {
    let of = |dialect, file: &str, text: &str| shown(&reading(dialect, file, &[(file, text)]));
    assert_eq!(
        of(Dialect::Zsh, "root/.zshrc", "path=(/x $path)\npath+=(~/y)\nexport PATH=/z:$PATH\n"),
        ["1 /x", "2 /root/y", "3 /z"]
    );
    assert_eq!(
        of(Dialect::Fish, "c.fish", "set -gx PATH /a $PATH\nif true; fish_add_path ~/b; end\n"),
        ["1 /a", "2 /root/b"]
    );
    assert_eq!(of(Dialect::Environment, "etc/environment", "A=b\nPATH=\"/usr/bin:/opt/x\"\n"), ["2 /opt/x"]);
}

/// What the file of `BASH_ENV` does, in a word or two.
fn in_script(text: &str) -> String {
    let rootfs = rootfs(&[("etc/bash_env", text)]);
    let environment = BTreeMap::from([("PATH".to_owned(), "/usr/bin:/bin".to_owned())]);
    let account = Account::ROOT;
    let world =
        World { mode: Mode::Script, rootfs: &rootfs, user: None, account, home: "/root", environment: &environment };
    let env = read_bash_env(world, "/etc/${NONE:-bash}_env");
    match (env.unknown, env.end) {
        (Some(_), _) => "unknown".to_owned(),
        (None, End::Never) => {
            env.path.into_iter().map(|folder| folder.unwrap_or_else(|_| "?".to_owned())).collect::<Vec<_>>().join(":")
        }
        (None, end) => format!("ends {end:?}"),
    }
}

#[test]
fn the_file_of_bash_env_is_read_as_for_a_script() {
    assert_eq!(in_script("PATH=/x:$PATH"), "/x:/usr/bin:/bin");
    assert_eq!(in_script("case $- in *i*) ;; *) return;; esac\nPATH=/x:$PATH"), "/usr/bin:/bin");
    assert_eq!(in_script("[ -z \"$PS1\" ] && return\nPATH=/x:$PATH"), "/usr/bin:/bin");
    assert_eq!(in_script("exit 3"), "ends Always");
    assert_eq!(in_script("exec /bin/sh \"$@\""), "ends Always");
    assert_eq!(in_script("(exit 3); exec 3>&1; PATH=/x"), "/x");
    assert_eq!(in_script("x && exit 3"), "ends Perhaps");
    assert_eq!(in_script("[ -t 0 ] && PATH=/x:$PATH"), "?:/usr/bin:/bin");
    assert_eq!(
        in_script("for a in {1..200}; do for b in {1..200}; do :; done; done"),
        "unknown",
        "it is not followed to its end"
    );
}

#[test]
fn hostile_files_cost_bounded_time_and_yield_no_answer() {
    let start = Instant::now();
    let endless = [("root/.bashrc", ". /root/.bashrc\n. /root/.bashrc\nPATH=/a:$PATH\n")];
    let reading_of = |files: &[(&str, &str)]| reading(Dialect::Posix, "/root/.bashrc", files);
    assert!(!reading_of(&endless).unknown.is_empty());
    for text in [
        "f() { f; f; }; f",
        "x=y; while :; do x=$x$x; done",
        "eval 'eval \"eval eval $x\"'",
        "x='eval \"$x\"'; eval \"$x\"",
        "for a in /*/*/*/*; do for b in 1 2 3 4 5 6 7 8 9; do for c in 1 2 3 4 5 6 7 8 9; do for d in 1 2 3 4 5 6 7 8 9; do for e in 1 2 3 4 5 6 7 8 9; do for f in 1 2 3 4 5 6 7 8 9; do PATH=$a$b$c$d$e$f:$PATH; done; done; done; done; done; done",
    ] {
        reading_of(&[("root/.bashrc", text)]);
    }
    for piece in [
        "(",
        "{ ",
        "$(",
        "if x; then ",
        "x=${x:-",
        "case x in a) ",
        "f() { ",
        "\"",
        "`",
        "[[ ",
        "$((",
        "! ",
        "x=1 ",
        "x\n",
    ] {
        let text = piece.repeat((64 << 10) / piece.len());
        let start = Instant::now();
        reading_of(&[("root/.bashrc", &text)]);
        println!("64 KiB of {piece:?}: {:?}", start.elapsed());
    }
    let large = "PATH=/x:$PATH\n".repeat(1 << 20);
    let reading = reading_of(&[("root/.bashrc", &large)]);
    assert_eq!((reading.additions.len(), reading.unknown.len()), (0, 1), "10 MB are not parsed");
    println!("{:?}", start.elapsed());
}

/// Pieces that shell files are made of, in any order and number.
const PIECES: &[&str] = &[
    "PATH=",
    "$PATH",
    "/a",
    ":",
    "\"",
    "'",
    "\\",
    "`",
    "$(",
    ")",
    "(",
    "{ ",
    "}",
    "${",
    "x",
    "[ ",
    " ]",
    "[[ ",
    " ]]",
    ";",
    "\n",
    " ",
    "if ",
    "then ",
    "else ",
    "fi",
    "for i in ",
    "do ",
    "done",
    "case ",
    " in ",
    "esac",
    ";;",
    "*",
    "?",
    "eval ",
    ". ",
    "~",
    "#",
    "%",
    "&&",
    "||",
    "|",
    "&",
    "<<E\n",
    "E\n",
    "$((",
    "))",
    "=",
    "+=",
    "!",
    "-d ",
    "$1",
    "f() ",
    "export ",
    "local ",
    "é",
    "\0",
    "$'",
    "-",
    "/",
    "return",
    "while ",
    "true",
    "unset ",
    "0",
    "<(",
    ">",
    "@",
    "[1]",
];

proptest::proptest! {
    #[test]
    fn no_text_makes_the_reading_fail(picks in proptest::collection::vec(0..PIECES.len(), 0..60), zsh: bool) {
        let text: String = picks.iter().map(|pick| PIECES[*pick]).collect();
        let dialect = if zsh { Dialect::Zsh } else { Dialect::Posix };
        let reading = reading(dialect, "/root/.bashrc", &[("root/.bashrc", &text)]);
        let failed = reading.unknown.iter().any(|note| note.why.ends_with("could not be evaluated"));
        proptest::prop_assert!(!failed, "{text:?}");
        reading_of_fish(&text);
    }
}

fn reading_of_fish(text: &str) {
    reading(Dialect::Fish, "c.fish", &[("c.fish", text)]);
    reading(Dialect::Environment, "etc/environment", &[("etc/environment", text)]);
}
