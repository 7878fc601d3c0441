//! What imglint reads out of start-up files is what a real bash makes of them: the folders that they add to `PATH`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use imglint::layer::scan;
use imglint::rootfs::{Account, Rootfs, StackedLayer};
use imglint::shell::{Dialect, End, Hook, Mode, StartFile, World, read, read_bash_env};

use super::engines::save;
use super::releases::Release;
use crate::support::image::Tar;
use crate::support::real_part;

const PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// Start-up files as installers, distributions and people write them. All folders they name begin with `/x`, or are
/// below the home folder.
const FILES: &[&str] = &[
    "export PATH=\"$HOME/x:$PATH\"\n",
    "PATH=$PATH:/x1\nPATH=/x2:$PATH; export PATH\n",
    "PATH=\"/x 1:$PATH\"\n",
    "export PATH='/x1':\"$PATH\"\n",
    "PATH=/x1:${PATH}:/x2\nPATH+=:/x3\n",
    "export A=/x1 B=/x2\nexport PATH=$A:$B/y:$PATH\n",
    "if [ -d /usr/bin ]; then PATH=/x1:$PATH; else PATH=/x2:$PATH; fi\n",
    "if [ -d \"$HOME/nothing\" ] ; then\n    PATH=\"$HOME/nothing:$PATH\"\nfi\n",
    "[ -f /etc/passwd ] && PATH=/x1:$PATH\n[ -f /etc/nothing ] && PATH=/x2:$PATH\n[ -f /etc/nothing ] || PATH=/x3:$PATH\n",
    "[[ -f /etc/passwd && ! -d /x ]] && PATH=/x1:$PATH\n[[ $HOME == /ro* ]] && PATH=/x2:$PATH\n[[ $HOME == /ho* ]] && PATH=/x3:$PATH\n",
    "case \":$PATH:\" in *:/x1:*) ;; *) PATH=/x1:$PATH ;; esac\ncase \":$PATH:\" in *:/x1:*) PATH=/x2:$PATH;; esac\n",
    "case $- in *i*) ;; *) return;; esac\nPATH=/x1:$PATH\n",
    "[ -z \"$PS1\" ] && return\nPATH=/x1:$PATH\n",
    "PATH=/x1:$PATH\nreturn 0\nPATH=/x2:$PATH\n",
    "pathmunge () {\n case \":${PATH}:\" in\n *:\"$1\":*) ;;\n *) if [ \"$2\" = \"after\" ] ; then PATH=$PATH:$1; else PATH=$1:$PATH; fi\n esac\n}\npathmunge /x1\npathmunge /x2 after\npathmunge /usr/bin\nunset -f pathmunge\n",
    "function add { PATH=\"$1:$PATH\"; }\nadd /x1\nadd \"$HOME/x2\"\n",
    "for d in /x1 /x2; do PATH=$d:$PATH; done\n",
    "for d in /etc/profil* /x1; do PATH=$d/x:$PATH; done\n",
    "if [ `id -u` -eq 0 ]; then PATH=/x1:$PATH; else PATH=/x2:$PATH; fi\n",
    "if [ \"$(id -u)\" -ne 0 ] || [ ! -e /etc ]; then PATH=/x1:$PATH; fi\n[ $EUID = 0 ] && PATH=/x2:$PATH\n",
    "PATH=${UNSET:-/x1}:$PATH\nPATH=${HOME:+/x2}:$PATH\nPATH=/x3${UNSET+nothing}:$PATH\n: ${ROOT:=/x4}\nPATH=$ROOT:$PATH\n",
    "F=/x1/bin/tool.tar.gz\nPATH=${F%/*}:$PATH\nPATH=/x/${F##*/}:$PATH\nPATH=${F%%.*}:$PATH\nPATH=/x${F#*/x1}:$PATH\n",
    "PATH=$(dirname /x1/bin):$PATH\nPATH=/x/$(basename /a/b):$PATH\nPATH=$(echo /x2):$PATH\n",
    "D=/x1; eval \"PATH=\\$D:\\$PATH\"\neval 'PATH=/x2:$PATH'\n",
    "(PATH=/x1:$PATH)\n{ PATH=/x2:$PATH; }\nPATH=/x3:$PATH true\nPATH=/x4:$PATH &\n",
    "true | PATH=/x1:$PATH\nfalse || PATH=/x2:$PATH\ntrue && false || PATH=/x3:$PATH\n",
    "if ! command -v no-such-tool >/dev/null 2>&1; then PATH=/x1:$PATH; fi\ncommand -v cat >/dev/null && PATH=/x2:$PATH\n",
    "PATH=~/x:$PATH\nPATH=\"~/x2\":$PATH\nexport PATH=$PATH:~/x3\n",
    "declare -x PATH=/x1:$PATH\ntypeset PATH=/x2:$PATH\nexport \"PATH=/x3:$PATH\"\n",
    "PATH=\\\n/x1:\\\n$PATH\n# PATH=/x2:$PATH\n",
    "PATH=/x1:$PATH # : comment\ncat <<EOF >/dev/null\nPATH=/x2:$PATH\nEOF\n",
    "set -- /x1 /x2\nPATH=$1:$PATH\nshift\nPATH=$1:$PATH\n",
    "test -d /etc -a -d /usr && PATH=/x1:$PATH\ntest -d /nothing -o -d /usr && PATH=/x2:$PATH\n[ ! -d /etc ] || PATH=/x3:$PATH\n[ 2 -gt 1 ] && PATH=/x4:$PATH\n",
    "unset PATHS; PATHS=; if [ -n \"$PATHS\" ]; then PATH=/x1:$PATH; elif [ -n \"$HOME\" ]; then PATH=/x2:$PATH; else PATH=/x3:$PATH; fi\n",
    ". /etc/profile\nPATH=/x1:$PATH\n",
    "source /nothing 2>/dev/null\nPATH=/x1:$PATH\n[ -r /etc/bash.bashrc ] && . /etc/bash.bashrc\n",
    "while false; do PATH=/x1:$PATH; done\nuntil true; do PATH=/x2:$PATH; done\n",
    "x=1; y=$((x+1)); PATH=/x1:$PATH\n((x == 1)) || :\n",
    "alias ll='ls -l'; export PS1='\\u@\\h$ '; shopt -s checkwinsize; PATH=/x1:$PATH\n",
    "a=(/x1 /x2)\nPATH=/x3:$PATH\n",
];

