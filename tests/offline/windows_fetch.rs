//! How much of a Windows image is fetched: no base layer that decides nothing, and no more of one than is needed.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;

use crate::support::image::{Tar, gzip};
use crate::support::lying_registry::{LyingRegistry, Reply, Seen, tls_file};
use crate::support::tars::noise;
use crate::support::windows::{CORE_PATH, Data, ENVIRONMENT, core_base, hive, program, setx};
use crate::support::{Run, fetched, finding, program as imglint, rules};
use imglint::digest::Digest;
use serde_json::{Value, json};

const GZIP: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";
const FOREIGN: &str = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip";
const CORE: &str = "10.0.20348.2227";
const SETX: &str = "cmd /S /C setx /M PATH x";

/// A layer as a manifest lists it, and what the registry has of it.
struct Listed {
    created_by: String,
    descriptor: Value,
    diff_id: Digest,
    content: Option<Vec<u8>>,
}

impl Listed {
    fn new(created_by: &str, tar: &[u8]) -> Self {
        let content = gzip(tar);
        let descriptor = json!({"mediaType": GZIP, "size": content.len(), "digest": Digest::of(&content).to_string()});
        Self { created_by: created_by.to_owned(), descriptor, diff_id: Digest::of(tar), content: Some(content) }
    }

    /// A layer of this size, of which nobody has the bytes.
    fn huge(created_by: &str, size: u64) -> Self {
        let digest = Digest::of(created_by.as_bytes());
        let descriptor = json!({"mediaType": GZIP, "size": size, "digest": digest.to_string()});
        Self { created_by: created_by.to_owned(), descriptor, diff_id: digest, content: None }
    }

    /// The same, to be had from elsewhere only; `DIGEST` in the address stands for its digest.
    fn foreign(mut self, url: &str) -> Self {
        let digest = self.descriptor["digest"].as_str().unwrap().to_owned();
        self.descriptor["mediaType"] = json!(FOREIGN);
        self.descriptor["urls"] = json!([url.replace("DIGEST", &digest)]);
        self.content = None;
        self
    }
}

/// An image: its manifest, and its blobs by digest.
type Served = (Value, HashMap<String, Vec<u8>>);

const MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";

fn image(os_version: Value, config: Value, layers: &[Listed]) -> Served {
    let history: Vec<Value> = layers.iter().map(|layer| json!({"created_by": layer.created_by})).collect();
    let diff_ids: Vec<String> = layers.iter().map(|layer| layer.diff_id.to_string()).collect();
    let document = json!({
        "os": "windows", "architecture": "amd64", "os.version": os_version, "config": config, "history": history,
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
    });
    let document = document.to_string().into_bytes();
    let manifest = json!({
        "schemaVersion": 2, "mediaType": MANIFEST,
        "config": {
            "mediaType": "application/vnd.docker.container.image.v1+json", "size": document.len(),
            "digest": Digest::of(&document).to_string(),
        },
        "layers": layers.iter().map(|layer| layer.descriptor.clone()).collect::<Vec<_>>(),
    });
    let mut blobs: HashMap<String, Vec<u8>> = HashMap::from([(Digest::of(&document).to_string(), document)]);
    for layer in layers {
        if let Some(content) = &layer.content {
            blobs.insert(layer.descriptor["digest"].as_str().unwrap().to_owned(), content.clone());
        }
    }
    (manifest, blobs)
}

/// Serves an image of these layers.
fn serve(os_version: Value, config: Value, layers: &[Listed]) -> LyingRegistry {
    serve_all(vec![image(os_version, config, layers)])
}

/// Serves images, with the tags 1, 2 and so on.
fn serve_all(images: Vec<Served>) -> LyingRegistry {
    LyingRegistry::start(move |seen| {
        let name = seen.path.rsplit('/').next().unwrap();
        if seen.path.contains("/manifests/") {
            let manifest = &images[name.parse::<usize>().unwrap() - 1].0;
            return Reply::ok(manifest.to_string()).with("Content-Type", MANIFEST);
        }
        let blob = images.iter().find_map(|(_, blobs)| blobs.get(name));
        blob.map_or_else(|| Reply::error(404, "BLOB_UNKNOWN", "not here"), Reply::ok)
    })
}

