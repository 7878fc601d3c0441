//! A connection to a Redis server, with one deadline for a question and its whole answer.

use std::io::{self, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream, ToSocketAddrs as _};
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

use reqwest::Url;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use super::super::seconds;
use super::answers::{Answers, Trouble};
use crate::printable::excerpt;

/// The port that a server listens on usually.
const PORT: u16 = 6379;
/// The first byte of an alert (RFC 8446, section 5.1), which a server that speaks TLS sends to one that does not.
const ALERT: u8 = 21;
/// The longest message of a server that is repeated, in characters.
const LONGEST: usize = 300;

/// A connection.
pub(super) struct Connection {
    stream: BufReader<Stream>,
    time: Duration,
    /// Whether the server has not answered yet.
    is_new: bool,
}

enum Stream {
    Plain(Timed),
    Tls(Box<StreamOwned<ClientConnection, Timed>>),
}

/// A stream that gives up at a point in time, however often something comes before it.
struct Timed {
    stream: TcpStream,
    end: Instant,
}

impl Timed {
    fn left(&self) -> io::Result<Duration> {
        let left = self.end.saturating_duration_since(Instant::now());
        if left.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(left) }
    }
}

/// The systems call it by different names.
fn timed_out(error: io::Error) -> io::Error {
    if error.kind() == io::ErrorKind::WouldBlock { io::ErrorKind::TimedOut.into() } else { error }
}

impl Read for Timed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream.set_read_timeout(Some(self.left()?))?;
        self.stream.read(buffer).map_err(timed_out)
    }
}

impl Write for Timed {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.stream.set_write_timeout(Some(self.left()?))?;
        self.stream.write(buffer).map_err(timed_out)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

impl Stream {
    fn timed(&mut self) -> &mut Timed {
        match self {
            Self::Plain(timed) => timed,
            Self::Tls(tls) => &mut tls.sock,
        }
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.read(buffer),
            Self::Tls(stream) => stream.read(buffer),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.write(buffer),
            Self::Tls(stream) => stream.write(buffer),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(stream) => stream.flush(),
            Self::Tls(stream) => stream.flush(),
        }
    }
}

impl Connection {
    /// Connects to the server of an address, with TLS if it asks for that. There is `time` for this and all that follows
    /// until [`begin`](Self::begin).
    ///
    /// # Errors
    /// It cannot be reached, or speaks no TLS. The error is the end of a sentence.
    pub(super) fn open(url: &Url, time: Duration) -> Result<Self, String> {
        let end = Instant::now() + time;
        let host = url.host_str().unwrap_or_default().trim_start_matches('[').trim_end_matches(']').to_owned();
        let late = || format!("no answer within {}", seconds(time));
        let mut last = "its name stands for no address".to_owned();
        for address in addresses(&host, url.port().unwrap_or(PORT), end).ok_or_else(late)?? {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(late());
            }
            match TcpStream::connect_timeout(&address, left) {
                Ok(stream) => {
                    // A question is one packet.
                    let _ = stream.set_nodelay(true);
                    let timed = Timed { stream, end };
                    let stream = match url.scheme() {
                        "rediss" => with_tls(&host, timed, time)?,
                        _ => Stream::Plain(timed),
                    };
                    return Ok(Self { stream: BufReader::new(stream), time, is_new: true });
                }
                Err(error) if error.kind() == io::ErrorKind::TimedOut => last = late(),
                Err(error) => last = error.to_string(),
            }
        }
        Err(last)
    }

    /// Begins a question: there is `time` for it and its whole answer.
    pub(super) fn begin(&mut self, time: Duration) {
        self.time = time;
        self.is_new = false;
        self.stream.get_mut().timed().end = Instant::now() + time;
    }

    /// Sends commands, each as its name and arguments.
    ///
    /// # Errors
    /// The server does not take them.
    pub(super) fn send(&mut self, commands: &[&[&[u8]]]) -> Result<(), Trouble> {
        let mut bytes = Vec::new();
        for command in commands {
            write!(bytes, "*{}\r\n", command.len())?;
            for part in *command {
                write!(bytes, "${}\r\n", part.len())?;
                bytes.extend_from_slice(part);
                bytes.extend_from_slice(b"\r\n");
            }
        }
        let stream = self.stream.get_mut();
        stream.write_all(&bytes)?;
        Ok(stream.flush()?)
    }

    /// What the server answers.
    pub(super) fn answers(&mut self) -> Answers<'_, impl io::BufRead> {
        Answers(&mut self.stream)
    }

    /// What the user can do about it: the end of a sentence, without secrets.
    pub(super) fn explain(&self, trouble: Trouble) -> String {
        let is_plain = matches!(self.stream.get_ref(), Stream::Plain(_));
        match trouble {
            Trouble::Lost(error) if error.kind() == io::ErrorKind::TimedOut => {
                format!("no answer within {}", seconds(self.time))
            }
            Trouble::Lost(error)
                if matches!(error.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset) =>
            {
                match is_plain && self.is_new {
                    true => "the server closes the connection (if it speaks TLS, the address begins with rediss://)"
                        .to_owned(),
                    false => "the server closed the connection".to_owned(),
                }
            }
            Trouble::Lost(error) => excerpt(&error.to_string(), LONGEST),
            Trouble::Refused(said) if said.starts_with("NOAUTH") => {
                "the server wants a password (redis://:PASSWORD@host or redis://NAME:PASSWORD@host)".to_owned()
            }
            Trouble::Refused(said) if said.starts_with("WRONGPASS") => {
                "the server refuses the name or the password".to_owned()
            }
            Trouble::Refused(said) => format!("the server says {}", excerpt(&said, LONGEST)),
            Trouble::Garbled(Some(ALERT)) if is_plain => {
                "the server speaks TLS: the address begins with rediss://".to_owned()
            }
            Trouble::Garbled(_) => "what answers is no Redis server".to_owned(),
            Trouble::Other(why) => why,
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        let _ = self.stream.get_mut().timed().stream.shutdown(Shutdown::Both);
    }
}

