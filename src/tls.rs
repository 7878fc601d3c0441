//! The cryptography that TLS uses, the same for registries, engines and caches.

/// Makes it known, once in a process, before a client is made.
pub(crate) fn ready() {
    // Whoever was first has chosen the same.
    drop(rustls::crypto::ring::default_provider().install_default());
}
