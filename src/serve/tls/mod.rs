//! TLS for both directions and both protocols, from options with Vector's names.

mod accept;
mod connect;
mod pem;
mod verify;

use std::sync::Arc;

use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{ClientConfig, ConfigBuilder, RootCertStore, ServerConfig, WantsVerifier};

pub(super) use self::accept::TlsListener;
pub(super) use self::connect::{Secure, Secured, with_scheme};
use super::error::ServeError;
use super::options::Tls;

/// What gRPC speaks.
pub(super) const GRPC: &[&str] = &["h2"];
/// What the HTTP side speaks to those who come.
pub(super) const HTTP: &[&str] = &["h2", "http/1.1"];
/// What it speaks to the next hop.
pub(super) const HTTP_FORWARD: &[&str] = &["http/1.1"];

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

/// TLS 1.2 and 1.3, which every provider has.
fn versions<S>(
    key: &'static str,
    builder: ConfigBuilder<S, tokio_rustls::rustls::WantsVersions>,
) -> Result<ConfigBuilder<S, WantsVerifier>, ServeError>
where
    S: tokio_rustls::rustls::ConfigSide,
{
    builder.with_safe_default_protocol_versions().map_err(|source| ServeError::Tls { key, source })
}

fn protocols(tls: &Tls, usual: &[&str]) -> Vec<Vec<u8>> {
    match &tls.alpn_protocols {
        Some(own) => own.iter().map(|name| name.clone().into_bytes()).collect(),
        None => usual.iter().map(|name| name.as_bytes().to_vec()).collect(),
    }
}

fn refused(key: &'static str, expected: &str, found: &str) -> ServeError {
    ServeError::Option { key, expected: expected.to_owned(), found: found.to_owned() }
}

fn roots(key: &'static str, tls: &Tls) -> Result<Option<Arc<RootCertStore>>, ServeError> {
    let Some(file) = &tls.ca_file else { return Ok(None) };
    let mut roots = RootCertStore::empty();
    for certificate in pem::certificates(key, file)? {
        roots.add(certificate).map_err(|source| ServeError::Tls { key, source })?;
    }
    Ok(Some(Arc::new(roots)))
}

/// TLS towards those who connect to us; nothing when it is off.
pub(super) fn server(
    key: &'static str,
    tls: Option<&Tls>,
    usual: &[&str],
) -> Result<Option<Arc<ServerConfig>>, ServeError> {
    let Some(tls) = tls.filter(|tls| tls.is_enabled()) else { return Ok(None) };
    let identity = pem::identity(key, tls)?.ok_or_else(|| refused(key, "crt_file and key_file", "neither"))?;
    let builder = versions(key, ServerConfig::builder_with_provider(provider()))?;
    let builder = match (tls.verify_certificate, roots(key, tls)?) {
        (Some(true), None) => return Err(refused(key, "ca_file for verify_certificate", "none")),
        (Some(true), Some(roots)) => {
            let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider()).build();
            builder.with_client_cert_verifier(
                verifier.map_err(|error| refused(key, "authorities in ca_file", &error.to_string()))?,
            )
        }
        _ => builder.with_no_client_auth(),
    };
    let config = builder.with_single_cert(identity.chain, identity.key);
    let mut config = config.map_err(|source| ServeError::Tls { key, source })?;
    config.alpn_protocols = protocols(tls, usual);
    Ok(Some(Arc::new(config)))
}

/// TLS towards the next hop, when its address asks for it.
///
/// # Errors
/// When address and options do not go together, or a file is not what it should be.
pub(super) fn client(
    key: &'static str,
    address: &http::Uri,
    tls: Option<&Tls>,
    usual: &[&str],
) -> Result<Option<Secure>, ServeError> {
    let is_secure = address.scheme_str() == Some("https");
    let default = Tls::default();
    let tls = match tls.filter(|tls| tls.is_enabled()) {
        Some(_) if !is_secure => {
            return Err(refused(key, "an address that begins with https://", &address.to_string()));
        }
        None if !is_secure => return Ok(None),
        tls => tls.unwrap_or(&default),
    };
    let builder = versions(key, ClientConfig::builder_with_provider(provider()))?;
    let verifier = verify::server_verifier(key, tls, roots(key, tls)?)?;
    let builder = builder.dangerous().with_custom_certificate_verifier(verifier);
    let mut config = match pem::identity(key, tls)? {
        Some(own) => {
            builder.with_client_auth_cert(own.chain, own.key).map_err(|source| ServeError::Tls { key, source })?
        }
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = protocols(tls, usual);
    Secure::new(key, config, tls.server_name.as_deref()).map(Some)
}
