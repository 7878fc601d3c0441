//! One container: created, given its files, started, waited for, listened to, removed. Nothing of the host is mounted.

use std::cell::Cell;
use std::collections::HashMap;
use std::time::{Duration, Instant};

use bollard::container::LogOutput;
use bollard::models::{ContainerCreateBody, HealthConfig, HostConfig, HostConfigLogConfig};
use bollard::query_parameters::{
    CreateContainerOptionsBuilder, DownloadFromContainerOptionsBuilder, LogsOptionsBuilder,
    UploadToContainerOptionsBuilder, WaitContainerOptionsBuilder,
};
use futures_util::StreamExt;
use futures_util::future::{Either, select};

use super::connection::Connection;
use super::home::Files;
use super::limits::{DISK, Limits};
use super::owner;
use super::taken::OneFile;
use super::usage::usage;

/// How long an engine may take to say what a container that has ended did.
const AFTERWARDS: Duration = Duration::from_secs(10);
/// The most output that is listened to, in bytes, from the end.
pub(super) const MOST_OUTPUT: usize = 64 << 10;
/// How often the engine is asked what a container has written: short ones are over before.
const WATCHED_EVERY: Duration = Duration::from_millis(500);
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
    /// What it is given.
    pub files: Files,
    pub has_network: bool,
    /// `UID:GID` in place of the image's own user.
    pub user: Option<String>,
    /// Whether its processes are root's.
    pub is_root: bool,
    /// Whether it runs a .NET program.
    pub is_dotnet: bool,
}

/// A container that was created; removed when it is dropped.
pub(super) struct Container<'a> {
    connection: &'a Connection,
    id: String,
    /// How long the engine may take for one request.
    patience: Duration,
    /// What it may write, in bytes.
    most_written: u64,
    /// How often the engine was asked how much it wrote, and how often it said so.
    watched: Cell<(u32, u32)>,
    /// What the engine said when it made it.
    pub warnings: Vec<String>,
}

/// How a container ended.
#[derive(Debug)]
pub(super) struct Ended {
    /// Its exit code; `None` if it had to be stopped.
    pub exit_code: Option<i64>,
    pub duration: Duration,
    /// The end of its output, both streams.
    pub output: String,
    /// Why it had to be stopped.
    pub stopped: Option<Stop>,
    /// False if the engine did not say how much it wrote.
    pub is_watched: bool,
}

/// Why a container had to be stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// Its time was over.
    Time,
    /// It wrote more than it may.
    Disk,
}

impl<'a> Container<'a> {
    /// Creates a container and gives it its files.
    ///
    /// # Errors
    /// What the engine says.
    pub(super) fn create(
        connection: &'a Connection,
        wanted: &Wanted,
        limits: &Limits,
        patience: Duration,
    ) -> Result<Self, String> {
        let log = HashMap::from([("max-size".to_owned(), "1m".to_owned())]);
        let mut host_config = HostConfig {
            network_mode: (!wanted.has_network).then(|| "none".to_owned()),
            cap_drop: Some(vec!["ALL".to_owned()]),
            // Others have none anyway, but Podman would give them those that are added.
            cap_add: wanted.is_root.then(|| CAPABILITIES.map(str::to_owned).into()),
            security_opt: Some(vec!["no-new-privileges".to_owned()]),
            log_config: Some(HostConfigLogConfig { typ: Some("json-file".to_owned()), config: Some(log) }),
            ..HostConfig::default()
        };
        limits.set(&mut host_config, wanted.is_dotnet);
        let making = owner::making();
        let identity = owner::identity(&making, connection)?;
        let body = ContainerCreateBody {
            image: Some(wanted.image.clone()),
            entrypoint: wanted.entrypoint.clone(),
            user: wanted.user.clone(),
            cmd: Some(wanted.command.clone()),
            env: Some(wanted.env.clone()),
            working_dir: Some(wanted.working_dir.clone()),
            // Nothing of the image runs next to imglint's own program.
            healthcheck: Some(HealthConfig { test: Some(vec!["NONE".to_owned()]), ..HealthConfig::default() }),
            labels: Some(HashMap::from([(owner::LABEL.to_owned(), identity.label.clone())])),
            host_config: Some(host_config),
            ..ContainerCreateBody::default()
        };
        let options = CreateContainerOptionsBuilder::new().name(&identity.name).build();
        let made = connection.within(patience, connection.docker.create_container(Some(options), body));
        let made = made.inspect_err(|why| owner::refused(&making, connection, &identity, why))?;
        owner::created(&making, connection, &identity, &made.id);
        drop(making);
        let most_written = DISK.saturating_add(wanted.files.size());
        let container = Self {
            connection,
            id: made.id,
            patience,
            most_written,
            watched: Cell::new((0, 0)),
            warnings: made.warnings,
        };
        container.give(&wanted.files)?;
        Ok(container)
    }