fn check(registry: &LyingRegistry, arguments: &[&str]) -> Run {
    checked(registry, arguments).0
}

/// The run, and how many bytes came over the network.
fn checked(registry: &LyingRegistry, arguments: &[&str]) -> (Run, u64) {
    let image = format!("docker://{}/team/app:1", registry.host());
    fetched(imglint().args(["check", "--report", "json", "--set", "worker=windows/amd64"]).args(arguments).arg(image))
}

fn read_of(result: &Value) -> Vec<String> {
    let layers = result["image"]["layers"].as_array().unwrap();
    layers.iter().map(|layer| layer["read"].as_str().unwrap().to_owned()).collect()
}

fn tools() -> Listed {
    let tar = Tar::default()
        .file("Files/tools/kubectl.exe", 0o644, &program([1, 30, 0, 0]))
        .file("Files/tools/read.me", 0o644, &noise(300_000))
        .file("Hives/System_Delta", 0o644, &setx(r"C:\Windows\system32;C:\Windows;C:\tools"));
    Listed::new(SETX, &tar.bytes())
}

#[test]
fn a_base_that_decides_nothing_is_not_fetched() {
    let base = Listed::huge("Apply image ltsc2022-amd64", 1 << 30);
    let registry = serve(json!(CORE), json!({"Cmd": [r"c:\windows\system32\cmd.exe"]}), &[base, tools()]);
    let (run, bytes) = checked(&registry, &["--set", "steps=powershell,kubernetes", "--set", "host=ltsc2022"]);
    let result = run.result();
    assert_eq!((run.code, &result["verdict"]), (0, &json!("compatible")), "{result:#}");
    assert_eq!(read_of(&result), ["none", "whole"]);
    assert!(bytes < 5_000_000, "{bytes}");
    assert!(result["image"]["compressed_bytes"].as_u64().unwrap() > 1 << 30);
    let base = format!("/{}", Digest::of(b"Apply image ltsc2022-amd64"));
    assert!(registry.seen().iter().all(|seen| !seen.path.ends_with(&base)), "the base was asked for");
    let windows = &result["facts"]["windows"];
    assert_eq!(windows["kind"], "servercore-or-larger");
    assert_eq!(windows["unread_layers"][0]["layer"], 0);
    assert_eq!(windows["powershell"]["known_by"], "Server Core or larger has it");
}

#[test]
fn nano_server_is_told_by_the_size_of_its_base() {
    let base = Listed::huge("Apply image 10.0.20348.2227", 122_099_566);
    let registry = serve(json!(CORE), json!({"User": "ContainerUser"}), &[base]);
    let result = check(&registry, &[]).result();
    assert_eq!(rules(&result, "error", "fail"), ["powershell-missing"]);
    assert_eq!(result["facts"]["windows"]["kind"], "nanoserver");
    assert_eq!(read_of(&result), ["none"]);
}

/// A base of a megabyte and more on end, whose system files stand at its beginning.
fn long_base(created_by: &str) -> Listed {
    let tar = core_base(CORE).file("Files/Windows/WinSxS/a.dll", 0o644, &noise(40 << 20));
    Listed::new(created_by, &tar.bytes())
}

#[test]
fn of_a_base_that_decides_no_more_is_read_than_what_does() {
    let registry = serve(Value::Null, json!({}), &[long_base("COPY . .")]);
    let (run, bytes) = checked(&registry, &[]);
    let result = run.result();
    assert_eq!(read_of(&result), ["part"]);
    assert!(bytes < 8_000_000, "{bytes}");
    assert_eq!(result["facts"]["windows"]["version"], CORE);
    assert_eq!(result["verdict"], "compatible", "{result:#}");
    assert!(result["facts"]["windows"]["unread_layers"][0]["why"].as_str().unwrap().contains("before its end"));
    // What is nowhere in it is only known at its end.
    let whole = check(&registry, &["--set", "steps=terraform"]).result();
    assert_eq!(
        (read_of(&whole), rules(&whole, "error", "fail")),
        (vec!["whole".to_owned()], vec!["step-tool-missing".to_owned()])
    );
}

