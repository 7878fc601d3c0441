//! The container engines that images are run with: Docker, root's Podman, and a user's.

use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use crate::support::image::{TestImage, write_docker_25_archive};
use crate::support::{Run, program, real_part};

/// Sends a signal to a process that was started here.
pub fn signal(child: &Child, name: &str) {
    let status = Command::new("sh").args(["-c", &format!("kill -{name} {}", child.id())]).status().unwrap();
    assert!(status.success(), "{name}");
}

/// Copies imglint for another user, to whom the checkout need not be open. Another process writes the copy: one that this
/// process had open could not be started as long as a process that is being started elsewhere has it open, too.
pub fn copy_program(to: &Path) {
    let copied = Command::new("cp").arg(env!("CARGO_BIN_EXE_imglint")).arg(to).status().unwrap();
    assert!(copied.success());
    std::fs::set_permissions(to, std::fs::Permissions::from_mode(0o755)).unwrap();
}

/// The label of a run's containers.
pub const LABEL: &str = "label=io.imglint.owner";

/// An engine.
pub struct Engine {
    pub name: &'static str,
    pub host: String,
    /// Who runs it, if it is not who runs the tests.
    user: Option<User>,
}

struct User {
    uid: u32,
    gid: u32,
    /// A folder of the user's.
    folder: PathBuf,
}

impl Engine {
    pub fn docker() -> Option<Self> {
        let host = real_part("a Docker engine", "IMGLINT_TEST_DOCKER_HOST")?;
        Some(Self { name: "docker", host, user: None })
    }

    pub fn podman() -> Option<Self> {
        let host = real_part("a Podman engine", "IMGLINT_TEST_PODMAN_HOST")?;
        Some(Self { name: "podman", host, user: None })
    }

    /// A Podman without root's rights. imglint is then run as its user.
    pub fn rootless() -> Option<Self> {
        let host = real_part("a rootless Podman engine", "IMGLINT_TEST_ROOTLESS_HOST")?;
        let user = real_part("a user", "IMGLINT_TEST_ROOTLESS_USER")?;
        let folder = PathBuf::from(real_part("a user's folder", "IMGLINT_TEST_ROOTLESS_FOLDER")?);
        let (uid, gid) = user.split_once(':').unwrap();
        let user = User { uid: uid.parse().unwrap(), gid: gid.parse().unwrap(), folder };
        let copy = user.folder.join("imglint");
        if !copy.exists() {
            copy_program(&copy);
        }
        Some(Self { name: "rootless podman", host, user: Some(user) })
    }

    pub fn all() -> Vec<Self> {
        [Self::docker(), Self::podman(), Self::rootless()].into_iter().flatten().collect()
    }

    /// What `docker` says; it speaks to Podman as well.
    pub fn docker_says(&self, arguments: &[&str]) -> String {
        let output = Command::new("docker").args(["-H", &self.host]).args(arguments).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Gives the engine images, and gives what imglint reads them from.
    pub fn load(&self, images: &[(&TestImage, &[&str])]) -> Archive {
        let folder = match &self.user {
            Some(user) => tempfile::tempdir_in(&user.folder),
            None => tempfile::tempdir(),
        };
        let folder = folder.unwrap();
        let file = folder.path().join("images.tar");
        save(&file, images);
        self.docker_says(&["load", "-q", "-i", file.to_str().unwrap()]);
        self.give(folder.path());
        self.give(&file);
        Archive { given: format!("docker-archive:{}", file.display()), file, _folder: folder }
    }

    fn give(&self, path: &Path) {
        if let Some(user) = &self.user {
            chown(path, Some(user.uid), Some(user.gid)).unwrap();
        }
    }

    /// `imglint check --run` with this engine.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = match &self.user {
            None => program(),
            Some(user) => {
                let mut command = Command::new(user.folder.join("imglint"));
                command.env_clear().env("PATH", "/usr/bin:/bin").env("HOME", &user.folder).env("TMPDIR", &user.folder);
                command.uid(user.uid).gid(user.gid).current_dir(&user.folder);
                command
            }
        };
        command.args(["check", "--report", "json", "--run", "--engine", &self.host]).args(arguments);
        command
    }

    pub fn check(&self, arguments: &[&str]) -> Run {
        Run::of(&mut self.command(arguments))
    }

    /// Asserts that, once all runs of other tests are over, no container of a run is left.
    pub fn is_left_clean(&self) {
        // Runs of other tests may have five minutes.
        let is_clean = self.is_clean_within(Duration::from_secs(300));
        assert!(is_clean, "{}: containers are left: {}", self.name, self.docker_says(&["ps", "-a", "--filter", LABEL]));
    }

    /// Whether no container of a run is left, at the latest after this time.
    pub fn is_clean_within(&self, time: Duration) -> bool {
        let start = Instant::now();
        loop {
            if self.docker_says(&["ps", "-aq", "--filter", LABEL]).is_empty() {
                return true;
            }
            if start.elapsed() > time {
                return false;
            }
            std::thread::sleep(Duration::from_millis(500));
        }
    }
}

/// Writes what `docker save` would into a file.
pub fn save(file: &Path, images: &[(&TestImage, &[&str])]) {
    let mut to = std::io::BufWriter::new(std::fs::File::create(file).unwrap());
    write_docker_25_archive(&mut to, images).unwrap();
    to.into_inner().unwrap();
}

/// A file of images, there as long as this is.
pub struct Archive {
    pub given: String,
    pub file: PathBuf,
    _folder: tempfile::TempDir,
}
