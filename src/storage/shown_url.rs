//! URLs in errors and logs.

/// A URL as it may be told: without a query and credentials, which may be secrets.
pub fn shown_url(url: &str) -> String {
    let url = url.split(['?', '#']).next().unwrap_or_default();
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let (host, path) = rest.split_once('/').map_or((rest, None), |(host, path)| (host, Some(path)));
    let host = host.rsplit('@').next().unwrap_or_default();
    path.map_or_else(|| format!("{scheme}://{host}"), |path| format!("{scheme}://{host}/{path}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_of_a_url_are_not_told() {
        for (url, told) in [
            ("https://bucket.example/a/b?X-Signature=secret", "https://bucket.example/a/b"),
            ("https://user:secret@host/a", "https://host/a"),
            ("https://user:secret@host", "https://host"),
            ("s3://bucket/a", "s3://bucket/a"),
        ] {
            assert_eq!(shown_url(url), told);
        }
    }
}