#[test]
fn what_was_read_of_a_base_is_kept_for_those_who_ask_the_same_in_the_same_place() {
    let base = long_base("COPY . .");
    let digest = base.descriptor["digest"].as_str().unwrap().to_owned();
    let registry = serve(Value::Null, json!({}), &[base]);
    let asked = || registry.seen().iter().filter(|seen| seen.path.ends_with(&digest)).count();
    let cache = tempfile::tempdir().unwrap();
    let kept = |repository: &str, arguments: &[&str]| {
        let image = format!("docker://{}/{repository}:1", registry.host());
        let mut command = imglint();
        command.env_remove("IMGLINT_NO_CACHE").env("IMGLINT_CACHE", cache.path());
        command.args(["check", "--report", "json", "--set", "worker=windows/amd64", &image]).args(arguments);
        let before = asked();
        (Run::of(&mut command).result(), asked() - before)
    };
    // For the one its start is enough; what the other seeks is nowhere in it.
    for arguments in [&[][..], &["--set", "steps=terraform"]] {
        let cold = check(&registry, arguments).result();
        for times in [1, 0] {
            let (warm, asked) = kept("team/app", arguments);
            assert!(warm == cold);
            assert_eq!(asked, times, "{arguments:?}");
        }
    }
    assert_eq!(kept("another/app", &[]).1, 1, "another place may have given something else");
    let authority = tls_file("authority.pem");
    let trusting = ["--tls-ca", authority.to_str().unwrap()];
    assert_eq!([kept("team/app", &trusting).1, kept("team/app", &trusting).1], [1, 0], "and so may another's word");
    let unproven = ["--insecure-registry", &registry.host()];
    assert_eq!([kept("team/app", &unproven).1, kept("team/app", &unproven).1], [1, 1], "nobody's word is not kept");
}

#[test]
fn images_of_one_run_share_what_is_read_of_their_base() {
    let base = long_base("COPY . .");
    let digest = base.descriptor["digest"].as_str().unwrap().to_owned();
    let images = ["A=1", "A=2"].map(|env| image(Value::Null, json!({"Env": [env]}), std::slice::from_ref(&base)));
    let registry = serve_all(images.into());
    let [one, other] = [1, 2].map(|tag| format!("docker://{}/team/app:{tag}", registry.host()));
    let run = Run::of(imglint().args(["check", "--report", "json", "--set", "worker=windows/amd64", &one, &other]));
    let results = run.report()["results"].clone();
    for result in results.as_array().unwrap() {
        assert_eq!((read_of(result), &result["facts"]["windows"]["version"]), (vec!["part".to_owned()], &json!(CORE)));
    }
    assert_eq!(registry.seen().iter().filter(|seen| seen.path.ends_with(&digest)).count(), 1);
}

#[test]
fn what_is_kept_of_a_base_is_held_to_each_configuration_that_names_it() {
    let right = long_base("COPY . .");
    let wrong = Listed {
        created_by: right.created_by.clone(),
        descriptor: right.descriptor.clone(),
        diff_id: Digest::of(b"something else"),
        content: None,
    };
    let images = [[right], [wrong]].map(|layers| image(Value::Null, json!({}), &layers));
    let registry = serve_all(images.into());
    let cache = tempfile::tempdir().unwrap();
    let check = |tag: u32| {
        let image = format!("docker://{}/team/app:{tag}", registry.host());
        let mut command = imglint();
        command.env_remove("IMGLINT_NO_CACHE").env("IMGLINT_CACHE", cache.path());
        command.args(["check", "--report", "json", "--verify-layers", "--set", "worker=windows/amd64"]);
        Run::of(command.args(["--set", "steps=terraform", &image]))
    };
    assert_eq!(check(1).result()["image"]["layers"][0]["read"], "whole");
    check(2).fails_saying(&["layer 0", "but the configuration says"]);
}

