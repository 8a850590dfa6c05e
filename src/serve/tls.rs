//! TLS for gRPC, from options with Vector's names.

use tonic::transport::{Certificate, ClientTlsConfig, Identity, ServerTlsConfig};

use super::error::ServeError;
use super::files;
use super::options::Tls;

fn refused(key: &'static str, expected: &str, found: &str) -> ServeError {
    ServeError::Option { key, expected: expected.to_owned(), found: found.to_owned() }
}

fn authorities(key: &'static str, tls: &Tls) -> Result<Option<Certificate>, ServeError> {
    tls.ca_file.as_deref().map(|path| files::read(key, path).map(Certificate::from_pem)).transpose()
}

fn identity(key: &'static str, tls: &Tls) -> Result<Option<Identity>, ServeError> {
    match (&tls.crt_file, &tls.key_file) {
        (Some(crt), Some(private)) => Ok(Some(Identity::from_pem(files::read(key, crt)?, files::read(key, private)?))),
        (None, None) => Ok(None),
        (Some(_), None) => Err(refused(key, "key_file beside crt_file", "crt_file alone")),
        (None, Some(_)) => Err(refused(key, "crt_file beside key_file", "key_file alone")),
    }
}

/// TLS towards those who connect to us; nothing when it is off.
pub(super) fn server(tls: Option<&Tls>) -> Result<Option<ServerTlsConfig>, ServeError> {
    const KEY: &str = "vector.tls";
    let Some(tls) = tls.filter(|tls| tls.is_enabled()) else { return Ok(None) };
    let own = identity(KEY, tls)?.ok_or_else(|| refused(KEY, "crt_file and key_file", "neither"))?;
    let config = ServerTlsConfig::new().identity(own);
    match (tls.verify_certificate, authorities(KEY, tls)?) {
        (Some(true), Some(ca)) => Ok(Some(config.client_ca_root(ca))),
        (Some(true), None) => Err(refused(KEY, "ca_file for verify_certificate", "none")),
        _ => Ok(Some(config)),
    }
}

/// TLS towards the next hop; nothing when it is off.
pub(super) fn client(tls: Option<&Tls>) -> Result<Option<ClientTlsConfig>, ServeError> {
    const KEY: &str = "vector.forward_tls";
    let Some(tls) = tls.filter(|tls| tls.is_enabled()) else { return Ok(None) };
    if tls.verify_certificate == Some(false) {
        return Err(refused(KEY, "verify_certificate to stay true", "false"));
    }
    let ca = authorities(KEY, tls)?.ok_or_else(|| refused(KEY, "ca_file", "none"))?;
    let mut config = ClientTlsConfig::new().ca_certificate(ca);
    if let Some(own) = identity(KEY, tls)? {
        config = config.identity(own);
    }
    Ok(Some(match &tls.server_name {
        Some(name) => config.domain_name(name),
        None => config,
    }))
}
