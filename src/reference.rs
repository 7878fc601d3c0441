//! What a user wrote to name an image: a registry name or a transport with a path (containers-transports(5)).

use std::fmt;
use std::net::Ipv6Addr;
use std::path::PathBuf;
use std::str::FromStr;

use crate::digest::Digest;
use crate::printable::excerpt;

/// What names without a registry mean.
const DOCKER_HUB: &str = "docker.io";
/// The longest repository, in bytes (distribution/reference, `RepositoryNameTotalLengthMax`).
const LONGEST_REPOSITORY: usize = 255;

/// An image as somebody named it, before anything was looked up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageReference {
    /// The text as given.
    pub given: String,
    /// What the text means.
    pub location: Location,
}

/// Where the image is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Location {
    /// `docker://NAME`.
    Registry(Name),
    /// `docker-daemon:NAME`, a name or an image id as the engine takes it.
    Daemon(String),
    /// `oci:DIR[:TAG|@DIGEST]`.
    OciLayout(PathBuf, Option<Pick>),
    /// `oci-archive:FILE[:TAG|@DIGEST]`.
    OciArchive(PathBuf, Option<Pick>),
    /// `docker-archive:FILE[:NAME|@DIGEST]`.
    DockerArchive(PathBuf, Option<Pick>),
    /// `rootfs:DIR`.
    Rootfs(PathBuf),
    /// `-`: an archive on standard input.
    StandardInput,
    /// A text without transport: a path if there is something at it, else the name it is, if it is one. A name is
    /// the engine's image of that name if there is one, else the registry's.
    PathOrName(PathBuf, Result<Name, NotAReference>),
}

/// Which image of an archive or a layout that holds several.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pick {
    /// The one that carries this name or tag.
    Name(String),
    /// The one with this manifest or configuration digest.
    Digest(Digest),
    /// The one at this place of the list, counted from 0 (containers-transports(5), `@source-index`).
    Position(usize),
}

/// A name as `docker pull` takes it, normalised.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    /// Host and port; Docker Hub is `docker.io`.
    pub registry: String,
    /// The repository, `library/` included for Docker Hub's official images.
    pub repository: String,
    /// The tag, when one was written.
    pub tag: Option<String>,
    /// The digest, when one was written.
    pub digest: Option<Digest>,
}

/// A text that names no image.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAReference {
    /// Not of the form of a name.
    #[error("{text:?} is not an image name: {why}")]
    Name {
        /// The text.
        text: String,
        /// What is wrong with it.
        why: String,
    },
    /// A transport that is not known.
    #[error(
        "{0:?} is not a transport imglint knows: use docker://, docker-daemon:, oci:, oci-archive:, docker-archive: or rootfs:"
    )]
    Transport(String),
    /// A transport with nothing behind it.
    #[error("{0}: the path is missing")]
    Empty(&'static str),
}

impl Name {
    /// What identifies the image in its repository: the digest, else the tag, else `latest`.
    #[must_use]
    pub fn identifier(&self) -> String {
        match (&self.digest, &self.tag) {
            (Some(digest), _) => digest.to_string(),
            (None, Some(tag)) => tag.clone(),
            (None, None) => "latest".to_owned(),
        }
    }
}

impl FromStr for Name {
    type Err = NotAReference;

