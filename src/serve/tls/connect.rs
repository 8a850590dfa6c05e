//! Connecting to the next hop, with TLS where its address says so.

use std::sync::Arc;
use std::task::{Context, Poll};

use http::Uri;
use http::uri::Scheme;
use hyper_rustls::{DefaultServerNameResolver, FixedServerNameResolver, HttpsConnector, ResolveServerName};
use hyper_util::client::legacy::connect::HttpConnector;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};
use tower_service::Service;

use super::{provider, refused, versions};
use crate::serve::error::ServeError;

/// How the next hop is spoken to in secret.
#[derive(Clone)]
pub(crate) struct Secure {
    config: Arc<ClientConfig>,
    name: Option<ServerName<'static>>,
}

impl Secure {
    pub(super) fn new(key: &'static str, config: ClientConfig, name: Option<&str>) -> Result<Self, ServeError> {
        let parsed = |name: &str| {
            ServerName::try_from(name.to_owned()).map_err(|_| refused(key, "a host name for server_name", name))
        };
        Ok(Self { config: Arc::new(config), name: name.map(parsed).transpose()? })
    }

    /// Connects with TLS to `https://`, without to `http://`.
    pub(crate) fn connector(&self) -> HttpsConnector<HttpConnector> {
        let names: Arc<dyn ResolveServerName + Send + Sync> = match &self.name {
            Some(name) => Arc::new(FixedServerNameResolver::new(name.clone())),
            None => Arc::new(DefaultServerNameResolver::default()),
        };
        let mut http = HttpConnector::new();
        http.enforce_http(false);
        http.set_nodelay(true);
        HttpsConnector::new(http, Arc::clone(&self.config), false, names)
    }

    /// For an address without TLS: believes nobody.
    pub(crate) fn none(key: &'static str) -> Result<Self, ServeError> {
        let builder = versions(key, ClientConfig::builder_with_provider(provider()))?;
        Self::new(key, builder.with_root_certificates(RootCertStore::empty()).with_no_client_auth(), None)
    }
}

/// A connector for gRPC, which would have TLS its own way if it saw `https://`: it is given `http://`, and this makes it
/// `https://` again.
#[derive(Clone)]
pub(crate) struct Secured(pub(crate) HttpsConnector<HttpConnector>);

impl Service<Uri> for Secured {
    type Response = <HttpsConnector<HttpConnector> as Service<Uri>>::Response;
    type Error = <HttpsConnector<HttpConnector> as Service<Uri>>::Error;
    type Future = <HttpsConnector<HttpConnector> as Service<Uri>>::Future;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        self.0.call(with_scheme(&uri, Scheme::HTTPS))
    }
}

/// `uri` with another scheme.
pub(crate) fn with_scheme(uri: &Uri, scheme: Scheme) -> Uri {
    let mut parts = uri.clone().into_parts();
    parts.scheme = Some(scheme);
    // Only a scheme without an authority is refused, and an address of a next hop has one.
    Uri::from_parts(parts).unwrap_or_else(|_| uri.clone())
}
