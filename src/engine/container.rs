//! One container: created with exactly the target's arguments and limits besides, started, waited for, listened to.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use bollard::auth::DockerCredentials;
use bollard::container::LogOutput;
use bollard::models::{ContainerCreateBody, HostConfig, HostConfigLogConfig, Mount, MountType};
use bollard::query_parameters::{CreateContainerOptionsBuilder, LogsOptionsBuilder, WaitContainerOptionsBuilder};
use futures_util::StreamExt;

use super::connection::Connection;
use super::owner;
use crate::image::registry::Login;

/// How long an engine may take for one request.
const PATIENCE: Duration = Duration::from_secs(120);
/// How long it may take to fetch an image.
const PULL: Duration = Duration::from_secs(3600);
/// Limits, so that no image can harm the machine.
const MEMORY: i64 = 2 << 30;
const PIDS: i64 = 512;
/// The most output that is listened to, in bytes, from the end.
pub(super) const MOST_OUTPUT: usize = 64 << 10;
/// Of how many layers the progress is told.
const MOST_LAYERS: usize = 1000;
/// The capabilities that are left: those by which root may use files and change users, as in every container.
const CAPABILITIES: [&str; 6] = ["CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "SETGID", "SETUID"];

/// What a container is created with.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    pub image: String,
    /// In place of the image's own, if given.
    pub entrypoint: Option<Vec<String>>,
    pub command: Vec<String>,
    pub env: Vec<String>,
    pub working_dir: String,
    /// Folders of this machine.
    pub mounts: Vec<Folder>,
    pub has_network: bool,
    /// `UID:GID` in place of the image's own user.
    pub user: Option<String>,
    /// Whether its processes are root's.
    pub is_root: bool,
}

/// A folder of this machine and where it is mounted.
#[derive(Clone, Debug)]
pub(super) struct Folder {
    pub source: String,
    pub target: String,
    pub is_read_only: bool,
}

impl Folder {
    /// As `docker run -v` takes it.
    pub(super) fn words(&self) -> String {
        let ending = if self.is_read_only { ":ro" } else { "" };
        format!("{}:{}{ending}", self.source, self.target)
    }

    /// Unlike what `-v` makes, the engine refuses this if it does not see the folder: then it is another machine's.
    fn mount(&self) -> Mount {
        Mount {
            typ: Some(MountType::BIND),
            source: Some(self.source.clone()),
            target: Some(self.target.clone()),
            read_only: Some(self.is_read_only),
            ..Mount::default()
        }
    }
}

/// A container that was created; removed when it is dropped.
pub(super) struct Container<'a> {
    connection: &'a Connection,
    id: String,
}

/// How a container ended.
#[derive(Debug)]
pub(super) struct Ended {
    /// Its exit code; nothing if it had to be stopped.
    pub exit_code: Option<i64>,
    pub duration: Duration,
    /// The end of its output, both streams.
    pub output: String,
}

impl<'a> Container<'a> {
    /// Creates a container.
    ///
    /// # Errors
    /// What the engine says.
    pub(super) fn create(connection: &'a Connection, wanted: &Wanted) -> Result<Self, String> {
        let log = HashMap::from([("max-size".to_owned(), "1m".to_owned())]);
        let host_config = HostConfig {
            mounts: Some(wanted.mounts.iter().map(Folder::mount).collect()),
            network_mode: (!wanted.has_network).then(|| "none".to_owned()),
            memory: Some(MEMORY),
            pids_limit: Some(PIDS),
            cap_drop: Some(vec!["ALL".to_owned()]),
            // Others have none anyway, but Podman would give them those that are added.
            cap_add: wanted.is_root.then(|| CAPABILITIES.map(str::to_owned).into()),
            security_opt: Some(vec!["no-new-privileges".to_owned()]),
            log_config: Some(HostConfigLogConfig { typ: Some("json-file".to_owned()), config: Some(log) }),
            ..HostConfig::default()
        };
        let making = owner::making();
        let identity = owner::identity(&making, connection)?;
        let body = ContainerCreateBody {
            image: Some(wanted.image.clone()),
            entrypoint: wanted.entrypoint.clone(),
            user: wanted.user.clone(),
            cmd: Some(wanted.command.clone()),
            env: Some(wanted.env.clone()),
            working_dir: Some(wanted.working_dir.clone()),
            labels: Some(HashMap::from([(owner::LABEL.to_owned(), identity.label.clone())])),
            host_config: Some(host_config),
            ..ContainerCreateBody::default()
        };
        let options = CreateContainerOptionsBuilder::new().name(&identity.name).build();
        let made = connection.within(PATIENCE, connection.docker.create_container(Some(options), body));
        let made = made.inspect_err(|why| owner::refused(&making, connection, &identity, why))?;
        owner::created(&making, connection, &identity, &made.id);
        Ok(Self { connection, id: made.id })
    }

    /// Starts it.
    ///
    /// # Errors
    /// What the engine says: the command is not there, or cannot be run.
    pub(super) fn start(&self) -> Result<(), String> {
        let none = None::<bollard::query_parameters::StartContainerOptions>;
        self.connection.within(PATIENCE, self.connection.docker.start_container(&self.id, none))
    }

