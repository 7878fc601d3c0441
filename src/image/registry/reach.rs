//! Which hosts a registry may lead to: any for one that the user named, few for one that an image names.
//!
//! An image names the places of its foreign layers. What such a place answers must not make imglint ask hosts of the
//! network that it runs in, which only this machine may reach.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::sync::Arc;

use reqwest::Url;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

/// Microsoft's registry, which the addresses of foreign layers name.
const ORIGIN: &str = "mcr.microsoft.com";
/// Where Microsoft's registry keeps blobs and redirects to, each region a host of its own (microsoft/containerregistry,
/// docs/client-firewall-rules.md: `*.data.mcr.microsoft.com`).
const DATA: &str = ".data.mcr.microsoft.com";

/// The hosts that may be asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Reach {
    /// All. The user named the registry, and engines follow its redirects, too.
    #[default]
    All,
    /// Microsoft's registry and its data hosts at public addresses, and what the user named.
    ForeignLayers {
        /// `HOST[:PORT]` that the user named, at any address.
        named: Vec<String>,
    },
}

impl Reach {
    /// For foreign layers, with the hosts that the user named.
    #[must_use]
    pub fn of_foreign_layers(named: &[String]) -> Self {
        Self::ForeignLayers { named: named.to_vec() }
    }

    /// Whether foreign layers are fetched from a place: Microsoft's registry, or one that the user named.
    pub(super) fn is_origin(&self, url: &Url) -> bool {
        match self {
            Self::All => true,
            Self::ForeignLayers { named } => {
                is_https(url) && ((url.host_str() == Some(ORIGIN) && url.port().is_none()) || is_named(url, named))
            }
        }
    }

    /// Whether a URL may be asked, be it the first one or one that was redirected to.
    pub(super) fn allows(&self, url: &Url) -> bool {
        let is_data = || url.host_str().is_some_and(is_data_host) && url.port().is_none() && is_https(url);
        self.is_origin(url) || is_data()
    }

    /// What looks up names for it, if their addresses matter.
    pub(super) fn resolver(&self) -> Option<Arc<PublicOnly>> {
        match self {
            Self::All => None,
            Self::ForeignLayers { named } => Some(Arc::new(PublicOnly { named: named.clone() })),
        }
    }
}

fn is_https(url: &Url) -> bool {
    url.scheme() == "https"
}

/// A host below [`DATA`], with a name of its own.
fn is_data_host(host: &str) -> bool {
    host.strip_suffix(DATA).is_some_and(|region| !region.is_empty() && !region.starts_with('.'))
}

fn is_named(url: &Url, named: &[String]) -> bool {
    let (host, port) = (url.host_str().unwrap_or_default(), url.port_or_known_default().unwrap_or_default());
    named.iter().any(|entry| {
        entry.eq_ignore_ascii_case(&format!("{host}:{port}")) || (port == 443 && entry.eq_ignore_ascii_case(host))
    })
}

/// Looks up Microsoft's hosts at public addresses only. Other names, such as a proxy's, are the user's own.
pub(super) struct PublicOnly {
    named: Vec<String>,
}

impl PublicOnly {
    /// Whether a name has to be one of the public internet.
    fn is_bound(&self, host: &str) -> bool {
        let is_it =
            |entry: &String| entry.rsplit_once(':').map_or(entry.as_str(), |(own, _)| own).eq_ignore_ascii_case(host);
        (host == ORIGIN || is_data_host(host)) && !self.named.iter().any(is_it)
    }
}

impl Resolve for PublicOnly {
    fn resolve(&self, name: Name) -> Resolving {
        // The thread of a client's requests waits for this anyway: a foreign layer is one stream.
        let found = addresses(name.as_str(), self.is_bound(name.as_str()));
        let found = found.map(|found| Box::new(found.into_iter()) as Addrs).map_err(Into::into);
        Box::pin(std::future::ready(found))
    }
}

fn addresses(host: &str, is_bound: bool) -> io::Result<Vec<SocketAddr>> {
    let found: Vec<SocketAddr> = (host, 0).to_socket_addrs()?.collect();
    match found.iter().find(|address| is_bound && !is_public(address.ip())) {
        Some(private) => {
            Err(io::Error::other(format!("{host} has the address {}, which is not a public one", private.ip())))
        }
        None => Ok(found),
    }
}

