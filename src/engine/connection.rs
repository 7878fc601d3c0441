//! A connection to an engine that answers, and what the engine is.

use std::future::Future;
use std::time::Duration;

use bollard::Docker;
use tokio::runtime::Runtime;

use crate::image::endpoints::{Endpoint, Misnamed, endpoints, open};
use crate::printable::excerpt;

/// How long an engine may take to say what it is.
const PATIENCE: Duration = Duration::from_secs(15);

/// An engine that answers.
pub struct Connection {
    pub(super) docker: Docker,
    runtime: Runtime,
    /// Where it listens.
    pub endpoint: Endpoint,
    /// What it is.
    pub about: About,
    /// What tells it from other engines: its own id, or else where it listens.
    pub(super) key: String,
}

/// What an engine is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct About {
    /// `docker` or `podman`.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The operating system of its containers, as Go's GOOS.
    pub os: String,
    /// The architecture of its machine, as Go's GOARCH.
    pub architecture: String,
    /// Whether it runs without root's rights.
    pub is_rootless: bool,
}

/// An endpoint that gave no engine.
#[derive(Debug)]
pub struct Unreachable {
    /// Which.
    pub endpoint: Box<Endpoint>,
    /// Why, a part of a sentence.
    pub why: String,
}

/// Asks every endpoint that there may be, in order.
///
/// # Errors
/// An engine is named that cannot be found.
pub fn all(engine: Option<&str>) -> Result<impl Iterator<Item = Result<Connection, Unreachable>>, Misnamed> {
    let ask = |endpoint: Endpoint| {
        Connection::open(&endpoint).map_err(|why| Unreachable { endpoint: Box::new(endpoint), why })
    };
    Ok(endpoints(engine)?.into_iter().map(ask))
}

impl Connection {
    /// The first engine that answers.
    ///
    /// # Errors
    /// None does: a line that says what was tried. Or an engine is named that cannot be found.
    pub fn first(engine: Option<&str>) -> Result<Self, String> {
        let mut tried = Vec::new();
        for answer in all(engine).map_err(|misnamed| misnamed.why)? {
            match answer {
                Ok(connection) => return Ok(connection),
                Err(silent) => tried.push(format!("{}: {}", silent.endpoint.url, silent.why)),
            }
        }
        Err(format!("no container engine answers ({})", tried.join("; ")))
    }

    /// Asks an engine what it is.
    ///
    /// # Errors
    /// It does not answer in time, or not as an engine does: a part of a sentence.
    pub fn open(endpoint: &Endpoint) -> Result<Self, String> {
        let (docker, runtime) = open(endpoint)?;
        let asked = runtime.block_on(async {
            let ask = async {
                let docker = docker.negotiate_version().await?;
                // Podman on Debian looks its parts up in the package database for each answer, which takes time.
                let (version, info) = tokio::try_join!(docker.version(), docker.info())?;
                Ok::<_, bollard::errors::Error>((docker, version, info))
            };
            tokio::time::timeout(PATIENCE, ask).await
        });
        let (docker, version, info) = match asked {
            Err(_) => return Err(format!("no answer within {} s", PATIENCE.as_secs())),
            Ok(Err(error)) => return Err(excerpt(&error.to_string(), 200)),
            Ok(Ok(answers)) => answers,
        };
        let is_podman =
            version.components.iter().flatten().any(|part| part.name.to_ascii_lowercase().contains("podman"));
        let is_rootless = info.security_options.iter().flatten().any(|option| option.contains("rootless"));
        let about = About {
            name: if is_podman { "podman" } else { "docker" }.to_owned(),
            version: version.version.unwrap_or_default(),
            os: version.os.or(info.os_type).unwrap_or_default(),
            architecture: version.arch.unwrap_or_default(),
            is_rootless,
        };
        // Podman makes up another id for each answer.
        let id = info.id.filter(|id| !is_podman && !id.is_empty()).map(|id| excerpt(&id, 200));
        let key = id.unwrap_or_else(|| endpoint.url.clone());
        Ok(Self { docker, runtime, endpoint: endpoint.clone(), about, key })
    }

    /// Asks the engine something, but waits no longer than this. The error is `None` where the time is over.
    pub(super) fn asked<T>(
        &self,
        time: Duration,
        work: impl Future<Output = Result<T, bollard::errors::Error>>,
    ) -> Result<T, Option<bollard::errors::Error>> {
        let answer = self.runtime.block_on(async { tokio::time::timeout(time, work).await });
        answer.map_err(|_| None)?.map_err(Some)
    }

    /// Waits for something of the engine, but no longer than this.
    ///
    /// # Errors
    /// The engine refuses, or the time is over: a part of a sentence.
    pub(super) fn within<T>(
        &self,
        time: Duration,
        work: impl Future<Output = Result<T, bollard::errors::Error>>,
    ) -> Result<T, String> {
        self.asked(time, work).map_err(|error| match error {
            None => format!("{SILENCE}not within {} s", time.as_secs()),
            Some(error) => said(&error),
        })
    }
}

/// How the reasons begin that no engine has given.
const SILENCE: &str = "no answer of the engine: ";

/// Whether a reason is that the engine did not answer.
pub(super) fn is_silent(why: &str) -> bool {
    why.starts_with(SILENCE)
}

/// What an engine says, without the client's own words around it.
pub(super) fn said(error: &bollard::errors::Error) -> String {
    match error {
        bollard::errors::Error::DockerResponseServerError { message, .. } => excerpt(message, 600),
        other => format!("{SILENCE}{}", excerpt(&other.to_string(), 400)),
    }
}