    /// Waits for its end, at most so long; then it is killed.
    ///
    /// # Errors
    /// The engine does not answer, or somebody else has removed the container: what it did is not known then.
    pub(super) fn wait(&self, limit: Duration) -> Result<Ended, String> {
        let start = Instant::now();
        let options = WaitContainerOptionsBuilder::new().condition("not-running").build();
        let docker = &self.connection.docker;
        let waited = async {
            let mut stream = std::pin::pin!(docker.wait_container(&self.id, Some(options)));
            match stream.next().await {
                Some(Ok(answer)) => Ok(Some(answer.status_code)),
                // The client takes an exit code that is not 0 for an error.
                Some(Err(bollard::errors::Error::DockerContainerWaitError { code, .. })) => Ok(Some(code)),
                Some(Err(error)) => Err(error),
                None => Ok(None),
            }
        };
        let in_time = async {
            Ok(match tokio::time::timeout(limit, waited).await {
                Ok(ended) => ended?,
                Err(_) => None,
            })
        };
        let exit_code = self.connection.within(limit + PATIENCE, in_time)?;
        let duration = start.elapsed();
        if exit_code.is_none() {
            let none = None::<bollard::query_parameters::KillContainerOptions>;
            // It may have ended just now.
            let _ = self.connection.within(PATIENCE, docker.kill_container(&self.id, none));
        }
        Ok(Ended { exit_code, duration, output: self.output()? })
    }

    /// The end of its output.
    fn output(&self) -> Result<String, String> {
        let options = LogsOptionsBuilder::new().stdout(true).stderr(true).tail("400").build();
        let docker = &self.connection.docker;
        let read = async {
            let mut stream = std::pin::pin!(docker.logs(&self.id, Some(options)));
            let mut output: Vec<u8> = Vec::new();
            while let Some(piece) = stream.next().await {
                let (LogOutput::StdOut { message }
                | LogOutput::StdErr { message }
                | LogOutput::Console { message }
                | LogOutput::StdIn { message }) = piece?;
                output.extend_from_slice(&message);
                if output.len() > 2 * MOST_OUTPUT {
                    output.drain(..output.len() - MOST_OUTPUT);
                }
            }
            Ok::<_, bollard::errors::Error>(output)
        };
        let output =
            self.connection.within(PATIENCE, read).map_err(|why| format!("its output cannot be had: {why}"))?;
        Ok(String::from_utf8_lossy(&output[output.len().saturating_sub(MOST_OUTPUT)..]).into_owned())
    }
}

impl Drop for Container<'_> {
    fn drop(&mut self) {
        // One that cannot be removed now is told of at the end of the run.
        let _ = owner::remove(self.connection, &self.id);
    }
}

/// The id of an image that the engine has.
pub(super) fn find(connection: &Connection, name: &str) -> Option<String> {
    let found = connection.within(PATIENCE, connection.docker.inspect_image(name)).ok()?;
    Some(found.id.unwrap_or_else(|| name.to_owned()))
}

/// Has the engine fetch an image; gives its id.
///
/// # Errors
/// What the engine says.
pub(super) fn pull(
    connection: &Connection,
    name: &str,
    login: Option<&Login>,
    progress: Option<fn(u64, u64)>,
) -> Result<String, String> {
    // As docker does, but never over a wire that others can read.
    let login = login.filter(|_| connection.endpoint.is_private()).map(|login| DockerCredentials {
        username: login.user.clone(),
        password: login.password.clone(),
        identitytoken: login.identity_token.clone(),
        registrytoken: login.registry_token.clone(),
        serveraddress: Some(login.registry.clone()),
        ..DockerCredentials::default()
    });
    let options = bollard::query_parameters::CreateImageOptionsBuilder::new().from_image(name).build();
    let pull = async {
        let mut layers: HashMap<String, (u64, u64)> = HashMap::new();
        let mut stream = std::pin::pin!(connection.docker.create_image(Some(options), None, login));
        while let Some(step) = stream.next().await {
            let step = step?;
            if let Some(detail) = step.error_detail {
                return Ok(Err(detail.message.unwrap_or_default()));
            }
            let bytes = step.progress_detail.and_then(|detail| detail.current.zip(detail.total));
            if let (Some(id), Some((current, total)), Some(tell)) = (step.id, bytes, progress)
                && step.status.as_deref() == Some("Downloading")
                && layers.len() < MOST_LAYERS
            {
                let known = |number: i64| u64::try_from(number).unwrap_or_default();
                layers.insert(id, (known(current), known(total)));
                let sum = |of: fn(&(u64, u64)) -> u64| layers.values().map(of).fold(0, u64::saturating_add);
                tell(sum(|layer| layer.0), sum(|layer| layer.1));
            }
        }
        Ok::<Result<(), String>, bollard::errors::Error>(Ok(()))
    };
    connection.within(PULL, pull)??;
    find(connection, name).ok_or_else(|| "it was fetched, and yet the engine does not have it".to_owned())
}