    /// Unpacks files in it.
    fn give(&self, files: &Files) -> Result<(), String> {
        let options = UploadToContainerOptionsBuilder::new().path("/").build();
        let pieces = futures_util::stream::iter(files.archive().map(|piece| piece.map(Into::into)));
        let body = bollard::body_try_stream(pieces);
        let given = self.connection.docker.upload_to_container(&self.id, Some(options), body);
        self.connection.within(self.patience, given).map_err(|why| format!("{NOT_GIVEN}{why}"))
    }

    /// Starts it.
    ///
    /// # Errors
    /// What the engine says: the command is not there, or cannot be run.
    pub(super) fn start(&self) -> Result<(), String> {
        let none = None::<bollard::query_parameters::StartContainerOptions>;
        self.connection.within(self.patience, self.connection.docker.start_container(&self.id, none))
    }

    /// Waits for its end; it is killed when the time is over, or when it has written too much.
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
        let watched = async {
            match tokio::time::timeout(limit, self.writes_too_much()).await {
                Ok(()) => Stop::Disk,
                Err(_) => Stop::Time,
            }
        };
        let first = async {
            match select(std::pin::pin!(waited), std::pin::pin!(watched)).await {
                Either::Left((ended, _)) => ended.map(|code| (code, code.is_none().then_some(Stop::Time))),
                Either::Right((stop, _)) => Ok((None, Some(stop))),
            }
        };
        let (exit_code, stopped) = self.connection.within(limit + AFTERWARDS, first)?;
        let duration = start.elapsed();
        if exit_code.is_none() {
            let none = None::<bollard::query_parameters::KillContainerOptions>;
            // It may have ended just now.
            let _ = self.connection.within(AFTERWARDS, docker.kill_container(&self.id, none));
        }
        // One that is about to end may be gone when the engine counts.
        let is_watched = !matches!(self.watched.get(), (3.., 0));
        Ok(Ended { exit_code, duration, output: self.output()?, stopped, is_watched })
    }

    /// Returns once it has written more than it may.
    async fn writes_too_much(&self) {
        loop {
            tokio::time::sleep(WATCHED_EVERY).await;
            let used = usage(self.connection, &self.id).await;
            let (asked, answered) = self.watched.get();
            self.watched.set((asked + 1, answered + u32::from(used.is_some_and(|used| used.is_whole))));
            if used.is_some_and(|used| used.bytes > self.most_written) {
                return;
            }
        }
    }

    /// What the engine says of the limits that it holds; `None` if it does not answer.
    pub(super) fn host_config(&self) -> Option<HostConfig> {
        let none = None::<bollard::query_parameters::InspectContainerOptions>;
        let seen = self.connection.within(AFTERWARDS, self.connection.docker.inspect_container(&self.id, none));
        seen.ok()?.host_config
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
            self.connection.within(AFTERWARDS, read).map_err(|why| format!("its output cannot be read: {why}"))?;
        Ok(String::from_utf8_lossy(&output[output.len().saturating_sub(MOST_OUTPUT)..]).into_owned())
    }

    /// One small plain file of a container that has ended.
    ///
    /// # Errors
    /// It is not a plain file of at most `most` bytes, or the engine does not give it: the rest of a sentence.
    pub(super) fn file(&self, folder: &str, name: &str, most: usize) -> Result<Vec<u8>, String> {
        let options = DownloadFromContainerOptionsBuilder::new().path(&format!("{folder}/{name}")).build();
        let docker = &self.connection.docker;
        let read = async {
            let mut stream = std::pin::pin!(docker.download_from_container(&self.id, Some(options)));
            let mut file = OneFile::new(name, most);
            while let Some(piece) = stream.next().await {
                if let Err(why) = file.piece(&piece?) {
                    return Ok(Err(why));
                }
            }
            Ok::<_, bollard::errors::Error>(file.end())
        };
        self.connection.within(AFTERWARDS, read)?
    }
}

/// How the reasons begin that a container was not given its files.
pub(super) const NOT_GIVEN: &str = "its files could not be unpacked: ";

impl Drop for Container<'_> {
    fn drop(&mut self) {
        // One that cannot be removed now is reported at the end of the run.
        let _ = owner::remove(self.connection, &self.id);
    }
}
