//! Who is answered where no token and no certificate is asked for: programs of this machine, not the pages its browsers show.
//!
//! A page of elsewhere may send requests to loopback: with its own name in `Host` when that name was made to lead here (DNS rebinding), with
//! itself in `Origin` otherwise. Both must be loopback (`localhost`, `127.0.0.0/8`, `::1`) or among `http.allowed_hosts`. A request without
//! either comes from no browser. A unix socket no browser reaches.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::Response;

use super::{Shared, failure};
use crate::serve::listen::{Address, is_loopback};
use crate::serve::options::HttpOptions;
use crate::serve::stats::add;

/// What is looked at before a request is answered.
pub(super) struct Guard {
    is_on: bool,
    allowed: Vec<String>,
}

impl Guard {
    pub(super) fn new(options: &HttpOptions) -> Self {
        // What is not to be read has been refused by now.
        let is_unix = matches!(Address::parse("http.listen", &options.listen), Ok(Address::Unix(_)));
        Self { is_on: !is_unix && !options.is_authenticated(), allowed: options.allowed_hosts.clone() }
    }

    fn is_own(&self, host: &str) -> bool {
        is_loopback(host) || self.allowed.iter().any(|allowed| allowed.eq_ignore_ascii_case(host))
    }

    /// What is wrong, if anything.
    fn refusal(&self, uri: &Uri, headers: &HeaderMap) -> Option<String> {
        let host = uri.authority().map(|authority| authority.as_str().as_bytes());
        let host = host.or_else(|| headers.get(header::HOST).map(|host| host.as_bytes()));
        let origin = headers.get(header::ORIGIN).map(|origin| origin.as_bytes());
        let is_foreign = |name: Option<Option<Authority>>| {
            name.is_some_and(|name| !name.is_some_and(|authority| self.is_own(authority.host())))
        };
        let which = if is_foreign(host.map(|host| Authority::try_from(host).ok())) {
            "Host"
        } else if is_foreign(origin.map(|origin| Uri::try_from(origin).ok()?.into_parts().authority)) {
            "Origin"
        } else {
            return None;
        };
        let shown = if which == "Host" { host } else { origin }.map(String::from_utf8_lossy).unwrap_or_default();
        Some(format!(
            "{which}: expected localhost, a loopback address or one of http.allowed_hosts, found {shown:?}; with a token \
             (http.token_file, http.token_env) any name will do"
        ))
    }
}

/// Refuses what a page of elsewhere sent.
pub(super) async fn guarded(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    let guard = &shared.guard;
    match guard.is_on.then(|| guard.refusal(request.uri(), request.headers())).flatten() {
        None => next.run(request).await,
        Some(text) => {
            add(&shared.stats.requests_unauthorized_total, 1);
            failure(StatusCode::FORBIDDEN, &text)
        }
    }
}
