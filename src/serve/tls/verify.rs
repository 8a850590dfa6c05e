//! Who is on the other side: the authorities that are believed, and the two checks a user can turn off.

use std::sync::Arc;

use tokio_rustls::rustls::client::WebPkiServerVerifier;
use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::{CertificateError, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

use super::{provider, refused};
use crate::serve::error::ServeError;
use crate::serve::options::Tls;

type Signed = Result<HandshakeSignatureValid, Error>;

/// Checks the next hop's certificate as far as the options ask for it.
pub(super) fn server_verifier(
    key: &'static str,
    tls: &Tls,
    roots: Option<Arc<RootCertStore>>,
) -> Result<Arc<dyn ServerCertVerifier>, ServeError> {
    if tls.verify_certificate == Some(false) {
        tracing::warn!(key, "verify_certificate is off: anybody can be the next hop");
        return Ok(Arc::new(Anybody(provider().signature_verification_algorithms)));
    }
    let roots = roots.map_or_else(|| system(key), Ok)?;
    let full = WebPkiServerVerifier::builder_with_provider(roots, provider()).build();
    let full = full.map_err(|error| refused(key, "authorities in ca_file", &error.to_string()))?;
    if tls.verify_hostname == Some(false) {
        tracing::warn!(key, "verify_hostname is off: whoever has a certificate of the authorities can be the next hop");
        return Ok(Arc::new(AnyName(full)));
    }
    Ok(full)
}

/// The authorities the system believes.
fn system(key: &'static str) -> Result<Arc<RootCertStore>, ServeError> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        return Err(refused(key, "ca_file, since the system has no authorities", "none"));
    }
    Ok(Arc::new(roots))
}

/// Whoever holds the key of the certificate that is shown, whosever that is.
#[derive(Debug)]
struct Anybody(WebPkiSupportedAlgorithms);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(&self, message: &[u8], by: &CertificateDer<'_>, dss: &DigitallySignedStruct) -> Signed {
        verify_tls12_signature(message, by, dss, &self.0)
    }

    fn verify_tls13_signature(&self, message: &[u8], by: &CertificateDer<'_>, dss: &DigitallySignedStruct) -> Signed {
        verify_tls13_signature(message, by, dss, &self.0)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}

/// Whoever has a certificate of the authorities, whatever its name.
#[derive(Debug)]
struct AnyName(Arc<WebPkiServerVerifier>);

impl ServerCertVerifier for AnyName {
    fn verify_server_cert(
        &self,
        end: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        // The name is what is looked at last: everything else was in order.
        match self.0.verify_server_cert(end, between, name, ocsp, now) {
            Err(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            checked => checked,
        }
    }

    fn verify_tls12_signature(&self, message: &[u8], by: &CertificateDer<'_>, dss: &DigitallySignedStruct) -> Signed {
        self.0.verify_tls12_signature(message, by, dss)
    }

    fn verify_tls13_signature(&self, message: &[u8], by: &CertificateDer<'_>, dss: &DigitallySignedStruct) -> Signed {
        self.0.verify_tls13_signature(message, by, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}
