//! A bucket: S3, Google Cloud Storage, Azure Blob Storage and whatever else the `object_store` crate reaches.
//!
//! Credentials and requests are those of [`bucket`](crate::storage::bucket); what fails is the spool's business. Objects are created with a condition,
//! that there is none of that key, where the store knows conditions; where it does not, an object written twice is written with the same bytes, which its key names.

use std::path::PathBuf;
use std::sync::Arc;

use object_store::path::Path;
use object_store::{Error, ObjectStore as Remote, ObjectStoreExt, PutMode, PutOptions, PutPayload};
use tokio::runtime::{Builder, Runtime};
use tokio_stream::StreamExt;

use super::store::{ObjectMeta, ObjectStore, Put};
use crate::storage::bucket;
use crate::storage::error::StorageError;

/// Objects below a prefix of a bucket.
#[derive(Debug)]
pub struct RemoteStore {
    remote: Arc<dyn Remote>,
    prefix: Path,
    runtime: Runtime,
}

impl RemoteStore {
    /// The bucket and prefix that `url` names, such as `s3://bucket/oddline`. Nothing is asked of it yet.
    ///
    /// # Errors
    /// When the URL is none of a store, or credentials in the environment contradict each other.
    pub fn open(url: &str) -> Result<Self, StorageError> {
        let (remote, prefix) = bucket::open(url)?;
        Self::over(remote, prefix)
    }

    /// Objects below `prefix` of any store of the crate.
    ///
    /// # Errors
    /// When no runtime can be made.
    pub fn over(remote: Arc<dyn Remote>, prefix: Path) -> Result<Self, StorageError> {
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(StorageError::io("start a runtime for", &PathBuf::from(prefix.as_ref())))?;
        Ok(Self { remote, prefix, runtime })
    }

    fn path(&self, key: &str) -> Path {
        key.split('/').filter(|part| !part.is_empty()).fold(self.prefix.clone(), |path, part| path.join(part))
    }

    fn failed(&self, operation: &'static str, key: &str) -> impl FnOnce(Error) -> StorageError {
        let path = PathBuf::from(self.path(key).as_ref());
        move |error| StorageError::io(operation, &path)(error.into())
    }
}

impl ObjectStore for RemoteStore {
    fn put_new(&self, key: &str, bytes: &[u8]) -> Result<Put, StorageError> {
        let (path, payload) = (self.path(key), PutPayload::from(bytes.to_vec()));
        let create = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
        let put = self.runtime.block_on(async {
            match self.remote.put_opts(&path, payload.clone(), create).await {
                Err(Error::NotImplemented { .. }) => self.remote.put(&path, payload).await,
                put => put,
            }
        });
        match put {
            Ok(_) => Ok(Put::Stored),
            Err(Error::AlreadyExists { .. } | Error::Precondition { .. }) => Ok(Put::AlreadyThere),
            Err(error) => Err(self.failed("store", key)(error)),
        }
    }

    fn get(&self, key: &str) -> Result<Vec<u8>, StorageError> {
        let path = self.path(key);
        let read = self.runtime.block_on(async { self.remote.get(&path).await?.bytes().await });
        read.map(|bytes| bytes.to_vec()).map_err(self.failed("get", key))
    }

    fn list(&self, prefix: &str) -> Result<Vec<ObjectMeta>, StorageError> {
        let path = self.path(prefix);
        let own = self.prefix.as_ref().to_owned();
        let listed = self.runtime.block_on(async {
            let mut objects = Vec::new();
            let mut stream = self.remote.list(Some(&path));
            while let Some(object) = stream.next().await {
                let object = object?;
                let key = object.location.as_ref().strip_prefix(&own).unwrap_or_default().trim_start_matches('/');
                objects.push(ObjectMeta { key: key.to_owned(), bytes: object.size });
            }
            Ok(objects)
        });
        let mut objects: Vec<ObjectMeta> = listed.map_err(self.failed("list", prefix))?;
        objects.sort_unstable();
        Ok(objects)
    }

    fn delete(&self, key: &str) -> Result<(), StorageError> {
        let path = self.path(key);
        match self.runtime.block_on(self.remote.delete(&path)) {
            Ok(()) | Err(Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(self.failed("delete", key)(error)),
        }
    }
}
