//! A registry that holds one tag, `documents:latest`, and a few blobs, and answers as a registry should: for documents
//! that no image is made around.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};

use imglint::digest::Digest;

/// A running registry; its thread ends with the test's process.
pub struct StillRegistry {
    /// The reference of its one image.
    pub image: String,
}

impl StillRegistry {
    /// Serves `manifest` as the tag's, with this Content-Type, and each of `others` by its digest, as manifest or blob.
    pub fn serve(manifest: &[u8], content_type: &str, others: &[&[u8]]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let image = format!("docker://{}/documents:latest", listener.local_addr().unwrap());
        let content_type = content_type.to_owned();
        let mut stored: HashMap<String, Vec<u8>> = HashMap::from([("latest".to_owned(), manifest.to_vec())]);
        for bytes in others.iter().copied().chain([manifest]) {
            stored.insert(Digest::of(bytes).to_string(), bytes.to_vec());
        }
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // A client that goes away is no concern of this server.
                let _ = answer(stream, &content_type, &stored);
            }
        });
        Self { image }
    }
}

fn answer(mut stream: TcpStream, content_type: &str, stored: &HashMap<String, Vec<u8>>) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut request = String::new();
    reader.read_line(&mut request)?;
    let mut line = String::new();
    while reader.read_line(&mut line)? > 2 {
        line.clear();
    }
    let mut words = request.split(' ');
    let (method, path) = (words.next().unwrap_or(""), words.next().unwrap_or(""));
    let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
    let (status, content_type, body) = match stored.get(name) {
        _ if path == "/v2/" => ("200 OK", "application/json", b"{}".as_slice()),
        Some(found) if folder.ends_with("/manifests") => {
            ("200 OK", media_type(found).unwrap_or(content_type), &found[..])
        }
        Some(found) => ("200 OK", "application/octet-stream", &found[..]),
        None => (
            "404 Not Found",
            "application/json",
            br#"{"errors":[{"code":"NOT_FOUND","message":"not here"}]}"#.as_slice(),
        ),
    };
    write!(
        stream,
        "HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    )?;
    if method != "HEAD" {
        stream.write_all(body)?;
    }
    Ok(())
}

/// The media type that a document gives itself, as a registry would send it.
fn media_type(document: &[u8]) -> Option<&'static str> {
    let value: serde_json::Value = serde_json::from_slice(document).ok()?;
    [
        "application/vnd.oci.image.index.v1+json",
        "application/vnd.oci.image.manifest.v1+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
        "application/vnd.docker.distribution.manifest.v2+json",
    ]
    .into_iter()
    .find(|known| value["mediaType"] == *known)
}
