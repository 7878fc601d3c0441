//! An engine that stops answering at one request, or answers it without an end: a run ends all the same.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::support::image::{TestImage, write_layout};
use crate::support::{Run, leave_out, program};

/// What the engine does wrong, at the request whose line begins so.
#[derive(Clone, Copy)]
enum Lie {
    /// It never answers.
    Hangs,
    /// It answers for ever, with a file that grows.
    Floods,
    /// It answers for ever, one byte at a time.
    Drips,
}

/// An engine that has every image and runs nothing. Its containers end at once with 42.
struct LyingEngine {
    url: String,
}

impl LyingEngine {
    fn new(at: &'static str, lie: Lie) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("tcp://{}", listener.local_addr().unwrap());
        let home = Arc::new(Mutex::new(String::new()));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let home = Arc::clone(&home);
                std::thread::spawn(move || serve(stream, at, lie, &home));
            }
        });
        Self { url }
    }
}

fn serve(mut stream: TcpStream, at: &str, lie: Lie, home: &Mutex<String>) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or(0) == 0 {
            return;
        }
        let (mut length, mut is_chunked) = (0, false);
        loop {
            let mut header = String::new();
            if reader.read_line(&mut header).unwrap_or(0) <= 2 {
                break;
            }
            let header = header.to_ascii_lowercase();
            if let Some(value) = header.strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
            is_chunked |= header.starts_with("transfer-encoding: chunked");
        }
        if line.contains(at) {
            return lies(&mut stream, lie);
        }
        let body = read_body(&mut reader, length, is_chunked);
        if let Some(given) = serde_json::from_slice(&body).ok().and_then(|body: Value| {
            body["Env"]
                .as_array()?
                .iter()
                .find_map(|word| Some(word.as_str()?.strip_prefix("TentacleHome=")?.to_owned()))
        }) {
            *home.lock().unwrap() = given;
        }
        let (status, body) = answer(&line, &home.lock().unwrap());
        let head = format!(
            "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nApi-Version: 1.41\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        if stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body)).is_err() {
            return;
        }
    }
}

fn read_body(reader: &mut impl BufRead, length: u64, is_chunked: bool) -> Vec<u8> {
    let mut body = Vec::new();
    if !is_chunked {
        reader.take(length).read_to_end(&mut body).unwrap();
        return body;
    }
    loop {
        let mut size = String::new();
        reader.read_line(&mut size).unwrap();
        let size = u64::from_str_radix(size.trim(), 16).unwrap_or(0);
        reader.take(size + 2).read_to_end(&mut body).unwrap();
        if size == 0 {
            return body;
        }
    }
}

/// The output of a step that sends an artifact.
fn logs(home: &str) -> Vec<u8> {
    let path = STANDARD.encode(format!("{home}/Work/1/artifact.txt"));
    let line = format!("##octopus[createArtifact path='{path}' name='YQ==' length='MTc=']\n");
    [&[1, 0, 0, 0][..], &u32::try_from(line.len()).unwrap().to_be_bytes(), line.as_bytes()].concat()
}

fn answer(line: &str, home: &str) -> (&'static str, Vec<u8>) {
    let machine = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
    let json = |value: Value| ("200 OK", value.to_string().into_bytes());
    let (method, rest) = line.split_once(' ').unwrap();
    let has = |part: &str| rest.contains(part);
    match method {
        "GET" if has("/version") => {
            json(json!({"Version": "20.10.24", "ApiVersion": "1.41", "Os": "linux", "Arch": machine}))
        }
        "GET" if has("/info") => json(json!({"OSType": "linux", "ID": "liar"})),
        "GET" if has("/containers/json") => json(json!([])),
        "GET" if has("/images/") => json(json!({"Id": format!("sha256:{}", "1".repeat(64))})),
        "POST" if has("/containers/create") => {
            ("201 Created", json!({"Id": "2".repeat(64), "Warnings": []}).to_string().into_bytes())
        }
        "POST" if has("/wait") => json(json!({"StatusCode": 42})),
        "POST" | "DELETE" => ("204 No Content", Vec::new()),
        "GET" if has("/logs") => ("200 OK", logs(home)),
        _ => json(json!({})),
    }
}