    /// Reads `[HOST[:PORT]/]REPOSITORY[:TAG][@DIGEST]` as Docker does (distribution/reference, reference.go and
    /// normalize.go).
    ///
    /// # Errors
    /// The text is not of that form; the error says which part is wrong.
    fn from_str(text: &str) -> Result<Self, NotAReference> {
        let wrong = |why: &str| NotAReference::Name { text: excerpt(text, 200), why: why.to_owned() };
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest.parse::<Digest>().map_err(|error| wrong(&error.to_string()))?)),
            None => (text, None),
        };
        let (path, tag) = match rest.rsplit_once(':') {
            // A colon before the last slash is that of a port.
            Some((path, tag)) if !tag.contains('/') => (path, Some(tag)),
            _ => (rest, None),
        };
        let (registry, repository) = match path.split_once('/') {
            Some((host, repository)) if is_host(host) => (host, repository.to_owned()),
            _ => (DOCKER_HUB, path.to_owned()),
        };
        let registry = if registry == "index.docker.io" { DOCKER_HUB } else { registry };
        if repository.chars().any(char::is_uppercase) {
            return Err(wrong("repository names are lower case"));
        }
        if repository.len() > LONGEST_REPOSITORY {
            return Err(wrong("the repository has more than 255 characters"));
        }
        if !repository.split('/').all(is_component) {
            return Err(wrong(
                "the repository has to be words of a-z, 0-9 and single . _ - between them, separated by /",
            ));
        }
        if repository.len() == 64 && repository.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(wrong("it is an image id; docker-daemon: takes those"));
        }
        if tag.is_some_and(|tag| !is_tag(tag)) {
            return Err(wrong(
                "the tag has to be up to 128 of A-Z, a-z, 0-9, _ . - and begin with none of the last two",
            ));
        }
        let is_official = registry == DOCKER_HUB && !repository.contains('/');
        Ok(Self {
            registry: registry.to_owned(),
            repository: if is_official { format!("library/{repository}") } else { repository },
            tag: tag.map(str::to_owned),
            digest,
        })
    }
}

/// Whether the part before the first slash is a registry and not a part of the repository.
fn is_host(text: &str) -> bool {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (text, None),
    };
    let is_label = |label: &str| {
        !label.is_empty()
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let is_address = |text: &str| {
        text.strip_prefix('[')
            .and_then(|text| text.strip_suffix(']'))
            .is_some_and(|text| text.parse::<Ipv6Addr>().is_ok())
    };
    let has_mark = host.contains('.') || port.is_some() || host == "localhost" || host.chars().any(char::is_uppercase);
    let is_port = |port: &str| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    port.is_none_or(is_port) && (is_address(host) || (has_mark && host.split('.').all(is_label)))
}

