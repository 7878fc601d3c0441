//! A registry inside the test process, in plain HTTP/1.1 by hand, that answers whatever a test wants, true or not.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned};

/// A request as it arrived.
#[derive(Clone, Debug)]
pub struct Seen {
    /// `GET` or `POST`.
    pub method: String,
    /// Path and query.
    pub path: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body, as text.
    pub body: String,
}

impl Seen {
    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The first byte of the range asked for, 0 for all.
    pub fn from(&self) -> usize {
        let range = self.header("range").and_then(|text| text.strip_prefix("bytes="));
        range.and_then(|text| text.strip_suffix('-')).map_or(0, |text| text.parse().unwrap())
    }

    /// The part asked for, if its end is said.
    pub fn part(&self) -> Option<Range<usize>> {
        let (first, last) = self.header("range")?.strip_prefix("bytes=")?.split_once('-')?;
        Some(first.parse().ok()?..last.parse::<usize>().ok()? + 1)
    }
}

/// What to answer.
pub struct Reply {
    status: u16,
    headers: Vec<(String, String)>,
    body: Body,
}

enum Body {
    /// Byte by byte.
    Slow(Vec<u8>, Duration),
    /// All of it, with its length.
    Whole(Vec<u8>),
    /// All of it, in chunks, its length unsaid.
    Chunked(Vec<u8>),
    /// These bytes, then the connection is closed though more were announced.
    Cut(Vec<u8>, usize),
    /// Bytes without end.
    Endless,
    /// These bytes of more, then silence.
    Silence(Vec<u8>, usize),
}

impl Reply {
    /// A status with a body.
    pub fn new(status: u16, body: impl AsRef<[u8]>) -> Self {
        Self { status, headers: Vec::new(), body: Body::Whole(body.as_ref().to_vec()) }
    }

    /// 200 with a body.
    pub fn ok(body: impl AsRef<[u8]>) -> Self {
        Self::new(200, body)
    }

    /// A redirect.
    pub fn redirect(location: impl Into<String>) -> Self {
        Self::new(307, "").with("Location", location)
    }

    /// 401 with a challenge.
    pub fn challenge(challenge: impl Into<String>) -> Self {
        Self::error(401, "UNAUTHORIZED", "authentication required").with("WWW-Authenticate", challenge)
    }

    /// An error in the specification's form.
    pub fn error(status: u16, code: &str, message: &str) -> Self {
        let body = serde_json::json!({"errors": [{"code": code, "message": message}]});
        Self::new(status, body.to_string()).with("Content-Type", "application/json")
    }

    /// 206 with the rest of `whole`.
    pub fn rest(whole: &[u8], from: usize) -> Self {
        let range = format!("bytes {from}-{}/{}", whole.len() - 1, whole.len());
        Self::new(206, &whole[from..]).with("Content-Range", range)
    }

    /// 206 with a part of `whole`, or 416.
    pub fn part(whole: &[u8], part: Range<usize>) -> Self {
        let range = format!("bytes {}-{}/{}", part.start, part.end - 1, whole.len());
        match whole.get(part) {
            Some(bytes) => Self::new(206, bytes).with("Content-Range", range),
            None => Self::new(416, ""),
        }
    }

    /// With a header.
    pub fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    /// Only the first `count` bytes of the body are sent, then the connection is closed.
    pub fn cut_after(mut self, count: usize) -> Self {
        if let Body::Whole(bytes) = self.body {
            self.body = Body::Cut(bytes[..count].to_vec(), bytes.len());
        }
        self
    }

    /// Only the first `count` bytes of the body are sent, then nothing more.
    pub fn silent_after(mut self, count: usize) -> Self {
        if let Body::Whole(bytes) = self.body {
            self.body = Body::Silence(bytes[..count].to_vec(), bytes.len());
        }
        self
    }

    /// The length of the body is not said.
    pub fn chunked(mut self) -> Self {
        if let Body::Whole(bytes) = self.body {
            self.body = Body::Chunked(bytes);
        }
        self
    }

    /// The body is sent byte by byte, with a pause before each.
    pub fn slowly(mut self, pause: Duration) -> Self {
        if let Body::Whole(bytes) = self.body {
            self.body = Body::Slow(bytes, pause);
        }
        self
    }

    /// A body without end.
    pub fn endless(mut self) -> Self {
        self.body = Body::Endless;
        self
    }
}