fn lies(stream: &mut TcpStream, lie: Lie) {
    let chunk = |bytes: &[u8]| [format!("{:x}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat();
    let head = b"HTTP/1.1 200 OK\r\nContent-Type: application/x-tar\r\nTransfer-Encoding: chunked\r\n\r\n";
    let (piece, pause) = match lie {
        Lie::Hangs => {
            std::thread::sleep(Duration::from_secs(600));
            return;
        }
        Lie::Floods => (vec![0; 1 << 16], Duration::ZERO),
        Lie::Drips => (vec![0], Duration::from_millis(500)),
    };
    if stream.write_all(head).is_err() {
        return;
    }
    while stream.write_all(&chunk(&piece)).is_ok() {
        std::thread::sleep(pause);
    }
}

/// A run with such an engine: how long it took, and the stages.
fn run(at: &'static str, lie: Lie) -> Option<(Duration, Vec<Value>)> {
    let Some(image) = TestImage::like_this_machine(json!({"Env": ["PATH=/bin"]})) else {
        leave_out("a machine with glibc and bash");
        return None;
    };
    let engine = LyingEngine::new(at, lie);
    let folder = tempfile::tempdir().unwrap();
    write_layout(folder.path(), &[(&image, "1")]);
    let start = Instant::now();
    let mut command = program();
    command.args(["check", "--report", "json", "--timeout", "2s", "--run", "--run-timeout", "3s"]);
    let run = Run::of(command.args(["--engine", &engine.url, &format!("oci:{}:1", folder.path().display())]));
    let result = run.result();
    forget();
    Some((start.elapsed(), result["run"]["stages"].as_array().unwrap().clone()))
}

/// Removes what imglint noted of containers that the engine neither refused nor made: it would look for them again.
fn forget() {
    let user = std::os::unix::fs::MetadataExt::uid(&std::fs::metadata("/proc/self").unwrap());
    for place in [format!("/run/user/{user}/imglint"), format!("/tmp/imglint-{user}")] {
        for file in std::fs::read_dir(&place).into_iter().flatten().flatten() {
            if std::fs::read_to_string(file.path()).is_ok_and(|text| text.contains(r#""engine":"liar""#)) {
                let _ = std::fs::remove_file(file.path());
            }
        }
        // It stays if another run has something there.
        let _ = std::fs::remove_dir(place);
    }
}

#[test]
fn an_engine_that_hangs_ends_no_run_late() {
    for at in ["/containers/create", "PUT /containers", "/start", "/wait", "/logs"] {
        let Some((time, stages)) = run(at, Lie::Hangs) else { return };
        assert!(stages.iter().any(|stage| stage["outcome"] == "unknown"), "{at}: {stages:#?}");
        assert!(time < Duration::from_secs(60), "{at}: {time:?}");
    }
}

#[test]
fn an_engine_that_never_ends_an_answer_ends_no_run_late() {
    for (at, lie) in [
        ("/logs", Lie::Drips),
        ("/logs", Lie::Floods),
        ("/archive?path=%2Fimglint", Lie::Hangs),
        ("/archive?path=%2Fimglint", Lie::Drips),
        ("/archive?path=%2Fimglint", Lie::Floods),
        ("/wait", Lie::Drips),
    ] {
        let Some((time, stages)) = run(at, lie) else { return };
        assert!(!stages.iter().any(|stage| stage["outcome"] == "pass" && stage["name"] == "artifact"), "{stages:#?}");
        if at.starts_with("/archive") {
            let artifact = stages.iter().find(|stage| stage["name"] == "artifact").unwrap();
            assert!(artifact["output"].as_str().unwrap().contains("cannot be read"), "{at}: {artifact}");
        }
        assert!(time < Duration::from_secs(60), "{at}: {time:?}");
    }
}