/// Files with conditions, scopes, loops and values that the image does not always decide: of these some things may be unknown,
/// but nothing may be wrong.
const MORE: &[&str] = &[
    "PATH=/x1:$PATH\n",
    "case \"$(uname -s)\" in Linux) PATH=/x1:$PATH;; Darwin) PATH=/x2:$PATH;; esac\n",
    "[[ $OSTYPE == linux* ]] && PATH=/x1:$PATH\n",
    "[[ /x1/bin =~ ^(/x[0-9])/bin$ ]] && PATH=/x1:$PATH\n",
    "(( 1 + 1 == 2 )) && PATH=/x1:$PATH\n",
    "[[ a < b ]] && PATH=/x1:$PATH\n",
    "[ -t 0 ] && PATH=/x1:$PATH\n",
    "[ 1 -eq a ] && PATH=/x1:$PATH\n",
    "f() { return 1; }; f && PATH=/x1:$PATH\n",
    "f() { return 0; }; f && PATH=/x1:$PATH\n",
    "f() { false; return; }; f || PATH=/x1:$PATH\n",
    "[ \"$HOSTNAME\" = foo ] && PATH=/x1:$PATH\n",
    "[ \"$TERM\" = dumb ] && PATH=/x1:$PATH || PATH=/x2:$PATH\n",
    "shopt -q login_shell && PATH=/x1:$PATH\n",
    "PATH=/x1:$PATH\nPATH=/bin\n",
    "old=$PATH\nPATH=/x1:$PATH\nPATH=$old\n",
    "unset PATH\n",
    "f() { local PATH=/x1:$PATH; }; f\n",
    "f() { declare PATH=/x1:$PATH; }; f\n",
    "f() { typeset PATH=/x1:$PATH; }; f\n",
    "f() { declare -g PATH=/x1:$PATH; }; f\n",
    "f() { local p=/x1; g; }; g() { PATH=$p:$PATH; }; f\n",
    "f() { local PATH; PATH=/x1; }; f\n",
    "f() { export PATH=/x1:$PATH; }; f\n",
    "local -n r=PATH 2>/dev/null; declare -n r=PATH; r=/x1:$PATH\n",
    "printf -v P '%s' /x1; PATH=$P:$PATH\n",
    "command export PATH=/x1:$PATH\n",
    "builtin export PATH=/x1:$PATH\n",
    "case a in a) PATH=/x1:$PATH;& b) PATH=/x2:$PATH;; *) PATH=/x3:$PATH;; esac\n",
    "case a in a) PATH=/x1:$PATH;;& b) PATH=/x2:$PATH;; *) PATH=/x3:$PATH;; esac\n",
    "for d in /x{1,2}; do PATH=$d:$PATH; done\n",
    "for d in /x{1..3}; do PATH=$d:$PATH; done\n",
    "for d in /x{a,b}{1,2}; do PATH=$d:$PATH; done\n",
    "for d in /x{01..03}; do PATH=$d:$PATH; done\n",
    "for ((i=0;i<2;i++)); do PATH=/x$i:$PATH; done\n",
    "let i=1; PATH=/x$i:$PATH\n",
    "set -- \"/x 1\" /x2; for d in \"$@\"; do PATH=$d:$PATH; done\n",
    "set -- \"/x 1\" /x2; for d; do PATH=$d:$PATH; done\n",
    "set -- /x1 /x2; for d in $@; do PATH=$d:$PATH; done\n",
    "for d in /nope/*; do PATH=$d:$PATH; done\n",
    "shopt -s nullglob; for d in /nope/*; do PATH=$d:$PATH; done\n",
    "for d in /x1 /x2 /x3; do [ $d = /x2 ] && break; PATH=$d:$PATH; done\n",
    "for d in /x1 /x2 /x3; do [ $d = /x2 ] && continue; PATH=$d:$PATH; done\n",
    "for a in 1 2; do for d in /x$a /y$a; do [ $d = /x2 ] && break 2; PATH=$d:$PATH; done; done\n",
    "set -- /x1 /x2; while [ $# -gt 0 ]; do PATH=$1:$PATH; shift; done\n",
    "i=0; while [ $i -lt 3 ]; do PATH=/x$i:$PATH; i=$((i+1)); done\n",
    "f() { PATH=/x1:$PATH; }; unset -f f; f 2>/dev/null\n",
    "[ -n \"$USER\" ] && PATH=/x1:$PATH\n",
    "[ -n \"$LOGNAME\" ] && PATH=/x1:$PATH\n",
    "v=/x1/bin; PATH=${v/bin/sbin}:$PATH\n",
    "v=/x1/bin; PATH=${v:0:3}:$PATH\n",
    "v=/x1; PATH=${v^^}:$PATH\n",
    "a=(/x1 /x2); PATH=${a[0]}:$PATH\n",
    "a=(/x1 /x2); for d in \"${a[@]}\"; do PATH=$d:$PATH; done\n",
    "PATH=/x$((1+1)):$PATH\n",
    "PATH=~root/x:$PATH\n",
    "read -r d <<< /x1; PATH=$d:$PATH\n",
    ". /nope.sh; PATH=/x1:$PATH\n",
    "return; PATH=/x1:$PATH\n",
    "PATH=/x1:$PATH; if then\n",
    "exit 3\n",
    "exec true\n",
    "exec 3>&1; PATH=/x1:$PATH\n",
    "(exit 3); PATH=/x1:$PATH\n",
    "[ -d /nope ] && exit 3\nPATH=/x1:$PATH\n",
    "[ -z \"$PS1\" ] && return\nPATH=/x1:$PATH\n",
    "case $- in *i*) ;; *) return;; esac\nPATH=/x1:$PATH\n",
    "[[ $- == *i* ]] || return\nPATH=/x1:$PATH\n",
    "if grep -q foo /etc/passwd; then return; fi\nPATH=/x1:$PATH\n",
    "if grep -q root /etc/passwd; then PATH=/x1:$PATH; fi\n",
    "if grep -q root /etc/passwd; then PATH=/x1:$PATH; else PATH=/x2:$PATH; fi\n",
    "grep -q root /etc/passwd && exit 3\nPATH=/x1:$PATH\n",
    "PATH=\n",
    "PATH=:/x1:$PATH\n",
    "export PATH=\"/x1:$PATH\"; export -n FOO\n",
    "readonly D=/x1; PATH=$D:$PATH\n",
    "IFS=:; for d in /x1:/x2; do PATH=$d:$PATH; done\n",
    "l=/x1:/x2; IFS=:; for d in $l; do PATH=$d:$PATH; done; unset IFS\n",
    "set -e; PATH=/x1:$PATH\n",
    "set -n; PATH=/x1:$PATH\n",
    "trap 'PATH=/x1:$PATH' DEBUG; true\n",
    "alias x='PATH=/x1:$PATH'; x 2>/dev/null\n",
    "PATH=/x1:$PATH true; f() { :; }; PATH=/x2:$PATH f\n",
    "eval 'PATH=/x1:$PATH'\n",
    "eval \"$(echo 'PATH=/x1:$PATH')\"\n",
    "eval \"$(printf 'PATH=/x1:%s' \"$PATH\")\"\n",
    "{ PATH=/x1:$PATH; } 2>/dev/null\n",
    "! false && PATH=/x1:$PATH\n",
    "if ! command -v nope >/dev/null; then PATH=/x1:$PATH; fi\n",
    "type nope >/dev/null 2>&1 || PATH=/x1:$PATH\n",
    "hash cat 2>/dev/null && PATH=/x1:$PATH\n",
    "[ \"$SHLVL\" = 1 ] && PATH=/x1:$PATH\n",
    "x=a; x+=b; [ $x = ab ] && PATH=/x1:$PATH\n",
    "x=${UNSET-/x1}; PATH=$x:$PATH; PATH=${x:+/x2}:$PATH\n",
    ": ${X:=/x1}; PATH=$X:$PATH\n",
    "P=/x1; PATH=${P%/}/bin:$PATH; PATH=${P#/}:$PATH\n",
    "until false; do PATH=/x1:$PATH; break; done\n",
    "while :; do PATH=/x1:$PATH; break; done\n",
    "for i in 1 2 3; do if [ $i = 2 ]; then PATH=/x$i:$PATH; fi; done\n",
    "n=0; for i in a b; do n=$((n+1)); done; PATH=/x$n:$PATH\n",
    "echo \"PATH=/x1\" > /dev/null; cat <<X >/dev/null\nPATH=/x2:$PATH\nX\nPATH=/x3:$PATH\n",
    "function f { PATH=/x1:$PATH; }; f\n",
    "f() ( PATH=/x1:$PATH ); f\n",
    "f() { PATH=/x$1:$PATH; shift; [ $# -gt 0 ] && f \"$@\"; }; f 1 2 3\n",
    "echo hi | while read x; do PATH=/x1:$PATH; done\n",
    "while read x; do PATH=/x$x:$PATH; done <<< \"1\"\n",
    "PATH=\"$HOME/bin:$PATH\"; PATH=\"~/x:$PATH\"\n",
    "PATH='/x1:$PATH'\n",
    "if [ -f ~/.nope ]; then . ~/.nope; fi; PATH=/x1:$PATH\n",
    "PATH=\"${PATH:+${PATH}:}/x1\"\n",
    "PATH=${PATH//:\\/bin/}\n",
    "PATH=$(echo $PATH | sed 's#:/bin##')\n",
    "[ -r /etc/profile ] && . /etc/profile\n",
    "if [ \"${EUID:-0}\" -eq 0 ]; then PATH=/x1:$PATH; fi\n",
];

