//! Arguments about where images come from and what is kept of them.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::values::{Unread, duration, host, size};
use crate::cache::NamedBy;
use crate::image::registry::RegistrySettings;
use crate::platform::PlatformChoice;

/// How images are reached.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Reaching images")]
pub struct SourceArguments {
    /// Which entry of an index: OS/ARCH[/VARIANT][:OSVERSION], or all. Default: linux on this machine's
    /// architecture, else linux/amd64, else all.
    #[arg(long, value_name = "PLATFORM", env = "IMGLINT_PLATFORM")]
    pub platform: Option<PlatformChoice>,
    /// The engine: unix://PATH or tcp://HOST:PORT. Default: `DOCKER_HOST`, else `DOCKER_CONTEXT`, `CONTAINER_HOST`, Docker's
    /// current context, or the usual sockets.
    #[arg(long, value_name = "URL", env = "IMGLINT_ENGINE")]
    pub engine: Option<String>,
    /// Credentials in the form of Docker's config.json or Podman's auth.json.
    #[arg(long, value_name = "FILE", env = "IMGLINT_REGISTRY_AUTH")]
    pub registry_auth: Option<PathBuf>,
    /// A certificate authority to trust besides the system's (PEM). Repeatable.
    #[arg(long, value_name = "FILE", env = "IMGLINT_TLS_CA")]
    pub tls_ca: Vec<PathBuf>,
    /// A client certificate (PEM).
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub tls_cert: Option<PathBuf>,
    /// The key of the client certificate (PEM).
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,
    /// Speak to this registry without verifying its certificate, or over plain HTTP. Repeatable; plain HTTP to
    /// loopback needs no leave.
    #[arg(long, value_name = "HOST[:PORT]", env = "IMGLINT_INSECURE_REGISTRY", value_delimiter = ',')]
    pub insecure_registry: Vec<String>,
    /// The configuration to judge a rootfs: folder by.
    #[arg(long, value_name = "FILE")]
    pub config_json: Option<PathBuf>,
    /// Read no layer: judge by manifest and configuration, and say what stays unknown for that.
    #[arg(long, env = "IMGLINT_CONFIG_ONLY")]
    pub config_only: bool,
    /// Read no layer of an image that manifest and configuration alone show to be incompatible.
    #[arg(long, env = "IMGLINT_FAIL_FAST")]
    pub fail_fast: bool,
    /// Verify layers as an engine does that pulls them: hold their content against the DiffIDs of the configuration, too.
    /// What a cache has of layers is not used.
    #[arg(long, env = "IMGLINT_VERIFY_LAYERS")]
    pub verify_layers: bool,
    /// Fetch layers with a table of contents (eStargz, zstd:chunked) in part, by that table. Engines do not look at it:
    /// an image whose table is not that of its files is judged wrongly.
    #[arg(long, env = "IMGLINT_TRUST_TOC", conflicts_with = "verify_layers")]
    pub trust_toc: bool,
    /// Fetch no layer that is larger, such as 500MB: what only it could tell is unknown.
    #[arg(long, value_name = "SIZE", value_parser = size, env = "IMGLINT_MAX_LAYER_FETCH")]
    pub max_layer_fetch: Option<u64>,
    /// Fetch foreign layers of Windows images, which the registry does not have, from mcr.microsoft.com, and from the
    /// hosts that are named here. No other host is asked, whatever an image or a redirect names.
    #[arg(
        long,
        value_name = "HOST[:PORT]",
        num_args = 0..=1,
        require_equals = true,
        value_delimiter = ',',
        default_missing_value = "",
        value_parser = host
    )]
    pub allow_foreign_urls: Vec<String>,
    /// How many images and layers are read at a time.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=64), env = "IMGLINT_JOBS")]
    pub jobs: Option<u16>,
    /// Give up on what waits for a registry, an engine or standard input after this time, such as 90, 90s or 5m. Default:
    /// after five minutes without a byte, and what comes too slowly.
    #[arg(long, value_name = "TIME", value_parser = duration, env = "IMGLINT_TIMEOUT")]
    pub timeout: Option<Duration>,
    /// What the configuration says of single registries.
    #[arg(skip)]
    pub registries: BTreeMap<String, RegistrySettings>,
    #[command(flatten)]
    /// What was read before.
    pub cache: CacheArguments,
    /// Show no progress on the terminal.
    #[arg(long, env = "IMGLINT_NO_PROGRESS")]
    pub no_progress: bool,
}

/// Where indexes of layers are kept, so that a layer is fetched and read only once.
#[derive(Clone, Debug, Args)]
pub struct CacheArguments {
    /// Where what was read of layers is kept: a folder, or a store that machines share, s3://BUCKET/PREFIX, gs://…,
    /// az://…, redis://HOST. Default: imglint in the user's folder for caches. A folder in which others may have put
    /// something is used only if it is named here, not by the variable.
    #[arg(long = "cache", value_name = "DIR|URL", env = "IMGLINT_CACHE", hide_env_values = true)]
    pub place: Option<Unread>,
    /// Who says where it is.
    #[arg(skip)]
    pub named_by: NamedBy,
    /// A file with a key that all have who share the cache: only entries that were made with it are believed. At least
    /// 16 bytes.
    #[arg(long = "cache-key-file", value_name = "FILE", env = "IMGLINT_CACHE_KEY_FILE")]
    pub key_file: Option<PathBuf>,
    /// Keep nothing, and use nothing that was kept.
    #[arg(long, env = "IMGLINT_NO_CACHE")]
    pub no_cache: bool,
    /// How much is kept in a folder at most; what was used least goes first.
    #[arg(long, value_name = "SIZE", value_parser = size, default_value = "1GB", env = "IMGLINT_CACHE_SIZE")]
    pub cache_size: u64,
}

/// Arguments of `imglint cache`.
#[derive(Debug, Args)]
pub struct CacheCommandArguments {
    /// What to do with it.
    #[arg(value_enum, value_name = "ACTION")]
    pub action: CacheAction,
    /// Where it is. Default: imglint in the user's folder for caches.
    #[arg(long = "cache", value_name = "DIR|URL", env = "IMGLINT_CACHE", hide_env_values = true)]
    pub place: Option<Unread>,
    /// Who says where it is.
    #[arg(skip)]
    pub named_by: NamedBy,
    /// The file with the key of those who share the cache.
    #[arg(long = "cache-key-file", value_name = "FILE", env = "IMGLINT_CACHE_KEY_FILE")]
    pub key_file: Option<PathBuf>,
}

/// What can be done with the cache.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum CacheAction {
    /// Say where it is and how much it holds.
    Info,
    /// Remove what it holds.
    Clear,
}
