//! A Redis server inside the test process that answers whatever a test wants, as slowly as it wants.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// What is answered to a command.
pub enum Answer {
    /// These bytes.
    Bytes(Vec<u8>),
    /// These bytes, each after a while.
    Drip(Vec<u8>, Duration),
    /// Nothing, and the connection stays open.
    Silence,
}

impl Answer {
    pub fn of(text: &str) -> Self {
        Self::Bytes(text.as_bytes().to_vec())
    }

    /// What a server answers that has nothing to say to the point.
    pub fn usual(command: &[Vec<u8>]) -> Self {
        match command[0].as_slice() {
            b"PING" => Self::of("+PONG\r\n"),
            b"GETRANGE" => Self::of("$0\r\n\r\n"),
            b"EXPIRE" => Self::of(":0\r\n"),
            b"SCAN" => Self::of("*2\r\n$1\r\n0\r\n*0\r\n"),
            _ => Self::of("+OK\r\n"),
        }
    }

    /// Content.
    pub fn content(bytes: &[u8]) -> Self {
        Self::Bytes([format!("${}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat())
    }
}

/// A server that listens on 127.0.0.1 until the test process ends.
pub struct FakeRedis {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<Vec<Vec<u8>>>>>,
}

impl FakeRedis {
    /// Starts one that answers each command with what `answer` makes of it.
    pub fn start(answer: impl Fn(&[Vec<u8>]) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (answer, log) = (Arc::new(answer), Arc::clone(&seen));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (answer, log) = (Arc::clone(&answer), Arc::clone(&log));
                // A client that goes away is none of the server's business.
                thread::spawn(move || drop(serve(stream, &*answer, &log)));
            }
        });
        Self { address, seen }
    }

    /// The address of a cache there.
    pub fn cache(&self) -> String {
        format!("redis://{}/0", self.address)
    }

    /// The commands that were asked for by this name.
    pub fn asked(&self, command: &str) -> usize {
        self.seen.lock().unwrap().iter().filter(|seen| seen[0] == command.as_bytes()).count()
    }
}

fn serve(
    stream: TcpStream,
    answer: &dyn Fn(&[Vec<u8>]) -> Answer,
    log: &Mutex<Vec<Vec<Vec<u8>>>>,
) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    loop {
        let count = number(&mut reader)?;
        let command: Vec<Vec<u8>> = (0..count).map(|_| part(&mut reader)).collect::<std::io::Result<_>>()?;
        log.lock().unwrap().push(command.clone());
        let stream = reader.get_mut();
        match answer(&command) {
            Answer::Bytes(bytes) => stream.write_all(&bytes)?,
            Answer::Drip(bytes, pause) => {
                for byte in bytes {
                    thread::sleep(pause);
                    stream.write_all(&[byte])?;
                }
            }
            Answer::Silence => drop(stream.read(&mut [0])?),
        }
    }
}

/// The number in a line like `*3`. What is no command ends the connection.
fn number(reader: &mut impl BufRead) -> std::io::Result<usize> {
    let mut line = Vec::new();
    reader.read_until(b'\n', &mut line)?;
    let text = String::from_utf8_lossy(&line).trim_end().to_owned();
    let digits = text.strip_prefix(['*', '$']).unwrap_or_default();
    digits.parse().map_err(|_| std::io::Error::other("no command"))
}

fn part(reader: &mut impl BufRead) -> std::io::Result<Vec<u8>> {
    let mut bytes = vec![0; number(reader)? + 2];
    reader.read_exact(&mut bytes)?;
    bytes.truncate(bytes.len() - 2);
    Ok(bytes)
}
