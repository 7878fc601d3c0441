//! What imglint reads out of start-up files is what a real bash makes of them: the folders that they add to `PATH`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use imglint::layer::scan;
use imglint::rootfs::{Account, Rootfs, StackedLayer};
use imglint::shell::{Dialect, StartFile, World, read};

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

/// The folders of a `PATH` that the image does not have there.
fn added(path: &str) -> BTreeSet<String> {
    path.split(':').filter(|folder| !PATH.split(':').any(|own| own == *folder)).map(str::to_owned).collect()
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
    for (number, text) in FILES.iter().enumerate() {
        std::fs::write(folder.path().join(format!("{number:03}")), text).unwrap();
    }
    let mount = format!("{}:/files:ro", folder.path().display());
    let script = "for f in /files/*; do echo \"$(HOME=/root bash --rcfile $f -ic 'echo \"$PATH\"' 2>/dev/null)\"; done";
    let start = ["run", "--rm", "--network", "none", "-v", &mount, "-w", "/step", "--entrypoint", ""];
    let run = docker(&[&start[..], &["imglint/shell-files:1", "bash", "-c", script]].concat());
    docker(&["rmi", "-f", "imglint/shell-files:1"]);
    let shown = String::from_utf8(run.stdout).unwrap();
    let shown: Vec<&str> = shown.lines().collect();
    assert_eq!(shown.len(), FILES.len(), "{}", String::from_utf8_lossy(&run.stderr));

    let base = Arc::new(scan(&image.layers()[0].tar[..]).unwrap());
    let environment = BTreeMap::from([("PATH".to_owned(), PATH.to_owned())]);
    let mut wrong = Vec::new();
    for (text, path) in FILES.iter().zip(shown) {
        let own = scan(&Tar::default().file("root/.bashrc", 0o644, text.as_bytes()).bytes()[..]).unwrap();
        let layers = [Arc::clone(&base), Arc::new(own)].map(|index| StackedLayer { index, instruction: None });
        let rootfs = Rootfs::new(layers.to_vec());
        let account = Account { uid: 0, gid: Some(0) };
        let world = World { rootfs: &rootfs, user: Some("root"), account, home: "/root", environment: &environment };
        let file = StartFile { path: "/root/.bashrc".to_owned(), dialect: Dialect::Posix };
        let reading = read(world, &[file]).remove(0);
        let told: BTreeSet<String> = reading.additions.into_iter().map(|addition| addition.folder).collect();
        if told != added(path) || !reading.unknown.is_empty() {
            wrong.push(format!("{text}\n  read: {told:?} {:?}\n  bash: {:?}", reading.unknown, added(path)));
        }
    }
    println!("{} start-up files, {} differ", FILES.len(), wrong.len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