#[test]
fn a_limit_leaves_open_what_larger_layers_would_tell() {
    let registry = serve(Value::Null, json!({}), &[long_base("COPY . .")]);
    let (run, bytes) = checked(&registry, &["--max-layer-fetch", "10MB"]);
    let result = run.result();
    assert_eq!((run.code, &result["verdict"], read_of(&result)), (1, &json!("undetermined"), vec!["none".to_owned()]));
    let evidence = finding(&result, "windows-version-unsupported")["evidence"][0]["statement"].clone();
    assert!(evidence.as_str().unwrap().contains("--max-layer-fetch allows"), "{evidence}");
    assert!(bytes < 10_000, "{bytes}");
    let wrong = check(&registry, &["--max-layer-fetch", "much"]);
    assert_eq!(wrong.code, 2, "{}", wrong.stderr);
}

#[test]
fn a_foreign_base_is_judged_from_the_rest() {
    let base = || {
        Listed::huge("Apply image x", 1_251_699_055)
            .foreign("https://mcr.microsoft.com/v2/windows/servercore/blobs/DIGEST")
    };
    let registry = serve(json!(CORE), json!({}), &[base(), tools()]);
    let result = check(&registry, &["--set", "steps=powershell,kubernetes"]).result();
    assert_eq!((result["verdict"].clone(), rules(&result, "warning", "fail")), (json!("compatible"), vec![]));
    assert!(rules(&result, "info", "fail").contains(&"foreign-layers".to_owned()));
    // A version that nothing but the base tells: it is asked for, and is not there.
    let silent = serve(Value::Null, json!({}), &[base(), tools()]);
    let result = check(&silent, &[]).result();
    assert_eq!(result["verdict"], "undetermined");
    let why = result["facts"]["windows"]["unread_layers"][0]["why"].clone();
    assert!(why.as_str().unwrap().contains("--allow-foreign-urls"), "{why}");
    // Neither another host nor this machine's network is asked, whatever the manifest says.
    let trap = LyingRegistry::start(|_| Reply::ok("x"));
    let url = format!("http://{}/v2/windows/servercore/blobs/DIGEST", trap.host());
    let registry = serve(Value::Null, json!({}), &[Listed::huge("Apply image x", 1_251_699_055).foreign(&url)]);
    let result = check(&registry, &["--allow-foreign-urls"]).result();
    let why = result["facts"]["windows"]["unread_layers"][0]["why"].clone();
    assert!(why.as_str().unwrap().contains("no place that is followed"), "{why}");
    assert!(trap.seen().is_empty());
}

#[test]
fn a_foreign_base_is_fetched_from_its_origin_when_that_is_allowed() {
    let base = Listed::new("Apply image x", &core_base("10.0.17763.3887").bytes());
    let (digest, content) = (base.descriptor["digest"].as_str().unwrap().to_owned(), base.content.clone().unwrap());
    let path = format!("/v2/windows/servercore/blobs/{digest}");
    let wanted = path.clone();
    let origin = LyingRegistry::start_tls(false, move |seen| {
        if seen.path == wanted { Reply::ok(&content) } else { Reply::error(404, "NAME_UNKNOWN", &seen.path) }
    });
    let proxy = tunnel(origin.port());
    let foreign = base.foreign("https://mcr.microsoft.com/v2/windows/servercore/blobs/DIGEST");
    let registry = serve(Value::Null, json!({}), &[foreign]);
    let image = format!("docker://{}/team/app:1", registry.host());
    let authority = tls_file("authority.pem");
    let mut command = imglint();
    command.args(["check", "--report", "json", "--set", "worker=windows/amd64", "--allow-foreign-urls", "--tls-ca"]);
    let run = Run::of(command.arg(&authority).arg(&image).env("HTTPS_PROXY", format!("http://{proxy}")));
    let result = run.result();
    assert_eq!(result["facts"]["windows"]["version"], "10.0.17763.3887", "{}{result:#}", run.stderr);
    assert!(origin.seen().iter().any(|seen| seen.path == path && seen.header("authorization").is_none()));
    assert_eq!(result["verdict"], "compatible");
}