/// Whether an address is one of the public internet (IANA, special-purpose address registries).
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => match address.to_ipv4_mapped() {
            Some(mapped) => is_public_v4(mapped),
            None => is_public_v6(address),
        },
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [first, second, third, _] = address.octets();
    let is_shared = first == 100 && (64..128).contains(&second);
    let is_benchmark = first == 198 && (second == 18 || second == 19);
    let is_protocol = first == 192 && second == 0 && third == 0;
    !(address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_broadcast()
        || address.is_documentation()
        || address.is_multicast()
        || first == 0
        || first >= 240
        || is_shared
        || is_benchmark
        || is_protocol)
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    // All that is assigned to the internet lies in 2000::/3. Of that, documentation and addresses that carry one of
    // version 4 (6to4, Teredo) are left out; so is NAT64, which lies outside and reaches private networks.
    let [first, second, ..] = address.segments();
    let is_global = first & 0xe000 == 0x2000;
    is_global && first != 0x2002 && !(first == 0x2001 && (second == 0xdb8 || second == 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap()
    }

    #[test]
    fn a_foreign_layer_stays_with_microsoft_and_what_the_user_named() {
        let reach = Reach::of_foreign_layers(&["mirror.example".to_owned(), "own.example:8443".to_owned()]);
        for allowed in [
            "https://mcr.microsoft.com/v2/x",
            "https://westeurope.data.mcr.microsoft.com/a?sig=1",
            "https://MIRROR.example/x",
            "https://own.example:8443/x",
        ] {
            assert!(reach.allows(&url(allowed)), "{allowed}");
        }
        for refused in [
            "http://mcr.microsoft.com/",
            "https://mcr.microsoft.com:8443/",
            "https://data.mcr.microsoft.com/",
            "https://.data.mcr.microsoft.com/",
            "https://westeurope.data.mcr.microsoft.com:8443/",
            "https://data.mcr.microsoft.com.evil.example/",
            "https://evildata.mcr.microsoft.com/",
            "https://mcr.microsoft.com.evil.example/",
            "https://mirror.example:444/",
            "https://own.example/",
            "https://internal.example/",
            "https://10.0.0.1/",
            "https://169.254.169.254/latest/meta-data/",
            "https://[::1]/",
            "https://localhost/",
        ] {
            assert!(!reach.allows(&url(refused)), "{refused}");
        }
        assert!(!reach.is_origin(&url("https://westeurope.data.mcr.microsoft.com/v2/x")));
        assert!(Reach::All.allows(&url("http://anywhere.example:1/")));
    }

    #[test]
    fn microsoft_s_hosts_have_public_addresses_unless_the_user_names_them() {
        let names = |named: &[&str]| PublicOnly { named: named.iter().map(ToString::to_string).collect() };
        assert!(names(&[]).is_bound("mcr.microsoft.com") && names(&[]).is_bound("a.data.mcr.microsoft.com"));
        assert!(!names(&[]).is_bound("proxy.example"), "a proxy may be anywhere");
        assert!(!names(&["mcr.microsoft.com:443"]).is_bound("mcr.microsoft.com"));
        assert!(addresses("localhost", true).is_err() && addresses("localhost", false).is_ok());
    }

    #[test]
    fn addresses_of_this_network_are_told_from_public_ones() {
        for public in ["13.107.213.40", "150.171.69.10", "2603:1061::1", "2a01:111::1"] {
            assert!(is_public(public.parse().unwrap()), "{public}");
        }
        for private in [
            "10.1.2.3",
            "127.0.0.1",
            "169.254.169.254",
            "172.16.0.1",
            "192.168.0.1",
            "100.64.0.1",
            "198.18.0.1",
            "0.0.0.0",
            "240.0.0.1",
            "::1",
            "fd00::1",
            "fe80::1",
            "::ffff:10.0.0.1",
            "64:ff9b::a00:1",
            "2002:a00:1::",
            "2001:db8::1",
        ] {
            assert!(!is_public(private.parse().unwrap()), "{private}");
        }
    }
}