/// The addresses that a host name stands for. `None` if that is not known in time.
fn addresses(host: &str, port: u16, end: Instant) -> Option<Result<Vec<SocketAddr>, String>> {
    let (send, found) = channel();
    let host = host.to_owned();
    // The system's own call knows no deadline.
    let look_up = move || {
        let addresses = (host.as_str(), port).to_socket_addrs().map(Iterator::collect);
        // Nobody waits for it any more, then.
        drop(send.send(addresses.map_err(|error| error.to_string())));
    };
    if let Err(error) = thread::Builder::new().name("resolve".to_owned()).spawn(look_up) {
        return Some(Err(error.to_string()));
    }
    found.recv_timeout(end.saturating_duration_since(Instant::now())).ok()
}

/// Speaks TLS on a connection, and trusts whom the system trusts.
fn with_tls(host: &str, timed: Timed, time: Duration) -> Result<Stream, String> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from(host.to_owned()).map_err(|error| error.to_string())?;
    let client = ClientConnection::new(Arc::new(config), name).map_err(|error| error.to_string())?;
    let mut stream = StreamOwned::new(client, timed);
    while stream.conn.is_handshaking() {
        if let Err(error) = stream.conn.complete_io(&mut stream.sock) {
            return Err(no_tls(&error, time));
        }
    }
    Ok(Stream::Tls(Box::new(stream)))
}

/// Why there is no TLS. A server without it waits for the end of a line, or closes the connection.
fn no_tls(error: &io::Error, time: Duration) -> String {
    let hint = "does the server speak TLS? redis:// asks without";
    let cause = error.get_ref().and_then(|cause| cause.downcast_ref::<rustls::Error>());
    match cause {
        Some(rustls::Error::InvalidMessage(_)) => format!("what answers speaks no TLS; {hint}"),
        Some(cause) => excerpt(&cause.to_string(), LONGEST),
        None if error.kind() == io::ErrorKind::TimedOut => format!("no answer to TLS within {}; {hint}", seconds(time)),
        None if matches!(error.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset) => {
            format!("the server closes the connection when it is asked for TLS; {hint}")
        }
        None => excerpt(&error.to_string(), LONGEST),
    }
}
