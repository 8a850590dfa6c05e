//! Clients of buckets: S3, Google Cloud Storage and Azure Blob Storage, by the `object_store` crate.
//!
//! Credentials and endpoints come from the environment as that crate reads them (`AWS_…`, `GOOGLE_…`, `AZURE_…`). A request is given
//! [`TIMEOUT_SECS`] and tried twice again.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};
use object_store::gcp::{GoogleCloudStorageBuilder, GoogleConfigKey};
use object_store::path::Path;
use object_store::{ClientConfigKey, Error, ObjectStore, ObjectStoreScheme, RetryConfig};

use super::error::StorageError;

/// For one request.
const TIMEOUT_SECS: u64 = 10;

/// The bucket that `url` names, such as `s3://bucket/oddline`, and the path in it. Nothing is asked of it yet.
///
/// # Errors
/// When the URL is none of a bucket, or credentials in the environment contradict each other.
pub(super) fn open(url: &str) -> Result<(Arc<dyn ObjectStore>, Path), StorageError> {
    let failed = |error: Error| StorageError::io("open", &PathBuf::from(url))(error.into());
    let invalid = |error: url::ParseError| {
        StorageError::io("open", &PathBuf::from(url))(io::Error::new(io::ErrorKind::InvalidInput, error))
    };
    use_ring();
    let parsed = url::Url::parse(url).map_err(invalid)?;
    let (scheme, path) = ObjectStoreScheme::parse(&parsed).map_err(|error| failed(error.into()))?;
    Ok((client(&scheme, url).map_err(failed)?, path))
}

/// TLS with the cryptography this build has; who has installed another one keeps it.
pub(super) fn use_ring() {
    drop(rustls::crypto::ring::default_provider().install_default());
}

fn client(scheme: &ObjectStoreScheme, url: &str) -> Result<Arc<dyn ObjectStore>, Error> {
    let timeout = format!("{TIMEOUT_SECS} seconds");
    let retry =
        RetryConfig { max_retries: 2, retry_timeout: Duration::from_secs(2 * TIMEOUT_SECS), ..Default::default() };
    let key = ClientConfigKey::Timeout;
    Ok(match scheme {
        ObjectStoreScheme::AmazonS3 => Arc::new(
            AmazonS3Builder::from_env()
                .with_url(url)
                .with_retry(retry)
                .with_config(AmazonS3ConfigKey::Client(key), timeout)
                .build()?,
        ),
        ObjectStoreScheme::GoogleCloudStorage => Arc::new(
            GoogleCloudStorageBuilder::from_env()
                .with_url(url)
                .with_retry(retry)
                .with_config(GoogleConfigKey::Client(key), timeout)
                .build()?,
        ),
        ObjectStoreScheme::MicrosoftAzure => Arc::new(
            MicrosoftAzureBuilder::from_env()
                .with_url(url)
                .with_retry(retry)
                .with_config(AzureConfigKey::Client(key), timeout)
                .build()?,
        ),
        _ => return Err(Error::NotSupported { source: format!("{url}: expected s3://, gs:// or az://").into() }),
    })
}