/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`
fn is_component(text: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let separators = text.split(|c: char| c.is_ascii() && is_word(c as u8)).filter(|between| !between.is_empty());
    text.bytes().next().is_some_and(is_word)
        && text.bytes().last().is_some_and(is_word)
        && separators
            .into_iter()
            .all(|between| matches!(between, "." | "_" | "__") || between.bytes().all(|byte| byte == b'-'))
}

/// `\w[\w.-]{0,127}`
fn is_tag(text: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    text.len() <= 128
        && text.bytes().next().is_some_and(is_word)
        && text.bytes().all(|byte| is_word(byte) || byte == b'.' || byte == b'-')
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.repository)?;
        match (&self.tag, &self.digest) {
            (Some(tag), Some(digest)) => write!(f, ":{tag}@{digest}"),
            (Some(tag), None) => write!(f, ":{tag}"),
            (None, Some(digest)) => write!(f, "@{digest}"),
            (None, None) => write!(f, ":latest"),
        }
    }
}

impl FromStr for ImageReference {
    type Err = NotAReference;

    /// # Errors
    /// The text is neither a name nor a known transport with a path.
    fn from_str(text: &str) -> Result<Self, NotAReference> {
        Ok(Self { given: text.to_owned(), location: location(text)? })
    }
}

fn location(text: &str) -> Result<Location, NotAReference> {
    if text == "-" {
        return Ok(Location::StandardInput);
    }
    if let Some(name) = text.strip_prefix("docker://") {
        return name.parse().map(Location::Registry);
    }
    let Some((transport, rest)) = text.split_once(':') else {
        return path_or_name(text);
    };
    match transport {
        "docker-daemon" if rest.is_empty() => Err(NotAReference::Empty("docker-daemon:")),
        "docker-daemon" => Ok(Location::Daemon(rest.to_owned())),
        "oci" => with_path("oci:", rest, Location::OciLayout),
        "oci-archive" => with_path("oci-archive:", rest, Location::OciArchive),
        "docker-archive" => with_path("docker-archive:", rest, Location::DockerArchive),
        "rootfs" => with_path("rootfs:", rest, |path, pick| Location::Rootfs(join_pick(path, pick))),
        _ if rest.starts_with("//") => Err(NotAReference::Transport(transport.to_owned())),
        "containers-storage" | "dir" | "docker-archive-gz" | "sif" | "ostree" => {
            Err(NotAReference::Transport(transport.to_owned()))
        }
        _ => path_or_name(text),
    }
}

fn path_or_name(text: &str) -> Result<Location, NotAReference> {
    let looks_like_path =
        text.starts_with(['/', '.', '~']) || std::path::Path::new(text).extension().is_some_and(is_archive_ending);
    match text.parse::<Name>() {
        Err(error) if !looks_like_path && (text.is_empty() || !text.contains(['/', '\\'])) => Err(error),
        name => Ok(Location::PathOrName(PathBuf::from(text), name)),
    }
}

fn is_archive_ending(ending: &std::ffi::OsStr) -> bool {
    ["tar", "gz", "tgz", "zst"].iter().any(|known| ending == *known)
}

fn with_path(
    transport: &'static str,
    rest: &str,
    make: impl FnOnce(PathBuf, Option<Pick>) -> Location,
) -> Result<Location, NotAReference> {
    let (path, pick) = split_pick(rest);
    if path.is_empty() {
        return Err(NotAReference::Empty(transport));
    }
    Ok(make(PathBuf::from(path), pick))
}

/// Splits `PATH[:NAME]`, `PATH[:@POSITION]` or `PATH[@DIGEST]`. A path may itself hold colons only if a name follows.
fn split_pick(rest: &str) -> (&str, Option<Pick>) {
    if let Some((path, digest)) = rest.rsplit_once('@')
        && let Ok(digest) = digest.parse()
    {
        return (path.strip_suffix(':').unwrap_or(path), Some(Pick::Digest(digest)));
    }
    let position = |text: &str| text.strip_prefix('@').and_then(|number| number.parse().ok()).map(Pick::Position);
    if let Some((path, pick)) = rest.rsplit_once(':').and_then(|(path, name)| Some((path, position(name)?))) {
        return (path, Some(pick));
    }
    match rest.split_once(':') {
        Some((path, name)) if !name.is_empty() => (path, Some(Pick::Name(name.to_owned()))),
        Some((path, _)) => (path, None),
        None => (rest, None),
    }
}

/// Folders of `rootfs:` take no name, so a colon belongs to the path.
fn join_pick(path: PathBuf, pick: Option<Pick>) -> PathBuf {
    match pick {
        None => path,
        Some(Pick::Name(name)) => PathBuf::from(format!("{}:{name}", path.display())),
        Some(Pick::Digest(digest)) => PathBuf::from(format!("{}@{digest}", path.display())),
        Some(Pick::Position(number)) => PathBuf::from(format!("{}:@{number}", path.display())),
    }
}

impl fmt::Display for Pick {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Digest(digest) => digest.fmt(f),
            Self::Position(number) => write!(f, "@{number}"),
        }
    }
}

/// An image's name or reference without tag and digest, as a text: what it is called whichever build it is.
#[must_use]
pub fn untagged(name: &str) -> String {
    let of_files = ["oci:", "oci-archive:", "docker-archive:", "rootfs:"];
    if name == "-" || of_files.iter().any(|transport| name.starts_with(transport)) {
        return name.to_owned();
    }
    let transport = ["docker://", "docker-daemon:"].into_iter().find(|transport| name.starts_with(transport));
    let (transport, rest) = name.split_at(transport.map_or(0, str::len));
    let rest = rest.split('@').next().unwrap_or_default();
    let start_of_last = rest.rfind('/').map_or(0, |at| at + 1);
    let end = rest[start_of_last..].find(':').map_or(rest.len(), |at| start_of_last + at);
    format!("{transport}{}", &rest[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_told_without_tag_and_digest() {
        let all =
            ["a", "a:1", "h:5000/b", "h:5000/b:1@sha256:0", "docker://h:5000/b:1", "docker-daemon:b:1", "oci:d:1"];
        let names = ["a", "a", "h:5000/b", "h:5000/b", "docker://h:5000/b", "docker-daemon:b", "oci:d:1"];
        assert_eq!(all.map(untagged), names);
    }

    fn parse(text: &str) -> Location {
        text.parse::<ImageReference>().unwrap().location
    }

    #[test]
    fn short_names_are_docker_hub_s() {
        let name: Name = "ubuntu:22.04".parse().unwrap();
        assert_eq!(name.to_string(), "docker.io/library/ubuntu:22.04");
        assert_eq!("octopusdeploy/worker-tools".parse::<Name>().unwrap().tag, None);
    }

    #[test]
    fn a_port_is_not_a_tag() {
        let name: Name = "localhost:5000/x".parse().unwrap();
        assert_eq!((name.registry.as_str(), name.repository.as_str(), name.tag), ("localhost:5000", "x", None));
    }

    #[test]
    fn names_are_read_as_docker_reads_them() {
        for (text, expected) in [
            ("ubuntu", "docker.io/library/ubuntu:latest"),
            ("index.docker.io/a/b:1", "docker.io/a/b:1"),
            ("a/b", "docker.io/a/b:latest"),
            ("localhost/b", "localhost/b:latest"),
            ("UPPER/case", "UPPER/case:latest"),
            ("[::1]:5000/x", "[::1]:5000/x:latest"),
            ("10.0.0.1:5000/a/b__c/d--e.f:V_1.2-3", "10.0.0.1:5000/a/b__c/d--e.f:V_1.2-3"),
        ] {
            assert_eq!(text.parse::<Name>().unwrap().to_string(), expected);
        }
        let digest = Digest::of(b"");
        let name: Name = format!("a/b:1@{digest}").parse().unwrap();
        assert_eq!((name.tag.as_deref(), name.digest), (Some("1"), Some(digest)));
    }

    #[test]
    fn what_docker_refuses_is_refused() {
        let long = "a".repeat(256);
        let id = "0".repeat(64);
        for text in [
            "",
            ":",
            "a/",
            "/a",
            "a//b",
            "-a/b",
            "a._b",
            "a___b",
            "a:",
            "a:-x",
            "a:x y",
            "a@sha256:1",
            "http://a/b",
            "a\n",
            "ä",
            "a.b:x/c",
            &long,
            &id,
        ] {
            assert!(text.parse::<Name>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn transports_take_paths_with_a_name_or_digest() {
        let digest = Digest::of(b"");
        assert_eq!(parse("oci:a/b:1.2"), Location::OciLayout("a/b".into(), Some(Pick::Name("1.2".into()))));
        assert_eq!(parse(&format!("oci:a@{digest}")), Location::OciLayout("a".into(), Some(Pick::Digest(digest))));
        assert_eq!(
            parse("docker-archive:x.tar:localhost:5000/a:1"),
            Location::DockerArchive("x.tar".into(), Some(Pick::Name("localhost:5000/a:1".into())))
        );
        assert_eq!(parse("docker-archive:x.tar:@1"), Location::DockerArchive("x.tar".into(), Some(Pick::Position(1))));
        assert_eq!(parse("oci:a:@0"), Location::OciLayout("a".into(), Some(Pick::Position(0))));
        assert_eq!(parse("rootfs:/a:b"), Location::Rootfs("/a:b".into()));
        assert_eq!(parse("-"), Location::StandardInput);
    }

    #[test]
    fn what_is_no_name_is_refused_with_the_reason() {
        let error = "Ubuntu".parse::<Name>().unwrap_err().to_string();
        assert!(error.contains("lower case"), "{error}");
        assert!("http://x/y".parse::<ImageReference>().unwrap_err().to_string().contains("transport"));
        assert!("oci:".parse::<ImageReference>().is_err());
        assert!("".parse::<ImageReference>().is_err());
    }
}
