//! The cryptography that TLS uses, the same for registries and engines.

/// Makes it known, once in a process, before a client is made.
pub(super) fn ready() {
    // Whoever was first has chosen the same.
    drop(rustls::crypto::ring::default_provider().install_default());
}
