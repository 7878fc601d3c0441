//! What a user wrote to name an image: a registry name or a transport with a path (containers-transports(5)).

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use crate::digest::Digest;

/// An image as somebody named it, before anything was looked up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageReference {
    /// The text as given.
    pub given: String,
    /// What the text means.
    pub location: Location,
}

/// Where the image is to be had.
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
    PathOrName(PathBuf, Option<Name>),
}

/// Which image of an archive or a layout that holds several.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pick {
    /// The one that carries this name or tag.
    Name(String),
    /// The one with this manifest or configuration digest.
    Digest(Digest),
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
#[derive(Debug, thiserror::Error)]
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

    /// # Errors
    /// The text is not of the form that the distribution specification gives ("Pulling manifests").
    fn from_str(text: &str) -> Result<Self, NotAReference> {
        let wrong = |why: String| NotAReference::Name { text: text.chars().take(300).collect(), why };
        let parsed = oci_spec::distribution::Reference::from_str(text).map_err(|error| {
            let has_upper = text.split(['@', ':']).next().is_some_and(|name| name.chars().any(char::is_uppercase));
            wrong(if has_upper { "repository names are lower case".to_owned() } else { error.to_string() })
        })?;
        let digest = parsed
            .digest()
            .map(str::parse)
            .transpose()
            .map_err(|error: crate::digest::NotADigest| wrong(error.to_string()))?;
        let before_digest = text.split('@').next().unwrap_or(text);
        let tag_written = before_digest.rsplit('/').next().is_some_and(|last| last.contains(':'));
        Ok(Self {
            registry: parsed.registry().to_owned(),
            repository: parsed.repository().to_owned(),
            tag: parsed.tag().filter(|_| tag_written).map(str::to_owned),
            digest,
        })
    }
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
        Ok(name) => Ok(Location::PathOrName(PathBuf::from(text), Some(name))),
        Err(_) if looks_like_path => Ok(Location::PathOrName(PathBuf::from(text), None)),
        Err(error) if text.is_empty() || !text.contains(['/', '\\']) => Err(error),
        Err(_) => Ok(Location::PathOrName(PathBuf::from(text), None)),
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

/// Splits `PATH[:NAME]` or `PATH[@DIGEST]`. A path may itself hold colons only if a name follows.
fn split_pick(rest: &str) -> (&str, Option<Pick>) {
    if let Some((path, digest)) = rest.rsplit_once('@')
        && let Ok(digest) = digest.parse()
    {
        return (path, Some(Pick::Digest(digest)));
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
    }
}

impl fmt::Display for Pick {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Digest(digest) => digest.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn transports_take_paths_with_a_name_or_digest() {
        let digest = Digest::of(b"");
        assert_eq!(parse("oci:a/b:1.2"), Location::OciLayout("a/b".into(), Some(Pick::Name("1.2".into()))));
        assert_eq!(parse(&format!("oci:a@{digest}")), Location::OciLayout("a".into(), Some(Pick::Digest(digest))));
        assert_eq!(
            parse("docker-archive:x.tar:localhost:5000/a:1"),
            Location::DockerArchive("x.tar".into(), Some(Pick::Name("localhost:5000/a:1".into())))
        );
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
