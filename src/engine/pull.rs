//! The image in the engine: found by its digest, or fetched.

use std::collections::HashMap;
use std::time::Duration;

use bollard::auth::DockerCredentials;
use futures_util::StreamExt;

use super::connection::Connection;
use crate::image::registry::Login;

/// The longest time that an engine may take to fetch an image.
const PULL: Duration = Duration::from_secs(3600);
/// Of how many layers the progress is reported.
const MOST_LAYERS: usize = 1000;

/// The id of an image that the engine has.
pub(super) fn find(connection: &Connection, name: &str, patience: Duration) -> Option<String> {
    let found = connection.within(patience, connection.docker.inspect_image(name)).ok()?;
    Some(found.id.unwrap_or_else(|| name.to_owned()))
}

/// Has the engine fetch an image, which may take as long as it makes progress within `patience`. Returns its id.
///
/// # Errors
/// What the engine says.
pub(super) fn pull(
    connection: &Connection,
    name: &str,
    login: Option<&Login>,
    progress: Option<fn(u64, u64)>,
    patience: Duration,
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
        loop {
            let step = match tokio::time::timeout(patience, stream.next()).await {
                Ok(Some(step)) => step?,
                Ok(None) => break,
                Err(_) => return Ok(Err(format!("the engine made no progress within {} s", patience.as_secs()))),
            };
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
    find(connection, name, patience).ok_or_else(|| "the engine fetched it and still does not have it".to_owned())
}
