//! Certificates and keys: a file in PEM or DER, or the PEM itself as the option's value.

use std::path::Path;

use pkcs8::EncryptedPrivateKeyInfo;
use pkcs8::der::SecretDocument;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use super::refused;
use crate::serve::error::ServeError;
use crate::serve::files;
use crate::serve::options::Tls;

const BEGIN: &str = "-----BEGIN";
const ENCRYPTED: &str = "-----BEGIN ENCRYPTED PRIVATE KEY-----";
/// The old way of OpenSSL to encrypt a key; its key derivation is one round of MD5.
const OLD_ENCRYPTED: &str = "Proc-Type: 4,ENCRYPTED";

/// Who we are.
pub(super) struct Identity {
    pub(super) chain: Vec<CertificateDer<'static>>,
    pub(super) key: PrivateKeyDer<'static>,
}

/// The value itself when it is PEM, else the file it names.
fn content(key: &'static str, value: &Path) -> Result<Vec<u8>, ServeError> {
    match value.to_str() {
        Some(text) if text.trim_start().starts_with(BEGIN) => Ok(text.as_bytes().to_vec()),
        _ => files::read(key, value),
    }
}

/// What errors call a value: never the text of a key.
fn shown(value: &Path) -> String {
    match value.to_str() {
        Some(text) if text.trim_start().starts_with(BEGIN) => "PEM in the option".to_owned(),
        _ => value.display().to_string(),
    }
}

fn text(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok().filter(|text| text.contains(BEGIN))
}

/// The certificates in a file, at least one.
pub(super) fn certificates(key: &'static str, value: &Path) -> Result<Vec<CertificateDer<'static>>, ServeError> {
    let bytes = content(key, value)?;
    let wrong = || refused(key, "certificates in PEM or DER", &shown(value));
    if text(&bytes).is_none() {
        return if bytes.is_empty() { Err(wrong()) } else { Ok(vec![CertificateDer::from(bytes)]) };
    }
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    found.ok().filter(|found| !found.is_empty()).ok_or_else(wrong)
}

/// Our certificate and its key, when there are any.
pub(super) fn identity(key: &'static str, tls: &Tls) -> Result<Option<Identity>, ServeError> {
    match (&tls.crt_file, &tls.key_file) {
        (Some(crt), Some(private)) => Ok(Some(Identity {
            chain: certificates(key, crt)?,
            key: private_key(key, private, tls.key_pass.as_deref())?,
        })),
        (None, None) => Ok(None),
        (Some(_), None) => Err(refused(key, "key_file beside crt_file", "crt_file alone")),
        (None, Some(_)) => Err(refused(key, "crt_file beside key_file", "key_file alone")),
    }
}

fn private_key(key: &'static str, value: &Path, pass: Option<&str>) -> Result<PrivateKeyDer<'static>, ServeError> {
    let bytes = content(key, value)?;
    let wrong = |expected: &str| refused(key, expected, &shown(value));
    let Some(text) = text(&bytes) else {
        return PrivateKeyDer::try_from(bytes).map_err(|_| wrong("a key in PEM or DER"));
    };
    if text.contains(OLD_ENCRYPTED) {
        return Err(wrong("an encrypted key in PKCS#8 (`openssl pkcs8 -topk8` makes one)"));
    }
    if !text.contains(ENCRYPTED) {
        return PrivateKeyDer::from_pem_slice(&bytes).map_err(|_| wrong("a key in PEM or DER"));
    }
    let pass = pass.ok_or_else(|| wrong("key_pass for an encrypted key"))?;
    decrypted(text, pass).ok_or_else(|| wrong("a key that key_pass opens (PBES2 with AES)"))
}

fn decrypted(text: &str, pass: &str) -> Option<PrivateKeyDer<'static>> {
    let from = text.find(ENCRYPTED)?;
    let (_, document) = SecretDocument::from_pem(text.get(from..)?.trim_end()).ok()?;
    let info = EncryptedPrivateKeyInfo::try_from(document.as_bytes()).ok()?;
    let key = info.decrypt(pass).ok()?;
    Some(PrivatePkcs8KeyDer::from(key.as_bytes().to_vec()).into())
}
