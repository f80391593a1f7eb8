//! The store the examples use.

/// `TOOZ_BACKEND`, or a directory of one's own among the temporary files, the same for all examples.
pub(crate) fn url() -> String {
    std::env::var("TOOZ_BACKEND").unwrap_or_else(|_| {
        let user = std::env::var("USER").unwrap_or_else(|_| "user".to_owned());
        format!("file://{}/tooz-example-{user}", std::env::temp_dir().display())
    })
}