/// The folders of a `PATH` that the image does not have there.
fn added(path: &str) -> BTreeSet<String> {
    let is_new = |folder: &&str| !folder.is_empty() && !PATH.split(':').any(|own| own == *folder);
    path.split(':').filter(is_new).map(str::to_owned).collect()
}

#[test]
fn start_up_files_add_to_path_what_a_real_bash_adds() {
    let Some(engine) = real_part("a Docker engine", "IMGLINT_TEST_DOCKER_HOST") else { return };
    let Some(images) = real_part("images of Debian", "IMGLINT_TEST_IMAGES") else { return };
    let image = Release::read(Path::new(&images), "12").minimal().env(&format!("PATH={PATH}"));
    let folder = tempfile::tempdir().unwrap();
    let docker = |arguments: &[&str]| Command::new("docker").args(["-H", &engine]).args(arguments).output().unwrap();
    let archive = folder.path().join("image.tar");
    save(&archive, &[(&image, &["imglint/shell-files:1"])]);
    assert!(docker(&["load", "-i", archive.to_str().unwrap()]).status.success());
    std::fs::remove_file(&archive).unwrap();
    for (number, text) in FILES.iter().chain(MORE).enumerate() {
        std::fs::write(folder.path().join(format!("{number:03}")), text).unwrap();
    }
    let mount = format!("{}:/files:ro", folder.path().display());
    let script = "for f in /files/*; do p=$(HOME=/root bash --rcfile $f -ic 'echo \"@$PATH\"' 2>/dev/null </dev/null); echo \"@${p##*@}\"
p=$(HOME=/root BASH_ENV=$f bash -c 'echo \"@$PATH\"' 2>/dev/null </dev/null); echo \"${p:+@}${p##*@}\"; done";
    let start = ["run", "--rm", "--network", "none", "-v", &mount, "-w", "/step", "--entrypoint", ""];
    let run = docker(&[&start[..], &["imglint/shell-files:1", "bash", "-c", script]].concat());
    docker(&["rmi", "-f", "imglint/shell-files:1"]);
    let shown = String::from_utf8(run.stdout).unwrap();
    let shown: Vec<&str> = shown.lines().collect();
    assert_eq!(shown.len(), 2 * (FILES.len() + MORE.len()), "{}", String::from_utf8_lossy(&run.stderr));

    let base = Arc::new(scan(&image.layers()[0].tar[..]).unwrap());
    let environment = BTreeMap::from([("PATH".to_owned(), PATH.to_owned())]);
    let (mut wrong, mut unknown) = (Vec::new(), 0);
    for ((number, text), shown) in FILES.iter().chain(MORE).enumerate().zip(shown.chunks(2)) {
        let own = scan(&Tar::default().file("root/.bashrc", 0o644, text.as_bytes()).bytes()[..]).unwrap();
        let layers = [Arc::clone(&base), Arc::new(own)].map(|index| StackedLayer { index, instruction: None });
        let rootfs = Rootfs::new(layers.to_vec());
        let account = Account::ROOT;
        let world = World {
            mode: Mode::Interactive,
            rootfs: &rootfs,
            user: Some("root"),
            account,
            home: "/root",
            environment: &environment,
        };
        let file = StartFile { path: "/root/.bashrc".to_owned(), dialect: Dialect::Posix };
        let reading = read(world, &[file]).remove(0);
        let is_hooked = |hooks: &[Hook]| hooks.iter().any(|hook| hook.sources.is_none());
        let is_open = !reading.unknown.is_empty() || is_hooked(&reading.hooks);
        let told: BTreeSet<String> = reading.additions.into_iter().map(|addition| addition.folder).collect();
        let (at_prompt, in_script) = (shown[0].trim_start_matches('@'), shown[1].strip_prefix('@'));
        // A file that ends the shell shows nothing at a prompt.
        let is_same = told == added(at_prompt) || (in_script.is_none() && at_prompt.is_empty());
        unknown += usize::from(is_open);
        if if is_open { number < FILES.len() } else { !is_same } {
            wrong.push(format!("{text}\n  read: {told:?} {:?}\n  bash: {at_prompt:?}", reading.unknown));
        }
        // The same file by BASH_ENV, as every script reads it.
        let env = read_bash_env(World { mode: Mode::Script, ..world }, "/root/.bashrc");
        let path: Result<Vec<String>, String> = env.path.iter().cloned().collect();
        let is_open = !env.reading.unknown.is_empty() || is_hooked(&env.reading.hooks) || env.end == End::Perhaps;
        unknown += usize::from(is_open);
        let is_same = match (in_script, env.end) {
            (None, End::Always) => true,
            (Some(shown), End::Never) => path.as_ref().is_ok_and(|path| path.join(":") == shown),
            _ => false,
        };
        if !is_open && !is_same {
            wrong.push(format!("{text}\n  read: {path:?} {:?}\n  script of bash: {in_script:?}", env.end));
        }
    }
    println!("{} start-up files, each twice, {unknown} not known, {} differ", FILES.len() + MORE.len(), wrong.len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
