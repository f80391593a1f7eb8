//! URLs and leases that are refused.

use super::*;

#[tokio::test]
async fn urls_that_name_no_store_or_more_than_a_store_are_refused() {
    let opening = opening("a", &clock());
    for (url, kind) in [
        ("memory://", ErrorKind::InvalidUrl),
        ("memory:///x", ErrorKind::InvalidUrl),
        ("memory://x/y", ErrorKind::InvalidUrl),
        ("memory://x,y", ErrorKind::InvalidUrl),
        ("memory://x:1", ErrorKind::InvalidUrl),
        ("memory://u:canary@x", ErrorKind::InvalidUrl),
        ("memory://x?size=3", ErrorKind::InvalidOption),
    ] {
        let error = try_open(url, &opening).await.err().unwrap();
        assert_eq!(error.kind(), kind, "{url}: {error}");
        assert!(!error.to_string().contains("canary"), "{error}");
    }
    let odd = Store::named("a b/c,d:é");
    try_open(&odd.url(), &opening).await.unwrap();
    assert_eq!(odd.snapshot().sessions.len(), 1);
}

/// Interleaving 28: one session, one lease.
#[tokio::test]
async fn two_different_times_to_live_are_refused_with_both_named() {
    let opening = Opening { membership_ttl: TTL * 2, ..opening("a", &clock()) };
    let error = try_open("memory://t-two-ttls", &opening).await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::InvalidOption);
    assert!(error.to_string().contains("10s") && error.to_string().contains("20s"), "{error}");
}
