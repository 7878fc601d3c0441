//! How much disk a container uses, as its engine counts it: its own layer, and the volumes that its image declares.

use std::time::Duration;

use bollard::query_parameters::InspectContainerOptionsBuilder;
use serde::Deserialize;

use super::connection::Connection;

/// How long the engine may take to count.
const PATIENCE: Duration = Duration::from_secs(20);
/// The largest answer about volumes, in bytes.
const LARGEST_ANSWER: u64 = 16 << 20;

/// What a container uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Usage {
    /// Bytes in its layer and in its volumes.
    pub bytes: u64,
    /// False if it has volumes and the engine does not say how large they are.
    pub is_whole: bool,
}

/// Asks the engine. `None` if it does not answer.
pub(super) async fn usage(connection: &Connection, id: &str) -> Option<Usage> {
    let options = InspectContainerOptionsBuilder::new().size(true).build();
    let asked = connection.docker.inspect_container(id, Some(options));
    let seen = tokio::time::timeout(PATIENCE, asked).await.ok()?.ok()?;
    let own = seen.size_rw.and_then(|size| u64::try_from(size).ok());
    let volumes: Vec<String> = seen
        .mounts
        .into_iter()
        .flatten()
        .filter(|mount| mount.typ.as_deref() == Some("volume"))
        .filter_map(|mount| mount.name)
        .collect();
    if volumes.is_empty() {
        return Some(Usage { bytes: own?, is_whole: true });
    }
    let of_volumes = tokio::time::timeout(PATIENCE, of_volumes(connection, &volumes)).await.ok().flatten();
    let bytes = own.unwrap_or_default().saturating_add(of_volumes.unwrap_or_default());
    Some(Usage { bytes, is_whole: own.is_some() && of_volumes.is_some() })
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    #[serde(default)]
    volumes: Option<Vec<Volume>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Volume {
    name: String,
    usage_data: Option<UsageData>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct UsageData {
    size: i64,
}

/// The bytes in these volumes, out of an answer of `/system/df`. `None` if one of them is not in it.
fn sum(answer: &[u8], names: &[String]) -> Option<u64> {
    let answer: Answer = serde_json::from_slice(answer).ok()?;
    let all = answer.volumes?;
    let size = |name: &String| {
        let volume = all.iter().find(|volume| volume.name == *name)?;
        u64::try_from(volume.usage_data.as_ref()?.size).ok()
    };
    names.iter().map(size).try_fold(0_u64, |sum, size| Some(sum.saturating_add(size?)))
}

/// The client library knows only the newest form of this answer, so it is read here. Sockets of this machine only.
#[cfg(unix)]
async fn of_volumes(connection: &Connection, names: &[String]) -> Option<u64> {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let path = connection.endpoint.url.strip_prefix("unix://")?;
    let mut stream = tokio::net::UnixStream::connect(path).await.ok()?;
    let version = connection.docker.client_version();
    // The last version whose answer has this form is 1.51.
    let (major, minor) = (version.major_version, version.minor_version.min(51));
    let request = format!("GET /v{major}.{minor}/system/df?type=volume HTTP/1.0\r\nHost: engine\r\n\r\n");
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut answer = Vec::new();
    stream.take(LARGEST_ANSWER).read_to_end(&mut answer).await.ok()?;
    let start = answer.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    sum(&answer[start..], names)
}

#[cfg(not(unix))]
async fn of_volumes(_: &Connection, _: &[String]) -> Option<u64> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn volumes_are_summed_by_name() {
        let answer = br#"{"LayersSize": 5, "Volumes": [
            {"Name": "a", "UsageData": {"Size": 7, "RefCount": 1}},
            {"Name": "b", "UsageData": {"Size": 100, "RefCount": 1}},
            {"Name": "c", "UsageData": {"Size": -1, "RefCount": -1}}]}"#;
        let of = |names: &[&str]| sum(answer, &names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>());
        assert_eq!(of(&["a", "b"]), Some(107));
        assert_eq!(of(&["a", "c"]), None, "the engine does not know");
        assert_eq!(of(&["d"]), None);
        assert_eq!(sum(b"HTTP/1.0 500", &[]), None);
    }
}