/// A registry that listens on 127.0.0.1 until the test process ends.
pub struct LyingRegistry {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl LyingRegistry {
    /// Starts one that answers every request but the first look at `/v2/` with what `answer` makes of it.
    pub fn start(answer: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> Self {
        Self::listen(None, answer)
    }

    /// As [`start`](Self::start), with TLS by the certificate in `tls/`; with `client_certificate` only for those who
    /// show the one there.
    pub fn start_tls(client_certificate: bool, answer: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> Self {
        Self::listen(Some(Arc::new(tls(client_certificate))), answer)
    }

    fn listen(tls: Option<Arc<ServerConfig>>, answer: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (answer, log) = (Arc::new(answer), Arc::clone(&seen));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (answer, log, tls) = (Arc::clone(&answer), Arc::clone(&log), tls.clone());
                thread::spawn(move || {
                    stream.set_nodelay(true).unwrap();
                    // A client that goes away is none of the server's business.
                    let _ = match tls {
                        None => serve(stream, &*answer, &log),
                        Some(tls) => {
                            serve(StreamOwned::new(ServerConnection::new(tls).unwrap(), stream), &*answer, &log)
                        }
                    };
                });
            }
        });
        Self { address, seen }
    }

    /// `127.0.0.1:PORT`.
    pub fn host(&self) -> String {
        self.address.to_string()
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// What was asked, but for the first look at `/v2/`.
    pub fn seen(&self) -> Vec<Seen> {
        let seen = self.seen.lock().unwrap();
        seen.iter().skip_while(|seen| seen.path == "/v2/").cloned().collect()
    }
}

/// The path of a file in `tls/`.
pub fn tls_file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/tls").join(name)
}

fn tls(client_certificate: bool) -> ServerConfig {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let certificates =
        |name| -> Vec<_> { CertificateDer::pem_file_iter(tls_file(name)).unwrap().map(Result::unwrap).collect() };
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions();
    let builder = builder.unwrap();
    let builder = if client_certificate {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(certificates("authority.pem"));
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
        builder.with_client_cert_verifier(verifier.unwrap())
    } else {
        builder.with_no_client_auth()
    };
    builder
        .with_single_cert(certificates("server.pem"), PrivateKeyDer::from_pem_file(tls_file("server.key")).unwrap())
        .unwrap()
}

fn serve(stream: impl Read + Write, answer: &dyn Fn(&Seen) -> Reply, log: &Mutex<Vec<Seen>>) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    if reader.fill_buf()?.first() == Some(&0x16) {
        // What Go's server says to a TLS greeting.
        return reader
            .get_mut()
            .write_all(b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n");
    }
    while let Some(seen) = request(&mut reader)? {
        let first_look = seen.path == "/v2/" && log.lock().unwrap().is_empty();
        log.lock().unwrap().push(seen.clone());
        let reply = if first_look { Reply::ok("{}") } else { answer(&seen) };
        if !send(reader.get_mut(), reply)? {
            return Ok(());
        }
    }
    Ok(())
}

fn request(reader: &mut impl BufRead) -> std::io::Result<Option<Seen>> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut words = line.split_whitespace();
    let (method, path) = (words.next().unwrap().to_owned(), words.next().unwrap().to_owned());
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        match line.trim_end().split_once(": ") {
            Some((name, value)) => headers.push((name.to_ascii_lowercase(), value.to_owned())),
            None => break,
        }
    }
    let mut seen = Seen { method, path, headers, body: String::new() };
    let length = seen.header("content-length").map_or(0, |text| text.parse().unwrap());
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    seen.body = String::from_utf8_lossy(&body).into_owned();
    Ok(Some(seen))
}

/// Sends a reply; says whether the connection can go on.
fn send(stream: &mut (impl Read + Write), reply: Reply) -> std::io::Result<bool> {
    let mut head = format!("HTTP/1.1 {} Status\r\n", reply.status);
    for (name, value) in &reply.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str(&match &reply.body {
        Body::Whole(bytes) | Body::Slow(bytes, _) => format!("Content-Length: {}\r\n\r\n", bytes.len()),
        Body::Cut(_, length) | Body::Silence(_, length) => format!("Content-Length: {length}\r\n\r\n"),
        Body::Chunked(_) | Body::Endless => "Transfer-Encoding: chunked\r\n\r\n".to_owned(),
    });
    stream.write_all(head.as_bytes())?;
    match reply.body {
        Body::Whole(bytes) => stream.write_all(&bytes).map(|()| true),
        Body::Cut(bytes, _) => stream.write_all(&bytes).map(|()| false),
        Body::Chunked(bytes) => {
            for piece in bytes.chunks(1000) {
                chunk(stream, piece)?;
            }
            stream.write_all(b"0\r\n\r\n").map(|()| true)
        }
        Body::Slow(bytes, pause) => {
            for byte in bytes {
                std::thread::sleep(pause);
                stream.write_all(&[byte])?;
            }
            Ok(true)
        }
        Body::Silence(bytes, _) => {
            stream.write_all(&bytes)?;
            // Until the client gives up.
            stream.read(&mut [0]).map(|_| false)
        }
        Body::Endless => loop {
            chunk(stream, &[b' '; 64 * 1024])?;
        },
    }
}

fn chunk(stream: &mut impl Write, bytes: &[u8]) -> std::io::Result<()> {
    stream.write_all(format!("{:x}\r\n", bytes.len()).as_bytes())?;
    stream.write_all(bytes)?;
    stream.write_all(b"\r\n")
}