/// What a check says of an image whose foreign base is at Microsoft's registry, which answers as `answer` says and is
/// reached by a proxy of this machine.
fn foreign_base(arguments: &[&str], answer: impl Fn(&str) -> Reply + Send + Sync + 'static) -> Run {
    let origin = LyingRegistry::start_tls(false, move |seen| answer(&seen.path));
    let proxy = tunnel(origin.port());
    let base = Listed::huge("Apply image x", 1_251_699_055)
        .foreign("https://mcr.microsoft.com/v2/windows/servercore/blobs/DIGEST");
    let registry = serve(Value::Null, json!({}), &[base]);
    let image = format!("docker://{}/team/app:1", registry.host());
    let mut command = imglint();
    command.args(["check", "--report", "json", "--set", "worker=windows/amd64", "--tls-ca"]);
    command.arg(tls_file("authority.pem")).args(arguments).arg(&image);
    Run::of(command.env("HTTPS_PROXY", format!("http://{proxy}")))
}

#[test]
fn redirects_of_foreign_layers_stay_with_the_named_hosts() {
    let page = |_: &Seen| Reply::new(500, r#"{"errors":[{"code":"X","message":"INTERNAL-SECRET-PAGE"}]}"#);
    let internal = LyingRegistry::start_tls(false, page);
    let (secure, plain) = (format!("https://localhost:{}", internal.port()), LyingRegistry::start(page));
    for target in [
        format!("{secure}/admin?x=1"),
        format!("https://127.0.0.1:{}/admin", internal.port()),
        format!("http://{}/admin", plain.host()),
        "https://169.254.169.254/latest/meta-data/".to_owned(),
        "https://mcr.microsoft.com:8443/x".to_owned(),
        "https://internal.example/x".to_owned(),
        "https://data.mcr.microsoft.com.internal.example/x".to_owned(),
    ] {
        let run = foreign_base(&["--allow-foreign-urls"], move |_| Reply::redirect(&target));
        let line = run.one_clear_line();
        assert!(line.contains("redirects") || line.contains("is not asked for a foreign layer"), "{line}");
        assert!(!line.contains("INTERNAL") && !run.stdout.contains("INTERNAL"), "{line}");
    }
    // Nor is a token server there asked.
    let realm = format!("Bearer realm=\"{secure}/token\"");
    let run = foreign_base(&["--allow-foreign-urls"], move |_| Reply::challenge(&realm));
    assert!(run.one_clear_line().contains("is not asked for a foreign layer"), "{}", run.stderr);
    assert!(internal.seen().is_empty() && plain.seen().is_empty());
    // A host that the user names is, and the error still says nothing of what is there.
    let named = format!("--allow-foreign-urls=mirror.example,localhost:{}", internal.port());
    let target = format!("{secure}/blob");
    let run = foreign_base(&[&named], move |_| Reply::redirect(&target));
    let line = run.one_clear_line();
    assert!(line.contains("answers 500") && !line.contains("INTERNAL"), "{line}");
    assert!(!internal.seen().is_empty());
    let wrong = foreign_base(&["--allow-foreign-urls=https://mirror.example"], |_| Reply::ok("x"));
    assert!(wrong.code == 2 && wrong.stderr.contains("expected HOST or HOST:PORT"), "{}", wrong.stderr);
}

#[test]
fn a_foreign_base_comes_from_a_place_that_the_user_names() {
    let base = Listed::new("Apply image x", &core_base("10.0.17763.3887").bytes());
    let (digest, content) = (base.descriptor["digest"].as_str().unwrap().to_owned(), base.content.clone().unwrap());
    let mirror = LyingRegistry::start_tls(false, move |seen| match seen.path.ends_with(&digest) {
        true => Reply::ok(&content),
        false => Reply::error(404, "NAME_UNKNOWN", &seen.path),
    });
    let place = format!("localhost:{}", mirror.port());
    let foreign = base.foreign(&format!("https://{place}/v2/windows/servercore/blobs/DIGEST"));
    let registry = serve(Value::Null, json!({}), &[foreign]);
    let authority = tls_file("authority.pem");
    let arguments = |allowed: &str| ["--tls-ca".to_owned(), authority.display().to_string(), allowed.to_owned()];
    let result = |allowed: &str| check(&registry, &arguments(allowed).each_ref().map(String::as_str)).result();
    assert_eq!(result("--allow-foreign-urls")["verdict"], "undetermined");
    assert!(mirror.seen().is_empty());
    let allowed = result(&format!("--allow-foreign-urls={place}"));
    assert_eq!(allowed["facts"]["windows"]["version"], "10.0.17763.3887", "{allowed:#}");
}

#[test]
fn a_registry_that_says_server_core_makes_none_of_what_was_not_read() {
    // All that the questions at first are about stands at the start of a layer that nobody marked as Microsoft's.
    let values = [
        ("InstallationType", Data::Text("Server Core")),
        ("EditionID", Data::Text("ServerDatacenterACor")),
        ("CurrentBuild", Data::Text("20348")),
    ];
    let software = hive(&[(r"Microsoft\Windows NT\CurrentVersion", &values)]);
    let path = [("Path", Data::Text(CORE_PATH))];
    let forged = Tar::default()
        .file("Files/Windows/System32/config/SYSTEM", 0o644, &hive(&[(ENVIRONMENT, &path)]))
        .file("Files/Windows/System32/config/SOFTWARE", 0o644, &software)
        .file("Files/rest", 0o644, &noise(3 << 20));
    let registry = serve(json!(CORE), json!({}), &[Listed::new("COPY . .", &forged.bytes())]);
    let run = check(&registry, &[]);
    let result = run.result();
    assert_eq!((run.code, &result["verdict"], read_of(&result)), (1, &json!("incompatible"), vec!["whole".to_owned()]));
    assert!(rules(&result, "error", "fail").contains(&"windows-base-missing".to_owned()), "{result:#}");
    // A base that is too large to be fetched leaves it open.
    let limited = check(&registry, &["--max-layer-fetch", "1MB"]);
    assert_eq!((limited.code, &limited.result()["verdict"]), (1, &json!("undetermined")));
    assert_eq!(finding(&limited.result(), "windows-base-missing")["outcome"], "unknown");
    // An address of Microsoft's makes a small layer no base.
    let claimed = Listed::new("COPY . .", &forged.bytes());
    let mut claimed = Listed { content: claimed.content.clone(), ..claimed };
    let digest = claimed.descriptor["digest"].as_str().unwrap().to_owned();
    claimed.descriptor["urls"] = json!([format!("https://mcr.microsoft.com/v2/windows/servercore/blobs/{digest}")]);
    let registry = serve(json!(CORE), json!({}), &[claimed]);
    assert_eq!(check(&registry, &[]).result()["verdict"], "incompatible");
}

/// A proxy that leads every tunnel to a port of this machine.
fn tunnel(port: u16) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            thread::spawn(move || {
                let mut reader = BufReader::new(client.try_clone().unwrap());
                let mut line = String::new();
                while reader.read_line(&mut line).unwrap_or(0) > 2 {
                    line.clear();
                }
                let mut client = client;
                client.write_all(b"HTTP/1.1 200 Connected\r\n\r\n").unwrap();
                let server = TcpStream::connect(("127.0.0.1", port)).unwrap();
                let (mut from, mut to) = (server.try_clone().unwrap(), client.try_clone().unwrap());
                thread::spawn(move || std::io::copy(&mut from, &mut to));
                let mut server = server;
                let _ = std::io::copy(&mut reader, &mut server);
            });
        }
    });
    address
}

#[test]
fn a_layer_of_a_linux_image_that_is_too_large_is_not_fetched_either() {
    let tar = Tar::default().file("etc/os-release", 0o644, b"ID=debian\nVERSION_ID=\"12\"\n").file(
        "x",
        0o644,
        &noise(200_000),
    );
    let image = crate::support::image::TestImage::new(json!({})).layer("ADD rootfs /", &tar);
    let folder = tempfile::tempdir().unwrap();
    crate::support::image::write_layout(folder.path(), &[(&image, "")]);
    let name = format!("oci:{}", folder.path().display());
    let run = crate::support::check(["--max-layer-fetch", "100kB", &name]);
    let result = run.result();
    assert_eq!((run.code, &result["verdict"]), (1, &json!("undetermined")));
    let statement = finding(&result, "libc-not-glibc")["evidence"][0]["statement"].clone();
    assert!(statement.as_str().unwrap().contains("--max-layer-fetch allows"), "{statement}");
}
